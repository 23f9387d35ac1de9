/*
 * connector/measure: all there is to know about the process, as rows for whoever prints them. In:
 * the figures, the ledger, the engine's backlog, the kernel's opinion of the process. Out: rows of
 * the metrics in the table below, which deploy/metrics.md repeats for people.
 */

#include "connector/session.h"

#include "base/log.h"
#include "base/text.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#define PREFIX "materialize_redshift_"

/* ---------------------------------------------------------------- the table */

#define GAUGES(X)                                                                                  \
    X(build_info, PREFIX "build_info", "always 1; the label has the version")                      \
    X(session_open, PREFIX "session_open", "1 while a session is open: what /readyz tells")        \
    X(credit_used, PREFIX "credit_used_bytes", "bytes of documents on their way")                  \
    X(credit_peak, PREFIX "credit_peak_bytes", "the most that were on their way at once")          \
    X(credit_budget, PREFIX "credit_budget_bytes",                                                 \
      "the most that may be; beyond it stdin is not read")                                         \
    X(backlog_bytes, PREFIX "backlog_bytes",                                                       \
      "compressed bytes that this process staged and nobody has applied yet")                      \
    X(backlog_entries, PREFIX "backlog_entries",                                                   \
      "staged pieces of work, one per table and range, that nobody has applied yet")               \
    X(acknowledged, PREFIX "last_acknowledged_timestamp_seconds",                                  \
      "when the last transaction was acknowledged, since 1970; absent before the first")           \
    X(next_acknowledgement, PREFIX "next_acknowledgement_timestamp_seconds",                       \
      "the schedule's next instant, since 1970; absent without a schedule")                        \
    X(ssh_host_key, PREFIX "ssh_host_key_info",                                                    \
      "always 1; the label has the fingerprint of the tunnel's host key; absent without a tunnel") \
    X(resident, "process_resident_memory_bytes", "resident memory")                                \
    X(resident_peak, PREFIX "process_resident_memory_peak_bytes", "the most it has been")          \
    X(started, "process_start_time_seconds", "when the process started, since 1970")

enum {
#define GAUGE_INDEX(id, name, meaning) GAUGE_##id,
    GAUGES(GAUGE_INDEX)
#undef GAUGE_INDEX
        GAUGE_COUNT
};

enum {
#define FIGURE_INDEX(name, part, unit, meaning) FIGURE_##name,
    FIGURES(FIGURE_INDEX)
#undef FIGURE_INDEX
        FIGURE_COUNT
};

enum {
    ROW_FIGURES = GAUGE_COUNT,
    ROW_PHASES = ROW_FIGURES + FIGURE_COUNT,
    ROW_RETRIES,
    ROW_TRANSACTIONS,
    ROW_TABLE_COPY,
    ROW_TABLE_MERGE,
    ROW_TABLE_ROWS,
    ROW_COLUMN_TRUNCATED,
    ROW_COLUMN_REPLACED,
    ROW_LOG_DROPPED,
    ROW_CPU,
    ROW_COUNT
};

