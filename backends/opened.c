/* What a session has when it has been opened. */

#include <stdlib.h>

#include "backend.h"

void opened_init(struct opened *opened)
{
        *opened = (struct opened){ 0 };
        identity_init(&opened->identity);
}

void opened_deinit(struct opened *opened)
{
        identity_wipe(&opened->identity);
        free(opened->states);
        free(opened->remembered);
}
