/* Records: the values of fields, peer rows and state rows, and that they read back as they were written. */

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "../../proto/message.h"
#include "../../proto/records.h"

static struct cursor over(const struct buffer *buffer)
{
        return (struct cursor){ buffer->data, buffer->data + buffer->len };
}

static uint8_t key_byte(size_t i)
{
        return (uint8_t)(i * 3 + 1);
}

static void make_key(uint8_t key[AUTH_KEY_BYTES])
{
        for (size_t i = 0; i < AUTH_KEY_BYTES; i++)
                key[i] = key_byte(i);
}

/* ---- names of sessions ---- */

START_TEST(session_names)
{
        static const char *const good[] = { "a",  "bot-1",    "a.b", "mein bot", "\xd0\xb1\xd0\xbe\xd1\x82",
                                            "~x", "\xc2\xa0x" };
        static const char *const bad[] = { "",         ".",     "..",          ".hidden", "a/b",
                                           "/",        "a\nb",  "\x1f",        "a\x7f",   "\xc2\x80",
                                           "\xc2\x9f", "a\xff", "\xed\xa0\x80" };
        char longest[NAME_MAX_BYTES + 1];

        for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
                ck_assert_msg(session_name_valid(slice_of(good[i])), "%s", good[i]);
        for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
                ck_assert_msg(!session_name_valid(slice_of(bad[i])), "bad name %zu", i);
        memset(longest, 'n', sizeof(longest));
        ck_assert(session_name_valid((struct slice){ longest, NAME_MAX_BYTES }));
        ck_assert(!session_name_valid((struct slice){ longest, NAME_MAX_BYTES + 1 }));
        ck_assert(!session_name_valid((struct slice){ "a\0b", 3 }));
        ck_assert(!session_name_valid(SLICE_NONE));
}
END_TEST

/* ---- identity ---- */

START_TEST(fields_have_names)
{
        ck_assert_int_eq(field_by_name(slice_of("dc_id")), FIELD_DC_ID);
        for (unsigned field = 0; field < FIELD_COUNT; field++)
                ck_assert_uint_eq(field_by_name(slice_of(field_infos[field].name)), field);
        ck_assert_int_eq(field_by_name(slice_of("auth")), FIELD_COUNT);
        ck_assert_int_eq(field_by_name(slice_of("")), FIELD_COUNT);
        ck_assert_int_eq(field_by_name(SLICE_NONE), FIELD_COUNT);
}
END_TEST

START_TEST(a_new_identity)
{
        struct identity identity;

        identity_init(&identity);
        for (unsigned field = 0; field < FIELD_COUNT; field++)
                ck_assert_int_eq(identity_has(&identity, (enum field)field),
                                 field == FIELD_DC_ID || field == FIELD_DATE);
        ck_assert_int_eq(identity.number[FIELD_DC_ID], 2);
        ck_assert_int_eq(identity.number[FIELD_DATE], 0);
}
END_TEST

/* Reads one int into a field; the identity is wiped again. */
static int read_int(enum field field, int64_t value)
{
        struct buffer buffer = { 0 };
        struct identity identity;
        struct cursor cursor;
        int result;

        identity_init(&identity);
        pack_int(&buffer, value);
        cursor = over(&buffer);
        result = identity_read(&identity, field, &cursor);
        if (result == 0) {
                ck_assert(identity_has(&identity, field));
                ck_assert_int_eq(identity.number[field], value);
                ck_assert_ptr_eq(cursor.at, cursor.end);
        } else {
                ck_assert_int_eq(identity_has(&identity, field), field == FIELD_DC_ID || field == FIELD_DATE);
        }
        identity_wipe(&identity);
        buffer_deinit(&buffer);
        return result;
}

