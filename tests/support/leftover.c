/* Reads /proc/PID/mem region by region. Regions that cannot be read (the kernel's own) hold no keys. */

#include "leftover.h"

#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "program.h"

enum { BLOCK_BYTES = 16, STEP_BYTES = 64, BLOCKS = LEFTOVER_KEY_BYTES / STEP_BYTES };

struct counts {
        int of_block[BLOCKS];
};

void leftover_key(struct leftover_key *key, unsigned number)
{
        uint64_t state = number * UINT64_C(0x9e3779b97f4a7c15) + 1;

        for (int i = 0; i < LEFTOVER_KEY_BYTES; i++) {
                state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
                key->bytes[i] = (uint8_t)(state >> 56);
                snprintf(key->hex + 2 * (size_t)i, 3, "%02x", key->bytes[i]);
        }
}

static int most(const struct counts *counts)
{
        int found = 0;

        for (int i = 0; i < BLOCKS; i++)
                if (counts->of_block[i] > found)
                        found = counts->of_block[i];
        return found;
}

/* `where` NULL: nothing is written to stderr. */
static void count(const char *bytes, size_t len, const struct leftover_key *key, const char *where,
                  struct counts *counts)
{
        for (int i = 0; i < BLOCKS; i++) {
                const char *at = bytes;

                while ((at = memmem(at, len - (size_t)(at - bytes), key->bytes + i * STEP_BYTES,
                                    BLOCK_BYTES))) {
                        counts->of_block[i]++;
                        if (where)
                                fprintf(stderr, "block %d at +%zx of %s", i, (size_t)(at - bytes), where);
                        at += BLOCK_BYTES;
                }
        }
}

/* Whether it could be read. */
static bool count_region(int fd, const char *line, const struct leftover_key *key, struct counts *counts)
{
        uint64_t from, to;
        char rights[5];
        char *bytes;
        ssize_t n;

        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s", &from, &to, rights) != 3 || rights[1] != 'w')
                return false;
        bytes = malloc(to - from);
        ck_assert_ptr_nonnull(bytes);
        n = pread(fd, bytes, to - from, (off_t)from);
        if (n > 0)
                count(bytes, (size_t)n, key, line, counts);
        free(bytes);
        return n > 0;
}

int leftover_in_process(pid_t pid, const struct leftover_key *key)
{
        TEST_FREED char *memory = test_format("/proc/%d/mem", (int)pid);
        TEST_FREED char *maps = test_format("/proc/%d/maps", (int)pid);
        struct counts counts = { { 0 } };
        bool has_stack = false;
        char line[512];
        FILE *regions;
        int fd;

        fd = open(memory, O_RDONLY | O_CLOEXEC);
        regions = fopen(maps, "re");
        ck_assert_msg(fd >= 0 && regions, "%s cannot be read: this test needs root", memory);
        while (fgets(line, sizeof(line), regions))
                if (count_region(fd, line, key, &counts) && strstr(line, "[stack]"))
                        has_stack = true;
        fclose(regions);
        close(fd);
        ck_assert_msg(has_stack, "%s cannot be read", memory);
        return most(&counts);
}

char *leftover_configuration(bool is_sealed)
{
        static const char key[] = "gramd-key-1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";
        TEST_FREED char *path = NULL;

        if (!is_sealed)
                return test_format("idle-close = 0\n");
        test_write_file("sealing-key", key, strlen(key));
        ck_assert_int_eq(chmod("sealing-key", 0600), 0);
        path = realpath("sealing-key", NULL);
        return test_format("idle-close = 0\n[encryption]\nkey-file = %s\n", path);
}

bool leftover_is_searchable(void)
{
        if (geteuid() == 0 && test_memory_factor() == 1)
                return true;
        test_skipped("the search through the daemon's memory",
                     "root, and an allocator that is not a sanitizer's");
        return false;
}

int leftover_in_memory(struct daemon *daemon, const struct leftover_key *key)
{
        int found;

        daemon_freeze(daemon);
        found = leftover_in_process(daemon->pid, key);
        daemon_thaw(daemon);
        return found;
}

static void count_file(int fd, const struct leftover_key *key, struct counts *counts)
{
        off_t len = lseek(fd, 0, SEEK_END);
        char *bytes = malloc((size_t)len + 1);

        ck_assert(len >= 0 && bytes && pread(fd, bytes, (size_t)len, 0) == len);
        count(bytes, (size_t)len, key, NULL, counts);
        free(bytes);
}

int leftover_in_file(int fd, const struct leftover_key *key)
{
        struct counts counts = { { 0 } };

        count_file(fd, key, &counts);
        return most(&counts);
}

int leftover_in_folder(const char *path, const struct leftover_key *key)
{
        struct counts counts = { { 0 } };
        DIR *folder = opendir(path);
        struct dirent *entry;

        ck_assert_ptr_nonnull(folder);
        while ((entry = readdir(folder))) {
                int fd = openat(dirfd(folder), entry->d_name, O_RDONLY | O_CLOEXEC);

                if (entry->d_type == DT_REG && fd >= 0)
                        count_file(fd, key, &counts);
                if (fd >= 0)
                        close(fd);
        }
        closedir(folder);
        return most(&counts);
}
