/* The contract: peers, usernames, update states. What is stored is found, and its effects are reported. */

#include "contract.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

/* ---- peers ---- */

CONTRACT_TEST(peers_are_found_by_all_their_keys)
{
        storage_open(&contract_at, "bot", NULL);
        storage_put_peer(&contract_at, storage_peer(7, -8, "user", "bob", "79001", 100));
        storage_put_peer(&contract_at, storage_peer(-1000000000009, NIL, "channel", NULL, NULL, 200));
        for (int round = 0; round < 2; round++) {
                storage_expect(storage_by_id(&contract_at, 7), "7 -8 user bob 79001 100");
                storage_expect(storage_by_username(&contract_at, "bob"), "7 -8 user bob 79001 100");
                storage_expect(storage_by_phone(&contract_at, "79001"), "7 -8 user bob 79001 100");
                storage_expect(storage_by_id(&contract_at, -1000000000009),
                               "-1000000000009 nil channel nil nil 200");
                storage_expect(storage_by_id(&contract_at, 8), "");
                storage_expect(storage_by_username(&contract_at, "Bob"), "");
                storage_expect(storage_by_username(&contract_at, ""), "");
                storage_expect(storage_by_phone(&contract_at, "+79001"), "");
                ck_assert_int_eq(storage_count(&contract_at).peers, 2);
                contract_reopen("bot");
        }
}

CONTRACT_TEST(every_peer_that_has_the_name_or_number_is_found)
{
        storage_open(&contract_at, "bot", NULL);
        storage_put_peer(&contract_at, storage_peer(1, 1, "user", "n", "5", 10));
        storage_put_peer(&contract_at, storage_peer(2, 2, "user", "n", "5", 20));
        storage_put_peer(&contract_at, storage_peer(3, 3, "user", NULL, NULL, 30));
        storage_put_names(&contract_at, 3, "n other", 40);
        storage_expect(storage_by_username(&contract_at, "n"),
                       "1 1 user n 5 10; 2 2 user n 5 20; 3 3 user nil nil 30 by name");
        storage_expect(storage_by_phone(&contract_at, "5"), "1 1 user n 5 10; 2 2 user n 5 20");
        storage_expect(storage_by_username(&contract_at, "other"), "3 3 user nil nil 30 by name");
}

struct seen {
        size_t lookups[8];
        size_t n;
};

static bool note_lookup(void *arg, const struct match *match)
{
        struct seen *seen = arg;

        seen->lookups[seen->n++] = match->lookup;
        return seen->n < 8;
}

CONTRACT_TEST(one_call_answers_many_lookups)
{
        const struct lookup lookups[] = {
                { LOOKUP_ID, .id = 9 },
                { LOOKUP_PHONE, .text = slice_of("5") },
                { LOOKUP_USERNAME, .text = slice_of("nobody") },
                { LOOKUP_USERNAME, .text = slice_of("n") },
                { LOOKUP_ID, .id = 1 },
        };
        struct seen seen = { .n = 0 };

        storage_open(&contract_at, "bot", NULL);
        storage_put_peer(&contract_at, storage_peer(1, 1, "user", "n", "5", 10));
        ck_assert_int_eq(contract_at.backend->find(contract_at.session, lookups, 5, note_lookup, &seen,
                                                   &contract_at.fault),
                         0);
        ck_assert_uint_eq(seen.n, 3);
        for (size_t i = 0, sum = 0; i < 3; i++) {
                sum += (size_t)1 << seen.lookups[i];
                ck_assert(i < 2 || sum == (1 << 1) + (1 << 3) + (1 << 4));
        }
}

CONTRACT_TEST(strings_are_stored_as_sent)
{
        /* Phone numbers in several spellings: +79001 and 79001 stay different. */
        static const char *const texts[] = {
                "+79001",
                "79001",
                "079001",
                "0",
                "00",
                "-0",
                "-5",
                "1e3",
                "1.0",
                ".5",
                " 7",
                "7 ",
                "0x10",
                "inf",
                "9223372036854775807",
                "9223372036854775808",
                "123456789012345678901234",
                "\xd0\x91\xd0\xbe\xd0\xb1",
                "it's",
                "\"q\"",
                "%s",
                "NULL",
                "nil",
                "A",
                "a",
                "",
        };
        enum { N = sizeof(texts) / sizeof(*texts) };

        storage_open(&contract_at, "bot", NULL);
        for (int i = 0; i < N; i++)
                storage_put_peer(&contract_at,
                                 storage_peer(i + 1, 1, *texts[i] ? texts[i] : "t", texts[i], texts[i], 5));
        contract_reopen("bot");
        for (int i = 0; i < N; i++) {
                TEST_FREED char *expected =
                        test_format("%d 1 %s %s %s 5", i + 1, *texts[i] ? texts[i] : "t", texts[i], texts[i]);

                storage_expect(storage_by_id(&contract_at, i + 1), expected);
                storage_expect(storage_by_username(&contract_at, texts[i]), expected);
                storage_expect(storage_by_phone(&contract_at, texts[i]), expected);
        }
}

