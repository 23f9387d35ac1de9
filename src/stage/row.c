/*
 * stage/row: one document's keys, values and text as one staged line. In: struct value from the
 * wire. Out: bytes of JSON in the block of a writer. It never allocates beyond the block's growth,
 * never keeps a value, and knows nothing of files.
 *
 *      {"a":1,"key":"k","z":null}\n        members in byte order of the names, all of them, each
 * time
 *
 * A chapter per concern: the format (made once per binding), text, numbers, times, converters, the
 * row, large documents.
 */

#include "stage/row.h"

#include "base/size.h"
#include "base/text.h"
#include "stage/domain.h"
#include "json/write.h"

#include <math.h>
#include <stdlib.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* VARBYTE(1024000) */
#define MAX_BINARY 1024000
/* NUMERIC(38,0) */
#define MAX_DIGITS 38
/* An unquoted integer beyond 64 bits may pass through a double on the server; a quoted one does
 * not. */
#define MAX_UNQUOTED_DIGITS 19

/* ---------------------------------------------------------------- format */

enum source { SOURCE_KEY, SOURCE_VALUE, SOURCE_DOCUMENT };

struct member {
    enum source source;
    unsigned index;  /* within keys or values */
    unsigned column; /* as given: bit in row_facts.widen */
    struct row_column spec;
    struct span prefix; /* `,"name":`; the first one begins with '{' */
    bool must_fit;      /* values are held against the column's domain */
    bool is_vchar;      /* VARCHAR or CHAR, of whatever length */
};

struct row_format {
    struct member *members;
    unsigned count;
    const struct member *document; /* a SUPER, or NULL */
    struct span end;               /* of the object and the line */
};

static int compare_members(const void *a, const void *b)
{
    return span_compare(((const struct member *)a)->spec.field,
                        ((const struct member *)b)->spec.field);
}

static struct span make_prefix(struct arena *arena, struct span field, bool is_first)
{
    struct buf text;

    buf_init(&text, field.len * 6 + 16);
    buf_add_byte(&text, is_first ? '{' : ',');
    json_add_string(&text, field);
    buf_add_byte(&text, ':');
    CHECK(!buf_is_full(&text));
    struct span prefix = arena_span(arena, buf_view(&text));
    buf_done(&text);
    return prefix;
}

struct row_format *row_format_new(struct arena *arena,
                                  const struct row_column *columns,
                                  unsigned key_count,
                                  unsigned value_count,
                                  bool has_document,
                                  enum row_kind kind)
{
    struct row_format *format = ARENA_NEW(arena, struct row_format);
    unsigned all = key_count + value_count + has_document;

    format->count = kind == ROW_KEYS ? key_count : all;
    format->members = ARENA_ARRAY(arena, format->count, struct member);
    for (unsigned i = 0; i < format->count; i++) {
        struct member *member = &format->members[i];
        member->column = i;
        member->spec = columns[i];
        member->spec.field = arena_span(arena, columns[i].field);
        if (member->spec.is_text && member->spec.text_width == 0) {
            member->spec.text_width = 256; /* TEXT is VARCHAR(256) until it is widened */
        }
        if (i < key_count) {
            member->source = SOURCE_KEY;
            member->index = i;
            member->spec.is_key = true;
        } else {
            member->source = i < key_count + value_count ? SOURCE_VALUE : SOURCE_DOCUMENT;
            member->index = i - key_count;
        }
        enum rs_holds holds = member->spec.domain.holds;
        member->is_vchar = holds == RS_HOLDS_VARCHAR || holds == RS_HOLDS_CHAR;
        member->must_fit = holds != RS_HOLDS_ANYTHING && holds != RS_HOLDS_VARCHAR;
    }
    format->end = format->count ? SPAN_LIT("}\n") : SPAN_LIT("{}\n");
    qsort(format->members, format->count, sizeof *format->members, compare_members);
    for (unsigned i = 0; i < format->count; i++) {
        struct member *member = &format->members[i];
        member->prefix = make_prefix(arena, member->spec.field, i == 0);
        if (member->source == SOURCE_DOCUMENT && member->spec.domain.holds == RS_HOLDS_SUPER) {
            format->document = member;
        }
    }
    return format;
}

/* ---------------------------------------------------------------- output */

