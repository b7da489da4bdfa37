/*
 * One session. Its document in the collection `session` names the owning instance and a fence. A daemon takes
 * the session by compare-and-swap on both. Fences rise even if the document is deleted and created again:
 * fence.c.
 */

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../dialect.h"
#include "fence.h"
#include "instance.h"
#include "look.h"
#include "release.h"
#include "rival.h"
#include "sealed.h"
#include "session.h"

enum { TAKE_ROUNDS_MAX = 8 }; /* other daemons may be taking the session at the same time */

static void enter_phase(struct backend_session *session, enum mongo_phase phase)
{
        static const unsigned from[] = {
                [MONGO_NEW] = 0,
                [MONGO_OWNED] = 1u << MONGO_NEW | 1u << MONGO_OWNED,
                [MONGO_ENDED] = 1u << MONGO_NEW | 1u << MONGO_OWNED,
        };

        assert(from[phase] & 1u << session->phase);
        session->phase = phase;
}

/* ---- the document ---- */

/* `null` also matches a missing field. */
static void append_seen(bson_t *filter, const char *key, const char *text)
{
        mongo_append_text(filter, key, *text ? slice_of(text) : SLICE_NONE);
}

void mongo_append_held(bson_t *filter, const struct mongo_held *held)
{
        append_seen(filter, MONGO_OWNER, held->owner);
        if (held->fence) {
                BSON_APPEND_INT64(filter, MONGO_FENCE, held->fence);
        } else { /* not one that was created since the look: locate.c */
                BSON_APPEND_NULL(filter, MONGO_FENCE);
                append_seen(filter, MONGO_BORN, held->born);
        }
}

void mongo_append_owned(bson_t *filter, const char *owner, int64_t fence)
{
        BCON_APPEND(filter, MONGO_OWNER, BCON_UTF8(owner), MONGO_FENCE, BCON_INT64(fence));
}

enum reading {
        READ_NEWEST,   /* enough to find that the session is ours, or may be taken: a swap decides */
        READ_MAJORITY, /* to find that it is not ours: that cannot be rolled back */
};

static int look(struct backend_session *session, mongoc_client_t *client, enum reading reading,
                struct mongo_held *held, struct fault *fault)
{
        MONGO_COLLECTION collection = mongo_place_collection(client, &session->place, "session");
        MONGO_BSON filter = bson_new();
        MONGO_BSON options = BCON_NEW(
                "projection", "{", MONGO_OWNER, BCON_INT32(1), MONGO_FENCE, BCON_INT32(1), MONGO_TERM,
                BCON_INT32(1), MONGO_SINCE, BCON_INT32(1), MONGO_INDEXED, BCON_INT32(1), MONGO_FRESH,
                BCON_INT32(1), MONGO_BORN, BCON_INT32(1), "auth_key", BCON_INT32(1), MONGO_SESSION_ID,
                BCON_INT32(1), MONGO_SEALED, BCON_INT32(1), MONGO_USER, BCON_INT32(1), "}");
        mongoc_cursor_t *cursor;
        const bson_t *document;
        bson_error_t error;
        int result = 0;

        *held = (struct mongo_held){ 0 };
        mongo_place_append_session(filter, &session->place);
        if (reading == READ_MAJORITY)
                BCON_APPEND(options, MONGO_READ_MAJORITY);
        cursor = mongoc_collection_find_with_opts(collection, filter, options, NULL);
        if (mongoc_cursor_next(cursor, &document)) {
                held->exists = true;
                held->fence = mongo_number_of(document, MONGO_FENCE, 0);
                held->term_ms = mongo_number_of(document, MONGO_TERM, session->env->term_ms);
                held->since = mongo_number_of(document, MONGO_SINCE, 0);
                held->indexed = mongo_number_of(document, MONGO_INDEXED, 0) != 0;
                held->seal = mongo_seal_of(document);
                mongo_user_of(document, held->user);
                mongo_copy_text(document, MONGO_OWNER, held->owner, sizeof(held->owner));
                mongo_copy_text(document, MONGO_BORN, held->born, sizeof(held->born));
                held->bare = !held->owner[0] && !held->fence && mongo_number_of(document, MONGO_FRESH, 0);
        } else if (mongoc_cursor_error(cursor, &error)) {
                result = mongo_fault(session->env, session->name, &error, fault);
        }
        mongoc_cursor_destroy(cursor);
        return result;
}

