/*
 * What the cache remembers, and when that is valid.
 *
 * A peer is in the index of usernames only after a lookup has shown that its username leads to no other peer;
 * likewise for phone numbers. Anything else that a name leads to (no peer, several, or a peer through the
 * usernames table) is an alias: a list of candidates. Each lookup compares the candidates by their current
 * times. If the peer of one of them has been evicted, the alias is a miss. So a peer's time changes in one
 * place, and a name is forgotten only when a peer gains or loses it.
 *
 * Without memory to record something, it is forgotten: a miss is never wrong.
 */

#include "cache.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "entry.h"

enum {
        CANDIDATES_MAX = 16, /* a name with more is not cached */
};

struct cache *cache_new(struct cache_pool *pool, uid_t uid, cache_dirty_fn dirty, void *arg)
{
        struct cache *cache = malloc(sizeof(*cache));

        assert(dirty);
        if (!cache)
                return NULL;
        cache->shelf = shelf_new(pool, uid, dirty, arg);
        if (!cache->shelf) {
                free(cache);
                return NULL;
        }
        return cache;
}

void cache_count_for(struct cache *cache, uid_t uid)
{
        shelf_count_for(cache->shelf, uid);
}

void cache_drop(struct cache *cache)
{
        if (!cache)
                return;
        shelf_drop(cache->shelf);
        free(cache);
}

/* ---- peers ---- */

/* The peer as the bytes of its answer, in the pool's scratch buffer. Absent: no memory. */
static struct slice pack(struct cache_pool *pool, const struct peer *peer)
{
        struct buffer *scratch = &pool->scratch;

        buffer_truncate(scratch, 0);
        peer_write(scratch, peer);
        return scratch->failed ? SLICE_NONE : (struct slice){ (const char *)scratch->data, scratch->len };
}

/* NULL: no memory, or the row is too long to be cached. */
static struct entry *peer_new(struct shelf *shelf, const struct peer *peer)
{
        struct slice packed = pack(shelf->pool, peer);
        const uint8_t *start = (const uint8_t *)packed.data;
        struct cursor cursor;
        size_t name_at, phone_at;
        struct peer_row *row;

        if (!packed.data || packed.len > ENTRY_MAX_BYTES)
                return NULL;
        cursor = (struct cursor){ start + 1, start + packed.len };
        for (int part = 0; part < 3; part++)
                cursor_skip(&cursor, NULL);
        name_at = (size_t)(cursor.at - start);
        cursor_skip(&cursor, NULL);
        phone_at = (size_t)(cursor.at - start);
        if (name_at > UINT8_MAX)
                return NULL;
        row = entry_new(shelf, ENTRY_PEER, sizeof(*row) + packed.len);
        if (!row)
                return NULL;
        memcpy(row->packed, packed.data, packed.len);
        row->row.entry.len = (uint16_t)packed.len;
        row->row.entry.name_at = (uint8_t)name_at;
        row->row.entry.phone_at = (uint16_t)phone_at;
        return &row->row.entry;
}

struct entry *shelf_find_peer(const struct shelf *shelf, int64_t id)
{
        struct entry *entry = shelf_find_id(shelf, BY_ID, id);

        return entry && entry->kind == ENTRY_PEER ? entry : NULL;
}

void shelf_forget_text(struct shelf *shelf, enum cache_index index, struct slice text)
{
        struct entry *entry = text.data ? shelf_find_text(shelf, index, text) : NULL;

        if (entry && entry->kind == ENTRY_PEER)
                entry_unlist(entry, index);
        else if (entry)
                entry_free(entry);
}

/* If the peer's text changes, forgets what is known of the old and the new one. True: it does not change. */
static bool keeps_text(struct shelf *shelf, enum cache_index index, const struct entry *before,
                       struct slice now)
{
        struct slice text = entry_text(before, index);

        if (slice_equal(text, now))
                return true;
        shelf_forget_text(shelf, index, text);
        shelf_forget_text(shelf, index, now);
        return false;
}

struct entry *shelf_replace_peer(struct shelf *shelf, struct entry *old, const struct peer *peer)
{
        struct entry *entry = peer_new(shelf, peer);
        bool by_name = false, by_phone = false;

        assert(!old || (entry_shelf(old) == shelf && entry_id(old) == peer->id));
        if (old && old->kind == ENTRY_PEER) {
                by_name = keeps_text(shelf, BY_NAME, old, peer->username) && old->by_name;
                by_phone = keeps_text(shelf, BY_PHONE, old, peer->phone_number) && old->by_phone;
        }
        if (old)
                entry_free(old);
        if (!entry)
                return NULL;
        entry_insert(entry);
        if (by_name)
                entry_list(entry, BY_NAME);
        if (by_phone)
                entry_list(entry, BY_PHONE);
        return entry;
}

