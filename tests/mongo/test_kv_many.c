/*
 * A large key-value area on MongoDB takes no more of the daemon's memory than a small one. The servers of the
 * tests have no index for a page: each reads them all. So there are few keys, and their values are long.
 */

#include <stdlib.h>

#include "../support/many_keys.h"
#include "../support/mongo_layouts.h"

LAYOUT_TEST(many_keys_are_scanned_in_flat_memory)
{
        enum { KEYS = 2000 };
        DAEMON d = LAYOUT_HOST(server->uri, "60");
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'%s', {}", session);

        expect(c, "[]", "kv_scan(%d, '', nil, 1)", s);
        free(mongo_python(server,
                          "c, f = document(names[0])\n"
                          "own = f['_id'] == 0\n"
                          "fields = {'gramd_fence': 1, 'value': b'v' * 4096, 'size': 4105}\n"
                          "for at in range(0, 2000, 500):\n"
                          "    ids = [f'key{i:06}'.encode().hex() for i in range(at, at + 500)]\n"
                          "    c.database['gramd_kv'].insert_many(\n"
                          "        [{'_id': id if own else names[0] + '/' + id}\n"
                          "         | ({} if own else {'session': names[0]}) | fields for id in ids])\n",
                          session, NULL));
        many_keys_scan(d, c, s, KEYS);
}

int main(void)
{
        return test_program_repeated(
                "kv_many", (const TTest *const[]){ many_keys_are_scanned_in_flat_memory, NULL }, LAYOUT_RUNS);
}
