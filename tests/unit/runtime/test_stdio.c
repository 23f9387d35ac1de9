/* runtime/stdio over pipes, sockets and files. */

#include "runtime/stdio.h"

#include "base/buf.h"
#include "base/size.h"
#include "runtime/op.h"
#include "runtime/timer.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* ---------------------------------------------------------------- an owner to look at */

struct owner {
    struct loop *loop;
    struct credit *credit;
    struct stdio *io;
    struct buf got;
    size_t lend_bytes;
    bool in_call; /* we are inside a stdio_... call: no callback may come */
    bool ended, closed, failed, drained;
    bool echo; /* write back what is read */
    bool close_at_end;
    size_t close_after; /* close when that many bytes came; 0: never */
    size_t pause_after; /* pause when that many bytes came; 0: never */
    bool is_paused;
    bool takes_credit; /* for each byte */
    struct error *err, *close_err;
    void (*on_drain)(struct owner *owner);
};

static void on_closed(void *ctx, struct error *err)
{
    struct owner *owner = ctx;

    assert_false(owner->in_call);
    assert_false(owner->closed);
    owner->closed = true;
    owner->close_err = err;
    stdio_free(owner->io);
    owner->io = NULL;
}

static void close_io(struct owner *owner)
{
    bool nested = owner->in_call;

    owner->in_call = true;
    stdio_close(owner->io, on_closed, owner);
    owner->in_call = nested;
}

static void on_alloc(void *ctx, char **ret_ptr, size_t *ret_len)
{
    struct owner *owner = ctx;

    assert_false(owner->in_call);
    *ret_ptr = buf_reserve(&owner->got, owner->lend_bytes);
    *ret_len = owner->lend_bytes;
}

static void on_read(void *ctx, size_t len)
{
    struct owner *owner = ctx;

    assert_false(owner->in_call);
    assert_false(owner->ended || owner->closed || owner->failed || owner->is_paused);
    if (len == 0) {
        owner->ended = true;
        if (owner->close_at_end) {
            close_io(owner);
        }
        return;
    }
    struct span bytes = {owner->got.data + owner->got.len, len};
    if (owner->echo) {
        stdio_write(owner->io, bytes);
    }
    buf_commit(&owner->got, len);
    if (owner->takes_credit) {
        credit_take(owner->credit, len);
    }
    if (owner->close_after > 0 && owner->got.len >= owner->close_after) {
        close_io(owner);
    }
    if (owner->pause_after > 0 && owner->got.len >= owner->pause_after) {
        stdio_pause(owner->io);
        owner->is_paused = true;
        owner->pause_after = 0;
    }
}

static void on_error(void *ctx, struct error *err)
{
    struct owner *owner = ctx;

    assert_false(owner->in_call || owner->failed || owner->closed);
    owner->failed = true;
    owner->err = err;
    close_io(owner);
}

static void on_drain(void *ctx)
{
    struct owner *owner = ctx;

    assert_false(owner->in_call);
    assert_false(stdio_is_backed_up(owner->io));
    owner->drained = true;
    if (owner->on_drain) {
        owner->on_drain(owner);
    }
}

static void owner_init(struct owner *owner, size_t credit_bytes)
{
    memset(owner, 0, sizeof(*owner));
    owner->loop = loop_new();
    owner->credit = credit_bytes ? credit_new(credit_bytes) : NULL;
    owner->lend_bytes = 64 * KIB;
    owner->close_at_end = true;
    buf_init(&owner->got, 64 * MIB);
}

static void owner_open(struct owner *owner, int in_fd, int out_fd)
{
    const struct stdio_callbacks callbacks = {on_alloc, on_read, on_error, on_drain, owner};

    assert_null(stdio_new(owner->loop, in_fd, out_fd, owner->credit, &callbacks, &owner->io));
    owner->in_call = true;
    stdio_start_reading(owner->io);
    owner->in_call = false;
}

static void owner_done(struct owner *owner)
{
    assert_true(owner->closed);
    if (owner->credit) {
        credit_give(owner->credit, credit_used(owner->credit));
        credit_free(owner->credit);
    }
    loop_free(owner->loop);
    buf_done(&owner->got);
    error_free(owner->err);
    error_free(owner->close_err);
}

/* ---------------------------------------------------------------- a peer on the same loop */

/* Writes a pattern into one end and reads from another, at its own pace, as an operation. */
struct peer {
    struct op op;
    struct timer *timer;
    int in_fd, out_fd; /* it reads in_fd, writes out_fd; -1: does not */
    size_t to_send, sent;
    size_t received;
    bool pattern_broken;
    bool hang_up; /* closes out_fd when all is sent */
    bool done;
};

