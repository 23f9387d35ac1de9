#ifndef REDSHIFT_SQL_H
#define REDSHIFT_SQL_H

/*
 * Every SQL text that the product sends, in one place; each function appends to a buf and each has
 * a golden file. Pure. Values never stand in these texts except where a COPY needs its credentials;
 * everything else is a parameter ($1, ...).
 */

#include "base/arena.h"
#include "base/buf.h"
#include "base/secret.h"
#include "base/span.h"
#include "redshift/type.h"

struct rs_column {
    struct span field;      /* Flow's name: the member name in staged rows */
    struct span identifier; /* as written in SQL, quoted when needed */
    struct rs_type type;
    struct span comment; /* for COMMENT ON COLUMN */
    bool is_key, is_document;
    struct rs_domain domain; /* what COPY takes for it */
    /* Actual byte length of an existing VARCHAR column, 0 when it is none. */
    uint32_t char_max_length;
    /* Its property of the root object, when it is one and no column before is the same: a document
     * without a column of its own is rebuilt from these. ptr NULL: none. */
    struct span property;
    /* Optional and never null by its schema: stripped when a document is rebuilt. */
    bool must_strip_null;
};

struct rs_table {
    struct span path[2]; /* schema and table, or table alone */
    unsigned path_count;
    struct span identifier; /* the path as written in SQL */
    struct span comment;
    const struct rs_column *columns; /* keys, values, document */
    unsigned column_count, key_count;
    bool has_document;
    bool delta_updates;
};

/* ---- set-up (Apply). Layout is the original's, it is also the action description. */
void rs_sql_create_schema(struct buf *out, struct span schema);
/* "\nCREATE TABLE IF NOT EXISTS ...;\n\nCOMMENT ON ...;\n": one simple query */
void rs_sql_create_table(struct buf *out, const struct rs_table *table);
void rs_sql_add_column(struct buf *out,
                       const struct rs_table *table,
                       const struct rs_column *column);
void rs_sql_drop_table(struct buf *out, const struct rs_table *table);
void rs_sql_truncate(struct buf *out, const struct rs_table *table);

/* ---- another type for a column: a temporary column beside it, filled, and put in its place. The
 * temporary column's name tells a later process how far this went. */
void rs_add_temporary_name(struct buf *out, struct span field); /* not quoted */
void rs_sql_add_temporary(struct buf *out,
                          const struct rs_table *table,
                          const struct rs_column *column);
struct rs_migration {
    const struct rs_column *column; /* as it is to be */
    struct span data_type;          /* as it is; there is a cast (rs_type_can_migrate) */
};
/* One statement for all of them: each goes over the whole table. */
void rs_sql_fill_temporaries(struct buf *out,
                             const struct rs_table *table,
                             const struct rs_migration *migrations,
                             unsigned count);
void rs_sql_drop_column(struct buf *out,
                        const struct rs_table *table,
                        const struct rs_column *column);
void rs_sql_drop_temporary(struct buf *out,
                           const struct rs_table *table,
                           const struct rs_column *column);
void rs_sql_rename_temporary(struct buf *out,
                             const struct rs_table *table,
                             const struct rs_column *column);
/* The texts of COMMENT ON, not yet quoted. */
void rs_add_table_comment(struct buf *out, struct span task, struct span collection);
void rs_add_column_comment(struct buf *out, const struct rs_field *field);

/* ---- the metadata table flow_checkpoints_v1: schema is empty for the default one */
void rs_metadata_table(struct arena *arena, struct span schema, struct rs_table *ret);
void rs_sql_add_tokens_column(struct buf *out, const struct rs_table *metadata);
/* $1 task: fence, key_begin, key_end, checkpoint, checkpoint_tokens (hex) of all its rows */
void rs_sql_read_rows(struct buf *out, const struct rs_table *metadata);
/* $1 fence + 1 is set by the caller: UPDATE fence of the row $2 task, $3 begin, $4 end */
void rs_sql_update_fence(struct buf *out, const struct rs_table *metadata);
/* $1 task, $2 begin, $3 end, $4 fence, $5 checkpoint (or NULL), $6 tokens (or NULL) */
void rs_sql_insert_row(struct buf *out, const struct rs_table *metadata);
/* $1 tokens, $2 task, $3 begin, $4 end, $5 fence: matches one row or this instance was replaced */
void rs_sql_write_tokens(struct buf *out, const struct rs_table *metadata);
void rs_sql_lock(struct buf *out, const struct rs_table *metadata);

