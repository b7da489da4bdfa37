/* Sealed session files: what is in them, what libraries may do to them, and what is refused untouched. */

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../support/file_test.h"
#include "../support/session_file.h"

static const char *const dialects_made[] = { "pyrogram", "hydrogram", "electrogram", "pyrofork",
                                             "kurigram", "irenogram", "pyrotgfork",  "telethon" };
enum { DIALECTS = sizeof(dialects_made) / sizeof(*dialects_made) };

static char marked[AUTH_KEY_BYTES + 1];

static void mark(void)
{
        for (int i = 0; i < AUTH_KEY_BYTES; i++)
                marked[i] = (char)('a' + i * 7 % 26);
}

static struct keyring *ring;
static char old_line[KEY_LINE_BYTES];

/* The keys of this line, and of the next. */
static void have_keys(const char *first, const char *second)
{
        TEST_FREED char *text = test_format("%s%s", first, second);
        char why[256];

        test_write_file("keys", text, strlen(text));
        chmod("keys", 0600);
        ck_assert_msg(keyring_read(ring, "keys", KEY_FILE_PRIVATE, why, sizeof(why)), "%s", why);
}

static void set_up(void)
{
        mark();
        ring = keyring_new();
        key_line_new(old_line);
        have_keys(old_line, "");
        at.config.keyring = ring;
        at.backend->stop(at.env);
        ck_assert_int_eq(at.backend->start(&at.config, at.values, &at.env, &at.fault), 0);
}

static void tear_down(void)
{
        if (at.session)
                storage_close(&at);
        keyring_free(ring);
        at.config.keyring = NULL;
        test_remove("keys");
}

static int apply_change(enum change_kind kind, enum sealing sealing, const uint8_t *key)
{
        struct identity identity;
        struct change change = { .kind = kind, .identity = &identity, .n = 1 };
        int error;

        identity_init(&identity);
        if (key)
                identity_set_key(&identity, key);
        if (kind == CHANGE_IDENTITY)
                change.fields = FIELD_BIT(FIELD_AUTH_KEY);
        else
                change.sealing = sealing;
        error = at.backend->apply(at.session, &change, 1, DURABLE_DISK, NULL, NULL, &at.fault);
        identity_wipe(&identity);
        return error;
}

static void set_key(const char *key)
{
        ck_assert_int_eq(apply_change(CHANGE_IDENTITY, SEALING_ON, (const uint8_t *)key), 0);
}

static void change_sealing(enum sealing sealing)
{
        int error = apply_change(CHANGE_SEALING, sealing, (const uint8_t *)marked);

        ck_assert_msg(error == 0, "%s", at.fault.text);
}

static bool has_key(const char *key)
{
        return identity_has(&at.opened.identity, FIELD_AUTH_KEY) &&
               memcmp(at.opened.identity.auth_key, key, AUTH_KEY_BYTES) == 0;
}

/* Is a part of the key in the file, or in one beside it? */
static bool file_shows_key(const char *path)
{
        static const char *const suffixes[] = { "", "-wal", "-journal" };

        for (size_t i = 0; i < sizeof(suffixes) / sizeof(*suffixes); i++) {
                TEST_FREED char *name = test_format("%s%s", path, suffixes[i]);
                size_t len = 0;
                TEST_FREED char *bytes = test_read_file(name, &len);

                if (bytes && memmem(bytes, len, marked, 16))
                        return true;
        }
        return false;
}

static int64_t number(const char *path, const char *text)
{
        sqlite3 *db = NULL;
        sqlite3_stmt *row = NULL;
        int64_t value;

        ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
        ck_assert_int_eq(sqlite3_prepare_v2(db, text, -1, &row, NULL), SQLITE_OK);
        value = sqlite3_step(row) == SQLITE_ROW ? sqlite3_column_int64(row, 0) : -1;
        sqlite3_finalize(row);
        sqlite3_close(db);
        return value;
}

