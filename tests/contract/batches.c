/* The contract: batches, callbacks that fail, and sessions side by side. */

#include "contract.h"

#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- batches ---- */

CONTRACT_TEST(times_change_nothing_else)
{
        const struct row_time times[] = { { 1, 50 }, { 99, 60 } };
        const struct change changes[] = {
                { .kind = CHANGE_PEER_TIMES, .times = times, .n = 2 },
                { .kind = CHANGE_NAME_TIMES, .times = times, .n = 2 },
        };

        storage_open(&contract_at, "bot", NULL);
        storage_put_peer(&contract_at, storage_peer(1, 1, "bot", "own", "+2", 5));
        storage_put_names(&contract_at, 1, "n", 5);
        ck_assert_int_eq(storage_apply(&contract_at, changes, 2), 0);
        ck_assert_str_eq(contract_at.effects, "");
        storage_expect(storage_peers(&contract_at, NULL, 10), "1 1 bot own +2 50");
        storage_expect(storage_names(&contract_at, NULL, 0, 10), "n 1");
}

/* Times that are stored later than they were sent, perhaps after newer ones. */
CONTRACT_TEST(times_only_rise)
{
        const struct row_time older = { 1, 40 };
        const struct change changes[] = {
                { .kind = CHANGE_PEER_TIMES, .times = &older, .n = 1 },
                { .kind = CHANGE_NAME_TIMES, .times = &older, .n = 1 },
        };

        storage_open(&contract_at, "bot", NULL);
        storage_put_peer(&contract_at, storage_peer(1, 1, "bot", NULL, NULL, 50));
        ck_assert_int_eq(storage_apply(&contract_at, changes, 2), 0);
        storage_expect(storage_peers(&contract_at, NULL, 10), "1 1 bot nil nil 50");
}

static bool note_row_time(void *arg, const struct match *match)
{
        if (match->from_table && match->has_row_time)
                *(int64_t *)arg = match->row_time;
        return true;
}

/* The time in the row of the name "n"; -1 if rows have no time. */
static int64_t row_time(void)
{
        const struct lookup lookup = { LOOKUP_USERNAME, .text = slice_of("n") };
        int64_t time = -1;

        ck_assert_int_eq(contract_at.backend->find(contract_at.session, &lookup, 1, note_row_time, &time,
                                                   &contract_at.fault),
                         0);
        return time;
}

CONTRACT_TEST(rows_of_names_that_have_a_time_keep_it)
{
        const struct row_time time = { 1, 50 };
        const struct change times = { .kind = CHANGE_NAME_TIMES, .times = &time, .n = 1 };
        bool timed;

        storage_open(&contract_at, "bot", NULL);
        storage_put_peer(&contract_at, storage_peer(1, 1, "bot", NULL, NULL, 5));
        storage_put_names(&contract_at, 1, "n", 7);
        timed = row_time() != -1;
        ck_assert_int_eq(row_time(), timed ? 7 : -1);
        ck_assert_int_eq(storage_apply(&contract_at, &times, 1), 0);
        ck_assert_int_eq(row_time(), timed ? 50 : -1);
        storage_put_names(&contract_at, 1, "n", 60); /* repeated: only its time changes */
        ck_assert_str_eq(contract_at.effects, "");
        ck_assert_int_eq(row_time(), timed ? 60 : -1);
        storage_put_names(&contract_at, 1, "m n", 70); /* one more row, and it stays */
        ck_assert_int_eq(row_time(), timed ? 70 : -1);
}

CONTRACT_TEST(a_batch_takes_effect_in_order)
{
        const struct peer first = storage_peer(1, 1, "user", "a", NULL, 5);
        const struct peer second = storage_peer(1, 2, "user", "b", NULL, 6);
        const struct row_time time = { 1, 7 };
        const struct state state = storage_state(3, 1, NIL, NIL, NIL);
        const int64_t gone = 3;
        const struct change changes[] = {
                { .kind = CHANGE_PEER_TIMES, .times = &time, .n = 1 },
                { .kind = CHANGE_PEERS, .peers = &first, .n = 1 },
                { .kind = CHANGE_STATES, .states = &state, .n = 1 },
                { .kind = CHANGE_PEERS, .peers = &second, .n = 1 },
                { .kind = CHANGE_STATES_GONE, .ids = &gone, .n = 1 },
                { .kind = CHANGE_PEER_TIMES, .times = &time, .n = 1 },
        };

        storage_open(&contract_at, "bot", NULL);
        ck_assert_int_eq(storage_apply(&contract_at, changes, 6), 0);
        storage_expect(storage_peers(&contract_at, NULL, 10), "1 2 user b nil 7");
        contract_reopen("bot");
        storage_expect(storage_states(&contract_at), "");
}

