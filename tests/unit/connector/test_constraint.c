/*
 * What Validate says about each field of a binding: for a new table, and for one that stays. A case
 * is the collection of the reference (below) with rows added, replaced or removed, and the
 * constraints that some of its fields must get, as one text.
 */

#include "connector/validate.h"

#include "collection.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

/* ---------------------------------------------------------------- the collection */

static const struct field_row base_rows[] = {
    {.field = "key", .ptr = "/key", .types = "string", .is_key = true},
    {.field = "scalar", .ptr = "/scalar", .types = "string"},
    {.field = "numStr",
     .ptr = "/numStr",
     .types = "integer string",
     .format = "integer",
     .optional = true},
    {.field = "obj", .ptr = "/obj", .types = "object", .optional = true},
    {.field = "multi", .ptr = "/multi", .types = "integer string boolean", .optional = true},
    {.field = "nul", .ptr = "/nul", .types = "null", .optional = true},
    {.field = "flow_published_at",
     .ptr = "/_meta/uuid",
     .types = "string",
     .format = "date-time",
     .encoding = "uuid"},
    {.field = "_meta/flow_truncated", .ptr = "/_meta/flow_truncated", .types = "boolean"},
    {.field = "_meta/op", .ptr = "/_meta/op", .types = "string", .optional = true},
    {.field = "flow_document", .ptr = "", .types = "object"},
    {.field = "second_root", .ptr = "", .types = "object"},
};

/* The table that was made of it, as the catalog tells it. */
static const struct {
    const char *name, *type;
    uint32_t width;
} base_columns[] = {
    {"key", "character varying", 256},
    {"_meta/flow_truncated", "boolean", 0},
    {"_meta/op", "character varying", 256},
    {"flow_published_at", "timestamp with time zone", 0},
    {"multi", "super", 0},
    {"numstr", "numeric", 0},
    {"obj", "super", 0},
    {"scalar", "character varying", 256},
    {"flow_document", "super", 0},
};

#define BASE_VALUES "_meta/flow_truncated _meta/op flow_published_at multi numStr obj scalar"

/* ---------------------------------------------------------------- cases */

enum last { NO_LAST, LAST_ACTIVE, LAST_INACTIVE };

struct constraint_case {
    const char *sentence;
    const struct field_row *rows; /* replace the base row of the same field, or are added; up to a
                                     row without a field. types "" removes */
    bool empty;                   /* only these rows, without the base's */
    bool delta, no_document, allow_existing, case_sensitive;
    bool exists; /* the table is there */
    enum last last;
    bool last_delta;
    unsigned backfill, last_backfill;
    const char *last_keys, *last_values, *last_document; /* NULL: those of the base */
    const char *column, *column_type;                    /* one it has beside or instead */
    const char *table;                                   /* NULL: "things" */
    const char *option_field, *option;
    const char *expected;   /* "field=TYPE field=TYPE+TYPE", some of them */
    const char *reasons[3]; /* parts that some reason must have */
    const char *refusal;    /* instead: a part of the error */
};

#define ROWS(...) ((const struct field_row[]){__VA_ARGS__, {.field = NULL}})
#define STAYS .exists = true, .last = LAST_ACTIVE
#define SCALAR .field = "scalar", .ptr = "/scalar"

static const char new_standard[] =
    "key=LOCATION_REQUIRED scalar=LOCATION_RECOMMENDED flow_published_at=LOCATION_RECOMMENDED "
    "numStr=LOCATION_RECOMMENDED obj=FIELD_OPTIONAL multi=LOCATION_RECOMMENDED "
    "nul=FIELD_FORBIDDEN _meta/flow_truncated=FIELD_OPTIONAL _meta/op=LOCATION_RECOMMENDED "
    "flow_document=LOCATION_REQUIRED second_root=FIELD_FORBIDDEN";
static const char unchanged[] =
    "key=FIELD_REQUIRED flow_document=FIELD_REQUIRED scalar=FIELD_OPTIONAL "
    "flow_published_at=FIELD_OPTIONAL numStr=FIELD_OPTIONAL obj=FIELD_OPTIONAL "
    "multi=FIELD_OPTIONAL _meta/op=FIELD_OPTIONAL _meta/flow_truncated=FIELD_OPTIONAL "
    "nul=FIELD_FORBIDDEN second_root=FIELD_FORBIDDEN";

