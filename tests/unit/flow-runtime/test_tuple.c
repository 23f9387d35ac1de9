/* Packed tuples against the published vectors. */
#include "harness.h"

#include "tuple.h"

static const struct {
    const char *sentence, *values, *hex;
} vectors[] = {
    {"null", "[null]", "00"},
    {"false", "[false]", "26"},
    {"true", "[true]", "27"},
    {"zero", "[0]", "14"},
    {"one", "[1]", "15 01"},
    {"the largest of one byte", "[255]", "15 ff"},
    {"a zero byte inside an integer is data", "[256]", "16 01 00"},
    {"the largest of two bytes", "[65535]", "16 ff ff"},
    {"the smallest of three bytes", "[65536]", "17 01 00 00"},
    {"the largest of four bytes", "[4294967295]", "18 ff ff ff ff"},
    {"the smallest of five bytes", "[4294967296]", "19 01 00 00 00 00"},
    {"2^40", "[1099511627776]", "1a 01 00 00 00 00 00"},
    {"2^48", "[281474976710656]", "1b 01 00 00 00 00 00 00"},
    {"2^56", "[72057594037927936]", "1c 01 00 00 00 00 00 00 00"},
    {"2^63 - 1", "[9223372036854775807]", "1c 7f ff ff ff ff ff ff ff"},
    {"2^63 is unsigned", "[9223372036854775808]", "1c 80 00 00 00 00 00 00 00"},
    {"2^64 - 1", "[18446744073709551615]", "1c ff ff ff ff ff ff ff ff"},
    {"minus one", "[-1]", "13 fe"},
    {"minus thirty", "[-30]", "13 e1"},
    {"-255", "[-255]", "13 00"},
    {"-256", "[-256]", "12 fe ff"},
    {"-257", "[-257]", "12 fe fe"},
    {"-65536", "[-65536]", "11 fe ff ff"},
    {"-2^31", "[-2147483648]", "10 7f ff ff ff"},
    {"-2^63 + 1", "[-9223372036854775807]", "0c 80 00 00 00 00 00 00 00"},
    {"-2^63 has its own pattern", "[-9223372036854775808]", "0c 7f ff ff ff ff ff ff ff"},
    {"0.0 is a double", "[0.0]", "21 80 00 00 00 00 00 00 00"},
    {"1.0 is a double", "[1.0]", "21 bf f0 00 00 00 00 00 00"},
    {"-1.0", "[-1.0]", "21 40 0f ff ff ff ff ff ff"},
    {"1.3", "[1.3]", "21 bf f4 cc cc cc cc cc cd"},
    {"-2.5", "[-2.5]", "21 3f fb ff ff ff ff ff ff"},
    {"empty string", "[\"\"]", "02 00"},
    {"string", "[\"foo\"]", "02 66 6f 6f 00"},
    {"NUL in a string is escaped", "[\"a\\u0000b\"]", "02 61 00 ff 62 00"},
    {"UTF-8", "[\"\xc3\xa9\"]", "02 c3 a9 00"},
    {"an object is bytes of JSON text", "[{\"a\":1}]", "01 7b 22 61 22 3a 31 7d 00"},
    {"an array is bytes of JSON text", "[[\"foo\"]]", "01 5b 22 66 6f 6f 22 5d 00"},
    {"two elements", "[42,\"hi\"]", "15 2a 02 68 69 00"},
    {"five elements", "[\"acme\",-7,true,null,2.5]",
     "02 61 63 6d 65 00 13 f8 27 00 21 c0 04 00 00 00 00 00 00"},
    {"NUL at the end, an inner zero byte, an object", "[\"k\\u0000\",300,{\"x\":[1,2]}]",
     "02 6b 00 ff 00 16 01 2c 01 7b 22 78 22 3a 5b 31 2c 32 5d 7d 00"},
};

static void values_pack_to_the_published_bytes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        struct fr_arena arena = {0};
        struct fr_buf packed = {0};
        const struct fr_json *values = parse(&arena, vectors[i].values);
        for (uint32_t k = 0; k < values->count; k++) {
            (void)fr_tuple_pack(&packed, values->items[k], NULL);
        }
        expect_bytes(vectors[i].sentence, &packed, vectors[i].hex);
        fr_buf_done(&packed);
        fr_arena_done(&arena);
    }
}

static void packed_bytes_read_back_as_the_same_values(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        struct fr_buf packed = {0};
        struct fr_buf text = {0};
        put_hex(&packed, vectors[i].hex);
        if (!fr_tuple_put_json(&text, packed.data, packed.len) ||
            strcmp(text.data, vectors[i].values) != 0) {
            fail_msg("%s: got %s", vectors[i].sentence, text.data);
        }
        fr_buf_done(&packed);
        fr_buf_done(&text);
    }
}

static void numbers_beyond_64_bits_become_doubles(void **state)
{
    (void)state;
    struct fr_arena arena = {0};
    struct fr_buf packed = {0};
    (void)fr_tuple_pack(&packed, parse(&arena, "18446744073709551616"), NULL);
    expect_bytes("2^64", &packed, "21 c3 f0 00 00 00 00 00 00");
    fr_buf_done(&packed);
    fr_arena_done(&arena);
}

static void cut_tuples_are_refused(void **state)
{
    (void)state;
    static const char *const cut[] = {"02 66 6f", "16 01", "21 80 00", "99", "01 7b"};
    for (size_t i = 0; i < sizeof(cut) / sizeof(cut[0]); i++) {
        struct fr_buf packed = {0};
        struct fr_buf text = {0};
        put_hex(&packed, cut[i]);
        if (fr_tuple_put_json(&text, packed.data, packed.len)) {
            fail_msg("%s was read as %s", cut[i], text.data);
        }
        fr_buf_done(&packed);
        fr_buf_done(&text);
    }
}

static void strings_are_cut_between_characters(void **state)
{
    (void)state;
    struct fr_arena arena = {0};
    struct fr_buf packed = {0};
    struct fr_policy policy = {.string_bytes = 4};
    assert_true(fr_tuple_pack(&packed, parse(&arena, "\"ab\xc3\xa9\xc3\xa9\""), &policy));
    expect_bytes("four bytes", &packed, "02 61 62 c3 a9 00");
    packed.len = 0;
    policy.string_bytes = 3;
    assert_true(fr_tuple_pack(&packed, parse(&arena, "\"ab\xc3\xa9\""), &policy));
    expect_bytes("the half character goes", &packed, "02 61 62 00");
    fr_buf_done(&packed);
    fr_arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_pack_to_the_published_bytes),
        cmocka_unit_test(packed_bytes_read_back_as_the_same_values),
        cmocka_unit_test(numbers_beyond_64_bits_become_doubles),
        cmocka_unit_test(cut_tuples_are_refused),
        cmocka_unit_test(strings_are_cut_between_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
