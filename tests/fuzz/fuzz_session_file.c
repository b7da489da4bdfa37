/*
 * Damaged and hostile session files. The first input byte chooses a dialect; the others are edits to a file
 * of it, of three bytes each: two for the place, one for the value. Either the file is refused and stays as
 * it is, byte for byte, with no file beside it; or it is served: read, changed, and closed to one plain file.
 */

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../backends/backend.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

extern const struct backend backend_file;

enum { FILE_MAX_BYTES = 1 << 18 };

static const char *const dialects[] = { "pyrogram", "hydrogram", "electrogram", "pyrofork",
                                        "kurigram", "irenogram", "telethon" };
enum { DIALECTS = sizeof(dialects) / sizeof(dialects[0]) };

static struct world {
        char dir[64];
        char path[80];
        struct backend_env *env;
        struct backend_config config;
        union option_value values[2];
        struct {
                uint8_t bytes[FILE_MAX_BYTES];
                size_t len;
        } whole[DIALECTS];
} world;

static void require(bool holds)
{
        if (!holds)
                abort();
}

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
        struct counts counts;
        struct fault fault;

        backend_file.find(session, lookups, 3, ignore_match, NULL, &fault);
        backend_file.scan_peers(session, NULL, 1000, ignore_peer, NULL, &fault);
        backend_file.scan_usernames(session, SLICE_NONE, 0, 1000, ignore_username, NULL, &fault);
        backend_file.count(session, &counts, &fault);
}

static void change_all(struct backend_session *session, struct identity *identity)
{
        const struct peer peer = { 7, true, 70, slice_of("user"), slice_of("anna"), slice_of("79001"), 1 };
        const struct slice name = slice_of("berta");
        const struct peer_names names = { 7, &name, 1, 2 };
        const struct state state = { 0, 1u << STATE_PTS, { 5 } };
        const struct change changes[] = {
                { .kind = CHANGE_IDENTITY, { { FIELD_BIT(FIELD_USER_ID), identity } } },
                { .kind = CHANGE_PEERS, .peers = &peer, .n = 1 },
                { .kind = CHANGE_NAMES, .names = &names, .n = 1 },
                { .kind = CHANGE_STATES, .states = &state, .n = 1 },
                { .kind = CHANGE_REMEMBERED, .remembered = slice_of("remembered"), .n = 1 },
        };
        struct fault fault;

        identity_set_number(identity, FIELD_USER_ID, 7);
        backend_file.apply(session, changes, sizeof(changes) / sizeof(changes[0]), DURABLE_SYSTEM,
                           ignore_effect, NULL, &fault);
}

static int serve(const char *dialect, bool create)
{
        const struct open_options options = { slice_of("x"), create, slice_of(dialect), false };
        struct backend_session *session;
        struct opened opened = { 0 };
        struct fault fault = { 0 };
        int result;

        identity_init(&opened.identity);
        result = backend_file.open(world.env, &options, &session, &opened, &fault);
        if (result) {
                require(fault.text[0]);
        } else {
                read_all(session);
                change_all(session, &opened.identity);
                read_all(session);
                backend_file.close(session, &fault);
        }
        identity_wipe(&opened.identity);
        free(opened.states);
        free(opened.remembered);
        return result;
}

static size_t read_file(uint8_t *bytes)
{
        FILE *file = fopen(world.path, "re");
        size_t len;

        require(file);
        len = fread(bytes, 1, FILE_MAX_BYTES, file);
        fclose(file);
        return len;
}

static void write_file(const uint8_t *bytes, size_t len)
{
        int fd = open(world.path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        require(fd >= 0 && write(fd, bytes, len) == (ssize_t)len);
        close(fd);
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
        backend_file.stop(world.env);
        rmdir(world.dir);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
        struct fault fault;

        (void)argc;
        (void)argv;
        snprintf(world.dir, sizeof(world.dir), "/tmp/gramd-fuzz.XXXXXX");
        require(mkdtemp(world.dir));
        snprintf(world.path, sizeof(world.path), "%s/x.session", world.dir);
        world.config = (struct backend_config){ .data_dir = world.dir, .log = ignore_log };
        world.values[0].number = world.values[1].number = 1 << 20;
        require(backend_file.start(&world.config, world.values, &world.env, &fault) == 0);
        for (size_t i = 0; i < DIALECTS; i++) {
                require(serve(dialects[i], true) == 0);
                world.whole[i].len = read_file(world.whole[i].bytes);
                require(clear() == 1);
        }
        atexit(leave);
        return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static uint8_t before[FILE_MAX_BYTES], after[FILE_MAX_BYTES];
        size_t dialect = size ? data[0] % DIALECTS : 0, len = world.whole[dialect].len;

        memcpy(before, world.whole[dialect].bytes, len);
        for (size_t at = 1; at + 3 <= size; at += 3)
                before[((size_t)data[at] << 8 | data[at + 1]) % len] = data[at + 2];
        write_file(before, len);
        if (serve(NULL, false) != 0)
                require(read_file(after) == len && memcmp(before, after, len) == 0);
        require(clear() == 1);
        return 0;
}
