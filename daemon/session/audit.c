/* Lines are limited by user and action (base/rate.h): many opens do not push out an export. */

#include "audit.h"

#include <stdio.h>

#include "../base/log.h"
#include "../config/names.h"

enum { NAME_BYTES = 256 };

#define AUDIT_NAME(constant, name) [AUDIT_##constant] = (name),
static const char *const names[AUDIT_COUNT] = { AUDIT_ACTIONS(AUDIT_NAME) };
#undef AUDIT_NAME

#define AUDIT_KIND(constant, name) [AUDIT_##constant] = "audit " name,
static const char *const kinds[AUDIT_COUNT] = { [AUDIT_NONE] = "audit denied", AUDIT_ACTIONS(AUDIT_KIND) };
#undef AUDIT_KIND

_Static_assert((int)AUDIT_COUNT <= (int)LOG_RECORD_KINDS, "each action is a kind of record");

static const uint8_t of_method[METHOD_COUNT] = {
        [METHOD_OPEN] = AUDIT_OPEN,
        [METHOD_EXPORT_STRING] = AUDIT_EXPORT,
        [METHOD_IMPORT_STRING] = AUDIT_IMPORT,
        [METHOD_DELETE] = AUDIT_DELETE,
        [METHOD_SEAL] = AUDIT_SEAL,
        [METHOD_UNSEAL] = AUDIT_UNSEAL,
        [METHOD_ROTATE] = AUDIT_ROTATE,
        [METHOD_CHOWN] = AUDIT_CHOWN,
        [METHOD_DISCONNECT] = AUDIT_DISCONNECT,
        [METHOD_DRAIN] = AUDIT_DRAIN,
};

void audit_begin(struct request *request, const struct client *client)
{
        request->audited = (struct audited){
                .action = request->method ? of_method[request->method - methods] : AUDIT_NONE,
                .pid = client->credentials.pid,
                .uid = client->credentials.uid,
                .client_id = client->id,
        };
}

const char *audit_who(const struct request *request, char text[CLIENT_TEXT_BYTES])
{
        const struct audited *audited = &request->audited;

        if (request->is_open && request->connection)
                return client_describe(client_of(request->connection), text);
        snprintf(text, CLIENT_TEXT_BYTES, "a client that waits no more (id %llu, pid %d, uid %u)",
                 (unsigned long long)audited->client_id, (int)audited->pid, (unsigned)audited->uid);
        return text;
}

struct record {
        struct log_field fields[LOG_FIELDS_MAX];
        size_t n;
};

static void add_text(struct record *record, const char *key, const char *text)
{
        if (text)
                record->fields[record->n++] = (struct log_field){ .key = key, .text = text };
}

static void add_number(struct record *record, const char *key, uint64_t number)
{
        record->fields[record->n++] = (struct log_field){ .key = key, .number = number };
}

/* NULL: it is not known, or the user has none. */
static const char *user_name(const struct request *request)
{
        const struct client *client = request->connection ? client_of(request->connection) : NULL;
        const struct names *known = client && client->user ? client->user->names : NULL;

        return known && known->user[0] && known->user[0] != '#' ? known->user : NULL;
}

static void write_line(const struct request *request, struct log *log, const char *result, const char *target)
{
        const struct audited *audited = &request->audited;
        const enum audit_action action = audited->action;
        char session[NAME_BYTES];
        struct record record = { .n = 0 };

        if (!request->wire->config->audit)
                return;
        snprintf(session, sizeof(session), "%.*s", (int)request->session.len, request->session.data);
        add_text(&record, "action", action ? names[action] : request->method->name);
        add_text(&record, "result", result);
        add_number(&record, "uid", audited->uid);
        add_text(&record, "user", user_name(request));
        add_number(&record, "pid", (uint64_t)audited->pid);
        add_number(&record, "client_id", audited->client_id);
        if (request->connection)
                add_text(&record, "client", client_of(request->connection)->name);
        if (request->session.data) {
                add_text(&record, "session", session);
                add_text(&record, "backend", request->backend);
        }
        add_text(&record, "target", target);
        log_record(log, audited->uid, action, kinds[action], "audit", record.fields, record.n);
}

void audit_answered(const struct request *request, struct log *log, const char *error)
{
        const bool denied = request->outcome == WIRE_DENIED + 1 || request->audited.is_hidden;
        const bool in_doubt = request->outcome == WIRE_UNAVAILABLE + 1 || request->outcome == WIRE_FENCED + 1;

        if (denied)
                write_line(request, log, "denied", NULL);
        else if (request->audited.action && !error)
                write_line(request, log, "done", NULL);
        else if (request->audited.action && in_doubt && request->method->traits & METHOD_CHANGES)
                write_line(request, log, error, NULL);
}

void audit_target(struct request *request, struct log *log, const char *target)
{
        write_line(request, log, "done", target);
        request->audited.action = AUDIT_NONE;
}
