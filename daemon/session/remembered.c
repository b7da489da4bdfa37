/* Each caller's writes are a ring; the callers of a session are a list, the one used last comes first. */

#include "remembered.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "handle.h"
#include "op.h"
#include "session.h"

enum {
        BUCKETS = 32,                  /* of callers, by their ids */
        CALLERS_MAX = 64,              /* of a session, */
        CALLERS_SHORT = 4,             /* or so many, if all sessions together remember more than */
        ALL_BYTES = 64 << 20,          /* this */
        WRITES_MAX = LIMIT_REMEMBERED, /* of a caller */
        WRITES_FIRST = 4,              /* room for so many at first */
        CLOSED_MAX = 1024,             /* sessions */
        CLOSED_BYTES = 4 << 20,        /* of all of them */
        PACKED_BYTES =
                256 << 10, /* of one job's writes, for the backend; far above what clients send at once */
        GROUP_MAX = 4096,  /* writes */
        GROUP_BYTES = 4 + LIMIT_ID_BYTES + 2,
        WRITE_BYTES = 4 + 4 + 2,
        UNDER_WAY = UINT8_MAX,
        SWAP_DONE = 1 << 15, /* in `fields` */
        REFUSED = 1 << 14,   /* in the backend's bytes: the transaction did not execute this one */
};

struct write {
        uint32_t msgid;
        uint32_t digest; /* of method and parameters */
        uint16_t fields; /* FIELD_BITs, for the answer to an import; or SWAP_DONE */
        uint8_t outcome; /* a request's, or UNDER_WAY */
};

struct writes {
        struct link link; /* remembered->callers */
        struct writes *next_in_bucket;
        struct caller caller;
        struct write *ring;
        size_t n, cap;
        size_t next;      /* when the ring is full: the oldest one */
        uint32_t highest; /* msgid of all that were ever in the ring */
        size_t n_begun;   /* ops that point here: it is not freed */
};

struct remembered {
        struct link callers; /* the one used last comes first */
        struct writes *buckets[BUCKETS];
        size_t n;
        /* While its session is closed: */
        struct link by_age;
        struct link by_name;
        const struct storage *storage;
        struct slice name; /* owned */
        size_t bytes;
};

static_assert((int)FIELD_ALL < (int)REFUSED, "a write has a bit for each field");
static_assert((int)WIRE_ERROR_COUNT < UNDER_WAY, "an outcome is a byte");

static size_t all_bytes; /* what callers and their writes take, of all sessions */

/* ---- writes of a caller ---- */

/* From the newest to the oldest. */
static struct write *find_write(const struct writes *writes, uint32_t msgid)
{
        if (msgid > writes->highest) /* most clients count upwards */
                return NULL;
        for (size_t i = writes->next; i-- > 0;)
                if (writes->ring[i].msgid == msgid)
                        return &writes->ring[i];
        for (size_t i = writes->n; i-- > writes->next;)
                if (writes->ring[i].msgid == msgid)
                        return &writes->ring[i];
        return NULL;
}

/* Room for one more. False: no memory. */
static bool grow(struct writes *writes)
{
        size_t cap = writes->cap ? 2 * writes->cap : WRITES_FIRST;
        struct write *ring;

        if (writes->n < writes->cap || writes->cap == WRITES_MAX)
                return true;
        ring = realloc(writes->ring, cap * sizeof(*ring));
        if (!ring)
                return false;
        all_bytes += (cap - writes->cap) * sizeof(*ring);
        writes->ring = ring;
        writes->cap = cap;
        return true;
}

/* NULL: no memory. */
static struct write *add_write(struct writes *writes, uint32_t msgid, uint32_t digest)
{
        struct write *write;

        if (!grow(writes))
                return NULL;
        if (writes->n < writes->cap) {
                write = &writes->ring[writes->n++];
        } else {
                write = &writes->ring[writes->next];
                writes->next = (writes->next + 1) % WRITES_MAX; /* it is as large as it gets */
        }
        *write = (struct write){ .msgid = msgid, .digest = digest };
        if (msgid > writes->highest)
                writes->highest = msgid;
        return write;
}

