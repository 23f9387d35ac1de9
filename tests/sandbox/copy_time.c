/*
 * Dates and times of COPY. Redshift takes with 'auto' whatever CAST takes; the ISO 8601 family is
 * read here, the rest (17 Dec 1997 07:37:16 PST, J2451187) is left to a CAST by the server.
 * Sources: Database Developer Guide, "Using automatic recognition with DATEFORMAT and TIMEFORMAT"
 * and "Datetime types". Pure: text in, text out.
 */
#include "sandbox/copy_time.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>

struct cursor {
    const char *at, *end;
};

struct moment {
    int year, month, day;
    int hour, minute, second, microsecond;
    bool has_time, has_zone;
    int zone_minutes; /* east of UTC */
};

static bool take(struct cursor *c, char byte)
{
    if (c->at < c->end && *c->at == byte) {
        c->at++;
        return true;
    }
    return false;
}

static bool take_blanks(struct cursor *c)
{
    const char *start = c->at;
    while (take(c, ' ')) {
    }
    return c->at > start;
}

/* Between `least` and `most` digits; as many as there are. */
static bool take_digits(struct cursor *c, int least, int most, int *ret)
{
    int value = 0, count = 0;
    while (c->at < c->end && isdigit((unsigned char)*c->at)) {
        if (++count > most) {
            return false;
        }
        value = value * 10 + (*c->at++ - '0');
    }
    *ret = value;
    return count >= least;
}

static int digit_run(const struct cursor *c)
{
    int count = 0;
    while (c->at + count < c->end && isdigit((unsigned char)c->at[count])) {
        count++;
    }
    return count;
}

static int days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (leap && month == 2 ? 1 : 0);
}

static bool is_day(const struct moment *m)
{
    return m->year >= 1 && m->year <= 294276 && m->month >= 1 && m->month <= 12 && m->day >= 1 &&
           m->day <= days_in_month(m->year, m->month);
}

static bool read_date(struct cursor *c, bool strict, struct moment *m)
{
    if (!strict && digit_run(c) == 8) {
        int compact = 0;
        (void)take_digits(c, 8, 8, &compact);
        m->year = compact / 10000;
        m->month = compact / 100 % 100;
        m->day = compact % 100;
        return is_day(m);
    }
    if (!take_digits(c, 4, strict ? 4 : 6, &m->year)) {
        return false;
    }
    char separator = !strict && c->at < c->end && *c->at == '/' ? '/' : '-';
    int least = strict ? 2 : 1;
    return take(c, separator) && take_digits(c, least, 2, &m->month) && take(c, separator) &&
           take_digits(c, least, 2, &m->day) && is_day(m);
}

static bool read_fraction(struct cursor *c, struct moment *m)
{
    int digits = digit_run(c);
    if (digits < 1 || digits > 6) {
        return false;
    }
    (void)take_digits(c, 1, 6, &m->microsecond);
    for (; digits < 6; digits++) {
        m->microsecond *= 10;
    }
    return true;
}

static bool read_time(struct cursor *c, bool strict, struct moment *m)
{
    int least = strict ? 2 : 1;
    m->has_time = true;
    if (!strict && digit_run(c) == 6) {
        int compact = 0;
        (void)take_digits(c, 6, 6, &compact);
        m->hour = compact / 10000;
        m->minute = compact / 100 % 100;
        m->second = compact % 100;
    } else {
        if (!take_digits(c, least, 2, &m->hour) || !take(c, ':') ||
            !take_digits(c, 2, 2, &m->minute)) {
            return false;
        }
        if (take(c, ':')) {
            if (!take_digits(c, 2, 2, &m->second)) {
                return false;
            }
        } else if (strict) {
            return false;
        }
    }
    if (take(c, '.') && !read_fraction(c, m)) {
        return false;
    }
    bool midnight = m->hour == 24 && m->minute == 0 && m->second == 0 && m->microsecond == 0;
    return (m->hour <= 23 || midnight) && m->minute <= 59 && m->second <= 60;
}

/* Z, +hh, +hhmm, +hh:mm, UTC, GMT. Lower-case z is refused: loads of it failed on real clusters. */
static bool read_zone(struct cursor *c, struct moment *m)
{
    m->has_zone = true;
    size_t left = (size_t)(c->end - c->at);
    if (take(c, 'Z')) {
        return true;
    }
    if (left >= 3 && (memcmp(c->at, "UTC", 3) == 0 || memcmp(c->at, "GMT", 3) == 0)) {
        c->at += 3;
        return true;
    }
    int sign = take(c, '-') ? -1 : 1;
    if (sign == 1 && !take(c, '+')) {
        return false;
    }
    int hours = 0, minutes = 0;
    if (digit_run(c) == 4) {
        (void)take_digits(c, 4, 4, &hours);
        minutes = hours % 100;
        hours /= 100;
    } else if (!take_digits(c, 1, 2, &hours) || (take(c, ':') && !take_digits(c, 2, 2, &minutes))) {
        return false;
    }
    m->zone_minutes = sign * (hours * 60 + minutes);
    return hours <= 15 && minutes <= 59;
}

static bool read_auto(struct cursor *c, enum time_kind kind, struct moment *m)
{
    if (kind != TIME_OF_DAY) {
        if (!read_date(c, false, m)) {
            return false;
        }
        if (c->at == c->end) {
            return true;
        }
        if (!take(c, 'T') && !take_blanks(c)) {
            return false;
        }
    }
    if (!read_time(c, false, m)) {
        return false;
    }
    (void)take_blanks(c);
    return c->at == c->end || (read_zone(c, m) && c->at == c->end);
}

