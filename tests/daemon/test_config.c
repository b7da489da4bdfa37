/* What the daemon makes of its flags, its environment and its configuration file. */

#include <check.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../backends/backend.h"
#include "../../daemon/config/config.h"
#include "../../daemon/config/uri.h"

static struct config config;
static struct config_error error;
static enum config_action action;

static void setup(void)
{
        static const char *const variables[] = { "GRAMD_SOCKET", "STATE_DIRECTORY" };

        for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++)
                unsetenv(variables[i]);
        setenv("HOME", "/home/somebody", 1);
        setenv("XDG_RUNTIME_DIR", "/run/user/1", 1);
}

static void teardown(void)
{
        config_deinit(&config);
}

/* The value of an option of a backend. */
static union option_value value(const char *backend, const char *name)
{
        for (size_t i = 0; backends[i]; i++) {
                const struct option *options = backends[i]->options;

                for (size_t j = 0; strcmp(backends[i]->name, backend) == 0 && options[j].name; j++)
                        if (strcmp(options[j].name, name) == 0)
                                return config_backend_values(&config, i)[j];
        }
        ck_abort_msg("the backend %s has no option %s", backend, name);
        return (union option_value){ NULL };
}

static void write_file(const char *path, const char *bytes, size_t len)
{
        FILE *file = fopen(path, "w");

        ck_assert_ptr_nonnull(file);
        ck_assert_uint_eq(fwrite(bytes, 1, len, file), len);
        ck_assert_int_eq(fclose(file), 0);
}

static void write_text(const char *text)
{
        write_file("gramd.conf", text, strlen(text));
}

/* Reads the flags, which end with NULL. */
static int load(const char *first, ...)
{
        char *argv[32] = { (char *)"gramd" };
        int argc = 1;
        va_list args;

        va_start(args, first);
        for (const char *arg = first; arg; arg = va_arg(args, const char *))
                argv[argc++] = (char *)arg;
        va_end(args);
        config_deinit(&config);
        return config_init(&config, argc, argv, &action, &error);
}

/* Reads a file of this text. */
static int load_file(const char *text)
{
        write_text(text);
        return load("--config", "gramd.conf", NULL);
}

static void expect_error(int rc, const char *text)
{
        ck_assert_int_eq(rc, -1);
        ck_assert_str_eq(error.text, text);
}

START_TEST(defaults)
{
        ck_assert_msg(load(NULL) == 0, "%s", error.text);
        ck_assert_int_eq(action, CONFIG_RUN);
        ck_assert_str_eq(config.data, "/home/somebody/.local/state/gramd");
        ck_assert_str_eq(config.socket, geteuid() == 0 ? "/run/gramd/gramd.sock" : "/run/user/1/gramd.sock");
        ck_assert_str_eq(config.backend, "file");
        ck_assert_ptr_null(value("mongo", "mongo").text);
        ck_assert_ptr_null(value("mongo", "mongo-prefix").text);
        ck_assert_uint_eq(value("mongo", "mongo-term").number, 15000);
        ck_assert_uint_eq(config.log_level, LOG_INFO);
        ck_assert(!config.log_json);
        ck_assert_uint_eq(config.fsync, FSYNC_EVERYSEC);
        ck_assert_uint_eq(config.idle_close_ms, 5000);
        ck_assert_uint_eq(config.cache_bytes, 40u << 20);
        ck_assert_uint_eq(value("file", "page-cache").number, 24u << 20);
        ck_assert_uint_eq(value("file", "log-max").number, 256u << 20);
        ck_assert_uint_eq(value("memory", "memory-max").number, 256u << 20);
        ck_assert_uint_eq(config.max_message_bytes, 4u << 20);
        ck_assert_uint_eq(config.max_in_flight, 256);
        ck_assert_uint_eq(config.max_sessions, 1024);
        ck_assert_uint_eq(config.max_clients, 10000);
        ck_assert_uint_eq(config.client_buffer_bytes, 1u << 20);
        ck_assert_uint_eq(config.workers, 4);
        ck_assert(!config.drain_on_stop);
        ck_assert_uint_eq(config.drain_timeout_ms, 60000); /* less than TimeoutStopSec of the units */
        ck_assert_uint_eq(config.access.n_rules, 0);
}
END_TEST

