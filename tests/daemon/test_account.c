/* What connections hold is bounded by user. The clock is the test's: nothing here waits. */

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "../../daemon/wire/account.h"
#include "../../daemon/wire/answer.h"
#include "../../daemon/wire/connection.h"
#include "../../daemon/wire/turn.h"
#include "../support/program.h"

enum { WHOLE = 1024 * 1024, CONNECTIONS = 15, GREEDY = 13 };

static _Atomic uint64_t now_ms = 1000;

/* libuv's, too. */
int clock_gettime(clockid_t clock, struct timespec *now)
{
        if (clock != CLOCK_MONOTONIC && clock != CLOCK_MONOTONIC_COARSE)
                return (int)syscall(SYS_clock_gettime, clock, now);
        now->tv_sec = (time_t)(now_ms / 1000);
        now->tv_nsec = (long)(now_ms % 1000 * 1000000);
        return 0;
}

static struct stage {
        uv_loop_t loop;
        struct wire wire;
        struct config config;
        struct counters counters;
        struct account accounts[3];
        struct end {
                struct connection connection;
                int fd; /* the client's */
                size_t n_messages;
                struct request deferred; /* one of WHOLE / 2 bytes */
                bool defers;
                bool answers;  /* each message with 8 KiB */
                size_t cost;   /* of a message, in bytes of its answer */
                size_t spares; /* not 0: a message uses up its turn, and leaves so much of the loop's */
                bool ended;    /* for want of room or time */
                bool is_closed;
        } ends[CONNECTIONS];
        size_t n;
} stage;

static struct end *end_of(struct connection *connection)
{
        return LINK_OF(connection, struct end, connection);
}

static bool on_message(struct connection *connection, struct slice frame, struct slice next)
{
        static const uint8_t answer[8 * 1024];

        (void)frame;
        (void)next;
        end_of(connection)->n_messages++;
        if (end_of(connection)->defers) {
                struct request request = { .wire = &stage.wire, .connection = connection, .is_open = true };

                request_defer(&request, &end_of(connection)->deferred, WHOLE / 2);
        }
        turn_use(connection, 0, end_of(connection)->cost);
        if (end_of(connection)->spares) {
                connection->used.messages = TURN_MESSAGES;
                stage.wire.work = TURN_WORK - end_of(connection)->spares;
        }
        if (end_of(connection)->answers)
                buffer_append(connection_out(connection), answer, sizeof(answer));
        return true;
}

static void on_violation(struct connection *connection, uint32_t id, int frame_error)
{
        (void)connection;
        (void)id;
        ck_abort_msg("a violation: %d", frame_error);
}

static void on_read(struct wire *wire)
{
        (void)wire;
}

static void ignore(struct connection *connection)
{
        (void)connection;
}

static void on_closed(struct connection *connection)
{
        end_of(connection)->is_closed = true;
}

static void on_overfull(struct connection *connection, const char *why)
{
        ck_assert_ptr_nonnull(why);
        end_of(connection)->ended = true;
}

static void on_unused(struct account *account)
{
        ck_assert_uint_eq(account->n_orphans, 0);
}

static const struct wire_events events = {
        .message = on_message,
        .violation = on_violation,
        .read = on_read,
        .written = ignore,
        .ending = ignore,
        .emptying = ignore,
        .dropped = ignore,
        .closed = on_closed,
        .overfull = on_overfull,
};

static void set_up(void)
{
        memset(&stage, 0, sizeof(stage));
        ck_assert_int_eq(uv_loop_init(&stage.loop), 0);
        stage.config.max_message_bytes = WHOLE;
        stage.config.client_buffer_bytes = WHOLE / 16;
        stage.config.client_memory_bytes = WHOLE;
        stage.wire.loop = &stage.loop;
        stage.wire.config = &stage.config;
        stage.wire.counters = &stage.counters;
        stage.wire.events = &events;
        wire_init(&stage.wire);
        for (size_t i = 0; i < 3; i++)
                account_init(&stage.accounts[i], &stage.wire, on_unused);
}

static struct end *connect_to(struct account *account)
{
        struct end *end = &stage.ends[stage.n++];
        int fds[2];
        int little = 1; /* the least that the kernel allows */

        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
        ck_assert_int_eq(setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &little, sizeof(little)), 0);
        end->fd = fds[0];
        ck_assert_int_eq(connection_init(&end->connection, &stage.wire), 0);
        ck_assert_int_eq(uv_pipe_open(&end->connection.pipe, fds[1]), 0);
        connection_start(&end->connection, account);
        return end;
}

