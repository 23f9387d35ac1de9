#ifndef CONNECTOR_APPLY_PLAN_H
#define CONNECTOR_APPLY_PLAN_H

/*
 * The decision of Apply by itself: pure.
 *
 *      preparation     schemas, then the metadata table: one after another
 *      truncations     side by side
 *      tables          side by side, after all truncations; the statements of one table in order
 *
 * Everything is planned anew from what exists, so an Apply that died anywhere is continued by the
 * next one.
 */

#include "connector/config.h"
#include "pg/conn.h"
#include "proto/message.h"
#include "redshift/catalog.h"
#include "redshift/sql.h"

/* Statements that belong together, on one connection, each by itself. */
struct apply_action {
    struct pgc_statement *statements;
    unsigned count;
    struct span text; /* for people */
};

struct apply_actions {
    struct apply_action *items;
    unsigned count;
};

/* What an operator is told when the work begins. */
struct apply_note {
    enum apply_note_kind {
        APPLY_NOTE_BACKFILL,  /* the counter rose */
        APPLY_NOTE_MIGRATION, /* a column gets another type */
        APPLY_NOTE_MISFIT     /* a column's type fits neither directly nor by migration */
    } kind;
    struct span path; /* joined by dots */
    struct span field, from_type, to_type;
    uint32_t backfill;
};

struct apply_plan {
    struct apply_action preparation;
    struct apply_actions truncations, tables;
    struct apply_note *notes;
    unsigned note_count;
    /* Bindings as they were last applied whose staged work must be in the table before the table
     * is changed in place. */
    const struct proto_binding **settled;
    unsigned settled_count;
    struct span action; /* all texts, as Flow shows them; "" for nothing */
};

/* Everything is in the arena. Schemas that are planned are noted in the catalog. ERROR_CONFIG for
 * what would have to be changed and cannot be. */
struct error *apply_plan(struct arena *arena,
                         const struct config *config,
                         struct rs_catalog *catalog,
                         const struct proto_apply *request,
                         struct apply_plan *ret) MUST_CHECK;

#endif