static bool compare_peer(void *arg, const struct match *match)
{
        const struct peer **peer = arg;

        ck_assert(peer_same(*peer, &match->peer));
        *peer = NULL;
        return true;
}

CONTRACT_TEST(texts_may_be_255_bytes_and_hold_zeros)
{
        char text[TEXT_MAX_BYTES];
        char type[PEER_TYPE_MAX_BYTES];
        struct peer peer = storage_peer(1, 2, "t", NULL, NULL, 3);
        const struct peer *expected = &peer;
        struct lookup lookup = { LOOKUP_USERNAME, .text = { text, sizeof(text) } };

        memset(text, 'x', sizeof(text));
        memset(type, 'y', sizeof(type));
        text[100] = '\0';
        peer.type = (struct slice){ type, sizeof(type) };
        peer.username = peer.phone_number = lookup.text;
        storage_open(&contract_at, "bot", NULL);
        storage_put_peer(&contract_at, peer);
        contract_reopen("bot");
        ck_assert_int_eq(contract_at.backend->find(contract_at.session, &lookup, 1, compare_peer, &expected,
                                                   &contract_at.fault),
                         0);
        ck_assert_ptr_null(expected);
        lookup.text.len = 100;
        storage_expect(storage_by_username(&contract_at, text), "");
}

CONTRACT_TEST(numbers_may_be_64_bits)
{
        storage_open(&contract_at, "bot", NULL);
        storage_put_peer(&contract_at, storage_peer(INT64_MAX, INT64_MIN, "user", NULL, NULL, INT64_MAX));
        storage_put_peer(&contract_at, storage_peer(INT64_MIN, INT64_MAX, "channel", NULL, NULL, INT64_MIN));
        storage_put_peer(&contract_at, storage_peer(0, 0, "user", "zero", NULL, 0));
        contract_reopen("bot");
        storage_expect(storage_peers(&contract_at, NULL, 10),
                       "-9223372036854775808 9223372036854775807 channel nil nil -9223372036854775808; "
                       "0 0 user zero nil 0; "
                       "9223372036854775807 -9223372036854775808 user nil nil 9223372036854775807");
        storage_expect(storage_by_id(&contract_at, 0), "0 0 user zero nil 0");
        storage_expect(storage_by_username(&contract_at, "zero"), "0 0 user zero nil 0");
        storage_expect(storage_peers(&contract_at, &(int64_t){ INT64_MAX }, 10), "");
        storage_expect(storage_peers(&contract_at, &(int64_t){ INT64_MIN }, 1), "0 0 user zero nil 0");
}

CONTRACT_TEST(a_peer_is_replaced_whole)
{
        storage_open(&contract_at, "bot", NULL);
        storage_put_peer(&contract_at, storage_peer(7, 8, "bot", "a", "1", 100));
        storage_put_peer(&contract_at, storage_peer(7, NIL, "supergroup", NULL, NULL, 90));
        contract_reopen("bot");
        storage_expect(storage_by_id(&contract_at, 7), "7 nil supergroup nil nil 90");
        storage_expect(storage_by_username(&contract_at, "a"), "");
        storage_expect(storage_by_phone(&contract_at, "1"), "");
        storage_put_peer(&contract_at, storage_peer(7, 5, "user", "b", "+2", 95));
        contract_reopen("bot");
        storage_expect(storage_by_id(&contract_at, 7), "7 5 user b +2 95");
        ck_assert_int_eq(storage_count(&contract_at).peers, 1);
}

CONTRACT_TEST(writing_peers_reports_names_lost_and_gained)
{
        storage_open(&contract_at, "bot", NULL);
        storage_put_peer(&contract_at, storage_peer(7, 8, "user", "a", "1", 100));
        ck_assert_str_eq(contract_at.effects, "phone 1; username a");
        storage_put_peer(&contract_at, storage_peer(7, 8, "user", "a", "1", 200));
        ck_assert_str_eq(contract_at.effects, "");
        storage_expect(storage_by_id(&contract_at, 7), "7 8 user a 1 200");
        storage_put_peer(&contract_at, storage_peer(7, 9, "bot", "a", "1", 300));
        ck_assert_str_eq(contract_at.effects, "");
        storage_put_peer(&contract_at, storage_peer(7, 9, "bot", "b", "1", 300));
        ck_assert_str_eq(contract_at.effects, "username a; username b");
        storage_put_peer(&contract_at, storage_peer(7, 9, "bot", NULL, "+1", 300));
        ck_assert_str_eq(contract_at.effects, "phone +1; phone 1; username b");
        storage_put_peer(&contract_at, storage_peer(7, 9, "bot", NULL, NULL, 300));
        ck_assert_str_eq(contract_at.effects, "phone +1");
        storage_put_peer(&contract_at, storage_peer(7, NIL, "bot", NULL, NULL, 300));
        ck_assert_str_eq(contract_at.effects, "");
}

