/*
 * Every kind of session file that the libraries create, new or migrated, is opened, served, and closed as a
 * file that its library reads. A value with a column is in that column, a value without one in a table of
 * gramd's own; a file without such values has no such table.
 */

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../support/file_test.h"
#include "../support/no_fsync.h"
#include "../support/session_file.h"

#define NIL STORAGE_NIL

static void open_existing(void)
{
        int error = storage_try(&at, "x", NULL, false);

        ck_assert_msg(error == 0, "%d: %s", error, at.fault.text);
}

/* Where a peer's parts are. */
static const char *peers_of(const struct session_file *file)
{
        return file->telethon ? "entities" : "peers";
}

/* What the library of this kind of file writes: one peer of each shape, a name, a state. */
static void fill(const struct session_file *file)
{
        if (file->telethon)
                sql(PATH,
                    "INSERT INTO entities VALUES (7, 70, 'seven', 79001, 'Seven', 100),"
                    " (-5, 0, NULL, NULL, 'Group', NULL), (-1000000000009, 90, 'nine', NULL, 'Nine', 300)");
        else
                sql(PATH, "INSERT INTO peers (id, access_hash, type, phone_number, last_update_on) VALUES"
                          " (7, 70, 'bot', '79001', 100), (-5, NULL, 'group', NULL, 200),"
                          " (-1000000000009, 90, 'supergroup', NULL, 300)");
        if (!file->telethon && file->username)
                sql(PATH, "DROP TRIGGER trg_peers_last_update_on;"
                          "UPDATE peers SET username = 'seven' WHERE id = 7;"
                          "UPDATE peers SET username = 'nine' WHERE id = -1000000000009");
        if (file->usernames && file->one_owner)
                sql(PATH,
                    "CREATE TABLE IF NOT EXISTS usernames (id TEXT PRIMARY KEY, peer_id INTEGER NOT NULL,"
                    " last_update_on INTEGER NOT NULL);"
                    "INSERT INTO usernames VALUES ('alias', 7, 150)");
        else if (file->usernames)
                sql(PATH, "INSERT INTO usernames VALUES (7, 'alias')");
        if (file->states)
                sql(PATH, "INSERT INTO update_state VALUES (0, 1, 2, 3, 4)");
        sql(PATH, "UPDATE sessions SET dc_id = 4, auth_key = zeroblob(256)");
        if (file->api_id)
                sql(PATH,
                    "UPDATE sessions SET api_id = 12345, user_id = 42, is_bot = 1, date = 99, test_mode = 0");
}

START_TEST(what_a_library_wrote_is_served)
{
        const struct session_file *file = &session_files[_i];
        const struct identity *identity = &at.opened.identity;

        session_file_make(file, PATH);
        fill(file);
        open_existing();
        ck_assert_str_eq(at.opened.dialect, file->group);
        ck_assert_int_eq(at.opened.version, file->version);
        ck_assert(at.opened.keeps_address == file->address);
        ck_assert(!at.opened.created);
        ck_assert_int_eq(identity->number[FIELD_DC_ID], 4);
        ck_assert(identity_has(identity, FIELD_AUTH_KEY));
        ck_assert(identity_has(identity, FIELD_API_ID) == file->api_id);
        if (file->api_id) {
                ck_assert_int_eq(identity->number[FIELD_API_ID], 12345);
                ck_assert_int_eq(identity->number[FIELD_USER_ID], 42);
                ck_assert_int_eq(identity->number[FIELD_IS_BOT], 1);
                ck_assert_int_eq(identity->number[FIELD_TEST_MODE], 0);
                ck_assert(identity_has(identity, FIELD_TEST_MODE));
                ck_assert_int_eq(identity->number[FIELD_DATE], 99);
        }
        if (file->address) {
                ck_assert_str_eq(identity->server_address, "149.154.167.51");
                ck_assert_int_eq(identity->number[FIELD_PORT], 443);
        } else {
                ck_assert(!identity_has(identity, FIELD_SERVER_ADDRESS) &&
                          !identity_has(identity, FIELD_PORT));
        }
        if (file->telethon)
                storage_expect(storage_peers(&at, NULL, 10), "-1000000000009 90 channel nine nil 300; -5 0 "
                                                             "group nil nil 0; 7 70 user seven 79001 100");
        else if (file->username)
                storage_expect(storage_peers(&at, NULL, 10),
                               "-1000000000009 90 supergroup nine nil 300;"
                               " -5 nil group nil nil 200; 7 70 bot seven 79001 100");
        else
                storage_expect(storage_peers(&at, NULL, 10),
                               "-1000000000009 90 supergroup nil nil 300;"
                               " -5 nil group nil nil 200; 7 70 bot nil 79001 100");
        ck_assert_int_eq(storage_count(&at).peers, 3);
        storage_expect(storage_names(&at, NULL, 0, 10), file->usernames ? "alias 7" : "");
        storage_expect(storage_states(&at), file->states ? "0 1 2 3 4" : "");
}
END_TEST

