/*
 * The key-value area over the socket: values and their bounds, order and pages of a scan, swaps, who may use
 * it, who is told, and that the other things a session does leave it alone.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/program.h"
#include "../support/repeater.h"
#include "../support/session_file.h"
#include "../support/wire.h"

static const char *const backends[] = { "file", "memory" };
static const char *const dialects[] = { "pyrogram", "pyrofork", "kurigram", "telethon" };

enum {
        N_BACKENDS = sizeof(backends) / sizeof(backends[0]),
        N_DIALECTS = sizeof(dialects) / sizeof(dialects[0])
};

static int open_on(struct wire *c, const char *backend)
{
        return wire_open(c, "'anna', {backend: '%s'}", backend);
}

enum { TOGETHER = 4 };

/* Requests and their answers. They arrive at once, so writes in a row are in one transaction. */
static void expect_together(struct daemon *d, struct wire *c, int s, const char *const pairs[TOGETHER][2])
{
        uint32_t ids[TOGETHER];

        daemon_freeze(d);
        for (int i = 0; i < TOGETHER; i++)
                ids[i] = wire_send(c, pairs[i][0], s);
        daemon_thaw(d);
        for (int i = 0; i < TOGETHER; i++)
                expect_text(wire_answer(c, ids[i]), pairs[i][1]);
}

START_TEST(values_are_set_read_and_deleted)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);

        for (size_t i = 0; i < N_BACKENDS; i++) {
                int s = open_on(c, backends[i]);

                expect(c, "[]", "kv_get(%d, [])", s);
                expect(c, "[nil]", "kv_get(%d, ['a'])", s);
                expect(c, "nil", "kv_set(%d, [])", s);
                expect(c, "nil", "kv_set(%d, [['none', nil]])", s);
                expect(c, "nil", "kv_set(%d, [['a', h'00ff'], ['b', h''], ['\\xc3\\xa9\\x00', h'01', nil]])",
                       s);
                expect(c, "[h'', nil, h'00ff', h'01', h'00ff']",
                       "kv_get(%d, ['b', 'c', 'a', '\\xc3\\xa9\\x00', 'a'])", s);
                expect(c, "nil", "kv_set(%d, [['a', nil], ['c', h'02']])", s);
                expect(c, "[nil, h'', h'02']", "kv_get(%d, ['a', 'b', 'c'])", s);
                /* the last row of a key counts */
                expect(c, "nil", "kv_set(%d, [['c', h'03'], ['d', h'01'], ['c', nil], ['d', h'02']])", s);
                expect(c, "[nil, h'02']", "kv_get(%d, ['c', 'd'])", s);
                expect(c, "nil", "kv_set(%d, [['%s', h'05']])", s, "k");
        }
}
END_TEST