CONTRACT_TEST(peers_are_scanned_in_order)
{
        const int64_t middle = 3;

        storage_open(&contract_at, "bot", NULL);
        for (int64_t id = 5; id > -3; id -= 2)
                storage_put_peer(&contract_at, storage_peer(id, id, "user", NULL, NULL, 1));
        storage_expect(storage_peers(&contract_at, NULL, 10),
                       "-1 -1 user nil nil 1; 1 1 user nil nil 1; 3 3 user nil nil 1; 5 5 user nil nil 1");
        storage_expect(storage_peers(&contract_at, NULL, 1), "-1 -1 user nil nil 1");
        storage_expect(storage_peers(&contract_at, NULL, 0), "");
        storage_expect(storage_peers(&contract_at, &middle, 10), "5 5 user nil nil 1");
        storage_expect(storage_peers(&contract_at, &(int64_t){ 0 }, 2),
                       "1 1 user nil nil 1; 3 3 user nil nil 1");
}

/* ---- usernames ---- */

CONTRACT_TEST(names_replace_all_rows_of_their_peer)
{
        storage_open(&contract_at, "bot", NULL);
        storage_put_peer(&contract_at, storage_peer(1, 1, "user", "own", NULL, 5));
        storage_put_names(&contract_at, 1, "b a", 10);
        ck_assert_str_eq(contract_at.effects, "username a; username b");
        storage_expect(storage_names(&contract_at, NULL, 0, 10), "a 1; b 1");
        storage_put_names(&contract_at, 1, "b c", 20);
        ck_assert_str_eq(contract_at.effects, "username a; username c");
        storage_put_names(&contract_at, 1, "c b", 30);
        ck_assert_str_eq(contract_at.effects, "");
        contract_reopen("bot");
        storage_expect(storage_by_username(&contract_at, "a"), "");
        storage_expect(storage_by_username(&contract_at, "b"), "1 1 user own nil 5 by name");
        storage_expect(storage_by_username(&contract_at, "own"), "1 1 user own nil 5");
        ck_assert_int_eq(storage_count(&contract_at).usernames, 2);
        storage_put_names(&contract_at, 1, "", 40);
        ck_assert_str_eq(contract_at.effects, "username b; username c");
        contract_reopen("bot");
        storage_expect(storage_names(&contract_at, NULL, 0, 10), "");
        storage_put_names(&contract_at, 2, "", 40);
        ck_assert_str_eq(contract_at.effects, "");
}

CONTRACT_TEST(a_name_of_an_unknown_peer_is_kept_but_finds_nothing)
{
        storage_open(&contract_at, "bot", NULL);
        storage_put_names(&contract_at, 1, "early", 10);
        contract_reopen("bot");
        storage_expect(storage_by_username(&contract_at, "early"), "nobody yet");
        storage_expect(storage_names(&contract_at, NULL, 0, 10), "early 1");
        storage_put_peer(&contract_at, storage_peer(1, 1, "user", NULL, NULL, 5));
        storage_expect(storage_by_username(&contract_at, "early"), "1 1 user nil nil 5 by name");
}

/* Where a name can have one owner only, the peer that loses it is reported. Elsewhere both peers have it. */
CONTRACT_TEST(a_name_that_two_peers_claim)
{
        storage_open(&contract_at, "bot", NULL);
        storage_put_peer(&contract_at, storage_peer(1, 1, "user", NULL, NULL, 5));
        storage_put_peer(&contract_at, storage_peer(2, 2, "user", NULL, NULL, 5));
        storage_put_names(&contract_at, 1, "n", 10);
        storage_put_names(&contract_at, 2, "n", 20);
        if (strcmp(contract_at.effects, "owner n 1; username n") == 0) {
                storage_expect(storage_names(&contract_at, NULL, 0, 10), "n 2");
                storage_expect(storage_by_username(&contract_at, "n"), "2 2 user nil nil 5 by name");
        } else {
                ck_assert_str_eq(contract_at.effects, "username n");
                storage_expect(storage_names(&contract_at, NULL, 0, 10), "n 1; n 2");
                storage_expect(storage_by_username(&contract_at, "n"),
                               "1 1 user nil nil 5 by name; 2 2 user nil nil 5 by name");
        }
        storage_put_names(&contract_at, 2, "", 20);
        ck_assert_str_eq(contract_at.effects, "username n");
}

