/* Reduction: two documents of one key become one, location by location, as the annotations of the
   schema say. Which annotations hold is decided by the document that comes in. Pure. */
#include "schema.h"

#include <string.h>

#include "schema_scope.h"

enum { MAX_SCOPE = 32 };

/* All subschemas that apply at one location. Later ones win: a branch of "if" is more specific than
   the schema that holds it. */
struct scope {
    const struct fr_json *list[MAX_SCOPE];
    unsigned count;
};

struct reduction {
    struct fr_arena *arena;
    const struct fr_json *root;
    bool full;
    const char *error;
};

static struct fr_json *reduce_at(struct reduction *r,
                                 const struct scope *scope,
                                 struct fr_json *left,
                                 struct fr_json *right,
                                 bool *ret_deleted);

/* ---------------------------------------------------------------- scopes */

static void expand(struct scope *scope,
                   const struct fr_json *root,
                   const struct fr_json *schema,
                   const struct fr_json *value)
{
    static const char *const lists[] = {"allOf", "anyOf", "oneOf"};
    if (!fr_json_is(schema, FR_OBJECT) || scope->count == MAX_SCOPE) {
        return;
    }
    scope->list[scope->count++] = schema;
    const struct fr_json *target = fr_schema_ref(root, schema);
    if (target != NULL) {
        expand(scope, root, target, value);
    }
    for (int k = 0; k < 3; k++) {
        const struct fr_json *list = fr_json_get(schema, lists[k]);
        for (uint32_t i = 0; fr_json_is(list, FR_ARRAY) && i < list->count; i++) {
            if (k == 0 || fr_schema_fits(root, list->items[i], value)) {
                expand(scope, root, list->items[i], value);
            }
        }
    }
    const struct fr_json *condition = fr_json_get(schema, "if");
    if (condition != NULL) {
        bool holds = fr_schema_fits(root, condition, value);
        expand(scope, root, fr_json_get(schema, holds ? "then" : "else"), value);
    }
}

static void enter_property(struct scope *child,
                           const struct reduction *r,
                           const struct scope *scope,
                           const struct fr_member *member)
{
    child->count = 0;
    for (unsigned i = 0; i < scope->count; i++) {
        const struct fr_json *known = fr_json_get_n(fr_json_get(scope->list[i], "properties"),
                                                    member->name, member->name_len);
        known = known != NULL ? known : fr_json_get(scope->list[i], "additionalProperties");
        expand(child, r->root, known, member->value);
    }
}

static void enter_items(struct scope *child,
                        const struct reduction *r,
                        const struct scope *scope,
                        const struct fr_json *value)
{
    child->count = 0;
    for (unsigned i = 0; i < scope->count; i++) {
        expand(child, r->root, fr_json_get(scope->list[i], "items"), value);
    }
}

static const struct fr_json *annotation(const struct scope *scope)
{
    const struct fr_json *found = NULL;
    for (unsigned i = 0; i < scope->count; i++) {
        const struct fr_json *reduce = fr_json_get(scope->list[i], "reduce");
        found = fr_json_is(reduce, FR_OBJECT) ? reduce : found;
    }
    return found;
}

/* ---------------------------------------------------------------- strategies */

static int
compare_keyed(const struct fr_json *key, const struct fr_json *left, const struct fr_json *right)
{
    static const struct fr_json nothing = {.type = FR_NULL};
    if (!fr_json_is(key, FR_ARRAY)) {
        return fr_json_compare(left, right);
    }
    for (uint32_t i = 0; i < key->count; i++) {
        const char *pointer = fr_json_text(key->items[i]);
        const struct fr_json *l = pointer == NULL ? left : fr_json_at(left, pointer);
        const struct fr_json *r = pointer == NULL ? right : fr_json_at(right, pointer);
        int order = fr_json_compare(l == NULL ? &nothing : l, r == NULL ? &nothing : r);
        if (order != 0) {
            return order;
        }
    }
    return 0;
}

static struct fr_json *merge_objects(struct reduction *r,
                                     const struct scope *scope,
                                     struct fr_json *left,
                                     struct fr_json *right)
{
    struct fr_json *merged = fr_json_shallow(r->arena, left);
    for (uint32_t i = 0; i < right->count; i++) {
        const struct fr_member *member = &right->members[i];
        struct scope child;
        bool deleted = false;
        enter_property(&child, r, scope, member);
        struct fr_json *old = fr_json_get_n(left, member->name, member->name_len);
        struct fr_json *reduced = reduce_at(r, &child, old, member->value, &deleted);
        if (deleted && r->full) {
            fr_json_remove(merged, member->name, member->name_len);
        } else {
            fr_json_set_n(r->arena, merged, member->name, member->name_len, reduced);
        }
    }
    return merged;
}

/* Arrays merge by index, or, with a key, as sorted lists. */
static struct fr_json *merge_arrays(struct reduction *r,
                                    const struct scope *scope,
                                    const struct fr_json *key,
                                    struct fr_json *left,
                                    struct fr_json *right)
{
    struct fr_json *merged = fr_json_new(r->arena, FR_ARRAY);
    uint32_t l = 0;
    uint32_t k = 0;
    while (l < left->count || k < right->count) {
        int order = l == left->count    ? 1
                    : k == right->count ? -1
                    : key == NULL       ? 0
                                        : compare_keyed(key, left->items[l], right->items[k]);
        if (order < 0) {
            fr_json_push(r->arena, merged, left->items[l++]);
            continue;
        }
        struct scope child;
        bool deleted = false;
        enter_items(&child, r, scope, right->items[k]);
        struct fr_json *reduced =
            reduce_at(r, &child, order == 0 ? left->items[l] : NULL, right->items[k], &deleted);
        if (!deleted || !r->full) {
            fr_json_push(r->arena, merged, reduced);
        }
        l += order == 0;
        k++;
    }
    return merged;
}

