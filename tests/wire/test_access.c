/*
 * Who may do what: the defaults, the rules of [access], and their reload. Root is needed to connect as
 * another user: the daemon sees the credentials of the moment of connect(2).
 */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../support/program.h"
#include "../support/session_file.h"
#include "../support/wire.h"

enum { STRANGER = 54321, GROUP = 54322, WRITER = 54323 };

static struct wire *connect_as(struct daemon *d, uid_t uid)
{
        struct wire *c = wire_connect_stranger(d, uid, GROUP);

        expect(c, "{...}", "hello({features: ['owner']})");
        return c;
}

static struct wire *stranger(struct daemon *d)
{
        return connect_as(d, STRANGER);
}

static const struct {
        const char *method;
        const char *parameters; /* %d: the handle */
} reading[] = {
        { "get", ", ['dc_id', 'user_id']" },
        { "get_peer_by_id", ", 7" },
        { "get_peer_by_username", ", 'anna', 0" },
        { "get_peer_by_phone_number", ", '1'" },
        { "get_peers", ", [7]" },
        { "scan_peers", ", nil, 5" },
        { "scan_usernames", ", nil, 5" },
        { "get_states", "" },
        { "watch", ", true" },
        { "info", "" },
        { "lease", "" },
}, writing[] = {
        { "get", ", ['auth_key']" },
        { "get", ", ['dc_id', 'auth_key']" },
        { "export_string", ", 'pyrogram'" },
        { "set", ", {dc_id: 4}" },
        { "update_peers", ", [[7, 70, 'user', 'anna', '1']]" },
        { "update_usernames", ", [[7, ['b']]]" },
        { "update_states", ", [[0, 1, 1, 1, 1]]" },
        { "remove_states", ", [0]" },
        { "save", "" },
        { "import_string", ", 'x', {}" },
        { "delete", ", {}" },
};
static const char *const admin[] = { "sessions(nil)", "clients()", "disconnect(1)",
                                     "drain()",       "stats()",   "monitor(true)" };

static void expect_no_admin(struct wire *c)
{
        for (size_t i = 0; i < sizeof(admin) / sizeof(admin[0]); i++)
                expect(c, "!denied", "%s", admin[i]);
}

START_TEST(strangers_read_and_write_without_rules)
{
        if (!wire_has_strangers("access rules of other users"))
                return;
        DAEMON d = daemon_start();
        CLIENT c = stranger(d);
        int s = wire_open(c, "'anna', {mode: 'exclusive'}");

        expect(c, "nil", "set(%d, {dc_id: 4})", s);
        expect(c, "[nil]", "get(%d, ['auth_key'])", s);
        expect_no_admin(c);
        expect(c, "nil", "delete(%d, {})", s);
        expect(c, "1", "ping(1)");
}
END_TEST

static void prepare(struct daemon *d)
{
        static const char *const names[] = { "pub-1", "pub-2", "private" };
        CLIENT c = wire_connect(d);

        for (size_t i = 0; i < 3; i++) {
                int s = wire_open(c, "'%s', {}", names[i]);

                expect(c, "nil", "update_peers(%d, [[7, 70, 'user', 'anna', '1']])", s);
                expect(c, "nil", "set(%d, {auth_key: h'07'*256, dc_id: 5})", s);
        }
}

START_TEST(readers_read)
{
        if (!wire_has_strangers("access rules of other users"))
                return;
        DAEMON d = daemon_start(.config = "[access]\nuser 54321 = read on pub-*\n");
        CLIENT own = wire_connect(d);
        CLIENT c = NULL;
        int s;

        prepare(d);
        c = stranger(d);
        s = wire_open(c, "'pub-1', {create: false}");
        for (size_t i = 0; i < sizeof(reading) / sizeof(reading[0]); i++) {
                const char *answer = wire_call(c, "%s(%d%s)", reading[i].method, s, reading[i].parameters);

                ck_assert_msg(answer[0] != '!', "%s: %s", reading[i].method, answer);
        }
        for (size_t i = 0; i < sizeof(writing) / sizeof(writing[0]); i++)
                expect(c, "!denied", "%s(%d%s)", writing[i].method, s, writing[i].parameters);
        expect_no_admin(c);
        expect(c, "!denied", "open('pub-2', {mode: 'exclusive'})");
        expect(c, "!denied", "open('pub-new', {})");
        expect(c, "!not_found", "open('pub-new', {create: false})");
        expect(c, "!denied", "open('private', {create: false})");
        expect(c, "!denied", "open('nobodys', {})");
        wire_open(c, "'pub-2', {}");
        /* the rules do not bind the daemon's own user */
        s = wire_open(own, "'private', {}");
        expect(own, "[5, h'07...]", "get(%d, ['dc_id', 'auth_key'])", s);
        expect(own, "[...]", "clients()");
}
END_TEST

