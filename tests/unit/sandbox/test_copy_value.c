/* What each type of column makes of a JSON value, with the code of the load error where it makes
 * nothing of it. */
#include "sandbox/copy_value.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define NUMERIC(p, s) .type = COLUMN_NUMERIC, .precision = (p), .scale = (s)
#define VARCHAR(n) .type = COLUMN_VARCHAR, .length = (n)
#define CHAR(n) .type = COLUMN_CHAR, .length = (n)
#define VARBYTE(n) .type = COLUMN_VARBYTE, .length = (n)
#define PLAIN .max_error = 1
#define AUTO .date_format = COPY_TIME_AUTO, .time_format = COPY_TIME_AUTO

struct row {
    const char *sentence;
    struct copy_column column;
    struct copy_statement st;
    const char *json;
    const char *field; /* COPY text; NULL when refused */
    int code;
    const char *words; /* part of the refusal */
};

static const struct row rows[] = {
    /* integers */
    {"a number is taken", {.type = COLUMN_BIGINT}, {PLAIN}, "12", "12", 0, NULL},
    {"a numeric string is taken", {.type = COLUMN_INTEGER}, {PLAIN}, "\"-7\"", "-7", 0, NULL},
    {"the least bigint fits",
     {.type = COLUMN_BIGINT},
     {PLAIN},
     "-9223372036854775808",
     "-9223372036854775808",
     0,
     NULL},
    {"one more than the largest bigint overflows",
     {.type = COLUMN_BIGINT},
     {PLAIN},
     "9223372036854775808",
     NULL,
     1222,
     "overflow"},
    {"a bigint is no integer",
     {.type = COLUMN_INTEGER},
     {PLAIN},
     "2147483648",
     NULL,
     1222,
     "Integer"},
    {"an integer is no smallint", {.type = COLUMN_SMALLINT}, {PLAIN}, "40000", NULL, 1222, "Short"},
    {"a point in an integer is named with its place",
     {.type = COLUMN_BIGINT},
     {PLAIN},
     "\"1.5\"",
     NULL,
     1207,
     "Invalid digit, Value '.', Pos 1, Type: Long"},
    {"a fraction is refused unquoted too",
     {.type = COLUMN_INTEGER},
     {PLAIN},
     "1.0",
     NULL,
     1207,
     "Value '.', Pos 1, Type: Integer"},
    {"an exponent is no integer", {.type = COLUMN_BIGINT}, {PLAIN}, "1e3", NULL, 1207, "Value 'e'"},
    {"a letter is no digit",
     {.type = COLUMN_INTEGER},
     {PLAIN},
     "\"a\"",
     NULL,
     1207,
     "Invalid digit, Value 'a', Pos 0, Type: Integer"},
    {"a sign alone is no integer", {.type = COLUMN_INTEGER}, {PLAIN}, "\"-\"", NULL, 1207, "Pos 1"},
    {"true is no integer", {.type = COLUMN_BIGINT}, {PLAIN}, "true", NULL, 1207, "Value 't'"},
    {"an object is no integer", {.type = COLUMN_BIGINT}, {PLAIN}, "{}", NULL, 1207, "Value '{'"},
    {"an empty string is NULL for numbers",
     {.type = COLUMN_BIGINT},
     {PLAIN},
     "\"\"",
     "\\N",
     0,
     NULL},
    {"blanks are NULL for numbers", {.type = COLUMN_BIGINT}, {PLAIN}, "\"  \"", "\\N", 0, NULL},
    {"null is NULL", {.type = COLUMN_BIGINT}, {PLAIN}, "null", "\\N", 0, NULL},
    {"null into NOT NULL is refused",
     {.type = COLUMN_BIGINT, .not_null = true},
     {PLAIN},
     "null",
     NULL,
     1213,
     "Missing data for not-null field"},
    {"an empty string into a NOT NULL number is refused",
     {.type = COLUMN_BIGINT, .not_null = true},
     {PLAIN},
     "\"\"",
     NULL,
     1213,
     "not-null"},

    /* decimals */
    {"decimals beyond the scale are cut", {NUMERIC(10, 2)}, {PLAIN}, "20.259", "020.25", 0, NULL},
    {"ROUNDEC rounds them",
     {NUMERIC(10, 2)},
     {.round_decimals = true},
     "20.259",
     "020.26",
     0,
     NULL},
    {"rounding carries over",
     {NUMERIC(4, 1)},
     {.round_decimals = true},
     "\"99.96\"",
     "100.0",
     0,
     NULL},
    {"rounding may overflow",
     {NUMERIC(3, 1)},
     {.round_decimals = true},
     "99.96",
     NULL,
     1209,
     "overflow"},
    {"a negative is cut towards zero", {NUMERIC(10, 1)}, {PLAIN}, "-1.29", "-01.2", 0, NULL},
    {"nothing is left of a small fraction", {NUMERIC(10, 1)}, {PLAIN}, "\"-0.04\"", "0.0", 0, NULL},
    {"38 nines as a string are exact",
     {NUMERIC(38, 0)},
     {PLAIN},
     "\"99999999999999999999999999999999999999\"",
     "099999999999999999999999999999999999999",
     0,
     NULL},
    {"38 nines unquoted lose their digits as on a cluster",
     {NUMERIC(38, 0)},
     {PLAIN},
     "99999999999999999999999999999999999999",
     "099999999999999979000000000000000000000",
     0,
     NULL},
    {"the largest unsigned 64-bit integer stays exact",
     {NUMERIC(38, 0)},
     {PLAIN},
     "18446744073709551615",
     "018446744073709551615",
     0,
     NULL},
    {"a negative beyond 64 bit loses digits",
     {NUMERIC(38, 0)},
     {PLAIN},
     "-9223372036854775809",
     "-09223372036854775800",
     0,
     NULL},
    {"an unquoted exponent is a double", {NUMERIC(10, 1)}, {PLAIN}, "1.5e3", "01500.0", 0, NULL},
    {"a quoted exponent is refused", {NUMERIC(10, 1)}, {PLAIN}, "\"1e3\"", NULL, 1207, "Decimal"},
    {"a huge exponent overflows", {NUMERIC(38, 0)}, {PLAIN}, "1e999", NULL, 1209, "overflow"},
    {"a tiny exponent is zero", {NUMERIC(38, 2)}, {PLAIN}, "1e-999", "0.00", 0, NULL},
    {"too many whole digits overflow",
     {NUMERIC(4, 2)},
     {PLAIN},
     "100",
     NULL,
     1209,
     "Numeric data overflow"},
    {"nineteen digits are kept in 64 bits",
     {NUMERIC(19, 0)},
     {PLAIN},
     "\"9223372036854775807\"",
     "09223372036854775807",
     0,
     NULL},
    {"so nineteen nines do not fit",
     {NUMERIC(19, 0)},
     {PLAIN},
     "\"9999999999999999999\"",
     NULL,
     1209,
     "overflow"},
    {"a fraction without a zero is taken", {NUMERIC(5, 2)}, {PLAIN}, "\".5\"", "0.50", 0, NULL},
    {"a scale as large as the precision leaves no whole digits",
     {NUMERIC(2, 2)},
     {PLAIN},
     "\"0.129\"",
     "0.12",
     0,
     NULL},
    {"a word is no decimal", {NUMERIC(5, 2)}, {PLAIN}, "\"NaN\"", NULL, 1207, "Value 'N', Pos 0"},
    {"two points are no decimal", {NUMERIC(5, 2)}, {PLAIN}, "\"1.2.3\"", NULL, 1207, "Pos 3"},

    /* floats and booleans */
    {"a double keeps its text",
     {.type = COLUMN_DOUBLE},
     {PLAIN},
     "3.141592653589793",
     "3.141592653589793",
     0,
     NULL},
    {"a quoted double is taken", {.type = COLUMN_DOUBLE}, {PLAIN}, "\"1e-3\"", "1e-3", 0, NULL},
    {"an infinite double is refused",
     {.type = COLUMN_DOUBLE},
     {PLAIN},
     "1e400",
     NULL,
     1208,
     "float8"},
    {"a vanishing double is refused",
     {.type = COLUMN_DOUBLE},
     {PLAIN},
     "1e-400",
     NULL,
     1208,
     "float8"},
    {"a real has a smaller range", {.type = COLUMN_REAL}, {PLAIN}, "1e39", NULL, 1208, "float4"},
    {"NaN is refused", {.type = COLUMN_DOUBLE}, {PLAIN}, "\"NaN\"", NULL, 1208, "Double"},
    {"a blank inside a number is refused",
     {.type = COLUMN_DOUBLE},
     {PLAIN},
     "\"1e 5\"",
     NULL,
     1208,
     "Pos 2"},
    {"true is true", {.type = COLUMN_BOOLEAN}, {PLAIN}, "true", "t", 0, NULL},
    {"no is false", {.type = COLUMN_BOOLEAN}, {PLAIN}, "\"No\"", "f", 0, NULL},
    {"1 is true", {.type = COLUMN_BOOLEAN}, {PLAIN}, "1", "t", 0, NULL},
    {"2 is no boolean", {.type = COLUMN_BOOLEAN}, {PLAIN}, "2", NULL, 1210, "boolean"},

    /* character types */
    {"a string is stored", {VARCHAR(10)}, {PLAIN}, "\"abc\"", "abc", 0, NULL},
    {"an empty string stays empty", {VARCHAR(10)}, {PLAIN}, "\"\"", "", 0, NULL},
    {"EMPTYASNULL makes it NULL", {VARCHAR(10)}, {.empty_as_null = true}, "\"\"", "\\N", 0, NULL},
    {"BLANKSASNULL makes blanks NULL",
     {VARCHAR(10)},
     {.blanks_as_null = true},
     "\"  \"",
     "\\N",
     0,
     NULL},
    {"TRIMBLANKS takes trailing blanks",
     {VARCHAR(10)},
     {.trim_blanks = true},
     "\" a  \"",
     " a",
     0,
     NULL},
    {"a number keeps its text", {VARCHAR(10)}, {PLAIN}, "1.50", "1.50", 0, NULL},
    {"a literal keeps its word", {VARCHAR(10)}, {PLAIN}, "false", "false", 0, NULL},
    {"an object is stored as its text",
     {VARCHAR(99)},
     {PLAIN},
     "{ \"a\": [1, \"x\\n\"] }",
     "{ \"a\": [1, \"x\\\\n\"] }",
     0,
     NULL},
    {"escapes are decoded and escaped for PostgreSQL",
     {VARCHAR(99)},
     {PLAIN},
     "\"a\\\"b\\\\c\\/d\\b\\f\\n\\r\\t\\u0041\"",
     "a\"b\\\\c/d\b\f\\n\\r\\tA",
     0,
     NULL},
    {"the two letters that mean NULL to PostgreSQL stay letters",
     {VARCHAR(9)},
     {PLAIN},
     "\"\\\\N\"",
     "\\\\N",
     0,
     NULL},
    {"length is counted in bytes",
     {VARCHAR(3)},
     {PLAIN},
     "\"\xC3\xA9\xC3\xA9\"",
     NULL,
     1204,
     "String length exceeds DDL length"},
    {"an emoji needs four bytes",
     {VARCHAR(4)},
     {PLAIN},
     "\"\\ud83d\\ude00\"",
     "\xF0\x9F\x98\x80",
     0,
     NULL},
    {"excess blanks are cut silently", {VARCHAR(3)}, {PLAIN}, "\"abc   \"", "abc", 0, NULL},
    {"other excess is an error",
     {VARCHAR(3)},
     {PLAIN},
     "\"abcd\"",
     NULL,
     1204,
     "String length exceeds DDL length"},
    {"TRUNCATECOLUMNS cuts it",
     {VARCHAR(3)},
     {.truncate_columns = true},
     "\"abcd\"",
     "abc",
     0,
     NULL},
    {"and never inside a character",
     {VARCHAR(4)},
     {.truncate_columns = true},
     "\"abc\xE2\x82\xAC\"",
     "abc",
     0,
     NULL},
    {"a leading NUL is an error",
     {VARCHAR(9)},
     {PLAIN},
     "\"\\u0000abc\"",
     NULL,
     1218,
     "Invalid null byte - field longer than 1 byte"},
    {"a later NUL cuts the value", {VARCHAR(9)}, {PLAIN}, "\"ab\\u0000cd\"", "ab", 0, NULL},
    {"a bad first byte has sub-code 3",
     {VARCHAR(9)},
     {PLAIN},
     "\"x\xA4\"",
     NULL,
     1220,
     "Bad UTF-8 hex sequence: a4 (error 3)"},
    {"a cut sequence has sub-code 2",
     {VARCHAR(9)},
     {PLAIN},
     "\"\xE2\x82\"",
     NULL,
     1220,
     "e2 82 (error 2)"},
    {"a five-byte lead has sub-code 1",
     {VARCHAR(9)},
     {PLAIN},
     "\"\xF8\x88\x80\x80\x80\"",
     NULL,
     1220,
     "(error 1)"},
    {"a lone surrogate escape is refused",
     {VARCHAR(9)},
     {PLAIN},
     "\"\\ud83d!\"",
     NULL,
     1220,
     "ed a0 bd (error 5)"},
    {"an overlong form is refused", {VARCHAR(9)}, {PLAIN}, "\"\xC0\xAF\"", NULL, 1220, "(error 7)"},
    {"a noncharacter is stored",
     {VARCHAR(9)},
     {PLAIN},
     "\"\xEF\xBF\xBF\"",
     "\xEF\xBF\xBF",
     0,
     NULL},
    {"ACCEPTINVCHARS replaces each byte",
     {VARCHAR(9)},
     {.accept_invalid_char = '?'},
     "\"a\xE2\x82z\\ud83d\"",
     "a??z???",
     0,
     NULL},
    {"and noncharacters too",
     {VARCHAR(9)},
     {.accept_invalid_char = '#'},
     "\"\xEF\xBF\xBF\"",
     "###",
     0,
     NULL},
    {"CHAR takes ASCII only",
     {CHAR(9)},
     {PLAIN},
     "\"\xC3\xA9\"",
     NULL,
     1215,
     "Multibyte character"},
    {"CHAR names its own length",
     {CHAR(2)},
     {PLAIN},
     "\"abc\"",
     NULL,
     1204,
     "Char length exceeds DDL length"},

    /* dates and times */
    {"a date is taken", {.type = COLUMN_DATE}, {PLAIN}, "\"2024-02-29\"", "2024-02-29", 0, NULL},
    {"a day that does not exist is refused",
     {.type = COLUMN_DATE},
     {PLAIN},
     "\"2023-02-29\"",
     NULL,
     1205,
     "Invalid Date Format"},
    {"a short date is named so",
     {.type = COLUMN_DATE},
     {PLAIN},
     "\"2023-1-1\"",
     NULL,
     1205,
     "length must be 10 or more"},
    {"ACCEPTANYDATE makes it NULL",
     {.type = COLUMN_DATE},
     {AUTO, .accept_any_date = true},
     "\"soon\"",
     "\\N",
     0,
     NULL},
    {"auto ignores the time of a date",
     {.type = COLUMN_DATE},
     {AUTO},
     "\"2019-02-11T05:09:12.195Z\"",
     "2019-02-11",
     0,
     NULL},
    {"the default timestamp has a blank",
     {.type = COLUMN_TIMESTAMP},
     {PLAIN},
     "\"2019-02-11 05:09:12\"",
     "2019-02-11 05:09:12.000000",
     0,
     NULL},
    {"the default refuses T",
     {.type = COLUMN_TIMESTAMP},
     {PLAIN},
     "\"2019-02-11T05:09:12\"",
     NULL,
     1206,
     "Invalid timestamp format or value [YYYY-MM-DD HH24:MI:SS]"},
    {"auto takes T and Z",
     {.type = COLUMN_TIMESTAMPTZ},
     {AUTO},
     "\"2019-02-11T05:09:12.195Z\"",
     "2019-02-11 05:09:12.195000+00:00",
     0,
     NULL},
    {"auto takes an offset",
     {.type = COLUMN_TIMESTAMPTZ},
     {AUTO},
     "\"2019-02-11 05:09:12-0730\"",
     "2019-02-11 05:09:12.000000-07:30",
     0,
     NULL},
    {"auto takes hours of offset alone",
     {.type = COLUMN_TIMESTAMPTZ},
     {AUTO},
     "\"1997-12-17 07:37:16-08\"",
     "1997-12-17 07:37:16.000000-08:00",
     0,
     NULL},
    {"a timestamp ignores the zone",
     {.type = COLUMN_TIMESTAMP},
     {AUTO},
     "\"2019-02-11T05:09:12+02:00\"",
     "2019-02-11 05:09:12.000000",
     0,
     NULL},
    {"no seconds are no trouble",
     {.type = COLUMN_TIMESTAMP},
     {AUTO},
     "\"2019-02-11T05:09Z\"",
     "2019-02-11 05:09:00.000000",
     0,
     NULL},
    {"a date is midnight",
     {.type = COLUMN_TIMESTAMPTZ},
     {AUTO},
     "\"2019-02-11\"",
     "2019-02-11 00:00:00.000000+00:00",
     0,
     NULL},
    {"a compact form is taken",
     {.type = COLUMN_TIMESTAMP},
     {AUTO},
     "\"19960108 040809\"",
     "1996-01-08 04:08:09.000000",
     0,
     NULL},
    {"six digits of fraction are the most",
     {.type = COLUMN_TIMESTAMPTZ},
     {AUTO},
     "\"2019-02-11T05:09:12.1234567Z\"",
     NULL,
     1206,
     "[auto]"},
    {"a lower-case z is refused",
     {.type = COLUMN_TIMESTAMPTZ},
     {AUTO},
     "\"2019-02-11T05:09:12z\"",
     NULL,
     1206,
     "[auto]"},
    {"an epoch is not recognised",
     {.type = COLUMN_TIMESTAMP},
     {AUTO},
     "1549861752",
     NULL,
     1206,
     "[auto]"},
    {"the word now is not recognised",
     {.type = COLUMN_TIMESTAMP},
     {AUTO},
     "\"now\"",
     NULL,
     1206,
     "[auto]"},
    {"epochsecs reads one",
     {.type = COLUMN_TIMESTAMP},
     {.time_format = COPY_TIME_EPOCH_SECONDS},
     "1549861752",
     "2019-02-11 05:09:12.000000",
     0,
     NULL},
    {"epochmillisecs reads one",
     {.type = COLUMN_TIMESTAMPTZ},
     {.time_format = COPY_TIME_EPOCH_MILLISECONDS},
     "\"1549861752195\"",
     "2019-02-11 05:09:12.195000+00:00",
     0,
     NULL},
    {"hour 25 is refused",
     {.type = COLUMN_TIMESTAMP},
     {AUTO},
     "\"2019-02-11T25:00:00\"",
     NULL,
     1206,
     "[auto]"},

    /* SUPER */
    {"a document becomes compact",
     {.type = COLUMN_SUPER},
     {PLAIN},
     "{ \"B\" : [ 1 , true , null ] , \"a\" : { } }",
     "{\"B\":[1,true,null],\"a\":{}}",
     0,
     NULL},
    {"a string is a scalar, not parsed again",
     {.type = COLUMN_SUPER},
     {PLAIN},
     "\"[1]\"",
     "\"[1]\"",
     0,
     NULL},
    {"an empty string stays a scalar",
     {.type = COLUMN_SUPER},
     {.empty_as_null = true},
     "\"\"",
     "\"\"",
     0,
     NULL},
    {"an empty array stays one", {.type = COLUMN_SUPER}, {PLAIN}, "[ ]", "[]", 0, NULL},
    {"null is NULL for SUPER too", {.type = COLUMN_SUPER}, {PLAIN}, "null", "\\N", 0, NULL},
    {"escapes survive two languages",
     {.type = COLUMN_SUPER},
     {PLAIN},
     "\"a\\\"\\\\\\n\\u00e9\"",
     "\"a\\\\\"\\\\\\\\\\\\u000a\xC3\xA9\"",
     0,
     NULL},
    {"64-bit integers stay exact",
     {.type = COLUMN_SUPER},
     {PLAIN},
     "[9223372036854775807]",
     "[9223372036854775807]",
     0,
     NULL},
    {"wider ones become doubles of 15 digits",
     {.type = COLUMN_SUPER},
     {PLAIN},
     "[170141183460469231731687303715884105727]",
     "[1.70141183460469e+38]",
     0,
     NULL},
    {"one more than 64 bit is wider",
     {.type = COLUMN_SUPER},
     {PLAIN},
     "-9223372036854775809",
     "-9.22337203685478e+18",
     0,
     NULL},
    {"a number beyond doubles is refused",
     {.type = COLUMN_SUPER},
     {PLAIN},
     "[1e999]",
     NULL,
     1224,
     "out of range"},
    {"a duplicate attribute is refused",
     {.type = COLUMN_SUPER},
     {PLAIN},
     "{\"a\":{\"x\":1,\"y\":2,\"\\u0078\":3}}",
     NULL,
     1224,
     "Duplicate attribute"},
    {"the same attribute in two objects is none",
     {.type = COLUMN_SUPER},
     {PLAIN},
     "[{\"a\":1},{\"a\":{\"a\":2}}]",
     "[{\"a\":1},{\"a\":{\"a\":2}}]",
     0,
     NULL},
    {"attributes differ by case",
     {.type = COLUMN_SUPER},
     {PLAIN},
     "{\"a\":1,\"A\":2}",
     "{\"a\":1,\"A\":2}",
     0,
     NULL},
    {"a NUL in SUPER is refused",
     {.type = COLUMN_SUPER},
     {PLAIN},
     "{\"a\":\"x\\u0000\"}",
     NULL,
     1224,
     "null byte"},
    {"bad UTF-8 in SUPER is refused",
     {.type = COLUMN_SUPER},
     {PLAIN},
     "{\"a\":\"\xFF\"}",
     NULL,
     1220,
     "(error 3)"},

    /* VARBYTE */
    {"hex becomes bytes", {VARBYTE(4)}, {PLAIN}, "\"00fFa1\"", "\\\\x00fFa1", 0, NULL},
    {"half a byte is refused", {VARBYTE(4)}, {PLAIN}, "\"abc\"", NULL, 1219, "Odd number"},
    {"base64 is refused", {VARBYTE(9)}, {PLAIN}, "\"SGVs\"", NULL, 1219, "hex"},
    {"too many bytes are refused", {VARBYTE(1)}, {PLAIN}, "\"abcd\"", NULL, 1204, "exceeds"},
};

