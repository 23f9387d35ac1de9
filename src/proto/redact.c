/*
 * Room proto: endpoint configurations without their secrets, so that a frame may be written down.
 * In: a request's frame. Out: the same with secrets replaced. It does not know which members a
 * configuration has, only what a secret is called: a member that is added later, or belongs to the
 * stored form around the configuration, is covered by its name.
 */

#include "proto/rewrite.h"

#include "base/secret.h"
#include "json/scan.h"

/* Names are compared without case and without what is no letter or digit. */
static bool speaks_of_a_secret(struct span name)
{
    static const char *const words[] = {"password",   "passwd",     "secret",
                                        "privatekey", "apikey",     "token",
                                        "credential", "passphrase", "authorization"};
    char plain[256];
    size_t len = 0;

    for (size_t i = 0; i < name.len && len < sizeof plain - 1; i++) {
        const char c = name.ptr[i];
        if (c >= 'A' && c <= 'Z') {
            plain[len++] = (char)(c - 'A' + 'a');
        } else if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) {
            plain[len++] = c;
        }
    }
    plain[len] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strstr(plain, words[i])) {
            return true;
        }
    }
    return name.len >= sizeof plain; /* no property is called that */
}

/* scheme://user:password@host */
static bool is_url_with_password(struct span text)
{
    for (size_t i = 0; i + 3 <= text.len; i++) {
        if (memcmp(text.ptr + i, "://", 3) != 0) {
            continue;
        }
        bool has_colon = false;
        for (size_t at = i + 3; at < text.len && text.ptr[at] != '/'; at++) {
            if (text.ptr[at] == '@' && has_colon) {
                return true;
            }
            has_colon |= text.ptr[at] == ':';
        }
    }
    return false;
}

struct walk {
    struct json_reader reader;
    struct buf *out;
    const char *copied; /* up to here the input is in out */
    struct buf scratch; /* texts with escapes; may hold a secret */
    unsigned depth;
    bool changed;
};

static void replace(struct walk *walk, const struct json_item *item)
{
    buf_add(walk->out, walk->copied, (size_t)(item->raw.ptr - walk->copied));
    buf_add_str(walk->out, PROTO_REDACTED);
    walk->copied = item->raw.ptr + item->raw.len;
    walk->changed = true;
}

static struct error *unescape(struct walk *walk, struct span inside, struct span *ret)
{
    buf_clear(&walk->scratch);
    return json_unescape(inside, &walk->scratch, ret);
}

static struct error *walk_inside(struct walk *walk, enum json_kind kind);

/* One value that is no secret by its name. */
static struct error *walk_value(struct walk *walk)
{
    enum json_kind kind;
    struct json_item item;
    struct span text;

    if (!json_peek(&walk->reader, &kind) || (kind != JSON_OBJECT && kind != JSON_ARRAY)) {
        RETURN_IF_ERROR(json_next(&walk->reader, &item));
        if (item.kind == JSON_STRING) {
            RETURN_IF_ERROR(
                unescape(walk, (struct span){item.raw.ptr + 1, item.raw.len - 2}, &text));
            if (is_url_with_password(text)) {
                replace(walk, &item);
            }
        }
        return NULL;
    }
    if (walk->depth == JSON_MAX_DEPTH) {
        return error_new(ERROR_INPUT, ERROR_FATAL, "JSON is nested deeper than %d", JSON_MAX_DEPTH);
    }
    walk->depth++;
    RETURN_IF_ERROR(walk_inside(walk, kind));
    walk->depth--;
    return NULL;
}

static struct error *walk_inside(struct walk *walk, enum json_kind kind)
{
    struct json_item item;
    struct span name, text;
    bool have;

    RETURN_IF_ERROR(json_enter(&walk->reader, kind));
    if (kind == JSON_ARRAY) {
        RETURN_IF_ERROR(json_element_start(&walk->reader, &have));
        while (have) {
            RETURN_IF_ERROR(walk_value(walk));
            RETURN_IF_ERROR(json_element_start(&walk->reader, &have));
        }
        return NULL;
    }
    RETURN_IF_ERROR(json_member_name(&walk->reader, &name, &have));
    while (have) {
        RETURN_IF_ERROR(unescape(walk, name, &text));
        if (speaks_of_a_secret(text)) {
            RETURN_IF_ERROR(json_next(&walk->reader, &item));
            if (item.kind != JSON_NULL) {
                replace(walk, &item);
            }
        } else {
            RETURN_IF_ERROR(walk_value(walk));
        }
        RETURN_IF_ERROR(json_member_name(&walk->reader, &name, &have));
    }
    return NULL;
}

/* Text of no bytes is a field that is absent in effect. */
static struct error *redact_config(struct span value, struct buf *out, bool *ret_changed)
{
    struct walk walk = {.out = out, .copied = value.ptr};

    if (value.len == 0) {
        return NULL;
    }
    json_reader_init(&walk.reader, value);
    buf_init(&walk.scratch, 4 * PROTO_MAX_FRAME);
    struct error *err = walk_value(&walk);
    if (!err) {
        err = json_end(&walk.reader);
    }
    if (!err) {
        buf_add(out, walk.copied, (size_t)(value.ptr + value.len - walk.copied));
        *ret_changed = walk.changed;
    }
    secret_wipe(walk.scratch.data, walk.scratch.cap);
    buf_done(&walk.scratch);
    return err;
}

static struct error *
redact(void *ctx, enum proto_place place, struct span value, struct buf *out, bool *ret_changed)
{
    (void)ctx;
    switch (place) {
    case PROTO_PLACE_CONFIG:
    case PROTO_PLACE_LAST_CONFIG:
        return redact_config(value, out, ret_changed);
    case PROTO_PLACE_TRIGGERS:
        buf_add_str(out, PROTO_REDACTED);
        *ret_changed = true;
        return NULL;
    case PROTO_PLACE_STATE:
    case PROTO_PLACE_PATCHES:
    case PROTO_PLACE_PATH_HEAD:
    case PROTO_PLACE_PATH:
        break;
    }
    return NULL;
}

struct error *proto_redact(enum proto_codec codec, struct span frame, struct buf *out)
{
    return proto_rewrite(codec, frame, redact, NULL, out);
}
