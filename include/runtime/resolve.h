#ifndef RUNTIME_RESOLVE_H
#define RUNTIME_RESOLVE_H

/* A host name to addresses on the thread pool: the system's resolver blocks, and so would a library
 * that is given the name. */

#include "base/error.h"
#include "runtime/loop.h"

struct resolve;

/* On the loop; never from inside resolve_start. The resolve is freed after it returns. */
typedef void resolve_done_fn(void *ctx, struct resolve *resolve);

/* Copies host. Cannot be cancelled: the system's resolver has time limits of its own. */
struct resolve *
resolve_start(struct loop *loop, const char *host, resolve_done_fn *done, void *ctx);

/* In done. The error is the caller's; NULL when there are addresses. */
struct error *resolve_error(struct resolve *resolve) MUST_CHECK;
unsigned resolve_count(const struct resolve *resolve);
/* Numeric addresses joined with ',', in the order the system prefers; at most eight. */
const char *resolve_addresses(const struct resolve *resolve);

#endif
