/* Which rules are understood, and which rights they give to whom. */

#include <check.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../daemon/config/names.h"

enum { READ = RIGHT_READ, WRITE = RIGHT_WRITE, ADMIN = RIGHT_ADMIN };
enum { ALICE = 54321, BOB = 54322, BOTS = 54330, OPS = 54331 };

static struct access rules;
static char why[256];

static void teardown(void)
{
        access_deinit(&rules);
}

static void add(const char *who, const char *text)
{
        ck_assert_msg(access_add(&rules, who, text, why, sizeof(why)), "%s = %s: %s", who, text, why);
}

static unsigned rights(uid_t uid, gid_t second_gid, const char *session, const char *backend)
{
        gid_t gids[] = { 54329, second_gid };
        struct credentials peer = {
                .pid = 1, .uid = uid, .gids = gids, .n_gids = 2, .has_all = access_has_all(uid)
        };

        return access_rights(&rules, &peer, slice_of(session), backend);
}

START_TEST(without_rules)
{
        ck_assert_uint_eq(rights(ALICE, 0, "a", "file"), READ | WRITE);
        ck_assert_uint_eq(rights(ALICE, 0, NULL, NULL), RIGHT_NONE);
        ck_assert_uint_eq(rights(0, 0, "a", "file"), READ | WRITE | ADMIN);
        ck_assert_uint_eq(rights(0, 0, NULL, NULL), READ | WRITE | ADMIN);
        ck_assert_uint_eq(rights(geteuid(), 0, NULL, NULL), READ | WRITE | ADMIN);
}
END_TEST

START_TEST(a_rule_ends_the_default)
{
        add("user 54321", "read");
        ck_assert_uint_eq(rights(ALICE, 0, "a", "file"), READ);
        ck_assert_uint_eq(rights(BOB, 0, "a", "file"), RIGHT_NONE);
        ck_assert_uint_eq(rights(0, 0, "a", "file"), READ | WRITE | ADMIN);
}
END_TEST

START_TEST(rights_add_up)
{
        add("user 54321", "write on alice-*, shared-? in file");
        add("group 54330", "read in memory");
        add("everyone", "read on public");
        add("group 54331", "admin");

        ck_assert_uint_eq(rights(ALICE, 0, "alice-1", "file"), READ | WRITE);
        ck_assert_uint_eq(rights(ALICE, 0, "alice-1", "memory"), RIGHT_NONE);
        ck_assert_uint_eq(rights(ALICE, BOTS, "alice-1", "memory"), READ);
        ck_assert_uint_eq(rights(ALICE, BOTS, "alice-1", "file"), READ | WRITE);
        ck_assert_uint_eq(rights(ALICE, 0, "shared-1", "file"), READ | WRITE);
        ck_assert_uint_eq(rights(ALICE, 0, "shared-12", "file"), RIGHT_NONE);
        ck_assert_uint_eq(rights(BOB, 0, "alice-1", "file"), RIGHT_NONE);
        ck_assert_uint_eq(rights(BOB, 0, "public", "file"), READ);
        ck_assert_uint_eq(rights(BOB, OPS, NULL, NULL), ADMIN);
        ck_assert_uint_eq(rights(BOB, OPS, "alice-1", "file"), ADMIN);
        ck_assert_uint_eq(rights(ALICE, 0, NULL, NULL), RIGHT_NONE);
}
END_TEST

/* `in` before `on`, spaces, commas and spaces inside globs. */
START_TEST(spelling)
{
        add("user \t 54321", " read , write   in memory , file on a\\,b,c\\ d ");
        ck_assert_uint_eq(rights(ALICE, 0, "a,b", "file"), READ | WRITE);
        ck_assert_uint_eq(rights(ALICE, 0, "c d", "memory"), READ | WRITE);
        ck_assert_uint_eq(rights(ALICE, 0, "a", "file"), RIGHT_NONE);
        ck_assert_uint_eq(rights(ALICE, 0, "c", "file"), RIGHT_NONE);
        add("user 54322", "read on on,in");
        ck_assert_uint_eq(rights(BOB, 0, "in", "file"), READ);
}
END_TEST

