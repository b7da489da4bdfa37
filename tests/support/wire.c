/*
 * The raw client. The socket does not block; every wait is a poll() with a deadline. Messages are kept as
 * text: answers and notifications that the test has not asked for yet, and a ring of those that it was given.
 */
#include "wire.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "notation.h"
#include "program.h"

enum { RING = 64 };

struct waiting {
        struct waiting *next;
        bool is_answer;
        uint32_t id;
        char *text;
        char *message; /* of an error */
        char *detail;
};

struct wire {
        int fd;
        bool closed;
        uint32_t last_id;
        char *last_request; /* for messages of failed tests */
        msgpack_unpacker unpacker;
        struct waiting *first; /* arrived, not yet asked for */
        struct waiting **end;
        char *ring[RING];
        unsigned ring_at;
        char *message;
        char *detail;
};

static const char *hand_out(struct wire *wire, char *text)
{
        char **slot = &wire->ring[wire->ring_at++ % RING];

        free(*slot);
        *slot = text;
        return text;
}

/* ---- connecting ---- */

struct wire *wire_connect_path(const char *path)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct wire *wire;
        int error;

        ck_assert_uint_lt(strlen(path), sizeof(address.sun_path));
        strcpy(address.sun_path, path);
        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
                error = errno;
                close(fd);
                errno = error;
                return NULL;
        }
        fcntl(fd, F_SETFL, O_NONBLOCK);
        wire = calloc(1, sizeof(*wire));
        ck_assert_ptr_nonnull(wire);
        wire->fd = fd;
        wire->end = &wire->first;
        ck_assert(msgpack_unpacker_init(&wire->unpacker, 65536));
        return wire;
}

struct wire *wire_connect(const struct daemon *daemon)
{
        struct wire *wire = wire_connect_path(daemon->socket);

        ck_assert_msg(wire != NULL, "connect: %s", strerror(errno));
        return wire;
}

/* Connects from the socket's own directory: the other user may have no access to those above it. */
static struct wire *connect_in(const struct daemon *daemon, uid_t uid, const gid_t *gids, size_t n)
{
        struct wire *wire;
        int cwd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);

        ck_assert_int_eq(chdir(daemon->dir), 0);
        ck_assert_int_eq(setgroups(n, gids), 0);
        ck_assert_int_eq(setegid(gids[0]), 0);
        ck_assert_int_eq(seteuid(uid), 0);
        wire = wire_connect_path("socket");
        ck_assert_int_eq(seteuid(0), 0);
        ck_assert_int_eq(setegid(0), 0);
        ck_assert_int_eq(fchdir(cwd), 0);
        close(cwd);
        return wire;
}

struct wire *wire_connect_as(const struct daemon *daemon, uid_t uid, gid_t gid)
{
        return connect_in(daemon, uid, &gid, 1);
}

struct wire *wire_connect_stranger(const struct daemon *daemon, uid_t uid, gid_t gid)
{
        return wire_connect_stranger_in(daemon, uid, &gid, 1);
}

struct wire *wire_connect_stranger_in(const struct daemon *daemon, uid_t uid, const gid_t *gids, size_t n)
{
        struct wire *wire;

        ck_assert_int_eq(chmod(daemon->dir, 0711), 0);
        ck_assert_int_eq(chmod(daemon->socket, 0666), 0);
        wire = connect_in(daemon, uid, gids, n);
        ck_assert_ptr_nonnull(wire);
        return wire;
}

bool wire_has_strangers(const char *what)
{
        if (geteuid() == 0)
                return true;
        test_skipped(what, "needs root, to connect as another user");
        return false;
}

static void waiting_free(struct waiting *waiting)
{
        free(waiting->text);
        free(waiting->message);
        free(waiting->detail);
        free(waiting);
}

void wire_end(struct wire **wire_pointer)
{
        struct wire *wire = *wire_pointer;

        *wire_pointer = NULL;
        if (!wire)
                return;
        close(wire->fd);
        msgpack_unpacker_destroy(&wire->unpacker);
        wire_forget(wire);
        for (unsigned i = 0; i < RING; i++)
                free(wire->ring[i]);
        free(wire->message);
        free(wire->detail);
        free(wire->last_request);
        free(wire);
}

int wire_fd(const struct wire *wire)
{
        return wire->fd;
}

