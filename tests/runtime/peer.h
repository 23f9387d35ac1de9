/* The connector as a child process: pipes, its log, its end. Never blocks on one direction alone.
 */
#ifndef FLOW_RUNTIME_PEER_H
#define FLOW_RUNTIME_PEER_H

#include <sys/types.h>

#include "wire.h"

struct fr_peer {
    pid_t pid;                 /* 0: none */
    int in_fd, out_fd, err_fd; /* its stdin, stdout, stderr; -1 when closed */
    int log_fd;                /* its stderr is copied here */
    struct fr_buf out;         /* to its stdin; out_sent bytes are written */
    size_t out_sent;
    struct fr_buf in; /* from its stdout; in_used bytes are consumed */
    size_t in_used;
    struct fr_buf err_line;  /* the line being written */
    struct fr_buf last_line; /* the last whole line, or unfinished text at the end */
    /* After fr_peer_wait. */
    int status;
    /* Over all processes. */
    long peak_rss_kib;
    double cpu_seconds; /* of those that ended */
};

struct fr_launch {
    char *const *argv;
    char *const *environment;
};

bool fr_peer_start(struct fr_peer *peer, const struct fr_launch *launch, struct fr_buf *error);
/* Moves bytes in all directions until something was read or written or the time is over. With
   wait false it only does what is possible at once. False when nothing moved. */
bool fr_peer_pump(struct fr_peer *peer, int timeout_ms);
enum { FR_MAX_PEERS = 64 };
bool fr_peer_pump_all(struct fr_peer *const *peers, size_t count, int timeout_ms);
bool fr_peer_has_output(const struct fr_peer *peer); /* bytes not yet written to its stdin */
bool fr_peer_is_gone(const struct fr_peer *peer);    /* its stdout has ended */
void fr_peer_close_input(struct fr_peer *peer);

enum fr_got { FR_GOT_NONE, FR_GOT_MESSAGE, FR_GOT_BROKEN };
/* Takes the next whole message from what was read. FR_GOT_BROKEN: error has the rule. */
enum fr_got fr_peer_next(struct fr_peer *peer,
                         enum fr_codec codec,
                         struct fr_arena *arena,
                         struct fr_json **ret_message,
                         struct fr_buf *error);
bool fr_peer_has_fragment(const struct fr_peer *peer); /* unread bytes on stdout */

void fr_peer_sample(struct fr_peer *peer);
double fr_peer_cpu(const struct fr_peer *peer);
/* seconds that the running process has used */ /* notes the peak of its memory so far */
void fr_peer_kill(struct fr_peer *peer, int signal);
/* Waits for its end (killing it after the time), closes the pipes, keeps the last log line. */
void fr_peer_wait(struct fr_peer *peer, int timeout_ms);
void fr_peer_done(struct fr_peer *peer);

#endif