static const struct constraint_case cases[] = {
    /* a new table */
    {.sentence = "a new table for standard updates", .expected = new_standard},
    {.sentence = "N1 the key is required", .expected = "key=LOCATION_REQUIRED"},
    {.sentence = "N2 single values are recommended",
     .expected = "scalar=LOCATION_RECOMMENDED flow_published_at=LOCATION_RECOMMENDED "
                 "numStr=LOCATION_RECOMMENDED"},
    {.sentence = "N3 an object may be left out", .expected = "obj=FIELD_OPTIONAL"},
    {.sentence = "N4 several single types are recommended",
     .expected = "multi=LOCATION_RECOMMENDED"},
    {.sentence = "N5 null cannot be materialized", .expected = "nul=FIELD_FORBIDDEN"},
    {.sentence = "N6 of Flow's own fields the truncation mark may be left out",
     .expected = "_meta/flow_truncated=FIELD_OPTIONAL _meta/op=LOCATION_RECOMMENDED"},
    {.sentence = "N7 the document is required", .expected = "flow_document=LOCATION_REQUIRED"},
    {.sentence = "N8 there is one document", .expected = "second_root=FIELD_FORBIDDEN"},
    {.sentence = "N9 a new table for delta updates",
     .delta = true,
     .expected = "key=LOCATION_RECOMMENDED flow_document=LOCATION_RECOMMENDED "
                 "second_root=LOCATION_RECOMMENDED"},
    {.sentence = "N10 without the document what stands at the top is needed",
     .no_document = true,
     .expected = "key=LOCATION_REQUIRED flow_document=FIELD_OPTIONAL scalar=LOCATION_REQUIRED "
                 "obj=FIELD_OPTIONAL second_root=FIELD_FORBIDDEN "
                 "flow_published_at=LOCATION_RECOMMENDED"},
    {.sentence = "it must be there, though it may be null",
     .no_document = true,
     .rows = ROWS({SCALAR, .types = "string null"}),
     .expected = "scalar=LOCATION_REQUIRED"},
    {.sentence = "N11 but not for delta updates",
     .no_document = true,
     .delta = true,
     .expected = "flow_document=FIELD_OPTIONAL second_root=FIELD_OPTIONAL "
                 "scalar=LOCATION_RECOMMENDED"},
    {.sentence = "N12 nor below the top",
     .no_document = true,
     .rows = ROWS({.field = "nested/x", .ptr = "/nested/x", .types = "string"}),
     .expected = "nested/x=LOCATION_RECOMMENDED"},
    {.sentence = "N13 null cannot be materialized, needed or not",
     .no_document = true,
     .rows = ROWS({.field = "nul", .ptr = "/nul", .types = "null"}),
     .expected = "nul=FIELD_FORBIDDEN"},
    {.sentence = "N14 of a key with three components the first is required",
     .empty = true,
     .rows = ROWS({.field = "a", .ptr = "/a", .types = "string", .is_key = true},
                  {.field = "b", .ptr = "/b", .types = "integer", .is_key = true},
                  {.field = "c", .ptr = "/c", .types = "boolean", .is_key = true},
                  {.field = "flow_document", .ptr = "", .types = "object"}),
     .expected = "a=LOCATION_REQUIRED b=LOCATION_RECOMMENDED c=LOCATION_RECOMMENDED"},
    {.sentence = "N15 so is any other field at its place",
     .rows = ROWS({.field = "alias", .ptr = "/key", .types = "string", .is_explicit = true}),
     .expected = "alias=LOCATION_REQUIRED key=LOCATION_REQUIRED"},
    {.sentence = "T8 a key that is an integer or null need not be there",
     .rows = ROWS({.field = "key", .ptr = "/key", .types = "integer null", .is_key = true}),
     .refusal = "key field \"key\""},
    {.sentence = "N16, T46 a key that may be null",
     .rows = ROWS({.field = "key", .ptr = "/key", .types = "string null", .is_key = true}),
     .refusal = "collection \"acme/things\" cannot be materialized: its key field \"key\""},
    {.sentence = "N16 a key that may be absent, with delta updates",
     .delta = true,
     .rows =
         ROWS({.field = "key", .ptr = "/key", .types = "string", .optional = true, .is_key = true}),
     .refusal = "key field \"key\""},
    {.sentence = "N17 a key that may be null but has a default",
     .rows = ROWS({.field = "key",
                   .ptr = "/key",
                   .types = "string null",
                   .is_key = true,
                   .has_default = true}),
     .expected = "key=LOCATION_REQUIRED"},
    {.sentence = "N18 an unknown field option",
     .option_field = "scalar",
     .option = "{\"foo\":1}",
     .refusal = "\"foo\""},
    {.sentence = "the number 1 for a field's DDL",
     .option_field = "scalar",
     .option = "{\"DDL\":1}",
     .refusal = "DDL"},
    {.sentence = "a type outside of what a column holds, alone",
     .rows = ROWS({.field = "arr", .ptr = "/arr", .types = "array"},
                  {.field = "none", .ptr = "/none", .types = ""}),
     .expected = "arr=LOCATION_RECOMMENDED none=FIELD_FORBIDDEN"},
    {.sentence = "a number in a string is one scalar type",
     .rows = ROWS(
         {.field = "amount", .ptr = "/amount", .types = "null number string", .format = "number"}),
     .expected = "amount=LOCATION_RECOMMENDED"},

    /* a table that stays */
    {.sentence = "E1 nothing changed", STAYS, .expected = unchanged, .reasons = {"flow_document"}},
    {.sentence = "E1 nothing changed since it was disabled",
     .exists = true,
     .last = LAST_INACTIVE,
     .expected = unchanged},
    {.sentence = "E2 nothing changed, delta updates",
     STAYS,
     .delta = true,
     .last_delta = true,
     .expected = "key=FIELD_REQUIRED flow_document=FIELD_OPTIONAL "
                 "second_root=LOCATION_RECOMMENDED"},
    {.sentence = "E3 a text becomes a boolean",
     STAYS,
     .rows = ROWS({SCALAR, .types = "boolean"}),
     .expected = "scalar=INCOMPATIBLE",
     .reasons = {"CHARACTER VARYING(256)", "BOOLEAN", "{ type: [boolean] }"}},
    {.sentence = "E4 a text becomes an object",
     STAYS,
     .rows = ROWS({SCALAR, .types = "object"}),
     .expected = "scalar=FIELD_OPTIONAL"},
    {.sentence = "E5 a text becomes null",
     STAYS,
     .rows = ROWS({SCALAR, .types = "null"}),
     .expected = "scalar=FIELD_FORBIDDEN"},
    {.sentence = "E6 the key becomes an integer",
     STAYS,
     .rows = ROWS({.field = "key", .ptr = "/key", .types = "integer", .is_key = true}),
     .expected = "key=INCOMPATIBLE"},
    {.sentence = "M26 a key of a type that a value could be migrated from",
     STAYS,
     .column = "key",
     .column_type = "bigint",
     .expected = "key=INCOMPATIBLE"},
    {.sentence = "E7 a new field",
     STAYS,
     .rows = ROWS({.field = "extra", .ptr = "/extra", .types = "string"}),
     .expected = "extra=LOCATION_RECOMMENDED"},
    {.sentence = "E8 fields vanish",
     STAYS,
     .rows = ROWS({.field = "obj", .types = "gone"}, {.field = "multi", .types = "gone"}),
     .expected = "obj= multi= scalar=FIELD_OPTIONAL"},
    {.sentence = "E9 the document vanishes, another stands there",
     STAYS,
     .rows = ROWS({.field = "flow_document", .types = "gone"}),
     .expected = "second_root=LOCATION_REQUIRED+INCOMPATIBLE",
     .reasons = {"flow_document"}},
    {.sentence = "E10 the same with delta updates",
     STAYS,
     .delta = true,
     .last_delta = true,
     .rows = ROWS({.field = "flow_document", .types = "gone"}),
     .expected = "second_root=LOCATION_RECOMMENDED"},
    {.sentence = "E11 the table has no document",
     STAYS,
     .last_document = "",
     .expected = "flow_document=LOCATION_REQUIRED+INCOMPATIBLE "
                 "second_root=LOCATION_REQUIRED+INCOMPATIBLE"},
    {.sentence = "E12 the table has no document and needs none",
     STAYS,
     .last_document = "",
     .no_document = true,
     .expected = "flow_document=INCOMPATIBLE second_root=INCOMPATIBLE"},
    {.sentence = "E13 the table has a document and needs none",
     STAYS,
     .no_document = true,
     .expected = "flow_document=FIELD_REQUIRED"},
    {.sentence = "E14 the backfill counter was raised",
     STAYS,
     .backfill = 1,
     .expected = new_standard},
    {.sentence = "E15 the backfill counter was lowered",
     STAYS,
     .last_backfill = 1,
     .expected = new_standard},
    {.sentence = "E16 the counter was raised while it was disabled",
     .exists = true,
     .last = LAST_INACTIVE,
     .backfill = 1,
     .expected = new_standard},
    {.sentence = "E17 from delta to standard updates",
     STAYS,
     .last_delta = true,
     .refusal = "cannot change to standard updates"},
    {.sentence = "E18 the same while it was disabled",
     .exists = true,
     .last = LAST_INACTIVE,
     .last_delta = true,
     .refusal = "cannot change to standard updates"},
    {.sentence = "E19 the same with a backfill",
     STAYS,
     .last_delta = true,
     .backfill = 1,
     .expected = new_standard},
    {.sentence = "E20 from standard to delta updates",
     STAYS,
     .delta = true,
     .expected = "key=FIELD_REQUIRED"},
    {.sentence = "E21 a table that nobody expected",
     .exists = true,
     .refusal = "already exists for new binding"},
    {.sentence = "E21 it says how to take it over",
     .exists = true,
     .refusal = "'allow_existing_tables_for_new_bindings'"},
    {.sentence = "E22 it is taken over",
     .exists = true,
     .allow_existing = true,
     .expected = unchanged},
    {.sentence = "E23 its document is of another type",
     .exists = true,
     .allow_existing = true,
     .column = "flow_document",
     .column_type = "boolean",
     .option_field = "flow_document",
     .option = "{\"castToString\":true}",
     .expected = "flow_document=LOCATION_REQUIRED+INCOMPATIBLE"},
    {.sentence = "E24 the same, and no document is needed",
     .exists = true,
     .allow_existing = true,
     .no_document = true,
     .column = "flow_document",
     .column_type = "boolean",
     .option_field = "flow_document",
     .option = "{\"castToString\":true}",
     .expected = "flow_document=INCOMPATIBLE"},
    {.sentence = "E25 a table's name in another case",
     .exists = true,
     .allow_existing = true,
     .table = "Things",
     .expected = unchanged},
    {.sentence = "E25 is another table where case counts",
     .exists = true,
     .allow_existing = true,
     .case_sensitive = true,
     .table = "Things",
     .expected = "key=LOCATION_REQUIRED"},
    {.sentence = "E26 a selected value becomes a key",
     STAYS,
     .rows = ROWS({SCALAR, .types = "string", .is_key = true}),
     .expected = "scalar=FIELD_REQUIRED"},
    {.sentence = "E27 a new field becomes a key",
     STAYS,
     .rows = ROWS({.field = "obj2", .ptr = "/obj2", .types = "string", .is_key = true}),
     .expected = "obj2=FIELD_FORBIDDEN"},
    {.sentence = "E28 a selected value without a column becomes a key",
     STAYS,
     .rows = ROWS({.field = "late", .ptr = "/late", .types = "string", .is_key = true}),
     .last_values = BASE_VALUES " late",
     .expected = "late=FIELD_OPTIONAL"},
    {.sentence = "E29 of three key fields two were selected",
     STAYS,
     .empty = true,
     .rows = ROWS({.field = "key", .ptr = "/key", .types = "string", .is_key = true},
                  {.field = "scalar", .ptr = "/scalar", .types = "string", .is_key = true},
                  {.field = "c", .ptr = "/c", .types = "string", .is_key = true},
                  {.field = "flow_document", .ptr = "", .types = "object"}),
     .last_keys = "key scalar",
     .expected = "key=FIELD_REQUIRED scalar=FIELD_REQUIRED c=FIELD_FORBIDDEN"},
    {.sentence = "E30 the table vanished", .last = LAST_ACTIVE, .expected = new_standard},
    {.sentence = "E31 no root document at all",
     STAYS,
     .rows = ROWS({.field = "flow_document", .types = "gone"},
                  {.field = "second_root", .types = "gone"}),
     .refusal = "no projection of the root document"},
    {.sentence = "E32 the user's own type fits any column",
     STAYS,
     .rows = ROWS({SCALAR, .types = "boolean"}),
     .option_field = "scalar",
     .option = "{\"DDL\":\"INT\"}",
     .expected = "scalar=FIELD_OPTIONAL"},
    {.sentence = "E33 no requirement joins an incompatible value",
     STAYS,
     .no_document = true,
     .rows = ROWS({SCALAR, .types = "boolean"}),
     .expected = "scalar=INCOMPATIBLE"},
    {.sentence = "E34 a text becomes bytes",
     STAYS,
     .rows = ROWS({SCALAR, .types = "string", .encoding = "base64"}),
     .expected = "scalar=FIELD_OPTIONAL"},
    {.sentence = "E35 a date-time key in a column of times",
     STAYS,
     .rows = ROWS(
         {.field = "key", .ptr = "/key", .types = "string", .format = "date-time", .is_key = true}),
     .column = "key",
     .column_type = "timestamp with time zone",
     .expected = "key=INCOMPATIBLE",
     .reasons = {"TIMESTAMP WITH TIME ZONE", "{ type: [string], format: date-time }"}},
    {.sentence = "all that is known of a string is told",
     STAYS,
     .rows = ROWS({SCALAR, .types = "null string", .format = "date", .encoding = "e",
                   .content = "c", .max_length = 9}),
     .expected = "scalar=INCOMPATIBLE",
     .reasons = {"{ type: [null, string], format: date, content-type: c, content-encoding: e, "
                 "maxLength: 9 }"}},
};

