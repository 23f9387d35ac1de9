/*
 * What COPY refuses is refused before it is staged, and nothing else is: each edge of each type is
 * written as a row and given to the sandbox's COPY. A row that is taken must load there; of one
 * that is refused, COPY must refuse what would have been staged without a look at the column.
 */

#include "redshift/type.h"
#include "sandbox/copy_row.h"
#include "stage/row.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "unit/stage/values.h"

/* ---------------------------------------------------------------- a column of either side */

struct column {
    const char *ddl;
    enum rs_converter converter;
    struct copy_column there;
};

static char name[] = "f";

#define THERE(...)                                                                                 \
    {                                                                                              \
        .name = name, __VA_ARGS__                                                                  \
    }

static const struct column bigint = {"BIGINT", RS_AS_IS, THERE(.type = COLUMN_BIGINT)};
static const struct column integer = {"INTEGER", RS_AS_IS, THERE(.type = COLUMN_INTEGER)};
static const struct column smallint = {"int2 NOT NULL", RS_AS_IS, THERE(.type = COLUMN_SMALLINT)};
static const struct column numeric = {"NUMERIC(38,0)", RS_AS_IS,
                                      THERE(.type = COLUMN_NUMERIC, .precision = 38)};
static const struct column digits = {"NUMERIC(38,0)", RS_STR_TO_INT,
                                     THERE(.type = COLUMN_NUMERIC, .precision = 38)};
static const struct column money = {"decimal( 10 , 2 )", RS_AS_IS,
                                    THERE(.type = COLUMN_NUMERIC, .precision = 10, .scale = 2)};
static const struct column nineteen = {"NUMERIC(19)", RS_AS_IS,
                                       THERE(.type = COLUMN_NUMERIC, .precision = 19)};
static const struct column number = {"DOUBLE PRECISION", RS_AS_IS, THERE(.type = COLUMN_DOUBLE)};
static const struct column number_text = {"DOUBLE PRECISION", RS_STR_TO_FLOAT,
                                          THERE(.type = COLUMN_DOUBLE)};
static const struct column real = {"REAL", RS_AS_IS, THERE(.type = COLUMN_REAL)};
static const struct column boolean = {"BOOLEAN", RS_AS_IS, THERE(.type = COLUMN_BOOLEAN)};
static const struct column text = {"TEXT", RS_TEXT,
                                   THERE(.type = COLUMN_VARCHAR, .length = ROW_MAX_TEXT)};
static const struct column text_as_is = {"TEXT", RS_AS_IS,
                                         THERE(.type = COLUMN_VARCHAR, .length = ROW_MAX_TEXT)};
static const struct column cast_text = {"TEXT", RS_TO_STRING,
                                        THERE(.type = COLUMN_VARCHAR, .length = ROW_MAX_TEXT)};
static const struct column short_text = {"VARCHAR(3)", RS_TEXT,
                                         THERE(.type = COLUMN_VARCHAR, .length = 3)};
static const struct column ascii = {"CHAR(5)", RS_TEXT, THERE(.type = COLUMN_CHAR, .length = 5)};
static const struct column date = {"DATE", RS_DATE, THERE(.type = COLUMN_DATE)};
static const struct column moment = {"TIMESTAMPTZ", RS_TIMESTAMP,
                                     THERE(.type = COLUMN_TIMESTAMPTZ)};
static const struct column super = {"SUPER", RS_JSON, THERE(.type = COLUMN_SUPER)};
static const struct column binary = {"VARBYTE(1024000)", RS_HEX,
                                     THERE(.type = COLUMN_VARBYTE, .length = 1024000)};
static const struct column flow_bytes = {"VARBYTE(1024000)", RS_AS_IS,
                                         THERE(.type = COLUMN_VARBYTE, .length = 1024000)};
static const struct column few_bytes = {"varbyte(2)", RS_HEX,
                                        THERE(.type = COLUMN_VARBYTE, .length = 2)};

/* ---------------------------------------------------------------- values */

enum other { SAME, ONLY_HERE }; /* what COPY makes of what is refused here */

struct row {
    const char *sentence;
    const struct column *column;
    struct value value;
    const char *staged;  /* the member's value; NULL: refused */
    const char *refusal; /* part of the sentence */
    bool is_key;
    enum other other;
};

