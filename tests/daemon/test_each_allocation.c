/*
 * Each allocation of the daemon fails in turn while it serves requests: that one, or all until nothing is
 * left to do. Every answer is true: a refused write has changed nothing, an acknowledged one is there. The
 * same request succeeds afterwards, and answers what it answers with memory. Nothing is lost.
 *
 * The daemon is inside of the test (tests/fuzz/inside.h). The allocations of its start, its end and of libuv
 * do not fail. SAMPLE allocations are tried; for $MEMORY_SECONDS, as many as it takes.
 */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uv.h>

#include "../support/failing_memory.h"

#include "../../proto/contract.h"
#include "../fuzz/clocks.h"
#include "../fuzz/inside.h"
#include "../support/notation.h"
#include "../support/program.h"

enum { TEXT = 1 << 16, SAMPLE = 150, STRIDE = 7919, SPARE_CHUNKS = 8, TRIES = 3, WAITS = 10, WAIT_MS = 20 };

/* `$` is the handle. What differs from one time to the next is LOOSE. */
enum how { EXACT, LOOSE };
static const struct step {
        const char *request;
        enum how how;
} steps[] = {
        { "'hello', [{client: 'a', id: h'01'*16, features: ['lease', 'owner', 'kv']}]", LOOSE },
        { "'open', ['s', {dialect: 'telethon'}]", LOOSE },
        { "'set', [$, {dc_id: 2, api_id: 9, is_bot: true, auth_key: h'a5'*256, user_id: 7, server_address: "
          "'example', port: 443}]",
          EXACT },
        { "'update_peers', [$, [[1, 11, 'user', 'one', '100'], [2, 22, 'bot', 'two', nil]]]", EXACT },
        { "'update_peers', [$, [[1, 11, 'user', 'one', '100'], [3, 33, 'user', 'three', '300']]]", EXACT },
        { "'update_usernames', [$, [[1, ['one', 'uno']], [3, ['three']]]]", EXACT },
        { "'update_states', [$, [[0, 1, 2, 3, 4], [5, 1, nil, 3, 4]]]", EXACT },
        { "'get', [$, ['dc_id', 'auth_key', 'user_id', 'port', 'is_bot']]", EXACT },
        { "'get_peer_by_id', [$, 3]", EXACT },
        { "'get_peer_by_id', [$, 999]", EXACT },
        { "'get_peer_by_username', [$, 'uno']", EXACT },
        { "'get_peer_by_phone_number', [$, '300']", EXACT },
        { "'get_peers', [$, [3, 2, 4]]", EXACT },
        { "'scan_peers', [$, nil, 100]", EXACT },
        { "'scan_usernames', [$, nil, 100]", EXACT },
        { "'get_states', [$]", EXACT },
        { "'get_states', [$, [5, 6]]", EXACT },
        { "'update_states', [$, [[5, nil, 9, nil, nil]], true]", EXACT },
        { "'remove_states', [$, [0]]", EXACT },
        { "'watch', [$, true]", EXACT },
        { "'kv_set', [$, [['k', h'01'], ['l', h'02', 60], ['k', h'03']]]", EXACT },
        { "'kv_swap', [$, 'k', h'03', h'04']", EXACT },
        { "'kv_swap', [$, 'k', h'03', h'05']", EXACT },
        { "'kv_get', [$, ['l', 'none', 'k']]", EXACT },
        { "'kv_scan', [$, '', nil, 10]", EXACT },
        { "'export_string', [$, 'pyrogram']", EXACT },
        { "'save', [$]", EXACT },
        { "'info', [$]", LOOSE },
        { "'seal', [$]", EXACT },
        { "'rotate', [$]", EXACT },
        { "'unseal', [$]", EXACT },
        { "'sessions', ['*']", LOOSE },
        { "'clients', []", LOOSE },
        { "'stats', []", LOOSE },
        { "'monitor', [true]", EXACT },
        { "'ping', [{a: ['b', h'00ff', 1.5]}]", EXACT },
        { "'monitor', [false]", EXACT },
        { "'set', [$, {user_id: nil, auth_key: h'5a'*256}]", EXACT },
};
enum { STEPS = sizeof(steps) / sizeof(steps[0]), OPEN_STEP = 1 };

static struct life {
        struct end *client, *witness;
        int handle, witness_handle;
        uint32_t next_id;
        size_t step;
        char trouble[160];
} life;

static char *answers[STEPS], *contents[STEPS]; /* of a life with memory */
static bool may_fail;

/* ---- memory ---- */

static void run_daemon(bool runs)
{
        if (runs && may_fail)
                memory_arm();
        else
                memory_disarm();
}

