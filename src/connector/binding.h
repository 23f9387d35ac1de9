#ifndef CONNECTOR_BINDING_H
#define CONNECTOR_BINDING_H

/* From Flow's words for a binding (proto) to the warehouse's (redshift): pure. */

#include "connector/config.h"
#include "proto/message.h"
#include "redshift/catalog.h"
#include "redshift/sql.h"

/* Flow's projection as the type mapping wants it. */
void binding_field(const struct proto_projection *projection, struct rs_field *ret);
const struct proto_projection *binding_projection(const struct proto_collection *collection,
                                                  struct span field);
/* The field's option object, or an empty span. */
struct span
binding_option(const struct proto_field_option *options, unsigned count, struct span field);

/* The binding of the same resource path as it was last applied, whether it is active or was
 * disabled since; NULL when there is none or last is NULL. */
const struct proto_binding *binding_last(const struct proto_materialization *last,
                                         const struct span *path,
                                         unsigned path_count);

/* The table of one selected binding: columns in the order keys, values, document, each with its
 * type and comment. catalog, when given, tells actual widths of existing text columns. */
struct error *binding_table(struct arena *arena,
                            const struct config *config,
                            const struct proto_materialization *materialization,
                            const struct proto_binding *binding,
                            const struct rs_catalog *catalog,
                            struct rs_table *ret) MUST_CHECK;

#endif
