/*
 * gramctl as its users see it: what it prints, on which stream and with which exit status; session strings,
 * which it must not show; and the examples of the library.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../client-lib/gram.h"
#include "../support/client.h"
#include "../support/command.h"
#include "../support/daemon.h"
#include "../support/gramctl.h"
#include "../support/program.h"

/* Stores a session with a key. Returns its string, for gram_free(). */
static char *make_session(const char *name)
{
        struct gram_client *client = test_client_new(NULL);
        struct gram_identity identity = { .fields = GRAM_ALL_FIELDS & ~(GRAM_SERVER_ADDRESS | GRAM_PORT |
                                                                        GRAM_TAKEOUT_ID | GRAM_DATE),
                                          .dc_id = 4,
                                          .api_id = 17,
                                          .user_id = 4711,
                                          .is_bot = true };
        struct gram_session *session;
        char *text;

        memset(identity.auth_key, 'k', sizeof(identity.auth_key));
        ck_assert_int_eq(gram_open(client, name, NULL, &session), 0);
        ck_assert_int_eq(gram_set(session, &identity), 0);
        ck_assert_int_eq(gram_export_string(session, "pyrogram", &text), 0);
        gram_client_free(client);
        return text;
}

/* ---- the command line ---- */

static void fits_a_terminal(const char *screen)
{
        int lines = 0;

        for (const char *at = screen; *at; at = strchr(at, '\n') + 1, lines++)
                ck_assert_msg(strcspn(at, "\n") < 80, "too wide: %.*s", (int)strcspn(at, "\n"), at);
        ck_assert_msg(lines < 24, "%d lines: %s", lines, screen);
}

/* The screen has two commands a line: a name of up to ten letters, and what it does. */
START_TEST(helps)
{
        enum { COLUMN = 40, NAME = 10 };
        RUN all = gramctl("", "--help");
        RUN one = gramctl("", "import", "--help");
        RUN version = gramctl("", "--version");
        int n = 0;

        expect_done(&all);
        fits_a_terminal(all.out);
        for (const char *at = all.out; *at; at = strchr(at, '\n') + 1)
                for (size_t column = 0; column <= COLUMN; column += COLUMN) {
                        char name[NAME + 1] = "";

                        if (strncmp(at, "  ", 2) != 0 || strcspn(at, "\n") < column + 2 + NAME)
                                continue;
                        sscanf(at + column + 2, "%10[a-z]", name);
                        RUN run = gramctl("", name, "--help");

                        expect_done(&run);
                        expect_in(run.out, name);
                        expect_in(run.out, "--socket PATH");
                        fits_a_terminal(run.out);
                        n++;
                }
        ck_assert_int_ge(n, 17);
        expect_done(&one);
        expect_in(one.out, "usage: gramctl [OPTION]... import NAME [FILE]");
        expect_in(one.out, "--overwrite");
        expect_not_in(one.out, "--output");
        expect_done(&version);
        expect_in(version.out, "gramctl ");
        expect_in(version.out, gram_version());
}
END_TEST

/* As bash calls it: the words of a line, the last of which is completed. */
static void expect_completed(const char *words, const char *completed)
{
        TEST_FREED char *shown =
                command("PATH=\"$BUILD:$PATH\" bash -c 'source \"$SOURCE/ctl/gramctl.bash\"; "
                        "COMP_WORDS=(%s); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _gramctl; "
                        "echo \"${COMPREPLY[@]}\"'",
                        words);

        ck_assert_str_eq(shown, completed);
}

START_TEST(completes_in_a_shell)
{
        DAEMON daemon = gramctl_daemon();
        static const char *const names[] = { "anna", "ann b", "berta", "ann*" };
        struct gram_client *client = test_client_new(NULL);

        for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
                struct gram_session *session;

                ck_assert_int_eq(gram_open(client, names[i], NULL, &session), 0);
        }
        expect_completed("gramctl s", "show stats seal\n");
        expect_completed("gramctl --json exp", "export\n");
        expect_completed("gramctl show ann", "ann\\ b ann\\* anna\n");
        expect_completed("gramctl show ann\\*", "ann\\*\n");
        expect_completed("gramctl seal anna b", "berta\n");
        expect_completed("gramctl chown anna anna ber", "berta\n");
        expect_completed("gramctl kv get be", "berta\n");
        expect_completed("gramctl kv get berta be", "\n"); /* a key */
        expect_completed("gramctl import --dialect pyrof", "pyrofork\n");
        expect_completed("gramctl export --fo", "--format --force\n");
        gram_client_free(client);
        daemon_stop(daemon);
        expect_completed("gramctl show ann", "\n");
}
END_TEST

