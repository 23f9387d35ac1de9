/* The message tables and the two codecs driven by them. Pure. */
#include "wire.h"

#include <stdlib.h>
#include <string.h>

enum kind {
    K_STRING,
    K_BYTES,   /* base64 in JSON */
    K_RAW,     /* embedded JSON */
    K_COMPACT, /* embedded JSON without raw tab or newline: a state update */
    K_BOOL,
    K_UINT32,
    K_INT32,
    K_INT64, /* a decimal string in JSON */
    K_FIXED32,
    K_FIXED64, /* a decimal string in JSON */
    K_DOUBLE,
    K_ENUM,
    K_MESSAGE
};

enum shape { SINGLE, REPEATED, MAP };

struct word {
    const char *name;
    unsigned number;
};

struct field {
    unsigned number;
    const char *name;
    enum kind kind;
    enum shape shape;
    const struct fr_message *message; /* of K_MESSAGE */
    const struct word *words;         /* of K_ENUM, ends with a NULL name */
};

struct fr_message {
    const char *name;
    const struct field *fields; /* ends with number 0 */
    unsigned removed;           /* a field that older peers read; skipped when it comes */
};

/* ---------------------------------------------------------------- tables */

#define ONE(number, name, kind)                                                                    \
    {                                                                                              \
        number, name, kind, SINGLE, NULL, NULL                                                     \
    }
#define MANY(number, name, kind)                                                                   \
    {                                                                                              \
        number, name, kind, REPEATED, NULL, NULL                                                   \
    }
#define KEYED(number, name, kind)                                                                  \
    {                                                                                              \
        number, name, kind, MAP, NULL, NULL                                                        \
    }
#define SUB(number, name, message)                                                                 \
    {                                                                                              \
        number, name, K_MESSAGE, SINGLE, message, NULL                                             \
    }
#define SUBS(number, name, message)                                                                \
    {                                                                                              \
        number, name, K_MESSAGE, REPEATED, message, NULL                                           \
    }
#define SUBMAP(number, name, message)                                                              \
    {                                                                                              \
        number, name, K_MESSAGE, MAP, message, NULL                                                \
    }
#define WORD(number, name, words)                                                                  \
    {                                                                                              \
        number, name, K_ENUM, SINGLE, NULL, words                                                  \
    }
#define END                                                                                        \
    {                                                                                              \
        0, NULL, K_STRING, SINGLE, NULL, NULL                                                      \
    }

static const struct word connector_types[] = {
    {"INVALID", 0}, {"IMAGE", 8}, {"LOCAL", 9}, {"DEKAF", 10}, {NULL, 0}};
static const struct word exists_words[] = {{"INVALID", 0},  {"MUST", 1},   {"MAY", 2},
                                           {"IMPLICIT", 3}, {"CANNOT", 4}, {NULL, 0}};
static const struct word reduce_words[] = {{"REDUCE_UNSET", 0},
                                           {"REDUCE_MULTIPLE", 1},
                                           {"REDUCE_APPEND", 2},
                                           {"REDUCE_FIRST_WRITE_WINS", 3},
                                           {"REDUCE_LAST_WRITE_WINS", 4},
                                           {"REDUCE_MAXIMIZE", 5},
                                           {"REDUCE_MERGE", 6},
                                           {"REDUCE_MINIMIZE", 7},
                                           {"REDUCE_SET", 8},
                                           {"REDUCE_SUM", 9},
                                           {"REDUCE_JSON_SCHEMA_MERGE", 10},
                                           {NULL, 0}};
static const struct word constraint_words[] = {{"INVALID", 0},
                                               {"FIELD_REQUIRED", 1},
                                               {"LOCATION_REQUIRED", 2},
                                               {"LOCATION_RECOMMENDED", 3},
                                               {"FIELD_OPTIONAL", 4},
                                               {"FIELD_FORBIDDEN", 5},
                                               {"INCOMPATIBLE", 6},
                                               {"UNSATISFIABLE", 7},
                                               {NULL, 0}};

#define MESSAGE(var, title, list) static const struct fr_message var = {title, list, 0}

static const struct field producer_state_fields[] = {ONE(1, "lastAck", K_FIXED64),
                                                     ONE(2, "begin", K_INT64), END};
MESSAGE(producer_state, "ProducerState", producer_state_fields);
static const struct field producer_fields[] = {ONE(1, "id", K_BYTES),
                                               SUB(2, "state", &producer_state), END};
MESSAGE(producer, "ProducerEntry", producer_fields);
static const struct field source_fields[] = {ONE(1, "readThrough", K_INT64),
                                             SUBS(2, "producers", &producer), END};
