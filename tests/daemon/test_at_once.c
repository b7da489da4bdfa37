/*
 * Requests are answered without waiting for a time: the daemon is inside of the test, and its clocks stand
 * (tests/fuzz/inside.h).
 */

#include <stdio.h>
#include <string.h>

#include "../fuzz/clocks.h"
#include "../fuzz/inside.h"
#include "../support/notation.h"
#include "../support/program.h"

/* Several requests, which arrive together. */
static void send_all(struct end *end, const char *const *requests)
{
        msgpack_sbuffer out;

        msgpack_sbuffer_init(&out);
        for (; *requests; requests++)
                ck_assert_str_eq(notation_pack(&out, *requests), "");
        end_send(end, out.data, out.size);
        msgpack_sbuffer_destroy(&out);
}

/* Answers without an error that have come. */
static int answers(struct end *end)
{
        struct message message;
        int n = 0;

        while (end_next(end, &message)) {
                ck_assert(message.kind == MESSAGE_RESPONSE && cursor_nil(&message.params));
                n++;
        }
        return n;
}

/*
 * The write only repeats what is stored, so it is answered when its job is made, and the job is empty. The
 * reads wait for it in their lane.
 */
START_TEST(reads_after_a_repetition)
{
        static const char *const first[] = { "[0, 1, 'open', ['s', {}]]", "[0, 2, 'ping', [1]]", NULL };
        static const char *const stored[] = { "[0, 3, 'update_usernames', [1, [[1, ['anna']]]]]", NULL };
        static const char *const again[] = { "[0, 4, 'update_usernames', [1, [[1, ['anna']]]]]",
                                             "[0, 5, 'get_states', [1]]",
                                             "[0, 6, 'get', [1, ['dc_id']]]",
                                             "[0, 7, 'update_usernames', [1, [[1, ['anna']]]]]",
                                             "[0, 8, 'scan_usernames', [1, nil, 9]]",
                                             NULL };
        struct end *end;

        inside_init();
        inside_start();
        end = inside_connect();
        send_all(end, first);
        inside_settle();
        ck_assert_int_eq(answers(end), 2);
        send_all(end, stored);
        inside_settle();
        ck_assert_int_eq(answers(end), 1);
        send_all(end, again);
        inside_settle();
        ck_assert_int_eq(answers(end), 5);
        inside_stop();
        inside_clear();
}
END_TEST

int main(void)
{
        return test_program("daemon/at_once", (const TTest *const[]){ reads_after_a_repetition, NULL });
}
