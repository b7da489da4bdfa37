/* Calls that change the names in the data directory. */

#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* `other`: the second name of a rename or a link, else NULL. Under the lock. */
static void note_name(enum operation operation, const char *name, const char *other, int result,
                      const struct verdict *verdict)
{
        struct entry entry = shim_entry(operation, shim_object(name), result);
        char names[2 * NAME_BYTES];
        int n = snprintf(names, sizeof(names), "%s%c%s", name, 0, other ? other : "");

        entry.flags = shim_flags(verdict);
        entry.name_bytes = other ? (uint32_t)n : (uint32_t)strlen(name);
        shim_note(entry, names, NULL, 0);
}

static int call(enum operation operation, int dir, const char *path, int other_dir, const char *other,
                unsigned argument)
{
        switch (operation) {
        case OP_UNLINK: return real_unlinkat(dir, path, (int)argument);
        case OP_RENAME: return real_renameat2(dir, path, other_dir, other, argument);
        case OP_LINK: return real_linkat(dir, path, other_dir, other, (int)argument);
        default: return real_mkdirat(dir, path, argument);
        }
}

/* `other`: the second path of a rename or a link, else NULL. `argument`: flags, or the mode of a directory.
 */
static int change(enum operation operation, int dir, const char *path, int other_dir, const char *other,
                  unsigned argument)
{
        struct verdict verdict;
        const char *name, *other_name, *rule_name;
        int result, error;

        shim_start();
        name = shim_name(dir, path);
        other_name = other ? shim_name(other_dir, other) : NULL;
        if (!name || (other && !other_name))
                return call(operation, dir, path, other_dir, other, argument);
        rule_name = other ? other_name : name;
        verdict = shim_enter(operation, shim_object(rule_name), rule_name);
        result = shim_instead(&verdict);
        if (result > 0)
                result = call(operation, dir, path, other_dir, other, argument);
        error = errno;
        note_name(operation, name, other_name, result, &verdict);
        shim_leave(error);
        return result;
}

int unlinkat(int dir, const char *path, int flags)
{
        return change(OP_UNLINK, dir, path, -1, NULL, (unsigned)flags);
}

int unlink(const char *path)
{
        return unlinkat(AT_FDCWD, path, 0);
}

int rmdir(const char *path)
{
        return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
        return change(OP_RENAME, from_dir, from, to_dir, to, flags);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
        return renameat2(from_dir, from, to_dir, to, 0);
}

int rename(const char *from, const char *to)
{
        return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
        return change(OP_LINK, from_dir, from, to_dir, to, (unsigned)flags);
}

int link(const char *from, const char *to)
{
        return linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int mkdirat(int dir, const char *path, mode_t mode)
{
        return change(OP_MKDIR, dir, path, -1, NULL, mode);
}

int mkdir(const char *path, mode_t mode)
{
        return mkdirat(AT_FDCWD, path, mode);
}
