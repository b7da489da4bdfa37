/* The contract: the key-value area, of a backend that has one. */

#include "contract.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NOW = 1000 };

static bool has_area(void)
{
        return contract_at.backend->kv_get;
}

/* A sequence of keys and values, NULL: deleted, up to the key NULL; ascending by key. */
static int set(int64_t now_ms, int64_t ttl_s, const char *const *texts)
{
        struct kv_row rows[16];
        struct change change = { .kind = CHANGE_KV, .kv = rows, .now_ms = now_ms };

        for (; texts[0]; texts += 2)
                rows[change.n++] = (struct kv_row){ .key = slice_of(texts[0]),
                                                    .value = slice_of(texts[1]),
                                                    .ttl_s = ttl_s };
        return storage_apply(&contract_at, &change, 1);
}
#define SET(...) set(NOW, 0, (const char *const[]){ __VA_ARGS__, NULL, NULL })

/* Returns the effects. */
static const char *swap(int64_t now_ms, const char *key, const char *expected, const char *value,
                        int64_t ttl_s)
{
        const struct kv_swap swapped = { .row = { slice_of(key), slice_of(value), ttl_s },
                                         .expected = slice_of(expected) };
        const struct change change = { .kind = CHANGE_KV_SWAP, .swap = &swapped, .now_ms = now_ms, .n = 1 };

        ck_assert_int_eq(storage_apply(&contract_at, &change, 1), 0);
        return contract_at.effects;
}

static void expire(int64_t now_ms)
{
        const struct change change = { .kind = CHANGE_KV_EXPIRED, .now_ms = now_ms, .n = 1 };

        ck_assert_int_eq(storage_apply(&contract_at, &change, 1), 0);
}

static int64_t due(void)
{
        int64_t due_ms = -1;

        ck_assert_int_eq(contract_at.backend->kv_due(contract_at.session, &due_ms, &contract_at.fault), 0);
        return due_ms;
}

/* What is read, as `key=value`, with `@` and the time if it expires. */
struct shown {
        char text[512];
        size_t len;
        int left; /* rows, then it is enough */
};

static bool show(void *arg, const struct kv_value *value)
{
        struct shown *shown = arg;
        size_t room = sizeof(shown->text) - shown->len;

        shown->len += (size_t)snprintf(shown->text + shown->len, room, "%s%.*s=%.*s", shown->len ? " " : "",
                                       (int)value->key.len, value->key.data, (int)value->value.len,
                                       value->value.data);
        room = sizeof(shown->text) - shown->len;
        if (value->expires_ms != INT64_MAX)
                shown->len += (size_t)snprintf(shown->text + shown->len, room, "@%lld",
                                               (long long)value->expires_ms);
        return --shown->left != 0;
}

static void expect_scan(const char *prefix, const char *after, int limit, const char *expected)
{
        struct shown shown = { .left = limit };

        ck_assert_int_eq(contract_at.backend->kv_scan(contract_at.session, slice_of(prefix), slice_of(after),
                                                      show, &shown, &contract_at.fault),
                         0);
        ck_assert_str_eq(shown.text, expected);
}

/* By the number of its key. */
static bool keep(void *arg, const struct kv_value *value)
{
        ((char **)arg)[value->number] = strndup(value->value.data, value->value.len);
        return true;
}

CONTRACT_TEST(keys_are_read_by_number)
{
        const struct slice keys[] = { slice_of("b"), slice_of("none"), slice_of("a"), slice_of("b") };
        char *values[4] = { NULL };

        if (!has_area())
                return;
        storage_open(&contract_at, "bot", NULL);
        ck_assert_int_eq(
                contract_at.backend->kv_get(contract_at.session, keys, 4, keep, values, &contract_at.fault),
                0);
        ck_assert_ptr_null(values[0]);
        ck_assert_int_eq(SET("a", "1", "b", ""), 0);
        ck_assert_str_eq(contract_at.effects, "");
        ck_assert_int_eq(
                contract_at.backend->kv_get(contract_at.session, keys, 4, keep, values, &contract_at.fault),
                0);
        ck_assert_str_eq(values[0], "");
        ck_assert_ptr_null(values[1]);
        ck_assert_str_eq(values[2], "1");
        ck_assert_str_eq(values[3], "");
        for (int i = 0; i < 4; i++)
                free(values[i]);
}

CONTRACT_TEST(a_scan_goes_by_bytes_from_a_key_on)
{
        if (!has_area())
                return;
        storage_open(&contract_at, "bot", NULL);
        expect_scan("", NULL, 9, "");
        ck_assert_int_eq(SET("B", "1", "a", "2", "a.", "3", "a.b", "4", "ab", "5", "\xc3\xa9", "6"), 0);
        contract_reopen("bot");
        if (!contract_kept)
                return;
        expect_scan("", NULL, 9, "B=1 a=2 a.=3 a.b=4 ab=5 \xc3\xa9=6");
        expect_scan("a", NULL, 9, "a=2 a.=3 a.b=4 ab=5");
        expect_scan("a", "a", 2, "a.=3 a.b=4");
        expect_scan("a.", NULL, 9, "a.=3 a.b=4");
        expect_scan("a.", "a.b", 9, "");
        expect_scan("a.", "B", 1, "a.=3");
        expect_scan("a.", "b", 9, "");
        ck_assert_int_eq(SET("a", NULL, "a.", "9", "none", NULL), 0);
        expect_scan("a", NULL, 9, "a.=9 a.b=4 ab=5");
}

