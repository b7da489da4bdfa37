/*
 * Audit lines, and how many lines a user may cause. Root is needed to connect as another user: the daemon
 * sees the credentials of the moment of connect(2).
 */

#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../daemon/base/rate.h"
#include "../support/program.h"
#include "../support/wire.h"

enum { GREEDY = 54321, OTHER = 54322 };

/* Expects the log to have the line `audit: …` so many times. */
#define expect_audit(daemon, times, ...) look_for(__LINE__, daemon, times, __VA_ARGS__)
static void look_for(int line, const struct daemon *d, int times, const char *format, ...)
        __attribute__((format(printf, 4, 5)));

static void look_for(int line, const struct daemon *d, int times, const char *format, ...)
{
        TEST_FREED char *text = NULL;
        va_list args;
        int n;

        va_start(args, format);
        ck_assert_int_ge(vasprintf(&text, format, args), 0);
        va_end(args);
        n = daemon_log_lines(d, text);
        if (n != times) {
                TEST_FREED char *log = daemon_log(d);

                ck_abort_msg("line %d: the log has %d times, not %d: %s\n%s", line, n, times, text, log);
        }
}

static void one_of_each(struct wire *c)
{
        const char *string;
        int s;

        wire_call(c, "hello({client: 'a \"bot\"'})");
        s = wire_open(c, "'anna', {}");
        expect(c, "nil", "set(%d, {dc_id: 4})", s);
        expect(c, "nil", "set(%d, {auth_key: h'07'*256, user_id: 1, api_id: 2, is_bot: true})", s);
        expect(c, "[4]", "get(%d, ['dc_id'])", s);
        expect(c, "[4, h'07...]", "get(%d, ['dc_id', 'auth_key'])", s);
        expect(c, "nil", "kv_set(%d, [['k', h'01']])", s);
        expect(c, "[h'01']", "kv_get(%d, ['k'])", s);
        expect(c, "[['k', h'01']]", "kv_scan(%d, '', nil, 10)", s);
        string = wire_call(c, "export_string(%d, 'pyrogram')", s);
        expect(c, "[...]", "import_string(%d, %s)", s, string);
        expect(c, "!bad_request", "import_string(%d, 'no string')", s);
        expect(c, "nil", "close(%d)", s);
        s = wire_open(c, "'anna', {}");
        expect(c, "nil", "delete(%d)", s);
        expect(c, "!not_found", "open('anna', {create: false})");
        expect(c, "nil", "drain(false)");
}

/* With such a rule the names of users are known before their first message. */
#define NAMES_ARE_KNOWN "[access]\neveryone = read on %u\n"

/* The field `user` of this program's user, or nothing if it has no name; malloc'ed. */
static char *own_name(const char *before, const char *after)
{
        const struct passwd *user = getpwuid(getuid());

        return user ? test_format("%s\"%s\"%s", before, user->pw_name, after) : strdup("");
}

START_TEST(each_action_has_a_line)
{
        static const char *const actions[] = { "create", "write_key", "read_key", "read_kv",
                                               "export", "import",    "open",     "delete" };
        DAEMON d = daemon_start(.config = "log-level = error\n" NAMES_ARE_KNOWN);
        TEST_FREED char *named = own_name(" user=", "");
        CLIENT c = wire_connect(d);
        CLIENT victim = wire_connect(d);

        one_of_each(c);
        wire_call(victim, "hello({client: 'victim'})");
        expect(c, "nil", "disconnect(2)");
        wire_expect_closed(victim);
        for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++)
                expect_audit(d, 1,
                             " info    audit: action=\"%s\" result=\"done\" uid=%u%s pid=%d client_id=1 "
                             "client=\"a \\\"bot\\\"\" session=\"anna\" backend=\"file\"\n",
                             actions[i], (unsigned)getuid(), named, (int)getpid());
        expect_audit(d, 1, "audit: action=\"drain\" result=\"done\" uid=%u", (unsigned)getuid());
        expect_audit(d, 1,
                     "audit: action=\"disconnect\" result=\"done\" uid=%u%s pid=%d client_id=1 "
                     "client=\"a \\\"bot\\\"\" target=\"client \\\"victim\\\" (id 2, pid %d, uid %u)\"\n",
                     (unsigned)getuid(), named, (int)getpid(), (int)getpid(), (unsigned)getuid());
        expect_audit(d, 10, " audit: ");
}
END_TEST

START_TEST(lines_in_json_have_a_key)
{
        DAEMON d = daemon_start(.config = NAMES_ARE_KNOWN, .flags = { "--log-json" });
        TEST_FREED char *named = own_name("\"user\":", ",");
        CLIENT c = wire_connect(d);

        one_of_each(c);
        expect_audit(d, 9, ",\"level\":\"info\",\"audit\":{\"action\":\"");
        expect_audit(
                d, 1,
                "\"audit\":{\"action\":\"read_key\",\"result\":\"done\",\"uid\":%u,%s\"pid\":%d,\"client_"
                "id\":1,"
                "\"client\":\"a \\\"bot\\\"\",\"session\":\"anna\",\"backend\":\"file\"}}\n",
                (unsigned)getuid(), named, (int)getpid());
}
END_TEST