START_TEST(refuses_wrong_command_lines)
{
        static const struct {
                const char *arguments[5];
                const char *words;
        } rows[] = {
                { { NULL }, "command is missing" },
                { { "fly" }, "unknown command fly" },
                { { "show" }, "show NAME" },
                { { "ping", "pong" }, "usage: gramctl [OPTION]... ping" },
                { { "import", "a", "b", "c" }, "import NAME [FILE]" },
                { { "list", "--wait", "5" }, "list does not take --wait" },
                { { "drain", "5" }, "usage: gramctl [OPTION]... drain" },
                { { "list", "--format", "telethon" }, "list does not take --format" },
                { { "--timeout", "soon", "ping" }, "--timeout soon" },
                { { "--timeout", "0", "ping" }, "--timeout 0" },
        };
        RUN unknown = gramctl("", "--bogus", "ping");
        RUN lacking = gramctl("", "ping", "--socket");

        for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
                RUN run = run_program("gramctl", "", rows[i].arguments);

                expect_failed(&run, 2, rows[i].words);
        }
        expect_failed(&unknown, 2, "no option --bogus");
        expect_failed(&lacking, 2, "--socket needs a value");
}
END_TEST

/* Also those that the command line has before `--json`. */
START_TEST(errors_are_json)
{
        static const struct {
                const char *arguments[5];
                int status;
                const char *line;
        } rows[] = {
                { { "--bogus", "list", "--json" },
                  2,
                  "{\"error\": \"usage\", \"message\": \"there is no option --bogus" },
                { { "--json", "import", "berta", "nothing" },
                  1,
                  "{\"error\": \"failed\", \"message\": \"cannot read nothing" },
                { { "--json", "show", "berta" }, 5, "{\"error\": \"not_found\", \"message\": \"" },
                { { "--json", "f\x1b" },
                  2,
                  "{\"error\": \"usage\", \"message\": \"unknown command f\\u001b; " },
                { { "--json", "--socket", "nowhere", "ping" },
                  3,
                  "{\"error\": \"unreachable\", \"message\": \"" },
        };
        DAEMON daemon = gramctl_daemon();

        for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
                RUN run = run_program("gramctl", "", rows[i].arguments);

                expect_failed(&run, rows[i].status, rows[i].line);
                ck_assert_ptr_eq(strstr(run.err, rows[i].line), run.err);
                expect_in(run.err, "}\n");
                expect_not_in(run.err, "\x1b");
        }
}
END_TEST

START_TEST(says_that_the_daemon_does_not_run)
{
        RUN run = gramctl("", "--socket", "nowhere.sock", "ping");

        expect_failed(&run, 3, "nowhere.sock");
        expect_in(run.err, "systemctl start gramd");
}
END_TEST

/* ---- commands ---- */

START_TEST(pings)
{
        DAEMON daemon = gramctl_daemon();
        RUN text = gramctl("", "ping");
        RUN json = gramctl("", "--json", "ping");

        expect_done(&text);
        expect_in(text.out, "answered in");
        expect_in(text.out, daemon->socket);
        expect_done(&json);
        expect_in(json.out, "\"milliseconds\": ");
}
END_TEST

