/*
 * The sandbox's only way to its PostgreSQL. In come SQL text and protocol messages from the
 * session (and from COPY), out go results and messages. It knows nothing of Redshift.
 */
#include "sandbox/backend.h"

#include "sandbox/copy_bytes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    PROTOCOL_3 = 196608,
    CANCEL_REQUEST = 80877102,
    READ_SIZE = 64 * 1024,
    SEND_HIGH_WATER = 256 * 1024,
    MESSAGE_MAX = 1 << 30, /* PostgreSQL's own bound for a message */
};

struct backend {
    int fd;
    char status;
    int32_t pid, secret;
    struct bytes out;
    struct bytes in; /* received; [taken, len) is not yet handed out */
    size_t taken;
    bool lost;
};

/* ------------------------------------------------------------------------------- bytes */

static void put_int32(unsigned char *to, uint32_t value)
{
    uint32_t big = htonl(value);
    memcpy(to, &big, 4);
}

static uint32_t get_int32(const unsigned char *from)
{
    uint32_t big;
    memcpy(&big, from, 4);
    return ntohl(big);
}

static int write_all(int fd, const char *at, size_t size)
{
    while (size > 0) {
        ssize_t n = send(fd, at, size, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return -1;
        }
        at += n;
        size -= (size_t)n;
    }
    return 0;
}

/* Makes `size` bytes available behind `taken`. */
static int fill(struct backend *backend, size_t size)
{
    if (backend->taken > 0 && backend->in.len - backend->taken < size) {
        memmove(backend->in.at, backend->in.at + backend->taken, backend->in.len - backend->taken);
        backend->in.len -= backend->taken;
        backend->taken = 0;
    }
    while (backend->in.len - backend->taken < size) {
        char *room = bytes_reserve(&backend->in, READ_SIZE);
        ssize_t n = recv(backend->fd, room, READ_SIZE, 0);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            backend->lost = true;
            return -1;
        }
        backend->in.len += (size_t)n;
    }
    return 0;
}

/* ------------------------------------------------------------------------------- messages */

int backend_flush(struct backend *backend)
{
    if (backend->lost) {
        return -1;
    }
    if (backend->out.len > 0 && write_all(backend->fd, backend->out.at, backend->out.len) != 0) {
        backend->lost = true;
        return -1;
    }
    backend->out.len = 0;
    return 0;
}

int backend_send(struct backend *backend, char type, const void *body, size_t size)
{
    unsigned char head[5];

    if (backend->lost || size > MESSAGE_MAX - 4) {
        return -1;
    }
    head[0] = (unsigned char)type;
    put_int32(head + 1, (uint32_t)size + 4);
    bytes_put(&backend->out, head, sizeof head);
    if (size > 0) {
        bytes_put(&backend->out, body, size);
    }
    return backend->out.len > SEND_HIGH_WATER ? backend_flush(backend) : 0;
}

int backend_read(struct backend *backend, struct backend_message *ret)
{
    if (backend_flush(backend) != 0 || fill(backend, 5) != 0) {
        return -1;
    }
    uint32_t length = get_int32((const unsigned char *)backend->in.at + backend->taken + 1);
    if (length < 4 || length > MESSAGE_MAX) {
        backend->lost = true;
        return -1;
    }
    if (fill(backend, (size_t)length + 1) != 0) {
        return -1;
    }
    /* The zero byte lets texts at the very end of a broken message end somewhere. */
    bytes_text(&backend->in);
    const unsigned char *at = (const unsigned char *)backend->in.at + backend->taken;
    ret->type = (char)at[0];
    ret->body = at + 5;
    ret->size = length - 4;
    backend->taken += (size_t)length + 1;
    if (ret->type == 'Z' && ret->size > 0) {
        backend->status = (char)ret->body[0];
    }
    return 0;
}

const char *backend_error_field(const struct backend_message *message, char field)
{
    size_t at = 0;

    while (at < message->size && message->body[at] != 0) {
        const char *value = (const char *)message->body + at + 1;
        if ((char)message->body[at] == field) {
            return value;
        }
        at += 2 + strnlen(value, message->size - at - 1);
    }
    return NULL;
}

/* ------------------------------------------------------------------------------- opening */

static void fail_result(struct backend_result *ret, const char *sqlstate, const char *message)
{
    ret->ok = false;
    text_format(ret->sqlstate, sizeof ret->sqlstate, "%s", sqlstate);
    text_format(ret->message, sizeof ret->message, "%s", message);
    ret->detail[0] = '\0';
}

static int connect_folder(const char *folder, int port)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    text_format(address.sun_path, sizeof address.sun_path, "%s/.s.PGSQL.%d", folder, port);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        (void)close(fd);
        fd = -1;
    }
    return fd;
}

