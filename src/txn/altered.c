/*
 * txn/altered: values that are not stored as they came. In: what writing a binding's rows taught.
 * Out: figures by table and column, and a warning per kind of change that names the columns.
 */

#include "txn/engine.h"

#include "base/log.h"

#include <inttypes.h>

/* Names of fields may be long; the metrics have all of them. */
#define LIST_BYTES 1024

struct change {
    uint64_t total;
    struct buf columns; /* "a: 3, b: 1" */
};

static void add(struct change *change, struct span field, uint64_t count)
{
    if (count > 0) {
        change->total += count;
        buf_printf(&change->columns, "%s%.*s: %" PRIu64, change->columns.len ? ", " : "",
                   SPAN_FMT(field), count);
    }
}

/* The same column of the rows of every role. */
static struct row_column_facts add_up(const struct bound *bound, unsigned column)
{
    struct row_column_facts sum = {0};

    for (unsigned role = 0; role < ENTRY_ROLES; role++) {
        if (bound->writers[role]) {
            sum.truncated += bound->facts[role].columns[column].truncated;
            sum.replaced += bound->facts[role].columns[column].replaced;
        }
    }
    return sum;
}

void altered_report(struct txn *txn, const struct bound *bound)
{
    struct change truncated = {0}, replaced = {0};

    buf_init(&truncated.columns, LIST_BYTES);
    buf_init(&replaced.columns, LIST_BYTES);
    for (unsigned i = 0; i < bound->table.column_count; i++) {
        const struct row_column_facts column = add_up(bound, i);
        if (column.truncated == 0 && column.replaced == 0) {
            continue;
        }
        add(&truncated, bound->columns[i].field, column.truncated);
        add(&replaced, bound->columns[i].field, column.replaced);
        figures_add_altered(txn->options.figures, bound->table.identifier, bound->columns[i].field,
                            column.truncated, column.replaced);
    }
    if (truncated.total > 0) {
        log_event(LOG_WARN, "strings were cut at what a column can hold",
                  LOG_INT("round", txn->round), LOG_SPAN("table", bound->table.identifier),
                  LOG_INT("values", truncated.total),
                  LOG_SPAN("columns", buf_view(&truncated.columns)), LOG_END);
    }
    if (replaced.total > 0) {
        log_event(LOG_WARN, "characters that no column can hold were replaced",
                  LOG_INT("round", txn->round), LOG_SPAN("table", bound->table.identifier),
                  LOG_INT("values", replaced.total),
                  LOG_SPAN("columns", buf_view(&replaced.columns)), LOG_END);
    }
    buf_done(&truncated.columns);
    buf_done(&replaced.columns);
}
