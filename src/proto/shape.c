/*
 * Room proto: the tables of Flow's cold messages and the rules that hold in both codecs. The codecs
 * put members in; out come structs in which linked collections are resolved, type names are bits
 * and what must be present is. It knows neither wire form.
 *
 * Facts: estuary/flow, go/protocols/materialize/materialize.proto and go/protocols/flow/flow.proto;
 * gazette, consumer/protocol and broker/protocol for the shard template's labels.
 */

#include "proto/shape.h"

#include "base/size.h"

#include <inttypes.h>

/* ---------------------------------------------------------------- tables */

#define ROW(number, type, name, proto_name, st, member)                                            \
    {                                                                                              \
        number, type, name, proto_name, offsetof(struct st, member), FIELD_NO_SECOND, NULL         \
    }
#define ROW2(number, type, name, proto_name, st, member, second, shape)                            \
    {                                                                                              \
        number, type, name, proto_name, offsetof(struct st, member), offsetof(struct st, second),  \
            shape                                                                                  \
    }
/* A message on the wire whose members lie in the struct around it. */
#define ROW_FLAT(number, name, proto_name, second, shape)                                          \
    {                                                                                              \
        number, FIELD_PART, name, proto_name, 0, second, shape                                     \
    }
#define SHAPE(title, st, rows, finish)                                                             \
    {                                                                                              \
        title, sizeof(struct st), rows, sizeof(rows) / sizeof((rows)[0]), finish                   \
    }

static shape_finish_fn finish_inference, finish_materialization, finish_validate, finish_apply,
    finish_open;

static const struct field string_fields[] = {
    ROW(3, FIELD_TEXT, "contentType", "content_type", proto_inference, content_type),
    ROW(4, FIELD_TEXT, "format", "format", proto_inference, format),
    ROW(6, FIELD_UINT32, "maxLength", "max_length", proto_inference, max_length),
    ROW(7, FIELD_TEXT, "contentEncoding", "content_encoding", proto_inference, content_encoding),
};
static const struct shape shape_string = SHAPE("string", proto_inference, string_fields, NULL);

static const struct field numeric_fields[] = {
    ROW(1, FIELD_BOOL, "hasMinimum", "has_minimum", proto_inference, has_minimum),
    ROW(2, FIELD_DOUBLE, "minimum", "minimum", proto_inference, minimum),
    ROW(3, FIELD_BOOL, "hasMaximum", "has_maximum", proto_inference, has_maximum),
    ROW(4, FIELD_DOUBLE, "maximum", "maximum", proto_inference, maximum),
};
static const struct shape shape_numeric = SHAPE("numeric", proto_inference, numeric_fields, NULL);

static const struct field inference_fields[] = {
    ROW2(1, FIELD_TEXTS, "types", "types", proto_inference, type_names, type_name_count, NULL),
    ROW_FLAT(3, "string", "string", offsetof(struct proto_inference, has_string), &shape_string),
    ROW(4, FIELD_TEXT, "title", "title", proto_inference, title),
    ROW(5, FIELD_TEXT, "description", "description", proto_inference, description),
    ROW(6, FIELD_RAW, "default", "default_json", proto_inference, default_json),
    ROW(8, FIELD_EXISTS, "exists", "exists", proto_inference, exists),
    ROW_FLAT(
        9, "numeric", "numeric", offsetof(struct proto_inference, has_numeric), &shape_numeric),
};
static const struct shape shape_inference =
    SHAPE("inference", proto_inference, inference_fields, finish_inference);

static const struct field projection_fields[] = {
    ROW(1, FIELD_TEXT, "ptr", "ptr", proto_projection, ptr),
    ROW(2, FIELD_TEXT, "field", "field", proto_projection, field),
    ROW(3, FIELD_BOOL, "explicit", "explicit", proto_projection, is_explicit),
    ROW(4, FIELD_BOOL, "isPartitionKey", "is_partition_key", proto_projection, is_partition_key),
    ROW(5, FIELD_BOOL, "isPrimaryKey", "is_primary_key", proto_projection, is_primary_key),
    {6, FIELD_PART, "inference", "inference", offsetof(struct proto_projection, inference),
     FIELD_NO_SECOND, &shape_inference},
};
static const struct shape shape_projection =
    SHAPE("projection", proto_projection, projection_fields, NULL);

static const struct field collection_fields[] = {
    ROW(1, FIELD_TEXT, "name", "name", proto_collection, name),
    ROW2(3, FIELD_TEXTS, "key", "key", proto_collection, key, key_count, NULL),
    ROW2(6,
         FIELD_LIST,
         "projections",
         "projections",
         proto_collection,
         projections,
         projection_count,
         &shape_projection),
};
static const struct shape shape_collection =
    SHAPE("collection", proto_collection, collection_fields, NULL);

