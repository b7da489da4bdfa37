/*
 * Key-value areas in files that somebody has changed by hand: a damaged value is named, is in nobody's way,
 * and can be replaced and deleted; so can one that cannot be opened. What is no row of gramd's is not seen.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/command.h"
#include "../support/program.h"
#include "../support/repeater.h"
#include "../support/session_file.h"
#include "../support/wire.h"

#define CLOSES "idle-close = 0\n"
#define VALUES "[['a', h'01'], ['k', h'02'], ['z', h'03']]"

/* Closes the session, changes its file, and opens it again. */
static int plant(struct daemon *d, struct wire *c, int s, const char *change)
{
        TEST_FREED char *path = daemon_path(d, "anna");

        expect(c, "nil", "close(%d)", s);
        await_closed(c);
        sql(path, "%s", change);
        return wire_open(c, "'anna', {}");
}

static void expect_named(struct wire *c, const char *why)
{
        TEST_FREED char *text = test_format("the value of its key \\'k\\' %s", why);

        ck_assert_msg(strstr(wire_error_message(c), text), "%s", wire_error_message(c));
}

/* The value of `k` is refused with this code; those before and behind it are not. */
static void expect_refused(struct wire *c, int s, const char *code, const char *why)
{
        expect(c, "[h'01', nil, h'03']", "kv_get(%d, ['a', 'none', 'z'])", s);
        expect(c, code, "kv_get(%d, ['k'])", s);
        expect_named(c, why);
        expect(c, code, "kv_get(%d, ['a', 'k'])", s);
        expect(c, "[['a', h'01']]", "kv_scan(%d, '', nil, 10)", s);
        expect(c, "[['a', h'01']]", "kv_scan(%d, 'a', nil, 10)", s);
        expect(c, code, "kv_scan(%d, '', 'a', 10)", s);
        expect_named(c, why);
        expect(c, "[]", "kv_scan(%d, 'b', nil, 10)", s);
        expect(c, "[['z', h'03']]", "kv_scan(%d, '', 'k', 10)", s);
        expect(c, code, "kv_swap(%d, 'k', nil, h'04')", s);
        expect_named(c, why);
        expect(c, code, "kv_swap(%d, 'k', h'02', nil)", s);
        expect(c, "nil", "kv_set(%d, [['a', h'01']])", s);
        expect(c, "{...}", "info(%d)", s);
}

static void expect_deleted(struct wire *c, int s)
{
        expect(c, "nil", "kv_set(%d, [['k', nil]])", s);
        expect(c, "[['a', h'01'], ['z', h'03']]", "kv_scan(%d, '', nil, 10)", s);
        expect(c, "[true, h'05']", "kv_swap(%d, 'k', nil, h'05')", s);
}

START_TEST(a_damaged_value_is_named_and_can_be_replaced_and_deleted)
{
        static const char *const values[] = {
                "'text'", "5", "1.5", "zeroblob(65537)", "zeroblob(2000000)", "printf('%.2000000c', 'x')",
        };
        DAEMON d = daemon_start(.config = CLOSES "kv-max = 200K\n");
        CLIENT c = wire_connect(d);

        for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
                TEST_FREED char *change =
                        test_format("UPDATE gramd_kv SET value = %s WHERE key = x'6b'", values[i]);
                int s = wire_open(c, "'anna', {}");

                expect(c, "nil", "kv_set(%d, " VALUES ")", s);
                s = plant(d, c, s, change);
                expect_refused(c, s, "!corrupt", "is damaged");
                expect(c, "nil", "kv_set(%d, [['k', h'04']])", s);
                expect(c, "[h'04']", "kv_get(%d, ['k'])", s);
                s = plant(d, c, s, change);
                expect_deleted(c, s);
                expect(c, "nil", "delete(%d, {})", s);
        }
        ck_assert_int_gt(daemon_log_lines(d, "the value of its key 'k' is damaged"), 0);
}
END_TEST

/* Also times that are no times. */
START_TEST(what_is_no_row_of_gramd_is_not_seen)
{
        DAEMON d = daemon_start(.config = CLOSES "kv-max = 1K\n");
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");

        expect(c, "nil", "kv_set(%d, " VALUES ")", s);
        s = plant(d, c, s,
                  "INSERT INTO gramd_kv VALUES ('text', x'00', 1), (5, x'00', 1), (x'', x'00', 1),"
                  " (x'ff', x'00', 1), (zeroblob(256), x'00', 1), (x'62' || zeroblob(2000000), x'00', 1),"
                  " (printf('%.2000000c', 'x'), x'00', 1);"
                  "UPDATE gramd_kv SET expires = 1.5 WHERE key = x'61';"
                  "UPDATE gramd_kv SET expires = 'never' WHERE key = x'6b';"
                  "UPDATE gramd_kv SET expires = x'00' WHERE key = x'7a'");
        expect(c, "[['a', h'01'], ['k', h'02'], ['z', h'03']]", "kv_scan(%d, '', nil, 10)", s);
        expect(c, "[['a', h'01']]", "kv_scan(%d, 'a', nil, 10)", s);
        expect(c, "[['k', h'02'], ['z', h'03']]", "kv_scan(%d, '', 'a', 10)", s);
        expect(c, "[h'01', nil]", "kv_get(%d, ['a', 'text'])", s);
        expect(c, "nil", "kv_set(%d, [['text', h'04'*900]])", s);
        expect(c, "!too_large", "kv_set(%d, [['x', h'05'*900]])", s);
        expect(c, "[true, nil]", "kv_swap(%d, 'text', h'04'*900, nil)", s);
        expect(c, "nil", "kv_set(%d, [['x', h'05'*900, 60]])", s);
        expect(c, "{...}", "info(%d)", s);
        expect(c, "nil", "close(%d)", s);
        ck_assert_int_eq(daemon_log_lines(d, "expired values were not deleted"), 0);
}
END_TEST

