/*
 * redshift/sql: every SQL text that the product sends. Comes in: tables and columns as the
 * connector resolved them; goes out: text for the warehouse connection, and for the runtime as the
 * description of what Apply did. It never knows when a statement is sent or what it answered.
 *
 * The dialect is PostgreSQL 8.0 with Redshift's own statements: no ON CONFLICT, no RETURNING, one
 * column per ADD COLUMN, no alias on MERGE's target. Texts are stable from one transaction to the
 * next (temp table names included), so that the server finds its compiled plans again; only the
 * COPY's manifest and keys change.
 */

#include "redshift/sql.h"

#include "base/check.h"
#include "redshift/dialect.h"

#include <string.h>

/* TEXT without a length is VARCHAR(256), and lengths are bytes (r_Character_types). */
#define TEXT_BYTES 256U
#define VARCHAR_MAX_BYTES 65535U

#define METADATA_TABLE "flow_checkpoints_v1"
#define TOKENS_COLUMN "checkpoint_tokens"
#define TEMPORARY_SUFFIX "_flowtmp1"

/* The temp table beside a target that may have no alias: no target is likely to have this name. */
#define STAGED "flow_staged"

/* sys_load_error_detail compares file names with LIKE; '^' stands for itself in no S3 key of ours,
 * and needs no doubling inside a literal as a backslash would. */
#define LIKE_ESCAPE '^'

static void add_comment(struct buf *out, struct span comment);
static void add_alter(struct buf *out, const struct rs_table *table, const char *what);
static void add_temporary(struct buf *out, const struct rs_column *column);
static void add_temp_name(struct buf *out, unsigned binding, enum rs_temp kind);
static void add_temp_column(struct buf *out,
                            const struct rs_column *column,
                            enum rs_temp kind,
                            uint32_t key_text_bytes);
static void add_temp_distribution(struct buf *out, const struct rs_table *table);
static void add_identifiers(struct buf *out, const struct rs_table *table, const char *prefix);
static void
add_key_match(struct buf *out, const struct rs_table *table, struct span left, const char *right);
static void add_copy(struct buf *out, const struct rs_copy *copy);
static void add_credentials(struct buf *out, const struct rs_copy *copy);
static void add_like_prefix(struct buf *out, struct span prefix);
static void add_row_condition(struct buf *out);
static unsigned temp_column_count(const struct rs_table *table, enum rs_temp kind);

/* ---------------------------------------------------------------- what is waited for */

void rs_sql_statement_timeout(struct buf *out, uint64_t timeout_ms)
{
    buf_add_str(out, "SET statement_timeout TO ");
    buf_add_uint(out, timeout_ms);
}

void rs_sql_lock_holder(struct buf *out)
{
    buf_add_str(out,
                "SELECT holder.pid, TRIM(t.txn_owner), "
                "CAST(EXTRACT(EPOCH FROM GETDATE()) - EXTRACT(EPOCH FROM t.txn_start) AS BIGINT) "
                "FROM pg_locks AS waiter "
                "JOIN pg_locks AS holder ON holder.relation = waiter.relation "
                "AND holder.database = waiter.database AND holder.pid <> waiter.pid "
                "LEFT JOIN svv_transactions AS t ON t.pid = holder.pid "
                "WHERE waiter.pid = $1 AND NOT waiter.granted AND holder.granted "
                "ORDER BY t.txn_start LIMIT 1");
}

void rs_sql_queued(struct buf *out)
{
    buf_add_str(out, "SELECT COUNT(*) FROM sys_query_history "
                     "WHERE session_id = $1 AND status = 'queued'");
}

/* ---------------------------------------------------------------- set-up */

void rs_sql_create_schema(struct buf *out, struct span schema)
{
    buf_add_str(out, "CREATE SCHEMA ");
    rs_add_identifier(out, schema);
    buf_add_byte(out, ';');
}

