/*
 * pg/conn: one connection from host name to the end. Comes in: options and wishes (connect, run,
 * cancel, close) from the rooms above; goes out: facts for batch.c while the connection stands, and
 * errors that name the server but no secret. It never knows what the statements are for.
 *
 * The states are drawn in inner.h. The operation lives as long as the connection; connecting and
 * batches have their own done functions, which are called from its step. Each such call is the last
 * act of a step, because the owner may ask for the next thing there.
 */

#define _GNU_SOURCE /* memfd_create(2) */

#include "inner.h"

#include "base/buf.h"
#include "base/log.h"
#include "runtime/work.h"
#include "words.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Long statements leave the socket silent for minutes. AWS's NAT gateways and load balancers forget
 * a silent flow after 350 s, so probes come well below that (Management Guide,
 * connecting-firewall-guidance). The last is for what we sent and nobody confirmed. */
#define KEEPALIVE_IDLE_S "60"
#define KEEPALIVE_INTERVAL_S "30"
#define KEEPALIVE_COUNT "5"
#define TCP_USER_TIMEOUT_MS "210000"

/* No file has this name. libpq would otherwise look into ~/.postgresql for certificates, and
 * sslmode=require means more than it says when a root certificate lies there. */
#define NO_FILE "/nonexistent/materialize-redshift"

#define CANCEL_WORDS_BYTES 256
#define ROOT_PATH_BYTES 32

static const char *const state_names[] = {CONN_STATES(OP_STATE_NAME)};

static const uint32_t moves[] = {
    [CONN_DOWN] = OP_MOVE(CONN_RESOLVING) | OP_MOVE(CONN_CLOSING),
    [CONN_RESOLVING] = OP_MOVE(CONN_CONNECTING) | OP_MOVE(CONN_DOWN) | OP_MOVE(CONN_CLOSING),
    [CONN_CONNECTING] = OP_MOVE(CONN_IDLE) | OP_MOVE(CONN_DOWN) | OP_MOVE(CONN_CLOSING),
    [CONN_IDLE] = OP_MOVE(CONN_RUNNING) | OP_MOVE(CONN_DOWN) | OP_MOVE(CONN_CLOSING),
    [CONN_RUNNING] = OP_MOVE(CONN_IDLE) | OP_MOVE(CONN_DOWN) | OP_MOVE(CONN_CLOSING),
    [CONN_CLOSING] = 0,
};

/* The server may get a request between two statements of a flight, where it has no effect. */
#define CANCEL_AGAIN_MS 1000

/* A cancel request on its way. */
struct cancel {
    struct pgc_conn *conn; /* NULL: it was closed meanwhile */
    uint64_t conn_id;
    PGcancel *pg_cancel;
    bool is_sent;
    char words[CANCEL_WORDS_BYTES];
};

static void conn_step(struct op *op);
static void conn_done(void *ctx, struct error *err);
static void clear_environment(void);
static void step_down(struct pgc_conn *conn);
static void step_resolving(struct pgc_conn *conn);
static void step_connecting(struct pgc_conn *conn);
static void step_idle(struct pgc_conn *conn);
static void step_ending(struct pgc_conn *conn);
static void step_closing(struct pgc_conn *conn);
static void start_closing(struct pgc_conn *conn);
static void on_resolved(void *ctx, struct resolve *resolve);
static void start_libpq(struct pgc_conn *conn);
static void poll_libpq(struct pgc_conn *conn);
static struct error *watch_socket(struct pgc_conn *conn, int events);
static void end_connect(struct pgc_conn *conn);
static void fail_connect(struct pgc_conn *conn, struct error *err);
static struct error *timeout_error(struct pgc_conn *conn);
static void let_go(struct pgc_conn *conn);
static void on_notice(void *ctx, const PGresult *res);
static void start_cancel(struct pgc_conn *conn);
static void send_cancel(void *ctx);
static void end_cancel(void *ctx);

static const struct op_kind conn_kind = {
    .name = "pg connection",
    .state_names = state_names,
    .state_count = ARRAY_LEN(state_names),
    .moves = moves,
    .step = conn_step,
};

/* ---------------------------------------------------------------- doors */

static char *copy_if_set(const char *text)
{
    return text ? mem_strdup(text) : NULL;
}

struct pgc_conn *pgc_conn_new(struct loop *loop, const struct pgc_options *options)
{
    struct pgc_conn *conn = mem_alloc(sizeof(*conn));