static void values_are_converted_as_redshift_does(void **state)
{
    (void)state;
    struct copy_convert c = {0};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *row = &rows[i];
        c.st = &row->st;
        struct json_value value;
        const char *bad;
        const char *end = row->json + strlen(row->json);
        if (json_read_value(row->json, end, &value, &bad) != end) {
            fail_msg("%s: the row itself is no JSON", row->sentence);
        }
        struct bytes out = {0};
        bool ok = copy_convert_value(&c, &row->column, &value, &out);
        const char *got = bytes_text(&out);
        if (row->field != NULL) {
            if (!ok || strcmp(got, row->field) != 0) {
                fail_msg("%s: wanted %s, got %s", row->sentence, row->field,
                         ok ? got : c.fault.message);
            }
        } else if (ok || c.fault.code != row->code || strstr(c.fault.message, row->words) == NULL) {
            fail_msg("%s: wanted %d, got %d %s", row->sentence, row->code, ok ? 0 : c.fault.code,
                     ok ? got : c.fault.message);
        }
        bytes_done(&out);
    }
    copy_convert_done(&c);
}

/* Converts "xxx...x" plus one 2-byte character at the border of 65,535 bytes. */
static bool convert_long(struct copy_convert *c, enum column_type type, struct bytes *out)
{
    struct bytes json = {0};
    bytes_put_char(&json, '"');
    for (int i = 0; i < 65534; i++) {
        bytes_put_char(&json, 'x');
    }
    bytes_put_text(&json, "\xC3\xA9\"");
    const char *text = bytes_text(&json);
    struct json_value value;
    const char *bad;
    assert_non_null(json_read_value(text, text + json.len, &value, &bad));
    struct copy_column column = {.type = type, .length = 65535};
    bool ok = copy_convert_value(c, &column, &value, out);
    bytes_done(&json);
    return ok;
}

