/*
 * One JSON value becomes one field of PostgreSQL's COPY text format, under Redshift's rules for
 * the column's type. In come values that copy_json.c has checked, out go bytes or a fault with
 * the code of the Load Error Reference. Knows neither tables nor S3.
 *
 * What differs from PostgreSQL and is therefore decided here: lengths are bytes; only blanks may
 * be cut; empty text is NULL for all but CHAR and VARCHAR; decimals are cut, not rounded; a NUL
 * ends or refuses a text; unquoted integers beyond 64 bit lose digits on their way to NUMERIC.
 */
#include "sandbox/copy_value.h"

#include "sandbox/copy_time.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

const char *column_type_name(enum column_type type)
{
    static const char *const names[] = {
        [COLUMN_SMALLINT] = "int2",
        [COLUMN_INTEGER] = "int4",
        [COLUMN_BIGINT] = "int8",
        [COLUMN_NUMERIC] = "numeric",
        [COLUMN_REAL] = "float4",
        [COLUMN_DOUBLE] = "float8",
        [COLUMN_BOOLEAN] = "bool",
        [COLUMN_CHAR] = "char",
        [COLUMN_VARCHAR] = "varchar",
        [COLUMN_DATE] = "date",
        [COLUMN_TIME] = "time",
        [COLUMN_TIMESTAMP] = "timestamp",
        [COLUMN_TIMESTAMPTZ] = "timestamptz",
        [COLUMN_SUPER] = "super",
        [COLUMN_VARBYTE] = "varbyte",
    };
    return names[type];
}

bool copy_fault_set(struct copy_fault *fault, int code, size_t position, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fault->code = code;
    fault->position = position > INT32_MAX ? INT32_MAX : (int)position;
    vsnprintf(fault->message, sizeof fault->message, format, args);
    va_end(args);
    return false;
}

void copy_convert_done(struct copy_convert *c)
{
    bytes_done(&c->decoded);
    bytes_done(&c->replaced);
    bytes_done(&c->document);
    free(c->keys.slots);
    c->keys = (struct copy_keys){0};
}

/* ------------------------------------------------------------------ the field */

static void put_field(struct piece text, struct bytes *out)
{
    char *at = bytes_reserve(out, text.len * 2);
    char *start = at;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.at[i];
        switch (c) {
        case '\\':
            *at++ = '\\';
            *at++ = '\\';
            break;
        case '\n':
            *at++ = '\\';
            *at++ = 'n';
            break;
        case '\r':
            *at++ = '\\';
            *at++ = 'r';
            break;
        case '\t':
            *at++ = '\\';
            *at++ = 't';
            break;
        default:
            *at++ = c;
            break;
        }
    }
    out->len += (size_t)(at - start);
}

static bool put_null(struct copy_convert *c, const struct copy_column *column, struct bytes *out)
{
    if (column->not_null) {
        return copy_fault_set(&c->fault, 1213, 0, "Missing data for not-null field");
    }
    bytes_put(out, "\\N", 2);
    return true;
}

static bool is_blank(struct piece text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] != ' ') {
            return false;
        }
    }
    return true;
}

/* ------------------------------------------------------------------ CHAR and VARCHAR */

/* Replaces each byte of a bad sequence; `*text` then lies in `replaced`. */
static bool make_valid(struct copy_convert *c, struct piece *text)
{
    bool replace = c->st->accept_invalid_char != '\0';
    struct utf8_fault bad;
    size_t from = 0;
    if (!utf8_find_fault(*text, 0, replace, &bad)) {
        return true;
    }
    if (!replace) {
        struct bytes hex = {0};
        for (size_t i = 0; i < bad.len; i++) {
            bytes_printf(&hex, "%s%02x", i == 0 ? "" : " ",
                         (unsigned char)text->at[bad.offset + i]);
        }
        (void)copy_fault_set(&c->fault, 1220, bad.offset,
                             "String contains invalid or unsupported UTF-8 codepoints. Bad UTF-8 "
                             "hex sequence: %s (error %d)",
                             bytes_text(&hex), bad.sub_code);
        bytes_done(&hex);
        return false;
    }
    c->replaced.len = 0;
    do {
        bytes_put(&c->replaced, text->at + from, bad.offset - from);
        for (size_t i = 0; i < bad.len; i++) {
            bytes_put_char(&c->replaced, c->st->accept_invalid_char);
        }
        from = bad.offset + bad.len;
    } while (utf8_find_fault(*text, from, true, &bad));
    bytes_put(&c->replaced, text->at + from, text->len - from);
    *text = (struct piece){c->replaced.at, c->replaced.len};
    return true;
}

