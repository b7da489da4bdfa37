#ifndef GRAMD_TESTS_CONTRACT_CONTRACT_H
#define GRAMD_TESTS_CONTRACT_CONTRACT_H

/*
 * What backends/backend.h promises, tested with every backend in the list: a new backend in the list is
 * tested, too. Sessions that live only while they are open (memory) are not expected to hold anything when
 * they are opened again.
 */

#include <check.h>

#include "../support/program.h"
#include "../support/storage.h"

#define NIL STORAGE_NIL

extern struct storage contract_at; /* the backend under test, in a folder of its own */
extern bool contract_kept;         /* its sessions outlive their closing */

void contract_setup(int i);
void contract_teardown(void);

extern bool contract_plain_names; /* its names have only letters, digits, `-` and `_` */
extern int contract_rows_max;     /* how many rows are many for this backend */
enum { CONTRACT_ROWS_MAX = 1000 };

/* Closes and opens the session again, if that keeps what was stored. */
void contract_reopen(const char *name);

#define CONTRACT_TEST(name)                                                                                  \
        static void name##_body(void);                                                                       \
        START_TEST(name)                                                                                     \
        {                                                                                                    \
                contract_setup(_i);                                                                          \
                name##_body();                                                                               \
                contract_teardown();                                                                         \
        }                                                                                                    \
        END_TEST                                                                                             \
        static void name##_body(void)

/* Each part adds its tests. */
void contract_sessions(TCase *tcase, int i);
void contract_rows(TCase *tcase, int i);
void contract_batches(TCase *tcase, int i);
void contract_kv(TCase *tcase, int i);

#endif
