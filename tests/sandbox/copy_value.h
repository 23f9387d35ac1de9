#ifndef SANDBOX_COPY_VALUE_H
#define SANDBOX_COPY_VALUE_H

#include "sandbox/copy_bytes.h"
#include "sandbox/copy_json.h"
#include "sandbox/copy_statement.h"

#include <stdbool.h>

enum column_type {
    COLUMN_SMALLINT,
    COLUMN_INTEGER,
    COLUMN_BIGINT,
    COLUMN_NUMERIC,
    COLUMN_REAL,
    COLUMN_DOUBLE,
    COLUMN_BOOLEAN,
    COLUMN_CHAR,
    COLUMN_VARCHAR,
    COLUMN_DATE,
    COLUMN_TIME,
    COLUMN_TIMESTAMP,
    COLUMN_TIMESTAMPTZ,
    COLUMN_SUPER,
    COLUMN_VARBYTE,
};

/* As sys_load_error_detail names the type. */
const char *column_type_name(enum column_type type);

struct copy_column {
    char *name;         /* the full Redshift name: what JSON keys are compared with */
    char *backend_name; /* PostgreSQL's name for it */
    enum column_type type;
    int length; /* CHAR, VARCHAR, VARBYTE: bytes */
    int precision, scale;
    bool not_null;
};

/* Why a value was not taken: a row of sys_load_error_detail in the making. */
struct copy_fault {
    int code;
    int position; /* of the byte within the value */
    char message[512];
};

/* Sets the fault and returns false. */
bool copy_fault_set(struct copy_fault *fault, int code, size_t position, const char *format, ...)
    __attribute__((__format__(__printf__, 4, 5)));

/* The rules of one COPY and scratch memory that is reused from value to value. */
struct copy_convert {
    const struct copy_statement *st;
    bool truncate_super_strings;
    /* Tries a date or time that is not of the ISO family as a CAST; may be NULL: then it is
     * refused. Appends the server's text for it. */
    bool (*cast)(void *ctx, enum column_type type, struct piece text, struct bytes *to);
    void *cast_ctx;
    struct copy_fault fault;
    struct bytes decoded, replaced, document;
    struct copy_keys {
        struct key_slot *slots;
        size_t slot_count, used;
        uint32_t generation, next_object;
    } keys; /* the keys of the objects of one SUPER value, to find duplicates */
};

void copy_convert_done(struct copy_convert *c);

/* Appends `value` as a field of COPY's text format for `column` (NULL as \N). False: `c->fault`
 * tells why, and `out` may hold half a field. */
bool copy_convert_value(struct copy_convert *c,
                        const struct copy_column *column,
                        const struct json_value *value,
                        struct bytes *out);

/* Appends `value` to `c->document` as compact JSON under the rules of SUPER. */
bool copy_super_write(struct copy_convert *c, const struct json_value *value);

#endif
