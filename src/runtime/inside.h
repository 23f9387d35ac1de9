#ifndef RUNTIME_INSIDE_H
#define RUNTIME_INSIDE_H

/*
 * What the files of this room know of each other. Private to runtime: here libuv is visible.
 *
 *      loop --> ready list of operations      operation --> its open handles (watches, timers)
 */

#include "base/list.h"
#include "runtime/loop.h"
#include "runtime/op.h"

#include <uv.h>

struct loop {
    uv_loop_t uv;
    uv_prepare_t prepare; /* drains the ready list; keeps the loop alive only while it has work */
    uv_idle_t idle;       /* active while the ready list is not empty: the loop does not sleep */
    uv_timer_t deadline;  /* of the loop itself, see loop_end_within; keeps nothing alive */
    bool has_deadline, was_left;
    uv_signal_t signals[2];
    unsigned open_signal_count; /* handles of signals that are not closed yet */
    bool listens;               /* the signal handles are open and not closing */
    loop_signal_fn *signal_fn;
    void *signal_ctx;
    loop_clock_fn *clock;
    void *clock_ctx;
    struct list ready;
    unsigned op_count; /* operations whose done did not come yet */
    uint64_t next_op_id;
};

/* A handle that belongs to an operation; embedded first thing in struct watch and struct timer. */
struct op_handle {
    struct list_node node; /* in op->handles until closing begins */
    struct op *op;
    void (*close)(struct op_handle *handle); /* begins closing; ends in op_handle_closed */
};

void op_handle_open(struct op_handle *handle, struct op *op, void (*close)(struct op_handle *));
/* From the close callback, after which the handle's memory is gone. */
void op_handle_closed(struct op *op);

/* Puts the operation into the ready list, if it is not there, and keeps the loop from sleeping. */
void loop_add_ready(struct loop *loop, struct list_node *node);
/* One turn of one operation from the ready list. */
void op_run(struct op *op);

#endif