/* More rows than fit one answer. */
START_TEST(lists_all_sessions)
{
        enum { N = 1100 };
        DAEMON daemon = gramctl_daemon();
        RUN empty = gramctl("", "list", "--json");
        struct gram_client *client = test_client_new(NULL);
        int lines = 0;

        expect_done(&empty);
        ck_assert_str_eq(empty.out, "[]\n");
        for (int i = 0; i < N; i++) {
                TEST_FREED char *name = test_format("s%05d", i);
                struct gram_session *session;
                const struct gram_open_options options = { .backend = i % 100 ? "memory" : "file",
                                                           .linger_s = 600 };

                ck_assert_int_eq(gram_open(client, name, &options, &session), 0);
                ck_assert_int_eq(gram_close(session), 0);
        }
        {
                RUN text = gramctl("", "list");
                RUN json = gramctl("", "list", "--json");
                RUN some = gramctl("", "list", "s0010?");

                expect_done(&text);
                for (const char *at = text.out; *at; at++)
                        lines += *at == '\n';
                ck_assert_int_eq(lines, N + 1);
                expect_in(text.out, "\ns00000  file ");
                expect_in(text.out, "\ns01099  memory ");
                expect_done(&json);
                expect_in(json.out, "{\"name\": \"s01099\", ");
                expect_done(&some);
                expect_in(some.out, "s00109");
                expect_not_in(some.out, "s00110");
        }
        gram_client_free(client);
}
END_TEST

/* Names are cut where they are too long for it. The last ones are wide characters, and what a terminal obeys.
 */
START_TEST(lists_fit_a_terminal)
{
        static const char *const commands[] = { "list", "clients" };
        DAEMON daemon = gramctl_daemon();
        struct gram_client *client = test_client_new(
                &(struct gram_options){ .client = "a program with quite a long name, which is more than "
                                                  "eighty letters in itself \x1b[2J" });
        TEST_FREED char *longest = test_format("%0200d", 0);
        const char *const names[] = { longest, "anna", "\xe5\xad\x97\xe5\xad\x97", "\xd7\x90\xe2\x80\xae" };

        for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
                struct gram_session *session;

                ck_assert_int_eq(gram_open(client, names[i], NULL, &session), 0);
        }
        for (size_t i = 0; i < 2; i++) {
                int status;
                TEST_FREED char *screen =
                        run_on_terminal(NULL, "", (const char *const[]){ commands[i], NULL }, &status);
                RUN piped = gramctl("", commands[i]);

                ck_assert_int_eq(status, 0);
                expect_in(screen, "\x1b[1m");
                expect_in(screen, "\xe2\x80\xa6");
                expect_not_in(screen, "\x1b[2J");
                expect_not_in(screen, "\xe2\x80\xae");
                for (const char *at = strchr(screen, '\n') + 1; *at; at = strchr(at, '\n') + 1) {
                        size_t cells = 0;

                        for (const char *c = at; *c != '\r' && *c != '\n'; c++)
                                cells += ((unsigned char)*c & 0xc0) != 0x80;
                        ck_assert_msg(cells <= 80, "%zu cells: %s", cells, at);
                }
                expect_done(&piped);
                expect_in(piped.out, longest);
                expect_not_in(piped.out, "\x1b");
        }
        setenv("NO_COLOR", "1", 1);
        {
                int status;
                TEST_FREED char *plain =
                        run_on_terminal(NULL, "", (const char *const[]){ "list", NULL }, &status);

                expect_not_in(plain, "\x1b");
        }
        gram_client_free(client);
        daemon_stop(daemon);
}
END_TEST

START_TEST(shows_a_session_without_its_key)
{
        DAEMON daemon = gramctl_daemon();
        char *string = make_session("anna");
        RUN text = gramctl("", "show", "anna");
        RUN json = gramctl("", "--json", "show", "anna");
        RUN missing = gramctl("", "show", "berta");

        expect_done(&text);
        expect_in(text.out, "user_id         4711\n");
        expect_in(text.out, "has_auth_key    yes\n");
        expect_in(text.out, "is_bot          yes\n");
        expect_not_in(text.out, "kkkk");
        expect_done(&json);
        expect_in(json.out, "\"api_id\": 17, ");
        expect_in(json.out, "\"takeout_id\": null");
        expect_in(json.out, "\"is_bot\": true");
        expect_not_in(json.out, "kkkk");
        expect_failed(&missing, 5, "[not_found]");
        gram_free(string);
}
END_TEST

