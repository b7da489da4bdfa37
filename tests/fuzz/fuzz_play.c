/*
 * Several clients on two sessions of the whole daemon, which is killed and started again. The input is a list
 * of steps: a client asks something, the loop turns, a job runs or comes back, a handle is opened or closed,
 * a connection is lost, the daemon is killed, now or in the middle of a transaction. Unanswered requests are
 * then repeated or not.
 *
 * All answers, and what the sessions have at last, must be explained by some order of the requests
 * (history.h). A handle that watches hears of what others have changed.
 *
 * $PLAY_PLANT plants a fault, to prove that it is found: `lost` (a kill loses what was answered), `twice` (a
 * repetition is not known as one), `stale` (an answer is the one before), `unheard` (nobody is told of
 * changes).
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "by_hand.h"
#include "clocks.h"
#include "fuzz.h"
#include "play.h"

enum {
        SMALL_CACHE = 2048, /* a few rows */
        LARGE_CACHE = 1 << 24,
};

/* ---- what the sessions have ---- */

static bool has_heard(const struct handle *handle, const struct changed *changed)
{
        return handle->heard.all || ((changed->peers & ~handle->heard.peers) == 0 &&
                                     (changed->states & ~handle->heard.states) == 0 &&
                                     (changed->fields & ~handle->heard.fields) == 0);
}

/* Each handle that watches has heard of what the other handles have changed. */
static void check_watchers(unsigned number)
{
        const struct session *session = &play.sessions[number];

        for (unsigned c = 0; c < CLIENTS; c++)
                for (unsigned h = 0; h < HANDLES; h++) {
                        struct handle *handle = &play.clients[c].handles[h];

                        if (!handle->number || handle->session != number)
                                continue;
                        for (size_t i = 0; i < session->history.n && !session->interrupted; i++)
                                if (session->history.events[i].kind == EVENT_REQUEST && handle->watching &&
                                    (session->sent[i].client != c || session->sent[i].handle != h))
                                        require(has_heard(handle, &session->history.events[i].changed));
                        handle->heard = (struct changed){ 0 };
                }
}

/* The end of a history: the daemon has nothing left to do, and the last event is what the session has. */
static void explain(unsigned number)
{
        struct session *session = &play.sessions[number];

        bool explained = true;

        for (size_t i = 0; i < session->history.n; i++)
                explained &= session->history.events[i].answered || session->history.events[i].dead;
        explained = explained && history_explains(&session->history);
        if (!explained || play.traced)
                history_print(&session->history);
        require(explained);
        check_watchers(number);
        history_clear(&session->history);
        session->interrupted = false;
        if (plant == LOST)
                inside_plant_loss();
}

/* ---- bursts ---- */

static void send_event(unsigned session, size_t number)
{
        const struct event *event = &play.sessions[session].history.events[number];
        const struct sent *sent = &play.sessions[session].sent[number];
        const struct client *client = &play.clients[sent->client];
        struct buffer out = { 0 };

        pack_array(&out, 4);
        pack_int(&out, MESSAGE_REQUEST);
        pack_int(&out, sent->id);
        pack_cstr(&out, methods[event->asked.method].name);
        asked_pack(&event->asked, client->handles[sent->handle].number, &out);
        end_send(client->end, out.data, out.len);
        buffer_deinit(&out);
}

static void repeat(unsigned c)
{
        if (!play.clients[c].owes)
                return;
        play.clients[c].owes = false;
        for (unsigned s = 0; s < SESSIONS; s++) {
                struct session *session = &play.sessions[s];

                for (size_t i = 0; i < session->history.n; i++) {
                        struct event *event = &session->history.events[i];

                        if (event->kind != EVENT_REQUEST || session->sent[i].client != c || event->answered ||
                            event->dead)
                                continue;
                        if (plant == TWICE)
                                session->sent[i].id = play.clients[c].next_id++;
                        if (!asked_writes(&event->asked))
                                event->lane = ++play.lanes; /* it may see what was sent after it */
                        send_event(s, i);
                }
        }
}

static void finish_burst(unsigned number)
{
        settle();
        for (unsigned c = 0; c < CLIENTS; c++)
                repeat(c);
        settle();
        if (play.sessions[number].history.n == 0)
                return;
        observe(number, false);
        explain(number);
}