/* ---- sending ---- */

static bool wait_for(struct wire *wire, short events, int ms)
{
        struct pollfd fd = { .fd = wire->fd, .events = events };

        return poll(&fd, 1, ms) > 0;
}

bool wire_writable(struct wire *wire, int ms)
{
        return wait_for(wire, POLLOUT, ms);
}

bool wire_readable(struct wire *wire, int ms)
{
        return wait_for(wire, POLLIN, ms);
}

size_t wire_raw_some(struct wire *wire, const void *bytes, size_t len)
{
        size_t sent = 0;

        while (sent < len) {
                ssize_t n = send(wire->fd, (const char *)bytes + sent, len - sent, MSG_NOSIGNAL);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        break;
                sent += (size_t)n;
        }
        return sent;
}

void wire_raw(struct wire *wire, const void *bytes, size_t len)
{
        long long start = test_now_ms();
        size_t sent = 0;

        while ((sent += wire_raw_some(wire, (const char *)bytes + sent, len - sent)) < len) {
                if (errno == EPIPE || errno == ECONNRESET)
                        return; /* closed by the daemon: what it sent before can still be read */
                wait_for(wire, POLLOUT, test_time_left(start, "room in the socket"));
        }
}

void wire_hex(struct wire *wire, const char *hex)
{
        size_t len = 0;
        uint8_t *bytes = malloc(strlen(hex) + 1);

        while (*hex) {
                unsigned byte;
                int used;

                ck_assert_int_eq(sscanf(hex, " %2x%n", &byte, &used), 1);
                bytes[len++] = (uint8_t)byte;
                hex += used;
                while (isspace((unsigned char)*hex))
                        hex++;
        }
        wire_raw(wire, bytes, len);
        free(bytes);
}

/* `name(parameters)` as a request, or as a notification where `id` is negative. */
static void pack_request(msgpack_sbuffer *out, int64_t id, const char *text)
{
        size_t name = strcspn(text, "(");
        msgpack_packer packer;

        ck_assert_msg(text[name] == '(', "not a request: %s", text);
        msgpack_packer_init(&packer, out, msgpack_sbuffer_write);
        msgpack_pack_array(&packer, id < 0 ? 3 : 4);
        msgpack_pack_int(&packer, id < 0 ? 2 : 0);
        if (id >= 0)
                msgpack_pack_int64(&packer, id);
        msgpack_pack_str_with_body(&packer, text, name);
        text = notation_pack(out, text + name);
        ck_assert_msg(*text == '\0', "after the request: %s", text);
}

static char *format_text(const char *format, va_list args)
{
        char *text;

        if (vasprintf(&text, format, args) < 0)
                ck_abort_msg("no memory");
        return text;
}

static void send_text(struct wire *wire, int64_t id, const char *text)
{
        msgpack_sbuffer out;

        free(wire->last_request);
        wire->last_request = test_format("%.300s", text);
        msgpack_sbuffer_init(&out);
        pack_request(&out, id, text);
        wire_raw(wire, out.data, out.size);
        msgpack_sbuffer_destroy(&out);
}

uint8_t *wire_pack(uint32_t id, size_t *len, const char *format, ...)
{
        TEST_FREED char *text = NULL;
        msgpack_sbuffer out;
        va_list args;

        va_start(args, format);
        text = format_text(format, args);
        va_end(args);
        msgpack_sbuffer_init(&out);
        pack_request(&out, id, text);
        *len = out.size;
        return (uint8_t *)msgpack_sbuffer_release(&out);
}

uint32_t wire_send(struct wire *wire, const char *format, ...)
{
        TEST_FREED char *text = NULL;
        va_list args;

        va_start(args, format);
        text = format_text(format, args);
        va_end(args);
        send_text(wire, ++wire->last_id, text);
        return wire->last_id;
}

void wire_tell(struct wire *wire, const char *format, ...)
{
        TEST_FREED char *text = NULL;
        va_list args;

        va_start(args, format);
        text = format_text(format, args);
        va_end(args);
        send_text(wire, -1, text);
}

/* ---- receiving ---- */

