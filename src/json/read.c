/*
 * Room json: the tree, and the only file that knows cJSON. A small configuration text comes in from
 * the connector, strings and numbers go out by name. It must never see documents or state: numbers
 * are doubles here.
 *
 * cJSON accepts more than RFC 8259, so the text is walked by our own reader first. What cJSON would
 * then still get wrong silently is refused: a NUL inside of a string (it would end it) and a name
 * that stands twice (the first would win here, the last elsewhere).
 */

#include "json/read.h"

#include "base/secret.h"
#include "json/scan.h"

#include <cjson/cJSON.h>

#include <math.h>
#include <stdlib.h>

/* A configuration is a few kilobytes; this bounds what a mistaken caller can make of it. */
#define DOC_MAX_BYTES ((size_t)4 * 1024 * 1024)
#define PROBLEMS_MAX_BYTES ((size_t)64 * 1024)

/* One object that was asked for. Objects nobody asked for are not here: their parent's member is
 * unknown then, and that says enough. */
struct json_object {
    struct json_doc *doc;
    const cJSON *node;
    const char *path; /* "" at the top, else "a.b." to put in front of a member's name */
    bool *known;      /* by position of the member */
    struct json_object *next;
};

struct json_doc {
    struct arena *arena; /* the objects' notes: paths and marks, never values */
    const char *what;
    cJSON *root;
    struct json_object *top;
    struct json_object *visited, **visited_end;
    struct buf problems; /* "\n - sentence" for each */
    unsigned problem_count;
};

/* ---------------------------------------------------------------- reading */

/* The text is valid JSON, so a backslash is always followed by a byte. */
static bool holds_escaped_nul(struct span text)
{
    const char *at = text.ptr;
    const char *const end = at + text.len;

    while ((at = memchr(at, '\\', (size_t)(end - at)))) {
        if (end - at >= 6 && memcmp(at, "\\u0000", 6) == 0) {
            return true;
        }
        at += 2;
    }
    return false;
}

static struct error *check_text(struct span text)
{
    struct json_reader reader;
    struct json_item item;

    if (text.len > DOC_MAX_BYTES) {
        return error_new(ERROR_INPUT, ERROR_CONFIG, "%zu bytes are too many (at most %zu)",
                         text.len, DOC_MAX_BYTES);
    }
    json_reader_init(&reader, text);
    RETURN_IF_ERROR(json_next(&reader, &item));
    RETURN_IF_ERROR(json_end(&reader));
    if (item.kind != JSON_OBJECT) {
        return error_new(ERROR_INPUT, ERROR_CONFIG, "must be an object, not of type %s",
                         json_kind_name(item.kind));
    }
    if (holds_escaped_nul(text)) {
        return error_new(ERROR_INPUT, ERROR_CONFIG, "a string holds a NUL character");
    }
    return NULL;
}

static void wipe_node(cJSON *node)
{
    for (; node; node = node->next) {
        if (node->valuestring) {
            secret_wipe(node->valuestring, strlen(node->valuestring));
        }
        if (node->string) {
            secret_wipe(node->string, strlen(node->string));
        }
        node->valuedouble = 0;
        node->valueint = 0;
        wipe_node(node->child); /* at most JSON_MAX_DEPTH deep */
    }
}

static int compare_names(const void *a, const void *b)
{
    const char *const *x = a;
    const char *const *y = b;
    return strcmp(*x, *y);
}

static void note_duplicates(struct json_object *object, size_t count)
{
    const char **names = ARENA_ARRAY(object->doc->arena, count, const char *);
    size_t i = 0;

    for (const cJSON *member = object->node->child; member; member = member->next) {
        names[i++] = member->string;
    }
    qsort(names, count, sizeof(*names), compare_names);
    for (i = 1; i < count; i++) {
        if (strcmp(names[i - 1], names[i]) == 0 &&
            (i == 1 || strcmp(names[i - 2], names[i]) != 0)) {
            json_problem(object->doc, "field \"%s%s\" is given more than once", object->path,
                         names[i]);
        }
    }
}

static struct json_object *visit(struct json_doc *doc, const cJSON *node, const char *path)
{
    for (struct json_object *seen = doc->visited; seen; seen = seen->next) {
        if (seen->node == node) {
            return seen;
        }
    }

    struct json_object *object = ARENA_NEW(doc->arena, struct json_object);
    size_t count = 0;
    for (const cJSON *member = node->child; member; member = member->next) {
        count++;
    }
    object->doc = doc;
    object->node = node;
    object->path = path;
    object->known = count > 0 ? ARENA_ARRAY(doc->arena, count, bool) : NULL;
    *doc->visited_end = object;
    doc->visited_end = &object->next;
    if (count > 1) {
        note_duplicates(object, count);
    }
    return object;
}

struct error *json_doc_read(struct span text, const char *what, struct json_doc **ret)
{
    struct error *err = check_text(text);
    if (err) {
        error_set_class(err, ERROR_CONFIG);
        return error_wrap(err, "%s", what);
    }
    cJSON *root = cJSON_ParseWithLength(text.ptr, text.len);
    if (!root) {
        return error_new(ERROR_INPUT, ERROR_CONFIG,
                         "%s: a number is too long or a string has half of a surrogate pair", what);
    }

