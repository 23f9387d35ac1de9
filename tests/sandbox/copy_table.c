/* The target table of a COPY: names and types from PostgreSQL's catalog become Redshift's. What
 * stands for what is written in types.h and ident.h. */
#include "sandbox/copy_table.h"

#include "sandbox/backend.h"
#include "sandbox/ident.h"
#include "sandbox/types.h"

#include <stdlib.h>
#include <string.h>

/* The columns of the catalog query. */
enum {
    TABLE_OID,
    TABLE_KIND,
    TABLE_SCHEMA,
    TABLE_NAME,
    TABLE_OWNED,
    TABLE_LOCKABLE,
    COLUMN_NAME,
    COLUMN_FULL_NAME,
    COLUMN_TYPE,
    COLUMN_MODIFIER,
    COLUMN_NOT_NULL,
    COLUMN_GENERATED,
    USER_ID,
    SESSION_ID,
    TRANSACTION_ID,
    DATABASE,
    FIELDS
};

/* A domain that was made after the transaction's snapshot has no row in pg_type yet for a query,
 * but PostgreSQL knows its name. */
static const char catalog_query[] =
    "SELECT c.oid, c.relkind, n.nspname, c.relname, pg_catalog.pg_has_role(c.relowner, 'USAGE'),"
    " c.relpersistence <> 't' AND"
    " pg_catalog.has_table_privilege(c.oid, 'UPDATE, DELETE, TRUNCATE'),"
    " a.attname, redshift_sys.full_name(a.attname), COALESCE(t.typname,"
    " pg_catalog.regexp_replace(pg_catalog.format_type(a.atttypid, NULL), '^.*[.]', '')),"
    " a.atttypmod, a.attnotnull,"
    " a.attidentity <> '' OR a.attgenerated <> '',"
    " (SELECT r.oid FROM pg_catalog.pg_roles AS r WHERE r.rolname = current_user),"
    " pg_catalog.pg_backend_pid(), pg_catalog.txid_current(), pg_catalog.current_database()"
    " FROM pg_catalog.pg_class AS c"
    " JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace"
    " JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0"
    " AND NOT a.attisdropped"
    " LEFT JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid"
    " WHERE c.oid = pg_catalog.to_regclass(";

static char *copy_text(const char *text)
{
    struct bytes b = {0};
    bytes_put_text(&b, text == NULL ? "" : text);
    (void)bytes_text(&b);
    return b.at;
}

void copy_fail_backend(struct copy_outcome *ret, const struct backend_result *result)
{
    copy_fail(ret, result->sqlstate[0] != '\0' ? result->sqlstate : "XX000", "%s", result->message);
    text_format(ret->detail, sizeof ret->detail, "%s", result->detail);
}

static void fold_name(const struct copy_context *ctx,
                      const struct copy_name *name,
                      char full[IDENT_FULL_MAX + 1])
{
    ident_fold(name->text, strlen(name->text), !(name->quoted && ctx->case_sensitive), full);
}

/* ------------------------------------------------------------------ types */

/* domains varchar_256, char_10, varbyte_64000: the length is in the name */
static bool read_domain(const char *type, const char *prefix, int most, int *ret_length)
{
    size_t len = strlen(prefix);
    if (strncmp(type, prefix, len) != 0) {
        return false;
    }
    char *end;
    long length = strtol(type + len, &end, 10);
    *ret_length = length > 0 && length <= most ? (int)length : most;
    return end > type + len && *end == '\0';
}

