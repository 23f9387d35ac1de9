/*
 * metrics/server: libmicrohttpd on our loop, without threads. In: requests of whoever can reach the
 * address, which may be anything; rows from measure. Out: one of three pages. It never knows what
 * the rows mean.
 *
 * The library keeps its sockets in an epoll set of its own, whose descriptor becomes readable when
 * one of them has something: that is the one thing to watch. Besides, it tells when it wants to be
 * called at the latest (idle connections are hung up).
 *
 *      SERVING -> done, after metrics_server_stop
 */

#include "metrics/server.h"

#include "base/buf.h"
#include "base/log.h"
#include "runtime/timer.h"
#include "runtime/watch.h"

#include "address.h"
#include "text.h"

#include <microhttpd.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS 8
#define CONNECTION_BYTES ((size_t)16 * 1024)
#define IDLE_SECONDS 10
#define BACKLOG 16
/* Some hundred lines in practice; the list of tables is bounded. */
#define PAGE_MAX_BYTES ((size_t)1024 * 1024)

#define SERVER_STATES(X) X(SERVING)
#define SERVER_ENUM(name) SERVER_##name,
enum server_state { SERVER_STATES(SERVER_ENUM) };
static const char *const server_state_names[] = {SERVER_STATES(OP_STATE_NAME)};
static const uint32_t server_moves[] = {[SERVER_SERVING] = 0};

struct metrics_server {
    struct op op;
    struct metrics_options options;
    char address[METRICS_ADDRESS_TEXT];
    struct MHD_Daemon *daemon;
    struct watch *watch;
    struct timer *timer;
    bool is_full; /* as many connections as it may have: it takes no more for now */
    op_done_fn *done;
    void *ctx;
};

/* ---------------------------------------------------------------- pages */

static enum MHD_Result
answer(struct MHD_Connection *connection, unsigned status, const char *type, struct span body)
{
    /* The library copies: the page lives no longer than the call. */
    union {
        const char *lent;
        void *ptr;
    } text = {.lent = body.ptr ? body.ptr : ""};
    struct MHD_Response *response =
        MHD_create_response_from_buffer(body.len, text.ptr, MHD_RESPMEM_MUST_COPY);
    enum MHD_Result result = MHD_NO;

    if (response) {
        if (MHD_add_response_header(response, "Content-Type", type) == MHD_YES &&
            MHD_add_response_header(response, "Cache-Control", "no-store") == MHD_YES &&
            (status != MHD_HTTP_METHOD_NOT_ALLOWED ||
             MHD_add_response_header(response, "Allow", "GET, HEAD") == MHD_YES)) {
            result = MHD_queue_response(connection, status, response);
        }
        MHD_destroy_response(response);
    }
    return result; /* NO hangs up */
}

static enum MHD_Result
answer_text(struct MHD_Connection *connection, unsigned status, struct span body)
{
    return answer(connection, status, "text/plain; charset=utf-8", body);
}

static enum MHD_Result answer_metrics(struct metrics_server *server,
                                      struct MHD_Connection *connection)
{
    struct buf page;
    struct metrics_text text = {.out = &page};
    enum MHD_Result result;

    buf_init(&page, PAGE_MAX_BYTES);
    server->options.measure(server->options.ctx, metrics_text_add, &text);
    if (buf_is_full(&page)) {
        result = answer_text(connection, MHD_HTTP_INTERNAL_SERVER_ERROR,
                             SPAN_LIT("there is more to tell than fits\n"));
    } else {
        result = answer(connection, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8",
                        buf_view(&page));
    }
    buf_done(&page);
    return result;
}

static enum MHD_Result on_request(void *ctx,
                                  struct MHD_Connection *connection,
                                  const char *path,
                                  const char *method,
                                  const char *version,
                                  const char *upload_data,
                                  size_t *upload_size,
                                  void **request_ctx)
{
    struct metrics_server *server = ctx;

    (void)version;
    (void)upload_data;
    (void)upload_size;
    (void)request_ctx;
    /* Answered at the first call, before any body: whoever sends one is hung up on. */
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
        return answer_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED, SPAN_LIT("only GET\n"));
    }
    if (strcmp(path, "/metrics") == 0) {
        return answer_metrics(server, connection);
    }
    if (strcmp(path, "/healthz") == 0) {
        return answer_text(connection, MHD_HTTP_OK, SPAN_LIT("ok\n"));
    }
    if (strcmp(path, "/readyz") == 0) {
        return server->options.is_ready(server->options.ctx)
                   ? answer_text(connection, MHD_HTTP_OK, SPAN_LIT("ok\n"))
                   : answer_text(connection, MHD_HTTP_SERVICE_UNAVAILABLE,
                                 SPAN_LIT("no session is open\n"));
    }
    return answer_text(connection, MHD_HTTP_NOT_FOUND, SPAN_LIT("/metrics, /healthz, /readyz\n"));
}

