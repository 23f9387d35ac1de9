/*
 * stage/writer: rows to objects. In: encoded lines, one at a time. Out: compressed objects of about
 * equal size in the bucket, uploaded while rows still arrive. It knows neither what the rows mean
 * nor who reads them.
 *
 *      lines -> block -> [queue] -> job on the pool -> part -> s3_upload
 *                                    one at a time per writer
 *
 *      COLLECTING -> STORING -> done            CLEANING only after a failure or a cancel: the
 * objects
 *                          \-> CLEANING -> done that are in the bucket, or may be, are deleted
 */

#include "stage/writer.h"

#include "base/chain.h"
#include "base/list.h"
#include "base/size.h"
#include "runtime/work.h"
#include "s3/upload.h"
#include "stage/compress.h"

#include <inttypes.h>

#define BLOCK_BYTES (256 * KIB)
#define PART_BYTES (8 * MIB)
#define FILE_BYTES (64 * MIB)
#define CHUNK_BYTES (64 * KIB)
#define MAX_PARALLEL_PARTS 3
/* A block is full when it has BLOCK_BYTES, but its last row may be of any legal size, and
 * row_encode reserves for the worst case of escaping. What a job makes of it may even be longer. */
#define BLOCK_MAX_BYTES (129 * MIB)
/* Memory of so many blocks is kept for the next ones: new memory is a page fault every 4 KiB. One
 * that a long row made larger than SPARE_BLOCK_BYTES is not kept. */
#define MAX_SPARE_BLOCKS 32
#define SPARE_BLOCK_BYTES (512 * KIB)

struct stage {
    struct loop *loop;
    struct stage_options options;
    struct chain_pool *pool;
    struct list writers; /* those that still collect */
    size_t stuck_bytes; /* of them: blocks and parts that leave only when more rows come or the file
                           ends */
    struct credit_saver saver;
    unsigned writer_count;
    struct buf spare[MAX_SPARE_BLOCKS];
    unsigned spare_count;
};

struct block {
    struct list_node node;
    struct buf rows;
    uint64_t row_count;
    bool ends_file;
};

/* One object in the making. */
struct file {
    struct stage_writer *writer;
    struct s3_upload *upload;
    struct span key;
    uint64_t rows, bytes;
    bool may_exist; /* in the bucket: stored, or nobody knows */
    struct file *next;
};

struct stage_writer {
    struct op op;
    struct stage *stage;
    struct arena *arena;
    struct span prefix;
    struct list_node node; /* in stage->writers while collecting */

    struct buf block; /* rows that wait for the block to be full */
    uint64_t block_rows, total_rows;
    struct list queue; /* full blocks, oldest first */
    bool must_roll;    /* the file is to be ended with what there is now */

    /* The job on the pool; while it runs, block, compressor and out are its own. */
    bool job_runs;
    struct block *job_block;
    struct compress *compress; /* of the open file; NULL between files */
    struct buf job_out;

    struct chain part;
    struct file *open_file; /* gets the next block; NULL between files */
    struct file *files, **files_end;
    unsigned file_count, uploads_open;
    struct stage_file *result;

    bool has_ended;    /* fact: no more rows */
    bool was_reported; /* the owner knows of the failure */
    bool uploads_cancelled;
    stage_fail_fn *fail;
    void *fail_ctx;
    struct s3_call *cleaning;
    struct op_reply reply;
    op_done_fn *done;
    void *ctx;
};

#define WRITER_STATES(X) X(COLLECTING) X(STORING) X(CLEANING)
#define WRITER_ENUM(name) WRITER_##name,
enum writer_state { WRITER_STATES(WRITER_ENUM) };
static const char *const writer_state_names[] = {WRITER_STATES(OP_STATE_NAME)};
static const uint32_t writer_moves[] = {
    [WRITER_COLLECTING] = OP_MOVE(WRITER_STORING),
    [WRITER_STORING] = OP_MOVE(WRITER_CLEANING),
};

