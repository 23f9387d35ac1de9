/* runtime/timer: a libuv timer that belongs to an operation; expiry is a fact. */

#include "runtime/timer.h"

#include "runtime/inside.h"

struct timer {
    struct op_handle handle;
    uv_timer_t uv;
    bool expired;
};

static void on_closed(uv_handle_t *uv)
{
    struct timer *timer = CONTAINER_OF(uv, struct timer, uv);
    struct op *op = timer->handle.op;

    mem_free(timer);
    op_handle_closed(op);
}

static void begin_close(struct op_handle *handle)
{
    struct timer *timer = CONTAINER_OF(handle, struct timer, handle);

    list_remove(&handle->node);
    uv_close((uv_handle_t *)&timer->uv, on_closed);
}

struct timer *timer_new(struct op *op)
{
    struct timer *timer = mem_alloc(sizeof(*timer));

    CHECK(uv_timer_init(&op->loop->uv, &timer->uv) == 0);
    op_handle_open(&timer->handle, op, begin_close);
    return timer;
}

static void on_expired(uv_timer_t *uv)
{
    struct timer *timer = CONTAINER_OF(uv, struct timer, uv);

    timer->expired = true;
    op_mark(timer->handle.op);
}

void timer_start(struct timer *timer, uint64_t delay_ms)
{
    timer->expired = false;
    /* A delay counts from now and not from the beginning of a turn that may have been long. */
    uv_update_time(timer->uv.loop);
    CHECK(uv_timer_start(&timer->uv, on_expired, delay_ms, 0) == 0);
}

void timer_stop(struct timer *timer)
{
    timer->expired = false;
    CHECK(uv_timer_stop(&timer->uv) == 0);
}

bool timer_has_expired(const struct timer *timer)
{
    return timer->expired;
}

bool timer_is_running(const struct timer *timer)
{
    return uv_is_active((const uv_handle_t *)&timer->uv);
}

void timer_close(struct timer **timer)
{
    if (*timer) {
        begin_close(&(*timer)->handle);
        *timer = NULL;
    }
}
