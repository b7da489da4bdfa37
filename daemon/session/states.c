/* One array, ascending by id, searched by halves and changed by merging. */

#include "states.h"

#include <stdlib.h>

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
        size_t n_new = 0, from, to;

        for (size_t i = 0; i < n; i++)
                n_new += !states_find(states, rows[i].id);
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

void states_drop(struct states *states, const int64_t *ids, size_t n)
{
        size_t kept = 0;

        for (size_t i = 0, at = 0; i < states->n; i++) {
                while (at < n && ids[at] < states->rows[i].id)
                        at++;
                if (at == n || ids[at] != states->rows[i].id)
                        states->rows[kept++] = states->rows[i];
        }
        states->n = kept;
}

void states_clear(struct states *states)
{
        free(states->rows);
        *states = (struct states){ 0 };
}
