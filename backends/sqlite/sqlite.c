/*
 * The SQLite backends: `file`, where each session is a .session file of a library, and `memory`, the same in
 * SQLite's :memory:. This file has the environment, and opens, closes and removes sessions.
 */

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "kv.h"

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define BUDGET_MAX ((uint64_t)1 << 40)

enum { FILE_OPENS_MAX = 24, FILE_WRITES_MAX = 32 };

/* ---- environment ---- */

/*
 * Settings of the whole process. No page memory is set aside for each connection: it would be 80 KiB for each
 * of thousands of idle ones. No statistics: they are behind one lock for all threads. If SQLite is in use
 * already the settings have no effect, which only costs memory and time.
 */
static void configure_sqlite(void)
{
        sqlite3_config(SQLITE_CONFIG_PAGECACHE, NULL, 0, 0);
        sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
        sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0); /* its slots would be used again without being wiped */
        sqlite_heap_register();
}

/* `values`: the first is the backend's budget in bytes. */
static struct backend_env *env_new(const struct backend_config *config, const union option_value *values,
                                   bool memory, struct fault *fault)
{
        struct backend_env *env = calloc(1, sizeof(*env));

        if (!env) {
                fault_set(fault, BACKEND_E_STORAGE, "no memory");
                return NULL;
        }
        configure_sqlite();
        sqlite_log_register();
        env->config = config;
        env->memory = memory;
        env->keyring = memory ? keyring_new() : config->keyring;
        if (memory && (!env->keyring || !keyring_make_random(env->keyring))) {
                keyring_free(env->keyring);
                free(env);
                fault_set(fault, BACKEND_E_STORAGE, "no memory for the keys");
                return NULL;
        }
        env->dir = -1;
        env->budget = (int64_t)values[0].number;
        atomic_init(&env->spare, env->budget);
        return env;
}

static void env_free(struct backend_env *env)
{
        if (env->memory)
                keyring_free(env->keyring);
        if (env->dir >= 0) {
                sqlite_reserve_stop(env);
                close(env->dir);
        }
        free(env);
}

/* ---- sessions ---- */

static void session_free(struct backend_session *session)
{
        assert(session->phase == PHASE_CLOSED);
        sqlite_budget_leave(session);
        free(session->path);
        free(session);
}

/* Frees a session that could not be opened because of `error`, and removes its file if it is new. */
static int session_abandon(struct backend_session *session, bool made, int error, struct fault *fault)
{
        struct fault ignored;

        sqlite_release(session, &ignored);
        if (made && session->path)
                error = sqlite_file_unmake(session, error, fault);
        session_free(session);
        return error;
}

static struct backend_session *session_new(struct backend_env *env, struct slice name, struct fault *fault)
{
        struct backend_session *session = calloc(1, sizeof(*session));

        if (!session) {
                fault_set(fault, BACKEND_E_STORAGE, "no memory");
                return NULL;
        }
        session->env = env;
        snprintf(session->name, sizeof(session->name), "%.*s", (int)name.len, name.data);
        return session;
}

static int find_library(const struct open_options *options, const struct library **library,
                        struct fault *fault)
{
        *library = &libraries[0];
        if (!options->dialect.data)
                return 0;
        for (const struct library *known = libraries; known->name; known++) {
                if (slice_is(options->dialect, known->name)) {
                        *library = known;
                        return 0;
                }
        }
        return fault_set_dialect(fault, options->dialect);
}

static int load_remembered(struct backend_session *session, struct opened *opened, struct fault *fault)
{
        struct buffer bytes = { 0 };
        int error = sqlite_load_remembered(session, &bytes, fault);

        opened->remembered = bytes.data;
        opened->n_remembered = bytes.len;
        return error;
}

static int migrate_extras(struct backend_session *session, const struct identity *identity,
                          struct fault *fault)
{
        int error = sqlite_migrate_extras(session, identity, fault);

        return error && sqlite_await_room(session) ? sqlite_migrate_extras(session, identity, fault) : error;
}

int sqlite_examine(struct backend_session *session, bool seal, struct identity *identity, struct fault *fault)
{
        int error = sqlite_recognise(session, fault);

        if (!error && session->path && sqlite3_db_readonly(session->db, "main") != 0)
                error = fault_session(fault, BACKEND_E_STORAGE, session->name,
                                      "its file cannot be written: its header or its file system "
                                      "forbids it");
        if (!error)
                error = sqlite_load_fields(session, identity, fault);
        return error ? error : sqlite_check_sealed(session, seal, fault);
}

/* May it be opened by who wants it? */
static int ask(const struct backend_session *session, const char *owner, struct fault *fault)
{
        const struct open_options *options = session->options;

        if (!options->may || options->may(options->may_arg, owner))
                return 0;
        return fault_session(fault, BACKEND_E_DENIED, session->name, "it belongs to somebody else");
}

