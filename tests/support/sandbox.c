/* $GRAMD_WRAPPER is what puts daemons into the sandbox. */

#include "sandbox.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "command.h"
#include "program.h"

#define UNIT "installed/lib/systemd/system/gramd.service"

void install_here(void)
{
        free(command("flock \"$BUILD/install.lock\" make -C \"$SOURCE\" install PREFIX=\"$PWD/installed\""));
}

char *sandbox_mongodb_drop_in(void)
{
        char *text;

        install_here();
        text = test_read_file("installed/share/doc/gramd/mongodb.conf", NULL);
        ck_assert_ptr_nonnull(text);
        return text;
}

static void write_drop_in(const char *text)
{
        test_remove(UNIT ".d");
        if (!text)
                return;
        ck_assert_int_eq(mkdir(UNIT ".d", 0755), 0);
        test_write_file(UNIT ".d/test.conf", text, strlen(text));
}

bool sandbox_enter(const char *drop_in)
{
        TEST_FREED char *cwd = getcwd(NULL, 0);
        TEST_FREED char *uid = test_format("%d", SANDBOX_UID);
        TEST_FREED char *wrapper = NULL;

        if (geteuid() != 0) {
                test_skipped("a daemon as the unit confines it", "this needs root");
                return false;
        }
        if (getenv("RUNNER")) {
                test_skipped("a daemon as the unit confines it", "valgrind writes code at run time");
                return false;
        }
        if (system("awk '$5 == \"/\" { found = 1 } END { exit !found }' /proc/self/mountinfo") != 0) {
                test_skipped("a daemon as the unit confines it", "in a chroot, `/` is no mount point");
                return false;
        }
        ck_assert_int_eq(chmod(".", 0755), 0);
        install_here();
        write_drop_in(drop_in);
        wrapper = test_format("%s/tests/support/sandbox/run %s/" UNIT, getenv("SOURCE"), cwd);
        setenv("GRAMD_WRAPPER", wrapper, 1);
        setenv("SANDBOX_UID", uid, 1);
        setenv("SANDBOX_KILLS", "1", 1);
        return true;
}

char *sandbox_probe(const char *argument)
{
        TEST_FREED char *program = realpath("/proc/self/exe", NULL);

        return command("mkdir -p probe && cd probe && SANDBOX_KILLS= $GRAMD_WRAPPER %s %s", program,
                       argument);
}