static void long_strings_in_super_are_refused_or_cut_by_the_setting(void **state)
{
    (void)state;
    struct copy_statement st = {0};
    struct copy_convert c = {.st = &st};
    struct bytes out = {0};
    assert_false(convert_long(&c, COLUMN_SUPER, &out));
    assert_int_equal(c.fault.code, 1224);
    c.truncate_super_strings = true;
    out.len = 0;
    assert_true(convert_long(&c, COLUMN_SUPER, &out));
    assert_int_equal(out.len, 65534 + 2); /* the two-byte character would end at 65,536 */
    st.truncate_columns = true;
    out.len = 0;
    assert_true(convert_long(&c, COLUMN_VARCHAR, &out));
    assert_int_equal(out.len, 65534);
    bytes_done(&out);
    copy_convert_done(&c);
}

static void many_attributes_are_all_compared(void **state)
{
    (void)state;
    struct copy_statement st = {0};
    struct copy_convert c = {.st = &st};
    struct copy_column column = {.type = COLUMN_SUPER};
    for (int twice = 0; twice <= 1; twice++) {
        struct bytes json = {0}, out = {0};
        for (int i = 0; i < 3000; i++) {
            bytes_printf(&json, "%c\"key%d\":%d", i == 0 ? '{' : ',', i, i);
        }
        bytes_put_text(&json, twice ? ",\"key17\":0}" : "}");
        const char *text = bytes_text(&json);
        struct json_value value;
        const char *bad;
        assert_non_null(json_read_value(text, text + json.len, &value, &bad));
        assert_int_equal(copy_convert_value(&c, &column, &value, &out), twice == 0);
        bytes_done(&json);
        bytes_done(&out);
    }
    assert_int_equal(c.fault.code, 1224);
    copy_convert_done(&c);
}