void rs_sql_create_table(struct buf *out, const struct rs_table *table)
{
    buf_add_str(out, "\nCREATE TABLE IF NOT EXISTS ");
    buf_add_span(out, table->identifier);
    buf_add_str(out, " (\n");
    for (unsigned i = 0; i < table->column_count; i++) {
        const struct rs_column *column = &table->columns[i];
        buf_add_byte(out, '\t');
        buf_add_span(out, column->identifier);
        buf_add_byte(out, ' ');
        buf_add_span(out, column->type.ddl);
        buf_add_str(out, i + 1 < table->column_count ? ",\n" : "\n");
    }
    buf_add_str(out, ");\n\n");
    buf_add_str(out, "COMMENT ON TABLE ");
    buf_add_span(out, table->identifier);
    add_comment(out, table->comment);
    for (unsigned i = 0; i < table->column_count; i++) {
        buf_add_str(out, "COMMENT ON COLUMN ");
        buf_add_span(out, table->identifier);
        buf_add_byte(out, '.');
        buf_add_span(out, table->columns[i].identifier);
        add_comment(out, table->columns[i].comment);
    }
}

void rs_sql_add_column(struct buf *out,
                       const struct rs_table *table,
                       const struct rs_column *column)
{
    buf_add_str(out, "ALTER TABLE ");
    buf_add_span(out, table->identifier);
    buf_add_str(out, " ADD COLUMN ");
    buf_add_span(out, column->identifier);
    buf_add_byte(out, ' ');
    buf_add_span(out, column->type.ddl);
    buf_add_byte(out, ';');
}

void rs_sql_drop_table(struct buf *out, const struct rs_table *table)
{
    buf_add_str(out, "DROP TABLE ");
    buf_add_span(out, table->identifier);
    buf_add_byte(out, ';');
}

void rs_sql_truncate(struct buf *out, const struct rs_table *table)
{
    buf_add_str(out, "TRUNCATE TABLE ");
    buf_add_span(out, table->identifier);
    buf_add_byte(out, ';');
}

/* ---------------------------------------------------------------- another type for a column */

void rs_add_temporary_name(struct buf *out, struct span field)
{
    buf_add_span(out, field);
    buf_add_str(out, TEMPORARY_SUFFIX);
}

void rs_sql_add_temporary(struct buf *out,
                          const struct rs_table *table,
                          const struct rs_column *column)
{
    add_alter(out, table, "ADD COLUMN ");
    add_temporary(out, column);
    buf_add_byte(out, ' ');
    buf_add_span(out, column->type.ddl);
    buf_add_byte(out, ' ');
}

void rs_sql_fill_temporaries(struct buf *out,
                             const struct rs_table *table,
                             const struct rs_migration *migrations,
                             unsigned count)
{
    buf_add_str(out, "UPDATE ");
    buf_add_span(out, table->identifier);
    buf_add_str(out, " SET ");
    for (unsigned i = 0; i < count; i++) {
        const struct rs_column *column = migrations[i].column;
        buf_add_str(out, i > 0 ? ", " : "");
        add_temporary(out, column);
        buf_add_str(out, " = ");
        CHECK(
            rs_type_add_migration(out, &column->type, migrations[i].data_type, column->identifier));
    }
    buf_add_str(out, " WHERE true;");
}

void rs_sql_drop_column(struct buf *out,
                        const struct rs_table *table,
                        const struct rs_column *column)
{
    add_alter(out, table, "DROP COLUMN ");
    buf_add_span(out, column->identifier);
}

void rs_sql_drop_temporary(struct buf *out,
                           const struct rs_table *table,
                           const struct rs_column *column)
{
    add_alter(out, table, "DROP COLUMN ");
    add_temporary(out, column);
}

void rs_sql_rename_temporary(struct buf *out,
                             const struct rs_table *table,
                             const struct rs_column *column)
{
    add_alter(out, table, "RENAME COLUMN ");
    add_temporary(out, column);
    buf_add_str(out, " TO ");
    buf_add_span(out, column->identifier);
}

static void add_alter(struct buf *out, const struct rs_table *table, const char *what)
{
    buf_add_str(out, "ALTER TABLE ");
    buf_add_span(out, table->identifier);
    buf_add_byte(out, ' ');
    buf_add_str(out, what);
}

static void add_temporary(struct buf *out, const struct rs_column *column)
{
    struct buf name;

    buf_init(&name, column->field.len + sizeof TEMPORARY_SUFFIX);
    rs_add_temporary_name(&name, column->field);
    rs_add_identifier(out, buf_view(&name));
    buf_done(&name);
}

/* ---------------------------------------------------------------- comments */

void rs_add_table_comment(struct buf *out, struct span task, struct span collection)
{
    buf_add_str(out, "Generated for materialization ");
    buf_add_span(out, task);
    buf_add_str(out, " of collection ");
    buf_add_span(out, collection);
}