static const char *described(void)
{
        static struct counts counts;

        ck_assert_int_eq(at.backend->count(at.session, &counts, &at.fault), 0);
        return counts.sealed;
}

static void make(const char *name)
{
        storage_open(&at, name, NULL);
        set_key(marked);
        storage_close(&at);
}

/* Opening fails with this error, and the file stays as it was. */
static void is_refused(const char *name, int error, const char *why)
{
        TEST_FREED char *path = test_format("data/%s.session", name);
        size_t len, len_after;
        TEST_FREED char *before = test_read_file(path, &len);

        ck_assert_int_eq(storage_try(&at, name, NULL, false), error);
        ck_assert_msg(strstr(at.fault.text, why), "%s", at.fault.text);
        TEST_FREED char *after = test_read_file(path, &len_after);
        ck_assert_uint_eq(len, len_after);
        ck_assert_mem_eq(before, after, len);
}

#define SEALED_TEST(name)                                                                                    \
        static void name##_sealed(int _i);                                                                   \
        FILE_TEST(name)                                                                                      \
        {                                                                                                    \
                set_up();                                                                                    \
                name##_sealed(_i);                                                                           \
                tear_down();                                                                                 \
        }                                                                                                    \
        static void name##_sealed(int _i __attribute__((unused)))

SEALED_TEST(a_new_session_is_sealed)
{
        for (int i = 0; i < DIALECTS; i++) {
                bool telethon = strcmp(dialects_made[i], "telethon") == 0;

                storage_open(&at, "x", dialects_made[i]);
                ck_assert_str_ne(described(), "");
                set_key(marked);
                ck_assert(!file_shows_key(PATH));
                storage_close(&at);
                ck_assert(!file_shows_key(PATH));
                ck_assert_int_eq(number(PATH, telethon ? "SELECT auth_key = x'' FROM sessions"
                                                       : "SELECT auth_key IS NULL FROM sessions"),
                                 1);
                storage_open(&at, "x", NULL);
                ck_assert(has_key(marked));
                set_key(NULL);
                storage_close(&at);
                storage_open(&at, "x", NULL);
                ck_assert(!identity_has(&at.opened.identity, FIELD_AUTH_KEY));
                ck_assert_str_ne(described(), "");
                storage_close(&at);
                unlink(PATH);
        }
}

SEALED_TEST(without_its_key_it_is_refused)
{
        char other[KEY_LINE_BYTES];

        make("x");
        key_line_new(other);
        have_keys(other, "");
        is_refused("x", BACKEND_E_STORAGE, "which this daemon does not have");
        have_keys(other, old_line);
        storage_open(&at, "x", NULL);
        ck_assert(has_key(marked));
}

SEALED_TEST(a_copied_value_is_refused)
{
        make("x");
        make("y");
        sql("data/y.session",
            "ATTACH 'data/x.session' AS x;"
            "UPDATE gramd_sealed SET value = (SELECT value FROM x.gramd_sealed WHERE field = 'auth_key')"
            " WHERE field = 'auth_key'");
        is_refused("y", BACKEND_E_CORRUPT, "or is another session's");
        sql("data/y.session", "UPDATE gramd_sealed SET value = x'0102' WHERE field = 'auth_key'");
        is_refused("y", BACKEND_E_CORRUPT, "damaged");
        sql("data/y.session", "UPDATE gramd_sealed SET value = 7 WHERE field = 'auth_key'");
        is_refused("y", BACKEND_E_CORRUPT, "damaged");
        sql("data/y.session", "DELETE FROM gramd_sealed WHERE field = 'id'");
        is_refused("y", BACKEND_E_CORRUPT, "has no id");
        sql("data/y.session", "INSERT INTO gramd_sealed VALUES ('id', x'00')");
        is_refused("y", BACKEND_E_CORRUPT, "has no id");
}

