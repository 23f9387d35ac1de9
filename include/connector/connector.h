#ifndef CONNECTOR_CONNECTOR_H
#define CONNECTOR_CONNECTOR_H

/*
 * What Flow asks for, answered: the whole program but its arguments. Reads requests from one
 * descriptor, writes responses to another, and ends once: cleanly when the input ended where it
 * may, or with the error that is the process's last word.
 */

#include "base/error.h"
#include "base/metric.h"
#include "proto/codec.h"
#include "runtime/credit.h"
#include "runtime/loop.h"

struct connector;

struct connector_options {
    enum proto_codec codec;
    int in_fd, out_fd;
    struct credit *credit;         /* lent; zero again at the end */
    const char *documentation_url; /* NULL or "": our own; else DOCS_URL */
    const char *s3_endpoint; /* NULL or "": AWS; else AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL */
    /* A variable's value, NULL when it is not set: for keys of S3. NULL: none is set. */
    const char *(*environment)(void *ctx, const char *name);
    void *environment_ctx;
    uint64_t seed;                /* jitter of retries */
    const char *capture_path;     /* NULL or "": none; else the session is written there, see
                                     capture/capture.h */
    uint64_t capture_limit_bytes; /* 0: the default */
    uint64_t progress_ms;         /* between the lines of a long phase; 0: five minutes */
    /* An Open's configuration has `advanced.metrics_address`. May be NULL. */
    void (*serve_metrics)(void *ctx, const char *address);
    void *serve_ctx;
};

/* ended(ctx, err) comes once, from the loop, when nothing of it is left there; the connector is
 * freed by its owner in or after it, once the loop has run out: a worker may still hang on the disk
 * of the capture (loop_end_within). */
typedef void connector_ended_fn(void *ctx, struct error *err);
struct error *connector_new(struct loop *loop,
                            const struct connector_options *options,
                            connector_ended_fn *ended,
                            void *ctx,
                            struct connector **ret) MUST_CHECK;
/* Winds down now: rolls back what is open, aborts uploads; ended follows with ERROR_CANCELLED
 * unless the end of input was reached already. Idempotent. */
void connector_stop(struct connector *connector);

/* A session is open. */
bool connector_is_ready(const struct connector *connector);
/* Hands over the figures as they are now; base/metric.h. Costs microseconds. */
void connector_measure(const struct connector *connector, metric_emit_fn *emit, void *to);
/* All metrics there are, constant: some have rows only when there is something to tell. */
const struct metric *connector_metrics(unsigned *ret_count);
void connector_free(struct connector *connector);

#endif