static char pattern_at(size_t at)
{
    return (char)(at * 7 + at / 251);
}

static void send_some(struct peer *peer)
{
    char bytes[10000];
    size_t left = peer->to_send - peer->sent;
    size_t len = left < sizeof(bytes) ? left : sizeof(bytes);

    for (size_t i = 0; i < len; i++) {
        bytes[i] = pattern_at(peer->sent + i);
    }
    ssize_t count = write(peer->out_fd, bytes, len);
    if (count > 0) {
        peer->sent += (size_t)count;
    }
    if (peer->sent == peer->to_send) {
        if (peer->hang_up) {
            (void)shutdown(peer->out_fd, SHUT_WR); /* of a pipe: does nothing */
            if (peer->out_fd != peer->in_fd) {
                (void)close(peer->out_fd);
            }
        }
        peer->out_fd = -1;
    }
}

static void receive_some(struct peer *peer)
{
    char bytes[30000];
    ssize_t count = read(peer->in_fd, bytes, sizeof(bytes));

    for (ssize_t i = 0; i < count; i++) {
        peer->pattern_broken |= bytes[i] != pattern_at(peer->received + (size_t)i);
    }
    if (count > 0) {
        peer->received += (size_t)count;
    } else if (count == 0) {
        peer->in_fd = -1;
    }
}

static void peer_step(struct op *op)
{
    struct peer *peer = CONTAINER_OF(op, struct peer, op);

    if (peer->out_fd >= 0) {
        send_some(peer);
    }
    if (peer->in_fd >= 0) {
        receive_some(peer);
    }
    if (op_must_stop(op) || (peer->out_fd < 0 && peer->received == peer->to_send)) {
        op_finish(op);
    } else {
        timer_start(peer->timer, 0);
    }
}

static void peer_done(void *ctx, struct error *err)
{
    struct peer *peer = ctx;

    error_free(err);
    peer->done = true;
}

static const char *const peer_names[] = {"RUNNING"};
static const uint32_t peer_moves[] = {0};
static const struct op_kind peer_kind = {.name = "peer",
                                         .state_names = peer_names,
                                         .state_count = 1,
                                         .moves = peer_moves,
                                         .step = peer_step};

static void peer_start(struct peer *peer, struct loop *loop, int in_fd, int out_fd, size_t bytes)
{
    memset(peer, 0, sizeof(*peer));
    op_init(&peer->op, loop, &peer_kind, peer_done, peer);
    peer->in_fd = in_fd;
    peer->out_fd = out_fd;
    peer->to_send = bytes;
    peer->hang_up = true;
    if (in_fd >= 0) {
        assert_int_equal(fcntl(in_fd, F_SETFL, O_NONBLOCK), 0);
    }
    if (out_fd >= 0) {
        assert_int_equal(fcntl(out_fd, F_SETFL, O_NONBLOCK), 0);
    }
    peer->timer = timer_new(&peer->op);
    op_mark(&peer->op);
}

/* ---------------------------------------------------------------- through and through */

enum channel { BY_PIPES, BY_ONE_SOCKET, BY_TWO_SOCKETS };

static void bytes_come_back_in_order(void **state)
{
    static const struct {
        const char *what;
        enum channel channel;
        size_t bytes, lend_bytes;
    } rows[] = {
        {"pipes", BY_PIPES, 3 * MIB, 64 * KIB},
        {"one socket, one descriptor", BY_ONE_SOCKET, 3 * MIB, 64 * KIB},
        {"one socket, two descriptors", BY_TWO_SOCKETS, 3 * MIB, 64 * KIB},
        {"pipes, lending a few bytes", BY_PIPES, 20000, 7},
        {"nothing at all", BY_PIPES, 0, 10},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct owner owner;
        struct peer peer;
        int in[2];
        int out[2];

        owner_init(&owner, 0);
        owner.echo = true;
        owner.lend_bytes = rows[i].lend_bytes;
        if (rows[i].channel == BY_PIPES) {
            assert_int_equal(pipe(in), 0);
            assert_int_equal(pipe(out), 0);
        } else {
            assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, in), 0);
            out[1] = rows[i].channel == BY_ONE_SOCKET ? in[0] : dup(in[0]);
            out[0] = in[1];
        }
        assert_int_equal(fcntl(in[0], F_GETFL) & O_NONBLOCK, 0);
        owner_open(&owner, in[0], out[1]);
        peer_start(&peer, owner.loop, out[0], in[1], rows[i].bytes);
        loop_run(owner.loop);
        if (!peer.done || !owner.ended || !owner.closed || owner.failed || owner.close_err ||
            peer.pattern_broken || peer.received != rows[i].bytes ||
            owner.got.len != rows[i].bytes) {
            fail_msg("%s: %zu read, %zu came back", rows[i].what, owner.got.len, peer.received);
        }
        /* The flag is as it was, and the descriptors are still open. */
        assert_int_equal(fcntl(in[0], F_GETFL) & O_NONBLOCK, 0);
        assert_int_equal(fcntl(out[1], F_GETFL) & O_NONBLOCK, 0);
        (void)close(in[0]);
        (void)close(out[0]);
        if (out[1] != in[0]) {
            (void)close(out[1]);
        }
        owner_done(&owner);
    }
}