START_TEST(what_is_no_key_value_or_ttl_is_refused)
{
        static const char *const wrong[][2] = {
                { "kv_get", "['']" },
                { "kv_get", "['k'*256]" },
                { "kv_get", "[h'6b']" },
                { "kv_get", "[1]" },
                { "kv_get", "[nil]" },
                { "kv_get", "'k'" },
                { "kv_get", "['a', '\\xff']" },
                { "kv_set", "[['', h'00']]" },
                { "kv_set", "[['k'*256, h'00']]" },
                { "kv_set", "[['k', 'text']]" },
                { "kv_set", "[['k', 1]]" },
                { "kv_set", "[['k']]" },
                { "kv_set", "[['k', h'00', 1, 1]]" },
                { "kv_set", "[['k', h'00', 0]]" },
                { "kv_set", "[['k', h'00', -1]]" },
                { "kv_set", "[['k', h'00', 2147483648]]" },
                { "kv_set", "[['k', h'00', true]]" },
                { "kv_set", "[['k', nil, 0]]" },
                { "kv_set", "[['a', h'00'], 'k']" },
                { "kv_set", "{a: h'00'}" },
                { "kv_swap", "'', nil, nil" },
                { "kv_swap", "'k'*256, nil, nil" },
                { "kv_swap", "'k', 'text', nil" },
                { "kv_swap", "'k', nil, 'text'" },
                { "kv_swap", "'k', nil, h'00', 0" },
                { "kv_swap", "'k', nil, h'00', -5" },
                { "kv_swap", "'k', nil, h'00', 2147483648" },
                { "kv_swap", "'k', nil" },
                { "kv_swap", "'k', nil, h'00', nil, nil" },
                { "kv_scan", "'', nil, 0" },
                { "kv_scan", "'', '', 1" },
                { "kv_scan", "'', 'k'*256, 1" },
                { "kv_scan", "'k'*256, nil, 1" },
                { "kv_scan", "nil, nil, 1" },
                { "kv_scan", "'', nil" },
        };
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        int s = open_on(c, "file");

        for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
                expect(c, "!bad_request", "%s(%d, %s)", wrong[i][0], s, wrong[i][1]);
        expect(c, "!too_large", "kv_scan(%d, '', nil, 1001)", s);
        expect(c, "!too_large", "kv_get(%d, [1..1001])", s);
        expect(c, "[]", "kv_scan(%d, '', nil, 1000)", s);
        /* what is right at the bounds */
        expect(c, "nil", "kv_set(%d, [['k'*255, h'00', 1], ['z', h'01', 2147483647], ['y', h'02', nil]])", s);
        expect(c, "[h'01', h'02']", "kv_get(%d, ['z', 'y'])", s);
        expect(c, "[true, h'07']", "kv_swap(%d, 'x'*255, nil, h'07', 2147483647)", s);
}
END_TEST

START_TEST(a_wrong_row_of_a_long_list_changes_nothing)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        int s = open_on(c, "file");
        char list[4096] = "";
        size_t n = 0;

        for (int i = 0; i < 100; i++)
                n += (size_t)snprintf(list + n, sizeof(list) - n, "['k%03d', h'%02x'], ", i, i);
        expect(c, "!bad_request", "kv_set(%d, [%s['a', h'00', 0]])", s, list);
        expect(c, "!bad_request", "kv_set(%d, [%s['', h'00']])", s, list);
        expect(c, "!too_large", "kv_set(%d, [%s['a', h'00'*65537]])", s, list);
        expect(c, "[]", "kv_scan(%d, '', nil, 10)", s);
        expect(c, "nil", "kv_set(%d, [%s['k007', nil]])", s, list);
        expect(c, "[['k006', h'06'], ['k008', h'08']]", "kv_scan(%d, 'k', 'k005', 2)", s);
}
END_TEST

START_TEST(scans_are_in_the_order_of_bytes)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);

        for (size_t i = 0; i < N_BACKENDS; i++) {
                int s = open_on(c, backends[i]);

                expect(c, "nil",
                       "kv_set(%d, [['b', h'01'], ['a', h'02'], ['B', h'03'], ['a/b', h'04'], ['a/', h'05'],"
                       " ['a0', h'06'], ['\\xc3\\xa9', h'07'], ['\\x00', h'08'], ['\\xf4\\x8f\\xbf\\xbf', "
                       "h'09'], ['1', h'0a']])",
                       s);
                expect(c,
                       "[['\\x00', h'08'], ['1', h'0a'], ['B', h'03'], ['a', h'02'], ['a/', h'05'], ['a/b', "
                       "h'04'],"
                       " ['a0', h'06'], ['b', h'01'], ['\xc3\xa9', h'07'], ['\xf4\x8f\xbf\xbf', h'09']]",
                       "kv_scan(%d, '', nil, 1000)", s);
                expect(c, "[['a', h'02'], ['a/', h'05'], ['a/b', h'04'], ['a0', h'06']]",
                       "kv_scan(%d, 'a', nil, 9)", s);
                expect(c, "[['a/', h'05'], ['a/b', h'04']]", "kv_scan(%d, 'a/', nil, 9)", s);
                expect(c, "[['a/b', h'04']]", "kv_scan(%d, 'a/', 'a/', 9)", s);
                expect(c, "[]", "kv_scan(%d, 'a/', 'a/b', 9)", s);
                expect(c, "[['a/', h'05']]", "kv_scan(%d, 'a/', '1', 1)", s);
                expect(c, "[]", "kv_scan(%d, 'a/', 'b', 1)", s);
                expect(c, "[['a/', h'05'], ['a/b', h'04']]", "kv_scan(%d, 'a', 'a', 2)", s);
                expect(c, "[]", "kv_scan(%d, 'zz', nil, 9)", s);
        }
}
END_TEST

