/* Values to staged lines: each converter with each of its edges, whole lines, limits, what is
 * learnt on the way, and what is refused. Rows named V1 to V33 are the published cases. */

#include "stage/row.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "unit/stage/values.h"

#define BUF_MAX ((size_t)128 * 1024 * 1024)

/* A format with its outcome: one row is encoded at a time. */
struct world {
    struct arena *arena;
    struct row_format *format;
    struct buf out;
    struct row_facts facts;
    uint64_t widen[2];
};

static void set_up(struct world *world,
                   const struct row_column *columns,
                   unsigned keys,
                   unsigned values,
                   bool has_document,
                   enum row_kind kind)
{
    memset(world, 0, sizeof(*world));
    world->arena = arena_new(65536);
    world->format = row_format_new(world->arena, columns, keys, values, has_document, kind);
    world->facts.widen = world->widen;
    buf_init(&world->out, BUF_MAX);
}

static void tear_down(struct world *world)
{
    buf_done(&world->out);
    arena_free(world->arena);
}

/* One value column "f". */
static void set_up_one(struct world *world, enum rs_converter converter, bool is_text)
{
    const struct row_column column = {
        .field = SPAN_LIT("f"), .converter = converter, .is_text = is_text};

    set_up(world, &column, 0, 1, false, ROW_FULL);
}

static struct error *encode_one(struct world *world, const struct value *value)
{
    return row_encode(world->format, NULL, value, SPAN_NONE, &world->out, &world->facts);
}

static struct value string_of(const char *ptr, size_t len)
{
    return (struct value){.kind = VALUE_STRING, .text = {ptr, len}};
}

/* ---------------------------------------------------------------- converters */

struct converter_case {
    const char *sentence;
    enum rs_converter converter;
    struct value value;
    struct span staged;  /* the member's value; none when it is refused */
    const char *refusal; /* part of the sentence */
    bool is_text;
};