static void turns(int n)
{
        for (int i = 0; i < n; i++) {
                uv_run(&stage.loop, UV_RUN_NOWAIT);
                wire_flush(&stage.wire);
                wire_next_turn(&stage.wire);
                wire_flush(&stage.wire);
        }
}

/* As many turns of the loop as all connections need for what they have, and then some. */
static void run(void)
{
        turns(4 * CONNECTIONS);
}

static void pass(uint64_t seconds)
{
        for (uint64_t i = 0; i < seconds; i++) {
                now_ms += 1000;
                run();
        }
}

static void tear_down(void)
{
        for (size_t i = 0; i < stage.n; i++) {
                close(stage.ends[i].fd);
                if (!stage.ends[i].connection.closing)
                        connection_drop(&stage.ends[i].connection);
        }
        uv_close((uv_handle_t *)&stage.wire.tick, NULL);
        uv_close((uv_handle_t *)&stage.wire.awake, NULL);
        uv_run(&stage.loop, UV_RUN_DEFAULT);
        for (size_t i = 0; i < stage.n; i++)
                ck_assert(stage.ends[i].is_closed);
        for (size_t i = 0; i < 3; i++)
                account_deinit(&stage.accounts[i]);
        ck_assert_uint_eq(stage.wire.held, 0);
        wire_deinit(&stage.wire);
        ck_assert_int_eq(uv_loop_close(&stage.loop), 0);
}

/* As much as the daemon takes. */
static size_t send_some(struct end *end, const void *bytes, size_t len)
{
        size_t sent = 0;
        ssize_t n = 1;

        while (sent < len && n > 0) {
                n = send(end->fd, (const char *)bytes + sent, len - sent, MSG_NOSIGNAL);
                sent += n > 0 ? (size_t)n : 0;
                run();
        }
        return sent;
}

/* An array with a bin, `len` bytes in all: without the last byte it is not whole. */
static size_t send_part(struct end *end, uint32_t len)
{
        static uint8_t bytes[WHOLE];

        bytes[0] = 0x91;
        bytes[1] = 0xc6;
        for (int i = 0; i < 4; i++)
                bytes[2 + i] = (uint8_t)((len - 6) >> (24 - 8 * i));
        return send_some(end, bytes, len - 1);
}

static void send_rest(struct end *end)
{
        ck_assert_uint_eq(send_some(end, "", 1), 1);
}

static size_t messages_of_a_turn(size_t cost)
{
        uint8_t messages[200];
        size_t n = 0;

        memset(messages, 0x90, sizeof(messages));
        set_up();
        connect_to(&stage.accounts[1]);
        for (int i = 0; i < 8; i++) {
                struct end *end = connect_to(&stage.accounts[0]);

                end->cost = cost;
                ck_assert_int_eq(send(end->fd, messages, sizeof(messages), 0), sizeof(messages));
        }
        uv_run(&stage.loop, UV_RUN_NOWAIT);
        for (size_t i = 0; i < stage.n; i++)
                n += stage.ends[i].n_messages;
        turns(8 * sizeof(messages)); /* each turn takes one at least */
        for (size_t i = 1; i < stage.n; i++)
                ck_assert_uint_eq(stage.ends[i].n_messages, sizeof(messages));
        tear_down();
        return n;
}

START_TEST(what_messages_cost_ends_a_turn)
{
        ck_assert_uint_eq(messages_of_a_turn(10 * WORK_ANSWERED), (TURN_WORK - 2 * WORK_CALL + 10) / 11);
        ck_assert_uint_le(messages_of_a_turn(0), TURN_WORK);
        ck_assert_uint_gt(messages_of_a_turn(0), TURN_WORK / 2);
}
END_TEST

/* What is left of each turn of the loop is less than a read and a write cost. */
START_TEST(who_leaves_little_of_each_turn_keeps_nobody_out)
{
        for (size_t spares = 1; spares <= 3 * WORK_CALL; spares++) {
                uint8_t messages[200];
                struct end *greedy, *other;

                memset(messages, 0x90, sizeof(messages));
                set_up();
                greedy = connect_to(&stage.accounts[0]);
                other = connect_to(&stage.accounts[1]);
                greedy->spares = spares;
                ck_assert_int_eq(send(greedy->fd, messages, sizeof(messages), 0), sizeof(messages));
                turns(2);
                ck_assert_int_eq(send(other->fd, messages, 2, 0), 2);
                turns(8);
                ck_assert_uint_lt(greedy->n_messages, sizeof(messages));
                ck_assert_uint_eq(other->n_messages, 2);
                tear_down();
        }
}
END_TEST

