/*
 * Room http: libcurl's multi handle on our loop. Exchanges come in from exchange.c and wait here
 * for a place; readable and writable sockets and the passing of time go to libcurl; ended transfers
 * go back to their exchanges. Knows nothing of what is said in an exchange.
 *
 * libcurl reports through two callbacks which sockets it wants watched and when it wants to be
 * called again. They may come from inside any call of the multi handle and must not call it
 * themselves (libcurl-multi(3)), so they only arrange watches and the timer. All calls of the multi
 * handle are made by step functions:
 *
 *      watch or timer fires --mark--> client_step --> curl_multi_socket_action
 *                                        |               |-> socket_changed: watch_new, _set,
 * _close |               '-> timeout_changed: timer_start, _stop
 *                                        '--> ended transfers --mark--> exchange_step --> done
 *
 * One operation lives as long as the client and owns the watches and the timer.
 */

#include "exchange.h"

#include "runtime/watch.h"

#define IDLE_HANDLES 16

#define HTTP_CLIENT_STATES(X) X(SERVING)
#define CLIENT_STATE_ENUM(name) HTTP_CLIENT_##name,
enum http_client_state { HTTP_CLIENT_STATES(CLIENT_STATE_ENUM) HTTP_CLIENT_STATE_COUNT };

/* A descriptor that libcurl wants watched: a connection, or its resolver's wake-up pair. */
struct socket {
    struct list_node node; /* in client->sockets */
    struct watch *watch;   /* NULL when it could not be made */
    curl_socket_t fd;
};

struct http_client {
    struct op op;
    CURLM *multi;
    struct timer *timer;
    struct list sockets;
    struct list queued;  /* exchanges in the order they came */
    struct list running; /* exchanges whose easy handle is in the multi handle */
    CURL *idle[IDLE_HANDLES];
    unsigned idle_count;
    unsigned max_host_connections;
    char *ca_file;
    struct error *watch_err; /* fact: a socket could not be watched */
    bool closing;
    http_closed_fn *closed;
    void *closed_ctx;
};

static op_step_fn client_step;
static const char *const client_state_names[] = {HTTP_CLIENT_STATES(OP_STATE_NAME)};
static const uint32_t client_moves[HTTP_CLIENT_STATE_COUNT] = {0};
static const struct op_kind client_kind = {"http client", client_state_names,
                                           HTTP_CLIENT_STATE_COUNT, client_moves, client_step};

/* ---------------------------------------------------------------- callbacks: facts only */

static void forget_socket(struct socket *socket)
{
    if (socket->watch) {
        watch_close(&socket->watch);
    }
    list_remove(&socket->node);
    mem_free(socket);
}

static struct socket *remember_socket(struct http_client *client, curl_socket_t fd)
{
    struct socket *socket = mem_alloc(sizeof(*socket));

    socket->fd = fd;
    list_push(&client->sockets, &socket->node);
    client->watch_err = error_join(client->watch_err, watch_new(&client->op, fd, &socket->watch));
    return socket;
}

/* The last argument is the pointer that curl_multi_assign tied to the descriptor; assigning is the
 * one call of the multi handle that is allowed here. */
static int
socket_changed(CURL *easy, curl_socket_t fd, int what, void *client_ptr, void *socket_ptr)
{
    struct http_client *client = client_ptr;
    struct socket *socket = socket_ptr;
    int events = 0;

    (void)easy; /* may be one of libcurl's own */
    if (what == CURL_POLL_REMOVE) {
        if (socket) {
            forget_socket(socket);
        }
        return 0;
    }
    if (!socket) {
        socket = remember_socket(client, fd);
        (void)curl_multi_assign(client->multi, fd, socket);
    }
    events |= what & CURL_POLL_IN ? WATCH_READ : 0;
    events |= what & CURL_POLL_OUT ? WATCH_WRITE : 0;
    if (socket->watch) {
        client->watch_err = error_join(client->watch_err, watch_set(socket->watch, events));
    }
    if (client->watch_err) {
        op_mark(&client->op);
    }
    return 0;
}

static int timeout_changed(CURLM *multi, long timeout_ms, void *client_ptr)
{
    struct http_client *client = client_ptr;

    (void)multi;
    if (timeout_ms < 0) {
        timer_stop(client->timer);
    } else {
        timer_start(client->timer, (uint64_t)timeout_ms);
    }
    return 0;
}

/* ---------------------------------------------------------------- life */

static void client_done(void *ctx, struct error *err)
{
    struct http_client *client = ctx;
    http_closed_fn *closed = client->closed;
    void *closed_ctx = client->closed_ctx;

    error_drop(err, "the client ends only when it was asked to, after its last exchange");
    mem_free(client->ca_file);
    mem_free(client);
    closed(closed_ctx);
}

struct http_client *http_client_new(struct loop *loop, const struct http_client_options *options)
{
    struct http_client *client = mem_alloc(sizeof(*client));

    CHECK(options->max_host_connections > 0);
    CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
    client->max_host_connections = options->max_host_connections;
    client->ca_file = options->ca_file ? mem_strdup(options->ca_file) : NULL;
    list_init(&client->sockets);
    list_init(&client->queued);
    list_init(&client->running);
    op_init(&client->op, loop, &client_kind, client_done, client);
    client->timer = timer_new(&client->op);

    client->multi = curl_multi_init();
    CHECK(client->multi);
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, socket_changed);
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, timeout_changed);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    return client;
}

void http_client_close(struct http_client *client, http_closed_fn *closed, void *ctx)
{
    CHECK(list_is_empty(&client->queued) && list_is_empty(&client->running));
    CHECK(!client->closing);
    client->closing = true;
    client->closed = closed;
    client->closed_ctx = ctx;
    op_mark(&client->op);
}