CONTRACT_TEST(a_swap_compares_and_tells)
{
        if (!has_area())
                return;
        storage_open(&contract_at, "bot", NULL);
        ck_assert_str_eq(swap(NOW, "k", "", "1", 0), "stands nil");
        ck_assert_str_eq(swap(NOW, "k", NULL, NULL, 0), "swapped");
        ck_assert_str_eq(swap(NOW, "k", NULL, "", 0), "swapped");
        ck_assert_str_eq(swap(NOW, "k", NULL, "1", 0), "stands ");
        ck_assert_str_eq(swap(NOW, "k", "", "1", 0), "swapped");
        ck_assert_str_eq(swap(NOW, "k", "2", "3", 0), "stands 1");
        expect_scan("", NULL, 9, "k=1");
        ck_assert_str_eq(swap(NOW, "k", "1", NULL, 0), "swapped");
        expect_scan("", NULL, 9, "");
}

CONTRACT_TEST(swaps_of_a_batch_see_each_other)
{
        const struct kv_swap first = { .row = { .key = slice_of("k"), .value = slice_of("1") } };
        const struct kv_swap second = { .row = { .key = slice_of("k"), .value = slice_of("2") } };
        const struct kv_swap third = { .row = { .key = slice_of("k"), .value = slice_of("3") },
                                       .expected = slice_of("1") };
        const struct change changes[] = {
                { .kind = CHANGE_KV_SWAP, .swap = &first, .now_ms = NOW, .n = 1 },
                { .kind = CHANGE_KV_SWAP, .swap = &second, .now_ms = NOW, .n = 1 },
                { .kind = CHANGE_KV_SWAP, .swap = &third, .now_ms = NOW, .n = 1 },
        };

        if (!has_area())
                return;
        storage_open(&contract_at, "bot", NULL);
        ck_assert_int_eq(storage_apply(&contract_at, changes, 3), 0);
        ck_assert_str_eq(contract_at.effects, "stands 1; swapped; swapped"); /* sorted */
        expect_scan("", NULL, 9, "k=3");
}

CONTRACT_TEST(values_expire)
{
        if (!has_area())
                return;
        storage_open(&contract_at, "bot", NULL);
        ck_assert_int_eq(due(), INT64_MAX);
        ck_assert_int_eq(SET("for ever", "1"), 0);
        ck_assert_int_eq(set(NOW, 2, (const char *const[]){ "a", "1", "b", "2", NULL }), 0);
        ck_assert_int_eq(set(NOW, 5, (const char *const[]){ "c", "3", NULL }), 0);
        contract_reopen("bot");
        if (!contract_kept)
                return;
        ck_assert_int_eq(due(), NOW + 2000);
        expect_scan("", NULL, 9, "a=1@3000 b=2@3000 c=3@6000 for ever=1");
        /* before it is deleted, what has expired is none for a swap */
        ck_assert_str_eq(swap(3000, "a", "1", "2", 0), "stands nil");
        ck_assert_str_eq(swap(3000, "a", NULL, "2", 0), "swapped");
        ck_assert_str_eq(swap(2999, "b", NULL, "2", 0), "stands 2");
        expire(2999);
        expect_scan("", NULL, 9, "a=2 b=2@3000 c=3@6000 for ever=1");
        expire(3000);
        expect_scan("", NULL, 9, "a=2 c=3@6000 for ever=1");
        ck_assert_int_eq(due(), 6000);
        /* a write without a time takes it away */
        ck_assert_int_eq(SET("c", "4"), 0);
        ck_assert_int_eq(due(), INT64_MAX);
        expire(7000);
        expect_scan("", NULL, 9, "a=2 c=4 for ever=1");
}

/* A lock that was taken back does not return, also after the session was closed. */
CONTRACT_TEST(a_deleted_value_stays_deleted)
{
        if (!has_area())
                return;
        storage_open(&contract_at, "bot", NULL);
        ck_assert_str_eq(swap(NOW, "lock", NULL, "me", 1), "swapped");
        expire(NOW + 1000);
        contract_reopen("bot");
        expect_scan("", NULL, 9, "");
        ck_assert_int_eq(due(), INT64_MAX);
        ck_assert_str_eq(swap(0, "lock", NULL, "you", 1), "swapped");
        expect_scan("", NULL, 9, "lock=you@1000");
}

static void fill(char *text, char with, size_t n)
{
        memset(text, with, n);
        text[n] = '\0';
}