START_TEST(names_are_looked_up)
{
        struct passwd *user;
        struct group *group;
        char who[128];

        while ((user = getpwent()) && (user->pw_uid == 0 || user->pw_uid == geteuid()))
                continue;
        while ((group = getgrent()) && group->gr_gid == 0)
                continue;
        ck_assert_ptr_nonnull(user);
        ck_assert_ptr_nonnull(group);
        snprintf(who, sizeof(who), "user %s", user->pw_name);
        add(who, "read on u");
        snprintf(who, sizeof(who), "group %s", group->gr_name);
        add(who, "read on g");
        ck_assert_uint_eq(rights(user->pw_uid, 1, "u", "file"), READ);
        ck_assert_uint_eq(rights(user->pw_uid + 70000, 1, "u", "file"), RIGHT_NONE);
        ck_assert_uint_eq(rights(ALICE, group->gr_gid, "g", "file"), READ);
        ck_assert_uint_eq(rights(ALICE, 54329, "g", "file"), RIGHT_NONE);
        endpwent();
        endgrent();
}
END_TEST

/* Of a user and groups of these names; NULL: they are not known. */
static unsigned rights_of(const char *user, const char *group, const char *other_group, const char *session)
{
        gid_t gids[] = { 54329, BOTS };
        struct credentials peer = { .pid = 1, .uid = ALICE, .gids = gids, .n_gids = 2 };
        unsigned found;

        peer.names = names_new(&peer);
        ck_assert_ptr_nonnull(peer.names);
        strcpy(peer.names->user, user ? user : "");
        peer.names->groups[0].name = group ? strdup(group) : NULL;
        peer.names->groups[1].name = other_group ? strdup(other_group) : NULL;
        found = access_rights(&rules, &peer, slice_of(session), "file");
        ck_assert_int_eq(access_hides(&rules, &peer, slice_of(session), "file"), !found);
        names_unref(peer.names);
        return found;
}

START_TEST(patterns_have_names)
{
        add("everyone", "write on %u-*,100%%,\\%u");
        add("user 54321", "read on %g/*,?-%g-%u");
        ck_assert_uint_eq(rights_of("alice", NULL, NULL, "alice-1"), READ | WRITE);
        ck_assert_uint_eq(rights_of("alice", NULL, NULL, "bob-1"), RIGHT_NONE);
        ck_assert_uint_eq(rights_of("alice", NULL, NULL, "alice"), RIGHT_NONE);
        ck_assert_uint_eq(rights_of("alice", NULL, NULL, "100%"), READ | WRITE);
        ck_assert_uint_eq(rights_of("alice", NULL, NULL, "100%%"), RIGHT_NONE);
        ck_assert_uint_eq(rights_of("alice", NULL, NULL, "%u"), READ | WRITE);
        ck_assert_uint_eq(rights_of("alice", NULL, NULL, "%u-1"), RIGHT_NONE);
        ck_assert_uint_eq(rights_of("alice", "bots", NULL, "bots/1"), READ);
        ck_assert_uint_eq(rights_of("alice", "bots", "ops", "ops/1"), READ);
        ck_assert_uint_eq(rights_of("alice", "bots", "ops", "x-ops-alice"), READ);
        ck_assert_uint_eq(rights_of("alice", "bots", "ops", "x-ops-bob"), RIGHT_NONE);
        /* a name is no pattern */
        ck_assert_uint_eq(rights_of("*", "*", "?", "bob-1"), RIGHT_NONE);
        ck_assert_uint_eq(rights_of("*", "*", "?", "*-1"), READ | WRITE);
        ck_assert_uint_eq(rights_of("a?[b-z]\\", "x", "y", "abc-1"), RIGHT_NONE);
        ck_assert_uint_eq(rights_of("a?[b-z]\\", "x", "y", "a?[b-z]\\-1"), READ | WRITE);
        ck_assert_uint_eq(rights_of("%u", "%g", NULL, "%u-1"), READ | WRITE);
        ck_assert_uint_eq(rights_of("%u", "%g", NULL, "%g/1"), READ);
        /* and where there is none, nothing matches */
        ck_assert_uint_eq(rights_of("", "", NULL, "-1"), RIGHT_NONE);
        ck_assert_uint_eq(rights_of("", "", NULL, "/1"), RIGHT_NONE);
        ck_assert_uint_eq(rights_of("", "bots", NULL, "x-bots-"), RIGHT_NONE);
        ck_assert_uint_eq(rights(ALICE, BOTS, "-1", "file"), RIGHT_NONE);
        ck_assert_uint_eq(rights(ALICE, BOTS, "100%", "file"), READ | WRITE);
}
END_TEST

