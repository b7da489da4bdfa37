#ifndef GRAMD_TESTS_SUPPORT_COMMAND_H
#define GRAMD_TESTS_SUPPORT_COMMAND_H

/* Shell commands, for tests of what people type. */

/*
 * Runs the command and returns its output, malloc'ed. If it fails, so does the test, which shows the output.
 */
char *command(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
