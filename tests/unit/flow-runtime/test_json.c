/* JSON trees: exact numbers, order, merge patches (the cases of RFC 7396, appendix A). */
#include "harness.h"

static void merge_patches_are_those_of_the_rfc(void **state)
{
    (void)state;
    static const struct {
        const char *target, *patch, *result;
    } rows[] = {
        {"{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
        {"{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}"},
        {"{\"a\":\"b\"}", "{\"a\":null}", "{}"},
        {"{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}"},
        {"{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
        {"{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}"},
        {"{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}"},
        {"{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}"},
        {"[\"a\",\"b\"]", "[\"c\",\"d\"]", "[\"c\",\"d\"]"},
        {"{\"a\":\"b\"}", "[\"c\"]", "[\"c\"]"},
        {"{\"a\":\"foo\"}", "null", "null"},
        {"{\"a\":\"foo\"}", "\"bar\"", "\"bar\""},
        {"{\"e\":null}", "{\"a\":1}", "{\"a\":1,\"e\":null}"},
        {"[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}"},
        {"{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}"},
        {"{\"n\":1}", "{\"m\":9007199254740993.10}", "{\"m\":9007199254740993.10,\"n\":1}"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fr_arena arena = {0};
        struct fr_json *merged = fr_json_merge_patch(&arena, parse(&arena, rows[i].target),
                                                     parse(&arena, rows[i].patch));
        expect_json(rows[i].patch, merged, rows[i].result);
        fr_arena_done(&arena);
    }
}

static void sums_are_exact(void **state)
{
    (void)state;
    static const struct {
        const char *left, *right, *sum;
    } rows[] = {
        {"1", "2", "3"},
        {"9007199254740993", "2", "9007199254740995"},
        {"18446744073709551615", "1", "18446744073709551616"},
        {"170141183460469231731687303715884105727", "1", "170141183460469231731687303715884105728"},
        {"5", "-7", "-2"},
        {"-5", "5", "0"},
        {"999", "1", "1000"},
        {"1000", "-1", "999"},
        {"0.1", "0.2", "0.3"},
        {"1.5", "0.5", "2.0"},
        {"1e3", "1", "1001.0"},
        {"-0.25", "0.05", "-0.2"},
        {"0", "0", "0"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fr_arena arena = {0};
        expect_json(rows[i].left,
                    fr_json_sum(&arena, parse(&arena, rows[i].left), parse(&arena, rows[i].right)),
                    rows[i].sum);
        fr_arena_done(&arena);
    }
}

static void numbers_compare_by_value(void **state)
{
    (void)state;
    static const struct {
        const char *left, *right;
        int order;
        bool stored_equal;
    } rows[] = {
        {"1", "1.0", 0, true},
        {"100", "1e2", 0, true},
        {"-0", "0", 0, true},
        {"9007199254740993", "9007199254740992", 1, false},
        {"9007199254740993.0", "9007199254740992.0", 1, true},
        {"-3", "2", -1, false},
        {"-3", "-2", -1, false},
        {"0.1", "0.09", 1, false},
        {"0.1", "0.1000000000000000055511", -1, true},
        {"\"a\"", "\"b\"", -1, false},
        {"{\"a\":1,\"b\":[2]}", "{\"b\":[2.0],\"a\":1}", 0, true},
        {"[1]", "[1,2]", -1, false},
        {"{\"a\":null}", "{}", 1, false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fr_arena arena = {0};
        const struct fr_json *left = parse(&arena, rows[i].left);
        const struct fr_json *right = parse(&arena, rows[i].right);
        int order = fr_json_compare(left, right);
        if ((order > 0) - (order < 0) != rows[i].order ||
            fr_json_equal_stored(left, right) != rows[i].stored_equal) {
            fail_msg("%s against %s", rows[i].left, rows[i].right);
        }
        fr_arena_done(&arena);
    }
}

static void bad_texts_are_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",    "{",   "[1,]",     "{\"a\" 1}", "01", "1.",  "\"\\ud800\"", "\"\t\"",
        "nul", "1 2", "\"\xff\"", "\"\\x\"",   "-",  "[1}", "{\"a\":1,}"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct fr_arena arena = {0};
        const char *error = NULL;
        if (fr_json_parse(&arena, texts[i], strlen(texts[i]), &error) != NULL || error == NULL) {
            fail_msg("taken for JSON: %s", texts[i]);
        }
        fr_arena_done(&arena);
    }
}

static void documents_are_written_sorted_and_compact(void **state)
{
    (void)state;
    struct fr_arena arena = {0};
    expect_json("escapes and order",
                parse(&arena, " { \"b\" : [ 1.10 , true ] , \"a\" : \"\\u0041\\n\\u0001/\" ,"
                              " \"b\" : -1E5 } "),
                "{\"a\":\"A\\n\\u0001/\",\"b\":-1E5}");
    fr_arena_done(&arena);
}

static void a_policy_shortens_nested_containers(void **state)
{
    (void)state;
    struct fr_arena arena = {0};
    struct fr_buf text = {0};
    struct fr_policy policy = {.string_bytes = 2, .object_members = 1, .array_items = 2};
    assert_true(fr_json_put_policy(
        &text, parse(&arena, "{\"a\":[1,2,3],\"b\":{\"x\":1,\"y\":2},\"c\":\"xyz\"}"), &policy, 0));
    assert_string_equal(text.data, "{\"a\":[1,2],\"b\":{\"x\":1},\"c\":\"xy\"}");
    fr_buf_done(&text);
    fr_arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merge_patches_are_those_of_the_rfc),
        cmocka_unit_test(sums_are_exact),
        cmocka_unit_test(numbers_compare_by_value),
        cmocka_unit_test(bad_texts_are_refused),
        cmocka_unit_test(documents_are_written_sorted_and_compact),
        cmocka_unit_test(a_policy_shortens_nested_containers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