/* ---- steps ---- */

static void step_ask(struct choices *choices, unsigned c, unsigned h)
{
        struct client *client = &play.clients[c];
        const unsigned number = client->handles[h].session;
        struct session *session = &play.sessions[number];
        struct event *event;

        if (!client->handles[h].number)
                return;
        if (session->history.n >= BURST)
                finish_burst(number);
        repeat(c);
        event = history_add(&session->history);
        event->lane = client->lane;
        session->sent[session->history.n - 1] = (struct sent){ c, h, client->next_id++ };
        asked_choose(choices, clock_unix(), &event->asked);
        send_event(number, session->history.n - 1);
}

static unsigned count_handles(unsigned session, bool *exclusive)
{
        unsigned n = 0;

        *exclusive = false;
        for (unsigned i = 0; i < CLIENTS * HANDLES; i++) {
                const struct handle *handle = &play.clients[i / HANDLES].handles[i % HANDLES];

                if (!handle->number || handle->session != session)
                        continue;
                n++;
                *exclusive |= handle->exclusive;
        }
        return n;
}

static bool in_memory(const struct session *session)
{
        return strcmp(session->backend, "memory") == 0;
}

static void begin_model(struct session *session)
{
        session->history.begin = (struct model){
                .stored = true,
                .in_memory = in_memory(session),
                .sealed = !in_memory(session),
                .current = play.keys,
                .one_owner = strcmp(session->dialect, "pyrofork") == 0 ||
                             strcmp(session->dialect, "electrogram") == 0,
                .names_timed = strcmp(session->dialect, "kurigram") != 0,
                .fields = FIELD_BIT(FIELD_DATE) | FIELD_BIT(FIELD_DC_ID),
                .number[FIELD_DC_ID] = 2,
        };
}

static void step_open(struct choices *choices, unsigned c, unsigned h)
{
        const uint8_t how = choose_byte(choices);
        const unsigned number = how % SESSIONS;
        struct session *session = &play.sessions[number];
        struct handle *handle = &play.clients[c].handles[h];
        const bool create = how & 4, exclusive = how & 8;
        bool held, created = false;
        unsigned others = count_handles(number, &held);
        int error, expected = NO_ERROR;
        int64_t opened = 0;

        if (handle->number)
                return;
        finish_burst(number);
        if (!session->history.begin.stored && !create)
                expected = WIRE_NOT_FOUND;
        else if (held || (exclusive && others > 0))
                expected = WIRE_BUSY;
        error = ask_open(c, session, create, exclusive, &opened, &created);
        require(error == expected);
        if (error != NO_ERROR)
                return;
        require(created == !session->history.begin.stored);
        if (created)
                begin_model(session);
        *handle = (struct handle){ .number = opened, .session = number, .exclusive = exclusive };
        if (how & 16) {
                require(ask_handle(c, METHOD_WATCH, opened) == NO_ERROR);
                handle->watching = true;
        }
}

/* A session in memory ends with its last handle. */
static void forget_if_over(unsigned number)
{
        bool exclusive;

        if (in_memory(&play.sessions[number]) && count_handles(number, &exclusive) == 0)
                play.sessions[number].history.begin = (struct model){ 0 };
}

static void step_close(unsigned c, unsigned h, bool deletes)
{
        struct handle *handle = &play.clients[c].handles[h];
        const unsigned number = handle->session;
        const int64_t closed = handle->number;

        if (!handle->number)
                return;
        finish_burst(number);
        for (unsigned i = 0; i < CLIENTS * HANDLES && deletes; i++) {
                struct handle *other = &play.clients[i / HANDLES].handles[i % HANDLES];

                if (other->session == number)
                        *other = (struct handle){ 0 };
        }
        *handle = (struct handle){ 0 };
        require(ask_handle(c, deletes ? METHOD_DELETE : METHOD_CLOSE, closed) == NO_ERROR);
        if (deletes)
                play.sessions[number].history.begin = (struct model){ 0 };
        forget_if_over(number);
}

