/* One row for each figure: a counter (base/counters.h) or a gauge (below). Then those of each uid. */

#include "metrics.h"

#include <stdio.h>

#include "../../proto/message.h"
#include "../base/clock.h"
#include "../session/drain.h"

#define NAME(constant, name) [COUNT_##constant] = (name),
static const char *const counter_names[COUNTER_COUNT] = { COUNTERS(NAME) };

struct gauge {
        const char *name;
        uint64_t value;
};

enum { LISTED_UIDS = 100, FIGURES_OF_UID = 4 };

static void pack_of_uid(struct buffer *out, uid_t uid, const char *what, uint64_t value)
{
        char name[64];

        snprintf(name, sizeof(name), "uid_%u_%s", (unsigned)uid, what);
        pack_cstr(out, name);
        pack_int(out, (int64_t)value);
}

/* What each uid has of that of which it has a share. */
static void pack_uids(const struct context *context, struct buffer *out, size_t n)
{
        for (struct link *at = context->clients->users.list.next; n > 0; at = at->next, n--) {
                const struct user *user = LINK_OF(at, struct user, link);

                pack_of_uid(out, user->uid, "connections", user->n_clients);
                pack_of_uid(out, user->uid, "sessions", user->n_sessions);
                pack_of_uid(out, user->uid, "bytes", user->account.held);
                pack_of_uid(out, user->uid, "jobs", store_running(context->store, user->uid));
        }
}

void metrics_pack(const struct context *context, struct buffer *out)
{
        struct cache_stats cache;

        cache_pool_stats(context->sessions->cache_pool, &cache);
        const struct gauge gauges[] = {
                { "uptime_seconds", (uint64_t)(unix_now() - context->started) },
                { "connections", context->clients->n },
                { "connected_uids", context->clients->users.n },
                { "client_bytes", context->clients->wire->held },
                { "client_budget_bytes", context->config->client_memory_bytes },
                { "sessions", context->sessions->count },
                { "sessions_max", context->config->max_open_sessions },
                { "descriptors", context->clients->users.n_descriptors },
                { "descriptors_max", context->clients->users.max_descriptors },
                { "sessions_owned", drain_left(context->sessions) },
                { "sessions_unsynced", context->sessions->n_outages },
                { "draining", context->sessions->draining },
                { "jobs_pending", context->store->pending },
                { "cache_bytes", cache.bytes },
                { "cache_budget_bytes", cache.budget },
                { "cache_entries", cache.entries },
                { "cache_hits_total", cache.hits },
                { "cache_misses_total", cache.misses },
                { "cache_evictions_total", cache.evictions },
        };
        const uint32_t n = sizeof(gauges) / sizeof(gauges[0]);
        const size_t users = context->clients->users.n;
        const size_t listed = users < LISTED_UIDS ? users : LISTED_UIDS;

        pack_map(out, n + COUNTER_COUNT + FIGURES_OF_UID * (uint32_t)listed);
        for (enum counter counter = 0; counter < COUNTER_COUNT; counter++) {
                pack_cstr(out, counter_names[counter]);
                pack_int(out, (int64_t)context->counters->values[counter]);
        }
        for (uint32_t i = 0; i < n; i++) {
                pack_cstr(out, gauges[i].name);
                pack_int(out, (int64_t)gauges[i].value);
        }
        pack_uids(context, out, listed);
}
