/*
 * connector/constraint: what Flow may select of a collection for one table. In: the projections of
 * a collection, the binding as it was last applied, the table as it is. Out: a constraint for each
 * projection. Pure.
 *
 *   no table, or its backfill counter changed     new_table: the opinion on the field alone, and
 *                                                 what a table cannot do without
 *   the table stays                               existing_table: what is there already counts
 *
 * A projection has one constraint. Only INCOMPATIBLE may come with a requirement in front of it:
 * together they say "this is needed, and it takes a backfill".
 */

#include "connector/binding.h"
#include "connector/validate.h"

#include "redshift/dialect.h"

#include <ctype.h>

/* Limits that Flow applies to documents before it sends them. */
enum { STR_TRUNCATE_AFTER = 65536, NESTED_TRUNCATE_AFTER = 1000 };

#define REASON_BYTES ((size_t)64 * 1024)

struct deciding {
    struct arena *arena;
    const struct config *config;
    const struct rs_catalog *catalog;
    const struct proto_validate_binding *binding;
    const struct proto_collection *collection;
    const struct resource *resource;
    const struct proto_binding *last;          /* NULL: none */
    const struct rs_existing_table *existing;  /* NULL: none */
    const struct proto_projection *first_root; /* NULL: none */
    struct proto_constraint *out;
    unsigned out_count;
};

/* One projection with what is known of it. */
struct candidate {
    const struct proto_projection *projection;
    struct rs_field field;
    struct rs_type type;
    enum proto_constraint_type base;
    const char *base_reason;
};

/* ---------------------------------------------------------------- finding */

static bool is_among(const struct span *names, unsigned count, struct span name)
{
    for (unsigned i = 0; i < count; i++) {
        if (span_equal(names[i], name)) {
            return true;
        }
    }
    return false;
}

static bool was_key(const struct proto_binding *last, struct span field)
{
    return is_among(last->selection.keys, last->selection.key_count, field);
}

static bool was_selected(const struct proto_binding *last, struct span field)
{
    return was_key(last, field) ||
           is_among(last->selection.values, last->selection.value_count, field) ||
           (field.len > 0 && span_equal(last->selection.document, field));
}

static const struct proto_projection *find_first_root(const struct proto_collection *collection)
{
    for (unsigned i = 0; i < collection->projection_count; i++) {
        if (collection->projections[i].ptr.len == 0) {
            return &collection->projections[i];
        }
    }
    return NULL;
}

/* ---------------------------------------------------------------- the opinion on a field alone */

static bool is_numeric_text(enum rs_flat flat)
{
    return flat == RS_FLAT_STRING_INTEGER || flat == RS_FLAT_STRING_NUMBER;
}

/* Exactly one type, null aside, and it is among these. */
static bool is_single(unsigned types, unsigned among)
{
    unsigned rest = types & ~(unsigned)RS_JSON_NULL;
    return rest != 0 && (rest & (rest - 1)) == 0 && (rest & among) != 0;
}

static bool is_at_top(struct span ptr)
{
    return ptr.len > 0 && memchr(ptr.ptr, '/', ptr.len) == ptr.ptr &&
           memchr(ptr.ptr + 1, '/', ptr.len - 1) == NULL;
}

static bool is_required_without_document(const struct deciding *deciding,
                                         const struct candidate *candidate)
{
    return deciding->config->no_flow_document && !deciding->resource->delta_updates &&
           is_at_top(candidate->field.ptr) &&
           candidate->projection->inference.exists == PROTO_EXISTS_MUST;
}

/* The first row that fits counts, so that a key is never forbidden and _meta fields are judged by
 * their name before their type. */