MESSAGE(source, "Source", source_fields);
static const struct field checkpoint_fields[] = {SUBMAP(1, "sources", &source),
                                                 KEYED(2, "ackIntents", K_BYTES), END};
const struct fr_message fr_checkpoint = {"Checkpoint", checkpoint_fields, 0};

static const struct field string_fields[] = {ONE(3, "contentType", K_STRING),
                                             ONE(4, "format", K_STRING),
                                             ONE(6, "maxLength", K_UINT32),
                                             ONE(7, "contentEncoding", K_STRING),
                                             ONE(8, "strMinimum", K_STRING),
                                             ONE(9, "strMaximum", K_STRING),
                                             END};
MESSAGE(inference_string, "Inference.String", string_fields);
static const struct field numeric_fields[] = {
    ONE(1, "hasMinimum", K_BOOL), ONE(2, "minimum", K_DOUBLE), ONE(3, "hasMaximum", K_BOOL),
    ONE(4, "maximum", K_DOUBLE), END};
MESSAGE(inference_numeric, "Inference.Numeric", numeric_fields);
static const struct field array_fields[] = {
    ONE(1, "minItems", K_UINT32), ONE(2, "hasMaxItems", K_BOOL), ONE(3, "maxItems", K_UINT32),
    MANY(4, "itemTypes", K_STRING), END};
MESSAGE(inference_array, "Inference.Array", array_fields);
static const struct field inference_fields[] = {MANY(1, "types", K_STRING),
                                                SUB(3, "string", &inference_string),
                                                ONE(4, "title", K_STRING),
                                                ONE(5, "description", K_STRING),
                                                ONE(6, "default", K_RAW),
                                                ONE(7, "secret", K_BOOL),
                                                WORD(8, "exists", exists_words),
                                                SUB(9, "numeric", &inference_numeric),
                                                SUB(10, "array", &inference_array),
                                                MANY(11, "enum", K_RAW),
                                                WORD(12, "reduce", reduce_words),
                                                ONE(14, "contentMediaType", K_STRING),
                                                END};
MESSAGE(inference, "Inference", inference_fields);
static const struct field projection_fields[] = {ONE(1, "ptr", K_STRING),
                                                 ONE(2, "field", K_STRING),
                                                 ONE(3, "explicit", K_BOOL),
                                                 ONE(4, "isPartitionKey", K_BOOL),
                                                 ONE(5, "isPrimaryKey", K_BOOL),
                                                 SUB(6, "inference", &inference),
                                                 END};
MESSAGE(projection, "Projection", projection_fields);
static const struct field collection_fields[] = {ONE(1, "name", K_STRING),
                                                 MANY(3, "key", K_STRING),
                                                 ONE(4, "uuidPtr", K_STRING),
                                                 MANY(5, "partitionFields", K_STRING),
                                                 SUBS(6, "projections", &projection),
                                                 ONE(7, "ackTemplate", K_RAW),
                                                 ONE(8, "writeSchema", K_RAW),
                                                 ONE(11, "readSchema", K_RAW),
                                                 END};
MESSAGE(collection, "CollectionSpec", collection_fields);
static const struct field selection_fields[] = {
    MANY(1, "keys", K_STRING), MANY(2, "values", K_STRING), ONE(3, "document", K_STRING),
    KEYED(4, "fieldConfig", K_RAW), END};
MESSAGE(selection, "FieldSelection", selection_fields);
static const struct field policy_fields[] = {ONE(1, "strTruncateAfter", K_UINT32),
                                             ONE(2, "nestedObjTruncateAfter", K_UINT32),
                                             ONE(3, "arrayTruncateAfter", K_UINT32), END};
MESSAGE(ser_policy, "SerPolicy", policy_fields);
static const struct field binding_fields[] = {ONE(1, "resourceConfig", K_RAW),
                                              MANY(2, "resourcePath", K_STRING),
                                              SUB(3, "collection", &collection),
                                              SUB(4, "fieldSelection", &selection),
                                              ONE(5, "deltaUpdates", K_BOOL),
                                              ONE(8, "journalReadSuffix", K_STRING),
                                              ONE(9, "priority", K_INT32),
                                              ONE(12, "backfill", K_UINT32),
                                              ONE(13, "stateKey", K_STRING),
                                              SUB(14, "serPolicy", &ser_policy),
                                              END};
MESSAGE(spec_binding, "MaterializationSpec.Binding", binding_fields);
static const struct field label_fields[] = {ONE(1, "name", K_STRING), ONE(2, "value", K_STRING),
                                            ONE(3, "prefix", K_BOOL), END};
