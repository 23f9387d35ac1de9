#ifndef SANDBOX_STATEMENT_H
#define SANDBOX_STATEMENT_H

/*
 * One statement of a client, classified: passed on as it is, rewritten for PostgreSQL, done by the
 * gateway itself, or refused as Redshift refuses it. What is not recognised is refused. Pure: the
 * session does what the plan says.
 */

#include "sandbox/copy_bytes.h"
#include "sandbox/ident.h"
#include "sandbox/token.h"
#include "sandbox/types.h"

#include <stdbool.h>
#include <stddef.h>

enum statement_kind {
    STATEMENT_EMPTY,
    STATEMENT_QUERY,      /* SELECT, WITH ... SELECT, EXPLAIN: `sql` returns rows */
    STATEMENT_CHANGE,     /* INSERT, UPDATE, DELETE, MERGE: `target` is locked first */
    STATEMENT_DEFINE,     /* CREATE, ALTER, DROP: the connection's prepared statements go */
    STATEMENT_OTHER,      /* COMMENT, GRANT, ...: `sql` is run, nothing else happens */
    STATEMENT_TRUNCATE,   /* commits the transaction */
    STATEMENT_ALTER_TYPE, /* ALTER COLUMN ... TYPE VARCHAR(n), see `target`, `column`, `length` */
    STATEMENT_BEGIN,
    STATEMENT_COMMIT,
    STATEMENT_ROLLBACK,
    STATEMENT_LOCK,
    STATEMENT_COPY,       /* the text as it came goes to copy_execute */
    STATEMENT_SET,        /* `setting`, `value`: NULL value is the default (also RESET) */
    STATEMENT_SHOW,       /* `setting` */
    STATEMENT_DEALLOCATE, /* `setting` is the name of the prepared statement */
    STATEMENT_NOTHING,    /* accepted, no effect here: ANALYZE, VACUUM, constraints */
};

struct statement {
    enum statement_kind kind;
    /* The tag of CommandComplete. Empty: PostgreSQL's own, of which the session strips the count
     * where Redshift gives none. */
    char tag[32];
    struct bytes sql;    /* for PostgreSQL */
    struct bytes after;  /* a second statement for the same transaction, may be empty */
    struct bytes target; /* the changed table, as SQL; empty when there is none to lock */
    char column[IDENT_FULL_MAX + 1]; /* of ALTER COLUMN TYPE and DROP COLUMN, else empty */
    int length;
    bool alone; /* refuses to run inside a transaction block */
    char *setting;
    char *value;
    struct type *types; /* domains that must exist before `sql` runs */
    size_t type_count;
    char (*long_names)[IDENT_FULL_MAX + 1]; /* full names that must be remembered first */
    size_t long_name_count;
    /* Refused when not empty. */
    char sqlstate[6];
    char message[512];
};

struct statement_options {
    bool case_sensitive; /* enable_case_sensitive_identifier */
};

/* Plans the statement in tokens[0, count), which holds no semicolon. Returns false when it is
 * refused. Ended with statement_done either way. */
bool statement_read(struct statement *st,
                    const struct token *tokens,
                    size_t count,
                    const struct statement_options *options);
void statement_done(struct statement *st);

#endif
