/*
 * The key-value area beside others who write into its collection by hand: a damaged value is named, is in
 * nobody's way, and can be replaced and deleted. What is no document of gramd's is not seen.
 */
#include <stdlib.h>
#include <string.h>

#include "../support/command.h"
#include "../support/mongo_layouts.h"
#include "../support/repeater.h"
#include "../support/wire.h"

#define VALUES "[['a', h'01'], ['k', h'02'], ['z', h'03']]"

/* Runs Python with the collection `kv`, the `_id` of a key, and what the session's documents have. */
static void plant(const struct mongo_server *server, const char *session, const char *script)
{
        TEST_FREED char *whole =
                test_format("import datetime\n"
                            "c, f = document(names[0])\n"
                            "kv = c.database['gramd_kv']\n"
                            "own = f['_id'] == 0\n"
                            "all = {} if own else {'session': names[0]}\n"
                            "def raw(text): return text if own else names[0] + '/' + text\n"
                            "def key(name): return raw(name.encode().hex())\n"
                            "def put(name, **fields):\n"
                            "    kv.update_one({'_id': key(name)}, {'$set': fields})\n"
                            "def add(id, **fields): kv.insert_one({'_id': id} | all | fields)\n"
                            "%s\n",
                            script);

        free(mongo_python(server, whole, session, NULL));
}

static void expect_named(struct wire *c, const char *why)
{
        TEST_FREED char *text = test_format("the value of its key \\'k\\' %s", why);

        ck_assert_msg(strstr(wire_error_message(c), text), "%s", wire_error_message(c));
}

static void expect_damaged(struct wire *c, int s)
{
        expect(c, "[h'01', nil, h'03']", "kv_get(%d, ['a', 'none', 'z'])", s);
        expect(c, "!corrupt", "kv_get(%d, ['k'])", s);
        expect_named(c, "is damaged");
        expect(c, "[['a', h'01']]", "kv_scan(%d, '', nil, 10)", s);
        expect(c, "!corrupt", "kv_scan(%d, '', 'a', 10)", s);
        expect_named(c, "is damaged");
        expect(c, "[['z', h'03']]", "kv_scan(%d, '', 'k', 10)", s);
        expect(c, "!corrupt", "kv_swap(%d, 'k', nil, h'04')", s);
        expect_named(c, "is damaged");
        expect(c, "{...}", "info(%d)", s);
}

LAYOUT_TEST(a_damaged_value_is_named_and_can_be_replaced_and_deleted)
{
        static const char *const changes[] = {
                "put('k', value='text')",
                "put('k', value=5, size='many')",
                "put('k', value=bytes(65537), size=-7)",
                "put('k', value=bytes(4000000))",
                "kv.update_one({'_id': key('k')}, {'$unset': {'value': ''}})",
                "put('k', value=None, gone=None)",
        };
        DAEMON d = LAYOUT_HOST(server->uri, "10");
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'%s', {}", session);

        for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
                expect(c, "nil", "kv_set(%d, " VALUES ")", s);
                plant(server, session, changes[i]);
                expect_damaged(c, s);
                expect(c, "nil", "kv_set(%d, [['k', h'04']])", s);
                expect(c, "[h'04']", "kv_get(%d, ['k'])", s);
                plant(server, session, changes[i]);
                expect(c, "nil", "kv_set(%d, [['k', nil]])", s);
                expect(c, "[['a', h'01'], ['z', h'03']]", "kv_scan(%d, '', nil, 10)", s);
                expect(c, "[true, h'05']", "kv_swap(%d, 'k', nil, h'05')", s);
        }
}

/* Nor do sizes and times that gramd has not written stop anything. */
LAYOUT_TEST(what_is_no_document_of_gramd_is_not_seen)
{
        DAEMON d = LAYOUT_HOST(server->uri, "10");
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'%s', {}", session);

        expect(c, "nil", "kv_set(%d, " VALUES ")", s);
        plant(server, session,
              "for id in '6', 'ff', 'c3', '6B', 'zz', '61' * 256: add(raw(id), value=b'x', size=2)\n"
              "if own: add(5, value=b'x', size=2); add(b'ab', value=b'x')\n"
              "else: add('other/6b', value=b'x'); add('6b', value=b'x'); add(5, value=b'x')\n"
              "for i in range(4): add(key(f'size{i}'), size=2**62, gone=0)\n"
              "put('a', size=2**62, expires='never', swaps=b'x' * 23)\n"
              "put('k', size=2**62, expires=1e300, swaps='text', gramd_fence='text')\n"
              "put('z', size=-2**62, expires=datetime.datetime.now())\n");
        for (int i = 0; i < 2; i++) {
                expect(c, "[['a', h'01'], ['k', h'02'], ['z', h'03']]", "kv_scan(%d, '', nil, 10)", s);
                expect(c, "[['k', h'02']]", "kv_scan(%d, 'k', nil, 10)", s);
                expect(c, "{...}", "info(%d)", s);
                expect(c, "nil", "close(%d)", s);
                s = wire_open(c, "'%s', {}", session);
        }
        expect(c, "[true, h'02']", "kv_swap(%d, 'k', h'02', h'02')", s);
        expect(c, "nil", "kv_set(%d, [['a', h'04'], ['z', nil], ['x', h'05', 60]])", s);
        expect(c, "[['a', h'04'], ['k', h'02'], ['x', h'05']]", "kv_scan(%d, '', nil, 10)", s);
        expect(c, "nil", "delete(%d, {remove_peers: false})", s);
}