/* A page has at least one row, and each row is on one page. */
START_TEST(pages_fit_in_messages)
{
        DAEMON d = daemon_start(.config = "max-message = 256K\n");
        CLIENT c = wire_connect(d);
        int s = open_on(c, "file");
        char after[32] = "nil";
        int pages = 0, rows = 0;

        for (int i = 0; i < 40; i++)
                expect(c, "nil", "kv_set(%d, [['key%02d', h'%02x'*65536]])", s, i, i);
        for (;; pages++) {
                const char *page = wire_call(c, "kv_scan(%d, 'key', %s, 1000)", s, after);
                int before = rows;

                ck_assert_int_ne(*page, '!');
                for (const char *at = page; (at = strstr(at, "'key")); at++, rows++)
                        ck_assert_int_eq(atoi(at + 4), rows);
                if (rows == before)
                        break;
                ck_assert_int_le(rows - before, 3);
                snprintf(after, sizeof(after), "'key%02d'", rows - 1);
        }
        ck_assert_int_eq(rows, 40);
        expect(c, "!too_large", "kv_get(%d, ['key00', 'key01', 'key02', 'key03'])", s);
        expect(c, "[h'02...', h'01...']", "kv_get(%d, ['key02', 'key01'])", s);
}
END_TEST

/* With the last row the answer would be larger by one byte. */
START_TEST(a_page_has_room_for_its_answer)
{
        enum { ROWS = 16, KEY_BYTES = 32, VALUE_BYTES = 4000, LAST_BYTES = 4918, LONG_ID = 1 << 16 };
        DAEMON d = daemon_start(.config = "max-message = 64K\n");
        CLIENT c = wire_connect(d);
        int s = open_on(c, "file");
        const char *page;
        uint8_t *bytes;
        size_t len;
        int rows = 0;

        for (int i = 0; i < ROWS; i++)
                expect(c, "nil", "kv_set(%d, [['%0*d', h'00'*%d]])", s, KEY_BYTES, i,
                       i + 1 < ROWS ? VALUE_BYTES : LAST_BYTES);
        bytes = wire_pack(LONG_ID, &len, "kv_scan(%d, '', nil, 1000)", s);
        wire_raw(c, bytes, len);
        free(bytes);
        page = wire_answer(c, LONG_ID);
        ck_assert_int_ne(*page, '!');
        for (const char *at = page; (at = strstr(at, "['0")); at++)
                rows++;
        ck_assert_int_eq(rows, ROWS - 1);
}
END_TEST