static void writer_step(struct op *op);

static const struct op_kind writer_kind = {
    .name = "writer",
    .state_names = writer_state_names,
    .state_count = ARRAY_LEN(writer_state_names),
    .moves = writer_moves,
    .step = writer_step,
};

/* ---------------------------------------------------------------- stage */

static void let_go(void *ctx);

struct stage *stage_new(struct loop *loop, const struct stage_options *options)
{
    struct stage *stage = mem_alloc(sizeof *stage);

    stage->loop = loop;
    stage->options = *options;
    stage->options.block_bytes = options->block_bytes ? options->block_bytes : BLOCK_BYTES;
    stage->options.part_bytes = options->part_bytes ? options->part_bytes : PART_BYTES;
    stage->options.file_bytes = options->file_bytes ? options->file_bytes : FILE_BYTES;
    CHECK(stage->options.part_bytes >= S3_MIN_PART_BYTES);
    stage->pool = chain_pool_new(CHUNK_BYTES, PART_BYTES);
    list_init(&stage->writers);
    stage->saver = (struct credit_saver){.fn = let_go, .ctx = stage};
    credit_add_saver(options->credit, &stage->saver);
    return stage;
}

void stage_set_files(struct stage *stage, unsigned files)
{
    stage->options.files = files;
}

void stage_free(struct stage *stage)
{
    if (stage) {
        CHECK(stage->writer_count == 0 && stage->stuck_bytes == 0);
        credit_remove_saver(&stage->saver);
        while (stage->spare_count) {
            buf_done(&stage->spare[--stage->spare_count]);
        }
        chain_pool_free(stage->pool);
        mem_free(stage);
    }
}

enum stage_compression stage_compression(const struct stage *stage)
{
    return stage->options.compression;
}

/* ---------------------------------------------------------------- blocks */

static size_t stuck_bytes(const struct stage_writer *writer)
{
    return writer->block.len + writer->part.bytes;
}

static struct buf take_memory(struct stage *stage)
{
    struct buf memory;

    if (stage->spare_count) {
        return stage->spare[--stage->spare_count];
    }
    buf_init(&memory, BLOCK_MAX_BYTES);
    return memory;
}

static void give_memory(struct stage *stage, struct buf *memory)
{
    if (memory->cap && memory->cap <= SPARE_BLOCK_BYTES && stage->spare_count < MAX_SPARE_BLOCKS) {
        buf_clear(memory);
        stage->spare[stage->spare_count++] = *memory;
        buf_init(memory, BLOCK_MAX_BYTES);
    } else {
        buf_done(memory);
    }
}

/* Moves the collected rows into the queue. */
static void seal_block(struct stage_writer *writer, bool ends_file)
{
    struct block *block = mem_alloc(sizeof *block);

    writer->stage->stuck_bytes -= writer->block.len;
    block->rows = writer->block;
    block->row_count = writer->block_rows;
    block->ends_file = ends_file;
    list_push(&writer->queue, &block->node);
    writer->block = take_memory(writer->stage);
    writer->block_rows = 0;
    op_mark(&writer->op);
}

static void free_block(struct stage_writer *writer, struct block *block)
{
    credit_give(writer->stage->options.credit, block->rows.len);
    give_memory(writer->stage, &block->rows);
    mem_free(block);
}

static void drop_rows(struct stage_writer *writer)
{
    struct list_node *node;

    while ((node = list_pop(&writer->queue))) {
        free_block(writer, CONTAINER_OF(node, struct block, node));
    }
    writer->stage->stuck_bytes -= stuck_bytes(writer);
    credit_give(writer->stage->options.credit, writer->block.len + writer->part.bytes);
    buf_done(&writer->block);
    buf_init(&writer->block, BLOCK_MAX_BYTES);
    writer->block_rows = 0;
    chain_release(&writer->part);
}

