#ifndef GRAMD_DAEMON_BASE_TIMERS_H
#define GRAMD_DAEMON_BASE_TIMERS_H

/*
 * Many timers on one libuv timer: a binary heap by due time. A timer is embedded in what it is for, costs
 * four words, and can be stopped or dropped at once, which a uv_timer_t (152 bytes, closed by
 * callback) cannot. Loop thread only.
 */

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct timer;
typedef void (*timer_fn)(struct timer *timer);

/* Zero-initialised: stopped. */
struct timer {
        uint64_t due_ms;
        size_t slot; /* its place in the heap, from 1; 0: stopped */
        timer_fn fire;
};

struct timers {
        uv_timer_t uv;
        struct timer **heap; /* from 1 */
        size_t n;
        size_t reserved;
        size_t cap; /* no less than `reserved` */
};

void timers_init(struct timers *timers, uv_loop_t *loop);
void timers_deinit(struct timers *timers); /* its uv_timer_t is closed by then */

/*
 * Whoever embeds timers reserves their places first, and releases them when it goes: starting one cannot
 * fail. False: no memory.
 */
bool timers_reserve(struct timers *timers, size_t n);
void timers_release(struct timers *timers, size_t n);

/* The loop's clock, in milliseconds. It does not go on during a turn of the loop. */
uint64_t timers_now(const struct timers *timers);

/* Starts or moves it. */
void timer_start(struct timers *timers, struct timer *timer, uint64_t after_ms, timer_fn fire);
void timer_stop(struct timers *timers, struct timer *timer);

#endif