START_TEST(rules_add_up)
{
        if (!wire_has_strangers("access rules of other users"))
                return;
        DAEMON d = daemon_start(.config = "[access]\n"
                                          "everyone = read in file\n"
                                          "group 54322 = write on pub-*\n"
                                          "user 99999 = write\n"
                                          "user 54321 = admin\n");
        CLIENT c = NULL;
        int s;

        prepare(d);
        c = stranger(d);
        s = wire_open(c, "'pub-1', {}");
        expect(c, "nil", "set(%d, {dc_id: 4})", s);
        expect(c, "...created: true...", "open('pub-new', {})");
        s = wire_open(c, "'private', {}");
        expect(c, "!denied", "set(%d, {dc_id: 4})", s);
        expect(c, "[5]", "get(%d, ['dc_id'])", s);
        expect(c, "!denied", "open('other', {backend: 'memory'})");
        expect(c, "[...]", "clients()");
        expect(c, "[...]", "sessions(nil)");
}
END_TEST

START_TEST(rules_are_reloaded)
{
        if (!wire_has_strangers("access rules of other users"))
                return;
        DAEMON d = daemon_start(.config = "[access]\nuser 54321 = read on pub-*\n");
        CLIENT c = NULL;
        int s;

        prepare(d);
        c = stranger(d);
        s = wire_open(c, "'pub-1', {}");
        expect(c, "!denied", "set(%d, {dc_id: 4})", s);
        daemon_reload(d, "[access]\nuser 54321 = write on pub-*\n");
        expect(c, "nil", "set(%d, {dc_id: 4})", s);
        expect(c, "!denied", "open('private', {})");
        daemon_reload(d, "[access]\nuser 54321 = read on private\n");
        expect_text(wire_told(c), "ended(1, 'denied', '...')");
        expect(c, "!bad_session", "set(%d, {dc_id: 5})", s);
        expect(c, "!denied", "open('pub-2', {})");
        wire_open(c, "'private', {}");
}
END_TEST

START_TEST(a_handle_without_its_right_ends)
{
        if (!wire_has_strangers("access rules of other users"))
                return;
        DAEMON d = daemon_start(.config = "[access]\nuser 54321 = write on pub-*\n");
        CLIENT own = wire_connect(d);
        CLIENT c = NULL;
        int reader, holder, s;

        prepare(d);
        c = stranger(d);
        reader = wire_open(c, "'pub-1', {}");
        holder = wire_open(c, "'pub-2', {mode: 'exclusive'}");
        s = wire_open(own, "'pub-1', {}");
        expect(c, "nil", "watch(%d, true)", reader);
        daemon_reload(d, "[access]\nuser 54321 = read on pub-*\n");
        expect_text(wire_told(c), "ended(2, 'denied', '...')");
        expect(c, "!bad_session", "info(%d)", holder);
        expect(own, "nil", "update_peers(%d, [[8, 80, 'user', 'secret', '12345']])", s);
        expect_text(wire_told(c), "changed(1, {...'secret'...})");
        daemon_reload(d, "[access]\nuser 54321 = read on pub-2\n");
        expect_text(wire_told(c), "ended(1, 'denied', '...')");
        expect(own, "nil", "update_peers(%d, [[8, 80, 'user', 'hidden', '67890']])", s);
        expect(own, "nil", "close(%d)", s);
        wire_open(own, "'pub-1', {mode: 'exclusive'}");
        wire_not_told(c);
}
END_TEST

