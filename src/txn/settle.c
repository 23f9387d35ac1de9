/*
 * txn/settle: an engine for one acknowledge. In: a state with staged work, the bindings as they
 * were when it was staged. Out: that work applied, and the patch that clears it. It is the engine
 * of a session with nothing loaded and nothing stored, so all that makes an acknowledge safe holds
 * here as well.
 *
 *      OPENING -> APPLYING -> CLOSING -> done
 */

#include "txn/settle.h"

#include "txn/entry.h"

#define SETTLE_STATES(X) X(BEGINNING) X(OPENING) X(APPLYING) X(CLOSING)
#define SETTLE_ENUM(name) SETTLE_##name,
enum settle_state { SETTLE_STATES(SETTLE_ENUM) };
static const char *const settle_state_names[] = {SETTLE_STATES(OP_STATE_NAME)};
static const uint32_t settle_moves[] = {
    [SETTLE_BEGINNING] = OP_MOVE(SETTLE_OPENING),
    [SETTLE_OPENING] = OP_MOVE(SETTLE_APPLYING) | OP_MOVE(SETTLE_CLOSING),
    [SETTLE_APPLYING] = OP_MOVE(SETTLE_CLOSING),
};

#define STATE_BYTES ((size_t)256 * 1024 * 1024)

struct settle {
    struct op op;
    struct txn *txn;
    struct arena *arena; /* the caller's */
    struct span *ret_patch;
    struct span patch;
    bool has_opened, was_acknowledged; /* facts */
    struct op_reply reply;
    op_done_fn *done;
    void *ctx;
};

/* ---------------------------------------------------------------- the engine's answers */

static void opened(void *ctx)
{
    struct settle *self = ctx;
    self->has_opened = true;
    op_mark(&self->op);
}

static void acknowledged(void *ctx, struct span patch_json)
{
    struct settle *self = ctx;
    self->was_acknowledged = true;
    self->patch = arena_span(self->arena, patch_json);
    op_mark(&self->op);
}

static void failed(void *ctx, struct error *err)
{
    struct settle *self = ctx;
    op_fail(&self->op, err);
}

/* ---------------------------------------------------------------- steps */

static void start_closing(struct settle *self)
{
    op_reply_expect(&self->reply, &self->op);
    txn_close(self->txn, !op_must_stop(&self->op), op_reply_done, &self->reply);
    op_set_state(&self->op, SETTLE_CLOSING);
}

static void settle_step(struct op *op)
{
    struct settle *self = CONTAINER_OF(op, struct settle, op);
    struct error *err;

    switch ((enum settle_state)op->state) {
    case SETTLE_BEGINNING:
        if (op_must_stop(op)) {
            op_finish(op);
            return;
        }
        op_set_state(op, SETTLE_OPENING);
        txn_open(self->txn);
        break;
    case SETTLE_OPENING:
        if (op_must_stop(op)) {
            start_closing(self);
        } else if (self->has_opened) {
            op_set_state(op, SETTLE_APPLYING);
            txn_acknowledge(self->txn, SPAN_NONE);
        }
        break;
    case SETTLE_APPLYING:
        if (op_must_stop(op) || self->was_acknowledged) {
            start_closing(self);
        }
        break;
    case SETTLE_CLOSING:
        if (!op_reply_take(&self->reply, &err)) {
            return;
        }
        op_fail(op, err);
        if (self->was_acknowledged && !op->err) {
            *self->ret_patch = self->patch;
            op_finish_won(op);
        } else {
            op_finish(op);
        }
        break;
    }
}

static const struct op_kind settle_kind = {
    .name = "settle",
    .state_names = settle_state_names,
    .state_count = ARRAY_LEN(settle_state_names),
    .moves = settle_moves,
    .step = settle_step,
};

static void settle_done(void *ctx, struct error *err)
{
    struct settle *self = ctx;
    op_done_fn *done = self->done;
    void *done_ctx = self->ctx;

    txn_free(self->txn);
    mem_free(self);
    done(done_ctx, err);
}

struct op *txn_settle(struct loop *loop,
                      const struct txn_options *options,
                      struct arena *arena,
                      struct span *ret_patch,
                      op_done_fn *done,
                      void *ctx)
{
    struct settle *self = mem_alloc(sizeof *self);
    struct txn_callbacks callbacks = {
        .opened = opened,
        .acknowledged = acknowledged,
        .failed = failed,
        .ctx = self,
    };

    self->arena = arena;
    self->ret_patch = ret_patch;
    self->done = done;
    self->ctx = ctx;
    self->txn = txn_new(loop, options, &callbacks);
    op_init(&self->op, loop, &settle_kind, settle_done, self);
    op_mark(&self->op);
    return &self->op;
}

/* ---------------------------------------------------------------- is there anything to do? */

struct error *
txn_has_staged(struct span state_json, const struct span *state_keys, unsigned count, bool *ret)
{
    struct arena *arena = arena_new(STATE_BYTES);
    struct entries entries = {0};
    struct error *err = entries_read(&entries, arena, state_json);
    bool found = false;

    for (unsigned i = 0; !err && i < entries.count; i++) {
        for (unsigned k = 0; k < count; k++) {
            found |= span_equal(entries.items[i].state_key, state_keys[k]);
        }
    }
    arena_free(arena);
    if (!err) {
        *ret = found;
    }
    return error_wrap(err, "reading the connector state");
}
