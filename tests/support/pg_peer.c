/*
 * support/pg_peer: the server's side of a conversation, played. Comes in: a script and the client's
 * bytes; goes out: what the script says, and a list of what was heard. It never knows SQL.
 */

#include "support/pg_peer.h"

#include "support/tls_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SSL_REQUEST 80877103U
#define CANCEL_REQUEST 80877102U
#define KEPT_MAX 16
#define MESSAGE_MAX_BYTES ((size_t)1 << 24)

struct pg_peer {
    const char *const *script;
    size_t step_count;
    int listener, fd;     /* -1: none */
    int beside[KEPT_MAX]; /* connections that stay open */
    unsigned beside_count;
    char port[8];
    bool is_slow;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* under the lock */
    bool may_go, has_ended, must_end;
    size_t sent_bytes;
    int open_fd; /* fd, for pg_peer_free to shut down */
    char *heard;
    size_t heard_len;
};

static void *play(void *ctx);
static bool play_step(struct pg_peer *peer, const char *step);
static bool accept_client(struct pg_peer *peer);
static void hang_up(struct pg_peer *peer, bool in_order);

/* ---------------------------------------------------------------- doors */

struct pg_peer *pg_peer_new(const char *const *script, size_t step_count)
{
    struct pg_peer *peer = calloc(1, sizeof(*peer));
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);

    if (!peer) {
        abort();
    }
    peer->script = script;
    peer->step_count = step_count;
    peer->fd = peer->open_fd = -1;
    peer->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (peer->listener < 0 || bind(peer->listener, (struct sockaddr *)&address, len) != 0 ||
        listen(peer->listener, 8) != 0 ||
        getsockname(peer->listener, (struct sockaddr *)&address, &len) != 0) {
        abort();
    }
    (void)snprintf(peer->port, sizeof(peer->port), "%u", (unsigned)ntohs(address.sin_port));
    (void)pthread_mutex_init(&peer->lock, NULL);
    (void)pthread_cond_init(&peer->changed, NULL);
    if (pthread_create(&peer->thread, NULL, play, peer) != 0) {
        abort();
    }
    return peer;
}

void pg_peer_free(struct pg_peer *peer)
{
    (void)pthread_mutex_lock(&peer->lock);
    peer->must_end = true;
    (void)pthread_cond_broadcast(&peer->changed);
    (void)shutdown(peer->listener, SHUT_RDWR);
    if (peer->open_fd >= 0) {
        (void)shutdown(peer->open_fd, SHUT_RDWR);
    }
    (void)pthread_mutex_unlock(&peer->lock);
    (void)pthread_join(peer->thread, NULL);
    (void)close(peer->listener);
    for (unsigned i = 0; i < peer->beside_count; i++) {
        (void)close(peer->beside[i]);
    }
    (void)pthread_mutex_destroy(&peer->lock);
    (void)pthread_cond_destroy(&peer->changed);
    free(peer->heard);
    free(peer);
}

const char *pg_peer_port(const struct pg_peer *peer)
{
    return peer->port;
}

void pg_peer_go(struct pg_peer *peer)
{
    (void)pthread_mutex_lock(&peer->lock);
    peer->may_go = true;
    (void)pthread_cond_broadcast(&peer->changed);
    (void)pthread_mutex_unlock(&peer->lock);
}

void pg_peer_wait_end(struct pg_peer *peer)
{
    (void)pthread_mutex_lock(&peer->lock);
    while (!peer->has_ended) {
        (void)pthread_cond_wait(&peer->changed, &peer->lock);
    }
    (void)pthread_mutex_unlock(&peer->lock);
}

void pg_peer_wait_sent(struct pg_peer *peer, size_t bytes)
{
    (void)pthread_mutex_lock(&peer->lock);
    while (peer->sent_bytes < bytes && !peer->has_ended) {
        (void)pthread_cond_wait(&peer->changed, &peer->lock);
    }
    (void)pthread_mutex_unlock(&peer->lock);
}

const char *pg_peer_heard(const struct pg_peer *peer)
{
    return peer->heard ? peer->heard : "";
}

/* ---------------------------------------------------------------- bytes */

static void note(struct pg_peer *peer, const char *text, size_t len)
{
    (void)pthread_mutex_lock(&peer->lock);
    peer->heard = realloc(peer->heard, peer->heard_len + len + 2);
    if (!peer->heard) {
        abort();
    }
    memcpy(peer->heard + peer->heard_len, text, len);
    peer->heard_len += len;
    peer->heard[peer->heard_len++] = '\n';
    peer->heard[peer->heard_len] = '\0';
    (void)pthread_mutex_unlock(&peer->lock);
}