START_TEST(an_open_that_waits_without_its_right_is_refused)
{
        if (!wire_has_strangers("access rules of other users"))
                return;
        DAEMON d = daemon_start(.config = "[access]\nuser 54321 = write on pub-*\n");
        CLIENT own = wire_connect(d);
        CLIENT c = NULL;
        uint32_t shared, exclusive;
        int s;

        prepare(d);
        c = stranger(d);
        s = wire_open(own, "'pub-1', {mode: 'exclusive'}");
        exclusive = wire_send(c, "open('pub-1', {mode: 'exclusive', wait: 86400000})");
        shared = wire_send(c, "open('pub-1', {wait: 86400000})");
        expect(c, "1", "ping(1)");
        daemon_reload(d, "[access]\nuser 54321 = read on pub-*\n");
        expect_text(wire_answer(c, exclusive), "!denied");
        expect(own, "nil", "close(%d)", s);
        expect_text(wire_answer(c, shared), "{...}");
        wire_open(own, "'pub-2', {mode: 'exclusive'}");
        shared = wire_send(c, "open('pub-2', {wait: 86400000})");
        expect(c, "1", "ping(1)");
        daemon_reload(d, "[access]\nuser 54321 = read on private\n");
        expect_text(wire_answer(c, shared), "!denied");
}
END_TEST

START_TEST(a_monitor_without_its_right_is_told_nothing)
{
        if (!wire_has_strangers("access rules of other users"))
                return;
        DAEMON d = daemon_start(.config = "[access]\nuser 54321 = admin\n");
        CLIENT own = wire_connect(d);
        CLIENT c = stranger(d);

        expect(c, "nil", "monitor(true)");
        wire_forget(c);
        expect(own, "1", "ping(1)");
        expect_text(wire_told(c), "request({...'ping'...})");
        daemon_reload(d, "[access]\nuser 54321 = read\n");
        wire_forget(c);
        expect(own, "1", "ping(1)");
        expect(c, "!denied", "monitor(true)");
        wire_not_told(c);
}
END_TEST

START_TEST(readers_do_not_hold_off_a_writer)
{
        if (!wire_has_strangers("access rules of other users"))
                return;
        DAEMON d = daemon_start(.config = "[access]\nuser 54321 = read on pub-*\n"
                                          "user 54323 = write on pub-*\n");
        CLIENT reader = NULL;
        CLIENT writer = NULL;
        CLIENT other = NULL;
        uint32_t waits;
        int s, kept;

        prepare(d);
        reader = stranger(d);
        writer = connect_as(d, WRITER);
        other = connect_as(d, WRITER);
        s = wire_open(reader, "'pub-1', {}");
        kept = wire_open(other, "'pub-1', {}");
        /* held off by one with `write`: the reader stays */
        expect(writer, "!busy", "open('pub-1', {mode: 'exclusive'})");
        expect_text(wire_error_detail(writer), "{holder: {...uid: 54323}}");
        expect(reader, "...", "info(%d)", s);
        wire_not_told(reader);
        expect(other, "nil", "close(%d)", kept);
        kept = wire_open(writer, "'pub-1', {mode: 'exclusive'}");
        expect_text(wire_told(reader), "ended(1, 'busy', '...')");
        expect(reader, "!busy", "open('pub-1', {})");
        expect(writer, "nil", "close(%d)", kept);
        /* one that would wait longer than a reader may hold it off */
        wire_open(reader, "'pub-1', {}");
        waits = wire_send(writer, "open('pub-1', {mode: 'exclusive', wait: 86400000})");
        expect_text(wire_told(reader), "ended(..., 'busy', '...')");
        expect_text(wire_answer(writer, waits), "{...}");
}
END_TEST

/* Its right comes and goes with the rules. */
START_TEST(who_may_write_after_a_reload_holds_off_a_writer)
{
        static const char writes[] = "[access]\nuser 54321 = write on pub-*\nuser 54323 = write on pub-*\n";
        static const char reads[] = "[access]\nuser 54321 = read on pub-*\nuser 54323 = write on pub-*\n";

        if (!wire_has_strangers("access rules of other users"))
                return;
        DAEMON d = daemon_start(.config = reads);
        CLIENT reader = NULL;
        CLIENT writer = NULL;
        int s;

        prepare(d);
        reader = stranger(d);
        writer = connect_as(d, WRITER);
        s = wire_open(reader, "'pub-1', {}");
        daemon_reload(d, writes);
        expect(reader, "...", "info(%d)", s);
        expect(writer, "!busy", "open('pub-1', {mode: 'exclusive'})");
        expect_text(wire_error_detail(writer), "{holder: {...uid: 54321}}");
        wire_not_told(reader);
        daemon_reload(d, reads);
        expect(reader, "...", "info(%d)", s);
        wire_open(writer, "'pub-1', {mode: 'exclusive'}");
        expect_text(wire_told(reader), "ended(1, 'busy', '...')");
}
END_TEST

