/*
 * tunnel/forward: the tunnel. In: connections to a port on 127.0.0.1. Out: channels, each given to
 * the session that is up, and reports about what went wrong. It knows neither SSH nor what is said
 * inside.
 *
 *      NEW -> OPENING -> OPEN -> CLOSING -> closed
 *       '--------'------> FAILED --^
 *
 * There is one session at a time that serves; one that was lost may take a while to end and is only
 * counted. A new one is started when a connection waits and none is there.
 */

#include "inner.h"

#include "base/text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define DEFAULT_KEEPALIVE_MS 30000
#define DEFAULT_ANSWER_MS 30000
#define DEFAULT_IDLE_MS 60000
#define CHANNELS_MAX 64U /* more than any owner opens; the rest waits to be accepted */
#define LISTEN_BACKLOG 16
#define ACCEPT_PAUSE_MS 1000 /* after the process ran out of descriptors, say */

#define TUNNEL_STATES(X) X(NEW) X(OPENING) X(OPEN) X(FAILED) X(CLOSING)
#define TUNNEL_ENUM(name) TUNNEL_##name,
enum tunnel_state { TUNNEL_STATES(TUNNEL_ENUM) };
static const char *const state_names[] = {TUNNEL_STATES(OP_STATE_NAME)};
static const uint32_t moves[] = {
    [TUNNEL_NEW] = OP_MOVE(TUNNEL_OPENING) | OP_MOVE(TUNNEL_FAILED) | OP_MOVE(TUNNEL_CLOSING),
    [TUNNEL_OPENING] = OP_MOVE(TUNNEL_OPEN) | OP_MOVE(TUNNEL_FAILED) | OP_MOVE(TUNNEL_CLOSING),
    [TUNNEL_OPEN] = OP_MOVE(TUNNEL_CLOSING),
    [TUNNEL_FAILED] = OP_MOVE(TUNNEL_CLOSING),
    [TUNNEL_CLOSING] = 0,
};

struct tunnel {
    struct op op;
    struct session_options options;
    void (*on_host_key)(void *ctx, const char *fingerprint);
    void (*on_trouble)(void *ctx, const struct error *err);
    void *ctx; /* of these two */

    int listener; /* -1: none */
    struct watch *watch;
    struct timer *pause; /* running: nothing is accepted */
    unsigned port;

    struct session *session; /* that serves, or will; NULL: none */
    unsigned session_count;  /* with those that are ending */
    struct list channels;
    unsigned channel_count;

    char host_key[FINGERPRINT_BYTES];
    struct error *trouble; /* the latest, or NULL */

    op_done_fn *open_done; /* NULL: nobody waits for the opening */
    void *open_ctx;
    bool must_close;
    tunnel_closed_fn *closed;
    void *closed_ctx;
};

/* ---------------------------------------------------------------- reports */

static void note_trouble(struct tunnel *tunnel, struct error *err)
{
    if (!err) {
        return;
    }
    error_free(tunnel->trouble); /* it was reported */
    tunnel->trouble = err;
    if (tunnel->on_trouble && !tunnel->must_close) {
        tunnel->on_trouble(tunnel->ctx, err);
    }
}

static void note_host_key(struct tunnel *tunnel)
{
    const char *seen = tunnel->session->host_key;

    if (*seen && strcmp(seen, tunnel->host_key) != 0) {
        memcpy(tunnel->host_key, seen, sizeof(tunnel->host_key));
        if (tunnel->on_host_key && !tunnel->must_close) {
            tunnel->on_host_key(tunnel->ctx, tunnel->host_key);
        }
    }
}

void forward_channel_opened(struct channel *channel)
{
    error_free(channel->tunnel->trouble); /* it was reported, and is over */
    channel->tunnel->trouble = NULL;
}

