/*
 * One thread runs both sides: while the puppet waits for a request, it lets the client process, so that no
 * test depends on timing. A blocking client runs in a thread of its own.
 */
#include "puppet.h"

#include <errno.h>
#include <msgpack.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "client.h"
#include "notation.h"
#include "program.h"

enum { BUFFER_BYTES = 16 * 1024 * 1024 };

void puppet_listen(struct puppet *puppet)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };

        ck_assert_uint_lt(strlen(puppet->socket), sizeof(address.sun_path));
        strcpy(address.sun_path, puppet->socket);
        unlink(puppet->socket);
        puppet->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        ck_assert_int_eq(bind(puppet->listen_fd, (struct sockaddr *)&address, sizeof(address)), 0);
        ck_assert_int_eq(listen(puppet->listen_fd, 16), 0);
}

struct puppet *puppet_new(void)
{
        struct puppet *puppet = calloc(1, sizeof(*puppet));
        char *directory = realpath(".", NULL);

        puppet->socket = test_format("%s/puppet.sock", directory);
        puppet->buffer = malloc(BUFFER_BYTES);
        puppet->fd = -1;
        free(directory);
        puppet_listen(puppet);
        return puppet;
}

void puppet_drop(struct puppet *puppet)
{
        ck_assert_int_ge(puppet->fd, 0);
        test_breaks_connections();
        close(puppet->fd);
        puppet->fd = -1;
        puppet->len = 0;
}

void puppet_silence(struct puppet *puppet)
{
        puppet_drop(puppet);
        close(puppet->listen_fd);
        puppet->listen_fd = -1;
        unlink(puppet->socket);
}

void puppet_end(struct puppet **pointer)
{
        struct puppet *puppet = *pointer;

        if (puppet->fd >= 0)
                close(puppet->fd);
        if (puppet->listen_fd >= 0)
                close(puppet->listen_fd);
        unlink(puppet->socket);
        free(puppet->socket);
        free(puppet->buffer);
        free(puppet->text);
        free(puppet);
        *pointer = NULL;
}

/* Waits until `fd` is readable or `*done` is true. */
static void wait_for(struct puppet *puppet, int fd, const bool *done, const char *what)
{
        long long start = test_now_ms();

        while (!done || !*done) {
                struct pollfd fds[2] = { { .fd = fd, .events = POLLIN },
                                         { .fd = puppet->pump ? gram_fd(puppet->pump) : -1,
                                           .events = POLLIN } };

                poll(fds, 2, test_time_left(start, what));
                if (fds[0].revents)
                        return;
                if (fds[1].revents)
                        gram_process(puppet->pump);
        }
}

void puppet_until(struct puppet *puppet, const bool *done)
{
        wait_for(puppet, -1, done, "a callback");
}