static bool answer_fixed(void *ctx, enum column_type type, struct piece text, struct bytes *to)
{
    int *calls = ctx;
    (*calls)++;
    assert_int_equal(type, COLUMN_TIMESTAMP);
    assert_true(piece_is(text, "17 Dec 07:37:16 1997 PST"));
    bytes_put_text(to, "1997-12-17 07:37:16");
    return true;
}

static void other_forms_of_time_are_left_to_a_cast_by_the_server(void **state)
{
    (void)state;
    int calls = 0;
    struct copy_statement st = {AUTO};
    struct copy_convert c = {.st = &st, .cast = answer_fixed, .cast_ctx = &calls};
    struct copy_column column = {.type = COLUMN_TIMESTAMP};
    static const char *const texts[] = {"\"17 Dec 07:37:16 1997 PST\"", "\"infinity\"",
                                        "\"yesterday\"", "\"12.17.1997 07:37:16.1234567 PST\"",
                                        "1549861752"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct json_value value;
        const char *bad;
        struct bytes out = {0};
        assert_non_null(json_read_value(texts[i], texts[i] + strlen(texts[i]), &value, &bad));
        assert_int_equal(copy_convert_value(&c, &column, &value, &out), i == 0);
        bytes_done(&out);
    }
    assert_int_equal(calls, 1);
    copy_convert_done(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_converted_as_redshift_does),
        cmocka_unit_test(long_strings_in_super_are_refused_or_cut_by_the_setting),
        cmocka_unit_test(many_attributes_are_all_compared),
        cmocka_unit_test(other_forms_of_time_are_left_to_a_cast_by_the_server),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
