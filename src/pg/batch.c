/*
 * pg/batch: statements out, results in. Comes in: a list of statements from the rooms above, and
 * the facts of the socket; goes out: rows and counts, one by one as they arrive, and the batch's
 * first error. It never knows how the connection came about, and writes no SQL into any text.
 *
 * A flight is what is sent before anything is waited for: one simple query, or a run of statements
 * up to the one that ends with a Sync (libpq's pipeline mode). After an error the server skips the
 * rest of the flight, and nothing further is sent.
 *
 *      send flight -> flush -> [row ... row, end] per statement -> sync -> next flight or done
 */

#include "inner.h"

#include "base/text.h"
#include "words.h"

#include <string.h>

static bool send_flight(struct pgc_conn *conn);
static bool send_statement(struct pgc_conn *conn, const struct pgc_statement *statement);
static void take_results(struct pgc_conn *conn);
static void take_result(struct pgc_conn *conn, PGresult *res);
static void give_rows(struct pgc_conn *conn, const PGresult *res);
static void take_failure(struct pgc_conn *conn, const PGresult *res);
static bool must_ignore(const struct pgc_statement *statement, const char *state, const char *text);
static void end_statement(struct pgc_conn *conn);
static void end_lost(struct pgc_conn *conn);
static void wait_for_socket(struct pgc_conn *conn);

/* ---------------------------------------------------------------- the step */

void run_step(struct pgc_conn *conn)
{
    struct run *run = &conn->run;
    bool is_open = true;

    if (watch_take(conn->watch) & WATCH_READ) {
        is_open = PQconsumeInput(conn->pg) == 1;
    }
    take_results(conn);
    if (conn->must_close) {
        return; /* asked for in a callback; the operation is marked */
    }
    /* What arrived before a loss was read above; a paused batch reads it first, too. */
    bool is_held = conn->is_paused && !run->err;
    if (run->must_break || (!is_held && (!is_open || PQstatus(conn->pg) != CONNECTION_OK))) {
        conn_note_lost(conn, PQerrorMessage(conn->pg));
        end_lost(conn);
        return;
    }
    if (!run->in_flight) {
        if (run->err || run->end == run->batch.count) {
            struct error *err = run->err;
            run->err = NULL;
            op_set_state(&conn->op, CONN_IDLE);
            struct error *watch_err = watch_set(conn->watch, WATCH_READ);
            error_drop(watch_err, "the next batch finds out what is wrong with the socket");
            run_finish(conn, err);
            return;
        }
        run->first = run->current = run->end;
        if (!send_flight(conn)) {
            conn_note_lost(conn, PQerrorMessage(conn->pg));
            end_lost(conn);
            return;
        }
    }
    wait_for_socket(conn);
}

static void wait_for_socket(struct pgc_conn *conn)
{
    struct run *run = &conn->run;
    int unsent = PQflush(conn->pg);
    int events = 0;

    if (unsent < 0) {
        conn_note_lost(conn, PQerrorMessage(conn->pg));
        end_lost(conn);
        return;
    }
    if (unsent > 0) {
        events |= WATCH_WRITE;
    }
    if (!conn->is_paused || run->err) {
        events |= WATCH_READ;
    }
    struct error *err = watch_set(conn->watch, events);
    if (err) {
        conn_note_lost(conn, error_text(err));
        error_drop(err, "its text is the reason of the loss");
        end_lost(conn);
    }
}

/* ---------------------------------------------------------------- sending */

static bool send_flight(struct pgc_conn *conn)
{
    struct run *run = &conn->run;
    const struct pgc_statement *statements = run->batch.statements;

    run->is_simple = statements[run->first].is_simple;
    do {
        run->end++;
    } while (!run->is_simple && run->end < run->batch.count && !statements[run->end - 1].sync &&
             !statements[run->end].is_simple);

    if (run->is_simple
            ? PQpipelineStatus(conn->pg) != PQ_PIPELINE_OFF && PQexitPipelineMode(conn->pg) != 1
            : PQenterPipelineMode(conn->pg) != 1) {
        return false;
    }
    run->tag_rows = -1;
    run->has_failed = false;
    run->row_mode_set = false;
    for (unsigned i = run->first; i < run->end; i++) {
        if (!send_statement(conn, &statements[i])) {
            return false;
        }
        /* From here on the server may have seen it. */
        run->in_flight = true;
    }
    if (!run->is_simple && PQpipelineSync(conn->pg) != 1) {
        return false;
    }
    if (conn->figures) {
        conn->figures->round_trips++;
    }
    return true;
}

