/* Starts and turns the daemon, whose clocks stand while it is at work. */

#include "inside.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../backends/keyring.h"
#include "../../daemon/server.h"
#include "by_hand.h"
#include "clocks.h"
#include "fuzz.h"
#include "snapshot.h"

enum {
        PATH_BYTES = 96,
        RECEIVED_BYTES = 64 * 1024,
        QUIET_TURNS =
                2, /* after which nothing is left to do: a connection is accepted in one, read in another */
        TURNS_MAX = 100000,
};

static struct inside {
        char dir[PATH_BYTES / 2], data[PATH_BYTES], socket[PATH_BYTES], keys[PATH_BYTES];
        char lines[KEYS_MAX][KEY_LINE_BYTES], ids[KEYS_MAX][KEY_ID_TEXT_BYTES];
        bool has_uid;
        uid_t uid; /* of those who connect */
        struct config config;
        struct log log;
        struct server *server; /* NULL: it does not run */
        struct end ends[ENDS_MAX];
        void (*hook)(bool runs);
} inside;

/* ---- files ---- */

/* The reserve for a full disk: 48 MiB would be the most of a run's time. */
int posix_fallocate(int fd, off_t from, off_t n)
{
        (void)fd;
        (void)from;
        (void)n;
        return 0;
}

const char *inside_data(void)
{
        return inside.data;
}

void inside_clear(void)
{
        DIR *dir = opendir(inside.data);

        assert(!inside.server);
        require(dir);
        for (const struct dirent *entry; (entry = readdir(dir));)
                if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
                        require(unlinkat(dirfd(dir), entry->d_name, 0) == 0);
        closedir(dir);
}

static void leave(void)
{
        inside_clear();
        rmdir(inside.data);
        unlink(inside.keys);
        unlink(inside.socket);
        DIR *dir = opendir(inside.dir);

        for (const struct dirent *entry; dir && (entry = readdir(dir));)
                unlinkat(dirfd(dir), entry->d_name, 0); /* the socket's lock */
        if (dir)
                closedir(dir);
        rmdir(inside.dir);
        config_deinit(&inside.config);
}

/* ---- keys ---- */

static void write_keys(unsigned from, unsigned to)
{
        FILE *file = fopen(inside.keys, "we");

        require(file);
        while (to > from)
                require(fputs(inside.lines[--to], file) >= 0);
        require(fclose(file) == 0);
}

static void make_keys(void)
{
        struct keyring *keyring = keyring_new();
        uint8_t id[KEY_ID_BYTES];
        char why[128];

        require(keyring);
        for (unsigned i = 0; i < KEYS_MAX; i++) {
                key_line_new(inside.lines[i]);
                write_keys(i, i + 1);
                require(keyring_read(keyring, inside.keys, KEY_FILE_PRIVATE, why, sizeof(why)));
                require(keyring_id(keyring, 0, id));
                key_id_text(id, inside.ids[i]);
        }
        keyring_free(keyring);
        write_keys(0, 1);
}

void inside_keys(unsigned n)
{
        assert(!inside.server && n > 0 && n <= KEYS_MAX);
        write_keys(0, n);
}

unsigned inside_key_number(struct slice id)
{
        for (unsigned i = 0; i < KEYS_MAX; i++)
                if (slice_is(id, inside.ids[i]))
                        return i + 1;
        require(false);
        return 0;
}

/* ---- configuration ---- */

void inside_init(void)
{
        static char *argv[] = { "gramd",     "--config",   "/dev/null", "--socket", inside.socket, "--data",
                                inside.data, "--key-file", inside.keys, "--fsync",  "always",      NULL };
        enum config_action action;
        struct config_error error;

        umask(0077);
        scratch_make(inside.dir, sizeof(inside.dir));
        snprintf(inside.data, PATH_BYTES, "%s/data", inside.dir);
        snprintf(inside.socket, PATH_BYTES, "%s/sock", inside.dir);
        snprintf(inside.keys, PATH_BYTES, "%s/keys", inside.dir);
        require(mkdir(inside.data, 0700) == 0);
        for (size_t i = 0; i < ENDS_MAX; i++)
                inside.ends[i].fd = -1;
        make_keys();
        if (config_init(&inside.config, sizeof(argv) / sizeof(argv[0]) - 1, argv, &action, &error) < 0) {
                fprintf(stderr, "%s\n", error.text);
                abort();
        }
        inside.config.max_message_bytes = INSIDE_MESSAGE_MAX;
        inside.config.kv_max_bytes = INSIDE_KV_MAX;
        log_init(&inside.log, LOG_DEBUG, false);
        inside.log.fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
        require(inside.log.fd >= 0);
        atexit(leave);
}

