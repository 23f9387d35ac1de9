/*
 * Room json: the pull reader. One complete text comes in, items come out as pieces of that text;
 * nothing is copied but strings with escapes, on demand. It knows the grammar of RFC 8259 and
 * nothing of what the values mean. Whether strings are valid UTF-8 is not its question: bytes from
 * 0x80 on pass as they are.
 *
 * Nesting is walked without recursion: one bit per open container says whether it is an object.
 */

#include "json/scan.h"

#include "base/text.h"
#include "json/skip.h"

const char *json_kind_name(enum json_kind kind)
{
    switch (kind) {
    case JSON_NULL:
        return "null";
    case JSON_FALSE:
    case JSON_TRUE:
        return "boolean";
    case JSON_NUMBER:
        return "number";
    case JSON_STRING:
        return "string";
    case JSON_ARRAY:
        return "array";
    case JSON_OBJECT:
        return "object";
    }
    return "unknown";
}

/* ---------------------------------------------------------------- errors */

static __attribute__((cold, noinline)) struct error *
bad_json(const struct json_reader *reader, const char *at, const char *what)
{
    const size_t offset = (size_t)(at - reader->start);
    if (at >= reader->end) {
        return error_new(ERROR_INPUT, ERROR_FATAL,
                         "invalid JSON: %s, but the text ends at byte %zu", what, offset);
    }
    return error_new(ERROR_INPUT, ERROR_FATAL, "invalid JSON: %s at byte %zu", what, offset);
}

