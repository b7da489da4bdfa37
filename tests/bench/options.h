#ifndef GRAMD_TESTS_BENCH_OPTIONS_H
#define GRAMD_TESTS_BENCH_OPTIONS_H

/* What a program of the benchmark is told: `name=value` words, by a table of its own. */

#include <stddef.h>

struct option_row {
        const char *name;
        const char **text; /* one of these two */
        double *number;
};

/* Ends the program where a word is not one of the table's. */
void options_read(const struct option_row *rows, size_t n, int argc, char **argv);

/* This process stays on the core; negative: on any. */
void pin_to_core(int core);

#endif