START_TEST(every_option_in_the_file)
{
        ck_assert_msg(
                load_file("\xef\xbb\xbfsocket = /s\n"
                          "data=/d d/x;y # z\r\n"
                          "   backend\t=\tmemory   \n"
                          "mongo = mongodb://a.example,b.example:27018/?tls=true&w=majority ; a comment\n"
                          "; cache = 1\n"
                          "  # cache = 2\n"
                          "log-level = debug\nlog-json = yes\nfsync = always\nidle-close = 0.25\n"
                          "\n"
                          "cache = 1G\npage-cache = 3k\nlog-max = 2M\nmemory-max = 65536\nmax-message = 5m\n"
                          "max-in-flight = 1\nmax-sessions = 2\nmax-clients = 3\nclient-buffer = 8K\n"
                          "workers = 16\ndrain-on-stop = yes\ndrain-timeout = 1.5\n"
                          "  [access] ; who may\n"
                          "everyone = read on public\n"
                          "   user 12 = write\n"
                          "user 12 = read on a=b\n"
                          "group 13 = admin") == 0,
                "%s", error.text);
        ck_assert_str_eq(config.config_file, "gramd.conf");
        ck_assert_str_eq(config.socket, "/s");
        ck_assert_str_eq(config.data, "/d d/x;y # z");
        ck_assert_str_eq(config.backend, "memory");
        ck_assert_str_eq(value("mongo", "mongo").text,
                         "mongodb://a.example,b.example:27018/?tls=true&w=majority");
        ck_assert_uint_eq(config.log_level, LOG_DEBUG);
        ck_assert(config.log_json);
        ck_assert_uint_eq(config.fsync, FSYNC_ALWAYS);
        ck_assert_uint_eq(config.idle_close_ms, 250);
        ck_assert_uint_eq(config.cache_bytes, 1u << 30);
        ck_assert_uint_eq(value("file", "page-cache").number, 3072);
        ck_assert_uint_eq(value("file", "log-max").number, 2u << 20);
        ck_assert_uint_eq(value("memory", "memory-max").number, 65536);
        ck_assert_uint_eq(config.max_message_bytes, 5u << 20);
        ck_assert_uint_eq(config.max_in_flight, 1);
        ck_assert_uint_eq(config.max_sessions, 2);
        ck_assert_uint_eq(config.max_clients, 3);
        ck_assert_uint_eq(config.client_buffer_bytes, 8192);
        ck_assert_uint_eq(config.workers, 16);
        ck_assert(config.drain_on_stop);
        ck_assert_uint_eq(config.drain_timeout_ms, 1500);
        ck_assert_uint_eq(config.access.n_rules, 4);
}
END_TEST

START_TEST(every_option_as_a_flag)
{
        ck_assert_msg(load("--socket", "/s", "--data=/d", "--backend", "memory", "--mongo=mongodb://h/?a=b",
                           "--log-level=error", "--log-json", "--fsync", "no", "--idle-close=0", "--cache=0",
                           "--page-cache", "1M", "--log-max=1M", "--memory-max=1M", "--max-message", "4096",
                           "--max-in-flight=9", "--max-sessions=9", "--max-clients=9", "--client-buffer=9k",
                           "--workers", "9", "--drain-on-stop", "--drain-timeout=0", NULL) == 0,
                      "%s", error.text);
        ck_assert_str_eq(config.socket, "/s");
        ck_assert_str_eq(config.data, "/d");
        ck_assert_str_eq(value("mongo", "mongo").text, "mongodb://h/?a=b");
        ck_assert_uint_eq(config.log_level, LOG_ERROR);
        ck_assert(config.log_json);
        ck_assert_uint_eq(config.fsync, FSYNC_NO);
        ck_assert_uint_eq(config.idle_close_ms, 0);
        ck_assert_uint_eq(config.cache_bytes, 0);
        ck_assert_uint_eq(config.client_buffer_bytes, 9216);
        ck_assert_uint_eq(config.workers, 9);
        ck_assert(config.drain_on_stop);
        ck_assert_uint_eq(config.drain_timeout_ms, 0);
}
END_TEST

