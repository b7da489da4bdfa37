/* Why an `open` is denied, in words for the client. */

#include "denied.h"

#include "unseen.h"

void deny_open(struct request *request, struct sessions *sessions, const struct credentials *credentials,
               unsigned rights, int64_t begun_ms, bool create)
{
        if (rights & RIGHT_READ)
                answer_error(request, WIRE_DENIED, "to open exclusively needs the right `write`");
        else if (access_hides(&sessions->config->access, credentials, request->session, request->backend))
                unseen_refuse(request, sessions, begun_ms, create);
        else
                answer_error(request, WIRE_DENIED,
                             "the access rules and the owner of the session do not allow this `open`");
}

bool open_has_room(struct request *request, const struct client *client, const struct storage *storage)
{
        char why[USER_WHY_BYTES];

        if (user_may_open(client->user, access_has_all(&client->credentials), storage->backend->n_descriptors,
                          why))
                return true;
        answer_error(request, WIRE_OVERLOADED, "%s", why);
        return false;
}
