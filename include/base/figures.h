#ifndef BASE_FIGURES_H
#define BASE_FIGURES_H

/*
 * What is counted, in one place: each row gives the field's name, its unit and its meaning. The
 * fields stand next to what they count (a struct figures inside the transaction, the process total
 * inside the connector); the transaction's summary line and, later, the metrics are printouts of
 * this table.
 */

#include <stdint.h>

#define FIGURES(X)                                                                                 \
    X(loads, "documents", "Load requests read")                                                    \
    X(loaded, "documents", "documents found and sent back")                                        \
    X(stores, "documents", "Store requests read")                                                  \
    X(stored_rows, "rows", "rows staged for COPY into targets or merge tables")                    \
    X(deleted_rows, "rows", "rows staged for deletion")                                            \
    X(skipped_deletes, "documents", "hard deletes of documents that never existed")                \
    X(truncated_values, "values", "strings cut at the length that a column can hold")              \
    X(raw_bytes, "bytes", "staged rows before compression")                                        \
    X(staged_bytes, "bytes", "staged rows as uploaded")                                            \
    X(files, "objects", "data objects written")                                                    \
    X(parts, "parts", "parts of multipart uploads")                                                \
    X(s3_requests, "requests", "requests to S3, retries included")                                 \
    X(s3_retries, "requests", "requests to S3 that were sent again")                               \
    X(statements, "statements", "SQL statements sent")                                             \
    X(round_trips, "round trips", "waits for the warehouse")                                       \
    X(sql_retries, "transactions", "apply transactions that were run again")

struct figures {
#define FIGURES_FIELD(name, unit, meaning) uint64_t name;
    FIGURES(FIGURES_FIELD)
#undef FIGURES_FIELD
};

struct figure_row {
    const char *name, *unit, *meaning;
    unsigned long offset; /* of the uint64_t in struct figures */
};

extern const struct figure_row figure_rows[];
extern const unsigned figure_row_count;

void figures_add(struct figures *total, const struct figures *more);

#endif
