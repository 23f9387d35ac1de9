/* runtime/op, loop, timer, watch, work: done comes once, from the loop, when all is quiet. */

#include "runtime/op.h"

#include "base/log.h"
#include "runtime/timer.h"
#include "runtime/watch.h"
#include "runtime/work.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* ---------------------------------------------------------------- an operation to look at */

#define THING_STATES(X) X(WAITING) X(MOVING) X(ENDING)
#define THING_STATE(name) THING_##name,
enum thing_state { THING_STATES(THING_STATE) };

struct thing {
    struct op op;
    struct timer *timer;
    struct watch *watch;
    unsigned steps, dones;
    bool inside_start;
    bool finish_in_step, win;
    int ready_events; /* of the watch */
    struct error *result;
    void (*on_step)(struct thing *thing);
};

static void thing_step(struct op *op)
{
    struct thing *thing = CONTAINER_OF(op, struct thing, op);

    thing->steps++;
    assert_false(op->finished);
    assert_false(thing->inside_start);
    if (thing->on_step) {
        thing->on_step(thing);
    }
    if (op->finished) {
        return;
    }
    if (op_must_stop(op) || thing->finish_in_step) {
        if (thing->win) {
            op_finish_won(op);
        } else {
            op_finish(op);
        }
    }
}

static void thing_done(void *ctx, struct error *err)
{
    struct thing *thing = ctx;

    assert_false(thing->inside_start);
    assert_int_equal(thing->op.handle_count, 0);
    thing->dones++;
    thing->result = err;
}

static const char *const thing_names[] = {THING_STATES(OP_STATE_NAME)};
static const uint32_t thing_moves[] = {
    [THING_WAITING] = OP_MOVE(THING_MOVING) | OP_MOVE(THING_ENDING),
    [THING_MOVING] = OP_MOVE(THING_ENDING),
    [THING_ENDING] = 0,
};
static const struct op_kind thing_kind = {
    .name = "thing",
    .state_names = thing_names,
    .state_count = ARRAY_LEN(thing_names),
    .moves = thing_moves,
    .step = thing_step,
};

static void thing_init(struct thing *thing, struct loop *loop)
{
    memset(thing, 0, sizeof(*thing));
    op_init(&thing->op, loop, &thing_kind, thing_done, thing);
}

static void expect_success(struct thing *thing)
{
    assert_int_equal(thing->dones, 1);
    assert_null(thing->result);
}

static void expect_error(struct thing *thing, enum error_code code)
{
    assert_int_equal(thing->dones, 1);
    assert_non_null(thing->result);
    assert_int_equal(error_code_of(thing->result), code);
    error_free(thing->result);
    thing->result = NULL;
}

/* ---------------------------------------------------------------- operations */

static void an_empty_loop_ends_at_once(void **state)
{
    struct loop *loop = loop_new();
    struct rlimit limit;

    (void)state;
    loop_run(loop);
    loop_free(loop);
    assert_int_equal(getrlimit(RLIMIT_CORE, &limit), 0);
    assert_true(limit.rlim_cur <= 1);
}

static void done_never_comes_from_inside_start(void **state)
{
    struct loop *loop = loop_new();
    struct thing thing;

    (void)state;
    thing_init(&thing, loop);
    thing.inside_start = true;
    op_finish(&thing.op); /* never marked: finished at once by its owner */
    assert_int_equal(thing.dones, 0);
    thing.inside_start = false;
    loop_run(loop);
    expect_success(&thing);
    assert_int_equal(thing.steps, 0);
    loop_free(loop);
}

static void many_marks_are_one_step(void **state)
{
    struct loop *loop = loop_new();
    struct thing thing;

    (void)state;
    thing_init(&thing, loop);
    thing.finish_in_step = true;
    thing.inside_start = true;
    op_mark(&thing.op);
    op_mark(&thing.op);
    op_mark(&thing.op);
    assert_int_equal(thing.steps, 0);
    thing.inside_start = false;
    loop_run(loop);
    assert_int_equal(thing.steps, 1);
    expect_success(&thing);
    op_mark(&thing.op); /* harmless */
    op_cancel(&thing.op);
    loop_run(loop);
    assert_int_equal(thing.steps, 1);
    expect_success(&thing);
    loop_free(loop);
}

