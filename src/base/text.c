/*
 * base/text: text that belongs to no language of the house. Comes in: bytes; goes out: bytes or
 * numbers. All pure; it never knows where the text came from or where it is going.
 */

#include "base/text.h"

#include "base/arena.h"
#include "base/check.h"
#include "base/unicode_tables.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* ---------------------------------------------------------------- UTF-8 */

static bool is_continuation(unsigned char c)
{
    return (c & 0xc0) == 0x80;
}

/* What the first byte promises; 0 when it begins no character. C0, C1 and F5 to FF never do. */
static size_t promised_len(unsigned char c)
{
    if (c < 0x80) {
        return 1;
    }
    if (c < 0xc2 || c > 0xf4) {
        return 0;
    }
    return c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
}

size_t text_decode(struct span text, uint32_t *ret_code_point)
{
    static const unsigned char first_mask[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};

    if (text.len == 0) {
        return 0;
    }
    const unsigned char *at = (const unsigned char *)text.ptr;
    size_t len = promised_len(at[0]);
    if (len == 0 || len > text.len) {
        return 0;
    }
    uint32_t code_point = at[0] & first_mask[len];
    for (size_t i = 1; i < len; i++) {
        if (!is_continuation(at[i])) {
            return 0;
        }
        code_point = code_point << 6 | (at[i] & 0x3fU);
    }
    if (code_point < smallest[len] || code_point > 0x10ffff ||
        (code_point >= 0xd800 && code_point <= 0xdfff)) {
        return 0;
    }
    *ret_code_point = code_point;
    return len;
}

size_t text_encode(uint32_t code_point, char out[4])
{
    CHECK(code_point <= 0x10ffff && !(code_point >= 0xd800 && code_point <= 0xdfff));
    if (code_point < 0x80) {
        out[0] = (char)code_point;
        return 1;
    }
    size_t len = code_point < 0x800 ? 2 : code_point < 0x10000 ? 3 : 4;
    static const unsigned char first_bits[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = len - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (code_point & 0x3f));
        code_point >>= 6;
    }
    out[0] = (char)(first_bits[len] | code_point);
    return len;
}

bool text_is_utf8(struct span text)
{
    while (text.len > 0) {
        uint64_t eight;
        uint32_t code_point;
        size_t len;

        if (text.len >= sizeof(eight)) {
            memcpy(&eight, text.ptr, sizeof(eight));
            if ((eight & 0x8080808080808080U) == 0) {
                text = (struct span){text.ptr + sizeof(eight), text.len - sizeof(eight)};
                continue;
            }
        }
        len = text_decode(text, &code_point);
        if (len == 0) {
            return false;
        }
        text = (struct span){text.ptr + len, text.len - len};
    }
    return true;
}

size_t text_utf8_cut(struct span text, size_t max)
{
    size_t len = text.len < max ? text.len : max;

    /* Back to the last byte that begins something: at most three continuation bytes away. */
    for (size_t back = 1; back <= 4 && back <= len; back++) {
        unsigned char c = (unsigned char)text.ptr[len - back];
        if (!is_continuation(c)) {
            return promised_len(c) > back ? len - back : len;
        }
    }
    return len; /* no character begins there, so none is cut */
}

/* ---------------------------------------------------------------- letters */

static const struct unicode_range *
find_range(const struct unicode_range *ranges, size_t count, uint32_t code_point)
{
    size_t low = 0;
    size_t high = count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct unicode_range *range = &ranges[middle];
        if (code_point < range->first) {
            high = middle;
        } else if (code_point > range->last) {
            low = middle + 1;
        } else {
            return (code_point - range->first) % range->step == 0 ? range : NULL;
        }
    }
    return NULL;
}

#define FIND_RANGE(ranges, code_point) find_range((ranges), ARRAY_LEN(ranges), (code_point))

static uint32_t move_by(const struct unicode_range *range, uint32_t code_point)
{
    return range ? (uint32_t)((int32_t)code_point + range->delta) : code_point;
}

