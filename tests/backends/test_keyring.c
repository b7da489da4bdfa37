/* Key files, and values sealed with their keys: what opens, and what of strangers' files and values does not.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../backends/keyring.h"
#include "../support/program.h"

#define FILE_NAME "keys"

enum { LEN = 256, SEALED = LEN + SEALED_EXTRA_BYTES };

static const uint8_t anna[SESSION_ID_BYTES] = "anna", bert[SESSION_ID_BYTES] = "bert";
static const uint8_t value[LEN] = "a key that is marked";

static void free_ring(struct keyring **ring)
{
        keyring_free(*ring);
}
#define RING __attribute__((cleanup(free_ring))) struct keyring *

static void write_keys(const char *text)
{
        unlink(FILE_NAME);
        test_write_file(FILE_NAME, text, strlen(text));
        chmod(FILE_NAME, 0600);
}

static bool reads(struct keyring *ring, char why[256])
{
        return keyring_read(ring, FILE_NAME, KEY_FILE_PRIVATE, why, 256);
}

static struct keyring *ring_of(const char *text)
{
        struct keyring *ring = keyring_new();
        char why[256];

        write_keys(text);
        ck_assert_msg(reads(ring, why), "%s", why);
        return ring;
}

static int opens(struct keyring *ring, const uint8_t *session, const char *field, const uint8_t *sealed)
{
        uint8_t out[LEN];
        int error = keyring_open(ring, session, slice_of(field), sealed, SEALED, out, LEN);

        if (!error)
                ck_assert_mem_eq(out, value, LEN);
        return error;
}

START_TEST(a_sealed_value_opens)
{
        char line[KEY_LINE_BYTES];
        uint8_t sealed[SEALED], again[SEALED], id[KEY_ID_BYTES];

        key_line_new(line);
        RING ring = ring_of(line);
        ck_assert_int_eq(keyring_seal(ring, anna, slice_of("auth_key"), value, LEN, sealed), 0);
        ck_assert_int_eq(keyring_seal(ring, anna, slice_of("auth_key"), value, LEN, again), 0);
        ck_assert_int_eq(opens(ring, anna, "auth_key", sealed), 0);
        ck_assert_int_eq(opens(ring, anna, "auth_key", again), 0);
        ck_assert_mem_ne(sealed, again, SEALED);
        ck_assert_ptr_null(memmem(sealed, SEALED, value, 16));
        ck_assert(sealed_key_id(sealed, SEALED, id) && keyring_is_current(ring, id) && keyring_has(ring, id));
}
END_TEST

START_TEST(it_belongs_to_a_session_and_a_field)
{
        char line[KEY_LINE_BYTES];
        uint8_t sealed[SEALED];

        key_line_new(line);
        RING ring = ring_of(line);
        keyring_seal(ring, anna, slice_of("auth_key"), value, LEN, sealed);
        ck_assert_int_eq(opens(ring, bert, "auth_key", sealed), SEAL_E_FORGED);
        ck_assert_int_eq(opens(ring, anna, "auth_kez", sealed), SEAL_E_FORGED);
        ck_assert_int_eq(opens(ring, anna, "", sealed), SEAL_E_FORGED);
}
END_TEST

START_TEST(no_byte_may_be_changed)
{
        char line[KEY_LINE_BYTES];
        uint8_t sealed[SEALED + 1] = { 0 }, out[LEN + 1];

        key_line_new(line);
        RING ring = ring_of(line);
        keyring_seal(ring, anna, slice_of("auth_key"), value, LEN, sealed);
        for (size_t i = 0; i < SEALED; i++) {
                sealed[i] ^= 1;
                ck_assert_int_ne(opens(ring, anna, "auth_key", sealed), 0);
                sealed[i] ^= 1;
        }
        ck_assert_int_eq(opens(ring, anna, "auth_key", sealed), 0);
        for (size_t len = 0; len <= SEALED + 1; len++)
                if (len != SEALED)
                        ck_assert_int_eq(
                                keyring_open(ring, anna, slice_of("auth_key"), sealed, len, out, LEN),
                                SEAL_E_FORM);
        ck_assert_int_eq(keyring_open(ring, anna, slice_of("auth_key"), sealed, SEALED, out, LEN + 1),
                         SEAL_E_FORM);
}
END_TEST

START_TEST(the_first_key_seals_and_former_ones_open)
{
        char old[KEY_LINE_BYTES], new[KEY_LINE_BYTES];
        uint8_t by_old[SEALED], by_new[SEALED], id[KEY_ID_BYTES];
        char why[256];

        key_line_new(old);
        key_line_new(new);
        RING ring = ring_of(old);
        keyring_seal(ring, anna, slice_of("auth_key"), value, LEN, by_old);
        TEST_FREED char *both = test_format("# made today\n\n%s\t \r\n%s", new, old);
        write_keys(both);
        ck_assert(reads(ring, why));
        keyring_seal(ring, anna, slice_of("auth_key"), value, LEN, by_new);
        ck_assert_int_eq(opens(ring, anna, "auth_key", by_old), 0);
        ck_assert_int_eq(opens(ring, anna, "auth_key", by_new), 0);
        ck_assert(sealed_key_id(by_old, SEALED, id) && !keyring_is_current(ring, id) &&
                  keyring_has(ring, id));
        write_keys(new);
        ck_assert(reads(ring, why));
        ck_assert_int_eq(opens(ring, anna, "auth_key", by_old), SEAL_E_NO_KEY);
        ck_assert_int_eq(opens(ring, anna, "auth_key", by_new), 0);
}
END_TEST

START_TEST(without_a_key_nothing_is_sealed)
{
        uint8_t sealed[SEALED], id[KEY_ID_BYTES];
        RING ring = keyring_new();

        ck_assert_int_eq(keyring_seal(ring, anna, slice_of("auth_key"), value, LEN, sealed), SEAL_E_NO_KEY);
        ck_assert_int_eq(keyring_seal(NULL, anna, slice_of("auth_key"), value, LEN, sealed), SEAL_E_NO_KEY);
        ck_assert(!keyring_id(ring, 0, id) && !keyring_id(NULL, 0, id));
        ck_assert(keyring_make_random(ring) && keyring_id(ring, 0, id) && !keyring_id(ring, 1, id));
        keyring_seal(ring, anna, slice_of("auth_key"), value, LEN, sealed);
        ck_assert_int_eq(opens(ring, anna, "auth_key", sealed), 0);
        ck_assert_int_eq(opens(NULL, anna, "auth_key", sealed), SEAL_E_NO_KEY);
}
END_TEST

#define GOOD "gramd-key-1 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"

START_TEST(hostile_files_are_refused)
{
        static const struct {
                const char *text, *why;
        } files[] = {
                { "", "holds no key" },
                { "\n# nothing\n", "holds no key" },
                { "gramd-key-1", "keys:1: not" },
                { "gramd-key-1 \n", "keys:1: not" },
                { "gramd-key-2 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n", "keys:1: not" },
                { GOOD "gramd-key-1 SECRETAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n", "keys:2: not" },
                { "gramd-key-1 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n", "keys:1: not" },
                { "gramd-key-1 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n", "keys:1: not" },
                { "gramd-key-1 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=x\n", "keys:1: not" },
                { " " GOOD, "keys:1: not" },
                { "SECRET", "keys:1: not" },
                { GOOD GOOD, "keys:2: this key is in the file twice" },
        };
        RING ring = ring_of(GOOD);
        uint8_t id[KEY_ID_BYTES];
        char why[256];

        for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
                write_keys(files[i].text);
                ck_assert(!reads(ring, why));
                ck_assert_msg(strstr(why, files[i].why), "%s", why);
                ck_assert_ptr_null(strstr(why, "SECRET"));
                ck_assert(keyring_id(ring, 0, id) && !keyring_id(ring, 1, id));
        }
        test_write_file(FILE_NAME, GOOD "\0x", sizeof(GOOD) + 1);
        ck_assert(!reads(ring, why) && strstr(why, "zero byte"));
}
END_TEST

START_TEST(too_many_keys_are_refused)
{
        char text[(KEYRING_MAX + 1) * KEY_LINE_BYTES] = "";
        RING ring = keyring_new();
        char why[256];

        for (int i = 0; i < KEYRING_MAX; i++)
                key_line_new(text + strlen(text));
        write_keys(text);
        ck_assert(reads(ring, why));
        key_line_new(text + strlen(text));
        write_keys(text);
        ck_assert(!reads(ring, why) && strstr(why, "more than 64 keys"));
}
END_TEST

START_TEST(the_file_is_private)
{
        RING ring = ring_of(GOOD);
        char why[256];

        for (int i = 0; i < 6; i++) {
                chmod(FILE_NAME, (mode_t)(0600 | 1 << i));
                ck_assert(!reads(ring, why) && strstr(why, "chmod 600"));
        }
        chmod(FILE_NAME, 0440); /* a credential's mode, where the kernel shows the mask of an ACL */
        ck_assert(keyring_read(ring, FILE_NAME, KEY_FILE_CREDENTIAL, why, sizeof(why)));
        chmod(FILE_NAME, 0444);
        ck_assert(!keyring_read(ring, FILE_NAME, KEY_FILE_CREDENTIAL, why, sizeof(why)));
        chmod(FILE_NAME, 0400);
        ck_assert(reads(ring, why));
        if (geteuid() == 0) {
                ck_assert_int_eq(chown(FILE_NAME, 1234, 0), 0);
                ck_assert(!reads(ring, why) && strstr(why, "belongs to uid 1234"));
        }
}
END_TEST

START_TEST(only_a_regular_file_is_read)
{
        RING ring = ring_of(GOOD);
        char why[256];

        rename(FILE_NAME, "real");
        ck_assert_int_eq(symlink("real", FILE_NAME), 0);
        ck_assert(!reads(ring, why) && strstr(why, "a symbolic link"));
        unlink(FILE_NAME);
        ck_assert_int_eq(mkfifo(FILE_NAME, 0600), 0);
        ck_assert(!reads(ring, why) && strstr(why, "not a regular file"));
        unlink(FILE_NAME);
        ck_assert_int_eq(mkdir(FILE_NAME, 0700), 0);
        ck_assert(!reads(ring, why) && strstr(why, "not a regular file"));
        rmdir(FILE_NAME);
        ck_assert(!reads(ring, why) && strstr(why, "No such file"));
        test_remove("real");
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                a_sealed_value_opens,
                it_belongs_to_a_session_and_a_field,
                no_byte_may_be_changed,
                the_first_key_seals_and_former_ones_open,
                without_a_key_nothing_is_sealed,
                hostile_files_are_refused,
                too_many_keys_are_refused,
                the_file_is_private,
                only_a_regular_file_is_read,
                NULL,
        };

        return test_program("keyring", tests);
}
