/* Any configuration file is either accepted, or refused with one line that says why and names the file. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../daemon/config/config.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        char path[64], *arguments[] = { "gramd", "--config", path, "--data", "/nowhere", NULL };
        int fd = memfd_create("config", MFD_CLOEXEC);
        enum config_action action;
        struct config_error error = { "" };
        struct config config;

        if (fd < 0 || write(fd, data, size) != (ssize_t)size)
                abort();
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        if (config_init(&config, 5, arguments, &action, &error)) {
                if (!strstr(error.text, path) || strchr(error.text, '\n'))
                        abort();
        } else if (strcmp(config.data, "/nowhere") != 0) {
                abort(); /* a flag overrides the file */
        }
        config_deinit(&config);
        close(fd);
        return 0;
}
