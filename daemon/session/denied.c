/* A refusal that waits has a copy of the session's name, for the audit line: there may be no such session. */

#include "denied.h"

#include <stdlib.h>
#include <string.h>

#include "../base/clock.h"

/* ---- whether it is allowed ---- */

bool open_knows_owner(const struct session *session)
{
        return !session->storage->backend->owns || session->owner_known;
}

unsigned open_rights(const struct session *session, const struct credentials *credentials)
{
        const struct access *access = &session->sessions->config->access;
        const char *backend = session->storage->backend->name;

        return open_knows_owner(session)
                       ? owner_rights(access, credentials, session->name, backend, &session->owner)
                       : access_rights(access, credentials, session->name, backend);
}

bool open_suffices(unsigned rights, bool exclusive)
{
        return rights & RIGHT_READ && (!exclusive || rights & RIGHT_WRITE);
}

bool open_has_room(struct request *request, const struct client *client, const struct storage *storage)
{
        char why[USER_WHY_BYTES];

        if (user_may_open(client->user, client->credentials.has_all, storage->backend->n_descriptors, why))
                return true;
        answer_error(request, WIRE_OVERLOADED, "%s", why);
        return false;
}

void deny_create(struct request *request)
{
        answer_error(request, WIRE_DENIED, "creating a session needs the right `write`");
}

/* ---- a session that he does not see ---- */

enum { UNSEEN_MS = 100 }; /* longer than it takes to read an owner from a disk or a near server */

struct unseen {
        struct link link; /* sessions->unseen */
        struct sessions *sessions;
        struct request request;
        struct timer timer;
        bool create;
        char name[];
};

static void refuse(struct request *request, bool create)
{
        request->audited.is_hidden = true;
        if (create)
                deny_create(request);
        else
                answer_error(request, WIRE_NOT_FOUND, "there is no session of this name");
}

static void end(struct unseen *unseen)
{
        struct timers *timers = unseen->sessions->timers;

        timer_stop(timers, &unseen->timer);
        timers_release(timers, 1);
        link_remove(&unseen->link);
        refuse(&unseen->request, unseen->create);
        free(unseen);
}

static void on_due(struct timer *timer)
{
        end(LINK_OF(timer, struct unseen, timer));
}

static void refuse_later(struct request *request, struct sessions *sessions, int64_t begun_ms, bool create)
{
        const int64_t left_ms = UNSEEN_MS - (boot_now_ms() - begun_ms);
        const struct slice name = request->session;
        struct unseen *unseen = NULL;
        struct request taken;

        if (left_ms > 0 && request->connection && !sessions->stopping)
                unseen = calloc(1, sizeof(*unseen) + name.len);
        if (!unseen || !timers_reserve(sessions->timers, 1)) {
                free(unseen);
                refuse(request, create);
                return;
        }
        unseen->sessions = sessions;
        unseen->create = create;
        memcpy(unseen->name, name.data, name.len);
        request_take(request, &taken);
        taken.session = (struct slice){ unseen->name, name.len };
        request_defer(&taken, &unseen->request, sizeof(*unseen) + name.len);
        link_append(&sessions->unseen, &unseen->link);
        timer_start(sessions->timers, &unseen->timer, (uint64_t)left_ms, on_due);
}

void denied_stop(struct sessions *sessions)
{
        while (!link_empty(&sessions->unseen))
                end(LINK_OF(sessions->unseen.next, struct unseen, link));
}

/* ---- any session ---- */

void deny_open(struct request *request, struct sessions *sessions, const struct credentials *credentials,
               unsigned rights, int64_t begun_ms, bool create)
{
        if (rights & RIGHT_READ)
                answer_error(request, WIRE_DENIED, "to open exclusively needs the right `write`");
        else if (access_hides(&sessions->config->access, credentials, request->session, request->backend))
                refuse_later(request, sessions, begun_ms, create);
        else
                answer_error(request, WIRE_DENIED,
                             "the access rules and the owner of the session do not allow this `open`");
}

bool open_is_permitted(struct client *client, struct request *request, struct sessions *sessions,
                       const struct storage *storage, bool exclusive, bool create, unsigned *rights)
{
        const struct session *session = sessions_find(sessions, storage, request->session);

        if (session)
                *rights = open_rights(session, &client->credentials);
        else
                *rights = access_rights(&sessions->config->access, &client->credentials, request->session,
                                        request->backend);
        if (open_suffices(*rights, exclusive))
                return true;
        if (storage->backend->owns && !(session && open_knows_owner(session)))
                return true; /* he may be the owner: that is known when it is loaded */
        /* As if it had to be loaded: where it is not there, it would be. */
        if (*rights & RIGHT_READ || open_has_room(request, client, storage))
                deny_open(request, sessions, &client->credentials, *rights, boot_now_ms(), create);
        return false;
}