START_TEST(flag_then_environment_then_file)
{
        write_text("socket=/file\ndata=/file\nlog-json=yes\n");
        ck_assert_int_eq(load("--config=gramd.conf", NULL), 0);
        ck_assert_str_eq(config.socket, "/file");
        ck_assert_str_eq(config.data, "/file");
        ck_assert(config.log_json);

        setenv("GRAMD_SOCKET", "/environment", 1);
        setenv("STATE_DIRECTORY", "/state:/second", 1);
        ck_assert_int_eq(load("--config=gramd.conf", NULL), 0);
        ck_assert_str_eq(config.socket, "/environment");
        ck_assert_str_eq(config.data, "/file"); /* systemd's directory is no more than a default */
        ck_assert_int_eq(load(NULL), 0);
        ck_assert_str_eq(config.data, "/state");

        ck_assert_int_eq(load("--config=gramd.conf", "--socket=/1", "--socket=/flag", "--data=/flag",
                              "--log-json=no", NULL),
                         0);
        ck_assert_str_eq(config.socket, "/flag");
        ck_assert_str_eq(config.data, "/flag");
        ck_assert(!config.log_json);

        setenv("GRAMD_SOCKET", "", 1);
        setenv("STATE_DIRECTORY", "", 1);
        ck_assert_int_eq(load(NULL), 0);
        ck_assert_str_eq(config.data, "/home/somebody/.local/state/gramd");
        ck_assert_str_ne(config.socket, "");
}
END_TEST

START_TEST(actions)
{
        static const struct {
                const char *flag;
                enum config_action action;
        } rows[] = {
                { "--check-config", CONFIG_CHECK },
                { "--print-config", CONFIG_PRINT },
                { "--version", CONFIG_VERSION },
                { "--help", CONFIG_HELP },
        };

        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                ck_assert_int_eq(load(rows[i].flag, NULL), 0);
                ck_assert_int_eq(action, rows[i].action);
        }
        /* Help and version need no configuration. */
        ck_assert_int_eq(load("--config=missing", "--help", "--nonsense", NULL), 0);
        ck_assert_int_eq(action, CONFIG_HELP);
        expect_error(load("--check-config", "--cache=x", NULL),
                     "--cache x: not a size (bytes, or with k, M, G or T behind the number)");
        expect_error(load("--help=me", NULL), "--help takes no value");
}
END_TEST

START_TEST(wrong_flags)
{
        static const struct {
                const char *first, *second, *text;
        } rows[] = {
                { "--nonsense", NULL, "unknown flag '--nonsense' (see --help)" },
                { "--nonsense=7", NULL, "unknown flag '--nonsense' (see --help)" },
                { "--mong=mongodb://u:secret@h", NULL, "unknown flag '--mong' (see --help)" },
                { "mongodb://u:secret@h", NULL, "'mongodb://u:***@h' is not a flag (see --help)" },
                { "-h", NULL, "'-h' is not a flag (see --help)" },
                { "--", NULL, "'--' is not a flag (see --help)" },
                { "", NULL, "'' is not a flag (see --help)" },
                { "--=x", NULL, "unknown flag '--' (see --help)" },
                { "--cache", NULL, "--cache: its value is missing" },
                { "--cache", "--workers", "--cache: its value is missing" },
                { "--config", NULL, "--config: its value is missing" },
                { "--socket=", NULL, "--socket : is empty" },
                { "--workers", "0", "--workers 0: out of range: 1 to 256" },
                { "--workers", "257", "--workers 257: out of range: 1 to 256" },
                { "--workers", "-1", "--workers -1: not a number" },
                { "--workers", "1k", "--workers 1k: not a number" },
                { "--max-message", "1k", "--max-message 1k: out of range: 4k to 1G" },
                { "--max-message", "99999999999999999999T",
                  "--max-message 99999999999999999999T: out of range: 4k to 1G" },
                { "--cache", "1x", "--cache 1x: not a size (bytes, or with k, M, G or T behind the number)" },
                { "--cache", "1kk",
                  "--cache 1kk: not a size (bytes, or with k, M, G or T behind the number)" },
                { "--idle-close", "86401", "--idle-close 86401: out of range: 0 to 86400" },
                { "--idle-close", "1.5s", "--idle-close 1.5s: not a number of seconds" },
                { "--idle-close", ".", "--idle-close .: not a number of seconds" },
                { "--log-level", "loud", "--log-level loud: expected error, warning, info or debug" },
                { "--log-json=maybe", NULL, "--log-json maybe: expected yes or no" },
                { "--fsync", "often", "--fsync often: expected always, everysec or no" },
                { "--data", " /x",
                  "--data  /x: must not begin or end with a space, nor hold ' ;', which begins a "
                  "comment" },
                { "--data", "/x ;y",
                  "--data /x ;y: must not begin or end with a space, nor hold ' ;', which begins "
                  "a comment" },
                { "--data", "/x\ny", "--data /x\ny: holds a control character" },
                { "--mongo", "mongodb://u:secret@h\t",
                  "--mongo mongodb://u:***@h\t: holds a control character" },
        };

        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
                expect_error(load(rows[i].first, rows[i].second, NULL), rows[i].text);
        ck_assert_int_eq(load("--backend=tape", NULL), -1);
        ck_assert_ptr_nonnull(strstr(error.text, "--backend tape: no such backend (file, memory"));
}
END_TEST