static const struct field selection_fields[] = {
    ROW2(1, FIELD_TEXTS, "keys", "keys", proto_field_selection, keys, key_count, NULL),
    ROW2(2, FIELD_TEXTS, "values", "values", proto_field_selection, values, value_count, NULL),
    ROW(3, FIELD_TEXT, "document", "document", proto_field_selection, document),
    ROW2(4,
         FIELD_OPTIONS,
         "fieldConfig",
         "field_config_json_map",
         proto_field_selection,
         options,
         option_count,
         NULL),
};
static const struct shape shape_selection =
    SHAPE("field selection", proto_field_selection, selection_fields, NULL);

static const struct field binding_fields[] = {
    ROW(1,
        FIELD_RAW,
        "resourceConfig",
        "resource_config_json",
        proto_binding,
        resource_config_json),
    ROW2(2,
         FIELD_TEXTS,
         "resourcePath",
         "resource_path",
         proto_binding,
         resource_path,
         resource_path_count,
         NULL),
    {3, FIELD_POINTER, "collection", "collection", offsetof(struct proto_binding, collection),
     FIELD_NO_SECOND, &shape_collection},
    {4, FIELD_PART, "fieldSelection", "field_selection", offsetof(struct proto_binding, selection),
     FIELD_NO_SECOND, &shape_selection},
    ROW(5, FIELD_BOOL, "deltaUpdates", "delta_updates", proto_binding, delta_updates),
    ROW(12, FIELD_UINT32, "backfill", "backfill", proto_binding, backfill),
    ROW(13, FIELD_TEXT, "stateKey", "state_key", proto_binding, state_key),
    ROW(15, FIELD_UINT32, "collectionIndex", "collection_index", proto_binding, collection_index),
};
static const struct shape shape_binding = SHAPE("binding", proto_binding, binding_fields, NULL);

static const struct field label_fields[] = {
    ROW(1, FIELD_TEXT, "name", "name", proto_label, name),
    ROW(2, FIELD_TEXT, "value", "value", proto_label, value),
};
static const struct shape shape_label = SHAPE("label", proto_label, label_fields, NULL);

static const struct field label_set_fields[] = {
    ROW2(1,
         FIELD_LIST,
         "labels",
         "labels",
         proto_materialization,
         labels,
         label_count,
         &shape_label),
};
static const struct shape shape_label_set =
    SHAPE("label set", proto_materialization, label_set_fields, NULL);

static const struct field shard_template_fields[] = {
    ROW_FLAT(10, "labels", "labels", FIELD_NO_SECOND, &shape_label_set),
};
static const struct shape shape_shard_template =
    SHAPE("shard template", proto_materialization, shard_template_fields, NULL);

static const struct field materialization_fields[] = {
    ROW(1, FIELD_TEXT, "name", "name", proto_materialization, name),
    ROW(3, FIELD_RAW, "config", "config_json", proto_materialization, config_json),
    ROW2(4,
         FIELD_LIST,
         "bindings",
         "bindings",
         proto_materialization,
         bindings,
         binding_count,
         &shape_binding),
    ROW_FLAT(5, "shardTemplate", "shard_template", FIELD_NO_SECOND, &shape_shard_template),
    ROW2(9,
         FIELD_LIST,
         "inactiveBindings",
         "inactive_bindings",
         proto_materialization,
         inactive_bindings,
         inactive_binding_count,
         &shape_binding),
    ROW2(13,
         FIELD_LIST,
         "linkedCollections",
         "linked_collections",
         proto_materialization,
         linked_collections,
         linked_collection_count,
         &shape_collection),
};
static const struct shape shape_materialization =
    SHAPE("materialization", proto_materialization, materialization_fields, finish_materialization);

static const struct field validate_binding_fields[] = {
    ROW(1,
        FIELD_RAW,
        "resourceConfig",
        "resource_config_json",
        proto_validate_binding,
        resource_config_json),
    {2, FIELD_POINTER, "collection", "collection",
     offsetof(struct proto_validate_binding, collection), FIELD_NO_SECOND, &shape_collection},
    ROW2(3,
         FIELD_OPTIONS,
         "fieldConfig",
         "field_config_json_map",
         proto_validate_binding,
         options,
         option_count,
         NULL),
    ROW(4, FIELD_UINT32, "backfill", "backfill", proto_validate_binding, backfill),
    ROW2(5,
         FIELD_TEXTS,
         "groupBy",
         "group_by",
         proto_validate_binding,
         group_by,
         group_by_count,
         NULL),
    ROW(6,
        FIELD_UINT32,
        "collectionIndex",
        "collection_index",
        proto_validate_binding,
        collection_index),
};
static const struct shape shape_validate_binding =
    SHAPE("binding", proto_validate_binding, validate_binding_fields, NULL);

