/*
 * txn/explain: why a COPY failed. In: the server's terse error and the files that were copied. Out:
 * the same error with table, column, file, line and advice, from the server's table of load errors.
 * When that query fails or finds nothing, the original error is the better message and is passed on
 * unchanged.
 */

#include "txn/engine.h"

#include "base/text.h"
#include "redshift/load_error.h"

#define EXPLAIN_STATES(X) X(BEGINNING) X(QUERYING)
#define EXPLAIN_ENUM(name) EXPLAIN_##name,
enum explain_state { EXPLAIN_STATES(EXPLAIN_ENUM) };
static const char *const explain_state_names[] = {EXPLAIN_STATES(OP_STATE_NAME)};
static const uint32_t explain_moves[] = {
    [EXPLAIN_BEGINNING] = OP_MOVE(EXPLAIN_QUERYING),
};

/* Enough for every folder that a COPY reads from: one per process that staged. */
enum { MAX_PREFIXES = 64, MAX_SQL_BYTES = 1024 * 1024 };

struct explain {
    struct op op;
    struct txn *txn;
    struct arena *arena;
    struct error *err; /* to be explained */
    struct span table_identifier;
    struct pgc_statement statement;
    struct rs_load_error found; /* the first row; row_count counts all */
    struct op_reply reply;
    op_done_fn *done;
    void *ctx;
};

/* The folder of an object key as s3://bucket/folder/. */
static struct span folder_url(struct explain *self, struct span key)
{
    size_t len = key.len;
    while (len > 0 && key.ptr[len - 1] != '/') {
        len--;
    }
    return span_of(arena_printf(self->arena, "s3://%s/%.*s", s3_bucket(self->txn->options.s3),
                                (int)len, key.ptr));
}

static void build_query(struct explain *self, const struct names *files)
{
    struct span urls[MAX_PREFIXES];
    unsigned count = 0;
    struct buf sql;

    for (unsigned i = 0; i < files->count && count < MAX_PREFIXES; i++) {
        struct span url = folder_url(self, files->items[i]);
        bool known = false;
        for (unsigned k = 0; k < count && !known; k++) {
            known = span_equal(urls[k], url);
        }
        if (!known) {
            urls[count++] = url;
        }
    }
    buf_init(&sql, MAX_SQL_BYTES);
    rs_sql_load_errors(&sql, urls, count);
    self->statement = (struct pgc_statement){
        .label = "reading load errors",
        .sql = arena_strndup(self->arena, buf_view(&sql)),
        .sync = true,
    };
    buf_done(&sql);
}

/* The columns of rs_sql_load_errors. */
enum {
    COL_CODE,
    COL_FILE,
    COL_LINE,
    COL_COLUMN,
    COL_TYPE,
    COL_LENGTH,
    COL_MESSAGE,
    COL_ROWS,
    COL_COUNT
};

static struct error *take_row(void *ctx, unsigned index, const struct pgc_row *row)
{
    struct explain *self = ctx;
    struct rs_load_error *found = &self->found;
    int64_t code;

    (void)index;
    if (found->row_count || row->count != COL_COUNT) {
        return NULL;
    }
    if (text_to_int64(row->values[COL_CODE], &code)) {
        found->code = (int)code;
    }
    if (!text_to_int64(row->values[COL_LINE], &found->line)) {
        found->line = -1;
    }
    if (!text_to_uint64(row->values[COL_ROWS], &found->row_count)) {
        found->row_count = 1;
    }
    found->file = arena_span(self->arena, row->values[COL_FILE]);
    found->column = arena_span(self->arena, row->values[COL_COLUMN]);
    found->column_type = arena_span(self->arena, row->values[COL_TYPE]);
    found->column_length = arena_span(self->arena, row->values[COL_LENGTH]);
    found->message = arena_span(self->arena, row->values[COL_MESSAGE]);
    return NULL;
}

static void explain_step(struct op *op)
{
    struct explain *self = CONTAINER_OF(op, struct explain, op);
    struct error *err;

    switch ((enum explain_state)op->state) {
    case EXPLAIN_BEGINNING: {
        struct pgc_batch batch = {
            .statements = &self->statement, .count = 1, .on_row = take_row, .ctx = self};
        if (op_must_stop(op) || !link_is_connected(self->txn)) {
            op_finish_won(op);
            return;
        }
        op_reply_expect(&self->reply, op);
        pgc_run(self->txn->link.conn, &batch, op_reply_done, &self->reply);
        op_set_state(op, EXPLAIN_QUERYING);
        break;
    }
    case EXPLAIN_QUERYING:
        if (!op_reply_take(&self->reply, &err)) {
            return;
        }
        error_drop(err, "the original error is reported without explanation");
        op_finish_won(op);
        break;
    }
}

static const struct op_kind explain_kind = {
    .name = "explain",
    .state_names = explain_state_names,
    .state_count = ARRAY_LEN(explain_state_names),
    .moves = explain_moves,
    .step = explain_step,
};

static void explain_done(void *ctx, struct error *ignored)
{
    struct explain *self = ctx;
    struct error *err = self->err;
    op_done_fn *done = self->done;
    void *done_ctx = self->ctx;

    error_drop(ignored, "the operation cannot fail");
    if (self->found.row_count) {
        err = rs_explain_load_error(err, self->table_identifier, &self->found);
    }
    arena_free(self->arena);
    mem_free(self);
    done(done_ctx, err);
}

void explain_start(struct txn *txn,
                   struct error *err,
                   struct span table_identifier,
                   const struct names *files,
                   op_done_fn *done,
                   void *ctx)
{
    struct explain *self = mem_alloc(sizeof *self);

    self->txn = txn;
    self->arena = arena_new((size_t)4 * 1024 * 1024);
    self->err = err;
    self->table_identifier = arena_span(self->arena, table_identifier);
    self->done = done;
    self->ctx = ctx;
    build_query(self, files);
    op_init(&self->op, txn->loop, &explain_kind, explain_done, self);
    op_mark(&self->op);
}
