/*
 * What becomes of the key-value area in time: values expire and do not come back when the clock does, a
 * repeated swap is known again, also after the daemon's death, and a large area takes no more memory than a
 * small one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "../support/many_keys.h"
#include "../support/program.h"
#include "../support/repeater.h"
#include "../support/stepped_clock.h"

static const char *const configs[] = { "", "backend = memory\n", "fsync = always\n" };

enum { N_CONFIGS = sizeof(configs) / sizeof(configs[0]) };

/* ---- expiry ---- */

/* Requests that see that `k` has expired. Each gives an answer that does not have it. */
static const char *const seeing[][2] = {
        { "kv_get(%d, ['k'])", "[nil]" },
        { "kv_get(%d, ['other'])", "[h'02']" },
        { "kv_scan(%d, '', nil, 10)", "[['other', h'02']]" },
        { "kv_scan(%d, 'k', nil, 10)", "[]" },
        { "kv_swap(%d, 'k', h'01', h'03')", "[false, nil]" },
        { "kv_swap(%d, 'other', h'09', h'03')", "[false, h'02']" },
        { "kv_set(%d, [['other', h'02']])", "nil" },
};

enum { N_SEEING = sizeof(seeing) / sizeof(seeing[0]) };

START_TEST(what_was_seen_expired_never_comes_back)
{
        stepped_clock_begin();
        for (int i = 0; i < N_CONFIGS; i++) {
                DAEMON d = daemon_start(.config = configs[i]);
                CLIENT c = wire_connect(d);
                int s = wire_open(c, "'anna', {}");

                for (size_t k = 0; k < N_SEEING; k++) {
                        stepped_clock_set(d, 0);
                        expect(c, "nil", "kv_set(%d, [['k', h'01', 60], ['other', h'02']])", s);
                        stepped_clock_set(d, 59000);
                        expect(c, "[h'01']", "kv_get(%d, ['k'])", s);
                        stepped_clock_set(d, 60001);
                        expect(c, seeing[k][1], seeing[k][0], s);
                        stepped_clock_set(d, -3600000);
                        expect(c, "[nil, h'02']", "kv_get(%d, ['k', 'other'])", s);
                        expect(c, "[false, nil]", "kv_swap(%d, 'k', h'01', h'03')", s);
                }
        }
        stepped_clock_end();
}
END_TEST

START_TEST(nor_after_the_death_of_the_daemon)
{
        stepped_clock_begin();
        DAEMON d = daemon_start();
        struct wire *c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");

        expect(c, "[true, h'01']", "kv_swap(%d, 'k', nil, h'01', 60)", s);
        stepped_clock_set(d, 60001);
        expect(c, "[nil]", "kv_get(%d, ['k'])", s);
        daemon_kill(d);
        wire_end(&c);
        stepped_clock_set(d, 0);
        daemon_resume(d);
        c = wire_connect(d);
        s = wire_open(c, "'anna', {}");
        expect(c, "[nil]", "kv_get(%d, ['k'])", s);
        wire_end(&c);
        stepped_clock_end();
}
END_TEST

/* The clock counts, not a timer: it is compared when somebody looks. */
START_TEST(what_nobody_saw_expired_is_there_when_the_clock_is)
{
        stepped_clock_begin();
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");

        expect(c, "nil", "kv_set(%d, [['k', h'01', 60], ['long', h'02', 2147483647], ['ever', h'03', nil]])",
               s);
        stepped_clock_set(d, 61000);
        expect(c, "nil", "ping(nil)");
        stepped_clock_set(d, 0);
        expect(c, "[h'01']", "kv_get(%d, ['k'])", s);
        expect(c, "nil", "kv_set(%d, [['k', h'04']])", s); /* without a time it stays */
        stepped_clock_set(d, 3600LL * 1000 * 24 * 365);
        expect(c, "[h'04', h'02', h'03']", "kv_get(%d, ['k', 'long', 'ever'])", s);
        stepped_clock_end();
}
END_TEST

