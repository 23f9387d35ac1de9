/*
 * Room proto: consumer.Checkpoint from one codec's form to the other's, for a checkpoint that was
 * stored by another implementation or under the other codec. It gives no meaning to any of it, and
 * refuses what it does not know rather than dropping it: a checkpoint that lost something would
 * make the runtime read too much or too little.
 *
 * Facts: gazette, consumer/protocol/protocol.proto.
 *
 *      Checkpoint     sources 1: map of Source, ack_intents 2: map of bytes
 *      Source         read_through 1: int64, producers 2: list of entries
 *      entry          id 1: bytes, state 2: ProducerState
 *      ProducerState  last_ack 1: fixed64, begin 2: int64
 */

#include "proto/codec.h"

#include "base/text.h"
#include "proto/wire.h"
#include "json/scan.h"
#include "json/write.h"

/* The one unknown field that has a meaning: with only it set, a checkpoint is zero and yet not
 * empty bytes (estuary/connectors, "explicit zero checkpoint"). It has no JSON form. */
#define ZERO_MARK WIRE_TAG((UINT32_C(1) << 29) - 1, WIRE_VARINT)

static struct error *bad_checkpoint(const char *where, const char *what)
{
    return error_new(ERROR_PROTOCOL, ERROR_FATAL, "%s of the checkpoint: %s", where, what);
}

/* ---------------------------------------------------------------- to JSON */

static const char unknown_field[] = "a field that is not known";

/* Walks a message's fields: each call sets tag and, by its wire type, one of the values. */
struct part {
    struct wire wire;
    uint32_t tag;
    uint64_t number;
    struct span bytes;
};

static struct error *next_part(struct part *part, const char *where, bool *ret_have)
{
    *ret_have = part->wire.at < part->wire.end;
    if (!*ret_have) {
        return NULL;
    }
    const char *bad = wire_read_tag(&part->wire, &part->tag);
    if (!bad) {
        switch (part->tag & 7) {
        case WIRE_VARINT:
            bad = wire_read_varint(&part->wire, &part->number);
            break;
        case WIRE_FIXED64:
            bad = wire_read_fixed64(&part->wire, &part->number);
            break;
        case WIRE_BYTES:
            bad = wire_read_bytes(&part->wire, &part->bytes);
            break;
        default:
            bad = unknown_field;
            break;
        }
    }
    return bad ? bad_checkpoint(where, bad) : NULL;
}

/* 64-bit numbers are strings in JSON. */
static void add_quoted_int(struct json_writer *w, const char *name, bool is_signed, uint64_t value)
{
    char digits[TEXT_INT_MAX];
    const size_t len = is_signed ? text_int64(digits, (int64_t)value) : text_uint64(digits, value);

    if (value != 0) {
        json_name(w, name);
        json_str(w, (struct span){digits, len});
    }
}

static void add_base64(struct json_writer *w, struct span bytes)
{
    json_raw(w, SPAN_LIT("\""));
    text_add_base64(w->out, bytes);
    buf_add_byte(w->out, '"');
}

static struct error *state_to_json(struct json_writer *w, struct span body)
{
    struct part part = {.wire = wire_of(body)};
    uint64_t last_ack = 0, begin = 0;
    bool have;

    for (;;) {
        RETURN_IF_ERROR(next_part(&part, "the state of a producer", &have));
        if (!have) {
            break;
        }
        if (part.tag == WIRE_TAG(1, WIRE_FIXED64)) {
            last_ack = part.number;
        } else if (part.tag == WIRE_TAG(2, WIRE_VARINT)) {
            begin = part.number;
        } else {
            return bad_checkpoint("the state of a producer", unknown_field);
        }
    }
    json_object_begin(w);
    add_quoted_int(w, "lastAck", false, last_ack);
    add_quoted_int(w, "begin", true, begin);
    json_object_end(w);
    return NULL;
}

static struct error *producer_to_json(struct json_writer *w, struct span body)
{
    struct part part = {.wire = wire_of(body)};
    struct span id = SPAN_NONE, state = SPAN_NONE;
    bool have;

    for (;;) {
        RETURN_IF_ERROR(next_part(&part, "a producer", &have));
        if (!have) {
            break;
        }
        if (part.tag == WIRE_TAG(1, WIRE_BYTES)) {
            id = part.bytes;
        } else if (part.tag == WIRE_TAG(2, WIRE_BYTES)) {
            state = part.bytes;
        } else {
            return bad_checkpoint("a producer", unknown_field);
        }
    }
    json_object_begin(w);
    if (id.len > 0) {
        json_name(w, "id");
        add_base64(w, id);
    }
    if (state.ptr) {
        json_name(w, "state");
        RETURN_IF_ERROR(state_to_json(w, state));
    }
    json_object_end(w);
    return NULL;
}

