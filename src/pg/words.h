#ifndef PG_WORDS_H
#define PG_WORDS_H

/* What a server or libpq said, turned into our errors: class, SQLSTATE, and a text in which no
 * credential can stand. Pure; knows no libpq. Private to this room. */

#include "base/buf.h"
#include "base/error.h"

/* Longest text of a server that goes into an error. */
#define WORDS_MAX_BYTES ((size_t)4096)

/* What Redshift means by it. sqlstate may be "". */
enum error_class words_class(const char *sqlstate, const char *message);

/* Appends text as one line, cut where a COPY's credentials begin. */
void words_add_scrubbed(struct buf *out, const char *text);

/* ERROR_SQL: "<message>: <detail> (<sqlstate>)". detail may be NULL or empty. */
struct error *
words_sql_error(const char *sqlstate, const char *message, const char *detail) MUST_CHECK;

/* From PQerrorMessage of a failed connection with verbose errors: the SQLSTATE is only there. */
struct error *words_connect_error(const char *text) MUST_CHECK;

#endif