/* A NUL ends the text; as its first byte it is an error. */
static bool cut_at_nul(struct copy_convert *c, struct piece *text)
{
    const char *nul = text->len == 0 ? NULL : memchr(text->at, '\0', text->len);
    if (nul == text->at && nul != NULL) {
        return copy_fault_set(&c->fault, 1218, 0, "Invalid null byte - field longer than 1 byte");
    }
    if (nul != NULL) {
        text->len = (size_t)(nul - text->at);
    }
    return true;
}

static bool check_ascii(struct copy_convert *c, struct piece text)
{
    for (size_t i = 0; i < text.len; i++) {
        if ((unsigned char)text.at[i] >= 0x80) {
            return copy_fault_set(&c->fault, 1215, i,
                                  "Multibyte character not supported for CHAR (Hint: Try using "
                                  "VARCHAR). Invalid char: %02x",
                                  (unsigned char)text.at[i]);
        }
    }
    return true;
}

static bool fit_length(struct copy_convert *c, const struct copy_column *column, struct piece *text)
{
    size_t most = (size_t)column->length;
    if (text->len <= most) {
        return true;
    }
    if (is_blank((struct piece){text->at + most, text->len - most})) {
        text->len = most;
        return true;
    }
    if (!c->st->truncate_columns) {
        return copy_fault_set(&c->fault, 1204, most, "%s length exceeds DDL length",
                              column->type == COLUMN_CHAR ? "Char" : "String");
    }
    text->len = utf8_cut(*text, most);
    return true;
}

static bool convert_text(struct copy_convert *c,
                         const struct copy_column *column,
                         const struct json_value *value,
                         struct piece text,
                         struct bytes *out)
{
    if (value->escaped && !cut_at_nul(c, &text)) {
        return false;
    }
    if (column->type == COLUMN_CHAR) {
        if (!check_ascii(c, text)) {
            return false;
        }
    } else if ((value->wide || value->escaped) && !make_valid(c, &text)) {
        return false;
    }
    if ((c->st->empty_as_null && text.len == 0) ||
        (c->st->blanks_as_null && text.len > 0 && is_blank(text))) {
        return put_null(c, column, out);
    }
    if (c->st->trim_blanks && column->type == COLUMN_VARCHAR) {
        while (text.len > 0 && text.at[text.len - 1] == ' ') {
            text.len--;
        }
    }
    if (!fit_length(c, column, &text)) {
        return false;
    }
    put_field(text, out);
    return true;
}

/* ------------------------------------------------------------------ numbers */

static bool fail_digit(struct copy_convert *c, struct piece text, size_t at, const char *type)
{
    if (at == text.len) {
        return copy_fault_set(&c->fault, 1207, at, "Invalid digit, Value '', Pos %zu, Type: %s", at,
                              type);
    }
    unsigned char bad = (unsigned char)text.at[at];
    return copy_fault_set(&c->fault, 1207, at, "Invalid digit, Value '%c', Pos %zu, Type: %s",
                          bad < 0x20 || bad >= 0x7F ? '?' : bad, at, type);
}

static bool
convert_integer(struct copy_convert *c, enum column_type type, struct piece text, struct bytes *out)
{
    static const struct {
        const char *name;
        uint64_t most;
    } kinds[] = {
        [COLUMN_SMALLINT] = {"Short", INT16_MAX},
        [COLUMN_INTEGER] = {"Integer", INT32_MAX},
        [COLUMN_BIGINT] = {"Long", INT64_MAX},
    };
    bool negative = text.at[0] == '-';
    size_t start = negative || text.at[0] == '+' ? 1 : 0;
    uint64_t most = kinds[type].most + (negative ? 1 : 0);
    uint64_t value = 0;
    bool overflow = false;
    for (size_t i = start; i < text.len || i == start; i++) {
        if (i == text.len || text.at[i] < '0' || text.at[i] > '9') {
            return fail_digit(c, text, i, kinds[type].name);
        }
        uint64_t digit = (uint64_t)(text.at[i] - '0');
        overflow |= value > (most - digit) / 10;
        value = value * 10 + digit;
    }
    if (overflow) {
        return copy_fault_set(&c->fault, 1222, 0, "Integer overflow, Value '%.*s', Type: %s",
                              (int)(text.len < 40 ? text.len : 40), text.at, kinds[type].name);
    }
    bytes_put(out, text.at + (text.at[0] == '+'), text.len - (text.at[0] == '+'));
    return true;
}

