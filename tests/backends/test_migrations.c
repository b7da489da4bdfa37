/*
 * Libraries migrate a file to a newer version, and write to it while gramd does not have it open. Values in
 * gramd's tables move to the library's columns when these exist; values that the library has written since
 * count.
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

static void open_kind(const char *kind)
{
        session_file_make(session_file(kind), PATH);
        open_existing();
}

/* Closed, changed by another program, opened again. */
static void meanwhile(const char *text)
{
        storage_close(&at);
        sql(PATH, "%s", text);
        open_existing();
}

static void put_address(const char *address, int64_t port)
{
        struct identity identity;

        identity_init(&identity);
        ck_assert(identity_set_address(&identity, slice_of(address)));
        identity_set_number(&identity, FIELD_PORT, port);
        storage_put_fields(&at, FIELD_BIT(FIELD_SERVER_ADDRESS) | FIELD_BIT(FIELD_PORT), &identity);
        identity_wipe(&identity);
}

static void expect_no_tables(void)
{
        storage_expect(
                sql_text(PATH, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB 'gramd_*'"),
                "");
}

/* ---- identity ---- */

FILE_TEST(an_api_id_moves_to_its_column)
{
        open_kind("pyrogram-2");
        storage_put_number(&at, FIELD_API_ID, 12345);
        meanwhile(step_2_to_3);
        ck_assert_int_eq(at.opened.version, 3);
        ck_assert_int_eq(at.opened.identity.number[FIELD_API_ID], 12345);
        storage_close(&at);
        storage_expect(sql_text(PATH, "SELECT api_id FROM sessions"), "12345");
        expect_no_tables();
}

FILE_TEST(an_api_id_that_the_library_has_set_counts)
{
        open_kind("pyrogram-2");
        storage_put_number(&at, FIELD_API_ID, 12345);
        storage_close(&at);
        sql(PATH, "%s", step_2_to_3);
        sql(PATH, "UPDATE sessions SET api_id = 777");
        open_existing();
        ck_assert_int_eq(at.opened.identity.number[FIELD_API_ID], 777);
        storage_close(&at);
        expect_no_tables();
}

FILE_TEST(an_address_that_waited_replaces_the_migrations)
{
        open_kind("kurigram-1-to-6");
        put_address("10.0.0.1", 8443);
        meanwhile(kurigram_6_to_7);
        ck_assert_int_eq(at.opened.version, 7);
        ck_assert_str_eq(at.opened.identity.server_address, "10.0.0.1");
        ck_assert_int_eq(at.opened.identity.number[FIELD_PORT], 8443);
        storage_close(&at);
        storage_expect(sql_text(PATH, "SELECT server_address, port FROM sessions"), "'10.0.0.1'|8443");
        expect_no_tables();
}

FILE_TEST(an_address_that_the_library_has_set_counts)
{
        open_kind("kurigram-1-to-6");
        put_address("10.0.0.1", 8443);
        storage_close(&at);
        sql(PATH, "%s", kurigram_6_to_7);
        sql(PATH, "UPDATE sessions SET server_address = '10.9.9.9', dc_id = 4");
        open_existing();
        ck_assert_str_eq(at.opened.identity.server_address, "10.9.9.9");
        storage_close(&at);
        storage_expect(sql_text(PATH, "SELECT server_address FROM sessions"), "'10.9.9.9'");
}

/* The migration fills in the address of the data centre that the session has moved to. */
FILE_TEST(an_address_that_waited_outlives_a_move)
{
        open_kind("kurigram-1-to-6");
        put_address("10.0.0.1", 8443);
        storage_put_number(&at, FIELD_DC_ID, 4);
        storage_close(&at);
        sql(PATH, "%s", kurigram_6_to_7);
        sql(PATH, "UPDATE sessions SET server_address = '149.154.167.91'");
        open_existing();
        ck_assert_str_eq(at.opened.identity.server_address, "10.0.0.1");
}

FILE_TEST(an_address_nobody_set_is_the_migrations)
{
        open_kind("kurigram-1-to-6");
        meanwhile(kurigram_6_to_7);
        ck_assert_str_eq(at.opened.identity.server_address, "149.154.167.51");
        ck_assert_int_eq(at.opened.identity.number[FIELD_PORT], 443);
}

/* ---- usernames and states ---- */

FILE_TEST(names_of_peers_that_a_migration_has_emptied_are_dropped)
{
        open_kind("pyrogram-1");
        storage_put_peer(&at, storage_peer(7, 7, "user", "seven", NULL, 1));
        storage_put_names(&at, 7, "alias", 5);
        storage_put_names(&at, 8, "early", 5);
        meanwhile(step_1_to_2);
        storage_expect(storage_names(&at, NULL, 0, 10), "");
        storage_put_names(&at, 9, "later", 5);
        meanwhile("SELECT 1");
        storage_expect(storage_names(&at, NULL, 0, 10), "later 9");
        meanwhile(step_2_to_3);
        storage_expect(storage_names(&at, NULL, 0, 10), "later 9");
}

FILE_TEST(names_and_states_move_to_pyroforks_tables)
{
        open_kind("pyrogram-3");
        storage_put_peer(&at, storage_peer(1, 1, "user", NULL, NULL, 1));
        storage_put_peer(&at, storage_peer(2, 2, "user", NULL, NULL, 1));
        storage_put_names(&at, 1, "one both", 20);
        storage_put_names(&at, 2, "two both", 10);
        storage_put_state(&at, storage_state(5, 1, NIL, 3, 4));
        meanwhile(pyrofork_3_to_4);
        ck_assert_str_eq(at.opened.dialect, "pyrofork");
        storage_expect(storage_names(&at, NULL, 0, 10), "both 1; one 1; two 2");
        storage_expect(storage_states(&at), "5 1 nil 3 4");
        storage_close(&at);
        storage_expect(sql_text(PATH, "SELECT id, peer_id, last_update_on FROM usernames ORDER BY id"),
                       "'both'|1|20; 'one'|1|20; 'two'|2|10");
        storage_expect(sql_text(PATH, "SELECT * FROM update_state"), "5|1|nil|3|4");
        expect_no_tables();
}

/* Pyrofork 2.4.0rc1 and pyroexalt keep usernames in version 3, in a table made at need. */
FILE_TEST(names_move_to_the_table_of_version_3)
{
        open_kind("pyrogram-3");
        storage_put_names(&at, 1, "one both", 20);
        storage_put_names(&at, 2, "two", 10);
        meanwhile("CREATE TABLE usernames (id TEXT PRIMARY KEY, peer_id INTEGER NOT NULL,"
                  " last_update_on INTEGER NOT NULL); INSERT INTO usernames VALUES ('two', 3, 30)");
        ck_assert_str_eq(at.opened.dialect, "pyrofork");
        ck_assert_int_eq(at.opened.version, 3);
        storage_expect(storage_names(&at, NULL, 0, 10), "both 1; one 1; two 3");
        storage_close(&at);
        storage_expect(sql_text(PATH, "SELECT id, peer_id, last_update_on FROM usernames ORDER BY id"),
                       "'both'|1|20; 'one'|1|20; 'two'|3|30");
        expect_no_tables();
}

FILE_TEST(names_and_states_move_to_kurigrams_tables)
{
        open_kind("pyrogram-3");
        storage_put_names(&at, 1, "one both", 20);
        storage_put_names(&at, 2, "two both", 10);
        storage_put_state(&at, storage_state(5, 1, NIL, 3, 4));
        meanwhile(kurigram_3_to_4);
        ck_assert_str_eq(at.opened.dialect, "kurigram");
        ck_assert_int_eq(at.opened.version, 4);
        storage_expect(storage_names(&at, NULL, 0, 10), "both 1; both 2; one 1; two 2");
        storage_expect(storage_states(&at), "5 1 nil 3 4"); /* version 4 has no table for them yet */
        meanwhile(kurigram_4_to_5);
        storage_expect(storage_states(&at), "5 1 nil 3 4");
        meanwhile(kurigram_5_to_6);
        meanwhile(kurigram_6_to_7);
        storage_expect(storage_names(&at, NULL, 0, 10), "both 1; both 2; one 1; two 2");
        storage_expect(storage_states(&at), "5 1 nil 3 4");
        storage_close(&at);
        storage_expect(sql_text(PATH, "SELECT id, username FROM usernames ORDER BY username, id"),
                       "1|'both'; 2|'both'; 1|'one'; 2|'two'");
        expect_no_tables();
        storage_expect(sql_text(PATH, "SELECT name FROM sqlite_schema WHERE name GLOB 'gramd_*'"), "");
}

FILE_TEST(what_the_library_wrote_after_lifting_counts)
{
        open_kind("pyrogram-3");
        storage_put_names(&at, 1, "old", 20);
        storage_put_names(&at, 2, "two", 20);
        storage_put_state(&at, storage_state(5, 1, 1, 1, 1));
        storage_put_state(&at, storage_state(6, 1, 1, 1, 1));
        storage_close(&at);
        sql(PATH, "%s", kurigram_3_to_4);
        sql(PATH, "%s", kurigram_4_to_5);
        sql(PATH, "INSERT INTO usernames VALUES (1, 'new'); INSERT INTO update_state VALUES (5, 9, 9, 9, 9)");
        open_existing();
        storage_expect(storage_names(&at, NULL, 0, 10), "new 1; two 2");
        storage_expect(storage_states(&at), "5 9 9 9 9; 6 1 1 1 1");
}

FILE_TEST(the_own_username_of_a_migrated_file_is_served)
{
        open_kind("pyrogram-3");
        storage_put_peer(&at, storage_peer(7, 7, "user", "seven", NULL, 1));
        storage_close(&at);
        sql(PATH, "%s", kurigram_3_to_4);
        sql(PATH, "%s", kurigram_4_to_5);
        sql(PATH, "%s", kurigram_5_to_6);
        sql(PATH, "%s", kurigram_6_to_7);
        open_existing();
        storage_expect(storage_by_username(&at, "seven"), "7 7 user seven nil 1");
        storage_put_peer(&at, storage_peer(7, 7, "user", "other", NULL, 2));
        storage_close(&at);
        storage_expect(sql_text(PATH, "SELECT username FROM peers"), "'other'");
        expect_no_tables();
}

FILE_TEST(the_own_username_without_a_column_is_kept_in_a_lifted_file)
{
        open_kind("kurigram-6");
        storage_put_peer(&at, storage_peer(7, 7, "user", "seven", NULL, 1));
        meanwhile(kurigram_6_to_7);
        ck_assert_int_eq(at.opened.version, 7);
        storage_expect(storage_by_username(&at, "seven"), "7 7 user seven nil 1");
}

static bool is_one(void *arg, const struct kv_value *value)
{
        *(bool *)arg = slice_is(value->key, "key") && slice_is(value->value, "value");
        return true;
}

/* No step of the migration, from the first version to the last, meets a table of gramd's. */
FILE_TEST(a_file_full_of_gramds_tables_is_lifted_all_the_way)
{
        const struct kv_row row = { .key = slice_of("key"), .value = slice_of("value") };
        const struct change change = { .kind = CHANGE_KV, .kv = &row, .n = 1 };
        bool kept = false;

        open_kind("pyrogram-1");
        ck_assert_int_eq(storage_apply(&at, &change, 1), 0);
        storage_put_peer(&at, storage_peer(7, 7, "0", "seven", "+1", 1));
        storage_put_names(&at, 7, "alias", 5);
        storage_put_state(&at, storage_state(5, NIL, 1, 1, 1));
        storage_put_number(&at, FIELD_API_ID, 5);
        storage_put_number(&at, FIELD_TAKEOUT_ID, 6);
        put_address("10.0.0.1", 1);
        meanwhile(step_1_to_2);
        storage_put_peer(&at, storage_peer(7, 7, "0", "seven", "+1", 1));
        storage_put_names(&at, 7, "alias", 5);
        storage_close(&at);
        sql(PATH, "%s", step_2_to_3);
        sql(PATH, "%s", kurigram_3_to_4);
        sql(PATH, "%s", kurigram_4_to_5);
        sql(PATH, "%s", kurigram_5_to_6);
        sql(PATH, "%s", kurigram_6_to_7);
        sql(PATH, "VACUUM");
        open_existing();
        storage_expect(storage_peers(&at, NULL, 9), "7 7 0 seven +1 1");
        storage_expect(storage_names(&at, NULL, 0, 9), "alias 7");
        storage_expect(storage_states(&at), "5 nil 1 1 1");
        ck_assert_int_eq(at.opened.identity.number[FIELD_API_ID], 5);
        ck_assert_int_eq(at.opened.identity.number[FIELD_TAKEOUT_ID], 6);
        ck_assert_str_eq(at.opened.identity.server_address, "10.0.0.1");
        ck_assert_int_eq(at.backend->kv_get(at.session, &row.key, 1, is_one, &kept, &at.fault), 0);
        ck_assert(kept);
        storage_close(&at);
        storage_expect(sql_text(PATH,
                                "SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB 'gramd_*'"
                                " ORDER BY name"),
                       "'gramd_fields'; 'gramd_kv'");
}

/* ---- Telethon ---- */

FILE_TEST(telethons_own_id_is_in_row_0)
{
        session_file_make(session_file("telethon-8"), PATH);
        sql(PATH, "INSERT INTO entities VALUES (0, 424242, 'me', NULL, NULL, 5)");
        open_existing();
        ck_assert_int_eq(at.opened.identity.number[FIELD_USER_ID], 424242);
        ck_assert(identity_has(&at.opened.identity, FIELD_USER_ID));
        storage_expect(storage_peers(&at, NULL, 10), "");
        storage_expect(storage_by_id(&at, 0), "");
        storage_expect(storage_by_username(&at, "me"), "");
        ck_assert_int_eq(storage_count(&at).peers, 0);
        storage_put_number(&at, FIELD_USER_ID, 1);
        meanwhile("SELECT 1");
        ck_assert_int_eq(at.opened.identity.number[FIELD_USER_ID], 1);
        storage_put_nil(&at, FIELD_USER_ID);
        meanwhile("SELECT 1");
        ck_assert(!identity_has(&at.opened.identity, FIELD_USER_ID));
        meanwhile("UPDATE entities SET hash = 99 WHERE id = 0");
        ck_assert_int_eq(at.opened.identity.number[FIELD_USER_ID], 99);
        storage_close(&at);
        storage_expect(sql_text(PATH, "SELECT * FROM entities"), "0|99|'me'|nil|nil|5");
}

FILE_TEST(telethons_values_count_where_it_wrote_since)
{
        open_kind("telethon-8");
        storage_put_peer(&at, storage_peer(7, NIL, "bot", "seven", "+79001", 100));
        storage_put_peer(&at, storage_peer(8, NIL, "user", NULL, "+1", 100));
        meanwhile("INSERT OR REPLACE INTO entities VALUES (7, 0, 'new', 79001, 'Seven', 200)");
        storage_expect(storage_by_id(&at, 7), "7 nil bot new +79001 200");
        meanwhile("INSERT OR REPLACE INTO entities VALUES (7, 70, 'new', 79002, 'Seven', 300)");
        storage_expect(storage_by_id(&at, 7), "7 70 bot new 79002 300");
        storage_expect(storage_by_phone(&at, "+79001"), "");
        storage_expect(storage_by_phone(&at, "79002"), "7 70 bot new 79002 300");
        storage_expect(storage_by_id(&at, 8), "8 nil user nil +1 100");
        /* A new write counts again. */
        storage_put_peer(&at, storage_peer(7, 71, "bot", "new", "+79002", 400));
        meanwhile("SELECT 1");
        storage_expect(storage_by_id(&at, 7), "7 71 bot new +79002 400");
        storage_close(&at);
        storage_expect(sql_text(PATH, "SELECT name FROM entities WHERE id = 7"), "'Seven'");
}

FILE_TEST(telethons_phone_numbers_are_numbers)
{
        open_kind("telethon-8");
        storage_put_peer(&at, storage_peer(7, 1, "user", NULL, "79001", 100));
        storage_put_peer(&at, storage_peer(8, 1, "user", NULL, "+79001", 100));
        storage_put_peer(&at, storage_peer(9, 1, "user", NULL, "079001", 100));
        storage_expect(storage_by_phone(&at, "79001"), "7 1 user nil 79001 100");
        storage_expect(storage_by_phone(&at, "+79001"), "8 1 user nil +79001 100");
        storage_expect(storage_by_phone(&at, "079001"), "9 1 user nil 079001 100");
        storage_close(&at);
        storage_expect(sql_text(PATH, "SELECT phone FROM entities ORDER BY id"), "79001; 79001; 79001");
}

FILE_TEST(telethon_reads_no_nulls_where_it_needs_numbers)
{
        open_kind("telethon-8");
        storage_put_peer(&at, storage_peer(-1000000000007, NIL, "channel", NULL, NULL, 100));
        storage_put_state(&at, storage_state(7, 1, NIL, NIL, NIL));
        storage_close(&at);
        storage_expect(sql_text(PATH, "SELECT hash FROM entities"), "0");
        storage_expect(sql_text(PATH, "SELECT * FROM update_state"), "7|1|0|0|0");
        storage_expect(sql_text(PATH, "SELECT auth_key, tmp_auth_key FROM sessions"), "x''|x''");
        open_existing();
        storage_expect(storage_states(&at), "7 1 nil nil nil");
        storage_expect(storage_peers(&at, NULL, 9), "-1000000000007 nil channel nil nil 100");
        ck_assert(!identity_has(&at.opened.identity, FIELD_AUTH_KEY));
        meanwhile("UPDATE update_state SET date = 1700000000.75, qts = 5");
        storage_expect(storage_states(&at), "7 1 5 1700000000 nil");
}

FILE_TEST(telethons_types_are_told_by_the_id)
{
        session_file_make(session_file("telethon-8"), PATH);
        sql(PATH,
            "INSERT INTO entities VALUES (1, 1, NULL, NULL, NULL, NULL), (-1, 1, NULL, NULL, NULL, 1.9),"
            " (-999999999999, 1, NULL, NULL, NULL, 1), (-1000000000000, 1, NULL, NULL, NULL, 1)");
        open_existing();
        storage_expect(storage_peers(&at, NULL, 10),
                       "-1000000000000 1 channel nil nil 1; -999999999999 1 group nil nil 1;"
                       " -1 1 group nil nil 1; 1 1 user nil nil 0");
}

FILE_TEST(what_telethon_keeps_besides_stays)
{
        session_file_make(session_file("telethon-8"), PATH);
        sql(PATH, "INSERT INTO entities VALUES (1, 1, NULL, NULL, 'Name', 5);"
                  "INSERT INTO sent_files VALUES (x'00', 1, 2, 3, 4);"
                  "UPDATE sessions SET tmp_auth_key = x'0102'");
        open_existing();
        storage_put_peer(&at, storage_peer(1, 2, "user", "u", "1", 6));
        storage_put_number(&at, FIELD_DC_ID, 4);
        storage_put_number(&at, FIELD_TAKEOUT_ID, 9);
        storage_close(&at);
        storage_expect(sql_text(PATH, "SELECT * FROM entities"), "1|2|'u'|1|'Name'|6");
        storage_expect(sql_text(PATH, "SELECT * FROM sent_files"), "x'00'|1|2|3|4");
        storage_expect(sql_text(PATH, "SELECT dc_id, takeout_id, tmp_auth_key FROM sessions"), "4|9|x'0102'");
}

FILE_TEST(a_telethon_file_without_a_session_row_reads_as_new)
{
        session_file_make(session_file("telethon-8"), PATH);
        sql(PATH, "DELETE FROM sessions");
        open_existing();
        ck_assert_int_eq(at.opened.identity.number[FIELD_DC_ID], 2);
        storage_put_number(&at, FIELD_DC_ID, 4);
        meanwhile("SELECT 1");
        ck_assert_int_eq(at.opened.identity.number[FIELD_DC_ID], 4);
        storage_close(&at);
        storage_expect(sql_text(PATH, "SELECT count(*) FROM sessions"), "1");
}

int main(void)
{
        const TTest *const tests[] = {
                an_api_id_moves_to_its_column,
                an_api_id_that_the_library_has_set_counts,
                an_address_that_waited_replaces_the_migrations,
                an_address_that_the_library_has_set_counts,
                an_address_that_waited_outlives_a_move,
                an_address_nobody_set_is_the_migrations,
                names_of_peers_that_a_migration_has_emptied_are_dropped,
                names_and_states_move_to_pyroforks_tables,
                names_move_to_the_table_of_version_3,
                names_and_states_move_to_kurigrams_tables,
                what_the_library_wrote_after_lifting_counts,
                the_own_username_of_a_migrated_file_is_served,
                the_own_username_without_a_column_is_kept_in_a_lifted_file,
                a_file_full_of_gramds_tables_is_lifted_all_the_way,
                telethons_own_id_is_in_row_0,
                telethons_values_count_where_it_wrote_since,
                telethons_phone_numbers_are_numbers,
                telethon_reads_no_nulls_where_it_needs_numbers,
                telethons_types_are_told_by_the_id,
                what_telethon_keeps_besides_stays,
                a_telethon_file_without_a_session_row_reads_as_new,
                NULL,
        };

        return test_program("migrations", tests);
}
