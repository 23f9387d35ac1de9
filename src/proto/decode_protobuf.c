/*
 * Room proto: requests from protobuf. A whole frame comes in; a Load or Store goes out as spans
 * into it, by one loop without allocation; any other request is read by its table of fields into
 * the arena. Raw JSON inside is passed on unread. It knows nothing of streams and buffers.
 */

#include "proto/decode.h"

#include "base/text.h"
#include "proto/shape.h"
#include "proto/wire.h"

static __attribute__((cold, noinline)) struct error *bad_wire(uint32_t tag, const char *what)
{
    if (tag == 0) {
        return error_new(ERROR_PROTOCOL, ERROR_FATAL, "%s", what);
    }
    return error_new(ERROR_PROTOCOL, ERROR_FATAL, "field %u: %s", (unsigned)(tag >> 3), what);
}

/* ---------------------------------------------------------------- Load and Store */

static const char wrong_type[] = "the field has another wire type than the protocol says";

static struct error *read_load(struct span body, struct proto_load *ret)
{
    struct wire wire = wire_of(body);
    struct proto_load load = {0};

    while (wire.at < wire.end) {
        uint32_t tag = 0;
        const char *bad = wire_read_tag(&wire, &tag);
        if (bad) {
            return bad_wire(0, bad);
        }
        switch (tag) {
        case WIRE_TAG(1, WIRE_VARINT):
            bad = wire_read_uint32(&wire, &load.binding);
            break;
        case WIRE_TAG(2, WIRE_BYTES):
            bad = wire_read_bytes(&wire, &load.key.json);
            break;
        case WIRE_TAG(3, WIRE_BYTES):
            bad = wire_read_bytes(&wire, &load.key.packed);
            break;
        default:
            bad = tag >> 3 <= 3 ? wrong_type : wire_skip(&wire, tag);
            break;
        }
        if (bad) {
            return bad_wire(tag, bad);
        }
    }
    *ret = load;
    return NULL;
}

static struct error *read_store(struct span body, struct proto_store *ret)
{
    struct wire wire = wire_of(body);
    struct proto_store store = {0};
    uint64_t flag;

    while (wire.at < wire.end) {
        uint32_t tag = 0;
        const char *bad = wire_read_tag(&wire, &tag);
        if (bad) {
            return bad_wire(0, bad);
        }
        switch (tag) {
        case WIRE_TAG(1, WIRE_VARINT):
            bad = wire_read_uint32(&wire, &store.binding);
            break;
        case WIRE_TAG(2, WIRE_BYTES):
            bad = wire_read_bytes(&wire, &store.key.json);
            break;
        case WIRE_TAG(3, WIRE_BYTES):
            bad = wire_read_bytes(&wire, &store.key.packed);
            break;
        case WIRE_TAG(4, WIRE_BYTES):
            bad = wire_read_bytes(&wire, &store.values.json);
            break;
        case WIRE_TAG(5, WIRE_BYTES):
            bad = wire_read_bytes(&wire, &store.values.packed);
            break;
        case WIRE_TAG(6, WIRE_BYTES):
            bad = wire_read_bytes(&wire, &store.doc_json);
            break;
        case WIRE_TAG(7, WIRE_VARINT):
            bad = wire_read_varint(&wire, &flag);
            store.exists = !bad && flag != 0;
            break;
        case WIRE_TAG(8, WIRE_VARINT):
            bad = wire_read_varint(&wire, &flag);
            store.is_delete = !bad && flag != 0;
            break;
        default:
            bad = tag >> 3 <= 8 ? wrong_type : wire_skip(&wire, tag);
            break;
        }
        if (bad) {
            return bad_wire(tag, bad);
        }
    }
    *ret = store;
    return NULL;
}

/* ---------------------------------------------------------------- cold messages */

static struct error *
read_message(struct cold *cold, struct span body, const struct shape *shape, void *message);

static uint32_t wire_type_of(enum field_type type)
{
    switch (type) {
    case FIELD_BOOL:
    case FIELD_UINT32:
    case FIELD_EXISTS:
        return WIRE_VARINT;
    case FIELD_FIXED32:
        return WIRE_FIXED32;
    case FIELD_DOUBLE:
        return WIRE_FIXED64;
    case FIELD_TEXT:
    case FIELD_RAW:
    case FIELD_OPAQUE:
    case FIELD_TIMESTAMP:
    case FIELD_PART:
    case FIELD_POINTER:
    case FIELD_LIST:
    case FIELD_TEXTS:
    case FIELD_OPTIONS:
        return WIRE_BYTES;
    }
    return WIRE_BYTES;
}