/* YYYY-MM-DD, HH:MI:SS, YYYY-MM-DD HH:MI:SS and, for TIMESTAMPTZ, an offset at once. */
static bool read_default(struct cursor *c, enum time_kind kind, struct moment *m)
{
    if (kind == TIME_OF_DAY) {
        return read_time(c, true, m) && c->at == c->end;
    }
    if (!read_date(c, true, m)) {
        return false;
    }
    if (c->at == c->end) {
        return kind == TIME_DATE;
    }
    if (!take(c, ' ') || !read_time(c, true, m)) {
        return false;
    }
    return c->at == c->end || (kind == TIME_STAMP_TZ && read_zone(c, m) && c->at == c->end);
}

static void put_moment(enum time_kind kind, const struct moment *m, struct bytes *to)
{
    if (kind != TIME_OF_DAY) {
        bytes_printf(to, "%04d-%02d-%02d", m->year, m->month, m->day);
    }
    if (kind == TIME_DATE) {
        return;
    }
    bytes_printf(to, "%s%02d:%02d:%02d.%06d", kind == TIME_OF_DAY ? "" : " ", m->hour, m->minute,
                 m->second, m->microsecond);
    if (kind == TIME_STAMP_TZ) {
        int minutes = m->zone_minutes < 0 ? -m->zone_minutes : m->zone_minutes;
        bytes_printf(to, "%c%02d:%02d", m->zone_minutes < 0 ? '-' : '+', minutes / 60,
                     minutes % 60);
    }
}

/* Days since 1970 to a civil date, by counting years; only used for epochs, which are rare. */
static void date_of_days(int64_t days, struct moment *m)
{
    m->year = 1970;
    for (;; m->year++) {
        int length = days_in_month(m->year, 2) == 29 ? 366 : 365;
        if (days < length) {
            break;
        }
        days -= length;
    }
    for (m->month = 1; days >= days_in_month(m->year, m->month); m->month++) {
        days -= days_in_month(m->year, m->month);
    }
    m->day = (int)days + 1;
}

static bool read_epoch(struct cursor *c, bool milliseconds, struct moment *m)
{
    int64_t value = 0;
    int digits = digit_run(c);
    if (digits < 1 || digits > 14) {
        return false;
    }
    while (c->at < c->end && isdigit((unsigned char)*c->at)) {
        value = value * 10 + (*c->at++ - '0');
    }
    int64_t seconds = milliseconds ? value / 1000 : value;
    if (c->at != c->end || seconds > INT64_C(253402300799)) { /* the end of the year 9999 */
        return false;
    }
    date_of_days(seconds / 86400, m);
    m->hour = (int)(seconds % 86400 / 3600);
    m->minute = (int)(seconds % 3600 / 60);
    m->second = (int)(seconds % 60);
    m->microsecond = milliseconds ? (int)(value % 1000) * 1000 : 0;
    return true;
}

bool copy_time_read(enum time_kind kind,
                    enum copy_time_format format,
                    struct piece text,
                    struct bytes *to)
{
    struct cursor c = {text.at, text.at + text.len};
    struct moment m = {0};
    bool ok = false;
    switch (format) {
    case COPY_TIME_DEFAULT:
        ok = read_default(&c, kind, &m);
        break;
    case COPY_TIME_AUTO:
        ok = read_auto(&c, kind, &m);
        break;
    case COPY_TIME_EPOCH_SECONDS:
        ok = read_epoch(&c, false, &m);
        break;
    case COPY_TIME_EPOCH_MILLISECONDS:
        ok = read_epoch(&c, true, &m);
        break;
    }
    if (ok) {
        put_moment(kind, &m, to);
    }
    return ok;
}

/* ------------------------------------------------------------------ what the server may try */

static bool is_known_word(struct piece word)
{
    static const char *const words[] = {
        "jan",       "january", "feb",  "february", "mar",  "march",     "apr",    "april",
        "may",       "jun",     "june", "jul",      "july", "aug",       "august", "sep",
        "september", "sept",    "oct",  "october",  "nov",  "november",  "dec",    "december",
        "mon",       "monday",  "tue",  "tuesday",  "wed",  "wednesday", "thu",    "thursday",
        "fri",       "friday",  "sat",  "saturday", "sun",  "sunday",    "am",     "pm",
        "bc",        "ad",      "j",    "t",        "utc",  "gmt",       "pst",    "pdt",
        "mst",       "mdt",     "cst",  "cdt",      "est",  "edt",       "cet",    "cest",
        "eet",       "eest",    "wet",  "west",     "bst",  "jst",
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (word.len == strlen(words[i]) && strncasecmp(word.at, words[i], word.len) == 0) {
            return true;
        }
    }
    return false;
}

bool copy_time_may_cast(struct piece text)
{
    bool only_digits = true;
    size_t fraction = 0;
    bool after_point = false;
    if (text.len == 0 || text.len > 64) {
        return false;
    }
    for (size_t i = 0; i < text.len;) {
        unsigned char c = (unsigned char)text.at[i];
        if (isalpha(c)) {
            size_t start = i;
            while (i < text.len && isalpha((unsigned char)text.at[i])) {
                i++;
            }
            if (!is_known_word((struct piece){text.at + start, i - start})) {
                return false;
            }
            only_digits = false;
            after_point = false;
            continue;
        }
        if (isdigit(c)) {
            fraction += after_point;
            if (fraction > 6) {
                return false;
            }
        } else if (strchr(" .,:/+-", c) != NULL) {
            only_digits = false;
            after_point = c == '.';
            fraction = 0;
        } else {
            return false;
        }
        i++;
    }
    return !only_digits || text.len == 6 || text.len == 8;
}
