/* From a selected binding to its table: order of columns, types, comments, widths; and what is
 * refused. */

#include "connector/binding.h"

#include "collection.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static struct arena *arena;
static const struct config config = {.schema = "sales", .flags = {.types = {true, true}}};

/* The worked example of the reference. */
static const struct field_row order_rows[] = {
    {.field = "id", .ptr = "/id", .types = "integer", .is_key = true},
    {.field = "_meta/op", .ptr = "/_meta/op", .types = "string"},
    {.field = "flow_published_at", .ptr = "/_meta/uuid", .types = "string", .format = "date-time"},
    {.field = "lineItems", .ptr = "/lineItems", .types = "array", .optional = true},
    {.field = "note",
     .ptr = "/note",
     .types = "string",
     .optional = true,
     .is_explicit = true,
     .title = "Note",
     .description = "What the customer wrote"},
    {.field = "placedAt", .ptr = "/placedAt", .types = "string", .format = "date-time"},
    {.field = "qty", .ptr = "/qty", .types = "integer null", .maximum = 1e20},
    {.field = "flow_document", .ptr = "", .types = "object"},
    {.field = "day", .ptr = "/day", .types = "string", .format = "date"},
    {.field = "nothing", .ptr = "/nothing", .types = "null"},
    {.field = "Note", .ptr = "/Note", .types = "string"},
};

static struct proto_materialization materialization = {.name = {"acme/dw", 7}};

static struct proto_binding
make_binding(const char *keys, const char *values, const char *document, bool delta)
{
    struct proto_binding binding = {
        .collection = make_collection(arena, order_rows, ARRAY_LEN(order_rows)),
        .delta_updates = delta,
    };

    binding.resource_path = make_names(arena, "sales Orders", &binding.resource_path_count);
    binding.selection.keys = make_names(arena, keys, &binding.selection.key_count);
    binding.selection.values = make_names(arena, values, &binding.selection.value_count);
    binding.selection.document = span_of(document);
    return binding;
}

static void make_table(const struct proto_binding *binding,
                       const struct rs_catalog *catalog,
                       struct rs_table *ret)
{
    struct error *err = binding_table(arena, &config, &materialization, binding, catalog, ret);

    if (err) {
        fail_msg("%s", error_text(err));
    }
}

static void refused(const struct proto_binding *binding, const char *part)
{
    struct rs_table table;
    struct error *err = binding_table(arena, &config, &materialization, binding, NULL, &table);

    if (!err || !strstr(error_text(err), part)) {
        fail_msg("want %s\nhave %s", part, err ? error_text(err) : "a table");
    }
    error_free(err);
}

static const char *text(struct span span)
{
    return arena_strndup(arena, span);
}

#define ALL_VALUES "_meta/op flow_published_at lineItems note placedAt qty"

static void columns_are_keys_then_values_then_the_document(void **state)
{
    static const struct {
        const char *field, *identifier, *ddl;
    } columns[] = {
        {"id", "id", "BIGINT"},
        {"_meta/op", "\"_meta/op\"", "TEXT"},
        {"flow_published_at", "flow_published_at", "TIMESTAMPTZ"},
        {"lineItems", "\"lineItems\"", "SUPER"},
        {"note", "note", "TEXT"},
        {"placedAt", "\"placedAt\"", "TIMESTAMPTZ"},
        {"qty", "qty", "NUMERIC(38,0)"},
        {"flow_document", "flow_document", "SUPER"},
    };
    struct rs_table table;

    (void)state;
    struct proto_binding binding = make_binding("id", ALL_VALUES, "flow_document", false);
    make_table(&binding, NULL, &table);
    assert_string_equal(text(table.identifier), "sales.\"Orders\"");
    assert_int_equal(table.path_count, 2);
    assert_int_equal(table.column_count, ARRAY_LEN(columns));
    assert_int_equal(table.key_count, 1);
    assert_true(table.has_document);
    assert_false(table.delta_updates);
    for (unsigned i = 0; i < table.column_count; i++) {
        assert_string_equal(text(table.columns[i].field), columns[i].field);
        assert_string_equal(text(table.columns[i].identifier), columns[i].identifier);
        assert_string_equal(text(table.columns[i].type.ddl), columns[i].ddl);
        assert_int_equal(table.columns[i].is_key, i == 0);
        assert_int_equal(table.columns[i].is_document, i + 1 == table.column_count);
        assert_int_equal(table.columns[i].char_max_length, 0);
    }
}

