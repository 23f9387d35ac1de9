/*
 * JSON for the COPY executor: cutting the stream into objects, checking and walking one object in
 * place, strings and UTF-8. Bytes come from copy.c, values go to copy_value.c and copy_super.c.
 * Builds no tree and allocates nothing per value.
 */
#include "sandbox/copy_json.h"

#include <string.h>

/* Deeper nesting is refused: Redshift's own limit is not documented, this one keeps the recursion
 * below PostgreSQL's for jsonb. */
#define DEPTH_MAX 1000

/* ------------------------------------------------------------------ values in memory */

const char *json_skip_blanks(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t')) {
        at++;
    }
    return at;
}

struct check {
    const char *end;
    const char *bad;
    bool wide;
    int depth;
};

static const char *refuse(struct check *c, const char *at)
{
    c->bad = at;
    return NULL;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

/* `at` is behind the backslash. */
static const char *check_escape(struct check *c, const char *at)
{
    if (at == c->end) {
        return refuse(c, at);
    }
    if (*at != 'u') {
        return memchr("\"\\/bfnrt", *at, 8) != NULL ? at + 1 : refuse(c, at);
    }
    at++;
    for (int i = 0; i < 4; i++, at++) {
        if (at == c->end || hex_digit(*at) < 0) {
            return refuse(c, at);
        }
    }
    return at;
}

/* `at` is the opening quote. */
static const char *check_string(struct check *c, const char *at, struct json_value *ret)
{
    unsigned char all = 0;
    bool escaped = false;
    const char *start = ++at;
    for (;;) {
        if (at == c->end) {
            return refuse(c, at);
        }
        unsigned char byte = (unsigned char)*at;
        if (byte == '"') {
            break;
        }
        if (byte == '\\') {
            escaped = true;
            at = check_escape(c, at + 1);
            if (at == NULL) {
                return NULL;
            }
            continue;
        }
        if (byte < 0x20) {
            return refuse(c, at);
        }
        all |= byte;
        at++;
    }
    ret->kind = JSON_STRING;
    ret->text = (struct piece){start, (size_t)(at - start)};
    ret->escaped = escaped;
    ret->wide = (all & 0x80) != 0;
    c->wide |= ret->wide;
    return at + 1;
}

static const char *skip_digits(const char *at, const char *end)
{
    while (at < end && *at >= '0' && *at <= '9') {
        at++;
    }
    return at;
}

static const char *check_number(struct check *c, const char *at, struct json_value *ret)
{
    const char *start = at;
    at += *at == '-';
    const char *digits = at;
    at = skip_digits(at, c->end);
    if (at == digits || (*digits == '0' && at > digits + 1)) {
        return refuse(c, digits);
    }
    if (at < c->end && *at == '.') {
        digits = ++at;
        at = skip_digits(at, c->end);
        if (at == digits) {
            return refuse(c, at);
        }
    }
    if (at < c->end && (*at == 'e' || *at == 'E')) {
        at++;
        at += at < c->end && (*at == '+' || *at == '-');
        digits = at;
        at = skip_digits(at, c->end);
        if (at == digits) {
            return refuse(c, at);
        }
    }
    *ret = (struct json_value){.kind = JSON_NUMBER, .text = {start, (size_t)(at - start)}};
    return at;
}

static const char *check_literal(
    struct check *c, const char *at, const char *word, enum json_kind kind, struct json_value *ret)
{
    size_t len = strlen(word);
    size_t i = 0;
    while (i < len && at + i < c->end && at[i] == word[i]) {
        i++;
    }
    if (i < len) {
        return refuse(c, at + i);
    }
    *ret = (struct json_value){.kind = kind, .text = {at, len}};
    return at + len;
}

static const char *check_value(struct check *c, const char *at, struct json_value *ret);

/* Members or elements up to the closing bracket; `at` is behind the opening one. */
static const char *check_inside(struct check *c, const char *at, bool keys, char close)
{
    struct json_value value;
    at = json_skip_blanks(at, c->end);
    if (at < c->end && *at == close) {
        return at + 1;
    }
    for (;;) {
        if (keys) {
            if (at == c->end || *at != '"') {
                return refuse(c, at);
            }
            at = check_string(c, at, &value);
            if (at == NULL) {
                return NULL;
            }
            at = json_skip_blanks(at, c->end);
            if (at == c->end || *at != ':') {
                return refuse(c, at);
            }
            at = json_skip_blanks(at + 1, c->end);
        }
        at = check_value(c, at, &value);
        if (at == NULL) {
            return NULL;
        }
        at = json_skip_blanks(at, c->end);
        if (at < c->end && *at == close) {
            return at + 1;
        }
        if (at == c->end || *at != ',') {
            return refuse(c, at);
        }
        at = json_skip_blanks(at + 1, c->end);
    }
}

static const char *check_nested(struct check *c, const char *at, struct json_value *ret)
{
    if (++c->depth > DEPTH_MAX) {
        return refuse(c, at);
    }
    bool outer_wide = c->wide;
    c->wide = false;
    bool object = *at == '{';
    const char *after = check_inside(c, at + 1, object, object ? '}' : ']');
    if (after == NULL) {
        return NULL;
    }
    *ret = (struct json_value){.kind = object ? JSON_OBJECT : JSON_ARRAY,
                               .text = {at, (size_t)(after - at)},
                               .wide = c->wide};
    c->wide |= outer_wide;
    c->depth--;
    return after;
}

static const char *check_value(struct check *c, const char *at, struct json_value *ret)
{
    if (at == c->end) {
        return refuse(c, at);
    }
    switch (*at) {
    case '"':
        return check_string(c, at, ret);
    case '{':
    case '[':
        return check_nested(c, at, ret);
    case 'n':
        return check_literal(c, at, "null", JSON_NULL, ret);
    case 't':
        return check_literal(c, at, "true", JSON_TRUE, ret);
    case 'f':
        return check_literal(c, at, "false", JSON_FALSE, ret);
    default:
        return check_number(c, at, ret);
    }
}

const char *
json_read_value(const char *at, const char *end, struct json_value *ret, const char **ret_bad)
{
    struct check c = {.end = end};
    const char *after = check_value(&c, at, ret);
    if (after == NULL) {
        *ret_bad = c.bad;
    }
    return after;
}

/* The text was accepted before, so what is no separator and no bracket begins a value. */
static const char *next_value(const char *at, const char *end, struct json_value *ret)
{
    while (at < end && strchr(" \n\r\t,:", *at) != NULL) {
        at++;
    }
    if (at == end || *at == '}' || *at == ']') {
        return NULL;
    }
    struct check c = {.end = end};
    return check_value(&c, at, ret);
}

const char *json_next_member(const char *at,
                             const char *end,
                             struct json_value *ret_key,
                             struct json_value *ret)
{
    at = next_value(at, end, ret_key);
    return at == NULL ? NULL : next_value(at, end, ret);
}

const char *json_next_element(const char *at, const char *end, struct json_value *ret)
{
    return next_value(at, end, ret);
}

/* ------------------------------------------------------------------ strings */

static unsigned read_hex4(const char *at)
{
    unsigned value = 0;
    for (int i = 0; i < 4; i++) {
        value = value * 16 + (unsigned)hex_digit(at[i]);
    }
    return value;
}

static void put_code_point(struct bytes *to, unsigned code)
{
    char *at = bytes_reserve(to, 4);
    if (code < 0x80) {
        at[0] = (char)code;
        to->len += 1;
    } else if (code < 0x800) {
        at[0] = (char)(0xC0 | code >> 6);
        at[1] = (char)(0x80 | (code & 0x3F));
        to->len += 2;
    } else if (code < 0x10000) {
        at[0] = (char)(0xE0 | code >> 12);
        at[1] = (char)(0x80 | (code >> 6 & 0x3F));
        at[2] = (char)(0x80 | (code & 0x3F));
        to->len += 3;
    } else {
        at[0] = (char)(0xF0 | code >> 18);
        at[1] = (char)(0x80 | (code >> 12 & 0x3F));
        at[2] = (char)(0x80 | (code >> 6 & 0x3F));
        at[3] = (char)(0x80 | (code & 0x3F));
        to->len += 4;
    }
}

/* `at` is behind the u; returns where the escape ends, the second half of a pair included. */
static const char *decode_unicode(const char *at, const char *end, struct bytes *to)
{
    unsigned code = read_hex4(at);
    at += 4;
    if (code >= 0xD800 && code <= 0xDBFF && end - at >= 6 && at[0] == '\\' && at[1] == 'u') {
        unsigned low = read_hex4(at + 2);
        if (low >= 0xDC00 && low <= 0xDFFF) {
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
            at += 6;
        }
    }
    put_code_point(to, code);
    return at;
}

void json_decode(struct piece text, struct bytes *to)
{
    const char *at = text.at;
    const char *end = at + text.len;
    while (at < end) {
        const char *escape = memchr(at, '\\', (size_t)(end - at));
        if (escape == NULL) {
            bytes_put(to, at, (size_t)(end - at));
            return;
        }
        bytes_put(to, at, (size_t)(escape - at));
        char c = escape[1];
        at = escape + 2;
        if (c == 'u') {
            at = decode_unicode(at, end, to);
            continue;
        }
        static const char names[] = "bfnrt", values[] = "\b\f\n\r\t";
        const char *name = strchr(names, c);
        bytes_put_char(to, name == NULL ? c : values[name - names]);
    }
}

void json_encode(struct piece text, struct bytes *to)
{
    static const char hex[] = "0123456789abcdef";
    char *at = bytes_reserve(to, text.len * 6 + 2);
    char *start = at;
    *at++ = '"';
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.at[i];
        if (c == '"' || c == '\\') {
            *at++ = '\\';
            *at++ = (char)c;
        } else if (c < 0x20) {
            memcpy(at, "\\u00", 4);
            at[4] = hex[c >> 4];
            at[5] = hex[c & 15];
            at += 6;
        } else {
            *at++ = (char)c;
        }
    }
    *at++ = '"';
    to->len += (size_t)(at - start);
}

