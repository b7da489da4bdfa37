/*
 * Log lines. A line is built in a buffer on the stack and written by one write(2). Strangers choose the names
 * of sessions and clients: characters that end a line, move a terminal's cursor or change the reading
 * direction are escaped, and what is not UTF-8 is replaced, in every format.
 */

#include "log.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "../../proto/utf8.h"

enum {
        LINE_MAX_BYTES = 4096, /* PIPE_BUF: lines of several threads do not mix in a pipe */
        TEXT_MAX_BYTES = 3072,
        FIELD_MAX_BYTES = 640, /* of a record's text, with its escapes */
        TAIL_BYTES = 8,        /* for the ellipsis and the end of the line */
};

_Static_assert(LINE_MAX_BYTES > 5 * FIELD_MAX_BYTES + LOG_FIELDS_MAX * 40 + 200,
               "a record of five long texts, some words and numbers is not longer than a line");

const char *const log_level_names[] = {
        [LOG_ERROR] = "error", [LOG_WARNING] = "warning", [LOG_INFO] = "info", [LOG_DEBUG] = "debug", NULL,
};

/* syslog's */
static const int priorities[] = { [LOG_ERROR] = 3, [LOG_WARNING] = 4, [LOG_INFO] = 6, [LOG_DEBUG] = 7 };

struct line {
        char bytes[LINE_MAX_BYTES];
        size_t len;
};

/* systemd names the journal's stream as DEVICE:INODE; stderr may have been redirected since. */
static bool is_journal(int fd)
{
        const char *stream = getenv("JOURNAL_STREAM");
        unsigned long long device, inode;
        struct stat st;
        char *end;

        if (!stream || fstat(fd, &st) != 0)
                return false;
        device = strtoull(stream, &end, 10);
        if (*end != ':')
                return false;
        inode = strtoull(end + 1, &end, 10);
        return !*end && st.st_dev == device && st.st_ino == inode;
}

void log_init(struct log *log, enum log_level level, bool json)
{
        assert(level <= LOG_DEBUG);
        atomic_init(&log->level, (int)level);
        log->json = json;
        log->fd = STDERR_FILENO;
        log->lost = 0;
        log->torn = false;
        memset(&log->rates, 0, sizeof(log->rates));
        rates_keep(&log->rates, LOG_NO_USER);
        rates_keep(&log->rates, 0);
        rates_keep(&log->rates, geteuid());
        atomic_init(&log->owes, false);
        pthread_mutex_init(&log->writing, NULL);
        log->journal = is_journal(log->fd);
}

static void add(struct line *line, const char *text)
{
        size_t len = strlen(text);

        memcpy(line->bytes + line->len, text, len);
        line->len += len;
}

/* `bound`: how long the line may become. */
static void add_text(struct line *line, const char *text, size_t len, bool json, bool cut, size_t bound)
{
        char piece[UTF8_SHOWN_BYTES];

        for (size_t at = 0; at < len;) {
                at += utf8_show(text + at, len - at, json ? '"' : '\0', piece);
                if (line->len + strlen(piece) > bound) {
                        cut = true;
                        break;
                }
                add(line, piece);
        }
        if (cut)
                add(line, "\xe2\x80\xa6");
}

/* The journal's priority, or the time and the level; in JSON up to the first key after them. */
static void add_head(struct line *line, const struct log *log, enum log_level level)
{
        struct timespec now;
        struct tm tm;
        char time[32], head[96] = "";

        clock_gettime(CLOCK_REALTIME, &now);
        gmtime_r(&now.tv_sec, &tm);
        strftime(time, sizeof(time), "%Y-%m-%dT%H:%M:%S", &tm);
        if (log->journal) {
                snprintf(head, sizeof(head), "<%d>", priorities[level]);
                add(line, head);
        }
        if (log->json)
                snprintf(head, sizeof(head), "{\"time\":\"%s.%03ldZ\",\"level\":\"%s\",", time,
                         now.tv_nsec / 1000000, log_level_names[level]);
        else if (!log->journal)
                snprintf(head, sizeof(head), "%s.%03ldZ %-7s ", time, now.tv_nsec / 1000000,
                         log_level_names[level]);
        else
                return;
        add(line, head);
}

