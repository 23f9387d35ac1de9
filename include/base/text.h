#ifndef BASE_TEXT_H
#define BASE_TEXT_H

/* Text that is nobody's language: UTF-8, hex, base64, numbers, RFC 3339, uuid. All pure. */

#include "base/buf.h"
#include "base/span.h"

#include <stdint.h>

struct arena;

/* ---- UTF-8 */
bool text_is_utf8(struct span text); /* RFC 3629: no surrogates, nothing above U+10FFFF */
/* The longest prefix of at most max bytes that does not end inside a character. */
size_t text_utf8_cut(struct span text, size_t max);

/* Unicode simple lower case of one string, as Redshift's catalog and Flow's folding do it. */
void text_lower(struct buf *out, struct span text);
/* Simple case folding equality: what a person calls "the same but for case". */
bool text_equal_folded(struct span a, struct span b);
uint64_t text_hash_folded(struct span text); /* the same for texts that are equal in that sense */
/* One code point's category, for unquoted identifiers: Ll, Nd. Lengths of a decoded character. */
bool text_is_lower_letter(uint32_t code_point);
bool text_is_decimal_digit(uint32_t code_point);
/* Decodes the first character; returns its length, 0 when it is not valid UTF-8. */
size_t text_decode(struct span text, uint32_t *ret_code_point);
size_t text_encode(uint32_t code_point, char out[4]);

/* ---- hex and base64 (RFC 4648) */
void text_add_hex(struct buf *out, struct span bytes); /* lower case */
/* Writes 2*len characters and returns their number. */
size_t text_hex(char *out, const void *bytes, size_t len);
bool text_from_hex(struct buf *out, struct span text);
void text_add_base64(struct buf *out, struct span bytes); /* standard alphabet, padded */
/* Accepts the standard and the URL-safe alphabet, with or without padding, ignoring CR and LF;
 * false when the text is none of these (out is left with what it had). */
bool text_from_base64(struct buf *out, struct span text);
/* Decodes into out, which has room for len/4*3+3 bytes; -1 when text is not base64. */
ptrdiff_t text_base64_decode(void *out, struct span text);

/* ---- numbers, never through a double unless the value is one */
bool text_to_int64(struct span text, int64_t *ret);   /* optional '-', digits, nothing else */
bool text_to_uint64(struct span text, uint64_t *ret); /* digits, nothing else */
#define TEXT_INT_MAX 21
size_t text_int64(char out[TEXT_INT_MAX], int64_t value); /* not terminated; returns length */
size_t text_uint64(char out[TEXT_INT_MAX], uint64_t value);
#define TEXT_DOUBLE_MAX 32
/* Shortest text that reads back as the same double, in the form of ECMAScript's Number toString
 * (plain unless |x| < 1e-6 or >= 1e21; then 1e+21, 1e-7), but that a negative zero keeps its sign:
 * "-0". The value is finite. */
size_t text_double(char out[TEXT_DOUBLE_MAX], double value);
#define TEXT_DOUBLE_PLAIN_MAX 400
/* The same digits without an exponent, whatever the size. */
size_t text_double_plain(char out[TEXT_DOUBLE_PLAIN_MAX], double value);
bool text_to_double(struct span text, double *ret); /* JSON number or decimal; false if no finite */

/* ---- time, identity */
#define TEXT_UUID_LEN 36
void text_uuid(char out[TEXT_UUID_LEN + 1], const unsigned char bytes[16]);
/* "2026-01-02T03:04:05Z" from seconds since 1970. */
void text_time(char out[32], int64_t unix_seconds);
/* Seconds and nanoseconds from RFC 3339 with any offset; false when it is not. A leap second counts
 * as the second that follows; of a fraction nine digits are kept. */
bool text_from_rfc3339(struct span text, int64_t *ret_seconds, int32_t *ret_nanos);

/* Joins path segments with '/', dropping empty, "." and ".." segments and a leading slash. */
char *text_path_join(struct arena *arena, struct span a, struct span b);

/* Percent-encodes every byte but A-Za-z0-9-._~ (and '/' when keep_slash), upper-case hex. */
void text_add_percent(struct buf *out, struct span text, bool keep_slash);

#endif
