#ifndef GRAMD_TESTS_SUPPORT_COMMAND_H
#define GRAMD_TESTS_SUPPORT_COMMAND_H

/* Shell commands, for tests of what people type. */

/* Runs it; fails the test where it fails, showing what it printed. Returns its output, malloc'ed. */
char *command(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
