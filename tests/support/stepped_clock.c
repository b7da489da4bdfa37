/* The library replaces clock_gettime and time. */

#include "stepped_clock.h"

#include <stdio.h>
#include <string.h>

#include "preload.h"
#include "program.h"

static const char library[] = "#define _GNU_SOURCE\n"
                              "#include <fcntl.h>\n"
                              "#include <stdlib.h>\n"
                              "#include <sys/syscall.h>\n"
                              "#include <time.h>\n"
                              "#include <unistd.h>\n"
                              "int clock_gettime(clockid_t clock, struct timespec *now)\n"
                              "{\n"
                              "        int result = (int)syscall(SYS_clock_gettime, clock, now);\n"
                              "        char text[32] = \"\";\n"
                              "        int fd;\n"
                              "        long long ms;\n"
                              "        if (result || clock != CLOCK_REALTIME)\n"
                              "                return result;\n"
                              "        fd = open(\"clock\", O_RDONLY | O_CLOEXEC);\n"
                              "        if (fd < 0)\n"
                              "                return 0;\n"
                              "        if (read(fd, text, sizeof(text) - 1) < 0)\n"
                              "                text[0] = 0;\n"
                              "        close(fd);\n"
                              "        ms = now->tv_sec * 1000LL + now->tv_nsec / 1000000 + atoll(text);\n"
                              "        now->tv_sec = ms / 1000;\n"
                              "        now->tv_nsec = ms % 1000 * 1000000;\n"
                              "        return 0;\n"
                              "}\n"
                              "time_t time(time_t *into)\n"
                              "{\n"
                              "        struct timespec now;\n"
                              "        clock_gettime(CLOCK_REALTIME, &now);\n"
                              "        if (into)\n"
                              "                *into = now.tv_sec;\n"
                              "        return now.tv_sec;\n"
                              "}\n";

void stepped_clock_begin(void)
{
        preload_begin("stepped", library);
}

void stepped_clock_end(void)
{
        preload_end();
}

void stepped_clock_set(const struct daemon *daemon, long long ms)
{
        TEST_FREED char *path = daemon_beside(daemon, "clock");
        TEST_FREED char *fresh = test_format("%s.new", path);
        TEST_FREED char *text = test_format("%lld", ms);

        test_write_file(fresh, text, strlen(text));
        ck_assert_int_eq(rename(fresh, path), 0);
}
