/*
 * The steps of one session on one host: it is taken, used, closed; its rows are written; a backup of it is
 * restored.
 */

#include "model.h"

#include <string.h>

/* ---- taking a session ---- */

/* mongo_rivals_contend(). A former instance of the own data directory needs no mark. */
static bool may_take_from(const struct rules *rules, struct state *state, int h, uint8_t owner)
{
        bool own_directory = !owner || host_of(owner) == h || rules->old & COPIED_DIRECTORY;

        if (!owner || owner == name_of(h, 0))
                return true;
        return instance_of(state, owner)->document == DEAD || (own_directory && !(rules->old & OLD_RESTART));
}

/* An `open`, or the confirmation of a suspended session whose handle is left. */
STEP(send_swap)
{
        struct host *host = &state->host[h];
        struct session *session = &state->session[k];
        struct side *side = &session->side[h];
        bool confirms = side->handle;

        (void)choice;
        if (!host->up || !host->registered || !host->left || side->mode != NONE ||
            (host->draining && !confirms))
                return false;
        if (confirms ? !names_us(session, h)
                     : session->exists && !may_take_from(rules, state, h, session->owner))
                return false;
        if (!session->exists) { /* create() */
                session->exists = 1;
                session->owner = session->fence = 0;
                document_changed(session);
                return true;
        }
        if (!confirms && needs_wait(session) && side->wait < WATCH && !(rules->old & OLD_WAIT))
                return false;
        side->swap = 1;
        side->swap_fence = next_fence(session);
        side->mode = TAKING;
        return true;
}

/* Choice 1: the reply is lost. */
STEP(land_swap)
{
        struct session *session = &state->session[k];
        struct side *side = &session->side[h];
        bool answered = side->mode == TAKING && side->swap == 1 && state->host[h].registered && !choice;
        bool was_here = session->owner && host_of(session->owner) == h;

        if (!side->swap || (choice && !(rules->features & LOSSES)))
                return false;
        session->owner = name_of(h, side->swap - 1);
        session->fence = side->swap_fence;
        if (answered || side->handle)
                side->fence = side->swap_fence; /* or tried_fence */
        document_changed(session);
        if (!answered)
                return true;
        side->mode = SWAPPED;
        side->look = 0;
        if (!was_here)
                side->given = 0;
        if (!(rules->features & RESTORE)) { /* write_taken() in the same step */
                session->taken = session->fence;
                side->mode = OWNED;
        }
        ask_leases(rules, state, h);
        return true;
}

STEP(give_up_swap)
{
        struct side *side = &state->session[k].side[h];

        (void)rules, (void)choice;
        if (side->mode != TAKING)
                return false;
        side->mode = NONE;
        return true;
}

STEP(write_taken)
{
        struct session *session = &state->session[k];
        struct side *side = &session->side[h];

        (void)choice;
        if (side->mode != SWAPPED)
                return false;
        if (session->taken >= side->fence) { /* the fence may have been used: another is needed */
                side->mode = NONE;
                return true;
        }
        session->taken = side->fence;
        side->mode = OWNED;
        ask_leases(rules, state, h);
        return true;
}

STEP(answer_open)
{
        struct host *host = &state->host[h];
        struct side *side = &state->session[k].side[h];

        (void)choice;
        if (side->mode != OWNED || side->handle || host->draining)
                return false;
        if (!(rules->old & OLD_ANSWER) && !is_usable(rules, host, side))
                return false;
        side->handle = 1;
        side->lease = rules->old & OLD_ANSWER ? most(host->left, 1) : lease_of(rules, host, side);
        return true;
}

/* A suspended session whose document names another owner or fence, or a look that finds that. */
STEP(look)
{
        struct session *session = &state->session[k];
        struct side *side = &session->side[h];

        (void)choice;
        if (!state->host[h].up)
                return false;
        if (side->mode == OWNED && (!(rules->features & RESTORE) || rules->old & OLD_LOOK))
                return false;
        if (names_us(session, h)) {
                side->look = 0;
                ask_leases(rules, state, h);
                return side->mode == OWNED;
        }
        if (side->mode != OWNED && !(side->mode == NONE && side->handle))
                return false;
        suspend(side);
        leave_stray(side, side->lease);
        return true;
}

/* ---- closing it ---- */

/* Choice: what is left of the lease that the client was told; 0: it closed, or its process is seen to have
 * ended. */
