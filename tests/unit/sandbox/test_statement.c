/* What becomes of a statement: the text PostgreSQL gets, what the gateway does itself, and what is
 * refused with which SQLSTATE. The refusals follow the list of what the stand-in must refuse. */
#include "sandbox/statement.h"

#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct plan {
    struct token_list tokens;
    struct statement st;
    bool ok;
};

static void read_plan(struct plan *plan, const char *sql, bool case_sensitive)
{
    struct statement_options options = {.case_sensitive = case_sensitive};

    memset(plan, 0, sizeof *plan);
    if (!token_list_read(&plan->tokens, sql, strlen(sql))) {
        memcpy(plan->st.sqlstate, plan->tokens.sqlstate, sizeof plan->st.sqlstate);
        return;
    }
    plan->ok = statement_read(&plan->st, plan->tokens.at, plan->tokens.count, &options);
}

static void done_plan(struct plan *plan)
{
    statement_done(&plan->st);
    token_list_done(&plan->tokens);
}

/* ------------------------------------------------------------------------------- passed */

static const struct {
    const char *sentence;
    const char *sql;
    enum statement_kind kind;
    const char *rewritten;
} passed[] = {
    {"a plain query passes", "SELECT a, b FROM t WHERE a = 1", STATEMENT_QUERY,
     "SELECT a, b FROM t WHERE a = 1"},
    {"quoted names are folded", "SELECT \"A b\" FROM \"S\".\"T\"", STATEMENT_QUERY,
     "SELECT \"a b\" FROM \"s\".\"t\""},
    {"literals pass untouched", "SELECT 'a\\\\b''c'", STATEMENT_QUERY, "SELECT 'a\\\\b''c'"},
    {"text casts cut at 256 bytes", "SELECT a::text FROM t", STATEMENT_QUERY,
     "SELECT redshift_sys.varchar_cut((a)::bpchar, 256) FROM t"},
    {"a cast takes the whole name before it", "SELECT t.a::varchar(10)", STATEMENT_QUERY,
     "SELECT redshift_sys.varchar_cut((t.a)::bpchar, 10)"},
    {"a cast takes the whole call before it", "SELECT lower(a)::varchar(10)", STATEMENT_QUERY,
     "SELECT redshift_sys.varchar_cut((lower(a))::bpchar, 10)"},
    {"a cast takes the whole parenthesis before it", "SELECT 1 + (a + b)::int", STATEMENT_QUERY,
     "SELECT 1 + (a + b)::integer"},
    {"a cast takes the whole CASE before it",
     "SELECT CASE WHEN a = 1 THEN 'x' ELSE 'y' END::varchar(1)", STATEMENT_QUERY,
     "SELECT redshift_sys.varchar_cut((case when a = 1 then 'x' else 'y' end)::bpchar, 1)"},
    {"CAST to SUPER of a literal is a string", "SELECT CAST('{}' AS SUPER)", STATEMENT_QUERY,
     "SELECT ('{}')::bpchar::super"},
    {"CAST of nothing to SUPER", "SELECT CAST(NULL AS SUPER)", STATEMENT_QUERY,
     "SELECT (null)::super"},
    {"CAST to DOUBLE PRECISION", "SELECT CAST(a AS DOUBLE PRECISION)", STATEMENT_QUERY,
     "SELECT (a)::double precision"},
    {"CAST to NUMERIC", "SELECT CAST(a AS NUMERIC(38,0))", STATEMENT_QUERY,
     "SELECT (a)::numeric(38,0)"},
    {"NUMERIC alone is NUMERIC(18,0)", "SELECT a::numeric", STATEMENT_QUERY,
     "SELECT a::numeric(18,0)"},
    {"a parameter for VARBYTE is its bytes", "SELECT $1::varbyte", STATEMENT_QUERY,
     "SELECT $1::bpchar::varbyte"},
    {"NVL", "SELECT NVL(a, 1)", STATEMENT_QUERY, "SELECT coalesce(a, 1)"},
    {"LEN", "SELECT LEN(a)", STATEMENT_QUERY, "SELECT redshift_sys.length(a)"},
    {"SYSDATE needs no parentheses", "SELECT SYSDATE", STATEMENT_QUERY,
     "SELECT redshift_sys.sysdate()"},
    {"GETDATE", "SELECT getdate()", STATEMENT_QUERY, "SELECT redshift_sys.getdate()"},
    {"OBJECT and ARRAY", "SELECT OBJECT('a', ARRAY(1))", STATEMENT_QUERY,
     "SELECT redshift_sys.object('a', redshift_sys.array(1))"},
    {"pg_last_copy_count", "SELECT pg_last_copy_count()", STATEMENT_QUERY,
     "SELECT redshift_sys.pg_last_copy_count()"},
    {"LISTAGG", "SELECT LISTAGG(a, ',') WITHIN GROUP (ORDER BY b) FROM t", STATEMENT_QUERY,
     "SELECT string_agg((a)::text, ',' order by b) FROM t"},
    {"information_schema is Redshift's", "SELECT 1 FROM information_schema.columns",
     STATEMENT_QUERY, "SELECT 1 FROM redshift_information_schema.columns"},
    {"MINUS is EXCEPT", "SELECT a FROM t MINUS SELECT a FROM u", STATEMENT_QUERY,
     "SELECT a FROM t except SELECT a FROM u"},
    {"windows", "SELECT row_number() OVER (PARTITION BY a ORDER BY b) FROM t", STATEMENT_QUERY,
     "SELECT row_number() over (partition by a order by b) FROM t"},
    {"a subquery", "SELECT * FROM (SELECT a FROM t) AS x", STATEMENT_QUERY,
     "SELECT * FROM (SELECT a FROM t) AS x"},
    {"a common table expression", "WITH x AS (SELECT 1) SELECT * FROM x", STATEMENT_QUERY,
     "WITH x AS (SELECT 1) SELECT * FROM x"},
    {"AT TIME ZONE", "SELECT to_char(x AT TIME ZONE 'UTC', 'YYYY') FROM t", STATEMENT_QUERY,
     "SELECT to_char(x at time zone 'UTC', 'YYYY') FROM t"},
    {"a union of the load query",
     "SELECT 0, r.flow_document FROM tmp AS l JOIN target AS r ON l.k = r.k UNION ALL SELECT -1, "
     "CAST(NULL AS SUPER)",
     STATEMENT_QUERY,
     "SELECT 0, r.flow_document FROM tmp AS l JOIN target AS r ON l.k = r.k union all SELECT - 1, "
     "(null)::super"},
    {"EXPLAIN", "EXPLAIN VERBOSE SELECT 1", STATEMENT_QUERY, "EXPLAIN VERBOSE SELECT 1"},
    {"INSERT", "INSERT INTO s.t (\"A\", b) VALUES ($1, $2)", STATEMENT_CHANGE,
     "INSERT INTO s.t (\"a\", b) VALUES ($1, $2)"},
    {"INSERT of a query", "INSERT INTO t SELECT * FROM u", STATEMENT_CHANGE,
     "INSERT INTO t SELECT * FROM u"},
    {"UPDATE with an alias", "UPDATE t AS x SET a = 1 WHERE x.b = 2", STATEMENT_CHANGE,
     "UPDATE t AS x SET a = 1 where x.b = 2"},
    {"DELETE without FROM", "DELETE t WHERE a = 1", STATEMENT_CHANGE, "DELETE FROM t where a = 1"},
    {"DELETE USING", "DELETE FROM t USING u AS r WHERE t.a = r.a", STATEMENT_CHANGE,
     "DELETE FROM t using u as r where t.a = r.a"},
    {"MERGE",
     "MERGE INTO s.t USING u AS r ON s.t.a = r.a AND t.b = r.b WHEN MATCHED THEN UPDATE SET c = "
     "r.c WHEN NOT MATCHED THEN INSERT (a, c) VALUES (r.a, r.c)",
     STATEMENT_CHANGE,
     "MERGE INTO s.t USING u AS r ON s.t.a = r.a and t.b = r.b WHEN MATCHED THEN UPDATE SET c = "
     "r.c WHEN NOT MATCHED THEN INSERT (a, c) VALUES (r.a, r.c)"},
    {"MERGE that deletes",
     "MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT "
     "VALUES (u.a)",
     STATEMENT_CHANGE,
     "MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT "
     "VALUES (u.a)"},
    {"MERGE that removes duplicates", "MERGE INTO t USING u AS r ON t.a = r.a REMOVE DUPLICATES",
     STATEMENT_CHANGE, "DELETE FROM t USING u AS r WHERE t.a = r.a"},
    {"a temporary table", "CREATE TEMP TABLE t (a TEXT) DISTSTYLE EVEN", STATEMENT_DEFINE,
     "CREATE TEMPORARY TABLE t (a redshift_sys.varchar_256)"},
    {"distribution, sort order, encoding and backup are dropped",
     "CREATE TABLE t (a BIGINT ENCODE zstd DISTKEY SORTKEY, b VARCHAR(10)) BACKUP NO DISTSTYLE KEY "
     "COMPOUND SORTKEY (a, b)",
     STATEMENT_DEFINE, "CREATE TABLE t (a bigint, b redshift_sys.varchar_10)"},
    {"keys are accepted and not enforced",
     "CREATE TABLE t (a INT PRIMARY KEY, b INT UNIQUE REFERENCES u (x), PRIMARY KEY (a))",
     STATEMENT_DEFINE, "CREATE TABLE t (a integer NOT NULL, b integer)"},
    {"all types of a column",
     "CREATE TABLE t (a SUPER, b VARBYTE, c VARCHAR(MAX), d CHAR, e NUMERIC, f TIMESTAMPTZ, g "
     "BINARY VARYING(5), h CHARACTER VARYING(3), i FLOAT, j TIMESTAMP WITHOUT TIME ZONE)",
     STATEMENT_DEFINE,
     "CREATE TABLE t (a super, b redshift_sys.varbyte_64000, c redshift_sys.varchar_65535, d "
     "redshift_sys.char_1, e numeric(18,0), f timestamp with time zone, g redshift_sys.varbyte_5, "
     "h "
     "redshift_sys.varchar_3, i double precision, j timestamp without time zone)"},
    {"an identity column", "CREATE TABLE t (a BIGINT IDENTITY(1,2))", STATEMENT_DEFINE,
     "CREATE TABLE t (a bigint GENERATED BY DEFAULT AS IDENTITY (START 1 INCREMENT 2))"},
    {"a default and what follows it", "CREATE TABLE t (a TEXT DEFAULT 'x' NOT NULL, b INT)",
     STATEMENT_DEFINE,
     "CREATE TABLE t (a redshift_sys.varchar_256 DEFAULT 'x' NOT NULL, b integer)"},
    {"CREATE TABLE LIKE", "CREATE TEMP TABLE t (LIKE s.u)", STATEMENT_DEFINE,
     "CREATE TEMPORARY TABLE t (LIKE s.u)"},
    {"CREATE TABLE AS", "CREATE TABLE t AS SELECT 1 AS a", STATEMENT_DEFINE,
     "CREATE TABLE t AS SELECT 1 as a"},
    {"CREATE SCHEMA", "CREATE SCHEMA IF NOT EXISTS \"X\"", STATEMENT_DEFINE,
     "CREATE SCHEMA IF NOT EXISTS \"x\""},
    {"DROP TABLE takes a list", "DROP TABLE IF EXISTS a, s.b CASCADE", STATEMENT_DEFINE,
     "DROP TABLE IF EXISTS a, s.b CASCADE"},
    {"one column is added", "ALTER TABLE t ADD \"C\" VARCHAR(5)", STATEMENT_DEFINE,
     "ALTER TABLE t ADD COLUMN \"c\" redshift_sys.varchar_5"},
    {"a column is dropped", "ALTER TABLE t DROP COLUMN c", STATEMENT_DEFINE,
     "ALTER TABLE t DROP COLUMN c"},
    {"a column is renamed", "ALTER TABLE t RENAME COLUMN a TO b", STATEMENT_DEFINE,
     "ALTER TABLE t RENAME COLUMN a TO b"},
    {"the size of a VARCHAR is changed", "ALTER TABLE t ALTER COLUMN c TYPE VARCHAR(MAX)",
     STATEMENT_ALTER_TYPE, "ALTER TABLE t ALTER COLUMN c TYPE redshift_sys.varchar_65535"},
    {"a comment", "COMMENT ON COLUMN s.t.c IS 'x'", STATEMENT_OTHER,
     "COMMENT ON COLUMN s.t.c IS 'x'"},
    {"TRUNCATE", "TRUNCATE t", STATEMENT_TRUNCATE, "TRUNCATE TABLE t"},
    {"LOCK has one mode", "LOCK t, s.u", STATEMENT_LOCK,
     "LOCK TABLE t, s.u IN ACCESS EXCLUSIVE MODE"},
    {"isolation levels have no effect", "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY",
     STATEMENT_BEGIN, "BEGIN READ ONLY"},
    {"END commits", "END TRANSACTION", STATEMENT_COMMIT, ""},
    {"ABORT rolls back", "ABORT", STATEMENT_ROLLBACK, ""},
    {"COPY goes to its own room", "COPY t FROM 's3://x' CREDENTIALS 'y'", STATEMENT_COPY, ""},
    {"SHOW", "SHOW enable_case_sensitive_identifier", STATEMENT_SHOW, ""},
    {"SET", "SET json_parse_truncate_strings=ON", STATEMENT_SET, ""},
    {"VACUUM does nothing", "VACUUM DELETE ONLY t", STATEMENT_NOTHING, ""},
    {"nothing is nothing", "", STATEMENT_EMPTY, ""},
};