/*
 * Like write(2), but never waits. O_NONBLOCK is not set: other processes have the same pipe or terminal. For
 * a pipe of an older kernel and for a terminal, poll(2) tells whether a line has room.
 */
static ssize_t write_now(int fd, const char *bytes, size_t len)
{
        struct iovec part = { (char *)bytes, len };
        struct pollfd room = { .fd = fd, .events = POLLOUT };
        ssize_t n = send(fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n >= 0 || errno != ENOTSOCK)
                return n;
        n = pwritev2(fd, &part, 1, -1, RWF_NOWAIT);
        if (n >= 0 || errno == EPIPE || errno == EBADF)
                return n;
        if (poll(&room, 1, 0) != 1 || !(room.revents & POLLOUT))
                return -1;
        return write(fd, bytes, len);
}

/* False: the line is lost. */
static bool put(struct log *log, const struct line *line)
{
        ssize_t n;

        if (log->torn && write_now(log->fd, "\n", 1) != 1)
                return false;
        log->torn = false;
        n = write_now(log->fd, line->bytes, line->len);
        log->torn = n > 0 && (size_t)n < line->len;
        return n > 0;
}

/* Removes an incomplete character from the end of a text that was cut. */
static size_t whole_characters(const char *text, size_t len)
{
        while (len && ((unsigned char)text[len - 1] & 0xc0) == 0x80)
                len--;
        return len && ((unsigned char)text[len - 1] & 0x80) ? len - 1 : len;
}

/* `cut`: the text goes on. */
static void line_make(struct line *line, const struct log *log, enum log_level level, const char *text,
                      size_t len, bool cut)
{
        line->len = 0;
        add_head(line, log, level);
        if (log->json)
                add(line, "\"message\":\"");
        add_text(line, text, len, log->json, cut, sizeof(line->bytes) - TAIL_BYTES);
        add(line, log->json ? "\"}\n" : "\n");
}

/* `key="text"` or `key=number`; in JSON with quotes around the key, and a colon. */
static void add_field(struct line *line, const struct log_field *field, bool json)
{
        char number[32];

        add(line, json ? "\"" : "");
        add(line, field->key);
        add(line, json ? "\":" : "=");
        if (field->text) {
                add(line, "\"");
                add_text(line, field->text, strlen(field->text), true, false, line->len + FIELD_MAX_BYTES);
                add(line, "\"");
        } else {
                snprintf(number, sizeof(number), "%llu", (unsigned long long)field->number);
                add(line, number);
        }
}

static void record_make(struct line *line, const struct log *log, const char *word,
                        const struct log_field *fields, size_t n)
{
        assert(n <= LOG_FIELDS_MAX);
        line->len = 0;
        add_head(line, log, LOG_INFO);
        add(line, log->json ? "\"" : "");
        add(line, word);
        add(line, log->json ? "\":{" : ":");
        for (size_t i = 0; i < n; i++) {
                if (i > 0 || !log->json)
                        add(line, log->json ? "," : " ");
                add_field(line, &fields[i], log->json);
        }
        add(line, log->json ? "}}\n" : "\n");
}

/* Whether there is room for a line. Tells first how many are lost. */
static bool tell_lost(struct log *log)
{
        struct line line;
        char text[80];

        if (!log->lost)
                return true;
        snprintf(text, sizeof(text), "%llu lines of this log are lost: nobody read it",
                 (unsigned long long)log->lost);
        line_make(&line, log, LOG_WARNING, text, strlen(text), false);
        if (!put(log, &line))
                return false;
        log->lost = 0;
        return true;
}

/* Writes a line, or counts it as lost. `log->writing` is held. */
static void write_line(struct log *log, const struct line *line)
{
        if (!tell_lost(log) || !put(log, line))
                log->lost++;
}