void rs_add_column_comment(struct buf *out, const struct rs_field *field)
{
    if (field->title.len > 0) {
        buf_add_span(out, field->title);
        buf_add_byte(out, '\n');
    }
    if (field->description.len > 0) {
        buf_add_span(out, field->description);
        buf_add_byte(out, '\n');
    }
    buf_add_str(out, field->is_explicit ? "user-provided" : "auto-generated");
    buf_add_str(out, " projection of JSON at: ");
    buf_add_span(out, field->ptr);
    buf_add_str(out, " with inferred types: [");
    for (unsigned i = 0; i < field->type_name_count; i++) {
        if (i > 0) {
            buf_add_byte(out, ' ');
        }
        buf_add_span(out, field->type_names[i]);
    }
    buf_add_byte(out, ']');
}

static void add_comment(struct buf *out, struct span comment)
{
    buf_add_str(out, " IS ");
    rs_add_literal(out, comment);
    buf_add_str(out, ";\n");
}

/* ---------------------------------------------------------------- the metadata table */

void rs_metadata_table(struct arena *arena, struct span schema, struct rs_table *ret)
{
    static const struct {
        const char *name, *ddl, *comment;
        enum rs_flat flat;
        bool is_key;
    } rows[] = {
        {"materialization", "TEXT", "Name of the task", RS_FLAT_STRING, true},
        {"key_begin", "BIGINT", "First key hash of the range that this row covers, inclusive",
         RS_FLAT_INTEGER, true},
        {"key_end", "BIGINT", "Last key hash of the range that this row covers, inclusive",
         RS_FLAT_INTEGER, true},
        {"fence", "BIGINT", "Raised by each instance that takes the task over", RS_FLAT_INTEGER,
         false},
        {"checkpoint", "VARBYTE(1024000)",
         "Checkpoint of the Flow runtime: gzip, then base64, then the bytes of that text",
         RS_FLAT_STRING, false},
    };
    struct rs_column *columns = ARENA_ARRAY(arena, ARRAY_LEN(rows), struct rs_column);
    struct buf path;

    memset(ret, 0, sizeof(*ret));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        columns[i].field = columns[i].identifier = span_of(rows[i].name);
        columns[i].type.flat = rows[i].flat;
        columns[i].type.ddl = span_of(rows[i].ddl);
        columns[i].type.is_text = strcmp(rows[i].ddl, "TEXT") == 0;
        columns[i].comment = span_of(rows[i].comment);
        columns[i].is_key = rows[i].is_key;
        ret->key_count += rows[i].is_key ? 1 : 0;
    }
    ret->columns = columns;
    ret->column_count = (unsigned)ARRAY_LEN(rows);
    if (schema.len > 0) {
        ret->path[ret->path_count++] = arena_span(arena, schema);
    }
    ret->path[ret->path_count++] = SPAN_LIT(METADATA_TABLE);
    buf_init(&path, 2 * schema.len + 64);
    rs_add_path(&path, ret->path, ret->path_count);
    CHECK(!buf_is_full(&path));
    ret->identifier = arena_span(arena, buf_view(&path));
    buf_done(&path);
    ret->comment = SPAN_LIT("Flow's metadata: what each task has committed, one row per key range");
}

/* Not among the columns of CREATE TABLE: a table that another connector made has to get it as well,
 * and there is no ADD COLUMN IF NOT EXISTS. */
void rs_sql_add_tokens_column(struct buf *out, const struct rs_table *metadata)
{
    buf_add_str(out, "ALTER TABLE ");
    buf_add_span(out, metadata->identifier);
    buf_add_str(out, " ADD COLUMN " TOKENS_COLUMN " VARBYTE(1024000);");
}

/* VARBYTE comes back as hex; FROM_VARBYTE would be limited to 65,535 bytes of text. */
void rs_sql_read_rows(struct buf *out, const struct rs_table *metadata)
{
    buf_add_str(out, "SELECT fence, key_begin, key_end, checkpoint, " TOKENS_COLUMN " FROM ");
    buf_add_span(out, metadata->identifier);
    buf_add_str(out, " WHERE materialization = $1 ORDER BY key_begin, key_end");
}

void rs_sql_update_fence(struct buf *out, const struct rs_table *metadata)
{
    buf_add_str(out, "UPDATE ");
    buf_add_span(out, metadata->identifier);
    buf_add_str(out, " SET fence = $1");
    add_row_condition(out);
}

