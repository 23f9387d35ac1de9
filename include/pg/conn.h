#ifndef PG_CONN_H
#define PG_CONN_H

/*
 * One connection to the warehouse, kept open, never blocking. Statements are given as batches: a
 * list that is sent in flights (libpq's pipeline mode), each ended by a Sync where the list says so
 * or at its end. Results come back in order. One batch at a time.
 *
 *      BEGIN; LOCK t  |sync|  SELECT ... |sync|  CREATE TEMP ..., COPY ..., SELECT count |sync|
 * COMMIT |sync|
 *
 * Why not always one flight: LOCK is sent alone and waited for, since a lock sent in a batch was
 * seen not to take effect on Redshift; a statement that refuses a transaction block has its own
 * Sync; and what follows a decision (a count that must agree) waits for it.
 */

#include "base/arena.h"
#include "base/error.h"
#include "base/figures.h"
#include "base/secret.h"
#include "base/span.h"
#include "runtime/op.h"

struct pgc_conn;

enum pgc_tls { PGC_TLS_REQUIRE, PGC_TLS_VERIFY_CA, PGC_TLS_VERIFY_FULL, PGC_TLS_PREFER };

/* All strings are copied. */
struct pgc_options {
    const char *host;
    const char *port;
    const char *user;
    const struct secret *password;
    const char *database; /* "": left to the server */
    enum pgc_tls tls;
    /* A file, or "system". NULL: the system's roots where the mode verifies, none where not. */
    const char *root_certificate;
    const char *root_certificate_text; /* PEM, instead of a file; or NULL */
    /* Where to connect in place of host and port, through a tunnel say: a numeric address and a
     * port. Certificates and error texts are still about host and port. NULL: there. */
    const char *via_address, *via_port;
    /* A connect failed: what its owner knows about the cause. Consumes err, returns what is to be
     * reported in its place, which may be err. NULL: nothing. */
    struct error *(*explain)(void *ctx, struct error *err);
    void *explain_ctx;
    const char *application_name;
    uint64_t connect_timeout_ms;
    struct figures *figures; /* statements, round_trips; or NULL */
};

/* Does nothing yet, but must be ended with pgc_close like any other. Takes libpq's own variables
 * (PGOPTIONS, PGTZ, PGSSLROOTCERT, ...) out of the process's environment. */
struct pgc_conn *pgc_conn_new(struct loop *loop, const struct pgc_options *options);
/* Resolves (on the thread pool), connects, authenticates. Errors: ERROR_SQL with the SQLSTATE
 * (28000, 3D000: CONFIG), ERROR_TIMEOUT or ERROR_SYSTEM (RETRY). Texts name host, port, user and
 * database, never the password. A message that begins "authentication method 13" explains what it
 * means. May be called again after it failed or the connection was lost. */
void pgc_connect(struct pgc_conn *conn, op_done_fn *done, void *ctx);
/* Neither known to be broken nor told to end. */
bool pgc_is_connected(const struct pgc_conn *conn);
/* The server's number for this session, as its views of locks and queries name it; 0 when there is
 * none. */
int pgc_server_pid(const struct pgc_conn *conn);
/* Drops the connection at once, whatever runs (its batch ends with an error first); closed(ctx)
 * follows when nothing of it is left in the loop, and the connection is freed by then. A statement
 * that waits or works may go on at the server: it finds out when it next writes to the socket. */
typedef void pgc_closed_fn(void *ctx);
void pgc_close(struct pgc_conn *conn, pgc_closed_fn *closed, void *ctx);
/* The same, but what runs is cancelled at the server first, so that it neither works on for nobody
 * nor keeps its locks: asked again every second until its end is seen, for PGC_END_MS at most. The
 * batch ends with ERROR_CANCELLED, and nothing further of it is sent. A request for cancelling that
 * hangs on its way is left behind on the thread pool. */
#define PGC_END_MS 3000
void pgc_end(struct pgc_conn *conn, pgc_closed_fn *closed, void *ctx);

/* ---- batches */

struct pgc_statement {
    const char *label;         /* "merging into public.orders": error texts and traces */
    const char *sql;           /* never logged whole: it may hold credentials */
    const char *const *params; /* text form, NULL is SQL NULL */
    unsigned param_count;
    bool sync;      /* end the flight here and wait for its results before sending more */
    bool is_simple; /* by the simple protocol, in a flight of its own: several statements in one
                       text, or a statement that must not be parsed ahead */
    const char *ignore_sqlstate; /* an error with this SQLSTATE is success (on_result still comes,
                                    with -1); needs sync; or NULL */
    const char *ignore_message_part; /* and, if set, a message that contains this */
    bool may_fail; /* any refusal by the server is success, with -1 as above; the last of its flight
                    */
};

/* One row. values[i] has ptr NULL for SQL NULL; lent for the call. */
struct pgc_row {
    unsigned count;
    const struct span *values;
};

struct pgc_batch {
    const struct pgc_statement *statements; /* lent until done */
    unsigned count;
    /* Rows of statement `index`, one at a time as they arrive. An error returned here ends the
     * batch with it (the transaction is then left to the owner's ROLLBACK); what of the flight was
     * already sent is read to its end. May be NULL. */
    struct error *(*on_row)(void *ctx, unsigned index, const struct pgc_row *row);
    /* A statement succeeded; tag_rows is the count in its command tag, -1 when it has none. An
     * error returned here ends the batch before anything of the next flight is sent. May be NULL.
     */
    struct error *(*on_result)(void *ctx, unsigned index, int64_t tag_rows);
    void *ctx; /* of the two above */
};

/* done(ctx, err): the first error, wrapped with the statement's label: ERROR_SQL with the SQLSTATE,
 * class by what Redshift means by it (1023/XX000, 40P01, conflict with concurrent transaction, a
 * resize: RETRY; 28xxx, 42501, 53100: CONFIG; others ABORT), or ERROR_SYSTEM RETRY when the
 * connection broke (then pgc_is_connected is false, and the text says whether the statement had
 * been sent: if so, its outcome is unknown). The connection may be in a failed transaction: send
 * ROLLBACK. Message and detail of the server are kept apart for the owner: see pgc_last_message. */
void pgc_run(struct pgc_conn *conn, const struct pgc_batch *batch, op_done_fn *done, void *ctx);
/* Asks the server to cancel what runs (PQcancel on the thread pool); the batch still ends by
 * itself, and the connection is of use afterwards. */
void pgc_cancel(struct pgc_conn *conn);

/* Stops reading rows from the socket until resumed: stdout is backed up. */
void pgc_pause(struct pgc_conn *conn);
void pgc_resume(struct pgc_conn *conn);

/* Of the last failed statement: the primary message alone, "" if none; index of the statement. */
const char *pgc_last_message(const struct pgc_conn *conn);
unsigned pgc_last_failed(const struct pgc_conn *conn);

#endif
