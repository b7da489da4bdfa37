/*
 * Each allocation of a session's life in a backend fails in turn: that one, all of the same call from there
 * on, or all that follow. Every answer is true: a refused write has changed nothing, an acknowledged one is
 * there, a read answers what a read with memory answers. The same call succeeds afterwards. Nothing is used
 * after it was freed, and nothing is lost.
 *
 * What must be there is read from a session in which exactly the acknowledged writes were made.
 *
 * 40 allocations of each kind of session are tried; for $MEMORY_SECONDS, as many as it takes, from a place
 * that differs from run to run.
 */

#include <check.h>
#include <glob.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../support/failing_memory.h"
#include "../support/no_fsync.h"
#include "../support/program.h"
#include "../support/session_file.h"
#include "../support/storage.h"

enum { TEXT = 8192, SAMPLE = 40, STRIDE = 7919, SPARE_CHUNKS = 8 };

static const struct kind {
        const char *backend;
        const char *dialect; /* of a new session */
        const char *found;   /* or a library's file */
} kinds[] = {
        { "file", "pyrogram", NULL },   { "file", "telethon", NULL },   { "file", NULL, "kurigram-3-to-7" },
        { "file", NULL, "telethon-8" }, { "memory", "pyrogram", NULL },
};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static const struct kind *kind;
static struct storage at;
static char trouble[256]; /* which allocation fails, for messages */

