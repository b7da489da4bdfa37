#include "naming.h"

#include <assert.h>
#include <stdlib.h>

#include "../config/config.h"
#include "../config/names.h"

struct naming {
        struct job job;
        struct clients *clients;
        struct client *client; /* NULL: it has left */
        struct names *names;
        void (*named)(struct client *client); /* NULL: nobody waits */
};

void client_take_names(struct client *client)
{
        struct credentials *credentials = &client->credentials;
        struct names *known = client->user ? client->user->names : NULL;

        if (!credentials->names && known && names_are_of(known, credentials))
                credentials->names = names_ref(known);
}

static void look_up(struct job *job)
{
        struct naming *naming = (struct naming *)job;

        if (!atomic_load(&naming->clients->stopping))
                names_look_up(naming->names);
}

static void looked_up(struct job *job)
{
        struct naming *naming = (struct naming *)job;
        struct client *client = naming->client;

        if (client) {
                naming_end(client);
                client_take_names(client); /* other clients of the user may have the same by now */
                if (!client->credentials.names) {
                        names_unref(client->user->names);
                        client->user->names = names_ref(naming->names);
                        client->credentials.names = names_ref(naming->names);
                }
                if (naming->named)
                        naming->named(client);
        }
        names_unref(naming->names);
        free(naming);
}

void naming_end(struct client *client)
{
        if (!client->naming)
                return;
        assert(client->user->n_namings > 0);
        client->user->n_namings--;
        client->naming->client = NULL;
        client->naming = NULL;
}

bool naming_start(struct client *client, void (*named)(struct client *client))
{
        struct clients *clients = client->clients;
        const bool waits = clients->wire->config->access.has_names;
        struct naming *naming;

        assert(!client->naming);
        client_take_names(client);
        if (client->credentials.names || (!waits && client->user->n_namings > 0))
                return false;
        naming = calloc(1, sizeof(*naming));
        if (!naming)
                return false;
        naming->names = names_new(&client->credentials);
        if (!naming->names) {
                free(naming);
                return false;
        }
        naming->clients = clients;
        naming->client = client;
        naming->named = waits ? named : NULL;
        client->naming = naming;
        client->user->n_namings++;
        store_submit(clients->store, clients->naming, client->credentials.uid, &naming->job, look_up,
                     looked_up);
        return waits;
}
