/*
 * tunnel/dial: from a host name to a connected descriptor. In: host and port. Out: the descriptor.
 * It never knows what will be spoken on it.
 *
 *      RESOLVING -> CONNECTING -> done          the look-up belongs to a worker while it runs
 */

#include "dial.h"

#include "base/span.h"
#include "runtime/resolve.h"
#include "runtime/timer.h"
#include "runtime/watch.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* One address that swallows everything must not eat the time of the others. */
#define ADDRESS_LIMIT_MS 5000

#define DIAL_STATES(X) X(RESOLVING) X(CONNECTING)
#define DIAL_ENUM(name) DIAL_##name,
enum dial_state { DIAL_STATES(DIAL_ENUM) };
static const char *const state_names[] = {DIAL_STATES(OP_STATE_NAME)};
static const uint32_t moves[] = {
    [DIAL_RESOLVING] = OP_MOVE(DIAL_CONNECTING),
    [DIAL_CONNECTING] = 0,
};

struct dial {
    struct op op;
    char *host, *port;
    bool is_resolved; /* fact: the worker gave everything back */
    struct error *resolve_err;
    char *addresses;     /* numeric, joined with ',' */
    const char *next;    /* in addresses: the one to be tried after this one; "": none */
    int fd;              /* -1: none */
    struct watch *watch; /* of fd while it is being connected */
    struct timer *timer; /* of this address; only where another follows */
    struct error *err;   /* of the address tried last */
    op_done_fn *done;
    void *ctx;
};

/* ---------------------------------------------------------------- the name */

static void on_resolved(void *ctx, struct resolve *resolve)
{
    struct dial *dial = ctx;

    dial->is_resolved = true;
    dial->resolve_err = resolve_error(resolve);
    dial->addresses = mem_strdup(resolve_addresses(resolve));
    dial->next = dial->addresses;
    if (dial->resolve_err && error_class_of(dial->resolve_err) == ERROR_CONFIG) {
        error_set_hint(dial->resolve_err, "Check the host name of the SSH endpoint.");
    }
    op_mark(&dial->op);
}

/* ---------------------------------------------------------------- one address after the other */

static void drop_socket(struct dial *dial)
{
    watch_close(&dial->watch);
    if (dial->fd >= 0) {
        (void)close(dial->fd);
        dial->fd = -1;
    }
}

/* A numeric address; the result is its length, 0 where it is none that we can use. */
static socklen_t
read_address(const struct dial *dial, struct span text, struct sockaddr_storage *ret)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    in_port_t port = htons((in_port_t)strtoul(dial->port, NULL, 10));
    char copy[INET6_ADDRSTRLEN];

    if (text.len >= sizeof(copy)) {
        return 0; /* with an interface: not reached from elsewhere */
    }
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    if (inet_pton(AF_INET, copy, &v4.sin_addr) == 1) {
        v4.sin_port = port;
        memcpy(ret, &v4, sizeof(v4));
        return sizeof(v4);
    }
    if (inet_pton(AF_INET6, copy, &v6.sin6_addr) == 1) {
        v6.sin6_port = port;
        memcpy(ret, &v6, sizeof(v6));
        return sizeof(v6);
    }
    return 0;
}

static struct error *begin_address(struct dial *dial, struct span text)
{
    struct sockaddr_storage address = {0};
    socklen_t size = read_address(dial, text, &address);
    int on = 1;

    if (size == 0) {
        return error_new(ERROR_SYSTEM, ERROR_RETRY, "address %.*s cannot be used", SPAN_FMT(text));
    }
    dial->fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (dial->fd < 0) {
        return error_from_errno(errno, ERROR_RETRY, "opening a socket");
    }
    (void)setsockopt(dial->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connect(dial->fd, (struct sockaddr *)&address, size) != 0 && errno != EINPROGRESS) {
        return error_from_errno(errno, ERROR_RETRY, "connecting");
    }
    RETURN_IF_ERROR(watch_new(&dial->op, dial->fd, &dial->watch));
    return watch_set(dial->watch, WATCH_WRITE);
}

