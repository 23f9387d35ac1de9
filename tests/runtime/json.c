/* JSON trees: reading, building, comparing by value, writing. Pure; knows nothing of Flow. */
#include "json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 512, MAX_DIGITS = 200 };

/* ---------------------------------------------------------------- building */

struct fr_json *fr_json_new(struct fr_arena *arena, enum fr_type type)
{
    struct fr_json *value = fr_arena_get(arena, sizeof(*value));
    value->type = type;
    return value;
}

struct fr_json *fr_json_string_n(struct fr_arena *arena, const char *text, size_t len)
{
    struct fr_json *value = fr_json_new(arena, FR_STRING);
    value->text = fr_arena_copy(arena, text, len);
    value->count = (uint32_t)len;
    return value;
}

struct fr_json *fr_json_string(struct fr_arena *arena, const char *text)
{
    return fr_json_string_n(arena, text, strlen(text));
}

struct fr_json *fr_json_bool(struct fr_arena *arena, bool value)
{
    return fr_json_new(arena, value ? FR_TRUE : FR_FALSE);
}

struct fr_json *fr_json_int_text(struct fr_arena *arena, int64_t value)
{
    char text[32];
    (void)snprintf(text, sizeof(text), "%lld", (long long)value);
    return fr_json_string(arena, text);
}

struct fr_json *fr_json_int(struct fr_arena *arena, int64_t value)
{
    struct fr_json *number = fr_json_int_text(arena, value);
    number->type = FR_NUMBER;
    return number;
}

void fr_json_push(struct fr_arena *arena, struct fr_json *array, struct fr_json *item)
{
    if (array->count == array->room) {
        uint32_t room = array->room == 0 ? 4 : array->room * 2;
        struct fr_json **items = fr_arena_get(arena, room * sizeof(struct fr_json *));
        if (array->count > 0) {
            memcpy(items, array->items, array->count * sizeof(struct fr_json *));
        }
        array->items = items;
        array->room = room;
    }
    array->items[array->count++] = item;
}

static int compare_names(const char *left, size_t left_len, const char *right, size_t right_len)
{
    int order = memcmp(left, right, left_len < right_len ? left_len : right_len);
    if (order != 0) {
        return order;
    }
    return left_len < right_len ? -1 : left_len > right_len;
}