/* ---------------------------------------------------------------- playing a case */

static struct arena *arena;

static bool is_replaced(const struct constraint_case *c, const char *field)
{
    for (const struct field_row *row = c->rows; row && row->field; row++) {
        if (strcmp(row->field, field) == 0) {
            return true;
        }
    }
    return false;
}

static struct proto_collection *case_collection(const struct constraint_case *c)
{
    struct field_row rows[64];
    size_t count = 0;

    for (size_t i = 0; !c->empty && i < ARRAY_LEN(base_rows); i++) {
        if (!is_replaced(c, base_rows[i].field)) {
            rows[count++] = base_rows[i];
        }
    }
    for (const struct field_row *row = c->rows; row && row->field; row++) {
        if (strcmp(row->types, "gone") != 0) {
            rows[count++] = *row;
        }
    }
    return make_collection(arena, rows, count);
}

static void
add_column(struct rs_catalog *catalog, const char *name, const char *type, uint32_t width)
{
    struct rs_existing_column column = {
        .name = span_of(name),
        .data_type = span_of(type),
        .char_max_length = width,
        .is_nullable = true,
    };
    rs_catalog_add_column(catalog, SPAN_LIT("sales"), SPAN_LIT("things"), &column);
}

static struct rs_catalog *case_catalog(const struct constraint_case *c)
{
    struct rs_catalog *catalog = rs_catalog_new(arena, c->case_sensitive);

