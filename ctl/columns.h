#ifndef GRAMD_CTL_COLUMNS_H
#define GRAMD_CTL_COLUMNS_H

/*
 * A table for people. On a terminal it is as wide as that at most: then the cells of one column are cut, and
 * end with an ellipsis. Elsewhere nothing is cut.
 */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum { COLUMNS_MAX = 8 };

struct columns {
        struct column {
                const char *head;
                enum {
                        COLUMN_LEFT,
                        COLUMN_RIGHT,
                        COLUMN_CUT
                } kind; /* COLUMN_CUT: to the left, and may be cut */
        } column[COLUMNS_MAX];
        int n;
        /* The cells, row after row, each ended by a NUL. */
        char *cells;
        size_t size;
        FILE *file; /* that writes them: a cell, then columns_end_cell() */
};

/* `columns` has its heads. False: no memory. */
bool columns_begin(struct columns *columns);
void columns_end_cell(struct columns *columns);
void columns_text(struct columns *columns, const char *text); /* NULL: `-` */
void columns_int(struct columns *columns, int64_t value);
/* Prints the table with its heads. False: no memory. */
bool columns_print(struct columns *columns);
void columns_free(struct columns *columns);

#endif