static void read_error(struct waiting *waiting, const msgpack_object *error)
{
        const msgpack_object *part = error->via.array.ptr;

        if (error->type != MSGPACK_OBJECT_ARRAY || error->via.array.size != 3 ||
            part[0].type != MSGPACK_OBJECT_STR || part[1].type != MSGPACK_OBJECT_STR ||
            (part[2].type != MSGPACK_OBJECT_NIL && part[2].type != MSGPACK_OBJECT_MAP))
                ck_abort_msg("not [code, message, detail]: %s", notation_print(error));
        waiting->text = test_format("!%.*s", (int)part[0].via.str.size, part[0].via.str.ptr);
        waiting->message = notation_print(&part[1]);
        waiting->detail = notation_print(&part[2]);
}

static struct waiting *read_message(const msgpack_object *object)
{
        struct waiting *waiting = calloc(1, sizeof(*waiting));
        const msgpack_object *part = object->via.array.ptr;
        TEST_FREED char *params = NULL;

        if (object->type != MSGPACK_OBJECT_ARRAY || object->via.array.size < 3 ||
            object->via.array.size > 4 || part[0].type != MSGPACK_OBJECT_POSITIVE_INTEGER ||
            part[0].via.u64 != (object->via.array.size == 4 ? 1 : 2))
                ck_abort_msg("neither a response nor a notification: %s", notation_print(object));
        waiting->is_answer = part[0].via.u64 == 1;
        if (!waiting->is_answer) {
                params = notation_print(&part[2]);
                ck_assert_int_eq(part[2].type, MSGPACK_OBJECT_ARRAY);
                waiting->text = test_format("%.*s(%.*s)", (int)part[1].via.str.size, part[1].via.str.ptr,
                                            (int)strlen(params) - 2, params + 1);
                return waiting;
        }
        waiting->id = (uint32_t)part[1].via.u64;
        if (part[2].type == MSGPACK_OBJECT_NIL)
                waiting->text = notation_print(&part[3]);
        else
                read_error(waiting, &part[2]);
        return waiting;
}

/* Reads one message from the socket. NULL: the daemon has closed it. */
static struct waiting *receive(struct wire *wire)
{
        long long start = test_now_ms();
        struct waiting *waiting = NULL;
        msgpack_unpacked unpacked;

        msgpack_unpacked_init(&unpacked);
        for (;;) {
                msgpack_unpack_return got = msgpack_unpacker_next(&wire->unpacker, &unpacked);
                ssize_t n;

                if (got == MSGPACK_UNPACK_SUCCESS) {
                        waiting = read_message(&unpacked.data);
                        break;
                }
                ck_assert_msg(got == MSGPACK_UNPACK_CONTINUE, "the daemon sent what is not MessagePack");
                msgpack_unpacker_reserve_buffer(&wire->unpacker, 65536);
                wait_for(wire, POLLIN, test_time_left(start, "a message from the daemon"));
                n = recv(wire->fd, msgpack_unpacker_buffer(&wire->unpacker),
                         msgpack_unpacker_buffer_capacity(&wire->unpacker), 0);
                if (n == 0 || (n < 0 && errno == ECONNRESET)) {
                        wire->closed = true;
                        break;
                }
                if (n > 0)
                        msgpack_unpacker_buffer_consumed(&wire->unpacker, (size_t)n);
        }
        msgpack_unpacked_destroy(&unpacked);
        return waiting;
}

static void keep(struct wire *wire, struct waiting *waiting)
{
        *wire->end = waiting;
        wire->end = &waiting->next;
}

/* Takes the first message that fits from those that have arrived: the answer to `id`, or a notification. */
static struct waiting *take(struct wire *wire, bool is_answer, uint32_t id)
{
        for (struct waiting **at = &wire->first; *at; at = &(*at)->next) {
                struct waiting *waiting = *at;

                if (waiting->is_answer != is_answer || (is_answer && waiting->id != id))
                        continue;
                *at = waiting->next;
                if (!waiting->next)
                        wire->end = at;
                return waiting;
        }
        return NULL;
}

static struct waiting *await(struct wire *wire, bool is_answer, uint32_t id)
{
        struct waiting *waiting = take(wire, is_answer, id);

        while (!waiting) {
                waiting = receive(wire);
                if (!waiting)
                        ck_abort_msg("closed by the daemon instead of %s; the last request was %s",
                                     is_answer ? "an answer" : "a notification",
                                     wire->last_request ? wire->last_request : "none");
                if (waiting->is_answer != is_answer || (is_answer && waiting->id != id)) {
                        keep(wire, waiting);
                        waiting = NULL;
                }
        }
        return waiting;
}

