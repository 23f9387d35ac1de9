/*
 * A connection against a server that is played by a script (support/pg_peer.h). Every test ends
 * with loop_free, which fails when a handle or an operation is left, and with the peer's end.
 */

#include "pg/conn.h"

#include "base/buf.h"
#include "runtime/work.h"
#include "support/pg_peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* One conversation: connect, run up to two batches, close. */
struct trial {
    bool goes_via; /* the server is reached by another address than its own */
    bool must_encrypt;
    char explained[512]; /* what explain was given */
    struct pg_peer *peer;
    struct loop *loop;
    struct pgc_conn *conn;
    struct pgc_batch batch, second;
    struct figures figures;
    struct buf seen; /* "row 0 a;" "result 0 1;" in order */
    struct error *connect_err, *run_err, *second_err;
    unsigned connect_calls, run_calls, second_calls, closed_calls;
    bool was_connected; /* when the first batch had ended */
    unsigned last_failed;
    char last_message[256];
    /* what the callbacks do */
    unsigned fail_row;        /* on_row returns an error at this row; 0: never */
    bool fail_result;         /* on_result returns an error at once */
    bool must_pause, has_row; /* pause at the first row, resume when a job was done */
    bool is_paused;           /* no row may come now */
    bool must_end;            /* pgc_end from inside on_row */
    bool must_free_peer;      /* when the connection is closed, so that nothing hangs any more */
    bool must_close_at_row;   /* pgc_close from inside on_row */
    bool must_go;             /* let the peer go on when the first row has come */
    bool must_wait_for_loss;  /* run the first batch when the connection is known to be lost */
    uint64_t timeout_ms;
    unsigned row_count;
};

static void next_step(struct trial *trial);

static void on_closed(void *ctx)
{
    struct trial *trial = ctx;

    trial->closed_calls++;
    if (trial->must_free_peer) {
        pg_peer_free(trial->peer);
        trial->peer = NULL;
    }
}

static void on_second(void *ctx, struct error *err)
{
    struct trial *trial = ctx;

    trial->second_calls++;
    trial->second_err = err;
    pgc_close(trial->conn, on_closed, trial);
}

static void on_run(void *ctx, struct error *err)
{
    struct trial *trial = ctx;

    trial->run_calls++;
    trial->run_err = err;
    trial->was_connected = pgc_is_connected(trial->conn);
    trial->last_failed = pgc_last_failed(trial->conn);
    (void)snprintf(trial->last_message, sizeof(trial->last_message), "%s",
                   pgc_last_message(trial->conn));
    if ((trial->must_close_at_row || trial->must_end) && trial->has_row) {
        return; /* it was this that ended the batch */
    }
    if (trial->second.count > 0) {
        pgc_run(trial->conn, &trial->second, on_second, trial);
    } else {
        pgc_close(trial->conn, on_closed, trial);
    }
}

static void wait_for_end(void *ctx)
{
    pg_peer_wait_end(((struct trial *)ctx)->peer);
}

static void after_end(void *ctx)
{
    next_step(ctx);
}

static void next_step(struct trial *trial)
{
    if (trial->must_wait_for_loss && pgc_is_connected(trial->conn)) {
        work_start(trial->loop, wait_for_end, after_end, trial);
    } else if (trial->batch.count > 0) {
        pgc_run(trial->conn, &trial->batch, on_run, trial);
    } else {
        pgc_close(trial->conn, on_closed, trial);
    }
}

static void on_connect(void *ctx, struct error *err)
{
    struct trial *trial = ctx;

    trial->connect_calls++;
    trial->connect_err = err;
    if (err) {
        assert_false(pgc_is_connected(trial->conn));
        pgc_close(trial->conn, on_closed, trial);
    } else {
        assert_true(pgc_is_connected(trial->conn));
        next_step(trial);
    }
}

static void wait_for_rows(void *ctx)
{
    pg_peer_wait_sent(((struct trial *)ctx)->peer, 20000);
}

static void resume(void *ctx)
{
    struct trial *trial = ctx;

    trial->is_paused = false;
    pgc_resume(trial->conn);
}

static struct error *on_row(void *ctx, unsigned index, const struct pgc_row *row)
{
    struct trial *trial = ctx;