#define WITHOUT_FAILURES(call)                                                                               \
        __extension__({                                                                                      \
                bool armed = memory_armed;                                                                   \
                memory_armed = false;                                                                        \
                void *block = (call);                                                                        \
                memory_armed = armed;                                                                        \
                block;                                                                                       \
        })

static void *uv_own_malloc(size_t n)
{
        return WITHOUT_FAILURES(malloc(n));
}

static void *uv_own_realloc(void *former, size_t n)
{
        return WITHOUT_FAILURES(realloc(former, n));
}

static void *uv_own_calloc(size_t n, size_t size)
{
        return WITHOUT_FAILURES(calloc(n, size));
}

/* ---- requests ---- */

static void send_request(struct end *end, uint32_t id, const char *request, int handle)
{
        char text[TEXT];
        size_t n = (size_t)snprintf(text, sizeof(text), "[0, %u, ", (unsigned)id);
        msgpack_sbuffer packed;

        for (const char *at = request; *at; at++)
                n += (size_t)(*at == '$' ? snprintf(text + n, sizeof(text) - n, "%d", handle)
                                         : snprintf(text + n, sizeof(text) - n, "%c", *at));
        snprintf(text + n, sizeof(text) - n, "]");
        msgpack_sbuffer_init(&packed);
        notation_pack(&packed, text);
        end_send(end, packed.data, packed.size);
        msgpack_sbuffer_destroy(&packed);
}

/* `!['code', …]` or the result. malloc'ed; NULL: there is none. */
static char *answer(struct end *end, uint32_t id)
{
        struct message message;
        char *text = NULL;

        while (end_next(end, &message)) {
                msgpack_unpacked unpacked;
                const msgpack_object *parts;

                if (message.kind != MESSAGE_RESPONSE || message.id != id)
                        continue;
                msgpack_unpacked_init(&unpacked);
                ck_assert_int_eq(msgpack_unpack_next(&unpacked, message.frame.data, message.frame.len, NULL),
                                 MSGPACK_UNPACK_SUCCESS);
                parts = unpacked.data.via.array.ptr;
                ck_assert_msg(!text, "%s: two answers", life.trouble);
                text = notation_print(&parts[parts[2].type == MSGPACK_OBJECT_NIL ? 3 : 2]);
                if (parts[2].type != MSGPACK_OBJECT_NIL) {
                        char *error = malloc(strlen(text) + 2);

                        sprintf(error, "!%s", text);
                        free(text);
                        text = error;
                }
                msgpack_unpacked_destroy(&unpacked);
        }
        return text;
}

/* malloc'ed; NULL: the daemon has closed the connection instead. */
static char *ask(struct end *end, const char *request, int handle)
{
        uint32_t id = life.next_id++;
        char *text = NULL;

        send_request(end, id, request, handle);
        for (int waits = 0; !text && !end->closed; waits++) {
                ck_assert_msg(waits < WAITS, "%s: no answer", life.trouble);
                if (waits)
                        clock_pass_ms(WAIT_MS); /* the daemon tries again after a moment */
                inside_settle();
                text = answer(end, id);
        }
        return text;
}

static int open_session(struct end *end, const char *request)
{
        char *text = ask(end, request, 0);
        const char *at = text ? strstr(text, "session: ") : NULL;
        int handle = at ? atoi(at + strlen("session: ")) : 0;

        ck_assert_msg(handle, "%s: %s: %s", life.trouble, request, text);
        free(text);
        return handle;
}

/* What the witness reads of the session. malloc'ed. */
static char *content(void)
{
        static const char *const reads[] = {
                "'get', [$, ['dc_id', 'auth_key', 'user_id', 'server_address', 'port']]",
                "'scan_peers', [$, nil, 1000]",
                "'scan_usernames', [$, nil, 1000]",
                "'get_states', [$]",
        };
        char *all = calloc(1, TEXT);

        for (size_t i = 0; i < sizeof(reads) / sizeof(reads[0]); i++) {
                char *text = ask(life.witness, reads[i], life.witness_handle);

                ck_assert_msg(text && *text != '!', "%s: the witness reads %s", life.trouble, text);
                strcat(strcat(all, text), "\n");
                free(text);
        }
        return all;
}

/* With memory: a new connection in place of one that the daemon has closed. */
static void connect_again(void)
{
        if (life.client)
                end_close(life.client);
        life.client = inside_connect();
        inside_settle();
        free(ask(life.client, steps[0].request, 0));
        if (life.step > OPEN_STEP)
                life.handle = open_session(life.client, steps[OPEN_STEP].request);
}

/* ---- a life ---- */

static bool is_refusal(const char *text)
{
        return *text == '!' && (strstr(text, "'storage'") || strstr(text, "'overloaded'"));
}

