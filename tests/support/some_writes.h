#ifndef GRAMD_TESTS_SUPPORT_SOME_WRITES_H
#define GRAMD_TESTS_SUPPORT_SOME_WRITES_H

/*
 * Writes of every kind to the session that is open. To be included once in a test program, after its
 * apply(changes, n, durability), and its backend `at`. What they need themselves is allocated unarmed.
 */

#include "failing_memory.h"
#include "storage.h"

static int put_fields(void)
{
        static const uint8_t key[AUTH_KEY_BYTES] = { 1, 2, 3 };
        struct change change = { .kind = CHANGE_IDENTITY, .n = 1 };
        struct identity identity;
        bool armed = memory_armed;
        int error;

        memory_armed = false;
        identity_init(&identity);
        identity_set_number(&identity, FIELD_USER_ID, 77);
        identity_set_number(&identity, FIELD_API_ID, 6);
        identity_set_number(&identity, FIELD_TAKEOUT_ID, 9);
        identity_set_number(&identity, FIELD_DC_ID, 4);
        identity_set_key(&identity, key);
        ck_assert(identity_set_address(&identity, slice_of("149.154.167.91")));
        memory_armed = armed;
        change.fields = FIELD_BIT(FIELD_USER_ID) | FIELD_BIT(FIELD_API_ID) | FIELD_BIT(FIELD_TAKEOUT_ID) |
                        FIELD_BIT(FIELD_DC_ID) | FIELD_BIT(FIELD_AUTH_KEY) | FIELD_BIT(FIELD_SERVER_ADDRESS);
        change.identity = &identity;
        error = apply(&change, 1, DURABLE_SYSTEM);
        memory_armed = false;
        identity_wipe(&identity);
        memory_armed = armed;
        return error;
}

static int put_peers(void)
{
        const struct peer peers[] = { storage_peer(1, 10, "user", "anna", "41", 5),
                                      storage_peer(2, STORAGE_NIL, "bot", NULL, "42", 5),
                                      storage_peer(0, 30, "channel", "zero", NULL, 5),
                                      storage_peer(-1001, 40, "group", "group", NULL, 5) };

        return apply(&(struct change){ .kind = CHANGE_PEERS, .peers = peers, .n = 4 }, 1, DURABLE_SYSTEM);
}

static int move_names(void)
{
        const struct peer peers[] = { storage_peer(1, STORAGE_NIL, "user", "other", NULL, 6),
                                      storage_peer(2, 20, "user", "anna", "41", 6) };

        return apply(&(struct change){ .kind = CHANGE_PEERS, .peers = peers, .n = 2 }, 1, DURABLE_DISK);
}

static int put_names(void)
{
        const struct slice ones[] = { slice_of("bella"), slice_of("clara"), slice_of("dora") };
        const struct peer_names names = { .peer_id = 1, .names = ones, .n_names = 3, .last_update_on = 7 };

        return apply(&(struct change){ .kind = CHANGE_NAMES, .names = &names, .n = 1 }, 1, DURABLE_SYSTEM);
}

static int take_names(void)
{
        const struct slice ones[] = { slice_of("bella"), slice_of("emma") };
        const struct peer_names names[] = {
                { .peer_id = 2, .names = ones, .n_names = 2, .last_update_on = 8 },
                { .peer_id = 1, .names = ones + 1, .n_names = 0, .last_update_on = 8 },
        };

        return apply(&(struct change){ .kind = CHANGE_NAMES, .names = names, .n = 2 }, 1, DURABLE_SYSTEM);
}

static int put_states(void)
{
        const struct state states[] = { storage_state(1, 7, 8, 9, 10),
                                        storage_state(2, 7, STORAGE_NIL, 9, STORAGE_NIL) };

        return apply(&(struct change){ .kind = CHANGE_STATES, .states = states, .n = 2 }, 1, DURABLE_SYSTEM);
}

static int drop_state(void)
{
        const int64_t ids[] = { 1, 5 };

        return apply(&(struct change){ .kind = CHANGE_STATES_GONE, .ids = ids, .n = 2 }, 1, DURABLE_SYSTEM);
}

static int put_several(void)
{
        static const uint8_t bytes[300] = { 1, 2, 3 };
        const struct peer peer = storage_peer(3, 33, "user", "several", NULL, 9);
        const struct state state = storage_state(3, 1, 2, 3, 4);
        const struct row_time times[] = { { 1, 100 }, { 2, 100 } };
        const struct change changes[] = {
                { .kind = CHANGE_PEERS, .peers = &peer, .n = 1 },
                { .kind = CHANGE_STATES, .states = &state, .n = 1 },
                { .kind = CHANGE_PEER_TIMES, .times = times, .n = 2 },
                { .kind = CHANGE_NAME_TIMES, .times = times, .n = 2 },
                { .kind = CHANGE_REMEMBERED, .remembered = { (const char *)bytes, sizeof(bytes) }, .n = 1 },
        };

        return apply(changes, at.backend->remembers ? 5 : 4, DURABLE_DISK);
}

enum { NOW_MS = 1000 };

static int put_values(void)
{
        const struct kv_row rows[] = { { .key = slice_of("a"), .value = slice_of("1") },
                                       { .key = slice_of("b"), .value = slice_of("2"), .ttl_s = 5 },
                                       { .key = slice_of("c"), .value = slice_of("3"), .ttl_s = 60 } };

        return apply(&(struct change){ .kind = CHANGE_KV, .kv = rows, .n = 3, .now_ms = NOW_MS }, 1,
                     DURABLE_SYSTEM);
}

static int swap_values(void)
{
        const struct kv_swap swaps[] = {
                { .row = { .key = slice_of("a"), .value = slice_of("4") }, .expected = slice_of("1") },
                { .row = { .key = slice_of("c"), .value = slice_of("5") } },
                { .row = { .key = slice_of("d"), .value = slice_of("6") } },
        };
        const struct change changes[] = {
                { .kind = CHANGE_KV_EXPIRED, .n = 1, .now_ms = NOW_MS + 5000 },
                { .kind = CHANGE_KV_SWAP, .swap = &swaps[0], .n = 1, .now_ms = NOW_MS + 5000 },
                { .kind = CHANGE_KV_SWAP, .swap = &swaps[1], .n = 1, .now_ms = NOW_MS + 5000 },
                { .kind = CHANGE_KV_SWAP, .swap = &swaps[2], .n = 1, .now_ms = NOW_MS + 5000 },
        };

        return apply(changes, 4, DURABLE_SYSTEM);
}

static const struct write {
        const char *name;
        int (*run)(void);
} writes[] = {
        { "fields", put_fields },          { "peers", put_peers },        { "names", put_names },
        { "states", put_states },          { "moved names", move_names }, { "taken names", take_names },
        { "a dropped state", drop_state }, { "several", put_several },    { "values", put_values },
        { "swaps", swap_values },
};
enum { WRITES = sizeof(writes) / sizeof(writes[0]) };

#endif
