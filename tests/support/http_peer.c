/* Tests: a scripted HTTP server. See http_peer.h. */

#include "http_peer.h"

#include "tls_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_CONNECTIONS 256
#define MAX_REQUESTS 4096
#define MAX_RULES 64
#define MAX_HEAD 16384

struct connection {
    struct http_peer *peer;
    pthread_t thread;
    int fd;
    SSL *tls; /* NULL: plain */
};

struct http_peer {
    const struct http_rule *rules;
    unsigned rule_count;
    int listener;
    unsigned port;
    pthread_t acceptor;
    SSL_CTX *tls; /* NULL: plain */
    char certificate[64];
    pthread_mutex_t lock; /* over what follows */
    bool stopping;
    unsigned uses[MAX_RULES];
    unsigned skipped[MAX_RULES];
    struct connection connections[MAX_CONNECTIONS];
    unsigned connection_count;
    struct http_peer_request *requests[MAX_REQUESTS];
    unsigned request_count;
};

static void must(bool ok, const char *what)
{
    if (!ok) {
        perror(what);
        abort();
    }
}

/* ---------------------------------------------------------------- one request */

static ssize_t receive(struct connection *connection, char *bytes, size_t room)
{
    return connection->tls ? SSL_read(connection->tls, bytes, (int)room)
                           : recv(connection->fd, bytes, room, 0);
}

static void send_all(struct connection *connection, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t sent = connection->tls ? SSL_write(connection->tls, bytes, (int)len)
                                       : send(connection->fd, bytes, len, MSG_NOSIGNAL);

        if (sent <= 0) {
            return; /* the other side hung up, which is its affair */
        }
        bytes += sent;
        len -= (size_t)sent;
    }
}

/* Reads up to the blank line; returns the length of the head, 0 at the end of the connection. What
 * came behind it is *ret_more bytes of the body. */
static size_t read_head(struct connection *connection, char head[MAX_HEAD], size_t *ret_more)
{
    size_t len = 0;

    for (;;) {
        char *end;
        ssize_t got;

        head[len] = '\0';
        end = strstr(head, "\r\n\r\n");
        if (end) {
            size_t head_len = (size_t)(end - head) + 4;

            *ret_more = len - head_len;
            return head_len;
        }
        got = receive(connection, head + len, MAX_HEAD - 1 - len);
        if (got <= 0) {
            return 0;
        }
        len += (size_t)got;
    }
}

static size_t content_length(const char *head)
{
    const char *line = strcasestr(head, "\r\nContent-Length:");

    return line ? (size_t)strtoull(line + 17, NULL, 10) : 0;
}

static void note_body(struct http_peer_request *request, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (request->body_bytes + i < sizeof(request->body) - 1) {
            request->body[request->body_bytes + i] = bytes[i];
        }
        request->body_sum += (unsigned char)bytes[i];
    }
    request->body_bytes += len;
}

/* False when the connection ended first. */
static bool read_body(struct connection *connection, struct http_peer_request *request, size_t want)
{
    static const size_t room = 65536;
    char *bytes = malloc(room);
    bool whole = true;

    must(bytes != NULL, "malloc");
    while (request->body_bytes < want) {
        size_t left = want - request->body_bytes;
        ssize_t got = receive(connection, bytes, left < room ? left : room);

        if (got <= 0) {
            whole = false;
            break;
        }
        note_body(request, bytes, (size_t)got);
    }
    free(bytes);
    return whole;
}

static const struct http_rule *choose(struct http_peer *peer,
                                      const struct http_peer_request *request)
{
    static const struct http_rule none = {.status = 501, .body = "no rule fits"};

    for (unsigned i = 0; i < peer->rule_count; i++) {
        const struct http_rule *rule = &peer->rules[i];

        if ((rule->method && strcmp(rule->method, request->method) != 0) ||
            (rule->target && !strstr(request->target, rule->target)) ||
            (rule->times > 0 && peer->uses[i] == rule->times)) {
            continue;
        }
        if (peer->skipped[i] < rule->skip) {
            peer->skipped[i]++;
            continue;
        }
        peer->uses[i]++;
        return rule;
    }
    return &none;
}

static void reset(int fd)
{
    struct linger hard = {.l_onoff = 1, .l_linger = 0};

    must(setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)) == 0, "setsockopt");
}

static bool answer(struct connection *connection,
                   const struct http_rule *rule,
                   const struct http_peer_request *request)
{
    const char *body = rule->body ? rule->body : "";
    bool has_length = rule->headers && strcasestr(rule->headers, "Content-Length:");
    size_t room = strlen(body) + (rule->headers ? strlen(rule->headers) : 0) + 256;
    char *text = malloc(room);
    int len;
    size_t send_len;

    must(text != NULL, "malloc");
    len = snprintf(text, room, "HTTP/1.1 %u Scripted\r\n%s", rule->status ? rule->status : 200,
                   rule->headers ? rule->headers : "");
    if (!has_length) {
        len += snprintf(text + len, room - (size_t)len, "Content-Length: %zu\r\n", strlen(body));
    }
    len += snprintf(text + len, room - (size_t)len, "\r\n%s",
                    strcmp(request->method, "HEAD") == 0 ? "" : body);
    send_len = (size_t)len;
    if (rule->way == HTTP_PEER_CUT && rule->after_bytes < send_len) {
        send_len = rule->after_bytes;
    }
    send_all(connection, text, send_len);
    free(text);
    return rule->way == HTTP_PEER_ANSWER;
}