    if (!c->exists) {
        return catalog;
    }
    rs_catalog_add_table(catalog, SPAN_LIT("sales"), SPAN_LIT("things"));
    for (size_t i = 0; i < ARRAY_LEN(base_columns); i++) {
        if (!c->column || strcmp(c->column, base_columns[i].name) != 0) {
            add_column(catalog, base_columns[i].name, base_columns[i].type, base_columns[i].width);
        }
    }
    if (c->column) {
        add_column(catalog, c->column, c->column_type, 0);
    }
    return catalog;
}

static struct proto_materialization *case_last(const struct constraint_case *c, struct span *path)
{
    if (c->last == NO_LAST) {
        return NULL;
    }
    struct proto_materialization *last = ARENA_NEW(arena, struct proto_materialization);
    struct proto_binding *binding = ARENA_NEW(arena, struct proto_binding);
    struct proto_field_selection *selection = &binding->selection;

    binding->resource_path = path;
    binding->resource_path_count = 2;
    binding->delta_updates = c->last_delta;
    binding->backfill = c->last_backfill;
    selection->keys = make_names(arena, c->last_keys ? c->last_keys : "key", &selection->key_count);
    selection->values =
        make_names(arena, c->last_values ? c->last_values : BASE_VALUES, &selection->value_count);
    selection->document = span_of(c->last_document ? c->last_document : "flow_document");
    if (c->last == LAST_ACTIVE) {
        last->bindings = binding;
        last->binding_count = 1;
    } else {
        last->inactive_bindings = binding;
        last->inactive_binding_count = 1;
    }
    return last;
}

