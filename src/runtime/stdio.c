/*
 * runtime/stdio: the two ends of the pipe through the house. Comes in: bytes from stdin, bytes for
 * stdout; goes out: the same, in order. It never knows what a message is.
 *
 * Two directions, each in one of two ways, told by whether the kernel can poll the descriptor:
 *
 *      pipe, socket, terminal    a watch says ready, we read or write without blocking
 *      file, /dev/null           cannot be polled and may block: the thread pool reads or writes
 *
 * Everything happens in the step of one operation, so that no callback of the owner ever comes from
 * inside a call that the owner made.
 */

#include "runtime/stdio.h"

#include "base/size.h"
#include "runtime/inside.h"
#include "runtime/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define READ_BYTES (256 * KIB) /* asked for at once */
#define CHUNK_BYTES (64 * KIB) /* of the queue */
#define BACKED_UP_BYTES (1 * MIB)
#define FREE_CHUNKS_MAX 16
#define WRITE_CHUNKS 16 /* in one call */

#define STDIO_STATES(X) X(OPEN) X(CLOSING)
#define STDIO_STATE(name) STDIO_##name,
enum stdio_state { STDIO_STATES(STDIO_STATE) };
#undef STDIO_STATE

static const char *const state_names[] = {STDIO_STATES(OP_STATE_NAME)};
static const uint32_t moves[] = {
    [STDIO_OPEN] = OP_MOVE(STDIO_CLOSING),
    [STDIO_CLOSING] = 0,
};

struct chunk {
    struct chunk *next;
    size_t begin, end; /* data[begin..end) is still to be written */
    char data[CHUNK_BYTES];
};

/* One call on the thread pool. */
struct pool_call {
    uv_fs_t uv;
    struct stdio *io;
    bool in_flight;
    bool returned; /* fact: result waits to be looked at */
    ssize_t result;
};

struct stdio {
    struct op op;
    struct stdio_callbacks callbacks;
    struct credit *credit; /* or NULL */
    struct credit_waiter waiter;

    int in_fd, out_fd;       /* lent */
    int own_out_fd;          /* our duplicate of out_fd when both are the same, else -1 */
    int in_flags, out_flags; /* as we found them */
    struct watch *in_watch;  /* NULL: the pool reads */
    struct watch *out_watch; /* NULL: the pool writes */
    struct pool_call in_call, out_call;

    bool started, paused, ended; /* reading: asked for, held, end of input was told */
    bool failed;                 /* an error was told, or waits in op.err for closed */
    bool was_backed_up;          /* drain is owed */
    bool out_is_full;            /* the kernel took less than we had: wait for writable */
    struct chunk *first, *last;  /* the queue */
    size_t queued_bytes;
    struct chunk *free_chunks;
    unsigned free_chunk_count;
    stdio_closed_fn *closed;
    void *closed_ctx;
};

static void step(struct op *op);
static void on_done(void *ctx, struct error *err);

static const struct op_kind kind = {
    .name = "stdio",
    .state_names = state_names,
    .state_count = ARRAY_LEN(state_names),
    .moves = moves,
    .step = step,
};

/* ---------------------------------------------------------------- the queue */

static void release_first(struct stdio *io)
{
    struct chunk *chunk = io->first;

    io->first = chunk->next;
    if (!io->first) {
        io->last = NULL;
    }
    if (io->free_chunk_count < FREE_CHUNKS_MAX) {
        chunk->next = io->free_chunks;
        io->free_chunks = chunk;
        io->free_chunk_count++;
    } else {
        mem_free(chunk);
    }
}

static struct chunk *add_chunk(struct stdio *io)
{
    struct chunk *chunk = io->free_chunks;

    if (chunk) {
        io->free_chunks = chunk->next;
        io->free_chunk_count--;
    } else {
        chunk = mem_realloc(NULL, sizeof(*chunk));
    }
    chunk->next = NULL;
    chunk->begin = chunk->end = 0;
    if (io->last) {
        io->last->next = chunk;
    } else {
        io->first = chunk;
    }
    io->last = chunk;
    return chunk;
}

