/* One row a figure: a counter, or a gauge that is read off when somebody asks. */

#include "metrics.h"

#include "../../proto/message.h"
#include "../server.h"

static const char *const counter_names[METRIC_COUNT] = {
        [METRIC_CONNECTIONS] = "connections_total",
        [METRIC_CONNECTIONS_REFUSED] = "connections_refused_total",
        [METRIC_REQUESTS] = "requests_total",
        [METRIC_ERRORS] = "errors_total",
        [METRIC_VIOLATIONS] = "violations_total",
        [METRIC_BYTES_IN] = "bytes_in_total",
        [METRIC_BYTES_OUT] = "bytes_out_total",
        [METRIC_JOBS] = "jobs_total",
        [METRIC_COMMITS] = "commits_total",
        [METRIC_WRITES] = "writes_total",
        [METRIC_SYNCS] = "syncs_total",
        [METRIC_ROWS_REPEATED] = "rows_repeated_total",
        [METRIC_ROWS_STORED] = "rows_stored_total",
        [METRIC_SESSIONS_OPENED] = "sessions_opened_total",
};

struct gauge {
        const char *name;
        uint64_t value;
};

void metrics_pack(struct server *server, struct buffer *out)
{
        struct cache_stats cache;

        cache_pool_stats(server->cache_pool, &cache);
        const struct gauge gauges[] = {
                { "uptime_seconds", (uint64_t)(unix_now() - server->started) },
                { "connections", server->n_connections },
                { "sessions", server->sessions.count },
                { "jobs_pending", server->store.pending },
                { "cache_bytes", cache.bytes },
                { "cache_budget_bytes", cache.budget },
                { "cache_entries", cache.entries },
                { "cache_hits_total", cache.hits },
                { "cache_misses_total", cache.misses },
                { "cache_evictions_total", cache.evictions },
        };
        const uint32_t n = sizeof(gauges) / sizeof(gauges[0]);

        pack_map(out, n + METRIC_COUNT);
        for (enum metric metric = 0; metric < METRIC_COUNT; metric++) {
                pack_cstr(out, counter_names[metric]);
                pack_int(out, (int64_t)server->metrics.counters[metric]);
        }
        for (uint32_t i = 0; i < n; i++) {
                pack_cstr(out, gauges[i].name);
                pack_int(out, (int64_t)gauges[i].value);
        }
}