/* Where a value goes: the block, the column it is for, and what is learnt. */
struct cell {
    struct buf *out;
    const struct member *member;
    struct row_facts *facts;
    struct whole *whole; /* NULL: the document is not large */
};

static struct error *bad_value(const struct cell *cell, const char *what)
{
    return error_new(ERROR_INPUT, ERROR_CONFIG, "field \"%.*s\": %s",
                     SPAN_FMT(cell->member->spec.field), what);
}

static struct error *too_large(const struct cell *cell, const char *what, size_t limit, size_t len)
{
    return error_new(ERROR_INPUT, ERROR_CONFIG,
                     "field \"%.*s\": %s is limited to %zu bytes, this one has %zu",
                     SPAN_FMT(cell->member->spec.field), what, limit, len);
}

/* Room for len more bytes, or NULL. */
static inline char *room(struct buf *out, size_t len)
{
    if (out->cap - out->len > len) {
        return out->data + out->len;
    }
    return buf_reserve(out, len);
}

static struct error *put(const struct cell *cell, const char *ptr, size_t len)
{
    char *to = len <= ROW_MAX_OBJECT ? room(cell->out, len) : NULL;

    if (!to) {
        return too_large(cell, "a row", ROW_MAX_OBJECT, len);
    }
    memcpy(to, ptr, len);
    cell->out->len += len;
    return NULL;
}

static struct error *put_span(const struct cell *cell, struct span text)
{
    return put(cell, text.ptr, text.len);
}

static struct error *put_null(const struct cell *cell)
{
    return put(cell, "null", 4);
}

/* It would never be found again: null equals nothing. */
static struct error *null_key(const struct cell *cell)
{
    return bad_value(cell, "a key is null");
}

/* ---------------------------------------------------------------- text */

/* How many bytes are looked at together. */
#define WORD 16

#ifdef __SSE2__

/* Bit i is set when byte i is a control character, a quote or a backslash. In *high a bit stays set
 * for each byte beyond ASCII. Writes all bytes to to. */
static inline unsigned copy_word(char *to, const char *from, unsigned *high)
{
    __m128i word = _mm_loadu_si128((const __m128i *)(const void *)from);
    __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(word, _mm_set1_epi8(0x1f)), word);
    __m128i quote = _mm_cmpeq_epi8(word, _mm_set1_epi8('"'));
    __m128i backslash = _mm_cmpeq_epi8(word, _mm_set1_epi8('\\'));

    _mm_storeu_si128((__m128i *)(void *)to, word);
    *high |= (unsigned)_mm_movemask_epi8(word);
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(control, _mm_or_si128(quote, backslash)));
}

#else

static inline unsigned copy_word(char *to, const char *from, unsigned *high)
{
    unsigned special = 0;

    memcpy(to, from, WORD);
    for (unsigned i = 0; i < WORD; i++) {
        unsigned char c = (unsigned char)from[i];
        special |= (unsigned)(c < 0x20 || c == '"' || c == '\\') << i;
        *high |= (unsigned)(c >> 7);
    }
    return special;
}

#endif

static char *escape_byte(char *to, unsigned char c)
{
    static const char digits[] = "0123456789abcdef";
    char brief = 0;

    switch (c) {
    case '"':
    case '\\':
        brief = (char)c;
        break;
    case '\b':
        brief = 'b';
        break;
    case '\f':
        brief = 'f';
        break;
    case '\n':
        brief = 'n';
        break;
    case '\r':
        brief = 'r';
        break;
    case '\t':
        brief = 't';
        break;
    default:
        break;
    }
    *to++ = '\\';
    if (brief) {
        *to++ = brief;
        return to;
    }
    memcpy(to, "u00", 3);
    to[3] = digits[c >> 4];
    to[4] = digits[c & 15];
    return to + 5;
}

/* Copies text with JSON's escapes; to has room for six times its length. *ret_high: a byte beyond
 * ASCII was seen, so that UTF-8 needs a look. *ret_nul: so was U+0000. */
