/* metrics/server: what a client on a socket sees, whatever it sends. */

#include "metrics/server.h"

#include "base/check.h"
#include "runtime/watch.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

#define CLIENT_SECONDS 60 /* a client that is not answered by then gives up, and the test fails */

/* A server on a loop, a client on a thread of its own; the client's end ends the server. */
struct world {
    struct loop *loop;
    struct metrics_server *server;
    unsigned port;
    bool is_ready;
    unsigned measured;
    int ends[2]; /* a pipe: the client writes when it is through */
    struct op op;
    struct watch *watch;
    bool server_stopped;
    void (*talk)(struct world *world);
    char failure[512]; /* of the client */
};

static const struct metric one = {"one_total", METRIC_COUNTER, METRIC_AS_IS, "one"};

static void measure(void *ctx, metric_emit_fn *emit, void *to)
{
    struct world *world = ctx;

    world->measured++;
    emit(to, &(struct metric_row){.metric = &one, .value = 1});
}

static bool is_ready(void *ctx)
{
    return ((struct world *)ctx)->is_ready;
}

/* ---------------------------------------------------------------- the client */

static int dial(const struct world *world)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)world->port)};
    struct timeval limit = {.tv_sec = CLIENT_SECONDS};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
    CHECK(connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
    return fd;
}

/* The server may hang up while it is written to. */
static void say(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t count = send(fd, bytes, len, MSG_NOSIGNAL);
        if (count <= 0) {
            return;
        }
        bytes += count;
        len -= (size_t)count;
    }
}

/* All until the server hangs up; the request says "Connection: close". False after the time. */
static bool hear(int fd, char *out, size_t size)
{
    size_t len = 0;
    ssize_t count = 1;

    while (len + 1 < size && (count = recv(fd, out + len, size - 1 - len, 0)) > 0) {
        len += (size_t)count;
    }
    out[len] = '\0';
    (void)close(fd);
    return count == 0 || len > 0;
}

static void
expect(struct world *world, const char *what, const char *bytes, size_t len, const char *wanted)
{
    static const size_t room = 65536;
    char *got = malloc(room);
    int fd = dial(world);

    say(fd, bytes, len);
    bool heard = hear(fd, got, room);
    if (!world->failure[0] && (!heard || !strstr(got, wanted))) {
        (void)snprintf(world->failure, sizeof world->failure, "%s: wanted \"%s\", got \"%.200s\"",
                       what, wanted, got);
    }
    free(got);
}

static void *client(void *ctx)
{
    struct world *world = ctx;

    world->talk(world);
    CHECK(write(world->ends[1], "", 1) == 1);
    return NULL;
}

/* ---------------------------------------------------------------- the world */

static void server_stopped(void *ctx, struct error *err)
{
    struct world *world = ctx;

    assert_null(err);
    world->server_stopped = true;
    op_mark(&world->op);
}

static void world_step(struct op *op)
{
    struct world *world = CONTAINER_OF(op, struct world, op);

    if (world->server_stopped) {
        op_finish(op);
    } else if (watch_take(world->watch) & WATCH_READ) {
        assert_null(watch_set(world->watch, 0));
        metrics_server_stop(world->server, server_stopped, world);
    }
}

static void world_done(void *ctx, struct error *err)
{
    (void)ctx;
    assert_null(err);
}

static void run(struct world *world)
{
    static const char *const names[] = {"RUNNING"};
    static const uint32_t moves[] = {0};
    static const struct op_kind kind = {"world", names, 1, moves, world_step};
    struct metrics_options options = {"0", measure, is_ready, world};
    pthread_t thread;

    world->loop = loop_new();
    assert_null(metrics_server_start(world->loop, &options, &world->server));
    const char *address = metrics_server_address(world->server);
    assert_memory_equal(address, "127.0.0.1:", 10);
    world->port = (unsigned)strtoul(address + 10, NULL, 10);
    assert_int_not_equal(world->port, 0);
    assert_int_equal(pipe(world->ends), 0);
    op_init(&world->op, world->loop, &kind, world_done, world);
    assert_null(watch_new(&world->op, world->ends[0], &world->watch));
    assert_null(watch_set(world->watch, WATCH_READ));
    assert_int_equal(pthread_create(&thread, NULL, client, world), 0);
    loop_run(world->loop);
    assert_int_equal(pthread_join(thread, NULL), 0);
    loop_free(world->loop);
    (void)close(world->ends[0]);
    (void)close(world->ends[1]);
    if (world->failure[0]) {
        fail_msg("%s", world->failure);
    }
}

/* ---------------------------------------------------------------- pages */

#define TAIL " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
#define ASK(text) text, sizeof(text) - 1