    clear_environment();
    op_init(&conn->op, loop, &conn_kind, conn_done, conn);
    conn->loop = loop;
    conn->host = mem_strdup(options->host);
    conn->port = mem_strdup(options->port);
    conn->user = mem_strdup(options->user);
    conn->database = mem_strdup(options->database ? options->database : "");
    conn->application_name = mem_strdup(options->application_name ? options->application_name : "");
    conn->root_certificate = copy_if_set(options->root_certificate);
    conn->root_text = copy_if_set(options->root_certificate_text);
    conn->root_fd = -1;
    conn->via_address = copy_if_set(options->via_address);
    conn->via_port = copy_if_set(options->via_port);
    conn->explain = options->explain;
    conn->explain_ctx = options->explain_ctx;
    conn->password = options->password ? secret_copy(options->password) : NULL;
    conn->tls = options->tls;
    conn->connect_timeout_ms = options->connect_timeout_ms;
    conn->figures = options->figures;
    return conn;
}

void pgc_connect(struct pgc_conn *conn, op_done_fn *done, void *ctx)
{
    CHECK(!conn->must_close && !conn->is_ending);
    CHECK(!conn->connect_done && !conn->run.done && !conn->pg);
    conn->connect_done = done;
    conn->connect_ctx = ctx;
    op_mark(&conn->op);
}

bool pgc_is_connected(const struct pgc_conn *conn)
{
    return (conn->op.state == CONN_IDLE || conn->op.state == CONN_RUNNING) && !conn->is_ending &&
           PQstatus(conn->pg) == CONNECTION_OK;
}

int pgc_server_pid(const struct pgc_conn *conn)
{
    return conn->pg ? PQbackendPID(conn->pg) : 0;
}

void pgc_close(struct pgc_conn *conn, pgc_closed_fn *closed, void *ctx)
{
    CHECK(!conn->must_close);
    conn->must_close = true;
    conn->closed = closed;
    conn->closed_ctx = ctx;
    op_mark(&conn->op);
}

void pgc_end(struct pgc_conn *conn, pgc_closed_fn *closed, void *ctx)
{
    uint64_t now = loop_now_ms(conn->loop);

    CHECK(!conn->must_close && !conn->is_ending);
    conn->is_ending = true;
    conn->closed = closed;
    conn->closed_ctx = ctx;
    conn->end_by_ms = now + PGC_END_MS;
    conn->cancel_at_ms = now;
    if (conn->run.done) {
        /* From here on answers are only read to the end of their flight. */
        conn->run.err = error_join(
            conn->run.err, error_new(ERROR_CANCELLED, ERROR_ABORT, "the connection is given up"));
    }
    op_mark(&conn->op);
}

void pgc_run(struct pgc_conn *conn, const struct pgc_batch *batch, op_done_fn *done, void *ctx)
{
    CHECK(!conn->must_close && !conn->is_ending);
    CHECK(!conn->run.done && !conn->connect_done && done);
    for (unsigned i = 0; i < batch->count; i++) {
        /* What follows in the flight would be skipped after the error that is to be ignored. */
        CHECK((!batch->statements[i].ignore_sqlstate && !batch->statements[i].may_fail) ||
              batch->statements[i].sync || batch->statements[i].is_simple || i + 1 == batch->count);
        CHECK(!batch->statements[i].is_simple || batch->statements[i].param_count == 0);
    }
    conn->run = (struct run){.batch = *batch, .done = done, .ctx = ctx};
    op_mark(&conn->op);
}

void pgc_cancel(struct pgc_conn *conn)
{
    if (conn->op.state == CONN_RUNNING && !conn->must_close) {
        start_cancel(conn);
    }
}

void pgc_pause(struct pgc_conn *conn)
{
    conn->is_paused = true;
    op_mark(&conn->op);
}

void pgc_resume(struct pgc_conn *conn)
{
    conn->is_paused = false;
    op_mark(&conn->op);
}

const char *pgc_last_message(const struct pgc_conn *conn)
{
    return conn->last_message ? conn->last_message : "";
}

unsigned pgc_last_failed(const struct pgc_conn *conn)
{
    return conn->last_failed;
}

/* ---------------------------------------------------------------- the step */

