/* proto/tuple: packed tuples and arrays to values. The packed vectors are those that FoundationDB's
 * own encoder makes. */

#include "proto/tuple.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NULL_                                                                                      \
    {                                                                                              \
        .kind = VALUE_NULL                                                                         \
    }
#define FALSE_                                                                                     \
    {                                                                                              \
        .kind = VALUE_FALSE                                                                        \
    }
#define TRUE_                                                                                      \
    {                                                                                              \
        .kind = VALUE_TRUE                                                                         \
    }
#define INT_(n)                                                                                    \
    {                                                                                              \
        .kind = VALUE_INT, .number.i = (n)                                                         \
    }
#define UINT_(n)                                                                                   \
    {                                                                                              \
        .kind = VALUE_UINT, .number.u = (n)                                                        \
    }
#define DOUBLE_(n)                                                                                 \
    {                                                                                              \
        .kind = VALUE_DOUBLE, .number.d = (n)                                                      \
    }
#define NUMBER_(t)                                                                                 \
    {                                                                                              \
        .kind = VALUE_NUMBER, .text = {(t), sizeof(t) - 1 }                                        \
    }
#define STRING_(t)                                                                                 \
    {                                                                                              \
        .kind = VALUE_STRING, .text = {(t), sizeof(t) - 1 }                                        \
    }
#define JSON_(t)                                                                                   \
    {                                                                                              \
        .kind = VALUE_JSON, .text = {(t), sizeof(t) - 1 }                                          \
    }

static bool same_value(const struct value *a, const struct value *b)
{
    if (a->kind != b->kind) {
        return false;
    }
    switch (a->kind) {
    case VALUE_NULL:
    case VALUE_FALSE:
    case VALUE_TRUE:
        return true;
    case VALUE_INT:
    case VALUE_UINT:
        return a->number.u == b->number.u;
    case VALUE_DOUBLE: /* by bits: -0.0 is not 0.0 */
        return memcmp(&a->number.d, &b->number.d, sizeof(double)) == 0;
    case VALUE_NUMBER:
    case VALUE_STRING:
    case VALUE_JSON:
        return span_equal(a->text, b->text);
    }
    return false;
}

/* Memory of exactly len bytes, so that a sanitizer sees a step behind it. */
static char *exact_copy(const void *bytes, size_t len)
{
    char *copy = malloc(len ? len : 1);

    assert_non_null(copy);
    memcpy(copy, bytes, len);
    return copy;
}

static size_t from_hex(const char *hex, char *out)
{
    size_t len = 0;

    for (; *hex; hex++) {
        if (*hex != ' ') {
            const char pair[3] = {hex[0], hex[1], '\0'};
            out[len++] = (char)(unsigned char)strtoul(pair, NULL, 16);
            hex++;
        }
    }
    return len;
}

