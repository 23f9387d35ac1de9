#ifndef JSON_READ_H
#define JSON_READ_H

/*
 * A tree over cJSON, for small configuration documents only: numbers are doubles here, so
 * documents, keys, state and checkpoints must never come near. Strict: the first value of the text
 * only, no unknown member stays unnoticed. Problems are collected, so that a person sees all of
 * them at once, each naming the property by its path.
 */

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"

struct json_doc;    /* the parsed document; wiped when freed, since configs hold secrets */
struct json_object; /* lent by json_doc */

/* what: "endpoint config", for the error. The top must be an object. */
struct error *json_doc_read(struct span text, const char *what, struct json_doc **ret) MUST_CHECK;
void json_doc_free(struct json_doc *doc);
struct json_object *json_doc_object(struct json_doc *doc);

/* The getters return the default (NULL, false, 0) when the member is absent or null; a wrong type
 * is noted as a problem. Each marks the member as known. Strings live as long as doc. */
const char *json_get_string(struct json_object *object, const char *name);
bool json_get_bool(struct json_object *object, const char *name);
double json_get_number(struct json_object *object, const char *name, double otherwise);
struct json_object *json_get_object(struct json_object *object, const char *name);
bool json_has(struct json_object *object, const char *name); /* present and not null */

/* Notes a problem of the caller's own: "missing 'address'". */
void json_problem(struct json_doc *doc, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* After all getters: notes every member nobody asked for as `unknown field "x"`, in every object
 * that was visited, and returns one ERROR_CONFIG that lists all problems, or NULL. */
struct error *json_doc_check(struct json_doc *doc) MUST_CHECK;

#endif
