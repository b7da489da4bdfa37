/*
 * The commands export and import. A session string is a password to the account. So it is read from a file or
 * standard input, never from the command line, which every user of the machine can see. A terminal does not
 * echo it, and shows it only with --force. Files with it are readable by their owner only. Memory that held
 * it is wiped.
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "ctl.h"
#include "output.h"
#include "private_file.h"

enum { STRING_MAX = 4096 };

/* ---- export ---- */

static bool put_string(const struct ctl *ctl, int fd, const char *text)
{
        size_t len = strlen(text);

        if (!ctl->json)
                return write_all(fd, text, len) && write_all(fd, "\n", 1);
        /* Base64 needs no escapes in JSON. */
        return write_all(fd, "{\"string\": \"", 12) && write_all(fd, text, len) && write_all(fd, "\"}\n", 3);
}

static int export_file(const struct ctl *ctl, const char *text)
{
        struct private_file file;

        if (private_file_begin(&file, ctl->output) &&
            private_file_end(&file, put_string(ctl, file.fd, text), ctl->force))
                return EXIT_OK;
        return ctl_fail(EXIT_FAILED, "cannot write %s: %s%s", ctl->output, strerror(errno),
                        errno == EEXIST ? "; --force replaces it" : "");
}

static int print_string(const struct ctl *ctl, const char *text)
{
        if (put_string(ctl, STDOUT_FILENO, text))
                return EXIT_OK;
        return ctl_fail(EXIT_FAILED, "cannot write standard output: %s", strerror(errno));
}

int ctl_export(struct ctl *ctl)
{
        struct gram_session *session;
        char *text = NULL;
        int code;

        if (!ctl->output && !ctl->force && isatty(STDOUT_FILENO))
                return ctl_fail(EXIT_FAILED,
                                "a session string is a password to the account; --output FILE writes it to a "
                                "file, --force prints it here");
        code = ctl_open(ctl, false, &session);
        if (code)
                return code;
        if (gram_export_string(session, ctl->format ? ctl->format : "pyrogram", &text))
                code = ctl_fail_gram(ctl, ctl->arguments[0]);
        else if (ctl->output)
                code = export_file(ctl, text);
        else
                code = print_string(ctl, text);
        gram_free(text);
        gram_close(session);
        return code;
}

/* ---- import ---- */

/* Reads a line from the terminal without echo. Returns its bytes, or -1. */
static ssize_t read_hidden(char *to, size_t size)
{
        struct termios shown, hidden;
        ssize_t n;

        if (tcgetattr(STDIN_FILENO, &shown) != 0)
                return -1;
        hidden = shown;
        hidden.c_lflag &= ~(tcflag_t)(ECHO | ICANON); /* ICANON cuts lines at 4096 characters */
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);  /* drops what was typed before the prompt */
        fputs("session string: ", stderr);
        for (n = 0; (size_t)n < size; n++) {
                if (read(STDIN_FILENO, to + n, 1) != 1 || to[n] == '\n' || to[n] == 4)
                        break;
        }
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
        fputc('\n', stderr);
        return n;
}

/* Whether the path leads over a link of another user, who is not root. `*is_link`: the path itself is a link.
 */
static bool has_foreign_link(const char *file, bool *is_link)
{
        char *path = strdup(file);
        bool foreign = !path;

        *is_link = false;
        for (char *at = path; at && *at && !foreign;) {
                struct stat stat;
                char *slash = strchr(at + 1, '/');

                if (slash)
                        *slash = '\0';
                *is_link = lstat(path, &stat) == 0 && S_ISLNK(stat.st_mode);
                foreign = *is_link && stat.st_uid != 0 && stat.st_uid != geteuid();
                if (!slash)
                        break;
                *slash = '/';
                at = slash;
        }
        free(path);
        return foreign;
}

/*
 * Opens a file that may be in another user's directory, for root too. That user must not make the reader wait
 * for a FIFO, nor lead him to a file of his own by a link. The reader's own pipes are read: a shell makes
 * them for
 * `<(command)`. Returns the descriptor, or -1 and why.
 */