static void comments_say_where_a_value_comes_from(void **state)
{
    struct rs_table table;

    (void)state;
    struct proto_binding binding = make_binding("id", "note qty", "flow_document", false);
    make_table(&binding, NULL, &table);
    assert_string_equal(text(table.comment),
                        "Generated for materialization acme/dw of collection acme/things");
    assert_string_equal(text(table.columns[0].comment),
                        "auto-generated projection of JSON at: /id with inferred types: [integer]");
    assert_string_equal(text(table.columns[1].comment), /* A41 */
                        "Note\nWhat the customer wrote\nuser-provided projection of JSON at: /note "
                        "with inferred types: [string]");
    assert_string_equal(
        text(table.columns[2].comment), /* A42 */
        "auto-generated projection of JSON at: /qty with inferred types: [integer null]");
    assert_string_equal(text(table.columns[3].comment),
                        "auto-generated projection of JSON at:  with inferred types: [object]");
}

static void each_field_selected_as_a_key_follows_the_rules_of_keys(void **state)
{
    struct rs_table table;

    (void)state;
    struct proto_binding binding = make_binding("id day", "placedAt", "flow_document", false);
    make_table(&binding, NULL, &table);
    assert_string_equal(text(table.columns[1].type.ddl), "TEXT"); /* a date, but a key */
    assert_true(table.columns[1].is_key);
    assert_string_equal(text(table.columns[2].type.ddl), "TIMESTAMPTZ");
}

/* A37 */
static void delta_updates_may_do_without_document_and_keys(void **state)
{
    struct rs_table table;

    (void)state;
    struct proto_binding binding = make_binding("", "note", "", true);
    make_table(&binding, NULL, &table);
    assert_true(table.delta_updates);
    assert_false(table.has_document);
    assert_int_equal(table.key_count, 0);
    assert_int_equal(table.column_count, 1);
}

static void actual_widths_come_from_the_catalog(void **state)
{
    struct rs_catalog *catalog = rs_catalog_new(arena, false);
    const struct rs_existing_column columns[] = {
        {.name = SPAN_LIT("id"), .data_type = SPAN_LIT("bigint")},
        {.name = SPAN_LIT("note"),
         .data_type = SPAN_LIT("character varying"),
         .char_max_length = 65535},
        {.name = SPAN_LIT("qty"), .data_type = SPAN_LIT("character"), .char_max_length = 7},
    };
    struct rs_table table;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(columns); i++) {
        rs_catalog_add_column(catalog, SPAN_LIT("sales"), SPAN_LIT("orders"), &columns[i]);
    }
    struct proto_binding binding = make_binding("id", "note placedAt qty", "flow_document", false);
    make_table(&binding, catalog, &table);
    assert_int_equal(table.columns[0].char_max_length, 0);
    assert_int_equal(table.columns[1].char_max_length, 65535);
    assert_int_equal(table.columns[2].char_max_length, 0); /* not there yet */
    assert_int_equal(table.columns[3].char_max_length, 0); /* no VARCHAR */
}

