/*
 * Who owns a session, and `chown`. Root is needed to connect as another user. The users are those that each
 * system has: `daemon` and `bin`.
 */
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../support/command.h"
#include "../support/program.h"
#include "../support/session_file.h"
#include "../support/wire.h"

enum { NAMELESS = 54321, GROUP = 54322 };

static struct {
        uid_t daemon, bin;
        gid_t of_daemon, of_bin;
} ids;

static bool can_be_others(void)
{
        const struct passwd *user;
        const struct group *group;

        if (!wire_has_strangers("owners of sessions"))
                return false;
        user = getpwnam("daemon");
        ck_assert_ptr_nonnull(user);
        ids.daemon = user->pw_uid;
        user = getpwnam("bin");
        ck_assert_ptr_nonnull(user);
        ids.bin = user->pw_uid;
        group = getgrnam("daemon");
        ck_assert_ptr_nonnull(group);
        ids.of_daemon = group->gr_gid;
        group = getgrnam("bin");
        ck_assert_ptr_nonnull(group);
        ids.of_bin = group->gr_gid;
        return true;
}

static struct wire *as(struct daemon *d, uid_t uid, gid_t gid)
{
        struct wire *c = wire_connect_stranger(d, uid, gid);

        expect(c, "{...}", "hello({features: ['owner']})");
        return c;
}

START_TEST(root_gives_a_session_away)
{
        if (!can_be_others())
                return;
        DAEMON d = daemon_start();
        CLIENT own = wire_connect(d);
        CLIENT alice = as(d, ids.daemon, GROUP);
        CLIENT bob = as(d, ids.bin, GROUP);
        CLIENT member = as(d, NAMELESS, ids.of_bin);
        int s = wire_open(alice, "'a', {}"), o = wire_open(own, "'a', {}");

        expect(own, "{...}", "hello({features: ['owner']})");
        expect(own, "{...owner: 'daemon'...}", "info(%d)", o);
        expect(bob, "!denied", "open('a', {})");
        expect(own, "nil", "chown(%d, 'bin')", o);
        /* at once */
        expect_text(wire_told(alice), "ended(1, 'denied', '...')");
        expect(alice, "!bad_session", "info(%d)", s);
        expect(alice, "!denied", "open('a', {})");
        expect(own, "{...owner: 'bin'...}", "info(%d)", o);
        s = wire_open(bob, "'a', {}");
        expect(bob, "nil", "set(%d, {dc_id: 4})", s);
        expect(member, "!denied", "open('a', {})");
        expect(own, "nil", "chown(%d, 'bin:bin')", o);
        s = wire_open(member, "'a', {}");
        expect(member, "nil", "set(%d, {auth_key: h'07'*256})", s);
        expect(own, "nil", "chown(%d, '#%d')", o, NAMELESS);
        expect_text(wire_told(bob), "ended(1, 'denied', '...')");
        wire_not_told(member); /* it is he */
        expect(own, "nil", "chown(%d, nil)", o);
        ck_assert_ptr_null(strstr(wire_call(own, "info(%d)", o), "owner"));
        wire_open(bob, "'a', {}"); /* without an owner and without rules everyone may */
        ck_assert_int_eq(daemon_log_lines(d, "audit: action=\"chown\" result=\"done\""), 4);
        ck_assert_int_eq(daemon_log_lines(d, "session=\"a\" backend=\"file\" target=\"bin:bin\""), 1);
}
END_TEST

static const char *const backends[] = { "file", "memory" };