void puppet_accept(struct puppet *puppet)
{
        ck_assert_int_eq(puppet->fd, -1);
        wait_for(puppet, puppet->listen_fd, NULL, "a connection");
        puppet->fd = accept4(puppet->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        ck_assert_int_ge(puppet->fd, 0);
}

void puppet_greet_as(struct puppet *puppet, const char *hello)
{
        puppet_accept(puppet);
        puppet_does(puppet, "hello({client: '...', features: ['lease', 'id', 'owner', 'kv'], id: ...})",
                    hello);
}

void puppet_greet(struct puppet *puppet)
{
        puppet_greet_as(puppet,
                        "{server: 'gramd', version: '1', protocol: 1, max_message: 4194304, max_depth: 8, "
                        "max_in_flight: 256, max_sessions: 1024, backends: ['file', 'memory'], "
                        "default_backend: 'file'}");
}

/* ---- what the client sends ---- */

/* Puts the message as `name(parameters)` into puppet->text and returns its id. */
static uint32_t take_request(struct puppet *puppet, const msgpack_object *object)
{
        const msgpack_object *part = object->via.array.ptr;
        TEST_FREED char *params = NULL;

        ck_assert_int_eq(object->type, MSGPACK_OBJECT_ARRAY);
        ck_assert_uint_eq(object->via.array.size, 4);
        ck_assert_uint_eq(part[0].via.u64, 0);
        params = notation_print(&part[3]);
        free(puppet->text);
        puppet->text = test_format("%.*s(%.*s)", (int)part[2].via.str.size, part[2].via.str.ptr,
                                   (int)strlen(params) - 2, params + 1);
        return (uint32_t)part[1].via.u64;
}

/* False: no whole message has arrived. */
static bool take_message(struct puppet *puppet, uint32_t *id)
{
        msgpack_unpacked unpacked;
        size_t used = 0;

        if (!puppet->len)
                return false;
        msgpack_unpacked_init(&unpacked);
        if (msgpack_unpack_next(&unpacked, puppet->buffer, puppet->len, &used) != MSGPACK_UNPACK_SUCCESS) {
                msgpack_unpacked_destroy(&unpacked);
                return false;
        }
        *id = take_request(puppet, &unpacked.data);
        msgpack_unpacked_destroy(&unpacked);
        puppet->len -= used;
        memmove(puppet->buffer, puppet->buffer + used, puppet->len);
        return true;
}

uint32_t puppet_expect(struct puppet *puppet, const char *pattern)
{
        uint32_t id;

        while (!take_message(puppet, &id)) {
                ssize_t n;

                wait_for(puppet, puppet->fd, NULL, pattern);
                n = recv(puppet->fd, puppet->buffer + puppet->len, BUFFER_BYTES - puppet->len, 0);
                ck_assert_msg(n > 0, "instead of %s the client closed the connection", pattern);
                puppet->len += (size_t)n;
        }
        ck_assert_msg(notation_match(pattern, puppet->text), "instead of %s came %s", pattern, puppet->text);
        return id;
}

void puppet_expect_nothing(struct puppet *puppet)
{
        struct pollfd fd = { .fd = puppet->fd, .events = POLLIN };
        uint32_t id;

        if (puppet->pump)
                gram_process(puppet->pump);
        if (take_message(puppet, &id))
                ck_abort_msg("unexpected: %s", puppet->text);
        ck_assert_int_eq(poll(&fd, 1, 0), 0);
}

void puppet_expect_closed(struct puppet *puppet)
{
        char byte;

        wait_for(puppet, puppet->fd, NULL, "the end of the connection");
        ck_assert_int_le(recv(puppet->fd, &byte, 1, 0), 0);
        puppet_drop(puppet);
}

/* ---- what the client is sent ---- */

void puppet_raw(struct puppet *puppet, const void *bytes, size_t len)
{
        size_t sent = 0;

        while (sent < len) {
                ssize_t n = send(puppet->fd, (const char *)bytes + sent, len - sent,
                                 MSG_NOSIGNAL | (puppet->pump ? MSG_DONTWAIT : 0));

                if (n > 0)
                        sent += (size_t)n;
                else if (errno == EAGAIN && puppet->pump)
                        gram_process(puppet->pump);
                else if (errno != EINTR)
                        return; /* the client has closed the connection: the rest is not sent */
        }
}

static void say(struct puppet *puppet, const char *text)
{
        msgpack_sbuffer out;

        msgpack_sbuffer_init(&out);
        ck_assert_str_eq(notation_pack(&out, text), "");
        puppet_raw(puppet, out.data, out.size);
        msgpack_sbuffer_destroy(&out);
}

void puppet_answer(struct puppet *puppet, uint32_t id, const char *result)
{
        TEST_FREED char *text = test_format("[1, %u, nil, %s]", id, result);

        say(puppet, text);
}

void puppet_refuse(struct puppet *puppet, uint32_t id, const char *error)
{
        TEST_FREED char *text = test_format("[1, %u, %s, nil]", id, error);

        say(puppet, text);
}

void puppet_does(struct puppet *puppet, const char *pattern, const char *result)
{
        puppet_answer(puppet, puppet_expect(puppet, pattern), result);
}

void puppet_tell(struct puppet *puppet, const char *notification)
{
        TEST_FREED char *text = test_format("[2, %.*s", (int)strlen(notification) - 1, notification + 1);

        say(puppet, text);
}