static const struct field validate_fields[] = {
    ROW(1, FIELD_TEXT, "name", "name", proto_validate, name),
    ROW(3, FIELD_RAW, "config", "config_json", proto_validate, config_json),
    ROW2(4,
         FIELD_LIST,
         "bindings",
         "bindings",
         proto_validate,
         bindings,
         binding_count,
         &shape_validate_binding),
    {5, FIELD_POINTER, "lastMaterialization", "last_materialization",
     offsetof(struct proto_validate, last_materialization), FIELD_NO_SECOND,
     &shape_materialization},
    ROW(6, FIELD_TEXT, "lastVersion", "last_version", proto_validate, last_version),
    ROW2(7,
         FIELD_LIST,
         "linkedCollections",
         "linked_collections",
         proto_validate,
         linked_collections,
         linked_collection_count,
         &shape_collection),
};
const struct shape shape_validate =
    SHAPE("Validate", proto_validate, validate_fields, finish_validate);

static const struct field apply_fields[] = {
    {1, FIELD_POINTER, "materialization", "materialization",
     offsetof(struct proto_apply, materialization), FIELD_NO_SECOND, &shape_materialization},
    ROW(2, FIELD_TEXT, "version", "version", proto_apply, version),
    {4, FIELD_POINTER, "lastMaterialization", "last_materialization",
     offsetof(struct proto_apply, last_materialization), FIELD_NO_SECOND, &shape_materialization},
    ROW(5, FIELD_TEXT, "lastVersion", "last_version", proto_apply, last_version),
    ROW(6, FIELD_RAW, "state", "state_json", proto_apply, state_json),
};
const struct shape shape_apply = SHAPE("Apply", proto_apply, apply_fields, finish_apply);

static const struct field range_fields[] = {
    ROW(2, FIELD_FIXED32, "keyBegin", "key_begin", proto_open, key_begin),
    ROW(3, FIELD_FIXED32, "keyEnd", "key_end", proto_open, key_end),
};
static const struct shape shape_range = SHAPE("range", proto_open, range_fields, NULL);

static const struct field open_fields[] = {
    {1, FIELD_POINTER, "materialization", "materialization",
     offsetof(struct proto_open, materialization), FIELD_NO_SECOND, &shape_materialization},
    ROW(2, FIELD_TEXT, "version", "version", proto_open, version),
    ROW_FLAT(3, "range", "range", FIELD_NO_SECOND, &shape_range),
    ROW(4, FIELD_RAW, "state", "state_json", proto_open, state_json),
};
const struct shape shape_open = SHAPE("Open", proto_open, open_fields, finish_open);

static const struct field backfill_fields[] = {
    ROW(1, FIELD_UINT32, "binding", "binding", proto_backfill, binding),
    ROW2(2, FIELD_TIMESTAMP, "timestamp", "timestamp", proto_backfill, seconds, nanos, NULL),
};
static const struct shape shape_backfill = SHAPE("backfill", proto_backfill, backfill_fields, NULL);

static const struct field flush_fields[] = {
    ROW(1, FIELD_RAW, "statePatches", "state_patches_json", proto_flush, state_patches_json),
    ROW2(2,
         FIELD_LIST,
         "backfillBegins",
         "backfill_begins",
         proto_flush,
         begins,
         begin_count,
         &shape_backfill),
    ROW2(3,
         FIELD_LIST,
         "backfillCompletes",
         "backfill_completes",
         proto_flush,
         completes,
         complete_count,
         &shape_backfill),
};
const struct shape shape_flush = SHAPE("Flush", proto_flush, flush_fields, NULL);

static const struct field start_commit_fields[] = {
    ROW(1,
        FIELD_OPAQUE,
        "runtimeCheckpoint",
        "runtime_checkpoint",
        proto_start_commit,
        runtime_checkpoint),
    ROW(2, FIELD_RAW, "statePatches", "state_patches_json", proto_start_commit, state_patches_json),
};
const struct shape shape_start_commit =
    SHAPE("StartCommit", proto_start_commit, start_commit_fields, NULL);

