/* Searches for the order: depth first, with a copy of the model for each step. Histories are short. */

#include "history.h"

#include <stdio.h>
#include <string.h>

struct event *history_add(struct history *history)
{
        struct event *event = &history->events[history->n++];

        require(history->n <= EVENTS_MAX);
        *event = (struct event){ .sent = ++history->now };
        return event;
}

void history_clear(struct history *history)
{
        for (size_t i = 0; i < history->n; i++)
                buffer_deinit(&history->events[i].result);
        history->n = 0;
}

/* Whether `first`, which was sent before `second`, takes effect before it, too. */
static bool is_ordered(const struct event *first, const struct event *second)
{
        return first->lane == second->lane && (asked_writes(&first->asked) || asked_writes(&second->asked));
}

/* Whether event `i` can be the next one, when those of the mask `done` have taken effect. */
static bool may_be_next(const struct history *history, unsigned done, size_t i)
{
        const struct event *event = &history->events[i];

        if (done >> i & 1)
                return false;
        for (size_t k = 0; k < history->n; k++) {
                const struct event *other = &history->events[k];

                if (k == i)
                        continue;
                if (done >> k & 1) {
                        if (event->dead && other->sent > event->dead)
                                return false;
                } else if ((other->answered && other->answered < event->sent) ||
                           (k < i && is_ordered(other, event))) {
                        return false;
                }
        }
        return true;
}

/* Does it to the model. False: it was answered otherwise. */
static bool step(struct model *model, struct event *event)
{
        static struct buffer expected;
        int error;

        if (event->kind == EVENT_SEEN)
                return model_agrees(model, &event->seen, event->killed);
        buffer_truncate(&expected, 0);
        event->changed = (struct changed){ 0 };
        error = model_step(model, &event->asked, &expected, &event->changed);
        if (!event->answered)
                return true;
        if (error != event->error)
                return false;
        if (error != NO_ERROR)
                return true;
        if (event->asked.method == METHOD_INFO)
                return model_is_info(model, (struct slice){ (char *)event->result.data, event->result.len });
        if (event->asked.method == METHOD_IMPORT_STRING)
                return model_is_imported(&event->changed,
                                         (struct slice){ (char *)event->result.data, event->result.len });
        return event->result.len == expected.len &&
               memcmp(event->result.data, expected.data, expected.len) == 0;
}

/* All that were answered have taken effect. */
static bool is_complete(const struct history *history, unsigned done)
{
        for (size_t i = 0; i < history->n; i++)
                if (history->events[i].answered && !(done >> i & 1))
                        return false;
        return true;
}

static bool search(struct history *history, const struct model *model, unsigned done, struct model *end)
{
        if (is_complete(history, done)) {
                for (size_t i = 0; i < history->n; i++)
                        if (!(done >> i & 1))
                                history->events[i].changed = (struct changed){ 0 };
                *end = *model;
                return true;
        }
        for (size_t i = 0; i < history->n; i++) {
                struct model next = *model;

                if (!may_be_next(history, done, i))
                        continue;
                if (step(&next, &history->events[i]) && search(history, &next, done | 1u << i, end))
                        return true;
        }
        return false;
}

bool history_explains(struct history *history)
{
        struct model end;

        require(history->n > 0 && history->events[history->n - 1].kind == EVENT_SEEN);
        if (!search(history, &history->begin, 0, &end))
                return false;
        history->begin = end;
        return true;
}