    assert_false(trial->is_paused);
    trial->row_count++;
    if (trial->row_count <= 10) {
        buf_printf(&trial->seen, "row %u", index);
        for (unsigned i = 0; i < row->count; i++) {
            buf_printf(&trial->seen, " %.*s", row->values[i].ptr ? (int)row->values[i].len : 4,
                       row->values[i].ptr ? row->values[i].ptr : "NULL");
        }
        buf_add_str(&trial->seen, "; ");
    }
    if (!trial->has_row) {
        trial->has_row = true;
        if (trial->must_pause) {
            pgc_pause(trial->conn);
            trial->is_paused = true;
            work_start(trial->loop, wait_for_rows, resume, trial);
        }
        if (trial->must_end) {
            pgc_end(trial->conn, on_closed, trial);
            assert_false(pgc_is_connected(trial->conn)); /* nothing more is to be asked of it */
        }
        if (trial->must_go) {
            pg_peer_go(trial->peer);
        }
        if (trial->must_close_at_row) {
            pgc_close(trial->conn, on_closed, trial);
        }
    }
    if (trial->fail_row > 0 && trial->row_count == trial->fail_row) {
        return error_new(ERROR_INPUT, ERROR_FATAL, "this row is not wanted");
    }
    return NULL;
}

static struct error *on_result(void *ctx, unsigned index, int64_t tag_rows)
{
    struct trial *trial = ctx;

    buf_printf(&trial->seen, "result %u %lld; ", index, (long long)tag_rows);
    if (trial->fail_result) {
        return error_new(ERROR_STATE, ERROR_FATAL, "this count is wrong");
    }
    return NULL;
}

static struct error *explain(void *ctx, struct error *err)
{
    struct trial *trial = ctx;

    (void)snprintf(trial->explained, sizeof(trial->explained), "%s", error_text(err));
    error_free(err);
    return error_new(ERROR_SYSTEM, ERROR_CONFIG, "the road is closed");
}

static struct pgc_options options_for(struct trial *trial, const struct secret *password)
{
    const char *port = trial->peer ? pg_peer_port(trial->peer) : "1";

    return (struct pgc_options){
        .host = trial->goes_via ? "warehouse.invalid" : "127.0.0.1",
        .port = trial->goes_via ? "5439" : port,
        .via_address = trial->goes_via ? "127.0.0.1" : NULL,
        .via_port = trial->goes_via ? port : NULL,
        .explain = trial->goes_via ? explain : NULL,
        .explain_ctx = trial,
        .user = "someone",
        .password = password,
        .database = "d b='x'",
        .tls = trial->must_encrypt ? PGC_TLS_REQUIRE : PGC_TLS_PREFER,
        .application_name = "flow",
        .connect_timeout_ms = trial->timeout_ms ? trial->timeout_ms : 60000,
        .figures = &trial->figures,
    };
}

/* Plays the script (NULL: nobody listens) up to step_count and collects what happened. */
static void play_part(struct trial *trial, const char *const *script, size_t step_count)
{
    struct secret *password = secret_new(SPAN_LIT("top secret"));

    trial->peer = script ? pg_peer_new(script, step_count) : NULL;
    trial->loop = loop_new();
    buf_init(&trial->seen, 1 << 16);
    struct pgc_options options = options_for(trial, password);
    trial->conn = pgc_conn_new(trial->loop, &options);
    secret_free(password);
    trial->batch.on_row = trial->second.on_row = on_row;
    trial->batch.on_result = trial->second.on_result = on_result;
    trial->batch.ctx = trial->second.ctx = trial;
    pgc_connect(trial->conn, on_connect, trial);
    loop_run(trial->loop);
    loop_free(trial->loop);
    if (trial->peer) {
        pg_peer_wait_end(trial->peer);
    }
    assert_int_equal(trial->connect_calls, 1);
    assert_int_equal(trial->closed_calls, 1);
    assert_true(trial->run_calls <= 1 && trial->second_calls <= 1);
}

static void play(struct trial *trial, const char *const *script)
{
    play_part(trial, script, SIZE_MAX);
}

static void end_trial(struct trial *trial)
{
    if (trial->peer) {
        pg_peer_free(trial->peer);
    }
    error_free(trial->connect_err);
    error_free(trial->run_err);
    error_free(trial->second_err);
    buf_done(&trial->seen);
}

static const char *seen(const struct trial *trial)
{
    return trial->seen.data ? trial->seen.data : "";
}

#define BATCH(...)                                                                                 \
    {                                                                                              \
        .statements = (const struct pgc_statement[]){__VA_ARGS__},                                 \
        .count = sizeof((struct pgc_statement[]){__VA_ARGS__}) / sizeof(struct pgc_statement)      \
    }