static void mark_again_until_ten(struct thing *thing)
{
    if (thing->steps < 10) {
        op_mark(&thing->op);
    } else {
        op_finish(&thing->op);
        op_mark(&thing->op);
    }
}

static void a_step_may_mark_its_own_operation(void **state)
{
    struct loop *loop = loop_new();
    struct thing thing;

    (void)state;
    thing_init(&thing, loop);
    thing.on_step = mark_again_until_ten;
    op_mark(&thing.op);
    loop_run(loop);
    assert_int_equal(thing.steps, 10);
    expect_success(&thing);
    loop_free(loop);
}

static void mark_until_timer(struct thing *thing)
{
    if (timer_has_expired(thing->timer)) {
        op_finish(&thing->op);
    } else {
        op_mark(&thing->op);
    }
}

static void an_operation_that_is_always_ready_does_not_shut_out_events(void **state)
{
    struct loop *loop = loop_new();
    struct thing thing;

    (void)state;
    thing_init(&thing, loop);
    thing.timer = timer_new(&thing.op);
    timer_start(thing.timer, 1);
    thing.on_step = mark_until_timer;
    op_mark(&thing.op);
    loop_run(loop); /* without a bound on steps per turn this would never return */
    expect_success(&thing);
    loop_free(loop);
}

static void move_through_states(struct thing *thing)
{
    switch ((enum thing_state)thing->op.state) {
    case THING_WAITING:
        op_set_state(&thing->op, THING_MOVING);
        break;
    case THING_MOVING:
        op_set_state(&thing->op, THING_ENDING);
        break;
    case THING_ENDING:
        op_finish(&thing->op);
        break;
    }
}

static void a_state_marks_and_is_traced(void **state)
{
    struct loop *loop = loop_new();
    struct thing thing;
    char text[4096] = {0};
    int ends[2];

    (void)state;
    assert_int_equal(pipe(ends), 0);
    int saved = dup(STDERR_FILENO);
    assert_true(saved >= 0 && dup2(ends[1], STDERR_FILENO) >= 0);
    assert_null(log_init("trace", NULL));

    thing_init(&thing, loop);
    thing.on_step = move_through_states;
    op_mark(&thing.op);
    loop_run(loop);

    assert_null(log_init(NULL, NULL));
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    (void)close(saved);
    (void)close(ends[1]);
    assert_true(read(ends[0], text, sizeof(text) - 1) > 0);
    (void)close(ends[0]);
    assert_int_equal(thing.steps, 3);
    expect_success(&thing);
    const char *first = strstr(text, "thing 1: WAITING -> MOVING");
    assert_non_null(first);
    assert_non_null(strstr(first, "thing 1: MOVING -> ENDING"));
    loop_free(loop);
}

