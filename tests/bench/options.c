/* Command lines of the benchmark's programs, and the core that they run on. */

#include "options.h"

#include <err.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

void options_read(const struct option_row *rows, size_t n, int argc, char **argv)
{
        for (int i = 1; i < argc; i++) {
                size_t len = strcspn(argv[i], "="), row = 0;
                const char *value = argv[i] + len + 1;

                while (row < n &&
                       (strlen(rows[row].name) != len || strncmp(rows[row].name, argv[i], len) != 0))
                        row++;
                if (row == n || !argv[i][len])
                        errx(2, "no such option: %s", argv[i]);
                if (rows[row].text)
                        *rows[row].text = value;
                else
                        *rows[row].number = strtod(value, NULL);
        }
}

void pin_to_core(int core)
{
        cpu_set_t cores;

        if (core < 0)
                return;
        CPU_ZERO(&cores);
        CPU_SET((size_t)core, &cores);
        if (sched_setaffinity(0, sizeof(cores), &cores) < 0)
                err(1, "core %d", core);
}