void forward_channel_timed_out(struct channel *channel)
{
    struct tunnel *tunnel = channel->tunnel;
    const struct session_options *options = &tunnel->options;
    struct error *err =
        error_new(ERROR_TIMEOUT, ERROR_RETRY,
                  "%s port %d was not reached through SSH server %s port %s "
                  "within %llu ms",
                  options->target_host, options->target_port, options->endpoint.host,
                  options->endpoint.port, (unsigned long long)options->connect_timeout_ms);

    error_set_hint(err, "Check host and port of the address, and that a firewall lets the SSH "
                        "server reach them.");
    note_trouble(tunnel, err);
}

/* ---------------------------------------------------------------- the listener */

static struct error *listen_somewhere(struct tunnel *tunnel) MUST_CHECK;
static struct error *listen_somewhere(struct tunnel *tunnel)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof(address);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK); /* and port 0: any that is free */
    tunnel->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (tunnel->listener < 0 ||
        bind(tunnel->listener, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(tunnel->listener, LISTEN_BACKLOG) != 0 ||
        getsockname(tunnel->listener, (struct sockaddr *)&address, &size) != 0) {
        return error_from_errno(errno, ERROR_RETRY, "listening on 127.0.0.1");
    }
    tunnel->port = ntohs(address.sin_port);
    return NULL;
}

/* Who waits to be accepted is refused. */
static void stop_listening(struct tunnel *tunnel)
{
    watch_close(&tunnel->watch);
    if (tunnel->listener >= 0) {
        (void)close(tunnel->listener);
        tunnel->listener = -1;
    }
}

/* The descriptor, -1: none for now. */
static int accept_one(struct tunnel *tunnel, unsigned *ret_port)
{
    struct sockaddr_in peer = {0};
    socklen_t size = sizeof(peer);
    int on = 1;
    int fd = accept(tunnel->listener, (struct sockaddr *)&peer, &size);

    if (fd < 0) {
        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
            note_trouble(tunnel, error_from_errno(errno, ERROR_RETRY,
                                                  "accepting a connection to the tunnel"));
            timer_start(tunnel->pause, ACCEPT_PAUSE_MS);
        }
        return -1;
    }
    /* The socket is bound to the loopback interface; a peer from elsewhere would be a kernel with
     * route_localnet set. */
    if (peer.sin_family != AF_INET || ntohl(peer.sin_addr.s_addr) >> 24 != IN_LOOPBACKNET ||
        fcntl(fd, F_SETFL, O_NONBLOCK) != 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
        (void)close(fd);
        return -1;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    *ret_port = ntohs(peer.sin_port);
    return fd;
}

static bool may_accept(struct tunnel *tunnel)
{
    return tunnel->channel_count < CHANNELS_MAX && !timer_is_running(tunnel->pause);
}

static void accept_all(struct tunnel *tunnel)
{
    unsigned port;
    int fd;

    (void)watch_take(tunnel->watch);
    while (may_accept(tunnel) && (fd = accept_one(tunnel, &port)) >= 0) {
        struct channel *channel =
            channel_start(tunnel, tunnel->op.loop, fd, port, tunnel->options.connect_timeout_ms);
        list_push(&tunnel->channels, &channel->node);
        tunnel->channel_count++;
    }
    note_trouble(tunnel, watch_set(tunnel->watch, may_accept(tunnel) ? WATCH_READ : 0));
}

/* ---------------------------------------------------------------- sessions and channels */

static void session_ended(struct session *session)
{
    struct tunnel *tunnel = CONTAINER_OF(session->owner, struct tunnel, op);

    CHECK(tunnel->session != session); /* its loss was seen in a step before */
    tunnel->session_count--;
    op_mark(&tunnel->op);
    session_free(session);
}

static void start_session(struct tunnel *tunnel)
{
    tunnel->session = session_start(tunnel->op.loop, &tunnel->options, &tunnel->op, session_ended);
    tunnel->session_count++;
}

/* The facts of the session since the last step. The result is why it was lost, if it was. */
static struct error *look_at_session(struct tunnel *tunnel)
{
    struct session *session = tunnel->session;
    struct error *err;

    if (!session) {
        return NULL;
    }
    note_host_key(tunnel);
    err = session->refusal;
    session->refusal = NULL;
    note_trouble(tunnel, err);
    if (!session->is_lost) {
        return NULL;
    }
    err = session->lost_err;
    session->lost_err = NULL;
    tunnel->session = NULL;
    return err;
}