/* From a connection to an open session. Nothing is written before everything has been read and checked. */
static int session_start(struct backend_session *session, bool seal, struct opened *opened,
                         struct fault *fault)
{
        int error = sqlite_examine(session, seal, &opened->identity, fault);

        if (!error)
                error = sqlite_load_owner(session, opened->owner, fault);
        if (!error)
                error = ask(session, opened->owner, fault);
        if (!error)
                error = sqlite_take(session, fault);
        if (!error)
                error = migrate_extras(session, &opened->identity, fault);
        if (!error)
                error = sqlite_seal_at_open(session, seal, &opened->identity, fault);
        if (!error)
                error = sqlite_load_states(session, &opened->states, &opened->n_states, fault);
        if (!error)
                error = load_remembered(session, opened, fault);
        if (error)
                return error;
        opened->dialect = session->dialect->group;
        opened->version = session->version;
        sqlite3_db_release_memory(session->db); /* of pages that were read for the check */
        sqlite_find_index(session);
        opened->keeps_address = session->columns & FIELD_BIT(FIELD_SERVER_ADDRESS);
        return 0;
}

static int open_file(struct backend_session *session, const struct library *library, bool seal,
                     struct opened *opened, struct fault *fault)
{
        int error = sqlite_file_prepare(session, library, &opened->created, fault);

        if (!error && !opened->created)
                error = sqlite_companions_try(session, seal, fault);
        if (!error)
                error = sqlite_connect(session, fault);
        if (!error)
                error = sqlite_budget_join(session, fault);
        return error ? error : session_start(session, seal, opened, fault);
}

static int open_memory(struct backend_session *session, const struct library *library, struct opened *opened,
                       struct fault *fault)
{
        int error;

        if (!library)
                return fault_session(fault, BACKEND_E_NOT_FOUND, session->name, "there is none in memory");
        error = sqlite_connect(session, fault);
        if (!error)
                error = sqlite_budget_join(session, fault);
        if (!error)
                error = sqlite_create(session, library, fault);
        opened->created = true;
        return error ? error : session_start(session, false, opened, fault);
}

static int sqlite_open(struct backend_env *env, const struct open_options *options,
                       struct backend_session **session, struct opened *opened, struct fault *fault)
{
        const struct library *library;
        struct backend_session *fresh;
        int error = find_library(options, &library, fault);

        if (error)
                return error;
        fresh = session_new(env, options->name, fault);
        if (!fresh)
                return BACKEND_E_STORAGE;
        if (!options->create)
                library = NULL;
        fresh->new_owner = options->owner;
        fresh->options = options;
        error = env->memory ? open_memory(fresh, library, opened, fault)
                            : open_file(fresh, library, options->seal, opened, fault);
        if (error) {
                if (fresh->disk_full && fresh->path)
                        sqlite_disk_full(env);
                error = session_abandon(fresh, opened->created, error, fault);
                opened->created = false;
                return error;
        }
        fresh->new_owner = SLICE_NONE;
        fresh->options = NULL;
        *session = fresh;
        return 0;
}

static int sqlite_close(struct backend_session *session, struct fault *fault)
{
        int error = sqlite_release(session, fault);

        session_free(session);
        return error;
}

static int sqlite_remove(struct backend_session *session, bool remove_peers, struct fault *fault)
{
        struct fault ignored;
        int error = 0;
        int unsynced;

        (void)remove_peers; /* peers are in the session's file */
        if (session->path)
                error = sqlite_file_remove(session, fault);
        if (error)
                return error;
        sqlite_enter_phase(session, PHASE_UNLINKED);
        unsynced = session->path ? sqlite_file_overwrite(session) : 0;
        sqlite_release(session, &ignored);
        if (session->path)
                error = sqlite_file_remove_beside(session, unsynced, fault);
        session_free(session);
        return error;
}

/* ---- file ---- */

/* A killed daemon or a library has left a journal, or gramd's mark. Opening and closing puts that in order.
 */
static void recover(struct backend_env *env, struct slice name)
{
        const struct open_options options = { .name = name };
        struct recovery *recovery = &env->recovery;
        size_t n_full = atomic_load(&env->n_full);
        struct backend_session *session;
        struct opened opened;
        struct fault fault;
        bool no_room;
        int error;

        opened_init(&opened);
        error = sqlite_open(env, &options, &session, &opened, &fault);
        if (!error)
                error = sqlite_close(session, &fault);
        no_room = error && atomic_load(&env->n_full) > n_full;
        recovery->n_done += !error;
        recovery->n_without_room += no_room;
        if (error && error != BACKEND_E_NOT_FOUND && env->config->log && (!no_room || recovery->is_last)) {
                char text[sizeof(fault.text) + 64];

                snprintf(text, sizeof(text), "recovering at start: %s; its file stays as it is", fault.text);
                env->config->log(env->config->log_arg, LOG_WARNING, text);
        }
        opened_deinit(&opened);
}

