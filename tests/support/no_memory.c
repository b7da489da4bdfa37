/* The library replaces malloc, calloc and realloc, and looks at their caller. */

#include "no_memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "preload.h"
#include "program.h"

static const char library[] =
        "#define _GNU_SOURCE\n"
        "#include <dlfcn.h>\n"
        "#include <errno.h>\n"
        "#include <stdatomic.h>\n"
        "#include <stdint.h>\n"
        "#include <stdlib.h>\n"
        "#include <string.h>\n"
        "#include <unistd.h>\n"
        "void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);\n"
        "static atomic_ulong count;\n"
        "static unsigned long nth, from, size, times;\n"
        "static unsigned long number(const char *name)\n"
        "{\n"
        "        return getenv(name) ? strtoul(getenv(name), NULL, 0) : 0;\n"
        "}\n"
        "__attribute__((constructor)) static void start(void)\n"
        "{\n"
        "        nth = number(\"FAIL_EVERY\");\n"
        "        from = number(\"FAIL_FROM\");\n"
        "        size = number(\"FAIL_SIZE\");\n"
        "        times = number(\"FAIL_TIMES\");\n"
        "}\n"
        "static int is_in(void *caller, const Dl_info *info)\n"
        "{\n"
        "        return (uintptr_t)caller - (uintptr_t)info->dli_fbase - from < size &&\n"
        "               strstr(info->dli_fname, \"gramd\") && !strstr(info->dli_fname, \".so\") &&\n"
        "               atomic_fetch_add(&count, 1) < times;\n"
        "}\n"
        "static int fails(void *caller)\n"
        "{\n"
        "        int error = errno, now;\n"
        "        Dl_info info;\n"
        "        if (size)\n"
        "                now = dladdr(caller, &info) && is_in(caller, &info);\n"
        "        else\n"
        "                now = nth && atomic_fetch_add(&count, 1) % nth == nth - 1 &&\n"
        "                      access(\"failing\", F_OK) == 0 && dladdr(caller, &info) &&\n"
        "                      !strstr(info.dli_fname, \"libuv\");\n"
        "        errno = now ? ENOMEM : error;\n"
        "        return now;\n"
        "}\n"
        "#define CALLER __builtin_return_address(0)\n"
        "void *malloc(size_t n) { return fails(CALLER) ? 0 : __libc_malloc(n); }\n"
        "void *calloc(size_t n, size_t m) { return fails(CALLER) ? 0 : __libc_calloc(n, m); }\n"
        "void *realloc(void *p, size_t n) { return fails(CALLER) ? 0 : __libc_realloc(p, n); }\n";

void no_memory_every(unsigned nth)
{
        TEST_FREED char *number = test_format("%u", nth);

        setenv("FAIL_EVERY", number, 1);
        preload_begin("failing", library);
}

void no_memory_in(const char *function, unsigned times)
{
        TEST_FREED char *symbol = command("nm -S \"$BUILD/gramd\" | grep ' %s$'", function);
        TEST_FREED char *number = test_format("%u", times);
        char from[20], size[20];

        ck_assert_msg(sscanf(symbol, "%16s %16s", from + 2, size + 2) == 2, "no function %s", function);
        memcpy(from, "0x", 2);
        memcpy(size, "0x", 2);
        setenv("FAIL_FROM", from, 1);
        setenv("FAIL_SIZE", size, 1);
        setenv("FAIL_TIMES", number, 1);
        preload_begin("failing", library);
}

void no_memory_now(const struct daemon *daemon, bool failing)
{
        TEST_FREED char *flag = daemon_beside(daemon, "failing");

        if (failing)
                test_write_file(flag, "", 0);
        else
                unlink(flag);
}

void no_memory_end(void)
{
        static const char *const names[] = { "FAIL_EVERY", "FAIL_FROM", "FAIL_SIZE", "FAIL_TIMES" };

        preload_end();
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
                unsetenv(names[i]);
}