#define SIGNIFICANT_MAX 80 /* more than 38 before the point and 37 and one behind it */

/* A decimal taken apart: 0.d1d2d3... * 10^point, leading zeros removed. */
struct decimal {
    bool negative;
    char digits[SIGNIFICANT_MAX];
    size_t count;  /* of digits kept; further ones only counted by `point` */
    int64_t point; /* digits before the decimal point; may be negative */
};

/* False with the position of the byte that does not fit. Exponents only where JSON numbers, which
 * Redshift reads as doubles, may bring them. */
static bool read_decimal(struct piece text, bool exponents, struct decimal *d, size_t *ret_position)
{
    *d = (struct decimal){.negative = text.at[0] == '-'};
    size_t i = d->negative || text.at[0] == '+' ? 1 : 0;
    bool after_point = false, any = false;
    for (; i < text.len; i++) {
        char c = text.at[i];
        if (c == '.' && !after_point) {
            after_point = true;
            continue;
        }
        if (c < '0' || c > '9') {
            break;
        }
        any = true;
        if (d->count == 0 && c == '0') {
            d->point -= after_point;
            continue;
        }
        if (d->count < SIGNIFICANT_MAX) {
            d->digits[d->count++] = c;
        }
        d->point += !after_point;
    }
    *ret_position = i;
    if (any && exponents && i + 1 < text.len && (text.at[i] == 'e' || text.at[i] == 'E')) {
        i++;
        bool negative = text.at[i] == '-';
        i += negative || text.at[i] == '+' ? 1 : 0;
        int64_t exponent = 0;
        any = false;
        for (; i < text.len && text.at[i] >= '0' && text.at[i] <= '9'; i++) {
            any = true;
            exponent = exponent < 1000000 ? exponent * 10 + (text.at[i] - '0') : exponent;
        }
        d->point += negative ? -exponent : exponent;
        *ret_position = i;
    }
    return any && i == text.len;
}

/* How Redshift's JSON reader makes a number of an integer too long for 64 bit: what fits is exact,
 * each further digit is added to a double. 38 nines were seen to be stored as
 * 99999999999999979000000000000000000000, which is this sum printed with 17 digits; a correctly
 * rounded double would have been 99999999999999998000000000000000000000. */
static double add_up_digits(struct piece digits)
{
    uint64_t exact = 0;
    size_t i = 0;
    for (; i < digits.len; i++) {
        uint64_t digit = (uint64_t)(digits.at[i] - '0');
        if (exact > (UINT64_MAX - digit) / 10) {
            break;
        }
        exact = exact * 10 + digit;
    }
    double sum = (double)exact;
    for (; i < digits.len; i++) {
        sum = sum * 10 + (digits.at[i] - '0');
    }
    return sum;
}

static bool is_beyond_64_bit(struct piece digits, bool negative)
{
    const char *most = negative ? "9223372036854775808" : "18446744073709551615";
    size_t len = strlen(most);
    return digits.len > len || (digits.len == len && memcmp(digits.at, most, len) > 0);
}

/* The text that stands for an unquoted number on its way to NUMERIC; `buffer` may hold it. */
static struct piece number_for_decimal(struct copy_convert *c, struct piece text, char buffer[64])
{
    size_t sign = text.at[0] == '-' ? 1 : 0;
    struct piece digits = {text.at + sign, text.len - sign};
    bool integer = true;
    bool exponent = false;
    for (size_t i = 0; i < digits.len; i++) {
        integer &= digits.at[i] >= '0' && digits.at[i] <= '9';
        exponent |= digits.at[i] == 'e' || digits.at[i] == 'E';
    }
    double number;
    if (integer && is_beyond_64_bit(digits, sign == 1)) {
        number = add_up_digits(digits);
    } else if (exponent) {
        c->decoded.len = 0;
        bytes_put(&c->decoded, digits.at, digits.len);
        number = strtod(bytes_text(&c->decoded), NULL);
    } else {
        return text;
    }
    int len = snprintf(buffer, 64, "%s%.17g", sign ? "-" : "", number);
    return (struct piece){buffer, (size_t)len};
}

static bool fail_overflow(struct copy_convert *c)
{
    return copy_fault_set(&c->fault, 1209, 0, "Numeric data overflow (result precision)");
}

