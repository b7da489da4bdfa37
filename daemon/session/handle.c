/* Handles, and each client's table of them by number. */

#include "handle.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../base/clock.h"
#include "../wire/turn.h"
#include "elsewhere.h"

/* ---- numbers ---- */

enum { HANDLE_BYTES = 128 }; /* with its slot; a client may have very many of one session */

enum { CLOSED_KEPT = 1024 }; /* the oldest closed number is used again when so many are closed */

static size_t n_free(const struct handle_table *table)
{
        return table->n_slots - table->n;
}

static bool grow(struct handle_table *table)
{
        size_t cap = table->cap ? table->cap * 2 : 1;
        struct handle_slot *slots = realloc(table->slots, cap * sizeof(*slots));

        if (!slots)
                return false;
        table->slots = slots;
        table->cap = cap;
        return true;
}

/* 0: no memory, or no number is left. */
static uint32_t take_number(struct handle_table *table)
{
        bool may_grow = table->n_slots < LIMIT_HANDLE - 1;
        uint32_t number = table->first_free;

        if (may_grow && n_free(table) < CLOSED_KEPT && (table->n_slots < table->cap || grow(table))) {
                table->n++;
                return (uint32_t)++table->n_slots;
        }
        if (!number)
                return 0;
        table->first_free = table->slots[number - 1].next_free;
        if (!table->first_free)
                table->last_free = 0;
        table->n++;
        return number;
}

static void give_number_back(struct handle_table *table, uint32_t number)
{
        assert(number > 0 && number <= table->n_slots && table->slots[number - 1].handle);
        table->slots[number - 1] = (struct handle_slot){ 0 };
        if (table->last_free)
                table->slots[table->last_free - 1].next_free = number;
        else
                table->first_free = number;
        table->last_free = number;
        table->n--;
}

struct handle *handle_find(const struct client *client, int64_t number)
{
        if (number < 1 || (uint64_t)number > client->handles.n_slots)
                return NULL;
        return client->handles.slots[number - 1].handle;
}

/* ---- handles ---- */

unsigned handle_rights(const struct session *session, struct client *client)
{
        client_take_names(client);
        return owner_rights(&session->sessions->config->access, &client->credentials, session->name,
                            session->storage->backend->name, &session->owner);
}

static void find_rights(struct handle *handle)
{
        struct session *session = handle->session;

        handle->rights = handle_rights(session, handle->client);
        handle->rules = session_rules(session);
        if (!(handle->rights & RIGHT_WRITE))
                link_remove(&handle->of_writers);
        else if (link_empty(&handle->of_writers))
                link_append(&session->writers, &handle->of_writers);
}

/* Who has the oldest handle has the session open. */
static void count_for_oldest(struct session *session)
{
        if (!link_empty(&session->handles))
                session_count_for(session, LINK_OF(session->handles.next, struct handle, link)->client->user);
}

struct handle *handle_new(struct session *session, struct client *client)
{
        struct handle *handle = calloc(1, sizeof(*handle));

        assert(session->state == SESSION_OPEN);
        if (!handle)
                return NULL;
        handle->session = session;
        handle->client = client;
        handle->since = unix_now();
        handle->lane = lane_of(session, client);
        if (!handle->lane) {
                free(handle);
                return NULL;
        }
        handle->number = take_number(&client->handles);
        if (!handle->number) {
                lane_release(handle->lane);
                free(handle);
                return NULL;
        }
        client->handles.slots[handle->number - 1] = (struct handle_slot){ .handle = handle };
        client->connection.owner_bytes += HANDLE_BYTES;
        handle->lane->n_handles++;
        link_append(&session->handles, &handle->link);
        link_init(&handle->of_writers);
        find_rights(handle);
        session->n_handles++;
        count_for_oldest(session);
        /* Here, not in advance.c: this handle may be closed before the session is advanced. */
        timer_stop(session->sessions->timers, &session->idle);
        session->close_wanted = false;
        session_wake(session);
        return handle;
}