#define FFFD "\xef\xbf\xbd"
#define NINES38 "99999999999999999999999999999999999999"

static const struct row rows[] = {
    {"the largest BIGINT", &bigint, INT(INT64_MAX), "9223372036854775807", NULL, false, SAME},
    {"the least BIGINT", &bigint, INT(INT64_MIN), "-9223372036854775808", NULL, false, SAME},
    {"one more than the largest", &bigint, UINT((uint64_t)INT64_MAX + 1), NULL, "64 bits", false,
     SAME},
    {"one more in a key", &bigint, UINT(UINT64_MAX), NULL, "limited to 64 bits", true, SAME},
    {"one less than the least", &bigint, NUMBER("-9223372036854775809"), NULL, "64 bits", false,
     SAME},
    {"an integer of twenty digits", &bigint, NUMBER("12345678901234567890"), NULL, "64 bits", false,
     SAME},
    {"an integer of a hundred digits", &bigint,
     NUMBER("1234567890123456789012345678901234567890123456789012345678901234567890123456789012345"
            "678901234567890"),
     NULL, "64 bits", false, SAME},
    {"an integer with a fraction of zeros", &bigint, NUMBER("-12.00"), "-12", NULL, false, SAME},
    {"an integer with an exponent", &bigint, NUMBER("1.5E+3"), "1500", NULL, false, SAME},
    {"zero with an exponent", &bigint, NUMBER("0e5"), "0", NULL, false, SAME},
    {"an integer as a double", &bigint, DOUBLE(3.0), "3", NULL, false, SAME},
    {"a large integer as a double", &bigint, DOUBLE(1e20), NULL, "64 bits", false, SAME},
    {"a huge one", &bigint, DOUBLE(1e300), NULL, "64 bits", false, SAME},
    {"a fraction", &bigint, DOUBLE(1.5), NULL, "is not an integer", false, SAME},
    {"a small fraction", &bigint, NUMBER("1e-5"), NULL, "is not an integer", false, SAME},
    {"true for an integer", &bigint, YES, NULL, "is not an integer", false, SAME},
    {"an object for an integer", &bigint, JSON("{}"), NULL, "is not an integer", false, SAME},
    {"no integer at all", &bigint, NIL, "null", NULL, false, SAME},
    {"digits in a string", &bigint, STRING("-17"), "\"-17\"", NULL, false, SAME},
    {"blanks are NULL", &bigint, STRING("  "), "\"  \"", NULL, false, SAME},
    {"a word for an integer", &bigint, STRING("x"), NULL, "text is not an integer", false, SAME},
    {"a fraction in a string", &bigint, STRING("1.0"), NULL, "text is not an integer", false, SAME},
    {"the largest INTEGER", &integer, INT(INT32_MAX), "2147483647", NULL, false, SAME},
    {"one more", &integer, INT((int64_t)INT32_MAX + 1), NULL, "32 bits", false, SAME},
    {"the least INTEGER", &integer, INT(INT32_MIN), "-2147483648", NULL, false, SAME},
    {"one less", &integer, INT((int64_t)INT32_MIN - 1), NULL, "32 bits", false, SAME},
    {"the largest SMALLINT", &smallint, INT(INT16_MAX), "32767", NULL, false, SAME},
    {"one more for it", &smallint, INT(32768), NULL, "16 bits", false, SAME},
    {"the least SMALLINT", &smallint, INT(INT16_MIN), "-32768", NULL, false, SAME},

    {"the largest unsigned integer", &numeric, UINT(UINT64_MAX), "18446744073709551615", NULL,
     false, SAME},
    {"thirty-eight nines", &numeric, NUMBER(NINES38), "\"" NINES38 "\"", NULL, false, SAME},
    {"thirty-nine digits", &numeric, NUMBER("1" NINES38), NULL, "38 digits", false, SAME},
    {"1e37", &numeric, DOUBLE(1e37), "1e+37", NULL, false, SAME},
    {"1e38, which a double keeps a little below", &numeric, DOUBLE(1e38), "1e+38", NULL, false,
     SAME},
    {"more than 1e38", &numeric, DOUBLE(1.1e38), NULL, "38 digits", false, SAME},
    {"what a double rounds up", &money, NUMBER("9.999999999999999999999e7"), NULL, "8 digits",
     false, SAME},
    {"a tiny number is zero there", &numeric, DOUBLE(1e-300), "1e-300", NULL, false, SAME},
    {"a fraction is cut there", &numeric, NUMBER("1.75"), "1.75", NULL, false, SAME},
    {"true for a number", &numeric, YES, NULL, "not a number", false, SAME},
    {"a word for a number", &numeric, STRING("x"), NULL, "not a number", false, SAME},
    {"an exponent in a string", &numeric, STRING("1e5"), NULL, "not a number", false, SAME},
    {"digits of a string", &digits, STRING("-" NINES38), "\"-" NINES38 "\"", NULL, false, SAME},
    {"the most money", &money, NUMBER("99999999.99"), "99999999.99", NULL, false, SAME},
    {"a digit behind it is cut there", &money, NUMBER("99999999.999"), "99999999.999", NULL, false,
     SAME},
    {"too much money", &money, NUMBER("100000000.0"), NULL, "8 digits before its point", false,
     SAME},
    {"nineteen digits are kept in 64 bits", &nineteen, NUMBER("9223372036854775807"),
     "9223372036854775807", NULL, false, SAME},
    {"one more of nineteen digits", &nineteen, NUMBER("9223372036854775808"), NULL, "digits", false,
     SAME},

    {"the largest double", &number, DOUBLE(1.7976931348623157e308), "1.7976931348623157e+308", NULL,
     false, SAME},
    {"the smallest double", &number, DOUBLE(5e-324), "5e-324", NULL, false, SAME},
    {"a number that is too small becomes zero", &number, NUMBER("1e-400"), "0", NULL, false, SAME},
    {"a text that is too small becomes zero", &number_text, STRING("1e-400"), "0", NULL, false,
     SAME},
    {"an integer of thirty digits", &number, NUMBER("123456789012345678901234567890"),
     "\"123456789012345678901234567890\"", NULL, false, SAME},
    {"a word for a double", &number, STRING("x"), NULL, "DOUBLE PRECISION", false, SAME},
    {"true for a double", &number, YES, NULL, "DOUBLE PRECISION", false, SAME},
    {"not a number for a double", &number, STRING("NaN"), NULL, "DOUBLE PRECISION", false, SAME},
    {"the largest REAL", &real, DOUBLE(3.4028234663852886e38), "3.4028234663852886e+38", NULL,
     false, SAME},
    {"more than a REAL", &real, DOUBLE(1e39), NULL, "a REAL column can hold", false, SAME},
    {"less than a REAL becomes zero", &real, DOUBLE(1e-60), "0", NULL, false, SAME},

    {"true", &boolean, YES, "true", NULL, false, SAME},
    {"one for true", &boolean, INT(1), "1", NULL, false, SAME},
    {"a word for true", &boolean, STRING("Yes"), "\"Yes\"", NULL, false, SAME},
    {"two is no truth", &boolean, INT(2), NULL, "not a boolean", false, SAME},
    {"a word that is none", &boolean, STRING("maybe"), NULL, "not a boolean", false, SAME},

    {"a text that begins with U+0000", &text, STRING("\0a"), "\"\\\\\\u0000a\"", NULL, false, SAME},
    {"what is cast to text too", &cast_text, STRING("\0a"), "\"\\\\\\u0000a\"", NULL, false, SAME},
    {"what is text already too", &text_as_is, STRING("\0"), "\"\\\\\\u0000\"", NULL, false, SAME},
    {"U+0000 in a key, where the server would end it", &text, STRING("a\0b"), NULL, "U+0000", true,
     ONLY_HERE},
    {"control characters", &text, STRING("\x01\x1f\x7f\n"), "\"\\u0001\\u001f\x7f\\n\"", NULL,
     false, SAME},
    {"a noncharacter", &text, STRING("\xef\xbf\xbf"), "\"\xef\xbf\xbf\"", NULL, false, SAME},
    {"an encoded surrogate", &text, STRING("\xed\xa0\x80"), NULL, "not valid UTF-8", false, SAME},
    {"a byte that begins nothing", &text, STRING("a\xff"), NULL, "not valid UTF-8", false, SAME},
    {"an object as text", &text, JSON("{\"a\":1}"), "{\"a\":1}", NULL, false, SAME},
    {"a value of the user's own width is cut there", &short_text, STRING("abcd"), "\"abcd\"", NULL,
     false, SAME},
    {"a key of the user's own width", &short_text, STRING("abc"), "\"abc\"", NULL, true, SAME},
    {"a longer one", &short_text, STRING("abcd"), NULL, "a key is limited to 3 bytes", true, SAME},
    {"ASCII", &ascii, STRING("abcde"), "\"abcde\"", NULL, false, SAME},
    {"more than ASCII", &ascii, STRING("\xc3\xa4"), NULL, "ASCII only", false, SAME},

    {"the first day", &date, STRING("0001-01-01"), "\"0001-01-01\"", NULL, false, SAME},
    {"the last day", &date, STRING("9999-12-31"), "\"9999-12-31\"", NULL, false, SAME},
    {"a day of the year 0", &date, STRING("0000-12-31"), NULL, "not a day", false, SAME},
    {"a day that does not exist", &date, STRING("2023-02-29"), NULL, "not a day", false, SAME},
    {"no day at all", &date, STRING("not a date"), NULL, "not a day", false, SAME},
    {"the empty text is NULL", &date, STRING(""), "\"\"", NULL, false, SAME},
    {"of a date-time the day", &date, STRING("2025-11-29 01:05:28.123456789z"), "\"2025-11-29\"",
     NULL, false, SAME},
    {"a number is no day", &date, INT(17), NULL, "not a day", false, SAME},

    {"the first moment", &moment, STRING("0001-01-01T00:00:00Z"), "\"0001-01-01T00:00:00Z\"", NULL,
     false, SAME},
    {"the last moment", &moment, STRING("9999-12-31T23:59:59.999999Z"),
     "\"9999-12-31T23:59:59.999999Z\"", NULL, false, SAME},
    {"a moment of the year 0", &moment, STRING("0000-02-29T00:00:00Z"), NULL, "not a date-time",
     false, SAME},
    {"half a day of offset", &moment, STRING("2024-03-01T05:06:07-12:00"),
     "\"2024-03-01T05:06:07-12:00\"", NULL, false, SAME},
    {"the largest offset there is", &moment, STRING("2024-03-01T05:06:07+14:00"),
     "\"2024-02-29T05:06:07-10:00\"", NULL, false, SAME},
    {"an offset that is nowhere", &moment, STRING("2023-12-31T05:06:07.5-23:59"),
     "\"2024-01-01T05:06:07.5+00:01\"", NULL, false, SAME},
    {"one that leads out of the calendar", &moment, STRING("0001-01-01T00:00:00+14:00"), NULL,
     "not a date-time", false, ONLY_HERE},
    {"and on its other side", &moment, STRING("9999-12-31T00:00:00-14:00"), NULL, "not a date-time",
     false, ONLY_HERE},
    {"a number is no moment", &moment, INT(1700000000), NULL, "not a date-time", false, SAME},

    {"U+0000 in a string", &super, STRING("a\0b"), "\"a" FFFD "b\"", NULL, false, SAME},
    {"U+0000 in a document", &super, JSON("{\"a\":[\"\\u0000x\\\\u0000\"]}"),
     "{\"a\":[\"" FFFD "x\\\\u0000\"]}", NULL, false, SAME},
    {"U+0000 in a name", &super, JSON("{\"a\\u0000\":1}"), "{\"a" FFFD "\":1}", NULL, false, SAME},
    {"a pair of surrogates", &super, JSON("[\"\\ud83d\\ude00\"]"), "[\"\\ud83d\\ude00\"]", NULL,
     false, SAME},
    {"the first half alone", &super, JSON("[\"\\ud83dx\"]"), "[\"" FFFD "x\"]", NULL, false, SAME},
    {"the second half alone", &super, JSON("[\"\\uDE00\"]"), "[\"" FFFD "\"]", NULL, false, SAME},
    {"the halves in the wrong order", &super, JSON("[\"\\ude00\\ud83d\"]"), "[\"" FFFD FFFD "\"]",
     NULL, false, SAME},
    {"other escapes stay", &super, JSON("[\"\\u00e4\\u0001\\n\"]"), "[\"\\u00e4\\u0001\\n\"]", NULL,
     false, SAME},
    {"an unescaped control character", &super, JSON("[\"\x01\"]"), NULL, "invalid JSON", false,
     SAME},
    {"what is no JSON", &super, JSON("{\"a\":}"), NULL, "invalid JSON", false, SAME},
    {"two values", &super, JSON("{} {}"), NULL, "invalid JSON", false, SAME},
    {"invalid UTF-8 in a document", &super, JSON("[\"\xc3\"]"), NULL, "not valid UTF-8", false,
     SAME},
    {"an integer beyond 64 bits", &super, JSON("[18446744073709551616]"), "[18446744073709551616]",
     NULL, false, SAME},
    {"a number beyond doubles", &super, JSON("{\"a\":1e400}"), NULL, "no double can hold", false,
     SAME},
    {"one as a value", &super, NUMBER("1e400"), NULL, "no double can hold", false, SAME},
    {"one in a string", &super, JSON("[\"1e400\",\"\\\"-1e999\"]"), "[\"1e400\",\"\\\"-1e999\"]",
     NULL, false, SAME},
    {"a number below doubles", &super, JSON("[1e-400,-2E5]"), "[1e-400,-2E5]", NULL, false, SAME},
    {"a name twice", &super, JSON("{\"a\":1,\"a\":2}"), NULL, "stands twice", false, SAME},
    {"a name twice in other letters", &super, JSON("{\"a\":1,\"\\u0061\":2}"), NULL, "stands twice",
     false, SAME},
    {"a name twice, far apart and deep", &super,
     JSON("[{\"x\":{\"b\":1,\"a\":[{}],\"c\":3,\"b\":4}}]"), NULL, "stands twice", false, SAME},
    {"names out of order", &super, JSON("{\"b\":{\"b\":1},\"a\":{\"b\":1}}"),
     "{\"b\":{\"b\":1},\"a\":{\"b\":1}}", NULL, false, SAME},
    {"no document", &super, NIL, "null", NULL, false, SAME},

    {"binary", &binary, STRING("AAH//n8="), "\"0001fffe7f\"", NULL, false, SAME},
    {"as much binary as fits", &few_bytes, STRING("AAE="), "\"0001\"", NULL, false, SAME},
    {"more", &few_bytes, STRING("AAEC"), NULL, "limited to 2 bytes, this one has 3", false, SAME},
    {"hex as it is", &flow_bytes, STRING("00fF"), "\"00fF\"", NULL, false, SAME},
    {"no hex", &flow_bytes, STRING("xy"), NULL, "hexadecimal", false, SAME},
    {"half a byte", &flow_bytes, STRING("abc"), NULL, "hexadecimal", false, SAME},
};

