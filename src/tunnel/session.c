/*
 * tunnel/session: one SSH session, from the name of the server to its end. In: channels that want
 * to be opened, bytes in their buffers. Out: bytes in their buffers, facts. The only file that
 * knows libssh2; it never touches a local connection.
 *
 *      DIALING -> SHAKING_HANDS -> ASKING -> LOGGING_IN -> SERVING -> ENDING -> ended
 *          '------------'------------'-----------'--------------------^
 *
 * Three rules of libssh2 shape it. A call that answered EAGAIN because the socket takes no more has
 * left half a packet behind, and any other call that sends would then fail (LIBSSH2_ERROR_BAD_USE):
 * so `blocked` remembers that call, and until it went through nothing else is called. Each read
 * takes whatever has come for all channels off the socket and sorts it into their queues: so after
 * news every channel is asked, and one whose buffer is full is asked for its error stream, which is
 * always empty, so that the socket is emptied all the same. And there is no call that only reads: a
 * session without channels cannot notice anything, so it is given up after a while.
 */

#include "dial.h"
#include "inner.h"

#include <libssh2.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define WRITE_BYTES ((size_t)32 * 1024) /* libssh2 makes at most one packet of a write */
#define ROUNDS_PER_STEP 16              /* then others have their turn */
#define SHA2_VERSION 0x010b00           /* libssh2 1.11: signs with an RSA key and SHA-2 */

#define SESSION_STATES(X) X(DIALING) X(SHAKING_HANDS) X(ASKING) X(LOGGING_IN) X(SERVING) X(ENDING)
#define SESSION_ENUM(name) SESSION_##name,
enum session_state { SESSION_STATES(SESSION_ENUM) };
static const char *const state_names[] = {SESSION_STATES(OP_STATE_NAME)};
static const uint32_t moves[] = {
    [SESSION_DIALING] = OP_MOVE(SESSION_SHAKING_HANDS) | OP_MOVE(SESSION_ENDING),
    [SESSION_SHAKING_HANDS] = OP_MOVE(SESSION_ASKING) | OP_MOVE(SESSION_ENDING),
    [SESSION_ASKING] =
        OP_MOVE(SESSION_LOGGING_IN) | OP_MOVE(SESSION_SERVING) | OP_MOVE(SESSION_ENDING),
    [SESSION_LOGGING_IN] = OP_MOVE(SESSION_SERVING) | OP_MOVE(SESSION_ENDING),
    [SESSION_SERVING] = OP_MOVE(SESSION_ENDING),
    [SESSION_ENDING] = 0,
};

/* One call of libssh2 for one channel; true when something changed, so that it is worth to ask all
 * channels again. */
typedef bool call_fn(struct session *session, struct channel *channel);

struct session_inside {
    struct dial *dial;
    struct op_reply dial_reply;
    bool dial_answered;
    bool must_end;
    int fd; /* -1: none */
    struct watch *watch;
    struct timer *timer;     /* the whole way to the login; then signs of life, or idleness */
    uint64_t timer_at_ms;    /* when that will be, while SERVING */
    LIBSSH2_SESSION *ssh;    /* NULL before SHAKING_HANDS and after the end */
    struct channel *opening; /* libssh2 opens one channel at a time */
    call_fn *blocked;        /* the call that left half a packet, or NULL */
    struct channel *blocked_channel;
    uint64_t heard_at_ms; /* anything at all; without channels: since when there is none */
    bool is_probed;       /* asked for a sign of life since */
    session_ended_fn *ended;
};

/* ---------------------------------------------------------------- errors */

/* What libssh2 says of its last failed call. */
static struct error *ssh_error(const struct session *session, const char *what)
{
    char *words = NULL;
    int code = libssh2_session_last_error(session->inside->ssh, &words, NULL, 0);
    char origin[32];

    (void)snprintf(origin, sizeof(origin), "libssh2 %d", code);
    return error_new_from(ERROR_SYSTEM, ERROR_RETRY, origin, "%s: %s", what,
                          words && *words ? words : "no reason given");
}

/* The session is over; its channels go back. Those that were not opened yet may have another
 * session when this one had worked: it may have died while nobody looked. err NULL: a planned end.
 */
