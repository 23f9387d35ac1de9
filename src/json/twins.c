/*
 * Room json: names that stand twice in one object. In: a value that json_check took. Out: yes or
 * no. For texts whose names are not in order already, which Flow's are; so it may take its time and
 * memory: all names of all objects are listed and sorted.
 */

#include "base/buf.h"
#include "base/check.h"
#include "json/scan.h"

#include <stdlib.h>

struct name {
    size_t object; /* the number of the object it belongs to */
    struct span text;
};

struct twins {
    struct json_reader reader;
    struct buf names;   /* struct name */
    struct buf decoded; /* names that had escapes; big enough from the start, so it never moves */
    size_t objects;     /* so far */
    struct level {
        size_t object; /* 0: an array */
    } levels[JSON_MAX_DEPTH];
    unsigned depth;
};

static int compare_names(const void *a, const void *b)
{
    const struct name *x = a, *y = b;

    if (x->object != y->object) {
        return x->object < y->object ? -1 : 1;
    }
    return span_compare(x->text, y->text);
}

/* json_check took the text: nothing of it can be refused now. */
static void must(struct error *err)
{
    CHECK(!err);
}

/* Reads a scalar whole, or goes into a container. */
static void begin_value(struct twins *self)
{
    enum json_kind kind = JSON_NULL;
    struct json_item item;

    CHECK(json_peek(&self->reader, &kind));
    if (kind != JSON_OBJECT && kind != JSON_ARRAY) {
        must(json_next(&self->reader, &item));
        return;
    }
    must(json_enter(&self->reader, kind));
    CHECK(self->depth < JSON_MAX_DEPTH);
    self->levels[self->depth++].object = kind == JSON_OBJECT ? ++self->objects : 0;
}

/* The next member or element of the innermost container; false when it has ended. */
static bool step(struct twins *self)
{
    const size_t object = self->levels[self->depth - 1].object;
    struct name name = {.object = object};
    struct span raw;
    bool have;

    if (object == 0) {
        must(json_element_start(&self->reader, &have));
        return have;
    }
    must(json_member_name(&self->reader, &raw, &have));
    if (have) {
        must(json_unescape(raw, &self->decoded, &name.text));
        buf_add(&self->names, (const char *)&name, sizeof(name));
    }
    return have;
}

static bool find_twins(struct buf *buf)
{
    const size_t count = buf->len / sizeof(struct name);
    struct name *names = (void *)buf->data;

    if (count < 2) {
        return false;
    }
    qsort(names, count, sizeof(*names), compare_names);
    for (size_t i = 1; i < count; i++) {
        if (compare_names(&names[i - 1], &names[i]) == 0) {
            return true;
        }
    }
    return false;
}

bool json_has_twins(struct span text)
{
    struct twins self = {.depth = 0};

    json_reader_init(&self.reader, text);
    buf_init(&self.names, (text.len / 3 + 1) * sizeof(struct name)); /* a name is "" and a colon */
    buf_init(&self.decoded, text.len + 1);
    CHECK(buf_reserve(&self.decoded, text.len));
    begin_value(&self);
    while (self.depth > 0) {
        if (step(&self)) {
            begin_value(&self);
        } else {
            self.depth--;
        }
    }
    const bool found = find_twins(&self.names);
    buf_done(&self.names);
    buf_done(&self.decoded);
    return found;
}