MESSAGE(label, "Label", label_fields);
static const struct field labels_fields[] = {SUBS(1, "labels", &label), END};
MESSAGE(label_set, "LabelSet", labels_fields);
static const struct field shard_fields[] = {ONE(1, "id", K_STRING), SUB(10, "labels", &label_set),
                                            END};
MESSAGE(shard, "ShardSpec", shard_fields);
static const struct field materialization_fields[] = {
    ONE(1, "name", K_STRING),        WORD(2, "connectorType", connector_types),
    ONE(3, "config", K_RAW),         SUBS(4, "bindings", &spec_binding),
    SUB(5, "shardTemplate", &shard), SUBS(9, "inactiveBindings", &spec_binding),
    ONE(11, "createdAt", K_STRING),  END};
MESSAGE(materialization, "MaterializationSpec", materialization_fields);
static const struct field range_fields[] = {
    ONE(2, "keyBegin", K_FIXED32), ONE(3, "keyEnd", K_FIXED32), ONE(4, "rClockBegin", K_FIXED32),
    ONE(5, "rClockEnd", K_FIXED32), END};
MESSAGE(range, "RangeSpec", range_fields);

static const struct field request_spec_fields[] = {WORD(1, "connectorType", connector_types),
                                                   ONE(2, "config", K_RAW), END};
MESSAGE(request_spec, "Request.Spec", request_spec_fields);
static const struct field validate_binding_fields[] = {
    ONE(1, "resourceConfig", K_RAW), SUB(2, "collection", &collection),
    KEYED(3, "fieldConfig", K_RAW),  ONE(4, "backfill", K_UINT32),
    MANY(5, "groupBy", K_STRING),    END};
MESSAGE(validate_binding, "Validate.Binding", validate_binding_fields);
static const struct field validate_fields[] = {ONE(1, "name", K_STRING),
                                               WORD(2, "connectorType", connector_types),
                                               ONE(3, "config", K_RAW),
                                               SUBS(4, "bindings", &validate_binding),
                                               SUB(5, "lastMaterialization", &materialization),
                                               ONE(6, "lastVersion", K_STRING),
                                               END};
MESSAGE(request_validate, "Request.Validate", validate_fields);
static const struct field apply_fields[] = {SUB(1, "materialization", &materialization),
                                            ONE(2, "version", K_STRING),
                                            SUB(4, "lastMaterialization", &materialization),
                                            ONE(5, "lastVersion", K_STRING),
                                            ONE(6, "state", K_RAW),
                                            END};
MESSAGE(request_apply, "Request.Apply", apply_fields);
static const struct field open_fields[] = {SUB(1, "materialization", &materialization),
                                           ONE(2, "version", K_STRING),
                                           SUB(3, "range", &range),
                                           ONE(4, "state", K_RAW),
                                           ONE(5, "sealedConfig", K_RAW),
                                           END};
MESSAGE(request_open, "Request.Open", open_fields);
static const struct field load_fields[] = {ONE(1, "binding", K_UINT32), ONE(2, "key", K_RAW),
                                           ONE(3, "keyPacked", K_BYTES), END};
MESSAGE(request_load, "Request.Load", load_fields);
static const struct field patches_fields[] = {ONE(1, "statePatches", K_RAW), END};
MESSAGE(request_flush, "Request.Flush", patches_fields);
MESSAGE(request_acknowledge, "Request.Acknowledge", patches_fields);
static const struct field store_fields[] = {ONE(1, "binding", K_UINT32),
                                            ONE(2, "key", K_RAW),
                                            ONE(3, "keyPacked", K_BYTES),
                                            ONE(4, "values", K_RAW),
                                            ONE(5, "valuesPacked", K_BYTES),
                                            ONE(6, "doc", K_RAW),
                                            ONE(7, "exists", K_BOOL),
                                            ONE(8, "delete", K_BOOL),
                                            END};
MESSAGE(request_store, "Request.Store", store_fields);
static const struct field start_commit_fields[] = {SUB(1, "runtimeCheckpoint", &fr_checkpoint),
                                                   ONE(2, "statePatches", K_RAW), END};
MESSAGE(request_start_commit, "Request.StartCommit", start_commit_fields);
static const struct field request_fields[] = {SUB(1, "spec", &request_spec),
                                              SUB(2, "validate", &request_validate),
                                              SUB(3, "apply", &request_apply),
                                              SUB(4, "open", &request_open),
                                              SUB(5, "load", &request_load),
                                              SUB(6, "flush", &request_flush),
                                              SUB(7, "store", &request_store),
                                              SUB(8, "startCommit", &request_start_commit),
                                              SUB(9, "acknowledge", &request_acknowledge),
                                              END};
