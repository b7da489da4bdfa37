/* delete: asks before, because what it takes away is the way into an account. */

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "output.h"

static int delete_one(struct gram_session *session, const char *argument)
{
        (void)argument;
        return gram_delete(session, true);
}

/* Anything but a line that begins with y is no. */
static bool agrees(const struct ctl *ctl)
{
        char answer[16] = "";

        fputs("delete ", stderr);
        for (int i = 0; i < ctl->n_list; i++) {
                fputs(i == 0 ? "" : ", ", stderr);
                print_text(stderr, ctl->list[i]);
        }
        fprintf(stderr, ", with the key%s of %s? [y/N] ", ctl->n_list == 1 ? "" : "s",
                ctl->n_list == 1 ? "its account" : "their accounts");
        return fgets(answer, sizeof(answer), stdin) && (*answer == 'y' || *answer == 'Y');
}

int ctl_delete(struct ctl *ctl)
{
        if (!ctl->yes && !isatty(STDIN_FILENO))
                return ctl_fail(EXIT_USAGE, "delete asks on a terminal; elsewhere it needs --yes");
        if (!ctl->yes && !agrees(ctl))
                return ctl_fail(EXIT_FAILED, "nothing is deleted");
        return ctl_each(ctl, &(struct ctl_each){ "delete", delete_one,
                                                 .mode = ctl->force ? GRAM_SHARED : GRAM_EXCLUSIVE });
}
