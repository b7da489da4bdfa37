/* Requests on sessions, what watchers hear of them, and the search for what explains the answers. */

#include "clocks.h"
#include "play.h"

/* ---- what the sessions have ---- */

static bool has_heard(const struct handle *handle, const struct changed *changed)
{
        return handle->heard.all ||
               ((changed->peers & ~handle->heard.peers) == 0 &&
                (changed->states & ~handle->heard.states) == 0 &&
                (changed->fields & ~handle->heard.fields) == 0 && (changed->area & ~handle->heard.area) == 0);
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

static bool is_explained(struct session *session)
{
        if (history_explains(&session->history))
                return true;
        if (!session->uncertain)
                return false;
        session->history.begin = session->other;
        return history_explains(&session->history);
}

/* The end of a history: the daemon has nothing left to do, and the last event is what the session has. */
void explain(unsigned number)
{
        struct session *session = &play.sessions[number];
        bool explained = true;

        for (size_t i = 0; i < session->history.n; i++)
                explained &= session->history.events[i].answered || session->history.events[i].dead;
        explained = explained && is_explained(session);
        if (!explained || play.traced)
                history_print(&session->history);
        require(explained);
        check_watchers(number);
        history_clear(&session->history);
        session->interrupted = false;
        session->uncertain = false;
        if (plant == LOST)
                inside_plant_loss();
}

/* ---- bursts ---- */

static void send_event(unsigned session, size_t number)
{
        const struct event *event = &play.sessions[session].history.events[number];
        const struct sent *sent = &play.sessions[session].sent[number];
        const struct client *client = &play.clients[sent->client];
        struct buffer params = { 0 };

        asked_pack(&event->asked, client->handles[sent->handle].number, &params);
        send_request(sent->client, sent->id, event->asked.method, &params);
        buffer_deinit(&params);
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
                        if (!play.clients[c].handles[session->sent[i].handle].number) {
                                event->dead = ++session->history.now; /* its session is another client's */
                                continue;
                        }
                        event->repeated = true;
                        if (plant == TWICE)
                                session->sent[i].id = play.clients[c].next_id++;
                        if (!asked_writes(&event->asked))
                                event->lane = ++play.lanes; /* it may see what was sent after it */
                        send_event(s, i);
                }
        }
}

void finish_burst(unsigned number)
{
        settle();
        for (unsigned c = 0; c < CLIENTS; c++)
                repeat(c);
        settle();
        check_waiting();
        if (play.sessions[number].history.n == 0)
                return;
        observe(number, false);
        explain(number);
}

void step_ask(struct choices *choices, unsigned c, unsigned h)
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
        asked_choose(choices, clock_unix_ms(), &event->asked);
        send_event(number, session->history.n - 1);
}
