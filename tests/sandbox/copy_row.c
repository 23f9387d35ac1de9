/*
 * One JSON object becomes one row: its top-level keys are matched with the columns ('auto' byte for
 * byte, 'auto ignorecase' without regard to ASCII case), unknown keys are passed over, missing ones
 * are NULL. Of a key that comes twice the last one counts (Redshift does not document which).
 * Between copy_json.c, which finds the objects, and copy_value.c, which converts the values.
 */
#include "sandbox/copy_row.h"

#include <stdlib.h>
#include <string.h>

/* Keys usually come in the same order from object to object, so the column of each is remembered
 * by its place and tried first. */
#define EXPECTED_MAX 2048

static char fold(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static uint32_t hash_name(const struct copy_rows *r, struct piece name)
{
    uint32_t hash = 2166136261U;
    for (size_t i = 0; i < name.len; i++) {
        char c = r->ignore_case ? fold(name.at[i]) : name.at[i];
        hash = (hash ^ (unsigned char)c) * 16777619U;
    }
    return hash;
}

static bool is_name(const struct copy_rows *r, int column, struct piece key)
{
    const char *name = r->columns[column].name;
    for (size_t i = 0; i < key.len; i++) {
        if (name[i] == '\0' ||
            (key.at[i] != name[i] && !(r->ignore_case && fold(key.at[i]) == fold(name[i])))) {
            return false;
        }
    }
    return name[key.len] == '\0';
}

static void *reserve(size_t count, size_t size)
{
    void *at = calloc(count + 1, size);
    if (at == NULL) {
        abort();
    }
    return at;
}

void copy_rows_start(struct copy_rows *r)
{
    size_t slots = 16;
    while (slots < (size_t)r->column_count * 2) {
        slots *= 2;
    }
    r->index_mask = (uint32_t)slots - 1;
    r->index = reserve(slots, sizeof *r->index);
    r->expected = reserve(EXPECTED_MAX, sizeof *r->expected);
    r->found = reserve((size_t)r->column_count, sizeof *r->found);
    memset(r->index, -1, slots * sizeof *r->index);
    memset(r->expected, -1, EXPECTED_MAX * sizeof *r->expected);
    for (int i = 0; i < r->column_count; i++) {
        struct piece name = {r->columns[i].name, strlen(r->columns[i].name)};
        uint32_t at = hash_name(r, name) & r->index_mask;
        while (r->index[at] >= 0) {
            at = (at + 1) & r->index_mask;
        }
        r->index[at] = i;
    }
}

void copy_rows_done(struct copy_rows *r)
{
    free(r->index);
    free(r->expected);
    free(r->found);
    bytes_done(&r->key);
}

static int look_up(const struct copy_rows *r, struct piece key)
{
    uint32_t at = hash_name(r, key) & r->index_mask;
    while (r->index[at] >= 0 && !is_name(r, r->index[at], key)) {
        at = (at + 1) & r->index_mask;
    }
    return r->index[at];
}

static int find_column(struct copy_rows *r, int place, const struct json_value *key_value)
{
    struct piece key = key_value->text;
    if (key_value->escaped) {
        r->key.len = 0;
        json_decode(key_value->text, &r->key);
        key = (struct piece){r->key.at, r->key.len};
    }
    int32_t *expected = place < EXPECTED_MAX ? &r->expected[place] : NULL;
    if (expected != NULL && *expected >= 0 && is_name(r, *expected, key)) {
        return *expected;
    }
    int column = look_up(r, key);
    if (expected != NULL) {
        *expected = column;
    }
    return column;
}

static bool fail_json(struct copy_rows *r, struct piece object, const char *bad)
{
    size_t position = (size_t)(bad - object.at);
    if (position >= object.len) {
        return copy_fault_set(&r->convert->fault, 1216, position,
                              "Invalid JSON format: the object is cut off");
    }
    unsigned char c = (unsigned char)*bad;
    return copy_fault_set(&r->convert->fault, 1216, position,
                          "Invalid JSON format: unexpected character 0x%02x at position %zu", c,
                          position);
}

static const char *expect(const char *at, const char *end, char c, const char **ret_bad)
{
    at = json_skip_blanks(at, end);
    if (at < end && *at == c) {
        return json_skip_blanks(at + 1, end);
    }
    *ret_bad = at;
    return NULL;
}

/* Notes the value of each column; the whole object is checked on the way. */
static bool find_values(struct copy_rows *r, struct piece object)
{
    const char *end = object.at + object.len;
    const char *bad = object.at;
    const char *at = json_skip_blanks(object.at + 1, end);
    for (int i = 0; i < r->column_count; i++) {
        r->found[i].kind = JSON_NULL;
    }
    bool empty = at < end && *at == '}';
    for (int place = 0; !empty; place++) {
        struct json_value key, value;
        if (at == end || *at != '"') {
            return fail_json(r, object, at);
        }
        at = json_read_value(at, end, &key, &bad);
        if (at == NULL || (at = expect(at, end, ':', &bad)) == NULL ||
            (at = json_read_value(at, end, &value, &bad)) == NULL) {
            return fail_json(r, object, bad);
        }
        int column = find_column(r, place, &key);
        if (column >= 0) {
            r->found[column] = value;
        }
        at = json_skip_blanks(at, end);
        if (at < end && *at == '}') {
            break;
        }
        at = expect(at, end, ',', &bad);
        if (at == NULL) {
            return fail_json(r, object, bad);
        }
    }
    /* The cutter ends an object where its brackets balance, whatever their kinds. */
    return at + 1 == end || fail_json(r, object, at + 1);
}

static bool find_whole(struct copy_rows *r, struct piece object)
{
    const char *bad = object.at;
    const char *end = object.at + object.len;
    const char *after = json_read_value(object.at, end, &r->found[0], &bad);
    return after == end || fail_json(r, object, after == NULL ? bad : after);
}

bool copy_rows_put(struct copy_rows *r, struct piece object, struct bytes *out, int *ret_column)
{
    size_t before = out->len;
    *ret_column = -1;
    if (r->noshred ? !find_whole(r, object) : !find_values(r, object)) {
        return false;
    }
    for (int i = 0; i < r->column_count; i++) {
        if (i > 0) {
            bytes_put_char(out, '\t');
        }
        if (!copy_convert_value(r->convert, &r->columns[i], &r->found[i], out)) {
            *ret_column = i;
            out->len = before;
            return false;
        }
    }
    bytes_put_char(out, '\n');
    return true;
}
