/*
 * Commands that change many sessions: one session after the other, each of them whole. So they can be stopped
 * at any time, and run again.
 */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ctl.h"
#include "output.h"

struct done {
        int64_t n;
        int64_t n_failed;
        int code; /* of the failures, if they have one cause; else EXIT_FAILED */
};

static void count_failed(struct done *done, int code)
{
        done->code = done->n_failed == 0 || done->code == code ? code : EXIT_FAILED;
        done->n_failed++;
}

static void change_one(struct ctl *ctl, const struct ctl_each *each, const char *name, const char *backend,
                       struct done *done)
{
        const struct gram_open_options options = { .backend = backend,
                                                   .mode = each->mode,
                                                   .must_exist = true };
        struct gram_session *session;

        if (gram_open(ctl->client, name, &options, &session)) {
                count_failed(done, ctl_fail_gram(ctl, name));
                return;
        }
        if (each->change(session, each->argument))
                count_failed(done, ctl_fail_gram(ctl, name));
        else
                done->n++;
        gram_close(session);
}

static bool is_wanted(const struct ctl *ctl, const struct ctl_each *each,
                      const struct gram_stored_sessions *page, size_t i)
{
        const char *backend = page->rows[i].backend;

        return backend && (!ctl->backend || strcmp(backend, ctl->backend) == 0) && each->of_all(page, i);
}

static int change_all(struct ctl *ctl, const struct ctl_each *each, struct done *done)
{
        struct gram_stored_sessions *page = NULL;

        for (;;) {
                struct gram_stored_sessions *last = page;
                int error = gram_sessions(ctl->client, NULL, last ? last->rows[last->n - 1].name : NULL,
                                          GRAM_MAX_ROWS, &page);

                gram_free(last);
                if (error)
                        return ctl_fail_gram(ctl, NULL);
                for (size_t i = 0; i < page->n; i++)
                        if (is_wanted(ctl, each, page, i))
                                change_one(ctl, each, page->rows[i].name, page->rows[i].backend, done);
                if (page->n == 0)
                        break;
        }
        gram_free(page);
        return EXIT_OK;
}

int ctl_each(struct ctl *ctl, const struct ctl_each *each)
{
        int first = each->argument ? 1 : 0; /* the arguments before the names */
        struct done done = { 0 };
        int code = EXIT_OK;

        if (ctl->all == (ctl->n_list > first))
                return ctl_fail(EXIT_USAGE, "%s needs the names of sessions, or --%s", each->command,
                                each->all ? each->all : "all");
        if (ctl->all)
                code = change_all(ctl, each, &done);
        for (int i = first; i < ctl->n_list; i++)
                change_one(ctl, each, ctl->list[i], ctl->backend, &done);
        if (ctl->json) {
                putchar('{');
                json_key_int(stdout, "done", done.n, true);
                json_key_int(stdout, "failed", done.n_failed, false);
                puts("}");
        } else {
                printf("%" PRId64 " done, %" PRId64 " failed\n", done.n, done.n_failed);
        }
        if (!code && done.n_failed > 0)
                code = done.code;
        return code && done.n > 0 ? EXIT_IN_PART : code;
}
