/*
 * drain: asks the daemon to hand its sessions over, then looks at its figures until none is left. The drain
 * is the daemon's: it goes on when this program ends.
 */

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ctl.h"
#include "output.h"

enum { LOOK_MS = 100, HOLDERS_EVERY = 10 /* looks */ };

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal)
{
        (void)signal;
        interrupted = 1;
}

static void on_terminal(int number, void (*handler)(int))
{
        struct sigaction action = { .sa_handler = handler };

        sigaction(number, &action, NULL);
}

static int64_t now_ms(void)
{
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* How many sessions are not handed over. Returns an exit code; a failure is printed. */
static int look(struct ctl *ctl, int64_t *left)
{
        struct gram_stats *stats;

        *left = -1;
        if (gram_stats(ctl->client, &stats))
                return ctl_fail_gram(ctl, NULL);
        for (size_t i = 0; i < stats->n; i++)
                if (strcmp(stats->rows[i].name, "sessions_owned") == 0)
                        *left = (int64_t)stats->rows[i].value;
        gram_free(stats);
        if (*left < 0)
                return ctl_fail(EXIT_FAILED, "the daemon does not tell how many sessions are left");
        return EXIT_OK;
}

static const char *sessions(int64_t n)
{
        return n == 1 ? "session" : "sessions";
}

/* Who has not left yet; on a terminal. */
static void print_holders(struct ctl *ctl, int64_t left)
{
        struct gram_connected_clients *clients;
        bool any = false;

        if (gram_clients(ctl->client, &clients))
                return;
        fprintf(stderr, "%" PRId64 " %s left", left, sessions(left));
        for (size_t i = 0; i < clients->n; i++) {
                const struct gram_connected_client *row = &clients->rows[i];

                if (!clients->leased[i])
                        continue;
                fputs(any ? ", " : ": ", stderr);
                print_holder(stderr, &(struct gram_holder){
                                             .pid = row->pid, .uid = row->uid, .client = row->client });
                fprintf(stderr, " holds %" PRId64, clients->leased[i]);
                any = true;
        }
        fputs(any ? "\n" : ": the leases of clients that have gone are waited out\n", stderr);
        gram_free(clients);
}

static int done(const struct ctl *ctl, bool draining, int64_t left)
{
        if (ctl->json) {
                printf("{\"draining\": %s", draining ? "true" : "false");
                json_key_int(stdout, "sessions_owned", left, false);
                puts("}");
        } else if (!draining) {
                puts("the drain has ended: sessions are opened here again");
        } else if (left == 0) {
                puts("all sessions are handed over");
        } else {
                printf("%" PRId64 " %s to be handed over\n", left, sessions(left));
        }
        return EXIT_OK;
}

static int given_up(int64_t left)
{
        return ctl_fail(EXIT_FAILED,
                        "%" PRId64
                        " %s not handed over yet. The drain goes on; `gramctl drain --off` ends it",
                        left, left == 1 ? "session is" : "sessions are");
}

static int wait_until_handed_over(struct ctl *ctl, int64_t until_ms)
{
        const struct timespec pause = { .tv_nsec = LOOK_MS * 1000000 };
        const bool tells = !ctl->quiet && isatty(STDERR_FILENO);
        int64_t left, told = 0;

        for (unsigned looks = 0;; looks++) {
                int code = look(ctl, &left);

                if (code)
                        return code;
                if (left == 0)
                        return done(ctl, true, 0);
                if (interrupted || now_ms() >= until_ms)
                        return given_up(left);
                if (tells && looks % HOLDERS_EVERY == 0 && left != told) {
                        print_holders(ctl, left);
                        told = left;
                }
                nanosleep(&pause, NULL); /* Ctrl-C ends it early */
        }
}

int ctl_drain(struct ctl *ctl)
{
        int64_t wait_ms = INT64_MAX / 2, left;
        int code;

        if (ctl->wait && !ctl_seconds("wait", ctl->wait, &wait_ms))
                return EXIT_USAGE;
        if ((ctl->wait != NULL) + ctl->no_wait + ctl->off > 1)
                return ctl_fail(EXIT_USAGE, "drain takes one of --wait, --no-wait and --off");
        on_terminal(SIGINT, on_interrupt);
        if (gram_drain(ctl->client, !ctl->off))
                return ctl_fail_gram(ctl, NULL);
        if (!ctl->off && !ctl->no_wait)
                return wait_until_handed_over(ctl, now_ms() + wait_ms);
        code = look(ctl, &left);
        return code ? code : done(ctl, !ctl->off, left);
}
