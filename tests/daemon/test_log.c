/* What a log line looks like in each format, whatever the text holds. */

#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../daemon/base/log.h"

static int pipe_fds[2];
static char line[16384];

static void setup(void)
{
        ck_assert_int_eq(pipe2(pipe_fds, O_NONBLOCK), 0);
        unsetenv("JOURNAL_STREAM");
}

static void teardown(void)
{
        close(pipe_fds[0]);
        close(pipe_fds[1]);
}

static struct log log_of(bool json, bool journal)
{
        struct log log;

        log_init(&log, LOG_INFO, json);
        ck_assert(!log.journal);
        log.fd = pipe_fds[1];
        log.journal = journal;
        return log;
}

/* What was written since the last call. */
static const char *written(void)
{
        ssize_t n = read(pipe_fds[0], line, sizeof(line) - 1);

        line[n < 0 ? 0 : n] = '\0';
        return line;
}

/* The text of a terminal line, behind its time and level. */
static const char *text_of(const char *whole)
{
        ck_assert_uint_gt(strlen(whole), 33);
        return whole + 33;
}

START_TEST(terminal_line)
{
        struct log log = log_of(false, false);
        int year, month, day, hour, minute, second, ms, end = 0;

        log_write(&log, LOG_WARNING, "session %s: %d", "alice", 7);
        ck_assert_int_eq(sscanf(written(), "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ %n", &year, &month, &day, &hour,
                                &minute, &second, &ms, &end),
                         7);
        ck_assert_int_ge(year, 2024);
        ck_assert_str_eq(line + end, "warning session alice: 7\n");
}
END_TEST

START_TEST(journal_line)
{
        static const char *expected[] = { "<3>x\n", "<4>x\n", "<6>x\n", "<7>x\n" };
        struct log log = log_of(false, true);

        log.level = LOG_DEBUG;
        for (int level = LOG_ERROR; level <= LOG_DEBUG; level++) {
                log_write(&log, (enum log_level)level, "x");
                ck_assert_str_eq(written(), expected[level]);
        }
}
END_TEST

START_TEST(json_line)
{
        struct log log = log_of(true, false);

        log_write(&log, LOG_ERROR, "say \"no\" to C:\\ \xc3\xa4\x01\n");
        ck_assert_ptr_nonnull(strstr(written(), "Z\",\"level\":\"error\",\"message\":"
                                                "\"say \\\"no\\\" to C:\\\\ \xc3\xa4\\u0001\\n\"}\n"));
        ck_assert_int_eq(strncmp(line, "{\"time\":\"20", 11), 0);
}
END_TEST

START_TEST(levels_are_dropped)
{
        struct log log = log_of(false, true);

        log_write(&log, LOG_DEBUG, "x");
        ck_assert_str_eq(written(), "");
        log.level = LOG_ERROR;
        log_write(&log, LOG_WARNING, "x");
        ck_assert_str_eq(written(), "");
}
END_TEST

/* Nothing that a stranger can put into a name starts a line, moves a cursor, or is not UTF-8. */
START_TEST(hostile_text)
{
        static const struct {
                const char *text, *escaped;
        } rows[] = {
                { "a\nb\r\tc", "a\\nb\\r\\tc" },
                { "\x1b[2J\x7f", "\\u001b[2J\\u007f" },
                { "\xc2\x9b", "\\u009b" },                                       /* C1's CSI */
                { "\xe2\x80\x8e\xe2\x80\x8f\xd8\x9c", "\\u200e\\u200f\\u061c" }, /* marks of direction */
                { "\xe2\x80\xae", "\\u202e" },                                   /* right-to-left override */
                { "\xe2\x80\xa8\xe2\x81\xa6", "\\u2028\\u2066" },                /* line separator, isolate */
                { "\xff", "\xef\xbf\xbd" },                                      /* no such byte */
                { "\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd" },                      /* overlong */
                { "\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },      /* surrogate */
                { "x\xe2\x82", "x\xef\xbf\xbd\xef\xbf\xbd" },                    /* cut off */
                { "\xf0\x9f\x98\x80 \xe2\x82\xac", "\xf0\x9f\x98\x80 \xe2\x82\xac" },
        };
        struct log log = log_of(false, false);

        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                char expected[128];

                log_write(&log, LOG_INFO, "%s", rows[i].text);
                snprintf(expected, sizeof(expected), "%s\n", rows[i].escaped);
                ck_assert_str_eq(text_of(written()), expected);
                log.json = true;
                log_write(&log, LOG_INFO, "%s", rows[i].text);
                snprintf(expected, sizeof(expected), "\"message\":\"%s\"}\n", rows[i].escaped);
                ck_assert_ptr_nonnull(strstr(written(), expected));
                log.json = false;
        }
}
END_TEST

