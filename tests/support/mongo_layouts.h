#ifndef GRAMD_TESTS_SUPPORT_MONGO_LAYOUTS_H
#define GRAMD_TESTS_SUPPORT_MONGO_LAYOUTS_H

/*
 * Tests that run over both servers and both layouts, LAYOUT_RUNS times each. A test has `server`, the name of
 * the `layout`, and the name of an unused `session`.
 */

#include "mongo_server.h"
#include "program.h"

enum { LAYOUT_RUNS = 2 * MONGO_KINDS };

#define LAYOUT_TEST(name)                                                                                    \
        static void name##_on(struct mongo_server *server, const char *layout, const char *session);         \
        START_TEST(name)                                                                                     \
        {                                                                                                    \
                MONGO_SERVER server = mongo_server_start(.kind = (enum mongo_kind)(_i % MONGO_KINDS));       \
                TEST_FREED char *session = mongo_name("layout");                                             \
                if (server && mongo_server_is_ours(server, #name))                                           \
                        name##_on(server, _i / MONGO_KINDS ? "shared" : "own", session);                     \
        }                                                                                                    \
        END_TEST                                                                                             \
        static void name##_on(struct mongo_server *server, const char *layout, const char *session)

#define LAYOUT_HOST(uri, term)                                                                               \
        daemon_start(.flags = { "--backend", "mongo", "--mongo", uri, "--mongo-term", term,                  \
                                "--mongo-layout", layout })

#endif