/* Ids are random; one that is not makes only its own session slower. */
static struct writes **bucket_of_caller(struct remembered *remembered, const struct caller *caller)
{
        return &remembered->buckets[caller->id[0] % BUCKETS];
}

static void writes_free(struct remembered *remembered, struct writes *writes)
{
        struct writes **at = bucket_of_caller(remembered, &writes->caller);

        while (*at != writes)
                at = &(*at)->next_in_bucket;
        *at = writes->next_in_bucket;
        link_remove(&writes->link);
        remembered->n--;
        all_bytes -= sizeof(*writes) + writes->cap * sizeof(*writes->ring);
        free(writes->ring);
        free(writes);
}

/* ---- callers of a session ---- */

static bool same_caller(const struct caller *a, const struct caller *b)
{
        return a->uid == b->uid && memcmp(a->id, b->id, LIMIT_ID_BYTES) == 0;
}

static struct writes *find_caller(struct remembered *remembered, const struct caller *caller)
{
        struct writes *writes = *bucket_of_caller(remembered, caller);

        while (writes && !same_caller(&writes->caller, caller))
                writes = writes->next_in_bucket;
        if (writes) {
                link_remove(&writes->link);
                link_insert_after(&remembered->callers, &writes->link);
        }
        return writes;
}

/* Leaves those that were used last; and all that have a write under way. */
static void forget_callers(struct remembered *remembered, size_t max)
{
        struct link *at = remembered->callers.prev;

        while (remembered->n > max && at != &remembered->callers) {
                struct writes *writes = LINK_OF(at, struct writes, link);

                at = at->prev;
                if (writes->n_begun == 0)
                        writes_free(remembered, writes);
        }
}

/* NULL: no memory. */
static struct writes *add_caller(struct remembered *remembered, const struct caller *caller)
{
        struct writes *writes = calloc(1, sizeof(*writes));

        if (!writes)
                return NULL;
        forget_callers(remembered, (all_bytes < ALL_BYTES ? CALLERS_MAX : CALLERS_SHORT) - 1);
        all_bytes += sizeof(*writes);
        writes->caller = *caller;
        writes->next_in_bucket = *bucket_of_caller(remembered, caller);
        *bucket_of_caller(remembered, caller) = writes;
        link_insert_after(&remembered->callers, &writes->link);
        remembered->n++;
        return writes;
}

/* ---- sessions ---- */

static struct link *bucket_of(struct remembered_closed *closed, struct slice name)
{
        uint32_t hash = 2166136261u;

        for (size_t i = 0; i < name.len; i++)
                hash = (hash ^ (uint8_t)name.data[i]) * 16777619u;
        return &closed->by_name[hash % REMEMBERED_BUCKETS];
}

/* Takes it off the table of closed sessions. */
static void reopen(struct remembered_closed *closed, struct remembered *remembered)
{
        link_remove(&remembered->by_age);
        link_remove(&remembered->by_name);
        closed->n--;
        closed->bytes -= remembered->bytes;
        free((char *)remembered->name.data);
        remembered->name = SLICE_NONE;
}

static void remembered_free(struct remembered *remembered)
{
        while (!link_empty(&remembered->callers))
                writes_free(remembered, LINK_OF(remembered->callers.next, struct writes, link));
        free(remembered);
}

/* What the session remembers; also of its time before it was closed. NULL: nothing. */
static struct remembered *recall(struct session *session)
{
        struct remembered_closed *closed = &session->sessions->remembered;
        struct link *bucket;

        if (session->remembered)
                return session->remembered;
        bucket = bucket_of(closed, session->name);
        for (struct link *at = bucket->next; at != bucket; at = at->next) {
                struct remembered *remembered = LINK_OF(at, struct remembered, by_name);

                if (remembered->storage != session->storage || !slice_equal(remembered->name, session->name))
                        continue;
                reopen(closed, remembered);
                session->remembered = remembered;
                return remembered;
        }
        return NULL;
}