void text_lower(struct buf *out, struct span text)
{
    while (text.len > 0) {
        char encoded[4];
        uint32_t code_point;
        size_t len = text_decode(text, &code_point);

        if (len == 0) {
            len = 1; /* not a character: kept as it is */
            buf_add_byte(out, text.ptr[0]);
        } else {
            code_point = move_by(FIND_RANGE(unicode_lower, code_point), code_point);
            buf_add(out, encoded, text_encode(code_point, encoded));
        }
        text = (struct span){text.ptr + len, text.len - len};
    }
}

/* The next folded character; a byte that is no character comes back above all characters. */
static uint32_t next_folded(struct span *text)
{
    uint32_t code_point;
    size_t len = text_decode(*text, &code_point);

    if (len == 0) {
        len = 1;
        code_point = 0x110000U + (unsigned char)text->ptr[0];
    } else {
        code_point = move_by(FIND_RANGE(unicode_fold, code_point), code_point);
    }
    *text = (struct span){text->ptr + len, text->len - len};
    return code_point;
}

bool text_equal_folded(struct span a, struct span b)
{
    while (a.len > 0 && b.len > 0) {
        if (next_folded(&a) != next_folded(&b)) {
            return false;
        }
    }
    return a.len == 0 && b.len == 0;
}

/* FNV-1a, a character at a time. */
uint64_t text_hash_folded(struct span text)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    while (text.len > 0) {
        hash = (hash ^ next_folded(&text)) * UINT64_C(0x100000001b3);
    }
    return hash ^ (hash >> 32);
}

bool text_is_lower_letter(uint32_t code_point)
{
    return FIND_RANGE(unicode_lower_letters, code_point) != NULL;
}

bool text_is_decimal_digit(uint32_t code_point)
{
    return FIND_RANGE(unicode_decimal_digits, code_point) != NULL;
}

/* ---------------------------------------------------------------- hex */

size_t text_hex(char *out, const void *bytes, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *at = bytes;

    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[at[i] >> 4];
        out[2 * i + 1] = digits[at[i] & 15];
    }
    return 2 * len;
}

void text_add_hex(struct buf *out, struct span bytes)
{
    CHECK(bytes.len <= SIZE_MAX / 2);
    char *to = buf_reserve(out, 2 * bytes.len);

    if (to) {
        buf_commit(out, text_hex(to, bytes.ptr, bytes.len));
    }
}

static int hex_value(char c)
{
    if (is_digit(c)) {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

bool text_from_hex(struct buf *out, struct span text)
{
    if (text.len % 2 != 0) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (hex_value(text.ptr[i]) < 0) {
            return false;
        }
    }
    char *to = buf_reserve(out, text.len / 2);
    if (to) {
        for (size_t i = 0; i < text.len / 2; i++) {
            unsigned high = (unsigned)hex_value(text.ptr[2 * i]);
            unsigned low = (unsigned)hex_value(text.ptr[2 * i + 1]);
            to[i] = (char)(high << 4 | low);
        }
        buf_commit(out, text.len / 2);
    }
    return true;
}

/* ---------------------------------------------------------------- base64 */

void text_add_base64(struct buf *out, struct span bytes)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *at = (const unsigned char *)bytes.ptr;
    size_t left = bytes.len;

    CHECK(left <= SIZE_MAX / 2);
    size_t encoded = (left + 2) / 3 * 4;
    char *to = buf_reserve(out, encoded);
    if (!to) {
        return;
    }
    for (; left >= 3; left -= 3, at += 3, to += 4) {
        uint32_t three = (uint32_t)at[0] << 16 | (uint32_t)at[1] << 8 | at[2];
        to[0] = alphabet[three >> 18];
        to[1] = alphabet[three >> 12 & 63];
        to[2] = alphabet[three >> 6 & 63];
        to[3] = alphabet[three & 63];
    }
    if (left > 0) {
        uint32_t three = (uint32_t)at[0] << 16 | (left == 2 ? (uint32_t)at[1] << 8 : 0);
        to[0] = alphabet[three >> 18];
        to[1] = alphabet[three >> 12 & 63];
        to[2] = '=';
        to[3] = '=';
        if (left == 2) {
            to[2] = alphabet[three >> 6 & 63];
        }
    }
    buf_commit(out, encoded);
}

