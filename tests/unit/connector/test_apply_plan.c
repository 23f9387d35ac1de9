/* What Apply decides to do: which statements, in which order, and how they are told to people. */

#include "connector/apply_plan.h"

#include "collection.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static const struct field_row rows[] = {
    {.field = "id", .ptr = "/id", .types = "integer", .is_key = true},
    {.field = "name", .ptr = "/name", .types = "string", .optional = true},
    {.field = "qty", .ptr = "/qty", .types = "number"},
    {.field = "flow_document", .ptr = "", .types = "object"},
};

#define NO_COLUMN                                                                                  \
    {                                                                                              \
        NULL, NULL, false, false                                                                   \
    }

struct column_row {
    const char *name, *type;
    bool not_null, has_default;
};

/* A plan is written as the beginnings of its statements, one after the other. */
struct plan_case {
    const char *sentence;
    const char *endpoint_schema;
    const char *path;    /* "schema table" or "table"; NULL: no bindings */
    const char *values;  /* NULL: "name qty" */
    const char *schemas; /* that exist */
    bool has_metadata, case_sensitive;
    bool has_table;
    struct column_row columns[6]; /* of the table "sales.things", up to one without a name */
    bool has_last;
    unsigned backfill, last_backfill;
    const char *statements[6];
    const char *refusal;
};

#define WHOLE                                                                                      \
    {                                                                                              \
        {"id", "bigint", false, false}, {"name", "character varying", false, false},               \
            {"qty", "double precision", false, false}, {"flow_document", "super", false, false},   \
        {                                                                                          \
            NULL, NULL, false, false                                                               \
        }                                                                                          \
    }
#define READY                                                                                      \
    .endpoint_schema = "sales", .path = "sales things", .schemas = "sales", .has_metadata = true