/* The ledger closed. Bytes that are on their way out will open it again by themselves; when too
 * many of them wait for more rows, which nobody reads now, the file that holds most of them is
 * ended as it is. */
static void let_go(void *ctx)
{
    struct stage *stage = ctx;
    struct stage_writer *fullest = NULL;

    if (stage->stuck_bytes < credit_budget(stage->options.credit) / 2) {
        return;
    }
    LIST_FOR_EACH(node, &stage->writers)
    {
        struct stage_writer *writer = CONTAINER_OF(node, struct stage_writer, node);
        if (!writer->must_roll && (!fullest || stuck_bytes(writer) > stuck_bytes(fullest))) {
            fullest = writer;
        }
    }
    if (fullest && stuck_bytes(fullest) > 0) {
        fullest->must_roll = true;
        seal_block(fullest, true);
    }
}

/* ---------------------------------------------------------------- files */

/* A request that got no answer, or that was cancelled under way, may have made the object; one that
 * was refused has not. */
static void upload_done(void *ctx, struct error *err)
{
    struct file *file = ctx;
    struct stage_writer *writer = file->writer;
    unsigned status = s3_error_status(err);
    bool was_refused = status >= 400 && status < 500;

    s3_upload_free(file->upload);
    file->upload = NULL;
    file->may_exist = file->may_exist && !was_refused;
    writer->uploads_open--;
    op_fail(&writer->op, err);
    op_mark(&writer->op);
}

static void begin_file(struct stage_writer *writer)
{
    struct stage *stage = writer->stage;
    struct file *file = ARENA_NEW(writer->arena, struct file);

    file->writer = writer;
    file->key =
        span_of(arena_printf(writer->arena, "%.*s%04u.json%s", SPAN_FMT(writer->prefix),
                             writer->file_count, compress_suffix(stage->options.compression)));
    file->upload = s3_upload_new(stage->options.s3, file->key, stage->options.credit,
                                 MAX_PARALLEL_PARTS, upload_done, file);
    *writer->files_end = file;
    writer->files_end = &file->next;
    writer->open_file = file;
    writer->file_count++;
    writer->uploads_open++;
}

static void hand_over_part(struct stage_writer *writer)
{
    writer->stage->stuck_bytes -= writer->part.bytes;
    s3_upload_add_part(writer->open_file->upload, &writer->part);
}

static void end_file(struct stage_writer *writer)
{
    struct file *file = writer->open_file;
    struct figures *figures = writer->stage->options.figures;

    if (writer->part.bytes) {
        hand_over_part(writer);
    }
    file->may_exist = true;
    s3_upload_end(file->upload);
    if (figures) {
        figures->files++;
        figures->staged_bytes += file->bytes;
    }
    writer->open_file = NULL;
    writer->must_roll = false;
}

/* ---------------------------------------------------------------- jobs */

static void run_job(void *ctx)
{
    struct stage_writer *writer = ctx;

    if (!writer->compress) {
        writer->compress = compress_new(writer->stage->options.compression);
    }
    compress_add(writer->compress, buf_view(&writer->job_block->rows), writer->job_block->ends_file,
                 &writer->job_out);
    if (writer->job_block->ends_file) {
        compress_free(writer->compress);
        writer->compress = NULL;
    }
}

/* Moves what the job made into the part. */
static void take_output(struct stage_writer *writer, const struct block *block)
{
    struct stage *stage = writer->stage;
    struct file *file = writer->open_file;

    chain_add(&writer->part, writer->job_out.data, writer->job_out.len);
    credit_take(stage->options.credit, writer->job_out.len);
    stage->stuck_bytes += writer->job_out.len;
    file->bytes += writer->job_out.len;
    file->rows += block->row_count;
    if (block->ends_file) {
        end_file(writer);
    } else if (writer->part.bytes >= stage->options.part_bytes) {
        hand_over_part(writer);
    }
}

