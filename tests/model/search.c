/*
 * Breadth-first search over all states that the steps of protocol.c can reach. States are kept packed, each
 * once: what is called exhaustive has no collisions. The first state found that breaks a property has a
 * shortest trace.
 *
 * search short|long: the scopes of this program's numbers of hosts and sessions. The rules as they are must
 * hold in them; each old rule must be refuted. The exit status is 1 where one of that is not so.
 */

#include "model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "scopes.h"

enum { PACKED = (sizeof(struct state) + 1) / 2 };

struct node {
        uint32_t parent;
        uint8_t step, host, session, choice;
        uint8_t packed[PACKED];
};

struct search {
        struct rules rules;
        struct node *nodes;
        uint32_t n, room;
        uint32_t *table; /* index of a node, plus 1 */
        uint32_t mask;
};

static void pack(const struct state *state, uint8_t *packed)
{
        const uint8_t *bytes = (const uint8_t *)state;

        memset(packed, 0, PACKED);
        for (size_t i = 0; i < sizeof(*state); i++) {
                if (bytes[i] > 15) {
                        fprintf(stderr, "model: a field above 15\n");
                        abort();
                }
                packed[i / 2] |= (uint8_t)(bytes[i] << (i % 2 * 4));
        }
}

static void unpack(const uint8_t *packed, struct state *state)
{
        uint8_t *bytes = (uint8_t *)state;

        for (size_t i = 0; i < sizeof(*state); i++)
                bytes[i] = packed[i / 2] >> (i % 2 * 4) & 15;
}

static uint32_t hash(const uint8_t *packed)
{
        uint64_t sum = 14695981039346656037u;

        for (size_t i = 0; i < PACKED; i++)
                sum = (sum ^ packed[i]) * 1099511628211u;
        return (uint32_t)(sum ^ sum >> 32);
}

static void *grown(void *memory, size_t bytes)
{
        memory = realloc(memory, bytes);
        if (!memory) {
                fprintf(stderr, "model: no memory\n");
                exit(1);
        }
        return memory;
}

static void grow(struct search *search)
{
        search->room = search->room ? search->room * 2 : 1 << 16;
        search->nodes = grown(search->nodes, search->room * sizeof(*search->nodes));
        search->mask = search->room * 2 - 1;
        search->table = grown(search->table, (search->mask + 1ul) * sizeof(*search->table));
        memset(search->table, 0, (search->mask + 1ul) * sizeof(*search->table));
        for (uint32_t i = 0; i < search->n; i++) {
                uint32_t at = hash(search->nodes[i].packed) & search->mask;

                while (search->table[at])
                        at = (at + 1) & search->mask;
                search->table[at] = i + 1;
        }
}

/* True: it is new. */
static bool add(struct search *search, const struct node *node)
{
        uint32_t at;

        if (search->n == search->room)
                grow(search);
        for (at = hash(node->packed) & search->mask; search->table[at]; at = (at + 1) & search->mask)
                if (memcmp(search->nodes[search->table[at] - 1].packed, node->packed, PACKED) == 0)
                        return false;
        search->nodes[search->n] = *node;
        search->table[at] = ++search->n;
        return true;
}

/* ---- one search ---- */

struct expansion {
        struct search *search;
        const struct state *from;
        struct node node;
};

/* The property that the new state breaks. */
static enum property try_step(struct expansion *expansion, const struct step *step)
{
        const struct rules *rules = &expansion->search->rules;
        struct node *node = &expansion->node;
        struct state state = *expansion->from;

        if (!step->run(rules, &state, node->host, node->session, node->choice))
                return P_NONE;
        model_tidy(&state);
        pack(&state, node->packed);
        return add(expansion->search, node) ? model_check(rules, &state) : P_NONE;
}

static enum property expand(struct search *search, uint32_t index)
{
        struct state from;
        struct expansion expansion = { search, &from, { .parent = index } };
        struct node *node = &expansion.node;
        enum property broken = P_NONE;

        unpack(search->nodes[index].packed, &from);
        for (const struct step *step = steps; step->text; step++) {
                if (step->features && !(step->features & search->rules.features))
                        continue;
                node->step = (uint8_t)(step - steps);
                for (node->host = 0; node->host < HOSTS; node->host++)
                        for (node->session = 0; node->session < (step->of_session ? SESSIONS : 1);
                             node->session++)
                                for (node->choice = 0; node->choice < step->choices && !broken;
                                     node->choice++)
                                        broken = try_step(&expansion, step);
        }
        return broken;
}

static void print_trace(const struct search *search, uint32_t index)
{
        const struct node *node = &search->nodes[index];
        const struct step *step = &steps[node->step];
        const char *at = step->text;
        char text[100];
        struct state state;
        bool numbered = step->choices > 1 && !strchr(step->text, '|');

        if (index == 0)
                return;
        print_trace(search, node->parent);
        unpack(node->packed, &state);
        for (int i = 0; i < node->choice && strchr(at, '|'); i++)
                at = strchr(at, '|') + 1;
        snprintf(text, sizeof(text), numbered ? "%.*s: %d" : "%.*s", (int)strcspn(at, "|"), at, node->choice);
        printf("      %c%s%c %-48s", 'A' + node->host, step->of_session ? " s" : "  ",
               step->of_session ? '1' + node->session : ' ', text);
        for (int h = 0; h < HOSTS; h++) {
                printf(" %c:", 'A' + h);
                for (int k = 0; k < SESSIONS; k++)
                        printf(" %d", state.session[k].side[h].lease > state.session[k].side[h].stray
                                              ? state.session[k].side[h].lease
                                              : state.session[k].side[h].stray);
        }
        printf("  %s\n", step->code);
}

static bool run(const struct scope *scope)
{
        static const char *const names[] = { "", "two leases", "an acknowledged write lost", "not taken" };
        struct search search = { .rules = scope->rules };
        struct node first = { 0 };
        struct state state;
        enum property broken = P_NONE;
        clock_t begun = clock();
        uint32_t done = 0;
        bool good;

        model_init(&search.rules, &state);
        pack(&state, first.packed);
        add(&search, &first);
        while (!broken && done < search.n && search.n < scope->most)
                broken = expand(&search, done++);
        good = broken == scope->expected;
        printf("%-6s %-58s %9u states, %s%s, %.1f s\n", good ? "ok" : "WRONG", scope->name, search.n,
               broken             ? "refuted: "
               : done == search.n ? "exhaustive"
                                  : "bounded",
               broken ? names[broken] : "", (double)(clock() - begun) / CLOCKS_PER_SEC);
        if (broken)
                print_trace(&search, search.n - 1);
        fflush(stdout);
        free(search.nodes);
        free(search.table);
        return good;
}

int main(int argc, char **argv)
{
        bool all = argc > 1 && strcmp(argv[1], "long") == 0;
        int wrong = 0;

        for (size_t i = 0; i < sizeof(scopes) / sizeof(scopes[0]); i++)
                if (scopes[i].hosts == HOSTS && scopes[i].sessions == SESSIONS && scopes[i].term == TERM &&
                    (all || !scopes[i].is_long))
                        wrong += !run(&scopes[i]);
        return wrong > 0;
}