SEALED_TEST(it_may_be_renamed_and_moved)
{
        make("x");
        ck_assert_int_eq(rename("data/x.session", "data/z.session"), 0);
        storage_open(&at, "z", NULL);
        ck_assert(has_key(marked));
}

SEALED_TEST(a_key_of_the_library_wins_and_is_sealed)
{
        for (int i = 0; i < 2; i++) {
                storage_open(&at, "x", NULL);
                set_key("another key that was there before: it has to be as long as a key "
                        "is........................."
                        "..................................................................................."
                        "..................................................................................");
                storage_close(&at);
                TEST_FREED char *text =
                        test_format("UPDATE sessions SET auth_key = CAST('%s' AS BLOB)", marked);
                sql(PATH, "%s", text);
                ck_assert(file_shows_key(PATH));
                storage_open(&at, "x", NULL);
                ck_assert(has_key(marked));
                ck_assert(!file_shows_key(PATH));
                storage_close(&at);
                ck_assert(!file_shows_key(PATH));
                storage_open(&at, "x", NULL);
                ck_assert(has_key(marked));
                storage_close(&at);
        }
}

static void start_with_empty_ring(void)
{
        at.backend->stop(at.env);
        keyring_free(ring);
        ring = keyring_new();
        at.config.keyring = ring;
        ck_assert_int_eq(at.backend->start(&at.config, at.values, &at.env, &at.fault), 0);
}

/* The library has logged in anew, and the daemon gets its keys only when the session is open. */
SEALED_TEST(a_key_of_the_library_is_sealed_on_request)
{
        static const enum sealing requests[] = { SEALING_ON, SEALING_ANEW };

        for (int i = 0; i < 2; i++) {
                have_keys(old_line, "");
                make("x");
                TEST_FREED char *text =
                        test_format("UPDATE sessions SET auth_key = CAST('%s' AS BLOB)", marked);
                sql(PATH, "%s", text);
                start_with_empty_ring();
                storage_open(&at, "x", NULL);
                ck_assert(has_key(marked));
                ck_assert_str_eq(described(), "");
                ck_assert(file_shows_key(PATH));
                have_keys(old_line, "");
                change_sealing(requests[i]);
                ck_assert_str_ne(described(), "");
                ck_assert(!file_shows_key(PATH));
                storage_close(&at);
                ck_assert(!file_shows_key(PATH));
                storage_open(&at, "x", NULL);
                ck_assert(has_key(marked));
                storage_close(&at);
        }
}

SEALED_TEST(a_plain_session_is_sealed_and_unsealed)
{
        static const char tables[] = "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'gramd%'";

        at.config.keyring = NULL;
        at.backend->stop(at.env);
        ck_assert_int_eq(at.backend->start(&at.config, at.values, &at.env, &at.fault), 0);
        make("x");
        ck_assert(file_shows_key(PATH));
        storage_open(&at, "x", NULL);
        ck_assert_int_eq(apply_change(CHANGE_SEALING, SEALING_ON, (const uint8_t *)marked), BACKEND_E_OPTION);
        ck_assert_str_eq(described(), "");
        storage_close(&at);
        ck_assert_int_eq(number(PATH, tables), 0);

        at.config.keyring = ring;
        at.backend->stop(at.env);
        ck_assert_int_eq(at.backend->start(&at.config, at.values, &at.env, &at.fault), 0);
        storage_open(&at, "x", NULL);
        change_sealing(SEALING_ON);
        ck_assert(!file_shows_key(PATH));
        change_sealing(SEALING_ON);
        storage_close(&at);
        ck_assert(!file_shows_key(PATH));
        storage_open(&at, "x", NULL);
        ck_assert(has_key(marked));
        change_sealing(SEALING_OFF);
        change_sealing(SEALING_OFF);
        storage_close(&at);
        ck_assert(file_shows_key(PATH));
        ck_assert_int_eq(number(PATH, tables), 0);
        storage_open(&at, "x", NULL);
        ck_assert(has_key(marked));
}

