#ifndef GRAMD_DAEMON_METHODS_METRICS_H
#define GRAMD_DAEMON_METHODS_METRICS_H

/* Counters of the daemon's life, and the gauges that `stats` adds to them. Loop thread only. */

#include <stdint.h>

#include "../../proto/buffer.h"

struct server;

enum metric {
        METRIC_CONNECTIONS,
        METRIC_CONNECTIONS_REFUSED,
        METRIC_REQUESTS,
        METRIC_ERRORS,
        METRIC_VIOLATIONS,
        METRIC_BYTES_IN,
        METRIC_BYTES_OUT,
        METRIC_JOBS,
        METRIC_COMMITS,
        METRIC_WRITES,
        METRIC_SYNCS,
        METRIC_ROWS_REPEATED,
        METRIC_ROWS_STORED,
        METRIC_SESSIONS_OPENED,
        METRIC_COUNT,
};

struct metrics {
        uint64_t counters[METRIC_COUNT];
};

/* `stats`: a flat map, name: number. */
void metrics_pack(struct server *server, struct buffer *out);

#endif
