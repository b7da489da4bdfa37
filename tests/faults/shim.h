#ifndef GRAMD_TESTS_FAULTS_SHIM_H
#define GRAMD_TESTS_FAULTS_SHIM_H

/*
 * Preloaded into the daemon: records what it does with the files of its data directory, in the order in which
 * it happens, and lets chosen calls fail. The daemon itself has no switch for tests.
 *
 *     GRAMD_SHIM         the control file: struct control, which shim.py makes and writes
 *     GRAMD_SHIM_DATA    the data directory, without symbolic links in its path
 *     GRAMD_SHIM_RECORD  where to record, a file of the size that the record may have; unset: nothing is
 * recorded
 *
 * A call that changes a file or the directory, and its entry in the record, are made under one lock: so the
 * record has the true order. A sync has two entries, because it takes long: it covers what was recorded
 * before the first, and nothing is known to be on the disk before the second. Bytes that the daemon sends to
 * its clients are recorded too: so the record says what was acknowledged before what.
 *
 * Control and record are shared mappings. They outlive the daemon when it is killed.
 */

#include <dirent.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

/* ---- what shim.py knows too ---- */

enum operation {
        OP_OPEN, /* of a file that is there */
        OP_CREATE,
        OP_WRITE,
        OP_TRUNCATE,
        OP_ALLOCATE,
        OP_SYNC,
        OP_UNLINK,
        OP_RENAME,
        OP_LINK,
        OP_MKDIR,
        OP_CLOSE,
        OP_READ, /* can fail, is not recorded */
        /* These can only be recorded. */
        OP_SYNC_BEGIN,
        OP_ACCEPT,
        OP_SEND,
        OP_START,
};

enum object {
        OBJECT_DB,      /* NAME.session */
        OBJECT_LOG,     /* NAME.session-wal */
        OBJECT_JOURNAL, /* NAME.session-journal */
        OBJECT_SHM,
        OBJECT_FRESH, /* a new session's file, before it gets its name */
        OBJECT_DIRECTORY,
        OBJECT_OTHER,
};

enum action {
        ACTION_FAIL,    /* with the errno `argument` */
        ACTION_SHORT,   /* a write ends after `argument` bytes */
        ACTION_DELAY,   /* the call is made `argument` milliseconds later */
        ACTION_IGNORE,  /* the call reports success, and nothing is done */
        ACTION_KILL,    /* the daemon is killed before the call */
        ACTION_LATE,    /* a write is done, and then fails with the errno `argument` */
        ACTION_SWALLOW, /* after a failed sync, a write of the bytes that the file holds already is not done
                         */
};

enum flag {
        FLAG_INJECTED = 1,
        FLAG_IGNORED = 2, /* reported as done, but not done */
        FLAG_DONE = 4,    /* reported as failed, but done */
};

enum { N_RULES = 16, RULE_NAME_BYTES = 64, N_FILES = 1 << 16, NAME_BYTES = 512 };

struct rule {
        _Atomic uint32_t on;
        uint32_t operations; /* 1 << enum operation */
        uint32_t objects;    /* 1 << enum object */
        uint32_t action;
        uint64_t skip;     /* so many calls are let pass first */
        uint64_t times;    /* then so many are met; 0: all */
        uint64_t until_ns; /* CLOCK_MONOTONIC; 0: no end */
        uint64_t argument;
        uint64_t seen; /* calls that the rule could meet */
        uint64_t met;
        char name[RULE_NAME_BYTES]; /* part of the file's name; empty: any */
};

struct control {
        _Atomic uint64_t record_bytes; /* complete entries of the record */
        _Atomic uint64_t n_calls;      /* that a rule could have met */
        uint64_t reserved[6];
        struct rule rules[N_RULES];
};

/* Name and data follow. A rename has two names with a zero byte between them. */
struct entry {
        uint32_t bytes; /* of the whole entry, a multiple of 8 */
        uint16_t operation;
        uint16_t object;
        uint64_t time_ns; /* CLOCK_MONOTONIC */
        int64_t offset;   /* of a write; the size of truncate and allocate; flags of open */
        int64_t result;
        int32_t error; /* errno, 0: success */
        int32_t fd;
        uint32_t flags;
        uint32_t name_bytes;
        uint32_t data_bytes;
        uint32_t thread;
};

/* ---- what the parts of the shim share ---- */

#pragma GCC visibility push(hidden)

struct file {
        bool tracked;
        bool accepted;    /* a client's socket */
        bool sync_failed; /* and no sync has succeeded since */
        enum object object;
        char name[NAME_BYTES]; /* in the data directory; of the directory itself: empty */
};

struct verdict {
        int error;
        bool ignore, late, kill, swallow;
        uint64_t delay_ms;
        int64_t shorten; /* -1: no */
};

/* The library's own functions. */
extern int (*real_open)(const char *, int, ...);
extern int (*real_openat)(int, const char *, int, ...);
extern int (*real_close)(int);
extern int (*real_closedir)(DIR *);
extern ssize_t (*real_write)(int, const void *, size_t);
extern ssize_t (*real_writev)(int, const struct iovec *, int);
extern ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
extern ssize_t (*real_pread)(int, void *, size_t, off_t);
extern ssize_t (*real_sendmsg)(int, const struct msghdr *, int);
extern int (*real_accept4)(int, struct sockaddr *, socklen_t *, int);
extern int (*real_accept)(int, struct sockaddr *, socklen_t *);
extern int (*real_ftruncate)(int, off_t);
extern int (*real_fallocate)(int, int, off_t, off_t);
extern int (*real_posix_fallocate)(int, off_t, off_t);
extern int (*real_fsync)(int);
extern int (*real_fdatasync)(int);
extern int (*real_unlinkat)(int, const char *, int);
extern int (*real_renameat2)(int, const char *, int, const char *, unsigned);
extern int (*real_linkat)(int, const char *, int, const char *, int);
extern int (*real_mkdirat)(int, const char *, mode_t);

/* Before anything else in each call: others may call before the constructors have run. */
void shim_start(void);

/* A tracked file, or NULL. */
struct file *shim_file(int fd);

/* A client's socket whose bytes are recorded. */
bool shim_is_client(int fd);

void shim_track(int fd, const char *name);

/* `fd` has become something else that is not in the data directory. */
void shim_forget(int fd, bool accepted);

/* The name in the data directory, or NULL. */
const char *shim_name(int dir, const char *path);
enum object shim_object(const char *name);

/*
 * Asks the rules, and waits where one wants it. Returns with the lock held, which shim_leave() gives back;
 * that sets errno.
 */
struct verdict shim_enter(enum operation operation, enum object object, const char *name);
void shim_lock(void);
void shim_leave(int error);

/* The call's result if it is not to be made; else 1. */
int shim_instead(const struct verdict *verdict);
uint32_t shim_flags(const struct verdict *verdict);

/* Of a call that has returned `result`, with errno if it is negative. */
struct entry shim_entry(enum operation operation, enum object object, int64_t result);

/* Under the lock. Completes the entry and adds it to the record, with its name and data. */
void shim_note(struct entry entry, const char *name, const struct iovec *data, int n);
void shim_note_fd(enum operation operation, int fd, int64_t result, int64_t offset,
                  const struct verdict *verdict);

#pragma GCC visibility pop

#endif
