#ifndef TXN_BOUNDS_H
#define TXN_BOUNDS_H

/*
 * The least and the greatest of a column's keys that are to be looked up, so that the warehouse can
 * pass over blocks of the target that hold none of them. Pure.
 *
 * A bound that is wrong hides a document that exists, and the document is then stored twice. So
 * there are bounds only where the order of the values here is beyond doubt the order of the column
 * there; one key that is in doubt takes the column's bounds away:
 *
 *   BIGINT, NUMERIC(38,0)  integers that fit 64 bits
 *   VARCHAR                texts of at most BOUND_TEXT_MAX printable ASCII characters without
 * blanks,
 *                          '[' to '`', and without both cases of letters. Redshift compares bytes,
 *                          but takes no notice of blanks at the end, which stand above some
 *                          characters and below others; and a column may ignore case, where letters
 *                          stand either before '[' or behind '`'.
 *   all else               none: dates as text, floats, booleans, bytes, types that the user wrote
 */

#include "base/value.h"
#include "redshift/sql.h"

#define BOUND_TEXT_MAX 64
#define BOUND_TEXT_ROOM (BOUND_TEXT_MAX + 1)

/* Of one key column; zeroed to start. */
struct key_bounds {
    bool is_off; /* there can be none */
    bool has_any;
    bool has_upper, has_lower; /* letters seen so far */
    int64_t least, greatest;
    char least_text[BOUND_TEXT_ROOM], greatest_text[BOUND_TEXT_ROOM];
};

void bounds_note(struct key_bounds *bounds,
                 const struct rs_column *column,
                 const struct value *key);
/* As texts of parameters; false when there are none. */
bool bounds_take(const struct key_bounds *bounds,
                 const struct rs_column *column,
                 char ret_least[BOUND_TEXT_ROOM],
                 char ret_greatest[BOUND_TEXT_ROOM]);

#endif
