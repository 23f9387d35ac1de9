#ifndef TUNNEL_DIAL_H
#define TUNNEL_DIAL_H

/* A TCP connection to a host by name, as an operation. Private to this room. */

#include "runtime/op.h"

struct dial;

/* Copies host and port. The name is looked up on the thread pool, then its addresses are tried in
 * turn. A cancel during the look-up is answered when the system's resolver has given up; there is
 * no time limit of its own for the whole. Errors: ERROR_CONFIG for a name that does not exist, else
 * ERROR_SYSTEM (RETRY) of the address tried last. */
struct dial *
dial_start(struct loop *loop, const char *host, const char *port, op_done_fn *done, void *ctx);
void dial_cancel(struct dial *dial);
const char *dial_waits_for(const struct dial *dial); /* for the words of a timeout */
/* After done without an error: the descriptor, non-blocking, the caller's from now on. */
int dial_take_fd(struct dial *dial);
void dial_free(struct dial *dial); /* after done; closes what was not taken; NULL is fine */

#endif