/* ------------------------------------------------------------------ UTF-8 */

/* Looks at the sequence that begins at text[offset], whose first byte is above 127. */
static bool
check_sequence(struct piece text, size_t offset, bool noncharacters, struct utf8_fault *ret)
{
    const unsigned char *at = (const unsigned char *)text.at + offset;
    size_t left = text.len - offset;
    size_t len = at[0] >= 0xF0 ? 4 : at[0] >= 0xE0 ? 3 : 2;
    *ret = (struct utf8_fault){.offset = offset, .len = 1, .sub_code = 0};
    if (at[0] >= 0xF8) {
        ret->sub_code = at[0] >= 0xFE ? 3 : 1;
        return true;
    }
    if (at[0] < 0xC0) {
        ret->sub_code = 3;
        return true;
    }
    unsigned code = at[0] & (0x7FU >> len);
    for (size_t i = 1; i < len; i++) {
        if (i == left) {
            ret->len = left;
            ret->sub_code = 2;
            return true;
        }
        if ((at[i] & 0xC0) != 0x80) {
            ret->len = i;
            ret->sub_code = 4;
            return true;
        }
        code = code << 6 | (at[i] & 0x3FU);
    }
    static const unsigned least[] = {0, 0, 0x80, 0x800, 0x10000};
    ret->len = len;
    if (code >= 0xD800 && code <= 0xDFFF) {
        ret->sub_code = 5;
    } else if (code > 0x10FFFF) {
        ret->sub_code = 6;
    } else if (code < least[len]) {
        ret->sub_code = 7;
    } else {
        return noncharacters && ((code >= 0xFDD0 && code <= 0xFDEF) || (code & 0xFFFE) == 0xFFFE);
    }
    return true;
}

