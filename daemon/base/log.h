#ifndef GRAMD_DAEMON_BASE_LOG_H
#define GRAMD_DAEMON_BASE_LOG_H

/*
 * Lines to stderr: text, with journald's priority in front where stderr is the journal's, or JSON.
 * A line is one write(2), so any thread may log. Key material and request parameters never go here.
 */

#include <stdbool.h>
#include <stdint.h>

#include "../../backends/log_level.h"

extern const char *const log_level_names[]; /* by level; ends with NULL */

struct log {
        _Atomic int level; /* lines above it are dropped */
        bool json;
        bool journal;
        int fd;
};

void log_init(struct log *log, enum log_level level, bool json);

/* `text` says what happened, to which session or client, and what to do. */
void log_write(struct log *log, enum log_level level, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

#endif
