/* What remains of a COPY whatever becomes of the client's transaction: sys_load_error_detail,
 * stl_load_errors, sys_load_history (tables of setup.sql). In comes the state of the load from
 * copy.c, out go INSERTs on the second connection. */
#include "sandbox/copy_load.h"

#include "sandbox/backend.h"

#include <inttypes.h>
#include <string.h>

static void note(struct load *l, struct bytes *sql)
{
    struct backend_result result = {0};
    (void)backend_query(l->ctx->side, bytes_text(sql), &result);
    backend_result_done(&result);
}

static void put_length(const struct copy_column *column, struct bytes *to)
{
    switch (column->type) {
    case COLUMN_CHAR:
    case COLUMN_VARCHAR:
    case COLUMN_VARBYTE:
        bytes_printf(to, "'%d'", column->length);
        break;
    case COLUMN_NUMERIC:
        bytes_printf(to, "'%d, %d'", column->precision, column->scale);
        break;
    default:
        bytes_put_text(to, column->type == COLUMN_SUPER ? "'16384000'" : "'0'");
        break;
    }
}

/* The catalog's char(n) columns count characters; a cut UTF-8 text is no text. */
static void put_cut(struct bytes *to, const char *text, size_t most)
{
    char copy[1024];
    struct piece p = {text, strlen(text)};
    size_t len = utf8_cut(p, most < sizeof copy - 1 ? most : sizeof copy - 1);
    memcpy(copy, text, len);
    copy[len] = '\0';
    bytes_put_literal(to, copy);
}

void copy_record_fault(struct load *l, int column_number, int64_t line)
{
    const struct copy_fault *fault = &l->convert.fault;
    const struct copy_column *column = column_number >= 0 ? &l->table.columns[column_number] : NULL;
    const struct copy_table *t = &l->table;
    struct bytes length = {0}, sql = {0};
    if (column != NULL) {
        put_length(column, &length);
    } else {
        bytes_put_text(&length, "''");
    }
    const char *name = column == NULL ? "" : column->name;
    const char *type = column == NULL ? "" : column_type_name(column->type);
    bytes_printf(&sql,
                 "INSERT INTO redshift_sys.sys_load_error_detail VALUES (%s, %" PRId64 ", %s, %s, ",
                 t->user_id, l->ret->copy_id, t->transaction_id, t->session_id);
    put_cut(&sql, t->database, 64);
    bytes_printf(&sql, ", (%s)::oid::bigint::integer, now() AT TIME ZONE 'UTC', ", t->oid);
    put_cut(&sql, l->file_url, 256);
    bytes_printf(&sql, ", %" PRId64 ", ", line);
    put_cut(&sql, name, 127);
    bytes_printf(&sql, ", left('%s', 10), left(%s, 10), %d, %d, ", type, bytes_text(&length),
                 fault->position, fault->code);
    put_cut(&sql, fault->message, 512);
    bytes_printf(&sql,
                 "); INSERT INTO redshift_sys.stl_load_errors VALUES (%s, 0, "
                 "(%s)::oid::bigint::integer, now() AT TIME ZONE 'UTC', %s, %" PRId64 ", ",
                 t->user_id, t->oid, t->session_id, l->ret->copy_id);
    put_cut(&sql, l->file_url, 256);
    bytes_printf(&sql, ", %" PRId64 ", ", line);
    put_cut(&sql, name, 127);
    bytes_printf(&sql, ", left('%s', 10), left(%s, 10), %d, '', '', %d, ", type,
                 bytes_text(&length), fault->position, fault->code);
    put_cut(&sql, fault->message, 100);
    bytes_put_text(&sql, ", 0, 0)");
    note(l, &sql);
    bytes_done(&length);
    bytes_done(&sql);
}

void copy_record_load(struct load *l, bool ok)
{
    struct bytes sql = {0};
    bytes_printf(
        &sql,
        "INSERT INTO redshift_sys.sys_load_history (user_id, query_id, transaction_id,"
        " session_id, database_name, schema_name, table_name, start_time, end_time, data_source,"
        " file_format, loaded_rows, loaded_bytes, source_file_count, source_file_bytes,"
        " file_count_scanned, file_bytes_scanned, error_count, status) VALUES (%s, %" PRId64
        ", %s, %s, ",
        l->table.user_id, l->ret->copy_id, l->table.transaction_id, l->table.session_id);
    bytes_put_literal(&sql, l->table.database);
    bytes_put_text(&sql, ", ");
    bytes_put_literal(&sql, l->table.schema_name);
    bytes_put_text(&sql, ", ");
    bytes_put_literal(&sql, l->table.name);
    bytes_printf(&sql, ", to_timestamp(%" PRId64 ") AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC', ",
                 l->started);
    bytes_put_literal(&sql, l->st.source);
    bytes_printf(&sql,
                 ", 'json', %" PRId64 ", %" PRId64 ", %d, %" PRId64 ", %d, %" PRId64 ", %" PRId64
                 ", '%s')",
                 ok ? l->row_count : 0, l->byte_count, l->files.count, l->byte_count, l->file_count,
                 l->byte_count, l->error_count, ok ? "completed" : "failed");
    note(l, &sql);
    bytes_done(&sql);
}
