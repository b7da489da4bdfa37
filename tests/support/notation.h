#ifndef GRAMD_TESTS_SUPPORT_NOTATION_H
#define GRAMD_TESTS_SUPPORT_NOTATION_H

/*
 * MessagePack values as text, both ways, so that tests read well:
 *
 *     nil true false 7 -7 1.5 'text' h'00ff' e'00ff' [1, 2] {key: 1, 'other key': 2}
 *
 * h'…' is bin, e'…' an ext of type 1. When written by a test: 'ab'*3 is 'ababab', h'00'*256 a bin of 256
 * zeros, 1..1000 in a list all the numbers between; \' \\ \n and \xNN in strings. Keys of maps that look like
 * words need no quotes.
 */

#include <msgpack.h>

/* Packs one value and returns the text after it. A mistake in the text fails the test. */
const char *notation_pack(msgpack_sbuffer *out, const char *text);

/* malloc'ed; the pairs of maps are sorted. */
char *notation_print(const msgpack_object *object);

/* Whether `text` is `pattern`, in which `...` stands for anything; `!this or !that` are alternatives. */
bool notation_match(const char *pattern, const char *text);

#endif
