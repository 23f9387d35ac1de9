/*
 * redshift/type: which column a field becomes. Comes in: what Flow infers about the field and what
 * the user configured for it; goes out: the column's type for SQL, the converter for staged rows,
 * and whether an existing column will do or can be turned into the type. It never knows tables.
 *
 * Everything is in the tables below: a new type is a row in mappings, a new migration a row in
 * migrations, what a column takes a row in domain_rows.
 */

#include "redshift/type.h"

#include "base/check.h"
#include "json/read.h"

#include <string.h>
#include <strings.h>

#define VARBYTE_DDL "VARBYTE(1024000)"
#define NUMERIC_DDL "NUMERIC(38,0)"

/* NUMERIC(38,0) holds 38 digits. */
#define NUMERIC_DIGITS 38

/* 2^63, exact as a double. Bounds arrive as doubles, so BIGINT's own maximum is rounded up to it
 * and must still pass. */
#define BIGINT_BOUND 9223372036854775808.0

enum condition {
    ALWAYS,
    WIDE_INTEGER,  /* its bounds do not fit BIGINT */
    LONG_DIGITS,   /* a string of more digits than NUMERIC has */
    NATIVE_BINARY, /* flag native_binary_column_type */
    IS_DATE,       /* by format, unless it is a key and these are strings */
    IS_DATE_TIME,
    IS_FLOW_BYTES /* what Flow's own connectors kept in their metadata tables */
};

struct mapping {
    enum rs_flat flat;
    enum condition condition;
    const char *ddl;
    enum rs_converter converter;
    const char *existing[2]; /* beside ddl itself: names of it in information_schema */
};

/* The first row that fits counts. */
static const struct mapping mappings[] = {
    {RS_FLAT_INTEGER, WIDE_INTEGER, NUMERIC_DDL, RS_AS_IS, {"numeric"}},
    {RS_FLAT_INTEGER, ALWAYS, "BIGINT", RS_AS_IS, {NULL}},
    {RS_FLAT_NUMBER, ALWAYS, "DOUBLE PRECISION", RS_AS_IS, {NULL}},
    {RS_FLAT_BOOLEAN, ALWAYS, "BOOLEAN", RS_AS_IS, {NULL}},
    {RS_FLAT_OBJECT, ALWAYS, "SUPER", RS_JSON, {NULL}},
    {RS_FLAT_ARRAY, ALWAYS, "SUPER", RS_JSON, {NULL}},
    {RS_FLAT_MULTIPLE, ALWAYS, "SUPER", RS_JSON, {NULL}},
    {RS_FLAT_BINARY, NATIVE_BINARY, VARBYTE_DDL, RS_HEX, {"varbyte", "binary varying"}},
    {RS_FLAT_BINARY, ALWAYS, "TEXT", RS_AS_IS, {"character varying"}},
    {RS_FLAT_STRING_INTEGER, LONG_DIGITS, "TEXT", RS_TO_STRING, {"character varying"}},
    {RS_FLAT_STRING_INTEGER, ALWAYS, NUMERIC_DDL, RS_STR_TO_INT, {"numeric"}},
    {RS_FLAT_STRING_NUMBER, ALWAYS, "DOUBLE PRECISION", RS_STR_TO_FLOAT, {NULL}},
    {RS_FLAT_STRING, IS_DATE, "DATE", RS_DATE, {NULL}},
    {RS_FLAT_STRING, IS_DATE_TIME, "TIMESTAMPTZ", RS_TIMESTAMP, {"timestamp with time zone"}},
    {RS_FLAT_STRING, IS_FLOW_BYTES, VARBYTE_DDL, RS_AS_IS, {NULL}},
    {RS_FLAT_STRING, ALWAYS, "TEXT", RS_TEXT, {"character varying"}},
};

/* How an existing column of a type becomes another: before, the column, after. The first row that
 * fits counts, so the wildcard is last. Dates have no direct cast to SUPER; JSON_SERIALIZE gives
 * the text of objects and arrays, for which a cast would give NULL. */
