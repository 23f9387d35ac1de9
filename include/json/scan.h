#ifndef JSON_SCAN_H
#define JSON_SCAN_H

/*
 * JSON without a tree, for the flow: a pull reader over one complete value in memory, and a framer
 * that finds where a value ends in a stream that may be cut anywhere. Numbers stay text. Strict
 * RFC 8259; nesting deeper than JSON_MAX_DEPTH is an error; every error names the byte offset.
 * Strings are not checked for being UTF-8. Errors are ERROR_INPUT, ERROR_FATAL: the caller knows
 * better what the text is and wraps them.
 */

#include "base/buf.h"
#include "base/error.h"
#include "base/span.h"

#define JSON_MAX_DEPTH 512

enum json_kind {
    JSON_NULL,
    JSON_FALSE,
    JSON_TRUE,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
};
const char *json_kind_name(enum json_kind kind); /* "null", "boolean", "number", ... */

/* ---- pull reader. A plain value; borrows the text. */

struct json_reader {
    const char *start, *at, *end;
};

/* raw is the value's text as written (for a string: with its quotes). */
struct json_item {
    enum json_kind kind;
    bool is_compact; /* no white space outside of strings */
    struct span raw;
};

void json_reader_init(struct json_reader *reader, struct span text);

/* Reads one value whole (validates and steps over what is nested). */
struct error *json_next(struct json_reader *reader, struct json_item *ret) MUST_CHECK;
/* Only white space may be left. */
struct error *json_end(struct json_reader *reader) MUST_CHECK;

/* One value that is the whole text but for white space, judged in one pass: what a reader with
 * narrower limits than JSON's has to look at more closely. */
struct json_traits {
    bool is_compact;         /* no white space outside of strings */
    bool has_unicode_escape; /* somewhere is a \u */
    bool has_large_number;   /* one has an exponent or more than JSON_PLAIN_NUMBER characters */
    bool names_ascend;       /* in every object, byte by byte and without escapes: none is twice */
    size_t longest_name;     /* bytes, as written */
};
#define JSON_PLAIN_NUMBER 300 /* an integer of so many digits is a finite double */
struct error *json_check(struct span text, struct json_traits *ret) MUST_CHECK;

/* The same, and which objects and arrays within the value have JSON_PART_BYTES or more: the first
 * JSON_MAX_PARTS by where they end. */
#define JSON_MAX_PARTS 8
#define JSON_PART_BYTES ((size_t)64 * 1024)
struct json_parts {
    struct span items[JSON_MAX_PARTS]; /* within the text */
    unsigned count;
};
struct error *json_check_parts(struct span text,
                               struct json_traits *ret,
                               struct json_parts *ret_parts /* NULL: as json_check */) MUST_CHECK;

/* Is a name twice in one object of this valid value? Slow: sorts the names of each object. */
bool json_has_twins(struct span text);

/* Walks an object or array that json_next returned (init a reader over item.raw first):
 *      json_enter(&r, JSON_OBJECT); while (json_member(&r, &name, &value) gives ret_have) ...
 * name is raw without quotes; when it holds a backslash use json_name_is / json_unescape. */
struct error *json_enter(struct json_reader *reader, enum json_kind kind) MUST_CHECK;
struct error *json_member(struct json_reader *reader,
                          struct span *ret_name,
                          struct json_item *ret,
                          bool *ret_have) MUST_CHECK;
struct error *
json_element(struct json_reader *reader, struct json_item *ret, bool *ret_have) MUST_CHECK;

/* The same, one step at a time and in one pass: these stop in front of the value, which is then
 * read by json_next, or walked in place by json_enter. A container that was entered in place must
 * be walked to its end. */
struct error *
json_member_name(struct json_reader *reader, struct span *ret_name, bool *ret_have) MUST_CHECK;
struct error *json_element_start(struct json_reader *reader, bool *ret_have) MUST_CHECK;
/* What the next value claims to be by its first byte; false when no value can start there. */
bool json_peek(struct json_reader *reader, enum json_kind *ret);

bool json_name_is(struct span raw_name, const char *name); /* escapes considered */

/* Decoded text of a string item: points into the input when nothing is escaped, else into scratch
 * (appended, so earlier results in the same scratch stay valid only while it does not grow: the
 * caller reserves). A lone surrogate escape becomes U+FFFD. */
struct error *
json_string(const struct json_item *item, struct buf *scratch, struct span *ret) MUST_CHECK;
/* The same for the inside of a string without its quotes. */
struct error *json_unescape(struct span inside, struct buf *scratch, struct span *ret) MUST_CHECK;

bool json_to_int64(const struct json_item *item,
                   int64_t *ret); /* exact integers only, "1.0" is none */
bool json_to_uint64(const struct json_item *item, uint64_t *ret);
bool json_to_double(const struct json_item *item,
                    double *ret); /* for schema bounds, never for data */

/* ---- framer */

/* Where we are inside a value; zeroed to start. */
struct json_framer {
    unsigned depth;
    bool in_string, after_backslash, in_scalar, started;
};

/* Looks at bytes that follow what it saw before. Returns true when a value ends, with the number of
 * bytes up to its end (white space in front included); false when all len bytes are part of it so
 * far. Does not validate; json_next on the framed bytes does. A top-level scalar ends at the
 * following white space or structural byte. */
bool json_frame(struct json_framer *framer, const char *ptr, size_t len, size_t *ret_used);

#endif