void handle_set_watching(struct handle *handle, bool watching)
{
        handle->session->n_watching += watching;
        handle->session->n_watching -= handle->watching;
        handle->watching = watching;
        handle->is_owed_changes = false;
}

void handle_close(struct handle *handle)
{
        struct session *session = handle->session;

        assert(session->n_handles > 0 && handle->lane->n_handles > 0);
        handle_set_watching(handle, false);
        if (session->told == &handle->link)
                session->told = handle->link.next;
        if (session->sessions->renewed_handle == &handle->link)
                session->sessions->renewed_handle = handle->link.next;
        link_remove(&handle->link);
        link_remove(&handle->of_writers);
        session->n_handles--;
        count_for_oldest(session);
        give_number_back(&handle->client->handles, (uint32_t)handle->number);
        handle->client->connection.owner_bytes -= HANDLE_BYTES;
        handle->lane->n_handles--;
        lane_release(handle->lane);
        free(handle);
        session_wake(session);
}

void handle_lend(struct handle *handle, int64_t left_ms)
{
        struct client *client = handle->client;
        uv_os_fd_t fd;

        assert(left_ms >= 0);
        if (client->pidfd < 0 && uv_fileno((uv_handle_t *)&client->connection.pipe, &fd) == 0)
                client->pidfd = lent_watch_peer(fd, client->credentials.pid);
        /* Not the loop's time: the daemon may have stood still since this turn began. */
        handle->lent_until_ms = uv_hrtime() / 1000000 + (uint64_t)left_ms;
}

void handle_abandon(struct handle *handle)
{
        const struct client *client = handle->client;

        lent_keep(handle->session, client->connection.wire->loop, client->credentials.pid, client->pidfd,
                  handle->lent_until_ms);
        handle_close(handle);
}

void handle_end(struct handle *handle, const char *code, const char *text)
{
        struct buffer *out = connection_out(&handle->client->connection);

        message_begin_notification(out, "ended", 3);
        pack_int(out, handle->number);
        pack_cstr(out, code);
        pack_cstr(out, text);
        handle_abandon(handle);
}

/* ---- many of them ---- */

enum { ABANDONED_ROWS = 16 }; /* of its client's turn: what it takes if its session is closed, too */

void handles_abandon(struct client *client, bool all)
{
        const struct handle_table *table = &client->handles;
        size_t before = table->n;

        for (size_t i = 0; i < table->n_slots && table->n > 0; i++)
                if (table->slots[i].handle && (all || table->slots[i].handle->lane->n_ops == 0))
                        handle_abandon(table->slots[i].handle);
        turn_use(&client->connection, (before - table->n) * ABANDONED_ROWS, 0);
}

bool handles_end_of_session(struct session *session, const char *code, const char *text, size_t *left)
{
        for (; !link_empty(&session->handles) && *left > 0; (*left)--)
                handle_end(LINK_OF(session->handles.next, struct handle, link), code, text);
        return link_empty(&session->handles);
}

void handles_end_of_client(struct client *client, const char *code, const char *text)
{
        for (size_t i = 0; i < client->handles.n_slots; i++)
                if (client->handles.slots[i].handle)
                        handle_end(client->handles.slots[i].handle, code, text);
}

/* False: it has been ended. */
static bool renew_rights(struct handle *handle)
{
        unsigned least = handle->exclusive ? RIGHT_READ | RIGHT_WRITE : RIGHT_READ;
        char what[SESSION_TEXT_BYTES], who[CLIENT_TEXT_BYTES];

        find_rights(handle);
        if ((handle->rights & least) == least)
                return true;
        log_write_for(handle->session->sessions->log, handle->client->credentials.uid, LOG_INFO,
                      "%s: the handle of %s is ended: it has no right `%s` any more",
                      session_describe(handle->session, what), client_describe(handle->client, who),
                      handle->rights & RIGHT_READ ? "write" : "read");
        handle_end(handle, wire_error_names[WIRE_DENIED],
                   "the access rules and the owner of the session do not allow it any more");
        return false;
}

