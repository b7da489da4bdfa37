#ifndef GRAMD_TESTS_FUZZ_GRAMMAR_H
#define GRAMD_TESTS_FUZZ_GRAMMAR_H

/*
 * Makes parts of messages of what the input chooses: mostly of the right shape, so that they reach what is
 * behind the checks of shapes.
 */

#include "../../proto/buffer.h"
#include "../../proto/contract.h"
#include "fuzz.h"

/* The parameters of a method, as an array. */
void grammar_params(struct choices *choices, enum method_number method, struct buffer *out);
/* What a daemon answers: a result; an error; a notification, with its name and parameters. */
void grammar_result(struct choices *choices, enum method_number method, struct buffer *out);
void grammar_error(struct choices *choices, struct buffer *out);
void grammar_notification(struct choices *choices, struct buffer *out);

#endif
