/*
 * stage/domain: would COPY take it? In: one staged value and the column's domain. Out: the value as
 * COPY takes it, or why it cannot. A chapter per type. It never allocates beyond the block's growth
 * but where a document's names are out of order, which Flow's are not.
 */

#include "stage/domain.h"

#include "base/size.h"
#include "base/text.h"
#include "json/scan.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <strings.h>

/* Of strings within a SUPER, in bytes. COPY cuts them when it is told to, but never a name. */
#define MAX_STRING 65535

struct fit {
    const struct rs_domain *domain;
    struct buf *out;
    size_t start;
    struct span token;  /* the value as staged */
    struct span inside; /* of a string, without its quotes; else the token */
    bool is_string;
    struct domain_facts *facts;
};

/* What is wrong is the value: a person has to change it, or its field. */
#define REFUSE(...) error_new(ERROR_INPUT, ERROR_CONFIG, __VA_ARGS__)

/* Blanks are NULL to every type but text. */
static bool is_blank(struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] != ' ') {
            return false;
        }
    }
    return true;
}

static void replace(struct fit *fit, const char *text, size_t len)
{
    fit->out->len = fit->start;
    buf_add(fit->out, text, len); /* never more than what stood there */
}

/* ---------------------------------------------------------------- numbers */

/* A decimal taken apart: sign, 0.d1d2d3... * 10^point. */
struct decimal {
    char digits[64]; /* significant ones; further ones are only counted by point */
    size_t count;
    int64_t point;
    bool has_fraction; /* digits other than 0 behind the point */
    bool has_exponent;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool read_exponent(struct span text, struct decimal *decimal)
{
    bool is_negative = text.len && text.ptr[0] == '-';
    size_t at = text.len && (is_negative || text.ptr[0] == '+') ? 1 : 0, first = at;
    int64_t exponent = 0;

    for (; at < text.len && is_digit(text.ptr[at]); at++) {
        exponent = exponent < 1000000 ? exponent * 10 + (text.ptr[at] - '0') : exponent;
    }
    decimal->point += is_negative ? -exponent : exponent;
    return at == text.len && at > first;
}

static bool read_decimal(struct span text, struct decimal *ret)
{
    size_t at = text.len && (text.ptr[0] == '-' || text.ptr[0] == '+') ? 1 : 0;
    bool behind_point = false, any = false;

    *ret = (struct decimal){.count = 0};
    for (; at < text.len; at++) {
        char c = text.ptr[at];
        if (c == '.' && !behind_point) {
            behind_point = true;
            continue;
        }
        if (!is_digit(c)) {
            break;
        }
        any = true;
        if (ret->count == 0 && c == '0') {
            ret->point -= behind_point;
            continue;
        }
        if (ret->count < sizeof(ret->digits)) {
            ret->digits[ret->count++] = c;
        }
        ret->point += !behind_point;
    }
    if (any && at < text.len && (text.ptr[at] == 'e' || text.ptr[at] == 'E')) {
        at++;
        ret->has_exponent = true;
        any = read_exponent((struct span){text.ptr + at, text.len - at}, ret);
        at = text.len;
    }
    for (size_t i = 0; i < ret->count; i++) {
        ret->has_fraction |= (int64_t)i >= ret->point && ret->digits[i] != '0';
    }
    if (ret->count == 0) {
        ret->point = 0;
    }
    return any && at == text.len;
}

static bool is_plain_integer(struct span text)
{
    size_t at = text.len && (text.ptr[0] == '-' || text.ptr[0] == '+') ? 1 : 0;

    for (size_t i = at; i < text.len; i++) {
        if (!is_digit(text.ptr[i])) {
            return false;
        }
    }
    return text.len > at;
}

/* "1.0" and "1e3" are integers to people and to JSON Schema, but not to COPY. Up to 19 digits. */
static bool read_integer(struct span text, bool *ret_negative, uint64_t *ret)
{
    struct decimal decimal;
    uint64_t value = 0;

    if (!read_decimal(text, &decimal) || decimal.has_fraction || decimal.point > 19) {
        return false;
    }
    for (int64_t i = 0; i < decimal.point; i++) {
        value = value * 10 + (uint64_t)(i < (int64_t)decimal.count ? decimal.digits[i] - '0' : 0);
    }
    *ret_negative = text.ptr[0] == '-';
    *ret = value;
    return true;
}

static struct error *fit_integer(struct fit *fit)
{
    const uint64_t most = (UINT64_C(1) << (fit->domain->size - 1)) - 1;
    struct decimal decimal;
    bool is_negative;
    uint64_t value;

