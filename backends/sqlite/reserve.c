/*
 * A full disk. The logs take room that the sessions do not need: a checkpoint gives it back. But a checkpoint
 * itself needs room where the file has to grow. So the data directory has a reserve, a file of a few MiB that
 * holds nothing. It is given up when the disk is full, and made again when there is room.
 *
 * Who finds the disk full writes its own log back, and asks the daemon to have that done for all open
 * sessions. Each session does it before its next write, too: so writes do not take what is meant for the
 * checkpoints.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "sqlite.h"

#define RESERVE ".gramd-reserve"

enum {
        RESERVE_MIN_BYTES = 64 << 10,
        RESERVE_MAX_BYTES = 8 << 20,
        PART_OF_FREE = 16,
        ASK_MS = 1000,        /* between two rounds over all sessions */
        ASK_AGAIN_MS = 10000, /* the same, if the last one has made no room */
        LOOK_MS = 60000,      /* between two tries to make the reserve */
        LOOK_FULL_MS = 1000,  /* the same after the disk has been full */
        AWAIT_MS = 200,       /* how long a call that finds no room waits for such a round */
        WAIT_US = 10000,
        ROOM_AGAIN_MS = 3000, /* nobody has found it full for so long */
        NEVER_MS = -LOOK_MS,
};

static void tell(const struct backend_env *env, enum log_level level, const char *format)
{
        char text[512];

        snprintf(text, sizeof(text), format, env->config->data_dir);
        if (env->config->log)
                env->config->log(env->config->log_arg, level, text);
}

int64_t sqlite_now_ms(void)
{
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

bool sqlite_is_time(atomic_int_fast64_t *last, int64_t ms)
{
        int_fast64_t before = atomic_load(last), now = sqlite_now_ms();

        return now - before >= ms && atomic_compare_exchange_strong(last, &before, now);
}

/* ---- the file ---- */

static int64_t fitting_bytes(const struct backend_env *env)
{
        struct statvfs disk;
        struct rlimit limit;
        uint64_t bytes;

        if (fstatvfs(env->dir, &disk) != 0 || getrlimit(RLIMIT_FSIZE, &limit) != 0)
                return 0;
        bytes = disk.f_bavail * disk.f_frsize / PART_OF_FREE;
        if (bytes > RESERVE_MAX_BYTES)
                bytes = RESERVE_MAX_BYTES;
        if (bytes > limit.rlim_cur)
                bytes = limit.rlim_cur;
        return bytes < RESERVE_MIN_BYTES ? 0 : (int64_t)bytes;
}

static void make(struct backend_env *env)
{
        int64_t bytes = fitting_bytes(env);
        bool made;
        int fd;

        if (!bytes)
                return;
        unlinkat(env->dir, RESERVE, 0);
        fd = openat(env->dir, RESERVE, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0)
                return;
        made = posix_fallocate(fd, 0, bytes) == 0;
        close(fd);
        if (made)
                atomic_store(&env->reserved, true);
        else
                unlinkat(env->dir, RESERVE, 0);
}

void sqlite_reserve_start(struct backend_env *env)
{
        atomic_init(&env->reserve_looked, NEVER_MS);
        atomic_init(&env->full_asked, NEVER_MS);
        atomic_init(&env->budget_looked, NEVER_MS);
        unlinkat(env->dir, RESERVE, 0); /* of a daemon that was killed */
}

void sqlite_reserve_stop(struct backend_env *env)
{
        if (atomic_exchange(&env->reserved, false))
                unlinkat(env->dir, RESERVE, 0);
}

static bool give_up(struct backend_env *env)
{
        if (!atomic_exchange(&env->reserved, false) || unlinkat(env->dir, RESERVE, 0) != 0)
                return false;
        atomic_fetch_add(&env->n_freed, 1);
        return true;
}

void sqlite_reserve_keep(struct backend_env *env)
{
        bool full = atomic_load(&env->full);

        if ((atomic_load(&env->reserved) && !full) ||
            !sqlite_is_time(&env->reserve_looked, full ? LOOK_FULL_MS : LOOK_MS))
                return;
        if (!atomic_load(&env->reserved))
                make(env);
        if (full && atomic_load(&env->reserved) &&
            sqlite_now_ms() - atomic_load(&env->full_found) >= ROOM_AGAIN_MS &&
            atomic_exchange(&env->full, false))
                tell(env, LOG_INFO, "there is room again on the disk of %s");
}

/* ---- full ---- */

void sqlite_disk_full(struct backend_env *env)
{
        const struct backend_config *config = env->config;

        atomic_fetch_add(&env->n_full, 1);
        atomic_store(&env->full_found, sqlite_now_ms());
        if (!atomic_exchange(&env->full, true))
                tell(env, LOG_ERROR,
                     "the disk of %s is full: the logs of all sessions are written back to make room. "
                     "Writes that find none are refused, nothing else is lost. Free some space; sessions "
                     "can still be read, closed and deleted");
        if (!sqlite_is_time(&env->full_asked, atomic_load(&env->full_freed) == atomic_load(&env->n_freed)
                                                      ? ASK_AGAIN_MS
                                                      : ASK_MS))
                return;
        atomic_store(&env->full_freed, atomic_load(&env->n_freed));
        atomic_fetch_add(&env->full_round, 1);
        atomic_store(&env->budget_looked, NEVER_MS); /* the logs' budget is less now */
        if (config->tidy)
                config->tidy(config->tidy_arg);
}

void sqlite_expect_room(struct backend_session *session)
{
        struct fault ignored;

        session->disk_full = false;
        if (session->path && session->log.full_round != atomic_load(&session->env->full_round))
                sqlite_tidy(session, &ignored);
        session->log.freed = atomic_load(&session->env->n_freed);
}

/* Another session has made some since this one expected or made room the last time. */
static bool others_made_room(struct backend_session *session)
{
        return session->log.freed != atomic_load(&session->env->n_freed);
}

bool sqlite_make_room(struct backend_session *session)
{
        struct backend_env *env = session->env;

        if (!session->path || !session->disk_full)
                return false;
        sqlite_disk_full(env);
        if (!sqlite_write_back_again(session)) {
                if (!give_up(env) && !others_made_room(session)) {
                        session->disk_full = true;
                        return false;
                }
                sqlite_write_back_again(session);
        }
        session->log.freed = atomic_load(&env->n_freed);
        session->disk_full = false;
        return true;
}

/* A round over all sessions has begun a moment ago. */
static bool is_room_near(const struct backend_env *env)
{
        return sqlite_now_ms() - atomic_load(&env->full_asked) < AWAIT_MS;
}

bool sqlite_await_room(struct backend_session *session)
{
        while (session->path && session->disk_full) {
                if (sqlite_make_room(session))
                        return true;
                if (!is_room_near(session->env))
                        break;
                usleep(WAIT_US);
        }
        return false;
}