/* All that it reads. */
static void receive(struct end *end)
{
        static uint8_t bytes[64 * 1024];

        while (recv(end->fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
                ;
}

/* Its client reads answers at a moment when the loop's turn is almost over, and sends nothing more. */
START_TEST(who_is_held_when_a_turn_ends_is_served_in_the_next_one)
{
        uint8_t messages[100];
        struct end *end;

        memset(messages, 0x90, sizeof(messages));
        set_up();
        end = connect_to(&stage.accounts[0]);
        end->answers = true;
        ck_assert_uint_eq(send_some(end, messages, sizeof(messages)), sizeof(messages));
        ck_assert_uint_lt(end->n_messages, sizeof(messages));
        end->answers = false;
        for (int i = 0; i < 1000 && end->connection.writing; i++) {
                receive(end);
                stage.wire.work = TURN_WORK - 1;
                uv_run(&stage.loop, UV_RUN_NOWAIT);
        }
        ck_assert_ptr_null(end->connection.writing);
        run();
        ck_assert_uint_eq(end->n_messages, sizeof(messages));
        tear_down();
}
END_TEST

START_TEST(a_message_has_its_time)
{
        struct end *late, *in_time;

        set_up();
        late = connect_to(&stage.accounts[0]);
        in_time = connect_to(&stage.accounts[0]);
        send_part(late, 100);
        send_part(in_time, 100);
        pass(29);
        ck_assert(!late->ended && !in_time->ended);
        send_rest(in_time);
        pass(2);
        ck_assert(late->ended);
        pass(100); /* who sends nothing is not late */
        ck_assert(!in_time->ended);
        ck_assert_uint_eq(in_time->n_messages, 1);
        tear_down();
}
END_TEST

/* Each read ends in a message that is not whole, but each time in another one. */
START_TEST(a_stream_of_messages_is_not_late)
{
        struct end *end;

        set_up();
        end = connect_to(&stage.accounts[0]);
        ck_assert_uint_eq(send_some(end, "\x91\xc4\00512", 5), 5);
        for (size_t i = 1; i <= 100; i++) {
                ck_assert_uint_eq(send_some(end, "345\x91\xc4\00512", 8), 8);
                ck_assert_uint_eq(end->n_messages, i);
                pass(1);
        }
        ck_assert(!end->ended);
        pass(30);
        ck_assert(end->ended);
        tear_down();
}
END_TEST

/* Each part uses up a turn, so that reading stops for a moment. */
START_TEST(a_slow_message_is_late)
{
        static const uint8_t zeros[2 * TURN_BYTES];
        struct end *end;

        set_up();
        end = connect_to(&stage.accounts[0]);
        ck_assert_uint_eq(send_some(end, "\x91\xc6\0\x0f\0\0", 6), 6);
        for (int i = 0; i < 3; i++) {
                ck_assert(!end->ended);
                ck_assert_uint_eq(send_some(end, zeros, sizeof(zeros)), sizeof(zeros));
                pass(10);
        }
        ck_assert(end->ended);
        tear_down();
}
END_TEST

/* The second message is not read, because the first one, which is never whole, takes more than half. */
START_TEST(who_is_not_read_is_not_late)
{
        static const uint8_t zeros[WHOLE / 32 * 15];
        struct end *first, *second;

        set_up();
        first = connect_to(&stage.accounts[0]);
        ck_assert_uint_eq(send_some(first, "\x91\xc6\0\x0f\0\0", 6), 6);
        ck_assert_uint_eq(send_some(first, zeros, sizeof(zeros)), sizeof(zeros));
        second = connect_to(&stage.accounts[0]);
        ck_assert_uint_eq(send_some(second, "\x91", 1), 1);
        ck_assert(first->connection.reading);
        ck_assert(!second->connection.reading);
        pass(31);
        ck_assert(first->ended);
        ck_assert(!second->ended);
        ck_assert(second->connection.reading);
        pass(27);
        ck_assert(!second->ended);
        pass(3);
        ck_assert(second->ended);
        tear_down();
}
END_TEST

/* The first of those that are not whole goes on, and so do the user's other requests. */
START_TEST(messages_that_are_not_whole_take_half)
{
        struct end *ends[4], *other;
        size_t sent[4];

        set_up();
        for (int i = 0; i < 4; i++) {
                ends[i] = connect_to(&stage.accounts[0]);
                sent[i] = send_part(ends[i], 400 * 1024);
        }
        ck_assert_uint_eq(sent[0], 400 * 1024 - 1);
        ck_assert_uint_lt(sent[2], 400 * 1024 - 1);
        ck_assert_uint_lt(sent[3], 400 * 1024 - 1);
        ck_assert_uint_le(stage.accounts[0].partial, WHOLE * 3 / 4);
        other = connect_to(&stage.accounts[0]);
        ck_assert_uint_eq(send_some(other, "\x90", 1), 1);
        ck_assert_uint_eq(other->n_messages, 1);
        send_rest(ends[0]);
        ck_assert_uint_eq(ends[0]->n_messages, 1);
        for (int i = 1; i < 4; i++) { /* each is whole when those before it are */
                static const uint8_t zeros[400 * 1024];

                ck_assert_uint_eq(send_some(ends[i], zeros, 400 * 1024 - sent[i]), 400 * 1024 - sent[i]);
                ck_assert_uint_eq(ends[i]->n_messages, 1);
        }
        for (int i = 0; i < 4; i++)
                ck_assert(!ends[i]->ended);
        ck_assert_uint_eq(stage.wire.held, 0);
        tear_down();
}
END_TEST

/* Two that wait for older messages, but whose clients do not read their answers either. */
START_TEST(those_whose_clients_do_not_read_do_not_take_turns)
{
        static const uint8_t zeros[200 * 1024];
        struct end *ends[3];
        size_t sent[3];

        set_up();
        for (int i = 0; i < 2; i++) {
                ends[i] = connect_to(&stage.accounts[0]);
                sent[i] = send_part(ends[i], sizeof(zeros));
        }
        ck_assert_uint_ge(stage.accounts[0].partial, WHOLE / 2);
        for (int i = 0; i < 2; i++)
                buffer_append(connection_out(&ends[i]->connection), zeros, 80 * 1024);
        run();
        ck_assert(connection_is_congested(&ends[0]->connection));
        ck_assert(connection_is_congested(&ends[1]->connection));
        ck_assert(!uv_is_active((uv_handle_t *)&stage.wire.awake));
        ends[2] = connect_to(&stage.accounts[0]); /* it is now the oldest that is read */
        sent[2] = send_part(ends[2], 1000);
        ck_assert_uint_eq(sent[2], 999);
        send_rest(ends[2]);
        ck_assert_uint_eq(ends[2]->n_messages, 1);
        for (int i = 0; i < 2; i++) {
                for (int n = 0; n < 1000 && ends[i]->connection.writing; n++) {
                        receive(ends[i]);
                        run();
                }
                ck_assert_uint_eq(send_some(ends[i], zeros, sizeof(zeros) - sent[i]),
                                  sizeof(zeros) - sent[i]);
                ck_assert_uint_eq(ends[i]->n_messages, 1);
        }
        ck_assert_uint_eq(stage.wire.held, 0);
        tear_down();
}
END_TEST

/* Requests whose answers nobody reads, until nothing more is read or the connection has ended. */
static void fill(struct end *end)
{
        end->answers = true;
        for (int i = 0; i < 400 && send_some(end, "\x90", 1) == 1; i++)
                ;
}

/* One user holds as much as he may, another one much of the rest; the third one is served. */
START_TEST(others_have_room_beside_one_who_takes_all)
{
        struct end *third;

        set_up();
        for (int i = 0; i < GREEDY; i++)
                fill(connect_to(&stage.accounts[0]));
        ck_assert_uint_ge(stage.accounts[0].held, WHOLE / 8 * 7);
        ck_assert_uint_le(stage.accounts[0].held, WHOLE / 16 * 15);
        fill(connect_to(&stage.accounts[1]));
        ck_assert_uint_gt(stage.accounts[1].held, WHOLE / 16);
        ck_assert_uint_gt(stage.wire.held, WHOLE / 32 * 31);
        third = connect_to(&stage.accounts[2]);
        ck_assert_uint_eq(send_part(third, 100), 99);
        send_rest(third);
        ck_assert_uint_eq(third->n_messages, 1);
        tear_down();
}
END_TEST

/* A message that needs more than is left, but no more than an equal part: who holds most gives way. */
START_TEST(who_holds_most_gives_way)
{
        struct end *greedy[GREEDY], *other;
        size_t sent;
        int ended = 0;

        set_up();
        for (int i = 0; i < GREEDY; i++)
                fill(greedy[i] = connect_to(&stage.accounts[0]));
        other = connect_to(&stage.accounts[1]);
        sent = send_part(other, 256 * 1024);
        for (int i = 0; i < 20 && sent < 256 * 1024 - 1; i++) {
                static const uint8_t zeros[256 * 1024];

                pass(1);
                sent += send_some(other, zeros, 256 * 1024 - 1 - sent);
        }
        send_rest(other);
        ck_assert(!other->ended);
        ck_assert_uint_eq(other->n_messages, 1);
        for (int i = 0; i < GREEDY; i++)
                ended += greedy[i]->ended;
        ck_assert_int_gt(ended, 0);
        ck_assert_int_lt(ended, GREEDY);
        tear_down();
}
END_TEST

/* Requests that are worked on after their clients have gone. */
START_TEST(what_is_left_of_a_connection_counts)
{
        struct end *gone[2], *next, *other;

        set_up();
        for (int i = 0; i < 2; i++) {
                gone[i] = connect_to(&stage.accounts[0]);
                gone[i]->defers = true;
                ck_assert_uint_eq(send_some(gone[i], "\x90", 1), 1);
                connection_drop(&gone[i]->connection);
        }
        ck_assert_uint_eq(stage.accounts[0].n_orphans, 2);
        ck_assert_uint_eq(stage.accounts[0].held, WHOLE);
        next = connect_to(&stage.accounts[0]);
        send_some(next, "\x90", 1);
        ck_assert_uint_eq(next->n_messages, 0);
        answer_nil(&gone[0]->deferred);
        run();
        ck_assert_uint_eq(stage.accounts[0].held, WHOLE / 2);
        ck_assert_uint_eq(next->n_messages, 1);
        other = connect_to(&stage.accounts[1]);
        ck_assert_uint_eq(send_some(other, "\x90", 1), 1);
        ck_assert_uint_eq(other->n_messages, 1);
        answer_nil(&gone[1]->deferred);
        ck_assert_uint_eq(stage.accounts[0].n_orphans, 0);
        tear_down();
}
END_TEST

/* The requests of one user hold all that there is, and are worked on after his connections have gone. */
static void hold_all(struct end *gone[2])
{
        for (int i = 0; i < 2; i++) {
                gone[i] = connect_to(&stage.accounts[0]);
                gone[i]->defers = true;
                ck_assert_uint_eq(send_some(gone[i], "\x90", 1), 1);
                connection_drop(&gone[i]->connection);
        }
        ck_assert_uint_eq(stage.wire.held, WHOLE);
}

static void let_go(struct end *gone[2])
{
        for (int i = 0; i < 2; i++)
                answer_nil(&gone[i]->deferred);
}

START_TEST(others_go_on_while_one_holds_all)
{
        struct end *gone[2], *other;

        set_up();
        hold_all(gone);
        other = connect_to(&stage.accounts[1]);
        ck_assert_uint_eq(send_part(other, 100), 99);
        send_rest(other);
        ck_assert_uint_eq(other->n_messages, 1);
        let_go(gone);
        tear_down();
}
END_TEST

/* A message of his that is not whole keeps none of his others waiting. */
START_TEST(messages_in_parts_go_on_while_one_holds_all)
{
        struct end *gone[2], *first, *second;

        set_up();
        hold_all(gone);
        first = connect_to(&stage.accounts[1]);
        second = connect_to(&stage.accounts[1]);
        send_part(first, 100);
        send_part(second, 100);
        send_rest(second);
        ck_assert_uint_eq(second->n_messages, 1);
        let_go(gone);
        tear_down();
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                what_messages_cost_ends_a_turn,
                who_leaves_little_of_each_turn_keeps_nobody_out,
                who_is_held_when_a_turn_ends_is_served_in_the_next_one,
                a_message_has_its_time,
                a_stream_of_messages_is_not_late,
                a_slow_message_is_late,
                who_is_not_read_is_not_late,
                messages_that_are_not_whole_take_half,
                those_whose_clients_do_not_read_do_not_take_turns,
                others_have_room_beside_one_who_takes_all,
                who_holds_most_gives_way,
                what_is_left_of_a_connection_counts,
                others_go_on_while_one_holds_all,
                messages_in_parts_go_on_while_one_holds_all,
                NULL,
        };

        return test_program("account", tests);
}
