/*
 * Room proto: responses to bytes, in both codecs. Plain values and raw JSON come in from the
 * session, one whole message is appended to the owner's buffer. Raw JSON is compacted on the way:
 * the runtime splits JSON output at newlines and state updates at tabs.
 *
 * A message that cannot be written (its raw JSON is none) leaves the buffer as it was.
 */

#include "proto/codec.h"

#include "proto/wire.h"
#include "json/scan.h"
#include "json/write.h"

/* ---------------------------------------------------------------- one message */

struct answer {
    enum proto_codec codec;
    struct buf *out;
    struct json_writer json;
    size_t start;    /* of the message in out */
    size_t body;     /* protobuf: of the answer within it */
    unsigned number; /* protobuf: of the answer in Response */
};

/* Field numbers of Response. */
enum { SPEC = 1, VALIDATED, APPLIED, OPENED, LOADED, FLUSHED, STARTED_COMMIT, ACKNOWLEDGED };

static const char *const answer_names[] = {[SPEC] = "spec",
                                           [VALIDATED] = "validated",
                                           [APPLIED] = "applied",
                                           [OPENED] = "opened",
                                           [LOADED] = "loaded",
                                           [FLUSHED] = "flushed",
                                           [STARTED_COMMIT] = "startedCommit",
                                           [ACKNOWLEDGED] = "acknowledged"};

static struct answer begin(enum proto_codec codec, struct buf *out, unsigned number)
{
    struct answer answer = {.codec = codec, .out = out, .start = out->len, .number = number};

    if (codec == PROTO_CODEC_PROTOBUF) {
        buf_add(out, "\0\0\0\0", 4);
        answer.body = wire_begin(out);
    } else {
        json_writer_init(&answer.json, out);
        json_object_begin(&answer.json);
        json_name(&answer.json, answer_names[number]);
        json_object_begin(&answer.json);
    }
    return answer;
}

static void end(struct answer *answer)
{
    struct buf *const out = answer->out;

    if (answer->codec == PROTO_CODEC_JSON) {
        json_object_end(&answer->json);
        json_object_end(&answer->json);
        buf_add_byte(out, '\n');
        CHECK(!buf_is_full(out));
        return;
    }
    wire_end(out, answer->number, answer->body);
    CHECK(!buf_is_full(out));
    const size_t len = out->len - answer->start - 4;
    CHECK(len <= UINT32_MAX);
    for (unsigned i = 0; i < 4; i++) {
        out->data[answer->start + i] = (char)(unsigned char)(len >> (8 * i));
    }
}

/* Takes back what was written of the message. */
static struct error *give_up(struct answer *answer, struct error *err, const char *what)
{
    struct error *same =
        error_new(ERROR_INTERNAL, ERROR_FATAL, "writing %s: %s", what, error_text(err));

    error_free(err);
    answer->out->len = answer->start;
    if (answer->out->data) {
        answer->out->data[answer->start] = '\0';
    }
    return same;
}

/* ---------------------------------------------------------------- members */

static bool is_json(const struct answer *answer)
{
    return answer->codec == PROTO_CODEC_JSON;
}

/* Defaults are left out. */
static void add_text(struct answer *answer, unsigned number, const char *name, struct span text)
{
    if (text.len == 0) {
        return;
    }
    if (is_json(answer)) {
        json_name(&answer->json, name);
        json_str(&answer->json, text);
    } else {
        wire_add_bytes(answer->out, number, text);
    }
}

static void add_uint(struct answer *answer, unsigned number, const char *name, uint32_t value)
{
    if (value == 0) {
        return;
    }
    if (is_json(answer)) {
        json_name(&answer->json, name);
        json_uint(&answer->json, value);
    } else {
        wire_add_uint(answer->out, number, value);
    }
}

static void add_bool(struct answer *answer, unsigned number, const char *name, bool value)
{
    if (!value) {
        return;
    }
    if (is_json(answer)) {
        json_name(&answer->json, name);
        json_bool(&answer->json, value);
    } else {
        wire_add_uint(answer->out, number, 1);
    }
}

/* Raw JSON, compacted. */
static struct error *
add_raw(struct answer *answer, unsigned number, const char *name, struct span value)
{
    if (is_json(answer)) {
        json_name(&answer->json, name);
        RETURN_IF_ERROR(json_add_compact(answer->out, value));
        answer->json.need_comma = true;
        return NULL;
    }
    const size_t start = wire_begin(answer->out);
    RETURN_IF_ERROR(json_add_compact(answer->out, value));
    wire_end(answer->out, number, start);
    return NULL;
}

