/*
 * The identity fields: get and set, all or nothing; which fields may be nil; what a new session of each
 * dialect reads; addresses that follow their data centre.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../support/program.h"
#include "../support/wire.h"

#define ALL                                                                                                  \
        "['dc_id', 'api_id', 'test_mode', 'auth_key', 'date', 'user_id', 'is_bot', 'server_address', "       \
        "'port', 'takeout_id']"

static const char *const dialects[] = { "pyrogram", "hydrogram", "electrogram", "pyrofork",
                                        "kurigram", "irenogram", "pyrotgfork",  "telethon" };
enum { N_DIALECTS = sizeof(dialects) / sizeof(dialects[0]) };

static bool has_address(const char *dialect)
{
        return strcmp(dialect, "kurigram") == 0 || strcmp(dialect, "irenogram") == 0 ||
               strcmp(dialect, "telethon") == 0;
}

START_TEST(a_new_session_reads_defaults)
{
        static const char *const backends[] = { "file", "memory" };
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);

        for (size_t i = 0; i < N_DIALECTS; i++)
                for (size_t b = 0; b < 2; b++) {
                        int s = wire_open(c, "'%s', {dialect: '%s', backend: '%s'}", dialects[i], dialects[i],
                                          backends[b]);

                        expect(c,
                               has_address(dialects[i])
                                       ? "[2, nil, nil, nil, 0, nil, nil, '149.154.167.51', 443, nil]"
                                       : "[2, nil, nil, nil, 0, nil, nil, nil, nil, nil]",
                               "get(%d, " ALL ")", s);
                }
}
END_TEST

START_TEST(what_is_set_is_read_also_after_a_restart)
{
        DAEMON d = daemon_start();
        struct wire *c = wire_connect(d);
        TEST_FREED char *key = test_format("%0512d", 7);
        TEST_FREED char *all = test_format("[5, 123456, true, h'%s', 1700000000, -77, false, '10.1.2.3', "
                                           "8443, 99]",
                                           key);

        for (size_t i = 0; i < N_DIALECTS; i++) {
                int s = wire_open(c, "'%s', {dialect: '%s'}", dialects[i], dialects[i]);

                expect(c, "nil",
                       "set(%d, {dc_id: 5, api_id: 123456, test_mode: true, auth_key: h'%s', "
                       "date: 1700000000, user_id: -77, is_bot: false, server_address: '10.1.2.3', "
                       "port: 8443, takeout_id: 99})",
                       s, key);
                expect(c, all, "get(%d, " ALL ")", s);
        }
        wire_end(&c);
        daemon_stop(d);
        daemon_resume(d);
        c = wire_connect(d);
        for (size_t i = 0; i < N_DIALECTS; i++)
                expect(c, all, "get(%d, " ALL ")", wire_open(c, "'%s', {create: false}", dialects[i]));
        wire_end(&c);
}
END_TEST

START_TEST(get_follows_the_order_asked_for)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");

        expect(c, "nil", "set(%d, {user_id: 7})", s);
        expect(c, "[]", "get(%d, [])", s);
        expect(c, "[7, 2, 7, 0]", "get(%d, ['user_id', 'dc_id', 'user_id', 'date'])", s);
        expect(c, "!bad_request", "get(%d, ['user_id', 'shoe_size'])", s);
        ck_assert_ptr_nonnull(strstr(wire_error_message(c), "shoe_size"));
        expect(c, "!bad_request", "get(%d, 'user_id')", s);
        expect(c, "!bad_request", "get(%d, [5])", s);
        expect(c, "!bad_request", "get(%d, nil)", s);
        expect(c, "!bad_request", "get(%d)", s);
        expect(c, "!bad_request", "get(%d, [], 1)", s);
}
END_TEST

static const struct {
        const char *fields;
        const char *named;
} wrong[] = {
        { "{dc_id: 256}", "dc_id" },
        { "{dc_id: -1}", "dc_id" },
        { "{dc_id: nil}", "dc_id" },
        { "{dc_id: '2'}", "dc_id" },
        { "{dc_id: true}", "dc_id" },
        { "{dc_id: 2.5}", "dc_id" },
        { "{date: nil}", "date" },
        { "{date: 'now'}", "date" },
        { "{api_id: 'x'}", "api_id" },
        { "{api_id: 18446744073709551615}", "api_id" },
        { "{api_id: 4294967296}", "api_id" },
        { "{api_id: -1}", "api_id" },
        { "{server_address: 'a\\x00b'}", "server_address" },
        { "{test_mode: 1}", "test_mode" },
        { "{test_mode: 'true'}", "test_mode" },
        { "{is_bot: 0}", "is_bot" },
        { "{auth_key: h'00'*255}", "auth_key" },
        { "{auth_key: h'00'*257}", "auth_key" },
        { "{auth_key: h'00'}", "auth_key" },
        { "{auth_key: 'k'*256}", "auth_key" },
        { "{auth_key: 5}", "auth_key" },
        { "{user_id: 'x'}", "user_id" },
        { "{user_id: 9223372036854775808}", "user_id" },
        { "{server_address: 5}", "server_address" },
        { "{server_address: h'31'}", "server_address" },
        { "{server_address: 'a'*256}", "server_address" },
        { "{server_address: '\\xff'}", "server_address" },
        { "{port: 65536}", "port" },
        { "{port: -1}", "port" },
        { "{port: '443'}", "port" },
        { "{takeout_id: 'x'}", "takeout_id" },
        { "{shoe_size: 44}", "shoe_size" },
        { "{5: 44}", "" },
        { "[5]", "" },
        { "nil", "" },
        { "5", "" },
};

START_TEST(wrong_values_are_refused_and_named)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");

        for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
                expect(c, "!bad_request or !too_large", "set(%d, %s)", s, wrong[i].fields);
                ck_assert_msg(strstr(wire_error_message(c), wrong[i].named) != NULL, "%s is not named in %s",
                              wrong[i].named, wire_error_message(c));
        }
        expect(c, "[2, nil, nil, nil, 0, nil, nil, nil, nil, nil]", "get(%d, " ALL ")", s);
}
END_TEST

/* A key is a password: an error about it must not show it. */
START_TEST(errors_do_not_show_keys)
{
        DAEMON d = daemon_start(.flags = { "--log-level", "debug" });
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");
        TEST_FREED char *log = NULL;

        expect(c, "!bad_request", "set(%d, {auth_key: h'5345435245544b4559'*20})", s);
        ck_assert_ptr_null(strstr(wire_error_message(c), "SECRETKEY"));
        ck_assert_ptr_null(strcasestr(wire_error_message(c), "5345435245"));
        expect(c, "!bad_request", "set(%d, {auth_key: 'SECRETKEY'})", s);
        ck_assert_ptr_null(strstr(wire_error_message(c), "SECRETKEY"));
        expect(c, "!bad_request", "import_string(%d, 'SECRETKEY'*40, {})", s);
        ck_assert_ptr_null(strstr(wire_error_message(c), "SECRETKEY"));
        expect(c, "nil", "set(%d, {auth_key: h'5345435245544b45'*32})", s);
        log = daemon_log(d);
        ck_assert_ptr_null(strstr(log, "SECRETKE"));
        ck_assert_ptr_null(strcasestr(log, "5345435245"));
}
END_TEST

