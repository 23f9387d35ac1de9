/*
 * connector/apply_run: actions side by side. In: actions that do not depend on each other. Out: all
 * of them done, or the first error. It knows nothing of what they are for.
 *
 *      RUNNING -> CLOSING -> done
 *
 * Each worker has a connection and takes the next action that nobody took, until there is none. The
 * first worker's connection is the owner's and stays open when all went well.
 */

#include "connector/apply_run.h"

#include "base/log.h"

#define RUNNING_STATES(X) X(RUNNING) X(CLOSING)
#define RUNNING_ENUM(name) RUNNING_##name,
enum running_state { RUNNING_STATES(RUNNING_ENUM) };
static const char *const running_state_names[] = {RUNNING_STATES(OP_STATE_NAME)};
static const uint32_t running_moves[] = {
    [RUNNING_RUNNING] = OP_MOVE(RUNNING_CLOSING),
};

enum { WORKERS_MAX = 5 };

struct worker {
    struct pgc_conn *conn;
    const struct apply_action *action; /* that it runs; NULL while it connects or is idle */
    struct op_reply reply;
};

struct running {
    struct op op;
    struct world *world;
    struct pgc_conn **conn; /* the owner's */
    const struct apply_actions *actions;
    unsigned next; /* the first action that nobody took */
    struct worker workers[WORKERS_MAX];
    unsigned worker_count;
    unsigned closing; /* connections */
    bool is_stopped;  /* what ran was told to stop */
    op_done_fn *done;
    void *ctx;
};

/* ---------------------------------------------------------------- workers */

static void work_on_next(struct running *self, struct worker *worker)
{
    worker->action = NULL;
    if (self->next == self->actions->count || op_must_stop(&self->op)) {
        return;
    }
    worker->action = &self->actions->items[self->next++];
    struct pgc_batch batch = {.statements = worker->action->statements,
                              .count = worker->action->count};
    op_reply_expect(&worker->reply, &self->op);
    pgc_run(worker->conn, &batch, op_reply_done, &worker->reply);
}

static struct error *explain(struct running *self, const struct worker *worker, struct error *err)
{
    if (!err || !worker->action) {
        return err;
    }
    log_event(LOG_ERROR, "an action of Apply failed",
              LOG_INT("actionIndex", worker->action - self->actions->items),
              LOG_INT("actionCount", self->actions->count),
              LOG_SPAN("action", worker->action->text), LOG_STR("error", error_text(err)), LOG_END);
    return error_wrap(err, "executing concurrent apply actions");
}

static void look_at(struct running *self, struct worker *worker)
{
    struct error *err;

    if (!op_reply_take(&worker->reply, &err)) {
        return;
    }
    if (op_must_stop(&self->op)) {
        if (err) {
            error_drop(err, "it was stopped by an earlier error, or by a cancel");
        }
        worker->action = NULL;
        return;
    }
    op_fail(&self->op, explain(self, worker, err));
    work_on_next(self, worker);
}

static bool is_idle(const struct running *self)
{
    for (unsigned i = 0; i < self->worker_count; i++) {
        if (self->workers[i].reply.awaited) {
            return false;
        }
    }
    return true;
}

/* ---------------------------------------------------------------- steps */

static void conn_closed(void *ctx)
{
    struct running *self = ctx;
    self->closing--;
    op_mark(&self->op);
}

static void close_from(struct running *self, unsigned first)
{
    for (unsigned i = first; i < self->worker_count; i++) {
        if (self->workers[i].conn) {
            self->closing++;
            pgc_close(self->workers[i].conn, conn_closed, self);
            self->workers[i].conn = NULL;
        }
    }
}

/* Whatever runs ends with an error, at once: a server that is silent must not hold up a stop. */
static void stop_all(struct running *self)
{
    if (!self->is_stopped) {
        self->is_stopped = true;
        *self->conn = NULL;
        close_from(self, 0);
    }
}

static void running_step(struct op *op)
{
    struct running *self = CONTAINER_OF(op, struct running, op);

    switch ((enum running_state)op->state) {
    case RUNNING_RUNNING:
        for (unsigned i = 0; i < self->worker_count; i++) {
            look_at(self, &self->workers[i]);
        }
        if (op_must_stop(op)) {
            stop_all(self);
        }
        if (is_idle(self)) {
            close_from(self, 1);
            op_set_state(op, RUNNING_CLOSING);
        }
        break;
    case RUNNING_CLOSING:
        if (self->closing == 0) {
            op_finish(op);
        }
        break;
    }
}

static const struct op_kind running_kind = {
    .name = "apply actions",
    .state_names = running_state_names,
    .state_count = ARRAY_LEN(running_state_names),
    .moves = running_moves,
    .step = running_step,
};

static void running_done(void *ctx, struct error *err)
{
    struct running *self = ctx;
    op_done_fn *done = self->done;
    void *done_ctx = self->ctx;

    mem_free(self);
    done(done_ctx, err);
}

struct op *apply_run(struct world *world,
                     struct pgc_conn **conn,
                     const struct apply_actions *actions,
                     op_done_fn *done,
                     void *ctx)
{
    struct running *self = mem_alloc(sizeof *self);

    CHECK(actions->count > 0);
    self->world = world;
    self->conn = conn;
    self->actions = actions;
    self->done = done;
    self->ctx = ctx;
    self->worker_count = actions->count < WORKERS_MAX ? actions->count : WORKERS_MAX;
    op_init(&self->op, world->loop, &running_kind, running_done, self);
    for (unsigned i = 0; i < self->worker_count; i++) {
        struct worker *worker = &self->workers[i];
        worker->conn = i == 0 ? *conn : pgc_conn_new(world->loop, &world->pg);
        if (i == 0) {
            work_on_next(self, worker);
        } else {
            op_reply_expect(&worker->reply, &self->op);
            pgc_connect(worker->conn, op_reply_done, &worker->reply);
        }
    }
    return &self->op;
}
