/*
 * stage/writer: rows to objects. In: encoded lines, one at a time. Out: compressed objects in the
 * bucket, in groups of equal size, uploaded while rows still arrive. It knows neither what the rows
 * mean nor who reads them.
 *
 *      lines -> block -> [queue of the stage] -> jobs on the pool -> file whose turn it is -> parts
 *
 *      COLLECTING -> STORING -> done            CLEANING only after a failure or a cancel: the
 *                          \-> CLEANING -> done  objects that are in the bucket, or may be, are
 *                                               deleted
 *
 * Blocks are compressed in any order and by several jobs at once, and each goes to the file whose
 * turn it is when it comes back; only a zstd file takes them one after another (stage/compress.h).
 *
 * Files come in groups of as many as COPY reads side by side, all of one size. How much will come
 * is not known beforehand, and a part that S3 is to take before its file ends has 5 MiB at least,
 * so that a hundred files cannot grow at once in little memory. So the first group's files are
 * small, and each next group's a quarter of what the groups before it have brought to each reader:
 *
 *      1 1 1 1 1 1.25 1.6 2 2.4 3 3.8 4.8 6 7.5 | 64 64 64 ... MiB
 *
 * Up to a part a file is filled at one go and sent as one request. From there on the files of a
 * group grow together, part by part in turns, so that they differ by one part at most. Whenever the
 * rows end, what a reader has beyond its equal share is one file of the last group, that is a
 * quarter of the share (or 1 MiB, for the first groups), and one part, that is ever less of it,
 * later. Blocks are not cut, so files of one size differ by up to a block besides.
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
#define FIRST_FILE_BYTES (1 * MIB)
#define FILE_BYTES (64 * MIB)
#define FILE_SHARE 4 /* a file of the next group is this part of what each reader has */
/* Small clusters have 2, 4 or 8 slices. */
#define USUAL_FILES 8
#define CHUNK_BYTES (64 * KIB)
#define MAX_PARALLEL_PARTS 3
/* A block is full when it has BLOCK_BYTES, but its last row may be of any legal size, and
 * row_encode reserves for the worst case of escaping. What a job makes of it may even be longer. */
#define BLOCK_MAX_BYTES (129 * MIB)
/* More jobs than the pool has threads (4), so that none waits for the loop between two of them. */
#define MAX_JOBS 6
/* So many full blocks may wait or be worked on before no more rows are read. They are still in the
 * processor's cache when their turn comes, and their memory is used again: new memory is a page
 * fault every 4 KiB. */
#define MAX_BUSY_BLOCKS 16
/* Memory of blocks that is kept for the next ones. */
#define SPARE_BYTES (16 * MIB)
#define MAX_SPARE_BLOCKS 64
#define SPARE_BLOCK_BYTES (4 * MIB)

struct stage {
    struct loop *loop;
    struct stage_options options;
    struct chain_pool *pool;
    struct list writers; /* those that still collect */
    unsigned writer_count;

    /* Bytes of writers that leave only when more rows come or somebody ends the file: rows in
     * blocks that are not full, and what was made of earlier ones and is no whole part. */
    size_t stuck_rows, stuck_parts;
    struct credit_saver saver;

    struct list queue; /* full blocks of all writers, oldest first */
    size_t busy_bytes; /* in the queue and in jobs */
    bool holds_credit; /* they are enough for now */
    struct list idle;  /* jobs with nothing to do */
    unsigned job_count;

    struct buf spare[MAX_SPARE_BLOCKS];
    unsigned spare_count;
    size_t spare_bytes;
};

struct block {
    struct list_node node; /* in the stage's queue, until a job has it */
    struct stage_writer *writer;
    struct buf rows;
    struct stage_repeats repeats; /* offsets in rows */
    uint64_t row_count;
};

/* What the pool works with. While it runs, all of it, the block and the stream are the worker's. */
struct job {
    struct list_node node; /* among the idle ones */
    struct stage *stage;
    struct compress_tool *tool;
    struct block *block;
    struct compress *stream; /* of the writer's file, if it has to be one stream */
    struct buf out;
    struct compress_piece piece;
};

/* One object in the making. */
struct file {
    struct stage_writer *writer;
    struct s3_upload *upload;
    struct compress *compress; /* NULL when the file has ended */
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

