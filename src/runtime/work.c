/*
 * runtime/work: the thread pool. Comes in: a function and memory that it owns until done; goes out:
 * done, on the loop. The hand-over is libuv's, so no lock of ours is needed.
 */

#include "runtime/work.h"

#include "runtime/inside.h"

struct work {
    uv_work_t uv;
    work_fn *work;
    work_done_fn *done;
    void *ctx;
};

static void on_worker(uv_work_t *uv)
{
    struct work *work = CONTAINER_OF(uv, struct work, uv);

    work->work(work->ctx);
}

static void on_done(uv_work_t *uv, int status)
{
    struct work *work = CONTAINER_OF(uv, struct work, uv);
    work_done_fn *done = work->done;
    void *ctx = work->ctx;

    CHECK(status == 0); /* nobody cancels work */
    mem_free(work);
    done(ctx);
}

void work_start(struct loop *loop, work_fn *work, work_done_fn *done, void *ctx)
{
    struct work *started = mem_alloc(sizeof(*started));

    started->work = work;
    started->done = done;
    started->ctx = ctx;
    CHECK(uv_queue_work(&loop->uv, &started->uv, on_worker, on_done) == 0);
}