static int connect_host(const char *host, int port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    char service[16];
    int fd = -1;

    text_format(service, sizeof service, "%d", port);
    if (getaddrinfo(host, service, &hints, &found) != 0) {
        return -1;
    }
    for (struct addrinfo *one = found; one != NULL && fd < 0; one = one->ai_next) {
        fd = socket(one->ai_family, one->ai_socktype | SOCK_CLOEXEC, one->ai_protocol);
        if (fd >= 0 && connect(fd, one->ai_addr, one->ai_addrlen) != 0) {
            (void)close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(found);
    if (fd >= 0) {
        int on = 1;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    return fd;
}

static int connect_server(const struct backend_options *options)
{
    return options->host[0] == '/' ? connect_folder(options->host, options->port)
                                   : connect_host(options->host, options->port);
}

static void put_parameter(struct bytes *out, const char *name, const char *value)
{
    bytes_put(out, name, strlen(name) + 1);
    bytes_put(out, value, strlen(value) + 1);
}

static int send_startup(struct backend *backend, const struct backend_options *options)
{
    struct bytes packet = {0};
    unsigned char head[8] = {0};

    bytes_put(&packet, head, sizeof head);
    put_parameter(&packet, "user", options->user);
    put_parameter(&packet, "database", options->database);
    for (const char *const *p = options->parameters; p != NULL && p[0] != NULL; p += 2) {
        put_parameter(&packet, p[0], p[1]);
    }
    bytes_put_char(&packet, '\0');
    put_int32((unsigned char *)packet.at, (uint32_t)packet.len);
    put_int32((unsigned char *)packet.at + 4, PROTOCOL_3);
    int rc = write_all(backend->fd, packet.at, packet.len);
    bytes_done(&packet);
    return rc;
}

static void take_error(const struct backend_message *message, struct backend_result *ret)
{
    const char *code = backend_error_field(message, 'C');
    const char *text = backend_error_field(message, 'M');
    const char *detail = backend_error_field(message, 'D');

    fail_result(ret, code != NULL ? code : "XX000", text != NULL ? text : "");
    text_format(ret->detail, sizeof ret->detail, "%s", detail != NULL ? detail : "");
}

static int wait_until_ready(struct backend *backend, struct backend_result *ret)
{
    struct backend_message message;

    for (;;) {
        if (backend_read(backend, &message) != 0) {
            fail_result(ret, "08006", "connection to PostgreSQL lost while logging in");
            return -1;
        }
        switch (message.type) {
        case 'R':
            if (message.size < 4 || get_int32(message.body) != 0) {
                fail_result(ret, "28000",
                            "PostgreSQL demands a password; it must trust the "
                            "sandbox's connections");
                return -1;
            }
            break;
        case 'K':
            if (message.size >= 8) {
                backend->pid = (int32_t)get_int32(message.body);
                backend->secret = (int32_t)get_int32(message.body + 4);
            }
            break;
        case 'E':
            take_error(&message, ret);
            return -1;
        case 'Z':
            return 0;
        default:
            break;
        }
    }
}

struct backend *backend_open(const struct backend_options *options, struct backend_result *ret)
{
    struct backend_result own;
    struct backend_result *result = ret != NULL ? ret : &own;
    memset(result, 0, sizeof *result);

    int fd = connect_server(options);
    if (fd < 0) {
        fail_result(result, "08006", "PostgreSQL does not answer");
        return NULL;
    }
    struct backend *backend = calloc(1, sizeof *backend);
    if (backend == NULL) {
        abort();
    }
    backend->fd = fd;
    if (send_startup(backend, options) != 0 || wait_until_ready(backend, result) != 0) {
        if (result->sqlstate[0] == '\0') {
            fail_result(result, "08006", "PostgreSQL closed the connection");
        }
        backend_close(backend);
        return NULL;
    }
    result->ok = true;
    return backend;
}

void backend_close(struct backend *backend)
{
    if (backend == NULL) {
        return;
    }
    if (!backend->lost && backend_send(backend, 'X', NULL, 0) == 0) {
        (void)backend_flush(backend);
    }
    (void)close(backend->fd);
    bytes_done(&backend->in);
    bytes_done(&backend->out);
    free(backend);
}

void backend_cancel(const struct backend_options *options, int32_t pid, int32_t secret)
{
    unsigned char packet[16];
    char end;
    int fd = connect_server(options);

    if (fd < 0) {
        return;
    }
    put_int32(packet, sizeof packet);
    put_int32(packet + 4, CANCEL_REQUEST);
    put_int32(packet + 8, (uint32_t)pid);
    put_int32(packet + 12, (uint32_t)secret);
    if (write_all(fd, (const char *)packet, sizeof packet) == 0) {
        /* The server closes without a word once the signal is on its way. */
        while (recv(fd, &end, 1, 0) < 0 && errno == EINTR) {
        }
    }
    (void)close(fd);
}

char backend_status(const struct backend *backend)
{
    return backend->status;
}

int32_t backend_pid(const struct backend *backend)
{
    return backend->pid;
}

int32_t backend_secret(const struct backend *backend)
{
    return backend->secret;
}

/* ------------------------------------------------------------------------------- statements */

/* Forgets rows, keeps verdict and tag. */
static void drop_rows(struct backend_result *ret)
{
    for (int i = 0; i < ret->row_count * ret->column_count; i++) {
        free(ret->values[i]);
    }
    free(ret->values);
    ret->values = NULL;
    ret->row_count = 0;
    ret->column_count = 0;
}

void backend_result_done(struct backend_result *ret)
{
    drop_rows(ret);
    memset(ret, 0, sizeof *ret);
}

static void take_row(const struct backend_message *message, struct backend_result *ret)
{
    const unsigned char *at = message->body + 2;
    const unsigned char *end = message->body + message->size;
    size_t cells = (size_t)(ret->row_count + 1) * (size_t)ret->column_count;
    char **values = realloc(ret->values, cells * sizeof *values + 1);

    if (values == NULL) {
        abort();
    }
    ret->values = values;
    for (int c = 0; c < ret->column_count; c++) {
        char **cell = &values[ret->row_count * ret->column_count + c];
        *cell = NULL;
        if (end - at < 4) {
            continue;
        }
        int32_t size = (int32_t)get_int32(at);
        at += 4;
        if (size >= 0 && size <= end - at) {
            *cell = strndup((const char *)at, (size_t)size);
            at += size;
        }
    }
    ret->row_count++;
}

/* Reads on until ReadyForQuery, or until CopyInResponse when that is what is waited for. */
static int take_answer(struct backend *backend, struct backend_result *ret, bool expect_copy)
{
    struct backend_message message;
    bool failed = false;

    for (;;) {
        if (backend_read(backend, &message) != 0) {
            fail_result(ret, "08006", "connection to PostgreSQL lost");
            return -1;
        }
        switch (message.type) {
        case 'T':
            drop_rows(ret);
            ret->column_count = message.size >= 2 ? (message.body[0] << 8) | message.body[1] : 0;
            break;
        case 'D':
            take_row(&message, ret);
            break;
        case 'C':
            text_format(ret->tag, sizeof ret->tag, "%s", (const char *)message.body);
            break;
        case 'E':
            take_error(&message, ret);
            failed = true;
            break;
        case 'G':
            if (expect_copy) {
                ret->ok = true;
                return 0;
            }
            /* Nobody has data for it: the server then reports the statement as failed. */
            if (backend_send(backend, 'f', "no data", 8) != 0) {
                return -1;
            }
            break;
        case 'Z':
            ret->ok = !failed;
            return 0;
        default:
            break;
        }
    }
}

int backend_query(struct backend *backend, const char *sql, struct backend_result *ret)
{
    memset(ret, 0, sizeof *ret);
    if (backend_send(backend, 'Q', sql, strlen(sql) + 1) != 0) {
        fail_result(ret, "08006", "connection to PostgreSQL lost");
        return -1;
    }
    return take_answer(backend, ret, false);
}

int backend_copy_begin(struct backend *backend, const char *sql, struct backend_result *ret)
{
    memset(ret, 0, sizeof *ret);
    if (backend_send(backend, 'Q', sql, strlen(sql) + 1) != 0) {
        fail_result(ret, "08006", "connection to PostgreSQL lost");
        return -1;
    }
    return take_answer(backend, ret, true);
}

int backend_copy_data(struct backend *backend, const void *data, size_t size)
{
    return size == 0 ? 0 : backend_send(backend, 'd', data, size);
}

int backend_copy_end(struct backend *backend, struct backend_result *ret)
{
    memset(ret, 0, sizeof *ret);
    if (backend_send(backend, 'c', NULL, 0) != 0) {
        fail_result(ret, "08006", "connection to PostgreSQL lost");
        return -1;
    }
    return take_answer(backend, ret, false);
}

int backend_copy_fail(struct backend *backend, const char *why, struct backend_result *ret)
{
    memset(ret, 0, sizeof *ret);
    if (backend_send(backend, 'f', why, strlen(why) + 1) != 0) {
        fail_result(ret, "08006", "connection to PostgreSQL lost");
        return -1;
    }
    return take_answer(backend, ret, false);
}
