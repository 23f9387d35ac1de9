/* Documents of a binding without the document's column: what comes back was made of columns, and
   may differ from what was stored in a few ways that are known. Pure. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run.h"

enum { FRACTION = 6 }; /* digits of a second that a column keeps */

static bool is_top(const struct fr_projection *projection)
{
    return projection->ptr[0] == '/' && strchr(projection->ptr + 1, '/') == NULL;
}

static bool has_format(const struct fr_projection *projection, const char *format)
{
    return fr_json_is_text(fr_json_at(projection->inference, "/string/format"), format);
}

static bool may_be_null(const struct fr_projection *projection)
{
    const struct fr_json *types = fr_json_get(projection->inference, "types");
    for (uint32_t i = 0; fr_json_is(types, FR_ARRAY) && i < types->count; i++) {
        if (fr_json_is_text(types->items[i], "null")) {
            return true;
        }
    }
    return false;
}

/* Days since 1970 in the calendar that runs both ways. */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    int64_t y = month > 2 ? year : year - 1;
    int64_t era = (y >= 0 ? y : y - 399) / 400, of_era = y - era * 400;
    int64_t of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

/* Microseconds since 1970; what is finer is cut. False when it is no date-time. */
static bool read_moment(const char *text, int64_t *ret)
{
    int year, month, day, hour, minute, second, end = 0;
    int64_t micros = 0;
    if (sscanf(text, "%4d-%2d-%2d%*1[Tt]%2d:%2d:%2d%n", &year, &month, &day, &hour, &minute,
               &second, &end) != 6 ||
        end == 0) {
        return false;
    }
    text += end;
    if (*text == '.') {
        text++;
        for (int i = 0; i < FRACTION; i++) {
            micros = micros * 10 + (*text >= '0' && *text <= '9' ? *text++ - '0' : 0);
        }
        text += strspn(text, "0123456789");
    }
    int zone_hours = 0, zone_minutes = 0;
    if (strcmp(text, "Z") != 0 && strcmp(text, "z") != 0 &&
        sscanf(text + 1, "%2d:%2d", &zone_hours, &zone_minutes) != 2) {
        return false;
    }
    int64_t zone = (zone_hours * 60 + zone_minutes) * 60;
    int64_t seconds = days_of(year, month, day) * 86400 + (hour * 60 + minute) * 60 + second;
    *ret = (seconds - (*text == '-' ? -zone : zone)) * 1000000 + micros;
    return true;
}

static bool is_same_moment(const struct fr_json *left, const struct fr_json *right)
{
    int64_t l, r;
    return fr_json_text(left) != NULL && fr_json_text(right) != NULL &&
           read_moment(fr_json_text(left), &l) && read_moment(fr_json_text(right), &r) && l == r;
}

/* A number that is written as a string loses its zeros. */
static bool is_same_number(const struct fr_json *left, const struct fr_json *right)
{
    if (fr_json_text(left) == NULL || fr_json_text(right) == NULL) {
        return false;
    }
    double l = strtod(fr_json_text(left), NULL), r = strtod(fr_json_text(right), NULL);
    return !isless(l, r) && !isgreater(l, r);
}

static bool is_same(const struct fr_projection *projection,
                    const struct fr_json *stored,
                    const struct fr_json *loaded)
{
    if (stored == NULL) {
        return loaded == NULL || (fr_json_is(loaded, FR_NULL) && may_be_null(projection));
    }
    if (loaded == NULL) {
        return false;
    }
    return fr_json_equal_stored(stored, loaded) ||
           (has_format(projection, "date-time") && is_same_moment(stored, loaded)) ||
           ((has_format(projection, "integer") || has_format(projection, "number")) &&
            is_same_number(stored, loaded));
}

bool fr_rebuilt_is(const struct fr_binding *binding,
                   const struct fr_json *stored,
                   const struct fr_json *loaded)
{
    uint32_t there = 0;
    for (size_t i = 0; i < binding->key_count + binding->value_count; i++) {
        const struct fr_projection *projection =
            i < binding->key_count ? binding->keys[i] : binding->values[i - binding->key_count];
        if (!is_top(projection)) {
            continue; /* it is part of what lies above, or lost */
        }
        const struct fr_json *value = fr_json_at(loaded, projection->ptr);
        if (!is_same(projection, fr_json_at(stored, projection->ptr), value)) {
            return false;
        }
        there += value != NULL;
    }
    return loaded->count == there; /* nothing that has no column */
}
