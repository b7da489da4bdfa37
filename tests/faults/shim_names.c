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

int unlinkat(int dir, const char *path, int flags)
{
        struct verdict verdict;
        const char *name;
        int result, error;

        shim_start();
        name = shim_name(dir, path);
        if (!name)
                return real_unlinkat(dir, path, flags);
        verdict = shim_enter(OP_UNLINK, shim_object(name), name);
        result = shim_instead(&verdict);
        if (result > 0)
                result = real_unlinkat(dir, path, flags);
        error = errno;
        note_name(OP_UNLINK, name, NULL, result, &verdict);
        shim_leave(error);
        return result;
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
        struct verdict verdict;
        const char *name, *other;
        int result, error;

        shim_start();
        name = shim_name(from_dir, from);
        other = shim_name(to_dir, to);
        if (!name || !other)
                return real_renameat2(from_dir, from, to_dir, to, flags);
        verdict = shim_enter(OP_RENAME, shim_object(other), other);
        result = shim_instead(&verdict);
        if (result > 0)
                result = real_renameat2(from_dir, from, to_dir, to, flags);
        error = errno;
        note_name(OP_RENAME, name, other, result, &verdict);
        shim_leave(error);
        return result;
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
        struct verdict verdict;
        const char *name, *other;
        int result, error;

        shim_start();
        name = shim_name(from_dir, from);
        other = shim_name(to_dir, to);
        if (!name || !other)
                return real_linkat(from_dir, from, to_dir, to, flags);
        verdict = shim_enter(OP_LINK, shim_object(other), other);
        result = shim_instead(&verdict);
        if (result > 0)
                result = real_linkat(from_dir, from, to_dir, to, flags);
        error = errno;
        note_name(OP_LINK, name, other, result, &verdict);
        shim_leave(error);
        return result;
}

int link(const char *from, const char *to)
{
        return linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int mkdirat(int dir, const char *path, mode_t mode)
{
        struct verdict verdict;
        const char *name;
        int result, error;

        shim_start();
        name = shim_name(dir, path);
        if (!name)
                return real_mkdirat(dir, path, mode);
        verdict = shim_enter(OP_MKDIR, shim_object(name), name);
        result = shim_instead(&verdict);
        if (result > 0)
                result = real_mkdirat(dir, path, mode);
        error = errno;
        note_name(OP_MKDIR, name, NULL, result, &verdict);
        shim_leave(error);
        return result;
}

int mkdir(const char *path, mode_t mode)
{
        return mkdirat(AT_FDCWD, path, mode);
}