START_TEST(a_session_belongs_to_who_made_it)
{
        if (!wire_has_strangers("access rules of other users"))
                return;
        DAEMON d = daemon_start();
        CLIENT own = wire_connect(d);
        CLIENT c = stranger(d);
        CLIENT other = connect_as(d, WRITER);
        int s = wire_open(c, "'mine', {}");

        expect(c, "{...}", "hello({features: []})");
        ck_assert_ptr_null(strstr(wire_call(c, "info(%d)", s), "owner")); /* who does not ask, is not told */
        ck_assert_ptr_null(strstr(wire_call(own, "sessions(nil)"), "owner"));
        expect(own, "{...}", "hello({features: ['owner']})");
        expect(own, "[{...name: 'mine'...owner: '#54321'}]", "sessions(nil)");
        expect(c, "{...}", "hello({features: ['owner']})");

        expect(c, "{...owner: '#54321'...}", "info(%d)", s);
        expect(c, "nil", "set(%d, {auth_key: h'07'*256})", s);
        expect(c, "[h'07...]", "get(%d, ['auth_key'])", s);
        wire_open(c, "'fleeting', {backend: 'memory'}");
        expect(other, "!denied", "open('mine', {})");
        expect(other, "!denied", "open('mine', {mode: 'exclusive', wait: 86400000})");
        expect(other, "!denied", "open('fleeting', {backend: 'memory'})");
        wire_open(own, "'mine', {}");
        daemon_stop(d);
        daemon_resume(d);
        wire_end(&own);
        wire_end(&c);
        wire_end(&other);
        own = wire_connect(d);
        ck_assert_ptr_null(strstr(wire_call(own, "sessions(nil)"), "owner"));
        expect(own, "{...}", "hello({features: ['owner']})");
        expect(own, "[{...name: 'mine'...owner: '#54321'}]", "sessions(nil)");
        other = connect_as(d, WRITER);
        expect(other, "!denied", "open('mine', {create: false})");
        expect(other, "!not_found", "open('nobodys', {create: false})");
        c = stranger(d);
        s = wire_open(c, "'mine', {mode: 'exclusive'}");
        expect(c, "nil", "delete(%d, {})", s);
        s = wire_open(other, "'mine', {}");
        expect(other, "{...owner: '#54323'...}", "info(%d)", s);
        s = wire_open(own, "'the-daemons', {}");
        expect(own, "{...}", "hello({features: ['owner']})");
        expect(own, "{...owner: 'root'...}", "info(%d)", s);
        expect(other, "!denied", "open('the-daemons', {})");
}
END_TEST

START_TEST(rules_only_add_to_what_an_owner_may)
{
        if (!wire_has_strangers("access rules of other users"))
                return;
        DAEMON d = daemon_start(.config = "[access]\neveryone = write on *-new\n");
        CLIENT c = stranger(d);
        CLIENT other = connect_as(d, WRITER);
        int s = wire_open(c, "'a-new', {}");

        expect(c, "nil", "set(%d, {dc_id: 4})", s);
        expect(other, "{...}", "open('a-new', {})"); /* a rule lets him */
        daemon_reload(d, "[access]\nuser 54323 = read on a-new\n");
        expect(c, "nil", "set(%d, {dc_id: 5})", s);
        wire_not_told(c);
        expect(c, "!denied", "open('b-new', {})");
        expect(c, "!denied", "open('b-new', {create: false})");
        expect(c, "nil", "close(%d)", s);
        daemon_reload(d, "[access]\nuser 99999 = read\n");
        expect_text(wire_told(other), "ended(1, 'denied', '...')");
        expect(other, "!denied", "open('a-new', {create: false})");
        daemon_stop(d);
        daemon_resume(d);
        wire_end(&c);
        wire_end(&other);
        other = connect_as(d, WRITER);
        expect(other, "!denied", "open('a-new', {create: false})");
        c = stranger(d);
        s = wire_open(c, "'a-new', {mode: 'exclusive'}");
        expect(c, "nil", "set(%d, {dc_id: 3})", s);
}
END_TEST

