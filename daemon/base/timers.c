/*
 * The heap is an array that starts at 1: the parent of i is i / 2. Each timer knows its slot, so it can be
 * removed from the middle. The uv_timer_t is always set to the first timer.
 */

#include "timers.h"

#include <assert.h>
#include <stdlib.h>

static void place(struct timers *timers, size_t slot, struct timer *timer)
{
        timers->heap[slot] = timer;
        timer->slot = slot;
}

static void sift(struct timers *timers, size_t slot, struct timer *timer)
{
        while (slot > 1 && timers->heap[slot / 2]->due_ms > timer->due_ms) {
                place(timers, slot, timers->heap[slot / 2]);
                slot /= 2;
        }
        for (;;) {
                size_t child = slot * 2;

                if (child > timers->n)
                        break;
                if (child < timers->n && timers->heap[child + 1]->due_ms < timers->heap[child]->due_ms)
                        child++;
                if (timers->heap[child]->due_ms >= timer->due_ms)
                        break;
                place(timers, slot, timers->heap[child]);
                slot = child;
        }
        place(timers, slot, timer);
}

static void take_out(struct timers *timers, struct timer *timer)
{
        struct timer *last = timers->heap[timers->n];

        assert(timer->slot <= timers->n && timers->heap[timer->slot] == timer);
        timers->n--;
        if (last != timer)
                sift(timers, timer->slot, last);
        timer->slot = 0;
}

static void on_due(uv_timer_t *uv);

static void set_uv(struct timers *timers, uint64_t least_ms)
{
        uint64_t now = uv_now(timers->uv.loop), due_ms = timers->n ? timers->heap[1]->due_ms : 0;

        if (timers->n == 0)
                uv_timer_stop(&timers->uv);
        else
                uv_timer_start(&timers->uv, on_due, due_ms > now + least_ms ? due_ms - now : least_ms, 0);
}

/* The others fire in the next turns of the loop: thousands may be due in a millisecond. */
enum { FIRED_AT_ONCE = 64 };

static void on_due(uv_timer_t *uv)
{
        struct timers *timers = uv->data;
        uint64_t now = uv_now(uv->loop);

        for (int n = 0; n < FIRED_AT_ONCE && timers->n > 0 && timers->heap[1]->due_ms <= now; n++) {
                struct timer *timer = timers->heap[1];

                take_out(timers, timer);
                timer->fire(timer);
        }
        set_uv(timers, 1); /* with 0, libuv would call this again before the turn ends */
}

void timers_init(struct timers *timers, uv_loop_t *loop)
{
        *timers = (struct timers){ 0 };
        uv_timer_init(loop, &timers->uv);
        timers->uv.data = timers;
}

void timers_deinit(struct timers *timers)
{
        assert(uv_is_closing((const uv_handle_t *)&timers->uv));
        free(timers->heap);
        timers->heap = NULL;
}

bool timers_reserve(struct timers *timers, size_t n)
{
        size_t wanted = timers->reserved + n, cap = timers->cap ? timers->cap : 64;
        struct timer **heap;

        while (cap < wanted)
                cap *= 2;
        if (cap > timers->cap) {
                heap = realloc(timers->heap, (cap + 1) * sizeof(struct timer *));
                if (!heap)
                        return false;
                timers->heap = heap;
                timers->cap = cap;
        }
        timers->reserved = wanted;
        return true;
}

void timers_release(struct timers *timers, size_t n)
{
        assert(timers->n + n <= timers->reserved); /* what is released is stopped */
        timers->reserved -= n;
}

uint64_t timers_now(const struct timers *timers)
{
        return uv_now(timers->uv.loop);
}

void timer_start(struct timers *timers, struct timer *timer, uint64_t after_ms, timer_fn fire)
{
        assert(fire);
        if (timer->slot)
                take_out(timers, timer);
        timer->fire = fire;
        timer->due_ms = uv_now(timers->uv.loop) + after_ms;
        assert(timers->n < timers->reserved);
        sift(timers, ++timers->n, timer);
        set_uv(timers, 0);
}

void timer_stop(struct timers *timers, struct timer *timer)
{
        if (!timer->slot)
                return;
        take_out(timers, timer);
        set_uv(timers, 0);
}