static const struct converter_case converter_cases[] = {
    {"V1 a text that begins with NUL gets a backslash", RS_TEXT, STRING("\0abc"),
     LIT("\"\\\\\\u0000abc\""), NULL, true},
    {"a text that is one NUL gets one too", RS_TEXT, STRING("\0"), LIT("\"\\\\\\u0000\""), NULL,
     true},
    {"V2 a NUL later on stays", RS_TEXT, STRING("a\0b"), LIT("\"a\\u0000b\""), NULL, true},
    {"V3 the empty text is a text", RS_TEXT, STRING(""), LIT("\"\""), NULL, true},
    {"V4 null is null", RS_TEXT, NIL, LIT("null"), NULL, true},
    {"a text column takes a number as it is", RS_TEXT, INT(-3), LIT("-3"), NULL, true},
    {"<, > and & need no escape", RS_TEXT, STRING("<&>/"), LIT("\"<&>/\""), NULL, true},
    {"DEL needs none either", RS_TEXT, STRING("\x7f"), LIT("\"\x7f\""), NULL, true},
    {"characters of two, three and four bytes stay as they are", RS_TEXT,
     STRING("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"),
     LIT("\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\""), NULL, true},
    {"a byte that begins no character", RS_TEXT, STRING("ab\xa4"), {0}, "not valid UTF-8", true},
    {"a character that is cut off",
     RS_TEXT,
     STRING("abcdefgh\xe2\x82"),
     {0},
     "not valid UTF-8",
     true},
    {"an encoded surrogate", RS_TEXT, STRING("\xed\xa0\x80"), {0}, "not valid UTF-8", true},
    {"an overlong slash", RS_TEXT, STRING("\xc0\xaf"), {0}, "not valid UTF-8", true},
    {"a character beyond U+10FFFF",
     RS_TEXT,
     STRING("\xf4\x90\x80\x80"),
     {0},
     "not valid UTF-8",
     true},

    {"V5 JSON is copied byte by byte", RS_JSON, JSON("{\"hello\": \"world\"}"),
     LIT("{\"hello\": \"world\"}"), NULL, false},
    {"V6 true as JSON", RS_JSON, YES, LIT("true"), NULL, false},
    {"V6 a number as JSON", RS_JSON, DOUBLE(12.34), LIT("12.34"), NULL, false},
    {"V6 a string as JSON", RS_JSON, STRING("x"), LIT("\"x\""), NULL, false},
    {"false as JSON", RS_JSON, NO, LIT("false"), NULL, false},
    {"null as JSON", RS_JSON, NIL, LIT("null"), NULL, false},
    {"NUL in a JSON column is left alone", RS_JSON, STRING("\0"), LIT("\"\\u0000\""), NULL, false},
    {"a long number in a JSON column stays a number", RS_JSON,
     NUMBER("123456789012345678901234567890"), LIT("123456789012345678901234567890"), NULL, false},
    {"not a number as JSON", RS_JSON, DOUBLE(NAN), {0}, "not finite", false},
    {"infinity as JSON", RS_JSON, DOUBLE(INFINITY), {0}, "not finite", false},

    {"V7 base64 becomes hex", RS_HEX, STRING("AAH//n8="), LIT("\"0001fffe7f\""), NULL, false},
    {"V8 no binary is null", RS_HEX, NIL, LIT("null"), NULL, false},
    {"V8 empty binary is empty", RS_HEX, STRING(""), LIT("\"\""), NULL, false},
    {"V9 what is not base64", RS_HEX, STRING("!!"), {0}, "not base64", false},
    {"one digit of base64", RS_HEX, STRING("A"), {0}, "not base64", false},
    {"line ends within base64 are ignored", RS_HEX, STRING("AAH/\r\n/n8=\n"), LIT("\"0001fffe7f\""),
     NULL, false},
    {"a number is no binary", RS_HEX, INT(5), {0}, "not a base64 text", false},
    {"true is no binary", RS_HEX, YES, {0}, "not a base64 text", false},
    {"an object is no binary", RS_HEX, JSON("{}"), {0}, "not a base64 text", false},

    {"V10 an integer as text", RS_TO_STRING, INT(5), LIT("\"5\""), NULL, true},
    {"V10 true as text", RS_TO_STRING, YES, LIT("\"true\""), NULL, true},
    {"false as text", RS_TO_STRING, NO, LIT("\"false\""), NULL, true},
    {"V10 1e21 as text has no exponent", RS_TO_STRING, DOUBLE(1e21),
     LIT("\"1000000000000000000000\""), NULL, true},
    {"V10 0.1 as text", RS_TO_STRING, DOUBLE(0.1), LIT("\"0.1\""), NULL, true},
    {"1e-7 as text has no exponent", RS_TO_STRING, DOUBLE(1e-7), LIT("\"0.0000001\""), NULL, true},
    {"the least integer as text", RS_TO_STRING, INT(INT64_MIN), LIT("\"-9223372036854775808\""),
     NULL, true},
    {"the largest unsigned integer as text", RS_TO_STRING, UINT(UINT64_MAX),
     LIT("\"18446744073709551615\""), NULL, true},
    {"a long integer as text keeps its digits", RS_TO_STRING,
     NUMBER("-123456789012345678901234567890"), LIT("\"-123456789012345678901234567890\""), NULL,
     true},
    {"a number with an exponent as text", RS_TO_STRING, NUMBER("1.5e3"), LIT("\"1500\""), NULL,
     true},
    {"a number beyond doubles as text stays as written", RS_TO_STRING, NUMBER("1e400"),
     LIT("\"1e400\""), NULL, true},
    {"not a number as text", RS_TO_STRING, DOUBLE(NAN), {0}, "not finite", true},
    {"V11 an array as text", RS_TO_STRING, JSON("[1,2]"), LIT("\"[1,2]\""), NULL, true},
    {"an object as text is escaped", RS_TO_STRING, JSON("{\"a\":\"\\n\"}"),
     LIT("\"{\\\"a\\\":\\\"\\\\n\\\"}\""), NULL, true},
    {"a string stays one", RS_TO_STRING, STRING("x\"y"), LIT("\"x\\\"y\""), NULL, true},
    {"a NUL in front gets no backslash here", RS_TO_STRING, STRING("\0"), LIT("\"\\u0000\""), NULL,
     true},
    {"null is null as text", RS_TO_STRING, NIL, LIT("null"), NULL, true},

    {"V12 a fraction of zeros is dropped", RS_STR_TO_INT, STRING("11.0"), LIT("11"), NULL, false},
    {"V12 a longer one too", RS_STR_TO_INT, STRING("11.0000000"), LIT("11"), NULL, false},
    {"V12 digits", RS_STR_TO_INT, STRING("1"), LIT("1"), NULL, false},
    {"V12 a minus", RS_STR_TO_INT, STRING("-3"), LIT("-3"), NULL, false},
    {"V12 a minus and a fraction", RS_STR_TO_INT, STRING("-14.0"), LIT("-14"), NULL, false},
    {"V13 thirty-eight digits go in quotes, or the server would round them", RS_STR_TO_INT,
     STRING("99999999999999999999999999999999999999"),
     LIT("\"99999999999999999999999999999999999999\""), NULL, false},
    {"V13 the same with a minus", RS_STR_TO_INT, STRING("-99999999999999999999999999999999999999"),
     LIT("\"-99999999999999999999999999999999999999\""), NULL, false},
    {"nineteen digits fit 64 bits and need no quotes", RS_STR_TO_INT, STRING("9223372036854775807"),
     LIT("9223372036854775807"), NULL, false},
    {"nor do nineteen with a minus", RS_STR_TO_INT, STRING("-9223372036854775808"),
     LIT("-9223372036854775808"), NULL, false},
    {"twenty digits need them", RS_STR_TO_INT, STRING("92233720368547758070"),
     LIT("\"92233720368547758070\""), NULL, false},
    {"thirty-nine digits are too many",
     RS_STR_TO_INT,
     STRING("100000000000000000000000000000000000000"),
     {0},
     "limited to 38 digits, this one has 39",
     false},
    {"zeros in front do not count", RS_STR_TO_INT,
     STRING("000000000000000000000000000000000000000000000007"), LIT("7"), NULL, false},
    {"zeros alone are zero", RS_STR_TO_INT, STRING("000"), LIT("0"), NULL, false},
    {"minus zero is zero", RS_STR_TO_INT, STRING("-0.75"), LIT("0"), NULL, false},
    {"a plus is dropped", RS_STR_TO_INT, STRING("+5"), LIT("5"), NULL, false},
    {"what follows the point is not looked at", RS_STR_TO_INT, STRING("5.x"), LIT("5"), NULL,
     false},
    {"V14 an integer element", RS_STR_TO_INT, INT(7), LIT("7"), NULL, false},
    {"V15 an exponent", RS_STR_TO_INT, STRING("1e5"), {0}, "not an integer", false},
    {"V15 a letter", RS_STR_TO_INT, STRING("x"), {0}, "not an integer", false},
    {"V15 nothing", RS_STR_TO_INT, STRING(""), {0}, "not an integer", false},
    {"no digit in front of the point", RS_STR_TO_INT, STRING(".5"), {0}, "not an integer", false},
    {"a minus alone", RS_STR_TO_INT, STRING("-"), {0}, "not an integer", false},
    {"two signs", RS_STR_TO_INT, STRING("+-5"), {0}, "not an integer", false},
    {"a minus twice", RS_STR_TO_INT, STRING("--5"), {0}, "not an integer", false},
    {"a blank", RS_STR_TO_INT, STRING(" 5"), {0}, "not an integer", false},
    {"a NUL", RS_STR_TO_INT, STRING("5\0"), {0}, "not an integer", false},
    {"null is null as an integer", RS_STR_TO_INT, NIL, LIT("null"), NULL, false},

    {"V16 NaN becomes null", RS_STR_TO_FLOAT, STRING("NaN"), LIT("null"), NULL, false},
    {"V16 Infinity becomes null", RS_STR_TO_FLOAT, STRING("Infinity"), LIT("null"), NULL, false},
    {"V16 -Infinity becomes null", RS_STR_TO_FLOAT, STRING("-Infinity"), LIT("null"), NULL, false},
    {"other spellings of them are refused",
     RS_STR_TO_FLOAT,
     STRING("nan"),
     {0},
     "not a number",
     false},
    {"+Infinity too", RS_STR_TO_FLOAT, STRING("+Infinity"), {0}, "not a number", false},
    {"inf too", RS_STR_TO_FLOAT, STRING("inf"), {0}, "not a number", false},
    {"V17 a zero at the end goes", RS_STR_TO_FLOAT, STRING("1.50"), LIT("1.5"), NULL, false},
    {"an exponent is fine", RS_STR_TO_FLOAT, STRING("-2E+3"), LIT("-2000"), NULL, false},
    {"a sign and no digit in front of the point", RS_STR_TO_FLOAT, STRING("+.5"), LIT("0.5"), NULL,
     false},
    {"what is too small is zero", RS_STR_TO_FLOAT, STRING("1e-400"), LIT("0"), NULL, false},
    {"V18 what is too large", RS_STR_TO_FLOAT, STRING("1e400"), {0}, "not a number", false},
    {"nothing is no number", RS_STR_TO_FLOAT, STRING(""), {0}, "not a number", false},
    {"hex is no number", RS_STR_TO_FLOAT, STRING("0x10"), {0}, "not a number", false},
    {"a blank behind a number", RS_STR_TO_FLOAT, STRING("1 "), {0}, "not a number", false},
    {"a double element", RS_STR_TO_FLOAT, DOUBLE(0.5), LIT("0.5"), NULL, false},

    {"V19 a large number", RS_AS_IS, DOUBLE(1e39), LIT("1e+39"), NULL, false},
    {"V20 a number below 1e21", RS_AS_IS, DOUBLE(1e20), LIT("100000000000000000000"), NULL, false},
    {"V21 the largest unsigned integer", RS_AS_IS, UINT(UINT64_MAX), LIT("18446744073709551615"),
     NULL, false},
    {"the least integer", RS_AS_IS, INT(INT64_MIN), LIT("-9223372036854775808"), NULL, false},
    {"a small number", RS_AS_IS, DOUBLE(1e-7), LIT("1e-7"), NULL, false},
    {"a long integer goes in quotes", RS_AS_IS, NUMBER("123456789012345678901234567890"),
     LIT("\"123456789012345678901234567890\""), NULL, false},
    {"a number with a fraction stays as written", RS_AS_IS, NUMBER("1.25e2"), LIT("1.25e2"), NULL,
     false},
    {"a number that no column can hold",
     RS_AS_IS,
     NUMBER("1e400"),
     {0},
     "no double can hold",
     false},
    {"true", RS_AS_IS, YES, LIT("true"), NULL, false},
    {"false", RS_AS_IS, NO, LIT("false"), NULL, false},
    {"a string as it is", RS_AS_IS, STRING("12:30:00"), LIT("\"12:30:00\""), NULL, true},
    {"infinity", RS_AS_IS, DOUBLE(-INFINITY), {0}, "not finite", false},

    {"V22 seven digits are cut to six", RS_TIMESTAMP, STRING("2024-03-04T05:06:07.1234567Z"),
     LIT("\"2024-03-04T05:06:07.123456Z\""), NULL, false},
    {"V23 they are not rounded", RS_TIMESTAMP, STRING("2024-03-04T05:06:07.9999999Z"),
     LIT("\"2024-03-04T05:06:07.999999Z\""), NULL, false},
    {"V24 zeros at the end go", RS_TIMESTAMP, STRING("2024-03-04T05:06:07.500000Z"),
     LIT("\"2024-03-04T05:06:07.5Z\""), NULL, false},
    {"V25 a small z becomes a large one", RS_TIMESTAMP, STRING("2024-03-04T05:06:07z"),
     LIT("\"2024-03-04T05:06:07Z\""), NULL, false},
    {"V26 an offset is kept", RS_TIMESTAMP, STRING("2024-03-04T05:06:07+05:30"),
     LIT("\"2024-03-04T05:06:07+05:30\""), NULL, false},
    {"V27 an offset of zero is Z", RS_TIMESTAMP, STRING("2024-03-04T05:06:07+00:00"),
     LIT("\"2024-03-04T05:06:07Z\""), NULL, false},
    {"minus zero too", RS_TIMESTAMP, STRING("2024-03-04T05:06:07.10-00:00"),
     LIT("\"2024-03-04T05:06:07.1Z\""), NULL, false},
    {"V28 a blank in place of T",
     RS_TIMESTAMP,
     STRING("2024-03-04 05:06:07Z"),
     {0},
     "RFC 3339",
     false},
    {"V29 no offset", RS_TIMESTAMP, STRING("2024-03-04T05:06:07"), {0}, "RFC 3339", false},
    {"a fraction of zeros goes whole", RS_TIMESTAMP, STRING("2024-03-04T05:06:07.0000000Z"),
     LIT("\"2024-03-04T05:06:07Z\""), NULL, false},
    {"digits that the cut leaves zero go whole", RS_TIMESTAMP,
     STRING("2024-03-04T05:06:07.0000009Z"), LIT("\"2024-03-04T05:06:07Z\""), NULL, false},
    {"a hundred digits of fraction", RS_TIMESTAMP,
     STRING("2024-03-04T05:06:07."
            "12345678901234567890123456789012345678901234567890"
            "12345678901234567890123456789012345678901234567890-08:00"),
     LIT("\"2024-03-04T05:06:07.123456-08:00\""), NULL, false},
    {"a point without digits",
     RS_TIMESTAMP,
     STRING("2024-03-04T05:06:07.Z"),
     {0},
     "RFC 3339",
     false},
    {"the year zero", RS_TIMESTAMP, STRING("0000-02-29T00:00:00Z"), LIT("\"0000-02-29T00:00:00Z\""),
     NULL, false},
    {"the last second of 9999", RS_TIMESTAMP, STRING("9999-12-31T23:59:59.999999Z"),
     LIT("\"9999-12-31T23:59:59.999999Z\""), NULL, false},
    {"a leap day", RS_TIMESTAMP, STRING("2000-02-29T00:00:00Z"), LIT("\"2000-02-29T00:00:00Z\""),
     NULL, false},
    {"no leap day in 1900", RS_TIMESTAMP, STRING("1900-02-29T00:00:00Z"), {0}, "RFC 3339", false},
    {"no day 31 in April", RS_TIMESTAMP, STRING("2024-04-31T00:00:00Z"), {0}, "RFC 3339", false},
    {"no month 13", RS_TIMESTAMP, STRING("2024-13-01T00:00:00Z"), {0}, "RFC 3339", false},
    {"no month 0", RS_TIMESTAMP, STRING("2024-00-01T00:00:00Z"), {0}, "RFC 3339", false},
    {"no day 0", RS_TIMESTAMP, STRING("2024-01-00T00:00:00Z"), {0}, "RFC 3339", false},
    {"no hour 24", RS_TIMESTAMP, STRING("2024-01-01T24:00:00Z"), {0}, "RFC 3339", false},
    {"no minute 60", RS_TIMESTAMP, STRING("2024-01-01T00:60:00Z"), {0}, "RFC 3339", false},
    {"no second 60", RS_TIMESTAMP, STRING("2024-01-01T00:00:60Z"), {0}, "RFC 3339", false},
    {"no offset of 24 hours",
     RS_TIMESTAMP,
     STRING("2024-01-01T00:00:00+24:00"),
     {0},
     "RFC 3339",
     false},
    {"an offset without a colon",
     RS_TIMESTAMP,
     STRING("2024-01-01T00:00:00+0100"),
     {0},
     "RFC 3339",
     false},
    {"a word behind Z", RS_TIMESTAMP, STRING("2024-01-01T00:00:00Z "), {0}, "RFC 3339", false},
    {"a day only", RS_TIMESTAMP, STRING("2024-01-01"), {0}, "RFC 3339", false},
    {"nothing is no date-time", RS_TIMESTAMP, STRING(""), {0}, "RFC 3339", false},
    {"a number stays as it is", RS_TIMESTAMP, INT(1700000000), LIT("1700000000"), NULL, false},

    {"V30 a day", RS_DATE, STRING("2024-03-04"), LIT("\"2024-03-04\""), NULL, false},
    {"V31 no date at all is the server's affair", RS_DATE, STRING("not a date"),
     LIT("\"not a date\""), NULL, false},
    {"V32 a blank in place of T", RS_DATE, STRING("2025-11-29 01:05:28+00:00"),
     LIT("\"2025-11-29T01:05:28Z\""), NULL, false},
    {"a date-time keeps nine digits", RS_DATE, STRING("2025-11-29T01:05:28.1234567890z"),
     LIT("\"2025-11-29T01:05:28.123456789Z\""), NULL, false},
    {"the first z of what is no date-time becomes Z", RS_DATE, STRING("25-11-29z zz"),
     LIT("\"25-11-29Z zz\""), NULL, false},
    {"however far back it is", RS_DATE,
     STRING("..........................................................................z"),
     LIT("\"..........................................................................Z\""), NULL,
     false},
    {"a date-time without offset is no date-time here", RS_DATE, STRING("2025-11-29 01:05:28"),
     LIT("\"2025-11-29 01:05:28\""), NULL, false},
    {"an empty date", RS_DATE, STRING(""), LIT("\"\""), NULL, false},
    {"a number for a date stays one", RS_DATE, INT(20240304), LIT("20240304"), NULL, false},
};

