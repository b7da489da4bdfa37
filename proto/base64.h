#ifndef GRAMD_PROTO_BASE64_H
#define GRAMD_PROTO_BASE64_H

/* Base64, strict: one text for each run of bytes. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buffer.h"
#include "slice.h"

enum base64_alphabet { BASE64_STANDARD, BASE64_URL };
enum base64_padding { BASE64_UNPADDED, BASE64_PADDED, BASE64_EITHER };

/* False: another character, padding that may not or must be there, or bits left over that are not zero. */
bool base64_decode(struct slice text, enum base64_alphabet alphabet, enum base64_padding padding,
                   struct buffer *out);

/* BASE64_EITHER writes no padding. */
void base64_encode(struct slice bytes, enum base64_alphabet alphabet, enum base64_padding padding,
                   struct buffer *out);

#endif