static struct error *play(const struct constraint_case *c, struct proto_validated_binding *ret)
{
    const char *table = c->table ? c->table : "things";
    struct config config = {
        .schema = "sales",
        .no_flow_document = c->no_document,
        .flags = {.types = {true, true},
                  .allow_existing_tables_for_new_bindings = c->allow_existing},
    };
    struct resource resource = {.table = table,
                                .schema = "sales",
                                .delta_updates = c->delta,
                                .path = {SPAN_LIT("sales"), span_of(table)},
                                .path_count = 2};
    struct proto_field_option option = {span_of(c->option_field), span_of(c->option)};
    struct proto_validate_binding binding = {
        .collection = case_collection(c),
        .options = &option,
        .option_count = c->option_field ? 1 : 0,
        .backfill = c->backfill,
    };
    return validate_binding(arena, &config, case_catalog(c), &binding, &resource,
                            case_last(c, resource.path), ret);
}

/* "TYPE+TYPE" of one field, in the order of the answer. */
static const char *constraints_of(const struct proto_validated_binding *answer, struct span field)
{
    struct buf text;

    buf_init(&text, 4096);
    for (unsigned i = 0; i < answer->constraint_count; i++) {
        if (span_equal(answer->constraints[i].field, field)) {
            buf_add_str(&text, text.len > 0 ? "+" : "");
            buf_add_str(&text, proto_constraint_name(answer->constraints[i].type));
        }
    }
    const char *copy = arena_strndup(arena, buf_view(&text));
    buf_done(&text);
    return copy;
}

