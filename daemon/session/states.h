#ifndef GRAMD_DAEMON_SESSION_STATES_H
#define GRAMD_DAEMON_SESSION_STATES_H

/*
 * The update states of one open session, whole in memory and ascending by id. Rows and ids handed in are
 * ascending too, and none comes twice. Loop thread only.
 */

#include "../../proto/records.h"

/* Zero-initialised: none. */
struct states {
        struct state *rows; /* malloc'ed */
        size_t n;
        size_t cap;
};

const struct state *states_find(const struct states *states, int64_t id); /* NULL: not there */
/*
 * The same for ascending ids one after the other: `*at`, 0 at first, remembers the place. Takes little time
 * where the next id is near.
 */
const struct state *states_find_next(const struct states *states, size_t *at, int64_t id);
/* Makes room for so many new rows, before they are committed. False: no memory. */
bool states_reserve(struct states *states, size_t more);
void states_put(struct states *states, const struct state *rows, size_t n);
/* May be called for parts of a list, too. */
void states_drop(struct states *states, const int64_t *ids, size_t n);
void states_clear(struct states *states);

#endif
