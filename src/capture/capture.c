/*
 * capture/capture: a session on its way into files. In: frames from the session, on the loop. Out:
 * files, from the thread pool. It knows nothing of what a frame says.
 *
 * The loop packs records into blocks and hands over all blocks at once when the worker is idle:
 *
 *      loop:    first -> [block] -> [block] <- last          (queue)
 *      worker:  job   -> [block] -> [block]                  and struct files, until its done
 *
 * `path` takes the first third of the limit; then `path.1` and `path.2` take a third each, and when
 * the second is full it becomes the first, whose content is given up. A block holds whole records
 * and goes into one file whole.
 */

#include "capture/capture.h"

#include "base/size.h"
#include "capture/pack.h"
#include "runtime/work.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define BLOCK_BYTES (256 * KIB)
#define NEWEST_SEGMENTS 2

struct block {
    struct block *next;
    struct buf bytes;
};

/* The worker's, while it is at work; the loop's otherwise. */
struct files {
    char *path; /* of segment 0 */
    int fd;     /* of the segment that is written; -1: closed */
    uint64_t segment_bytes, header_bytes, written_bytes;
    struct capture_header header; /* of that segment; its texts are the capture's */
    uint64_t began_us;            /* clock_us of the first header, repeated in each */
    struct block *job;
    bool must_close;
    struct error *err;
};

struct capture {
    struct loop *loop;
    capture_stopped_fn *stopped;
    void *ctx;
    char *version, *codec;
    size_t queue_bytes, block_bytes;

    struct block *first, *last;
    size_t queued_bytes; /* in the queue and with the worker */
    size_t job_bytes;    /* with the worker */
    bool is_busy;        /* the worker has files */
    bool is_stopped;     /* nothing is taken any more */
    bool is_closed;      /* the last job was given */

    struct files files;
    capture_closed_fn *closed;
    void *closed_ctx;
};

static uint64_t clock_us(void)
{
    struct timespec now;

    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* ---------------------------------------------------------------- files; on the worker */

static struct error *write_all(int fd, struct span bytes)
{
    while (bytes.len > 0) {
        ssize_t written = write(fd, bytes.ptr, bytes.len);
        if (written < 0 && errno != EINTR) {
            return error_from_errno(errno, ERROR_FATAL, "writing the capture");
        }
        if (written > 0) {
            bytes = (struct span){bytes.ptr + written, bytes.len - (size_t)written};
        }
    }
    return NULL;
}

static struct error *write_header(struct files *files)
{
    struct buf bytes;

    buf_init(&bytes, 8192);
    pack_header(&bytes, &files->header, files->began_us);
    struct error *err = write_all(files->fd, buf_view(&bytes));
    files->written_bytes = files->header_bytes = bytes.len;
    buf_done(&bytes);
    return err;
}

/* "<path>.<number>"; the caller's. */
static char *segment_path(const struct files *files, uint64_t number)
{
    struct buf path;
    size_t len;

    buf_init(&path, strlen(files->path) + 32);
    buf_printf(&path, "%s.%" PRIu64, files->path, number);
    return buf_take(&path, &len);
}

static int create(const char *path)
{
    return open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, S_IRUSR | S_IWUSR);
}

static struct error *next_segment(struct files *files)
{
    char *older = segment_path(files, 1);
    char *newer = segment_path(files, NEWEST_SEGMENTS);
    const uint64_t segment = ++files->header.segment;
    const char *path = segment == 1 ? older : newer;
    struct error *err = NULL;

    (void)close(files->fd);
    if (segment > NEWEST_SEGMENTS && rename(newer, older) != 0) {
        err = error_from_errno(errno, ERROR_FATAL, "renaming \"%s\"", newer);
    }
    files->fd = err ? -1 : create(path);
    if (!err && files->fd < 0) {
        err = error_from_errno(errno, ERROR_FATAL, "making \"%s\"", path);
    }
    mem_free(older);
    mem_free(newer);
    return err ? err : write_header(files);
}

