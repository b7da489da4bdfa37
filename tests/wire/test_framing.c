/*
 * Framing: messages that arrive in pieces, every kind of violation, and sizes that promise more than what
 * follows. A violation gets one answer, then the daemon closes the connection. Other connections are not
 * affected.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "../support/program.h"
#include "../support/wire.h"

#define PING "a4 70 69 6e 67 "

struct violation {
        const char *what;
        const char *hex;
        const char *answer; /* id and code */
};

static const struct violation not_this_shape[] = {
        { "a byte that MessagePack never uses", "c1", "0: !bad_request" },
        { "nil", "c0", "0: !bad_request" },
        { "a number", "07", "0: !bad_request" },
        { "a string", "a1 61", "0: !bad_request" },
        { "a map", "80", "0: !bad_request" },
        { "HTTP", "47 45 54 20 2f 20 48 54 54 50", "0: !bad_request" },
        { "an empty array", "90", "0: !bad_request" },
        { "an array of one", "91 00", "0: !bad_request" },
        { "an array of two", "92 00 01", "1: !bad_request" },
        { "a request of three", "93 00 05 " PING, "5: !bad_request" },
        { "a request of five", "95 00 05 " PING "91 01 c0", "5: !bad_request" },
        { "an unknown kind", "94 03 05 " PING "91 01", "0: !bad_request" },
        { "a kind that is no number", "94 a1 30 05 " PING "91 01", "0: !bad_request" },
        { "a negative id", "94 00 ff " PING "91 01", "0: !bad_request" },
        { "an id of 33 bits", "94 00 cf 00 00 00 01 00 00 00 00 " PING "91 01", "0: !bad_request" },
        { "an id that is a string", "94 00 a1 35 " PING "91 01", "0: !bad_request" },
        { "an id that is 1.5", "94 00 cb 3f f8 00 00 00 00 00 00 " PING "91 01", "0: !bad_request" },
        { "a method that is a number", "94 00 05 07 91 01", "5: !bad_request" },
        { "a method that is nil", "94 00 05 c0 91 01", "5: !bad_request" },
        { "parameters that are nil", "94 00 05 " PING "c0", "5: !bad_request" },
        { "parameters that are a map", "94 00 05 " PING "81 01 02", "5: !bad_request" },
        { "parameters that are a string", "94 00 cd 01 00 " PING "a1 61", "256: !bad_request" },
        { "a response", "94 01 05 c0 c0", "0: !bad_request" },
        { "a notification of two", "92 02 " PING, "0: !bad_request" },
        { "a notification of four", "94 02 " PING "91 01 c0", "0: !bad_request" },
        { "a notification whose parameters are nil", "93 02 " PING "c0", "0: !bad_request" },
        { "the unused byte among parameters", "94 00 07 " PING "91 c1", "7: !bad_request" },
        { "the unused byte as the method", "94 00 07 c1", "7: !bad_request" },
        { "the unused byte as the id", "94 00 c1", "0: !bad_request" },
};

static const struct violation too_large[] = {
        { "an array of 2^32-1", "dd ff ff ff ff", "0: !too_large" },
        { "a map of 2^32-1", "df ff ff ff ff", "0: !bad_request" },
        { "a parameter array of 2^32-1", "94 00 09 " PING "dd ff ff ff ff", "9: !too_large" },
        { "an array of 2^32-1 among parameters", "94 00 09 " PING "91 dd ff ff ff ff", "9: !too_large" },
        { "a map of 2^32-1 among parameters", "94 00 09 " PING "91 df ff ff ff ff", "9: !too_large" },
        { "a string of 2^32-1", "94 00 09 " PING "91 db ff ff ff ff", "9: !too_large" },
        { "a bin of 2^32-1", "94 00 09 " PING "91 c6 ff ff ff ff", "9: !too_large" },
        { "an ext of 2^32-1", "94 00 09 " PING "91 c9 ff ff ff ff 01", "9: !too_large" },
        { "claims that fit one by one and not together", "94 00 09 " PING "91 dd 00 30 00 00 dd 00 30 00 00",
          "9: !too_large" },
        { "a bin of 5 MiB", "94 00 09 " PING "91 c6 00 50 00 00", "9: !too_large" },
        { "a method's name of 2^32-1", "94 00 09 db ff ff ff ff", "9: !too_large" },
        { "a kind of 2^32-1 bytes", "94 db ff ff ff ff", "0: !too_large" },
};

static const struct violation too_deep[] = {
        { "a list of lists without end", "94 00 09 " PING "91 91 91 91 91 91 91 91 91 91 91 91 91",
          "9: !too_large" },
        { "maps in maps", "94 00 09 " PING "91 81 81 81 81 81 81 81 81 81 81 81 81", "9: !too_large" },
        { "lists before anything else", "91 91 91 91 91 91 91 91 91 91 91 91 91 91 91 91 91",
          "0: !too_large" },
};