static bool send_bytes(struct pg_peer *peer, const void *bytes, size_t len)
{
    const char *at = bytes;

    while (len > 0) {
        ssize_t sent = send(peer->fd, at, peer->is_slow ? 1 : len, MSG_NOSIGNAL);
        if (sent <= 0) {
            return false;
        }
        at += sent;
        len -= (size_t)sent;
        (void)pthread_mutex_lock(&peer->lock);
        peer->sent_bytes += (size_t)sent;
        (void)pthread_cond_broadcast(&peer->changed);
        (void)pthread_mutex_unlock(&peer->lock);
    }
    return true;
}

static bool read_bytes(struct pg_peer *peer, void *bytes, size_t len)
{
    char *at = bytes;

    while (len > 0) {
        ssize_t got = recv(peer->fd, at, len, 0);
        if (got <= 0) {
            return false;
        }
        at += got;
        len -= (size_t)got;
    }
    return true;
}

static uint32_t get32(const char *at)
{
    const unsigned char *u = (const unsigned char *)at;

    return (uint32_t)u[0] << 24 | (uint32_t)u[1] << 16 | (uint32_t)u[2] << 8 | u[3];
}

static void put32(char *at, uint32_t value)
{
    at[0] = (char)(value >> 24);
    at[1] = (char)(value >> 16);
    at[2] = (char)(value >> 8);
    at[3] = (char)value;
}

/* ---------------------------------------------------------------- messages */

static bool send_message(struct pg_peer *peer, char type, const void *body, size_t len)
{
    char *whole = malloc(len + 5);

    if (!whole) {
        abort();
    }
    whole[0] = type;
    put32(whole + 1, (uint32_t)len + 4);
    if (len > 0) {
        memcpy(whole + 5, body, len);
    }
    bool is_sent = send_bytes(peer, whole, len + 5);
    free(whole);
    return is_sent;
}

static bool send_setting(struct pg_peer *peer, const char *name, const char *value)
{
    char body[128];
    int len = snprintf(body, sizeof(body), "%s%c%s", name, '\0', value);

    return send_message(peer, 'S', body, (size_t)len + 1);
}

static bool send_words(struct pg_peer *peer, char type, const char *severity, const char *rest)
{
    char body[8192], code[6] = "00000";

    if (type == 'E') {
        memcpy(code, rest, 5);
        rest += 6;
    }
    int len =
        snprintf(body, sizeof(body), "S%s%cC%s%cM%s%c", severity, '\0', code, '\0', rest, '\0');
    return send_message(peer, type, body, (size_t)len + 1); /* the last NUL ends the fields */
}

/* One text column named "c". */
static bool send_description(struct pg_peer *peer)
{
    static const char body[] = "\0\1c\0\0\0\0\0\0\0\0\0\0\31\377\377\377\377\377\377\0\0";

    return send_message(peer, 'T', body, 22);
}

static bool send_row(struct pg_peer *peer, const char *text)
{
    char body[1024];
    size_t len = strlen(text);

    body[0] = 0;
    body[1] = 1;
    put32(body + 2, (uint32_t)len);
    memcpy(body + 6, text, len);
    return send_message(peer, 'D', body, len + 6);
}

/* *ret_body is the caller's. */
static bool read_message(struct pg_peer *peer, char *ret_type, char **ret_body, size_t *ret_len)
{
    char head[5];

    if (!read_bytes(peer, head, 5)) {
        return false;
    }
    size_t len = get32(head + 1);
    if (len < 4 || len > MESSAGE_MAX_BYTES) {
        return false;
    }
    len -= 4;
    char *body = malloc(len + 1);
    if (!body) {
        abort();
    }
    if (!read_bytes(peer, body, len)) {
        free(body);
        return false;
    }
    body[len] = '\0';
    *ret_type = head[0];
    *ret_body = body;
    *ret_len = len;
    return true;
}

static bool expect(struct pg_peer *peer, char want)
{
    for (;;) {
        char type, *body, line[4096];
        size_t len;
        if (!read_message(peer, &type, &body, &len)) {
            return false;
        }
        const char *text = "";
        if (type == 'Q' || type == 'p') {
            text = body;
        } else if (type == 'P') {
            text = body + strlen(body) + 1; /* behind the statement's name */
        }
        int line_len = snprintf(line, sizeof(line), "%c%s%s", type, text[0] ? " " : "", text);
        note(peer, line, line_len < (int)sizeof(line) ? (size_t)line_len : sizeof(line) - 1);
        free(body);
        if (type == want) {
            return true;
        }
    }
}

