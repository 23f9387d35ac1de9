/*
 * Room proto: a frame written again with some values replaced. In: one whole frame of a request and
 * a function that decides about each value. Out: the frame with its lengths made right, all other
 * bytes as they came. It follows its own small map of where those values stand, so that a message
 * is never taken apart and put together again: what the map does not name is copied.
 */

#include "proto/rewrite.h"

#include "proto/wire.h"
#include "json/scan.h"
#include "json/write.h"

/* ---------------------------------------------------------------- the map */

enum step {
    STEP_INTO, /* a message, or each of a list of them */
    STEP_JSON, /* raw JSON: edited */
    STEP_TEXTS /* a list of strings: each is edited */
};

struct node {
    unsigned number;
    const char *name, *proto_name;
    enum step step;
    enum proto_place place;
    const struct node *inside; /* STEP_INTO; ends with number 0 */
};

#define INTO(number, name, proto_name, inside)                                                     \
    {                                                                                              \
        number, name, proto_name, STEP_INTO, PROTO_PLACE_CONFIG, inside                            \
    }
#define LEAF(number, name, proto_name, place)                                                      \
    {                                                                                              \
        number, name, proto_name, STEP_JSON, place, NULL                                           \
    }
#define END                                                                                        \
    {                                                                                              \
        0, NULL, NULL, STEP_INTO, PROTO_PLACE_CONFIG, NULL                                         \
    }

static const struct node binding[] = {
    {2, "resourcePath", "resource_path", STEP_TEXTS, PROTO_PLACE_PATH, NULL},
    END,
};
static const struct node materialization[] = {
    LEAF(3, "config", "config_json", PROTO_PLACE_CONFIG),
    INTO(4, "bindings", "bindings", binding),
    INTO(9, "inactiveBindings", "inactive_bindings", binding),
    LEAF(10, "triggers", "triggers_json", PROTO_PLACE_TRIGGERS),
    END,
};
static const struct node last_materialization[] = {
    LEAF(3, "config", "config_json", PROTO_PLACE_LAST_CONFIG),
    INTO(4, "bindings", "bindings", binding),
    INTO(9, "inactiveBindings", "inactive_bindings", binding),
    LEAF(10, "triggers", "triggers_json", PROTO_PLACE_TRIGGERS),
    END,
};
static const struct node spec[] = {
    LEAF(2, "config", "config_json", PROTO_PLACE_CONFIG),
    END,
};
static const struct node validate[] = {
    LEAF(3, "config", "config_json", PROTO_PLACE_CONFIG),
    INTO(5, "lastMaterialization", "last_materialization", last_materialization),
    END,
};
static const struct node apply[] = {
    INTO(1, "materialization", "materialization", materialization),
    INTO(4, "lastMaterialization", "last_materialization", last_materialization),
    LEAF(6, "state", "state_json", PROTO_PLACE_STATE),
    END,
};
static const struct node open_request[] = {
    INTO(1, "materialization", "materialization", materialization),
    LEAF(4, "state", "state_json", PROTO_PLACE_STATE),
    LEAF(5, "sealedConfig", "sealed_config_json", PROTO_PLACE_LAST_CONFIG),
    END,
};
static const struct node patches_first[] = {
    LEAF(1, "statePatches", "state_patches_json", PROTO_PLACE_PATCHES),
    END,
};
static const struct node patches_second[] = {
    LEAF(2, "statePatches", "state_patches_json", PROTO_PLACE_PATCHES),
    END,
};
static const struct node nothing[] = {END};

static const struct node request[] = {
    INTO(PROTO_SPEC, "spec", "spec", spec),
    INTO(PROTO_VALIDATE, "validate", "validate", validate),
    INTO(PROTO_APPLY, "apply", "apply", apply),
    INTO(PROTO_OPEN, "open", "open", open_request),
    INTO(PROTO_LOAD, "load", "load", nothing),
    INTO(PROTO_FLUSH, "flush", "flush", patches_first),
    INTO(PROTO_STORE, "store", "store", nothing),
    INTO(PROTO_START_COMMIT, "startCommit", "start_commit", patches_second),
    INTO(PROTO_ACKNOWLEDGE, "acknowledge", "acknowledge", patches_first),
    END,
};

static const struct node state_update[] = {
    LEAF(1, "updated", "updated_json", PROTO_PLACE_STATE),
    END,
};
static const struct node applied[] = {
    INTO(2, "state", "state", state_update),
    END,
};
static const struct node state_only[] = {
    /* Flushed, StartedCommit, Acknowledged */
    INTO(1, "state", "state", state_update),
    END,
};

static const struct node response[] = {
    INTO(1, "spec", "spec", nothing),
    INTO(2, "validated", "validated", nothing),
    INTO(3, "applied", "applied", applied),
    INTO(4, "opened", "opened", nothing),
    INTO(5, "loaded", "loaded", nothing),
    INTO(6, "flushed", "flushed", state_only),
    INTO(7, "startedCommit", "started_commit", state_only),
    INTO(8, "acknowledged", "acknowledged", state_only),
    END,
};

