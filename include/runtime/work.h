#ifndef RUNTIME_WORK_H
#define RUNTIME_WORK_H

/*
 * Heavy pure work on libuv's thread pool, as a complete hand-over: from work_start until done the
 * buffers belong to the worker, no object is ever shared between threads. The only locks in the
 * house are behind this door. Work cannot be cancelled once it runs; done always comes.
 */

#include "base/error.h"
#include "runtime/loop.h"

typedef void work_fn(void *ctx);      /* on a worker thread */
typedef void work_done_fn(void *ctx); /* on the loop, never from inside work_start */

/* ctx is lent until done. The loop stays alive until then. */
void work_start(struct loop *loop, work_fn *work, work_done_fn *done, void *ctx);

#endif