START_TEST(long_text_is_cut_at_a_character)
{
        static char text[20000];

        for (int json = 0; json < 2; json++) {
                for (size_t shift = 0; shift < 4; shift++) {
                        struct log log = log_of(json, true);
                        const char *tail =
                                json ? "\xe2\x82\xac\xe2\x80\xa6\"}\n" : "\xe2\x82\xac\xe2\x80\xa6\n";
                        size_t len = 0;

                        for (size_t i = 0; i < shift; i++)
                                text[len++] = 'a';
                        for (size_t i = 0; i < 5000; i++, len += 3)
                                memcpy(text + len, "\xe2\x82\xac", 4);
                        log_write(&log, LOG_INFO, "%s", text);
                        len = strlen(written());
                        ck_assert_uint_gt(len, 2900);
                        ck_assert_uint_le(len, 4096);
                        ck_assert_str_eq(line + len - strlen(tail), tail);
                }
        }
}
END_TEST

/* Escapes make a line longer than its text: the bound is the line's. */
START_TEST(escapes_do_not_pass_the_bound)
{
        char text[3001];

        memset(text, 1, sizeof(text) - 1);
        text[sizeof(text) - 1] = '\0';
        for (int json = 0; json < 2; json++) {
                struct log log = log_of(json, !json);

                log_write(&log, LOG_INFO, "%s", text);
                ck_assert_uint_le(strlen(written()), 4096);
                ck_assert_ptr_nonnull(
                        strstr(line, json ? "\\u0001\xe2\x80\xa6\"}\n" : "\\u0001\xe2\x80\xa6\n"));
        }
}
END_TEST

START_TEST(journal_is_recognised_by_device_and_inode)
{
        struct log log;
        struct stat st;
        char stream[64];

        ck_assert_int_eq(fstat(STDERR_FILENO, &st), 0);
        snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
                 (unsigned long long)st.st_ino);
        setenv("JOURNAL_STREAM", stream, 1);
        log_init(&log, LOG_INFO, false);
        ck_assert(log.journal);
        ck_assert_int_eq(log.fd, STDERR_FILENO);
        snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
                 (unsigned long long)st.st_ino + 1);
        setenv("JOURNAL_STREAM", stream, 1);
        log_init(&log, LOG_INFO, false);
        ck_assert(!log.journal);
        setenv("JOURNAL_STREAM", "nonsense", 1);
        log_init(&log, LOG_INFO, false);
        ck_assert(!log.journal);
}
END_TEST

/* A full pipe that does not block must not hold up, or end, who logs. */
START_TEST(full_pipe)
{
        struct log log = log_of(false, true);
        char block[4096] = "";

        while (write(pipe_fds[1], block, sizeof(block)) > 0)
                continue;
        log_write(&log, LOG_ERROR, "lost");
        while (read(pipe_fds[0], line, sizeof(line)) > 0)
                continue;
        log_write(&log, LOG_ERROR, "seen");
        ck_assert_str_eq(written(), "<4>1 lines of this log are lost: nobody read it\n<3>seen\n");
}
END_TEST

