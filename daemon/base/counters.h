#ifndef GRAMD_DAEMON_BASE_COUNTERS_H
#define GRAMD_DAEMON_BASE_COUNTERS_H

/*
 * What the daemon has counted since its start. Each row is a figure of `stats`; the code that notices the
 * event calls counters_add(). Loop thread only.
 */

#include <stdint.h>

/* X(CONSTANT, name in `stats`) */
#define COUNTERS(X)                                                                                          \
        X(CONNECTIONS, "connections_total")                                                                  \
        X(CONNECTIONS_REFUSED, "connections_refused_total")                                                  \
        X(CONNECTIONS_OVERFULL, "connections_overfull_total")                                                \
        X(REQUESTS, "requests_total")                                                                        \
        X(ERRORS, "errors_total")                                                                            \
        X(VIOLATIONS, "violations_total")                                                                    \
        X(BYTES_IN, "bytes_in_total")                                                                        \
        X(BYTES_OUT, "bytes_out_total")                                                                      \
        X(JOBS, "jobs_total")                                                                                \
        X(COMMITS, "commits_total")                                                                          \
        X(WRITES, "writes_total")                                                                            \
        X(SYNCS, "syncs_total")                                                                              \
        X(ROWS_REPEATED, "rows_repeated_total")                                                              \
        X(ROWS_STORED, "rows_stored_total")                                                                  \
        X(TURNS_USED_UP, "turns_used_up_total")                                                              \
        X(SLICES, "slices_total")                                                                            \
        X(SESSIONS_OPENED, "sessions_opened_total")

#define COUNTER(constant, name) COUNT_##constant,
enum counter { COUNTERS(COUNTER) COUNTER_COUNT };
#undef COUNTER

struct counters {
        uint64_t values[COUNTER_COUNT];
};

static inline void counters_add(struct counters *counters, enum counter counter, uint64_t n)
{
        counters->values[counter] += n;
}

#endif