static void cancel_is_answered_in_each_state(void **state)
{
    static const struct {
        const char *what;
        enum thing_state at;
        bool marked, with_handles, win;
        bool expect_cancelled;
    } rows[] = {
        {"never marked", THING_WAITING, false, false, false, true},
        {"marked", THING_WAITING, true, false, false, true},
        {"in the second state", THING_MOVING, false, false, false, true},
        {"in the last state", THING_ENDING, true, true, false, true},
        {"waiting for handles only", THING_WAITING, false, true, false, true},
        {"success won", THING_ENDING, true, false, true, false},
        {"success won with handles", THING_MOVING, true, true, true, false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct loop *loop = loop_new();
        struct thing thing;

        thing_init(&thing, loop);
        thing.win = rows[i].win;
        if (rows[i].with_handles) {
            thing.timer = timer_new(&thing.op);
            timer_start(thing.timer, 3600000);
        }
        if (rows[i].at != THING_WAITING) {
            op_set_state(&thing.op, rows[i].at);
        }
        if (rows[i].marked) {
            op_mark(&thing.op);
        }
        op_cancel(&thing.op);
        op_cancel(&thing.op); /* idempotent */
        loop_run(loop);
        if (thing.dones != 1 || (thing.result != NULL) != rows[i].expect_cancelled) {
            fail_msg("%s", rows[i].what);
        }
        if (thing.result) {
            expect_error(&thing, ERROR_CANCELLED);
        }
        loop_free(loop);
    }
}

static void the_first_failure_wins_and_a_cancel_does_not_hide_it(void **state)
{
    struct loop *loop = loop_new();
    struct thing thing;

    (void)state;
    thing_init(&thing, loop);
    op_fail(&thing.op, NULL);
    assert_false(op_must_stop(&thing.op));
    op_fail(&thing.op, error_new(ERROR_HTTP, ERROR_RETRY, "first"));
    op_fail(&thing.op, error_new(ERROR_TIMEOUT, ERROR_FATAL, "second"));
    op_cancel(&thing.op);
    assert_true(op_must_stop(&thing.op));
    loop_run(loop);
    assert_non_null(thing.result);
    assert_string_equal(error_text(thing.result), "first; then: second");
    op_fail(&thing.op, error_new(ERROR_INTERNAL, ERROR_FATAL, "too late"));
    expect_error(&thing, ERROR_HTTP);
    loop_free(loop);
}

struct family {
    struct thing parent;
    struct op child;
    struct op_reply reply;
    unsigned answers;
};

static void take_answer(struct thing *thing)
{
    struct family *family = CONTAINER_OF(thing, struct family, parent);
    struct error *err = NULL;

    if (op_reply_take(&family->reply, &err)) {
        family->answers++;
        assert_false(op_reply_take(&family->reply, &err)); /* once */
        assert_false(family->reply.awaited);
        op_fail(&thing->op, err);
        op_finish(&thing->op);
    }
}

static void a_childs_answer_is_a_fact_of_its_parent(void **state)
{
    struct loop *loop = loop_new();
    struct family family;

    (void)state;
    memset(&family, 0, sizeof(family));
    thing_init(&family.parent, loop);
    family.parent.on_step = take_answer;
    op_mark(&family.parent.op); /* before there is an answer: nothing to take */
    op_reply_expect(&family.reply, &family.parent.op);
    op_init(&family.child, loop, &thing_kind, op_reply_done, &family.reply);
    op_fail(&family.child, error_new(ERROR_HTTP, ERROR_RETRY, "the child's"));
    op_finish(&family.child);
    assert_true(family.reply.awaited && !family.reply.came);
    loop_run(loop);
    assert_int_equal(family.answers, 1);
    expect_error(&family.parent, ERROR_HTTP);
    loop_free(loop);
}

/* ---------------------------------------------------------------- timers */

static void restart_then_end(struct thing *thing)
{
    if (thing->timer && timer_has_expired(thing->timer)) {
        if (thing->ready_events++ == 0) {
            timer_start(thing->timer, 0);
            assert_false(timer_has_expired(thing->timer));
            assert_true(timer_is_running(thing->timer));
        } else {
            timer_close(&thing->timer);
            assert_null(thing->timer);
            assert_int_equal(thing->op.handle_count, 1); /* not closed yet */
            op_mark(&thing->op);
        }
    } else if (!thing->timer && thing->op.handle_count == 0) {
        op_finish(&thing->op);
    } else if (!thing->timer) {
        op_mark(&thing->op);
    }
}

static void a_timer_expires_restarts_and_closes_early(void **state)
{
    struct loop *loop = loop_new();
    struct thing thing;

    (void)state;
    thing_init(&thing, loop);
    thing.timer = timer_new(&thing.op);
    assert_false(timer_is_running(thing.timer));
    timer_start(thing.timer, 3600000);
    timer_stop(thing.timer);
    assert_false(timer_is_running(thing.timer));
    uint64_t before = loop_now_ms(loop);
    timer_start(thing.timer, 20);
    thing.on_step = restart_then_end;
    loop_run(loop);
    assert_true(loop_now_ms(loop) >= before + 20);
    assert_int_equal(thing.ready_events, 2);
    expect_success(&thing);
    loop_free(loop);
}

static void done_waits_for_every_handle(void **state)
{
    struct loop *loop = loop_new();
    struct thing thing;
    int ends[2];

    (void)state;
    assert_int_equal(pipe(ends), 0);
    thing_init(&thing, loop);
    for (unsigned i = 0; i < 5; i++) {
        timer_start(timer_new(&thing.op), 3600000);
    }
    assert_null(watch_new(&thing.op, ends[0], &thing.watch));
    assert_null(watch_set(thing.watch, WATCH_READ));
    assert_int_equal(thing.op.handle_count, 6);
    thing.inside_start = true;
    op_finish(&thing.op);
    assert_int_equal(thing.op.handle_count, 6); /* closing, which takes a turn of the loop */
    assert_int_equal(thing.dones, 0);
    thing.inside_start = false;
    loop_run(loop);
    expect_success(&thing);
    (void)close(ends[0]);
    (void)close(ends[1]);
    loop_free(loop);
}

/* ---------------------------------------------------------------- watches */

static void take_events_and_end(struct thing *thing)
{
    thing->ready_events = watch_take(thing->watch);
    assert_int_equal(watch_take(thing->watch), 0);
    if (thing->ready_events) {
        op_finish(&thing->op);
    }
}

static void a_watch_tells_what_is_possible(void **state)
{
    static const struct {
        const char *what;
        int asked;
        bool send, hang_up;
        int expected;
    } rows[] = {
        {"writable at once", WATCH_WRITE, false, false, WATCH_WRITE},
        {"readable when bytes came", WATCH_READ, true, false, WATCH_READ},
        {"readable at the end of input", WATCH_READ, false, true, WATCH_READ},
        {"both", WATCH_READ | WATCH_WRITE, true, false, WATCH_READ | WATCH_WRITE},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct loop *loop = loop_new();
        struct thing thing;
        int ends[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
        thing_init(&thing, loop);
        thing.on_step = take_events_and_end;
        assert_null(watch_new(&thing.op, ends[0], &thing.watch));
        assert_int_equal(watch_fd(thing.watch), ends[0]);
        assert_null(watch_set(thing.watch, rows[i].asked));
        assert_null(watch_set(thing.watch, 0));
        assert_null(watch_set(thing.watch, rows[i].asked));
        if (rows[i].send) {
            assert_int_equal(write(ends[1], "x", 1), 1);
        }
        if (rows[i].hang_up) {
            (void)close(ends[1]);
        }
        loop_run(loop);
        if (thing.ready_events != rows[i].expected) {
            fail_msg("%s: %d", rows[i].what, thing.ready_events);
        }
        expect_success(&thing);
        (void)close(ends[0]);
        if (!rows[i].hang_up) {
            (void)close(ends[1]);
        }
        loop_free(loop);
    }
}

/* A TCP connection whose other end is gone: closing with a linger of zero sends a reset. */
static int reset_socket(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof(address);
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    int client = socket(AF_INET, SOCK_STREAM, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    assert_int_equal(connect(client, (struct sockaddr *)&address, len), 0);
    int server = accept(listener, NULL, NULL);
    assert_true(server >= 0);
    assert_int_equal(setsockopt(server, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)), 0);
    (void)close(server);
    (void)close(listener);
    return client;
}

static int pipe_without_reader(void)
{
    int ends[2];

    assert_int_equal(pipe(ends), 0);
    (void)close(ends[0]);
    return ends[1];
}

static void a_reset_is_seen_as_readable_and_writable(void **state)
{
    static int (*const make[])(void) = {reset_socket, pipe_without_reader};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(make); i++) {
        struct loop *loop = loop_new();
        struct thing thing;
        int fd = make[i]();

        thing_init(&thing, loop);
        thing.on_step = take_events_and_end;
        assert_null(watch_new(&thing.op, fd, &thing.watch));
        assert_null(watch_set(thing.watch, WATCH_READ)); /* not even asked for writing */
        loop_run(loop);
        assert_int_equal(thing.ready_events, WATCH_READ | WATCH_WRITE);
        expect_success(&thing);
        (void)close(fd);
        loop_free(loop);
    }
}

static void a_closed_descriptors_number_can_be_watched_again(void **state)
{
    struct loop *loop = loop_new();
    struct thing thing;
    int ends[2];

    (void)state;
    assert_int_equal(pipe(ends), 0);
    thing_init(&thing, loop);
    thing.on_step = take_events_and_end;
    assert_null(watch_new(&thing.op, ends[0], &thing.watch));
    assert_null(watch_set(thing.watch, WATCH_READ));
    struct watch *second = NULL;
    struct error *err = watch_new(&thing.op, ends[0], &second); /* one at a time */
    assert_non_null(err);
    assert_string_equal(error_origin(err), "EEXIST");
    error_free(err);
    watch_close(&second); /* there is none: harmless */
    watch_close(&thing.watch);
    assert_null(thing.watch);
    int number = ends[0];
    (void)close(ends[0]);
    (void)close(ends[1]);
    assert_int_equal(pipe(ends), 0); /* the lowest free numbers: the same ones */
    assert_int_equal(ends[0], number);
    assert_null(watch_new(&thing.op, ends[0], &thing.watch));
    assert_null(watch_set(thing.watch, WATCH_READ));
    assert_int_equal(write(ends[1], "x", 1), 1);
    loop_run(loop);
    assert_int_equal(thing.ready_events, WATCH_READ);
    expect_success(&thing);
    (void)close(ends[0]);
    (void)close(ends[1]);
    loop_free(loop);
}

static void what_cannot_be_watched_is_an_error(void **state)
{
    struct loop *loop = loop_new();
    struct thing thing;
    struct error *err;

    (void)state;
    thing_init(&thing, loop);
    err = watch_new(&thing.op, 9999, &thing.watch);
    assert_non_null(err);
    assert_string_equal(error_origin(err), "EBADF");
    error_free(err);
    assert_int_equal(thing.op.handle_count, 0);
    op_finish(&thing.op);
    loop_run(loop);
    expect_success(&thing);
    loop_free(loop);
}

/* ---------------------------------------------------------------- work, clock, signals */

struct job {
    struct thing *thing;
    bool inside_start, worked;
};

static void do_work(void *ctx)
{
    struct job *job = ctx;

    job->worked = true;
}

static void work_is_done(void *ctx)
{
    struct job *job = ctx;

    assert_false(job->inside_start);
    assert_true(job->worked);
    job->thing->finish_in_step = true;
    op_mark(&job->thing->op);
}

static void work_comes_back_on_the_loop(void **state)
{
    struct loop *loop = loop_new();
    struct thing thing;
    struct job job = {.thing = &thing, .inside_start = true};

    (void)state;
    thing_init(&thing, loop);
    work_start(loop, do_work, work_is_done, &job);
    job.inside_start = false;
    loop_run(loop);
    expect_success(&thing);
    loop_free(loop);
}

static int64_t fixed_clock(void *ctx)
{
    return *(const int64_t *)ctx;
}

static void the_clock_is_injected(void **state)
{
    struct loop *loop = loop_new();
    int64_t now = 1767323045;

    (void)state;
    assert_true(loop_unix_seconds(loop) > 1700000000);
    loop_set_clock(loop, fixed_clock, &now);
    assert_int_equal(loop_unix_seconds(loop), 1767323045);
    loop_free(loop);
}

static void count_signal(void *ctx, int signal_number)
{
    int *signals = ctx;

    *signals = *signals * 100 + signal_number;
}

static void a_signal_is_told_once_and_lets_the_loop_end(void **state)
{
    struct loop *loop = loop_new();
    int signals = 0;

    (void)state;
    loop_on_signal(loop, count_signal, &signals);
    assert_int_equal(raise(SIGTERM), 0);
    assert_int_equal(raise(SIGINT), 0); /* comes in the same turn */
    loop_run(loop);
    assert_true(signals == SIGTERM || signals == SIGINT);
    loop_on_signal(loop, count_signal, &signals); /* once more */
    loop_ignore_signals(loop);
    loop_ignore_signals(loop);
    loop_run(loop);
    loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_loop_ends_at_once),
        cmocka_unit_test(done_never_comes_from_inside_start),
        cmocka_unit_test(many_marks_are_one_step),
        cmocka_unit_test(a_step_may_mark_its_own_operation),
        cmocka_unit_test(an_operation_that_is_always_ready_does_not_shut_out_events),
        cmocka_unit_test(a_state_marks_and_is_traced),
        cmocka_unit_test(cancel_is_answered_in_each_state),
        cmocka_unit_test(the_first_failure_wins_and_a_cancel_does_not_hide_it),
        cmocka_unit_test(a_childs_answer_is_a_fact_of_its_parent),
        cmocka_unit_test(a_timer_expires_restarts_and_closes_early),
        cmocka_unit_test(done_waits_for_every_handle),
        cmocka_unit_test(a_watch_tells_what_is_possible),
        cmocka_unit_test(a_reset_is_seen_as_readable_and_writable),
        cmocka_unit_test(a_closed_descriptors_number_can_be_watched_again),
        cmocka_unit_test(what_cannot_be_watched_is_an_error),
        cmocka_unit_test(work_comes_back_on_the_loop),
        cmocka_unit_test(the_clock_is_injected),
        cmocka_unit_test(a_signal_is_told_once_and_lets_the_loop_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
