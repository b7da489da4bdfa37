/* Text that is safe on a terminal, and JSON. */

#include "output.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../proto/utf8.h"

void print_bytes(FILE *file, const char *bytes, size_t size)
{
        bool is_text = slice_is_utf8((struct slice){ bytes, size });

        for (size_t at = 0, n; at < size; at += n) {
                uint32_t code = (unsigned char)bytes[at];

                n = is_text ? utf8_read(bytes + at, size - at, &code) : 1;
                if (!utf8_is_unsafe(code) && (is_text || code < 0x80))
                        fwrite(bytes + at, 1, n, file);
                else
                        for (size_t i = 0; i < n; i++)
                                fprintf(file, "\\x%02x", (unsigned char)bytes[at + i]);
        }
}

void print_text(FILE *file, const char *text)
{
        print_bytes(file, text, strlen(text));
}

void json_text(FILE *file, const char *text)
{
        if (text)
                json_bytes(file, text, strlen(text));
        else
                fputs("null", file);
}

void json_bytes(FILE *file, const char *text, size_t size)
{
        char piece[UTF8_SHOWN_BYTES];

        putc('"', file);
        for (size_t at = 0; at < size;) {
                at += utf8_show(text + at, size - at, '"', piece);
                fputs(piece, file);
        }
        putc('"', file);
}

void json_key(FILE *file, const char *key, bool first)
{
        if (!first)
                fputs(", ", file);
        json_text(file, key);
        fputs(": ", file);
}

void json_key_text(FILE *file, const char *key, const char *text, bool first)
{
        json_key(file, key, first);
        json_text(file, text);
}

void json_key_int(FILE *file, const char *key, int64_t value, bool first)
{
        json_key(file, key, first);
        fprintf(file, "%" PRId64, value);
}

void json_number(FILE *file, double value)
{
        if (isfinite(value))
                fprintf(file, "%.15g", value);
        else
                fputs("null", file);
}

void json_holder(FILE *file, const struct gram_holder *holder)
{
        if (!holder) {
                fputs("null", file);
                return;
        }
        putc('{', file);
        json_key_int(file, "pid", holder->pid, true);
        json_key_int(file, "uid", holder->uid, false);
        json_key_text(file, "client", holder->client, false);
        json_key_text(file, "host", holder->host, false);
        json_key_int(file, "since", holder->since, false);
        putc('}', file);
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

void print_age(FILE *file, int64_t since)
{
        static const struct {
                int64_t seconds;
                const char *name;
        } units[] = { { 86400, "d" }, { 3600, "h" }, { 60, "min" }, { 1, "s" } };
        int64_t age = (int64_t)time(NULL) - since;
        size_t i = 0;

        if (!since) {
                fputs("-", file);
                return;
        }
        age = age < 0 ? 0 : age;
        while (units[i].seconds > 1 && age < units[i].seconds)
                i++;
        fprintf(file, "%" PRId64 " %s", age / units[i].seconds, units[i].name);
}

void print_size(FILE *file, int64_t bytes)
{
        static const char *const units[] = { "B", "KB", "MB", "GB", "TB" };
        size_t i = 0;

        for (; bytes >= 10000 && i < 4; i++)
                bytes = (bytes + 500) / 1000;
        fprintf(file, "%" PRId64 " %s", bytes, units[i]);
}

bool output_is_styled(FILE *file)
{
        const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

        return isatty(fileno(file)) && !(no_color && *no_color) && !(term && strcmp(term, "dumb") == 0);
}
