/* Drives a backend for tests, and shows what it holds as text. */

#include "storage.h"

#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "mongo_server.h"

/* ---- lines ---- */

struct lines {
        char **items;
        size_t n;
        size_t limit; /* stops when there are so many */
};

__attribute__((format(printf, 2, 3))) static bool add(struct lines *lines, const char *format, ...)
{
        va_list args;

        lines->items = realloc(lines->items, (lines->n + 1) * sizeof(*lines->items));
        ck_assert_ptr_nonnull(lines->items);
        va_start(args, format);
        ck_assert_int_ge(vasprintf(&lines->items[lines->n++], format, args), 0);
        va_end(args);
        return lines->n < lines->limit || lines->limit == 0;
}

static int compare(const void *a, const void *b)
{
        return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Joins the lines and frees them. */
static char *join(struct lines *lines, bool sort)
{
        char *text = NULL;
        size_t size = 0;
        FILE *out = open_memstream(&text, &size);

        if (sort && lines->n)
                qsort(lines->items, lines->n, sizeof(*lines->items), compare);
        for (size_t i = 0; i < lines->n; i++) {
                fprintf(out, "%s%s", i ? "; " : "", lines->items[i]);
                free(lines->items[i]);
        }
        free(lines->items);
        fclose(out);
        return text;
}

/* ---- the environment ---- */

const struct backend *storage_backend(const char *name)
{
        for (size_t i = 0; backends[i]; i++)
                if (strcmp(backends[i]->name, name) == 0)
                        return backends[i];
        ck_abort_msg("there is no backend %s", name);
        return NULL;
}

static void keep_log(void *arg, enum log_level level, const char *text)
{
        struct storage *storage = arg;
        char *log = NULL;

        pthread_mutex_lock(&storage->log_lock);
        ck_assert_int_ge(asprintf(&log, "%s%d %s\n", storage->log ? storage->log : "", (int)level, text), 0);
        free(storage->log);
        storage->log = log;
        pthread_mutex_unlock(&storage->log_lock);
}

/* NULL: the backend has no option of this name. */
static union option_value *value_of(struct storage *storage, const char *name)
{
        const struct option *options = storage->backend->options;

        for (size_t i = 0; options && options[i].name; i++)
                if (strcmp(options[i].name, name) == 0)
                        return &storage->values[i];
        return NULL;
}

/* Defaults, but for those of a server and its databases. */
static void set_values(struct storage *storage)
{
        const struct option *options = storage->backend->options;
        union option_value *uri = value_of(storage, "mongo"), *prefix = value_of(storage, "mongo-prefix");
        union option_value *layout = value_of(storage, "mongo-layout");

        for (size_t i = 0; options && options[i].name; i++) {
                ck_assert_uint_lt(i, STORAGE_OPTIONS_MAX);
                storage->values[i] = options[i].fallback;
        }
        if (uri)
                uri->text = getenv("STORAGE_MONGO_URI");
        if (prefix)
                prefix->text = storage->prefix;
        if (layout && getenv("STORAGE_MONGO_LAYOUT"))
                layout->number = (uint64_t)atoi(getenv("STORAGE_MONGO_LAYOUT"));
}

static void ignore_news(void *arg)
{
        (void)arg;
}

static void start(struct storage *storage)
{
        ck_assert_msg(storage->backend->start(&storage->config, storage->values, &storage->env,
                                              &storage->fault) == 0,
                      "%s", storage->fault.text);
}

void storage_start(struct storage *storage, const struct backend *backend, const char *path)
{
        mkdir(path, 0700);
        *storage = (struct storage){ .backend = backend, .log_lock = PTHREAD_MUTEX_INITIALIZER };
        storage->prefix = mongo_name("c");
        storage->config = (struct backend_config){
                .data_dir = realpath(path, NULL),
                .log = keep_log,
                .log_arg = storage,
                .news = ignore_news,
                .kv_max = STORAGE_KV_MAX,
        };
        set_values(storage);
        start(storage);
}

void storage_restart_with(struct storage *storage, const char *option, uint64_t value)
{
        storage->backend->stop(storage->env);
        value_of(storage, option)->number = value;
        start(storage);
}

static void forget_opened(struct storage *storage)
{
        opened_deinit(&storage->opened);
        opened_init(&storage->opened);
}

void storage_stop(struct storage *storage)
{
        if (storage->session)
                storage_close(storage);
        forget_opened(storage);
        storage->backend->stop(storage->env);
        free((char *)storage->config.data_dir);
        free(storage->prefix);
        free(storage->effects);
        free(storage->log);
}

int storage_try(struct storage *storage, const char *name, const char *dialect, bool create)
{
        const struct open_options options = { .name = slice_of(name),
                                              .create = create,
                                              .dialect = slice_of(dialect ? dialect : storage->dialect),
                                              .seal = storage->seal };
        int error;

        forget_opened(storage);
        storage->fault = (struct fault){ 0 };
        error = storage->backend->open(storage->env, &options, &storage->session, &storage->opened,
                                       &storage->fault);
        if (error) {
                ck_assert_str_ne(storage->fault.text, "");
                storage->session = NULL;
        }
        return error;
}

void storage_open(struct storage *storage, const char *name, const char *dialect)
{
        int error = storage_try(storage, name, dialect, true);

        ck_assert_msg(error == 0, "opening %s: %d: %s", name, error, storage->fault.text);
}

void storage_close(struct storage *storage)
{
        int error = storage->backend->close(storage->session, &storage->fault);

        storage->session = NULL;
        ck_assert_msg(error == 0, "closing: %d: %s", error, storage->fault.text);
}

/* ---- changes ---- */

struct peer storage_peer(int64_t id, int64_t hash, const char *type, const char *username, const char *phone,
                         int64_t time)
{
        return (struct peer){ .id = id,
                              .has_access_hash = hash != STORAGE_NIL,
                              .access_hash = hash != STORAGE_NIL ? hash : 0,
                              .type = slice_of(type),
                              .username = slice_of(username),
                              .phone_number = slice_of(phone),
                              .last_update_on = time };
}

struct state storage_state(int64_t id, int64_t pts, int64_t qts, int64_t date, int64_t seq)
{
        const int64_t parts[STATE_PARTS] = { pts, qts, date, seq };
        struct state state = { .id = id };

        for (int part = 0; part < STATE_PARTS; part++) {
                if (parts[part] == STORAGE_NIL)
                        continue;
                state.present |= 1u << part;
                state.part[part] = parts[part];
        }
        return state;
}

static bool add_effect(void *arg, const struct effect *effect)
{
        static const char *const kinds[] = { "username", "phone", "owner" };

        if (effect->kind == EFFECT_KV_REFUSED)
                return add(arg, "refused %d", effect->error);
        if (effect->kind == EFFECT_KV_SWAP)
                return effect->done ? add(arg, "swapped")
                                    : add(arg, "stands %.*s", effect->text.data ? (int)effect->text.len : 3,
                                          effect->text.data ? effect->text.data : "nil");
        if (effect->kind == EFFECT_OWNER)
                return add(arg, "owner %.*s %lld", (int)effect->text.len, effect->text.data,
                           (long long)effect->peer_id);
        return add(arg, "%s %.*s", kinds[effect->kind], (int)effect->text.len, effect->text.data);
}

int storage_apply(struct storage *storage, const struct change *changes, size_t n)
{
        struct lines lines = { 0 };
        int error = storage->backend->apply(storage->session, changes, n, DURABLE_SYSTEM, add_effect, &lines,
                                            &storage->fault);

        free(storage->effects);
        storage->effects = join(&lines, true);
        return error;
}

static void apply_one(struct storage *storage, const struct change *change)
{
        int error = storage_apply(storage, change, 1);

        ck_assert_msg(error == 0, "%d: %s", error, storage->fault.text);
}

int storage_put_peers(struct storage *storage, const struct peer *peers, size_t n)
{
        return storage_apply(storage, &(struct change){ .kind = CHANGE_PEERS, .peers = peers, .n = n }, 1);
}

void storage_put_peer(struct storage *storage, struct peer peer)
{
        apply_one(storage, &(struct change){ .kind = CHANGE_PEERS, .peers = &peer, .n = 1 });
}

void storage_put_state(struct storage *storage, struct state state)
{
        apply_one(storage, &(struct change){ .kind = CHANGE_STATES, .states = &state, .n = 1 });
}

void storage_put_names(struct storage *storage, int64_t peer_id, const char *names, int64_t time)
{
        struct slice items[64];
        struct peer_names row = { .peer_id = peer_id, .names = items, .last_update_on = time };

        while (*names) {
                size_t len = strcspn(names, " ");

                ck_assert_uint_lt(row.n_names, 64);
                items[row.n_names++] = (struct slice){ names, len };
                names += len;
                names += strspn(names, " ");
        }
        apply_one(storage, &(struct change){ .kind = CHANGE_NAMES, .names = &row, .n = 1 });
}

void storage_put_fields(struct storage *storage, unsigned fields, const struct identity *identity)
{
        struct change change = { .kind = CHANGE_IDENTITY, .n = 1 };

        change.fields = fields;
        change.identity = identity;
        apply_one(storage, &change);
}

void storage_put_number(struct storage *storage, enum field field, int64_t number)
{
        struct identity identity;

        identity_init(&identity);
        identity_set_number(&identity, field, number);
        storage_put_fields(storage, FIELD_BIT(field), &identity);
}

void storage_put_nil(struct storage *storage, enum field field)
{
        struct identity identity;

        identity_init(&identity);
        identity_set_nil(&identity, field);
        storage_put_fields(storage, FIELD_BIT(field), &identity);
}

/* ---- rows as text ---- */

static const char *shown(struct slice text, char buffer[TEXT_MAX_BYTES + 1])
{
        if (!text.data)
                return "nil";
        snprintf(buffer, TEXT_MAX_BYTES + 1, "%.*s", (int)text.len, text.data);
        return buffer;
}

static void show_number(char text[32], bool there, int64_t number)
{
        snprintf(text, 32, there ? "%lld" : "nil", (long long)number);
}

static bool add_peer_as(struct lines *lines, const struct peer *peer, const char *suffix)
{
        char type[TEXT_MAX_BYTES + 1];
        char username[TEXT_MAX_BYTES + 1];
        char phone[TEXT_MAX_BYTES + 1];
        char hash[32];

        show_number(hash, peer->has_access_hash, peer->access_hash);
        return add(lines, "%lld %s %s %s %s %lld%s", (long long)peer->id, hash, shown(peer->type, type),
                   shown(peer->username, username), shown(peer->phone_number, phone),
                   (long long)peer->last_update_on, suffix);
}

static bool add_peer(void *arg, const struct peer *peer)
{
        return add_peer_as(arg, peer, "");
}

static bool add_match(void *arg, const struct match *match)
{
        if (!match->peer.type.data)
                return add(arg, "nobody yet");
        return add_peer_as(arg, &match->peer, match->from_table ? " by name" : "");
}

static char *find(struct storage *storage, const struct lookup *lookup)
{
        struct lines lines = { 0 };
        int error = storage->backend->find(storage->session, lookup, 1, add_match, &lines, &storage->fault);

        ck_assert_msg(error == 0, "%d: %s", error, storage->fault.text);
        return join(&lines, true);
}

char *storage_by_id(struct storage *storage, int64_t id)
{
        return find(storage, &(struct lookup){ LOOKUP_ID, .id = id });
}

char *storage_by_username(struct storage *storage, const char *username)
{
        return find(storage, &(struct lookup){ LOOKUP_USERNAME, .text = slice_of(username) });
}

char *storage_by_phone(struct storage *storage, const char *phone)
{
        return find(storage, &(struct lookup){ LOOKUP_PHONE, .text = slice_of(phone) });
}

char *storage_peers(struct storage *storage, const int64_t *after, size_t limit)
{
        struct lines lines = { 0 };
        int error = storage->backend->scan_peers(storage->session, after, limit, add_peer, &lines,
                                                 &storage->fault);

        ck_assert_msg(error == 0, "%d: %s", error, storage->fault.text);
        return join(&lines, false);
}

static bool add_name(void *arg, struct slice username, int64_t peer_id, const int64_t *last_update_on)
{
        char text[TEXT_MAX_BYTES + 1];

        (void)last_update_on;
        return add(arg, "%s %lld", shown(username, text), (long long)peer_id);
}

char *storage_names(struct storage *storage, const char *after, int64_t after_id, size_t limit)
{
        struct lines lines = { 0 };
        int error = storage->backend->scan_usernames(storage->session, slice_of(after), after_id, limit,
                                                     add_name, &lines, &storage->fault);

        ck_assert_msg(error == 0, "%d: %s", error, storage->fault.text);
        return join(&lines, false);
}

char *storage_states(const struct storage *storage)
{
        struct lines lines = { 0 };

        for (size_t i = 0; i < storage->opened.n_states; i++) {
                const struct state *state = &storage->opened.states[i];
                char parts[STATE_PARTS][32];

                for (int part = 0; part < STATE_PARTS; part++)
                        show_number(parts[part], state->present & (1u << part), state->part[part]);
                add(&lines, "%lld %s %s %s %s", (long long)state->id, parts[0], parts[1], parts[2], parts[3]);
        }
        return join(&lines, false);
}

static bool add_stored(void *arg, const struct stored_session *stored)
{
        char name[NAME_MAX_BYTES + 1];

        ck_assert_int_ge(stored->bytes, 0);
        snprintf(name, sizeof(name), "%.*s", (int)stored->name.len, stored->name.data);
        return add(arg, "%s", name);
}

char *storage_list(struct storage *storage, const char *after, size_t limit)
{
        struct lines lines = { .limit = limit };
        int error =
                storage->backend->list(storage->env, slice_of(after), add_stored, &lines, &storage->fault);

        ck_assert_msg(error == 0, "%d: %s", error, storage->fault.text);
        return join(&lines, false);
}

struct counts storage_count(struct storage *storage)
{
        struct counts counts;
        int error = storage->backend->count(storage->session, &counts, &storage->fault);

        ck_assert_msg(error == 0, "%d: %s", error, storage->fault.text);
        return counts;
}

void storage_expect_text(char *text, const char *expected, const char *file, int line)
{
        ck_assert_msg(strcmp(text, expected) == 0, "%s:%d: \"%s\", where \"%s\" was expected", file, line,
                      text, expected);
        free(text);
}
