#ifndef GRAMD_TESTS_BENCH_HISTOGRAM_H
#define GRAMD_TESTS_BENCH_HISTOGRAM_H

/* Counts times in classes that are 3 % wide, for percentiles. */

#include <stdint.h>

enum { HISTOGRAM_STEPS = 32, HISTOGRAM_CLASSES = 60 * HISTOGRAM_STEPS };

struct histogram {
        uint64_t n;
        uint64_t classes[HISTOGRAM_CLASSES];
};

void histogram_add(struct histogram *histogram, uint64_t ns);

/* The percentile in microseconds: this share of the times is not longer. 0 if there are no times. */
double histogram_quantile(const struct histogram *histogram, double share);

#endif
