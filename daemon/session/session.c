/*
 * Sessions are in a list and in a tree by storage and name. The tree (tsearch) is balanced: clients choose
 * the names, but cannot make it slow.
 */

#include "session.h"

#include <assert.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SESSION_TIMERS = 7, RETRY_MS = 100 };

/* ---- the table ---- */

static int compare(const void *a, const void *b)
{
        const struct session *left = a, *right = b;

        if (left->storage != right->storage)
                return left->storage < right->storage ? -1 : 1;
        return slice_compare(left->name, right->name);
}

struct session *sessions_find(struct sessions *sessions, const struct storage *storage, struct slice name)
{
        const struct session key = { .storage = (struct storage *)storage, .name = name };
        void *node = tfind(&key, &sessions->tree, compare);

        return node ? *(struct session **)node : NULL;
}

void session_count_for(struct session *session, struct user *user)
{
        const size_t descriptors = session->storage->backend->n_descriptors;
        struct user *former = session->user;

        if (former == user)
                return;
        session->user = user;
        user_add_session(user, descriptors);
        if (former)
                user_remove_session(former, descriptors);
}

struct session *session_new(struct sessions *sessions, struct storage *storage, struct slice name,
                            struct user *user)
{
        struct session *session = calloc(1, sizeof(*session));
        char *copy = malloc(name.len + 1);

        if (!session || !copy || !timers_reserve(sessions->timers, SESSION_TIMERS)) {
                free(session);
                free(copy);
                return NULL;
        }
        memcpy(copy, name.data, name.len);
        copy[name.len] = '\0';
        session->sessions = sessions;
        session->storage = storage;
        session->name = (struct slice){ copy, name.len };
        identity_init(&session->identity);
        link_init(&session->woken);
        link_init(&session->turn);
        link_init(&session->handles);
        link_init(&session->writers);
        session->told = &session->handles;
        link_init(&session->openings);
        link_init(&session->looks);
        link_init(&session->held);
        link_init(&session->untidy);
        link_init(&session->lanes);
        link_init(&session->loans);
        link_init(&session->late);
        if (!tsearch(session, &sessions->tree, compare)) {
                timers_release(sessions->timers, SESSION_TIMERS);
                free(session);
                free(copy);
                return NULL;
        }
        session_count_for(session, user);
        link_append(&sessions->list, &session->link);
        sessions->count++;
        session_wake(session);
        return session;
}

static void unload(struct session *session)
{
        struct timers *timers = session->sessions->timers;

        timer_stop(timers, &session->idle);
        timer_stop(timers, &session->retry);
        timer_stop(timers, &session->fsync);
        timer_stop(timers, &session->suspend);
        timer_stop(timers, &session->deadline);
        timer_stop(timers, &session->looked);
        while (!link_empty(&session->looks))
                link_remove(session->looks.next);
        free(session->twins);
        session->twins = NULL;
        session->n_twins = 0;
        identity_wipe(&session->identity);
        states_clear(&session->states);
        for (int names = 0; names < 2; names++) {
                free(session->dirty[names]);
                session->dirty[names] = NULL;
                session->n_dirty[names] = session->dirty_cap[names] = 0;
        }
        if (session->cache)
                cache_drop(session->cache);
        session->cache = NULL;
        remembered_close(session);
        session->stored = NULL;
        session->close_wanted = session->in_doubt = session->confirm_wanted = false;
        session->sync_wanted = session->created_untold = false;
        session->n_unsynced = session->n_refused = 0;
        session->sessions->n_outages -= session->outage_since != 0;
        session->outage_since = 0;
        session->suspended = false;
        free(session->outage_why);
        session->outage_why = NULL;
        free(session->ending.text);
        session->ending = (struct ending){ .is_told = false };
        session->linger_ms = 0;
        session_know_owner(session, NULL);
}

/* renew.c goes on behind it. */
static void leave_list(struct session *session)
{
        struct sessions *sessions = session->sessions;

        if (sessions->renewed == &session->link) {
                sessions->renewed = session->link.next;
                sessions->renewed_handle = NULL;
        }
        link_remove(&session->link);
}

