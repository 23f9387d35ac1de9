#ifndef TEST_STAGE_VALUES_H
#define TEST_STAGE_VALUES_H

/* Values and texts in static tables. */

#include "base/value.h"

#define LIT(text)                                                                                  \
    {                                                                                              \
        (text), sizeof(text) - 1                                                                   \
    }
#define STRING(literal)                                                                            \
    {                                                                                              \
        .kind = VALUE_STRING, .text = LIT(literal)                                                 \
    }
#define JSON(literal)                                                                              \
    {                                                                                              \
        .kind = VALUE_JSON, .text = LIT(literal)                                                   \
    }
#define NUMBER(literal)                                                                            \
    {                                                                                              \
        .kind = VALUE_NUMBER, .text = LIT(literal)                                                 \
    }
#define INT(value)                                                                                 \
    {                                                                                              \
        .kind = VALUE_INT, .number.i = (value)                                                     \
    }
#define UINT(value)                                                                                \
    {                                                                                              \
        .kind = VALUE_UINT, .number.u = (value)                                                    \
    }
#define DOUBLE(value)                                                                              \
    {                                                                                              \
        .kind = VALUE_DOUBLE, .number.d = (value)                                                  \
    }
#define NIL                                                                                        \
    {                                                                                              \
        .kind = VALUE_NULL                                                                         \
    }
#define YES                                                                                        \
    {                                                                                              \
        .kind = VALUE_TRUE                                                                         \
    }
#define NO                                                                                         \
    {                                                                                              \
        .kind = VALUE_FALSE                                                                        \
    }

#endif