static int open_careful(const char *file, const char **why)
{
        struct stat stat;
        bool is_link;
        int fd;

        *why = "a link of another user leads to it";
        if (has_foreign_link(file, &is_link))
                return -1;
        fd = open(file, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | (is_link ? 0 : O_NOFOLLOW));
        *why = strerror(errno);
        if (fd < 0)
                return -1;
        *why = NULL;
        if (fstat(fd, &stat) != 0)
                *why = strerror(errno);
        else if (S_ISFIFO(stat.st_mode) && stat.st_uid == geteuid())
                poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, -1); /* until somebody writes */
        else if (!S_ISREG(stat.st_mode))
                *why = "it is not a regular file";
        else if (stat.st_nlink > 1)
                *why = "it has other names, too (hard links)";
        if (!*why && fcntl(fd, F_SETFL, 0) == 0)
                return fd;
        close(fd);
        return -1;
}

/* Reads the string into `text` and trims white space around it. Returns an exit code. */
static int string_read(const char *file, char text[STRING_MAX + 1])
{
        bool from_stdin = !file || strcmp(file, "-") == 0;
        const char *why = NULL;
        int fd = from_stdin ? STDIN_FILENO : open_careful(file, &why);
        size_t start;
        ssize_t n;

        if (fd < 0)
                return ctl_fail(EXIT_FAILED, "cannot read %s: %s", file, why ? why : strerror(errno));
        n = from_stdin && isatty(fd) ? read_hidden(text, STRING_MAX) : read_all(fd, text, STRING_MAX);
        if (!from_stdin)
                close(fd);
        if (n < 0)
                return ctl_fail(EXIT_FAILED, "cannot read %s: %s", file ? file : "standard input",
                                strerror(errno));
        if (n == STRING_MAX)
                return ctl_fail(EXIT_FAILED, "%s is too long for a session string",
                                file ? file : "standard input");
        while (n && strchr(" \t\r\n", text[n - 1]))
                n--;
        text[n] = '\0';
        start = strspn(text, " \t\r\n");
        memmove(text, text + start, (size_t)n - start + 1);
        if (!*text)
                return ctl_fail(EXIT_FAILED, "%s is empty: no session string",
                                file ? file : "standard input");
        return EXIT_OK;
}

static void report(const struct ctl *ctl, unsigned fields)
{
        bool first = true;

        if (ctl->json) {
                putchar('{');
                json_key_text(stdout, "name", ctl->arguments[0], true);
                json_key(stdout, "fields", false);
                putchar('[');
        } else {
                print_text(stdout, ctl->arguments[0]);
                fputs(": set", stdout);
        }
        for (unsigned field = 1; field < GRAM_ALL_FIELDS; field <<= 1) {
                if (!(fields & field))
                        continue;
                if (ctl->json) {
                        fputs(first ? "" : ", ", stdout);
                        json_text(stdout, gram_field_name(field));
                } else {
                        printf("%s %s", first ? "" : ",", gram_field_name(field));
                }
                first = false;
        }
        puts(ctl->json ? "]}" : "");
}

static int import_text(struct ctl *ctl, const struct gram_import_options *options, const char *text)
{
        struct gram_session *session;
        unsigned fields;
        int code = ctl_open(ctl, true, &session);

        if (code)
                return code;
        if (gram_import_string(session, text, options, &fields) == 0) {
                report(ctl, fields);
        } else {
                code = ctl_fail_gram(ctl, ctl->arguments[0]);
                if (gram_session_opened(session)->created) /* created for this import, which failed */
                        gram_delete(session, true);
        }
        gram_close(session);
        return code;
}

int ctl_import(struct ctl *ctl)
{
        struct gram_import_options options = { .format = ctl->format, .overwrite = ctl->overwrite };
        char text[STRING_MAX + 1];
        char *end = NULL;
        int code;

        if (ctl->api_id) {
                errno = 0;
                options.has_api_id = true;
                options.api_id = strtoll(ctl->api_id, &end, 10);
                if (end == ctl->api_id || *end || errno)
                        return ctl_fail(EXIT_USAGE, "--api-id %s: not a number", ctl->api_id);
        }
        code = string_read(ctl->arguments[1], text);
        if (!code)
                code = import_text(ctl, &options, text);
        explicit_bzero(text, sizeof(text));
        return code;
}
