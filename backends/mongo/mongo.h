#ifndef GRAMD_BACKENDS_MONGO_MONGO_H
#define GRAMD_BACKENDS_MONGO_MONGO_H

/*
 * What the files of the backend `mongo` share.
 *
 *     mongo.c      the environment: URI, connections, what an error of the driver means
 *     instance.c   this daemon's instance and its term
 *     rival.c      instances of other daemons
 *     layout.c     where a session's documents are, and their ids
 *     release.c    sessions given back to other daemons
 *     memo.c       what is remembered of others, by key
 *     thread.c     what the backend's own threads share
 *     locate.c     the layout in which a session is
 *     fence.c      fences, and documents that come from a backup
 *     look.c       the sessions' documents are read again; stray.c those that name this daemon in vain
 *     session.c    one session: taken, confirmed, released, removed
 *     identity.c   its identity fields, update states and indexes
 *     sealed.c     sealed auth keys
 *     keys.c       which host has which key
 *     apply.c      a batch of changes; names.c its usernames; fields.c its part in the session's document;
 *                  writes.c its commands
 *     read.c       lookups and scans
 *     kv.c         the key-value area: reading it
 *     kv_plan.c    what a batch makes of it; kv_write.c writing it, and its tombstones; kv_swaps.c swaps that
 *                  may be repeated; kv_seal.c sealing its values
 *     list.c       counts, and the list of stored sessions
 *
 * OWNERSHIP.md says why a session can have one owner only.
 */

#include <mongoc/mongoc.h>
#include <stdatomic.h>

#include "../backend.h"
#include "../seal.h"
#include "layout.h"

enum {
        MONGO_BATCH_MAX = 200, /* documents of one command, which must end well before the socket's timeout */
        MONGO_ID_BYTES = 33,   /* of an instance's id, with its NUL */
};

/* Names of fields. Those that begin with gramd_ are gramd's own; the library ignores them. */
#define MONGO_OWNER "gramd_owner"
#define MONGO_FENCE "gramd_fence"
#define MONGO_TERM "gramd_term_ms"
#define MONGO_SINCE "gramd_since"
#define MONGO_FRESH "gramd_fresh"
#define MONGO_BORN "gramd_born" /* of the session's document: differs each time that gramd creates it */
#define MONGO_INDEXED "gramd_indexed"
#define MONGO_USER "gramd_user"     /* whose session it is; not MONGO_OWNER, which is the host's instance */
#define MONGO_SESSION_ID "gramd_id" /* random; it makes the session a sealed one */
#define MONGO_SEALED "gramd_sealed"
#define MONGO_KEYS "keys"               /* of an instance's document */
#define MONGO_KV "gramd_kv"             /* the collection of the key-value area */
#define MONGO_KV_MIXED "gramd_kv_mixed" /* of the session's document */
#define MONGO_OWN_DATABASE "gramd"

struct mongo_fences;
struct mongo_instance;
struct mongo_keys;
struct mongo_looked;
struct mongo_looks;
struct mongo_releases;
struct mongo_rivals;

/* An option of reads that decide that something is not ours. */
#define MONGO_READ_MAJORITY "readConcern", "{", "level", BCON_UTF8("majority"), "}"

/* The rows of the backend's options. */
enum mongo_option { MONGO_OPTION_URI, MONGO_OPTION_PREFIX, MONGO_OPTION_LAYOUT, MONGO_OPTION_TERM };

struct backend_env {
        const struct backend_config *config;
        const char *prefix;       /* of the sessions' keys; may be empty */
        enum mongo_layout layout; /* of new sessions */
        int64_t term_ms;          /* for which an instance owns its sessions without renewing its document */
        mongoc_uri_t *uri;
        char *where; /* its hosts, for people: the URI may hold a password */
        struct mongo_releases *releases;
        struct mongo_instance *instance;
        struct mongo_rivals *rivals;
        struct mongo_fences *fences;
        struct mongo_looks *looks;
        struct mongo_keys *keys;
        atomic_bool shared_indexed; /* this start has made sure of the indexes of the shared layout */
        _Atomic(mongoc_client_pool_t *) pool; /* NULL until the deployment has been reached once */
};