START_TEST(long_socket_path)
{
        char flag[200] = "--socket=";

        memset(flag + 9, 'x', 108);
        ck_assert_int_eq(load(flag, NULL), -1);
        ck_assert_ptr_nonnull(strstr(error.text, "too long: 108 bytes, at most 107"));
        flag[9 + 107] = '\0';
        ck_assert_int_eq(load(flag, NULL), 0);
        flag[9 + 107] = 'x';
        setenv("GRAMD_SOCKET", flag + 9, 1);
        ck_assert_int_eq(load(NULL), -1);
        ck_assert_int_eq(strncmp(error.text, "$GRAMD_SOCKET x", 15), 0);
}
END_TEST

START_TEST(wrong_files)
{
        static const struct {
                const char *file, *text;
        } rows[] = {
                { "\n# x\n  cache = lots ; really\n",
                  "gramd.conf:3: cache = lots: not a size (bytes, or with k, M, G or T behind the number)" },
                { "workers = 300", "gramd.conf:1: workers = 300: out of range: 1 to 256" },
                { "cach = 1\n", "gramd.conf:1: unknown option 'cach'" },
                { "cache = 1\n\ncache = 1\n", "gramd.conf:3: 'cache' is already set in line 1" },
                { "cache\n", "gramd.conf:1: expected 'option = value' or '[section]', not 'cache'" },
                { "cache: 1G\n", "gramd.conf:1: expected 'option = value' or '[section]', not 'cache'" },
                { "mongo mongodb://u:secret@h\n",
                  "gramd.conf:1: expected 'option = value' or '[section]', not 'mongo'" },
                { "cache ; = 1\n", "gramd.conf:1: expected 'option = value' or '[section]', not 'cache'" },
                { "cache =\n",
                  "gramd.conf:1: cache = : not a size (bytes, or with k, M, G or T behind the number)" },
                { "data =\n", "gramd.conf:1: data = : is empty" },
                { "= 1\n", "gramd.conf:1: the option's name is missing before '='" },
                { "[acess]\n", "gramd.conf:1: unknown section '[acess]' ([encryption], [access])" },
                { "[encryption]\ncache = 1\n",
                  "gramd.conf:2: option 'cache' belongs above the first section" },
                { "key-file = x\n", "gramd.conf:1: option 'key-file' belongs in the section [encryption]" },
                { "[encryption]\nfoo = 1\n", "gramd.conf:2: unknown option 'foo'" },
                { "[access\n", "gramd.conf:1: unknown section '[access' ([encryption], [access])" },
                { "[access] x\n", "gramd.conf:1: unknown section '[access] x' ([encryption], [access])" },
                { "[]\n", "gramd.conf:1: unknown section '[]' ([encryption], [access])" },
                { "[access]\ncache = 1\n", "gramd.conf:2: option 'cache' belongs above the first section" },
                { "[access]\neveryone =\n", "gramd.conf:2: 'everyone' has no rights" },
                { "[access]\neveryone = reed\n",
                  "gramd.conf:2: everyone = reed: unknown right 'reed' (read, write, admin)" },
                { "[access]\nuser no-such-user-here = read\n",
                  "gramd.conf:2: user no-such-user-here = read: unknown user 'no-such-user-here'" },
                { "log-json\n", "gramd.conf:1: expected 'option = value' or '[section]', not 'log-json'" },
                { "fsync = sometimes", "gramd.conf:1: fsync = sometimes: expected always, everysec or no" },
                { "mongo = mongodb://u:secret@h/\x01",
                  "gramd.conf:1: mongo = mongodb://u:***@h/\x01: holds a control character" },
                { "a = 1\nb = 2\n", "gramd.conf:1: unknown option 'a'" },
        };

        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
                expect_error(load_file(rows[i].file), rows[i].text);
}
END_TEST