static bool has_reason(const struct proto_validated_binding *answer, const char *part)
{
    for (unsigned i = 0; i < answer->constraint_count; i++) {
        assert_true(answer->constraints[i].reason.len > 0);
        if (strstr(arena_strndup(arena, answer->constraints[i].reason), part)) {
            return true;
        }
    }
    return false;
}

static unsigned compare(const struct constraint_case *c,
                        const struct proto_validated_binding *answer)
{
    unsigned wrong = 0;

    for (const char *at = c->expected; *at;) {
        struct span field = {at, strcspn(at, "=")};
        const char *want = at + field.len + 1;
        size_t len = strcspn(want, " ");
        const char *have = constraints_of(answer, field);
        if (!span_is((struct span){want, len}, have)) {
            print_error("%s: %.*s is \"%s\", not \"%.*s\"\n", c->sentence, SPAN_FMT(field), have,
                        (int)len, want);
            wrong++;
        }
        at = want + len + (want[len] == ' ');
    }
    for (size_t i = 0; i < 3 && c->reasons[i]; i++) {
        if (!has_reason(answer, c->reasons[i])) {
            print_error("%s: no reason says %s\n", c->sentence, c->reasons[i]);
            wrong++;
        }
    }
    return wrong;
}

static void each_field_gets_its_constraint(void **state)
{
    unsigned wrong = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct constraint_case *c = &cases[i];
        struct proto_validated_binding answer = {0};

        arena_reset(arena);
        struct error *err = play(c, &answer);
        if (c->refusal) {
            if (!err || !strstr(error_text(err), c->refusal) ||
                error_class_of(err) != ERROR_CONFIG) {
                print_error("%s: %s\n", c->sentence, err ? error_text(err) : "accepted");
                wrong++;
            }
        } else if (err) {
            print_error("%s: %s\n", c->sentence, error_text(err));
            wrong++;
        } else {
            wrong += compare(c, &answer);
        }
        error_free(err);
    }
    assert_int_equal(wrong, 0);
}

