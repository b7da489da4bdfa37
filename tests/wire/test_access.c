/*
 * Who may do what: the defaults, the rules of [access], and their reload. Root is needed to connect as
 * another user: the daemon sees the credentials of the moment of connect(2).
 */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../support/program.h"
#include "../support/wire.h"

enum { STRANGER = 54321, GROUP = 54322 };

static bool can_be_others(void)
{
        if (geteuid() == 0)
                return true;
        test_skipped("access rules of other users", "needs root, to connect as another user");
        return false;
}

static struct wire *stranger(struct daemon *d)
{
        struct wire *c;

        /* Lets strangers connect: the rules are tested here, not the socket's mode. */
        ck_assert_int_eq(chmod(d->dir, 0711), 0);
        ck_assert_int_eq(chmod(d->socket, 0666), 0);
        c = wire_connect_as(d, STRANGER, GROUP);
        ck_assert_ptr_nonnull(c);
        return c;
}

static const struct {
        const char *method;
        const char *parameters; /* %d: the handle */
} reading[] = {
        { "get", ", ['dc_id', 'user_id']" },
        { "get_peer_by_id", ", 7" },
        { "get_peer_by_username", ", 'anna', 0" },
        { "get_peer_by_phone_number", ", '1'" },
        { "get_peers", ", [7]" },
        { "scan_peers", ", nil, 5" },
        { "scan_usernames", ", nil, 5" },
        { "get_states", "" },
        { "watch", ", true" },
        { "info", "" },
        { "lease", "" },
}, writing[] = {
        { "get", ", ['auth_key']" },
        { "get", ", ['dc_id', 'auth_key']" },
        { "export_string", ", 'pyrogram'" },
        { "set", ", {dc_id: 4}" },
        { "update_peers", ", [[7, 70, 'user', 'anna', '1']]" },
        { "update_usernames", ", [[7, ['b']]]" },
        { "update_states", ", [[0, 1, 1, 1, 1]]" },
        { "remove_states", ", [0]" },
        { "save", "" },
        { "import_string", ", 'x', {}" },
        { "delete", ", {}" },
};
static const char *const admin[] = { "sessions(nil)", "clients()", "disconnect(1)",
                                     "drain()",       "stats()",   "monitor(true)" };

static void expect_no_admin(struct wire *c)
{
        for (size_t i = 0; i < sizeof(admin) / sizeof(admin[0]); i++)
                expect(c, "!denied", "%s", admin[i]);
}

START_TEST(strangers_read_and_write_without_rules)
{
        if (!can_be_others())
                return;
        DAEMON d = daemon_start();
        CLIENT c = stranger(d);
        int s = wire_open(c, "'anna', {mode: 'exclusive'}");

        expect(c, "nil", "set(%d, {dc_id: 4})", s);
        expect(c, "[nil]", "get(%d, ['auth_key'])", s);
        expect_no_admin(c);
        expect(c, "nil", "delete(%d, {})", s);
        expect(c, "1", "ping(1)");
}
END_TEST

static void prepare(struct daemon *d)
{
        static const char *const names[] = { "pub-1", "pub-2", "private" };
        CLIENT c = wire_connect(d);

        for (size_t i = 0; i < 3; i++) {
                int s = wire_open(c, "'%s', {}", names[i]);

                expect(c, "nil", "update_peers(%d, [[7, 70, 'user', 'anna', '1']])", s);
                expect(c, "nil", "set(%d, {auth_key: h'07'*256, dc_id: 5})", s);
        }
}