/* ---- turns ---- */

void inside_when_running(void (*hook)(bool runs))
{
        inside.hook = hook;
}

static void daemon_runs(bool runs)
{
        clocks_stand(runs);
        if (inside.hook)
                inside.hook(runs);
}

static bool pump(struct end *end)
{
        bool any = false;

        while (end->fd >= 0 && !end->closed) {
                uint8_t *room = buffer_reserve(&end->in, RECEIVED_BYTES);
                ssize_t n = recv(end->fd, room, RECEIVED_BYTES, MSG_DONTWAIT);

                if (n < 0 && errno == EAGAIN)
                        break;
                any = true;
                if (n <= 0)
                        end->closed = true;
                else
                        end->in.len += (size_t)n;
        }
        return any;
}

/* Whether an end has received something. */
static bool turn(void)
{
        bool any = false;

        daemon_runs(true);
        uv_run(server_loop(inside.server), UV_RUN_NOWAIT);
        daemon_runs(false);
        for (size_t i = 0; i < ENDS_MAX; i++)
                any |= pump(&inside.ends[i]);
        return any;
}

void inside_turn(void)
{
        turn();
}

void inside_job_run(size_t which)
{
        daemon_runs(true);
        job_run(which);
        daemon_runs(false);
}

void inside_job_finish(size_t which)
{
        daemon_runs(true);
        job_finish(which);
        daemon_runs(false);
}

static bool work(void)
{
        bool any = false;

        daemon_runs(true);
        while ((jobs_waiting() || jobs_back()) && !snapshot_is_taken()) {
                any = true;
                if (jobs_waiting())
                        job_run(0);
                else
                        job_finish(0);
        }
        daemon_runs(false);
        return any;
}

/* Bytes that the daemon has not read. */
static bool is_unread(void)
{
        for (size_t i = 0; i < ENDS_MAX; i++) {
                int n = 0;

                if (inside.ends[i].fd >= 0 && !inside.ends[i].closed &&
                    ioctl(inside.ends[i].fd, SIOCOUTQ, &n) == 0 && n > 0)
                        return true;
        }
        return false;
}

void inside_settle(void)
{
        int quiet = 0;

        for (int turns = 0; quiet < QUIET_TURNS; turns++) {
                bool any = turn(), waits;

                any |= work();
                if (snapshot_is_taken())
                        return;
                any |= uv_backend_timeout(server_loop(inside.server)) == 0;
                waits = !any && is_unread();
                if (waits)
                        clock_tick(); /* for memory: the daemon looks again after a while */
                quiet = any || waits ? 0 : quiet + 1;
                require(turns < TURNS_MAX);
        }
}

/* ---- the start and the end ---- */

static const int signals[] = { SIGTERM, SIGINT, SIGHUP };
enum { SIGNALS = sizeof(signals) / sizeof(signals[0]) };

/* The daemon takes the signals; they are the fuzzer's. */
static void signals_keep(struct sigaction kept[SIGNALS])
{
        for (size_t i = 0; i < SIGNALS; i++)
                sigaction(signals[i], NULL, &kept[i]);
}

static void signals_back(const struct sigaction kept[SIGNALS])
{
        for (size_t i = 0; i < SIGNALS; i++)
                sigaction(signals[i], &kept[i], NULL);
}

void inside_sync_always(bool always)
{
        assert(!inside.server);
        inside.config.fsync = always ? FSYNC_ALWAYS : FSYNC_EVERYSEC;
}

void inside_cache(size_t bytes)
{
        assert(!inside.server);
        inside.config.cache_bytes = bytes;
}

void inside_let_nobody_read(void)
{
        assert(!inside.server);
        access_deinit(&inside.config.access);
}