static struct error *write_block(struct files *files, const struct block *block)
{
    if (files->written_bytes > files->header_bytes &&
        files->written_bytes + block->bytes.len > files->segment_bytes) {
        RETURN_IF_ERROR(next_segment(files));
    }
    files->written_bytes += block->bytes.len;
    return write_all(files->fd, buf_view(&block->bytes));
}

static void work(void *ctx)
{
    struct files *files = ctx;

    for (const struct block *block = files->job; block && !files->err; block = block->next) {
        files->err = write_block(files, block);
    }
    if ((files->must_close || files->err) && files->fd >= 0) {
        (void)close(files->fd);
        files->fd = -1;
    }
}

/* ---------------------------------------------------------------- hand-over; on the loop */

static void free_blocks(struct block *block)
{
    while (block) {
        struct block *next = block->next;
        buf_done(&block->bytes);
        mem_free(block);
        block = next;
    }
}

static void stop(struct capture *capture, struct error *err)
{
    capture->is_stopped = true;
    capture->stopped(capture->ctx, err);
}

static void work_done(void *ctx);

static void hand_over(struct capture *capture)
{
    struct files *files = &capture->files;

    if (capture->is_busy || (!capture->first && !files->must_close) || capture->is_closed) {
        return;
    }
    files->job = capture->first;
    capture->job_bytes = capture->queued_bytes;
    capture->first = capture->last = NULL;
    capture->is_busy = true;
    capture->is_closed = files->must_close;
    work_start(capture->loop, work, work_done, files);
}

static void work_done(void *ctx)
{
    struct capture *capture = CONTAINER_OF(ctx, struct capture, files);
    struct files *files = &capture->files;
    struct error *err = files->err;

    capture->is_busy = false;
    free_blocks(files->job);
    files->job = NULL;
    files->err = NULL;
    capture->queued_bytes -= capture->job_bytes;
    if (err) {
        free_blocks(capture->first);
        capture->first = capture->last = NULL;
        capture->queued_bytes = 0;
        if (capture->is_stopped) {
            error_drop(err, "the capture has ended and said why");
        } else {
            stop(capture, err);
        }
    }
    if (capture->is_closed) {
        capture->closed(capture->closed_ctx);
        return;
    }
    files->must_close = capture->closed != NULL;
    hand_over(capture);
}

/* ---------------------------------------------------------------- records */

/* Where a record of so many bytes goes. */
static struct buf *make_room(struct capture *capture, size_t bytes)
{
    struct block *block = capture->last;

    if (!block || (block->bytes.len > 0 && block->bytes.len + bytes > capture->block_bytes)) {
        block = mem_alloc(sizeof *block);
        buf_init(&block->bytes, CAPTURE_MAX_RECORD + BLOCK_BYTES);
        (void)buf_reserve(&block->bytes, bytes);
        if (capture->last) {
            capture->last->next = block;
        } else {
            capture->first = block;
        }
        capture->last = block;
    }
    return &block->bytes;
}

/* Called with the length that the record's block had before. */
static void added(struct capture *capture, size_t before)
{
    capture->queued_bytes += capture->last->bytes.len - before;
}

static void add_end(struct capture *capture, const char *reason)
{
    struct buf *bytes = make_room(capture, PACK_FRAME_EXTRA + strlen(reason));
    const size_t before = bytes->len;

    pack_end(bytes, clock_us(), span_of(reason));
    added(capture, before);
}

static bool is_taking(struct capture *capture)
{
    if (!capture->is_stopped && capture->queued_bytes > capture->queue_bytes) {
        add_end(capture, "the disk was too slow");
        stop(capture, error_new(ERROR_SYSTEM, ERROR_FATAL,
                                "the disk is too slow: %zu bytes wait to be written",
                                capture->queued_bytes));
    }
    return !capture->is_stopped;
}

void capture_add(struct capture *capture, enum capture_direction direction, struct span frame)
{
    if (frame.len > CAPTURE_MAX_RECORD - PACK_FRAME_EXTRA) {
        capture_add_withheld(capture, direction, frame.len);
    } else if (is_taking(capture)) {
        struct buf *bytes = make_room(capture, frame.len + PACK_FRAME_EXTRA);
        const size_t before = bytes->len;
        pack_frame(bytes, direction, clock_us(), frame);
        added(capture, before);
        hand_over(capture);
    }
}