/* ---------------------------------------------------------------- connecting */

static void only_what_redshift_knows_is_sent_at_startup(void **state)
{
    static const char *const script[] = {"startup", "ok", NULL};
    struct trial trial = {0};
    (void)state;

    (void)setenv("PGDATESTYLE", "German", 1);
    (void)setenv("PGTZ", "Mars", 1);
    (void)setenv("PGOPTIONS", "-c standard_conforming_strings=on", 1);
    (void)setenv("PGAPPNAME", "other", 1);
    play(&trial, script);
    assert_null(trial.connect_err);
    assert_ptr_equal(strstr(pg_peer_heard(trial.peer),
                            "startup user=someone database=d b='x' application_name=flow "
                            "client_encoding=UTF8\nX\n"),
                     pg_peer_heard(trial.peer));
    end_trial(&trial);
}

static void the_password_is_sent_as_asked(void **state)
{
    static const char *const md5[] = {"startup", "auth 5", "password", "ok", NULL};
    static const char *const clear[] = {"startup", "auth 3", "password", "ok", NULL};
    struct trial trial = {0};
    (void)state;

    play(&trial, md5);
    assert_null(trial.connect_err);
    const char *answer = strstr(pg_peer_heard(trial.peer), "\np md5");
    assert_non_null(answer);
    assert_int_equal(strcspn(answer + 6, "\n"), 32);
    end_trial(&trial);

    trial = (struct trial){0};
    play(&trial, clear);
    assert_null(trial.connect_err);
    assert_non_null(strstr(pg_peer_heard(trial.peer), "\np top secret\n"));
    end_trial(&trial);
}

static void a_failed_connect_says_why_and_where(void **state)
{
    static const struct {
        const char *sentence;
        const char *script[6];
        uint64_t timeout_ms;
        enum error_code code;
        enum error_class cls;
        const char *origin, *part;
    } rows[] = {
        {"a wrong password",
         {"startup", "auth 5", "password", "fatal 28000 no entry"},
         0,
         ERROR_SQL,
         ERROR_CONFIG,
         "28000",
         "no entry"},
        {"a wrong database",
         {"startup", "fatal 3D000 no such database"},
         0,
         ERROR_SQL,
         ERROR_CONFIG,
         "3D000",
         "no such database"},
        {"Redshift's own digest",
         {"startup", "auth 13"},
         0,
         ERROR_SYSTEM,
         ERROR_CONFIG,
         "",
         "authentication method 13"},
        {"an identity provider",
         {"startup", "auth 14"},
         0,
         ERROR_SYSTEM,
         ERROR_CONFIG,
         "",
         "authentication method 14"},
        {"too many connections",
         {"startup", "fatal 53300 too many"},
         0,
         ERROR_SQL,
         ERROR_RETRY,
         "53300",
         "too many"},
        {"a reset at startup", {"startup", "reset"}, 0, ERROR_SYSTEM, ERROR_RETRY, "", ""},
        {"a close at startup",
         {"startup", "close"},
         0,
         ERROR_SYSTEM,
         ERROR_RETRY,
         "",
         "closed the connection"},
        {"a reset at once", {"reset"}, 0, ERROR_SYSTEM, ERROR_RETRY, "", ""},
        {"no such protocol", {"startup", "garbage"}, 0, ERROR_SYSTEM, ERROR_RETRY, "", ""},
        {"silence after the login",
         {"startup", "silence"},
         200,
         ERROR_TIMEOUT,
         ERROR_RETRY,
         "",
         "no success within 200 ms"},
        {"silence from the beginning",
         {"silence"},
         200,
         ERROR_TIMEOUT,
         ERROR_RETRY,
         "",
         "no success within 200 ms"},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct trial trial = {.timeout_ms = rows[i].timeout_ms};
        play(&trial, rows[i].script);
        const struct error *err = trial.connect_err;
        if (!err || error_code_of(err) != rows[i].code || error_class_of(err) != rows[i].cls ||
            strcmp(error_origin(err), rows[i].origin) != 0 ||
            !strstr(error_text(err), rows[i].part) || strstr(error_text(err), "top secret") ||
            !strstr(error_text(err), "connecting to 127.0.0.1 port") ||
            !strstr(error_text(err), "as user \"someone\" to database \"d b='x'\"")) {
            fail_msg("%s: %s", rows[i].sentence, err ? error_text(err) : "connected");
        }
        end_trial(&trial);
    }
}

