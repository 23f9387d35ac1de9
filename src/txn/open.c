/*
 * txn/open: taking ownership. In: the connector state and the metadata table's rows. Out: this
 * process's owner mark in those rows, what is pending, and the checkpoint of a task that another
 * version ran. Only the primary (the shard whose range
 * begins at zero) does this; the others apply nothing and need no connection yet.
 *
 *      CONNECTING -> LOCKING -> RAISING -> done
 *           ^           |          |
 *           +- WAITING <- DROPPING-+      (a retriable failure: the connection is given up with its
 * transaction)
 *
 * LOCK comes first and waits for the transaction of a dead predecessor that may still be
 * committing; only then are the rows read, so that its tokens are seen.
 */

#include "txn/engine.h"

#include "base/log.h"

#include <inttypes.h>
#include <stdio.h>

#define OPEN_STATES(X) X(BEGINNING) X(CONNECTING) X(LOCKING) X(RAISING) X(DROPPING) X(WAITING)
#define OPEN_ENUM(name) OPEN_##name,
enum open_state { OPEN_STATES(OPEN_ENUM) };
static const char *const open_state_names[] = {OPEN_STATES(OP_STATE_NAME)};
static const uint32_t open_moves[] = {
    [OPEN_BEGINNING] = OP_MOVE(OPEN_CONNECTING),
    [OPEN_CONNECTING] = OP_MOVE(OPEN_LOCKING) | OP_MOVE(OPEN_DROPPING),
    [OPEN_LOCKING] = OP_MOVE(OPEN_RAISING) | OP_MOVE(OPEN_DROPPING),
    [OPEN_RAISING] = OP_MOVE(OPEN_DROPPING),
    [OPEN_DROPPING] = OP_MOVE(OPEN_WAITING),
    [OPEN_WAITING] = OP_MOVE(OPEN_CONNECTING),
};

enum { MAX_ROWS = 65536, STATEMENT_BYTES = 64 * 1024 };

struct open_op {
    struct op op;
    struct txn *txn;
    struct arena *arena; /* of one attempt */
    struct fence_rows rows;
    struct pgc_statement *statements;
    unsigned statement_count;
    unsigned check; /* index of the statement that reads the rows */
    int64_t mark;
    struct timer *timer;
    unsigned attempt;
    struct error *failure; /* of this attempt, while the connection is dropped */
    struct op_reply reply;
};

/* ---------------------------------------------------------------- statements */

static struct pgc_statement *add(struct open_op *self, const char *label, const char *sql)
{
    struct pgc_statement *statement = &self->statements[self->statement_count++];
    *statement = (struct pgc_statement){.label = label, .sql = sql, .sync = true};
    return statement;
}

static char *sql_text(struct open_op *self, void (*build)(struct buf *, const struct rs_table *))
{
    struct buf sql;
    buf_init(&sql, STATEMENT_BYTES);
    build(&sql, &self->txn->metadata);
    char *text = arena_strndup(self->arena, buf_view(&sql));
    buf_done(&sql);
    return text;
}

static const char *number(struct open_op *self, int64_t value)
{
    return arena_printf(self->arena, "%" PRId64, value);
}

static const char **params(struct open_op *self, unsigned count)
{
    return ARENA_ARRAY(self->arena, count, const char *);
}

static struct error *take_row(void *ctx, unsigned index, const struct pgc_row *row)
{
    struct open_op *self = ctx;
    if (index != self->check) {
        return NULL;
    }
    if (self->rows.count == MAX_ROWS) {
        return error_new(ERROR_STATE, ERROR_FATAL,
                         "the metadata table has more than %d rows of this task", MAX_ROWS);
    }
    return fence_rows_add(&self->rows, row);
}

static void run(struct open_op *self,
                struct error *(*on_row)(void *, unsigned, const struct pgc_row *),
                struct error *(*on_result)(void *, unsigned, int64_t))
{
    struct pgc_batch batch = {
        .statements = self->statements,
        .count = self->statement_count,
        .on_row = on_row,
        .on_result = on_result,
        .ctx = self,
    };
    op_reply_expect(&self->reply, &self->op);
    pgc_run(self->txn->link.conn, &batch, op_reply_done, &self->reply);
}

