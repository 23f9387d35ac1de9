/* connector/summary: one line per transaction. In: the figures at two moments. Out: differences. */

#include "connector/summary.h"

#include "base/log.h"
#include "base/size.h"

void summary_stage(struct summary *summary, const struct figures *figures)
{
    summary->staged = *figures;
}

void summary_say(struct summary *summary,
                 const struct figures *figures,
                 uint64_t round,
                 uint64_t now_ms)
{
    struct log_field fields[64] = {LOG_INT("round", round),
                                   LOG_MS("took", now_ms - summary->began_ms)};
    unsigned count = 2;

    CHECK(figure_row_count + FIGURE_PHASE_COUNT + 3 <= ARRAY_LEN(fields));
    for (unsigned i = 0; i < figure_row_count; i++) {
        const struct figure_row *row = &figure_rows[i];
        uint64_t more =
            row->part == FIGURE_STAGED
                ? figure_value(&summary->staged, row) - figure_value(&summary->staged_before, row)
                : figure_value(figures, row) - figure_value(&summary->applied_before, row);
        if (more) {
            fields[count++] = LOG_INT(row->name, more);
        }
    }
    for (unsigned i = 0; i < FIGURE_PHASE_COUNT; i++) {
        const struct figure_phase_row *row = &figure_phase_rows[i];
        uint64_t more_ms =
            row->part == FIGURE_STAGED
                ? summary->staged.phases[i].sum_ms - summary->staged_before.phases[i].sum_ms
                : figures->phases[i].sum_ms - summary->applied_before.phases[i].sum_ms;
        if (more_ms) {
            fields[count++] = LOG_MS(row->name, more_ms);
        }
    }
    fields[count] = LOG_END;
    if (count > 2) {
        log_write(LOG_INFO, "transaction summary", fields);
    }
    summary->staged_before = summary->staged;
    summary->applied_before = *figures;
    summary->began_ms = now_ms;
    summary->transactions++;
}
