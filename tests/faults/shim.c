/* What is recorded, what is to fail, and which files are looked at. The calls are in shim_files.c and
 * shim_names.c. */

#include "shim.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct control *control;
static const char *data_path;
static size_t data_len;
static char *record;
static size_t record_size;
static struct file files[N_FILES];

int (*real_open)(const char *, int, ...);
int (*real_openat)(int, const char *, int, ...);
int (*real_close)(int);
int (*real_closedir)(DIR *);
ssize_t (*real_write)(int, const void *, size_t);
ssize_t (*real_writev)(int, const struct iovec *, int);
ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
ssize_t (*real_pread)(int, void *, size_t, off_t);
ssize_t (*real_sendmsg)(int, const struct msghdr *, int);
int (*real_accept4)(int, struct sockaddr *, socklen_t *, int);
int (*real_accept)(int, struct sockaddr *, socklen_t *);
int (*real_ftruncate)(int, off_t);
int (*real_fallocate)(int, int, off_t, off_t);
int (*real_posix_fallocate)(int, off_t, off_t);
int (*real_fsync)(int);
int (*real_fdatasync)(int);
int (*real_unlinkat)(int, const char *, int);
int (*real_renameat2)(int, const char *, int, const char *, unsigned);
int (*real_linkat)(int, const char *, int, const char *, int);
int (*real_mkdirat)(int, const char *, mode_t);

static void find(void *function, const char *name)
{
        void *found = dlsym(RTLD_NEXT, name);

        if (!found) {
                fprintf(stderr, "shim: there is no %s()\n", name);
                abort();
        }
        memcpy(function, &found, sizeof(found));
}

#define FIND(name) find(&real_##name, #name)

static void find_all(void)
{
        FIND(open);
        FIND(openat);
        FIND(close);
        FIND(closedir);
        FIND(write);
        FIND(writev);
        FIND(pwrite);
        FIND(pread);
        FIND(sendmsg);
        FIND(accept4);
        FIND(accept);
        FIND(ftruncate);
        FIND(fallocate);
        FIND(posix_fallocate);
        FIND(fsync);
        FIND(fdatasync);
        FIND(unlinkat);
        FIND(renameat2);
        FIND(linkat);
        FIND(mkdirat);
}

static void *map(const char *path, size_t *size)
{
        int fd = real_open(path, O_RDWR | O_CLOEXEC);
        struct stat stat;
        void *at;

        if (fd < 0 || fstat(fd, &stat) != 0 ||
            (at = mmap(NULL, (size_t)stat.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)) ==
                    MAP_FAILED) {
                perror(path);
                abort();
        }
        real_close(fd);
        *size = (size_t)stat.st_size;
        return at;
}

/* ---- the record ---- */

