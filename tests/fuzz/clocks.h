#ifndef GRAMD_TESTS_FUZZ_CLOCKS_H
#define GRAMD_TESTS_FUZZ_CLOCKS_H

/* The clocks that the code under test sees: time() and clock_gettime(). */

#include <stdbool.h>
#include <stdint.h>

/* While they stand, only the functions below move them. Else they are the machine's. */
void clocks_stand(bool stand);
void clock_pass_ms(int64_t ms);     /* all of them */
void clock_tick(void);              /* a millisecond of all but the unix time */
void clock_set_back_ms(int64_t ms); /* the unix time alone */
void clocks_reset(void);            /* as at the start: so that each input sees the same times */
int64_t clock_unix_ms(void);        /* while they stand */
int64_t clock_unix(void);           /* the same in seconds */
int64_t clock_passed_ms(void);      /* since the start; it is not set back */

#endif