static FILE *file_with(size_t bytes)
{
    FILE *file = tmpfile();

    assert_non_null(file);
    for (size_t i = 0; i < bytes; i++) {
        assert_int_not_equal(putc(pattern_at(i), file), EOF);
    }
    assert_int_equal(fflush(file), 0);
    rewind(file);
    return file;
}

static void files_are_read_and_written_on_the_pool(void **state)
{
    static const size_t sizes[] = {0, 1, 100, 300 * 1024, 5 * 1024 * 1024};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct owner owner;
        FILE *in = file_with(sizes[i]);
        FILE *out = tmpfile();

        assert_non_null(out);
        owner_init(&owner, 0);
        owner.echo = true;
        owner.lend_bytes = 1 * MIB;
        owner_open(&owner, fileno(in), fileno(out));
        loop_run(owner.loop);
        assert_true(owner.ended && owner.closed && !owner.failed);
        assert_null(owner.close_err);
        assert_int_equal(owner.got.len, sizes[i]);
        rewind(out);
        for (size_t at = 0; at < sizes[i]; at++) {
            int c = getc(out);
            if (c != (unsigned char)pattern_at(at)) {
                fail_msg("byte %zu of %zu", at, sizes[i]);
            }
        }
        assert_int_equal(getc(out), EOF);
        assert_int_equal(fclose(in), 0);
        assert_int_equal(fclose(out), 0);
        owner_done(&owner);
    }
}

static void the_null_device_is_an_empty_input(void **state)
{
    struct owner owner;
    int fd = open("/dev/null", O_RDWR);

    (void)state;
    assert_true(fd >= 0);
    owner_init(&owner, 0);
    owner_open(&owner, fd, fd);
    owner.in_call = true;
    stdio_write(owner.io, SPAN_LIT("into nothing"));
    owner.in_call = false;
    loop_run(owner.loop);
    assert_true(owner.ended && owner.closed && !owner.failed);
    (void)close(fd);
    owner_done(&owner);
}

/* ---------------------------------------------------------------- brakes */

/* Waits until so many bytes were read, lets the loop turn a while longer (more must not come), then
 * does one thing. */
struct later {
    struct op op;
    struct timer *timer;
    struct owner *owner;
    struct peer *peer;
    size_t wait_for_bytes, got_then;
    unsigned turns;
    void (*act)(struct later *later);
    int fd;
};

#define TURNS_OF_SILENCE 2000

static void later_step(struct op *op)
{
    struct later *later = CONTAINER_OF(op, struct later, op);

    if (later->owner->got.len >= later->wait_for_bytes && ++later->turns > TURNS_OF_SILENCE) {
        later->got_then = later->owner->got.len;
        later->act(later);
        op_finish(op);
    } else {
        timer_start(later->timer, 0);
    }
}

static void later_done(void *ctx, struct error *err)
{
    (void)ctx;
    assert_null(err);
}

static const struct op_kind later_kind = {.name = "later",
                                          .state_names = peer_names,
                                          .state_count = 1,
                                          .moves = peer_moves,
                                          .step = later_step};

static void later_start(struct later *later,
                        struct owner *owner,
                        size_t wait_for_bytes,
                        void (*act)(struct later *))
{
    memset(later, 0, sizeof(*later));
    later->owner = owner;
    later->act = act;
    op_init(&later->op, owner->loop, &later_kind, later_done, later);
    later->timer = timer_new(&later->op);
    later->wait_for_bytes = wait_for_bytes;
    op_mark(&later->op);
}

static void give_all(struct later *later)
{
    struct owner *owner = later->owner;

    owner->takes_credit = false;
    credit_give(owner->credit, credit_used(owner->credit));
}