START_TEST(set_is_all_or_nothing)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");

        expect(c, "nil", "set(%d, {dc_id: 4, user_id: 7})", s);
        expect(c, "!bad_request", "set(%d, {dc_id: 5, user_id: 8, port: 65536})", s);
        expect(c, "!bad_request", "set(%d, {dc_id: 5, shoe_size: 44})", s);
        expect(c, "!bad_request", "set(%d, {dc_id: nil, user_id: 8})", s);
        expect(c, "[4, 7]", "get(%d, ['dc_id', 'user_id'])", s);
        expect(c, "nil", "set(%d, {})", s);
        expect(c, "[4, 7]", "get(%d, ['dc_id', 'user_id'])", s);
}
END_TEST

START_TEST(all_fields_but_two_may_be_nil)
{
        static const char *const nilable[] = { "api_id", "test_mode",      "auth_key", "user_id",
                                               "is_bot", "server_address", "port",     "takeout_id" };
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);

        for (size_t i = 0; i < N_DIALECTS; i++) {
                int s = wire_open(c, "'%s', {dialect: '%s'}", dialects[i], dialects[i]);

                expect(c, "nil",
                       "set(%d, {api_id: 1, test_mode: false, auth_key: h'01'*256, user_id: 2, is_bot: true, "
                       "server_address: 'x', port: 3, takeout_id: 4})",
                       s);
                for (size_t j = 0; j < sizeof(nilable) / sizeof(nilable[0]); j++) {
                        expect(c, "nil", "set(%d, {%s: nil})", s, nilable[j]);
                        expect(c, "[nil]", "get(%d, ['%s'])", s, nilable[j]);
                }
        }
}
END_TEST

START_TEST(an_empty_key_is_nil)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");

        expect(c, "nil", "set(%d, {auth_key: h'aa'*256})", s);
        expect(c, "nil", "set(%d, {auth_key: h''})", s);
        expect(c, "[nil]", "get(%d, ['auth_key'])", s);
}
END_TEST

START_TEST(bounds_are_valid_values)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);

        for (size_t i = 0; i < N_DIALECTS; i++) {
                int s = wire_open(c, "'%s', {dialect: '%s'}", dialects[i], dialects[i]);

                expect(c, "nil", "set(%d, {server_address: 'x'*255, port: 65535})", s);
                expect(c, "nil", "set(%d, {dc_id: 255, api_id: 4294967295})", s);
                expect(c, "[4294967295]", "get(%d, ['api_id'])", s);
                expect(c, "[255, 65535]", "get(%d, ['dc_id', 'port'])", s);
                expect(c, "nil", "set(%d, {dc_id: 0, port: 0, user_id: 9223372036854775807})", s);
                expect(c, "[0, 0, 9223372036854775807]", "get(%d, ['dc_id', 'port', 'user_id'])", s);
                expect(c, "nil", "set(%d, {user_id: -9223372036854775808, server_address: ''})", s);
                expect(c, "[-9223372036854775808, '']", "get(%d, ['user_id', 'server_address'])", s);
        }
}
END_TEST