START_TEST(values_and_areas_are_bounded)
{
        DAEMON d = daemon_start(.config = "kv-max = 128K\n");
        CLIENT c = wire_connect(d);
        const char *hello = wire_call(c, "hello({features: ['kv']})");

        ck_assert_int_eq(wire_number(hello, "kv_max_value"), 65536);
        ck_assert_int_eq(wire_number(hello, "kv_max"), 131072);
        ck_assert_ptr_nonnull(strstr(hello, "'kv'"));
        for (size_t i = 0; i < N_BACKENDS; i++) {
                int s = open_on(c, backends[i]);

                expect(c, "!too_large", "kv_set(%d, [['a', h'01'], ['k', h'00'*65537]])", s);
                expect(c, "!too_large", "kv_swap(%d, 'k', nil, h'00'*65537)", s);
                expect(c, "[nil, nil]", "kv_get(%d, ['a', 'k'])", s);
                /* names and values count: 65536 + 65532 + two names of two bytes are 128 KiB */
                expect(c, "nil", "kv_set(%d, [['k1', h'01'*65536], ['k2', h'02'*65532]])", s);
                expect(c, "!too_large", "kv_set(%d, [['x', h'']])", s);
                expect(c, "!too_large", "kv_set(%d, [['k2', h'02'*65533]])", s);
                expect(c, "!too_large", "kv_swap(%d, 'x', nil, h'')", s);
                expect(c, "!too_large", "kv_set(%d, [['k2', h'03'], ['k3', h'04'*65536], ['k4', h'']])", s);
                expect(c, "[['k1', h'01...'], ['k2', h'0202...']]", "kv_scan(%d, '', nil, 9)", s);
                /* what makes it no larger is stored */
                expect(c, "nil", "kv_set(%d, [['k2', h'04'*65532]])", s);
                expect(c, "nil", "kv_set(%d, [['k1', nil], ['k3', h'05'*65536]])", s);
                expect(c, "[true, nil]", "kv_swap(%d, 'k3', h'05'*65536, nil)", s);
                expect(c, "[true, h'06...']", "kv_swap(%d, 'k5', nil, h'06'*65536)", s);
                expect(c, "!too_large", "kv_set(%d, [['x', h'']])", s);
                expect(c, "nil", "close(%d)", s);
        }
}
END_TEST

START_TEST(a_refused_write_leaves_the_others_of_its_transaction)
{
        DAEMON d = daemon_start(.config = "kv-max = 1K\n");
        CLIENT c = wire_connect(d);
        int s = open_on(c, "file");

        expect_together(d, c, s,
                        (const char *const[TOGETHER][2]){
                                { "kv_set(%d, [['a', h'01']])", "nil" },
                                { "kv_set(%d, [['b', h'02'*2000]])", "!too_large" },
                                { "kv_swap(%d, 'c', nil, h'03'*1100)", "!too_large" },
                                { "kv_swap(%d, 'a', h'01', h'04')", "[true, h'04']" },
                        });
        expect(c, "!too_large", "kv_set(%d, [['b', h'02'*2000]])", s);
        ck_assert_ptr_nonnull(strstr(wire_error_message(c), "kv-max"));
        expect(c, "[['a', h'04']]", "kv_scan(%d, '', nil, 9)", s);
}
END_TEST

START_TEST(a_swap_writes_what_was_expected)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);

        for (size_t i = 0; i < N_BACKENDS; i++) {
                int s = open_on(c, backends[i]);

                expect(c, "[false, nil]", "kv_swap(%d, 'k', h'', h'01')", s);
                expect(c, "[false, nil]", "kv_swap(%d, 'k', h'00', nil)", s);
                expect(c, "[true, nil]", "kv_swap(%d, 'k', nil, nil)", s);
                expect(c, "[true, h'']", "kv_swap(%d, 'k', nil, h'')", s);
                expect(c, "[false, h'']", "kv_swap(%d, 'k', nil, h'01')", s);
                expect(c, "[false, h'']", "kv_swap(%d, 'k', h'00', h'01')", s);
                expect(c, "[true, h'01']", "kv_swap(%d, 'k', h'', h'01', nil)", s);
                expect(c, "[true, h'01']", "kv_swap(%d, 'k', h'01', h'01')", s);
                expect(c, "[h'01']", "kv_get(%d, ['k'])", s);
                expect(c, "[true, nil]", "kv_swap(%d, 'k', h'01', nil)", s);
                expect(c, "[nil]", "kv_get(%d, ['k'])", s);
        }
}
END_TEST

