#ifndef GRAMD_DAEMON_CONFIG_OPTION_H
#define GRAMD_DAEMON_CONFIG_OPTION_H

/*
 * The values of the configuration, the table of options, and what a value of each type looks like as text.
 * A new option is a field in struct config and a row in option.c; file.c and config.c see only rows. Constant
 * data and functions without state.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/log.h"
#include "access.h"

enum fsync_policy { FSYNC_ALWAYS, FSYNC_EVERYSEC, FSYNC_NO };

struct config {
        char *config_file; /* what was read, or NULL */
        char *socket;      /* path; NULL where nothing names one: then one must be inherited */
        char *data;        /* path, not resolved; need not exist */
        char *backend;     /* the default backend */
        char *mongo;       /* URI, or NULL. May hold a password: uri_mask() before it is shown */
        char *mongo_prefix;
        uint64_t mongo_term_ms;
        enum log_level log_level;
        bool log_json;
        enum fsync_policy fsync;
        uint64_t idle_close_ms;
        uint64_t cache_bytes;
        uint64_t page_cache_bytes;
        uint64_t memory_max_bytes;
        uint64_t max_message_bytes;
        uint64_t max_in_flight; /* requests of one connection on one session */
        uint64_t max_sessions;  /* handles of one connection */
        uint64_t max_clients;
        uint64_t client_buffer_bytes; /* unread answers and queued requests of one connection; then reading
                                         stops */
        uint64_t workers;
        struct access access;
        char restart[256]; /* after a reload: the options that differ and need a restart, with commas */
};

/* One line for people: file, line, value; or the flag and its value. */
struct config_error {
        char text[512];
};

enum option_type {
        OPTION_TEXT,    /* char *; min and max are lengths in bytes */
        OPTION_URI,     /* the same, and may hold a password: not shown */
        OPTION_BACKEND, /* char *; a name from backends[] */
        OPTION_LEVEL,   /* enum log_level */
        OPTION_FSYNC,   /* enum fsync_policy */
        OPTION_SWITCH,  /* bool: yes or no; as a flag it needs no value */
        OPTION_SECONDS, /* uint64_t milliseconds */
        OPTION_SIZE,    /* uint64_t bytes */
        OPTION_COUNT,   /* uint64_t */
};

struct config_option {
        const char *name; /* in the file; with `--` in front, the flag */
        enum option_type type;
        size_t offset; /* in struct config */
        bool reloads;  /* may change while the daemon runs */
        const char *fallback;
        uint64_t min, max;
        const char *help;
};

enum { CONFIG_OPTIONS = 19 };
extern const struct config_option config_options[CONFIG_OPTIONS];

/* NULL: there is none of this name. */
const struct config_option *config_option_find(struct slice name);

/* False: `why` says what is wrong, without the value; the config is as before. */
bool config_option_set(const struct config_option *option, struct config *config, const char *text, char *why,
                       size_t why_size);

/* The value as a file has it; empty where there is none. A secret is masked, and then true is returned. */
bool config_option_get(const struct config_option *option, const struct config *config, char *text,
                       size_t size);
bool config_option_equal(const struct config_option *option, const struct config *a, const struct config *b);
void config_option_swap(const struct config_option *option, struct config *a, struct config *b);
void config_option_free(const struct config_option *option, struct config *config);

const char *config_option_argument(const struct config_option *option); /* SIZE, PATH ...; NULL: none */

#endif
