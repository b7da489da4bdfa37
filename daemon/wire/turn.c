/* Connections that wait for a turn are in a queue of their account, accounts in a queue of the wire. */

#include "turn.h"

void turn_begin(struct connection *connection)
{
        if (connection->used.number == connection->wire->turn)
                return;
        connection->used.number = connection->wire->turn;
        connection->used.messages = connection->used.bytes = connection->used.rows = 0;
}

void turn_use(struct connection *connection, size_t rows, size_t bytes)
{
        turn_begin(connection);
        connection->used.rows += rows;
        connection->used.bytes += bytes;
        connection->wire->work += rows / WORK_ROWS + bytes / WORK_ANSWERED;
}

void turn_use_read(struct connection *connection, size_t bytes)
{
        turn_begin(connection);
        connection->used.bytes += bytes;
        connection->wire->work += WORK_CALL + bytes / WORK_RECEIVED;
}

bool turn_is_used(const struct connection *connection)
{
        const struct turn_use *used = &connection->used;

        return used->number == connection->wire->turn &&
               (used->messages >= TURN_MESSAGES || used->bytes >= TURN_BYTES || used->rows >= TURN_ROWS);
}

bool turn_is_over(const struct wire *wire)
{
        return wire->work >= (wire->n_accounts > 1 ? TURN_WORK : TURN_WORK_ALONE);
}

/* ---- waiting ---- */

/* The loop polls without sleeping while this runs. */
static void on_awake(uv_idle_t *awake)
{
        (void)awake;
}

void wire_stay_awake(struct wire *wire)
{
        uv_idle_start(&wire->awake, on_awake);
}

void turn_wait(struct connection *connection)
{
        struct wire *wire = connection->wire;
        struct account *account = connection->account;

        if (!link_empty(&connection->waiting))
                return;
        connection->polled = 0;
        link_append(&account->waiting, &connection->waiting);
        if (link_empty(&account->turn))
                link_append(&wire->waiting, &account->turn);
        wire_stay_awake(wire);
}

void turn_leave(struct connection *connection)
{
        if (link_empty(&connection->waiting))
                return;
        link_remove(&connection->waiting);
        if (link_empty(&connection->account->waiting))
                link_remove(&connection->account->turn);
}

/* ---- the next turn ---- */

void turns_init(struct wire *wire)
{
        link_init(&wire->waiting);
        wire->turn = 1;
        uv_idle_init(wire->loop, &wire->awake);
}

/* False: its first connection waits again before it has had this turn. */
static bool serve(struct account *account)
{
        struct connection *connection = LINK_OF(account->waiting.next, struct connection, waiting);

        if (connection->used.number == connection->wire->turn)
                return false;
        turn_begin(connection);
        link_remove(&account->turn);
        link_remove(&connection->waiting);
        if (!link_empty(&account->waiting))
                link_append(&account->wire->waiting, &account->turn);
        connection_take_turn(connection);
        return true;
}

bool wire_next_turn(struct wire *wire)
{
        bool waited = !link_empty(&wire->waiting);

        wire->turn++;
        wire->work = wire->flushed = wire->refused = 0;
        while (!link_empty(&wire->waiting) && !turn_is_over(wire)) {
                if (!serve(LINK_OF(wire->waiting.next, struct account, turn)))
                        break;
                wire->work++; /* so that this ends, whatever the connections do */
        }
        if (link_empty(&wire->waiting) && link_empty(&wire->unflushed))
                uv_idle_stop(&wire->awake);
        return waited || !link_empty(&wire->unflushed);
}
