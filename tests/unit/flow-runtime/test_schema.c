/* Inference, reduction and field selection. */
#include "harness.h"

#include "schema.h"
#include "select.h"
#include "task.h"

/* ---------------------------------------------------------------- inference */

static void locations_are_inferred_as_flow_does(void **state)
{
    (void)state;
    static const struct {
        const char *sentence, *schema, *field, *inference;
    } rows[] = {
        {"a required integer",
         "{\"type\":\"object\",\"required\":[\"a\"],\"properties\":{\"a\":"
         "{\"type\":\"integer\",\"minimum\":-5,\"maximum\":1e19}}}",
         "a",
         "{\"exists\":\"MUST\",\"numeric\":{\"hasMaximum\":true,\"hasMinimum\":true,"
         "\"maximum\":1e19,\"minimum\":-5},\"types\":[\"integer\"]}"},
        {"an optional string with its annotations",
         "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":[\"string\",\"null\"],\"format\":"
         "\"date\",\"maxLength\":9,\"title\":\"T\",\"description\":\"D\",\"default\":\"x\"}}}",
         "a",
         "{\"default\":\"x\",\"description\":\"D\",\"exists\":\"MAY\",\"string\":{\"format\":"
         "\"date\",\"maxLength\":9},\"title\":\"T\",\"types\":[\"null\",\"string\"]}"},
        {"a required location below an optional one is optional",
         "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"object\",\"required\":[\"b\"],"
         "\"properties\":{\"b\":{\"type\":\"boolean\"}}}}}",
         "a/b", "{\"exists\":\"MAY\",\"types\":[\"boolean\"]}"},
        {"number holds integer",
         "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":["
         "\"integer\",\"number\"],\"reduce\":{\"strategy\":\"sum\"}}}}",
         "a",
         "{\"exists\":\"MAY\",\"numeric\":{},\"reduce\":\"REDUCE_SUM\",\"types\":["
         "\"number\"]}"},
        {"base64",
         "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\","
         "\"contentEncoding\":\"base64\"}}}",
         "a",
         "{\"exists\":\"MAY\",\"string\":{\"contentEncoding\":\"base64\"},\"types\":["
         "\"string\"]}"},
        {"oneOf unites, allOf intersects",
         "{\"type\":\"object\",\"properties\":{\"a\":{\"oneOf\":[{\"type\":\"integer\"},{"
         "\"type\":\"string\",\"format\":\"integer\"}],\"allOf\":[{\"type\":[\"integer\","
         "\"string\",\"null\"]}]}}}",
         "a",
         "{\"exists\":\"MAY\",\"numeric\":{},\"string\":{\"format\":\"integer\"},\"types\":["
         "\"integer\",\"string\"]}"},
        {"a local reference is followed",
         "{\"$defs\":{\"d\":{\"type\":\"array\",\"items\":{\"type\":\"string\"},\"maxItems\":3}},"
         "\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#/$defs/d\"}}}",
         "a",
         "{\"array\":{\"hasMaxItems\":true,\"itemTypes\":[\"string\"],\"maxItems\":3},"
         "\"exists\":\"MAY\",\"types\":[\"array\"]}"},
        {"a value of an enum has its type",
         "{\"type\":\"object\",\"properties\":{\"a\":{\"enum\":[\"x\",null]}}}", "a",
         "{\"enum\":[\"x\",null],\"exists\":\"MAY\",\"string\":{},\"types\":[\"null\","
         "\"string\"]}"},
        {"an impossible location", "{\"type\":\"object\",\"properties\":{\"a\":false}}", "a",
         "{\"exists\":\"CANNOT\",\"types\":[]}"},
        {"uint64 text is a big integer",
         "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":"
         "\"string\",\"format\":\"uint64\"}}}",
         "a", "{\"exists\":\"MAY\",\"string\":{\"format\":\"integer\"},\"types\":[\"string\"]}"},
        {"the root document", "{\"type\":\"object\"}", "flow_document",
         "{\"exists\":\"MUST\",\"types\":[\"object\"]}"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fr_arena arena = {0};
        struct fr_projections projections = {0};
        const char *error = NULL;
        assert_true(fr_projections_infer(&arena, parse(&arena, rows[i].schema), NULL, &projections,
                                         &error));
        const struct fr_projection *found = fr_projections_find(&projections, rows[i].field);
        if (found == NULL) {
            fail_msg("%s: no projection %s", rows[i].sentence, rows[i].field);
        }
        expect_json(rows[i].sentence, found->inference, rows[i].inference);
        fr_arena_done(&arena);
    }
}

static void every_collection_has_the_synthetic_projections(void **state)
{
    (void)state;
    struct fr_arena arena = {0};
    struct fr_projections projections = {0};
    const char *error = NULL;
    assert_true(fr_projections_infer(&arena, parse(&arena, "{\"type\":\"object\"}"),
                                     parse(&arena, "{\"whole\":\"\"}"), &projections, &error));
    assert_int_equal(projections.count, 4);
    assert_string_equal(projections.list[0].field, "_meta/flow_truncated");
    assert_string_equal(projections.list[1].field, "flow_document");
    assert_string_equal(projections.list[2].field, "flow_published_at");
    assert_string_equal(projections.list[2].ptr, "/_meta/uuid");
    assert_string_equal(projections.list[3].field, "whole");
    assert_true(projections.list[3].is_explicit);
    fr_arena_done(&arena);
}

static void a_uuid_carries_its_publication_time(void **state)
{
    (void)state;
    static const struct {
        const char *uuid, *time;
    } rows[] = {
        {"\"5c6cd59d-15f2-11ee-8400-070c662b1d09\"", "2023-06-28T20:28:37.1969437Z"},
        {"\"13814000-1dd2-11b2-8000-000000000000\"", "1970-01-01T00:00:00Z"},
        {"\"5c6cd59d-15f2-41ee-8400-070c662b1d09\"", NULL},
        {"17", NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fr_arena arena = {0};
        char text[40] = "";
        bool is_time = fr_uuid_time(parse(&arena, rows[i].uuid), text);
        if (is_time != (rows[i].time != NULL) || (is_time && strcmp(text, rows[i].time) != 0)) {
            fail_msg("%s: got %s", rows[i].uuid, text);
        }
        fr_arena_done(&arena);
    }
}

/* ---------------------------------------------------------------- reduction */

static void documents_reduce_by_their_annotations(void **state)
{
    (void)state;
    static const char merge[] =
        "{\"reduce\":{\"strategy\":\"merge\"},\"properties\":{"
        "\"s\":{\"reduce\":{\"strategy\":\"sum\"}},\"lo\":{\"reduce\":{\"strategy\":"
        "\"minimize\"}},\"hi\":{\"reduce\":{\"strategy\":\"maximize\"}},\"f\":{\"reduce\":{"
        "\"strategy\":\"firstWriteWins\"}},\"l\":{\"reduce\":{\"strategy\":\"append\"}},"
        "\"k\":{\"reduce\":{\"strategy\":\"merge\",\"key\":[\"/i\"]},\"items\":{\"reduce\":{"
        "\"strategy\":\"merge\"},\"properties\":{\"n\":{\"reduce\":{\"strategy\":\"sum\"}}}}},"
        "\"gone\":{\"if\":{\"const\":\"-\"},\"then\":{\"reduce\":{\"strategy\":"
        "\"lastWriteWins\",\"delete\":true}}}}}";
    static const struct {
        const char *sentence, *schema, *left, *right, *result;
        bool deleted;
    } rows[] = {
        {"without annotation the last one wins", "{}", "{\"a\":1}", "{\"b\":2}", "{\"b\":2}",
         false},
        {"merge keeps what the right lacks", merge, "{\"a\":1,\"s\":1}", "{\"b\":2}",
         "{\"a\":1,\"b\":2,\"s\":1}", false},
        {"sum", merge, "{\"s\":9007199254740993}", "{\"s\":1}", "{\"s\":9007199254740994}", false},
        {"minimize and maximize", merge, "{\"hi\":1,\"lo\":1}", "{\"hi\":0.5,\"lo\":0.5}",
         "{\"hi\":1,\"lo\":0.5}", false},
        {"firstWriteWins", merge, "{\"f\":1}", "{\"f\":2}", "{\"f\":1}", false},
        {"append", merge, "{\"l\":[1]}", "{\"l\":[2,1]}", "{\"l\":[1,2,1]}", false},
        {"arrays merge by key", merge, "{\"k\":[{\"i\":1,\"n\":1},{\"i\":3,\"n\":1}]}",
         "{\"k\":[{\"i\":2,\"n\":5},{\"i\":3,\"n\":5}]}",
         "{\"k\":[{\"i\":1,\"n\":1},{\"i\":2,\"n\":5},{\"i\":3,\"n\":6}]}", false},
        {"a location with delete goes away", merge, "{\"a\":1,\"gone\":\"x\"}", "{\"gone\":\"-\"}",
         "{\"a\":1}", false},
        {"a tombstone by _meta/op", merge, "{\"a\":1}", "{\"_meta\":{\"op\":\"d\"}}",
         "{\"_meta\":{\"op\":\"d\"},\"a\":1}", true},
        {"a tombstone by annotation",
         "{\"reduce\":{\"strategy\":\"merge\"},\"if\":{\"required\":[\"dead\"]},\"then\":{"
         "\"reduce\":{\"strategy\":\"lastWriteWins\",\"delete\":true}}}",
         "{\"a\":1}", "{\"dead\":1}", "{\"dead\":1}", true},
        {"nothing on the left", merge, NULL, "{\"s\":5}", "{\"s\":5}", false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fr_arena arena = {0};
        struct fr_reduced reduced =
            fr_reduce(&arena, parse(&arena, rows[i].schema),
                      rows[i].left == NULL ? NULL : parse(&arena, rows[i].left),
                      parse(&arena, rows[i].right), true);
        if (reduced.error != NULL || reduced.deleted != rows[i].deleted) {
            fail_msg("%s: %s", rows[i].sentence, reduced.error);
        }
        expect_json(rows[i].sentence, reduced.doc, rows[i].result);
        fr_arena_done(&arena);
    }
}

static void strategies_that_are_not_played_are_named(void **state)
{
    (void)state;
    struct fr_arena arena = {0};
    assert_string_equal(
        fr_schema_unplayed(parse(&arena, "{\"properties\":{\"a\":{\"reduce\":{\"strategy\":"
                                         "\"jsonSchemaMerge\"}}}}")),
        "jsonSchemaMerge");
    assert_null(fr_schema_unplayed(parse(&arena, "{\"reduce\":{\"strategy\":\"sum\"}}")));
    fr_arena_done(&arena);
}

/* ---------------------------------------------------------------- selection */

static const char selection_schema[] =
    "{\"type\":\"object\",\"required\":[\"id\"],\"properties\":{\"id\":{\"type\":\"integer\"},"
    "\"Name\":{\"type\":\"string\"},\"name\":{\"type\":\"string\"},\"o\":{\"type\":\"object\","
    "\"properties\":{\"x\":{\"type\":\"string\"},\"y\":{\"type\":\"string\"}}},"
    "\"_meta\":{\"type\":\"object\",\"properties\":{\"op\":{\"type\":\"string\"},\"z\":{\"type\":"
    "\"string\"}}}}}";

/* Constraints: OPTIONAL for every projection, unless a row says otherwise. */
static struct fr_json *constraints_with(struct fr_arena *arena,
                                        const struct fr_projections *projections,
                                        const struct fr_json *special)
{
    struct fr_json *list = fr_json_new(arena, FR_ARRAY);
    for (size_t i = 0; i < projections->count; i++) {
        const char *field = projections->list[i].field;
        const struct fr_json *types = fr_json_get(special, field);
        for (uint32_t k = 0; k < (types == NULL ? 1 : types->count); k++) {
            struct fr_json *item = fr_json_new(arena, FR_OBJECT);
            struct fr_json *constraint = fr_json_new(arena, FR_OBJECT);
            const char *type = types == NULL ? "FIELD_OPTIONAL" : types->items[k]->text;
            const char *colon = strchr(type, ':');
            fr_json_set(arena, constraint, "type",
                        fr_json_string_n(arena, type,
                                         colon == NULL ? strlen(type) : (size_t)(colon - type)));
            if (colon != NULL) {
                fr_json_set(arena, constraint, "foldedField", fr_json_string(arena, colon + 1));
            }
            fr_json_set(arena, constraint, "reason", fr_json_string(arena, "because"));
            fr_json_set(arena, item, "field", fr_json_string(arena, field));
            fr_json_set(arena, item, "constraint", constraint);
            fr_json_push(arena, list, item);
        }
    }
    return list;
}

static void fields_are_selected_as_the_control_plane_does(void **state)
{
    (void)state;
    static const struct {
        const char *sentence, *fields, *constraints, *live, *result;
        bool case_insensitive;
    } rows[] = {
        {"recommended takes scalars of all depths and the core metadata, not objects",
         "{\"recommended\":true}", "{\"flow_document\":[\"LOCATION_REQUIRED\"]}", NULL,
         "{\"document\":\"flow_document\",\"keys\":[\"id\"],\"values\":[\"Name\",\"_meta/op\","
         "\"flow_published_at\",\"name\",\"o/x\",\"o/y\"]}",
         false},
        {"depth one takes the object itself", "{\"recommended\":1}", "{}", NULL,
         "{\"keys\":[\"id\"],\"values\":[\"Name\",\"_meta/op\",\"flow_published_at\",\"name\","
         "\"o\"]}",
         false},
        {"not recommended: only what is needed", "{\"recommended\":false}",
         "{\"flow_document\":[\"LOCATION_REQUIRED\"],\"o\":[\"FIELD_REQUIRED\"]}", NULL,
         "{\"document\":\"flow_document\",\"keys\":[\"id\"],\"values\":[\"o\"]}", false},
        {"exclude and require",
         "{\"recommended\":true,\"exclude\":[\"name\",\"o/x\"],\"require\":"
         "{\"_meta/z\":{\"castToString\":true}}}",
         "{}", NULL,
         "{\"fieldConfig\":{\"_meta/z\":{\"castToString\":true}},\"keys\":[\"id\"],\"values\":["
         "\"Name\",\"_meta/op\",\"_meta/z\",\"flow_published_at\",\"o/y\"]}",
         false},
        {"names that fold to one: the first is taken",
         "{\"recommended\":true,\"exclude\":[\"o\",\"o/x\",\"o/y\"]}", "{}", NULL,
         "{\"keys\":[\"id\"],\"values\":[\"Name\",\"_meta/op\",\"flow_published_at\"]}", true},
        {"a folded name that is said", "{\"recommended\":true}",
         "{\"o/x\":[\"FIELD_OPTIONAL:same\"],\"o/y\":[\"FIELD_OPTIONAL:same\"]}", NULL,
         "{\"keys\":[\"id\"],\"values\":[\"Name\",\"_meta/op\",\"flow_published_at\",\"name\","
         "\"o/x\"]}",
         false},
        {"forbidden and incompatible fields are left out", "{\"recommended\":true}",
         "{\"name\":[\"FIELD_FORBIDDEN\"],\"Name\":[\"INCOMPATIBLE\"]}", NULL,
         "{\"keys\":[\"id\"],\"values\":[\"_meta/op\",\"flow_published_at\",\"o/x\",\"o/y\"]}",
         false},
        {"a required field that is incompatible is a conflict", "{\"recommended\":true}",
         "{\"name\":[\"FIELD_REQUIRED\",\"INCOMPATIBLE\"]}", NULL, NULL, false},
        {"a live field that became incompatible is a conflict", "{\"recommended\":true}",
         "{\"name\":[\"INCOMPATIBLE\"]}", "{\"values\":[\"name\"]}", NULL, false},
        {"a forbidden key is a conflict", "{\"recommended\":true}",
         "{\"id\":[\"FIELD_FORBIDDEN\"]}", NULL, NULL, false},
        {"an excluded field that is required is a conflict",
         "{\"recommended\":true,\"exclude\":[\"name\"]}", "{\"name\":[\"FIELD_REQUIRED\"]}", NULL,
         NULL, false},
        {"a required field that the collection lacks is a conflict",
         "{\"recommended\":true,\"require\":{\"nope\":{}}}", "{}", NULL, NULL, false},
        {"live values stay selected", "{\"recommended\":false}", "{}", "{\"values\":[\"o\"]}",
         "{\"keys\":[\"id\"],\"values\":[\"o\"]}", false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fr_arena arena = {0};
        struct fr_projections projections = {0};
        struct fr_buf error = {0};
        const char *reason = NULL;
        assert_true(fr_projections_infer(&arena, parse(&arena, selection_schema), NULL,
                                         &projections, &reason));
        struct fr_selecting selecting = {
            .projections = &projections,
            .group_by = parse(&arena, "[\"id\"]"),
            .live = rows[i].live == NULL ? NULL : parse(&arena, rows[i].live),
            .fields = parse(&arena, rows[i].fields),
            .constraints =
                constraints_with(&arena, &projections, parse(&arena, rows[i].constraints)),
            .case_insensitive = rows[i].case_insensitive,
        };
        struct fr_json *selection = fr_select_fields(&arena, &selecting, &error);
        if ((selection == NULL) != (rows[i].result == NULL)) {
            fail_msg("%s: %s", rows[i].sentence, error.len > 0 ? error.data : "was selected");
        }
        if (selection != NULL) {
            expect_json(rows[i].sentence, selection, rows[i].result);
        }
        fr_buf_done(&error);
        fr_arena_done(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(locations_are_inferred_as_flow_does),
        cmocka_unit_test(every_collection_has_the_synthetic_projections),
        cmocka_unit_test(a_uuid_carries_its_publication_time),
        cmocka_unit_test(documents_reduce_by_their_annotations),
        cmocka_unit_test(strategies_that_are_not_played_are_named),
        cmocka_unit_test(fields_are_selected_as_the_control_plane_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
