/* Runs every part of the contract over every backend in the list. */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../support/mongo_server.h"
#include "../support/no_fsync.h"
#include "contract.h"

struct storage contract_at;
bool contract_kept;
bool contract_plain_names;
int contract_rows_max;

/*
 * A backend with several dialects is tested with each of them. `_i` = backend + CONTRACT_BACKENDS * dialect.
 */
static const char *const file_dialects[] = { NULL, "pyrofork", "kurigram", "telethon" };

enum { CONTRACT_BACKENDS = 100 };

void contract_setup(int i)
{
        int backend = i % CONTRACT_BACKENDS;
        char *list;

        test_remove("data"); /* a failed test's */
        storage_start(&contract_at, backends[backend], "data");
        contract_at.dialect = file_dialects[i / CONTRACT_BACKENDS];
        storage_open(&contract_at, "probe", NULL);
        list = storage_list(&contract_at, NULL, 0);
        contract_kept = strcmp(list, "probe") == 0;
        free(list);
        ck_assert_int_eq(contract_at.backend->remove(contract_at.session, true, &contract_at.fault), 0);
        contract_at.session = NULL;
}

void contract_teardown(void)
{
        storage_stop(&contract_at);
        test_remove("data");
}

void contract_reopen(const char *name)
{
        if (!contract_kept)
                return;
        storage_close(&contract_at);
        ck_assert_int_eq(storage_try(&contract_at, name, NULL, false), 0);
        ck_assert(!contract_at.opened.created);
}

static void add(Suite *suite, int backend, size_t dialect)
{
        TCase *tcase =
                tcase_create(file_dialects[dialect] ? file_dialects[dialect] : backends[backend]->name);
        int i = backend + (int)dialect * CONTRACT_BACKENDS;

        tcase_set_timeout(tcase, TEST_TIMEOUT_S);
        contract_sessions(tcase, i);
        contract_rows(tcase, i);
        contract_batches(tcase, i);
        contract_kv(tcase, i);
        suite_add_tcase(suite, tcase);
}

static int run(const char *name, int backend)
{
        bool several = strcmp(backends[backend]->name, "file") == 0;
        Suite *suite = suite_create(name);
        SRunner *runner;
        int failed;

        for (size_t i = 0; i < (several ? sizeof(file_dialects) / sizeof(*file_dialects) : 1); i++)
                add(suite, backend, i);
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed;
}

/* Runs the parts over each server that speaks MongoDB's protocol, in each layout. */
static int run_on_servers(int backend)
{
        static const char *const layouts[] = { "own", "shared" };
        int failed = 0;

        for (int kind = 0; kind < MONGO_KINDS; kind++) {
                MONGO_SERVER server = mongo_server_start(.kind = (enum mongo_kind)kind);
                TEST_FREED char *uri = NULL;

                if (!server)
                        continue;
                uri = test_format("%s/?socketTimeoutMS=120000", server->uri); /* it may be a slow one */
                setenv("STORAGE_MONGO_URI", uri, 1);
                contract_rows_max = kind == MONGO_FERRET ? 50 : CONTRACT_ROWS_MAX;
                for (int layout = 0; layout < 2; layout++) {
                        TEST_FREED char *name =
                                test_format("contract on %s, layout %s", server->name, layouts[layout]);
                        TEST_FREED char *number = test_format("%d", layout);

                        setenv("STORAGE_MONGO_LAYOUT", number, 1);
                        contract_plain_names = layout == 0; /* those of databases */
                        failed += run(name, backend);
                }
        }
        return failed;
}

int main(void)
{
        int failed = 0;

        contract_rows_max = CONTRACT_ROWS_MAX;
        for (int backend = 0; backends[backend]; backend++)
                failed += strcmp(backends[backend]->name, "mongo") == 0 ? run_on_servers(backend)
                                                                        : run("contract", backend);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
