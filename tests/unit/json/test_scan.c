/* json/scan: what is JSON and what is not, and the pieces that come out. */

#include "json/scan.h"

#include "json/skip.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct error *read_whole(struct span text, struct json_item *item)
{
    struct json_reader reader;

    json_reader_init(&reader, text);
    struct error *err = json_next(&reader, item);
    return err ? err : json_end(&reader);
}

/* A copy of exactly the text's length, so that reading behind it is found by a sanitizer. */
static struct span exact_copy(const char *text, size_t len)
{
    char *copy = malloc(len ? len : 1);

    assert_non_null(copy);
    memcpy(copy, text, len);
    return (struct span){copy, len};
}

static void free_copy(struct span copy)
{
    union {
        const char *lent;
        char *owned;
    } ptr = {copy.ptr};
    free(ptr.owned);
}

static void accepts_what_rfc_8259_allows(void **state)
{
    static const struct {
        const char *why, *text;
        enum json_kind kind;
        bool is_compact;
    } rows[] = {
        {"null", "null", JSON_NULL, true},
        {"true with space around it", " \t\r\n true \n", JSON_TRUE, true},
        {"false", "false", JSON_FALSE, true},
        {"zero", "0", JSON_NUMBER, true},
        {"minus zero", "-0", JSON_NUMBER, true},
        {"a fraction", "-12.0625", JSON_NUMBER, true},
        {"an exponent", "1e5", JSON_NUMBER, true},
        {"an exponent with sign and zeros", "1.5E-0007", JSON_NUMBER, true},
        {"a zero with exponent", "0e+1", JSON_NUMBER, true},
        {"an integer of 38 digits", "12345678901234567890123456789012345678", JSON_NUMBER, true},
        {"an empty string", "\"\"", JSON_STRING, true},
        {"every short escape", "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", JSON_STRING, true},
        {"a \\u escape of either case", "\"\\u00eF\\uABCD\"", JSON_STRING, true},
        {"an escaped NUL", "\"a\\u0000b\"", JSON_STRING, true},
        {"DEL and UTF-8", "\"\x7f \xc3\xa9 \xf0\x9f\x98\x80\"", JSON_STRING, true},
        {"an escape behind sixteen plain bytes", "\"0123456789abcdef\\n\"", JSON_STRING, true},
        {"a quote as the seventeenth byte", "\"0123456789abcdef\"", JSON_STRING, true},
        {"an empty array", "[]", JSON_ARRAY, true},
        {"an empty array with space", "[ ]", JSON_ARRAY, false},
        {"an empty object", "{}", JSON_OBJECT, true},
        {"a nested one", "{\"a\":[1,{\"b\":null},[]],\"c\":{}}", JSON_OBJECT, true},
        {"space everywhere", " { \"a\" : [ 1 , 2 ] , \"b\" : { } } ", JSON_OBJECT, false},
        {"space inside of strings only", "{\"a b\":\"c d\"}", JSON_OBJECT, true},
        {"a name that stands twice", "{\"a\":1,\"a\":2}", JSON_OBJECT, true},
        {"an empty name", "{\"\":0}", JSON_OBJECT, true},
        {"brackets inside of strings", "[\"]}{[\",\"\\\"]\"]", JSON_ARRAY, true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct span text = exact_copy(rows[i].text, strlen(rows[i].text));
        struct json_item item;
        struct error *err = read_whole(text, &item);
        if (err || item.kind != rows[i].kind || item.is_compact != rows[i].is_compact) {
            fail_msg("%s: %s", rows[i].why, err ? error_text(err) : "another kind or compactness");
        }
        free_copy(text);
    }
}

static void refuses_what_rfc_8259_does_not_allow_and_says_where(void **state)
{
    static const struct {
        const char *why, *text;
        const char *error;
    } rows[] = {
        {"nothing", "", "expected a value, but the text ends at byte 0"},
        {"space only", " \n", "expected a value, but the text ends at byte 2"},
        {"two values", "1 2", "expected nothing more at byte 2"},
        {"a word cut off", "tru", "expected a value at byte 0"},
        {"a word in capitals", "True", "expected a value at byte 0"},
        {"a word that goes on", "nullx", "expected nothing more at byte 4"},
        {"NaN", "NaN", "expected a value at byte 0"},
        {"Infinity", "-Infinity", "expected a digit at byte 1"},
        {"a leading zero", "01", "expected nothing more at byte 1"},
        {"a plus sign", "+1", "expected a value at byte 0"},
        {"a minus alone", "-", "expected a digit, but the text ends at byte 1"},
        {"no digit behind the point", "1.", "decimal point, but the text ends at byte 2"},
        {"no digit before the point", ".5", "expected a value at byte 0"},
        {"an exponent without digits", "1e+", "exponent, but the text ends at byte 3"},
        {"hexadecimal", "0x10", "expected nothing more at byte 1"},
        {"a string without end", "\"abc", "closing quote of a string, but the text ends at byte 4"},
        {"a raw newline in a string", "\"a\nb\"", "control character in a string at byte 2"},
        {"a raw tab behind sixteen bytes", "\"0123456789abcdef\t\"",
         "control character in a string at byte 17"},
        {"an unknown escape", "\"\\x41\"", "unknown escape in a string at byte 1"},
        {"an escape cut off", "\"\\", "escaped character, but the text ends at byte 2"},
        {"\\u with three digits", "\"\\u123\"", "hexadecimal digits behind \\u at byte 3"},
        {"\\u with a wrong digit", "\"\\u12g4\"", "hexadecimal digits behind \\u at byte 3"},
        {"single quotes", "'a'", "expected a value at byte 0"},
        {"an array without end", "[1,2", "closing bracket, but the text ends at byte 4"},
        {"a comma at the end of an array", "[1,]", "expected a value at byte 3"},
        {"a comma at the start of an array", "[,1]", "expected a value at byte 1"},
        {"two commas", "[1,,2]", "expected a value at byte 3"},
        {"no comma", "[1 2]", "comma or closing bracket at byte 3"},
        {"the wrong bracket", "[1}", "comma or closing bracket at byte 2"},
        {"the wrong brace", "{\"a\":1]", "comma or closing brace at byte 6"},
        {"a comma at the end of an object", "{\"a\":1,}", "expected a member's name at byte 7"},
        {"a name without quotes", "{a:1}", "expected a member's name at byte 1"},
        {"a number as name", "{1:1}", "expected a member's name at byte 1"},
        {"a name without colon", "{\"a\" 1}", "expected a colon at byte 5"},
        {"a name without value", "{\"a\":}", "expected a value at byte 5"},
        {"a name alone", "{\"a\"}", "expected a colon at byte 4"},
        {"an object without end", "{\"a\":1", "closing brace, but the text ends at byte 6"},
        {"a bracket that closes nothing", "]", "expected a value at byte 0"},
        {"one bracket too many", "[]]", "expected nothing more at byte 2"},
        {"a comment", "[1/*x*/]", "comma or closing bracket at byte 2"},
        {"a byte order mark", "\xef\xbb\xbf{}", "expected a value at byte 0"},
        {"a form feed as space", "\f1", "expected a value at byte 0"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct span text = exact_copy(rows[i].text, strlen(rows[i].text));
        struct json_item item;
        struct error *err = read_whole(text, &item);
        if (!err || !strstr(error_text(err), rows[i].error)) {
            fail_msg("%s: %s", rows[i].why, err ? error_text(err) : "accepted");
        }
        assert_int_equal(error_code_of(err), ERROR_INPUT);
        error_free(err);
        free_copy(text);
    }
}

static void a_nul_byte_is_no_json_anywhere(void **state)
{
    static const struct {
        const char *why, *text;
        size_t len;
    } rows[] = {
        {"alone", "\0", 1},
        {"behind a value", "{}\0", 3},
        {"in a string", "\"a\0b\"", 5},
        {"in a number", "1\0002", 3},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct json_item item;
        struct error *err = read_whole((struct span){rows[i].text, rows[i].len}, &item);
        if (!err) {
            fail_msg("%s: accepted", rows[i].why);
        }
        error_free(err);
    }
}

/* opening repeated depth times, then inner, then closing as often. */
static struct span nest(const char *opening, const char *inner, const char *closing, size_t depth)
{
    const size_t len = depth * (strlen(opening) + strlen(closing)) + strlen(inner);
    char *text = malloc(len + 1);
    char *at = text;

    assert_non_null(text);
    for (size_t i = 0; i < depth; i++) {
        at = (char *)memcpy(at, opening, strlen(opening)) + strlen(opening);
    }
    at = (char *)memcpy(at, inner, strlen(inner)) + strlen(inner);
    for (size_t i = 0; i < depth; i++) {
        at = (char *)memcpy(at, closing, strlen(closing)) + strlen(closing);
    }
    return (struct span){text, len};
}

static void nesting_has_a_limit(void **state)
{
    static const struct {
        const char *why, *opening, *inner, *closing;
        size_t depth;
        bool good;
    } rows[] = {
        {"arrays at the limit", "[", "1", "]", JSON_MAX_DEPTH, true},
        {"arrays beyond it", "[", "1", "]", JSON_MAX_DEPTH + 1, false},
        {"objects at the limit", "{\"a\":", "1", "}", JSON_MAX_DEPTH, true},
        {"objects beyond it", "{\"a\":", "1", "}", JSON_MAX_DEPTH + 1, false},
        {"both, by turns, at the limit", "[{\"a\":", "1", "}]", JSON_MAX_DEPTH / 2, true},
        {"empty ones at the limit", "[", "{}", "]", JSON_MAX_DEPTH - 1, true},
        {"a bomb", "[", "", "]", 1000000, false},
        {"a bomb of objects without end", "{\"a\":", "", "", 1000000, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct span text = nest(rows[i].opening, rows[i].inner, rows[i].closing, rows[i].depth);
        struct json_item item;
        struct error *err = read_whole(text, &item);
        if (rows[i].good ? err != NULL : !err || !strstr(error_text(err), "nested too deeply")) {
            fail_msg("%s: %s", rows[i].why, err ? error_text(err) : "accepted");
        }
        error_free(err);
        free_copy(text);
    }
}

static void every_prefix_of_a_document_is_refused(void **state)
{
    static const char text[] = "{\"a\":[1.5e3,true,null,\"x\\u00e9\\\\\"],\"b\":{\"c\":[[],{}]}}";

    (void)state;
    for (size_t len = 0; len < sizeof(text) - 1; len++) {
        struct span cut = exact_copy(text, len);
        struct json_item item;
        struct error *err = read_whole(cut, &item);
        if (!err) {
            fail_msg("the first %zu bytes were accepted", len);
        }
        error_free(err);
        free_copy(cut);
    }
}

static void members_and_elements_come_out_as_written(void **state)
{
    static const char text[] =
        " { \"n\" : 9007199254740993 , \"d\":12345678901234567890123456789012345678.50,"
        "\"s\\u0041\":\"x\", \"l\": [ 1, [2], {\"k\":3} ] } ";
    struct json_reader reader, list;
    struct json_item item;
    struct span name;
    bool have;

    (void)state;
    json_reader_init(&reader, SPAN_LIT(text));
    assert_null(json_enter(&reader, JSON_OBJECT));
    assert_null(json_member(&reader, &name, &item, &have));
    assert_true(have && json_name_is(name, "n"));
    assert_true(span_is(item.raw, "9007199254740993"));
    assert_null(json_member(&reader, &name, &item, &have));
    assert_true(have && json_name_is(name, "d"));
    assert_true(span_is(item.raw, "12345678901234567890123456789012345678.50"));
    assert_null(json_member(&reader, &name, &item, &have));
    assert_true(have && json_name_is(name, "sA") && span_is(item.raw, "\"x\""));
    assert_null(json_member(&reader, &name, &item, &have));
    assert_true(have && json_name_is(name, "l"));

    json_reader_init(&list, item.raw);
    assert_null(json_enter(&list, JSON_ARRAY));
    assert_null(json_element(&list, &item, &have));
    assert_true(have && span_is(item.raw, "1"));
    assert_null(json_element(&list, &item, &have));
    assert_true(have && span_is(item.raw, "[2]"));
    assert_null(json_element(&list, &item, &have));
    assert_true(have && span_is(item.raw, "{\"k\":3}"));
    assert_null(json_element(&list, &item, &have));
    assert_false(have);
    assert_null(json_end(&list));

    assert_null(json_member(&reader, &name, &item, &have));
    assert_false(have);
    assert_null(json_end(&reader));
}

static void containers_are_walked_in_place(void **state)
{
    struct json_reader reader;
    struct json_item item;
    struct span name;
    enum json_kind kind;
    bool have;

    (void)state;
    json_reader_init(&reader, SPAN_LIT("{\"a\":{\"b\":[{},[] ]} , \"c\":1}"));
    assert_true(json_peek(&reader, &kind) && kind == JSON_OBJECT);
    assert_null(json_enter(&reader, JSON_OBJECT));
    assert_null(json_member_name(&reader, &name, &have));
    assert_true(have && span_is(name, "a"));
    assert_null(json_enter(&reader, JSON_OBJECT));
    assert_null(json_member_name(&reader, &name, &have));
    assert_true(have && span_is(name, "b"));
    assert_null(json_enter(&reader, JSON_ARRAY));
    assert_null(json_element_start(&reader, &have));
    assert_true(have && json_peek(&reader, &kind) && kind == JSON_OBJECT);
    assert_null(json_enter(&reader, JSON_OBJECT));
    assert_null(json_member_name(&reader, &name, &have));
    assert_false(have);
    assert_null(json_element_start(&reader, &have));
    assert_true(have && json_peek(&reader, &kind) && kind == JSON_ARRAY);
    assert_null(json_next(&reader, &item));
    assert_null(json_element_start(&reader, &have));
    assert_false(have);
    assert_null(json_member_name(&reader, &name, &have));
    assert_false(have);
    assert_null(json_member_name(&reader, &name, &have));
    assert_true(have && span_is(name, "c") && json_peek(&reader, &kind) && kind == JSON_NUMBER);
    assert_null(json_next(&reader, &item));
    assert_null(json_member_name(&reader, &name, &have));
    assert_false(have);
    assert_null(json_end(&reader));
}

static void a_walk_refuses_what_the_whole_reader_refuses(void **state)
{
    static const char *const rows[] = {"{\"a\":1,}", "{,\"a\":1}", "{\"a\":1 \"b\":2}", "{\"a\" 1}",
                                       "{\"a\":1]",  "{",          "{\"a\":1",          "[1]",
                                       "{\"a\":01}", "{a:1}"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct span text = exact_copy(rows[i], strlen(rows[i]));
        struct json_reader reader;
        struct json_item item;
        struct span name;
        bool have = true;
        json_reader_init(&reader, text);
        struct error *err = json_enter(&reader, JSON_OBJECT);
        while (!err && have) {
            err = json_member(&reader, &name, &item, &have);
        }
        if (!err) {
            fail_msg("%s was accepted", rows[i]);
        }
        error_free(err);
        free_copy(text);
    }
}

static void escapes_are_decoded(void **state)
{
    static const struct {
        const char *why, *text;
        const char *want;
        size_t want_len;
    } rows[] = {
        {"nothing to do", "\"plain\"", "plain", 5},
        {"empty", "\"\"", "", 0},
        {"short escapes", "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t", 8},
        {"one byte", "\"\\u0041\"", "A", 1},
        {"a NUL", "\"a\\u0000b\"", "a\0b", 3},
        {"two bytes", "\"\\u00e9\"", "\xc3\xa9", 2},
        {"three bytes", "\"\\u20AC!\"", "\xe2\x82\xac!", 4},
        {"a surrogate pair", "\"\\ud83d\\ude00\"", "\xf0\x9f\x98\x80", 4},
        {"the first and the last pair", "\"\\ud800\\udc00\\udbff\\udfff\"",
         "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", 8},
        {"a high surrogate alone", "\"\\ud83dx\"", "\xef\xbf\xbdx", 4},
        {"a high surrogate at the end", "\"\\ud83d\"", "\xef\xbf\xbd", 3},
        {"a low surrogate alone", "\"\\ude00\"", "\xef\xbf\xbd", 3},
        {"two high ones, then a low one", "\"\\ud83d\\ud83d\\ude00\"",
         "\xef\xbf\xbd\xf0\x9f\x98\x80", 7},
        {"a high one before another escape", "\"\\ud83d\\n\"", "\xef\xbf\xbd\n", 4},
        {"a high one before a plain \\u", "\"\\ud83d\\u0041\"",
         "\xef\xbf\xbd"
         "A",
         4},
        {"text around", "\"ab\\tcd\\u00e9ef\"",
         "ab\tcd\xc3\xa9"
         "ef",
         9},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf scratch;
        struct json_item item;
        struct span text;
        buf_init(&scratch, 1024);
        assert_null(read_whole(span_of(rows[i].text), &item));
        assert_null(json_string(&item, &scratch, &text));
        if (!span_equal(text, (struct span){rows[i].want, rows[i].want_len})) {
            fail_msg("%s: \"%.*s\"", rows[i].why, SPAN_FMT(text));
        }
        buf_done(&scratch);
    }
}

static void a_string_longer_than_scratch_is_an_error(void **state)
{
    struct buf scratch;
    struct span text;
    struct error *err;

    (void)state;
    buf_init(&scratch, 4);
    err = json_unescape(SPAN_LIT("abcd\\n"), &scratch, &text);
    assert_non_null(err);
    error_free(err);
    buf_done(&scratch);
}

static void names_are_compared_as_decoded(void **state)
{
    static const struct {
        const char *raw, *name;
        bool same;
    } rows[] = {
        {"doc", "doc", true},         {"doc", "docs", false},
        {"docs", "doc", false},       {"", "", true},
        {"\\u0064oc", "doc", true},   {"d\\u006fc", "doc", true},
        {"do\\u0063", "doc", true},   {"do\\u0063", "docs", false},
        {"do\\u0063s", "doc", false}, {"\\u00e9", "\xc3\xa9", true},
        {"doc\\u0000", "doc", false}, {"a\\/b", "a/b", true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (json_name_is(span_of(rows[i].raw), rows[i].name) != rows[i].same) {
            fail_msg("%s against %s", rows[i].raw, rows[i].name);
        }
    }
}

static void numbers_are_exact_or_none(void **state)
{
    static const struct {
        const char *text;
        bool is_int64, is_uint64;
        int64_t i;
        uint64_t u;
    } rows[] = {
        {"0", true, true, 0, 0},
        {"-1", true, false, -1, 0},
        {"9007199254740993", true, true, INT64_C(9007199254740993), UINT64_C(9007199254740993)},
        {"9223372036854775807", true, true, INT64_MAX, INT64_MAX},
        {"-9223372036854775808", true, false, INT64_MIN, 0},
        {"9223372036854775808", false, true, 0, UINT64_C(9223372036854775808)},
        {"18446744073709551615", false, true, 0, UINT64_MAX},
        {"18446744073709551616", false, false, 0, 0},
        {"1.0", false, false, 0, 0},
        {"1e3", false, false, 0, 0},
        {"\"1\"", false, false, 0, 0},
        {"null", false, false, 0, 0},
    };

    (void)state;
    for (size_t r = 0; r < ARRAY_LEN(rows); r++) {
        struct json_item item;
        int64_t i = 0;
        uint64_t u = 0;
        assert_null(read_whole(span_of(rows[r].text), &item));
        if (json_to_int64(&item, &i) != rows[r].is_int64 ||
            json_to_uint64(&item, &u) != rows[r].is_uint64 ||
            (rows[r].is_int64 && i != rows[r].i) || (rows[r].is_uint64 && u != rows[r].u)) {
            fail_msg("%s", rows[r].text);
        }
    }
    struct json_item item;
    double d = 0;
    assert_null(read_whole(SPAN_LIT("-1.5e3"), &item));
    assert_true(json_to_double(&item, &d) && d > -1500.5 && d < -1499.5);
    assert_null(read_whole(SPAN_LIT("1e400"), &item));
    assert_false(json_to_double(&item, &d));
}

/* Each special byte at each place of each length: the wide steps must stop just where the narrow
 * one does. */
static void wide_steps_stop_where_a_narrow_one_would(void **state)
{
    static const char specials[] = {'"', '\\', '\0', '\n', 0x1f};

    (void)state;
    for (size_t len = 0; len <= 40; len++) {
        for (size_t at = 0; at < len; at++) {
            for (size_t s = 0; s < sizeof(specials); s++) {
                char plain[40];
                for (size_t i = 0; i < len; i++) {
                    plain[i] = (char)(i % 2 ? 0x20 + (int)i : (int)i - 64); /* high bytes too */
                    if (plain[i] == '"' || plain[i] == '\\') {
                        plain[i] = 'x';
                    }
                }
                plain[at] = specials[s];
                struct span text = exact_copy(plain, len);
                assert_ptr_equal(skip_plain(text.ptr, text.ptr + len), text.ptr + at);
                assert_ptr_equal(skip_plain_words(text.ptr, text.ptr + len), text.ptr + at);
                free_copy(text);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_what_rfc_8259_allows),
        cmocka_unit_test(refuses_what_rfc_8259_does_not_allow_and_says_where),
        cmocka_unit_test(a_nul_byte_is_no_json_anywhere),
        cmocka_unit_test(nesting_has_a_limit),
        cmocka_unit_test(every_prefix_of_a_document_is_refused),
        cmocka_unit_test(members_and_elements_come_out_as_written),
        cmocka_unit_test(containers_are_walked_in_place),
        cmocka_unit_test(a_walk_refuses_what_the_whole_reader_refuses),
        cmocka_unit_test(escapes_are_decoded),
        cmocka_unit_test(a_string_longer_than_scratch_is_an_error),
        cmocka_unit_test(names_are_compared_as_decoded),
        cmocka_unit_test(numbers_are_exact_or_none),
        cmocka_unit_test(wide_steps_stop_where_a_narrow_one_would),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