START_TEST(numbers_have_ranges)
{
        static const struct {
                enum field field;
                int64_t min, max;
        } ranges[] = {
                { FIELD_DC_ID, 0, 255 },
                { FIELD_API_ID, 0, 4294967295 },
                { FIELD_DATE, INT64_MIN, INT64_MAX },
                { FIELD_USER_ID, INT64_MIN, INT64_MAX },
                { FIELD_PORT, 0, 65535 },
                { FIELD_TAKEOUT_ID, INT64_MIN, INT64_MAX },
        };

        for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
                ck_assert_int_eq(read_int(ranges[i].field, ranges[i].min), 0);
                ck_assert_int_eq(read_int(ranges[i].field, ranges[i].max), 0);
                if (ranges[i].min != INT64_MIN)
                        ck_assert_int_eq(read_int(ranges[i].field, ranges[i].min - 1), IDENTITY_E_VALUE);
                if (ranges[i].max != INT64_MAX)
                        ck_assert_int_eq(read_int(ranges[i].field, ranges[i].max + 1), IDENTITY_E_VALUE);
        }
        ck_assert_int_eq(read_int(FIELD_TEST_MODE, 1), IDENTITY_E_VALUE);
        ck_assert_int_eq(read_int(FIELD_IS_BOT, 0), IDENTITY_E_VALUE);
        ck_assert_int_eq(read_int(FIELD_AUTH_KEY, 0), IDENTITY_E_VALUE);
        ck_assert_int_eq(read_int(FIELD_SERVER_ADDRESS, 0), IDENTITY_E_VALUE);
}
END_TEST

START_TEST(nil_where_it_may_be)
{
        struct buffer buffer = { 0 };
        uint8_t key[AUTH_KEY_BYTES];
        struct identity identity;

        pack_nil(&buffer);
        make_key(key);
        for (unsigned f = 0; f < FIELD_COUNT; f++) {
                enum field field = (enum field)f;
                bool never = field == FIELD_DC_ID || field == FIELD_DATE;
                struct cursor cursor = over(&buffer);

                identity_init(&identity);
                if (field == FIELD_AUTH_KEY)
                        identity_set_key(&identity, key);
                else if (field == FIELD_SERVER_ADDRESS)
                        ck_assert(identity_set_address(&identity, slice_of("1.2.3.4")));
                else
                        identity_set_number(&identity, field, 1);
                ck_assert_int_eq(identity_read(&identity, field, &cursor), never ? IDENTITY_E_VALUE : 0);
                ck_assert_int_eq(identity_has(&identity, field), never);
                if (field == FIELD_AUTH_KEY)
                        ck_assert_uint_eq(identity.auth_key[100], 0);
                identity_wipe(&identity);
        }
        buffer_deinit(&buffer);
}
END_TEST

/* Reads a str or bin into a field. */
static int read_bytes(struct identity *identity, enum field field, bool bin, const void *data, size_t len)
{
        struct buffer buffer = { 0 };
        struct cursor cursor;
        int result;

        (bin ? pack_bin : pack_str)(&buffer, (struct slice){ data, len });
        cursor = over(&buffer);
        result = identity_read(identity, field, &cursor);
        ck_assert_ptr_eq(cursor.at, result == 0 ? cursor.end : buffer.data);
        buffer_deinit(&buffer);
        return result;
}

START_TEST(auth_keys)
{
        uint8_t key[AUTH_KEY_BYTES + 1] = { 0 };
        struct identity identity;

        make_key(key);
        identity_init(&identity);
        ck_assert_int_eq(read_bytes(&identity, FIELD_AUTH_KEY, true, key, 255), IDENTITY_E_VALUE);
        ck_assert_int_eq(read_bytes(&identity, FIELD_AUTH_KEY, true, key, 257), IDENTITY_E_VALUE);
        ck_assert_int_eq(read_bytes(&identity, FIELD_AUTH_KEY, true, key, 1), IDENTITY_E_VALUE);
        ck_assert_int_eq(read_bytes(&identity, FIELD_AUTH_KEY, false, "k", 1), IDENTITY_E_VALUE);
        ck_assert(!identity_has(&identity, FIELD_AUTH_KEY));
        ck_assert_int_eq(read_bytes(&identity, FIELD_AUTH_KEY, true, key, 256), 0);
        ck_assert(identity_has(&identity, FIELD_AUTH_KEY));
        ck_assert_mem_eq(identity.auth_key, key, 256);
        ck_assert_int_eq(read_bytes(&identity, FIELD_AUTH_KEY, true, "", 0), 0);
        ck_assert(!identity_has(&identity, FIELD_AUTH_KEY));
        for (size_t i = 0; i < AUTH_KEY_BYTES; i++)
                ck_assert_uint_eq(identity.auth_key[i], 0);
        identity_wipe(&identity);
}
END_TEST

