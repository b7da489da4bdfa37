#ifndef GRAMD_DAEMON_CONFIG_OPTION_H
#define GRAMD_DAEMON_CONFIG_OPTION_H

/*
 * The option table, and what a value of each type looks like as text. config.c and config_file.c work on
 * these rows alone: a new option is a field in struct config and a row here. Constant data and pure
 * functions.
 */

#include <stdio.h>

#include "config.h"

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