/* What a session's document says about sealing. */
struct mongo_seal {
        struct seal seal;
        bool has_id;
        bool is_whole; /* the sealed value looks like one */
};

/* What a session's document says about its owner. */
struct mongo_held {
        bool exists;
        char owner[MONGO_ID_BYTES]; /* empty: no owner */
        int64_t fence;              /* 0: never owned */
        int64_t term_ms;
        int64_t since;
        bool indexed;
        struct mongo_seal seal;
        char user[OWNER_TEXT_BYTES];
        bool bare;     /* as gramd creates it: nobody has taken it */
        char born[25]; /* its MONGO_BORN; empty: it has none */
};

/* What is known of a session's key-value area. */
struct mongo_kv {
        bool is_known;
        bool is_mixed;     /* its sealing is being changed, or that was interrupted: some values are sealed */
        bool is_indexed;   /* this daemon has made sure of its index */
        bool is_due_known; /* else `due_ms` is too early */
        int64_t bytes;     /* of keys and values */
        int64_t due_ms;    /* unix time: when the first value expires; INT64_MAX: none does */
        /* of CLOCK_BOOTTIME: since when it is known; when the last tombstone was written or found; when the
         * first may go, INT64_MAX: there is none */
        int64_t since_ms, buried_ms, purge_ms;
        uint8_t values_by[KEY_ID_BYTES]; /* of a sealed session: of the key that seals all of them; 0: not
                                            known. Apart from `is_known` */
};

/*
 *     NEW ──► OWNED ⟲ (confirmed, with a new fence)
 *      │        │
 *      └────────┴──► ENDED
 */
enum mongo_phase {
        MONGO_NEW,
        MONGO_OWNED, /* the document named `owner` when it was last seen */
        MONGO_ENDED, /* released, removed, or left to the instance's thread to release */
};

struct backend_session {
        struct backend_env *env;
        enum mongo_phase phase;
        char name[NAME_MAX_BYTES + 1];
        struct mongo_place place;
        char owner[MONGO_ID_BYTES]; /* the instance that the document names: one of this daemon */
        _Atomic uint64_t epoch;     /* of that instance; the loop reads it */
        int64_t fence;
        char tried_owner[MONGO_ID_BYTES]; /* owner and fence of a compare-and-swap with an unknown outcome */
        int64_t tried_fence;
        struct mongo_held tried_from; /* the document before it */
        int64_t row_fence; /* a row has this fence, which is above the session's; 0: none is known */
        struct mongo_looked *looked; /* look.c's; the loop reads it, too */
        struct seal seal;
        bool seal_wanted;                   /* it is to be sealed when it is opened */
        const struct open_options *options; /* while it is opened */
        int64_t lent_until_ms; /* of CLOCK_BOOTTIME: clients of the former start may rely on leases until then
                                */
        bool expect_new;       /* the last batch had mostly new peers: expect the same of the next */
        struct mongo_kv kv;
        bool fresh; /* user_id and is_bot are 0 because they have not been set: identity.c */
};

#define MONGO_BSON __attribute__((cleanup(mongo_bson_free))) bson_t *
static inline void mongo_bson_free(bson_t **document)
{
        if (*document)
                bson_destroy(*document);
}

/* ---- mongo.c ---- */

/* A connection from the pool. NULL: BACKEND_E_UNAVAILABLE; it fails at once while the deployment is away. */
mongoc_client_t *mongo_client_take(struct backend_env *env, struct fault *fault);
void mongo_client_give(struct backend_env *env, mongoc_client_t *client);