START_TEST(files_that_cannot_be_read)
{
        ck_assert_int_eq(load(NULL), 0); /* there is no /etc/gramd/gramd.conf here, or it is right */
        expect_error(load("--config", "missing.conf", NULL), "missing.conf: No such file or directory");
        ck_assert_int_eq(mkdir("directory.conf", 0700), 0);
        ck_assert_int_eq(load("--config", "directory.conf", NULL), -1);
        ck_assert_ptr_nonnull(strstr(error.text, "Is a directory"));
        ck_assert_int_eq(rmdir("directory.conf"), 0);
        write_file("gramd.conf", "cache = 1\0x\n", 12);
        expect_error(load("--config=gramd.conf", NULL), "gramd.conf:1: holds a zero byte");
        ck_assert_int_eq(load_file(""), 0);
        ck_assert_int_eq(load_file("# only a comment"), 0);
}
END_TEST

/* inih reads 200 bytes at a time; lines may be longer. */
START_TEST(long_lines)
{
        char text[8192], expected[4096];
        size_t len;

        for (size_t lead = 0; lead < 12; lead++) {
                for (size_t size = 150; size < 1500; size += 37) {
                        static const char letters[] = "ab c=: ;d#e[f],";

                        /* Every kind of byte is at the end of a piece once. */
                        len = (size_t)snprintf(expected, sizeof(expected), "/");
                        while (len < size) {
                                char letter = letters[(len * 7 + lead) % (sizeof(letters) - 1)];

                                expected[len] = letter == ';' && expected[len - 1] == ' ' ? 'x' : letter;
                                len++;
                        }
                        expected[len++] = 'z';
                        expected[len] = '\0';
                        snprintf(text, sizeof(text), "workers = 3\n%*sdata = %s ; comment\ncache = 1M\n",
                                 (int)lead, "", expected);
                        ck_assert_msg(load_file(text) == 0, "%s", error.text);
                        ck_assert_str_eq(config.data, expected);
                        ck_assert_uint_eq(config.cache_bytes, 1u << 20);
                }
        }
        memset(text, 'x', 200);
        strcpy(text + 200, " = 1\n");
        expect_error(load_file(text), "gramd.conf:1: the name before '=' is too long");
        memset(text, ' ', sizeof(text));
        memcpy(text, "[access]\neveryone = read", 23);
        strcpy(text + 1000, "on a\n");
        expect_error(load_file(text), "gramd.conf:2: the line is too long");
        snprintf(text, sizeof(text), "data = /%04000d\nworkers = 0\n", 5);
        expect_error(load_file(text), "gramd.conf:2: workers = 0: out of range: 1 to 256");
}
END_TEST

