#ifndef GRAMD_TESTS_SUPPORT_PROBE_H
#define GRAMD_TESTS_SUPPORT_PROBE_H

/*
 * What a program may do. "probe": prints a line for each thing that a line of a unit refuses, with "yes",
 * "no", or the name of the error; it changes only files and names of its own namespaces, and is for root too.
 * "keyring": prints the number of its keyring. "segment": leaves shared memory behind. Returns the exit
 * status.
 */
int probe(const char *what);

#endif