START_TEST(addresses)
{
        struct identity identity;
        char longest[TEXT_MAX_BYTES + 1];

        memset(longest, 'a', sizeof(longest));
        identity_init(&identity);
        ck_assert_int_eq(read_bytes(&identity, FIELD_SERVER_ADDRESS, false, longest, 255), 0);
        ck_assert_uint_eq(strlen(identity.server_address), 255);
        ck_assert_int_eq(read_bytes(&identity, FIELD_SERVER_ADDRESS, false, longest, 256), IDENTITY_E_VALUE);
        ck_assert_int_eq(read_bytes(&identity, FIELD_SERVER_ADDRESS, true, "x", 1), IDENTITY_E_VALUE);
        ck_assert_int_eq(read_bytes(&identity, FIELD_SERVER_ADDRESS, false, "a\0b", 3), IDENTITY_E_VALUE);
        ck_assert_int_eq(read_bytes(&identity, FIELD_SERVER_ADDRESS, false, "\xff", 1), IDENTITY_E_VALUE);
        ck_assert_uint_eq(strlen(identity.server_address), 255);
        ck_assert_int_eq(read_bytes(&identity, FIELD_SERVER_ADDRESS, false, "", 0), 0);
        ck_assert_str_eq(identity.server_address, "");
        identity_wipe(&identity);
}
END_TEST

static void fill(struct identity *identity)
{
        uint8_t key[AUTH_KEY_BYTES];

        make_key(key);
        identity_init(identity);
        for (unsigned field = 0; field < FIELD_COUNT; field++) {
                if (field_infos[field].type == FIELD_NUMBER || field_infos[field].type == FIELD_BOOL)
                        identity_set_number(identity, (enum field)field, 1);
        }
        identity_set_key(identity, key);
        ck_assert(identity_set_address(identity, slice_of("149.154.167.51")));
}

START_TEST(writes_what_it_reads)
{
        struct identity from, to;

        fill(&from);
        identity_init(&to);
        for (unsigned field = 0; field < FIELD_COUNT; field++) {
                struct buffer buffer = { 0 };
                struct cursor cursor;

                identity_write(&from, (enum field)field, &buffer);
                cursor = over(&buffer);
                ck_assert_int_eq(identity_read(&to, (enum field)field, &cursor), 0);
                ck_assert_ptr_eq(cursor.at, cursor.end);
                ck_assert(identity_equal(&from, &to, (enum field)field));
                buffer_deinit(&buffer);
        }
        ck_assert_uint_eq(to.present, FIELD_ALL);
        identity_wipe(&from);
        identity_wipe(&to);
}
END_TEST

START_TEST(absent_fields_are_written_as_nil)
{
        struct identity identity;

        identity_init(&identity);
        for (unsigned field = 0; field < FIELD_COUNT; field++) {
                struct buffer buffer = { 0 };

                identity_write(&identity, (enum field)field, &buffer);
                ck_assert_uint_eq(buffer.len, 1);
                if (!field_infos[field].never_nil)
                        ck_assert_uint_eq(buffer.data[0], 0xc0);
                buffer_deinit(&buffer);
        }
}
END_TEST