void rs_sql_insert_row(struct buf *out, const struct rs_table *metadata)
{
    buf_add_str(out, "INSERT INTO ");
    buf_add_span(out, metadata->identifier);
    buf_add_str(out, " (materialization, key_begin, key_end, fence, checkpoint, " TOKENS_COLUMN ")"
                     " VALUES ($1, $2, $3, $4, $5, $6)");
}

void rs_sql_write_tokens(struct buf *out, const struct rs_table *metadata)
{
    buf_add_str(out, "UPDATE ");
    buf_add_span(out, metadata->identifier);
    buf_add_str(out, " SET " TOKENS_COLUMN " = $1");
    add_row_condition(out);
    buf_add_str(out, " AND fence = $5");
}

/* Redshift's LOCK has no mode: it is always ACCESS EXCLUSIVE. */
void rs_sql_lock(struct buf *out, const struct rs_table *metadata)
{
    buf_add_str(out, "LOCK ");
    buf_add_span(out, metadata->identifier);
}

/* One row: $2 task, $3 begin, $4 end. */
static void add_row_condition(struct buf *out)
{
    buf_add_str(out, " WHERE materialization = $2 AND key_begin = $3 AND key_end = $4");
}

/* ---------------------------------------------------------------- temp tables */

/* Inside a document's column SUPER, COPY cuts over-long strings instead of refusing the row. A
 * session setting, sent before BEGIN. */
void rs_sql_truncate_strings(struct buf *out)
{
    buf_add_str(out, "SET json_parse_truncate_strings=ON");
}

void rs_sql_create_temp(struct buf *out,
                        const struct rs_table *table,
                        unsigned binding,
                        enum rs_temp kind,
                        uint32_t key_text_bytes)
{
    unsigned count = temp_column_count(table, kind);

    buf_add_str(out, "CREATE TEMPORARY TABLE ");
    add_temp_name(out, binding, kind);
    buf_add_str(out, " (");
    for (unsigned i = 0; i < count; i++) {
        if (i > 0) {
            buf_add_str(out, ", ");
        }
        add_temp_column(out, &table->columns[i], kind, key_text_bytes);
    }
    buf_add_str(out, ") ");
    add_temp_distribution(out, table);
}

/* Not qualified with pg_temp: 8.0 knows that name in the search path only. Temp tables are found
 * first, so this drops a permanent table of the same name only when the temp table is missing;
 * it is sent in the transaction that created it. */
void rs_sql_drop_temp(struct buf *out, unsigned binding, enum rs_temp kind)
{
    buf_add_str(out, "DROP TABLE ");
    add_temp_name(out, binding, kind);
}

static void add_temp_name(struct buf *out, unsigned binding, enum rs_temp kind)
{
    buf_printf(out, "flow_temp_table_%u%s", binding, kind == RS_TEMP_DELETE ? "_deleted" : "");
}

/* Keys must never be cut, since two cut keys could become equal; so a text key is as wide as the
 * widest of the target, of what was staged, and of TEXT. */
static void add_temp_column(struct buf *out,
                            const struct rs_column *column,
                            enum rs_temp kind,
                            uint32_t key_text_bytes)
{
    uint32_t width = 0;

    if (column->type.is_text) {
        width = TEXT_BYTES;
    }
    if (kind != RS_TEMP_LOAD && column->char_max_length > width) {
        width = column->char_max_length;
    }
    if (column->type.is_text && column->is_key && key_text_bytes > width) {
        width = key_text_bytes;
    }
    buf_add_span(out, column->identifier);
    buf_add_byte(out, ' ');
    if (width > 0) {
        buf_printf(out, "VARCHAR(%u)", width < VARCHAR_MAX_BYTES ? width : VARCHAR_MAX_BYTES);
    } else {
        buf_add_span(out, column->type.ddl);
    }
}

/* A declared style is what stops COPY ANALYZE: with the default, AUTO, each COPY into the fresh
 * table runs it although COMPUPDATE and STATUPDATE are off. A single key spreads rows evenly and is
 * what the join is on; the first of several may be the same for all rows, which would put them on
 * one slice, so those tables are spread evenly. SUPER and VARBYTE cannot be distribution keys, and
 * a type that the user wrote may be anything. */
