#ifndef STAGE_ROW_H
#define STAGE_ROW_H

/*
 * Values to one staged line: a JSON object per row, members in byte order of their names, names as
 * Flow's fields, SQL NULL as an explicit null, a newline at the end. Pure, and the hottest code of
 * the house: no allocation, one pass over each value.
 *
 * Keys are written by the same code in the load phase and in the store phase, so that the text of
 * the same key is the same bytes.
 */

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/value.h"
#include "redshift/type.h"
#include "stage/repeat.h"

/* Limits of Redshift (COPY from JSON; Character types), in bytes. */
#define ROW_MAX_TEXT 65535
#define ROW_MAX_OBJECT ((size_t)4 * 1024 * 1024)

struct row_column {
    struct span field; /* Flow's name */
    enum rs_converter converter;
    bool is_text; /* a VARCHAR column whose actual width is text_width */
    bool is_key;
    uint32_t text_width;     /* bytes; longer values ask for widening */
    struct rs_domain domain; /* what COPY takes for the column */
};

enum row_kind {
    ROW_KEYS, /* key columns only: lookups and deletes */
    ROW_FULL  /* keys, values and, if the binding has one, the document */
};

struct row_format;

/* columns: keys, then values, then the document if there is one (as in rs_table). Lives in the
 * arena. */
struct row_format *row_format_new(struct arena *arena,
                                  const struct row_column *columns,
                                  unsigned key_count,
                                  unsigned value_count,
                                  bool has_document,
                                  enum row_kind kind);

/* What writing rows taught us; the owner zeroes it and keeps it per binding and transaction. */
struct row_facts {
    uint64_t rows;
    uint32_t longest_key_text; /* bytes of the longest string key */
    uint64_t truncated_values; /* strings cut at ROW_MAX_TEXT, or by COPY at U+0000 */
    uint64_t replaced_values;  /* JSON in which U+0000 or half a surrogate pair became U+FFFD */
    uint64_t *widen;           /* bitmap by column index (as given to row_format_new), or NULL */
    struct row_column_facts {
        uint64_t truncated, replaced;
    } * columns;                  /* by column index, or NULL */
    struct stage_repeats repeats; /* of the last line; offsets from its beginning */
};

/* Appends one line to out, or nothing when it fails. keys, values and doc are borrowed. Errors are
 * ERROR_INPUT (CONFIG class) that name the field, the limit and the observed length, never the
 * value: a key text over ROW_MAX_TEXT or with U+0000 in it, a null or non-scalar key, a row over
 * ROW_MAX_OBJECT, a value that the converter cannot convert or that COPY would refuse for the
 * column's domain. */
struct error *row_encode(const struct row_format *format,
                         const struct value *keys,
                         const struct value *values,
                         struct span doc_json,
                         struct buf *out,
                         struct row_facts *facts) MUST_CHECK;

#endif
