/* The grammar of COPY: what is understood, what is refused and with which SQLSTATE. */
#include "sandbox/copy_statement.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define KEYS "ACCESS_KEY_ID 'AK' SECRET_ACCESS_KEY 'hushhush' "
#define CREDENTIALS "CREDENTIALS 'aws_access_key_id=AK;aws_secret_access_key=hushhush' "
#define FROM "COPY t FROM 's3://b/p' "

struct refusal {
    const char *sentence;
    const char *sql;
    const char *sqlstate;
    const char *words; /* part of the message */
};

static const struct refusal refusals[] = {
    {"an unknown word is a syntax error", FROM KEYS "JSON 'auto' FROBNICATE", "42601",
     "at or near \"FROBNICATE\""},
    {"an option given twice is refused", FROM KEYS "JSON 'auto' GZIP GZIP", "42601", "redundant"},
    {"two compressions exclude each other", FROM KEYS "JSON 'auto' GZIP ZSTD", "42601",
     "conflicting"},
    {"JSON as format and alone is one too many", FROM KEYS "FORMAT JSON 'auto' JSON 'auto'",
     "42601", "conflicting"},
    {"some authorisation is required", FROM "JSON 'auto'", "XX000", "CREDENTIALS argument"},
    {"two kinds of authorisation exclude each other", FROM KEYS CREDENTIALS "JSON 'auto'", "42601",
     "redundant"},
    {"a role excludes keys", FROM KEYS "IAM_ROLE 'arn:aws:iam::1:role/x' JSON 'auto'", "42601",
     "redundant"},
    {"a key id without its secret is refused", FROM "ACCESS_KEY_ID 'AK' JSON 'auto'", "XX000",
     "Invalid credentials"},
    {"a token alone is refused", FROM "SESSION_TOKEN 'x' JSON 'auto'", "XX000",
     "Invalid credentials"},
    {"a blank in the credentials string is refused",
     FROM "CREDENTIALS 'aws_access_key_id=AK; aws_secret_access_key=hushhush' JSON 'auto'", "XX000",
     "Invalid credentials"},
    {"an unknown name in the credentials string is refused",
     FROM "CREDENTIALS 'aws_access_key_id=AK;aws_secret=hushhush' JSON 'auto'", "XX000",
     "Invalid credentials"},
    {"a role and keys in one credentials string are refused",
     FROM "CREDENTIALS 'aws_iam_role=r;aws_access_key_id=AK;aws_secret_access_key=hushhush' JSON",
     "XX000", "Invalid credentials"},
    {"'AUTO' is not 'auto'", FROM KEYS "JSON 'AUTO'", "XX000", "Invalid JSON option"},
    {"a jsonpaths file is not emulated", FROM KEYS "JSON 's3://b/paths'", "0A000", "jsonpaths"},
    {"CSV is refused", FROM KEYS "CSV", "0A000", "CSV"},
    {"DELIMITER does not go with JSON", FROM KEYS "JSON 'auto' DELIMITER ','", "0A000",
     "DELIMITER"},
    {"NULL AS does not go with JSON", FROM KEYS "JSON 'auto' NULL AS 'x'", "0A000", "NULL"},
    {"REMOVEQUOTES does not go with JSON", FROM KEYS "JSON 'auto' REMOVEQUOTES", "0A000",
     "REMOVEQUOTES"},
    {"PARQUET is not emulated", FROM KEYS "FORMAT AS PARQUET", "0A000", "PARQUET"},
    {"BZIP2 is not emulated", FROM KEYS "JSON 'auto' BZIP2", "0A000", "BZIP2"},
    {"delimited text is not emulated", FROM KEYS, "0A000", "FORMAT JSON"},
    {"a DATEFORMAT of one's own is not emulated", FROM KEYS "JSON 'auto' DATEFORMAT 'DD.MM.YYYY'",
     "0A000", "DATEFORMAT"},
    {"'AUTO' is no TIMEFORMAT", FROM KEYS "JSON 'auto' TIMEFORMAT 'AUTO'", "0A000", "TIMEFORMAT"},
    {"epochs are no DATEFORMAT", FROM KEYS "JSON 'auto' DATEFORMAT 'epochsecs'", "0A000",
     "DATEFORMAT"},
    {"MAXERROR ends at 100000", FROM KEYS "JSON 'auto' MAXERROR 100001", "XX000", "MAXERROR"},
    {"MAXERROR excludes IGNOREALLERRORS", FROM KEYS "JSON 'auto' MAXERROR 3 IGNOREALLERRORS",
     "42601", "redundant"},
    {"REGION is a plain name", FROM KEYS "JSON 'auto' REGION 'eu/../x'", "XX000", "REGION"},
    {"a source outside S3 is refused", "COPY t FROM 'dynamodb://x' " KEYS "JSON 'auto'", "0A000",
     "s3://"},
    {"a bucket without a name is refused", "COPY t FROM 's3:///x' " KEYS "JSON 'auto'", "0A000",
     "s3://"},
    {"COPY FROM STDIN is no COPY here", "COPY t FROM STDIN", "42601", "\"STDIN\""},
    {"COPY TO does not exist", "COPY t TO 's3://b/p'", "42601", "\"TO\""},
    {"a query cannot be copied", "COPY (SELECT 1) TO 's3://b/p'", "42601", "\"(\""},
    {"an unclosed literal is refused", "COPY t FROM 's3://b", "42601", "unterminated"},
    {"an empty column list is refused", "COPY t () FROM 's3://b/p' " KEYS "JSON 'auto'", "42601",
     "\")\""},
    {"a second statement is refused", FROM KEYS "JSON 'auto'; SELECT 1", "42601", "SELECT"},
    {"nothing but the word is refused", "COPY", "42601", "end of input"},
    {"ACCEPTINVCHARS takes one ASCII character", FROM KEYS "JSON 'auto' ACCEPTINVCHARS 'ab'",
     "XX000", "ACCEPTINVCHARS"},
};

