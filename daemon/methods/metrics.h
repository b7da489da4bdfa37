#ifndef GRAMD_DAEMON_METHODS_METRICS_H
#define GRAMD_DAEMON_METHODS_METRICS_H

/* The figures of `stats`: the counters, and gauges that are read when somebody asks. Loop thread only. */

#include "context.h"

/* A flat map, name: number. */
void metrics_pack(const struct context *context, struct buffer *out);

#endif
