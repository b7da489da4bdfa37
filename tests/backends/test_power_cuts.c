/*
 * Random lives of a session on a disk that fails (model_disk.h): batches, syncs, checkpoints and closes,
 * ended by a kill or a power cut at any call. Afterwards the file must hold one of the states that the
 * answers allow: nothing that was refused as `storage`, and everything that was answered as being on the
 * disk.
 *
 * POWER_CUTS_SEED makes one seed again; POWER_CUTS_SECONDS goes on with new ones for so long.
 */

#include <check.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <time.h>

#include "../support/model_disk.h"
#include "../support/program.h"
#include "../support/session_file.h"
#include "../support/storage.h"

#define PATH "data/x.session"

enum { N_PEERS = 160, BATCHES_MAX = 400, LIVES = 6, OPS_MAX = 24, CUTS = 3, SECONDS = 5 };

enum outcome {
        PENDING,   /* the process was killed meanwhile */
        COMMITTED, /* whether it is on the disk or not */
        UNKNOWN,   /* `unavailable`: not there, but it may come back until something else is stored */
        REFUSED,   /* `storage` */
};

struct batch {
        enum outcome outcome;
        int hashes[N_PEERS]; /* of all peers after it, 0: no such peer; that of the first tells the batch */
};

/* Shared with the processes. */
static struct ledger {
        struct batch batches[BATCHES_MAX];
        int n;
        int last;    /* committed */
        int durable; /* the last one that is certainly on the disk */
        char complaint[512];
} * ledger;

static struct storage at;
static int page_bytes;
static bool small_cache;

