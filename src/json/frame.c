/*
 * Room json: where a value ends in a stream. Bytes come in as they were read from stdin, in pieces
 * of any size; out goes only a length. Each byte is looked at once, whatever the pieces are. It
 * never says whether the value is valid: closing brackets are counted, not matched, and json_next
 * judges the framed bytes.
 */

#include "json/scan.h"

#include "json/skip.h"

enum { OPENS = 1, CLOSES = 2, QUOTES = 4, SPACES = 8, SEPARATES = 16 };

static const unsigned char classes[256] = {
    ['{'] = OPENS,   ['['] = OPENS,     ['}'] = CLOSES,   [']'] = CLOSES,
    ['"'] = QUOTES,  [' '] = SPACES,    ['\n'] = SPACES,  ['\t'] = SPACES,
    ['\r'] = SPACES, [','] = SEPARATES, [':'] = SEPARATES};

static unsigned class_of(char c)
{
    return classes[(unsigned char)c];
}

/* Inside of a string: up to behind its closing quote, or end. */
static const char *frame_string(struct json_framer *framer, const char *at, const char *end)
{
    while (at < end) {
        if (framer->after_backslash) {
            framer->after_backslash = false;
            at++;
            continue;
        }
        at = skip_plain(at, end);
        if (at == end) {
            break;
        }
        const char c = *at++;
        if (c == '"') {
            framer->in_string = false;
            break;
        }
        framer->after_backslash = c == '\\';
    }
    return at;
}

/* Inside of an object or array: up to behind the closing bracket of the outermost, the opening
 * quote of a string, or end. */
static const char *frame_nested(struct json_framer *framer, const char *at, const char *end)
{
    while (at < end) {
        const unsigned class = class_of(*at++) & (OPENS | CLOSES | QUOTES);
        if (class == OPENS) {
            framer->depth++;
        } else if (class == CLOSES) {
            if (--framer->depth == 0) {
                break;
            }
        } else if (class == QUOTES) {
            framer->in_string = true;
            break;
        }
    }
    return at;
}

/* The first byte of a value: sets what it is inside of. Returns false when the byte is a value by
 * itself, which only a stray bracket or separator is. */
static bool frame_start(struct json_framer *framer, char c)
{
    framer->started = true;
    switch (class_of(c)) {
    case OPENS:
        framer->depth = 1;
        return true;
    case QUOTES:
        framer->in_string = true;
        return true;
    case CLOSES:
    case SEPARATES:
        return false;
    default:
        framer->in_scalar = true;
        return true;
    }
}

bool json_frame(struct json_framer *framer, const char *ptr, size_t len, size_t *ret_used)
{
    const char *at = ptr;
    const char *const end = ptr + len;
    bool ended = false;

    if (!framer->started) {
        at = skip_space(at, end);
        if (at < end) {
            ended = !frame_start(framer, *at++);
        }
    }
    while (!ended && at < end) {
        if (framer->in_scalar) {
            while (at < end && class_of(*at) == 0) {
                at++;
            }
            ended = at < end;
            break;
        }
        at = framer->in_string ? frame_string(framer, at, end) : frame_nested(framer, at, end);
        ended = framer->depth == 0 && !framer->in_string;
    }
    if (!ended) {
        return false;
    }
    *framer = (struct json_framer){0};
    *ret_used = (size_t)(at - ptr);
    return true;
}
