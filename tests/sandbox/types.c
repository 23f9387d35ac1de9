/*
 * Column types: the words Redshift knows, their bounds, and what PostgreSQL is told instead. Also
 * the statement that makes the domain for a length. Pure.
 */
#include "sandbox/types.h"

#include "sandbox/rewrite.h"

#include <stdlib.h>
#include <string.h>

void type_creation_sql(const struct type *type, struct bytes *out)
{
    const char *name = type->sql;

    switch (type->kind) {
    case TYPE_VARCHAR:
        bytes_printf(out,
                     "DO 'BEGIN CREATE DOMAIN %s AS bpchar CHECK (octet_length(VALUE) <= %d); "
                     "EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END'",
                     name, type->length);
        break;
    case TYPE_CHAR:
        bytes_printf(out,
                     "DO 'BEGIN CREATE DOMAIN %s AS bpchar(%d) CHECK (octet_length(VALUE) = %d); "
                     "EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END'",
                     name, type->length, type->length);
        break;
    case TYPE_VARBYTE:
        bytes_printf(out,
                     "DO 'BEGIN CREATE DOMAIN %s AS varbyte "
                     "CHECK (redshift_sys.octet_length(VALUE) <= %d); "
                     "EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END'",
                     name, type->length);
        break;
    case TYPE_PLAIN:
    case TYPE_SUPER:
        break;
    }
}

/* ------------------------------------------------------------------------------- reading */

struct word_type {
    const char *word;
    enum type_kind kind;
    const char *sql; /* PLAIN: PostgreSQL's name */
};

static const struct word_type word_types[] = {
    {"smallint", TYPE_PLAIN, "smallint"},
    {"int2", TYPE_PLAIN, "smallint"},
    {"integer", TYPE_PLAIN, "integer"},
    {"int", TYPE_PLAIN, "integer"},
    {"int4", TYPE_PLAIN, "integer"},
    {"bigint", TYPE_PLAIN, "bigint"},
    {"int8", TYPE_PLAIN, "bigint"},
    {"real", TYPE_PLAIN, "real"},
    {"float4", TYPE_PLAIN, "real"},
    {"float", TYPE_PLAIN, "double precision"},
    {"float8", TYPE_PLAIN, "double precision"},
    {"boolean", TYPE_PLAIN, "boolean"},
    {"bool", TYPE_PLAIN, "boolean"},
    {"date", TYPE_PLAIN, "date"},
    {"timetz", TYPE_PLAIN, "time with time zone"},
    {"timestamptz", TYPE_PLAIN, "timestamp with time zone"},
    {"super", TYPE_SUPER, "super"},
    {"text", TYPE_VARCHAR, NULL},
    {"varchar", TYPE_VARCHAR, NULL},
    {"nvarchar", TYPE_VARCHAR, NULL},
    {"varbyte", TYPE_VARBYTE, NULL},
    {"varbinary", TYPE_VARBYTE, NULL},
    {"bpchar", TYPE_CHAR, NULL},
};

static bool read_count(struct rewriter *w, long *ret)
{
    const struct token *token = rewrite_peek(w, 0);
    char digits[16];

    if (token == NULL || token->kind != TOKEN_NUMBER || token->size >= sizeof digits) {
        return rewrite_refuse_here(w);
    }
    memcpy(digits, token->at, token->size);
    digits[token->size] = '\0';
    char *end;
    *ret = strtol(digits, &end, 10);
    if (*end != '\0') {
        return rewrite_refuse_here(w);
    }
    w->at++;
    return true;
}

/* [(n)] or [(MAX)] behind a type with a length. */
static bool read_length(struct rewriter *w, const char *name, long standard, long max, long *ret)
{
    *ret = standard;
    if (!rewrite_take_mark(w, '(')) {
        return true;
    }
    if (rewrite_take_word(w, "max")) {
        *ret = max;
    } else if (!read_count(w, ret)) {
        return false;
    }
    if (*ret < 1) {
        return rewrite_refuse(w, "22023", "length for type %s must be at least 1", name);
    }
    if (*ret > max) {
        return rewrite_refuse(w, "22023", "length for type %s cannot exceed %ld", name, max);
    }
    return rewrite_expect_mark(w, ')');
}

static bool finish_length(struct rewriter *w, struct type *type)
{
    static const struct {
        const char *name;
        long standard, max;
    } bounds[] = {
        [TYPE_VARCHAR] = {"varchar", VARCHAR_DEFAULT, VARCHAR_MAX},
        [TYPE_CHAR] = {"char", 1, CHAR_MAX_LENGTH},
        [TYPE_VARBYTE] = {"varbyte", VARBYTE_DEFAULT, VARBYTE_MAX},
    };
    long length;
    const char *name = bounds[type->kind].name;

    if (!read_length(w, name, bounds[type->kind].standard, bounds[type->kind].max, &length)) {
        return false;
    }
    type->length = (int)length;
    text_format(type->sql, sizeof type->sql, "redshift_sys.%s_%d", name, type->length);
    return true;
}