static void talk_pages(struct world *world)
{
    static const struct {
        const char *what, *bytes;
        size_t len;
        const char *wanted;
    } rows[] = {
        {"the figures", ASK("GET /metrics" TAIL),
         "\r\n\r\n# HELP one_total one\n# TYPE one_total counter\none_total 1\n"},
        {"their type", ASK("GET /metrics" TAIL),
         "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"},
        {"with a query", ASK("GET /metrics?name[]=up" TAIL), "one_total 1\n"},
        {"the head alone", ASK("HEAD /metrics" TAIL), "HTTP/1.1 200 OK"},
        {"alive", ASK("GET /healthz" TAIL), "HTTP/1.1 200 OK"},
        {"not ready", ASK("GET /readyz" TAIL), "HTTP/1.1 503 "},
        {"another page", ASK("GET /" TAIL), "HTTP/1.1 404 "},
        {"a path upwards", ASK("GET /../../etc/passwd" TAIL), "HTTP/1.1 404 "},
        {"another method", ASK("DELETE /metrics" TAIL), "HTTP/1.1 405 "},
        {"a method nobody knows", ASK("BREW /metrics" TAIL), "HTTP/1.1 405 "},
        {"a body",
         ASK("POST /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
             "Content-Length: 3\r\n\r\nabc"),
         "HTTP/1.1 405 "},
        {"an old client", ASK("GET /healthz HTTP/1.0\r\n\r\n"), "200 OK"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        expect(world, rows[i].what, rows[i].bytes, rows[i].len, rows[i].wanted);
    }
}

static void three_pages_are_served_and_nothing_else(void **state)
{
    struct world world = {.talk = talk_pages};

    (void)state;
    run(&world);
    assert_int_equal(world.measured, 4);
}

static void talk_ready(struct world *world)
{
    expect(world, "ready", ASK("GET /readyz" TAIL), "HTTP/1.1 200 OK");
}

static void who_asks_is_told_when_it_is_ready(void **state)
{
    struct world world = {.talk = talk_ready, .is_ready = true};

    (void)state;
    run(&world);
}

/* ---------------------------------------------------------------- garbage */

static void talk_garbage(struct world *world)
{
    static const struct {
        const char *what, *bytes;
        size_t len;
    } rows[] = {
        {"nothing at all", ASK("")},
        {"half a request", ASK("GET /met")},
        {"zero bytes", ASK("\0\0\0\0\r\n\r\n")},
        {"a TLS greeting", ASK("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")},
        {"no version", ASK("GET /metrics\r\n\r\n")},
        {"a length below zero", ASK("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n")},
        {"two kinds of length", ASK("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"
                                    "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n")},
        {"escapes that are none", ASK("GET /%zz%0%00 HTTP/1.1\r\nHost: x\r\n\r\n")},
        {"a header without a name", ASK("GET / HTTP/1.1\r\n: x\r\n\r\n")},
    };
    size_t len = 256 * 1024;
    char *flood = malloc(len), *sink = malloc(65536);

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int fd = dial(world);
        say(fd, rows[i].bytes, rows[i].len);
        (void)close(fd);
        expect(world, rows[i].what, ASK("GET /healthz" TAIL), "200 OK");
    }
    /* A head that never ends: hung up on, and no more is kept of it than one connection may have.
     */
    memset(flood, 'a', len);
    memcpy(flood, "GET /", 5);
    int fd = dial(world);
    say(fd, flood, len);
    (void)hear(fd, sink, 65536);
    expect(world, "after a head without end", ASK("GET /healthz" TAIL), "200 OK");
    free(flood);
    free(sink);
}

static void garbage_does_no_harm(void **state)
{
    struct world world = {.talk = talk_garbage};

    (void)state;
    run(&world);
}

static void talk_crowd(struct world *world)
{
    int fds[20];
    char got[1024];

    for (int i = 0; i < 20; i++) {
        fds[i] = dial(world); /* eight are taken, the others wait in the kernel */
    }
    for (int i = 0; i < 20; i++) {
        say(fds[i], ASK("GET /healthz" TAIL));
        if (!hear(fds[i], got, sizeof got) || !strstr(got, "200 OK")) {
            (void)snprintf(world->failure, sizeof world->failure, "client %d was not served", i);
        }
    }
}

static void a_crowd_is_served_by_and_by(void **state)
{
    struct world world = {.talk = talk_crowd};

    (void)state;
    run(&world);
}

static void talk_leave(struct world *world)
{
    for (int i = 0; i < 3; i++) {
        say(dial(world), ASK("GET /met")); /* left open: the process's end closes it */
    }
}

static void open_connections_do_not_hold_up_the_end(void **state)
{
    struct world world = {.talk = talk_leave};

    (void)state;
    run(&world);
}

static void an_address_in_use_is_said_at_once(void **state)
{
    struct loop *loop = loop_new();
    struct metrics_options options = {"", measure, is_ready, NULL};
    struct metrics_server *server = NULL;
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof address;
    char text[32];
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    (void)state;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    (void)snprintf(text, sizeof text, "%u", ntohs(address.sin_port));
    options.address = text;
    struct error *err = metrics_server_start(loop, &options, &server);
    assert_non_null(err);
    assert_non_null(strstr(error_text(err), "for metrics"));
    assert_non_null(strstr(error_text(err), "EADDRINUSE"));
    assert_int_equal(error_class_of(err), ERROR_CONFIG);
    assert_null(server);
    error_free(err);
    (void)close(fd);
    loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_pages_are_served_and_nothing_else),
        cmocka_unit_test(who_asks_is_told_when_it_is_ready),
        cmocka_unit_test(garbage_does_no_harm),
        cmocka_unit_test(a_crowd_is_served_by_and_by),
        cmocka_unit_test(open_connections_do_not_hold_up_the_end),
        cmocka_unit_test(an_address_in_use_is_said_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