static void a_server_may_be_reached_by_another_address(void **state)
{
    static const char *const script[] = {"startup", "ok", NULL};
    struct trial trial = {.goes_via = true};
    (void)state;

    play(&trial, script);
    assert_null(trial.connect_err);
    assert_string_equal(trial.explained, "");
    end_trial(&trial);
}

static void who_knows_the_cause_of_a_failed_connect_tells_it(void **state)
{
    struct trial trial = {.goes_via = true};
    (void)state;

    play(&trial, NULL);
    assert_non_null(trial.connect_err);
    assert_string_equal(error_text(trial.connect_err), "the road is closed");
    assert_non_null(strstr(trial.explained, "connecting to warehouse.invalid port 5439"));
    end_trial(&trial);
}

/* libpq says "SSL error: unsupported protocol"; nothing was told to the server before. */
static void a_server_that_speaks_only_old_tls_is_refused(void **state)
{
    static const char *const script[] = {"oldtls", NULL};
    struct trial trial = {.must_encrypt = true};

    (void)state;
    play(&trial, script);
    assert_non_null(trial.connect_err);
    if (!strstr(error_text(trial.connect_err), "SSL error") ||
        strcmp(pg_peer_heard(trial.peer), "old tls refused\n") != 0) {
        fail_msg("%s; heard %s", error_text(trial.connect_err), pg_peer_heard(trial.peer));
    }
    end_trial(&trial);
}

static void a_port_without_listener_refuses(void **state)
{
    struct trial trial = {0};
    (void)state;

    play(&trial, NULL);
    assert_non_null(trial.connect_err);
    assert_int_equal(error_class_of(trial.connect_err), ERROR_RETRY);
    assert_non_null(strstr(error_text(trial.connect_err), "refused"));
    end_trial(&trial);
}

/* ---------------------------------------------------------------- batches */

#define PIPELINED                                                                                  \
    "startup", "ok", "expect S", "done BEGIN", "rows 2 word", "tag SELECT", "done UPDATE 7",       \
        "ready T", "expect S", "done COMMIT", "ready I"

static const char *const pipelined[] = {PIPELINED, NULL};
static const struct pgc_statement four[] = {
    {.label = "beginning", .sql = "BEGIN"},
    {.label = "reading", .sql = "SELECT a"},
    {.label = "updating",
     .sql = "UPDATE t",
     .params = (const char *const[]){"x", NULL},
     .param_count = 2,
     .sync = true},
    {.label = "committing", .sql = "COMMIT"},
};
#define FOUR                                                                                       \
    {                                                                                              \
        .statements = four, .count = 4                                                             \
    }

static void results_come_in_order_and_flights_wait(void **state)
{
    struct trial trial = {.batch = FOUR};
    (void)state;

    play(&trial, pipelined);
    assert_null(trial.run_err);
    assert_true(trial.was_connected);
    assert_string_equal(seen(&trial), "result 0 -1; row 1 word; row 1 word; result 1 -1; "
                                      "result 2 7; result 3 -1; ");
    assert_int_equal(trial.figures.statements, 4);
    assert_int_equal(trial.figures.round_trips, 3); /* the login and two flights */
    assert_non_null(strstr(pg_peer_heard(trial.peer),
                           "P BEGIN\nB\nD\nE\nP SELECT a\nB\nD\nE\nP UPDATE t\nB\nD\nE\nS\n"
                           "P COMMIT\nB\nD\nE\nS\nX\n"));
    end_trial(&trial);
}

static void bytes_may_come_one_by_one(void **state)
{
    static const char *const script[] = {"slow", PIPELINED, NULL};
    struct trial trial = {.batch = FOUR};
    (void)state;

    play(&trial, script);
    assert_null(trial.run_err);
    assert_string_equal(seen(&trial), "result 0 -1; row 1 word; row 1 word; result 1 -1; "
                                      "result 2 7; result 3 -1; ");
    end_trial(&trial);
}

static void a_simple_statement_leaves_the_pipeline(void **state)
{
    static const char *const script[] = {
        "startup",     "ok",      "expect S", "done SET", "ready I", "expect Q", "tag CREATE",
        "tag COMMENT", "ready I", "expect S", "done SET", "ready I", NULL};
    struct trial trial = {.batch =
                              BATCH({.label = "a", .sql = "SET a"},
                                    {.label = "b", .sql = "CREATE; COMMENT", .is_simple = true},
                                    {.label = "c", .sql = "SET b"})};
    (void)state;

    play(&trial, script);
    assert_null(trial.run_err);
    assert_string_equal(seen(&trial), "result 0 -1; result 1 -1; result 2 -1; ");
    assert_non_null(strstr(pg_peer_heard(trial.peer), "E\nS\nQ CREATE; COMMENT\nP SET b\n"));
    end_trial(&trial);
}

