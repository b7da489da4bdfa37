#ifndef GRAMD_PROTO_UTF8_H
#define GRAMD_PROTO_UTF8_H

/*
 * UTF-8, and how text that a stranger has chosen (names, texts of files and servers) is shown to people: on
 * one line, within the quotes that it stands in.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slice.h"

bool slice_is_utf8(struct slice text);

/* The length in bytes of the first character, and its code; 0: it is not valid. `len` is not 0. */
size_t utf8_read(const char *text, size_t len, uint32_t *code);

/* Whether a character controls a terminal, ends the line or changes the direction of the text. */
bool utf8_is_unsafe(uint32_t code);

/*
 * Writes to `out` how the first character is shown; returns its length in `text`. Unsafe ones are escaped as
 * in JSON, and what is not UTF-8 is replaced. `mark`, the quote around the text, gets a backslash, and so do
 * backslashes; 0: there are no quotes.
 */
enum { UTF8_SHOWN_BYTES = 8 };
size_t utf8_show(const char *text, size_t len, char mark, char out[UTF8_SHOWN_BYTES]);

/* Shows a text, without the quotes themselves. It is cut to `size`, and ends with an ellipsis then. */
const char *utf8_quote(struct slice text, char mark, char *out, size_t size);

#endif
