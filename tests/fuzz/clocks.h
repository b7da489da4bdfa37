#ifndef GRAMD_TESTS_FUZZ_CLOCKS_H
#define GRAMD_TESTS_FUZZ_CLOCKS_H

/*
 * The clocks that the code under test sees: time(), and all of clock_gettime() but CLOCK_REALTIME, by which
 * the fuzzer itself measures.
 */

#include <stdbool.h>
#include <stdint.h>

/* While they stand, only clock_pass_ms() moves them. Else they are the machine's. */
void clocks_stand(bool stand);
void clock_pass_ms(int64_t ms);
void clocks_reset(void);  /* as at the start: so that each input sees the same times */
int64_t clock_unix(void); /* seconds, while they stand */

#endif
