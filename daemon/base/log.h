#ifndef GRAMD_DAEMON_BASE_LOG_H
#define GRAMD_DAEMON_BASE_LOG_H

/*
 * Log lines on stderr: text, with a priority in front if stderr is connected to journald, or JSON. Any thread
 * may log: a line is one write(2). Key material and parameters of requests are never logged.
 *
 * Logging never waits for who reads the log. A line for which there is no room is lost; the next one that is
 * written comes after a line with the number of those that were lost.
 *
 * Lines that a user causes are limited (rate.h): by user and level, so that one user's lines fill no disk,
 * and push out neither those of others nor worse news. Records, which have a word of their own, are limited
 * by user and kind. log_tell_left_out() says how many were left out.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../backends/log_level.h"
#include "rate.h"

extern const char *const log_level_names[]; /* by level; ends with NULL */

struct log {
        _Atomic int level; /* less important lines are dropped */
        bool json;
        bool journal;
        int fd;
        pthread_mutex_t writing; /* held for one line: guards what follows */
        uint64_t lost;           /* lines, since the last one that was written */
        bool torn;               /* the last line was not written to its end */
        struct rates rates;
        _Atomic bool owes; /* it has to tell how many were left out */
};

/* The user of lines whose user is not known. */
#define LOG_NO_USER ((uid_t)-1)

/* A name and its value in a record. */
struct log_field {
        const char *key;
        const char *text; /* NULL: it is a number */
        uint64_t number;
};

enum { LOG_FIELDS_MAX = 12, LOG_RECORD_KINDS = RATE_KINDS - LOG_DEBUG - 1 };

void log_init(struct log *log, enum log_level level, bool json);

/*
 * A line of the daemon itself: the text says what happened, to which session or client, and what to do. A
 * client must not be able to cause these as often as it wants.
 */
void log_write(struct log *log, enum log_level level, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
/* A line that a user causes. */
void log_write_for(struct log *log, uid_t uid, enum log_level level, const char *format, ...)
        __attribute__((format(printf, 4, 5)));

/*
 * A record that a user causes, whatever the level of the log is: `WORD: key=number key="text"`; in JSON the
 * fields are an object under the key WORD. `kind` counts from 0, and `name` is its name; both texts are
 * static.
 */
void log_record(struct log *log, uid_t uid, unsigned kind, const char *name, const char *word,
                const struct log_field *fields, size_t n);

/* Whether lines were left out that log_tell_left_out() has not told of. */
bool log_owes(const struct log *log);
void log_tell_left_out(struct log *log);

#endif
