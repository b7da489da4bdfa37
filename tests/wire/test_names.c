/*
 * Rules with the names of users and groups, and what they hide. Root is needed to connect as another user.
 * The users are those that each system has: `daemon` and `bin`, with groups of the same names.
 */
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../support/program.h"
#include "../support/wire.h"

enum { NAMELESS = 54321 };

static struct wire *as(struct daemon *d, const char *user, const char *group)
{
        const struct passwd *a_user = getpwnam(user);
        const struct group *a_group = getgrnam(group);

        ck_assert(a_user && a_group);
        return wire_connect_stranger(d, a_user->pw_uid, a_group->gr_gid);
}

static void make(struct wire *c, const char *name)
{
        expect(c, "nil", "close(%d)", wire_open(c, "'%s', {}", name));
}

START_TEST(users_have_what_has_their_name)
{
        if (!wire_has_strangers("rules with names"))
                return;
        DAEMON d = daemon_start(.config = "[access]\neveryone = write on %u-*\n");
        CLIENT daemon = as(d, "daemon", "daemon");
        CLIENT bin = as(d, "bin", "bin");
        CLIENT nameless = wire_connect_stranger(d, NAMELESS, NAMELESS);

        make(daemon, "daemon-1");
        make(bin, "bin-1");
        make(nameless, "#54321-1");
        expect(daemon, "!denied", "open('bin-1', {})");
        expect(daemon, "!denied", "open('bin-2', {})");
        expect(daemon, "!denied", "open('#54321-1', {})");
        expect(nameless, "!denied", "open('daemon-1', {})");
        expect(nameless, "!denied", "open('-1', {})");
        expect(bin, "!not_found", "open('daemon-1', {create: false})");
}
END_TEST

START_TEST(groups_have_what_has_their_name)
{
        if (!wire_has_strangers("rules with names"))
                return;
        DAEMON d = daemon_start(.config = "[access]\neveryone = write on %g-*\n");
        CLIENT daemon = as(d, "daemon", "daemon");
        CLIENT guest = wire_connect_stranger(d, NAMELESS, getgrnam("daemon")->gr_gid);
        CLIENT bin = as(d, "bin", "bin");

        make(daemon, "daemon-1");
        make(guest, "daemon-1");
        expect(bin, "!denied", "open('daemon-1', {})");
        make(bin, "bin-1");
        expect(guest, "!denied", "open('bin-1', {})");
}
END_TEST

/* What the client is told, and what the log. */
static void expect_hidden_in(struct daemon *d, struct wire *c, const char *backend, const char *name,
                             const char *options)
{
        TEST_FREED char *line = NULL;
        bool create = !strstr(options, "create: false");
        int lines;

        line = test_format(
                "action=\"open\" result=\"denied\" uid=%u user=\"daemon\" pid=%d client_id=1 session=\"%s\" "
                "backend=\"%s\"\n",
                (unsigned)getpwnam("daemon")->pw_uid, (int)getpid(), name, backend);
        lines = daemon_log_lines(d, line);
        expect(c, create ? "!denied" : "!not_found", "open('%s', {backend: '%s', %s})", name, backend,
               options);
        expect_text(wire_error_message(c), create ? "'creating a session needs the right `write`'"
                                                  : "'there is no session of this name'");
        ck_assert_int_eq(daemon_log_lines(d, line), lines + 1);
}

static void expect_hidden(struct daemon *d, struct wire *c, const char *name, const char *options)
{
        expect_hidden_in(d, c, "file", name, options);
}

START_TEST(what_is_outside_is_as_if_it_were_not_there)
{
        static const char *const names[] = {
                "not-there", "stored", "open", "held", "damaged", "without-owner"
        };
        static const char *const options[] = { "", "create: false", "mode: 'exclusive', create: false",
                                               "wait: 86400000, create: false" };

        if (!wire_has_strangers("rules with names"))
                return;
        DAEMON d = daemon_start(.config = "[access]\neveryone = write on %u-*\n");
        CLIENT c = as(d, "daemon", "daemon");
        CLIENT own = wire_connect(d);
        TEST_FREED char *damaged = daemon_path(d, "damaged");
        int s;

        make(own, "stored");
        s = wire_open(own, "'without-owner', {}");
        expect(own, "nil", "chown(%d, nil)", s);
        daemon_stop(d);
        daemon_resume(d);
        wire_end(&own);
        wire_end(&c);
        test_write_file(damaged, "no session", 10);
        c = as(d, "daemon", "daemon");
        own = wire_connect(d);
        wire_open(own, "'open', {}");
        wire_open(own, "'held', {mode: 'exclusive'}");
        for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
                for (size_t k = 0; k < sizeof(options) / sizeof(*options); k++)
                        expect_hidden(d, c, names[i], options[k]);
        expect(c, "!denied", "sessions(nil)");
        /* none was opened for him */
        ck_assert_int_eq(wire_number(wire_call(own, "stats()"), "sessions_opened_total"), 2);
        make(c, "daemon-1");
}
END_TEST

