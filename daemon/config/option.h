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

#include "../../backends/option.h"
#include "access.h"

enum fsync_policy { FSYNC_ALWAYS, FSYNC_EVERYSEC, FSYNC_NO };

/* The value of an option is a malloc'ed text or a number: value_of() in option.c relies on that. */
struct config {
        char *config_file;  /* what was read, or NULL */
        const char *socket; /* path; NULL: none is configured, so one must be inherited */
        const char *data;   /* path, not resolved; need not exist */
        const char *backend;
        union option_value *backend_values; /* of every backend's options; config_backend_values() */
        uint64_t log_level;                 /* enum log_level */
        uint64_t log_json;                  /* 0 or 1 */
        uint64_t audit;                     /* 0 or 1 */
        uint64_t fsync;                     /* enum fsync_policy */
        uint64_t idle_close_ms;
        uint64_t cache_bytes;
        uint64_t max_message_bytes;
        uint64_t max_in_flight;     /* requests of one connection on one session */
        uint64_t max_sessions;      /* handles of one connection */
        uint64_t max_open_sessions; /* of all connections */
        uint64_t max_clients;
        uint64_t client_memory_bytes;
        uint64_t client_buffer_bytes; /* unread answers and queued requests of one connection; then reading
                                         stops */
        uint64_t kv_max_bytes;        /* of the key-value area of a session */
        uint64_t workers;
        uint64_t drain_on_stop; /* 0 or 1 */
        uint64_t drain_timeout_ms;
        const char *key_file;    /* path; NULL: the systemd credential, if there is one */
        uint64_t require_sealed; /* 0 or 1 */
        struct access access;
        char restart[256]; /* after a reload: the options that differ and need a restart, with commas */
};

/* One line for people: file, line, value; or the flag and its value. */
struct config_error {
        char text[512];
};

/* A row of the whole table: the daemon's options, with those of the backends after `backend`. */
struct config_option {
        const struct option *row;
        size_t number;       /* its place in the table, from 0 */
        bool of_backend;     /* its value is in backend_values; else in struct config */
        size_t at;           /* there: an index; an offset */
        bool reloads;        /* may change while the daemon runs */
        const char *section; /* of the file; NULL: above the first */
};

/* Option number `number`; false: there are not so many. */
bool config_option_at(size_t number, struct config_option *option);
/* False: there is none of this name. */
bool config_option_find(struct slice name, struct config_option *option);
size_t config_option_count(void);

/* Makes room for the values of the backends' options. False: no memory. */
bool config_values_init(struct config *config);
void config_values_deinit(struct config *config);
/* Gives every option its default. False: no memory. */
bool config_values_reset(struct config *config);
/* The values of the options of backends[backend], in their order. */
const union option_value *config_backend_values(const struct config *config, size_t backend);

/* False: `why` says what is wrong, without the value; the config is as before. */
bool config_option_set(const struct config_option *option, struct config *config, const char *text, char *why,
                       size_t why_size);

/* The value as a file has it; empty where there is none. A secret is masked, and then true is returned. */
bool config_option_get(const struct config_option *option, const struct config *config, char *text,
                       size_t size);
bool config_option_equal(const struct config_option *option, const struct config *a, const struct config *b);
void config_option_swap(const struct config_option *option, struct config *a, struct config *b);

/* SIZE, PATH ...; NULL: as a flag it needs no value. */
const char *config_option_argument(const struct config_option *option);
/* As a file has it; empty where there is none. */
void config_option_default(const struct config_option *option, char *text, size_t size);

#endif