#define NO_BASE64 0xff
#define X4 NO_BASE64, NO_BASE64, NO_BASE64, NO_BASE64
#define X16 X4, X4, X4, X4

/* Of each byte its six bits, in either alphabet: '+' and '-' are 62, '/' and '_' are 63. */
static const unsigned char base64_bits[256] = {
    X16,       X16, X4,        X4,        NO_BASE64, NO_BASE64, NO_BASE64, 62,
    NO_BASE64, 62,  NO_BASE64, 63, /* 2F */
    52,        53,  54,        55,        56,        57,        58,        59,
    60,        61,  NO_BASE64, NO_BASE64, X4, /* 3F */
    NO_BASE64, 0,   1,         2,         3,         4,         5,         6,
    7,         8,   9,         10,        11,        12,        13,        14, /* 4F */
    15,        16,  17,        18,        19,        20,        21,        22,
    23,        24,  25,        NO_BASE64, NO_BASE64, NO_BASE64, NO_BASE64, 63,
    NO_BASE64, 26,  27,        28,        29,        30,        31,        32,
    33,        34,  35,        36,        37,        38,        39,        40, /* 6F */
    41,        42,  43,        44,        45,        46,        47,        48,
    49,        50,  51,        X4,        NO_BASE64, /* 7F */
    X16,       X16, X16,       X16,       X16,       X16,       X16,       X16};

#undef X4
#undef X16

ptrdiff_t text_base64_decode(void *out, struct span text)
{
    const unsigned char *at = (const unsigned char *)text.ptr;
    const unsigned char *end = text.len ? at + text.len : at;
    unsigned char *to = out;
    uint32_t bits = 0;
    unsigned count = 0; /* characters of the quartet that are in bits */
    unsigned padding = 0;

    while (at < end) {
        /* The usual quartet: four good characters and nothing pending. */
        while (count == 0 && end - at >= 4) {
            unsigned char a = base64_bits[at[0]];
            unsigned char b = base64_bits[at[1]];
            unsigned char c = base64_bits[at[2]];
            unsigned char d = base64_bits[at[3]];
            if ((a | b | c | d) & 0x80) {
                break;
            }
            uint32_t three = (uint32_t)a << 18 | (uint32_t)b << 12 | (uint32_t)c << 6 | d;
            to[0] = (unsigned char)(three >> 16);
            to[1] = (unsigned char)(three >> 8);
            to[2] = (unsigned char)three;
            to += 3;
            at += 4;
        }
        if (at == end) {
            break;
        }
        unsigned char c = *at++;
        if (c == '\r' || c == '\n') {
            continue;
        }
        if (c == '=') {
            padding++;
            /* It completes a quartet of which at least two characters came, and ends the text. */
            for (; at < end; at++) {
                if (*at == '=') {
                    padding++;
                } else if (*at != '\r' && *at != '\n') {
                    return -1;
                }
            }
            break;
        }
        if (base64_bits[c] == NO_BASE64) {
            return -1;
        }
        bits = bits << 6 | base64_bits[c];
        if (++count == 4) {
            *to++ = (unsigned char)(bits >> 16);
            *to++ = (unsigned char)(bits >> 8);
            *to++ = (unsigned char)bits;
            bits = 0;
            count = 0;
        }
    }
    if (count == 1 || (padding > 0 && (count == 0 || count + padding != 4))) {
        return -1;
    }
    if (count >= 2) {
        bits <<= 6 * (4 - count);
        *to++ = (unsigned char)(bits >> 16);
        if (count == 3) {
            *to++ = (unsigned char)(bits >> 8);
        }
    }
    return to - (unsigned char *)out;
}

