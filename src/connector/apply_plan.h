#ifndef CONNECTOR_APPLY_PLAN_H
#define CONNECTOR_APPLY_PLAN_H

/* The decision of Apply by itself: pure. */

#include "connector/config.h"
#include "pg/conn.h"
#include "proto/message.h"
#include "redshift/catalog.h"

struct apply_plan {
    struct pgc_statement *statements; /* to be run in this order, each by itself */
    unsigned count;
    struct span action; /* for people: the same texts, one below the other; "" for nothing */
};

/* Creates what is missing: schemas, the metadata table, tables, columns. Everything is in the
 * arena. Schemas that are planned are noted in the catalog. ERROR_CONFIG for what would have to be
 * changed and cannot be. */
struct error *apply_plan(struct arena *arena,
                         const struct config *config,
                         struct rs_catalog *catalog,
                         const struct proto_apply *request,
                         struct apply_plan *ret) MUST_CHECK;

#endif