START_TEST(nobody_is_told_that_a_value_expired)
{
        stepped_clock_begin();
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        CLIENT watcher = wire_connect(d);
        int s = wire_open(c, "'anna', {}");

        expect(watcher, "{...}", "hello({features: ['kv']})");
        expect(c, "nil", "kv_set(%d, [['k', h'01', 60]])", s);
        expect(watcher, "nil", "watch(%d, true)", wire_open(watcher, "'anna', {}"));
        stepped_clock_set(d, 60001);
        expect(c, "[nil]", "kv_get(%d, ['k'])", s);
        wire_not_told(watcher);
        stepped_clock_end();
}
END_TEST

enum { MOST_BYTES = 1 << 30 };

static void let_files_grow(const struct daemon *d, rlim_t bytes)
{
        const struct rlimit limit = { bytes, MOST_BYTES };

        ck_assert_int_eq(prlimit(d->pid, RLIMIT_FSIZE, &limit, NULL), 0);
}

/* What cannot be deleted is not answered either; what has not expired is. */
START_TEST(a_failing_disk_shows_nothing_that_expired)
{
        static const char *const policies[] = { "", "fsync = always\n" };

        stepped_clock_begin();
        for (int i = 0; i < 2; i++) {
                DAEMON d = daemon_start(.config = policies[i],
                                        .file_size_limit = MOST_BYTES); /* lives beyond it */
                CLIENT c = wire_connect(d);
                int s = wire_open(c, "'anna', {}");

                expect(c, "nil", "kv_set(%d, [['k', h'01', 60], ['other', h'02']])", s);
                let_files_grow(d, 1);
                stepped_clock_set(d, 60001);
                expect(c, "!storage or !unavailable", "kv_get(%d, ['k'])", s);
                ck_assert_ptr_nonnull(strstr(wire_error_message(c), "expired"));
                expect(c, "[h'02']", "kv_get(%d, ['other'])", s);
                expect(c, "!storage or !unavailable", "kv_scan(%d, '', nil, 10)", s);
                expect(c, "[['other', h'02']]", "kv_scan(%d, 'o', nil, 10)", s);
                let_files_grow(d, MOST_BYTES);
                expect(c, "nil", "kv_set(%d, [['other', h'03']])", s); /* waits for the disk */
                expect(c, "[nil, h'03']", "kv_get(%d, ['k', 'other'])", s);
                stepped_clock_set(d, 0);
                expect(c, "[nil, h'03']", "kv_get(%d, ['k', 'other'])", s);
        }
        stepped_clock_end();
}
END_TEST

/* ---- repetitions ---- */

static void lose(struct daemon *d, struct wire **a, int *s, bool dies)
{
        if (dies) {
                daemon_kill(d);
                daemon_resume(d);
        }
        wire_end(a);
        *a = connect_as(d, ID);
        *s = wire_open(*a, "'anna', {}");
}

static void set_by_another(const struct daemon *d, const char *value)
{
        CLIENT b = wire_connect(d);

        expect(b, "nil", "kv_set(%d, [['k', %s]])", wire_open(b, "'anna', {}"), value);
}

