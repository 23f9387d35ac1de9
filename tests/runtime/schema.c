/* Validity and inference of JSON schemas. Pure. Reduction has a file of its own. */
#include "schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schema_scope.h"

/* ---------------------------------------------------------------- validity */

const struct fr_json *fr_schema_ref(const struct fr_json *root, const struct fr_json *schema)
{
    const char *ref = fr_json_text(fr_json_get(schema, "$ref"));
    if (ref == NULL || ref[0] != '#') {
        return NULL;
    }
    return fr_json_at(root, ref + 1);
}

static bool has_type(const struct fr_json *value, const char *type)
{
    static const char *const names[] = {"null",   "boolean", "boolean", "number",
                                        "string", "array",   "object"};
    if (strcmp(type, "integer") == 0) {
        return fr_json_is_integral(value);
    }
    return strcmp(names[value->type], type) == 0;
}

static bool fits_type(const struct fr_json *type, const struct fr_json *value)
{
    if (fr_json_is(type, FR_STRING)) {
        return has_type(value, type->text);
    }
    for (uint32_t i = 0; fr_json_is(type, FR_ARRAY) && i < type->count; i++) {
        if (fr_json_is(type->items[i], FR_STRING) && has_type(value, type->items[i]->text)) {
            return true;
        }
    }
    return !fr_json_is(type, FR_ARRAY);
}

static bool fits_number(const struct fr_json *schema, const struct fr_json *value)
{
    const struct fr_json *bound = fr_json_get(schema, "minimum");
    if (fr_json_is(bound, FR_NUMBER) && fr_json_compare(value, bound) < 0) {
        return false;
    }
    bound = fr_json_get(schema, "maximum");
    if (fr_json_is(bound, FR_NUMBER) && fr_json_compare(value, bound) > 0) {
        return false;
    }
    bound = fr_json_get(schema, "exclusiveMinimum");
    if (fr_json_is(bound, FR_NUMBER) && fr_json_compare(value, bound) <= 0) {
        return false;
    }
    bound = fr_json_get(schema, "exclusiveMaximum");
    return !fr_json_is(bound, FR_NUMBER) || fr_json_compare(value, bound) < 0;
}

static bool
fits_count(const struct fr_json *schema, uint64_t count, const char *least, const char *most)
{
    int64_t bound = 0;
    if (fr_json_to_int(fr_json_get(schema, least), &bound) && count < (uint64_t)bound) {
        return false;
    }
    return !fr_json_to_int(fr_json_get(schema, most), &bound) || count <= (uint64_t)bound;
}

static uint64_t count_characters(const struct fr_json *string)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < string->count; i++) {
        count += ((unsigned char)string->text[i] & 0xc0) != 0x80;
    }
    return count;
}

static bool
fits_object(const struct fr_json *root, const struct fr_json *schema, const struct fr_json *value)
{
    const struct fr_json *required = fr_json_get(schema, "required");
    for (uint32_t i = 0; fr_json_is(required, FR_ARRAY) && i < required->count; i++) {
        const struct fr_json *name = required->items[i];
        if (fr_json_is(name, FR_STRING) && fr_json_get_n(value, name->text, name->count) == NULL) {
            return false;
        }
    }
    const struct fr_json *properties = fr_json_get(schema, "properties");
    const struct fr_json *others = fr_json_get(schema, "additionalProperties");
    for (uint32_t i = 0; i < value->count; i++) {
        const struct fr_member *member = &value->members[i];
        const struct fr_json *known = fr_json_get_n(properties, member->name, member->name_len);
        known = known == NULL ? others : known;
        if (known != NULL && !fr_schema_fits(root, known, member->value)) {
            return false;
        }
    }
    return true;
}

static unsigned
count_fitting(const struct fr_json *root, const struct fr_json *list, const struct fr_json *value)
{
    unsigned fitting = 0;
    for (uint32_t i = 0; i < list->count; i++) {
        fitting += fr_schema_fits(root, list->items[i], value) ? 1 : 0;
    }
    return fitting;
}

