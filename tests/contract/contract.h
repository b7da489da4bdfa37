#ifndef GRAMD_TESTS_CONTRACT_CONTRACT_H
#define GRAMD_TESTS_CONTRACT_CONTRACT_H

/*
 * What backends/backend.h promises, asked of every backend in the list. A backend that is added to the list
 * is tested by that. Sessions that live only while they are open (they are not listed) are not asked what
 * they held before.
 */

#include <check.h>

#include "../support/program.h"
#include "../support/storage.h"

#define NIL STORAGE_NIL

extern struct storage contract_at; /* the backend under test, in a folder of its own */
extern bool contract_kept;         /* its sessions outlive their closing */

void contract_setup(int i);
void contract_teardown(void);

extern bool contract_plain_names; /* names of letters, digits, `-` and `_` only */
extern int contract_rows_max;     /* so many rows are many for this one */
enum { CONTRACT_ROWS_MAX = 1000 };

/* Closes and opens again where that keeps what was stored. */
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

#endif