static bool note_changes(void *arg, const struct effect *effect)
{
        *(unsigned *)arg |= 1u << effect->change;
        return true;
}

CONTRACT_TEST(effects_name_the_change_they_come_from)
{
        const struct peer one = storage_peer(1, 1, "user", "a", NULL, 5);
        const struct peer two = storage_peer(2, 1, "user", NULL, NULL, 5);
        const struct peer three = storage_peer(3, 1, "user", NULL, "1", 5);
        const struct change changes[] = {
                { .kind = CHANGE_PEERS, .peers = &two, .n = 1 },
                { .kind = CHANGE_PEERS, .peers = &one, .n = 1 },
                { .kind = CHANGE_PEERS, .peers = &one, .n = 1 },
                { .kind = CHANGE_PEERS, .peers = &three, .n = 1 },
        };
        unsigned seen = 0;

        storage_open(&contract_at, "bot", NULL);
        ck_assert_int_eq(contract_at.backend->apply(contract_at.session, changes, 4, DURABLE_DISK,
                                                    note_changes, &seen, &contract_at.fault),
                         0);
        ck_assert_uint_eq(seen, 1u << 1 | 1u << 3);
}

static bool refuse_second(void *arg, const struct effect *effect)
{
        (void)effect;
        return ++*(int *)arg < 2;
}

CONTRACT_TEST(a_batch_that_fails_has_changed_nothing)
{
        const struct peer peers[] = { storage_peer(1, 1, "bot", "new", NULL, 5),
                                      storage_peer(2, NIL, "t", "x", "+1", 5) };
        const struct state state = storage_state(3, 1, NIL, NIL, NIL);
        const struct slice name = slice_of("n");
        const struct peer_names names = { 4, &name, 1, 5 };
        struct identity identity;
        struct change changes[] = {
                { .kind = CHANGE_STATES, .states = &state, .n = 1 },
                { .kind = CHANGE_IDENTITY, .n = 1 },
                { .kind = CHANGE_NAMES, .names = &names, .n = 1 },
                { .kind = CHANGE_PEERS, .peers = peers, .n = 2 },
        };
        int told = 0;

        identity_init(&identity);
        identity_set_number(&identity, FIELD_PORT, 5);
        changes[1].fields = FIELD_BIT(FIELD_PORT) | FIELD_BIT(FIELD_API_ID);
        changes[1].identity = &identity;
        storage_open(&contract_at, "bot", NULL);
        storage_put_number(&contract_at, FIELD_API_ID, 9);
        storage_put_peer(&contract_at, storage_peer(1, 1, "user", "old", NULL, 5));
        ck_assert_int_eq(contract_at.backend->apply(contract_at.session, changes, 4, DURABLE_DISK,
                                                    refuse_second, &told, &contract_at.fault),
                         BACKEND_E_STORAGE);
        if (contract_at.backend
                    ->confirm) { /* without transactions a part may be stored; the batch may be repeated */
                ck_assert_int_eq(storage_apply(&contract_at, changes, 4), 0);
                storage_expect(storage_peers(&contract_at, NULL, 10), "1 1 bot new nil 5; 2 nil t x +1 5");
                return;
        }
        storage_expect(storage_peers(&contract_at, NULL, 10), "1 1 user old nil 5");
        storage_expect(storage_names(&contract_at, NULL, 0, 10), "");
        contract_reopen("bot");
        if (contract_kept) {
                ck_assert_int_eq(contract_at.opened.identity.number[FIELD_API_ID], 9);
                storage_expect(storage_states(&contract_at), "");
        }
        ck_assert_int_eq(storage_apply(&contract_at, changes, 4), 0);
        storage_expect(storage_peers(&contract_at, NULL, 10), "1 1 bot new nil 5; 2 nil t x +1 5");
}

