/* Results on their way to the client: compact SUPER, VARBYTE without \x, Redshift's OIDs. */
#include "sandbox/session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct {
    const char *sentence;
    const char *jsonb;
    const char *super;
} texts[] = {
    {"blanks between values go", "{\"a\": [1, true, null], \"b\": {}}",
     "{\"a\":[1,true,null],\"b\":{}}"},
    {"blanks in strings stay", "{\"a b\": \"c, d: e\"}", "{\"a b\":\"c, d: e\"}"},
    {"an escaped quote does not end a string", "[\"a\\\" , b\", 1]", "[\"a\\\" , b\",1]"},
    {"an escaped backslash does not escape", "[\"a\\\\\", \"b , c\"]", "[\"a\\\\\",\"b , c\"]"},
    {"decimals keep their digits", "[1.50, -0.1]", "[1.50,-0.1]"},
    {"64-bit integers stay exact", "[9223372036854775807, -9223372036854775807]",
     "[9223372036854775807,-9223372036854775807]"},
    {"wider integers become doubles of 15 digits", "170141183460469231731687303715884105727",
     "1.70141183460469e+38"},
    {"2^63 is wider", "9223372036854775808", "9.22337203685478e+18"},
    {"digits in strings are no numbers", "\"170141183460469231731687303715884105727\"",
     "\"170141183460469231731687303715884105727\""},
};

static void test_super_is_compact_json(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct bytes out = {0};
        rows_compact_json(texts[i].jsonb, strlen(texts[i].jsonb), &out);
        if (strcmp(bytes_text(&out), texts[i].super) != 0) {
            fail_msg("%s: got %s", texts[i].sentence, out.at);
        }
        bytes_done(&out);
    }
}

static void test_type_oids_are_redshifts(void **state)
{
    struct session s = {.super_oid = 20001, .varbyte_oid = 20002};

    (void)state;
    assert_int_equal(rows_type_oid(&s, 20001, -1), 4000);
    assert_int_equal(rows_type_oid(&s, 20002, -1), 6551);
    assert_int_equal(rows_type_oid(&s, 25, -1), 1043);
    assert_int_equal(rows_type_oid(&s, 1042, -1), 1043);
    assert_int_equal(rows_type_oid(&s, 1042, 14), 1042);
    assert_int_equal(rows_type_oid(&s, 20, -1), 20);
}

static void put_value(struct bytes *row, const char *text)
{
    wire_put_int32(row, (int32_t)strlen(text));
    bytes_put_text(row, text);
}

static void test_values_are_converted_by_column(void **state)
{
    static const enum column_form columns[] = {COLUMN_VARBYTE, COLUMN_SUPER, COLUMN_AS_IS,
                                               COLUMN_SUPER};
    struct bytes row = {0};
    struct bytes wanted = {0};
    struct bytes out = {0};

    (void)state;
    wire_put_int16(&row, 4);
    put_value(&row, "\\x6162");
    put_value(&row, "{\"a\": 1}");
    put_value(&row, "\\x6162");
    wire_put_int32(&row, -1);
    wire_put_int16(&wanted, 4);
    put_value(&wanted, "6162");
    put_value(&wanted, "{\"a\":1}");
    put_value(&wanted, "\\x6162");
    wire_put_int32(&wanted, -1);
    rows_convert((const unsigned char *)row.at, row.len, columns, 4, NULL, 0, &out);
    assert_int_equal(out.len, wanted.len);
    assert_memory_equal(out.at, wanted.at, wanted.len);
    bytes_done(&row);
    bytes_done(&wanted);
    bytes_done(&out);
}

static void test_a_truncated_row_is_no_reason_to_read_beyond_it(void **state)
{
    static const enum column_form columns[] = {COLUMN_SUPER, COLUMN_SUPER};
    struct bytes row = {0};
    struct bytes out = {0};

    (void)state;
    wire_put_int16(&row, 2);
    wire_put_int32(&row, 2);
    bytes_put_text(&row, "{}");
    unsigned char *exact = malloc(row.len);
    assert_non_null(exact);
    memcpy(exact, row.at, row.len);
    rows_convert(exact, row.len, columns, 2, NULL, 0, &out);
    assert_true(out.len >= 2 + 4 + 2);
    free(exact);
    bytes_done(&row);
    bytes_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_super_is_compact_json),
        cmocka_unit_test(test_type_oids_are_redshifts),
        cmocka_unit_test(test_values_are_converted_by_column),
        cmocka_unit_test(test_a_truncated_row_is_no_reason_to_read_beyond_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