static struct error *copy_text(struct cold *cold, struct span bytes, struct span *ret)
{
    if (!text_is_utf8(bytes)) {
        return error_new(ERROR_PROTOCOL, ERROR_FATAL, "the text is not UTF-8");
    }
    return cold_copy(cold, bytes, ret);
}

/* A map entry: {1: key, 2: value}; an empty key is not on the wire. */
static struct error *
read_option(struct cold *cold, struct span body, struct proto_field_option *option)
{
    struct wire wire = wire_of(body);

    option->field = SPAN_LIT("");
    while (wire.at < wire.end) {
        uint32_t tag = 0;
        struct span bytes;
        const char *bad = wire_read_tag(&wire, &tag);
        if (!bad && tag != WIRE_TAG(1, WIRE_BYTES) && tag != WIRE_TAG(2, WIRE_BYTES)) {
            bad = wire_skip(&wire, tag);
            if (!bad) {
                continue;
            }
        }
        if (!bad) {
            bad = wire_read_bytes(&wire, &bytes);
        }
        if (bad) {
            return bad_wire(tag, bad);
        }
        if (tag == WIRE_TAG(1, WIRE_BYTES)) {
            RETURN_IF_ERROR(copy_text(cold, bytes, &option->field));
        } else {
            RETURN_IF_ERROR(cold_copy(cold, bytes, &option->config_json));
        }
    }
    return NULL;
}

static struct error *read_timestamp(struct span body, int64_t *seconds, int32_t *nanos)
{
    struct wire wire = wire_of(body);

    *seconds = 0;
    *nanos = 0;
    while (wire.at < wire.end) {
        uint32_t tag = 0;
        uint64_t number = 0;
        const char *bad = wire_read_tag(&wire, &tag);
        if (!bad) {
            bad =
                (tag & 7) == WIRE_VARINT ? wire_read_varint(&wire, &number) : wire_skip(&wire, tag);
        }
        if (!bad && tag == WIRE_TAG(1, WIRE_VARINT)) {
            *seconds = (int64_t)number;
        } else if (!bad && tag == WIRE_TAG(2, WIRE_VARINT)) {
            bad = number > 999999999 ? "the nanoseconds are out of range" : NULL;
            *nanos = bad ? 0 : (int32_t)number;
        }
        if (bad) {
            return bad_wire(tag, bad);
        }
    }
    return NULL;
}

/* A field of wire type 2; bytes is its content. */
static struct error *
read_bytes_field(struct cold *cold, struct span bytes, const struct field *field, void *message)
{
    void *const at = field_at(message, field);
    void *element = NULL;

    switch (field->type) {
    case FIELD_TEXT:
        return copy_text(cold, bytes, at);
    case FIELD_RAW:
    case FIELD_OPAQUE:
        return cold_copy(cold, bytes, at);
    case FIELD_TIMESTAMP:
        return read_timestamp(bytes, at, field_second(message, field));
    case FIELD_PART:
        if (field->second != FIELD_NO_SECOND) {
            *(bool *)field_second(message, field) = true;
        }
        return read_message(cold, bytes, field->shape, at);
    case FIELD_POINTER:
        RETURN_IF_ERROR(cold_alloc(cold, 1, field->shape->size, &element));
        memcpy(at, &element, sizeof(element));
        return read_message(cold, bytes, field->shape, element);
    case FIELD_LIST:
        RETURN_IF_ERROR(cold_append(cold, message, field, field->shape->size, &element));
        return read_message(cold, bytes, field->shape, element);
    case FIELD_TEXTS:
        RETURN_IF_ERROR(cold_append(cold, message, field, sizeof(struct span), &element));
        return copy_text(cold, bytes, element);
    case FIELD_OPTIONS:
        RETURN_IF_ERROR(
            cold_append(cold, message, field, sizeof(struct proto_field_option), &element));
        return read_option(cold, bytes, element);
    case FIELD_BOOL:
    case FIELD_UINT32:
    case FIELD_FIXED32:
    case FIELD_DOUBLE:
    case FIELD_EXISTS:
        break;
    }
    CHECK(wire_type_of(field->type) == WIRE_BYTES); /* the caller asked */
    return NULL;
}

