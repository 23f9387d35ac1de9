/* The warehouse's stand-in as a client sees it, by stock libpq: login, transactions, pipelines,
 * types and locks behave as Redshift's do. It needs the local warehouse (deploy/local/env). Tables
 * lie in a schema of this run, which goes at its end. */
#include <libpq-fe.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    DEADLINE_SECONDS = 30,
    OID_VARCHAR = 1043,
    OID_SUPER = 4000,
    OID_VARBYTE = 6551,
};

static char schema[64];

/* ---------------------------------------------------------------- frame */

static const char *need(const char *name)
{
    const char *value = getenv(name);

    if (value == NULL || value[0] == '\0') {
        fail_msg("%s is not set; see deploy/local/env", name);
    }
    return value;
}

struct login {
    const char *password, *database, *options, *sslmode; /* NULL: the usual */
};

static PGconn *try_login(struct login login)
{
    char host[64];
    const char *address = need("LOCAL_REDSHIFT_ADDRESS");
    const char *colon = strrchr(address, ':');
    assert_non_null(colon);
    assert_true((size_t)(colon - address) < sizeof host);
    memcpy(host, address, (size_t)(colon - address));
    host[colon - address] = '\0';
    const char *const names[] = {"host",    "port",       "user",    "password", "dbname",
                                 "sslmode", "gssencmode", "options", NULL};
    const char *const values[] = {
        host,
        colon + 1,
        need("LOCAL_REDSHIFT_USER"),
        login.password != NULL ? login.password : need("LOCAL_REDSHIFT_PASSWORD"),
        login.database != NULL ? login.database : need("LOCAL_REDSHIFT_DATABASE"),
        login.sslmode != NULL ? login.sslmode : "require",
        "disable",
        login.options != NULL ? login.options : "",
        NULL,
    };
    return PQconnectdbParams(names, values, 0);
}

static PGconn *log_in(void)
{
    PGconn *conn = try_login((struct login){0});

    if (PQstatus(conn) != CONNECTION_OK) {
        fail_msg("cannot log in: %s", PQerrorMessage(conn));
    }
    return conn;
}

/* Replaces each @ by the schema of this run. */
static void expand(const char *sql, char *ret, size_t size)
{
    size_t used = 0;

    for (; *sql != '\0'; sql++) {
        used += (size_t)snprintf(ret + used, size - used, *sql == '@' ? "%s" : "%.1s",
                                 *sql == '@' ? schema : sql);
        assert_true(used < size);
    }
    ret[used] = '\0';
}

static PGresult *ask(PGconn *conn, const char *sql)
{
    char text[2048];

    expand(sql, text, sizeof text);
    return PQexec(conn, text);
}

static void run(PGconn *conn, const char *sql)
{
    PGresult *result = ask(conn, sql);
    ExecStatusType status = PQresultStatus(result);

    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
        fail_msg("%s: %s", sql, PQresultErrorMessage(result));
    }
    PQclear(result);
}

static void expect_cell(PGconn *conn, const char *sql, const char *value)
{
    PGresult *result = ask(conn, sql);

    if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1 ||
        strcmp(PQgetvalue(result, 0, 0), value) != 0) {
        fail_msg("%s: %s %s", sql, PQresultErrorMessage(result),
                 PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "no row");
    }
    PQclear(result);
}

static void expect_error(PGconn *conn, const char *sql, const char *sqlstate, const char *message)
{
    PGresult *result = ask(conn, sql);
    const char *got = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

    if (got == NULL || strcmp(got, sqlstate) != 0 ||
        (message != NULL && strcmp(text, message) != 0)) {
        fail_msg("%s: %s %s", sql, got != NULL ? got : "no error", text != NULL ? text : "");
    }
    PQclear(result);
}

