/* The tables of contract.h. */

#include "contract.h"

#define METHOD(constant, name, shape, right, traits) [METHOD_##constant] = { #name, shape, right, traits },
const struct method methods[METHOD_COUNT] = { CONTRACT_METHODS(METHOD) };

#define ERROR(constant, name) [WIRE_##constant] = (name),
const char *const wire_error_names[WIRE_ERROR_COUNT] = { CONTRACT_ERRORS(ERROR) };
