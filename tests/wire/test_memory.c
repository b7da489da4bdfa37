/*
 * Memory sessions: shared while open, gone with the last handle or after `linger`; and the limit for all of
 * them together.
 */
#include <stdio.h>
#include <string.h>

#include "../support/program.h"
#include "../support/wire.h"

START_TEST(gone_with_the_last_handle)
{
        DAEMON d = daemon_start();
        CLIENT a = wire_connect(d);
        CLIENT b = wire_connect(d);
        int s = wire_open(a, "'anna', {backend: 'memory'}");
        int t = wire_open(b, "'anna', {backend: 'memory', create: false}");

        expect(a, "nil", "update_peers(%d, [[7, 70, 'user', 'anna', '1']])", s);
        expect(a, "nil", "update_states(%d, [[0, 1, 1, 1, 1]])", s);
        expect(a, "nil", "save(%d)", s);
        expect(b, "[7, 70, ...]", "get_peer_by_id(%d, 7)", t);
        expect(a, "nil", "close(%d)", s);
        expect(b, "[7, 70, ...]", "get_peer_by_username(%d, 'anna')", t);
        expect(b, "nil", "close(%d)", t);
        expect(a, "!not_found", "open('anna', {backend: 'memory', create: false})");
        expect(a, "...created: true...", "open('anna', {backend: 'memory'})");
        expect(a, "!not_found", "open('anna', {backend: 'file', create: false})");
}
END_TEST

START_TEST(memory_may_be_the_default)
{
        DAEMON d = daemon_start(.flags = { "--backend", "memory" });
        CLIENT c = wire_connect(d);

        expect(c, "{backend: 'memory', ...}", "open('anna', {})");
        expect(c, "...default_backend: 'memory'...", "hello({client: 'x'})");
        expect(c, "{backend: 'file', ...}", "open('bella', {backend: 'file'})");
}
END_TEST

START_TEST(kept_after_the_last_handle_while_it_lingers)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        struct wire *goes = wire_connect(d);
        int s = wire_open(goes, "'anna', {backend: 'memory', linger: 3600}");

        expect(goes, "nil", "set(%d, {dc_id: 4})", s);
        wire_end(&goes);
        s = wire_open(c, "'anna', {backend: 'memory', create: false}");
        expect(c, "[4]", "get(%d, ['dc_id'])", s);
        expect(c, "nil", "close(%d)", s);
        s = wire_open(c, "'anna', {backend: 'memory', create: false}");
        expect(c, "[4]", "get(%d, ['dc_id'])", s);
}
END_TEST

/* No event tells that it is gone: these two tests wait for time to pass, with a wide margin. */
START_TEST(gone_after_linger)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);

        expect(c, "nil", "close(%d)", wire_open(c, "'anna', {backend: 'memory', linger: 1}"));
        wire_open(c, "'bella', {backend: 'memory', linger: 1}");
        wire_readable(c, 4000);
        expect(c, "!not_found", "open('anna', {backend: 'memory', create: false})");
        expect(c, "...created: false...", "open('bella', {backend: 'memory', create: false})");
}
END_TEST

/* The daemon reads `open` and `close` at once, and never looks at the session while the handle is open. */
START_TEST(linger_starts_again_with_every_last_handle)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {backend: 'memory', linger: 1}");
        uint32_t closing;

        expect(c, "nil", "set(%d, {dc_id: 4})", s);
        expect(c, "nil", "close(%d)", s);
        daemon_freeze(d);
        wire_send(c, "open('anna', {backend: 'memory', linger: 3600})");
        closing = wire_send(c, "close(%d)", s + 1);
        daemon_thaw(d);
        expect_text(wire_answer(c, closing), "nil");
        wire_readable(c, 2000);
        s = wire_open(c, "'anna', {backend: 'memory', create: false}");
        expect(c, "[4]", "get(%d, ['dc_id'])", s);
}
END_TEST

/* Requests that wait at the same time share a transaction, but not another's refusal. */
START_TEST(a_refused_unseal_refuses_nothing_else)
{
        enum { PAIRS = 50 };
        DAEMON d = daemon_start(.config = "");
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {backend: 'memory'}");
        uint32_t refused[PAIRS], done[PAIRS];

        for (int i = 0; i < PAIRS; i++) {
                refused[i] = wire_send(c, "unseal(%d)", s);
                done[i] = wire_send(c, "update_peers(%d, [[%d, nil, 'user', nil, nil]])", s, i);
        }
        for (int i = 0; i < PAIRS; i++) {
                expect_text(wire_answer(c, refused[i]), "!bad_request");
                expect_text(wire_answer(c, done[i]), "nil");
        }
}
END_TEST

START_TEST(the_limit_is_for_all_sessions_together)
{
        DAEMON d = daemon_start(.config = "memory-max = 2M\n");
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'small', {backend: 'memory'}");
        int t = wire_open(c, "'large', {backend: 'memory'}");
        int n = 0;
        const char *answer;

        expect(c, "nil", "set(%d, {dc_id: 4})", s);
        do {
                answer = wire_call(c, "update_peers(%d, [[%d, 1, 'user', 'a%0200d', 'b%0200d']])", t, n + 1,
                                   n, n);
                ck_assert_int_lt(n, 20000);
        } while (strcmp(answer, "nil") == 0 && ++n);
        expect_text(answer, "!storage");
        ck_assert_int_gt(n, 100);
        /* all acknowledged writes are there, and other sessions still work */
        ck_assert_int_eq(wire_number(wire_call(c, "info(%d)", t), "peers"), n);
        expect(c, "[4]", "get(%d, ['dc_id'])", s);
        expect(c, "[1, ...]", "get_peer_by_id(%d, 1)", t);
        /* there is room again */
        expect(c, "nil", "delete(%d, {})", t);
        t = wire_open(c, "'large', {backend: 'memory'}");
        expect(c, "nil", "update_peers(%d, [[1, 1, 'user', 'a%0200d', 'b%0200d']])", t, 0, 0);
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                gone_with_the_last_handle,
                memory_may_be_the_default,
                kept_after_the_last_handle_while_it_lingers,
                gone_after_linger,
                linger_starts_again_with_every_last_handle,
                a_refused_unseal_refuses_nothing_else,
                the_limit_is_for_all_sessions_together,
                NULL,
        };

        return test_program("memory", tests);
}
