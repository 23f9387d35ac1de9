#ifndef CONNECTOR_VALIDATE_H
#define CONNECTOR_VALIDATE_H

/* Validate and Apply as operations. The request lies in the arena and outlives them. */

#include "connector/world.h"
#include "proto/message.h"

/* Checks warehouse and bucket side by side, reads what exists, and decides on each field. Result:
 * one entry per binding, in the arena, valid after done with success. ERROR_CONFIG texts are for
 * people: several problems come as one text, a header and a line "\n - <problem>" each. */
struct validate_result {
    struct proto_validated_binding *bindings;
    unsigned count;
};
struct op *validate_start(struct world *world,
                          struct arena *arena,
                          const struct proto_validate *request,
                          struct validate_result *ret,
                          op_done_fn *done,
                          void *ctx);

/* The decision by itself: pure. existing: the table as it is, or NULL. */
struct error *validate_binding(struct arena *arena,
                               const struct config *config,
                               const struct rs_catalog *catalog,
                               const struct proto_validate_binding *binding,
                               const struct resource *resource,
                               const struct proto_materialization *last,
                               struct proto_validated_binding *ret) MUST_CHECK;

/* Brings the warehouse to what the request asks for, idempotently. action: what was done, "" for
 * nothing. patch_json: not empty when staged work was applied instead of changing the tables it is
 * for; the runtime merges it into the state and sends the request again. Both in the arena. */
struct apply_result {
    struct span action, patch_json;
};
struct op *apply_start(struct world *world,
                       struct arena *arena,
                       const struct proto_apply *request,
                       struct apply_result *ret,
                       op_done_fn *done,
                       void *ctx);

#endif