int mongo_session_look(struct backend_session *session, mongoc_client_t *client, struct mongo_held *held,
                       struct fault *fault)
{
        return look(session, client, READ_NEWEST, held, fault);
}

/* ---- taking ---- */

/* Is the document this daemon's now? Then no other changes its identity: reads it. 1: it has another owner.
 * It is the first look at it. */
static int begin(struct backend_session *session, mongoc_client_t *client, const struct mongo_term *term,
                 struct opened *opened, struct fault *fault)
{
        MONGO_COLLECTION collection = mongo_place_collection(client, &session->place, "session");
        MONGO_BSON filter = bson_new();
        mongoc_cursor_t *cursor;
        const bson_t *document;
        bson_error_t error;
        int64_t since_ms = mongo_boot_ms();
        int result = 1;

        mongo_place_append_session(filter, &session->place);
        mongo_append_owned(filter, session->tried_owner, session->tried_fence);
        cursor = mongoc_collection_find_with_opts(collection, filter, NULL, NULL);
        if (mongoc_cursor_next(cursor, &document)) {
                mongo_identity_read(document, &opened->identity, &session->fresh);
                mongo_user_of(document, opened->owner);
                memcpy(session->owner, term->id, sizeof(session->owner));
                session->fence = session->tried_fence;
                session->kv.is_known = false; /* writes with the former fence may have landed since */
                memset(session->kv.values_by, 0, sizeof(session->kv.values_by));
                session->kv.is_mixed = mongo_number_of(document, MONGO_KV_MIXED, 0) != 0;
                atomic_store(&session->epoch, term->epoch);
                enter_phase(session, MONGO_OWNED);
                session->tried_owner[0] = '\0';
                mongo_looked_is_ours(session->env->looks, session, since_ms);
                result = mongo_seal_read(session, document, &opened->identity, fault);
        } else if (mongoc_cursor_error(cursor, &error)) {
                result = mongo_fault(session->env, session->name, &error, fault);
        }
        mongoc_cursor_destroy(cursor);
        return result;
}

/*
 * Makes this daemon the document's owner. 1: the document has changed. The identity is read afterwards:
 * SecantusDB reads a whole collection for a findAndModify, and in the shared layout that is all sessions.
 */
static int swap(struct backend_session *session, mongoc_client_t *client, const struct mongo_held *held,
                const struct mongo_term *term, int64_t fence, struct opened *opened, struct fault *fault)
{
        MONGO_COLLECTION collection = mongo_place_collection(client, &session->place, "session");
        MONGO_BSON filter = bson_new();
        MONGO_BSON update =
                BCON_NEW("$set", "{", MONGO_OWNER, BCON_UTF8(term->id), MONGO_FENCE, BCON_INT64(fence),
                         MONGO_TERM, BCON_INT64(term->term_ms), MONGO_SINCE, BCON_INT64((int64_t)time(NULL)),
                         MONGO_INDEXED, BCON_BOOL(session->place.layout == MONGO_OWN), "}");
        bson_error_t error;
        bson_t reply;
        int64_t matched;
        int result = 0;

        mongo_place_append_session(filter, &session->place);
        mongo_append_held(filter, held);
        snprintf(session->tried_owner, sizeof(session->tried_owner), "%s", term->id);
        session->tried_fence = fence;
        session->tried_from = *held;
        if (!mongoc_collection_update_one(collection, filter, update, NULL, &reply, &error))
                result = mongo_fault(session->env, session->name, &error, fault);
        matched = mongo_number_of(&reply, "matchedCount", 0);
        bson_destroy(&reply);
        if (result || matched == 0)
                return result ? result : 1;
        result = mongo_fence_note_taken(session, client, fence, fault);
        return result ? result : begin(session, client, term, opened, fault);
}

static struct mongo_seen seen_of(const struct backend_session *session, const struct mongo_held *held)
{
        int64_t term_ms = session->env->term_ms;

        return (struct mongo_seen){ held->owner, held->fence,
                                    held->term_ms > term_ms ? held->term_ms : term_ms };
}

/* Clients of the former start may rely on leases until then, of CLOCK_BOOTTIME. */
static void keep_lent(struct backend_session *session, struct opened *opened, int64_t until_ms)
{
        int64_t now = mongo_boot_ms();

        if (until_ms > session->lent_until_ms)
                session->lent_until_ms = until_ms;
        opened->lent_ms = session->lent_until_ms > now ? session->lent_until_ms - now : 0;
}

