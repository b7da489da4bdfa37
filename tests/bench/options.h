#ifndef GRAMD_TESTS_BENCH_OPTIONS_H
#define GRAMD_TESTS_BENCH_OPTIONS_H

/* The arguments of a program of the benchmark: `name=value`, listed in the program's own table. */

#include <stddef.h>

struct option_row {
        const char *name;
        const char **text; /* this or `number` */
        double *number;
};

/* Ends the program if an argument is not in the table. */
void options_read(const struct option_row *rows, size_t n, int argc, char **argv);

/* Pins this process to the core; negative: to none. */
void pin_to_core(int core);

#endif
