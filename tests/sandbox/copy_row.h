#ifndef SANDBOX_COPY_ROW_H
#define SANDBOX_COPY_ROW_H

#include "sandbox/copy_value.h"

#include <stdbool.h>
#include <stdint.h>

/* Turns JSON objects into rows for a fixed list of columns. */
struct copy_rows {
    const struct copy_column *columns; /* lent, in the order of the row */
    int column_count;
    bool ignore_case, noshred;
    struct copy_convert *convert; /* lent */

    struct json_value *found; /* per column; kind JSON_NULL where the object has no such key */
    int32_t *expected;        /* column of the n-th key of the previous object, -1 for none */
    int32_t *index;           /* hash of the name to column, -1 for none */
    uint32_t index_mask;
    struct bytes key;
};

void copy_rows_start(struct copy_rows *r);
void copy_rows_done(struct copy_rows *r);

/* Appends the row and its newline to `out`. False: `convert->fault` is set, `*ret_column` is the
 * column or -1 when the object is no JSON, and `out` is as long as before. */
bool copy_rows_put(struct copy_rows *r, struct piece object, struct bytes *out, int *ret_column);

#endif