START_TEST(a_refusal_does_not_tell_what_is_there)
{
        static const char *const names[] = { "open", "stored", "not-there" };

        if (!wire_has_strangers("access rules of other users"))
                return;
        DAEMON d = daemon_start(.config = "idle-close = 0\n[access]\neveryone = write on *-new\n");
        CLIENT own = wire_connect(d);
        CLIENT other = connect_as(d, WRITER);

        wire_open(own, "'open', {}");
        expect(own, "nil", "close(%d)", wire_open(own, "'stored', {}"));
        for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
                expect(other, "!denied", "open('%s', {})", names[i]);
                expect_text(wire_error_message(other),
                            "'the access rules and the owner of the session do not allow this `open`'");
        }
}
END_TEST

/* An older version has made it, or a library. */
START_TEST(sessions_without_an_owner_keep_the_rules)
{
        if (!wire_has_strangers("access rules of other users"))
                return;
        DAEMON d = daemon_start();
        CLIENT c = stranger(d);
        TEST_FREED char *path = daemon_path(d, "old");
        int s = wire_open(c, "'old', {}");

        expect(c, "nil", "close(%d)", s);
        wire_end(&c);
        daemon_stop(d);
        sql(path, "DROP TABLE gramd_fields");
        daemon_resume(d);
        c = connect_as(d, WRITER);
        s = wire_open(c, "'old', {create: false}");
        expect(c, "nil", "set(%d, {dc_id: 3})", s);
        ck_assert_ptr_null(strstr(wire_call(c, "info(%d)", s), "owner"));
}
END_TEST

/* A socket at another path than the system's is for the daemon's own user alone. */
START_TEST(the_sockets_mode_keeps_strangers_out)
{
        if (!wire_has_strangers("access rules of other users"))
                return;
        DAEMON d = daemon_start();
        struct stat stat_of;

        ck_assert_int_eq(stat(d->socket, &stat_of), 0);
        ck_assert_int_eq(stat_of.st_mode & 0007, 0);
        ck_assert_int_eq(chmod(d->dir, 0711), 0);
        ck_assert_ptr_null(wire_connect_as(d, STRANGER, GROUP));
}
END_TEST

START_TEST(files_are_private_to_their_owner)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        TEST_FREED char *path = daemon_path(d, "anna");
        struct stat stat_of;

        wire_open(c, "'anna', {}");
        ck_assert_int_eq(stat(path, &stat_of), 0);
        ck_assert_int_eq(stat_of.st_mode & 07777, 0600);
}
END_TEST

START_TEST(that_the_last_rule_is_gone_is_told)
{
        static const char told[] = "warning there are no access rules any more: ";
        DAEMON d = daemon_start(.config = "[access]\nuser 54321 = read\n");

        daemon_reload(d, "[access]\nuser 54321 = read on pub-*\n");
        ck_assert_int_eq(daemon_log_lines(d, told), 0);
        daemon_reload(d, "");
        ck_assert_int_eq(daemon_log_lines(d, told), 1);
        daemon_reload(d, "");
        ck_assert_int_eq(daemon_log_lines(d, told), 1);
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                strangers_read_and_write_without_rules,
                readers_read,
                rules_add_up,
                rules_are_reloaded,
                a_handle_without_its_right_ends,
                an_open_that_waits_without_its_right_is_refused,
                a_monitor_without_its_right_is_told_nothing,
                readers_do_not_hold_off_a_writer,
                who_may_write_after_a_reload_holds_off_a_writer,
                a_session_belongs_to_who_made_it,
                rules_only_add_to_what_an_owner_may,
                a_refusal_does_not_tell_what_is_there,
                sessions_without_an_owner_keep_the_rules,
                the_sockets_mode_keeps_strangers_out,
                files_are_private_to_their_owner,
                that_the_last_rule_is_gone_is_told,
                NULL,
        };

        return test_program("access", tests);
}