static void job_done(void *ctx)
{
    struct stage_writer *writer = ctx;
    struct stage *stage = writer->stage;
    struct block *block = writer->job_block;

    writer->job_runs = false;
    writer->job_block = NULL;
    if (!op_must_stop(&writer->op) && writer->open_file->upload) {
        take_output(writer, block);
    }
    give_memory(stage, &writer->job_out);
    free_block(writer, block);
    op_mark(&writer->op);
}

static void start_job(struct stage_writer *writer)
{
    struct stage *stage = writer->stage;
    struct block *block = CONTAINER_OF(list_pop(&writer->queue), struct block, node);

    if (!writer->open_file && block->row_count == 0) {
        free_block(writer, block); /* was to end a file that ended by its size meanwhile */
        op_mark(&writer->op);
        return;
    }
    if (!writer->open_file) {
        begin_file(writer);
    }
    /* The file has its size, or there is nothing after this block. */
    block->ends_file |= writer->open_file->bytes >= stage->options.file_bytes;
    block->ends_file |= writer->has_ended && list_is_empty(&writer->queue);
    writer->job_block = block;
    writer->job_runs = true;
    writer->job_out = take_memory(stage);
    work_start(stage->loop, run_job, job_done, writer);
}

/* ---------------------------------------------------------------- steps */

static void report_failure(struct stage_writer *writer)
{
    if (writer->op.err && !writer->was_reported && !writer->has_ended) {
        writer->was_reported = true;
        if (writer->fail) {
            writer->fail(writer->fail_ctx);
        }
    }
}

static void cancel_uploads(struct stage_writer *writer)
{
    if (!writer->uploads_cancelled) {
        writer->uploads_cancelled = true;
        for (struct file *file = writer->files; file; file = file->next) {
            if (file->upload) {
                s3_upload_cancel(file->upload);
            }
        }
    }
}

static void start_cleaning(struct stage_writer *writer)
{
    struct span *keys = ARENA_ARRAY(writer->arena, writer->file_count, struct span);
    size_t count = 0;

    for (struct file *file = writer->files; file; file = file->next) {
        if (file->may_exist) {
            keys[count++] = file->key;
            file->may_exist = false;
        }
    }
    if (count == 0) {
        op_finish(&writer->op);
        return;
    }
    op_reply_expect(&writer->reply, &writer->op);
    writer->cleaning =
        s3_delete(writer->stage->options.s3, keys, count, op_reply_done, &writer->reply);
    op_set_state(&writer->op, WRITER_CLEANING);
}

/* Starts what can be started; true when nothing of the writer is on its way any more. */
static bool pump(struct stage_writer *writer)
{
    if (op_must_stop(&writer->op)) {
        cancel_uploads(writer);
        if (!writer->job_runs) {
            drop_rows(writer);
        }
    } else if (!writer->job_runs && !list_is_empty(&writer->queue)) {
        start_job(writer);
    }
    return !writer->job_runs && list_is_empty(&writer->queue) && writer->uploads_open == 0;
}

/* What is left becomes the last block. Without rows a file that is still open needs an empty block,
 * which only ends its stream; a queued block becomes the last one by itself. */
static void seal_last(struct stage_writer *writer)
{
    bool file_stays_open =
        writer->job_runs ? !writer->job_block->ends_file : writer->open_file != NULL;

    list_remove(&writer->node);
    if (writer->block_rows || (file_stays_open && list_is_empty(&writer->queue))) {
        seal_block(writer, true);
    }
}