/* Sixteen clients count; no step is lost. */
START_TEST(a_counter_of_swaps_is_right)
{
        enum { CLIENTS = 16, STEPS = 25 };
        DAEMON d = daemon_start();
        struct wire *c[CLIENTS];
        int s[CLIENTS], left = CLIENTS * STEPS, done[CLIENTS] = { 0 }, seen[CLIENTS] = { 0 };
        uint32_t asked[CLIENTS];

        for (int i = 0; i < CLIENTS; i++) {
                c[i] = wire_connect(d);
                s[i] = open_on(c[i], "file");
        }
        expect(c[0], "nil", "kv_set(%d, [['n', h'0000']])", s[0]);
        while (left > 0) {
                for (int i = 0; i < CLIENTS; i++)
                        if (done[i] < STEPS)
                                asked[i] = wire_send(c[i], "kv_swap(%d, 'n', h'%04x', h'%04x')", s[i],
                                                     seen[i], seen[i] + 1);
                for (int i = 0; i < CLIENTS; i++) {
                        const char *answer, *value;

                        if (done[i] == STEPS)
                                continue;
                        answer = wire_answer(c[i], asked[i]);
                        value = strstr(answer, "h'");
                        ck_assert_ptr_nonnull(value);
                        seen[i] = (int)strtol(value + 2, NULL, 16);
                        if (strncmp(answer, "[true", 5) == 0) {
                                done[i]++;
                                left--;
                        }
                }
        }
        expect(c[0], "[h'0190']", "kv_get(%d, ['n'])", s[0]); /* 400 */
        for (int i = 0; i < CLIENTS; i++)
                wire_end(&c[i]);
}
END_TEST

START_TEST(files_of_all_dialects_keep_it)
{
        DAEMON d = daemon_start();
        struct wire *c = wire_connect(d);

        for (size_t i = 0; i < N_DIALECTS; i++) {
                int s = wire_open(c, "'%s', {dialect: '%s'}", dialects[i], dialects[i]);

                expect(c, "nil", "kv_set(%d, [['k', h'%02zx']])", s, i);
                expect(c, "nil", "update_peers(%d, [[7, 70, 'user', 'anna', nil]])", s);
        }
        wire_end(&c);
        daemon_kill(d);
        daemon_resume(d);
        c = wire_connect(d);
        for (size_t i = 0; i < N_DIALECTS; i++) {
                TEST_FREED char *expected = test_format("[h'%02zx']", i);
                int s = wire_open(c, "'%s', {}", dialects[i]);

                expect(c, expected, "kv_get(%d, ['k'])", s);
                expect(c, "nil", "kv_set(%d, [['k', nil]])", s);
        }
        wire_end(&c);
        daemon_stop(d);
        for (size_t i = 0; i < N_DIALECTS; i++) {
                TEST_FREED char *path = daemon_path(d, dialects[i]);
                TEST_FREED char *tables =
                        sql_text(path, "SELECT count(*) FROM sqlite_schema WHERE name GLOB 'gramd_kv*'");

                ck_assert_str_eq(tables, "0"); /* an empty area leaves nothing behind */
        }
        daemon_resume(d);
}
END_TEST

#define TABLE_WITH(more)                                                                                     \
        "CREATE TABLE gramd_kv (key BLOB NOT NULL UNIQUE, value BLOB NOT NULL, expires INTEGER" more