/* Its client uses it before it has been ended in a slice (ending.c). */
static void end_with_session(struct handle *handle)
{
        const struct ending *ending = &handle->session->ending;
        const char *text = session_ending_text(handle->session);

        lane_fail(handle->lane, ending->of_ops, text);
        handle_end(handle, wire_error_names[ending->of_handles], text);
}

bool handle_is_permitted(struct handle *handle)
{
        if (handle->session->state == SESSION_ENDING) {
                end_with_session(handle);
                return false;
        }
        return handle->rules == session_rules(handle->session) || renew_rights(handle);
}

struct handle *session_holder(const struct session *session)
{
        struct handle *first;

        if (link_empty(&session->handles))
                return NULL;
        first = LINK_OF(session->handles.next, struct handle, link);
        return first->exclusive ? first : NULL;
}

struct handle *session_first_writer(const struct session *session)
{
        return link_empty(&session->writers) ? NULL
                                             : LINK_OF(session->writers.next, struct handle, of_writers);
}

void pack_holder(struct buffer *out, const struct handle *holder)
{
        const struct client *client = holder->client;
        char host[256] = "";

        gethostname(host, sizeof(host) - 1);
        pack_map(out, 5);
        pack_cstr(out, "pid");
        pack_int(out, client->credentials.pid);
        pack_cstr(out, "uid");
        pack_int(out, client->credentials.uid);
        pack_cstr(out, "client");
        pack_str(out, slice_of(client->name));
        pack_cstr(out, "host");
        pack_cstr(out, host);
        pack_cstr(out, "since");
        pack_int(out, holder->since);
}

void answer_busy(struct request *request, const struct session *session)
{
        struct handle *holder;
        struct buffer detail = { 0 };
        char text[CLIENT_TEXT_BYTES + 64], who[CLIENT_TEXT_BYTES];

        if (link_empty(&session->handles)) {
                answer_error(request, WIRE_BUSY, "the session is being opened or closed by others");
                return;
        }
        holder = session_first_writer(session);
        if (!holder)
                holder = LINK_OF(session->handles.next, struct handle, link);
        pack_map(&detail, 1);
        pack_cstr(&detail, "holder");
        pack_holder(&detail, holder);
        snprintf(text, sizeof(text), "the session is held%s by %s", holder->exclusive ? " exclusively" : "",
                 client_describe(holder->client, who));
        answer_detail(request, WIRE_BUSY, (struct slice){ (const char *)detail.data, detail.len }, text);
        buffer_deinit(&detail);
}

void answer_open(struct request *request, const struct handle *handle, bool created, int64_t lease_ms)
{
        const struct session *session = handle->session;
        struct buffer *out = answer_begin(request);
        const struct credentials *credentials = &handle->client->credentials;
        bool is_elsewhere = created && elsewhere_count(session, credentials) > 0;

        pack_map(out, 6u + handle->client->takes_lease + is_elsewhere);
        pack_cstr(out, "session");
        pack_int(out, handle->number);
        pack_cstr(out, "created");
        pack_bool(out, created);
        pack_cstr(out, "backend");
        pack_cstr(out, session->storage->backend->name);
        pack_cstr(out, "dialect");
        pack_cstr(out, session->dialect);
        pack_cstr(out, "version");
        pack_int(out, session->version);
        pack_cstr(out, "fence");
        pack_int(out, session->fence);
        if (handle->client->takes_lease) {
                pack_cstr(out, "lease");
                if (lease_ms < 0)
                        pack_nil(out);
                else
                        pack_int(out, lease_ms);
        }
        if (is_elsewhere) {
                pack_cstr(out, "elsewhere");
                elsewhere_pack(session, credentials, out);
        }
        answer_end(request);
}
