/*
 * The steps of the protocol. A step that a process takes may be taken at any later time or never: so a paused
 * process needs no step of its own. A message is on its way until it lands, in any order with others, or
 * never.
 *
 * What is left out, and why nothing is lost by it:
 * - A contender that begins to watch later only waits longer: here each watches from the first moment.
 * - A mark that lands late is one written late, because its filter is the counter.
 * - A client asks for its lease as often as it can: a longer lease is never safer. What its daemon has told
 * it may be less: that is chosen when the connection ends.
 */

#include "model.h"

#include <assert.h>
#include <string.h>

uint8_t name_of(int host, int slot)
{
        return (uint8_t)(host * SLOTS + slot + 1);
}

int host_of(uint8_t name)
{
        return (name - 1) / SLOTS;
}

struct instance *instance_of(struct state *state, uint8_t name)
{
        return &state->host[host_of(name)].instance[(name - 1) % SLOTS];
}

/* ---- what is known ---- */

static bool look_bounds(const struct rules *rules)
{
        return rules->features & RESTORE && !(rules->old & (OLD_LOOK | UNBOUND_LEASE));
}

/* mongo_instance_left(), session_is_ours() */
bool is_usable(const struct rules *rules, const struct host *host, const struct side *side)
{
        return host->up && host->registered && host->left > 0 && side->mode == OWNED &&
               (!look_bounds(rules) || side->look < LOOK);
}

/* method_lease() */
uint8_t lease_of(const struct rules *rules, const struct host *host, const struct side *side)
{
        if (!is_usable(rules, host, side))
                return 0;
        return look_bounds(rules) ? least(host->left, LOOK - side->look) : host->left;
}

void ask_leases(const struct rules *rules, struct state *state, int h)
{
        for (int k = 0; k < SESSIONS; k++) {
                struct side *side = &state->session[k].side[h];

                if (side->handle)
                        side->lease = most(side->lease, lease_of(rules, &state->host[h], side));
        }
}

bool names_us(const struct session *session, int h)
{
        return session->exists && session->owner && host_of(session->owner) == h &&
               session->fence == session->side[h].fence;
}

bool needs_wait(const struct session *session)
{
        return session->exists && (session->fence < session->taken || (session->fence && !session->taken));
}

uint8_t next_fence(const struct session *session)
{
        return (uint8_t)(most(session->fence, session->taken) + 1);
}

/* ---- changes ---- */

/* A swap or a release that was sent before does not match any more. */
void document_changed(struct session *session)
{
        for (int h = 0; h < HOSTS; h++) {
                struct side *side = &session->side[h];

                if (side->mode == TAKING)
                        side->mode = NONE;
                side->swap = side->release = side->wait = 0;
        }
}

/* The handle is gone, its client's lease is not. */
void leave_stray(struct side *side, uint8_t lease)
{
        side->stray = most(side->stray, lease);
        side->given = most(side->given, lease);
        side->handle = side->lease = 0;
}

void suspend(struct side *side)
{
        side->mode = NONE;
        side->look = side->value = side->current = 0;
        if (side->write[0].value)
                side->write[1] = side->write[0];
        side->write[0] = (struct write){ 0 };
}

bool is_named(const struct state *state, uint8_t name)
{
        for (int k = 0; k < SESSIONS; k++) {
                if (state->session[k].owner == name)
                        return true;
                for (int h = 0; h < HOSTS; h++)
                        if (state->session[k].side[h].swap &&
                            name == name_of(h, state->session[k].side[h].swap - 1))
                                return true;
        }
        return false;
}

void move_instance(struct state *state, int h, int from, int to)
{
        struct instance *slots = state->host[h].instance;

        for (int k = 0; k < SESSIONS; k++) {
                struct session *session = &state->session[k];

                if (session->owner == name_of(h, from))
                        session->owner = name_of(h, to);
                if (session->side[h].swap == from + 1)
                        session->side[h].swap = (uint8_t)(to + 1);
        }
        slots[to] = slots[from];
        slots[from] = (struct instance){ 0 };
}

/* The current instance becomes a former one. */
static bool end_instance(struct state *state, int h)
{
        struct host *host = &state->host[h];

        host->registered = host->left = 0;
        if (!is_named(state, name_of(h, 0))) {
                host->instance[0] = (struct instance){ 0 };
                return true;
        }
        for (int i = 1; i < SLOTS; i++)
                if (!host->instance[i].document) {
                        move_instance(state, h, 0, i);
                        return true;
                }
        return false; /* so many former instances are not looked at */
}

/* ---- time ---- */

