/* The manifest of a COPY: JSON text in, list of files out. Source: Database Developer Guide, "Using
 * a manifest to specify data files". */
#include "sandbox/copy_manifest.h"

#include "sandbox/copy_json.h"

#include <stdlib.h>
#include <string.h>

static char *copy_piece(struct piece p)
{
    struct bytes b = {0};
    bytes_put(&b, p.at, p.len);
    (void)bytes_text(&b);
    return b.at;
}

bool manifest_split_url(struct piece url, char **ret_bucket, char **ret_key)
{
    if (url.len < 6 || memcmp(url.at, "s3://", 5) != 0) {
        return false;
    }
    struct piece rest = {url.at + 5, url.len - 5};
    const char *slash = memchr(rest.at, '/', rest.len);
    if (slash == NULL || slash == rest.at || slash + 1 == rest.at + rest.len ||
        memchr(rest.at, '\0', rest.len) != NULL) {
        return false;
    }
    struct piece bucket = {rest.at, (size_t)(slash - rest.at)};
    *ret_bucket = copy_piece(bucket);
    *ret_key = copy_piece((struct piece){slash + 1, rest.len - bucket.len - 1});
    return true;
}

static bool fail(char *why, size_t size, int entry, const char *what)
{
    if (entry > 0) {
        text_format(why, size, "Invalid manifest: entry %d %s", entry, what);
    } else {
        text_format(why, size, "Invalid manifest: %s", what);
    }
    return false;
}

static bool read_url(const struct json_value *value, struct manifest_entry *entry)
{
    struct bytes url = {0};
    json_decode(value->text, &url);
    bool ok = entry->key == NULL &&
              manifest_split_url((struct piece){url.at, url.len}, &entry->bucket, &entry->key);
    bytes_done(&url);
    return ok;
}

static bool read_entry(const struct json_value *object,
                       int number,
                       struct manifest_entry *entry,
                       char *why,
                       size_t why_size)
{
    if (object->kind != JSON_OBJECT) {
        return fail(why, why_size, number, "is not an object");
    }
    struct json_value key, value;
    const char *end = object->text.at + object->text.len;
    const char *at = object->text.at + 1;
    while ((at = json_next_member(at, end, &key, &value)) != NULL) {
        if (piece_is(key.text, "url")) {
            if (value.kind != JSON_STRING || !read_url(&value, entry)) {
                return fail(why, why_size, number, "has no full object path s3://bucket/key");
            }
        } else if (piece_is(key.text, "mandatory")) {
            if (value.kind != JSON_TRUE && value.kind != JSON_FALSE) {
                return fail(why, why_size, number, "has a mandatory that is not true or false");
            }
            entry->mandatory = value.kind == JSON_TRUE;
        }
    }
    return entry->key != NULL || fail(why, why_size, number, "has no url");
}

static bool
read_entries(const struct json_value *array, struct manifest *m, char *why, size_t why_size)
{
    struct bytes list = {0};
    struct json_value element;
    const char *end = array->text.at + array->text.len;
    const char *at = array->text.at + 1;
    bool ok = true;
    while (ok && (at = json_next_element(at, end, &element)) != NULL) {
        struct manifest_entry entry = {0};
        ok = read_entry(&element, m->count + 1, &entry, why, why_size);
        bytes_put(&list, &entry, sizeof entry);
        m->count++;
    }
    m->entries = (void *)list.at;
    return ok;
}

static bool read_manifest(struct piece text, struct manifest *m, char *why, size_t why_size)
{
    const char *end = text.at + text.len;
    const char *at = json_skip_blanks(text.at, end);
    const char *bad;
    struct json_value whole, key, value;
    const char *after = json_read_value(at, end, &whole, &bad);
    if (after == NULL || whole.kind != JSON_OBJECT || json_skip_blanks(after, end) != end) {
        return fail(why, why_size, 0, "it is not one JSON object");
    }
    bool entries_seen = false;
    at = whole.text.at + 1;
    end = whole.text.at + whole.text.len;
    while ((at = json_next_member(at, end, &key, &value)) != NULL) {
        if (!piece_is(key.text, "entries")) {
            continue;
        }
        if (value.kind != JSON_ARRAY || entries_seen) {
            return fail(why, why_size, 0, "\"entries\" is not one array");
        }
        entries_seen = true;
        if (!read_entries(&value, m, why, why_size)) {
            return false;
        }
    }
    return m->count > 0 || fail(why, why_size, 0, "it has no entries");
}

bool manifest_parse(struct piece text, struct manifest *ret, char *why, size_t why_size)
{
    struct manifest m = {0};
    if (!read_manifest(text, &m, why, why_size)) {
        manifest_done(&m);
        return false;
    }
    *ret = m;
    return true;
}

void manifest_done(struct manifest *m)
{
    for (int i = 0; i < m->count; i++) {
        free(m->entries[i].bucket);
        free(m->entries[i].key);
    }
    free(m->entries);
    *m = (struct manifest){0};
}
