/* What is hidden has one answer, so that it tells nothing. */

#include "denied.h"

void deny_create(struct request *request)
{
        answer_error(request, WIRE_DENIED, "creating a session needs the right `write`");
}

static void hide(struct request *request, bool create)
{
        request->audited.is_hidden = true;
        if (create)
                deny_create(request);
        else
                answer_error(request, WIRE_NOT_FOUND, "there is no session of this name");
}

void deny_open(struct request *request, const struct access *access, const struct credentials *credentials,
               unsigned rights, bool create)
{
        if (rights & RIGHT_READ)
                answer_error(request, WIRE_DENIED, "to open exclusively needs the right `write`");
        else if (access_hides(access, credentials, request->session, request->backend))
                hide(request, create);
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
