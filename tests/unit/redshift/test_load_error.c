/* A failed COPY in words that help. */

#include "redshift/load_error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define SERVER                                                                                     \
    "Load into table 't' failed.  Check 'sys_load_error_detail' system table for details."

static struct error *server_error(void)
{
    return error_new_from(ERROR_SQL, ERROR_ABORT, "XX000", "copying into t: %s", SERVER);
}

/* SPAN_LIT for static tables. */
#define LIT(text)                                                                                  \
    {                                                                                              \
        (text), sizeof(text) - 1                                                                   \
    }

static void each_code_says_where_what_and_what_to_do(void **state)
{
    static const struct {
        const char *sentence;
        struct rs_load_error row;
        const char *parts[6]; /* in the text */
        const char *hint;     /* a part of it; NULL: none */
    } rows[] = {
        {"1204 with everything, blank-padded",
         {1204, LIT("s3://b/p/file.gz     "), LIT("note      "), LIT("varchar   "),
          LIT("256       "), LIT("String length exceeds DDL length   "), 17, 3},
         {"public.orders", "column \"note\" (varchar, length 256)",
          "file \"s3://b/p/file.gz\" line 17", "String length exceeds DDL length",
          "load error 1204, one of 3", SERVER},
         "longer than the column"},
        {"1213",
         {.code = 1213, .column = LIT("c"), .message = LIT("Missing data")},
         {"column \"c\": Missing data", "(load error 1213)"},
         "does not allow NULL"},
        {"1216 has no column",
         {.code = 1216, .column = LIT("      "), .message = LIT("Invalid"), .line = 2},
         {"loading into public.orders: Invalid"},
         "4 MB"},
        {"1220", {.code = 1220, .message = LIT("bad utf-8")}, {"bad utf-8"}, "does not store"},
        {"1224",
         {.code = 1224, .message = LIT("too big"), .column_type = LIT("super")},
         {"too big"},
         "SUPER"},
        {"an unknown code has no advice",
         {.code = 1299, .message = LIT("words")},
         {"words (load error 1299)"},
         NULL},
        {"no message at all", {.code = 1200}, {"no reason given (load error 1200)"}, NULL},
        {"the line of a split file is unknown",
         {.code = 1200, .file = LIT("s3://b/f"), .line = -1, .message = LIT("m")},
         {"file \"s3://b/f\": m"},
         NULL},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error *err =
            rs_explain_load_error(server_error(), span_of("public.orders"), &rows[i].row);
        assert_non_null(err);
        for (size_t k = 0; k < ARRAY_LEN(rows[i].parts) && rows[i].parts[k]; k++) {
            if (!strstr(error_text(err), rows[i].parts[k])) {
                fail_msg("%s: \"%s\" is not in: %s", rows[i].sentence, rows[i].parts[k],
                         error_text(err));
            }
        }
        if (rows[i].hint ? !strstr(error_hint(err), rows[i].hint) : error_hint(err)[0] != '\0') {
            fail_msg("%s: hint: %s", rows[i].sentence, error_hint(err));
        }
        assert_string_equal(error_origin(err), "XX000");
        error_free(err);
    }
}

static void success_stays_success(void **state)
{
    (void)state;
    assert_null(rs_explain_load_error(NULL, span_of("t"), &(struct rs_load_error){.code = 1}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_code_says_where_what_and_what_to_do),
        cmocka_unit_test(success_stays_success),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
