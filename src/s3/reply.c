/*
 * Room s3, pure: the XML that S3 answers with. Bytes of a body come in, plain structs go out. Knows
 * nothing of requests.
 *
 * A reader of just as much XML as such documents have: elements, attributes (ignored), text with
 * the five named and the numeric entities, CDATA, comments, one declaration. It hands out two
 * events, "element opens" and "element closes, and this was its text"; the documents below are
 * flat, so the name of an element and of its parent tell what a text means.
 */

#include "reply.h"

#include "base/buf.h"
#include "base/text.h"

#include <stdio.h>

#define MAX_DEPTH 16

/* ---------------------------------------------------------------- XML */

enum xml_kind { XML_OPEN, XML_CLOSE, XML_END };

struct xml_event {
    enum xml_kind kind;
    struct span name;
    struct span parent; /* empty for the root */
    unsigned depth;     /* of the element; the root has 1 */
    struct span text;   /* XML_CLOSE: what stood between the tags of an element without children */
};

struct xml {
    struct arena *arena; /* for texts with entities */
    struct span body;
    size_t at;
    struct span open[MAX_DEPTH]; /* names of the elements around us */
    unsigned depth;
    bool self_closing; /* <a/>: the close follows its open without further bytes */
    bool root_seen;
    struct span text;
};

static struct error *xml_error(const struct xml *xml, const char *what) MUST_CHECK;
static struct error *xml_error(const struct xml *xml, const char *what)
{
    return error_new(ERROR_HTTP, ERROR_RETRY, "the answer is not the expected XML: %s at byte %zu",
                     what, xml->at);
}

static void xml_init(struct xml *xml, struct arena *arena, struct span body)
{
    *xml = (struct xml){.arena = arena, .body = body};
}

static struct span xml_rest(const struct xml *xml)
{
    return (struct span){xml->body.ptr + xml->at, xml->body.len - xml->at};
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.' || c == ':';
}

static void skip_blanks(struct xml *xml)
{
    while (xml->at < xml->body.len && is_blank(xml->body.ptr[xml->at])) {
        xml->at++;
    }
}

static bool skip_past(struct xml *xml, const char *end)
{
    struct span rest = xml_rest(xml);
    size_t len = strlen(end);

    for (size_t i = 0; i + len <= rest.len; i++) {
        if (memcmp(rest.ptr + i, end, len) == 0) {
            xml->at += i + len;
            return true;
        }
    }
    return false;
}

static struct span take_name(struct xml *xml)
{
    struct span name = {xml->body.ptr + xml->at, 0};

    while (xml->at < xml->body.len && is_name_char(xml->body.ptr[xml->at])) {
        xml->at++;
        name.len++;
    }
    return name;
}

/* "&amp;", "&#38;", "&#x26;" at the start of text: adds the character, returns the bytes used, or 0
 * when it is none of them. */
static size_t decode_entity(struct buf *out, struct span text)
{
    static const struct {
        const char *name;
        char c;
    } named[] = {{"&lt;", '<'}, {"&gt;", '>'}, {"&amp;", '&'}, {"&quot;", '"'}, {"&apos;", '\''}};
    uint32_t code = 0;
    size_t at = 2;
    bool is_hex;
    char utf8[4];

    for (size_t i = 0; i < ARRAY_LEN(named); i++) {
        if (span_starts_with(text, span_of(named[i].name))) {
            buf_add_byte(out, named[i].c);
            return strlen(named[i].name);
        }
    }
    if (text.len < 4 || text.ptr[1] != '#') {
        return 0;
    }
    is_hex = text.ptr[2] == 'x';
    at += is_hex ? 1 : 0;
    for (size_t start = at; at < text.len && text.ptr[at] != ';'; at++) {
        char c = text.ptr[at];
        uint32_t digit;

        if (c >= '0' && c <= '9') {
            digit = (uint32_t)(c - '0');
        } else if (is_hex && ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'))) {
            digit = (uint32_t)((c | 0x20) - 'a') + 10;
        } else {
            return 0;
        }
        code = code * (is_hex ? 16 : 10) + digit;
        if (code > 0x10FFFF || at - start > 7) {
            return 0;
        }
    }
    if (at == text.len || code == 0 || (code >= 0xD800 && code <= 0xDFFF)) {
        return 0;
    }
    buf_add(out, utf8, text_encode(code, utf8));
    return at + 1;
}