/* A list of fields that is read on a worker. */
START_TEST(a_key_among_many_fields_has_a_line)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        TEST_FREED char *many = malloc(1100 * 16);
        char *at = many;
        int s = wire_open(c, "'anna', {}");

        for (int i = 0; i < 1100; i++)
                at += sprintf(at, "%s'dc_id'", i ? ", " : "");
        expect(c, "[2, ...]", "get(%d, [%s])", s, many);
        expect_audit(d, 0, "read_key");
        expect(c, "[2, ...]", "get(%d, [%s, 'auth_key'])", s, many);
        expect_audit(d, 1, "action=\"read_key\" result=\"done\"");
}
END_TEST

START_TEST(the_first_read_of_values_has_a_line)
{
        static const char line[] = "action=\"read_kv\" result=\"done\"";
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        CLIENT other = wire_connect(d);
        int s = wire_open(c, "'anna', {}"), again = wire_open(c, "'anna', {}");
        int theirs = wire_open(other, "'anna', {}");

        expect(c, "nil", "kv_set(%d, [['k', h'01']])", s);
        expect(c, "!bad_request", "kv_get(%d, [''])", s);
        expect_audit(d, 0, line);
        expect(c, "[false, h'01']", "kv_swap(%d, 'k', h'00', h'02')", s);
        expect_audit(d, 1, line);
        expect(c, "[h'01']", "kv_get(%d, ['k'])", again);
        expect(c, "nil", "close(%d)", s);
        expect(c, "[['k', h'01']]", "kv_scan(%d, '', nil, 10)", again);
        expect_audit(d, 1, line);
        expect(other, "[['k', h'01']]", "kv_scan(%d, '', nil, 10)", theirs);
        expect_audit(d, 2, line);
        expect(c, "nil", "close(%d)", again);
        expect(c, "[h'01']", "kv_get(%d, ['k'])", wire_open(c, "'anna', {}"));
        expect_audit(d, 3, line);
}
END_TEST

START_TEST(what_is_denied_has_a_line)
{
        if (!wire_has_strangers("audit lines of several users"))
                return;
        DAEMON d = daemon_start(.config = "[access]\nuser 54321 = read on pub\nuser 54322 = write\n");
        CLIENT own = wire_connect(d);
        CLIENT c = wire_connect_stranger(d, GREEDY, GREEDY);
        int s;

        expect(own, "nil", "close(%d)", wire_open(own, "'pub', {}"));
        wire_open(own, "'private', {}");
        expect(c, "!denied", "open('private', {})");
        expect(c, "!denied", "open('new', {})");
        s = wire_open(c, "'pub', {}");
        expect(c, "!denied", "get(%d, ['auth_key'])", s);
        expect(c, "!denied", "kv_get(%d, ['k'])", s);
        expect(c, "!denied", "export_string(%d, 'pyrogram')", s);
        expect(c, "!denied", "import_string(%d, 'x')", s);
        expect(c, "!denied", "set(%d, {dc_id: 5})", s);
        expect(c, "!denied", "delete(%d)", s);
        expect(c, "!denied", "disconnect(1)");
        expect(c, "!denied", "sessions(nil)");
        expect_audit(d, 1,
                     "audit: action=\"open\" result=\"denied\" uid=54321 pid=%d client_id=2 "
                     "session=\"private\" backend=\"file\"\n",
                     (int)getpid());
        expect_audit(d, 1,
                     "audit: action=\"open\" result=\"denied\" uid=54321 pid=%d client_id=2 session=\"new\" "
                     "backend=\"file\"\n",
                     (int)getpid());
        expect_audit(d, 1, "audit: action=\"open\" result=\"done\" uid=54321");
        expect_audit(d, 1, "audit: action=\"read_key\" result=\"denied\" uid=54321");
        expect_audit(d, 1, "audit: action=\"kv_get\" result=\"denied\" uid=54321");
        expect_audit(d, 1, "audit: action=\"export\" result=\"denied\" uid=54321");
        expect_audit(d, 1, "audit: action=\"import\" result=\"denied\" uid=54321");
        expect_audit(d, 1, "audit: action=\"set\" result=\"denied\" uid=54321");
        expect_audit(d, 1, "audit: action=\"delete\" result=\"denied\" uid=54321");
        expect_audit(d, 1, "audit: action=\"disconnect\" result=\"denied\" uid=54321");
        expect_audit(d, 1, "audit: action=\"sessions\" result=\"denied\" uid=54321");
}
END_TEST

/* Who deletes and leaves at once is named all the same. */
START_TEST(a_client_that_has_gone_is_named)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        CLIENT late = NULL;
        int s = wire_open(c, "'anna', {}");

        daemon_freeze(d);
        wire_send(c, "delete(%d)", s);
        wire_send(c,
                  "ping(1)"); /* cannot be answered: that ends the connection while the other is under way */
        wire_end(&c);
        daemon_thaw(d);
        late = wire_connect(d);
        expect(late, "1", "ping(1)");
        daemon_stop(d);
        expect_audit(d, 1,
                     "audit: action=\"delete\" result=\"done\" uid=%u pid=%d client_id=1 session=\"anna\" "
                     "backend=\"file\"\n",
                     (unsigned)getuid(), (int)getpid());
        expect_audit(d, 1,
                     "session anna (file) deleted by a client that waits no more (id 1, pid %d, uid %u)\n",
                     (int)getpid(), (unsigned)getuid());
}
END_TEST