static void options_of_a_field_are_heard(void **state)
{
    struct proto_field_option options[] = {
        {SPAN_LIT("qty"), SPAN_LIT("{\"castToString\":true}")},
        {SPAN_LIT("note"), SPAN_LIT("{\"DDL\":\"VARCHAR(10)\"}")},
    };
    struct rs_table table;

    (void)state;
    struct proto_binding binding = make_binding("id", "note qty", "flow_document", false);
    binding.selection.options = options;
    binding.selection.option_count = ARRAY_LEN(options);
    make_table(&binding, NULL, &table);
    assert_string_equal(text(table.columns[1].type.ddl), "VARCHAR(10)");
    assert_string_equal(text(table.columns[2].type.ddl), "TEXT");
    options[0].config_json = SPAN_LIT("{\"cast\":true}");
    refused(&binding, "cast");
}

static void what_cannot_be_a_table_is_refused(void **state)
{
    struct proto_binding binding;

    (void)state;
    binding = make_binding("id", "note Note", "flow_document", false);
    refused(&binding, "fields \"Note\" and \"note\" would both be column \"note\"");
    binding = make_binding("id", "nothing", "flow_document", false);
    refused(&binding, "field \"nothing\"");
    binding = make_binding("id", "elsewhere", "flow_document", false);
    refused(&binding, "\"elsewhere\" is no projection of collection \"acme/things\"");
    binding = make_binding("", "note", "flow_document", false);
    refused(&binding, "no key field is selected");
    binding = make_binding("", "", "", true);
    refused(&binding, "no field is selected");
    binding = make_binding("id", "note", "flow_document", false);
    binding.resource_path_count = 0;
    refused(&binding, "a resource path has 0 components");
    binding = make_binding("id", "note", "flow_document", false);
    binding.collection = NULL;
    refused(&binding, "no collection");
}

static void the_last_binding_is_found_by_its_whole_path(void **state)
{
    struct proto_binding active = make_binding("id", "", "", false);
    struct proto_binding inactive = make_binding("id", "", "", false);
    struct proto_materialization last = {.bindings = &active,
                                         .binding_count = 1,
                                         .inactive_bindings = &inactive,
                                         .inactive_binding_count = 1};
    struct span path[] = {SPAN_LIT("sales"), SPAN_LIT("Orders")};
    struct span other_case[] = {SPAN_LIT("sales"), SPAN_LIT("orders")};

    (void)state;
    assert_ptr_equal(binding_last(&last, path, 2), &active);
    assert_null(binding_last(&last, path, 1));
    assert_null(binding_last(&last, other_case, 2));
    last.binding_count = 0;
    assert_ptr_equal(binding_last(&last, path, 2), &inactive);
    assert_null(binding_last(NULL, path, 2));
}

static int set_up(void **state)
{
    (void)state;
    arena = arena_new((size_t)16 * 1024 * 1024);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

static void a_table_without_a_document_knows_what_to_rebuild_it_from(void **state)
{
    struct rs_table table;

    (void)state;
    struct proto_binding binding = make_binding("id", ALL_VALUES, "", false);
    make_table(&binding, NULL, &table);
    assert_false(table.has_document);
    for (unsigned i = 0; i < table.column_count; i++) {
        const struct rs_column *column = &table.columns[i];
        bool is_deeper =
            span_is(column->field, "_meta/op") || span_is(column->field, "flow_published_at");
        if (is_deeper ? column->property.ptr != NULL
                      : !span_equal(column->property, column->field)) {
            fail_msg("%s", text(column->field));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_table_without_a_document_knows_what_to_rebuild_it_from),
        cmocka_unit_test(columns_are_keys_then_values_then_the_document),
        cmocka_unit_test(comments_say_where_a_value_comes_from),
        cmocka_unit_test(each_field_selected_as_a_key_follows_the_rules_of_keys),
        cmocka_unit_test(delta_updates_may_do_without_document_and_keys),
        cmocka_unit_test(actual_widths_come_from_the_catalog),
        cmocka_unit_test(options_of_a_field_are_heard),
        cmocka_unit_test(what_cannot_be_a_table_is_refused),
        cmocka_unit_test(the_last_binding_is_found_by_its_whole_path),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
