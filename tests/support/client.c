#include "client.h"

#include <check.h>
#include <stdatomic.h>
#include <stdlib.h>

/*
 * One for each client. Never freed, because no event tells of a client's end; leak checkers still reach it.
 */
struct guard {
        struct guard *next;
        gram_event_fn *on_event;
        void *event_arg;
        int excused; /* how many of `breaks` this client has been disconnected for */
};

static _Atomic(struct guard *) guards;
static atomic_int breaks;

void test_breaks_connections(void)
{
        breaks++;
}

static void on_event(void *arg, const struct gram_event *event)
{
        struct guard *guard = arg;

        if (event->type == GRAM_EVENT_DISCONNECTED) {
                if (guard->excused == breaks)
                        ck_abort_msg("disconnected, and not by the test: %s", event->error->message);
                guard->excused = breaks;
        }
        if (guard->on_event)
                guard->on_event(guard->event_arg, event);
}

struct gram_client *test_client_new(const struct gram_options *options)
{
        struct gram_options guarded = options ? *options : (struct gram_options){ 0 };
        struct guard *guard = calloc(1, sizeof(*guard));

        ck_assert_ptr_nonnull(guard);
        guard->on_event = guarded.on_event;
        guard->event_arg = guarded.event_arg;
        guard->excused = breaks;
        guard->next = guards;
        while (!atomic_compare_exchange_weak(&guards, &guard->next, guard))
                ;
        guarded.on_event = on_event;
        guarded.event_arg = guard;
        return gram_client_new(&guarded);
}