static char *copy_escaped(char *to, struct span text, bool *ret_high, bool *ret_nul)
{
    const char *at = text.ptr, *end = text.ptr + text.len;
    unsigned high = 0;
    bool has_nul = false;

    while (end - at >= WORD) {
        unsigned special = copy_word(to, at, &high);
        unsigned plain = special ? (unsigned)__builtin_ctz(special) : WORD;
        at += plain;
        to += plain;
        if (special) {
            has_nul |= *at == '\0';
            to = escape_byte(to, (unsigned char)*at++);
        }
    }
    for (; at < end; at++) {
        unsigned char c = (unsigned char)*at;
        high |= c & 0x80;
        if (c < 0x20 || c == '"' || c == '\\') {
            has_nul |= c == '\0';
            to = escape_byte(to, c);
        } else {
            *to++ = (char)c;
        }
    }
    *ret_high = high != 0;
    *ret_nul = has_nul;
    return to;
}

/* What a VARCHAR column must know about a text of this length. A key is never cut, whatever its
 * column is: two long keys would become one. */
static struct error *note_length(const struct cell *cell, size_t len)
{
    const struct row_column *spec = &cell->member->spec;

    if (spec->is_key && len > ROW_MAX_TEXT) {
        return too_large(cell, "a key", ROW_MAX_TEXT, len);
    }
    if (spec->is_key && cell->member->is_vchar && len > spec->domain.size) {
        return too_large(cell, "a key", spec->domain.size, len);
    }
    if (!spec->is_text) {
        return NULL;
    }
    if (spec->is_key && len > cell->facts->longest_key_text) {
        cell->facts->longest_key_text = (uint32_t)len;
    }
    if (len > spec->text_width && spec->text_width < ROW_MAX_TEXT && cell->facts->widen) {
        cell->facts->widen[cell->member->column / 64] |= (uint64_t)1 << (cell->member->column % 64);
    }
    return NULL;
}

static void count_truncated(const struct cell *cell)
{
    cell->facts->truncated_values++;
    if (cell->facts->columns) {
        cell->facts->columns[cell->member->column].truncated++;
    }
}

/* A text column ends a value at U+0000: several keys would become one. */
static struct error *judge_nul(const struct cell *cell, bool was_cut)
{
    if (!cell->member->is_vchar) {
        return NULL;
    }
    if (cell->member->spec.is_key) {
        return bad_value(cell, "a key has the character U+0000, where the server would end it");
    }
    if (!was_cut) {
        count_truncated(cell);
    }
    return NULL;
}

/* lead: one byte in front of the text, or 0. */
static struct error *put_string(const struct cell *cell, struct span text, char lead)
{
    const struct row_column *spec = &cell->member->spec;
    bool has_high, has_nul, was_cut = false;

    if (text.len && text.ptr[0] == '\0' && cell->member->is_vchar) {
        lead = '\\';
    }
    size_t lead_len = lead != 0;

    if (text.len > ROW_MAX_OBJECT) {
        return too_large(cell, "a text", ROW_MAX_OBJECT, text.len);
    }
    if (spec->is_text && !spec->is_key && text.len + lead_len > ROW_MAX_TEXT) {
        text.len = text_utf8_cut(text, ROW_MAX_TEXT - lead_len);
        count_truncated(cell);
        was_cut = true;
    }
    RETURN_IF_ERROR(note_length(cell, text.len + lead_len));
    char *to = room(cell->out, text.len * 6 + 16), *start = to;
    if (!to) {
        return too_large(cell, "a row", ROW_MAX_OBJECT, text.len);
    }
    *to++ = '"';
    if (lead) {
        to = escape_byte(to, (unsigned char)lead);
    }
    to = copy_escaped(to, text, &has_high, &has_nul);
    *to++ = '"';
    if (has_high && !text_is_utf8(text)) {
        return bad_value(cell, "the text is not valid UTF-8");
    }
    if (has_nul) {
        RETURN_IF_ERROR(judge_nul(cell, was_cut));
    }
    cell->out->len += (size_t)(to - start);
    return NULL;
}

/* COPY refuses a text that begins with NUL ("Invalid null byte"): a backslash goes in front. Later
 * ones end the value on the server. */
static struct error *put_text(const struct cell *cell, struct span text)
{
    return put_string(cell, text, text.len && text.ptr[0] == '\0' ? '\\' : 0);
}

/* ---------------------------------------------------------------- numbers */

static struct error *put_int(const struct cell *cell, int64_t value)
{
    char digits[TEXT_INT_MAX];
    return put(cell, digits, text_int64(digits, value));
}

static struct error *put_uint(const struct cell *cell, uint64_t value)
{
    char digits[TEXT_INT_MAX];
    return put(cell, digits, text_uint64(digits, value));
}