/* ---------------------------------------------------------------- both sides */

struct world {
    struct arena *arena;
    struct row_format *format;
    struct buf out;
    struct row_facts facts;
    struct row_column_facts columns[1];
    uint64_t widen[1];
};

static void set_up(struct world *world, const struct column *column, bool is_key, bool looks)
{
    struct rs_type type = {.ddl = span_of(column->ddl), .converter = column->converter};
    type.is_text = strcmp(column->ddl, "TEXT") == 0;
    const struct row_column spec = {
        .field = span_of(name),
        .converter = column->converter,
        .is_text = type.is_text,
        .domain = looks ? rs_type_domain(&type) : (struct rs_domain){.holds = RS_HOLDS_ANYTHING},
    };

    memset(world, 0, sizeof(*world));
    world->arena = arena_new(65536);
    world->format = row_format_new(world->arena, &spec, is_key, !is_key, false, ROW_FULL);
    world->facts.widen = world->widen;
    world->facts.columns = world->columns;
    buf_init(&world->out, (size_t)16 * 1024 * 1024);
}

static void tear_down(struct world *world)
{
    buf_done(&world->out);
    arena_free(world->arena);
}

/* TRUNCATECOLUMNS as in the product: never where it could make two keys one. */
static bool loads(const struct column *column, bool is_key, struct span line)
{
    struct copy_statement st = {
        .time_format = COPY_TIME_AUTO, .date_format = COPY_TIME_AUTO, .truncate_columns = !is_key};
    struct copy_convert convert = {.st = &st, .truncate_super_strings = true};
    struct copy_rows there = {.columns = &column->there, .column_count = 1, .convert = &convert};
    struct bytes out = {0};
    int at;

    copy_rows_start(&there);
    const bool ok = copy_rows_put(&there, (struct piece){line.ptr, line.len - 1}, &out, &at);
    copy_rows_done(&there);
    copy_convert_done(&convert);
    bytes_done(&out);
    return ok;
}