static void after_an_error_nothing_further_is_sent(void **state)
{
    static const char *const script[] = {
        "startup", "ok", "expect S", "done BEGIN", "error 22001 value too long", "ready E", NULL};
    struct trial trial = {.batch = FOUR};
    (void)state;

    play(&trial, script);
    assert_non_null(trial.run_err);
    assert_string_equal(error_text(trial.run_err), "reading: value too long (22001)");
    assert_int_equal(error_class_of(trial.run_err), ERROR_ABORT);
    assert_string_equal(error_origin(trial.run_err), "22001");
    assert_string_equal(seen(&trial), "result 0 -1; ");
    assert_string_equal(trial.last_message, "value too long");
    assert_int_equal(trial.last_failed, 1);
    assert_true(trial.was_connected);
    assert_null(strstr(pg_peer_heard(trial.peer), "COMMIT"));
    end_trial(&trial);
}

static void the_connection_serves_again_after_an_error(void **state)
{
    static const char *const script[] = {
        "startup",       "ok",      "expect S", "error 40P01 deadlock", "ready E", "expect S",
        "done ROLLBACK", "ready I", NULL};
    struct trial trial = {.batch = BATCH({.label = "locking", .sql = "LOCK t"}),
                          .second = BATCH({.label = "rolling back", .sql = "ROLLBACK"})};
    (void)state;

    play(&trial, script);
    assert_non_null(trial.run_err);
    assert_int_equal(error_class_of(trial.run_err), ERROR_RETRY);
    assert_int_equal(trial.second_calls, 1);
    assert_null(trial.second_err);
    end_trial(&trial);
}

static void an_expected_error_is_success(void **state)
{
    static const struct {
        const char *sentence, *said, *part;
        bool is_ignored;
    } rows[] = {
        {"the same state", "error 42701 column exists", NULL, true},
        {"the same state and text", "error 42701 column exists", "exists", true},
        {"the same state, another text", "error 42701 column exists", "different", false},
        {"another state", "error 42601 column exists", NULL, false},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *const script[] = {"startup",  "ok",       "expect S", rows[i].said, "ready I",
                                      "expect S", "done SET", "ready I",  NULL};
        const char *const failing[] = {"startup", "ok", "expect S", rows[i].said, "ready I", NULL};
        struct trial trial = {.batch = BATCH({.label = "adding",
                                              .sql = "ALTER",
                                              .sync = true,
                                              .ignore_sqlstate = "42701",
                                              .ignore_message_part = rows[i].part},
                                             {.label = "setting", .sql = "SET a"})};
        play(&trial, rows[i].is_ignored ? script : failing);
        if (rows[i].is_ignored ? trial.run_err != NULL : trial.run_err == NULL) {
            fail_msg("%s: %s", rows[i].sentence,
                     trial.run_err ? error_text(trial.run_err) : "ignored");
        }
        assert_string_equal(seen(&trial), rows[i].is_ignored ? "result 0 -1; result 1 -1; " : "");
        end_trial(&trial);
    }
}

static void credentials_never_stand_in_an_error(void **state)
{
    static const char *const script[] = {
        "startup",  "ok",
        "expect S", "error 42601 syntax error near 'aws_access_key_id=AK;aws_secret_access_key=SK'",
        "ready I",  NULL};
    struct trial trial = {
        .batch = BATCH({.label = "copying", .sql = "COPY 'aws_secret_access_key=SK'"})};
    (void)state;

    play(&trial, script);
    assert_non_null(trial.run_err);
    assert_string_equal(error_text(trial.run_err), "copying: syntax error near ' [...] (42601)");
    assert_null(strstr(trial.last_message, "SK"));
    end_trial(&trial);
}

static void notices_are_passed_over(void **state)
{
    static const char *const script[] = {
        "startup",   "ok",           "expect S", "notice Load completed",
        "done COPY", "notice again", "ready I",  NULL};
    struct trial trial = {.batch = BATCH({.label = "copying", .sql = "COPY"})};
    (void)state;

    play(&trial, script);
    assert_null(trial.run_err);
    assert_string_equal(seen(&trial), "result 0 -1; ");
    end_trial(&trial);
}