/* Keys and values count, and what has expired does not. */
CONTRACT_TEST(the_area_is_bounded)
{
        TEST_FREED char *value = malloc(KV_VALUE_MAX_BYTES + 1);
        TEST_FREED char *refused = test_format("refused %d", BACKEND_E_TOO_LARGE);
        char key[16];
        int n = STORAGE_KV_MAX / (KV_VALUE_MAX_BYTES + 2);

        if (!has_area())
                return;
        storage_open(&contract_at, "bot", NULL);
        fill(value, 'v', KV_VALUE_MAX_BYTES);
        for (int i = 0; i < n; i++) {
                snprintf(key, sizeof(key), "%02d", i);
                ck_assert_int_eq(set(NOW, i == 0, (const char *const[]){ key, value, NULL }), 0);
                ck_assert_str_eq(contract_at.effects, "");
        }
        ck_assert_int_eq(SET("a", "1", "b", value), 0);
        ck_assert_str_eq(contract_at.effects, refused);
        ck_assert_str_eq(swap(NOW, "c", NULL, value, 0), refused);
        expect_scan("a", NULL, 9, "");
        expect_scan("b", NULL, 9, "");
        contract_reopen("bot");
        if (!contract_kept)
                return;
        ck_assert_int_eq(SET("b", value), 0);
        ck_assert_str_eq(contract_at.effects, refused);
        ck_assert_int_eq(set(NOW + 999, 0, (const char *const[]){ "b", value, NULL }), 0);
        ck_assert_str_eq(contract_at.effects, refused);
        ck_assert_int_eq(set(NOW + 1000, 0, (const char *const[]){ "b", value, NULL }), 0);
        ck_assert_str_eq(contract_at.effects, "");
        ck_assert_str_eq(swap(NOW + 1000, "c", NULL, value, 0), refused);
        ck_assert_int_eq(SET("b", NULL), 0);
        ck_assert_str_eq(swap(NOW, "c", NULL, value, 0), "swapped");
}

CONTRACT_TEST(removal_takes_the_area_along)
{
        if (!has_area())
                return;
        storage_open(&contract_at, "bot", NULL);
        ck_assert_int_eq(SET("k", "1"), 0);
        ck_assert_int_eq(contract_at.backend->remove(contract_at.session, false, &contract_at.fault), 0);
        contract_at.session = NULL;
        storage_open(&contract_at, "bot", NULL);
        expect_scan("", NULL, 9, "");
        ck_assert_str_eq(swap(NOW, "k", NULL, "2", 0), "swapped");
}

CONTRACT_TEST(many_keys_are_scanned_in_pages)
{
        int n = contract_rows_max, seen = 0;
        struct kv_row *rows = calloc((size_t)n, sizeof(*rows));
        char(*keys)[16] = calloc((size_t)n, sizeof(*keys));
        const struct change change = { .kind = CHANGE_KV, .kv = rows, .n = (size_t)n, .now_ms = NOW };
        char after[16] = "k";

        for (int i = 0; i < n; i++) {
                snprintf(keys[i], sizeof(keys[i]), "k%06d", i);
                rows[i] = (struct kv_row){ .key = slice_of(keys[i]), .value = slice_of(keys[i]) };
        }
        if (has_area()) {
                storage_open(&contract_at, "bot", NULL);
                ck_assert_int_eq(storage_apply(&contract_at, &change, 1), 0);
                ck_assert_str_eq(contract_at.effects, "");
                for (struct shown shown = { .left = 7 };; shown = (struct shown){ .left = 7 }) {
                        ck_assert_int_eq(contract_at.backend->kv_scan(contract_at.session, slice_of("k"),
                                                                      slice_of(after), show, &shown,
                                                                      &contract_at.fault),
                                         0);
                        if (shown.left == 7)
                                break;
                        seen += 7 - shown.left;
                        snprintf(after, sizeof(after), "k%06d", seen - 1);
                        ck_assert_ptr_nonnull(strstr(shown.text, after));
                }
                ck_assert_int_eq(seen, n);
        }
        free(rows);
        free(keys);
}

void contract_kv(TCase *tcase, int i)
{
        tcase_add_loop_test(tcase, keys_are_read_by_number, i, i + 1);
        tcase_add_loop_test(tcase, a_scan_goes_by_bytes_from_a_key_on, i, i + 1);
        tcase_add_loop_test(tcase, a_swap_compares_and_tells, i, i + 1);
        tcase_add_loop_test(tcase, swaps_of_a_batch_see_each_other, i, i + 1);
        tcase_add_loop_test(tcase, values_expire, i, i + 1);
        tcase_add_loop_test(tcase, a_deleted_value_stays_deleted, i, i + 1);
        tcase_add_loop_test(tcase, the_area_is_bounded, i, i + 1);
        tcase_add_loop_test(tcase, removal_takes_the_area_along, i, i + 1);
        tcase_add_loop_test(tcase, many_keys_are_scanned_in_pages, i, i + 1);
}