struct loop *http_client_loop(struct http_client *client)
{
    return client->op.loop;
}

/* ---------------------------------------------------------------- exchanges in and out */

void http_client_queue(struct http_client *client, struct http_exchange *exchange)
{
    CHECK(!client->closing);
    list_push(&client->queued, &exchange->node);
    op_mark(&client->op);
}

static CURL *take_handle(struct http_client *client)
{
    CURL *easy = client->idle_count > 0 ? client->idle[--client->idle_count] : curl_easy_init();

    CHECK(easy);
    return easy;
}

/* Connections stay with the multi handle; the easy handle forgets everything about the exchange. */
static void give_handle(struct http_client *client, CURL *easy)
{
    if (client->idle_count < IDLE_HANDLES) {
        curl_easy_reset(easy);
        client->idle[client->idle_count++] = easy;
    } else {
        curl_easy_cleanup(easy);
    }
}

void http_client_drop(struct http_client *client, struct http_exchange *exchange)
{
    list_remove(&exchange->node);
    if (exchange->easy) {
        (void)curl_multi_remove_handle(client->multi, exchange->easy);
        give_handle(client, exchange->easy);
        exchange->easy = NULL;
    }
    op_mark(&client->op); /* its place is free */
}

static void
end_exchange(struct http_client *client, struct http_exchange *exchange, CURLcode result)
{
    http_exchange_end(exchange, result);
    http_client_drop(client, exchange);
}

static bool has_place(const struct http_client *client, const struct http_exchange *exchange)
{
    unsigned count = 0;

    LIST_FOR_EACH(node, &client->running)
    {
        const struct http_exchange *other = CONTAINER_OF(node, struct http_exchange, node);
        if (strcmp(other->peer, exchange->peer) == 0) {
            count++;
        }
    }
    return count < client->max_host_connections;
}

/* libcurl has a queue of its own (CURLMOPT_MAX_HOST_CONNECTIONS), but there the connect timeout
 * runs while an exchange merely waits for its turn. */
static void run_queued(struct http_client *client)
{
    LIST_FOR_EACH(node, &client->queued)
    {
        struct http_exchange *exchange = CONTAINER_OF(node, struct http_exchange, node);

        if (op_must_stop(&exchange->op) || !exchange->peer || !has_place(client, exchange)) {
            continue;
        }
        list_remove(&exchange->node);
        list_push(&client->running, &exchange->node);
        exchange->easy = take_handle(client);
        http_exchange_prepare(exchange, exchange->easy, client->ca_file);
        op_set_state(&exchange->op, HTTP_EXCHANGE_RUNNING);
        if (curl_multi_add_handle(client->multi, exchange->easy) != CURLM_OK) {
            end_exchange(client, exchange, CURLE_FAILED_INIT);
        }
    }
}

/* ---------------------------------------------------------------- the step */

static void fail_all(struct http_client *client, CURLcode result)
{
    LIST_FOR_EACH(node, &client->running)
    {
        end_exchange(client, CONTAINER_OF(node, struct http_exchange, node), result);
    }
}

/* The result is the multi handle's own trouble: all its transfers are lost then. */
static void act(struct http_client *client, curl_socket_t fd, int bits)
{
    int still_running;

    if (curl_multi_socket_action(client->multi, fd, bits, &still_running) != CURLM_OK) {
        fail_all(client, CURLE_FAILED_INIT);
    }
}

/* One socket with news, or NULL. Asked anew after each action, which may end any socket. */
static struct socket *next_ready_socket(struct http_client *client, int *ret_bits)
{
    LIST_FOR_EACH(node, &client->sockets)
    {
        struct socket *socket = CONTAINER_OF(node, struct socket, node);
        int events = socket->watch ? watch_take(socket->watch) : 0;

        if (events != 0) {
            *ret_bits = (events & WATCH_READ ? CURL_CSELECT_IN : 0) |
                        (events & WATCH_WRITE ? CURL_CSELECT_OUT : 0);
            return socket;
        }
    }
    return NULL;
}

static void pass_events(struct http_client *client)
{
    struct socket *socket;
    int bits = 0;

    while ((socket = next_ready_socket(client, &bits))) {
        act(client, socket->fd, bits);
    }
    if (timer_has_expired(client->timer)) {
        timer_stop(client->timer);
        act(client, CURL_SOCKET_TIMEOUT, 0);
    }
}

static void collect_ended(struct http_client *client)
{
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(client->multi, &left))) {
        if (message->msg == CURLMSG_DONE) {
            char *exchange = NULL;
            CURLcode result = message->data.result; /* the message dies with the next call */

            CHECK(curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &exchange) == CURLE_OK);
            end_exchange(client, (struct http_exchange *)(void *)exchange, result);
        }
    }
}

/* Ending the multi handle closes its connections, and with them the last watches. */
static void end_client(struct http_client *client)
{
    while (client->idle_count > 0) {
        curl_easy_cleanup(client->idle[--client->idle_count]);
    }
    CHECK(curl_multi_cleanup(client->multi) == CURLM_OK);
    LIST_FOR_EACH(node, &client->sockets)
    {
        forget_socket(CONTAINER_OF(node, struct socket, node));
    }
    curl_global_cleanup();
    op_finish(&client->op);
}

static void client_step(struct op *op)
{
    struct http_client *client = CONTAINER_OF(op, struct http_client, op);

    pass_events(client);
    collect_ended(client);
    if (client->watch_err) {
        error_drop(client->watch_err, "every running exchange fails and is tried again");
        client->watch_err = NULL;
        fail_all(client, CURLE_COULDNT_CONNECT);
    }
    run_queued(client);
    if (client->closing) {
        end_client(client);
    }
}