#define UTC_TEXT_AFTER " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
static const struct migration {
    const char *from, *to, *before, *after;
} migrations[] = {
    {"numeric", "DOUBLE PRECISION", "CAST(", " AS DOUBLE PRECISION)"},
    {"numeric", "TEXT", "CAST(", " AS TEXT)"},
    {"bigint", "DOUBLE PRECISION", "CAST(", " AS DOUBLE PRECISION)"},
    {"bigint", NUMERIC_DDL, "CAST(", " AS " NUMERIC_DDL ")"},
    {"bigint", "TEXT", "CAST(", " AS TEXT)"},
    {"double precision", "TEXT", "CAST(", " AS TEXT)"},
    {"date", "TEXT", "CAST(", " AS TEXT)"},
    {"time without time zone", "TEXT", "CAST(", " AS TEXT)"},
    {"timestamp with time zone", "TEXT", "to_char(", UTC_TEXT_AFTER},
    {"timestamp with time zone", "SUPER", "CAST(to_char(", UTC_TEXT_AFTER " as SUPER)"},
    {"character varying", VARBYTE_DDL, "TO_VARBYTE(", ", 'base64')"},
    {"binary varying", "TEXT", "FROM_VARBYTE(", ", 'base64')"},
    {"binary varying", "SUPER", "CAST(FROM_VARBYTE(", ", 'base64') AS SUPER)"},
    {"super", "TEXT", "JSON_SERIALIZE(", ")"},
    {"*", "SUPER", "CAST(", " as SUPER)"},
};

/* Names of types as they begin a column's definition. The size is what stands in parentheses, else
 * the one here; how a size is bounded, or that a type has none, is the server's affair. */
static const struct domain_row {
    const char *name;
    struct rs_domain domain;
    bool has_size; /* "(n)" or "(n,s)" may follow */
} domain_rows[] = {
    {"BIGINT", {RS_HOLDS_INTEGER, 64, 0}, false},
    {"INT8", {RS_HOLDS_INTEGER, 64, 0}, false},
    {"INTEGER", {RS_HOLDS_INTEGER, 32, 0}, false},
    {"INT4", {RS_HOLDS_INTEGER, 32, 0}, false},
    {"INT", {RS_HOLDS_INTEGER, 32, 0}, false},
    {"SMALLINT", {RS_HOLDS_INTEGER, 16, 0}, false},
    {"INT2", {RS_HOLDS_INTEGER, 16, 0}, false},
    {"NUMERIC", {RS_HOLDS_NUMERIC, 18, 0}, true},
    {"DECIMAL", {RS_HOLDS_NUMERIC, 18, 0}, true},
    {"DOUBLE PRECISION", {RS_HOLDS_DOUBLE, 0, 0}, false},
    {"FLOAT8", {RS_HOLDS_DOUBLE, 0, 0}, false},
    {"FLOAT4", {RS_HOLDS_REAL, 0, 0}, false},
    {"FLOAT", {RS_HOLDS_DOUBLE, 0, 0}, false},
    {"REAL", {RS_HOLDS_REAL, 0, 0}, false},
    {"BOOLEAN", {RS_HOLDS_BOOLEAN, 0, 0}, false},
    {"BOOL", {RS_HOLDS_BOOLEAN, 0, 0}, false},
    {"CHARACTER VARYING", {RS_HOLDS_VARCHAR, 256, 0}, true},
    {"NCHAR", {RS_HOLDS_CHAR, 1, 0}, true},
    {"CHARACTER", {RS_HOLDS_CHAR, 1, 0}, true},
    {"CHAR", {RS_HOLDS_CHAR, 1, 0}, true},
    {"NVARCHAR", {RS_HOLDS_VARCHAR, 256, 0}, true},
    {"VARCHAR", {RS_HOLDS_VARCHAR, 256, 0}, true},
    {"DATE", {RS_HOLDS_DATE, 0, 0}, false},
    {"TIMESTAMPTZ", {RS_HOLDS_TIMESTAMP, 0, 0}, false},
    {"TIMESTAMP", {RS_HOLDS_TIMESTAMP, 0, 0}, false},
    {"SUPER", {RS_HOLDS_SUPER, 0, 0}, false},
    {"VARBYTE", {RS_HOLDS_VARBYTE, 64000, 0}, true},
    {"VARBINARY", {RS_HOLDS_VARBYTE, 64000, 0}, true},
    {"BINARY VARYING", {RS_HOLDS_VARBYTE, 64000, 0}, true},
};