static void conn_step(struct op *op)
{
    struct pgc_conn *conn = CONTAINER_OF(op, struct pgc_conn, op);

    if (conn->is_ending && !conn->must_close) {
        step_ending(conn);
    }
    if (conn->must_close && op->state != CONN_CLOSING) {
        start_closing(conn);
        return;
    }
    switch ((enum conn_state)op->state) {
    case CONN_DOWN:
        step_down(conn);
        break;
    case CONN_RESOLVING:
        step_resolving(conn);
        break;
    case CONN_CONNECTING:
        step_connecting(conn);
        break;
    case CONN_IDLE:
        step_idle(conn);
        break;
    case CONN_RUNNING:
        run_step(conn);
        break;
    case CONN_CLOSING:
        step_closing(conn);
        break;
    }
}

static void step_down(struct pgc_conn *conn)
{
    if (conn->run.done) {
        run_refuse(conn);
        return;
    }
    if (!conn->connect_done) {
        return;
    }
    mem_free(conn->lost_words);
    conn->lost_words = NULL;
    if (!conn->timer) {
        conn->timer = timer_new(&conn->op);
    }
    timer_start(conn->timer, conn->connect_timeout_ms);
    conn->is_resolved = conn->via_address != NULL;
    if (conn->via_address) {
        mem_free(conn->addresses);
        conn->addresses = mem_strdup(conn->via_address);
        conn->address_count = 1;
    } else {
        conn->job_count++;
        conn->wait = resolve_start(conn->loop, conn->host, on_resolved, conn);
    }
    op_set_state(&conn->op, CONN_RESOLVING);
}

static void step_resolving(struct pgc_conn *conn)
{
    if (conn->is_resolved) {
        struct error *err = conn->resolve_err;
        conn->resolve_err = NULL;
        if (err) {
            fail_connect(conn, err);
        } else {
            start_libpq(conn);
        }
    } else if (timer_has_expired(conn->timer)) {
        conn->wait = NULL;
        fail_connect(conn, timeout_error(conn));
    }
}

static void step_connecting(struct pgc_conn *conn)
{
    if (timer_has_expired(conn->timer)) {
        fail_connect(conn, timeout_error(conn));
    } else if (watch_take(conn->watch) != 0) {
        poll_libpq(conn);
    }
}

static void step_idle(struct pgc_conn *conn)
{
    if (watch_take(conn->watch) & WATCH_READ) {
        /* Nothing is asked, so this is a notice, or the server's last word. PQisBusy parses it. */
        bool is_open = PQconsumeInput(conn->pg) == 1;
        (void)PQisBusy(conn->pg);
        if (!is_open || PQstatus(conn->pg) != CONNECTION_OK) {
            conn_note_lost(conn, PQerrorMessage(conn->pg));
            conn_break(conn);
            return; /* DOWN refuses a batch that waits */
        }
    }
    if (conn->run.done) {
        op_set_state(&conn->op, CONN_RUNNING);
    }
}

/* Only a statement that the server works on is worth the wait. */
static void step_ending(struct pgc_conn *conn)
{
    uint64_t now = loop_now_ms(conn->loop);

    if (conn->op.state != CONN_RUNNING || !conn->run.in_flight || now >= conn->end_by_ms) {
        conn->must_close = true;
        return;
    }
    if (now >= conn->cancel_at_ms) {
        start_cancel(conn);
        conn->cancel_at_ms = now + CANCEL_AGAIN_MS;
        timer_start(conn->timer, CANCEL_AGAIN_MS);
    }
}

static void step_closing(struct pgc_conn *conn)
{
    if (conn->job_count == 0) {
        op_finish(&conn->op);
    }
}

/* ---------------------------------------------------------------- connecting */

static void on_resolved(void *ctx, struct resolve *resolve)
{
    struct pgc_conn *conn = ctx;

    conn->job_count--;
    if (conn->wait == resolve) { /* else nobody waits for it any more */
        conn->wait = NULL;
        conn->is_resolved = true;
        conn->resolve_err = resolve_error(resolve);
        mem_free(conn->addresses);
        conn->addresses = mem_strdup(resolve_addresses(resolve));
        conn->address_count = resolve_count(resolve);
    }
    op_mark(&conn->op);
}

/* libpq wants a file. This one has no name that anyone else could write to. */
static struct error *write_root(struct pgc_conn *conn, char path[ROOT_PATH_BYTES])
{
    size_t len = strlen(conn->root_text);

    if (conn->root_fd < 0) {
        conn->root_fd = memfd_create("tls_root_certificate", MFD_CLOEXEC);
        if (conn->root_fd < 0 || write(conn->root_fd, conn->root_text, len) != (ssize_t)len) {
            return error_from_errno(errno, ERROR_ABORT, "keeping the root certificate for TLS");
        }
    }
    (void)snprintf(path, ROOT_PATH_BYTES, "/proc/self/fd/%d", conn->root_fd);
    return NULL;
}

