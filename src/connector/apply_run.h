#ifndef CONNECTOR_APPLY_RUN_H
#define CONNECTOR_APPLY_RUN_H

/* Planned actions, done. */

#include "connector/apply_plan.h"
#include "connector/world.h"

/* Runs the actions side by side, on at most five connections; the statements of one action run in
 * order. The first error ends the others, is logged with its action, and is the answer: what was
 * done stays done. *conn, connected, is one of the connections: it is left open, but when something
 * had to be stopped it is closed as the others are, and *conn is NULL. actions are lent until done,
 * and there is at least one. The returned operation may be cancelled until done. */
struct op *apply_run(struct world *world,
                     struct pgc_conn **conn,
                     const struct apply_actions *actions,
                     op_done_fn *done,
                     void *ctx);

#endif
