/*
 * `make install` and `make uninstall` in a directory of their own. A program that uses only `pkg-config gram`
 * is built with the installed library.
 */
#include <stdlib.h>
#include <string.h>

#include "../support/command.h"
#include "../support/program.h"

/* One at a time: it writes the units, with PREFIX, into $BUILD first. */
static void make(const char *what)
{
        TEST_FREED char *output = command(
                "flock \"$BUILD/install.lock\" make -C \"$SOURCE\" %s PREFIX=/usr DESTDIR=\"$PWD/root\"",
                what);
}

START_TEST(every_file_is_installed)
{
        static const char *const files[] = {
                "bin/gramd",
                "bin/gramctl",
                "lib/libgram.a",
                "lib/libgram.so",
                "lib/libgram.so.0",
                "include/gram.h",
                "lib/pkgconfig/gram.pc",
                "lib/systemd/system/gramd.service",
                "lib/systemd/system/gramd.socket",
                "lib/systemd/user/gramd.service",
                "lib/systemd/user/gramd.socket",
                "lib/sysusers.d/gramd.conf",
                "share/doc/gramd/gramd.conf",
                "share/doc/gramd/mongodb.conf",
                "share/bash-completion/completions/gramctl.bash",
                "share/man/man1/gramctl.1",
                "share/man/man5/gramd.conf.5",
                "share/man/man8/gramd.8",
        };

        make("install");
        for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
                TEST_FREED char *size =
                        command("test -s root/usr/%s || echo missing: %s", files[i], files[i]);

                ck_assert_str_eq(size, "");
        }
}
END_TEST

START_TEST(uninstall_removes_every_file)
{
        TEST_FREED char *left = NULL;

        make("install");
        make("uninstall");
        left = command("find root ! -type d");
        ck_assert_str_eq(left, "");
}
END_TEST

START_TEST(units_run_what_was_installed)
{
        TEST_FREED char *unit = NULL, *open = NULL;

        make("install");
        unit = command("grep -x ExecStart=/usr/bin/gramd root/usr/lib/systemd/system/gramd.service");
        open = command("! grep -r @PREFIX@ root");
}
END_TEST

/* The example is valid and has the system's data directory; the manual page describes each of its options. */
START_TEST(the_example_is_a_valid_configuration)
{
        TEST_FREED char *right = NULL, *data = NULL, *page = NULL;

        make("install");
        right = command("root/usr/bin/gramd --config root/usr/share/doc/gramd/gramd.conf --check-config");
        data = command("grep -x 'data = /var/lib/gramd' root/usr/share/doc/gramd/gramd.conf");
        page = command(
                "for option in $(sed -nE 's/^(# )?([a-z-]+) =.*/\\2/p' root/usr/share/doc/gramd/gramd.conf); "
                "do grep -q \"^.It Cm $(echo $option | sed 's/-/.*-/g')\" "
                "root/usr/share/man/man5/gramd.conf.5 "
                "|| { echo $option; exit 1; }; done");
        ck_assert_str_eq(page, "");
}
END_TEST

/* A program is linked with the installed library, and runs with the shared one by its soname. */
START_TEST(a_program_finds_the_library)
{
        static const char program[] = "#include <gram.h>\nint main(void) { return !gram_version(); }\n";
        TEST_FREED char *built = NULL, *shared = NULL, *fixed = NULL;

        make("install");
        test_write_file("program.c", program, strlen(program));
        built = command(
                "export PKG_CONFIG_PATH=$PWD/root/usr/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$PWD/root; "
                "CC=\"$CC ${SANITIZE:+-fsanitize=$SANITIZE} ${COVERAGE:+--coverage}\"; "
                "$CC -Wall -Werror -o shared program.c $(pkg-config --cflags --libs gram) && "
                "$CC -o fixed program.c $(pkg-config --cflags gram) root/usr/lib/libgram.a -lmsgpackc");
        shared = command(
                "LD_LIBRARY_PATH=$PWD/root/usr/lib ./shared && readelf -d shared | grep libgram.so.0");
        fixed = command("./fixed && ! readelf -d fixed | grep libgram");
}
END_TEST

/* Both libraries export only names that start with gram_, and every function of the header. */
START_TEST(only_the_api_is_exported)
{
        static const char *const listings[] = { "nm -D --defined-only $BUILD/libgram.so",
                                                "nm -g --defined-only $BUILD/libgram.a" };

        for (size_t i = 0; i < sizeof(listings) / sizeof(listings[0]); i++) {
                TEST_FREED char *names =
                        command("%s | awk 'NF == 3 { print $3 }' | sort >exported", listings[i]);
                TEST_FREED char *others = command("grep -vE '^(gram_|__gcov|mangle_path)' exported || :");
                TEST_FREED char *missing =
                        command("sed -nE 's/^GRAM_API [^(]*\\b(gram_[a-z0-9_]+)\\(.*/\\1/p' "
                                "$SOURCE/client-lib/gram.h | sort >declared; "
                                "test -s declared && comm -23 declared exported");

                ck_assert_str_eq(names, "");
                ck_assert_str_eq(others, "");
                ck_assert_str_eq(missing, "");
        }
}
END_TEST

int main(void)
{
        const TTest *const tests[] = { every_file_is_installed,
                                       uninstall_removes_every_file,
                                       units_run_what_was_installed,
                                       the_example_is_a_valid_configuration,
                                       a_program_finds_the_library,
                                       only_the_api_is_exported,
                                       NULL };

        return test_program("install", tests);
}