/*
 * On a full disk some sessions have to be put in order before there is room for others: so in rounds, as long
 * as one succeeds. What fails for lack of room is told in the last round.
 */
static int recover_all(struct backend_env *env, struct fault *fault)
{
        struct recovery *recovery = &env->recovery;
        int error;

        do {
                *recovery = (struct recovery){ .is_last = recovery->n_without_room && !recovery->n_done };
                error = sqlite_file_recover(env, recover, fault);
        } while (!error && recovery->n_without_room && !recovery->is_last);
        return error;
}

static const struct option file_options[] = {
        OPTION("page-cache", OPTION_SIZE, { .number = 24 * MIB }, 0, BUDGET_MAX,
               "Memory for SQLite's page caches of all open sessions together.", NULL),
        OPTION("log-max", OPTION_SIZE, { .number = 256 * MIB }, MIB, BUDGET_MAX,
               "Disk space for the write-ahead logs (-wal files) of all open sessions together, and at most "
               "a quarter of what is free.",
               NULL),
        { .name = NULL },
};

static int file_start(const struct backend_config *config, const union option_value *values,
                      struct backend_env **env, struct fault *fault)
{
        struct backend_env *fresh = env_new(config, values, false, fault);
        int error;

        if (!fresh)
                return BACKEND_E_STORAGE;
        fresh->log_max = (int64_t)values[1].number;
        atomic_init(&fresh->log_budget, fresh->log_max);
        fresh->dir = open(config->data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fresh->dir < 0) {
                error = fault_set(fault, BACKEND_E_STORAGE, "data directory %s: %s", config->data_dir,
                                  strerrordesc_np(errno));
        } else {
                sqlite_reserve_start(fresh);
                error = recover_all(fresh, fault);
        }
        if (error) {
                env_free(fresh);
                return error;
        }
        sqlite_reserve_keep(fresh);
        *env = fresh;
        return 0;
}

extern const struct backend backend_file;
const struct backend backend_file = {
        .name = "file",
        .owns = true,
        .n_descriptors = 2, /* the file and its -wal */
        .remembers = true,
        .options = file_options,
        .max_opens = FILE_OPENS_MAX,
        .max_writes = FILE_WRITES_MAX,
        .start = file_start,
        .stop = env_free,
        .open = sqlite_open,
        .close = sqlite_close,
        .remove = sqlite_remove,
        .find = sqlite_find,
        .scan_peers = sqlite_scan_peers,
        .scan_usernames = sqlite_scan_usernames,
        .count = sqlite_count,
        .kv_get = sqlite_kv_get,
        .kv_scan = sqlite_kv_scan,
        .kv_due = sqlite_kv_due,
        .apply = sqlite_apply,
        .sync = sqlite_sync_and_rest,
        .tidy = sqlite_tidy,
        .list = sqlite_file_list,
        .owner = sqlite_file_owner,
};

/* ---- memory ---- */

static const struct option memory_options[] = {
        OPTION("memory-max", OPTION_SIZE, { .number = 256 * MIB }, 64 * KIB, BUDGET_MAX,
               "Memory for all sessions of the backend memory together.", NULL),
        { .name = NULL },
};

static int memory_start(const struct backend_config *config, const union option_value *values,
                        struct backend_env **env, struct fault *fault)
{
        *env = env_new(config, values, true, fault);
        return *env ? 0 : BACKEND_E_STORAGE;
}

/* Memory sessions are not stored. */
static int memory_list(struct backend_env *env, struct slice after, stored_fn found, void *arg,
                       struct fault *fault)
{
        (void)env;
        (void)after;
        (void)found;
        (void)arg;
        (void)fault;
        return 0;
}

extern const struct backend backend_memory;
const struct backend backend_memory = {
        .name = "memory",
        .owns = true,
        .ephemeral = true,
        .options = memory_options,
        .start = memory_start,
        .stop = env_free,
        .open = sqlite_open,
        .close = sqlite_close,
        .remove = sqlite_remove,
        .find = sqlite_find,
        .scan_peers = sqlite_scan_peers,
        .scan_usernames = sqlite_scan_usernames,
        .count = sqlite_count,
        .kv_get = sqlite_kv_get,
        .kv_scan = sqlite_kv_scan,
        .kv_due = sqlite_kv_due,
        .apply = sqlite_apply,
        .sync = sqlite_sync,
        .list = memory_list,
};
