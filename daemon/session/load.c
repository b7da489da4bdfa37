/* Each job here takes a session from the backend or gives it back. The session has no other job meanwhile. */

#include "load.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/hidden.h"
#include "ending.h"
#include "lent.h"
#include "queue.h"

/* ---- load ---- */

struct load {
        struct session_task task;
        struct open_options options;
        char dialect[PEER_TYPE_MAX_BYTES];
        struct backend_session *stored;
        struct opened opened;
        struct load_asker asker;
        struct credentials credentials;
        struct owner owner;
        bool owner_known;
        unsigned rights; /* of who asks: by the rules, and by the owner when it is known */
        int error;
        struct fault fault;
        loaded_fn loaded;
        gid_t gids[]; /* of the credentials */
};

/* On a worker. */
static bool may(void *arg, const char *text)
{
        struct load *load = arg;
        const struct load_asker *asker = &load->asker;

        snprintf(load->owner.text, sizeof(load->owner.text), "%s", text);
        owner_look_up(&load->owner);
        load->owner_known = true;
        load->rights = owner_adds(asker->by_rules, asker->has_rules, &load->credentials, &load->owner);
        if (load->options.seal && !(load->rights & RIGHT_WRITE))
                return false; /* once more, without */
        return (load->rights & asker->needs) == asker->needs;
}

/* The open has failed before the owner was read: only who has a right is told why. */
static void find_owner(struct load *load, const struct storage *storage)
{
        char text[OWNER_TEXT_BYTES] = "";
        struct fault ignored;

        if (!load->owner_known && storage->backend->owner &&
            storage->backend->owner(storage->env, load->options.name, text, &ignored) == 0)
                may(load, text);
}

static void open_once(struct load *load, const struct storage *storage)
{
        load->error = storage->backend->open(storage->env, &load->options, &load->stored, &load->opened,
                                             &load->fault);
        if (load->error && load->error != BACKEND_E_NOT_FOUND)
                find_owner(load, storage);
}

static void open_stored(struct load *load, const struct storage *storage)
{
        open_once(load, storage);
        if (load->error && load->error != BACKEND_E_NOT_FOUND && load->options.seal &&
            !(load->rights & RIGHT_WRITE)) { /* it is not for him to seal it */
                load->options.seal = false;
                opened_deinit(&load->opened);
                opened_init(&load->opened);
                open_once(load, storage);
        }
}

static void load_run(struct job *job)
{
        struct load *load = (struct load *)job;
        const struct storage *storage = load->task.session->storage;
        bool creates = load->options.create;

        if (atomic_load(&load->task.session->sessions->stopping)) {
                /* Thousands may wait: to load each, and close it again, takes seconds. */
                load->error = fault_set(&load->fault, BACKEND_E_UNAVAILABLE, "the daemon is ending");
                return;
        }
        if (!storage->backend->owns || !creates) {
                open_stored(load, storage);
        } else {
                /* The user's name is looked up only for a session that is made: that may take long. */
                load->options.create = false;
                open_stored(load, storage);
                if (load->error == BACKEND_E_NOT_FOUND) {
                        load->options.create = true;
                        owner_name(load->credentials.uid, load->owner.text);
                        load->options.owner = slice_of(load->owner.text);
                        open_stored(load, storage);
                }
        }
        hidden_put(&load->opened.identity);
        if (load->error)
                return;
        if (load->owner_known && strcmp(load->owner.text, load->opened.owner) == 0)
                return;
        memcpy(load->owner.text, load->opened.owner, sizeof(load->owner.text));
        owner_look_up(&load->owner);
}

static void load_finish(struct session_task *task)
{
        struct load *load = (struct load *)task;
        struct session *session = task->session;

        if (load->error) {
                session_move(session, SESSION_CLOSED);
                session_know_owner(session, load->owner_known ? &load->owner : NULL);
        } else {
                session->stored = load->stored;
                session->created_untold = load->opened.created;
                session_take(session, &load->opened);
                session_know_owner(session, &load->owner);
                remembered_load(session, &load->opened);
                lent_keep_all(session, load->opened.lent_ms);
                session_move(session, SESSION_OPEN);
                counters_add(session->sessions->counters, COUNT_SESSIONS_OPENED, 1);
        }
        load->loaded(session, load->error, &load->fault);
        opened_deinit(&load->opened);
        free(load);
}

