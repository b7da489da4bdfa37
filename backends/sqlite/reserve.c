/*
 * A full disk. The logs take room that the sessions do not need: a checkpoint gives it back. But a checkpoint
 * itself needs room where the file has to grow. So the data directory has a reserve, a file that holds
 * nothing. A checkpoint that finds no room has that of the reserve. It gives back at least as much when
 * it cuts the log, and the reserve is made again at once. Meanwhile no other session takes room: each holds
 * `room` shared while it does, and this checkpoint holds it alone.
 *
 * Who finds the disk full writes its own log back, and asks the daemon to have that done for all open
 * sessions. Each session does it before its next write, too.
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
        RESERVE_SMALL_BYTES = 512 << 10, /* more than a small session's log */
        RESERVE_MAX_BYTES = 48 << 20,    /* more than a session's log */
        MUCH_MORE = 2,          /* the reserve is made larger, if it can have so many times its size */
        PART_OF_FREE = 16,      /* a reserve has so much of what is free, */
        PART_OF_FREE_SMALL = 8, /* or so much, if that is small */
        ASK_MS = 1000,          /* between two rounds over all sessions */
        ASK_AGAIN_MS = 10000,   /* the same, if the last one has made no room */
        LOOK_MS = 60000,        /* between two tries to make the reserve */
        LOOK_FULL_MS = 1000,    /* the same after the disk has been full */
        AWAIT_MS =
                1200, /* how long a call that finds no room waits for such a round, which begins within 1 s */
        WAIT_US = 10000,
        WAITING_MAX = 8, /* sessions; each has a thread of those that write, and the round needs some, too */
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

static uint64_t smaller(uint64_t a, uint64_t b)
{
        return a < b ? a : b;
}

static int64_t fitting_bytes(const struct backend_env *env)
{
        struct statvfs disk;
        struct rlimit limit;
        uint64_t available, bytes;

        if (fstatvfs(env->dir, &disk) != 0 || getrlimit(RLIMIT_FSIZE, &limit) != 0)
                return 0;
        available = disk.f_bavail * disk.f_frsize;
        bytes = available / PART_OF_FREE;
        if (bytes < RESERVE_SMALL_BYTES)
                bytes = smaller(available / PART_OF_FREE_SMALL, RESERVE_SMALL_BYTES);
        bytes = smaller(bytes, RESERVE_MAX_BYTES);
        if (bytes > limit.rlim_cur)
                bytes = limit.rlim_cur;
        return bytes < RESERVE_MIN_BYTES ? 0 : (int64_t)bytes;
}

/* What a new reserve would have, if that is much more than the present one; else 0. */
static int64_t better_bytes(const struct backend_env *env)
{
        int64_t bytes = fitting_bytes(env);

        return bytes > MUCH_MORE * atomic_load(&env->reserved) ? bytes : 0;
}

static void make(struct backend_env *env, int64_t bytes)
{
        bool made;
        int fd;

        atomic_store(&env->reserved, 0);
        unlinkat(env->dir, RESERVE, 0);
        fd = openat(env->dir, RESERVE, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0)
                return;
        made = posix_fallocate(fd, 0, bytes) == 0;
        close(fd);
        if (!made)
                unlinkat(env->dir, RESERVE, 0);
        atomic_store(&env->reserved, made ? bytes : 0);
}

/* Who waits to have it alone comes before those who want to share it. */
static void room_init(pthread_rwlock_t *room)
{
        pthread_rwlockattr_t attributes;

        pthread_rwlockattr_init(&attributes);
        pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
        pthread_rwlock_init(room, &attributes);
        pthread_rwlockattr_destroy(&attributes);
}

void sqlite_room_share(struct backend_env *env)
{
        if (!env->memory)
                pthread_rwlock_rdlock(&env->room);
}

void sqlite_room_done(struct backend_env *env)
{
        if (!env->memory)
                pthread_rwlock_unlock(&env->room);
}

void sqlite_reserve_start(struct backend_env *env)
{
        atomic_init(&env->reserve_looked, NEVER_MS);
        atomic_init(&env->full_asked, NEVER_MS);
        atomic_init(&env->budget_looked, NEVER_MS);
        room_init(&env->room);
        unlinkat(env->dir, RESERVE, 0); /* of a daemon that was killed */
}

