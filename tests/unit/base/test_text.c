/* base/text by tables. */

#include "base/text.h"

#include "base/arena.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define FOR_ROWS(row, rows) for (size_t row = 0; row < ARRAY_LEN(rows); row++)

/* ---------------------------------------------------------------- UTF-8 */

static void utf8_is_what_rfc_3629_allows(void **state)
{
    const struct {
        const char *what;
        struct span text;
        bool valid;
    } rows[] = {
        {"nothing is text", {"", 0}, true},
        {"a NUL is a character", {"a\0b", 3}, true},
        {"all four lengths", SPAN_LIT("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"), true},
        {"eight plain bytes and then a broken one", SPAN_LIT("abcdefgh\xff"), false},
        {"the first of two bytes, U+0080", SPAN_LIT("\xc2\x80"), true},
        {"the last before the surrogates, U+D7FF", SPAN_LIT("\xed\x9f\xbf"), true},
        {"a surrogate, U+D800", SPAN_LIT("\xed\xa0\x80"), false},
        {"a surrogate, U+DFFF", SPAN_LIT("\xed\xbf\xbf"), false},
        {"the first behind the surrogates, U+E000", SPAN_LIT("\xee\x80\x80"), true},
        {"the last character of all, U+10FFFF", SPAN_LIT("\xf4\x8f\xbf\xbf"), true},
        {"one above it, U+110000", SPAN_LIT("\xf4\x90\x80\x80"), false},
        {"five bytes", SPAN_LIT("\xf8\x88\x80\x80\x80"), false},
        {"an overlong slash in two bytes", SPAN_LIT("\xc0\xaf"), false},
        {"an overlong slash in three bytes", SPAN_LIT("\xe0\x80\xaf"), false},
        {"an overlong slash in four bytes", SPAN_LIT("\xf0\x80\x80\xaf"), false},
        {"overlong U+07FF", SPAN_LIT("\xe0\x9f\xbf"), false},
        {"overlong U+FFFF", SPAN_LIT("\xf0\x8f\xbf\xbf"), false},
        {"a continuation alone", SPAN_LIT("\x80"), false},
        {"cut after one of two", SPAN_LIT("\xc3"), false},
        {"cut after two of three", SPAN_LIT("\xe2\x82"), false},
        {"cut after three of four", SPAN_LIT("\xf0\x9f\x98"), false},
        {"a plain byte inside a character", SPAN_LIT("\xe2\x28\xac"), false},
    };
    (void)state;
    FOR_ROWS(i, rows)
    {
        if (text_is_utf8(rows[i].text) != rows[i].valid) {
            fail_msg("%s", rows[i].what);
        }
    }
}

static void every_character_survives_encoding_and_decoding(void **state)
{
    char bytes[4];

    (void)state;
    for (uint32_t c = 0; c <= 0x10ffff; c++) {
        if (c >= 0xd800 && c <= 0xdfff) {
            continue;
        }
        uint32_t back = UINT32_MAX;
        size_t len = text_encode(c, bytes);
        assert_int_equal(text_decode((struct span){bytes, len}, &back), len);
        assert_int_equal(back, c);
        assert_int_equal(text_decode((struct span){bytes, len - 1}, &back), 0);
    }
}

static void a_cut_never_ends_inside_a_character(void **state)
{
    const struct {
        const char *what;
        struct span text;
        size_t max, expected;
    } rows[] = {
        {"shorter than the limit", SPAN_LIT("abc"), 10, 3},
        {"plain text is cut at the limit", SPAN_LIT("abcdef"), 4, 4},
        {"a limit of nothing", SPAN_LIT("abc"), 0, 0},
        {"two bytes that fit", SPAN_LIT("a\xc3\xa9"), 3, 3},
        {"two bytes of which one fits", SPAN_LIT("a\xc3\xa9"), 2, 1},
        {"three bytes of which two fit", SPAN_LIT("ab\xe2\x82\xac"), 4, 2},
        {"four bytes of which three fit", SPAN_LIT("\xf0\x9f\x98\x80"), 3, 0},
        {"four bytes that fit exactly", SPAN_LIT("\xf0\x9f\x98\x80zz"), 4, 4},
        {"a text that ends in half a character itself", SPAN_LIT("ab\xe2\x82"), 9, 2},
        {"only continuations belong to no character", SPAN_LIT("\x80\x80\x80\x80\x80\x80"), 5, 5},
    };
    (void)state;
    FOR_ROWS(i, rows)
    {
        size_t len = text_utf8_cut(rows[i].text, rows[i].max);
        if (len != rows[i].expected) {
            fail_msg("%s: %zu instead of %zu", rows[i].what, len, rows[i].expected);
        }
    }
}