static bool hides(const char *session, const char *backend)
{
        gid_t gids[] = { 54329 };
        const struct credentials peer = { .pid = 1, .uid = ALICE, .gids = gids, .n_gids = 1 };

        return access_hides(&rules, &peer, slice_of(session), backend);
}

START_TEST(patterns_with_names_hide_the_rest)
{
        add("everyone", "write on alice-*");
        ck_assert(!hides("bob-1", "file")); /* denied, but not hidden */
        add("user 54322", "write on %u-*");
        ck_assert(!hides("bob-1", "file")); /* not for her */
        add("everyone", "read on %u-* in file");
        ck_assert(hides("bob-1", "file"));
        ck_assert(!hides("alice-1", "file"));
        ck_assert(!hides("bob-1", "memory"));
        add("user 54321", "read in mongo");
        ck_assert(hides("bob-1", "file"));
        ck_assert(!hides("bob-1", "mongo"));
        add("user 54321", "admin");
        ck_assert(!hides("bob-1", "file"));
}
END_TEST

START_TEST(wrong_rules_are_named)
{
        static const struct {
                const char *who, *text, *named;
        } rows[] = {
                { "user nobody-of-this-name", "read", "unknown user 'nobody-of-this-name'" },
                { "group nobody-of-this-name", "read", "unknown group 'nobody-of-this-name'" },
                { "user", "read", "name of the user is missing" },
                { "group ", "read", "name of the group is missing" },
                { "user 4294967295", "read", "'4294967295' is too large" },
                { "user 99999999999999999999999", "read", "is too large" },
                { "everyone else", "read", "'everyone else'" },
                { "users alice", "read", "'users alice'" },
                { "", "read", "not ''" },
                { "everyone", "", "right missing" },
                { "everyone", "reed", "unknown right 'reed'" },
                { "everyone", "read,", "right missing" },
                { "everyone", "read,,write", "right missing before ',write'" },
                { "everyone", "read write", "not 'write'" },
                { "everyone", "read on", "session name missing" },
                { "everyone", "read on a,", "session name missing" },
                { "everyone", "read on a b", "not 'b'" },
                { "everyone", "read on a on b", "not 'on b'" },
                { "everyone", "read in tape", "unknown backend 'tape'" },
                { "everyone", "read in file in file", "once each" },
                { "everyone", "read,admin on a", "'admin' is for the whole daemon" },
                { "everyone", "read on 5%", "'5%': % is followed by u" },
                { "everyone", "read on %x-*", "'%x-*': % is followed by u" },
                { "everyone", "read on [ab]%u", "a pattern with u or g has no [" },
                { "everyone", "admin in file", "'admin' is for the whole daemon" },
        };

        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                ck_assert_msg(!access_add(&rules, rows[i].who, rows[i].text, why, sizeof(why)), "%s = %s",
                              rows[i].who, rows[i].text);
                ck_assert_msg(strstr(why, rows[i].named) != NULL, "%s = %s: %s", rows[i].who, rows[i].text,
                              why);
                ck_assert_uint_eq(rules.n_rules, 0);
        }
}
END_TEST

START_TEST(credentials_of_a_peer)
{
        struct credentials peer;
        int pair[2], file;
        gid_t groups[256];
        int n = getgroups(256, groups);

        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
        ck_assert_int_eq(credentials_init(&peer, pair[0]), 0);
        ck_assert_int_eq(peer.pid, getpid());
        ck_assert_uint_eq(peer.uid, geteuid());
        ck_assert(peer.has_all);
        ck_assert_uint_ge(peer.n_gids, 1);
        ck_assert_uint_eq(peer.gids[0], getegid());
        for (int i = 0; i < n; i++) {
                bool found = false;

                for (size_t k = 0; k < peer.n_gids; k++)
                        found |= peer.gids[k] == groups[i];
                ck_assert_msg(found, "group %u", groups[i]);
        }
        credentials_deinit(&peer);
        credentials_deinit(&peer);
        close(pair[0]);
        close(pair[1]);

        ck_assert_int_lt(file = dup(STDIN_FILENO), 100);
        close(file);
        ck_assert_int_eq(credentials_init(&peer, file), -EBADF);
        ck_assert_uint_ne(peer.uid, 0);
        credentials_deinit(&peer);
}
END_TEST