/* Waits until some session waits for a lock. */
static void wait_for_waiter(PGconn *conn)
{
    time_t deadline = time(NULL) + DEADLINE_SECONDS;
    bool waits = false;

    while (!waits) {
        PGresult *result = PQexec(conn, "SELECT count(*) FROM pg_locks WHERE NOT granted");
        assert_int_equal(PQresultStatus(result), PGRES_TUPLES_OK);
        waits = strcmp(PQgetvalue(result, 0, 0), "0") != 0;
        PQclear(result);
        assert_true(time(NULL) < deadline);
    }
}

/* ---------------------------------------------------------------- login */

static void test_a_cluster_says_who_it_is(void **state)
{
    PGconn *conn = log_in();

    (void)state;
    assert_int_equal(PQserverVersion(conn), 80002);
    assert_non_null(PQparameterStatus(conn, "padb_version"));
    assert_null(PQparameterStatus(conn, "standard_conforming_strings"));
    assert_string_equal(PQparameterStatus(conn, "client_encoding"), "UNICODE");
    assert_true(PQsslInUse(conn));
    PQfinish(conn);
    conn = try_login((struct login){.sslmode = "disable"});
    assert_int_equal(PQstatus(conn), CONNECTION_OK);
    PQfinish(conn);
}

static void test_logins_are_refused_with_a_reason(void **state)
{
    static const struct {
        const char *sentence;
        struct login login;
        const char *words;
    } rows[] = {
        {"a wrong password", {.password = "wrong"}, "password authentication failed"},
        {"an unknown database", {.database = "nowhere"}, "database \"nowhere\" does not exist"},
        {"an unknown setting",
         {.options = "-c lock_timeout=1"},
         "unrecognized configuration parameter \"lock_timeout\""},
        {"standard_conforming_strings",
         {.options = "-c standard_conforming_strings=on"},
         "unrecognized configuration parameter \"standard_conforming_strings\""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        PGconn *conn = try_login(rows[i].login);
        if (PQstatus(conn) == CONNECTION_OK ||
            strstr(PQerrorMessage(conn), rows[i].words) == NULL) {
            fail_msg("%s: %s", rows[i].sentence, PQerrorMessage(conn));
        }
        PQfinish(conn);
    }
}

/* ---------------------------------------------------------------- statements */

static void test_varchar_counts_bytes_and_ignores_blanks_at_the_end(void **state)
{
    PGconn *conn = log_in();

    (void)state;
    run(conn, "CREATE TABLE @.blanks (a VARCHAR(4))");
    run(conn, "INSERT INTO @.blanks VALUES ('a ')");
    expect_cell(conn, "SELECT a = 'a' FROM @.blanks", "t");
    expect_cell(conn, "SELECT len(a) FROM @.blanks", "2");
    run(conn, "INSERT INTO @.blanks VALUES ('\xc3\xa9\xc3\xa9')");
    expect_error(conn, "INSERT INTO @.blanks VALUES ('\xc3\xa9\xc3\xa9x')", "22001",
                 "Value too long for character type");
    PQfinish(conn);
}

static void test_varbyte_takes_the_bytes_of_its_text_and_answers_in_hex(void **state)
{
    static const char *const values[] = {"h\\\xc3\xa9"};
    char sql[256];
    PGconn *conn = log_in();

    (void)state;
    run(conn, "CREATE TABLE @.bytes (v VARBYTE, d SUPER, t TEXT)");
    expand("INSERT INTO @.bytes (v) VALUES ($1)", sql, sizeof sql);
    PGresult *result = PQexecParams(conn, sql, 1, NULL, values, NULL, NULL, 0);
    assert_string_equal(PQcmdTuples(result), "1");
    PQclear(result);
    result = ask(conn, "SELECT v, d, t FROM @.bytes");
    assert_string_equal(PQgetvalue(result, 0, 0), "685cc3a9");
    assert_int_equal(PQftype(result, 0), OID_VARBYTE);
    assert_int_equal(PQftype(result, 1), OID_SUPER);
    assert_int_equal(PQftype(result, 2), OID_VARCHAR);
    assert_string_equal(PQcmdStatus(result), "SELECT");
    PQclear(result);
    PQfinish(conn);
}

static void test_super_comes_back_compact(void **state)
{
    PGconn *conn = log_in();

    (void)state;
    run(conn, "CREATE TABLE @.docs (d SUPER)");
    run(conn, "INSERT INTO @.docs SELECT JSON_PARSE('{\"a\": [1, \"x y\"], \"b\": {}}')");
    expect_cell(conn, "SELECT d FROM @.docs", "{\"a\":[1,\"x y\"],\"b\":{}}");
    expect_cell(conn, "SELECT d::VARCHAR IS NULL FROM @.docs", "t");
    expect_cell(conn, "SELECT JSON_SERIALIZE(d) FROM @.docs", "{\"a\":[1,\"x y\"],\"b\":{}}");
    expect_error(conn, "SELECT JSON_PARSE('{\"a\":1,\"a\":2}')", "XX000", NULL);
    expect_error(conn, "SELECT CAST(CAST('2020-01-01' AS DATE) AS SUPER)", "42846",
                 "cannot cast type date to super");
    PQfinish(conn);
}

static void test_long_names_are_cut_at_127_bytes_and_come_back_whole(void **state)
{
    char name[129];
    char sql[1024];
    PGconn *conn = log_in();

    (void)state;
    memset(name, 'n', 128);
    name[128] = '\0';
    (void)snprintf(sql, sizeof sql, "CREATE TABLE %s.long (\"%s\" INT)", schema, name);
    run(conn, sql);
    name[127] = '\0';
    PGresult *result = ask(conn, "SELECT * FROM @.long");
    assert_string_equal(PQfname(result, 0), name);
    PQclear(result);
    (void)snprintf(sql, sizeof sql,
                   "SELECT column_name FROM information_schema.columns WHERE table_schema = '%s' "
                   "AND column_name = '%s'",
                   schema, name);
    expect_cell(conn, sql, name);
    PQfinish(conn);
}

static void test_merge_is_redshifts(void **state)
{
    PGconn *conn = log_in();
    const char *merge =
        "MERGE INTO @.merged USING staged AS r ON @.merged.k = r.k WHEN MATCHED THEN "
        "UPDATE SET v = r.v WHEN NOT MATCHED THEN INSERT (k, v) VALUES (r.k, r.v)";

    (void)state;
    run(conn, "CREATE TABLE @.merged (k TEXT, v INT)");
    run(conn, "CREATE TEMP TABLE staged (k TEXT, v INT) DISTSTYLE EVEN");
    run(conn, "INSERT INTO staged VALUES ('a', 1), (NULL, 2)");
    run(conn, merge);
    run(conn, merge);
    expect_cell(conn, "SELECT count(*) FROM @.merged WHERE k IS NULL", "2");
    expect_cell(conn, "SELECT count(*) FROM @.merged WHERE k = 'a'", "1");
    run(conn, "INSERT INTO staged VALUES ('a ', 3)");
    expect_error(conn, merge, "XX000", "Found multiple matches to update the same tuple.");
    PQfinish(conn);
}

static void test_a_column_is_resized_alone_and_only_to_another_size(void **state)
{
    PGconn *conn = log_in();

    (void)state;
    run(conn, "CREATE TABLE @.sized (a TEXT, b INT)");
    run(conn, "ALTER TABLE @.sized ALTER COLUMN a TYPE VARCHAR(MAX)");
    expect_error(conn, "ALTER TABLE @.sized ALTER COLUMN a TYPE VARCHAR(MAX)", "0A000",
                 "cannot alter column \"a\" of relation \"sized\", target column size should be "
                 "different");
    expect_error(conn, "ALTER TABLE @.sized ALTER COLUMN b TYPE VARCHAR(10)", "0A000", NULL);
    run(conn, "BEGIN");
    expect_error(conn, "ALTER TABLE @.sized ALTER COLUMN a TYPE VARCHAR(10)", "25001",
                 "ALTER TABLE ALTER COLUMN cannot run inside a transaction block");
    expect_error(conn, "SELECT 1", "25P02", NULL);
    run(conn, "ROLLBACK");
    PQfinish(conn);
}

static void test_truncate_commits(void **state)
{
    PGconn *conn = log_in();

    (void)state;
    run(conn, "CREATE TABLE @.kept (a INT)");
    run(conn, "CREATE TABLE @.emptied (a INT)");
    run(conn, "INSERT INTO @.emptied VALUES (1)");
    run(conn, "BEGIN");
    run(conn, "INSERT INTO @.kept VALUES (1)");
    run(conn, "TRUNCATE @.emptied");
    assert_int_equal(PQtransactionStatus(conn), PQTRANS_IDLE);
    expect_cell(conn, "SELECT count(*) FROM @.kept", "1");
    PQfinish(conn);
}

static void test_a_query_string_is_one_transaction(void **state)
{
    PGconn *conn = log_in();

    (void)state;
    run(conn, "CREATE TABLE @.strings (a INT); COMMENT ON TABLE @.strings IS 'x'; "
              "COMMENT ON COLUMN @.strings.a IS 'y';");
    expect_error(conn, "INSERT INTO @.strings VALUES (1); SELECT 1/0", "22012", NULL);
    expect_error(conn, "INSERT INTO @.strings VALUES (1); SAVEPOINT x", "42601", NULL);
    expect_cell(conn, "SELECT count(*) FROM @.strings", "0");
    PQfinish(conn);
}

static void test_named_statements_go_after_ddl_and_rollback(void **state)
{
    PGconn *conn = log_in();
    static const char *const ends[] = {"CREATE TABLE @.gone (a INT)", "BEGIN; ROLLBACK"};

    (void)state;
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        PQclear(PQprepare(conn, "p", "SELECT 1", 0, NULL));
        PGresult *result = PQexecPrepared(conn, "p", 0, NULL, NULL, NULL, 0);
        assert_int_equal(PQresultStatus(result), PGRES_TUPLES_OK);
        PQclear(result);
        run(conn, ends[i]);
        result = PQexecPrepared(conn, "p", 0, NULL, NULL, NULL, 0);
        assert_string_equal(PQresultErrorField(result, PG_DIAG_SQLSTATE), "26000");
        PQclear(result);
    }
    PQfinish(conn);
}

