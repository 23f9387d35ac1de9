/* Field selection. Every field collects its strongest reason to be selected and its strongest
   reason to be rejected; then fields are taken from the strongest reason down, so that a stronger
   field wins a location or a folded name. Pure. */
#include "select.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* Ascending strength. Up to REQUIRES_LOCATION the reason is about the location: another field of
   the same location satisfies it. */
enum select {
    NOT_SELECTED,
    DESIRED_DEPTH,
    CORE_METADATA,
    REQUIRES_LOCATION,
    USER_DEFINED,
    CURRENT_VALUE,
    PARTITION_KEY,
    CONNECTOR_REQUIRES,
    USER_REQUIRES,
    CURRENT_DOCUMENT,
    GROUP_BY_KEY
};

enum reject {
    NOT_REJECTED,
    CONNECTOR_INCOMPATIBLE,
    DUPLICATE_FOLD,
    CONNECTOR_OMITS,
    COLLECTION_OMITS,
    CONNECTOR_FORBIDS,
    USER_EXCLUDES
};

static const char *const reject_texts[] = {
    "",
    "the connector cannot support it without a backfill",
    "its name in the destination is that of another selected field",
    "the connector returned no constraint for it",
    "the collection has no such projection",
    "the connector forbids it",
    "the user excludes it",
};

struct candidate {
    const char *field;
    const struct fr_projection *projection; /* NULL: not in the collection */
    const char *folded;
    const char *reason; /* the connector's, or "" */
    enum select select;
    enum reject reject;
    bool taken;
};

struct table {
    struct candidate *list;
    size_t count;
};

static struct candidate *candidate_of(struct table *table, const char *field)
{
    for (size_t i = 0; i < table->count; i++) {
        if (strcmp(table->list[i].field, field) == 0) {
            return &table->list[i];
        }
    }
    struct candidate *added = &table->list[table->count++];
    *added = (struct candidate){
        .field = field, .folded = field, .reason = "", .reject = COLLECTION_OMITS};
    return added;
}

static void add_select(struct candidate *candidate, enum select select)
{
    candidate->select = select > candidate->select ? select : candidate->select;
}

static void add_reject(struct candidate *candidate, enum reject reject)
{
    candidate->reject = reject > candidate->reject ? reject : candidate->reject;
}

static size_t pointer_depth(const char *ptr)
{
    size_t depth = 0;
    for (; *ptr != '\0'; ptr++) {
        depth += *ptr == '/';
    }
    return depth;
}

static bool is_under(const char *ptr, const char *parent)
{
    size_t len = strlen(parent);
    return len > 0 && strncmp(ptr, parent, len) == 0 && ptr[len] == '/';
}

static bool is_only_object(const struct fr_projection *projection)
{
    const struct fr_json *types = fr_json_get(projection->inference, "types");
    bool object = false;
    for (uint32_t i = 0; types != NULL && i < types->count; i++) {
        bool is_object = fr_json_is_text(types->items[i], "object");
        object = object || is_object;
        if (!is_object && !fr_json_is_text(types->items[i], "null")) {
            return false;
        }
    }
    return object;
}

static bool has_children(const struct fr_projections *projections, const char *ptr)
{
    for (size_t i = 0; i < projections->count; i++) {
        if (projections->list[i].ptr[0] != '\0' &&
            (ptr[0] == '\0' || is_under(projections->list[i].ptr, ptr))) {
            return true;
        }
    }
    return false;
}

/* Levels of nesting wanted: 0 none, SIZE_MAX all. "recommended": true means all levels, but then
   objects without described properties are left out too. */
static size_t desired_depth(const struct fr_json *recommended, bool *ret_all)
{
    int64_t depth = 0;
    *ret_all = recommended == NULL || recommended->type == FR_TRUE;
    if (*ret_all) {
        return SIZE_MAX;
    }
    return fr_json_to_int(recommended, &depth) && depth > 0 ? (size_t)depth : 0;
}

static bool is_desired(const struct fr_selecting *s,
                       const struct fr_projection *projection,
                       size_t wanted,
                       bool all)
{
    size_t depth = pointer_depth(projection->ptr);
    if (wanted == 0 || strncmp(projection->ptr, "/_meta", 6) == 0 || depth > wanted) {
        return false;
    }
    if (depth == wanted || !is_only_object(projection)) {
        return true;
    }
    return !all && !has_children(s->projections, projection->ptr);
}

static void collect_projections(struct table *table, const struct fr_selecting *s)
{
    bool all = false;
    size_t wanted = desired_depth(fr_json_get(s->fields, "recommended"), &all);
    for (size_t i = 0; i < s->projections->count; i++) {
        const struct fr_projection *projection = &s->projections->list[i];
        struct candidate *candidate = candidate_of(table, projection->field);
        candidate->projection = projection;
        candidate->reject = CONNECTOR_OMITS;
        if (projection->is_partition) {
            add_select(candidate, PARTITION_KEY);
        }
        if (wanted > 0 && projection->is_explicit) {
            add_select(candidate, USER_DEFINED);
        }
        if (wanted > 0 &&
            (projection->is_published_at || strcmp(projection->field, "_meta/op") == 0)) {
            add_select(candidate, CORE_METADATA);
        }
        if (is_desired(s, projection, wanted, all)) {
            add_select(candidate, DESIRED_DEPTH);
        }
    }
}

