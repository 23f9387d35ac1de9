#ifndef S3_CLIENT_H
#define S3_CLIENT_H

/*
 * Objects in one bucket. Every call is one operation: signed, sent, judged by status and S3 code,
 * retried by class with growing, jittered waits (7 attempts in all), cancelled when asked. Calls
 * end with done(ctx, err) once, and are freed by their owner in or after done. Facts: Amazon S3 API
 * Reference (SigV4 header authentication, error responses, multipart upload).
 */

#include "base/arena.h"
#include "base/chain.h"
#include "base/error.h"
#include "base/figures.h"
#include "base/secret.h"
#include "http/client.h"
#include "runtime/credit.h"
#include "runtime/op.h"
#include "s3/credential.h"
#include "s3/endpoint.h"

struct s3;
struct s3_call;

struct s3_options {
    struct s3_endpoint endpoint; /* strings are copied */
    struct s3_source *source;    /* taken, what it lies in outlives the client; or NULL, then: */
    const char *access_key_id;
    const struct secret *secret_access_key; /* copied */
    const struct secret *session_token;     /* or NULL */
    s3_keys_tell_fn *tell;                  /* or NULL */
    void *tell_ctx;
    const char *kms_key_id;  /* SSE-KMS for all objects that are made; NULL or "": not asked for */
    uint64_t seed;           /* for jitter */
    struct figures *figures; /* s3_requests, s3_retries, parts are counted here; or NULL */
    /* 0: the usual ones, 10 s, 60 s and 0.2 s (each retry waits twice as long, up to 20 s) */
    uint64_t connect_timeout_ms, stall_timeout_ms, retry_first_ms;
};

/* The http client is lent and outlives it. */
struct s3 *s3_new(struct loop *loop, struct http_client *http, const struct s3_options *options);
void s3_free(struct s3 *s3); /* CHECK: all calls and uploads are done */
/* The process ends: what is under way, and what is still begun, has so much time all together and
 * is cancelled then. What stays in the bucket is for whoever comes next. */
void s3_give_up_within(struct s3 *s3, uint64_t limit_ms);

const char *s3_bucket(const struct s3 *s3);
const char *s3_region(const struct s3 *s3);

/* One small object. Keys are bare ("path/name", no leading slash). body is copied. */
struct s3_call *
s3_put(struct s3 *s3, struct span key, struct span body, op_done_fn *done, void *ctx);
/* Reads an object of at most max_bytes; see s3_call_body. */
struct s3_call *
s3_get(struct s3 *s3, struct span key, size_t max_bytes, op_done_fn *done, void *ctx);
/* Does the object exist, and how large is it (s3_call_size)? A missing one is ERROR_HTTP 404. */
struct s3_call *s3_head(struct s3 *s3, struct span key, op_done_fn *done, void *ctx);
struct s3_call *s3_delete_one(struct s3 *s3, struct span key, op_done_fn *done, void *ctx);
/* Any number of keys, 1,000 a request (DeleteObjects, quiet). A key that is gone already is fine.
 * Per-key errors are retried, then reported as one error that counts them and names the first.
 * Copies. */
struct s3_call *
s3_delete(struct s3 *s3, const struct span *keys, size_t count, op_done_fn *done, void *ctx);

/* Called for each object under prefix, in order, page by page. Spans are lent for the call. */
typedef void s3_object_fn(void *ctx, struct span key, uint64_t size, int64_t modified_unix);
struct s3_call *
s3_list(struct s3 *s3, struct span prefix, s3_object_fn *each, op_done_fn *done, void *ctx);
/* The same for multipart uploads that were begun and neither completed nor aborted. */
typedef void
s3_open_upload_fn(void *ctx, struct span key, struct span upload_id, int64_t initiated_unix);
struct s3_call *s3_list_uploads(
    struct s3 *s3, struct span prefix, s3_open_upload_fn *each, op_done_fn *done, void *ctx);
/* An upload that is gone already is fine. */
struct s3_call *
s3_abort_upload(struct s3 *s3, struct span key, struct span upload_id, op_done_fn *done, void *ctx);

void s3_call_cancel(struct s3_call *call);
void s3_call_free(struct s3_call *call); /* NULL is fine */
struct span s3_call_body(const struct s3_call *call);
uint64_t s3_call_size(const struct s3_call *call);

/* HTTP status of the failure (403, 404, ...), 0 when there was no answer or no error. */
unsigned s3_error_status(const struct error *err);

#endif