/* Keywords come out small; only the words matter. */
static bool equals_but_for_case(const char *a, const char *b)
{
    for (; *a != '\0' && *b != '\0'; a++, b++) {
        char x = *a >= 'A' && *a <= 'Z' ? (char)(*a - 'A' + 'a') : *a;
        char y = *b >= 'A' && *b <= 'Z' ? (char)(*b - 'A' + 'a') : *b;
        if (x != y) {
            return false;
        }
    }
    return *a == *b;
}

static void test_statements_are_passed_or_rewritten(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof passed / sizeof passed[0]; i++) {
        struct plan plan;
        read_plan(&plan, passed[i].sql, false);
        const char *sql = plan.st.sql.at != NULL ? plan.st.sql.at : "";
        bool has_text = passed[i].rewritten[0] != '\0';
        if (!plan.ok || plan.st.kind != passed[i].kind ||
            (has_text && !equals_but_for_case(sql, passed[i].rewritten))) {
            fail_msg("%s: kind %d, \"%s\" %s %s", passed[i].sentence, (int)plan.st.kind, sql,
                     plan.st.sqlstate, plan.st.message);
        }
        done_plan(&plan);
    }
}

/* ------------------------------------------------------------------------------- refused */

static const struct {
    const char *sentence;
    const char *sql;
    const char *sqlstate;
} refused[] = {
    {"INSERT has no ON CONFLICT", "INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING", "42601"},
    {"INSERT of a query has no ON CONFLICT either", "INSERT INTO t SELECT 1 ON CONFLICT DO NOTHING",
     "42601"},
    {"INSERT has no RETURNING", "INSERT INTO t VALUES (1) RETURNING a", "42601"},
    {"UPDATE has no RETURNING", "UPDATE t SET a = 1 RETURNING a", "42601"},
    {"DELETE has no RETURNING", "DELETE FROM t WHERE a = 1 RETURNING a", "42601"},
    {"WITH does not come before INSERT", "WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x",
     "42601"},
    {"nothing is changed inside a CTE", "WITH x AS (DELETE FROM t) SELECT 1", "42601"},
    {"MERGE has no alias for the target",
     "MERGE INTO t AS l USING u ON l.a = u.a WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN "
     "INSERT VALUES (1)",
     "42601"},
    {"MERGE has no alias for the target without AS either",
     "MERGE INTO t l USING u ON l.a = u.a WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT "
     "VALUES (1)",
     "42601"},
    {"MERGE needs both branches",
     "MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN UPDATE SET b = 1", "42601"},
    {"MERGE needs the matched branch too",
     "MERGE INTO t USING u ON t.a = u.a WHEN NOT MATCHED THEN INSERT VALUES (1)", "42601"},
    {"MERGE's branches have an order",
     "MERGE INTO t USING u ON t.a = u.a WHEN NOT MATCHED THEN INSERT VALUES (1) WHEN MATCHED THEN "
     "DELETE",
     "42601"},
    {"MERGE has no AND in a branch",
     "MERGE INTO t USING u ON t.a = u.a WHEN MATCHED AND u.d THEN DELETE WHEN NOT MATCHED THEN "
     "INSERT VALUES (1)",
     "42601"},
    {"MERGE has no third branch",
     "MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT "
     "VALUES (1) WHEN MATCHED THEN DELETE",
     "42601"},
    {"MERGE does something",
     "MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN DO NOTHING WHEN NOT MATCHED THEN INSERT "
     "VALUES (1)",
     "42601"},
    {"MERGE compares for equality only",
     "MERGE INTO t USING u ON t.a > u.a WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT "
     "VALUES (1)",
     "0A000"},
    {"MERGE's condition has no OR",
     "MERGE INTO t USING u ON t.a = u.a OR t.b = u.b WHEN MATCHED THEN DELETE WHEN NOT MATCHED "
     "THEN INSERT VALUES (1)",
     "0A000"},
    {"MERGE's source does not read the target",
     "MERGE INTO t USING (SELECT * FROM t) AS u ON t.a = u.a WHEN MATCHED THEN DELETE WHEN NOT "
     "MATCHED THEN INSERT VALUES (1)",
     "0A000"},
    {"MERGE has no RETURNING",
     "MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT "
     "VALUES (1) RETURNING a",
     "42601"},
    {"rows are not locked", "SELECT a FROM t FOR UPDATE", "42601"},
    {"nor shared", "SELECT a FROM t FOR SHARE", "42601"},
    {"LOCK has no mode", "LOCK TABLE t IN SHARE MODE", "42601"},
    {"LOCK waits", "LOCK TABLE t NOWAIT", "42601"},
    {"no savepoints", "SAVEPOINT a", "42601"},
    {"no return to a savepoint", "ROLLBACK TO SAVEPOINT a", "42601"},
    {"no release of a savepoint", "RELEASE a", "42601"},
    {"no deferrable transactions", "BEGIN DEFERRABLE", "42601"},
    {"no foreign snapshots", "SET TRANSACTION SNAPSHOT 'x'", "42601"},
    {"no two-phase commit", "PREPARE TRANSACTION 'x'", "42601"},
    {"no indexes", "CREATE INDEX i ON t (a)", "42601"},
    {"no unique indexes", "CREATE UNIQUE INDEX i ON t (a)", "42601"},
    {"no reindexing", "REINDEX TABLE t", "42601"},
    {"no clustering", "CLUSTER t", "42601"},
    {"no sequences", "CREATE SEQUENCE s", "42601"},
    {"no next values", "SELECT nextval('s')", "42883"},
    {"no serial columns", "CREATE TABLE t (a SERIAL)", "42704"},
    {"identity is by default", "CREATE TABLE t (a INT GENERATED ALWAYS AS IDENTITY)", "42601"},
    {"identity needs seed and step", "CREATE TABLE t (a INT GENERATED BY DEFAULT AS IDENTITY)",
     "42601"},
    {"no generated columns", "CREATE TABLE t (a INT GENERATED ALWAYS AS (1) STORED)", "42601"},
    {"no unlogged tables", "CREATE UNLOGGED TABLE t (a INT)", "42601"},
    {"no tablespaces", "CREATE TABLE t (a INT) TABLESPACE x", "42601"},
    {"no storage parameters", "CREATE TABLE t (a INT) WITH (fillfactor = 70)", "42601"},
    {"no inheritance", "CREATE TABLE t (a INT) INHERITS (u)", "42601"},
    {"no partitions", "CREATE TABLE t (a INT) PARTITION BY RANGE (a)", "42601"},
    {"temporary tables live as long as the session", "CREATE TEMP TABLE t (a INT) ON COMMIT DROP",
     "42601"},
    {"temporary tables have no schema", "CREATE TEMP TABLE s.t (a INT)", "42P16"},
    {"no check constraints", "CREATE TABLE t (a INT CHECK (a > 0))", "0A000"},
    {"no check constraints of tables", "CREATE TABLE t (a INT, CHECK (a > 0))", "0A000"},
    {"no exclusion constraints", "CREATE TABLE t (a INT, EXCLUDE (a WITH =))", "0A000"},
    {"no triggers", "CREATE TRIGGER x BEFORE INSERT ON t EXECUTE FUNCTION f()", "42601"},
    {"no extensions", "CREATE EXTENSION hstore", "42601"},
    {"no domains", "CREATE DOMAIN d AS int", "42601"},
    {"no types", "CREATE TYPE y AS (a int)", "42601"},
    {"no notifications", "LISTEN x", "42601"},
    {"nor their end", "UNLISTEN *", "42601"},
    {"no anonymous blocks", "DO 'BEGIN END'", "42601"},
    {"TRUNCATE takes one table", "TRUNCATE a, b", "42601"},
    {"TRUNCATE does not cascade", "TRUNCATE a CASCADE", "42601"},
    {"TRUNCATE restarts nothing", "TRUNCATE a RESTART IDENTITY", "42601"},
    {"one column is added at a time", "ALTER TABLE t ADD COLUMN a INT, ADD COLUMN b INT", "42601"},
    {"ADD COLUMN has no IF NOT EXISTS", "ALTER TABLE t ADD COLUMN IF NOT EXISTS a INT", "42601"},
    {"an added column is no key", "ALTER TABLE t ADD COLUMN a INT PRIMARY KEY", "0A000"},
    {"DROP COLUMN has no IF EXISTS", "ALTER TABLE t DROP COLUMN IF EXISTS a", "42601"},
    {"one column is dropped at a time", "ALTER TABLE t DROP COLUMN a, DROP COLUMN b", "42601"},
    {"one column is renamed at a time", "ALTER TABLE t RENAME COLUMN a TO b, RENAME COLUMN c TO d",
     "42601"},
    {"nothing is added beside a renaming", "ALTER TABLE t RENAME COLUMN a TO b, ADD COLUMN c INT",
     "42601"},
    {"an added column has no check", "ALTER TABLE t ADD COLUMN a INT CHECK (a > 0)", "0A000"},
    {"a column is not moved", "ALTER TABLE t ADD COLUMN a INT AFTER b", "42601"},
    {"two columns do not change their length at once",
     "ALTER TABLE t ALTER COLUMN a TYPE VARCHAR(9), ALTER COLUMN b TYPE VARCHAR(9)", "42601"},
    {"ALTER TABLE has no IF EXISTS", "ALTER TABLE IF EXISTS t ADD COLUMN a INT", "42601"},
    {"columns do not become NOT NULL", "ALTER TABLE t ALTER COLUMN a SET NOT NULL", "42601"},
    {"nor nullable", "ALTER TABLE t ALTER COLUMN a DROP NOT NULL", "42601"},
    {"defaults do not change", "ALTER TABLE t ALTER COLUMN a SET DEFAULT 1", "42601"},
    {"there is no SET DATA TYPE", "ALTER TABLE t ALTER COLUMN a SET DATA TYPE VARCHAR(9)", "42601"},
    {"a type change has no USING", "ALTER TABLE t ALTER COLUMN a TYPE VARCHAR(9) USING a", "42601"},
    {"only VARCHAR changes", "ALTER TABLE t ALTER COLUMN a TYPE BIGINT", "0A000"},
    {"tables are not replaced", "CREATE OR REPLACE TABLE t (a INT)", "42601"},
    {"VALUES is no table", "SELECT * FROM (VALUES (1)) AS x", "42601"},
    {"VALUES is no statement", "VALUES (1)", "42601"},
    {"rows of VALUES hold no subqueries", "INSERT INTO t VALUES ((SELECT 1)), (2)", "0A000"},
    {"the leader's functions stay away from tables", "SELECT generate_series(1, 3), a FROM t",
     "0A000"},
    {"now is one of them", "INSERT INTO t VALUES (now())", "0A000"},
    {"no LATERAL", "SELECT * FROM t, LATERAL (SELECT 1) AS x", "42601"},
    {"no TABLESAMPLE", "SELECT * FROM t TABLESAMPLE SYSTEM (1)", "42601"},
    {"no FILTER", "SELECT count(*) FILTER (WHERE a = 1) FROM t", "42883"},
    {"no DISTINCT ON", "SELECT DISTINCT ON (a) a FROM t", "42601"},
    {"no WINDOW clause", "SELECT sum(a) OVER w FROM t WINDOW w AS (ORDER BY a)", "42601"},
    {"no IS DISTINCT FROM", "SELECT a IS DISTINCT FROM b FROM t", "42601"},
    {"no IS NOT DISTINCT FROM", "SELECT a IS NOT DISTINCT FROM b FROM t", "42601"},
    {"no FETCH FIRST", "SELECT a FROM t FETCH FIRST 1 ROW ONLY", "42601"},
    {"no hints for common table expressions", "WITH x AS MATERIALIZED (SELECT 1) SELECT * FROM x",
     "42601"},
    {"no symmetric BETWEEN", "SELECT a BETWEEN SYMMETRIC 2 AND 1 FROM t", "42601"},
    {"no ONLY", "SELECT a FROM ONLY t", "42601"},
    {"no SELECT INTO here", "SELECT a INTO u FROM t", "42601"},
    {"no DISCARD", "DISCARD ALL", "42601"},
    {"an unknown setting cannot be set", "SET lock_timeout = 1", "42704"},
    {"nor shown", "SHOW standard_conforming_strings", "42704"},
    {"nor reset", "RESET jit", "42704"},
    {"settings have a range", "SET extra_float_digits = 3", "22023"},
    {"settings have a kind", "SET json_parse_truncate_strings = maybe", "22023"},
    {"EXPLAIN has no options", "EXPLAIN (ANALYZE) SELECT 1", "42601"},
    {"nor does it run", "EXPLAIN ANALYZE SELECT 1", "42601"},
    {"schemas have no comments", "COMMENT ON SCHEMA s IS 'x'", "42601"},
    {"nor have functions", "COMMENT ON FUNCTION f() IS 'x'", "42601"},
    {"DEALLOCATE takes one name", "DEALLOCATE ALL", "42601"},
    {"COPY's old forms are COPY's affair, PREPARE's are not known", "PREPARE p AS VACUUM", "42601"},
    {"no json", "CREATE TABLE t (a JSON)", "42704"},
    {"no jsonb", "SELECT '{}'::jsonb", "42704"},
    {"no uuid", "CREATE TABLE t (a UUID)", "42704"},
    {"no bytea", "CREATE TABLE t (a BYTEA)", "42704"},
    {"no arrays", "CREATE TABLE t (a INT[])", "0A000"},
    {"no array constructor", "SELECT ARRAY[1]", "42601"},
    {"no money", "CREATE TABLE t (a MONEY)", "42704"},
    {"no inet", "SELECT inet '1.2.3.4'", "42704"},
    {"no json by its other notation", "SELECT json '{}'", "42704"},
    {"no bit", "CREATE TABLE t (a BIT(3))", "42704"},
    {"no xml", "CREATE TABLE t (a XML)", "42704"},
    {"no interval columns", "CREATE TABLE t (a INTERVAL)", "42704"},
    {"no oid columns", "CREATE TABLE t (a OID)", "42704"},
    {"a quoted type is nobody's", "CREATE TABLE t (a \"char\")", "42704"},
    {"NUMERIC has 38 digits", "CREATE TABLE t (a NUMERIC(39,0))", "22023"},
    {"VARCHAR has 65535 bytes", "CREATE TABLE t (a VARCHAR(65536))", "22023"},
    {"CHAR has 4096 bytes", "CREATE TABLE t (a CHAR(4097))", "22023"},
    {"times have no precision", "CREATE TABLE t (a TIMESTAMP(3))", "42601"},
    {"no string_agg", "SELECT string_agg(a, ',') FROM t", "42883"},
    {"no array_agg", "SELECT array_agg(a) FROM t", "42883"},
    {"no jsonb functions", "SELECT jsonb_build_object('a', 1)", "42883"},
    {"no format", "SELECT format('a')", "42883"},
    {"no encode", "SELECT encode('a', 'hex')", "42883"},
    {"no pg_sleep", "SELECT pg_sleep(1)", "42883"},
    {"no clock_timestamp", "SELECT clock_timestamp()", "42883"},
    {"no advisory locks", "SELECT pg_advisory_lock(1)", "42883"},
    {"no random uuids", "SELECT gen_random_uuid()", "42883"},
    {"no row_to_json", "SELECT row_to_json(t) FROM t", "42883"},
    {"no unnest", "SELECT unnest(a) FROM t", "42883"},
    {"no pg_catalog back door", "SELECT pg_catalog.jsonb_build_array(1)", "42883"},
    {"no back door by quotes", "SELECT \"pg_sleep\"(1)", "42883"},
    {"no JSON operators", "SELECT a -> 'b' FROM t", "42883"},
    {"no containment", "SELECT a @> b FROM t", "42883"},
    {"the gateway's own schema is not there", "SELECT * FROM redshift_sys.long_names", "3F000"},
    {"nor as a target", "DELETE FROM redshift_sys.column_marks", "3F000"},
    {"system columns are no names", "CREATE TABLE t (xmin INT)", "42701"},
    {"oid is no name", "CREATE TABLE t (\"oid\" INT)", "42701"},
    {"Redshift's reserved words are no names", "CREATE TABLE t (tag INT)", "42601"},
    {"UPDATE sets columns one by one", "UPDATE t SET (a, b) = (1, 2)", "42601"},
    {"DELETE has no alias", "DELETE FROM t AS x WHERE x.a = 1", "42601"},
    {"no cursors here", "DECLARE c CURSOR FOR SELECT 1", "42601"},
    {"unknown statements", "FROBNICATE t", "42601"},
};

