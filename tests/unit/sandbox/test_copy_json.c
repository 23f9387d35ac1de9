/* Cutting a stream into objects, wherever the pieces end; strings; UTF-8. */
#include "sandbox/copy_json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* ------------------------------------------------------------------ the cutter */

/* What the callbacks saw, as text: "{...}@line", "stray c@line", "too long@line", "cut off@line".
 */
struct seen {
    struct bytes text;
    int left; /* callbacks until one answers stop */
};

static bool on_object(void *ctx, struct piece object, int64_t line)
{
    struct seen *seen = ctx;
    bytes_printf(&seen->text, "%.*s@%d ", (int)object.len, object.at, (int)line);
    return --seen->left != 0;
}

static bool on_fault(void *ctx, enum split_fault fault, char byte, int64_t line)
{
    struct seen *seen = ctx;
    switch (fault) {
    case SPLIT_STRAY:
        bytes_printf(&seen->text, "stray %c@%d ", byte, (int)line);
        break;
    case SPLIT_TOO_LONG:
        bytes_printf(&seen->text, "too long@%d ", (int)line);
        break;
    case SPLIT_CUT_OFF:
        bytes_printf(&seen->text, "cut off@%d ", (int)line);
        break;
    }
    return --seen->left != 0;
}

struct stream {
    const char *sentence, *input, *wanted;
};

static const struct stream streams[] = {
    {"objects need no newline between them", "{\"a\":1}{\"a\":2}", "{\"a\":1}@1 {\"a\":2}@1 "},
    {"white space between objects is fine", " \r\n\t{}\n\n {}\n", "{}@2 {}@4 "},
    {"the line is the last one of the object", "{\"a\":\n1\n}\n{}", "{\"a\":\n1\n}@3 {}@4 "},
    {"brackets in strings do not count", "{\"a\":\"}{[\\\"}\"}", "{\"a\":\"}{[\\\"}\"}@1 "},
    {"a backslash at the end of a string", "{\"a\":\"\\\\\"}{}", "{\"a\":\"\\\\\"}@1 {}@1 "},
    {"commas and brackets around objects are one error each", "[{},{}]",
     "stray [@1 {}@1 stray ,@1 {}@1 stray ]@1 "},
    {"an empty input has nothing", "", ""},
    {"blanks alone have nothing", "\n \n", ""},
    {"an object that is cut off is a fault", "{}\n{\"a\":[1,", "{}@1 cut off@2 "},
    {"a string that is cut off is a fault", "{\"a\":\"x", "cut off@1 "},
    {"nested objects are one", "{\"a\":{\"b\":[{},{}]}}", "{\"a\":{\"b\":[{},{}]}}@1 "},
};

static void feed(struct json_split *s, const char *at, size_t len)
{
    assert_true(json_split_feed(s, at, len));
}

static void the_stream_is_cut_alike_wherever_the_pieces_end(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++) {
        const struct stream *row = &streams[i];
        size_t len = strlen(row->input);
        for (size_t cut = 0; cut <= len; cut++) {
            struct seen seen = {.left = -1};
            struct json_split s = {.object = on_object, .fault = on_fault, .ctx = &seen};
            json_split_start(&s);
            feed(&s, row->input, cut);
            feed(&s, row->input + cut, len - cut);
            assert_true(json_split_end(&s));
            if (strcmp(bytes_text(&seen.text), row->wanted) != 0) {
                fail_msg("%s (cut at %zu): got %s", row->sentence, cut, seen.text.at);
            }
            json_split_done(&s);
            bytes_done(&seen.text);
        }
    }
}

static void a_callback_can_stop_the_cutter(void **state)
{
    (void)state;
    static const char input[] = "{}{}x{}";
    for (int stop = 1; stop <= 3; stop++) {
        struct seen seen = {.left = stop};
        struct json_split s = {.object = on_object, .fault = on_fault, .ctx = &seen};
        json_split_start(&s);
        assert_false(json_split_feed(&s, input, sizeof input - 1));
        assert_int_equal(seen.left, 0);
        json_split_done(&s);
        bytes_done(&seen.text);
    }
}

/* Feeds {"a":"<count bytes>"} in pieces of 64 KiB and a second object after it. */
static void feed_large(char filler, size_t count, struct seen *seen)
{
    char piece[65536];
    memset(piece, filler, sizeof piece);
    struct json_split s = {.object = on_object, .fault = on_fault, .ctx = seen};
    json_split_start(&s);
    feed(&s, "{\"a\":\"", 6);
    for (size_t left = count; left > 0;) {
        size_t len = left < sizeof piece ? left : sizeof piece;
        feed(&s, piece, len);
        left -= len;
    }
    feed(&s, "\"}\n{\"b\":1}", 10);
    assert_true(json_split_end(&s));
    assert_true(s.pending.cap <= 2 * COPY_OBJECT_BYTES_MAX);
    json_split_done(&s);
}