static void check_violations(struct daemon *d, const struct violation *rows, size_t n)
{
        CLIENT bystander = wire_connect(d);

        for (size_t i = 0; i < n; i++) {
                CLIENT c = wire_connect(d);
                const char *text;

                wire_hex(c, rows[i].hex);
                text = wire_next(c);
                ck_assert_msg(text != NULL, "%s: closed without an answer", rows[i].what);
                expect_text(text, rows[i].answer);
                ck_assert_msg(strlen(wire_error_message(c)) > 2, "%s: an empty message", rows[i].what);
                wire_expect_closed(c);
                expect(bystander, "'here'", "ping('here')");
        }
}

START_TEST(violations_are_answered_and_end_the_connection)
{
        DAEMON d = daemon_start();

        check_violations(d, not_this_shape, sizeof(not_this_shape) / sizeof(not_this_shape[0]));
}
END_TEST

START_TEST(claims_beyond_the_limit_are_refused_at_once)
{
        DAEMON d = daemon_start();
        long before;

        check_violations(d, too_large, 1);
        before = daemon_peak_rss_kb(d);
        for (int i = 0; i < 5; i++)
                check_violations(d, too_large, sizeof(too_large) / sizeof(too_large[0]));
        ck_assert_int_lt(daemon_peak_rss_kb(d) - before, 4096L * test_memory_factor());
}
END_TEST

START_TEST(depth_is_limited)
{
        DAEMON d = daemon_start();

        check_violations(d, too_deep, sizeof(too_deep) / sizeof(too_deep[0]));
}
END_TEST

/* The message's own array is the first level, its parameters the second. */
START_TEST(depth_up_to_the_limit_is_served)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        const char *hello = wire_call(c, "hello({client: 'deep'})");

        ck_assert_int_eq(wire_number(hello, "max_depth"), 8);
        expect(c, "[[[[[[7]]]]]]", "ping([[[[[[7]]]]]])");
        expect(c, "{a: {a: {a: {a: {a: {a: 7}}}}}}", "ping({a: {a: {a: {a: {a: {a: 7}}}}}})");
        wire_send(c, "ping([[[[[[[7]]]]]]])");
        expect_text(wire_next(c), "4: !too_large");
        wire_expect_closed(c);
}
END_TEST

/* A ping whose whole message is `len` bytes long. */
static uint8_t *ping_of(size_t len)
{
        static const uint8_t head[] = { 0x94, 0, 9, 0xa4, 'p', 'i', 'n', 'g', 0x91, 0xc6 };
        uint8_t *message = calloc(1, len);
        size_t body = len - sizeof(head) - 4;

        memcpy(message, head, sizeof(head));
        for (size_t i = 0; i < 4; i++)
                message[sizeof(head) + i] = (uint8_t)(body >> (24 - 8 * i));
        return message;
}

START_TEST(a_message_of_exactly_the_limit_is_served_and_one_byte_more_is_not)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        size_t limit = (size_t)wire_number(wire_call(c, "hello({client: 'large'})"), "max_message");
        uint8_t *message = ping_of(limit);
        const char *answer;

        ck_assert_uint_eq(limit, 4u << 20);
        wire_raw(c, message, limit);
        answer = wire_answer(c, 9);
        ck_assert_uint_eq(strlen(answer), (limit - 14) * 2 + 3);
        free(message);
        message = ping_of(limit + 1);
        wire_raw(c, message, limit + 1);
        expect_text(wire_next(c), "9: !too_large");
        wire_expect_closed(c);
        free(message);
}
END_TEST

/* An answer on another connection proves that the daemon has read the first part. */
START_TEST(a_message_may_be_cut_anywhere)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        CLIENT other = wire_connect(d);
        size_t len;
        uint8_t *bytes =
                wire_pack(77, &len, "ping(['text', h'0102', {key: [1, -2, 70000, 1.5]}, nil, 'x'*40])");

        for (size_t cut = 1; cut < len; cut++) {
                wire_raw(c, bytes, cut);
                expect(other, "0", "ping(0)");
                wire_raw(c, bytes + cut, len - cut);
                expect_text(wire_answer(c, 77), "['text', h'0102', {key: [1, -2, 70000, 1.5]}, nil, ...]");
        }
        for (size_t i = 0; i < len; i++) {
                wire_raw(c, bytes + i, 1);
                expect(other, "0", "ping(0)");
        }
        expect_text(wire_answer(c, 77), "['text', ...]");
        free(bytes);
}
END_TEST

