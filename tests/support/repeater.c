/*
 * A repetition is a request with the bytes of an earlier one. So its msgid is chosen here, where wire.c
 * counts them.
 */
#include "repeater.h"

#include <stdlib.h>
#include <unistd.h>

#include "program.h"

struct wire *greet(struct wire *c, const char *id)
{
        expect(c, "...features: ['leave', 'lease', 'id', 'owner', 'kv', 'pyrotgfork', 'elsewhere']...",
               "hello({client: 'repeater', id: %s})", id);
        return c;
}

struct wire *connect_as(const struct daemon *d, const char *id)
{
        return greet(wire_connect(d), id);
}

void send_as(struct wire *c, uint32_t id, const char *method, int session, const char *parameters)
{
        TEST_FREED char *call = test_format("%s(%d%s)", method, session, parameters);
        size_t len;
        uint8_t *bytes = wire_pack(id, &len, "%s", call);

        wire_raw(c, bytes, len);
        free(bytes);
}

void repeater_write(const char *file, int line, struct wire *c, uint32_t id, const char *expected,
                    const char *method, int session, const char *parameters)
{
        send_as(c, id, method, session, parameters);
        wire_expect_text(file, line, wire_answer(c, id), expected);
}

void await_closed(struct wire *c)
{
        long long start = test_now_ms();

        while (wire_number(wire_call(c, "stats()"), "sessions") > 0) {
                test_time_left(start, "the sessions to be closed");
                usleep(1000);
        }
}
