/* json/write: bytes that every JSON reader reads. */

#include "json/write.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void strings_are_escaped_no_more_than_needed(void **state)
{
    static const struct {
        const char *why, *text;
        size_t len;
        const char *want;
    } rows[] = {
        {"plain", "abc", 3, "\"abc\""},
        {"empty", "", 0, "\"\""},
        {"quote and backslash", "a\"b\\c", 5, "\"a\\\"b\\\\c\""},
        {"no escape of slash, angle brackets, ampersand", "</&>", 4, "\"</&>\""},
        {"short control escapes", "\b\f\n\r\t", 5, "\"\\b\\f\\n\\r\\t\""},
        {"long control escapes", "\0\x01\x1f", 3, "\"\\u0000\\u0001\\u001f\""},
        {"DEL and UTF-8 as they are", "\x7f\xc3\xa9\xf0\x9f\x98\x80", 7,
         "\"\x7f\xc3\xa9\xf0\x9f\x98\x80\""},
        {"a stray byte",
         "a\xff"
         "b",
         3,
         "\"a\xef\xbf\xbd"
         "b\""},
        {"a character cut off", "\xe2\x82", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\""},
        {"a surrogate in UTF-8", "\xed\xa0\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
        {"an overlong slash", "\xc0\xaf", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\""},
        {"a quote behind sixteen bytes", "0123456789abcdef\"x", 18, "\"0123456789abcdef\\\"x\""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out;
        buf_init(&out, 256);
        json_add_string(&out, (struct span){rows[i].text, rows[i].len});
        if (!span_is(buf_view(&out), rows[i].want)) {
            fail_msg("%s: %s", rows[i].why, out.data);
        }
        buf_done(&out);
    }
}

static void compact_drops_space_outside_of_strings_only(void **state)
{
    static const struct {
        const char *why, *text, *want; /* want NULL: refused */
    } rows[] = {
        {"compact already", "{\"a\":[1,\" b \"]}", "{\"a\":[1,\" b \"]}"},
        {"pretty", "{\n\t\"a\" : [ 1 , 2 ],\r\n \"b\": { } }\n", "{\"a\":[1,2],\"b\":{}}"},
        {"space in strings", " [ \" a\\\" \\\\ \" , \"\\\\\" ] ", "[\" a\\\" \\\\ \",\"\\\\\"]"},
        {"numbers as written", "[ 9007199254740993, 1.50E+01, -0 ]",
         "[9007199254740993,1.50E+01,-0]"},
        {"38 digits", " 12345678901234567890123456789012345678 ",
         "12345678901234567890123456789012345678"},
        {"a scalar", " null ", "null"},
        {"the framing of state patches", "[{\"a\":1}\t,{\"b\":2}\t]", "[{\"a\":1},{\"b\":2}]"},
        {"a raw newline in a string", "[\"\n\"]", NULL},
        {"two values", "{} {}", NULL},
        {"nothing", "", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out;
        buf_init(&out, 256);
        struct error *err = json_add_compact(&out, span_of(rows[i].text));
        if (rows[i].want ? err != NULL || !span_is(buf_view(&out), rows[i].want)
                         : !err || out.len > 0) {
            fail_msg("%s: %s", rows[i].why, err ? error_text(err) : out.data);
        }
        error_free(err);
        buf_done(&out);
    }
}

static void the_writer_sets_the_commas(void **state)
{
    struct json_writer w;
    struct buf out;

    (void)state;
    buf_init(&out, 1024);
    json_writer_init(&w, &out);
    json_object_begin(&w);
    json_name(&w, "empty");
    json_object_begin(&w);
    json_object_end(&w);
    json_name(&w, "list");
    json_array_begin(&w);
    json_int(&w, INT64_MIN);
    json_uint(&w, UINT64_MAX);
    json_bool(&w, true);
    json_bool(&w, false);
    json_null(&w);
    json_array_begin(&w);
    json_array_end(&w);
    json_object_begin(&w);
    json_name_span(&w, SPAN_LIT("a\"b"));
    json_str(&w, SPAN_LIT("c\n"));
    json_object_end(&w);
    json_raw(&w, SPAN_LIT("1.50"));
    json_array_end(&w);
    json_object_end(&w);
    assert_string_equal(out.data,
                        "{\"empty\":{},\"list\":[-9223372036854775808,18446744073709551615,true,"
                        "false,null,[],{\"a\\\"b\":\"c\\n\"},1.50]}");
    buf_done(&out);
}

static void a_full_buffer_says_so_at_the_end(void **state)
{
    struct json_writer w;
    struct buf out;

    (void)state;
    buf_init(&out, 8);
    json_writer_init(&w, &out);
    json_array_begin(&w);
    json_str(&w, SPAN_LIT("longer than eight"));
    json_array_end(&w);
    assert_true(buf_is_full(&out));
    assert_null(json_add_compact(&out, SPAN_LIT("[ 1 ]")));
    assert_true(buf_is_full(&out));
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings_are_escaped_no_more_than_needed),
        cmocka_unit_test(compact_drops_space_outside_of_strings_only),
        cmocka_unit_test(the_writer_sets_the_commas),
        cmocka_unit_test(a_full_buffer_says_so_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