const struct fr_message fr_request = {"Request", request_fields, 0};

static const struct field oauth2_fields[] = {ONE(1, "provider", K_STRING),
                                             ONE(2, "authUrlTemplate", K_STRING),
                                             ONE(3, "accessTokenUrlTemplate", K_STRING),
                                             ONE(4, "accessTokenBody", K_STRING),
                                             KEYED(5, "accessTokenHeaders", K_RAW),
                                             KEYED(6, "accessTokenResponseMap", K_RAW),
                                             ONE(7, "refreshTokenUrlTemplate", K_STRING),
                                             ONE(8, "refreshTokenBody", K_STRING),
                                             KEYED(9, "refreshTokenHeaders", K_RAW),
                                             KEYED(10, "refreshTokenResponseMap", K_RAW),
                                             ONE(11, "accessTokenMethod", K_STRING),
                                             ONE(12, "refreshTokenMethod", K_STRING),
                                             END};
MESSAGE(oauth2, "OAuth2", oauth2_fields);
static const struct field response_spec_fields[] = {ONE(1, "protocol", K_UINT32),
                                                    ONE(2, "configSchema", K_RAW),
                                                    ONE(3, "resourceConfigSchema", K_RAW),
                                                    ONE(4, "documentationUrl", K_STRING),
                                                    SUB(5, "oauth2", &oauth2),
                                                    END};
MESSAGE(response_spec, "Response.Spec", response_spec_fields);
static const struct field constraint_fields[] = {WORD(2, "type", constraint_words),
                                                 ONE(3, "reason", K_STRING),
                                                 ONE(4, "foldedField", K_STRING), END};
MESSAGE(constraint, "Constraint", constraint_fields);
static const struct field field_constraint_fields[] = {ONE(1, "field", K_STRING),
                                                       SUB(2, "constraint", &constraint), END};
MESSAGE(projection_constraint, "ProjectionConstraint", field_constraint_fields);
static const struct field validated_binding_fields[] = {
    MANY(2, "resourcePath", K_STRING),
    ONE(3, "deltaUpdates", K_BOOL),
    SUB(4, "serPolicy", &ser_policy),
    ONE(5, "caseInsensitiveFields", K_BOOL),
    SUBS(6, "projectionConstraints", &projection_constraint),
    END};
static const struct fr_message validated_binding = {"Validated.Binding", validated_binding_fields,
                                                    1};
static const struct field validated_fields[] = {SUBS(1, "bindings", &validated_binding), END};
MESSAGE(response_validated, "Response.Validated", validated_fields);
static const struct field state_fields[] = {ONE(1, "updated", K_COMPACT),
                                            ONE(2, "mergePatch", K_BOOL), END};
MESSAGE(connector_state, "ConnectorState", state_fields);
static const struct field applied_fields[] = {ONE(1, "actionDescription", K_STRING),
                                              SUB(2, "state", &connector_state), END};
MESSAGE(response_applied, "Response.Applied", applied_fields);
static const struct field opened_fields[] = {SUB(1, "runtimeCheckpoint", &fr_checkpoint),
                                             ONE(2, "disableLoadOptimization", K_BOOL), END};
MESSAGE(response_opened, "Response.Opened", opened_fields);
static const struct field loaded_fields[] = {ONE(1, "binding", K_UINT32), ONE(2, "doc", K_RAW),
                                             END};
MESSAGE(response_loaded, "Response.Loaded", loaded_fields);
static const struct field only_state_fields[] = {SUB(1, "state", &connector_state), END};
MESSAGE(response_flushed, "Response.Flushed", only_state_fields);
MESSAGE(response_started, "Response.StartedCommit", only_state_fields);
MESSAGE(response_acknowledged, "Response.Acknowledged", only_state_fields);
static const struct field response_fields[] = {SUB(1, "spec", &response_spec),
                                               SUB(2, "validated", &response_validated),
                                               SUB(3, "applied", &response_applied),
                                               SUB(4, "opened", &response_opened),
                                               SUB(5, "loaded", &response_loaded),
                                               SUB(6, "flushed", &response_flushed),
                                               SUB(7, "startedCommit", &response_started),
                                               SUB(8, "acknowledged", &response_acknowledged),
                                               END};
const struct fr_message fr_response = {"Response", response_fields, 0};

/* ---------------------------------------------------------------- writing */

static const struct field *field_named(const struct fr_message *message, const char *name)
{
    for (const struct field *field = message->fields; field->number != 0; field++) {
        if (strcmp(field->name, name) == 0) {
            return field;
        }
    }
    return NULL;
}

