/*
 * Sessions on MongoDB: no copies of auth keys are left in the daemon's memory. The driver's memory is wiped
 * when it is freed. One buffer of it lives longer: that of a connection, where the last answer with a key
 * stays until the next answers take its place. With TLS there are also OpenSSL's buffers, which are not
 * looked for here.
 */

#include "../support/leftover.h"
#include "../support/mongo_hosts.h"
#include "../support/program.h"

enum { N_KINDS = 4 }; /* both layouts, plain and sealed */

static void expect_copies(struct daemon *d, const struct leftover_key *key, int most, const char *after)
{
        CLIENT other = wire_connect(d);
        int found;

        expect(other, "...", "stats()"); /* the daemon has done what it does after an answer */
        found = leftover_in_memory(d, key);
        ck_assert_msg(found <= most, "%d copies in memory after %s", found, after);
}

START_TEST(no_key_is_left)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        bool is_sealed = _i / 2;
        TEST_FREED char *name = mongo_name("leftover");
        TEST_FREED char *config = leftover_configuration(is_sealed);
        struct leftover_key keys[2];
        int s;

        if (!server || !leftover_is_searchable())
                return;
        leftover_key(&keys[0], 1);
        leftover_key(&keys[1], 2);
        DAEMON d = daemon_start(.config = config, .flags = { "--backend", "mongo", "--mongo", server->uri,
                                                             "--mongo-layout", _i % 2 ? "shared" : "own" });
        CLIENT c = wire_connect(d);

        s = wire_open(c, "'%s', {}", name);
        expect(c, "nil", "set(%d, {auth_key: h'%s'})", s, keys[0].hex);
        expect_copies(d, &keys[0], 0, "set");
        expect(c, "nil", "update_peers(%d, [[8, 80, 'user', 'bert', nil]])", s);
        wire_call(c, "get(%d, ['auth_key'])", s);
        wire_call(c, "export_string(%d, 'telethon')", s);
        expect_copies(d, &keys[0], 0, "get and export_string");
        expect(c, "nil", "set(%d, {auth_key: h'%s'})", s, keys[1].hex);
        expect_copies(d, &keys[0], 0, "its replacement");
        expect_copies(d, &keys[1], 0, "set of another");
        expect(c, "nil", "close(%d)", s);
        s = wire_open(c, "'%s', {}", name);
        expect_copies(d, &keys[1], is_sealed ? 0 : 1, "another open");
        wire_call(c, "delete(%d)", s);
        expect_copies(d, &keys[1], is_sealed ? 0 : 1, "delete");
}
END_TEST

int main(void)
{
        return test_program_repeated("leftover on mongo", (const TTest *const[]){ no_key_is_left, NULL },
                                     N_KINDS);
}
