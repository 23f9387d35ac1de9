/* Field selection: which projections of a collection become columns, given what the connector
   allows and what the user asked for. The rules are the control plane's. Pure. */
#ifndef FLOW_RUNTIME_SELECT_H
#define FLOW_RUNTIME_SELECT_H

#include "schema.h"

struct fr_selecting {
    const struct fr_projections *projections;
    const struct fr_json *group_by;    /* names of the key fields, in order */
    const struct fr_json *live;        /* FieldSelection of the live spec, or NULL */
    const struct fr_json *fields;      /* the catalog's "fields", or NULL */
    const struct fr_json *constraints; /* Validated's projectionConstraints, or NULL */
    bool case_insensitive;
};

/* A flow.FieldSelection in its JSON form; NULL with a sentence per conflict in error. */
struct fr_json *fr_select_fields(struct fr_arena *arena,
                                 const struct fr_selecting *selecting,
                                 struct fr_buf *error);

#endif
