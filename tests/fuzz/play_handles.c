/* Handles: who opens, waits, closes, deletes, and what is left when a connection or the daemon is lost. */

#include <string.h>

#include "clocks.h"
#include "play.h"

/* Whether an open of the session has to wait, or is busy. */
static bool is_held(unsigned session, bool exclusive)
{
        for (unsigned i = 0; i < CLIENTS * HANDLES; i++) {
                const struct handle *handle = &play.clients[i / HANDLES].handles[i % HANDLES];

                if (handle->number && handle->session == session && (exclusive || handle->exclusive))
                        return true;
        }
        return false;
}

/* A client has the session for itself, or waits for that. */
static bool is_exclusive_wanted(unsigned session)
{
        for (unsigned c = 0; c < CLIENTS; c++)
                if (play.clients[c].waiting.id && play.clients[c].waiting.session == session &&
                    play.clients[c].waiting.exclusive)
                        return true;
        return is_held(session, false);
}

static bool has_handles(unsigned session)
{
        return is_held(session, true);
}

bool in_memory(const struct session *session)
{
        return strcmp(session->backend, "memory") == 0;
}

static struct model fresh_model(const struct session *session)
{
        return (struct model){
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

/* Whether the client has rights on the session: as the daemon's own user, or as its owner. */
static bool may_use(unsigned c, const struct session *session)
{
        const uid_t uid = play.clients[c].uid;

        return uid == play.clients[OBSERVER].uid || session->owner == uid || session->owner == NOBODY;
}

/* The handle is there. */
static void have_handle(unsigned c, unsigned h, int64_t number, unsigned at, bool exclusive, bool created)
{
        struct session *session = &play.sessions[at];
        struct handle *handle = &play.clients[c].handles[h];

        require(created == !session->history.begin.stored);
        if (created) {
                session->history.begin = fresh_model(session);
                session->owner = play.clients[c].uid;
        }
        require(may_use(c, session));
        *handle = (struct handle){ .number = number, .session = at, .exclusive = exclusive };
}

/* ---- kills ---- */

/* From now on the daemon may be killed: before one of its next calls that change files. */
static void arm(struct choices *choices)
{
        inside_kill_before(1 + choose(choices, 32));
}

/* From now on it is not killed. If it was, it starts again. */
static void disarm(void)
{
        if (inside_is_killed())
                die(0);
        else
                inside_kill_before(0);
}

/* The daemon was killed while the session was made or deleted. */
static void be_uncertain(struct session *session, const struct model *other)
{
        session->uncertain = true;
        session->other = *other;
        die(0);
}

/* ---- opens that wait ---- */

void check_waiting(void)
{
        for (unsigned c = 0; c < CLIENTS; c++) {
                const struct waiting *waiting = &play.clients[c].waiting;

                if (waiting->id) {
                        require(is_held(waiting->session, waiting->exclusive));
                        require(clock_passed_ms() <= waiting->until_ms);
                }
        }
}

void take_open(unsigned c, int error, const struct buffer *result)
{
        struct client *client = &play.clients[c];
        const struct waiting waiting = client->waiting;
        const struct session *session = &play.sessions[waiting.session];
        bool created = false;
        int64_t number = 0;

        client->waiting = (struct waiting){ 0 };
        if (error == WIRE_BUSY) {
                require(clock_passed_ms() + LATE_MS >= waiting.until_ms &&
                        is_held(waiting.session, waiting.exclusive));
                return;
        }
        if (error == WIRE_DENIED) {
                require(client->uid != play.clients[OBSERVER].uid); /* the owner has changed */
                return;
        }
        require(!is_held(waiting.session, waiting.exclusive));
        if (error == WIRE_NOT_FOUND) {
                require(!session->history.begin.stored && !waiting.create);
                return;
        }
        require(error == NO_ERROR);
        read_open(result, &number, &created);
        have_handle(c, waiting.handle, number, waiting.session, waiting.exclusive, created);
}

/* ---- opening and closing ---- */

void step_open(struct choices *choices, unsigned c, unsigned h)
{
        const uint8_t how = choose_byte(choices);
        const unsigned number = how % SESSIONS;
        struct session *session = &play.sessions[number];
        struct client *client = &play.clients[c];
        const bool create = how & 4, exclusive = how & 8;
        bool created = false, kills;
        int error, expected = NO_ERROR;
        int64_t opened = 0;

        if (client->handles[h].number || (client->waiting.id && client->waiting.handle == h))
                return;
        finish_burst(number);
        if (client->handles[h].number)
                return;
        if (!session->history.begin.stored && !create)
                expected = WIRE_NOT_FOUND;
        else if (session->history.begin.stored && !may_use(c, session))
                expected = WIRE_DENIED;
        else if (is_held(number, exclusive))
                expected = WIRE_BUSY;
        if (expected == WIRE_BUSY && how & 64 && !client->waiting.id) {
                client->waiting = (struct waiting){ .id = client->next_id++,
                                                    .session = number,
                                                    .handle = h,
                                                    .create = create,
                                                    .exclusive = exclusive,
                                                    .until_ms = clock_passed_ms() + WAIT_MS + LATE_MS };
                send_open(c, client->waiting.id, session, create, exclusive, WAIT_MS);
                return;
        }
        kills = how & 32 && create && !session->history.begin.stored;
        if (kills)
                arm(choices);
        error = ask_open(c, session, create, exclusive, &opened, &created);
        if (error == KILLED) {
                const struct model fresh = fresh_model(session);

                session->owner = client->uid;
                be_uncertain(session, &fresh);
                return;
        }
        require(error == expected);
        if (error == NO_ERROR)
                have_handle(c, h, opened, number, exclusive, created);
        if (kills)
                disarm();
        else if (error == NO_ERROR && how & 16) {
                require(ask_handle(c, METHOD_WATCH, opened) == NO_ERROR);
                client->handles[h].watching = true;
        }
}

/* A session in memory ends with its last handle. */
void forget_if_over(unsigned number)
{
        if (in_memory(&play.sessions[number]) && !has_handles(number))
                play.sessions[number].history.begin = (struct model){ 0 };
}

void step_close(unsigned c, unsigned h)
{
        struct handle *handle = &play.clients[c].handles[h];
        const unsigned number = handle->session;
        int64_t closed;

        if (!handle->number)
                return;
        finish_burst(number);
        closed = handle->number;
        *handle = (struct handle){ 0 };
        require(ask_handle(c, METHOD_CLOSE, closed) == NO_ERROR);
        forget_if_over(number);
        check_waiting();
}

void step_delete(struct choices *choices, unsigned c, unsigned h, bool kills)
{
        const struct handle handle = play.clients[c].handles[h];
        struct session *session = &play.sessions[handle.session];
        struct model before;
        int error;

        if (!handle.number)
                return;
        finish_burst(handle.session);
        before = session->history.begin;
        for (unsigned i = 0; i < CLIENTS * HANDLES; i++) {
                struct handle *other = &play.clients[i / HANDLES].handles[i % HANDLES];

                if (other->number && other->session == handle.session)
                        *other = (struct handle){ 0 };
        }
        session->history.begin = (struct model){ 0 };
        if (kills)
                arm(choices);
        error = ask_handle(c, METHOD_DELETE, handle.number);
        if (error == KILLED) {
                be_uncertain(session, &before);
                return;
        }
        require(error == NO_ERROR);
        if (kills)
                disarm();
        check_waiting();
}

/* The session is given to the user of client number `to`, or to nobody. Handles that have no right any more
 * end. */
void step_chown(unsigned c, unsigned h, unsigned to)
{
        const struct handle handle = play.clients[c].handles[h];
        struct session *session = &play.sessions[handle.session];
        const uid_t uid = play.clients[c].uid, owner = to <= OBSERVER ? play.clients[to].uid : NOBODY;
        const bool may = uid == play.clients[OBSERVER].uid || (owner == uid && session->owner == uid);

        if (!handle.number)
                return;
        finish_burst(handle.session);
        if (may)
                session->owner = owner;
        for (unsigned i = 0; i < CLIENTS * HANDLES && may; i++) {
                struct handle *other = &play.clients[i / HANDLES].handles[i % HANDLES];

                if (other->number && other->session == handle.session && !may_use(i / HANDLES, session))
                        *other = (struct handle){ 0 };
        }
        require(ask_chown(c, handle.number, owner) == (may ? NO_ERROR : WIRE_DENIED));
        check_waiting();
}

/* Whoever may only read may not use the key-value area at all. */
void step_read_only(unsigned number)
{
        static const enum method_number denied[] = { METHOD_KV_GET, METHOD_KV_SET, METHOD_KV_SWAP,
                                                     METHOD_KV_SCAN };
        const struct session *session = &play.sessions[number];
        int64_t handle = 0;
        bool created;
        int error;

        if (!play.has_reader)
                return;
        finish_burst(number);
        connect_client(READER);
        error = ask_open(READER, session, false, false, &handle, &created);
        if (!session->history.begin.stored)
                require(error == WIRE_NOT_FOUND);
        else if (error != WIRE_BUSY || !is_exclusive_wanted(number))
                require(error == NO_ERROR);
        for (unsigned i = 0; handle && i < sizeof(denied) / sizeof(denied[0]); i++) {
                const struct asked asked = { .method = denied[i], .n = 1, .limit = 1 };

                require(ask_request(READER, handle, &asked) == WIRE_DENIED);
        }
        lose_connection(READER);
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

/* The handles that a client had. A session in memory may be gone, and another client may have the session. */
static void open_again(unsigned c, const struct handle had[HANDLES])
{
        connect_client(c);
        for (unsigned h = 0; h < HANDLES; h++) {
                struct handle *handle = &play.clients[c].handles[h];
                bool created;

                if (!had[h].number || !play.sessions[had[h].session].history.begin.stored ||
                    !may_use(c, &play.sessions[had[h].session]) || is_held(had[h].session, had[h].exclusive))
                        continue;
                *handle = had[h];
                handle->number = 0;
                handle->heard = (struct changed){ 0 };
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

/* Its handles are gone. */
static void take_handles(unsigned c, struct handle had[HANDLES])
{
        memcpy(had, play.clients[c].handles, sizeof(play.clients[c].handles));
        memset(play.clients[c].handles, 0, sizeof(play.clients[c].handles));
        play.clients[c].waiting = (struct waiting){ 0 };
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
        session->uncertain = false;
}

void step_lose(unsigned c, bool repeats)
{
        struct handle had[HANDLES];

        for (unsigned s = 0; s < SESSIONS; s++)
                if (in_memory(&play.sessions[s]) && !is_shared(s, c))
                        finish_burst(s);
        repeats = repeats && has_room();
        take_all();
        take_handles(c, had);
        lose_connection(c);
        lose(c, repeats);
        for (unsigned s = 0; s < SESSIONS; s++)
                if (in_memory(&play.sessions[s]) && !has_handles(s))
                        end_memory(&play.sessions[s]);
        open_again(c, had);
}

void die(uint8_t how)
{
        struct handle had[CLIENTS][HANDLES];

        take_all();
        inside_kill();
        for (unsigned c = 0; c <= OBSERVER; c++)
                play.clients[c].end = NULL;
        for (unsigned c = 0; c < CLIENTS; c++) {
                lose(c, how >> c & 1);
                take_handles(c, had[c]);
        }
        for (unsigned s = 0; s < SESSIONS; s++)
                if (in_memory(&play.sessions[s]))
                        end_memory(&play.sessions[s]);
        if (how & 128 && play.keys < KEYS_MAX)
                inside_keys(++play.keys);
        inside_start();
        connect_client(OBSERVER);
        for (unsigned c = 0; c < CLIENTS; c++)
                open_again(c, had[c]);
        for (unsigned s = 0; s < SESSIONS; s++) {
                observe(s, true);
                if (!is_open(s))
                        explain(s);
        }
}

void step_kill(struct choices *choices)
{
        const uint8_t how = choose_byte(choices), repeats = has_room() ? choose_byte(choices) : 0;

        if (how & 1) {
                inside_kill_before(1 + how / 2 % 32);
                inside_settle();
        }
        die(repeats);
}