LAYOUT_TEST(an_expiry_of_any_number_takes_effect)
{
        DAEMON d = LAYOUT_HOST(server->uri, "10");
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'%s', {}", session);

        expect(c, "nil", "kv_set(%d, " VALUES ")", s);
        plant(server, session, "put('a', expires=-2**63); put('k', expires=1.5); put('z', expires=2.0**60)");
        expect(c, "nil", "close(%d)", s);
        s = wire_open(c, "'%s', {}", session);
        wire_call(c, "kv_scan(%d, '', nil, 10)", s); /* it may only learn of the times */
        expect(c, "[['z', h'03']]", "kv_scan(%d, '', nil, 10)", s);
}

/* No daemon has such a fence: nobody could ever take a higher one. */
LAYOUT_TEST(a_fence_that_nobody_can_have_stops_its_document_alone)
{
        DAEMON d = LAYOUT_HOST(server->uri, "10");
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'%s', {}", session);

        expect(c, "nil", "kv_set(%d, " VALUES ")", s);
        for (int i = 0; i < 2; i++) {
                plant(server, session, i ? "put('k', gramd_fence=2**62)" : "put('k', gramd_fence=2**63 - 1)");
                expect(c, "!corrupt", "kv_set(%d, [['k', h'04']])", s);
                ck_assert_msg(strstr(wire_error_message(c), "gramd_fence"), "%s", wire_error_message(c));
                expect(c, "[h'02']", "kv_get(%d, ['k'])", s);
                expect(c, "nil", "kv_set(%d, [['a', h'01'], ['z', h'03']])", s);
                expect(c, "nil", "close(%d)", s);
                s = wire_open(c, "'%s', {}", session);
                expect(c, "nil", "update_peers(%d, [[7, 70, 'user', 'anna', nil]])", s);
        }
        plant(server, session, "put('k', gramd_fence=0)");
        expect(c, "nil", "kv_set(%d, [['k', h'04']])", s);
        expect(c, "[h'04']", "kv_get(%d, ['k'])", s);
}

/* Whatever is in the way: nothing is left in the clear in a session that says that it is sealed. */
LAYOUT_TEST(what_cannot_be_sealed_stops_the_sealing)
{
        TEST_FREED char *out = command("\"$BUILD/gramctl\" key new key");
        TEST_FREED char *path = realpath("key", NULL);
        TEST_FREED char *config = test_format("[encryption]\nkey-file = %s\n", path);
        DAEMON d = LAYOUT_HOST(server->uri, "10");
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'%s', {}", session);

        plant(server, session, "for i in range(60): add(key(f'k{i}'), value='text', size=4)");
        expect(c, "nil", "kv_set(%d, " VALUES ")", s);
        daemon_reload(d, config);
        expect(c, "!corrupt", "seal(%d)", s);
        ck_assert_msg(strstr(wire_error_message(c), "is damaged"), "%s", wire_error_message(c));
        expect(c, "[h'01', h'02', h'03']", "kv_get(%d, ['a', 'k', 'z'])", s);
        expect(c, "nil", "close(%d)", s);
        await_closed(c);
        s = wire_open(c, "'%s', {}", session);
        ck_assert_int_eq(daemon_log_lines(d, "warning session"), 0); /* anybody could fill the log with it */
        expect(c, "[h'01', h'02', h'03']", "kv_get(%d, ['a', 'k', 'z'])", s);
        plant(server, session, "kv.delete_many(all | {'value': 'text'}); add(raw('6B'), value=b'x', size=2)");
        expect(c, "!corrupt", "seal(%d)", s);
        ck_assert_msg(strstr(wire_error_message(c), "6B"), "%s", wire_error_message(c));
        plant(server, session, "kv.delete_one({'_id': raw('6B')})");
        expect(c, "nil", "seal(%d)", s);
        plant(server, session,
              "assert kv.count_documents(all | {'value': {'$exists': True}}) == 0\n"
              "assert kv.count_documents(all | {'sealed': {'$exists': True}}) == 3\n"
              "put('k', sealed_by='\\x1b[31mnot one\\x1b[0m')");
        expect(c, "[h'01', h'02', h'03']", "kv_get(%d, ['a', 'k', 'z'])", s);
        ck_assert_ptr_null(strstr(wire_call(c, "info(%d)", s), "not one"));
        test_remove("key");
}

int main(void)
{
        const TTest *const tests[] = {
                a_damaged_value_is_named_and_can_be_replaced_and_deleted,
                what_is_no_document_of_gramd_is_not_seen,
                an_expiry_of_any_number_takes_effect,
                a_fence_that_nobody_can_have_stops_its_document_alone,
                what_cannot_be_sealed_stops_the_sealing,
                NULL,
        };

        return test_program_repeated("kv_planted", tests, LAYOUT_RUNS);
}
