/* The key-value area. */

#include "method.h"

RESULT_NIL(kv_get)
RESULT_NIL(kv_set)
RESULT_NIL(kv_swap)
RESULT_NIL(kv_scan)