/* ---- sealed ---- */

/* A new key file, and a configuration that names it; malloc'ed. */
static char *config_with_key(const char *name)
{
        TEST_FREED char *out = command("\"$BUILD/gramctl\" key new %s", name);
        TEST_FREED char *path = realpath(name, NULL);

        return test_format(CLOSES "[encryption]\nkey-file = %s\n", path);
}

/* The key is gone, and no other one is needed to delete. */
START_TEST(a_value_that_cannot_be_opened_can_be_deleted)
{
        TEST_FREED char *with_key = config_with_key("key");
        TEST_FREED char *with_other = config_with_key("other");
        const char *const configs[] = { with_other, CLOSES };
        DAEMON d = daemon_start(.config = with_key);
        CLIENT c = wire_connect(d);

        for (int i = 0; i < 2; i++) {
                int s;

                daemon_reload(d, with_key);
                s = wire_open(c, "'anna', {}");
                expect(c, "nil", "kv_set(%d, [['k', h'02']])", s);
                expect(c, "nil", "close(%d)", s);
                daemon_reload(d, configs[i]);
                s = wire_open(c, "'anna', {}");
                expect(c, "!storage", "kv_get(%d, ['k'])", s);
                expect_named(c, "is sealed with key");
                expect(c, "!storage", "kv_swap(%d, 'k', h'02', nil)", s);
                expect(c, "nil", "kv_set(%d, [['k', nil], ['none', nil]])", s);
                expect(c, "[]", "kv_scan(%d, '', nil, 10)", s);
                expect(c, i ? "!storage" : "nil", "kv_set(%d, [['k', h'02']])", s);
                expect(c, "nil", "delete(%d, {})", s);
        }
        test_remove("key");
        test_remove("other");
}
END_TEST

START_TEST(a_damaged_value_is_named_where_all_are_sealed_or_unsealed)
{
        static const char *const changes[] = {
                ("UPDATE gramd_kv SET value = (SELECT value FROM gramd_kv WHERE key = x'61') "
                 "WHERE key = x'6b'"),
                "UPDATE gramd_kv SET value = x'01' WHERE key = x'6b'",
                "UPDATE gramd_kv SET value = zeroblob(2000000) WHERE key = x'6b'",
                "UPDATE gramd_kv SET value = 'text' WHERE key = x'6b'",
        };
        static const char *const whys[] = { "was changed", "is not sealed", "is damaged", "is damaged" };
        TEST_FREED char *with_key = config_with_key("key");
        DAEMON d = daemon_start(.config = with_key);
        CLIENT c = wire_connect(d);

        for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
                int s = wire_open(c, "'anna', {}");

                expect(c, "nil", "kv_set(%d, " VALUES ")", s);
                s = plant(d, c, s, changes[i]);
                expect_refused(c, s, "!corrupt", whys[i]);
                expect(c, "!corrupt", "unseal(%d)", s);
                expect_named(c, whys[i]);
                expect_refused(c, s, "!corrupt", whys[i]);
                expect_deleted(c, s);
                expect(c, "nil", "unseal(%d)", s);
                expect(c, "nil", "kv_set(%d, " VALUES ")", s);
                if (i >= 2) {
                        s = plant(d, c, s, changes[i]);
                        expect(c, "!corrupt", "seal(%d)", s);
                        expect_named(c, whys[i]);
                        expect_deleted(c, s);
                        expect(c, "nil", "seal(%d)", s);
                        expect(c, "[h'01', h'05']", "kv_get(%d, ['a', 'k'])", s);
                }
                expect(c, "nil", "delete(%d, {})", s);
        }
        test_remove("key");
}
END_TEST

int main(void)
{
        return test_program("kv_damaged", (const TTest *const[]){
                                                  a_damaged_value_is_named_and_can_be_replaced_and_deleted,
                                                  what_is_no_row_of_gramd_is_not_seen,
                                                  a_value_that_cannot_be_opened_can_be_deleted,
                                                  a_damaged_value_is_named_where_all_are_sealed_or_unsealed,
                                                  NULL,
                                          });
}
