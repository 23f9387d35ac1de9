/* The task: one materialization of a catalog, from its JSON text to the specification that Apply
   and Open carry, and the columns by which documents become rows. */
#ifndef FLOW_RUNTIME_TASK_H
#define FLOW_RUNTIME_TASK_H

#include "schema.h"

struct fr_binding {
    const char *source;               /* collection name */
    const struct fr_json *model;      /* the binding as the catalog has it */
    const struct fr_json *collection; /* the collection as the catalog has it */
    const struct fr_json *schema;     /* what readers see */
    const struct fr_json *group_by;   /* key field names */
    struct fr_projections projections;

    /* From the specification, set by fr_task_adopt. */
    bool delta;
    struct fr_policy policy;
    const char *state_key;
    const char *document; /* field of the root document, or NULL: none is sent */
    const struct fr_projection **keys;
    size_t key_count;
    const struct fr_projection **values;
    size_t value_count;
    bool wants_truncated; /* _meta/flow_truncated is a value */
};

struct fr_task {
    struct fr_arena arena;
    const char *name;
    const struct fr_json *endpoint; /* "local" of the catalog, or NULL */
    struct fr_json *config;         /* endpoint configuration */
    bool hard_delete;               /* tombstones remove documents from the destination */
    bool is_v2;
    struct fr_binding *bindings;
    size_t binding_count;
    char version[17];     /* of the catalog's content without the endpoint */
    struct fr_json *spec; /* MaterializationSpec with the plain configuration */
};

/* Reads the catalog; name NULL: the only materialization. config_path NULL: the catalog's own.
   False with a sentence. */
bool fr_task_load(struct fr_task *task,
                  const char *catalog_path,
                  const char *name,
                  const char *config_path,
                  struct fr_buf *error);
void fr_task_done(struct fr_task *task);

/* Request.Validate. last: the specification in its stored form, or NULL. */
struct fr_json *
fr_task_validate(struct fr_task *task, struct fr_json *last, const char *last_version);
/* Checks Response.Validated against the rules; false with the rule. */
bool fr_task_check_validated(const struct fr_task *task,
                             const struct fr_json *validated,
                             struct fr_buf *rule);
/* Runs field selection and builds task->spec. False with the conflicts. */
bool fr_task_build(struct fr_task *task,
                   const struct fr_json *validated,
                   struct fr_json *last,
                   struct fr_buf *error);
/* Takes a specification (built just now, or stored by an earlier run) as the one to run. False when
   it does not fit the catalog. */
bool fr_task_adopt(struct fr_task *task, struct fr_json *spec, struct fr_buf *error);
/* The specification as it is stored: the configuration is wrapped and sealed. */
struct fr_json *fr_task_stored_spec(struct fr_task *task);

/* ---- documents to rows */

/* Appends the packed key. False when a location is missing without default, or holds an object. */
bool fr_binding_pack_key(const struct fr_binding *binding,
                         const struct fr_json *doc,
                         struct fr_buf *key);
/* Appends the value fields as a packed tuple or as a JSON array. truncated: the document itself was
   shortened. True when something of the row was. */
bool fr_binding_put_values(const struct fr_binding *binding,
                           const struct fr_json *doc,
                           bool truncated,
                           bool as_json,
                           struct fr_buf *values);
/* The row as the destination should show it: an object of field names. */
void fr_binding_put_row(const struct fr_binding *binding,
                        struct fr_arena *arena,
                        const struct fr_json *doc,
                        struct fr_buf *row);

/* A version 1 UUID with the given time (100 ns steps since 1582); text has room for 37 bytes. */
void fr_uuid_text(uint64_t time, char *text);
/* The time of a version 1 UUID as RFC 3339 text (room for 40 bytes). False when it is none. */
bool fr_uuid_time(const struct fr_json *uuid, char *text);
/* The clock itself, in steps of 100 ns since 1970. False when it is no version 1 UUID since then.
 */
bool fr_uuid_clock(const struct fr_json *uuid, uint64_t *ret);

#endif
