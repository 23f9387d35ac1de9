/* runtime: mistakes of our own that the room finds, each in a process of its own. */

#include "base/check.h"
#include "base/error.h"
#include "runtime/credit.h"
#include "runtime/op.h"
#include "runtime/stdio.h"
#include "runtime/timer.h"
#include "unit/base/aborts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void no_step(struct op *op)
{
    (void)op;
}

static void no_done(void *ctx, struct error *err)
{
    (void)ctx;
    error_free(err);
}

static const char *const names[] = {"FIRST", "SECOND"};
static const uint32_t moves[] = {OP_MOVE(1), 0};
static const struct op_kind kind = {
    .name = "idler", .state_names = names, .state_count = 2, .moves = moves, .step = no_step};

static void leave_an_operation(void)
{
    struct loop *loop = loop_new();
    struct op op;

    op_init(&op, loop, &kind, no_done, NULL);
    op_mark(&op);
    loop_run(loop);
    loop_free(loop);
}

static void move_back(void)
{
    struct op op;

    op_init(&op, loop_new(), &kind, no_done, NULL);
    op_set_state(&op, 1);
    op_set_state(&op, 0);
}

static void move_to_no_state(void)
{
    struct op op;

    op_init(&op, loop_new(), &kind, no_done, NULL);
    op_set_state(&op, 2);
}

static void finish_twice(void)
{
    struct op op;

    op_init(&op, loop_new(), &kind, no_done, NULL);
    op_finish(&op);
    op_finish(&op);
}

static void open_a_timer_after_the_end(void)
{
    struct op op;

    op_init(&op, loop_new(), &kind, no_done, NULL);
    op_finish(&op);
    (void)timer_new(&op);
}

static void free_a_ledger_in_use(void)
{
    struct credit *credit = credit_new(10);

    credit_take(credit, 3);
    credit_free(credit);
}

static void give_more_than_was_taken(void)
{
    struct credit *credit = credit_new(10);

    credit_take(credit, 3);
    credit_give(credit, 4);
}

static void lend_memory(void *ctx, char **ret_ptr, size_t *ret_len)
{
    static char byte;

    (void)ctx;
    *ret_ptr = &byte;
    *ret_len = 1;
}

static void ignore_input(void *ctx, size_t len)
{
    (void)ctx;
    (void)len;
}

static void ignore_drain(void *ctx)
{
    (void)ctx;
}

static void leave_stdio_open(void)
{
    const struct stdio_callbacks callbacks = {lend_memory, ignore_input, no_done, ignore_drain,
                                              NULL};
    struct loop *loop = loop_new();
    struct stdio *io = NULL;
    int ends[2];

    if (pipe(ends) == 0 && !stdio_new(loop, ends[0], ends[1], NULL, &callbacks, &io)) {
        loop_free(loop);
    }
}

static void mistakes_end_the_process(void **state)
{
    static const struct {
        const char *what;
        void (*fn)(void);
        const char *said;
    } rows[] = {
        {"an operation that never ended", leave_an_operation, "loop->op_count == 0"},
        {"a move that the table does not allow", move_back, "kind->moves"},
        {"a state that does not exist", move_to_no_state, "kind->state_count"},
        {"an end after the end", finish_twice, "!op->finished"},
        {"a handle after the end", open_a_timer_after_the_end, "!op->finished"},
        {"a ledger that is not zero", free_a_ledger_in_use, "credit->used == 0"},
        {"credit that nobody took", give_more_than_was_taken, "bytes <= credit->used"},
        {"stdio that was not closed", leave_stdio_open, "loop->op_count == 0"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char said[4096];
        bool aborted = run_in_child(rows[i].fn, said, sizeof(said));
        if (!aborted || !strstr(said, rows[i].said)) {
            fail_msg("%s: %s", rows[i].what, said);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mistakes_end_the_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