static struct error *encode(struct world *world, const struct row *row)
{
    return row_encode(world->format, &row->value, &row->value, SPAN_NONE, &world->out,
                      &world->facts);
}

/* What would have been staged without a look at the column must not load. */
static bool is_refused_there(const struct row *row)
{
    struct world world;

    set_up(&world, row->column, row->is_key, false);
    struct error *err = encode(&world, row);
    const bool is_refused =
        err || !loads(row->column, row->is_key, (struct span){world.out.data, world.out.len});
    error_free(err);
    tear_down(&world);
    return is_refused;
}

static bool check_row(const struct row *row)
{
    struct world world;
    char want[512];

    set_up(&world, row->column, row->is_key, true);
    struct error *err = encode(&world, row);
    const char *got = err ? error_text(err) : world.out.data;
    bool good;
    if (row->staged) {
        snprintf(want, sizeof(want), "{\"f\":%s}\n", row->staged);
        good = !err && strcmp(world.out.data, want) == 0 &&
               loads(row->column, row->is_key, (struct span){world.out.data, world.out.len});
    } else {
        good = err && strstr(got, row->refusal) && strncmp(got, "field \"f\": ", 11) == 0 &&
               error_class_of(err) == ERROR_CONFIG && world.out.len == 0 &&
               (row->other == ONLY_HERE || is_refused_there(row));
    }
    if (!good) {
        print_error("%s: %s\n", row->sentence, got);
    }
    error_free(err);
    tear_down(&world);
    return good;
}