    if (is_plain_integer(fit->inside) && fit->inside.len <= fit->domain->size / 4) {
        return NULL; /* 4, 8 and 16 characters are always in range */
    }
    if (fit->is_string && (is_blank(fit->inside) || !is_plain_integer(fit->inside))) {
        return is_blank(fit->inside) ? NULL : REFUSE("the text is not an integer");
    }
    if (!read_decimal(fit->inside, &decimal) || decimal.has_fraction) {
        return REFUSE("the value is not an integer");
    }
    if (!read_integer(fit->inside, &is_negative, &value) || value > most + is_negative) {
        return REFUSE("an integer is limited to %" PRIu32 " bits", fit->domain->size);
    }
    if (!is_plain_integer(fit->inside)) {
        char digits[TEXT_INT_MAX + 1] = "-";
        replace(fit, digits + !is_negative, text_uint64(digits + 1, value) + (is_negative ? 1 : 0));
    }
    return NULL;
}

/* A number with an exponent passes through a double on the server. */
static bool round_as_double(struct span text, struct decimal *decimal)
{
    char digits[40];
    double value;

    if (!text_to_double(text, &value)) {
        return false;
    }
    size_t len = (size_t)snprintf(digits, sizeof(digits), "%.17g", value);
    return read_decimal((struct span){digits, len}, decimal);
}

/* More than fits in front of the point cannot be held; what is too much behind it is cut off. */
static struct error *fit_numeric(struct fit *fit)
{
    const int64_t whole = (int64_t)fit->domain->size - fit->domain->scale;
    struct decimal decimal;

    if (fit->is_string && is_blank(fit->inside)) {
        return NULL;
    }
    if (!read_decimal(fit->inside, &decimal) || (fit->is_string && decimal.has_exponent)) {
        return REFUSE("the value is not a number");
    }
    bool is_too_large =
        (decimal.has_exponent && !round_as_double(fit->inside, &decimal)) || decimal.point > whole;
    /* Up to 19 digits are kept in 64 bits. */
    if (fit->domain->size == 19 && decimal.point == whole && decimal.count >= 19) {
        is_too_large |= memcmp(decimal.digits, "9223372036854775807", 19) > 0;
    }
    return is_too_large
               ? REFUSE("a number is limited to %" PRId64 " digits before its point", whole)
               : NULL;
}

static struct error *fit_float(struct fit *fit)
{
    const bool is_real = fit->domain->holds == RS_HOLDS_REAL;
    double value;

    if (fit->is_string && is_blank(fit->inside)) {
        return NULL;
    }
    if (!text_to_double(fit->inside, &value) || (is_real && fabs(value) > (double)FLT_MAX)) {
        return REFUSE("the value is not a number that a %s column can hold",
                      is_real ? "REAL" : "DOUBLE PRECISION");
    }
    /* A number that is too small is none to COPY, and zero to everyone else. */
    if (value == 0 || (is_real && fabs(value) < (double)FLT_MIN)) {
        replace(fit, "0", 1);
    }
    return NULL;
}

/* ---------------------------------------------------------------- words, bytes, days */

static struct error *fit_boolean(const struct fit *fit)
{
    static const char *const words[] = {"true", "false", "t", "f", "1", "0", "y", "n", "yes", "no"};

    if (is_blank(fit->inside)) {
        return NULL;
    }
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (fit->inside.len == strlen(words[i]) &&
            strncasecmp(fit->inside.ptr, words[i], fit->inside.len) == 0) {
            return NULL;
        }
    }
    return REFUSE("the value is not a boolean");
}

