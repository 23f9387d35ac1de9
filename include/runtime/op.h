#ifndef RUNTIME_OP_H
#define RUNTIME_OP_H

/*
 * An operation: something that takes time. It is embedded in the struct that owns the details.
 *
 *   1. Callbacks record facts in that struct and call op_mark.
 *   2. The loop calls the kind's step function once for each marked operation. It may be called at
 *      any time and any number of times: it looks at the facts, starts what can be started, and may
 *      move to the next state.
 *   3. op_finish ends it. done(ctx, err) then comes exactly once, never from inside x_start, and
 * only when none of the operation's handles is left in the loop. Done means quiet: the owner may
 *      free the struct there. It is the last act.
 *
 * States come from one macro list per kind, which gives the enum and the names, with a table of
 * legal moves beside it:
 *
 *      #define S3_UPLOAD_STATES(X) X(CREATING) X(SENDING) X(COMPLETING) X(ABORTING)
 *      enum s3_upload_state { S3_UPLOAD_STATES(OP_STATE_ENUM(S3_UPLOAD)) };     -- see below
 *
 * A state is what we wait for. op_set_state CHECKs the move, traces "upload 7: SENDING ->
 * COMPLETING" and marks the operation again.
 */

#include "base/error.h"
#include "base/list.h"
#include "runtime/loop.h"

#include <stdbool.h>
#include <stdint.h>

struct op;

typedef void op_step_fn(struct op *op);
/* Owns err (NULL is success, ERROR_CANCELLED after a cancel that won the race). */
typedef void op_done_fn(void *ctx, struct error *err);

struct op_kind {
    const char *name;               /* "upload", for traces */
    const char *const *state_names; /* indexed by state */
    unsigned state_count;           /* at most 32 */
    const uint32_t *moves;          /* moves[from] has bit `to` set when the move is legal */
    op_step_fn *step;
};

struct op {
    const struct op_kind *kind;
    struct loop *loop;
    uint64_t id; /* unique in the process, for traces */
    unsigned state;
    unsigned handle_count; /* watches and timers that are not closed: done waits for them */
    struct list handles;   /* those that are open; op_finish closes them */
    bool cancel_asked;
    bool finished;     /* op_finish was called: step comes no more */
    struct error *err; /* first error; later ones are its notes */
    op_done_fn *done;
    void *ctx;
    struct list_node ready_node; /* in the loop's ready list when marked */
};

/* Helpers for the macro lists: X(NAME) rows become names and bits. */
#define OP_STATE_NAME(name) #name,
#define OP_MOVE(state) ((uint32_t)1 << (state))

/* State 0 is the first. Nothing runs yet; op_mark starts it. The loop counts the operation until
 * its done was called. */
void op_init(
    struct op *op, struct loop *loop, const struct op_kind *kind, op_done_fn *done, void *ctx);

void op_mark(struct op *op); /* step will be called; harmless when it is marked or finished */
void op_set_state(struct op *op, unsigned state);
/* First error wins, later ones join as notes. Marks. Consumes err; NULL does nothing. */
void op_fail(struct op *op, struct error *err);
/* Asks. Idempotent, frees nothing. The step sees cancel_asked, winds down and calls op_finish. */
void op_cancel(struct op *op);
/* True when the step must wind down: cancelled or failed. */
bool op_must_stop(const struct op *op);
/* The step's last call. Handles that are still open are closed; done follows the last one with
 * op->err, or ERROR_CANCELLED when op_must_stop by a cancel and success was not declared. */
void op_finish(struct op *op);
/* Same, but success although a cancel was asked (it came too late). */
void op_finish_won(struct op *op);

/* ---- the answer of a child as a fact of its parent */

/* Stands in the parent's struct, one per child that may be under way. reply_done is the child's
 * done: it records the answer and marks the parent. */
struct op_reply {
    struct op *parent;
    bool awaited; /* a child was started and has not answered */
    bool came;    /* it has answered; err is its answer until taken */
    struct error *err;
};

/* To be said just before the child is started; the reply must be idle. */
void op_reply_expect(struct op_reply *reply, struct op *parent);
/* Pass this and the reply as done and ctx. */
void op_reply_done(void *reply, struct error *err);
/* True once, when the answer came: moves it out into *ret_err and makes the reply idle. */
bool op_reply_take(struct op_reply *reply, struct error **ret_err);

#endif
