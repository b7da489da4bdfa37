/*
 * PROTOCOL.md against the tables of contract.h: methods with their parameters, error codes and limits. Each
 * test also changes the text, and expects that the difference is seen.
 */

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../proto/contract.h"
#include "../support/program.h"

enum { CELL_BYTES = 256 };

static char *source_file(const char *name)
{
        TEST_FREED char *path = test_format("%s/proto/%s", getenv("SOURCE"), name);
        char *text = test_read_file(path, NULL);

        ck_assert_msg(text != NULL, "SOURCE names the top of the tree; there is no %s", path);
        return text;
}

/* The text with `from`, which it holds once, replaced. */
static char *replaced(const char *text, const char *from, const char *to)
{
        const char *at = strstr(text, from);

        ck_assert_msg(at != NULL, "PROTOCOL.md has no '%s'", from);
        return test_format("%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
}

/* ---- tables of the text ---- */

/* The first row of the first table after `heading`. */
static const char *table(const char *text, const char *heading)
{
        const char *at = strstr(text, heading);

        ck_assert_msg(at != NULL, "PROTOCOL.md has no '%s'", heading);
        at = strstr(at, "\n|---");
        ck_assert_ptr_nonnull(at);
        return strchr(at + 1, '\n') + 1;
}

/* Moves to the next row; `cell` gets the first text in backticks of this one. False: the table has ended. */
static bool read_row(const char **row, char cell[CELL_BYTES])
{
        const char *start, *end;

        if (**row != '|')
                return false;
        start = strchr(*row, '`') + 1;
        end = strchr(start, '`');
        snprintf(cell, CELL_BYTES, "%.*s", (int)(end - start), start);
        *row = strchr(end, '\n') + 1;
        return true;
}

/* ---- methods ---- */

static bool ends_with(const char *text, size_t len, const char *end)
{
        size_t n = strlen(end);

        return len >= n && memcmp(text + len - n, end, n) == 0;
}

/*
 * The letter of contract.h for a parameter. `.`: the text does not say what kind it is; `:`: the same, and it
 * takes nil.
 */
static char letter(const char *parameter, size_t len, bool *optional)
{
        bool nil = ends_with(parameter, len, " or nil");
        char kind = '.';

        *optional = ends_with(parameter, len, "?");
        nil |= *optional;
        if (len == 1 && *parameter == 's')
                kind = 'h';
        else if (*parameter == '[')
                kind = 'a';
        else if (*parameter == '{')
                kind = 'm';
        if (kind == '.')
                return nil ? ':' : '.';
        return (char)(nil ? toupper(kind) : kind);
}

/* The shape of `name(parameter, …)`. */
static void read_shape(const char *call, char *shape)
{
        const char *start = strchr(call, '(') + 1, *at = start;
        bool optional = false;

        for (int depth = 0; *start != ')'; at++) {
                bool was_optional = optional;
                char found;

                depth += strchr("[{", *at) != NULL;
                depth -= strchr("]}", *at) != NULL;
                if (depth > 0 || !strchr(",)", *at))
                        continue;
                found = letter(start, (size_t)(at - start), &optional);
                if (optional && !was_optional)
                        *shape++ = '|';
                *shape++ = found;
                start = *at == ',' ? at + 2 : at;
        }
        *shape = '\0';
}

static bool fits(const char *shape, const char *of_text)
{
        for (; *shape && *of_text; shape++, of_text++) {
                bool fit = *of_text == '.'   ? islower(*shape) && *shape != 'h'
                           : *of_text == ':' ? isupper(*shape)
                                             : *of_text == *shape;

                if (!fit)
                        return false;
        }
        return *shape == *of_text;
}

/* What is different, for people; "" for nothing. */
static char *compare_methods(const char *text)
{
        const char *row = table(text, "\n## Methods\n");
        char call[CELL_BYTES], shape[32];
        size_t rows = 0;

        for (; read_row(&row, call); rows++) {
                size_t len = strcspn(call, "("), i = 0;

                while (i < METHOD_COUNT &&
                       (strlen(methods[i].name) != len || memcmp(methods[i].name, call, len) != 0))
                        i++;
                if (i == METHOD_COUNT)
                        return test_format("contract.h has no %s", call);
                read_shape(call, shape);
                if (!fits(methods[i].shape, shape))
                        return test_format("%s is %s, and %s in contract.h", call, shape, methods[i].shape);
        }
        return rows == METHOD_COUNT ? strdup("")
                                    : test_format("%zu methods, %d in contract.h", rows, METHOD_COUNT);
}

START_TEST(methods_are_the_same)
{
        static const char *const changes[][2] = {
                { "| `ping(x)` | `x` |\n", "" },
                { "| `ping(x)`", "| `pong(x)`" },
                { "| `ping(x)`", "| `more()` | nil |\n| `ping(x)`" },
                { "`disconnect(id)`", "`disconnect(id, why)`" },
                { "`disconnect(id)`", "`disconnect()`" },
                { "`disconnect(id)`", "`disconnect(id or nil)`" },
                { "max_age?)", "max_age)" },
                { "`watch(s, on)`", "`watch(s, on?)`" },
                { "`get_states(s, [id, …]?)`", "`get_states(s, {id: …}?)`" },
                { "`save(s)`", "`save(session)`" },
        };
        TEST_FREED char *text = source_file("PROTOCOL.md");
        TEST_FREED char *difference = compare_methods(text);

        ck_assert_str_eq(difference, "");
        for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
                TEST_FREED char *changed = replaced(text, changes[i][0], changes[i][1]);
                TEST_FREED char *seen = compare_methods(changed);

                ck_assert_msg(*seen != '\0', "not seen: '%s'", changes[i][1]);
        }
}
END_TEST