/* A connection for a scope. */
struct mongo_use {
        struct backend_env *env;
        mongoc_client_t *client;
};
#define MONGO_USE __attribute__((cleanup(mongo_use_end))) struct mongo_use
struct mongo_use mongo_use_begin(struct backend_env *env, struct fault *fault); /* `client` NULL: fault */
void mongo_use_end(struct mongo_use *use);

#define MONGO_COLLECTION __attribute__((cleanup(mongo_collection_free))) mongoc_collection_t *
static inline void mongo_collection_free(mongoc_collection_t **collection)
{
        if (*collection)
                mongoc_collection_destroy(*collection);
}

uint64_t mongo_hash(const char *text);

/* The URI with timeouts that fit the term. */
mongoc_uri_t *mongo_uri_within_term(const struct backend_env *env);

/* Fills in the fault from the driver's error; returns the BACKEND_E_…. `name` is the session's, or NULL. */
int mongo_fault(struct backend_env *env, const char *name, const bson_error_t *error, struct fault *fault);
bool mongo_is_duplicate(const bson_error_t *error);
int mongo_no_memory(struct fault *fault);

/* ---- documents ---- */

/* `gramd_fence: {$not: {$gt: fence}}`: matches documents that no later owner has written. */
void mongo_append_fence(bson_t *filter, int64_t fence);
void mongo_append_text(bson_t *document, const char *key, struct slice text); /* absent: null */

/* A number of any type. False: it is no number. */
bool mongo_read_number(const bson_iter_t *iter, int64_t *number);
/* A text of at most `max` bytes; else absent. */
struct slice mongo_read_text(const bson_iter_t *iter, size_t max);
/* A field of the document as text: empty if there is none, or if it does not fit. */
void mongo_copy_text(const bson_t *document, const char *key, char *to, size_t size);
/* A field of the document as a number; `fallback` if there is none. */
int64_t mongo_number_of(const bson_t *document, const char *key, int64_t fallback);
/* Slices borrow from the document. False: not a valid peer. */
bool mongo_peer_of(const bson_t *document, const struct mongo_place *place, struct peer *peer);

/* ---- session.c ---- */

int mongo_open(struct backend_env *env, const struct open_options *options, struct backend_session **session,
               struct opened *opened, struct fault *fault);
bool mongo_may_open(struct backend_env *env, struct slice name, const struct backend_wait *wait);
int mongo_confirm(struct backend_session *session, struct opened *opened, struct fault *fault);
int mongo_close(struct backend_session *session, struct fault *fault);
void mongo_leave(struct backend_session *session);
int mongo_remove(struct backend_session *session, bool remove_peers, struct fault *fault);

/* Matches the session's document as long as it says this about its owner. */
void mongo_append_held(bson_t *filter, const struct mongo_held *held);
/* Matches it as long as this instance owns it under this fence. */
void mongo_append_owned(bson_t *filter, const char *owner, int64_t fence);

/*
 * After a write that did not find what it expected: does the session's document still name this daemon?
 * BACKEND_E_UNAVAILABLE: it does, the write can be repeated. Else BACKEND_E_FENCED.
 */
int mongo_session_check_owner(struct backend_session *session, mongoc_client_t *client, struct fault *fault);

/* ---- identity.c, fields.c ---- */

/* MONGO_USER: `text` is empty if there is none. */
void mongo_user_of(const bson_t *document, char text[OWNER_TEXT_BYTES]);

void mongo_identity_read(const bson_t *document, struct identity *identity, bool *fresh);
void mongo_identity_append(bson_t *set, const struct identity *identity, unsigned fields);
/* Seals what is due. */
int mongo_seal_at_open(struct backend_session *session, mongoc_client_t *client,
                       const struct identity *identity, struct fault *fault);
void mongo_identity_append_new(bson_t *document); /* as the library creates it, without its `_id` */
int mongo_read_states(struct backend_session *session, mongoc_client_t *client, struct opened *opened,
                      struct fault *fault);
/* Creates the indexes that the library does not create. `indexed`: the session's document says that they
 * exist. */