static void tick_host(const struct rules *rules, struct state *state, int h, bool asleep)
{
        struct host *host = &state->host[h];

        host->left = less(host->left);
        for (int g = 0; g < HOSTS; g++)
                for (int i = 0; i < SLOTS; i++) {
                        struct instance *seen = &state->host[g].instance[i];
                        bool counts =
                                host->up && (seen->document != MISSING || !(rules->old & MISSING_WAITS));

                        if (seen->document)
                                seen->watch[h] = counts ? least(seen->watch[h] + 1, WATCH) : 0;
                }
        for (int k = 0; k < SESSIONS; k++) {
                struct side *side = &state->session[k].side[h];

                side->given = less(side->given);
                if (!asleep) {
                        side->lease = less(side->lease);
                        side->stray = less(side->stray);
                }
                if (rules->features & RESTORE && side->mode >= SWAPPED)
                        side->look = least(side->look + 1, LOOK);
                side->wait = host->up && needs_wait(&state->session[k]) ? least(side->wait + 1, WATCH) : 0;
        }
}

/* Choice 0: all clocks. Then: all but that host's; all, but the clients of that host have clocks that stand
 * still. */
STEP(tick)
{
        int slow = choice - 1, asleep = choice - 1 - HOSTS;
        bool must_look = rules->old & UNBOUND_LEASE && !(rules->old & OLD_LOOK);

        (void)k;
        if (h || (choice > HOSTS ? !(rules->old & ASLEEP) : choice && !(rules->features & DRIFT)))
                return false;
        if (choice && choice <= HOSTS && state->host[slow].drift)
                return false;
        for (int g = 0; g < HOSTS; g++)
                for (int i = 0; must_look && i < SESSIONS; i++)
                        if (state->host[g].up && state->session[i].side[g].look >= LOOK)
                                return false;
        for (int g = 0; g < HOSTS; g++) {
                state->host[g].drift = less(state->host[g].drift);
                if (g != slow || choice > HOSTS)
                        tick_host(rules, state, g, g == asleep);
                else /* one tick in four: so a fast clock counts 4 while a slow one counts 3 */
                        state->host[g].drift = rules->old & BAD_CLOCK ? 1 : 3;
        }
        if (state->since)
                state->since = least(state->since + 1, LOOK + 2);
        return true;
}

/* ---- the instance ---- */

/*
 * A renewal or first insert lands. Choice: the ticks since it was sent; TERM: so many, or the reply is lost.
 * As one may be sent at any time, those on their way are not counted.
 */
STEP(land_renewal)
{
        struct host *host = &state->host[h];
        struct instance *own = &host->instance[0];

        (void)k;
        if (choice < TERM && !host->up)
                return false;
        if (host->up && !host->registered) { /* insert(), register_as() */
                *own = (struct instance){ .document = ALIVE };
                host->registered = 1;
        }
        if (own->document == ALIVE) {
                memset(own->watch, 0, sizeof(own->watch));
                host->left = most(host->left, (uint8_t)(TERM - choice));
                ask_leases(rules, state, h);
                return true;
        }
        if (choice == TERM)
                return false;
        for (int i = 0; i < SESSIONS; i++)
                suspend(&state->session[i].side[h]);
        return end_instance(state, h); /* retire() */
}

/* Choice: which instance. */
STEP(mark_dead)
{
        struct instance *other = &state->host[choice / SLOTS].instance[choice % SLOTS];
        bool here = choice / SLOTS == h;

        (void)k;
        if (!state->host[h].up || other->document == NO_DOCUMENT || other->document == DEAD)
                return false;
        if (here ? !(rules->old & OLD_RESTART) || choice % SLOTS == 0 : other->watch[h] < WATCH)
                return false;
        other->document = DEAD;
        return true;
}

STEP(delete_instance)
{
        struct instance *gone = &state->host[h].instance[choice];

        (void)rules, (void)k;
        if (gone->document != ALIVE && gone->document != DEAD)
                return false;
        *gone = (struct instance){ .document = MISSING };
        return true;
}

/* ---- start and end ---- */

STEP(start)
{
        (void)k, (void)choice;
        if (state->host[h].up || !end_instance(state, h))
                return false;
        state->host[h].up = 1;
        /* The leases that the former instance gave are not known: each may be a whole term. */
        for (int i = 0; i < SESSIONS && !(rules->old & OLD_FORMER); i++)
                state->session[i].side[h].given = TERM;
        return true;
}

