/*
 * One row an option, one row a type. A type knows how its values are read from text and written back;
 * whether the text came from a file, a flag or the environment is the caller's business.
 */

#include "option.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../../backends/backend.h"
#include "uri.h"

enum {
        SOCKET_MAX_BYTES = 107, /* sun_path, and its NUL */
        PATH_MAX_BYTES = 4095,
        PREFIX_MAX_BYTES = 40,
        HOUR_MS = 3600 * 1000,
        DAY_MS = 86400 * 1000,
};

#define KIB ((uint64_t)1 << 10)
#define GIB ((uint64_t)1 << 30)
#define FIELD(name) offsetof(struct config, name)

const struct config_option config_options[CONFIG_OPTIONS] = {
        { "socket", OPTION_TEXT, FIELD(socket), false, NULL, 1, SOCKET_MAX_BYTES,
          "The socket to listen on, where none is inherited. Default: /run/gramd/gramd.sock for root and the "
          "user gramd, else $XDG_RUNTIME_DIR/gramd.sock; $GRAMD_SOCKET goes before the file." },
        { "data", OPTION_TEXT, FIELD(data), false, NULL, 1, PATH_MAX_BYTES,
          "The directory of the session files. Default: $STATE_DIRECTORY, else ~/.local/state/gramd." },
        { "backend", OPTION_BACKEND, FIELD(backend), false, "file", 0, 0,
          "Where a session is stored whose client does not choose." },
        { "mongo", OPTION_URI, FIELD(mongo), false, NULL, 1, PATH_MAX_BYTES,
          "The MongoDB deployment, as a mongodb:// or mongodb+srv:// URI." },
        { "mongo-prefix", OPTION_TEXT, FIELD(mongo_prefix), false, NULL, 1, PREFIX_MAX_BYTES,
          "What the name of a session's database begins with, before the session's name." },
        { "mongo-term", OPTION_SECONDS, FIELD(mongo_term_ms), false, "15", 300, HOUR_MS,
          "How long a session on MongoDB stays this daemon's without word from it. Another daemon gets it "
          "4/3 of "
          "that after the last word." },
        { "log-level", OPTION_LEVEL, FIELD(log_level), true, "info", 0, 0,
          "The least important lines that are logged: error, warning, info or debug." },
        { "log-json", OPTION_SWITCH, FIELD(log_json), false, "no", 0, 0, "Log lines as JSON." },
        { "fsync", OPTION_FSYNC, FIELD(fsync), false, "everysec", 0, 0,
          "When peers, usernames and update states reach the disk: always (before the answer), everysec "
          "(within a second) or no (when the system likes)." },
        { "idle-close", OPTION_SECONDS, FIELD(idle_close_ms), true, "5", 0, DAY_MS,
          "How long after its last handle a session's file is closed." },
        { "cache", OPTION_SIZE, FIELD(cache_bytes), true, "256M", 0, 1024 * GIB,
          "Memory for peers and usernames of all open sessions together." },
        { "page-cache", OPTION_SIZE, FIELD(page_cache_bytes), false, "64M", 0, 1024 * GIB,
          "Memory for SQLite's page caches of all open sessions together." },
        { "memory-max", OPTION_SIZE, FIELD(memory_max_bytes), false, "256M", 64 * KIB, 1024 * GIB,
          "Memory for all sessions of the backend memory together." },
        { "max-message", OPTION_SIZE, FIELD(max_message_bytes), true, "4M", 4 * KIB, GIB,
          "The longest message, requests and answers." },
        { "max-in-flight", OPTION_COUNT, FIELD(max_in_flight), true, "256", 1, 65536,
          "Unanswered requests of one connection on one session; one more is refused." },
        { "max-sessions", OPTION_COUNT, FIELD(max_sessions), true, "1024", 1, 1000000,
          "Sessions that one connection may have open." },
        { "max-clients", OPTION_COUNT, FIELD(max_clients), true, "10000", 1, 1000000,
          "Connections at a time." },
        { "client-buffer", OPTION_SIZE, FIELD(client_buffer_bytes), true, "1M", 4 * KIB, GIB,
          "Unread answers and queued requests of one connection; beyond it the daemon stops reading from "
          "it." },
        { "workers", OPTION_COUNT, FIELD(workers), false, "4", 1, 256, "Threads that run the backends." },
};

const struct config_option *config_option_find(struct slice name)
{
        for (size_t i = 0; i < CONFIG_OPTIONS; i++) {
                if (slice_is(name, config_options[i].name))
                        return &config_options[i];
        }
        return NULL;
}

/* ---- types ---- */

struct why {
        char *text;
        size_t size;
};