static void test_what_redshift_refuses_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        struct plan plan;
        read_plan(&plan, refused[i].sql, false);
        if (plan.ok || strcmp(plan.st.sqlstate, refused[i].sqlstate) != 0) {
            fail_msg("%s: %s instead of %s (%s)", refused[i].sentence,
                     plan.ok ? "passed" : plan.st.sqlstate, refused[i].sqlstate, plan.st.message);
        }
        done_plan(&plan);
    }
}

/* ------------------------------------------------------------------------------- details */

static void test_case_sensitive_names_keep_their_case_between_quotes(void **state)
{
    struct plan plan;

    (void)state;
    read_plan(&plan, "SELECT \"Ab\", Ab FROM t", true);
    assert_true(plan.ok);
    assert_string_equal(plan.st.sql.at, "select \"Ab\", ab from t");
    done_plan(&plan);
}

static void test_long_names_are_remembered_and_shortened(void **state)
{
    struct plan plan;
    char sql[300];
    char name[101];

    (void)state;
    memset(name, 'x', 100);
    name[100] = '\0';
    (void)snprintf(sql, sizeof sql, "CREATE TABLE t (%s INT, \"%s\" INT)", name, name);
    read_plan(&plan, sql, false);
    assert_true(plan.ok);
    assert_int_equal(plan.st.long_name_count, 1);
    assert_string_equal(plan.st.long_names[0], name);
    assert_null(strstr(plan.st.sql.at, name));
    assert_non_null(strstr(plan.st.sql.at, "~"));
    done_plan(&plan);
}

