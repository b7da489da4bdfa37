/*
 * The owner of a session. Names are looked up on a worker before the change joins a job: like the list of a
 * long write.
 */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "methods.h"

struct wanted {
        struct owner owner;
        bool is_free; /* who asks may name anybody */
        uid_t uid;    /* else: only himself, and one of his groups */
        size_t n_gids;
        gid_t gids[];
};

static bool may_give_away(const struct call *call)
{
        const struct credentials *credentials = &call->client->credentials;

        return credentials->has_all ||
               access_rights(&call->context->config->access, credentials, SLICE_NONE, NULL) & RIGHT_ADMIN;
}

static struct wanted *wanted_new(const struct call *call)
{
        const struct credentials *credentials = &call->client->credentials;
        struct slice text = call->params[0].text;
        struct wanted *wanted = calloc(1, sizeof(*wanted) + credentials->n_gids * sizeof(gid_t));

        if (!wanted)
                return NULL;
        if (text.len)
                memcpy(wanted->owner.text, text.data, text.len);
        wanted->is_free = may_give_away(call);
        wanted->uid = credentials->uid;
        wanted->n_gids = credentials->n_gids;
        memcpy(wanted->gids, credentials->gids, credentials->n_gids * sizeof(gid_t));
        return wanted;
}

static bool refuse(struct op_reading *reading, enum wire_error error, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

static bool refuse(struct op_reading *reading, enum wire_error error, const char *format, ...)
{
        va_list args;

        reading->error = error;
        va_start(args, format);
        vsnprintf(reading->wrong, sizeof(reading->wrong), format, args);
        va_end(args);
        return false;
}

static bool has_group(const struct wanted *wanted)
{
        for (size_t i = 0; i < wanted->n_gids; i++)
                if (wanted->gids[i] == wanted->owner.gid)
                        return true;
        return false;
}

/* On a worker. */
static bool look_up(struct op_reading *reading)
{
        struct wanted *wanted = reading->op->write.values;
        struct owner *owner = &wanted->owner;
        const char *group = strchr(owner->text, ':');

        owner_look_up(owner);
        if (!owner->has_user)
                return refuse(reading, WIRE_BAD_REQUEST,
                              "this host has no user as in `%.100s` (a number is written #1000)",
                              owner->text);
        if (owner->uid == OVERFLOW_UID)
                return refuse(reading, WIRE_BAD_REQUEST, "uid 65534 (`%.100s`) owns nothing", owner->text);
        if (group && !owner->has_group)
                return refuse(reading, WIRE_BAD_REQUEST,
                              "this host has no group `%.100s` (a number is written #1000)", group + 1);
        if (!wanted->is_free && owner->uid != wanted->uid)
                return refuse(reading, WIRE_DENIED,
                              "an owner cannot give the session to `%.100s`: that needs the right `admin`",
                              owner->text);
        if (!wanted->is_free && group && !has_group(wanted))
                return refuse(reading, WIRE_DENIED, "who asks is not in the group `%.100s`", group + 1);
        return true;
}

/* The owner may be another one by now. */
static unsigned prepare(struct op *op, struct identity *next)
{
        const struct wanted *wanted = op->write.values;

        (void)next;
        if (wanted->is_free || owner_is_user(&op->lane->session->owner, wanted->uid))
                return 0;
        answer_error(&op->request, WIRE_DENIED, "chown: uid %u is not the owner any more",
                     (unsigned)wanted->uid);
        return OP_ANSWERED;
}

static void start(struct call *call)
{
        struct op *op = call_defer(call, OP_WRITE, 0, 0);
        struct wanted *wanted = op ? wanted_new(call) : NULL;

        if (!op)
                return;
        if (!wanted) {
                answer_no_memory(&op->request);
                op_free(op);
                return;
        }
        op->write.values = wanted;
        op->write.free_values = free;
        op->write.owner = &wanted->owner;
        op->write.prepare = prepare;
        op->write.to_disk = true;
        op->write.has_change = true;
        op->write.change = (struct change){
                .kind = CHANGE_OWNER,
                .owner = call->params[0].given ? slice_of(wanted->owner.text) : SLICE_NONE,
                .n = 1,
        };
        if (call->params[0].given)
                reading_start(op, &call->context->sessions->names, (struct cursor){ NULL, NULL }, 0, look_up);
        else
                op_start(op);
}

void method_chown(struct call *call)
{
        const struct param *owner = &call->params[0];
        char text[QUOTE_BYTES];

        if (owner->given && !owner_text_valid(owner->text)) {
                answer_error(&call->request, WIRE_BAD_REQUEST,
                             "chown: `%s` is not the form of an owner: user or user:group, at most %d bytes",
                             quote(owner->text, text), OWNER_TEXT_BYTES - 1);
                return;
        }
        if (!call->session->storage->backend->owns) {
                answer_error(&call->request, WIRE_BAD_REQUEST, "chown: sessions on %s have no owner",
                             call->session->storage->backend->name);
                return;
        }
        if (!may_give_away(call) &&
            !(owner->given && owner_is_user(&call->session->owner, call->client->credentials.uid))) {
                answer_error(&call->request, WIRE_DENIED,
                             "chown needs the right `admin`; the owner may change the group");
                return;
        }
        start(call);
}
