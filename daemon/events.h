#ifndef GRAMD_DAEMON_EVENTS_H
#define GRAMD_DAEMON_EVENTS_H

/* What a connection's events mean to the daemon. The wire's `owner` is the struct context. Loop thread only.
 */

#include "wire/wire.h"

extern const struct wire_events connection_events;

#endif
