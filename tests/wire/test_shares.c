/*
 * What one user may hold: connections. Root is needed to connect as another user: the daemon sees the
 * credentials of the moment of connect(2).
 */

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../support/program.h"
#include "../support/wire.h"

enum { GREEDY = 54321, OTHER = 54322, THIRD = 54323 };

static bool can_be_others(void)
{
        if (geteuid() == 0)
                return true;
        test_skipped("shares of users", "needs root, to connect as another user");
        return false;
}

static struct wire *connect_as(struct daemon *d, uid_t uid)
{
        struct wire *c;

        ck_assert_int_eq(chmod(d->dir, 0711), 0);
        ck_assert_int_eq(chmod(d->socket, 0666), 0);
        c = wire_connect_as(d, uid, uid);
        ck_assert_ptr_nonnull(c);
        return c;
}

static bool is_served(struct wire *c)
{
        const char *text;

        wire_send(c, "ping(1)");
        text = wire_next(c);
        return text && strstr(text, ": 1");
}

START_TEST(one_user_does_not_take_all_connections)
{
        DAEMON d = daemon_start(.config = "max-clients = 100\n");
        struct wire *greedy[93], *other[6];
        CLIENT late = NULL;
        const char *text;

        if (!can_be_others())
                return;
        for (int i = 0; i < 93; i++) {
                greedy[i] = connect_as(d, GREEDY);
                ck_assert(is_served(greedy[i]));
        }
        for (int i = 0; i < 20; i++) {
                late = connect_as(d, GREEDY);
                text = wire_next(late);
                expect_text(text, "0: !overloaded...");
                ck_assert_ptr_nonnull(strstr(wire_error_message(late), "share"));
                wire_expect_closed(late);
                wire_end(&late);
        }
        for (int i = 0; i < 6; i++) {
                other[i] = connect_as(d, OTHER);
                ck_assert(is_served(other[i]));
        }
        late = connect_as(d, OTHER);
        expect_text(wire_next(late), "0: !overloaded...");
        wire_end(&late);
        late = connect_as(d, THIRD); /* the first connection of a user, the last one of all */
        ck_assert(is_served(late));
        for (int i = 0; i < 10; i++)
                wire_end(&greedy[i]);
        ck_assert(is_served(other[0]));
        for (int i = 10; i < 93; i++)
                wire_end(&greedy[i]);
        for (int i = 0; i < 6; i++)
                wire_end(&other[i]);
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                one_user_does_not_take_all_connections,
                NULL,
        };

        return test_program("shares", tests);
}