/* ---------------------------------------------------------------- letters */

static void lower_case_is_unicodes_simple_one(void **state)
{
    const struct {
        const char *what;
        struct span text;
        const char *expected;
    } rows[] = {
        {"plain letters, digits and signs", SPAN_LIT("AbC-12_@[`{"), "abc-12_@[`{"},
        {"umlauts", SPAN_LIT("\xc3\x84\xc3\x96\xc3\x9c"), "\xc3\xa4\xc3\xb6\xc3\xbc"},
        {"the multiplication sign is no letter", SPAN_LIT("\xc3\x97"), "\xc3\x97"},
        {"Greek; a sigma at the end is like any other", SPAN_LIT("\xce\xa3\xce\x91\xce\xa3"),
         "\xcf\x83\xce\xb1\xcf\x83"},
        {"Cyrillic", SPAN_LIT("\xd0\x96"), "\xd0\xb6"},
        {"the dotted capital I becomes one letter", SPAN_LIT("\xc4\xb0"), "i"},
        {"the capital sharp s", SPAN_LIT("\xe1\xba\x9e"), "\xc3\x9f"},
        {"the Kelvin sign", SPAN_LIT("\xe2\x84\xaa"), "k"},
        {"Deseret, above the first plane", SPAN_LIT("\xf0\x90\x90\x80"), "\xf0\x90\x90\xa8"},
        {"a byte that is no character stays",
         SPAN_LIT("A\xff"
                  "B"),
         "a\xff"
         "b"},
    };
    struct buf out;

    (void)state;
    buf_init(&out, 100);
    FOR_ROWS(i, rows)
    {
        buf_clear(&out);
        text_lower(&out, rows[i].text);
        if (strcmp(out.data, rows[i].expected) != 0) {
            fail_msg("%s: %s", rows[i].what, out.data);
        }
    }
    buf_done(&out);
}

static void folding_ignores_case_alone(void **state)
{
    const struct {
        const char *what;
        struct span a, b;
        bool equal;
    } rows[] = {
        {"plain letters", SPAN_LIT("Order_ID"), SPAN_LIT("oRDER_id"), true},
        {"different letters", SPAN_LIT("abc"), SPAN_LIT("abd"), false},
        {"one is the beginning of the other", SPAN_LIT("abc"), SPAN_LIT("abcd"), false},
        {"the three sigmas", SPAN_LIT("\xce\xa3\xcf\x83"), SPAN_LIT("\xcf\x82\xcf\x82"), true},
        {"the Kelvin sign and k", SPAN_LIT("\xe2\x84\xaa"), SPAN_LIT("k"), true},
        {"the long s and S", SPAN_LIT("\xc5\xbf"), SPAN_LIT("S"), true},
        {"sharp s, large and small", SPAN_LIT("\xe1\xba\x9e"), SPAN_LIT("\xc3\x9f"), true},
        {"sharp s is not ss", SPAN_LIT("\xc3\x9f"), SPAN_LIT("ss"), false},
        {"the dotted capital I is not i", SPAN_LIT("\xc4\xb0"), SPAN_LIT("i"), false},
        {"Cherokee, where the capital is the folded form", SPAN_LIT("\xea\xad\xb0"),
         SPAN_LIT("\xe1\x8e\xa0"), true},
        {"bytes that are no characters", SPAN_LIT("\xff"), SPAN_LIT("\xff"), true},
        {"different such bytes", SPAN_LIT("\xff"), SPAN_LIT("\xfe"), false},
    };
    (void)state;
    FOR_ROWS(i, rows)
    {
        if (text_equal_folded(rows[i].a, rows[i].b) != rows[i].equal ||
            text_equal_folded(rows[i].b, rows[i].a) != rows[i].equal) {
            fail_msg("%s", rows[i].what);
        }
    }
}

