/*
 * Sample peers. Multiplication by an odd number modulo a power of two is one-to-one. So ids, usernames and
 * phone numbers are spread, and no two are equal.
 */

#include "sample.h"

#define SPREAD UINT64_C(0x9e3779b97f4a7c15)

static uint64_t spread(uint64_t n, unsigned bits)
{
        return (n * SPREAD) & ((UINT64_C(1) << bits) - 1);
}

/* The last `width` digits of `value`. */
static void write_digits(char *at, uint64_t value, unsigned base, int width)
{
        static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";

        while (width-- > 0) {
                at[width] = digits[value % base];
                value /= base;
        }
}

int64_t sample_id(uint64_t n)
{
        return (int64_t)((UINT64_C(1) << 40) + spread(n, 40));
}

void sample_username(uint64_t n, char text[SAMPLE_TEXT_BYTES])
{
        text[0] = 'n';
        write_digits(text + 1, spread(n, 40), 32, 8);
        text[9] = text[10] = text[11] = '_';
        text[12] = 0;
}

void sample_phone_number(uint64_t n, char text[SAMPLE_TEXT_BYTES])
{
        text[0] = '7';
        write_digits(text + 1, spread(n, 36), 10, 11);
        text[12] = 0;
}

void sample_init(struct sample *sample, uint64_t n)
{
        sample->id = sample_id(n);
        sample->access_hash = (int64_t)(n * SPREAD);
        sample_username(n, sample->username);
        sample_phone_number(n, sample->phone_number);
}