static bool is_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static struct error *fit_binary(const struct fit *fit)
{
    for (size_t i = 0; i < fit->inside.len; i++) {
        if (!is_hex(fit->inside.ptr[i])) {
            return REFUSE("the text is not the hexadecimal form of a binary value");
        }
    }
    if (fit->inside.len % 2 != 0) {
        return REFUSE("the text is not the hexadecimal form of a binary value");
    }
    if (fit->inside.len / 2 > fit->domain->size) {
        return REFUSE("a binary value is limited to %" PRIu32 " bytes, this one has %zu",
                      fit->domain->size, fit->inside.len / 2);
    }
    return NULL;
}

static struct error *fit_char(const struct fit *fit)
{
    for (size_t i = 0; i < fit->inside.len; i++) {
        if ((unsigned char)fit->inside.ptr[i] >= 0x80) {
            return REFUSE("a CHAR column holds ASCII only");
        }
    }
    return NULL;
}

/* digits at text.ptr[at] as a number, or -1 */
static int number_at(struct span text, size_t at, unsigned count)
{
    int value = 0;

    for (unsigned i = 0; i < count; i++) {
        if (at + i >= text.len || !is_digit(text.ptr[at + i])) {
            return -1;
        }
        value = value * 10 + (text.ptr[at + i] - '0');
    }
    return value;
}

/* A day of the calendar as Flow's formats write it. There is no year 0. */
static bool is_day(struct span text)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const int year = number_at(text, 0, 4), month = number_at(text, 5, 2);
    const int day = number_at(text, 8, 2);

    if (text.len < 10 || year < 1 || month < 1 || month > 12 || day < 1 || text.ptr[4] != '-' ||
        text.ptr[7] != '-') {
        return false;
    }
    const bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return day <= days[month - 1] + (month == 2 && is_leap);
}

static struct error *fit_date(struct fit *fit)
{
    if (fit->is_string && is_blank(fit->inside)) {
        return NULL;
    }
    if (!fit->is_string || !is_day(fit->inside) ||
        (fit->inside.len > 10 && fit->inside.ptr[10] != 'T')) {
        return REFUSE("the value is not a day from 0001-01-01 to 9999-12-31");
    }
    if (fit->inside.len > 10) { /* the time counts for nothing, and its form might be refused */
        fit->out->len = fit->start + 11;
        buf_add_byte(fit->out, '"');
    }
    return NULL;
}

/* Row writes moments in one form: YYYY-MM-DDTHH:MM:SS[.ffffff]Z or with ±HH:MM at the end. Offsets
 * of more than half a day exist (Pacific/Kiritimati), and PostgreSQL's ancestors refuse them: such
 * a moment is written with its local day moved instead. */
#define MAX_OFFSET_HOURS 12

static void move_day(char *day, int by)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const struct span text = {day, 10};
    int y = number_at(text, 0, 4), m = number_at(text, 5, 2), d = number_at(text, 8, 2) + by;

    if (d < 1) {
        m = m == 1 ? 12 : m - 1;
        y -= m == 12;
        d = days[m - 1] + (m == 2 && ((y % 4 == 0 && y % 100 != 0) || y % 400 == 0));
    } else if (d > 28 &&
               d > days[m - 1] + (m == 2 && ((y % 4 == 0 && y % 100 != 0) || y % 400 == 0))) {
        d = 1;
        m = m == 12 ? 1 : m + 1;
        y += m == 1;
    }
    char moved[32];
    (void)snprintf(moved, sizeof(moved), "%04d-%02d-%02d", y, m, d);
    memcpy(day, moved, 10);
}

