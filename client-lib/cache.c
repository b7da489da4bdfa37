/*
 * An entry is in three hash tables, by id, username and phone number, and in one list by last use.
 *
 * Several peers may have one username or number; the daemon chooses. So a look-up by name or number finds an
 * entry only if the daemon has answered that very look-up with it. Its choice may change with every change to
 * any peer: then all these answers are forgotten. There is one exception: the daemon does not notify
 * when a row is repeated. If another peer has the same name, it is the newest then, but the entry stays.
 *
 * Rows of the usernames table have a time of their own, and answers do not contain it. So only a peer's own
 * username is remembered.
 */

#include "cache.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "block.h"

enum {
        DEFAULT_BYTES = 4 * 1024 * 1024,
        BYTES_PER_BUCKET = 256, /* about one entry */
        BUCKETS_MIN = 64,
        BUCKETS_MAX = 1 << 20,
        MAX_AGE_DEFAULT_S = 28800,
};

enum { BY_ID, BY_USERNAME, BY_PHONE, KEYS };

struct entry {
        struct link used;         /* in cache->used, the latest first */
        struct entry *next[KEYS]; /* in the bucket of each table */
        uint64_t answers[KEYS];   /* found by this name or number while this is cache->choice */
        size_t bytes;
        struct gram_peer peer; /* its texts follow the entry */
        char text[];
};

struct cache {
        struct entry **tables[KEYS];
        size_t n_buckets; /* a power of two */
        struct link used;
        size_t bytes;
        size_t max_bytes;
        uint64_t epoch;
        uint64_t choice; /* from 1; changes when the daemon may choose another peer */
        bool live;
        struct gram_identity identity; /* never with the key */
};

/* ---- tables ---- */

static uint64_t hash_bytes(const void *data, size_t len)
{
        const unsigned char *bytes = data;
        uint64_t hash = 0xcbf29ce484222325u;

        for (size_t i = 0; i < len; i++)
                hash = (hash ^ bytes[i]) * 0x100000001b3u;
        return hash ^ hash >> 32;
}

static const char *entry_text(const struct entry *entry, int key)
{
        return key == BY_USERNAME ? entry->peer.username : entry->peer.phone_number;
}

static struct entry **bucket_of_id(struct cache *cache, int64_t id)
{
        return &cache->tables[BY_ID][hash_bytes(&id, sizeof(id)) & (cache->n_buckets - 1)];
}

static struct entry **bucket_of_text(struct cache *cache, int key, const char *text)
{
        return &cache->tables[key][hash_bytes(text, strlen(text)) & (cache->n_buckets - 1)];
}

static struct entry **bucket_of(struct cache *cache, const struct entry *entry, int key)
{
        return key == BY_ID ? bucket_of_id(cache, entry->peer.id)
                            : bucket_of_text(cache, key, entry_text(entry, key));
}

static void entry_drop(struct cache *cache, struct entry *entry)
{
        for (int key = 0; key < KEYS; key++) {
                struct entry **at;

                if (key != BY_ID && !entry_text(entry, key))
                        continue;
                at = bucket_of(cache, entry, key);
                while (*at != entry)
                        at = &(*at)->next[key];
                *at = entry->next[key];
        }
        link_remove(&entry->used);
        cache->bytes -= entry->bytes;
        free(entry);
}

static struct entry *find_id(struct cache *cache, int64_t id)
{
        struct entry *entry = *bucket_of_id(cache, id);

        while (entry && entry->peer.id != id)
                entry = entry->next[BY_ID];
        return entry;
}

static struct entry *find_text(struct cache *cache, int key, const char *text)
{
        struct entry *entry = text ? *bucket_of_text(cache, key, text) : NULL;

        while (entry && !(entry->answers[key] == cache->choice && strcmp(entry_text(entry, key), text) == 0))
                entry = entry->next[key];
        return entry;
}

static void forget_id(struct cache *cache, int64_t id)
{
        struct entry *entry = find_id(cache, id);

        if (entry)
                entry_drop(cache, entry);
}

