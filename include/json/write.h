#ifndef JSON_WRITE_H
#define JSON_WRITE_H

/* JSON out, compact, into a bounded buf. A full buf is sticky: ask once at the end. */

#include "base/buf.h"
#include "base/error.h"
#include "base/span.h"

/* A quoted string; control characters escaped, nothing else (no HTML escaping, UTF-8 as it is).
 * Invalid UTF-8 becomes U+FFFD. */
void json_add_string(struct buf *out, struct span text);
/* Only the inside. */
void json_add_escaped(struct buf *out, struct span text);

/* Copies a JSON value without the white space outside of strings. The value must be valid. */
struct error *json_add_compact(struct buf *out, struct span value) MUST_CHECK;

/* Commas by themselves: json_object_begin(w); json_name(w, "a"); json_uint(w, 1);
 * json_object_end(w); */
struct json_writer {
    struct buf *out;
    bool need_comma;
};
void json_writer_init(struct json_writer *w, struct buf *out);
void json_object_begin(struct json_writer *w);
void json_object_end(struct json_writer *w);
void json_array_begin(struct json_writer *w);
void json_array_end(struct json_writer *w);
void json_name(struct json_writer *w, const char *name);
void json_name_span(struct json_writer *w, struct span name);
void json_str(struct json_writer *w, struct span text);
void json_int(struct json_writer *w, int64_t value);
void json_uint(struct json_writer *w, uint64_t value);
void json_bool(struct json_writer *w, bool value);
void json_null(struct json_writer *w);
void json_raw(struct json_writer *w, struct span value); /* already compact JSON */

#endif
