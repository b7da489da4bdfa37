/*
 * kv: the key-value area of a session. Values are bytes and may be keys of accounts: they are read from
 * standard input or the command line, are written as they are or as base64, and are in no error.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../proto/base64.h"
#include "ctl.h"
#include "output.h"
#include "private_file.h"

enum { READ_MAX = 1 << 20 };

/* The command line after the name of the session. */
struct kv {
        struct ctl *ctl;
        struct gram_session *session;
        char *const *arguments;
        int n;
        int64_t ttl_s;
        struct buffer input;    /* the value, if it was on standard input */
        struct buffer expected; /* what --expected-file has */
};

static int failed(const struct kv *kv)
{
        return ctl_fail_gram(kv->ctl, gram_session_name(kv->session));
}

static int cannot_write(void)
{
        return ctl_fail(EXIT_FAILED, "cannot write standard output: %s", strerror(errno));
}

/* Without stdio, whose buffer would keep a copy. */
static bool put_value(const void *value, size_t size)
{
        return fflush(stdout) == 0 && write_all(STDOUT_FILENO, value, size);
}

static bool put_json(const struct gram_kv *row)
{
        struct buffer text = { 0 };
        bool good;

        if (!row->value) {
                fputs("null", stdout);
                return true;
        }
        putchar('"');
        base64_encode((struct slice){ row->value, row->size }, BASE64_STANDARD, BASE64_PADDED, &text);
        good = !text.failed && put_value(text.data, text.len);
        buffer_deinit(&text);
        putchar('"');
        return good;
}

static bool put_row_json(const struct gram_kv *row, bool first)
{
        bool good;

        fputs(first ? "\n{" : ",\n{", stdout);
        json_key(stdout, "key", true);
        json_bytes(stdout, row->key, row->key_size);
        json_key(stdout, "value", false);
        good = put_json(row);
        putchar('}');
        return good;
}

/* False, and errno. */
static bool read_whole(int fd, struct buffer *into)
{
        uint8_t *room = buffer_reserve(into, READ_MAX + 1);
        ssize_t n = room ? read_all(fd, (char *)room, READ_MAX + 1) : -1;

        if (!room)
                errno = ENOMEM;
        else if (n > READ_MAX)
                errno = EFBIG;
        if (n < 0 || n > READ_MAX) {
                into->len += n > 0 ? (size_t)n : 0; /* so that it is wiped */
                return false;
        }
        into->len = (size_t)n;
        return true;
}

/* Argument `i`, or standard input. Returns an exit code. */
static int read_value(struct kv *kv, int i, struct gram_kv *row)
{
        if (i < kv->n) {
                row->value = kv->arguments[i];
                row->size = strlen(kv->arguments[i]);
                return EXIT_OK;
        }
        if (!read_whole(STDIN_FILENO, &kv->input))
                return ctl_fail(EXIT_FAILED, "cannot read standard input: %s", strerror(errno));
        row->value = kv->input.data;
        row->size = kv->input.len;
        return EXIT_OK;
}

/* What the key must have now. NULL: no value. Returns an exit code. */
static int read_expected(struct kv *kv, struct slice *expected)
{
        const char *file = kv->ctl->expected_file;
        bool good;
        int fd;

        *expected = (struct slice){ kv->ctl->expected, kv->ctl->expected ? strlen(kv->ctl->expected) : 0 };
        if (!file)
                return EXIT_OK;
        if (kv->ctl->expected)
                return ctl_fail(EXIT_USAGE, "--expected and --expected-file exclude each other");
        fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        good = fd >= 0 && read_whole(fd, &kv->expected);
        if (!good)
                ctl_fail(EXIT_FAILED, "cannot read %s: %s", file, strerror(errno));
        if (fd >= 0)
                close(fd);
        *expected = (struct slice){ (const char *)kv->expected.data, kv->expected.len };
        return good ? EXIT_OK : EXIT_FAILED;
}

/* ---- get ---- */

static int print_values(const struct gram_kvs *kvs)
{
        bool good = true;

        putchar('[');
        for (size_t i = 0; i < kvs->n && good; i++)
                good = put_row_json(&kvs->rows[i], i == 0);
        puts("\n]");
        return good ? EXIT_OK : cannot_write();
}

static int print_value(const struct gram_kv *row)
{
        if (!row->value)
                return ctl_fail(EXIT_FAILED, "%s has no value", row->key);
        if (isatty(STDOUT_FILENO)) {
                print_bytes(stdout, row->value, row->size);
                putchar('\n');
                return EXIT_OK;
        }
        return put_value(row->value, row->size) ? EXIT_OK : cannot_write();
}

static int kv_get(struct kv *kv)
{
        struct gram_kvs *kvs;
        int code;

        if (kv->n > 1 && !kv->ctl->json)
                return ctl_fail(EXIT_USAGE, "several values are printed with --json only");
        if (gram_kv_get(kv->session, (const char *const *)kv->arguments, (size_t)kv->n, &kvs))
                return failed(kv);
        code = kv->ctl->json ? print_values(kvs) : print_value(kvs->rows);
        gram_free(kvs);
        return code;
}

/* ---- set, swap, delete ---- */

static int kv_set(struct kv *kv)
{
        struct gram_kv row = { .key = kv->arguments[0], .ttl_s = kv->ttl_s };
        int code = read_value(kv, 1, &row);

        if (!code && gram_kv_set(kv->session, &row, 1))
                code = failed(kv);
        return code;
}

