/*
 * A row for each option, and one for each type. A type has functions that read its values from text and write
 * them back; they do not know whether the text is from a file, a flag or the environment.
 */

#include "option.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../backends/backend.h"
#include "../../backends/why.h"
#include "../../proto/contract.h"
#include "../base/log.h"
#include "uri.h"

enum {
        SOCKET_MAX_BYTES = 107, /* sun_path without its NUL */
        PATH_MAX_BYTES = 4095,
        DAY_MS = 86400 * 1000,
};

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

/* ---- the table ---- */

static const char *const fsync_names[] = {
        [FSYNC_ALWAYS] = "always",
        [FSYNC_EVERYSEC] = "everysec",
        [FSYNC_NO] = "no",
        NULL,
};

static const struct option_choices fsync_policies = { "WHEN", fsync_names };
static const struct option_choices levels = { "LEVEL", log_level_names };

enum { BEFORE_BACKENDS = 3 }; /* number of rows before the options of the backends */

#define IN(section, field, reloads, ...)                                                                     \
        {                                                                                                    \
                offsetof(struct config, field), reloads, section, OPTION(__VA_ARGS__)                        \
        }
#define OWN(field, reloads, ...) IN(NULL, field, reloads, __VA_ARGS__)

static const struct own_option {
        size_t offset; /* of the value in struct config */
        bool reloads;
        const char *section;
        struct option row;
} own_options[] = {
        OWN(socket, false, "socket", OPTION_PATH, { NULL }, 1, SOCKET_MAX_BYTES,
            "The socket to listen on, where none is inherited. Default: /run/gramd/gramd.sock for root and "
            "the user gramd, else $XDG_RUNTIME_DIR/gramd.sock; $GRAMD_SOCKET replaces the value in the file.",
            NULL),
        OWN(data, false, "data", OPTION_PATH, { NULL }, 1, PATH_MAX_BYTES,
            "The directory of the session files. Default: $STATE_DIRECTORY, else ~/.local/state/gramd.",
            NULL),
        OWN(backend, false, "backend", OPTION_BACKEND, { "file" }, 0, 0,
            "Where a session is stored if its client does not say so.", NULL),
        OWN(log_level, true, "log-level", OPTION_CHOICE, { .number = LOG_INFO }, 0, 0,
            "The least important lines that are logged: error, warning, info or debug.", &levels),
        OWN(log_json, false, "log-json", OPTION_SWITCH, { .number = 0 }, 0, 0, "Log lines as JSON.", NULL),
        OWN(audit, true, "audit", OPTION_SWITCH, { .number = 1 }, 0, 0,
            "Log who opens, creates and deletes sessions, reads, writes, exports and imports auth keys, "
            "disconnects clients, and what was denied; whatever log-level is.",
            NULL),
        OWN(fsync, false, "fsync", OPTION_CHOICE, { .number = FSYNC_EVERYSEC }, 0, 0,
            "When peers, usernames and update states reach the disk: always (before the answer), everysec "
            "(the sync begins a second later) or no (half a minute later).",
            &fsync_policies),
        OWN(idle_close_ms, true, "idle-close", OPTION_SECONDS, { .number = 5000 }, 0, DAY_MS,
            "How long after its last handle has closed a session is closed. Not on MongoDB: others may wait "
            "for it.",
            NULL),
        OWN(cache_bytes, true, "cache", OPTION_SIZE, { .number = 40 * MIB }, 0, 1024 * GIB,
            "Memory for peers and usernames of all open sessions together: about 125 bytes for a peer, 160 "
            "with a username and a phone number. They count for the user whose request has brought them. "
            "When it is full, the user who has most loses those that were not used for the longest time; one "
            "user alone has all of it.",
            NULL),
        OWN(max_message_bytes, true, "max-message", OPTION_SIZE, { .number = LIMIT_MESSAGE_BYTES }, 4 * KIB,
            GIB, "The longest message: request or answer.", NULL),
        OWN(max_in_flight, true, "max-in-flight", OPTION_COUNT, { .number = LIMIT_IN_FLIGHT }, 1, 65536,
            "Unanswered requests of one connection on one session; one more is refused.", NULL),
        OWN(max_sessions, true, "max-sessions", OPTION_COUNT, { .number = LIMIT_SESSIONS }, 1, 1000000,
            "Sessions that one connection may have open.", NULL),
        OWN(max_open_sessions, true, "max-open-sessions", OPTION_COUNT, { .number = 10000 }, 1, 10000000,
            "Sessions that are open at the same time; each takes memory, and one in a file two descriptors. "
            "A user gets fifteen sixteenths of them at most, and less where others have some; root and the "
            "daemon's own user may have all.",
            NULL),
        OWN(max_clients, true, "max-clients", OPTION_COUNT, { .number = 10000 }, 1, 1000000,
            "Connections at the same time. A user gets fifteen sixteenths of them at most, and less where "
            "others have some; root and the daemon's own user may have all.",
            NULL),
        OWN(client_buffer_bytes, true, "client-buffer", OPTION_SIZE, { .number = MIB }, 4 * KIB, GIB,
            "Unread answers and queued requests of one connection; above it the daemon stops reading from "
            "the connection.",
            NULL),
        OWN(client_memory_bytes, true, "client-memory", OPTION_SIZE, { .number = 128 * MIB }, MIB, 1024 * GIB,
            "Memory for what all connections together have received, will be sent and wait for, and for "
            "their handles, 128 bytes each. One user gets fifteen sixteenths of it at most, and less where "
            "others need some; incomplete messages get half of that.",
            NULL),
        OWN(kv_max_bytes, false, "kv-max", OPTION_SIZE, { .number = 16 * MIB }, 0, GIB,
            "Bytes of the keys and values in the key-value area of one session. 0: nothing can be stored "
            "there.",
            NULL),
        OWN(workers, false, "workers", OPTION_COUNT, { .number = 4 }, 1, 256,
            "Threads that run the backends.", NULL),
        OWN(drain_on_stop, true, "drain-on-stop", OPTION_SWITCH, { .number = 0 }, 0, 0,
            "Before the end, hand the sessions on MongoDB over to other hosts: clients are asked to leave, "
            "as by `gramctl drain`. Without it, and for what is left then, the next start has the sessions "
            "back, and other hosts get them only when that does not come.",
            NULL),
        OWN(drain_timeout_ms, true, "drain-timeout", OPTION_SECONDS, { .number = 60000 }, 0, DAY_MS,
            "How long the end waits for drain-on-stop at most. A second SIGTERM ends the wait. It may be "
            "longer than TimeoutStopSec of the unit: systemd is told.",
            NULL),
        IN("encryption", key_file, true, "key-file", OPTION_PATH, { NULL }, 1, PATH_MAX_BYTES,
           "The file with the keys that seal auth keys and values, as `gramctl key new` makes it. It "
           "belongs to root or the daemon's user, nobody else may read it, and it is outside the data "
           "directory. Default: the systemd credential gramd.key, where there is one. SIGHUP reads it "
           "again.",
           NULL),
        IN("encryption", require_sealed, false, "require-sealed", OPTION_SWITCH, { .number = 0 }, 0, 0,
           "Refuse stored sessions that are not sealed.", NULL),
};