/* ---- lookups ---- */

static enum cache_answer counted(const struct shelf *shelf, enum cache_answer answer)
{
        if (answer == CACHE_MISS)
                shelf->pool->misses++;
        else
                shelf->pool->hits++;
        return answer;
}

void cache_prefetch_id(const struct cache *cache, int64_t id)
{
        shelf_prefetch_id(cache->shelf, BY_ID, id);
}

enum cache_answer cache_by_id(struct cache *cache, int64_t id, struct cache_hit *hit)
{
        struct entry *entry = shelf_find_id(cache->shelf, BY_ID, id);

        if (!entry)
                return counted(cache->shelf, CACHE_MISS);
        entry_use(entry);
        if (entry->kind == ENTRY_ABSENT)
                return counted(cache->shelf, CACHE_ABSENT);
        *hit = (struct cache_hit){ .packed = entry_packed(entry) };
        return counted(cache->shelf, CACHE_HIT);
}

/* Which of the peers that a name or number leads to is the answer. */
struct contest {
        size_t winner; /* SIZE_MAX: none yet */
        int64_t time;
        int64_t id;
        bool from_table;
};

/* The newest time; of equals, its own username first, then the lowest id. */
static void compete(struct contest *contest, size_t number, int64_t id, int64_t time, bool from_table)
{
        bool better = time > contest->time;

        if (time == contest->time)
                better = from_table == contest->from_table ? id < contest->id : !from_table;
        if (contest->winner == SIZE_MAX || better)
                *contest = (struct contest){ number, time, id, from_table };
}

static enum cache_answer by_alias(const struct shelf *shelf, const struct alias *alias,
                                  enum cache_index index, struct cache_hit *hit)
{
        struct contest contest = { .winner = SIZE_MAX };
        struct slice text = entry_text(&alias->entry, index);

        for (size_t i = 0; i < alias->n; i++) {
                const struct candidate *candidate = &alias->candidates[i];
                struct entry *entry = shelf_find_peer(shelf, candidate->peer_id);

                if (!entry)
                        return CACHE_MISS;
                if (candidate->from_table ? alias->rows_epoch != shelf->rows_epoch
                                          : !slice_equal(entry_text(entry, index), text))
                        return CACHE_MISS;
                entry_use(entry);
                compete(&contest, i, candidate->peer_id, entry_time(entry), candidate->from_table);
                if (contest.winner == i)
                        *hit = (struct cache_hit){ entry_packed(entry), candidate->from_table,
                                                   candidate->has_row_time, candidate->row_time };
        }
        return alias->n ? CACHE_HIT : CACHE_ABSENT;
}

static enum cache_answer by_text(const struct shelf *shelf, enum cache_index index, struct slice text,
                                 struct cache_hit *hit)
{
        struct entry *entry = shelf_find_text(shelf, index, text);

        if (!entry)
                return counted(shelf, CACHE_MISS);
        entry_use(entry);
        if (entry->kind != ENTRY_PEER)
                return counted(shelf, by_alias(shelf, (struct alias *)entry, index, hit));
        *hit = (struct cache_hit){ .packed = entry_packed(entry) };
        return counted(shelf, CACHE_HIT);
}

enum cache_answer cache_by_username(struct cache *cache, struct slice username, struct cache_hit *hit)
{
        return by_text(cache->shelf, BY_NAME, username, hit);
}

enum cache_answer cache_by_phone(struct cache *cache, struct slice phone, struct cache_hit *hit)
{
        return by_text(cache->shelf, BY_PHONE, phone, hit);
}

/* ---- what the backend found ---- */

int64_t cache_peer_time(const struct cache *cache, int64_t id, int64_t stored)
{
        const struct entry *entry = shelf_find_peer(cache->shelf, id);

        return entry ? entry_time(entry) : stored;
}

int64_t cache_names_time(const struct cache *cache, int64_t peer_id, int64_t stored)
{
        const struct entry *entry = shelf_find_id(cache->shelf, BY_OWNER, peer_id);

        return entry ? entry_time(entry) : stored;
}

/* The match with cached times, which may be newer than the backend's. */
static struct match current(const struct cache *cache, const struct match *match)
{
        struct match now = *match;

        now.peer.last_update_on = cache_peer_time(cache, now.peer.id, now.peer.last_update_on);
        if (now.from_table && now.has_row_time)
                now.row_time = cache_names_time(cache, now.peer.id, now.row_time);
        return now;
}

