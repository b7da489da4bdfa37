#include "snapshot.h"

#include <dirent.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fuzz.h"

enum { FILES_MAX = 24, NAME_BYTES = 64, PATH_BYTES = 160 };

static struct {
        struct {
                char name[NAME_BYTES];
                char *bytes;
                size_t len;
        } files[FILES_MAX];
        size_t n;
        bool taken, held;
        const char *dir;
        unsigned calls; /* until it is taken; 0: it is not to be */
} snapshot;

static ssize_t (*real_pwrite)(int fd, const void *data, size_t len, off_t offset);
static int (*real_truncate)(int fd, off_t size);
static int (*real_unlink)(const char *path);

static void forget(void)
{
        for (size_t i = 0; i < snapshot.n; i++)
                free(snapshot.files[i].bytes);
        snapshot.n = 0;
}

static void copy(const char *dir, const char *name)
{
        char path[PATH_BYTES];
        struct stat stat;
        size_t i = snapshot.n;
        int fd;

        snprintf(path, sizeof(path), "%s/%s", dir, name);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        require(fd >= 0 && fstat(fd, &stat) == 0);
        if (S_ISREG(stat.st_mode)) {
                require(i < FILES_MAX && strlen(name) < NAME_BYTES);
                strcpy(snapshot.files[i].name, name);
                snapshot.files[i].len = (size_t)stat.st_size;
                snapshot.files[i].bytes = malloc((size_t)stat.st_size + 1);
                require(snapshot.files[i].bytes);
                require(read(fd, snapshot.files[i].bytes, (size_t)stat.st_size) == stat.st_size);
                snapshot.n++;
        }
        close(fd);
}

void snapshot_take(const char *dir)
{
        DIR *files;

        snapshot.calls = 0;
        snapshot.taken = true;
        if (snapshot.held)
                return; /* the one that was planted */
        files = opendir(dir);
        require(files);
        forget();
        for (const struct dirent *entry; (entry = readdir(files));)
                if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
                        copy(dir, entry->d_name);
        closedir(files);
}

void snapshot_take_before(const char *dir, unsigned calls)
{
        snapshot.dir = dir;
        snapshot.calls = calls;
}

bool snapshot_is_taken(void)
{
        return snapshot.taken;
}

void snapshot_hold(void)
{
        snapshot.taken = false;
        snapshot.held = true;
        snapshot.calls = 0;
}

void snapshot_restore(const char *dir)
{
        for (size_t i = 0; i < snapshot.n; i++) {
                char path[PATH_BYTES];
                int fd;

                snprintf(path, sizeof(path), "%s/%s", dir, snapshot.files[i].name);
                fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
                require(fd >= 0);
                require(write(fd, snapshot.files[i].bytes, snapshot.files[i].len) ==
                        (ssize_t)snapshot.files[i].len);
                close(fd);
        }
        forget();
        snapshot.held = false;
}

/* ---- the calls that change files ---- */

static void on_change(void)
{
        if (snapshot.calls > 0 && --snapshot.calls == 0)
                snapshot_take(snapshot.dir);
}

/* In place of the C library's. */
int unlinkat(int dir, const char *path, int flags)
{
        on_change();
        return (int)syscall(SYS_unlinkat, dir, path, flags);
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
        on_change();
        return (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
}

static ssize_t watched_pwrite(int fd, const void *data, size_t len, off_t offset)
{
        on_change();
        return real_pwrite(fd, data, len, offset);
}

static int watched_truncate(int fd, off_t size)
{
        on_change();
        return real_truncate(fd, size);
}

static int watched_unlink(const char *path)
{
        on_change();
        return real_unlink(path);
}

void snapshot_watch(void)
{
        sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);

        if (real_pwrite)
                return;
        real_pwrite = (ssize_t(*)(int, const void *, size_t, off_t))vfs->xGetSystemCall(vfs, "pwrite64");
        if (!real_pwrite)
                real_pwrite =
                        (ssize_t(*)(int, const void *, size_t, off_t))vfs->xGetSystemCall(vfs, "pwrite");
        real_truncate = (int (*)(int, off_t))vfs->xGetSystemCall(vfs, "ftruncate");
        real_unlink = (int (*)(const char *))vfs->xGetSystemCall(vfs, "unlink");
        require(real_pwrite && real_truncate && real_unlink);
        vfs->xSetSystemCall(vfs, "pwrite", (sqlite3_syscall_ptr)watched_pwrite);
        vfs->xSetSystemCall(vfs, "pwrite64", (sqlite3_syscall_ptr)watched_pwrite);
        vfs->xSetSystemCall(vfs, "ftruncate", (sqlite3_syscall_ptr)watched_truncate);
        vfs->xSetSystemCall(vfs, "unlink", (sqlite3_syscall_ptr)watched_unlink);
}