START_TEST(what_is_not_answered_has_a_line)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");

        wire_tell(c, "get(%d, ['auth_key'])", s);
        wire_tell(c, "set(%d, {auth_key: h'07'*256})", s);
        expect(c, "nil", "save(%d)", s);
        expect_audit(d, 1, "audit: action=\"read_key\" result=\"done\"");
        expect_audit(d, 1, "audit: action=\"write_key\" result=\"done\"");
}
END_TEST

START_TEST(audit_lines_can_be_switched_off)
{
        DAEMON d = daemon_start(.config = "audit = no\n");
        CLIENT c = wire_connect(d);

        one_of_each(c);
        expect_audit(d, 0, "audit");
        daemon_reload(d, "audit = yes\n");
        one_of_each(c);
        expect_audit(d, 9, " audit: ");
}
END_TEST

/* How many lines the log says were left out. */
static unsigned long left_out(const struct daemon *d, const char *what)
{
        TEST_FREED char *log = daemon_log(d);
        TEST_FREED char *told = test_format(" lines `%s:", what);
        unsigned long n = 0;

        for (char *line = strtok(log, "\n"); line; line = strtok(NULL, "\n"))
                if (strstr(line, told))
                        n += strtoul(strstr(line, "left out ") + strlen("left out "), NULL, 10);
        return n;
}

START_TEST(a_flood_leaves_the_lines_of_others)
{
        enum { N = 5000 };
        static const char denied[] = "audit: action=\"open\" result=\"denied\" uid=54321 ";
        if (!wire_has_strangers("audit lines of several users"))
                return;
        DAEMON d = daemon_start();
        CLIENT own = wire_connect(d);
        CLIENT greedy = wire_connect_stranger(d, GREEDY, GREEDY);
        CLIENT other = wire_connect_stranger(d, OTHER, OTHER);
        int written, s;

        wire_open(own, "'private', {}");
        for (int i = 0; i < N; i++)
                expect(greedy, "!denied", "open('private', {})");
        /* his other actions */
        s = wire_open(greedy, "'his', {}");
        expect(greedy, "nil", "delete(%d)", s);
        /* and those of others */
        s = wire_open(other, "'mine', {}");
        expect(other, "!denied", "open('private', {})");
        expect(other, "nil", "delete(%d)", s);
        expect_audit(d, 1, "audit: action=\"create\" result=\"done\" uid=54321 ");
        expect_audit(d, 1, "audit: action=\"delete\" result=\"done\" uid=54321 ");
        expect_audit(d, 1, "audit: action=\"create\" result=\"done\" uid=54322 ");
        expect_audit(d, 1, "audit: action=\"open\" result=\"denied\" uid=54322 ");
        expect_audit(d, 1, "audit: action=\"delete\" result=\"done\" uid=54322 ");
        daemon_stop(d);
        written = daemon_log_lines(d, denied);
        ck_assert_int_ge(written, RATE_AT_ONCE);
        ck_assert_int_lt(written, 2 * RATE_AT_ONCE);
        ck_assert_uint_eq(left_out(d, "audit open` of uid 54321"), (unsigned long)(N - written));
}
END_TEST

START_TEST(bad_messages_do_not_fill_the_log)
{
        enum { N = 2000 };
        if (!wire_has_strangers("audit lines of several users"))
                return;
        DAEMON d = daemon_start();
        CLIENT other = NULL;
        int written;

        for (int i = 0; i < N; i++) {
                CLIENT c = wire_connect_stranger(d, GREEDY, GREEDY);

                wire_hex(c, "c1");
                expect_text(wire_next(c), "0: !bad_request");
        }
        other = wire_connect_stranger(d, OTHER, OTHER);
        wire_hex(other, "c1");
        expect_text(wire_next(other), "0: !bad_request");
        expect_audit(d, 1, "uid 54322) sent bytes that are no MessagePack-RPC");
        daemon_stop(d);
        written = daemon_log_lines(d, "uid 54321) sent bytes");
        ck_assert_int_ge(written, RATE_AT_ONCE);
        ck_assert_int_lt(written, 2 * RATE_AT_ONCE);
        ck_assert_uint_eq(left_out(d, "warning` of uid 54321"), (unsigned long)(N - written));
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                each_action_has_a_line,
                lines_in_json_have_a_key,
                a_key_among_many_fields_has_a_line,
                the_first_read_of_values_has_a_line,
                what_is_denied_has_a_line,
                a_client_that_has_gone_is_named,
                what_is_not_answered_has_a_line,
                audit_lines_can_be_switched_off,
                a_flood_leaves_the_lines_of_others,
                bad_messages_do_not_fill_the_log,
                NULL,
        };

        return test_program("audit", tests);
}