STEP(end_handle)
{
        struct side *side = &state->session[k].side[h];

        (void)rules;
        if (!side->handle || (choice && !side->lease))
                return false;
        leave_stray(side, choice ? side->lease : 0);
        return true;
}

STEP(send_release)
{
        struct session *session = &state->session[k];
        struct side *side = &session->side[h];
        bool pushed = rules->old & OLD_DRAIN && state->host[h].draining;
        bool tried = side->mode == NONE && session->owner == name_of(h, 0); /* mongo_release_later() */

        (void)choice;
        if (tried && !side->handle && state->host[h].registered && !side->release &&
            (!side->given || rules->old & OLD_TRIED)) {
                side->release = 1;
                return true;
        }
        if (side->mode != OWNED || !state->host[h].registered || side->write[0].value)
                return false;
        if (!pushed && (side->handle || (side->given && !(rules->old & OLD_CLOSE))))
                return false;
        leave_stray(side, side->lease);
        suspend(side);
        side->release = names_us(session, h);
        return true;
}

STEP(land_release)
{
        (void)choice;
        if (!state->session[k].side[h].release)
                return false;
        state->session[k].owner = 0;
        if (rules->features & RESTORE)
                state->session[k].free = state->session[k].fence;
        document_changed(&state->session[k]);
        return true;
}

/* ---- rows ---- */

static void acknowledge(struct session *session, struct side *side, uint8_t value, bool current)
{
        session->acked = most(session->acked, side->fence);
        side->value = value;
        side->current = current;
}

/* Choice: the value, minus 1. */
STEP(write_row)
{
        struct session *session = &state->session[k];
        struct side *side = &session->side[h];

        if (!side->handle || !is_usable(rules, &state->host[h], side) || side->write[0].value)
                return false;
        if (!side->value) {
                side->value = session->row;
                side->current = session->row_fence == side->fence;
        }
        if (side->value == choice + 1 && (side->current || rules->old & OLD_REPEAT))
                acknowledge(session, side, side->value, side->current);
        else
                side->write[0] = (struct write){ (uint8_t)(choice + 1), side->fence };
        return true;
}

/* Choice 0: the daemon waits and gets the reply; 1: the reply is lost; 2: it has stopped waiting before. */
STEP(land_write)
{
        struct session *session = &state->session[k];
        struct side *side = &session->side[h];
        struct write *write = &side->write[choice == 2];
        struct write landed = *write;
        bool matches = session->row_fence <= landed.fence; /* mongo_append_fence() */

        if (!landed.value)
                return false;
        *write = (struct write){ 0 };
        if (matches) {
                if (session->acked > landed.fence)
                        state->wrong = P2_WRITE_LOST;
                session->row = landed.value;
                session->row_fence = landed.fence;
        }
        if (choice == 2)
                return true;
        if (choice == 0 && matches && is_usable(rules, &state->host[h], side))
                acknowledge(session, side, landed.value, true);
        else
                suspend(side); /* in_doubt, or fenced */
        return true;
}

STEP(give_up_write)
{
        struct side *side = &state->session[k].side[h];

        (void)rules, (void)choice;
        if (!side->write[0].value)
                return false;
        suspend(side);
        return true;
}

/* ---- backups ---- */

STEP(restore)
{
        struct session *session = &state->session[k];

        bool all = choice == R_ALL || choice == R_NOTHING_LEFT;
        bool no_fences = choice == R_NO_FENCES || choice == R_SESSION_NO_FENCES || choice == R_NOTHING_LEFT;

        if (h || state->since || session->fence <= session->free)
                return false;
        if (choice == R_SESSION_NO_FENCES && !session->free)
                choice = R_ALL; /* it looks like a new session */
        for (int i = 0; i < HOSTS; i++)
                if (session->side[i].mode == SWAPPED)
                        choice = R_ALL; /* `taken` is not noted yet: it promises nothing */
        state->since = 1;
        state->restored = (uint8_t)(choice + 1);
        if (all)
                session->taken = session->free;
        if (no_fences)
                session->taken = 0;
        for (int i = 0; i < HOSTS * SLOTS && all; i++)
                delete_instance(rules, state, i / SLOTS, k, i % SLOTS);
        if (choice == R_NO_FENCES)
                return true;
        session->exists = choice != R_DROPPED && choice != R_NOTHING_LEFT;
        session->fence = session->exists ? session->free : 0;
        session->owner = 0;
        document_changed(session);
        return true;
}