static bool fail(struct why why, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool fail(struct why why, const char *format, ...)
{
        va_list args;

        va_start(args, format);
        vsnprintf(why.text, why.size, format, args);
        va_end(args);
        return false;
}

static void print_size(uint64_t bytes, char *text, size_t size)
{
        const char *suffix = "";

        for (const char *s = "kMGT"; bytes && bytes % 1024 == 0 && *s; s++) {
                bytes /= 1024;
                suffix = s;
        }
        snprintf(text, size, "%llu%.1s", (unsigned long long)bytes, suffix);
}

static void print_count(uint64_t count, char *text, size_t size)
{
        snprintf(text, size, "%llu", (unsigned long long)count);
}

static void print_seconds(uint64_t ms, char *text, size_t size)
{
        int len = snprintf(text, size, "%llu.%03u", (unsigned long long)ms / 1000, (unsigned)(ms % 1000));

        while (text[len - 1] == '0')
                text[--len] = '\0';
        if (text[len - 1] == '.')
                text[len - 1] = '\0';
}

/* Digits, and what stands behind them. */
static bool read_digits(const char **at, uint64_t *number)
{
        const char *start = *at;

        *number = 0;
        for (; **at >= '0' && **at <= '9'; ++*at) {
                if (__builtin_mul_overflow(*number, 10u, number) ||
                    __builtin_add_overflow(*number, (unsigned)(**at - '0'), number))
                        *number = UINT64_MAX;
        }
        return *at > start;
}

static bool read_size(const char *text, uint64_t *bytes)
{
        static const char suffixes[] = "kmgt";
        const char *suffix;

        if (!read_digits(&text, bytes))
                return false;
        if (!*text)
                return true;
        suffix = strchr(suffixes, *text | 0x20);
        if (!suffix || text[1])
                return false;
        if (__builtin_mul_overflow(*bytes, (uint64_t)1024 << (10 * (suffix - suffixes)), bytes))
                *bytes = UINT64_MAX;
        return true;
}

static bool read_count(const char *text, uint64_t *count)
{
        return read_digits(&text, count) && !*text;
}

static bool read_seconds(const char *text, uint64_t *ms)
{
        uint64_t unit = 100;

        if (!read_digits(&text, ms))
                return false;
        if (__builtin_mul_overflow(*ms, 1000u, ms))
                *ms = UINT64_MAX - 1000;
        if (*text == '.') {
                for (text++; *text >= '0' && *text <= '9'; text++, unit /= 10)
                        *ms += unit * (uint64_t)(*text - '0');
        }
        return !*text;
}

static const struct number_type {
        bool (*read)(const char *text, uint64_t *number);
        void (*print)(uint64_t number, char *text, size_t size);
        const char *name;
        const char *argument;
} numbers[] = {
        [OPTION_SECONDS] = { read_seconds, print_seconds, "a number of seconds", "SECONDS" },
        [OPTION_SIZE] = { read_size, print_size, "a size (bytes, or with k, M, G or T behind the number)",
                          "SIZE" },
        [OPTION_COUNT] = { read_count, print_count, "a number", "N" },
};

static bool set_number(const struct config_option *option, uint64_t *field, const char *text, struct why why)
{
        const struct number_type *type = &numbers[option->type];
        char min[32], max[32];
        uint64_t number;

        if (!type->read(text, &number))
                return fail(why, "not %s", type->name);
        if (number < option->min || number > option->max) {
                type->print(option->min, min, sizeof(min));
                type->print(option->max, max, sizeof(max));
                return fail(why, "out of range: %s to %s", min, max);
        }
        *field = number;
        return true;
}

/* What a file could not hold is no value either: a printed configuration reads back as it was. */
static bool set_text(const struct config_option *option, char **field, const char *text, struct why why)
{
        size_t len = strlen(text);
        char *copy;

        if (len < option->min)
                return fail(why, "is empty");
        if (option->max && len > option->max)
                return fail(why, "too long: %zu bytes, at most %llu", len, (unsigned long long)option->max);
        for (size_t i = 0; i < len; i++) {
                if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
                        return fail(why, "holds a control character");
        }
        if (strstr(text, " ;") || text[0] == ' ' || text[len - 1] == ' ')
                return fail(why, "must not begin or end with a space, nor hold ' ;', which begins a comment");
        copy = strdup(text);
        if (!copy)
                return fail(why, "no memory");
        free(*field);
        *field = copy;
        return true;
}

static bool set_backend(const struct config_option *option, char **field, const char *text, struct why why)
{
        char known[256] = "";

        for (size_t i = 0, len = 0; backends[i] && len < sizeof(known); i++) {
                if (strcmp(text, backends[i]->name) == 0)
                        return set_text(option, field, text, why);
                len += (size_t)snprintf(known + len, sizeof(known) - len, "%s%s", i ? ", " : "",
                                        backends[i]->name);
        }
        return fail(why, "no such backend (%s)", known);
}

static const char *const fsync_names[] = {
        [FSYNC_ALWAYS] = "always",
        [FSYNC_EVERYSEC] = "everysec",
        [FSYNC_NO] = "no",
};

static bool set_fsync(enum fsync_policy *field, const char *text, struct why why)
{
        for (size_t i = 0; i < sizeof(fsync_names) / sizeof(fsync_names[0]); i++) {
                if (strcmp(text, fsync_names[i]) == 0) {
                        *field = (enum fsync_policy)i;
                        return true;
                }
        }
        return fail(why, "expected always, everysec or no");
}

static bool set_switch(bool *field, const char *text, struct why why)
{
        bool yes = strcmp(text, "yes") == 0;

        if (!yes && strcmp(text, "no") != 0)
                return fail(why, "expected yes or no");
        *field = yes;
        return true;
}

/* ---- values ---- */

/* The field, as the type that its row says it has. */
union place {
        char **text;
        enum log_level *level;
        enum fsync_policy *fsync;
        bool *yes;
        uint64_t *number;
};

static union place field_of(const struct config_option *option, const struct config *config)
{
        void *at = (char *)config + option->offset;

        switch (option->type) {
        case OPTION_TEXT:
        case OPTION_URI:
        case OPTION_BACKEND: return (union place){ .text = at };
        case OPTION_LEVEL: return (union place){ .level = at };
        case OPTION_FSYNC: return (union place){ .fsync = at };
        case OPTION_SWITCH: return (union place){ .yes = at };
        default: return (union place){ .number = at };
        }
}

bool config_option_set(const struct config_option *option, struct config *config, const char *text, char *why,
                       size_t why_size)
{
        union place field = field_of(option, config);
        struct why reason = { why, why_size };

        switch (option->type) {
        case OPTION_TEXT:
        case OPTION_URI: return set_text(option, field.text, text, reason);
        case OPTION_BACKEND: return set_backend(option, field.text, text, reason);
        case OPTION_LEVEL:
                return log_level_parse(text, field.level) ||
                       fail(reason, "expected error, warning, info or debug");
        case OPTION_FSYNC: return set_fsync(field.fsync, text, reason);
        case OPTION_SWITCH: return set_switch(field.yes, text, reason);
        default: return set_number(option, field.number, text, reason);
        }
}

bool config_option_get(const struct config_option *option, const struct config *config, char *text,
                       size_t size)
{
        union place field = field_of(option, config);

        switch (option->type) {
        case OPTION_URI:
                if (*field.text) {
                        uri_mask(*field.text, text, size);
                        return strcmp(text, *field.text) != 0;
                }
                /* fall through */
        case OPTION_TEXT:
        case OPTION_BACKEND: snprintf(text, size, "%s", *field.text ? *field.text : ""); break;
        case OPTION_LEVEL: snprintf(text, size, "%s", log_level_name(*field.level)); break;
        case OPTION_FSYNC: snprintf(text, size, "%s", fsync_names[*field.fsync]); break;
        case OPTION_SWITCH: snprintf(text, size, "%s", *field.yes ? "yes" : "no"); break;
        default: numbers[option->type].print(*field.number, text, size);
        }
        return false;
}

bool config_option_equal(const struct config_option *option, const struct config *a, const struct config *b)
{
        union place one = field_of(option, a), other = field_of(option, b);

        switch (option->type) {
        case OPTION_TEXT:
        case OPTION_URI:
        case OPTION_BACKEND: return slice_equal(slice_of(*one.text), slice_of(*other.text));
        case OPTION_LEVEL: return *one.level == *other.level;
        case OPTION_FSYNC: return *one.fsync == *other.fsync;
        case OPTION_SWITCH: return *one.yes == *other.yes;
        default: return *one.number == *other.number;
        }
}

#define SWAP(a, b)                                                                                           \
        do {                                                                                                 \
                __typeof__(a) kept = (a);                                                                    \
                (a) = (b);                                                                                   \
                (b) = kept;                                                                                  \
        } while (0)

void config_option_swap(const struct config_option *option, struct config *a, struct config *b)
{
        union place one = field_of(option, a), other = field_of(option, b);

        switch (option->type) {
        case OPTION_TEXT:
        case OPTION_URI:
        case OPTION_BACKEND: SWAP(*one.text, *other.text); break;
        case OPTION_LEVEL: SWAP(*one.level, *other.level); break;
        case OPTION_FSYNC: SWAP(*one.fsync, *other.fsync); break;
        case OPTION_SWITCH: SWAP(*one.yes, *other.yes); break;
        default: SWAP(*one.number, *other.number);
        }
}

void config_option_free(const struct config_option *option, struct config *config)
{
        if (option->type == OPTION_TEXT || option->type == OPTION_URI || option->type == OPTION_BACKEND) {
                char **text = field_of(option, config).text;

                free(*text);
                *text = NULL;
        }
}

const char *config_option_argument(const struct config_option *option)
{
        static const char *const names[] = {
                [OPTION_TEXT] = "PATH",   [OPTION_URI] = "URI",    [OPTION_BACKEND] = "NAME",
                [OPTION_LEVEL] = "LEVEL", [OPTION_FSYNC] = "WHEN", [OPTION_SWITCH] = NULL,
        };

        return option->type >= OPTION_SECONDS ? numbers[option->type].argument : names[option->type];
}
