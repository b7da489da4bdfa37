/*
 * Damaged and hostile session files. The first input byte chooses a dialect and what is beside the file:
 * nothing, a journal, one that names another file, a log. The other bytes are edits, of three bytes each: two
 * for the place, one for the value. The highest bit of a place chooses what is beside the file. Either the
 * file is refused and all stays as it is, byte for byte; or it is served: read, changed, and closed to one
 * plain file. The file that a journal names is never touched.
 */

#include <dirent.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../backends/backend.h"
#include "fuzz.h"

extern const struct backend backend_file;

enum { FILE_MAX_BYTES = 1 << 18 };

static const char *const dialects[] = { "pyrogram", "hydrogram", "electrogram", "pyrofork",
                                        "kurigram", "irenogram", "telethon",    "pyrotgfork" };
enum { DIALECTS = sizeof(dialects) / sizeof(dialects[0]) };

enum beside { NOTHING, JOURNAL, SUPER_JOURNAL, LOG, BESIDES };

static const char *const suffixes[] = { "", "-journal", "-journal", "-wal" };

struct bytes {
        uint8_t bytes[FILE_MAX_BYTES];
        size_t len;
};

static struct world {
        char dir[64];
        char path[80];
        char other[80]; /* the file that a journal names */
        struct backend_env *env;
        struct backend_config config;
        union option_value values[2];
        struct {
                struct bytes file, beside;
        } whole[DIALECTS][BESIDES];
} world;

static void ignore_log(void *arg, enum log_level level, const char *text)
{
        (void)arg;
        (void)level;
        (void)text;
}

static bool ignore_match(void *arg, const struct match *match)
{
        (void)arg;
        (void)match;
        return true;
}

static bool ignore_peer(void *arg, const struct peer *peer)
{
        (void)arg;
        (void)peer;
        return true;
}

static bool ignore_username(void *arg, struct slice username, int64_t peer_id, const int64_t *last_update_on)
{
        (void)arg;
        (void)username;
        (void)peer_id;
        (void)last_update_on;
        return true;
}

/* No more than what gramd itself would have written. */
static bool check_value(void *arg, const struct kv_value *value)
{
        (void)arg;
        require(value->key.len >= 1 && value->key.len <= KV_KEY_MAX_BYTES && slice_is_utf8(value->key));
        require(value->value.data && value->value.len <= KV_VALUE_MAX_BYTES);
        return true;
}

static bool ignore_effect(void *arg, const struct effect *effect)
{
        (void)arg;
        (void)effect;
        return true;
}

static void read_all(struct backend_session *session)
{
        const struct lookup lookups[] = { { .kind = LOOKUP_ID, .id = 7 },
                                          { .kind = LOOKUP_USERNAME, .text = slice_of("anna") },
                                          { .kind = LOOKUP_PHONE, .text = slice_of("79001") } };
        const struct slice key = slice_of("key");
        struct counts counts;
        struct fault fault;
        int64_t due_ms;

        backend_file.find(session, lookups, 3, ignore_match, NULL, &fault);
        backend_file.scan_peers(session, NULL, 1000, ignore_peer, NULL, &fault);
        backend_file.scan_usernames(session, SLICE_NONE, 0, 1000, ignore_username, NULL, &fault);
        backend_file.kv_scan(session, slice_of(""), SLICE_NONE, check_value, NULL, &fault);
        backend_file.kv_get(session, &key, 1, check_value, NULL, &fault);
        backend_file.kv_due(session, &due_ms, &fault);
        backend_file.count(session, &counts, &fault);
}