/* Parameters are text, their types the server's affair. The unnamed statement is used: any DDL
 * drops named ones on Redshift. */
static bool send_statement(struct pgc_conn *conn, const struct pgc_statement *statement)
{
    if (conn->figures) {
        conn->figures->statements++;
    }
    if (statement->is_simple) {
        return PQsendQuery(conn->pg, statement->sql) == 1;
    }
    return PQsendQueryParams(conn->pg, statement->sql, (int)statement->param_count, NULL,
                             statement->params, NULL, NULL, 0) == 1;
}

/* ---------------------------------------------------------------- results */

static void take_results(struct pgc_conn *conn)
{
    struct run *run = &conn->run;

    while (run->in_flight && !run->must_break && !conn->must_close &&
           (!conn->is_paused || run->err)) {
        /* For each statement, before anything of its result is parsed (PQisBusy parses). It is
         * refused where no row can come any more, which is fine. */
        if (!run->row_mode_set && run->current < run->end) {
            (void)PQsetSingleRowMode(conn->pg);
            run->row_mode_set = true;
        }
        if (PQisBusy(conn->pg)) {
            return;
        }
        PGresult *res = PQgetResult(conn->pg);
        if (res) {
            take_result(conn, res);
            PQclear(res);
        } else if (run->current < run->end) {
            end_statement(conn);
        } else {
            run->must_break = true; /* the end of the flight is a result, not NULL */
        }
        if (PQstatus(conn->pg) != CONNECTION_OK) {
            return;
        }
    }
}

static void take_result(struct pgc_conn *conn, PGresult *res)
{
    struct run *run = &conn->run;
    struct span tag;
    uint64_t rows;

    switch (PQresultStatus(res)) {
    case PGRES_SINGLE_TUPLE:
        give_rows(conn, res);
        break;
    case PGRES_TUPLES_OK:
        give_rows(conn, res); /* none, unless single-row mode was refused */
        break;
    case PGRES_COMMAND_OK:
        /* Only INSERT, UPDATE, DELETE and MOVE have a count on Redshift. */
        tag = span_of(PQcmdTuples(res));
        run->tag_rows =
            tag.len > 0 && text_to_uint64(tag, &rows) && rows <= INT64_MAX ? (int64_t)rows : -1;
        break;
    case PGRES_EMPTY_QUERY:
        break;
    case PGRES_PIPELINE_ABORTED:
        run->has_failed = true;
        break;
    case PGRES_PIPELINE_SYNC:
        run->in_flight = false;
        break;
    case PGRES_FATAL_ERROR:
    case PGRES_BAD_RESPONSE:
    case PGRES_NONFATAL_ERROR:
        take_failure(conn, res);
        break;
    default: /* a copy over the connection, which Redshift cannot, or a newer libpq's chunks */
        conn_note_lost(conn, "the server gave an answer of a kind that nobody asked for");
        run->must_break = true;
        break;
    }
}

static void give_rows(struct pgc_conn *conn, const PGresult *res)
{
    struct run *run = &conn->run;
    unsigned count = (unsigned)PQnfields(res);

    if (run->err || !run->batch.on_row) {
        return;
    }
    if (count > conn->value_room) {
        conn->values = mem_realloc(conn->values, count * sizeof(*conn->values));
        conn->value_room = count;
    }
    for (int row = 0; row < PQntuples(res) && !run->err; row++) {
        for (unsigned i = 0; i < count; i++) {
            conn->values[i] = PQgetisnull(res, row, (int)i)
                                  ? SPAN_NONE
                                  : (struct span){PQgetvalue(res, row, (int)i),
                                                  (size_t)PQgetlength(res, row, (int)i)};
        }
        /* The owner may also have given the connection up in there. */
        struct error *err =
            run->batch.on_row(run->batch.ctx, run->current, &(struct pgc_row){count, conn->values});
        run->err = error_join(run->err, err);
    }
}