static struct error *put_double(const struct cell *cell, double value)
{
    char digits[TEXT_DOUBLE_MAX];

    if (!isfinite(value)) {
        return bad_value(cell, "the number is not finite");
    }
    return put(cell, digits, text_double(digits, value));
}

static bool is_integer_text(struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9') {
            if (i > 0 || text.ptr[i] != '-') {
                return false;
            }
        }
    }
    return text.len > 0;
}

/* Digits with an optional minus: quoted when the server would round them. */
static struct error *put_digits(const struct cell *cell, struct span digits)
{
    bool quoted = digits.len - (digits.ptr[0] == '-') > MAX_UNQUOTED_DIGITS;
    char *to = digits.len <= ROW_MAX_OBJECT ? room(cell->out, digits.len + 2) : NULL;

    if (!to) {
        return too_large(cell, "a row", ROW_MAX_OBJECT, digits.len);
    }
    if (quoted) {
        *to++ = '"';
    }
    memcpy(to, digits.ptr, digits.len);
    if (quoted) {
        to[digits.len] = '"';
    }
    cell->out->len += digits.len + (quoted ? 2 : 0);
    return NULL;
}

/* A number as it was written. In a column of its own a long one needs care; within JSON and text
 * it is the server's. */
static struct error *put_number_text(const struct cell *cell, struct span text)
{
    double value;

    if (cell->member->spec.is_text || cell->member->spec.converter == RS_JSON) {
        return put_span(cell, text);
    }
    if (is_integer_text(text)) {
        return put_digits(cell, text);
    }
    if (!text_to_double(text, &value)) {
        return bad_value(cell, "the number is one that no double can hold");
    }
    return put_span(cell, text);
}

/* "-012.75" -> -12, of any length. */
static struct error *put_string_as_int(const struct cell *cell, struct span text)
{
    const char *dot = text.len ? memchr(text.ptr, '.', text.len) : NULL;
    char digits[MAX_DIGITS + 1];
    size_t len = 0;

    if (dot) {
        text.len = (size_t)(dot - text.ptr);
    }
    bool negative = text.len && text.ptr[0] == '-';
    if (text.len && (negative || text.ptr[0] == '+')) {
        text.ptr++;
        text.len--;
    }
    if (text.len == 0 || !is_integer_text(text) || text.ptr[0] == '-') {
        return bad_value(cell, "the text is not an integer");
    }
    while (text.len > 1 && text.ptr[0] == '0') {
        text.ptr++;
        text.len--;
    }
    if (text.len > MAX_DIGITS) {
        return error_new(ERROR_INPUT, ERROR_CONFIG,
                         "field \"%.*s\": an integer is limited to %d digits, this one has %zu",
                         SPAN_FMT(cell->member->spec.field), MAX_DIGITS, text.len);
    }
    if (negative && !(text.len == 1 && text.ptr[0] == '0')) {
        digits[len++] = '-';
    }
    memcpy(digits + len, text.ptr, text.len);
    return put_digits(cell, (struct span){digits, len + text.len});
}

static struct error *put_string_as_double(const struct cell *cell, struct span text)
{
    double value;

    if (span_is(text, "NaN") || span_is(text, "Infinity") || span_is(text, "-Infinity")) {
        /* JSON has no such numbers */
        return cell->member->spec.is_key ? null_key(cell) : put_null(cell);
    }
    if (!text_to_double(text, &value)) {
        return bad_value(cell, "the text is not a number that a double can hold");
    }
    return put_double(cell, value);
}

static struct error *put_binary_as_hex(const struct cell *cell, struct span text)
{
    size_t max = text.len / 4 * 3 + 3;
    char *to = text.len <= ROW_MAX_OBJECT ? room(cell->out, 2 * max + 2) : NULL;

    if (!to) {
        return too_large(cell, "a binary value", MAX_BINARY, text.len / 4 * 3);
    }
    /* Decoded into the far half of the room, then spread out over all of it from the front: hex
     * digits of a byte never reach a byte that was not read yet. */
    char *bytes = to + 1 + max;
    ptrdiff_t len = text_base64_decode(bytes, text);
    if (len < 0) {
        return bad_value(cell, "the text is not base64");
    }
    if (len > MAX_BINARY) {
        return too_large(cell, "a binary value", MAX_BINARY, (size_t)len);
    }
    to[0] = '"';
    size_t hex = text_hex(to + 1, bytes, (size_t)len);
    to[1 + hex] = '"';
    cell->out->len += hex + 2;
    return NULL;
}

