/*
 * Rows that have been committed, and rows that repeat them. A row that repeats what is stored changes only
 * its time in the cache, and is then dirty. It is stored again when its time is more than CACHE_DIRTY_MAX_S
 * ahead, or handed to the cache's owner when it is evicted before. So no time is lost.
 */

#include <string.h>

#include "entry.h"

enum { NAMES_MAX = 64 }; /* the names of a peer with more are not cached */

/* ---- the usernames table ---- */

static struct slice next_name(const struct names_row *row, size_t *at)
{
        struct slice name = { (const char *)row->bytes + *at + 1, row->bytes[*at] };

        *at += 1 + name.len;
        return name;
}

static bool has_name(const struct peer_names *names, struct slice name)
{
        for (size_t i = 0; i < names->n_names; i++) {
                if (slice_equal(names->names[i], name))
                        return true;
        }
        return false;
}

/* The same names in any order? Neither list has a name twice. */
static bool same_names(const struct names_row *row, const struct peer_names *names)
{
        size_t at = 0;

        if (row->n != names->n_names)
                return false;
        for (size_t i = 0; i < row->n; i++) {
                struct slice name = next_name(row, &at);

                if (!slice_equal(names->names[i], name) && !has_name(names, name))
                        return false;
        }
        return true;
}

static struct names_row *names_new(struct shelf *shelf, const struct peer_names *names)
{
        size_t len = 0, at = 0;
        struct names_row *row;

        for (size_t i = 0; i < names->n_names; i++) {
                if (names->n_names > NAMES_MAX || names->names[i].len > UINT8_MAX)
                        return NULL;
                len += 1 + names->names[i].len;
        }
        row = entry_new(shelf, ENTRY_NAMES, sizeof(*row) + len);
        if (!row)
                return NULL;
        row->peer_id = names->peer_id;
        row->time = names->last_update_on;
        row->n = names->n_names;
        row->row.entry.len = (uint16_t)len;
        for (size_t i = 0; i < names->n_names; i++) {
                row->bytes[at] = (uint8_t)names->names[i].len;
                memcpy(row->bytes + at + 1, names->names[i].data, names->names[i].len);
                at += 1 + names->names[i].len;
        }
        return row;
}

/* Sets the time of the rows, and of the aliases that use them. */
static void set_names_time(struct names_row *row, int64_t time)
{
        const struct shelf *shelf = entry_shelf(&row->row.entry);
        size_t at = 0;

        row->time = time;
        for (size_t i = 0; i < row->n; i++) {
                struct entry *entry = shelf_find_text(shelf, BY_NAME, next_name(row, &at));
                struct alias *alias = (struct alias *)entry;

                for (size_t k = 0; entry && entry->kind == ENTRY_NAME && k < alias->n; k++) {
                        if (alias->candidates[k].peer_id == row->peer_id && alias->candidates[k].from_table)
                                alias->candidates[k].row_time = time;
                }
        }
}

void cache_stored_names(struct cache *cache, const struct peer_names *names)
{
        struct shelf *shelf = cache->shelf;
        struct names_row *old = (struct names_row *)shelf_find_id(shelf, BY_OWNER, names->peer_id), *row;
        size_t at = 0;

        if (old && same_names(old, names)) {
                row_set_dirty(&old->row, false);
                set_names_time(old, names->last_update_on);
                entry_use(&old->row.entry);
                return;
        }
        row = names_new(shelf, names);
        for (size_t i = 0; old && i < old->n; i++)
                shelf_forget_text(shelf, BY_NAME, next_name(old, &at));
        for (size_t i = 0; i < names->n_names; i++)
                shelf_forget_text(shelf, BY_NAME, names->names[i]);
        if (old)
                entry_free(&old->row.entry);
        if (row)
                entry_insert(&row->row.entry);
        pool_evict(shelf->pool, EVICT_STEP);
}

/* ---- changes ---- */

void cache_stored_peer(struct cache *cache, const struct peer *peer)
{
        struct shelf *shelf = cache->shelf;
        struct entry *old = shelf_find_id(shelf, BY_ID, peer->id);

        if (!old || old->kind != ENTRY_PEER) {
                /* Its former username and number are not known here. */
                shelf_forget_text(shelf, BY_NAME, peer->username);
                shelf_forget_text(shelf, BY_PHONE, peer->phone_number);
        }
        shelf_replace_peer(shelf, old, peer);
        pool_evict(shelf->pool, EVICT_STEP);
}

void cache_forget_username(struct cache *cache, struct slice username)
{
        shelf_forget_text(cache->shelf, BY_NAME, username);
}

void cache_forget_phone(struct cache *cache, struct slice phone)
{
        shelf_forget_text(cache->shelf, BY_PHONE, phone);
}