static void start_locking(struct open_op *self)
{
    struct txn *txn = self->txn;

    arena_reset(self->arena);
    fence_rows_init(&self->rows, self->arena, txn->options.key_begin, txn->options.key_end);
    self->statements = ARENA_ARRAY(self->arena, 4, struct pgc_statement);
    self->statement_count = 0;
    if (!txn->options.has_tokens_column) {
        struct pgc_statement *alter =
            add(self, "adding column checkpoint_tokens to the metadata table",
                sql_text(self, rs_sql_add_tokens_column));
        alter->ignore_sqlstate = "42701"; /* another instance added it meanwhile */
    }
    add(self, "beginning the transaction", "BEGIN");
    add(self, "locking the metadata table", sql_text(self, rs_sql_lock));
    self->check = self->statement_count;
    struct pgc_statement *check =
        add(self, "reading the metadata table", sql_text(self, rs_sql_read_rows));
    const char **task = params(self, 1);
    task[0] = txn->options.task;
    check->params = task;
    check->param_count = 1;
    run(self, take_row, NULL);
    op_set_state(&self->op, OPEN_LOCKING);
}

/* ---------------------------------------------------------------- the owner mark */

static void add_update(struct open_op *self, const struct fence_row *row)
{
    struct pgc_statement *update =
        add(self, "raising the owner mark", sql_text(self, rs_sql_update_fence));
    const char **values = params(self, 4);
    values[0] = number(self, self->mark);
    values[1] = self->txn->options.task;
    values[2] = number(self, row->key_begin);
    values[3] = number(self, row->key_end);
    update->params = values;
    update->param_count = 4;
    update->sync = false;
}

static void add_insert(struct open_op *self)
{
    struct pgc_statement *insert = add(self, "adding this task's row to the metadata table",
                                       sql_text(self, rs_sql_insert_row));
    const char **values = params(self, 6);
    values[0] = self->txn->options.task;
    values[1] = number(self, self->txn->options.key_begin);
    values[2] = number(self, self->txn->options.key_end);
    values[3] = number(self, self->mark);
    values[4] = NULL;
    values[5] = "{}";
    insert->params = values;
    insert->param_count = 6;
    insert->sync = false;
}

/* Each of the statements that write touches exactly one row; the last of the list is COMMIT. */
static struct error *take_result(void *ctx, unsigned index, int64_t tag_rows)
{
    struct open_op *self = ctx;
    if (index + 1 < self->statement_count && tag_rows != 1) {
        return error_new(ERROR_STATE, ERROR_FATAL,
                         "the owner mark was written to %" PRId64 " rows, expected 1", tag_rows);
    }
    return NULL;
}

static bool is_in_state(const struct txn *txn)
{
    for (unsigned i = 0; i < txn->pending.count; i++) {
        if (span_is(txn->pending.items[i].range, txn->range)) {
            return true;
        }
    }
    return false;
}

/* The original kept its checkpoint in the row and wrote it with the data. Such a row is the truth
 * until this version has written to it, or has committed work to the recovery log: then the log is.
 * A task whose ranges changed since has no such row, and goes on from the log. */
static struct error *take_checkpoint(struct open_op *self)
{
    struct txn *txn = self->txn;
    const struct fence_row *own = fence_rows_own(&self->rows);

    if (!own || !own->checkpoint_hex.ptr || is_in_state(txn)) {
        return NULL;
    }
    RETURN_IF_ERROR(fence_read_checkpoint(txn->arena, own->checkpoint_hex, &txn->checkpoint));
    log_event(LOG_INFO, "going on from the checkpoint in the metadata table",
              LOG_STR("range", txn->range), LOG_INT("bytes", txn->checkpoint.len), LOG_END);
    return NULL;
}

static void start_raising(struct open_op *self)
{
    self->mark = fence_next(&self->rows);
    self->statements = ARENA_ARRAY(self->arena, self->rows.count + 2, struct pgc_statement);
    self->statement_count = 0;
    for (unsigned i = 0; i < self->rows.count; i++) {
        add_update(self, &self->rows.items[i]);
    }
    if (!fence_rows_own(&self->rows)) {
        add_insert(self);
    }
    self->statements[self->statement_count - 1].sync = true; /* looked at before COMMIT goes out */
    add(self, "committing the owner mark", "COMMIT");
    run(self, NULL, take_result);
    op_set_state(&self->op, OPEN_RAISING);
}

/* ---------------------------------------------------------------- steps */

