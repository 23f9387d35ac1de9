/* What schema.c lends to reduce.c. */
#ifndef FLOW_RUNTIME_SCHEMA_SCOPE_H
#define FLOW_RUNTIME_SCHEMA_SCOPE_H

#include "json.h"

/* The target of a local "$ref", or NULL. */
const struct fr_json *fr_schema_ref(const struct fr_json *root, const struct fr_json *schema);

#endif
