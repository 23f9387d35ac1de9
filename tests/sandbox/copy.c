/*
 * COPY from S3, the whole of it in order: read the statement, look the table up, find the files,
 * stream each file through decompression, object cutting, conversion and PostgreSQL's own COPY,
 * report. The gateway calls copy_execute and sends the outcome to the client.
 *
 *   s3_read -> copy_unpack -> copy_json (split) -> copy_row -> copy_value -> backend_copy_data
 *
 * All arrows are calls: the read of a file drives everything, memory holds one object and the
 * buffers between the stages.
 */
#include "sandbox/copy.h"

#include "sandbox/backend.h"
#include "sandbox/copy_load.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    FLUSH_BYTES = 256 * 1024,
    RECORDED_ERRORS_MAX = 100, /* rows of sys_load_error_detail per COPY */
};

/* ------------------------------------------------------------------ talking to PostgreSQL */

static bool run(struct load *l, struct backend *backend, const char *sql)
{
    struct backend_result result = {0};
    (void)backend_query(backend, sql, &result);
    bool ok = result.ok;
    if (!ok && l->ret->message[0] == '\0') {
        copy_fail_backend(l->ret, &result);
    }
    backend_result_done(&result);
    return ok;
}

static bool begin_transaction(struct load *l)
{
    l->own_transaction = backend_status(l->ctx->session) == 'I';
    return !l->own_transaction || run(l, l->ctx->session, "BEGIN");
}

/* One writer a table until the transaction ends, while readers go on: what Redshift does, and what
 * the gateway does for the other statements that change a table. */
static bool lock_table(struct load *l)
{
    if (!l->table.lockable) {
        return true;
    }
    struct bytes sql = {0};
    bytes_printf(&sql, "LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE", l->table.backend_name);
    bool ok = run(l, l->ctx->session, bytes_text(&sql));
    bytes_done(&sql);
    return ok;
}

static bool begin_copy(struct load *l)
{
    struct bytes sql = {0};
    bytes_printf(&sql, "COPY %s (", l->table.backend_name);
    for (int i = 0; i < l->table.column_count; i++) {
        bytes_put_text(&sql, i == 0 ? "\"" : ", \"");
        for (const char *at = l->table.columns[i].backend_name; *at != '\0'; at++) {
            if (*at == '"') {
                bytes_put_char(&sql, '"');
            }
            bytes_put_char(&sql, *at);
        }
        bytes_put_char(&sql, '"');
    }
    bytes_put_text(&sql, ") FROM STDIN WITH (FORMAT text, ENCODING 'UTF8')");
    struct backend_result result = {0};
    (void)backend_copy_begin(l->ctx->session, bytes_text(&sql), &result);
    l->copying = result.ok;
    if (!result.ok) {
        copy_fail_backend(l->ret, &result);
    }
    backend_result_done(&result);
    bytes_done(&sql);
    return l->copying;
}

static bool flush_rows(struct load *l)
{
    if (!l->st.no_load && l->out.len > 0 &&
        backend_copy_data(l->ctx->session, l->out.at, l->out.len) != 0) {
        l->backend_lost = true;
    }
    l->out.len = 0;
    return !l->backend_lost;
}

/* False: PostgreSQL refused the rows after all; `ret` has its words. */
static bool end_copy(struct load *l)
{
    bool ok = flush_rows(l);
    struct backend_result result = {0};
    (void)backend_copy_end(l->ctx->session, &result);
    l->copying = false;
    if (!result.ok) {
        ok = false;
        copy_fail_backend(l->ret, &result);
    }
    backend_result_done(&result);
    return ok && (!l->own_transaction || run(l, l->ctx->session, "COMMIT"));
}

/* Leaves a transaction of the client aborted, and nothing at all of one of our own. */
static void abandon(struct load *l)
{
    struct backend_result result = {0};
    if (l->copying) {
        (void)backend_copy_fail(l->ctx->session, "load failed", &result);
        backend_result_done(&result);
        l->copying = false;
    }
    result = (struct backend_result){0};
    if (l->own_transaction) {
        (void)backend_query(l->ctx->session, "ROLLBACK", &result);
        backend_result_done(&result);
    } else if (backend_status(l->ctx->session) == 'T') {
        (void)backend_query(l->ctx->session, "SELECT 1/0 AS load_failed", &result);
        backend_result_done(&result);
    }
}

/* Counts a bad record. False when the load has failed by it. */
static bool tolerate(struct load *l, int column, int64_t line)
{
    l->error_count++;
    if (l->error_count <= RECORDED_ERRORS_MAX) {
        copy_record_fault(l, column, line);
    }
    if (l->error_count < l->st.max_error) {
        return true;
    }
    copy_fail(l->ret, "XX000",
              "Load into table '%s' failed.  Check 'sys_load_error_detail' system table for "
              "details.",
              l->table.name);
    return false;
}

/* ------------------------------------------------------------------ one file */

static bool on_object(void *ctx, struct piece object, int64_t line)
{
    struct load *l = ctx;
    int column;
    if (!copy_rows_put(&l->rows, object, &l->out, &column)) {
        return tolerate(l, column, line);
    }
    l->row_count++;
    return l->out.len < FLUSH_BYTES || flush_rows(l);
}

