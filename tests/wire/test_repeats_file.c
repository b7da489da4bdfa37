/*
 * What the file of a session remembers of its writes across the death of the daemon: what it does to a newer
 * memory, and what another program may have written into it.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../support/program.h"
#include "../support/repeater.h"
#include "../support/session_file.h"

enum { AT_ONCE = 256, IDS = 64 };

static void kill_and_resume(struct daemon *d, struct wire **c)
{
        daemon_kill(d);
        wire_end(c);
        daemon_resume(d);
}

static void await_all_closed(const struct daemon *d)
{
        CLIENT c = wire_connect(d);

        await_closed(c);
}

/* gramd's own tables in it, but that of the fields, which has the owner. */
static void expect_tables(const char *path, const char *expected)
{
        TEST_FREED char *tables =
                sql_text(path, "SELECT group_concat(name) FROM sqlite_schema WHERE name GLOB 'gramd_*'"
                               " AND name <> 'gramd_fields'");

        ck_assert_str_eq(tables, expected);
}

START_TEST(an_orderly_end_leaves_nothing_in_the_file)
{
        DAEMON d = daemon_start();
        TEST_FREED char *path = daemon_path(d, "anna");
        struct wire *a = connect_as(d, ID);
        int s = wire_open(a, "'anna', {}");

        write_as(a, MSGID, "nil", "set", s, ", {user_id: 1}");
        wire_end(&a);
        daemon_stop(d);
        expect_tables(path, "nil");
        daemon_resume(d);
}
END_TEST

/* Starts after a death keep what is needed for repetitions, but not for ever. */
START_TEST(after_a_death_the_file_remembers_for_ten_minutes)
{
        DAEMON d = daemon_start(.config = "idle-close = 0\n");
        TEST_FREED char *path = daemon_path(d, "anna");
        struct wire *a = connect_as(d, ID), *b;
        int s = wire_open(a, "'anna', {}");

        write_as(a, MSGID, "nil", "set", s, ", {user_id: 1}");
        daemon_kill(d);
        wire_end(&a);
        daemon_resume(d);
        b = wire_connect(d);
        expect(b, "nil", "set(%d, {user_id: 2})", wire_open(b, "'anna', {}"));
        wire_end(&b);
        daemon_stop(d); /* closes the file in order */
        expect_tables(path, "'gramd_remembered'");
        daemon_resume(d);
        a = connect_as(d, ID);
        s = wire_open(a, "'anna', {}");
        write_as(a, MSGID, "nil", "set", s, ", {user_id: 1}");
        expect(a, "[2]", "get(%d, ['user_id'])", s);
        wire_end(&a);
        daemon_stop(d);
        sql(path, "UPDATE gramd_remembered SET at = at - 601");
        daemon_resume(d);
        a = connect_as(d, ID);
        wire_open(a, "'anna', {}");
        wire_end(&a);
        daemon_stop(d);
        expect_tables(path, "nil");
        daemon_resume(d);
}
END_TEST

/* Another program has written into gramd's table. */
START_TEST(nonsense_in_the_file_is_ignored)
{
        static const char *const nonsense[] = {
                "number = 9223372036854775807",
                "number = -1",
                "number = 'x'",
                "at = 'x'",
                "writes = 'text'",
                "writes = zeroblob(0)",
                "writes = zeroblob(21)",
                "writes = zeroblob(22)",
                "writes = zeroblob(100000)",
                "writes = randomblob(100000)",
                "writes = CAST(replace(hex(zeroblob(500)), '00', char(127)) AS BLOB)",
        };
        DAEMON d = daemon_start();
        TEST_FREED char *path = daemon_path(d, "anna");
        struct wire *a;
        int s;

        for (size_t i = 0; i < sizeof(nonsense) / sizeof(nonsense[0]); i++) {
                a = connect_as(d, ID);
                s = wire_open(a, "'anna', {}");
                write_as(a, MSGID + (uint32_t)i, "nil", "set", s, ", {user_id: 1}");
                wire_end(&a);
                daemon_kill(d);
                sql(path, "UPDATE gramd_remembered SET %s", nonsense[i]);
                daemon_resume(d);
                a = connect_as(d, ID);
                s = wire_open(a, "'anna', {}");
                write_as(a, 2 * MSGID + (uint32_t)i, "nil", "set", s, ", {user_id: 2}");
                expect(a, "[2]", "get(%d, ['user_id'])", s);
                wire_end(&a);
                daemon_stop(d);
                sql(path, "DROP TABLE IF EXISTS gramd_remembered");
                daemon_resume(d);
        }
}
END_TEST

