#ifndef CAPTURE_CAPTURE_H
#define CAPTURE_CAPTURE_H

/*
 * A session written to a file while it runs: every frame in both directions with its time. The form
 * is in capture/record.h. Whoever gives a frame has taken the secrets out of it
 * (proto/rewrite.h).
 *
 * Frames are copied into a queue, and the thread pool writes what is queued as soon as it has
 * written what was before, so that little is lost when the process is killed and the loop never
 * waits for a disk. The queue is bounded: when the disk is so slow that it fills, and also when
 * writing fails, the capture ends itself and says so; the session goes on.
 *
 *      session -> [block][block][block] -> worker: checksummed records, whole, one file at a time
 *
 * The files are readable by their owner only. An existing file is never touched: each process of a
 * task makes a session of its own, so when `path` is there the capture goes to `path-2`, `path-3`
 * and so on, up to CAPTURE_SESSIONS_MAX.
 */

#include "base/error.h"
#include "capture/record.h"
#include "runtime/loop.h"

#include <stdbool.h>

#define CAPTURE_SESSIONS_MAX 100
#define CAPTURE_LIMIT_BYTES ((uint64_t)1024 * 1024 * 1024)
#define CAPTURE_QUEUE_BYTES ((size_t)64 * 1024 * 1024)

struct capture;

struct capture_options {
    const char *path;
    uint64_t limit_bytes; /* of all files of the session together; one frame may go beyond it. 0:
                             CAPTURE_LIMIT_BYTES */
    size_t queue_bytes;   /* not yet written; one frame may go beyond it. 0: CAPTURE_QUEUE_BYTES */
    const char *version, *codec;
    int64_t unix_seconds; /* now */
};

/* The capture ended itself. Owns err. Called once at most, also from inside of capture_add, and
 * must not call back. */
typedef void capture_stopped_fn(void *ctx, struct error *err);

/* Makes the first file, before the loop runs. */
struct error *capture_new(struct loop *loop,
                          const struct capture_options *options, /* copied */
                          capture_stopped_fn *stopped,
                          void *ctx,
                          struct capture **ret) MUST_CHECK;
const char *capture_path(const struct capture *capture); /* of the first file */

void capture_add(struct capture *capture, enum capture_direction direction, struct span frame);
/* A frame that must not be written: its length is. */
void capture_add_withheld(struct capture *capture, enum capture_direction direction, size_t bytes);

/* The session ended, well or not. Writes what is queued, then closed(ctx) once, from the loop,
 * after which it is freed. */
typedef void capture_closed_fn(void *ctx);
void capture_close(struct capture *capture, bool ended_well, capture_closed_fn *closed, void *ctx);
void capture_free(
    struct capture *capture); /* after closed, or before the first add; NULL is fine */

#endif
