/* The contract: opening, removing, listing, and the identity fields. */

#include "contract.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

/* ---- opening ---- */

CONTRACT_TEST(a_new_session_reads_as_new)
{
        const unsigned address = FIELD_BIT(FIELD_SERVER_ADDRESS) | FIELD_BIT(FIELD_PORT);
        struct counts counts;

        storage_open(&contract_at, "bot", NULL);
        ck_assert(contract_at.opened.created);
        ck_assert_ptr_nonnull(contract_at.opened.dialect);
        ck_assert_uint_eq(contract_at.opened.n_states, 0);
        ck_assert_uint_eq(contract_at.opened.identity.present &
                                  ~(contract_at.opened.keeps_address ? address : 0),
                          FIELD_BIT(FIELD_DC_ID) | FIELD_BIT(FIELD_DATE));
        ck_assert_int_eq(contract_at.opened.identity.number[FIELD_DC_ID], 2);
        ck_assert_int_eq(contract_at.opened.identity.number[FIELD_DATE], 0);
        counts = storage_count(&contract_at);
        ck_assert_int_eq(counts.peers, 0);
        ck_assert_int_eq(counts.usernames, 0);
        storage_expect(storage_peers(&contract_at, NULL, 10), "");
        storage_expect(storage_names(&contract_at, NULL, 0, 10), "");
}

CONTRACT_TEST(a_missing_session_is_created_only_if_asked)
{
        ck_assert_int_eq(storage_try(&contract_at, "nobody", NULL, false), BACKEND_E_NOT_FOUND);
        storage_expect(storage_list(&contract_at, NULL, 0), "");
}

CONTRACT_TEST(a_closed_session_opens_again_as_it_was)
{
        storage_open(&contract_at, "bot", NULL);
        storage_put_peer(&contract_at, storage_peer(7, 8, "user", "u", "1", 100));
        storage_close(&contract_at);
        if (!contract_kept) {
                ck_assert_int_eq(storage_try(&contract_at, "bot", NULL, false), BACKEND_E_NOT_FOUND);
                return;
        }
        ck_assert_int_eq(storage_try(&contract_at, "bot", NULL, true), 0);
        ck_assert(!contract_at.opened.created);
        storage_expect(storage_peers(&contract_at, NULL, 10), "7 8 user u 1 100");
}

static void odd_names_are_refused(void)
{
        static const char *const names[] = { "a b", "x.session", "?*[", "$x", "admin", "gramd", "local" };

        for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
                ck_assert_int_eq(storage_try(&contract_at, names[i], NULL, true), BACKEND_E_NAME);
        storage_expect(storage_list(&contract_at, NULL, 0), "");
}

CONTRACT_TEST(any_valid_name_of_a_session_works)
{
        char longest[NAME_MAX_BYTES + 1];
        const char *const names[] = { "a b",  "\xd0\xb1\xd0\xbe\xd1\x82", "it's", "100%d", "x.session", "?*[",
                                      longest };

        if (contract_plain_names) {
                odd_names_are_refused();
                return;
        }
        memset(longest, 'n', NAME_MAX_BYTES);
        longest[NAME_MAX_BYTES] = '\0';
        for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
                storage_open(&contract_at, names[i], NULL);
                ck_assert(contract_at.opened.created);
                storage_put_peer(&contract_at, storage_peer((int64_t)i + 1, 8, "user", NULL, NULL, 1));
                storage_close(&contract_at);
        }
        for (size_t i = 0; contract_kept && i < sizeof(names) / sizeof(*names); i++) {
                ck_assert_int_eq(storage_try(&contract_at, names[i], NULL, false), 0);
                ck_assert_int_eq(storage_count(&contract_at).peers, 1);
                storage_close(&contract_at);
        }
}

/* Not what the backend says of it, nor what would be another name's. */
CONTRACT_TEST(a_name_does_not_leave_its_quotes)
{
        static const char name[] = "x': done\"; rm\xe2\x80\xae\xe2\x80\x8e\xe2\x80\x8f\xd8\x9c";
        static const char said[] = "session 'x\\': done\"; rm\\u202e\\u200e\\u200f\\u061c': ";
        const char *text = contract_at.fault.text;

        ck_assert_int_eq(storage_try(&contract_at, name, NULL, false),
                         contract_plain_names ? BACKEND_E_NAME : BACKEND_E_NOT_FOUND);
        ck_assert_msg(strncmp(text, said, sizeof(said) - 1) == 0, "%s", text);
        ck_assert_int_eq(storage_try(&contract_at, "bot", name, true), BACKEND_E_OPTION);
        ck_assert_msg(strncmp(text, "dialect 'x\\': done", 18) == 0, "%s", text);
}

CONTRACT_TEST(a_removed_session_is_gone)
{
        storage_open(&contract_at, "bot", NULL);
        storage_put_peer(&contract_at, storage_peer(7, 8, "user", "u", "1", 100));
        storage_put_number(&contract_at, FIELD_API_ID, 5);
        ck_assert_int_eq(contract_at.backend->remove(contract_at.session, true, &contract_at.fault), 0);
        contract_at.session = NULL;
        storage_expect(storage_list(&contract_at, NULL, 0), "");
        ck_assert_int_eq(storage_try(&contract_at, "bot", NULL, false), BACKEND_E_NOT_FOUND);
        storage_open(&contract_at, "bot", NULL);
        ck_assert(contract_at.opened.created);
        ck_assert(!identity_has(&contract_at.opened.identity, FIELD_API_ID));
        storage_expect(storage_peers(&contract_at, NULL, 10), "");
}