static void resume(struct later *later)
{
    struct owner *owner = later->owner;

    owner->is_paused = false;
    owner->in_call = true;
    stdio_resume(owner->io);
    owner->in_call = false;
}

static void a_closed_ledger_stops_reading_and_the_end_is_not_missed(void **state)
{
    struct owner owner;
    struct later later;
    int in[2];
    int null = open("/dev/null", O_WRONLY);
    char bytes[1000] = {0};

    (void)state;
    assert_int_equal(pipe(in), 0);
    assert_int_equal(write(in[1], bytes, sizeof(bytes)), sizeof(bytes));
    owner_init(&owner, 100);
    owner.takes_credit = true;
    owner.lend_bytes = 100;
    owner_open(&owner, in[0], null);
    (void)close(in[1]); /* the end of input stands behind the bytes */
    later_start(&later, &owner, 100, give_all);
    loop_run(owner.loop);
    assert_int_equal(later.got_then, 100); /* one read closed the ledger */
    assert_int_equal(owner.got.len, 1000);
    assert_true(owner.ended && owner.closed);
    (void)close(in[0]);
    (void)close(null);
    owner_done(&owner);
}

static void a_file_is_not_read_past_a_closed_ledger(void **state)
{
    struct owner owner;
    struct later later;
    FILE *in = file_with(1000);
    int null = open("/dev/null", O_WRONLY);

    (void)state;
    owner_init(&owner, 100);
    owner.takes_credit = true;
    owner.lend_bytes = 100;
    owner_open(&owner, fileno(in), null);
    later_start(&later, &owner, 100, give_all);
    loop_run(owner.loop);
    assert_int_equal(later.got_then, 100);
    assert_int_equal(owner.got.len, 1000);
    assert_true(owner.ended && owner.closed);
    assert_int_equal(fclose(in), 0);
    (void)close(null);
    owner_done(&owner);
}

static void a_paused_reader_hears_nothing_until_it_resumes(void **state)
{
    static const bool by_file[] = {false, true};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(by_file); i++) {
        struct owner owner;
        struct later later;
        FILE *file = file_with(1000);
        int in[2];
        int null = open("/dev/null", O_WRONLY);
        char bytes[1000] = {0};

        assert_int_equal(pipe(in), 0);
        assert_int_equal(write(in[1], bytes, sizeof(bytes)), sizeof(bytes));
        (void)close(in[1]);
        owner_init(&owner, 0);
        owner.lend_bytes = 100;
        owner.pause_after = 300;
        owner_open(&owner, by_file[i] ? fileno(file) : in[0], null);
        later_start(&later, &owner, 300, resume);
        loop_run(owner.loop);
        assert_int_equal(later.got_then, 300);
        assert_int_equal(owner.got.len, 1000);
        assert_true(owner.ended && owner.closed);
        (void)close(in[0]);
        (void)close(null);
        assert_int_equal(fclose(file), 0);
        owner_done(&owner);
    }
}

static void begin_to_read(struct later *later)
{
    struct owner *owner = later->owner;

    assert_true(stdio_is_backed_up(owner->io));
    assert_false(owner->drained);
    peer_start(later->peer, owner->loop, later->fd, -1, 2 * MIB);
}

static void end_on_drain(struct owner *owner)
{
    close_io(owner);
}

static void a_slow_reader_backs_up_the_queue_until_it_drained(void **state)
{
    struct owner owner;
    struct later later;
    struct peer peer;
    int out[2];
    int null = open("/dev/null", O_RDONLY);
    char *bytes = mem_alloc(2 * MIB);

    (void)state;
    for (size_t i = 0; i < 2 * MIB; i++) {
        bytes[i] = pattern_at(i);
    }
    assert_int_equal(pipe(out), 0);
    owner_init(&owner, 0);
    owner.close_at_end = false;
    owner.on_drain = end_on_drain;
    owner_open(&owner, null, out[1]);
    stdio_write(owner.io, (struct span){bytes, 1 * MIB});
    assert_false(stdio_is_backed_up(owner.io)); /* at the mark is not above it */
    stdio_write(owner.io, (struct span){bytes + 1 * MIB, 1 * MIB});
    assert_true(stdio_is_backed_up(owner.io));
    mem_free(bytes); /* they were copied */
    later_start(&later, &owner, 0, begin_to_read);
    later.fd = out[0];
    later.peer = &peer;
    loop_run(owner.loop);
    assert_true(owner.drained && owner.closed && peer.done && !peer.pattern_broken);
    assert_int_equal(peer.received, 2 * MIB);
    (void)close(out[0]);
    (void)close(out[1]);
    (void)close(null);
    owner_done(&owner);
}

