/*
 * Tracked caching, seen by a puppet: what is forgotten when others change a session, when the program does,
 * and when the connection or the watch ends.
 */
#include "../support/cached.h"
#include "../support/program.h"

/* ---- changes by others ---- */

START_TEST(forgets_what_others_change)
{
#define CHANGED(peers, usernames, phones, states)                                                            \
        "['changed', [3, {peers: [" peers "], usernames: [" usernames "], phones: [" phones                  \
        "], fields: [], states: [" states "], all: false}]]"
        struct cached *cached = cached_new(0);

        cached_expect_asked(cached, BY_NAME, "anna", CACHED_ANNA_ROW);
        cached_expect_asked(cached, BY_PHONE, "49", CACHED_ANNA_ROW);
        cached_tell(cached, CHANGED("", "'x'", "'50'", "7"));
        cached_expect_hit(cached, BY_NAME, "anna", CACHED_ANNA);
        cached_expect_hit(cached, BY_PHONE, "49", CACHED_ANNA);
        cached_tell(cached, CHANGED("", "'anna'", "", ""));
        cached_expect_hit(cached, BY_ID, "7", CACHED_ANNA);
        cached_expect_asked(cached, BY_NAME, "anna", CACHED_ANNA_ROW);
        cached_tell(cached, CHANGED("", "", "'49'", ""));
        cached_expect_asked(cached, BY_PHONE, "49", CACHED_ANNA_ROW);
        /* Another peer may be the newest with that name or number now. */
        cached_tell(cached, CHANGED("8", "", "", ""));
        cached_expect_hit(cached, BY_ID, "7", CACHED_ANNA);
        cached_expect_asked(cached, BY_NAME, "anna", CACHED_ANNA_ROW);
        cached_expect_asked(cached, BY_PHONE, "49", CACHED_ANNA_ROW);
        cached_tell(cached, CHANGED("7", "", "", ""));
        cached_expect_asked(cached, BY_ID, "7", CACHED_ANNA_ROW);
        cached_tell(cached, "['changed', [3, {all: true}]]");
        cached_expect_asked(cached, BY_ID, "7", CACHED_ANNA_ROW);
        cached_tell(cached, "['changed', [3, {peers: 'unreadable'}]]");
        cached_expect_asked(cached, BY_ID, "7", CACHED_ANNA_ROW);
        cached_end(cached);
#undef CHANGED
}
END_TEST

/* The change was made after the answer was, but is told before it. */
START_TEST(does_not_remember_an_answer_that_a_change_overtook)
{
        struct cached *cached = cached_new(0);
        uint32_t id;

        cached_ask(cached, BY_ID, "7");
        id = puppet_expect(cached->puppet, "get_peer_by_id(3, 7)");
        cached_tell(cached, "['changed', [3, {peers: [7], usernames: [], phones: [], fields: [], states: [], "
                            "all: false}]]");
        puppet_answer(cached->puppet, id, "[7, 1, 'user', 'old', nil, 5]");
        cached_done(cached);
        cached_expect_asked(cached, BY_ID, "7", CACHED_ANNA_ROW);
        cached_expect_hit(cached, BY_ID, "7", CACHED_ANNA);
        cached_end(cached);
}
END_TEST

/* ---- changes of one's own ---- */

START_TEST(forgets_what_it_changes_itself)
{
        struct cached *cached = cached_new(0);
        struct gram_peer peer = cached_anna;
        static const char *const names[] = { "anna" };
        const struct gram_names named = { .peer_id = 9, .names = names, .n_names = 1 };

        cached_expect_asked(cached, BY_NAME, "anna", CACHED_ANNA_ROW);
        cached_write_peer(cached, &cached_anna); /* repeats what is stored */
        cached_expect_hit(cached, BY_ID, "7", CACHED_ANNA);
        cached_expect_hit(cached, BY_NAME, "anna", CACHED_ANNA);
        peer.access_hash = 71;
        cached_write_peer(cached, &peer);
        cached_expect_asked(cached, BY_ID, "7", "[7, 71, 'user', 'anna', '49', NOW]");
        cached_expect_asked(cached, BY_NAME, "anna", "[7, 71, 'user', 'anna', '49', NOW]");
        peer = (struct gram_peer){ .id = 8, .type = "user", .username = "anna" };
        cached_write_peer(cached, &peer); /* the newest of that name */
        cached_expect_hit(cached, BY_ID, "7", "7 71 user anna 49");
        cached_expect_asked(cached, BY_NAME, "anna", "[8, nil, 'user', 'anna', nil, NOW]");
        ck_assert_int_eq(gram_async_update_usernames(cached->session, &named, 1, cached_replied, cached), 0);
        puppet_does(cached->puppet, "update_usernames(...)", "nil");
        cached_done(cached);
        cached_expect_asked(cached, BY_NAME, "anna", "[9, nil, 'user', nil, nil, NOW]");
        cached_end(cached);
}
END_TEST

