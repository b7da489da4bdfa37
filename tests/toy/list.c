/* The list of the test daemon: that of the daemon, and the line that a new backend needs. */

#include "../../backends/backend.h"

extern const struct backend backend_file;
extern const struct backend backend_memory;
extern const struct backend backend_toy;

const struct backend *const backends[] = { &backend_file, &backend_memory, &backend_toy, NULL };
