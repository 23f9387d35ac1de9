#ifndef REDSHIFT_TYPE_H
#define REDSHIFT_TYPE_H

/*
 * From what Flow infers about a field to a Redshift column: its type, what an existing column may
 * be instead, and how its values are written into staged rows. Pure. One row of a table per type.
 */

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/span.h"

#include <stdint.h>

/* Bits, equal to enum proto_type: this room does not know the wire. */
enum rs_json_type {
    RS_JSON_NULL = 1,
    RS_JSON_BOOLEAN = 2,
    RS_JSON_INTEGER = 4,
    RS_JSON_NUMBER = 8,
    RS_JSON_STRING = 16,
    RS_JSON_ARRAY = 32,
    RS_JSON_OBJECT = 64
};

/* What Flow says about one field; spans live as long as the spec they come from. */
struct rs_field {
    struct span name; /* the field, as selected */
    struct span ptr;
    unsigned types;                /* bits */
    const struct span *type_names; /* as written, for comments */
    unsigned type_name_count;
    bool must_exist; /* exists == MUST and null is not among its types */
    bool is_explicit;
    bool is_root; /* the root document */
    struct span title, description;
    struct span default_json; /* ptr NULL: none */
    bool has_string;
    struct span format, content_type, content_encoding;
    uint32_t max_length;
    bool has_minimum, has_maximum;
    double minimum, maximum;
};

enum rs_flat {
    RS_FLAT_NEVER,
    RS_FLAT_INTEGER,
    RS_FLAT_NUMBER,
    RS_FLAT_BOOLEAN,
    RS_FLAT_OBJECT,
    RS_FLAT_ARRAY,
    RS_FLAT_BINARY,
    RS_FLAT_STRING,
    RS_FLAT_STRING_INTEGER,
    RS_FLAT_STRING_NUMBER,
    RS_FLAT_MULTIPLE
};

/* How a value becomes the staged JSON value. Implemented by stage/row.c. */
enum rs_converter {
    RS_AS_IS,        /* as it is */
    RS_TEXT,         /* a string; U+0000 treated, cut at 65,535 bytes unless a key */
    RS_JSON,         /* any value as its JSON */
    RS_HEX,          /* base64 text to hex: COPY reads VARBYTE from hex */
    RS_TO_STRING,    /* any scalar as text, numbers without exponent */
    RS_STR_TO_INT,   /* digits of a numeric string as an integer of any length */
    RS_STR_TO_FLOAT, /* a numeric string as a number; NaN and infinities as null */
    RS_DATE,
    RS_TIMESTAMP /* RFC 3339 cut to microseconds */
};

struct rs_type {
    enum rs_flat flat;
    struct span ddl; /* "BIGINT", "TEXT", "NUMERIC(38,0)", or the user's own */
    enum rs_converter converter;
    bool is_user_ddl;
    bool is_text; /* a VARCHAR that starts at 256 bytes and may be widened */
};

/* advanced.feature_flags that change types. */
struct rs_type_flags {
    bool datetime_keys_as_string;   /* default true */
    bool native_binary_column_type; /* default true */
};

/* options_json: the field's configuration object ({"castToString": true}, {"DDL": "..."}), or
 * empty. ERROR_CONFIG for an unknown key or a wrong type, naming field and key. An impossible field
 * (no type) maps to RS_FLAT_NEVER with an empty ddl. */
struct error *rs_type_map(struct arena *arena,
                          const struct rs_field *field,
                          bool as_key,
                          struct span options_json,
                          const struct rs_type_flags *flags,
                          struct rs_type *ret) MUST_CHECK;

/* What a column of a type takes from COPY. The names of types and their limits are those of the
 * Database Developer Guide ("Numeric types", "Character types", "Datetime types", "VARBYTE type");
 * where it leaves a limit open, or the type is none that a field becomes by itself, there is none.
 */
enum rs_holds {
    RS_HOLDS_ANYTHING, /* not known here: whatever comes */
    RS_HOLDS_INTEGER,
    RS_HOLDS_NUMERIC,
    RS_HOLDS_REAL,
    RS_HOLDS_DOUBLE,
    RS_HOLDS_BOOLEAN,
    RS_HOLDS_CHAR, /* ASCII */
    RS_HOLDS_VARCHAR,
    RS_HOLDS_DATE,
    RS_HOLDS_TIMESTAMP, /* with or without a zone */
    RS_HOLDS_SUPER,
    RS_HOLDS_VARBYTE
};
struct rs_domain {
    enum rs_holds holds;
    uint32_t size;  /* bits of an integer, digits of a NUMERIC, bytes of CHAR, VARCHAR, VARBYTE */
    uint32_t scale; /* of NUMERIC */
};
struct rs_domain rs_type_domain(const struct rs_type *type);

/* May an existing column of this information_schema data_type stay as it is? Any case. */
bool rs_type_is_compatible(const struct rs_type *type, struct span data_type);
/* The expression that turns an existing column (already quoted) into the type, appended to out;
 * false when there is none. */
bool rs_type_add_migration(struct buf *out,
                           const struct rs_type *type,
                           struct span data_type,
                           struct span column);
bool rs_type_can_migrate(const struct rs_type *type, struct span data_type);

#endif
