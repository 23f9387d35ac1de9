#ifndef SANDBOX_IDENT_H
#define SANDBOX_IDENT_H

/*
 * Names. Redshift folds ASCII letters to lower case even between double quotes (unless
 * enable_case_sensitive_identifier is on) and silently cuts names at 127 bytes on a character
 * boundary; PostgreSQL has room for 63. So there are two names for a thing:
 *
 *   the full name     what Redshift would store: folded, at most 127 bytes. Clients, catalog views,
 *                     JSON keys of COPY and error texts use it.
 *   the backend name  what PostgreSQL stores: the full name when it fits, otherwise its first bytes
 *                     (cut on a character boundary), '~' and 16 hex digits of its hash.
 *
 * The table redshift_sys.long_names (backend_name, full_name) remembers each shortened name; it is
 * filled before the statement that creates such a thing runs.
 */

#include <stdbool.h>
#include <stddef.h>

enum {
    IDENT_FULL_MAX = 127,
    IDENT_BACKEND_MAX = 63,
};

/* Folds and cuts `text` (without quotes, with doubled quotes already made single). `fold` is false
 * only for a quoted name while enable_case_sensitive_identifier is on. */
void ident_fold(const char *text, size_t size, bool fold, char ret[IDENT_FULL_MAX + 1]);

/* The name under which PostgreSQL knows the full name. */
void ident_backend(const char *full, char ret[IDENT_BACKEND_MAX + 1]);
bool ident_is_long(const char *full); /* do the two names differ? */

/* Both steps in one, with double quotes around, ready for SQL: at most 2 * 63 + 3 bytes. */
enum {
    IDENT_QUOTED_SIZE = 2 * IDENT_BACKEND_MAX + 3,
};
void ident_quote_backend(const char *full, char ret[IDENT_QUOTED_SIZE]);

#endif