START_TEST(names_who_holds_a_session)
{
        DAEMON daemon = gramctl_daemon();
        struct gram_client *client = test_client_new(&(struct gram_options){
                .client = "evil\x1b[31m\xc2\x9b\xe2\x80\xae\xe2\x81\xa6\xe2\x80\x8e\xd8\x9c" });
        /* a terminal's own, and characters that change the direction of the text */
        static const char *const unsafe[] = { "\xc2\x9b", "\xe2\x80\xae", "\xe2\x81\xa6", "\xe2\x80\x8e",
                                              "\xd8\x9c" };
        struct gram_session *session;

        ck_assert_int_eq(
                gram_open(client, "anna", &(struct gram_open_options){ .mode = GRAM_EXCLUSIVE }, &session),
                0);
        {
                RUN run = gramctl("", "show", "anna");
                RUN list = gramctl("", "list");
                RUN json = gramctl("", "list", "--json");

                expect_failed(&run, 6, "held by evil");
                expect_in(run.err, "(pid ");
                expect_not_in(run.err, "\x1b"); /* control characters are escaped */
                expect_not_in(list.out, "\x1b");
                expect_not_in(json.out, "\x1b");
                expect_in(json.out, "\"evil\\\\u001b[31m\\\\u009b\\\\u202e\\\\u2066\\\\u200e\\\\u061c\"");
                for (size_t i = 0; i < sizeof(unsafe) / sizeof(*unsafe); i++) {
                        expect_not_in(run.err, unsafe[i]);
                        expect_not_in(list.out, unsafe[i]);
                        expect_not_in(json.out, unsafe[i]);
                }
        }
        gram_client_free(client);
}
END_TEST

START_TEST(prints_statistics)
{
        DAEMON daemon = gramctl_daemon();
        RUN text = gramctl("", "stats");
        RUN json = gramctl("", "stats", "--json");

        expect_done(&text);
        expect_in(text.out, "connections 1\n");
        expect_done(&json);
        expect_in(json.out, "\"connections\": 1");
}
END_TEST

/* ---- session strings ---- */

START_TEST(moves_a_session)
{
        DAEMON daemon = gramctl_daemon();
        char *string = make_session("anna");
        TEST_FREED char *line = test_format("%s\n", string);
        TEST_FREED char *padded = test_format(" \n %s \r\n\n", string);
        RUN exported = gramctl("", "export", "anna");
        RUN json = gramctl("", "export", "anna", "--json");
        RUN imported = gramctl(padded, "import", "berta", "--dialect", "telethon");
        RUN again = gramctl("", "export", "berta");
        RUN shown = gramctl("", "show", "berta");

        expect_done(&exported);
        ck_assert_str_eq(exported.out, line);
        expect_in(json.out, string);
        expect_done(&imported);
        expect_in(imported.out, "berta: set dc_id, api_id, test_mode, auth_key, ");
        ck_assert_str_eq(again.out, line);
        expect_in(shown.out, "dialect         telethon\n");
        gram_free(string);
}
END_TEST

START_TEST(imports_other_formats)
{
        DAEMON daemon = gramctl_daemon();
        char *string = make_session("anna");
        RUN telethon = gramctl("", "export", "anna", "--format", "telethon", "--output", "string");
        RUN imported = gramctl("", "import", "berta", "string", "--api-id", "99", "--json");
        RUN shown = gramctl("", "show", "berta");

        expect_done(&telethon);
        ck_assert_str_eq(telethon.out, "");
        expect_done(&imported);
        expect_in(imported.out, "{\"name\": \"berta\", \"fields\": [\"dc_id\", ");
        expect_in(shown.out, "api_id          99\n");
        test_remove("string");
        gram_free(string);
}
END_TEST

START_TEST(never_quotes_a_string_it_refuses)
{
        DAEMON daemon = gramctl_daemon();
        char *string = make_session("anna");
        TEST_FREED char *damaged = test_format("%.300s", string);
        RUN refused = gramctl(damaged, "import", "carla");
        RUN listed = gramctl("", "list");
        RUN wrong = gramctl(string, "import", "anna", "--format", "telethon");
        RUN empty = gramctl(" \n", "import", "carla");
        RUN number = gramctl(string, "import", "anna", "--api-id", "many");
        RUN no_file = gramctl("", "import", "anna", "no-such-file");

        expect_failed(&refused, 1, "carla");
        expect_not_in(refused.err, "a2tr"); /* `kkk` in base64 */
        expect_not_in(listed.out, "carla"); /* created for the import and deleted again */
        expect_failed(&wrong, 1, "anna");
        expect_failed(&empty, 1, "empty");
        expect_failed(&number, 2, "--api-id many");
        expect_failed(&no_file, 1, "no-such-file");
        gram_free(string);
}
END_TEST

