/*
 * For whom entries count, and whose are evicted: those of the user who has most. So a user loses entries only
 * while nobody has more, and always keeps an equal part of the budget.
 *
 * The user who has most is known without a search. Who gains an entry is compared at once. Who has less than
 * before may be passed by others: each eviction compares one of them, in turn. Until all have been compared,
 * the evictions may cost a former first a few entries more.
 */

#include "entry.h"

/* ---- sections ---- */

static struct cache_user *user_of(struct cache_pool *pool, uid_t uid)
{
        struct cache_user *user;

        for (struct link *at = pool->users.next; at != &pool->users; at = at->next) {
                user = LINK_OF(at, struct cache_user, link);
                if (user->uid == uid)
                        return user;
        }
        user = block_new(pool, sizeof(*user));
        if (!user)
                return NULL;
        user->uid = uid;
        link_append(&pool->users, &user->link);
        if (!pool->greediest)
                pool->greediest = user;
        return user;
}

static void free_unused(struct cache_pool *pool, struct cache_user *user)
{
        if (user->n_sections > 0)
                return;
        assert(user->bytes == 0 && !user->oldest);
        link_remove(&user->link);
        if (pool->greediest == user) {
                pool->greediest = NULL;
                for (struct link *at = pool->users.next; at != &pool->users; at = at->next) {
                        struct cache_user *other = LINK_OF(at, struct cache_user, link);

                        if (!pool->greediest || other->bytes > pool->greediest->bytes)
                                pool->greediest = other;
                }
        }
        block_free(pool, user);
}

static struct section *section_new(struct shelf *shelf, uid_t uid)
{
        struct cache_user *user = user_of(shelf->pool, uid);
        struct section *section = user ? block_new(shelf->pool, sizeof(*section)) : NULL;

        if (!section) {
                if (user)
                        free_unused(shelf->pool, user);
                return NULL;
        }
        section->shelf = shelf;
        section->user = user;
        user->n_sections++;
        return section;
}

bool shelf_count_for(struct shelf *shelf, uid_t uid)
{
        struct section **link = &shelf->sections, *section;

        while (*link && (*link)->user->uid != uid)
                link = &(*link)->next;
        section = *link;
        if (section)
                *link = section->next;
        else
                section = section_new(shelf, uid);
        if (!section)
                return false;
        section->next = shelf->sections;
        shelf->sections = section;
        return true;
}

void shelf_free_sections(struct shelf *shelf)
{
        while (shelf->sections) {
                struct section *section = shelf->sections;
                struct cache_user *user = section->user;

                shelf->sections = section->next;
                block_free(shelf->pool, section);
                user->n_sections--;
                free_unused(shelf->pool, user);
        }
}

/* ---- the order of eviction ---- */

void order_remove(struct entry *entry)
{
        struct cache_user *user = entry->section->user;

        *(entry->older ? &entry->older->newer : &user->oldest) = entry->newer;
        *(entry->newer ? &entry->newer->older : &user->newest) = entry->older;
        assert(user->bytes >= block_bytes(entry));
        user->bytes -= block_bytes(entry);
}

void order_add(struct entry *entry)
{
        struct cache_user *user = entry->section->user;
        struct cache_pool *pool = entry_shelf(entry)->pool;

        entry->older = user->newest;
        entry->newer = NULL;
        *(user->newest ? &user->newest->newer : &user->oldest) = entry;
        user->newest = entry;
        user->bytes += block_bytes(entry);
        if (user->bytes > pool->greediest->bytes)
                pool->greediest = user;
}

struct entry *pool_oldest(struct cache_pool *pool)
{
        struct cache_user *next = LINK_OF(pool->users.next, struct cache_user, link);

        link_remove(&next->link);
        link_append(&pool->users, &next->link);
        if (next->bytes > pool->greediest->bytes)
                pool->greediest = next;
        return pool->greediest->oldest;
}
