/* What all sessions remember is bounded: above the bound, a new caller leaves its session only few. */

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "../../backends/backend.h"
#include "../../daemon/session/client.h"
#include "../../daemon/session/remembered.h"
#include "../../daemon/session/session.h"
#include "../../daemon/wire/answer.h"
#include "../support/program.h"

enum {
        CALLERS = 64, /* of a session */
        CALLERS_SHORT = 4,
        WRITES = LIMIT_REMEMBERED, /* of each */
        WRITE_BYTES = 12,          /* at least, in memory */
        BOUND = 64 << 20,
        SESSIONS = 2 * BOUND / (CALLERS * WRITES * WRITE_BYTES),
};

static struct sessions sessions;
static struct session all[SESSIONS];
static uint8_t *packed; /* CALLERS groups of WRITES writes, as a file has them */
static size_t n_packed;

static void put(uint32_t value, int bytes)
{
        for (int i = 0; i < bytes; i++)
                packed[n_packed++] = (uint8_t)(value >> (8 * i));
}

static void pack(void)
{
        packed = malloc(CALLERS * (4 + LIMIT_ID_BYTES + 2 + WRITES * 10));
        ck_assert_ptr_nonnull(packed);
        n_packed = 0;
        for (int caller = 0; caller < CALLERS; caller++) {
                put(0, 4);
                for (int i = 0; i < LIMIT_ID_BYTES; i++)
                        put(i == 0 ? (uint32_t)caller : 0, 1);
                put(WRITES, 2);
                for (uint32_t msgid = 1; msgid <= WRITES; msgid++) {
                        put(msgid, 4);
                        put(0, 4);
                        put(0, 2);
                }
        }
}

static void begin(void)
{
        static char names[SESSIONS][16];

        pack();
        memset(&sessions, 0, sizeof(sessions));
        remembered_closed_init(&sessions.remembered);
        for (int i = 0; i < SESSIONS; i++) {
                snprintf(names[i], sizeof(names[i]), "s%d", i);
                all[i] = (struct session){ .sessions = &sessions, .name = slice_of(names[i]) };
        }
}

static void load(struct session *session)
{
        const struct opened opened = { .remembered = packed, .n_remembered = n_packed };

        remembered_load(session, &opened);
}

/* What is remembered of closed sessions is bounded by much less: here most of it is forgotten. */
static void end(void)
{
        for (int i = 0; i < SESSIONS; i++)
                remembered_close(&all[i]);
        remembered_closed_deinit(&sessions.remembered);
        free(packed);
}

static int callers_of(struct session *session)
{
        int n = 0;

        for (int i = 0; i < CALLERS; i++) {
                const struct client client = { .caller = { .known = true, .id = { (uint8_t)i } } };
                const struct request request = { .id = WRITES };

                n += remembered_has(session, &client, &request);
        }
        return n;
}

START_TEST(all_sessions_together_remember_so_much)
{
        int full = 0;

        begin();
        for (int i = 0; i < SESSIONS; i++)
                load(&all[i]);
        while (full < SESSIONS && callers_of(&all[full]) == CALLERS)
                full++;
        ck_assert_int_gt(full, SESSIONS / 4);
        ck_assert_int_le((int64_t)full * CALLERS * WRITES * WRITE_BYTES, BOUND);
        for (int i = full + 1; i < SESSIONS; i++) /* the first one was over it in the middle */
                ck_assert_int_eq(callers_of(&all[i]), CALLERS_SHORT);
        end();
}
END_TEST

/* Sessions that are closed make room for others. */
START_TEST(what_is_forgotten_counts_no_more)
{
        begin();
        for (int round = 0; round < 3; round++) {
                load(&all[0]);
                ck_assert_int_eq(callers_of(&all[0]), CALLERS);
                for (int i = 1; i < SESSIONS; i++)
                        load(&all[i]);
                ck_assert_int_eq(callers_of(&all[SESSIONS - 1]), CALLERS_SHORT);
                for (int i = 0; i < SESSIONS; i++)
                        remembered_close(&all[i]);
        }
        end();
}
END_TEST

int main(void)
{
        return test_program("remembered", (const TTest *const[]){
                                                  all_sessions_together_remember_so_much,
                                                  what_is_forgotten_counts_no_more,
                                                  NULL,
                                          });
}