enum { OWN_OPTIONS = sizeof(own_options) / sizeof(own_options[0]) };

static size_t count_rows(const struct backend *backend)
{
        size_t n = 0;

        while (backend->options && backend->options[n].name)
                n++;
        return n;
}

static size_t count_backend_options(void)
{
        size_t n = 0;

        for (size_t i = 0; backends[i]; i++)
                n += count_rows(backends[i]);
        return n;
}

size_t config_option_count(void)
{
        return OWN_OPTIONS + count_backend_options();
}

static bool backend_option_at(size_t index, struct config_option *option)
{
        size_t before = 0;

        for (size_t i = 0; backends[i]; before += count_rows(backends[i++])) {
                if (index - before < count_rows(backends[i])) {
                        *option = (struct config_option){ .row = &backends[i]->options[index - before],
                                                          .of_backend = true,
                                                          .at = index };
                        return true;
                }
        }
        return false;
}

bool config_option_at(size_t number, struct config_option *option)
{
        size_t own = number;

        if (number >= BEFORE_BACKENDS) {
                if (backend_option_at(number - BEFORE_BACKENDS, option)) {
                        option->number = number;
                        return true;
                }
                own = number - count_backend_options();
        }
        if (own >= OWN_OPTIONS)
                return false;
        *option = (struct config_option){ .row = &own_options[own].row,
                                          .number = number,
                                          .at = own_options[own].offset,
                                          .reloads = own_options[own].reloads,
                                          .section = own_options[own].section };
        return true;
}

bool config_option_find(struct slice name, struct config_option *option)
{
        for (size_t i = 0; config_option_at(i, option); i++) {
                if (slice_is(name, option->row->name))
                        return true;
        }
        return false;
}

/* ---- types ---- */

static void print_size(const struct option *row, uint64_t bytes, char *text, size_t size)
{
        const char *suffix = "";

        (void)row;
        for (const char *s = "kMGT"; bytes && bytes % 1024 == 0 && *s; s++) {
                bytes /= 1024;
                suffix = s;
        }
        snprintf(text, size, "%llu%.1s", (unsigned long long)bytes, suffix);
}

static void print_count(const struct option *row, uint64_t count, char *text, size_t size)
{
        (void)row;
        snprintf(text, size, "%llu", (unsigned long long)count);
}