static void form_opinion(const struct deciding *deciding, struct candidate *candidate)
{
    const struct rs_field *field = &candidate->field;
    const bool no_document = deciding->config->no_flow_document;
    const unsigned scalars = RS_JSON_BOOLEAN | RS_JSON_INTEGER | RS_JSON_NUMBER | RS_JSON_STRING;
    const struct {
        bool fits;
        enum proto_constraint_type type;
        const char *reason;
    } rows[] = {
        {candidate->projection->is_primary_key, PROTO_LOCATION_RECOMMENDED,
         "key locations should be materialized"},
        {field->is_root && no_document, PROTO_FIELD_OPTIONAL,
         "with no_flow_document set, the root document may be left out"},
        {field->is_root && deciding->resource->delta_updates, PROTO_LOCATION_RECOMMENDED,
         "the root document is usually materialized"},
        {field->is_root, PROTO_LOCATION_REQUIRED, "standard updates need the root document"},
        {field->types == 0, PROTO_FIELD_FORBIDDEN, "the schema allows this field no type"},
        {field->types == RS_JSON_NULL, PROTO_FIELD_FORBIDDEN,
         "the schema allows this field no value but null"},
        {is_required_without_document(deciding, candidate), PROTO_LOCATION_REQUIRED,
         "with no_flow_document set, every required property at the top is needed"},
        {span_is(field->name, "_meta/op"), PROTO_LOCATION_RECOMMENDED,
         "the kind of operation is usually materialized"},
        {span_starts_with(field->name, SPAN_LIT("_meta/")), PROTO_FIELD_OPTIONAL,
         "fields of metadata may be materialized"},
        {is_single(field->types, scalars) || is_numeric_text(candidate->type.flat),
         PROTO_LOCATION_RECOMMENDED, "a field of one scalar type fits a column"},
        {is_single(field->types, RS_JSON_OBJECT), PROTO_FIELD_OPTIONAL,
         "objects may be materialized"},
        {true, PROTO_LOCATION_RECOMMENDED, "this field can be materialized"},
    };

    size_t i = 0;
    while (!rows[i].fits) {
        i++;
    }
    candidate->base = rows[i].type;
    candidate->base_reason = rows[i].reason;
}

/* ---------------------------------------------------------------- writing constraints */

static struct span folded_name(const struct deciding *deciding, struct span field)
{
    struct buf text;

    buf_init(&text, RS_MAX_IDENTIFIER);
    rs_fold(&text, field, rs_catalog_is_case_sensitive(deciding->catalog));
    struct span folded = span_equal(buf_view(&text), field)
                             ? SPAN_NONE
                             : arena_span(deciding->arena, buf_view(&text));
    buf_done(&text);
    return folded;
}

static void constrain(struct deciding *deciding,
                      const struct candidate *candidate,
                      enum proto_constraint_type type,
                      const char *reason)
{
    deciding->out[deciding->out_count++] = (struct proto_constraint){
        .field = arena_span(deciding->arena, candidate->field.name),
        .type = type,
        .reason = span_of(reason),
        .folded_field = folded_name(deciding, candidate->field.name),
    };
}

static void constrain_as_base(struct deciding *deciding, const struct candidate *candidate)
{
    constrain(deciding, candidate, candidate->base, candidate->base_reason);
}

/* ---------------------------------------------------------------- a new table */

static bool is_first_key(const struct deciding *deciding, const struct candidate *candidate)
{
    return deciding->collection->key_count > 0 &&
           span_equal(deciding->collection->key[0], candidate->field.ptr);
}

static void new_table(struct deciding *deciding, const struct candidate *candidate)
{
    bool standard = !deciding->resource->delta_updates;

    if (standard && candidate->field.is_root && candidate->projection != deciding->first_root) {
        constrain(deciding, candidate, PROTO_FIELD_FORBIDDEN,
                  "only one projection of the root document can be materialized");
    } else if (standard && is_first_key(deciding, candidate) &&
               (candidate->base == PROTO_LOCATION_RECOMMENDED ||
                candidate->base == PROTO_FIELD_OPTIONAL)) {
        constrain(deciding, candidate, PROTO_LOCATION_REQUIRED,
                  "the first component of the key must be materialized");
    } else {
        constrain_as_base(deciding, candidate);
    }
}

/* ---------------------------------------------------------------- a table that stays */

static void add_upper(struct buf *out, struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        buf_add_byte(out, (char)toupper((unsigned char)text.ptr[i]));
    }
}