static void test_domains_are_asked_for_once(void **state)
{
    struct plan plan;

    (void)state;
    read_plan(&plan, "CREATE TABLE t (a VARCHAR(7), b VARCHAR(7), c CHAR(3), d INT)", false);
    assert_true(plan.ok);
    assert_int_equal(plan.st.type_count, 2);
    assert_string_equal(plan.st.types[0].sql, "redshift_sys.varchar_7");
    assert_string_equal(plan.st.types[1].sql, "redshift_sys.char_3");
    done_plan(&plan);
}

static void test_keys_are_recorded_beside_the_table(void **state)
{
    struct plan plan;

    (void)state;
    read_plan(&plan, "CREATE TABLE s.t (a INT DISTKEY, b INT, PRIMARY KEY (b))", false);
    assert_true(plan.ok);
    assert_non_null(strstr(plan.st.after.at, "(E'a', 'distkey'), (E'b', 'key')"));
    assert_non_null(strstr(plan.st.after.at, "E's.t'::regclass"));
    done_plan(&plan);
    read_plan(&plan, "CREATE TEMP TABLE t (a INT) DISTSTYLE KEY DISTKEY (a)", false);
    assert_true(plan.ok);
    assert_string_equal(plan.st.after.at, "");
    done_plan(&plan);
}

