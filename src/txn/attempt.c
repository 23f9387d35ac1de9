/*
 * txn/attempt: a plan, run until it succeeds or must not be tried again. In: statements and what
 * their answers must be. Out: one success, or one error that is explained where the server can
 * explain it. A failed transaction is rolled back, or gone with its connection, before anything
 * else is decided. What the plan is for is its owner's affair (load, commit). Here every statement
 * passes, so here they are timed.
 *
 *      CONNECTING -> KEYING -> RUNNING -> done
 *           ^           |         |
 *           +- WAITING <+- ROLLING_BACK -> EXPLAINING -> done (with the explained error)
 */

#include "txn/engine.h"

#include "base/log.h"
#include "s3/credential.h"

/* Redshift reads the files of all COPYs of a flight with the keys in their texts, which are sent at
 * once; keys that end meanwhile fail the transaction ("Temporary security credentials", Redshift
 * Developer Guide). Roles are assumed for an hour: half of it leaves the other half to be used, and
 * is longer than any flight that was seen. Where a source gives no longer-lived ones (the metadata
 * service near the end of its keys), those that there are must do; COPY then says if they did not.
 */
#define COPY_KEYS_LIFE_SECONDS 1800

#define ATTEMPT_STATES(X)                                                                          \
    X(CONNECTING) X(KEYING) X(RUNNING) X(ROLLING_BACK) X(EXPLAINING) X(WAITING)
#define ATTEMPT_ENUM(name) ATTEMPT_##name,
enum attempt_state { ATTEMPT_STATES(ATTEMPT_ENUM) };
static const char *const attempt_state_names[] = {ATTEMPT_STATES(OP_STATE_NAME)};
static const uint32_t attempt_moves[] = {
    [ATTEMPT_CONNECTING] = OP_MOVE(ATTEMPT_KEYING) | OP_MOVE(ATTEMPT_WAITING),
    [ATTEMPT_KEYING] = OP_MOVE(ATTEMPT_RUNNING) | OP_MOVE(ATTEMPT_WAITING),
    [ATTEMPT_RUNNING] = OP_MOVE(ATTEMPT_ROLLING_BACK) | OP_MOVE(ATTEMPT_WAITING),
    [ATTEMPT_ROLLING_BACK] = OP_MOVE(ATTEMPT_EXPLAINING) | OP_MOVE(ATTEMPT_WAITING),
    [ATTEMPT_WAITING] = OP_MOVE(ATTEMPT_CONNECTING),
};

struct attempt {
    struct op op;
    struct txn *txn;
    const struct plan *plan;
    struct attempt_hooks hooks;
    unsigned number; /* of tries, this one included */
    unsigned failed_statement;
    struct error *failure; /* of this try, while it is cleaned up after */
    struct timer *timer;
    unsigned at; /* the statement that runs */
    /* What COPY counted, in this try, and in an earlier one whose COMMIT nobody answered. It
     * becomes a figure when it is in the tables: the rows of a try that failed are copied again. */
    uint64_t counted_rows, doubtful_rows;
    struct s3_keys_wait keys;
    unsigned keys_number; /* of those in its texts */
    uint64_t at_began_ms;
    struct op_reply reply;
    op_done_fn *done;
    void *ctx;
};

static const struct pgc_statement rollback = {
    .label = "rolling back", .sql = "ROLLBACK", .sync = true};

static void start_connecting(struct attempt *self)
{
    self->number++;
    op_reply_expect(&self->reply, &self->op);
    link_connect(self->txn, op_reply_done, &self->reply);
}

/* ---------------------------------------------------------------- what the statements take */

static void count_work(struct attempt *self, const struct plan_note *note, uint64_t ms)
{
    struct txn *txn = self->txn;
    struct figure_table *table =
        figures_table(txn->options.figures, txn->bounds[note->binding].table.identifier);

    if (!table) {
        return;
    }
    switch (note->step) {
    case PLAN_COPY:
        table->copy_ms += ms;
        break;
    case PLAN_COUNT:
        table->copied_rows += note->expected_rows;
        break;
    case PLAN_MERGE:
    case PLAN_DELETE:
    case PLAN_EXPIRE:
        table->merge_ms += ms;
        break;
    default:
        break;
    }
}

/* The statements of a flight run one after another: each took the time since the last answer. */
static void count_statement(struct attempt *self, const struct plan_note *note)
{
    struct figures *figures = self->txn->options.figures;
    uint64_t now = loop_now_ms(self->txn->loop);
    uint64_t ms = now - self->at_began_ms;

    self->at++;
    self->at_began_ms = now;
    if (note->step == PLAN_COUNT) {
        self->counted_rows += note->expected_rows; /* another number is an error */
    }
    if (self->hooks.retry != FIGURE_RETRY_apply) {
        return;
    }
    if (note->step == PLAN_LOCK) {
        figures_add_phase(figures, FIGURE_PHASE_lock_wait, ms);
    } else if (note->step == PLAN_COMMIT) {
        figures_add_phase(figures, FIGURE_PHASE_commit, ms);
    } else if (note->step == PLAN_COPY || note->step == PLAN_COUNT || note->step == PLAN_MERGE ||
               note->step == PLAN_DELETE) {
        count_work(self, note, ms);
    }
}