/* ---- errors ---- */

static char *compare_errors(const char *text)
{
        const char *row = table(text, "\n## Errors\n");
        char code[CELL_BYTES];
        size_t rows = 0;

        for (; read_row(&row, code); rows++) {
                size_t i = 0;

                while (i < WIRE_ERROR_COUNT && strcmp(wire_error_names[i], code) != 0)
                        i++;
                if (i == WIRE_ERROR_COUNT)
                        return test_format("contract.h has no %s", code);
        }
        return rows == WIRE_ERROR_COUNT ? strdup("")
                                        : test_format("%zu errors, %d in contract.h", rows, WIRE_ERROR_COUNT);
}

START_TEST(errors_are_the_same)
{
        static const char *const changes[][2] = {
                { "| `unknown_method` | no such method |\n", "" },
                { "| `unknown_method` |", "| `unknown` |" },
                { "| `unknown_method` |", "| `more` | x |\n| `unknown_method` |" },
        };
        TEST_FREED char *text = source_file("PROTOCOL.md");
        TEST_FREED char *difference = compare_errors(text);

        ck_assert_str_eq(difference, "");
        for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
                TEST_FREED char *changed = replaced(text, changes[i][0], changes[i][1]);
                TEST_FREED char *seen = compare_errors(changed);

                ck_assert_msg(*seen != '\0', "not seen: '%s'", changes[i][1]);
        }
}
END_TEST

/* ---- limits ---- */