/* It could refuse writes, and with them all others of a transaction. */
START_TEST(an_area_that_gramd_has_not_made_is_refused)
{
        static const char *const tables[] = {
                "CREATE TABLE gramd_kv (key, value, expires)",
                "CREATE TABLE gramd_kv (key UNIQUE, value, expires AS (1))",
                "CREATE VIEW gramd_kv AS SELECT 1 AS key, 1 AS value, 1 AS expires",
                TABLE_WITH(")"), /* without its index */
                TABLE_WITH(", CHECK (0))"),
                TABLE_WITH(", more AS (value) STORED UNIQUE)"),
                TABLE_WITH(", more NOT NULL)"),
                "CREATE TABLE gramd_kv (key INTEGER NOT NULL UNIQUE, value TEXT, expires ANY) STRICT",
                "CREATE TABLE GRAMD_KV (key)",
                "CREATE INDEX gramd_kv ON peers (id)",
                "CREATE INDEX gramd_kv_expires ON peers (id)",
                "CREATE UNIQUE INDEX other ON gramd_kv (length(value))",
                "CREATE TRIGGER other BEFORE INSERT ON gramd_kv BEGIN SELECT RAISE(ABORT, 'no'); END",
                "CREATE TABLE gramd_peers (id INTEGER PRIMARY KEY, kept CHECK (0))",
        };
        DAEMON d = daemon_start(.config = "idle-close = 0\n");
        CLIENT c = wire_connect(d);

        for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
                TEST_FREED char *name = test_format("foreign%zu", i);
                TEST_FREED char *path = daemon_path(d, name);
                int s = wire_open(c, "'%s', {}", name);

                if (strstr(tables[i], "ON gramd_kv"))
                        expect(c, "nil", "kv_set(%d, [['k', h'01']])", s);
                expect(c, "nil", "close(%d)", s);
                await_closed(c);
                sql(path, "%s", tables[i]);
                expect(c, "!corrupt", "open('%s', {})", name);
                ck_assert_ptr_nonnull(
                        strstr(wire_error_message(c), "or an index or trigger of it, is not gramd"));
        }
}
END_TEST

START_TEST(deletion_takes_it_along)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);

        for (size_t i = 0; i < N_BACKENDS; i++) {
                int s = open_on(c, backends[i]);

                expect(c, "nil", "kv_set(%d, [['k', h'01']])", s);
                expect(c, "nil", "delete(%d, {remove_peers: false})", s);
                s = open_on(c, backends[i]);
                expect(c, "[nil]", "kv_get(%d, ['k'])", s);
                expect(c, "nil", "close(%d)", s);
        }
}
END_TEST

START_TEST(who_may_only_read_is_denied_all_of_it)
{
        if (!wire_has_strangers("rights on the key-value area"))
                return;
        DAEMON d = daemon_start(.config = "[access]\neveryone = read on *\n");
        CLIENT own = wire_connect(d);
        CLIENT c = wire_connect_stranger(d, 54321, 54322);
        int w = open_on(own, "file"), s = open_on(c, "file");

        expect(own, "nil", "kv_set(%d, [['k', h'01']])", w);
        expect(c, "!denied", "kv_get(%d, ['k'])", s);
        expect(c, "!denied", "kv_scan(%d, '', nil, 1)", s);
        expect(c, "!denied", "kv_set(%d, [['k', h'02']])", s);
        expect(c, "!denied", "kv_swap(%d, 'k', h'01', h'02')", s);
        expect(own, "[h'01']", "kv_get(%d, ['k'])", w);
        /* nor is he told, even if he announces the feature */
        expect(c, "{...}", "hello({features: ['kv']})");
        expect(c, "nil", "watch(%d, true)", s);
        expect(own, "nil", "kv_set(%d, [['k', h'03']])", w);
        wire_not_told(c);
        expect(own, "nil", "update_states(%d, [[1, 1, 1, 1, 1]])", w);
        expect_text(
                wire_told(c),
                "changed(...{all: false, fields: [], peers: [], phones: [], states: [1], usernames: []})");
}
END_TEST

