/*
 * runtime/loop: the one event loop. Comes in: operations that are ready; goes out: one call of
 * their step before the loop sleeps. It never knows what an operation is about.
 *
 *      timers -> idle -> prepare (drain the ready list) -> sleep for events -> close callbacks
 *                  ^                                             |                   |
 *                  +---------- active while anything is ready <--+-------------------+
 */

#include "runtime/inside.h"

#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

/* Steps in one drain. More wait for the next turn, so that operations that keep marking each other
 * cannot shut out events. */
#define STEPS_PER_TURN 4096

/* ---------------------------------------------------------------- the ready list */

static void on_idle(uv_idle_t *idle)
{
    (void)idle; /* being active is all that it is for */
}

void loop_add_ready(struct loop *loop, struct list_node *node)
{
    if (list_is_linked(node)) {
        return;
    }
    if (list_is_empty(&loop->ready)) {
        CHECK(uv_idle_start(&loop->idle, on_idle) == 0);
        uv_ref((uv_handle_t *)&loop->prepare);
    }
    list_push(&loop->ready, node);
}

static void drain_ready(uv_prepare_t *prepare)
{
    struct loop *loop = CONTAINER_OF(prepare, struct loop, prepare);

    for (unsigned steps = 0; steps < STEPS_PER_TURN; steps++) {
        struct list_node *node = list_pop(&loop->ready);
        if (!node) {
            break;
        }
        op_run(CONTAINER_OF(node, struct op, ready_node));
    }
    if (list_is_empty(&loop->ready)) {
        CHECK(uv_idle_stop(&loop->idle) == 0);
        uv_unref((uv_handle_t *)prepare);
    }
}

/* ---------------------------------------------------------------- life */

/*
 * No core files: they would hold credentials. The limit is one byte and not zero, because a core
 * that is piped to a program ignores a limit of zero, while one is the value by which the kernel
 * refuses both forms (core(5), and fs/coredump.c of Linux).
 */
static void switch_off_core_files(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_CORE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max < 1 ? limit.rlim_max : 1;
        (void)setrlimit(RLIMIT_CORE, &limit);
    }
}

struct loop *loop_new(void)
{
    struct loop *loop = mem_alloc(sizeof(*loop));
    struct sigaction ignore;

    memset(&ignore, 0, sizeof(ignore));
    ignore.sa_handler = SIG_IGN;
    CHECK(sigaction(SIGPIPE, &ignore, NULL) == 0);
    switch_off_core_files();

    list_init(&loop->ready);
    CHECK(uv_loop_init(&loop->uv) == 0);
    CHECK(uv_idle_init(&loop->uv, &loop->idle) == 0);
    CHECK(uv_prepare_init(&loop->uv, &loop->prepare) == 0);
    CHECK(uv_prepare_start(&loop->prepare, drain_ready) == 0);
    uv_unref((uv_handle_t *)&loop->prepare);
    return loop;
}

void loop_run(struct loop *loop)
{
    (void)uv_run(&loop->uv, UV_RUN_DEFAULT);
    if (loop->has_deadline && !loop->was_left) {
        loop->has_deadline = false;
        uv_close((uv_handle_t *)&loop->deadline, NULL);
    }
}

static void on_deadline(uv_timer_t *deadline)
{
    struct loop *loop = CONTAINER_OF(deadline, struct loop, deadline);

    loop->was_left = true;
    uv_stop(&loop->uv);
}

void loop_end_within(struct loop *loop, uint64_t ms)
{
    CHECK(!loop->has_deadline);
    loop->has_deadline = true;
    CHECK(uv_timer_init(&loop->uv, &loop->deadline) == 0);
    uv_unref((uv_handle_t *)&loop->deadline);
    CHECK(uv_timer_start(&loop->deadline, on_deadline, ms, 0) == 0);
}

bool loop_was_left(const struct loop *loop)
{
    return loop->was_left;
}

static void check_is_ours(uv_handle_t *handle, void *arg)
{
    struct loop *loop = arg;
    bool is_ours = handle == (uv_handle_t *)&loop->prepare || handle == (uv_handle_t *)&loop->idle;

    CHECK(is_ours || uv_is_closing(handle)); /* someone left a handle open */
}

void loop_free(struct loop *loop)
{
    if (!loop) {
        return;
    }
    loop_ignore_signals(loop);
    /* What was ended after the last run may still have its close callback and its done to come:
     * one turn for each, and one for what they mark. None of these turns waits. */
    for (unsigned turn = 0; turn < 3; turn++) {
        (void)uv_run(&loop->uv, UV_RUN_NOWAIT);
    }
    CHECK(loop->op_count == 0);
    CHECK(list_is_empty(&loop->ready));
    uv_walk(&loop->uv, check_is_ours, loop);
    uv_close((uv_handle_t *)&loop->prepare, NULL);
    uv_close((uv_handle_t *)&loop->idle, NULL);
    (void)uv_run(&loop->uv, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&loop->uv) == 0);
    mem_free(loop);
}

/* ---------------------------------------------------------------- time */

uint64_t loop_now_ms(const struct loop *loop)
{
    return uv_now(&loop->uv);
}

int64_t loop_unix_seconds(const struct loop *loop)
{
    return loop->clock ? loop->clock(loop->clock_ctx) : (int64_t)time(NULL);
}

int64_t loop_unix_nanos(const struct loop *loop)
{
    const int64_t second = 1000000000;
    struct timespec now;

    if (loop->clock) {
        return loop->clock(loop->clock_ctx) * second;
    }
    CHECK(clock_gettime(CLOCK_REALTIME, &now) == 0);
    return now.tv_sec * second + now.tv_nsec;
}

void loop_set_clock(struct loop *loop, loop_clock_fn *clock, void *ctx)
{
    loop->clock = clock;
    loop->clock_ctx = ctx;
}

/* ---------------------------------------------------------------- signals */

static void on_signal(uv_signal_t *handle, int signal_number)
{
    struct loop *loop = handle->data;
    loop_signal_fn *fn = loop->signal_fn;

    if (loop->listens) {
        loop_ignore_signals(loop);
        fn(loop->signal_ctx, signal_number);
    }
}

static void on_signal_closed(uv_handle_t *handle)
{
    struct loop *loop = handle->data;

    loop->open_signal_count--;
}

void loop_on_signal(struct loop *loop, loop_signal_fn *fn, void *ctx)
{
    static const int numbers[] = {SIGTERM, SIGINT};

    CHECK(loop->open_signal_count == 0);
    loop->signal_fn = fn;
    loop->signal_ctx = ctx;
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        CHECK(uv_signal_init(&loop->uv, &loop->signals[i]) == 0);
        loop->signals[i].data = loop;
        CHECK(uv_signal_start(&loop->signals[i], on_signal, numbers[i]) == 0);
        loop->open_signal_count++;
    }
    loop->listens = true;
}

void loop_ignore_signals(struct loop *loop)
{
    if (!loop->listens) {
        return;
    }
    loop->listens = false;
    for (size_t i = 0; i < ARRAY_LEN(loop->signals); i++) {
        uv_close((uv_handle_t *)&loop->signals[i], on_signal_closed);
    }
}