bool text_from_base64(struct buf *out, struct span text)
{
    bool was_full = out->full;
    char *to = buf_reserve(out, text.len / 4 * 3 + 3);

    if (!to) {
        /* The estimate may be too high by a few bytes: decode aside to learn the truth. */
        char *aside = mem_realloc(NULL, text.len / 4 * 3 + 3);
        ptrdiff_t len = text_base64_decode(aside, text);
        out->full = was_full;
        if (len > 0) {
            buf_add(out, aside, (size_t)len);
        }
        mem_free(aside);
        return len >= 0;
    }
    ptrdiff_t len = text_base64_decode(to, text);
    if (len >= 0) {
        buf_commit(out, (size_t)len);
    }
    out->data[out->len] = '\0';
    return len >= 0;
}

/* ---------------------------------------------------------------- integers */

bool text_to_uint64(struct span text, uint64_t *ret)
{
    uint64_t value = 0;

    if (text.len == 0) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (!is_digit(text.ptr[i]) || __builtin_mul_overflow(value, 10U, &value) ||
            __builtin_add_overflow(value, (uint64_t)(text.ptr[i] - '0'), &value)) {
            return false;
        }
    }
    *ret = value;
    return true;
}

bool text_to_int64(struct span text, int64_t *ret)
{
    bool negative = text.len > 0 && text.ptr[0] == '-';
    uint64_t value;

    if (!text_to_uint64(negative ? (struct span){text.ptr + 1, text.len - 1} : text, &value) ||
        value > (uint64_t)INT64_MAX + negative) {
        return false;
    }
    *ret = negative ? (int64_t)(0 - value) : (int64_t)value;
    return true;
}