static struct error *
read_options(const struct rs_field *field, struct span json, bool *ret_cast, char **ret_ddl);
static enum rs_flat flatten(const struct rs_field *field, bool as_key);
static enum rs_flat flatten_string(const struct rs_field *field);
static const struct mapping *find_mapping(enum rs_flat flat,
                                          const struct rs_field *field,
                                          bool as_key,
                                          const struct rs_type_flags *flags);
static bool is_met(enum condition condition,
                   const struct rs_field *field,
                   bool as_key,
                   const struct rs_type_flags *flags);
static const struct migration *find_migration(const struct rs_type *type, struct span data_type);
static bool is_like(struct span a, const char *b);

/* ---------------------------------------------------------------- field to type */

struct error *rs_type_map(struct arena *arena,
                          const struct rs_field *field,
                          bool as_key,
                          struct span options_json,
                          const struct rs_type_flags *flags,
                          struct rs_type *ret)
{
    bool cast_to_string = false;
    char *user_ddl = NULL;

    memset(ret, 0, sizeof(*ret));
    RETURN_IF_ERROR(read_options(field, options_json, &cast_to_string, &user_ddl));

    ret->flat = flatten(field, as_key);
    ret->ddl = SPAN_LIT("");
    if (ret->flat != RS_FLAT_NEVER) {
        const struct mapping *mapping = find_mapping(ret->flat, field, as_key, flags);
        ret->ddl = span_of(mapping->ddl);
        ret->converter = mapping->converter;
        if (cast_to_string) {
            ret->ddl = SPAN_LIT("TEXT");
            ret->converter = RS_TO_STRING;
        }
        if (user_ddl) {
            ret->ddl = arena_span(arena, span_of(user_ddl));
            ret->is_user_ddl = true;
        }
        ret->is_text = is_like(ret->ddl, "TEXT");
    }
    mem_free(user_ddl);
    return NULL;
}

/* *ret_ddl is owned by the caller, NULL when none is given. */
static struct error *
read_options(const struct rs_field *field, struct span json, bool *ret_cast, char **ret_ddl)
{
    struct json_doc *doc = NULL;

    if (json.len == 0 || span_is(json, "null")) {
        return NULL;
    }
    struct error *err = json_doc_read(json, "field configuration", &doc);
    if (!err) {
        struct json_object *object = json_doc_object(doc);
        bool cast = json_get_bool(object, "castToString");
        bool ignore_format = json_get_bool(object, "ignoreStringFormat"); /* the older name */
        const char *ddl = json_get_string(object, "DDL");
        *ret_cast = cast || ignore_format;
        if (ddl && ddl[0]) {
            *ret_ddl = mem_strdup(ddl);
        }
        err = json_doc_check(doc);
    }
    json_doc_free(doc);
    if (err) {
        mem_free(*ret_ddl);
        *ret_ddl = NULL;
        error_set_class(err, ERROR_CONFIG);
        return error_wrap(err, "configuration of field \"%.*s\"", SPAN_FMT(field->name));
    }
    return NULL;
}

static enum rs_flat flatten(const struct rs_field *field, bool as_key)
{
    unsigned types = field->types & ~(unsigned)RS_JSON_NULL;