/* Steps in order: each starts from what the step before has left. */
static const struct {
        const char *set;
        const char *reads; /* dc_id, test_mode, server_address, port */
} follows[] = {
        { "{dc_id: 4}", "[4, nil, '149.154.167.91', 443]" },
        { "{dc_id: 1}", "[1, nil, '149.154.175.53', 443]" },
        { "{dc_id: 3}", "[3, nil, '149.154.175.100', 443]" },
        { "{dc_id: 5}", "[5, nil, '91.108.56.130', 443]" },
        { "{dc_id: 203}", "[203, nil, '91.105.192.100', 443]" },
        { "{dc_id: 2}", "[2, nil, '149.154.167.51', 443]" },
        { "{test_mode: true}", "[2, true, '149.154.167.40', 80]" },
        { "{dc_id: 1}", "[1, true, '149.154.175.10', 80]" },
        { "{dc_id: 3}", "[3, true, '149.154.175.117', 80]" },
        { "{test_mode: false}", "[3, false, '149.154.175.100', 443]" },
        { "{dc_id: 2, test_mode: true}", "[2, true, '149.154.167.40', 80]" },
        { "{dc_id: 4, test_mode: false}", "[4, false, '149.154.167.91', 443]" },
        /* not in the table: both become nil, and then follow again */
        { "{dc_id: 9}", "[9, false, nil, nil]" },
        { "{dc_id: 1}", "[1, false, '149.154.175.53', 443]" },
        { "{server_address: nil, port: nil}", "[1, false, nil, nil]" },
        { "{dc_id: 4}", "[4, false, '149.154.167.91', 443]" },
        /* set together: stored as given */
        { "{dc_id: 5, server_address: '10.0.0.1', port: 1234}", "[5, false, '10.0.0.1', 1234]" },
        /* an address of one's own stays */
        { "{dc_id: 1}", "[1, false, '10.0.0.1', 1234]" },
        { "{test_mode: true}", "[1, true, '10.0.0.1', 1234]" },
        { "{dc_id: 9}", "[9, true, '10.0.0.1', 1234]" },
        /* other fields do not change the address */
        { "{user_id: 7}", "[9, true, '10.0.0.1', 1234]" },
        { "{dc_id: 1, test_mode: false, server_address: '149.154.175.53', port: 443}",
          "[1, false, '149.154.175.53', 443]" },
        { "{dc_id: 2}", "[2, false, '149.154.167.51', 443]" },
};

START_TEST(addresses_follow_the_data_centre)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);

        for (size_t i = 0; i < N_DIALECTS; i++) {
                int s = wire_open(c, "'%s', {dialect: '%s'}", dialects[i], dialects[i]);

                for (size_t j = 0; has_address(dialects[i]) && j < sizeof(follows) / sizeof(follows[0]);
                     j++) {
                        expect(c, "nil", "set(%d, %s)", s, follows[j].set);
                        expect(c, follows[j].reads,
                               "get(%d, ['dc_id', 'test_mode', 'server_address', 'port'])", s);
                }
        }
}
END_TEST

START_TEST(without_columns_addresses_do_not_follow)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);

        for (size_t i = 0; i < N_DIALECTS; i++) {
                int s;

                if (has_address(dialects[i]))
                        continue;
                s = wire_open(c, "'%s', {dialect: '%s'}", dialects[i], dialects[i]);
                expect(c, "nil", "set(%d, {dc_id: 4})", s);
                expect(c, "[nil, nil]", "get(%d, ['server_address', 'port'])", s);
                expect(c, "nil", "set(%d, {server_address: '10.0.0.1', port: 99})", s);
                expect(c, "nil", "set(%d, {dc_id: 1})", s);
                expect(c, "['10.0.0.1', 99]", "get(%d, ['server_address', 'port'])", s);
        }
}
END_TEST

START_TEST(save_sets_the_date)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");
        long long before = (long long)time(NULL);
        long long date;

        expect(c, "[0]", "get(%d, ['date'])", s);
        expect(c, "nil", "save(%d)", s);
        date = strtoll(wire_call(c, "get(%d, ['date'])", s) + 1, NULL, 10);
        ck_assert_int_ge(date, before);
        ck_assert_int_le(date, (long long)time(NULL));
        expect(c, "!bad_request", "save(%d, 1)", s);
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                a_new_session_reads_defaults,
                what_is_set_is_read_also_after_a_restart,
                get_follows_the_order_asked_for,
                wrong_values_are_refused_and_named,
                errors_do_not_show_keys,
                set_is_all_or_nothing,
                all_fields_but_two_may_be_nil,
                an_empty_key_is_nil,
                bounds_are_valid_values,
                addresses_follow_the_data_centre,
                without_columns_addresses_do_not_follow,
                save_sets_the_date,
                NULL,
        };

        return test_program("fields", tests);
}
