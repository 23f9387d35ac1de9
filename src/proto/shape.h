#ifndef SRC_PROTO_SHAPE_H
#define SRC_PROTO_SHAPE_H

/*
 * What Flow's cold messages look like, written down once: a row per field with its number, both of
 * its names and the member of the struct that receives it. Both codecs read by these tables, so
 * they cannot disagree. Load and Store are not here; they are read by hand in each codec.
 */

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "proto/message.h"

enum field_type {
    FIELD_TEXT,      /* struct span: a string */
    FIELD_RAW,       /* struct span: raw JSON */
    FIELD_OPAQUE,    /* struct span: a message in the codec's own form */
    FIELD_BOOL,      /* bool */
    FIELD_UINT32,    /* uint32_t */
    FIELD_FIXED32,   /* uint32_t, four bytes on the wire */
    FIELD_DOUBLE,    /* double */
    FIELD_EXISTS,    /* enum proto_exists */
    FIELD_TIMESTAMP, /* int64_t seconds; second: int32_t nanos */
    FIELD_PART,      /* a message within the struct; second: bool, it is present */
    FIELD_POINTER,   /* a message of its own, NULL when absent */
    FIELD_LIST,      /* array of messages; second: its count */
    FIELD_TEXTS,     /* array of struct span; second: its count */
    FIELD_OPTIONS    /* array of struct proto_field_option, a map on the wire; second: its count */
};

#define FIELD_NO_SECOND ((size_t)-1)

struct shape;

struct field {
    unsigned number;
    enum field_type type;
    const char *name;       /* in JSON */
    const char *proto_name; /* in the schema; accepted in JSON too */
    size_t offset, second;
    const struct shape *shape;
};

/* The rules that one field alone cannot tell. */
typedef struct error *shape_finish_fn(void *message);

struct shape {
    const char *name;
    size_t size;
    const struct field *fields;
    unsigned field_count;
    shape_finish_fn *finish; /* NULL: none */
};

extern const struct shape shape_validate, shape_apply, shape_open, shape_flush, shape_start_commit,
    shape_acknowledge;

/* ---- the memory of one cold message */

/* Everything is copied into the arena. A frame of empty lists could ask for a hundred times its own
 * size, so what a message may take is bounded by its length on the wire. */
struct cold {
    struct arena *arena;
    size_t budget;       /* bytes that may still be taken */
    struct buf *scratch; /* for texts with escapes, before they are copied */
};

void cold_init(struct cold *cold, struct arena *arena, struct buf *scratch, size_t frame_len);
struct error *cold_alloc(struct cold *cold, size_t count, size_t size, void **ret) MUST_CHECK;
struct error *cold_copy(struct cold *cold, struct span text, struct span *ret) MUST_CHECK;
/* A zeroed element at the end of the list that field describes in message. */
struct error *cold_append(struct cold *cold,
                          void *message,
                          const struct field *field,
                          size_t size,
                          void **ret) MUST_CHECK;

/* Makes a field absent again, with what lies within. */
void field_clear(void *message, const struct field *field);

/* Puts the field's name in front, with the index of the last element of a list. */
struct error *field_wrap(struct error *err, const struct field *field, void *message) MUST_CHECK;

static inline void *field_at(void *message, const struct field *field)
{
    return (char *)message + field->offset;
}

static inline void *field_second(void *message, const struct field *field)
{
    return (char *)message + field->second;
}

/* Calls finish, if there is one. */
struct error *shape_end(const struct shape *shape, void *message) MUST_CHECK;

#endif
