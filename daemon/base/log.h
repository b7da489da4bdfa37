#ifndef GRAMD_DAEMON_BASE_LOG_H
#define GRAMD_DAEMON_BASE_LOG_H

/*
 * Lines to stderr: text, with journald's priority in front where stderr is the journal's, or JSON.
 * A line is one write(2), so any thread may log. Key material and request parameters never go here.
 */

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG };

struct log {
        _Atomic int level; /* lines above it are dropped */
        bool json;
        bool journal;
        int fd;
};

void log_init(struct log *log, enum log_level level, bool json);
bool log_level_parse(const char *name, enum log_level *level); /* error, warning, info, debug */
const char *log_level_name(enum log_level level);

/* `text` says what happened, to which session or client, and what to do. */
void log_write(struct log *log, enum log_level level, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

#endif