static void what_copy_refuses_is_refused_here_and_nothing_else(void **state)
{
    unsigned wrong = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        wrong += !check_row(&rows[i]);
    }
    assert_int_equal(wrong, 0);
}

/* ---------------------------------------------------------------- limits of length */

static char *fill(struct buf *to, const char *before, size_t len, const char *behind)
{
    buf_init(to, len + 1024);
    buf_add_str(to, before);
    for (size_t i = 0; i < len; i++) {
        buf_add_byte(to, 'a');
    }
    buf_add_str(to, behind);
    return to->data;
}

static void names_within_json_reach_their_limit_and_no_further(void **state)
{
    (void)state;
    for (size_t len = 65535; len <= 65536; len++) {
        struct world world;
        struct buf json;
        fill(&json, "{\"", len, "\":1}");
        const struct row row = {.column = &super,
                                .value = {.kind = VALUE_JSON, .text = buf_view(&json)}};
        set_up(&world, &super, false, true);
        struct error *err = encode(&world, &row);
        if (len == 65535) {
            assert_null(err);
            assert_true(loads(&super, false, (struct span){world.out.data, world.out.len}));
        } else {
            assert_non_null(err);
            assert_non_null(strstr(error_text(err), "limited to 65535 bytes, one has 65536"));
            assert_true(is_refused_there(&row));
        }
        error_free(err);
        tear_down(&world);
        buf_done(&json);
    }
}

