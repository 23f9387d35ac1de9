#ifndef SRC_PROTO_WIRE_H
#define SRC_PROTO_WIRE_H

/*
 * The wire form of protobuf (https://protobuf.dev/programming-guides/encoding/): a message is a row
 * of fields, each a varint tag (number << 3 | type) and a value. Readers return NULL or what is
 * wrong, as a phrase for an error; they never look beyond the end.
 */

#include "base/buf.h"
#include "base/span.h"

#include <stdint.h>
#include <string.h>

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

#define WIRE_TAG(number, type) ((uint32_t)(number) << 3 | (uint32_t)(type))

struct wire {
    const unsigned char *at, *end;
};

static inline struct wire wire_of(struct span body)
{
    const unsigned char *at = (const unsigned char *)(body.ptr ? body.ptr : "");
    return (struct wire){at, at + body.len};
}

/* ---- reading */

static inline const char *wire_read_varint(struct wire *wire, uint64_t *ret)
{
    uint64_t value = 0;

    if (wire->at < wire->end && *wire->at < 0x80) {
        *ret = *wire->at++;
        return NULL;
    }
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (wire->at == wire->end) {
            return "a number is cut off";
        }
        const unsigned char byte = *wire->at++;
        if (shift == 63 && byte > 1) {
            break;
        }
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *ret = value;
            return NULL;
        }
    }
    return "a number has more than 64 bits";
}

static inline const char *wire_read_uint32(struct wire *wire, uint32_t *ret)
{
    uint64_t value;
    const char *bad = wire_read_varint(wire, &value);

    if (!bad && value > UINT32_MAX) {
        bad = "a number has more than 32 bits";
    }
    if (!bad) {
        *ret = (uint32_t)value;
    }
    return bad;
}

/* The next tag, never one of field number 0. */
static inline const char *wire_read_tag(struct wire *wire, uint32_t *ret)
{
    const char *bad = wire_read_uint32(wire, ret);
    return !bad && *ret < WIRE_TAG(1, 0) ? "a field has number 0" : bad;
}

static inline const char *wire_read_bytes(struct wire *wire, struct span *ret)
{
    uint64_t len;
    const char *bad = wire_read_varint(wire, &len);

    if (bad) {
        return bad;
    }
    if (len > (uint64_t)(wire->end - wire->at)) {
        return "a field is longer than what is around it";
    }
    *ret = (struct span){(const char *)wire->at, (size_t)len};
    wire->at += len;
    return NULL;
}

static inline const char *wire_read_fixed32(struct wire *wire, uint32_t *ret)
{
    uint32_t value = 0;

    if (wire->end - wire->at < 4) {
        return "a number is cut off";
    }
    for (unsigned i = 0; i < 4; i++) {
        value |= (uint32_t)wire->at[i] << (8 * i);
    }
    wire->at += 4;
    *ret = value;
    return NULL;
}

static inline const char *wire_read_fixed64(struct wire *wire, uint64_t *ret)
{
    uint64_t value = 0;

    if (wire->end - wire->at < 8) {
        return "a number is cut off";
    }
    for (unsigned i = 0; i < 8; i++) {
        value |= (uint64_t)wire->at[i] << (8 * i);
    }
    wire->at += 8;
    *ret = value;
    return NULL;
}

static inline const char *wire_skip(struct wire *wire, uint32_t tag)
{
    uint64_t number;
    uint32_t half;
    struct span bytes;

    switch (tag & 7) {
    case WIRE_VARINT:
        return wire_read_varint(wire, &number);
    case WIRE_FIXED64:
        return wire_read_fixed64(wire, &number);
    case WIRE_BYTES:
        return wire_read_bytes(wire, &bytes);
    case WIRE_FIXED32:
        return wire_read_fixed32(wire, &half);
    default:
        return "a field has an unknown wire type";
    }
}

/* ---- writing. The add functions leave out default values, as proto3 does. */

static inline size_t wire_put_varint(unsigned char out[10], uint64_t value)
{
    size_t len = 0;

    while (value >= 0x80) {
        out[len++] = (unsigned char)(value | 0x80);
        value >>= 7;
    }
    out[len++] = (unsigned char)value;
    return len;
}

static inline void wire_add_varint(struct buf *out, uint64_t value)
{
    unsigned char bytes[10];
    buf_add(out, bytes, wire_put_varint(bytes, value));
}

static inline void wire_add_uint(struct buf *out, unsigned number, uint64_t value)
{
    if (value != 0) {
        wire_add_varint(out, WIRE_TAG(number, WIRE_VARINT));
        wire_add_varint(out, value);
    }
}

static inline void wire_add_fixed64(struct buf *out, unsigned number, uint64_t value)
{
    if (value != 0) {
        unsigned char bytes[8];
        for (unsigned i = 0; i < 8; i++) {
            bytes[i] = (unsigned char)(value >> (8 * i));
        }
        wire_add_varint(out, WIRE_TAG(number, WIRE_FIXED64));
        buf_add(out, bytes, sizeof(bytes));
    }
}

/* An element of a list, or a message: also when it is empty. */
static inline void wire_add_element(struct buf *out, unsigned number, struct span bytes)
{
    wire_add_varint(out, WIRE_TAG(number, WIRE_BYTES));
    wire_add_varint(out, bytes.len);
    buf_add_span(out, bytes);
}

static inline void wire_add_bytes(struct buf *out, unsigned number, struct span bytes)
{
    if (bytes.len > 0) {
        wire_add_element(out, number, bytes);
    }
}

/* A message within: begin remembers where its content starts, end puts tag and length in front by
 * moving the content. What has a length known before is written with wire_add_element. */
static inline size_t wire_begin(const struct buf *out)
{
    return out->len;
}

static inline void wire_end(struct buf *out, unsigned number, size_t start)
{
    unsigned char head[20];
    const size_t len = out->len - start;
    size_t head_len = wire_put_varint(head, WIRE_TAG(number, WIRE_BYTES));

    head_len += wire_put_varint(head + head_len, len);
    if (buf_reserve(out, head_len)) {
        memmove(out->data + start + head_len, out->data + start, len);
        memcpy(out->data + start, head, head_len);
        buf_commit(out, head_len);
    }
}

#endif
