/* base/histogram: durations in fixed buckets. */

#include "base/histogram.h"

const uint64_t histogram_bounds_ms[HISTOGRAM_BUCKETS] = {
#define HISTOGRAM_BOUND(ms) ms,
    HISTOGRAM_BOUNDS_MS(HISTOGRAM_BOUND)
#undef HISTOGRAM_BOUND
};

void histogram_add(struct histogram *histogram, uint64_t ms)
{
    unsigned bucket = 0;

    while (bucket < HISTOGRAM_BUCKETS && ms > histogram_bounds_ms[bucket]) {
        bucket++;
    }
    histogram->counts[bucket]++;
    histogram->count++;
    histogram->sum_ms += ms;
}

void histogram_merge(struct histogram *total, const struct histogram *more)
{
    for (unsigned i = 0; i <= HISTOGRAM_BUCKETS; i++) {
        total->counts[i] += more->counts[i];
    }
    total->count += more->count;
    total->sum_ms += more->sum_ms;
}
