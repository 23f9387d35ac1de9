/* What Apply decides to do: which statements, in which order, and how they are told to people. */

#include "connector/apply_plan.h"

#include "collection.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

/* 127 bytes, as long as a name may be */
#define LONGEST                                                                                    \
    "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijkl"                             \
    "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijk"

static const struct field_row rows[] = {
    {.field = "id", .ptr = "/id", .types = "integer", .is_key = true},
    {.field = "name", .ptr = "/name", .types = "string", .optional = true},
    {.field = "qty", .ptr = "/qty", .types = "number"},
    {.field = "a\"b", .ptr = "/a", .types = "string"},
    {.field = LONGEST, .ptr = "/long", .types = "string"},
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
    const char *keys;    /* NULL: "id" */
    const char *values;  /* NULL: "name qty" */
    const char *schemas; /* that exist */
    bool has_metadata, case_sensitive;
    bool has_table;
    struct column_row columns[6]; /* of the table "sales.things", up to one without a name */
    bool has_last, is_inactive;   /* inactive: it was disabled meanwhile */
    unsigned backfill, last_backfill;
    bool delta, last_delta;
    const char *last_keys; /* pointers; NULL: "/id" */
    bool must_drop, must_retain;
    bool had_no_document, has_no_document;
    const char *statements[12]; /* preparation, truncations, tables */
    unsigned settled;           /* bindings whose staged work comes first */
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

/* The column name has this type, qty that one. */
#define TYPED(name_type, qty_type)                                                                 \
    {                                                                                              \
        {"id", "bigint", false, false}, {"name", name_type, false, false},                         \
            {"qty", qty_type, false, false}, {"flow_document", "super", false, false},             \
        {                                                                                          \
            NULL, NULL, false, false                                                               \
        }                                                                                          \
    }
#define INTERRUPTED(...)                                                                           \
    {                                                                                              \
        {"id", "bigint", false, false}, {"qty", "double precision", false, false},                 \
            {"flow_document", "super", false, false}, __VA_ARGS__                                  \
    }
#define BACKFILLED READY, .has_table = true, .has_last = true, .backfill = 2, .last_backfill = 1
#define TRUNCATED "TRUNCATE TABLE sales.things;"
#define DROPPED "DROP TABLE sales.things;"
#define CREATED "\nCREATE TABLE IF NOT EXISTS sales.things (\n"
#define ADD_NAME "ALTER TABLE sales.things ADD COLUMN name_flowtmp1 TEXT "
#define ADD_QTY "ALTER TABLE sales.things ADD COLUMN qty_flowtmp1 DOUBLE PRECISION "
#define FILL_NAME "UPDATE sales.things SET name_flowtmp1 = CAST(name AS TEXT) WHERE true;"
#define DROP_NAME "ALTER TABLE sales.things DROP COLUMN name"
#define DROP_QTY "ALTER TABLE sales.things DROP COLUMN qty"
#define RENAME_NAME "ALTER TABLE sales.things RENAME COLUMN name_flowtmp1 TO name"
#define RENAME_QTY "ALTER TABLE sales.things RENAME COLUMN qty_flowtmp1 TO qty"

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
    {.sentence = "A11 a column of another type",
     READY,
     .has_table = true,
     .has_last = true,
     .columns = TYPED("bigint", "double precision"),
     .settled = 1,
     .statements = {ADD_NAME, FILL_NAME, DROP_NAME, RENAME_NAME}},
    {.sentence = "A12 two columns of another type",
     READY,
     .has_table = true,
     .columns = TYPED("bigint", "numeric"),
     .statements = {ADD_NAME, ADD_QTY,
                    "UPDATE sales.things SET name_flowtmp1 = CAST(name AS TEXT), qty_flowtmp1 = "
                    "CAST(qty AS DOUBLE PRECISION) WHERE true;",
                    DROP_NAME, DROP_QTY, RENAME_NAME, RENAME_QTY}},
    {.sentence = "A13 a new column and one of another type",
     READY,
     .has_table = true,
     .columns = {{"id", "bigint", false, false},
                 {"name", "bigint", false, false},
                 {"flow_document", "super", false, false},
                 NO_COLUMN},
     .statements = {"ALTER TABLE sales.things ADD COLUMN qty DOUBLE PRECISION;", ADD_NAME,
                    FILL_NAME, DROP_NAME, RENAME_NAME}},
    {.sentence = "A14 a migration that stopped after its temporary column was made",
     READY,
     .has_table = true,
     .columns = INTERRUPTED({"name", "bigint", false, false},
                            {"name_flowtmp1", "character varying", false, false}),
     .statements = {FILL_NAME, DROP_NAME, RENAME_NAME}},
    {.sentence = "A15 a migration that stopped before the rename",
     READY,
     .has_table = true,
     .columns = INTERRUPTED({"name_flowtmp1", "character varying", false, false}, NO_COLUMN),
     .statements = {RENAME_NAME}},
    {.sentence = "a migration that was overtaken by another type",
     READY,
     .has_table = true,
     .columns =
         INTERRUPTED({"name", "bigint", false, false}, {"name_flowtmp1", "numeric", false, false}),
     .statements = {"ALTER TABLE sales.things DROP COLUMN name_flowtmp1", ADD_NAME, FILL_NAME,
                    DROP_NAME, RENAME_NAME}},
    {.sentence = "a migration that stopped before the rename, and then another type",
     READY,
     .has_table = true,
     .columns = INTERRUPTED({"name_flowtmp1", "numeric", false, false}, NO_COLUMN),
     .statements = {RENAME_NAME, ADD_NAME, FILL_NAME, DROP_NAME, RENAME_NAME}},
    {.sentence = "what a given up migration left does not matter",
     READY,
     .has_table = true,
     .columns = INTERRUPTED({"name", "character varying", false, false},
                            {"name_flowtmp1", "super", false, false})},
    {.sentence = "A16 a field with a quote in its name",
     READY,
     .values = "a\"b",
     .has_table = true,
     .columns = {{"id", "bigint", false, false},
                 {"a\"b", "bigint", false, false},
                 {"flow_document", "super", false, false},
                 NO_COLUMN},
     .statements = {"ALTER TABLE sales.things ADD COLUMN \"a\"\"b_flowtmp1\" TEXT ",
                    "UPDATE sales.things SET \"a\"\"b_flowtmp1\" = CAST(\"a\"\"b\" AS TEXT) "
                    "WHERE true;",
                    "ALTER TABLE sales.things DROP COLUMN \"a\"\"b\"",
                    "ALTER TABLE sales.things RENAME COLUMN \"a\"\"b_flowtmp1\" TO "
                    "\"a\"\"b\""}},
    {.sentence = "a name that leaves no room for a temporary column",
     READY,
     .values = LONGEST,
     .has_table = true,
     .columns = {{"id", "bigint", false, false},
                 {LONGEST, "bigint", false, false},
                 {"flow_document", "super", false, false},
                 NO_COLUMN},
     .refusal = "its name is too long for a temporary column"},
    {.sentence = "such a name, and a backfill",
     BACKFILLED,
     .values = LONGEST,
     .columns = {{"id", "bigint", false, false},
                 {LONGEST, "bigint", false, false},
                 {"flow_document", "super", false, false},
                 NO_COLUMN},
     .statements = {DROPPED, CREATED}},
    {.sentence = "A17 a key of another type",
     READY,
     .has_table = true,
     .columns = {{"id", "character varying", false, false},
                 {"name", "character varying", false, false},
                 {"qty", "double precision", false, false},
                 {"flow_document", "super", false, false},
                 NO_COLUMN}},
    {.sentence = "A17 even when a value could be migrated from it",
     READY,
     .keys = "id name",
     .values = "qty",
     .has_table = true,
     .columns = TYPED("bigint", "double precision")},
    {.sentence = "a value of a type that cannot be migrated",
     READY,
     .has_table = true,
     .columns = TYPED("boolean", "double precision")},
    {.sentence = "A18 a backfill", BACKFILLED, .columns = WHOLE, .statements = {TRUNCATED}},
    {.sentence = "a backfill counter that fell counts as well",
     READY,
     .has_table = true,
     .columns = WHOLE,
     .has_last = true,
     .last_backfill = 4,
     .statements = {TRUNCATED}},
    {.sentence = "A19 a backfill and a new field",
     BACKFILLED,
     .columns = {{"id", "bigint", false, false},
                 {"name", "character varying", false, false},
                 {"flow_document", "super", false, false},
                 NO_COLUMN},
     .statements = {TRUNCATED, "ALTER TABLE sales.things ADD COLUMN qty DOUBLE PRECISION;"}},
    {.sentence = "A20 a backfill and a field less",
     BACKFILLED,
     .values = "name",
     .columns = WHOLE,
     .statements = {TRUNCATED}},
    {.sentence = "A21 a backfill and a value of another type",
     BACKFILLED,
     .columns = TYPED("bigint", "double precision"),
     .statements = {TRUNCATED, ADD_NAME, FILL_NAME, DROP_NAME, RENAME_NAME}},
    {.sentence = "A22 a backfill and a value of a type that cannot be migrated",
     BACKFILLED,
     .columns = TYPED("boolean", "double precision"),
     .statements = {DROPPED, CREATED}},
    {.sentence = "a backfill and a key of a type that nothing could be migrated from",
     BACKFILLED,
     .columns = {{"id", "character varying", false, false}, NO_COLUMN},
     .statements = {DROPPED, CREATED}},
    {.sentence = "A23 a backfill and a key of a type that a value could be migrated from",
     BACKFILLED,
     .keys = "id name",
     .values = "qty",
     .columns = TYPED("bigint", "double precision"),
     .statements = {DROPPED, CREATED}},
    {.sentence = "A24 a backfill with other keys",
     BACKFILLED,
     .last_keys = "/id /name",
     .columns = WHOLE,
     .statements = {DROPPED, CREATED}},
    {.sentence = "A25 a backfill and a field that became optional",
     BACKFILLED,
     .columns = WHOLE,
     .statements = {TRUNCATED}},
    {.sentence = "A26 a backfill from delta updates to standard",
     BACKFILLED,
     .last_delta = true,
     .columns = WHOLE,
     .statements = {DROPPED, CREATED}},
    {.sentence = "A27 a backfill from standard updates to delta",
     BACKFILLED,
     .delta = true,
     .columns = WHOLE,
     .statements = {TRUNCATED}},
    {.sentence = "A28 a backfill of a binding that was disabled",
     BACKFILLED,
     .is_inactive = true,
     .columns = WHOLE,
     .statements = {TRUNCATED}},
    {.sentence = "A30 a backfill where tables are always dropped",
     BACKFILLED,
     .must_drop = true,
     .columns = WHOLE,
     .statements = {DROPPED, CREATED}},
    {.sentence = "A31 a backfill that retains the rows",
     BACKFILLED,
     .must_retain = true,
     .columns = WHOLE,
     .settled = 1},
    {.sentence = "A32 a backfill that cannot retain the rows",
     BACKFILLED,
     .must_retain = true,
     .last_keys = "/id /name",
     .columns = WHOLE,
     .refusal = "retain_existing_data_on_backfill"},
    {.sentence = "from standard updates to delta without a backfill",
     READY,
     .has_table = true,
     .has_last = true,
     .delta = true,
     .columns = WHOLE,
     .settled = 1},
    {.sentence = "A8 a required field that became optional",
     READY,
     .has_table = true,
     .has_last = true,
     .columns = WHOLE},
    {.sentence = "A33 a binding that was removed",
     .endpoint_schema = "sales",
     .schemas = "sales",
     .has_metadata = true,
     .has_table = true,
     .columns = WHOLE},
    {.sentence = "A37 a table without its document",
     READY,
     .has_no_document = true,
     .statements =
         {"\nCREATE TABLE IF NOT EXISTS sales.things (\n\tid BIGINT,\n\tname TEXT,\n\tqty "
          "DOUBLE PRECISION\n);\n"}},
    {.sentence = "the document leaves the selection",
     READY,
     .has_table = true,
     .has_last = true,
     .has_no_document = true,
     .columns = WHOLE},
    {.sentence = "the document comes back without a backfill",
     READY,
     .has_table = true,
     .has_last = true,
     .had_no_document = true,
     .columns = WHOLE,
     .refusal = "table sales.things holds rows without the root document"},
    {.sentence = "the document comes back with a backfill",
     BACKFILLED,
     .had_no_document = true,
     .columns = WHOLE,
     .statements = {TRUNCATED}},
    {.sentence = "staged work waits where nothing is changed",
     READY,
     .has_table = true,
     .has_last = true,
     .columns = WHOLE},
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

static struct proto_materialization *case_spec(const struct plan_case *c, bool is_last)
{
    struct proto_materialization *spec = ARENA_NEW(arena, struct proto_materialization);
    struct proto_binding *binding = ARENA_NEW(arena, struct proto_binding);
    struct proto_field_selection *selection = &binding->selection;

    spec->name = SPAN_LIT("acme/dw");
    if (!c->path) {
        return spec;
    }
    if (is_last && c->is_inactive) {
        spec->inactive_bindings = binding;
        spec->inactive_binding_count = 1;
    } else {
        spec->bindings = binding;
        spec->binding_count = 1;
    }
    binding->resource_path = make_names(arena, c->path, &binding->resource_path_count);
    binding->collection = make_collection(arena, rows, ARRAY_LEN(rows));
    binding->backfill = is_last ? c->last_backfill : c->backfill;
    binding->delta_updates = is_last ? c->last_delta : c->delta;
    if (is_last && c->last_keys) {
        binding->collection->key = make_names(arena, c->last_keys, &binding->collection->key_count);
    }
    selection->keys = make_names(arena, c->keys ? c->keys : "id", &selection->key_count);
    selection->values =
        make_names(arena, c->values ? c->values : "name qty", &selection->value_count);
    if (!(is_last ? c->had_no_document : c->has_no_document)) {
        selection->document = SPAN_LIT("flow_document");
    }
    return spec;
}

static struct error *play(const struct plan_case *c, struct apply_plan *ret)
{
    const struct config config = {
        .schema = c->endpoint_schema,
        .flags = {.types = {true, true},
                  .always_drop_tables_on_backfill = c->must_drop,
                  .retain_existing_data_on_backfill = c->must_retain},
    };
    const struct proto_apply request = {
        .materialization = case_spec(c, false),
        .last_materialization = c->has_last ? case_spec(c, true) : NULL,
    };
    return apply_plan(arena, &config, case_catalog(c), &request, ret);
}

static struct apply_actions whole_plan(const struct apply_plan *plan)
{
    unsigned count = plan->truncations.count + plan->tables.count;
    struct apply_action *items = ARENA_ARRAY(arena, count + 1, struct apply_action);

    count = 0;
    if (plan->preparation.count > 0) {
        items[count++] = plan->preparation;
    }
    for (unsigned i = 0; i < plan->truncations.count; i++) {
        items[count++] = plan->truncations.items[i];
    }
    for (unsigned i = 0; i < plan->tables.count; i++) {
        items[count++] = plan->tables.items[i];
    }
    return (struct apply_actions){items, count};
}

/* The description is the statements' texts with a line break between; a table that is made anew
 * has two more in front. */
static bool is_told(const struct apply_plan *plan)
{
    struct apply_actions actions = whole_plan(plan);
    struct buf text;

    buf_init(&text, (size_t)1024 * 1024);
    for (unsigned i = 0; i < actions.count; i++) {
        const struct apply_action *action = &actions.items[i];
        buf_add_str(&text, i > 0 ? "\n" : "");
        for (unsigned k = 0; k < action->count; k++) {
            const char *sql = action->statements[k].sql;
            buf_add_str(&text, k > 0 ? "\n" : "");
            buf_add_str(&text, strncmp(sql, "DROP TABLE", 10) == 0 ? "\n\n" : "");
            buf_add_str(&text, sql);
        }
    }
    bool good = span_equal(buf_view(&text), plan->action);
    buf_done(&text);
    return good;
}

/* The given text is the whole statement, or the beginning of one of several lines. */
static bool is_text(const char *sql, const char *given)
{
    return strcmp(sql, given) == 0 || (sql[0] == '\n' && strncmp(sql, given, strlen(given)) == 0);
}

static bool is_planned(const struct plan_case *c, const struct apply_plan *plan)
{
    struct apply_actions actions = whole_plan(plan);
    unsigned count = 0;
    bool good = is_told(plan) && plan->settled_count == c->settled;

    for (unsigned i = 0; i < actions.count; i++) {
        for (unsigned k = 0; k < actions.items[i].count; k++, count++) {
            const struct pgc_statement *statement = &actions.items[i].statements[k];
            good = good && count < ARRAY_LEN(c->statements) && c->statements[count] &&
                   is_text(statement->sql, c->statements[count]);
            /* several statements in one text go by the simple protocol */
            good = good && statement->is_simple == (statement->sql[0] == '\n');
            good = good && statement->sync && *statement->label;
        }
    }
    return good && (count == ARRAY_LEN(c->statements) || !c->statements[count]);
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

/* A36: Validate refuses the two; Apply, which is asked nevertheless, makes what is not there. */
static void two_spellings_of_a_table_are_two_statements(void **state)
{
    const struct plan_case ready = {READY};
    const struct config config = {.schema = "sales", .flags = {.types = {true, true}}};
    struct proto_materialization *spec = case_spec(&ready, false);
    struct proto_binding *bindings = ARENA_ARRAY(arena, 2, struct proto_binding);
    struct apply_plan plan;

    (void)state;
    bindings[0] = bindings[1] = spec->bindings[0];
    bindings[0].resource_path = make_names(arena, "sales Orders", &bindings[0].resource_path_count);
    bindings[1].resource_path = make_names(arena, "sales orders", &bindings[1].resource_path_count);
    spec->bindings = bindings;
    spec->binding_count = 2;
    const struct proto_apply request = {.materialization = spec};
    assert_null(apply_plan(arena, &config, case_catalog(&ready), &request, &plan));
    assert_int_equal(plan.tables.count, 2);
    assert_non_null(strstr(plan.tables.items[0].statements[0].sql, "NOT EXISTS sales.\"Orders\""));
    assert_non_null(strstr(plan.tables.items[1].statements[0].sql, "NOT EXISTS sales.orders"));
}

/* A34 */
static void what_did_not_change_is_left_alone(void **state)
{
    const struct plan_case ready = {READY, .has_table = true, .has_last = true, .columns = WHOLE};
    const struct config config = {.schema = "sales", .flags = {.types = {true, true}}};
    struct proto_materialization *spec = case_spec(&ready, false);
    struct proto_binding *bindings = ARENA_ARRAY(arena, 2, struct proto_binding);
    struct apply_plan plan;

    (void)state;
    bindings[0] = bindings[1] = spec->bindings[0];
    bindings[1].resource_path = make_names(arena, "sales fresh", &bindings[1].resource_path_count);
    spec->bindings = bindings;
    spec->binding_count = 2;
    const struct proto_apply request = {.materialization = spec,
                                        .last_materialization = case_spec(&ready, true)};
    assert_null(apply_plan(arena, &config, case_catalog(&ready), &request, &plan));
    assert_int_equal(plan.preparation.count, 0);
    assert_int_equal(plan.truncations.count, 0);
    assert_int_equal(plan.tables.count, 1);
    assert_int_equal(plan.tables.items[0].count, 1);
    assert_non_null(strstr(plan.tables.items[0].statements[0].sql, "NOT EXISTS sales.fresh ("));
    assert_true(is_told(&plan));
}

/* A39: two tables to truncate, one to make, one to alter. */
static void all_truncations_stand_before_all_other_work(void **state)
{
    static const char *const names[] = {"orders", "Fresh", "things", "more"};
    const struct plan_case ready = {READY, .backfill = 1};
    const struct config config = {.schema = "sales", .flags = {.types = {true, true}}};
    struct proto_materialization *spec = case_spec(&ready, false);
    struct proto_materialization *last = case_spec(&ready, true);
    struct proto_binding *bindings = ARENA_ARRAY(arena, 4, struct proto_binding);
    struct proto_binding *former = ARENA_ARRAY(arena, 4, struct proto_binding);
    struct rs_catalog *catalog = case_catalog(&ready);
    struct apply_plan plan;

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct span *path = ARENA_ARRAY(arena, 2, struct span);
        path[0] = SPAN_LIT("sales");
        path[1] = span_of(names[i]);
        bindings[i] = spec->bindings[0];
        former[i] = last->bindings[0];
        bindings[i].resource_path = former[i].resource_path = path;
        bindings[i].backfill = i != 2; /* all but "things", which exists and lacks all columns */
        if (i != 1) {
            rs_catalog_add_table(catalog, path[0], path[1]);
        }
    }
    spec->bindings = bindings;
    last->bindings = former;
    spec->binding_count = last->binding_count = 4;
    const struct proto_apply request = {.materialization = spec, .last_materialization = last};
    assert_null(apply_plan(arena, &config, catalog, &request, &plan));

    assert_int_equal(plan.preparation.count, 0);
    assert_int_equal(plan.truncations.count, 2);
    assert_string_equal(plan.truncations.items[0].statements[0].sql,
                        "TRUNCATE TABLE sales.orders;");
    assert_string_equal(plan.truncations.items[1].statements[0].sql, "TRUNCATE TABLE sales.more;");
    assert_int_equal(plan.tables.count, 4);
    assert_non_null(strstr(plan.tables.items[0].statements[0].sql, "EXISTS sales.\"Fresh\" ("));
    for (unsigned i = 1; i < 4; i++) { /* by binding */
        assert_int_equal(plan.tables.items[i].count, 4);
    }
    assert_true(is_told(&plan));
    assert_int_equal(plan.note_count, 2);
    assert_int_equal(plan.settled_count, 1); /* things; what is truncated needs nothing */
    assert_int_equal(plan.notes[0].kind, APPLY_NOTE_BACKFILL);
    assert_true(span_is(plan.notes[1].path, "sales.more"));
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
    assert_int_equal(plan.preparation.count, 1);
    assert_int_equal(plan.tables.count, 0);
    assert_int_equal(strncmp(plan.preparation.statements[0].sql, text, strlen(text)), 0);
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
        cmocka_unit_test(what_did_not_change_is_left_alone),
        cmocka_unit_test(all_truncations_stand_before_all_other_work),
        cmocka_unit_test(two_spellings_of_a_table_are_two_statements),
        cmocka_unit_test(the_metadata_table_has_the_five_columns_it_always_had),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