void cache_forget_names(struct cache *cache, int64_t peer_id)
{
        struct entry *entry = shelf_find_id(cache->shelf, BY_OWNER, peer_id);

        if (entry)
                entry_evict(entry);
}

void cache_forget_all(struct cache *cache)
{
        struct shelf *old = cache->shelf, *fresh;
        struct row_time time;

        for (int names = 0; names < 2; names++) {
                for (int n = 0; n < CACHE_KEPT_DIRTY && cache_take_dirty(cache, names, &time, 1); n++)
                        old->on_dirty(old->arg, names, time);
        }
        fresh = shelf_new(old->pool, old->sections->user->uid, old->on_dirty, old->arg);
        if (!fresh) {
                shelf_empty(old);
                return;
        }
        cache->shelf = fresh;
        shelf_drop(old);
}

/* ---- repetitions ---- */

/* May the row's time be kept here, ahead of the backend's? */
static enum cache_repeat repeat(const struct entry *entry, int64_t time)
{
        int64_t now = entry_time(entry);
        uint64_t ahead = (uint64_t)time - (uint64_t)now + entry->ahead_s;

        if (time < now || ahead > CACHE_DIRTY_MAX_S || ahead < entry->ahead_s)
                return CACHE_REPEAT_STORE;
        return CACHE_REPEAT;
}

enum cache_repeat cache_repeats_peer(const struct cache *cache, const struct peer *peer)
{
        const struct entry *entry = shelf_find_peer(cache->shelf, peer->id);
        struct peer known;

        if (!entry)
                return CACHE_NEW;
        entry_peer(entry, &known);
        if (!peer_same(&known, peer))
                return CACHE_NEW;
        /* A delayed write of the former owner could replace the row, until it has this owner's fence. */
        if (entry->is_former)
                return CACHE_REPEAT_STORE;
        /* A packed time is changed in place, where there is room for 32 bits. */
        if (known.last_update_on < 0 || peer->last_update_on > UINT32_MAX)
                return CACHE_REPEAT_STORE;
        return repeat(entry, peer->last_update_on);
}

enum cache_repeat cache_repeats_names(const struct cache *cache, const struct peer_names *names)
{
        const struct entry *entry = shelf_find_id(cache->shelf, BY_OWNER, names->peer_id);

        if (!entry || !same_names((const struct names_row *)entry, names))
                return CACHE_NEW;
        return names->n_names ? repeat(entry, names->last_update_on) : CACHE_REPEAT;
}

static bool set_time(struct entry *entry, int64_t time)
{
        if (entry->kind == ENTRY_PEER)
                return peer_set_time(((struct peer_row *)entry)->packed, entry->len, time);
        set_names_time((struct names_row *)entry, time);
        return true;
}

/* A time that cannot be kept here goes to the cache's owner at once. */
static void touch(struct shelf *shelf, struct entry *entry, bool names, struct row_time time)
{
        int64_t now = entry ? entry_time(entry) : INT64_MIN;
        uint64_t ahead = entry ? (uint64_t)time.last_update_on - (uint64_t)now + entry->ahead_s : UINT64_MAX;

        if (entry)
                entry_use(entry);
        if (time.last_update_on <= now)
                return;
        if (entry && !set_time(entry, time.last_update_on)) {
                entry_free(entry);
                entry = NULL;
        }
        if (entry && ahead <= CACHE_DIRTY_MAX_S) {
                row_set_dirty((struct row *)entry, true);
                entry->ahead_s = (uint16_t)ahead;
                return;
        }
        if (entry)
                row_set_dirty((struct row *)entry, false);
        else if (names)
                shelf->rows_epoch++;
        shelf->on_dirty(shelf->arg, names, time);
}

void cache_touch_peer(struct cache *cache, int64_t id, int64_t last_update_on)
{
        touch(cache->shelf, shelf_find_peer(cache->shelf, id), false,
              (struct row_time){ id, last_update_on });
}

void cache_touch_names(struct cache *cache, int64_t peer_id, int64_t last_update_on)
{
        struct entry *entry = shelf_find_id(cache->shelf, BY_OWNER, peer_id);

        /* A peer without rows has no time. */
        if (!entry || ((struct names_row *)entry)->n)
                touch(cache->shelf, entry, true, (struct row_time){ peer_id, last_update_on });
}

size_t cache_take_dirty(struct cache *cache, bool names, struct row_time *times, size_t max)
{
        size_t n = 0;

        for (struct row *row; n < max && (row = cache->shelf->dirty[names]); n++) {
                times[n] = (struct row_time){ entry_id(&row->entry), entry_time(&row->entry) };
                row_set_dirty(row, false);
        }
        return n;
}
