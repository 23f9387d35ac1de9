/*
 * Room proto: requests from JSON. A framed value comes in; a Load or Store goes out as spans into
 * it (packed tuples are decoded from base64 into memory of the decoder), read in one pass; any
 * other request is read by its table of fields into the arena. It knows nothing of streams.
 *
 * null is absent everywhere, unknown names are stepped over, and of a name that stands twice the
 * last one counts.
 */

#include "proto/decode.h"

#include "base/text.h"
#include "proto/shape.h"
#include "json/scan.h"

#include <math.h>

static __attribute__((cold, noinline)) struct error *bad_value(const char *wanted,
                                                               const struct json_item *item)
{
    return error_new(ERROR_PROTOCOL, ERROR_FATAL, "expected %s, not a value of type %s", wanted,
                     json_kind_name(item->kind));
}

/* ---------------------------------------------------------------- values */

static struct span inside(const struct json_item *item)
{
    return (struct span){item->raw.ptr + 1, item->raw.len - 2};
}

/* A number or a string of digits, 0 for null. */
static struct error *to_uint32(const struct json_item *item, uint32_t *ret)
{
    uint64_t value = 0;
    bool good = item->kind == JSON_NULL || json_to_uint64(item, &value);

    if (!good && item->kind == JSON_STRING) {
        good = text_to_uint64(inside(item), &value);
    }
    if (!good || value > UINT32_MAX) {
        return bad_value("an integer of 32 bits", item);
    }
    *ret = (uint32_t)value;
    return NULL;
}

static struct error *to_bool(const struct json_item *item, bool *ret)
{
    if (item->kind != JSON_TRUE && item->kind != JSON_FALSE && item->kind != JSON_NULL) {
        return bad_value("true or false", item);
    }
    *ret = item->kind == JSON_TRUE;
    return NULL;
}

static struct error *to_double(const struct json_item *item, double *ret)
{
    *ret = 0;
    if (item->kind == JSON_NULL || json_to_double(item, ret)) {
        return NULL;
    }
    if (item->kind == JSON_STRING) {
        const struct span text = inside(item);
        if (span_is(text, "NaN")) {
            *ret = (double)NAN;
            return NULL;
        }
        if (span_is(text, "Infinity") || span_is(text, "-Infinity")) {
            *ret = text.ptr[0] == '-' ? -(double)INFINITY : (double)INFINITY;
            return NULL;
        }
        if (text_to_double(text, ret)) {
            return NULL;
        }
    }
    return bad_value("a number", item);
}

/* Raw JSON; null is absent. */
static struct span to_raw(const struct json_item *item)
{
    return item->kind == JSON_NULL ? SPAN_NONE : item->raw;
}

static struct error *to_array(const struct json_item *item, struct span *ret)
{
    if (item->kind != JSON_ARRAY && item->kind != JSON_NULL) {
        return bad_value("an array", item);
    }
    *ret = to_raw(item);
    return NULL;
}

/* A packed tuple out of base64, into memory of its own, so that key and values may grow apart. */
static struct error *to_packed(const struct json_item *item, struct buf *memory, struct span *ret)
{
    struct span text;

    *ret = SPAN_NONE;
    if (item->kind == JSON_NULL) {
        return NULL;
    }
    if (item->kind != JSON_STRING) {
        return bad_value("base64", item);
    }
    text = inside(item);
    /* Room for the text without its escapes (some writers put a backslash before each slash) and
     * behind it for the bytes. */
    buf_clear(memory);
    if (!buf_reserve(memory, 2 * text.len + 8)) {
        return error_new(ERROR_PROTOCOL, ERROR_FATAL, "a tuple of %zu bytes is too long", text.len);
    }
    RETURN_IF_ERROR(json_unescape(text, memory, &text));
    char *out = buf_reserve(memory, text.len / 4 * 3 + 3);
    const ptrdiff_t len = out ? text_base64_decode(out, text) : -1;
    if (len < 0) {
        return error_new(ERROR_PROTOCOL, ERROR_FATAL, "the text is not base64");
    }
    buf_commit(memory, (size_t)len);
    *ret = (struct span){out, (size_t)len};
    return NULL;
}

/* ---------------------------------------------------------------- Load and Store */

enum row_field {
    ROW_UNKNOWN,
    ROW_BINDING,
    ROW_KEY,
    ROW_KEY_PACKED,
    ROW_VALUES,
    ROW_VALUES_PACKED,
    ROW_DOC,
    ROW_EXISTS,
    ROW_DELETE
};

