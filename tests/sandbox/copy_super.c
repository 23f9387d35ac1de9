/*
 * SUPER: a JSON value from the stream becomes compact JSON text for PostgreSQL's jsonb, under
 * Redshift's rules (Database Developer Guide, "Limitations" of semistructured data): strings of
 * at most 65,535 bytes, no attribute twice in one object, integers beyond 64 bit only as doubles
 * of 15 digits. Fed by copy_value.c; knows nothing of columns.
 */
#include "sandbox/copy_value.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define STRING_BYTES_MAX 65535

/* ------------------------------------------------------------------ duplicate attributes */

/* An open-addressing set over all objects of the value. A key is known by the object's number and
 * its encoded text, which lies in the document being written. Slots of older values are told
 * apart by their generation, so that nothing is cleared between values. */
struct key_slot {
    uint32_t generation, object;
    size_t offset, len;
};

static size_t hash_key(uint32_t object, struct piece key)
{
    uint64_t hash = UINT64_C(1469598103934665603) ^ object;
    for (size_t i = 0; i < key.len; i++) {
        hash = (hash ^ (unsigned char)key.at[i]) * UINT64_C(1099511628211);
    }
    return (size_t)(hash ^ hash >> 32);
}

static struct key_slot *
find_slot(struct copy_convert *c, uint32_t object, struct piece key, bool *ret_found)
{
    struct copy_keys *keys = &c->keys;
    size_t i = hash_key(object, key) & (keys->slot_count - 1);
    for (;; i = (i + 1) & (keys->slot_count - 1)) {
        struct key_slot *slot = &keys->slots[i];
        if (slot->generation != keys->generation) {
            *ret_found = false;
            return slot;
        }
        if (slot->object == object && slot->len == key.len &&
            memcmp(c->document.at + slot->offset, key.at, key.len) == 0) {
            *ret_found = true;
            return slot;
        }
    }
}

static void grow_keys(struct copy_convert *c)
{
    struct copy_keys old = c->keys;
    size_t count = old.slot_count == 0 ? 64 : old.slot_count * 2;
    c->keys.slots = calloc(count, sizeof *c->keys.slots);
    if (c->keys.slots == NULL) {
        abort();
    }
    c->keys.slot_count = count;
    for (size_t i = 0; i < old.slot_count; i++) {
        if (old.slots[i].generation == old.generation) {
            struct piece key = {c->document.at + old.slots[i].offset, old.slots[i].len};
            bool found;
            *find_slot(c, old.slots[i].object, key, &found) = old.slots[i];
        }
    }
    free(old.slots);
}

/* False when the object has this key already. */
static bool add_key(struct copy_convert *c, uint32_t object, size_t offset)
{
    if (c->keys.used * 2 >= c->keys.slot_count) {
        grow_keys(c);
    }
    struct piece key = {c->document.at + offset, c->document.len - offset};
    bool found;
    struct key_slot *slot = find_slot(c, object, key, &found);
    if (found) {
        return false;
    }
    *slot = (struct key_slot){c->keys.generation, object, offset, key.len};
    c->keys.used++;
    return true;
}

/* ------------------------------------------------------------------ scalars */

static struct piece decode(struct copy_convert *c, const struct json_value *value)
{
    if (!value->escaped) {
        return value->text;
    }
    c->decoded.len = 0;
    json_decode(value->text, &c->decoded);
    return (struct piece){c->decoded.at, c->decoded.len};
}

static bool check_text(struct copy_convert *c, const struct json_value *value, struct piece text)
{
    struct utf8_fault bad;
    if ((value->wide || value->escaped) && utf8_find_fault(text, 0, false, &bad)) {
        return copy_fault_set(&c->fault, 1220, bad.offset,
                              "String contains invalid or unsupported UTF-8 codepoints. Bad UTF-8 "
                              "hex sequence: %02x (error %d)",
                              (unsigned)(unsigned char)text.at[bad.offset], bad.sub_code);
    }
    const char *nul = value->escaped ? memchr(text.at, '\0', text.len) : NULL;
    if (nul != NULL) {
        return copy_fault_set(&c->fault, 1224, (size_t)(nul - text.at),
                              "Invalid null byte in a SUPER string");
    }
    return true;
}

