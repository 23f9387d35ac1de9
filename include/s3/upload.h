#ifndef S3_UPLOAD_H
#define S3_UPLOAD_H

/*
 * One object, written while its bytes still arrive. The owner hands over parts; each is stored as
 * soon as it comes, several at a time. An object that ends with its first part is one plain PUT and
 * never becomes a multipart upload. After a failure or a cancel what is in flight is waited for,
 * then the upload is aborted on the server, then done comes.
 *
 * A part holds credit that its owner took; the upload gives it back (bytes of the chain) when the
 * part is stored or dropped.
 */

#include "s3/client.h"

/* Every part but the last must have at least this much (S3's minimum). */
#define S3_MIN_PART_BYTES ((size_t)5 * 1024 * 1024)
#define S3_MAX_PARTS 10000

struct s3_upload;

struct s3_upload *s3_upload_new(struct s3 *s3,
                                struct span key,
                                struct credit *credit,
                                unsigned max_parallel, /* parts in flight */
                                op_done_fn *done,
                                void *ctx);
/* Takes the chain's bytes (the chain is empty afterwards). A part below the minimum must be the
 * last. */
void s3_upload_add_part(struct s3_upload *upload, struct chain *part);
/* No more parts. An object of no part at all is an empty object. */
void s3_upload_end(struct s3_upload *upload);
void s3_upload_cancel(struct s3_upload *upload);
void s3_upload_free(struct s3_upload *upload); /* in or after done; NULL is fine */

size_t s3_upload_waiting_bytes(const struct s3_upload *upload); /* handed over, not stored yet */
unsigned s3_upload_part_count(const struct s3_upload *upload);

#endif