void inside_let_read(uid_t uid)
{
        char who[32], why[128];

        inside_let_nobody_read();
        snprintf(who, sizeof(who), "user %u", (unsigned)uid);
        require(access_add(&inside.config.access, who, "read on *", why, sizeof(why)));
}

void inside_start(void)
{
        static char *argv[] = { "gramd", NULL };
        struct sigaction kept[SIGNALS];

        assert(!inside.server);
        signals_keep(kept);
        daemon_runs(true);
        inside.server = server_start(&inside.config, &inside.log, 1, argv);
        daemon_runs(false);
        signals_back(kept);
        require(inside.server);
        snapshot_watch(); /* not before: SQLite must not be initialised when the backend starts */
}

void inside_stop(void)
{
        struct sigaction kept[SIGNALS];
        bool going;

        for (size_t i = 0; i < ENDS_MAX; i++)
                if (inside.ends[i].fd >= 0)
                        end_close(&inside.ends[i]);
        signals_keep(kept);
        daemon_runs(true);
        server_stop(inside.server);
        for (int turns = 0; turns < TURNS_MAX; turns++) {
                daemon_runs(true);
                going = uv_run(server_loop(inside.server), UV_RUN_NOWAIT) != 0;
                going |= work();
                if (!going)
                        break;
        }
        require(!going);
        daemon_runs(true);
        server_free(inside.server);
        daemon_runs(false);
        inside.server = NULL;
        signals_back(kept);
}

void inside_kill(void)
{
        if (!snapshot_is_taken())
                snapshot_take(inside.data);
        snapshot_hold();
        inside_stop();
        inside_clear();
        snapshot_restore(inside.data);
}

void inside_kill_before(unsigned calls)
{
        snapshot_take_before(inside.data, calls);
}

bool inside_is_killed(void)
{
        return snapshot_is_taken();
}

void inside_plant_loss(void)
{
        snapshot_take(inside.data);
        snapshot_hold();
}

/* ---- connections ---- */

void inside_connect_as(uid_t uid)
{
        inside.uid = uid;
        inside.has_uid = true;
}

int getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
        const int failed = (int)syscall(SYS_getsockopt, fd, level, name, value, len);

        if (!failed && inside.has_uid && level == SOL_SOCKET && name == SO_PEERCRED)
                ((struct ucred *)value)->uid = inside.uid;
        return failed;
}

struct end *inside_connect(void)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        size_t i = 0;

        while (i < ENDS_MAX && inside.ends[i].fd >= 0)
                i++;
        if (i == ENDS_MAX)
                return NULL;
        inside.ends[i] = (struct end){ .fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) };
        strcpy(address.sun_path, inside.socket);
        require(connect(inside.ends[i].fd, (struct sockaddr *)&address, sizeof(address)) == 0);
        return &inside.ends[i];
}

void end_close(struct end *end)
{
        close(end->fd);
        buffer_deinit(&end->in);
        *end = (struct end){ .fd = -1 };
}

void end_send(struct end *end, const void *bytes, size_t len)
{
        for (size_t sent = 0; sent < len && !end->closed;) {
                ssize_t n =
                        send(end->fd, (const char *)bytes + sent, len - sent, MSG_NOSIGNAL | MSG_DONTWAIT);

                if (n > 0)
                        sent += (size_t)n;
                else if (errno == EAGAIN)
                        inside_settle();
                else
                        end->closed = !pump(end) || end->closed;
        }
}

bool end_next(struct end *end, struct message *message)
{
        static const struct frame_limits limits = { .bytes = 1 << 24, .depth = FRAME_DEPTH_LIMIT };
        enum frame_result result;
        struct slice frame;

        if (end->fd < 0 || end->taken == end->in.len) {
                buffer_truncate(&end->in, 0);
                end->taken = 0;
                return false;
        }
        frame.data = (const char *)end->in.data + end->taken;
        result = frame_scan(&end->frame, &limits, (const uint8_t *)frame.data, end->in.len - end->taken,
                            &frame.len);
        require(result == FRAME_WHOLE || result == FRAME_MORE);
        if (result == FRAME_MORE)
                return false;
        end->taken += frame.len;
        require(message_read(frame, message) && message->kind != MESSAGE_REQUEST);
        return true;
}