static bool on_split_fault(void *ctx, enum split_fault fault, char byte, int64_t line)
{
    struct load *l = ctx;
    struct copy_fault *to = &l->convert.fault;
    switch (fault) {
    case SPLIT_STRAY:
        (void)copy_fault_set(to, 1216, 0,
                             "Invalid JSON format: unexpected character 0x%02x between objects",
                             (unsigned char)byte);
        break;
    case SPLIT_TOO_LONG:
        (void)copy_fault_set(to, 1216, COPY_OBJECT_BYTES_MAX,
                             "Input line is not valid: JSON object exceeds the maximum size of "
                             "%zu bytes",
                             COPY_OBJECT_BYTES_MAX);
        break;
    case SPLIT_CUT_OFF:
        (void)copy_fault_set(to, 1216, 0, "Invalid JSON format: the file ends inside an object");
        break;
    }
    return tolerate(l, -1, line);
}

static bool on_json(void *ctx, const char *at, size_t len)
{
    struct load *l = ctx;
    if (l->ctx->discards_rows) {
        for (const char *end = at + len; (at = memchr(at, '\n', (size_t)(end - at))) != NULL;
             at++) {
            l->row_count++;
        }
        return true;
    }
    return json_split_feed(&l->split, at, len);
}

/* A file that cannot be unpacked fails the load whatever MAXERROR says: what follows is lost. */
static bool fail_unpack(struct load *l)
{
    l->st.max_error = 0;
    (void)copy_fault_set(&l->convert.fault, 1216, 0, "%s", unpack_why(l->unpack));
    return tolerate(l, -1, l->split.line);
}

static bool on_file_bytes(void *ctx, const char *at, size_t len)
{
    struct load *l = ctx;
    l->byte_count += (int64_t)len;
    switch (unpack_feed(l->unpack, at, len)) {
    case UNPACK_OK:
        return true;
    case UNPACK_BROKEN:
        return fail_unpack(l);
    case UNPACK_STOPPED:
        break;
    }
    return false;
}

static bool finish_file(struct load *l)
{
    if (unpack_end(l->unpack) == UNPACK_BROKEN) {
        return fail_unpack(l);
    }
    return json_split_end(&l->split);
}

static bool load_file(struct load *l)
{
    text_format(l->file_url, sizeof l->file_url, "s3://%s/%s", l->file->bucket, l->file->key);
    json_split_start(&l->split);
    l->unpack = unpack_new(l->st.compression, on_json, l);
    struct s3_failure failure;
    bool ok = false;
    switch (s3_get(l->reader, l->file->bucket, l->file->key, on_file_bytes, l, &failure)) {
    case S3_DONE:
        ok = finish_file(l);
        l->file_count++;
        break;
    case S3_STOPPED:
        break;
    case S3_FAILED:
        ok = failure.status == 404 && strcmp(failure.code, "NoSuchKey") == 0 && !l->file->mandatory;
        if (!ok) {
            char context[1400];
            text_format(context, sizeof context, "Reading %s", l->file_url);
            (void)copy_fail_s3(l, &failure, context);
        }
        break;
    }
    unpack_free(l->unpack);
    l->unpack = NULL;
    return ok;
}

/* ------------------------------------------------------------------ all files */

static bool load_files(struct load *l)
{
    for (int i = 0; i < l->files.count; i++) {
        l->file = &l->files.entries[i];
        if (!load_file(l)) {
            return false;
        }
    }
    if (l->file_count == 0) {
        copy_fail(l->ret, "XX000", "No such file or directory");
        copy_put_detail(l, l->st.source);
        return false;
    }
    return true;
}

/* ------------------------------------------------------------------ the statement */

static const char *endpoint_of_process(void)
{
    static const char *const names[] = {"AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = getenv(names[i]);
        if (value != NULL && *value != '\0') {
            return value;
        }
    }
    return NULL;
}

/* Takes the keys of the statement's role, when it is attached. */
static bool take_role(struct load *l)
{
    for (int i = 0; i < l->ctx->role_count; i++) {
        const struct copy_role *role = &l->ctx->roles[i];
        if (strcmp(role->name, l->st.iam_role) == 0) {
            l->st.access_key_id = strdup(role->access_key_id);
            l->st.secret_access_key = strdup(role->secret_access_key);
            return true;
        }
    }
    return false;
}

static bool refuse_role(struct load *l)
{
    const char *role = l->st.iam_role;
    if (strcmp(role, "default") == 0) {
        copy_fail(l->ret, "XX000", "No default IAM role is associated with the cluster");
    } else {
        copy_fail(l->ret, "XX000",
                  "User is not authorized to assume IAM Role %.1000s: it is not attached to "
                  "redshift-sandbox",
                  role);
    }
    copy_put_detail(l, "IAM Role");
    return false;
}