static void categories_are_told(void **state)
{
    const struct {
        const char *what;
        uint32_t code_point;
        bool is_lower, is_digit;
    } rows[] = {
        {"a", 'a', true, false},
        {"z", 'z', true, false},
        {"the sign behind z", '{', false, false},
        {"A", 'A', false, false},
        {"0", '0', false, true},
        {"9", '9', false, true},
        {"the sign behind 9", ':', false, false},
        {"a with diaeresis", 0xe4, true, false},
        {"A with diaeresis", 0xc4, false, false},
        {"A with macron, which alternates with its small letter", 0x100, false, false},
        {"a with macron", 0x101, true, false},
        {"the feminine ordinal is another letter (Lo)", 0xaa, false, false},
        {"Arabic-Indic five", 0x665, false, true},
        {"superscript two is no decimal digit (No)", 0xb2, false, false},
        {"Chinese has no case", 0x4e00, false, false},
        {"mathematical bold digit one", 0x1d7cf, false, true},
        {"nothing is assigned there", 0x10ffff, false, false},
    };
    (void)state;
    FOR_ROWS(i, rows)
    {
        if (text_is_lower_letter(rows[i].code_point) != rows[i].is_lower ||
            text_is_decimal_digit(rows[i].code_point) != rows[i].is_digit) {
            fail_msg("%s", rows[i].what);
        }
    }
}

/* ---------------------------------------------------------------- hex and base64 */

static void hex_goes_both_ways(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out, 20);
    text_add_hex(&out, (struct span){"\x00\xff\x1a", 3});
    assert_string_equal(out.data, "00ff1a");
    buf_clear(&out);
    assert_true(text_from_hex(&out, SPAN_LIT("00Ff1A")));
    assert_int_equal(out.len, 3);
    assert_memory_equal(out.data, "\x00\xff\x1a", 3);
    assert_false(text_from_hex(&out, SPAN_LIT("0")));
    assert_false(text_from_hex(&out, SPAN_LIT("0g")));
    assert_false(text_from_hex(&out, SPAN_LIT(" 0")));
    assert_int_equal(out.len, 3);
    buf_done(&out);
}

static void base64_is_read_in_each_form(void **state)
{
    const struct {
        const char *what;
        struct span text;
        const char *expected; /* NULL: it is not base64 */
    } rows[] = {
        /* RFC 4648, 10 */
        {"nothing", {"", 0}, ""},
        {"one byte", SPAN_LIT("Zg=="), "f"},
        {"two bytes", SPAN_LIT("Zm8="), "fo"},
        {"three bytes", SPAN_LIT("Zm9v"), "foo"},
        {"four bytes", SPAN_LIT("Zm9vYg=="), "foob"},
        {"five bytes", SPAN_LIT("Zm9vYmE="), "fooba"},
        {"six bytes", SPAN_LIT("Zm9vYmFy"), "foobar"},
        {"one byte without padding", SPAN_LIT("Zg"), "f"},
        {"two bytes without padding", SPAN_LIT("Zm8"), "fo"},
        {"the standard alphabet's last two", SPAN_LIT("+/+/"), "\xfb\xff\xbf"},
        {"the same for URLs", SPAN_LIT("-_-_"), "\xfb\xff\xbf"},
        {"line ends between", SPAN_LIT("Zm\r\n9v\nYmFy\r\n"), "foobar"},
        {"line ends inside the padding", SPAN_LIT("Zg=\n=\n"), "f"},
        {"line ends alone", SPAN_LIT("\r\n"), ""},
        {"one character says nothing", SPAN_LIT("Z"), NULL},
        {"five characters neither", SPAN_LIT("Zm9vY"), NULL},
        {"half of the padding", SPAN_LIT("Zg="), NULL},
        {"too much padding", SPAN_LIT("Zm8=="), NULL},
        {"padding behind a whole quartet", SPAN_LIT("Zm9v="), NULL},
        {"padding alone", SPAN_LIT("===="), NULL},
        {"text behind the padding", SPAN_LIT("Zg==Zg=="), NULL},
        {"a space", SPAN_LIT("Zm 9v"), NULL},
        {"a NUL", {"Zm\0v", 4}, NULL},
        {"a byte above 127", SPAN_LIT("Zm9\xff"), NULL},
    };
    (void)state;
    FOR_ROWS(i, rows)
    {
        char out[64] = {0};
        ptrdiff_t len = text_base64_decode(out, rows[i].text);
        ptrdiff_t expected = rows[i].expected ? (ptrdiff_t)strlen(rows[i].expected) : -1;
        if (len != expected || (len > 0 && memcmp(out, rows[i].expected, (size_t)len) != 0)) {
            fail_msg("%s: %td", rows[i].what, len);
        }
        struct buf buf;
        buf_init(&buf, 6); /* exactly as much as the longest needs */
        buf_add_str(&buf, "");
        bool read = text_from_base64(&buf, rows[i].text);
        if (read != (rows[i].expected != NULL) || buf_is_full(&buf) ||
            strcmp(buf.data, rows[i].expected ? rows[i].expected : "") != 0) {
            fail_msg("%s, into a buffer", rows[i].what);
        }
        buf_done(&buf);
    }
}

