/*
 * Requests of every method, played to the whole daemon. The first byte of the input says how: bit 0: as raw
 * bytes, in pieces; else as requests that grammar.h makes of the other bytes. Bit 1: what a refused or a
 * reading request must not change is compared before and after it. Bit 2: the session is in memory, not in a
 * file.
 *
 * Each request has one answer, or, of an `open` that waits, none yet. Everything that comes is well-formed.
 * In the end a new client is served.
 */

#include <string.h>

#include "../../proto/contract.h"
#include "clocks.h"
#include "fuzz.h"
#include "grammar.h"
#include "inside.h"

enum {
        RAW = 1,
        COMPARE = 2,
        IN_MEMORY = 4,
        REQUESTS_MAX = 24,
        IDS = 256,
        DAY_MS = 86400 * 1000 + 1000, /* no open waits longer */
};

static struct run {
        struct end *attacker, *witness;
        unsigned owed[IDS]; /* answers */
        bool failed;        /* the last answer was an error */
        bool opening;       /* its request was an `open` */
        uint32_t next_id;
        uint64_t before; /* of the session, as the witness reads them; 0: not known */
} run;

static void ask(struct end *end, uint32_t id, const char *method, const char *params, size_t len)
{
        struct buffer out = { 0 };

        pack_array(&out, 4);
        pack_int(&out, MESSAGE_REQUEST);
        pack_int(&out, id);
        pack_cstr(&out, method);
        buffer_append(&out, params, len);
        end_send(end, out.data, out.len);
        buffer_deinit(&out);
}

#define ASK(end, id, method, params) ask(end, id, method, params, sizeof(params) - 1)

static void check_error(struct cursor *error)
{
        struct slice code, text;
        uint32_t parts;
        bool known = false;

        require(cursor_array(error, &parts) && parts == 3);
        require(cursor_str(error, 64, &code) && cursor_str(error, SIZE_MAX, &text));
        require(text.len > 0);
        for (size_t i = 0; i < WIRE_ERROR_COUNT; i++)
                known |= slice_is(code, wire_error_names[i]);
        require(known);
}

static void check_notification(struct slice method)
{
        require(slice_is(method, "changed") || slice_is(method, "ended") || slice_is(method, "leave") ||
                slice_is(method, "request"));
}

/* Takes what has come for the attacker. */
static void take_answers(bool raw)
{
        struct message message;

        while (end_next(run.attacker, &message)) {
                if (message.kind == MESSAGE_NOTIFICATION) {
                        check_notification(message.method);
                        continue;
                }
                run.failed = !cursor_nil(&message.params);
                if (run.failed)
                        check_error(&message.params);
                if (raw || (message.id == 0 && run.failed && run.attacker->closed))
                        continue; /* that it is no message; then the daemon closes the connection */
                require(run.owed[message.id % IDS] > 0);
                run.owed[message.id % IDS]--;
        }
}

/* ---- what must not change ---- */

static uint64_t mix(uint64_t hash, struct slice bytes)
{
        for (size_t i = 0; i < bytes.len; i++)
                hash = (hash ^ (uint8_t)bytes.data[i]) * 0x100000001b3u;
        return hash;
}

static void read_all(void)
{
        static const char fields[] = "\x92\x01\x9a\xa5"
                                     "dc_id\xa6"
                                     "api_id\xa9"
                                     "test_mode\xa8"
                                     "auth_key\xa4"
                                     "date\xa7"
                                     "user_id\xa6"
                                     "is_bot\xae"
                                     "server_address\xa4"
                                     "port\xaa"
                                     "takeout_id";

        ASK(run.witness, 1, "get", fields);
        ASK(run.witness, 2, "scan_peers", "\x93\x01\xc0\xcd\x03\xe8");
        ASK(run.witness, 3, "scan_usernames", "\x93\x01\xc0\xcd\x03\xe8");
        ASK(run.witness, 4, "get_states", "\x91\x01");
        ASK(run.witness, 5, "kv_scan", "\x94\x01\xa0\xc0\xcd\x03\xe8");
}

/* 0: the session cannot be read any more. */
static uint64_t content(void)
{
        uint64_t hash = 0xcbf29ce484222325u;
        struct message message;

        read_all();
        inside_settle();
        while (end_next(run.witness, &message)) {
                if (message.kind != MESSAGE_RESPONSE)
                        continue;
                hash = mix(hash, message.frame);
                if (!cursor_nil(&message.params))
                        hash = 0;
        }
        return run.witness->closed ? 0 : hash;
}

static void compare(const struct method *method)
{
        uint64_t after = content();
        bool changes = method->traits & METHOD_CHANGES || run.opening;

        if (run.before && after && (run.failed || !changes))
                require(after == run.before);
        run.before = after;
}