/* The list is written while it is read; readThrough, which may stand behind it, is found first. */
static struct error *source_to_json(struct json_writer *w, struct span body)
{
    struct part part = {.wire = wire_of(body)};
    uint64_t read_through = 0;
    bool have, have_producers = false;

    for (;;) {
        RETURN_IF_ERROR(next_part(&part, "a source", &have));
        if (!have) {
            break;
        }
        if (part.tag == WIRE_TAG(1, WIRE_VARINT)) {
            read_through = part.number;
        } else if (part.tag == WIRE_TAG(2, WIRE_BYTES)) {
            have_producers = true;
        } else {
            return bad_checkpoint("a source", unknown_field);
        }
    }
    json_object_begin(w);
    add_quoted_int(w, "readThrough", true, read_through);
    if (have_producers) {
        json_name(w, "producers");
        json_array_begin(w);
        part.wire = wire_of(body);
        for (;;) {
            RETURN_IF_ERROR(next_part(&part, "a source", &have));
            if (!have) {
                break;
            }
            if (part.tag == WIRE_TAG(2, WIRE_BYTES)) {
                RETURN_IF_ERROR(producer_to_json(w, part.bytes));
            }
        }
        json_array_end(w);
    }
    json_object_end(w);
    return NULL;
}

/* An entry of either map. */
static struct error *entry_to_json(struct json_writer *w, struct span body, bool is_source)
{
    struct part part = {.wire = wire_of(body)};
    struct span key = SPAN_LIT(""), value = SPAN_LIT("");
    bool have;

    for (;;) {
        RETURN_IF_ERROR(next_part(&part, "an entry", &have));
        if (!have) {
            break;
        }
        if (part.tag == WIRE_TAG(1, WIRE_BYTES)) {
            key = part.bytes;
        } else if (part.tag == WIRE_TAG(2, WIRE_BYTES)) {
            value = part.bytes;
        } else {
            return bad_checkpoint("an entry", unknown_field);
        }
    }
    if (!text_is_utf8(key)) {
        return bad_checkpoint("an entry", "its key is not UTF-8");
    }
    json_name_span(w, key);
    if (is_source) {
        return source_to_json(w, value);
    }
    add_base64(w, value);
    return NULL;
}

static struct error *
map_to_json(struct json_writer *w, struct span checkpoint, unsigned number, const char *name)
{
    struct part part = {.wire = wire_of(checkpoint)};
    bool have, any = false;

    for (;;) {
        RETURN_IF_ERROR(next_part(&part, "a field", &have));
        if (!have) {
            break;
        }
        if (part.tag != WIRE_TAG(number, WIRE_BYTES)) {
            if (part.tag != WIRE_TAG(1, WIRE_BYTES) && part.tag != WIRE_TAG(2, WIRE_BYTES) &&
                part.tag != ZERO_MARK) {
                return bad_checkpoint("a field", unknown_field);
            }
            continue;
        }
        if (!any) {
            json_name(w, name);
            json_object_begin(w);
            any = true;
        }
        RETURN_IF_ERROR(entry_to_json(w, part.bytes, number == 1));
    }
    if (any) {
        json_object_end(w);
    }
    return NULL;
}

/* What was written of a checkpoint that turned out to be none is taken back. */
static struct error *take_back(struct buf *out, size_t start, struct error *err)
{
    if (err && out->len > start) {
        out->len = start;
        out->data[start] = '\0';
    }
    return err;
}

struct error *proto_checkpoint_to_json(struct span protobuf, struct buf *out)
{
    const size_t start = out->len;
    struct json_writer w;

    json_writer_init(&w, out);
    json_object_begin(&w);
    struct error *err = map_to_json(&w, protobuf, 1, "sources");
    if (!err) {
        err = map_to_json(&w, protobuf, 2, "ackIntents");
    }
    json_object_end(&w);
    return take_back(out, start, err);
}

/* ---------------------------------------------------------------- to protobuf */

/* One reader for all levels; scratch holds a key or decoded bytes until they are written. */
struct from_json {
    struct json_reader reader;
    struct buf scratch;
    struct buf *out;
};

typedef struct error *member_fn(struct from_json *from, struct span name);

static struct error *unknown_member(const char *where)
{
    return bad_checkpoint(where, "a member that is not known");
}

/* Calls fn for each member of the object that comes next; fn reads the value. null is absent. */
static struct error *each_member(struct from_json *from, member_fn *fn)
{
    struct json_item null;
    struct span name;
    enum json_kind kind;
    bool have;

    RETURN_IF_ERROR(json_enter(&from->reader, JSON_OBJECT));
    for (;;) {
        RETURN_IF_ERROR(json_member_name(&from->reader, &name, &have));
        if (!have) {
            return NULL;
        }
        RETURN_IF_ERROR(json_peek(&from->reader, &kind) && kind == JSON_NULL
                            ? json_next(&from->reader, &null)
                            : fn(from, name));
    }
}

static bool is_member(struct span name, const char *json_name, const char *proto_name)
{
    return json_name_is(name, json_name) || json_name_is(name, proto_name);
}