/* ---------------------------------------------------------------- tokens */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static int hex_digit(char c)
{
    if (is_digit(c)) {
        return c - '0';
    }
    const char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* The four digits behind \u, or -1. */
static int32_t hex_unit(const char *at, const char *end)
{
    int32_t unit = 0;

    if (end - at < 4) {
        return -1;
    }
    for (int i = 0; i < 4; i++) {
        const int digit = hex_digit(at[i]);
        if (digit < 0) {
            return -1;
        }
        unit = unit * 16 + digit;
    }
    return unit;
}

/* The readers of tokens return where the token ends, or NULL and in *ret_what what was expected at
 * *ret_at; the caller makes the error of it. */
struct trouble {
    const char *what;
    const char *at;
    bool saw_unicode; /* \u was met; set and never cleared, for json_check */
};

static const char *stop_at(struct trouble *trouble, const char *what, const char *at)
{
    trouble->what = what;
    trouble->at = at;
    return NULL;
}

/* at is behind the opening quote; returns behind the closing one. */
static inline const char *read_string(const char *at, const char *end, struct trouble *trouble)
{
    for (;;) {
        at = skip_plain(at, end);
        if (at == end) {
            return stop_at(trouble, "expected the closing quote of a string", at);
        }
        if (*at == '"') {
            return at + 1;
        }
        if (*at != '\\') {
            return stop_at(trouble, "unescaped control character in a string", at);
        }
        if (at + 1 == end) {
            return stop_at(trouble, "expected an escaped character", at + 1);
        }
        switch (at[1]) {
        case '"':
        case '\\':
        case '/':
        case 'b':
        case 'f':
        case 'n':
        case 'r':
        case 't':
            at += 2;
            break;
        case 'u':
            if (hex_unit(at + 2, end) < 0) {
                return stop_at(trouble, "expected four hexadecimal digits behind \\u", at + 2);
            }
            trouble->saw_unicode = true;
            at += 6;
            break;
        default:
            return stop_at(trouble, "unknown escape in a string", at);
        }
    }
}

static const char *skip_digits(const char *at, const char *end)
{
    while (at < end && is_digit(*at)) {
        at++;
    }
    return at;
}

static inline const char *read_number(const char *at, const char *end, struct trouble *trouble)
{
    if (*at == '-') {
        at++;
    }
    if (at == end || !is_digit(*at)) {
        return stop_at(trouble, "expected a digit", at);
    }
    at = *at == '0' ? at + 1 : skip_digits(at, end);
    if (at < end && *at == '.') {
        at++;
        if (at == end || !is_digit(*at)) {
            return stop_at(trouble, "expected a digit behind the decimal point", at);
        }
        at = skip_digits(at, end);
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        at++;
        if (at < end && (*at == '+' || *at == '-')) {
            at++;
        }
        if (at == end || !is_digit(*at)) {
            return stop_at(trouble, "expected a digit of the exponent", at);
        }
        at = skip_digits(at, end);
    }
    return at;
}

static const char *
read_word(const char *at, const char *end, const char *word, struct trouble *trouble)
{
    const size_t len = strlen(word);
    if ((size_t)(end - at) < len || memcmp(at, word, len) != 0) {
        return stop_at(trouble, "expected a value", at);
    }
    return at + len;
}

/* A value that holds no others. */
static const char *
read_scalar(const char *at, const char *end, enum json_kind *ret_kind, struct trouble *trouble)
{
    if (at == end) {
        return stop_at(trouble, "expected a value", at);
    }
    switch (*at) {
    case '"':
        *ret_kind = JSON_STRING;
        return read_string(at + 1, end, trouble);
    case 't':
        *ret_kind = JSON_TRUE;
        return read_word(at, end, "true", trouble);
    case 'f':
        *ret_kind = JSON_FALSE;
        return read_word(at, end, "false", trouble);
    case 'n':
        *ret_kind = JSON_NULL;
        return read_word(at, end, "null", trouble);
    default:
        if (*at != '-' && !is_digit(*at)) {
            return stop_at(trouble, "expected a value", at);
        }
        *ret_kind = JSON_NUMBER;
        return read_number(at, end, trouble);
    }
}

/* ---------------------------------------------------------------- whole values */

struct walk {
    const char *at, *end;
    struct trouble trouble;
    unsigned depth;
    bool saw_space;
    uint64_t is_object[JSON_MAX_DEPTH / 64]; /* a bit per open container, innermost at depth - 1 */
    struct check *check;                     /* NULL: only the grammar counts */
};

/* What json_check learns beside the grammar. */
struct check {
    struct json_traits traits;
    struct span names[JSON_MAX_DEPTH];  /* the last one of each open object */
    struct json_parts *parts;           /* NULL: nobody asks */
    const char *starts[JSON_MAX_DEPTH]; /* of the open containers, if somebody does */
};

/* Raw names with escapes may be the same name in other letters. */
static void note_name(struct check *check, unsigned level, struct span name)
{
    struct span *before = &check->names[level];

    if ((before->ptr && span_compare(*before, name) >= 0) || memchr(name.ptr, '\\', name.len)) {
        check->traits.names_ascend = false;
    }
    if (name.len > check->traits.longest_name) {
        check->traits.longest_name = name.len;
    }
    *before = name;
}

static void note_number(struct check *check, struct span number)
{
    if (number.len > JSON_PLAIN_NUMBER || memchr(number.ptr, 'e', number.len) ||
        memchr(number.ptr, 'E', number.len)) {
        check->traits.has_large_number = true;
    }
}

static inline void note_start(struct check *check, unsigned level, const char *at)
{
    check->names[level] = SPAN_NONE;
    if (check->parts) {
        check->starts[level] = at;
    }
}

static inline void note_end(const struct check *check, unsigned level, const char *end)
{
    struct json_parts *parts = check->parts;

    if (parts && level > 0 && parts->count < JSON_MAX_PARTS) {
        const size_t len = (size_t)(end - check->starts[level]);
        if (len >= JSON_PART_BYTES) {
            parts->items[parts->count++] = (struct span){check->starts[level], len};
        }
    }
}

static inline void walk_space(struct walk *walk)
{
    if (walk->at < walk->end && skip_is_space(*walk->at)) {
        walk->saw_space = true;
        walk->at = skip_space(walk->at, walk->end);
    }
}

static inline bool in_object(const struct walk *walk)
{
    const unsigned level = walk->depth - 1;
    return (walk->is_object[level / 64] >> (level % 64)) & 1;
}

static inline bool push(struct walk *walk, bool object)
{
    if (walk->depth == JSON_MAX_DEPTH) {
        stop_at(&walk->trouble, "values nested too deeply", walk->at);
        return false;
    }
    const uint64_t bit = UINT64_C(1) << (walk->depth % 64);
    uint64_t *word = &walk->is_object[walk->depth / 64];
    *word = object ? *word | bit : *word & ~bit;
    if (walk->check) {
        note_start(walk->check, walk->depth, walk->at);
    }
    walk->depth++;
    return true;
}

/* A member's name and colon, up to its value. */
static inline bool walk_name(struct walk *walk)
{
    walk_space(walk);
    if (walk->at == walk->end || *walk->at != '"') {
        stop_at(&walk->trouble, "expected a member's name", walk->at);
        return false;
    }
    const char *const name = walk->at + 1;
    walk->at = read_string(name, walk->end, &walk->trouble);
    if (!walk->at) {
        return false;
    }
    if (walk->check) {
        note_name(walk->check, walk->depth - 1, (struct span){name, (size_t)(walk->at - name) - 1});
    }
    walk_space(walk);
    if (walk->at == walk->end || *walk->at != ':') {
        stop_at(&walk->trouble, "expected a colon", walk->at);
        return false;
    }
    walk->at++;
    return true;
}

/* Opens the container at walk->at. *ret_empty: it was closed again at once. */
static inline bool walk_open(struct walk *walk, bool *ret_empty)
{
    const bool object = *walk->at == '{';

    if (!push(walk, object)) {
        return false;
    }
    walk->at++;
    walk_space(walk);
    *ret_empty = walk->at < walk->end && *walk->at == (object ? '}' : ']');
    if (*ret_empty) {
        walk->at++;
        walk->depth--;
        return true;
    }
    return !object || walk_name(walk);
}

/* Behind a value: closes what ends here, steps over the comma to the next value. *ret_ended: the
 * outermost is closed. */
static inline bool walk_on(struct walk *walk, bool *ret_ended)
{
    while (walk->depth > 0) {
        const bool object = in_object(walk);
        walk_space(walk);
        const char c = walk->at < walk->end ? *walk->at : '\0';
        if (c == ',') {
            walk->at++;
            *ret_ended = false;
            return !object || walk_name(walk);
        }
        if (c != (object ? '}' : ']')) {
            stop_at(&walk->trouble,
                    object ? "expected a comma or closing brace"
                           : "expected a comma or closing bracket",
                    walk->at);
            return false;
        }
        walk->at++;
        walk->depth--;
        if (walk->check) {
            note_end(walk->check, walk->depth, walk->at);
        }
    }
    *ret_ended = true;
    return true;
}

/* The object or array at walk->at, whole. */
static bool walk_container(struct walk *walk)
{
    bool ended = false;

    while (!ended) {
        bool complete = true;
        walk_space(walk);
        if (walk->at < walk->end && (*walk->at == '{' || *walk->at == '[')) {
            if (!walk_open(walk, &complete)) {
                return false;
            }
        } else {
            enum json_kind kind;
            const char *const start = walk->at;
            walk->at = read_scalar(start, walk->end, &kind, &walk->trouble);
            if (!walk->at) {
                return false;
            }
            if (walk->check && kind == JSON_NUMBER) {
                note_number(walk->check, (struct span){start, (size_t)(walk->at - start)});
            }
        }
        if (complete && !walk_on(walk, &ended)) {
            return false;
        }
    }
    return true;
}

void json_reader_init(struct json_reader *reader, struct span text)
{
    reader->start = reader->at = text.ptr ? text.ptr : "";
    reader->end = reader->start + text.len;
}

struct error *json_next(struct json_reader *reader, struct json_item *ret)
{
    const char *const start = skip_space(reader->at, reader->end);

    if (start < reader->end && (*start == '{' || *start == '[')) {
        struct walk walk;
        walk.at = start;
        walk.end = reader->end;
        walk.depth = 0;
        walk.saw_space = false;
        walk.check = NULL;
        if (!walk_container(&walk)) {
            return bad_json(reader, walk.trouble.at, walk.trouble.what);
        }
        reader->at = walk.at;
        ret->kind = *start == '{' ? JSON_OBJECT : JSON_ARRAY;
        ret->is_compact = !walk.saw_space;
    } else {
        struct trouble trouble;
        const char *end = read_scalar(start, reader->end, &ret->kind, &trouble);
        if (!end) {
            return bad_json(reader, trouble.at, trouble.what);
        }
        reader->at = end;
        ret->is_compact = true;
    }
    ret->raw = (struct span){start, (size_t)(reader->at - start)};
    return NULL;
}

struct error *json_end(struct json_reader *reader)
{
    reader->at = skip_space(reader->at, reader->end);
    if (reader->at != reader->end) {
        return bad_json(reader, reader->at, "expected nothing more");
    }
    return NULL;
}

struct error *json_check(struct span text, struct json_traits *ret)
{
    return json_check_parts(text, ret, NULL);
}

struct error *
json_check_parts(struct span text, struct json_traits *ret, struct json_parts *ret_parts)
{
    struct json_reader reader;
    struct check check;
    struct walk walk;
    enum json_kind kind;

    json_reader_init(&reader, text);
    check.traits = (struct json_traits){.is_compact = true, .names_ascend = true};
    check.parts = ret_parts;
    if (ret_parts) {
        ret_parts->count = 0;
    }
    walk.at = skip_space(reader.at, reader.end);
    walk.end = reader.end;
    walk.depth = 0;
    walk.saw_space = false;
    walk.check = &check;
    walk.trouble.saw_unicode = false;
    if (walk.at < walk.end && (*walk.at == '{' || *walk.at == '[')) {
        if (!walk_container(&walk)) {
            walk.at = NULL;
        }
    } else {
        const char *const start = walk.at;
        walk.at = read_scalar(start, walk.end, &kind, &walk.trouble);
        if (walk.at && kind == JSON_NUMBER) {
            note_number(&check, (struct span){start, (size_t)(walk.at - start)});
        }
    }
    if (!walk.at) {
        return bad_json(&reader, walk.trouble.at, walk.trouble.what);
    }
    reader.at = walk.at;
    RETURN_IF_ERROR(json_end(&reader));
    check.traits.is_compact = !walk.saw_space;
    check.traits.has_unicode_escape = walk.trouble.saw_unicode;
    *ret = check.traits;
    return NULL;
}

/* ---------------------------------------------------------------- one level at a time */

bool json_peek(struct json_reader *reader, enum json_kind *ret)
{
    reader->at = skip_space(reader->at, reader->end);
    if (reader->at == reader->end) {
        return false;
    }
    switch (*reader->at) {
    case '{':
        *ret = JSON_OBJECT;
        return true;
    case '[':
        *ret = JSON_ARRAY;
        return true;
    case '"':
        *ret = JSON_STRING;
        return true;
    case 'n':
        *ret = JSON_NULL;
        return true;
    case 't':
        *ret = JSON_TRUE;
        return true;
    case 'f':
        *ret = JSON_FALSE;
        return true;
    default:
        *ret = JSON_NUMBER;
        return *reader->at == '-' || is_digit(*reader->at);
    }
}

struct error *json_enter(struct json_reader *reader, enum json_kind kind)
{
    reader->at = skip_space(reader->at, reader->end);
    if (reader->at == reader->end || *reader->at != (kind == JSON_OBJECT ? '{' : '[')) {
        return bad_json(reader, reader->at,
                        kind == JSON_OBJECT ? "expected an object" : "expected an array");
    }
    reader->at++;
    return NULL;
}

/* Steps to the next member or element, or behind the closing bracket. No flag tells whether a comma
 * must come first: the byte before reader->at does. It is the opening bracket only when the
 * container was just entered, since no value and no closing bracket ends with that byte. */
static struct error *
step_inside(struct json_reader *reader, char opening, char closing, bool *ret_have)
{
    const bool first = reader->at[-1] == opening;
    const char *at = skip_space(reader->at, reader->end);

    *ret_have = false;
    if (at < reader->end && *at == closing) {
        reader->at = at + 1;
        return NULL;
    }
    if (!first) {
        if (at == reader->end || *at != ',') {
            return bad_json(reader, at,
                            opening == '{' ? "expected a comma or closing brace"
                                           : "expected a comma or closing bracket");
        }
        at = skip_space(at + 1, reader->end);
    }
    reader->at = at;
    *ret_have = true;
    return NULL;
}

struct error *json_member_name(struct json_reader *reader, struct span *ret_name, bool *ret_have)
{
    RETURN_IF_ERROR(step_inside(reader, '{', '}', ret_have));
    if (!*ret_have) {
        return NULL;
    }

    struct walk walk;
    const char *const start = reader->at;
    walk.at = start;
    walk.end = reader->end;
    walk.saw_space = false;
    if (start == reader->end || *start != '"') {
        return bad_json(reader, start, "expected a member's name");
    }
    walk.at = read_string(start + 1, reader->end, &walk.trouble);
    if (!walk.at) {
        return bad_json(reader, walk.trouble.at, walk.trouble.what);
    }
    *ret_name = (struct span){start + 1, (size_t)(walk.at - start) - 2};
    const char *at = skip_space(walk.at, reader->end);
    if (at == reader->end || *at != ':') {
        return bad_json(reader, at, "expected a colon");
    }
    reader->at = at + 1;
    return NULL;
}

struct error *json_member(struct json_reader *reader,
                          struct span *ret_name,
                          struct json_item *ret,
                          bool *ret_have)
{
    RETURN_IF_ERROR(json_member_name(reader, ret_name, ret_have));
    return *ret_have ? json_next(reader, ret) : NULL;
}

struct error *json_element_start(struct json_reader *reader, bool *ret_have)
{
    return step_inside(reader, '[', ']', ret_have);
}

struct error *json_element(struct json_reader *reader, struct json_item *ret, bool *ret_have)
{
    RETURN_IF_ERROR(step_inside(reader, '[', ']', ret_have));
    return *ret_have ? json_next(reader, ret) : NULL;
}

/* ---------------------------------------------------------------- strings */

static bool is_high_surrogate(int32_t unit)
{
    return unit >= 0xd800 && unit <= 0xdbff;
}

static bool is_low_surrogate(int32_t unit)
{
    return unit >= 0xdc00 && unit <= 0xdfff;
}

/* The character that the escape at *at (behind its backslash) stands for, as UTF-8; *at moves
 * behind it. Returns the length, 0 when it is no escape. A \u escape takes six bytes and becomes
 * at most three, a pair twelve and four: decoding never makes a text longer. */
static size_t decode_escape(const char **at, const char *end, char out[4])
{
    if (*at == end) {
        return 0;
    }
    const char c = *(*at)++;
    switch (c) {
    case '"':
    case '\\':
    case '/':
        out[0] = c;
        return 1;
    case 'b':
        out[0] = '\b';
        return 1;
    case 'f':
        out[0] = '\f';
        return 1;
    case 'n':
        out[0] = '\n';
        return 1;
    case 'r':
        out[0] = '\r';
        return 1;
    case 't':
        out[0] = '\t';
        return 1;
    case 'u':
        break;
    default:
        return 0;
    }

    const int32_t unit = hex_unit(*at, end);
    if (unit < 0) {
        return 0;
    }
    *at += 4;
    if (is_high_surrogate(unit) && end - *at >= 6 && (*at)[0] == '\\' && (*at)[1] == 'u') {
        const int32_t low = hex_unit(*at + 2, end);
        if (is_low_surrogate(low)) {
            *at += 6;
            return text_encode((uint32_t)(0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00)), out);
        }
    }
    if (is_high_surrogate(unit) || is_low_surrogate(unit)) {
        return text_encode(0xfffd, out);
    }
    return text_encode((uint32_t)unit, out);
}

