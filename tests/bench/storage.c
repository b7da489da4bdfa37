/*
 * The storages of a bot. In SQLite each call is a transaction, as in gramd: its rows survive the death of the
 * bot. `sqlite` has gramd's settings; `sqlite-file` has those of the libraries, with a rollback journal.
 */

#include "storage.h"

#include <err.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../client-lib/gram.h"
#include "sample.h"

enum { PUT_MAX = 100 };

struct storage {
        struct gram_client *client;
        struct gram_session *session;
        sqlite3 *db;
        sqlite3_stmt *begin, *commit, *put_peer, *put_state, *get_peer;
};

/* ---- gramd ---- */

static void need(const struct storage *storage, int code)
{
        if (code)
                errx(1, "gramd: %s", gram_client_error(storage->client)->message);
}

static struct storage *gramd_open(const char *place, const char *name, bool durable)
{
        struct storage *storage = calloc(1, sizeof(*storage));
        const struct gram_options options = { .socket = place };

        (void)durable; /* a setting of the daemon */
        if (!storage || !(storage->client = gram_client_new(&options)))
                err(1, "memory");
        need(storage, gram_open(storage->client, name, NULL, &storage->session));
        return storage;
}

static void gramd_put_peers(struct storage *storage, const uint64_t *numbers, size_t n)
{
        struct sample samples[PUT_MAX];
        struct gram_peer peers[PUT_MAX];

        for (size_t i = 0; i < n; i++) {
                sample_init(&samples[i], numbers[i]);
                peers[i] = (struct gram_peer){ .id = samples[i].id,
                                               .has_access_hash = true,
                                               .access_hash = samples[i].access_hash,
                                               .type = "user",
                                               .username = samples[i].username,
                                               .phone_number = samples[i].phone_number };
        }
        need(storage, gram_update_peers(storage->session, peers, n));
}

static void gramd_put_state(struct storage *storage, int64_t pts)
{
        const struct gram_state state = { .has = GRAM_STATE_ALL, .pts = pts, .date = time(NULL), .seq = 1 };

        need(storage, gram_update_states(storage->session, &state, 1, false));
}

static void gramd_get_peer(struct storage *storage, uint64_t number)
{
        struct gram_peer *peer;

        need(storage, gram_get_peer_by_id(storage->session, sample_id(number), &peer));
        gram_free(peer);
}

static void gramd_close(struct storage *storage)
{
        need(storage, gram_close(storage->session));
        gram_client_free(storage->client);
        free(storage);
}

/* ---- SQLite ---- */

static void check(const struct storage *storage, bool good)
{
        if (!good)
                errx(1, "SQLite: %s", sqlite3_errmsg(storage->db));
}

static void step(const struct storage *storage, sqlite3_stmt *statement)
{
        check(storage, sqlite3_step(statement) == SQLITE_DONE);
        sqlite3_reset(statement);
}

static sqlite3_stmt *prepare(const struct storage *storage, const char *sql)
{
        sqlite3_stmt *statement;

        check(storage, sqlite3_prepare_v3(storage->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement,
                                          NULL) == SQLITE_OK);
        return statement;
}

static struct storage *sqlite_open(const char *place, const char *name, const char *settings)
{
        static const char schema[] =
                "CREATE TABLE IF NOT EXISTS peers (id INTEGER PRIMARY KEY, access_hash INTEGER, type INTEGER "
                "NOT NULL,"
                " username TEXT, phone_number TEXT, last_update_on INTEGER NOT NULL);"
                "CREATE INDEX IF NOT EXISTS idx_peers_id ON peers (id);"
                "CREATE INDEX IF NOT EXISTS idx_peers_username ON peers (username);"
                "CREATE INDEX IF NOT EXISTS idx_peers_phone_number ON peers (phone_number);"
                "CREATE TABLE IF NOT EXISTS update_state (id INTEGER PRIMARY KEY, pts INTEGER, qts INTEGER,"
                " date INTEGER, seq INTEGER)";
        struct storage *storage = calloc(1, sizeof(*storage));
        char file[4096];

