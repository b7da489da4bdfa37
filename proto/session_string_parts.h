#ifndef GRAMD_PROTO_SESSION_STRING_PARTS_H
#define GRAMD_PROTO_SESSION_STRING_PARTS_H

/*
 * The parts of session strings. Each is a pair of functions: one reads it into an identity, one writes it
 * from an identity. Only session_string.c uses them, in its table of formats.
 */

#include "buffer.h"
#include "datacentre.h"
#include "records.h"

/* What is left to read, and what has been read. */
struct reading {
        const uint8_t *at;
        size_t left;
        struct identity *identity;
        unsigned set;   /* FIELD_BITs */
        bool no_memory; /* after a failure: else the bytes are not of this format */
};

struct writing {
        const struct identity *identity;
        const struct datacentre *home; /* its address and port replace nil ones; may be NULL */
        struct buffer *out;
        enum field missing; /* after a failure: the field that is nil or out of range */
};

/* One part of a format. The two functions say what `field` and `width` mean. */
struct part {
        bool (*read)(struct reading *reading, const struct part *part);
        bool (*write)(struct writing *writing, const struct part *part);
        enum field field;
        unsigned width;
};

/* `width` bytes, big-endian. A flag that is nil is written as false, as the libraries do. */
bool part_number_read(struct reading *reading, const struct part *part);
bool part_number_write(struct writing *writing, const struct part *part);

bool part_key_read(struct reading *reading, const struct part *part);
bool part_key_write(struct writing *writing, const struct part *part);

/* A key of only zeros stands for no key. */
bool part_key_or_none_read(struct reading *reading, const struct part *part);

/* An address of 4 or 16 bytes. `width` bytes follow it: the string's length says which it is. */
bool part_ip_read(struct reading *reading, const struct part *part);
bool part_ip_write(struct writing *writing, const struct part *part);

/* A length of two bytes, and the address as text. Writing refuses more than `width` bytes. */
bool part_text_read(struct reading *reading, const struct part *part);
bool part_text_write(struct writing *writing, const struct part *part);

/* The parts of the strings of MTKruto and mtcute: session_string_tl.c. */
bool part_tl_key_read(struct reading *reading, const struct part *part);
bool part_tl_key_write(struct writing *writing, const struct part *part);
bool part_mtkruto_dc_read(struct reading *reading, const struct part *part);
bool part_mtkruto_dc_write(struct writing *writing, const struct part *part);
bool part_mtkruto_account_read(struct reading *reading, const struct part *part);
bool part_mtkruto_account_write(struct writing *writing, const struct part *part);
bool part_mtcute_head_read(struct reading *reading, const struct part *part);
bool part_mtcute_head_write(struct writing *writing, const struct part *part);

/* ---- helpers of the parts ---- */

/* The next `n` bytes, or NULL. */
const uint8_t *reading_take(struct reading *reading, size_t n);
bool reading_number(struct reading *reading, enum field field, uint64_t value);
bool reading_key(struct reading *reading, const uint8_t *key);
bool reading_address(struct reading *reading, struct slice address);

bool writing_number(struct writing *writing, enum field field, uint64_t max, uint64_t *value);
const char *writing_address(struct writing *writing); /* NULL: none that can be written; `missing` is set */
bool writing_lacks(struct writing *writing, enum field field); /* sets `missing`, returns false */

#endif