struct error *json_unescape(struct span inside, struct buf *scratch, struct span *ret)
{
    if (inside.len == 0 || !memchr(inside.ptr, '\\', inside.len)) {
        *ret = inside;
        return NULL;
    }

    char *const start = buf_reserve(scratch, inside.len);
    if (!start) {
        return error_new(ERROR_INPUT, ERROR_FATAL, "a string of %zu bytes is too long", inside.len);
    }
    char *out = start;
    const char *at = inside.ptr;
    const char *const end = inside.ptr + inside.len;
    while (at < end) {
        const char *backslash = memchr(at, '\\', (size_t)(end - at));
        const size_t plain = (size_t)((backslash ? backslash : end) - at);
        memcpy(out, at, plain);
        out += plain;
        if (!backslash) {
            break;
        }
        at = backslash + 1;
        char utf8[4];
        const size_t len = decode_escape(&at, end, utf8);
        if (len == 0) {
            return error_new(ERROR_INPUT, ERROR_FATAL, "invalid escape at byte %zu of a string",
                             (size_t)(backslash - inside.ptr));
        }
        memcpy(out, utf8, len);
        out += len;
    }
    buf_commit(scratch, (size_t)(out - start));
    *ret = (struct span){start, (size_t)(out - start)};
    return NULL;
}