static void complain(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

static void complain(const char *format, ...)
{
        va_list args;

        va_start(args, format);
        vsnprintf(ledger->complaint, sizeof(ledger->complaint), format, args);
        va_end(args);
        _exit(1);
}

/* ---- one life, in a process of its own ---- */

static bool expected_error(int error)
{
        return error == BACKEND_E_STORAGE || error == BACKEND_E_UNAVAILABLE || error == BACKEND_E_UNSYNCED;
}

static void set_weather(bool bad)
{
        int *const chances[] = { &model->sync_log, &model->sync_db,  &model->sync_directory, &model->write,
                                 &model->read,     &model->truncate, &model->unlink };

        for (size_t i = 0; i < sizeof(chances) / sizeof(*chances); i++)
                *chances[i] = !bad || model_random(2) ? 0 : (int)(1u << model_random(11));
        model->read /= 8;
}

static bool count_down(void *arg, const struct effect *effect)
{
        (void)effect;
        return --*(int *)arg != 0;
}

static enum outcome outcome_of(int error)
{
        if (!expected_error(error) && error)
                complain("a batch: %d: %s", error, at.fault.text);
        if (error == BACKEND_E_STORAGE)
                return REFUSED;
        return error == BACKEND_E_UNAVAILABLE ? UNKNOWN : COMMITTED;
}

static void apply_batch(bool large, bool fails)
{
        static struct peer peers[N_PEERS];
        static char names[N_PEERS][256];
        struct batch *batch = &ledger->batches[ledger->n];
        const struct change change = { .kind = CHANGE_PEERS, .peers = peers };
        struct change changes[] = { change };
        enum durability durability = model_random(2) ? DURABLE_DISK : DURABLE_SYSTEM;
        int left = fails ? 1 + (int)model_random(large ? N_PEERS : 2) : -1;
        int error;

        *batch = ledger->batches[ledger->last];
        batch->outcome = PENDING;
        for (int id = 0; id < N_PEERS; id++) {
                if (id > 0 && model_random(large ? 2 : 60) > 0)
                        continue;
                batch->hashes[id] = ledger->n;
                snprintf(names[id], sizeof(names[id]), "%0*u", 20 + (int)model_random(200),
                         model_random(1000000) * N_PEERS + (unsigned)id);
                peers[changes[0].n++] = storage_peer(1 + id, ledger->n, "user", names[id], NULL, 1);
        }
        ledger->n++;
        error = at.backend->apply(at.session, changes, 1, durability, count_down, &left, &at.fault);
        model_trace("batch %d: %d\n", ledger->n - 1, error);
        batch->outcome = outcome_of(error);
        if (batch->outcome == COMMITTED)
                ledger->last = ledger->n - 1;
        if (!error && durability == DURABLE_DISK)
                ledger->durable = ledger->last;
}

static bool on_peer(void *arg, const struct peer *peer)
{
        int *hashes = arg;

        if (peer->id < 1 || peer->id > N_PEERS)
                complain("a read: a peer %lld", (long long)peer->id);
        hashes[peer->id - 1] = (int)peer->access_hash;
        return true;
}

static void read_all(void)
{
        int hashes[N_PEERS] = { 0 };
        int error = at.backend->scan_peers(at.session, NULL, N_PEERS + 1, on_peer, hashes, &at.fault);

        if (error && error != BACKEND_E_STORAGE)
                complain("a read: %d: %s", error, at.fault.text);
        if (!error && memcmp(hashes, ledger->batches[ledger->last].hashes, sizeof(hashes)) != 0)
                complain("a read returns another state than that of the last committed batch");
}

static void close_session(void)
{
        int error = at.backend->close(at.session, &at.fault);

        model_trace("close: %d\n", error);
        at.session = NULL;
        if (!error)
                ledger->durable = ledger->last;
        else if (!expected_error(error))
                complain("closing: %d: %s", error, at.fault.text);
}

static void open_session(void)
{
        for (int i = 0; !at.session; i++) {
                int error = storage_try(&at, "x", NULL, false);

                model_trace("open: %d\n", error);
                if (error && !expected_error(error))
                        complain("opening: %d: %s", error, at.fault.text);
                if (i == 2)
                        set_weather(false);
                if (i > 3)
                        complain("it cannot be opened on a disk that is well: %s", at.fault.text);
        }
        ledger->durable = ledger->last; /* what was found is written again and synced */
        read_all();
}

static void do_something(void)
{
        unsigned what = model_random(16);
        int error = 0;

        model_trace("do %u\n", what);
        if (what < 6)
                apply_batch(false, model_random(8) == 0);
        else if (what < 9)
                apply_batch(true, model_random(4) == 0);
        else if (what < 11)
                error = at.backend->sync(at.session, &at.fault);
        else if (what < 12)
                at.backend->tidy(at.session, &at.fault);
        else if (what < 13)
                set_weather(model_random(2));
        else if (what < 14)
                close_session();
        else
                read_all();
        if (error && error != BACKEND_E_UNSYNCED)
                complain("a sync: %d: %s", error, at.fault.text);
        if ((what == 9 || what == 10) && !error)
                ledger->durable = ledger->last;
        if (!at.session)
                open_session();
}

static void live(void)
{
        bool at_start = model_random(3) == 0; /* else the log is found by `open`, not by the daemon's start */

        model_see();
        set_weather(model_random(3) > 0);
        model->calls_to_kill = model_random(3) ? (int)(1u << model_random(11)) : -1;
        if (!at_start) {
                rename("data", "hidden");
                mkdir("data", 0700);
        }
        storage_start(&at, storage_backend("file"), "data");
        if (small_cache)
                storage_restart_with(&at, "page-cache", 0);
        if (!at_start) {
                rename("hidden/x.session-wal", "data/x.session-wal");
                rename("hidden/x.session", "data/x.session");
        }
        open_session();
        for (unsigned n = 1 + model_random(OPS_MAX); n > 0 && ledger->n < BATCHES_MAX; n--)
                do_something();
        if (model_random(2))
                _exit(MODEL_KILLED);
        close_session();
        storage_stop(&at);
}

/* ---- what it leaves ---- */

/* The batch whose state the files have; -1: none that is allowed. `text` says what they have. */
static int find_state(const char *path, int from, char text[256])
{
        int hashes[N_PEERS] = { 0 }, found = -1;
        sqlite3_stmt *statement = NULL;
        sqlite3 *db;
        int rc = sqlite3_open(path, &db);

        snprintf(text, 256, "what is no state of any batch");
        sqlite3_prepare_v2(db, "SELECT id, access_hash FROM peers", -1, &statement, NULL);
        while ((rc = sqlite3_step(statement)) == SQLITE_ROW)
                hashes[sqlite3_column_int(statement, 0) - 1] = sqlite3_column_int(statement, 1);
        if (rc != SQLITE_DONE)
                snprintf(text, 256, "%s", sqlite3_errmsg(db));
        sqlite3_finalize(statement);
        if (rc == SQLITE_DONE && hashes[0] < ledger->n &&
            memcmp(hashes, ledger->batches[hashes[0]].hashes, sizeof(hashes)) == 0) {
                const struct batch *batch = &ledger->batches[hashes[0]];

                snprintf(text, 256, "batch %d, outcome %d", hashes[0], batch->outcome);
                if (hashes[0] == ledger->last || (batch->outcome == COMMITTED && hashes[0] >= from) ||
                    (batch->outcome != REFUSED && hashes[0] > ledger->last))
                        found = hashes[0];
        }
        sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &statement, NULL);
        if (sqlite3_step(statement) != SQLITE_ROW ||
            strcmp((const char *)sqlite3_column_text(statement, 0), "ok") != 0)
                found = -1;
        sqlite3_finalize(statement);
        sqlite3_close(db);
        return found;
}

static void copy(const char *from, const char *to)
{
        size_t len;
        TEST_FREED char *data = NULL;

        unlink(to);
        if (access(from, F_OK) != 0)
                return;
        data = test_read_file(from, &len);
        test_write_file(to, data, len);
}