START_TEST(a_violation_may_be_cut_anywhere)
{
        DAEMON d = daemon_start();
        CLIENT other = wire_connect(d);
        static const uint8_t bytes[] = { 0x94, 0, 7, 0xa4, 'p', 'i', 'n', 'g', 0x91, 0xc1 };

        for (size_t cut = 1; cut < sizeof(bytes); cut++) {
                CLIENT c = wire_connect(d);

                wire_raw(c, bytes, cut);
                expect(other, "0", "ping(0)");
                wire_raw(c, bytes + cut, sizeof(bytes) - cut);
                expect_text(wire_next(c), "7: !bad_request");
                wire_expect_closed(c);
        }
}
END_TEST

START_TEST(requests_may_be_pipelined)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        enum { N = 200 };

        for (uint32_t i = 0; i < N; i++)
                wire_send(c, "ping(%u)", i * 3);
        for (uint32_t i = N; i > 0; i--) {
                TEST_FREED char *expected = test_format("%u", (i - 1) * 3);

                expect_text(wire_answer(c, i), expected);
        }
}
END_TEST

/* Whole messages before the violation are executed and answered. */
START_TEST(requests_before_a_violation_are_answered)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);

        wire_hex(c, "94 00 01 " PING "91 0b 94 00 02 " PING "91 0c c1");
        expect_text(wire_next(c), "1: 11");
        expect_text(wire_next(c), "2: 12");
        expect_text(wire_next(c), "0: !bad_request");
        wire_expect_closed(c);
}
END_TEST

START_TEST(ids_are_any_32_bits)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        static const uint32_t ids[] = { 0, 1, 127, 128, 255, 256, 65535, 65536, 2147483648u, 4294967295u };

        for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
                size_t len;
                uint8_t *bytes = wire_pack(ids[i], &len, "ping('x')");

                wire_raw(c, bytes, len);
                expect_text(wire_answer(c, ids[i]), "'x'");
                free(bytes);
        }
}
END_TEST

START_TEST(any_encoding_of_a_value_is_read)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        static const char *const pings[] = {
                "94 00 05 " PING "91 01",                                     /* the shortest */
                "94 00 05 c4 04 70 69 6e 67 91 01",                           /* the method as bin 8 */
                "94 00 05 c5 00 04 70 69 6e 67 91 01",                        /* bin 16 */
                "94 00 05 d9 04 70 69 6e 67 91 01",                           /* str 8 */
                "94 00 05 da 00 04 70 69 6e 67 91 01",                        /* str 16 */
                "94 00 05 db 00 00 00 04 70 69 6e 67 91 01",                  /* str 32 */
                "dc 00 04 00 05 " PING "91 01",                               /* array 16 */
                "dd 00 00 00 04 00 05 " PING "91 01",                         /* array 32 */
                "94 cc 00 cc 05 " PING "dc 00 01 cc 01",                      /* uint 8 */
                "94 cd 00 00 cd 00 05 " PING "dd 00 00 00 01 cd 00 01",       /* uint 16 */
                "94 ce 00 00 00 00 ce 00 00 00 05 " PING "91 ce 00 00 00 01", /* uint 32 */
                "94 cf 00 00 00 00 00 00 00 00 cf 00 00 00 00 00 00 00 05 " PING
                "91 cf 00 00 00 00 00 00 00 01",
                "94 d0 00 d0 05 " PING "91 d0 01", /* int 8 */
                "94 d3 00 00 00 00 00 00 00 00 d3 00 00 00 00 00 00 00 05 " PING
                "91 d3 00 00 00 00 00 00 00 01",
        };

        for (size_t i = 0; i < sizeof(pings) / sizeof(pings[0]); i++) {
                wire_hex(c, pings[i]);
                expect_text(wire_next(c), "5: 1");
        }
}
END_TEST

START_TEST(wide_numbers_are_read_in_fields_rows_and_handles)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'wide', {}");
        TEST_FREED char *handle = test_format("d3 00 00 00 00 00 00 00 %02x ", s);
        /* set(s, {dc_id: 4}) with map 16, str 8 and uint 64 */
        TEST_FREED char *set = test_format("94 00 05 a3 73 65 74 92 %s de 00 01 d9 05 64 63 5f 69 64 "
                                           "cf 00 00 00 00 00 00 00 04",
                                           handle);
        /* update_peers(s, [[7, 9, 'user', nil, nil]]) */
        TEST_FREED char *peers =
                test_format("94 00 05 ac 75 70 64 61 74 65 5f 70 65 65 72 73 92 %s "
                            "dd 00 00 00 01 dc 00 05 d2 00 00 00 07 cf 00 00 00 00 00 00 00 09 "
                            "da 00 04 75 73 65 72 c0 c0",
                            handle);

        wire_hex(c, set);
        expect_text(wire_next(c), "5: nil");
        wire_hex(c, peers);
        expect_text(wire_next(c), "5: nil");
        expect(c, "[4]", "get(%d, ['dc_id'])", s);
        expect(c, "[7, 9, 'user', nil, nil, ...]", "get_peer_by_id(%d, 7)", s);
}
END_TEST

