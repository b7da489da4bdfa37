#ifndef GRAMD_PROTO_BASE64_H
#define GRAMD_PROTO_BASE64_H

/* Strict base64: a sequence of bytes has one text. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buffer.h"
#include "slice.h"

enum base64_alphabet { BASE64_STANDARD, BASE64_URL };
enum base64_padding { BASE64_UNPADDED, BASE64_PADDED, BASE64_EITHER };

/* False: an unknown character, missing or forbidden padding, or left-over bits that are not zero. */
bool base64_decode(struct slice text, enum base64_alphabet alphabet, enum base64_padding padding,
                   struct buffer *out);

/* BASE64_EITHER writes no padding. */
void base64_encode(struct slice bytes, enum base64_alphabet alphabet, enum base64_padding padding,
                   struct buffer *out);

#endif
