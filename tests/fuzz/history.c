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

/* Whether `first`, which was sent before `second`, takes effect before it, too. What is wrong has no turn. */
static bool is_ordered(const struct event *first, const struct event *second)
{
        return first->lane == second->lane && asked_error(&first->asked) == NO_ERROR &&
               asked_error(&second->asked) == NO_ERROR &&
               (asked_writes(&first->asked) || asked_writes(&second->asked));
}

/* Which events have taken effect, and of which the answer is explained, too: bits. */
struct progress {
        unsigned done, explained;
};

/* Whether event `i` can be the next one. */
static bool may_be_next(const struct history *history, struct progress progress, size_t i)
{
        const struct event *event = &history->events[i];

        if (progress.done >> i & 1)
                return false;
        for (size_t k = 0; k < history->n; k++) {
                const struct event *other = &history->events[k];
                const bool done = progress.done >> k & 1;

                if (k == i)
                        continue;
                if (done && event->dead && other->sent > event->dead)
                        return false;
                if (!done && k < i && is_ordered(other, event))
                        return false;
                if (!(progress.explained >> k & 1) && other->answered && other->answered < event->sent)
                        return false;
        }
        return true;
}

static bool is_result(const struct event *event, const struct buffer *expected)
{
        return event->result.len == expected->len &&
               memcmp(event->result.data, expected->data, expected->len) == 0;
}

/* A swap that was not done when it was executed. */
static bool may_read_later(const struct event *event, const struct buffer *expected)
{
        const uint8_t not_done[] = { 0x92, 0xc2 };

        return event->repeated && event->asked.method == METHOD_KV_SWAP &&
               memcmp(expected->data, not_done, sizeof(not_done)) == 0;
}

/* Does it to the model. False: it was answered otherwise. `*reads_later`: its answer is not explained yet. */
static bool step(struct model *model, struct event *event, bool *reads_later)
{
        static struct buffer expected;
        struct slice result = { (char *)event->result.data, event->result.len };
        int error;

        *reads_later = false;
        if (event->kind == EVENT_SEEN) {
                model_expire(model, event->asked.now_ms);
                return model_agrees(model, &event->seen, event->killed);
        }
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
                return model_is_info(model, result);
        if (event->asked.method == METHOD_IMPORT_STRING)
                return model_is_imported(&event->changed, result);
        *reads_later = may_read_later(event, &expected);
        return *reads_later || is_result(event, &expected);
}

static bool read_later(const struct model *model, const struct event *event)
{
        static struct buffer expected;

        buffer_truncate(&expected, 0);
        model_swap_not_done(model, &event->asked, &expected);
        return is_result(event, &expected);
}

/* All that were answered are explained. */
static bool is_complete(const struct history *history, struct progress progress)
{
        for (size_t i = 0; i < history->n; i++)
                if (history->events[i].answered && !(progress.explained >> i & 1))
                        return false;
        return true;
}

/* The next thing that happens to event `i`. False: nothing can. */
static bool advance(struct history *history, struct model *model, struct progress *progress, size_t i)
{
        struct event *event = &history->events[i];
        bool reads_later;

        if (progress->explained >> i & 1)
                return false;
        if (progress->done >> i & 1) {
                progress->explained |= 1u << i;
                return read_later(model, event);
        }
        if (!may_be_next(history, *progress, i) || !step(model, event, &reads_later))
                return false;
        progress->done |= 1u << i;
        progress->explained |= reads_later ? 0 : 1u << i;
        return true;
}

static bool search(struct history *history, const struct model *model, struct progress progress,
                   struct model *end)
{
        if (is_complete(history, progress)) {
                for (size_t i = 0; i < history->n; i++)
                        if (!(progress.done >> i & 1))
                                history->events[i].changed = (struct changed){ 0 };
                *end = *model;
                return true;
        }
        for (size_t i = 0; i < history->n; i++) {
                struct model next = *model;
                struct progress further = progress;

                if (advance(history, &next, &further, i) && search(history, &next, further, end))
                        return true;
        }
        return false;
}

bool history_explains(struct history *history)
{
        struct model end;

        require(history->n > 0 && history->events[history->n - 1].kind == EVENT_SEEN);
        if (!search(history, &history->begin, (struct progress){ 0, 0 }, &end))
                return false;
        history->begin = end;
        return true;
}