START_TEST(an_owner_is_stored)
{
        if (!can_be_others())
                return;
        DAEMON d = daemon_start();
        CLIENT own = wire_connect(d);
        CLIENT bob = as(d, ids.bin, GROUP);
        const char *backend = backends[_i];
        int s = wire_open(own, "'a', {backend: '%s', linger: 1000}", backend);

        expect(own, "nil", "chown(%d, 'bin:daemon')", s);
        expect(own, "nil", "close(%d)", s);
        if (_i == 0) {
                wire_end(&own);
                wire_end(&bob);
                daemon_kill(d); /* it was on the disk before the answer */
                daemon_resume(d);
                own = wire_connect(d);
                bob = as(d, ids.bin, GROUP);
        }
        s = wire_open(bob, "'a', {backend: '%s', create: false}", backend);
        expect(bob, "{...owner: 'bin:daemon'...}", "info(%d)", s);
        expect(bob, "nil", "close(%d)", s);
        s = wire_open(own, "'a', {backend: '%s', create: false}", backend);
        expect(own, "nil", "chown(%d, nil)", s);
        expect(own, "nil", "chown(%d, nil)", s); /* again */
        expect(own, "nil", "chown(%d, 'daemon')", s);
        expect(own, "nil", "chown(%d, nil)", s);
        expect(own, "nil", "close(%d)", s);
        if (_i == 0) {
                wire_end(&own);
                daemon_stop(d);
                daemon_resume(d);
                own = wire_connect(d);
        }
        s = wire_open(own, "'a', {backend: '%s', create: false}", backend);
        expect(own, "{...}", "hello({features: ['owner']})");
        ck_assert_ptr_null(strstr(wire_call(own, "info(%d)", s), "owner"));
}
END_TEST

START_TEST(an_owner_changes_the_group)
{
        if (!can_be_others())
                return;
        DAEMON d = daemon_start();
        CLIENT alice = as(d, ids.daemon, ids.of_bin);
        CLIENT member = as(d, NAMELESS, ids.of_bin);
        int s = wire_open(alice, "'a', {}"), m;

        expect(alice, "!denied", "chown(%d, 'bin')", s);
        expect(alice, "!denied", "chown(%d, 'root')", s);
        expect(alice, "!denied", "chown(%d, nil)", s);
        expect(alice, "!denied", "chown(%d, 'daemon:daemon')", s); /* not his group */
        expect(alice, "{...owner: 'daemon'...}", "info(%d)", s);
        expect(member, "!denied", "open('a', {})");
        expect(alice, "nil", "chown(%d, '#%d:bin')", s, (int)ids.daemon);
        m = wire_open(member, "'a', {}");
        expect(member, "!denied", "chown(%d, '#%d')", m, NAMELESS);
        expect(member, "!denied", "chown(%d, 'daemon:bin')", m);
        expect(member, "nil", "set(%d, {dc_id: 4})", m);
        expect(alice, "nil", "chown(%d, 'daemon')", s);
        expect_text(wire_told(member), "ended(1, 'denied', '...')");
}
END_TEST

START_TEST(admins_give_away_what_they_may_open)
{
        if (!can_be_others())
                return;
        DAEMON d = daemon_start(.config = "[access]\n"
                                          "everyone = write on new-*\n"
                                          "user bin = admin\n"
                                          "user bin = read on old\n");
        CLIENT own = wire_connect(d);
        CLIENT admin = as(d, ids.bin, GROUP);
        CLIENT other = as(d, ids.daemon, GROUP);
        int s;

        wire_open(own, "'old', {}");
        wire_open(own, "'hidden', {}");
        expect(admin, "!denied", "open('hidden', {})");
        s = wire_open(admin, "'old', {create: false}");
        expect(admin, "!denied", "get(%d, ['auth_key'])", s);
        expect(other, "!denied", "open('old', {})");
        expect(admin, "nil", "chown(%d, 'daemon')", s);
        wire_open(other, "'old', {mode: 'shared'}");
        expect(admin, "nil", "chown(%d, 'bin')", s);
        expect_text(wire_told(other), "ended(1, 'denied', '...')");
        expect(admin, "[nil]", "get(%d, ['auth_key'])", s);
}
END_TEST

START_TEST(wrong_owners_are_refused)
{
        static const char *const wrong[] = { "", ":", ":bin", "bin:", "bin:bin:bin", "a\\nb" };
        static const char *const unknown[] = { "no-such-user", "#",           "#99999999999",
                                               "#-1",          "#4294967295", "bin:no-such-group",
                                               "bin:#x",       "nobody",      "#65534" };
        DAEMON d = daemon_start();
        CLIENT own = wire_connect(d);
        char longest[300];
        int s = wire_open(own, "'a', {}");

        expect(own, "{...}", "hello({features: ['owner']})");
        for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
                expect(own, "!bad_request", "chown(%d, '%s')", s, wrong[i]);
        memset(longest, 'a', sizeof(longest) - 1);
        longest[sizeof(longest) - 1] = '\0';
        expect(own, "!bad_request", "chown(%d, '%s')", s, longest);
        longest[255] = '\0';
        expect(own, "!bad_request", "chown(%d, '%s')", s, longest);
        expect_text(wire_error_message(own), "...no user...");
        for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
                expect(own, "!bad_request", "chown(%d, '%s')", s, unknown[i]);
        expect(own, "!bad_request", "chown(%d)", s);
        expect(own, "!bad_request", "chown(%d, 7)", s);
        expect(own, "{...owner: ...}", "info(%d)", s);
}
END_TEST