struct rewriter {
    proto_edit_fn *edit;
    void *ctx;
    struct buf *out;
    const char *copied; /* JSON: up to here the input is in out */
    unsigned path_len;  /* elements seen of the path that is being walked */
};

/* ---------------------------------------------------------------- JSON */

static const struct node *find_name(const struct node *nodes, struct span name)
{
    for (; nodes->number != 0; nodes++) {
        if (json_name_is(name, nodes->name) || json_name_is(name, nodes->proto_name)) {
            return nodes;
        }
    }
    return NULL;
}

static void copy_up_to(struct rewriter *rw, const char *end)
{
    buf_add(rw->out, rw->copied, (size_t)(end - rw->copied));
    rw->copied = end;
}

/* What the edit appends takes the place of the value; the input up to it is copied before. */
static struct error *
edit_item(struct rewriter *rw, enum proto_place place, const struct json_item *item)
{
    const char *const copied = rw->copied;
    const size_t len = rw->out->len;
    bool changed = false;

    copy_up_to(rw, item->raw.ptr);
    RETURN_IF_ERROR(rw->edit(rw->ctx, place, item->raw, rw->out, &changed));
    if (changed) {
        rw->copied = item->raw.ptr + item->raw.len;
    } else {
        rw->copied = copied;
        rw->out->len = len;
    }
    return NULL;
}

static enum proto_place next_path_place(struct rewriter *rw)
{
    return rw->path_len++ == 0 ? PROTO_PLACE_PATH_HEAD : PROTO_PLACE_PATH;
}

static struct error *edit_text(struct rewriter *rw, const struct json_item *item)
{
    struct buf scratch;
    struct span text;
    bool changed = false;

    if (item->kind != JSON_STRING) {
        return NULL;
    }
    buf_init(&scratch, 4 * PROTO_MAX_FRAME);
    struct error *err = json_string(item, &scratch, &text);
    if (!err) {
        struct buf edited;
        buf_init(&edited, 4 * PROTO_MAX_FRAME);
        err = rw->edit(rw->ctx, next_path_place(rw), text, &edited, &changed);
        if (!err && changed) {
            copy_up_to(rw, item->raw.ptr);
            json_add_string(rw->out, buf_view(&edited));
            rw->copied = item->raw.ptr + item->raw.len;
        }
        buf_done(&edited);
    }
    buf_done(&scratch);
    return err;
}

/* Recursion follows the map, so it is as deep as that. The value is walked in place. */
static struct error *
walk_json(struct rewriter *rw, struct json_reader *reader, const struct node *node)
{
    enum json_kind kind;
    struct json_item item;
    struct span name;
    bool have;

    if (!json_peek(reader, &kind) || node->step == STEP_JSON ||
        (kind != JSON_OBJECT && kind != JSON_ARRAY)) {
        RETURN_IF_ERROR(json_next(reader, &item));
        if (node->step == STEP_JSON) {
            return edit_item(rw, node->place, &item);
        }
        return node->step == STEP_TEXTS ? edit_text(rw, &item) : NULL;
    }
    RETURN_IF_ERROR(json_enter(reader, kind));
    rw->path_len = 0;
    if (kind == JSON_ARRAY) {
        RETURN_IF_ERROR(json_element_start(reader, &have));
        while (have) {
            if (json_peek(reader, &kind) && kind == JSON_ARRAY) { /* the map has none in a list */
                RETURN_IF_ERROR(json_next(reader, &item));
            } else {
                RETURN_IF_ERROR(walk_json(rw, reader, node));
            }
            RETURN_IF_ERROR(json_element_start(reader, &have));
        }
        return NULL;
    }
    RETURN_IF_ERROR(json_member_name(reader, &name, &have));
    while (have) {
        const struct node *member = node->inside ? find_name(node->inside, name) : NULL;
        if (member) {
            RETURN_IF_ERROR(walk_json(rw, reader, member));
        } else {
            RETURN_IF_ERROR(json_next(reader, &item));
        }
        RETURN_IF_ERROR(json_member_name(reader, &name, &have));
    }
    return NULL;
}

static struct error *rewrite_json(struct rewriter *rw, struct span frame, const struct node *nodes)
{
    const struct node top = INTO(1, "", "", nodes);
    struct json_reader reader;

    json_reader_init(&reader, frame);
    rw->copied = frame.ptr;
    RETURN_IF_ERROR(walk_json(rw, &reader, &top));
    RETURN_IF_ERROR(json_end(&reader));
    copy_up_to(rw, frame.ptr + frame.len);
    return NULL;
}

/* ---------------------------------------------------------------- protobuf */

static const struct node *find_number(const struct node *nodes, uint32_t tag)
{
    for (; nodes->number != 0; nodes++) {
        if (tag == WIRE_TAG(nodes->number, WIRE_BYTES)) {
            return nodes;
        }
    }
    return NULL;
}