static void add_to_queue(struct stdio *io, struct span bytes)
{
    while (bytes.len > 0) {
        struct chunk *chunk = io->last;
        if (!chunk || chunk->end == CHUNK_BYTES) {
            chunk = add_chunk(io);
        }
        size_t room = CHUNK_BYTES - chunk->end;
        size_t part = bytes.len < room ? bytes.len : room;
        memcpy(chunk->data + chunk->end, bytes.ptr, part);
        chunk->end += part;
        io->queued_bytes += part;
        bytes = (struct span){bytes.ptr + part, bytes.len - part};
    }
}

static void take_from_queue(struct stdio *io, size_t len)
{
    CHECK(len <= io->queued_bytes);
    io->queued_bytes -= len;
    while (io->first) {
        size_t part = io->first->end - io->first->begin;
        if (part > len) {
            io->first->begin += len;
            return;
        }
        len -= part;
        release_first(io);
    }
}

static void drop_queue(struct stdio *io)
{
    io->queued_bytes = 0;
    while (io->first) {
        release_first(io);
    }
}

/* ---------------------------------------------------------------- life */

static void on_credit_open(void *ctx)
{
    struct stdio *io = ctx;

    op_mark(&io->op);
}

/* *ret stays NULL for a descriptor that cannot be polled, which epoll_ctl(2) calls EPERM. */
static struct error *watch_if_possible(struct stdio *io, int fd, struct watch **ret)
{
    struct error *err = watch_new(&io->op, fd, ret);

    if (err && strcmp(error_origin(err), "EPERM") == 0) {
        error_drop(err, "files are read and written on the thread pool");
        err = NULL;
    }
    return err;
}

static struct error *open_both(struct stdio *io)
{
    io->in_flags = fcntl(io->in_fd, F_GETFL);
    if (io->in_flags < 0) {
        return error_from_errno(errno, ERROR_FATAL, "standard input cannot be used");
    }
    io->out_flags = fcntl(io->out_fd, F_GETFL);
    if (io->out_flags < 0) {
        return error_from_errno(errno, ERROR_FATAL, "standard output cannot be used");
    }
    if (io->in_fd == io->out_fd) {
        /* There is one watch per descriptor, but two of them may share an open file. */
        io->own_out_fd = fcntl(io->out_fd, F_DUPFD_CLOEXEC, 3);
        if (io->own_out_fd < 0) {
            return error_from_errno(errno, ERROR_FATAL, "duplicating standard output");
        }
        io->out_fd = io->own_out_fd;
    }
    RETURN_IF_ERROR(error_wrap(watch_if_possible(io, io->in_fd, &io->in_watch), "standard input"));
    return error_wrap(watch_if_possible(io, io->out_fd, &io->out_watch), "standard output");
}

struct error *stdio_new(struct loop *loop,
                        int in_fd,
                        int out_fd,
                        struct credit *credit,
                        const struct stdio_callbacks *callbacks,
                        struct stdio **ret)
{
    struct stdio *io = mem_alloc(sizeof(*io));

    io->callbacks = *callbacks;
    io->in_fd = in_fd;
    io->out_fd = out_fd;
    io->own_out_fd = -1;
    io->in_call.io = io->out_call.io = io;
    list_node_init(&io->waiter.node);
    op_init(&io->op, loop, &kind, on_done, io);

    struct error *err = open_both(io);
    if (err) {
        op_finish(&io->op); /* without a closed callback: on_done frees it */
        return err;
    }
    if (credit) {
        io->credit = credit;
        io->waiter.fn = on_credit_open;
        io->waiter.ctx = io;
        credit_add_waiter(credit, &io->waiter);
    }
    *ret = io;
    return NULL;
}

/* libuv makes what it polls non-blocking. The flag belongs to the open file, which our parent and
 * our successor share, so it goes back to what it was. */
static void restore_flags(int fd, int flags)
{
    int now = fcntl(fd, F_GETFL);

    if (now >= 0 && flags >= 0 && (now & O_NONBLOCK) && !(flags & O_NONBLOCK)) {
        (void)fcntl(fd, F_SETFL, now & ~O_NONBLOCK);
    }
}

static void on_done(void *ctx, struct error *err)
{
    struct stdio *io = ctx;

    credit_remove_waiter(&io->waiter);
    if (io->in_flags >= 0) {
        restore_flags(io->in_fd, io->in_flags);
    }
    if (io->out_flags >= 0) {
        restore_flags(io->out_fd, io->out_flags);
    }
    if (io->own_out_fd >= 0) {
        (void)close(io->own_out_fd);
        io->own_out_fd = -1;
    }
    if (io->closed) {
        io->closed(io->closed_ctx, err);
    } else {
        stdio_free(io);
    }
}