int mongo_make_indexes(struct backend_session *session, mongoc_client_t *client, bool indexed,
                       struct fault *fault);
/* Of values that expire. The collection may not exist yet. */
int mongo_make_kv_index(struct backend_session *session, mongoc_client_t *client, struct fault *fault);

/* ---- apply.c, writes.c, names.c ---- */

int mongo_apply(struct backend_session *session, const struct change *changes, size_t n,
                enum durability durability, effect_fn effect, void *arg, struct fault *fault);

/* One call of mongo_apply(). */
struct mongo_batch {
        struct backend_session *session;
        mongoc_client_t *client;
        const struct change *changes;
        size_t n;
        effect_fn effect;
        void *arg;
        struct fault *fault;
};

/*
 * One kind of write on one collection, in as few commands as the limits allow. `expected` counts the
 * documents that have to match. If fewer do, the owner may have changed: mongo_session_check_owner().
 */
struct mongo_writes {
        const struct mongo_batch *batch;
        const char *collection;
        mongoc_bulk_operation_t *bulk;
        size_t n;
        int64_t expected;
};
int mongo_writes_insert(struct mongo_writes *writes, const bson_t *document);
int mongo_writes_update(struct mongo_writes *writes, const bson_t *filter, const bson_t *update,
                        bool must_match);
int mongo_writes_update_many(struct mongo_writes *writes, const bson_t *filter, const bson_t *update);
int mongo_writes_upsert(struct mongo_writes *writes, const bson_t *filter, const bson_t *update);
int mongo_writes_delete(struct mongo_writes *writes, const bson_t *filter);
int mongo_writes_flush(struct mongo_writes *writes);
void mongo_writes_end(struct mongo_writes *writes);
/* Inserts; calls `on_duplicate` with the number of each document that exists already. */
typedef void (*mongo_duplicate_fn)(void *arg, size_t i);
int mongo_insert_new(const struct mongo_batch *batch, const char *collection, bson_t *const *documents,
                     size_t n, mongo_duplicate_fn on_duplicate, void *arg);
#define MONGO_WRITES __attribute__((cleanup(mongo_writes_end))) struct mongo_writes

int mongo_apply_names(const struct mongo_batch *batch, void **plan); /* reads, and reports effects */
int mongo_write_names(const struct mongo_batch *batch, void *plan);
void mongo_free_names(void *plan);

int mongo_write_fields(const struct mongo_batch *batch, const struct change *change);

/* ---- read.c ---- */

/*
 * Finds all documents of a collection whose `key` is one of the values, MONGO_BATCH_MAX in a query. `append`
 * adds value number `i` to an array. `found` returns false if there is no memory.
 */
typedef void (*mongo_append_fn)(bson_t *array, const char *key, const struct mongo_place *place,
                                const void *values, size_t i);
typedef bool (*mongo_found_fn)(void *arg, const bson_t *document);
int mongo_find_in(struct backend_session *session, mongoc_client_t *client, const char *collection,
                  const char *key, mongo_append_fn append, const void *values, size_t n, mongo_found_fn found,
                  void *arg, struct fault *fault);

/* Reads a cursor to its end, and destroys it. */
int mongo_read_cursor(struct backend_session *session, mongoc_cursor_t *cursor, mongo_found_fn found,
                      void *arg, struct fault *fault);

int mongo_find(struct backend_session *session, const struct lookup *lookups, size_t n, match_fn found,
               void *arg, struct fault *fault);
int mongo_scan_peers(struct backend_session *session, const int64_t *after, size_t limit, peer_fn found,
                     void *arg, struct fault *fault);
int mongo_scan_usernames(struct backend_session *session, struct slice after, int64_t after_id, size_t limit,
                         username_fn found, void *arg, struct fault *fault);
int mongo_count(struct backend_session *session, struct counts *counts, struct fault *fault);
int mongo_list(struct backend_env *env, struct slice after, stored_fn found, void *arg, struct fault *fault);

#endif