/* A log that blocks and that nobody reads: logging returns, and the number of lost lines is told once. */
static void nobody_reads(int writer, int reader)
{
        struct log log = log_of(false, true);
        unsigned lost = 0, seen = 0;
        char whole[1 << 10], *end = whole;
        ssize_t n;

        log.fd = writer;
        alarm(20);
        for (int i = 0; i < 20000; i++)
                log_write(&log, LOG_INFO, "line %d %0100d", i, 0);
        alarm(0);
        ck_assert_int_eq(fcntl(reader, F_SETFL, O_NONBLOCK), 0);
        while ((n = read(reader, line, sizeof(line))) > 0)
                for (ssize_t i = 0; i < n; i++)
                        seen += line[i] == '\n';
        ck_assert_uint_gt(seen, 0);
        ck_assert_uint_lt(seen, 20000);
        log_write(&log, LOG_INFO, "it goes on");
        log_write(&log, LOG_INFO, "and on");
        while ((n = read(reader, end, (size_t)(whole + sizeof(whole) - 1 - end))) > 0)
                end += n;
        *end = '\0';
        ck_assert_msg(sscanf(whole, "<4>%u lines", &lost) == 1, "%s", whole);
        ck_assert_uint_eq(lost, 20000 - seen);
        ck_assert_msg(strstr(whole, "nobody read it\n<6>it goes on\n<6>and on\n"), "%s", whole);
        ck_assert_int_eq(fcntl(writer, F_GETFL) & O_NONBLOCK, 0); /* it is not the daemon's alone */
}

START_TEST(a_pipe_that_nobody_reads)
{
        int fds[2];

        ck_assert_int_eq(pipe(fds), 0);
        nobody_reads(fds[1], fds[0]);
        close(fds[0]);
        close(fds[1]);
}
END_TEST

START_TEST(a_journal_that_is_stopped)
{
        int fds[2];

        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
        nobody_reads(fds[1], fds[0]);
        close(fds[0]);
        close(fds[1]);
}
END_TEST

START_TEST(a_closed_log)
{
        struct log log = log_of(false, true);

        signal(SIGPIPE, SIG_IGN);
        close(pipe_fds[0]);
        log_write(&log, LOG_ERROR, "lost");
        log.fd = -1;
        log_write(&log, LOG_ERROR, "lost");
        ck_assert_uint_eq(log.lost, 2);
}
END_TEST

static const struct log_field record[] = {
        { .key = "action", .text = "open" },
        { .key = "uid", .number = 1000 },
        { .key = "client", .text = "x\" uid=0 \\ \n\xe2\x80\xae" },
};

START_TEST(a_record)
{
        struct log log = log_of(false, false);

        log.level = LOG_ERROR; /* records have none */
        log_record(&log, 1000, 0, "audit open", "audit", record, 3);
        written();
        ck_assert_str_eq(line + 24,
                         " info    audit: action=\"open\" uid=1000 client=\"x\\\" uid=0 \\\\ \\n\\u202e\"\n");
        log.json = true;
        log_record(&log, 1000, 0, "audit open", "audit", record, 3);
        ck_assert_ptr_nonnull(strstr(written(),
                                     "Z\",\"level\":\"info\",\"audit\":{\"action\":\"open\",\"uid\":1000,"
                                     "\"client\":\"x\\\" uid=0 \\\\ \\n\\u202e\"}}\n"));
        log.json = false;
        log.journal = true;
        log_record(&log, 1000, 0, "audit open", "audit", record, 1);
        ck_assert_str_eq(written(), "<6>audit: action=\"open\"\n");
}
END_TEST

