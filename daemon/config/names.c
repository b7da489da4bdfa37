#include "names.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct names *names_new(const struct credentials *credentials)
{
        struct names *names = calloc(1, sizeof(*names) + credentials->n_gids * sizeof(names->groups[0]));

        if (!names)
                return NULL;
        names->refs = 1;
        names->uid = credentials->uid;
        names->n_gids = credentials->n_gids;
        for (size_t i = 0; i < names->n_gids; i++)
                names->groups[i].gid = credentials->gids[i];
        return names;
}

void names_look_up(struct names *names)
{
        char text[OWNER_TEXT_BYTES];

        owner_name(names->uid, names->user);
        for (size_t i = 0; i < names->n_gids; i++) {
                owner_group_name(names->groups[i].gid, text);
                if (text[0])
                        names->groups[i].name = strdup(text);
        }
}

struct names *names_ref(struct names *names)
{
        if (names)
                names->refs++;
        return names;
}

void names_unref(struct names *names)
{
        if (!names)
                return;
        assert(names->refs > 0);
        if (--names->refs > 0)
                return;
        for (size_t i = 0; i < names->n_gids; i++)
                free(names->groups[i].name);
        free(names);
}

bool names_are_of(const struct names *names, const struct credentials *credentials)
{
        bool same = names->uid == credentials->uid && names->n_gids == credentials->n_gids;

        for (size_t i = 0; same && i < names->n_gids; i++)
                same = names->groups[i].gid == credentials->gids[i];
        return same;
}