static size_t put_decimal(char *out, uint64_t value)
{
    char reversed[TEXT_INT_MAX];
    size_t len = 0;

    do {
        reversed[len++] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    for (size_t i = 0; i < len; i++) {
        out[i] = reversed[len - 1 - i];
    }
    return len;
}

size_t text_uint64(char out[TEXT_INT_MAX], uint64_t value)
{
    return put_decimal(out, value);
}

size_t text_int64(char out[TEXT_INT_MAX], int64_t value)
{
    if (value >= 0) {
        return put_decimal(out, (uint64_t)value);
    }
    out[0] = '-';
    return 1 + put_decimal(out + 1, 0 - (uint64_t)value);
}

/* ---------------------------------------------------------------- doubles */

/* |value| = 0.d1 d2 ... dn * 10^point, with no trailing zeros. */
struct decimal {
    char digits[18];
    int len;
    int point;
};

/* Reads printf's "d.ddde+dd". */
static void take_digits(struct decimal *decimal, const char *text)
{
    decimal->len = 0;
    for (; *text != 'e'; text++) {
        if (is_digit(*text)) {
            decimal->digits[decimal->len++] = *text;
        }
    }
    decimal->point = (int)strtol(text + 1, NULL, 10) + 1;
    while (decimal->len > 1 && decimal->digits[decimal->len - 1] == '0') {
        decimal->len--;
    }
}

/* One more in the last place of "d.ddde-dd". */
static void count_up(char *mantissa)
{
    char *at = strchr(mantissa, 'e') - 1;

    while (*at == '9' || *at == '.') {
        CHECK(at > mantissa); /* sixteen nines are no power of two */
        if (*at == '9') {
            *at = '0';
        }
        at--;
    }
    ++*at;
}

/*
 * The shortest digits that read back as the same value, found by trying. Fifteen are exact for
 * every decimal of fifteen digits that is not too small for a full mantissa, so the search starts
 * there, and only the tiniest begin with one. printf rounds to the nearest decimal, which is the
 * best of its length, but for powers of two: below them the doubles lie twice as close as above,
 * so that the nearest may be another double's while the next one up is ours.
 */
static void find_shortest(struct decimal *decimal, double magnitude)
{
    char text[40];
    int exponent;
    bool is_power = frexp(magnitude, &exponent) == 0.5;

    for (int precision = magnitude < DBL_MIN ? 1 : 15; precision <= 17; precision++) {
        (void)snprintf(text, sizeof(text), "%.*e", precision - 1, magnitude);
        if (strtod(text, NULL) == magnitude) {
            break;
        }
        if (is_power && precision == 16) {
            count_up(text);
            if (strtod(text, NULL) == magnitude) {
                break;
            }
        }
    }
    take_digits(decimal, text);
}

/* Integers that a double holds exactly need no search. */
static bool add_if_integer(char *out, size_t *len, double magnitude)
{
    if (!(magnitude < 9007199254740992.0) || magnitude != (double)(uint64_t)magnitude) {
        return false;
    }
    *len += put_decimal(out + *len, (uint64_t)magnitude);
    return true;
}

static size_t add_zeros(char *out, size_t len, int count)
{
    if (count > 0) {
        memset(out + len, '0', (size_t)count);
        len += (size_t)count;
    }
    return len;
}

static size_t add_digits(char *out, size_t len, const char *digits, int count)
{
    if (count > 0) {
        memcpy(out + len, digits, (size_t)count);
        len += (size_t)count;
    }
    return len;
}

static size_t add_plain(char *out, size_t len, const struct decimal *decimal)
{
    int whole = decimal->point < decimal->len ? decimal->point : decimal->len;

    if (decimal->point <= 0) {
        out[len++] = '0';
        out[len++] = '.';
        len = add_zeros(out, len, -decimal->point);
        return add_digits(out, len, decimal->digits, decimal->len);
    }
    len = add_digits(out, len, decimal->digits, whole);
    len = add_zeros(out, len, decimal->point - whole);
    if (whole < decimal->len) {
        out[len++] = '.';
        len = add_digits(out, len, decimal->digits + whole, decimal->len - whole);
    }
    return len;
}

static size_t add_scientific(char *out, size_t len, const struct decimal *decimal)
{
    int exponent = decimal->point - 1;

    out[len++] = decimal->digits[0];
    if (decimal->len > 1) {
        out[len++] = '.';
        len = add_digits(out, len, decimal->digits + 1, decimal->len - 1);
    }
    out[len++] = 'e';
    out[len++] = exponent < 0 ? '-' : '+';
    return len + put_decimal(out + len, (uint64_t)(exponent < 0 ? -exponent : exponent));
}

size_t text_double(char out[TEXT_DOUBLE_MAX], double value)
{
    struct decimal decimal;
    size_t len = 0;
    double magnitude = fabs(value);

    CHECK(isfinite(value));
    if (signbit(value)) {
        out[len++] = '-';
    }
    if (add_if_integer(out, &len, magnitude)) {
        return len;
    }
    find_shortest(&decimal, magnitude);
    if (decimal.point > 21 || decimal.point < -5) {
        return add_scientific(out, len, &decimal);
    }
    return add_plain(out, len, &decimal);
}

size_t text_double_plain(char out[TEXT_DOUBLE_PLAIN_MAX], double value)
{
    struct decimal decimal;
    size_t len = 0;
    double magnitude = fabs(value);

    CHECK(isfinite(value));
    if (signbit(value)) {
        out[len++] = '-';
    }
    if (add_if_integer(out, &len, magnitude)) {
        return len;
    }
    find_shortest(&decimal, magnitude);
    return add_plain(out, len, &decimal);
}

static size_t skip_digits(struct span text, size_t at)
{
    while (at < text.len && is_digit(text.ptr[at])) {
        at++;
    }
    return at;
}

static size_t skip_sign(struct span text, size_t at)
{
    return at < text.len && (text.ptr[at] == '-' || text.ptr[at] == '+') ? at + 1 : at;
}

/* [+-] digits [. digits] [e [+-] digits], with a digit on either side of the point. strtod alone
 * would also take spaces, "inf", "nan" and hex. */
static bool is_number(struct span text)
{
    size_t start = skip_sign(text, 0);
    size_t at = skip_digits(text, start);
    size_t digits = at - start;

    if (at < text.len && text.ptr[at] == '.') {
        start = at + 1;
        at = skip_digits(text, start);
        digits += at - start;
    }
    if (digits == 0) {
        return false;
    }
    if (at < text.len && (text.ptr[at] == 'e' || text.ptr[at] == 'E')) {
        start = skip_sign(text, at + 1);
        at = skip_digits(text, start);
        if (at == start) {
            return false;
        }
    }
    return at == text.len;
}

bool text_to_double(struct span text, double *ret)
{
    char small[128];

    if (!is_number(text)) {
        return false;
    }
    char *copy = text.len < sizeof(small) ? small : mem_realloc(NULL, text.len + 1);
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    double value = strtod(copy, NULL);
    if (copy != small) {
        mem_free(copy);
    }
    if (!isfinite(value)) {
        return false;
    }
    *ret = value;
    return true;
}

/* ---------------------------------------------------------------- time, identity */

void text_uuid(char out[TEXT_UUID_LEN + 1], const unsigned char bytes[16])
{
    static const unsigned char group_bytes[] = {4, 2, 2, 2, 6};
    size_t len = 0;

    for (size_t group = 0; group < ARRAY_LEN(group_bytes); group++) {
        if (group > 0) {
            out[len++] = '-';
        }
        len += text_hex(out + len, bytes, group_bytes[group]);
        bytes += group_bytes[group];
    }
    out[len] = '\0';
}

/* The proleptic Gregorian calendar repeats every 400 years. Counting them from a first of March
 * puts the leap day at the end of the year, where it disturbs nothing. */
#define DAYS_PER_ERA 146097
#define DAYS_FROM_MARCH_0000_TO_1970 719468

static int64_t days_from_date(int64_t year, int month, int day)
{
    int64_t shifted = month <= 2 ? year - 1 : year;
    int64_t era = (shifted >= 0 ? shifted : shifted - 399) / 400;
    int64_t year_of_era = shifted - era * 400;
    int64_t month_from_march = month > 2 ? month - 3 : month + 9;
    int64_t day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;

    return era * DAYS_PER_ERA + day_of_era - DAYS_FROM_MARCH_0000_TO_1970;
}

static void date_from_days(int64_t days, int64_t *ret_year, int *ret_month, int *ret_day)
{
    int64_t shifted = days + DAYS_FROM_MARCH_0000_TO_1970;
    int64_t era = (shifted >= 0 ? shifted : shifted - (DAYS_PER_ERA - 1)) / DAYS_PER_ERA;
    int64_t day_of_era = shifted - era * DAYS_PER_ERA;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month_from_march = (5 * day_of_year + 2) / 153;

    *ret_day = (int)(day_of_year - (153 * month_from_march + 2) / 5 + 1);
    *ret_month = (int)(month_from_march < 10 ? month_from_march + 3 : month_from_march - 9);
    *ret_year = year_of_era + era * 400 + (*ret_month <= 2);
}

void text_time(char out[32], int64_t unix_seconds)
{
    int64_t days = unix_seconds / 86400;
    int64_t second = unix_seconds % 86400;
    int64_t year;
    int month;
    int day;

    if (second < 0) {
        second += 86400;
        days--;
    }
    date_from_days(days, &year, &month, &day);
    (void)snprintf(out, 32, "%04lld-%02d-%02dT%02d:%02d:%02dZ", (long long)year, month, day,
                   (int)(second / 3600), (int)(second / 60 % 60), (int)(second % 60));
}

/* Exactly count digits at *at, which moves on. */
static bool read_field(struct span text, size_t *at, size_t count, int *ret)
{
    int value = 0;

    if (text.len - *at < count) {
        return false;
    }
    for (size_t i = 0; i < count; i++, ++*at) {
        if (!is_digit(text.ptr[*at])) {
            return false;
        }
        value = value * 10 + (text.ptr[*at] - '0');
    }
    *ret = value;
    return true;
}

static bool read_char(struct span text, size_t *at, const char *accepted)
{
    if (*at == text.len || !strchr(accepted, text.ptr[*at]) || text.ptr[*at] == '\0') {
        return false;
    }
    ++*at;
    return true;
}

static int days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return days[month - 1] + (month == 2 && is_leap);
}