static void take_failure(struct pgc_conn *conn, const PGresult *res)
{
    struct run *run = &conn->run;
    const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
    const char *severity = PQresultErrorField(res, PG_DIAG_SEVERITY);
    const char *message = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);

    run->has_failed = true;
    if (!state) {
        /* libpq's own words: the connection is lost, or what came makes no sense. */
        conn_note_lost(conn, PQresultErrorMessage(res));
        run->must_break = true;
        return;
    }
    message = message ? message : "";
    if (severity && (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0)) {
        /* The server hangs up. That is no answer to the statement. */
        conn_note_lost(conn, message);
        run->must_break = true;
        return;
    }
    /* The end of a flight without statements left cannot fail alone; be sure of the index. */
    unsigned index = run->current < run->end ? run->current : run->end - 1;
    const struct pgc_statement *statement = &run->batch.statements[index];
    if (must_ignore(statement, state, message)) {
        run->has_failed = false;
        return;
    }
    if (!run->err) {
        struct buf text;
        buf_init(&text, 2 * WORDS_MAX_BYTES);
        words_add_scrubbed(&text, message);
        mem_free(conn->last_message);
        conn->last_message = mem_strdup(text.data ? text.data : "");
        conn->last_failed = index;
        buf_done(&text);
    }
    struct error *err =
        error_wrap(words_sql_error(state, message, PQresultErrorField(res, PG_DIAG_MESSAGE_DETAIL)),
                   "%s", statement->label);
    run->err = error_join(run->err, err);
}

static bool must_ignore(const struct pgc_statement *statement, const char *state, const char *text)
{
    return statement->may_fail ||
           (statement->ignore_sqlstate && strcmp(statement->ignore_sqlstate, state) == 0 &&
            (!statement->ignore_message_part || strstr(text, statement->ignore_message_part)));
}

static void end_statement(struct pgc_conn *conn)
{
    struct run *run = &conn->run;

    if (!run->has_failed && !run->err && run->batch.on_result) {
        struct error *err = run->batch.on_result(run->batch.ctx, run->current, run->tag_rows);
        run->err = error_join(run->err, err);
    }
    run->current++;
    run->tag_rows = -1;
    run->has_failed = false;
    run->row_mode_set = false;
    if (run->is_simple) {
        run->in_flight = false;
    }
}

/* ---------------------------------------------------------------- the end */

/* A statement that was sent may have been done: the caller must look before it tries again. */
static void end_lost(struct pgc_conn *conn)
{
    struct run *run = &conn->run;
    const char *label = "ending the batch";
    struct error *err;

    if (run->current < run->end) {
        label = run->batch.statements[run->current].label;
    } else if (run->in_flight) {
        label = run->batch.statements[run->end - 1].label; /* its Sync was not answered */
    } else if (run->end < run->batch.count) {
        label = run->batch.statements[run->end].label;
    }
    if (run->in_flight) {
        err = error_new(ERROR_SYSTEM, ERROR_RETRY,
                        "%s: it was sent, but the connection was lost before the answer came, so "
                        "its outcome is unknown: %s",
                        label, conn_lost_words(conn));
    } else {
        err =
            error_new(ERROR_SYSTEM, ERROR_RETRY, "%s: it was not sent, the connection was lost: %s",
                      label, conn_lost_words(conn));
    }
    conn_break(conn);
    run_finish(conn, err); /* a note of the batch's first error, if there is one */
}

void run_refuse(struct pgc_conn *conn)
{
    struct run *run = &conn->run;

    run_finish(conn,
               error_new(ERROR_SYSTEM, ERROR_RETRY,
                         "%s: it was not sent, there is no connection to %s: %s",
                         run->batch.count > 0 ? run->batch.statements[0].label : "empty batch",
                         conn->host, conn->lost_words ? conn->lost_words : "none was made"));
}

void run_finish(struct pgc_conn *conn, struct error *err)
{
    op_done_fn *done = conn->run.done;
    void *ctx = conn->run.ctx;

    err = error_join(conn->run.err, err);
    conn->run = (struct run){.done = NULL};
    done(ctx, err);
}