static void collect_constraint(struct table *table, const struct fr_json *item)
{
    const char *field = fr_json_text(fr_json_get(item, "field"));
    const struct fr_json *constraint = fr_json_get(item, "constraint");
    const struct fr_json *type = fr_json_get(constraint, "type");
    const char *folded = fr_json_text(fr_json_get(constraint, "foldedField"));
    const char *reason = fr_json_text(fr_json_get(constraint, "reason"));
    if (field == NULL) {
        return;
    }
    struct candidate *candidate = candidate_of(table, field);
    if (candidate->reject == CONNECTOR_OMITS) {
        candidate->reject = NOT_REJECTED;
    }
    candidate->folded = folded != NULL && folded[0] != '\0' ? folded : candidate->folded;
    candidate->reason = reason != NULL ? reason : candidate->reason;
    if (fr_json_is_text(type, "FIELD_REQUIRED")) {
        add_select(candidate, CONNECTOR_REQUIRES);
    } else if (fr_json_is_text(type, "LOCATION_REQUIRED")) {
        add_select(candidate, REQUIRES_LOCATION);
    } else if (fr_json_is_text(type, "FIELD_FORBIDDEN")) {
        add_reject(candidate, CONNECTOR_FORBIDS);
    } else if (fr_json_is_text(type, "INCOMPATIBLE") || fr_json_is_text(type, "UNSATISFIABLE")) {
        add_reject(candidate, CONNECTOR_INCOMPATIBLE);
    }
}

static const struct fr_json *required_fields(const struct fr_json *fields)
{
    const struct fr_json *required = fr_json_get(fields, "require");
    return required != NULL ? required : fr_json_get(fields, "include");
}

static void collect_wishes(struct table *table, const struct fr_selecting *s)
{
    for (uint32_t i = 0; i < s->group_by->count; i++) {
        add_select(candidate_of(table, s->group_by->items[i]->text), GROUP_BY_KEY);
    }
    const char *document = fr_json_text(fr_json_get(s->live, "document"));
    if (document != NULL && document[0] != '\0') {
        add_select(candidate_of(table, document), CURRENT_DOCUMENT);
    }
    const struct fr_json *values = fr_json_get(s->live, "values");
    for (uint32_t i = 0; fr_json_is(values, FR_ARRAY) && i < values->count; i++) {
        add_select(candidate_of(table, values->items[i]->text), CURRENT_VALUE);
    }
    const struct fr_json *required = required_fields(s->fields);
    for (uint32_t i = 0; fr_json_is(required, FR_OBJECT) && i < required->count; i++) {
        add_select(candidate_of(table, required->members[i].name), USER_REQUIRES);
    }
    const struct fr_json *excluded = fr_json_get(s->fields, "exclude");
    for (uint32_t i = 0; fr_json_is(excluded, FR_ARRAY) && i < excluded->count; i++) {
        if (fr_json_is(excluded->items[i], FR_STRING)) {
            add_reject(candidate_of(table, excluded->items[i]->text), USER_EXCLUDES);
        }
    }
}

static int compare_candidates(const void *left, const void *right)
{
    const struct candidate *l = left;
    const struct candidate *r = right;
    if (l->select != r->select) {
        return l->select > r->select ? -1 : 1;
    }
    if ((l->reject != NOT_REJECTED) != (r->reject != NOT_REJECTED)) {
        return l->reject != NOT_REJECTED ? 1 : -1;
    }
    return strcmp(l->field, r->field);
}

static bool same_name(const char *left, const char *right, bool case_insensitive)
{
    if (!case_insensitive) {
        return strcmp(left, right) == 0;
    }
    while (*left != '\0' && tolower((unsigned char)*left) == tolower((unsigned char)*right)) {
        left++;
        right++;
    }
    return *left == *right;
}

static const struct candidate *taken_at(const struct table *table, const char *ptr)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct candidate *other = &table->list[i];
        if (other->taken && other->projection != NULL && strcmp(other->projection->ptr, ptr) == 0) {
            return other;
        }
    }
    return NULL;
}

/* A field under a selected or excluded one is left out, unless something asks for it by name. */
static bool is_covered(const struct table *table, const struct candidate *candidate)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct candidate *other = &table->list[i];
        if (other->projection != NULL && (other->taken || other->reject == USER_EXCLUDES) &&
            is_under(candidate->projection->ptr, other->projection->ptr)) {
            return true;
        }
    }
    return false;
}