/* ---------------------------------------------------------------- times */

struct moment {           /* as written, checked */
    struct span day;      /* YYYY-MM-DD */
    struct span clock;    /* HH:MM:SS */
    struct span fraction; /* digits, trailing zeros removed */
    struct span offset;   /* "Z" or ±HH:MM */
};

/* count digits at text.ptr[at] as a number, or -1 */
static int digits_at(struct span text, size_t at, unsigned count)
{
    int value = 0;

    if (at + count > text.len) {
        return -1;
    }
    for (unsigned i = 0; i < count; i++) {
        char c = text.ptr[at + i];
        if (c < '0' || c > '9') {
            return -1;
        }
        value = value * 10 + (c - '0');
    }
    return value;
}

static bool is_in(int value, int low, int high)
{
    return value >= low && value <= high;
}

static bool is_day(struct span text)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year = digits_at(text, 0, 4), month = digits_at(text, 5, 2), day = digits_at(text, 8, 2);

    if (year < 0 || !is_in(month, 1, 12) || day < 1 || text.ptr[4] != '-' || text.ptr[7] != '-') {
        return false;
    }
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return day <= days[month - 1] + (month == 2 && leap);
}

static bool is_offset(struct span text)
{
    if (text.len == 1) {
        return text.ptr[0] == 'Z' || text.ptr[0] == 'z';
    }
    return text.len == 6 && (text.ptr[0] == '+' || text.ptr[0] == '-') && text.ptr[3] == ':' &&
           is_in(digits_at(text, 1, 2), 0, 23) && is_in(digits_at(text, 4, 2), 0, 59);
}

static struct span trim_zeros(struct span digits)
{
    while (digits.len && digits.ptr[digits.len - 1] == '0') {
        digits.len--;
    }
    return digits;
}

/* RFC 3339 with a mandatory offset; separator is what stands between day and clock. */
static bool read_moment(struct span text, char separator, unsigned max_fraction, struct moment *ret)
{
    size_t at = 19;

    if (text.len < 20 || !is_day(text) || text.ptr[10] != separator || text.ptr[13] != ':' ||
        text.ptr[16] != ':' || !is_in(digits_at(text, 11, 2), 0, 23) ||
        !is_in(digits_at(text, 14, 2), 0, 59) || !is_in(digits_at(text, 17, 2), 0, 59)) {
        return false;
    }
    ret->day = (struct span){text.ptr, 10};
    ret->clock = (struct span){text.ptr + 11, 8};
    ret->fraction = SPAN_NONE;
    if (text.ptr[at] == '.' || text.ptr[at] == ',') {
        size_t start = ++at;
        while (digits_at(text, at, 1) >= 0) {
            at++;
        }
        if (at == start) {
            return false;
        }
        size_t len = at - start;
        ret->fraction =
            trim_zeros((struct span){text.ptr + start, len < max_fraction ? len : max_fraction});
    }
    ret->offset = (struct span){text.ptr + at, text.len - at};
    if (!is_offset(ret->offset)) {
        return false;
    }
    if (ret->offset.len == 1 || span_is(ret->offset, "+00:00") || span_is(ret->offset, "-00:00")) {
        ret->offset = SPAN_LIT("Z");
    }
    return true;
}

/* All of it is digits and signs: nothing to escape, and never long. */
static struct error *put_moment(const struct cell *cell, const struct moment *moment)
{
    const struct span pieces[] = {
        SPAN_LIT("\""),
        moment->day,
        SPAN_LIT("T"),
        moment->clock,
        moment->fraction.len ? SPAN_LIT(".") : SPAN_NONE,
        moment->fraction,
        moment->offset,
        SPAN_LIT("\""),
    };
    char text[64], *to = text;

    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        for (size_t j = 0; j < pieces[i].len; j++) {
            *to++ = pieces[i].ptr[j];
        }
    }
    RETURN_IF_ERROR(note_length(cell, (size_t)(to - text) - 2));
    return put(cell, text, (size_t)(to - text));
}

/* The server takes microseconds at most and refuses more digits. */
static struct error *put_timestamp(const struct cell *cell, struct span text)
{
    struct moment moment;