/* The entry can still be found by its id. */
static void forget_text(struct cache *cache, int key, const char *text)
{
        struct entry *entry = find_text(cache, key, text);

        if (entry)
                entry->answers[key] = 0;
}

static void forget_all(struct cache *cache)
{
        while (!link_empty(&cache->used))
                entry_drop(cache, LINK_OF(cache->used.next, struct entry, used));
        explicit_bzero(&cache->identity, sizeof(cache->identity));
        cache->epoch++;
}

/* ---- life ---- */

struct cache *cache_new(size_t max_bytes)
{
        struct cache *cache = calloc(1, sizeof(*cache));

        if (!cache)
                return NULL;
        cache->choice = 1;
        cache->max_bytes = max_bytes ? max_bytes : DEFAULT_BYTES;
        cache->n_buckets = BUCKETS_MIN;
        while (cache->n_buckets < cache->max_bytes / BYTES_PER_BUCKET && cache->n_buckets < BUCKETS_MAX)
                cache->n_buckets *= 2;
        link_init(&cache->used);
        for (int key = 0; key < KEYS; key++) {
                cache->tables[key] = calloc(cache->n_buckets, sizeof(struct entry *));
                if (!cache->tables[key]) {
                        cache_free(cache);
                        return NULL;
                }
        }
        return cache;
}

void cache_free(struct cache *cache)
{
        if (!cache)
                return;
        forget_all(cache);
        for (int key = 0; key < KEYS; key++)
                free(cache->tables[key]);
        free(cache);
}

void cache_stop(struct cache *cache)
{
        forget_all(cache);
        cache->live = false;
}

void cache_start(struct cache *cache)
{
        forget_all(cache);
        cache->live = true;
}

uint64_t cache_epoch(const struct cache *cache)
{
        return cache->epoch;
}

/* ---- answering ---- */

static void *peer_result(const struct gram_peer *peer)
{
        struct gram_peer *result = block_new(sizeof(*result), 600);

        if (!result)
                return NULL;
        *result = *peer;
        result->type = block_text(result, slice_of(peer->type));
        if (peer->username)
                result->username = block_text(result, slice_of(peer->username));
        if (peer->phone_number)
                result->phone_number = block_text(result, slice_of(peer->phone_number));
        if (result->type && (result->username || !peer->username) &&
            (result->phone_number || !peer->phone_number))
                return result;
        gram_free(result);
        return NULL;
}

static void *identity_result(const struct cache *cache, unsigned fields)
{
        struct gram_identity *identity;

        if (fields & ~cache->identity.fields)
                return NULL;
        identity = block_new(sizeof(*identity), 0);
        if (!identity)
                return NULL;
        *identity = cache->identity;
        identity->fields = fields;
        identity->nil &= fields;
        return identity;
}

/* Whether it is fresh for sure. If not, the daemon is asked: it may know a newer time. */
static bool fresh(const struct gram_peer *peer, int64_t max_age_s, int64_t now_s)
{
        const uint64_t now = (uint64_t)now_s, then = (uint64_t)peer->last_update_on;
        const uint64_t age_s = now_s > peer->last_update_on ? now - then : then - now;

        if (max_age_s == GRAM_MAX_AGE_DEFAULT_S)
                max_age_s = MAX_AGE_DEFAULT_S;
        return max_age_s == 0 || (max_age_s > 0 && age_s < (uint64_t)max_age_s);
}

void *cache_find(struct cache *cache, const struct call *call, int64_t now_s)
{
        struct entry *entry = NULL;

        if (!cache->live)
                return NULL;
        switch (call->method) {
        case METHOD_GET: return identity_result(cache, (unsigned)call->expect);
        case METHOD_GET_PEER_BY_ID: entry = find_id(cache, call->expect); break;
        case METHOD_GET_PEER_BY_PHONE_NUMBER: entry = find_text(cache, BY_PHONE, call->sought); break;
        case METHOD_GET_PEER_BY_USERNAME:
                entry = find_text(cache, BY_USERNAME, call->sought);
                if (entry && !fresh(&entry->peer, call->expect, now_s))
                        entry = NULL;
                break;
        default: break;
        }
        if (!entry)
                return NULL;
        link_remove(&entry->used);
        link_insert_after(&cache->used, &entry->used);
        return peer_result(&entry->peer);
}