static void base64_survives_all_lengths(void **state)
{
    unsigned char bytes[100];
    unsigned char back[sizeof(bytes) + 6];
    struct buf text;

    (void)state;
    buf_init(&text, 200);
    for (size_t len = 0; len < sizeof(bytes); len++) {
        for (size_t i = 0; i < len; i++) {
            bytes[i] = (unsigned char)(i * 37 + len * 11);
        }
        buf_clear(&text);
        text_add_base64(&text, (struct span){(char *)bytes, len});
        assert_int_equal(text.len, (len + 2) / 3 * 4);
        assert_int_equal(text_base64_decode(back, buf_view(&text)), len);
        assert_memory_equal(back, bytes, len);
    }
    buf_done(&text);
}

/* ---------------------------------------------------------------- numbers */

static void integers_are_read_strictly(void **state)
{
    const struct {
        const char *text;
        bool is_signed, is_unsigned;
        int64_t value;
    } rows[] = {
        {"0", true, true, 0},
        {"007", true, true, 7},
        {"-1", true, false, -1},
        {"-0", true, false, 0},
        {"9223372036854775807", true, true, INT64_MAX},
        {"9223372036854775808", false, true, INT64_MIN}, /* same bits */
        {"-9223372036854775808", true, false, INT64_MIN},
        {"-9223372036854775809", false, false, 0},
        {"18446744073709551615", false, true, -1}, /* same bits */
        {"18446744073709551616", false, false, 0},
        {"99999999999999999999", false, false, 0},
        {"", false, false, 0},
        {"-", false, false, 0},
        {"+1", false, false, 0},
        {" 1", false, false, 0},
        {"1 ", false, false, 0},
        {"1.0", false, false, 0},
        {"1e3", false, false, 0},
        {"0x10", false, false, 0},
        {"--1", false, false, 0},
    };
    (void)state;
    FOR_ROWS(i, rows)
    {
        int64_t value = 0;
        uint64_t positive = 0;
        if (text_to_int64(span_of(rows[i].text), &value) != rows[i].is_signed ||
            (rows[i].is_signed && value != rows[i].value) ||
            text_to_uint64(span_of(rows[i].text), &positive) != rows[i].is_unsigned ||
            (rows[i].is_unsigned && positive != (uint64_t)rows[i].value)) {
            fail_msg("'%s'", rows[i].text);
        }
    }
}

static void integers_are_written(void **state)
{
    char out[TEXT_INT_MAX];

    (void)state;
    assert_int_equal(text_int64(out, INT64_MIN), 20);
    assert_memory_equal(out, "-9223372036854775808", 20);
    assert_int_equal(text_int64(out, 0), 1);
    assert_memory_equal(out, "0", 1);
    assert_int_equal(text_uint64(out, UINT64_MAX), 20);
    assert_memory_equal(out, "18446744073709551615", 20);
}

