/* chown: who owns sessions. */

#include <string.h>

#include "ctl.h"

static int chown_one(struct gram_session *session, const char *owner)
{
        return gram_chown(session, strcmp(owner, "-") == 0 ? NULL : owner);
}

int ctl_chown(struct ctl *ctl)
{
        return ctl_each(ctl, &(struct ctl_each){ "chown", chown_one, .argument = ctl->arguments[0] });
}