static bool
fits_combined(const struct fr_json *root, const struct fr_json *schema, const struct fr_json *value)
{
    const struct fr_json *list = fr_json_get(schema, "allOf");
    if (fr_json_is(list, FR_ARRAY) && count_fitting(root, list, value) != list->count) {
        return false;
    }
    list = fr_json_get(schema, "anyOf");
    if (fr_json_is(list, FR_ARRAY) && count_fitting(root, list, value) == 0) {
        return false;
    }
    list = fr_json_get(schema, "oneOf");
    if (fr_json_is(list, FR_ARRAY) && count_fitting(root, list, value) != 1) {
        return false;
    }
    const struct fr_json *other = fr_json_get(schema, "not");
    if (other != NULL && fr_schema_fits(root, other, value)) {
        return false;
    }
    const struct fr_json *condition = fr_json_get(schema, "if");
    if (condition != NULL) {
        bool holds = fr_schema_fits(root, condition, value);
        const struct fr_json *branch = fr_json_get(schema, holds ? "then" : "else");
        if (branch != NULL && !fr_schema_fits(root, branch, value)) {
            return false;
        }
    }
    const struct fr_json *target = fr_schema_ref(root, schema);
    return target == NULL || fr_schema_fits(root, target, value);
}

bool fr_schema_fits(const struct fr_json *root,
                    const struct fr_json *schema,
                    const struct fr_json *value)
{
    if (schema->type != FR_OBJECT) {
        return schema->type != FR_FALSE;
    }
    const struct fr_json *keyword = fr_json_get(schema, "type");
    if (keyword != NULL && !fits_type(keyword, value)) {
        return false;
    }
    keyword = fr_json_get(schema, "const");
    if (keyword != NULL && !fr_json_equal(keyword, value)) {
        return false;
    }
    keyword = fr_json_get(schema, "enum");
    if (fr_json_is(keyword, FR_ARRAY)) {
        bool listed = false;
        for (uint32_t i = 0; i < keyword->count; i++) {
            listed = listed || fr_json_equal(keyword->items[i], value);
        }
        if (!listed) {
            return false;
        }
    }
    if (value->type == FR_NUMBER && !fits_number(schema, value)) {
        return false;
    }
    if (value->type == FR_STRING &&
        !fits_count(schema, count_characters(value), "minLength", "maxLength")) {
        return false;
    }
    if (value->type == FR_ARRAY) {
        if (!fits_count(schema, value->count, "minItems", "maxItems")) {
            return false;
        }
        keyword = fr_json_get(schema, "items");
        for (uint32_t i = 0; keyword != NULL && i < value->count; i++) {
            if (!fr_schema_fits(root, keyword, value->items[i])) {
                return false;
            }
        }
    }
    if (value->type == FR_OBJECT && !fits_object(root, schema, value)) {
        return false;
    }
    return fits_combined(root, schema, value);
}

/* ---------------------------------------------------------------- shapes */

/* Type bits in the alphabetical order in which inference lists them. "number" is both the integer
   and the number bit, so that sets can be intersected and united. */
enum {
    T_ARRAY = 1,
    T_BOOLEAN = 2,
    T_INTEGER = 4,
    T_NULL = 8,
    T_NUMBER = 16,
    T_OBJECT = 32,
    T_STRING = 64,
    T_ANY = 127
};

static const struct {
    const char *name;
    unsigned bits;
} type_names[] = {
    {"array", T_ARRAY},   {"boolean", T_BOOLEAN},           {"integer", T_INTEGER},
    {"null", T_NULL},     {"number", T_NUMBER | T_INTEGER}, {"object", T_OBJECT},
    {"string", T_STRING},
};

struct shape;

struct property {
    const char *name;
    bool required;
    struct shape *shape;
    struct property *next; /* ascending by name */
};

/* What is known of one location. Annotations are NULL when the schema says nothing. */
struct shape {
    unsigned types;
    struct property *properties;
    struct fr_json *title, *description, *fallback, *secret, *reduce;
    struct fr_json *format, *encoding, *media, *max_length;
    struct fr_json *minimum, *maximum, *min_items, *max_items, *values;
    unsigned item_types;
};

static struct shape *infer(struct fr_arena *arena,
                           const struct fr_json *root,
                           const struct fr_json *schema,
                           unsigned depth);

static unsigned bits_of_name(const char *name)
{
    for (size_t i = 0; i < sizeof(type_names) / sizeof(type_names[0]); i++) {
        if (strcmp(type_names[i].name, name) == 0) {
            return type_names[i].bits;
        }
    }
    return 0;
}

