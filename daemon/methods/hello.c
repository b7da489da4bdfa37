/* What a client may ask before it opens anything: hello, ping. */

#include <stdlib.h>
#include <string.h>

#include "methods.h"

/* What a client may announce. Each function reads its value and returns NULL, or what the value must be. */
static const char *take_client(struct cursor *value, struct client *client)
{
        struct slice name;
        char text[QUOTE_BYTES], *copy;

        if (!cursor_str(value, LIMIT_CLIENT_BYTES, &name))
                return "a str of at most 255 bytes";
        copy = strdup(utf8_quote(name, '\0', text, sizeof(text)));
        if (!copy)
                return NULL; /* no memory: the client stays without a name */
        free(client->name);
        client->name = copy;
        return NULL;
}

static const char *take_features(struct cursor *value, struct client *client)
{
        uint32_t count;
        struct slice feature;
        bool leaves = false, takes_lease = false, takes_owner = false;

        if (!cursor_array(value, &count))
                return "an array of str";
        while (count-- > 0) {
                if (!cursor_str(value, SIZE_MAX, &feature))
                        return "an array of str";
                leaves = leaves || slice_is(feature, "leave");
                takes_lease = takes_lease || slice_is(feature, "lease");
                takes_owner = takes_owner || slice_is(feature, "owner");
        }
        client->leaves = leaves;
        client->takes_lease = takes_lease;
        client->takes_owner = takes_owner;
        return NULL;
}

static const char *take_id(struct cursor *value, struct client *client)
{
        struct slice id;

        if (!cursor_bin(value, LIMIT_ID_BYTES, &id) || id.len != LIMIT_ID_BYTES)
                return "a bin of 16 bytes";
        client->caller.known = true;
        client->caller.uid = (uint32_t)client->credentials.uid;
        memcpy(client->caller.id, id.data, LIMIT_ID_BYTES);
        return NULL;
}

static const struct {
        const char *key;
        const char *(*take)(struct cursor *value, struct client *client);
} announcements[] = {
        { "client", take_client },
        { "features", take_features },
        { "id", take_id },
};

/* Ignores unknown keys: a newer client may announce more. */
static bool take_announcement(struct call *call, struct cursor *cursor)
{
        struct slice key, whole;
        struct cursor value;

        if (!option_key(call, cursor, &key))
                return false;
        value = *cursor;
        cursor_skip(cursor, &whole);
        for (size_t i = 0; i < sizeof(announcements) / sizeof(announcements[0]); i++) {
                struct cursor taken = value;
                const char *must_be = NULL;

                if (slice_is(key, announcements[i].key))
                        must_be = announcements[i].take(&taken, call->client);
                if (must_be) {
                        option_wrong(call, key, value, must_be);
                        return false;
                }
        }
        return true;
}

static void pack_backends(struct buffer *out, const struct storages *storages)
{
        uint32_t n = 0;

        for (size_t i = 0; i < storages->n; i++)
                n += storages->all[i].env != NULL;
        pack_cstr(out, "backends");
        pack_array(out, n);
        for (size_t i = 0; i < storages->n; i++)
                if (storages->all[i].env)
                        pack_cstr(out, storages->all[i].backend->name);
}

void method_hello(struct call *call)
{
        const struct config *config = call->context->config;
        struct param *map = &call->params[0];
        struct buffer *out;

        for (uint32_t i = 0; i < map->count; i++)
                if (!take_announcement(call, &map->cursor))
                        return;
        out = answer_begin(&call->request);
        pack_map(out, 12);
        pack_cstr(out, "server");
        pack_cstr(out, "gramd");
        pack_cstr(out, "version");
        pack_cstr(out, GRAMD_VERSION);
        pack_cstr(out, "protocol");
        pack_int(out, 1);
        pack_cstr(out, "max_message");
        pack_int(out, (int64_t)config->max_message_bytes);
        pack_cstr(out, "max_depth");
        pack_int(out, LIMIT_DEPTH);
        pack_cstr(out, "max_in_flight");
        pack_int(out, (int64_t)config->max_in_flight);
        pack_cstr(out, "max_sessions");
        pack_int(out, (int64_t)config->max_sessions);
        pack_cstr(out, "kv_max_value");
        pack_int(out, KV_VALUE_MAX_BYTES);
        pack_cstr(out, "kv_max");
        pack_int(out, (int64_t)config->kv_max_bytes);
        pack_backends(out, call->context->storages);
        pack_cstr(out, "default_backend");
        pack_cstr(out, config->backend);
        pack_cstr(out, "features");
        pack_array(out, 7);
        pack_cstr(out, "leave");
        pack_cstr(out, "lease");
        pack_cstr(out, "id");
        pack_cstr(out, "owner");
        pack_cstr(out, "kv");
        pack_cstr(out, "pyrotgfork");
        pack_cstr(out, "elsewhere");
        answer_end(&call->request);
}

void method_ping(struct call *call)
{
        buffer_append(answer_begin(&call->request), call->params[0].text.data, call->params[0].text.len);
        answer_end(&call->request);
}
