/* The contract suite: every part of it, over every backend in the list. */

#include <stdlib.h>
#include <string.h>

#include "contract.h"

struct storage contract_at;
bool contract_kept;

void contract_setup(int backend)
{
        char *list;

        test_remove("data"); /* a failed test's */
        storage_start(&contract_at, backends[backend], "data");
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

int main(void)
{
        Suite *suite = suite_create("contract");
        SRunner *runner;
        int failed;

        for (int backend = 0; backends[backend]; backend++) {
                TCase *tcase = tcase_create(backends[backend]->name);

                tcase_set_timeout(tcase, TEST_TIMEOUT_S);
                contract_sessions(tcase, backend);
                contract_rows(tcase, backend);
                contract_batches(tcase, backend);
                suite_add_tcase(suite, tcase);
        }
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
