#ifndef BASE_METRIC_H
#define BASE_METRIC_H

/*
 * What one room measures and another prints, without knowing each other. A metric is described
 * once, in a constant table; its rows are handed over when somebody asks. Values are whole numbers:
 * durations are in milliseconds here and become seconds when they are printed.
 */

#include "base/histogram.h"
#include "base/span.h"

#include <stdint.h>

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };
enum metric_scale {
    METRIC_AS_IS,
    METRIC_MS /* milliseconds, shown as seconds; a histogram's always */
};

struct metric {
    const char *name; /* Prometheus' rules: the unit at the end, _total for counters */
    enum metric_kind kind;
    enum metric_scale scale;
    const char *meaning; /* one line */
};

struct metric_label {
    const char *name;
    struct span value; /* any text */
};

enum { METRIC_MAX_LABELS = 2 };

struct metric_row {
    const struct metric *metric;
    struct metric_label labels[METRIC_MAX_LABELS]; /* those in use have a name */
    int64_t value;                                 /* of counters and gauges */
    const struct histogram *histogram;             /* of histograms */
};

/* One row; lent for the call. All rows of a metric come one after another. */
typedef void metric_emit_fn(void *to, const struct metric_row *row);
/* Hands over all rows as they are now. */
typedef void metric_measure_fn(void *ctx, metric_emit_fn *emit, void *to);

#endif
