#ifndef SANDBOX_COPY_LOAD_H
#define SANDBOX_COPY_LOAD_H

/* One COPY under way. Private to copy.c, which drives it, copy_source.c, which finds its files, and
 * copy_record.c, which writes about it. */

#include "sandbox/copy.h"
#include "sandbox/copy_bytes.h"
#include "sandbox/copy_manifest.h"
#include "sandbox/copy_row.h"
#include "sandbox/copy_statement.h"
#include "sandbox/copy_table.h"
#include "sandbox/copy_unpack.h"
#include "sandbox/s3_read.h"

#include <stdbool.h>
#include <stdint.h>

struct load {
    struct copy_context *ctx;
    struct copy_outcome *ret;
    struct copy_statement st;
    struct copy_table table;
    struct s3_reader *reader;
    struct copy_convert convert;
    struct copy_rows rows;
    struct json_split split;
    struct unpack *unpack;
    struct bytes out;

    struct manifest files; /* what is to be loaded, from the manifest or the listing */
    const struct manifest_entry *file;
    char file_url[1200];

    int64_t row_count, error_count, byte_count;
    int file_count;
    int64_t started;      /* seconds since 1970 */
    bool own_transaction; /* the session was idle: BEGIN and COMMIT are ours */
    bool copying;         /* backend_copy_begin answered, end or fail is due */
    bool backend_lost;
};

/* ---- copy_source.c */

/* Fills l->files from the manifest or the listing. False: l->ret says why. */
bool copy_find_files(struct load *l);
/* Fails the statement in S3's words, with Redshift's block in DETAIL. Returns false. */
bool copy_fail_s3(struct load *l, const struct s3_failure *failure, const char *context);
/* That block, around the message already in l->ret. */
void copy_put_detail(struct load *l, const char *context);

/* ---- copy_record.c: rows of bookkeeping, written beside the client's transaction. The outcome of
 * the COPY does not depend on them. */

/* l->convert.fault becomes a row of sys_load_error_detail and of stl_load_errors; the column is -1
 * when the fault is not in one. */
void copy_record_fault(struct load *l, int column, int64_t line);
/* A row of sys_load_history. */
void copy_record_load(struct load *l, bool ok);

#endif