/* ---- the two ways ---- */

static void play_request(struct choices *choices)
{
        const enum method_number number = choose(choices, METHOD_COUNT);
        const uint8_t how = choose_byte(choices);
        const bool notification = how & 1;
        struct buffer out = { 0 };
        uint32_t id = run.next_id;

        if (how & 2 && id > 0)
                id--; /* a repetition's */
        else
                run.next_id++;
        pack_array(&out, notification ? 3 : 4);
        pack_int(&out, notification ? MESSAGE_NOTIFICATION : MESSAGE_REQUEST);
        if (!notification) {
                pack_int(&out, id);
                run.owed[id % IDS]++;
        }
        pack_cstr(&out, methods[number].name);
        grammar_params(choices, number, &out);
        run.failed = notification; /* nobody knows */
        run.opening = number == METHOD_OPEN;
        end_send(run.attacker, out.data, out.len);
        buffer_deinit(&out);
}

static void play_requests(struct choices *choices, bool compares)
{
        for (int i = 0; i < REQUESTS_MAX && choices_left(choices) && !run.attacker->closed; i++) {
                const enum method_number number = *choices->at % METHOD_COUNT;
                bool notification = choices->end - choices->at > 1 && choices->at[1] & 1;

                play_request(choices);
                if (choose_byte(choices) & 1 && !compares)
                        continue; /* the next one arrives with it */
                inside_settle();
                take_answers(false);
                if (compares && !notification)
                        compare(&methods[number]);
                else
                        run.before = 0;
        }
        inside_settle();
        take_answers(false);
}

static void play_raw(struct choices *choices)
{
        while (choices_left(choices) && !run.attacker->closed) {
                size_t left = (size_t)(choices->end - choices->at), piece = 1 + choose_byte(choices);

                left--;
                if (piece > left || piece == IDS)
                        piece = left;
                end_send(run.attacker, choices->at, piece);
                choices->at += piece;
                inside_settle();
                take_answers(true);
        }
}

/* ---- the run ---- */

static void open_session(struct end *end, bool in_memory)
{
        if (in_memory)
                ASK(end, 0, "open",
                    "\x92\xa6"
                    "memory\x81\xa7"
                    "backend\xa6"
                    "memory");
        else
                ASK(end, 0, "open",
                    "\x92\xa4"
                    "file\x80");
        inside_settle();
}

static void fill(void)
{
        ASK(run.witness, 0, "kv_set",
            "\x92\x01\x91\x92\xa3"
            "key\xc4\x05"
            "value");
        ASK(run.witness, 0, "update_peers",
            "\x92\x01\x91\x96\x01\xc0\xa4user\xa4"
            "anna\xa5"
            "79001\xce\x65\x53\xf1\x00");
        ASK(run.witness, 0, "update_usernames",
            "\x92\x01\x91\x92\x01\x91\xa5"
            "berta");
        ASK(run.witness, 0, "update_states", "\x92\x01\x91\x95\x01\x02\x03\x04\x05");
}

static void begin(bool in_memory)
{
        struct message message;

        run = (struct run){ .next_id = 1 };
        clocks_reset();
        inside_start();
        run.attacker = inside_connect();
        run.witness = inside_connect();
        open_session(run.witness, in_memory);
        open_session(run.attacker, in_memory);
        fill();
        inside_settle();
        while (end_next(run.attacker, &message) || end_next(run.witness, &message))
                require(message.kind == MESSAGE_RESPONSE && cursor_nil(&message.params));
}

static void expect_service(void)
{
        struct end *end = inside_connect();
        struct message message;

        ASK(end, 7, "ping", "\x91\x2a");
        inside_settle();
        require(end_next(end, &message) && message.kind == MESSAGE_RESPONSE && message.id == 7);
}

static void expect_all_answers(void)
{
        if (!run.witness->closed)
                end_close(run.witness);
        inside_settle();
        clock_pass_ms(DAY_MS);
        inside_settle();
        take_answers(false);
        for (size_t i = 0; i < IDS && !run.attacker->closed; i++)
                require(run.owed[i] == 0);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
        (void)argc;
        (void)argv;
        inside_init();
        return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct choices choices = { data, data + size };
        const uint8_t how = choose_byte(&choices);

        begin(how & IN_MEMORY);
        if (how & COMPARE)
                run.before = content();
        if (how & RAW)
                play_raw(&choices);
        else
                play_requests(&choices, how & COMPARE);
        expect_service();
        if (!(how & RAW))
                expect_all_answers();
        inside_stop();
        inside_clear();
        return 0;
}