static const char *read_number_field(struct wire *wire, const struct field *field, void *message)
{
    void *const at = field_at(message, field);
    uint64_t number = 0;
    const char *bad;

    switch (field->type) {
    case FIELD_FIXED32:
        return wire_read_fixed32(wire, at);
    case FIELD_UINT32:
        return wire_read_uint32(wire, at);
    case FIELD_DOUBLE:
        bad = wire_read_fixed64(wire, &number);
        memcpy(at, &number, sizeof(number));
        return bad;
    case FIELD_BOOL:
        bad = wire_read_varint(wire, &number);
        *(bool *)at = number != 0;
        return bad;
    default: /* FIELD_EXISTS; a later revision's value is none we know */
        bad = wire_read_varint(wire, &number);
        *(enum proto_exists *)at =
            number <= PROTO_EXISTS_CANNOT ? (enum proto_exists)number : PROTO_EXISTS_INVALID;
        return bad;
    }
}

static const struct field *find_field(const struct shape *shape, uint32_t number)
{
    for (unsigned i = 0; i < shape->field_count; i++) {
        if (shape->fields[i].number == number) {
            return &shape->fields[i];
        }
    }
    return NULL;
}

/* Recursion follows the tables, so it is as deep as they are. */
static struct error *
read_message(struct cold *cold, struct span body, const struct shape *shape, void *message)
{
    struct wire wire = wire_of(body);

    while (wire.at < wire.end) {
        uint32_t tag = 0;
        struct span bytes;
        const char *bad = wire_read_tag(&wire, &tag);
        if (bad) {
            return bad_wire(0, bad);
        }
        const struct field *field = find_field(shape, tag >> 3);
        if (!field) {
            bad = wire_skip(&wire, tag);
        } else if ((tag & 7) != wire_type_of(field->type)) {
            bad = wrong_type;
        } else if ((tag & 7) != WIRE_BYTES) {
            bad = read_number_field(&wire, field, message);
        } else {
            bad = wire_read_bytes(&wire, &bytes);
            struct error *err = bad ? NULL : read_bytes_field(cold, bytes, field, message);
            if (err) {
                return field_wrap(err, field, message);
            }
        }
        if (bad) {
            return bad_wire(tag, bad);
        }
    }
    return shape_end(shape, message);
}

/* ---------------------------------------------------------------- requests */

static struct error *
read_request(struct span body, size_t frame_len, struct arena *arena, struct proto_request *ret)
{
    struct cold cold;
    void *message;
    const struct shape *shape;

    if (ret->kind == PROTO_STORE) {
        return read_store(body, &ret->u.store);
    }
    if (ret->kind == PROTO_LOAD) {
        return read_load(body, &ret->u.load);
    }
    cold_init(&cold, arena, NULL, frame_len);
    RETURN_IF_ERROR(decode_begin_cold(&cold, ret->kind, ret, &message, &shape));
    return shape ? read_message(&cold, body, shape, message) : NULL;
}

struct error *decode_protobuf(struct span frame, struct arena *arena, struct proto_request *ret)
{
    struct wire wire = wire_of(frame);
    struct span body = SPAN_NONE;
    unsigned kind = 0;

    while (wire.at < wire.end) {
        uint32_t tag = 0;
        const char *bad = wire_read_tag(&wire, &tag);
        if (bad) {
            return bad_wire(0, bad);
        }
        if (tag >> 3 > PROTO_ACKNOWLEDGE) {
            bad = wire_skip(&wire, tag);
        } else if ((tag & 7) != WIRE_BYTES) {
            bad = wrong_type;
        } else {
            RETURN_IF_ERROR(decode_set_kind(&kind, tag >> 3));
            bad = wire_read_bytes(&wire, &body);
        }
        if (bad) {
            return bad_wire(tag, bad);
        }
    }
    if (kind == 0) {
        return error_new(ERROR_PROTOCOL, ERROR_FATAL, "the message holds no request");
    }
    ret->kind = (enum proto_request_kind)kind;
    struct error *err = read_request(body, frame.len, arena, ret);
    return err ? error_wrap(err, "%s", proto_request_name(ret->kind)) : NULL;
}