/* A text without entities stays where it is. */
static struct error *decode_text(struct xml *xml, struct span raw, struct span *ret)
{
    struct buf out;

    if (raw.len == 0 || !memchr(raw.ptr, '&', raw.len)) {
        *ret = raw;
        return NULL;
    }
    buf_init(&out, raw.len); /* decoding only shrinks */
    for (size_t i = 0; i < raw.len;) {
        size_t used = 1;

        if (raw.ptr[i] == '&') {
            used = decode_entity(&out, (struct span){raw.ptr + i, raw.len - i});
            if (used == 0) {
                buf_done(&out);
                return xml_error(xml, "an unknown entity");
            }
        } else {
            buf_add_byte(&out, raw.ptr[i]);
        }
        i += used;
    }
    *ret = arena_span(xml->arena, buf_view(&out));
    buf_done(&out);
    return NULL;
}

static bool is_all_blank(struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (!is_blank(text.ptr[i])) {
            return false;
        }
    }
    return true;
}

/* A text in several pieces (around a comment) does not happen in these documents. */
static struct error *add_text(struct xml *xml, struct span text)
{
    if (xml->depth == 0) {
        return xml_error(xml, "text outside of the root element");
    }
    if (!is_all_blank(xml->text)) {
        return xml_error(xml, "a text in pieces");
    }
    xml->text = text;
    return NULL;
}

static struct error *take_text(struct xml *xml)
{
    struct span rest = xml_rest(xml);
    const char *end = memchr(rest.ptr, '<', rest.len);
    struct span raw = {rest.ptr, end ? (size_t)(end - rest.ptr) : rest.len};
    struct span text;

    if (xml->depth == 0) {
        skip_blanks(xml);
        return xml->at < xml->body.len && xml->body.ptr[xml->at] != '<'
                   ? xml_error(xml, "text outside of the root element")
                   : NULL;
    }
    RETURN_IF_ERROR(decode_text(xml, raw, &text));
    xml->at += raw.len;
    return add_text(xml, text);
}

/* Names and quoted values up to ">" or "/>"; their meaning (name spaces) does not matter here. */
static struct error *skip_attributes(struct xml *xml, bool *ret_self_closing)
{
    for (;;) {
        char quote;

        skip_blanks(xml);
        if (span_starts_with(xml_rest(xml), SPAN_LIT("/>"))) {
            xml->at += 2;
            *ret_self_closing = true;
            return NULL;
        }
        if (span_starts_with(xml_rest(xml), SPAN_LIT(">"))) {
            xml->at++;
            *ret_self_closing = false;
            return NULL;
        }
        if (take_name(xml).len == 0) {
            return xml_error(xml, "a tag that does not end");
        }
        skip_blanks(xml);
        if (!span_starts_with(xml_rest(xml), SPAN_LIT("="))) {
            return xml_error(xml, "an attribute without a value");
        }
        xml->at++;
        skip_blanks(xml);
        quote = xml->at < xml->body.len ? xml->body.ptr[xml->at] : '\0';
        if (quote != '"' && quote != '\'') {
            return xml_error(xml, "an attribute without quotes");
        }
        xml->at++;
        if (!skip_past(xml, quote == '"' ? "\"" : "'")) {
            return xml_error(xml, "an attribute that does not end");
        }
    }
}

