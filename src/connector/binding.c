/*
 * connector/binding: the one place where Flow's words for a binding become the warehouse's. In: a
 * binding of a materialization, as decoded. Out: a table with its columns. Pure; it runs nothing.
 */

#include "connector/binding.h"

#include "redshift/dialect.h"

#include <stdlib.h>

/* A comment is a title, a description and one line; Flow bounds none of them, the server takes
 * statements of 16 MB. */
#define TEXT_BYTES ((size_t)1024 * 1024)

static const char existing_text[] = "character varying";

/* ---------------------------------------------------------------- fields */

void binding_field(const struct proto_projection *projection, struct rs_field *ret)
{
    const struct proto_inference *inference = &projection->inference;

    *ret = (struct rs_field){
        .name = projection->field,
        .ptr = projection->ptr,
        .types = inference->types,
        .type_names = inference->type_names,
        .type_name_count = inference->type_name_count,
        .must_exist =
            inference->exists == PROTO_EXISTS_MUST && !(inference->types & PROTO_TYPE_NULL),
        .is_explicit = projection->is_explicit,
        .is_root = projection->ptr.len == 0,
        .title = inference->title,
        .description = inference->description,
        .default_json = inference->default_json,
        .has_string = inference->has_string,
        .format = inference->format,
        .content_type = inference->content_type,
        .content_encoding = inference->content_encoding,
        .max_length = inference->max_length,
        .has_minimum = inference->has_numeric && inference->has_minimum,
        .has_maximum = inference->has_numeric && inference->has_maximum,
        .minimum = inference->minimum,
        .maximum = inference->maximum,
    };
}

const struct proto_projection *binding_projection(const struct proto_collection *collection,
                                                  struct span field)
{
    for (unsigned i = 0; i < collection->projection_count; i++) {
        if (span_equal(collection->projections[i].field, field)) {
            return &collection->projections[i];
        }
    }
    return NULL;
}

struct span
binding_option(const struct proto_field_option *options, unsigned count, struct span field)
{
    for (unsigned i = 0; i < count; i++) {
        if (span_equal(options[i].field, field)) {
            return options[i].config_json;
        }
    }
    return SPAN_NONE;
}

/* ---------------------------------------------------------------- the binding as it was */

static const struct proto_binding *find_path(const struct proto_binding *bindings,
                                             unsigned binding_count,
                                             const struct span *path,
                                             unsigned path_count)
{
    for (unsigned i = 0; i < binding_count; i++) {
        unsigned at = 0;
        if (bindings[i].resource_path_count != path_count) {
            continue;
        }
        while (at < path_count && span_equal(bindings[i].resource_path[at], path[at])) {
            at++;
        }
        if (at == path_count) {
            return &bindings[i];
        }
    }
    return NULL;
}

const struct proto_binding *
binding_last(const struct proto_materialization *last, const struct span *path, unsigned path_count)
{
    if (!last) {
        return NULL;
    }
    const struct proto_binding *found =
        find_path(last->bindings, last->binding_count, path, path_count);
    return found
               ? found
               : find_path(last->inactive_bindings, last->inactive_binding_count, path, path_count);
}

/* ---------------------------------------------------------------- columns */

struct making { /* what all columns of one table have in common */
    struct arena *arena;
    const struct config *config;
    const struct proto_binding *binding;
    const struct rs_catalog *catalog;
    const struct rs_existing_table *existing; /* or NULL */
    struct buf text;
};

static struct span take_text(struct making *making)
{
    struct span text = arena_span(making->arena, buf_view(&making->text));
    buf_clear(&making->text);
    return text;
}

static uint32_t actual_width(const struct making *making, struct span field)
{
    if (!making->existing) {
        return 0;
    }
    const struct rs_existing_column *column =
        rs_catalog_find_column(making->catalog, making->existing, field);
    return column && span_is(column->data_type, existing_text) ? column->char_max_length : 0;
}

/* A type of the user's own may stand over a column of another: only what both say counts. Days and
 * moments of the user's may be in any of the forms that the server recognises. */
static struct rs_domain find_domain(const struct making *making, const struct rs_column *column)
{
    struct rs_domain domain = rs_type_domain(&column->type);
    const struct rs_existing_column *existing =
        making->existing ? rs_catalog_find_column(making->catalog, making->existing, column->field)
                         : NULL;