void fr_wire_put_varint(struct fr_buf *buf, uint64_t value)
{
    while (value >= 0x80) {
        fr_buf_putc(buf, (char)(unsigned char)(value | 0x80));
        value >>= 7;
    }
    fr_buf_putc(buf, (char)value);
}

void fr_wire_put_tag(struct fr_buf *buf, unsigned number, unsigned wire_type)
{
    fr_wire_put_varint(buf, (uint64_t)number << 3 | wire_type);
}

void fr_wire_put_bytes(struct fr_buf *buf, unsigned number, const void *bytes, size_t len)
{
    fr_wire_put_tag(buf, number, 2);
    fr_wire_put_varint(buf, len);
    fr_buf_put(buf, bytes, len);
}

static void put_fixed(struct fr_buf *buf, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        fr_buf_putc(buf, (char)(unsigned char)(value >> 8 * i & 0xff));
    }
}

static uint64_t bits_of_double(double value)
{
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static unsigned number_of_word(const struct field *field, const struct fr_json *value)
{
    const char *name = fr_json_text(value);
    for (const struct word *word = field->words; name != NULL && word->name != NULL; word++) {
        if (strcmp(word->name, name) == 0) {
            return word->number;
        }
    }
    return 0;
}

static void encode_value(struct fr_buf *buf, const struct field *field, const struct fr_json *value)
{
    struct fr_buf inner = {0};
    fr_buf_reserve(&inner, 1);

    switch (field->kind) {
    case K_STRING:
        fr_wire_put_bytes(buf, field->number, value->text, value->count);
        break;
    case K_BYTES:
        (void)fr_base64_get(&inner, value->text, value->count);
        fr_wire_put_bytes(buf, field->number, inner.data, inner.len);
        break;
    case K_RAW:
    case K_COMPACT:
        fr_json_put(&inner, value);
        fr_wire_put_bytes(buf, field->number, inner.data, inner.len);
        break;
    case K_BOOL:
        fr_wire_put_tag(buf, field->number, 0);
        fr_wire_put_varint(buf, value->type == FR_TRUE);
        break;
    case K_UINT32:
    case K_INT32:
    case K_INT64:
        fr_wire_put_tag(buf, field->number, 0);
        fr_wire_put_varint(buf, (uint64_t)strtoll(value->text, NULL, 10));
        break;
    case K_FIXED32:
        fr_wire_put_tag(buf, field->number, 5);
        put_fixed(buf, strtoull(value->text, NULL, 10), 4);
        break;
    case K_FIXED64:
        fr_wire_put_tag(buf, field->number, 1);
        put_fixed(buf, strtoull(value->text, NULL, 10), 8);
        break;
    case K_DOUBLE:
        fr_wire_put_tag(buf, field->number, 1);
        put_fixed(buf, bits_of_double(strtod(value->text, NULL)), 8);
        break;
    case K_ENUM:
        fr_wire_put_tag(buf, field->number, 0);
        fr_wire_put_varint(buf, number_of_word(field, value));
        break;
    case K_MESSAGE:
        fr_wire_encode(&inner, field->message, value);
        fr_wire_put_bytes(buf, field->number, inner.data, inner.len);
        break;
    }
    fr_buf_done(&inner);
}

static void
encode_entry(struct fr_buf *buf, const struct field *field, const struct fr_member *member)
{
    struct fr_buf entry = {0};
    struct field value = *field;
    value.number = 2;
    if (member->name_len > 0) {
        fr_wire_put_bytes(&entry, 1, member->name, member->name_len);
    }
    encode_value(&entry, &value, member->value);
    fr_wire_put_bytes(buf, field->number, entry.data, entry.len);
    fr_buf_done(&entry);
}

void fr_wire_encode(struct fr_buf *buf,
                    const struct fr_message *message,
                    const struct fr_json *tree)
{
    for (const struct field *field = message->fields; field->number != 0; field++) {
        const struct fr_json *value = fr_json_get(tree, field->name);
        if (value == NULL) {
            continue;
        }
        if (field->shape == SINGLE) {
            encode_value(buf, field, value);
            continue;
        }
        for (uint32_t i = 0; i < value->count; i++) {
            if (field->shape == REPEATED) {
                encode_value(buf, field, value->items[i]);
            } else {
                encode_entry(buf, field, &value->members[i]);
            }
        }
    }
}

static void put_json_value(struct fr_buf *buf,
                           const struct field *field,
                           const struct fr_json *value,
                           bool pretty)
{
    if (field->kind == K_MESSAGE) {
        fr_wire_put_json(buf, field->message, value, pretty);
    } else if (field->kind == K_RAW && pretty) {
        fr_json_put_pretty(buf, value, 0);
    } else {
        fr_json_put(buf, value);
    }
}

void fr_wire_put_json(struct fr_buf *buf,
                      const struct fr_message *message,
                      const struct fr_json *tree,
                      bool pretty)
{
    bool first = true;
    fr_buf_putc(buf, '{');
    for (const struct field *field = message->fields; field->number != 0; field++) {
        const struct fr_json *value = fr_json_get(tree, field->name);
        if (value == NULL) {
            continue;
        }
        fr_buf_printf(buf, "%s\"%s\":", first ? "" : ",", field->name);
        first = false;
        if (field->shape == SINGLE) {
            put_json_value(buf, field, value, pretty);
            continue;
        }
        fr_buf_putc(buf, field->shape == MAP ? '{' : '[');
        for (uint32_t i = 0; i < value->count; i++) {
            if (i > 0) {
                fr_buf_putc(buf, ',');
            }
            if (field->shape == MAP) {
                fr_json_put_string(buf, value->members[i].name, value->members[i].name_len);
                fr_buf_putc(buf, ':');
            }
            put_json_value(buf, field,
                           field->shape == MAP ? value->members[i].value : value->items[i], pretty);
        }
        fr_buf_putc(buf, field->shape == MAP ? '}' : ']');
    }
    fr_buf_putc(buf, '}');
}

/* ---------------------------------------------------------------- reading protobuf */

struct input {
    struct fr_arena *arena;
    const unsigned char *at;
    const unsigned char *end;
    struct fr_buf *error;
};

static bool get_varint(struct input *in, uint64_t *ret_value)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 70 && in->at < in->end; shift += 7) {
        unsigned char byte = *in->at++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *ret_value = value;
            return true;
        }
    }
    fr_buf_puts(in->error, "a varint does not end");
    return false;
}