STEP(kill_daemon)
{
        struct host *host = &state->host[h];

        (void)k, (void)choice;
        if (!host->up || !state->ends)
                return false;
        if (rules->ends != ANY)
                state->ends--;
        host->up = host->registered = host->draining = host->left = 0;
        for (int i = 0; i < SESSIONS; i++) {
                struct side *side = &state->session[i].side[h];

                suspend(side);
                leave_stray(side, side->lease);
                side->given = side->wait = 0;
        }
        for (int g = 0; g < HOSTS; g++)
                for (int i = 0; i < SLOTS; i++)
                        state->host[g].instance[i].watch[h] = 0;
        return true;
}

/* Sessions on which no client can rely are released. If that is all, the instance's document is deleted. */
STEP(end_orderly)
{
        bool stays = false;

        if (!state->host[h].up || !state->ends)
                return false;
        for (int i = 0; i < SESSIONS && state->host[h].registered; i++) {
                struct session *session = &state->session[i];
                struct side *side = &session->side[h];
                bool held = side->mode >= SWAPPED || side->handle;

                if (!held || !names_us(session, h))
                        continue;
                if (!(rules->old & OLD_END) && (side->lease || side->given || side->write[0].value)) {
                        stays = true; /* mongo_leave() */
                        continue;
                }
                session->owner = 0;
                if (rules->features & RESTORE)
                        session->free = session->fence;
                document_changed(session);
        }
        if (state->host[h].registered && !stays)
                delete_instance(rules, state, h, k, 0);
        return kill_daemon(rules, state, h, k, choice);
}

STEP(drain)
{
        (void)rules, (void)k, (void)choice;
        if (!state->host[h].up)
                return false;
        state->host[h].draining ^= 1;
        return true;
}

/* ---- all steps ---- */

const struct step steps[] = {
        { "a tick; clocks", "mongo_boot_ms()", tick, 2 * HOSTS + 1, 0, false },
        { "a renewal lands; ticks since it was sent", "attempt(), insert(), renew(), retire()", land_renewal,
          TERM + 1, 0, false },
        { "marks an instance dead", "is_due(), mark_dead()", mark_dead, HOSTS *SLOTS, 0, false },
        { "its instance's document is deleted", "an operator", delete_instance, SLOTS, DELETES, false },
        { "starts", "mongo_instance_start()", start, 1, 0, false },
        { "is killed", "SIGKILL", kill_daemon, 1, 0, false },
        { "ends in order", "close_start(), mongo_leave(), end_instance()", end_orderly, 1, 0, false },
        { "drain on or off", "drain_start(), drain_end()", drain, 1, DRAINS, false },
        { "looks, chooses a fence, sends its swap", "take(), mongo_confirm(), mongo_fence_take()", send_swap,
          1, 0, true },
        { "the swap lands|the swap lands, its reply is lost", "swap()", land_swap, 2, 0, true },
        { "stops waiting for the swap", "mongo_open(), session_end()", give_up_swap, 1, LOSSES, true },
        { "notes `taken`", "mongo_fence_note_taken()", write_taken, 1, RESTORE, true },
        { "answers `open`", "grant(), handle_lend()", answer_open, 1, 0, true },
        { "looks at the document", "give_back(), mongo_session_check_owner(), session_fenced()", look, 1, 0,
          true },
        { "the client closes|the connection ends, the lease runs on", "method_close(), handle_abandon()",
          end_handle, 2, 0, true },
        { "sends a release", "lent_left_ms(), mongo_close()", send_release, 1, 0, true },
        { "the release lands", "mongo_release()", land_release, 1, 0, true },
        { "the client writes v1|the client writes v2", "sort_out(), is_stored(), write_rows()", write_row, 2,
          WRITES, true },
        { "the write lands|the write lands, its reply is lost|an earlier write lands", "mongo_writes_flush()",
          land_write, 3, WRITES, true },
        { "stops waiting for the write", "mongo_fault(), confirm_start()", give_up_write, 1, WRITES, true },
        { "the session is restored|everything is restored|the session is dropped|gramd.fences is dropped|"
          "the session is restored, gramd.fences dropped|everything is dropped",
          "an operator", restore, RESTORES, RESTORE, true },
        { 0 },
};

void model_init(const struct rules *rules, struct state *state)
{
        *state = (struct state){ .ends = (uint8_t)rules->ends };
        for (int h = 0; h < HOSTS; h++) {
                state->host[h] = (struct host){ .up = 1, .registered = 1, .left = TERM };
                state->host[h].instance[0].document = ALIVE;
        }
        for (int k = 0; k < SESSIONS; k++)
                state->session[k] = (struct session){ .exists = 1, .row = 1 };
}
