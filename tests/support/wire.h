#ifndef GRAMD_TESTS_SUPPORT_WIRE_H
#define GRAMD_TESTS_SUPPORT_WIRE_H

/*
 * A raw client: MessagePack-RPC over the socket, packed and unpacked by msgpack-c, sharing nothing with the
 * daemon. Requests are written and answers rendered in the notation of notation.h:
 *
 *     CLIENT c = wire_connect(d);
 *     int s = wire_open(c, "'anna', {create: true}");
 *     expect(c, "nil", "update_peers(%d, [[7, 70, 'user', 'anna', nil]])", s);
 *     expect(c, "[7, 70, 'user', 'anna', nil, ...]", "get_peer_by_id(%d, 7)", s);
 *     expect(c, "!not_found", "get_peer_by_id(%d, 8)", s);
 *
 * An answer is its result, or `!code`. Texts returned live until some 64 further ones of the same client.
 * Every wait has a deadline that fails the test.
 */

#include <stdint.h>

#include "daemon.h"

struct wire;

#define CLIENT __attribute__((cleanup(wire_end))) struct wire *

struct wire *wire_connect(const struct daemon *daemon);
struct wire *wire_connect_path(const char *socket); /* NULL, errno set: refused */
/* As another user (needs root): these are the credentials that the daemon sees. */
struct wire *wire_connect_as(const struct daemon *daemon, uid_t uid, gid_t gid);
/* The same, past the modes of the socket and its directory. */
struct wire *wire_connect_stranger(const struct daemon *daemon, uid_t uid, gid_t gid);
struct wire *wire_connect_stranger_in(const struct daemon *daemon, uid_t uid, const gid_t *gids, size_t n);
/* False: without root there are no other users. The test is skipped, and says so: `what` is not tested. */
bool wire_has_strangers(const char *what);
void wire_end(struct wire **wire); /* closes and frees; NULL is fine */
int wire_fd(const struct wire *wire);

/* A request and its answer. Other messages that arrive meanwhile are kept for the functions below. */
const char *wire_call(struct wire *wire, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* `open` with these arguments. Returns the handle; a refusal fails the test. */
int wire_open(struct wire *wire, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Message and detail of the last error that wire_call or wire_answer returned. */
const char *wire_error_message(const struct wire *wire);
const char *wire_error_detail(const struct wire *wire);

/* Fails, and shows the request and both texts, if the answer does not match `expected` (`...`: anything). */
#define expect(wire, expected, ...) wire_expect(__FILE__, __LINE__, wire, expected, __VA_ARGS__)
void wire_expect(const char *file, int line, struct wire *wire, const char *expected, const char *format, ...)
        __attribute__((format(printf, 5, 6)));
#define expect_text(text, expected) wire_expect_text(__FILE__, __LINE__, text, expected)
void wire_expect_text(const char *file, int line, const char *text, const char *expected);

/* Pipelining: sends a request and returns its id; the answer to that id, in whatever order answers come. */
uint32_t wire_send(struct wire *wire, const char *format, ...) __attribute__((format(printf, 2, 3)));
const char *wire_answer(struct wire *wire, uint32_t id);
/* Drops all messages that have arrived and were not asked for. */
void wire_forget(struct wire *wire);
/* Sends a request as a notification. */
void wire_tell(struct wire *wire, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The next notification: `changed(1, {…})`. */
const char *wire_told(struct wire *wire);
/* Fails if a notification has come, or comes before the answer to a ping. */
void wire_not_told(struct wire *wire);

/* The next message, whatever it is: `7: result`, `7: !code` or a notification; NULL: closed by the daemon. */
const char *wire_next(struct wire *wire);
void wire_expect_closed(struct wire *wire);

/* Bytes. */
void wire_raw(struct wire *wire, const void *bytes, size_t len);
void wire_hex(struct wire *wire, const char *hex); /* blanks between the bytes allowed */
/* Sends as much as the socket takes without waiting, and returns how much. */
size_t wire_raw_some(struct wire *wire, const void *bytes, size_t len);
/* Waits until the socket takes more, for `ms` at most. The wait may run out. */
bool wire_writable(struct wire *wire, int ms);
bool wire_readable(struct wire *wire, int ms);
/* The bytes of a request, malloc'ed. */
uint8_t *wire_pack(uint32_t id, size_t *len, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The number after `key: ` in a rendered map. Fails the test if there is none. */
long long wire_number(const char *text, const char *key);

#endif
