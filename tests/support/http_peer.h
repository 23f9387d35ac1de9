#ifndef SUPPORT_HTTP_PEER_H
#define SUPPORT_HTTP_PEER_H

/*
 * An HTTP server on a loopback port that answers by a script: a list of rules, the first rule that
 * fits a request and is not used up decides. It runs on threads of its own, one a connection, so
 * the tested program's loop is left alone. What it was asked is kept for the test to look at.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum http_peer_way {
    HTTP_PEER_ANSWER,     /* the whole answer */
    HTTP_PEER_CUT,        /* only the first after_bytes of the answer, then an orderly close */
    HTTP_PEER_RESET,      /* after_bytes of the request's body are read, then a TCP reset */
    HTTP_PEER_SILENCE,    /* the request is read, nothing is said until the other side hangs up */
    HTTP_PEER_ANSWER_END, /* the whole answer, then a close that the answer does not announce */
    /* As a proxy answers CONNECT: 200, and then the bytes of both sides, with the port of the
     * request's target on loopback, whatever host it names. after_bytes: so many come back, then a
     * close; 0: all. */
    HTTP_PEER_TUNNEL,
};

struct http_rule {
    const char *method; /* NULL: any */
    const char *target; /* part of path and query; NULL: any */
    unsigned times;     /* 0: always */
    unsigned skip;      /* so many requests that fit are left to later rules first */
    enum http_peer_way way;
    unsigned status;     /* 0: 200 */
    const char *headers; /* "ETag: \"a\"\r\n", or NULL */
    const char *body;    /* or NULL; HEAD announces its length only */
    size_t after_bytes;
};

struct http_peer_request {
    char method[16];
    char target[4096];
    char headers[8192];
    size_t body_bytes;
    char body[262144];            /* its beginning */
    uint32_t body_sum;            /* sum of all its bytes */
    const struct http_rule *rule; /* that answered it: one of those lent, or none that fits */
};

struct http_peer;

/* The rules are lent until http_peer_stop. Aborts the test when it cannot listen. */
struct http_peer *http_peer_start(const struct http_rule *rules, unsigned rule_count);
/* The same over TLS, with a certificate made for 127.0.0.1 and peer.test (a name that no resolver
 * knows, RFC 6761) and signed by itself. Its file, for those who are to trust it, lies in the
 * temporary folder until http_peer_stop. */
struct http_peer *http_peer_start_tls(const struct http_rule *rules, unsigned rule_count);
/* The same, but it speaks nothing newer than TLS 1.1. */
struct http_peer *http_peer_start_old_tls(const struct http_rule *rules, unsigned rule_count);
const char *http_peer_certificate(const struct http_peer *peer);
void http_peer_stop(struct http_peer *peer);
unsigned http_peer_port(const struct http_peer *peer);

/* How many requests came with this method (NULL: any) and this part of the target (NULL: any)? */
unsigned http_peer_count(struct http_peer *peer, const char *method, const char *target);
/* Copies request number index (from 0) among those; false when there is none. */
bool http_peer_request(struct http_peer *peer,
                       const char *method,
                       const char *target,
                       unsigned index,
                       struct http_peer_request *ret);
unsigned http_peer_connections(struct http_peer *peer);
/* How often was rule number index used? */
unsigned http_peer_rule_uses(struct http_peer *peer, unsigned index);

#endif
