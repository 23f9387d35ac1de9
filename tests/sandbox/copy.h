#ifndef SANDBOX_COPY_H
#define SANDBOX_COPY_H

#include <stdbool.h>
#include <stdint.h>

/*
 * COPY ... FROM 's3://...' as Amazon Redshift runs it. The caller has recognised that a statement
 * is a COPY; everything after that (grammar, credentials, S3, decompression, JSON, conversion,
 * loading, the rows of sys_load_error_detail) happens here, blocking, until the load is over.
 */

struct backend;

/* A role that is attached to the cluster, or a chain of them as its whole text ("arn1,arn2"), or
 * "default"; and the keys that it stands for. */
struct copy_role {
    char *name, *access_key_id, *secret_access_key;
};

struct copy_context {
    /* Where the client's own transaction runs: the table is looked up, locked and filled here,
     * with the client's rights. */
    struct backend *session;
    /* A second connection in autocommit, superuser: what is written through it (the rows of
     * sys_load_error_detail) survives the client's ROLLBACK. */
    struct backend *side;
    bool case_sensitive;              /* enable_case_sensitive_identifier */
    bool json_parse_truncate_strings; /* over-long strings in SUPER are cut, not refused */
    bool discards_rows;            /* lines are counted, not looked at and not kept: for benches */
    const struct copy_role *roles; /* that COPY may use */
    int role_count;
    const char *search_path; /* as SHOW search_path prints it; NULL: the session's own */
};

struct copy_outcome {
    bool ok;
    /* When not ok: the ErrorResponse to send. `detail` may be empty. None of the texts ever holds
     * a credential of the statement. */
    char sqlstate[6];
    char message[2048];
    char detail[2048];
    /* When ok: the text of the INFO notices, one a line (a second line exists only when MAXERROR
     * tolerated some records). */
    char notice[1024];
    /* When ok: what pg_last_copy_count() and pg_last_copy_id() say from now on. When not ok, the
     * id is -1 if the statement failed before loading began; then both keep their old values,
     * otherwise the count becomes 0. */
    int64_t row_count;
    int64_t copy_id;
};

/*
 * Runs one COPY statement (without its semicolon or with it). Outside a transaction block it is a
 * transaction of its own; inside one, a failure after the statement was accepted leaves the
 * session's transaction aborted. `*ret` is always filled in completely.
 */
void copy_execute(struct copy_context *ctx, const char *sql, struct copy_outcome *ret);

#endif