static int check(const char *what, uint64_t seed, int life, int from)
{
        char text[256];
        int found = find_state("check/x.session", from, text);

        ck_assert_msg(found >= 0,
                      "seed %llu, life %d, %s: the file has %s; last committed %d, on the disk %d of %d",
                      (unsigned long long)seed, life, what, text, ledger->last, ledger->durable, ledger->n);
        return found;
}

static void bring_back_hidden(void)
{
        rename("hidden/x.session", "data/x.session");
        rename("hidden/x.session-wal", "data/x.session-wal");
        test_remove("hidden");
}

/* The life has ended. Looks at what a kill and what power cuts leave, and goes on with one of them. */
static void end_life(uint64_t seed, int life)
{
        bool is_cut = model_random(2);
        int found;

        model_trace("life %d ends: %s\n", life, is_cut ? "cut" : "kill");
        bring_back_hidden();
        copy(PATH, "check/x.session");
        copy(PATH "-wal", "check/x.session-wal");
        found = check("after a kill", seed, life, ledger->last);
        for (int i = 0; i < CUTS + is_cut; i++) {
                int state;

                model_cut("check/x.session", "check/x.session-wal");
                if (i == CUTS) { /* goes on with it */
                        copy("check/x.session", PATH);
                        copy("check/x.session-wal", PATH "-wal");
                }
                state = check("after a power cut", seed, life, ledger->durable);
                if (i == CUTS)
                        found = state;
        }
        for (int i = 1; i < ledger->n; i++)
                if (i != found && (i > found || ledger->batches[i].outcome != COMMITTED))
                        ledger->batches[i].outcome = REFUSED;
        ledger->batches[found].outcome = COMMITTED;
        ledger->last = found;
        if (!is_cut)
                return;
        ledger->durable = found;
        model->log = model->stored_log = MODEL_NONE;
        model_take(0, PATH);
        if (access(PATH "-wal", F_OK) == 0) {
                model->log = model->stored_log = 1;
                model_take(1, PATH "-wal");
        }
}

static void run_seed(uint64_t seed)
{
        static const int sizes[] = { 512, 1024, 4096, 4096, 4096, 16384, 65536 };

        model_start(seed);
        memset(ledger, 0, sizeof(*ledger));
        ledger->n = 1;
        ledger->batches[0].outcome = COMMITTED;
        page_bytes = sizes[model_random(sizeof(sizes) / sizeof(*sizes))];
        small_cache = model_random(2);
        test_remove("hidden");
        test_remove("data");
        storage_start(&at, storage_backend("file"), "data");
        storage_open(&at, "x", NULL);
        storage_stop(&at);
        sql(PATH, "PRAGMA page_size = %d; VACUUM", page_bytes);
        model_take(0, PATH);
        for (int life = 0; life < LIVES && ledger->n < BATCHES_MAX - 1; life++) {
                pid_t child = fork();
                int status;

                if (child == 0) {
                        live();
                        _exit(0);
                }
                ck_assert_int_eq(waitpid(child, &status, 0), child);
                ck_assert_msg(WIFEXITED(status) &&
                                      (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == MODEL_KILLED),
                              "seed %llu, life %d, pages of %d: status %x: %s", (unsigned long long)seed,
                              life, page_bytes, (unsigned)status, ledger->complaint);
                end_life(seed, life);
        }
}

static int64_t now_s(void)
{
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return now.tv_sec;
}

START_TEST(what_answers_promise_holds_after_any_end)
{
        const char *again = getenv("POWER_CUTS_SEED"), *seconds = getenv("POWER_CUTS_SECONDS");
        uint64_t seed = again ? strtoull(again, NULL, 10) : (uint64_t)time(NULL) % 100000 * 1000;
        int64_t end = now_s() + (seconds ? atoi(seconds) : SECONDS);
        int n = 0;

        mkdir("check", 0700);
        ledger = mmap(NULL, sizeof(*ledger), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        ck_assert(ledger != MAP_FAILED);
        printf("power cuts: from seed %llu on\n", (unsigned long long)seed);
        fflush(stdout);
        do
                run_seed(seed++);
        while (++n && !again && now_s() < end);
        printf("power cuts: %d seeds, as promised\n", n);
        test_remove("check");
        test_remove("data");
        munmap(ledger, sizeof(*ledger));
}
END_TEST

int main(void)
{
        Suite *suite = suite_create("power_cuts");
        TCase *tcase = tcase_create("power_cuts");
        SRunner *runner = srunner_create(suite);
        int failed;

        tcase_set_timeout(tcase, 0);
        tcase_add_test(tcase, what_answers_promise_holds_after_any_end);
        suite_add_tcase(suite, tcase);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