/* ---------------------------------------------------------------- pipelines */

static void send_piped(PGconn *conn, const char *sql)
{
    char text[1024];

    expand(sql, text, sizeof text);
    assert_int_equal(PQsendQueryParams(conn, text, 0, NULL, NULL, NULL, NULL, 0), 1);
}

/* The next result of the pipeline, the NULLs between commands skipped. */
static ExecStatusType take_status(PGconn *conn, const char *value)
{
    PGresult *result = PQgetResult(conn);
    result = result != NULL ? result : PQgetResult(conn);
    assert_non_null(result);
    ExecStatusType status = PQresultStatus(result);

    if (value != NULL) {
        assert_string_equal(PQgetvalue(result, 0, 0), value);
    }
    PQclear(result);
    return status;
}

static void test_a_pipeline_runs_a_whole_apply(void **state)
{
    PGconn *conn = log_in();

    (void)state;
    run(conn, "CREATE TABLE @.piped (k TEXT, v INT)");
    assert_int_equal(PQenterPipelineMode(conn), 1);
    send_piped(conn, "BEGIN");
    send_piped(conn, "LOCK @.piped");
    send_piped(conn, "CREATE TEMPORARY TABLE piped_staged (k TEXT, v INT) DISTSTYLE EVEN");
    send_piped(conn, "INSERT INTO piped_staged VALUES ('a', 1)");
    send_piped(conn, "DELETE FROM @.piped USING piped_staged AS r WHERE @.piped.k = r.k");
    send_piped(conn, "INSERT INTO @.piped SELECT * FROM piped_staged");
    send_piped(conn, "DROP TABLE piped_staged");
    send_piped(conn, "COMMIT");
    assert_int_equal(PQpipelineSync(conn), 1);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(take_status(conn, NULL), PGRES_COMMAND_OK);
    }
    assert_int_equal(take_status(conn, NULL), PGRES_PIPELINE_SYNC);
    assert_int_equal(PQexitPipelineMode(conn), 1);
    expect_cell(conn, "SELECT count(*) FROM @.piped", "1");
    PQfinish(conn);
}