static bool read_startup(struct pg_peer *peer)
{
    for (;;) {
        char head[8], body[4096];
        if (!read_bytes(peer, head, 8)) {
            return false;
        }
        size_t len = get32(head) - 8;
        uint32_t code = get32(head + 4);
        if (len >= sizeof(body) || !read_bytes(peer, body, len)) {
            return false;
        }
        if (code == SSL_REQUEST) {
            if (!send_bytes(peer, "N", 1)) {
                return false;
            }
            continue;
        }
        if (code == CANCEL_REQUEST) {
            note(peer, "cancel", 6);
            return true;
        }
        char line[8192] = "startup";
        size_t at = 7;
        body[len] = '\0';
        for (size_t i = 0; i < len && body[i];) {
            const char *name = body + i, *value = name + strlen(name) + 1;
            at += (size_t)snprintf(line + at, sizeof(line) - at, " %s=%s", name, value);
            i = (size_t)(value - body) + strlen(value) + 1;
        }
        note(peer, line, at);
        return true;
    }
}

/* The handshake's outcome is noted; afterwards there is nothing to be said on this connection. */
static bool offer_old_tls(struct pg_peer *peer)
{
    char request[8];
    SSL_CTX *context = tls_server_new(NULL, true);
    SSL *tls = SSL_new(context);

    (void)signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
    bool was_asked = read_bytes(peer, request, sizeof(request)) &&
                     get32(request + 4) == SSL_REQUEST && send_bytes(peer, "S", 1);
    if (was_asked && tls && SSL_set_fd(tls, peer->fd) == 1) {
        const char *line = SSL_accept(tls) == 1 ? "old tls accepted" : "old tls refused";
        note(peer, line, strlen(line));
    }
    SSL_free(tls);
    SSL_CTX_free(context);
    return was_asked;
}

/* ---------------------------------------------------------------- the script */

static void *play(void *ctx)
{
    struct pg_peer *peer = ctx;
    size_t step = 0;
    bool is_going = accept_client(peer);

    while (is_going && peer->script[step] && step < peer->step_count) {
        is_going = play_step(peer, peer->script[step++]);
    }
    if (peer->fd >= 0) {
        if (is_going && !peer->script[step]) {
            (void)expect(peer, '\0'); /* until the client hangs up */
        }
        hang_up(peer, !is_going || !peer->script[step]);
    }
    (void)pthread_mutex_lock(&peer->lock);
    peer->has_ended = true;
    (void)pthread_cond_broadcast(&peer->changed);
    (void)pthread_mutex_unlock(&peer->lock);
    return NULL;
}

static bool wait_for_go(struct pg_peer *peer)
{
    (void)pthread_mutex_lock(&peer->lock);
    while (!peer->may_go && !peer->must_end) {
        (void)pthread_cond_wait(&peer->changed, &peer->lock);
    }
    peer->may_go = false;
    bool may_go = !peer->must_end;
    (void)pthread_mutex_unlock(&peer->lock);
    return may_go;
}

static bool send_ready(struct pg_peer *peer, char status)
{
    return send_message(peer, 'Z', &status, 1);
}

static bool send_ok(struct pg_peer *peer)
{
    return send_message(peer, 'R', "\0\0\0\0", 4) &&
           send_setting(peer, "server_version", "8.0.2") &&
           send_setting(peer, "client_encoding", "UNICODE") &&
           send_setting(peer, "padb_version", "1.0.51304") &&
           send_message(peer, 'K', "\0\0\0\7\0\0\0\11", 8) && send_ready(peer, 'I');
}

static bool send_rows(struct pg_peer *peer, const char *rest)
{
    char *text;
    unsigned long count = strtoul(rest, &text, 10);

    text += *text == ' ';
    if (!send_message(peer, '1', "", 0) || !send_message(peer, '2', "", 0) ||
        !send_description(peer)) {
        return false;
    }
    for (unsigned long i = 0; i < count; i++) {
        if (!send_row(peer, text)) {
            return false;
        }
    }
    return true;
}

/* As many columns as the first row has cells. */
static bool describe_cells(struct pg_peer *peer, const char *rows)
{
    static const char column[] = "c\0\0\0\0\0\0\0\0\0\0\31\377\377\377\377\377\377\0";
    char body[512] = {0};
    size_t len = 2;

    do {
        if (len + sizeof(column) > sizeof(body)) {
            abort(); /* a test's own mistake */
        }
        memcpy(body + len, column, sizeof(column));
        len += sizeof(column);
        body[1]++;
        rows += strcspn(rows, "|;");
    } while (*rows++ == '|');
    return send_message(peer, 'T', body, len);
}

/* The row at text, up to ';' or the end. */
static bool send_cells(struct pg_peer *peer, const char *text)
{
    char body[1024] = {0};
    size_t len = 2;

    do {
        size_t cell = strcspn(text, "|;");
        if (len + 4 + cell > sizeof(body)) {
            abort();
        }
        put32(body + len, cell > 0 ? (uint32_t)cell : UINT32_MAX);
        memcpy(body + len + 4, text, cell);
        len += 4 + cell;
        body[1]++;
        text += cell;
    } while (*text++ == '|');
    return send_message(peer, 'D', body, len);
}

