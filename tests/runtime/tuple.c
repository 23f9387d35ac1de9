/* Packed tuples. Pure. */
#include "tuple.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CODE_NULL = 0, CODE_BYTES = 1, CODE_STRING = 2, CODE_ZERO = 0x14, CODE_DOUBLE = 0x21 };
enum { CODE_FALSE = 0x26, CODE_TRUE = 0x27 };

/* ---------------------------------------------------------------- packing */

static void put_escaped(struct fr_buf *buf, char code, const char *text, size_t len)
{
    fr_buf_reserve(buf, len * 2 + 2);
    char *out = buf->data + buf->len;
    *out++ = code;
    for (size_t i = 0; i < len; i++) {
        *out++ = text[i];
        if (text[i] == '\0') {
            *out++ = (char)0xff;
        }
    }
    *out++ = '\0';
    buf->len = (size_t)(out - buf->data);
}

static void put_big_endian(struct fr_buf *buf, uint64_t value, unsigned bytes)
{
    while (bytes-- > 0) {
        fr_buf_putc(buf, (char)(unsigned char)(value >> 8 * bytes & 0xff));
    }
}

static void put_integer(struct fr_buf *buf, uint64_t magnitude, bool negative)
{
    unsigned bytes = 0;
    while (bytes < 8 && magnitude >> 8 * bytes != 0) {
        bytes++;
    }
    fr_buf_putc(buf, (char)(negative ? CODE_ZERO - (int)bytes : CODE_ZERO + (int)bytes));
    put_big_endian(buf, negative ? ~magnitude : magnitude, bytes);
}

static void put_double(struct fr_buf *buf, double value)
{
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof(bits));
    bits = bits >> 63 != 0 ? ~bits : bits | (uint64_t)1 << 63;
    fr_buf_putc(buf, CODE_DOUBLE);
    put_big_endian(buf, bits, 8);
}

static void put_number(struct fr_buf *buf, const struct fr_json *value)
{
    bool negative = value->text[0] == '-';
    if (fr_json_is_integer_text(value)) {
        errno = 0;
        unsigned long long magnitude = strtoull(value->text + negative, NULL, 10);
        if (errno == 0 && (!negative || magnitude <= (uint64_t)1 << 63)) {
            put_integer(buf, magnitude, negative);
            return;
        }
    }
    put_double(buf, strtod(value->text, NULL));
}

bool fr_tuple_pack(struct fr_buf *buf, const struct fr_json *value, const struct fr_policy *policy)
{
    if (value == NULL) {
        fr_buf_putc(buf, CODE_NULL);
        return false;
    }
    switch (value->type) {
    case FR_NULL:
        fr_buf_putc(buf, CODE_NULL);
        return false;
    case FR_FALSE:
    case FR_TRUE:
        fr_buf_putc(buf, value->type == FR_TRUE ? CODE_TRUE : CODE_FALSE);
        return false;
    case FR_NUMBER:
        put_number(buf, value);
        return false;
    case FR_STRING: {
        size_t cut = fr_policy_cut(policy, value->text, value->count);
        put_escaped(buf, CODE_STRING, value->text, cut);
        return cut < value->count;
    }
    case FR_ARRAY:
    case FR_OBJECT: {
        struct fr_buf text = {0};
        bool shortened = fr_json_put_policy(&text, value, policy, 1);
        put_escaped(buf, CODE_BYTES, text.data, text.len);
        fr_buf_done(&text);
        return shortened;
    }
    }
    return false;
}

/* ---------------------------------------------------------------- unpacking */

/* Copies escaped content, returns the position after the end mark or 0. */
static size_t get_escaped(struct fr_buf *out, const char *packed, size_t len, size_t at)
{
    while (at < len) {
        if (packed[at] != '\0') {
            fr_buf_putc(out, packed[at++]);
            continue;
        }
        if (at + 1 == len || (unsigned char)packed[at + 1] != 0xff) {
            return at + 1;
        }
        fr_buf_putc(out, '\0');
        at += 2;
    }
    return 0;
}

static uint64_t get_big_endian(const char *bytes, unsigned count)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < count; i++) {
        value = value << 8 | (unsigned char)bytes[i];
    }
    return value;
}

static void put_double_text(struct fr_buf *buf, uint64_t bits)
{
    double value = 0;
    char text[40];
    bits = bits >> 63 != 0 ? bits & ~((uint64_t)1 << 63) : ~bits;
    memcpy(&value, &bits, sizeof(value));
    for (int digits = 1; digits <= 17; digits++) {
        (void)snprintf(text, sizeof(text), "%.*g", digits, value);
        double again = strtod(text, NULL);
        if (!(again < value) && !(again > value)) {
            break;
        }
    }
    fr_buf_puts(buf, text);
    if (strpbrk(text, ".en") == NULL) {
        fr_buf_puts(buf, ".0");
    }
}

/* One element at a position; returns the next position, 0 on error. */
static size_t put_element(struct fr_buf *buf, const char *packed, size_t len, size_t at)
{
    unsigned code = (unsigned char)packed[at++];
    if (code == CODE_NULL || code == CODE_FALSE || code == CODE_TRUE) {
        fr_buf_puts(buf, code == CODE_NULL ? "null" : code == CODE_TRUE ? "true" : "false");
        return at;
    }
    if (code == CODE_BYTES || code == CODE_STRING) {
        struct fr_buf text = {0};
        fr_buf_reserve(&text, 1);
        at = get_escaped(&text, packed, len, at);
        if (code == CODE_STRING) {
            fr_json_put_string(buf, text.data, text.len);
        } else {
            fr_buf_put(buf, text.data, text.len);
        }
        fr_buf_done(&text);
        return at;
    }
    if (code >= CODE_ZERO - 8 && code <= CODE_ZERO + 8) {
        bool negative = code < CODE_ZERO;
        unsigned bytes = negative ? CODE_ZERO - code : code - CODE_ZERO;
        if (len - at < bytes) {
            return 0;
        }
        uint64_t value = get_big_endian(packed + at, bytes);
        if (negative) {
            uint64_t all = bytes == 8 ? ~(uint64_t)0 : ((uint64_t)1 << 8 * bytes) - 1;
            fr_buf_printf(buf, "-%llu", (unsigned long long)(all - value));
        } else {
            fr_buf_printf(buf, "%llu", (unsigned long long)value);
        }
        return at + bytes;
    }
    if (code == CODE_DOUBLE && len - at >= 8) {
        put_double_text(buf, get_big_endian(packed + at, 8));
        return at + 8;
    }
    return 0;
}

bool fr_tuple_put_json(struct fr_buf *buf, const char *packed, size_t len)
{
    size_t at = 0;
    fr_buf_putc(buf, '[');
    while (at < len) {
        if (at > 0) {
            fr_buf_putc(buf, ',');
        }
        at = put_element(buf, packed, len, at);
        if (at == 0) {
            return false;
        }
    }
    fr_buf_putc(buf, ']');
    return true;
}
