#ifndef GRAMD_PROTO_DATACENTRE_H
#define GRAMD_PROTO_DATACENTRE_H

/* Telegram's data centres: the address and port of each, as the libraries have them. */

#include <stdbool.h>
#include <stdint.h>

#include "records.h"

struct datacentre {
        int dc_id;
        bool test;
        const char *address;
        int port;
};

/* NULL: the table has none. */
const struct datacentre *datacentre_find(int64_t dc_id, bool test);
const struct datacentre *datacentre_by_address(struct slice address);

/*
 * Called after `dc_id` or `test_mode` changed from `before` to `identity`. An address or port that is nil or
 * the former data centre's becomes the new one's; nil, if the table does not have the new one. Adds the
 * FIELD_BITs of what changes to `changed`. `before` NULL: a new session. False: no memory, and only a part
 * may have changed.
 */
bool datacentre_follow(struct identity *identity, const struct identity *before, unsigned *changed);

#endif