START_TEST(a_file_that_was_only_read_is_the_librarys_as_before)
{
        const struct session_file *file = &session_files[_i];
        TEST_FREED char *before = NULL;
        TEST_FREED char *after = NULL;
        TEST_FREED char *mode = NULL;
        const char *all = "SELECT * FROM sessions UNION ALL SELECT * FROM sessions";

        session_file_make(file, PATH);
        fill(file);
        before = sql_text(PATH, "%s", all);
        mode = sql_text(PATH, "PRAGMA journal_mode");
        open_existing();
        storage_close(&at);
        after = sql_text(PATH, "%s", all);
        ck_assert_str_eq(before, after);
        storage_expect(sql_text(PATH, "SELECT count(*) FROM %s", peers_of(file)), "3");
        storage_expect(
                sql_text(PATH, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB 'gramd_*'"),
                "");
        storage_expect(sql_text(PATH, "PRAGMA journal_mode"), mode);
        storage_expect(sql_text(PATH, "PRAGMA application_id"), "0");
        storage_expect(sql_text(PATH, "PRAGMA integrity_check"), "'ok'");
        sql(PATH, "VACUUM");
        open_existing();
        ck_assert_int_eq(storage_count(&at).peers, 3);
}
END_TEST

/* What gramd writes is where the library looks for it. */
START_TEST(what_is_written_is_in_the_librarys_columns)
{
        const struct session_file *file = &session_files[_i];
        struct identity identity;
        uint8_t key[AUTH_KEY_BYTES];

        memset(key, 0xab, sizeof(key));
        identity_init(&identity);
        identity_set_number(&identity, FIELD_DC_ID, 5);
        identity_set_number(&identity, FIELD_TEST_MODE, 1);
        identity_set_key(&identity, key);
        identity_set_number(&identity, FIELD_DATE, 1700000000);
        identity_set_number(&identity, FIELD_USER_ID, 42);
        identity_set_number(&identity, FIELD_IS_BOT, 1);
        identity_set_number(&identity, FIELD_API_ID, 12345);
        ck_assert(identity_set_address(&identity, slice_of("1.2.3.4")));
        identity_set_number(&identity, FIELD_PORT, 5);
        session_file_make(file, PATH);
        open_existing();
        storage_put_fields(&at, FIELD_ALL & ~FIELD_BIT(FIELD_TAKEOUT_ID), &identity);
        storage_put_peer(&at, storage_peer(7, -70, "user", "seven", "79001", 100));
        storage_put_peer(&at, storage_peer(-1000000000009, 90, "channel", NULL, NULL, 300));
        storage_put_names(&at, 7, "alias other", 150);
        storage_put_state(&at, storage_state(0, 1, 2, 3, 4));
        storage_close(&at);

        storage_expect(
                sql_text(PATH, "SELECT dc_id, hex(substr(auth_key, 1, 2)), length(auth_key) FROM sessions"),
                "5|'ABAB'|256");
        if (!file->telethon)
                storage_expect(sql_text(PATH, "SELECT test_mode, date, user_id, is_bot FROM sessions"),
                               "1|1700000000|42|1");
        if (file->api_id)
                storage_expect(sql_text(PATH, "SELECT api_id FROM sessions"), "12345");
        if (file->address)
                storage_expect(sql_text(PATH, "SELECT server_address, port FROM sessions"), "'1.2.3.4'|5");
        if (file->telethon)
                storage_expect(
                        sql_text(PATH,
                                 "SELECT id, hash, username, phone, name, date FROM entities ORDER BY id"),
                        "-1000000000009|90|nil|nil|nil|300; 7|-70|'seven'|79001|nil|100");
        else
                storage_expect(
                        sql_text(PATH, "SELECT id, access_hash, type, phone_number, last_update_on FROM peers"
                                       " ORDER BY id"),
                        "-1000000000009|90|'channel'|nil|300; 7|-70|'user'|'79001'|100");
        if (file->username)
                storage_expect(sql_text(PATH, "SELECT username FROM %s ORDER BY id", peers_of(file)),
                               "nil; 'seven'");
        if (file->one_owner)
                storage_expect(
                        sql_text(PATH, "SELECT id, peer_id, last_update_on FROM usernames ORDER BY id"),
                        "'alias'|7|150; 'other'|7|150");
        else if (file->usernames)
                storage_expect(sql_text(PATH, "SELECT id, username FROM usernames ORDER BY username"),
                               "7|'alias'; 7|'other'");
        if (file->states)
                storage_expect(sql_text(PATH, "SELECT id, pts, qts, date, seq FROM update_state"),
                               "0|1|2|3|4");
        storage_expect(sql_text(PATH, "PRAGMA integrity_check"), "'ok'");
        identity_wipe(&identity);
}
END_TEST

/* All of it is read back, with or without a column. */
START_TEST(what_is_written_is_read_back)
{
        const struct session_file *file = &session_files[_i];
        const struct identity *identity = &at.opened.identity;

        session_file_make(file, PATH);
        open_existing();
        for (int field = 0; field < FIELD_COUNT; field++)
                if (field_infos[field].type == FIELD_NUMBER)
                        storage_put_number(&at, (enum field)field, 200 + field);
        storage_put_number(&at, FIELD_IS_BOT, 0);
        storage_put_peer(&at, storage_peer(7, NIL, "forum", "seven", "+79001", 100));
        storage_put_peer(&at, storage_peer(-8, 3, "supergroup", NULL, "x", 100));
        storage_put_names(&at, 7, "alias", 150);
        storage_put_state(&at, storage_state(9, NIL, 2, NIL, 0));
        for (int round = 0; round < 3; round++) {
                storage_close(&at);
                sql(PATH, "VACUUM");
                open_existing();
                for (int field = 0; field < FIELD_COUNT; field++)
                        if (field_infos[field].type == FIELD_NUMBER)
                                ck_assert_int_eq(identity->number[field], 200 + field);
                ck_assert(identity_has(identity, FIELD_IS_BOT) && identity->number[FIELD_IS_BOT] == 0);
                storage_expect(storage_by_phone(&at, "+79001"), "7 nil forum seven +79001 100");
                storage_expect(storage_by_phone(&at, "79001"), "");
                storage_expect(storage_by_username(&at, "seven"), "7 nil forum seven +79001 100");
                storage_expect(storage_by_username(&at, "alias"), "7 nil forum seven +79001 100 by name");
                storage_expect(storage_peers(&at, NULL, 9),
                               "-8 3 supergroup nil x 100; 7 nil forum seven +79001 100");
                storage_expect(storage_states(&at), "9 nil 2 nil 0");
        }
        ck_assert_str_eq(at.opened.dialect, file->group);
}
END_TEST

/* gramd's own tables are dropped when they are not needed any more. */
START_TEST(nothing_is_left_when_nothing_is_to_remember)
{
        const struct session_file *file = &session_files[_i];
        const int64_t gone = 9;

        session_file_make(file, PATH);
        open_existing();
        storage_put_number(&at, FIELD_API_ID, 1);
        storage_put_number(&at, FIELD_TAKEOUT_ID, 2);
        storage_put_peer(&at, storage_peer(7, NIL, "0", "seven", "+79001", 100));
        storage_put_names(&at, 7, "alias", 150);
        storage_put_state(&at, storage_state(9, NIL, 2, NIL, 0));
        storage_close(&at);
        storage_expect(sql_text(PATH, "SELECT count(*) > 0 FROM sqlite_schema WHERE name GLOB 'gramd_*'"),
                       "1");
        open_existing();
        storage_put_nil(&at, FIELD_API_ID);
        storage_put_nil(&at, FIELD_TAKEOUT_ID);
        storage_put_peer(&at, storage_peer(7, 1, "user", NULL, "79001", 100));
        storage_put_names(&at, 7, "", 150);
        ck_assert_int_eq(
                storage_apply(&at, &(struct change){ .kind = CHANGE_STATES_GONE, .ids = &gone, .n = 1 }, 1),
                0);
        storage_close(&at);
        storage_expect(
                sql_text(PATH, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB 'gramd_*'"),
                "");
}
END_TEST

/* ---- indexes ---- */

static void expect_index(const char *query)
{
        char *plan = sql_text(PATH, "EXPLAIN QUERY PLAN %s", query);

        ck_assert_msg(strstr(plan, "SEARCH") && !strstr(plan, "SCAN"), "%s: %s", query, plan);
        free(plan);
}

START_TEST(every_lookup_has_an_index)
{
        const struct session_file *file = &session_files[_i];

        session_file_make(file, PATH);
        open_existing();
        storage_put_peer(&at, storage_peer(7, 7, "user", "seven", NULL, 100));
        storage_put_names(&at, 7, "alias", 150);
        storage_close(&at);
        expect_index(file->telethon ? "SELECT 1 FROM entities WHERE phone = '1'"
                                    : "SELECT 1 FROM peers WHERE phone_number = '1'");
        if (file->telethon)
                expect_index("SELECT 1 FROM entities WHERE username = 'a'");
        else if (file->username)
                expect_index("SELECT 1 FROM peers WHERE username = 'a'");
        else
                expect_index("SELECT 1 FROM gramd_peers WHERE username = 'a'");
        if (!file->usernames) {
                expect_index("SELECT 1 FROM gramd_usernames WHERE username = 'a'");
                expect_index("SELECT 1 FROM gramd_usernames WHERE peer_id = 1");
        } else if (file->one_owner) {
                expect_index("SELECT 1 FROM usernames WHERE id = 'a'");
                expect_index("SELECT 1 FROM usernames WHERE peer_id = 1");
        } else {
                expect_index("SELECT 1 FROM usernames WHERE username = 'a'");
                expect_index("SELECT 1 FROM usernames WHERE id = 1");
        }
}
END_TEST

/* ---- new files ---- */

static const struct {
        const char *library;
        const char *like; /* the kind of file that it makes */
        const char *journal_mode;
} libraries[] = {
        { NULL, "pyrogram-3", "'delete'" },        { "pyrogram", "pyrogram-3", "'delete'" },
        { "hydrogram", "hydrogram-3", "'wal'" },   { "electrogram", "electrogram-4", "'wal'" },
        { "pyrofork", "pyrofork-4", "'delete'" },  { "kurigram", "kurigram-7", "'delete'" },
        { "irenogram", "kurigram-7", "'delete'" }, { "pyrotgfork", "pyrotgfork-6", "'wal'" },
        { "telethon", "telethon-8", "'delete'" },
};

/* Names, types, keys and order of all columns; triggers and indexes by name. */
static const char schema_query[] =
        "SELECT group_concat(x, ' ') FROM (SELECT m.name || '.' || c.name || ':' || lower(c.type) || c.pk ||"
        " c.\"notnull\" AS x FROM sqlite_schema m, pragma_table_info(m.name) c"
        " WHERE m.type = 'table' AND m.name NOT GLOB 'gramd_*' ORDER BY m.name, c.cid)"
        " UNION ALL SELECT group_concat(name, ' ') FROM (SELECT name FROM sqlite_schema"
        " WHERE type IN ('index', 'trigger') AND name NOT GLOB 'gramd_*' AND name NOT GLOB '*usernames_last*'"
        " ORDER BY name)";

START_TEST(a_new_file_is_what_its_library_makes)
{
        TEST_FREED char *expected = NULL;

        session_file_make(session_file(libraries[_i].like), "like.session");
        sql("like.session",
            "CREATE TABLE IF NOT EXISTS usernames (id TEXT PRIMARY KEY, peer_id INTEGER NOT NULL,"
            " last_update_on INTEGER NOT NULL)");
        if (!session_file(libraries[_i].like)->usernames)
                sql("like.session", "DROP TABLE usernames");
        expected = sql_text("like.session", "%s", schema_query);
        storage_open(&at, "x", libraries[_i].library);
        ck_assert(at.opened.created);
        ck_assert_str_eq(at.opened.dialect, session_file(libraries[_i].like)->group);
        ck_assert_int_eq(at.opened.version, session_file(libraries[_i].like)->version);
        storage_close(&at);
        storage_expect(sql_text(PATH, "%s", schema_query), expected);
        storage_expect(sql_text(PATH, "PRAGMA journal_mode"), libraries[_i].journal_mode);
        storage_expect(sql_text(PATH, "SELECT count(*), dc_id FROM sessions"), "1|2");
        test_remove("like.session");
}
END_TEST

START_TEST(a_dialect_is_for_new_sessions_only)
{
        session_file_make(session_file("telethon-8"), PATH);
        ck_assert_int_eq(storage_try(&at, "x", "kurigram", true), 0);
        ck_assert_str_eq(at.opened.dialect, "telethon");
        storage_close(&at);
        ck_assert_int_eq(storage_try(&at, "y", "pyrogramm", true), BACKEND_E_OPTION);
        ck_assert_ptr_nonnull(strstr(at.fault.text, "pyrogramm"));
        ck_assert_int_eq(storage_try(&at, "y", NULL, false), BACKEND_E_NOT_FOUND);
}
END_TEST

int main(void)
{
        Suite *suite = suite_create("dialects");
        TCase *files = tcase_create("files");
        TCase *fresh = tcase_create("new");
        SRunner *runner = srunner_create(suite);
        int kinds = 0;
        int failed;

        while (session_files[kinds].name)
                kinds++;
        tcase_add_checked_fixture(files, setup, teardown);
        tcase_set_timeout(files, TEST_TIMEOUT_S);
        tcase_add_loop_test(files, what_a_library_wrote_is_served, 0, kinds);
        tcase_add_loop_test(files, a_file_that_was_only_read_is_the_librarys_as_before, 0, kinds);
        tcase_add_loop_test(files, what_is_written_is_in_the_librarys_columns, 0, kinds);
        tcase_add_loop_test(files, what_is_written_is_read_back, 0, kinds);
        tcase_add_loop_test(files, nothing_is_left_when_nothing_is_to_remember, 0, kinds);
        tcase_add_loop_test(files, every_lookup_has_an_index, 0, kinds);
        suite_add_tcase(suite, files);
        tcase_add_checked_fixture(fresh, setup, teardown);
        tcase_set_timeout(fresh, TEST_TIMEOUT_S);
        tcase_add_loop_test(fresh, a_new_file_is_what_its_library_makes, 0,
                            sizeof(libraries) / sizeof(*libraries));
        tcase_add_test(fresh, a_dialect_is_for_new_sessions_only);
        suite_add_tcase(suite, fresh);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