static void set_event(struct xml *xml, enum xml_kind kind, struct xml_event *ret)
{
    ret->kind = kind;
    ret->depth = xml->depth;
    ret->name = xml->open[xml->depth - 1];
    ret->parent = xml->depth > 1 ? xml->open[xml->depth - 2] : SPAN_NONE;
    ret->text = kind == XML_CLOSE ? xml->text : SPAN_NONE;
    xml->text = SPAN_NONE;
}

static struct error *open_element(struct xml *xml, struct xml_event *ret)
{
    struct span name;

    xml->at++;
    name = take_name(xml);
    if (name.len == 0) {
        return xml_error(xml, "a tag without a name");
    }
    if (xml->depth == 0 && xml->root_seen) {
        return xml_error(xml, "a second root element");
    }
    if (xml->depth == MAX_DEPTH) {
        return xml_error(xml, "elements nested too deeply");
    }
    RETURN_IF_ERROR(skip_attributes(xml, &xml->self_closing));
    xml->root_seen = true;
    xml->open[xml->depth++] = name;
    set_event(xml, XML_OPEN, ret);
    return NULL;
}

static struct error *close_element(struct xml *xml, struct xml_event *ret)
{
    struct span name;

    xml->at += 2;
    name = take_name(xml);
    skip_blanks(xml);
    if (!span_starts_with(xml_rest(xml), SPAN_LIT(">"))) {
        return xml_error(xml, "a closing tag that does not end");
    }
    xml->at++;
    if (xml->depth == 0 || !span_equal(name, xml->open[xml->depth - 1])) {
        return xml_error(xml, "a closing tag without its opening one");
    }
    set_event(xml, XML_CLOSE, ret);
    xml->depth--;
    return NULL;
}

/* Comment, CDATA, declaration: no event of their own. *ret_skipped tells whether it was one. */
static struct error *skip_markup(struct xml *xml, bool *ret_skipped)
{
    struct span rest = xml_rest(xml);

    *ret_skipped = true;
    if (span_starts_with(rest, SPAN_LIT("<!--"))) {
        xml->at += 4;
        return skip_past(xml, "-->") ? NULL : xml_error(xml, "a comment that does not end");
    }
    if (span_starts_with(rest, SPAN_LIT("<?"))) {
        return skip_past(xml, "?>") ? NULL : xml_error(xml, "a declaration that does not end");
    }
    if (span_starts_with(rest, SPAN_LIT("<![CDATA["))) {
        size_t start = xml->at += 9;

        if (!skip_past(xml, "]]>")) {
            return xml_error(xml, "a CDATA section that does not end");
        }
        return add_text(xml, (struct span){xml->body.ptr + start, xml->at - 3 - start});
    }
    if (span_starts_with(rest, SPAN_LIT("<!"))) {
        return xml_error(xml, "a document type");
    }
    *ret_skipped = false;
    return NULL;
}

static struct error *xml_next(struct xml *xml, struct xml_event *ret) MUST_CHECK;
static struct error *xml_next(struct xml *xml, struct xml_event *ret)
{
    if (xml->self_closing) {
        xml->self_closing = false;
        set_event(xml, XML_CLOSE, ret);
        xml->depth--;
        return NULL;
    }
    while (xml->at < xml->body.len) {
        bool skipped = false;

        if (xml->body.ptr[xml->at] != '<') {
            RETURN_IF_ERROR(take_text(xml));
            continue;
        }
        RETURN_IF_ERROR(skip_markup(xml, &skipped));
        if (skipped) {
            continue;
        }
        if (span_starts_with(xml_rest(xml), SPAN_LIT("</"))) {
            return close_element(xml, ret);
        }
        return open_element(xml, ret);
    }
    if (xml->depth > 0 || !xml->root_seen) {
        return xml_error(xml, "it ends too early");
    }
    *ret = (struct xml_event){.kind = XML_END};
    return NULL;
}

/* ---------------------------------------------------------------- documents */