bool utf8_find_fault(struct piece text, size_t from, bool noncharacters, struct utf8_fault *ret)
{
    while (from < text.len) {
        if ((unsigned char)text.at[from] < 0x80) {
            from++;
            continue;
        }
        if (check_sequence(text, from, noncharacters, ret)) {
            return true;
        }
        from += ret->len;
    }
    return false;
}

size_t utf8_cut(struct piece text, size_t most)
{
    if (text.len <= most) {
        return text.len;
    }
    while (most > 0 && ((unsigned char)text.at[most] & 0xC0) == 0x80) {
        most--;
    }
    return most;
}

/* ------------------------------------------------------------------ objects in a stream */

void json_split_start(struct json_split *s)
{
    s->pending.len = 0;
    s->line = 1;
    s->counted = 0;
    s->depth = 0;
    s->in_string = s->after_backslash = s->too_long = false;
}

/* Bytes that mean something inside an object; all others are only counted. */
static bool is_plain(unsigned char c)
{
    switch (c) {
    case '"':
    case '\\':
    case '{':
    case '}':
    case '[':
    case ']':
    case '\n':
    case '|':
        return false;
    default:
        return true;
    }
}

/* Returns where the object ends, `end` when it goes on. */
static const char *scan_object(struct json_split *s, const char *at, const char *end)
{
    const char *start = at;
    for (; at < end; at++) {
        unsigned char c = (unsigned char)*at;
        if (s->after_backslash) {
            s->after_backslash = false;
            continue;
        }
        if (is_plain(c)) {
            continue;
        }
        if (c == '\n') {
            s->line++;
        } else if (c == '|') {
            s->counted++;
        } else if (c == '"') {
            s->in_string = !s->in_string;
        } else if (s->in_string) {
            s->after_backslash = c == '\\';
        } else if (c == '{' || c == '[') {
            s->depth++;
        } else if ((c == '}' || c == ']') && --s->depth == 0) {
            at++;
            break;
        }
    }
    s->counted += (size_t)(at - start);
    s->too_long |= s->counted > COPY_OBJECT_BYTES_MAX;
    return at;
}