START_TEST(copies_and_compares)
{
        struct identity a, b;

        fill(&a);
        fill(&b);
        ck_assert(identity_copy(&b, &a));
        ck_assert_ptr_ne(a.server_address, b.server_address);
        for (unsigned f = 0; f < FIELD_COUNT; f++) {
                enum field field = (enum field)f;

                ck_assert(identity_equal(&a, &b, field));
                if (field == FIELD_AUTH_KEY)
                        b.auth_key[255] ^= 1;
                else if (field == FIELD_SERVER_ADDRESS)
                        b.server_address[3]++;
                else
                        identity_set_number(&b, field, 0);
                ck_assert(!identity_equal(&a, &b, field));
                if (field_infos[field].never_nil)
                        continue;
                identity_set_nil(&b, field);
                ck_assert(!identity_equal(&a, &b, field) && !identity_equal(&b, &a, field));
                ck_assert(identity_equal(&b, &b, field));
        }
        identity_wipe(&a);
        ck_assert_uint_eq(a.auth_key[0], 0);
        ck_assert_ptr_null(a.server_address);
        ck_assert_int_eq(a.number[FIELD_DC_ID], 2);
        identity_wipe(&b);
}
END_TEST

/* ---- peers ---- */

enum { NOW = 1700000000 };

/* A peer row of `parts` elements out of these seven; the one at `wrong` is replaced by a map. */
static bool read_row(uint32_t parts, int wrong, struct peer *peer)
{
        static struct buffer buffer; /* holds what the slices borrow, until the next row */
        struct cursor cursor;
        bool result;

        buffer_deinit(&buffer);
        pack_array(&buffer, parts);
        for (uint32_t i = 0; i < parts; i++) {
                /* rows of four lack the username */
                uint32_t part = parts == 4 && i == 3 ? 4 : i;

                if ((int)i == wrong)
                        pack_map(&buffer, 0);
                else if (part == 0)
                        pack_int(&buffer, -1001234567890);
                else if (part == 1)
                        pack_int(&buffer, INT64_MIN);
                else if (part == 2)
                        pack_cstr(&buffer, "channel");
                else if (part == 3)
                        pack_cstr(&buffer, "name");
                else if (part == 4)
                        pack_cstr(&buffer, "79001234567");
                else
                        pack_int(&buffer, 1234567890);
        }
        cursor = over(&buffer);
        result = peer_read(&cursor, NOW, peer);
        ck_assert_ptr_eq(cursor.at, result ? cursor.end : buffer.data);
        return result;
}

START_TEST(peer_rows_of_four_five_and_six)
{
        struct peer peer;

        for (uint32_t parts = 4; parts <= 6; parts++) {
                ck_assert(read_row(parts, -1, &peer));
                ck_assert_int_eq(peer.id, -1001234567890);
                ck_assert(peer.has_access_hash);
                ck_assert_int_eq(peer.access_hash, INT64_MIN);
                ck_assert(slice_is(peer.type, "channel"));
                ck_assert(parts == 4 ? !peer.username.data : slice_is(peer.username, "name"));
                ck_assert(slice_is(peer.phone_number, "79001234567"));
                ck_assert_int_eq(peer.last_update_on, parts == 6 ? 1234567890 : NOW);
                for (int wrong = 0; wrong < (int)parts; wrong++)
                        ck_assert(!read_row(parts, wrong, &peer));
        }
        for (uint32_t parts = 0; parts < 9; parts++)
                ck_assert_int_eq(read_row(parts, -1, &peer), parts >= 4 && parts <= 6);
}
END_TEST

static bool read_texts(const char *type, size_t type_len, size_t text_len)
{
        struct buffer buffer = { 0 };
        struct cursor cursor;
        struct peer peer;
        char text[300];
        bool result;

        memset(text, 't', sizeof(text));
        pack_array(&buffer, 5);
        pack_int(&buffer, 1);
        pack_nil(&buffer);
        pack_str(&buffer, (struct slice){ type ? type : text, type_len });
        pack_str(&buffer, (struct slice){ text, text_len });
        pack_nil(&buffer);
        cursor = over(&buffer);
        result = peer_read(&cursor, NOW, &peer);
        if (result)
                ck_assert(!peer.has_access_hash && peer.access_hash == 0 && !peer.phone_number.data);
        buffer_deinit(&buffer);
        return result;
}

START_TEST(texts_of_peers_have_lengths)
{
        ck_assert(read_texts(NULL, 32, 255));
        ck_assert(read_texts(NULL, 1, 0));
        ck_assert(!read_texts(NULL, 33, 1));
        ck_assert(!read_texts(NULL, 0, 1));
        ck_assert(!read_texts(NULL, 1, 256));
        ck_assert(!read_texts("\xff", 1, 1));
}
END_TEST

