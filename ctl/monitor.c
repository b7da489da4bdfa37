/* monitor: the requests of all clients, as they are answered, until it is interrupted. */

#include <errno.h>
#include <fnmatch.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ctl.h"
#include "output.h"

static bool is_wanted(const struct ctl *ctl, const struct gram_monitored *request)
{
        if (ctl->session && (!request->session || fnmatch(ctl->session, request->session, 0) != 0))
                return false;
        return (!ctl->method || strcmp(ctl->method, request->method) == 0) &&
               request->microseconds >= ctl->slower_than_us;
}

static void print_json(const struct gram_monitored *request)
{
        putchar('{');
        json_key(stdout, "time", true);
        printf("%.6f", request->time);
        json_key_text(stdout, "client", request->client, false);
        json_key_text(stdout, "method", request->method, false);
        json_key_text(stdout, "session", request->session, false);
        json_key(stdout, "microseconds", false);
        json_number(stdout, request->microseconds);
        json_key_text(stdout, "error", request->error, false);
        puts("}");
}

static void print_line(const struct gram_monitored *request)
{
        time_t seconds = (time_t)request->time;
        char text[16] = "";
        struct tm local;

        if (localtime_r(&seconds, &local))
                strftime(text, sizeof(text), "%H:%M:%S", &local);
        printf("%s.%03d %10.3f ms  %-16s ", text, (int)((request->time - (double)seconds) * 1000),
               request->microseconds / 1000, request->method);
        print_text(stdout, request->session ? request->session : "-");
        fputs("  ", stdout);
        print_text(stdout, request->client ? request->client : "a client without a name");
        if (request->error)
                printf("  [%s]", request->error);
        putchar('\n');
}

void ctl_monitor_event(struct ctl *ctl, const struct gram_event *event)
{
        if (event->type == GRAM_EVENT_DISCONNECTED)
                fprintf(stderr, "gramctl: the daemon is away; requests are shown again when it is back\n");
        if (event->type != GRAM_EVENT_REQUEST || !is_wanted(ctl, event->request))
                return;
        if (ctl->json)
                print_json(event->request);
        else
                print_line(event->request);
}

static int read_slower_than(struct ctl *ctl)
{
        char *end = NULL;
        double ms = strtod(ctl->slower_than, &end);

        if (end == ctl->slower_than || *end || !(ms >= 0 && ms < 1e12))
                return ctl_fail(EXIT_USAGE, "--slower-than %s: not a number of milliseconds",
                                ctl->slower_than);
        ctl->slower_than_us = ms * 1000;
        return EXIT_OK;
}

int ctl_monitor(struct ctl *ctl)
{
        struct pollfd daemon = { .fd = gram_fd(ctl->client), .events = POLLIN };

        if (ctl->slower_than && read_slower_than(ctl))
                return EXIT_USAGE;
        if (gram_monitor(ctl->client, true))
                return ctl_fail_gram(ctl, NULL);
        for (;;) { /* until a signal ends it */
                if (fflush(stdout) != 0)
                        return ctl_fail(EXIT_FAILED, "cannot write standard output: %s", strerror(errno));
                if (poll(&daemon, 1, -1) > 0)
                        gram_process(ctl->client);
        }
}