    struct buf block;             /* rows that wait for the block to be full */
    struct stage_repeats repeats; /* in the block */
    uint64_t block_rows, total_rows;
    bool fills_blocks;             /* has done so: its next block takes memory of full size */
    unsigned queued, running;      /* blocks */
    size_t stuck_rows, stuck_part; /* its share of the stage's */

    struct file **group; /* NULL: not begun; ended ones stay until all of them are */
    unsigned width;      /* files in the group */
    unsigned turn;       /* whose file gets the next block; never an ended one while rows come */
    uint64_t file_bytes; /* of each file in the group */
    uint64_t bytes;      /* of all files */
    struct chain part;   /* of the file whose turn it is; the others have whole parts only */
    bool must_roll;      /* that file is to be ended when no block of the writer is under way */
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
    list_init(&stage->queue);
    list_init(&stage->idle);
    stage->saver = (struct credit_saver){.fn = let_go, .ctx = stage};
    credit_add_saver(options->credit, &stage->saver);
    return stage;
}

void stage_set_files(struct stage *stage, unsigned files)
{
    stage->options.files = files;
}

static void free_job(struct job *job)
{
    compress_tool_free(job->tool);
    buf_done(&job->out);
    mem_free(job);
}

void stage_free(struct stage *stage)
{
    struct list_node *node;

    if (stage) {
        CHECK(stage->writer_count == 0 && stage->stuck_rows == 0 && stage->stuck_parts == 0);
        CHECK(stage->busy_bytes == 0 && !stage->holds_credit);
        credit_remove_saver(&stage->saver);
        while ((node = list_pop(&stage->idle))) {
            free_job(CONTAINER_OF(node, struct job, node));
        }
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

/* ---------------------------------------------------------------- memory of blocks */

/* A writer of few rows begins with nothing and grows; one that fills blocks does not grow each of
 * them anew. */
static void take_memory(struct stage_writer *writer)
{
    struct stage *stage = writer->stage;

    buf_init(&writer->block, BLOCK_MAX_BYTES);
    if (writer->fills_blocks && stage->spare_count) {
        writer->block = stage->spare[--stage->spare_count];
        stage->spare_bytes -= writer->block.cap;
    }
}

static void give_memory(struct stage *stage, struct buf *memory)
{
    if (memory->cap >= stage->options.block_bytes && memory->cap <= SPARE_BLOCK_BYTES &&
        stage->spare_bytes + memory->cap <= SPARE_BYTES && stage->spare_count < MAX_SPARE_BLOCKS) {
        buf_clear(memory);
        stage->spare_bytes += memory->cap;
        stage->spare[stage->spare_count++] = *memory;
        buf_init(memory, BLOCK_MAX_BYTES);
    } else {
        buf_done(memory);
    }
}

/* ---------------------------------------------------------------- what is stuck */

static bool is_stream(const struct stage *stage)
{
    return compress_is_stream(stage->options.compression);
}

static struct file *open_file(const struct stage_writer *writer)
{
    struct file *file = writer->group[writer->turn];

    return file && file->compress ? file : NULL;
}

static unsigned blocks_under_way(const struct stage_writer *writer)
{
    return writer->queued + writer->running;
}

/* After each change of the block, the part or the file. What a writer has that was ended leaves by
 * itself. */
static void count_stuck(struct stage_writer *writer)
{
    struct stage *stage = writer->stage;
    bool is_stuck = !writer->has_ended && !writer->must_roll && open_file(writer);

    stage->stuck_rows -= writer->stuck_rows;
    stage->stuck_parts -= writer->stuck_part;
    writer->stuck_rows = writer->has_ended ? 0 : writer->block.len;
    writer->stuck_part =
        is_stuck ? writer->part.bytes + compress_state_bytes(stage->options.compression) : 0;
    stage->stuck_rows += writer->stuck_rows;
    stage->stuck_parts += writer->stuck_part;
}

static struct stage_writer *find_fullest(struct stage *stage, bool by_rows)
{
    struct stage_writer *fullest = NULL;
    size_t most = 0;

    LIST_FOR_EACH(node, &stage->writers)
    {
        struct stage_writer *writer = CONTAINER_OF(node, struct stage_writer, node);
        size_t bytes = by_rows ? writer->stuck_rows : writer->stuck_part;
        if (bytes > most && !op_must_stop(&writer->op)) {
            most = bytes;
            fullest = writer;
        }
    }
    return fullest;
}

static void seal_block(struct stage_writer *writer);
static void end_file(struct file *file);

/* The file whose turn it is ends as it is: at once, or, a stream, behind what is under way. */
static void roll_file(struct stage_writer *writer)
{
    if (is_stream(writer->stage) && blocks_under_way(writer)) {
        writer->must_roll = true;
        count_stuck(writer);
    } else {
        end_file(open_file(writer));
    }
}

/*
 * The ledger closed. Bytes that are on their way out will open it again by themselves; what waits
 * for more rows, which nobody reads now, must stay below half of the budget for that. So rows are
 * compressed before their block is full, and where that is not enough a file is ended before it has
 * its size, the fullest first. A stream is ended with its rows: its state costs more than they do.
 */
static void let_go(void *ctx)
{
    struct stage *stage = ctx;
    size_t enough = credit_budget(stage->options.credit) / 2;

    while (stage->stuck_rows + stage->stuck_parts >= enough) {
        bool by_rows = stage->stuck_rows >= stage->stuck_parts;
        struct stage_writer *writer = find_fullest(stage, by_rows);
        if (!writer) {
            return; /* those that have most failed, and drop it */
        }
        if (by_rows) {
            seal_block(writer);
        }
        if (!by_rows || is_stream(stage)) {
            roll_file(writer);
        }
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

/* See the drawing at the top. A single reader is served by large files from the beginning. */
static uint64_t next_file_bytes(const struct stage_writer *writer)
{
    const struct stage_options *options = &writer->stage->options;
    uint64_t first =
        options->file_bytes < FIRST_FILE_BYTES ? options->file_bytes : FIRST_FILE_BYTES;
    uint64_t bytes = writer->bytes / writer->width / FILE_SHARE;
    bool grows_in_turns = bytes >= options->part_bytes && !is_stream(writer->stage);

    if (writer->width == 1 || grows_in_turns || bytes > options->file_bytes) {
        return options->file_bytes;
    }
    return bytes > first ? bytes : first;
}

static void begin_group(struct stage_writer *writer)
{
    unsigned files = writer->stage->options.files;

    writer->width = files ? files : USUAL_FILES;
    writer->group = ARENA_ARRAY(writer->arena, writer->width, struct file *);
    writer->turn = 0;
    writer->file_bytes = next_file_bytes(writer);
}

static void pass_turn(struct stage_writer *writer)
{
    for (unsigned i = 1; i <= writer->width; i++) {
        unsigned turn = (writer->turn + i) % writer->width;
        const struct file *file = writer->group[turn];
        if (!file || file->compress) {
            writer->turn = turn;
            return;
        }
    }
    begin_group(writer);
}

static void append(struct file *file, struct chain *part, const struct buf *bytes)
{
    chain_add(part, bytes->data, bytes->len);
    file->bytes += bytes->len;
    file->writer->bytes += bytes->len;
}

static struct file *begin_file(struct stage_writer *writer)
{
    struct stage *stage = writer->stage;
    enum stage_compression compression = stage->options.compression;
    struct file *file = ARENA_NEW(writer->arena, struct file);
    struct buf header;

    file->writer = writer;
    file->key = span_of(arena_printf(writer->arena, "%.*s%04u.json%s", SPAN_FMT(writer->prefix),
                                     writer->file_count, compress_suffix(compression)));
    file->upload = s3_upload_new(stage->options.s3, file->key, stage->options.credit,
                                 MAX_PARALLEL_PARTS, upload_done, file);
    file->compress = compress_new(compression);
    *writer->files_end = file;
    writer->files_end = &file->next;
    writer->file_count++;
    writer->uploads_open++;
    writer->group[writer->turn] = file;
    buf_init(&header, KIB);
    compress_begin(file->compress, &header);
    append(file, &writer->part, &header);
    buf_done(&header);
    return file;
}

/* A part that is large enough leaves, and the file waits for its next turn. */
static void hand_over_part(struct stage_writer *writer)
{
    s3_upload_add_part(open_file(writer)->upload, &writer->part);
    if (!is_stream(writer->stage)) {
        pass_turn(writer);
    }
    count_stuck(writer);
}

static void free_stream(struct file *file)
{
    struct stage *stage = file->writer->stage;

    if (file->compress) {
        compress_free(file->compress);
        file->compress = NULL;
        credit_give(stage->options.credit, compress_state_bytes(stage->options.compression));
    }
}

static void end_file(struct file *file)
{
    struct stage_writer *writer = file->writer;
    struct stage *stage = writer->stage;
    struct chain rest;
    struct buf end;

    buf_init(&end, BLOCK_MAX_BYTES);
    chain_init(&rest, stage->pool);
    compress_end(file->compress, &end);
    if (file == open_file(writer)) {
        chain_move(&rest, &writer->part);
        writer->must_roll = false;
    }
    append(file, &rest, &end);
    free_stream(file);
    if (file == writer->group[writer->turn]) {
        pass_turn(writer);
    }
    count_stuck(writer);
    credit_take(stage->options.credit, end.len); /* before the upload can give it */
    file->may_exist = true;
    s3_upload_add_part(file->upload, &rest);
    s3_upload_end(file->upload);
    if (stage->options.figures) {
        stage->options.figures->files++;
        stage->options.figures->staged_bytes += file->bytes;
    }
    buf_done(&end);
}

/* ---------------------------------------------------------------- blocks */

/* Rows that wait for the pool are enough for now, or were and are few again. */
static void hold_or_release(struct stage *stage)
{
    size_t most = MAX_BUSY_BLOCKS * stage->options.block_bytes;

    if (!stage->holds_credit && stage->busy_bytes >= most) {
        stage->holds_credit = true;
        credit_hold(stage->options.credit);
    } else if (stage->holds_credit && stage->busy_bytes <= most / 2) {
        stage->holds_credit = false;
        credit_release(stage->options.credit);
    }
}

static void start_jobs(struct stage *stage);

/* Moves the collected rows into the queue. */
static void seal_block(struct stage_writer *writer)
{
    struct stage *stage = writer->stage;
    struct block *block = mem_alloc(sizeof *block);

    block->writer = writer;
    block->rows = writer->block;
    block->repeats = writer->repeats;
    block->row_count = writer->block_rows;
    list_push(&stage->queue, &block->node);
    writer->queued++;
    stage->busy_bytes += block->rows.len;
    writer->fills_blocks |= block->rows.len >= stage->options.block_bytes;
    take_memory(writer);
    writer->block_rows = 0;
    writer->repeats.count = 0;
    count_stuck(writer);
    start_jobs(stage);
    hold_or_release(stage);
}

static void free_block(struct stage *stage, struct block *block)
{
    size_t bytes = block->rows.len;

    stage->busy_bytes -= bytes;
    give_memory(stage, &block->rows);
    mem_free(block);
    hold_or_release(stage);
    credit_give(stage->options.credit, bytes);
}

static void drop_rows(struct stage_writer *writer)
{
    struct stage *stage = writer->stage;
    size_t bytes = writer->block.len + writer->part.bytes;

    LIST_FOR_EACH(node, &stage->queue)
    {
        struct block *block = CONTAINER_OF(node, struct block, node);
        if (block->writer == writer) {
            list_remove(node);
            writer->queued--;
            free_block(stage, block);
        }
    }
    buf_done(&writer->block);
    writer->block_rows = 0;
    writer->repeats.count = 0;
    chain_release(&writer->part);
    count_stuck(writer);
    credit_give(stage->options.credit, bytes);
}

/* ---------------------------------------------------------------- jobs */

static void run_job(void *ctx)
{
    struct job *job = ctx;

    compress_block(job->tool, job->stream, buf_view(&job->block->rows), &job->block->repeats,
                   &job->out, &job->piece);
}

/* Moves what the job made into the file whose turn it is. */
static void take_output(struct stage_writer *writer, const struct job *job)
{
    struct stage *stage = writer->stage;
    size_t before = writer->part.bytes;
    struct file *file = open_file(writer);

    if (!file) {
        file = begin_file(writer);
    }
    append(file, &writer->part, &job->out);
    compress_join(file->compress, &job->piece);
    file->rows += job->block->row_count;
    count_stuck(writer);
    /* It may ask us to let go, and the file may be gone then. */
    credit_take(stage->options.credit, writer->part.bytes - before);
    if (file != open_file(writer)) {
        return;
    }
    if (file->bytes >= writer->file_bytes || (writer->must_roll && !blocks_under_way(writer))) {
        end_file(file);
    } else if (writer->part.bytes >= stage->options.part_bytes) {
        hand_over_part(writer);
    }
}

static void job_done(void *ctx)
{
    struct job *job = ctx;
    struct stage *stage = job->stage;
    struct stage_writer *writer = job->block->writer;

    writer->running--;
    if (!op_must_stop(&writer->op)) {
        take_output(writer, job);
    }
    free_block(stage, job->block);
    buf_clear(&job->out);
    if (job->out.cap > SPARE_BLOCK_BYTES) {
        buf_done(&job->out);
    }
    list_push(&stage->idle, &job->node);
    start_jobs(stage);
    op_mark(&writer->op);
}

static struct job *take_job(struct stage *stage)
{
    struct list_node *node = list_pop(&stage->idle);
    struct job *job;

    if (node) {
        return CONTAINER_OF(node, struct job, node);
    }
    if (stage->job_count == MAX_JOBS) {
        return NULL;
    }
    stage->job_count++;
    job = mem_alloc(sizeof *job);
    job->stage = stage;
    job->tool = compress_tool_new(stage->options.compression);
    list_node_init(&job->node);
    buf_init(&job->out, BLOCK_MAX_BYTES);
    return job;
}

/* The oldest that can be worked on. Those of a writer that failed are about to be dropped. */
static struct block *find_block(struct stage *stage)
{
    LIST_FOR_EACH(node, &stage->queue)
    {
        struct block *block = CONTAINER_OF(node, struct block, node);
        const struct stage_writer *writer = block->writer;
        if (!op_must_stop(&writer->op) && !(is_stream(stage) && writer->running)) {
            return block;
        }
    }
    return NULL;
}

static struct compress *begin_stream(struct stage_writer *writer)
{
    struct stage *stage = writer->stage;
    struct file *file = open_file(writer);

    if (!file) {
        file = begin_file(writer);
        count_stuck(writer);
        credit_take(stage->options.credit, compress_state_bytes(stage->options.compression));
    }
    return file->compress;
}

static void start_jobs(struct stage *stage)
{
    struct block *block;
    struct job *job;

    while ((block = find_block(stage)) && (job = take_job(stage))) {
        list_remove(&block->node);
        block->writer->queued--;
        block->writer->running++;
        job->block = block;
        job->stream = is_stream(stage) ? begin_stream(block->writer) : NULL;
        work_start(stage->loop, run_job, job_done, job);
    }
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

static void end_files(struct stage_writer *writer)
{
    for (struct file *file = writer->files; file; file = file->next) {
        if (file->compress) {
            end_file(file);
        }
    }
}

/* Starts what can be started; true when nothing of the writer is on its way any more. */
static bool pump(struct stage_writer *writer)
{
    if (op_must_stop(&writer->op)) {
        cancel_uploads(writer);
        drop_rows(writer);
    } else if (writer->has_ended && !blocks_under_way(writer)) {
        end_files(writer);
    }
    return !blocks_under_way(writer) && writer->uploads_open == 0;
}

/* What is left becomes the last block. */
static void seal_last(struct stage_writer *writer)
{
    list_remove(&writer->node);
    if (writer->block_rows) {
        seal_block(writer);
    }
    count_stuck(writer);
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
    for (struct file *file = writer->files; file; file = file->next) {
        free_stream(file);
    }
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
    take_memory(writer);
    chain_init(&writer->part, stage->pool);
    writer->files_end = &writer->files;
    begin_group(writer);
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
    writer->stuck_rows += line_bytes;
    stage->stuck_rows += line_bytes;
    if (stage->options.figures) {
        stage->options.figures->raw_bytes += line_bytes;
    }
    if (writer->block.len >= stage->options.block_bytes) {
        seal_block(writer);
    }
    credit_take(stage->options.credit, line_bytes); /* last: it may ask us to let go */
}

void stage_writer_row_end_repeats(struct stage_writer *writer,
                                  size_t line_bytes,
                                  const struct stage_repeats *repeats)
{
    struct stage_repeats *all = &writer->repeats;
    const size_t start = writer->block.len - line_bytes;

    for (unsigned i = 0; i < repeats->count && all->count < STAGE_MAX_REPEATS; i++) {
        struct stage_repeat repeat = repeats->items[i];
        repeat.first += start;
        repeat.second += start;
        all->items[all->count++] = repeat;
    }
    stage_writer_row_end(writer, line_bytes);
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