/* An open that waits for others is refused when the session is given to somebody else. */
START_TEST(opens_that_wait_are_refused)
{
        if (!can_be_others())
                return;
        DAEMON d = daemon_start();
        CLIENT own = wire_connect(d);
        CLIENT alice = as(d, ids.daemon, GROUP);
        uint32_t waits;
        int s = wire_open(alice, "'a', {}");

        expect(alice, "nil", "close(%d)", s);
        s = wire_open(own, "'a', {mode: 'exclusive'}");
        waits = wire_send(alice, "open('a', {wait: 86400000})");
        expect(alice, "1", "ping(1)");
        expect(own, "nil", "chown(%d, 'bin')", s);
        expect_text(wire_answer(alice, waits), "!denied");
}
END_TEST

/* Two changes at once: that of the former owner does not undo the first. */
START_TEST(a_former_owner_changes_nothing)
{
        if (!can_be_others())
                return;
        DAEMON d = daemon_start();
        CLIENT own = wire_connect(d);
        CLIENT alice = as(d, ids.daemon, GROUP);
        int s = wire_open(alice, "'a', {}"), o = wire_open(own, "'a', {}");

        expect(own, "{...}", "hello({features: ['owner']})");
        for (int i = 0; i < 50; i++) {
                uint32_t first = wire_send(own, "chown(%d, 'bin')", o);
                uint32_t second = wire_send(alice, "chown(%d, 'daemon')", s);

                expect_text(wire_answer(own, first), "nil");
                wire_answer(alice, second);
                expect(own, "{...owner: 'bin'...}", "info(%d)", o);
                expect(own, "nil", "chown(%d, 'daemon')", o);
                wire_forget(alice);
                s = wire_open(alice, "'a', {}");
        }
}
END_TEST

/* Two changes that arrive together: each counts, also for those whom the second one lets in again. */
START_TEST(each_change_has_its_effect)
{
        if (!can_be_others())
                return;
        DAEMON d = daemon_start();
        CLIENT own = wire_connect(d);
        CLIENT alice = as(d, ids.daemon, GROUP);
        int o = wire_open(own, "'a', {}");
        uint32_t first, second;

        expect(own, "nil", "chown(%d, 'daemon')", o);
        wire_open(alice, "'a', {}");
        daemon_freeze(d);
        first = wire_send(own, "chown(%d, 'bin')", o);
        second = wire_send(own, "chown(%d, nil)", o);
        daemon_thaw(d);
        expect_text(wire_answer(own, first), "nil");
        expect_text(wire_answer(own, second), "nil");
        expect_text(wire_told(alice), "ended(1, 'denied', '...')");
        ck_assert_int_eq(daemon_log_lines(d, "target=\"bin\""), 1);
        wire_open(alice, "'a', {}"); /* without an owner and without rules everyone may */
}
END_TEST

#define SEALS_RULES "idle-close = 0\n[access]\neveryone = read on theirs\n"

/* His right to write does not come from a rule. Who may only read seals nothing. */
START_TEST(an_owner_seals_as_he_opens)
{
        if (!can_be_others())
                return;
        DAEMON d = daemon_start(.config = SEALS_RULES);
        CLIENT own = wire_connect(d);
        CLIENT alice = as(d, ids.daemon, GROUP);
        TEST_FREED char *out = command("rm -f key; $BUILD/gramctl key new key");
        TEST_FREED char *key = realpath("key", NULL);
        TEST_FREED char *config = test_format(SEALS_RULES "[encryption]\nkey-file = %s\n", key);
        int s = wire_open(own, "'theirs', {}"), a = wire_open(own, "'a', {}");

        expect(own, "nil", "chown(%d, 'daemon')", a);
        expect(own, "nil", "close(%d)", a);
        expect(own, "nil", "close(%d)", s);
        daemon_reload(d, config);
        s = wire_open(alice, "'theirs', {seal: true}");
        ck_assert_ptr_null(strstr(wire_call(alice, "info(%d)", s), "sealed"));
        s = wire_open(alice, "'a', {seal: true}");
        expect(alice, "{...sealed: ...}", "info(%d)", s);
}
END_TEST