/* ---------------------------------------------------------------- the loop */

static void wind_down(struct metrics_server *server)
{
    watch_close(&server->watch); /* before the library closes what is watched */
    MHD_stop_daemon(server->daemon);
    op_finish_won(&server->op);
}

static bool is_full(const struct metrics_server *server)
{
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);

    return info && info->num_connections >= CONNECTIONS;
}

static void server_step(struct op *op)
{
    struct metrics_server *server = CONTAINER_OF(op, struct metrics_server, op);
    MHD_UNSIGNED_LONG_LONG wait_ms;

    if (op_must_stop(op)) {
        wind_down(server);
        return;
    }
    (void)watch_take(server->watch);
    timer_stop(server->timer);
    (void)MHD_run(server->daemon);
    /* While it is full the library does not listen, and it begins again only in its next run. */
    if (server->is_full && !is_full(server)) {
        op_mark(op);
    }
    server->is_full = is_full(server);
    if (MHD_get_timeout(server->daemon, &wait_ms) == MHD_YES) {
        timer_start(server->timer, wait_ms);
    }
}

static const struct op_kind server_kind = {
    .name = "metrics",
    .state_names = server_state_names,
    .state_count = ARRAY_LEN(server_state_names),
    .moves = server_moves,
    .step = server_step,
};

static void server_done(void *ctx, struct error *err)
{
    struct metrics_server *server = ctx;
    op_done_fn *done = server->done;
    void *done_ctx = server->ctx;

    error_drop(err, "nobody depends on the metrics");
    mem_free(server);
    done(done_ctx, NULL);
}

/* ---------------------------------------------------------------- life cycle */

/* By hand, so that a failure has its reason; *address becomes what was bound. */
static struct error *listen_on(union metrics_address *address, int *ret_fd)
{
    socklen_t len = address->any.sa_family == AF_INET6 ? sizeof(address->v6) : sizeof(address->v4);
    int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1;

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        bind(fd, &address->any, len) != 0 || listen(fd, BACKLOG) != 0 ||
        getsockname(fd, &address->any, &len) != 0) {
        int errnum = errno;
        char text[METRICS_ADDRESS_TEXT];
        metrics_address_print(address, text);
        if (fd >= 0) {
            (void)close(fd);
        }
        return error_from_errno(errnum, ERROR_CONFIG, "listening on %s for metrics", text);
    }
    *ret_fd = fd;
    return NULL;
}

static struct error *start_daemon(struct metrics_server *server, int listen_fd)
{
    server->daemon = MHD_start_daemon(
        MHD_USE_EPOLL, 0, NULL, NULL, on_request, server, MHD_OPTION_LISTEN_SOCKET,
        (MHD_socket)listen_fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_BYTES, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)IDLE_SECONDS, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
    return server->daemon ? NULL
                          : error_new(ERROR_INTERNAL, ERROR_FATAL,
                                      "libmicrohttpd did not start on %s", server->address);
}

static struct error *watch_daemon(struct metrics_server *server)
{
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD);

    CHECK(info); /* it was started with an epoll set */
    RETURN_IF_ERROR(watch_new(&server->op, info->epoll_fd, &server->watch));
    return watch_set(server->watch, WATCH_READ);
}

static void forget(void *ctx, struct error *err)
{
    (void)ctx;
    error_drop(err, "the start failed, which is reported");
}

struct error *metrics_server_start(struct loop *loop,
                                   const struct metrics_options *options,
                                   struct metrics_server **ret)
{
    union metrics_address address;
    int listen_fd = -1;

    RETURN_IF_ERROR(metrics_address_read(options->address, &address));
    RETURN_IF_ERROR(listen_on(&address, &listen_fd));
    struct metrics_server *server = mem_alloc(sizeof(*server));
    server->options = *options;
    metrics_address_print(&address, server->address);
    struct error *err = start_daemon(server, listen_fd);
    if (err) {
        (void)close(listen_fd);
        mem_free(server);
        return err;
    }
    op_init(&server->op, loop, &server_kind, server_done, server);
    server->timer = timer_new(&server->op);
    err = watch_daemon(server);
    if (err) {
        metrics_server_stop(server, forget, NULL);
        return err;
    }
    *ret = server;
    return NULL;
}

const char *metrics_server_address(const struct metrics_server *server)
{
    return server->address;
}

void metrics_server_stop(struct metrics_server *server, op_done_fn *done, void *ctx)
{
    server->done = done;
    server->ctx = ctx;
    op_cancel(&server->op);
}
