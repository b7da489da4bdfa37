#ifndef GRAMD_PROTO_DATACENTRE_H
#define GRAMD_PROTO_DATACENTRE_H

/* Telegram's data centres: which address and port a library of this family expects for a number. */

#include <stdbool.h>
#include <stdint.h>

#include "records.h"

struct datacentre {
        int dc_id;
        bool test;
        const char *address;
        int port;
};

/* NULL where the table has none. */
const struct datacentre *datacentre_find(int64_t dc_id, bool test);
const struct datacentre *datacentre_by_address(struct slice address);

/*
 * After `dc_id` or `test_mode` changed from `before` to what `identity` now holds: the address and
 * port move along where they are nil or those of the former data centre. Where the table does not
 * know the new one they become nil. Returns the FIELD_BITs it changed. `before` NULL: a new session.
 */
unsigned datacentre_follow(struct identity *identity, const struct identity *before);

#endif