/* ---- learning ---- */

static struct entry *entry_new(const struct gram_peer *peer)
{
        const char *const texts[] = { peer->type, peer->username, peer->phone_number };
        const char *copies[3] = { NULL };
        size_t size = sizeof(struct entry), at = 0;
        struct entry *entry;

        for (int i = 0; i < 3; i++)
                size += texts[i] ? strlen(texts[i]) + 1 : 0;
        entry = calloc(1, size);
        if (!entry)
                return NULL;
        for (int i = 0; i < 3; i++) {
                if (!texts[i])
                        continue;
                copies[i] = strcpy(entry->text + at, texts[i]);
                at += strlen(texts[i]) + 1;
        }
        entry->peer = *peer;
        entry->peer.type = copies[0];
        entry->peer.username = copies[1];
        entry->peer.phone_number = copies[2];
        entry->bytes = size + 2 * sizeof(void *); /* malloc's own */
        link_init(&entry->used);
        return entry;
}

/* Replaces the peer's entry. Other answers with it stay if it still has that name or number. */
static void learn_peer(struct cache *cache, const struct gram_peer *peer, int found_by)
{
        struct entry *old = find_id(cache, peer->id);
        struct entry *entry = entry_new(peer);

        if (!entry || entry->bytes > cache->max_bytes / 8) {
                free(entry);
                entry = NULL;
        }
        for (int key = BY_USERNAME; entry && key < KEYS; key++) {
                if (!entry_text(entry, key))
                        continue;
                if (key == found_by) {
                        forget_text(cache, key, entry_text(entry, key));
                        entry->answers[key] = cache->choice;
                } else if (old && old->answers[key] &&
                           strcmp(entry_text(old, key), entry_text(entry, key)) == 0) {
                        entry->answers[key] = old->answers[key];
                }
        }
        if (old)
                entry_drop(cache, old);
        if (!entry)
                return;
        for (int key = 0; key < KEYS; key++) {
                struct entry **bucket;

                if (key != BY_ID && !entry_text(entry, key))
                        continue;
                bucket = bucket_of(cache, entry, key);
                entry->next[key] = *bucket;
                *bucket = entry;
        }
        link_insert_after(&cache->used, &entry->used);
        cache->bytes += entry->bytes;
        while (cache->bytes > cache->max_bytes)
                entry_drop(cache, LINK_OF(cache->used.prev, struct entry, used));
}

/* All but the key. */
static const struct {
        unsigned field;
        size_t at;
        size_t size;
} values[] = {
#define VALUE(bit, member)                                                                                   \
        {                                                                                                    \
                bit, offsetof(struct gram_identity, member), sizeof(((struct gram_identity *)NULL)->member)  \
        }
        VALUE(GRAM_DC_ID, dc_id),
        VALUE(GRAM_API_ID, api_id),
        VALUE(GRAM_DATE, date),
        VALUE(GRAM_USER_ID, user_id),
        VALUE(GRAM_PORT, port),
        VALUE(GRAM_TAKEOUT_ID, takeout_id),
        VALUE(GRAM_IS_BOT, is_bot),
        VALUE(GRAM_TEST_MODE, test_mode),
        VALUE(GRAM_SERVER_ADDRESS, server_address),
#undef VALUE
};

static void learn_identity(struct cache *cache, const struct gram_identity *identity)
{
        struct gram_identity *known = &cache->identity;

        for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
                unsigned field = values[i].field;

                if (!(identity->fields & field))
                        continue;
                memcpy((char *)known + values[i].at, (const char *)identity + values[i].at, values[i].size);
                known->fields |= field;
                known->nil = (known->nil & ~field) | (identity->nil & field);
        }
}