/* A message within: part_begin, members, part_end. */
static size_t part_begin(struct answer *answer, const char *name)
{
    if (is_json(answer)) {
        if (name) {
            json_name(&answer->json, name);
        }
        json_object_begin(&answer->json);
    }
    return wire_begin(answer->out);
}

static void part_end(struct answer *answer, unsigned number, size_t start)
{
    if (is_json(answer)) {
        json_object_end(&answer->json);
    } else {
        wire_end(answer->out, number, start);
    }
}

/* ConnectorState: always a merge patch; left out when there is nothing to change. */
static struct error *add_state(struct answer *answer, unsigned number, struct span patch_json)
{
    if (patch_json.len == 0) {
        return NULL;
    }
    const size_t start = part_begin(answer, "state");
    RETURN_IF_ERROR(add_raw(answer, 1, "updated", patch_json));
    add_bool(answer, 2, "mergePatch", true);
    part_end(answer, number, start);
    return NULL;
}

/* ---------------------------------------------------------------- answers */

struct error *
proto_encode_spec(enum proto_codec codec, struct buf *out, const struct proto_spec_answer *spec)
{
    struct answer answer = begin(codec, out, SPEC);

    add_uint(&answer, 1, "protocol", PROTO_VERSION);
    struct error *err = add_raw(&answer, 2, "configSchema", spec->config_schema_json);
    if (!err) {
        err = add_raw(&answer, 3, "resourceConfigSchema", spec->resource_config_schema_json);
    }
    if (err) {
        return give_up(&answer, err, "the Spec answer");
    }
    add_text(&answer, 4, "documentationUrl", spec->documentation_url);
    end(&answer);
    return NULL;
}

/* Members of Constraint, which has no field 1. */
static void add_constraint(struct answer *answer, const struct proto_constraint *constraint)
{
    if (is_json(answer)) {
        json_name(&answer->json, "type");
        json_str(&answer->json, span_of(proto_constraint_name(constraint->type)));
    } else {
        wire_add_uint(answer->out, 2, constraint->type);
    }
    add_text(answer, 3, "reason", constraint->reason);
    add_text(answer, 4, "foldedField", constraint->folded_field);
}

/* One entry of a list or of the map of old: the field's name is 1, the constraint 2 in both. */
static void add_field_constraint(struct answer *answer,
                                 unsigned number,
                                 const struct proto_constraint *constraint)
{
    const size_t start = part_begin(answer, NULL);

    add_text(answer, 1, "field", constraint->field);
    const size_t inner = part_begin(answer, "constraint");
    add_constraint(answer, constraint);
    part_end(answer, 2, inner);
    part_end(answer, number, start);
}

/* Protobuf only: the map that control planes read before the list came. It holds one constraint a
 * field: the last, so that INCOMPATIBLE wins over the requirement, as those control planes expect
 * of a column that cannot stay. */
static void add_constraint_map(struct answer *answer, const struct proto_validated_binding *binding)
{
    for (unsigned i = 0; i < binding->constraint_count; i++) {
        const struct proto_constraint *constraint = &binding->constraints[i];
        if (i + 1 < binding->constraint_count &&
            span_equal(constraint[1].field, constraint->field)) {
            continue;
        }
        add_field_constraint(answer, 1, constraint);
    }
}

static void add_constraint_list(struct answer *answer,
                                const struct proto_validated_binding *binding)
{
    if (binding->constraint_count == 0) {
        return;
    }
    if (is_json(answer)) {
        json_name(&answer->json, "projectionConstraints");
        json_array_begin(&answer->json);
    }
    for (unsigned i = 0; i < binding->constraint_count; i++) {
        add_field_constraint(answer, 6, &binding->constraints[i]);
    }
    if (is_json(answer)) {
        json_array_end(&answer->json);
    }
}

static void add_resource_path(struct answer *answer, const struct proto_validated_binding *binding)
{
    if (is_json(answer)) {
        json_name(&answer->json, "resourcePath");
        json_array_begin(&answer->json);
    }
    for (unsigned i = 0; i < binding->resource_path_count; i++) {
        if (is_json(answer)) {
            json_str(&answer->json, binding->resource_path[i]);
        } else {
            wire_add_element(answer->out, 2, binding->resource_path[i]);
        }
    }
    if (is_json(answer)) {
        json_array_end(&answer->json);
    }
}

static void add_ser_policy(struct answer *answer, const struct proto_validated_binding *binding)
{
    if (binding->str_truncate_after == 0 && binding->nested_obj_truncate_after == 0 &&
        binding->array_truncate_after == 0) {
        return;
    }
    const size_t start = part_begin(answer, "serPolicy");
    add_uint(answer, 1, "strTruncateAfter", binding->str_truncate_after);
    add_uint(answer, 2, "nestedObjTruncateAfter", binding->nested_obj_truncate_after);
    add_uint(answer, 3, "arrayTruncateAfter", binding->array_truncate_after);
    part_end(answer, 4, start);
}