void session_free(struct session *session)
{
        struct sessions *sessions = session->sessions;

        assert(session->state == SESSION_CLOSED && !session->busy && !session->held_by);
        assert(link_empty(&session->handles) && link_empty(&session->openings) &&
               !session->lanes_of_clients && link_empty(&session->lanes) && link_empty(&session->loans) &&
               link_empty(&session->late));
        unload(session);
        timers_release(sessions->timers, SESSION_TIMERS);
        tdelete(session, &sessions->tree, compare);
        leave_list(session);
        link_remove(&session->woken);
        link_remove(&session->turn);
        link_remove(&session->untidy);
        sessions->count--;
        user_remove_session(session->user, session->storage->backend->n_descriptors);
        free((char *)session->name.data);
        free(session);
}

static bool is_plain(struct slice name)
{
        static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+.@#%=~";

        for (size_t i = 0; i < name.len; i++)
                if (!memchr(plain, name.data[i], sizeof(plain) - 1))
                        return false;
        return true;
}

const char *session_describe(const struct session *session, char text[SESSION_TEXT_BYTES])
{
        const char *mark = is_plain(session->name) ? "" : "\"";
        char name[2 * NAME_MAX_BYTES];

        utf8_quote(session->name, *mark, name, sizeof(name));
        snprintf(text, SESSION_TEXT_BYTES, "session %s%s%s (%s)", mark, name, mark,
                 session->storage->backend->name);
        return text;
}

const char *session_ending_text(const struct session *session)
{
        return session->ending.text ? session->ending.text : "the session has ended";
}

/* ---- owners ---- */

void session_know_owner(struct session *session, const struct owner *owner)
{
        session->owner_known = owner;
        session->owner = owner ? *owner : (struct owner){ .has_user = false };
        session->n_owners++;
        session->owner_is_new = false;
}

void session_set_owner(struct session *session, const struct owner *owner)
{
        struct sessions *sessions = session->sessions;

        session_know_owner(session, owner);
        session->owner_is_new = true;
        leave_list(session); /* at its end it comes once more, wherever renew.c is */
        if (!sessions->renewed || sessions->renewed == &sessions->list)
                sessions->renewed = &session->link;
        link_append(&sessions->list, &session->link);
}

void sessions_renew(struct sessions *sessions)
{
        sessions->renewed = sessions->list.next;
        sessions->renewed_handle = NULL;
}

/* ---- states ---- */

#define TO(state) (1u << SESSION_##state)

static const unsigned may_follow[SESSION_STATES] = {
        [SESSION_CLOSED] = TO(LOADING),           [SESSION_LOADING] = TO(OPEN) | TO(CLOSED),
        [SESSION_OPEN] = TO(ENDING) | TO(CLOSED), [SESSION_ENDING] = TO(CLOSING) | TO(CLOSED),
        [SESSION_CLOSING] = TO(CLOSED),
};

void session_move(struct session *session, enum session_state state)
{
        assert(may_follow[session->state] & 1u << state);
        assert(!session->busy);
        if (session->storage->backend->lease) {
                session->sessions->n_leased -= session->state != SESSION_CLOSED;
                session->sessions->n_leased += state != SESSION_CLOSED;
        }
        session->state = state;
        if (state == SESSION_CLOSED) {
                assert(link_empty(&session->handles));
                unload(session);
        }
        session_wake(session);
}

void session_wake(struct session *session)
{
        if (link_empty(&session->woken))
                link_append(&session->sessions->woken, &session->woken);
}

static void on_retry(struct timer *timer)
{
        session_wake(LINK_OF(timer, struct session, retry));
}

void session_wake_later(struct session *session)
{
        timer_start(session->sessions->timers, &session->retry, RETRY_MS, on_retry);
}

void session_take(struct session *session, struct opened *opened)
{
        identity_wipe(&session->identity);
        session->identity = opened->identity; /* with all it owns */
        identity_init(&opened->identity);
        states_clear(&session->states);
        session->states = (struct states){ opened->states, opened->n_states, opened->n_states };
        opened->states = NULL;
        session->dialect = opened->dialect;
        session->version = opened->version;
        session->fence = opened->fence;
        session->keeps_address = opened->keeps_address;
}