/* The session is closed and opened again, within ten minutes after a death. */
START_TEST(what_the_file_has_does_not_replace_a_newer_memory)
{
        DAEMON d = daemon_start(.config = "idle-close = 0\n");
        struct wire *a = connect_as(d, ID), *b;
        int s = wire_open(a, "'anna', {}"), t;

        for (uint32_t i = 0; i < AT_ONCE; i++)
                send_as(a, MSGID + i, "set", s, ", {user_id: 1}");
        for (uint32_t i = 0; i < AT_ONCE; i++)
                expect_text(wire_answer(a, MSGID + i), "nil");
        kill_and_resume(d, &a);
        a = connect_as(d, ID);
        write_as(a, MSGID + AT_ONCE, "nil", "set", wire_open(a, "'anna', {}"), ", {user_id: 1}");
        wire_end(&a);
        await_all_closed(d);
        b = wire_connect(d);
        t = wire_open(b, "'anna', {}");
        expect(b, "nil", "set(%d, {user_id: 2})", t);
        a = connect_as(d, ID);
        write_as(a, MSGID + AT_ONCE, "nil", "set", wire_open(a, "'anna', {}"), ", {user_id: 1}");
        expect(b, "[2]", "get(%d, ['user_id'])", t);
        wire_end(&a);
        wire_end(&b);
}
END_TEST

/* The same with the ids: the file has as many as a session remembers. */
START_TEST(ids_of_the_file_do_not_replace_a_newer_one)
{
        DAEMON d = daemon_start(.config = "idle-close = 0\n");
        struct wire *a, *b, *c[IDS];
        int t, s[IDS];

        b = wire_connect(d);
        t = wire_open(b, "'anna', {}");
        for (int i = 0; i < IDS; i++) {
                TEST_FREED char *id = test_format("h'%032d'", i);

                c[i] = connect_as(d, id);
                s[i] = wire_open(c[i], "'anna', {}");
        }
        daemon_freeze(d); /* so that they are few transactions */
        for (int i = 0; i < IDS; i++)
                send_as(c[i], MSGID, "set", s[i], ", {user_id: 1}");
        daemon_thaw(d);
        for (int i = 0; i < IDS; i++) {
                expect_text(wire_answer(c[i], MSGID), "nil");
                wire_end(&c[i]);
        }
        kill_and_resume(d, &b);
        a = connect_as(d, ID);
        write_as(a, MSGID, "nil", "set", wire_open(a, "'anna', {}"), ", {user_id: 1}");
        wire_end(&a);
        await_all_closed(d);
        b = wire_connect(d);
        t = wire_open(b, "'anna', {}");
        expect(b, "nil", "set(%d, {user_id: 2})", t);
        a = connect_as(d, ID);
        write_as(a, MSGID, "nil", "set", wire_open(a, "'anna', {}"), ", {user_id: 1}");
        expect(b, "[2]", "get(%d, ['user_id'])", t);
        wire_end(&a);
        wire_end(&b);
}
END_TEST

/* A msgid is one request, also where the rows are stored already. */
START_TEST(a_msgid_that_is_used_twice_is_refused_at_once_too)
{
        DAEMON d = daemon_start();
        CLIENT a = connect_as(d, ID);
        int s = wire_open(a, "'anna', {}");

        write_as(a, MSGID, "nil", "update_peers", s, ", [[7, 1, 'user', nil, nil]]");
        write_as(a, MSGID + 1, "nil", "set", s, ", {user_id: 1}");
        write_as(a, MSGID + 1, "!bad_request", "update_peers", s, ", [[7, 1, 'user', nil, nil]]");
}
END_TEST

