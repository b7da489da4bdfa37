/*
 * A session's file and what SQLite takes for parts of it: -journal, -wal, -shm. Who could write to the data
 * directory once may have planted any of them. SQLite opens what it finds: a FIFO holds the thread for good,
 * a link leads to somebody else's file, and the end of a journal can name a file that SQLite then deletes. So
 * all of them are looked at before SQLite sees one.
 *
 * SQLite opens the files by name, after the look. In a data directory of mode 0700 only the daemon's uid and
 * root could exchange them in between. gramd refuses a directory that everybody may write to, and warns of
 * one that its group may write to: that trusts the group.
 *
 * SQLite plays a journal back before it has read a page of the file. Whether the result is a session is seen
 * only then. So that is tried on a copy first. A -wal needs none: it is only read before the file is taken.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sqlite.h"

enum {
        MAGIC_BYTES = 8,
        SUPER_TAIL_BYTES = 16, /* the length of the name, its sum, the magic: the end of a journal */
        LOCKS_AT = 0x40000000, /* the bytes of a file on which SQLite's locks are */
        LOCKS_BYTES = 512,
        COPY_BYTES = 64 << 10,
};

/* Of the file itself, and of what SQLite takes for parts of it. */
static const char *const suffixes[] = { "", "-journal", "-wal", "-shm" };
enum {
        SUFFIXES = sizeof(suffixes) / sizeof(*suffixes),
        COPIED = 3, /* a -shm is made from the -wal */
};

#define CLOSED __attribute__((cleanup(close_fd))) int

static void close_fd(const int *fd)
{
        if (*fd >= 0)
                close(*fd);
}

static int fault_system(const struct backend_session *session, const char *suffix, const char *doing,
                        struct fault *fault)
{
        char path[SQLITE_SHOWN_BYTES];

        return fault_session(fault, BACKEND_E_STORAGE, session->name, "%s '%s%s': %s", doing,
                             sqlite_shown_path(session, path), suffix, strerrordesc_np(errno));
}

/* Of the session's file or of what is beside it, in the data directory. */
static void file_name(char name[SQLITE_FILE_NAME_BYTES], const struct backend_session *session,
                      const char *suffix)
{
        snprintf(name, SQLITE_FILE_NAME_BYTES, "%s%s", strrchr(session->path, '/') + 1, suffix);
}

