#include "cached.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client.h"
#include "program.h"

const struct gram_peer cached_anna = { .id = 7,
                                       .has_access_hash = true,
                                       .access_hash = 70,
                                       .type = "user",
                                       .username = "anna",
                                       .phone_number = "49" };

void cached_replied(void *arg, struct gram_reply *reply)
{
        struct cached *cached = arg;

        cached->done = true;
        cached->code = reply->error ? reply->error->code : 0;
}

static void on_open(void *arg, struct gram_reply *reply)
{
        struct cached *cached = arg;

        cached->session = reply->session;
        cached_replied(arg, reply);
}

static void on_peer(void *arg, struct gram_reply *reply)
{
        struct cached *cached = arg;

        cached_replied(arg, reply);
        if (!reply->error)
                snprintf(cached->result, sizeof(cached->result), "%lld %lld %s %s %s",
                         (long long)reply->peer->id, (long long)reply->peer->access_hash, reply->peer->type,
                         reply->peer->username ? reply->peer->username : "-",
                         reply->peer->phone_number ? reply->peer->phone_number : "-");
}

void cached_done(struct cached *cached)
{
        puppet_until(cached->puppet, &cached->done);
        cached->done = false;
}

struct cached *cached_new(size_t max_bytes)
{
        struct cached *cached = calloc(1, sizeof(*cached));

        cached->now = time(NULL);
        cached->puppet = puppet_new();
        cached->client = test_client_new(&(struct gram_options){ .socket = cached->puppet->socket });
        cached->puppet->pump = cached->client;
        ck_assert_int_eq(gram_async_open(cached->client, "anna", NULL, on_open, cached), 0);
        puppet_greet(cached->puppet);
        puppet_does(cached->puppet, "open(...)", CACHED_OPENED);
        cached_done(cached);
        ck_assert_int_eq(gram_async_cache_enable(cached->session, max_bytes, cached_replied, cached), 0);
        puppet_does(cached->puppet, "watch(3, true)", "nil");
        cached_done(cached);
        return cached;
}

void cached_end(struct cached *cached)
{
        gram_client_free(cached->client);
        puppet_end(&cached->puppet);
        free(cached);
}

void cached_ask(struct cached *cached, enum by by, const char *what)
{
        int error = GRAM_E_BAD_REQUEST;

        cached->result[0] = '\0';
        switch (by) {
        case BY_ID: error = gram_async_get_peer_by_id(cached->session, atoll(what), on_peer, cached); break;
        case BY_NAME:
                error = gram_async_get_peer_by_username(cached->session, what, GRAM_MAX_AGE_DEFAULT_S,
                                                        on_peer, cached);
                break;
        case BY_PHONE:
                error = gram_async_get_peer_by_phone_number(cached->session, what, on_peer, cached);
                break;
        }
        ck_assert_int_eq(error, 0);
}

void cached_expect_asked(struct cached *cached, enum by by, const char *what, const char *row)
{
        static const char *const methods[] = { "get_peer_by_id(3, ...)", "get_peer_by_username(3, ...)",
                                               "get_peer_by_phone_number(3, ...)" };
        const char *at = strstr(row, "NOW");
        TEST_FREED char *result = at ? test_format("%.*s%lld%s", (int)(at - row), row, cached->now, at + 3)
                                     : test_format("%s", row);

        cached_ask(cached, by, what);
        puppet_does(cached->puppet, methods[by], result);
        cached_done(cached);
}

void cached_expect_hit(struct cached *cached, enum by by, const char *what, const char *result)
{
        cached_ask(cached, by, what);
        cached_done(cached);
        ck_assert_str_eq(cached->result, result);
        puppet_expect_nothing(cached->puppet);
}

void cached_tell(struct cached *cached, const char *notification)
{
        puppet_tell(cached->puppet, notification);
        gram_process(cached->client);
}

void cached_write_peer(struct cached *cached, const struct gram_peer *peer)
{
        ck_assert_int_eq(gram_async_update_peers(cached->session, peer, 1, cached_replied, cached), 0);
        puppet_does(cached->puppet, "update_peers(...)", "nil");
        cached_done(cached);
}