/* 0: the session may be taken from its owner. 1: its document has changed. */
static int contend(struct backend_session *session, mongoc_client_t *client, const struct mongo_held *held,
                   struct opened *opened, struct fault *fault)
{
        const struct mongo_owner owner = { held->owner, held->term_ms, held->since };
        const struct mongo_seen seen = seen_of(session, held);
        struct mongo_held again;
        int result = mongo_rivals_contend(session->env->rivals, client, &owner, fault);
        int error;

        if (result == 1) {
                keep_lent(session, opened, mongo_boot_ms() + held->term_ms);
                return 0;
        }
        if (result != BACKEND_E_BUSY)
                return result;
        mongo_fence_watch(session, client, &seen);
        /* A release between the look and the question has been told already: nothing would end the wait. */
        error = mongo_session_look(session, client, &again, fault);
        if (!error && (strcmp(again.owner, held->owner) != 0 || again.fence != held->fence))
                return 1;
        return error ? error : result;
}

/* One round of `open`. 1: the document has changed or was just created, take another round. */
static int take(struct backend_session *session, mongoc_client_t *client, struct opened *opened,
                struct fault *fault)
{
        const struct open_options *options = session->options;
        struct mongo_instance *instance = session->env->instance;
        struct mongo_term term;
        struct mongo_held held;
        struct mongo_seen seen;
        int64_t fence;
        int result = mongo_instance_term(instance, &term, fault);

        if (!result)
                result = mongo_session_locate(session, client, &held, fault);
        if (result)
                return result;
        if (!held.exists) {
                result = mongo_place_check(session, client, fault);
                if (!result && !options->create)
                        result = fault_session(fault, BACKEND_E_NOT_FOUND, session->name,
                                               "there is none in MongoDB");
                if (!result)
                        result = mongo_session_create(session, client, fault);
                opened->created = result == 0; /* if it is also taken */
                return result ? result : 1;
        }
        if (options->may && !options->may(options->may_arg, held.user))
                return fault_session(fault, BACKEND_E_DENIED, session->name, "it belongs to somebody else");
        result = mongo_seal_check(session, &held.seal, session->seal_wanted, fault);
        if (result)
                return result;
        if (held.owner[0] && strcmp(held.owner, term.id) != 0)
                result = contend(session, client, &held, opened, fault);
        else if (held.owner[0]) /* by an `open` that failed afterwards, or it could not be released */
                keep_lent(session, opened,
                          mongo_releases_lent_until_ms(session->env->releases, &session->place));
        seen = seen_of(session, &held);
        if (!result)
                result = mongo_make_indexes(session, client, held.indexed, fault);
        if (!result)
                result = mongo_fence_take(session, client, &seen, &fence, fault);
        return result ? result : swap(session, client, &held, &term, fence, opened, fault);
}

static void fill(const struct backend_session *session, struct opened *opened)
{
        opened->dialect = "mongo";
        opened->version = 1;
        opened->fence = session->fence;
        opened->keeps_address = false;
}

/* Frees the session. If its document names this daemon, or may, the instance's thread releases it. */
static void session_end(struct backend_session *session)
{
        enter_phase(session, MONGO_ENDED);
        if (session->owner[0] || session->tried_owner[0])
                mongo_release_later(session->env->releases, session);
        mongo_looked_end(session->env->looks, session->looked);
        free(session);
}

/* Sessions here have one dialect. A library may name its dialect anyway, and need not know the backend. */
static bool is_dialect(struct slice name)
{
        for (const struct library *library = libraries; library->name; library++)
                if (slice_is(name, library->name))
                        return true;
        return slice_is(name, "mongo");
}

bool mongo_may_open(struct backend_env *env, struct slice name, const struct backend_wait *wait)
{
        struct mongo_place place;

        mongo_place_init(&place, env->layout, env->prefix, name);
        return mongo_rivals_may_open(env->rivals, wait, place.key);
}

int mongo_open(struct backend_env *env, const struct open_options *options, struct backend_session **session,
               struct opened *opened, struct fault *fault)
{
        struct backend_session *fresh;
        struct mongo_term term;
        MONGO_USE use = { 0 };
        int result;

