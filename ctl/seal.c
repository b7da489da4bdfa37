/* seal, unseal, rotate. And `key new`, which needs no daemon. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../backends/keyring.h"
#include "ctl.h"
#include "output.h"
#include "private_file.h"

/* ---- sessions ---- */

static int seal(struct gram_session *session, const char *unused)
{
        (void)unused;
        return gram_seal(session);
}

static int unseal(struct gram_session *session, const char *unused)
{
        (void)unused;
        return gram_unseal(session);
}

static int rotate(struct gram_session *session, const char *unused)
{
        (void)unused;
        return gram_rotate(session);
}

static bool is_stored(const struct gram_stored_sessions *page, size_t i)
{
        return strcmp(page->rows[i].backend, "memory") != 0;
}

int ctl_seal(struct ctl *ctl)
{
        /* also what require-sealed refuses as it is */
        return ctl_each(ctl, &(struct ctl_each){ "seal", seal, .mode = GRAM_SEAL, .of_all = is_stored });
}

int ctl_unseal(struct ctl *ctl)
{
        return ctl_each(ctl, &(struct ctl_each){ "unseal", unseal, .of_all = is_stored });
}

int ctl_rotate(struct ctl *ctl)
{
        return ctl_each(ctl, &(struct ctl_each){ "rotate", rotate, .of_all = is_stored });
}

/* ---- keys ---- */

/*
 * The key file as it is, locked: another `key new` waits, so that neither loses the other's key. -1 and
 * errno; ENOENT: there is none.
 */
static int open_former(const char *path)
{
        for (;;) {
                struct stat held, now;
                int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
                int failed;

                if (fd < 0)
                        return -1;
                failed = flock(fd, LOCK_EX) < 0 ? errno : 0;
                if (!failed && fstat(fd, &held) == 0 && lstat(path, &now) == 0 && held.st_dev == now.st_dev &&
                    held.st_ino == now.st_ino)
                        return fd;
                close(fd); /* it has been replaced meanwhile, or cannot be locked */
                if (failed && failed != EINTR) {
                        errno = failed;
                        return -1;
                }
        }
}

/* The former keys, behind the new one. False: errno. */
static bool append(int to, int from)
{
        char text[4096];
        struct stat stat;
        bool good = true;
        ssize_t n;

        while (good && (n = read(from, text, sizeof(text))) != 0)
                good = n > 0 && write_all(to, text, (size_t)n);
        explicit_bzero(text, sizeof(text));
        if (good && fstat(from, &stat) == 0 && geteuid() == 0)
                good = fchown(to, stat.st_uid, stat.st_gid) == 0;
        return good;
}

/* `id` is that of the new key. */
static int write_file(const char *path, struct keyring *keyring, enum key_file kind, uint8_t id[KEY_ID_BYTES])
{
        char line[KEY_LINE_BYTES], why[512] = "";
        struct private_file file;
        int former = open_former(path);
        bool good = (former >= 0 || errno == ENOENT) && private_file_begin(&file, path);

        if (good) {
                key_line_new(line);
                good = write_all(file.fd, line, strlen(line)) && (former < 0 || append(file.fd, former));
                explicit_bzero(line, sizeof(line));
                good = good && keyring_read(keyring, file.beside, kind, why, sizeof(why)) &&
                       keyring_id(keyring, 0, id);
                good = private_file_end(&file, good, former >= 0);
        }
        if (!good)
                ctl_fail(EXIT_FAILED, "cannot write %s: %s", path, *why ? why : strerror(errno));
        if (former >= 0)
                close(former);
        return good ? EXIT_OK : EXIT_FAILED;
}

static int print_key(void)
{
        char line[KEY_LINE_BYTES];
        bool good;

        if (isatty(STDOUT_FILENO))
                return ctl_fail(EXIT_USAGE, "a key is not printed on a terminal: name a file, or use a pipe");
        key_line_new(line);
        good = write_all(STDOUT_FILENO, line, strlen(line));
        explicit_bzero(line, sizeof(line));
        return good ? EXIT_OK : ctl_fail(EXIT_FAILED, "cannot write the key: %s", strerror(errno));
}

static int make_key(const char *path, struct keyring *keyring)
{
        char why[512], text[KEY_ID_TEXT_BYTES];
        uint8_t id[KEY_ID_BYTES];
        enum key_file kind = geteuid() == 0 ? KEY_FILE_ANY_OWNER : KEY_FILE_PRIVATE;

        if (access(path, F_OK) == 0 && !keyring_read(keyring, path, kind, why, sizeof(why)))
                return ctl_fail(EXIT_FAILED, "%s", why);
        if (write_file(path, keyring, kind, id) != EXIT_OK)
                return EXIT_FAILED;
        key_id_text(id, text);
        printf("%s: key %s is the current one. Keep a copy of the file apart from the sessions: what it "
               "seals cannot be read without it\n",
               path, text);
        return EXIT_OK;
}

int ctl_key(struct ctl *ctl)
{
        struct keyring *keyring;
        int code;

        if (strcmp(ctl->arguments[0], "new") != 0)
                return ctl_fail(EXIT_USAGE, "usage: gramctl key new FILE");
        keyring = keyring_new();
        if (!keyring)
                return ctl_fail(EXIT_FAILED, "cannot start: %s", strerror(errno));
        code = strcmp(ctl->arguments[1], "-") == 0 ? print_key() : make_key(ctl->arguments[1], keyring);
        keyring_free(keyring);
        return code;
}
