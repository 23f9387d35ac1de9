#ifndef TESTS_CONNECTOR_COLLECTION_H
#define TESTS_CONNECTOR_COLLECTION_H

/*
 * A collection as the tests of constraints and tables see it, written as a table: one row per
 * projection. Types are written as Flow does ("integer null"), so that their order stays.
 */

#include "base/arena.h"
#include "proto/message.h"

#include <stdlib.h>
#include <string.h>

struct field_row {
    const char *field, *ptr, *types;
    bool optional, is_key, is_explicit, has_default;
    const char *format, *encoding, *content, *title, *description;
    uint32_t max_length;
    double maximum; /* 0: none */
};

static inline unsigned type_bit(struct span name)
{
    static const struct {
        const char *name;
        unsigned bit;
    } rows[] = {
        {"null", PROTO_TYPE_NULL},       {"boolean", PROTO_TYPE_BOOLEAN},
        {"integer", PROTO_TYPE_INTEGER}, {"number", PROTO_TYPE_NUMBER},
        {"string", PROTO_TYPE_STRING},   {"array", PROTO_TYPE_ARRAY},
        {"object", PROTO_TYPE_OBJECT},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (span_is(name, rows[i].name)) {
            return rows[i].bit;
        }
    }
    abort(); /* a test's own mistake */
}

static inline void read_types(struct arena *arena, const char *text, struct proto_inference *ret)
{
    ret->type_names = ARENA_ARRAY(arena, 8, struct span);
    while (*text) {
        size_t len = strcspn(text, " ");
        struct span name = {text, len};
        ret->types |= type_bit(name);
        ret->type_names[ret->type_name_count++] = name;
        text += len + (text[len] == ' ');
    }
}

static inline int compare_projections(const void *a, const void *b)
{
    const struct proto_projection *x = a;
    const struct proto_projection *y = b;
    return span_compare(x->field, y->field);
}

static inline struct proto_projection make_projection(struct arena *arena,
                                                      const struct field_row *row)
{
    struct proto_projection projection = {
        .ptr = span_of(row->ptr),
        .field = span_of(row->field),
        .is_explicit = row->is_explicit,
        .is_primary_key = row->is_key,
    };
    struct proto_inference *inference = &projection.inference;

    read_types(arena, row->types, inference);
    inference->exists = row->optional ? PROTO_EXISTS_MAY : PROTO_EXISTS_MUST;
    inference->title = span_of(row->title);
    inference->description = span_of(row->description);
    inference->default_json = row->has_default ? SPAN_LIT("0") : SPAN_NONE;
    inference->has_string = (inference->types & PROTO_TYPE_STRING) != 0;
    inference->format = span_of(row->format);
    inference->content_type = span_of(row->content);
    inference->content_encoding = span_of(row->encoding);
    inference->max_length = row->max_length;
    inference->has_numeric = row->maximum > 0;
    inference->has_maximum = row->maximum > 0;
    inference->maximum = row->maximum;
    return projection;
}

/* Keys are the pointers of the rows that are keys, in the order of the rows. */
static inline struct proto_collection *
make_collection(struct arena *arena, const struct field_row *rows, size_t count)
{
    struct proto_collection *collection = ARENA_NEW(arena, struct proto_collection);

    collection->name = SPAN_LIT("acme/things");
    collection->key = ARENA_ARRAY(arena, count + 1, struct span);
    collection->projections = ARENA_ARRAY(arena, count + 1, struct proto_projection);
    for (size_t i = 0; i < count; i++) {
        collection->projections[collection->projection_count++] = make_projection(arena, &rows[i]);
        if (rows[i].is_key) {
            collection->key[collection->key_count++] = span_of(rows[i].ptr);
        }
    }
    qsort(collection->projections, count, sizeof(*collection->projections), compare_projections);
    return collection;
}

/* "a b c" as spans. */
static inline struct span *make_names(struct arena *arena, const char *text, unsigned *ret_count)
{
    struct span *names = ARENA_ARRAY(arena, 64, struct span);
    unsigned count = 0;

    while (text && *text) {
        size_t len = strcspn(text, " ");
        names[count++] = (struct span){text, len};
        text += len + (text[len] == ' ');
    }
    *ret_count = count;
    return names;
}

#endif