static unsigned bits_of_value(const struct fr_json *value)
{
    static const unsigned bits[] = {T_NULL,   T_BOOLEAN, T_BOOLEAN, T_NUMBER | T_INTEGER,
                                    T_STRING, T_ARRAY,   T_OBJECT};
    return fr_json_is_integral(value) ? (unsigned)T_INTEGER : bits[value->type];
}

static unsigned bits_of_schema(const struct fr_json *schema)
{
    unsigned bits = T_ANY;
    const struct fr_json *type = fr_json_get(schema, "type");
    if (fr_json_is(type, FR_STRING)) {
        bits = bits_of_name(type->text);
    } else if (fr_json_is(type, FR_ARRAY)) {
        bits = 0;
        for (uint32_t i = 0; i < type->count; i++) {
            const char *name = fr_json_text(type->items[i]);
            bits |= name == NULL ? 0 : bits_of_name(name);
        }
    }
    const struct fr_json *value = fr_json_get(schema, "const");
    if (value != NULL) {
        bits &= bits_of_value(value);
    }
    const struct fr_json *values = fr_json_get(schema, "enum");
    if (fr_json_is(values, FR_ARRAY)) {
        unsigned listed = 0;
        for (uint32_t i = 0; i < values->count; i++) {
            listed |= bits_of_value(values->items[i]);
        }
        bits &= listed;
    }
    return bits;
}

static void take(struct fr_json **mine, struct fr_json *other)
{
    if (*mine == NULL) {
        *mine = other;
    }
}

static void keep_if_both(struct fr_json **mine, const struct fr_json *other)
{
    if (*mine != NULL && (other == NULL || !fr_json_equal(*mine, other))) {
        *mine = NULL;
    }
}

static struct property **find_property(struct shape *shape, const char *name)
{
    struct property **at = &shape->properties;
    while (*at != NULL && strcmp((*at)->name, name) < 0) {
        at = &(*at)->next;
    }
    return at;
}

static void intersect(struct shape *shape, struct shape *other);
static void unite(struct shape *shape, struct shape *other);

static void join_properties(struct shape *shape, struct shape *other, bool both)
{
    struct property *next = NULL;
    for (struct property *mine = shape->properties; !both && mine != NULL; mine = mine->next) {
        struct property **theirs = find_property(other, mine->name);
        bool known = *theirs != NULL && strcmp((*theirs)->name, mine->name) == 0;
        mine->required = mine->required && known && (*theirs)->required;
    }
    for (struct property *theirs = other->properties; theirs != NULL; theirs = next) {
        next = theirs->next;
        struct property **at = find_property(shape, theirs->name);
        if (*at != NULL && strcmp((*at)->name, theirs->name) == 0) {
            if (both) {
                (*at)->required = (*at)->required || theirs->required;
                intersect((*at)->shape, theirs->shape);
            } else {
                unite((*at)->shape, theirs->shape);
            }
            continue;
        }
        theirs->required = both && theirs->required;
        theirs->next = *at;
        *at = theirs;
    }
}

/* The tighter of two bounds. */
static void tighten(struct fr_json **mine, struct fr_json *other, int sign)
{
    if (*mine == NULL || (other != NULL && fr_json_compare(other, *mine) * sign > 0)) {
        *mine = other;
    }
}

/* Both hold. Consumes other. */
static void intersect(struct shape *shape, struct shape *other)
{
    shape->types &= other->types;
    join_properties(shape, other, true);
    take(&shape->title, other->title);
    take(&shape->description, other->description);
    take(&shape->fallback, other->fallback);
    take(&shape->secret, other->secret);
    take(&shape->reduce, other->reduce);
    take(&shape->format, other->format);
    take(&shape->encoding, other->encoding);
    take(&shape->media, other->media);
    take(&shape->values, other->values);
    tighten(&shape->max_length, other->max_length, -1);
    tighten(&shape->minimum, other->minimum, 1);
    tighten(&shape->maximum, other->maximum, -1);
    tighten(&shape->min_items, other->min_items, 1);
    tighten(&shape->max_items, other->max_items, -1);
    shape->item_types &= other->item_types;
}

/* The looser of two bounds; none if one has none. */
static void loosen(struct fr_json **mine, struct fr_json *other, int sign)
{
    if (*mine != NULL && (other == NULL || fr_json_compare(other, *mine) * sign > 0)) {
        *mine = other;
    }
}

