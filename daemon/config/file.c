/*
 * The library inih parses the lines, which it gets from read_piece(). By itself inih splits a line of more
 * than 200 bytes and reads its rest as another line, takes an indented line for a continuation of the
 * previous one and a colon for an equals sign, ignores sections without keys, and does not report line
 * numbers. So read_piece() trims every line, checks what inih would accept, and passes on a long line in
 * pieces that look like continuations, which inih then reports one by one.
 */

#include "file.h"

#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "uri.h"

enum { LINE_MAX_BYTES = 65536 };

static const char spaces[] = " \t\r\n\v\f";

struct file {
        const char *path;
        FILE *stream;
        struct config *config;
        struct config_error *error;
        int status;

        unsigned line; /* the number of the current line */
        char *raw;     /* the current line; next_line() trims it and cuts its comment */
        size_t raw_size;
        const char *rest; /* the part of it that inih has not got yet */

        char section[16];
        char key[256];
        char *value; /* of this line, as far as it has been read; NULL: none */
        size_t value_len;
        unsigned *set_in_line; /* of each option, by its number; 0: not set */
};

/* Only the first error is kept. */
static void fail(struct file *file, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void fail(struct file *file, const char *format, ...)
{
        char *text = file->error->text;
        size_t size = sizeof(file->error->text);
        int len;
        va_list args;

        if (file->status)
                return;
        file->status = -1;
        len = snprintf(text, size, "%s:%u: ", file->path, file->line);
        if (len < 0 || (size_t)len >= size)
                return;
        va_start(args, format);
        vsnprintf(text + len, size - (size_t)len, format, args);
        va_end(args);
}

/* ---- a complete key and value ---- */

static void set_option(struct file *file, const struct config_option *option)
{
        unsigned *set_in_line = &file->set_in_line[option->number];
        char why[256], shown[256];

        if (*set_in_line) {
                fail(file, "'%s' is already set in line %u", option->row->name, *set_in_line);
                return;
        }
        *set_in_line = file->line;
        if (config_option_set(option, file->config, file->value, why, sizeof(why)))
                return;
        if (option->row->type == OPTION_URI)
                uri_mask(file->value, shown, sizeof(shown));
        else
                snprintf(shown, sizeof(shown), "%s", file->value);
        fail(file, "%s = %s: %s", option->row->name, shown, why);
}

static void misplaced(struct file *file, const struct config_option *option)
{
        if (option->section)
                fail(file, "option '%s' belongs in the section [%s]", file->key, option->section);
        else
                fail(file, "option '%s' belongs above the first section", file->key);
}

static bool is_in_place(const struct file *file, const struct config_option *option)
{
        return strcmp(file->section, option->section ? option->section : "") == 0;
}

static void set_access(struct file *file)
{
        struct config_option option;
        char why[256];

        if (config_option_find(slice_of(file->key), &option))
                misplaced(file, &option);
        else if (!*file->value)
                fail(file, "'%s' has no rights", file->key);
        else if (!access_add(&file->config->access, file->key, file->value, why, sizeof(why)))
                fail(file, "%s = %s: %s", file->key, file->value, why);
}

/* At the end of a line: uses its key and value. */
static void finish_line(struct file *file)
{
        struct config_option option;

        if (!file->value || file->status)
                return;
        if (strcmp(file->section, "access") == 0)
                set_access(file);
        else if (!config_option_find(slice_of(file->key), &option))
                fail(file, "unknown option '%s'", file->key);
        else if (is_in_place(file, &option))
                set_option(file, &option);
        else
                misplaced(file, &option);
        free(file->value);
        file->value = NULL;
}

/* inih's handler. Further calls for the same line bring further pieces of its value. */
static int on_value(void *arg, const char *section, const char *name, const char *value)
{
        struct file *file = arg;
        size_t len = strlen(value);
        char *more;

        if (!file->value) {
                snprintf(file->section, sizeof(file->section), "%s", section);
                snprintf(file->key, sizeof(file->key), "%s", name);
                file->value_len = 0;
        }
        more = realloc(file->value, file->value_len + len + 1);
        if (!more) {
                fail(file, "no memory");
                return 0;
        }
        file->value = more;
        memcpy(more + file->value_len, value, len + 1);
        file->value_len += len;
        return 1;
}

/* ---- lines, as inih gets them ---- */

static char *trim(char *text)
{
        size_t len;

        text += strspn(text, spaces);
        for (len = strlen(text); len && strchr(spaces, text[len - 1]); len--)
                text[len - 1] = '\0';
        return text;
}

static void cut_comment(char *text)
{
        for (char *at = text; (at = strchr(at, ';')); at++) {
                if (at > text && strchr(spaces, at[-1])) {
                        *at = '\0';
                        return;
                }
        }
}

/* Refuses lines that inih would misread. */
static void check_line(struct file *file, const char *line)
{
        size_t name = strcspn(line, "=:");

        if (*line == '[') {
                if (strcmp(line, "[access]") != 0 && strcmp(line, "[encryption]") != 0)
                        fail(file, "unknown section '%s' ([encryption], [access])", line);
        } else if (line[name] != '=') {
                /* Quotes only the first word: the rest may be a secret. */
                fail(file, "expected 'option = value' or '[section]', not '%.*s'",
                     (int)strcspn(line, " \t=:"), line);
        } else if (name == 0) {
                fail(file, "the option's name is missing before '='");
        } else if (name >= 100) {
                fail(file, "the name before '=' is too long");
        }
}

/* The next line that is not empty or a comment; NULL: the end or an error. */
static const char *next_line(struct file *file)
{
        for (;;) {
                ssize_t len = getline(&file->raw, &file->raw_size, file->stream);
                char *line = file->raw;

                file->line++;
                if (len < 0) {
                        if (!feof(file->stream)) /* without memory getline(3) sets no error */
                                fail(file, "%s", strerror(errno));
                        return NULL;
                }
                if (strlen(line) != (size_t)len)
                        fail(file, "holds a zero byte");
                else if (len > LINE_MAX_BYTES)
                        fail(file, "the line is too long (%d bytes at most)", LINE_MAX_BYTES);
                if (file->status)
                        return NULL;
                if (file->line == 1 && strncmp(line, "\xef\xbb\xbf", 3) == 0)
                        line += 3;
                line = trim(line);
                if (!*line || strchr(";#", *line))
                        continue;
                cut_comment(line);
                line = trim(line);
                check_line(file, line);
                return file->status ? NULL : line;
        }
}

/* The length of the next piece. It must not begin or end with a space, which inih drops, nor begin with ';'
 * or
 * '#', which would make it a comment. */
static size_t piece(const char *rest, size_t room)
{
        size_t len = strlen(rest);

        if (len <= room)
                return len;
        for (len = room; len; len--) {
                if (!strchr(" \t;#", rest[len]) && !strchr(" \t", rest[len - 1]))
                        return len;
        }
        return 0;
}

/* inih's reader: puts at most `size` bytes, NUL included, into `out`; NULL ends the file. */
static char *read_piece(char *out, int size, void *arg)
{
        struct file *file = arg;
        bool first = !file->rest || !*file->rest;
        size_t len;

        if (first) {
                finish_line(file);
                file->rest = file->status ? NULL : next_line(file);
                if (!file->rest)
                        return NULL;
        }
        /* A space in front makes the piece a continuation. */
        len = piece(file->rest, (size_t)size - 2);
        if (!len) {
                fail(file, "the line is too long");
                return NULL;
        }
        snprintf(out, (size_t)size, "%s%.*s", first ? "" : " ", (int)len, file->rest);
        file->rest += len;
        return out;
}

static void file_deinit(struct file *file)
{
        if (file->stream)
                fclose(file->stream);
        free(file->raw);
        free(file->value);
        free(file->set_in_line);
}

int config_file_read(struct config *config, const char *path, bool optional, struct config_error *error)
{
        __attribute__((
                cleanup(file_deinit))) struct file file = { .path = path, .config = config, .error = error };
        int rc;

        file.stream = fopen(path, "re");
        if (!file.stream && optional && errno == ENOENT)
                return 0;
        if (file.stream) {
                config->config_file = strdup(path);
                file.set_in_line = calloc(config_option_count(), sizeof(*file.set_in_line));
        }
        if (!config->config_file || !file.set_in_line) {
                snprintf(error->text, sizeof(error->text), "%s: %s", path, strerror(errno));
                return -1;
        }
        rc = ini_parse_stream(read_piece, &file, on_value, &file);
        if (rc == -2)
                fail(&file, "no memory");
        else if (rc)
                fail(&file, "expected 'option = value' or '[section]'");
        return file.status;
}