START_TEST(readers_read)
{
        if (!can_be_others())
                return;
        DAEMON d = daemon_start(.config = "[access]\nuser 54321 = read on pub-*\n");
        CLIENT own = wire_connect(d);
        CLIENT c = NULL;
        int s;

        prepare(d);
        c = stranger(d);
        s = wire_open(c, "'pub-1', {create: false}");
        for (size_t i = 0; i < sizeof(reading) / sizeof(reading[0]); i++) {
                const char *answer = wire_call(c, "%s(%d%s)", reading[i].method, s, reading[i].parameters);

                ck_assert_msg(answer[0] != '!', "%s: %s", reading[i].method, answer);
        }
        for (size_t i = 0; i < sizeof(writing) / sizeof(writing[0]); i++)
                expect(c, "!denied", "%s(%d%s)", writing[i].method, s, writing[i].parameters);
        expect_no_admin(c);
        expect(c, "!denied", "open('pub-2', {mode: 'exclusive'})");
        expect(c, "!denied", "open('pub-new', {})");
        expect(c, "!not_found", "open('pub-new', {create: false})");
        expect(c, "!denied", "open('private', {create: false})");
        expect(c, "!denied", "open('nobodys', {})");
        wire_open(c, "'pub-2', {}");
        /* the rules do not bind the daemon's own user */
        s = wire_open(own, "'private', {}");
        expect(own, "[5, h'07...]", "get(%d, ['dc_id', 'auth_key'])", s);
        expect(own, "[...]", "clients()");
}
END_TEST

START_TEST(rules_add_up)
{
        if (!can_be_others())
                return;
        DAEMON d = daemon_start(.config = "[access]\n"
                                          "everyone = read in file\n"
                                          "group 54322 = write on pub-*\n"
                                          "user 99999 = write\n"
                                          "user 54321 = admin\n");
        CLIENT c = NULL;
        int s;

        prepare(d);
        c = stranger(d);
        s = wire_open(c, "'pub-1', {}");
        expect(c, "nil", "set(%d, {dc_id: 4})", s);
        expect(c, "...created: true...", "open('pub-new', {})");
        s = wire_open(c, "'private', {}");
        expect(c, "!denied", "set(%d, {dc_id: 4})", s);
        expect(c, "[5]", "get(%d, ['dc_id'])", s);
        expect(c, "!denied", "open('other', {backend: 'memory'})");
        expect(c, "[...]", "clients()");
        expect(c, "[...]", "sessions(nil)");
}
END_TEST

START_TEST(rules_are_reloaded)
{
        if (!can_be_others())
                return;
        DAEMON d = daemon_start(.config = "[access]\nuser 54321 = read on pub-*\n");
        CLIENT c = NULL;
        int s;

        prepare(d);
        c = stranger(d);
        s = wire_open(c, "'pub-1', {}");
        expect(c, "!denied", "set(%d, {dc_id: 4})", s);
        daemon_reload(d, "[access]\nuser 54321 = write on pub-*\n");
        expect(c, "nil", "set(%d, {dc_id: 4})", s);
        expect(c, "!denied", "open('private', {})");
        daemon_reload(d, "[access]\nuser 54321 = read on private\n");
        expect(c, "!denied", "set(%d, {dc_id: 5})", s);
        expect(c, "!denied", "open('pub-2', {})");
        wire_open(c, "'private', {}");
}
END_TEST

/* A socket at another path than the system's is for the daemon's own user alone. */
START_TEST(the_sockets_mode_keeps_strangers_out)
{
        if (!can_be_others())
                return;
        DAEMON d = daemon_start();
        struct stat stat_of;

        ck_assert_int_eq(stat(d->socket, &stat_of), 0);
        ck_assert_int_eq(stat_of.st_mode & 0007, 0);
        ck_assert_int_eq(chmod(d->dir, 0711), 0);
        ck_assert_ptr_null(wire_connect_as(d, STRANGER, GROUP));
}
END_TEST

START_TEST(files_are_private_to_their_owner)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        TEST_FREED char *path = daemon_path(d, "anna");
        struct stat stat_of;

        wire_open(c, "'anna', {}");
        ck_assert_int_eq(stat(path, &stat_of), 0);
        ck_assert_int_eq(stat_of.st_mode & 07777, 0600);
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                strangers_read_and_write_without_rules,
                readers_read,
                rules_add_up,
                rules_are_reloaded,
                the_sockets_mode_keeps_strangers_out,
                files_are_private_to_their_owner,
                NULL,
        };

        return test_program("access", tests);
}
