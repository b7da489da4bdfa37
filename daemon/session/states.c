/* One array, ascending by id, searched by halves and changed by merging. */

#include "states.h"

#include <stdlib.h>
#include <string.h>

/* The first whose id is not below `id`. */
static size_t state_place(const struct states *states, int64_t id)
{
        size_t low = 0, high = states->n;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (states->rows[middle].id < id)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

const struct state *states_find(const struct states *states, int64_t id)
{
        size_t place = state_place(states, id);

        return place < states->n && states->rows[place].id == id ? &states->rows[place] : NULL;
}

/* From `from` on. Looks at 1, 2, 4, … rows ahead, then by halves between the last two. */
static size_t state_place_from(const struct states *states, size_t from, int64_t id)
{
        size_t low = from, step = 1;

        while (low + step <= states->n && states->rows[low + step - 1].id < id) {
                low += step;
                step *= 2;
        }
        for (size_t high = low + step < states->n ? low + step : states->n; low < high;) {
                size_t middle = low + (high - low) / 2;

                if (states->rows[middle].id < id)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

const struct state *states_find_next(const struct states *states, size_t *at, int64_t id)
{
        *at = state_place_from(states, *at, id);
        return *at < states->n && states->rows[*at].id == id ? &states->rows[*at] : NULL;
}

bool states_reserve(struct states *states, size_t more)
{
        size_t cap = states->n + more;
        struct state *rows;

        if (cap <= states->cap)
                return true;
        cap += cap / 2;
        rows = reallocarray(states->rows, cap, sizeof(struct state));
        if (!rows)
                return false;
        states->rows = rows;
        states->cap = cap;
        return true;
}

void states_put(struct states *states, const struct state *rows, size_t n)
{
        size_t n_new = 0, at = 0, from, to;

        for (size_t i = 0; i < n; i++)
                n_new += !states_find_next(states, &at, rows[i].id);
        /* Merged from the back: every row moves at most once. */
        from = states->n;
        to = states->n += n_new;
        while (n > 0) {
                if (from > 0 && states->rows[from - 1].id > rows[n - 1].id) {
                        states->rows[--to] = states->rows[--from];
                        continue;
                }
                if (from > 0 && states->rows[from - 1].id == rows[n - 1].id)
                        from--;
                states->rows[--to] = rows[--n];
        }
}

/* Moves rows `from` up to `to` to the place `kept`. Returns the place behind them. */
static size_t keep_rows(struct states *states, size_t kept, size_t from, size_t to)
{
        if (kept != from && to > from)
                memmove(&states->rows[kept], &states->rows[from], (to - from) * sizeof(struct state));
        return kept + (to - from);
}

void states_drop(struct states *states, const int64_t *ids, size_t n)
{
        size_t kept = n > 0 ? state_place(states, ids[0]) : states->n, from = kept;

        for (size_t at = 0; at < n && from < states->n; at++) {
                size_t place = state_place_from(states, from, ids[at]);

                kept = keep_rows(states, kept, from, place);
                from = place + (place < states->n && states->rows[place].id == ids[at]);
        }
        states->n = keep_rows(states, kept, from, states->n);
}

void states_clear(struct states *states)
{
        free(states->rows);
        *states = (struct states){ 0 };
}
