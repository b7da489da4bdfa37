/* Who is connected: clients, disconnect. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "ctl.h"
#include "output.h"

static void row_json(const struct gram_connected_clients *clients, size_t i)
{
        const struct gram_connected_client *row = &clients->rows[i];

        fputs(i == 0 ? "\n{" : ",\n{", stdout);
        json_key_int(stdout, "id", row->id, true);
        json_key_text(stdout, "client", row->client, false);
        json_key_int(stdout, "pid", row->pid, false);
        json_key_int(stdout, "uid", row->uid, false);
        json_key_int(stdout, "gid", row->gid, false);
        json_key_int(stdout, "since", row->since, false);
        json_key_int(stdout, "requests", row->requests, false);
        json_key_int(stdout, "in_flight", row->in_flight, false);
        json_key_int(stdout, "leased", clients->leased[i], false);
        json_key(stdout, "sessions", false);
        for (size_t s = 0; s < row->n_sessions; s++) {
                fputs(s == 0 ? "[" : ", ", stdout);
                json_text(stdout, row->sessions[s]);
        }
        fputs(row->n_sessions ? "]}" : "[]}", stdout);
}

/* What may be long is last. */
static void row_text(const struct gram_connected_client *row)
{
        printf("%6" PRId64 " %8" PRId64 " %6" PRId64 "  ", row->id, row->pid, row->uid);
        print_time(stdout, row->since);
        printf("  %10" PRId64 " %7" PRId64 "  ", row->requests, row->in_flight);
        print_text(stdout, row->client ? row->client : "-");
        for (size_t s = 0; s < row->n_sessions; s++) {
                fputs(s == 0 ? ": " : ", ", stdout);
                print_text(stdout, row->sessions[s]);
        }
        putchar('\n');
}

int ctl_clients(struct ctl *ctl)
{
        struct gram_connected_clients *clients;

        if (gram_clients(ctl->client, &clients))
                return ctl_fail_gram(ctl, NULL);
        fputs(ctl->json
                      ? "["
                      : "    ID      PID    UID  SINCE                  REQUESTS WAITING  CLIENT: SESSIONS\n",
              stdout);
        for (size_t i = 0; i < clients->n; i++) {
                if (ctl->json)
                        row_json(clients, i);
                else
                        row_text(&clients->rows[i]);
        }
        if (ctl->json)
                puts(clients->n ? "\n]" : "]");
        gram_free(clients);
        return EXIT_OK;
}

int ctl_disconnect(struct ctl *ctl)
{
        const char *text = ctl->arguments[0];
        char *end = NULL;
        int64_t id;

        errno = 0;
        id = strtoll(text, &end, 10);
        if (end == text || *end || errno)
                return ctl_fail(EXIT_USAGE, "%s is no id of a client; `gramctl clients` lists them", text);
        if (gram_disconnect(ctl->client, id))
                return ctl_fail_gram(ctl, text);
        if (ctl->json)
                printf("{\"disconnected\": %" PRId64 "}\n", id);
        else
                printf("client %" PRId64 " is disconnected\n", id);
        return EXIT_OK;
}