static struct entry *remember_peer(struct shelf *shelf, const struct match *match)
{
        struct entry *entry = shelf_find_id(shelf, BY_ID, match->peer.id);
        struct peer known;

        if (entry && entry->kind == ENTRY_PEER) {
                entry_peer(entry, &known);
                if (peer_same(&known, &match->peer)) {
                        entry_use(entry);
                        return entry;
                }
                entry_evict(entry);
                entry = NULL;
        }
        entry = shelf_replace_peer(shelf, entry, &match->peer);
        if (entry)
                entry->is_former = match->is_former;
        return entry;
}

static void remember_absence(struct shelf *shelf, int64_t id)
{
        struct entry *old = shelf_find_id(shelf, BY_ID, id);
        struct absence *absence = entry_new(shelf, ENTRY_ABSENT, sizeof(*absence));

        if (old)
                entry_evict(old);
        if (!absence)
                return;
        absence->id = id;
        entry_insert(&absence->entry);
}

static void remember_alias(struct shelf *shelf, enum cache_index index, struct slice text,
                           const struct match *matches, size_t n)
{
        size_t size = sizeof(struct alias) + n * sizeof(struct candidate) + text.len;
        struct alias *alias;

        if (size > ENTRY_MAX_BYTES)
                return;
        alias = entry_new(shelf, index == BY_NAME ? ENTRY_NAME : ENTRY_PHONE, size);
        if (!alias)
                return;
        alias->n = (uint32_t)n;
        alias->rows_epoch = shelf->rows_epoch;
        for (size_t i = 0; i < n; i++)
                alias->candidates[i] = (struct candidate){ matches[i].peer.id, matches[i].row_time,
                                                           matches[i].from_table, matches[i].has_row_time };
        memcpy(&alias->candidates[n], text.data, text.len);
        alias->entry.len = (uint16_t)text.len;
        entry_insert(&alias->entry);
}

/* Do all matches mean the same peer, and is the text its own username or number? */
static bool one_owner(const struct match *matches, size_t n)
{
        bool own = false;

        for (size_t i = 0; i < n; i++) {
                if (matches[i].peer.id != matches[0].peer.id)
                        return false;
                own |= !matches[i].from_table;
        }
        return own;
}

static void remember_text(struct shelf *shelf, enum cache_index index, struct slice text,
                          const struct match *matches, size_t n)
{
        struct entry *entry = NULL;

        for (size_t i = 0; i < n; i++)
                entry = remember_peer(shelf, &matches[i]);
        shelf_forget_text(shelf, index, text);
        if (!one_owner(matches, n))
                remember_alias(shelf, index, text, matches, n);
        else if (entry && slice_equal(entry_text(entry, index), text))
                entry_list(entry, index);
}

enum cache_answer cache_found(struct cache *cache, const struct lookup *lookup, const struct match *matches,
                              size_t n, struct cache_hit *hit)
{
        struct shelf *shelf = cache->shelf;
        enum cache_index index = lookup->kind == LOOKUP_USERNAME ? BY_NAME : BY_PHONE;
        struct match known[CANDIDATES_MAX], best = { 0 };
        struct contest contest = { .winner = SIZE_MAX };
        bool complete = true;

        assert(matches || n == 0);
        assert(lookup->kind == LOOKUP_ID || lookup->text.data);
        for (size_t i = 0; i < n; i++) {
                struct match match;

                if (!matches[i].peer.type.data) {
                        complete = false; /* a name whose peer is not stored */
                        continue;
                }
                match = current(cache, &matches[i]);
                compete(&contest, i, match.peer.id, match.peer.last_update_on, match.from_table);
                if (contest.winner == i)
                        best = match;
                if (i < CANDIDATES_MAX)
                        known[i] = match;
        }
        if (lookup->kind == LOOKUP_ID && n == 0)
                remember_absence(shelf, lookup->id);
        else if (lookup->kind == LOOKUP_ID)
                remember_peer(shelf, &best);
        else if (n > CANDIDATES_MAX || !complete)
                shelf_forget_text(shelf, index, lookup->text);
        else
                remember_text(shelf, index, lookup->text, known, n);
        pool_evict(shelf->pool, EVICT_STEP);
        if (contest.winner == SIZE_MAX)
                return CACHE_ABSENT;
        *hit = (struct cache_hit){ pack(shelf->pool, &best.peer), best.from_table, best.has_row_time,
                                   best.row_time };
        return hit->packed.data ? CACHE_HIT : CACHE_MISS;
}
