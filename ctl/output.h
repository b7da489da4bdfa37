#ifndef GRAMD_CTL_OUTPUT_H
#define GRAMD_CTL_OUTPUT_H

/*
 * Printing for people and as JSON. Names and texts come from other users: their control characters are
 * escaped, so that none reaches a terminal, and JSON stays valid.
 */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "../client-lib/gram.h"

/* Prints text; control characters become \xNN. */
void print_text(FILE *file, const char *text);
/* The same of any bytes; those that are no UTF-8 become \xNN from 80 on. */
void print_bytes(FILE *file, const char *bytes, size_t size);

void json_text(FILE *file, const char *text); /* NULL: null */
void json_bytes(FILE *file, const char *text, size_t size);

/* Print `"key": ` or a whole member, after a comma unless `first`. */
void json_key(FILE *file, const char *key, bool first);
void json_key_text(FILE *file, const char *key, const char *text, bool first);
void json_key_int(FILE *file, const char *key, int64_t value, bool first);
void json_number(FILE *file, double value);
void json_holder(FILE *file, const struct gram_holder *holder); /* NULL: null */

/* "bot (pid 12, uid 1000) on host since 2026-11-21 10:00:00" */
void print_holder(FILE *file, const struct gram_holder *holder);

/* Local time; `-` for 0. */
void print_time(FILE *file, int64_t seconds);
/* "4 min", since this unix time; `-` for 0. */
void print_age(FILE *file, int64_t since);
/* "17 KB" */
void print_size(FILE *file, int64_t bytes);

/* Whether colours and the like may be used: a terminal, and neither $NO_COLOR nor TERM=dumb. */
bool output_is_styled(FILE *file);

#endif