static void lose(struct session *session, struct error *err)
{
    const struct endpoint *endpoint = &session->options->endpoint;
    struct list_node *node;

    if (session->is_lost) {
        error_drop(err, "the first reason counts");
        return;
    }
    session->is_lost = true;
    session->lost_err = error_wrap(err, "SSH server %s port %s, user \"%s\"", endpoint->host,
                                   endpoint->port, endpoint->user);
    op_mark(session->owner); /* before the channels: the cause is noted before anyone is reset */
    while ((node = list_pop(&session->channels))) {
        struct channel *channel = CONTAINER_OF(node, struct channel, session_node);
        channel->session = NULL;
        channel->ssh = NULL;
        channel->is_reset =
            channel->was_opened || !session->is_ready || channel->attempts > 1 || !err;
        op_mark(&channel->op);
    }
    session->inside->opening = NULL;
    session->inside->blocked = NULL;
    op_set_state(&session->op, SESSION_ENDING);
}

static bool can_go_on(const struct session *session)
{
    return !session->is_lost && !session->inside->blocked;
}

static struct error *timeout_error(const struct session *session)
{
    static const char *const waits[] = {
        [SESSION_SHAKING_HANDS] = "waiting for the SSH server's greeting and keys",
        [SESSION_ASKING] = "waiting for an answer to the login",
        [SESSION_LOGGING_IN] = "waiting for an answer to the login",
    };
    const char *what = session->op.state == SESSION_DIALING ? dial_waits_for(session->inside->dial)
                                                            : waits[session->op.state];

    return error_new(ERROR_TIMEOUT, ERROR_RETRY, "no success within %llu ms, still %s",
                     (unsigned long long)session->options->connect_timeout_ms, what);
}

/* ---------------------------------------------------------------- waiting for the socket */

static bool wants_write(const struct session *session)
{
    return libssh2_session_block_directions(session->inside->ssh) & LIBSSH2_SESSION_BLOCK_OUTBOUND;
}

static void wait_for(struct session *session, int events)
{
    struct error *err = watch_set(session->inside->watch, events);

    if (err) {
        lose(session, err);
    }
}

/* The other direction is not asked for: what waits to be read is not read before half a packet is
 * out, and a watch for it would fire all the time. */
static void wait_for_ssh(struct session *session)
{
    wait_for(session, wants_write(session) ? WATCH_WRITE : WATCH_READ);
}

/* ---------------------------------------------------------------- up to the login */

static void step_dialing(struct session *session)
{
    struct session_inside *inside = session->inside;
    struct error *err;

    if (!op_reply_take(&inside->dial_reply, &err)) {
        return;
    }
    inside->dial_answered = true;
    if (!err) {
        inside->fd = dial_take_fd(inside->dial);
        inside->ssh = libssh2_session_init();
        CHECK(inside->ssh); /* out of memory */
        libssh2_session_set_blocking(inside->ssh, 0);
        err = watch_new(&session->op, inside->fd, &inside->watch);
    }
    if (err) {
        lose(session, err);
    } else {
        op_set_state(&session->op, SESSION_SHAKING_HANDS);
    }
}

/* libssh2 checks nothing by itself. */
static struct error *check_host_key(struct session *session)
{
    const char *hash = libssh2_hostkey_hash(session->inside->ssh, LIBSSH2_HOSTKEY_HASH_SHA256);
    const char *wanted = session->options->host_key;

    if (!hash) {
        return ssh_error(session, "reading the host key");
    }
    fingerprint_write(session->host_key, (const unsigned char *)hash);
    if (!wanted || fingerprint_is_same(wanted, session->host_key)) {
        return NULL;
    }
    struct error *err =
        error_new(ERROR_INPUT, ERROR_CONFIG, "the host key is %s and not %s as configured",
                  session->host_key, wanted);
    error_set_hint(err, "If the server got a new key, or has several, ask who runs it whether this "
                        "one is right, and configure it. If not, someone may stand in between.");
    return err;
}

static void step_shaking_hands(struct session *session)
{
    int rc = libssh2_session_handshake(session->inside->ssh, session->inside->fd);

    if (rc == LIBSSH2_ERROR_EAGAIN) {
        wait_for_ssh(session);
        return;
    }
    struct error *err =
        rc != 0 ? ssh_error(session, "beginning the SSH session") : check_host_key(session);
    if (err) {
        lose(session, err);
    } else {
        op_set_state(&session->op, SESSION_ASKING);
    }
}