/* A number, or a string of digits. */
static struct error *
read_number(struct from_json *from, const char *where, bool is_signed, uint64_t *ret)
{
    struct json_item item;
    int64_t number = 0;

    RETURN_IF_ERROR(json_next(&from->reader, &item));
    struct span digits = item.raw;
    if (item.kind == JSON_STRING) {
        digits = (struct span){item.raw.ptr + 1, item.raw.len - 2};
    }
    const bool good = is_signed ? text_to_int64(digits, &number) : text_to_uint64(digits, ret);
    if (!good || (item.kind != JSON_STRING && item.kind != JSON_NUMBER)) {
        return bad_checkpoint(where, "expected an integer of 64 bits");
    }
    if (is_signed) {
        *ret = (uint64_t)number;
    }
    return NULL;
}

static struct error *add_from_base64(struct from_json *from, unsigned number, const char *where)
{
    struct json_item item;
    struct span text;

    RETURN_IF_ERROR(json_next(&from->reader, &item));
    buf_clear(&from->scratch);
    RETURN_IF_ERROR(json_string(&item, &from->scratch, &text));
    const size_t start = wire_begin(from->out);
    if (!text_from_base64(from->out, text)) {
        return bad_checkpoint(where, "expected base64");
    }
    if (from->out->len > start) {
        wire_end(from->out, number, start);
    }
    return NULL;
}

static struct error *state_member(struct from_json *from, struct span name)
{
    uint64_t value;

    if (is_member(name, "lastAck", "last_ack")) {
        RETURN_IF_ERROR(read_number(from, "lastAck", false, &value));
        wire_add_fixed64(from->out, 1, value);
        return NULL;
    }
    if (json_name_is(name, "begin")) {
        RETURN_IF_ERROR(read_number(from, "begin", true, &value));
        wire_add_uint(from->out, 2, value);
        return NULL;
    }
    return unknown_member("the state of a producer");
}

static struct error *producer_member(struct from_json *from, struct span name)
{
    if (json_name_is(name, "id")) {
        return add_from_base64(from, 1, "id");
    }
    if (json_name_is(name, "state")) {
        const size_t start = wire_begin(from->out);
        RETURN_IF_ERROR(each_member(from, state_member));
        wire_end(from->out, 2, start);
        return NULL;
    }
    return unknown_member("a producer");
}

static struct error *source_member(struct from_json *from, struct span name)
{
    uint64_t value;
    bool have;

    if (is_member(name, "readThrough", "read_through")) {
        RETURN_IF_ERROR(read_number(from, "readThrough", true, &value));
        wire_add_uint(from->out, 1, value);
        return NULL;
    }
    if (!json_name_is(name, "producers")) {
        return unknown_member("a source");
    }
    RETURN_IF_ERROR(json_enter(&from->reader, JSON_ARRAY));
    for (;;) {
        RETURN_IF_ERROR(json_element_start(&from->reader, &have));
        if (!have) {
            return NULL;
        }
        const size_t start = wire_begin(from->out);
        RETURN_IF_ERROR(each_member(from, producer_member));
        wire_end(from->out, 2, start);
    }
}

static struct error *add_key(struct from_json *from, struct span name)
{
    struct span key;

    buf_clear(&from->scratch);
    RETURN_IF_ERROR(json_unescape(name, &from->scratch, &key));
    wire_add_bytes(from->out, 1, key);
    return NULL;
}

static struct error *source_entry(struct from_json *from, struct span name)
{
    const size_t start = wire_begin(from->out);

    RETURN_IF_ERROR(add_key(from, name));
    const size_t inner = wire_begin(from->out);
    RETURN_IF_ERROR(each_member(from, source_member));
    wire_end(from->out, 2, inner);
    wire_end(from->out, 1, start);
    return NULL;
}

static struct error *ack_intent_entry(struct from_json *from, struct span name)
{
    const size_t start = wire_begin(from->out);

    RETURN_IF_ERROR(add_key(from, name));
    RETURN_IF_ERROR(add_from_base64(from, 2, "ackIntents"));
    wire_end(from->out, 2, start);
    return NULL;
}

static struct error *checkpoint_member(struct from_json *from, struct span name)
{
    if (json_name_is(name, "sources")) {
        return each_member(from, source_entry);
    }
    if (is_member(name, "ackIntents", "ack_intents")) {
        return each_member(from, ack_intent_entry);
    }
    return unknown_member("the top");
}

struct error *proto_checkpoint_to_protobuf(struct span json, struct buf *out)
{
    const size_t start = out->len;
    struct from_json from = {.out = out};

    json_reader_init(&from.reader, json);
    buf_init(&from.scratch, PROTO_MAX_FRAME);
    struct error *err = each_member(&from, checkpoint_member);
    if (!err) {
        err = json_end(&from.reader);
    }
    buf_done(&from.scratch);
    return take_back(out, start, err);
}