static struct error *take_row(void *ctx, unsigned index, const struct pgc_row *row)
{
    struct attempt *self = ctx;
    return self->hooks.on_row(self->hooks.ctx, index, row);
}

static struct error *take_result(void *ctx, unsigned index, int64_t tag_rows)
{
    struct attempt *self = ctx;

    count_statement(self, &self->plan->notes[index]);
    return self->hooks.on_result ? self->hooks.on_result(self->hooks.ctx, index, tag_rows) : NULL;
}

static void count_rows(struct attempt *self, uint64_t rows)
{
    if (self->txn->options.figures) {
        self->txn->options.figures->checked_rows += rows;
    }
}

/* ---------------------------------------------------------------- steps */

static bool has_role(const struct txn *txn)
{
    return txn->options.iam_role && *txn->options.iam_role;
}

static void start_keying(struct attempt *self)
{
    op_set_state(&self->op, ATTEMPT_KEYING);
    if (!has_role(self->txn)) {
        s3_keys_expect(self->txn->options.s3, &self->keys, &self->op, COPY_KEYS_LIFE_SECONDS);
    }
}

static void start_running(struct attempt *self)
{
    struct error *err = self->hooks.prepare(self->hooks.ctx, self->number);
    struct pgc_batch batch = {
        .statements = self->plan->statements,
        .count = self->plan->count,
        .on_row = take_row,
        .on_result = take_result,
        .ctx = self,
    };

    if (err) {
        op_fail(&self->op, err);
        op_finish(&self->op);
        return;
    }
    if (!has_role(self->txn)) {
        (void)s3_keys(self->txn->options.s3, &self->keys_number);
    }
    self->at = 0;
    self->counted_rows = 0;
    self->at_began_ms = loop_now_ms(self->txn->loop);
    op_reply_expect(&self->reply, &self->op);
    pgc_run(self->txn->link.conn, &batch, op_reply_done, &self->reply);
    op_set_state(&self->op, ATTEMPT_RUNNING);
}

static void give_up(struct attempt *self)
{
    struct error *err = self->failure;

    if (self->hooks.was_applied && self->hooks.was_applied(self->hooks.ctx)) {
        count_rows(self, self->doubtful_rows);
    }
    self->failure = NULL;
    op_fail(&self->op, err);
    op_finish(&self->op);
}

/* The transaction is gone, rolled back or with its connection: again, or not. */
static void judge(struct attempt *self)
{
    if (error_class_of(self->failure) != ERROR_RETRY || op_must_stop(&self->op) ||
        !self->hooks.may_retry(self->hooks.ctx) ||
        !backoff_may_retry(&txn_sql_backoff, self->number)) {
        give_up(self);
        return;
    }
    log_event(LOG_WARN, self->hooks.retry_message, LOG_INT("round", self->txn->round),
              LOG_INT("attempt", self->number), LOG_STR("error", error_text(self->failure)),
              LOG_END);
    figures_add_retry(self->txn->options.figures, self->hooks.retry, self->failure);
    error_free(self->failure);
    self->failure = NULL;
    if (self->txn->options.figures) {
        self->txn->options.figures->sql_retries++;
    }
    timer_start(self->timer, backoff_next(&txn_sql_backoff, self->number, &self->txn->random));
    op_set_state(&self->op, ATTEMPT_WAITING);
}

static void step_keying(struct attempt *self)
{
    struct error *err = NULL;

    if (op_must_stop(&self->op)) {
        s3_keys_cancel(&self->keys);
    }
    if (!has_role(self->txn) && !s3_keys_take(&self->keys, &err)) {
        return;
    }
    if (op_must_stop(&self->op)) {
        error_drop(err, "the attempt was cancelled");
        op_finish(&self->op);
    } else if (err) {
        self->failure = err;
        judge(self);
    } else {
        start_running(self);
    }
}

/* S3's words in Redshift's: keys that a COPY was given ended before it did. */
static void renew_keys(struct attempt *self, struct error *err)
{
    if (!has_role(self->txn) && error_code_of(err) == ERROR_SQL &&
        strstr(error_text(err), "ExpiredToken") &&
        s3_keys_reject(self->txn->options.s3, self->keys_number)) {
        error_set_class(err, ERROR_RETRY);
    }
}

static void after_running(struct attempt *self, struct error *err)
{
    struct pgc_batch batch = {.statements = &rollback, .count = 1};

    if (!err) {
        count_rows(self, self->counted_rows);
        op_finish_won(&self->op);
        return;
    }
    if (self->at + 1 == self->plan->count) {
        self->doubtful_rows = self->counted_rows;
    }
    renew_keys(self, err);
    self->failure = err;
    self->failed_statement = link_last_failed(self->txn);
    if (!link_is_connected(self->txn)) {
        judge(self);
        return;
    }
    op_reply_expect(&self->reply, &self->op);
    pgc_run(self->txn->link.conn, &batch, op_reply_done, &self->reply);
    op_set_state(&self->op, ATTEMPT_ROLLING_BACK);
}

