/* The commands that only read: ping, list, show, stats. */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "columns.h"
#include "ctl.h"
#include "output.h"

/* ---- ping ---- */

int ctl_ping(struct ctl *ctl)
{
        struct timespec before, after;
        struct gram_hello *hello;
        double milliseconds;

        if (gram_hello(ctl->client, &hello))
                return ctl_fail_gram(ctl, NULL);
        clock_gettime(CLOCK_MONOTONIC, &before);
        if (gram_ping(ctl->client)) {
                gram_free(hello);
                return ctl_fail_gram(ctl, NULL);
        }
        clock_gettime(CLOCK_MONOTONIC, &after);
        milliseconds =
                (double)(after.tv_sec - before.tv_sec) * 1e3 + (double)(after.tv_nsec - before.tv_nsec) / 1e6;
        if (ctl->json) {
                putchar('{');
                json_key_text(stdout, "socket", gram_client_socket(ctl->client), true);
                json_key_text(stdout, "version", hello->version, false);
                json_key(stdout, "milliseconds", false);
                json_number(stdout, milliseconds);
                puts("}");
        } else {
                print_text(stdout, hello->server ? hello->server : "gramd");
                putchar(' ');
                print_text(stdout, hello->version ? hello->version : "?");
                fputs(" at ", stdout);
                print_text(stdout, gram_client_socket(ctl->client));
                printf(" answered in %.3f ms\n", milliseconds);
        }
        gram_free(hello);
        return EXIT_OK;
}

/* ---- list ---- */

static void list_row_json(const struct gram_stored_sessions *page, size_t i, bool first)
{
        const struct gram_stored_session *row = &page->rows[i];

        fputs(first ? "\n{" : ",\n{", stdout);
        json_key_text(stdout, "name", row->name, true);
        json_key_text(stdout, "backend", row->backend, false);
        json_key_int(stdout, "bytes", row->bytes, false);
        json_key_int(stdout, "modified", row->modified, false);
        json_key_int(stdout, "handles", row->handles, false);
        json_key(stdout, "holder", false);
        json_holder(stdout, row->holder);
        json_key_text(stdout, "owner", gram_stored_session_owner(page, i), false);
        putchar('}');
}

static void list_row(struct columns *columns, const struct gram_stored_sessions *page, size_t i)
{
        const struct gram_stored_session *row = &page->rows[i];

        columns_text(columns, row->name);
        columns_text(columns, row->backend);
        print_size(columns->file, row->bytes);
        columns_end_cell(columns);
        print_age(columns->file, row->modified);
        columns_end_cell(columns);
        columns_text(columns, gram_stored_session_owner(page, i));
        columns_int(columns, row->handles);
        if (row->holder)
                print_holder(columns->file, row->holder);
        else
                putc('-', columns->file);
        columns_end_cell(columns);
}

static int list_all(struct ctl *ctl, struct columns *columns)
{
        struct gram_stored_sessions *page = NULL;
        bool first = true;

        for (;;) {
                struct gram_stored_sessions *last = page;
                int error = gram_sessions(ctl->client, ctl->arguments[0],
                                          last ? last->rows[last->n - 1].name : NULL, GRAM_MAX_ROWS, &page);

                gram_free(last);
                if (error)
                        return ctl_fail_gram(ctl, NULL);
                if (ctl->json && first)
                        putchar('[');
                for (size_t i = 0; i < page->n; i++) {
                        if (ctl->json)
                                list_row_json(page, i, first && i == 0);
                        else
                                list_row(columns, page, i);
                }
                first = first && page->n == 0;
                if (page->n == 0) /* a page may be short because of its size: only an empty one is the end */
                        break;
        }
        gram_free(page);
        if (ctl->json)
                puts(first ? "]" : "\n]");
        else if (!columns_print(columns))
                return ctl_fail(EXIT_FAILED, "no memory");
        return EXIT_OK;
}

int ctl_list(struct ctl *ctl)
{
        struct columns columns = { .column = { { "NAME", COLUMN_CUT },
                                               { "BACKEND", COLUMN_LEFT },
                                               { "SIZE", COLUMN_RIGHT },
                                               { "AGE", COLUMN_RIGHT },
                                               { "OWNER", COLUMN_CUT },
                                               { "OPEN", COLUMN_RIGHT },
                                               { "HELD BY", COLUMN_CUT } },
                                   .n = 7 };
        int code = columns_begin(&columns) ? list_all(ctl, &columns) : ctl_fail(EXIT_FAILED, "no memory");

        columns_free(&columns);
        return code;
}

/* ---- show ---- */