static void strings_that_copy_cuts_are_counted_by_column(void **state)
{
    struct world world;
    struct buf json;

    (void)state;
    fill(&json, "{\"a\":\"", 65536, "\",\"b\":\"short\"}");
    const struct row row = {.column = &super,
                            .value = {.kind = VALUE_JSON, .text = buf_view(&json)}};
    set_up(&world, &super, false, true);
    assert_null(encode(&world, &row));
    assert_true(loads(&super, false, (struct span){world.out.data, world.out.len}));
    assert_int_equal(world.facts.truncated_values, 1);
    assert_int_equal(world.columns[0].truncated, 1);
    assert_int_equal(world.columns[0].replaced, 0);
    tear_down(&world);
    buf_done(&json);

    fill(&json, "", 70000, "");
    const struct row long_text = {.column = &text,
                                  .value = {.kind = VALUE_STRING, .text = buf_view(&json)}};
    set_up(&world, &text, false, true);
    assert_null(encode(&world, &long_text));
    assert_true(loads(&text, false, (struct span){world.out.data, world.out.len}));
    assert_int_equal(world.facts.truncated_values, 1);
    assert_int_equal(world.columns[0].truncated, 1);
    tear_down(&world);
    buf_done(&json);

    const struct row ended = {.column = &text, .value = STRING("a\0b")};
    const struct row replaced = {.column = &super, .value = JSON("[\"\\u0000\"]")};
    set_up(&world, &text, false, true);
    assert_null(encode(&world, &ended));
    assert_int_equal(world.columns[0].truncated, 1);
    tear_down(&world);
    set_up(&world, &super, false, true);
    assert_null(encode(&world, &replaced));
    assert_int_equal(world.facts.replaced_values, 1);
    assert_int_equal(world.columns[0].replaced, 1);
    assert_int_equal(world.columns[0].truncated, 0);
    tear_down(&world);
}