CONTRACT_TEST(empty_batches_change_nothing)
{
        storage_open(&contract_at, "bot", NULL);
        ck_assert_int_eq(storage_apply(&contract_at, NULL, 0), 0);
        ck_assert_int_eq(storage_apply(&contract_at, &(struct change){ .kind = CHANGE_PEERS, .n = 0 }, 1), 0);
        ck_assert_int_eq(contract_at.backend->sync(contract_at.session, &contract_at.fault), 0);
        ck_assert_int_eq(contract_at.backend->find(contract_at.session, NULL, 0, note_row_time, NULL,
                                                   &contract_at.fault),
                         0);
}

CONTRACT_TEST(many_rows_in_one_batch)
{
        int n = contract_rows_max;
        struct peer peers[CONTRACT_ROWS_MAX];
        char names[CONTRACT_ROWS_MAX][16];
        TEST_FREED char *last = test_format("user%d", n - 1);
        TEST_FREED char *expected = test_format("%d %d user %s nil %d", n, n - 1, last, n - 1);

        for (int i = 0; i < n; i++) {
                snprintf(names[i], sizeof(names[i]), "user%d", i);
                peers[i] = storage_peer(i + 1, i, "user", names[i], NULL, i);
        }
        storage_open(&contract_at, "bot", NULL);
        ck_assert_int_eq(storage_put_peers(&contract_at, peers, (size_t)n), 0);
        ck_assert_int_eq(storage_put_peers(&contract_at, peers, (size_t)n), 0);
        ck_assert_str_eq(contract_at.effects, "");
        ck_assert_int_eq(storage_count(&contract_at).peers, n);
        ck_assert_int_gt(storage_count(&contract_at).bytes, 0);
        contract_reopen("bot");
        storage_expect(storage_by_username(&contract_at, last), expected);
}

/* ---- callbacks that have no memory ---- */

static bool no_match(void *arg, const struct match *match)
{
        (void)match;
        ++*(int *)arg;
        return false;
}

static bool no_peer(void *arg, const struct peer *peer)
{
        (void)peer;
        ++*(int *)arg;
        return false;
}

static bool no_name(void *arg, struct slice name, int64_t id, const int64_t *time)
{
        (void)name;
        (void)id;
        (void)time;
        ++*(int *)arg;
        return false;
}

CONTRACT_TEST(reading_stops_when_the_caller_has_no_memory)
{
        const struct lookup lookup = { LOOKUP_USERNAME, .text = slice_of("n") };
        int calls = 0;

        storage_open(&contract_at, "bot", NULL);
        for (int64_t id = 1; id < 4; id++) {
                storage_put_peer(&contract_at, storage_peer(id, 1, "user", "n", NULL, 5));
                storage_put_names(&contract_at, id, id == 1 ? "x" : id == 2 ? "y" : "z", 5);
        }
        ck_assert_int_eq(contract_at.backend->find(contract_at.session, &lookup, 1, no_match, &calls,
                                                   &contract_at.fault),
                         BACKEND_E_STORAGE);
        ck_assert_int_eq(calls, 1);
        ck_assert_int_eq(contract_at.backend->scan_peers(contract_at.session, NULL, 9, no_peer, &calls,
                                                         &contract_at.fault),
                         BACKEND_E_STORAGE);
        ck_assert_int_eq(calls, 2);
        ck_assert_int_eq(contract_at.backend->scan_usernames(contract_at.session, SLICE_NONE, 0, 9, no_name,
                                                             &calls, &contract_at.fault),
                         BACKEND_E_STORAGE);
        ck_assert_int_eq(calls, 3);
        storage_expect(storage_names(&contract_at, NULL, 0, 9), "x 1; y 2; z 3");
}

/* ---- many sessions, many threads ---- */

enum { THREADS = 4, SESSIONS = 8, ROUNDS = 20 };

static bool ignore_stored(void *arg, const struct stored_session *stored)
{
        (void)arg;
        return stored->bytes >= 0;
}

static bool ignore_effect(void *arg, const struct effect *effect)
{
        (void)arg;
        (void)effect;
        return true;
}