static void add_temp_distribution(struct buf *out, const struct rs_table *table)
{
    const struct rs_type *type = &table->columns[0].type;

    if (table->key_count == 1 && !type->is_user_ddl && !span_is(type->ddl, "SUPER") &&
        !span_starts_with(type->ddl, SPAN_LIT("VARBYTE"))) {
        buf_add_str(out, "DISTSTYLE KEY DISTKEY (");
        buf_add_span(out, table->columns[0].identifier);
        buf_add_byte(out, ')');
    } else {
        buf_add_str(out, "DISTSTYLE EVEN");
    }
}

static unsigned temp_column_count(const struct rs_table *table, enum rs_temp kind)
{
    return kind == RS_TEMP_STORE ? table->column_count : table->key_count;
}

/* ---------------------------------------------------------------- COPY */

void rs_sql_copy_temp(struct buf *out,
                      const struct rs_table *table,
                      unsigned binding,
                      enum rs_temp kind,
                      const struct rs_copy *copy)
{
    /* The whole table is loaded, so no column list is needed. */
    (void)table;
    buf_add_str(out, "COPY ");
    add_temp_name(out, binding, kind);
    add_copy(out, copy);
    buf_add_str(out, " COMPUPDATE OFF STATUPDATE OFF");
}

/* With a column list, so that columns which are not Flow's get their defaults, as with MERGE.
 * STATUPDATE is not named: that needs ownership of the table, COPY alone only INSERT. */
void rs_sql_copy_target(struct buf *out, const struct rs_table *table, const struct rs_copy *copy)
{
    buf_add_str(out, "COPY ");
    buf_add_span(out, table->identifier);
    buf_add_str(out, " (");
    add_identifiers(out, table, "");
    buf_add_byte(out, ')');
    add_copy(out, copy);
    buf_add_str(out, " COMPUPDATE OFF");
}

#define PROOF_TABLE "flow_temp_proof"

void rs_sql_drop_proof(struct buf *out)
{
    buf_add_str(out, "DROP TABLE " PROOF_TABLE);
}

void rs_sql_create_proof(struct buf *out)
{
    buf_add_str(out, "CREATE TEMP TABLE " PROOF_TABLE " (n BIGINT) DISTSTYLE EVEN");
}

void rs_sql_copy_proof(struct buf *out, const struct rs_copy *copy)
{
    buf_add_str(out, "COPY " PROOF_TABLE);
    add_copy(out, copy);
    buf_add_str(out, " COMPUPDATE OFF STATUPDATE OFF");
}

static void add_copy(struct buf *out, const struct rs_copy *copy)
{
    /* Room for all at once: growing later would leave copies of the keys in freed memory. */
    size_t need =
        512 + 2 * (copy->manifest_url.len + span_of(copy->iam_role).len +
                   span_of(copy->access_key_id).len + secret_view(copy->secret_access_key).len +
                   secret_view(copy->session_token).len + strlen(copy->region));
    if (!buf_reserve(out, need)) {
        return; /* full is sticky */
    }
    buf_add_str(out, " FROM ");
    rs_add_literal(out, copy->manifest_url);
    buf_add_str(out, " MANIFEST ");
    add_credentials(out, copy);
    buf_add_str(out, " REGION ");
    rs_add_literal(out, span_of(copy->region));
    /* Column names are folded to lower case unless the server is told otherwise; 'auto' alone
     * would then find no member with a capital letter and load NULL. */
    buf_add_str(out, copy->case_sensitive ? " JSON 'auto'" : " JSON 'auto ignorecase'");
    buf_add_str(out, copy->zstd ? " ZSTD" : " GZIP");
    buf_add_str(out, " DATEFORMAT 'auto' TIMEFORMAT 'auto'");
    if (copy->truncate_columns) {
        buf_add_str(out, " TRUNCATECOLUMNS");
    }
}

/* A role is attached to the cluster, which then has keys of its own (Redshift Developer Guide,
 * "Authorization parameters"); "default" is a word there and no text. */
static void add_credentials(struct buf *out, const struct rs_copy *copy)
{
    struct buf text;

    if (copy->iam_role && strcmp(copy->iam_role, "default") == 0) {
        buf_add_str(out, "IAM_ROLE default");
        return;
    }
    if (copy->iam_role && *copy->iam_role) {
        buf_add_str(out, "IAM_ROLE ");
        rs_add_literal(out, span_of(copy->iam_role));
        return;
    }
    buf_init(&text, 64 * (size_t)1024);
    (void)buf_reserve(&text, 16 * (size_t)1024); /* beyond any real key, so it does not move */
    buf_add_str(&text, "aws_access_key_id=");
    buf_add_str(&text, copy->access_key_id);
    buf_add_str(&text, ";aws_secret_access_key=");
    buf_add_span(&text, secret_view(copy->secret_access_key));
    if (!secret_is_empty(copy->session_token)) {
        buf_add_str(&text, ";token=");
        buf_add_span(&text, secret_view(copy->session_token));
    }
    buf_add_str(out, "CREDENTIALS ");
    rs_add_literal(out, buf_view(&text));
    secret_wipe(text.data, text.len);
    buf_done(&text);
}

