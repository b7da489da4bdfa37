/*
 * SQLite in the process, as in a program that stores its peers itself: the table and indexes of the
 * libraries' session files, prepared statements, and gramd's settings. It writes new rows in transactions of
 * `rows`, or looks up peers by id. Prints one line of JSON.
 *
 *     sqlite file=PATH operation=put rows=100 seconds=1 durable=1
 */

#include <err.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "histogram.h"
#include "options.h"
#include "sample.h"

static const char schema[] =
        "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 10000;"
        "PRAGMA journal_size_limit = 67108864; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16384;"
        "CREATE TABLE IF NOT EXISTS peers (id INTEGER PRIMARY KEY, access_hash INTEGER, type INTEGER NOT "
        "NULL,"
        " username TEXT, phone_number TEXT, last_update_on INTEGER NOT NULL);"
        "CREATE INDEX IF NOT EXISTS idx_peers_id ON peers (id);"
        "CREATE INDEX IF NOT EXISTS idx_peers_username ON peers (username);"
        "CREATE INDEX IF NOT EXISTS idx_peers_phone_number ON peers (phone_number);";

struct bench {
        sqlite3 *db;
        sqlite3_stmt *begin, *commit, *insert, *select;
        uint64_t next, random, peers;
        struct histogram times;
        uint64_t n;
};

static void check(const struct bench *bench, bool good)
{
        if (!good)
                errx(1, "%s", sqlite3_errmsg(bench->db));
}

static sqlite3_stmt *prepare(const struct bench *bench, const char *sql)
{
        sqlite3_stmt *statement;

        check(bench, sqlite3_prepare_v3(bench->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL) ==
                             SQLITE_OK);
        return statement;
}

static void step(const struct bench *bench, sqlite3_stmt *statement)
{
        check(bench, sqlite3_step(statement) == SQLITE_DONE);
        sqlite3_reset(statement);
}

static void insert(struct bench *bench)
{
        struct sample sample;

        sample_init(&sample, bench->next++);
        sqlite3_bind_int64(bench->insert, 1, sample.id);
        sqlite3_bind_int64(bench->insert, 2, sample.access_hash);
        sqlite3_bind_text(bench->insert, 3, "user", 4, SQLITE_STATIC);
        sqlite3_bind_text(bench->insert, 4, sample.username, -1, SQLITE_TRANSIENT);
        sqlite3_bind_text(bench->insert, 5, sample.phone_number, -1, SQLITE_TRANSIENT);
        sqlite3_bind_int64(bench->insert, 6, time(NULL));
        step(bench, bench->insert);
}

static void put(struct bench *bench, unsigned rows)
{
        step(bench, bench->begin);
        for (unsigned i = 0; i < rows; i++)
                insert(bench);
        step(bench, bench->commit);
}

static void get(struct bench *bench)
{
        sqlite3_bind_int64(bench->select, 1, sample_id(sample_random_below(&bench->random, bench->peers)));
        check(bench, sqlite3_step(bench->select) == SQLITE_ROW);
        sqlite3_reset(bench->select);
}

static uint64_t now_ns(void)
{
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void open_file(struct bench *bench, const char *file, bool durable)
{
        check(bench, sqlite3_open(file, &bench->db) == SQLITE_OK);
        check(bench, sqlite3_exec(bench->db, schema, NULL, NULL, NULL) == SQLITE_OK);
        check(bench,
              sqlite3_exec(bench->db, durable ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL",
                           NULL, NULL, NULL) == SQLITE_OK);
        bench->begin = prepare(bench, "BEGIN IMMEDIATE");
        bench->commit = prepare(bench, "COMMIT");
        bench->insert = prepare(
                bench, "INSERT INTO peers (id, access_hash, type, username, phone_number, last_update_on)"
                       " VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (id) DO NOTHING");
        bench->select = prepare(bench, "SELECT id, access_hash, type, username, phone_number, last_update_on"
                                       " FROM peers WHERE id = ?1");
}

static long own_memory(void)
{
        FILE *file = fopen("/proc/self/status", "r");
        char line[256];
        long kib = 0;

        while (file && fgets(line, sizeof(line), file))
                if (sscanf(line, "RssAnon: %ld", &kib) == 1)
                        break;
        if (file)
                fclose(file);
        return kib * 1024;
}

/* The memory of open files that have been read and written. They stay open until the process ends. */
static int hold_files(struct bench *bench, const char *file, int count)
{
        long before = own_memory();

        for (int i = 0; i < count; i++) {
                char name[4096];

                snprintf(name, sizeof(name), "%s-%d", file, i);
                open_file(bench, name, false);
                put(bench, 1);
        }
        printf("{\"bytes\": %.1f}\n", (double)(own_memory() - before) / count);
        return 0;
}

int main(int argc, char **argv)
{
        static struct bench bench = { .random = 88172645463325252u };
        const char *file = NULL, *operation = "put";
        double rows = 100, seconds = 1, count = 0, durable = 0, first = 0, peers = 0, core = -1;
        const struct option_row options[] = {
                { "file", &file, NULL },   { "operation", &operation, NULL },
                { "rows", NULL, &rows },   { "seconds", NULL, &seconds },
                { "count", NULL, &count }, { "durable", NULL, &durable },
                { "first", NULL, &first }, { "peers", NULL, &peers },
                { "core", NULL, &core },
        };
        bool reads;
        uint64_t start, now, end;

        options_read(options, sizeof(options) / sizeof(options[0]), argc, argv);
        reads = strcmp(operation, "get_id") == 0;
        if (!file || (reads && peers < 1))
                errx(2, "a file is needed, and to read, the number of its peers");
        pin_to_core((int)core);
        bench.next = (uint64_t)first;
        bench.peers = (uint64_t)peers;
        if (strcmp(operation, "hold") == 0)
                return hold_files(&bench, file, (int)count);
        open_file(&bench, file, durable > 0);
        start = now = now_ns();
        end = start + (uint64_t)(seconds * 1e9);
        while (count > 0 ? (double)bench.next < first + count : now < end) {
                uint64_t before = now;

                if (reads)
                        get(&bench);
                else
                        put(&bench, (unsigned)rows);
                bench.n++;
                now = now_ns();
                histogram_add(&bench.times, now - before);
        }
        seconds = (double)(now - start) / 1e9;
        printf("{\"requests\": %llu, \"errors\": 0, \"seconds\": %.4f, \"rate\": %.1f, \"p50_us\": %.1f, "
               "\"p99_us\": %.1f, \"p999_us\": %.1f}\n",
               (unsigned long long)bench.n, seconds, (double)bench.n / seconds,
               histogram_quantile(&bench.times, 0.5), histogram_quantile(&bench.times, 0.99),
               histogram_quantile(&bench.times, 0.999));
        sqlite3_finalize(bench.begin);
        sqlite3_finalize(bench.commit);
        sqlite3_finalize(bench.insert);
        sqlite3_finalize(bench.select);
        return sqlite3_close(bench.db) == SQLITE_OK ? 0 : 1;
}