static struct error *fit_timestamp(struct fit *fit)
{
    if (fit->is_string && is_blank(fit->inside)) {
        return NULL;
    }
    if (!fit->is_string || fit->inside.len < 20 || !is_day(fit->inside)) {
        return REFUSE("the value is not a date-time from 0001-01-01 to 9999-12-31");
    }
    char *inside = fit->out->data + fit->start + 1;
    char *offset = inside + fit->inside.len - 6;
    if ((*offset != '+' && *offset != '-') || offset[3] != ':') {
        return NULL; /* Z */
    }
    int hours = number_at((struct span){offset + 1, 5}, 0, 2);
    int minutes = number_at((struct span){offset + 1, 5}, 3, 2);
    if (hours < MAX_OFFSET_HOURS || (hours == MAX_OFFSET_HOURS && minutes == 0)) {
        return NULL;
    }
    /* A day's move turns +14:00 into -10:00 of the day before. */
    const bool is_east = *offset == '+';
    const int left = 24 * 60 - (hours * 60 + minutes);
    move_day(inside, is_east ? -1 : 1);
    if (number_at((struct span){inside, 10}, 0, 4) < 1 || inside[4] != '-') {
        return REFUSE("the value is not a date-time from 0001-01-01 to 9999-12-31");
    }
    char moved[16];
    (void)snprintf(moved, sizeof(moved), "%c%02d:%02d", is_east ? '-' : '+', left / 60, left % 60);
    memcpy(offset, moved, 6);
    return NULL;
}

/* ---------------------------------------------------------------- SUPER */

