#ifndef GRAMD_PROTO_MESSAGE_H
#define GRAMD_PROTO_MESSAGE_H

/*
 * The MessagePack-RPC envelope: reading requests and notifications from a scanned frame, writing
 * responses, errors and notifications with msgpack-c. Pure functions over bytes.
 */

#include <msgpack/pack.h>
#include <stdbool.h>
#include <stdint.h>

#include "buffer.h"
#include "cursor.h"

enum message_kind {
        MESSAGE_REQUEST = 0,
        MESSAGE_RESPONSE = 1,
        MESSAGE_NOTIFICATION = 2,
};

struct message {
        enum message_kind kind;
        uint32_t id;          /* 0 for notifications */
        struct slice method;  /* str or bin, as sent: need not be UTF-8. Absent in responses */
        struct cursor params; /* after the header of their array; in responses, at the error */
        uint32_t n_params;
        struct slice frame; /* the whole message */
};

/* False: MessagePack, but not one of the three shapes; `message` is then undefined. */
bool message_read(struct slice frame, struct message *message);

/* The id of a request that is incomplete or beyond a limit, if it can be read; else 0. */
uint32_t message_peek_id(const uint8_t *data, size_t len);

/* Begin a message. The caller packs the rest: a result, or `n_params` values. */
void message_begin_result(struct buffer *out, uint32_t id);
void message_begin_notification(struct buffer *out, const char *method, uint32_t n_params);

/* A complete error response. `detail` is one packed value; absent: nil. */
void message_write_error(struct buffer *out, uint32_t id, const char *code, struct slice text,
                         struct slice detail);

/* A msgpack-c packer over a buffer, for the values. */
static inline msgpack_packer buffer_packer(struct buffer *out)
{
        return (msgpack_packer){ .data = out, .callback = buffer_msgpack_write };
}

void pack_str(struct buffer *out, struct slice text); /* absent: nil */
void pack_cstr(struct buffer *out, const char *text);
void pack_bin(struct buffer *out, struct slice bytes); /* absent: nil */
void pack_int(struct buffer *out, int64_t value);
void pack_bool(struct buffer *out, bool value);
void pack_nil(struct buffer *out);
void pack_array(struct buffer *out, uint32_t count);
void pack_map(struct buffer *out, uint32_t pairs);

/* An array whose length is known at its end. pack_array_begin() returns its place. */
size_t pack_array_begin(struct buffer *out);
void pack_array_end(struct buffer *out, size_t at, uint32_t count);

#endif