void stdio_free(struct stdio *io)
{
    if (!io) {
        return;
    }
    CHECK(io->op.finished && io->own_out_fd < 0);
    drop_queue(io);
    while (io->free_chunks) {
        struct chunk *chunk = io->free_chunks;
        io->free_chunks = chunk->next;
        mem_free(chunk);
    }
    mem_free(io);
}

/* ---------------------------------------------------------------- doors */

void stdio_start_reading(struct stdio *io)
{
    io->started = true;
    op_mark(&io->op);
}

void stdio_pause(struct stdio *io)
{
    io->paused = true;
    op_mark(&io->op);
}

void stdio_resume(struct stdio *io)
{
    io->paused = false;
    op_mark(&io->op);
}

void stdio_write(struct stdio *io, struct span bytes)
{
    CHECK(!io->closed); /* what was said after goodbye would be lost */
    if (io->failed || bytes.len == 0) {
        return;
    }
    add_to_queue(io, bytes);
    if (stdio_is_backed_up(io)) {
        io->was_backed_up = true;
    }
    op_mark(&io->op);
}

bool stdio_is_backed_up(const struct stdio *io)
{
    return io->queued_bytes > BACKED_UP_BYTES;
}

void stdio_close(struct stdio *io, stdio_closed_fn *closed, void *ctx)
{
    CHECK(closed && !io->closed);
    io->closed = closed;
    io->closed_ctx = ctx;
    op_set_state(&io->op, STDIO_CLOSING);
}

/* ---------------------------------------------------------------- the pool */

static void on_pool_return(uv_fs_t *uv)
{
    struct pool_call *call = CONTAINER_OF(uv, struct pool_call, uv);

    call->result = uv->result;
    call->in_flight = false;
    call->returned = true;
    uv_fs_req_cleanup(uv);
    op_mark(&call->io->op);
}

static void start_pool_read(struct stdio *io, char *ptr, size_t len)
{
    uv_buf_t buf = uv_buf_init(ptr, (unsigned)len);

    io->in_call.in_flight = true;
    CHECK(uv_fs_read(&io->op.loop->uv, &io->in_call.uv, io->in_fd, &buf, 1, -1, on_pool_return) ==
          0);
}

/* ---------------------------------------------------------------- errors */

/* Takes err. Nothing is read, written or told after it. */
static void fail(struct stdio *io, struct error *err)
{
    io->failed = true;
    drop_queue(io);
    if (io->op.state == STDIO_CLOSING) {
        op_fail(&io->op, err);
    } else {
        io->callbacks.error(io->callbacks.ctx, err);
    }
}

/* ---------------------------------------------------------------- reading */

static bool wants_input(const struct stdio *io)
{
    return io->started && !io->paused && !io->ended && !io->failed && io->op.state == STDIO_OPEN;
}

static bool may_read(const struct stdio *io)
{
    return wants_input(io) && (!io->credit || credit_is_open(io->credit));
}

static size_t lend_memory(struct stdio *io, char **ret_ptr)
{
    size_t len = 0;

    io->callbacks.alloc(io->callbacks.ctx, ret_ptr, &len);
    CHECK(*ret_ptr && len > 0);
    return len < READ_BYTES ? len : READ_BYTES;
}

/* A count of read(2), or a negative errno. */
static void tell_input(struct stdio *io, ssize_t count)
{
    if (count < 0) {
        fail(io, error_from_errno((int)-count, ERROR_FATAL, "reading standard input"));
        return;
    }
    if (count == 0) {
        io->ended = true;
    }
    io->callbacks.read(io->callbacks.ctx, (size_t)count);
}

static void read_polled(struct stdio *io)
{
    char *ptr = NULL;

    if (!(watch_take(io->in_watch) & WATCH_READ)) {
        return;
    }
    size_t len = lend_memory(io, &ptr);
    ssize_t count;
    do {
        count = read(io->in_fd, ptr, len);
    } while (count < 0 && errno == EINTR);
    if (count >= 0) {
        tell_input(io, count);
    } else if (errno != EAGAIN) {
        tell_input(io, -errno);
    }
}