struct error *json_string(const struct json_item *item, struct buf *scratch, struct span *ret)
{
    if (item->kind != JSON_STRING) {
        return error_new(ERROR_INPUT, ERROR_FATAL, "expected a string, not a value of type %s",
                         json_kind_name(item->kind));
    }
    return json_unescape((struct span){item->raw.ptr + 1, item->raw.len - 2}, scratch, ret);
}

bool json_name_is(struct span raw_name, const char *name)
{
    const char *at = raw_name.ptr;
    const char *const end = at + raw_name.len;

    if (raw_name.len == 0 || !memchr(at, '\\', raw_name.len)) {
        return span_is(raw_name, name);
    }
    while (at < end) {
        char utf8[4] = {*at++};
        size_t len = 1;
        if (utf8[0] == '\\') {
            len = decode_escape(&at, end, utf8);
        }
        if (len == 0 || strncmp(name, utf8, len) != 0 || memchr(utf8, '\0', len)) {
            return false;
        }
        name += len;
    }
    return *name == '\0';
}

/* ---------------------------------------------------------------- numbers */

bool json_to_int64(const struct json_item *item, int64_t *ret)
{
    return item->kind == JSON_NUMBER && text_to_int64(item->raw, ret);
}

bool json_to_uint64(const struct json_item *item, uint64_t *ret)
{
    return item->kind == JSON_NUMBER && text_to_uint64(item->raw, ret);
}

bool json_to_double(const struct json_item *item, double *ret)
{
    return item->kind == JSON_NUMBER && text_to_double(item->raw, ret);
}