/* ---------------------------------------------------------------- ends and errors */

static void closing_in_mid_stream_reads_no_more(void **state)
{
    static const bool by_file[] = {false, true};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(by_file); i++) {
        struct owner owner;
        FILE *file = file_with(1000);
        int in[2];
        int null = open("/dev/null", O_WRONLY);
        char bytes[1000] = {0};

        assert_int_equal(pipe(in), 0);
        assert_int_equal(write(in[1], bytes, sizeof(bytes)), sizeof(bytes));
        owner_init(&owner, 0);
        owner.lend_bytes = 100;
        owner.close_after = 300;
        owner_open(&owner, by_file[i] ? fileno(file) : in[0], null);
        loop_run(owner.loop);
        assert_int_equal(owner.got.len, 300);
        assert_true(owner.closed && !owner.ended);
        (void)close(in[0]);
        (void)close(in[1]);
        (void)close(null);
        assert_int_equal(fclose(file), 0);
        owner_done(&owner);
    }
}

static void a_reader_that_went_away_is_an_error(void **state)
{
    struct owner owner;
    int in[2];
    int out[2];

    (void)state;
    assert_int_equal(pipe(in), 0);
    assert_int_equal(pipe(out), 0);
    (void)close(out[0]);
    owner_init(&owner, 0);
    owner_open(&owner, in[0], out[1]);
    owner.in_call = true;
    stdio_write(owner.io, SPAN_LIT("nobody reads this"));
    owner.in_call = false;
    loop_run(owner.loop);
    assert_true(owner.failed && owner.closed);
    assert_string_equal(error_origin(owner.err), "EPIPE");
    assert_null(owner.close_err); /* told once */
    (void)close(in[0]);
    (void)close(in[1]);
    (void)close(out[1]);
    owner_done(&owner);
}

static void an_error_while_closing_comes_with_closed(void **state)
{
    struct owner owner;
    int in[2];
    int out[2];

    (void)state;
    assert_int_equal(pipe(in), 0);
    assert_int_equal(pipe(out), 0);
    (void)close(out[0]);
    owner_init(&owner, 0);
    owner_open(&owner, in[0], out[1]);
    stdio_write(owner.io, SPAN_LIT("last words"));
    close_io(&owner);
    loop_run(owner.loop);
    assert_true(owner.closed && !owner.failed);
    assert_non_null(owner.close_err);
    assert_string_equal(error_origin(owner.close_err), "EPIPE");
    (void)close(in[0]);
    (void)close(in[1]);
    (void)close(out[1]);
    owner_done(&owner);
}

static void what_cannot_be_read_is_an_error(void **state)
{
    static const bool closed_fd[] = {false, true};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(closed_fd); i++) {
        struct owner owner;
        int folder = open("/", O_RDONLY);
        int null = open("/dev/null", O_WRONLY);

        owner_init(&owner, 0);
        if (closed_fd[i]) {
            const struct stdio_callbacks callbacks = {on_alloc, on_read, on_error, on_drain,
                                                      &owner};
            struct error *err = stdio_new(owner.loop, 9999, null, NULL, &callbacks, &owner.io);
            assert_non_null(err);
            assert_string_equal(error_origin(err), "EBADF");
            error_free(err);
            owner.closed = true; /* there was nothing to close */
        } else {
            owner_open(&owner, folder, null);
            loop_run(owner.loop);
            assert_true(owner.failed);
            assert_string_equal(error_origin(owner.err), "EISDIR");
        }
        (void)close(folder);
        (void)close(null);
        owner_done(&owner);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_come_back_in_order),
        cmocka_unit_test(files_are_read_and_written_on_the_pool),
        cmocka_unit_test(the_null_device_is_an_empty_input),
        cmocka_unit_test(a_closed_ledger_stops_reading_and_the_end_is_not_missed),
        cmocka_unit_test(a_file_is_not_read_past_a_closed_ledger),
        cmocka_unit_test(a_paused_reader_hears_nothing_until_it_resumes),
        cmocka_unit_test(a_slow_reader_backs_up_the_queue_until_it_drained),
        cmocka_unit_test(closing_in_mid_stream_reads_no_more),
        cmocka_unit_test(a_reader_that_went_away_is_an_error),
        cmocka_unit_test(an_error_while_closing_comes_with_closed),
        cmocka_unit_test(what_cannot_be_read_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
