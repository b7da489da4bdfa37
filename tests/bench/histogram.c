/* A class: the position of a time's highest bit and the next five bits. Below 32 ns, each time. */

#include "histogram.h"

enum { STEP_BITS = 5 };

void histogram_add(struct histogram *histogram, uint64_t ns)
{
        unsigned shift = ns < HISTOGRAM_STEPS ? 0 : (unsigned)(63 - __builtin_clzll(ns)) - STEP_BITS;
        uint64_t at = shift * HISTOGRAM_STEPS + (ns >> shift);

        histogram->classes[at < HISTOGRAM_CLASSES ? at : HISTOGRAM_CLASSES - 1]++;
        histogram->n++;
}

static double middle_us(unsigned at)
{
        unsigned shift = at < 2 * HISTOGRAM_STEPS ? 0 : at / HISTOGRAM_STEPS - 1;

        return ((double)(at - shift * HISTOGRAM_STEPS) + 0.5) * (double)(UINT64_C(1) << shift) / 1000;
}

double histogram_quantile(const struct histogram *histogram, double share)
{
        uint64_t wanted = (uint64_t)((double)histogram->n * share), seen = 0;

        for (unsigned at = 0; at < HISTOGRAM_CLASSES; at++) {
                seen += histogram->classes[at];
                if (seen > wanted)
                        return middle_us(at);
        }
        return 0;
}
