/*
 * seal, unseal, rotate: one session after the other, each of them whole. So they can be stopped at any time,
 * and run again. And `key new`, which needs no daemon.
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../backends/keyring.h"
#include "ctl.h"
#include "output.h"
#include "private_file.h"

/* ---- sessions ---- */

struct sealing {
        int (*change)(struct gram_session *session);
        enum gram_mode mode; /* with GRAM_SEAL also what require-sealed refuses as it is */
        int64_t n_done;
        int64_t n_failed;
};

static void change_one(struct ctl *ctl, struct sealing *sealing, const char *name, const char *backend)
{
        const struct gram_open_options options = { .backend = backend,
                                                   .mode = sealing->mode,
                                                   .must_exist = true };
        struct gram_session *session;

        if (gram_open(ctl->client, name, &options, &session)) {
                ctl_fail_gram(ctl, name);
                sealing->n_failed++;
                return;
        }
        if (sealing->change(session)) {
                ctl_fail_gram(ctl, name);
                sealing->n_failed++;
        } else {
                sealing->n_done++;
        }
        gram_close(session);
}

static bool is_wanted(const struct ctl *ctl, const struct gram_stored_session *row)
{
        return row->backend && strcmp(row->backend, "memory") != 0 &&
               (!ctl->backend || strcmp(row->backend, ctl->backend) == 0);
}

static int change_all(struct ctl *ctl, struct sealing *sealing)
{
        struct gram_stored_sessions *page = NULL;

        for (;;) {
                struct gram_stored_sessions *last = page;
                int error = gram_sessions(ctl->client, NULL, last ? last->rows[last->n - 1].name : NULL,
                                          GRAM_MAX_ROWS, &page);

                gram_free(last);
                if (error)
                        return ctl_fail_gram(ctl, NULL);
                for (size_t i = 0; i < page->n; i++)
                        if (is_wanted(ctl, &page->rows[i]))
                                change_one(ctl, sealing, page->rows[i].name, page->rows[i].backend);
                if (page->n == 0)
                        break;
        }
        gram_free(page);
        return EXIT_OK;
}

static int change(struct ctl *ctl, const char *command, struct sealing sealing)
{
        int code = EXIT_OK;

        if (ctl->all == (ctl->n_list > 0))
                return ctl_fail(EXIT_USAGE, "%s needs the names of sessions, or --all", command);
        if (ctl->all)
                code = change_all(ctl, &sealing);
        for (int i = 0; i < ctl->n_list; i++)
                change_one(ctl, &sealing, ctl->list[i], ctl->backend);
        if (ctl->json) {
                putchar('{');
                json_key_int("done", sealing.n_done, true);
                json_key_int("failed", sealing.n_failed, false);
                puts("}");
        } else {
                printf("%" PRId64 " done, %" PRId64 " failed\n", sealing.n_done, sealing.n_failed);
        }
        return sealing.n_failed ? EXIT_FAILED : code;
}

int ctl_seal(struct ctl *ctl)
{
        return change(ctl, "seal", (struct sealing){ .change = gram_seal, .mode = GRAM_SEAL });
}

int ctl_unseal(struct ctl *ctl)
{
        return change(ctl, "unseal", (struct sealing){ .change = gram_unseal });
}

int ctl_rotate(struct ctl *ctl)
{
        return change(ctl, "rotate", (struct sealing){ .change = gram_rotate });
}

/* ---- keys ---- */

/* The former keys, behind the new one. False: errno. */
static bool append_former(int to, const char *path)
{
        char text[4096];
        struct stat stat;
        bool good = true;
        ssize_t n;
        int from = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

        if (from < 0)
                return errno == ENOENT;
        while (good && (n = read(from, text, sizeof(text))) != 0)
                good = n > 0 && write_all(to, text, (size_t)n);
        explicit_bzero(text, sizeof(text));
        if (good && fstat(from, &stat) == 0 && geteuid() == 0)
                good = fchown(to, stat.st_uid, stat.st_gid) == 0;
        close(from);
        return good;
}

static bool write_file(const char *path)
{
        char line[KEY_LINE_BYTES];
        struct private_file file;
        bool good;

        if (!private_file_begin(&file, path))
                return false;
        key_line_new(line);
        good = write_all(file.fd, line, strlen(line)) && append_former(file.fd, path);
        explicit_bzero(line, sizeof(line));
        return private_file_end(&file, good, true);
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
        if (!write_file(path))
                return ctl_fail(EXIT_FAILED, "cannot write %s: %s", path, strerror(errno));
        if (!keyring_read(keyring, path, kind, why, sizeof(why)) || !keyring_id(keyring, 0, id))
                return ctl_fail(EXIT_FAILED, "%s", why);
        key_id_text(id, text);
        printf("%s: key %s is the current one. Keep a copy of the file apart from the sessions: what it "
               "seals "
               "cannot be read without it\n",
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