    if (!column->type.is_user_ddl) {
        return domain;
    }
    if (existing) {
        struct rs_domain actual = rs_type_domain(&(struct rs_type){.ddl = existing->data_type});
        if (actual.holds != domain.holds) {
            return (struct rs_domain){.holds = RS_HOLDS_ANYTHING};
        }
        if (existing->char_max_length > 0) {
            domain.size = existing->char_max_length;
        } else if (actual.holds == RS_HOLDS_INTEGER) {
            domain.size = actual.size;
        }
    }
    if (domain.holds == RS_HOLDS_DATE || domain.holds == RS_HOLDS_TIMESTAMP) {
        domain.holds = RS_HOLDS_ANYTHING;
    }
    return domain;
}

static struct error *
make_column(struct making *making, struct span name, bool as_key, struct rs_column *ret)
{
    const struct proto_binding *binding = making->binding;
    const struct proto_projection *projection = binding_projection(binding->collection, name);
    struct rs_field field;

    if (!projection) {
        return error_new(ERROR_PROTOCOL, ERROR_FATAL,
                         "the selected field \"%.*s\" is no projection of collection \"%.*s\"",
                         SPAN_FMT(name), SPAN_FMT(binding->collection->name));
    }
    binding_field(projection, &field);
    *ret = (struct rs_column){
        .field = arena_span(making->arena, name),
        .is_key = as_key,
        .char_max_length = actual_width(making, name),
        .must_strip_null = !field.must_exist && !(field.types & RS_JSON_NULL),
    };
    struct span option =
        binding_option(binding->selection.options, binding->selection.option_count, name);
    RETURN_IF_ERROR(rs_type_map(making->arena, &field, as_key, option, &making->config->flags.types,
                                &ret->type));
    if (ret->type.ddl.len == 0) {
        return error_new(ERROR_INPUT, ERROR_CONFIG,
                         "field \"%.*s\" of collection \"%.*s\" cannot be materialized: its schema "
                         "allows no value but null",
                         SPAN_FMT(name), SPAN_FMT(binding->collection->name));
    }
    rs_add_identifier(&making->text, name);
    ret->identifier = take_text(making);
    rs_add_column_comment(&making->text, &field);
    if (buf_is_full(&making->text)) {
        return error_new(ERROR_INPUT, ERROR_CONFIG,
                         "title and description of field \"%.*s\" are longer than %zu bytes",
                         SPAN_FMT(name), TEXT_BYTES);
    }
    ret->comment = take_text(making);
    ret->domain = find_domain(making, ret);
    return NULL;
}

/* "/a~1b" is the root's property "a/b"; SPAN_NONE for what lies deeper or is the root itself. */
static struct span root_property(struct making *making, struct span ptr)
{
    if (ptr.len == 0 || ptr.ptr[0] != '/' || memchr(ptr.ptr + 1, '/', ptr.len - 1)) {
        return SPAN_NONE;
    }
    for (size_t i = 1; i < ptr.len; i++) {
        if (ptr.ptr[i] == '~' && i + 1 < ptr.len) {
            buf_add_byte(&making->text, ptr.ptr[++i] == '1' ? '/' : '~');
        } else {
            buf_add_byte(&making->text, ptr.ptr[i]);
        }
    }
    return take_text(making);
}

/* Two fields of one location are one property of a document. */
static void set_properties(struct making *making, struct rs_column *columns, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        const struct proto_projection *projection =
            binding_projection(making->binding->collection, columns[i].field);
        columns[i].property = root_property(making, projection->ptr);
        for (unsigned k = 0; k < i && columns[i].property.ptr; k++) {
            if (columns[k].property.ptr && span_equal(columns[k].property, columns[i].property)) {
                columns[i].property = SPAN_NONE;
            }
        }
    }
}

static struct error *make_columns(struct making *making, struct rs_table *table)
{
    const struct proto_field_selection *selection = &making->binding->selection;
    bool has_document = selection->document.len > 0;
    struct rs_column *columns =
        ARENA_ARRAY(making->arena, selection->key_count + selection->value_count + has_document,
                    struct rs_column);
    unsigned count = 0;

