/*
 * capture/parse: bytes as records. In: bytes from a file that may be cut, damaged or made by
 * somebody hostile. Out: one record as spans into them. The envelope's fixed bytes and every
 * container are checked before msgpack-c sees them, since it takes memory for as many members as a
 * container claims to have.
 */

#include "capture/record.h"

#include "base/check.h"
#include "base/digest.h"

#include <msgpack.h>

/* ---------------------------------------------------------------- the envelope */

static uint64_t big_endian(const unsigned char *at, size_t count)
{
    uint64_t value = 0;

    for (size_t i = 0; i < count; i++) {
        value = value << 8 | at[i];
    }
    return value;
}

/* 92 cf <checksum: 8> then c4, c5 or c6 and a length of 1, 2 or 4 bytes. */
static enum capture_found
open_envelope(struct span bytes, uint64_t *ret_checksum, struct span *ret_payload)
{
    static const unsigned char start[] = {0x92, 0xcf};
    const unsigned char *at = (const unsigned char *)bytes.ptr;
    const size_t length_at = sizeof start + 8;

    for (size_t i = 0; i < sizeof start && i < bytes.len; i++) {
        if (at[i] != start[i]) {
            return CAPTURE_DAMAGED;
        }
    }
    if (bytes.len <= length_at) {
        return CAPTURE_TORN;
    }
    if (at[length_at] < 0xc4 || at[length_at] > 0xc6) {
        return CAPTURE_DAMAGED;
    }
    const size_t length_bytes = (size_t)1 << (at[length_at] - 0xc4);
    const size_t head = length_at + 1 + length_bytes;
    if (bytes.len < head) {
        return CAPTURE_TORN;
    }
    const uint64_t len = big_endian(at + length_at + 1, length_bytes);
    if (len > CAPTURE_MAX_RECORD - head) {
        return CAPTURE_DAMAGED;
    }
    if (bytes.len - head < len) {
        return CAPTURE_TORN;
    }
    *ret_checksum = big_endian(at + sizeof start, 8);
    *ret_payload = (struct span){bytes.ptr + head, (size_t)len};
    return CAPTURE_WHOLE;
}

/* ---------------------------------------------------------------- members */

struct members {
    struct span payload;
    size_t at;
    bool bad; /* sticky */
};

/* A value that is no container, or nothing. */
static bool take(struct members *members, msgpack_object *ret)
{
    msgpack_unpacked unpacked;
    bool good = false;

    if (members->bad || members->at == members->payload.len) {
        members->bad = true;
        return false;
    }
    const unsigned char first = (unsigned char)members->payload.ptr[members->at];
    const bool is_container = (first >= 0x80 && first <= 0x9f) || (first >= 0xdc && first <= 0xdf);
    if (!is_container) {
        msgpack_unpacked_init(&unpacked);
        msgpack_unpack_return result = msgpack_unpack_next(&unpacked, members->payload.ptr,
                                                           members->payload.len, &members->at);
        good = result == MSGPACK_UNPACK_SUCCESS;
        *ret = unpacked.data; /* texts point into the payload */
        msgpack_unpacked_destroy(&unpacked);
    }
    members->bad = !good;
    return good;
}

static uint64_t take_number(struct members *members)
{
    msgpack_object object;

    if (take(members, &object) && object.type == MSGPACK_OBJECT_POSITIVE_INTEGER) {
        return object.via.u64;
    }
    members->bad = true;
    return 0;
}

static struct span take_text(struct members *members)
{
    msgpack_object object;

    if (take(members, &object) && object.type == MSGPACK_OBJECT_STR) {
        return (struct span){object.via.str.ptr, object.via.str.size};
    }
    members->bad = true;
    return SPAN_NONE;
}

static struct span take_bytes(struct members *members)
{
    msgpack_object object;

    if (take(members, &object) && object.type == MSGPACK_OBJECT_BIN) {
        return (struct span){object.via.bin.ptr, object.via.bin.size};
    }
    members->bad = true;
    return SPAN_NONE;
}

static enum capture_direction take_direction(struct members *members)
{
    uint64_t direction = take_number(members);

    members->bad |= direction > CAPTURE_RESPONSE;
    return direction == CAPTURE_RESPONSE ? CAPTURE_RESPONSE : CAPTURE_REQUEST;
}

/* ---------------------------------------------------------------- payloads */

static bool parse_payload(struct span payload, struct capture_record *ret)
{
    static const unsigned char member_counts[] = {
        [CAPTURE_HEADER] = 8, [CAPTURE_FRAME] = 4, [CAPTURE_WITHHELD] = 4, [CAPTURE_END] = 3};
    struct members members = {payload, 1, payload.len < 2};
    const uint64_t kind = take_number(&members);

    if (members.bad || kind >= ARRAY_LEN(member_counts) ||
        (unsigned char)payload.ptr[0] != (0x90 | member_counts[kind])) {
        return false;
    }
    ret->kind = (enum capture_kind)kind;
    switch (ret->kind) {
    case CAPTURE_HEADER:
        ret->header.format = take_number(&members);
        ret->header.product = take_text(&members);
        ret->header.version = take_text(&members);
        ret->header.codec = take_text(&members);
        ret->header.unix_us = take_number(&members);
        ret->clock_us = take_number(&members);
        ret->header.segment = take_number(&members);
        break;
    case CAPTURE_FRAME:
        ret->direction = take_direction(&members);
        ret->clock_us = take_number(&members);
        ret->frame = take_bytes(&members);
        break;
    case CAPTURE_WITHHELD:
        ret->direction = take_direction(&members);
        ret->clock_us = take_number(&members);
        ret->withheld_bytes = take_number(&members);
        break;
    case CAPTURE_END:
        ret->clock_us = take_number(&members);
        ret->reason = take_text(&members);
        break;
    }
    return !members.bad && members.at == payload.len;
}

enum capture_found capture_parse(struct span bytes, struct capture_record *ret, size_t *ret_bytes)
{
    uint64_t checksum;
    struct span payload;
    struct capture_record record = {0};
    const enum capture_found found = open_envelope(bytes, &checksum, &payload);

    if (found != CAPTURE_WHOLE) {
        return found;
    }
    if (digest_xxh64(payload, 0) != checksum || !parse_payload(payload, &record)) {
        return CAPTURE_DAMAGED;
    }
    *ret = record;
    *ret_bytes = (size_t)(payload.ptr + payload.len - bytes.ptr);
    return CAPTURE_WHOLE;
}