    if (!read_moment(text, 'T', 6, &moment)) {
        return bad_value(cell, "the text is not a date-time of RFC 3339");
    }
    return put_moment(cell, &moment);
}

static struct error *put_date(const struct cell *cell, struct span text)
{
    struct moment moment;
    size_t start = cell->out->len;

    if (read_moment(text, 'T', 9, &moment) || read_moment(text, ' ', 9, &moment)) {
        return put_moment(cell, &moment);
    }
    RETURN_IF_ERROR(put_text(cell, text));
    char *z = memchr(cell->out->data + start, 'z', cell->out->len - start); /* is in no escape */
    if (z) {
        *z = 'Z';
    }
    return NULL;
}

/* ---------------------------------------------------------------- converters */

/* The value as it is in JSON. */
static struct error *put_as_is(const struct cell *cell, const struct value *value)
{
    switch (value->kind) {
    case VALUE_NULL:
        return put_null(cell);
    case VALUE_FALSE:
        return put(cell, "false", 5);
    case VALUE_TRUE:
        return put(cell, "true", 4);
    case VALUE_INT:
        return put_int(cell, value->number.i);
    case VALUE_UINT:
        return put_uint(cell, value->number.u);
    case VALUE_DOUBLE:
        return put_double(cell, value->number.d);
    case VALUE_NUMBER:
        return put_number_text(cell, value->text);
    case VALUE_STRING:
        return put_string(cell, value->text, 0);
    case VALUE_JSON:
        return put_span(cell, value->text);
    }
    return bad_value(cell, "the value is of no kind");
}

static struct error *put_to_string(const struct cell *cell, const struct value *value)
{
    char digits[TEXT_DOUBLE_PLAIN_MAX];
    double number = value->number.d;

    switch (value->kind) {
    case VALUE_FALSE:
        return put_string(cell, SPAN_LIT("false"), 0);
    case VALUE_TRUE:
        return put_string(cell, SPAN_LIT("true"), 0);
    case VALUE_INT:
        return put_string(cell, (struct span){digits, text_int64(digits, value->number.i)}, 0);
    case VALUE_UINT:
        return put_string(cell, (struct span){digits, text_uint64(digits, value->number.u)}, 0);
    case VALUE_NUMBER:
        if (is_integer_text(value->text) || !text_to_double(value->text, &number)) {
            return put_string(cell, value->text, 0);
        }
        return put_string(cell, (struct span){digits, text_double_plain(digits, number)}, 0);
    case VALUE_DOUBLE:
        if (!isfinite(number)) {
            return bad_value(cell, "the number is not finite");
        }
        return put_string(cell, (struct span){digits, text_double_plain(digits, number)}, 0);
    case VALUE_STRING:
    case VALUE_JSON:
        return put_string(cell, value->text, 0);
    case VALUE_NULL:
        break;
    }
    return put_null(cell);
}

static struct error *put_value(const struct cell *cell, const struct value *value)
{
    enum rs_converter converter = cell->member->spec.converter;

    if (value->kind == VALUE_NULL) {
        return put_null(cell);
    }
    if (converter == RS_TO_STRING) {
        return put_to_string(cell, value);
    }
    if (value->kind != VALUE_STRING) {
        return converter == RS_HEX ? bad_value(cell, "the value is not a base64 text")
                                   : put_as_is(cell, value);
    }
    switch (converter) {
    case RS_TEXT:
        return put_text(cell, value->text);
    case RS_HEX:
        return put_binary_as_hex(cell, value->text);
    case RS_STR_TO_INT:
        return put_string_as_int(cell, value->text);
    case RS_STR_TO_FLOAT:
        return put_string_as_double(cell, value->text);
    case RS_DATE:
        return put_date(cell, value->text);
    case RS_TIMESTAMP:
        return put_timestamp(cell, value->text);
    case RS_AS_IS:
    case RS_JSON:
    case RS_TO_STRING:
        break;
    }
    return put_string(cell, value->text, 0);
}

/* ---------------------------------------------------------------- the row */

static struct error *put_key(const struct cell *cell, const struct value *value)
{
    if (value->kind == VALUE_NULL) {
        return null_key(cell);
    }
    if (value->kind == VALUE_JSON) {
        return bad_value(cell, "a key is an object or array");
    }
    return put_value(cell, value);
}