static void begin_serving(struct session *session)
{
    /* When to ask is this file's affair; 2 s is the least that libssh2 knows. */
    libssh2_keepalive_config(session->inside->ssh, 1, 2);
    timer_stop(session->inside->timer);
    session->inside->heard_at_ms = loop_now_ms(session->op.loop);
    session->is_ready = true;
    op_mark(session->owner);
    op_set_state(&session->op, SESSION_SERVING);
}

static void step_asking(struct session *session)
{
    const char *user = session->options->endpoint.user;
    LIBSSH2_SESSION *ssh = session->inside->ssh;
    const char *ways = libssh2_userauth_list(ssh, user, (unsigned)strlen(user));

    if (ways && strstr(ways, "publickey")) {
        op_set_state(&session->op, SESSION_LOGGING_IN);
    } else if (ways) {
        lose(session, error_new(ERROR_INPUT, ERROR_CONFIG,
                                "it takes no login by key, only these: %s", ways));
    } else if (libssh2_userauth_authenticated(ssh)) {
        begin_serving(session); /* it asks for nothing */
    } else if (libssh2_session_last_errno(ssh) == LIBSSH2_ERROR_EAGAIN) {
        wait_for_ssh(session);
    } else {
        lose(session, ssh_error(session, "asking how to log in"));
    }
}

static struct error *login_error(const struct session *session, int rc)
{
    struct error *err;

    switch (rc) {
    case LIBSSH2_ERROR_SOCKET_SEND:
    case LIBSSH2_ERROR_SOCKET_RECV:
    case LIBSSH2_ERROR_SOCKET_DISCONNECT:
        return ssh_error(session, "logging in");
    case LIBSSH2_ERROR_FILE:
    case LIBSSH2_ERROR_METHOD_NONE:
        err = ssh_error(session, "the private key cannot be used");
        error_set_class(err, ERROR_CONFIG);
        error_set_hint(err, "Make a new one: \"ssh-keygen -t ed25519 -N '' -f KEYFILE\".");
        return err;
    default:
        break;
    }
    if (session->options->key_kind == KEY_RSA && !libssh2_version(SHA2_VERSION)) {
        err = error_new(ERROR_INPUT, ERROR_CONFIG,
                        "it refused the login with this RSA key, which libssh2 %s can only use "
                        "with SHA-1 signatures; current SSH servers do not take these",
                        libssh2_version(0));
        error_set_hint(err, "Use an ed25519 or ecdsa key (\"ssh-keygen -t ed25519 -N '' -f "
                            "KEYFILE\"), or run the connector with libssh2 1.11 or later.");
        return err;
    }
    err = error_new(ERROR_INPUT, ERROR_CONFIG, "it refused the login with this key");
    error_set_hint(err, "Check the user name, and that the public key that belongs to the private "
                        "key stands in that user's authorized_keys.");
    return err;
}

static void step_logging_in(struct session *session)
{
    const char *user = session->options->endpoint.user;
    struct span key = secret_view(session->options->key);
    int rc = libssh2_userauth_publickey_frommemory(session->inside->ssh, user, strlen(user), NULL,
                                                   0, key.ptr, key.len, NULL);

    if (rc == 0) {
        begin_serving(session);
    } else if (rc == LIBSSH2_ERROR_EAGAIN) {
        wait_for_ssh(session);
    } else {
        lose(session, login_error(session, rc));
    }
}

/* ---------------------------------------------------------------- calls for one channel */

static LIBSSH2_CHANNEL *ssh_of(const struct channel *channel)
{
    return (LIBSSH2_CHANNEL *)(void *)channel->ssh;
}

/* After EAGAIN. */
static bool note_blocked(struct session *session, call_fn *call, struct channel *channel)
{
    if (wants_write(session)) {
        session->inside->blocked = call;
        session->inside->blocked_channel = channel;
    }
    return false;
}

/* The session has nothing more to do with it. */
static void give_back(struct session *session, struct channel *channel)
{
    list_remove(&channel->session_node);
    channel->session = NULL;
    op_mark(&channel->op);
    if (list_is_empty(&session->channels)) {
        session->inside->heard_at_ms = loop_now_ms(session->op.loop);
    }
}

