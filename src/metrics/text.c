/*
 * metrics/text: rows become lines. In: rows, those of one metric together. Out: text, each metric
 * under its heading. What a metric means it does not know.
 *
 *      # HELP name meaning
 *      # TYPE name histogram
 *      name_bucket{phase="apply",le="0.005"} 3          cumulative
 */

#include "text.h"

#include <inttypes.h>

static const char *const kind_names[] = {
    [METRIC_COUNTER] = "counter",
    [METRIC_GAUGE] = "gauge",
    [METRIC_HISTOGRAM] = "histogram",
};

/* In a heading backslash and line feed are escaped, in a label the quote as well. */
static void add_escaped(struct buf *out, struct span text, bool is_label)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '\n') {
            buf_add_str(out, "\\n");
        } else if (c == '\\' || (is_label && c == '"')) {
            buf_add_byte(out, '\\');
            buf_add_byte(out, c);
        } else {
            buf_add_byte(out, c);
        }
    }
}

/* Milliseconds as seconds without trailing zeros: 0.005, 2.5, 60. */
static void add_seconds(struct buf *out, uint64_t ms)
{
    char fraction[4];
    size_t len = 3;

    buf_add_uint(out, ms / 1000);
    ms %= 1000;
    for (size_t i = 3; i-- > 0; ms /= 10) {
        fraction[i] = (char)('0' + ms % 10);
    }
    while (len > 0 && fraction[len - 1] == '0') {
        len--;
    }
    if (len > 0) {
        buf_add_byte(out, '.');
        buf_add(out, fraction, len);
    }
}

static void add_heading(struct buf *out, const struct metric *metric)
{
    buf_printf(out, "# HELP %s ", metric->name);
    add_escaped(out, span_of(metric->meaning), false);
    buf_printf(out, "\n# TYPE %s %s\n", metric->name, kind_names[metric->kind]);
}

/* Name and labels up to the value. A bucket has a label more; its bound is NULL for the last. */
static void add_series(struct buf *out,
                       const struct metric_row *row,
                       const char *suffix,
                       bool is_bucket,
                       const uint64_t *bound_ms)
{
    char before = '{';

    buf_add_str(out, row->metric->name);
    buf_add_str(out, suffix);
    for (unsigned i = 0; i < METRIC_MAX_LABELS && row->labels[i].name; i++) {
        buf_add_byte(out, before);
        buf_add_str(out, row->labels[i].name);
        buf_add_str(out, "=\"");
        add_escaped(out, row->labels[i].value, true);
        buf_add_byte(out, '"');
        before = ',';
    }
    if (is_bucket) {
        buf_add_byte(out, before);
        buf_add_str(out, "le=\"");
        if (bound_ms) {
            add_seconds(out, *bound_ms);
        } else {
            buf_add_str(out, "+Inf");
        }
        buf_add_byte(out, '"');
        before = ',';
    }
    buf_add_str(out, before == ',' ? "} " : " ");
}

static void add_histogram(struct buf *out, const struct metric_row *row)
{
    const struct histogram *histogram = row->histogram;
    uint64_t count = 0;

    for (unsigned i = 0; i <= HISTOGRAM_BUCKETS; i++) {
        count += histogram->counts[i];
        add_series(out, row, "_bucket", true,
                   i < HISTOGRAM_BUCKETS ? &histogram_bounds_ms[i] : NULL);
        buf_printf(out, "%" PRIu64 "\n", count);
    }
    add_series(out, row, "_sum", false, NULL);
    add_seconds(out, histogram->sum_ms);
    buf_add_byte(out, '\n');
    add_series(out, row, "_count", false, NULL);
    buf_printf(out, "%" PRIu64 "\n", histogram->count);
}

static void add_value(struct buf *out, const struct metric_row *row)
{
    int64_t value = row->value;

    add_series(out, row, "", false, NULL);
    if (row->metric->scale == METRIC_MS) {
        if (value < 0) {
            buf_add_byte(out, '-');
        }
        add_seconds(out, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
    } else {
        buf_add_int(out, value);
    }
    buf_add_byte(out, '\n');
}

void metrics_text_add(void *to, const struct metric_row *row)
{
    struct metrics_text *text = to;

    if (text->last != row->metric) {
        add_heading(text->out, row->metric);
        text->last = row->metric;
    }
    if (row->metric->kind == METRIC_HISTOGRAM) {
        add_histogram(text->out, row);
    } else {
        add_value(text->out, row);
    }
}