/* Also those whose clients do not announce the feature: they ignore keys that they do not know. */
START_TEST(watchers_that_may_write_are_told_of_keys)
{
        DAEMON d = daemon_start();
        CLIENT w = wire_connect(d);
        CLIENT knows = wire_connect(d);
        CLIENT old = wire_connect(d);
        struct wire *const watchers[] = { knows, old };
        int s = open_on(w, "file");

        expect(knows, "{...}", "hello({features: ['kv']})");
        for (int i = 0; i < 2; i++)
                expect(watchers[i], "nil", "watch(%d, true)", open_on(watchers[i], "file"));
        expect(w, "nil", "kv_set(%d, [['b', h'01'], ['a', nil]])", s);
        for (int i = 0; i < 2; i++)
                expect_text(wire_told(watchers[i]),
                            "changed(..., {all: false, fields: [], kv: ['a', 'b'], peers: [], phones: [],"
                            " states: [], usernames: []})");
        expect(w, "[true, h'02']", "kv_swap(%d, 'b', h'01', h'02')", s);
        for (int i = 0; i < 2; i++)
                expect_text(wire_told(watchers[i]), "changed(..., {...kv: ['b']...})");
        expect(w, "[false, h'02']", "kv_swap(%d, 'b', h'01', h'03')", s); /* nothing has changed */
        expect(w, "!too_large", "kv_set(%d, [['c', h'00'*65537]])", s);
        expect(w, "[h'02']", "kv_get(%d, ['b'])", s);
        for (int i = 0; i < 2; i++)
                wire_not_told(watchers[i]);
        expect(w, "nil", "update_states(%d, [[1, 1, 1, 1, 1]])", s);
        for (int i = 0; i < 2; i++)
                expect_text(wire_told(watchers[i]), "changed(..., {all: false, fields: [], peers: [],"
                                                    " phones: [], states: [1], usernames: []})");
}
END_TEST

START_TEST(a_change_of_very_many_keys_says_all)
{
        DAEMON d = daemon_start();
        CLIENT w = wire_connect(d);
        CLIENT watcher = wire_connect(d);
        int s = open_on(w, "file");
        char *list = calloc(5000, 32);
        size_t n = 0;

        expect(watcher, "nil", "watch(%d, true)", open_on(watcher, "file"));
        for (int i = 0; i < 5000; i++)
                n += (size_t)sprintf(list + n, "%s['k%d', h'00']", i ? ", " : "", i);
        expect(w, "nil", "kv_set(%d, [%s])", s, list);
        expect_text(wire_told(watcher), "changed(..., {all: true, ...})");
        free(list);
}
END_TEST

/* A read that follows a write of the same client sees it. */
START_TEST(requests_take_effect_in_order)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        int s = open_on(c, "file");

        expect_together(d, c, s,
                        (const char *const[TOGETHER][2]){
                                { "kv_set(%d, [['k', h'01']])", "nil" },
                                { "kv_get(%d, ['k'])", "[h'01']" },
                                { "kv_swap(%d, 'k', h'01', h'02')", "[true, h'02']" },
                                { "kv_scan(%d, '', nil, 5)", "[['k', h'02']]" },
                        });
}
END_TEST

START_TEST(a_backend_without_an_area_says_so)
{
        TEST_FREED char *toy = test_format("%s/tests/gramd-toy", getenv("BUILD"));
        DAEMON d = daemon_start(.program = toy, .config = "backend = toy\n");
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");

        expect(c, "!bad_request", "kv_get(%d, ['k'])", s);
        ck_assert_ptr_nonnull(strstr(wire_error_message(c), "toy"));
        expect(c, "!bad_request", "kv_scan(%d, '', nil, 1)", s);
        expect(c, "!bad_request", "kv_set(%d, [['k', h'01']])", s);
        expect(c, "!bad_request", "kv_swap(%d, 'k', nil, h'01')", s);
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                values_are_set_read_and_deleted,
                what_is_no_key_value_or_ttl_is_refused,
                a_wrong_row_of_a_long_list_changes_nothing,
                scans_are_in_the_order_of_bytes,
                pages_fit_in_messages,
                a_page_has_room_for_its_answer,
                values_and_areas_are_bounded,
                a_refused_write_leaves_the_others_of_its_transaction,
                a_swap_writes_what_was_expected,
                a_counter_of_swaps_is_right,
                files_of_all_dialects_keep_it,
                an_area_that_gramd_has_not_made_is_refused,
                deletion_takes_it_along,
                who_may_only_read_is_denied_all_of_it,
                watchers_that_may_write_are_told_of_keys,
                a_change_of_very_many_keys_says_all,
                requests_take_effect_in_order,
                a_backend_without_an_area_says_so,
                NULL,
        };

        return test_program("kv", tests);
}