/* NULL: no memory. */
static struct remembered *need(struct session *session)
{
        struct remembered *remembered = recall(session);

        if (remembered)
                return remembered;
        remembered = calloc(1, sizeof(*remembered));
        if (!remembered)
                return NULL;
        link_init(&remembered->callers);
        link_init(&remembered->by_age);
        link_init(&remembered->by_name);
        session->remembered = remembered;
        return remembered;
}

/* NULL: nothing is remembered of this caller. */
static struct writes *recall_writes(struct session *session, const struct caller *caller)
{
        struct remembered *remembered = recall(session);

        return remembered ? find_caller(remembered, caller) : NULL;
}

/* `writes`: what recall_writes() has returned. NULL: no memory. */
static struct write *new_write(struct session *session, const struct caller *caller, struct writes **writes,
                               uint32_t msgid, uint32_t digest)
{
        struct remembered *remembered = need(session);

        if (!*writes && remembered)
                *writes = add_caller(remembered, caller);
        return *writes ? add_write(*writes, msgid, digest) : NULL;
}

static size_t size_of(const struct remembered *remembered)
{
        size_t bytes = sizeof(*remembered) + remembered->name.len;

        for (const struct link *at = remembered->callers.next; at != &remembered->callers; at = at->next)
                bytes += sizeof(struct writes) + LINK_OF(at, struct writes, link)->cap * sizeof(struct write);
        return bytes;
}

static void forget_oldest(struct remembered_closed *closed)
{
        struct remembered *oldest = LINK_OF(closed->by_age.next, struct remembered, by_age);

        reopen(closed, oldest);
        remembered_free(oldest);
}

void remembered_close(struct session *session)
{
        struct remembered_closed *closed = &session->sessions->remembered;
        struct remembered *remembered = session->remembered;
        char *name;

        if (!remembered)
                return;
        session->remembered = NULL;
        name = malloc(session->name.len + 1);
        if (!name) {
                remembered_free(remembered);
                return;
        }
        memcpy(name, session->name.data, session->name.len);
        remembered->name = (struct slice){ name, session->name.len };
        remembered->storage = session->storage;
        remembered->bytes = size_of(remembered);
        link_append(&closed->by_age, &remembered->by_age);
        link_append(bucket_of(closed, remembered->name), &remembered->by_name);
        closed->n++;
        closed->bytes += remembered->bytes;
        while (closed->n > CLOSED_MAX || closed->bytes > CLOSED_BYTES)
                forget_oldest(closed);
}

void remembered_closed_init(struct remembered_closed *closed)
{
        link_init(&closed->by_age);
        for (size_t i = 0; i < REMEMBERED_BUCKETS; i++)
                link_init(&closed->by_name[i]);
}

void remembered_closed_deinit(struct remembered_closed *closed)
{
        while (closed->n > 0)
                forget_oldest(closed);
}

/* ---- requests ---- */

static uint64_t mix(uint64_t hash, const void *data, size_t len)
{
        const uint64_t prime = 0x9e3779b97f4a7c15u;
        const char *at = data;
        uint64_t word;

        hash = (hash ^ len) * prime;
        for (; len >= sizeof(word); at += sizeof(word), len -= sizeof(word)) {
                memcpy(&word, at, sizeof(word));
                hash = (hash ^ word) * prime;
                hash ^= hash >> 32;
        }
        word = 0;
        memcpy(&word, at, len);
        return (hash ^ word) * prime;
}

/*
 * Finds a msgid that is used twice, by mistake: no protection against intent. Of the method its name, because
 * a file keeps the digest, and the next version may number the methods otherwise.
 */
static uint32_t digest_of(const struct request *request, struct slice frame)
{
        struct cursor params = { (const uint8_t *)frame.data + request->params_at,
                                 (const uint8_t *)frame.data + frame.len };
        uint64_t hash = mix(0, request->method->name, strlen(request->method->name));
        int64_t handle;

        cursor_int(&params, &handle); /* each connection has other handles */
        return (uint32_t)(mix(hash, params.at, (size_t)(params.end - params.at)) >> 32);
}

