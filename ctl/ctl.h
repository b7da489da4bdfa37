#ifndef GRAMD_CTL_CTL_H
#define GRAMD_CTL_CTL_H

/*
 * gramctl, the command-line tool. It stands beside the client library and uses only the library's public API.
 * main.c has a table of commands and a table of options; the rest, also --help, is derived from them. Each
 * command is one function.
 */

#include <stdbool.h>
#include <stdint.h>

#include "../client-lib/gram.h"

enum {
        EXIT_OK,
        EXIT_FAILED,
        EXIT_USAGE,
        EXIT_UNREACHABLE,
        EXIT_DENIED,
        EXIT_NOT_FOUND,
        EXIT_BUSY,
        EXIT_IN_PART, /* some of what was asked for is done */
};

/* The parsed command line. Texts are borrowed from argv; NULL or false: not given. */
struct ctl {
        struct gram_client *client;
        const char *socket;
        const char *timeout; /* seconds */
        const char *backend;
        const char *dialect;
        const char *format;
        const char *output; /* a file */
        const char *api_id;
        const char *wait; /* seconds */
        const char *ttl;  /* seconds */
        const char *expected;
        const char *expected_file;
        const char *session; /* a pattern */
        const char *method;
        const char *slower_than; /* milliseconds */
        double slower_than_us;
        bool json;
        bool quiet;
        bool force;
        bool overwrite;
        bool off;
        bool no_wait;
        bool help;
        bool version;
        bool all;
        bool yes;
        const char *arguments[2]; /* of the command; NULL: not given */
        char *const *list;        /* all arguments */
        int n_list;
};

/* Run a command. Each prints its own error and returns the exit code. */
int ctl_ping(struct ctl *ctl);
int ctl_list(struct ctl *ctl);
int ctl_show(struct ctl *ctl);
int ctl_stats(struct ctl *ctl);
int ctl_clients(struct ctl *ctl);
int ctl_disconnect(struct ctl *ctl);
int ctl_monitor(struct ctl *ctl);
void ctl_monitor_event(struct ctl *ctl, const struct gram_event *event);
int ctl_delete(struct ctl *ctl);
int ctl_drain(struct ctl *ctl);
int ctl_export(struct ctl *ctl);
int ctl_import(struct ctl *ctl);
int ctl_seal(struct ctl *ctl);
int ctl_unseal(struct ctl *ctl);
int ctl_rotate(struct ctl *ctl);
int ctl_chown(struct ctl *ctl);
int ctl_kv(struct ctl *ctl);
int ctl_key(struct ctl *ctl); /* without a client */

/* A command that changes the sessions that are named, or with an option all of some kind. */
struct ctl_each {
        const char *command;
        int (*change)(struct gram_session *session, const char *argument);
        const char *argument; /* the command's first, before the names; NULL: it has none */
        enum gram_mode mode;
        const char *all;                                                   /* the option; NULL: `all` */
        bool (*of_all)(const struct gram_stored_sessions *page, size_t i); /* which of all */
};

/* Goes on after an error, and says how many are done and how many have failed. Returns the exit code. */
int ctl_each(struct ctl *ctl, const struct ctl_each *each);

/* Prints one line on stderr, with control characters escaped; JSON with --json. Returns `exit_code`. */
extern bool ctl_fails_as_json;
int ctl_fail(int exit_code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Reads the value of an option. False: it is no number of seconds, and that is printed. */
bool ctl_seconds(const char *option, const char *text, int64_t *ms);

/* Prints the client's last error and what to do about it. Returns the exit code of its cause. `name`: of the
 * session that it is about, or NULL. */
int ctl_fail_gram(struct ctl *ctl, const char *name);

/* Opens the session that the first argument names; it must exist, unless `create`. Returns an exit code; a
 * failure is printed. */
int ctl_open(struct ctl *ctl, bool create, struct gram_session **session);

#endif