/* A user must not choose what root reads, nor have him wait. One's own links and pipes are in order. */
START_TEST(reads_no_file_that_another_user_has_chosen)
{
        DAEMON daemon = gramctl_daemon();
        char *string = make_session("anna");

        test_write_file("string", string, strlen(string));
        ck_assert_int_eq(symlink("string", "link"), 0);
        ck_assert_int_eq(mkdir("folder", 0700), 0);
        ck_assert_int_eq(symlink("..", "folder/up"), 0);
        ck_assert_int_eq(mkfifo("pipe", 0600), 0);
        {
                RUN linked = gramctl("", "import", "b", "link");
                RUN over = gramctl("", "import", "c", "folder/up/string");
                RUN piped = gramctl(string, "import", "d", "/dev/stdin");
                RUN folder = gramctl("", "import", "e", "folder");

                expect_done(&linked);
                expect_done(&over);
                expect_done(&piped);
                expect_failed(&folder, 1, "not a regular file");
        }
        ck_assert_int_eq(link("string", "second"), 0);
        RUN second = gramctl("", "import", "e", "second");
        expect_failed(&second, 1, "hard links");
        unlink("second");
        if (geteuid() != 0) {
                test_skipped("links and pipes of another user", "only root can make some");
        } else {
                ck_assert_int_eq(lchown("link", 65534, 65534), 0);
                ck_assert_int_eq(lchown("folder/up", 65534, 65534), 0);
                ck_assert_int_eq(chown("pipe", 65534, 65534), 0);
                RUN linked = gramctl("", "import", "e", "link");
                RUN over = gramctl("", "import", "e", "folder/up/string");
                RUN pipe = gramctl("", "import", "e", "pipe");
                expect_failed(&linked, 1, "link of another user");
                expect_failed(&over, 1, "link of another user");
                expect_failed(&pipe, 1, "not a regular file");
        }
        RUN listed = gramctl("", "list", "--json");
        expect_not_in(listed.out, "\"e\"");
        test_remove("folder");
        unlink("string");
        unlink("link");
        unlink("pipe");
        gram_free(string);
}
END_TEST

START_TEST(keeps_another_key_unless_told)
{
        DAEMON daemon = gramctl_daemon();
        char *string = make_session("anna");
        struct gram_client *client = test_client_new(NULL);
        struct gram_identity identity = { .fields = GRAM_AUTH_KEY };
        struct gram_session *session;

        memset(identity.auth_key, 'o', sizeof(identity.auth_key));
        ck_assert_int_eq(gram_open(client, "other", NULL, &session), 0);
        ck_assert_int_eq(gram_set(session, &identity), 0);
        gram_client_free(client);
        {
                RUN kept = gramctl(string, "import", "other");
                RUN replaced = gramctl(string, "import", "other", "--overwrite");

                expect_failed(&kept, 1, "--overwrite");
                expect_done(&replaced);
        }
        gram_free(string);
}
END_TEST

START_TEST(writes_a_file_that_only_its_owner_reads)
{
        DAEMON daemon = gramctl_daemon();
        char *string = make_session("anna");
        RUN written = gramctl("", "export", "anna", "--output", "secret");
        RUN again = gramctl("", "export", "anna", "--output", "secret");
        RUN forced = gramctl("", "export", "anna", "--output", "secret", "--force");
        RUN nowhere = gramctl("", "export", "anna", "--output", "no/where");
        TEST_FREED char *text = test_read_file("secret", NULL);
        struct stat status;

        expect_done(&written);
        ck_assert_int_eq(stat("secret", &status), 0);
        ck_assert_uint_eq(status.st_mode & 0777, 0600);
        ck_assert_int_eq(strncmp(text, string, strlen(string)), 0);
        expect_failed(&again, 1, "--force");
        expect_done(&forced);
        expect_failed(&nowhere, 1, "no/where");
        test_remove("secret");
        gram_free(string);
}
END_TEST

