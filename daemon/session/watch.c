/* Packs and queues `changed` notifications. */

#include "watch.h"

#include "../../proto/message.h"

enum { TOLD_TO_ALL = 65536 }; /* more than this in one change, counted for each watcher: `all` */

static const struct changed everything = { .all = true };

static size_t told(const struct changed *changed)
{
        return changed->n_peers + changed->n_usernames + changed->n_phones + changed->n_states +
               changed->n_kv;
}

/* Values may be keys of accounts: who may only read is not told of them either. */
static bool sees_kv(const struct handle *handle)
{
        return handle->rights & RIGHT_WRITE;
}

static void pack_texts(struct buffer *out, const char *key, const struct slice *texts, size_t n)
{
        pack_cstr(out, key);
        pack_array(out, (uint32_t)n);
        for (size_t i = 0; i < n; i++)
                pack_str(out, texts[i]);
}

static void pack_fields(struct buffer *out, unsigned fields)
{
        pack_cstr(out, "fields");
        pack_array(out, (uint32_t)__builtin_popcount(fields));
        for (enum field field = 0; field < FIELD_COUNT; field++)
                if (fields & FIELD_BIT(field))
                        pack_cstr(out, field_infos[field].name);
}

static void pack_states(struct buffer *out, const struct changed *changed)
{
        pack_cstr(out, "states");
        pack_array(out, (uint32_t)changed->n_states);
        for (size_t i = 0; i < changed->n_states; i++)
                pack_int(out, changed->states ? changed->states[i].id : changed->states_gone[i]);
}

static void pack_kv(struct buffer *out, const struct changed *changed)
{
        pack_cstr(out, "kv");
        pack_array(out, (uint32_t)changed->n_kv);
        for (size_t i = 0; i < changed->n_kv; i++)
                pack_str(out, changed->kv[i].key);
}

static void tell(struct handle *handle, const struct changed *changed)
{
        struct buffer *out = connection_out(&handle->client->connection);
        bool has_kv = changed->n_kv > 0 && sees_kv(handle);

        message_begin_notification(out, "changed", 2);
        pack_int(out, handle->number);
        pack_map(out, has_kv ? 7 : 6);
        pack_cstr(out, "peers");
        pack_array(out, (uint32_t)changed->n_peers);
        for (size_t i = 0; i < changed->n_peers; i++)
                pack_int(out, changed->peers[i].id);
        pack_texts(out, "usernames", changed->usernames, changed->n_usernames);
        pack_texts(out, "phones", changed->phones, changed->n_phones);
        pack_fields(out, changed->fields);
        pack_states(out, changed);
        if (has_kv)
                pack_kv(out, changed);
        pack_cstr(out, "all");
        pack_bool(out, changed->all);
}

/* Tells one watcher, or notes that it is owed an `all`. */
static void tell_or_owe(struct handle *handle, const struct changed *changed)
{
        if (connection_is_congested(&handle->client->connection))
                handle->is_owed_changes = handle->client->is_owed_changes = true;
        else if (!handle->is_owed_changes)
                tell(handle, changed);
}

/* The bytes of a long notification cost as much as many short ones. */
enum { TOLD_A_ROW = 16 };

void watch_begin(struct session *session)
{
        session->told = session->n_watching > 0 ? session->handles.next : &session->handles;
}

static bool tell_all_but(struct session *session, const struct lane *lane, int64_t number,
                         const struct changed *changed, bool is_kv, size_t *left)
{
        size_t cost = 1 + told(changed) / TOLD_A_ROW;

        while (session->told != &session->handles && *left > 0) {
                struct handle *handle = LINK_OF(session->told, struct handle, link);

                session->told = session->told->next;
                if (handle->watching && (handle->lane != lane || handle->number != number) &&
                    handle_is_permitted(handle) && (!is_kv || sees_kv(handle)))
                        tell_or_owe(handle, changed);
                *left -= cost < *left ? cost : *left;
        }
        return session->told == &session->handles;
}

bool watch_tell(struct session *session, const struct lane *writer_lane, int64_t writer_number,
                const struct changed *changed, size_t *left)
{
        size_t n = told(changed);
        bool is_kv = n > 0 && n == changed->n_kv && !changed->fields && !changed->all;

        if (!changed->all && n == 0 && !changed->fields)
                return true;
        if (changed->all || n > WATCH_LISTED || n * session->n_watching > TOLD_TO_ALL)
                changed = &everything;
        return tell_all_but(session, writer_lane, writer_number, changed, is_kv, left);
}

bool watch_tell_all(struct session *session, size_t *left)
{
        return tell_all_but(session, NULL, 0, &everything, false, left);
}

void watch_catch_up(struct client *client)
{
        if (!client->is_owed_changes)
                return;
        client->is_owed_changes = false;
        for (size_t i = 0; i < client->handles.n_slots; i++) {
                struct handle *handle = client->handles.slots[i].handle;

                if (handle && handle->is_owed_changes) {
                        handle->is_owed_changes = false;
                        tell(handle, &everything);
                }
        }
}