/* Any number of digits behind the point; those behind the ninth say nothing that we can keep. */
static bool read_fraction(struct span text, size_t *at, int32_t *ret_nanos)
{
    size_t start = *at;
    int32_t weight = 100000000;

    *ret_nanos = 0;
    for (; *at < text.len && is_digit(text.ptr[*at]); ++*at) {
        *ret_nanos += (text.ptr[*at] - '0') * weight;
        weight /= 10;
    }
    return *at > start;
}

static bool read_offset(struct span text, size_t *at, int *ret_seconds)
{
    int hour;
    int minute;

    *ret_seconds = 0;
    if (read_char(text, at, "Zz")) {
        return true;
    }
    int sign = *at < text.len && text.ptr[*at] == '-' ? -1 : 1;
    if (!read_char(text, at, "+-") || !read_field(text, at, 2, &hour) ||
        !read_char(text, at, ":") || !read_field(text, at, 2, &minute) || hour > 23 ||
        minute > 59) {
        return false;
    }
    *ret_seconds = sign * (hour * 3600 + minute * 60);
    return true;
}

bool text_from_rfc3339(struct span text, int64_t *ret_seconds, int32_t *ret_nanos)
{
    size_t at = 0;
    int year;
    int month;
    int day;
    int hour;
    int minute;
    int second;
    int32_t nanos = 0;
    int offset;

    if (!read_field(text, &at, 4, &year) || !read_char(text, &at, "-") ||
        !read_field(text, &at, 2, &month) || !read_char(text, &at, "-") ||
        !read_field(text, &at, 2, &day) || !read_char(text, &at, "Tt ") ||
        !read_field(text, &at, 2, &hour) || !read_char(text, &at, ":") ||
        !read_field(text, &at, 2, &minute) || !read_char(text, &at, ":") ||
        !read_field(text, &at, 2, &second)) {
        return false;
    }
    if (read_char(text, &at, ".") && !read_fraction(text, &at, &nanos)) {
        return false;
    }
    if (!read_offset(text, &at, &offset) || at != text.len) {
        return false;
    }
    if (month < 1 || month > 12 || day < 1 || day > days_in_month(year, month) || hour > 23 ||
        minute > 59 || second > 60) {
        return false;
    }
    int64_t seconds = days_from_date(year, month, day) * 86400 + (int64_t)hour * 3600 +
                      (int64_t)minute * 60 + second - offset;
    /* Leap seconds come at the end of a UTC day only; they count as the second that follows. */
    if (second == 60 && seconds % 86400 != 0) {
        return false;
    }
    *ret_seconds = seconds;
    *ret_nanos = nanos;
    return true;
}

