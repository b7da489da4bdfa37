/* Packs and queues `changed` notifications. */

#include "watch.h"

#include "../../proto/message.h"
#include "../wire/connection.h"
#include "queue.h"

enum { TOLD_ONE_BY_ONE = 4096 }; /* more than this in one change: `all` */

static size_t told(const struct changed *changed)
{
        return changed->n_peers + changed->n_usernames + changed->n_phones + changed->n_states;
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

static void tell(struct handle *handle, const struct changed *changed, bool all)
{
        struct buffer *out = connection_out(handle->connection);

        message_begin_notification(out, "changed", 2);
        pack_int(out, handle->number);
        pack_map(out, 6);
        pack_cstr(out, "peers");
        pack_array(out, (uint32_t)changed->n_peers);
        for (size_t i = 0; i < changed->n_peers; i++)
                pack_int(out, changed->peers[i].id);
        pack_texts(out, "usernames", changed->usernames, changed->n_usernames);
        pack_texts(out, "phones", changed->phones, changed->n_phones);
        pack_fields(out, changed->fields);
        pack_states(out, changed);
        pack_cstr(out, "all");
        pack_bool(out, all);
}

void watch_tell(struct session *session, const struct lane *writer_lane, int64_t writer_number,
                const struct changed *changed)
{
        static const struct changed nothing = { 0 };
        bool all = changed->all || told(changed) > TOLD_ONE_BY_ONE;

        if (session->n_watching == 0 || (told(changed) == 0 && !changed->fields && !all))
                return;
        for (struct link *at = session->handles.next; at != &session->handles; at = at->next) {
                struct handle *handle = LINK_OF(at, struct handle, link);

                if (!handle->watching || (handle->lane == writer_lane && handle->number == writer_number))
                        continue;
                if (connection_is_behind(handle->connection))
                        handle->behind = handle->connection->watcher_behind = true;
                else if (!handle->behind)
                        tell(handle, all ? &nothing : changed, all);
        }
}

void watch_tell_all(struct session *session)
{
        static const struct changed nothing = { 0 };

        for (struct link *at = session->handles.next; at != &session->handles; at = at->next) {
                struct handle *handle = LINK_OF(at, struct handle, link);

                if (!handle->watching || handle->behind)
                        continue;
                if (connection_is_behind(handle->connection))
                        handle->behind = handle->connection->watcher_behind = true;
                else
                        tell(handle, &nothing, true);
        }
}

void watch_set(struct handle *handle, bool watching)
{
        handle->session->n_watching += (size_t)watching;
        handle->session->n_watching -= (size_t)handle->watching;
        handle->watching = watching;
        handle->behind = false;
}

void watch_catch_up(struct connection *connection)
{
        static const struct changed nothing = { 0 };

        connection->watcher_behind = false;
        for (size_t i = 0; i < connection->handles_cap; i++) {
                struct handle *handle = connection->handles[i];

                if (handle && handle->behind) {
                        handle->behind = false;
                        tell(handle, &nothing, true);
                }
        }
}