static void add_part(struct buf *out, const char *name, struct span value)
{
    if (value.len > 0) {
        buf_printf(out, ", %s: %.*s", name, SPAN_FMT(value));
    }
}

static void add_schema(struct buf *out, const struct rs_field *field)
{
    buf_add_str(out, "{ type: [");
    for (unsigned i = 0; i < field->type_name_count; i++) {
        buf_add_str(out, i > 0 ? ", " : "");
        buf_add_span(out, field->type_names[i]);
    }
    buf_add_byte(out, ']');
    if (field->has_string) {
        add_part(out, "format", field->format);
        add_part(out, "content-type", field->content_type);
        add_part(out, "content-encoding", field->content_encoding);
        if (field->max_length > 0) {
            buf_printf(out, ", maxLength: %u", field->max_length);
        }
    }
    buf_add_str(out, " }");
}

static const char *explain_incompatible(const struct deciding *deciding,
                                        const struct candidate *candidate,
                                        const struct rs_existing_column *column)
{
    struct buf text;

    buf_init(&text, REASON_BYTES);
    buf_printf(&text, "field \"%.*s\" is materialized as type ", SPAN_FMT(candidate->field.name));
    add_upper(&text, column->data_type);
    if (column->char_max_length > 0) {
        buf_printf(&text, "(%u)", column->char_max_length);
    }
    buf_add_str(&text, " but now needs a column of type ");
    add_upper(&text, candidate->type.ddl);
    buf_add_str(&text, " for its schema ");
    add_schema(&text, &candidate->field);
    const char *reason = arena_strndup(deciding->arena, buf_view(&text));
    buf_done(&text);
    return reason;
}

static bool is_compatible(const struct candidate *candidate,
                          const struct rs_existing_column *column)
{
    return candidate->type.is_user_ddl ||
           rs_type_is_compatible(&candidate->type, column->data_type);
}

static bool fits_or_migrates(const struct candidate *candidate,
                             const struct rs_existing_column *column)
{
    return is_compatible(candidate, column) ||
           rs_type_can_migrate(&candidate->type, column->data_type);
}

static void existing_column(struct deciding *deciding,
                            const struct candidate *candidate,
                            const struct rs_existing_column *column)
{
    bool is_key = candidate->projection->is_primary_key;

    if (is_key && is_compatible(candidate, column)) {
        constrain(deciding, candidate, PROTO_FIELD_REQUIRED,
                  "this field is a key of the current materialization");
    } else if (!is_key && fits_or_migrates(candidate, column)) {
        constrain(deciding, candidate, PROTO_FIELD_OPTIONAL,
                  "this field is part of the current materialization");
    } else {
        constrain(deciding, candidate, PROTO_INCOMPATIBLE,
                  explain_incompatible(deciding, candidate, column));
    }
}

/* INCOMPATIBLE alone lets Flow drop the field; with a requirement before it, it asks for a
 * backfill. */
static void with_incompatibility(struct deciding *deciding,
                                 const struct candidate *candidate,
                                 const char *reason)
{
    if (candidate->base == PROTO_LOCATION_REQUIRED || candidate->base == PROTO_FIELD_REQUIRED) {
        constrain_as_base(deciding, candidate);
    }
    constrain(deciding, candidate, PROTO_INCOMPATIBLE, reason);
}

static struct span materialized_document(const struct deciding *deciding)
{
    return deciding->last ? deciding->last->selection.document : deciding->first_root->field;
}

static void existing_root(struct deciding *deciding,
                          const struct candidate *candidate,
                          const struct rs_existing_column *column)
{
    struct span document = materialized_document(deciding);

    if (document.len > 0 && span_equal(document, candidate->field.name)) {
        if (column && !fits_or_migrates(candidate, column)) {
            with_incompatibility(deciding, candidate,
                                 explain_incompatible(deciding, candidate, column));
        } else {
            constrain(deciding, candidate, PROTO_FIELD_REQUIRED,
                      "this field is the document of the current materialization");
        }
    } else if (document.len == 0) {
        with_incompatibility(
            deciding, candidate,
            "the current materialization has no root document, and one cannot be added without a "
            "backfill");
    } else {
        constrain(deciding, candidate, PROTO_FIELD_FORBIDDEN,
                  arena_printf(deciding->arena,
                               "field \"%.*s\" cannot be materialized: field \"%.*s\" already is "
                               "the document",
                               SPAN_FMT(candidate->field.name), SPAN_FMT(document)));
    }
}

