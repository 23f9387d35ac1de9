#ifndef SANDBOX_WIRE_H
#define SANDBOX_WIRE_H

/* The client's side of the wire: a socket, TLS over it once it is asked for, and messages of
 * protocol 3.0, blocking. Also the fields messages are made of. */

#include "sandbox/copy_bytes.h"

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct client {
    int fd;
    SSL *tls; /* NULL while the connection is plain */
    struct bytes in;
    size_t taken;
    struct bytes out;
    bool lost;
};

struct client_message {
    char type; /* 0 for a startup packet */
    const unsigned char *body;
    size_t size;
};

void client_init(struct client *client, int fd);
void client_done(struct client *client); /* closes the socket */
/* Answers an SSLRequest with S and takes the handshake. */
int client_accept_tls(struct client *client, SSL_CTX *context);
int client_send_byte(struct client *client, char byte);

/* A startup packet: the code and what follows stand in the message. 0 or -1. */
int client_read_startup(struct client *client, struct client_message *ret);
/* The next message, valid until the next read. Flushes first when nothing has arrived yet. */
int client_read(struct client *client, struct client_message *ret);
void client_send(struct client *client, char type, const void *body, size_t size);
int client_flush(struct client *client);

/* ---- fields */
void wire_put_int16(struct bytes *out, int value);
void wire_put_int32(struct bytes *out, int32_t value);
void wire_put_text(struct bytes *out, const char *text); /* with its zero byte */

/* A reading head over a message's body. After the end it gives zeros and `broken` is set. */
struct wire_reader {
    const unsigned char *at, *end;
    bool broken;
};
int wire_get_int16(struct wire_reader *r);
int32_t wire_get_int32(struct wire_reader *r);
const char *wire_get_text(struct wire_reader *r);
const unsigned char *wire_get_bytes(struct wire_reader *r, size_t size);

#endif
