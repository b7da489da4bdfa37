/* One row for each figure: a counter (base/counters.h) or a gauge (below). */

#include "metrics.h"

#include "../../proto/message.h"
#include "../base/clock.h"
#include "../session/drain.h"
#include "../session/unsynced.h"

#define NAME(constant, name) [COUNT_##constant] = (name),
static const char *const counter_names[COUNTER_COUNT] = { COUNTERS(NAME) };

struct gauge {
        const char *name;
        uint64_t value;
};

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
                { "sessions_owned", drain_left(context->sessions) },
                { "sessions_unsynced", unsynced_sessions(context->sessions) },
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

        pack_map(out, n + COUNTER_COUNT);
        for (enum counter counter = 0; counter < COUNTER_COUNT; counter++) {
                pack_cstr(out, counter_names[counter]);
                pack_int(out, (int64_t)context->counters->values[counter]);
        }
        for (uint32_t i = 0; i < n; i++) {
                pack_cstr(out, gauges[i].name);
                pack_int(out, (int64_t)gauges[i].value);
        }
}
