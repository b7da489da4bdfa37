/* Checks the command line against the tables, makes a client, runs the command. */

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../proto/streams.h"
#include "ctl.h"
#include "output.h"
#include "table.h"

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

static void option_set(struct ctl *ctl, const struct option_row *option, const char *value)
{
        char *at = (char *)ctl + option->at;

        if (option->argument)
                *(const char **)(void *)at = value;
        else
                *(bool *)(void *)at = true;
}

/* Options may be anywhere on the line. Returns the given ones as bits, or -1 after printing an error. */
static int64_t options_read(struct ctl *ctl, int argc, char **argv)
{
        struct option longs[OPTIONS_MAX + 1] = { 0 };
        int64_t given = 0;
        int index;

        for (int i = 0; i < n_options; i++) {
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
                given |= INT64_C(1) << index;
        }
}

static int options_check(const struct command *command, int64_t given)
{
        for (int i = 0; i < n_options; i++) {
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

static void on_event(void *arg, const struct gram_event *event)
{
        ctl_monitor_event(arg, event);
}

static int client_make(struct ctl *ctl, const struct command *command)
{
        struct gram_options gram_options = { .socket = ctl->socket,
                                             .client = "gramctl",
                                             .on_event = command->bit == COMMAND_MONITOR ? on_event : NULL,
                                             .event_arg = ctl };

        if (ctl->timeout && !ctl_seconds("timeout", ctl->timeout, &gram_options.timeout_ms))
                return EXIT_USAGE;
        ctl->client = gram_client_new(&gram_options);
        if (!ctl->client)
                return ctl_fail(EXIT_FAILED, "cannot start: %s", strerror(errno));
        return EXIT_OK;
}

static int command_run(struct ctl *ctl, const struct command *command)
{
        int code = client_make(ctl, command);

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
        int64_t given;
        int n;

        if (!streams_open())
                return EXIT_FAILED;
        for (int i = 1; i < argc; i++)
                ctl_fails_as_json |= strcmp(argv[i], "--json") == 0; /* also of errors before it */
        if (argc > 1 && strcmp(argv[1], "--complete") == 0)
                return ctl_complete(argc - 2, argv + 2);
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
        if (ctl.quiet && !freopen("/dev/null", "w", stdout))
                return ctl_fail(EXIT_FAILED, "cannot open /dev/null: %s", strerror(errno));
        if (command->bit == COMMAND_KEY)
                return ctl_key(&ctl);
        return command_run(&ctl, command);
}
