#ifndef SANDBOX_TYPES_H
#define SANDBOX_TYPES_H

/*
 * Redshift's column types and what stands for them in PostgreSQL:
 *
 *   SMALLINT INTEGER BIGINT REAL DOUBLE PRECISION BOOLEAN DATE TIME TIMETZ TIMESTAMP TIMESTAMPTZ
 *   NUMERIC(p,s)       the same type
 *   VARCHAR(n) TEXT    domain redshift_sys.varchar_<n> over bpchar without a length: bpchar ignores
 *                      trailing blanks in comparisons, joins and grouping as Redshift's VARCHAR
 *                      does, and without a length it keeps them; CHECK (octet_length(VALUE) <= n)
 *   CHAR(n)            domain redshift_sys.char_<n> over bpchar(n), single bytes only
 *   SUPER              base type pg_catalog.super: jsonb's functions under another name, so that
 *                      none of jsonb's operators come along. Text input: JSON text.
 *   VARBYTE(n)         domain redshift_sys.varbyte_<n> over the base type pg_catalog.varbyte, which
 *                      is bytea's functions under another name. Text input: \x and hex (in COPY's
 *                      text format, where a backslash is doubled: \\x6162).
 *
 * A domain for a length is made when a statement first names it.
 */

#include "sandbox/copy_bytes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum type_kind {
    TYPE_PLAIN, /* PostgreSQL's own, under the name in `sql` */
    TYPE_VARCHAR,
    TYPE_CHAR,
    TYPE_VARBYTE,
    TYPE_SUPER,
};

enum {
    VARCHAR_MAX = 65535,
    VARCHAR_DEFAULT = 256,
    CHAR_MAX_LENGTH = 4096,
    BPCHAR_DEFAULT = 256,
    VARBYTE_MAX = 16777216,
    VARBYTE_DEFAULT = 64000,
    OID_SUPER = 4000,
    OID_VARBYTE = 6551,
};

struct type {
    enum type_kind kind;
    int length;   /* bytes; VARCHAR, CHAR, VARBYTE only */
    char sql[96]; /* how PostgreSQL is to read it */
};

/* The statement that makes a domain unless it is there; empty for types that need none. It is
 * meant for the superuser's connection in autocommit. */
void type_creation_sql(const struct type *type, struct bytes *out);

#endif