        if (options->dialect.data && !is_dialect(options->dialect))
                return fault_set_dialect(fault, options->dialect);
        fresh = calloc(1, sizeof(*fresh));
        if (!fresh)
                return mongo_no_memory(fault);
        fresh->env = env;
        fresh->options = options;
        fresh->seal_wanted = options->seal;
        memcpy(fresh->name, options->name.data, options->name.len);
        mongo_place_init(&fresh->place, env->layout, env->prefix, options->name);
        fresh->looked = mongo_looked_new(env->looks, fresh->place.key);
        if (!fresh->looked) {
                free(fresh);
                return mongo_no_memory(fault);
        }
        /* Right after the start it waits for the pool. */
        result = mongo_instance_term(env->instance, &term, fault);
        if (!result) {
                use = mongo_use_begin(env, fault);
                result = use.client ? 1 : BACKEND_E_UNAVAILABLE;
        }
        for (int round = 0; result == 1 && round < TAKE_ROUNDS_MAX; round++)
                result = take(fresh, use.client, opened, fault);
        if (result == 1)
                result = fault_session(fault, BACKEND_E_BUSY, fresh->name, "other daemons are taking it");
        if (!result)
                result = mongo_seal_at_open(fresh, use.client, &opened->identity, fault);
        if (!result)
                result = mongo_read_states(fresh, use.client, opened, fault);
        if (result) {
                session_end(fresh);
                return result;
        }
        if (fresh->place.layout != env->layout)
                opened->created = false; /* another daemon has created it in the other layout */
        fill(fresh, opened);
        fresh->options = NULL;
        *session = fresh;
        return 0;
}

/* ---- confirming ---- */

/* The session's document names it no more: why its clients lose it. */
static int fenced(const struct backend_session *session, const struct mongo_held *held, struct fault *fault)
{
        const char *why = !held->exists ? "its document in MongoDB is gone"
                          : held->fence < session->fence
                                  ? "its document in MongoDB was replaced by an older one"
                                  : "another host owns it now";

        return fault_session(fault, BACKEND_E_FENCED, session->name, "%s", why);
}

static bool names(const struct mongo_held *held, const char *owner, int64_t fence)
{
        return strcmp(held->owner, owner) == 0 && held->fence == fence;
}

/*
 * The unanswered swap of a confirmation may have landed or not. The document before it may have the fence of
 * an earlier one.
 */
static bool is_ours(const struct backend_session *session, const struct mongo_held *held)
{
        return names(held, session->owner, session->fence) ||
               (session->tried_owner[0] &&
                (names(held, session->tried_owner, session->tried_fence) ||
                 names(held, session->tried_from.owner, session->tried_from.fence)));
}

/* A document was read that is not ours. That is believed only if the majority has it. */
static int not_ours(struct backend_session *session, mongoc_client_t *client, struct fault *fault)
{
        struct mongo_held held;
        int result = look(session, client, READ_MAJORITY, &held, fault);

        if (result)
                return result;
        if (!is_ours(session, &held))
                return fenced(session, &held, fault);
        return fault_session(fault, BACKEND_E_UNAVAILABLE, session->name,
                             "MongoDB does not agree on its owner yet");
}

int mongo_session_check_owner(struct backend_session *session, mongoc_client_t *client, struct fault *fault)
{
        struct mongo_held held;
        int result = mongo_session_look(session, client, &held, fault);

        if (result)
                return result;
        if (!is_ours(session, &held))
                return not_ours(session, client, fault);
        session->row_fence = mongo_fence_of_rows(session, client);
        if (session->row_fence > MONGO_FENCE_MAX) {
                fault_session(fault, BACKEND_E_CORRUPT, session->name,
                              "a document that the write needs may have the " MONGO_FENCE
                              " %lld, which no daemon has written: set it to 0",
                              (long long)session->row_fence);
                session->row_fence = 0;
                return BACKEND_E_CORRUPT;
        }
        return fault_session(fault, BACKEND_E_UNAVAILABLE, session->name,
                             "documents changed during the write; repeat it");
}

/* 1: the document has changed meanwhile. */
static int confirm_once(struct backend_session *session, mongoc_client_t *client, struct opened *opened,
                        struct fault *fault)
{
        struct mongo_term term;
        struct mongo_held held;
        int64_t fence = session->tried_fence, above;
        int result = mongo_instance_term(session->env->instance, &term, fault);