static void start_libpq(struct pgc_conn *conn)
{
    static const char *const modes[] = {
        [PGC_TLS_REQUIRE] = "require",
        [PGC_TLS_VERIFY_CA] = "verify-ca",
        [PGC_TLS_VERIFY_FULL] = "verify-full",
        [PGC_TLS_PREFER] = "prefer",
    };
    /* Where distributions keep the system's roots; libpq knows "system" from version 16 on, and
     * then for verify-full only. */
    static const char *const system_roots[] = {"/etc/ssl/certs/ca-certificates.crt",
                                               "/etc/pki/tls/certs/ca-bundle.crt"};
    bool must_verify = conn->tls == PGC_TLS_VERIFY_CA || conn->tls == PGC_TLS_VERIFY_FULL;
    const char *root = must_verify ? "system" : NO_FILE;
    char root_path[ROOT_PATH_BYTES];
    struct buf hosts;

    if (conn->root_certificate) {
        root = conn->root_certificate;
    }
    if (conn->root_text) {
        struct error *err = write_root(conn, root_path);
        if (err) {
            fail_connect(conn, err);
            return;
        }
        root = root_path;
    }
    if (strcmp(root, "system") == 0) {
        root = access(system_roots[0], R_OK) == 0 ? system_roots[0] : system_roots[1];
    }
    /* The name stays beside each address: certificates are checked against it. */
    buf_init(&hosts, (strlen(conn->host) + 1) * conn->address_count);
    for (unsigned i = 0; i < conn->address_count; i++) {
        if (i > 0) {
            buf_add_byte(&hosts, ',');
        }
        buf_add_str(&hosts, conn->host);
    }
    /* libpq takes an empty value for an absent one. */
    const struct {
        const char *name, *value;
    } rows[] = {
        {"host", hosts.data},
        {"hostaddr", conn->addresses},
        {"port", conn->via_port ? conn->via_port : conn->port},
        {"user", conn->user},
        {"password", secret_text(conn->password)},
        {"dbname", conn->database},
        {"application_name", conn->application_name},
        {"sslmode", modes[conn->tls]},
        {"sslrootcert", root},
        {"ssl_min_protocol_version", "TLSv1.2"}, /* what the server asks for, too */
        {"sslcert", NO_FILE},
        {"passfile", NO_FILE},
        {"gssencmode", "disable"}, /* a ticket in the cache would make libpq begin with Kerberos */
        {"channel_binding", "disable"},
        {"target_session_attrs", "any"},
        {"client_encoding", "UTF8"}, /* Redshift calls its own UNICODE */
        {"keepalives", "1"},
        {"keepalives_idle", KEEPALIVE_IDLE_S},
        {"keepalives_interval", KEEPALIVE_INTERVAL_S},
        {"keepalives_count", KEEPALIVE_COUNT},
        {"tcp_user_timeout", TCP_USER_TIMEOUT_MS},
    };
    const char *names[ARRAY_LEN(rows) + 1] = {NULL}, *values[ARRAY_LEN(rows) + 1] = {NULL};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        names[i] = rows[i].name;
        values[i] = rows[i].value;
    }
    /* 0: a database name is a name, never a connection string. */
    conn->pg = PQconnectStartParams(names, values, 0);
    buf_done(&hosts);
    CHECK(conn->pg); /* out of memory */
    op_set_state(&conn->op, CONN_CONNECTING);
    if (PQstatus(conn->pg) == CONNECTION_BAD) {
        fail_connect(conn, words_connect_error(PQerrorMessage(conn->pg)));
        return;
    }
    /* The SQLSTATE of a refused login is in no field, only in a verbose text. */
    (void)PQsetErrorVerbosity(conn->pg, PQERRORS_VERBOSE);
    (void)PQsetNoticeReceiver(conn->pg, on_notice, conn);
    struct error *err = watch_socket(conn, WATCH_WRITE);
    if (err) {
        fail_connect(conn, err);
    }
}

/* Each poll may close the socket and open another, even under the same number (next address, TLS
 * refused), so the watch goes before and comes anew. */
