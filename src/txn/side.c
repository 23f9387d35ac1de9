/*
 * txn/side: a connection beside the kept one, for what must neither wait for that nor hold it up.
 * In: tasks (statements with a bound in time). Out: their answers, one after another. It is opened
 * for the first task and closed when there was none for a while. Nothing that the engine promises
 * depends on it: a task that fails, for whatever reason, is answered with the error and that is
 * all.
 *
 *                                  .--- task ---.
 *                                  v            |
 *      CONNECTING -> SETTING -> WAITING ---> RUNNING
 *          ^  \         \          |            |
 *          |   '---------'---------'------------'--> CLOSING -> done
 *          '------------- tasks are left ---------------'
 */

#include "txn/engine.h"

/* A task now and then costs a login; a connection that nobody uses costs the warehouse a slot. */
#define SIDE_IDLE_MS 60000
/* The server cancels what our own bound could not reach. */
#define SIDE_STATEMENT_MS 30000

#define SIDE_STATES(X) X(CONNECTING) X(SETTING) X(WAITING) X(RUNNING) X(CLOSING)
#define SIDE_ENUM(name) SIDE_##name,
enum side_state { SIDE_STATES(SIDE_ENUM) };
static const char *const side_state_names[] = {SIDE_STATES(OP_STATE_NAME)};
static const uint32_t side_moves[] = {
    [SIDE_CONNECTING] = OP_MOVE(SIDE_SETTING) | OP_MOVE(SIDE_CLOSING),
    [SIDE_SETTING] = OP_MOVE(SIDE_WAITING) | OP_MOVE(SIDE_CLOSING),
    [SIDE_WAITING] = OP_MOVE(SIDE_RUNNING) | OP_MOVE(SIDE_CLOSING),
    [SIDE_RUNNING] = OP_MOVE(SIDE_WAITING) | OP_MOVE(SIDE_CLOSING),
    [SIDE_CLOSING] = OP_MOVE(SIDE_CONNECTING),
};

enum { SETTING_BYTES = 4096 };

struct side {
    struct op op;
    struct txn *txn;
    struct pgc_conn *conn;  /* NULL in CLOSING */
    struct list tasks;      /* not answered; the first is the one that runs in RUNNING */
    struct timer *timer;    /* of the first task's bound, or of the idle time */
    uint64_t idle_since_ms; /* in WAITING without a task */
    bool conn_closed;       /* fact */
    struct error *refused;  /* why there is no connection; it answers all tasks */
    struct buf sql;         /* of the setting, while it runs */
    struct pgc_statement setting;
    struct op_reply reply;
};

/* ---------------------------------------------------------------- tasks */

static struct side_task *first_task(const struct side *self)
{
    struct list_node *node = list_first(&self->tasks);
    return node ? CONTAINER_OF(node, struct side_task, node) : NULL;
}

/* The task is its owner's again. */
static void answer(struct side_task *task, struct error *err)
{
    list_remove(&task->node);
    task->is_under_way = false;
    task->done(task->ctx, err);
}

static bool is_overdue(const struct side *self, const struct side_task *task)
{
    return loop_now_ms(self->txn->loop) >= task->began_ms + task->bound_ms;
}

/* Nobody waits for it, or nobody shall any longer. */
static bool is_over(const struct side *self, const struct side_task *task)
{
    return task->is_unwanted || is_overdue(self, task);
}

static struct error *reason(const struct side *self, const struct side_task *task)
{
    if (task->is_unwanted || op_must_stop(&self->op)) {
        return error_new(ERROR_CANCELLED, ERROR_ABORT, "it is not wanted any more");
    }
    return error_new(ERROR_TIMEOUT, ERROR_RETRY, "no answer within %llu ms",
                     (unsigned long long)task->bound_ms);
}

/* All whose time is over; the first only when it does not run. */
static void answer_over(struct side *self, bool is_running)
{
    LIST_FOR_EACH(node, &self->tasks)
    {
        struct side_task *task = CONTAINER_OF(node, struct side_task, node);
        if ((!is_running || task != first_task(self)) &&
            (op_must_stop(&self->op) || is_over(self, task))) {
            answer(task, reason(self, task));
        }
    }
}

/* ---------------------------------------------------------------- steps */

static void conn_closed(void *ctx)
{
    struct side *self = ctx;

    self->conn_closed = true;
    op_mark(&self->op);
}

/* What runs is cancelled at the server, too. */
static void start_closing(struct side *self)
{
    struct pgc_conn *conn = self->conn;

    self->conn = NULL;
    self->conn_closed = false;
    timer_stop(self->timer);
    pgc_end(conn, conn_closed, self);
    op_set_state(&self->op, SIDE_CLOSING);
}

static void start_connecting(struct side *self)
{
    self->conn = pgc_conn_new(self->txn->loop, self->txn->options.pg);
    op_reply_expect(&self->reply, &self->op);
    pgc_connect(self->conn, op_reply_done, &self->reply);
}

static void start_setting(struct side *self)
{
    struct pgc_batch batch = {.statements = &self->setting, .count = 1};

    buf_clear(&self->sql);
    rs_sql_statement_timeout(&self->sql, SIDE_STATEMENT_MS);
    self->setting = (struct pgc_statement){
        .label = "making the session's settings", .sql = self->sql.data, .sync = true};
    op_reply_expect(&self->reply, &self->op);
    pgc_run(self->conn, &batch, op_reply_done, &self->reply);
    op_set_state(&self->op, SIDE_SETTING);
}