static void names_in_order(void)
{
        static const char *const names[] = { "b", "a", "ab", "a-1" };

        for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
                storage_open(&contract_at, names[i], NULL);
                storage_close(&contract_at);
        }
        storage_expect(storage_list(&contract_at, NULL, 0), "a; a-1; ab; b");
        storage_expect(storage_list(&contract_at, "a-1", 0), "ab; b");
        storage_expect(storage_list(&contract_at, "a", 2), "a-1; ab");
        storage_expect(storage_list(&contract_at, "b", 0), "");
}

CONTRACT_TEST(stored_sessions_are_listed_in_order)
{
        static const char *const names[] = { "b", "a", "B", "ab", "a-1", "\xc3\xa9" };

        if (contract_plain_names) {
                names_in_order();
                return;
        }
        for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
                storage_open(&contract_at, names[i], NULL);
                storage_close(&contract_at);
        }
        storage_expect(storage_list(&contract_at, NULL, 0),
                       contract_kept ? "B; a; a-1; ab; b; \xc3\xa9" : "");
        storage_expect(storage_list(&contract_at, "a-1", 0), contract_kept ? "ab; b; \xc3\xa9" : "");
        storage_expect(storage_list(&contract_at, "a0", 0), contract_kept ? "ab; b; \xc3\xa9" : "");
        storage_expect(storage_list(&contract_at, "B", 2), contract_kept ? "a; a-1" : "");
        storage_expect(storage_list(&contract_at, "\xc3\xa9", 0), "");
}

/* ---- identity ---- */

CONTRACT_TEST(identity_fields_read_back)
{
        const unsigned fields = FIELD_ALL;
        struct identity sent;
        uint8_t key[AUTH_KEY_BYTES];

        for (size_t i = 0; i < sizeof(key); i++)
                key[i] = (uint8_t)(255 - i);
        identity_init(&sent);
        identity_set_number(&sent, FIELD_DC_ID, 255);
        identity_set_number(&sent, FIELD_API_ID, UINT32_MAX);
        identity_set_number(&sent, FIELD_TEST_MODE, 1);
        identity_set_key(&sent, key);
        identity_set_number(&sent, FIELD_DATE, 1700000000);
        identity_set_number(&sent, FIELD_USER_ID, INT64_MAX);
        identity_set_number(&sent, FIELD_IS_BOT, 0);
        ck_assert(identity_set_address(&sent, slice_of("2001:db8::1")));
        identity_set_number(&sent, FIELD_PORT, 65535);
        identity_set_number(&sent, FIELD_TAKEOUT_ID, INT64_MIN);
        storage_open(&contract_at, "bot", NULL);
        storage_put_fields(&contract_at, fields, &sent);
        contract_reopen("bot");
        for (int field = 0; contract_kept && field < FIELD_COUNT; field++)
                ck_assert_msg(identity_equal(&sent, &contract_at.opened.identity, (enum field)field), "%s",
                              field_infos[field].name);
        identity_wipe(&sent);
}

CONTRACT_TEST(identity_fields_become_nil_again)
{
        struct identity set;
        struct identity nil;
        const unsigned can = FIELD_ALL & ~(FIELD_BIT(FIELD_DC_ID) | FIELD_BIT(FIELD_DATE));
        uint8_t key[AUTH_KEY_BYTES] = { 1 };

        identity_init(&set);
        identity_init(&nil);
        for (int field = 0; field < FIELD_COUNT; field++)
                if (field_infos[field].type == FIELD_NUMBER || field_infos[field].type == FIELD_BOOL)
                        identity_set_number(&set, (enum field)field, 1);
        identity_set_key(&set, key);
        ck_assert(identity_set_address(&set, slice_of("1.2.3.4")));
        storage_open(&contract_at, "bot", NULL);
        storage_put_fields(&contract_at, FIELD_ALL, &set);
        contract_reopen("bot");
        storage_put_fields(&contract_at, can, &nil);
        contract_reopen("bot");
        if (contract_kept) {
                ck_assert_uint_eq(contract_at.opened.identity.present & can, 0);
                ck_assert_int_eq(contract_at.opened.identity.number[FIELD_DC_ID], 1);
        }
        identity_wipe(&set);
}

CONTRACT_TEST(only_the_fields_named_change)
{
        storage_open(&contract_at, "bot", NULL);
        storage_put_number(&contract_at, FIELD_API_ID, 5);
        storage_put_number(&contract_at, FIELD_USER_ID, 6);
        contract_reopen("bot");
        if (!contract_kept)
                return;
        ck_assert_int_eq(contract_at.opened.identity.number[FIELD_API_ID], 5);
        ck_assert_int_eq(contract_at.opened.identity.number[FIELD_USER_ID], 6);
        ck_assert(!identity_has(&contract_at.opened.identity, FIELD_IS_BOT));
}

void contract_sessions(TCase *tcase, int i)
{
        tcase_add_loop_test(tcase, a_new_session_reads_as_new, i, i + 1);
        tcase_add_loop_test(tcase, a_missing_session_is_created_only_if_asked, i, i + 1);
        tcase_add_loop_test(tcase, a_closed_session_opens_again_as_it_was, i, i + 1);
        tcase_add_loop_test(tcase, any_valid_name_of_a_session_works, i, i + 1);
        tcase_add_loop_test(tcase, a_name_does_not_leave_its_quotes, i, i + 1);
        tcase_add_loop_test(tcase, a_removed_session_is_gone, i, i + 1);
        tcase_add_loop_test(tcase, stored_sessions_are_listed_in_order, i, i + 1);
        tcase_add_loop_test(tcase, identity_fields_read_back, i, i + 1);
        tcase_add_loop_test(tcase, identity_fields_become_nil_again, i, i + 1);
        tcase_add_loop_test(tcase, only_the_fields_named_change, i, i + 1);
}