/* A library's SQLite may leave former values in the file's free parts. */
SEALED_TEST(former_values_leave_the_file)
{
        make("x");
        sql(PATH,
            "PRAGMA secure_delete = OFF; CREATE TABLE former (value); INSERT INTO former VALUES ('%s');"
            "DROP TABLE former",
            marked);
        ck_assert(file_shows_key(PATH));
        storage_open(&at, "x", NULL);
        change_sealing(SEALING_ON);
        ck_assert(!file_shows_key(PATH));
        storage_close(&at);
        ck_assert(!file_shows_key(PATH));
}

SEALED_TEST(it_is_sealed_with_a_new_key)
{
        char new[KEY_LINE_BYTES], by[KEY_ID_TEXT_BYTES];

        make("x");
        key_line_new(new);
        have_keys(new, old_line);
        storage_open(&at, "x", NULL);
        snprintf(by, sizeof(by), "%s", described());
        change_sealing(SEALING_ANEW);
        ck_assert_str_ne(described(), by);
        storage_close(&at);
        have_keys(new, "");
        storage_open(&at, "x", NULL);
        ck_assert(has_key(marked));
}

SEALED_TEST(unsealed_sessions_can_be_refused)
{
        make("x");
        storage_open(&at, "x", NULL);
        change_sealing(SEALING_OFF);
        storage_close(&at);
        make("y");
        at.config.require_sealed = true;
        is_refused("x", BACKEND_E_STORAGE, "gramctl seal");
        storage_open(&at, "y", NULL);
        ck_assert_int_eq(apply_change(CHANGE_SEALING, SEALING_OFF, (const uint8_t *)marked),
                         BACKEND_E_OPTION);
        storage_close(&at);
        at.seal = true;
        storage_open(&at, "x", NULL);
        ck_assert(has_key(marked));
        ck_assert(!file_shows_key(PATH));
        storage_close(&at);
        at.seal = false;
        storage_open(&at, "x", NULL);
}

/* ---- the key-value area ---- */

static void put_value(const char *key, const char *value)
{
        const struct kv_row row = { .key = slice_of(key), .value = slice_of(value) };
        const struct change change = { .kind = CHANGE_KV, .kv = &row, .n = 1 };

        ck_assert_msg(storage_apply(&at, &change, 1) == 0, "%s", at.fault.text);
        ck_assert_str_eq(at.effects, "");
}

static bool keep_value(void *arg, const struct kv_value *value)
{
        *(char **)arg = strndup(value->value.data, value->value.len);
        return true;
}

static void expect_value(const char *key, const char *expected)
{
        const struct slice name = slice_of(key);
        TEST_FREED char *value = NULL;

        ck_assert_msg(at.backend->kv_get(at.session, &name, 1, keep_value, &value, &at.fault) == 0, "%s",
                      at.fault.text);
        ck_assert_str_eq(value, expected);
}

static void value_is_refused(const char *key, int error, const char *why)
{
        const struct slice name = slice_of(key);
        const struct kv_swap swap = { .row = { .key = name, .value = slice_of("new") } };
        const struct kv_row other = { .key = slice_of("other"), .value = slice_of("stored") };
        const struct change changes[] = { { .kind = CHANGE_KV_SWAP, .swap = &swap, .n = 1 },
                                          { .kind = CHANGE_KV, .kv = &other, .n = 1 } };
        TEST_FREED char *value = NULL;
        TEST_FREED char *refused = test_format("refused %d", error);

        ck_assert_int_eq(at.backend->kv_get(at.session, &name, 1, keep_value, &value, &at.fault), error);
        ck_assert_msg(strstr(at.fault.text, why), "%s", at.fault.text);
        ck_assert_ptr_null(value);
        /* a swap with it is refused, and the rest of its batch is stored */
        ck_assert_int_eq(storage_apply(&at, changes, 2), 0);
        ck_assert_str_eq(at.effects, refused);
        expect_value("other", "stored");
}

