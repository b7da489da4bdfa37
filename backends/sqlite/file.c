/*
 * Session files in the data directory: DIR/NAME.session. Only SQLite opens them; here they are only looked at
 * with stat(), except at start, when none is open. Closing another descriptor of the same file would drop
 * SQLite's locks on it.
 *
 * A new file is completed under a name that no session can have, and then renamed. If the daemon is killed
 * meanwhile, no damaged session is left.
 */

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sqlite.h"

#define SUFFIX ".session"
#define FRESH_PREFIX ".gramd-new-"

enum {
        FILE_NAME_BYTES = SQLITE_FILE_NAME_BYTES,
        MARK_AT = 68, /* of application_id in the file's header, big endian */
};

static void close_fd(const int *fd)
{
        if (*fd >= 0)
                close(*fd);
}

static int fault_errno(const struct backend_session *session, int system, const char *doing,
                       struct fault *fault)
{
        return fault_session(fault, BACKEND_E_STORAGE, session->name, "%s: %s", doing,
                             strerrordesc_np(system));
}

static void file_name(char text[FILE_NAME_BYTES], const char *session, const char *suffix)
{
        snprintf(text, FILE_NAME_BYTES, "%s" SUFFIX "%s", session, suffix);
}

void sqlite_unfinished_name(struct backend_env *env, char name[SQLITE_FILE_NAME_BYTES])
{
        do
                snprintf(name, SQLITE_FILE_NAME_BYTES, FRESH_PREFIX "%llu",
                         (unsigned long long)atomic_fetch_add(&env->fresh, 1));
        while (faccessat(env->dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0);
}

static bool is_directory_unsynced(struct backend_env *env)
{
        return atomic_load(&env->dir_made_up) != atomic_load(&env->dir_failures);
}

/* 0 or an errno. A success makes up for the failures before it: the names are written again. */
static int sync_directory(struct backend_env *env)
{
        size_t failures = atomic_load(&env->dir_failures), made_up = atomic_load(&env->dir_made_up);

        if (fsync(env->dir) != 0) {
                int failed = errno;

                atomic_fetch_add(&env->dir_failures, 1);
                return failed;
        }
        while (made_up < failures && !atomic_compare_exchange_weak(&env->dir_made_up, &made_up, failures))
                ;
        return 0;
}

/* ---- a new file's bytes ---- */

static int write_all(int fd, const unsigned char *data, size_t len)
{
        while (len > 0) {
                ssize_t n = write(fd, data, len);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -1;
                data += n;
                len -= (size_t)n;
        }
        return fsync(fd);
}

/* The bytes of a new file of this library; sqlite3_free() frees them. NULL: the fault says why. */
static unsigned char *make_image(const struct backend_session *session, const struct library *library,
                                 size_t *len, struct fault *fault)
{
        struct backend_session image = { .env = session->env, .new_owner = session->new_owner };
        unsigned char *data = NULL;
        sqlite3_int64 size = 0;
        int error;

        snprintf(image.name, sizeof(image.name), "%s", session->name);
        error = sqlite_connect(&image, fault);
        if (!error)
                error = sqlite_create(&image, library, fault);
        if (!error) {
                data = sqlite3_serialize(image.db, "main", &size, 0);
                if (!data)
                        sqlite_fault_memory(session, fault);
        }
        sqlite3_close(image.db);
        if (data && library->wal) /* WAL mode: the read and write versions in the header */
                data[18] = data[19] = 2;
        *len = (size_t)size;
        return data;
}

/* ---- removing ---- */

/* The journals of the session's file. 0 or an errno. */
static int remove_beside(const struct backend_session *session, size_t *removed)
{
        static const char *const suffixes[] = { "-wal", "-shm", "-journal" };
        char name[FILE_NAME_BYTES];
        int failed = 0;

        *removed = 0;
        for (size_t i = 0; i < sizeof(suffixes) / sizeof(*suffixes); i++) {
                file_name(name, session->name, suffixes[i]);
                if (unlinkat(session->env->dir, name, 0) == 0)
                        ++*removed;
                else if (errno != ENOENT)
                        failed = errno;
        }
        return failed;
}

int sqlite_file_remove(struct backend_session *session, struct fault *fault)
{
        char name[FILE_NAME_BYTES];

        file_name(name, session->name, "");
        if (unlinkat(session->env->dir, name, 0) != 0 && errno != ENOENT)
                return fault_errno(session, errno, "removing its file", fault);
        return 0;
}

int sqlite_file_overwrite(struct backend_session *session)
{
        int failed = sync_directory(session->env);

        if (!failed)
                sqlite_overwrite(session->db);
        return failed;
}

int sqlite_file_remove_beside(struct backend_session *session, int unsynced, struct fault *fault)
{
        char path[SQLITE_SHOWN_BYTES];
        size_t removed;
        int failed = remove_beside(session, &removed);

        if (removed > 0 && unsynced) /* a sync meanwhile has not covered these */
                atomic_fetch_add(&session->env->dir_failures, 1);
        else if (removed > 0)
                unsynced = sync_directory(session->env);
        if (failed)
                return fault_session(fault, BACKEND_E_UNSYNCED, session->name,
                                     "its file is removed, but a journal beside it could not be "
                                     "removed: %s. It may hold the key: check the disk, and remove '%s'-*",
                                     strerrordesc_np(failed), sqlite_shown_path(session, path));
        if (unsynced)
                return fault_session(fault, BACKEND_E_UNSYNCED, session->name,
                                     "its file is removed, but the directory could not be written "
                                     "to disk: %s. A power cut may bring the file back: check the disk, and "
                                     "whether '%s' is there after the next one",
                                     strerrordesc_np(unsynced), sqlite_shown_path(session, path));
        return 0;
}

int sqlite_file_unmake(struct backend_session *session, int error, struct fault *fault)
{
        struct fault why;

        if (sqlite_file_remove(session, &why) == 0 &&
            sqlite_file_remove_beside(session, sync_directory(session->env), &why) == 0)
                return error;
        return fault_set(
                fault, BACKEND_E_UNAVAILABLE,
                "%s. Its new file may be there, now or after a power cut: check the disk, and open the "
                "session again",
                fault->text);
}

/* ---- creating ---- */

/*
 * SQLite would take a former file's journal for the new file's. It must be gone from the disk before the new
 * file appears: a power cut could bring it back.
 */
static int clear_way(const struct backend_session *session, struct fault *fault)
{
        size_t removed;
        int failed = remove_beside(session, &removed);

        if (!failed && (removed > 0 || is_directory_unsynced(session->env)))
                failed = sync_directory(session->env);
        return failed ? fault_errno(session, failed, "removing a former file's journal", fault) : 0;
}

static int write_file(struct backend_session *session, const char *fresh, const unsigned char *data,
                      size_t len, struct fault *fault)
{
        __attribute__((cleanup(close_fd))) int fd =
                openat(session->env->dir, fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        char name[FILE_NAME_BYTES];
        int error, failed;

        if (fd < 0 || write_all(fd, data, len) != 0) {
                session->disk_full = sqlite_means_full(errno);
                return fault_errno(session, errno, fd < 0 ? "creating its file" : "writing its file", fault);
        }
        error = clear_way(session, fault);
        if (error)
                return error;
        file_name(name, session->name, "");
        if (renameat2(session->env->dir, fresh, session->env->dir, name, RENAME_NOREPLACE) != 0)
                return fault_errno(session, errno, "putting its file in place", fault);
        failed = sync_directory(session->env);
        if (!failed)
                return 0;
        error = fault_errno(session, failed, "writing the directory to disk", fault);
        return sqlite_file_unmake(session, error, fault);
}

static int create(struct backend_session *session, const struct library *library, struct fault *fault)
{
        char fresh[FILE_NAME_BYTES];
        size_t len;
        unsigned char *data = make_image(session, library, &len, fault);
        int error;

        if (!data)
                return BACKEND_E_STORAGE;
        sqlite_unfinished_name(session->env, fresh);
        sqlite_room_share(session->env);
        error = write_file(session, fresh, data, len, fault);
        sqlite_room_done(session->env);
        if (error)
                unlinkat(session->env->dir, fresh, 0); /* else the next start does it */
        sqlite3_free(data);
        return error;
}

/* ---- checking ---- */

static int check_access(const struct backend_session *session, const char *name, struct fault *fault)
{
        if (faccessat(session->env->dir, name, R_OK | W_OK, AT_EACCESS) != 0)
                return fault_errno(session, errno, "its file cannot be read and written", fault);
        if (faccessat(session->env->dir, ".", W_OK | X_OK, AT_EACCESS) != 0)
                return fault_errno(session, errno, "the data directory cannot be written", fault);
        return 0;
}

int sqlite_file_prepare(struct backend_session *session, const struct library *library, bool *created,
                        struct fault *fault)
{
        char name[FILE_NAME_BYTES];
        struct stat stat;
        int error;

        assert(!session->path && session->phase == PHASE_NEW);
        file_name(name, session->name, "");
        if (asprintf(&session->path, "%s/%s", session->env->config->data_dir, name) < 0) {
                session->path = NULL;
                return sqlite_fault_memory(session, fault);
        }
        if (fstatat(session->env->dir, name, &stat, AT_SYMLINK_NOFOLLOW) != 0) {
                if (errno != ENOENT)
                        return fault_errno(session, errno, "looking at its file", fault);
                if (!library)
                        return fault_session(fault, BACKEND_E_NOT_FOUND, session->name, "there is none");
                error = sqlite_companions_check(session, fault);
                if (!error)
                        error = create(session, library, fault);
                *created = !error;
                return error;
        }
        error = sqlite_companions_check(session, fault);
        if (!error && stat.st_size == 0)
                error = fault_session(fault, BACKEND_E_CORRUPT, session->name, "its file is empty");
        return error ? error : check_access(session, name, fault);
}

/* ---- measuring ---- */

int64_t sqlite_file_bytes(const struct backend_env *env, const char *session, int64_t *modified)
{
        static const char *const suffixes[] = { "", "-wal" };
        int64_t bytes = -1;

        for (size_t i = 0; i < sizeof(suffixes) / sizeof(*suffixes); i++) {
                char name[FILE_NAME_BYTES];
                struct stat stat;

                file_name(name, session, suffixes[i]);
                if (fstatat(env->dir, name, &stat, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(stat.st_mode)) {
                        if (i == 0)
                                return -1;
                        continue;
                }
                bytes = i == 0 ? stat.st_size : bytes + stat.st_size;
                if (modified && (i == 0 || stat.st_mtime > *modified))
                        *modified = stat.st_mtime;
        }
        return bytes;
}

/* ---- the directory ---- */

struct names {
        char **items;
        size_t n;
        size_t size;
};

static void free_names(struct names *names)
{
        for (size_t i = 0; i < names->n; i++)
                free(names->items[i]);
        free(names->items);
}

static bool add_name(struct names *names, struct slice name)
{
        if (names->n == names->size) {
                size_t size = names->size ? names->size * 2 : 64;
                char **items = realloc(names->items, size * sizeof(*items));

                if (!items)
                        return false;
                names->items = items;
                names->size = size;
        }
        names->items[names->n] = strndup(name.data, name.len);
        return names->items[names->n] && ++names->n;
}

static int compare_names(const void *a, const void *b)
{
        return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The session's name, if `file` is the name and one of the suffixes; else absent. */
static struct slice session_of(const char *file, const char *const *suffixes)
{
        struct slice name = slice_of(file);

        for (; *suffixes; suffixes++) {
                size_t len = strlen(*suffixes);
                struct slice session = { name.data, name.len - len };

                if (name.len > len && strcmp(name.data + session.len, *suffixes) == 0 &&
                    session_name_valid(session))
                        return session;
        }
        return SLICE_NONE;
}

static void close_directory(DIR **directory)
{
        if (*directory)
                closedir(*directory);
}

/* NULL: errno tells why. */
static DIR *open_directory(const struct backend_env *env)
{
        int fd = openat(env->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *directory = fd < 0 ? NULL : fdopendir(fd);

        if (!directory && fd >= 0) {
                close(fd);
                errno = ENOMEM; /* the only reason for a directory that is open */
        }
        return directory;
}

/* Sorted names of sessions after `after`. A session with several matching files is in it several times. */
static int read_names(const struct backend_env *env, const char *const *suffixes, struct slice after,
                      struct names *names, struct fault *fault)
{
        __attribute__((cleanup(close_directory))) DIR *directory = open_directory(env);
        struct dirent *entry;

        if (!directory)
                return fault_set(fault, BACKEND_E_STORAGE, "reading %s: %s", env->config->data_dir,
                                 strerrordesc_np(errno));
        while ((entry = readdir(directory))) {
                struct slice session = session_of(entry->d_name, suffixes);

                if (!session.data || (after.data && slice_compare(session, after) <= 0))
                        continue;
                if (!add_name(names, session))
                        return fault_set(fault, BACKEND_E_STORAGE, "listing sessions: no memory");
        }
        if (names->n)
                qsort(names->items, names->n, sizeof(*names->items), compare_names);
        return 0;
}

int sqlite_file_list(struct backend_env *env, struct slice after, stored_fn found, void *arg,
                     struct fault *fault)
{
        static const char *const suffixes[] = { SUFFIX, NULL };
        __attribute__((cleanup(free_names))) struct names names = { 0 };
        int error = read_names(env, suffixes, after, &names, fault);

        for (size_t i = 0; !error && i < names.n; i++) {
                struct stored_session stored = { .name = slice_of(names.items[i]) };

                stored.bytes = sqlite_file_bytes(env, names.items[i], &stored.modified);
                if (stored.bytes >= 0 && !found(arg, &stored))
                        break;
        }
        return error;
}

int sqlite_file_owner(struct backend_env *env, struct slice name, char text[OWNER_TEXT_BYTES],
                      struct fault *fault)
{
        struct backend_session session = { .env = env };
        struct fault ignored;
        int error;

        snprintf(session.name, sizeof(session.name), "%.*s", (int)name.len, name.data);
        if (asprintf(&session.path, "%s/%s" SUFFIX, env->config->data_dir, session.name) < 0)
                return fault_set(fault, BACKEND_E_STORAGE, "no memory");
        error = sqlite_companions_check(&session, fault);
        if (!error)
                error = sqlite_connect_immutable(&session, fault);
        if (!error)
                error = sqlite_find_extras(&session, fault);
        if (!error)
                error = sqlite_load_owner(&session, text, fault);
        sqlite_release(&session, &ignored);
        free(session.path);
        return error;
}

static void remove_half_made(const struct backend_env *env)
{
        __attribute__((cleanup(close_directory))) DIR *directory = open_directory(env);
        struct dirent *entry;

        while (directory && (entry = readdir(directory)))
                if (strncmp(entry->d_name, FRESH_PREFIX, sizeof(FRESH_PREFIX) - 1) == 0)
                        unlinkat(env->dir, entry->d_name, 0);
}

/* Whether its header has gramd's mark, without a journal that would tell more. */
static bool is_marked(const struct backend_env *env, const char *session)
{
        static const unsigned char mark[] = { SQLITE_MARK >> 24, SQLITE_MARK >> 16 & 255,
                                              SQLITE_MARK >> 8 & 255, SQLITE_MARK & 255 };
        unsigned char found[sizeof(mark)];
        char name[FILE_NAME_BYTES];
        struct stat stat;

        file_name(name, session, "");
        __attribute__((cleanup(close_fd))) int fd =
                openat(env->dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        return fd >= 0 && fstat(fd, &stat) == 0 && S_ISREG(stat.st_mode) &&
               pread(fd, found, sizeof(found), MARK_AT) == sizeof(found) &&
               memcmp(found, mark, sizeof(mark)) == 0;
}

/* A session is in `names` once for each of its files: the main one, a -wal, a journal. */
int sqlite_file_recover(struct backend_env *env, void (*recover)(struct backend_env *env, struct slice name),
                        struct fault *fault)
{
        static const char *const suffixes[] = { SUFFIX, SUFFIX "-wal", SUFFIX "-journal", NULL };
        __attribute__((cleanup(free_names))) struct names names = { 0 };
        int error = read_names(env, suffixes, SLICE_NONE, &names, fault);
        size_t next;

        if (error)
                return error;
        remove_half_made(env);
        for (size_t i = 0; i < names.n; i = next) {
                for (next = i + 1; next < names.n && strcmp(names.items[i], names.items[next]) == 0;)
                        next++;
                if (next - i > 1 || is_marked(env, names.items[i]))
                        recover(env, slice_of(names.items[i]));
        }
        sync_directory(env); /* what a killed daemon removed */
        return 0;
}
