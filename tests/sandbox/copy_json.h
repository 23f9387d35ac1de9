#ifndef SANDBOX_COPY_JSON_H
#define SANDBOX_COPY_JSON_H

#include "sandbox/copy_bytes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ------------------------------------------------------------------ values in memory */

enum json_kind {
    JSON_NULL,
    JSON_TRUE,
    JSON_FALSE,
    JSON_NUMBER,
    JSON_STRING,
    JSON_OBJECT,
    JSON_ARRAY,
};

struct json_value {
    enum json_kind kind;
    struct piece text; /* the source; of a string what is between the quotes, not decoded */
    bool escaped;      /* a string with a backslash in it */
    bool wide;         /* a string, object or array with a byte above 127 in it */
};

/* Reads one value that begins at `at` (no white space before it) and checks the whole of it,
 * nested ones included. Returns where it ends, or NULL when it is not JSON: then `*ret_bad` is
 * the byte that does not fit (`end` when the text is cut off). */
const char *
json_read_value(const char *at, const char *end, struct json_value *ret, const char **ret_bad);
const char *json_skip_blanks(const char *at, const char *end);

/* Walks an object or an array that json_read_value has accepted. Start with `at` behind the
 * opening bracket; each call fills the next member and returns where to go on, NULL at the end. */
const char *json_next_member(const char *at,
                             const char *end,
                             struct json_value *ret_key,
                             struct json_value *ret);
const char *json_next_element(const char *at, const char *end, struct json_value *ret);

/* Appends the bytes that a string stands for. \ud83d\ude00 becomes one 4-byte character; a lone
 * surrogate becomes its 3 bytes ED A0 80 ..., which utf8_find_fault then calls invalid. */
void json_decode(struct piece text, struct bytes *to);
/* Appends the text as a JSON string with quotes and the fewest escapes. */
void json_encode(struct piece text, struct bytes *to);

/* ------------------------------------------------------------------ UTF-8 */

struct utf8_fault {
    size_t offset;
    size_t len;   /* bytes of the sequence in question */
    int sub_code; /* as in the text of error 1220; 0: a noncharacter (valid, but replaced) */
};

/* Finds the first place at or after `from` that Redshift does not store. Noncharacters (U+FDD0 to
 * U+FDEF, U+xFFFE, U+xFFFF) are reported only if `noncharacters` is set. */
bool utf8_find_fault(struct piece text, size_t from, bool noncharacters, struct utf8_fault *ret);
/* The longest prefix of at most `most` bytes that does not end within a character. */
size_t utf8_cut(struct piece text, size_t most);

/* ------------------------------------------------------------------ objects in a stream */

/* One JSON object, and one input row, may have 4 MB; a `|` counts twice. */
#define COPY_OBJECT_BYTES_MAX ((size_t)4 * 1024 * 1024)

enum split_fault {
    SPLIT_STRAY,    /* a byte between objects that is no white space */
    SPLIT_TOO_LONG, /* an object above the limit, skipped to its end */
    SPLIT_CUT_OFF,  /* the input ended inside an object */
};

/*
 * Cuts a stream of bytes, arriving in pieces of any size, into objects. Between objects only
 * white space is right. An object that lies inside one piece is lent from there; one that spans
 * pieces is gathered in `pending`, never more than the limit.
 */
struct json_split {
    bool (*object)(void *ctx, struct piece object, int64_t last_line);
    bool (*fault)(void *ctx, enum split_fault fault, char byte, int64_t line);
    void *ctx;
    struct bytes pending;
    int64_t line;   /* of the byte to come, from 1 */
    size_t counted; /* bytes of the object so far, `|` twice */
    int depth;      /* open braces and brackets; 0 between objects */
    bool in_string, after_backslash, too_long;
};

void json_split_start(struct json_split *s);
/* False when a callback returned false: stop. */
bool json_split_feed(struct json_split *s, const char *at, size_t len);
bool json_split_end(struct json_split *s);
void json_split_done(struct json_split *s);

#endif