    /* Values keep numbers that come as strings as numbers; keys must stay what they are, since two
     * spellings of one number are two keys. */
    if (!as_key && field->has_string) {
        if (span_is(field->format, "integer") &&
            !(types & ~(unsigned)(RS_JSON_INTEGER | RS_JSON_STRING))) {
            return RS_FLAT_STRING_INTEGER;
        }
        if (span_is(field->format, "number") &&
            !(types & ~(unsigned)(RS_JSON_NUMBER | RS_JSON_STRING))) {
            return RS_FLAT_STRING_NUMBER;
        }
    }
    switch (types) {
    case 0:
        return RS_FLAT_NEVER;
    case RS_JSON_BOOLEAN:
        return RS_FLAT_BOOLEAN;
    case RS_JSON_INTEGER:
        return RS_FLAT_INTEGER;
    case RS_JSON_NUMBER:
        return RS_FLAT_NUMBER;
    case RS_JSON_STRING:
        return flatten_string(field);
    case RS_JSON_ARRAY:
        return RS_FLAT_ARRAY;
    case RS_JSON_OBJECT:
        return RS_FLAT_OBJECT;
    default:
        return RS_FLAT_MULTIPLE;
    }
}

static enum rs_flat flatten_string(const struct rs_field *field)
{
    if (span_is(field->content_encoding, "base64") &&
        (field->content_type.len == 0 ||
         span_is(field->content_type, "application/octet-stream"))) {
        return RS_FLAT_BINARY;
    }
    return RS_FLAT_STRING;
}

static const struct mapping *find_mapping(enum rs_flat flat,
                                          const struct rs_field *field,
                                          bool as_key,
                                          const struct rs_type_flags *flags)
{
    for (size_t i = 0; i < ARRAY_LEN(mappings); i++) {
        if (mappings[i].flat == flat && is_met(mappings[i].condition, field, as_key, flags)) {
            return &mappings[i];
        }
    }
    CHECK(false); /* each flat type has an unconditional row */
    return NULL;
}

static bool is_met(enum condition condition,
                   const struct rs_field *field,
                   bool as_key,
                   const struct rs_type_flags *flags)
{
    bool as_text = as_key && flags->datetime_keys_as_string;

    switch (condition) {
    case ALWAYS:
        return true;
    case WIDE_INTEGER:
        return (field->has_minimum && field->minimum < -BIGINT_BOUND) ||
               (field->has_maximum && field->maximum > BIGINT_BOUND);
    case LONG_DIGITS:
        return field->max_length > NUMERIC_DIGITS;
    case NATIVE_BINARY:
        return flags->native_binary_column_type;
    case IS_DATE:
        return !as_text && span_is(field->format, "date");
    case IS_DATE_TIME:
        return !as_text && span_is(field->format, "date-time");
    case IS_FLOW_BYTES:
        return !span_is(field->format, "date") && !span_is(field->format, "date-time") &&
               (span_is(field->content_type,
                        "application/x-protobuf; proto=flow.MaterializationSpec") ||
                span_is(field->content_type, "application/x-protobuf; proto=consumer.Checkpoint"));
    }
    CHECK(false);
    return false;
}

/* ---------------------------------------------------------------- existing columns */

bool rs_type_is_compatible(const struct rs_type *type, struct span data_type)
{
    if (type->is_user_ddl) {
        return true;
    }
    if (type->flat == RS_FLAT_NEVER) {
        return false;
    }
    if (is_like(data_type, "character varying") && span_is(type->ddl, "TEXT")) {
        return true; /* also what castToString made of other types */
    }
    for (size_t i = 0; i < ARRAY_LEN(mappings); i++) {
        const struct mapping *mapping = &mappings[i];
        if (mapping->flat != type->flat || !span_is(type->ddl, mapping->ddl)) {
            continue;
        }
        for (size_t k = 0; k < ARRAY_LEN(mapping->existing); k++) {
            if (mapping->existing[k] && is_like(data_type, mapping->existing[k])) {
                return true;
            }
        }
    }
    return data_type.len == type->ddl.len && data_type.len > 0 &&
           strncasecmp(data_type.ptr, type->ddl.ptr, data_type.len) == 0;
}