void proto_encode_validated(enum proto_codec codec,
                            struct buf *out,
                            const struct proto_validated_binding *bindings,
                            unsigned count)
{
    struct answer answer = begin(codec, out, VALIDATED);

    if (codec == PROTO_CODEC_JSON && count > 0) {
        json_name(&answer.json, "bindings");
        json_array_begin(&answer.json);
    }
    for (unsigned i = 0; i < count; i++) {
        const size_t start = part_begin(&answer, NULL);
        if (codec == PROTO_CODEC_PROTOBUF) {
            add_constraint_map(&answer, &bindings[i]);
        }
        add_resource_path(&answer, &bindings[i]);
        add_bool(&answer, 3, "deltaUpdates", bindings[i].delta_updates);
        add_ser_policy(&answer, &bindings[i]);
        add_bool(&answer, 5, "caseInsensitiveFields", bindings[i].case_insensitive_fields);
        add_constraint_list(&answer, &bindings[i]);
        part_end(&answer, 1, start);
    }
    if (codec == PROTO_CODEC_JSON && count > 0) {
        json_array_end(&answer.json);
    }
    end(&answer);
}

struct error *proto_encode_applied(enum proto_codec codec,
                                   struct buf *out,
                                   struct span action_description,
                                   struct span patch_json)
{
    struct answer answer = begin(codec, out, APPLIED);

    add_text(&answer, 1, "actionDescription", action_description);
    struct error *err = add_state(&answer, 2, patch_json);
    if (err) {
        return give_up(&answer, err, "the Applied answer");
    }
    end(&answer);
    return NULL;
}

static struct error *
add_checkpoint(struct answer *answer, struct span checkpoint, bool checkpoint_is_protobuf)
{
    if (!is_json(answer)) {
        /* Its content is nobody's business; an empty one is not an absent one. */
        wire_add_element(answer->out, 1, checkpoint);
        return NULL;
    }
    json_name(&answer->json, "runtimeCheckpoint");
    RETURN_IF_ERROR(checkpoint_is_protobuf ? proto_checkpoint_to_json(checkpoint, answer->out)
                                           : json_add_compact(answer->out, checkpoint));
    answer->json.need_comma = true;
    return NULL;
}

struct error *proto_encode_opened(enum proto_codec codec,
                                  struct buf *out,
                                  struct span checkpoint,
                                  bool checkpoint_is_protobuf,
                                  bool disable_load_optimization)
{
    struct answer answer = begin(codec, out, OPENED);

    if (checkpoint.ptr) {
        struct error *err = add_checkpoint(&answer, checkpoint, checkpoint_is_protobuf);
        if (err) {
            return give_up(&answer, err, "the checkpoint of the Opened answer");
        }
    }
    add_bool(&answer, 2, "disableLoadOptimization", disable_load_optimization);
    end(&answer);
    return NULL;
}

struct error *
proto_encode_loaded(enum proto_codec codec, struct buf *out, uint32_t binding, struct span doc_json)
{
    struct answer answer = begin(codec, out, LOADED);

    if (codec == PROTO_CODEC_JSON) {
        json_name(&answer.json, "binding");
        json_uint(&answer.json, binding);
    } else {
        wire_add_uint(out, 1, binding);
    }
    struct error *err = add_raw(&answer, 2, "doc", doc_json);
    if (err) {
        return give_up(&answer, err, "a loaded document");
    }
    end(&answer);
    return NULL;
}

static struct error *encode_state_only(enum proto_codec codec,
                                       struct buf *out,
                                       unsigned number,
                                       struct span patch_json,
                                       const char *what)
{
    struct answer answer = begin(codec, out, number);
    struct error *err = add_state(&answer, 1, patch_json);

    if (err) {
        return give_up(&answer, err, what);
    }
    end(&answer);
    return NULL;
}

struct error *proto_encode_flushed(enum proto_codec codec, struct buf *out, struct span patch_json)
{
    return encode_state_only(codec, out, FLUSHED, patch_json, "the state of a Flushed answer");
}

struct error *
proto_encode_started_commit(enum proto_codec codec, struct buf *out, struct span patch_json)
{
    return encode_state_only(codec, out, STARTED_COMMIT, patch_json,
                             "the state of a StartedCommit answer");
}

struct error *
proto_encode_acknowledged(enum proto_codec codec, struct buf *out, struct span patch_json)
{
    return encode_state_only(codec, out, ACKNOWLEDGED, patch_json,
                             "the state of an Acknowledged answer");
}
