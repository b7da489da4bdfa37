/* Names of users are looked up when a session is made, ids of names when it is loaded. */

#include "owner.h"

#include <grp.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOOKUP_BYTES = 64 << 10 }; /* of an entry with all its members; a longer one is not found */

static bool number_of(const char *text, id_t *id)
{
        unsigned long long number;

        if (!*text || text[strspn(text, "0123456789")] || strlen(text) > 10)
                return false;
        number = strtoull(text, NULL, 10);
        *id = (id_t)number;
        return number < UINT32_MAX;
}

static bool find_user(const char *name, uid_t *uid, char *buffer)
{
        struct passwd passwd, *found = NULL;

        if (name[0] == '#')
                return number_of(name + 1, uid);
        if (getpwnam_r(name, &passwd, buffer, LOOKUP_BYTES, &found) != 0 || !found)
                return false;
        *uid = found->pw_uid;
        return true;
}

static bool find_group(const char *name, gid_t *gid, char *buffer)
{
        struct group group, *found = NULL;

        if (name[0] == '#')
                return number_of(name + 1, gid);
        if (getgrnam_r(name, &group, buffer, LOOKUP_BYTES, &found) != 0 || !found)
                return false;
        *gid = found->gr_gid;
        return true;
}

static bool can_be_stored(const char *name)
{
        return *name && strlen(name) < OWNER_TEXT_BYTES && !strpbrk(name, ":#");
}

/* Whether the name can be stored, and leads back to this user. */
static bool names_user(const char *name, uid_t uid)
{
        char *buffer = malloc(LOOKUP_BYTES);
        uid_t found = 0;
        bool ok = buffer && can_be_stored(name) && find_user(name, &found, buffer) && found == uid;

        free(buffer);
        return ok;
}

void owner_name(uid_t uid, char text[OWNER_TEXT_BYTES])
{
        char *buffer = malloc(LOOKUP_BYTES);
        struct passwd passwd, *found = NULL;

        text[0] = '\0';
        if (uid != OVERFLOW_UID) {
                if (buffer && getpwuid_r(uid, &passwd, buffer, LOOKUP_BYTES, &found) == 0 && found &&
                    names_user(found->pw_name, uid))
                        snprintf(text, OWNER_TEXT_BYTES, "%s", found->pw_name);
                else
                        snprintf(text, OWNER_TEXT_BYTES, "#%u", (unsigned)uid);
        }
        free(buffer);
}

void owner_group_name(gid_t gid, char text[OWNER_TEXT_BYTES])
{
        char *buffer = malloc(LOOKUP_BYTES);
        struct group group, *found = NULL;
        gid_t back;

        text[0] = '\0';
        if (gid != OVERFLOW_GID) {
                if (buffer && getgrgid_r(gid, &group, buffer, LOOKUP_BYTES, &found) == 0 && found &&
                    can_be_stored(found->gr_name))
                        snprintf(text, OWNER_TEXT_BYTES, "%s", found->gr_name);
                if (!text[0] || !find_group(text, &back, buffer) || back != gid)
                        snprintf(text, OWNER_TEXT_BYTES, "#%u", (unsigned)gid);
        }
        free(buffer);
}

bool owner_text_valid(struct slice text)
{
        const char *colon = text.len ? memchr(text.data, ':', text.len) : NULL;
        size_t user = colon ? (size_t)(colon - text.data) : text.len;

        for (size_t i = 0; i < text.len; i++)
                if ((unsigned char)text.data[i] < ' ' || text.data[i] == 0x7f)
                        return false;
        return user > 0 && text.len < OWNER_TEXT_BYTES &&
               (!colon || (user + 1 < text.len && !memchr(colon + 1, ':', text.len - user - 1)));
}

void owner_look_up(struct owner *owner)
{
        char *buffer = malloc(LOOKUP_BYTES);
        char user[OWNER_TEXT_BYTES];
        char *group;

        owner->has_user = owner->has_group = false;
        if (buffer && owner->text[0]) {
                snprintf(user, sizeof(user), "%s", owner->text);
                group = strchr(user, ':');
                if (group)
                        *group++ = '\0';
                owner->has_user = find_user(user, &owner->uid, buffer);
                owner->has_group =
                        group && find_group(group, &owner->gid, buffer) && owner->gid != OVERFLOW_GID;
        }
        free(buffer);
}

bool owner_is_user(const struct owner *owner, uid_t uid)
{
        return uid != OVERFLOW_UID && owner->has_user && owner->uid == uid;
}

bool owner_is(const struct owner *owner, const struct credentials *credentials)
{
        if (credentials->uid == OVERFLOW_UID)
                return false;
        if (owner_is_user(owner, credentials->uid))
                return true;
        for (size_t i = 0; owner->has_group && i < credentials->n_gids; i++)
                if (credentials->gids[i] == owner->gid)
                        return true;
        return false;
}

unsigned owner_adds(unsigned by_rules, bool has_rules, const struct credentials *credentials,
                    const struct owner *owner)
{
        if (!owner->text[0] || credentials->has_all)
                return by_rules;
        if (!has_rules)
                by_rules = RIGHT_NONE;
        return owner_is(owner, credentials) ? by_rules | RIGHT_READ | RIGHT_WRITE : by_rules;
}

unsigned owner_rights(const struct access *access, const struct credentials *credentials,
                      struct slice session, const char *backend, const struct owner *owner)
{
        return owner_adds(access_rights(access, credentials, session, backend), access->n_rules > 0,
                          credentials, owner);
}
