/* gramctl's tables and its main: checks the command line against the tables, makes a client, runs the
 * command. */

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../proto/streams.h"
#include "ctl.h"
#include "output.h"

enum {
        ALL = 1023,
        LIST = 1,
        SHOW = 2,
        EXPORT = 4,
        IMPORT = 8,
        DRAIN = 16,
        OTHER = 32,
        SEAL = 64,
        KEY = 128,
        CHOWN = 256,
        KV = 512,
};

static const struct command {
        const char *name;
        const char *arguments;
        int least;
        int most;
        unsigned bit; /* in the set of commands that an option has */
        int (*run)(struct ctl *ctl);
        const char *help;
} commands[] = {
        { "ping", "", 0, 0, OTHER, ctl_ping, "ask the daemon whether it answers" },
        { "list", "[GLOB]", 0, 1, LIST, ctl_list, "list stored and open sessions" },
        { "show", "NAME", 1, 1, SHOW, ctl_show,
          "show a session: its storage, account and counts, but not its key" },
        { "export", "NAME", 1, 1, EXPORT, ctl_export, "print a session as a string, for a client library" },
        { "import", "NAME [FILE]", 1, 2, IMPORT, ctl_import,
          "store the session string in FILE, or on standard input, as session NAME" },
        { "stats", "", 0, 0, OTHER, ctl_stats, "print the daemon's counters" },
        { "seal", "NAME...", 0, INT_MAX, SEAL, ctl_seal,
          "seal the auth keys and the key-value areas of these sessions, or of all" },
        { "unseal", "NAME...", 0, INT_MAX, SEAL, ctl_unseal, "store both in the clear again" },
        { "rotate", "NAME...", 0, INT_MAX, SEAL, ctl_rotate,
          "seal with the daemon's current key what a former one sealed" },
        { "chown", "OWNER NAME...", 1, INT_MAX, CHOWN, ctl_chown,
          "give these sessions to OWNER, which is user or user:group; `-` takes the owner away" },
        { "kv", "VERB SESSION...", 2, INT_MAX, KV, ctl_kv,
          "get, set, swap, scan or delete keys of the session's key-value area" },
        { "key", "new FILE", 2, 2, KEY, ctl_key,
          "put a new current key into a key file, and keep the former ones; `-` prints it" },
        { "drain", "", 0, 0, DRAIN, ctl_drain,
          "hand the sessions on MongoDB over to other hosts, and wait until that is done" },
};

static const struct option_row {
        const char *name;
        const char *argument; /* NULL: the option takes none */
        unsigned commands;
        size_t at; /* offset of its const char * or bool in struct ctl */
        const char *help;
} options[] = {
        { "socket", "PATH", ALL, offsetof(struct ctl, socket),
          "the daemon's socket (else $GRAMD_SOCKET, $XDG_RUNTIME_DIR/gramd.sock, /run/gramd/gramd.sock)" },
        { "json", NULL, ALL, offsetof(struct ctl, json), "print JSON" },
        { "timeout", "SECONDS", ALL, offsetof(struct ctl, timeout), "how long to wait for an answer (30)" },
        { "backend", "NAME", SHOW | EXPORT | IMPORT | SEAL | CHOWN | KV, offsetof(struct ctl, backend),
          "where the session is stored: file, memory, mongo (the daemon's default)" },
        { "format", "NAME", EXPORT | IMPORT, offsetof(struct ctl, format),
          "format of the string (export: pyrogram; import: detected); gramctl(1) lists the formats" },
        { "output", "FILE", EXPORT, offsetof(struct ctl, output),
          "write a new file, readable by you alone, instead of standard output" },
        { "force", NULL, EXPORT, offsetof(struct ctl, force),
          "print the string on a terminal; overwrite the file of --output" },
        { "overwrite", NULL, IMPORT, offsetof(struct ctl, overwrite),
          "replace the key of a session that has another one" },
        { "api-id", "NUMBER", IMPORT, offsetof(struct ctl, api_id),
          "the application's api_id, for formats that contain none" },
        { "dialect", "NAME", IMPORT, offsetof(struct ctl, dialect),
          "layout of a new session: pyrogram, hydrogram, pyrofork, electrogram, kurigram, irenogram, "
          "pyrotgfork, telethon" },
        { "ttl", "SECONDS", KV, offsetof(struct ctl, ttl), "set, swap: the value expires then" },
        { "expected", "VALUE", KV, offsetof(struct ctl, expected),
          "swap, delete: only if the key has this value; swap without it: if it has none" },
        { "expected-file", "FILE", KV, offsetof(struct ctl, expected_file),
          "the same, with the value in a file" },
        { "wait", "SECONDS", DRAIN, offsetof(struct ctl, wait),
          "how long to wait until the sessions are handed over (without end)" },
        { "no-wait", NULL, DRAIN, offsetof(struct ctl, no_wait), "start the drain and return" },
        { "off", NULL, DRAIN, offsetof(struct ctl, off), "end the drain: sessions are opened here again" },
        { "all", NULL, SEAL, offsetof(struct ctl, all), "all stored sessions, also of other backends" },
        { "all-without-owner", NULL, CHOWN, offsetof(struct ctl, all),
          "all stored and open sessions that have no owner, also of other backends" },
        { "help", NULL, ALL, offsetof(struct ctl, help), "print this, or a command's own help" },
        { "version", NULL, ALL, offsetof(struct ctl, version), "print the version" },
};