static void read_pooled(struct stdio *io)
{
    char *ptr = NULL;

    if (io->in_call.returned) {
        io->in_call.returned = false;
        tell_input(io, io->in_call.result);
    }
    if (may_read(io) && !io->in_call.in_flight) {
        size_t len = lend_memory(io, &ptr);
        start_pool_read(io, ptr, len);
    }
}

static void do_read(struct stdio *io)
{
    if (io->in_watch) {
        if (may_read(io)) {
            read_polled(io);
        }
        /* Level-triggered: input and the end of it that came meanwhile are told once we ask. */
        struct error *err = watch_set(io->in_watch, may_read(io) ? WATCH_READ : 0);
        if (err) {
            fail(io, err);
        }
    } else if (wants_input(io)) {
        read_pooled(io);
    }
}

/* ---------------------------------------------------------------- writing */

static unsigned fill_vector(const struct stdio *io, uv_buf_t *vector)
{
    unsigned count = 0;

    for (struct chunk *chunk = io->first; chunk && count < WRITE_CHUNKS; chunk = chunk->next) {
        vector[count++] =
            uv_buf_init(chunk->data + chunk->begin, (unsigned)(chunk->end - chunk->begin));
    }
    return count;
}

static void write_polled(struct stdio *io)
{
    uv_buf_t vector[WRITE_CHUNKS];
    struct iovec parts[WRITE_CHUNKS];

    if (watch_take(io->out_watch) & WATCH_WRITE) {
        io->out_is_full = false;
    }
    if (io->queued_bytes == 0 || io->out_is_full) {
        return;
    }
    unsigned count = fill_vector(io, vector);
    for (unsigned i = 0; i < count; i++) {
        parts[i] = (struct iovec){vector[i].base, vector[i].len};
    }
    ssize_t written;
    do {
        written = writev(io->out_fd, parts, (int)count);
    } while (written < 0 && errno == EINTR);
    if (written >= 0) {
        take_from_queue(io, (size_t)written);
    } else if (errno != EAGAIN) {
        fail(io, error_from_errno(errno, ERROR_FATAL, "writing standard output"));
    }
    io->out_is_full = io->queued_bytes > 0;
}

static void write_pooled(struct stdio *io)
{
    uv_buf_t vector[WRITE_CHUNKS];

    if (io->out_call.returned) {
        io->out_call.returned = false;
        if (io->out_call.result < 0) {
            fail(io, error_from_errno((int)-io->out_call.result, ERROR_FATAL,
                                      "writing standard output"));
            return;
        }
        take_from_queue(io, (size_t)io->out_call.result);
    }
    if (io->queued_bytes > 0 && !io->out_call.in_flight) {
        unsigned count = fill_vector(io, vector);
        io->out_call.in_flight = true;
        CHECK(uv_fs_write(&io->op.loop->uv, &io->out_call.uv, io->out_fd, vector, count, -1,
                          on_pool_return) == 0);
    }
}

static void do_write(struct stdio *io)
{
    if (io->out_watch) {
        write_polled(io);
        if (!io->failed) {
            struct error *err = watch_set(io->out_watch, io->out_is_full ? WATCH_WRITE : 0);
            if (err) {
                fail(io, err);
            }
        }
    } else {
        write_pooled(io);
    }
    if (io->was_backed_up && !stdio_is_backed_up(io) && !io->failed) {
        io->was_backed_up = false;
        if (io->callbacks.drain && io->op.state == STDIO_OPEN) {
            io->callbacks.drain(io->callbacks.ctx);
        }
    }
}

/* ---------------------------------------------------------------- the step */

static void stop_watching(struct stdio *io)
{
    watch_close(&io->in_watch);
    watch_close(&io->out_watch);
}

static void step(struct op *op)
{
    struct stdio *io = CONTAINER_OF(op, struct stdio, op);

    if (!io->failed) {
        do_write(io);
    }
    if (!io->failed && op->state == STDIO_OPEN) {
        do_read(io);
    }
    if (io->failed) {
        stop_watching(io);
    }
    if (op->state == STDIO_CLOSING && (io->queued_bytes == 0 || io->failed) &&
        !io->in_call.in_flight && !io->out_call.in_flight) {
        op_finish(op);
    }
}