/* The digit at 10^-place (0: the last one before the point). */
static char digit_at(const struct decimal *d, int64_t place)
{
    int64_t index = d->point - 1 + place;
    return index < 0 || index >= (int64_t)d->count ? '0' : d->digits[index];
}

static bool convert_decimal(struct copy_convert *c,
                            const struct copy_column *column,
                            bool unquoted,
                            struct piece text,
                            struct bytes *out)
{
    char buffer[64];
    if (unquoted) {
        text = number_for_decimal(c, text, buffer);
        if (text.at == buffer && strpbrk(buffer, "in") != NULL) {
            return fail_overflow(c);
        }
    }
    struct decimal d;
    size_t position;
    if (!read_decimal(text, unquoted, &d, &position)) {
        return fail_digit(c, text, position, "Decimal");
    }
    int64_t whole = d.count == 0 || d.point < 0 ? 0 : d.point;
    if (d.count == 0) {
        d.point = 0;
    }
    if (whole > column->precision - column->scale) {
        return fail_overflow(c);
    }
    /* digits[] = whole and scale digits as one unscaled integer with a spare 0 in front. */
    char digits[SIGNIFICANT_MAX] = "0";
    size_t count = 1;
    for (int64_t place = 1 - whole; place <= column->scale; place++) {
        digits[count++] = digit_at(&d, place);
    }
    if (c->st->round_decimals && digit_at(&d, column->scale + 1) >= '5') {
        size_t i = count - 1;
        while (digits[i] == '9') {
            digits[i--] = '0';
        }
        digits[i]++;
    }
    size_t lead = strspn(digits, "0");
    size_t unscaled = count > lead ? count - lead : 0;
    if (unscaled > (size_t)column->precision ||
        (column->precision == 19 && unscaled == 19 &&
         memcmp(digits + lead, "9223372036854775807", 19) > 0)) {
        return fail_overflow(c); /* up to 19 digits are kept in 64 bits */
    }
    if (d.negative && unscaled > 0) {
        bytes_put_char(out, '-');
    }
    bytes_put(out, digits, count - (size_t)column->scale);
    if (column->scale > 0) {
        bytes_put_char(out, '.');
        bytes_put(out, digits + count - (size_t)column->scale, (size_t)column->scale);
    }
    return true;
}

static bool
convert_float(struct copy_convert *c, enum column_type type, struct piece text, struct bytes *out)
{
    struct decimal d;
    size_t position;
    struct bytes *copy = &c->replaced;
    copy->len = 0;
    bytes_put(copy, text.at, text.len);
    const char *start = bytes_text(copy);
    struct piece kept = {start, text.len};
    if (!read_decimal(kept, true, &d, &position)) {
        return copy_fault_set(&c->fault, 1208, position,
                              "Invalid digit, Value '%.1s', Pos %zu, Type: %s",
                              position < text.len ? start + position : "", position,
                              type == COLUMN_REAL ? "Float" : "Double");
    }
    /* Only an exponent or a very long text can leave the range. */
    if (text.len > 30 || memchr(start, 'e', text.len) != NULL ||
        memchr(start, 'E', text.len) != NULL) {
        double number = type == COLUMN_REAL ? (double)strtof(start, NULL) : strtod(start, NULL);
        if (isinf(number) || (number == 0 && d.count > 0)) {
            return copy_fault_set(&c->fault, 1208, 0, "Overflow for %s",
                                  type == COLUMN_REAL ? "float4" : "float8");
        }
    }
    bytes_put(out, text.at, text.len);
    return true;
}

static bool convert_boolean(struct copy_convert *c, struct piece text, struct bytes *out)
{
    static const char *const words[] = {"t", "true", "y", "yes", "1", "f", "false", "n", "no", "0"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (text.len == strlen(words[i]) && strncasecmp(text.at, words[i], text.len) == 0) {
            bytes_put_char(out, i < 5 ? 't' : 'f');
            return true;
        }
    }
    return copy_fault_set(&c->fault, 1210, 0, "Unknown boolean format");
}

/* ------------------------------------------------------------------ the other types */