/* Rows of the table whose time is any number, and too many of them. */
START_TEST(a_file_with_any_times_is_closed_in_order)
{
        DAEMON d = daemon_start(.config = "idle-close = 0\n");
        TEST_FREED char *path = daemon_path(d, "anna");
        struct wire *a = connect_as(d, ID);

        write_as(a, MSGID, "nil", "set", wire_open(a, "'anna', {}"), ", {user_id: 1}");
        kill_and_resume(d, &a);
        daemon_stop(d);
        sql(path, "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 600)"
                  " INSERT INTO gramd_remembered SELECT 100 + i, 0,"
                  " (-9223372036854775807 - 1) + (strftime('%%s', 'now') + i - 100), x'' FROM n");
        daemon_resume(d);
        a = connect_as(d, ID);
        write_as(a, MSGID + 1, "nil", "set", wire_open(a, "'anna', {}"), ", {user_id: 2}");
        wire_end(&a);
        await_all_closed(d);
        ck_assert_int_eq(daemon_log_lines(d, "not closed in order"), 0);
        daemon_stop(d);
        {
                TEST_FREED char *mark =
                        sql_text(path, "SELECT * FROM pragma_application_id, pragma_journal_mode");

                ck_assert_str_eq(mark, "0|'delete'");
        }
        daemon_resume(d);
}
END_TEST

#define OF_GRAMD                                                                                             \
        "CREATE TABLE gramd_remembered (place INTEGER PRIMARY KEY, number INTEGER NOT NULL,"                 \
        " at INTEGER NOT NULL, writes BLOB NOT NULL)"

/* Tables that gramd has not made: with nonsense in them, or of another form. The latter are refused. */
START_TEST(other_tables_of_that_name)
{
        static const struct {
                const char *ddl;
                bool opens;
        } tables[] = {
                { OF_GRAMD
                  "; INSERT INTO gramd_remembered VALUES (1, 1, strftime('%s', 'now'), zeroblob(2000000))",
                  true },
                { OF_GRAMD
                  "; WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)"
                  "INSERT INTO gramd_remembered SELECT i, i, strftime('%s', 'now'), randomblob(2000) FROM n",
                  true },
                { "CREATE TABLE gramd_remembered (place, number, at, writes)", false },
                { "CREATE TABLE gramd_remembered (place INTEGER PRIMARY KEY, number, at, writes) WITHOUT "
                  "ROWID",
                  false },
                { "CREATE TABLE gramd_remembered (place, number, at)", false },
                { "CREATE VIEW gramd_remembered AS SELECT 1 AS place, 1 AS number, 1 AS at, x'00' AS writes",
                  false },
        };
        DAEMON d = daemon_start(.config = "idle-close = 0\n");

        for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
                TEST_FREED char *name = test_format("t%zu", i);
                TEST_FREED char *path = daemon_path(d, name);
                struct wire *a = connect_as(d, ID);

                write_as(a, MSGID, "nil", "set", wire_open(a, "'%s', {}", name), ", {user_id: 1}");
                wire_end(&a);
                await_all_closed(d);
                sql(path, "%s", tables[i].ddl);
                a = connect_as(d, ID);
                if (tables[i].opens) {
                        int s = wire_open(a, "'%s', {}", name);

                        write_as(a, MSGID + 1, "nil", "set", s, ", {user_id: 2}");
                        write_as(a, MSGID + 1, "nil", "set", s, ", {user_id: 2}");
                        expect(a, "[2]", "get(%d, ['user_id'])", s);
                } else {
                        expect(a, "!corrupt", "open('%s', {})", name);
                }
                wire_end(&a);
                await_all_closed(d);
                ck_assert_int_eq(daemon_log_lines(d, "not closed in order"), 0);
        }
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                an_orderly_end_leaves_nothing_in_the_file,
                after_a_death_the_file_remembers_for_ten_minutes,
                nonsense_in_the_file_is_ignored,
                what_the_file_has_does_not_replace_a_newer_memory,
                ids_of_the_file_do_not_replace_a_newer_one,
                a_msgid_that_is_used_twice_is_refused_at_once_too,
                a_file_with_any_times_is_closed_in_order,
                other_tables_of_that_name,
                NULL,
        };

        return test_program("repeats_file", tests);
}