/* A bound or string annotation of a side that cannot hold its type does not count. */
static void unite(struct shape *shape, struct shape *other)
{
    unsigned numeric = T_INTEGER | T_NUMBER;
    bool mine_string = (shape->types & T_STRING) != 0;
    bool their_string = (other->types & T_STRING) != 0;
    if (mine_string && their_string) {
        keep_if_both(&shape->format, other->format);
        keep_if_both(&shape->encoding, other->encoding);
        loosen(&shape->max_length, other->max_length, 1);
    } else if (their_string) {
        shape->format = other->format;
        shape->encoding = other->encoding;
        shape->max_length = other->max_length;
    }
    if ((shape->types & numeric) != 0 && (other->types & numeric) != 0) {
        loosen(&shape->minimum, other->minimum, -1);
        loosen(&shape->maximum, other->maximum, 1);
    } else if ((other->types & numeric) != 0) {
        shape->minimum = other->minimum;
        shape->maximum = other->maximum;
    }
    if ((shape->types & T_ARRAY) != 0 && (other->types & T_ARRAY) != 0) {
        loosen(&shape->min_items, other->min_items, -1);
        loosen(&shape->max_items, other->max_items, 1);
        shape->item_types |= other->item_types;
    } else if ((other->types & T_ARRAY) != 0) {
        shape->min_items = other->min_items;
        shape->max_items = other->max_items;
        shape->item_types = other->item_types;
    }
    bool mine_object = (shape->types & T_OBJECT) != 0;
    bool their_object = (other->types & T_OBJECT) != 0;
    if (mine_object && their_object) {
        join_properties(shape, other, false);
    } else if (their_object) {
        shape->properties = other->properties;
    }
    shape->types |= other->types;
    keep_if_both(&shape->media, other->media);
    keep_if_both(&shape->title, other->title);
    keep_if_both(&shape->description, other->description);
    keep_if_both(&shape->fallback, other->fallback);
    keep_if_both(&shape->reduce, other->reduce);
    keep_if_both(&shape->values, other->values);
}

static void infer_properties(struct fr_arena *arena,
                             const struct fr_json *root,
                             const struct fr_json *schema,
                             struct shape *shape,
                             unsigned depth)
{
    const struct fr_json *properties = fr_json_get(schema, "properties");
    for (uint32_t i = 0; fr_json_is(properties, FR_OBJECT) && i < properties->count; i++) {
        struct property *property = fr_arena_get(arena, sizeof(*property));
        property->name = properties->members[i].name;
        property->shape = infer(arena, root, properties->members[i].value, depth + 1);
        struct property **at = find_property(shape, property->name);
        property->next = *at;
        *at = property;
    }
    const struct fr_json *required = fr_json_get(schema, "required");
    for (uint32_t i = 0; fr_json_is(required, FR_ARRAY) && i < required->count; i++) {
        const char *name = fr_json_text(required->items[i]);
        if (name == NULL) {
            continue;
        }
        struct property **at = find_property(shape, name);
        if (*at != NULL && strcmp((*at)->name, name) == 0) {
            (*at)->required = true;
            continue;
        }
        /* Required but described elsewhere (another branch of allOf) or nowhere. */
        struct property *property = fr_arena_get(arena, sizeof(*property));
        property->name = name;
        property->required = true;
        property->shape = infer(arena, root, fr_json_bool(arena, true), depth + 1);
        property->next = *at;
        *at = property;
    }
}

static void infer_branches(struct fr_arena *arena,
                           const struct fr_json *root,
                           const struct fr_json *schema,
                           struct shape *shape,
                           unsigned depth)
{
    static const char *const either[] = {"anyOf", "oneOf"};
    const struct fr_json *list = fr_json_get(schema, "allOf");
    for (uint32_t i = 0; fr_json_is(list, FR_ARRAY) && i < list->count; i++) {
        intersect(shape, infer(arena, root, list->items[i], depth + 1));
    }
    for (int k = 0; k < 2; k++) {
        list = fr_json_get(schema, either[k]);
        if (!fr_json_is(list, FR_ARRAY) || list->count == 0) {
            continue;
        }
        struct shape *any = infer(arena, root, list->items[0], depth + 1);
        for (uint32_t i = 1; i < list->count; i++) {
            unite(any, infer(arena, root, list->items[i], depth + 1));
        }
        intersect(shape, any);
    }
    const struct fr_json *target = fr_schema_ref(root, schema);
    if (target != NULL) {
        intersect(shape, infer(arena, root, target, depth + 1));
    }
}