static bool write_string(struct copy_convert *c, const struct json_value *value, bool key)
{
    struct piece text = decode(c, value);
    if (!check_text(c, value, text)) {
        return false;
    }
    if (text.len > STRING_BYTES_MAX) {
        if (!c->truncate_super_strings || key) {
            return copy_fault_set(&c->fault, 1224, STRING_BYTES_MAX,
                                  "%s exceeds the maximum length of %d bytes",
                                  key ? "SUPER attribute name" : "SUPER string", STRING_BYTES_MAX);
        }
        text.len = utf8_cut(text, STRING_BYTES_MAX);
    }
    json_encode(text, &c->document);
    return true;
}

static bool has_exponent(struct piece text)
{
    return memchr(text.at, 'e', text.len) != NULL || memchr(text.at, 'E', text.len) != NULL;
}

static bool is_wide_integer(struct piece text)
{
    if (text.len < 19 || memchr(text.at, '.', text.len) != NULL || has_exponent(text)) {
        return false;
    }
    size_t sign = text.at[0] == '-' ? 1 : 0;
    struct piece digits = {text.at + sign, text.len - sign};
    if (digits.len != 19) {
        return digits.len > 19;
    }
    return memcmp(digits.at, sign ? "9223372036854775808" : "9223372036854775807", 19) > 0;
}

static bool write_number(struct copy_convert *c, const struct json_value *value)
{
    bool wide = is_wide_integer(value->text);
    if (!wide && !has_exponent(value->text)) {
        bytes_put(&c->document, value->text.at, value->text.len);
        return true;
    }
    /* strtod wants a zero byte behind the number. */
    c->decoded.len = 0;
    bytes_put(&c->decoded, value->text.at, value->text.len);
    double number = strtod(bytes_text(&c->decoded), NULL);
    if (isinf(number)) {
        return copy_fault_set(&c->fault, 1224, 0, "Number out of range for SUPER");
    }
    bytes_printf(&c->document, wide ? "%.15g" : "%.17g", number);
    return true;
}

/* ------------------------------------------------------------------ nested values */

static bool write_value(struct copy_convert *c, const struct json_value *value);

static bool write_object(struct copy_convert *c, struct piece text)
{
    uint32_t object = c->keys.next_object++;
    struct json_value key, member;
    const char *at = text.at + 1;
    const char *end = text.at + text.len;
    char separator = '{';
    while ((at = json_next_member(at, end, &key, &member)) != NULL) {
        bytes_put_char(&c->document, separator);
        separator = ',';
        size_t offset = c->document.len;
        if (!write_string(c, &key, true)) {
            return false;
        }
        if (!add_key(c, object, offset)) {
            return copy_fault_set(&c->fault, 1224, 0, "Duplicate attribute in a SUPER object");
        }
        bytes_put_char(&c->document, ':');
        if (!write_value(c, &member)) {
            return false;
        }
    }
    if (separator == '{') {
        bytes_put_char(&c->document, '{');
    }
    bytes_put_char(&c->document, '}');
    return true;
}

static bool write_array(struct copy_convert *c, struct piece text)
{
    struct json_value element;
    const char *at = text.at + 1;
    const char *end = text.at + text.len;
    char separator = '[';
    while ((at = json_next_element(at, end, &element)) != NULL) {
        bytes_put_char(&c->document, separator);
        separator = ',';
        if (!write_value(c, &element)) {
            return false;
        }
    }
    if (separator == '[') {
        bytes_put_char(&c->document, '[');
    }
    bytes_put_char(&c->document, ']');
    return true;
}

static bool write_value(struct copy_convert *c, const struct json_value *value)
{
    switch (value->kind) {
    case JSON_STRING:
        return write_string(c, value, false);
    case JSON_NUMBER:
        return write_number(c, value);
    case JSON_OBJECT:
        return write_object(c, value->text);
    case JSON_ARRAY:
        return write_array(c, value->text);
    case JSON_NULL:
    case JSON_TRUE:
    case JSON_FALSE:
        break;
    }
    bytes_put(&c->document, value->text.at, value->text.len);
    return true;
}

bool copy_super_write(struct copy_convert *c, const struct json_value *value)
{
    c->document.len = 0;
    c->keys.used = 0;
    c->keys.next_object = 0;
    if (++c->keys.generation == 0) {
        /* After 2^32 values the old marks could be taken for new ones. */
        memset(c->keys.slots, 0, c->keys.slot_count * sizeof *c->keys.slots);
        c->keys.generation = 1;
    }
    return write_value(c, value);
}