/* With --force, the file that is replaced may be the only one with a key. */
START_TEST(a_file_that_is_not_on_the_disk_is_not_written)
{
        static const char library[] = "#include <errno.h>\n"
                                      "int fsync(int fd) { (void)fd; errno = EIO; return -1; }\n";

        if (getenv("SANITIZE") && *getenv("SANITIZE")) {
                test_skipped("a sync that fails", "a program without a sanitizer");
                return;
        }
        DAEMON daemon = gramctl_daemon();
        char *string = make_session("anna");
        TEST_FREED char *here = getcwd(NULL, 0);
        TEST_FREED char *preload = test_format("%s/failing.so", here);

        test_write_file("failing.c", library, strlen(library));
        free(command("%s -shared -fPIC -o failing.so failing.c", getenv("CC") ? getenv("CC") : "cc"));
        test_write_file("secret", "the only one", 12);
        setenv("LD_PRELOAD", preload, 1);
        RUN failed = gramctl("", "export", "anna", "--output", "secret", "--force");
        unsetenv("LD_PRELOAD");
        TEST_FREED char *text = test_read_file("secret", NULL);

        expect_failed(&failed, 1, strerror(EIO));
        ck_assert_str_eq(text, "the only one");
        test_remove("secret");
        test_remove("failing.c");
        test_remove("failing.so");
        gram_free(string);
}
END_TEST

START_TEST(does_not_show_a_string_on_a_terminal)
{
        DAEMON daemon = gramctl_daemon();
        char *string = make_session("anna");
        TEST_FREED char *typed = test_format("%s\n", string);
        int refused, forced, hidden;
        TEST_FREED char *screen =
                run_on_terminal(NULL, "", (const char *const[]){ "export", "anna", NULL }, &refused);
        TEST_FREED char *shown = run_on_terminal(
                NULL, "", (const char *const[]){ "export", "anna", "--force", NULL }, &forced);
        TEST_FREED char *prompted = run_on_terminal(
                "session string: ", typed, (const char *const[]){ "import", "berta", NULL }, &hidden);

        ck_assert_int_eq(refused, 1);
        expect_in(screen, "--output FILE");
        expect_not_in(screen, string);
        ck_assert_int_eq(forced, 0);
        expect_in(shown, string);
        ck_assert_msg(hidden == 0, "%s", prompted);
        expect_in(prompted, "berta: set dc_id");
        expect_not_in(prompted, "a2tr"); /* nothing of it was echoed */
        gram_free(string);
}
END_TEST

/* ---- examples ---- */

START_TEST(examples_run)
{
        DAEMON daemon = gramctl_daemon();
        RUN blocking = run_program("examples/blocking", "", (const char *const[]){ "anna", NULL });
        RUN uv = run_program("examples/uv", "", (const char *const[]){ "anna", NULL });
        RUN shown = gramctl("", "show", "anna");

        expect_done(&blocking);
        ck_assert_str_eq(blocking.out, "@anna is user 4711\n");
        expect_done(&uv);
        ck_assert_str_eq(uv.out, "1000 peers stored in anna\n");
        expect_in(shown.out, "peers           1001\n");
        daemon_stop(daemon);
        {
                RUN alone = run_program("examples/blocking", "", (const char *const[]){ NULL });

                expect_failed(&alone, 1, daemon->socket);
        }
}
END_TEST

int main(void)
{
        return test_program("client-lib/gramctl",
                            (const TTest *const[]){ helps,
                                                    completes_in_a_shell,
                                                    refuses_wrong_command_lines,
                                                    errors_are_json,
                                                    says_that_the_daemon_does_not_run,
                                                    pings,
                                                    lists_all_sessions,
                                                    lists_fit_a_terminal,
                                                    shows_a_session_without_its_key,
                                                    names_who_holds_a_session,
                                                    prints_statistics,
                                                    moves_a_session,
                                                    imports_other_formats,
                                                    never_quotes_a_string_it_refuses,
                                                    reads_no_file_that_another_user_has_chosen,
                                                    keeps_another_key_unless_told,
                                                    writes_a_file_that_only_its_owner_reads,
                                                    a_file_that_is_not_on_the_disk_is_not_written,
                                                    does_not_show_a_string_on_a_terminal,
                                                    examples_run,
                                                    NULL });
}