/* The first member whose name is not below the given one. */
static uint32_t find_member(const struct fr_json *object, const char *name, size_t len)
{
    uint32_t low = 0;
    uint32_t high = object->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct fr_member *member = &object->members[middle];
        if (compare_names(member->name, member->name_len, name, len) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool is_member(const struct fr_json *object, uint32_t at, const char *name, size_t len)
{
    return at < object->count && object->members[at].name_len == len &&
           memcmp(object->members[at].name, name, len) == 0;
}

/* Puts the member in its place. The name is not copied. */
static void insert_member(struct fr_arena *arena,
                          struct fr_json *object,
                          const char *name,
                          size_t len,
                          struct fr_json *value)
{
    uint32_t at = object->count;
    if (at > 0) {
        const struct fr_member *last = &object->members[at - 1];
        if (compare_names(last->name, last->name_len, name, len) >= 0) {
            at = find_member(object, name, len);
        }
    }
    if (is_member(object, at, name, len)) {
        object->members[at].value = value;
        return;
    }
    if (object->count == object->room) {
        uint32_t room = object->room == 0 ? 4 : object->room * 2;
        struct fr_member *members = fr_arena_get(arena, room * sizeof(*members));
        if (object->count > 0) {
            memcpy(members, object->members, object->count * sizeof(*members));
        }
        object->members = members;
        object->room = room;
    }
    memmove(&object->members[at + 1], &object->members[at],
            (object->count - at) * sizeof(struct fr_member));
    object->members[at] = (struct fr_member){name, (uint32_t)len, value};
    object->count++;
}

void fr_json_set_n(struct fr_arena *arena,
                   struct fr_json *object,
                   const char *name,
                   size_t name_len,
                   struct fr_json *value)
{
    insert_member(arena, object, fr_arena_copy(arena, name, name_len), name_len, value);
}

void fr_json_set(struct fr_arena *arena,
                 struct fr_json *object,
                 const char *name,
                 struct fr_json *value)
{
    fr_json_set_n(arena, object, name, strlen(name), value);
}

void fr_json_remove(struct fr_json *object, const char *name, size_t name_len)
{
    uint32_t at = find_member(object, name, name_len);
    if (!is_member(object, at, name, name_len)) {
        return;
    }
    memmove(&object->members[at], &object->members[at + 1],
            (object->count - at - 1) * sizeof(struct fr_member));
    object->count--;
}

struct fr_json *fr_json_shallow(struct fr_arena *arena, const struct fr_json *value)
{
    struct fr_json *copy = fr_json_new(arena, value->type);
    *copy = *value;
    if (value->type == FR_ARRAY && value->count > 0) {
        copy->items = fr_arena_get(arena, value->count * sizeof(struct fr_json *));
        memcpy(copy->items, value->items, value->count * sizeof(struct fr_json *));
        copy->room = value->count;
    } else if (value->type == FR_OBJECT && value->count > 0) {
        copy->members = fr_arena_get(arena, value->count * sizeof(struct fr_member));
        memcpy(copy->members, value->members, value->count * sizeof(struct fr_member));
        copy->room = value->count;
    }
    return copy;
}

struct fr_json *fr_json_deep(struct fr_arena *arena, const struct fr_json *value)
{
    struct fr_json *copy = fr_json_shallow(arena, value);
    if (value->type == FR_NUMBER || value->type == FR_STRING) {
        copy->text = fr_arena_copy(arena, value->text, value->count);
    }
    for (uint32_t i = 0; i < value->count; i++) {
        if (value->type == FR_ARRAY) {
            copy->items[i] = fr_json_deep(arena, value->items[i]);
        } else if (value->type == FR_OBJECT) {
            struct fr_member *member = &copy->members[i];
            member->name = fr_arena_copy(arena, member->name, member->name_len);
            member->value = fr_json_deep(arena, member->value);
        }
    }
    return copy;
}

/* ---------------------------------------------------------------- reading */

struct reader {
    struct fr_arena *arena;
    const char *at;
    const char *end;
    const char *error; /* the first one; a sentence */
    unsigned depth;
};

static struct fr_json *read_value(struct reader *in);

static void *fail(struct reader *in, const char *error)
{
    if (in->error == NULL) {
        in->error = error;
    }
    return NULL;
}

static void skip_space(struct reader *in)
{
    while (in->at < in->end &&
           (*in->at == ' ' || *in->at == '\n' || *in->at == '\t' || *in->at == '\r')) {
        in->at++;
    }
}

static bool next_is(struct reader *in, char c)
{
    if (in->at < in->end && *in->at == c) {
        in->at++;
        return true;
    }
    return false;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static struct fr_json *read_number(struct reader *in)
{
    const char *start = in->at;
    (void)next_is(in, '-');
    if (in->at == in->end || !is_digit(*in->at)) {
        return fail(in, "a number has no digits");
    }
    if (*in->at == '0' && in->at + 1 < in->end && is_digit(in->at[1])) {
        return fail(in, "a number begins with a zero");
    }
    while (in->at < in->end && is_digit(*in->at)) {
        in->at++;
    }
    if (next_is(in, '.')) {
        if (in->at == in->end || !is_digit(*in->at)) {
            return fail(in, "a number has no digits after its point");
        }
        while (in->at < in->end && is_digit(*in->at)) {
            in->at++;
        }
    }
    if (in->at < in->end && (*in->at == 'e' || *in->at == 'E')) {
        in->at++;
        if (in->at < in->end && (*in->at == '+' || *in->at == '-')) {
            in->at++;
        }
        if (in->at == in->end || !is_digit(*in->at)) {
            return fail(in, "a number has no digits in its exponent");
        }
        while (in->at < in->end && is_digit(*in->at)) {
            in->at++;
        }
    }
    struct fr_json *number = fr_json_new(in->arena, FR_NUMBER);
    number->count = (uint32_t)(in->at - start);
    number->text = fr_arena_copy(in->arena, start, number->count);
    return number;
}

static int read_hex4(struct reader *in)
{
    int value = 0;
    if (in->end - in->at < 4) {
        return -1;
    }
    for (int i = 0; i < 4; i++) {
        char c = *in->at++;
        int digit = is_digit(c)            ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) {
            return -1;
        }
        value = value * 16 + digit;
    }
    return value;
}

static char *put_utf8(char *out, uint32_t code)
{
    if (code < 0x80) {
        *out++ = (char)code;
    } else if (code < 0x800) {
        *out++ = (char)(0xc0 | code >> 6);
        *out++ = (char)(0x80 | (code & 63));
    } else if (code < 0x10000) {
        *out++ = (char)(0xe0 | code >> 12);
        *out++ = (char)(0x80 | (code >> 6 & 63));
        *out++ = (char)(0x80 | (code & 63));
    } else {
        *out++ = (char)(0xf0 | code >> 18);
        *out++ = (char)(0x80 | (code >> 12 & 63));
        *out++ = (char)(0x80 | (code >> 6 & 63));
        *out++ = (char)(0x80 | (code & 63));
    }
    return out;
}

/* The length of a well-formed UTF-8 sequence at the start, or 0. */
static unsigned utf8_length(const unsigned char *at, size_t left)
{
    unsigned char lead = at[0];
    unsigned len = lead < 0x80                   ? 1
                   : lead >= 0xc2 && lead < 0xe0 ? 2
                   : lead < 0xc2                 ? 0
                   : lead < 0xf0                 ? 3
                   : lead < 0xf5                 ? 4
                                                 : 0;
    if (len == 0 || len > left) {
        return 0;
    }
    for (unsigned i = 1; i < len; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    if ((lead == 0xe0 && at[1] < 0xa0) || (lead == 0xed && at[1] >= 0xa0) ||
        (lead == 0xf0 && at[1] < 0x90) || (lead == 0xf4 && at[1] >= 0x90)) {
        return 0;
    }
    return len;
}

static char *read_escape(struct reader *in, char *out)
{
    if (in->at == in->end) {
        return fail(in, "a string does not end");
    }
    char c = *in->at++;
    static const char names[] = "\"\\/bfnrt";
    static const char values[] = "\"\\/\b\f\n\r\t";
    const char *found = c == '\0' ? NULL : strchr(names, c);
    if (found != NULL) {
        *out++ = values[found - names];
        return out;
    }
    if (c != 'u') {
        return fail(in, "a string has an unknown escape");
    }
    int code = read_hex4(in);
    if (code < 0) {
        return fail(in, "a \\u escape has no four hex digits");
    }
    if (code >= 0xdc00 && code < 0xe000) {
        return fail(in, "a string has half a surrogate pair");
    }
    if (code >= 0xd800 && code < 0xdc00) {
        if (in->end - in->at < 6 || in->at[0] != '\\' || in->at[1] != 'u') {
            return fail(in, "a string has half a surrogate pair");
        }
        in->at += 2;
        int low = read_hex4(in);
        if (low < 0xdc00 || low >= 0xe000) {
            return fail(in, "a string has half a surrogate pair");
        }
        code = 0x10000 + (code - 0xd800) * 0x400 + (low - 0xdc00);
    }
    return put_utf8(out, (uint32_t)code);
}

/* The text of a string whose opening quote was read; in the arena. */
static const char *read_string(struct reader *in, uint32_t *ret_len)
{
    const char *close = in->at;
    while (close < in->end && *close != '"') {
        close += *close == '\\' && close + 1 < in->end ? 2 : 1;
    }
    if (close >= in->end) {
        return fail(in, "a string does not end");
    }
    char *text = fr_arena_get(in->arena, (size_t)(close - in->at) + 1);
    char *out = text;
    while (in->at < close) {
        unsigned char c = (unsigned char)*in->at;
        if (c == '\\') {
            in->at++;
            out = read_escape(in, out);
            if (out == NULL) {
                return NULL;
            }
        } else if (c < 0x20) {
            return fail(in, "a string has a raw control character");
        } else if (c < 0x80) {
            *out++ = *in->at++;
        } else {
            unsigned len = utf8_length((const unsigned char *)in->at, (size_t)(close - in->at));
            if (len == 0) {
                return fail(in, "a string is not UTF-8");
            }
            memcpy(out, in->at, len);
            out += len;
            in->at += len;
        }
    }
    in->at = close + 1;
    *ret_len = (uint32_t)(out - text);
    return text;
}

static struct fr_json *read_array(struct reader *in)
{
    struct fr_json *array = fr_json_new(in->arena, FR_ARRAY);
    skip_space(in);
    if (next_is(in, ']')) {
        return array;
    }
    for (;;) {
        struct fr_json *item = read_value(in);
        if (item == NULL) {
            return NULL;
        }
        fr_json_push(in->arena, array, item);
        skip_space(in);
        if (next_is(in, ']')) {
            return array;
        }
        if (!next_is(in, ',')) {
            return fail(in, "an array has neither comma nor bracket after an item");
        }
    }
}

static struct fr_json *read_object(struct reader *in)
{
    struct fr_json *object = fr_json_new(in->arena, FR_OBJECT);
    skip_space(in);
    if (next_is(in, '}')) {
        return object;
    }
    for (;;) {
        skip_space(in);
        if (!next_is(in, '"')) {
            return fail(in, "an object has a member without a name");
        }
        uint32_t len = 0;
        const char *name = read_string(in, &len);
        if (name == NULL) {
            return NULL;
        }
        skip_space(in);
        if (!next_is(in, ':')) {
            return fail(in, "a member has no colon");
        }
        struct fr_json *value = read_value(in);
        if (value == NULL) {
            return NULL;
        }
        insert_member(in->arena, object, name, len, value);
        skip_space(in);
        if (next_is(in, '}')) {
            return object;
        }
        if (!next_is(in, ',')) {
            return fail(in, "an object has neither comma nor brace after a member");
        }
    }
}

static struct fr_json *read_word(struct reader *in, const char *word, enum fr_type type)
{
    size_t len = strlen(word);
    if ((size_t)(in->end - in->at) < len || memcmp(in->at, word, len) != 0) {
        return fail(in, "there is a word that JSON does not know");
    }
    in->at += len;
    return fr_json_new(in->arena, type);
}

static struct fr_json *read_value(struct reader *in)
{
    skip_space(in);
    if (in->at == in->end) {
        return fail(in, "the text ends where a value is expected");
    }
    struct fr_json *value = NULL;
    switch (*in->at) {
    case '{':
    case '[':
        if (++in->depth > MAX_DEPTH) {
            return fail(in, "values are nested too deeply");
        }
        value = *in->at++ == '{' ? read_object(in) : read_array(in);
        in->depth--;
        return value;
    case '"':
        in->at++;
        value = fr_json_new(in->arena, FR_STRING);
        value->text = read_string(in, &value->count);
        return value->text == NULL ? NULL : value;
    case 't':
        return read_word(in, "true", FR_TRUE);
    case 'f':
        return read_word(in, "false", FR_FALSE);
    case 'n':
        return read_word(in, "null", FR_NULL);
    default:
        return read_number(in);
    }
}

size_t fr_json_read(struct fr_arena *arena,
                    const char *text,
                    size_t len,
                    struct fr_json **ret_value,
                    const char **ret_error)
{
    struct reader in = {arena, text, text + len, NULL, 0};
    *ret_value = read_value(&in);
    *ret_error = in.error;
    return *ret_value == NULL ? 0 : (size_t)(in.at - text);
}

struct fr_json *
fr_json_parse(struct fr_arena *arena, const char *text, size_t len, const char **ret_error)
{
    struct reader in = {arena, text, text + len, NULL, 0};
    struct fr_json *value = read_value(&in);
    skip_space(&in);
    if (value != NULL && in.at != in.end) {
        value = fail(&in, "something follows the value");
    }
    *ret_error = in.error;
    return value;
}

/* ---------------------------------------------------------------- asking */

bool fr_json_is(const struct fr_json *value, enum fr_type type)
{
    return value != NULL && value->type == type;
}

struct fr_json *fr_json_get_n(const struct fr_json *object, const char *name, size_t name_len)
{
    if (!fr_json_is(object, FR_OBJECT)) {
        return NULL;
    }
    uint32_t at = find_member(object, name, name_len);
    return is_member(object, at, name, name_len) ? object->members[at].value : NULL;
}

struct fr_json *fr_json_get(const struct fr_json *object, const char *name)
{
    return fr_json_get_n(object, name, strlen(name));
}

struct fr_json *fr_json_at(const struct fr_json *value, const char *pointer)
{
    char part[1024];

    while (value != NULL && *pointer == '/') {
        size_t len = 0;
        pointer++;
        while (*pointer != '\0' && *pointer != '/' && len < sizeof(part) - 1) {
            if (pointer[0] == '~' && (pointer[1] == '0' || pointer[1] == '1')) {
                part[len++] = pointer[1] == '0' ? '~' : '/';
                pointer += 2;
            } else {
                part[len++] = *pointer++;
            }
        }
        part[len] = '\0';
        if (value->type == FR_ARRAY) {
            char *end = NULL;
            unsigned long index = strtoul(part, &end, 10);
            bool is_index = len > 0 && *end == '\0' && index < value->count;
            value = is_index ? value->items[index] : NULL;
        } else {
            value = fr_json_get_n(value, part, len);
        }
    }
    /* The tree is the caller's own, who may change it. */
    union {
        const struct fr_json *in;
        struct fr_json *out;
    } same = {value};
    return same.out;
}

bool fr_json_true(const struct fr_json *value)
{
    return fr_json_is(value, FR_TRUE);
}

const char *fr_json_text(const struct fr_json *value)
{
    return fr_json_is(value, FR_STRING) ? value->text : NULL;
}

bool fr_json_is_text(const struct fr_json *value, const char *text)
{
    return fr_json_is(value, FR_STRING) && value->count == strlen(text) &&
           memcmp(value->text, text, value->count) == 0;
}

bool fr_json_to_int(const struct fr_json *value, int64_t *ret_value)
{
    if (!fr_json_is(value, FR_NUMBER) && !fr_json_is(value, FR_STRING)) {
        return false;
    }
    char *end = NULL;
    if (value->count == 0 || value->count > 20) {
        return false;
    }
    long long parsed = strtoll(value->text, &end, 10);
    if (*end != '\0' || parsed == INT64_MAX || parsed == INT64_MIN) {
        return false;
    }
    *ret_value = parsed;
    return true;
}

bool fr_json_is_integer_text(const struct fr_json *value)
{
    return fr_json_is(value, FR_NUMBER) && strpbrk(value->text, ".eE") == NULL &&
           strcmp(value->text, "-0") != 0;
}

/* ---------------------------------------------------------------- numbers */

/* value = (-1)^negative * 0.digits * 10^exponent; zero has no digits. Digits have no leading and
   no trailing zeros. */
struct decimal {
    bool negative;
    unsigned count;
    long exponent;
    char digits[MAX_DIGITS + 1];
    bool too_long; /* more digits than fit: value is approximate */
};

static void read_decimal(const char *text, struct decimal *d)
{
    long exponent = 0;
    bool point = false;

    memset(d, 0, offsetof(struct decimal, digits));
    d->too_long = false;
    if (*text == '-') {
        d->negative = true;
        text++;
    }
    for (; is_digit(*text) || *text == '.'; text++) {
        if (*text == '.') {
            point = true;
            continue;
        }
        if (*text == '0' && d->count == 0) {
            exponent -= point ? 1 : 0;
            continue;
        }
        exponent += point ? 0 : 1;
        if (d->count < MAX_DIGITS) {
            d->digits[d->count++] = *text;
        } else {
            d->too_long = true;
        }
    }
    if (*text == 'e' || *text == 'E') {
        exponent += strtol(text + 1, NULL, 10);
    }
    while (d->count > 0 && d->digits[d->count - 1] == '0') {
        d->count--;
    }
    d->exponent = exponent;
    if (d->count == 0) {
        d->negative = false;
        d->exponent = 0;
    }
}

/* Order of the magnitudes. */
static int compare_magnitude(const struct decimal *left, const struct decimal *right)
{
    if (left->count == 0 || right->count == 0) {
        return (left->count > 0) - (right->count > 0);
    }
    if (left->exponent != right->exponent) {
        return left->exponent < right->exponent ? -1 : 1;
    }
    return compare_names(left->digits, left->count, right->digits, right->count);
}

static int compare_numbers(const struct fr_json *left, const struct fr_json *right)
{
    struct decimal l;
    struct decimal r;
    read_decimal(left->text, &l);
    read_decimal(right->text, &r);
    if (l.negative != r.negative) {
        return l.negative ? -1 : 1;
    }
    int order = compare_magnitude(&l, &r);
    return l.negative ? -order : order;
}

bool fr_json_is_integral(const struct fr_json *value)
{
    if (!fr_json_is(value, FR_NUMBER)) {
        return false;
    }
    struct decimal d;
    read_decimal(value->text, &d);
    return d.exponent >= (long)d.count;
}

/* The digit of weight 10^power. */
static int digit_at(const struct decimal *d, long power)
{
    long index = d->exponent - 1 - power;
    return index < 0 || index >= (long)d->count ? 0 : d->digits[index] - '0';
}

struct fr_json *
fr_json_sum(struct fr_arena *arena, const struct fr_json *left, const struct fr_json *right)
{
    struct decimal l;
    struct decimal r;
    read_decimal(left->text, &l);
    read_decimal(right->text, &r);
    bool fraction = strpbrk(left->text, ".eE") != NULL || strpbrk(right->text, ".eE") != NULL;
    long low_l = l.exponent - (long)l.count;
    long low_r = r.exponent - (long)r.count;
    long low = low_l < low_r ? low_l : low_r;
    long high = l.exponent > r.exponent ? l.exponent : r.exponent;
    low = low > 0 ? 0 : low;
    high = high < 1 ? 1 : high;
    if (high - low > MAX_DIGITS - 2 || l.too_long || r.too_long) {
        return NULL;
    }
    /* Subtract the smaller magnitude when signs differ. */
    const struct decimal *big = compare_magnitude(&l, &r) >= 0 ? &l : &r;
    const struct decimal *small = big == &l ? &r : &l;
    int sign = l.negative == r.negative ? 1 : -1;
    char text[MAX_DIGITS + 8];
    size_t at = sizeof(text) - 1;
    int carry = 0;
    text[at] = '\0';
    bool nonzero = false;
    for (long power = low; power <= high; power++) {
        int digit = digit_at(big, power) + sign * digit_at(small, power) + carry;
        carry = digit < 0 ? -1 : digit / 10;
        digit = (digit + 10) % 10;
        if (power == 0 && low < 0) {
            text[--at] = '.';
        }
        nonzero = nonzero || digit != 0;
        text[--at] = (char)('0' + digit);
    }
    while (text[at] == '0' && is_digit(text[at + 1])) {
        at++;
    }
    if (big->negative && nonzero) {
        text[--at] = '-';
    }
    /* 0.20 is written 0.2, 2.00 is written 2.0: as floats are printed. */
    size_t len = sizeof(text) - 1 - at;
    while (low < -1 && text[at + len - 1] == '0') {
        len--;
        low++;
    }
    struct fr_json *sum = fr_json_new(arena, FR_NUMBER);
    if (fraction && low == 0) {
        /* 1.5 + 0.5 stays a number with a fraction, as floats would print it. */
        char *copy = fr_arena_get(arena, len + 3);
        memcpy(copy, text + at, len);
        memcpy(copy + len, ".0", 3);
        sum->text = copy;
        sum->count = (uint32_t)len + 2;
        return sum;
    }
    sum->text = fr_arena_copy(arena, text + at, len);
    sum->count = (uint32_t)len;
    return sum;
}

/* ---------------------------------------------------------------- comparing */

static int type_rank(enum fr_type type)
{
    return type == FR_TRUE ? FR_FALSE : (int)type;
}

int fr_json_compare(const struct fr_json *left, const struct fr_json *right)
{
    if (type_rank(left->type) != type_rank(right->type)) {
        return type_rank(left->type) < type_rank(right->type) ? -1 : 1;
    }
    switch (left->type) {
    case FR_NULL:
        return 0;
    case FR_FALSE:
    case FR_TRUE:
        return (int)left->type - (int)right->type;
    case FR_NUMBER:
        return compare_numbers(left, right);
    case FR_STRING:
        return compare_names(left->text, left->count, right->text, right->count);
    case FR_ARRAY:
    case FR_OBJECT:
        break;
    }
    for (uint32_t i = 0; i < left->count && i < right->count; i++) {
        int order = 0;
        if (left->type == FR_ARRAY) {
            order = fr_json_compare(left->items[i], right->items[i]);
        } else {
            const struct fr_member *l = &left->members[i];
            const struct fr_member *r = &right->members[i];
            order = compare_names(l->name, l->name_len, r->name, r->name_len);
            order = order != 0 ? order : fr_json_compare(l->value, r->value);
        }
        if (order != 0) {
            return order;
        }
    }
    return left->count < right->count ? -1 : left->count > right->count;
}

bool fr_json_equal(const struct fr_json *left, const struct fr_json *right)
{
    return fr_json_compare(left, right) == 0;
}

/* U+0000 comes back as U+FFFD, and of a long string the first 65,535 bytes in whole characters. */
static bool is_text_stored(const struct fr_json *left, const struct fr_json *right)
{
    enum { MOST = 65535 };
    static const char replacement[] = "\xef\xbf\xbd";
    struct fr_buf text = {0};

    for (uint32_t i = 0; i < left->count; i++) {
        if (left->text[i] != '\0') {
            fr_buf_putc(&text, left->text[i]);
        } else {
            fr_buf_puts(&text, replacement);
        }
    }
    size_t len = text.len;
    if (len > MOST) {
        len = MOST;
        while (len > 0 && ((unsigned char)text.data[len] & 0xc0) == 0x80) {
            len--;
        }
    }
    bool is_same = len == right->count && (len == 0 || memcmp(text.data, right->text, len) == 0);
    fr_buf_done(&text);
    return is_same;
}

/* An integer beyond 64 bits comes back with fifteen digits. */
static bool is_wide_stored(const struct fr_json *left, const struct fr_json *right)
{
    char l[40], r[40];

    errno = 0;
    (void)strtoll(left->text, NULL, 10);
    if (errno != ERANGE || !fr_json_is_integer_text(left)) {
        return false;
    }
    (void)snprintf(l, sizeof(l), "%.15g", strtod(left->text, NULL));
    (void)snprintf(r, sizeof(r), "%.15g", strtod(right->text, NULL));
    return strcmp(l, r) == 0;
}

bool fr_json_equal_stored(const struct fr_json *left, const struct fr_json *right)
{
    if (left->type == FR_STRING && right->type == FR_STRING) {
        return fr_json_compare(left, right) == 0 || is_text_stored(left, right);
    }
    if (left->type != right->type || (left->type != FR_NUMBER && left->count != right->count)) {
        return false;
    }
    if (left->type == FR_NUMBER) {
        if (compare_numbers(left, right) == 0 || is_wide_stored(left, right)) {
            return true;
        }
        bool floats = !fr_json_is_integer_text(left) || !fr_json_is_integer_text(right);
        double l = strtod(left->text, NULL);
        double r = strtod(right->text, NULL);
        return floats && !(l < r) && !(l > r);
    }
    if (left->type == FR_ARRAY) {
        for (uint32_t i = 0; i < left->count; i++) {
            if (!fr_json_equal_stored(left->items[i], right->items[i])) {
                return false;
            }
        }
        return true;
    }
    if (left->type == FR_OBJECT) {
        for (uint32_t i = 0; i < left->count; i++) {
            const struct fr_member *l = &left->members[i];
            const struct fr_member *r = &right->members[i];
            if (compare_names(l->name, l->name_len, r->name, r->name_len) != 0 ||
                !fr_json_equal_stored(l->value, r->value)) {
                return false;
            }
        }
        return true;
    }
    return fr_json_compare(left, right) == 0;
}

struct fr_json *
fr_json_merge_patch(struct fr_arena *arena, struct fr_json *target, struct fr_json *patch)
{
    if (patch->type != FR_OBJECT) {
        return patch;
    }
    struct fr_json *merged = fr_json_is(target, FR_OBJECT) ? fr_json_shallow(arena, target)
                                                           : fr_json_new(arena, FR_OBJECT);
    for (uint32_t i = 0; i < patch->count; i++) {
        const struct fr_member *member = &patch->members[i];
        if (member->value->type == FR_NULL) {
            fr_json_remove(merged, member->name, member->name_len);
            continue;
        }
        struct fr_json *old = fr_json_get_n(merged, member->name, member->name_len);
        insert_member(arena, merged, member->name, member->name_len,
                      fr_json_merge_patch(arena, old, member->value));
    }
    return merged;
}

/* ---------------------------------------------------------------- writing */

void fr_json_put_string(struct fr_buf *buf, const char *text, size_t len)
{
    fr_buf_reserve(buf, len * 6 + 3);
    char *out = buf->data + buf->len;
    *out++ = '"';
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 0x20 && c != '"' && c != '\\') {
            *out++ = (char)c;
            continue;
        }
        static const char names[] = "\"\\bfnrt";
        static const char values[] = "\"\\\b\f\n\r\t";
        const char *found = c == 0 ? NULL : strchr(values, c);
        *out++ = '\\';
        if (found != NULL) {
            *out++ = names[found - values];
        } else {
            static const char hex[] = "0123456789abcdef";
            memcpy(out, "u00", 3);
            out[3] = hex[c >> 4];
            out[4] = hex[c & 15];
            out += 5;
        }
    }
    *out++ = '"';
    *out = '\0';
    buf->len = (size_t)(out - buf->data);
}

size_t fr_policy_cut(const struct fr_policy *policy, const char *text, size_t len)
{
    if (policy == NULL || policy->string_bytes == 0 || len <= policy->string_bytes) {
        return len;
    }
    size_t cut = policy->string_bytes;
    while (cut > 0 && ((unsigned char)text[cut] & 0xc0) == 0x80) {
        cut--;
    }
    return cut;
}

bool fr_json_put_policy(struct fr_buf *buf,
                        const struct fr_json *value,
                        const struct fr_policy *policy,
                        unsigned depth)
{
    static const char *const words[] = {"null", "false", "true"};
    bool shortened = false;
    uint32_t count = value->count;

    switch (value->type) {
    case FR_NULL:
    case FR_FALSE:
    case FR_TRUE:
        fr_buf_puts(buf, words[value->type]);
        return false;
    case FR_NUMBER:
        fr_buf_put(buf, value->text, value->count);
        return false;
    case FR_STRING: {
        size_t cut = fr_policy_cut(policy, value->text, value->count);
        fr_json_put_string(buf, value->text, cut);
        return cut < value->count;
    }
    case FR_ARRAY:
        if (policy != NULL && depth > 0 && policy->array_items > 0 && count > policy->array_items) {
            count = policy->array_items;
            shortened = true;
        }
        fr_buf_putc(buf, '[');
        for (uint32_t i = 0; i < count; i++) {
            if (i > 0) {
                fr_buf_putc(buf, ',');
            }
            shortened |= fr_json_put_policy(buf, value->items[i], policy, depth + 1);
        }
        fr_buf_putc(buf, ']');
        return shortened;
    case FR_OBJECT:
        if (policy != NULL && depth > 0 && policy->object_members > 0 &&
            count > policy->object_members) {
            count = policy->object_members;
            shortened = true;
        }
        fr_buf_putc(buf, '{');
        for (uint32_t i = 0; i < count; i++) {
            const struct fr_member *member = &value->members[i];
            if (i > 0) {
                fr_buf_putc(buf, ',');
            }
            fr_json_put_string(buf, member->name, member->name_len);
            fr_buf_putc(buf, ':');
            shortened |= fr_json_put_policy(buf, member->value, policy, depth + 1);
        }
        fr_buf_putc(buf, '}');
        return shortened;
    }
    return false;
}

void fr_json_put(struct fr_buf *buf, const struct fr_json *value)
{
    (void)fr_json_put_policy(buf, value, NULL, 0);
}

static void put_line(struct fr_buf *buf, unsigned depth)
{
    fr_buf_putc(buf, '\n');
    for (unsigned i = 0; i < depth; i++) {
        fr_buf_puts(buf, "  ");
    }
}

void fr_json_put_pretty(struct fr_buf *buf, const struct fr_json *value, unsigned depth)
{
    bool object = value->type == FR_OBJECT;
    if ((!object && value->type != FR_ARRAY) || value->count == 0) {
        fr_json_put(buf, value);
        return;
    }
    fr_buf_putc(buf, object ? '{' : '[');
    for (uint32_t i = 0; i < value->count; i++) {
        if (i > 0) {
            fr_buf_putc(buf, ',');
        }
        put_line(buf, depth + 1);
        if (object) {
            fr_json_put_string(buf, value->members[i].name, value->members[i].name_len);
            fr_buf_puts(buf, ": ");
        }
        fr_json_put_pretty(buf, object ? value->members[i].value : value->items[i], depth + 1);
    }
    put_line(buf, depth);
    fr_buf_putc(buf, object ? '}' : ']');
}