bool rs_type_add_migration(struct buf *out,
                           const struct rs_type *type,
                           struct span data_type,
                           struct span column)
{
    const struct migration *migration = find_migration(type, data_type);

    if (!migration) {
        return false;
    }
    buf_add_str(out, migration->before);
    buf_add_span(out, column);
    buf_add_str(out, migration->after);
    return true;
}

bool rs_type_can_migrate(const struct rs_type *type, struct span data_type)
{
    return find_migration(type, data_type) != NULL;
}

static const struct migration *find_migration(const struct rs_type *type, struct span data_type)
{
    if (type->is_user_ddl || type->flat == RS_FLAT_NEVER) {
        return NULL;
    }
    for (size_t i = 0; i < ARRAY_LEN(migrations); i++) {
        const struct migration *row = &migrations[i];
        if (is_like(type->ddl, row->to) &&
            (strcmp(row->from, "*") == 0 || is_like(data_type, row->from))) {
            return row;
        }
    }
    return NULL;
}

/* ---------------------------------------------------------------- what a column takes */

#define MAX_TEXT 65535 /* VARCHAR(MAX), and what a TEXT is widened to */

/* "(n)" or "(n,s)", with blanks anywhere; false when it is neither. */
static bool read_size(struct span text, struct rs_domain *domain)
{
    uint64_t numbers[2] = {0, 0};
    unsigned count = 0;
    bool has_digit = false, has_max = false;

    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c >= '0' && c <= '9') {
            has_digit = true;
            numbers[count] = numbers[count] * 10 + (uint64_t)(c - '0');
            if (numbers[count] > UINT32_MAX) {
                return false;
            }
        } else if (c == ',' && count == 0 && has_digit) {
            count = 1;
        } else if (text.len - i >= 3 && strncasecmp(text.ptr + i, "MAX", 3) == 0 && !has_digit) {
            has_max = true;
            i += 2;
        } else if (c == ')') {
            domain->size = has_max ? MAX_TEXT : (uint32_t)numbers[0];
            domain->scale = (uint32_t)numbers[1];
            return (has_digit || has_max) && domain->scale <= domain->size;
        } else if (c != ' ') {
            return false;
        }
    }
    return false;
}

static bool ends_word(struct span text, size_t at)
{
    return at == text.len || text.ptr[at] == ' ' || text.ptr[at] == '(';
}

struct rs_domain rs_type_domain(const struct rs_type *type)
{
    static const struct rs_domain anything = {RS_HOLDS_ANYTHING, 0, 0};
    struct span ddl = type->ddl;

    if (type->is_text) {
        return (struct rs_domain){RS_HOLDS_VARCHAR, MAX_TEXT, 0};
    }
    for (size_t i = 0; i < ARRAY_LEN(domain_rows); i++) {
        const struct domain_row *row = &domain_rows[i];
        size_t len = strlen(row->name);
        if (ddl.len < len || strncasecmp(ddl.ptr, row->name, len) != 0 || !ends_word(ddl, len)) {
            continue;
        }
        struct rs_domain domain = row->domain;
        while (len < ddl.len && ddl.ptr[len] == ' ') {
            len++;
        }
        if (len == ddl.len || ddl.ptr[len] != '(') {
            /* "CHARACTER VARYING", "TIMESTAMP WITH TIME ZONE", "BIGINT NOT NULL" */
            return domain;
        }
        len++;
        return row->has_size && read_size((struct span){ddl.ptr + len, ddl.len - len}, &domain)
                   ? domain
                   : anything;
    }
    return anything;
}

static bool is_like(struct span a, const char *b)
{
    size_t len = strlen(b);

    return a.len == len && (len == 0 || strncasecmp(a.ptr, b, len) == 0);
}