static uint32_t op_digest(const struct op *op)
{
        return digest_of(&op->request, (struct slice){ op->bytes, op->n_bytes });
}

/* Answers and frees it as the first one was answered. A refusal has another text. */
static void answer_as_before(struct op *op, const struct write *write)
{
        struct client *client = op->lane->client;
        struct handle *deleter = NULL;

        if (write->outcome) {
                answer_error(&op->request, (enum wire_error)(write->outcome - 1),
                             "%s: this is a repetition; the first one was refused so",
                             op->request.method->name);
        } else if (op->kind == OP_DELETE) {
                deleter = client ? handle_find(client, op->handle_number) : NULL;
                answer_nil(&op->request);
        } else if (op->answer) {
                op->write.fields = write->fields & FIELD_ALL;
                if (op->write.kv)
                        op->write.kv->done = write->fields & SWAP_DONE;
                op->answer(op, NULL);
        } else {
                answer_nil(&op->request);
        }
        op_free(op);
        if (deleter)
                handle_close(deleter);
}

static bool is_swap(const struct op *op)
{
        return op->kind == OP_WRITE && op->write.change.kind == CHANGE_KV_SWAP;
}

enum repeat remembered_repeats(struct op *op)
{
        struct write *write;

        if (!op->caller.known)
                return REPEAT_NONE;
        op->writes = recall_writes(op->lane->session, &op->caller);
        write = op->writes ? find_write(op->writes, op->request.id) : NULL;
        if (!write || write->outcome == WIRE_FENCED + 1) /* nothing of a fenced write counted */
                return REPEAT_NONE;
        if (write->digest != op_digest(op)) {
                answer_error(&op->request, WIRE_BAD_REQUEST,
                             "%s: msgid %u was another request of the same client id",
                             op->request.method->name, (unsigned)op->request.id);
                op_free(op);
                return REPEAT_ANSWERED;
        }
        if (write->outcome == UNDER_WAY)
                return REPEAT_UNDER_WAY;
        if (is_swap(op) && !write->outcome && !(write->fields & SWAP_DONE)) {
                op_reads_again(op);
                return REPEAT_READ;
        }
        answer_as_before(op, write);
        return REPEAT_ANSWERED;
}

bool remembered_begin(struct op *op)
{
        struct write *write;

        if (!op->caller.known)
                return true;
        op->digest = op_digest(op);
        write = new_write(op->lane->session, &op->caller, &op->writes, op->request.id, op->digest);
        if (!write)
                return false;
        write->outcome = UNDER_WAY;
        op->writes->n_begun++;
        op->begun = true;
        return true;
}

void remembered_end(struct op *op)
{
        struct remembered *remembered = op->lane->session->remembered;
        struct write *write;

        if (!op->begun)
                return;
        assert(remembered && op->writes->n_begun > 0);
        op->begun = false;
        op->writes->n_begun--;
        write = find_write(op->writes, op->request.id);
        if (!write) /* so many others came meanwhile that it was forgotten */
                write = add_write(op->writes, op->request.id, op->digest);
        if (write) {
                write->outcome = op->stored ? 0 : op->request.outcome;
                write->fields = op->kind == OP_WRITE ? (uint16_t)op->write.fields : 0;
                if (op->kind == OP_WRITE && op->write.kv && op->write.kv->done)
                        write->fields |= SWAP_DONE;
        }
        forget_callers(remembered, CALLERS_MAX);
}

bool remembered_has(struct session *session, const struct client *client, const struct request *request)
{
        const struct writes *writes;

        if (!client->caller.known || request->is_notification)
                return false;
        writes = recall_writes(session, &client->caller);
        return writes && find_write(writes, request->id);
}

bool remembered_at_once(struct session *session, const struct client *client, const struct request *request,
                        struct slice frame)
{
        const struct caller *caller = &client->caller;
        struct writes *writes;