/* ---------------------------------------------------------------- the rest of the answer */

static struct span folded_of(const struct proto_validated_binding *answer, const char *field)
{
    for (unsigned i = 0; i < answer->constraint_count; i++) {
        if (span_is(answer->constraints[i].field, field)) {
            return answer->constraints[i].folded_field;
        }
    }
    fail_msg("no constraint for %s", field);
    return SPAN_NONE;
}

/* N19 */
static void fields_that_differ_in_case_share_a_folded_name(void **state)
{
    (void)state;
    arena_reset(arena);
    struct constraint_case c = {
        .sentence = "N19",
        .rows = ROWS({.field = "userId", .ptr = "/userId", .types = "string"},
                     {.field = "userid", .ptr = "/userid", .types = "string"},
                     {.field = "USERID", .ptr = "/USERID", .types = "string"}),
        .expected = "userId=LOCATION_RECOMMENDED userid=LOCATION_RECOMMENDED "
                    "USERID=LOCATION_RECOMMENDED",
    };
    struct proto_validated_binding answer;

    assert_null(play(&c, &answer));
    assert_int_equal(compare(&c, &answer), 0);
    assert_true(span_is(folded_of(&answer, "userId"), "userid"));
    assert_true(span_is(folded_of(&answer, "USERID"), "userid"));
    assert_int_equal(folded_of(&answer, "userid").len, 0);
    c.case_sensitive = true;
    assert_null(play(&c, &answer));
    assert_int_equal(folded_of(&answer, "USERID").len, 0);
}

/* N20 */
static void long_names_are_cut_and_not_forbidden(void **state)
{
    char name[131];

    (void)state;
    arena_reset(arena);
    memset(name, 'a', 130);
    name[130] = '\0';
    struct constraint_case c = {
        .sentence = "N20",
        .rows = ROWS({.field = name, .ptr = "/long", .types = "string"}),
    };
    struct proto_validated_binding answer;

    assert_null(play(&c, &answer));
    assert_string_equal(constraints_of(&answer, span_of(name)), "LOCATION_RECOMMENDED");
    assert_int_equal(folded_of(&answer, name).len, 127);
}

/* N21 */
static void the_answer_is_whole_and_sorted(void **state)
{
    (void)state;
    arena_reset(arena);
    struct constraint_case c = {.sentence = "N21", .delta = true, .table = "Things"};
    struct proto_validated_binding answer;

    assert_null(play(&c, &answer));
    assert_true(answer.case_insensitive_fields);
    assert_true(answer.delta_updates);
    assert_int_equal(answer.str_truncate_after, 65536);
    assert_int_equal(answer.nested_obj_truncate_after, 1000);
    assert_int_equal(answer.array_truncate_after, 1000);
    assert_int_equal(answer.resource_path_count, 2);
    assert_true(span_is(answer.resource_path[0], "sales"));
    assert_true(span_is(answer.resource_path[1], "Things"));
    assert_int_equal(answer.constraint_count, ARRAY_LEN(base_rows));
    for (unsigned i = 1; i < answer.constraint_count; i++) {
        assert_true(span_compare(answer.constraints[i - 1].field, answer.constraints[i].field) < 0);
    }
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
        cmocka_unit_test(each_field_gets_its_constraint),
        cmocka_unit_test(fields_that_differ_in_case_share_a_folded_name),
        cmocka_unit_test(long_names_are_cut_and_not_forbidden),
        cmocka_unit_test(the_answer_is_whole_and_sorted),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