static uint64_t now_ns(void)
{
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Under the lock. */
void shim_note(struct entry entry, const char *name, const struct iovec *data, int n)
{
        uint64_t at;
        char *to;
        size_t left = entry.data_bytes;

        if (!record)
                return;
        at = atomic_load(&control->record_bytes);
        entry.bytes = (uint32_t)((sizeof(entry) + entry.name_bytes + entry.data_bytes + 7) / 8 * 8);
        if (at + entry.bytes > record_size) {
                fputs("shim: the record is full\n", stderr);
                abort();
        }
        entry.time_ns = now_ns();
        entry.thread = (uint32_t)gettid();
        memcpy(record + at, &entry, sizeof(entry));
        to = record + at + sizeof(entry);
        if (entry.name_bytes)
                memcpy(to, name, entry.name_bytes);
        to += entry.name_bytes;
        for (int i = 0; i < n && left > 0; i++) {
                size_t part = data[i].iov_len < left ? data[i].iov_len : left;

                memcpy(to, data[i].iov_base, part);
                to += part;
                left -= part;
        }
        atomic_store(&control->record_bytes, at + entry.bytes);
}

/* A call that has returned `result`, with errno if it is negative. */
struct entry shim_entry(enum operation operation, enum object object, int64_t result)
{
        return (struct entry){ .operation = (uint16_t)operation,
                               .object = (uint16_t)object,
                               .result = result,
                               .error = result < 0 ? errno : 0,
                               .fd = -1 };
}

__attribute__((constructor)) void shim_start(void)
{
        const char *path = getenv("GRAMD_SHIM"), *data = getenv("GRAMD_SHIM_DATA");
        const char *to = getenv("GRAMD_SHIM_RECORD");
        size_t size;

        if (real_mkdirat)
                return;
        find_all();
        if (!path || !data)
                return;
        data_path = data;
        data_len = strlen(data);
        control = map(path, &size);
        if (size < sizeof(*control))
                abort();
        if (to)
                record = map(to, &record_size);
        shim_note(shim_entry(OP_START, OBJECT_OTHER, 0), NULL, NULL, 0);
}

/* ---- which file ---- */

static bool ends_with(const char *text, const char *end)
{
        size_t n = strlen(text), m = strlen(end);

        return n >= m && strcmp(text + n - m, end) == 0;
}

enum object shim_object(const char *name)
{
        if (!*name)
                return OBJECT_DIRECTORY;
        if (strncmp(name, ".gramd-new-", 11) == 0)
                return OBJECT_FRESH;
        return ends_with(name, ".session")           ? OBJECT_DB
               : ends_with(name, ".session-wal")     ? OBJECT_LOG
               : ends_with(name, ".session-journal") ? OBJECT_JOURNAL
               : ends_with(name, ".session-shm")     ? OBJECT_SHM
                                                     : OBJECT_OTHER;
}

struct file *shim_file(int fd)
{
        return control && fd >= 0 && fd < N_FILES && files[fd].tracked ? &files[fd] : NULL;
}

/* The name in the data directory, or NULL. */
const char *shim_name(int dir, const char *path)
{
        const struct file *file = shim_file(dir);

        if (!control || !path)
                return NULL;
        if (*path == '/') {
                if (strncmp(path, data_path, data_len) != 0 || (path[data_len] && path[data_len] != '/'))
                        return NULL;
                path += data_len;
                path += strspn(path, "/");
        } else if (!file || file->object != OBJECT_DIRECTORY) {
                return NULL;
        }
        return strcmp(path, ".") == 0 ? "" : strlen(path) < NAME_BYTES ? path : NULL;
}

bool shim_is_client(int fd)
{
        return record && fd >= 0 && fd < N_FILES && files[fd].accepted;
}

void shim_forget(int fd, bool accepted)
{
        if (control && fd >= 0 && fd < N_FILES)
                files[fd] = (struct file){ .accepted = accepted };
}

void shim_track(int fd, const char *name)
{
        if (fd < 0 || fd >= N_FILES)
                return;
        files[fd] = (struct file){ .tracked = true, .object = shim_object(name) };
        snprintf(files[fd].name, NAME_BYTES, "%s", name);
}

/* ---- what is to happen ---- */

static bool meets(struct rule *rule, enum operation operation, enum object object, const char *name)
{
        if (!atomic_load(&rule->on) || !(rule->operations & 1u << operation) ||
            !(rule->objects & 1u << object) || (rule->name[0] && !strstr(name, rule->name)) ||
            (rule->until_ns && now_ns() > rule->until_ns))
                return false;
        rule->seen++;
        if (rule->seen <= rule->skip || (rule->times && rule->seen > rule->skip + rule->times))
                return false;
        rule->met++;
        return true;
}

static void decide(struct verdict *verdict, const struct rule *rule)
{
        switch ((enum action)rule->action) {
        case ACTION_FAIL: verdict->error = (int)rule->argument; break;
        case ACTION_LATE:
                verdict->error = (int)rule->argument;
                verdict->late = true;
                break;
        case ACTION_SHORT: verdict->shorten = (int64_t)rule->argument; break;
        case ACTION_DELAY: verdict->delay_ms += rule->argument; break;
        case ACTION_IGNORE: verdict->ignore = true; break;
        case ACTION_KILL: verdict->kill = true; break;
        case ACTION_SWALLOW: verdict->swallow = true; break;
        }
}

void shim_lock(void)
{
        pthread_mutex_lock(&lock);
}

/* Waits where a rule wants it. Returns with the lock held; shim_leave() gives it back. */
struct verdict shim_enter(enum operation operation, enum object object, const char *name)
{
        struct verdict verdict = { .shorten = -1 };

        shim_lock();
        atomic_fetch_add(&control->n_calls, 1);
        for (int i = 0; i < N_RULES; i++)
                if (meets(&control->rules[i], operation, object, name))
                        decide(&verdict, &control->rules[i]);
        if (verdict.delay_ms) {
                const struct timespec delay = { .tv_sec = (time_t)(verdict.delay_ms / 1000),
                                                .tv_nsec = (long)(verdict.delay_ms % 1000) * 1000000 };

                pthread_mutex_unlock(&lock);
                nanosleep(&delay, NULL);
                shim_lock();
        }
        if (verdict.kill) {
                kill(getpid(), SIGKILL);
                while (true)
                        pause();
        }
        return verdict;
}

void shim_leave(int error)
{
        pthread_mutex_unlock(&lock);
        errno = error;
}

uint32_t shim_flags(const struct verdict *verdict)
{
        return (verdict->error || verdict->ignore || verdict->shorten >= 0 ? FLAG_INJECTED : 0u) |
               (verdict->ignore ? FLAG_IGNORED : 0u) | (verdict->late ? FLAG_DONE : 0u);
}

/* The call's result if it is not to be made; else 1. */
int shim_instead(const struct verdict *verdict)
{
        errno = verdict->error;
        return verdict->error ? -1 : verdict->ignore ? 0 : 1;
}

/* Under the lock. */
void shim_note_fd(enum operation operation, int fd, int64_t result, int64_t offset,
                  const struct verdict *verdict)
{
        const struct file *file = shim_file(fd);
        struct entry entry = shim_entry(operation, file->object, result);

        entry.fd = fd;
        entry.offset = offset;
        entry.flags = verdict ? shim_flags(verdict) : 0;
        entry.name_bytes = (uint32_t)strlen(file->name);
        shim_note(entry, file->name, NULL, 0);
}
