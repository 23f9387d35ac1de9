#ifndef HTTP_EXCHANGE_H
#define HTTP_EXCHANGE_H

/*
 * What client.c (the multi handle, its sockets and its clock) and exchange.c (one request and its
 * answer) know of each other. The client owns the easy handles and decides when an exchange gets
 * one; the exchange knows what to say with it.
 */

#include "base/buf.h"
#include "http/client.h"
#include "runtime/timer.h"

#include <curl/curl.h>

#define HTTP_EXCHANGE_STATES(X)                                                                    \
    X(QUEUED)  /* for a place among the connections to its host */                                 \
    X(RUNNING) /* for the multi handle to say that the transfer ended */

#define EXCHANGE_STATE_ENUM(name) HTTP_EXCHANGE_##name,
enum http_exchange_state { HTTP_EXCHANGE_STATES(EXCHANGE_STATE_ENUM) HTTP_EXCHANGE_STATE_COUNT };

struct http_exchange {
    struct op op;
    struct http_client *client;
    struct list_node node; /* in the client's queue or among its running exchanges */

    /* The request, copied. */
    char *method, *url;
    char *peer;   /* "host:port", for errors and for counting connections; NULL: the URL is bad */
    bool is_near; /* on this machine or this link: no proxy stands in between */
    struct curl_slist *headers;
    const struct chain *body_chain; /* lent, like body */
    struct span body;
    size_t body_bytes;
    uint64_t connect_timeout_ms, stall_timeout_ms;
    size_t max_response_bytes;
    http_body_fn *on_body;
    void *on_body_ctx;

    /* While it runs. */
    CURL *easy;
    struct timer *stall_timer;
    struct chain_cursor cursor; /* where reading of body_chain is */
    size_t body_offset;         /* the same for body */
    char error_text[CURL_ERROR_SIZE];

    /* Facts, recorded by curl's callbacks. */
    bool connected, ended, is_too_large, headers_too_large;
    bool was_resent; /* the body was read again from its start */
    CURLcode result;
    unsigned proxy_status;     /* of the proxy's answer to CONNECT; 0: no proxy, or no answer */
    uint64_t moved_bytes;      /* both directions, as curl counts them */
    uint64_t last_progress_ms; /* when moved_bytes or the headers last grew */

    /* The response. */
    unsigned status;
    struct buf response_headers; /* raw lines of the last header block */
    struct buf response_body;
    size_t response_bytes;
};

/* exchange.c, for the client */
/* Tells an easy handle, fresh from its pool, everything about this exchange. */
void http_exchange_prepare(struct http_exchange *exchange, CURL *easy, const char *ca_file);
/* The multi handle is done with it: the result is a fact from now on. */
void http_exchange_end(struct http_exchange *exchange, CURLcode result);

/* client.c, for the exchange */
struct loop *http_client_loop(struct http_client *client);
void http_client_queue(struct http_client *client, struct http_exchange *exchange);
/* Takes the exchange out of the queue or out of the multi handle. Only from a step function, never
 * from inside a callback of curl. */
void http_client_drop(struct http_client *client, struct http_exchange *exchange);

#endif
