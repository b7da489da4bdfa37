/* The library replaces free, and epoll_pwait, which the loop calls once a turn. */

#include "loop_frees.h"

#include <stdlib.h>

#include "preload.h"
#include "program.h"

static const char library[] =
        "#define _GNU_SOURCE\n"
        "#include <dlfcn.h>\n"
        "#include <malloc.h>\n"
        "#include <signal.h>\n"
        "#include <stdio.h>\n"
        "#include <sys/epoll.h>\n"
        "#include <unistd.h>\n"
        "void __libc_free(void *);\n"
        "static size_t of_turn, most;\n"
        "void free(void *p)\n"
        "{\n"
        "        size_t n = p ? malloc_usable_size(p) : 0;\n"
        "        if (n >= 65536 && gettid() == getpid())\n"
        "                of_turn += n;\n"
        "        __libc_free(p);\n"
        "}\n"
        "int epoll_pwait(int fd, struct epoll_event *events, int n, int ms, const sigset_t *set)\n"
        "{\n"
        "        static int (*real)(int, struct epoll_event *, int, int, const sigset_t *);\n"
        "        if (!real)\n"
        "                *(void **)&real = dlsym(RTLD_NEXT, \"epoll_pwait\");\n"
        "        if (of_turn > most)\n"
        "                most = of_turn;\n"
        "        of_turn = 0;\n"
        "        return real(fd, events, n, ms, set);\n"
        "}\n"
        "int epoll_wait(int fd, struct epoll_event *events, int n, int ms)\n"
        "{\n"
        "        return epoll_pwait(fd, events, n, ms, 0);\n"
        "}\n"
        "__attribute__((destructor)) static void end(void)\n"
        "{\n"
        "        FILE *file = fopen(\"freed\", \"w\");\n"
        "        if (file)\n"
        "                fprintf(file, \"%zu\", most), fclose(file);\n"
        "}\n";

void loop_frees_count(void)
{
        preload_begin("freed", library);
}

size_t loop_frees_most(const struct daemon *daemon)
{
        TEST_FREED char *path = daemon_beside(daemon, "freed");
        size_t len;
        TEST_FREED char *text = test_read_file(path, &len);

        return strtoull(text, NULL, 10);
}

void loop_frees_end(void)
{
        preload_end();
}