static void packed_values_are_read(void **state)
{
    static const struct {
        const char *why, *hex;
        unsigned count;
        struct value want[5];
    } rows[] = {
        {"null", "00", 1, {NULL_}},
        {"false", "26", 1, {FALSE_}},
        {"true", "27", 1, {TRUE_}},
        {"zero", "14", 1, {INT_(0)}},
        {"1", "15 01", 1, {INT_(1)}},
        {"255", "15 ff", 1, {INT_(255)}},
        {"256, whose last byte is data", "16 01 00", 1, {INT_(256)}},
        {"65535", "16 ff ff", 1, {INT_(65535)}},
        {"65536", "17 01 00 00", 1, {INT_(65536)}},
        {"2^32 - 1", "18 ff ff ff ff", 1, {INT_(INT64_C(4294967295))}},
        {"2^32", "19 01 00 00 00 00", 1, {INT_(INT64_C(4294967296))}},
        {"2^40", "1a 01 00 00 00 00 00", 1, {INT_(INT64_C(1) << 40)}},
        {"2^48", "1b 01 00 00 00 00 00 00", 1, {INT_(INT64_C(1) << 48)}},
        {"2^56", "1c 01 00 00 00 00 00 00 00", 1, {INT_(INT64_C(1) << 56)}},
        {"2^63 - 1", "1c 7f ff ff ff ff ff ff ff", 1, {INT_(INT64_MAX)}},
        {"2^63", "1c 80 00 00 00 00 00 00 00", 1, {UINT_(UINT64_C(1) << 63)}},
        {"2^64 - 1", "1c ff ff ff ff ff ff ff ff", 1, {UINT_(UINT64_MAX)}},
        {"-1", "13 fe", 1, {INT_(-1)}},
        {"-30", "13 e1", 1, {INT_(-30)}},
        {"-255", "13 00", 1, {INT_(-255)}},
        {"-256", "12 fe ff", 1, {INT_(-256)}},
        {"-257", "12 fe fe", 1, {INT_(-257)}},
        {"-65536", "11 fe ff ff", 1, {INT_(-65536)}},
        {"-2^31", "10 7f ff ff ff", 1, {INT_(INT64_C(-2147483648))}},
        {"-(2^63 - 1)", "0c 80 00 00 00 00 00 00 00", 1, {INT_(-INT64_MAX)}},
        {"-2^63", "0c 7f ff ff ff ff ff ff ff", 1, {INT_(INT64_MIN)}},
        {"-2^63 - 1, beyond 64 bits",
         "0c 7f ff ff ff ff ff ff fe",
         1,
         {NUMBER_("-9223372036854775809")}},
        {"-(2^64 - 1)", "0c 00 00 00 00 00 00 00 00", 1, {NUMBER_("-18446744073709551615")}},
        {"2^64", "1d 09 01 00 00 00 00 00 00 00 00", 1, {NUMBER_("18446744073709551616")}},
        {"-2^64", "0b f6 fe ff ff ff ff ff ff ff ff", 1, {NUMBER_("-18446744073709551616")}},
        {"10^27",
         "1d 0c 03 3b 2e 3c 9f d0 80 3c e8 00 00 00",
         1,
         {NUMBER_("1000000000000000000000000000")}},
        {"0.0", "21 80 00 00 00 00 00 00 00", 1, {DOUBLE_(0.0)}},
        {"-0.0", "21 7f ff ff ff ff ff ff ff", 1, {DOUBLE_(-0.0)}},
        {"1.0", "21 bf f0 00 00 00 00 00 00", 1, {DOUBLE_(1.0)}},
        {"-1.0", "21 40 0f ff ff ff ff ff ff", 1, {DOUBLE_(-1.0)}},
        {"1.3", "21 bf f4 cc cc cc cc cc cd", 1, {DOUBLE_(1.3)}},
        {"-2.5", "21 3f fb ff ff ff ff ff ff", 1, {DOUBLE_(-2.5)}},
        {"a float of 1.5", "20 bf c0 00 00", 1, {DOUBLE_(1.5)}},
        {"a float of -1.5", "20 40 3f ff ff", 1, {DOUBLE_(-1.5)}},
        {"an empty string", "02 00", 1, {STRING_("")}},
        {"foo", "02 66 6f 6f 00", 1, {STRING_("foo")}},
        {"a string with a NUL", "02 61 00 ff 62 00", 1, {STRING_("a\0b")}},
        {"a string of NULs", "02 00 ff 00 ff 00", 1, {STRING_("\0\0")}},
        {"a NUL at the end", "02 61 00 ff 00", 1, {STRING_("a\0")}},
        {"UTF-8", "02 c3 a9 00", 1, {STRING_("\xc3\xa9")}},
        {"an object", "01 7b 22 61 22 3a 31 7d 00", 1, {JSON_("{\"a\":1}")}},
        {"an array", "01 5b 22 66 6f 6f 22 5d 00", 1, {JSON_("[\"foo\"]")}},
        {"a pair", "15 2a 02 68 69 00", 2, {INT_(42), STRING_("hi")}},
        {"five",
         "02 61 63 6d 65 00 13 f8 27 00 21 c0 04 00 00 00 00 00 00",
         5,
         {STRING_("acme"), INT_(-7), TRUE_, NULL_, DOUBLE_(2.5)}},
        {"text with NUL, number, object",
         "02 6b 00 ff 00 16 01 2c 01 7b 22 78 22 3a 5b 31 2c 32 5d 7d 00",
         3,
         {STRING_("k\0"), INT_(300), JSON_("{\"x\":[1,2]}")}},
        {"several that need scratch",
         "02 00 ff 00 0c 00 00 00 00 00 00 00 00 02 61 00 ff 00",
         3,
         {STRING_("\0"), NUMBER_("-18446744073709551615"), STRING_("a\0")}},
        {"no elements", "", 0, {NULL_}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char bytes[64];
        struct value got[5];
        struct buf scratch;
        const size_t len = from_hex(rows[i].hex, bytes);
        char *packed = exact_copy(bytes, len);
        const struct proto_tuple tuple = {.packed = {packed, len}};

        buf_init(&scratch, 1024);
        struct error *err = tuple_read(&tuple, got, rows[i].count, &scratch);
        if (err) {
            fail_msg("%s: %s", rows[i].why, error_text(err));
        }
        for (unsigned v = 0; v < rows[i].count; v++) {
            if (!same_value(&got[v], &rows[i].want[v])) {
                fail_msg("%s: element %u is another value, \"%.*s\"", rows[i].why, v,
                         got[v].kind >= VALUE_NUMBER ? (int)got[v].text.len : 0,
                         got[v].kind >= VALUE_NUMBER ? got[v].text.ptr : "");
            }
        }
        /* One element fewer or more is not what was promised. */
        if (rows[i].count > 0) {
            err = tuple_read(&tuple, got, rows[i].count - 1, &scratch);
            assert_non_null(err);
            error_free(err);
        }
        if (rows[i].count < 5) {
            err = tuple_read(&tuple, got, rows[i].count + 1, &scratch);
            assert_non_null(err);
            error_free(err);
        }
        buf_done(&scratch);
        free(packed);
    }
}

static void malformed_tuples_are_refused_by_index(void **state)
{
    static const struct {
        const char *why, *hex;
        unsigned count;
        const char *error;
    } rows[] = {
        {"nothing where one is expected", "", 1, "ends before element 0, expected 1"},
        {"one of two", "15 01", 2, "ends before element 1, expected 2"},
        {"two of one", "15 01 00", 1, "goes on with element 1, expected 1"},
        {"one of none", "00", 0, "goes on with element 0, expected 0"},
        {"a string without end", "14 02 66 6f", 2, "element 1 of the tuple: a text has no end"},
        {"a string that ends in an escape", "02 66 00 ff", 1, "element 0 of the tuple: a text has"},
        {"an object without end", "01 7b", 1, "a text has no end"},
        {"an integer cut off", "17 01 02", 1, "an integer is cut off"},
        {"a negative one cut off", "0c 7f", 1, "an integer is cut off"},
        {"a long one without length", "1d", 1, "an integer is cut off"},
        {"a long one cut off", "1d 09 01 00", 1, "an integer is cut off"},
        {"a negative long one cut off", "0b f6 01", 1, "an integer is cut off"},
        {"a long one that is short", "1d 01 05", 1, "not in its shortest form"},
        {"a long one with a leading zero", "1d 09 00 01 00 00 00 00 00 00 00", 1,
         "not in its shortest form"},
        {"a double cut off", "21 80 00", 1, "a double is cut off"},
        {"a double that is infinite", "21 ff f0 00 00 00 00 00 00", 1, "a double is not finite"},
        {"a double that is no number", "21 ff f8 00 00 00 00 00 00", 1, "a double is not finite"},
        {"a float cut off", "20 80", 1, "a float is cut off"},
        {"a float that is infinite", "20 ff 80 00 00", 1, "a float is not finite"},
        {"a nested tuple", "05 15 01 00", 1, "its type code is none"},
        {"a uuid", "30 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00", 1, "its type code"},
        {"a versionstamp", "33 00 00 00 00 00 00 00 00 00 00 00 00", 1, "its type code"},
        {"code 03", "03", 1, "its type code"},
        {"code 0a", "0a", 1, "its type code"},
        {"code 1e", "1e", 1, "its type code"},
        {"code ff", "ff", 1, "its type code"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char bytes[64];
        struct value got[2];
        struct buf scratch;
        const size_t len = from_hex(rows[i].hex, bytes);
        char *packed = exact_copy(bytes, len);

        buf_init(&scratch, 1024);
        struct error *err =
            tuple_read_packed((struct span){packed, len}, got, rows[i].count, &scratch);
        if (!err || !strstr(error_text(err), rows[i].error)) {
            fail_msg("%s: %s", rows[i].why, err ? error_text(err) : "accepted");
        }
        assert_int_equal(error_code_of(err), ERROR_PROTOCOL);
        error_free(err);
        buf_done(&scratch);
        free(packed);
    }
}

static void arrays_are_read(void **state)
{
    static const struct {
        const char *why, *json;
        unsigned count;
        struct value want[5];
    } rows[] = {
        {"no elements", "[]", 0, {NULL_}},
        {"a pair", "[42,\"hi\"]", 2, {INT_(42), STRING_("hi")}},
        {"words", " [ null , true , false ] ", 3, {NULL_, TRUE_, FALSE_}},
        {"64 bits",
         "[9223372036854775807,-9223372036854775808,9223372036854775808,18446744073709551615]",
         4,
         {INT_(INT64_MAX), INT_(INT64_MIN), UINT_(UINT64_C(1) << 63), UINT_(UINT64_MAX)}},
        {"2^53 + 1 is untouched", "[9007199254740993]", 1, {INT_(INT64_C(9007199254740993))}},
        {"numbers as written",
         "[2.50,-1e400,18446744073709551616,12345678901234567890123456789012345678]",
         4,
         {NUMBER_("2.50"), NUMBER_("-1e400"), NUMBER_("18446744073709551616"),
          NUMBER_("12345678901234567890123456789012345678")}},
        {"escapes",
         "[\"a\\u0000b\",\"\\ud83d\\ude00\",\"\\n\",\"plain\"]",
         4,
         {STRING_("a\0b"), STRING_("\xf0\x9f\x98\x80"), STRING_("\n"), STRING_("plain")}},
        {"nested",
         "[{\"x\":[1,2]},[\"foo\"],{}]",
         3,
         {JSON_("{\"x\":[1,2]}"), JSON_("[\"foo\"]"), JSON_("{}")}},
        {"nested ones are compacted",
         "[{ \"x\" : [1,\t2] },\"\\t\",[ \" \" ]]",
         3,
         {JSON_("{\"x\":[1,2]}"), STRING_("\t"), JSON_("[\" \"]")}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct value got[5];
        struct buf scratch;
        const size_t len = strlen(rows[i].json);
        char *json = exact_copy(rows[i].json, len);
        const struct proto_tuple tuple = {.json = {json, len}};

        buf_init(&scratch, 1024);
        struct error *err = tuple_read(&tuple, got, rows[i].count, &scratch);
        if (err) {
            fail_msg("%s: %s", rows[i].why, error_text(err));
        }
        for (unsigned v = 0; v < rows[i].count; v++) {
            if (!same_value(&got[v], &rows[i].want[v])) {
                fail_msg("%s: element %u is another value", rows[i].why, v);
            }
        }
        buf_done(&scratch);
        free(json);
    }
}

static void malformed_arrays_are_refused_by_index(void **state)
{
    static const struct {
        const char *why, *json;
        unsigned count;
        const char *error;
    } rows[] = {
        {"no array", "{\"a\":1}", 1, "element 0 of the tuple: invalid JSON: expected an array"},
        {"too few", "[1]", 2, "ends before element 1, expected 2"},
        {"too many", "[1,2]", 1, "goes on with element 1, expected 1"},
        {"a bad number", "[1,02]", 2, "element 2 of the tuple: invalid JSON"},
        {"a string without end", "[1,\"a]", 2, "element 1 of the tuple: invalid JSON"},
        {"no end", "[1", 1, "element 1 of the tuple: invalid JSON"},
        {"something behind", "[1]]", 1, "expected nothing more"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct value got[2];
        struct buf scratch;

        buf_init(&scratch, 1024);
        struct error *err = tuple_read_json(span_of(rows[i].json), got, rows[i].count, &scratch);
        if (!err || !strstr(error_text(err), rows[i].error)) {
            fail_msg("%s: %s", rows[i].why, err ? error_text(err) : "accepted");
        }
        assert_int_equal(error_code_of(err), ERROR_PROTOCOL);
        error_free(err);
        buf_done(&scratch);
    }
}

static void the_packed_form_goes_before_the_array(void **state)
{
    const struct proto_tuple both = {.packed = SPAN_LIT("\x15\x01"), .json = SPAN_LIT("[2]")};
    const struct proto_tuple array = {.packed = SPAN_LIT(""), .json = SPAN_LIT("[2]")};
    const struct proto_tuple none = {.packed = SPAN_NONE, .json = SPAN_NONE};
    struct value value;
    struct buf scratch;

    (void)state;
    buf_init(&scratch, 64);
    assert_null(tuple_read(&both, &value, 1, &scratch));
    assert_int_equal(value.number.i, 1);
    assert_null(tuple_read(&array, &value, 1, &scratch));
    assert_int_equal(value.number.i, 2);
    assert_null(tuple_read(&none, &value, 0, &scratch));
    struct error *err = tuple_read(&none, &value, 1, &scratch);
    assert_non_null(err);
    error_free(err);
    buf_done(&scratch);
}

static void scratch_that_may_not_grow_is_an_error(void **state)
{
    struct value value;
    struct buf scratch;

    (void)state;
    buf_init(&scratch, 4);
    struct error *err = tuple_read_packed(SPAN_LIT("\x02"
                                                   "a\0\xff"
                                                   "b\0"),
                                          &value, 1, &scratch);
    assert_non_null(err);
    assert_non_null(strstr(error_text(err), "too long"));
    error_free(err);
    buf_done(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packed_values_are_read),
        cmocka_unit_test(malformed_tuples_are_refused_by_index),
        cmocka_unit_test(arrays_are_read),
        cmocka_unit_test(malformed_arrays_are_refused_by_index),
        cmocka_unit_test(the_packed_form_goes_before_the_array),
        cmocka_unit_test(scratch_that_may_not_grow_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
