#ifndef BASE_FIGURES_H
#define BASE_FIGURES_H

/*
 * What is counted, in one place: each row gives the field's name, when it is counted, its unit and
 * its meaning. One struct figures belongs to the connector and is lent down through the options of
 * each room; the transaction's summary line and the metrics are printouts of it.
 *
 * The transaction that is applied and the next one, whose keys are read meanwhile, overlap. So each
 * row says to which of them it is added at that time: what is STAGED belongs to the one that is
 * read, what is APPLIED to the one before it.
 */

#include "base/error.h"
#include "base/histogram.h"
#include "base/span.h"

#include <stdbool.h>
#include <stdint.h>

enum figure_part { FIGURE_STAGED, FIGURE_APPLIED };

#define FIGURES(X)                                                                                 \
    X(loads, STAGED, "documents", "Load requests read")                                            \
    X(loaded, STAGED, "documents", "documents found and sent back")                                \
    X(stores, STAGED, "documents", "Store requests read")                                          \
    X(stored_rows, STAGED, "rows", "rows staged for COPY into targets or merge tables")            \
    X(deleted_rows, STAGED, "rows", "rows staged for deletion")                                    \
    X(skipped_deletes, STAGED, "documents", "hard deletes of documents that never existed")        \
    X(truncated_values, STAGED, "values", "strings cut at what a column can hold")                 \
    X(replaced_values, STAGED, "values",                                                           \
      "JSON values in which U+FFFD stands for what no column can hold")                            \
    X(raw_bytes, STAGED, "bytes", "staged rows before compression")                                \
    X(staged_bytes, STAGED, "bytes", "staged rows as uploaded")                                    \
    X(files, STAGED, "objects", "data objects written")                                            \
    X(parts, STAGED, "parts", "parts of multipart uploads")                                        \
    X(s3_requests, STAGED, "requests", "requests to S3, retries included")                         \
    X(s3_retries, STAGED, "requests", "requests to S3 that were sent again")                       \
    X(statements, APPLIED, "statements", "SQL statements sent")                                    \
    X(round_trips, APPLIED, "round trips", "waits for the warehouse")                              \
    X(sql_retries, APPLIED, "transactions", "apply transactions that were run again")              \
    X(checked_rows, APPLIED, "rows", "rows that COPY counted and that agreed with what was staged")

/* ---- how long the steps of a transaction take */

#define FIGURE_PHASES(X)                                                                           \
    X(load_reading, STAGED, "from the first Load request to Flush")                                \
    X(load_query, STAGED, "until the first document that was looked up comes, or none does")       \
    X(load_sending, STAGED, "from the first document found to the last")                           \
    X(store_reading, STAGED, "from the first Store request to StartCommit")                        \
    X(staging_end, STAGED, "from StartCommit until the last file is stored")                       \
    X(apply, APPLIED, "from Acknowledge until staged work is applied, retries included")           \
    X(lock_wait, APPLIED, "from BEGIN until the metadata table is locked")                         \
    X(commit, APPLIED, "the COMMIT statement")

#define FIGURE_PHASE_ENUM(name, part, meaning) FIGURE_PHASE_##name,
enum figure_phase { FIGURE_PHASES(FIGURE_PHASE_ENUM) FIGURE_PHASE_COUNT };
#undef FIGURE_PHASE_ENUM

/* ---- what was tried again, and why */

#define FIGURE_RETRIES(X) X(s3) X(lookup) X(apply)
#define FIGURE_CAUSES(X) X(throttled) X(server) X(timeout) X(connection) X(conflict) X(other)

#define FIGURE_RETRY_ENUM(name) FIGURE_RETRY_##name,
enum figure_retry { FIGURE_RETRIES(FIGURE_RETRY_ENUM) FIGURE_RETRY_COUNT };
#undef FIGURE_RETRY_ENUM
#define FIGURE_CAUSE_ENUM(name) FIGURE_CAUSE_##name,
enum figure_cause { FIGURE_CAUSES(FIGURE_CAUSE_ENUM) FIGURE_CAUSE_COUNT };
#undef FIGURE_CAUSE_ENUM

/* ---- work on single tables */

enum { FIGURE_TABLES = 32, FIGURE_TABLE_NAME = 264 };

struct figure_table {
    char name[FIGURE_TABLE_NAME];
    uint64_t copy_ms, merge_ms; /* merge: DELETE too */
    uint64_t copied_rows;
};

/* The first tables that are met have a row each, all others share the last one, "other". */
struct figure_tables {
    struct figure_table items[FIGURE_TABLES + 1];
    unsigned count; /* without "other" */
    bool has_other;
};

/* ---- values that are not stored as they came */

enum { FIGURE_COLUMNS = 32, FIGURE_COLUMN_NAME = 128 };

struct figure_column {
    char table[FIGURE_TABLE_NAME], column[FIGURE_COLUMN_NAME];
    uint64_t truncated, replaced;
};

/* The first columns that are met have a row each, all others share the last one, "other". */
struct figure_columns {
    struct figure_column items[FIGURE_COLUMNS + 1];
    unsigned count; /* without "other" */
    bool has_other;
};

struct figures {
#define FIGURES_FIELD(name, part, unit, meaning) uint64_t name;
    FIGURES(FIGURES_FIELD)
#undef FIGURES_FIELD
    struct histogram phases[FIGURE_PHASE_COUNT];
    uint64_t retries[FIGURE_RETRY_COUNT][FIGURE_CAUSE_COUNT];
    struct figure_tables tables;
    struct figure_columns columns;
    int64_t acknowledged_at; /* seconds since 1970; 0: not yet */
};

struct figure_row {
    const char *name, *unit, *meaning;
    enum figure_part part;
    unsigned long offset; /* of the uint64_t in struct figures */
};

extern const struct figure_row figure_rows[];
extern const unsigned figure_row_count;
uint64_t figure_value(const struct figures *figures, const struct figure_row *row);

struct figure_phase_row {
    const char *name, *meaning;
    enum figure_part part;
};

extern const struct figure_phase_row figure_phase_rows[FIGURE_PHASE_COUNT];
extern const char *const figure_retry_names[FIGURE_RETRY_COUNT];
extern const char *const figure_cause_names[FIGURE_CAUSE_COUNT];

/* Adds counters, durations and retries. */
void figures_add(struct figures *total, const struct figures *more);

/* For all of these figures may be NULL. */
void figures_add_phase(struct figures *figures, enum figure_phase phase, uint64_t ms);
void figures_add_retry(struct figures *figures, enum figure_retry retry, const struct error *err);
/* The row of a table, made when it is met first; NULL only when figures is. */
struct figure_table *figures_table(struct figures *figures, struct span name);

/* Also adds to truncated_values and replaced_values. */
void figures_add_altered(struct figures *figures,
                         struct span table,
                         struct span column,
                         uint64_t truncated,
                         uint64_t replaced);

/* Pure: what kind of trouble an error is, by its code and origin. */
enum figure_cause figure_cause_of(const struct error *err);

#endif
