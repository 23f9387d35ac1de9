#ifndef STAGE_COMPRESS_H
#define STAGE_COMPRESS_H

/*
 * Blocks of rows to files of one gzip member or one zstd frame each.
 *
 * gzip: blocks know nothing of one another. Each ends on a byte boundary and looks back at nothing,
 * so several jobs compress blocks of one file at the same time, and the file is any sequence of
 * them. What a file keeps meanwhile is a checksum and a length.
 *
 *      header | block | block | ... | empty last block, checksum, length
 *
 * For the same reason what a block makes of bytes that stand in it twice can stand in the file
 * twice.
 *
 * zstd: a frame is a stream with a state of its own, which looks back over all of it: its blocks
 * are compressed one after another and stand in the file in that order.
 *
 * compress_block may run on a worker thread: the tool, the file's state (zstd) and the memory are
 * handed over to it. Everything else is the loop's.
 */

#include "base/buf.h"
#include "stage/writer.h"

struct compress;      /* what a file in the making knows */
struct compress_tool; /* what a job needs to think: ISA-L's tables. zstd has them in the file */

/* What a block adds to its file. */
struct compress_piece {
    uint32_t crc;
    size_t plain_bytes;
};

struct compress_tool *compress_tool_new(enum stage_compression kind);
void compress_tool_free(struct compress_tool *tool); /* NULL is fine */

/* Blocks of one file must be compressed one at a time and appended in that order. */
bool compress_is_stream(enum stage_compression kind);
/* Memory that a file needs from its first block to its end. */
size_t compress_state_bytes(enum stage_compression kind);

struct compress *compress_new(enum stage_compression kind);
void compress_free(struct compress *compress); /* NULL is fine */

/* All append to out, whose maximum must be large enough: fullness is a CHECK. */
void compress_begin(struct compress *compress, struct buf *out);
/* compress: of the file, for a stream; else NULL. repeats: in rows, or NULL; a stream has no use
 * for them. */
void compress_block(struct compress_tool *tool,
                    struct compress *compress,
                    struct span rows,
                    const struct stage_repeats *repeats,
                    struct buf *out,
                    struct compress_piece *ret);
/* The block's output was appended to the file. */
void compress_join(struct compress *compress, const struct compress_piece *piece);
void compress_end(struct compress *compress, struct buf *out);

const char *compress_suffix(enum stage_compression kind); /* ".gz", ".zst" */

#endif