/* ---------------------------------------------------------------- the owner's wishes */

static void an_error_of_the_owner_ends_the_batch(void **state)
{
    static const char *const rows[] = {"startup",    "ok",      "expect S", "rows 1000 word",
                                       "tag SELECT", "ready I", NULL};
    static const char *const count[] = {"startup",       "ok",      "expect S",
                                        "done UPDATE 0", "ready T", NULL};
    struct trial trial = {.batch = BATCH({.label = "reading", .sql = "SELECT", .sync = true},
                                         {.label = "next", .sql = "COMMIT"}),
                          .fail_row = 3};
    (void)state;

    play(&trial, rows);
    assert_string_equal(error_text(trial.run_err), "this row is not wanted");
    assert_int_equal(trial.row_count, 3);
    assert_true(trial.was_connected);
    assert_null(strstr(pg_peer_heard(trial.peer), "COMMIT"));
    end_trial(&trial);

    trial = (struct trial){.batch = BATCH({.label = "writing", .sql = "UPDATE", .sync = true},
                                          {.label = "next", .sql = "COMMIT"}),
                           .fail_result = true};
    play(&trial, count);
    assert_string_equal(error_text(trial.run_err), "this count is wrong");
    assert_string_equal(seen(&trial), "result 0 0; ");
    assert_null(strstr(pg_peer_heard(trial.peer), "COMMIT"));
    end_trial(&trial);
}

static void rows_arrive_before_the_statement_ends(void **state)
{
    /* Of the second statement too, for which single-row mode is asked again. The peer sends the
     * end only when the first row has been seen: without that mode both would wait for ever. */
    static const char *const script[] = {"startup",    "ok",          "expect S",
                                         "done SET",   "rows 2 word", "wait",
                                         "tag SELECT", "ready I",     NULL};
    struct trial trial = {
        .batch = BATCH({.label = "setting", .sql = "SET a"}, {.label = "reading", .sql = "SELECT"}),
        .must_go = true};
    (void)state;

    play(&trial, script);
    assert_null(trial.run_err);
    assert_string_equal(seen(&trial), "result 0 -1; row 1 word; row 1 word; result 1 -1; ");
    end_trial(&trial);
}

static void no_row_comes_while_paused(void **state)
{
    static const char *const script[] = {"startup",    "ok",      "expect S", "rows 20000 word",
                                         "tag SELECT", "ready I", NULL};
    struct trial trial = {.batch = BATCH({.label = "reading", .sql = "SELECT"}),
                          .must_pause = true};
    (void)state;

    play(&trial, script);
    assert_null(trial.run_err);
    assert_int_equal(trial.row_count, 20000);
    end_trial(&trial);
}

/* What the server is still working on; what stands behind it is not sent any more. */
static void the_end_cancels_what_runs_and_sends_nothing_further(void **state)
{
    static const char *const script[] = {"startup",  "ok",
                                         "expect S", "rows 1 word",
                                         "cancel",   "error 57014 canceled on user's request",
                                         "ready I",  NULL};
    struct trial trial = {.batch = BATCH({.label = "reading", .sql = "SELECT 1", .sync = true},
                                         {.label = "writing", .sql = "COMMIT"}),
                          .must_end = true};
    (void)state;

    play(&trial, script);
    assert_non_null(trial.run_err);
    assert_int_equal(error_code_of(trial.run_err), ERROR_CANCELLED);
    assert_non_null(strstr(pg_peer_heard(trial.peer), "\ncancel\n"));
    assert_null(strstr(pg_peer_heard(trial.peer), "COMMIT"));
    end_trial(&trial);
}

/* A success that crossed the request is of no use: nobody is there to hear of it. */
static void an_answer_that_crosses_the_cancel_is_read_and_not_followed(void **state)
{
    static const char *const script[] = {"startup", "ok",         "expect S", "rows 1 word",
                                         "cancel",  "tag SELECT", "ready I",  NULL};
    struct trial trial = {.batch = BATCH({.label = "reading", .sql = "SELECT 1", .sync = true},
                                         {.label = "writing", .sql = "COMMIT"}),
                          .must_end = true};
    (void)state;

    play(&trial, script);
    assert_int_equal(error_code_of(trial.run_err), ERROR_CANCELLED);
    assert_null(strstr(pg_peer_heard(trial.peer), "COMMIT"));
    assert_null(strstr(trial.seen.data, "result"));
    end_trial(&trial);
}