        if (!storage)
                err(1, "memory");
        snprintf(file, sizeof(file), "%s/%s.session", place, name);
        check(storage, sqlite3_open(file, &storage->db) == SQLITE_OK);
        check(storage, sqlite3_exec(storage->db, settings, NULL, NULL, NULL) == SQLITE_OK);
        check(storage, sqlite3_exec(storage->db, schema, NULL, NULL, NULL) == SQLITE_OK);
        storage->begin = prepare(storage, "BEGIN IMMEDIATE");
        storage->commit = prepare(storage, "COMMIT");
        storage->put_peer = prepare(storage, "REPLACE INTO peers VALUES (?1, ?2, ?3, ?4, ?5, ?6)");
        storage->put_state = prepare(storage, "REPLACE INTO update_state VALUES (0, ?1, 0, ?2, 1)");
        storage->get_peer = prepare(storage, "SELECT id, access_hash, type FROM peers WHERE id = ?1");
        return storage;
}

static struct storage *sqlite_open_wal(const char *place, const char *name, bool durable)
{
        return sqlite_open(place, name,
                           durable ? "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;"
                                     "PRAGMA wal_autocheckpoint = 10000; PRAGMA cache_size = -16384;"
                                     "PRAGMA synchronous = FULL"
                                   : "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;"
                                     "PRAGMA wal_autocheckpoint = 10000; PRAGMA cache_size = -16384;"
                                     "PRAGMA synchronous = NORMAL");
}

/* Both survive the death of the process. A loss of power loses what is not synchronised. */
static struct storage *sqlite_open_file(const char *place, const char *name, bool durable)
{
        return sqlite_open(place, name, durable ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = OFF");
}

static void sqlite_put_peers(struct storage *storage, const uint64_t *numbers, size_t n)
{
        step(storage, storage->begin);
        for (size_t i = 0; i < n; i++) {
                struct sample sample;

                sample_init(&sample, numbers[i]);
                sqlite3_bind_int64(storage->put_peer, 1, sample.id);
                sqlite3_bind_int64(storage->put_peer, 2, sample.access_hash);
                sqlite3_bind_text(storage->put_peer, 3, "user", 4, SQLITE_STATIC);
                sqlite3_bind_text(storage->put_peer, 4, sample.username, -1, SQLITE_TRANSIENT);
                sqlite3_bind_text(storage->put_peer, 5, sample.phone_number, -1, SQLITE_TRANSIENT);
                sqlite3_bind_int64(storage->put_peer, 6, time(NULL));
                step(storage, storage->put_peer);
        }
        step(storage, storage->commit);
}

static void sqlite_put_state(struct storage *storage, int64_t pts)
{
        sqlite3_bind_int64(storage->put_state, 1, pts);
        sqlite3_bind_int64(storage->put_state, 2, time(NULL));
        step(storage, storage->put_state);
}

static void sqlite_get_peer(struct storage *storage, uint64_t number)
{
        sqlite3_bind_int64(storage->get_peer, 1, sample_id(number));
        check(storage, sqlite3_step(storage->get_peer) == SQLITE_ROW);
        sqlite3_reset(storage->get_peer);
}

static void sqlite_close_file(struct storage *storage)
{
        sqlite3_stmt *const statements[] = { storage->begin, storage->commit, storage->put_peer,
                                             storage->put_state, storage->get_peer };

        for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++)
                sqlite3_finalize(statements[i]);
        sqlite3_close(storage->db);
        free(storage);
}

static const struct storage_kind kinds[] = {
        { "gramd", gramd_open, gramd_put_peers, gramd_put_state, gramd_get_peer, gramd_close },
        { "sqlite", sqlite_open_wal, sqlite_put_peers, sqlite_put_state, sqlite_get_peer, sqlite_close_file },
        { "sqlite-file", sqlite_open_file, sqlite_put_peers, sqlite_put_state, sqlite_get_peer,
          sqlite_close_file },
};

const struct storage_kind *storage_kind(const char *name)
{
        for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
                if (strcmp(kinds[i].name, name) == 0)
                        return &kinds[i];
        return NULL;
}