static const struct {
    struct span name;
    enum row_field field;
} row_names[] = {
    {{"binding", 7}, ROW_BINDING},
    {{"keyPacked", 9}, ROW_KEY_PACKED},
    {{"key", 3}, ROW_KEY},
    {{"valuesPacked", 12}, ROW_VALUES_PACKED},
    {{"values", 6}, ROW_VALUES},
    {{"doc", 3}, ROW_DOC},
    {{"exists", 6}, ROW_EXISTS},
    {{"delete", 6}, ROW_DELETE},
    {{"key_json", 8}, ROW_KEY},
    {{"key_packed", 10}, ROW_KEY_PACKED},
    {{"values_json", 11}, ROW_VALUES},
    {{"values_packed", 13}, ROW_VALUES_PACKED},
    {{"doc_json", 8}, ROW_DOC},
};

static enum row_field row_field_of(struct span name)
{
    for (size_t i = 0; i < ARRAY_LEN(row_names); i++) {
        if (span_equal(name, row_names[i].name)) {
            return row_names[i].field;
        }
    }
    if (name.len > 0 && memchr(name.ptr, '\\', name.len)) {
        for (size_t i = 0; i < ARRAY_LEN(row_names); i++) {
            if (json_name_is(name, row_names[i].name.ptr)) {
                return row_names[i].field;
            }
        }
    }
    return ROW_UNKNOWN;
}

static struct error *read_row_field(enum row_field field,
                                    const struct json_item *item,
                                    struct decode_memory *memory,
                                    struct proto_store *row)
{
    switch (field) {
    case ROW_BINDING:
        return to_uint32(item, &row->binding);
    case ROW_KEY:
        return to_array(item, &row->key.json);
    case ROW_KEY_PACKED:
        return to_packed(item, &memory->key, &row->key.packed);
    case ROW_VALUES:
        return to_array(item, &row->values.json);
    case ROW_VALUES_PACKED:
        return to_packed(item, &memory->values, &row->values.packed);
    case ROW_DOC:
        row->doc_json = to_raw(item);
        return NULL;
    case ROW_EXISTS:
        return to_bool(item, &row->exists);
    case ROW_DELETE:
        return to_bool(item, &row->is_delete);
    case ROW_UNKNOWN:
        break;
    }
    return NULL;
}

/* The members of a Load are the first of a Store. */
static struct error *
read_row(struct json_reader *reader, struct decode_memory *memory, struct proto_store *row)
{
    struct span name;
    struct json_item item;
    bool have;

    *row = (struct proto_store){0};
    RETURN_IF_ERROR(json_enter(reader, JSON_OBJECT));
    for (;;) {
        RETURN_IF_ERROR(json_member(reader, &name, &item, &have));
        if (!have) {
            return NULL;
        }
        struct error *err = read_row_field(row_field_of(name), &item, memory, row);
        if (err) {
            return error_wrap(err, "%.*s", SPAN_FMT(name));
        }
    }
}

/* ---------------------------------------------------------------- cold messages */

static struct error *read_message(struct cold *cold,
                                  struct json_reader *reader,
                                  const struct shape *shape,
                                  void *message);

static struct error *copy_text(struct cold *cold, const struct json_item *item, struct span *ret)
{
    struct span text;

    if (item->kind != JSON_STRING) {
        return bad_value("a string", item);
    }
    buf_clear(cold->scratch);
    RETURN_IF_ERROR(json_string(item, cold->scratch, &text));
    if (!text_is_utf8(text)) {
        return error_new(ERROR_PROTOCOL, ERROR_FATAL, "the text is not UTF-8");
    }
    return cold_copy(cold, text, ret);
}

/* By name or by number; a later revision's value is none we know. */
static struct error *to_exists(const struct json_item *item, enum proto_exists *ret)
{
    static const char *const names[] = {"INVALID", "MUST", "MAY", "IMPLICIT", "CANNOT"};
    uint64_t number;

    *ret = PROTO_EXISTS_INVALID;
    if (item->kind == JSON_STRING) {
        for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
            if (span_is(inside(item), names[i])) {
                *ret = (enum proto_exists)i;
            }
        }
        return NULL;
    }
    if (!json_to_uint64(item, &number)) {
        return bad_value("an enum's name or number", item);
    }
    if (number <= PROTO_EXISTS_CANNOT) {
        *ret = (enum proto_exists)number;
    }
    return NULL;
}