static const struct field acknowledge_fields[] = {
    ROW(1, FIELD_RAW, "statePatches", "state_patches_json", proto_acknowledge, state_patches_json),
};
const struct shape shape_acknowledge =
    SHAPE("Acknowledge", proto_acknowledge, acknowledge_fields, NULL);

/* ---------------------------------------------------------------- memory */

/* The densest honest message is a list of one-letter names: three bytes each on the wire, a span
 * and a terminated, aligned copy in the arena, and as much again while the list grew. */
#define BUDGET_PER_BYTE 32
#define BUDGET_BASE (64 * KIB)
/* What an arena may add to each piece. */
#define PIECE_OVERHEAD 16

void cold_init(struct cold *cold, struct arena *arena, struct buf *scratch, size_t frame_len)
{
    cold->arena = arena;
    cold->scratch = scratch;
    cold->budget = frame_len * BUDGET_PER_BYTE + BUDGET_BASE; /* a frame is below 2^28 */
}

static struct error *take(struct cold *cold, size_t bytes)
{
    if (bytes > cold->budget || cold->budget - bytes < PIECE_OVERHEAD) {
        return error_new(ERROR_PROTOCOL, ERROR_FATAL,
                         "the message holds far more elements than its length explains");
    }
    cold->budget -= bytes + PIECE_OVERHEAD;
    return NULL;
}

struct error *cold_alloc(struct cold *cold, size_t count, size_t size, void **ret)
{
    size_t bytes;

    CHECK(size_mul(count, size, &bytes));
    RETURN_IF_ERROR(take(cold, bytes));
    *ret = arena_array(cold->arena, count, size);
    return NULL;
}

struct error *cold_copy(struct cold *cold, struct span text, struct span *ret)
{
    RETURN_IF_ERROR(take(cold, text.len + 1));
    *ret = arena_span(cold->arena, text);
    return NULL;
}

struct error *
cold_append(struct cold *cold, void *message, const struct field *field, size_t size, void **ret)
{
    unsigned *const count = field_second(message, field);
    char *list;

    memcpy(&list, field_at(message, field), sizeof(list));
    /* Room is there for the next power of two, so a full list is one whose count is that. */
    if (*count == 0 || (*count >= 4 && (*count & (*count - 1)) == 0)) {
        void *grown;
        RETURN_IF_ERROR(cold_alloc(cold, *count ? (size_t)*count * 2 : 4, size, &grown));
        if (*count) {
            memcpy(grown, list, *count * size);
        }
        list = grown;
        memcpy(field_at(message, field), &list, sizeof(list));
    }
    *ret = list + *count * size;
    ++*count;
    return NULL;
}

void field_clear(void *message, const struct field *field)
{
    void *const at = field_at(message, field);

    switch (field->type) {
    case FIELD_TEXT:
    case FIELD_RAW:
    case FIELD_OPAQUE:
        memset(at, 0, sizeof(struct span));
        break;
    case FIELD_BOOL:
        *(bool *)at = false;
        break;
    case FIELD_UINT32:
    case FIELD_FIXED32:
        *(uint32_t *)at = 0;
        break;
    case FIELD_DOUBLE:
        *(double *)at = 0;
        break;
    case FIELD_EXISTS:
        *(enum proto_exists *)at = PROTO_EXISTS_INVALID;
        break;
    case FIELD_TIMESTAMP:
        *(int64_t *)at = 0;
        *(int32_t *)field_second(message, field) = 0;
        break;
    case FIELD_PART:
        for (unsigned i = 0; i < field->shape->field_count; i++) {
            field_clear(at, &field->shape->fields[i]);
        }
        if (field->second != FIELD_NO_SECOND) {
            *(bool *)field_second(message, field) = false;
        }
        break;
    case FIELD_POINTER:
        memset(at, 0, sizeof(void *));
        break;
    case FIELD_LIST:
    case FIELD_TEXTS:
    case FIELD_OPTIONS:
        memset(at, 0, sizeof(void *));
        *(unsigned *)field_second(message, field) = 0;
        break;
    }
}

struct error *field_wrap(struct error *err, const struct field *field, void *message)
{
    const bool is_list =
        field->type == FIELD_LIST || field->type == FIELD_TEXTS || field->type == FIELD_OPTIONS;
    const unsigned count = is_list ? *(unsigned *)field_second(message, field) : 0;

    return count > 0 ? error_wrap(err, "%s[%u]", field->name, count - 1)
                     : error_wrap(err, "%s", field->name);
}

/* ---------------------------------------------------------------- rules */

struct error *shape_end(const struct shape *shape, void *message)
{
    return shape->finish ? shape->finish(message) : NULL;
}

