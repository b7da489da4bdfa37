/* Shows a history that nothing explains. */

#include <inttypes.h>
#include <stdio.h>

#include "history.h"

enum { SHOWN_BYTES = 400 }; /* of an answer */

static void print_model(const struct model *model)
{
        if (!model->stored)
                fprintf(stderr, " not stored");
        for (unsigned i = 0; i < PEERS; i++) {
                const struct model_peer *peer = &model->peers[i];

                if (peer->there)
                        fprintf(stderr,
                                " peer%u(hash %d %" PRId64 " type %u name %d phone %d at %" PRId64 "/%" PRId64
                                ")",
                                i, peer->has_hash, peer->hash, peer->type, peer->name - 1, peer->phone - 1,
                                peer->at.time, peer->at.floor);
        }
        for (unsigned i = 0; i < NAMES * PEERS; i++) {
                const struct model_row *row = &model->names[i / PEERS][i % PEERS];

                if (row->there)
                        fprintf(stderr, " name%u=peer%u(at %" PRId64 "/%" PRId64 ")", i / PEERS, i % PEERS,
                                row->at.time, row->at.floor);
        }
        for (unsigned i = 0; i < STATES; i++)
                if (model->has_state[i])
                        fprintf(stderr, " state%u(parts %x: %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 ")",
                                i, model->states[i].present, model->states[i].part[0],
                                model->states[i].part[1], model->states[i].part[2], model->states[i].part[3]);
        for (enum field field = 0; field < FIELD_COUNT; field++)
                if (model->fields & FIELD_BIT(field))
                        fprintf(stderr, " %s=%" PRId64, field_infos[field].name,
                                field == FIELD_AUTH_KEY ? model->key : model->number[field]);
        for (unsigned i = 0; i < AREA_KEYS; i++)
                if (model->area[i].value)
                        fprintf(stderr, " key%u=value%u(until %" PRId64 ", sealed by %u)", i,
                                model->area[i].value, model->area[i].expires_ms, model->area[i].sealed_by);
        fprintf(stderr, "\n");
}

static void print_rows(const struct asked *asked)
{
        for (unsigned i = 0; i < asked->n; i++) {
                fprintf(stderr, " [%u", asked->places[i]);
                if (asked->method == METHOD_UPDATE_PEERS)
                        fprintf(stderr, " type %u name %d phone %d", asked->peers[i].type,
                                asked->peers[i].name - 1, asked->peers[i].phone - 1);
                if (asked->method == METHOD_UPDATE_USERNAMES)
                        for (unsigned k = 0; k < asked->names[i].n; k++)
                                fprintf(stderr, " name%u", asked->names[i].names[k]);
                if (asked->method == METHOD_UPDATE_STATES)
                        fprintf(stderr, " parts %x", asked->states[i].present);
                if (asked->method == METHOD_KV_SET || asked->method == METHOD_KV_SWAP)
                        fprintf(stderr, " value %u ttl %u", asked->values[i].value, asked->values[i].ttl);
                fprintf(stderr, "]");
        }
        if (asked->method == METHOD_KV_SWAP)
                fprintf(stderr, " expected %u", asked->expected);
        if (asked->method == METHOD_SET)
                fprintf(stderr, " fields %x nil %x value %u", asked->fields, asked->nil, asked->key);
}

void history_print(const struct history *history)
{
        fprintf(stderr, "begin (one owner %d, timed %d):", history->begin.one_owner,
                history->begin.names_timed);
        print_model(&history->begin);
        for (size_t i = 0; i < history->n; i++) {
                const struct event *event = &history->events[i];

                fprintf(stderr, "%u..%u", event->sent, event->answered);
                if (event->dead)
                        fprintf(stderr, " not after %u", event->dead);
                if (event->kind == EVENT_SEEN) {
                        fprintf(stderr, " %s:", event->killed ? "killed, seen" : "seen");
                        print_model(&event->seen);
                        continue;
                }
                fprintf(stderr,
                        " lane %u %s%s all %d keep %d name %u place %u limit %" PRId64 " age %" PRId64
                        " now %" PRId64,
                        event->lane, methods[event->asked.method].name, event->repeated ? " (repeated)" : "",
                        event->asked.all, event->asked.keep, event->asked.name, event->asked.name_place,
                        event->asked.limit, event->asked.max_age, event->asked.now_ms);
                print_rows(&event->asked);
                fprintf(stderr, " ->%s",
                        !event->answered           ? " none"
                        : event->error == NO_ERROR ? ""
                                                   : " error ");
                if (event->answered && event->error != NO_ERROR)
                        fprintf(stderr, "%s", wire_error_names[event->error]);
                for (size_t k = 0; k < event->result.len && k < SHOWN_BYTES; k++)
                        fprintf(stderr, " %02x", event->result.data[k]);
                fprintf(stderr, "\n");
        }
}