static void doubles_are_written_as_ecmascript_does(void **state)
{
    const struct {
        double value;
        const char *shortest, *plain;
    } rows[] = {
        {0.0, "0", "0"},
        {-0.0, "-0", "-0"},
        {1.0, "1", "1"},
        {-1.5, "-1.5", "-1.5"},
        {0.1, "0.1", "0.1"},
        {0.1 + 0.2, "0.30000000000000004", "0.30000000000000004"},
        {1.0 / 3.0, "0.3333333333333333", "0.3333333333333333"},
        {123456.789, "123456.789", "123456.789"},
        {9007199254740991.0, "9007199254740991", "9007199254740991"},
        {9007199254740992.0, "9007199254740992", "9007199254740992"},
        {1e20, "100000000000000000000", "100000000000000000000"},
        {123456789012345680000.0, "123456789012345680000", "123456789012345680000"},
        {1e21, "1e+21", "1000000000000000000000"},
        {1.5e300, "1.5e+300", NULL},
        {1e-6, "0.000001", "0.000001"},
        {1e-7, "1e-7", "0.0000001"},
        {1.25e-7, "1.25e-7", "0.000000125"},
        {1e23, "1e+23", "100000000000000000000000"},
        {5.684341886080802e-14, "5.684341886080802e-14", "0.00000000000005684341886080802"},
        {5e-324, "5e-324", NULL},
        {2.225073858507201e-308, "2.225073858507201e-308", NULL},
        {2.2250738585072014e-308, "2.2250738585072014e-308", NULL},
        {1.7976931348623157e308, "1.7976931348623157e+308", NULL},
        {-1.7976931348623157e308, "-1.7976931348623157e+308", NULL},
    };
    (void)state;
    FOR_ROWS(i, rows)
    {
        char out[TEXT_DOUBLE_MAX + 1] = {0};
        char plain[TEXT_DOUBLE_PLAIN_MAX + 1] = {0};
        double back;

        out[text_double(out, rows[i].value)] = '\0';
        if (strcmp(out, rows[i].shortest) != 0) {
            fail_msg("%s instead of %s", out, rows[i].shortest);
        }
        size_t len = text_double_plain(plain, rows[i].value);
        assert_true(len <= TEXT_DOUBLE_PLAIN_MAX);
        plain[len] = '\0';
        if (strchr(plain, 'e') || (rows[i].plain && strcmp(plain, rows[i].plain) != 0)) {
            fail_msg("plain %s instead of %s", plain, rows[i].plain);
        }
        assert_true(text_to_double(span_of(plain), &back));
        assert_memory_equal(&back, &rows[i].value, sizeof(back));
    }
}

static void every_double_reads_back(void **state)
{
    struct {
        uint64_t state;
    } random = {20260102};

    (void)state;
    for (unsigned i = 0; i < 20000; i++) {
        char out[TEXT_DOUBLE_MAX];
        double value;
        double back;

        random.state = random.state * 6364136223846793005U + 1442695040888963407U;
        memcpy(&value, &random.state, sizeof(value));
        if (!isfinite(value)) {
            continue;
        }
        size_t len = text_double(out, value);
        assert_true(text_to_double((struct span){out, len}, &back));
        assert_memory_equal(&back, &value, sizeof(value));
    }
    for (int exponent = -1074; exponent < 1024; exponent++) {
        char out[TEXT_DOUBLE_MAX];
        double value = ldexp(1.0, exponent);
        double back;
        size_t len = text_double(out, value);
        assert_true(text_to_double((struct span){out, len}, &back));
        assert_memory_equal(&back, &value, sizeof(value));
    }
}