static void step_pass(struct choices *choices)
{
        static const int64_t times[] = { 100, 1000, 6000, 61000 };

        for (unsigned i = 0; i < SESSIONS; i++)
                finish_burst(i);
        clock_pass_ms(times[choose(choices, 4)]);
        settle();
}

/* ---- losses ---- */

/* The client's connection is lost. Its unanswered requests will be repeated, or cannot happen any more. */
static void lose(unsigned c, bool repeats)
{
        for (unsigned s = 0; s < SESSIONS; s++) {
                struct session *session = &play.sessions[s];

                for (size_t i = 0; i < session->history.n; i++)
                        if (session->history.events[i].kind == EVENT_REQUEST &&
                            session->sent[i].client == c && !session->history.events[i].answered &&
                            !session->history.events[i].dead && !repeats)
                                session->history.events[i].dead = ++session->history.now;
                session->interrupted = true;
        }
        play.clients[c].owes = repeats;
        if (!repeats)
                play.clients[c].lane = ++play.lanes;
}

static void open_again(unsigned c)
{
        connect_client(c);
        for (unsigned h = 0; h < HANDLES; h++) {
                struct handle *handle = &play.clients[c].handles[h];
                bool created;

                if (!handle->number)
                        continue;
                handle->heard = (struct changed){ 0 };
                if (!play.sessions[handle->session].history.begin.stored) {
                        *handle = (struct handle){ 0 }; /* it was in memory */
                        continue;
                }
                require(ask_open(c, &play.sessions[handle->session], false, handle->exclusive,
                                 &handle->number, &created) == NO_ERROR);
                if (handle->watching)
                        require(ask_handle(c, METHOD_WATCH, handle->number) == NO_ERROR);
        }
}

static bool has_room(void)
{
        for (unsigned s = 0; s < SESSIONS; s++)
                if (play.sessions[s].history.n > BURST)
                        return false;
        return true;
}

static bool is_open(unsigned session)
{
        for (size_t i = 0; i < play.sessions[session].history.n; i++) {
                const struct event *event = &play.sessions[session].history.events[i];

                if (!event->answered && !event->dead)
                        return true;
        }
        return false;
}

/* Whether another client has a handle on the session. */
static bool is_shared(unsigned session, unsigned c)
{
        for (unsigned i = 0; i < CLIENTS * HANDLES; i++) {
                const struct handle *handle = &play.clients[i / HANDLES].handles[i % HANDLES];

                if (i / HANDLES != c && handle->number && handle->session == session)
                        return true;
        }
        return false;
}

/* All of its history is gone, with it. */
static void end_memory(struct session *session)
{
        history_clear(&session->history);
        session->history.begin = (struct model){ 0 };
}

static void step_lose(unsigned c, bool repeats)
{
        for (unsigned s = 0; s < SESSIONS; s++)
                if (in_memory(&play.sessions[s]) && !is_shared(s, c))
                        finish_burst(s);
        repeats = repeats && has_room();
        take_all();
        end_close(play.clients[c].end);
        play.clients[c].end = NULL;
        settle();
        lose(c, repeats);
        for (unsigned s = 0; s < SESSIONS; s++)
                if (in_memory(&play.sessions[s]) && !is_shared(s, c))
                        end_memory(&play.sessions[s]);
        open_again(c);
}

static void step_kill(struct choices *choices)
{
        const uint8_t how = choose_byte(choices), repeats = has_room() ? choose_byte(choices) : 0;

        if (how & 1) {
                inside_kill_before(1 + how / 2 % 32);
                inside_settle();
        }
        take_all();
        inside_kill();
        for (unsigned c = 0; c <= OBSERVER; c++)
                play.clients[c].end = NULL;
        for (unsigned c = 0; c < CLIENTS; c++)
                lose(c, repeats >> c & 1);
        for (unsigned s = 0; s < SESSIONS; s++)
                if (in_memory(&play.sessions[s]))
                        end_memory(&play.sessions[s]);
        if (repeats & 128 && play.keys < KEYS_MAX)
                inside_keys(++play.keys);
        inside_start();
        connect_client(OBSERVER);
        for (unsigned c = 0; c < CLIENTS; c++)
                open_again(c);
        for (unsigned s = 0; s < SESSIONS; s++) {
                observe(s, true);
                if (!is_open(s))
                        explain(s);
        }
}