void sqlite_reserve_stop(struct backend_env *env)
{
        if (atomic_exchange(&env->reserved, 0))
                unlinkat(env->dir, RESERVE, 0);
        pthread_rwlock_destroy(&env->room);
}

void sqlite_reserve_keep(struct backend_env *env)
{
        bool full = atomic_load(&env->full);
        int64_t bytes;

        if (!sqlite_is_time(&env->reserve_looked, full ? LOOK_FULL_MS : LOOK_MS))
                return;
        if (better_bytes(env)) { /* else all writers would wait here for the slowest sync */
                pthread_rwlock_wrlock(&env->room);
                bytes = better_bytes(env);
                if (bytes)
                        make(env, bytes);
                pthread_rwlock_unlock(&env->room);
        }
        if (full && atomic_load(&env->reserved) &&
            sqlite_now_ms() - atomic_load(&env->full_found) >= ROOM_AGAIN_MS &&
            atomic_exchange(&env->full, false))
                tell(env, LOG_INFO, "there is room again on the disk of %s");
}

/* ---- full ---- */

/* Files are missing, not bytes. A file system without a bound of files has 0 of them. */
static bool has_no_inodes(const struct backend_env *env)
{
        struct statvfs disk;

        return fstatvfs(env->dir, &disk) == 0 && disk.f_files > 0 && disk.f_favail == 0;
}

static void tell_full(const struct backend_env *env)
{
        tell(env, LOG_ERROR,
             has_no_inodes(env)
                     ? "the file system of %s has no inodes left: no file can be created, so sessions "
                       "cannot be opened. Nothing is lost. Remove some files; sessions that are open can "
                       "still be read, written, closed and deleted"
                     : "the disk of %s is full: the logs of all sessions are written back to make room. "
                       "Writes that find none are refused, nothing else is lost. Free some space; sessions "
                       "can still be read, closed and deleted");
}

void sqlite_disk_full(struct backend_env *env)
{
        const struct backend_config *config = env->config;

        atomic_fetch_add(&env->n_full, 1);
        atomic_store(&env->full_found, sqlite_now_ms());
        if (!atomic_exchange(&env->full, true))
                tell_full(env);
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

/* The room of the reserve, for one checkpoint. If it is not enough, it stays for the other sessions. */
static bool write_back_with_reserve(struct backend_session *session)
{
        struct backend_env *env = session->env;
        int64_t bytes = atomic_load(&env->reserved);
        struct fault ignored;
        bool done;

        if (!bytes || bytes < sqlite_growth(session))
                return false;
        unlinkat(env->dir, RESERVE, 0);
        done = sqlite_write_back(session, &ignored) == 0;
        make(env, bytes);
        return done;
}

/* Its own log, back to its file. */
static bool write_back(struct backend_session *session)
{
        const struct session_log *log = &session->log;
        bool done;

        if (log->bytes == 0)
                return false;
        pthread_rwlock_wrlock(&session->env->room);
        done = sqlite_write_back_again(session);
        if (!done && log->bytes > 0 && !(log->in_vain && sqlite_is_backing_off(session))) {
                done = write_back_with_reserve(session);
                session->log.in_vain = !done;
        }
        pthread_rwlock_unlock(&session->env->room);
        return done;
}

bool sqlite_make_room(struct backend_session *session)
{
        if (!session->path || !session->disk_full)
                return false;
        sqlite_disk_full(session->env);
        session->disk_full = !write_back(session) && !others_made_room(session);
        session->log.freed = atomic_load(&session->env->n_freed);
        return !session->disk_full;
}

/* A round over all sessions has been asked for a moment ago, and there are other logs. */
static bool is_room_near(const struct backend_session *session)
{
        const struct backend_env *env = session->env;

        return sqlite_now_ms() - atomic_load(&env->full_asked) < AWAIT_MS &&
               atomic_load(&env->log_bytes) > session->log.bytes;
}

bool sqlite_await_room(struct backend_session *session)
{
        struct backend_env *env = session->env;
        bool made = sqlite_make_room(session);

        if (made || !session->path || !session->disk_full)
                return made;
        if (atomic_fetch_add(&env->n_waiting, 1) < WAITING_MAX)
                while (is_room_near(session) && !others_made_room(session))
                        usleep(WAIT_US);
        atomic_fetch_sub(&env->n_waiting, 1);
        return others_made_room(session) && sqlite_make_room(session);
}
