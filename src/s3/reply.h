#ifndef S3_REPLY_H
#define S3_REPLY_H

/*
 * The handful of XML documents that S3 answers with: pure. Strict: one root, properly nested, known
 * entities, valid UTF-8, no document type; a list has at most 1,000 entries, which is S3's own
 * bound. Unknown elements are skipped. Spans returned lie in the arena or in the body, so both must
 * live as long as they are used. A body that is none of this is an ERROR_HTTP of class RETRY: it
 * was cut or garbled on its way, and the request can be made again.
 */

#include "base/arena.h"
#include "base/error.h"
#include "base/span.h"

#include <stdint.h>

#define S3_REPLY_MAX_ENTRIES 1000

/* <Error>: absent elements are empty. */
struct s3_reply_error {
    struct span code, message, request_id, region;
};

struct s3_reply_object {
    struct span key;
    uint64_t size;
    int64_t modified_unix;
};

/* <ListBucketResult> of version 2 */
struct s3_reply_list {
    struct s3_reply_object *objects;
    unsigned count;
    bool is_truncated;
    struct span next_token;
};

struct s3_reply_open_upload {
    struct span key, upload_id;
    int64_t initiated_unix;
};

/* <ListMultipartUploadsResult> */
struct s3_reply_uploads {
    struct s3_reply_open_upload *uploads;
    unsigned count;
    bool is_truncated;
    struct span next_key, next_upload_id;
};

struct s3_reply_key_error {
    struct span key, code, message;
};

/* <DeleteResult>, quiet: only what was not deleted */
struct s3_reply_deleted {
    struct s3_reply_key_error *errors;
    unsigned count;
};

struct error *
s3_reply_read_error(struct arena *arena, struct span body, struct s3_reply_error *ret) MUST_CHECK;
struct error *
s3_reply_read_upload_id(struct arena *arena, struct span body, struct span *ret) MUST_CHECK;
/* The answer to CompleteMultipartUpload may say 200 and still be an <Error>, behind white space
 * that kept the connection alive. *ret_completed tells which; ret_error is filled when it is false.
 */
struct error *s3_reply_read_completed(struct arena *arena,
                                      struct span body,
                                      bool *ret_completed,
                                      struct s3_reply_error *ret_error) MUST_CHECK;
struct error *
s3_reply_read_list(struct arena *arena, struct span body, struct s3_reply_list *ret) MUST_CHECK;
struct error *s3_reply_read_uploads(struct arena *arena,
                                    struct span body,
                                    struct s3_reply_uploads *ret) MUST_CHECK;
struct error *s3_reply_read_deleted(struct arena *arena,
                                    struct span body,
                                    struct s3_reply_deleted *ret) MUST_CHECK;

/* What STS answers: the keys of a role, under <XResponse><XResult><Credentials>. root: "XResponse".
 */
struct s3_reply_role {
    struct span access_key_id, secret_access_key, session_token, expiration; /* empty: absent */
};
struct error *s3_reply_read_role(struct arena *arena,
                                 struct span body,
                                 const char *root,
                                 struct s3_reply_role *ret) MUST_CHECK;
/* <ErrorResponse><Error>: code and message */
struct error *s3_reply_read_sts_error(struct arena *arena,
                                      struct span body,
                                      struct s3_reply_error *ret) MUST_CHECK;

/* Seconds since 1970 of a Date header, "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110, 5.6.7). */
bool s3_reply_read_date(struct span text, int64_t *ret_unix);

#endif