static struct shape *infer(struct fr_arena *arena,
                           const struct fr_json *root,
                           const struct fr_json *schema,
                           unsigned depth)
{
    struct shape *shape = fr_arena_get(arena, sizeof(*shape));
    shape->types = schema->type == FR_FALSE ? 0 : T_ANY;
    shape->item_types = T_ANY;
    if (schema->type != FR_OBJECT || depth > 64) {
        return shape;
    }
    shape->types = bits_of_schema(schema);
    shape->title = fr_json_get(schema, "title");
    shape->description = fr_json_get(schema, "description");
    shape->fallback = fr_json_get(schema, "default");
    shape->secret = fr_json_get(schema, "secret");
    shape->reduce = fr_json_get(fr_json_get(schema, "reduce"), "strategy");
    shape->format = fr_json_get(schema, "format");
    shape->encoding = fr_json_get(schema, "contentEncoding");
    shape->media = fr_json_get(schema, "contentMediaType");
    shape->max_length = fr_json_get(schema, "maxLength");
    shape->minimum = fr_json_get(schema, "minimum");
    shape->maximum = fr_json_get(schema, "maximum");
    shape->min_items = fr_json_get(schema, "minItems");
    shape->max_items = fr_json_get(schema, "maxItems");
    shape->values = fr_json_get(schema, "enum");
    const struct fr_json *items = fr_json_get(schema, "items");
    if (items != NULL) {
        shape->item_types = infer(arena, root, items, depth + 1)->types;
    }
    infer_properties(arena, root, schema, shape, depth);
    infer_branches(arena, root, schema, shape, depth);
    return shape;
}

/* ---------------------------------------------------------------- projections */

static struct fr_json *list_types(struct fr_arena *arena, unsigned types)
{
    struct fr_json *list = fr_json_new(arena, FR_ARRAY);
    for (size_t i = 0; i < sizeof(type_names) / sizeof(type_names[0]); i++) {
        bool has = (types & type_names[i].bits) == type_names[i].bits;
        bool within_number = type_names[i].bits == T_INTEGER && (types & T_NUMBER) != 0;
        if (has && !within_number) {
            fr_json_push(arena, list, fr_json_string(arena, type_names[i].name));
        }
    }
    return list;
}

static void
set_if(struct fr_arena *arena, struct fr_json *object, const char *name, struct fr_json *value)
{
    if (value != NULL) {
        fr_json_set(arena, object, name, value);
    }
}

/* A string annotation of another type says nothing. */
static void
set_if_text(struct fr_arena *arena, struct fr_json *object, const char *name, struct fr_json *value)
{
    set_if(arena, object, name, fr_json_is(value, FR_STRING) ? value : NULL);
}

static void set_if_number(struct fr_arena *arena,
                          struct fr_json *object,
                          const char *name,
                          struct fr_json *value)
{
    set_if(arena, object, name, fr_json_is(value, FR_NUMBER) ? value : NULL);
}

static struct fr_json *describe_string(struct fr_arena *arena, const struct shape *shape)
{
    struct fr_json *string = fr_json_new(arena, FR_OBJECT);
    const char *format = fr_json_text(shape->format);
    if (format != NULL && (strcmp(format, "uint32") == 0 || strcmp(format, "uint64") == 0)) {
        fr_json_set(arena, string, "format", fr_json_string(arena, "integer"));
    } else if (format != NULL) {
        fr_json_set(arena, string, "format", shape->format);
    }
    set_if_text(arena, string, "contentEncoding", shape->encoding);
    set_if_text(arena, string, "contentType", shape->media);
    set_if_number(arena, string, "maxLength", shape->max_length);
    return string;
}

static struct fr_json *describe_numeric(struct fr_arena *arena, const struct shape *shape)
{
    struct fr_json *numeric = fr_json_new(arena, FR_OBJECT);
    if (fr_json_is(shape->minimum, FR_NUMBER)) {
        fr_json_set(arena, numeric, "hasMinimum", fr_json_bool(arena, true));
        fr_json_set(arena, numeric, "minimum", shape->minimum);
    }
    if (fr_json_is(shape->maximum, FR_NUMBER)) {
        fr_json_set(arena, numeric, "hasMaximum", fr_json_bool(arena, true));
        fr_json_set(arena, numeric, "maximum", shape->maximum);
    }
    return numeric;
}