static bool get_fixed(struct input *in, unsigned bytes, uint64_t *ret_value)
{
    uint64_t value = 0;
    if ((size_t)(in->end - in->at) < bytes) {
        fr_buf_puts(in->error, "a fixed-size value is cut off");
        return false;
    }
    for (unsigned i = 0; i < bytes; i++) {
        value |= (uint64_t)*in->at++ << 8 * i;
    }
    *ret_value = value;
    return true;
}

static unsigned wire_type_of(enum kind kind)
{
    switch (kind) {
    case K_BOOL:
    case K_UINT32:
    case K_INT32:
    case K_INT64:
    case K_ENUM:
        return 0;
    case K_FIXED64:
    case K_DOUBLE:
        return 1;
    case K_FIXED32:
        return 5;
    case K_STRING:
    case K_BYTES:
    case K_RAW:
    case K_COMPACT:
    case K_MESSAGE:
        return 2;
    }
    return 2;
}

static struct fr_json *
decode_embedded(struct input *in, const struct field *field, const char *bytes, size_t len)
{
    const char *error = NULL;
    if (field->kind == K_COMPACT &&
        (memchr(bytes, '\t', len) != NULL || memchr(bytes, '\n', len) != NULL)) {
        fr_buf_printf(in->error, "no raw tab or newline inside a state update (%s)", field->name);
        return NULL;
    }
    struct fr_json *value = fr_json_parse(in->arena, bytes, len, &error);
    if (value == NULL) {
        fr_buf_printf(in->error, "embedded JSON must be valid JSON (%s): %s", field->name, error);
    }
    return value;
}

static struct fr_json *decode_bytes(struct input *in, const struct field *field)
{
    uint64_t len = 0;
    if (!get_varint(in, &len)) {
        return NULL;
    }
    if (len > (uint64_t)(in->end - in->at)) {
        fr_buf_printf(in->error, "field %s is cut off", field->name);
        return NULL;
    }
    const char *bytes = (const char *)in->at;
    in->at += len;
    if (field->kind == K_MESSAGE) {
        return fr_wire_decode(in->arena, field->message, bytes, len, in->error);
    }
    if (field->kind == K_RAW || field->kind == K_COMPACT) {
        return decode_embedded(in, field, bytes, len);
    }
    if (field->kind == K_BYTES) {
        struct fr_buf text = {0};
        fr_base64_put(&text, bytes, len);
        struct fr_json *value = fr_json_string_n(in->arena, text.data, text.len);
        fr_buf_done(&text);
        return value;
    }
    return fr_json_string_n(in->arena, bytes, len);
}