static void existing_table(struct deciding *deciding, const struct candidate *candidate)
{
    struct span name = candidate->field.name;
    bool standard = !deciding->resource->delta_updates;
    const struct rs_existing_column *column =
        rs_catalog_find_column(deciding->catalog, deciding->existing, name);
    bool is_new_key = standard && candidate->projection->is_primary_key && deciding->last &&
                      !was_key(deciding->last, name);

    if (candidate->base == PROTO_FIELD_FORBIDDEN) {
        constrain_as_base(deciding, candidate);
    } else if (standard && candidate->field.is_root) {
        existing_root(deciding, candidate, column);
    } else if (is_new_key && !was_selected(deciding->last, name)) {
        constrain(deciding, candidate, PROTO_FIELD_FORBIDDEN,
                  "a new key location cannot be added without a backfill");
    } else if (column) {
        existing_column(deciding, candidate, column);
    } else if (is_new_key) {
        constrain(deciding, candidate, PROTO_FIELD_OPTIONAL,
                  "this field is part of the current materialization");
    } else {
        constrain_as_base(deciding, candidate);
    }
}

/* The document that was materialized is no projection any more: what takes its place must be
 * materialized, and cannot be under its own name. */
static void replace_lost_document(struct deciding *deciding)
{
    const struct proto_projection *root = deciding->first_root;
    struct span document = deciding->last ? deciding->last->selection.document : SPAN_NONE;

    if (deciding->resource->delta_updates || document.len == 0 || !root) {
        return;
    }
    const struct proto_projection *same = binding_projection(deciding->collection, document);
    if (same && same->ptr.len == 0) {
        return;
    }
    const char *reasons[] = {
        "standard updates need the root document",
        arena_printf(deciding->arena,
                     "the root document is materialized as field \"%.*s\" and cannot be renamed "
                     "without a backfill",
                     SPAN_FMT(document)),
    };
    unsigned kept = 0;
    struct proto_constraint *old = deciding->out;
    struct proto_constraint *out =
        ARENA_ARRAY(deciding->arena, deciding->out_count + 2, struct proto_constraint);
    bool replaced = false;
    for (unsigned i = 0; i < deciding->out_count; i++) {
        if (!span_equal(old[i].field, root->field)) {
            out[kept++] = old[i];
        } else if (!replaced) {
            replaced = true;
            out[kept] = old[i];
            out[kept].type = PROTO_LOCATION_REQUIRED;
            out[kept++].reason = span_of(reasons[0]);
            out[kept] = old[i];
            out[kept].type = PROTO_INCOMPATIBLE;
            out[kept++].reason = span_of(reasons[1]);
        }
    }
    deciding->out = out;
    deciding->out_count = kept;
}

/* ---------------------------------------------------------------- the procedure */

static struct error *check_keys(const struct deciding *deciding)
{
    for (unsigned i = 0; i < deciding->collection->projection_count; i++) {
        const struct proto_projection *projection = &deciding->collection->projections[i];
        struct rs_field field;

        binding_field(projection, &field);
        if (projection->is_primary_key && !field.must_exist && !field.default_json.ptr) {
            return error_new(ERROR_INPUT, ERROR_CONFIG,
                             "collection \"%.*s\" cannot be materialized: its key field \"%.*s\" "
                             "may be null or absent and has no default",
                             SPAN_FMT(deciding->collection->name), SPAN_FMT(field.name));
        }
    }
    return NULL;
}

static const char *path_text(const struct deciding *deciding)
{
    const struct resource *resource = deciding->resource;

    return resource->path_count == 1
               ? arena_strndup(deciding->arena, resource->path[0])
               : arena_printf(deciding->arena, "%.*s.%.*s", SPAN_FMT(resource->path[0]),
                              SPAN_FMT(resource->path[1]));
}