static void poll_libpq(struct pgc_conn *conn)
{
    struct error *err = NULL;

    watch_close(&conn->watch);
    switch (PQconnectPoll(conn->pg)) {
    case PGRES_POLLING_READING:
        err = watch_socket(conn, WATCH_READ);
        break;
    case PGRES_POLLING_WRITING:
        err = watch_socket(conn, WATCH_WRITE);
        break;
    case PGRES_POLLING_OK:
        err = watch_socket(conn, WATCH_READ);
        if (!err) {
            end_connect(conn);
            return;
        }
        break;
    case PGRES_POLLING_FAILED:
    case PGRES_POLLING_ACTIVE: /* not used by libpq */
        err = words_connect_error(PQerrorMessage(conn->pg));
        break;
    }
    if (err) {
        fail_connect(conn, err);
    }
}

static struct error *watch_socket(struct pgc_conn *conn, int events)
{
    int fd = PQsocket(conn->pg);

    if (fd < 0) {
        return error_new(ERROR_SYSTEM, ERROR_RETRY, "the socket was closed");
    }
    struct error *err = watch_new(&conn->op, fd, &conn->watch);
    if (!err) {
        err = watch_set(conn->watch, events);
    }
    return err;
}

static void end_connect(struct pgc_conn *conn)
{
    op_done_fn *done = conn->connect_done;

    timer_stop(conn->timer);
    conn->connect_done = NULL;
    (void)PQsetErrorVerbosity(conn->pg, PQERRORS_DEFAULT);
    if (PQsetnonblocking(conn->pg, 1) != 0) {
        conn->connect_done = done;
        fail_connect(conn, error_new(ERROR_SYSTEM, ERROR_RETRY, "the connection was lost at once"));
        return;
    }
    if (conn->figures) {
        conn->figures->round_trips++;
    }
    op_set_state(&conn->op, CONN_IDLE);
    done(conn->connect_ctx, NULL);
}

static void fail_connect(struct pgc_conn *conn, struct error *err)
{
    op_done_fn *done = conn->connect_done;

    err = error_wrap(err, "connecting to %s port %s as user \"%s\" to database \"%s\"", conn->host,
                     conn->port, conn->user, conn->database);
    if (conn->explain) {
        err = conn->explain(conn->explain_ctx, err);
    }
    timer_stop(conn->timer);
    conn->connect_done = NULL;
    conn_break(conn);
    done(conn->connect_ctx, err);
}

static struct error *timeout_error(struct pgc_conn *conn)
{
    const char *what = "resolving the host name";

    if (conn->pg) {
        switch (PQstatus(conn->pg)) {
        case CONNECTION_STARTED:
            what = "waiting for the TCP connection";
            break;
        case CONNECTION_SSL_STARTUP:
            what = "starting TLS";
            break;
        default:
            what = "waiting for the server's answer to the login";
            break;
        }
    }
    return error_new(ERROR_TIMEOUT, ERROR_RETRY, "no success within %llu ms, still %s",
                     (unsigned long long)conn->connect_timeout_ms, what);
}

/* libpq copies these into its startup packet, or reads files they name. What the product was not
 * told by its configuration must not reach the server: Redshift ends the connection over a setting
 * that it does not know. There is no other way to keep libpq from PGDATESTYLE, PGTZ and PGGEQO.
 * Only the first connection finds any of them, and then no worker thread reads the environment yet.
 */
static void clear_environment(void)
{
    static const char *const names[] = {
        "PGOPTIONS",
        "PGDATESTYLE",
        "PGTZ",
        "PGGEQO",
        "PGSERVICE",
        "PGSERVICEFILE",
        "PGPASSFILE",
        "PGPASSWORD",
        "PGHOST",
        "PGHOSTADDR",
        "PGPORT",
        "PGUSER",
        "PGDATABASE",
        "PGAPPNAME",
        "PGSSLMODE",
        "PGREQUIRESSL",
        "PGSSLCOMPRESSION",
        "PGSSLCERT",
        "PGSSLKEY",
        "PGSSLROOTCERT",
        "PGSSLCRL",
        "PGSSLCRLDIR",
        "PGSSLSNI",
        "PGREQUIREPEER",
        "PGSSLMINPROTOCOLVERSION",
        "PGSSLMAXPROTOCOLVERSION",
        "PGGSSENCMODE",
        "PGKRBSRVNAME",
        "PGGSSLIB",
        "PGCONNECT_TIMEOUT",
        "PGCLIENTENCODING",
        "PGTARGETSESSIONATTRS",
        "PGCHANNELBINDING",
    };

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (getenv(names[i])) {
            (void)unsetenv(names[i]);
        }
    }
}