/* "" when the outcome is right, else what was wrong. */
static void check_case(const struct converter_case *row)
{
    struct world world;
    char want[512];
    struct error *err;

    set_up_one(&world, row->converter, row->is_text);
    buf_add_str(&world.out, "before\n");
    err = encode_one(&world, &row->value);
    if (row->staged.ptr) {
        size_t len =
            (size_t)snprintf(want, sizeof(want), "before\n{\"f\":%.*s}\n", SPAN_FMT(row->staged));
        if (err || world.out.len != len || memcmp(world.out.data, want, len) != 0) {
            fail_msg("%s: got %s", row->sentence,
                     err ? error_text(err) : world.out.data + strlen("before\n"));
        }
    } else if (!err) {
        fail_msg("%s: not refused but %s", row->sentence, world.out.data);
    } else if (!strstr(error_text(err), row->refusal) ||
               strncmp(error_text(err), "field \"f\": ", 11) != 0 ||
               error_code_of(err) != ERROR_INPUT || strcmp(world.out.data, "before\n") != 0) {
        fail_msg("%s: refused by \"%s\", block is %s", row->sentence, error_text(err),
                 world.out.data);
    }
    assert_int_equal(world.facts.rows, row->staged.ptr ? 1 : 0);
    error_free(err);
    tear_down(&world);
}