SEALED_TEST(values_are_sealed_and_names_are_not)
{
        storage_open(&at, "x", NULL);
        put_value("name", marked);
        put_value("empty", "");
        expect_value("name", marked);
        ck_assert(!file_shows_key(PATH));
        storage_close(&at);
        ck_assert(!file_shows_key(PATH));
        ck_assert_int_eq(number(PATH, "SELECT count(*) FROM gramd_kv WHERE key = CAST('name' AS BLOB)"
                                      " AND length(value) = 256 + 49"),
                         1);
        storage_open(&at, "x", NULL);
        expect_value("name", marked);
        expect_value("empty", "");
}

SEALED_TEST(a_value_of_another_key_or_session_is_refused)
{
        for (int i = 0; i < 2; i++) {
                storage_open(&at, i ? "y" : "x", NULL);
                put_value("a", marked);
                put_value("b", marked);
                put_value("c", marked);
                put_value("d", marked);
                storage_close(&at);
        }
        sql(PATH,
            "ATTACH 'data/y.session' AS y;"
            "UPDATE gramd_kv SET value = (SELECT value FROM gramd_kv WHERE key = x'62') WHERE key = x'61';"
            "UPDATE gramd_kv SET value = (SELECT value FROM y.gramd_kv WHERE key = x'62') WHERE key = x'62';"
            "UPDATE gramd_kv SET value = x'01' WHERE key = x'63'");
        storage_open(&at, "x", NULL);
        value_is_refused("a", BACKEND_E_CORRUPT, "another key's or session's");
        value_is_refused("b", BACKEND_E_CORRUPT, "another key's or session's");
        value_is_refused("c", BACKEND_E_CORRUPT, "is not sealed");
        expect_value("d", marked);
        put_value("a", "again"); /* it can be replaced */
        expect_value("a", "again");
}

/* Bytes that this process has read from files so far. */
static long long bytes_read(void)
{
        size_t len;
        TEST_FREED char *text = test_read_file("/proc/self/io", &len);
        long long bytes = -1;

        ck_assert_int_eq(sscanf(text, "rchar: %lld", &bytes), 1);
        return bytes;
}

/* In the order in which they are stored: a page is read a few times, not once for each of its rows. */
SEALED_TEST(many_values_are_sealed_page_by_page)
{
        enum { ROWS = 20000, PAGE_BYTES = 4096 };
        static const enum sealing steps[] = { SEALING_ON, SEALING_OFF };

        storage_restart_with(&at, "page-cache", 0);
        storage_open(&at, "x", NULL);
        put_value("a", marked);
        change_sealing(SEALING_OFF);
        storage_close(&at);
        sql(PATH,
            "WITH RECURSIVE n (i) AS (VALUES (0) UNION ALL SELECT i + 1 FROM n WHERE i < %d)"
            " INSERT INTO gramd_kv (key, value)"
            " SELECT CAST(printf('%%05d', i * 7919 %% %d) AS BLOB), x'76' FROM n;"
            "UPDATE gramd_kv SET rowid = -9223372036854775807 - 1 WHERE key = CAST('00007' AS BLOB);"
            "UPDATE gramd_kv SET rowid = 9223372036854775807 WHERE key = CAST('00008' AS BLOB)",
            ROWS - 1, ROWS);
        storage_open(&at, "x", NULL);
        for (size_t i = 0; i < 2; i++) {
                long long before = bytes_read();

                change_sealing(steps[i]);
                ck_assert_int_lt(bytes_read() - before, PAGE_BYTES * ROWS / 2);
                expect_value("a", marked);
                expect_value("00007", "v");
                expect_value("00008", "v");
        }
}