static bool waits_for_session(const struct channel *channel)
{
    return !channel->session && !channel->was_opened && !channel->is_reset && !channel->must_close;
}

static void serve_waiting(struct tunnel *tunnel)
{
    LIST_FOR_EACH(node, &tunnel->channels)
    {
        struct channel *channel = CONTAINER_OF(node, struct channel, node);
        if (!waits_for_session(channel)) {
            continue;
        }
        if (!tunnel->session) {
            start_session(tunnel);
        }
        /* Before it is ready too: if it never is, they learn it from the session. */
        session_add(tunnel->session, channel);
    }
}

void forward_channel_ended(struct channel *channel)
{
    struct tunnel *tunnel = channel->tunnel;

    list_remove(&channel->node);
    tunnel->channel_count--;
    channel_free(channel);
    op_mark(&tunnel->op);
}

/* ---------------------------------------------------------------- the step */

static void end_open(struct tunnel *tunnel, enum tunnel_state state, struct error *err)
{
    op_done_fn *done = tunnel->open_done;

    tunnel->open_done = NULL;
    op_set_state(&tunnel->op, state);
    if (done) {
        done(tunnel->open_ctx, err);
    } else {
        error_drop(err, "nobody waits for the opening");
    }
}

static void step_new(struct tunnel *tunnel)
{
    if (!tunnel->open_done) {
        return;
    }
    struct error *err = watch_new(&tunnel->op, tunnel->listener, &tunnel->watch);
    if (err) {
        stop_listening(tunnel);
        end_open(tunnel, TUNNEL_FAILED, err);
        return;
    }
    start_session(tunnel);
    op_set_state(&tunnel->op, TUNNEL_OPENING);
}

static void step_opening(struct tunnel *tunnel)
{
    struct error *err = look_at_session(tunnel);

    if (!tunnel->session) {
        stop_listening(tunnel);
        end_open(tunnel, TUNNEL_FAILED, err);
    } else if (tunnel->session->is_ready) {
        end_open(tunnel, TUNNEL_OPEN, NULL);
    }
}

static void step_open(struct tunnel *tunnel)
{
    note_trouble(tunnel, look_at_session(tunnel));
    accept_all(tunnel);
    serve_waiting(tunnel);
}

static void begin_closing(struct tunnel *tunnel)
{
    struct error *err = look_at_session(tunnel);

    error_drop(err, "the tunnel is closed");
    if (tunnel->session) {
        session_end(tunnel->session);
    }
    LIST_FOR_EACH(node, &tunnel->channels)
    {
        op_cancel(&CONTAINER_OF(node, struct channel, node)->op);
    }
    stop_listening(tunnel);
    err = NULL;
    if (tunnel->open_done) {
        err = error_new(ERROR_CANCELLED, ERROR_ABORT, "the tunnel was closed while it was opened");
    }
    end_open(tunnel, TUNNEL_CLOSING, err);
}

static void step_closing(struct tunnel *tunnel)
{
    struct error *err = look_at_session(tunnel);

    error_drop(err, "the tunnel is closed");
    if (tunnel->channel_count == 0 && tunnel->session_count == 0) {
        op_finish(&tunnel->op);
    }
}

static void tunnel_step(struct op *op)
{
    struct tunnel *tunnel = CONTAINER_OF(op, struct tunnel, op);

    if (tunnel->must_close && op->state != TUNNEL_CLOSING) {
        begin_closing(tunnel);
        return;
    }
    switch ((enum tunnel_state)op->state) {
    case TUNNEL_NEW:
        step_new(tunnel);
        break;
    case TUNNEL_OPENING:
        step_opening(tunnel);
        break;
    case TUNNEL_OPEN:
        step_open(tunnel);
        break;
    case TUNNEL_FAILED:
        break;
    case TUNNEL_CLOSING:
        step_closing(tunnel);
        break;
    }
}