void rs_sql_copy_count(struct buf *out)
{
    buf_add_str(out, "SELECT pg_last_copy_count()");
}

/* ---------------------------------------------------------------- into the target */

/* Redshift's MERGE: the target has no alias, the columns of SET and INSERT stand alone, and both
 * branches must be there. A row with nothing but keys has nothing to update, so its first key is
 * set to what it is already equal to. */
void rs_sql_merge(struct buf *out, const struct rs_table *table, unsigned binding)
{
    unsigned first = table->key_count < table->column_count ? table->key_count : 0;
    unsigned last = first == 0 ? 1 : table->column_count;

    buf_add_str(out, "MERGE INTO ");
    buf_add_span(out, table->identifier);
    buf_add_str(out, " USING ");
    add_temp_name(out, binding, RS_TEMP_STORE);
    buf_add_str(out, " AS " STAGED " ON ");
    add_key_match(out, table, table->identifier, STAGED);
    buf_add_str(out, " WHEN MATCHED THEN UPDATE SET ");
    for (unsigned i = first; i < last; i++) {
        if (i > first) {
            buf_add_str(out, ", ");
        }
        buf_add_span(out, table->columns[i].identifier);
        buf_add_str(out, " = " STAGED ".");
        buf_add_span(out, table->columns[i].identifier);
    }
    buf_add_str(out, " WHEN NOT MATCHED THEN INSERT (");
    add_identifiers(out, table, "");
    buf_add_str(out, ") VALUES (");
    add_identifiers(out, table, STAGED ".");
    buf_add_byte(out, ')');
}

void rs_sql_delete(struct buf *out, const struct rs_table *table, unsigned binding)
{
    buf_add_str(out, "DELETE FROM ");
    buf_add_span(out, table->identifier);
    buf_add_str(out, " USING ");
    add_temp_name(out, binding, RS_TEMP_DELETE);
    buf_add_str(out, " AS " STAGED " WHERE ");
    add_key_match(out, table, table->identifier, STAGED);
}

void rs_sql_delete_before(struct buf *out,
                          const struct rs_table *table,
                          struct span published_at_identifier)
{
    buf_add_str(out, "DELETE FROM ");
    buf_add_span(out, table->identifier);
    buf_add_str(out, " WHERE ");
    buf_add_span(out, published_at_identifier);
    buf_add_str(out, " < $1");
}

/* Always to the greatest width: two instances that widen at once then mean the same. */
void rs_sql_widen(struct buf *out, const struct rs_table *table, const struct rs_column *column)
{
    buf_add_str(out, "ALTER TABLE ");
    buf_add_span(out, table->identifier);
    buf_add_str(out, " ALTER COLUMN ");
    buf_add_span(out, column->identifier);
    buf_add_str(out, " TYPE VARCHAR(MAX)");
}

static void
add_loaded(struct buf *out, const struct rs_column *column, const char *before, const char *after)
{
    buf_add_str(out, before);
    buf_add_str(out, "r.");
    buf_add_span(out, column->identifier);
    buf_add_str(out, after);
}

/* The value as it was in the document. OBJECT takes no dates and no bytes; FROM_VARBYTE breaks its
 * lines. */
static void add_property(struct buf *out, const struct rs_column *column)
{
    const struct rs_type *type = &column->type;

    if (type->is_user_ddl) {
        add_loaded(out, column, "", "");
    } else if (type->flat == RS_FLAT_STRING_INTEGER || type->flat == RS_FLAT_STRING_NUMBER) {
        add_loaded(out, column, "CAST(", " AS VARCHAR)");
    } else if (span_is(type->ddl, "DATE")) {
        add_loaded(out, column, "TO_CHAR(", ", 'YYYY-MM-DD')");
    } else if (span_is(type->ddl, "TIMESTAMPTZ")) {
        add_loaded(out, column, "TO_CHAR(",
                   " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')");
    } else if (span_starts_with(type->ddl, SPAN_LIT("VARBYTE"))) {
        add_loaded(out, column, "REPLACE(FROM_VARBYTE(", ", 'base64'), CHR(10), '')");
    } else {
        add_loaded(out, column, "", "");
    }
}

