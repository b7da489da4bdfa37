#ifndef GRAMD_DAEMON_BASE_LOG_H
#define GRAMD_DAEMON_BASE_LOG_H

/*
 * Log lines on stderr: text, with a priority in front if stderr is connected to journald, or JSON. Any thread
 * may log: a line is one write(2). Key material and parameters of requests are never logged.
 *
 * Logging never waits for who reads the log. A line for which there is no room is lost; the next one that is
 * written comes after a line with the number of those that were lost.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "../../backends/log_level.h"

extern const char *const log_level_names[]; /* by level; ends with NULL */

struct log {
        _Atomic int level; /* less important lines are dropped */
        bool json;
        bool journal;
        int fd;
        pthread_mutex_t writing; /* held for one line: guards what follows */
        uint64_t lost;           /* lines, since the last one that was written */
        bool torn;               /* the last line was not written to its end */
};

void log_init(struct log *log, enum log_level level, bool json);

/* `text` says what happened, to which session or client, and what to do. */
void log_write(struct log *log, enum log_level level, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

#endif
