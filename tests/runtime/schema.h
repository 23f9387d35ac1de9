/* JSON schemas as Flow reads them: does a value fit, what can a location hold (inference), how are
   two documents of one key made into one (reduction). */
#ifndef FLOW_RUNTIME_SCHEMA_H
#define FLOW_RUNTIME_SCHEMA_H

#include "json.h"

/* ---- validity. The keywords that choose annotations in real collections: type, const, enum,
   required, properties, additionalProperties, items, bounds, allOf, anyOf, oneOf, not, if, local
   $ref. Others are taken as satisfied. */
bool fr_schema_fits(const struct fr_json *root,
                    const struct fr_json *schema,
                    const struct fr_json *value);

/* ---- inference */

/* One projection of a collection: a location and the field name it gets. */
struct fr_projection {
    const char *ptr;   /* JSON pointer; "" is the root document */
    const char *field; /* "a/b" for /a/b */
    bool is_explicit;  /* written by the user */
    bool is_partition;
    bool is_key;
    struct fr_json *inference; /* flow.Inference in its JSON form */
    struct fr_json *fallback;  /* the schema's default, or NULL */
    bool is_published_at;      /* extracted as the time of the UUID */
    bool is_truncated;         /* extracted as "was this row shortened" */
};

struct fr_projections {
    struct fr_projection *list; /* ascending by field name */
    size_t count;
};

/* All projections of a schema, the synthetic ones included. user is the catalog's "projections"
   object or NULL: {"field": "/ptr"} or {"field": {"location": "/ptr", "partition": true}}. False
   with *ret_error when a user's projection is malformed. */
bool fr_projections_infer(struct fr_arena *arena,
                          const struct fr_json *schema,
                          const struct fr_json *user,
                          struct fr_projections *ret_projections,
                          const char **ret_error);
struct fr_projection *fr_projections_find(const struct fr_projections *projections,
                                          const char *field);

/* ---- reduction */

struct fr_reduced {
    struct fr_json *doc;
    bool deleted;      /* the document that was reduced in is a tombstone */
    const char *error; /* a sentence, or NULL */
};

/* Reduces right into left (NULL: there is nothing yet) by the annotations of the schema, default
   lastWriteWins. full: left is everything there is, so that locations with delete go away. */
struct fr_reduced fr_reduce(struct fr_arena *arena,
                            const struct fr_json *schema,
                            struct fr_json *left,
                            struct fr_json *right,
                            bool full);
/* The first reduction strategy in the schema that this runtime does not play, or NULL. */
const char *fr_schema_unplayed(const struct fr_json *schema);

#endif
