#ifndef GRAMD_TESTS_FUZZ_FUZZ_H
#define GRAMD_TESTS_FUZZ_FUZZ_H

/* What every target needs: libFuzzer's functions, a check that stays, and choices that the input makes. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* As assert(), but never compiled out. */
#define require(holds) ((holds) ? (void)0 : require_failed(#holds, __FILE__, __LINE__))

_Noreturn void require_failed(const char *what, const char *file, int line);

/*
 * Makes a directory: in $TMPDIR, where a run clears up what a crash leaves; else in memory, if that can be.
 * It is held open, so that a program that clears up sees that it is used. If it is removed nevertheless, what
 * fails then says so.
 */
void scratch_make(char *path, size_t size);

/* The rest of the input. */
struct choices {
        const uint8_t *at;
        const uint8_t *end;
};

static inline bool choices_left(const struct choices *choices)
{
        return choices->at < choices->end;
}

/* The next byte; 0 when none is left. */
static inline uint8_t choose_byte(struct choices *choices)
{
        return choices_left(choices) ? *choices->at++ : 0;
}

static inline unsigned choose(struct choices *choices, unsigned below)
{
        return choose_byte(choices) % below;
}

#endif
