#ifndef BASE_HISTOGRAM_H
#define BASE_HISTOGRAM_H

/*
 * How long something took, each time, in fixed buckets: a plain value that allocates nothing. A
 * duration belongs to the first bucket whose bound it does not exceed; what exceeds all of them is
 * counted in one more.
 */

#include <stdint.h>

/* From one turn of the loop to the longest statement that a warehouse is left alone with. */
/* clang-format off */
#define HISTOGRAM_BOUNDS_MS(X)                                                                     \
    X(5) X(10) X(25) X(50) X(100) X(250) X(500) X(1000) X(2500) X(5000) X(10000) X(30000)          \
    X(60000) X(120000) X(300000) X(600000) X(1800000) X(3600000)
/* clang-format on */

#define HISTOGRAM_ONE(ms) +1
enum { HISTOGRAM_BUCKETS = 0 HISTOGRAM_BOUNDS_MS(HISTOGRAM_ONE) };
#undef HISTOGRAM_ONE

extern const uint64_t histogram_bounds_ms[HISTOGRAM_BUCKETS];

struct histogram {
    uint64_t counts[HISTOGRAM_BUCKETS + 1]; /* of each bucket alone; the last: above all bounds */
    uint64_t count, sum_ms;
};

void histogram_add(struct histogram *histogram, uint64_t ms);
void histogram_merge(struct histogram *total, const struct histogram *more);

#endif
