#ifndef RUNTIME_LOOP_H
#define RUNTIME_LOOP_H

/*
 * The one event loop and its ready list. Callbacks of foreign libraries only record facts and mark
 * operations; the loop calls the step function of each ready operation before it sleeps, and keeps
 * doing so until none is ready. Nothing on it ever blocks.
 */

#include "base/check.h"
#include "base/error.h"

#include <stdint.h>

struct loop;

/* Also ignores SIGPIPE and switches core files off (they would hold secrets). */
struct loop *loop_new(void);
/* Runs until no handle and no operation is left. */
void loop_run(struct loop *loop);
/* From now on loop_run lasts so long at most. What is left then can only be work that hangs on the
 * thread pool: a disk or a network that does not answer. Also from inside the loop. */
void loop_end_within(struct loop *loop, uint64_t ms);
/* loop_run ended by that. The loop and what its work still owns must not be freed: the process is
 * to end by _exit(2), since exit(3) waits for the pool. */
bool loop_was_left(const struct loop *loop);
/* CHECKs that every handle was closed and every operation is done. */
void loop_free(struct loop *loop);

/* Monotonic milliseconds of this turn of the loop. */
uint64_t loop_now_ms(const struct loop *loop);
/* Wall clock, seconds since 1970; from the injected clock in tests. */
int64_t loop_unix_seconds(const struct loop *loop);
/* The same in nanoseconds; the injected clock has whole seconds. */
int64_t loop_unix_nanos(const struct loop *loop);

typedef int64_t loop_clock_fn(void *ctx);
void loop_set_clock(struct loop *loop, loop_clock_fn *clock, void *ctx);

/* SIGTERM and SIGINT become one fact: fn is called once, from the loop. A second signal does what
 * it does by default. Keeps the loop alive. */
typedef void loop_signal_fn(void *ctx, int signal_number);
void loop_on_signal(struct loop *loop, loop_signal_fn *fn, void *ctx);
void loop_ignore_signals(struct loop *loop); /* takes the handler out, so that the loop can end */

#endif
