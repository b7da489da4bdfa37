/*
 * What must hold in each state, and which states are the same but for names.
 */

#include "model.h"

#include <string.h>

/* ---- states that differ in names only ---- */

static void rename_fences(struct session *session)
{
        uint8_t *fences[5 + 4 * HOSTS] = { &session->fence, &session->row_fence, &session->acked,
                                           &session->taken, &session->free };
        uint8_t rank[256] = { 0 }, next = 0;
        int n = 5;
        uint8_t highest = 0;

        for (int h = 0; h < HOSTS; h++) {
                struct side *side = &session->side[h];

                fences[n++] = &side->fence;
                fences[n++] = &side->swap_fence;
                fences[n++] = &side->write[0].fence;
                fences[n++] = &side->write[1].fence;
        }
        for (int i = 0; i < n; i++) {
                rank[*fences[i]] = 1;
                highest = *fences[i] > highest ? *fences[i] : highest;
        }
        if (highest > next_fence(session))
                return; /* a fence may be given twice: their distances matter */
        for (int i = 1; i <= highest; i++)
                rank[i] = rank[i] ? ++next : 0;
        rank[0] = 0;
        for (int i = 0; i < n; i++)
                *fences[i] = rank[*fences[i]];
}

/* Values are told apart only by which of them is stored. */
static void rename_values(struct session *session)
{
        for (int h = 0; h < HOSTS && session->row == 2; h++) {
                struct side *side = &session->side[h];
                uint8_t *values[] = { &side->value, &side->write[0].value, &side->write[1].value };

                for (int i = 0; i < 3; i++)
                        if (*values[i])
                                *values[i] = (uint8_t)(3 - *values[i]);
        }
        session->row = 1;
}

/* Fences of the past that no write on its way, and no owner, can be compared with. */
static void forget_fences(struct session *session)
{
        bool acked = false, row = false;

        for (int h = 0; h < HOSTS; h++) {
                struct side *side = &session->side[h];

                if (side->mode != SWAPPED && side->mode != OWNED && !side->handle)
                        side->fence = 0;
                if (!side->swap)
                        side->swap_fence = 0;
                acked |= side->fence && side->fence < session->acked;
                row |= side->fence && side->fence <= session->row_fence;
                for (int i = 0; i < 2; i++) {
                        acked |= side->write[i].value && side->write[i].fence < session->acked;
                        row |= side->write[i].value && side->write[i].fence < session->row_fence;
                }
        }
        session->acked = acked ? session->acked : 0;
        session->row_fence = row ? session->row_fence : 0;
}

void model_tidy(struct state *state)
{
        for (int k = 0; k < SESSIONS; k++) {
                rename_values(&state->session[k]);
                forget_fences(&state->session[k]);
                rename_fences(&state->session[k]);
        }
        for (int h = 0; h < HOSTS; h++) {
                struct instance *slots = state->host[h].instance;

                for (int i = 1; i < SLOTS; i++)
                        if (!is_named(state, name_of(h, i)))
                                slots[i] = (struct instance){ 0 };
                if (SLOTS > 2 && slots[SLOTS - 1].document && !slots[1].document)
                        move_instance(state, h, SLOTS - 1, 1);
                for (int i = 0; i < SLOTS; i++) {
                        slots[i].watch[h] = 0;
                        if (slots[i].document == NO_DOCUMENT || slots[i].document == DEAD)
                                memset(slots[i].watch, 0, sizeof(slots[i].watch));
                }
        }
}

/* ---- properties ---- */

/* How many ticks after a restore two hosts may have leases: from `*first` to `*last`. */
static void overlap_allowed(const struct state *state, int *first, int *last)
{
        *first = *last = -1;
        if (!state->since || state->restored == R_NO_FENCES + 1)
                return;
        *first = state->restored == R_ALL + 1 || state->restored == R_NOTHING_LEFT + 1 ? 0 : WATCH;
        *last = LOOK;
}

static bool two_leases(const struct session *session)
{
        int n = 0;

        for (int h = 0; h < HOSTS; h++)
                n += session->side[h].lease || session->side[h].stray;
        return n > 1;
}

/* The owner is dead for good and nothing that is on its way lands. Does host h have the session within the
 * watch? */
static bool is_taken_by(const struct rules *rules, const struct state *from, int h, int k)
{
        struct state state = *from;
        struct rules fair = *rules;
        struct side *side = &state.session[k].side[h];

        for (int i = 0; i < SESSIONS; i++)
                document_changed(&state.session[i]);
        for (int g = 0; g < HOSTS; g++) {
                if (g != h)
                        state.host[g].up = 0;
        }
        state.session[k].side[h].wait = from->session[k].side[h].wait;
        state.host[h].draining = 0;
        for (int ticks = 0; ticks <= WATCH;) {
                model_tidy(&state);
                if (side->handle && is_usable(&fair, &state.host[h], side))
                        return true;
                if (start(&fair, &state, h, k, 0))
                        continue;
                land_renewal(&fair, &state, h, k, 0);
                if (!state.host[h].registered)
                        continue;
                for (int i = 0; i < HOSTS * SLOTS; i++)
                        mark_dead(&fair, &state, h, k, i);
                if (side->write[0].value)
                        suspend(side);
                look(&fair, &state, h, k, 0);
                if (side->mode == OWNED && !names_us(&state.session[k], h)) {
                        suspend(side); /* its next write finds that */
                        look(&fair, &state, h, k, 0);
                }
                if (side->mode == SWAPPED ? write_taken(&fair, &state, h, k, 0)
                                          : answer_open(&fair, &state, h, k, 0))
                        continue;
                if (send_swap(&fair, &state, h, k, 0)) {
                        land_swap(&fair, &state, h, k, 0);
                        continue;
                }
                tick(&fair, &state, 0, 0, 0);
                ticks++;
        }
        return false;
}

enum property model_check(const struct rules *rules, const struct state *state)
{
        int first, last, ticks = state->since - 1;

        if (state->wrong)
                return state->wrong;
        overlap_allowed(state, &first, &last);
        for (int k = 0; k < SESSIONS; k++) {
                const struct session *session = &state->session[k];
                bool owner_up = session->owner && state->host[host_of(session->owner)].up;

                if (two_leases(session) && (first < 0 || ticks < first || ticks > last))
                        return P1_TWO_LEASES;
                for (int h = 0; h < HOSTS && !owner_up; h++)
                        if (!is_taken_by(rules, state, h, k))
                                return P3_NOT_TAKEN;
        }
        return P_NONE;
}