static const struct {
        unsigned field;
        size_t at;
        enum { NUMBER, SWITCH, TEXT } type;
} shown[] = {
        { GRAM_DC_ID, offsetof(struct gram_identity, dc_id), NUMBER },
        { GRAM_API_ID, offsetof(struct gram_identity, api_id), NUMBER },
        { GRAM_TEST_MODE, offsetof(struct gram_identity, test_mode), SWITCH },
        { GRAM_USER_ID, offsetof(struct gram_identity, user_id), NUMBER },
        { GRAM_IS_BOT, offsetof(struct gram_identity, is_bot), SWITCH },
        { GRAM_DATE, offsetof(struct gram_identity, date), NUMBER },
        { GRAM_SERVER_ADDRESS, offsetof(struct gram_identity, server_address), TEXT },
        { GRAM_PORT, offsetof(struct gram_identity, port), NUMBER },
        { GRAM_TAKEOUT_ID, offsetof(struct gram_identity, takeout_id), NUMBER },
};

/* These print a line for people, or a member of the JSON object. */
static void show_text(const struct ctl *ctl, const char *key, const char *value)
{
        if (ctl->json) {
                json_key_text(stdout, key, value, false);
                return;
        }
        printf("%-15s ", key);
        print_text(stdout, value ? value : "-");
        putchar('\n');
}

static void show_int(const struct ctl *ctl, const char *key, int64_t value)
{
        if (ctl->json)
                json_key_int(stdout, key, value, false);
        else
                printf("%-15s %" PRId64 "\n", key, value);
}

static void show_time(const struct ctl *ctl, const char *key, int64_t seconds)
{
        if (ctl->json) {
                json_key_int(stdout, key, seconds, false);
                return;
        }
        printf("%-15s ", key);
        print_time(stdout, seconds);
        putchar('\n');
}

static void show_switch(const struct ctl *ctl, const char *key, bool value)
{
        if (ctl->json) {
                json_key(stdout, key, false);
                fputs(value ? "true" : "false", stdout);
        } else {
                printf("%-15s %s\n", key, value ? "yes" : "no");
        }
}

static void show_identity(const struct ctl *ctl, const struct gram_identity *identity)
{
        for (size_t i = 0; i < sizeof(shown) / sizeof(*shown); i++) {
                const char *name = gram_field_name(shown[i].field);
                const char *at = (const char *)identity + shown[i].at;

                if (identity->nil & shown[i].field)
                        show_text(ctl, name, NULL);
                else if (shown[i].type == NUMBER)
                        show_int(ctl, name, *(const int64_t *)(const void *)at);
                else if (shown[i].type == SWITCH)
                        show_switch(ctl, name, *(const bool *)(const void *)at);
                else
                        show_text(ctl, name, at);
        }
}

/* Shows only whether there is a key. A user without the right to write may not read even that. */
static void show_key(const struct ctl *ctl, struct gram_session *session)
{
        struct gram_identity identity;

        if (gram_get(session, GRAM_AUTH_KEY, &identity) == 0)
                show_switch(ctl, "has_auth_key", !(identity.nil & GRAM_AUTH_KEY));
        gram_identity_wipe(&identity);
}

static void show_info(const struct ctl *ctl, const struct gram_info *info)
{
        if (ctl->json) {
                putchar('{');
                json_key_text(stdout, "name", info->name, true);
        } else {
                show_text(ctl, "name", info->name);
        }
        show_text(ctl, "backend", info->backend);
        show_text(ctl, "dialect", info->dialect);
        show_int(ctl, "version", info->version);
        show_int(ctl, "peers", info->peers);
        show_int(ctl, "usernames", info->usernames);
        show_int(ctl, "states", info->states);
        show_int(ctl, "bytes", info->bytes);
        show_int(ctl, "handles", info->handles); /* counts this command's own */
        show_int(ctl, "fence", info->fence);
        if (info->unsynced_since)
                show_time(ctl, "unsynced_since", info->unsynced_since);
        if (info->sealed)
                show_text(ctl, "sealed", info->sealed);
        if (gram_info_owner(info))
                show_text(ctl, "owner", gram_info_owner(info));
}

int ctl_show(struct ctl *ctl)
{
        struct gram_session *session;
        struct gram_identity identity;
        struct gram_info *info = NULL;
        int code = ctl_open(ctl, false, &session);

        if (code)
                return code;
        if (gram_info(session, &info) || gram_get(session, GRAM_ALL_FIELDS & ~GRAM_AUTH_KEY, &identity)) {
                code = ctl_fail_gram(ctl, ctl->arguments[0]);
        } else {
                show_info(ctl, info);
                show_identity(ctl, &identity);
                show_key(ctl, session);
                if (ctl->json)
                        puts("}");
        }
        gram_free(info);
        gram_close(session);
        return code;
}

/* ---- stats ---- */

int ctl_stats(struct ctl *ctl)
{
        struct gram_stats *stats;

        if (gram_stats(ctl->client, &stats))
                return ctl_fail_gram(ctl, NULL);
        if (ctl->json)
                putchar('{');
        for (size_t i = 0; i < stats->n; i++) {
                if (ctl->json) {
                        json_key(stdout, stats->rows[i].name, i == 0);
                        json_number(stdout, stats->rows[i].value);
                        continue;
                }
                print_text(stdout, stats->rows[i].name);
                printf(" %.15g\n", stats->rows[i].value);
        }
        if (ctl->json)
                puts("}");
        gram_free(stats);
        return EXIT_OK;
}
