#ifndef PG_INNER_H
#define PG_INNER_H

/* One connection from the inside: what conn.c (connecting, closing, states) and batch.c (statements
 * and results) share. Private to this room. */

#include "pg/conn.h"
#include "runtime/resolve.h"
#include "runtime/timer.h"
#include "runtime/watch.h"

#include <libpq-fe.h>

/*
 *                     .------------ failed, lost ----------.
 *                     v                |          |        |
 *      (new) ------> DOWN -> RESOLVING -> CONNECTING -> IDLE <-> RUNNING
 *                     '-----------'------------'---------'--------'----> CLOSING -> done
 */
#define CONN_STATES(X) X(DOWN) X(RESOLVING) X(CONNECTING) X(IDLE) X(RUNNING) X(CLOSING)

enum conn_state {
#define CONN_STATE_ENUM(name) CONN_##name,
    CONN_STATES(CONN_STATE_ENUM)
#undef CONN_STATE_ENUM
};

/* The batch under way.
 *
 *      statements   0   1   2 |sync|  3   4   5 |sync|  6
 *                                     ^first  ^current  ^end        a flight of three, one answered
 */
struct run {
    struct pgc_batch batch;
    op_done_fn *done; /* NULL: no batch */
    void *ctx;
    unsigned first, current, end; /* the flight; current: the first statement not yet answered */
    bool in_flight;               /* sent, and its end has not been read */
    bool is_simple;               /* the flight is one simple query */
    bool row_mode_set;            /* single-row mode asked for the current statement */
    bool has_failed;              /* the current statement: an error, or skipped after one */
    bool must_break;              /* the server left the protocol we can follow */
    int64_t tag_rows;             /* the current statement's, -1: none */
    struct error *err; /* the batch's first error: results are only drained from now on */
};

struct pgc_conn {
    struct op op;
    struct loop *loop;

    char *host, *port, *user, *database, *application_name;
    char *root_certificate, *root_text;
    int root_fd; /* the file in memory that root_text stands in; -1: none */
    char *via_address, *via_port;
    struct error *(*explain)(void *ctx, struct error *err);
    void *explain_ctx;
    struct secret *password;
    enum pgc_tls tls;
    uint64_t connect_timeout_ms;
    struct figures *figures;

    PGconn *pg;            /* NULL in DOWN, RESOLVING and CLOSING */
    struct watch *watch;   /* of PQsocket(pg); closed before libpq may close that */
    struct timer *timer;   /* the connect timeout */
    unsigned job_count;    /* work on the thread pool that closing waits for */
    struct cancel *cancel; /* a request on its way, which closing leaves behind; or NULL */
    struct resolve *wait;  /* the resolve whose answer counts; an abandoned one is only a job */

    /* facts about the addresses, valid in RESOLVING once is_resolved */
    bool is_resolved;
    struct error *resolve_err;
    char *addresses;
    unsigned address_count;

    op_done_fn *connect_done; /* NULL: nobody waits for the connection */
    void *connect_ctx;
    bool must_close;
    bool is_ending;        /* what runs is being cancelled; then must_close */
    uint64_t end_by_ms;    /* at the latest */
    uint64_t cancel_at_ms; /* when to ask (again) for the statement to be cancelled */
    pgc_closed_fn *closed;
    void *closed_ctx;

    struct run run;
    bool is_paused;
    struct span *values; /* one row's, reused; grows to the widest row */
    unsigned value_room;

    char *lost_words;   /* what the server said before it hung up, scrubbed; or NULL */
    char *last_message; /* or NULL */
    unsigned last_failed;
};

/* ---- conn.c */
void conn_break(struct pgc_conn *conn); /* lets go of the socket; state DOWN */
void conn_note_lost(struct pgc_conn *conn, const char *words);
/* What is known about the loss, never empty; lives until the next connect. */
const char *conn_lost_words(const struct pgc_conn *conn);

/* ---- batch.c */
/* One step in RUNNING. May end the batch, as its last act. */
void run_step(struct pgc_conn *conn);
/* Ends the batch of a connection that broke before anything was sent. Last act. */
void run_refuse(struct pgc_conn *conn);
/* Ends the batch with err, in whatever state. Last act. */
void run_finish(struct pgc_conn *conn, struct error *err);

#endif