static bool finish_numeric(struct rewriter *w, struct type *type)
{
    long precision = 18;
    long scale = 0;

    if (rewrite_take_mark(w, '(')) {
        if (!read_count(w, &precision) || (rewrite_take_mark(w, ',') && !read_count(w, &scale)) ||
            !rewrite_expect_mark(w, ')')) {
            return false;
        }
    }
    if (precision < 1 || precision > 38) {
        return rewrite_refuse(w, "22023", "DECIMAL precision %ld must be between 1 and 38",
                              precision);
    }
    if (scale > precision || scale > 37) {
        return rewrite_refuse(w, "22023", "DECIMAL scale %ld must be between 0 and precision %ld",
                              scale, precision);
    }
    type->kind = TYPE_PLAIN;
    text_format(type->sql, sizeof type->sql, "numeric(%ld,%ld)", precision, scale);
    return true;
}

/* TIME and TIMESTAMP [WITH | WITHOUT TIME ZONE]; a precision is not in the grammar. */
static bool finish_time(struct rewriter *w, struct type *type, const char *word)
{
    const char *zone = "without";

    if ((rewrite_is_word(w, 0, "with") || rewrite_is_word(w, 0, "without")) &&
        rewrite_is_word(w, 1, "time") && rewrite_is_word(w, 2, "zone")) {
        zone = rewrite_is_word(w, 0, "with") ? "with" : "without";
        w->at += 3;
    }
    type->kind = TYPE_PLAIN;
    text_format(type->sql, sizeof type->sql, "%s %s time zone", word, zone);
    return true;
}

static bool refuse_type(struct rewriter *w, const char *word)
{
    return rewrite_refuse(w, "42704", "type \"%.80s\" does not exist", word);
}

static bool read_word_type(struct rewriter *w, struct type *type, const char *word, bool for_column)
{
    if (strcmp(word, "decimal") == 0 || strcmp(word, "numeric") == 0) {
        return finish_numeric(w, type);
    }
    if (strcmp(word, "time") == 0 || strcmp(word, "timestamp") == 0) {
        return finish_time(w, type, word);
    }
    if (strcmp(word, "double") == 0) {
        type->kind = TYPE_PLAIN;
        text_format(type->sql, sizeof type->sql, "double precision");
        return rewrite_expect_word(w, "precision");
    }
    if (strcmp(word, "char") == 0 || strcmp(word, "character") == 0 || strcmp(word, "nchar") == 0) {
        type->kind = rewrite_take_word(w, "varying") ? TYPE_VARCHAR : TYPE_CHAR;
        return finish_length(w, type);
    }
    if (strcmp(word, "binary") == 0 && rewrite_take_word(w, "varying")) {
        type->kind = TYPE_VARBYTE;
        return finish_length(w, type);
    }
    if (strcmp(word, "interval") == 0 && !for_column) {
        text_format(type->sql, sizeof type->sql, "interval");
        return true;
    }
    for (size_t i = 0; i < sizeof word_types / sizeof word_types[0]; i++) {
        const struct word_type *known = &word_types[i];
        if (strcmp(word, known->word) != 0) {
            continue;
        }
        type->kind = known->kind;
        if (known->sql != NULL) {
            text_format(type->sql, sizeof type->sql, "%s", known->sql);
            return true;
        }
        if (strcmp(word, "bpchar") == 0) {
            type->length = BPCHAR_DEFAULT;
            text_format(type->sql, sizeof type->sql, "redshift_sys.char_%d", type->length);
            return true;
        }
        return finish_length(w, type);
    }
    return refuse_type(w, word);
}

bool rewrite_read_type(struct rewriter *w, struct type *type, bool for_column)
{
    const struct token *token = rewrite_peek(w, 0);

    memset(type, 0, sizeof *type);
    if (token == NULL) {
        return rewrite_refuse_here(w);
    }
    if (token->kind == TOKEN_QUOTED) {
        return refuse_type(w, token->name);
    }
    if (token->kind != TOKEN_WORD) {
        return rewrite_refuse_here(w);
    }
    w->at++;
    if (!read_word_type(w, type, token->name, for_column)) {
        return false;
    }
    if (rewrite_is_mark(w, 0, '(')) {
        return rewrite_refuse_here(w);
    }
    if (rewrite_is_mark(w, 0, '[') || rewrite_is_word(w, 0, "array")) {
        return rewrite_refuse(w, "0A000", "array types are not supported");
    }
    return true;
}