/* NULL, or what went wrong: Check's assertions belong to the main thread. */
static const char *use_session(const char *name, int64_t id)
{
        struct backend_session *session;
        struct opened opened;
        struct fault fault;
        struct peer peer = storage_peer(id, id, "user", "n", NULL, id);
        const struct open_options options = { .name = slice_of(name), .create = true };
        const struct change change = { .kind = CHANGE_PEERS, .peers = &peer, .n = 1 };
        struct counts counts;
        const char *wrong = NULL;

        opened_init(&opened);
        if (contract_at.backend->open(contract_at.env, &options, &session, &opened, &fault) != 0)
                return "open";
        if (contract_at.backend->apply(session, &change, 1, DURABLE_SYSTEM, ignore_effect, NULL, &fault) != 0)
                wrong = "apply";
        if (contract_at.backend->list(contract_at.env, SLICE_NONE, ignore_stored, NULL, &fault) != 0)
                wrong = "list";
        if (contract_at.backend->count(session, &counts, &fault) != 0 || counts.peers < 1)
                wrong = "count";
        if (contract_at.backend->close(session, &fault) != 0)
                wrong = "close";
        opened_deinit(&opened);
        return wrong;
}

struct user {
        int number;
        const char *wrong; /* what went wrong, or NULL */
};

static void *use_sessions(void *arg)
{
        struct user *user = arg;

        for (int64_t round = 1; round <= ROUNDS; round++) {
                char name[32];

                snprintf(name, sizeof(name), "s%d-%d", user->number, (int)round % SESSIONS);
                user->wrong = use_session(name, round);
                if (user->wrong)
                        break;
        }
        return NULL;
}

CONTRACT_TEST(sessions_are_used_side_by_side)
{
        pthread_t threads[THREADS];
        struct user users[THREADS];

        for (int i = 0; i < THREADS; i++) {
                users[i] = (struct user){ .number = i };
                ck_assert_int_eq(pthread_create(&threads[i], NULL, use_sessions, &users[i]), 0);
        }
        for (int i = 0; i < THREADS; i++) {
                ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
                ck_assert_msg(!users[i].wrong, "%s", users[i].wrong);
        }
        storage_open(&contract_at, "s0-1", NULL);
        ck_assert_int_eq(storage_count(&contract_at).peers, contract_kept ? 3 : 0); /* rounds 1, 9 and 17 */
}

CONTRACT_TEST(open_sessions_do_not_affect_each_other)
{
        struct storage other = contract_at;

        storage_open(&contract_at, "one", NULL);
        opened_init(&other.opened);
        other.effects = other.log = NULL;
        storage_open(&other, "two", NULL);
        storage_put_peer(&contract_at, storage_peer(1, 1, "user", "n", NULL, 5));
        storage_put_names(&other, 1, "m", 5);
        storage_expect(storage_peers(&other, NULL, 10), "");
        storage_expect(storage_names(&contract_at, NULL, 0, 10), "");
        storage_expect(storage_list(&contract_at, NULL, 0), contract_kept ? "one; two" : "");
        storage_close(&other);
        storage_expect(storage_peers(&contract_at, NULL, 10), "1 1 user n nil 5");
        opened_deinit(&other.opened);
        free(other.effects);
}

void contract_batches(TCase *tcase, int i)
{
        tcase_add_loop_test(tcase, times_change_nothing_else, i, i + 1);
        tcase_add_loop_test(tcase, times_only_rise, i, i + 1);
        tcase_add_loop_test(tcase, rows_of_names_that_have_a_time_keep_it, i, i + 1);
        tcase_add_loop_test(tcase, a_batch_takes_effect_in_order, i, i + 1);
        tcase_add_loop_test(tcase, effects_name_the_change_they_come_from, i, i + 1);
        tcase_add_loop_test(tcase, a_batch_that_fails_has_changed_nothing, i, i + 1);
        tcase_add_loop_test(tcase, empty_batches_change_nothing, i, i + 1);
        tcase_add_loop_test(tcase, many_rows_in_one_batch, i, i + 1);
        tcase_add_loop_test(tcase, reading_stops_when_the_caller_has_no_memory, i, i + 1);
        tcase_add_loop_test(tcase, sessions_are_used_side_by_side, i, i + 1);
        tcase_add_loop_test(tcase, open_sessions_do_not_affect_each_other, i, i + 1);
}