static struct error *read_item_field(struct cold *cold,
                                     struct json_reader *reader,
                                     const struct field *field,
                                     void *message)
{
    void *const at = field_at(message, field);
    struct json_item item;

    RETURN_IF_ERROR(json_next(reader, &item));
    switch (field->type) {
    case FIELD_TEXT:
        return copy_text(cold, &item, at);
    case FIELD_RAW:
        return cold_copy(cold, item.raw, at);
    case FIELD_OPAQUE:
        return item.kind == JSON_OBJECT ? cold_copy(cold, item.raw, at)
                                        : bad_value("an object", &item);
    case FIELD_BOOL:
        return to_bool(&item, at);
    case FIELD_UINT32:
    case FIELD_FIXED32:
        return to_uint32(&item, at);
    case FIELD_DOUBLE:
        return to_double(&item, at);
    case FIELD_EXISTS:
        return to_exists(&item, at);
    default: /* FIELD_TIMESTAMP */
        if (item.kind != JSON_STRING ||
            !text_from_rfc3339(inside(&item), at, field_second(message, field))) {
            return bad_value("a time as in RFC 3339", &item);
        }
        return NULL;
    }
}

/* The elements of a list of messages or of strings. */
static struct error *
read_list(struct cold *cold, struct json_reader *reader, const struct field *field, void *message)
{
    const bool texts = field->type == FIELD_TEXTS;
    const size_t size = texts ? sizeof(struct span) : field->shape->size;
    void *element;
    bool have;

    RETURN_IF_ERROR(json_enter(reader, JSON_ARRAY));
    for (;;) {
        RETURN_IF_ERROR(json_element_start(reader, &have));
        if (!have) {
            return NULL;
        }
        RETURN_IF_ERROR(cold_append(cold, message, field, size, &element));
        if (texts) {
            struct json_item item;
            RETURN_IF_ERROR(json_next(reader, &item));
            RETURN_IF_ERROR(copy_text(cold, &item, element));
        } else {
            RETURN_IF_ERROR(read_message(cold, reader, field->shape, element));
        }
    }
}

/* An object of raw values. A null stays a value here: the name is there. */
static struct error *read_options(struct cold *cold,
                                  struct json_reader *reader,
                                  const struct field *field,
                                  void *message)
{
    struct span name;
    struct json_item item;
    void *element;
    bool have;

    RETURN_IF_ERROR(json_enter(reader, JSON_OBJECT));
    for (;;) {
        RETURN_IF_ERROR(json_member(reader, &name, &item, &have));
        if (!have) {
            return NULL;
        }
        RETURN_IF_ERROR(
            cold_append(cold, message, field, sizeof(struct proto_field_option), &element));
        struct proto_field_option *option = element;
        const struct json_item quoted = {JSON_STRING, true, {name.ptr - 1, name.len + 2}};
        RETURN_IF_ERROR(copy_text(cold, &quoted, &option->field));
        RETURN_IF_ERROR(cold_copy(cold, item.raw, &option->config_json));
    }
}

static struct error *
read_field(struct cold *cold, struct json_reader *reader, const struct field *field, void *message)
{
    void *const at = field_at(message, field);
    enum json_kind kind;
    void *element;

    field_clear(message, field);
    if (json_peek(reader, &kind) && kind == JSON_NULL) {
        struct json_item null;
        return json_next(reader, &null);
    }
    switch (field->type) {
    case FIELD_PART:
        if (field->second != FIELD_NO_SECOND) {
            *(bool *)field_second(message, field) = true;
        }
        return read_message(cold, reader, field->shape, at);
    case FIELD_POINTER:
        RETURN_IF_ERROR(cold_alloc(cold, 1, field->shape->size, &element));
        memcpy(at, &element, sizeof(element));
        return read_message(cold, reader, field->shape, element);
    case FIELD_LIST:
    case FIELD_TEXTS:
        return read_list(cold, reader, field, message);
    case FIELD_OPTIONS:
        return read_options(cold, reader, field, message);
    case FIELD_TEXT:
    case FIELD_RAW:
    case FIELD_OPAQUE:
    case FIELD_BOOL:
    case FIELD_UINT32:
    case FIELD_FIXED32:
    case FIELD_DOUBLE:
    case FIELD_EXISTS:
    case FIELD_TIMESTAMP:
        break;
    }
    return read_item_field(cold, reader, field, message);
}