enum {
        N_COMMANDS = sizeof(commands) / sizeof(*commands),
        N_OPTIONS = sizeof(options) / sizeof(*options),
};
_Static_assert(N_OPTIONS < 32, "options_read() returns a set of them as bits of a long");

/* ---- help ---- */

static void help_option(const struct option_row *option)
{
        char left[40];

        snprintf(left, sizeof(left), "--%s%s%s", option->name, option->argument ? " " : "",
                 option->argument ? option->argument : "");
        printf("  %-20s  %s\n", left, option->help);
}

static void help(const struct command *command)
{
        if (command) {
                printf("usage: gramctl [OPTION]... %s %s\n\n%s\n\noptions:\n", command->name,
                       command->arguments, command->help);
        } else {
                puts("usage: gramctl [OPTION]... COMMAND [ARGUMENT]...\n\ncommands:");
                for (int i = 0; i < N_COMMANDS; i++)
                        printf("  %-6s %-13s  %s\n", commands[i].name, commands[i].arguments,
                               commands[i].help);
                puts("\noptions:");
        }
        for (int i = 0; i < N_OPTIONS; i++) {
                if (!command || options[i].commands & command->bit)
                        help_option(&options[i]);
        }
        if (!command)
                puts("\nexit status: 0 done, 1 failed, 2 usage, 3 unreachable, 4 denied, 5 not found, 6 "
                     "busy,\n"
                     "7 done in part");
}

/* ---- a session ---- */

int ctl_open(struct ctl *ctl, bool create, struct gram_session **session)
{
        const struct gram_open_options open_options = { .backend = ctl->backend,
                                                        .dialect = ctl->dialect,
                                                        .must_exist = !create };

        if (gram_open(ctl->client, ctl->arguments[0], &open_options, session))
                return ctl_fail_gram(ctl, ctl->arguments[0]);
        return EXIT_OK;
}

/* ---- the command line ---- */

static const struct command *command_find(const char *name)
{
        for (int i = 0; i < N_COMMANDS; i++) {
                if (strcmp(commands[i].name, name) == 0)
                        return &commands[i];
        }
        return NULL;
}

static void option_set(struct ctl *ctl, const struct option_row *option, const char *value)
{
        char *at = (char *)ctl + option->at;

        if (option->argument)
                *(const char **)(void *)at = value;
        else
                *(bool *)(void *)at = true;
}

