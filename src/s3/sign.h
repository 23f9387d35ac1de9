#ifndef S3_SIGN_H
#define S3_SIGN_H

/*
 * Signature Version 4 for S3's Authorization header: pure. The server computes the same text from
 * what arrives and compares, so one function writes the path and the query for both the URL and the
 * signature. S3 differs from AWS's other services: bytes are encoded once, and the path is not
 * normalised. Facts: Amazon S3 API Reference, "Signature Calculations for the Authorization
 * Header".
 */

#include "base/buf.h"
#include "base/digest.h"
#include "base/span.h"

#include <stdint.h>

#define S3_SIGN_MAX_QUERY 8
#define S3_SIGN_MAX_HEADERS 16
#define S3_SIGN_UNSIGNED "UNSIGNED-PAYLOAD"
#define S3_SIGN_TIME_LEN 16 /* 20130524T000000Z */

struct s3_sign_pair {
    struct span name, value;
};

struct s3_sign_request {
    const char *method;
    struct span path;                 /* "/bucket/key", not encoded */
    const struct s3_sign_pair *query; /* not encoded, any order */
    unsigned query_count;
    const struct s3_sign_pair *headers; /* all that is signed, host included; lower-case names */
    unsigned header_count;
    struct span payload_hash; /* hex, or S3_SIGN_UNSIGNED */
};

/* The derived key of one day; made anew only when the day differs. */
struct s3_sign_key {
    const char *service; /* whose requests it signs; NULL: "s3" */
    char day[9];         /* "20130524", "" when there is none yet */
    unsigned char bytes[DIGEST_SHA256_BYTES];
};

/* "20130524T000000Z" of a time since 1970. */
void s3_sign_time(char out[S3_SIGN_TIME_LEN + 1], int64_t unix_seconds);

/* Makes key the one for the day of time; does nothing when it is already. */
void s3_sign_key_update(struct s3_sign_key *key,
                        struct span secret,
                        const char *region,
                        const char time[S3_SIGN_TIME_LEN + 1]);

/* The path and the query ("a=b&c=", sorted) as they go into the URL. */
void s3_sign_add_path(struct buf *out, struct span path);
void s3_sign_add_query(struct buf *out, const struct s3_sign_pair *query, unsigned count);

void s3_sign_add_canonical(struct buf *out, const struct s3_sign_request *request);

/* The value of the Authorization header. */
void s3_sign_add_authorization(struct buf *out,
                               const struct s3_sign_request *request,
                               const struct s3_sign_key *key,
                               const char *access_key_id,
                               const char *region,
                               const char time[S3_SIGN_TIME_LEN + 1]);

#endif