static const char *taken(struct wire *wire, struct waiting *waiting)
{
        char *text = waiting->text;

        free(wire->message);
        free(wire->detail);
        wire->message = waiting->message;
        wire->detail = waiting->detail;
        free(waiting);
        return hand_out(wire, text);
}

const char *wire_answer(struct wire *wire, uint32_t id)
{
        return taken(wire, await(wire, true, id));
}

void wire_forget(struct wire *wire)
{
        for (struct waiting *waiting = wire->first, *next; waiting; waiting = next) {
                next = waiting->next;
                waiting_free(waiting);
        }
        wire->first = NULL;
        wire->end = &wire->first;
}

const char *wire_told(struct wire *wire)
{
        return taken(wire, await(wire, false, 0));
}

void wire_not_told(struct wire *wire)
{
        struct waiting *waiting;

        expect(wire, "1", "ping(1)");
        waiting = take(wire, false, 0);
        if (waiting)
                ck_abort_msg("told without reason: %s", waiting->text);
}

const char *wire_next(struct wire *wire)
{
        struct waiting *waiting = wire->first;
        char *text;

        if (waiting) {
                wire->first = waiting->next;
                if (!wire->first)
                        wire->end = &wire->first;
        } else if (!(waiting = receive(wire))) {
                return NULL;
        }
        if (waiting->is_answer) {
                text = test_format("%u: %s", waiting->id, waiting->text);
                free(waiting->text);
                waiting->text = text;
        }
        return taken(wire, waiting);
}

void wire_expect_closed(struct wire *wire)
{
        const char *text = wire_next(wire);

        ck_assert_msg(text == NULL, "%s instead of the connection's end", text);
}

const char *wire_error_message(const struct wire *wire)
{
        return wire->message ? wire->message : "";
}

const char *wire_error_detail(const struct wire *wire)
{
        return wire->detail ? wire->detail : "";
}

/* ---- together ---- */

static const char *call_text(struct wire *wire, const char *text)
{
        send_text(wire, ++wire->last_id, text);
        return wire_answer(wire, wire->last_id);
}

const char *wire_call(struct wire *wire, const char *format, ...)
{
        TEST_FREED char *text = NULL;
        va_list args;

        va_start(args, format);
        text = format_text(format, args);
        va_end(args);
        return call_text(wire, text);
}

int wire_open(struct wire *wire, const char *format, ...)
{
        TEST_FREED char *arguments = NULL;
        TEST_FREED char *text = NULL;
        const char *answer;
        va_list args;

        va_start(args, format);
        arguments = format_text(format, args);
        va_end(args);
        text = test_format("open(%s)", arguments);
        answer = call_text(wire, text);
        if (answer[0] == '!')
                ck_abort_msg("%s: %s %s %s", text, answer, wire_error_message(wire), wire_error_detail(wire));
        return (int)wire_number(answer, "session");
}

void wire_expect(const char *file, int line, struct wire *wire, const char *expected, const char *format, ...)
{
        TEST_FREED char *text = NULL;
        const char *answer;
        va_list args;

        va_start(args, format);
        text = format_text(format, args);
        va_end(args);
        answer = call_text(wire, text);
        if (!notation_match(expected, answer))
                ck_abort_msg("%s:%d: %.300s\n  expected %s\n  answered %s %s %s", file, line, text, expected,
                             answer, wire_error_message(wire), wire_error_detail(wire));
}

void wire_expect_text(const char *file, int line, const char *text, const char *expected)
{
        if (!text || !notation_match(expected, text))
                ck_abort_msg("%s:%d:\n  expected %s\n  got %s", file, line, expected,
                             text ? text : "nothing");
}

long long wire_number(const char *text, const char *key)
{
        TEST_FREED char *marked = test_format("%s: ", key);

        for (const char *at = text; (at = strstr(at, marked)); at++)
                if (at > text && (at[-1] == '{' || at[-1] == ' '))
                        return strtoll(at + strlen(marked), NULL, 10);
        ck_abort_msg("no %s in %s", key, text);
        return 0;
}