static struct error *missing(const char *what)
{
    return error_new(ERROR_PROTOCOL, ERROR_FATAL, "%s is missing", what);
}

static struct error *finish_inference(void *message)
{
    static const struct {
        const char *name;
        unsigned bit;
    } types[] = {{"null", PROTO_TYPE_NULL},         {"boolean", PROTO_TYPE_BOOLEAN},
                 {"integer", PROTO_TYPE_INTEGER},   {"number", PROTO_TYPE_NUMBER},
                 {"fractional", PROTO_TYPE_NUMBER}, {"string", PROTO_TYPE_STRING},
                 {"array", PROTO_TYPE_ARRAY},       {"object", PROTO_TYPE_OBJECT}};
    struct proto_inference *inference = message;

    inference->types = 0;
    for (unsigned i = 0; i < inference->type_name_count; i++) {
        unsigned bit = 0;
        for (size_t t = 0; t < ARRAY_LEN(types); t++) {
            if (span_is(inference->type_names[i], types[t].name)) {
                bit = types[t].bit;
            }
        }
        if (!bit) {
            const struct span name = inference->type_names[i];
            return error_new(ERROR_PROTOCOL, ERROR_FATAL, "unknown type \"%.*s\"",
                             (int)(name.len < 40 ? name.len : 40), name.ptr);
        }
        inference->types |= bit;
    }
    return NULL;
}

/* The collection of a binding, inline or by its index: the table being there decides for the whole
 * message, an index of 0 is not on the wire. */
static struct error *resolve(struct proto_collection *linked,
                             unsigned linked_count,
                             uint32_t index,
                             struct proto_collection **collection)
{
    if (linked_count == 0) {
        if (index != 0) {
            return error_new(ERROR_PROTOCOL, ERROR_FATAL,
                             "collection index %" PRIu32 ", but there are no linked collections",
                             index);
        }
        return *collection ? NULL : missing("the collection");
    }
    if (*collection) {
        return error_new(ERROR_PROTOCOL, ERROR_FATAL,
                         "a collection of its own next to linked collections");
    }
    if (index >= linked_count) {
        return error_new(ERROR_PROTOCOL, ERROR_FATAL,
                         "collection index %" PRIu32 ", but there are %u linked collections", index,
                         linked_count);
    }
    *collection = &linked[index];
    return NULL;
}

static struct error *resolve_bindings(struct proto_materialization *materialization,
                                      struct proto_binding *bindings,
                                      unsigned count,
                                      const char *name)
{
    for (unsigned i = 0; i < count; i++) {
        struct error *err =
            resolve(materialization->linked_collections, materialization->linked_collection_count,
                    bindings[i].collection_index, &bindings[i].collection);
        if (err) {
            return error_wrap(err, "%s %u", name, i);
        }
    }
    return NULL;
}

static struct error *finish_materialization(void *message)
{
    struct proto_materialization *m = message;

    m->is_runtime_v2 = false;
    for (unsigned i = 0; i < m->label_count; i++) {
        if (span_is(m->labels[i].name, "estuary.dev/flag/enable-runtime-v2")) {
            m->is_runtime_v2 = span_is(m->labels[i].value, "true");
        }
    }
    RETURN_IF_ERROR(resolve_bindings(m, m->bindings, m->binding_count, "binding"));
    return resolve_bindings(m, m->inactive_bindings, m->inactive_binding_count, "inactive binding");
}

static struct error *finish_validate(void *message)
{
    struct proto_validate *validate = message;

    for (unsigned i = 0; i < validate->binding_count; i++) {
        struct proto_validate_binding *binding = &validate->bindings[i];
        struct error *err = resolve(validate->linked_collections, validate->linked_collection_count,
                                    binding->collection_index, &binding->collection);
        if (err) {
            return error_wrap(err, "binding %u", i);
        }
    }
    return NULL;
}

static struct error *finish_apply(void *message)
{
    const struct proto_apply *apply = message;
    return apply->materialization ? NULL : missing("the materialization");
}

static struct error *finish_open(void *message)
{
    const struct proto_open *open = message;

    if (!open->materialization) {
        return missing("the materialization");
    }
    /* The end is inclusive and the whole range ends at 2^32 - 1, so an end of zero is none. */
    if (open->key_end == 0) {
        return missing("the key range");
    }
    if (open->key_begin > open->key_end) {
        return error_new(ERROR_PROTOCOL, ERROR_FATAL,
                         "the key range begins at %08" PRIx32 ", behind its end %08" PRIx32,
                         open->key_begin, open->key_end);
    }
    return NULL;
}