void cache_learn(struct cache *cache, uint64_t epoch, const struct call *call, const struct gram_reply *reply)
{
        const struct gram_peer *peer = reply->peer;

        assert(!reply->error);
        if (!cache->live || epoch != cache->epoch)
                return;
        switch (call->method) {
        case METHOD_GET: learn_identity(cache, reply->identity); break;
        case METHOD_GET_PEER_BY_ID:
                if (peer->id == call->expect)
                        learn_peer(cache, peer, BY_ID);
                break;
        case METHOD_GET_PEER_BY_USERNAME:
                if (peer->username && strcmp(peer->username, call->sought) == 0)
                        learn_peer(cache, peer, BY_USERNAME);
                break;
        case METHOD_GET_PEER_BY_PHONE_NUMBER:
                if (peer->phone_number && strcmp(peer->phone_number, call->sought) == 0)
                        learn_peer(cache, peer, BY_PHONE);
                break;
        case METHOD_GET_PEERS:
        case METHOD_SCAN_PEERS:
                for (size_t i = 0; i < reply->peers->n; i++) {
                        if (reply->peers->rows[i].type)
                                learn_peer(cache, &reply->peers->rows[i], BY_ID);
                }
                break;
        default: break;
        }
}

/* ---- forgetting ---- */

void cache_changed(struct cache *cache, const struct gram_changed *changed)
{
        if (changed->all) {
                forget_all(cache);
                return;
        }
        cache->epoch++;
        cache->choice += changed->n_peers > 0;
        for (size_t i = 0; i < changed->n_peers; i++)
                forget_id(cache, changed->peers[i]);
        for (size_t i = 0; i < changed->n_usernames; i++)
                forget_text(cache, BY_USERNAME, changed->usernames[i]);
        for (size_t i = 0; i < changed->n_phones; i++)
                forget_text(cache, BY_PHONE, changed->phones[i]);
        if (changed->fields)
                cache_wrote_identity(cache);
}

static void forget_other(struct cache *cache, int key, const char *text, const struct entry *entry)
{
        struct entry *found = find_text(cache, key, text);

        if (found && found != entry)
                found->answers[key] = 0;
}

static bool text_same(const char *a, const char *b)
{
        return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool peer_repeats(const struct gram_peer *known, const struct gram_peer *row)
{
        return known->has_access_hash == row->has_access_hash &&
               (!row->has_access_hash || known->access_hash == row->access_hash) &&
               text_same(known->type, row->type) && text_same(known->username, row->username) &&
               text_same(known->phone_number, row->phone_number) && !row->has_last_update_on;
}

void cache_wrote_peers(struct cache *cache, const struct gram_peer *rows, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                struct entry *entry = find_id(cache, rows[i].id);

                /* It is the newest peer with its name now: a look-up finds this one. */
                forget_other(cache, BY_USERNAME, rows[i].username, entry);
                forget_other(cache, BY_PHONE, rows[i].phone_number, entry);
                /* Most rows that libraries write repeat what is stored. */
                if (entry && peer_repeats(&entry->peer, &rows[i]))
                        continue;
                cache->epoch++;
                cache->choice++;
                if (entry)
                        entry_drop(cache, entry);
        }
}

/*
 * A name that a peer gains in the usernames table may find that peer from now on. A name that it loses
 * changes nothing: only a peer's own username is remembered.
 */
void cache_wrote_names(struct cache *cache, const struct gram_names *rows, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                cache->epoch++;
                for (size_t k = 0; k < rows[i].n_names; k++)
                        forget_text(cache, BY_USERNAME, rows[i].names[k]);
        }
}

void cache_wrote_identity(struct cache *cache)
{
        cache->epoch++;
        explicit_bzero(&cache->identity, sizeof(cache->identity));
}
