/* What a server said, in our terms. */

#include "pg/words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void the_class_says_what_to_do(void **state)
{
    static const struct {
        const char *sentence, *sqlstate, *message;
        enum error_class want;
    } rows[] = {
        {"a serialization failure is its number alone", "XX000", "1023", ERROR_RETRY},
        {"another internal error is not", "XX000", "1018", ERROR_ABORT},
        {"a number inside a text is not", "XX000", "error 1023 in slice", ERROR_ABORT},
        {"1023 of another SQLSTATE is not", "22000", "1023", ERROR_ABORT},
        {"a deadlock", "40P01", "deadlock detected", ERROR_RETRY},
        {"a conflict of unknown SQLSTATE", "55000",
         "could not complete because of conflict with concurrent transaction", ERROR_RETRY},
        {"a cluster that is being resized", "XX000",
         "Cannot execute write query because system is in resize mode", ERROR_RETRY},
        {"a wrong password", "28000", "password authentication failed", ERROR_CONFIG},
        {"a missing grant", "42501", "permission denied", ERROR_CONFIG},
        {"a full disk", "53100", "Disk Full", ERROR_CONFIG},
        {"no such database", "3D000", "database \"x\" does not exist", ERROR_CONFIG},
        {"a server that starts", "57P03", "the database system is starting up", ERROR_RETRY},
        {"a cancel", "57014", "canceled on user's request", ERROR_ABORT},
        {"a syntax error", "42601", "syntax error at or near \"x\"", ERROR_ABORT},
        {"a failed transaction", "25P02", "current transaction is aborted", ERROR_ABORT},
        {"nothing known", "", "", ERROR_ABORT},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (words_class(rows[i].sqlstate, rows[i].message) != rows[i].want) {
            fail_msg("%s", rows[i].sentence);
        }
    }
}

static void texts_end_where_credentials_begin(void **state)
{
    static const struct {
        const char *sentence, *in, *want;
    } rows[] = {
        {"nothing secret", "relation \"t\" does not exist", "relation \"t\" does not exist"},
        {"the key of a COPY", "syntax error near 'aws_access_key_id=AK;aws_secret_access_key=s'",
         "syntax error near ' [...]"},
        {"in any case", "at AWS_SECRET_ACCESS_KEY=abc", "at [...]"},
        {"the other form of COPY", "near SECRET_ACCESS_KEY 'abc'", "near [...]"},
        {"a token", "near ;token=abc", "near ; [...]"},
        {"a session token", "near SESSION_TOKEN 'abc'", "near [...]"},
        {"only the first matters", "token=x aws_secret_access_key=y", " [...]"},
        {"blanks at the ends", "  words\n", "words"},
        {"a table between rules becomes a line", "------\n  error:  e\n  code:   8001\n  -----\n",
         "error: e code: 8001"},
        {"dashes inside stay", "a -- b --- c-d", "a -- b --- c-d"},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out;
        buf_init(&out, 8192);
        words_add_scrubbed(&out, rows[i].in);
        if (strcmp(out.data, rows[i].want) != 0) {
            fail_msg("%s: %s", rows[i].sentence, out.data);
        }
        buf_done(&out);
    }
}

static void a_statement_error_has_message_detail_and_state(void **state)
{
    (void)state;

    struct error *err = words_sql_error("XX000", "1023", "Serializable isolation violation");
    assert_string_equal(error_text(err), "1023: Serializable isolation violation (XX000)");
    assert_int_equal(error_class_of(err), ERROR_RETRY);
    assert_int_equal(error_code_of(err), ERROR_SQL);
    assert_string_equal(error_origin(err), "XX000");
    error_free(err);

    err = words_sql_error("42601", "near CREDENTIALS 'aws_access_key_id=AK'", "token=secret");
    assert_null(strstr(error_text(err), "AK"));
    assert_null(strstr(error_text(err), "=secret"));
    error_free(err);
}

static void a_failed_login_keeps_the_servers_words(void **state)
{
    static const struct {
        const char *sentence, *in, *want;
        enum error_code code;
        enum error_class cls;
    } rows[] = {
        {"a verbose FATAL",
         "connection to server at \"127.0.0.1\", port 5439 failed: FATAL:  28000: password "
         "authentication failed for user \"u\"\nLOCATION:  auth_failed, auth.c:326\n",
         "password authentication failed for user \"u\" (28000)", ERROR_SQL, ERROR_CONFIG},
        {"the address that answered",
         "connection to server at \"h\" (::1), port 1 failed: Connection refused\n\tIs the server "
         "running on that host and accepting TCP/IP connections?\nconnection to server at \"h\" "
         "(127.0.0.1), port 1 failed: FATAL:  3D000: database \"d\" does not exist\n",
         "database \"d\" does not exist (3D000)", ERROR_SQL, ERROR_CONFIG},
        {"all refused",
         "connection to server at \"h\" (::1), port 1 failed: Connection refused\n\tIs it?\n"
         "connection to server at \"h\" (127.0.0.1), port 1 failed: Connection refused\n\tIs it?\n",
         "connection to server at \"h\" (::1), port 1 failed: Connection refused; connection to "
         "server at \"h\" (127.0.0.1), port 1 failed: Connection refused",
         ERROR_SYSTEM, ERROR_RETRY},
        {"no TLS there",
         "connection to server at \"h\", port 1 failed: server does not support SSL, but SSL was "
         "required\n",
         "connection to server at \"h\", port 1 failed: server does not support SSL, but SSL was "
         "required",
         ERROR_SYSTEM, ERROR_CONFIG},
        {"nothing at all", "", "no reason given", ERROR_SYSTEM, ERROR_RETRY},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error *err = words_connect_error(rows[i].in);
        if (strcmp(error_text(err), rows[i].want) != 0 || error_code_of(err) != rows[i].code ||
            error_class_of(err) != rows[i].cls) {
            fail_msg("%s: %s", rows[i].sentence, error_text(err));
        }
        error_free(err);
    }
}

static void redshifts_own_logins_are_explained(void **state)
{
    (void)state;

    struct error *err = words_connect_error("connection to server at \"h\", port 1 failed: "
                                            "authentication method 13 not supported\n");
    assert_int_equal(error_class_of(err), ERROR_CONFIG);
    assert_ptr_equal(strstr(error_text(err), "authentication method 13"), error_text(err));
    assert_non_null(strstr(error_hint(err), "MD5"));
    error_free(err);
    err = words_connect_error("authentication method 14 not supported\n");
    assert_int_equal(error_class_of(err), ERROR_CONFIG);
    assert_non_null(strstr(error_text(err), "token"));
    error_free(err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_class_says_what_to_do),
        cmocka_unit_test(texts_end_where_credentials_begin),
        cmocka_unit_test(a_statement_error_has_message_detail_and_state),
        cmocka_unit_test(a_failed_login_keeps_the_servers_words),
        cmocka_unit_test(redshifts_own_logins_are_explained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
