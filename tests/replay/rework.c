/* See rework.h. In: frames of the capture, frames of the replayed connector. Out: frames to send.
   Nothing here reads or writes a file or a pipe. */
#include "replay/rework.h"

#include "json/scan.h"

#define TEXT_MAX (4 * PROTO_MAX_FRAME)

void rework_init(struct rework *rework, struct span config)
{
    *rework = (struct rework){.config = config};
    buf_init(&rework->state, TEXT_MAX);
    buf_init(&rework->acknowledged, TEXT_MAX);
    buf_init(&rework->flushed, TEXT_MAX);
    buf_init(&rework->started, TEXT_MAX);
    buf_init(&rework->old_schema, TEXT_MAX);
    buf_init(&rework->new_schema, TEXT_MAX);
}

void rework_done(struct rework *rework)
{
    buf_done(&rework->state);
    buf_done(&rework->acknowledged);
    buf_done(&rework->flushed);
    buf_done(&rework->started);
    buf_done(&rework->old_schema);
    buf_done(&rework->new_schema);
}

/* ---------------------------------------------------------------- merge patch */

/* The member of that name in an object; names compare as they are written. */
static struct error *
find_member(struct span object, struct span name, struct json_item *ret, bool *ret_have)
{
    struct json_reader reader;
    struct span other;

    *ret_have = false;
    if (object.len == 0) {
        return NULL;
    }
    json_reader_init(&reader, object);
    RETURN_IF_ERROR(json_enter(&reader, JSON_OBJECT));
    RETURN_IF_ERROR(json_member(&reader, &other, ret, ret_have));
    while (*ret_have && !span_equal(name, other)) {
        RETURN_IF_ERROR(json_member(&reader, &other, ret, ret_have));
    }
    return NULL;
}

static void add_name(struct buf *out, struct span name, bool *is_first)
{
    buf_add_str(out, *is_first ? "\"" : ",\"");
    buf_add_span(out, name);
    buf_add_str(out, "\":");
    *is_first = false;
}

/* old NULL: nothing there */
static struct error *
add_merged(const struct json_item *old, const struct json_item *patch, struct buf *out)
{
    if (patch->kind != JSON_OBJECT) {
        buf_add_span(out, patch->raw);
        return NULL;
    }
    return rework_merge(old && old->kind == JSON_OBJECT ? old->raw : SPAN_NONE, patch->raw, out);
}

struct error *rework_merge(struct span target, struct span patch, struct buf *out)
{
    struct json_reader reader;
    struct json_item item, other;
    struct span name;
    bool have = false, has_other, is_first = true;

    buf_add_byte(out, '{');
    if (target.len > 0) {
        json_reader_init(&reader, target);
        RETURN_IF_ERROR(json_enter(&reader, JSON_OBJECT));
        RETURN_IF_ERROR(json_member(&reader, &name, &item, &have));
    }
    while (have) {
        RETURN_IF_ERROR(find_member(patch, name, &other, &has_other));
        if (!has_other) {
            add_name(out, name, &is_first);
            buf_add_span(out, item.raw);
        } else if (other.kind != JSON_NULL) {
            add_name(out, name, &is_first);
            RETURN_IF_ERROR(add_merged(&item, &other, out));
        }
        RETURN_IF_ERROR(json_member(&reader, &name, &item, &have));
    }
    json_reader_init(&reader, patch);
    RETURN_IF_ERROR(json_enter(&reader, JSON_OBJECT));
    RETURN_IF_ERROR(json_member(&reader, &name, &item, &have));
    while (have) {
        RETURN_IF_ERROR(find_member(target, name, &other, &has_other));
        if (!has_other && item.kind != JSON_NULL) {
            add_name(out, name, &is_first);
            RETURN_IF_ERROR(add_merged(NULL, &item, out));
        }
        RETURN_IF_ERROR(json_member(&reader, &name, &item, &have));
    }
    buf_add_byte(out, '}');
    return NULL;
}

/* ---------------------------------------------------------------- responses */

static struct buf *updates_of(struct rework *rework, unsigned kind)
{
    switch (kind) {
    case 6:
        return &rework->flushed;
    case 7:
        return &rework->started;
    case 8:
        return &rework->acknowledged;
    default:
        return NULL;
    }
}

struct error *rework_take_response(struct rework *rework, unsigned kind, struct span frame)
{
    struct buf *updates = updates_of(rework, kind);
    struct span patch;
    struct buf merged;