static const struct metric metrics[ROW_COUNT] = {
#define GAUGE_ROW(id, name, meaning) {name, METRIC_GAUGE, METRIC_AS_IS, meaning},
    GAUGES(GAUGE_ROW)
#undef GAUGE_ROW
#define FIGURE_ROW(name, part, unit, meaning)                                                      \
    {PREFIX #name "_total", METRIC_COUNTER, METRIC_AS_IS, meaning},
        FIGURES(FIGURE_ROW)
#undef FIGURE_ROW
            [ROW_PHASES] = {PREFIX "phase_seconds", METRIC_HISTOGRAM, METRIC_MS,
                            "how long the phases of transactions take, by phase"},
    [ROW_RETRIES] = {PREFIX "retries_total", METRIC_COUNTER, METRIC_AS_IS,
                     "what was tried again, by what it was and why"},
    [ROW_TRANSACTIONS] = {PREFIX "transactions_total", METRIC_COUNTER, METRIC_AS_IS,
                          "transactions acknowledged, the recovery at the start included"},
    [ROW_TABLE_COPY] = {PREFIX "copy_seconds_total", METRIC_COUNTER, METRIC_MS,
                        "time of COPY while applying, by table; the first 32 tables, then other"},
    [ROW_TABLE_MERGE] = {PREFIX "merge_seconds_total", METRIC_COUNTER, METRIC_MS,
                         "time of MERGE and DELETE, by table; the first 32 tables, then other"},
    [ROW_TABLE_ROWS] = {PREFIX "copied_rows_total", METRIC_COUNTER, METRIC_AS_IS,
                        "rows copied while applying, by table; the first 32 tables, then other"},
    [ROW_COLUMN_TRUNCATED] = {PREFIX "truncated_column_values_total", METRIC_COUNTER, METRIC_AS_IS,
                              "strings that were cut, by table and column; the first 32 columns, "
                              "then other"},
    [ROW_COLUMN_REPLACED] = {PREFIX "replaced_column_values_total", METRIC_COUNTER, METRIC_AS_IS,
                             "JSON values with a character replaced, by table and column; the "
                             "first 32 columns, then other"},
    [ROW_LOG_DROPPED] = {PREFIX "log_lines_dropped_total", METRIC_COUNTER, METRIC_AS_IS,
                         "log lines that nobody took from stderr in time"},
    [ROW_CPU] = {"process_cpu_seconds_total", METRIC_COUNTER, METRIC_MS,
                 "processor time, user and system"},
};

const struct metric *connector_metrics(unsigned *ret_count)
{
    *ret_count = ROW_COUNT;
    return metrics;
}

/* ---------------------------------------------------------------- rows */

struct printer {
    metric_emit_fn *emit;
    void *to;
};

static void emit(const struct printer *printer, unsigned index, uint64_t value)
{
    printer->emit(printer->to,
                  &(struct metric_row){.metric = &metrics[index], .value = (int64_t)value});
}

static void emit_with(const struct printer *printer,
                      unsigned index,
                      const char *label,
                      const char *text,
                      uint64_t value)
{
    printer->emit(printer->to, &(struct metric_row){.metric = &metrics[index],
                                                    .labels = {{label, span_of(text)}},
                                                    .value = (int64_t)value});
}

static void emit_phases(const struct printer *printer, const struct figures *figures)
{
    for (unsigned i = 0; i < FIGURE_PHASE_COUNT; i++) {
        printer->emit(printer->to, &(struct metric_row){
                                       .metric = &metrics[ROW_PHASES],
                                       .labels = {{"phase", span_of(figure_phase_rows[i].name)}},
                                       .histogram = &figures->phases[i],
                                   });
    }
}

static void emit_retries(const struct printer *printer, const struct figures *figures)
{
    for (unsigned i = 0; i < FIGURE_RETRY_COUNT; i++) {
        for (unsigned k = 0; k < FIGURE_CAUSE_COUNT; k++) {
            printer->emit(printer->to, &(struct metric_row){
                                           .metric = &metrics[ROW_RETRIES],
                                           .labels = {{"what", span_of(figure_retry_names[i])},
                                                      {"cause", span_of(figure_cause_names[k])}},
                                           .value = (int64_t)figures->retries[i][k],
                                       });
        }
    }
}

static void
emit_tables(const struct printer *printer, const struct figure_tables *tables, unsigned index)
{
    for (unsigned i = 0; i <= FIGURE_TABLES; i++) {
        const struct figure_table *table = &tables->items[i];
        if (i < tables->count || (i == FIGURE_TABLES && tables->has_other)) {
            emit_with(printer, index, "table", table->name,
                      index == ROW_TABLE_COPY    ? table->copy_ms
                      : index == ROW_TABLE_MERGE ? table->merge_ms
                                                 : table->copied_rows);
        }
    }
}

static void
emit_columns(const struct printer *printer, const struct figure_columns *columns, unsigned index)
{
    for (unsigned i = 0; i <= FIGURE_COLUMNS; i++) {
        const struct figure_column *column = &columns->items[i];
        uint64_t value = index == ROW_COLUMN_TRUNCATED ? column->truncated : column->replaced;
        if (value > 0 && (i < columns->count || (i == FIGURE_COLUMNS && columns->has_other))) {
            printer->emit(printer->to,
                          &(struct metric_row){.metric = &metrics[index],
                                               .labels = {{"table", span_of(column->table)},
                                                          {"column", span_of(column->column)}},
                                               .value = (int64_t)value});
        }
    }
}

/* ---------------------------------------------------------------- the process */

/* The second number of proc(5)'s statm, in pages. A small file that is made when it is read. */
static uint64_t resident_bytes(void)
{
    char text[128];
    uint64_t pages = 0;
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

    if (fd >= 0) {
        (void)close(fd);
    }
    if (len > 0) {
        text[len] = '\0';
        size_t at = strcspn(text, " ");
        at += strspn(text + at, " ");
        (void)text_to_uint64((struct span){text + at, strcspn(text + at, " ")}, &pages);
    }
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t milliseconds(struct timeval time)
{
    return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_usec / 1000;
}

static void emit_process(const struct printer *printer, const struct connector *self)
{
    struct rusage usage;

    CHECK(getrusage(RUSAGE_SELF, &usage) == 0);
    emit(printer, GAUGE_resident, resident_bytes());
    emit(printer, GAUGE_resident_peak, (uint64_t)usage.ru_maxrss * 1024); /* getrusage(2): KiB */
    emit(printer, GAUGE_started, (uint64_t)(self->started_ms / 1000));
    emit(printer, ROW_CPU, milliseconds(usage.ru_utime) + milliseconds(usage.ru_stime));
}

/* ---------------------------------------------------------------- the whole */

static void emit_times(const struct printer *printer, const struct connector *self)
{
    int64_t next_ns = self->txn ? txn_next_acknowledgement_ns(self->txn) : 0;

    if (self->figures.acknowledged_at) {
        emit(printer, GAUGE_acknowledged, (uint64_t)self->figures.acknowledged_at);
    }
    if (next_ns > 0) {
        emit(printer, GAUGE_next_acknowledgement, (uint64_t)(next_ns / 1000000000));
    }
}

static void emit_state(const struct printer *printer, const struct connector *self)
{
    const struct credit *credit = self->options.credit;
    uint64_t entries = 0, bytes = 0;

    if (self->txn) {
        txn_backlog(self->txn, &entries, &bytes);
    }
    emit_with(printer, GAUGE_build_info, "version", PRODUCT_VERSION, 1);
    if (self->has_world && self->world.way && way_host_key(self->world.way)) {
        emit_with(printer, GAUGE_ssh_host_key, "fingerprint", way_host_key(self->world.way), 1);
    }
    emit(printer, GAUGE_session_open, connector_is_ready(self));
    emit(printer, GAUGE_credit_used, credit_used(credit));
    emit(printer, GAUGE_credit_peak, credit_peak(credit));
    emit(printer, GAUGE_credit_budget, credit_budget(credit));
    emit(printer, GAUGE_backlog_bytes, bytes);
    emit(printer, GAUGE_backlog_entries, entries);
}

bool connector_is_ready(const struct connector *self)
{
    switch (self->state) {
    case SESSION_OPENED:
    case SESSION_LOADING:
    case SESSION_FLUSHING:
    case SESSION_STORING:
    case SESSION_STARTING:
    case SESSION_COMMITTED:
        return true;
    case SESSION_IDLE:
    case SESSION_BUSY:
    case SESSION_ENDING:
        break;
    }
    return false;
}

void connector_measure(const struct connector *self, metric_emit_fn *emit_row, void *to)
{
    const struct printer printer = {emit_row, to};
    const struct figures *figures = &self->figures;

    emit_state(&printer, self);
    emit_times(&printer, self);
    for (unsigned i = 0; i < figure_row_count; i++) {
        emit(&printer, ROW_FIGURES + i, figure_value(figures, &figure_rows[i]));
    }
    emit_phases(&printer, figures);
    emit_retries(&printer, figures);
    emit(&printer, ROW_TRANSACTIONS, self->summary.transactions);
    emit_tables(&printer, &figures->tables, ROW_TABLE_COPY);
    emit_tables(&printer, &figures->tables, ROW_TABLE_MERGE);
    emit_tables(&printer, &figures->tables, ROW_TABLE_ROWS);
    emit_columns(&printer, &figures->columns, ROW_COLUMN_TRUNCATED);
    emit_columns(&printer, &figures->columns, ROW_COLUMN_REPLACED);
    emit(&printer, ROW_LOG_DROPPED, log_dropped());
    emit_process(&printer, self);
}