static const struct op_kind tunnel_kind = {
    .name = "tunnel",
    .state_names = state_names,
    .state_count = ARRAY_LEN(state_names),
    .moves = moves,
    .step = tunnel_step,
};

/* ---------------------------------------------------------------- doors */

static void free_tunnel(struct tunnel *tunnel)
{
    error_free(tunnel->trouble); /* it was reported */
    secret_free(tunnel->options.key);
    mem_free(tunnel->options.target_host);
    mem_free(tunnel->options.host_key);
    mem_free(tunnel);
}

static void tunnel_done(void *ctx, struct error *err)
{
    struct tunnel *tunnel = ctx;
    tunnel_closed_fn *closed = tunnel->closed;
    void *closed_ctx = tunnel->closed_ctx;

    error_drop(err, "a tunnel that was asked to close has nothing left to fail");
    free_tunnel(tunnel);
    if (closed) {
        closed(closed_ctx);
    }
}

static struct error *read_options(const struct tunnel_options *options, struct session_options *ret)
{
    RETURN_IF_ERROR(endpoint_read(options->endpoint ? options->endpoint : "", &ret->endpoint));
    if (!options->target_host || !*options->target_host || !options->target_port ||
        !endpoint_is_port(options->target_port)) {
        struct error *err = error_new(ERROR_INPUT, ERROR_CONFIG,
                                      "the address must be a host and a port when it is reached "
                                      "through a tunnel");
        error_set_hint(err, "Give it as hostname:5439.");
        return err;
    }
    if (options->host_key) {
        RETURN_IF_ERROR(fingerprint_check(options->host_key));
        ret->host_key = mem_strdup(options->host_key);
    }
    ret->target_host = mem_strdup(options->target_host);
    ret->target_port = (int)strtol(options->target_port, NULL, 10);
    ret->connect_timeout_ms = options->connect_timeout_ms;
    ret->keepalive_ms = options->keepalive_ms ? options->keepalive_ms : DEFAULT_KEEPALIVE_MS;
    ret->answer_ms = options->answer_ms ? options->answer_ms : DEFAULT_ANSWER_MS;
    ret->idle_ms = options->idle_ms ? options->idle_ms : DEFAULT_IDLE_MS;
    return key_read(options->private_key, &ret->key, &ret->key_kind);
}

struct error *
tunnel_new(struct loop *loop, const struct tunnel_options *options, struct tunnel **ret)
{
    struct tunnel *tunnel = mem_alloc(sizeof(*tunnel));
    struct error *err = read_options(options, &tunnel->options);

    tunnel->listener = -1;
    if (!err) {
        err = listen_somewhere(tunnel);
    }
    if (err) {
        stop_listening(tunnel);
        free_tunnel(tunnel);
        return err;
    }
    tunnel->on_host_key = options->on_host_key;
    tunnel->on_trouble = options->on_trouble;
    tunnel->ctx = options->ctx;
    list_init(&tunnel->channels);
    op_init(&tunnel->op, loop, &tunnel_kind, tunnel_done, tunnel);
    tunnel->pause = timer_new(&tunnel->op);
    *ret = tunnel;
    return NULL;
}

void tunnel_open(struct tunnel *tunnel, op_done_fn *done, void *ctx)
{
    CHECK(tunnel->op.state == TUNNEL_NEW && !tunnel->open_done && !tunnel->must_close);
    tunnel->open_done = done;
    tunnel->open_ctx = ctx;
    op_mark(&tunnel->op);
}

unsigned tunnel_port(const struct tunnel *tunnel)
{
    return tunnel->port;
}

const char *tunnel_host_key(const struct tunnel *tunnel)
{
    return tunnel->host_key;
}

const struct error *tunnel_trouble(const struct tunnel *tunnel)
{
    return tunnel->trouble;
}

void tunnel_close(struct tunnel *tunnel, tunnel_closed_fn *closed, void *ctx)
{
    CHECK(!tunnel->must_close);
    tunnel->must_close = true;
    tunnel->closed = closed;
    tunnel->closed_ctx = ctx;
    op_mark(&tunnel->op);
}
