/* chown: who owns sessions. */

#include <string.h>

#include "ctl.h"

static int chown_one(struct gram_session *session, const char *owner)
{
        return gram_chown(session, strcmp(owner, "-") == 0 ? NULL : owner);
}

/* It has none as far as the list tells. */
static bool lacks_owner(const struct gram_stored_sessions *page, size_t i)
{
        return !gram_stored_session_owner(page, i);
}

/* Asks again: the list may not have been able to tell, and another program may have been faster. */
static int chown_ownerless(struct gram_session *session, const char *owner)
{
        struct gram_info *info;
        int error = gram_info(session, &info);

        if (error)
                return error;
        if (!gram_info_owner(info))
                error = gram_chown(session, owner);
        gram_free(info);
        return error;
}

int ctl_chown(struct ctl *ctl)
{
        return ctl_each(ctl, &(struct ctl_each){ "chown", ctl->all ? chown_ownerless : chown_one,
                                                 .argument = ctl->arguments[0], .all = "all-without-owner",
                                                 .of_all = lacks_owner });
}