/* As text when the column is one (castToString), else as it came: valid JSON of the runtime's, on
 * one line. */
static struct error *put_document(const struct cell *cell, struct span doc)
{
    if (doc.len == 0) {
        return bad_value(cell, "the document is missing");
    }
    if (doc.len > ROW_MAX_OBJECT) {
        return too_large(cell, "a document", ROW_MAX_OBJECT, doc.len);
    }
    if (cell->member->spec.converter == RS_TO_STRING) {
        return put_string(cell, doc, 0);
    }
    if (memchr(doc.ptr, '\n', doc.len)) {
        RETURN_IF_ERROR(json_add_compact(cell->out, doc));
        return buf_is_full(cell->out) ? too_large(cell, "a row", ROW_MAX_OBJECT, doc.len) : NULL;
    }
    return put_span(cell, doc);
}

/* COPY counts each '|' twice when it measures a row. */
static struct error *check_size(const char *line, size_t len)
{
    size_t measured = len;

    if (len > ROW_MAX_OBJECT / 2) {
        for (size_t i = 0; i < len; i++) {
            measured += line[i] == '|';
        }
    }
    if (measured <= ROW_MAX_OBJECT) {
        return NULL;
    }
    return error_new(ERROR_INPUT, ERROR_CONFIG, "a row is limited to %zu bytes, this one has %zu",
                     ROW_MAX_OBJECT, measured);
}

/* What COPY makes of a value, counted for its column. */
static void note_domain(const struct cell *cell, const struct domain_facts *facts)
{
    struct row_facts *total = cell->facts;

    for (unsigned i = 0; i < facts->cut; i++) {
        count_truncated(cell);
    }
    if (facts->replaced) {
        total->replaced_values++;
        if (total->columns) {
            total->columns[cell->member->column].replaced++;
        }
    }
}

static struct error *in_field(const struct cell *cell, struct error *err)
{
    return error_wrap(err, "field \"%.*s\"", SPAN_FMT(cell->member->spec.field));
}

/* What stands in the block from start on, against what COPY takes for the column. */
static struct error *fit_value(const struct cell *cell, size_t start)
{
    struct domain_facts facts = {.cut = 0};

    RETURN_IF_ERROR(
        in_field(cell, domain_fit(&cell->member->spec.domain, cell->out, start, &facts)));
    note_domain(cell, &facts);
    return NULL;
}

/* ---------------------------------------------------------------- large documents */

/*
 * A large document has its size from a few objects or arrays, and these are mostly columns, too. So
 * the document is looked at before anything is written. A value that is the same bytes as one of
 * its parts then needs no look of its own, and where the two stand is told to the compressor.
 *
 * A document that is changed on its way into the line is not worth it: one with escapes of
 * characters or with white space.
 */
#define LARGE_BYTES (2 * JSON_PART_BYTES)

struct whole {
    struct span text;
    struct json_parts parts;
    struct domain_facts facts;
    bool is_as_is;                 /* what is here is known, and the line has it unchanged */
    size_t line_start, text_start; /* in the block */
    struct copy {
        size_t at;        /* in the block */
        struct span part; /* NULL: of no column yet */
    } copies[JSON_MAX_PARTS];
    unsigned copy_count;
};

static bool is_part(const struct whole *whole, struct span value, struct span *ret_part)
{
    for (unsigned i = 0; i < whole->parts.count; i++) {
        const struct span part = whole->parts.items[i];
        if (part.len == value.len && memcmp(part.ptr, value.ptr, part.len) == 0) {
            *ret_part = part;
            return true;
        }
    }
    return false;
}

/* Parts lie within parts, and two columns may have the same one. */
static bool is_taken(const struct whole *whole, struct span part)
{
    for (unsigned i = 0; i < whole->copy_count; i++) {
        const struct span taken = whole->copies[i].part;
        if (part.ptr < taken.ptr + taken.len && taken.ptr < part.ptr + part.len) {
            return true;
        }
    }
    return false;
}

