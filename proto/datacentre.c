/*
 * Telegram's data centres. Libraries that store an address connect to the stored one. So when a session
 * changes its data centre and does not name the new address, the daemon has to change it.
 */

#include "datacentre.h"

static const struct datacentre datacentres[] = {
        { 1, false, "149.154.175.53", 443 },  { 2, false, "149.154.167.51", 443 },
        { 3, false, "149.154.175.100", 443 }, { 4, false, "149.154.167.91", 443 },
        { 5, false, "91.108.56.130", 443 },   { 203, false, "91.105.192.100", 443 },
        { 1, true, "149.154.175.10", 80 },    { 2, true, "149.154.167.40", 80 },
        { 3, true, "149.154.175.117", 80 },
};

enum { DATACENTRES = sizeof(datacentres) / sizeof(datacentres[0]) };

const struct datacentre *datacentre_find(int64_t dc_id, bool test)
{
        for (size_t i = 0; i < DATACENTRES; i++) {
                if (datacentres[i].dc_id == dc_id && datacentres[i].test == test)
                        return &datacentres[i];
        }
        return NULL;
}

const struct datacentre *datacentre_by_address(struct slice address)
{
        for (size_t i = 0; i < DATACENTRES; i++) {
                if (slice_is(address, datacentres[i].address))
                        return &datacentres[i];
        }
        return NULL;
}

/* A test mode that is not set means production. */
static const struct datacentre *datacentre_of(const struct identity *identity)
{
        return datacentre_find(identity->number[FIELD_DC_ID],
                               identity_has(identity, FIELD_TEST_MODE) && identity->number[FIELD_TEST_MODE]);
}

/* False: no memory. */
static bool datacentre_move_address(struct identity *identity, const struct datacentre *former,
                                    const struct datacentre *now, unsigned *changed)
{
        const char *address = identity->server_address;

        if (address && (!former || strcmp(address, former->address) != 0))
                return true;
        if (address ? now && strcmp(address, now->address) == 0 : !now)
                return true;
        *changed |= FIELD_BIT(FIELD_SERVER_ADDRESS);
        if (now)
                return identity_set_address(identity, slice_of(now->address));
        identity_set_nil(identity, FIELD_SERVER_ADDRESS);
        return true;
}

static unsigned datacentre_move_port(struct identity *identity, const struct datacentre *former,
                                     const struct datacentre *now)
{
        bool has = identity_has(identity, FIELD_PORT);
        int64_t port = identity->number[FIELD_PORT];

        if (has && (!former || port != former->port))
                return 0;
        if (!now) {
                identity_set_nil(identity, FIELD_PORT);
                return has ? FIELD_BIT(FIELD_PORT) : 0;
        }
        if (has && port == now->port)
                return 0;
        identity_set_number(identity, FIELD_PORT, now->port);
        return FIELD_BIT(FIELD_PORT);
}

bool datacentre_follow(struct identity *identity, const struct identity *before, unsigned *changed)
{
        const struct datacentre *former = before ? datacentre_of(before) : NULL;
        const struct datacentre *now = datacentre_of(identity);

        *changed |= datacentre_move_port(identity, former, now);
        return datacentre_move_address(identity, former, now, changed);
}
