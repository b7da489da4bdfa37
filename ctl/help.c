/* The screens of --help. Each fits a terminal of 80 columns and 24 lines. */

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "table.h"

enum { COLUMNS = 80, INDENT = 23 };

static const char *const groups[] = {
        [GROUP_SESSION] = "sessions",
        [GROUP_ACCOUNT] = "in and out",
        [GROUP_SEALING] = "sealing",
        [GROUP_DAEMON] = "the daemon",
};

/* Words from column `indent` on, where the cursor is. */
static void put_wrapped(const char *text, size_t indent)
{
        size_t at = indent;

        while (*text) {
                size_t len = strcspn(text, " ");

                if (at + len >= COLUMNS && at > indent) {
                        printf("\n%*s", (int)indent, "");
                        at = indent;
                }
                printf("%.*s", (int)len, text);
                at += len;
                text += len;
                if (*text == ' ') {
                        text++;
                        if (at + 1 + strcspn(text, " ") < COLUMNS)
                                putchar(' ');
                        at++;
                }
        }
        putchar('\n');
}

static void put_option(const struct option_row *option)
{
        char left[40];

        snprintf(left, sizeof(left), "--%s%s%s", option->name, option->argument ? " " : "",
                 option->argument ? option->argument : "");
        printf("  %-*s", INDENT - 2, left);
        if (strlen(left) > INDENT - 4)
                printf("\n%*s", INDENT, "");
        put_wrapped(option->help, INDENT);
}

static void put_command(const struct command *command)
{
        printf("usage: gramctl [OPTION]... %s %s\n\n", command->name, command->arguments);
        put_wrapped(command->help, 0);
        puts("");
        for (int i = 0; i < n_options; i++)
                if (options[i].commands & command->bit)
                        put_option(&options[i]);
}

/* Two commands a line. */
static void put_group(int group)
{
        bool left = true;

        printf("%s:\n", groups[group]);
        for (int i = 0; i < n_commands; i++) {
                if ((int)commands[i].group != group)
                        continue;
                printf(left ? "  %-10s  %-27s" : " %-10s  %s\n", commands[i].name, commands[i].brief);
                left = !left;
        }
        if (!left)
                puts("");
}

void help(const struct command *command)
{
        if (command) {
                put_command(command);
                return;
        }
        puts("usage: gramctl [OPTION]... COMMAND [ARGUMENT]...\n");
        for (int group = 0; group < GROUP_COUNT; group++)
                put_group(group);
        puts("\n--socket PATH, --json and --timeout SECONDS go with each command;\n"
             "`gramctl COMMAND --help` has its own. --version prints the version.\n"
             "Exit status: 0 done, 1 failed, 2 usage, 3 unreachable, 4 denied, 5 not found,\n"
             "6 busy, 7 done in part. gramctl(1) has more.");
}