static void refused_statements_say_why_and_never_quote_a_secret(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        const struct refusal *row = &refusals[i];
        struct copy_statement st;
        struct copy_outcome out = {0};
        bool ok = copy_statement_parse(row->sql, &st, &out);
        if (ok || strcmp(out.sqlstate, row->sqlstate) != 0 ||
            strstr(out.message, row->words) == NULL || strstr(out.message, "hush") != NULL) {
            fail_msg("%s: got %s %s", row->sentence, ok ? "success" : out.sqlstate, out.message);
        }
        copy_statement_done(&st);
    }
}

static struct copy_statement parse(const char *sql)
{
    struct copy_statement st;
    struct copy_outcome out = {0};
    if (!copy_statement_parse(sql, &st, &out)) {
        fail_msg("%s: %s", sql, out.message);
    }
    return st;
}

static void all_options_are_read_in_any_order(void **state)
{
    (void)state;
    struct copy_statement st = parse(
        "copy \"My \"\"Schema\".tbl (\"A b\", c) /* note */ from 's3://b/it''s\\\\x' -- why\n"
        "truncatecolumns MANIFEST maxerror as 7 STATUPDATE OFF compupdate preset roundec "
        "REGION AS 'eu-west-1' zstd timeformat as 'epochmillisecs' DateFormat 'auto' emptyasnull "
        "BLANKSASNULL TRIMBLANKS ACCEPTINVCHARS AS '#' ACCEPTANYDATE NOLOAD ENCODING UTF8 "
        "SESSION_TOKEN 'tok' SECRET_ACCESS_KEY 'sec' ACCESS_KEY_ID 'id' FORMAT AS JSON AS "
        "'auto ignorecase';");
    assert_string_equal(st.schema.text, "My \"Schema");
    assert_true(st.schema.quoted);
    assert_string_equal(st.table.text, "tbl");
    assert_false(st.table.quoted);
    assert_int_equal(st.column_count, 2);
    assert_string_equal(st.columns[0].text, "A b");
    assert_string_equal(st.columns[1].text, "c");
    assert_string_equal(st.source, "s3://b/it's\\x");
    assert_true(st.manifest);
    assert_string_equal(st.region, "eu-west-1");
    assert_string_equal(st.access_key_id, "id");
    assert_string_equal(st.secret_access_key, "sec");
    assert_string_equal(st.session_token, "tok");
    assert_int_equal(st.json, COPY_JSON_AUTO_IGNORECASE);
    assert_int_equal(st.compression, COPY_ZSTD);
    assert_int_equal(st.time_format, COPY_TIME_EPOCH_MILLISECONDS);
    assert_int_equal(st.date_format, COPY_TIME_AUTO);
    assert_true(st.truncate_columns && st.empty_as_null && st.blanks_as_null && st.trim_blanks);
    assert_true(st.round_decimals && st.accept_any_date && st.no_load && st.stat_update_named);
    assert_int_equal(st.accept_invalid_char, '#');
    assert_int_equal(st.max_error, 7);
    copy_statement_done(&st);
}

