#ifndef STAGE_WRITER_H
#define STAGE_WRITER_H

/*
 * Rows to objects: one writer per binding and role (keys to look up, rows to store, keys to delete)
 * and transaction. Lines collect in a block; full blocks of all writers are compressed on the
 * thread pool, several at once, each for itself; compressed bytes collect in a part; full parts are
 * uploaded while rows still arrive; files are ended when they have their size, which is the same
 * for groups of files (stage_set_files).
 *
 *      row_begin..row_end -> block (256 KiB) -> compress -> part (chain, 8 MiB) -> s3_upload
 *      credit:      raw bytes taken      raw given back, compressed taken     given back
 *
 * The order of rows is kept within a block only: COPY knows none either.
 *
 * While the pool has as much as it can work on, the ledger is held closed. When it closes by its
 * bytes, blocks that are not full are compressed, and if that is not enough, files are ended before
 * they have their size, the fullest of all writers first: so what waits for more rows can leave.
 */

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/figures.h"
#include "runtime/credit.h"
#include "runtime/op.h"
#include "s3/client.h"
#include "stage/repeat.h"

enum stage_compression { STAGE_GZIP, STAGE_ZSTD };

struct stage; /* what all writers of a process share: S3, ledger, pool of chunks */

struct stage_options {
    struct s3 *s3;
    struct credit *credit;
    enum stage_compression compression;
    size_t block_bytes;      /* 0: 256 KiB */
    size_t part_bytes;       /* 0: 8 MiB; at least S3_MIN_PART_BYTES */
    size_t file_bytes;       /* compressed; no file is begun to become larger; 0: 64 MiB */
    unsigned files;          /* see stage_set_files */
    struct figures *figures; /* raw_bytes, staged_bytes, files; or NULL */
};

struct stage *stage_new(struct loop *loop, const struct stage_options *options);
enum stage_compression stage_compression(const struct stage *stage);
/* How many files COPY reads side by side: the slices of the cluster, a multiple of them, or what an
 * operator wants. The rows of a writer go to groups of so many equal files, once there is more than
 * 1 MiB. Concerns groups that are begun afterwards; 0: nobody knows (8 then). */
void stage_set_files(struct stage *stage, unsigned files);
void stage_free(struct stage *stage); /* CHECK: no writer is left */

struct stage_file {
    struct span key; /* of the object, in the arena given to stage_writer_new */
    uint64_t rows;
    uint64_t bytes; /* as uploaded */
};

struct stage_writer;

/* key_prefix: objects are named <key_prefix><number, 4 digits>.json.gz (.zst). Object keys are put
 * into arena, which outlives the writer. Nothing is sent before the first row. */
struct stage_writer *
stage_writer_new(struct stage *stage, struct arena *arena, struct span key_prefix);

/* Where the next line goes: append it whole to the buf (row_encode), then say row_end; on failure
 * append nothing and say nothing. The buf's maximum holds any legal row. NULL after the writer
 * failed (see stage_writer_error). */
struct buf *stage_writer_row_begin(struct stage_writer *writer);
void stage_writer_row_end(struct stage_writer *writer, size_t line_bytes);
/* The same for a line that has bytes twice; offsets are from its beginning. */
void stage_writer_row_end_repeats(struct stage_writer *writer,
                                  size_t line_bytes,
                                  const struct stage_repeats *repeats);

/* The first failure of an upload, lent, or NULL: lets the owner stop early. */
const struct error *stage_writer_error(const struct stage_writer *writer);
/* fail(ctx) is called once, from the loop, when the writer fails before it was ended. */
typedef void stage_fail_fn(void *ctx);
void stage_writer_on_failure(struct stage_writer *writer, stage_fail_fn *fail, void *ctx);

/* No more rows: done(ctx, err) comes when every object is stored, or when the writer failed and
 * everything it began was aborted or deleted. With no rows: done with success and no files. */
void stage_writer_end(struct stage_writer *writer, op_done_fn *done, void *ctx);
/* Gives up: aborts uploads and deletes finished objects of this writer. After stage_writer_end it
 * hastens that done (ERROR_CANCELLED unless success won) and its own arguments are NULL; without
 * it, done is as in stage_writer_end. After done it does nothing. */
void stage_writer_cancel(struct stage_writer *writer, op_done_fn *done, void *ctx);
void stage_writer_free(struct stage_writer *writer); /* in or after done; NULL is fine */

uint64_t stage_writer_rows(const struct stage_writer *writer);
/* After done with success; lives as long as the arena. */
const struct stage_file *stage_writer_files(const struct stage_writer *writer, unsigned *ret_count);

#endif