/* ---------------------------------------------------------------- paths and URLs */

static size_t add_segments(char *out, size_t len, struct span path)
{
    while (path.len > 0) {
        const char *slash = memchr(path.ptr, '/', path.len);
        size_t segment_len = slash ? (size_t)(slash - path.ptr) : path.len;
        struct span segment = {path.ptr, segment_len};

        if (segment.len > 0 && !span_is(segment, ".") && !span_is(segment, "..")) {
            if (len > 0) {
                out[len++] = '/';
            }
            memcpy(out + len, segment.ptr, segment.len);
            len += segment.len;
        }
        if (slash) {
            segment_len++;
        }
        path = (struct span){path.ptr + segment_len, path.len - segment_len};
    }
    return len;
}

char *text_path_join(struct arena *arena, struct span a, struct span b)
{
    char *joined = arena_alloc(arena, a.len + b.len + 2); /* one slash between, one terminator */
    size_t len = add_segments(joined, 0, a);

    len = add_segments(joined, len, b);
    joined[len] = '\0';
    return joined;
}

static bool is_unreserved(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || is_digit(c) || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

void text_add_percent(struct buf *out, struct span text, bool keep_slash)
{
    static const char digits[] = "0123456789ABCDEF";

    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (is_unreserved(c) || (keep_slash && c == '/')) {
            buf_add_byte(out, c);
        } else {
            unsigned char byte = (unsigned char)c;
            const char encoded[3] = {'%', digits[byte >> 4], digits[byte & 15]};
            buf_add(out, encoded, sizeof(encoded));
        }
    }
}
