#ifndef REDSHIFT_DIALECT_H
#define REDSHIFT_DIALECT_H

/*
 * Identifiers and literals of Redshift. Pure. Facts: Database Developer Guide, r_names,
 * r_pg_keywords; a backslash inside '...' is an escape character there, unlike in PostgreSQL with
 * standard_conforming_strings.
 */

#include "base/buf.h"
#include "base/span.h"

#define RS_MAX_IDENTIFIER 127 /* bytes; longer names are silently cut by the server */

/* Unquoted only when it is lower-case letters, digits, '_' and no reserved word; else "..." with
 * inner quotes doubled. */
void rs_add_identifier(struct buf *out, struct span name);
/* Components joined with '.'. */
void rs_add_path(struct buf *out, const struct span *path, unsigned count);
/* '...' with quotes and backslashes doubled. */
void rs_add_literal(struct buf *out, struct span text);
bool rs_is_reserved(struct span name); /* any case */

/* What the catalog calls it: lower case (unless case_sensitive), cut at 127 bytes between
 * characters. */
void rs_fold(struct buf *out, struct span name, bool case_sensitive);
/* Just the cut; returns the length kept. */
size_t rs_truncate(struct span name);

#endif