/* Options may be anywhere on the line. Returns the given ones as bits, or -1 after printing an error. */
static long options_read(struct ctl *ctl, int argc, char **argv)
{
        struct option longs[N_OPTIONS + 1] = { 0 };
        long given = 0;
        int index;

        for (int i = 0; i < N_OPTIONS; i++) {
                longs[i].name = options[i].name;
                longs[i].has_arg = options[i].argument ? required_argument : no_argument;
        }
        for (;;) {
                int result = getopt_long(argc, argv, ":", longs, &index);

                if (result == -1)
                        return given;
                if (result != 0) {
                        ctl_fail(EXIT_USAGE,
                                 result == ':'
                                         ? "%s needs a value; see gramctl --help"
                                         : "there is no option %s, or it takes no value; see gramctl --help",
                                 argv[optind - 1]);
                        return -1;
                }
                option_set(ctl, &options[index], optarg);
                given |= 1L << index;
        }
}

static int options_check(const struct command *command, long given)
{
        for (int i = 0; i < N_OPTIONS; i++) {
                if (given >> i & 1 && !(options[i].commands & command->bit))
                        return ctl_fail(EXIT_USAGE, "%s does not take --%s; see gramctl %s --help",
                                        command->name, options[i].name, command->name);
        }
        return EXIT_OK;
}

bool ctl_seconds(const char *option, const char *text, int64_t *ms)
{
        char *end = NULL;
        double seconds = strtod(text, &end);

        if (end == text || *end || !(seconds > 0 && seconds < 1e9)) {
                ctl_fail(EXIT_USAGE, "--%s %s: not a number of seconds", option, text);
                return false;
        }
        *ms = seconds < 0.001 ? 1 : (int64_t)(seconds * 1000);
        return true;
}

static int client_make(struct ctl *ctl)
{
        struct gram_options gram_options = { .socket = ctl->socket, .client = "gramctl" };

        if (ctl->timeout && !ctl_seconds("timeout", ctl->timeout, &gram_options.timeout_ms))
                return EXIT_USAGE;
        ctl->client = gram_client_new(&gram_options);
        if (!ctl->client)
                return ctl_fail(EXIT_FAILED, "cannot start: %s", strerror(errno));
        return EXIT_OK;
}

static int command_run(struct ctl *ctl, const struct command *command)
{
        int code = client_make(ctl);

        if (code)
                return code;
        if (gram_connect(ctl->client))
                code = ctl_fail_gram(ctl, NULL);
        else
                code = command->run(ctl);
        gram_client_free(ctl->client);
        if (fflush(stdout) != 0 && !code)
                code = ctl_fail(EXIT_FAILED, "cannot write the result: %s", strerror(errno));
        return code;
}

int main(int argc, char **argv)
{
        const struct command *command = NULL;
        struct ctl ctl = { 0 };
        long given;
        int n;

        if (!streams_open())
                return EXIT_FAILED;
        for (int i = 1; i < argc; i++)
                ctl_fails_as_json |= strcmp(argv[i], "--json") == 0; /* also of errors before it */
        given = options_read(&ctl, argc, argv);
        n = argc - optind - 1;
        if (given < 0)
                return EXIT_USAGE;
        if (ctl.version) {
                puts("gramctl " GRAMD_VERSION);
                return EXIT_OK;
        }
        if (n >= 0) {
                command = command_find(argv[optind]);
                if (!command)
                        return ctl_fail(EXIT_USAGE, "unknown command %s; see gramctl --help", argv[optind]);
        }
        if (ctl.help) {
                help(command);
                return EXIT_OK;
        }
        if (!command)
                return ctl_fail(EXIT_USAGE, "the command is missing; see gramctl --help");
        if (n < command->least || n > command->most)
                return ctl_fail(EXIT_USAGE, "usage: gramctl [OPTION]... %s %s", command->name,
                                command->arguments);
        ctl.list = argv + optind + 1;
        ctl.n_list = n;
        for (int i = 0; i < n && i < 2; i++)
                ctl.arguments[i] = argv[optind + 1 + i];
        if (options_check(command, given))
                return EXIT_USAGE;
        if (command->bit == KEY)
                return ctl_key(&ctl);
        return command_run(&ctl, command);
}