static void test_after_an_error_a_pipeline_skips_to_the_sync(void **state)
{
    PGconn *conn = log_in();

    (void)state;
    run(conn, "CREATE TABLE @.skipped (a INT)");
    assert_int_equal(PQenterPipelineMode(conn), 1);
    send_piped(conn, "INSERT INTO @.skipped VALUES (1)");
    send_piped(conn, "SELECT string_agg('a', 'b')");
    send_piped(conn, "INSERT INTO @.skipped VALUES (2)");
    assert_int_equal(PQpipelineSync(conn), 1);
    send_piped(conn, "SELECT count(*) FROM @.skipped");
    assert_int_equal(PQpipelineSync(conn), 1);
    assert_int_equal(take_status(conn, NULL), PGRES_COMMAND_OK);
    assert_int_equal(take_status(conn, NULL), PGRES_FATAL_ERROR);
    assert_int_equal(take_status(conn, NULL), PGRES_PIPELINE_ABORTED);
    assert_int_equal(take_status(conn, NULL), PGRES_PIPELINE_SYNC);
    assert_int_equal(take_status(conn, "0"), PGRES_TUPLES_OK);
    assert_int_equal(take_status(conn, NULL), PGRES_PIPELINE_SYNC);
    PQfinish(conn);
}

/* ---------------------------------------------------------------- several sessions */