static int unit_at(const char *at)
{
    int unit = 0;

    for (int i = 0; i < 4; i++) {
        const char c = at[i];
        unit = unit * 16 + (is_digit(c) ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return unit;
}

/* Is the escape at at (a valid \u) one that no column can hold? *ret_len: how long it is. */
static bool is_bad_escape(const char *at, const char *end, size_t *ret_len)
{
    const int unit = unit_at(at + 2);

    *ret_len = 6;
    if (unit >= 0xd800 && unit <= 0xdbff && end - at >= 12 && at[6] == '\\' && at[7] == 'u') {
        const int low = unit_at(at + 8);
        if (low >= 0xdc00 && low <= 0xdfff) {
            *ret_len = 12;
            return false;
        }
    }
    return unit == 0 || (unit >= 0xd800 && unit <= 0xdfff);
}

/* U+0000 and halves of surrogate pairs become U+FFFD in place, which is shorter. Whether Redshift
 * takes them inside of a SUPER is written nowhere; text columns cannot hold them, and a file that
 * is refused stays refused. */
static void replace_escapes(struct fit *fit)
{
    char *const data = fit->out->data;
    const char *const end = data + fit->out->len;
    const char *at = data + fit->start;
    char *to = data + fit->start;

    while (at < end) {
        const char *next = memchr(at, '\\', (size_t)(end - at));
        size_t plain = (size_t)((next ? next : end) - at);
        memmove(to, at, plain);
        to += plain;
        at += plain;
        if (!next) {
            break;
        }
        size_t len = 2;
        if (at[1] == 'u' && is_bad_escape(at, end, &len)) {
            memcpy(to, "\xef\xbf\xbd", 3);
            to += 3;
            fit->facts->replaced = true;
        } else {
            memmove(to, at, len);
            to += len;
        }
        at += len;
    }
    fit->out->len = (size_t)(to - data);
}

/* No number of a valid text is beyond a double. Numbers in strings do not count. */
static bool has_infinite_number(struct span text)
{
    bool in_string = false;

    for (size_t i = 0; i < text.len; i++) {
        const char c = text.ptr[i];
        if (in_string) {
            i += c == '\\';
            in_string = c != '"';
        } else if (c == '"') {
            in_string = true;
        } else if (c == '-' || is_digit(c)) {
            size_t end = i + 1;
            double value;
            while (end < text.len &&
                   (is_digit(text.ptr[end]) || memchr(".eE+-", text.ptr[end], 5))) {
                end++;
            }
            if (!text_to_double((struct span){text.ptr + i, end - i}, &value)) {
                return true;
            }
            i = end - 1;
        }
    }
    return false;
}

/* Where a string of a valid text ends: at the next quote that no odd number of backslashes is
 * before. */
static const char *end_of_string(const char *start, const char *end)
{
    for (const char *at = start; (at = memchr(at, '"', (size_t)(end - at))) != NULL; at++) {
        const char *before = at;
        while (before > start && before[-1] == '\\') {
            before--;
        }
        if ((at - before) % 2 == 0) {
            return at;
        }
    }
    return end;
}

/* Escapes are counted as written: a string that is this long may be a little shorter. */
static unsigned count_long_strings(struct span text)
{
    const char *at = text.ptr, *end = text.ptr + text.len;
    unsigned count = 0;

    while (at < end && (at = memchr(at, '"', (size_t)(end - at))) != NULL) {
        const char *start = at + 1;
        const char *quote = end_of_string(start, end);
        count += quote - start > MAX_STRING;
        at = quote + 1;
    }
    return count;
}

static struct error *look_at_super(struct span json,
                                   struct domain_facts *facts,
                                   struct json_traits *ret,
                                   struct json_parts *ret_parts)
{
    struct error *err = json_check_parts(json, ret, ret_parts);

    if (err) {
        error_set_class(err, ERROR_CONFIG);
        return err;
    }
    if (ret->longest_name > MAX_STRING) {
        return REFUSE("a name within JSON is limited to %d bytes, one has %zu", MAX_STRING,
                      ret->longest_name);
    }
    if (!ret->names_ascend && json_has_twins(json)) {
        return REFUSE("a name stands twice in one object");
    }
    if (ret->has_large_number && has_infinite_number(json)) {
        return REFUSE("a number within JSON is one that no double can hold");
    }
    if (!text_is_utf8(json)) {
        return REFUSE("the text is not valid UTF-8");
    }
    if (json.len > MAX_STRING) {
        facts->cut = count_long_strings(json);
    }
    return NULL;
}

static struct error *fit_super(struct fit *fit)
{
    struct json_traits traits;

    RETURN_IF_ERROR(look_at_super(fit->token, fit->facts, &traits, NULL));
    if (traits.has_unicode_escape) {
        replace_escapes(fit);
    }
    return NULL;
}

struct error *domain_look(struct span json,
                          struct domain_facts *facts,
                          struct json_parts *ret_parts,
                          bool *ret_as_is)
{
    struct json_traits traits;

    RETURN_IF_ERROR(look_at_super(json, facts, &traits, ret_parts));
    *ret_as_is = !traits.has_unicode_escape && traits.is_compact && json.ptr[0] > ' ' &&
                 json.ptr[json.len - 1] > ' ';
    return NULL;
}

/* ---------------------------------------------------------------- the door */

struct error *domain_fit(const struct rs_domain *domain,
                         struct buf *out,
                         size_t start,
                         struct domain_facts *facts)
{
    struct fit fit = {.domain = domain, .out = out, .start = start, .facts = facts};

    fit.token = (struct span){out->data + start, out->len - start};
    fit.is_string = fit.token.len >= 2 && fit.token.ptr[0] == '"';
    fit.inside = fit.is_string ? (struct span){fit.token.ptr + 1, fit.token.len - 2} : fit.token;
    if (span_is(fit.token, "null")) {
        return NULL;
    }
    switch (domain->holds) {
    case RS_HOLDS_INTEGER:
        return fit_integer(&fit);
    case RS_HOLDS_NUMERIC:
        return fit_numeric(&fit);
    case RS_HOLDS_REAL:
    case RS_HOLDS_DOUBLE:
        return fit_float(&fit);
    case RS_HOLDS_BOOLEAN:
        return fit_boolean(&fit);
    case RS_HOLDS_CHAR:
        return fit_char(&fit);
    case RS_HOLDS_DATE:
        return fit_date(&fit);
    case RS_HOLDS_TIMESTAMP:
        return fit_timestamp(&fit);
    case RS_HOLDS_SUPER:
        return fit_super(&fit);
    case RS_HOLDS_VARBYTE:
        return fit_binary(&fit);
    case RS_HOLDS_VARCHAR: /* row.c writes texts as VARCHAR wants them */
    case RS_HOLDS_ANYTHING:
        break;
    }
    return NULL;
}