static const struct plan_case cases[] = {
    {.sentence = "A1 nothing exists",
     .endpoint_schema = "sales",
     .path = "sales things",
     .statements =
         {"CREATE SCHEMA sales;", "\nCREATE TABLE IF NOT EXISTS sales.flow_checkpoints_v1 (\n",
          "\nCREATE TABLE IF NOT EXISTS sales.things (\n\tid BIGINT,\n\tname TEXT,\n\tqty "
          "DOUBLE PRECISION,\n\tflow_document SUPER\n);\n\nCOMMENT ON TABLE "}},
    {.sentence = "A2 everything exists", READY, .has_table = true, .columns = WHOLE},
    {.sentence = "A3 neither schema nor bindings",
     .endpoint_schema = "",
     .statements = {"\nCREATE TABLE IF NOT EXISTS flow_checkpoints_v1 (\n"}},
    {.sentence = "A4 a schema in another case",
     .endpoint_schema = "sales",
     .path = "Foo things",
     .schemas = "sales foo",
     .has_metadata = true,
     .statements = {"\nCREATE TABLE IF NOT EXISTS \"Foo\".things (\n"}},
    {.sentence = "A4 is another schema where case counts",
     .endpoint_schema = "sales",
     .path = "Foo things",
     .schemas = "sales foo",
     .has_metadata = true,
     .case_sensitive = true,
     .statements = {"CREATE SCHEMA \"Foo\";", "\nCREATE TABLE IF NOT EXISTS \"Foo\".things (\n"}},
    {.sentence = "one schema in two spellings is made once",
     .endpoint_schema = "foo",
     .path = "Foo things",
     .statements = {"CREATE SCHEMA foo;", "\nCREATE TABLE IF NOT EXISTS foo.flow_checkpoints_v1 (",
                    "\nCREATE TABLE IF NOT EXISTS \"Foo\".things (\n"}},
    {.sentence = "a table without a schema",
     .endpoint_schema = "",
     .path = "things",
     .has_metadata = true,
     .statements = {"\nCREATE TABLE IF NOT EXISTS things (\n"}},
    {.sentence = "A5 a selected new field",
     READY,
     .has_table = true,
     .columns = {{"id", "bigint", false, false},
                 {"name", "character varying", false, false},
                 {"flow_document", "super", false, false},
                 NO_COLUMN},
     .statements = {"ALTER TABLE sales.things ADD COLUMN qty DOUBLE PRECISION;"}},
    {.sentence = "A6 three new fields",
     READY,
     .has_table = true,
     .columns = {{"id", "bigint", false, false}, NO_COLUMN},
     .statements = {"ALTER TABLE sales.things ADD COLUMN name TEXT;",
                    "ALTER TABLE sales.things ADD COLUMN qty DOUBLE PRECISION;",
                    "ALTER TABLE sales.things ADD COLUMN flow_document SUPER;"}},
    {.sentence = "A7 a field left the selection",
     READY,
     .values = "name",
     .has_table = true,
     .columns = WHOLE},
    {.sentence = "A9 a column that must not be null and nobody fills",
     READY,
     .has_table = true,
     .columns = {{"id", "bigint", false, false}, {"other", "bigint", true, false}, NO_COLUMN},
     .refusal = "table sales.things has columns (1) that are NOT NULL"},
    {.sentence = "an optional field in a column that must not be null",
     READY,
     .has_table = true,
     .columns = {{"id", "bigint", true, false},
                 {"name", "character varying", true, false},
                 NO_COLUMN},
     .refusal = "table sales.things has columns (1) that are NOT NULL"},
    {.sentence = "A10 the same where the column has a default",
     READY,
     .has_table = true,
     .columns = {{"id", "bigint", true, false},
                 {"name", "character varying", true, true},
                 {"qty", "double precision", true, false},
                 {"flow_document", "super", false, false},
                 NO_COLUMN}},
    {.sentence = "a column of another type",
     READY,
     .has_table = true,
     .columns = {{"id", "bigint", false, false}, {"name", "bigint", false, false}, NO_COLUMN},
     .refusal = "column name of table sales.things is of type bigint and would have to become "
                "TEXT"},
    {.sentence = "a backfill of a table that exists",
     READY,
     .has_table = true,
     .columns = WHOLE,
     .has_last = true,
     .backfill = 2,
     .last_backfill = 1,
     .refusal = "table sales.things is to be backfilled (counter 2, was 1)"},
    {.sentence = "A29 a backfill of a table that is gone",
     READY,
     .has_last = true,
     .backfill = 1,
     .statements = {"\nCREATE TABLE IF NOT EXISTS sales.things (\n"}},
    {.sentence = "A35 no last binding, but the table is there",
     READY,
     .has_table = true,
     .columns = WHOLE,
     .backfill = 3},
    {.sentence = "names are found in lower case",
     .endpoint_schema = "Sales",
     .path = "Sales Things",
     .schemas = "sales",
     .has_metadata = true,
     .has_table = true,
     .columns = WHOLE},
};

/* ---------------------------------------------------------------- playing a case */

static struct arena *arena;

static struct rs_catalog *case_catalog(const struct plan_case *c)
{
    struct rs_catalog *catalog = rs_catalog_new(arena, c->case_sensitive);
    unsigned count;
    struct span *schemas = make_names(arena, c->schemas, &count);

    for (unsigned i = 0; i < count; i++) {
        rs_catalog_add_schema(catalog, schemas[i]);
    }
    if (c->has_metadata) {
        rs_catalog_add_table(catalog, *c->endpoint_schema ? SPAN_LIT("sales") : SPAN_LIT("public"),
                             SPAN_LIT("flow_checkpoints_v1"));
    }
    if (c->has_table) {
        rs_catalog_add_table(catalog, SPAN_LIT("sales"), SPAN_LIT("things"));
    }
    for (const struct column_row *row = c->columns; row->name; row++) {
        struct rs_existing_column column = {
            .name = span_of(row->name),
            .data_type = span_of(row->type),
            .is_nullable = !row->not_null,
            .has_default = row->has_default,
        };
        rs_catalog_add_column(catalog, SPAN_LIT("sales"), SPAN_LIT("things"), &column);
    }
    return catalog;
}

