/*
 * txn/bounds: between which values the keys of a lookup lie. In: keys, one at a time. Out: the
 * least and the greatest as texts. Knows no statement.
 */

#include "txn/bounds.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static bool is_integer_column(const struct rs_column *column)
{
    const struct rs_type *type = &column->type;
    return !type->is_user_ddl && type->flat == RS_FLAT_INTEGER && type->converter == RS_AS_IS &&
           (span_is(type->ddl, "BIGINT") || span_is(type->ddl, "NUMERIC(38,0)"));
}

static bool is_text_column(const struct rs_column *column)
{
    const struct rs_type *type = &column->type;
    return !type->is_user_ddl && type->is_text && type->flat == RS_FLAT_STRING &&
           type->converter == RS_TEXT;
}

static void note_integer(struct key_bounds *bounds, int64_t key)
{
    if (!bounds->has_any || key < bounds->least) {
        bounds->least = key;
    }
    if (!bounds->has_any || key > bounds->greatest) {
        bounds->greatest = key;
    }
    bounds->has_any = true;
}

/* False for a text whose place among others depends on who compares. */
static bool is_plain(struct key_bounds *bounds, struct span text)
{
    if (text.len == 0 || text.len > BOUND_TEXT_MAX) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c <= ' ' || c > '~' || (c >= '[' && c <= '`')) {
            return false;
        }
        bounds->has_upper |= c >= 'A' && c <= 'Z';
        bounds->has_lower |= c >= 'a' && c <= 'z';
    }
    return !(bounds->has_upper && bounds->has_lower);
}

static void set_text(char out[BOUND_TEXT_ROOM], struct span text)
{
    memcpy(out, text.ptr, text.len);
    out[text.len] = '\0';
}

static void note_text(struct key_bounds *bounds, struct span key)
{
    if (!bounds->has_any || span_compare(key, span_of(bounds->least_text)) < 0) {
        set_text(bounds->least_text, key);
    }
    if (!bounds->has_any || span_compare(key, span_of(bounds->greatest_text)) > 0) {
        set_text(bounds->greatest_text, key);
    }
    bounds->has_any = true;
}

void bounds_note(struct key_bounds *bounds, const struct rs_column *column, const struct value *key)
{
    if (bounds->is_off) {
        return;
    }
    if (is_integer_column(column) && key->kind == VALUE_INT) {
        note_integer(bounds, key->number.i);
    } else if (is_text_column(column) && key->kind == VALUE_STRING && is_plain(bounds, key->text)) {
        note_text(bounds, key->text);
    } else {
        bounds->is_off = true;
    }
}

bool bounds_take(const struct key_bounds *bounds,
                 const struct rs_column *column,
                 char ret_least[BOUND_TEXT_ROOM],
                 char ret_greatest[BOUND_TEXT_ROOM])
{
    if (bounds->is_off || !bounds->has_any) {
        return false;
    }
    if (is_integer_column(column)) {
        snprintf(ret_least, BOUND_TEXT_ROOM, "%" PRId64, bounds->least);
        snprintf(ret_greatest, BOUND_TEXT_ROOM, "%" PRId64, bounds->greatest);
    } else {
        memcpy(ret_least, bounds->least_text, BOUND_TEXT_ROOM);
        memcpy(ret_greatest, bounds->greatest_text, BOUND_TEXT_ROOM);
    }
    return true;
}