/* -1 with ENOENT: there is none. */
static int open_beside(const struct backend_session *session, const char *suffix, int flags)
{
        char name[SQLITE_FILE_NAME_BYTES];

        file_name(name, session, suffix);
        return openat(session->env->dir, name, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
}

/* ---- what is there ---- */

static const char *kind_of(mode_t mode)
{
        return S_ISLNK(mode)    ? "a symbolic link"
               : S_ISDIR(mode)  ? "a directory"
               : S_ISFIFO(mode) ? "a pipe, not a regular file"
               : S_ISSOCK(mode) ? "a socket, not a regular file"
                                : "not a regular file";
}

static int check_one(const struct backend_session *session, const char *suffix, const struct stat *stat,
                     struct fault *fault)
{
        const char *name = session->name;
        char path[SQLITE_SHOWN_BYTES], word[SHELL_WORD_BYTES];

        sqlite_shown_path(session, path);
        if (!S_ISREG(stat->st_mode))
                return fault_session(fault, BACKEND_E_STORAGE, name,
                                     "'%s%s' is %s; only regular files are opened", path, suffix,
                                     kind_of(stat->st_mode));
        if (stat->st_nlink > 1)
                return fault_session(fault, BACKEND_E_STORAGE, name,
                                     "'%s%s' has other names, too (hard links); put a copy in its place",
                                     path, suffix);
        if (stat->st_uid != geteuid())
                return fault_session(fault, BACKEND_E_STORAGE, name,
                                     "'%s%s' belongs to uid %u, not to the daemon's: chown %u %s%s", path,
                                     suffix, stat->st_uid, geteuid(), fault_shell_word(session->path, word),
                                     suffix);
        return 0;
}

int sqlite_companions_check(struct backend_session *session, struct fault *fault)
{
        session->had_wal = false;
        for (size_t i = 0; i < SUFFIXES; i++) {
                char name[SQLITE_FILE_NAME_BYTES];
                struct stat stat;
                int error;

                file_name(name, session, suffixes[i]);
                if (fstatat(session->env->dir, name, &stat, AT_SYMLINK_NOFOLLOW) != 0) {
                        if (errno == ENOENT)
                                continue;
                        return fault_system(session, suffixes[i], "looking at", fault);
                }
                error = check_one(session, suffixes[i], &stat, fault);
                if (error)
                        return error;
                session->had_wal |= strcmp(suffixes[i], "-wal") == 0;
        }
        return 0;
}

/* ---- a journal, tried on a copy ---- */

/* SQLite's test whether a journal is the part of a transaction over several files. */
static int check_journal(const struct backend_session *session, struct fault *fault)
{
        static const unsigned char magic[MAGIC_BYTES] = { 0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7 };
        unsigned char tail[SUPER_TAIL_BYTES] = { 0 };
        char path[SQLITE_SHOWN_BYTES];
        CLOSED fd = open_beside(session, "-journal", O_RDONLY);
        struct stat stat;
        ssize_t n;

        if (fd < 0 || fstat(fd, &stat) != 0)
                return errno == ENOENT ? 0 : fault_system(session, "-journal", "looking at", fault);
        if (stat.st_size < SUPER_TAIL_BYTES)
                return 0;
        n = pread(fd, tail, sizeof(tail), stat.st_size - SUPER_TAIL_BYTES);
        if (n < 0)
                return fault_system(session, "-journal", "reading", fault);
        if (memcmp(tail + SUPER_TAIL_BYTES - MAGIC_BYTES, magic, MAGIC_BYTES) != 0)
                return 0;
        return fault_session(fault, BACKEND_E_CORRUPT, session->name,
                             "'%s-journal' names another file, which SQLite would delete; no library "
                             "writes such a journal: move it away",
                             sqlite_shown_path(session, path));
}

/* As SQLite sees it: a journal that begins with a zero has been played back already. */
static int is_hot(const struct backend_session *session, bool *hot, struct fault *fault)
{
        CLOSED fd = open_beside(session, "-journal", O_RDONLY);
        char first = 0;

        *hot = false;
        if (fd < 0)
                return errno == ENOENT ? 0 : fault_system(session, "-journal", "opening", fault);
        if (pread(fd, &first, 1, 0) < 0)
                return fault_system(session, "-journal", "reading", fault);
        *hot = first;
        return 0;
}

/* Locks the file as SQLite does before it plays a journal back. No connection of this process has it open. */
static int lock(const struct backend_session *session, int fd, struct fault *fault)
{
        struct flock lock = {
                .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = LOCKS_AT, .l_len = LOCKS_BYTES
        };
        int error;

        if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
                return 0;
        if (errno != EAGAIN && errno != EACCES)
                return fault_system(session, "", "locking", fault);
        error = fault_session(fault, BACKEND_E_BUSY, session->name, "another program has its file locked");
        snprintf(fault->file, sizeof(fault->file), "%s", session->path);
        return error;
}

/* 0 or -1 and errno. */
static int copy_bytes(int from, int to)
{
        char *bytes;
        ssize_t n, done = 0;

        if (ioctl(to, FICLONE, from) == 0) /* takes neither time nor room, on file systems that can do it */
                return 0;
        bytes = malloc(COPY_BYTES);
        if (!bytes)
                return -1;
        while (done >= 0 && (n = read(from, bytes, COPY_BYTES)) != 0) {
                if (n < 0)
                        done = errno == EINTR ? 0 : -1;
                for (ssize_t at = 0; n > at && done >= 0; at += done)
                        done = write(to, bytes + at, (size_t)(n - at));
        }
        explicit_bzero(bytes, COPY_BYTES);
        free(bytes);
        return done < 0 ? -1 : 0;
}

static int copy_one(struct backend_session *session, int from, const char *copy, const char *suffix,
                    struct fault *fault)
{
        char name[SQLITE_FILE_NAME_BYTES + sizeof("-journal")];

        snprintf(name, sizeof(name), "%s%s", copy, suffix);
        CLOSED to =
                openat(session->env->dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (to >= 0 && copy_bytes(from, to) == 0)
                return 0;
        session->disk_full = sqlite_means_full(errno);
        return fault_system(session, suffix, "copying", fault);
}

static int copy_all(struct backend_session *session, int file, const char *copy, struct fault *fault)
{
        int error = copy_one(session, file, copy, "", fault);

        for (size_t i = 1; !error && i < COPIED; i++) {
                CLOSED from = open_beside(session, suffixes[i], O_RDONLY);

                if (from >= 0)
                        error = copy_one(session, from, copy, suffixes[i], fault);
                else if (errno != ENOENT)
                        error = fault_system(session, suffixes[i], "opening", fault);
        }
        return error;
}

/* Whether the copy, after SQLite has played its journal back, is a session. */
static int open_copy(struct backend_session *session, const char *copy, bool seal, struct fault *fault)
{
        struct backend_session trial = { .env = session->env, .had_wal = session->had_wal };
        struct identity identity;
        struct fault ignored;
        int error;

        if (asprintf(&trial.path, "%s/%s", session->env->config->data_dir, copy) < 0)
                return sqlite_fault_memory(session, fault);
        memcpy(trial.name, session->name, sizeof(trial.name));
        identity_init(&identity);
        error = sqlite_connect(&trial, fault);
        if (!error)
                error = sqlite_exec(&trial, fault, "PRAGMA synchronous = OFF");
        if (!error)
                error = sqlite_examine(&trial, seal, &identity, fault);
        sqlite_release(&trial, &ignored);
        identity_wipe(&identity);
        free(trial.path);
        session->disk_full |= trial.disk_full;
        return error;
}

static void remove_copy(const struct backend_env *env, const char *copy)
{
        for (size_t i = 0; i < SUFFIXES; i++) {
                char name[SQLITE_FILE_NAME_BYTES + sizeof("-journal")];

                snprintf(name, sizeof(name), "%s%s", copy, suffixes[i]);
                unlinkat(env->dir, name, 0);
        }
}

/* Why the copy is refused, without the session's name, which begins all texts. */
static int refuse(const struct backend_session *session, int error, struct fault *fault)
{
        const char *why = fault->text + fault->why_at;
        char path[SQLITE_SHOWN_BYTES];

        sqlite_shown_path(session, path);
        if (error != BACKEND_E_CORRUPT)
                return fault_session(fault, error, session->name,
                                     "trying its journal '%s-journal' on a copy: %s", path, why);
        return fault_session(fault, error, session->name,
                             "with its journal '%s-journal': %s. If that is not the file's own, move it "
                             "away; nothing has been changed",
                             path, why);
}

int sqlite_companions_try(struct backend_session *session, bool seal, struct fault *fault)
{
        char copy[SQLITE_FILE_NAME_BYTES];
        bool hot = false;
        int error = check_journal(session, fault);

        if (!error)
                error = is_hot(session, &hot, fault);
        if (error || !hot)
                return error;
        CLOSED file = open_beside(session, "", O_RDWR);
        if (file < 0)
                return fault_system(session, "", "opening", fault);
        error = lock(session, file, fault);
        if (error)
                return error;
        sqlite_unfinished_name(session->env, copy);
        sqlite_room_share(session->env);
        error = copy_all(session, file, copy, fault);
        if (!error) {
                error = open_copy(session, copy, seal, fault);
                if (error)
                        error = refuse(session, error, fault);
        }
        remove_copy(session->env, copy);
        sqlite_room_done(session->env);
        return error;
}