        if (!result)
                result = mongo_session_look(session, client, &held, fault);
        if (result)
                return result;
        if (!is_ours(session, &held))
                return not_ours(session, client, fault);
        above = held.fence > session->row_fence ? held.fence : session->row_fence;
        /* One that was sent and not answered is sent again: whichever lands, the document is the same. */
        if (strcmp(session->tried_owner, term.id) != 0 || fence <= above)
                result = mongo_fence_next(session, client, above, &fence, fault);
        return result ? result : swap(session, client, &held, &term, fence, opened, fault);
}

/*
 * If this daemon still owns the session, the session gets a new fence: writes whose outcome is unknown may
 * still arrive, and must not replace what is written from now on.
 */
int mongo_confirm(struct backend_session *session, struct opened *opened, struct fault *fault)
{
        MONGO_USE use = mongo_use_begin(session->env, fault);
        int result = use.client ? 1 : BACKEND_E_UNAVAILABLE;

        assert(session->phase == MONGO_OWNED);
        for (int round = 0; result == 1 && round < TAKE_ROUNDS_MAX; round++)
                result = confirm_once(session, use.client, opened, fault);
        if (result == 1)
                result = fault_session(fault, BACKEND_E_UNAVAILABLE, session->name,
                                       "its document keeps changing");
        if (!result)
                result = mongo_read_states(session, use.client, opened, fault);
        if (!result)
                fill(session, opened);
        return result;
}

/* ---- the end ---- */

int mongo_close(struct backend_session *session, struct fault *fault)
{
        MONGO_USE use = mongo_use_begin(session->env, fault);
        bson_error_t error;
        int result = use.client ? 0 : BACKEND_E_UNAVAILABLE;

        assert(session->phase == MONGO_OWNED);
        if (!result && mongo_release(session->env->releases, use.client, &session->place, session->owner,
                                     session->fence, &error))
                result = mongo_fault(session->env, session->name, &error, fault);
        if (!result)
                session->owner[0] = '\0';
        session_end(session);
        return result;
}

/* The document goes on naming this instance. Its data directory's next start takes the session from it. */
void mongo_leave(struct backend_session *session)
{
        mongo_instance_leave(session->env->instance);
        mongo_looks_leave(session->env->looks);
        mongo_looked_end(session->env->looks, session->looked);
        enter_phase(session, MONGO_ENDED);
        free(session);
}

static int remove_all(struct backend_session *session, mongoc_client_t *client, const char *name,
                      struct fault *fault)
{
        MONGO_COLLECTION collection = mongo_place_collection(client, &session->place, name);
        MONGO_BSON filter = bson_new();
        bson_error_t error;

        mongo_place_append_common(filter, &session->place);
        mongo_append_fence(filter, session->fence);
        if (mongoc_collection_delete_many(collection, filter, NULL, NULL, &error))
                return 0;
        return mongo_fault(session->env, session->name, &error, fault);
}

/* The session's document is deleted last: so after a failure `remove` can be repeated. */
int mongo_remove(struct backend_session *session, bool remove_peers, struct fault *fault)
{
        MONGO_USE use = mongo_use_begin(session->env, fault);
        MONGO_COLLECTION collection = NULL;
        MONGO_BSON filter = bson_new();
        bson_error_t error;
        bson_t reply;
        int64_t removed;
        int result = use.client ? 0 : BACKEND_E_UNAVAILABLE;

        assert(session->phase == MONGO_OWNED);
        if (!result && remove_peers)
                result = remove_all(session, use.client, "peers", fault);
        if (!result && remove_peers)
                result = remove_all(session, use.client, "usernames", fault);
        if (!result)
                result = remove_all(session, use.client, "update_state", fault);
        if (!result)
                result = remove_all(session, use.client, MONGO_KV, fault);
        if (!result)
                result = mongo_fence_forget_taken(session, use.client, fault);
        if (result)
                return result;
        collection = mongo_place_collection(use.client, &session->place, "session");
        mongo_place_append_session(filter, &session->place);
        mongo_append_owned(filter, session->owner, session->fence);
        if (!mongoc_collection_delete_one(collection, filter, NULL, &reply, &error))
                result = mongo_fault(session->env, session->name, &error, fault);
        removed = mongo_number_of(&reply, "deletedCount", 0);
        bson_destroy(&reply);
        if (!result && removed == 0)
                result = mongo_session_check_owner(session, use.client, fault);
        if (result)
                return result;
        mongo_release_note(session->env->releases, &session->place);
        enter_phase(session, MONGO_ENDED);
        mongo_looked_end(session->env->looks, session->looked);
        free(session);
        return 0;
}
