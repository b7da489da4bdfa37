/* Programs that are started without standard streams give their numbers to nothing else. */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../support/command.h"
#include "../support/program.h"
#include "../support/wire.h"

static const char closing[] = "#!/bin/sh\nexec \"$@\" 0<&- 1>&- 2>&-\n";

/* The wrapper of a program that is started without streams; before the one that the environment has. */
static void set_wrapper(void)
{
        const char *former = getenv("GRAMD_WRAPPER");
        TEST_FREED char *here = getcwd(NULL, 0);
        TEST_FREED char *path = test_format("%s/without-streams", here);
        TEST_FREED char *both = test_format("%s %s", path, former ? former : "");

        test_write_file(path, closing, strlen(closing));
        ck_assert_int_eq(chmod(path, 0755), 0);
        setenv("GRAMD_WRAPPER", both, 1);
}

START_TEST(a_daemon_without_streams)
{
        set_wrapper();
        DAEMON d = daemon_start(.flags = { "--log-level", "debug" });
        CLIENT c = wire_connect(d);
        TEST_FREED char *path = daemon_path(d, "anna");
        TEST_FREED char *log = daemon_log(d);
        TEST_FREED char *bytes = NULL;
        size_t len;
        int s = wire_open(c, "'anna', {}");

        expect(c, "nil", "update_peers(%d, [[7, 70, 'user', 'anna', nil]])", s);
        for (int fd = 0; fd <= 2; fd++) {
                TEST_FREED char *link = test_format("/proc/%d/fd/%d", (int)d->pid, fd);
                char target[256] = "";

                ck_assert_int_gt(readlink(link, target, sizeof(target) - 1), 0);
                ck_assert_str_eq(target, "/dev/null");
        }
        ck_assert_str_eq(log, "");
        expect(c, "[7, 70, ...]", "get_peer_by_id(%d, 7)", s);
        wire_end(&c);
        daemon_stop(d);
        bytes = test_read_file(path, &len);
        ck_assert_uint_gt(len, 16);
        ck_assert_str_eq(bytes, "SQLite format 3");
}
END_TEST

START_TEST(gramctl_without_streams)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        TEST_FREED char *out = daemon_beside(d, "string");
        const char *build = getenv("BUILD");
        TEST_FREED char *gramctl = test_format("%s/gramctl --socket %s", build, d->socket);
        TEST_FREED char *bytes = NULL;
        TEST_FREED char *told = NULL;
        int s = wire_open(c, "'anna', {}");

        expect(c, "nil", "set(%d, {auth_key: h'07'*256, user_id: 1, api_id: 2, is_bot: true})", s);
        free(command("(exec 0<&- 1>&- 2>&-; %s list)", gramctl));
        /* its first file is the one it writes: the string goes there alone */
        free(command("(exec 0<&- 1>&- 2>&-; %s export anna --output %s)", gramctl, out));
        bytes = test_read_file(out, NULL);
        ck_assert_ptr_nonnull(bytes);
        ck_assert_uint_eq(strlen(bytes), 363); /* a line */
        /* it does not take what the daemon sends for its input */
        told = command("(exec 0<&-; %s import bella 2>&1; echo status $?)", gramctl);
        ck_assert_msg(strstr(told, "status 1"), "%s", told);
        ck_assert_msg(strstr(told, "empty"), "%s", told);
        expect(c, "!not_found", "open('bella', {create: false})");
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                a_daemon_without_streams,
                gramctl_without_streams,
                NULL,
        };

        return test_program("streams", tests);
}
