#ifndef GRAMD_TESTS_SUPPORT_DAEMON_H
#define GRAMD_TESTS_SUPPORT_DAEMON_H

/*
 * A real gramd ($BUILD/gramd) for a test, in a directory of its own with its own data, socket and
 * configuration. It dies with the test's process. Nothing here sleeps: readiness, reloads and the end are
 * told by the daemon (sd_notify) or the kernel.
 *
 *     DAEMON d = daemon_start(.config = "log-level = debug\n");
 *     ...                       at the end of the scope: SIGTERM, exit status 0 expected, all removed
 *
 * $GRAMD_WRAPPER, words before the program's name (a valgrind command), is honoured. $GRAMD_TEST_MONGO_LAYOUT
 * is the layout of new sessions on MongoDB.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct daemon_setup {
        int none;             /* so that the macro below needs no arguments */
        const char *config;   /* text of the configuration file; NULL: empty */
        const char *flags[8]; /* further flags, up to NULL */
        const char *data;     /* instead of DIR/data */
        const char *socket;   /* instead of DIR/socket */
        const char *program;  /* of a program in $BUILD, instead of gramd: a test daemon */
        int listen_fd;        /* > 0: inherited as LISTEN_FDS instead of --socket */
        unsigned watchdog_us; /* > 0: WATCHDOG_USEC */
        long file_size_limit; /* > 0: RLIMIT_FSIZE, bytes */
        long open_files;      /* > 0: RLIMIT_NOFILE, soft and hard */
        long open_files_soft; /* > 0: the soft limit alone */
        bool not_waited_for;  /* the caller waits for READY=1 itself */
};

struct daemon {
        struct daemon_setup setup;
        char *dir; /* absolute */
        char *data;
        char *socket;
        char *config; /* path */
        char *log;    /* path of its stderr, of all starts */
        int notify;   /* the notify socket */
        pid_t pid;    /* 0: not running */
        int ended;    /* a pipe: end of file when the daemon ends */
};

#define DAEMON __attribute__((cleanup(daemon_end), unused)) struct daemon *
#define daemon_start(...) daemon_start_setup(&(struct daemon_setup){ .none = 0, __VA_ARGS__ })

/* Returns when the daemon serves. What `setup` points to must live as long as the daemon. */
struct daemon *daemon_start_setup(const struct daemon_setup *setup);
void daemon_end(struct daemon **daemon); /* stops it if it runs, removes everything */

void daemon_stop(struct daemon *daemon);   /* SIGTERM; expects exit status 0 */
void daemon_kill(struct daemon *daemon);   /* SIGKILL */
void daemon_resume(struct daemon *daemon); /* starts it again on the same directory, after one of these */
void daemon_freeze(struct daemon *daemon); /* SIGSTOP, and waits until it has stopped */
void daemon_thaw(struct daemon *daemon);   /* SIGCONT */
void daemon_signal(struct daemon *daemon, int signal);
int daemon_wait(struct daemon *daemon); /* its exit status; 128 + signal if it was killed */

/* Waits for a notification with this line ("READY=1"); what comes before it is dropped. */
void daemon_await(struct daemon *daemon, const char *line);

/* Replaces the configuration, sends SIGHUP, and waits until the reload has ended. */
void daemon_reload(struct daemon *daemon, const char *config);

long daemon_rss_kb(const struct daemon *daemon);
long daemon_peak_rss_kb(const struct daemon *daemon);
int daemon_open_files(const struct daemon *daemon);
char *daemon_log(const struct daemon *daemon);                       /* malloc'ed */
int daemon_log_lines(const struct daemon *daemon, const char *what); /* how often the log says it */
char *daemon_path(const struct daemon *daemon, const char *session); /* of its file; malloc'ed */
char *daemon_beside(const struct daemon *daemon, const char *name);  /* DIR/NAME; malloc'ed */

/* A run that is expected to end by itself: with these arguments alone. */
struct daemon_run {
        int status;
        char *out;
        char *err;
};
#define DAEMON_RUN __attribute__((cleanup(daemon_run_deinit))) struct daemon_run
struct daemon_run daemon_run(const char *const *arguments);
void daemon_run_deinit(struct daemon_run *run);

#endif