static void change_all(struct backend_session *session, struct identity *identity)
{
        const struct peer peer = { 7, true, 70, slice_of("user"), slice_of("anna"), slice_of("79001"), 1 };
        const struct slice name = slice_of("berta");
        const struct peer_names names = { 7, &name, 1, 2 };
        const struct state state = { 0, 1u << STATE_PTS, { 5 } };
        const struct kv_row row = { .key = slice_of("key"), .value = slice_of("value"), .ttl_s = 5 };
        const struct kv_swap swap = { .row = row, .expected = slice_of("value") };
        const struct change changes[] = {
                { .kind = CHANGE_IDENTITY, .fields = FIELD_BIT(FIELD_USER_ID), .identity = identity },
                { .kind = CHANGE_PEERS, .peers = &peer, .n = 1 },
                { .kind = CHANGE_NAMES, .names = &names, .n = 1 },
                { .kind = CHANGE_STATES, .states = &state, .n = 1 },
                { .kind = CHANGE_KV, .kv = &row, .n = 1 },
                { .kind = CHANGE_KV_SWAP, .swap = &swap, .n = 1 },
                { .kind = CHANGE_REMEMBERED, .remembered = slice_of("remembered"), .n = 1 },
        };
        struct fault fault;

        identity_set_number(identity, FIELD_USER_ID, 7);
        backend_file.apply(session, changes, sizeof(changes) / sizeof(changes[0]), DURABLE_SYSTEM,
                           ignore_effect, NULL, &fault);
}

static int serve(const char *dialect, bool create)
{
        const struct open_options options = { .name = slice_of("x"),
                                              .create = create,
                                              .dialect = slice_of(dialect) };
        struct backend_session *session;
        struct opened opened;
        struct fault fault = { 0 };
        int result;

        opened_init(&opened);
        result = backend_file.open(world.env, &options, &session, &opened, &fault);
        if (result) {
                require(fault.text[0]);
        } else {
                read_all(session);
                change_all(session, &opened.identity);
                read_all(session);
                backend_file.close(session, &fault);
        }
        opened_deinit(&opened);
        return result;
}

static void name_file(char path[96], enum beside beside)
{
        snprintf(path, 96, "%s%s", world.path, suffixes[beside]);
}

static void read_file(enum beside beside, struct bytes *into)
{
        char path[96];
        FILE *file;

        name_file(path, beside);
        file = fopen(path, "re");
        require(file);
        into->len = fread(into->bytes, 1, FILE_MAX_BYTES, file);
        fclose(file);
}

static void write_file(enum beside beside, const struct bytes *from)
{
        char path[96];
        int fd;

        name_file(path, beside);
        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        require(fd >= 0 && write(fd, from->bytes, from->len) == (ssize_t)from->len);
        close(fd);
}

static bool is_as_before(enum beside beside, const struct bytes *before)
{
        static struct bytes after;

        read_file(beside, &after);
        return after.len == before->len && memcmp(before->bytes, after.bytes, after.len) == 0;
}

/* Removes all files of a run and returns how many there were. */
static int clear(void)
{
        DIR *dir = opendir(world.dir);
        int n = 0;

        require(dir);
        for (const struct dirent *entry; (entry = readdir(dir));) {
                if (strncmp(entry->d_name, "x.session", 9) != 0)
                        continue;
                require(unlinkat(dirfd(dir), entry->d_name, 0) == 0);
                n++;
        }
        closedir(dir);
        return n;
}

static void leave(void)
{
        clear();
        unlink(world.other);
        backend_file.stop(world.env);
        rmdir(world.dir);
}

/* ---- what is beside a file ---- */

static void put32(struct bytes *to, uint32_t number)
{
        for (int i = 3; i >= 0; i--)
                to->bytes[to->len++] = (uint8_t)(number >> 8 * i);
}

static void put(struct bytes *to, const void *bytes, size_t n)
{
        memcpy(to->bytes + to->len, bytes, n);
        to->len += n;
}

static const uint8_t journal_magic[] = { 0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7 };

/* The journal with which SQLite makes the file what it is. */
static void make_journal(const struct bytes *file, struct bytes *journal)
{
        enum { SECTOR_BYTES = 512, SUM_STEP = 200 };
        const uint32_t page_bytes = (uint32_t)file->bytes[16] << 8 | file->bytes[17];
        const uint32_t pages = (uint32_t)file->len / page_bytes;

        journal->len = 0;
        put(journal, journal_magic, sizeof(journal_magic));
        put32(journal, pages);
        put32(journal, 0); /* where sums begin */
        put32(journal, pages);
        put32(journal, SECTOR_BYTES);
        put32(journal, page_bytes);
        memset(journal->bytes + journal->len, 0, SECTOR_BYTES - journal->len);
        journal->len = SECTOR_BYTES;
        for (uint32_t page = 0; page < pages; page++) {
                const uint8_t *bytes = file->bytes + (size_t)page * page_bytes;
                uint32_t sum = 0;

                for (uint32_t i = page_bytes - SUM_STEP; i < page_bytes; i -= SUM_STEP)
                        sum += i ? bytes[i] : 0;
                put32(journal, page + 1);
                put(journal, bytes, page_bytes);
                put32(journal, sum);
        }
}