static void doubles_are_read_only_when_they_are_finite_numbers(void **state)
{
    const struct {
        const char *text;
        bool valid;
        double value;
    } rows[] = {
        {"1", true, 1},
        {"-1.5e3", true, -1500},
        {"+2", true, 2},
        {".5", true, 0.5},
        {"5.", true, 5},
        {"1E+2", true, 100},
        {"1e-400", true, 0},
        {"17976931348623157000000000000000000000000000000000000000000000000000000000000000000000000"
         "0"
         "00000000000000000000000000000000000000000000000000000000000e160",
         true, 1.7976931348623157e308},
        {"1e400", false, 0},
        {"-1e400", false, 0},
        {"nan", false, 0},
        {"inf", false, 0},
        {"Infinity", false, 0},
        {"0x10", false, 0},
        {"", false, 0},
        {".", false, 0},
        {"-", false, 0},
        {"1e", false, 0},
        {"1e+", false, 0},
        {" 1", false, 0},
        {"1 ", false, 0},
        {"1,5", false, 0},
        {"1_000", false, 0},
    };
    (void)state;
    FOR_ROWS(i, rows)
    {
        double value = -77;
        bool valid = text_to_double(span_of(rows[i].text), &value);
        if (valid != rows[i].valid ||
            (valid && fabs(value - rows[i].value) > fabs(rows[i].value) * 1e-15)) {
            fail_msg("'%s': %g", rows[i].text, value);
        }
    }
}

/* ---------------------------------------------------------------- time, identity */

static void time_is_read_with_any_offset(void **state)
{
    const struct {
        const char *text;
        bool valid;
        int64_t seconds;
        int32_t nanos;
    } rows[] = {
        {"1970-01-01T00:00:00Z", true, 0, 0},
        {"1970-01-01t00:00:01z", true, 1, 0},
        {"1970-01-01 00:00:01Z", true, 1, 0},
        {"1969-12-31T23:59:59.999999999Z", true, -1, 999999999},
        {"2026-01-02T03:04:05Z", true, 1767323045, 0},
        {"2026-01-02T03:04:05.123456789123Z", true, 1767323045, 123456789},
        {"2026-01-02T03:04:05.1Z", true, 1767323045, 100000000},
        {"2026-01-02T05:34:05+02:30", true, 1767323045, 0},
        {"2026-01-01T22:04:05-05:00", true, 1767323045, 0},
        {"2026-01-02T03:04:05-00:00", true, 1767323045, 0},
        {"2024-02-29T00:00:00Z", true, 1709164800, 0},
        {"2000-02-29T12:00:00Z", true, 951825600, 0},
        {"2023-02-29T00:00:00Z", false, 0, 0},
        {"1900-02-29T00:00:00Z", false, 0, 0},
        {"2024-04-31T00:00:00Z", false, 0, 0},
        {"0000-01-01T00:00:00Z", true, -62167219200, 0},
        {"9999-12-31T23:59:59Z", true, 253402300799, 0},
        {"2016-12-31T23:59:60Z", true, 1483228800, 0},
        {"2017-01-01T00:59:60+01:00", true, 1483228800, 0},
        {"2016-12-31T12:00:60Z", false, 0, 0},
        {"2016-12-31T23:59:61Z", false, 0, 0},
        {"2026-01-02T24:00:00Z", false, 0, 0},
        {"2026-01-02T03:60:00Z", false, 0, 0},
        {"2026-13-02T03:04:05Z", false, 0, 0},
        {"2026-00-02T03:04:05Z", false, 0, 0},
        {"2026-01-00T03:04:05Z", false, 0, 0},
        {"2026-01-02T03:04:05", false, 0, 0},
        {"2026-01-02T03:04:05.Z", false, 0, 0},
        {"2026-01-02T03:04:05+0200", false, 0, 0},
        {"2026-01-02T03:04:05+24:00", false, 0, 0},
        {"2026-01-02T03:04:05+02:60", false, 0, 0},
        {"2026-01-02T03:04:05Z ", false, 0, 0},
        {"2026-01-02T03:04Z", false, 0, 0},
        {"26-01-02T03:04:05Z", false, 0, 0},
        {"2026-1-2T03:04:05Z", false, 0, 0},
        {"+026-01-02T03:04:05Z", false, 0, 0},
        {"2026-01-02", false, 0, 0},
        {"", false, 0, 0},
    };
    (void)state;
    FOR_ROWS(i, rows)
    {
        int64_t seconds = 0;
        int32_t nanos = 0;
        bool valid = text_from_rfc3339(span_of(rows[i].text), &seconds, &nanos);
        if (valid != rows[i].valid ||
            (valid && (seconds != rows[i].seconds || nanos != rows[i].nanos))) {
            fail_msg("'%s': %lld", rows[i].text, (long long)seconds);
        }
    }
}