static void each_converter_has_its_edges(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(converter_cases) / sizeof(*converter_cases); i++) {
        check_case(&converter_cases[i]);
    }
}

static void a_refusal_never_shows_the_value(void **state)
{
    static const struct {
        enum rs_converter converter;
        struct value value;
    } rows[] = {
        {RS_HEX, STRING("!hush!")},        {RS_STR_TO_INT, STRING("hush")},
        {RS_STR_TO_FLOAT, STRING("hush")}, {RS_TIMESTAMP, STRING("hush")},
        {RS_TEXT, STRING("hush\xff")},     {RS_AS_IS, NUMBER("1e9999")},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct world world;
        set_up_one(&world, rows[i].converter, false);
        struct error *err = encode_one(&world, &rows[i].value);
        assert_non_null(err);
        assert_null(strstr(error_text(err), "hush"));
        assert_null(strstr(error_text(err), "9999"));
        error_free(err);
        tear_down(&world);
    }
}

/* ---------------------------------------------------------------- text */

/* What JSON asks for, written down a second time and byte by byte. */
static size_t escape_plainly(char *to, const char *text, size_t len)
{
    size_t at = 0;

    for (size_t i = 0; i < len; i++) {
        const unsigned char c = (unsigned char)text[i];
        const char *brief = c ? strchr("\"\"\\\\\bb\ff\nn\rr\tt", c) : NULL;
        if (c == '"' || c == '\\') {
            at += (size_t)sprintf(to + at, "\\%c", c);
        } else if (c < 0x20 && brief) {
            at += (size_t)sprintf(to + at, "\\%c", brief[1]);
        } else if (c < 0x20) {
            at += (size_t)sprintf(to + at, "\\u%04x", c);
        } else {
            to[at++] = text[i];
        }
    }
    return at;
}

static void expect_text(struct world *world, const char *text, size_t len, const char *sentence)
{
    char want[1024];
    const struct value value = string_of(text, len);
    size_t at = (size_t)sprintf(want, "{\"f\":\"");

    at += escape_plainly(want + at, text, len);
    memcpy(want + at, "\"}\n", 3);
    at += 3;
    buf_clear(&world->out);
    struct error *err = encode_one(world, &value);
    if (err) {
        fail_msg("%s: %s", sentence, error_text(err));
    }
    if (world->out.len != at || memcmp(world->out.data, want, at) != 0) {
        fail_msg("%s: got %s", sentence, world->out.data);
    }
}

/* Text is copied eight bytes at a time: every character at every place of a word, in texts of every
 * length around it, with memory of exactly that length (the sanitizers see a read beyond). */
static void escapes_are_right_at_every_offset(void **state)
{
    struct world world;
    char sentence[64];

    (void)state;
    set_up_one(&world, RS_AS_IS, false);
    for (unsigned c = 0; c < 0x80; c++) {
        for (size_t at = 0; at < 17; at++) {
            for (size_t behind = 0; behind < 9; behind++) {
                const size_t len = at + 1 + behind;
                char *text = test_malloc(len);
                memset(text, 'a', len);
                text[at] = (char)c;
                snprintf(sentence, sizeof(sentence), "byte %02x at %zu of %zu", c, at, len);
                expect_text(&world, text, len, sentence);
                test_free(text);
            }
        }
    }
    tear_down(&world);
}

static void texts_of_nothing_but_escapes_are_right(void **state)
{
    struct world world;
    char text[96];

    (void)state;
    set_up_one(&world, RS_AS_IS, false);
    for (size_t len = 0; len <= sizeof(text); len++) {
        for (size_t i = 0; i < len; i++) {
            text[i] = "\"\\\x01\x1f\n\t"[i % 6];
        }
        expect_text(&world, text, len, "a text of escapes");
    }
    tear_down(&world);
}

static void invalid_utf8_is_found_at_every_offset(void **state)
{
    static const char *const bad[] = {"\x80",     "\xff",         "\xc3",
                                      "\xe2\x82", "\xf0\x9f\x98", "\xed\xbf\xbf"};
    static const char *const good[] = {"\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80",
                                       "\xef\xbf\xbf"};
    struct world world;
    char text[64];

    (void)state;
    set_up_one(&world, RS_TEXT, true);
    for (size_t at = 0; at < 33; at++) {
        for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
            memset(text, 'a', sizeof(text));
            memcpy(text + at, bad[i], strlen(bad[i]));
            const struct value value = string_of(text, 40);
            struct error *err = encode_one(&world, &value);
            assert_non_null(err);
            error_free(err);
            assert_int_equal(world.out.len, 0);
        }
        for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
            memset(text, 'a', sizeof(text));
            memcpy(text + at, good[i], strlen(good[i]));
            expect_text(&world, text, 40, "a character beyond ASCII");
            buf_clear(&world.out);
        }
    }
    tear_down(&world);
}

/* ---------------------------------------------------------------- lines */