static void defaults_hold_without_options(void **state)
{
    (void)state;
    struct copy_statement st = parse(FROM "WITH " CREDENTIALS "JSON 'auto'");
    assert_null(st.schema.text);
    assert_null(st.region);
    assert_null(st.session_token);
    assert_int_equal(st.column_count, 0);
    assert_int_equal(st.json, COPY_JSON_AUTO);
    assert_int_equal(st.compression, COPY_PLAIN);
    assert_int_equal(st.date_format, COPY_TIME_DEFAULT);
    assert_int_equal(st.time_format, COPY_TIME_DEFAULT);
    assert_int_equal(st.max_error, 1);
    assert_int_equal(st.accept_invalid_char, '\0');
    assert_false(st.manifest || st.truncate_columns || st.no_load || st.stat_update_named);
    copy_statement_done(&st);
}

static void credentials_may_hold_a_role_or_a_token(void **state)
{
    (void)state;
    struct copy_statement st =
        parse(FROM "CREDENTIALS AS 'aws_iam_role=arn:aws:iam::1:role/r' JSON 'noshred'");
    assert_string_equal(st.iam_role, "arn:aws:iam::1:role/r");
    assert_int_equal(st.json, COPY_JSON_NOSHRED);
    copy_statement_done(&st);
    st = parse(FROM "CREDENTIALS 'aws_access_key_id=a;aws_secret_access_key=b+/=;token=c=='"
                    " FORMAT JSON");
    assert_string_equal(st.secret_access_key, "b+/=");
    assert_string_equal(st.session_token, "c==");
    copy_statement_done(&st);
    st = parse(FROM "IAM_ROLE default JSON 'auto'");
    assert_string_equal(st.iam_role, "default");
    copy_statement_done(&st);
}

static void a_statement_cut_anywhere_is_refused_or_complete(void **state)
{
    (void)state;
    static const char whole[] =
        "COPY \"s\".\"t\" (\"a\", b) FROM 's3://b/p' CREDENTIALS "
        "'aws_access_key_id=AK;aws_secret_access_key=hushhush' REGION 'eu-west-1' MANIFEST GZIP "
        "JSON 'auto ignorecase' TIMEFORMAT 'auto' MAXERROR 10";
    for (size_t len = 0; len < sizeof whole; len++) {
        char sql[sizeof whole];
        memcpy(sql, whole, len);
        sql[len] = '\0';
        struct copy_statement st;
        struct copy_outcome out = {0};
        if (!copy_statement_parse(sql, &st, &out)) {
            assert_true(out.message[0] != '\0' && strlen(out.sqlstate) == 5);
            assert_null(strstr(out.message, "hush"));
        }
        copy_statement_done(&st);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refused_statements_say_why_and_never_quote_a_secret),
        cmocka_unit_test(all_options_are_read_in_any_order),
        cmocka_unit_test(defaults_hold_without_options),
        cmocka_unit_test(credentials_may_hold_a_role_or_a_token),
        cmocka_unit_test(a_statement_cut_anywhere_is_refused_or_complete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