/* What a function prints to stdout. */
static const char *printed(void (*print)(const struct config *config))
{
        static char text[32768];
        int saved = dup(STDOUT_FILENO), file = open("printed", O_RDWR | O_CREAT | O_TRUNC, 0600);
        ssize_t len;

        fflush(stdout);
        ck_assert_int_eq(dup2(file, STDOUT_FILENO), STDOUT_FILENO);
        print(&config);
        fflush(stdout);
        ck_assert_int_eq(dup2(saved, STDOUT_FILENO), STDOUT_FILENO);
        len = pread(file, text, sizeof(text) - 1, 0);
        ck_assert_int_ge(len, 0);
        text[len] = '\0';
        close(file);
        close(saved);
        return text;
}

START_TEST(a_printed_configuration_reads_back)
{
        static char first[32768], long_glob[600];

        memset(long_glob, 'g', sizeof(long_glob) - 1);
        ck_assert_int_eq(load("--idle-close=0.05", "--cache=1025", "--socket=/a b;c", "--log-json",
                              "--fsync=no", "--mongo=mongodb://h1,h2/?replicaSet=x&tlsCAFile=/y",
                              "--page-cache=2G", NULL),
                         0);
        ck_assert(access_add(&config.access, "user 12", "read , write on a*,b", error.text,
                             sizeof(error.text)));
        snprintf(first, sizeof(first), "read on %s", long_glob);
        ck_assert(access_add(&config.access, "everyone", first, error.text, sizeof(error.text)));
        strcpy(first, printed(config_print));
        ck_assert_ptr_nonnull(strstr(first, "\nidle-close = 0.05\n"));
        ck_assert_ptr_nonnull(strstr(first, "\ncache = 1025\n"));
        ck_assert_ptr_nonnull(strstr(first, "\nsocket = /a b;c\n"));
        ck_assert_ptr_nonnull(strstr(first, "\npage-cache = 2G\n"));
        ck_assert_ptr_nonnull(strstr(first, "\nuser 12 = read , write on a*,b\n"));
        ck_assert_msg(load_file(first) == 0, "%s", error.text);
        ck_assert_uint_eq(config.access.n_rules, 2);
        ck_assert_str_eq(value("mongo", "mongo").text, "mongodb://h1,h2/?replicaSet=x&tlsCAFile=/y");
        ck_assert_str_eq(printed(config_print), first);
}
END_TEST

START_TEST(a_printed_configuration_holds_no_password)
{
        const char *text;

        ck_assert_int_eq(load("--mongo=mongodb://user:secret@h/", NULL), 0);
        ck_assert_str_eq(value("mongo", "mongo").text, "mongodb://user:secret@h/");
        text = printed(config_print);
        ck_assert_ptr_null(strstr(text, "secret"));
        ck_assert_ptr_nonnull(strstr(text, "\n# mongo = mongodb://user:***@h/\n"));
        ck_assert_msg(load_file(text) == 0, "%s", error.text);
}
END_TEST

START_TEST(masked_uris)
{
        static const char *const rows[][2] = {
                { "mongodb://h:27017/?w=1", "mongodb://h:27017/?w=1" },
                { "mongodb://user@h:27017", "mongodb://user@h:27017" },
                { "mongodb://user:pw@h:1,g:2/db?w=1", "mongodb://user:***@h:1,g:2/db?w=1" },
                { "mongodb+srv://u:p:w@h", "mongodb+srv://u:***@h" },
                { "mongodb://u:p@ss@h", "mongodb://u:***@h" },
                { "mongodb://u:p/s?w@h/x", "mongodb://u:***@h/x" },
                { "u:pw@h", "u:***@h" },
                { "mongodb://:pw@h", "mongodb://:***@h" },
                { "mongodb://h/?tlsCertificateKeyFilePassword=pw&w=1",
                  "mongodb://h/?tlsCertificateKeyFilePassword=***&w=1" },
                { "mongodb://h/?w=1&PROXYPASSWORD=pw", "mongodb://h/?w=1&PROXYPASSWORD=***" },
                { "mongodb://h/?authmechanismproperties=AWS_SESSION_TOKEN:t&a=b",
                  "mongodb://h/?authmechanismproperties=***&a=b" },
                { "", "" },
        };
        char masked[128];

        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                uri_mask(rows[i][0], masked, sizeof(masked));
                ck_assert_str_eq(masked, rows[i][1]);
        }
        uri_mask("mongodb://user:secret@host", masked, 20);
        ck_assert_str_eq(masked, "mongodb://user:***@");
        uri_mask("mongodb://user:secret@host", masked, 13);
        ck_assert_str_eq(masked, "mongodb://us");
}
END_TEST

