/*
 * Room proto: keys and values. A tuple comes in from Load or Store in one of its two forms, values
 * go out that point into it. It knows neither fields nor columns, only how many values there must
 * be.
 */

#include "proto/tuple.h"

#include "json/scan.h"
#include "json/write.h"

#include <inttypes.h>
#include <math.h>

/* Type codes of the tuple layer; those that the runtime never sends are refused like unknown ones,
 * with the exception of 20, which is read. */
enum {
    CODE_NULL = 0x00,
    CODE_BYTES = 0x01, /* objects and arrays, as JSON text */
    CODE_STRING = 0x02,
    CODE_NEGATIVE_LONG = 0x0b, /* nine bytes and more */
    CODE_NEGATIVE_8 = 0x0c,    /* eight bytes, up to 13 for one */
    CODE_ZERO = 0x14,
    CODE_POSITIVE_8 = 0x1c,
    CODE_POSITIVE_LONG = 0x1d,
    CODE_FLOAT = 0x20,
    CODE_DOUBLE = 0x21,
    CODE_FALSE = 0x26,
    CODE_TRUE = 0x27
};

struct cursor {
    const unsigned char *at, *end;
    size_t len; /* of the whole tuple */
    struct buf *scratch;
};

/* ---------------------------------------------------------------- scratch memory */

/* Values point into scratch, so it must not move once it holds one. All that a tuple can put there
 * is below three times its length (an escaped text shrinks, a number of n bytes has at most
 * 2.41 n + 1 digits and a sign, of at least ten bytes), which is reserved before the first. */
static const char *reserve_scratch(struct buf *scratch, size_t tuple_len)
{
    if (scratch->len > 0) {
        return NULL;
    }
    return buf_reserve(scratch, 3 * tuple_len) ? NULL : "it is too long to be decoded";
}

/* ---------------------------------------------------------------- packed: numbers */

/* An integer of any size, magnitude big-endian, as decimal text. Nine digits at a time: limb by
 * limb the magnitude is divided by 10^9. */
static struct span
add_decimal(struct buf *scratch, unsigned char magnitude[255], size_t len, bool negative)
{
    char digits[640];
    size_t at = sizeof(digits);
    size_t first = 0;

    while (first < len) {
        uint64_t rest = 0;
        for (size_t i = first; i < len; i++) {
            rest = rest << 8 | magnitude[i];
            magnitude[i] = (unsigned char)(rest / 1000000000);
            rest %= 1000000000;
        }
        while (first < len && magnitude[first] == 0) {
            first++;
        }
        for (unsigned d = 0; d < 9 && (first < len || rest > 0); d++) {
            digits[--at] = (char)('0' + rest % 10);
            rest /= 10;
        }
    }
    if (negative) {
        digits[--at] = '-';
    }
    char *out = buf_reserve(scratch, sizeof(digits) - at);
    CHECK(out); /* reserved before */
    memcpy(out, digits + at, sizeof(digits) - at);
    buf_commit(scratch, sizeof(digits) - at);
    return (struct span){out, sizeof(digits) - at};
}

static const char *set_long(
    struct cursor *cursor, const unsigned char *bytes, size_t len, bool negative, struct value *ret)
{
    unsigned char magnitude[255];
    const char *bad = reserve_scratch(cursor->scratch, cursor->len);

    if (bad) {
        return bad;
    }
    for (size_t i = 0; i < len; i++) {
        magnitude[i] = negative ? (unsigned char)~bytes[i] : bytes[i];
    }
    ret->kind = VALUE_NUMBER;
    ret->text = add_decimal(cursor->scratch, magnitude, len, negative);
    return NULL;
}

static uint64_t read_big_endian(const unsigned char *at, size_t len)
{
    uint64_t value = 0;

    for (size_t i = 0; i < len; i++) {
        value = value << 8 | at[i];
    }
    return value;
}

/* At most eight bytes. Of a negative integer the bytes are 2^(8n) - 1 - magnitude: the magnitude
 * with all bits inverted. */
static const char *read_integer(struct cursor *cursor, size_t len, bool negative, struct value *ret)
{
    if ((size_t)(cursor->end - cursor->at) < len) {
        return "an integer is cut off";
    }
    const unsigned char *const bytes = cursor->at;
    uint64_t magnitude = read_big_endian(bytes, len);
    cursor->at += len;

    if (negative) {
        const uint64_t mask = len == 8 ? UINT64_MAX : (UINT64_C(1) << (8 * len)) - 1;
        magnitude = ~magnitude & mask;
        if (magnitude > UINT64_C(1) << 63) {
            return set_long(cursor, bytes, len, true, ret);
        }
        ret->kind = VALUE_INT;
        /* -(2^63) has no positive counterpart: count from -1. */
        ret->number.i = magnitude == 0 ? 0 : -(int64_t)(magnitude - 1) - 1;
    } else if (magnitude > INT64_MAX) {
        ret->kind = VALUE_UINT;
        ret->number.u = magnitude;
    } else {
        ret->kind = VALUE_INT;
        ret->number.i = (int64_t)magnitude;
    }
    return NULL;
}

