#ifndef METRICS_SERVER_H
#define METRICS_SERVER_H

/*
 * A small HTTP server for those who watch: GET /metrics (Prometheus' text format 0.0.4), /healthz
 * (200 whenever the loop turns, or nobody would answer), /readyz (200 when is_ready says so, else
 * 503). It knows no figure of its own; the rows come from measure at each request. At most eight
 * connections, each with 16 KiB and ten idle seconds; nothing but GET and HEAD; no TLS, no
 * password: it listens on the loopback interface unless told otherwise.
 */

#include "base/error.h"
#include "base/metric.h"
#include "runtime/op.h"

#include <stdbool.h>

struct metrics_server;

struct metrics_options {
    /* "9477", ":9477" and "localhost:9477": loopback; "127.0.0.1:9477", "[::1]:9477",
     * "0.0.0.0:9477": that address. Names are not looked up. Port 0: any free one. */
    const char *address;
    metric_measure_fn *measure;
    bool (*is_ready)(void *ctx);
    void *ctx; /* of the two above */
};

/* Listens when it returns. Errors: ERROR_CONFIG for what is no address, or cannot be listened on.
 */
struct error *metrics_server_start(struct loop *loop,
                                   const struct metrics_options *options,
                                   struct metrics_server **ret) MUST_CHECK;
/* "127.0.0.1:9477": where it listens, with the port that was free. Lives as long as the server. */
const char *metrics_server_address(const struct metrics_server *server);
/* Hangs up at once; done(ctx, NULL) follows, and the server is freed by then. */
void metrics_server_stop(struct metrics_server *server, op_done_fn *done, void *ctx);

#endif
