#ifndef CONNECTOR_PREREQUISITE_H
#define CONNECTOR_PREREQUISITE_H

/*
 * Can this task run at all? The warehouse must let us in, and the bucket must let us write, read
 * and delete; both are tried side by side. Then the cluster must be able to read the bucket. What
 * is wrong is said in words for the person who wrote the configuration.
 */

#include "connector/world.h"

/* done(ctx, err): NULL when all is well; an ERROR_CONFIG that lists every problem, a header and a
 * line "\n - <problem>" each; or ERROR_CANCELLED. After success *ret_conn is a connection for the
 * owner to use and close; otherwise it is NULL. */
struct op *prerequisite_start(struct world *world,
                              struct arena *arena,
                              struct pgc_conn **ret_conn,
                              op_done_fn *done,
                              void *ctx);

/* What a person is told about a connect that failed; in the arena. Pure. */
const char *prerequisite_warehouse_problem(struct arena *arena,
                                           const struct config *config,
                                           const struct error *err);

/* The same for a step of the bucket's probe. */
enum probe { PROBE_PUT, PROBE_GET, PROBE_DELETE };
const char *prerequisite_bucket_problem(struct arena *arena,
                                        const struct config *config,
                                        enum probe probe,
                                        const struct error *err);

#endif