/* A COPY that the server refused, for which it may have written down why. */
static bool can_explain(const struct attempt *self)
{
    return !op_must_stop(&self->op) && error_code_of(self->failure) == ERROR_SQL &&
           error_class_of(self->failure) != ERROR_RETRY &&
           self->failed_statement < self->plan->count &&
           self->plan->notes[self->failed_statement].step == PLAN_COPY;
}

static void start_explaining(struct attempt *self)
{
    unsigned binding = self->plan->notes[self->failed_statement].binding;
    struct names files = self->hooks.copied_files(self->hooks.ctx, binding);
    struct error *err = self->failure;

    self->failure = NULL;
    op_reply_expect(&self->reply, &self->op);
    explain_start(self->txn, err, self->txn->bounds[binding].table.identifier, &files,
                  op_reply_done, &self->reply);
    op_set_state(&self->op, ATTEMPT_EXPLAINING);
}

static void attempt_step(struct op *op)
{
    struct attempt *self = CONTAINER_OF(op, struct attempt, op);
    struct error *err = NULL;

    switch ((enum attempt_state)op->state) {
    case ATTEMPT_CONNECTING:
        if (!op_reply_take(&self->reply, &err)) {
            return;
        }
        if (err) {
            self->failure = err;
            judge(self);
        } else if (op_must_stop(op)) {
            op_finish(op);
        } else {
            start_keying(self);
        }
        break;
    case ATTEMPT_KEYING:
        step_keying(self);
        break;
    case ATTEMPT_RUNNING:
        if (op_reply_take(&self->reply, &err)) {
            after_running(self, err);
        }
        break;
    case ATTEMPT_ROLLING_BACK:
        if (!op_reply_take(&self->reply, &err)) {
            return;
        }
        error_drop(err, "a connection that cannot roll back is replaced by the next use");
        if (can_explain(self)) {
            start_explaining(self);
        } else {
            judge(self);
        }
        break;
    case ATTEMPT_EXPLAINING:
        if (op_reply_take(&self->reply, &err)) {
            op_fail(op, err);
            op_finish(op);
        }
        break;
    case ATTEMPT_WAITING:
        if (op_must_stop(op)) {
            op_finish(op);
        } else if (timer_has_expired(self->timer)) {
            timer_stop(self->timer);
            start_connecting(self);
            op_set_state(op, ATTEMPT_CONNECTING);
        }
        break;
    }
}

static const struct op_kind attempt_kind = {
    .name = "attempt",
    .state_names = attempt_state_names,
    .state_count = ARRAY_LEN(attempt_state_names),
    .moves = attempt_moves,
    .step = attempt_step,
};

static void attempt_done(void *ctx, struct error *err)
{
    struct attempt *self = ctx;
    op_done_fn *done = self->done;
    void *done_ctx = self->ctx;

    mem_free(self);
    done(done_ctx, err);
}

struct op *attempt_start(struct txn *txn,
                         const struct plan *plan,
                         const struct attempt_hooks *hooks,
                         op_done_fn *done,
                         void *ctx)
{
    struct attempt *self = mem_alloc(sizeof *self);

    self->txn = txn;
    self->plan = plan;
    self->hooks = *hooks;
    self->done = done;
    self->ctx = ctx;
    op_init(&self->op, txn->loop, &attempt_kind, attempt_done, self);
    self->timer = timer_new(&self->op);
    start_connecting(self);
    return &self->op;
}

static void add_statement_wait(const struct txn *txn, const struct attempt *self, struct buf *out)
{
    bool is_known = self->at < self->plan->count;
    const char *label = is_known ? self->plan->statements[self->at].label : "ending the batch";
    struct span words = holdup_words(txn);

    if (words.len > 0) {
        buf_add_span(out, words);
        buf_add_str(out, ", for ");
        buf_add_str(out, label);
    } else if (is_known && self->plan->notes[self->at].step == PLAN_LOCK) {
        buf_add_str(out, "another transaction, which has the lock on the metadata table");
    } else {
        buf_add_str(out, "the warehouse: ");
        buf_add_str(out, label);
    }
}

void attempt_add_wait(const struct txn *txn, struct op *attempt, struct buf *out)
{
    const struct attempt *self = CONTAINER_OF(attempt, struct attempt, op);

    switch ((enum attempt_state)attempt->state) {
    case ATTEMPT_CONNECTING:
        buf_add_str(out, "a connection to the warehouse");
        break;
    case ATTEMPT_KEYING:
        buf_add_str(out, "keys for S3");
        break;
    case ATTEMPT_RUNNING:
        add_statement_wait(txn, self, out);
        break;
    case ATTEMPT_ROLLING_BACK:
        buf_add_str(out, "the warehouse: rolling back");
        break;
    case ATTEMPT_EXPLAINING:
        buf_add_str(out, "the warehouse: the cause of a failure");
        break;
    case ATTEMPT_WAITING:
        buf_add_str(out, "the time of the next try");
        break;
    }
}
