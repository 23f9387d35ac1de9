/*
 * redshift/dialect: names and texts as Redshift's parser wants them. Comes in: names and texts as
 * Flow has them; goes out: pieces of SQL to every other file of this room, and folded names for
 * looking things up. It never knows which statement the piece is for.
 */

#include "redshift/dialect.h"

#include "base/check.h"
#include "base/text.h"

#include <stdlib.h>

/* No name or text of ours is longer; a longer one would not fit into a statement (16 MB) either. */
#define TEXT_MAX_BYTES ((size_t)16 * 1024 * 1024)

/* Database Developer Guide, r_pg_keywords, and "queryid", which the page does not have and the
 * parser refuses all the same. The type names date, time, ... are not reserved on the page either;
 * quoting them costs nothing. Sorted by bytes. */
static const char *const reserved_words[] = {
    "aes128",
    "aes256",
    "all",
    "allowoverwrite",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "authorization",
    "az64",
    "backup",
    "between",
    "binary",
    "blanksasnull",
    "both",
    "bytedict",
    "bzip2",
    "case",
    "cast",
    "check",
    "collate",
    "column",
    "constraint",
    "create",
    "credentials",
    "cross",
    "current_date",
    "current_time",
    "current_timestamp",
    "current_user",
    "current_user_id",
    "date",
    "datetime",
    "default",
    "deferrable",
    "deflate",
    "defrag",
    "delta",
    "delta32k",
    "desc",
    "disable",
    "distinct",
    "do",
    "else",
    "emptyasnull",
    "enable",
    "encode",
    "encrypt",
    "encryption",
    "end",
    "except",
    "explicit",
    "false",
    "for",
    "foreign",
    "freeze",
    "from",
    "full",
    "globaldict256",
    "globaldict64k",
    "grant",
    "group",
    "gzip",
    "having",
    "identity",
    "ignore",
    "ilike",
    "in",
    "initially",
    "inner",
    "intersect",
    "interval",
    "into",
    "is",
    "isnull",
    "join",
    "language",
    "leading",
    "left",
    "like",
    "limit",
    "localtime",
    "localtimestamp",
    "lun",
    "luns",
    "lzo",
    "lzop",
    "minus",
    "mostly16",
    "mostly32",
    "mostly8",
    "natural",
    "new",
    "not",
    "notnull",
    "null",
    "nulls",
    "off",
    "offline",
    "offset",
    "oid",
    "old",
    "on",
    "only",
    "open",
    "or",
    "order",
    "outer",
    "overlaps",
    "parallel",
    "partition",
    "percent",
    "permissions",
    "pivot",
    "placing",
    "primary",
    "queryid",
    "raw",
    "readratio",
    "recover",
    "references",
    "rejectlog",
    "resort",
    "respect",
    "restore",
    "right",
    "select",
    "session_user",
    "similar",
    "snapshot",
    "some",
    "sysdate",
    "system",
    "table",
    "tag",
    "tdes",
    "text255",
    "text32k",
    "then",
    "time",
    "timestamp",
    "timestamptz",
    "timetz",
    "to",
    "top",
    "trailing",
    "true",
    "truncatecolumns",
    "union",
    "unique",
    "unnest",
    "unpivot",
    "user",
    "using",
    "verbose",
    "wallet",
    "when",
    "where",
    "with",
    "without",
};

#define LONGEST_RESERVED 17 /* current_timestamp */

static bool is_plain(struct span name);
static void add_doubled(struct buf *out, struct span text, char one, char other);
static int compare_word(const void *key, const void *word);

/* ---------------------------------------------------------------- identifiers and literals */

void rs_add_identifier(struct buf *out, struct span name)
{
    if (is_plain(name) && !rs_is_reserved(name)) {
        buf_add_span(out, name);
        return;
    }
    buf_add_byte(out, '"');
    add_doubled(out, name, '"', '"');
    buf_add_byte(out, '"');
}

void rs_add_path(struct buf *out, const struct span *path, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (i > 0) {
            buf_add_byte(out, '.');
        }
        rs_add_identifier(out, path[i]);
    }
}

/* The connector whose tables we take over doubles quotes only. Redshift has no
 * standard_conforming_strings: inside '...' a backslash begins an escape (its manual doubles it in
 * the examples for LIKE and CREATE USER), so a comment such as "a\b" loses a byte there, and a text
 * that ends with a backslash swallows the closing quote. E'...' is not used: whether the 8.0 parser
 * takes it is not documented. */
void rs_add_literal(struct buf *out, struct span text)
{
    buf_add_byte(out, '\'');
    add_doubled(out, text, '\'', '\\');
    buf_add_byte(out, '\'');
}

bool rs_is_reserved(struct span name)
{
    char lower[LONGEST_RESERVED + 1];

    if (name.len == 0 || name.len > LONGEST_RESERVED) {
        return false;
    }
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        lower[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
    }
    lower[name.len] = '\0';
    struct span key = {lower, name.len};
    return bsearch(&key, reserved_words, ARRAY_LEN(reserved_words), sizeof(reserved_words[0]),
                   compare_word) != NULL;
}

/* ---------------------------------------------------------------- folding */

void rs_fold(struct buf *out, struct span name, bool case_sensitive)
{
    if (case_sensitive) {
        buf_add(out, name.ptr, rs_truncate(name));
        return;
    }
    struct buf lower;
    buf_init(&lower, TEXT_MAX_BYTES);
    text_lower(&lower, name);
    CHECK(!buf_is_full(&lower));
    buf_add(out, lower.data, rs_truncate(buf_view(&lower)));
    buf_done(&lower);
}

size_t rs_truncate(struct span name)
{
    return text_utf8_cut(name, RS_MAX_IDENTIFIER);
}

/* ---------------------------------------------------------------- inner functions */

/* '_', lower-case letters of any script, and digits but not in front. */
static bool is_plain(struct span name)
{
    size_t at = 0;

    while (at < name.len) {
        uint32_t c;
        size_t len = text_decode((struct span){name.ptr + at, name.len - at}, &c);
        if (len == 0) {
            return false;
        }
        if (c != '_' && !text_is_lower_letter(c) && (at == 0 || !text_is_decimal_digit(c))) {
            return false;
        }
        at += len;
    }
    return name.len > 0;
}

/* A NUL would end the statement in the middle; it becomes U+FFFD. */
static void add_doubled(struct buf *out, struct span text, char one, char other)
{
    size_t from = 0;

    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c != one && c != other && c != '\0') {
            continue;
        }
        if (i > from) {
            buf_add(out, text.ptr + from, i - from);
        }
        if (c == '\0') {
            buf_add_str(out, "\xef\xbf\xbd");
        } else {
            buf_add_byte(out, c);
            buf_add_byte(out, c);
        }
        from = i + 1;
    }
    if (text.len > from) {
        buf_add(out, text.ptr + from, text.len - from);
    }
}

static int compare_word(const void *key, const void *word)
{
    return span_compare(*(const struct span *)key, span_of(*(const char *const *)word));
}