static struct fr_json *describe_array(struct fr_arena *arena, const struct shape *shape)
{
    struct fr_json *array = fr_json_new(arena, FR_OBJECT);
    set_if_number(arena, array, "minItems", shape->min_items);
    if (fr_json_is(shape->max_items, FR_NUMBER)) {
        fr_json_set(arena, array, "hasMaxItems", fr_json_bool(arena, true));
        fr_json_set(arena, array, "maxItems", shape->max_items);
    }
    fr_json_set(arena, array, "itemTypes", list_types(arena, shape->item_types));
    return array;
}

static const char *reduce_name(const struct fr_json *strategy)
{
    static const struct {
        const char *strategy;
        const char *name;
    } names[] = {
        {"append", "REDUCE_APPEND"},
        {"firstWriteWins", "REDUCE_FIRST_WRITE_WINS"},
        {"lastWriteWins", "REDUCE_LAST_WRITE_WINS"},
        {"maximize", "REDUCE_MAXIMIZE"},
        {"merge", "REDUCE_MERGE"},
        {"minimize", "REDUCE_MINIMIZE"},
        {"set", "REDUCE_SET"},
        {"sum", "REDUCE_SUM"},
        {"jsonSchemaMerge", "REDUCE_JSON_SCHEMA_MERGE"},
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (fr_json_is_text(strategy, names[i].strategy)) {
            return names[i].name;
        }
    }
    return NULL;
}

static struct fr_json *describe(struct fr_arena *arena, const struct shape *shape, bool must)
{
    struct fr_json *inference = fr_json_new(arena, FR_OBJECT);
    const char *exists = shape->types == 0 ? "CANNOT" : must ? "MUST" : "MAY";

    fr_json_set(arena, inference, "types", list_types(arena, shape->types));
    fr_json_set(arena, inference, "exists", fr_json_string(arena, exists));
    set_if_text(arena, inference, "title", shape->title);
    set_if_text(arena, inference, "description", shape->description);
    set_if(arena, inference, "default", shape->fallback);
    set_if(arena, inference, "enum", fr_json_is(shape->values, FR_ARRAY) ? shape->values : NULL);
    set_if_text(arena, inference, "contentMediaType", shape->media);
    if (fr_json_true(shape->secret)) {
        fr_json_set(arena, inference, "secret", shape->secret);
    }
    if ((shape->types & T_STRING) != 0) {
        fr_json_set(arena, inference, "string", describe_string(arena, shape));
    }
    if ((shape->types & (T_INTEGER | T_NUMBER)) != 0) {
        fr_json_set(arena, inference, "numeric", describe_numeric(arena, shape));
    }
    if ((shape->types & T_ARRAY) != 0) {
        fr_json_set(arena, inference, "array", describe_array(arena, shape));
    }
    const char *reduce = reduce_name(shape->reduce);
    if (reduce != NULL) {
        fr_json_set(arena, inference, "reduce", fr_json_string(arena, reduce));
    }
    return inference;
}

struct walk {
    struct fr_arena *arena;
    struct fr_projections *out;
    size_t room;
};

static struct fr_projection *
add_projection(struct walk *walk, const char *ptr, const char *field, struct fr_json *inference)
{
    struct fr_projections *out = walk->out;
    if (out->count == walk->room) {
        size_t room = walk->room == 0 ? 32 : walk->room * 2;
        struct fr_projection *list = fr_arena_get(walk->arena, room * sizeof(*list));
        if (out->count > 0) {
            memcpy(list, out->list, out->count * sizeof(*list));
        }
        out->list = list;
        walk->room = room;
    }
    struct fr_projection *projection = &out->list[out->count++];
    projection->ptr = fr_arena_copy(walk->arena, ptr, strlen(ptr));
    projection->field = fr_arena_copy(walk->arena, field, strlen(field));
    projection->inference = inference;
    projection->fallback = fr_json_get(inference, "default");
    return projection;
}

static void put_pointer_part(struct fr_buf *ptr, const char *name)
{
    fr_buf_putc(ptr, '/');
    for (; *name != '\0'; name++) {
        if (*name == '~' || *name == '/') {
            fr_buf_puts(ptr, *name == '~' ? "~0" : "~1");
        } else {
            fr_buf_putc(ptr, *name);
        }
    }
}