static void test_writers_to_one_table_queue_and_readers_go_on(void **state)
{
    PGconn *one = log_in();
    PGconn *other = log_in();

    (void)state;
    run(one, "CREATE TABLE @.queued (k INT, v INT)");
    run(one, "INSERT INTO @.queued VALUES (1, 1), (2, 2)");
    run(one, "BEGIN");
    run(one, "UPDATE @.queued SET v = 10 WHERE k = 1");
    expect_cell(other, "SELECT sum(v) FROM @.queued", "3");
    run(other, "SET statement_timeout TO 100");
    expect_error(other, "UPDATE @.queued SET v = 20 WHERE k = 2", "57014", NULL);
    run(one, "COMMIT");
    run(other, "UPDATE @.queued SET v = 20 WHERE k = 2");
    expect_cell(one, "SELECT sum(v) FROM @.queued", "30");
    PQfinish(one);
    PQfinish(other);
}

static void test_a_change_under_the_snapshot_is_1023(void **state)
{
    PGconn *one = log_in();
    PGconn *other = log_in();

    (void)state;
    run(one, "CREATE TABLE @.conflict (v INT)");
    run(one, "INSERT INTO @.conflict VALUES (1)");
    run(one, "BEGIN");
    expect_cell(one, "SELECT v FROM @.conflict", "1");
    run(other, "UPDATE @.conflict SET v = 2");
    expect_error(one, "UPDATE @.conflict SET v = 3", "XX000", "1023");
    run(one, "ROLLBACK");
    PQfinish(one);
    PQfinish(other);
}