/* What the text says of each limit, in the order of contract.h. */
static const struct {
        const char *name;
        long value;
        const char *before; /* the number stands between these */
        const char *behind;
        long unit;
} limits[] = {
        { "LIMIT_MESSAGE_BYTES", LIMIT_MESSAGE_BYTES, "| ", " MiB (`max_message`) |", 1024L * 1024 },
        { "LIMIT_IN_FLIGHT", LIMIT_IN_FLIGHT, "| ", " (`max_in_flight`) |", 1 },
        { "LIMIT_SESSIONS", LIMIT_SESSIONS, "| at least ", " (`max_sessions`) |", 1 },
        { "LIMIT_DEPTH", LIMIT_DEPTH, "| ", " (`max_depth`) |", 1 },
        { "LIMIT_HANDLE", 20, "an integer from 1 to 2", "−1 that `open` returns", 1 },
        { "LIMIT_CLIENT_BYTES", LIMIT_CLIENT_BYTES, "`client`, at most ", " bytes, names the client", 1 },
        { "LIMIT_ID_BYTES", LIMIT_ID_BYTES, "`id` has ", " bytes", 1 },
        { "LIMIT_REMEMBERED", LIMIT_REMEMBERED, "remembers the last ", " writes of each `id`", 1 },
        { "LIMIT_ROWS", LIMIT_ROWS, "in that order; at most ", " keys. See", 1 },
};
_Static_assert(LIMIT_HANDLE == 1 << 20, "the text writes it as a power");

enum { LIMITS = sizeof(limits) / sizeof(limits[0]), LIMITS_OF_HELLO = 4 };

static char *compare_limits(const char *text, const char *header)
{
        const char *row = table(text, "**Limits**");
        size_t rows = 0, n = 0;

        for (; *row == '|'; row = strchr(row, '\n') + 1)
                rows++;
        if (rows != LIMITS_OF_HELLO)
                return test_format("%zu limits in the table", rows);
        for (const char *at = header; (at = strstr(at, "        LIMIT_")); at++, n++) {
                if (n == LIMITS || strncmp(at + 8, limits[n].name, strlen(limits[n].name)) != 0)
                        return test_format("unknown to this test: %.30s", at + 8);
        }
        if (n != LIMITS)
                return test_format("%zu limits in contract.h", n);
        for (size_t i = 0; i < LIMITS; i++) {
                TEST_FREED char *number = strcmp(limits[i].name, "LIMIT_HANDLE") == 0
                                                  ? test_format("²⁰")
                                                  : test_format("%ld", limits[i].value / limits[i].unit);
                TEST_FREED char *told = test_format("%s%s%s", limits[i].before, number, limits[i].behind);

                if (!strstr(text, told))
                        return test_format("PROTOCOL.md does not say '%s'", told);
        }
        return strdup("");
}

START_TEST(limits_are_the_same)
{
        static const char *const changes[][2] = {
                { "4 MiB (`max_message`)", "5 MiB (`max_message`)" },
                { "at least 1024 (`max_sessions`)", "at least 1023 (`max_sessions`)" },
                { "256 (`max_in_flight`)", "255 (`max_in_flight`)" },
                { "8 (`max_depth`)", "9 (`max_depth`)" },
                { "from 1 to 2²⁰−1", "from 1 to 2²¹−1" },
                { "at most 255 bytes, names the client", "at most 256 bytes, names the client" },
                { "`id` has 16 bytes", "`id` has 15 bytes" },
                { "remembers the last 256 writes", "remembers the last 255 writes" },
                { "at most 1000 keys", "at most 1001 keys" },
                { "| open sessions of one connection |", "| more | 1 (`max_more`) | x |\n| open sessions |" },
        };
        TEST_FREED char *text = source_file("PROTOCOL.md");
        TEST_FREED char *header = source_file("contract.h");
        TEST_FREED char *difference = compare_limits(text, header);
        TEST_FREED char *more =
                replaced(header, "        LIMIT_DEPTH", "        LIMIT_MORE = 1,\n        LIMIT_DEPTH");
        TEST_FREED char *one_more = compare_limits(text, more);

        ck_assert_str_eq(difference, "");
        ck_assert_str_ne(one_more, "");
        for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
                TEST_FREED char *changed = replaced(text, changes[i][0], changes[i][1]);
                TEST_FREED char *seen = compare_limits(changed, header);

                ck_assert_msg(*seen != '\0', "not seen: '%s'", changes[i][1]);
        }
}
END_TEST

int main(void)
{
        const TTest *const tests[] = { methods_are_the_same, errors_are_the_same, limits_are_the_same, NULL };

        return test_program("contract", tests);
}
