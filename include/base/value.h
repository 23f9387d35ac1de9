#ifndef BASE_VALUE_H
#define BASE_VALUE_H

/*
 * One value of a document on its way from a tuple to a staged row. It is what the wire (proto) and
 * the form of staged files (stage) have in common, so it lives below both. Spans are borrowed from
 * the message and from the reader's scratch memory: valid until the next message is read.
 */

#include "base/span.h"

#include <stdint.h>

enum value_kind {
    VALUE_NULL,
    VALUE_FALSE,
    VALUE_TRUE,
    VALUE_INT,    /* integer: fits int64_t */
    VALUE_UINT,   /* integer: above INT64_MAX, fits uint64_t */
    VALUE_DOUBLE, /* number: a finite double, as packed */
    VALUE_NUMBER, /* text: a JSON number that is none of the three above, as written */
    VALUE_STRING, /* text: decoded UTF-8, may hold NUL */
    VALUE_JSON    /* text: an object or array as compact JSON */
};

struct value {
    enum value_kind kind;
    union {
        int64_t i;
        uint64_t u;
        double d;
    } number;
    struct span text;
};

#endif
