#ifndef GRAMD_CTL_TABLE_H
#define GRAMD_CTL_TABLE_H

#include <stddef.h>

struct ctl;

enum { COMMAND_KEY = 128, COMMAND_MONITOR = 1024 }; /* bits of commands that main() knows */

struct command {
        const char *name;
        enum { GROUP_SESSION, GROUP_ACCOUNT, GROUP_SEALING, GROUP_DAEMON, GROUP_COUNT } group;
        const char *brief;     /* for the screen that has all commands: 27 characters at most */
        const char *arguments; /* as the usage says them */
        int least;
        int most;
        unsigned bit; /* in the set of commands that an option has */
        int (*run)(struct ctl *ctl);
        const char *help;
};

struct option_row {
        const char *name;
        const char *argument; /* NULL: the option takes none */
        unsigned commands;
        size_t at; /* offset of its const char * or bool in struct ctl */
        const char *help;
};

extern const struct command commands[];
extern const struct option_row options[];
enum { OPTIONS_MAX = 62 }; /* bits of an int64_t */
extern const int n_commands, n_options;

const struct command *command_find(const char *name); /* NULL: there is none */

/* For the shell: the number of the word to be completed, then all words of the line. */
int ctl_complete(int n, char **words);

/* Prints the screen of all commands, or of one. */
void help(const struct command *command);

#endif