/* It is known at once that the open session is not his. It is answered late all the same. */
START_TEST(the_order_of_answers_does_not_tell_what_is_outside)
{
        TEST_FREED char *pong = NULL, *refused = NULL;
        uint32_t opening, ping;

        if (!wire_has_strangers("answers outside of patterns"))
                return;
        DAEMON d = daemon_start(.config = "[access]\neveryone = write on %u-*\n");
        CLIENT own = wire_connect(d);
        CLIENT c = as(d, "daemon", "daemon");
        CLIENT gone = as(d, "daemon", "daemon");

        wire_open(own, "'open', {}");
        daemon_freeze(d);
        opening = wire_send(c, "open('open', {create: false})");
        ping = wire_send(c, "ping(7)");
        daemon_thaw(d);
        pong = test_format("%u: 7", (unsigned)ping);
        refused = test_format("%u: !not_found", (unsigned)opening);
        ck_assert_str_eq(wire_next(c), pong);
        ck_assert_str_eq(wire_next(c), refused);
        /* the end of a client, and of the daemon, meanwhile */
        wire_send(gone, "open('open', {})");
        expect(gone, "7", "ping(7)");
        wire_end(&gone);
        daemon_stop(d);
        ck_assert_int_eq(daemon_log_lines(d, "result=\"denied\""), 2);
}
END_TEST

/* Where no further session would be loaded for him, the answer does not tell which are open already. */
START_TEST(limits_do_not_tell_what_is_outside)
{
        int n = 0;

        if (!wire_has_strangers("limits outside of patterns"))
                return;
        DAEMON d = daemon_start(.config = "max-open-sessions = 20\n[access]\neveryone = write on %u-*\n");
        CLIENT own = wire_connect(d);
        CLIENT c = as(d, "daemon", "daemon");

        wire_open(own, "'open', {}");
        expect(c, "!not_found", "open('open', {create: false})");
        while (wire_call(c, "open('daemon-%d', {})", n)[0] != '!')
                ck_assert_int_lt(++n, 20);
        expect(c, "!overloaded", "open('not-there', {create: false})");
        expect(c, "!overloaded", "open('open', {create: false})");
}
END_TEST

static const char *const backends[] = { "file", "memory" };

START_TEST(what_he_owns_outside_is_his)
{
        const char *const backend = backends[_i];

        if (!wire_has_strangers("owners outside of their patterns"))
                return;
        DAEMON d = daemon_start(.config = "[access]\neveryone = write on %u-*\n");
        CLIENT c = as(d, "daemon", "daemon");
        CLIENT own = wire_connect(d);
        CLIENT member = as(d, "bin", "daemon");
        CLIENT bin = as(d, "bin", "bin");
        int s = wire_open(own, "'given', {backend: '%s', linger: 1000}", backend), m;

        expect(own, "nil", "chown(%d, 'daemon:daemon')", s);
        expect(own, "nil", "close(%d)", s);
        s = wire_open(c, "'given', {backend: '%s', create: false, mode: 'exclusive'}", backend);
        expect(c, "nil", "set(%d, {auth_key: h'07'*256})", s);
        expect(member, "!busy", "open('given', {backend: '%s'})", backend);
        expect(bin, "!not_found", "open('given', {backend: '%s', create: false})", backend);
        expect(c, "nil", "close(%d)", s);
        s = wire_open(c, "'given', {backend: '%s'}", backend);
        expect(c, "{...name: 'given'...}", "info(%d)", s);
        m = wire_open(member, "'given', {backend: '%s'}", backend);
        expect(member, "nil", "set(%d, {dc_id: 4})", m);
        expect(c, "nil", "chown(%d, 'daemon')", s);
        expect_text(wire_told(member), "ended(1, 'denied', '...')");
        expect(member, "!not_found", "open('given', {backend: '%s', create: false})", backend);
        expect(c, "nil", "delete(%d)", s);
        expect_hidden_in(d, c, backend, "given", "");
        expect_hidden_in(d, c, backend, "given", "create: false");
}
END_TEST

/* Lookups are made one at a time: for this one, those of clients that have connected are over. */
static void await_names(struct wire *own)
{
        int s = wire_open(own, "'any', {}");

        for (int i = 0; i < 2; i++)
                expect(own, "nil", "chown(%d, 'root')", s);
}

/* Before, no rule had them: they were looked up all the same, but nobody has waited for them. */
START_TEST(names_count_from_a_reload_on)
{
        if (!wire_has_strangers("rules with names"))
                return;
        DAEMON d = daemon_start(.config = "[access]\neveryone = write\n");
        CLIENT own = wire_connect(d);
        CLIENT c = as(d, "daemon", "daemon");
        CLIENT other = NULL;
        int s = wire_open(c, "'daemon-1', {}"), outside = wire_open(c, "'of-daemon', {}");

        wire_open(own, "'of-root', {}");
        wire_open(c, "'of-root', {}");
        await_names(own);
        other = as(d, "daemon", "bin");
        wire_open(other, "'daemon-1', {}");
        await_names(own);
        daemon_reload(d, "[access]\neveryone = write on %u-*\n");
        expect_text(wire_told(c), "ended(3, 'denied', '...')");
        expect(c, "nil", "set(%d, {dc_id: 4})", s);
        expect(c, "nil", "set(%d, {dc_id: 4})", outside); /* he is its owner */
        wire_not_told(other);
        expect(c, "!not_found", "open('of-root', {create: false})");
        wire_open(c, "'of-daemon', {create: false}");
        daemon_reload(d, "[access]\nuser daemon = write on daemon-*,of-*\n");
        wire_open(c, "'of-root', {}");
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                users_have_what_has_their_name,
                groups_have_what_has_their_name,
                what_is_outside_is_as_if_it_were_not_there,
                names_count_from_a_reload_on,
                the_order_of_answers_does_not_tell_what_is_outside,
                limits_do_not_tell_what_is_outside,
                NULL,
        };

        const TTest *const repeated[] = { what_he_owns_outside_is_his, NULL };
        int failed = test_program("names", tests);

        return test_program_repeated("names_of_owners", repeated, 2) || failed;
}