/* Takes what one side has for the other; false at its end. */
static bool pass(int from, int to, size_t *ret_len)
{
    char bytes[16384];
    ssize_t got = recv(from, bytes, sizeof(bytes), 0);

    *ret_len = got > 0 ? (size_t)got : 0;
    return got > 0 && send(to, bytes, (size_t)got, MSG_NOSIGNAL) == got;
}

static void relay(int client, int server, size_t limit)
{
    struct pollfd fds[2] = {{.fd = client, .events = POLLIN}, {.fd = server, .events = POLLIN}};
    size_t came_back = 0, len = 0;

    while (poll(fds, 2, -1) > 0) {
        if (fds[0].revents != 0 && !pass(client, server, &len)) {
            return;
        }
        if (fds[1].revents != 0) {
            if (!pass(server, client, &len)) {
                return;
            }
            came_back += len;
            if (limit > 0 && came_back >= limit) {
                return;
            }
        }
    }
}

static void run_tunnel(struct connection *connection,
                       const struct http_rule *rule,
                       const struct http_peer_request *request)
{
    static const char ready[] = "HTTP/1.1 200 Connection established\r\n\r\n";
    const char *colon = strrchr(request->target, ':');
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)},
                                  .sin_port =
                                      htons((uint16_t)(colon ? strtoul(colon + 1, NULL, 10) : 0))};
    int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    must(server >= 0, "socket");
    must(connect(server, (struct sockaddr *)&address, sizeof(address)) == 0, "connect");
    send_all(connection, ready, sizeof(ready) - 1);
    relay(connection->fd, server, rule->after_bytes);
    close(server);
}

/* One request and its answer; false when the connection is to be closed. */
static bool serve(struct http_peer *peer, struct connection *connection)
{
    char head[MAX_HEAD];
    size_t more = 0;
    size_t head_len = read_head(connection, head, &more);
    struct http_peer_request *request;
    const struct http_rule *rule;
    size_t want, limit;
    char byte;

    if (head_len == 0) {
        return false;
    }
    request = calloc(1, sizeof(*request));
    must(request != NULL, "calloc");
    must(sscanf(head, "%15s %4095s", request->method, request->target) == 2, "request line");
    snprintf(request->headers, sizeof(request->headers), "%.*s", (int)head_len, head);
    want = content_length(request->headers);
    note_body(request, head + head_len, more);

    pthread_mutex_lock(&peer->lock);
    rule = request->rule = choose(peer, request);
    must(peer->request_count < MAX_REQUESTS, "too many requests for the peer");
    pthread_mutex_unlock(&peer->lock);

    limit = rule->way == HTTP_PEER_RESET && rule->after_bytes < want ? rule->after_bytes : want;
    (void)read_body(connection, request, limit);
    pthread_mutex_lock(&peer->lock);
    peer->requests[peer->request_count++] = request;
    pthread_mutex_unlock(&peer->lock);

    switch (rule->way) {
    case HTTP_PEER_RESET:
        reset(connection->fd);
        return false;
    case HTTP_PEER_SILENCE:
        (void)!receive(connection, &byte, 1);
        return false;
    case HTTP_PEER_TUNNEL:
        run_tunnel(connection, rule, request);
        return false;
    case HTTP_PEER_ANSWER:
    case HTTP_PEER_CUT:
    case HTTP_PEER_ANSWER_END:
        break;
    }
    return answer(connection, rule, request);
}

/* ---------------------------------------------------------------- threads */

static void *run_connection(void *ctx)
{
    struct connection *connection = ctx;
    struct http_peer *peer = connection->peer;

    if (!connection->tls || SSL_accept(connection->tls) == 1) {
        while (serve(peer, connection)) {
        }
    }
    if (connection->tls) {
        (void)SSL_shutdown(connection->tls);
        SSL_free(connection->tls);
    }
    pthread_mutex_lock(&peer->lock);
    close(connection->fd);
    connection->fd = -1;
    pthread_mutex_unlock(&peer->lock);
    return NULL;
}

static void *run_acceptor(void *ctx)
{
    struct http_peer *peer = ctx;

    for (;;) {
        int fd = accept(peer->listener, NULL, NULL);
        struct connection *connection;

        if (fd < 0) {
            return NULL; /* shut down by http_peer_stop */
        }
        pthread_mutex_lock(&peer->lock);
        must(peer->connection_count < MAX_CONNECTIONS, "too many connections for the peer");
        connection = &peer->connections[peer->connection_count++];
        connection->peer = peer;
        connection->fd = fd;
        if (peer->tls) {
            connection->tls = SSL_new(peer->tls);
            must(connection->tls && SSL_set_fd(connection->tls, fd) == 1, "SSL_new");
        }
        must(pthread_create(&connection->thread, NULL, run_connection, connection) == 0,
             "pthread_create");
        pthread_mutex_unlock(&peer->lock);
    }
}