/* More groups than fit the first try. Only root can put a process into them. */
START_TEST(many_groups)
{
        struct credentials peer;
        gid_t groups[300];
        int pair[2];

        if (geteuid() != 0) {
                fprintf(stderr, "test_access: many_groups needs root to call setgroups(2): not tested\n");
                return;
        }
        for (size_t i = 0; i < 300; i++)
                groups[i] = (gid_t)(60000 + i);
        if (setgroups(300, groups) != 0) {
                fprintf(stderr, "test_access: setgroups(2) is refused here: many_groups not tested\n");
                return;
        }
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
        ck_assert_int_eq(credentials_init(&peer, pair[0]), 0);
        ck_assert_uint_eq(peer.n_gids, 301);
        ck_assert_uint_eq(peer.gids[300], 60299);
        peer.uid = ALICE;
        peer.has_all = false;
        add("group 60299", "read");
        ck_assert_uint_eq(access_rights(&rules, &peer, slice_of("a"), "file"), READ);
        credentials_deinit(&peer);
        close(pair[0]);
        close(pair[1]);
}
END_TEST

/* Who has a user namespace can have 65,536. */
START_TEST(too_many_groups_do_not_count)
{
        static gid_t groups[65536];
        struct credentials peer;
        int pair[2];

        if (geteuid() != 0) {
                fprintf(stderr, "test_access: too_many_groups needs root to call setgroups(2): not tested\n");
                return;
        }
        for (size_t i = 0; i < 65536; i++)
                groups[i] = (gid_t)(100000 + i);
        if (setgroups(65536, groups) != 0) {
                fprintf(stderr, "test_access: setgroups(2) is refused here: too_many_groups not tested\n");
                return;
        }
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
        ck_assert_int_eq(credentials_init(&peer, pair[0]), 0);
        ck_assert_uint_eq(peer.n_gids, 1);
        ck_assert_uint_eq(peer.gids[0], getegid());
        credentials_deinit(&peer);
        close(pair[0]);
        close(pair[1]);
}
END_TEST

/* Users that a namespace does not map are different people with one number. */
START_TEST(the_overflow_uid_is_nobody)
{
        uid_t self = geteuid();
        char who[32];

        ck_assert(!access_add(&rules, "user 65534", "read", why, sizeof(why)));
        ck_assert_msg(strstr(why, "a user namespace does not map"), "%s", why);
        ck_assert(!access_add(&rules, "group 65534", "read", why, sizeof(why)));
        snprintf(who, sizeof(who), "group %d", BOTS);
        add(who, "write");
        ck_assert_uint_eq(rights(ALICE, BOTS, "a", "file"), READ | WRITE);
        ck_assert_uint_eq(rights(OVERFLOW_UID, BOTS, "a", "file"), RIGHT_NONE);
        add("everyone", "read on public-*");
        ck_assert_uint_eq(rights(OVERFLOW_UID, BOTS, "public-a", "file"), READ);
        ck_assert_uint_eq(rights(OVERFLOW_UID, BOTS, NULL, NULL), RIGHT_NONE);
        if (self != 0 || seteuid(OVERFLOW_UID) != 0) /* else as another user's namespace has the daemon */
                return;
        ck_assert_uint_eq(rights(OVERFLOW_UID, BOTS, "a", "file"), RIGHT_NONE);
        ck_assert_int_eq(seteuid(self), 0);
}
END_TEST

int main(void)
{
        Suite *suite = suite_create("access");
        TCase *tcase = tcase_create("rules");
        SRunner *runner;
        int failed;

        tcase_add_checked_fixture(tcase, NULL, teardown);
        tcase_add_test(tcase, without_rules);
        tcase_add_test(tcase, a_rule_ends_the_default);
        tcase_add_test(tcase, rights_add_up);
        tcase_add_test(tcase, spelling);
        tcase_add_test(tcase, names_are_looked_up);
        tcase_add_test(tcase, patterns_have_names);
        tcase_add_test(tcase, patterns_with_names_hide_the_rest);
        tcase_add_test(tcase, wrong_rules_are_named);
        tcase_add_test(tcase, credentials_of_a_peer);
        tcase_add_test(tcase, many_groups);
        tcase_add_test(tcase, too_many_groups_do_not_count);
        tcase_add_test(tcase, the_overflow_uid_is_nobody);
        suite_add_tcase(suite, tcase);
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed != 0;
}