static bool open_channel(struct session *session, struct channel *channel)
{
    const struct session_options *options = session->options;
    struct session_inside *inside = session->inside;

    if (!inside->opening) {
        inside->opening = channel;
        channel->attempts++;
    }
    LIBSSH2_CHANNEL *ssh =
        libssh2_channel_direct_tcpip_ex(inside->ssh, options->target_host, options->target_port,
                                        "127.0.0.1", (int)channel->local_port);
    if (ssh) {
        channel->ssh = (struct ssh_channel *)(void *)ssh;
        channel->was_opened = true;
        inside->opening = NULL;
        op_mark(&channel->op);
        return true;
    }
    int code = libssh2_session_last_errno(inside->ssh);
    if (code == LIBSSH2_ERROR_EAGAIN) {
        return note_blocked(session, open_channel, channel);
    }
    struct error *err = ssh_error(session, "opening a channel");
    if (code != LIBSSH2_ERROR_CHANNEL_FAILURE) {
        lose(session, err);
        return false;
    }
    err = error_wrap(err, "%s port %d cannot be reached from the SSH server", options->target_host,
                     options->target_port);
    error_set_hint(err, "Check host and port of the address, and that the SSH server lets this "
                        "user forward connections (AllowTcpForwarding, PermitOpen).");
    session->refusal = error_join(session->refusal, err);
    op_mark(session->owner);
    inside->opening = NULL;
    channel->is_reset = true;
    give_back(session, channel);
    return true;
}

/* Once its buffer is full, or its input has ended, the call only empties the socket for others. */
static bool read_channel(struct session *session, struct channel *channel)
{
    struct flow *down = &channel->down;
    size_t room = channel->remote_ended ? 0 : flow_room(down);
    char nothing[256];
    ssize_t n;

    if (room == 0) {
        n = libssh2_channel_read_ex(ssh_of(channel), SSH_EXTENDED_DATA_STDERR, nothing,
                                    sizeof(nothing));
    } else {
        n = libssh2_channel_read_ex(ssh_of(channel), 0, down->data + down->end, room);
    }
    if (n == LIBSSH2_ERROR_EAGAIN) {
        return note_blocked(session, read_channel, channel);
    }
    if (n < 0) {
        lose(session, ssh_error(session, "reading from a channel"));
        return false;
    }
    if (room == 0) {
        return n > 0;
    }
    down->end += (size_t)n;
    channel->remote_ended = n == 0 && libssh2_channel_eof(ssh_of(channel)) == 1;
    op_mark(&channel->op);
    return true;
}

static bool is_about_channel(ssize_t code)
{
    return code == LIBSSH2_ERROR_CHANNEL_CLOSED || code == LIBSSH2_ERROR_CHANNEL_EOF_SENT;
}

static bool write_channel(struct session *session, struct channel *channel)
{
    struct flow *up = &channel->up;
    size_t waiting = up->end - up->begin;

    if (channel->write_len == 0) {
        channel->write_len = waiting < WRITE_BYTES ? waiting : WRITE_BYTES;
    }
    ssize_t n =
        libssh2_channel_write_ex(ssh_of(channel), 0, up->data + up->begin, channel->write_len);
    if (n == LIBSSH2_ERROR_EAGAIN) {
        return note_blocked(session, write_channel, channel);
    }
    channel->write_len = 0;
    if (is_about_channel(n)) {
        channel->is_reset = true; /* the target hung up on what is still to be sent */
        flow_consume(up, waiting);
    } else if (n < 0) {
        lose(session, ssh_error(session, "writing to a channel"));
        return false;
    } else {
        flow_consume(up, (size_t)n);
    }
    op_mark(&channel->op);
    return n != 0;
}

static bool send_eof(struct session *session, struct channel *channel)
{
    int rc = libssh2_channel_send_eof(ssh_of(channel));

    if (rc == LIBSSH2_ERROR_EAGAIN) {
        return note_blocked(session, send_eof, channel);
    }
    if (rc != 0 && !is_about_channel(rc)) {
        lose(session, ssh_error(session, "ending a channel's input"));
        return false;
    }
    channel->eof_sent = true;
    op_mark(&channel->op);
    return true;
}

/* Says CLOSE, and waits for the server's. */
static bool close_channel(struct session *session, struct channel *channel)
{
    int rc = libssh2_channel_free(ssh_of(channel));

    if (rc == LIBSSH2_ERROR_EAGAIN) {
        return note_blocked(session, close_channel, channel);
    }
    channel->ssh = NULL; /* gone, whatever it answered; a dead socket shows at the next call */
    give_back(session, channel);
    return true;
}