static void repeat_swaps(bool dies)
{
        DAEMON d = daemon_start();
        struct wire *a = connect_as(d, ID);
        int s = wire_open(a, "'anna', {}");

        /* done: also if another one has replaced it */
        write_as(a, MSGID, "[true, h'01']", "kv_swap", s, ", 'k', nil, h'01'");
        lose(d, &a, &s, dies);
        set_by_another(d, "h'02'");
        write_as(a, MSGID, "[true, h'01']", "kv_swap", s, ", 'k', nil, h'01'");
        expect(a, "[h'02']", "kv_get(%d, ['k'])", s);
        /* done, and the value is gone */
        write_as(a, MSGID + 1, "[true, nil]", "kv_swap", s, ", 'k', h'02', nil");
        lose(d, &a, &s, dies);
        set_by_another(d, "h'02'");
        write_as(a, MSGID + 1, "[true, nil]", "kv_swap", s, ", 'k', h'02', nil");
        expect(a, "[h'02']", "kv_get(%d, ['k'])", s);
        /* not done: it stays so, even if it would be now */
        write_as(a, MSGID + 2, "[false, h'02']", "kv_swap", s, ", 'k', h'03', h'04'");
        lose(d, &a, &s, dies);
        set_by_another(d, "h'03'");
        write_as(a, MSGID + 2, "[false, h'03']", "kv_swap", s, ", 'k', h'03', h'04'");
        set_by_another(d, "nil");
        write_as(a, MSGID + 2, "[false, nil]", "kv_swap", s, ", 'k', h'03', h'04'");
        /* and what comes behind such a repetition waits for it, and goes on */
        send_as(a, MSGID + 2, "kv_swap", s, ", 'k', h'03', h'04'");
        send_as(a, MSGID + 3, "kv_swap", s, ", 'k', nil, h'05'");
        expect_text(wire_answer(a, MSGID + 2), "[false, nil]");
        expect_text(wire_answer(a, MSGID + 3), "[true, h'05']");
        /* another request with this msgid */
        write_as(a, MSGID + 2, "!bad_request", "kv_swap", s, ", 'k', h'03', h'06'");
        wire_end(&a);
}

START_TEST(a_repeated_swap_is_answered_as_the_first)
{
        repeat_swaps(false);
}
END_TEST

START_TEST(a_repeated_swap_is_known_after_the_death_of_the_daemon)
{
        repeat_swaps(true);
}
END_TEST

static void repeat_sets(bool dies, const char *of_refused, const char *after)
{
        DAEMON d = daemon_start(.config = "kv-max = 100\n");
        struct wire *a = connect_as(d, ID);
        int s = wire_open(a, "'anna', {}");

        send_as(a, MSGID, "kv_set", s, ", [['k', h'01'*50]]");
        send_as(a, MSGID + 1, "kv_set", s, ", [['x', h'07'*60]]");
        expect_text(wire_answer(a, MSGID), "nil");
        expect_text(wire_answer(a, MSGID + 1), "!too_large");
        lose(d, &a, &s, dies);
        set_by_another(d, "h'02'");
        write_as(a, MSGID, "nil", "kv_set", s, ", [['k', h'01'*50]]");
        expect(a, "[h'02']", "kv_get(%d, ['k'])", s);
        write_as(a, MSGID + 1, of_refused, "kv_set", s, ", [['x', h'07'*60]]");
        expect(a, after, "kv_get(%d, ['x'])", s);
        wire_end(&a);
}

/* After the daemon's death nobody knows of what was refused: its repetition is a first try. */
START_TEST(what_was_refused_is_not_taken_for_executed)
{
        repeat_sets(false, "!too_large", "[nil]");
        repeat_sets(true, "nil", "[h'0707...']");
}
END_TEST

/* ---- size ---- */

START_TEST(a_hundred_thousand_keys_are_scanned_in_flat_memory)
{
        enum { KEYS = 100000, AT_ONCE = 1000, VALUE = 100 };
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");
        char *list = calloc(AT_ONCE, 40);

        for (int i = 0; i < KEYS; i += AT_ONCE) {
                size_t n = 0;

                for (int k = 0; k < AT_ONCE; k++)
                        n += (size_t)sprintf(list + n, "%s['key%06d', h'%02x'*%d]", k ? ", " : "", i + k,
                                             k % 256, VALUE);
                expect(c, "nil", "kv_set(%d, [%s])", s, list);
        }
        free(list);
        many_keys_scan(d, c, s, KEYS);
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                what_was_seen_expired_never_comes_back,
                nor_after_the_death_of_the_daemon,
                what_nobody_saw_expired_is_there_when_the_clock_is,
                nobody_is_told_that_a_value_expired,
                a_failing_disk_shows_nothing_that_expired,
                a_repeated_swap_is_answered_as_the_first,
                a_repeated_swap_is_known_after_the_death_of_the_daemon,
                what_was_refused_is_not_taken_for_executed,
                a_hundred_thousand_keys_are_scanned_in_flat_memory,
                NULL,
        };

        return test_program("kv_kept", tests);
}