/* A length byte (inverted when negative) and that many bytes, of which the first is not zero: else
 * the same number would have a shorter form. */
static const char *read_long(struct cursor *cursor, bool negative, struct value *ret)
{
    if (cursor->at == cursor->end) {
        return "an integer is cut off";
    }
    const unsigned char invert = negative ? 0xff : 0;
    const size_t len = (size_t)(*cursor->at++ ^ invert);
    if ((size_t)(cursor->end - cursor->at) < len) {
        return "an integer is cut off";
    }
    const unsigned char *bytes = cursor->at;
    if (len < 9 || (bytes[0] ^ invert) == 0) {
        return "an integer is not in its shortest form";
    }
    cursor->at += len;
    return set_long(cursor, bytes, len, negative, ret);
}

/* The order of doubles is that of their bytes: positive ones have the sign bit set, negative ones
 * all bits inverted. */
static const char *read_double(struct cursor *cursor, struct value *ret)
{
    if (cursor->end - cursor->at < 8) {
        return "a double is cut off";
    }
    uint64_t bits = read_big_endian(cursor->at, 8);
    cursor->at += 8;
    bits = bits >> 63 ? bits & ~(UINT64_C(1) << 63) : ~bits;
    ret->kind = VALUE_DOUBLE;
    memcpy(&ret->number.d, &bits, sizeof(bits));
    return isfinite(ret->number.d) ? NULL : "a double is not finite";
}

static const char *read_float(struct cursor *cursor, struct value *ret)
{
    if (cursor->end - cursor->at < 4) {
        return "a float is cut off";
    }
    uint32_t bits = (uint32_t)read_big_endian(cursor->at, 4);
    float number;
    cursor->at += 4;
    bits = bits >> 31 ? bits & ~(UINT32_C(1) << 31) : ~bits;
    memcpy(&number, &bits, sizeof(bits));
    ret->kind = VALUE_DOUBLE;
    ret->number.d = (double)number;
    return isfinite(ret->number.d) ? NULL : "a float is not finite";
}

/* ---------------------------------------------------------------- packed: text */

/* 00 ends a text unless ff follows, which makes it a NUL of the content. */
static const char *read_text(struct cursor *cursor, struct value *ret)
{
    const unsigned char *const start = cursor->at;
    const unsigned char *zero = memchr(start, 0, (size_t)(cursor->end - start));

    if (!zero) {
        return "a text has no end";
    }
    if (zero + 1 == cursor->end || zero[1] != 0xff) {
        ret->text = (struct span){(const char *)start, (size_t)(zero - start)};
        cursor->at = zero + 1;
        return NULL;
    }

    const char *bad = reserve_scratch(cursor->scratch, cursor->len);
    if (bad) {
        return bad;
    }
    const size_t before = cursor->scratch->len;
    const unsigned char *at = start;
    for (;;) {
        if (!zero) {
            return "a text has no end";
        }
        const bool escaped = zero + 1 < cursor->end && zero[1] == 0xff;
        buf_add(cursor->scratch, at, (size_t)(zero - at) + (escaped ? 1 : 0));
        if (!escaped) {
            break;
        }
        at = zero + 2;
        zero = memchr(at, 0, (size_t)(cursor->end - at));
    }
    cursor->at = zero + 1;
    ret->text = (struct span){cursor->scratch->data + before, cursor->scratch->len - before};
    return NULL;
}

/* ---------------------------------------------------------------- packed */

static const char *read_packed_element(struct cursor *cursor, struct value *ret)
{
    const unsigned code = *cursor->at++;

    switch (code) {
    case CODE_NULL:
        ret->kind = VALUE_NULL;
        return NULL;
    case CODE_BYTES:
        ret->kind = VALUE_JSON;
        return read_text(cursor, ret);
    case CODE_STRING:
        ret->kind = VALUE_STRING;
        return read_text(cursor, ret);
    case CODE_DOUBLE:
        return read_double(cursor, ret);
    case CODE_FLOAT:
        return read_float(cursor, ret);
    case CODE_FALSE:
        ret->kind = VALUE_FALSE;
        return NULL;
    case CODE_TRUE:
        ret->kind = VALUE_TRUE;
        return NULL;
    case CODE_NEGATIVE_LONG:
        return read_long(cursor, true, ret);
    case CODE_POSITIVE_LONG:
        return read_long(cursor, false, ret);
    default:
        if (code >= CODE_ZERO && code <= CODE_POSITIVE_8) {
            return read_integer(cursor, code - CODE_ZERO, false, ret);
        }
        if (code >= CODE_NEGATIVE_8 && code < CODE_ZERO) {
            return read_integer(cursor, CODE_ZERO - code, true, ret);
        }
        return "its type code is none of the protocol's";
    }
}

