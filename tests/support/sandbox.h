#ifndef GRAMD_TESTS_SUPPORT_SANDBOX_H
#define GRAMD_TESTS_SUPPORT_SANDBOX_H

/*
 * Daemons as systemd would run them: under what the installed gramd.service confines, applied by sandbox/run.
 * Needs root. The folder of the test, below which its daemons are, becomes readable by all: a daemon has
 * another user.
 */

#include <stdbool.h>

enum { SANDBOX_UID = 61230 }; /* of the confined daemons */

/*
 * Everything is installed below ./installed; its units run the programs there. One at a time: `make install`
 * writes the units, with PREFIX, into $BUILD first.
 */
void install_here(void);

/*
 * Installs, and confines all daemons that start from now on. `drop_in` is the text of a drop-in, or NULL.
 * False: it cannot be done here, and the test says that it is skipped. A system call that the unit refuses
 * kills the daemon.
 */
bool sandbox_enter(const char *drop_in);

/* The drop-in mongodb.conf as installed; malloc'ed. */
char *sandbox_mongodb_drop_in(void);

/* Runs this program, with `argument`, in the sandbox that was entered. Refused calls fail there. Its output;
 * malloc'ed. */
char *sandbox_probe(const char *argument);

#endif
