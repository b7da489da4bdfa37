/* A count is a time: each use moves it RATE_EACH_MS ahead, and it may be RATE_AT_ONCE uses ahead of now. */

#include "rate.h"

#include <assert.h>

static const uint64_t ahead_ms = (uint64_t)RATE_AT_ONCE * RATE_EACH_MS;

static bool is_idle(const struct rate_user *user, uint64_t now_ms)
{
        if (user->kept)
                return false;
        for (size_t i = 0; i < RATE_KINDS; i++)
                if (user->kinds[i].free_ms > now_ms || user->kinds[i].refused > 0)
                        return false;
        return true;
}

static struct rate_user *user_of(struct rates *rates, uint64_t now_ms, uid_t uid)
{
        struct rate_user *free = NULL;

        for (size_t i = 0; i < RATE_USERS; i++)
                if (rates->users[i].used && rates->users[i].uid == uid)
                        return &rates->users[i];
        for (size_t i = 0; i < RATE_USERS && !free; i++)
                if (!rates->users[i].used || is_idle(&rates->users[i], now_ms))
                        free = &rates->users[i];
        if (!free)
                return &rates->others;
        *free = (struct rate_user){ .used = true, .uid = uid };
        return free;
}

void rates_keep(struct rates *rates, uid_t uid)
{
        struct rate_user *user = user_of(rates, 0, uid);

        assert(user != &rates->others);
        user->kept = true;
}

bool rates_take(struct rates *rates, uint64_t now_ms, uid_t uid, unsigned kind, const char *name)
{
        struct rate_count *count;

        assert(kind < RATE_KINDS);
        count = &user_of(rates, now_ms, uid)->kinds[kind];
        count->name = name;
        if (count->free_ms < now_ms)
                count->free_ms = now_ms;
        if (count->free_ms - now_ms + RATE_EACH_MS > ahead_ms) {
                count->refused++;
                return false;
        }
        count->free_ms += RATE_EACH_MS;
        return true;
}

static bool take_refused(struct rate_user *user, bool of_others, struct rate_refused *refused)
{
        for (unsigned i = 0; i < RATE_KINDS; i++) {
                struct rate_count *count = &user->kinds[i];

                if (count->refused == 0)
                        continue;
                *refused = (struct rate_refused){ of_others, user->uid, i, count->name, count->refused };
                count->refused = 0;
                return true;
        }
        return false;
}

bool rates_next_refused(struct rates *rates, struct rate_refused *refused)
{
        for (size_t i = 0; i < RATE_USERS; i++)
                if (rates->users[i].used && take_refused(&rates->users[i], false, refused))
                        return true;
        return take_refused(&rates->others, true, refused);
}