CONTRACT_TEST(names_are_scanned_in_order)
{
        storage_open(&contract_at, "bot", NULL);
        storage_put_names(&contract_at, 2, "b a aa", 10);
        storage_put_names(&contract_at, -3, "c B", 10);
        storage_expect(storage_names(&contract_at, NULL, 0, 10), "B -3; a 2; aa 2; b 2; c -3");
        storage_expect(storage_names(&contract_at, NULL, 0, 2), "B -3; a 2");
        storage_expect(storage_names(&contract_at, "a", 2, 2), "aa 2; b 2");
        storage_expect(storage_names(&contract_at, "a", 1, 1), "a 2");
        storage_expect(storage_names(&contract_at, "a", 3, 1), "aa 2");
        storage_expect(storage_names(&contract_at, "c", -3, 5), "");
}

/* ---- states ---- */

CONTRACT_TEST(states_are_replaced_whole)
{
        storage_open(&contract_at, "bot", NULL);
        storage_put_state(&contract_at, storage_state(5, 1, 2, 3, 4));
        storage_put_state(&contract_at, storage_state(-5, NIL, NIL, NIL, NIL));
        storage_put_state(&contract_at, storage_state(0, 0, NIL, 0, INT64_MAX));
        storage_put_state(&contract_at, storage_state(6, 1, 1, 1, 1));
        storage_put_state(&contract_at, storage_state(6, NIL, 2, NIL, NIL));
        contract_reopen("bot");
        if (!contract_kept)
                return;
        storage_expect(storage_states(&contract_at),
                       "-5 nil nil nil nil; 0 0 nil 0 9223372036854775807; 5 1 2 3 4; 6 nil 2 nil nil");
        storage_put_state(&contract_at, storage_state(-5, 9, 8, 7, 6));
        contract_reopen("bot");
        storage_expect(storage_states(&contract_at),
                       "-5 9 8 7 6; 0 0 nil 0 9223372036854775807; 5 1 2 3 4; 6 nil 2 nil nil");
}

CONTRACT_TEST(states_are_removed)
{
        const int64_t gone[] = { 2, 99, -4 };

        storage_open(&contract_at, "bot", NULL);
        for (int64_t id = -4; id < 4; id += 2)
                storage_put_state(&contract_at, storage_state(id, id, NIL, NIL, NIL));
        ck_assert_int_eq(storage_apply(&contract_at,
                                       &(struct change){ .kind = CHANGE_STATES_GONE, .ids = gone, .n = 3 },
                                       1),
                         0);
        contract_reopen("bot");
        if (contract_kept)
                storage_expect(storage_states(&contract_at), "-2 -2 nil nil nil; 0 0 nil nil nil");
}

void contract_rows(TCase *tcase, int i)
{
        tcase_add_loop_test(tcase, peers_are_found_by_all_their_keys, i, i + 1);
        tcase_add_loop_test(tcase, every_peer_that_has_the_name_or_number_is_found, i, i + 1);
        tcase_add_loop_test(tcase, one_call_answers_many_lookups, i, i + 1);
        tcase_add_loop_test(tcase, strings_are_stored_as_sent, i, i + 1);
        tcase_add_loop_test(tcase, texts_may_be_255_bytes_and_hold_zeros, i, i + 1);
        tcase_add_loop_test(tcase, numbers_may_be_64_bits, i, i + 1);
        tcase_add_loop_test(tcase, a_peer_is_replaced_whole, i, i + 1);
        tcase_add_loop_test(tcase, writing_peers_reports_names_lost_and_gained, i, i + 1);
        tcase_add_loop_test(tcase, peers_are_scanned_in_order, i, i + 1);
        tcase_add_loop_test(tcase, names_replace_all_rows_of_their_peer, i, i + 1);
        tcase_add_loop_test(tcase, a_name_of_an_unknown_peer_is_kept_but_finds_nothing, i, i + 1);
        tcase_add_loop_test(tcase, a_name_that_two_peers_claim, i, i + 1);
        tcase_add_loop_test(tcase, names_are_scanned_in_order, i, i + 1);
        tcase_add_loop_test(tcase, states_are_replaced_whole, i, i + 1);
        tcase_add_loop_test(tcase, states_are_removed, i, i + 1);
}
