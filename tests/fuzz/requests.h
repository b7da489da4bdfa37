#ifndef GRAMD_TESTS_FUZZ_REQUESTS_H
#define GRAMD_TESTS_FUZZ_REQUESTS_H

/* Makes requests of what the input chooses: mostly of the right shape, so that they reach the methods. */

#include "../../proto/buffer.h"
#include "../../proto/contract.h"
#include "fuzz.h"

/* The parameters of a method, as an array. */
void request_params(struct choices *choices, enum method_number method, struct buffer *out);

#endif