static void time_is_written_and_reads_back(void **state)
{
    char out[32];

    (void)state;
    text_time(out, 1767323045);
    assert_string_equal(out, "2026-01-02T03:04:05Z");
    text_time(out, -1);
    assert_string_equal(out, "1969-12-31T23:59:59Z");
    /* a prime number of seconds, so that all fields move, from year 0 to year 9999 */
    for (int64_t seconds = -62167219200; seconds <= 253402300799; seconds += 86028157) {
        int64_t back = 0;
        int32_t nanos = 1;
        text_time(out, seconds);
        assert_true(text_from_rfc3339(span_of(out), &back, &nanos));
        assert_int_equal(back, seconds);
        assert_int_equal(nanos, 0);
    }
}

static void a_uuid_has_its_five_groups(void **state)
{
    char out[TEXT_UUID_LEN + 1];

    (void)state;
    text_uuid(out, (const unsigned char *)"\x12\x3e\x45\x67\xe8\x9b\x42\xd3\xa4\x56\x42\x66\x14"
                                          "\x17\x40\x00");
    assert_string_equal(out, "123e4567-e89b-42d3-a456-426614174000");
}

/* ---------------------------------------------------------------- paths and URLs */

static void paths_are_joined(void **state)
{
    const struct {
        const char *a, *b, *expected;
    } rows[] = {
        {"a", "b", "a/b"},
        {"a/", "/b", "a/b"},
        {"/a//b/", "c", "a/b/c"},
        {"", "b", "b"},
        {"a", "", "a"},
        {"", "", ""},
        {"/", "/", ""},
        {"./a/../b", ".", "a/b"},
        {"..", "..x/.y/...", "..x/.y/..."},
        {"a/b", "c/d/", "a/b/c/d"},
    };
    struct arena *arena = arena_new(10000);

    (void)state;
    FOR_ROWS(i, rows)
    {
        const char *joined = text_path_join(arena, span_of(rows[i].a), span_of(rows[i].b));
        if (strcmp(joined, rows[i].expected) != 0) {
            fail_msg("'%s' and '%s' became '%s'", rows[i].a, rows[i].b, joined);
        }
    }
    arena_free(arena);
}

static void all_but_the_unreserved_is_percent_encoded(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out, 200);
    text_add_percent(&out, SPAN_LIT("AZaz09-._~ /+&=%\xc3\xa9"), false);
    assert_string_equal(out.data, "AZaz09-._~%20%2F%2B%26%3D%25%C3%A9");
    buf_clear(&out);
    text_add_percent(&out, SPAN_LIT("a/b c"), true);
    assert_string_equal(out.data, "a/b%20c");
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8_is_what_rfc_3629_allows),
        cmocka_unit_test(every_character_survives_encoding_and_decoding),
        cmocka_unit_test(a_cut_never_ends_inside_a_character),
        cmocka_unit_test(lower_case_is_unicodes_simple_one),
        cmocka_unit_test(folding_ignores_case_alone),
        cmocka_unit_test(categories_are_told),
        cmocka_unit_test(hex_goes_both_ways),
        cmocka_unit_test(base64_is_read_in_each_form),
        cmocka_unit_test(base64_survives_all_lengths),
        cmocka_unit_test(integers_are_read_strictly),
        cmocka_unit_test(integers_are_written),
        cmocka_unit_test(doubles_are_written_as_ecmascript_does),
        cmocka_unit_test(every_double_reads_back),
        cmocka_unit_test(doubles_are_read_only_when_they_are_finite_numbers),
        cmocka_unit_test(time_is_read_with_any_offset),
        cmocka_unit_test(time_is_written_and_reads_back),
        cmocka_unit_test(a_uuid_has_its_five_groups),
        cmocka_unit_test(paths_are_joined),
        cmocka_unit_test(all_but_the_unreserved_is_percent_encoded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
