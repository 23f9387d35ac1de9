#ifndef METRICS_TEXT_H
#define METRICS_TEXT_H

/* Prometheus' text format 0.0.4 ("Exposition formats" in its documentation). Pure. */

#include "base/buf.h"
#include "base/metric.h"

struct metrics_text {
    struct buf *out;
    const struct metric *last; /* whose heading was written */
};

/* A metric_emit_fn; to is the struct metrics_text. */
metric_emit_fn metrics_text_add;

#endif