    if (!updates && kind != 3) {
        return NULL;
    }
    RETURN_IF_ERROR(proto_response_state(rework->codec, frame, &patch));
    if (updates) {
        buf_clear(updates);
        buf_add_span(updates, patch);
    }
    if (patch.len == 0) {
        return NULL;
    }
    buf_init(&merged, TEXT_MAX);
    struct error *err = rework_merge(buf_view(&rework->state), patch, &merged);
    buf_clear(&rework->state);
    buf_add_span(&rework->state, buf_view(&merged));
    buf_done(&merged);
    return error_wrap(err, "state update of %s", proto_response_name(kind));
}

/* ---------------------------------------------------------------- requests */

/* The "schema" of an endpoint configuration, "" when it has none. */
static struct error *read_schema(struct span config, struct buf *ret)
{
    struct json_item item;
    bool have;

    buf_clear(ret);
    RETURN_IF_ERROR(find_member(config, SPAN_LIT("schema"), &item, &have));
    if (have && item.kind == JSON_STRING) {
        struct span text = {item.raw.ptr + 1, item.raw.len - 2};
        struct buf scratch;
        buf_init(&scratch, TEXT_MAX);
        struct error *err = json_unescape(text, &scratch, &text);
        buf_add_span(ret, text);
        buf_done(&scratch);
        return err;
    }
    return NULL;
}

/* The configuration may stand behind the paths that depend on it, so it is looked at first. */
static struct error *
look(void *ctx, enum proto_place place, struct span value, struct buf *out, bool *ret_changed)
{
    struct rework *rework = ctx;

    (void)out;
    (void)ret_changed;
    return place == PROTO_PLACE_CONFIG ? read_schema(value, &rework->old_schema) : NULL;
}

static bool add_patches(const struct rework *rework, struct buf *out)
{
    const struct buf *updates = rework->kind == PROTO_ACKNOWLEDGE ? &rework->started
                                : rework->kind == PROTO_FLUSH     ? &rework->acknowledged
                                                                  : &rework->flushed;
    buf_add_byte(out, '[');
    buf_add_span(out, buf_view(updates));
    buf_add_str(out, updates->len > 0 ? "\t]" : "]");
    return true;
}

static struct error *
edit(void *ctx, enum proto_place place, struct span value, struct buf *out, bool *ret_changed)
{
    struct rework *rework = ctx;

    switch (place) {
    case PROTO_PLACE_CONFIG:
        buf_add_span(out, rework->config);
        *ret_changed = rework->config.len > 0;
        break;
    case PROTO_PLACE_PATH_HEAD: /* a configuration with a schema gives each path one */
        *ret_changed = rework->config.len > 0 && rework->old_schema.len > 0 &&
                       rework->new_schema.len > 0 &&
                       span_equal(value, buf_view(&rework->old_schema));
        buf_add_span(out, buf_view(&rework->new_schema));
        break;
    case PROTO_PLACE_STATE:
        buf_add_span(out, rework->state.len > 0 ? buf_view(&rework->state) : SPAN_LIT("{}"));
        *ret_changed = true;
        break;
    case PROTO_PLACE_PATCHES:
        *ret_changed = add_patches(rework, out);
        break;
    case PROTO_PLACE_LAST_CONFIG:
    case PROTO_PLACE_TRIGGERS:
    case PROTO_PLACE_PATH:
        break;
    }
    return NULL;
}

struct error *
rework_request(struct rework *rework, unsigned kind, struct span frame, struct buf *out)
{
    const bool has_config = kind == PROTO_VALIDATE || kind == PROTO_APPLY || kind == PROTO_OPEN;

    if (kind == PROTO_SPEC || kind == PROTO_LOAD || kind == PROTO_STORE || kind == 0) {
        buf_add_span(out, frame);
        return NULL;
    }
    rework->kind = kind;
    if (kind == PROTO_OPEN) { /* a session begins: what is known is in the state */
        buf_clear(&rework->acknowledged);
        buf_clear(&rework->flushed);
        buf_clear(&rework->started);
    }
    if (has_config) {
        struct buf unused;
        buf_init(&unused, TEXT_MAX);
        struct error *err = proto_rewrite(rework->codec, frame, look, rework, &unused);
        buf_done(&unused);
        if (err) {
            return err;
        }
        RETURN_IF_ERROR(error_wrap(read_schema(rework->config, &rework->new_schema),
                                   "reading the endpoint configuration"));
    }
    return proto_rewrite(rework->codec, frame, edit, rework, out);
}
