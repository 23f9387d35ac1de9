/*
 * Room json: values to compact text. Plain values come in, bytes go into the caller's buffer. It
 * never judges what is written: the caller names members and balances begin and end.
 */

#include "json/write.h"

#include "base/text.h"
#include "json/scan.h"
#include "json/skip.h"

/* ---------------------------------------------------------------- text */

static void add_control(struct buf *out, char c)
{
    switch (c) {
    case '\b':
        buf_add_str(out, "\\b");
        return;
    case '\f':
        buf_add_str(out, "\\f");
        return;
    case '\n':
        buf_add_str(out, "\\n");
        return;
    case '\r':
        buf_add_str(out, "\\r");
        return;
    case '\t':
        buf_add_str(out, "\\t");
        return;
    default:
        buf_printf(out, "\\u%04x", (unsigned)(unsigned char)c);
        return;
    }
}

/* Bytes that need no escape, with what is not UTF-8 replaced. */
static void add_plain(struct buf *out, struct span text)
{
    if (text_is_utf8(text)) {
        buf_add_span(out, text);
        return;
    }
    while (text.len > 0) {
        uint32_t code_point;
        const size_t len = text_decode(text, &code_point);
        if (len > 0) {
            buf_add(out, text.ptr, len);
        } else {
            buf_add(out, "\xef\xbf\xbd", 3); /* U+FFFD for one byte, and on from the next */
        }
        const size_t step = len > 0 ? len : 1;
        text.ptr += step;
        text.len -= step;
    }
}

void json_add_escaped(struct buf *out, struct span text)
{
    const char *at = text.ptr;
    const char *const end = text.len ? at + text.len : at;

    while (at < end) {
        const char *stop = skip_plain(at, end);
        if (stop > at) {
            add_plain(out, (struct span){at, (size_t)(stop - at)});
        }
        at = stop;
        if (at == end) {
            return;
        }
        if (*at == '"' || *at == '\\') {
            buf_add(out, (const char[]){'\\', *at}, 2);
        } else {
            add_control(out, *at);
        }
        at++;
    }
}

void json_add_string(struct buf *out, struct span text)
{
    buf_add_byte(out, '"');
    json_add_escaped(out, text);
    buf_add_byte(out, '"');
}

/* ---------------------------------------------------------------- compact */

/* at is behind the opening quote of a valid string; returns behind the closing one. */
static const char *string_end(const char *at, const char *end)
{
    while (at < end) {
        at = skip_plain(at, end);
        if (at == end || *at == '"') {
            break;
        }
        at += 2;
    }
    return at < end ? at + 1 : end;
}

struct error *json_add_compact(struct buf *out, struct span value)
{
    struct json_reader reader;
    struct json_item item;

    json_reader_init(&reader, value);
    RETURN_IF_ERROR(json_next(&reader, &item));
    RETURN_IF_ERROR(json_end(&reader));
    if (item.is_compact) {
        buf_add_span(out, item.raw);
        return NULL;
    }

    const char *at = item.raw.ptr;
    const char *const end = at + item.raw.len;
    char *const start = buf_reserve(out, item.raw.len);
    if (!start) {
        return NULL; /* out is full and says so */
    }
    char *to = start;
    while (at < end) {
        const char *run = at;
        at = *at == '"' ? string_end(at + 1, end) : at + 1;
        if (!skip_is_space(*run)) {
            memcpy(to, run, (size_t)(at - run));
            to += at - run;
        }
    }
    buf_commit(out, (size_t)(to - start));
    return NULL;
}

/* ---------------------------------------------------------------- writer */

void json_writer_init(struct json_writer *w, struct buf *out)
{
    w->out = out;
    w->need_comma = false;
}

static void separate(struct json_writer *w)
{
    if (w->need_comma) {
        buf_add_byte(w->out, ',');
    }
    w->need_comma = true;
}

static void begin(struct json_writer *w, char bracket)
{
    separate(w);
    buf_add_byte(w->out, bracket);
    w->need_comma = false;
}

static void end_with(struct json_writer *w, char bracket)
{
    buf_add_byte(w->out, bracket);
    w->need_comma = true;
}

void json_object_begin(struct json_writer *w)
{
    begin(w, '{');
}

void json_object_end(struct json_writer *w)
{
    end_with(w, '}');
}

void json_array_begin(struct json_writer *w)
{
    begin(w, '[');
}

void json_array_end(struct json_writer *w)
{
    end_with(w, ']');
}

void json_name_span(struct json_writer *w, struct span name)
{
    separate(w);
    json_add_string(w->out, name);
    buf_add_byte(w->out, ':');
    w->need_comma = false;
}

void json_name(struct json_writer *w, const char *name)
{
    json_name_span(w, span_of(name));
}

void json_str(struct json_writer *w, struct span text)
{
    separate(w);
    json_add_string(w->out, text);
}

void json_int(struct json_writer *w, int64_t value)
{
    separate(w);
    buf_add_int(w->out, value);
}

void json_uint(struct json_writer *w, uint64_t value)
{
    separate(w);
    buf_add_uint(w->out, value);
}

void json_bool(struct json_writer *w, bool value)
{
    separate(w);
    buf_add_str(w->out, value ? "true" : "false");
}

void json_null(struct json_writer *w)
{
    separate(w);
    buf_add_str(w->out, "null");
}

void json_raw(struct json_writer *w, struct span value)
{
    separate(w);
    buf_add_span(w->out, value);
}
