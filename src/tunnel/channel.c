/*
 * tunnel/channel: the local end of one connection through the tunnel. In: a connected socket on the
 * loopback interface. Out: its bytes in `up`, the bytes of `down` into it, and the two ends of
 * stream, each for itself (half-close). It never knows SSH; what the session did with the other
 * ends of the buffers it reads in the facts of struct channel.
 *
 *      RELAYING -> LEAVING (the local connection is closed, the session still has the channel) ->
 * ended
 */

#include "inner.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHANNEL_STATES(X) X(RELAYING) X(LEAVING)
#define CHANNEL_ENUM(name) CHANNEL_##name,
enum channel_state { CHANNEL_STATES(CHANNEL_ENUM) };
static const char *const state_names[] = {CHANNEL_STATES(OP_STATE_NAME)};
static const uint32_t moves[] = {
    [CHANNEL_RELAYING] = OP_MOVE(CHANNEL_LEAVING),
    [CHANNEL_LEAVING] = 0,
};

static void tell_session(struct channel *channel)
{
    if (channel->session) {
        op_mark(&channel->session->op);
    }
}

/* Closes the local connection. reset: the peer shall see an error and no end of stream, which it
 * might take for the server's regular end. */
static void leave(struct channel *channel, bool reset)
{
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};

    watch_close(&channel->watch);
    timer_stop(channel->timer);
    if (reset) {
        (void)setsockopt(channel->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    }
    (void)close(channel->fd);
    channel->fd = -1;
    channel->must_close = true;
    tell_session(channel);
    op_set_state(&channel->op, CHANNEL_LEAVING);
}

static bool is_for_later(int errnum)
{
    return errnum == EAGAIN || errnum == EINTR;
}

/* Both give false when the local connection is broken. */
static bool take_in(struct channel *channel)
{
    struct flow *up = &channel->up;

    while (!channel->local_ended && flow_room(up) > 0) {
        ssize_t n = recv(channel->fd, up->data + up->end, flow_room(up), 0);
        if (n < 0) {
            return is_for_later(errno);
        }
        up->end += (size_t)n;
        channel->local_ended = n == 0;
        tell_session(channel);
    }
    return true;
}

static bool hand_out(struct channel *channel)
{
    struct flow *down = &channel->down;

    while (!flow_is_empty(down)) {
        ssize_t n =
            send(channel->fd, down->data + down->begin, down->end - down->begin, MSG_NOSIGNAL);
        if (n < 0) {
            return is_for_later(errno);
        }
        flow_consume(down, (size_t)n);
        tell_session(channel);
    }
    if (channel->remote_ended && !channel->shut_down) {
        channel->shut_down = true;
        /* ENOTCONN: the peer has gone as well, and that is all there was to say. */
        (void)shutdown(channel->fd, SHUT_WR);
    }
    return true;
}

static void relay(struct channel *channel)
{
    int events = 0;

    if (channel->was_opened && !channel->is_noted) {
        channel->is_noted = true;
        timer_stop(channel->timer);
        forward_channel_opened(channel);
    }
    if (timer_has_expired(channel->timer)) {
        forward_channel_timed_out(channel);
        leave(channel, true);
        return;
    }
    if (channel->is_reset || !take_in(channel) || !hand_out(channel)) {
        leave(channel, true);
        return;
    }
    if (channel->eof_sent && channel->shut_down) {
        leave(channel, false);
        return;
    }
    events |= !channel->local_ended && flow_room(&channel->up) > 0 ? WATCH_READ : 0;
    events |= !flow_is_empty(&channel->down) ? WATCH_WRITE : 0;
    struct error *err = watch_set(channel->watch, events);
    if (err) {
        error_drop(err, "the owner of the connection sees a reset and connects again");
        leave(channel, true);
    }
}

static void channel_step(struct op *op)
{
    struct channel *channel = CONTAINER_OF(op, struct channel, op);

    switch ((enum channel_state)op->state) {
    case CHANNEL_RELAYING:
        if (op_must_stop(op) || !channel->watch) {
            leave(channel, true);
        } else {
            (void)watch_take(channel->watch);
            relay(channel);
        }
        break;
    case CHANNEL_LEAVING:
        if (!channel->session) {
            op_finish_won(op);
        }
        break;
    }
}

static const struct op_kind channel_kind = {
    .name = "tunnel channel",
    .state_names = state_names,
    .state_count = ARRAY_LEN(state_names),
    .moves = moves,
    .step = channel_step,
};

static void channel_done(void *ctx, struct error *err)
{
    error_drop(err, "its owner saw the connection end");
    forward_channel_ended(ctx);
}

struct channel *channel_start(
    struct tunnel *tunnel, struct loop *loop, int fd, unsigned local_port, uint64_t timeout_ms)
{
    struct channel *channel = mem_alloc(sizeof(*channel));

    channel->tunnel = tunnel;
    channel->fd = fd;
    channel->local_port = local_port;
    channel->up.data = mem_alloc(FLOW_BYTES);
    channel->down.data = mem_alloc(FLOW_BYTES);
    list_node_init(&channel->node);
    list_node_init(&channel->session_node);
    op_init(&channel->op, loop, &channel_kind, channel_done, channel);
    channel->timer = timer_new(&channel->op);
    timer_start(channel->timer, timeout_ms);
    struct error *err = watch_new(&channel->op, fd, &channel->watch);
    error_drop(err, "the first step finds no watch, and resets the connection");
    op_mark(&channel->op);
    return channel;
}

void channel_free(struct channel *channel)
{
    if (channel) {
        mem_free(channel->up.data);
        mem_free(channel->down.data);
        mem_free(channel);
    }
}