static const int64_t times[] = { 0,  1,         NOW,       UINT32_MAX,        (int64_t)UINT32_MAX + 1,
                                 -1, INT64_MIN, INT64_MAX, 0x00000000ce010203 };

START_TEST(peers_come_back_as_they_were_written)
{
        for (size_t i = 0; i < sizeof(times) / sizeof(times[0]) * 8; i++) {
                struct peer peer = {
                        .id = i & 1 ? INT64_MIN : 5,
                        .has_access_hash = i & 2,
                        .access_hash = i & 2 ? INT64_MAX : 0,
                        .type = slice_of("bot"),
                        .username = i & 4 ? slice_of("") : SLICE_NONE,
                        .phone_number = i & 4 ? SLICE_NONE : slice_of("1555"),
                        .last_update_on = times[i / 8],
                };
                struct buffer buffer = { 0 };
                struct peer back;

                peer_write(&buffer, &peer);
                ck_assert_uint_eq(buffer.data[0], 0x96);
                peer_unpack((struct slice){ (char *)buffer.data, buffer.len }, &back);
                ck_assert(peer_same(&peer, &back));
                ck_assert_int_eq(back.last_update_on, peer.last_update_on);
                buffer_deinit(&buffer);
        }
}
END_TEST

/* Any time of 32 bits replaces any other in place; the rest of the row does not change. */
START_TEST(a_packed_peers_time_changes_in_place)
{
        for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
                for (size_t j = 0; j < sizeof(times) / sizeof(times[0]); j++) {
                        struct peer peer = { .id = 1,
                                             .type = slice_of("user"),
                                             .username = slice_of("\xce\xb1") };
                        bool fits = times[i] >= 0 && times[i] <= UINT32_MAX && times[j] >= 0 &&
                                    times[j] <= UINT32_MAX;
                        struct buffer buffer = { 0 };
                        struct peer back;

                        peer.last_update_on = times[i];
                        peer_write(&buffer, &peer);
                        ck_assert_int_eq(peer_set_time(buffer.data, buffer.len, times[j]), fits);
                        peer_unpack((struct slice){ (char *)buffer.data, buffer.len }, &back);
                        ck_assert(peer_same(&peer, &back));
                        ck_assert_int_eq(back.last_update_on, fits ? times[j] : times[i]);
                        buffer_deinit(&buffer);
                }
        }
}
END_TEST

START_TEST(peers_differ_by_any_part_but_the_time)
{
        const struct peer peer = { 1, true, 2, slice_of("user"), slice_of("u"), slice_of("p"), 3 };
        struct peer other = peer;

        other.last_update_on = 4;
        ck_assert(peer_same(&peer, &other));
        other.id = 9, ck_assert(!peer_same(&peer, &other)), other = peer;
        other.has_access_hash = false, ck_assert(!peer_same(&peer, &other)), other = peer;
        other.access_hash = 9, ck_assert(!peer_same(&peer, &other)), other = peer;
        other.type = slice_of("bot"), ck_assert(!peer_same(&peer, &other)), other = peer;
        other.username = SLICE_NONE, ck_assert(!peer_same(&peer, &other)), other = peer;
        other.phone_number = slice_of(""), ck_assert(!peer_same(&peer, &other));
}
END_TEST

/* ---- update states ---- */

/* A part of INT64_MIN stands for nil. */
static struct state make_state(int64_t id, int64_t pts, int64_t qts, int64_t date, int64_t seq)
{
        const int64_t parts[STATE_PARTS] = { pts, qts, date, seq };
        struct state state = { .id = id };

        for (unsigned part = 0; part < STATE_PARTS; part++) {
                if (parts[part] == INT64_MIN)
                        continue;
                state.part[part] = parts[part];
                state.present |= 1u << part;
        }
        return state;
}

#define NIL INT64_MIN

