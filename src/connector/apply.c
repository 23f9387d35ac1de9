/*
 * connector/apply: Apply as an operation. In: the materialization to be, and the one that was. Out:
 * schemas, the metadata table and a table per binding with all its columns; and the text of what
 * was done, as it is shown to people. What has to be done is decided by apply_plan.c, from what
 * exists each time: so Apply may be repeated after it stopped anywhere.
 *
 *      BEGINNING -> READING -> CREATING -> CLOSING -> done
 *                      \----------------------^   (nothing to do, a failure or a cancel)
 */

#include "connector/apply_plan.h"
#include "connector/validate.h"

#define APPLYING_STATES(X) X(BEGINNING) X(READING) X(CREATING) X(CLOSING)
#define APPLYING_ENUM(name) APPLYING_##name,
enum applying_state { APPLYING_STATES(APPLYING_ENUM) };
static const char *const applying_state_names[] = {APPLYING_STATES(OP_STATE_NAME)};
static const uint32_t applying_moves[] = {
    [APPLYING_BEGINNING] = OP_MOVE(APPLYING_READING),
    [APPLYING_READING] = OP_MOVE(APPLYING_CREATING) | OP_MOVE(APPLYING_CLOSING),
    [APPLYING_CREATING] = OP_MOVE(APPLYING_CLOSING),
};

struct applying {
    struct op op;
    struct world *world;
    struct arena *arena;
    const struct proto_apply *request;
    struct apply_result *ret;
    struct catalog_reading reading;
    struct op *child; /* the reader, while under way */
    struct apply_plan plan;
    struct op_reply reply;
    bool conn_closed;
    op_done_fn *done;
    void *ctx;
};

/* ---------------------------------------------------------------- steps */

static void conn_closed(void *ctx)
{
    struct applying *self = ctx;
    self->conn_closed = true;
    op_mark(&self->op);
}

static void begin(struct applying *self)
{
    const struct proto_materialization *spec = self->request->materialization;

    if (self->op.cancel_asked) {
        op_finish(&self->op);
        return;
    }
    struct catalog_path *paths = ARENA_ARRAY(self->arena, spec->binding_count, struct catalog_path);
    for (unsigned i = 0; i < spec->binding_count; i++) {
        paths[i] = (struct catalog_path){spec->bindings[i].resource_path,
                                         spec->bindings[i].resource_path_count};
    }
    op_reply_expect(&self->reply, &self->op);
    self->child = catalog_read(self->world, self->arena, paths, spec->binding_count, &self->reading,
                               op_reply_done, &self->reply);
    op_set_state(&self->op, APPLYING_READING);
}

static void start_closing(struct applying *self)
{
    if (self->reading.conn) {
        pgc_close(self->reading.conn, conn_closed, self);
    } else {
        self->conn_closed = true;
    }
    op_set_state(&self->op, APPLYING_CLOSING);
}

static void start_creating(struct applying *self)
{
    op_fail(&self->op, apply_plan(self->arena, self->world->config, self->reading.catalog,
                                  self->request, &self->plan));
    if (op_must_stop(&self->op) || self->plan.count == 0) {
        start_closing(self);
        return;
    }
    struct pgc_batch batch = {.statements = self->plan.statements, .count = self->plan.count};
    op_reply_expect(&self->reply, &self->op);
    pgc_run(self->reading.conn, &batch, op_reply_done, &self->reply);
    op_set_state(&self->op, APPLYING_CREATING);
}

static void applying_step(struct op *op)
{
    struct applying *self = CONTAINER_OF(op, struct applying, op);
    struct error *err;

    switch ((enum applying_state)op->state) {
    case APPLYING_BEGINNING:
        begin(self);
        break;
    case APPLYING_READING:
        if (!op_reply_take(&self->reply, &err)) {
            if (op->cancel_asked) {
                op_cancel(self->child);
            }
            return;
        }
        self->child = NULL;
        op_fail(op, error_wrap(err, "reading what exists in the warehouse"));
        if (op_must_stop(op)) {
            start_closing(self);
        } else {
            start_creating(self);
        }
        break;
    case APPLYING_CREATING:
        if (op_reply_take(&self->reply, &err)) {
            op_fail(op, err);
            start_closing(self);
        } else if (op->cancel_asked) {
            start_closing(self); /* the batch then ends with an error */
        }
        break;
    case APPLYING_CLOSING:
        if (op_reply_take(&self->reply, &err)) {
            error_drop(err, "it was cancelled");
        }
        if (self->conn_closed) {
            self->ret->action = self->plan.action;
            op_finish(op);
        }
        break;
    }
}

static const struct op_kind applying_kind = {
    .name = "apply",
    .state_names = applying_state_names,
    .state_count = ARRAY_LEN(applying_state_names),
    .moves = applying_moves,
    .step = applying_step,
};

static void applying_done(void *ctx, struct error *err)
{
    struct applying *self = ctx;
    op_done_fn *done = self->done;
    void *done_ctx = self->ctx;

    mem_free(self);
    done(done_ctx, err);
}

struct op *apply_start(struct world *world,
                       struct arena *arena,
                       const struct proto_apply *request,
                       struct apply_result *ret,
                       op_done_fn *done,
                       void *ctx)
{
    struct applying *self = mem_alloc(sizeof *self);

    self->world = world;
    self->arena = arena;
    self->request = request;
    self->ret = ret;
    self->done = done;
    self->ctx = ctx;
    op_init(&self->op, world->loop, &applying_kind, applying_done, self);
    op_mark(&self->op);
    return &self->op;
}
