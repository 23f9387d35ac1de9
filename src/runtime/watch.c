/*
 * runtime/watch: somebody else's descriptor, watched for one operation. Comes in: what to wait for;
 * goes out: marks. It never reads, writes or closes the descriptor.
 */

#include "runtime/watch.h"

#include "runtime/inside.h"

struct watch {
    struct op_handle handle;
    uv_poll_t uv;
    int fd;
    int asked; /* what the poll handle waits for now; 0 when it is stopped */
    int seen;  /* since the last watch_take */
};

static void on_closed(uv_handle_t *uv)
{
    struct watch *watch = CONTAINER_OF(uv, struct watch, uv);
    struct op *op = watch->handle.op;

    mem_free(watch);
    op_handle_closed(op);
}

static void begin_close(struct op_handle *handle)
{
    struct watch *watch = CONTAINER_OF(handle, struct watch, handle);

    list_remove(&handle->node);
    CHECK(uv_poll_stop(&watch->uv) == 0);
    uv_close((uv_handle_t *)&watch->uv, on_closed);
}

struct error *watch_new(struct op *op, int fd, struct watch **ret)
{
    struct watch *watch = mem_alloc(sizeof(*watch));
    int status = uv_poll_init(&op->loop->uv, &watch->uv, fd);

    if (status < 0) {
        mem_free(watch);
        return error_from_errno(-status, ERROR_ABORT, "watching descriptor %d", fd);
    }
    watch->fd = fd;
    op_handle_open(&watch->handle, op, begin_close);
    *ret = watch;
    return NULL;
}

static void on_event(uv_poll_t *uv, int status, int events)
{
    struct watch *watch = CONTAINER_OF(uv, struct watch, uv);

    if (status < 0) {
        /* libuv has stopped the handle; the descriptor's owner finds out why. */
        watch->asked = 0;
        watch->seen |= WATCH_READ | WATCH_WRITE;
    } else {
        watch->seen |= (events & UV_READABLE) ? WATCH_READ : 0;
        watch->seen |= (events & UV_WRITABLE) ? WATCH_WRITE : 0;
    }
    op_mark(watch->handle.op);
}

struct error *watch_set(struct watch *watch, int events)
{
    int wanted =
        ((events & WATCH_READ) ? UV_READABLE : 0) | ((events & WATCH_WRITE) ? UV_WRITABLE : 0);
    int status = 0;

    if (events == watch->asked) {
        return NULL;
    }
    /* Asking for nothing is a stop, which forgets the descriptor in the kernel's set as well. */
    status = wanted ? uv_poll_start(&watch->uv, wanted, on_event) : uv_poll_stop(&watch->uv);
    if (status < 0) {
        watch->asked = 0;
        return error_from_errno(-status, ERROR_ABORT, "watching descriptor %d", watch->fd);
    }
    watch->asked = events;
    return NULL;
}

int watch_take(struct watch *watch)
{
    int seen = watch->seen;

    watch->seen = 0;
    return seen;
}

int watch_fd(const struct watch *watch)
{
    return watch->fd;
}

void watch_close(struct watch **watch)
{
    if (*watch) {
        begin_close(&(*watch)->handle);
        *watch = NULL;
    }
}
