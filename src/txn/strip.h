#ifndef TXN_STRIP_H
#define TXN_STRIP_H

/* A document that was rebuilt from columns says null where the collection's document says nothing.
 * Pure. */

#include "base/error.h"
#include "redshift/sql.h"

/* Appends the object to out without those members that are null and whose column must not be:
 * columns with must_strip_null, by their property. ERROR_INPUT when json is no object. */
struct error *
strip_nulls(struct buf *out, struct span json, const struct rs_table *table) MUST_CHECK;

#endif