/* ---------------------------------------------------------------- losing and closing */

void conn_break(struct pgc_conn *conn)
{
    let_go(conn);
    op_set_state(&conn->op, CONN_DOWN);
}

void conn_note_lost(struct pgc_conn *conn, const char *words)
{
    struct buf text;

    if (conn->lost_words || !words) {
        return; /* the first is the cause */
    }
    buf_init(&text, 2 * WORDS_MAX_BYTES);
    words_add_scrubbed(&text, words);
    if (text.len > 0) {
        conn->lost_words = mem_strdup(text.data);
    }
    buf_done(&text);
}

const char *conn_lost_words(const struct pgc_conn *conn)
{
    return conn->lost_words ? conn->lost_words : "no reason given";
}

/* The owner gets the batch's (or connect's) end first, then closed. */
static void start_closing(struct pgc_conn *conn)
{
    op_done_fn *connect_done = conn->connect_done;

    let_go(conn);
    if (conn->cancel) {
        conn->cancel->conn = NULL;
        conn->cancel = NULL;
    }
    conn->wait = NULL;
    conn->connect_done = NULL;
    op_set_state(&conn->op, CONN_CLOSING);
    struct error *err = NULL;
    if (connect_done || conn->run.done) {
        err = error_new(ERROR_CANCELLED, ERROR_ABORT, "the connection to %s was closed from here",
                        conn->host);
    }
    if (conn->run.done) {
        run_finish(conn, err);
    } else if (connect_done) {
        connect_done(conn->connect_ctx, err);
    }
}

static void let_go(struct pgc_conn *conn)
{
    if (conn->watch) {
        watch_close(&conn->watch);
    }
    if (conn->pg) {
        PQfinish(conn->pg);
        conn->pg = NULL;
    }
    if (conn->timer) {
        timer_stop(conn->timer);
    }
}

static void conn_done(void *ctx, struct error *err)
{
    struct pgc_conn *conn = ctx;
    pgc_closed_fn *closed = conn->closed;
    void *closed_ctx = conn->closed_ctx;

    error_drop(err, "a connection that was asked to close has nothing left to fail");
    error_drop(conn->resolve_err, "nobody waits for the addresses any more");
    mem_free(conn->host);
    mem_free(conn->port);
    mem_free(conn->user);
    mem_free(conn->database);
    mem_free(conn->root_certificate);
    mem_free(conn->root_text);
    if (conn->root_fd >= 0) {
        (void)close(conn->root_fd);
    }
    mem_free(conn->via_address);
    mem_free(conn->via_port);
    mem_free(conn->application_name);
    mem_free(conn->addresses);
    mem_free(conn->values);
    mem_free(conn->lost_words);
    mem_free(conn->last_message);
    secret_free(conn->password);
    mem_free(conn);
    if (closed) {
        closed(closed_ctx);
    }
}

/* Notices are of no use to us, except the last words of a server that hangs up. */
static void on_notice(void *ctx, const PGresult *res)
{
    const char *severity = PQresultErrorField(res, PG_DIAG_SEVERITY);

    if (severity && (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0)) {
        conn_note_lost(ctx, PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY));
    }
}

/* ---------------------------------------------------------------- cancelling */

static void start_cancel(struct pgc_conn *conn)
{
    PGcancel *pg_cancel = conn->cancel ? NULL : PQgetCancel(conn->pg);

    if (!pg_cancel) {
        return; /* one is on its way, or the connection is broken and the batch ends by itself */
    }
    struct cancel *cancel = mem_alloc(sizeof(*cancel));
    cancel->conn = conn;
    cancel->conn_id = conn->op.id;
    cancel->pg_cancel = pg_cancel;
    conn->cancel = cancel;
    work_start(conn->loop, send_cancel, end_cancel, cancel);
}

/* On a worker thread: it opens a connection of its own, and blocks. */
static void send_cancel(void *ctx)
{
    struct cancel *cancel = ctx;

    cancel->is_sent = PQcancel(cancel->pg_cancel, cancel->words, (int)sizeof(cancel->words)) == 1;
}

static void end_cancel(void *ctx)
{
    struct cancel *cancel = ctx;

    if (!cancel->is_sent) {
        log_debug("pg connection %llu: cancel request: %s", (unsigned long long)cancel->conn_id,
                  cancel->words);
    }
    if (cancel->conn) {
        cancel->conn->cancel = NULL;
    }
    PQfreeCancel(cancel->pg_cancel);
    mem_free(cancel);
}