#define EXPECT(condition, ...)                                                                               \
        do {                                                                                                 \
                if (!(condition)) {                                                                          \
                        fprintf(stderr, "allocations: %s: ", trouble);                                       \
                        fprintf(stderr, __VA_ARGS__);                                                        \
                        fprintf(stderr, "\n");                                                               \
                        ck_abort_msg("%s: %s", trouble, #condition);                                         \
                }                                                                                            \
        } while (0)

#define ARMED(call)                                                                                          \
        __extension__({                                                                                      \
                int result;                                                                                  \
                memory_arm();                                                                                \
                result = (call);                                                                             \
                memory_disarm();                                                                             \
                result;                                                                                      \
        })

static void no_log(void *arg, enum log_level level, const char *text)
{
        (void)arg;
        (void)level;
        (void)text;
}

/* ---- writes ---- */

/* Stands for the daemon's, which copies what it is told. */
static bool keep_effect(void *arg, const struct effect *effect)
{
        (void)arg;
        (void)effect;
        return !memory_fails();
}

static int apply(const struct change *changes, size_t n, enum durability durability)
{
        return at.backend->apply(at.session, changes, n, durability, keep_effect, NULL, &at.fault);
}

#include "../support/some_writes.h"

/* ---- reads ---- */

struct text {
        char bytes[TEXT];
        size_t n;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *text, const char *format, ...)
{
        bool armed = memory_armed;
        va_list args;

        memory_armed = false; /* printf() may allocate, but is the test's */
        va_start(args, format);
        text->n += (size_t)vsnprintf(text->bytes + text->n, TEXT - text->n, format, args);
        va_end(args);
        ck_assert_uint_lt(text->n, TEXT);
        memory_armed = armed;
}

#define SHOWN(slice) (slice).data ? (int)(slice).len : 3, (slice).data ? (slice).data : "nil"

static bool add_peer(void *arg, const struct peer *peer)
{
        if (memory_fails())
                return false;
        add(arg, "%lld %lld %.*s %.*s %.*s %lld; ", (long long)peer->id,
            peer->has_access_hash ? (long long)peer->access_hash : -77LL, SHOWN(peer->type),
            SHOWN(peer->username), SHOWN(peer->phone_number), (long long)peer->last_update_on);
        return true;
}

static bool add_match(void *arg, const struct match *match)
{
        if (!add_peer(arg, &match->peer))
                return false;
        add(arg, "(%d %lld) ", match->from_table, match->has_row_time ? (long long)match->row_time : -77LL);
        return true;
}

static bool add_name(void *arg, struct slice name, int64_t peer_id, const int64_t *time)
{
        if (memory_fails())
                return false;
        add(arg, "%.*s %lld %lld; ", SHOWN(name), (long long)peer_id, time ? (long long)*time : -77LL);
        return true;
}

/* Its false would not be an error, but the wanted end of the list. */
static bool add_stored(void *arg, const struct stored_session *stored)
{
        add(arg, "%.*s; ", SHOWN(stored->name));
        return true;
}

static int find_some(struct text *text)
{
        const struct lookup lookups[] = { { LOOKUP_ID, .id = 1 },
                                          { LOOKUP_ID, .id = 0 },
                                          { LOOKUP_USERNAME, .text = slice_of("anna") },
                                          { LOOKUP_USERNAME, .text = slice_of("bella") },
                                          { LOOKUP_PHONE, .text = slice_of("41") } };

        return at.backend->find(at.session, lookups, 5, add_match, text, &at.fault);
}

static int scan_peers(struct text *text)
{
        return at.backend->scan_peers(at.session, NULL, 100, add_peer, text, &at.fault);
}

static int scan_names(struct text *text)
{
        return at.backend->scan_usernames(at.session, (struct slice){ NULL, 0 }, 0, 100, add_name, text,
                                          &at.fault);
}

/* Its false would not be an error. */
static bool add_value(void *arg, const struct kv_value *value)
{
        add(arg, "%.*s=%.*s %lld; ", SHOWN(value->key), SHOWN(value->value), (long long)value->expires_ms);
        return true;
}

static int scan_values(struct text *text)
{
        const struct slice keys[] = { slice_of("c"), slice_of("none"), slice_of("d") };
        int64_t due_ms = 0;
        int error = at.backend->kv_scan(at.session, slice_of(""), (struct slice){ NULL, 0 }, add_value, text,
                                        &at.fault);

        if (!error)
                error = at.backend->kv_get(at.session, keys, 3, add_value, text, &at.fault);
        if (!error)
                error = at.backend->kv_due(at.session, &due_ms, &at.fault);
        add(text, "%lld; ", (long long)due_ms);
        return error;
}

static int count(struct text *text)
{
        struct counts counts;
        int error = at.backend->count(at.session, &counts, &at.fault);

        if (!error)
                add(text, "%lld %lld; ", (long long)counts.peers, (long long)counts.usernames);
        return error;
}

static int list(struct text *text)
{
        return at.backend->list(at.env, (struct slice){ NULL, 0 }, add_stored, text, &at.fault);
}

static int (*const reads[])(struct text *text) = {
        find_some, scan_peers, scan_names, scan_values, count, list
};
enum { READS = sizeof(reads) / sizeof(reads[0]) };

/* All that can be read of the open session. */
static void read_all(struct text *text)
{
        for (size_t i = 0; i < READS; i++) {
                int error = reads[i](text);

                EXPECT(error == 0, "read %zu with memory: %d: %s", i, error, at.fault.text);
        }
}

static void read_short(void)
{
        for (size_t i = 0; i < READS; i++) {
                struct text with_memory = { .n = 0 }, without = { .n = 0 };
                int error = ARMED(reads[i](&without));
                int again = reads[i](&with_memory);

                EXPECT(error == 0 || error == BACKEND_E_STORAGE, "read %zu: %d: %s", i, error, at.fault.text);
                EXPECT(again == 0, "read %zu again: %d: %s", i, again, at.fault.text);
                EXPECT(error || strcmp(without.bytes, with_memory.bytes) == 0, "read %zu: %s instead of %s",
                       i, without.bytes, with_memory.bytes);
        }
}

/* What the daemon keeps, as it was loaded. */
static void add_opened(struct text *text)
{
        const struct identity *identity = &at.opened.identity;

        add(text, "%s %d: ", at.opened.dialect, at.opened.version);
        for (enum field field = 0; field < FIELD_COUNT; field++)
                if (identity_has(identity, field))
                        add(text, "%s %lld ", field_infos[field].name,
                            field == FIELD_AUTH_KEY ? (long long)identity->auth_key[2]
                                                    : (long long)identity->number[field]);
        add(text, "%s; ", identity->server_address ? identity->server_address : "nil");
        for (size_t i = 0; i < at.opened.n_states; i++) {
                const struct state *state = &at.opened.states[i];

                add(text, "%lld %x", (long long)state->id, state->present);
                for (int part = 0; part < STATE_PARTS; part++)
                        add(text, " %lld",
                            (long long)(state->present & 1u << part ? state->part[part] : -77));
                add(text, "; ");
        }
}

/* ---- a life ---- */

static void expect_files(const char *pattern, size_t n)
{
        glob_t found;

        glob(pattern, 0, NULL, &found);
        EXPECT(found.gl_pathc == n, "%zu files %s instead of %zu", found.gl_pathc, pattern, n);
        globfree(&found);
}

static void open_session(bool create)
{
        int error = storage_try(&at, "x", kind->dialect, create);

        EXPECT(error == 0, "opening with memory: %d: %s", error, at.fault.text);
}

static void open_short(bool create)
{
        const struct open_options options = { .name = slice_of("x"),
                                              .create = create,
                                              .dialect = slice_of(kind->dialect) };
        const bool is_new = create && !kind->found;
        int error;

        opened_deinit(&at.opened);
        opened_init(&at.opened);
        error = ARMED(at.backend->open(at.env, &options, &at.session, &at.opened, &at.fault));
        if (!error)
                return;
        at.session = NULL;
        EXPECT(error == BACKEND_E_STORAGE && at.fault.text[0], "opening: %d: %s", error, at.fault.text);
        if (is_new) /* a file that was there may keep a -wal until the next start */
                expect_files("data/x.session*", 0);
        open_session(is_new);
}

/* Returns whether it went well. */
static bool close_short(void)
{
        int error = ARMED(at.backend->close(at.session, &at.fault));

        at.session = NULL;
        EXPECT(error == 0 || error == BACKEND_E_STORAGE, "closing: %d: %s", error, at.fault.text);
        return error == 0;
}

/* As a library sees it. */
static void expect_file_in_order(void)
{
        expect_files("data/x.session*", 1);
        storage_expect(sql_text("data/x.session", "PRAGMA integrity_check"), "'ok'");
        storage_expect(sql_text("data/x.session", "PRAGMA journal_mode"), "'delete'");
        storage_expect(sql_text("data/x.session", "PRAGMA application_id"), "0");
}

static void start_short(void)
{
        int error;

        at.backend->stop(at.env);
        error = ARMED(at.backend->start(&at.config, at.values, &at.env, &at.fault));
        EXPECT(error == 0 || (error == BACKEND_E_STORAGE && at.fault.text[0]), "starting: %d", error);
        if (error)
                EXPECT(at.backend->start(&at.config, at.values, &at.env, &at.fault) == 0, "%s",
                       at.fault.text);
}

static void begin(void)
{
        storage_start(&at, storage_backend(kind->backend), "data");
        at.config.log = no_log;
        if (kind->found)
                session_file_make(session_file(kind->found), "data/x.session");
}

static void end(void)
{
        if (at.session)
                storage_close(&at);
        storage_stop(&at);
        test_remove("data");
}

/* Bits of the writes that were acknowledged, of those in `wanted`. */
static unsigned write_short(unsigned wanted)
{
        unsigned done = 0;

        for (unsigned i = 0; i < WRITES; i++) {
                int error = wanted & 1u << i ? ARMED(writes[i].run()) : BACKEND_E_STORAGE;

                EXPECT(error == 0 || error == BACKEND_E_STORAGE || error == BACKEND_E_UNSYNCED, "%s: %d: %s",
                       writes[i].name, error, at.fault.text);
                if (error != BACKEND_E_STORAGE) /* UNSYNCED: it has happened */
                        done |= 1u << i;
        }
        return done;
}

static void write_missing(unsigned done)
{
        for (unsigned i = 0; i < WRITES; i++) {
                int error = done & 1u << i ? 0 : writes[i].run();

                EXPECT(error == 0, "%s with memory: %d: %s", writes[i].name, error, at.fault.text);
        }
}

/* Ends the session, unless that would lose it, and reads it anew. */
static void reopen(struct text *text)
{
        if (!at.backend->ephemeral) {
                bool closed = close_short();

                open_short(false);
                add_opened(text);
                /* After a close that failed they stay, as after the death of the daemon. */
                EXPECT(!closed || !at.opened.n_remembered, "a closed session remembers writes");
                storage_close(&at);
                expect_file_in_order();
                open_session(false);
        }
        read_all(text);
}

/* What is there after exactly these writes; and `all`, after the missing ones have followed. */
static const char *after_writes(unsigned done, bool all)
{
        enum { KNOWN = 64 };
        static struct known {
                const struct kind *kind;
                unsigned done;
                bool all;
                struct text text;
        } known[KNOWN];
        static size_t n;
        struct known *one = known;

        while (one < known + n && (one->kind != kind || one->done != done || one->all != all))
                one++;
        if (one < known + n)
                return one->text.bytes;
        if (n == KNOWN)
                n = 0;
        one = &known[n++];
        *one = (struct known){ .kind = kind, .done = done, .all = all };
        begin();
        open_session(!kind->found);
        EXPECT(write_short(done) == done, "a write with memory failed");
        if (all)
                write_missing(done);
        reopen(&one->text);
        end();
        return one->text.bytes;
}

static void remove_short(void)
{
        struct text before = { .n = 0 }, after = { .n = 0 };
        int error;

        read_all(&before);
        error = ARMED(at.backend->remove(at.session, true, &at.fault));
        EXPECT(error == 0 || error == BACKEND_E_STORAGE || error == BACKEND_E_UNSYNCED, "removing: %d: %s",
               error, at.fault.text);
        if (error == BACKEND_E_STORAGE) {
                read_all(&after);
                EXPECT(strcmp(before.bytes, after.bytes) == 0, "after a refused deletion: %s", after.bytes);
                error = at.backend->remove(at.session, true, &at.fault);
                EXPECT(error == 0, "removing with memory: %d: %s", error, at.fault.text);
        }
        at.session = NULL;
        expect_files("data/x.session*", 0);
}

/* `again_at_once`: the refused writes are made again in the same session, instead of after an orderly end. */
static void live(enum memory_mode mode, long number, bool again_at_once)
{
        struct text text = { .n = 0 };
        const char *expected;
        unsigned done;

        begin();
        memory_begin(mode, number);
        start_short();
        open_short(true);
        done = write_short((1u << WRITES) - 1);
        read_short();
        if (at.backend->tidy)
                ARMED(at.backend->tidy(at.session, &at.fault));
        if (again_at_once)
                write_missing(done);
        reopen(&text);
        if (!again_at_once)
                write_missing(done);
        remove_short();
        end();
        memory.at = -1; /* the rest is the reference's */
        memory.failing = false;
        expected = after_writes(done, again_at_once);
        EXPECT(strcmp(text.bytes, expected) == 0, "%s\ninstead of %s", text.bytes, expected);
}

static long count_descriptors(void)
{
        glob_t found;
        long n;

        ck_assert_int_eq(glob("/proc/self/fd/*", 0, NULL, &found), 0);
        n = (long)found.gl_pathc;
        globfree(&found);
        return n;
}

START_TEST(every_answer_is_true_without_memory)
{
        const char *seconds = getenv("MEMORY_SECONDS");
        const long long until_ms = test_now_ms() + (seconds ? atoi(seconds) : 0) * 1000LL / KINDS;
        const long first = seconds ? (long)time(NULL) : 0;
        long n, blocks, descriptors, lives = 0, met = 0;

        kind = &kinds[_i];
        sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0); /* each allocation is one of malloc()'s */
        test_remove("data");
        for (int i = 0; i < 2; i++)
                live(MEMORY_ONE, -1, true);
        blocks = memory_blocks;
        descriptors = count_descriptors();
        n = memory.seen;
        ck_assert_int_gt(n, 1000);
        for (; seconds ? test_now_ms() < until_ms && lives < MEMORY_MODES * n : lives < SAMPLE; lives++) {
                enum memory_mode mode = (enum memory_mode)((lives + lives / n) % MEMORY_MODES);
                long number = (first + lives % n * STRIDE) % n;

                snprintf(trouble, sizeof(trouble), "%s %s, mode %d, allocation %ld of %ld", kind->backend,
                         kind->found ? kind->found : kind->dialect, (int)mode, number, n);
                live(mode, number, lives / MEMORY_MODES % 2);
                met += memory.met > 0;
                EXPECT(memory_blocks <= blocks + SPARE_CHUNKS, "%ld blocks more are allocated",
                       memory_blocks - blocks);
                EXPECT(count_descriptors() == descriptors, "%ld descriptors are open", count_descriptors());
        }
        ck_assert_int_gt(met, lives / 2);
        printf("allocations: %s, %s: %ld lives of %ld allocations, in %ld some failed\n", kind->backend,
               kind->found ? kind->found : kind->dialect, lives, n, met);
}
END_TEST

int main(void)
{
        const TTest *const tests[] = { every_answer_is_true_without_memory, NULL };

        if (test_memory_factor() > 1) {
                test_skipped("allocations that fail in turn", "an allocator that is not a sanitizer's");
                return 0;
        }
        setvbuf(stdout, NULL, _IOLBF, 0);
        return test_program_repeated("allocations", tests, KINDS);
}