/* ---- transactions */
/* A session setting, before BEGIN: over-long strings inside SUPER are cut by COPY, not refused. */
void rs_sql_truncate_strings(struct buf *out);
/* Temp table names are stable, so that the server's compile cache hits: flow_temp_table_<n>,
 * flow_temp_table_<n>_deleted. kind decides which columns: keys alone or all. */
enum rs_temp { RS_TEMP_LOAD, RS_TEMP_DELETE, RS_TEMP_STORE };
/* key_text_bytes: the longest text key staged; keys are never narrower than that or than the
 * target. Text columns take the target's actual width. */
void rs_sql_create_temp(struct buf *out,
                        const struct rs_table *table,
                        unsigned binding,
                        enum rs_temp kind,
                        uint32_t key_text_bytes);
/* In the transaction that created it. */
void rs_sql_drop_temp(struct buf *out, unsigned binding, enum rs_temp kind);

struct rs_copy {
    struct span manifest_url; /* s3://bucket/key */
    const char *iam_role;     /* "default", or ARNs divided by commas; NULL or "": these keys: */
    const char *access_key_id;
    const struct secret *secret_access_key;
    const struct secret *session_token; /* or NULL */
    const char *region;
    bool zstd;             /* else gzip */
    bool case_sensitive;   /* JSON 'auto' instead of 'auto ignorecase' */
    bool truncate_columns; /* never for keys: cut keys could become equal */
};
/* Into the temp table of this kind, or into the target itself. The text holds credentials: the
 * caller wipes the buf (secret_wipe) when it was sent. */
void rs_sql_copy_temp(struct buf *out,
                      const struct rs_table *table,
                      unsigned binding,
                      enum rs_temp kind,
                      const struct rs_copy *copy);
void rs_sql_copy_target(struct buf *out, const struct rs_table *table, const struct rs_copy *copy);
/* Of one file with one member, n, into a temporary table of its own: can the cluster read there? */
void rs_sql_create_proof(struct buf *out);
void rs_sql_copy_proof(struct buf *out, const struct rs_copy *copy);
void rs_sql_drop_proof(struct buf *out);
void rs_sql_copy_count(struct buf *out); /* SELECT pg_last_copy_count() */
void rs_sql_merge(struct buf *out, const struct rs_table *table, unsigned binding);
void rs_sql_delete(struct buf *out, const struct rs_table *table, unsigned binding);
/* $1 boundary time */
void rs_sql_delete_before(struct buf *out,
                          const struct rs_table *table,
                          struct span published_at_identifier);
void rs_sql_widen(struct buf *out, const struct rs_table *table, const struct rs_column *column);

/* One SELECT <binding>, <document> per table with keys staged, joined with UNION ALL. A table
 * without a document's column gives an object of the root's properties. */
/* bounded: by key column, whether it is to lie between two parameters, the next two from *param on;
 * NULL for none. */
void rs_sql_load(struct buf *out,
                 const struct rs_table *table,
                 unsigned binding,
                 bool first,
                 const bool *bounded,
                 unsigned *param);

/* ---- what a statement waits for: asked on another connection. Texts of others' statements are not
 * asked for. */
/* A session setting: the server cancels what takes longer, waiting included. */
void rs_sql_statement_timeout(struct buf *out, uint64_t timeout_ms);
/* $1 server pid of the session that waits: pid, user, seconds since its transaction began, of the
 * oldest that holds the lock it waits for. User and seconds are NULL where they may not be seen
 * (svv_transactions shows a user its own). No row: it does not wait for a lock of a table. */
void rs_sql_lock_holder(struct buf *out);
/* $1 server pid: how many of the session's statements are in a queue of the workload management. */
void rs_sql_queued(struct buf *out);

/* ---- explaining a failed COPY */
/* The latest row of sys_load_error_detail whose file lies under one of the prefixes
 * (s3://bucket/...; escaped here): error_code, file_name, line_number, column_name, column_type,
 * column_length, error_message, number of such rows. After the ROLLBACK. */
void rs_sql_load_errors(struct buf *out, const struct span *url_prefixes, unsigned count);

#endif
