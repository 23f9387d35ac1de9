#ifndef RUNTIME_STDIO_H
#define RUNTIME_STDIO_H

/*
 * stdin and stdout as bytes, whatever they are (pipe, socket, file). The only writer of stdout.
 *
 * Reading: the owner lends memory for the next bytes (alloc) and is told how many came (read). It
 * is read only while the ledger is open and the reader is not paused. Files are read on the thread
 * pool, pipes and sockets by polling; only this file knows.
 * Writing: bytes are copied into one queue and written in order. Above its mark the queue says so,
 * and whoever produces replies (loaded documents) stops reading the database until it drained.
 */

#include "base/error.h"
#include "base/span.h"
#include "runtime/credit.h"
#include "runtime/loop.h"

/* Where the next bytes go; *ret_len > 0. Valid until the matching read call, or until closed when
 * none came. Asked again without a read call in between when the kernel had nothing after all. */
typedef void stdio_alloc_fn(void *ctx, char **ret_ptr, size_t *ret_len);
/* len > 0: bytes arrived; len == 0: end of input (once). Called from the loop. */
typedef void stdio_read_fn(void *ctx, size_t len);
/* Owns err; nothing follows but closed. After stdio_close errors come with closed instead. */
typedef void stdio_error_fn(void *ctx, struct error *err);
typedef void stdio_drain_fn(void *ctx); /* the queue fell below its mark */

struct stdio_callbacks {
    stdio_alloc_fn *alloc;
    stdio_read_fn *read;
    stdio_error_fn *error;
    stdio_drain_fn *drain;
    void *ctx;
};

struct stdio;

/* Descriptors 0 and 1 in the program, others in tests; they are not closed. credit may be NULL. */
struct error *stdio_new(struct loop *loop,
                        int in_fd,
                        int out_fd,
                        struct credit *credit,
                        const struct stdio_callbacks *callbacks,
                        struct stdio **ret) MUST_CHECK;
/* The callbacks come from the loop, never from inside one of these calls. */
void stdio_start_reading(struct stdio *io);
void stdio_pause(struct stdio *io); /* no read call after this until stdio_resume */
void stdio_resume(struct stdio *io);

void stdio_write(struct stdio *io, struct span bytes);
/* True while the queue of unwritten bytes is above its mark (1 MiB). */
bool stdio_is_backed_up(const struct stdio *io);

/* Writes what is queued, then lets go of both descriptors; closed(ctx, err) comes once. After an
 * error nothing more is written. */
typedef void stdio_closed_fn(void *ctx, struct error *err);
void stdio_close(struct stdio *io, stdio_closed_fn *closed, void *ctx);
void stdio_free(struct stdio *io); /* after closed */

#endif