START_TEST(states_come_back_as_they_were_written)
{
        const struct state states[] = { make_state(0, 1, 2, 3, 4), make_state(-5, NIL, NIL, NIL, NIL),
                                        make_state(INT64_MAX, NIL, INT64_MAX, 0, NIL) };

        for (size_t i = 0; i < 3; i++) {
                struct buffer buffer = { 0 };
                struct cursor cursor;
                struct state back;

                state_write(&buffer, &states[i]);
                cursor = over(&buffer);
                ck_assert(state_read(&cursor, &back));
                ck_assert_ptr_eq(cursor.at, cursor.end);
                ck_assert(state_equal(&states[i], &back));
                for (size_t j = 0; j < 3; j++)
                        ck_assert_int_eq(state_equal(&states[j], &back), i == j);
                buffer_deinit(&buffer);
        }
}
END_TEST

START_TEST(states_of_other_shapes_are_refused)
{
        static const struct {
                uint8_t bytes[8];
                size_t len;
        } rows[] = {
                { { 0x94, 1, 1, 1, 1 }, 5 },       { { 0x96, 1, 1, 1, 1, 1, 1 }, 7 },
                { { 0x95, 0xc0, 1, 1, 1, 1 }, 6 }, { { 0x95, 1, 1, 1, 0xa0, 1 }, 6 },
                { { 0x95, 1, 0xc2, 1, 1, 1 }, 6 }, { { 0x80 }, 1 },
        };

        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                struct cursor cursor = { rows[i].bytes, rows[i].bytes + rows[i].len };
                struct state state;

                ck_assert(!state_read(&cursor, &state));
                ck_assert_ptr_eq(cursor.at, rows[i].bytes);
        }
}
END_TEST

START_TEST(nil_parts_keep_what_is_stored)
{
        struct state stored = make_state(1, 10, 20, NIL, 40);
        struct state state = make_state(1, NIL, 2, NIL, NIL);
        struct state expected = make_state(1, 10, 2, NIL, 40);

        state_keep(&state, &stored);
        ck_assert(state_equal(&state, &expected));
}
END_TEST

START_TEST(states_sort_by_date_then_id)
{
        struct state states[] = { make_state(3, 0, 0, 9, 0),    make_state(2, 0, 0, NIL, 0),
                                  make_state(9, 0, 0, -1, 0),   make_state(1, 0, 0, 9, 0),
                                  make_state(-7, 0, 0, NIL, 0), make_state(4, 0, 0, INT64_MAX, 0) };
        static const int64_t order[] = { -7, 2, 9, 1, 3, 4 };

        qsort(states, 6, sizeof(states[0]), state_by_date);
        for (size_t i = 0; i < 6; i++)
                ck_assert_int_eq(states[i].id, order[i]);
}
END_TEST

int main(void)
{
        Suite *suite = suite_create("records");
        TCase *tcase = tcase_create("records");
        SRunner *runner = srunner_create(suite);
        int failed;

        tcase_add_test(tcase, session_names);
        tcase_add_test(tcase, fields_have_names);
        tcase_add_test(tcase, a_new_identity);
        tcase_add_test(tcase, numbers_have_ranges);
        tcase_add_test(tcase, nil_where_it_may_be);
        tcase_add_test(tcase, auth_keys);
        tcase_add_test(tcase, addresses);
        tcase_add_test(tcase, writes_what_it_reads);
        tcase_add_test(tcase, absent_fields_are_written_as_nil);
        tcase_add_test(tcase, copies_and_compares);
        tcase_add_test(tcase, peer_rows_of_four_five_and_six);
        tcase_add_test(tcase, texts_of_peers_have_lengths);
        tcase_add_test(tcase, peers_come_back_as_they_were_written);
        tcase_add_test(tcase, a_packed_peers_time_changes_in_place);
        tcase_add_test(tcase, peers_differ_by_any_part_but_the_time);
        tcase_add_test(tcase, states_come_back_as_they_were_written);
        tcase_add_test(tcase, states_of_other_shapes_are_refused);
        tcase_add_test(tcase, nil_parts_keep_what_is_stored);
        tcase_add_test(tcase, states_sort_by_date_then_id);
        suite_add_tcase(suite, tcase);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
