/* A session's name that would like to speak for the daemon: no error and no line of the log lets it. */
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../support/program.h"
#include "../support/wire.h"

#define MARKS "\xe2\x80\xae\xe2\x80\x8e\xe2\x80\x8f\xd8\x9c"
#define NAME "x': done\"; rm -rf `y`\\n" MARKS
/* In the tests' notation, and in the daemon's quotes. */
#define SENT "'x\\': done\"; rm -rf `y`\\\\n" MARKS "'"
#define QUOTED "x\\': done\"; rm -rf `y`\\\\n\\u202e\\u200e\\u200f\\u061c"

static void expect_no_marks(const char *text)
{
        static const char *const marks[] = { "\xe2\x80\xae", "\xe2\x80\x8e", "\xe2\x80\x8f", "\xd8\x9c" };

        for (size_t i = 0; i < sizeof(marks) / sizeof(*marks); i++)
                ck_assert_msg(!strstr(text, marks[i]), "%s", text);
}

static void expect_shown(const char *text)
{
        expect_no_marks(text);
        for (const char *at = text; (at = strstr(at, "': done")) != NULL; at++) /* '\'' for a shell, or \' */
                ck_assert_msg(at > text && (at[-1] == '\\' || at[-1] == '\''), "%s", text);
}

/* Messages are rendered in the notation: with \' and \\. */
static void expect_error(struct wire *c, const char *code, const char *options, const char *said)
{
        TEST_FREED char *message = NULL;

        expect(c, code, "open(" SENT ", {%s})", options);
        message = strdup(wire_error_message(c));
        ck_assert_msg(strlen(message) > 2, "%s", message);
        message[strlen(message) - 1] = '\0';
        for (char *to = message, *from = message + 1;; from++) {
                from += *from == '\\';
                if (!(*to++ = *from))
                        break;
        }
        expect_shown(message);
        ck_assert_msg(strstr(message, said), "%s", message);
}

#define SESSION "session '" QUOTED "': "

START_TEST(no_error_lets_it_speak)
{
        DAEMON d = daemon_start(.config = "idle-close = 0\n");
        CLIENT a = wire_connect(d);
        CLIENT b = wire_connect(d);
        TEST_FREED char *path = daemon_path(d, NAME);
        TEST_FREED char *said = test_format("%s%s", SESSION, "'");
        int s;

        expect_error(a, "!not_found", "create: false", SESSION "there is none");
        expect_error(a, "!not_found", "create: false, backend: 'memory'", SESSION "there is none in memory");

        test_write_file(path, "", 0);
        expect_error(a, "!corrupt", "", SESSION "its file is empty");
        ck_assert_int_eq(unlink(path), 0);
        ck_assert_int_eq(symlink("elsewhere", path), 0);
        expect_error(a, "!storage", "", said);
        expect_error(a, "!storage", "", QUOTED ".session' is a symbolic link");
        ck_assert_int_eq(unlink(path), 0);

        s = wire_open(a, SENT ", {mode: 'exclusive'}");
        expect_error(b, "!busy", "", "the session is held");
        expect(a, "nil", "close(%d)", s);
        {
                sqlite3 *db;

                ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
                sqlite3_busy_timeout(db, TEST_DEADLINE_MS);
                ck_assert_int_eq(sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
                expect_error(a, "!busy", "", SESSION "another program has its file locked");
                sqlite3_close(db);
        }
        {
                TEST_FREED char *log = daemon_log(d);

                ck_assert_ptr_nonnull(strstr(log, SESSION));
                expect_no_marks(log);
        }
}
END_TEST

START_TEST(a_refusal_by_owner_does_not_let_it_speak)
{
        if (!wire_has_strangers("errors for another user"))
                return;
        DAEMON d = daemon_start();
        CLIENT own = wire_connect(d);
        CLIENT other = wire_connect_stranger(d, 54321, 54321);

        expect(own, "nil", "close(%d)", wire_open(own, SENT ", {}"));
        expect_error(other, "!denied", "", "the owner of the session");
        {
                TEST_FREED char *log = daemon_log(d);
                const char *line = strstr(log, "denied");

                ck_assert_ptr_nonnull(line);
                expect_no_marks(line);
        }
}
END_TEST

int main(void)
{
        const TTest *const tests[] = { no_error_lets_it_speak, a_refusal_by_owner_does_not_let_it_speak,
                                       NULL };

        return test_program("hostile names", tests);
}