    struct json_doc *doc = mem_alloc(sizeof(*doc));
    doc->arena = arena_new(32 * DOC_MAX_BYTES);
    doc->what = arena_strdup(doc->arena, what);
    doc->root = root;
    doc->visited_end = &doc->visited;
    buf_init(&doc->problems, PROBLEMS_MAX_BYTES);
    doc->top = visit(doc, root, "");
    *ret = doc;
    return NULL;
}

void json_doc_free(struct json_doc *doc)
{
    if (!doc) {
        return;
    }
    wipe_node(doc->root);
    cJSON_Delete(doc->root);
    buf_done(&doc->problems);
    arena_free(doc->arena);
    mem_free(doc);
}

struct json_object *json_doc_object(struct json_doc *doc)
{
    return doc->top;
}

/* ---------------------------------------------------------------- getters */

static const char *type_name(const cJSON *node)
{
    if (cJSON_IsObject(node)) {
        return json_kind_name(JSON_OBJECT);
    }
    if (cJSON_IsArray(node)) {
        return json_kind_name(JSON_ARRAY);
    }
    if (cJSON_IsString(node)) {
        return json_kind_name(JSON_STRING);
    }
    if (cJSON_IsNumber(node)) {
        return json_kind_name(JSON_NUMBER);
    }
    return json_kind_name(cJSON_IsBool(node) ? JSON_TRUE : JSON_NULL);
}

/* Marks the member as known. NULL when it is absent or null. */
static const cJSON *find(struct json_object *object, const char *name)
{
    const cJSON *found = NULL;
    size_t i = 0;

    for (const cJSON *member = object->node->child; member; member = member->next, i++) {
        if (strcmp(member->string, name) == 0) {
            object->known[i] = true;
            found = cJSON_IsNull(member) ? NULL : member;
        }
    }
    return found;
}

static void note_type(struct json_object *object, const cJSON *member, const char *wanted)
{
    json_problem(object->doc, "field \"%s%s\" must be of type %s, not %s", object->path,
                 member->string, wanted, type_name(member));
}

const char *json_get_string(struct json_object *object, const char *name)
{
    const cJSON *member = find(object, name);

    if (member && !cJSON_IsString(member)) {
        note_type(object, member, "string");
        return NULL;
    }
    return member ? member->valuestring : NULL;
}

bool json_get_bool(struct json_object *object, const char *name)
{
    const cJSON *member = find(object, name);

    if (member && !cJSON_IsBool(member)) {
        note_type(object, member, "boolean");
        return false;
    }
    return member && cJSON_IsTrue(member);
}

double json_get_number(struct json_object *object, const char *name, double otherwise)
{
    const cJSON *member = find(object, name);

    if (member && !cJSON_IsNumber(member)) {
        note_type(object, member, "number");
        return otherwise;
    }
    if (member && !isfinite(member->valuedouble)) {
        json_problem(object->doc, "field \"%s%s\" is too large a number", object->path, name);
        return otherwise;
    }
    return member ? member->valuedouble : otherwise;
}

struct json_object *json_get_object(struct json_object *object, const char *name)
{
    const cJSON *member = find(object, name);

    if (member && !cJSON_IsObject(member)) {
        note_type(object, member, "object");
        return NULL;
    }
    if (!member) {
        return NULL;
    }
    return visit(object->doc, member,
                 arena_printf(object->doc->arena, "%s%s.", object->path, name));
}

bool json_has(struct json_object *object, const char *name)
{
    return find(object, name) != NULL;
}

/* ---------------------------------------------------------------- problems */

void json_problem(struct json_doc *doc, const char *fmt, ...)
{
    va_list args;

    doc->problem_count++;
    if (buf_is_full(&doc->problems)) {
        return; /* nobody reads further than this */
    }
    va_start(args, fmt);
    const char *sentence = arena_vprintf(doc->arena, fmt, args);
    va_end(args);
    buf_printf(&doc->problems, "\n - %s", sentence);
}

struct error *json_doc_check(struct json_doc *doc)
{
    for (struct json_object *object = doc->visited; object; object = object->next) {
        size_t i = 0;
        for (const cJSON *member = object->node->child; member; member = member->next, i++) {
            if (!object->known[i]) {
                json_problem(doc, "unknown field \"%s%s\"", object->path, member->string);
                object->known[i] = true; /* a second check would say it again */
            }
        }
    }
    if (doc->problem_count == 0) {
        return NULL;
    }
    const char *list = doc->problems.data ? doc->problems.data : "";
    if (doc->problem_count == 1 && doc->problems.len > 0) {
        return error_new(ERROR_INPUT, ERROR_CONFIG, "%s: %s", doc->what, list + strlen("\n - "));
    }
    return error_new(ERROR_INPUT, ERROR_CONFIG, "%s has %u problems:%s", doc->what,
                     doc->problem_count, list);
}