static void step(struct choices *choices)
{
        const uint8_t what = choose_byte(choices), who = choose_byte(choices);
        const unsigned c = who % CLIENTS, h = who / CLIENTS % HANDLES;

        if (play.traced)
                fprintf(stderr, "step %u (%02x), client %u, handle %u of session %s\n", what % 16, what, c, h,
                        play.clients[c].handles[h].number
                                ? play.sessions[play.clients[c].handles[h].session].name
                                : "none");
        switch (what % 16) {
        case 8: inside_turn(); break;
        case 9:
                if (jobs_waiting())
                        inside_job_run(what / 16 % jobs_waiting());
                break;
        case 10:
                if (jobs_back())
                        inside_job_finish(what / 16 % jobs_back());
                break;
        case 11: finish_burst(who % SESSIONS); break;
        case 12: step_open(choices, c, h); break;
        case 13:
                if (what & 16)
                        step_pass(choices);
                else
                        step_close(c, h, what & 32 && what & 64);
                break;
        case 14: step_kill(choices); break;
        case 15: step_lose(c, what & 16); break;
        default: step_ask(choices, c, h);
        }
}

/* ---- the run ---- */

static void begin(struct choices *choices)
{
        static const char *const dialects[] = { "pyrogram", "pyrofork", "kurigram", "telethon",
                                                "electrogram" };
        const uint8_t which = choose_byte(choices);

        memset(&play, 0, sizeof(play));
        play.traced = getenv("PLAY_TRACE");
        clocks_reset();
        inside_sync_always(which % 4);
        play.keys = 1;
        inside_keys(play.keys);
        inside_cache(which & 64 ? SMALL_CACHE : LARGE_CACHE);
        inside_start();
        for (unsigned s = 0; s < SESSIONS; s++) {
                play.sessions[s].name[0] = (char)('a' + s);
                play.sessions[s].backend = s && which & 32 ? "memory" : "file";
                play.sessions[s].dialect = dialects[(s ? which / 8 : which) % 5];
        }
        for (unsigned c = 0; c <= OBSERVER; c++) {
                memset(play.clients[c].id, 'A' + (int)c, LIMIT_ID_BYTES);
                play.clients[c].next_id = FIRST_ID;
                play.clients[c].lane = ++play.lanes;
                connect_client(c);
        }
        for (unsigned c = 0; c < 2; c++)
                for (unsigned s = 0; s < SESSIONS; s++) {
                        struct choices how = { (const uint8_t[]){ (uint8_t)(4 | (c ? 16 : 0) | s) }, NULL };

                        how.end = how.at + 1;
                        step_open(&how, c, s);
                }
}

/* What an end in order leaves is all that there was. */
static void end(void)
{
        for (unsigned s = 0; s < SESSIONS; s++)
                finish_burst(s);
        inside_stop();
        for (unsigned c = 0; c <= OBSERVER; c++) {
                play.clients[c].end = NULL;
                memset(play.clients[c].handles, 0, sizeof(play.clients[c].handles));
        }
        for (unsigned s = 0; s < SESSIONS; s++)
                forget_if_over(s);
        inside_start();
        connect_client(OBSERVER);
        for (unsigned s = 0; s < SESSIONS; s++) {
                observe(s, false);
                explain(s);
        }
        inside_stop();
        inside_clear();
        for (unsigned i = 0; i < ANSWERS; i++)
                buffer_deinit(&play.answers[i].result);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
        static const char *const plants[] = { "", "lost", "twice", "stale", "unheard" };
        const char *wanted = getenv("PLAY_PLANT");

        (void)argc;
        (void)argv;
        for (unsigned i = 0; wanted && i < sizeof(plants) / sizeof(plants[0]); i++)
                if (strcmp(wanted, plants[i]) == 0)
                        plant = (enum plant)i;
        inside_init();
        return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct choices choices = { data, data + size };

        begin(&choices);
        for (int i = 0; i < STEPS_MAX && choices_left(&choices); i++)
                step(&choices);
        end();
        return 0;
}