static struct proto_materialization *case_spec(const struct plan_case *c, unsigned backfill)
{
    struct proto_materialization *spec = ARENA_NEW(arena, struct proto_materialization);
    struct proto_binding *binding = ARENA_NEW(arena, struct proto_binding);
    struct proto_field_selection *selection = &binding->selection;

    spec->name = SPAN_LIT("acme/dw");
    if (!c->path) {
        return spec;
    }
    spec->bindings = binding;
    spec->binding_count = 1;
    binding->resource_path = make_names(arena, c->path, &binding->resource_path_count);
    binding->collection = make_collection(arena, rows, ARRAY_LEN(rows));
    binding->backfill = backfill;
    selection->keys = make_names(arena, "id", &selection->key_count);
    selection->values =
        make_names(arena, c->values ? c->values : "name qty", &selection->value_count);
    selection->document = SPAN_LIT("flow_document");
    return spec;
}

static struct error *play(const struct plan_case *c, struct apply_plan *ret)
{
    const struct config config = {.schema = c->endpoint_schema, .flags = {.types = {true, true}}};
    const struct proto_apply request = {
        .materialization = case_spec(c, c->backfill),
        .last_materialization = c->has_last ? case_spec(c, c->last_backfill) : NULL,
    };
    return apply_plan(arena, &config, case_catalog(c), &request, ret);
}

/* The description is the statements' texts with a line break between. */
static bool is_told(const struct apply_plan *plan)
{
    const char *at = plan->action.ptr;

    for (unsigned i = 0; i < plan->count; i++) {
        size_t len = strlen(plan->statements[i].sql);
        if (i > 0 && *at++ != '\n') {
            return false;
        }
        if (strncmp(at, plan->statements[i].sql, len) != 0) {
            return false;
        }
        at += len;
    }
    return plan->count == 0 ? plan->action.len == 0 : *at == '\0';
}

static bool is_planned(const struct plan_case *c, const struct apply_plan *plan)
{
    unsigned count = 0;

    while (count < ARRAY_LEN(c->statements) && c->statements[count]) {
        count++;
    }
    bool good = plan->count == count && is_told(plan);
    for (unsigned i = 0; i < plan->count && i < count; i++) {
        const struct pgc_statement *statement = &plan->statements[i];
        good = good && strncmp(statement->sql, c->statements[i], strlen(c->statements[i])) == 0;
        /* several statements in one text go by the simple protocol */
        good = good && statement->is_simple == (statement->sql[0] == '\n');
        good = good && statement->sync && *statement->label;
    }
    return good;
}

static void what_is_missing_is_planned_in_order(void **state)
{
    unsigned wrong = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct apply_plan plan = {0};

        arena_reset(arena);
        struct error *err = play(&cases[i], &plan);
        bool good = cases[i].refusal ? err && error_class_of(err) == ERROR_CONFIG &&
                                           strstr(error_text(err), cases[i].refusal)
                                     : !err && is_planned(&cases[i], &plan);
        if (!good) {
            print_error("%s: %s\n", cases[i].sentence,
                        err ? error_text(err) : arena_strndup(arena, plan.action));
            wrong++;
        }
        error_free(err);
    }
    assert_int_equal(wrong, 0);
}

/* A43 */
static void the_metadata_table_has_the_five_columns_it_always_had(void **state)
{
    static const char text[] = "\nCREATE TABLE IF NOT EXISTS flow_checkpoints_v1 (\n"
                               "\tmaterialization TEXT,\n\tkey_begin BIGINT,\n\tkey_end BIGINT,\n"
                               "\tfence BIGINT,\n\tcheckpoint VARBYTE(1024000)\n);\n";
    const struct plan_case c = {.sentence = "A43", .endpoint_schema = ""};
    struct apply_plan plan;

    (void)state;
    arena_reset(arena);
    assert_null(play(&c, &plan));
    assert_int_equal(plan.count, 1);
    assert_int_equal(strncmp(plan.statements[0].sql, text, strlen(text)), 0);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_missing_is_planned_in_order),
        cmocka_unit_test(the_metadata_table_has_the_five_columns_it_always_had),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
