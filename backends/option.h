#ifndef GRAMD_BACKENDS_OPTION_H
#define GRAMD_BACKENDS_OPTION_H

/*
 * Options as data. A backend lists its own in a table of rows; the daemon adds them to its table, so that
 * they are in --help, --print-config, the configuration file, the flags and the manual page. The values come
 * back to the backend at its start.
 */

#include <stdint.h>

/* What a value is, and how it is written. */
enum option_type {
        OPTION_TEXT,    /* text; min and max are its length in bytes */
        OPTION_PATH,    /* the same */
        OPTION_URI,     /* the same; it may hold a password, which is not shown */
        OPTION_BACKEND, /* text: the name of a backend */
        OPTION_SWITCH,  /* number: 1 for yes, 0 for no; as a flag it needs no value */
        OPTION_CHOICE,  /* number: the index of one of the choices */
        OPTION_SECONDS, /* number of milliseconds; written in seconds */
        OPTION_SIZE,    /* number of bytes; k, M, G or T may follow it */
        OPTION_COUNT,   /* number */
};

union option_value {
        const char *text; /* NULL: not set */
        uint64_t number;
};

/* A row of a table. (Plain braces would be laid out as one field a line.) */
#define OPTION(...)                                                                                          \
        {                                                                                                    \
                __VA_ARGS__                                                                                  \
        }

struct option {
        const char *name; /* in the file; with `--` in front, the flag. No two options have the same */
        enum option_type type;
        union option_value fallback; /* the default; a text may have none */
        uint64_t min, max;
        const char *help;
        const struct option_choices *choices; /* OPTION_CHOICE; else NULL */
};

struct option_choices {
        const char *argument;     /* what --help calls the value */
        const char *const *names; /* NULL-terminated; the numbers are their indexes */
};

#endif
