/* Answers by UDP what it is asked: RFC 1035, and RFC 2782 for services. */

#include "name_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "program.h"

enum {
        HEADER = 12,
        MESSAGE = 512,
        TYPE_A = 1,
        TYPE_SRV = 33,
};

struct name_server {
        int fd;
        int port; /* of the service */
        char address[INET_ADDRSTRLEN];
        atomic_int answered;
};

struct message {
        uint8_t bytes[MESSAGE];
        size_t len;
};

static void put(struct message *message, const void *bytes, size_t len)
{
        ck_assert_uint_le(message->len + len, sizeof(message->bytes));
        memcpy(message->bytes + message->len, bytes, len);
        message->len += len;
}

static void put_number(struct message *message, unsigned number)
{
        put(message, (uint8_t[]){ (uint8_t)(number >> 8), (uint8_t)number }, 2);
}

/* Cuts off what follows the question. 0: it is none; else its type. */
static unsigned question(struct message *message)
{
        size_t at = HEADER;

        while (at < message->len && message->bytes[at])
                at += 1U + message->bytes[at];
        if (at + 5 > message->len)
                return 0;
        message->len = at + 5;
        return message->bytes[at + 1] * 256U + message->bytes[at + 2];
}

static void put_record(struct message *message, unsigned type, const void *data, size_t len)
{
        static const uint8_t class_and_lifetime[] = { 0, 1, 0, 0, 0, 1 };

        put(message, "\xc0\x0c", 2); /* the name of the question */
        put_number(message, type);
        put(message, class_and_lifetime, sizeof(class_and_lifetime));
        put_number(message, (unsigned)len);
        put(message, data, len);
}

static void answer(const struct name_server *server, struct message *message)
{
        static const uint8_t target[] = "\5mongo\5gramd\4test";
        const uint8_t local[] = { 127, 0, 0, 1 };
        unsigned type = question(message);
        struct message service = { .len = 0 };

        memcpy(message->bytes + 2, "\x81\x80\0\1\0\0\0\0\0", 10); /* no error; one question, no answers yet */
        if (type == TYPE_A)
                put_record(message, type, local, sizeof(local));
        if (type == TYPE_SRV) {
                put_number(&service, 0); /* priority, weight */
                put_number(&service, 0);
                put_number(&service, (unsigned)server->port);
                put(&service, target, sizeof(target));
                put_record(message, type, service.bytes, service.len);
        }
        message->bytes[7] = type == TYPE_A || type == TYPE_SRV;
}

static void *serve(void *arg)
{
        struct name_server *server = arg;

        for (;;) {
                struct message message;
                struct sockaddr_in from;
                socklen_t len = sizeof(from);
                ssize_t n = recvfrom(server->fd, message.bytes, sizeof(message.bytes), 0,
                                     (struct sockaddr *)&from, &len);

                if (n < HEADER)
                        continue;
                message.len = (size_t)n;
                answer(server, &message);
                atomic_fetch_add(&server->answered, 1);
                sendto(server->fd, message.bytes, message.len, 0, (struct sockaddr *)&from, len);
        }
        return NULL;
}

struct name_server *name_server_start(int port)
{
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(53) };
        struct name_server *server = calloc(1, sizeof(*server));
        uint32_t host;
        pthread_t thread;

        ck_assert_ptr_nonnull(server);
        server->port = port;
        server->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        ck_assert_int_eq(getrandom(&host, sizeof(host), 0), sizeof(host));
        address.sin_addr.s_addr = htonl(127U << 24 | (host & 0xfffffe) | 1);
        ck_assert_msg(bind(server->fd, (struct sockaddr *)&address, sizeof(address)) == 0, "%s",
                      strerror(errno));
        inet_ntop(AF_INET, &address.sin_addr, server->address, sizeof(server->address));
        ck_assert_int_eq(pthread_create(&thread, NULL, serve, server), 0);
        pthread_detach(thread);
        return server;
}

const char *name_server_address(const struct name_server *server)
{
        return server->address;
}

int name_server_answered(const struct name_server *server)
{
        return atomic_load(&server->answered);
}
