#ifndef SANDBOX_S3_READ_H
#define SANDBOX_S3_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The two calls of S3 that COPY needs, blocking. Requests are signed by libcurl itself
 * (CURLOPT_AWS_SIGV4): an implementation independent of the product's signer, on purpose.
 */

struct s3_access {
    const char *access_key_id, *secret_access_key;
    const char *session_token; /* NULL for none */
    const char *region;
    /* scheme://host:port, path style. NULL: Amazon's endpoint of the region. */
    const char *endpoint;
};

/* Why a request failed. `status` 0: no HTTP answer, `message` says why. Holds no credential. */
struct s3_failure {
    long status;
    char code[64];
    char message[512];
    char request_id[64];
    char host_id[128];
};

struct s3_reader;

/* The strings of `access` are copied; s3_reader_free wipes them. */
struct s3_reader *s3_reader_new(const struct s3_access *access);
void s3_reader_free(struct s3_reader *reader);

enum s3_result {
    S3_DONE,
    S3_STOPPED, /* the callback returned false */
    S3_FAILED,
};

/* Gives the object's bytes in pieces. A broken connection is taken up where it broke. */
enum s3_result s3_get(struct s3_reader *reader,
                      const char *bucket,
                      const char *key,
                      bool (*data)(void *ctx, const char *at, size_t len),
                      void *ctx,
                      struct s3_failure *ret);

/* Gives each key that begins with the prefix, in the server's order, over all pages. */
enum s3_result s3_list(struct s3_reader *reader,
                       const char *bucket,
                       const char *prefix,
                       bool (*found)(void *ctx, const char *key, int64_t size),
                       void *ctx,
                       struct s3_failure *ret);

#endif