static void a_line_has_all_members_in_the_order_of_their_names(void **state)
{
    static const struct row_column columns[] = {
        {.field = LIT("b"), .converter = RS_AS_IS},
        {.field = LIT("A"), .converter = RS_TEXT, .is_text = true},
        {.field = LIT("a"), .converter = RS_TEXT, .is_text = true},
        {.field = LIT("_meta/uuid"), .converter = RS_TEXT, .is_text = true},
        {.field = LIT("a\"\\\n"), .converter = RS_AS_IS},
        {.field = LIT("\xc3\xa4"), .converter = RS_AS_IS},
        {.field = LIT("flow_document"), .converter = RS_JSON},
    };
    static const struct value keys[] = {INT(1), STRING("k")};
    static const struct value values[] = {STRING("x"), NIL, YES, DOUBLE(2.5)};
    struct world world;

    (void)state;
    set_up(&world, columns, 2, 4, true, ROW_FULL);
    assert_null(row_encode(world.format, keys, values, SPAN_LIT("{\"d\":[1, 2]}"), &world.out,
                           &world.facts));
    assert_string_equal(world.out.data, "{\"A\":\"k\",\"_meta/uuid\":null,\"a\":\"x\","
                                        "\"a\\\"\\\\\\n\":true,\"b\":1,"
                                        "\"flow_document\":{\"d\":[1, 2]},\"\xc3\xa4\":2.5}\n");
    tear_down(&world);

    set_up(&world, columns, 2, 4, true, ROW_KEYS);
    assert_null(row_encode(world.format, keys, NULL, SPAN_NONE, &world.out, &world.facts));
    assert_null(row_encode(world.format, keys, NULL, SPAN_NONE, &world.out, &world.facts));
    assert_string_equal(world.out.data, "{\"A\":\"k\",\"b\":1}\n{\"A\":\"k\",\"b\":1}\n");
    assert_int_equal(world.facts.rows, 2);
    tear_down(&world);
}

static void the_published_row_is_as_published(void **state)
{
    static const struct row_column columns[] = {{.field = LIT("b"), .converter = RS_AS_IS},
                                                {.field = LIT("A"), .converter = RS_AS_IS},
                                                {.field = LIT("a"), .converter = RS_AS_IS}};
    static const struct value values[] = {INT(1), NIL, STRING("x")};
    struct world world;

    (void)state;
    set_up(&world, columns, 0, 3, false, ROW_FULL);
    assert_null(row_encode(world.format, NULL, values, SPAN_NONE, &world.out, &world.facts));
    assert_string_equal(world.out.data, "{\"A\":null,\"a\":\"x\",\"b\":1}\n"); /* V33 */
    tear_down(&world);
}

static void a_row_without_columns_is_an_empty_object(void **state)
{
    struct world world;

    (void)state;
    set_up(&world, NULL, 0, 0, false, ROW_FULL);
    assert_null(row_encode(world.format, NULL, NULL, SPAN_NONE, &world.out, &world.facts));
    assert_string_equal(world.out.data, "{}\n");
    tear_down(&world);
}

static void a_key_is_the_same_bytes_in_both_kinds_of_rows(void **state)
{
    static const struct value keys[] = {STRING("\0k\"\xc3\xa4"), DOUBLE(1.5),
                                        STRING("2024-03-04T05:06:07.120z"),
                                        NUMBER("12345678901234567890123")};
    static const enum rs_converter converters[] = {RS_TEXT, RS_TO_STRING, RS_TIMESTAMP,
                                                   RS_STR_TO_INT};

    (void)state;
    for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
        const struct row_column column = {
            .field = SPAN_LIT("k"), .converter = converters[i], .is_text = i < 2};
        struct world lookup, store;
        set_up(&lookup, &column, 1, 0, false, ROW_KEYS);
        set_up(&store, &column, 1, 0, false, ROW_FULL);
        assert_null(
            row_encode(lookup.format, &keys[i], NULL, SPAN_NONE, &lookup.out, &lookup.facts));
        assert_null(row_encode(store.format, &keys[i], NULL, SPAN_NONE, &store.out, &store.facts));
        assert_string_equal(lookup.out.data, store.out.data);
        tear_down(&lookup);
        tear_down(&store);
    }
}

/* ---------------------------------------------------------------- keys */