static void walk_shape(struct walk *walk, const struct shape *shape, struct fr_buf *ptr, bool must)
{
    if (ptr->len > 0) {
        if (strcmp(ptr->data, "/_meta/flow_truncated") != 0) {
            (void)add_projection(walk, ptr->data, ptr->data + 1,
                                 describe(walk->arena, shape, must));
        }
    }
    for (const struct property *p = shape->properties; p != NULL; p = p->next) {
        size_t len = ptr->len;
        put_pointer_part(ptr, p->name);
        walk_shape(walk, p->shape, ptr, must && p->required && shape->types == T_OBJECT);
        ptr->len = len;
        ptr->data[len] = '\0';
    }
}

static int compare_fields(const void *left, const void *right)
{
    const struct fr_projection *l = left;
    const struct fr_projection *r = right;
    return strcmp(l->field, r->field);
}

static bool
add_user_projections(struct walk *walk, const struct fr_json *user, const char **ret_error)
{
    for (uint32_t i = 0; fr_json_is(user, FR_OBJECT) && i < user->count; i++) {
        const struct fr_json *value = user->members[i].value;
        const char *ptr = fr_json_text(value);
        ptr = ptr == NULL ? fr_json_text(fr_json_get(value, "location")) : ptr;
        if (ptr == NULL) {
            *ret_error = "a projection is neither a JSON pointer nor an object with a location";
            return false;
        }
        struct fr_projection *same = NULL;
        struct fr_json *inference = NULL;
        for (size_t k = 0; k < walk->out->count; k++) {
            struct fr_projection *known = &walk->out->list[k];
            same = strcmp(known->field, user->members[i].name) == 0 ? known : same;
            if (strcmp(known->ptr, ptr) == 0 && !known->is_published_at) {
                inference = known->inference;
            }
        }
        if (inference == NULL) {
            *ret_error = "a projection names a location that the schema does not describe";
            return false;
        }
        if (same == NULL || strcmp(same->ptr, ptr) != 0) {
            same = add_projection(walk, ptr, user->members[i].name, inference);
        }
        same->is_explicit = true;
        same->is_partition = fr_json_true(fr_json_get(value, "partition"));
    }
    return true;
}

bool fr_projections_infer(struct fr_arena *arena,
                          const struct fr_json *schema,
                          const struct fr_json *user,
                          struct fr_projections *ret_projections,
                          const char **ret_error)
{
    static const char published_text[] =
        "{\"types\":[\"string\"],\"exists\":\"MUST\",\"title\":\"Flow Publication Time\","
        "\"description\":\"Flow publication date-time of this document\","
        "\"string\":{\"format\":\"date-time\",\"contentEncoding\":\"uuid\"}}";
    static const char truncated_text[] =
        "{\"types\":[\"boolean\"],\"exists\":\"MUST\",\"title\":\"Flow truncation indicator\","
        "\"description\":\"Whether any value of this row was shortened\"}";
    struct walk walk = {arena, ret_projections, 0};
    struct fr_buf ptr = {0};
    const char *error = NULL;

    ret_projections->count = 0;
    struct shape *shape = infer(arena, schema, schema, 0);
    fr_buf_reserve(&ptr, 1);
    ptr.data[0] = '\0';
    (void)add_projection(&walk, "", "flow_document", describe(arena, shape, true));
    walk_shape(&walk, shape, &ptr, true);
    fr_buf_done(&ptr);
    struct fr_projection *published =
        add_projection(&walk, "/_meta/uuid", "flow_published_at",
                       fr_json_parse(arena, published_text, strlen(published_text), &error));
    published->is_published_at = true;
    struct fr_projection *truncated =
        add_projection(&walk, "/_meta/flow_truncated", "_meta/flow_truncated",
                       fr_json_parse(arena, truncated_text, strlen(truncated_text), &error));
    truncated->is_truncated = true;
    if (!add_user_projections(&walk, user, ret_error)) {
        return false;
    }
    qsort(ret_projections->list, ret_projections->count, sizeof(struct fr_projection),
          compare_fields);
    return true;
}

struct fr_projection *fr_projections_find(const struct fr_projections *projections,
                                          const char *field)
{
    for (size_t i = 0; i < projections->count; i++) {
        if (strcmp(projections->list[i].field, field) == 0) {
            return &projections->list[i];
        }
    }
    return NULL;
}