static void objects_have_four_megabytes_and_a_bar_counts_twice(void **state)
{
    (void)state;
    static const struct {
        const char *sentence;
        char filler;
        size_t count;
        bool fits;
    } rows[] = {
        {"just four megabytes fit", 'x', COPY_OBJECT_BYTES_MAX - 8, true},
        {"one byte more does not", 'x', COPY_OBJECT_BYTES_MAX - 7, false},
        {"half as many bars fit", '|', COPY_OBJECT_BYTES_MAX / 2 - 4, true},
        {"one bar more does not", '|', COPY_OBJECT_BYTES_MAX / 2 - 3, false},
        {"far more is skipped in bounded memory", 'x', 5 * COPY_OBJECT_BYTES_MAX, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct seen seen = {.left = -1};
        feed_large(rows[i].filler, rows[i].count, &seen);
        const char *text = bytes_text(&seen.text);
        bool fits = strncmp(text, "too long@1 ", 11) != 0;
        if (fits != rows[i].fits || strcmp(text + seen.text.len - 10, "{\"b\":1}@2 ") != 0) {
            fail_msg("%s", rows[i].sentence);
        }
        bytes_done(&seen.text);
    }
}

/* ------------------------------------------------------------------ values */

static const char whole[] =
    "{\"a\":[1,-0.5e+3,{\"b\":null}],\"c\":\"x\\u00e9\\n\",\"d\":true,\"e\":false}";

static void a_value_cut_anywhere_is_refused_at_its_end(void **state)
{
    (void)state;
    struct json_value value;
    const char *bad = NULL;
    assert_ptr_equal(json_read_value(whole, whole + sizeof whole - 1, &value, &bad),
                     whole + sizeof whole - 1);
    for (size_t len = 0; len < sizeof whole - 1; len++) {
        /* a copy of just this size, so that reading past the end is seen */
        struct bytes part = {0};
        bytes_reserve(&part, len + 1);
        bytes_put(&part, whole, len);
        assert_null(json_read_value(part.at, part.at + len, &value, &bad));
        assert_ptr_equal(bad, part.at + len);
        bytes_done(&part);
    }
}

static void what_is_no_json_is_refused_where_it_begins(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t bad;
    } rows[] = {
        {"{a:1}", 1},       {"{\"a\" 1}", 5}, {"{\"a\":}", 5},  {"{\"a\":1,}", 7},  {"[1,]", 3},
        {"[1 2]", 3},       {"01", 0},        {"-", 1},         {"1.", 2},          {"1e", 2},
        {"+1", 0},          {"nul", 3},       {"\"\\x\"", 2},   {"\"\\u12g4\"", 5}, {"\"\n\"", 1},
        {"{\"a\":NaN}", 5}, {"'a'", 0},       {"[\"a\":1]", 4}, {"{1:2}", 1},       {".5", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct json_value value;
        const char *bad = NULL;
        const char *at = rows[i].text;
        if (json_read_value(at, at + strlen(at), &value, &bad) != NULL || bad != at + rows[i].bad) {
            fail_msg("%s: refused at %d", at, bad == NULL ? -1 : (int)(bad - at));
        }
    }
}

static void nesting_without_end_is_refused(void **state)
{
    (void)state;
    char deep[5000];
    memset(deep, '[', sizeof deep);
    struct json_value value;
    const char *bad = NULL;
    assert_null(json_read_value(deep, deep + sizeof deep, &value, &bad));
    assert_true(bad < deep + sizeof deep);
}

static void text_survives_encoding_and_decoding(void **state)
{
    (void)state;
    static const char text[] = "a\"\\/\b\f\n\r\t\x01\xC3\xA9\xF0\x9F\x98\x80";
    struct bytes json = {0}, back = {0};
    json_encode((struct piece){text, sizeof text - 1}, &json);
    struct json_value value;
    const char *bad;
    assert_ptr_equal(json_read_value(json.at, json.at + json.len, &value, &bad),
                     json.at + json.len);
    assert_true(value.escaped && value.wide);
    json_decode(value.text, &back);
    assert_int_equal(back.len, sizeof text - 1);
    assert_memory_equal(back.at, text, back.len);
    bytes_done(&json);
    bytes_done(&back);
}

static void a_cut_never_splits_a_character(void **state)
{
    (void)state;
    static const char text[] = "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80";
    static const size_t kept[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 10};
    for (size_t most = 0; most < sizeof kept / sizeof *kept; most++) {
        assert_int_equal(utf8_cut((struct piece){text, sizeof text - 1}, most), kept[most]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_stream_is_cut_alike_wherever_the_pieces_end),
        cmocka_unit_test(a_callback_can_stop_the_cutter),
        cmocka_unit_test(objects_have_four_megabytes_and_a_bar_counts_twice),
        cmocka_unit_test(a_value_cut_anywhere_is_refused_at_its_end),
        cmocka_unit_test(what_is_no_json_is_refused_where_it_begins),
        cmocka_unit_test(nesting_without_end_is_refused),
        cmocka_unit_test(text_survives_encoding_and_decoding),
        cmocka_unit_test(a_cut_never_splits_a_character),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
