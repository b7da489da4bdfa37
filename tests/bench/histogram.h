#ifndef GRAMD_TESTS_BENCH_HISTOGRAM_H
#define GRAMD_TESTS_BENCH_HISTOGRAM_H

/* Times, counted in classes 3 % wide: percentiles without keeping every time. */

#include <stdint.h>

enum { HISTOGRAM_STEPS = 32, HISTOGRAM_CLASSES = 60 * HISTOGRAM_STEPS };

struct histogram {
        uint64_t n;
        uint64_t classes[HISTOGRAM_CLASSES];
};

void histogram_add(struct histogram *histogram, uint64_t ns);

/* The time in microseconds that this share of all is not over; 0 where there is none. */
double histogram_quantile(const struct histogram *histogram, double share);

#endif