static bool is_wanted(struct log *log, enum log_level level)
{
        assert(level <= LOG_DEBUG);
        return (int)level <= atomic_load_explicit(&log->level, memory_order_relaxed);
}

/* False: the user has caused too many of this kind. */
static bool is_allowed(struct log *log, uid_t uid, unsigned kind, const char *name)
{
        struct timespec now;
        bool allowed;

        clock_gettime(CLOCK_MONOTONIC, &now);
        pthread_mutex_lock(&log->writing);
        allowed = rates_take(&log->rates, (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000, uid,
                             kind, name);
        pthread_mutex_unlock(&log->writing);
        if (!allowed)
                atomic_store_explicit(&log->owes, true, memory_order_relaxed);
        return allowed;
}

static void write_list(struct log *log, enum log_level level, const char *format, va_list args)
{
        char text[TEXT_MAX_BYTES];
        struct line line;
        int len = vsnprintf(text, sizeof(text), format, args);
        bool cut = len >= (int)sizeof(text);

        if (len < 0)
                return;
        line_make(&line, log, level, text, cut ? whole_characters(text, sizeof(text) - 1) : (size_t)len, cut);
        pthread_mutex_lock(&log->writing);
        write_line(log, &line);
        pthread_mutex_unlock(&log->writing);
}

void log_write(struct log *log, enum log_level level, const char *format, ...)
{
        int saved_errno = errno;
        va_list args;

        if (!is_wanted(log, level))
                return;
        va_start(args, format);
        write_list(log, level, format, args);
        va_end(args);
        errno = saved_errno;
}

void log_write_for(struct log *log, uid_t uid, enum log_level level, const char *format, ...)
{
        int saved_errno = errno;
        va_list args;

        if (!is_wanted(log, level) || !is_allowed(log, uid, level, log_level_names[level]))
                return;
        va_start(args, format);
        write_list(log, level, format, args);
        va_end(args);
        errno = saved_errno;
}

/* ---- records, and what was left out ---- */

static void write_record(struct log *log, const char *word, const struct log_field *fields, size_t n)
{
        struct line line;

        record_make(&line, log, word, fields, n);
        pthread_mutex_lock(&log->writing);
        write_line(log, &line);
        pthread_mutex_unlock(&log->writing);
}

void log_record(struct log *log, uid_t uid, unsigned kind, const char *name, const char *word,
                const struct log_field *fields, size_t n)
{
        int saved_errno = errno;

        assert(kind < LOG_RECORD_KINDS);
        if (is_allowed(log, uid, LOG_DEBUG + 1 + kind, name))
                write_record(log, word, fields, n);
        errno = saved_errno;
}

bool log_owes(const struct log *log)
{
        return atomic_load_explicit(&log->owes, memory_order_relaxed);
}

static void describe_user(const struct rate_refused *refused, char text[32])
{
        if (refused->of_others)
                snprintf(text, 32, "of further users");
        else if (refused->uid == LOG_NO_USER)
                snprintf(text, 32, "of the daemon");
        else
                snprintf(text, 32, "of uid %u", (unsigned)refused->uid);
}

void log_tell_left_out(struct log *log)
{
        struct rate_refused refused;
        char who[32];
        bool more = true;

        atomic_store_explicit(&log->owes, false, memory_order_relaxed);
        while (more) {
                pthread_mutex_lock(&log->writing);
                more = rates_next_refused(&log->rates, &refused);
                pthread_mutex_unlock(&log->writing);
                if (!more)
                        break;
                describe_user(&refused, who);
                log_write(log, refused.kind > LOG_DEBUG ? LOG_ERROR : LOG_WARNING,
                          "left out %llu lines `%s` %s: a user may cause %d at once, then %d a second",
                          (unsigned long long)refused.n, refused.name, who, RATE_AT_ONCE,
                          1000 / RATE_EACH_MS);
        }
}