static void test_changes_name_the_table_to_lock(void **state)
{
    static const char *const statements[] = {
        "INSERT INTO s.\"T\" VALUES (1)",
        "UPDATE s.\"T\" AS x SET a = 1",
        "DELETE FROM s.\"T\"",
        "MERGE INTO s.\"T\" USING u ON t.a = u.a REMOVE DUPLICATES",
    };

    (void)state;
    for (size_t i = 0; i < sizeof statements / sizeof statements[0]; i++) {
        struct plan plan;
        read_plan(&plan, statements[i], false);
        assert_true(plan.ok);
        assert_string_equal(plan.st.target.at, " s.\"t\"");
        done_plan(&plan);
    }
}

static void test_remove_duplicates_inserts_all_source_rows(void **state)
{
    struct plan plan;

    (void)state;
    read_plan(&plan, "MERGE INTO t USING u AS r ON t.a = r.a REMOVE DUPLICATES", false);
    assert_true(plan.ok);
    assert_string_equal(plan.st.after.at, "INSERT INTO t SELECT * FROM u AS r");
    done_plan(&plan);
}

static void test_settings_carry_name_and_value(void **state)
{
    static const struct {
        const char *sql, *name, *value;
    } rows[] = {
        {"SET query_group TO 'a b'", "query_group", "a b"},
        {"SET search_path = a, \"B\"", "search_path", "a, B"},
        {"SET TIME ZONE 'UTC'", "timezone", "UTC"},
        {"SET SESSION statement_timeout TO 10", "statement_timeout", "10"},
        {"SET extra_float_digits = -15", "extra_float_digits", "-15"},
        {"SET query_group TO DEFAULT", "query_group", NULL},
        {"RESET query_group", "query_group", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct plan plan;
        read_plan(&plan, rows[i].sql, false);
        if (!plan.ok || strcmp(plan.st.setting, rows[i].name) != 0 ||
            (rows[i].value == NULL) != (plan.st.value == NULL) ||
            (rows[i].value != NULL && strcmp(plan.st.value, rows[i].value) != 0)) {
            fail_msg("%s: %s", rows[i].sql, plan.st.message);
        }
        done_plan(&plan);
    }
}

static void test_some_statements_refuse_a_transaction_block(void **state)
{
    struct plan plan;

    (void)state;
    read_plan(&plan, "ALTER TABLE t ALTER COLUMN c TYPE VARCHAR(9)", false);
    assert_true(plan.st.alone);
    assert_string_equal(plan.st.column, "c");
    assert_int_equal(plan.st.length, 9);
    done_plan(&plan);
    read_plan(&plan, "VACUUM", false);
    assert_true(plan.st.alone);
    done_plan(&plan);
    read_plan(&plan, "ALTER TABLE t ADD COLUMN c INT", false);
    assert_false(plan.st.alone);
    done_plan(&plan);
}

static void test_refusals_do_not_repeat_literals(void **state)
{
    struct plan plan;

    (void)state;
    read_plan(&plan, "GRANT 'secret' TO x", false);
    assert_false(plan.ok);
    assert_null(strstr(plan.st.message, "secret"));
    done_plan(&plan);
}

static void test_parentheses_nest_only_so_deep(void **state)
{
    static const char *const opens[] = {"(", "lower(", "cast(", "listagg("};
    static const char *const closes[] = {")", ")", " as text)", ")"};
    enum {
        LEVELS = 2000,
    };

    (void)state;
    for (size_t i = 0; i < sizeof opens / sizeof opens[0]; i++) {
        struct bytes sql = {0};
        struct plan plan;
        bytes_put_text(&sql, "SELECT ");
        for (int k = 0; k < LEVELS; k++) {
            bytes_put_text(&sql, opens[i]);
        }
        bytes_put_text(&sql, "1");
        for (int k = 0; k < LEVELS; k++) {
            bytes_put_text(&sql, closes[i]);
        }
        read_plan(&plan, bytes_text(&sql), false);
        assert_false(plan.ok);
        assert_string_equal(plan.st.sqlstate, "54001");
        done_plan(&plan);
        bytes_done(&sql);
    }
}

/* The text of a file, zero at its end; the caller's buffer is large enough for golden files. */
static void read_file(const char *path, char *text, size_t size)
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t used = fread(text, 1, size - 1, file);
    assert_true(used < size - 1);
    text[used] = '\0';
    assert_int_equal(fclose(file), 0);
}