void capture_add_withheld(struct capture *capture, enum capture_direction direction, size_t bytes)
{
    if (is_taking(capture)) {
        struct buf *to = make_room(capture, PACK_FRAME_EXTRA);
        const size_t before = to->len;
        pack_withheld(to, direction, clock_us(), bytes);
        added(capture, before);
        hand_over(capture);
    }
}

/* ---------------------------------------------------------------- life cycle */

/* The first name of the session that nobody has: path, path-2 ... */
static struct error *create_first(const char *path, struct files *files)
{
    for (unsigned i = 1; i <= CAPTURE_SESSIONS_MAX; i++) {
        struct buf name;
        size_t len;
        buf_init(&name, strlen(path) + 32);
        buf_add_str(&name, path);
        if (i > 1) {
            buf_printf(&name, "-%u", i);
        }
        mem_free(files->path);
        files->path = buf_take(&name, &len);
        files->fd = create(files->path);
        if (files->fd >= 0) {
            break;
        }
        if (errno != EEXIST) {
            return error_from_errno(errno, ERROR_CONFIG, "making \"%s\"", files->path);
        }
    }
    if (files->fd < 0) {
        return error_new(ERROR_INPUT, ERROR_CONFIG, "there are %d captures at \"%s\" already",
                         CAPTURE_SESSIONS_MAX, path);
    }
    for (uint64_t i = 1; i <= NEWEST_SEGMENTS; i++) { /* of a session whose first file is gone */
        char *stale = segment_path(files, i);
        (void)unlink(stale);
        mem_free(stale);
    }
    return write_header(files);
}

struct error *capture_new(struct loop *loop,
                          const struct capture_options *options,
                          capture_stopped_fn *stopped,
                          void *ctx,
                          struct capture **ret)
{
    struct capture *capture = mem_alloc(sizeof *capture);
    const uint64_t limit = options->limit_bytes ? options->limit_bytes : CAPTURE_LIMIT_BYTES;

    *capture = (struct capture){
        .loop = loop,
        .stopped = stopped,
        .ctx = ctx,
        .version = mem_strdup(options->version),
        .codec = mem_strdup(options->codec),
        .queue_bytes = options->queue_bytes ? options->queue_bytes : CAPTURE_QUEUE_BYTES,
    };
    capture->files = (struct files){
        .fd = -1, .segment_bytes = limit / (1 + NEWEST_SEGMENTS), .began_us = clock_us()};
    capture->files.header = (struct capture_header){
        .format = CAPTURE_FORMAT,
        .product = SPAN_LIT(CAPTURE_PRODUCT),
        .version = span_of(capture->version),
        .codec = span_of(capture->codec),
        .unix_us = (uint64_t)options->unix_seconds * 1000000,
    };
    capture->block_bytes = BLOCK_BYTES;
    if (capture->files.segment_bytes / 4 < BLOCK_BYTES) {
        capture->block_bytes = (size_t)(capture->files.segment_bytes / 4);
    }
    struct error *err = create_first(options->path, &capture->files);
    if (err) {
        capture_free(capture);
        return err;
    }
    *ret = capture;
    return NULL;
}

const char *capture_path(const struct capture *capture)
{
    return capture->files.path;
}

void capture_close(struct capture *capture, bool ended_well, capture_closed_fn *closed, void *ctx)
{
    CHECK(!capture->closed);
    if (!capture->is_stopped) {
        add_end(capture, ended_well ? "" : CAPTURE_FAILED);
        capture->is_stopped = true;
    }
    capture->closed = closed;
    capture->closed_ctx = ctx;
    if (!capture->is_busy) {
        capture->files.must_close = true;
        hand_over(capture);
    }
}

void capture_free(struct capture *capture)
{
    if (!capture) {
        return;
    }
    CHECK(!capture->is_busy);
    free_blocks(capture->first);
    if (capture->files.fd >= 0) {
        (void)close(capture->files.fd);
    }
    mem_free(capture->files.path);
    mem_free(capture->version);
    mem_free(capture->codec);
    mem_free(capture);
}
