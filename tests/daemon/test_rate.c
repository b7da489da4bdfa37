/* How often each user may do something, at times that the test chooses. */

#include <stdlib.h>
#include <string.h>

#include "../../daemon/base/rate.h"
#include "../support/program.h"

static struct rates rates;
static uint64_t now_ms;

static void setup(void)
{
        memset(&rates, 0, sizeof(rates));
        now_ms = 123456789;
}

static bool take(uid_t uid, unsigned kind)
{
        return rates_take(&rates, now_ms, uid, kind, "kind");
}

/* How many of `n` are allowed. */
static unsigned take_many(uid_t uid, unsigned kind, unsigned n)
{
        unsigned allowed = 0;

        for (unsigned i = 0; i < n; i++)
                allowed += take(uid, kind);
        return allowed;
}

static uint64_t refused(uid_t uid)
{
        struct rate_refused next;
        uint64_t n = 0;

        while (rates_next_refused(&rates, &next))
                if (!next.of_others && next.uid == uid)
                        n += next.n;
        return n;
}

START_TEST(many_at_once_then_a_few_a_second)
{
        setup();
        ck_assert_uint_eq(take_many(7, 0, 5000), RATE_AT_ONCE);
        now_ms += RATE_EACH_MS - 1;
        ck_assert(!take(7, 0));
        now_ms += 1;
        ck_assert_uint_eq(take_many(7, 0, 100), 1);
        now_ms += 10 * RATE_EACH_MS;
        ck_assert_uint_eq(take_many(7, 0, 100), 10);
        now_ms += (uint64_t)RATE_AT_ONCE * RATE_EACH_MS * 50;
        ck_assert_uint_eq(take_many(7, 0, 5000), RATE_AT_ONCE);
}
END_TEST

START_TEST(users_and_kinds_are_counted_apart)
{
        setup();
        ck_assert_uint_eq(take_many(7, 0, 5000), RATE_AT_ONCE);
        ck_assert_uint_eq(take_many(8, 0, 5000), RATE_AT_ONCE);
        ck_assert_uint_eq(take_many(7, RATE_KINDS - 1, 5000), RATE_AT_ONCE);
        ck_assert(!take(7, 0));
        ck_assert(!take(8, 0));
        ck_assert(take(8, 1));
}
END_TEST

START_TEST(what_is_refused_is_told_once)
{
        struct rate_refused next;

        setup();
        ck_assert(!rates_next_refused(&rates, &next));
        rates_take(&rates, now_ms, 8, 3, "another");
        take_many(7, 2, RATE_AT_ONCE + 40);
        ck_assert(rates_next_refused(&rates, &next));
        ck_assert(!next.of_others);
        ck_assert_uint_eq(next.uid, 7);
        ck_assert_uint_eq(next.kind, 2);
        ck_assert_uint_eq(next.n, 40);
        ck_assert_str_eq(next.name, "kind");
        ck_assert(!rates_next_refused(&rates, &next));
        take(7, 2);
        ck_assert_uint_eq(refused(7), 1);
}
END_TEST

/* More users than there is room for are bounded together, and do not use up what others have. */
START_TEST(many_users_are_bounded)
{
        unsigned allowed = 0;

        setup();
        ck_assert(take(7, 0));
        for (uid_t uid = 1000; uid < 4000; uid++)
                allowed += take_many(uid, 0, 2 * RATE_AT_ONCE);
        ck_assert_uint_eq(allowed, RATE_USERS * RATE_AT_ONCE);
        ck_assert_uint_eq(take_many(7, 0, 5000), RATE_AT_ONCE - 1);
        ck_assert(!take(5000, 0));
}
END_TEST

START_TEST(some_rooms_are_kept)
{
        setup();
        rates_keep(&rates, 7);
        rates_keep(&rates, 7);
        for (uid_t uid = 1000; uid < 1000 + 2 * RATE_USERS; uid++)
                take_many(uid, 0, 2 * RATE_AT_ONCE);
        ck_assert_uint_eq(take_many(7, 0, 2 * RATE_AT_ONCE), RATE_AT_ONCE);
        ck_assert(!take(8, 0));
        now_ms += (uint64_t)RATE_AT_ONCE * RATE_EACH_MS;
        for (uid_t uid = 0; uid < 2; uid++)
                refused(uid); /* all */
        for (uid_t uid = 2000; uid < 2000 + 2 * RATE_USERS; uid++)
                take_many(uid, 0, 2 * RATE_AT_ONCE);
        ck_assert_uint_eq(take_many(7, 0, 2 * RATE_AT_ONCE), RATE_AT_ONCE);
}
END_TEST

START_TEST(an_idle_users_room_is_given_away)
{
        setup();
        for (uid_t uid = 1000; uid < 1000 + RATE_USERS; uid++)
                ck_assert_uint_eq(take_many(uid, 0, 2 * RATE_AT_ONCE), RATE_AT_ONCE);
        now_ms += (uint64_t)RATE_AT_ONCE * RATE_EACH_MS;
        /* not before it has been told what was refused to him */
        ck_assert_uint_eq(take_many(5000, 0, RATE_AT_ONCE), RATE_AT_ONCE);
        ck_assert(!take(5001, 0)); /* the room that these share is used up */
        ck_assert_uint_eq(refused(1000), RATE_AT_ONCE);
        ck_assert_uint_eq(take_many(5000, 0, 2 * RATE_AT_ONCE), RATE_AT_ONCE);
        ck_assert_uint_eq(take_many(5001, 0, 2 * RATE_AT_ONCE), RATE_AT_ONCE);
        ck_assert_uint_eq(refused(5001), RATE_AT_ONCE);
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                many_at_once_then_a_few_a_second,
                users_and_kinds_are_counted_apart,
                what_is_refused_is_told_once,
                many_users_are_bounded,
                some_rooms_are_kept,
                an_idle_users_room_is_given_away,
                NULL,
        };

        return test_program("rate", tests);
}