SEALED_TEST(values_follow_the_session_into_the_clear_and_back)
{
        storage_open(&at, "x", NULL);
        put_value("a", marked);
        put_value("b", "");
        change_sealing(SEALING_OFF);
        expect_value("a", marked);
        put_value("c", "in the clear");
        storage_close(&at);
        ck_assert(file_shows_key(PATH));
        storage_open(&at, "x", NULL);
        expect_value("a", marked);
        set_key(NULL);
        change_sealing(SEALING_ON);
        set_key(NULL);
        expect_value("a", marked);
        expect_value("b", "");
        expect_value("c", "in the clear");
        ck_assert(!file_shows_key(PATH));
        storage_close(&at);
        ck_assert(!file_shows_key(PATH));
        storage_open(&at, "x", NULL);
        expect_value("c", "in the clear");
}

/* As long as one value needs a former key, the session says so. */
SEALED_TEST(values_are_sealed_with_a_new_key)
{
        char new[KEY_LINE_BYTES], by_old[KEY_ID_TEXT_BYTES], by_new[KEY_ID_TEXT_BYTES];

        for (int i = 0; i < 2; i++) { /* without an auth key, and with one that has the new key already */
                have_keys(old_line, "");
                storage_open(&at, "x", NULL);
                put_value("a", marked);
                put_value("b", "");
                snprintf(by_old, sizeof(by_old), "%s", described());
                key_line_new(new);
                have_keys(new, old_line);
                if (i == 1)
                        set_key(marked);
                put_value("c", "by the new one");
                ck_assert_str_eq(described(), by_old);
                change_sealing(SEALING_ANEW);
                snprintf(by_new, sizeof(by_new), "%s", described());
                ck_assert_str_ne(by_new, by_old);
                storage_close(&at);
                have_keys(new, "");
                storage_open(&at, "x", NULL);
                expect_value("a", marked);
                expect_value("b", "");
                expect_value("c", "by the new one");
                storage_close(&at);
                unlink(PATH);
        }
}

/* What was found out with one key counts no more when another one has sealed a value. */
SEALED_TEST(a_value_of_a_key_in_between_is_told)
{
        char new[KEY_LINE_BYTES], by_new[KEY_ID_TEXT_BYTES];
        uint8_t id[KEY_ID_BYTES];

        storage_open(&at, "x", NULL);
        put_value("a", marked);
        described();
        key_line_new(new);
        have_keys(new, old_line);
        ck_assert(keyring_id(ring, 0, id));
        key_id_text(id, by_new);
        put_value("a", "by the new one");
        have_keys(old_line, new);
        ck_assert_str_eq(described(), by_new);
        change_sealing(SEALING_ANEW);
        ck_assert_str_ne(described(), by_new);
}

SEALED_TEST(values_of_a_key_that_is_not_there_are_refused_alone)
{
        char new[KEY_LINE_BYTES];

        storage_open(&at, "x", NULL);
        put_value("a", marked);
        key_line_new(new);
        have_keys(new, "");
        put_value("b", "by the new one");
        expect_value("b", "by the new one");
        value_is_refused("a", BACKEND_E_STORAGE, "which this daemon does not have");
}

int main(void)
{
        const TTest *const tests[] = {
                a_new_session_is_sealed,
                without_its_key_it_is_refused,
                a_copied_value_is_refused,
                it_may_be_renamed_and_moved,
                a_key_of_the_library_wins_and_is_sealed,
                a_key_of_the_library_is_sealed_on_request,
                a_plain_session_is_sealed_and_unsealed,
                it_is_sealed_with_a_new_key,
                former_values_leave_the_file,
                unsealed_sessions_can_be_refused,
                values_are_sealed_and_names_are_not,
                a_value_of_another_key_or_session_is_refused,
                many_values_are_sealed_page_by_page,
                values_follow_the_session_into_the_clear_and_back,
                values_are_sealed_with_a_new_key,
                a_value_of_a_key_in_between_is_told,
                values_of_a_key_that_is_not_there_are_refused_alone,
                NULL,
        };

        return test_program("sealed", tests);
}