static bool convert_time(struct copy_convert *c,
                         const struct copy_column *column,
                         struct piece text,
                         struct bytes *out)
{
    static const enum time_kind kinds[] = {
        [COLUMN_DATE] = TIME_DATE,
        [COLUMN_TIME] = TIME_OF_DAY,
        [COLUMN_TIMESTAMP] = TIME_STAMP,
        [COLUMN_TIMESTAMPTZ] = TIME_STAMP_TZ,
    };
    bool date = column->type == COLUMN_DATE;
    enum copy_time_format format = date ? c->st->date_format : c->st->time_format;
    if (copy_time_read(kinds[column->type], format, text, out)) {
        return true;
    }
    if (format == COPY_TIME_AUTO && c->cast != NULL && copy_time_may_cast(text) &&
        c->cast(c->cast_ctx, column->type, text, out)) {
        return true;
    }
    if (date && c->st->accept_any_date) {
        return put_null(c, column, out);
    }
    if (date) {
        return copy_fault_set(&c->fault, 1205, 0, "Invalid Date Format - %s",
                              text.len < 10              ? "length must be 10 or more"
                              : format == COPY_TIME_AUTO ? "not a date that is recognised"
                                                         : "[YYYY-MM-DD]");
    }
    return copy_fault_set(&c->fault, 1206, 0, "Invalid timestamp format or value [%s]",
                          format == COPY_TIME_AUTO                 ? "auto"
                          : format == COPY_TIME_EPOCH_SECONDS      ? "epochsecs"
                          : format == COPY_TIME_EPOCH_MILLISECONDS ? "epochmillisecs"
                          : column->type == COLUMN_TIMESTAMPTZ     ? "YYYY-MM-DD HH24:MI:SSOF"
                                                                   : "YYYY-MM-DD HH24:MI:SS");
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool convert_varbyte(struct copy_convert *c,
                            const struct copy_column *column,
                            struct piece text,
                            struct bytes *out)
{
    for (size_t i = 0; i < text.len; i++) {
        if (!is_hex(text.at[i])) {
            return copy_fault_set(&c->fault, 1219, i, "Invalid hex digit in a VARBYTE value");
        }
    }
    if (text.len % 2 != 0) {
        return copy_fault_set(&c->fault, 1219, text.len,
                              "Odd number of hex digits in a VARBYTE value");
    }
    if (text.len / 2 > (size_t)column->length) {
        return copy_fault_set(&c->fault, 1204, (size_t)column->length,
                              "Varbyte length exceeds DDL length");
    }
    bytes_put(out, "\\\\x", 3);
    bytes_put(out, text.at, text.len);
    return true;
}

static bool convert_super(struct copy_convert *c, const struct json_value *value, struct bytes *out)
{
    if (!copy_super_write(c, value)) {
        return false;
    }
    put_field((struct piece){c->document.at, c->document.len}, out);
    return true;
}

bool copy_convert_value(struct copy_convert *c,
                        const struct copy_column *column,
                        const struct json_value *value,
                        struct bytes *out)
{
    if (value->kind == JSON_NULL) {
        return put_null(c, column, out);
    }
    if (column->type == COLUMN_SUPER) {
        return convert_super(c, value, out);
    }
    struct piece text = value->text;
    if (value->kind == JSON_STRING && value->escaped) {
        c->decoded.len = 0;
        json_decode(value->text, &c->decoded);
        text = (struct piece){c->decoded.at, c->decoded.len};
    }
    if (column->type == COLUMN_VARCHAR || column->type == COLUMN_CHAR) {
        return convert_text(c, column, value, text, out);
    }
    if (is_blank(text)) {
        return put_null(c, column, out);
    }
    switch (column->type) {
    case COLUMN_SMALLINT:
    case COLUMN_INTEGER:
    case COLUMN_BIGINT:
        return convert_integer(c, column->type, text, out);
    case COLUMN_NUMERIC:
        return convert_decimal(c, column, value->kind == JSON_NUMBER, text, out);
    case COLUMN_REAL:
    case COLUMN_DOUBLE:
        return convert_float(c, column->type, text, out);
    case COLUMN_BOOLEAN:
        return convert_boolean(c, text, out);
    case COLUMN_DATE:
    case COLUMN_TIME:
    case COLUMN_TIMESTAMP:
    case COLUMN_TIMESTAMPTZ:
        return convert_time(c, column, text, out);
    case COLUMN_VARBYTE:
        return convert_varbyte(c, column, text, out);
    case COLUMN_CHAR:
    case COLUMN_VARCHAR:
    case COLUMN_SUPER:
        break;
    }
    return copy_fault_set(&c->fault, 1223, 0, "Invalid data type");
}