static void conflict(struct fr_buf *error, const struct candidate *candidate)
{
    fr_buf_printf(error, "%sfield selection: %s must be selected but %s%s%s%s",
                  error->len > 0 ? "; " : "", candidate->field, reject_texts[candidate->reject],
                  candidate->reason[0] != '\0' ? " (" : "", candidate->reason,
                  candidate->reason[0] != '\0' ? ")" : "");
}

static void take_candidate(struct table *table,
                           struct candidate *candidate,
                           bool case_insensitive,
                           struct fr_buf *error)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct candidate *other = &table->list[i];
        if (other->taken && same_name(other->folded, candidate->folded, case_insensitive)) {
            add_reject(candidate, DUPLICATE_FOLD);
        }
    }
    if (candidate->select <= REQUIRES_LOCATION && candidate->projection != NULL &&
        taken_at(table, candidate->projection->ptr) != NULL) {
        return;
    }
    if (candidate->reject == NOT_REJECTED) {
        if (candidate->select != DESIRED_DEPTH || !is_covered(table, candidate)) {
            candidate->taken = true;
        }
        return;
    }
    bool weak = candidate->select <= CORE_METADATA || candidate->select == USER_DEFINED ||
                (candidate->select == CURRENT_VALUE && candidate->reject != CONNECTOR_INCOMPATIBLE);
    if (!weak && candidate->select != REQUIRES_LOCATION) {
        conflict(error, candidate);
    }
}

/* Locations that the connector requires and nothing covers. */
static void check_locations(const struct table *table, struct fr_buf *error)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct candidate *candidate = &table->list[i];
        if (candidate->select == REQUIRES_LOCATION && !candidate->taken &&
            (candidate->projection == NULL ||
             taken_at(table, candidate->projection->ptr) == NULL)) {
            conflict(error, candidate);
        }
    }
}

static int compare_texts(const void *left, const void *right)
{
    const struct fr_json *const *l = left;
    const struct fr_json *const *r = right;
    return strcmp((*l)->text, (*r)->text);
}

static struct fr_json *
build(struct fr_arena *arena, const struct fr_selecting *s, const struct table *table)
{
    struct fr_json *selection = fr_json_new(arena, FR_OBJECT);
    struct fr_json *keys = fr_json_new(arena, FR_ARRAY);
    struct fr_json *values = fr_json_new(arena, FR_ARRAY);
    struct fr_json *configs = fr_json_new(arena, FR_OBJECT);
    const struct fr_json *required = required_fields(s->fields);

    for (uint32_t i = 0; i < s->group_by->count; i++) {
        fr_json_push(arena, keys, fr_json_string(arena, s->group_by->items[i]->text));
    }
    for (size_t i = 0; i < table->count; i++) {
        const struct candidate *candidate = &table->list[i];
        struct fr_json *config = fr_json_get(required, candidate->field);
        if (!candidate->taken) {
            continue;
        }
        if (config != NULL) {
            fr_json_set(arena, configs, candidate->field, config);
        }
        if (candidate->select == GROUP_BY_KEY) {
            continue;
        }
        bool root = candidate->projection->ptr[0] == '\0';
        if (root && fr_json_get(selection, "document") == NULL) {
            fr_json_set(arena, selection, "document", fr_json_string(arena, candidate->field));
        } else {
            fr_json_push(arena, values, fr_json_string(arena, candidate->field));
        }
    }
    if (values->count > 0) {
        qsort(values->items, values->count, sizeof(struct fr_json *), compare_texts);
        fr_json_set(arena, selection, "values", values);
    }
    fr_json_set(arena, selection, "keys", keys);
    if (configs->count > 0) {
        fr_json_set(arena, selection, "fieldConfig", configs);
    }
    return selection;
}

static size_t count_of(const struct fr_json *list)
{
    return list == NULL ? 0 : list->count;
}

struct fr_json *
fr_select_fields(struct fr_arena *arena, const struct fr_selecting *selecting, struct fr_buf *error)
{
    const struct fr_selecting *s = selecting;
    size_t room = s->projections->count + count_of(s->constraints) + count_of(s->group_by) +
                  count_of(required_fields(s->fields)) +
                  count_of(fr_json_get(s->fields, "exclude")) +
                  count_of(fr_json_get(s->live, "values")) + 2;
    struct table table = {fr_arena_get(arena, room * sizeof(struct candidate)), 0};

    collect_projections(&table, s);
    for (uint32_t i = 0; s->constraints != NULL && i < s->constraints->count; i++) {
        collect_constraint(&table, s->constraints->items[i]);
    }
    collect_wishes(&table, s);
    qsort(table.list, table.count, sizeof(struct candidate), compare_candidates);
    for (size_t i = 0; i < table.count && table.list[i].select > NOT_SELECTED; i++) {
        take_candidate(&table, &table.list[i], s->case_insensitive, error);
    }
    check_locations(&table, error);
    return error->len > 0 ? NULL : build(arena, s, &table);
}