/* *ret_is_known: it was written. */
static struct error *
put_part(const struct cell *cell, const struct value *value, bool *ret_is_known)
{
    struct whole *whole = cell->whole;
    struct span part;

    *ret_is_known = whole && value->kind == VALUE_JSON && value->text.len >= JSON_PART_BYTES &&
                    whole->facts.cut == 0 && cell->member->spec.domain.holds == RS_HOLDS_SUPER &&
                    is_part(whole, value->text, &part);
    if (!*ret_is_known) {
        return NULL;
    }
    if (!is_taken(whole, part) && whole->copy_count < JSON_MAX_PARTS) {
        whole->copies[whole->copy_count++] = (struct copy){cell->out->len, part};
    }
    return put_span(cell, value->text);
}

static struct error *put_whole(const struct cell *cell)
{
    struct whole *whole = cell->whole;

    whole->text_start = cell->out->len;
    note_domain(cell, &whole->facts);
    return put_span(cell, whole->text);
}

static void note_repeats(const struct whole *whole, struct stage_repeats *repeats)
{
    for (unsigned i = 0; i < whole->copy_count; i++) {
        const struct copy *copy = &whole->copies[i];
        size_t one = copy->at - whole->line_start;
        size_t other =
            whole->text_start - whole->line_start + (size_t)(copy->part.ptr - whole->text.ptr);
        repeats->items[repeats->count++] = (struct stage_repeat){
            one < other ? one : other, one < other ? other : one, copy->part.len};
    }
}

/* ---------------------------------------------------------------- all members */

/* must_fit: also against the column's domain. */
static struct error *put_member(const struct cell *cell,
                                const struct value *keys,
                                const struct value *values,
                                struct span doc_json,
                                bool *ret_must_fit)
{
    const struct member *member = cell->member;
    bool is_known = false;

    *ret_must_fit = member->must_fit;
    switch (member->source) {
    case SOURCE_KEY:
        return put_key(cell, &keys[member->index]);
    case SOURCE_VALUE:
        RETURN_IF_ERROR(put_part(cell, &values[member->index], &is_known));
        if (!is_known) {
            return put_value(cell, &values[member->index]);
        }
        break;
    case SOURCE_DOCUMENT:
        if (!cell->whole) {
            return put_document(cell, doc_json);
        }
        RETURN_IF_ERROR(put_whole(cell));
        break;
    }
    *ret_must_fit = false;
    return NULL;
}

static struct error *put_members(const struct row_format *format,
                                 const struct value *keys,
                                 const struct value *values,
                                 struct span doc_json,
                                 struct cell *cell)
{
    for (unsigned i = 0; i < format->count; i++) {
        bool must_fit;
        cell->member = &format->members[i];
        RETURN_IF_ERROR(put_span(cell, cell->member->prefix));
        size_t start = cell->out->len;
        RETURN_IF_ERROR(put_member(cell, keys, values, doc_json, &must_fit));
        if (must_fit) {
            RETURN_IF_ERROR(fit_value(cell, start));
        }
    }
    return put_span(cell, format->end);
}

static struct error *put_large(const struct row_format *format,
                               const struct value *keys,
                               const struct value *values,
                               struct span doc_json,
                               const struct cell *line)
{
    struct whole whole = {.text = doc_json, .line_start = line->out->len};
    struct cell cell = *line;

    cell.member = format->document;
    RETURN_IF_ERROR(
        in_field(&cell, domain_look(doc_json, &whole.facts, &whole.parts, &whole.is_as_is)));
    cell.whole = whole.is_as_is ? &whole : NULL;
    RETURN_IF_ERROR(put_members(format, keys, values, doc_json, &cell));
    note_repeats(&whole, &cell.facts->repeats);
    return NULL;
}

struct error *row_encode(const struct row_format *format,
                         const struct value *keys,
                         const struct value *values,
                         struct span doc_json,
                         struct buf *out,
                         struct row_facts *facts)
{
    size_t start = out->len;
    bool was_full = out->full;
    struct cell cell = {.out = out, .facts = facts};
    bool is_large =
        format->document && doc_json.len >= LARGE_BYTES && doc_json.len <= ROW_MAX_OBJECT;

    facts->repeats.count = 0;
    struct error *err = is_large ? put_large(format, keys, values, doc_json, &cell)
                                 : put_members(format, keys, values, doc_json, &cell);

    if (!err) {
        err = check_size(out->data + start, out->len - start);
    }
    if (err) {
        facts->repeats.count = 0;
        out->len = start;
        out->full = was_full;
        if (out->cap) {
            out->data[start] = '\0';
        }
        return err;
    }
    out->data[out->len] = '\0';
    facts->rows++;
    return NULL;
}
