#ifndef PROTO_MESSAGE_H
#define PROTO_MESSAGE_H

/*
 * Flow's materialize protocol as plain values, the same for both codecs. Facts: estuary/flow,
 * go/protocols/materialize/materialize.proto and flow.proto.
 *
 * Hot requests (Load, Store) are spans into the decoder's buffer, valid until the next call on the
 * decoder. Cold requests (Validate, Apply, Open) lie in the arena that was given to the decoder.
 * Fields named *_json are raw JSON text. An absent message pointer is NULL, an absent span has ptr
 * NULL.
 */

#include "base/span.h"

#include <stdbool.h>
#include <stdint.h>

#define PROTO_VERSION 3032023

/* ---- parts of specs */

enum proto_type { /* bits of proto_inference.types */
                  PROTO_TYPE_NULL = 1,
                  PROTO_TYPE_BOOLEAN = 2,
                  PROTO_TYPE_INTEGER = 4,
                  PROTO_TYPE_NUMBER = 8, /* also "fractional" */
                  PROTO_TYPE_STRING = 16,
                  PROTO_TYPE_ARRAY = 32,
                  PROTO_TYPE_OBJECT = 64
};

enum proto_exists {
    PROTO_EXISTS_INVALID,
    PROTO_EXISTS_MUST,
    PROTO_EXISTS_MAY,
    PROTO_EXISTS_IMPLICIT,
    PROTO_EXISTS_CANNOT
};

struct proto_inference {
    unsigned types;          /* bits */
    struct span *type_names; /* in the order of the spec, for comments and messages */
    unsigned type_name_count;
    enum proto_exists exists;
    struct span title, description;
    struct span default_json; /* ptr NULL: no default */
    bool has_string;
    struct span content_type, format, content_encoding;
    uint32_t max_length;
    bool has_numeric;
    bool has_minimum, has_maximum;
    double minimum, maximum;
};

struct proto_projection {
    struct span ptr; /* JSON pointer; empty: the root document */
    struct span field;
    bool is_explicit, is_partition_key, is_primary_key;
    struct proto_inference inference;
};

struct proto_collection {
    struct span name;
    struct span *key; /* JSON pointers */
    unsigned key_count;
    struct proto_projection *projections; /* ascending by field */
    unsigned projection_count;
};

struct proto_field_option { /* one entry of a field config map */
    struct span field;
    struct span config_json;
};

struct proto_field_selection {
    struct span *keys;
    unsigned key_count;
    struct span *values;
    unsigned value_count;
    struct span document; /* empty: none */
    struct proto_field_option *options;
    unsigned option_count;
};

struct proto_binding { /* of a MaterializationSpec */
    struct span resource_config_json;
    struct span *resource_path;
    unsigned resource_path_count;
    struct proto_collection *collection; /* inline or resolved from linked_collections */
    struct proto_field_selection selection;
    bool delta_updates;
    uint32_t backfill;
    struct span state_key;
    uint32_t collection_index; /* how collection was found; of no further use */
};

struct proto_label {
    struct span name, value;
};

struct proto_materialization {
    struct span name;
    struct span config_json; /* of last_materialization: the stored, maybe sealed form */
    struct proto_binding *bindings;
    unsigned binding_count;
    struct proto_binding *inactive_bindings;
    unsigned inactive_binding_count;
    struct proto_collection *linked_collections; /* what collection of a binding may point into */
    unsigned linked_collection_count;
    struct proto_label *labels; /* of the shard template: feature flags */
    unsigned label_count;
    bool is_runtime_v2; /* the shard template's label estuary.dev/flag/enable-runtime-v2 */
};

/* ---- requests */

enum proto_request_kind {
    PROTO_SPEC = 1,
    PROTO_VALIDATE,
    PROTO_APPLY,
    PROTO_OPEN,
    PROTO_LOAD,
    PROTO_FLUSH,
    PROTO_STORE,
    PROTO_START_COMMIT,
    PROTO_ACKNOWLEDGE
};
const char *proto_request_name(enum proto_request_kind kind); /* "Spec", "Validate", ... */

struct proto_validate_binding {
    struct span resource_config_json;
    struct proto_collection *collection;
    struct proto_field_option *options;
    unsigned option_count;
    uint32_t backfill;
    struct span *group_by;
    unsigned group_by_count;
    uint32_t collection_index; /* as in proto_binding */
};

struct proto_validate {
    struct span name;
    struct span config_json;
    struct proto_validate_binding *bindings;
    unsigned binding_count;
    struct proto_collection *linked_collections; /* as in proto_materialization */
    unsigned linked_collection_count;
    struct proto_materialization *last_materialization; /* NULL: none */
    struct span last_version;
};

struct proto_apply {
    struct proto_materialization *materialization;
    struct span version;
    struct proto_materialization *last_materialization; /* NULL: none */
    struct span last_version;
    struct span state_json;
};

struct proto_open {
    struct proto_materialization *materialization;
    struct span version;
    uint32_t key_begin, key_end; /* inclusive */
    struct span state_json;
};

/* The same tuple in the two forms; use packed when it is not empty. */
struct proto_tuple {
    struct span packed; /* decoded from base64 by the JSON codec */
    struct span json;   /* a JSON array */
};

struct proto_load {
    uint32_t binding;
    struct proto_tuple key;
};

struct proto_store {
    uint32_t binding;
    struct proto_tuple key, values;
    struct span doc_json; /* empty when the binding has no document field */
    bool exists, is_delete;
};

struct proto_backfill { /* of Flush: a source backfill began or ended */
    uint32_t binding;
    int64_t seconds;
    int32_t nanos;
};

struct proto_flush {
    struct span state_patches_json;
    struct proto_backfill *begins, *completes; /* in the arena */
    unsigned begin_count, complete_count;
};

struct proto_start_commit {
    /* As it came: protobuf bytes of consumer.Checkpoint, or JSON text; absent: ptr NULL. */
    struct span runtime_checkpoint;
    struct span state_patches_json;
};

struct proto_acknowledge {
    struct span state_patches_json;
};

struct proto_request {
    enum proto_request_kind kind;
    union {
        struct proto_validate *validate;
        struct proto_apply *apply;
        struct proto_open *open;
        struct proto_load load;
        struct proto_flush flush;
        struct proto_store store;
        struct proto_start_commit start_commit;
        struct proto_acknowledge acknowledge;
    } u;
};

/* ---- responses */

enum proto_constraint_type {
    PROTO_FIELD_REQUIRED = 1,
    PROTO_LOCATION_REQUIRED,
    PROTO_LOCATION_RECOMMENDED,
    PROTO_FIELD_OPTIONAL,
    PROTO_FIELD_FORBIDDEN,
    PROTO_INCOMPATIBLE
};
const char *proto_constraint_name(enum proto_constraint_type type); /* "FIELD_REQUIRED", ... */

struct proto_constraint {
    struct span field;
    enum proto_constraint_type type;
    struct span reason;
    struct span folded_field; /* empty: same as field */
};

struct proto_validated_binding {
    struct span *resource_path;
    unsigned resource_path_count;
    struct proto_constraint *constraints; /* sorted by field, a requirement before INCOMPATIBLE */
    unsigned constraint_count;
    bool delta_updates, case_insensitive_fields;
    uint32_t str_truncate_after, nested_obj_truncate_after, array_truncate_after;
};

#endif