static struct error *check_new_binding(const struct deciding *deciding)
{
    if (deciding->last || !deciding->existing ||
        deciding->config->flags.allow_existing_tables_for_new_bindings) {
        return NULL;
    }
    return error_new(ERROR_INPUT, ERROR_CONFIG,
                     "table \"%s\" already exists for new binding of collection \"%.*s\": drop the "
                     "table, or set the feature flag 'allow_existing_tables_for_new_bindings' to "
                     "use it as it is (see https://go.estuary.dev/matff)",
                     path_text(deciding), SPAN_FMT(deciding->collection->name));
}

static struct error *check_existing(const struct deciding *deciding)
{
    bool standard = !deciding->resource->delta_updates;

    if (standard && deciding->last && deciding->last->delta_updates) {
        return error_new(ERROR_INPUT, ERROR_CONFIG,
                         "table \"%s\" of collection \"%.*s\" was materialized with delta updates "
                         "and cannot change to standard updates without a backfill",
                         path_text(deciding), SPAN_FMT(deciding->collection->name));
    }
    if (standard && !deciding->first_root) {
        return error_new(ERROR_INPUT, ERROR_CONFIG,
                         "collection \"%.*s\" has no projection of the root document, which "
                         "standard updates need",
                         SPAN_FMT(deciding->collection->name));
    }
    return NULL;
}

static struct error *decide_fields(struct deciding *deciding, bool as_new)
{
    const struct proto_validate_binding *binding = deciding->binding;

    deciding->out = ARENA_ARRAY(deciding->arena, 2 * deciding->collection->projection_count,
                                struct proto_constraint);
    for (unsigned i = 0; i < deciding->collection->projection_count; i++) {
        struct candidate candidate = {.projection = &deciding->collection->projections[i]};

        binding_field(candidate.projection, &candidate.field);
        struct span option =
            binding_option(binding->options, binding->option_count, candidate.field.name);
        RETURN_IF_ERROR(rs_type_map(deciding->arena, &candidate.field,
                                    candidate.projection->is_primary_key, option,
                                    &deciding->config->flags.types, &candidate.type));
        form_opinion(deciding, &candidate);
        if (as_new) {
            new_table(deciding, &candidate);
        } else {
            existing_table(deciding, &candidate);
        }
    }
    if (!as_new) {
        replace_lost_document(deciding);
    }
    return NULL;
}

struct error *validate_binding(struct arena *arena,
                               const struct config *config,
                               const struct rs_catalog *catalog,
                               const struct proto_validate_binding *binding,
                               const struct resource *resource,
                               const struct proto_materialization *last,
                               struct proto_validated_binding *ret)
{
    struct deciding deciding = {
        .arena = arena,
        .config = config,
        .catalog = catalog,
        .binding = binding,
        .collection = binding->collection,
        .resource = resource,
        .last = binding_last(last, resource->path, resource->path_count),
        .existing = rs_catalog_find(catalog, resource->path, resource->path_count),
        .first_root = find_first_root(binding->collection),
    };
    bool as_new =
        !deciding.existing || (deciding.last && deciding.last->backfill != binding->backfill);

    RETURN_IF_ERROR(check_keys(&deciding));
    RETURN_IF_ERROR(check_new_binding(&deciding));
    if (!as_new) {
        RETURN_IF_ERROR(check_existing(&deciding));
    }
    RETURN_IF_ERROR(decide_fields(&deciding, as_new));

    struct span *path = ARENA_ARRAY(arena, resource->path_count, struct span);
    memcpy(path, resource->path, resource->path_count * sizeof(*path));
    *ret = (struct proto_validated_binding){
        .resource_path = path,
        .resource_path_count = resource->path_count,
        .constraints = deciding.out,
        .constraint_count = deciding.out_count,
        .delta_updates = resource->delta_updates,
        .case_insensitive_fields = true,
        .str_truncate_after = STR_TRUNCATE_AFTER,
        .nested_obj_truncate_after = NESTED_TRUNCATE_AFTER,
        .array_truncate_after = NESTED_TRUNCATE_AFTER,
    };
    return NULL;
}