static struct fr_json *number_text(struct input *in, bool negative, uint64_t value, bool string)
{
    struct fr_buf text = {0};
    if (negative) {
        fr_buf_printf(&text, "%lld", (long long)value);
    } else {
        fr_buf_printf(&text, "%llu", (unsigned long long)value);
    }
    struct fr_json *number = fr_json_string_n(in->arena, text.data, text.len);
    number->type = string ? FR_STRING : FR_NUMBER;
    fr_buf_done(&text);
    return number;
}

static struct fr_json *decode_value(struct input *in, const struct field *field)
{
    uint64_t value = 0;
    unsigned wire_type = wire_type_of(field->kind);

    if (wire_type == 2) {
        return decode_bytes(in, field);
    }
    bool got =
        wire_type == 0 ? get_varint(in, &value) : get_fixed(in, wire_type == 1 ? 8 : 4, &value);
    if (!got) {
        return NULL;
    }
    if (field->kind == K_BOOL) {
        return fr_json_bool(in->arena, value != 0);
    }
    if (field->kind == K_ENUM) {
        for (const struct word *word = field->words; word->name != NULL; word++) {
            if (word->number == value) {
                return fr_json_string(in->arena, word->name);
            }
        }
        fr_buf_printf(in->error, "unknown value %llu of %s", (unsigned long long)value,
                      field->name);
        return NULL;
    }
    if (field->kind == K_UINT32 && value > UINT32_MAX) {
        fr_buf_printf(in->error, "%s does not fit 32 bits", field->name);
        return NULL;
    }
    bool is_signed = field->kind == K_INT64 || field->kind == K_INT32;
    bool is_string = field->kind == K_INT64 || field->kind == K_FIXED64;
    return number_text(in, is_signed && (int64_t)value < 0, value, is_string);
}

static bool decode_entry(struct input *in, const struct field *field, struct fr_json *map)
{
    uint64_t len = 0;
    if (!get_varint(in, &len) || len > (uint64_t)(in->end - in->at)) {
        fr_buf_printf(in->error, "%sentry of %s is cut off", in->error->len > 0 ? ": " : "",
                      field->name);
        return false;
    }
    struct input entry = {in->arena, in->at, in->at + len, in->error};
    struct field key_field = {1, "key", K_STRING, SINGLE, NULL, NULL};
    struct field value_field = *field;
    struct fr_json *key = fr_json_string(in->arena, "");
    struct fr_json *value = NULL;
    in->at += len;
    while (entry.at < entry.end) {
        uint64_t tag = 0;
        if (!get_varint(&entry, &tag)) {
            return false;
        }
        if (tag == (1 << 3 | 2)) {
            key = decode_value(&entry, &key_field);
        } else if (tag == (2 << 3 | wire_type_of(field->kind))) {
            value = decode_value(&entry, &value_field);
        } else {
            fr_buf_printf(in->error, "unknown field in an entry of %s", field->name);
        }
        if (in->error->len > 0) {
            return false;
        }
    }
    if (value == NULL) {
        value = fr_json_new(in->arena, field->kind == K_MESSAGE ? FR_OBJECT : FR_STRING);
        value->text = field->kind == K_MESSAGE ? NULL : "";
    }
    fr_json_set_n(in->arena, map, key->text, key->count, value);
    return true;
}

/* The explicit zero checkpoint: an unknown field that makes the bytes non-empty. */
static bool is_zero_mark(const struct fr_message *message, uint64_t tag)
{
    return message == &fr_checkpoint && tag == (uint64_t)536870911 << 3;
}

static bool skip_value(struct input *in, unsigned wire_type)
{
    uint64_t value = 0;
    if (wire_type == 0) {
        return get_varint(in, &value);
    }
    if (wire_type == 1 || wire_type == 5) {
        return get_fixed(in, wire_type == 1 ? 8 : 4, &value);
    }
    if (wire_type != 2 || !get_varint(in, &value) || value > (uint64_t)(in->end - in->at)) {
        return false;
    }
    in->at += value;
    return true;
}

static bool decode_field(struct input *in, const struct fr_message *message, struct fr_json *tree)
{
    uint64_t tag = 0;
    if (!get_varint(in, &tag)) {
        return false;
    }
    if (is_zero_mark(message, tag) || (message->removed > 0 && tag >> 3 == message->removed)) {
        return skip_value(in, tag & 7);
    }
    const struct field *field = message->fields;
    while (field->number != 0 && field->number != tag >> 3) {
        field++;
    }
    if (field->number == 0) {
        fr_buf_printf(in->error, "no unknown fields in responses (number %llu in %s)",
                      (unsigned long long)(tag >> 3), message->name);
        return false;
    }
    if (wire_type_of(field->kind) != (tag & 7) && field->shape != MAP) {
        fr_buf_printf(in->error, "wrong wire type %llu of %s.%s", (unsigned long long)(tag & 7),
                      message->name, field->name);
        return false;
    }
    if (field->shape == SINGLE) {
        struct fr_json *value = decode_value(in, field);
        if (value != NULL) {
            fr_json_set(in->arena, tree, field->name, value);
        }
        return value != NULL;
    }
    struct fr_json *list = fr_json_get(tree, field->name);
    if (list == NULL) {
        list = fr_json_new(in->arena, field->shape == MAP ? FR_OBJECT : FR_ARRAY);
        fr_json_set(in->arena, tree, field->name, list);
    }
    if (field->shape == MAP) {
        return decode_entry(in, field, list);
    }
    struct fr_json *value = decode_value(in, field);
    if (value != NULL) {
        fr_json_push(in->arena, list, value);
    }
    return value != NULL;
}

