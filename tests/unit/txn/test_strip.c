/* Nulls that a document rebuilt from columns must not have. */

#include "txn/strip.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct rs_column columns[] = {
    {.property = {"id", 2}},
    {.property = {"gone", 4}, .must_strip_null = true},
    {.property = {"a/\"b", 4}, .must_strip_null = true},
    {.property = {"kept", 4}},
    {.must_strip_null = true}, /* no property of the root */
};
static const struct rs_table table = {.columns = columns, .column_count = ARRAY_LEN(columns)};

static void nulls_go_where_the_schema_has_none(void **state)
{
    static const struct {
        const char *sentence, *given, *wanted; /* wanted NULL: refused */
    } rows[] = {
        {"nothing to do", "{\"id\":1,\"gone\":\"x\"}", "{\"id\":1,\"gone\":\"x\"}"},
        {"a null in front", "{\"gone\":null,\"id\":1}", "{\"id\":1}"},
        {"a null at the end", "{\"id\":1,\"gone\":null}", "{\"id\":1}"},
        {"nothing is left", "{\"gone\":null}", "{}"},
        {"an empty object", "{}", "{}"},
        {"a null that may be", "{\"kept\":null}", "{\"kept\":null}"},
        {"a name with an escape", "{\"a\\/\\\"b\":null,\"id\":1}", "{\"id\":1}"},
        {"nulls below the root stay", "{\"id\":{\"gone\":null}}", "{\"id\":{\"gone\":null}}"},
        {"a text that says null", "{\"gone\":\"null\"}", "{\"gone\":\"null\"}"},
        {"white space goes", "{ \"id\" : 1 , \"gone\" : null }", "{\"id\":1}"},
        {"no object", "[1]", NULL},
        {"an object that is cut", "{\"id\":1", NULL},
        {"something behind it", "{} {}", NULL},
    };
    unsigned wrong = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out;
        buf_init(&out, 1000);
        struct error *err = strip_nulls(&out, span_of(rows[i].given), &table);
        bool good = rows[i].wanted ? !err && span_is(buf_view(&out), rows[i].wanted) : err != NULL;
        if (!good) {
            print_error("%s: %.*s\n", rows[i].sentence, (int)out.len, out.data ? out.data : "");
            wrong++;
        }
        error_free(err);
        buf_done(&out);
    }
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nulls_go_where_the_schema_has_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