static bool send_all_cells(struct pg_peer *peer, const char *rows)
{
    bool is_sent = send_message(peer, '1', "", 0) && send_message(peer, '2', "", 0) &&
                   describe_cells(peer, rows);

    while (is_sent && *rows) {
        is_sent = send_cells(peer, rows);
        rows += strcspn(rows, ";");
        rows += *rows == ';';
    }
    return is_sent && send_message(peer, 'C', "SELECT", 7);
}

static bool take_cancel(struct pg_peer *peer)
{
    int first = peer->fd;

    peer->fd = accept(peer->listener, NULL, NULL);
    bool is_read = peer->fd >= 0 && read_startup(peer);
    if (peer->fd >= 0) {
        (void)close(peer->fd);
    }
    peer->fd = first;
    return is_read;
}

static bool play_step(struct pg_peer *peer, const char *step)
{
    size_t len = strcspn(step, " ");
    const char *rest = step + len + (step[len] == ' ');
#define STEP(name) (len == strlen(name) && strncmp(step, name, len) == 0)

    if (STEP("startup")) {
        return read_startup(peer);
    }
    if (STEP("oldtls")) {
        return offer_old_tls(peer);
    }
    if (STEP("ok")) {
        return send_ok(peer);
    }
    if (STEP("auth")) {
        char body[8] = {0};
        put32(body, (uint32_t)strtoul(rest, NULL, 10));
        memcpy(body + 4, "salt", 4);
        return send_message(peer, 'R', body, strcmp(rest, "5") == 0 ? 8 : 4);
    }
    if (STEP("password")) {
        return expect(peer, 'p');
    }
    if (STEP("expect")) {
        return expect(peer, rest[0]);
    }
    if (STEP("done")) {
        return send_message(peer, '1', "", 0) && send_message(peer, '2', "", 0) &&
               send_message(peer, 'n', "", 0) && send_message(peer, 'C', rest, strlen(rest) + 1);
    }
    if (STEP("rows")) {
        return send_rows(peer, rest);
    }
    if (STEP("row")) {
        return send_row(peer, rest);
    }
    if (STEP("cells")) {
        return send_all_cells(peer, rest);
    }
    if (STEP("desc")) {
        return send_description(peer);
    }
    if (STEP("tag")) {
        return send_message(peer, 'C', rest, strlen(rest) + 1);
    }
    if (STEP("error")) {
        return send_words(peer, 'E', "ERROR", rest);
    }
    if (STEP("fatal")) {
        return send_words(peer, 'E', "FATAL", rest);
    }
    if (STEP("notice")) {
        return send_words(peer, 'N', "INFO", rest);
    }
    if (STEP("ready")) {
        return send_ready(peer, rest[0]);
    }
    if (STEP("garbage")) {
        return send_bytes(peer, "\377\377\377\377\377HTTP/1.1 400 Bad Request\r\n\r\n", 33);
    }
    if (STEP("wait")) {
        return wait_for_go(peer);
    }
    if (STEP("slow")) {
        peer->is_slow = true;
        return true;
    }
    if (STEP("cancel")) {
        return take_cancel(peer);
    }
    if (STEP("silence")) {
        (void)expect(peer, '\0');
        return false;
    }
    if (STEP("close") || STEP("reset")) {
        hang_up(peer, STEP("close"));
        return true;
    }
    if (STEP("beside") && peer->beside_count < KEPT_MAX) {
        peer->beside[peer->beside_count++] = peer->fd;
        return accept_client(peer);
    }
    if (STEP("again")) {
        return accept_client(peer);
    }
    (void)fprintf(stderr, "no such step: %s\n", step);
    abort();
#undef STEP
}

static bool accept_client(struct pg_peer *peer)
{
    int one = 1;

    peer->fd = accept(peer->listener, NULL, NULL);
    if (peer->fd >= 0) {
        /* Many small messages: waiting for acknowledgements would take 40 ms each. */
        (void)setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    }
    (void)pthread_mutex_lock(&peer->lock);
    peer->open_fd = peer->fd;
    bool may_go = !peer->must_end;
    (void)pthread_mutex_unlock(&peer->lock);
    return peer->fd >= 0 && may_go;
}

static void hang_up(struct pg_peer *peer, bool in_order)
{
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};

    if (peer->fd < 0) {
        return;
    }
    (void)pthread_mutex_lock(&peer->lock);
    peer->open_fd = -1;
    (void)pthread_mutex_unlock(&peer->lock);
    if (!in_order) {
        (void)setsockopt(peer->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    }
    (void)close(peer->fd);
    peer->fd = -1;
}
