#ifndef STAGE_MANIFEST_H
#define STAGE_MANIFEST_H

/* The list of objects that one COPY reads. Pure. Every entry is mandatory: a missing file must fail
 * the COPY and not be skipped. */

#include "base/buf.h"
#include "base/span.h"

/* keys: object keys in bucket. Appends
 * {"entries":[{"url":"s3://bucket/key","mandatory":true},...]}. */
void manifest_add(struct buf *out, struct span bucket, const struct span *keys, unsigned count);

#endif
