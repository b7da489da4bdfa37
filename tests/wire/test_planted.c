/*
 * Files that somebody has planted in the data directory: no client waits for them, also at the start, and the
 * refusal names the file. And who may plant some: a data directory for everybody is not served.
 */
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../support/program.h"
#include "../support/wire.h"

enum { PIPES = 60 }; /* more than the daemon has threads that open */

static char *beside(const struct daemon *d, const char *session, const char *suffix)
{
        TEST_FREED char *path = daemon_path(d, session);

        return test_format("%s%s", path, suffix);
}

static void make_session(struct wire *c, const char *name)
{
        int s = wire_open(c, "'%s', {}", name);

        expect(c, "nil", "set(%d, {dc_id: 4})", s);
        expect(c, "nil", "close(%d)", s);
}

static void expect_in_log(const struct daemon *d, const char *text)
{
        TEST_FREED char *log = daemon_log(d);

        ck_assert_msg(strstr(log, text) != NULL, "'%s' is not in the log: %s", text, log);
}

START_TEST(pipes_hold_nobody_up)
{
        static const char *const suffixes[] = { "-journal", "-wal", "-shm" };
        DAEMON d = daemon_start(.config = "idle-close = 0\n");
        struct wire *c = wire_connect(d);
        uint32_t calls[PIPES];

        for (int i = 0; i < PIPES; i++) {
                TEST_FREED char *name = test_format("s%d", i);

                make_session(c, name);
        }
        make_session(c, "good");
        wire_end(&c);
        daemon_stop(d);
        for (int i = 0; i < PIPES; i++) {
                TEST_FREED char *name = test_format("s%d", i);
                TEST_FREED char *path = beside(d, name, suffixes[i % 3]);

                ck_assert_int_eq(mkfifo(path, 0600), 0);
        }
        daemon_resume(d);
        c = wire_connect(d);
        for (int i = 0; i < PIPES; i++)
                calls[i] = wire_send(c, "open('s%d', {})", i);
        expect(c, "[4]", "get(%d, ['dc_id'])", wire_open(c, "'good', {}"));
        for (int i = 0; i < PIPES; i++) {
                TEST_FREED char *named = test_format("/s%d.session%s\\' is a pipe", i, suffixes[i % 3]);

                expect_text(wire_answer(c, calls[i]), "!storage");
                ck_assert_msg(strstr(wire_error_message(c), named) != NULL, "%s", wire_error_message(c));
        }
        wire_end(&c);
        expect_in_log(d, "s0.session-journal' is a pipe");
}
END_TEST

START_TEST(files_of_another_user_are_not_opened)
{
        DAEMON d = daemon_start(.config = "idle-close = 0\n");
        CLIENT c = wire_connect(d);
        TEST_FREED char *path = daemon_path(d, "anna");
        TEST_FREED char *command = test_format("chown %u \\'%s\\'", geteuid(), path);

        make_session(c, "anna");
        if (geteuid() != 0) {
                test_skipped("a file of another user", "only root can make one");
                return;
        }
        daemon_stop(d);
        ck_assert_int_eq(chown(path, 65534, 65534), 0);
        ck_assert_int_eq(chmod(path, 0666), 0);
        daemon_resume(d);
        CLIENT again = wire_connect(d);
        expect(again, "!storage", "open('anna', {})");
        ck_assert_msg(strstr(wire_error_message(again), command) != NULL, "%s", wire_error_message(again));
        ck_assert_int_eq(chown(path, geteuid(), getegid()), 0);
        wire_open(again, "'anna', {create: false}");
}
END_TEST

/* A library was killed in the middle of a transaction. */
START_TEST(the_journal_of_a_killed_library_is_played_back)
{
        DAEMON d = daemon_start(.config = "idle-close = 0\n");
        CLIENT c = wire_connect(d);
        TEST_FREED char *path = daemon_path(d, "anna");
        TEST_FREED char *journal = beside(d, "anna", "-journal");
        TEST_FREED char *file = NULL, *kept = NULL;
        size_t file_len, kept_len;
        sqlite3 *db;

        make_session(c, "anna");
        ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
        sqlite3_busy_timeout(db, TEST_DEADLINE_MS);
        ck_assert_int_eq(sqlite3_exec(db, "BEGIN; UPDATE sessions SET dc_id = 1", NULL, NULL, NULL),
                         SQLITE_OK);
        ck_assert_int_eq(sqlite3_db_cacheflush(db), SQLITE_OK);
        file = test_read_file(path, &file_len);
        kept = test_read_file(journal, &kept_len);
        sqlite3_close(db);
        test_write_file(path, file, file_len);
        test_write_file(journal, kept, kept_len);
        expect(c, "[4]", "get(%d, ['dc_id'])", wire_open(c, "'anna', {}"));
}
END_TEST

START_TEST(a_data_directory_for_everybody_is_not_served)
{
        DAEMON d = daemon_start();
        TEST_FREED char *command = test_format("chmod o-w %s", d->data);
        TEST_FREED char *advice = test_format("chmod g-w %s", d->data);
        const char *const arguments[] = { "--config", d->config, "--data", d->data,
                                          "--socket", d->socket, NULL };

        daemon_stop(d);
        ck_assert_int_eq(chmod(d->data, 0777), 0);
        DAEMON_RUN run = daemon_run(arguments);
        ck_assert_int_eq(run.status, 1);
        ck_assert_msg(strstr(run.err, command) != NULL, "%s", run.err);
        ck_assert_int_eq(chmod(d->data, 0770), 0);
        daemon_resume(d);
        expect_in_log(d, advice);
        CLIENT c = wire_connect(d);
        wire_open(c, "'anna', {}");
}
END_TEST

int main(void)
{
        return test_program("planted", (const TTest *const[]){
                                               pipes_hold_nobody_up,
                                               files_of_another_user_are_not_opened,
                                               the_journal_of_a_killed_library_is_played_back,
                                               a_data_directory_for_everybody_is_not_served,
                                               NULL,
                                       });
}
