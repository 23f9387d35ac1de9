#ifndef S3_VERDICT_H
#define S3_VERDICT_H

/*
 * What an answer of S3 other than 2xx means: pure. One table says for each code whether the request
 * may be sent again, whether a person must change something, and what. Facts: Amazon S3 API
 * Reference, "Error responses".
 */

#include "reply.h"

struct s3_verdict_facts {
    unsigned status;
    struct s3_reply_error reply;    /* all empty when there was no body (HEAD) */
    struct span request_id;         /* header x-amz-request-id, when the body has none */
    struct span bucket_region;      /* header x-amz-bucket-region, when the body has none */
    const char *region_signed_with; /* ours */
};

/* The origin is "<status> <code>"; the text is S3's own message with the request id. */
struct error *s3_verdict(const struct s3_verdict_facts *facts) MUST_CHECK;

/* Did this error say "too many requests"? */
bool s3_verdict_is_throttle(const struct error *err);
/* Is it this S3 code? */
bool s3_verdict_is(const struct error *err, const char *code);

#endif