static void print_seconds(const struct option *row, uint64_t ms, char *text, size_t size)
{
        int len = snprintf(text, size, "%llu.%03u", (unsigned long long)ms / 1000, (unsigned)(ms % 1000));

        (void)row;
        while (text[len - 1] == '0')
                text[--len] = '\0';
        if (text[len - 1] == '.')
                text[len - 1] = '\0';
}

/* Reads digits, and moves past them. */
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

static bool read_size(const struct option *row, const char *text, uint64_t *bytes)
{
        static const char suffixes[] = "kmgt";
        const char *suffix;

        (void)row;
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

static bool read_count(const struct option *row, const char *text, uint64_t *count)
{
        (void)row;
        return read_digits(&text, count) && !*text;
}

static bool read_seconds(const struct option *row, const char *text, uint64_t *ms)
{
        uint64_t unit = 100;

        (void)row;
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

static bool read_switch(const struct option *row, const char *text, uint64_t *yes)
{
        (void)row;
        *yes = strcmp(text, "yes") == 0;
        return *yes || strcmp(text, "no") == 0;
}

static void print_switch(const struct option *row, uint64_t yes, char *text, size_t size)
{
        (void)row;
        snprintf(text, size, "%s", yes ? "yes" : "no");
}

static bool read_choice(const struct option *row, const char *text, uint64_t *index)
{
        for (*index = 0; row->choices->names[*index]; ++*index) {
                if (strcmp(text, row->choices->names[*index]) == 0)
                        return true;
        }
        return false;
}

static void print_choice(const struct option *row, uint64_t index, char *text, size_t size)
{
        snprintf(text, size, "%s", row->choices->names[index]);
}

static const struct type {
        const char *argument;
        /* Of types whose values are numbers. */
        bool (*read)(const struct option *row, const char *text, uint64_t *number);
        void (*print)(const struct option *row, uint64_t number, char *text, size_t size);
        const char *name; /* NULL: its values have no bounds */
} types[] = {
        [OPTION_TEXT] = { .argument = "TEXT" },
        [OPTION_PATH] = { .argument = "PATH" },
        [OPTION_URI] = { .argument = "URI" },
        [OPTION_BACKEND] = { .argument = "NAME" },
        [OPTION_SWITCH] = { NULL, read_switch, print_switch, NULL },
        [OPTION_CHOICE] = { NULL, read_choice, print_choice, NULL },
        [OPTION_SECONDS] = { "SECONDS", read_seconds, print_seconds, "a number of seconds" },
        [OPTION_SIZE] = { "SIZE", read_size, print_size,
                          "a size (bytes, or with k, M, G or T behind the number)" },
        [OPTION_COUNT] = { "N", read_count, print_count, "a number" },
};

static bool is_text(const struct option *row)
{
        return !types[row->type].read;
}

/* ---- setting ---- */

/* "expected error, warning, info or debug" */
static bool fail_choice(const struct option *row, struct why why)
{
        char list[128];
        size_t len = 0;

        for (size_t i = 0; row->choices->names[i] && len < sizeof(list); i++)
                len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s",
                                        i == 0                       ? ""
                                        : row->choices->names[i + 1] ? ", "
                                                                     : " or ",
                                        row->choices->names[i]);
        return fail(why, "expected %s", list);
}

static bool set_number(const struct option *row, uint64_t *value, const char *text, struct why why)
{
        const struct type *type = &types[row->type];
        char min[32], max[32];
        uint64_t number;
        bool understood = type->read(row, text, &number);

        if (!understood && type->name)
                return fail(why, "not %s", type->name);
        if (!understood)
                return row->choices ? fail_choice(row, why) : fail(why, "expected yes or no");
        if (type->name && (number < row->min || number > row->max)) {
                type->print(row, row->min, min, sizeof(min));
                type->print(row, row->max, max, sizeof(max));
                return fail(why, "out of range: %s to %s", min, max);
        }
        *value = number;
        return true;
}

static bool replace_text(const char **value, const char *text)
{
        char *copy = strdup(text);

        if (!copy)
                return false;
        free((char *)*value);
        *value = copy;
        return true;
}

/* Refuses what a file cannot hold: a printed configuration must read back as it was. */
static bool set_text(const struct option *row, const char **value, const char *text, struct why why)
{
        size_t len = strlen(text);

        if (len < row->min)
                return fail(why, "is empty");
        if (row->max && len > row->max)
                return fail(why, "too long: %zu bytes, at most %llu", len, (unsigned long long)row->max);
        for (size_t i = 0; i < len; i++) {
                if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
                        return fail(why, "holds a control character");
        }
        if (strstr(text, " ;") || text[0] == ' ' || (len && text[len - 1] == ' '))
                return fail(why, "must not begin or end with a space, nor hold ' ;', which begins a comment");
        return replace_text(value, text) || fail(why, "no memory");
}

static bool check_backend(const char *name, struct why why)
{
        char known[256] = "";

        for (size_t i = 0, len = 0; backends[i] && len < sizeof(known); i++) {
                if (strcmp(name, backends[i]->name) == 0)
                        return true;
                len += (size_t)snprintf(known + len, sizeof(known) - len, "%s%s", i ? ", " : "",
                                        backends[i]->name);
        }
        return fail(why, "no such backend (%s)", known);
}

/* ---- values ---- */

static void *value_of(const struct config_option *option, const struct config *config)
{
        if (option->of_backend)
                return &config->backend_values[option->at];
        return (char *)(uintptr_t)config + option->at;
}

static const char **text_of(const struct config_option *option, const struct config *config)
{
        assert(is_text(option->row));
        return value_of(option, config);
}

static uint64_t *number_of(const struct config_option *option, const struct config *config)
{
        assert(!is_text(option->row));
        return value_of(option, config);
}

/* What a new row has to comply with. */
static void check_rows(void)
{
        struct config_option option, same;
        const char *section = NULL; /* once there is one, no row above the first section follows */

        assert(own_options[BEFORE_BACKENDS - 1].row.type == OPTION_BACKEND);
        for (size_t i = 0; config_option_at(i, &option); i++) {
                const struct option *row = option.row;

                assert(config_option_find(slice_of(row->name), &same) && same.number == i);
                assert((row->type == OPTION_CHOICE) == (row->choices != NULL));
                assert(option.section || !section);
                section = option.section;
                assert(!types[row->type].name ||
                       (row->fallback.number >= row->min && row->fallback.number <= row->max));
        }
        (void)same;
        (void)section;
}

bool config_values_init(struct config *config)
{
        check_rows();
        config->backend_values = calloc(count_backend_options() + 1, sizeof(*config->backend_values));
        return config->backend_values;
}

void config_values_deinit(struct config *config)
{
        struct config_option option;

        for (size_t i = 0; config->backend_values && config_option_at(i, &option); i++) {
                if (is_text(option.row))
                        free((char *)*text_of(&option, config));
        }
        free(config->backend_values);
        config->backend_values = NULL;
}

bool config_values_reset(struct config *config)
{
        struct config_option option;

        for (size_t i = 0; config_option_at(i, &option); i++) {
                const struct option *row = option.row;

                if (!is_text(row))
                        *number_of(&option, config) = row->fallback.number;
                else if (row->fallback.text && !replace_text(text_of(&option, config), row->fallback.text))
                        return false;
        }
        return true;
}

const union option_value *config_backend_values(const struct config *config, size_t backend)
{
        size_t before = 0;

        for (size_t i = 0; i < backend; i++) {
                assert(backends[i]);
                before += count_rows(backends[i]);
        }
        return &config->backend_values[before];
}

bool config_option_set(const struct config_option *option, struct config *config, const char *text, char *why,
                       size_t why_size)
{
        struct why reason = { why, why_size };

        if (!is_text(option->row))
                return set_number(option->row, number_of(option, config), text, reason);
        if (option->row->type == OPTION_BACKEND && !check_backend(text, reason))
                return false;
        return set_text(option->row, text_of(option, config), text, reason);
}

bool config_option_get(const struct config_option *option, const struct config *config, char *text,
                       size_t size)
{
        const char *value;

        if (!is_text(option->row)) {
                types[option->row->type].print(option->row, *number_of(option, config), text, size);
                return false;
        }
        value = *text_of(option, config);
        if (value && option->row->type == OPTION_URI) {
                uri_mask(value, text, size);
                return strcmp(text, value) != 0;
        }
        snprintf(text, size, "%s", value ? value : "");
        return false;
}

bool config_option_equal(const struct config_option *option, const struct config *a, const struct config *b)
{
        if (is_text(option->row))
                return slice_equal(slice_of(*text_of(option, a)), slice_of(*text_of(option, b)));
        return *number_of(option, a) == *number_of(option, b);
}

void config_option_swap(const struct config_option *option, struct config *a, struct config *b)
{
        if (is_text(option->row)) {
                const char *text = *text_of(option, a);

                *text_of(option, a) = *text_of(option, b);
                *text_of(option, b) = text;
        } else {
                uint64_t number = *number_of(option, a);

                *number_of(option, a) = *number_of(option, b);
                *number_of(option, b) = number;
        }
}

/* ---- for people ---- */

const char *config_option_argument(const struct config_option *option)
{
        return option->row->choices ? option->row->choices->argument : types[option->row->type].argument;
}

void config_option_default(const struct config_option *option, char *text, size_t size)
{
        const union option_value *fallback = &option->row->fallback;

        if (!is_text(option->row))
                types[option->row->type].print(option->row, fallback->number, text, size);
        else
                snprintf(text, size, "%s", fallback->text ? fallback->text : "");
}