        if (!caller->known || request->is_notification)
                return true;
        writes = recall_writes(session, caller);
        return new_write(session, caller, &writes, request->id, digest_of(request, frame));
}

/* ---- in the backend ---- */

/*
 * Groups of one caller's writes, with numbers in little-endian: uid (4 bytes), id, number of writes (2); for
 * each write msgid (4), digest (4), fields (2). All of them were executed, but for those that are REFUSED.
 */

static uint8_t *put(uint8_t *at, uint32_t value, int bytes)
{
        for (int i = 0; i < bytes; i++)
                *at++ = (uint8_t)(value >> (8 * i));
        return at;
}

static uint32_t take(const uint8_t **at, int bytes)
{
        uint32_t value = 0;

        for (int i = 0; i < bytes; i++)
                value |= (uint32_t) * (*at)++ << (8 * i);
        return value;
}

static void pack_write(const struct op *op, struct buffer *out)
{
        uint8_t *at = buffer_reserve(out, WRITE_BYTES);

        if (!at)
                return;
        at = put(at, op->request.id, 4);
        at = put(at, op->digest, 4);
        put(at, op->write.fields, 2);
        if (op->write.kv)
                op->write.kv->packed_at = out->len + WRITE_BYTES - 2;
        out->len += WRITE_BYTES;
}

/* Packs the writes from `at` on that are of the same caller. Returns the first other one. */
static const struct link *pack_group(const struct link *at, const struct link *end, struct buffer *out)
{
        const struct op *op = LINK_OF(at, struct op, link);
        const struct caller *caller = &op->caller;
        size_t head = out->len;
        uint8_t *to = buffer_reserve(out, GROUP_BYTES);
        uint32_t n = 0;

        if (!to)
                return end;
        to = put(to, caller->uid, 4);
        memcpy(to, caller->id, LIMIT_ID_BYTES);
        out->len += GROUP_BYTES;
        for (; at != end && n < GROUP_MAX; at = at->next, n++) {
                op = LINK_OF(at, struct op, link);
                if (!op->begun || !same_caller(&op->caller, caller))
                        break;
                pack_write(op, out);
        }
        if (!out->failed)
                put(out->data + head + 4 + LIMIT_ID_BYTES, n, 2);
        return at;
}

void remembered_pack(const struct link *writes, struct buffer *out)
{
        const struct link *at = writes->next;

        while (at != writes && out->len < PACKED_BYTES) {
                if (LINK_OF(at, struct op, link)->begun)
                        at = pack_group(at, writes, out);
                else
                        at = at->next;
        }
}

void remembered_note(struct buffer *packed, size_t at, bool done, bool refused)
{
        if (at > 0 && at + 2 <= packed->len)
                put(packed->data + at, (done ? SWAP_DONE : 0u) | (refused ? REFUSED : 0u), 2);
}

/* The bytes are from a file that others can write to: they may be anything. */
void remembered_load(struct session *session, const struct opened *opened)
{
        const uint8_t *at = opened->remembered, *end = at;

        if (recall(session)) /* this daemon has opened it before: what it remembers is newer */
                return;
        if (at)
                end += opened->n_remembered;
        while (end - at >= GROUP_BYTES) {
                struct caller caller = { .known = true, .uid = take(&at, 4) };

                memcpy(caller.id, at, LIMIT_ID_BYTES);
                at += LIMIT_ID_BYTES;
                for (uint32_t n = take(&at, 2); n > 0 && end - at >= WRITE_BYTES; n--) {
                        uint32_t msgid = take(&at, 4), digest = take(&at, 4);
                        uint16_t fields = (uint16_t)take(&at, 2);
                        struct writes *writes = recall_writes(session, &caller);
                        struct write *write = writes ? find_write(writes, msgid) : NULL;

                        if (fields & REFUSED)
                                continue;
                        fields &= FIELD_ALL | SWAP_DONE;
                        if (!write)
                                write = new_write(session, &caller, &writes, msgid, digest);
                        if (write && write->digest == digest)
                                write->fields = fields;
                }
        }
}