/* What a document does with one event; the struct it fills in is ctx. */
typedef struct error *
take_event_fn(void *ctx, const struct xml *xml, const struct xml_event *event);

/* Walks the whole document, so that a cut one is never half used. */
static struct error *read_document(
    struct arena *arena, struct span body, const char *root, take_event_fn *take, void *ctx)
{
    struct xml xml;
    struct xml_event event;

    if (!text_is_utf8(body)) {
        return error_new(ERROR_HTTP, ERROR_RETRY, "the answer is not valid UTF-8");
    }
    xml_init(&xml, arena, body);
    for (;;) {
        RETURN_IF_ERROR(xml_next(&xml, &event));
        if (event.kind == XML_END) {
            return NULL;
        }
        if (event.depth == 1 && root && !span_is(event.name, root)) {
            return error_new(ERROR_HTTP, ERROR_RETRY, "the answer is <%.*s> and not <%s>",
                             (int)(event.name.len < 64 ? event.name.len : 64), event.name.ptr,
                             root);
        }
        RETURN_IF_ERROR(take(ctx, &xml, &event));
    }
}

static bool is_leaf(const struct xml_event *event, unsigned depth, const char *name)
{
    return event->kind == XML_CLOSE && event->depth == depth && span_is(event->name, name);
}

static bool is_entry(const struct xml_event *event, const char *name)
{
    return event->kind == XML_OPEN && event->depth == 2 && span_is(event->name, name);
}

static bool is_field(const struct xml_event *event, const char *entry, const char *name)
{
    return is_leaf(event, 3, name) && span_is(event->parent, entry);
}

static struct error *take_bool(const struct xml *xml, struct span text, bool *ret)
{
    *ret = span_is(text, "true");
    return *ret || span_is(text, "false") ? NULL : xml_error(xml, "neither true nor false");
}

static struct error *take_time(const struct xml *xml, struct span text, int64_t *ret)
{
    int32_t nanos;

    return text_from_rfc3339(text, ret, &nanos) ? NULL : xml_error(xml, "a time that is none");
}

static struct error *check_room(const struct xml *xml, unsigned count)
{
    return count < S3_REPLY_MAX_ENTRIES ? NULL : xml_error(xml, "more entries than a page has");
}

static struct error *take_error(void *ctx, const struct xml *xml, const struct xml_event *event)
{
    struct s3_reply_error *ret = ctx;

    (void)xml;
    if (is_leaf(event, 2, "Code")) {
        ret->code = event->text;
    } else if (is_leaf(event, 2, "Message")) {
        ret->message = event->text;
    } else if (is_leaf(event, 2, "RequestId")) {
        ret->request_id = event->text;
    } else if (is_leaf(event, 2, "Region")) {
        ret->region = event->text;
    }
    return NULL;
}

struct error *s3_reply_read_error(struct arena *arena, struct span body, struct s3_reply_error *ret)
{
    *ret = (struct s3_reply_error){0};
    return read_document(arena, body, "Error", take_error, ret);
}

static struct error *take_role(void *ctx, const struct xml *xml, const struct xml_event *event)
{
    struct s3_reply_role *ret = ctx;

    (void)xml;
    if (event->kind != XML_CLOSE || event->depth != 4 || !span_is(event->parent, "Credentials")) {
        return NULL;
    }
    if (span_is(event->name, "AccessKeyId")) {
        ret->access_key_id = event->text;
    } else if (span_is(event->name, "SecretAccessKey")) {
        ret->secret_access_key = event->text;
    } else if (span_is(event->name, "SessionToken")) {
        ret->session_token = event->text;
    } else if (span_is(event->name, "Expiration")) {
        ret->expiration = event->text;
    }
    return NULL;
}

struct error *s3_reply_read_role(struct arena *arena,
                                 struct span body,
                                 const char *root,
                                 struct s3_reply_role *ret)
{
    *ret = (struct s3_reply_role){0};
    return read_document(arena, body, root, take_role, ret);
}