static void start_running(struct side *self, const struct side_task *task)
{
    struct pgc_batch batch = {
        .statements = &task->statement, .count = 1, .on_row = task->on_row, .ctx = task->ctx};

    op_reply_expect(&self->reply, &self->op);
    pgc_run(self->conn, &batch, op_reply_done, &self->reply);
    op_set_state(&self->op, SIDE_RUNNING);
}

static void start_waiting(struct side *self)
{
    self->idle_since_ms = loop_now_ms(self->txn->loop);
    op_set_state(&self->op, SIDE_WAITING);
}

/* Wakes the step when the first task's time, or that of the idle connection, is over. */
static void set_timer(struct side *self)
{
    const struct side_task *task = first_task(self);
    uint64_t now = loop_now_ms(self->txn->loop);
    uint64_t due = task ? task->began_ms + task->bound_ms : self->idle_since_ms + SIDE_IDLE_MS;

    timer_start(self->timer, due > now ? due - now : 0);
}

static void step_connecting(struct side *self)
{
    struct error *err;

    if (op_reply_take(&self->reply, &err)) {
        if (err) {
            self->refused = err;
            start_closing(self);
        } else if (self->op.state == SIDE_CONNECTING) {
            start_setting(self);
        } else {
            start_waiting(self);
        }
    } else if (!first_task(self)) {
        start_closing(self); /* they were given up meanwhile */
    } else {
        set_timer(self);
    }
}

static void step_waiting(struct side *self)
{
    const struct side_task *task = first_task(self);
    bool is_idle = !task && loop_now_ms(self->txn->loop) >= self->idle_since_ms + SIDE_IDLE_MS;

    if (op_must_stop(&self->op) || is_idle || !pgc_is_connected(self->conn)) {
        start_closing(self);
    } else if (task) {
        start_running(self, task);
    } else {
        set_timer(self);
    }
}

static void step_running(struct side *self)
{
    struct side_task *task = first_task(self);
    struct error *err;

    if (op_reply_take(&self->reply, &err)) {
        answer(task, err);
        start_waiting(self); /* which sees whether the connection still stands */
    } else if (op_must_stop(&self->op) || is_over(self, task)) {
        start_closing(self);
    } else {
        set_timer(self);
    }
}

static void step_closing(struct side *self)
{
    struct error *err;

    if (!self->conn_closed) {
        return;
    }
    if (op_reply_take(&self->reply, &err)) {
        error_drop(err, "it was given up, and its task is told so");
    }
    answer_over(self, false);
    while (self->refused && first_task(self)) {
        answer(first_task(self),
               error_new(error_code_of(self->refused), error_class_of(self->refused), "%s",
                         error_text(self->refused)));
    }
    error_free(self->refused);
    self->refused = NULL;
    if (first_task(self)) {
        start_connecting(self);
        op_set_state(&self->op, SIDE_CONNECTING);
    } else {
        self->txn->side = NULL; /* the next task begins anew */
        op_finish_won(&self->op);
    }
}

static void side_step(struct op *op)
{
    struct side *self = CONTAINER_OF(op, struct side, op);

    answer_over(self, op->state == SIDE_RUNNING || op->state == SIDE_CLOSING);
    switch ((enum side_state)op->state) {
    case SIDE_CONNECTING:
    case SIDE_SETTING:
        step_connecting(self);
        break;
    case SIDE_WAITING:
        step_waiting(self);
        break;
    case SIDE_RUNNING:
        step_running(self);
        break;
    case SIDE_CLOSING:
        step_closing(self);
        break;
    }
}

static const struct op_kind side_kind = {
    .name = "side connection",
    .state_names = side_state_names,
    .state_count = ARRAY_LEN(side_state_names),
    .moves = side_moves,
    .step = side_step,
};

static void side_done(void *ctx, struct error *err)
{
    struct side *self = ctx;
    struct txn *txn = self->txn;

    error_drop(err, "each task was told");
    buf_done(&self->sql);
    mem_free(self);
    txn_background_ended(txn);
}

/* ---------------------------------------------------------------- doors */

void side_run(struct txn *txn, struct side_task *task)
{
    struct side *self = txn->side;

    CHECK(!task->is_under_way && txn->phase != PHASE_CLOSING);
    if (!self) {
        self = mem_alloc(sizeof *self);
        self->txn = txn;
        list_init(&self->tasks);
        buf_init(&self->sql, SETTING_BYTES);
        txn->side = self;
        txn->background++;
        op_init(&self->op, txn->loop, &side_kind, side_done, self);
        self->timer = timer_new(&self->op);
        start_connecting(self);
    }
    task->is_under_way = true;
    task->is_unwanted = false;
    task->began_ms = loop_now_ms(txn->loop);
    list_push(&self->tasks, &task->node);
    op_mark(&self->op);
}

void side_give_up(struct txn *txn, struct side_task *task)
{
    if (task->is_under_way) {
        task->is_unwanted = true;
        op_mark(&txn->side->op);
    }
}

void side_cancel(struct txn *txn)
{
    if (txn->side) {
        op_cancel(&txn->side->op);
    }
}