static void add_rebuilt(struct buf *out, const struct rs_table *table)
{
    bool is_first = true;

    buf_add_str(out, "OBJECT(");
    for (unsigned i = 0; i < table->column_count; i++) {
        const struct rs_column *column = &table->columns[i];
        if (!column->property.ptr) {
            continue;
        }
        buf_add_str(out, is_first ? "" : ", ");
        rs_add_literal(out, column->property);
        buf_add_str(out, ", ");
        add_property(out, column);
        is_first = false;
    }
    buf_add_byte(out, ')');
}

void rs_sql_load(struct buf *out,
                 const struct rs_table *table,
                 unsigned binding,
                 bool first,
                 const bool *bounded,
                 unsigned *param)
{
    if (!first) {
        buf_add_str(out, " UNION ALL ");
    }
    buf_printf(out, "SELECT %u, ", binding);
    if (table->has_document) {
        add_loaded(out, &table->columns[table->column_count - 1], "", "");
    } else {
        add_rebuilt(out, table);
    }
    buf_add_str(out, " FROM ");
    add_temp_name(out, binding, RS_TEMP_LOAD);
    buf_add_str(out, " AS l JOIN ");
    buf_add_span(out, table->identifier);
    buf_add_str(out, " AS r ON ");
    add_key_match(out, table, SPAN_LIT("l"), "r");
    for (unsigned i = 0; bounded && i < table->key_count; i++) {
        if (bounded[i]) {
            buf_printf(out, " AND r.%.*s BETWEEN $%u AND $%u",
                       SPAN_FMT(table->columns[i].identifier), *param, *param + 1);
            *param += 2;
        }
    }
}

static void add_identifiers(struct buf *out, const struct rs_table *table, const char *prefix)
{
    for (unsigned i = 0; i < table->column_count; i++) {
        if (i > 0) {
            buf_add_str(out, ", ");
        }
        buf_add_str(out, prefix);
        buf_add_span(out, table->columns[i].identifier);
    }
}

static void
add_key_match(struct buf *out, const struct rs_table *table, struct span left, const char *right)
{
    for (unsigned i = 0; i < table->key_count; i++) {
        if (i > 0) {
            buf_add_str(out, " AND ");
        }
        buf_add_span(out, left);
        buf_add_byte(out, '.');
        buf_add_span(out, table->columns[i].identifier);
        buf_add_str(out, " = ");
        buf_add_str(out, right);
        buf_add_byte(out, '.');
        buf_add_span(out, table->columns[i].identifier);
    }
}

/* ---------------------------------------------------------------- explaining a failed COPY */

/* The latest row, and how many there are. The view exists on clusters and serverless workgroups
 * alike, and its rows outlive the ROLLBACK. Its texts are blank-padded CHARs. */
void rs_sql_load_errors(struct buf *out, const struct span *url_prefixes, unsigned count)
{
    CHECK(count > 0);
    buf_add_str(out, "SELECT error_code, file_name, line_number, column_name, column_type, "
                     "column_length, error_message, COUNT(*) OVER () FROM sys_load_error_detail "
                     "WHERE ");
    for (unsigned i = 0; i < count; i++) {
        if (i > 0) {
            buf_add_str(out, " OR ");
        }
        buf_add_str(out, "file_name LIKE ");
        add_like_prefix(out, url_prefixes[i]);
        buf_add_str(out, " ESCAPE '^'");
    }
    buf_add_str(out, " ORDER BY start_time DESC, line_number LIMIT 1");
}

static void add_like_prefix(struct buf *out, struct span prefix)
{
    struct buf pattern;

    buf_init(&pattern, 2 * prefix.len + 1);
    for (size_t i = 0; i < prefix.len; i++) {
        char c = prefix.ptr[i];
        if (c == '%' || c == '_' || c == LIKE_ESCAPE) {
            buf_add_byte(&pattern, LIKE_ESCAPE);
        }
        buf_add_byte(&pattern, c);
    }
    buf_add_byte(&pattern, '%');
    rs_add_literal(out, buf_view(&pattern));
    buf_done(&pattern);
}