static struct error *
walk_message(struct rewriter *rw, struct span body, const struct node *nodes, bool *ret_changed);

/* One field that the map names; its new form, with tag and length, or nothing. */
static struct error *
edit_field(struct rewriter *rw, const struct node *node, struct span bytes, bool *ret_changed)
{
    const size_t start = wire_begin(rw->out);

    if (node->step == STEP_INTO) {
        RETURN_IF_ERROR(walk_message(rw, bytes, node->inside, ret_changed));
    } else {
        const enum proto_place place = node->step == STEP_TEXTS ? next_path_place(rw) : node->place;
        RETURN_IF_ERROR(rw->edit(rw->ctx, place, bytes, rw->out, ret_changed));
    }
    if (*ret_changed) {
        wire_end(rw->out, node->number, start);
    } else {
        rw->out->len = start;
    }
    return NULL;
}

static struct error *
walk_message(struct rewriter *rw, struct span body, const struct node *nodes, bool *ret_changed)
{
    struct wire wire = wire_of(body);

    rw->path_len = 0;
    while (wire.at < wire.end) {
        const unsigned char *const start = wire.at;
        uint32_t tag = 0;
        struct span bytes;
        bool changed = false;
        const char *bad = wire_read_tag(&wire, &tag);
        const struct node *node = bad ? NULL : find_number(nodes, tag);
        if (node) {
            bad = wire_read_bytes(&wire, &bytes);
        } else if (!bad) {
            bad = wire_skip(&wire, tag);
        }
        if (bad) {
            return error_new(ERROR_PROTOCOL, ERROR_FATAL, "%s", bad);
        }
        if (node) {
            RETURN_IF_ERROR(edit_field(rw, node, bytes, &changed));
        }
        if (!changed) {
            buf_add(rw->out, start, (size_t)(wire.at - start));
        }
        *ret_changed |= changed;
    }
    return NULL;
}

/* ---------------------------------------------------------------- doors */

struct error *proto_rewrite(
    enum proto_codec codec, struct span frame, proto_edit_fn *edit, void *ctx, struct buf *out)
{
    struct rewriter rw = {.edit = edit, .ctx = ctx, .out = out};
    bool changed = false;

    return codec == PROTO_CODEC_JSON ? rewrite_json(&rw, frame, request)
                                     : walk_message(&rw, frame, request, &changed);
}

static struct error *
note_value(void *ctx, enum proto_place place, struct span value, struct buf *out, bool *ret_changed)
{
    (void)place;
    (void)out;
    (void)ret_changed;
    *(struct span *)ctx = value;
    return NULL;
}

struct error *
proto_response_state(enum proto_codec codec, struct span frame, struct span *ret_patch_json)
{
    struct buf unchanged;
    struct rewriter rw = {.edit = note_value, .ctx = ret_patch_json, .out = &unchanged};
    bool changed = false;

    *ret_patch_json = SPAN_NONE;
    buf_init(&unchanged, 4 * PROTO_MAX_FRAME);
    struct error *err = codec == PROTO_CODEC_JSON ? rewrite_json(&rw, frame, response)
                                                  : walk_message(&rw, frame, response, &changed);
    buf_done(&unchanged);
    return err;
}

static unsigned json_kind_of(const struct node *nodes, struct span frame)
{
    struct json_reader reader;
    struct span name;
    enum json_kind kind;
    bool have = false;
    struct error *err;

    /* The first member that is a kind: any other order of members would be two kinds at once. */
    json_reader_init(&reader, frame);
    err = json_enter(&reader, JSON_OBJECT);
    if (!err) {
        err = json_member_name(&reader, &name, &have);
    }
    while (!err && have) {
        const struct node *node = find_name(nodes, name);
        struct json_item item;
        if (node && json_peek(&reader, &kind) && kind != JSON_NULL) {
            return node->number;
        }
        err = json_next(&reader, &item);
        if (!err) {
            err = json_member_name(&reader, &name, &have);
        }
    }
    error_free(err);
    return 0;
}

unsigned proto_frame_kind(enum proto_codec codec, bool is_response, struct span frame)
{
    const struct node *const nodes = is_response ? response : request;

    if (codec == PROTO_CODEC_JSON) {
        return json_kind_of(nodes, frame);
    }
    struct wire wire = wire_of(frame);
    while (wire.at < wire.end) {
        uint32_t tag = 0;
        if (wire_read_tag(&wire, &tag)) {
            return 0;
        }
        const struct node *node = find_number(nodes, tag);
        if (node) {
            return node->number;
        }
        if (wire_skip(&wire, tag)) {
            return 0;
        }
    }
    return 0;
}

const char *proto_response_name(unsigned number)
{
    static const char *const names[] = {"unknown", "Spec",          "Validated",
                                        "Applied", "Opened",        "Loaded",
                                        "Flushed", "StartedCommit", "Acknowledged"};
    return names[number < ARRAY_LEN(names) ? number : 0];
}
