#ifndef SANDBOX_COPY_TIME_H
#define SANDBOX_COPY_TIME_H

#include "sandbox/copy_bytes.h"
#include "sandbox/copy_statement.h"

#include <stdbool.h>

enum time_kind {
    TIME_DATE,
    TIME_OF_DAY,
    TIME_STAMP,   /* a zone in the input is ignored */
    TIME_STAMP_TZ /* a zone in the input counts; without one it is UTC */
};

/*
 * Reads a date or a time and appends it as PostgreSQL takes it. Understands the forms that the
 * option allows: DEFAULT one fixed form, AUTO the ISO 8601 family (dates with - or /, compact
 * dates, T or blanks before the time, seconds and fraction optional, Z or an offset), EPOCH_...
 * whole numbers. False when the text is none of these, names a day that does not exist, or has
 * more than six digits of fraction; nothing is appended then.
 */
bool copy_time_read(enum time_kind kind,
                    enum copy_time_format format,
                    struct piece text,
                    struct bytes *to);

/* Whether an unread text in AUTO is worth a try as a CAST by the server: the words in it are
 * months, days, zones and the like, not PostgreSQL's "now" or "infinity", and it is neither an
 * epoch nor finer than microseconds. */
bool copy_time_may_cast(struct piece text);

#endif