static bool read_type(const char *type, const char *modifier, struct copy_column *column)
{
    static const struct {
        const char *name;
        enum column_type type;
        int length;
    } plain[] = {
        {"int2", COLUMN_SMALLINT, 0},
        {"int4", COLUMN_INTEGER, 0},
        {"int8", COLUMN_BIGINT, 0},
        {"float4", COLUMN_REAL, 0},
        {"float8", COLUMN_DOUBLE, 0},
        {"bool", COLUMN_BOOLEAN, 0},
        {"date", COLUMN_DATE, 0},
        {"time", COLUMN_TIME, 0},
        {"timetz", COLUMN_TIME, 0},
        {"timestamp", COLUMN_TIMESTAMP, 0},
        {"timestamptz", COLUMN_TIMESTAMPTZ, 0},
        {"super", COLUMN_SUPER, 0},
        {"varbyte", COLUMN_VARBYTE, VARBYTE_MAX},
        {"text", COLUMN_VARCHAR, VARCHAR_MAX},
        {"varchar", COLUMN_VARCHAR, VARCHAR_MAX},
        {"bpchar", COLUMN_VARCHAR, VARCHAR_MAX},
    };
    if (strcmp(type, "numeric") == 0) {
        long mod = strtol(modifier, NULL, 10);
        column->type = COLUMN_NUMERIC;
        column->precision = mod >= 4 ? (int)(((mod - 4) >> 16) & 0xFFFF) : 38;
        column->scale = mod >= 4 ? (int)((mod - 4) & 0x7FF) : 0;
        return column->precision <= 38 && column->scale <= column->precision;
    }
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        if (strcmp(type, plain[i].name) == 0) {
            column->type = plain[i].type;
            column->length = plain[i].length;
            return true;
        }
    }
    if (read_domain(type, "varchar_", VARCHAR_MAX, &column->length)) {
        column->type = COLUMN_VARCHAR;
    } else if (read_domain(type, "char_", CHAR_MAX_LENGTH, &column->length)) {
        column->type = COLUMN_CHAR;
    } else if (read_domain(type, "varbyte_", VARBYTE_MAX, &column->length)) {
        column->type = COLUMN_VARBYTE;
    } else {
        return false;
    }
    return true;
}

/* ------------------------------------------------------------------ columns of the row */

static char **row_at(const struct backend_result *result, int row)
{
    return result->values + (size_t)row * (size_t)result->column_count;
}

static bool add_column(struct copy_table *table, char **row, struct copy_outcome *ret)
{
    struct copy_column *column = &table->columns[table->column_count];
    if (!read_type(row[COLUMN_TYPE], row[COLUMN_MODIFIER], column)) {
        copy_fail(ret, "0A000", "COPY into a column of type %s is not emulated by redshift-sandbox",
                  row[COLUMN_TYPE]);
        return false;
    }
    column->name = copy_text(row[COLUMN_FULL_NAME]);
    column->backend_name = copy_text(row[COLUMN_NAME]);
    column->not_null = row[COLUMN_NOT_NULL][0] == 't';
    table->column_count++;
    return true;
}

static bool add_listed(const char *full,
                       const struct backend_result *result,
                       struct copy_table *table,
                       struct copy_outcome *ret)
{
    for (int i = 0; i < table->column_count; i++) {
        if (strcmp(table->columns[i].name, full) == 0) {
            copy_fail(ret, "42701", "column \"%s\" specified more than once", full);
            return false;
        }
    }
    for (int i = 0; i < result->row_count; i++) {
        if (strcmp(row_at(result, i)[COLUMN_FULL_NAME], full) == 0) {
            return add_column(table, row_at(result, i), ret);
        }
    }
    copy_fail(ret, "42703", "column \"%s\" of relation \"%s\" does not exist", full, table->name);
    return false;
}

static bool choose_columns(struct copy_context *ctx,
                           const struct copy_statement *st,
                           const struct backend_result *result,
                           struct copy_table *table,
                           struct copy_outcome *ret)
{
    int most = st->column_count > 0 ? st->column_count : result->row_count;
    table->columns = calloc((size_t)most + 1, sizeof *table->columns);
    if (table->columns == NULL) {
        abort();
    }
    for (int i = 0; i < st->column_count; i++) {
        char full[IDENT_FULL_MAX + 1];
        fold_name(ctx, &st->columns[i], full);
        if (!add_listed(full, result, table, ret)) {
            return false;
        }
    }
    for (int i = 0; i < result->row_count && st->column_count == 0; i++) {
        char **row = row_at(result, i);
        if (row[COLUMN_GENERATED][0] != 't' && !add_column(table, row, ret)) {
            return false;
        }
    }
    return true;
}