static void odd_keys_are_refused_by_name(void **state)
{
    static const struct {
        const char *sentence;
        enum rs_converter converter;
        struct value value;
        const char *refusal;
    } rows[] = {
        {"null", RS_AS_IS, NIL, "field \"id\": a key is null"},
        {"null as text", RS_TO_STRING, NIL, "field \"id\": a key is null"},
        {"an object", RS_JSON, JSON("{}"), "field \"id\": a key is an object or array"},
        {"an array as text", RS_TO_STRING, JSON("[]"), "field \"id\": a key is an object or array"},
        {"no integer", RS_STR_TO_INT, STRING("x"), "field \"id\": the text is not an integer"},
        {"a number that becomes null", RS_STR_TO_FLOAT, STRING("NaN"),
         "field \"id\": a key is null"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        const struct row_column column = {.field = SPAN_LIT("id"), .converter = rows[i].converter};
        struct world world;
        set_up(&world, &column, 1, 0, false, ROW_KEYS);
        struct error *err =
            row_encode(world.format, &rows[i].value, NULL, SPAN_NONE, &world.out, &world.facts);
        if (!err || strcmp(error_text(err), rows[i].refusal) != 0) {
            fail_msg("%s: %s", rows[i].sentence, err ? error_text(err) : "not refused");
        }
        assert_int_equal(error_code_of(err), ERROR_INPUT);
        assert_int_equal(error_class_of(err), ERROR_CONFIG);
        error_free(err);
        tear_down(&world);
    }
}

static char *text_of(size_t len, const char *unit)
{
    char *text = test_malloc(len + 1);

    for (size_t i = 0; i < len; i++) {
        text[i] = unit[i % strlen(unit)];
    }
    text[len] = '\0';
    return text;
}

static void keys_reach_the_limit_of_a_column_and_no_further(void **state)
{
    static const struct {
        const char *sentence;
        size_t len;
        char first;
        bool is_text, is_fine;
    } rows[] = {
        {"the longest key", 65535, 'a', true, true},
        {"one byte more", 65536, 'a', true, false},
        {"one byte more by the backslash for NUL", 65535, '\0', true, false},
        {"the longest key with the backslash", 65534, '\0', true, true},
        {"one byte more in a column of the user's own type", 65536, 'a', false, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        const struct row_column column = {
            .field = SPAN_LIT("id"), .converter = RS_TEXT, .is_text = rows[i].is_text};
        struct world world;
        char *text = text_of(rows[i].len, "a");
        text[0] = rows[i].first;
        const struct value key = string_of(text, rows[i].len);
        set_up(&world, &column, 1, 0, false, ROW_KEYS);
        struct error *err =
            row_encode(world.format, &key, NULL, SPAN_NONE, &world.out, &world.facts);
        if (!err != rows[i].is_fine) {
            fail_msg("%s: %s", rows[i].sentence, err ? error_text(err) : "not refused");
        }
        if (err) {
            assert_string_equal(error_text(err), "field \"id\": a key is limited to 65535 bytes, "
                                                 "this one has 65536");
            assert_int_equal(world.out.len, 0);
        } else {
            assert_int_equal(world.facts.longest_key_text, 65535);
        }
        error_free(err);
        test_free(text);
        tear_down(&world);
    }
}

static void the_longest_key_text_is_remembered(void **state)
{
    static const struct row_column columns[] = {
        {.field = LIT("a"), .converter = RS_TEXT, .is_text = true},
        {.field = LIT("b"), .converter = RS_AS_IS},
        {.field = LIT("v"), .converter = RS_TEXT, .is_text = true}};
    static const struct value keys[][2] = {
        {STRING("abc"), INT(1)}, {STRING("abcdefgh"), INT(2)}, {STRING("ab"), INT(1234567890123)}};
    static const struct value values[] = {STRING("a value may be longer")};
    struct world world;

    (void)state;
    set_up(&world, columns, 2, 1, false, ROW_FULL);
    for (size_t i = 0; i < 3; i++) {
        assert_null(row_encode(world.format, keys[i], values, SPAN_NONE, &world.out, &world.facts));
    }
    assert_int_equal(world.facts.longest_key_text, 8);
    assert_int_equal(world.facts.rows, 3);
    tear_down(&world);
}

/* ---------------------------------------------------------------- widths and cuts */

static void long_values_are_cut_between_characters(void **state)
{
    static const struct {
        const char *sentence, *unit;
        size_t len, staged;
    } rows[] = {
        {"one below the limit", "a", 65534, 65534},
        {"at the limit", "a", 65535, 65535},
        {"one above it", "a", 65536, 65535},
        {"two above it", "a", 65537, 65535},
        {"two-byte characters", "\xc3\xa4", 65536, 65534},
        {"two-byte characters just below", "\xc3\xa4", 65534, 65534},
        {"three-byte characters at the limit", "\xe2\x82\xac", 65535, 65535},
        {"three-byte characters above it", "\xe2\x82\xac", 65538, 65535},
        {"four-byte characters", "\xf0\x9f\x98\x80", 65536, 65532},
        {"far above", "\xf0\x9f\x98\x80", 1 << 20, 65532},
        {"escapes count once", "\n", 65535, 65535},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct world world;
        char *text = text_of(rows[i].len, rows[i].unit);
        const struct value value = string_of(text, rows[i].len);
        const size_t per_byte = rows[i].unit[0] == '\n' ? 2 : 1;
        set_up_one(&world, RS_TEXT, true);
        struct error *err = encode_one(&world, &value);
        if (err) {
            fail_msg("%s: %s", rows[i].sentence, error_text(err));
        }
        if (world.out.len != strlen("{\"f\":\"\"}\n") + rows[i].staged * per_byte) {
            fail_msg("%s: the line has %zu bytes", rows[i].sentence, world.out.len);
        }
        assert_int_equal(world.facts.truncated_values, rows[i].staged < rows[i].len);
        test_free(text);
        tear_down(&world);
    }
}

static void the_backslash_for_nul_counts_within_the_limit(void **state)
{
    struct world world;
    char *text = text_of(65535, "a");

    (void)state;
    text[0] = '\0';
    const struct value value = string_of(text, 65535);
    set_up_one(&world, RS_TEXT, true);
    assert_null(encode_one(&world, &value));
    /* backslash and NUL, twelve times the letters they are written with, less the last 'a' */
    assert_int_equal(world.out.len, strlen("{\"f\":\"\\\\\\u0000\"}\n") + 65533);
    assert_int_equal(world.facts.truncated_values, 1);
    test_free(text);
    tear_down(&world);
}

static void a_json_column_is_not_cut(void **state)
{
    struct world world;
    char *text = text_of(70000, "a");
    const struct value value = string_of(text, 70000);

    (void)state;
    set_up_one(&world, RS_JSON, false);
    assert_null(encode_one(&world, &value));
    assert_int_equal(world.out.len, strlen("{\"f\":\"\"}\n") + 70000);
    assert_int_equal(world.facts.truncated_values, 0);
    assert_int_equal(world.widen[0], 0);
    test_free(text);
    tear_down(&world);
}

static void columns_that_are_too_narrow_are_marked(void **state)
{
    static const struct {
        const char *sentence;
        uint32_t width;
        size_t len;
        bool is_text, is_marked;
    } rows[] = {
        {"a text of 256 bytes in a new column", 0, 256, true, false},
        {"a text of 257 bytes in a new column", 0, 257, true, true},
        {"a text at the width of its column", 1000, 1000, true, false},
        {"a text above it", 1000, 1001, true, true},
        {"a column at its limit cannot be wider", 65535, 70000, true, false},
        {"a column that is no text", 0, 1000, false, false},
    };
    enum { COLUMN = 70 }; /* in the second word of the bitmap */

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct row_column columns[COLUMN + 1];
        struct value values[COLUMN + 1];
        char names[COLUMN + 1][8];
        struct world world;
        char *text = text_of(rows[i].len, "a");
        for (unsigned j = 0; j <= COLUMN; j++) {
            /* names go down, so that bits are not those of the sorted members */
            snprintf(names[j], sizeof(names[j]), "c%03u", COLUMN - j);
            columns[j] = (struct row_column){.field = span_of(names[j]), .converter = RS_TEXT};
            values[j] = (struct value)NIL;
        }
        columns[COLUMN].is_text = rows[i].is_text;
        columns[COLUMN].text_width = rows[i].width;
        values[COLUMN] = string_of(text, rows[i].len);
        set_up(&world, columns, 0, COLUMN + 1, false, ROW_FULL);
        assert_null(row_encode(world.format, NULL, values, SPAN_NONE, &world.out, &world.facts));
        assert_int_equal(world.widen[0], 0);
        if (world.widen[1] != (rows[i].is_marked ? (uint64_t)1 << (COLUMN - 64) : 0)) {
            fail_msg("%s: bits are %llx", rows[i].sentence, (unsigned long long)world.widen[1]);
        }
        world.facts.widen = NULL; /* nobody asks */
        assert_null(row_encode(world.format, NULL, values, SPAN_NONE, &world.out, &world.facts));
        test_free(text);
        tear_down(&world);
    }
}

static void binary_values_reach_the_limit_of_a_column_and_no_further(void **state)
{
    static const struct {
        size_t groups; /* of four digits, three bytes each */
        const char *end;
        size_t bytes; /* 0: refused */
    } rows[] = {{341333, "AA==", 1024000}, {341333, "AAA=", 0}, {16384, "", 49152}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct world world;
        char *text = text_of(rows[i].groups * 4 + 4, "/w0A");
        const size_t len = rows[i].groups * 4 + strlen(rows[i].end);
        memcpy(text + rows[i].groups * 4, rows[i].end, strlen(rows[i].end));
        const struct value value = string_of(text, len);
        set_up_one(&world, RS_HEX, false);
        struct error *err = encode_one(&world, &value);
        if (rows[i].bytes) {
            assert_null(err);
            assert_int_equal(world.out.len, strlen("{\"f\":\"\"}\n") + 2 * rows[i].bytes);
            for (size_t at = 0; at < rows[i].groups; at++) {
                assert_memory_equal(world.out.data + 6 + 6 * at, "ff0d00", 6);
            }
        } else {
            assert_string_equal(error_text(err), "field \"f\": a binary value is limited to "
                                                 "1024000 bytes, this one has 1024001");
        }
        error_free(err);
        test_free(text);
        tear_down(&world);
    }
}

/* ---------------------------------------------------------------- documents and whole rows */

static struct error *
encode_document(struct world *world, enum rs_converter converter, struct span doc)
{
    const struct row_column column = {
        .field = SPAN_LIT("d"), .converter = converter, .is_text = converter == RS_TO_STRING};

    set_up(world, &column, 0, 0, true, ROW_FULL);
    return row_encode(world->format, NULL, NULL, doc, &world->out, &world->facts);
}

static void documents_go_as_they_came(void **state)
{
    static const struct {
        const char *sentence;
        enum rs_converter converter;
        struct span doc;
        const char *line; /* NULL: refused */
    } rows[] = {
        {"a document", RS_JSON, LIT("{\"a\": 1}"), "{\"d\":{\"a\": 1}}\n"},
        {"a document on two lines comes on one", RS_JSON, LIT("{\n \"a\": [\n1]}\n"),
         "{\"d\":{\"a\":[1]}}\n"},
        {"a document as text", RS_TO_STRING, LIT("{\"a\":\"\\u0000\"}"),
         "{\"d\":\"{\\\"a\\\":\\\"\\\\u0000\\\"}\"}\n"},
        {"no document", RS_JSON, LIT(""), NULL},
        {"half a document on two lines", RS_JSON, LIT("{\n"), NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct world world;
        struct error *err = encode_document(&world, rows[i].converter, rows[i].doc);
        if (!err != (rows[i].line != NULL)) {
            fail_msg("%s: %s", rows[i].sentence, err ? error_text(err) : "not refused");
        }
        if (rows[i].line && strcmp(world.out.data, rows[i].line) != 0) {
            fail_msg("%s: %s", rows[i].sentence, world.out.data);
        }
        error_free(err);
        tear_down(&world);
    }
}

static void rows_reach_the_limit_of_copy_and_no_further(void **state)
{
    static const struct {
        const char *sentence;
        size_t line_bytes, bars;
        bool is_fine;
    } rows[] = {
        {"a row at the limit", ROW_MAX_OBJECT, 0, true},
        {"one byte more", ROW_MAX_OBJECT + 1, 0, false},
        {"bars count twice", ROW_MAX_OBJECT - 9, 10, false},
        {"bars that just fit", ROW_MAX_OBJECT - 10, 10, true},
        {"half of it in bars", ROW_MAX_OBJECT / 2 + 4, ROW_MAX_OBJECT / 2 - 4, true},
        {"more than half", ROW_MAX_OBJECT / 2 + 5, ROW_MAX_OBJECT / 2 - 4, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        const size_t len = rows[i].line_bytes - strlen("{\"d\":}\n");
        struct world world;
        char *doc = text_of(len, "a");
        doc[0] = doc[len - 1] = '"';
        memset(doc + 1, '|', rows[i].bars);
        struct error *err = encode_document(&world, RS_JSON, (struct span){doc, len});
        if (!err != rows[i].is_fine) {
            fail_msg("%s: %s", rows[i].sentence, err ? error_text(err) : "not refused");
        }
        if (err) {
            assert_non_null(strstr(error_text(err), "a row is limited to 4194304 bytes"));
            assert_int_equal(world.out.len, 0);
        } else {
            assert_int_equal(world.out.len, rows[i].line_bytes);
        }
        error_free(err);
        test_free(doc);
        tear_down(&world);
    }
}

static void what_can_never_fit_is_refused_before_it_is_written(void **state)
{
    static const struct {
        const char *sentence;
        enum rs_converter converter;
        enum value_kind kind;
    } rows[] = {
        {"a text", RS_JSON, VALUE_STRING},
        {"a binary value", RS_HEX, VALUE_STRING},
        {"an object", RS_JSON, VALUE_JSON},
        {"a number", RS_AS_IS, VALUE_NUMBER},
    };
    const size_t len = 9 * ROW_MAX_OBJECT;
    char *text = text_of(len, "1");

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct world world;
        const struct value value = {.kind = rows[i].kind, .text = {text, len}};
        set_up_one(&world, rows[i].converter, false);
        struct error *err = encode_one(&world, &value);
        if (!err) {
            fail_msg("%s: not refused", rows[i].sentence);
        }
        if (world.out.cap > ROW_MAX_OBJECT) {
            fail_msg("%s: the block has grown to %zu", rows[i].sentence, world.out.cap);
        }
        error_free(err);
        tear_down(&world);
    }
    test_free(text);
}

/* A block with little room: a row that does not fit leaves no trace, and the next one is taken. */
static void a_refused_row_leaves_its_block_as_it_was(void **state)
{
    static const struct row_column columns[] = {{.field = LIT("a"), .converter = RS_TEXT},
                                                {.field = LIT("b"), .converter = RS_AS_IS},
                                                {.field = LIT("d"), .converter = RS_JSON}};
    static const struct value small[] = {STRING("x"), INT(1)};
    struct value large[] = {STRING("x"), INT(1)};
    const struct span doc = SPAN_LIT("{}");
    const char *const line = "{\"a\":\"x\",\"b\":1,\"d\":{}}\n";
    char *text = text_of(5000, "a");
    char *lines = text_of(5000, "\n");
    struct world world;

    (void)state;
    memcpy(lines, "[\n\"", 3);
    memset(lines + 3, 'a', 4990);
    memcpy(lines + 4993, "\"\n]    ", 7);
    set_up(&world, columns, 0, 2, true, ROW_FULL);
    buf_done(&world.out);
    buf_init(&world.out, 4000);
    assert_null(row_encode(world.format, NULL, small, doc, &world.out, &world.facts));
    assert_string_equal(world.out.data, line);
    large[0] = string_of(text, 5000);
    for (unsigned way = 0; way < 4; way++) {
        static const struct value bad = STRING("\xff");
        const struct value *values = way == 0 ? large : small;
        struct value odd[] = {bad, INT(1)};
        struct span given = way == 1   ? (struct span){text, 5000}
                            : way == 2 ? (struct span){lines, 5000}
                                       : doc;
        struct error *err = row_encode(world.format, NULL, way == 3 ? odd : values, given,
                                       &world.out, &world.facts);
        assert_non_null(err);
        error_free(err);
        assert_string_equal(world.out.data, line);
        assert_int_equal(world.out.len, strlen(line));
        assert_false(buf_is_full(&world.out));
    }
    assert_null(row_encode(world.format, NULL, small, doc, &world.out, &world.facts));
    assert_int_equal(world.out.len, 2 * strlen(line));
    assert_int_equal(world.facts.rows, 2);
    test_free(text);
    test_free(lines);
    tear_down(&world);
}

/* An array of as many numbers as have len bytes. */
static void add_numbers(struct buf *out, size_t len, const char *number)
{
    const size_t end = out->len + len - 1;

    buf_add_byte(out, '[');
    while (out->len < end) {
        buf_printf(out, "%s,", number);
    }
    out->len--; /* the last comma */
    buf_add_byte(out, ']');
}

static void large_documents_tell_what_stands_twice(void **state)
{
    static const struct row_column columns[] = {
        {.field = LIT("a"), .converter = RS_JSON, .domain = {.holds = RS_HOLDS_SUPER}},
        {.field = LIT("z"), .converter = RS_JSON, .domain = {.holds = RS_HOLDS_SUPER}},
        {.field = LIT("doc"), .converter = RS_JSON, .domain = {.holds = RS_HOLDS_SUPER}},
    };
    static const struct {
        const char *sentence;
        size_t a_bytes, z_bytes;
        const char *format; /* of the document: a and z */
        unsigned count;     /* of repeats */
        bool is_refused;
        bool z_is_other, z_is_a; /* the column: other bytes than in the document, or a again */
    } rows[] = {
        {"two columns", 100000, 70000, "{\"a\":%s,\"z\":%s}", 2, false, false, false},
        {"one of them is small", 150000, 60000, "{\"a\":%s,\"z\":%s}", 1, false, false, false},
        {"one is another than in the document", 100000, 70000, "{\"a\":%s,\"z\":%s}", 1, false,
         true, false},
        {"both are the same part", 150000, 70000, "{\"a\":%s,\"z\":%s}", 1, false, false, true},
        {"deep within", 100000, 70000, "{\"o\":{\"p\":[{\"a\":%s}]},\"z\":%s}", 2, false, false,
         false},
        {"in a string with the same text", 60000, 90000, "{\"s\":\"%s\",\"z\":%s}", 1, false, false,
         false},
        {"beside a string that COPY cuts", 140000, 70000, "{\"s\":\"%s\",\"z\":%s}", 0, false,
         false, false},
        {"an escape is not looked behind", 100000, 70000, "{\"a\":%s,\"e\":\"\\u0041\",\"z\":%s}",
         0, false, false, false},
        {"white space goes", 100000, 70000, "{\"a\":%s,\n\"z\":%s}", 0, false, false, false},
        {"white space at the end", 100000, 70000, "{\"a\":%s,\"z\":%s}\n", 0, false, false, false},
        {"small altogether", 65536, 60000, "{\"a\":%s,\"z\":%s}", 0, false, false, false},
        {"a name stands twice", 100000, 70000, "{\"a\":%s,\"a\":%s}", 0, true, false, false},
        {"cut off", 100000, 70000, "{\"a\":%s,\"z\":%s", 0, true, false, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct world world;
        struct buf a, z, other, doc;
        buf_init(&a, BUF_MAX);
        buf_init(&z, BUF_MAX);
        buf_init(&other, BUF_MAX);
        buf_init(&doc, BUF_MAX);
        set_up(&world, columns, 0, 2, true, ROW_FULL);
        add_numbers(&a, rows[i].a_bytes, "123456789");
        add_numbers(&z, rows[i].z_bytes, "987654321");
        add_numbers(&other, rows[i].z_bytes, "987654320");
        size_t format_len = strlen(rows[i].format);
        const char *first = strstr(rows[i].format, "%s"), *second = strstr(first + 1, "%s");
        buf_add(&doc, rows[i].format, (size_t)(first - rows[i].format));
        buf_add_span(&doc, buf_view(&a));
        buf_add(&doc, first + 2, (size_t)(second - first) - 2);
        buf_add_span(&doc, buf_view(&z));
        buf_add(&doc, second + 2, (size_t)(rows[i].format + format_len - second) - 2);
        const struct value values[] = {{.kind = VALUE_JSON, .text = buf_view(&a)},
                                       {.kind = VALUE_JSON,
                                        .text = buf_view(rows[i].z_is_a       ? &a
                                                         : rows[i].z_is_other ? &other
                                                                              : &z)}};
        world.facts.repeats.count = 5; /* of the line before */
        struct error *err =
            row_encode(world.format, NULL, values, buf_view(&doc), &world.out, &world.facts);
        if (rows[i].is_refused != (err != NULL)) {
            fail_msg("%s: %s", rows[i].sentence, err ? error_text(err) : "taken");
        }
        const struct stage_repeats *repeats = &world.facts.repeats;
        if (repeats->count != rows[i].count) {
            fail_msg("%s: %u repeats", rows[i].sentence, repeats->count);
        }
        for (unsigned j = 0; j < repeats->count; j++) {
            const struct stage_repeat *repeat = &repeats->items[j];
            assert_true(repeat->first + repeat->bytes <= repeat->second);
            assert_true(repeat->second + repeat->bytes <= world.out.len);
            assert_true(repeat->bytes == a.len || repeat->bytes == z.len);
            assert_memory_equal(world.out.data + repeat->first, world.out.data + repeat->second,
                                repeat->bytes);
        }
        error_free(err);
        buf_done(&a);
        buf_done(&z);
        buf_done(&other);
        buf_done(&doc);
        tear_down(&world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_converter_has_its_edges),
        cmocka_unit_test(a_refusal_never_shows_the_value),
        cmocka_unit_test(escapes_are_right_at_every_offset),
        cmocka_unit_test(texts_of_nothing_but_escapes_are_right),
        cmocka_unit_test(invalid_utf8_is_found_at_every_offset),
        cmocka_unit_test(a_line_has_all_members_in_the_order_of_their_names),
        cmocka_unit_test(the_published_row_is_as_published),
        cmocka_unit_test(a_row_without_columns_is_an_empty_object),
        cmocka_unit_test(a_key_is_the_same_bytes_in_both_kinds_of_rows),
        cmocka_unit_test(odd_keys_are_refused_by_name),
        cmocka_unit_test(keys_reach_the_limit_of_a_column_and_no_further),
        cmocka_unit_test(the_longest_key_text_is_remembered),
        cmocka_unit_test(long_values_are_cut_between_characters),
        cmocka_unit_test(the_backslash_for_nul_counts_within_the_limit),
        cmocka_unit_test(a_json_column_is_not_cut),
        cmocka_unit_test(columns_that_are_too_narrow_are_marked),
        cmocka_unit_test(binary_values_reach_the_limit_of_a_column_and_no_further),
        cmocka_unit_test(documents_go_as_they_came),
        cmocka_unit_test(rows_reach_the_limit_of_copy_and_no_further),
        cmocka_unit_test(what_can_never_fit_is_refused_before_it_is_written),
        cmocka_unit_test(a_refused_row_leaves_its_block_as_it_was),
        cmocka_unit_test(large_documents_tell_what_stands_twice),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
