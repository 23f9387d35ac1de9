/* json/read: configurations by name, and all of their problems at once. */

#include "json/read.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct json_doc *read_doc(const char *text)
{
    struct json_doc *doc = NULL;

    assert_null(json_doc_read(span_of(text), "endpoint config", &doc));
    return doc;
}

static void getters_find_members_by_name(void **state)
{
    struct json_doc *doc =
        read_doc("{\"s\":\"x\\u00e9\",\"t\":true,\"f\":false,\"n\":2.5,\"z\":null,"
                 "\"o\":{\"s\":\"in\",\"o\":{\"n\":-1}},\"S\":\"other case\"}");
    struct json_object *top = json_doc_object(doc);

    (void)state;
    assert_string_equal(json_get_string(top, "s"), "x\xc3\xa9");
    assert_string_equal(json_get_string(top, "S"), "other case");
    assert_true(json_get_bool(top, "t"));
    assert_false(json_get_bool(top, "f"));
    assert_true(json_get_number(top, "n", 0) > 2.4 && json_get_number(top, "n", 0) < 2.6);
    assert_false(json_has(top, "z"));
    assert_true(json_has(top, "s"));
    assert_false(json_has(top, "absent"));
    assert_null(json_get_string(top, "absent"));
    assert_false(json_get_bool(top, "absent"));
    assert_true(json_get_number(top, "absent", 7) > 6.9);
    assert_null(json_get_object(top, "absent"));

    struct json_object *inner = json_get_object(top, "o");
    assert_non_null(inner);
    assert_ptr_equal(json_get_object(top, "o"), inner);
    assert_string_equal(json_get_string(inner, "s"), "in");
    assert_true(json_get_number(json_get_object(inner, "o"), "n", 0) < -0.9);
    assert_null(json_doc_check(doc));
    json_doc_free(doc);
}

static void all_problems_are_told_at_once_by_path(void **state)
{
    struct json_doc *doc =
        read_doc("{\"address\":5,\"extra\":1,\"advanced\":{\"mode\":[],\"odd\":{\"deep\":1}},"
                 "\"port\":1e999,\"twice\":1,\"twice\":2}");
    struct json_object *top = json_doc_object(doc);

    (void)state;
    assert_null(json_get_string(top, "address"));
    assert_null(json_get_string(json_get_object(top, "advanced"), "mode"));
    assert_true(json_get_number(top, "port", 5439) > 5438.0);
    assert_true(json_get_number(top, "twice", 0) > 0);
    json_problem(doc, "missing '%s'", "user");
    struct error *err = json_doc_check(doc);
    assert_non_null(err);
    assert_int_equal(error_class_of(err), ERROR_CONFIG);
    assert_string_equal(error_text(err),
                        "endpoint config has 7 problems:"
                        "\n - field \"twice\" is given more than once"
                        "\n - field \"address\" must be of type string, not number"
                        "\n - field \"advanced.mode\" must be of type string, not array"
                        "\n - field \"port\" is too large a number"
                        "\n - missing 'user'"
                        "\n - unknown field \"extra\""
                        "\n - unknown field \"advanced.odd\"");
    error_free(err);
    json_doc_free(doc);
}

static void one_problem_is_one_line(void **state)
{
    struct json_doc *doc = read_doc("{\"x\":1}");

    (void)state;
    struct error *err = json_doc_check(doc);
    assert_non_null(err);
    assert_string_equal(error_text(err), "endpoint config: unknown field \"x\"");
    error_free(err);
    json_doc_free(doc);
}

static void values_never_reach_an_error(void **state)
{
    struct json_doc *doc = read_doc("{\"password\":{\"hidden\":\"hunter2\"},\"user\":\"hunter2\"}");

    (void)state;
    assert_null(json_get_string(json_doc_object(doc), "password"));
    assert_false(json_get_bool(json_doc_object(doc), "user"));
    struct error *err = json_doc_check(doc);
    assert_non_null(err);
    assert_null(strstr(error_text(err), "hunter2"));
    error_free(err);
    json_doc_free(doc);
}

static void refuses_what_the_tree_would_get_wrong(void **state)
{
    static const struct {
        const char *why, *text, *error;
    } rows[] = {
        {"nothing", "", "expected a value"},
        {"no object", "[]", "must be an object, not of type array"},
        {"text behind", "{} x", "expected nothing more at byte 3"},
        {"cut off", "{\"a\":", "expected a value, but the text ends at byte 5"},
        {"a raw control character", "{\"a\":\"\t\"}", "control character in a string at byte 6"},
        {"a leading zero", "{\"a\":01}", "comma or closing brace at byte 6"},
        {"a NUL", "{\"a\":\"x\\u0000y\"}", "a string holds a NUL character"},
        {"a NUL in a name", "{\"x\\u0000y\":1}", "a string holds a NUL character"},
        {"half of a pair", "{\"a\":\"\\ud800\"}", "half of a surrogate pair"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct json_doc *doc = NULL;
        struct error *err = json_doc_read(span_of(rows[i].text), "endpoint config", &doc);
        if (!err || !strstr(error_text(err), rows[i].error)) {
            fail_msg("%s: %s", rows[i].why, err ? error_text(err) : "accepted");
        }
        assert_int_equal(error_class_of(err), ERROR_CONFIG);
        assert_ptr_equal(strstr(error_text(err), "endpoint config: "), error_text(err));
        error_free(err);
    }
}

static void an_escaped_backslash_before_u0000_is_no_nul(void **state)
{
    struct json_doc *doc = read_doc("{\"a\":\"\\\\u0000\"}");

    (void)state;
    assert_string_equal(json_get_string(json_doc_object(doc), "a"), "\\u0000");
    assert_null(json_doc_check(doc));
    json_doc_free(doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(getters_find_members_by_name),
        cmocka_unit_test(all_problems_are_told_at_once_by_path),
        cmocka_unit_test(one_problem_is_one_line),
        cmocka_unit_test(values_never_reach_an_error),
        cmocka_unit_test(refuses_what_the_tree_would_get_wrong),
        cmocka_unit_test(an_escaped_backslash_before_u0000_is_no_nul),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