/* ---------------------------------------------------------------- serving */

static bool serve_channel(struct session *session, struct channel *channel)
{
    struct session_inside *inside = session->inside;
    bool has_changed;

    if (!channel->ssh) {
        if (channel->must_close && inside->opening != channel) {
            give_back(session, channel);
            return true;
        }
        bool is_its_turn = !inside->opening || inside->opening == channel;
        return is_its_turn && open_channel(session, channel);
    }
    if (channel->must_close) {
        return close_channel(session, channel);
    }
    has_changed = read_channel(session, channel);
    if (can_go_on(session) && !flow_is_empty(&channel->up)) {
        has_changed |= write_channel(session, channel);
    }
    if (can_go_on(session) && channel->local_ended && flow_is_empty(&channel->up) &&
        !channel->eof_sent) {
        has_changed |= send_eof(session, channel);
    }
    return has_changed;
}

static bool serve_all(struct session *session)
{
    bool has_changed = false;

    LIST_FOR_EACH(node, &session->channels)
    {
        has_changed |= serve_channel(session, CONTAINER_OF(node, struct channel, session_node));
        if (!can_go_on(session)) {
            return false;
        }
    }
    return has_changed;
}

/* A request that the server must answer, if only to refuse it. libssh2 keeps no half of it, so it
 * is sent only where it will go out whole; where the socket is full, what fills it is the question.
 */
static void probe(struct session *session)
{
    struct session_inside *inside = session->inside;
    struct pollfd ready = {.fd = inside->fd, .events = POLLOUT};
    int seconds;

    inside->is_probed = true;
    if (inside->blocked || poll(&ready, 1, 0) != 1 || !(ready.revents & POLLOUT)) {
        return;
    }
    if (libssh2_keepalive_send(inside->ssh, &seconds) != 0) {
        lose(session, ssh_error(session, "asking for a sign of life"));
    } else if (wants_write(session)) {
        lose(session, error_new(ERROR_TIMEOUT, ERROR_RETRY, "the connection is stuck"));
    }
}

static void look_at_clock(struct session *session)
{
    const struct session_options *options = session->options;
    struct session_inside *inside = session->inside;
    uint64_t now = loop_now_ms(session->op.loop);
    uint64_t silent_ms = now - inside->heard_at_ms;
    uint64_t limit_ms = options->idle_ms;

    if (!list_is_empty(&session->channels)) {
        limit_ms = options->keepalive_ms + options->answer_ms;
        if (silent_ms >= limit_ms) {
            lose(session, error_new(ERROR_TIMEOUT, ERROR_RETRY, "it has not answered for %llu ms",
                                    (unsigned long long)silent_ms));
            return;
        }
        if (silent_ms >= options->keepalive_ms && !inside->is_probed) {
            probe(session);
        }
        limit_ms = inside->is_probed ? limit_ms : options->keepalive_ms;
    } else if (silent_ms >= limit_ms) {
        lose(session, NULL);
    }
    if (session->is_lost) {
        return;
    }
    uint64_t at_ms = inside->heard_at_ms + limit_ms;
    if (!timer_is_running(inside->timer) || inside->timer_at_ms > at_ms) {
        inside->timer_at_ms = at_ms;
        timer_start(inside->timer, at_ms - now);
    }
}

static void step_serving(struct session *session)
{
    struct session_inside *inside = session->inside;
    call_fn *blocked = inside->blocked;
    bool has_changed = true;

    if (watch_take(inside->watch) & WATCH_READ) {
        inside->heard_at_ms = loop_now_ms(session->op.loop);
        inside->is_probed = false;
    }
    if (blocked) {
        inside->blocked = NULL;
        (void)blocked(session, inside->blocked_channel);
    }
    for (unsigned i = 0; i < ROUNDS_PER_STEP && has_changed && can_go_on(session); i++) {
        has_changed = serve_all(session);
    }
    if (!session->is_lost) {
        look_at_clock(session);
    }
    if (session->is_lost) {
        return;
    }
    if (has_changed && !inside->blocked) {
        op_mark(&session->op);
    }
    if (inside->blocked) {
        wait_for(session, WATCH_WRITE);
    } else {
        wait_for(session, list_is_empty(&session->channels) ? 0 : WATCH_READ);
    }
}

