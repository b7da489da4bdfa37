/*
 * What has been committed, and what merely repeats it. A row that repeats what is stored changes its time
 * here alone, and is then late: within CACHE_LATE_MAX_S it is stored again, or, when it leaves the memory
 * sooner, handed to the owner. Whatever way a row goes, no time is lost on it.
 */

#include <string.h>

#include "entry.h"

enum { NAMES_MAX = 64 }; /* a peer with more names is not remembered for repetitions */

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

/* The same names, in whatever order; no name is in either twice. */
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

/* The rows have a new time: so have the aliases that were made of them. */
static void set_names_time(struct names_row *row, int64_t time)
{
        const struct shelf *shelf = row->row.entry.shelf;
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
                row_set_late(&old->row, false);
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
                /* What it was called before is not known here. */
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
                while (cache_take_late(cache, names, &time, 1))
                        old->on_late(old->arg, names, time);
        }
        fresh = shelf_new(old->pool, old->on_late, old->arg);
        if (!fresh) {
                shelf_empty(old);
                return;
        }
        cache->shelf = fresh;
        shelf_drop(old);
}

/* ---- repetitions ---- */

/* Can the row's time be kept here, ahead of the backend's, until it is due? */
static enum cache_repeat repeat(const struct entry *entry, int64_t time)
{
        int64_t now = entry_time(entry);
        uint64_t ahead = (uint64_t)time - (uint64_t)now + entry->late_by;

        if (time < now || ahead > CACHE_LATE_MAX_S || ahead < entry->late_by)
                return CACHE_REPEAT_LATE;
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
        /* A packed time is changed in place, and the place has 32 bits. */
        if (known.last_update_on < 0 || peer->last_update_on > UINT32_MAX)
                return CACHE_REPEAT_LATE;
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

/* What cannot wait here is the owner's at once. */
static void touch(struct shelf *shelf, struct entry *entry, bool names, struct row_time time)
{
        int64_t now = entry ? entry_time(entry) : INT64_MIN;
        uint64_t ahead = entry ? (uint64_t)time.last_update_on - (uint64_t)now + entry->late_by : UINT64_MAX;

        if (entry)
                entry_use(entry);
        if (time.last_update_on <= now)
                return;
        if (entry && !set_time(entry, time.last_update_on)) {
                entry_free(entry);
                entry = NULL;
        }
        if (entry && ahead <= CACHE_LATE_MAX_S) {
                row_set_late((struct row *)entry, true);
                entry->late_by = (uint16_t)ahead;
                return;
        }
        if (entry)
                row_set_late((struct row *)entry, false);
        else if (names)
                shelf->rows_epoch++;
        shelf->on_late(shelf->arg, names, time);
}

void cache_touch_peer(struct cache *cache, int64_t id, int64_t last_update_on)
{
        touch(cache->shelf, shelf_find_peer(cache->shelf, id), false,
              (struct row_time){ id, last_update_on });
}

void cache_touch_names(struct cache *cache, int64_t peer_id, int64_t last_update_on)
{
        struct entry *entry = shelf_find_id(cache->shelf, BY_OWNER, peer_id);

        /* No rows, no times. */
        if (!entry || ((struct names_row *)entry)->n)
                touch(cache->shelf, entry, true, (struct row_time){ peer_id, last_update_on });
}

size_t cache_take_late(struct cache *cache, bool names, struct row_time *times, size_t max)
{
        size_t n = 0;

        for (struct row *row; n < max && (row = cache->shelf->late[names]); n++) {
                times[n] = (struct row_time){ entry_id(&row->entry), entry_time(&row->entry) };
                row_set_late(row, false);
        }
        return n;
}
