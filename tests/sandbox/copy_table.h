#ifndef SANDBOX_COPY_TABLE_H
#define SANDBOX_COPY_TABLE_H

#include "sandbox/copy.h"
#include "sandbox/copy_value.h"

/* The target of a COPY as the session sees it, and who the session is. */
struct copy_table {
    char *name;         /* full Redshift name, without schema: error texts use it */
    char *schema_name;  /* PostgreSQL's */
    char *backend_name; /* quoted "schema"."table" for PostgreSQL */
    char *oid;
    struct copy_column *columns; /* of the row: the column list, or all but identity columns */
    int column_count;
    bool owner; /* the session's role owns the table or is superuser */
    /* PostgreSQL would let the session take a write lock. Not so for temporary tables, which
     * nobody else writes, and for roles that may only INSERT. */
    bool lockable;

    char *user_id, *session_id, *transaction_id, *database;
};

/* Reads the catalog through ctx->session. False: `ret` is filled as a failed outcome (42P01 for a
 * missing table, 42703 for a missing column). `table` is ended by copy_table_done either way. */
bool copy_table_read(struct copy_context *ctx,
                     const struct copy_statement *st,
                     struct copy_table *table,
                     struct copy_outcome *ret);
void copy_table_done(struct copy_table *table);

/* Fills a failed outcome from what PostgreSQL said. */
struct backend_result;
void copy_fail_backend(struct copy_outcome *ret, const struct backend_result *result);

#endif
