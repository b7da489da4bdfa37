/* For all targets. */

#include "../support/no_fsync.h"
