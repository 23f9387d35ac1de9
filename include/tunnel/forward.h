#ifndef TUNNEL_FORWARD_H
#define TUNNEL_FORWARD_H

/*
 * One way through an SSH server: a port on 127.0.0.1 whose connections come out at one host and
 * port behind that server (direct-tcpip, RFC 4254 section 7.2).
 *
 *      libpq --> 127.0.0.1:port --> channel --> SSH session --> sshd --> target host:port
 *                               --> channel ----^   one session carries several channels
 *
 * What runs between sshd and the target is not covered by SSH, so TLS belongs inside. A session
 * that dies takes its channels with it: their local connections are reset. The next connection
 * brings a new session up. A session without channels is given up after a while.
 */

#include "base/error.h"
#include "base/secret.h"
#include "runtime/op.h"

struct tunnel;

/* Strings and key are copied. */
struct tunnel_options {
    const char *endpoint;             /* ssh://user@host[:port] */
    const struct secret *private_key; /* PEM or OpenSSH format, without a passphrase */
    const char *target_host, *target_port;
    const char *host_key;        /* "SHA256:<base64>" that the server must show, or NULL: any */
    uint64_t connect_timeout_ms; /* for a session: from the name to the login; for a channel: until
                                    the server has reached the target */
    uint64_t keepalive_ms;       /* silence after which the server is asked for a sign of life; at
                                    least 2000, libssh2 asks no sooner. 0: 30 s */
    uint64_t answer_ms;          /* further silence after which the session is dead. 0: 30 s */
    uint64_t idle_ms;            /* how long a session without channels is kept. 0: 60 s */

    /* Both may be NULL. Called from the loop, not after tunnel_close; what they get is lent. */
    void (*on_host_key)(void *ctx,
                        const char *fingerprint); /* first seen, and whenever it changes */
    void (*on_trouble)(void *ctx, const struct error *err); /* a session or a channel was lost or
                                                               refused, once the tunnel is open */
    void *ctx;
};

/* Listens; connections wait until the tunnel is open. ERROR_CONFIG, each with advice: an endpoint,
 * port, fingerprint or key that is none, a key that is protected by a passphrase. The texts never
 * hold a part of the key. */
struct error *
tunnel_new(struct loop *loop, const struct tunnel_options *options, struct tunnel **ret) MUST_CHECK;

unsigned tunnel_port(const struct tunnel *tunnel);

/* Logs in. Once, soon after tunnel_new. Errors name user, host and port of the server: ERROR_CONFIG
 * for an unknown host, a host key that is not the given one, a login that was refused; ERROR_SYSTEM
 * or ERROR_TIMEOUT (RETRY) where the network or the server fails. After a failure connections are
 * refused, those that wait too, and nothing is left to do but tunnel_close. */
void tunnel_open(struct tunnel *tunnel, op_done_fn *done, void *ctx);

/* "SHA256:..." as ssh-keygen -l prints it; "" before any was seen. */
const char *tunnel_host_key(const struct tunnel *tunnel);
/* The latest trouble after the opening: why a connection through the tunnel was reset. NULL: none
 * since one last came through. Valid until the next turn of the loop. An owner on this loop finds
 * it there when it sees the reset. */
const struct error *tunnel_trouble(const struct tunnel *tunnel);

/* Ends everything at once, connections included; an open that is under way is answered first. Then
 * closed(ctx), and the tunnel is freed by then. */
typedef void tunnel_closed_fn(void *ctx);
void tunnel_close(struct tunnel *tunnel, tunnel_closed_fn *closed, void *ctx);

#endif