START_TEST(notifications_are_executed_without_an_answer)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'told', {}");

        wire_tell(c, "set(%d, {dc_id: 4})", s);
        wire_tell(c, "update_peers(%d, [[7, 9, 'user', nil, nil]])", s);
        wire_tell(c, "set(%d, {dc_id: 'wrong'})", s);
        wire_tell(c, "no_such_method()");
        wire_tell(c, "ping(1)");
        expect_text(wire_answer(c, wire_send(c, "get(%d, ['dc_id'])", s)), "[4]");
        expect(c, "[7, 9, ...]", "get_peer_by_id(%d, 7)", s);
        wire_not_told(c);
        /* Only the expected answers have come. */
        wire_send(c, "ping('last')");
        expect_text(wire_next(c), "...: 'last'");
}
END_TEST

START_TEST(wrong_requests_leave_the_connection_open)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);

        expect(c, "!unknown_method", "no_such_method()");
        ck_assert_ptr_nonnull(strstr(wire_error_message(c), "no_such_method"));
        expect(c, "!unknown_method", "Ping(1)");
        expect(c, "!unknown_method", "(1)");
        expect(c, "!unknown_method", "%s(1)",
               "a_very_long_name_of_a_method_that_nobody_has_ever_thought_of_using_anywhere");
        expect(c, "!bad_request", "ping()");
        expect(c, "!bad_request", "ping(1, 2)");
        expect(c, "!bad_request", "hello(1)");
        expect(c, "!bad_request", "hello({client: 1})");
        wire_hex(c, "94 00 05 a4 ff fe fd fc 91 01"); /* a method's name that is not UTF-8 */
        expect_text(wire_next(c), "5: !unknown_method");
        expect(c, "1", "ping(1)");
}
END_TEST

START_TEST(text_must_be_utf8)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'text', {}");
        static const char *const wrong[] = {
                "\\xff",           "\\xc3", "a\\x80", "\\xc0\\xaf", "\\xed\\xa0\\x80", "\\xf4\\x90\\x80\\x80",
                "\\xe0\\x80\\xaf",
        };

        for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
                expect(c, "!bad_request", "open('%s', {})", wrong[i]);
                expect(c, "!bad_request", "update_peers(%d, [[7, 9, 'user', '%s', nil]])", s, wrong[i]);
                expect(c, "!bad_request", "get_peer_by_username(%d, '%s')", s, wrong[i]);
                expect(c, "!bad_request", "hello({client: '%s'})", wrong[i]);
        }
        expect(c, "!not_found", "get_peer_by_id(%d, 7)", s);
        expect(c, "!bad_request", "get_peer_by_username(%d, h'6162')", s);
        expect(c, "!bad_request", "open(h'6162', {})");
}
END_TEST

START_TEST(clients_that_vanish_do_not_affect_others)
{
        DAEMON d = daemon_start();
        CLIENT other = wire_connect(d);
        struct linger abrupt = { .l_onoff = 1 };
        size_t len;
        uint8_t *bytes = wire_pack(1, &len, "open('gone', {})");

        for (size_t cut = 0; cut <= len; cut++) {
                struct wire *c = wire_connect(d);

                wire_raw(c, bytes, cut);
                setsockopt(wire_fd(c), SOL_SOCKET, SO_LINGER, &abrupt, sizeof(abrupt));
                wire_end(&c);
                expect(other, "0", "ping(0)");
        }
        for (int i = 0; i < 50; i++) {
                struct wire *c = wire_connect(d);

                for (int j = 0; j < 20; j++)
                        wire_send(c, "ping('x'*5000)");
                wire_end(&c);
        }
        expect(other, "0", "ping(0)");
        free(bytes);
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                violations_are_answered_and_end_the_connection,
                claims_beyond_the_limit_are_refused_at_once,
                depth_is_limited,
                depth_up_to_the_limit_is_served,
                a_message_of_exactly_the_limit_is_served_and_one_byte_more_is_not,
                a_message_may_be_cut_anywhere,
                a_violation_may_be_cut_anywhere,
                requests_may_be_pipelined,
                requests_before_a_violation_are_answered,
                ids_are_any_32_bits,
                any_encoding_of_a_value_is_read,
                wide_numbers_are_read_in_fields_rows_and_handles,
                notifications_are_executed_without_an_answer,
                wrong_requests_leave_the_connection_open,
                text_must_be_utf8,
                clients_that_vanish_do_not_affect_others,
                NULL,
        };

        return test_program("framing", tests);
}
