/* The cells are collected as text; how wide a column is, is known at the end. */

#include "columns.h"

#include <inttypes.h>
#include <locale.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "../proto/utf8.h"
#include "output.h"

enum { GAP = 2, NARROWEST = 8 };

bool columns_begin(struct columns *columns)
{
        columns->file = open_memstream(&columns->cells, &columns->size);
        return columns->file;
}

void columns_end_cell(struct columns *columns)
{
        putc('\0', columns->file);
}

void columns_text(struct columns *columns, const char *text)
{
        print_text(columns->file, text ? text : "-");
        columns_end_cell(columns);
}

void columns_int(struct columns *columns, int64_t value)
{
        fprintf(columns->file, "%" PRId64, value);
        columns_end_cell(columns);
}

/* ---- how wide it is ---- */

/* Cells of a terminal that the first character takes; `*len`: its bytes. */
static int width_of_first(const char *text, size_t *len)
{
        uint32_t code;
        int width;

        *len = utf8_read(text, strlen(text), &code);
        if (*len == 0)
                *len = 1;
        width = *len == 1 ? 1 : wcwidth((wchar_t)code);
        return width < 0 ? 1 : width;
}

/* What fits into `most` cells: the number of bytes, and the cells that these take. */
static size_t fitting(const char *text, int most, int *width)
{
        size_t at = 0, len;

        *width = 0;
        while (text[at]) {
                int next = width_of_first(text + at, &len);

                if (*width + next > most)
                        break;
                *width += next;
                at += len;
        }
        return at;
}

static int width_of(const char *text)
{
        int width;

        fitting(text, INT32_MAX, &width);
        return width;
}

/* 0: there is no bound. */
static int terminal_width(void)
{
        struct winsize size;

        return isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

/* Takes from the columns that may be cut what is too much, from the widest first. */
static void narrow(const struct columns *columns, int widths[COLUMNS_MAX], int most)
{
        int sum = (columns->n - 1) * GAP;

        for (int i = 0; i < columns->n; i++)
                sum += widths[i];
        for (; sum > most; sum--) {
                int widest = -1;

                for (int i = 0; i < columns->n; i++)
                        if (columns->column[i].kind == COLUMN_CUT && widths[i] > NARROWEST &&
                            (widest < 0 || widths[i] > widths[widest]))
                                widest = i;
                if (widest < 0)
                        return;
                widths[widest]--;
        }
}

/* ---- printing ---- */

static void put_spaces(int n)
{
        printf("%*s", n > 0 ? n : 0, "");
}

static void put_cell(const struct columns *columns, int i, const char *text, int column_width)
{
        int width = width_of(text);
        size_t len = strlen(text);
        bool is_cut = width > column_width;

        if (is_cut)
                len = fitting(text, column_width - 1, &width);
        if (columns->column[i].kind == COLUMN_RIGHT)
                put_spaces(column_width - width);
        printf("%.*s%s", (int)len, text, is_cut ? "\xe2\x80\xa6" : "");
        if (i == columns->n - 1)
                return;
        if (columns->column[i].kind != COLUMN_RIGHT)
                put_spaces(column_width - width - is_cut);
        put_spaces(GAP);
}

static const char *next_cell(const char *cell)
{
        return cell + strlen(cell) + 1;
}

bool columns_print(struct columns *columns)
{
        const bool is_styled = output_is_styled(stdout);
        const int most = terminal_width();
        int widths[COLUMNS_MAX] = { 0 }, i = 0;
        const char *end;

        if (fflush(columns->file) != 0)
                return false;
        end = columns->cells + columns->size;
        setlocale(LC_CTYPE, "C.UTF-8");
        for (int c = 0; c < columns->n; c++)
                widths[c] = width_of(columns->column[c].head);
        for (const char *cell = columns->cells; cell < end; cell = next_cell(cell)) {
                int width = width_of(cell);

                if (width > widths[i])
                        widths[i] = width;
                i = (i + 1) % columns->n;
        }
        if (most)
                narrow(columns, widths, most);
        fputs(is_styled ? "\x1b[1m" : "", stdout);
        for (int c = 0; c < columns->n; c++)
                put_cell(columns, c, columns->column[c].head, widths[c]);
        puts(is_styled ? "\x1b[0m" : "");
        for (const char *cell = columns->cells; cell < end; cell = next_cell(cell)) {
                put_cell(columns, i, cell, widths[i]);
                i = (i + 1) % columns->n;
                if (i == 0)
                        putchar('\n');
        }
        return true;
}

void columns_free(struct columns *columns)
{
        if (columns->file)
                fclose(columns->file);
        free(columns->cells);
}
