/*
 * tunnel/dial: from a host name to a connected descriptor. In: host and port. Out: the descriptor.
 * It never knows what will be spoken on it.
 *
 *      RESOLVING -> CONNECTING -> done          the look-up belongs to a worker while it runs
 */

#include "dial.h"

#include "runtime/timer.h"
#include "runtime/watch.h"
#include "runtime/work.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
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
    int status;                  /* of getaddrinfo */
    int resolver_errno;          /* where status is EAI_SYSTEM */
    struct addrinfo *list;       /* the worker's until it is resolved */
    const struct addrinfo *next; /* the address to be tried after this one */
    bool is_resolved;            /* fact: the worker gave everything back */
    int fd;                      /* -1: none */
    struct watch *watch;         /* of fd while it is being connected */
    struct timer *timer;         /* of this address; only where another follows */
    struct error *err;           /* of the address tried last */
    op_done_fn *done;
    void *ctx;
};

/* ---------------------------------------------------------------- the name */

/* On a worker thread. */
static void look_up(void *ctx)
{
    struct dial *dial = ctx;
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};

    dial->status = getaddrinfo(dial->host, dial->port, &hints, &dial->list);
    dial->resolver_errno = dial->status == EAI_SYSTEM ? errno : 0;
}

static void looked_up(void *ctx)
{
    struct dial *dial = ctx;

    dial->is_resolved = true;
    dial->next = dial->list;
    op_mark(&dial->op);
}

static struct error *resolver_error(const struct dial *dial)
{
    /* A name that does not exist needs a person; a name server that does not answer needs time. */
    bool is_unknown = dial->status == EAI_NONAME;

    if (dial->status == EAI_SYSTEM) {
        return error_from_errno(dial->resolver_errno, ERROR_RETRY, "resolving host \"%s\"",
                                dial->host);
    }
    struct error *err =
        error_new(ERROR_SYSTEM, is_unknown ? ERROR_CONFIG : ERROR_RETRY,
                  "resolving host \"%s\": %s", dial->host, gai_strerror(dial->status));
    if (is_unknown) {
        error_set_hint(err, "Check the host name of the SSH endpoint.");
    }
    return err;
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

static struct error *begin_address(struct dial *dial, const struct addrinfo *address)
{
    int on = 1;

    dial->fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (dial->fd < 0) {
        return error_from_errno(errno, ERROR_RETRY, "opening a socket");
    }
    (void)setsockopt(dial->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connect(dial->fd, address->ai_addr, address->ai_addrlen) != 0 && errno != EINPROGRESS) {
        return error_from_errno(errno, ERROR_RETRY, "connecting");
    }
    RETURN_IF_ERROR(watch_new(&dial->op, dial->fd, &dial->watch));
    return watch_set(dial->watch, WATCH_WRITE);
}

/* Until one is under way or none is left. */
static void try_next(struct dial *dial)
{
    while (dial->next) {
        const struct addrinfo *address = dial->next;

        dial->next = address->ai_next;
        error_free(dial->err); /* the caller is told of the last one */
        dial->err = begin_address(dial, address);
        if (!dial->err) {
            if (dial->next) {
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
        } else if (dial->status != 0) {
            op_fail(op, resolver_error(dial));
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
    dial->err = NULL;
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
    work_start(loop, look_up, looked_up, dial);
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
    if (dial->list) {
        freeaddrinfo(dial->list);
    }
    mem_free(dial->host);
    mem_free(dial->port);
    mem_free(dial);
}