static void make_tls(struct http_peer *peer, bool is_old)
{
    snprintf(peer->certificate, sizeof(peer->certificate), "/tmp/http-peer-XXXXXX");
    int fd = mkstemp(peer->certificate);
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;

    must(file != NULL, "certificate");
    peer->tls = tls_server_new(file, is_old);
    must(fclose(file) == 0, "certificate");
}

enum peer_tls { PLAIN, TLS, OLD_TLS };

static struct http_peer *
start_peer(const struct http_rule *rules, unsigned rule_count, enum peer_tls tls)
{
    struct http_peer *peer = calloc(1, sizeof(*peer));
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(address);

    must(peer != NULL, "calloc");
    must(rule_count <= MAX_RULES, "too many rules for the peer");
    peer->rules = rules;
    peer->rule_count = rule_count;
    pthread_mutex_init(&peer->lock, NULL);
    if (tls != PLAIN) {
        signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
        make_tls(peer, tls == OLD_TLS);
    }
    peer->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(peer->listener >= 0, "socket");
    must(bind(peer->listener, (struct sockaddr *)&address, sizeof(address)) == 0, "bind");
    must(listen(peer->listener, 64) == 0, "listen");
    must(getsockname(peer->listener, (struct sockaddr *)&address, &len) == 0, "getsockname");
    peer->port = ntohs(address.sin_port);
    must(pthread_create(&peer->acceptor, NULL, run_acceptor, peer) == 0, "pthread_create");
    return peer;
}

struct http_peer *http_peer_start(const struct http_rule *rules, unsigned rule_count)
{
    return start_peer(rules, rule_count, PLAIN);
}

struct http_peer *http_peer_start_tls(const struct http_rule *rules, unsigned rule_count)
{
    return start_peer(rules, rule_count, TLS);
}

struct http_peer *http_peer_start_old_tls(const struct http_rule *rules, unsigned rule_count)
{
    return start_peer(rules, rule_count, OLD_TLS);
}

const char *http_peer_certificate(const struct http_peer *peer)
{
    return peer->certificate;
}

void http_peer_stop(struct http_peer *peer)
{
    shutdown(peer->listener, SHUT_RDWR);
    pthread_join(peer->acceptor, NULL);
    close(peer->listener);
    pthread_mutex_lock(&peer->lock);
    for (unsigned i = 0; i < peer->connection_count; i++) {
        if (peer->connections[i].fd >= 0) {
            shutdown(peer->connections[i].fd, SHUT_RDWR);
        }
    }
    pthread_mutex_unlock(&peer->lock);
    for (unsigned i = 0; i < peer->connection_count; i++) {
        pthread_join(peer->connections[i].thread, NULL);
    }
    for (unsigned i = 0; i < peer->request_count; i++) {
        free(peer->requests[i]);
    }
    if (peer->tls) {
        SSL_CTX_free(peer->tls);
        unlink(peer->certificate);
    }
    pthread_mutex_destroy(&peer->lock);
    free(peer);
}

/* ---------------------------------------------------------------- what it saw */

unsigned http_peer_port(const struct http_peer *peer)
{
    return peer->port;
}

static bool fits(const struct http_peer_request *request, const char *method, const char *target)
{
    return (!method || strcmp(request->method, method) == 0) &&
           (!target || strstr(request->target, target));
}

unsigned http_peer_count(struct http_peer *peer, const char *method, const char *target)
{
    unsigned count = 0;

    pthread_mutex_lock(&peer->lock);
    for (unsigned i = 0; i < peer->request_count; i++) {
        count += fits(peer->requests[i], method, target);
    }
    pthread_mutex_unlock(&peer->lock);
    return count;
}

bool http_peer_request(struct http_peer *peer,
                       const char *method,
                       const char *target,
                       unsigned index,
                       struct http_peer_request *ret)
{
    bool found = false;

    pthread_mutex_lock(&peer->lock);
    for (unsigned i = 0; i < peer->request_count && !found; i++) {
        if (fits(peer->requests[i], method, target) && index-- == 0) {
            *ret = *peer->requests[i];
            found = true;
        }
    }
    pthread_mutex_unlock(&peer->lock);
    return found;
}

unsigned http_peer_connections(struct http_peer *peer)
{
    unsigned count;

    pthread_mutex_lock(&peer->lock);
    count = peer->connection_count;
    pthread_mutex_unlock(&peer->lock);
    return count;
}

unsigned http_peer_rule_uses(struct http_peer *peer, unsigned index)
{
    unsigned uses;

    pthread_mutex_lock(&peer->lock);
    uses = peer->uses[index];
    pthread_mutex_unlock(&peer->lock);
    return uses;
}