/* The request for cancelling is never taken: it hangs on its worker thread until the server's end,
 * which comes only when the connection is closed. */
static void a_server_that_does_not_cancel_is_left_when_the_time_is_over(void **state)
{
    static const char *const script[] = {"startup",     "ok",      "expect S",
                                         "rows 1 word", "silence", NULL};
    struct trial trial = {.batch = BATCH({.label = "reading", .sql = "SELECT 1"}),
                          .must_end = true,
                          .must_free_peer = true};
    (void)state;

    play(&trial, script);
    assert_int_equal(error_code_of(trial.run_err), ERROR_CANCELLED);
    end_trial(&trial);
}

static void a_statement_that_may_fail_is_success_and_ends_nothing(void **state)
{
    static const char *const script[] = {"startup",
                                         "ok",
                                         "expect S",
                                         "done SELECT",
                                         "error 42501 permission denied for relation stv_slices",
                                         "ready I",
                                         "expect S",
                                         "done SELECT",
                                         "ready I",
                                         NULL};
    struct trial trial = {
        .batch = BATCH({.label = "reading", .sql = "SELECT 1"},
                       {.label = "asking", .sql = "SELECT 2", .may_fail = true}),
        .second = BATCH({.label = "going on", .sql = "SELECT 3"}),
    };
    (void)state;

    play(&trial, script);
    assert_null(trial.run_err);
    assert_null(trial.second_err);
    assert_string_equal(trial.seen.data, "result 0 -1; result 1 -1; result 0 -1; ");
    end_trial(&trial);
}

static void closing_ends_the_batch_first(void **state)
{
    static const char *const script[] = {"startup",     "ok",      "expect S",
                                         "rows 5 word", "silence", NULL};
    struct trial trial = {.batch = BATCH({.label = "reading", .sql = "SELECT"}),
                          .must_close_at_row = true};
    (void)state;

    play(&trial, script);
    assert_int_equal(trial.run_calls, 1);
    assert_int_equal(error_code_of(trial.run_err), ERROR_CANCELLED);
    assert_int_equal(trial.row_count, 1);
    end_trial(&trial);
}

static void count_call(void *ctx)
{
    ++*(unsigned *)ctx;
}

static void keep_error(void *ctx, struct error *err)
{
    struct error **kept = ctx;

    assert_null(*kept);
    *kept = err;
}

static void a_connection_may_be_closed_before_it_stands(void **state)
{
    static const char *const script[] = {"silence", NULL};
    (void)state;

    for (int with_connect = 0; with_connect < 2; with_connect++) {
        struct trial trial = {.peer = pg_peer_new(script, SIZE_MAX)};
        struct loop *loop = loop_new();
        struct pgc_options options = options_for(&trial, NULL);
        struct pgc_conn *conn = pgc_conn_new(loop, &options);
        struct error *err = NULL;
        unsigned closed = 0;

        if (with_connect) {
            pgc_connect(conn, keep_error, &err);
        }
        pgc_close(conn, count_call, &closed);
        loop_run(loop);
        loop_free(loop);
        assert_int_equal(closed, 1);
        assert_int_equal(err != NULL, with_connect);
        if (err) {
            assert_int_equal(error_code_of(err), ERROR_CANCELLED);
        }
        error_free(err);
        end_trial(&trial);
    }
}

/* ---------------------------------------------------------------- losing the connection */

static void a_reset_at_any_step_ends_everything_once(void **state)
{
    (void)state;

    for (size_t steps = 0; steps < ARRAY_LEN(pipelined) - 1; steps++) {
        struct trial trial = {.batch = FOUR};
        play_part(&trial, pipelined, steps);
        const struct error *err = trial.connect_err ? trial.connect_err : trial.run_err;
        if (!err || error_code_of(err) != ERROR_SYSTEM || error_class_of(err) != ERROR_RETRY ||
            (trial.run_err && trial.was_connected)) {
            fail_msg("cut before step %zu (%s): %s", steps, pipelined[steps],
                     err ? error_text(err) : "no error");
        }
        /* Whatever was sent, its outcome is open; only a statement that was not sent is certain. */
        if (trial.run_err && !strstr(error_text(err), "outcome is unknown") &&
            !strstr(error_text(err), "it was not sent")) {
            fail_msg("cut before step %zu: %s", steps, error_text(err));
        }
        end_trial(&trial);
    }
}