/* Each text of a record is cut: none pushes out the others. */
START_TEST(a_long_record)
{
        struct log_field fields[LOG_FIELDS_MAX];
        char text[3000];

        memset(text, 1, sizeof(text) - 1);
        text[sizeof(text) - 1] = '\0';
        for (size_t i = 0; i < LOG_FIELDS_MAX; i++)
                fields[i] = (struct log_field){ .key = "key", .text = i < 5 ? text : NULL, .number = i };
        for (int json = 0; json < 2; json++) {
                struct log log = log_of(json, !json);
                const char *tail = json ? "\xe2\x80\xa6\",\"key\":5,\"key\":6,\"key\":7,\"key\":8,\"key\":9,"
                                          "\"key\":10,\"key\":11}}\n"
                                        : "\xe2\x80\xa6\" key=5 key=6 key=7 key=8 key=9 key=10 key=11\n";

                log_record(&log, 1000, 0, "name", "word", fields, LOG_FIELDS_MAX);
                ck_assert_uint_gt(strlen(written()), 5 * 600);
                ck_assert_uint_le(strlen(line), 4096);
                ck_assert_str_eq(line + strlen(line) - strlen(tail), tail);
        }
}
END_TEST

/* How many lines are in the pipe. */
static unsigned count_lines(void)
{
        unsigned n = 0;

        for (const char *at = written(); *at; at = written())
                for (; *at; at++)
                        n += *at == '\n';
        return n;
}

START_TEST(lines_of_a_user_are_limited)
{
        static struct log log;
        unsigned n = 0;

        log = log_of(false, true);
        for (int i = 0; i < 3 * RATE_AT_ONCE; i++) {
                log_write_for(&log, 7, LOG_INFO, "x");
                n += count_lines();
        }
        ck_assert_uint_ge(n, RATE_AT_ONCE);
        ck_assert_uint_lt(n, 2 * RATE_AT_ONCE);
        ck_assert(log_owes(&log));
        /* worse news, the daemon's own, records, and other users' lines */
        log_write_for(&log, 7, LOG_ERROR, "x");
        ck_assert_str_eq(written(), "<3>x\n");
        log_write(&log, LOG_INFO, "x");
        ck_assert_str_eq(written(), "<6>x\n");
        log_write_for(&log, 8, LOG_INFO, "x");
        ck_assert_str_eq(written(), "<6>x\n");
        log_record(&log, 7, 1, "audit open", "audit", record, 1);
        ck_assert_str_eq(written(), "<6>audit: action=\"open\"\n");
        for (int i = 0; i < 3 * RATE_AT_ONCE; i++) {
                log_record(&log, LOG_NO_USER, 1, "audit open", "audit", record, 1);
                count_lines();
        }
        log_tell_left_out(&log);
        written();
        ck_assert_msg(strstr(line, "<4>left out "), "%s", line);
        ck_assert_ptr_nonnull(
                strstr(line, " lines `info` of uid 7: a user may cause 1000 at once, then 2 a second\n"));
        ck_assert_ptr_nonnull(strstr(line, "<3>left out ")); /* whatever the level of the log is */
        ck_assert_ptr_nonnull(strstr(line, " lines `audit open` of the daemon: "));
        ck_assert(!log_owes(&log));
        log_tell_left_out(&log);
        ck_assert_str_eq(written(), "");
}
END_TEST

int main(void)
{
        Suite *suite = suite_create("log");
        TCase *tcase = tcase_create("lines");
        SRunner *runner;
        int failed;

        tcase_add_checked_fixture(tcase, setup, teardown);
        tcase_add_test(tcase, terminal_line);
        tcase_add_test(tcase, journal_line);
        tcase_add_test(tcase, json_line);
        tcase_add_test(tcase, levels_are_dropped);
        tcase_add_test(tcase, hostile_text);
        tcase_add_test(tcase, long_text_is_cut_at_a_character);
        tcase_add_test(tcase, escapes_do_not_pass_the_bound);
        tcase_add_test(tcase, journal_is_recognised_by_device_and_inode);
        tcase_add_test(tcase, full_pipe);
        tcase_add_test(tcase, a_pipe_that_nobody_reads);
        tcase_add_test(tcase, a_journal_that_is_stopped);
        tcase_add_test(tcase, a_closed_log);
        tcase_add_test(tcase, a_record);
        tcase_add_test(tcase, a_long_record);
        tcase_add_test(tcase, lines_of_a_user_are_limited);
        suite_add_tcase(suite, tcase);
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed != 0;
}