static struct error *take_sts_error(void *ctx, const struct xml *xml, const struct xml_event *event)
{
    struct s3_reply_error *ret = ctx;

    (void)xml;
    if (is_field(event, "Error", "Code")) {
        ret->code = event->text;
    } else if (is_field(event, "Error", "Message")) {
        ret->message = event->text;
    }
    return NULL;
}

struct error *
s3_reply_read_sts_error(struct arena *arena, struct span body, struct s3_reply_error *ret)
{
    *ret = (struct s3_reply_error){0};
    return read_document(arena, body, "ErrorResponse", take_sts_error, ret);
}

static struct error *take_upload_id(void *ctx, const struct xml *xml, const struct xml_event *event)
{
    struct span *ret = ctx;

    (void)xml;
    if (is_leaf(event, 2, "UploadId")) {
        *ret = event->text;
    }
    return NULL;
}

struct error *s3_reply_read_upload_id(struct arena *arena, struct span body, struct span *ret)
{
    *ret = SPAN_NONE;
    RETURN_IF_ERROR(
        read_document(arena, body, "InitiateMultipartUploadResult", take_upload_id, ret));
    if (ret->len == 0) {
        return error_new(ERROR_HTTP, ERROR_RETRY, "the answer names no upload");
    }
    return NULL;
}

struct completed {
    bool is_result, is_error;
    struct s3_reply_error *error;
};

static struct error *take_completed(void *ctx, const struct xml *xml, const struct xml_event *event)
{
    struct completed *ret = ctx;

    if (event->kind == XML_OPEN && event->depth == 1) {
        ret->is_result = span_is(event->name, "CompleteMultipartUploadResult");
        ret->is_error = span_is(event->name, "Error");
    }
    return ret->is_error ? take_error(ret->error, xml, event) : NULL;
}

struct error *s3_reply_read_completed(struct arena *arena,
                                      struct span body,
                                      bool *ret_completed,
                                      struct s3_reply_error *ret_error)
{
    struct completed completed = {.error = ret_error};

    *ret_error = (struct s3_reply_error){0};
    RETURN_IF_ERROR(read_document(arena, body, NULL, take_completed, &completed));
    if (!completed.is_result && !completed.is_error) {
        return error_new(ERROR_HTTP, ERROR_RETRY,
                         "the answer says neither that the upload is complete nor why not");
    }
    *ret_completed = completed.is_result;
    return NULL;
}

static struct error *take_list(void *ctx, const struct xml *xml, const struct xml_event *event)
{
    struct s3_reply_list *ret = ctx;
    struct s3_reply_object *object = ret->count > 0 ? &ret->objects[ret->count - 1] : NULL;

    if (is_entry(event, "Contents")) {
        RETURN_IF_ERROR(check_room(xml, ret->count));
        ret->count++;
    } else if (is_field(event, "Contents", "Key")) {
        object->key = event->text;
    } else if (is_field(event, "Contents", "Size")) {
        return text_to_uint64(event->text, &object->size) ? NULL
                                                          : xml_error(xml, "a size that is none");
    } else if (is_field(event, "Contents", "LastModified")) {
        return take_time(xml, event->text, &object->modified_unix);
    } else if (is_leaf(event, 2, "IsTruncated")) {
        return take_bool(xml, event->text, &ret->is_truncated);
    } else if (is_leaf(event, 2, "NextContinuationToken")) {
        ret->next_token = event->text;
    }
    return NULL;
}

struct error *s3_reply_read_list(struct arena *arena, struct span body, struct s3_reply_list *ret)
{
    *ret = (struct s3_reply_list){0};
    ret->objects = ARENA_ARRAY(arena, S3_REPLY_MAX_ENTRIES, struct s3_reply_object);
    RETURN_IF_ERROR(read_document(arena, body, "ListBucketResult", take_list, ret));
    if (ret->is_truncated && ret->next_token.len == 0) {
        return error_new(ERROR_HTTP, ERROR_RETRY, "the list goes on but does not say where");
    }
    return NULL;
}