static int swap(struct kv *kv, const struct gram_kv *row)
{
        struct gram_kv *now;
        struct slice expected;
        int code = read_expected(kv, &expected);
        bool done, good = true;

        if (code)
                return code;
        if (gram_kv_swap(kv->session, row, expected.data, expected.len, &done, &now))
                return failed(kv);
        if (kv->ctl->json) {
                printf("{\"done\": %s, \"value\": ", done ? "true" : "false");
                good = put_json(now);
                puts("}");
        } else if (!done) {
                ctl_fail(EXIT_FAILED, "%s %s: nothing was changed", row->key,
                         now->value ? "has another value" : "has no value");
        }
        gram_free(now);
        if (!good)
                return cannot_write();
        return done ? EXIT_OK : EXIT_FAILED;
}

static int kv_swap(struct kv *kv)
{
        struct gram_kv row = { .key = kv->arguments[0], .ttl_s = kv->ttl_s };
        int code = read_value(kv, 1, &row);

        return code ? code : swap(kv, &row);
}

static int kv_delete(struct kv *kv)
{
        struct gram_kv *rows;
        int code = EXIT_OK;

        if (kv->ctl->expected || kv->ctl->expected_file) {
                if (kv->n > 1)
                        return ctl_fail(EXIT_USAGE, "--expected is for one key");
                return swap(kv, &(struct gram_kv){ .key = kv->arguments[0] });
        }
        rows = calloc((size_t)kv->n, sizeof(*rows));
        if (!rows)
                return ctl_fail(EXIT_FAILED, "no memory");
        for (int i = 0; i < kv->n; i++)
                rows[i].key = kv->arguments[i];
        if (gram_kv_set(kv->session, rows, (size_t)kv->n))
                code = failed(kv);
        free(rows);
        return code;
}

/* ---- scan ---- */

static void print_row(const struct gram_kv *row)
{
        printf("%8zu  ", row->size);
        print_bytes(stdout, row->key, row->key_size);
        putchar('\n');
}

/* One page at a time. */
static int kv_scan(struct kv *kv)
{
        struct gram_kvs *page = NULL, *last;
        bool first = true, good = true;

        do {
                last = page;
                if (gram_kv_scan(kv->session, kv->n ? kv->arguments[0] : "",
                                 last ? &last->rows[last->n - 1] : NULL, GRAM_MAX_ROWS, &page)) {
                        gram_free(last);
                        return failed(kv);
                }
                if (!last)
                        fputs(kv->ctl->json ? "[" : "   BYTES  KEY\n", stdout);
                gram_free(last);
                for (size_t i = 0; i < page->n && good; i++) {
                        if (kv->ctl->json)
                                good = put_row_json(&page->rows[i], first);
                        else
                                print_row(&page->rows[i]);
                        first = false;
                }
        } while (page->n > 0 && good);
        gram_free(page);
        if (kv->ctl->json)
                puts(first ? "]" : "\n]");
        return good ? EXIT_OK : cannot_write();
}

/* ---- the command ---- */

static const struct verb {
        const char *name;
        const char *arguments;
        int least, most; /* after the session's name; most -1: any number */
        int (*run)(struct kv *kv);
        bool writes, swaps; /* it takes --ttl, --expected */
} verbs[] = {
        { "get", "SESSION KEY...", 1, -1, kv_get, false, false },
        { "set", "SESSION KEY [VALUE]", 1, 2, kv_set, true, false },
        { "swap", "SESSION KEY [VALUE]", 1, 2, kv_swap, true, true },
        { "scan", "SESSION [PREFIX]", 0, 1, kv_scan, false, false },
        { "delete", "SESSION KEY...", 1, -1, kv_delete, false, true },
};

static const struct verb *verb_find(const char *name)
{
        for (size_t i = 0; i < sizeof(verbs) / sizeof(*verbs); i++) {
                if (strcmp(verbs[i].name, name) == 0)
                        return &verbs[i];
        }
        return NULL;
}

/* Returns an exit code. */
static int check(const struct ctl *ctl, const struct verb *verb, int n)
{
        if (n < verb->least || (verb->most >= 0 && n > verb->most))
                return ctl_fail(EXIT_USAGE, "usage: gramctl [OPTION]... kv %s %s", verb->name,
                                verb->arguments);
        if (ctl->ttl && !verb->writes)
                return ctl_fail(EXIT_USAGE, "kv %s does not take --ttl", verb->name);
        if ((ctl->expected || ctl->expected_file) && !verb->swaps)
                return ctl_fail(EXIT_USAGE, "kv %s does not take --expected; kv swap does", verb->name);
        return EXIT_OK;
}

static int read_ttl(const char *text, int64_t *ttl_s)
{
        char *end;

        *ttl_s = strtoll(text, &end, 10);
        if (end == text || *end || *ttl_s < 1 || *ttl_s > INT32_MAX)
                return ctl_fail(EXIT_USAGE, "--ttl %s: not a number of seconds from 1 to %d", text,
                                INT32_MAX);
        return EXIT_OK;
}

int ctl_kv(struct ctl *ctl)
{
        const struct verb *verb = verb_find(ctl->arguments[0]);
        struct kv kv = { .ctl = ctl, .arguments = ctl->list + 2, .n = ctl->n_list - 2 };
        int code;

        if (!verb)
                return ctl_fail(EXIT_USAGE, "unknown command kv %s; see gramctl kv --help",
                                ctl->arguments[0]);
        code = check(ctl, verb, kv.n);
        if (!code && ctl->ttl)
                code = read_ttl(ctl->ttl, &kv.ttl_s);
        if (code)
                return code;
        ctl->arguments[0] = ctl->arguments[1];
        code = ctl_open(ctl, false, &kv.session);
        if (code)
                return code;
        code = verb->run(&kv);
        gram_close(kv.session);
        buffer_deinit(&kv.input);
        buffer_deinit(&kv.expected);
        return code;
}