static void start_connecting(struct open_op *self)
{
    self->attempt++;
    op_reply_expect(&self->reply, &self->op);
    link_connect(self->txn, op_reply_done, &self->reply);
    op_set_state(&self->op, OPEN_CONNECTING);
}

static void start_dropping(struct open_op *self, struct error *err)
{
    self->failure = err;
    op_reply_expect(&self->reply, &self->op);
    link_drop(self->txn, op_reply_done, &self->reply);
    op_set_state(&self->op, OPEN_DROPPING);
}

/* The connection is gone, and its transaction with it. */
static void after_dropping(struct open_op *self)
{
    struct error *err = self->failure;

    self->failure = NULL;
    if (err && error_class_of(err) == ERROR_RETRY && !op_must_stop(&self->op) &&
        backoff_may_retry(&txn_sql_backoff, self->attempt)) {
        error_drop(err, "the attempt left nothing behind; another one follows");
        timer_start(self->timer, backoff_next(&txn_sql_backoff, self->attempt, &self->txn->random));
        op_set_state(&self->op, OPEN_WAITING);
        return;
    }
    op_fail(&self->op, err);
    op_finish(&self->op);
}

static void keep_tokens(struct open_op *self)
{
    struct txn *txn = self->txn;

    txn->fence = self->mark;
    for (unsigned i = 0; i < self->rows.own.count; i++) {
        const struct token *token = &self->rows.own.items[i];
        tokens_set(&txn->own_tokens, txn->tokens_arena, token->state_key, token->range, token->id);
    }
    for (unsigned i = 0; i < self->rows.applied.count; i++) {
        const struct token *token = &self->rows.applied.items[i];
        tokens_add(&txn->applied, txn->tokens_arena, token);
    }
}

static void open_step(struct op *op)
{
    struct open_op *self = CONTAINER_OF(op, struct open_op, op);
    struct error *err = NULL;

    if (op->state != OPEN_BEGINNING && op->state != OPEN_WAITING &&
        !op_reply_take(&self->reply, &err)) {
        return;
    }
    switch ((enum open_state)op->state) {
    case OPEN_BEGINNING:
        if (!self->txn->is_primary || op_must_stop(op)) {
            op_finish(op);
        } else {
            start_connecting(self);
        }
        break;
    case OPEN_CONNECTING:
        if (err || op_must_stop(op)) {
            start_dropping(self, err);
        } else {
            start_locking(self);
        }
        break;
    case OPEN_LOCKING:
        err = err ? err : take_checkpoint(self);
        if (err || op_must_stop(op)) {
            start_dropping(self, err);
        } else {
            start_raising(self);
        }
        break;
    case OPEN_RAISING:
        if (err) {
            start_dropping(self, err);
        } else {
            keep_tokens(self);
            op_finish(op);
        }
        break;
    case OPEN_DROPPING:
        error_drop(err, "closing cannot fail");
        after_dropping(self);
        break;
    case OPEN_WAITING:
        if (op_must_stop(op)) {
            op_finish(op);
        } else if (timer_has_expired(self->timer)) {
            timer_stop(self->timer);
            start_connecting(self);
        }
        break;
    }
}

static const struct op_kind open_kind = {
    .name = "open",
    .state_names = open_state_names,
    .state_count = ARRAY_LEN(open_state_names),
    .moves = open_moves,
    .step = open_step,
};

static void open_done(void *ctx, struct error *err)
{
    struct open_op *self = ctx;
    struct txn *txn = self->txn;

    txn->open_op = NULL;
    arena_free(self->arena);
    mem_free(self);
    if (err) {
        txn_fail(txn, error_wrap(err, "opening the task's row of the metadata table"));
    } else if (txn->phase == PHASE_OPENING) {
        txn->is_owner = true;
        txn_opened_so_far(txn);
    }
    txn_background_ended(txn);
}

void open_start(struct txn *txn)
{
    struct open_op *self = mem_alloc(sizeof *self);

    self->txn = txn;
    self->arena = arena_new((size_t)64 * 1024 * 1024);
    txn->open_op = self;
    txn->background++;
    op_init(&self->op, txn->loop, &open_kind, open_done, self);
    self->timer = timer_new(&self->op);
    op_mark(&self->op);
}

void open_cancel(struct txn *txn)
{
    if (txn->open_op) {
        op_cancel(&txn->open_op->op);
    }
}
