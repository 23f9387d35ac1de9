/* Documents to rows: keys and values of a binding, packed or as JSON. Pure. */
#include "task.h"

#include <string.h>

#include "tuple.h"

bool fr_binding_pack_key(const struct fr_binding *binding,
                         const struct fr_json *doc,
                         struct fr_buf *key)
{
    for (size_t i = 0; i < binding->key_count; i++) {
        const struct fr_json *part = fr_json_at(doc, binding->keys[i]->ptr);
        part = part != NULL ? part : binding->keys[i]->fallback;
        if (part == NULL || part->type == FR_OBJECT || part->type == FR_ARRAY) {
            return false;
        }
        (void)fr_tuple_pack(key, part, NULL);
    }
    return true;
}

/* What a column shows of a document. time is room for a publication time, whose node is made by the
   caller. */
static const struct fr_json *extract(const struct fr_projection *column,
                                     const struct fr_json *doc,
                                     struct fr_json *made,
                                     char *time,
                                     bool truncated)
{
    if (column->is_truncated) {
        made->type = truncated ? FR_TRUE : FR_FALSE;
        return made;
    }
    const struct fr_json *value = fr_json_at(doc, column->ptr);
    if (column->is_published_at && fr_uuid_time(value, time)) {
        made->type = FR_STRING;
        made->text = time;
        made->count = (uint32_t)strlen(time);
        return made;
    }
    return value != NULL ? value : column->fallback;
}

static bool put_columns(const struct fr_binding *binding,
                        const struct fr_json *doc,
                        bool truncated,
                        bool as_json,
                        struct fr_buf *values)
{
    bool shortened = truncated;
    if (as_json) {
        fr_buf_putc(values, '[');
    }
    for (size_t i = 0; i < binding->value_count; i++) {
        struct fr_json made = {.type = FR_NULL};
        char time[40];
        const struct fr_json *value = extract(binding->values[i], doc, &made, time, truncated);
        if (!as_json) {
            shortened |= fr_tuple_pack(values, value, &binding->policy);
            continue;
        }
        if (i > 0) {
            fr_buf_putc(values, ',');
        }
        if (value == NULL) {
            fr_buf_puts(values, "null");
        } else {
            shortened |= fr_json_put_policy(values, value, &binding->policy, 1);
        }
    }
    if (as_json) {
        fr_buf_putc(values, ']');
    }
    return shortened;
}

bool fr_binding_put_values(const struct fr_binding *binding,
                           const struct fr_json *doc,
                           bool truncated,
                           bool as_json,
                           struct fr_buf *values)
{
    size_t start = values->len;
    bool shortened = put_columns(binding, doc, truncated, as_json, values);
    if (shortened && !truncated && binding->wants_truncated) {
        /* The flag itself is one of the values: once more, now knowing. */
        values->len = start;
        (void)put_columns(binding, doc, true, as_json, values);
    }
    return shortened;
}

void fr_binding_put_row(const struct fr_binding *binding,
                        struct fr_arena *arena,
                        const struct fr_json *doc,
                        struct fr_buf *row)
{
    struct fr_json *object = fr_json_new(arena, FR_OBJECT);
    struct fr_buf text = {0};
    const char *error = NULL;
    bool truncated = fr_json_put_policy(&text, doc, &binding->policy, 0);
    struct fr_json *stored = fr_json_parse(arena, text.data, text.len, &error);

    text.len = 0;
    (void)fr_binding_put_values(binding, doc, truncated, true, &text);
    const struct fr_json *values = fr_json_parse(arena, text.data, text.len, &error);
    for (size_t i = 0; i < binding->value_count; i++) {
        fr_json_set(arena, object, binding->values[i]->field, values->items[i]);
    }
    for (size_t i = 0; i < binding->key_count; i++) {
        struct fr_json *part = fr_json_at(doc, binding->keys[i]->ptr);
        part = part != NULL ? part : binding->keys[i]->fallback;
        fr_json_set(arena, object, binding->keys[i]->field,
                    part != NULL ? part : fr_json_new(arena, FR_NULL));
    }
    if (binding->document != NULL) {
        fr_json_set(arena, object, binding->document, stored);
    }
    fr_json_put(row, object);
    fr_buf_putc(row, '\n');
    fr_buf_done(&text);
}