static void writer_step(struct op *op)
{
    struct stage_writer *writer = CONTAINER_OF(op, struct stage_writer, op);
    struct error *err;

    switch ((enum writer_state)op->state) {
    case WRITER_COLLECTING:
        if (writer->has_ended) {
            seal_last(writer);
            op_set_state(op, WRITER_STORING);
            return;
        }
        pump(writer);
        report_failure(writer);
        break;
    case WRITER_STORING:
        if (!pump(writer)) {
            return;
        }
        if (op_must_stop(op)) {
            start_cleaning(writer);
        } else {
            op_finish(op);
        }
        break;
    case WRITER_CLEANING:
        if (op_reply_take(&writer->reply, &err)) {
            error_drop(err, "what could not be deleted is deleted by the next start of the task");
            s3_call_free(writer->cleaning);
            writer->cleaning = NULL;
            op_finish(op);
        }
        break;
    }
}

/* ---------------------------------------------------------------- door */

static void make_result(struct stage_writer *writer)
{
    unsigned count = 0;

    writer->result = ARENA_ARRAY(writer->arena, writer->file_count, struct stage_file);
    for (struct file *file = writer->files; file; file = file->next) {
        writer->result[count++] = (struct stage_file){file->key, file->rows, file->bytes};
    }
}

static void writer_done(void *ctx, struct error *err)
{
    struct stage_writer *writer = ctx;

    writer->stage->writer_count--;
    compress_free(writer->compress);
    writer->compress = NULL;
    buf_done(&writer->block);
    if (!err) {
        make_result(writer);
    }
    writer->done(writer->ctx, err);
}

struct stage_writer *
stage_writer_new(struct stage *stage, struct arena *arena, struct span key_prefix)
{
    struct stage_writer *writer = mem_alloc(sizeof *writer);

    writer->stage = stage;
    writer->arena = arena;
    writer->prefix = arena_span(arena, key_prefix);
    list_init(&writer->queue);
    buf_init(&writer->block, BLOCK_MAX_BYTES);
    chain_init(&writer->part, stage->pool);
    writer->files_end = &writer->files;
    list_push(&stage->writers, &writer->node);
    stage->writer_count++;
    op_init(&writer->op, stage->loop, &writer_kind, writer_done, writer);
    return writer;
}

struct buf *stage_writer_row_begin(struct stage_writer *writer)
{
    CHECK(!writer->has_ended);
    return writer->op.err ? NULL : &writer->block;
}

void stage_writer_row_end(struct stage_writer *writer, size_t line_bytes)
{
    struct stage *stage = writer->stage;

    writer->block_rows++;
    writer->total_rows++;
    stage->stuck_bytes += line_bytes;
    if (stage->options.figures) {
        stage->options.figures->raw_bytes += line_bytes;
    }
    if (writer->block.len >= stage->options.block_bytes) {
        seal_block(writer, false);
    }
    credit_take(stage->options.credit, line_bytes); /* last: it may ask us to let go */
}

const struct error *stage_writer_error(const struct stage_writer *writer)
{
    return writer->op.err;
}

void stage_writer_on_failure(struct stage_writer *writer, stage_fail_fn *fail, void *ctx)
{
    writer->fail = fail;
    writer->fail_ctx = ctx;
}

void stage_writer_end(struct stage_writer *writer, op_done_fn *done, void *ctx)
{
    CHECK(!writer->has_ended);
    writer->has_ended = true;
    writer->done = done;
    writer->ctx = ctx;
    op_mark(&writer->op);
}

void stage_writer_cancel(struct stage_writer *writer, op_done_fn *done, void *ctx)
{
    if (writer->op.finished) {
        CHECK(writer->has_ended && !done);
        return;
    }
    if (!writer->has_ended) {
        stage_writer_end(writer, done, ctx);
    } else {
        CHECK(!done);
    }
    op_cancel(&writer->op);
}

void stage_writer_free(struct stage_writer *writer)
{
    mem_free(writer);
}

uint64_t stage_writer_rows(const struct stage_writer *writer)
{
    return writer->total_rows;
}

const struct stage_file *stage_writer_files(const struct stage_writer *writer, unsigned *ret_count)
{
    *ret_count = writer->result ? writer->file_count : 0;
    return writer->result;
}
