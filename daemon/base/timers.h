#ifndef GRAMD_DAEMON_BASE_TIMERS_H
#define GRAMD_DAEMON_BASE_TIMERS_H

/*
 * Many timers on one libuv timer: a binary heap by due time. A timer is embedded in what it is for, takes
 * four words with its slot in the heap, and can be stopped and freed at once. A uv_timer_t takes 152 bytes
 * and is closed through a callback. Loop thread only.
 */

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct timer;
typedef void (*timer_fn)(struct timer *timer);

/* Zero-initialised: stopped. */
struct timer {
        uint64_t due_ms;
        size_t slot; /* in the heap, from 1; 0: stopped */
        timer_fn fire;
};

struct timers {
        uv_timer_t uv;
        struct timer **heap; /* from 1 */
        size_t n;
        size_t reserved;
        size_t cap; /* at least `reserved` */
};

void timers_init(struct timers *timers, uv_loop_t *loop);
void timers_deinit(struct timers *timers); /* after uv_close() of its uv_timer_t */

/*
 * An object that embeds timers reserves their slots first, and releases them at its end: so starting a timer
 * cannot fail. False: no memory.
 */
bool timers_reserve(struct timers *timers, size_t n);
void timers_release(struct timers *timers, size_t n);

/* The loop's clock, in milliseconds. It does not go on during a turn of the loop. */
uint64_t timers_now(const struct timers *timers);

/* Starts it, or sets a new due time. */
void timer_start(struct timers *timers, struct timer *timer, uint64_t after_ms, timer_fn fire);
void timer_stop(struct timers *timers, struct timer *timer);

#endif