static void an_unanswered_commit_is_an_unknown_outcome(void **state)
{
    static const char *const cut[] = {"startup", "ok", "expect S", "close", NULL};
    static const char *const fatal[] = {
        "startup", "ok", "expect S", "fatal 57P01 terminating connection", "close", NULL};
    struct trial trial = {.batch = BATCH({.label = "committing", .sql = "COMMIT"})};
    (void)state;

    play(&trial, cut);
    assert_non_null(trial.run_err);
    assert_ptr_equal(strstr(error_text(trial.run_err),
                            "committing: it was sent, but the connection was lost before the "
                            "answer came, so its outcome is unknown: "),
                     error_text(trial.run_err));
    end_trial(&trial);

    trial = (struct trial){.batch = BATCH({.label = "committing", .sql = "COMMIT"})};
    play(&trial, fatal);
    assert_non_null(trial.run_err);
    assert_int_equal(error_code_of(trial.run_err), ERROR_SYSTEM);
    assert_int_equal(error_class_of(trial.run_err), ERROR_RETRY);
    assert_non_null(strstr(error_text(trial.run_err), "unknown: terminating connection"));
    assert_false(trial.was_connected);
    end_trial(&trial);
}

static void a_statement_after_the_loss_was_not_sent(void **state)
{
    static const char *const script[] = {"startup", "ok", "fatal 57P01 idle for too long", "close",
                                         NULL};
    struct trial trial = {.batch = BATCH({.label = "committing", .sql = "COMMIT"}),
                          .must_wait_for_loss = true};
    (void)state;

    play(&trial, script);
    assert_non_null(trial.run_err);
    assert_non_null(strstr(error_text(trial.run_err), "committing: it was not sent"));
    assert_non_null(strstr(error_text(trial.run_err), "idle for too long"));
    assert_int_equal(error_class_of(trial.run_err), ERROR_RETRY);
    assert_null(strstr(pg_peer_heard(trial.peer), "COMMIT"));
    end_trial(&trial);
}

static void garbage_between_results_is_a_loss(void **state)
{
    static const char *const script[] = {"startup", "ok", "expect S", "garbage", NULL};
    struct trial trial = {.batch = FOUR};
    (void)state;

    play(&trial, script);
    assert_non_null(trial.run_err);
    assert_int_equal(error_code_of(trial.run_err), ERROR_SYSTEM);
    assert_false(trial.was_connected);
    end_trial(&trial);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_redshift_knows_is_sent_at_startup),
        cmocka_unit_test(the_password_is_sent_as_asked),
        cmocka_unit_test(a_failed_connect_says_why_and_where),
        cmocka_unit_test(a_server_may_be_reached_by_another_address),
        cmocka_unit_test(who_knows_the_cause_of_a_failed_connect_tells_it),
        cmocka_unit_test(a_server_that_speaks_only_old_tls_is_refused),
        cmocka_unit_test(a_port_without_listener_refuses),
        cmocka_unit_test(results_come_in_order_and_flights_wait),
        cmocka_unit_test(bytes_may_come_one_by_one),
        cmocka_unit_test(a_simple_statement_leaves_the_pipeline),
        cmocka_unit_test(after_an_error_nothing_further_is_sent),
        cmocka_unit_test(the_connection_serves_again_after_an_error),
        cmocka_unit_test(an_expected_error_is_success),
        cmocka_unit_test(credentials_never_stand_in_an_error),
        cmocka_unit_test(notices_are_passed_over),
        cmocka_unit_test(an_error_of_the_owner_ends_the_batch),
        cmocka_unit_test(rows_arrive_before_the_statement_ends),
        cmocka_unit_test(no_row_comes_while_paused),
        cmocka_unit_test(the_end_cancels_what_runs_and_sends_nothing_further),
        cmocka_unit_test(an_answer_that_crosses_the_cancel_is_read_and_not_followed),
        cmocka_unit_test(a_server_that_does_not_cancel_is_left_when_the_time_is_over),
        cmocka_unit_test(a_statement_that_may_fail_is_success_and_ends_nothing),
        cmocka_unit_test(closing_ends_the_batch_first),
        cmocka_unit_test(a_connection_may_be_closed_before_it_stands),
        cmocka_unit_test(a_reset_at_any_step_ends_everything_once),
        cmocka_unit_test(an_unanswered_commit_is_an_unknown_outcome),
        cmocka_unit_test(a_statement_after_the_loss_was_not_sent),
        cmocka_unit_test(garbage_between_results_is_a_loss),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