static bool take_copy_id(struct load *l)
{
    struct backend_result result = {0};
    (void)backend_query(l->ctx->side, "SELECT pg_catalog.nextval('redshift_sys.query_ids')",
                        &result);
    bool ok = result.ok && result.row_count == 1;
    if (ok) {
        l->ret->copy_id = strtoll(result.values[0], NULL, 10);
    } else {
        copy_fail_backend(l->ret, &result);
    }
    backend_result_done(&result);
    return ok;
}

static bool check_target(struct load *l)
{
    if (l->st.stat_update_named && !l->table.owner) {
        copy_fail(l->ret, "42501", "must be owner of relation %s", l->table.name);
        return false;
    }
    if (l->st.json == COPY_JSON_NOSHRED &&
        (l->table.column_count != 1 || l->table.columns[0].type != COLUMN_SUPER)) {
        copy_fail(l->ret, "XX000", "COPY with JSON 'noshred' needs one column of type SUPER");
        return false;
    }
    return true;
}

/* Lets the server read a date or time as a CAST, with UTC as the zone of texts that name none. */
static bool cast_on_server(void *ctx, enum column_type type, struct piece text, struct bytes *to)
{
    struct load *l = ctx;
    struct bytes copy = {0}, sql = {0};
    bytes_put(&copy, text.at, text.len);
    bytes_put_text(&sql, "SET DateStyle = 'ISO, MDY'; SET TimeZone = 'UTC'; SELECT ");
    bytes_put_literal(&sql, bytes_text(&copy));
    bytes_printf(&sql, "::pg_catalog.%s::text", column_type_name(type));
    struct backend_result result = {0};
    (void)backend_query(l->ctx->side, bytes_text(&sql), &result);
    bool ok = result.ok && result.row_count == 1 && result.values[0] != NULL;
    if (ok) {
        bytes_put_text(to, result.values[0]);
    }
    backend_result_done(&result);
    bytes_done(&copy);
    bytes_done(&sql);
    return ok;
}

static void set_up(struct load *l)
{
    l->convert.st = &l->st;
    l->convert.truncate_super_strings = l->ctx->json_parse_truncate_strings;
    l->convert.cast = cast_on_server;
    l->convert.cast_ctx = l;
    l->rows.columns = l->table.columns;
    l->rows.column_count = l->table.column_count;
    l->rows.ignore_case = l->st.json == COPY_JSON_AUTO_IGNORECASE;
    l->rows.noshred = l->st.json == COPY_JSON_NOSHRED;
    l->rows.convert = &l->convert;
    copy_rows_start(&l->rows);
    l->split.object = on_object;
    l->split.fault = on_split_fault;
    l->split.ctx = l;
    struct s3_access access = {
        .access_key_id = l->st.access_key_id,
        .secret_access_key = l->st.secret_access_key,
        .session_token = l->st.session_token,
        .region = l->st.region != NULL ? l->st.region : "us-east-1",
        .endpoint = endpoint_of_process(),
    };
    l->reader = s3_reader_new(&access);
}

static bool load(struct load *l)
{
    if (l->st.iam_role != NULL && !take_role(l)) {
        return refuse_role(l);
    }
    if (!begin_transaction(l) || !copy_table_read(l->ctx, &l->st, &l->table, l->ret) ||
        !check_target(l)) {
        return false;
    }
    set_up(l);
    if (!copy_find_files(l) || !take_copy_id(l) || !lock_table(l) || !begin_copy(l)) {
        l->ret->copy_id = -1; /* loading has not begun */
        return false;
    }
    return load_files(l) && end_copy(l);
}

static void report_success(struct load *l)
{
    struct copy_outcome *ret = l->ret;
    ret->ok = true;
    ret->row_count = l->st.no_load ? 0 : l->row_count;
    struct bytes text = {0};
    bytes_printf(&text,
                 "Load into table '%s' completed, %" PRId64 " record(s) loaded successfully.",
                 l->table.name, ret->row_count);
    if (l->error_count > 0) {
        bytes_printf(&text,
                     "\nLoad into table '%s' completed, %" PRId64 " record(s) could not be loaded."
                     "  Check 'sys_load_error_detail' system table for details.",
                     l->table.name, l->error_count);
    }
    text_format(ret->notice, sizeof ret->notice, "%s", bytes_text(&text));
    bytes_done(&text);
}

static void clean_up(struct load *l)
{
    s3_reader_free(l->reader);
    manifest_done(&l->files);
    copy_rows_done(&l->rows);
    copy_convert_done(&l->convert);
    json_split_done(&l->split);
    bytes_done(&l->out);
    copy_table_done(&l->table);
    copy_statement_done(&l->st);
}

void copy_execute(struct copy_context *ctx, const char *sql, struct copy_outcome *ret)
{
    *ret = (struct copy_outcome){.copy_id = -1};
    struct load l = {.ctx = ctx, .ret = ret, .started = (int64_t)time(NULL)};
    bool ok = copy_statement_parse(sql, &l.st, ret) && load(&l);
    if (ok) {
        report_success(&l);
    } else {
        abandon(&l);
    }
    if (!ok && ret->message[0] == '\0') {
        copy_fail(ret, "08006", "the connection to the server was lost during COPY");
    }
    if (ret->copy_id >= 0) {
        copy_record_load(&l, ok);
    }
    clean_up(&l);
}
