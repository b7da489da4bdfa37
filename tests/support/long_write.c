#include "long_write.h"

#include <stdlib.h>
#include <string.h>

#include "program.h"

enum { ROUNDS = 50 };

/* update_peers of id 5. */
static void send_peers(const struct long_write *w, int hash)
{
        static const char head[] = "\x94\x00\x05\xacupdate_peers\x92";
        size_t size = sizeof(head) + 6 + (size_t)w->rows * 11, at = sizeof(head) - 1;
        uint8_t *bytes = malloc(size);

        ck_assert_ptr_nonnull(bytes);
        memcpy(bytes, head, at);
        bytes[at++] = (uint8_t)w->s;
        bytes[at++] = 0xdd;
        for (int byte = 3; byte >= 0; byte--)
                bytes[at++] = (uint8_t)(w->rows >> (8 * byte));
        for (int id = 1; id <= w->rows; id++) {
                const uint8_t row[] = { 0x95,
                                        0xce,
                                        (uint8_t)(id >> 24),
                                        (uint8_t)(id >> 16),
                                        (uint8_t)(id >> 8),
                                        (uint8_t)id,
                                        (uint8_t)hash,
                                        0xa1,
                                        'u',
                                        0xc0,
                                        0xc0 };

                memcpy(bytes + at, row, sizeof(row));
                at += sizeof(row);
        }
        wire_raw(w->writer, bytes, at);
        free(bytes);
}

long long long_write_slices(struct wire *c)
{
        return wire_number(wire_call(c, "stats()"), "slices_total");
}

void long_write_stop_in_the_middle(struct long_write *w)
{
        send_peers(w, 0); /* so that the former rows are cached */
        expect_text(wire_answer(w->writer, 5), "nil");
        for (w->hash = 1; w->hash <= ROUNDS; w->hash++) {
                long long before = long_write_slices(w->other);

                send_peers(w, w->hash);
                while (long_write_slices(w->other) < before + 2)
                        ;
                daemon_freeze(w->daemon);
                if (!wire_readable(w->writer, 0))
                        return;
                daemon_thaw(w->daemon);
                expect_text(wire_answer(w->writer, 5), "nil");
        }
        ck_abort_msg("no long write was seen in the middle");
}

void long_write_expect_rows(const struct long_write *w, struct wire *c, int s)
{
        for (int id = w->rows; id > 0; id -= w->rows - 1) { /* the last one first: its slice may still come */
                TEST_FREED char *row = test_format("[%d, %d, 'u', nil, nil, ...]", id, w->hash);

                expect(c, row, "get_peer_by_id(%d, %d)", s, id);
        }
        ck_assert_int_eq(wire_number(wire_call(c, "info(%d)", s), "peers"), w->rows);
}