static __attribute__((cold, noinline)) struct error *bad_element(unsigned index, const char *what)
{
    return error_new(ERROR_PROTOCOL, ERROR_FATAL, "element %u of the tuple: %s", index, what);
}

static __attribute__((cold, noinline)) struct error *too_few(unsigned have, unsigned count)
{
    return error_new(ERROR_PROTOCOL, ERROR_FATAL,
                     "the tuple ends before element %u, expected %u elements", have, count);
}

static __attribute__((cold, noinline)) struct error *too_many(unsigned count)
{
    return error_new(ERROR_PROTOCOL, ERROR_FATAL,
                     "the tuple goes on with element %u, expected %u elements", count, count);
}

struct error *
tuple_read_packed(struct span packed, struct value *ret, unsigned count, struct buf *scratch)
{
    struct cursor cursor = {.len = packed.len, .scratch = scratch};

    buf_clear(scratch);
    cursor.at = (const unsigned char *)(packed.len ? packed.ptr : "");
    cursor.end = cursor.at + packed.len;
    for (unsigned i = 0; i < count; i++) {
        if (cursor.at == cursor.end) {
            return too_few(i, count);
        }
        const char *bad = read_packed_element(&cursor, &ret[i]);
        if (bad) {
            return bad_element(i, bad);
        }
    }
    return cursor.at == cursor.end ? NULL : too_many(count);
}

/* ---------------------------------------------------------------- JSON */

/* Text and compacted JSON are never longer than what they came from. */
static struct error *
set_json(const struct json_item *item, struct value *ret, struct buf *scratch, size_t tuple_len)
{
    switch (item->kind) {
    case JSON_NULL:
        ret->kind = VALUE_NULL;
        return NULL;
    case JSON_FALSE:
        ret->kind = VALUE_FALSE;
        return NULL;
    case JSON_TRUE:
        ret->kind = VALUE_TRUE;
        return NULL;
    case JSON_NUMBER:
        if (json_to_int64(item, &ret->number.i)) {
            ret->kind = VALUE_INT;
        } else if (json_to_uint64(item, &ret->number.u)) {
            ret->kind = VALUE_UINT;
        } else {
            ret->kind = VALUE_NUMBER;
            ret->text = item->raw;
        }
        return NULL;
    case JSON_STRING:
        ret->kind = VALUE_STRING;
        if (!memchr(item->raw.ptr, '\\', item->raw.len)) {
            ret->text = (struct span){item->raw.ptr + 1, item->raw.len - 2};
            return NULL;
        }
        break;
    case JSON_ARRAY:
    case JSON_OBJECT:
        ret->kind = VALUE_JSON;
        if (item->is_compact) {
            ret->text = item->raw;
            return NULL;
        }
        break;
    }

    const char *bad = reserve_scratch(scratch, tuple_len);
    if (bad) {
        return error_new(ERROR_PROTOCOL, ERROR_FATAL, "%s", bad);
    }
    if (item->kind == JSON_STRING) {
        return json_string(item, scratch, &ret->text);
    }
    const size_t before = scratch->len;
    RETURN_IF_ERROR(json_add_compact(scratch, item->raw));
    ret->text = (struct span){scratch->data + before, scratch->len - before};
    return NULL;
}

/* The scanner's error as one of this room, with the element's index. */
static __attribute__((cold, noinline)) struct error *bad_json(unsigned index, struct error *err)
{
    struct error *same = bad_element(index, error_text(err));
    error_free(err);
    return same;
}

struct error *
tuple_read_json(struct span json, struct value *ret, unsigned count, struct buf *scratch)
{
    struct json_reader reader;
    struct json_item item;
    struct error *err;
    bool have;

    buf_clear(scratch);
    json_reader_init(&reader, json);
    err = json_enter(&reader, JSON_ARRAY);
    if (err) {
        return bad_json(0, err);
    }
    for (unsigned i = 0;; i++) {
        err = json_element(&reader, &item, &have);
        if (err) {
            return bad_json(i, err);
        }
        if (!have) {
            err = json_end(&reader);
            if (err) {
                return bad_json(i, err);
            }
            return i == count ? NULL : too_few(i, count);
        }
        if (i == count) {
            return too_many(count);
        }
        err = set_json(&item, &ret[i], scratch, json.len);
        if (err) {
            return bad_json(i, err);
        }
    }
}

struct error *
tuple_read(const struct proto_tuple *tuple, struct value *ret, unsigned count, struct buf *scratch)
{
    if (tuple->packed.len == 0 && tuple->json.len > 0) {
        return tuple_read_json(tuple->json, ret, count, scratch);
    }
    return tuple_read_packed(tuple->packed, ret, count, scratch);
}