struct fr_json *fr_wire_decode(struct fr_arena *arena,
                               const struct fr_message *message,
                               const char *bytes,
                               size_t len,
                               struct fr_buf *error)
{
    const unsigned char *at = (const unsigned char *)bytes;
    struct input in = {arena, at, at + len, error};
    struct fr_json *tree = fr_json_new(arena, FR_OBJECT);

    while (in.at < in.end) {
        if (!decode_field(&in, message, tree)) {
            if (error->len == 0) {
                fr_buf_printf(error, "message %s is cut off", message->name);
            }
            return NULL;
        }
    }
    return tree;
}

/* ---------------------------------------------------------------- checking JSON */

static bool refuse(struct fr_buf *error, const struct fr_message *message, const char *name)
{
    fr_buf_printf(error, "wrong JSON type of %s.%s", message->name, name);
    return false;
}

static bool is_decimal_text(const struct fr_json *value)
{
    const char *text = value->text;
    text += *text == '-';
    return *text != '\0' && strspn(text, "0123456789") == strlen(text);
}

static bool check_value(const struct fr_message *message,
                        const struct field *field,
                        const struct fr_json *value,
                        struct fr_buf *error)
{
    bool right = false;
    switch (field->kind) {
    case K_STRING:
        right = value->type == FR_STRING;
        break;
    case K_BYTES: {
        struct fr_buf decoded = {0};
        right = value->type == FR_STRING && fr_base64_get(&decoded, value->text, value->count);
        fr_buf_done(&decoded);
        break;
    }
    case K_RAW:
    case K_COMPACT:
        right = true;
        break;
    case K_BOOL:
        right = value->type == FR_TRUE || value->type == FR_FALSE;
        break;
    case K_UINT32:
    case K_FIXED32: {
        int64_t number = 0;
        right = value->type == FR_NUMBER && fr_json_to_int(value, &number) && number >= 0 &&
                number <= UINT32_MAX;
        break;
    }
    case K_INT32:
        right = fr_json_is_integer_text(value);
        break;
    case K_INT64:
    case K_FIXED64:
        right = value->type == FR_STRING && is_decimal_text(value);
        break;
    case K_DOUBLE:
        right = value->type == FR_NUMBER;
        break;
    case K_ENUM:
        right = value->type == FR_STRING && (number_of_word(field, value) != 0 ||
                                             strcmp(field->words[0].name, value->text) == 0);
        break;
    case K_MESSAGE:
        if (value->type == FR_NULL) {
            fr_buf_printf(error, "never null for a message field (%s.%s)", message->name,
                          field->name);
            return false;
        }
        return fr_wire_check(field->message, value, error);
    }
    return right || refuse(error, message, field->name);
}

bool fr_wire_check(const struct fr_message *message,
                   const struct fr_json *tree,
                   struct fr_buf *error)
{
    if (tree->type != FR_OBJECT) {
        fr_buf_printf(error, "%s must be a JSON object", message->name);
        return false;
    }
    for (uint32_t i = 0; i < tree->count; i++) {
        const struct fr_member *member = &tree->members[i];
        const struct field *field = field_named(message, member->name);
        if (field == NULL) {
            fr_buf_printf(error, "no unknown keys in responses (\"%s\" in %s)", member->name,
                          message->name);
            return false;
        }
        const struct fr_json *value = member->value;
        if (field->shape == SINGLE) {
            if (!check_value(message, field, value, error)) {
                return false;
            }
            continue;
        }
        if (value->type != (field->shape == MAP ? FR_OBJECT : FR_ARRAY)) {
            return refuse(error, message, field->name);
        }
        for (uint32_t k = 0; k < value->count; k++) {
            if (!check_value(message, field,
                             field->shape == MAP ? value->members[k].value : value->items[k],
                             error)) {
                return false;
            }
        }
    }
    return true;
}
