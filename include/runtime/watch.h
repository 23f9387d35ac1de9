#ifndef RUNTIME_WATCH_H
#define RUNTIME_WATCH_H

/*
 * A descriptor that a foreign library owns (libpq, libcurl, libssh2), watched for one operation.
 * Events only mark. A failed poll (a reset arrives as UV_EBADF with no event bits and the handle
 * has stopped itself) is reported as readable and writable, so that the library looks at its socket
 * and finds its own errno; a wrapper that looks at bits only would hang for ever.
 *
 * Rules of libuv met here once: one watch per descriptor at a time; stop before the library closes
 * the descriptor; the same number may later be another socket, so close and make a new watch when
 * the library says its socket changed.
 */

#include "runtime/op.h"

struct watch;

enum { WATCH_READ = 1, WATCH_WRITE = 2 };

/* fd is lent. Closed by op_finish at the latest. Errors have the errno name as origin: EPERM for a
 * file, which cannot be watched, EEXIST for a descriptor that has a watch already. */
struct error *watch_new(struct op *op, int fd, struct watch **ret) MUST_CHECK;
/* What to wait for; 0 stops. Keeps what has already been seen. Level-triggered: what is asked for
 * and not consumed marks again at every turn of the loop, so ask only for what you will act upon.
 */
struct error *watch_set(struct watch *watch, int events) MUST_CHECK;
/* The events seen since the last call; asking clears them. */
int watch_take(struct watch *watch);
int watch_fd(const struct watch *watch);
/* Stops at once (the descriptor may be closed right after), closes later. *watch is blanked. */
void watch_close(struct watch **watch);

#endif