static const struct field *find_field(const struct shape *shape, struct span name)
{
    for (unsigned i = 0; i < shape->field_count; i++) {
        const struct field *field = &shape->fields[i];
        if (json_name_is(name, field->name) || json_name_is(name, field->proto_name)) {
            return field;
        }
    }
    return NULL;
}

/* Recursion follows the tables, so it is as deep as they are. */
static struct error *read_message(struct cold *cold,
                                  struct json_reader *reader,
                                  const struct shape *shape,
                                  void *message)
{
    struct span name;
    struct json_item ignored;
    bool have;

    RETURN_IF_ERROR(json_enter(reader, JSON_OBJECT));
    for (;;) {
        RETURN_IF_ERROR(json_member_name(reader, &name, &have));
        if (!have) {
            return shape_end(shape, message);
        }
        const struct field *field = find_field(shape, name);
        if (!field) {
            RETURN_IF_ERROR(json_next(reader, &ignored));
            continue;
        }
        struct error *err = read_field(cold, reader, field, message);
        if (err) {
            return field_wrap(err, field, message);
        }
    }
}

/* ---------------------------------------------------------------- requests */

static const struct {
    const char *name;
    const char *proto_name; /* NULL: the same */
    enum proto_request_kind kind;
} request_names[] = {
    {"store", NULL, PROTO_STORE},
    {"load", NULL, PROTO_LOAD},
    {"spec", NULL, PROTO_SPEC},
    {"validate", NULL, PROTO_VALIDATE},
    {"apply", NULL, PROTO_APPLY},
    {"open", NULL, PROTO_OPEN},
    {"flush", NULL, PROTO_FLUSH},
    {"startCommit", "start_commit", PROTO_START_COMMIT},
    {"acknowledge", NULL, PROTO_ACKNOWLEDGE},
};

/* 0 for what is no request. */
static unsigned kind_of(struct span name)
{
    for (size_t i = 0; i < ARRAY_LEN(request_names); i++) {
        const char *const proto_name = request_names[i].proto_name;
        if (json_name_is(name, request_names[i].name) ||
            (proto_name && json_name_is(name, proto_name))) {
            return request_names[i].kind;
        }
    }
    return 0;
}

static struct error *read_request(struct json_reader *reader,
                                  struct arena *arena,
                                  struct decode_memory *memory,
                                  struct proto_request *ret)
{
    struct cold cold;
    void *message;
    const struct shape *shape;

    if (ret->kind == PROTO_STORE) {
        return read_row(reader, memory, &ret->u.store);
    }
    if (ret->kind == PROTO_LOAD) {
        struct proto_store row;
        RETURN_IF_ERROR(read_row(reader, memory, &row));
        ret->u.load = (struct proto_load){row.binding, row.key};
        return NULL;
    }
    cold_init(&cold, arena, &memory->text, (size_t)(reader->end - reader->start));
    RETURN_IF_ERROR(decode_begin_cold(&cold, ret->kind, ret, &message, &shape));
    if (!shape) {
        struct json_item ignored;
        RETURN_IF_ERROR(json_next(reader, &ignored));
        return ignored.kind == JSON_OBJECT ? NULL : bad_value("an object", &ignored);
    }
    return read_message(&cold, reader, shape, message);
}

struct error *decode_json(struct span frame,
                          struct arena *arena,
                          struct decode_memory *memory,
                          struct proto_request *ret)
{
    struct json_reader reader;
    struct json_item ignored;
    struct span name;
    enum json_kind value;
    unsigned kind = 0;
    bool have;

    json_reader_init(&reader, frame);
    RETURN_IF_ERROR(json_enter(&reader, JSON_OBJECT));
    for (;;) {
        RETURN_IF_ERROR(json_member_name(&reader, &name, &have));
        if (!have) {
            break;
        }
        const unsigned seen = kind_of(name);
        if (seen == 0 || (json_peek(&reader, &value) && value == JSON_NULL)) {
            RETURN_IF_ERROR(json_next(&reader, &ignored));
            continue;
        }
        RETURN_IF_ERROR(decode_set_kind(&kind, seen));
        ret->kind = (enum proto_request_kind)seen;
        struct error *err = read_request(&reader, arena, memory, ret);
        if (err) {
            return error_wrap(err, "%s", proto_request_name(ret->kind));
        }
    }
    if (kind == 0) {
        return error_new(ERROR_PROTOCOL, ERROR_FATAL, "the message holds no request");
    }
    return json_end(&reader);
}