static struct error *take_uploads(void *ctx, const struct xml *xml, const struct xml_event *event)
{
    struct s3_reply_uploads *ret = ctx;
    struct s3_reply_open_upload *upload = ret->count > 0 ? &ret->uploads[ret->count - 1] : NULL;

    if (is_entry(event, "Upload")) {
        RETURN_IF_ERROR(check_room(xml, ret->count));
        ret->count++;
    } else if (is_field(event, "Upload", "Key")) {
        upload->key = event->text;
    } else if (is_field(event, "Upload", "UploadId")) {
        upload->upload_id = event->text;
    } else if (is_field(event, "Upload", "Initiated")) {
        return take_time(xml, event->text, &upload->initiated_unix);
    } else if (is_leaf(event, 2, "IsTruncated")) {
        return take_bool(xml, event->text, &ret->is_truncated);
    } else if (is_leaf(event, 2, "NextKeyMarker")) {
        ret->next_key = event->text;
    } else if (is_leaf(event, 2, "NextUploadIdMarker")) {
        ret->next_upload_id = event->text;
    }
    return NULL;
}

struct error *
s3_reply_read_uploads(struct arena *arena, struct span body, struct s3_reply_uploads *ret)
{
    *ret = (struct s3_reply_uploads){0};
    ret->uploads = ARENA_ARRAY(arena, S3_REPLY_MAX_ENTRIES, struct s3_reply_open_upload);
    RETURN_IF_ERROR(read_document(arena, body, "ListMultipartUploadsResult", take_uploads, ret));
    if (ret->is_truncated && ret->next_key.len == 0) {
        return error_new(ERROR_HTTP, ERROR_RETRY, "the list goes on but does not say where");
    }
    return NULL;
}

static struct error *take_deleted(void *ctx, const struct xml *xml, const struct xml_event *event)
{
    struct s3_reply_deleted *ret = ctx;
    struct s3_reply_key_error *error = ret->count > 0 ? &ret->errors[ret->count - 1] : NULL;

    if (is_entry(event, "Error")) {
        RETURN_IF_ERROR(check_room(xml, ret->count));
        ret->count++;
    } else if (is_field(event, "Error", "Key")) {
        error->key = event->text;
    } else if (is_field(event, "Error", "Code")) {
        error->code = event->text;
    } else if (is_field(event, "Error", "Message")) {
        error->message = event->text;
    }
    return NULL;
}

struct error *
s3_reply_read_deleted(struct arena *arena, struct span body, struct s3_reply_deleted *ret)
{
    *ret = (struct s3_reply_deleted){0};
    ret->errors = ARENA_ARRAY(arena, S3_REPLY_MAX_ENTRIES, struct s3_reply_key_error);
    return read_document(arena, body, "DeleteResult", take_deleted, ret);
}

/* ---------------------------------------------------------------- a header */

bool s3_reply_read_date(struct span text, int64_t *ret_unix)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    char iso[32];
    int32_t nanos;

    /* Sun, 06 Nov 1994 08:49:37 GMT
     * 0    5  8   12   17       26     */
    if (text.len != 29 || memcmp(text.ptr + 25, " GMT", 4) != 0) {
        return false;
    }
    for (unsigned month = 0; month < 12; month++) {
        if (memcmp(text.ptr + 8, months + (size_t)3 * month, 3) == 0) {
            int len = snprintf(iso, sizeof(iso), "%.4s-%02u-%.2sT%.8sZ", text.ptr + 12, month + 1,
                               text.ptr + 5, text.ptr + 17);

            return len == 20 && text_from_rfc3339((struct span){iso, 20}, ret_unix, &nanos);
        }
    }
    return false;
}