/* ------------------------------------------------------------------ doors */

static void put_quoted(struct bytes *to, const char *name)
{
    bytes_put_char(to, '"');
    for (; *name != '\0'; name++) {
        if (*name == '"') {
            bytes_put_char(to, '"');
        }
        bytes_put_char(to, *name);
    }
    bytes_put_char(to, '"');
}

static void read_facts(const struct backend_result *result, struct copy_table *table)
{
    char **row = row_at(result, 0);
    struct bytes name = {0};
    put_quoted(&name, row[TABLE_SCHEMA]);
    bytes_put_char(&name, '.');
    put_quoted(&name, row[TABLE_NAME]);
    (void)bytes_text(&name);
    table->backend_name = name.at;
    table->schema_name = copy_text(row[TABLE_SCHEMA]);
    table->oid = copy_text(row[TABLE_OID]);
    table->owner = row[TABLE_OWNED][0] == 't';
    table->lockable = row[TABLE_LOCKABLE][0] == 't';
    table->user_id = copy_text(row[USER_ID]);
    table->session_id = copy_text(row[SESSION_ID]);
    table->transaction_id = copy_text(row[TRANSACTION_ID]);
    table->database = copy_text(row[DATABASE]);
}

static bool read_result(struct copy_context *ctx,
                        const struct copy_statement *st,
                        const struct backend_result *result,
                        struct copy_table *table,
                        struct copy_outcome *ret)
{
    if (!result->ok) {
        copy_fail_backend(ret, result);
        return false;
    }
    if (result->row_count == 0 || result->column_count != FIELDS) {
        copy_fail(ret, "42P01", "Cannot COPY into nonexistent table %s", table->name);
        return false;
    }
    read_facts(result, table);
    const char *kind = row_at(result, 0)[TABLE_KIND];
    if (strcmp(kind, "r") != 0 && strcmp(kind, "p") != 0) {
        copy_fail(ret, "42809", "cannot copy to non-table relation \"%s\"", table->name);
        return false;
    }
    return choose_columns(ctx, st, result, table, ret);
}

bool copy_table_read(struct copy_context *ctx,
                     const struct copy_statement *st,
                     struct copy_table *table,
                     struct copy_outcome *ret)
{
    *table = (struct copy_table){0};
    struct bytes name = {0}, sql = {0};
    char full[IDENT_FULL_MAX + 1], quoted[IDENT_QUOTED_SIZE];
    if (st->schema.text != NULL) {
        fold_name(ctx, &st->schema, full);
        ident_quote_backend(full, quoted);
        bytes_printf(&name, "%s.", quoted);
    }
    fold_name(ctx, &st->table, full);
    ident_quote_backend(full, quoted);
    bytes_put_text(&name, quoted);
    table->name = copy_text(full);

    bytes_put_text(&sql, catalog_query);
    bytes_put_literal(&sql, bytes_text(&name));
    bytes_put_text(&sql, ") ORDER BY a.attnum");
    struct backend_result result = {0};
    (void)backend_query(ctx->session, bytes_text(&sql), &result);
    bool ok = read_result(ctx, st, &result, table, ret);
    backend_result_done(&result);
    bytes_done(&name);
    bytes_done(&sql);
    return ok;
}

void copy_table_done(struct copy_table *table)
{
    for (int i = 0; table->columns != NULL && i < table->column_count; i++) {
        free(table->columns[i].name);
        free(table->columns[i].backend_name);
    }
    free(table->columns);
    free(table->name);
    free(table->schema_name);
    free(table->backend_name);
    free(table->oid);
    free(table->user_id);
    free(table->session_id);
    free(table->transaction_id);
    free(table->database);
    *table = (struct copy_table){0};
}
