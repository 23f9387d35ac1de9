#ifndef HTTP_CLIENT_H
#define HTTP_CLIENT_H

/*
 * HTTP/1.1 exchanges over libcurl's multi interface, driven by the loop. Connections are kept alive
 * and bounded per host. No redirects are followed, no response is interpreted: status, headers and
 * body are facts for the caller. Only network failures are errors.
 *
 * A proxy of the environment stands in between (https_proxy, http_proxy, all_proxy, no_proxy, as
 * libcurl-env(3) tells), except to loopback and link-local addresses. TLS at least 1.2 is spoken
 * through it with the other side itself.
 */

#include "base/chain.h"
#include "base/error.h"
#include "base/span.h"
#include "runtime/op.h"

struct http_client;
struct http_exchange;

struct http_client_options {
    unsigned max_host_connections; /* further exchanges wait in order */
    const char *ca_file;           /* NULL: the system's roots. Certificates are always verified */
};

struct http_client *http_client_new(struct loop *loop, const struct http_client_options *options);
/* All exchanges must be done. closed(ctx) follows when nothing of it is left in the loop; the
 * client is freed by then. */
typedef void http_closed_fn(void *ctx);
void http_client_close(struct http_client *client, http_closed_fn *closed, void *ctx);

struct http_header {
    struct span name, value;
};

/* Response bytes as they come, for bodies that are not to be kept. Called from the loop, never from
 * inside http_start. */
typedef void http_body_fn(void *ctx, struct span bytes);

/* Everything is copied except body, which is lent until done (it is read again after a reset). */
struct http_request {
    const char *method; /* GET, PUT, POST, DELETE, HEAD */
    const char *url;
    const struct http_header *headers; /* sent as they are, Host and Content-Length excepted */
    unsigned header_count;
    const struct chain *body_chain; /* or NULL */
    struct span body;               /* used when body_chain is NULL */
    uint64_t connect_timeout_ms;
    uint64_t stall_timeout_ms; /* no byte in either direction for so long; not a total time */
    size_t max_response_bytes; /* larger is an error */
    http_body_fn *on_body;     /* NULL: kept, see http_response_body */
    void *on_body_ctx;
};

/* done(ctx, err): err NULL when a complete response arrived, whatever its status; otherwise an
 * ERROR_HTTP or ERROR_TIMEOUT of class RETRY (resolver, connect, reset, stall) or CONFIG (bad URL,
 * certificate refused, TLS too old, a proxy that refuses), or ERROR_CANCELLED. Texts name host and
 * port, never the query string nor the proxy's URL. */
struct http_exchange *http_start(struct http_client *client,
                                 const struct http_request *request,
                                 op_done_fn *done,
                                 void *ctx);
void http_cancel(struct http_exchange *exchange);
void http_exchange_free(struct http_exchange *exchange); /* in or after done; NULL is fine */

unsigned http_response_status(const struct http_exchange *exchange);
/* libcurl sends a request again by itself when a kept connection ends before any answer, so the
 * server may have seen this one twice. Known only for requests with a body. */
bool http_was_resent(const struct http_exchange *exchange);
struct span http_response_body(const struct http_exchange *exchange); /* lives with the exchange */
struct span http_response_header(const struct http_exchange *exchange,
                                 const char *name); /* any case */

#endif