static bool finish_object(struct json_split *s, struct piece object)
{
    bool go_on = s->too_long ? s->fault(s->ctx, SPLIT_TOO_LONG, '\0', s->line)
                             : s->object(s->ctx, object, s->line);
    s->pending.len = 0;
    s->counted = 0;
    s->too_long = false;
    return go_on;
}

/* The object that began in an earlier piece. */
static bool continue_object(struct json_split *s, const char **at, const char *end)
{
    const char *after = scan_object(s, *at, end);
    if (s->too_long) {
        s->pending.len = 0;
    } else {
        bytes_put(&s->pending, *at, (size_t)(after - *at));
    }
    *at = after;
    return s->depth > 0 || finish_object(s, (struct piece){s->pending.at, s->pending.len});
}

bool json_split_feed(struct json_split *s, const char *at, size_t len)
{
    const char *end = at + len;
    while (at < end) {
        if (s->depth > 0) {
            if (!continue_object(s, &at, end)) {
                return false;
            }
            continue;
        }
        char c = *at;
        if (c == '{') {
            const char *after = scan_object(s, at, end);
            if (s->depth > 0) {
                if (!s->too_long) {
                    bytes_put(&s->pending, at, (size_t)(after - at));
                }
            } else if (!finish_object(s, (struct piece){at, (size_t)(after - at)})) {
                return false;
            }
            at = after;
            continue;
        }
        at++;
        if (c == '\n') {
            s->line++;
        } else if (c != ' ' && c != '\t' && c != '\r') {
            if (!s->fault(s->ctx, SPLIT_STRAY, c, s->line)) {
                return false;
            }
        }
    }
    return true;
}

bool json_split_end(struct json_split *s)
{
    if (s->depth == 0) {
        return true;
    }
    return s->fault(s->ctx, s->too_long ? SPLIT_TOO_LONG : SPLIT_CUT_OFF, '\0', s->line);
}

void json_split_done(struct json_split *s)
{
    bytes_done(&s->pending);
}