bool session_is_ours(const struct session *session)
{
        const struct backend *backend = session->storage->backend;

        return !backend->lease || !session->stored || backend->lease(session->stored) > 0;
}

bool storage_is_drained(const struct sessions *sessions, const struct storage *storage)
{
        return sessions->draining && storage->backend->lease;
}

int64_t session_lease_ms(const struct session *session)
{
        int64_t left_ms = session->stored ? session->storage->backend->lease(session->stored) : 0;

        return left_ms > 0 ? left_ms : 0;
}

/* ---- jobs ---- */

/* A load waits for its turn while others are loaded: its time begins then. 0: it is over. */
static uint64_t left_of_turn(const struct session *session)
{
        uint64_t now = timers_now(session->sessions->timers), begun = session->task->job.begun_ms;
        uint64_t end = (begun ? begun : now) + session->storage->backend->deadline_ms;

        return end > now ? end - now : 0;
}

static void on_deadline(struct timer *timer)
{
        struct session *session = LINK_OF(timer, struct session, deadline);
        uint64_t more_ms = left_of_turn(session);
        char what[SESSION_TEXT_BYTES];

        assert(session->busy);
        if (session->state == SESSION_LOADING && more_ms > 0) {
                timer_start(session->sessions->timers, timer, more_ms, on_deadline);
                return;
        }
        session->overdue = true;
        log_write_for(session->sessions->log, session->uid, LOG_WARNING,
                      "%s: the backend has not answered in time", session_describe(session, what));
        session_wake(session);
}

static void settle(struct session_task *task)
{
        struct session *session = task->session;
        struct sessions *sessions = session->sessions;

        session->settling = task->settle && !task->settle(task);
        if (session->settling) {
                session_wait_turn(session);
                return;
        }
        session->busy = false;
        session->task = NULL;
        session_wake(session);
        task->finish(task);
        sessions->advance(sessions);
}

static void on_done(struct job *job)
{
        struct session_task *task = (struct session_task *)job;
        struct session *session = task->session;

        timer_stop(session->sessions->timers, &session->deadline);
        session->overdue = session->overdue_told = false;
        settle(task);
}

void session_wait_turn(struct session *session)
{
        if (!link_empty(&session->turn))
                return;
        counters_add(session->sessions->counters, COUNT_SLICES, 1);
        link_append(&session->sessions->turns, &session->turn);
}

bool sessions_next_turn(struct sessions *sessions)
{
        sessions->n_answered = 0; /* whatever messages have used: one that waits goes on in each turn */
        if (!link_empty(&sessions->turns)) {
                struct session *session = LINK_OF(sessions->turns.next, struct session, turn);

                link_remove(&session->turn);
                session_wake(session);
                if (session->settling)
                        settle(session->task);
        }
        return !link_empty(&sessions->turns);
}

static struct gate *gate_of(const struct session *session, const struct session_task *task)
{
        struct storage *storage = session->storage;

        if (session->state == SESSION_LOADING)
                return &storage->opens;
        if (storage->opens.aside && (session->state == SESSION_CLOSING || task->deletes))
                return &storage->opens;
        if (task->looks)
                return &session->sessions->looks;
        if (task->is_long && storage->lists.max)
                return &storage->lists;
        return task->writes && storage->writes.max ? &storage->writes : &storage->jobs;
}

void session_start_task(struct session *session, struct session_task *task, job_fn run,
                        void (*finish)(struct session_task *task), uint64_t since_ms)
{
        struct sessions *sessions = session->sessions;
        uint64_t now = timers_now(sessions->timers), deadline_ms = session->storage->backend->deadline_ms;

        assert(!session->busy && session->state != SESSION_CLOSED && session->state != SESSION_ENDING);
        session->busy = true;
        session->task = task;
        task->session = session;
        task->stored = session->stored;
        task->finish = finish;
        if (deadline_ms)
                timer_start(sessions->timers, &session->deadline,
                            since_ms + deadline_ms > now ? since_ms + deadline_ms - now : 0, on_deadline);
        store_submit(sessions->store, gate_of(session, task), session->job_uid, &task->job, run, on_done);
}
