/*
 * Open sessions are in the table, with their owners. For stored ones a job asks each backend, through its own
 * gate: one that waits for its server delays this `open` for a moment, and nobody else.
 */

#include "elsewhere.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../proto/message.h"
#include "../config/config.h"

enum { LOOK_MS = 200 };

struct look {
        struct job job;
        struct link link; /* session->looks; nowhere: nobody waits for it any more */
        struct session *session;
        const struct storage *storage;
        struct twin twin;
        bool is_stored;
        struct slice name;
        char text[]; /* of the name */
};

/* ---- on a worker ---- */

/* The backend asks this before it takes the session. It is not to be taken. */
static bool note(void *arg, const char *owner)
{
        struct look *look = arg;

        look->is_stored = true;
        snprintf(look->twin.owner.text, sizeof(look->twin.owner.text), "%s", owner);
        return false;
}

static void ask_by_open(struct look *look)
{
        const struct open_options options = { .name = look->name, .may = note, .may_arg = look };
        struct backend_session *none;
        struct opened opened;
        struct fault ignored;

        opened_init(&opened);
        look->storage->backend->open(look->storage->env, &options, &none, &opened, &ignored);
        opened_deinit(&opened);
}

static void look_run(struct job *job)
{
        struct look *look = (struct look *)job;
        const struct backend *backend = look->storage->backend;
        struct fault ignored;

        if (backend->owner)
                look->is_stored =
                        backend->owner(look->storage->env, look->name, look->twin.owner.text, &ignored) == 0;
        else
                ask_by_open(look);
        if (look->is_stored)
                owner_look_up(&look->twin.owner);
}

/* ---- on the loop ---- */

static void add(struct session *session, const struct twin *twin)
{
        struct twin *twins = reallocarray(session->twins, session->n_twins + 1, sizeof(*twins));

        if (!twins)
                return;
        session->twins = twins;
        twins[session->n_twins++] = *twin;
}

static void look_done(struct job *job)
{
        struct look *look = (struct look *)job;
        struct session *session = look->session;
        bool is_wanted = !link_empty(&look->link);

        link_remove(&look->link);
        if (is_wanted && look->is_stored)
                add(session, &look->twin);
        if (is_wanted && link_empty(&session->looks)) {
                timer_stop(session->sessions->timers, &session->looked);
                session_wake(session);
                session->sessions->advance(session->sessions);
        }
        free(look);
}

static void on_late(struct timer *timer)
{
        struct session *session = LINK_OF(timer, struct session, looked);

        while (!link_empty(&session->looks))
                link_remove(session->looks.next);
        session_wake(session);
}

static void look_for(struct session *session, struct storage *storage)
{
        struct look *look = calloc(1, sizeof(*look) + session->name.len);

        if (!look)
                return;
        memcpy(look->text, session->name.data, session->name.len);
        look->name = (struct slice){ look->text, session->name.len };
        look->session = session;
        look->storage = storage;
        look->twin.backend = storage->backend->name;
        link_append(&session->looks, &look->link);
        store_submit(session->sessions->store, &storage->opens, session->job_uid, &look->job, look_run,
                     look_done);
}

void elsewhere_start(struct session *session)
{
        struct sessions *sessions = session->sessions;

        for (size_t i = 0; i < sessions->storages->n; i++) {
                struct storage *storage = &sessions->storages->all[i];
                const struct session *open = sessions_find(sessions, storage, session->name);

                if (!storage->env || storage == session->storage)
                        continue;
                if (open && open->state == SESSION_OPEN)
                        add(session,
                            &(struct twin){ .backend = storage->backend->name, .owner = open->owner });
                else if (storage->backend->owns)
                        look_for(session, storage);
        }
        if (!link_empty(&session->looks))
                timer_start(sessions->timers, &session->looked, LOOK_MS, on_late);
}

bool elsewhere_is_over(const struct session *session)
{
        return link_empty(&session->looks) || session->sessions->stopping;
}

/* ---- the answer ---- */

static bool may_open(const struct session *session, const struct credentials *credentials,
                     const struct twin *twin)
{
        return owner_rights(&session->sessions->config->access, credentials, session->name, twin->backend,
                            &twin->owner) &
               RIGHT_READ;
}

uint32_t elsewhere_count(const struct session *session, const struct credentials *credentials)
{
        uint32_t n = 0;

        for (size_t i = 0; i < session->n_twins; i++)
                n += may_open(session, credentials, &session->twins[i]);
        return n;
}

void elsewhere_pack(const struct session *session, const struct credentials *credentials, struct buffer *out)
{
        pack_array(out, elsewhere_count(session, credentials));
        for (size_t i = 0; i < session->n_twins; i++)
                if (may_open(session, credentials, &session->twins[i]))
                        pack_cstr(out, session->twins[i].backend);
}