/* Nobody but he is told what is wrong with it. */
START_TEST(an_owner_is_told_why_it_cannot_be_opened)
{
        if (!can_be_others())
                return;
        DAEMON d = daemon_start(.config = "idle-close = 0\n[access]\nuser bin = write on b*\n");
        CLIENT own = wire_connect(d);
        CLIENT alice = as(d, ids.daemon, GROUP);
        CLIENT bob = as(d, ids.bin, GROUP);
        TEST_FREED char *path = daemon_path(d, "a");
        int s = wire_open(own, "'a', {}");

        expect(own, "nil", "chown(%d, 'daemon')", s);
        daemon_stop(d);
        sql(path, "ALTER TABLE sessions RENAME TO gone");
        daemon_resume(d);
        wire_end(&alice);
        wire_end(&bob);
        alice = as(d, ids.daemon, GROUP);
        bob = as(d, ids.bin, GROUP);
        expect(bob, "!denied", "open('a', {})");
        expect(alice, "!corrupt", "open('a', {})");
}
END_TEST

enum { OPENS = 40000, HANDLES = 1000, HOLDERS = 3 };

/* So many that the session is deleted, and its handles end in several turns, while they are executed. */
static void open_in_a_flood(struct daemon *d, struct wire *c, struct wire *deleter, int session)
{
        const uint32_t first = 100000;
        uint8_t *flood = NULL;
        size_t len = 0, sent;

        for (uint32_t i = 0; i < OPENS; i++) {
                size_t n;
                uint8_t *request =
                        wire_pack(first + i, &n, "open('anna', {backend: 'memory', mode: 'exclusive'})");

                if (!flood)
                        flood = malloc(OPENS * n);
                ck_assert_ptr_nonnull(flood);
                memcpy(flood + len, request, n);
                len += n;
                free(request);
        }
        daemon_freeze(d);
        sent = wire_raw_some(c, flood, len);
        wire_send(deleter, "delete(%d)", session);
        daemon_thaw(d);
        wire_raw(c, flood + sent, len - sent);
        free(flood);
}

/* What he owned counts no more while it ends: no rule lets him make one. */
START_TEST(a_former_owner_makes_no_session)
{
        if (!can_be_others())
                return;
        DAEMON d = daemon_start(.config = "client-buffer = 1G\n[access]\nuser 1 = read\n");
        CLIENT root = wire_connect(d);
        CLIENT c = as(d, NAMELESS, GROUP);
        struct wire *holders[HOLDERS];
        int s = wire_open(root, "'anna', {backend: 'memory'}"), n_busy = 0, n_denied = 0;

        expect(root, "nil", "chown(%d, '#%d')", s, NAMELESS);
        for (int i = 0; i < HOLDERS; i++) {
                holders[i] = wire_connect(d);
                for (int k = 0; k < HANDLES; k++)
                        wire_open(holders[i], "'anna', {backend: 'memory'}");
        }
        open_in_a_flood(d, c, root, s);
        for (int i = 0; i < OPENS; i++) {
                const char *text = wire_next(c);

                ck_assert_ptr_nonnull(text);
                ck_assert_msg(strstr(text, ": !"), "%s", text);
                n_busy += strstr(text, "!busy") != NULL;
                n_denied += strstr(text, "!denied") != NULL;
        }
        ck_assert_msg(n_busy > 0 && n_denied > 0, "it was not deleted within the flood: %d, then %d", n_busy,
                      n_denied);
        for (int i = 0; i < HOLDERS; i++)
                wire_end(&holders[i]);
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                root_gives_a_session_away,
                an_owner_changes_the_group,
                admins_give_away_what_they_may_open,
                wrong_owners_are_refused,
                opens_that_wait_are_refused,
                a_former_owner_changes_nothing,
                a_former_owner_makes_no_session,
                an_owner_seals_as_he_opens,
                an_owner_is_told_why_it_cannot_be_opened,
                each_change_has_its_effect,
                NULL,
        };
        const TTest *const repeated[] = { an_owner_is_stored, NULL };
        int failed = test_program("owner", tests);

        return test_program_repeated("owner_stored", repeated, 2) || failed;
}