static void check_script(const char *path, const char *text, bool case_sensitive)
{
    struct statement_options options = {.case_sensitive = case_sensitive};
    struct token_list tokens;

    if (!token_list_read(&tokens, text, strlen(text))) {
        fail_msg("%s: %s", path, tokens.message);
    }
    for (size_t start = 0; start < tokens.count; start++) {
        struct statement st;
        size_t end = start;
        while (end < tokens.count && !token_is_mark(&tokens.at[end], ';')) {
            end++;
        }
        if (!statement_read(&st, tokens.at + start, end - start, &options)) {
            fail_msg("%s: %s %s", path, st.sqlstate, st.message);
        }
        statement_done(&st);
        start = end;
    }
    token_list_done(&tokens);
}

static void test_every_statement_of_the_connector_is_recognised(void **state)
{
    static char text[64 * 1024];
    glob_t found;

    (void)state;
    assert_int_equal(glob(TEST_DATA "/golden/*.sql", 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        read_file(found.gl_pathv[i], text, sizeof text);
        check_script(found.gl_pathv[i], text, false);
        check_script(found.gl_pathv[i], text, true);
    }
    globfree(&found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_statements_are_passed_or_rewritten),
        cmocka_unit_test(test_what_redshift_refuses_is_refused),
        cmocka_unit_test(test_case_sensitive_names_keep_their_case_between_quotes),
        cmocka_unit_test(test_long_names_are_remembered_and_shortened),
        cmocka_unit_test(test_domains_are_asked_for_once),
        cmocka_unit_test(test_keys_are_recorded_beside_the_table),
        cmocka_unit_test(test_changes_name_the_table_to_lock),
        cmocka_unit_test(test_remove_duplicates_inserts_all_source_rows),
        cmocka_unit_test(test_settings_carry_name_and_value),
        cmocka_unit_test(test_some_statements_refuse_a_transaction_block),
        cmocka_unit_test(test_refusals_do_not_repeat_literals),
        cmocka_unit_test(test_parentheses_nest_only_so_deep),
        cmocka_unit_test(test_every_statement_of_the_connector_is_recognised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