static struct fr_json *merge(struct reduction *r,
                             const struct scope *scope,
                             const struct fr_json *reduce,
                             struct fr_json *left,
                             struct fr_json *right)
{
    if (right->type == FR_OBJECT && (left == NULL || left->type == FR_OBJECT)) {
        struct fr_json *nothing = fr_json_new(r->arena, FR_OBJECT);
        return merge_objects(r, scope, left == NULL ? nothing : left, right);
    }
    if (right->type == FR_ARRAY && (left == NULL || left->type == FR_ARRAY)) {
        struct fr_json *nothing = fr_json_new(r->arena, FR_ARRAY);
        return merge_arrays(r, scope, fr_json_get(reduce, "key"), left == NULL ? nothing : left,
                            right);
    }
    return right;
}

static struct fr_json *append(struct reduction *r, struct fr_json *left, struct fr_json *right)
{
    if (right->type != FR_ARRAY || (left != NULL && left->type != FR_ARRAY)) {
        return left != NULL && right->type == FR_NULL ? left : right;
    }
    struct fr_json *both = fr_json_new(r->arena, FR_ARRAY);
    for (uint32_t i = 0; left != NULL && i < left->count; i++) {
        fr_json_push(r->arena, both, left->items[i]);
    }
    for (uint32_t i = 0; i < right->count; i++) {
        fr_json_push(r->arena, both, right->items[i]);
    }
    return both;
}

static struct fr_json *sum(struct reduction *r, struct fr_json *left, struct fr_json *right)
{
    if (left == NULL) {
        return right;
    }
    if (left->type != FR_NUMBER || right->type != FR_NUMBER) {
        r->error = "sum is annotated where a document has no number";
        return right;
    }
    struct fr_json *total = fr_json_sum(r->arena, left, right);
    if (total == NULL) {
        r->error = "a sum has more digits than this runtime keeps";
        return right;
    }
    return total;
}

static struct fr_json *reduce_at(struct reduction *r,
                                 const struct scope *scope,
                                 struct fr_json *left,
                                 struct fr_json *right,
                                 bool *ret_deleted)
{
    const struct fr_json *reduce = annotation(scope);
    const char *strategy = fr_json_text(fr_json_get(reduce, "strategy"));

    *ret_deleted = fr_json_true(fr_json_get(reduce, "delete"));
    if (strategy == NULL || strcmp(strategy, "lastWriteWins") == 0) {
        return right;
    }
    if (strcmp(strategy, "firstWriteWins") == 0) {
        return left == NULL ? right : left;
    }
    if (strcmp(strategy, "merge") == 0) {
        return merge(r, scope, reduce, left, right);
    }
    if (strcmp(strategy, "append") == 0) {
        return append(r, left, right);
    }
    if (strcmp(strategy, "sum") == 0) {
        return sum(r, left, right);
    }
    if (strcmp(strategy, "minimize") == 0 || strcmp(strategy, "maximize") == 0) {
        if (left == NULL) {
            return right;
        }
        int order = compare_keyed(fr_json_get(reduce, "key"), left, right);
        bool keep = strategy[1] == 'i' ? order <= 0 : order >= 0;
        return keep ? left : right;
    }
    r->error = "a reduction strategy is not played by this runtime";
    return right;
}

struct fr_reduced fr_reduce(struct fr_arena *arena,
                            const struct fr_json *schema,
                            struct fr_json *left,
                            struct fr_json *right,
                            bool full)
{
    struct reduction r = {arena, schema, full, NULL};
    struct fr_reduced reduced = {NULL, false, NULL};
    struct scope scope = {.count = 0};

    expand(&scope, schema, schema, right);
    reduced.doc = reduce_at(&r, &scope, left, right, &reduced.deleted);
    reduced.deleted = reduced.deleted || fr_json_is_text(fr_json_at(right, "/_meta/op"), "d");
    reduced.error = r.error;
    return reduced;
}

const char *fr_schema_unplayed(const struct fr_json *schema)
{
    static const char *const played[] = {"lastWriteWins", "firstWriteWins", "merge", "sum",
                                         "minimize",      "maximize",       "append"};
    if (!fr_json_is(schema, FR_OBJECT) && !fr_json_is(schema, FR_ARRAY)) {
        return NULL;
    }
    const char *strategy = fr_json_text(fr_json_get(fr_json_get(schema, "reduce"), "strategy"));
    bool known = strategy == NULL;
    for (size_t i = 0; !known && i < sizeof(played) / sizeof(played[0]); i++) {
        known = strcmp(strategy, played[i]) == 0;
    }
    if (!known) {
        return strategy;
    }
    for (uint32_t i = 0; i < schema->count; i++) {
        const char *found = fr_schema_unplayed(schema->type == FR_OBJECT ? schema->members[i].value
                                                                         : schema->items[i]);
        if (found != NULL) {
            return found;
        }
    }
    return NULL;
}
