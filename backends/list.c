/* Every backend of this daemon. A new one is a file of its own and a line here. */

#include "backend.h"

extern const struct backend backend_file;
extern const struct backend backend_memory;
extern const struct backend backend_mongo;

const struct backend *const backends[] = { &backend_file, &backend_memory, &backend_mongo, NULL };
