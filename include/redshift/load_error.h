#ifndef REDSHIFT_LOAD_ERROR_H
#define REDSHIFT_LOAD_ERROR_H

/* A failed COPY explained: rows of sys_load_error_detail become one sentence and advice. Pure. */

#include "base/error.h"
#include "base/span.h"

#include <stdint.h>

struct rs_load_error {
    int code;
    struct span file, column, column_type, column_length, message; /* blank padded as they come */
    int64_t line;
    uint64_t row_count; /* how many rows of errors there were */
};

/* Puts what is known in front of the server's own error: table, column with type and length, file
 * and line, the text, and what to do about this code as a hint. Consumes err. */
struct error *rs_explain_load_error(struct error *err,
                                    struct span table_identifier,
                                    const struct rs_load_error *row) MUST_CHECK;

#endif
