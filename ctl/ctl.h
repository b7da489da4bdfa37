#ifndef GRAMD_CTL_CTL_H
#define GRAMD_CTL_CTL_H

/*
 * gramctl: one table of commands, one of options (main.c); everything else, --help too, comes from them. Each
 * command is one function over libgram's public API.
 */

#include <stdbool.h>
#include <stdint.h>

#include "../client-lib/gram.h"

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* What the command line said. Texts are borrowed from argv; NULL or 0: not given. */
struct ctl {
        struct gram_client *client;
        const char *socket;
        const char *timeout; /* seconds */
        const char *backend;
        const char *dialect;
        const char *format;
        const char *output; /* a file */
        const char *api_id;
        bool json;
        bool force;
        bool overwrite;
        bool help;
        bool version;
        const char *arguments[2]; /* of the command, up to NULL */
};

/* Each returns the exit code, after it has said what went wrong. */
int ctl_ping(struct ctl *ctl);
int ctl_list(struct ctl *ctl);
int ctl_show(struct ctl *ctl);
int ctl_stats(struct ctl *ctl);
int ctl_export(struct ctl *ctl);
int ctl_import(struct ctl *ctl);

/* One line on stderr, what it quotes made harmless for terminals; the exit code given first. */
int ctl_fail(int exit_code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The client's last error, with what to do about it. */
int ctl_fail_gram(struct ctl *ctl, const char *name);

/* Opens the session that the command names; it must exist, unless `create`. Else NULL, and it has been said.
 */
struct gram_session *ctl_open(struct ctl *ctl, bool create);

#endif
