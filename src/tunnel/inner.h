#ifndef TUNNEL_INNER_H
#define TUNNEL_INNER_H

/*
 * What session.c, channel.c and forward.c know of each other. Private to this room.
 *
 *      forward.c   struct tunnel    the listener; which session serves which channel
 *      channel.c   struct channel   one local connection: its socket and two buffers
 *      session.c   struct session   one SSH session: alone calls libssh2, never a local socket
 *
 *                   channel.c                         session.c
 *      local socket --recv--> up   [begin .. end) --libssh2 write--> sshd
 *                   <--send-- down [begin .. end) <--libssh2 read---
 *
 * They speak through facts in struct channel and by marking each other's operation.
 */

#include "endpoint.h"
#include "key.h"
#include "runtime/timer.h"
#include "runtime/watch.h"
#include "tunnel/forward.h"

/* Two SSH packets (RFC 4254 section 5.2 asks for 32 KiB each at least). What waits beyond that
 * waits in the sender's window. */
#define FLOW_BYTES ((size_t)64 * 1024)

/* Bytes on their way. Filled at end, emptied at begin; both return to 0 when nothing is left, so
 * what is being written never moves, which libssh2 needs for a write that it could not finish. */
struct flow {
    char *data; /* FLOW_BYTES */
    size_t begin, end;
};

static inline bool flow_is_empty(const struct flow *flow)
{
    return flow->begin == flow->end;
}

static inline size_t flow_room(const struct flow *flow)
{
    return FLOW_BYTES - flow->end;
}

static inline void flow_consume(struct flow *flow, size_t len)
{
    flow->begin += len;
    if (flow->begin == flow->end) {
        flow->begin = flow->end = 0;
    }
}

struct ssh_channel; /* LIBSSH2_CHANNEL, which only session.c may name */

struct channel {
    struct op op;
    struct tunnel *tunnel;
    struct list_node node; /* in tunnel->channels, until done */

    int fd; /* the local connection; -1 once it is closed */
    unsigned local_port;
    struct watch *watch;
    struct timer *timer; /* until the server has reached the target */
    struct flow up, down;

    /* facts from the local side, for the session */
    bool local_ended; /* end of input; when up is empty the server is told */
    bool must_close;  /* nothing more is wanted of the SSH channel */
    bool shut_down;   /* the local connection was told that nothing more comes */
    bool is_noted;    /* the tunnel knows that it came through */

    /* facts from the session, for the local side */
    struct session *session;       /* that serves it; NULL: none yet, or no more */
    struct list_node session_node; /* in session->channels while there is one */
    struct ssh_channel *ssh;       /* open, or NULL */
    bool was_opened;
    bool eof_sent, remote_ended;
    bool is_reset;     /* its session died or it was refused: reset the local connection */
    size_t write_len;  /* of a write that libssh2 has begun; 0: none */
    unsigned attempts; /* sessions that were asked to open it */
};

struct session_options {
    struct endpoint endpoint;
    struct secret *key;
    enum key_kind key_kind;
    char *target_host;
    int target_port;
    char *host_key; /* or NULL */
    uint64_t connect_timeout_ms, keepalive_ms, answer_ms, idle_ms;
};

struct session;
typedef void session_ended_fn(struct session *session);

/* Facts for its owner, whom each change marks. */
struct session {
    struct op op;
    struct op *owner;
    const struct session_options *options; /* the owner's, longer than the session */
    struct list channels;                  /* in the order they came */
    bool is_ready;                         /* logged in */
    bool is_lost;                          /* serves no longer; its channels were given back */
    struct error *lost_err;                /* why; NULL: it was idle, or asked to end */
    struct error *refusal;                 /* of a channel; the session lives on */
    char host_key[FINGERPRINT_BYTES];      /* "" until seen */
    struct session_inside *inside;         /* session.c's own */
};

/* ---- session.c */
/* Starts. ended comes when nothing of it is left in the loop, long after is_lost perhaps: a
 * resolver cannot be interrupted. */
struct session *session_start(struct loop *loop,
                              const struct session_options *options,
                              struct op *owner,
                              session_ended_fn *ended);
void session_add(struct session *session, struct channel *channel); /* before it is lost */
void session_end(struct session *session);                          /* at once; idempotent */
void session_free(struct session *session);                         /* after ended */

/* ---- channel.c */
/* Owns fd from now on. timeout_ms: for the server to reach the target. */
struct channel *channel_start(
    struct tunnel *tunnel, struct loop *loop, int fd, unsigned local_port, uint64_t timeout_ms);
void channel_free(struct channel *channel); /* after forward_channel_ended */

/* ---- forward.c, for channel.c */
void forward_channel_ended(struct channel *channel); /* its last act: the channel may be freed */
void forward_channel_opened(struct channel *channel);
void forward_channel_timed_out(struct channel *channel);

#endif
