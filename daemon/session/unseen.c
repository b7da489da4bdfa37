/* A refusal that waits has a copy of the session's name, for the audit line: there may be no such session. */

#include "unseen.h"

#include <stdlib.h>
#include <string.h>

#include "../base/clock.h"
#include "../wire/answer.h"

enum { UNSEEN_MS = 100 }; /* longer than it takes to read an owner from a disk or a near server */

struct unseen {
        struct link link; /* sessions->unseen */
        struct sessions *sessions;
        struct request request;
        struct timer timer;
        bool create;
        char name[];
};

void deny_create(struct request *request)
{
        answer_error(request, WIRE_DENIED, "creating a session needs the right `write`");
}

static void refuse(struct request *request, bool create)
{
        request->audited.is_hidden = true;
        if (create)
                deny_create(request);
        else
                answer_error(request, WIRE_NOT_FOUND, "there is no session of this name");
}

static void end(struct unseen *unseen)
{
        struct timers *timers = unseen->sessions->timers;

        timer_stop(timers, &unseen->timer);
        timers_release(timers, 1);
        link_remove(&unseen->link);
        refuse(&unseen->request, unseen->create);
        free(unseen);
}

static void on_due(struct timer *timer)
{
        end(LINK_OF(timer, struct unseen, timer));
}

void unseen_refuse(struct request *request, struct sessions *sessions, int64_t begun_ms, bool create)
{
        const int64_t left_ms = UNSEEN_MS - (boot_now_ms() - begun_ms);
        const struct slice name = request->session;
        struct unseen *unseen = NULL;
        struct request taken;

        if (left_ms > 0 && request->connection && !sessions->stopping)
                unseen = calloc(1, sizeof(*unseen) + name.len);
        if (!unseen || !timers_reserve(sessions->timers, 1)) {
                free(unseen);
                refuse(request, create);
                return;
        }
        unseen->sessions = sessions;
        unseen->create = create;
        memcpy(unseen->name, name.data, name.len);
        request_take(request, &taken);
        taken.session = (struct slice){ unseen->name, name.len };
        request_defer(&taken, &unseen->request, sizeof(*unseen) + name.len);
        link_append(&sessions->unseen, &unseen->link);
        timer_start(sessions->timers, &unseen->timer, (uint64_t)left_ms, on_due);
}

void unseen_stop(struct sessions *sessions)
{
        while (!link_empty(&sessions->unseen))
                end(LINK_OF(sessions->unseen.next, struct unseen, link));
}