/* ---------------------------------------------------------------- the end */

/* libssh2 wants to say goodbye to each channel when it is freed. On a socket that was shut down it
 * cannot, and nothing answers EAGAIN any more. */
static void end_ssh(struct session_inside *inside)
{
    watch_close(&inside->watch);
    if (inside->ssh) {
        (void)libssh2_session_disconnect(inside->ssh, "the tunnel is closed");
        (void)shutdown(inside->fd, SHUT_RDWR);
        while (libssh2_session_free(inside->ssh) == LIBSSH2_ERROR_EAGAIN) {
        }
        inside->ssh = NULL;
    }
    if (inside->fd >= 0) {
        (void)close(inside->fd);
        inside->fd = -1;
    }
}

static void step_ending(struct session *session)
{
    struct session_inside *inside = session->inside;
    struct error *err;

    end_ssh(inside);
    timer_stop(inside->timer);
    if (!inside->dial_answered) {
        dial_cancel(inside->dial);
        if (!op_reply_take(&inside->dial_reply, &err)) {
            return;
        }
        inside->dial_answered = true;
        error_drop(err, "the session is over anyway");
    }
    op_finish(&session->op);
}

static void session_step(struct op *op)
{
    struct session *session = CONTAINER_OF(op, struct session, op);

    if (op->state != SESSION_ENDING && session->inside->must_end) {
        lose(session, NULL);
        return;
    }
    if (op->state < SESSION_SERVING && timer_has_expired(session->inside->timer)) {
        lose(session, timeout_error(session));
        return;
    }
    switch ((enum session_state)op->state) {
    case SESSION_DIALING:
        step_dialing(session);
        break;
    case SESSION_SHAKING_HANDS:
        step_shaking_hands(session);
        break;
    case SESSION_ASKING:
        step_asking(session);
        break;
    case SESSION_LOGGING_IN:
        step_logging_in(session);
        break;
    case SESSION_SERVING:
        step_serving(session);
        break;
    case SESSION_ENDING:
        step_ending(session);
        break;
    }
}

static const struct op_kind session_kind = {
    .name = "ssh session",
    .state_names = state_names,
    .state_count = ARRAY_LEN(state_names),
    .moves = moves,
    .step = session_step,
};

/* ---------------------------------------------------------------- doors */

static void session_done(void *ctx, struct error *err)
{
    struct session *session = ctx;

    error_drop(err, "why it is over stands in lost_err");
    dial_free(session->inside->dial);
    session->inside->dial = NULL;
    session->inside->ended(session);
}

struct session *session_start(struct loop *loop,
                              const struct session_options *options,
                              struct op *owner,
                              session_ended_fn *ended)
{
    struct session *session = mem_alloc(sizeof(*session));
    struct session_inside *inside = mem_alloc(sizeof(*inside));

    CHECK(libssh2_init(0) == 0); /* counts; libssh2_exit follows in session_free */
    session->owner = owner;
    session->options = options;
    session->inside = inside;
    list_init(&session->channels);
    inside->fd = -1;
    inside->ended = ended;
    op_init(&session->op, loop, &session_kind, session_done, session);
    inside->timer = timer_new(&session->op);
    timer_start(inside->timer, options->connect_timeout_ms);
    op_reply_expect(&inside->dial_reply, &session->op);
    inside->dial = dial_start(loop, options->endpoint.host, options->endpoint.port, op_reply_done,
                              &inside->dial_reply);
    return session;
}

void session_add(struct session *session, struct channel *channel)
{
    CHECK(!session->is_lost && !channel->session);
    if (list_is_empty(&session->channels)) {
        session->inside->heard_at_ms = loop_now_ms(session->op.loop);
        session->inside->is_probed = false;
    }
    channel->session = session;
    list_push(&session->channels, &channel->session_node);
    op_mark(&session->op);
}

void session_end(struct session *session)
{
    session->inside->must_end = true;
    op_mark(&session->op);
}

void session_free(struct session *session)
{
    if (!session) {
        return;
    }
    error_drop(session->lost_err, "the session had been given up already");
    error_drop(session->refusal, "the session had been given up already");
    mem_free(session->inside);
    mem_free(session);
    libssh2_exit();
}