    for (unsigned i = 0; i < selection->key_count; i++) {
        RETURN_IF_ERROR(make_column(making, selection->keys[i], true, &columns[count++]));
    }
    for (unsigned i = 0; i < selection->value_count; i++) {
        RETURN_IF_ERROR(make_column(making, selection->values[i], false, &columns[count++]));
    }
    if (has_document) {
        RETURN_IF_ERROR(make_column(making, selection->document, false, &columns[count]));
        columns[count++].is_document = true;
    }
    if (!has_document) {
        set_properties(making, columns, count);
    }
    table->columns = columns;
    table->column_count = count;
    table->key_count = selection->key_count;
    table->has_document = has_document;
    return NULL;
}

/* ---------------------------------------------------------------- two fields on one column */

struct folded {
    struct span name, field;
};

static int compare_folded(const void *a, const void *b)
{
    const struct folded *x = a;
    const struct folded *y = b;
    int order = span_compare(x->name, y->name);
    return order ? order : span_compare(x->field, y->field);
}

/* Columns are one when they differ in case only, whatever the server's setting: Flow selects fields
 * by that rule too. */
static struct error *check_columns(struct making *making, const struct rs_table *table)
{
    if (table->column_count == 0) {
        return error_new(ERROR_PROTOCOL, ERROR_FATAL, "collection \"%.*s\": no field is selected",
                         SPAN_FMT(making->binding->collection->name));
    }
    struct folded *names = ARENA_ARRAY(making->arena, table->column_count, struct folded);

    for (unsigned i = 0; i < table->column_count; i++) {
        rs_fold(&making->text, table->columns[i].field, false);
        names[i] = (struct folded){take_text(making), table->columns[i].field};
    }
    qsort(names, table->column_count, sizeof(*names), compare_folded);
    for (unsigned i = 1; i < table->column_count; i++) {
        if (span_equal(names[i - 1].name, names[i].name)) {
            return error_new(ERROR_INPUT, ERROR_CONFIG,
                             "fields \"%.*s\" and \"%.*s\" would both be column \"%.*s\": select "
                             "one of them",
                             SPAN_FMT(names[i - 1].field), SPAN_FMT(names[i].field),
                             SPAN_FMT(names[i].name));
        }
    }
    return NULL;
}

/* ---------------------------------------------------------------- the table */

static struct error *make_table(struct making *making,
                                const struct proto_materialization *materialization,
                                struct rs_table *table)
{
    const struct proto_binding *binding = making->binding;

    for (unsigned i = 0; i < binding->resource_path_count; i++) {
        table->path[i] = arena_span(making->arena, binding->resource_path[i]);
    }
    table->path_count = binding->resource_path_count;
    table->delta_updates = binding->delta_updates;
    rs_add_path(&making->text, table->path, table->path_count);
    table->identifier = take_text(making);
    rs_add_table_comment(&making->text, materialization->name, binding->collection->name);
    table->comment = take_text(making);
    RETURN_IF_ERROR(make_columns(making, table));
    return check_columns(making, table);
}

struct error *binding_table(struct arena *arena,
                            const struct config *config,
                            const struct proto_materialization *materialization,
                            const struct proto_binding *binding,
                            const struct rs_catalog *catalog,
                            struct rs_table *ret)
{
    struct making making = {
        .arena = arena, .config = config, .binding = binding, .catalog = catalog};
    struct rs_table table = {0};

    if (binding->resource_path_count < 1 || binding->resource_path_count > 2) {
        return error_new(ERROR_PROTOCOL, ERROR_FATAL,
                         "a resource path has %u components, not a table or a schema and a table",
                         binding->resource_path_count);
    }
    if (!binding->collection) {
        return error_new(ERROR_PROTOCOL, ERROR_FATAL, "the binding has no collection");
    }
    if (binding->selection.key_count == 0 && !binding->delta_updates) {
        return error_new(ERROR_PROTOCOL, ERROR_FATAL,
                         "collection \"%.*s\": no key field is selected for standard updates",
                         SPAN_FMT(binding->collection->name));
    }
    if (catalog) {
        making.existing =
            rs_catalog_find(catalog, binding->resource_path, binding->resource_path_count);
    }
    buf_init(&making.text, TEXT_BYTES);
    struct error *err = make_table(&making, materialization, &table);
    buf_done(&making.text);
    if (!err) {
        *ret = table;
    }
    return err;
}
