#ifndef GRAMD_TESTS_SUPPORT_PRELOAD_H
#define GRAMD_TESTS_SUPPORT_PRELOAD_H

/*
 * Compiles a library in the working directory, and preloads it into the daemons that are started next. It is
 * compiled when it is needed, because it must not be a part of the test's own program.
 */

void preload_begin(const char *name, const char *source);
void preload_end(void);

#endif
