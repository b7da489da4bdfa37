/* Data centres: the address of each, and when a session's address follows. */

#include <check.h>
#include <stdlib.h>

#include "../../proto/datacentre.h"
#include "../support/failing_memory.h"

static void check_place(struct identity *identity, const char *address, int port)
{
        ck_assert_int_eq(identity_has(identity, FIELD_SERVER_ADDRESS), address != NULL);
        if (address)
                ck_assert_str_eq(identity->server_address, address);
        ck_assert_int_eq(identity_has(identity, FIELD_PORT), port >= 0);
        if (port >= 0)
                ck_assert_int_eq(identity->number[FIELD_PORT], port);
}

/* Moves to another data centre as `set` does, and returns what followed. */
static unsigned move(struct identity *identity, int dc_id, bool test)
{
        struct identity before;
        unsigned changed = 0;

        identity_init(&before);
        ck_assert(identity_copy(&before, identity));
        identity_set_number(identity, FIELD_DC_ID, dc_id);
        identity_set_number(identity, FIELD_TEST_MODE, test);
        ck_assert(datacentre_follow(identity, &before, &changed));
        identity_wipe(&before);
        return changed;
}

START_TEST(addresses_follow_the_data_centre)
{
        const unsigned both = FIELD_BIT(FIELD_SERVER_ADDRESS) | FIELD_BIT(FIELD_PORT);
        struct identity identity;
        unsigned changed = 0;

        identity_init(&identity);
        ck_assert(datacentre_follow(&identity, NULL, &changed));
        ck_assert_uint_eq(changed, both);
        check_place(&identity, "149.154.167.51", 443);
        ck_assert_uint_eq(move(&identity, 4, false), FIELD_BIT(FIELD_SERVER_ADDRESS));
        check_place(&identity, "149.154.167.91", 443);
        ck_assert_uint_eq(move(&identity, 3, true), both);
        check_place(&identity, "149.154.175.117", 80);
        ck_assert_uint_eq(move(&identity, 4, true), both); /* there is no such test centre */
        check_place(&identity, NULL, -1);
        ck_assert_uint_eq(move(&identity, 5, true), 0);
        ck_assert_uint_eq(move(&identity, 203, false), both);
        check_place(&identity, "91.105.192.100", 443);
        ck_assert_uint_eq(move(&identity, 203, false), 0);
        identity_wipe(&identity);
}
END_TEST

START_TEST(an_address_of_ones_own_stays)
{
        struct identity identity;

        identity_init(&identity);
        ck_assert(identity_set_address(&identity, slice_of("10.0.0.1")));
        ck_assert_uint_eq(move(&identity, 1, false), FIELD_BIT(FIELD_PORT));
        check_place(&identity, "10.0.0.1", 443);
        identity_set_number(&identity, FIELD_PORT, 8443);
        ck_assert_uint_eq(move(&identity, 99, false), 0);
        ck_assert_uint_eq(move(&identity, 2, true), 0);
        check_place(&identity, "10.0.0.1", 8443);
        identity_wipe(&identity);
}
END_TEST

START_TEST(without_memory_the_move_fails)
{
        struct identity identity;
        unsigned changed = 0;
        bool moved;

        identity_init(&identity);
        memory_begin(MEMORY_ONE, 0);
        memory_arm();
        moved = datacentre_follow(&identity, NULL, &changed);
        memory_disarm();
        ck_assert_int_eq(moved, memory.met == 0); /* with a sanitizer no allocation fails */
        identity_wipe(&identity);
}
END_TEST

START_TEST(data_centres_by_address)
{
        ck_assert_int_eq(datacentre_by_address(slice_of("149.154.167.40"))->dc_id, 2);
        ck_assert(datacentre_by_address(slice_of("149.154.167.40"))->test);
        ck_assert(!datacentre_by_address(slice_of("91.105.192.100"))->test);
        ck_assert_ptr_null(datacentre_by_address(slice_of("149.154.167.4")));
        ck_assert_ptr_null(datacentre_by_address(SLICE_NONE));
        ck_assert_ptr_null(datacentre_find(4, true));
        ck_assert_int_eq(datacentre_find(5, false)->port, 443);
}
END_TEST

int main(void)
{
        Suite *suite = suite_create("datacentre");
        TCase *tcase = tcase_create("datacentre");
        SRunner *runner = srunner_create(suite);
        int failed;

        tcase_add_test(tcase, addresses_follow_the_data_centre);
        tcase_add_test(tcase, an_address_of_ones_own_stays);
        tcase_add_test(tcase, without_memory_the_move_fails);
        tcase_add_test(tcase, data_centres_by_address);
        suite_add_tcase(suite, tcase);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
