/* Bytes to and from the client. It knows messages, not what they mean. */
#include "sandbox/wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    READ_SIZE = 64 * 1024,
    SEND_HIGH_WATER = 256 * 1024,
    STARTUP_MAX = 64 * 1024,
    MESSAGE_MAX = 256 * 1024 * 1024,
};

void client_init(struct client *client, int fd)
{
    memset(client, 0, sizeof *client);
    client->fd = fd;
}

void client_done(struct client *client)
{
    if (client->tls != NULL) {
        (void)SSL_shutdown(client->tls);
        SSL_free(client->tls);
    }
    (void)close(client->fd);
    bytes_done(&client->in);
    bytes_done(&client->out);
}

/* ------------------------------------------------------------------------------- transport */

static ptrdiff_t receive(struct client *client, char *to, size_t size)
{
    for (;;) {
        ptrdiff_t n = client->tls != NULL ? SSL_read(client->tls, to, (int)size)
                                          : recv(client->fd, to, size, 0);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        return n;
    }
}

static int transmit(struct client *client, const char *at, size_t size)
{
    while (size > 0) {
        int piece = size > INT_MAX / 2 ? INT_MAX / 2 : (int)size;
        ptrdiff_t n = client->tls != NULL ? SSL_write(client->tls, at, piece)
                                          : send(client->fd, at, (size_t)piece, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            client->lost = true;
            return -1;
        }
        at += n;
        size -= (size_t)n;
    }
    return 0;
}

static int fill(struct client *client, size_t size)
{
    if (client->taken > 0 && client->in.len - client->taken < size) {
        memmove(client->in.at, client->in.at + client->taken, client->in.len - client->taken);
        client->in.len -= client->taken;
        client->taken = 0;
    }
    while (client->in.len - client->taken < size) {
        if (client_flush(client) != 0) {
            return -1;
        }
        char *room = bytes_reserve(&client->in, READ_SIZE);
        ptrdiff_t n = receive(client, room, READ_SIZE);
        if (n <= 0) {
            client->lost = true;
            return -1;
        }
        client->in.len += (size_t)n;
    }
    return 0;
}

int client_accept_tls(struct client *client, SSL_CTX *context)
{
    if (client_send_byte(client, 'S') != 0) {
        return -1;
    }
    client->tls = SSL_new(context);
    if (client->tls == NULL || SSL_set_fd(client->tls, client->fd) != 1 ||
        SSL_accept(client->tls) != 1) {
        client->lost = true;
        return -1;
    }
    return 0;
}

int client_send_byte(struct client *client, char byte)
{
    return transmit(client, &byte, 1);
}

/* ------------------------------------------------------------------------------- messages */

static uint32_t peek_int32(const char *at)
{
    uint32_t big;

    memcpy(&big, at, 4);
    return ntohl(big);
}

static int take_body(struct client *client, size_t head, size_t max, struct client_message *ret)
{
    if (fill(client, head) != 0) {
        return -1;
    }
    uint32_t length = peek_int32(client->in.at + client->taken + head - 4);
    if (length < 4 || length > max || fill(client, head + length - 4) != 0) {
        client->lost = true;
        return -1;
    }
    bytes_text(&client->in);
    ret->type = head == 5 ? client->in.at[client->taken] : '\0';
    ret->body = (const unsigned char *)client->in.at + client->taken + head;
    ret->size = length - 4;
    client->taken += head + length - 4;
    return 0;
}

int client_read_startup(struct client *client, struct client_message *ret)
{
    return take_body(client, 4, STARTUP_MAX, ret);
}

int client_read(struct client *client, struct client_message *ret)
{
    return take_body(client, 5, MESSAGE_MAX, ret);
}

void client_send(struct client *client, char type, const void *body, size_t size)
{
    bytes_put_char(&client->out, type);
    wire_put_int32(&client->out, (int32_t)size + 4);
    if (size > 0) {
        bytes_put(&client->out, body, size);
    }
    if (client->out.len > SEND_HIGH_WATER) {
        (void)client_flush(client);
    }
}

int client_flush(struct client *client)
{
    if (client->lost) {
        return -1;
    }
    int rc = client->out.len > 0 ? transmit(client, client->out.at, client->out.len) : 0;
    client->out.len = 0;
    return rc;
}

/* ------------------------------------------------------------------------------- fields */

void wire_put_int16(struct bytes *out, int value)
{
    uint16_t big = htons((uint16_t)value);
    bytes_put(out, &big, sizeof big);
}

void wire_put_int32(struct bytes *out, int32_t value)
{
    uint32_t big = htonl((uint32_t)value);
    bytes_put(out, &big, sizeof big);
}

void wire_put_text(struct bytes *out, const char *text)
{
    bytes_put(out, text, strlen(text) + 1);
}

const unsigned char *wire_get_bytes(struct wire_reader *r, size_t size)
{
    static const unsigned char nothing[1] = {0};

    if ((size_t)(r->end - r->at) < size) {
        r->broken = true;
        r->at = r->end;
        return nothing;
    }
    const unsigned char *at = r->at;
    r->at += size;
    return at;
}

int wire_get_int16(struct wire_reader *r)
{
    const unsigned char *at = wire_get_bytes(r, 2);
    return r->broken ? 0 : (int16_t)((at[0] << 8) | at[1]);
}

int32_t wire_get_int32(struct wire_reader *r)
{
    const unsigned char *at = wire_get_bytes(r, 4);
    return r->broken ? 0 : (int32_t)peek_int32((const char *)at);
}

const char *wire_get_text(struct wire_reader *r)
{
    const unsigned char *zero = r->at < r->end ? memchr(r->at, 0, (size_t)(r->end - r->at)) : NULL;

    if (zero == NULL) {
        r->broken = true;
        r->at = r->end;
        return "";
    }
    const char *text = (const char *)r->at;
    r->at = zero + 1;
    return text;
}
