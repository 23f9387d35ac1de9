#ifndef SANDBOX_SESSION_H
#define SANDBOX_SESSION_H

/*
 * One client's connection, in a process of its own. Private to login.c, session.c, extended.c and
 * rows.c.
 *
 * The backend never runs a client's statement outside a transaction block: where the client has
 * none, the gateway opens one before the statement and commits it where PostgreSQL would have
 * (after the simple query, at Sync). So locks can be taken before the statement, and every exchange
 * with the backend can end in a Sync of its own.
 */

#include "sandbox/gateway.h"
#include "sandbox/statement.h"
#include "sandbox/wire.h"

enum transaction {
    TRANSACTION_NONE,
    TRANSACTION_IMPLICIT, /* opened by the gateway, ends with the query or at Sync */
    TRANSACTION_EXPLICIT, /* opened by the client */
};

enum {
    SETTING_VALUE_SIZE = 256,
    SETTING_MAX = 32,
};

struct settings {
    char value[SETTING_MAX][SETTING_VALUE_SIZE]; /* as SHOW prints them, by setting_index */
};

/* How a result column changes on its way to the client. */
enum column_form {
    COLUMN_AS_IS,
    COLUMN_SUPER,   /* text becomes compact; binary loses jsonb's version byte */
    COLUMN_VARBYTE, /* text loses \x */
};

/* How the text of a parameter changes on its way to PostgreSQL. */
enum parameter_form {
    PARAMETER_AS_IS,
    PARAMETER_BYTES,  /* VARBYTE: the text is the value's bytes; becomes \x and hex */
    PARAMETER_STRING, /* SUPER: a string scalar, never JSON to be read; becomes a JSON string */
};

/* A prepared statement; shared by the portals bound to it. */
struct prepared {
    struct prepared *next;
    int references;
    char *name;       /* the client's; empty is the unnamed one */
    char backend[24]; /* PostgreSQL's name for it; empty when the gateway runs it itself */
    char *text;       /* as it came, for COPY */
    struct statement st;
    int parameter_count;
    uint32_t *parameters;         /* PostgreSQL's types */
    enum parameter_form *forms;   /* by parameter */
    struct bytes row_description; /* as the client shall see it; empty: no rows */
    int column_count;
    enum column_form *columns;
};

struct portal {
    struct portal *next;
    char *name;
    char backend[24];
    struct prepared *prepared;
    int format_count; /* of the results, as in the Bind message */
    int16_t *formats;
};

struct session {
    const struct gateway *gateway;
    struct client client;
    struct backend *backend;
    struct backend *side; /* superuser in autocommit; NULL until needed */
    char *application_name;
    struct settings settings, initial, at_begin;
    enum transaction transaction;
    int statements_in_transaction;
    bool skipping;      /* after an error, until Sync */
    bool extended_open; /* extended messages since the last Sync */
    bool ended;         /* the client has gone or must go */
    struct prepared *prepared;
    struct portal *portals;
    unsigned next_id;
    int64_t copy_count, copy_id;
    char (*known_types)[96]; /* domains known to exist */
    size_t known_type_count;
    char (*known_names)[2][IDENT_FULL_MAX + 1]; /* backend name, full name */
    size_t known_name_count;
    uint32_t super_oid, varbyte_oid;
    /* Of the simple query in hand */
    int column_count;
    enum column_form *columns;
    int16_t *formats;
};

/* ---- login.c */
/* Startup packet, TLS, authentication, the connections behind. False: the connection is over. */
bool session_login(struct session *s);

/* ---- rows.c */
/* Rewrites a RowDescription; `columns` and `formats` (both allocated) tell what its rows need. */
void rows_describe(struct session *s,
                   const unsigned char *body,
                   size_t size,
                   struct bytes *out,
                   int *ret_count,
                   enum column_form **ret_columns,
                   int16_t **ret_formats);
/* Rewrites a DataRow. Formats: none means text, one means all. */
void rows_convert(const unsigned char *body,
                  size_t size,
                  const enum column_form *columns,
                  int column_count,
                  const int16_t *formats,
                  int format_count,
                  struct bytes *out);
/* Compact JSON from jsonb's text; integers beyond 64 bits become doubles of 15 digits. */
void rows_compact_json(const char *text, size_t size, struct bytes *out);
/* What PostgreSQL's OID is called on Redshift's wire. */
uint32_t rows_type_oid(const struct session *s, uint32_t oid, int32_t modifier);

/* ---- session.c */
void session_send_error(struct session *s,
                        const char *severity,
                        const char *sqlstate,
                        const char *message,
                        const char *detail);
void session_send_notice(struct session *s,
                         const char *severity,
                         const char *sqlstate,
                         const char *message);
void session_send_complete(struct session *s, const char *tag);
void session_send_parameter(struct session *s, const char *name, const char *value);
void session_send_ready(struct session *s);
/* Reports the client's error, aborts its transaction and logs a refusal. */
void session_fail(
    struct session *s, const char *sqlstate, const char *message, const char *detail, bool refused);
/* Everything a statement needs before it may run: no failed transaction, no forbidden block, its
 * domains and long names, a transaction, the write lock. False: an error was sent. */
bool session_prepare(struct session *s, const struct statement *st);
/* Statements that never reach PostgreSQL as text. Sends rows (when `with_description` also their
 * description), and the tag; false: an error was sent. */
bool session_is_local(const struct statement *st);
bool session_run_local(struct session *s,
                       const struct statement *st,
                       const char *text,
                       bool with_description);
/* After PostgreSQL has run a statement: its second half, TRUNCATE's commit, dropped statements. */
bool session_after(struct session *s, const struct statement *st);
/* Ends an implicit transaction; false when the commit failed (an error was sent). */
bool session_finish_implicit(struct session *s);
/* Sends PostgreSQL's error in Redshift's words. */
void session_relay_error(struct session *s, const struct backend_message *message);
void session_relay_notice(struct session *s, const struct backend_message *message);
/* A tag without the counts that Redshift does not give. */
void session_translate_tag(const struct statement *st, const char *tag, char *ret, size_t size);
const char *session_setting(const struct session *s, const char *name);
/* Makes a setting true on the backend and in the session; false: an error was sent. */
bool session_apply_setting(struct session *s, const struct statement *st);
/* A long name comes back whole; other names come back as they are. */
const char *session_full_name(struct session *s, const char *backend);
struct backend *session_side(struct session *s); /* NULL: an error was sent */
void session_show_description(const struct statement *st, struct bytes *out);

/* ---- extended.c */
void extended_handle(struct session *s, const struct client_message *message);
void extended_drop_portals(struct session *s);
void extended_drop_named(struct session *s);
void extended_deallocate(struct session *s, const struct statement *st);
void extended_done(struct session *s);

#endif