static void a_long_string_ends_at_its_own_quote(void **state)
{
    static const struct {
        const char *sentence, *before, *after;
    } strings[] = {
        {"an escaped quote in front", "{\"a\":\"\\\"", "\",\"b\":\"x\"}"},
        {"an escaped backslash at the end", "{\"a\":\"", "\\\\\",\"b\":\"x\"}"},
        {"an escaped backslash and an escaped quote at the end", "[\"", "\\\\\\\"\",\"\\\"\"]"},
        {"a string of one backslash before it", "[\"\\\\\",\"", "\"]"},
        {"the last one", "[\"x\",\"\",\"", "\"]"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(strings); i++) {
        struct world world;
        struct buf json;
        fill(&json, strings[i].before, 65536, strings[i].after);
        const struct row row = {.column = &super,
                                .value = {.kind = VALUE_JSON, .text = buf_view(&json)}};
        set_up(&world, &super, false, true);
        assert_null(encode(&world, &row));
        if (world.columns[0].truncated != 1) {
            fail_msg("%s: %u values", strings[i].sentence, (unsigned)world.columns[0].truncated);
        }
        tear_down(&world);
        buf_done(&json);
    }
}

/* ---------------------------------------------------------------- types */

static void a_columns_definition_tells_what_it_takes(void **state)
{
    static const struct {
        const char *ddl;
        struct rs_domain domain;
    } types[] = {
        {"BIGINT", {RS_HOLDS_INTEGER, 64, 0}},
        {"int DEFAULT 5", {RS_HOLDS_INTEGER, 32, 0}},
        {"INTERVAL DAY TO SECOND", {RS_HOLDS_ANYTHING, 0, 0}},
        {"NUMERIC", {RS_HOLDS_NUMERIC, 18, 0}},
        {"NUMERIC(38,10)", {RS_HOLDS_NUMERIC, 38, 10}},
        {"NUMERIC(5,6)", {RS_HOLDS_ANYTHING, 0, 0}},
        {"NUMERIC(5", {RS_HOLDS_ANYTHING, 0, 0}},
        {"NUMERIC(99999999999)", {RS_HOLDS_ANYTHING, 0, 0}},
        {"double precision", {RS_HOLDS_DOUBLE, 0, 0}},
        {"float4", {RS_HOLDS_REAL, 0, 0}},
        {"VARCHAR(MAX)", {RS_HOLDS_VARCHAR, 65535, 0}},
        {"varchar( 12 ) NOT NULL", {RS_HOLDS_VARCHAR, 12, 0}},
        {"character varying(7)", {RS_HOLDS_VARCHAR, 7, 0}},
        {"CHAR", {RS_HOLDS_CHAR, 1, 0}},
        {"TIMESTAMP WITH TIME ZONE", {RS_HOLDS_TIMESTAMP, 0, 0}},
        {"GEOMETRY", {RS_HOLDS_ANYTHING, 0, 0}},
        {"", {RS_HOLDS_ANYTHING, 0, 0}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
        const struct rs_type type = {.ddl = span_of(types[i].ddl)};
        const struct rs_domain got = rs_type_domain(&type);
        if (got.holds != types[i].domain.holds || got.size != types[i].domain.size ||
            got.scale != types[i].domain.scale) {
            fail_msg("%s: %d, %u, %u", types[i].ddl, (int)got.holds, got.size, got.scale);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_copy_refuses_is_refused_here_and_nothing_else),
        cmocka_unit_test(names_within_json_reach_their_limit_and_no_further),
        cmocka_unit_test(strings_that_copy_cuts_are_counted_by_column),
        cmocka_unit_test(a_long_string_ends_at_its_own_quote),
        cmocka_unit_test(a_columns_definition_tells_what_it_takes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
