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

enum {
        LINE_MAX_BYTES = 4096, /* PIPE_BUF: lines of several threads do not mix in a pipe */
        TEXT_MAX_BYTES = 3072,
        TAIL_BYTES = 8, /* for the ellipsis and the end of the line */
};

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
        pthread_mutex_init(&log->writing, NULL);
        log->journal = is_journal(log->fd);
}

/* The length and the code point of the first character; 0: not UTF-8. */
static size_t decode(const unsigned char *text, size_t len, uint32_t *code)
{
        static const struct {
                unsigned char mask, lead;
                uint32_t least; /* smaller ones are overlong */
        } forms[] = {
                { 0x80, 0x00, 0 }, { 0xe0, 0xc0, 0x80 }, { 0xf0, 0xe0, 0x800 }, { 0xf8, 0xf0, 0x10000 }
        };

        for (size_t more = 0; more < 4; more++) {
                if ((text[0] & forms[more].mask) != forms[more].lead)
                        continue;
                if (more >= len)
                        return 0;
                *code = text[0] & (unsigned char)~forms[more].mask;
                for (size_t i = 1; i <= more; i++) {
                        if ((text[i] & 0xc0) != 0x80)
                                return 0;
                        *code = *code << 6 | (text[i] & 0x3fu);
                }
                if (*code < forms[more].least || *code > 0x10ffff || (*code >= 0xd800 && *code <= 0xdfff))
                        return 0;
                return more + 1;
        }
        return 0;
}

/* Control characters, line separators, and characters that change the direction of the text. */
static bool is_unsafe(uint32_t code)
{
        return code < 0x20 || (code >= 0x7f && code <= 0x9f) || (code >= 0x2028 && code <= 0x202e) ||
               (code >= 0x2066 && code <= 0x2069);
}

/* Writes the first character, escaped, to `out`; returns its length in `text`. */
static size_t escape(const unsigned char *text, size_t len, bool json, char out[8])
{
        static const struct {
                char plain, letter;
                bool json_only;
        } shorts[] = {
                { '\n', 'n', 0 }, { '\r', 'r', 0 }, { '\t', 't', 0 }, { '"', '"', 1 }, { '\\', '\\', 1 }
        };
        uint32_t code = 0;
        size_t used = decode(text, len, &code);

        if (!used) {
                memcpy(out, "\xef\xbf\xbd", 4);
                return 1;
        }
        for (size_t i = 0; i < sizeof(shorts) / sizeof(shorts[0]); i++) {
                if (code == (unsigned char)shorts[i].plain && (json || !shorts[i].json_only)) {
                        snprintf(out, 8, "\\%c", shorts[i].letter);
                        return used;
                }
        }
        if (is_unsafe(code)) {
                snprintf(out, 8, "\\u%04x", (unsigned)code & 0xffff);
        } else {
                memcpy(out, text, used);
                out[used] = '\0';
        }
        return used;
}

static void add(struct line *line, const char *text)
{
        size_t len = strlen(text);

        memcpy(line->bytes + line->len, text, len);
        line->len += len;
}

static void add_text(struct line *line, const char *text, size_t len, bool json, bool cut)
{
        char piece[8];

        for (size_t at = 0; at < len;) {
                at += escape((const unsigned char *)text + at, len - at, json, piece);
                if (line->len + strlen(piece) > sizeof(line->bytes) - TAIL_BYTES) {
                        cut = true;
                        break;
                }
                add(line, piece);
        }
        if (cut)
                add(line, "\xe2\x80\xa6");
}

/* The journal's priority, or the time and the level. */
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
                snprintf(head, sizeof(head), "{\"time\":\"%s.%03ldZ\",\"level\":\"%s\",\"message\":\"", time,
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
        add_text(line, text, len, log->json, cut);
        add(line, log->json ? "\"}\n" : "\n");
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

void log_write(struct log *log, enum log_level level, const char *format, ...)
{
        int saved_errno = errno;
        char text[TEXT_MAX_BYTES];
        struct line line;
        va_list args;
        int len;
        bool cut;

        assert(level <= LOG_DEBUG);
        if ((int)level > atomic_load_explicit(&log->level, memory_order_relaxed))
                return;
        va_start(args, format);
        len = vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        if (len < 0)
                return;
        cut = (size_t)len >= sizeof(text);
        line_make(&line, log, level, text, cut ? whole_characters(text, sizeof(text) - 1) : (size_t)len, cut);
        pthread_mutex_lock(&log->writing);
        if (!tell_lost(log) || !put(log, &line))
                log->lost++;
        pthread_mutex_unlock(&log->writing);
        errno = saved_errno;
}