START_TEST(reload)
{
        char *argv[] = { (char *)"gramd", (char *)"--config=gramd.conf", (char *)"--workers=2", NULL };
        struct config fresh;

        write_text("cache = 1M\n[access]\neveryone = read\n");
        ck_assert_int_eq(config_init(&config, 3, argv, &action, &error), 0);

        write_text("cache = lots\n");
        ck_assert_int_eq(config_reload(&config, 3, argv, &fresh, &error), -1);
        ck_assert_ptr_nonnull(strstr(error.text, "gramd.conf:1: cache = lots"));
        config_deinit(&fresh);
        ck_assert_uint_eq(config.cache_bytes, 1u << 20);

        write_text("cache = 2M\nlog-level = debug\nfsync = no\nbackend = memory\nworkers = 9\n");
        ck_assert_msg(config_reload(&config, 3, argv, &fresh, &error) == 0, "%s", error.text);
        ck_assert_str_eq(fresh.restart, "backend, fsync");
        config_adopt(&config, &fresh);
        config_deinit(&fresh);
        ck_assert_uint_eq(config.cache_bytes, 2u << 20);
        ck_assert_uint_eq(config.log_level, LOG_DEBUG);
        ck_assert_uint_eq(config.fsync, FSYNC_EVERYSEC);
        ck_assert_str_eq(config.backend, "file");
        ck_assert_uint_eq(config.workers, 2);
        ck_assert_uint_eq(config.access.n_rules, 0);

        ck_assert_int_eq(config_reload(&config, 3, argv, &fresh, &error), 0);
        ck_assert_str_eq(fresh.restart, "backend, fsync"); /* still */
        config_deinit(&fresh);
        write_text("cache = 1M\n");
        ck_assert_int_eq(config_reload(&config, 3, argv, &fresh, &error), 0);
        ck_assert_str_eq(fresh.restart, "");
        config_deinit(&fresh);
}
END_TEST

static void print_help(const struct config *unused)
{
        (void)unused;
        config_help();
}

START_TEST(help_names_everything)
{
        static const char *const names[] = {
                "  --config FILE\n",
                "  --socket PATH\n",
                "  --mongo URI\n",
                "  --log-json[=y",
                "  --idle-close SECONDS\n",
                "  --cache SIZE\n",
                "  --workers N\n",
                "  --fsync WHEN\n",
                "  --check-config\n",
                "  --print-config\n",
                "  --version\n",
                "  --help\n",
                "Default: 40M.",
                "Default: yes.",
        };
        const char *text = printed(print_help);

        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
                ck_assert_msg(strstr(text, names[i]) != NULL, "%s", names[i]);
        for (const char *line = text, *end; (end = strchr(line, '\n')); line = end + 1)
                ck_assert_int_le(end - line, 80);
}
END_TEST

int main(void)
{
        Suite *suite = suite_create("config");
        TCase *tcase = tcase_create("config");
        SRunner *runner;
        int failed;

        tcase_add_checked_fixture(tcase, setup, teardown);
        tcase_add_test(tcase, defaults);
        tcase_add_test(tcase, every_option_in_the_file);
        tcase_add_test(tcase, every_option_as_a_flag);
        tcase_add_test(tcase, flag_then_environment_then_file);
        tcase_add_test(tcase, actions);
        tcase_add_test(tcase, wrong_flags);
        tcase_add_test(tcase, long_socket_path);
        tcase_add_test(tcase, wrong_files);
        tcase_add_test(tcase, files_that_cannot_be_read);
        tcase_add_test(tcase, long_lines);
        tcase_add_test(tcase, a_printed_configuration_reads_back);
        tcase_add_test(tcase, a_printed_configuration_holds_no_password);
        tcase_add_test(tcase, masked_uris);
        tcase_add_test(tcase, reload);
        tcase_add_test(tcase, help_names_everything);
        suite_add_tcase(suite, tcase);
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed != 0;
}
