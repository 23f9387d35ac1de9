#ifndef STAGE_COMPRESS_H
#define STAGE_COMPRESS_H

/*
 * One file's compression: a stream that is fed block by block and ended once, so that the file is a
 * single gzip member or zstd frame. Touches nothing but its own state: it may run on a worker
 * thread, by complete hand-over.
 */

#include "base/buf.h"
#include "stage/writer.h"

struct compress;

struct compress *compress_new(enum stage_compression kind);
void compress_free(struct compress *compress); /* NULL is fine */

/* Appends to out what comes out for these bytes, with ends also the end of the stream. out must be
 * large enough in its maximum: fullness is a CHECK. */
void compress_add(struct compress *compress, struct span bytes, bool ends, struct buf *out);

const char *compress_suffix(enum stage_compression kind); /* ".gz", ".zst" */

#endif
