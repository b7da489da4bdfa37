/* Text that is safe on a terminal, and JSON. */

#include "output.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <time.h>

#include "../proto/cursor.h"

/*
 * Bytes of the character at `text`, if it controls the terminal, ends the line or changes the direction of
 * the text; else 0.
 */
static int control_bytes(const char *text)
{
        unsigned char first = (unsigned char)text[0], second = first ? (unsigned char)text[1] : 0,
                      third = second ? (unsigned char)text[2] : 0;

        if (first < 0x20 || first == 0x7f)
                return 1;
        if (first == 0xc2 && second >= 0x80 && second < 0xa0) /* U+0080 to U+009F */
                return 2;
        if (first == 0xe2 && ((second == 0x80 && third >= 0xa8 && third <= 0xae) || /* U+2028 to U+202E */
                              (second == 0x81 && third >= 0xa6 && third <= 0xa9)))  /* U+2066 to U+2069 */
                return 3;
        return 0;
}

void print_bytes(FILE *file, const char *bytes, size_t size)
{
        const char *end = bytes + size;
        bool is_text = slice_is_utf8((struct slice){ bytes, size });

        while (bytes < end) {
                int n = is_text || (unsigned char)*bytes < 0x80 ? control_bytes(bytes) : 1;

                if (!n)
                        fputc(*bytes++, file);
                for (; n; n--)
                        fprintf(file, "\\x%02x", (unsigned char)*bytes++);
        }
}

void print_text(FILE *file, const char *text)
{
        print_bytes(file, text, strlen(text));
}

void json_text(const char *text)
{
        if (text)
                json_bytes(text, strlen(text));
        else
                fputs("null", stdout);
}

/* Of a character that `control_bytes` finds. */
static unsigned code_point(const char *text, int n_bytes)
{
        unsigned char first = (unsigned char)text[0], last = (unsigned char)text[n_bytes - 1];

        if (n_bytes < 3)
                return n_bytes == 1 ? first : last;
        return (first & 0xfu) << 12 | ((unsigned char)text[1] & 0x3fu) << 6 | (last & 0x3fu);
}

void json_bytes(const char *text, size_t size)
{
        putchar('"');
        for (const char *end = text + size; text < end;) {
                int n = control_bytes(text);

                if (n) {
                        printf("\\u%04x", code_point(text, n));
                        text += n;
                        continue;
                }
                if (*text == '"' || *text == '\\')
                        putchar('\\');
                putchar(*text++);
        }
        putchar('"');
}

void json_key(const char *key, bool first)
{
        if (!first)
                fputs(", ", stdout);
        json_text(key);
        fputs(": ", stdout);
}

void json_key_text(const char *key, const char *text, bool first)
{
        json_key(key, first);
        json_text(text);
}

void json_key_int(const char *key, int64_t value, bool first)
{
        json_key(key, first);
        printf("%" PRId64, value);
}

void json_number(double value)
{
        if (isfinite(value))
                printf("%.15g", value);
        else
                fputs("null", stdout);
}

void json_holder(const struct gram_holder *holder)
{
        if (!holder) {
                fputs("null", stdout);
                return;
        }
        putchar('{');
        json_key_int("pid", holder->pid, true);
        json_key_int("uid", holder->uid, false);
        json_key_text("client", holder->client, false);
        json_key_text("host", holder->host, false);
        json_key_int("since", holder->since, false);
        putchar('}');
}

void print_holder(FILE *file, const struct gram_holder *holder)
{
        print_text(file, holder->client ? holder->client : "a client");
        if (holder->pid)
                fprintf(file, " (pid %" PRId64 ", uid %" PRId64 ")", holder->pid, holder->uid);
        if (holder->host) {
                fputs(" on ", file);
                print_text(file, holder->host);
        }
        if (holder->since) {
                fputs(" since ", file);
                print_time(file, holder->since);
        }
}

void print_time(FILE *file, int64_t seconds)
{
        time_t when = (time_t)seconds;
        struct tm local;
        char text[64];

        if (!seconds || !localtime_r(&when, &local) ||
            !strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &local))
                snprintf(text, sizeof(text), "-");
        fputs(text, file);
}