/* Until one is under way or none is left. */
static void try_next(struct dial *dial)
{
    while (*dial->next) {
        struct span address = {dial->next, strcspn(dial->next, ",")};

        dial->next += address.len + (dial->next[address.len] == ',');
        error_free(dial->err); /* the caller is told of the last one */
        dial->err = begin_address(dial, address);
        if (!dial->err) {
            if (*dial->next) {
                timer_start(dial->timer, ADDRESS_LIMIT_MS);
            } else {
                timer_stop(dial->timer);
            }
            return;
        }
        drop_socket(dial);
    }
    op_fail(&dial->op, dial->err);
    dial->err = NULL;
    op_finish(&dial->op);
}

static void step_connecting(struct dial *dial)
{
    int errnum = 0;
    socklen_t size = sizeof(errnum);

    if (timer_has_expired(dial->timer)) {
        drop_socket(dial);
        dial->err = error_new(ERROR_TIMEOUT, ERROR_RETRY, "no answer to the connection attempt");
        try_next(dial);
        return;
    }
    if (watch_take(dial->watch) == 0) {
        return;
    }
    if (getsockopt(dial->fd, SOL_SOCKET, SO_ERROR, &errnum, &size) != 0) {
        errnum = errno;
    }
    if (errnum == 0) {
        op_finish(&dial->op);
        return;
    }
    drop_socket(dial);
    dial->err = error_from_errno(errnum, ERROR_RETRY, "connecting");
    try_next(dial);
}

/* ---------------------------------------------------------------- the operation */

static void dial_step(struct op *op)
{
    struct dial *dial = CONTAINER_OF(op, struct dial, op);

    switch ((enum dial_state)op->state) {
    case DIAL_RESOLVING:
        if (!dial->is_resolved) {
            return; /* the worker still has our memory, cancelled or not */
        }
        if (op->cancel_asked) {
            op_finish(op);
        } else if (dial->resolve_err) {
            op_fail(op, dial->resolve_err);
            dial->resolve_err = NULL;
            op_finish(op);
        } else {
            op_set_state(op, DIAL_CONNECTING);
            try_next(dial);
        }
        break;
    case DIAL_CONNECTING:
        if (op->cancel_asked) {
            op_finish(op);
        } else {
            step_connecting(dial);
        }
        break;
    }
}

static const struct op_kind dial_kind = {
    .name = "ssh dial",
    .state_names = state_names,
    .state_count = ARRAY_LEN(state_names),
    .moves = moves,
    .step = dial_step,
};

static void dial_done(void *ctx, struct error *err)
{
    struct dial *dial = ctx;

    error_drop(dial->err, "another address was reached, or nobody waits any more");
    error_drop(dial->resolve_err, "nobody waits for the address any more");
    dial->err = dial->resolve_err = NULL;
    dial->done(dial->ctx, err);
}

struct dial *
dial_start(struct loop *loop, const char *host, const char *port, op_done_fn *done, void *ctx)
{
    struct dial *dial = mem_alloc(sizeof(*dial));

    dial->host = mem_strdup(host);
    dial->port = mem_strdup(port);
    dial->fd = -1;
    dial->done = done;
    dial->ctx = ctx;
    op_init(&dial->op, loop, &dial_kind, dial_done, dial);
    dial->timer = timer_new(&dial->op);
    (void)resolve_start(loop, host, on_resolved, dial);
    return dial;
}

void dial_cancel(struct dial *dial)
{
    op_cancel(&dial->op);
}

const char *dial_waits_for(const struct dial *dial)
{
    return dial->is_resolved ? "waiting for the TCP connection" : "resolving the host name";
}

int dial_take_fd(struct dial *dial)
{
    int fd = dial->fd;

    dial->fd = -1;
    return fd;
}

void dial_free(struct dial *dial)
{
    if (!dial) {
        return;
    }
    if (dial->fd >= 0) {
        (void)close(dial->fd);
    }
    mem_free(dial->host);
    mem_free(dial->port);
    mem_free(dial->addresses);
    mem_free(dial);
}