static void name_other(struct bytes *journal)
{
        const uint32_t len = (uint32_t)strlen(world.other);
        uint32_t sum = 0;

        for (uint32_t i = 0; i < len; i++)
                sum += (uint8_t)world.other[i];
        put32(journal, 0);
        put(journal, world.other, len);
        put32(journal, len);
        put32(journal, sum);
        put(journal, journal_magic, sizeof(journal_magic));
}

/* As the crash of a library in WAL mode leaves the two. */
static void make_log(struct bytes *file, struct bytes *log)
{
        sqlite3 *db;

        require(sqlite3_open(world.path, &db) == SQLITE_OK);
        require(sqlite3_exec(db, "PRAGMA journal_mode = WAL; UPDATE sessions SET dc_id = 3", NULL, NULL,
                             NULL) == SQLITE_OK);
        read_file(NOTHING, file);
        read_file(LOG, log);
        sqlite3_close(db);
}

static void make_whole(size_t dialect)
{
        struct bytes *file = &world.whole[dialect][NOTHING].file;

        require(serve(dialects[dialect], true) == 0);
        read_file(NOTHING, file);
        for (enum beside beside = JOURNAL; beside <= SUPER_JOURNAL; beside++) {
                world.whole[dialect][beside].file = *file;
                make_journal(file, &world.whole[dialect][beside].beside);
        }
        name_other(&world.whole[dialect][SUPER_JOURNAL].beside);
        make_log(&world.whole[dialect][LOG].file, &world.whole[dialect][LOG].beside);
        require(clear() == 1);
        for (enum beside beside = NOTHING; beside < BESIDES; beside++) {
                write_file(NOTHING, &world.whole[dialect][beside].file);
                if (beside != NOTHING)
                        write_file(beside, &world.whole[dialect][beside].beside);
                require((serve(NULL, false) == 0) == (beside != SUPER_JOURNAL));
                clear();
        }
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
        struct fault fault;

        (void)argc;
        (void)argv;
        scratch_make(world.dir, sizeof(world.dir));
        snprintf(world.path, sizeof(world.path), "%s/x.session", world.dir);
        world.config = (struct backend_config){ .data_dir = world.dir, .log = ignore_log, .kv_max = 1 << 20 };
        world.values[0].number = world.values[1].number = 1 << 20;
        require(backend_file.start(&world.config, world.values, &world.env, &fault) == 0);
        snprintf(world.other, sizeof(world.other), "%s/other", world.dir);
        require(mknod(world.other, S_IFREG | 0600, 0) == 0);
        for (size_t i = 0; i < DIALECTS; i++)
                make_whole(i);
        atexit(leave);
        return 0;
}

static void edit(struct bytes *of, size_t place, uint8_t value)
{
        if (of->len)
                of->bytes[place % of->len] = value;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static struct bytes file, other;
        const size_t dialect = size ? data[0] % DIALECTS : 0;
        const enum beside beside = size ? data[0] / DIALECTS % BESIDES : NOTHING;

        file = world.whole[dialect][beside].file;
        other = world.whole[dialect][beside].beside;
        for (size_t at = 1; at + 3 <= size; at += 3)
                edit(beside != NOTHING && data[at] & 0x80 ? &other : &file,
                     ((size_t)data[at] << 8 | data[at + 1]) & (beside == NOTHING ? 0xffff : 0x7fff),
                     data[at + 2]);
        write_file(NOTHING, &file);
        if (beside != NOTHING)
                write_file(beside, &other);
        if (serve(NULL, false) != 0) {
                require(is_as_before(NOTHING, &file));
                require(beside == NOTHING || is_as_before(beside, &other));
                require(clear() == (beside == NOTHING ? 1 : 2));
        } else {
                require(access(world.path, F_OK) == 0);
                clear(); /* a journal that begins with a zero stays, and is never read */
        }
        require(access(world.other, F_OK) == 0);
        return 0;
}
