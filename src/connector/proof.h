#ifndef CONNECTOR_PROOF_H
#define CONNECTOR_PROOF_H

/*
 * Can the cluster read the bucket? Our own requests say nothing of that: COPY goes there by the
 * cluster's network, with the keys or the role of the configuration. So a file of one row is staged
 * and copied into a temporary table, in the form in which everything is copied later, and deleted
 * again whatever happened.
 */

#include "connector/world.h"

/* *conn is connected and idle, and so it is when all went well. Otherwise it is closed and NULL.
 * *ret_problem: NULL, or what is wrong, in the arena. done(ctx, err): NULL or ERROR_CANCELLED. */
struct op *proof_start(struct world *world,
                       struct arena *arena,
                       struct pgc_conn **conn,
                       const char **ret_problem,
                       op_done_fn *done,
                       void *ctx);

/* What a person is told about a COPY that failed; in the arena. Pure. */
const char *
proof_problem(struct arena *arena, const struct config *config, const struct error *err);

#endif
