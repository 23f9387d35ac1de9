/*
 * runtime/op: operations. Comes in: marks, cancels, errors; goes out: calls of step, and done once,
 * when nothing of the operation is left in the loop. It never knows what the steps do.
 *
 *      op_init .. op_mark -> step -> .. op_finish -> handles close -> done
 *                    ^        |
 *                    +--------+ facts mark again
 */

#include "runtime/op.h"

#include "base/log.h"
#include "runtime/inside.h"

void op_init(
    struct op *op, struct loop *loop, const struct op_kind *kind, op_done_fn *done, void *ctx)
{
    CHECK(kind->state_count > 0 && kind->state_count <= 32);
    *op = (struct op){.kind = kind, .loop = loop, .done = done, .ctx = ctx};
    op->id = ++loop->next_op_id;
    list_init(&op->handles);
    list_node_init(&op->ready_node);
    loop->op_count++;
}

void op_mark(struct op *op)
{
    if (!op->finished) {
        loop_add_ready(op->loop, &op->ready_node);
    }
}

void op_set_state(struct op *op, unsigned state)
{
    const struct op_kind *kind = op->kind;

    CHECK(!op->finished);
    CHECK(state < kind->state_count);
    CHECK(kind->moves[op->state] & OP_MOVE(state));
    log_trace("%s %llu: %s -> %s", kind->name, (unsigned long long)op->id,
              kind->state_names[op->state], kind->state_names[state]);
    op->state = state;
    op_mark(op);
}

void op_fail(struct op *op, struct error *err)
{
    if (!err) {
        return;
    }
    if (op->finished) {
        error_drop(err, "the operation had already ended");
        return;
    }
    op->err = error_join(op->err, err);
    op_mark(op);
}

void op_cancel(struct op *op)
{
    if (!op->cancel_asked && !op->finished) {
        op->cancel_asked = true;
        log_trace("%s %llu: cancel in %s", op->kind->name, (unsigned long long)op->id,
                  op->kind->state_names[op->state]);
        op_mark(op);
    }
}

bool op_must_stop(const struct op *op)
{
    return op->cancel_asked || op->err;
}

/* ---------------------------------------------------------------- the end */

static void finish(struct op *op)
{
    CHECK(!op->finished);
    op->finished = true;
    while (!list_is_empty(&op->handles)) {
        struct op_handle *handle = CONTAINER_OF(list_first(&op->handles), struct op_handle, node);
        handle->close(handle);
    }
    if (op->handle_count == 0) {
        loop_add_ready(op->loop, &op->ready_node);
    }
}

void op_finish(struct op *op)
{
    if (op->cancel_asked && !op->err) {
        op->err = error_new(ERROR_CANCELLED, ERROR_ABORT, "%s was cancelled", op->kind->name);
    }
    finish(op);
}

void op_finish_won(struct op *op)
{
    finish(op);
}

void op_run(struct op *op)
{
    if (!op->finished) {
        op->kind->step(op);
        return;
    }
    if (op->handle_count > 0) {
        return; /* the last close callback comes back to us */
    }
    struct error *err = op->err;
    op->err = NULL;
    op->loop->op_count--;
    op->done(op->ctx, err); /* op may be gone now */
}

/* ---------------------------------------------------------------- handles */

void op_handle_open(struct op_handle *handle, struct op *op, void (*close)(struct op_handle *))
{
    CHECK(!op->finished);
    handle->op = op;
    handle->close = close;
    list_push(&op->handles, &handle->node);
    op->handle_count++;
}

void op_handle_closed(struct op *op)
{
    CHECK(op->handle_count > 0);
    op->handle_count--;
    if (op->finished && op->handle_count == 0) {
        loop_add_ready(op->loop, &op->ready_node);
    }
}