static void test_the_snapshot_comes_after_the_lock(void **state)
{
    char sql[128];
    PGconn *one = log_in();
    PGconn *other = log_in();

    (void)state;
    run(one, "CREATE TABLE @.locked (v INT)");
    run(one, "INSERT INTO @.locked VALUES (1)");
    run(one, "BEGIN");
    run(one, "LOCK @.locked");
    run(one, "UPDATE @.locked SET v = 2");
    run(other, "BEGIN");
    expand("LOCK @.locked", sql, sizeof sql);
    assert_int_equal(PQsendQuery(other, sql), 1);
    wait_for_waiter(one);
    run(one, "COMMIT");
    PGresult *result = PQgetResult(other);
    assert_int_equal(PQresultStatus(result), PGRES_COMMAND_OK);
    PQclear(result);
    assert_null(PQgetResult(other));
    expect_cell(other, "SELECT v FROM @.locked", "2");
    run(other, "UPDATE @.locked SET v = v + 1");
    run(other, "COMMIT");
    expect_cell(one, "SELECT v FROM @.locked", "3");
    PQfinish(one);
    PQfinish(other);
}

static void test_a_waiting_statement_is_cancelled(void **state)
{
    char error[256];
    char sql[128];
    PGconn *one = log_in();
    PGconn *other = log_in();

    (void)state;
    run(one, "CREATE TABLE @.cancelled (v INT)");
    run(one, "BEGIN");
    run(one, "LOCK @.cancelled");
    expand("SELECT * FROM @.cancelled", sql, sizeof sql);
    assert_int_equal(PQsendQuery(other, sql), 1);
    wait_for_waiter(one);
    PGcancel *cancel = PQgetCancel(other);
    assert_int_equal(PQcancel(cancel, error, sizeof error), 1);
    PQfreeCancel(cancel);
    PGresult *result = PQgetResult(other);
    assert_string_equal(PQresultErrorField(result, PG_DIAG_SQLSTATE), "57014");
    PQclear(result);
    assert_null(PQgetResult(other));
    run(one, "ROLLBACK");
    expect_cell(other, "SELECT count(*) FROM @.cancelled", "0");
    PQfinish(one);
    PQfinish(other);
}

static int make_schema(void **state)
{
    char sql[128];

    (void)state;
    (void)snprintf(schema, sizeof schema, "session_%ld_%ld", (long)time(NULL), (long)getpid());
    PGconn *conn = log_in();
    (void)snprintf(sql, sizeof sql, "CREATE SCHEMA %s", schema);
    run(conn, sql);
    PQfinish(conn);
    return 0;
}

static int drop_schema(void **state)
{
    char sql[128];
    PGconn *conn = log_in();

    (void)state;
    (void)snprintf(sql, sizeof sql, "DROP SCHEMA %s CASCADE", schema);
    run(conn, sql);
    PQfinish(conn);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_cluster_says_who_it_is),
        cmocka_unit_test(test_logins_are_refused_with_a_reason),
        cmocka_unit_test(test_varchar_counts_bytes_and_ignores_blanks_at_the_end),
        cmocka_unit_test(test_varbyte_takes_the_bytes_of_its_text_and_answers_in_hex),
        cmocka_unit_test(test_super_comes_back_compact),
        cmocka_unit_test(test_long_names_are_cut_at_127_bytes_and_come_back_whole),
        cmocka_unit_test(test_merge_is_redshifts),
        cmocka_unit_test(test_a_column_is_resized_alone_and_only_to_another_size),
        cmocka_unit_test(test_truncate_commits),
        cmocka_unit_test(test_a_query_string_is_one_transaction),
        cmocka_unit_test(test_named_statements_go_after_ddl_and_rollback),
        cmocka_unit_test(test_a_pipeline_runs_a_whole_apply),
        cmocka_unit_test(test_after_an_error_a_pipeline_skips_to_the_sync),
        cmocka_unit_test(test_writers_to_one_table_queue_and_readers_go_on),
        cmocka_unit_test(test_a_change_under_the_snapshot_is_1023),
        cmocka_unit_test(test_the_snapshot_comes_after_the_lock),
        cmocka_unit_test(test_a_waiting_statement_is_cancelled),
    };
    return cmocka_run_group_tests(tests, make_schema, drop_schema);
}