/* `may`: contents that can be there, NULL: none. */
static void expect_content(const char *text, const char *may, const char *also)
{
        char *now = content();

        ck_assert_msg((may && strcmp(now, may) == 0) || (also && strcmp(now, also) == 0),
                      "%s: answered %s, and then\n%sexpected:\n%s%s", life.trouble, text, now, may ? may : "",
                      also ? also : "");
        free(now);
}

/* After an answer to the step, or a closed connection: `text` NULL. */
static void check_content(const char *text)
{
        const char *before = contents[life.step ? life.step - 1 : 0], *after = contents[life.step];
        bool refused = text && is_refusal(text);

        if (life.step <= OPEN_STEP)
                return; /* the witness has no session yet */
        if (!text || (*text == '!' && !refused))
                expect_content(text ? text : "by closing", before, after);
        else
                expect_content(text, refused ? before : after, NULL);
}

/* With memory, for the first time: what a step answers, and what is there then. */
static void learn(const char *text)
{
        ck_assert_msg(*text != '!' || strstr(text, "not_found"), "%s: %s", life.trouble, text);
        answers[life.step] = strdup(text);
        if (life.step >= OPEN_STEP)
                contents[life.step] = content();
}

static void play_step(void)
{
        const struct step *step = &steps[life.step];
        char *text = NULL;

        for (int try = 0; !text; try++) {
                ck_assert_msg(try < TRIES, "%s: it is refused again and again", life.trouble);
                may_fail = true;
                text = ask(life.client, step->request, life.handle);
                may_fail = false;
                if (!text)
                        connect_again();
                if (!text || (*text == '!' && answers[life.step] && strcmp(text, answers[life.step]) != 0)) {
                        ck_assert_msg(!text || is_refusal(text) || strstr(text, "'unavailable'"), "%s: %s",
                                      life.trouble, text);
                        check_content(text);
                        free(text);
                        text = NULL;
                }
        }
        if (life.step == OPEN_STEP) {
                life.handle = atoi(strstr(text, "session: ") + strlen("session: "));
                life.witness_handle = open_session(life.witness, "'open', ['s', nil]");
        }
        if (!answers[life.step])
                learn(text);
        if (step->how == EXACT)
                ck_assert_msg(strcmp(text, answers[life.step]) == 0, "%s: %s instead of %s", life.trouble,
                              text, answers[life.step]);
        check_content(text);
        free(text);
}

/* Returns how many allocations it takes, as far as they can fail. */
static long play(enum memory_mode mode, long fails)
{
        long seen;

        inside_clear();
        clocks_reset();
        inside_start();
        life = (struct life){ .witness = inside_connect() };
        inside_settle();
        life.client = inside_connect();
        memory_begin(mode, fails);
        for (life.step = 0; life.step < STEPS; life.step++) {
                snprintf(life.trouble, sizeof(life.trouble), "%s %ld fails, %.60s",
                         mode == MEMORY_ONE ? "allocation" : "from allocation on", fails,
                         steps[life.step].request);
                play_step();
        }
        seen = memory.seen;
        memory_begin(mode, -1);
        inside_stop();
        inside_start();
        life.witness = inside_connect();
        life.witness_handle = open_session(life.witness, "'open', ['s', nil]");
        expect_content("everything, and the daemon was started again", contents[STEPS - 1], NULL);
        inside_stop();
        return seen;
}

static bool goes_on(long done, time_t end)
{
        return end ? time(NULL) < end : done < SAMPLE;
}

START_TEST(what_memory_is_too_short_for_is_refused)
{
        const char *seconds = getenv("MEMORY_SECONDS");
        time_t end = seconds ? time(NULL) + atoi(seconds) : 0;
        long all, blocks, done = 0, at = end ? (long)time(NULL) : 0;

        uv_replace_allocator(uv_own_malloc, uv_own_realloc, uv_own_calloc, free);
        inside_init();
        inside_when_running(run_daemon);
        play(MEMORY_ONE, -1);
        all = play(MEMORY_ONE, -1);
        blocks = memory_blocks;
        for (; goes_on(done, end) && done < 2 * all; done++, at += STRIDE) {
                play(done % 2 ? MEMORY_CALL : MEMORY_ONE, at % all);
                ck_assert_msg(memory_blocks <= blocks + SPARE_CHUNKS, "%s: %ld blocks are lost", life.trouble,
                              memory_blocks - blocks);
        }
        printf("each allocation: %ld lives, of %ld allocations each\n", done, all);
}
END_TEST

int main(void)
{
        const TTest *const tests[] = { what_memory_is_too_short_for_is_refused, NULL };

        return test_program("each allocation", tests);
}