bool load_start(struct session *session, const struct load_asker *asker, loaded_fn loaded)
{
        size_t gids_bytes = asker->credentials->n_gids * sizeof(gid_t);
        struct load *load = calloc(1, sizeof(*load) + gids_bytes);
        struct slice dialect = asker->dialect;
        struct cache *cache =
                cache_new(session->sessions->cache_pool, asker->credentials->uid, queue_dirty, session);

        if (!load || !cache) {
                free(load);
                if (cache)
                        cache_drop(cache);
                return false;
        }
        assert(dialect.len <= sizeof(load->dialect));
        session->cache = cache;
        memcpy(load->gids, asker->credentials->gids, gids_bytes);
        load->asker = *asker;
        load->rights = asker->by_rules;
        load->credentials = *asker->credentials;
        load->credentials.gids = load->gids;
        load->credentials.names = NULL; /* the loop's */
        load->options = (struct open_options){
                .name = session->name,
                .create = asker->create,
                .seal = asker->seal,
                .may = session->storage->backend->owns ? may : NULL,
                .may_arg = load,
        };
        if (dialect.data) {
                memcpy(load->dialect, dialect.data, dialect.len);
                load->options.dialect = (struct slice){ load->dialect, dialect.len };
        }
        load->loaded = loaded;
        session->uid = session->job_uid = load->credentials.uid;
        session_know_owner(session, NULL);
        opened_init(&load->opened);
        session_move(session, SESSION_LOADING);
        session_start_task(session, &load->task, load_run, load_finish,
                           timers_now(session->sessions->timers));
        return true;
}

/* ---- confirm ---- */

struct confirm {
        struct session_task task;
        struct opened opened;
        struct owner owner; /* a change of it may have had an unknown outcome */
        int error;
        struct fault fault;
};

static void confirm_run(struct job *job)
{
        struct confirm *confirm = (struct confirm *)job;
        const struct backend *backend = confirm->task.session->storage->backend;

        confirm->error = backend->confirm(confirm->task.stored, &confirm->opened, &confirm->fault);
        hidden_put(&confirm->opened.identity);
        memcpy(confirm->owner.text, confirm->opened.owner, sizeof(confirm->owner.text));
        owner_look_up(&confirm->owner);
}

static void confirm_finish(struct session_task *task)
{
        struct confirm *confirm = (struct confirm *)task;
        struct session *session = task->session;

        if (confirm->error == 0) {
                session_take(session, &confirm->opened);
                session->in_doubt = false;
                session_set_owner(session, &confirm->owner);
        } else if (confirm->error == BACKEND_E_FENCED) {
                session_fenced(session, confirm->fault.text);
        } else {
                lanes_fail(session, wire_error_of(confirm->error), confirm->fault.text);
        }
        opened_deinit(&confirm->opened);
        free(confirm);
}

void confirm_start(struct session *session)
{
        struct confirm *confirm = calloc(1, sizeof(*confirm));

        assert(session->state == SESSION_OPEN && session->in_doubt);
        if (!confirm) {
                session_wake_later(session);
                return;
        }
        session->confirm_wanted = false;
        opened_init(&confirm->opened);
        session_start_task(session, &confirm->task, confirm_run, confirm_finish, lanes_oldest_ms(session));
}

/* ---- close ---- */

struct closing {
        struct session_task task;
        bool leave;
        int error;
        struct fault fault;
};

static void close_run(struct job *job)
{
        struct closing *closing = (struct closing *)job;

        const struct backend *backend = closing->task.session->storage->backend;

        if (closing->leave)
                backend->leave(closing->task.stored);
        else
                closing->error = backend->close(closing->task.stored, &closing->fault);
}

static void close_finish(struct session_task *task)
{
        struct closing *closing = (struct closing *)task;
        struct session *session = task->session;
        char what[SESSION_TEXT_BYTES];

        session_describe(session, what);
        if (closing->error)
                log_write_for(
                        session->sessions->log, session->uid, LOG_WARNING,
                        "%s was not closed in order: %s; %zu answered writes may be lost in a power cut",
                        what, closing->fault.text, session->n_unsynced);
        else
                log_write_for(session->sessions->log, session->uid, LOG_INFO, "%s closed", what);
        free(closing);
        session_move(session, SESSION_CLOSED);
}

void close_start(struct session *session)
{
        struct closing *closing = calloc(1, sizeof(*closing));

        assert(session->state == SESSION_ENDING && lanes_empty(session));
        if (!closing) {
                session_wake_later(session);
                return;
        }
        closing->task.writes = true;
        closing->leave =
                session->sessions->stopping && session->storage->backend->leave && lent_left_ms(session) > 0;
        session_move(session, SESSION_CLOSING);
        session_start_task(session, &closing->task, close_run, close_finish,
                           timers_now(session->sessions->timers));
}
