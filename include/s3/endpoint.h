#ifndef S3_ENDPOINT_H
#define S3_ENDPOINT_H

/* Where a bucket is, and what may be said to it: pure. */

#include "base/arena.h"
#include "base/error.h"

struct s3_endpoint {
    const char *scheme;      /* "https" or "http" */
    const char *host_header; /* host[:port] as sent and signed */
    const char *base_url;    /* "https://bucket.s3.us-east-1.amazonaws.com" or ".../bucket" */
    const char *base_path;   /* "" or "/bucket": what comes before "/key" in the canonical URI */
    const char *bucket, *region;
    bool is_plain; /* http: payloads are signed; https: UNSIGNED-PAYLOAD, TLS guards them */
};

struct s3_endpoint_options {
    const char *bucket, *region;
    const char *endpoint; /* NULL or "": AWS; else scheme://host[:port][/], path style. The value of
                             AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, or the config's own */
    bool dualstack;
    bool path_style; /* forced; also used by itself for custom endpoints and names with dots */
};

/* What is wrong with the address of a custom endpoint, for a person; NULL when nothing is. Never
 * quotes it. */
const char *s3_endpoint_problem(const char *endpoint);

/* Refuses, as ERROR_CONFIG naming the property: malformed URLs, user info, queries, plain http to
 * anything but a loopback address (127.0.0.0/8, [::1], localhost), bucket names that are none. */
struct error *s3_endpoint_make(struct arena *arena,
                               const struct s3_endpoint_options *options,
                               struct s3_endpoint *ret) MUST_CHECK;

#endif
