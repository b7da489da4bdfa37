/* Each caller's writes are a ring; the callers of a session are a list, the one used last comes first. */

#include "remembered.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "handle.h"
#include "op.h"
#include "session.h"

enum {
        CALLERS_MAX = 64,              /* of a session */
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
};

struct write {
        uint32_t msgid;
        uint32_t digest; /* of method and parameters */
        uint16_t fields; /* FIELD_BITs, for the answer to an import */
        uint8_t outcome; /* a request's, or UNDER_WAY */
};

struct writes {
        struct link link; /* remembered->callers */
        struct caller caller;
        struct write *ring;
        size_t n, cap;
        size_t next;      /* when the ring is full: the oldest one */
        uint32_t highest; /* msgid of all that were ever in the ring */
        size_t n_under_way;
};

struct remembered {
        struct link callers;
        size_t n;
        /* While its session is closed: */
        struct link by_age;
        struct link by_name;
        const struct storage *storage;
        struct slice name; /* owned */
        size_t bytes;
};

static_assert(FIELD_COUNT <= 16, "a write has a bit for each field");
static_assert((int)WIRE_ERROR_COUNT < UNDER_WAY, "an outcome is a byte");

/* ---- writes of a caller ---- */

static struct write *find_write(struct writes *writes, uint32_t msgid)
{
        if (msgid > writes->highest) /* most clients count upwards */
                return NULL;
        for (size_t i = writes->n; i-- > 0;) {
                struct write *write = &writes->ring[(writes->next + i) % writes->n];

                if (write->msgid == msgid)
                        return write;
        }
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
                writes->next = (writes->next + 1) % writes->n;
                writes->n_under_way -= write->outcome == UNDER_WAY;
        }
        *write = (struct write){ .msgid = msgid, .digest = digest };
        if (msgid > writes->highest)
                writes->highest = msgid;
        return write;
}

static void writes_free(struct remembered *remembered, struct writes *writes)
{
        link_remove(&writes->link);
        remembered->n--;
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
        struct link *head = &remembered->callers;

        for (struct link *at = head->next; at != head; at = at->next) {
                struct writes *writes = LINK_OF(at, struct writes, link);

                if (!same_caller(&writes->caller, caller))
                        continue;
                link_remove(at);
                link_insert_after(head, at);
                return writes;
        }
        return NULL;
}

/* Forgets the caller that was used least recently; preferably one that has no write under way. */
static void forget_caller(struct remembered *remembered)
{
        struct link *last = remembered->callers.prev, *at = last;

        while (at != &remembered->callers && LINK_OF(at, struct writes, link)->n_under_way > 0)
                at = at->prev;
        writes_free(remembered, LINK_OF(at == &remembered->callers ? last : at, struct writes, link));
}

/* NULL: no memory. */
static struct writes *need_caller(struct remembered *remembered, const struct caller *caller)
{
        struct writes *writes = find_caller(remembered, caller);

        if (writes)
                return writes;
        writes = calloc(1, sizeof(*writes));
        if (!writes)
                return NULL;
        if (remembered->n == CALLERS_MAX)
                forget_caller(remembered);
        writes->caller = *caller;
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

static struct write *recall_write(struct session *session, const struct caller *caller, uint32_t msgid)
{
        struct remembered *remembered = recall(session);
        struct writes *writes = remembered ? find_caller(remembered, caller) : NULL;

        return writes ? find_write(writes, msgid) : NULL;
}

/* NULL: no memory. */
static struct write *new_write(struct session *session, const struct caller *caller, uint32_t msgid,
                               uint32_t digest)
{
        struct remembered *remembered = need(session);
        struct writes *writes = remembered ? need_caller(remembered, caller) : NULL;

        return writes ? add_write(writes, msgid, digest) : NULL;
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

/* Finds a msgid that is used twice, by mistake: no protection against intent. */
static uint32_t digest_of(const struct method *method, struct slice frame)
{
        const uint64_t prime = 0x9e3779b97f4a7c15u;
        uint64_t hash = frame.len, word = 0;
        struct message message;
        bool read = message_read(frame, &message);

        assert(read && method->shape[0] == 'h');
        (void)read;
        /* Its name, because a file keeps the digest: the next version may number the methods otherwise. */
        for (const char *at = method->name; *at; at++)
                hash = (hash ^ (uint8_t)*at) * prime;
        cursor_skip(&message.params, NULL); /* each connection has other handles */
        hash += (uint64_t)(message.params.end - message.params.at) * prime;
        for (const uint8_t *at = message.params.at; at < message.params.end; at += sizeof(word)) {
                size_t left = (size_t)(message.params.end - at);

                word = 0;
                memcpy(&word, at, left < sizeof(word) ? left : sizeof(word));
                hash = (hash ^ word) * prime;
                hash ^= hash >> 32;
        }
        return (uint32_t)hash;
}

static uint32_t op_digest(struct op *op)
{
        return digest_of(op->request.method, (struct slice){ op->bytes, op->n_bytes });
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
                op->write.fields = write->fields;
                op->answer(op, NULL);
        } else {
                answer_nil(&op->request);
        }
        op_free(op);
        if (deleter)
                handle_close(deleter);
}

enum repeat remembered_repeats(struct op *op)
{
        struct write *write;

        if (!op->caller.known)
                return REPEAT_NONE;
        write = recall_write(op->lane->session, &op->caller, op->request.id);
        if (!write)
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
        answer_as_before(op, write);
        return REPEAT_ANSWERED;
}

bool remembered_begin(struct op *op)
{
        struct session *session = op->lane->session;
        struct write *write;

        if (!op->caller.known)
                return true;
        op->digest = op_digest(op);
        write = new_write(session, &op->caller, op->request.id, op->digest);
        if (!write)
                return false;
        write->outcome = UNDER_WAY;
        find_caller(session->remembered, &op->caller)->n_under_way++;
        op->begun = true;
        return true;
}

void remembered_end(struct op *op)
{
        struct session *session = op->lane->session;
        struct write *write;

        if (!op->begun)
                return;
        op->begun = false;
        write = recall_write(session, &op->caller, op->request.id);
        if (write && write->outcome == UNDER_WAY)
                find_caller(session->remembered, &op->caller)->n_under_way--;
        if (!write) /* so many others came meanwhile that it was forgotten */
                write = new_write(session, &op->caller, op->request.id, op->digest);
        if (!write)
                return;
        write->outcome = op->stored ? 0 : op->request.outcome;
        write->fields = op->kind == OP_WRITE ? (uint16_t)op->write.fields : 0;
}

bool remembered_at_once(struct session *session, const struct client *client, const struct request *request,
                        struct slice frame)
{
        const struct caller *caller = &client->caller;

        if (!caller->known || request->is_notification)
                return true;
        return new_write(session, caller, request->id, digest_of(request->method, frame));
}

bool remembered_has(struct session *session, const struct client *client, const struct request *request)
{
        return client->caller.known && !request->is_notification &&
               recall_write(session, &client->caller, request->id);
}

/* ---- in the backend ---- */

/*
 * Groups of one caller's writes, with numbers in little-endian: uid (4 bytes), id, number of writes (2); for
 * each write msgid (4), digest (4), fields (2). All of them were executed.
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
                        uint16_t fields = (uint16_t)(take(&at, 2) & FIELD_ALL);
                        struct write *write = recall_write(session, &caller, msgid);

                        if (!write)
                                write = new_write(session, &caller, msgid, digest);
                        if (write && write->digest == digest)
                                write->fields = fields;
                }
        }
}