/*
 * Two peers have one name. The row of the older is repeated: it is the newest then, and nobody is told of a
 * change.
 */
START_TEST(a_repeated_row_may_win_the_name)
{
        struct cached *cached = cached_new(0);
        const struct gram_peer other = { .id = 8, .type = "user", .username = "anna" };

        cached_expect_asked(cached, BY_ID, "8", "[8, nil, 'user', 'anna', nil, 5]");
        cached_expect_asked(cached, BY_NAME, "anna", CACHED_ANNA_ROW);
        cached_write_peer(cached, &other);
        cached_expect_asked(cached, BY_NAME, "anna", "[8, nil, 'user', 'anna', nil, NOW]");
        cached_expect_hit(cached, BY_NAME, "anna", "8 0 user anna -");
        cached_expect_hit(cached, BY_ID, "7", CACHED_ANNA);
        cached_end(cached);
}
END_TEST

/* Read, write and read without waiting for answers: the first answer is older than the write. */
START_TEST(does_not_remember_an_answer_from_before_its_own_write)
{
        struct cached *cached = cached_new(0);
        struct gram_peer peer = cached_anna;
        uint32_t ids[3];

        peer.access_hash = 71;
        cached_ask(cached, BY_ID, "7");
        ck_assert_int_eq(gram_async_update_peers(cached->session, &peer, 1, cached_replied, cached), 0);
        ids[0] = puppet_expect(cached->puppet, "get_peer_by_id(3, 7)");
        ids[1] = puppet_expect(cached->puppet, "update_peers(...)");
        puppet_answer(cached->puppet, ids[0], "[7, 70, 'user', 'anna', '49', 5]");
        cached_done(cached);
        cached_ask(cached, BY_ID, "7");
        ids[2] = puppet_expect(cached->puppet, "get_peer_by_id(3, 7)");
        puppet_answer(cached->puppet, ids[1], "nil");
        puppet_answer(cached->puppet, ids[2], "[7, 71, 'user', 'anna', '49', 5]");
        cached_done(cached);
        cached->done = false;
        while (gram_pending(cached->client))
                gram_process(cached->client);
        cached->done = false;
        cached_expect_hit(cached, BY_ID, "7", "7 71 user anna 49");
        cached_end(cached);
}
END_TEST

/* ---- reconnection, end ---- */

START_TEST(starts_empty_after_a_reconnection)
{
        struct cached *cached = cached_new(0);
        uint32_t watch;

        cached_expect_asked(cached, BY_ID, "7", CACHED_ANNA_ROW);
        puppet_drop(cached->puppet);
        puppet_greet(cached->puppet);
        puppet_does(cached->puppet, "open(...)", CACHED_OPENED);
        watch = puppet_expect(cached->puppet, "watch(3, true)");
        cached_expect_asked(cached, BY_ID, "7", CACHED_ANNA_ROW); /* not watched yet, so not remembered */
        puppet_answer(cached->puppet, watch, "nil");
        gram_process(cached->client);
        cached_expect_asked(cached, BY_ID, "7", CACHED_ANNA_ROW);
        cached_expect_hit(cached, BY_ID, "7", CACHED_ANNA);
        cached_end(cached);
}
END_TEST

START_TEST(ends_with_the_watch)
{
        struct cached *cached = cached_new(0);

        cached_expect_asked(cached, BY_ID, "7", CACHED_ANNA_ROW);
        ck_assert_int_eq(gram_async_watch(cached->session, false, cached_replied, cached), 0);
        puppet_does(cached->puppet, "watch(3, false)", "nil");
        cached_done(cached);
        cached_expect_asked(cached, BY_ID, "7", CACHED_ANNA_ROW);
        cached_expect_asked(cached, BY_ID, "7", CACHED_ANNA_ROW);
        cached_end(cached);
}
END_TEST

int main(void)
{
        return test_program(
                "client-lib/cache_changes",
                (const TTest *const[]){ forgets_what_others_change,
                                        does_not_remember_an_answer_that_a_change_overtook,
                                        forgets_what_it_changes_itself, a_repeated_row_may_win_the_name,
                                        does_not_remember_an_answer_from_before_its_own_write,
                                        starts_empty_after_a_reconnection, ends_with_the_watch, NULL });
}
