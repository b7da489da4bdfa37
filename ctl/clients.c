/* Who is connected: clients, disconnect. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "columns.h"
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

static void row_text(struct columns *columns, const struct gram_connected_client *row)
{
        columns_int(columns, row->id);
        columns_text(columns, row->client);
        columns_int(columns, row->pid);
        columns_int(columns, row->uid);
        print_age(columns->file, row->since);
        columns_end_cell(columns);
        columns_int(columns, row->requests);
        columns_int(columns, row->in_flight);
        for (size_t s = 0; s < row->n_sessions; s++) {
                fputs(s == 0 ? "" : ", ", columns->file);
                print_text(columns->file, row->sessions[s]);
        }
        columns_end_cell(columns);
}

int ctl_clients(struct ctl *ctl)
{
        struct columns columns = { .column = { { "ID", COLUMN_RIGHT },
                                               { "CLIENT", COLUMN_CUT },
                                               { "PID", COLUMN_RIGHT },
                                               { "UID", COLUMN_RIGHT },
                                               { "SINCE", COLUMN_RIGHT },
                                               { "REQUESTS", COLUMN_RIGHT },
                                               { "WAITING", COLUMN_RIGHT },
                                               { "SESSIONS", COLUMN_CUT } },
                                   .n = 8 };
        struct gram_connected_clients *clients;
        bool good = true;

        if (gram_clients(ctl->client, &clients))
                return ctl_fail_gram(ctl, NULL);
        if (ctl->json) {
                putchar('[');
                for (size_t i = 0; i < clients->n; i++)
                        row_json(clients, i);
                puts(clients->n ? "\n]" : "]");
        } else {
                good = columns_begin(&columns);
                for (size_t i = 0; good && i < clients->n; i++)
                        row_text(&columns, &clients->rows[i]);
                good = good && columns_print(&columns);
                columns_free(&columns);
        }
        gram_free(clients);
        return good ? EXIT_OK : ctl_fail(EXIT_FAILED, "no memory");
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
