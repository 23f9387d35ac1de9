/* The order of statements, which flights they form, and what each answer must be. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "txn/plan.h"

#include <stdio.h>

static struct arena *arena;
static struct secret *secret;
static struct rs_table metadata, table;
static struct rs_column columns[3];

static int set_up(void **state)
{
    (void)state;
    arena = arena_new((size_t)64 * 1024 * 1024);
    secret = secret_new(SPAN_LIT("topsecret"));
    rs_metadata_table(arena, SPAN_NONE, &metadata);
    columns[0] = (struct rs_column){.field = SPAN_LIT("id"),
                                    .identifier = SPAN_LIT("id"),
                                    .is_key = true,
                                    .type = {.ddl = SPAN_LIT("BIGINT")}};
    columns[1] = (struct rs_column){.field = SPAN_LIT("note"),
                                    .identifier = SPAN_LIT("note"),
                                    .char_max_length = 65535,
                                    .type = {.ddl = SPAN_LIT("TEXT"), .is_text = true}};
    columns[2] = (struct rs_column){.field = SPAN_LIT("flow_document"),
                                    .identifier = SPAN_LIT("flow_document"),
                                    .is_document = true,
                                    .type = {.ddl = SPAN_LIT("SUPER")}};
    table = (struct rs_table){.path = {SPAN_LIT("orders")},
                              .path_count = 1,
                              .identifier = SPAN_LIT("orders"),
                              .columns = columns,
                              .column_count = 3,
                              .key_count = 1,
                              .has_document = true};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    secret_free(secret);
    arena_free(arena);
    return 0;
}

static const char *const step_names[] = {"WIDEN",  "BEGIN",  "LOCK",   "CHECK",  "TEMP",
                                         "COPY",   "COUNT",  "DELETE", "MERGE",  "DROP",
                                         "EXPIRE", "TOKENS", "QUERY",  "COMMIT", "ROLLBACK"};

/* "BEGIN| LOCK| CHECK COPY COUNT ...": a bar ends a flight */
static const char *outline(const struct plan *plan)
{
    char *text = arena_strdup(arena, "");
    for (unsigned i = 0; i < plan->count; i++) {
        text = arena_printf(arena, "%s%s%s%s", text, i ? " " : "", step_names[plan->notes[i].step],
                            plan->statements[i].sync ? "|" : "");
    }
    return text;
}

static struct plan apply(const struct plan_work *works, unsigned count)
{
    struct plan plan;
    struct plan_apply facts = {
        .metadata = &metadata,
        .task = "acme/task",
        .key_begin = 0,
        .key_end = UINT32_MAX,
        .fence = 12,
        .tokens_json = SPAN_LIT("{}"),
        .works = works,
        .work_count = count,
        .copy = {.bucket = "bkt",
                 .access_key_id = "AK",
                 .secret_access_key = secret,
                 .region = "r"},
    };
    plan_apply(&plan, arena, &facts);
    return plan;
}

static void new_rows_are_copied_straight_into_the_target(void **state)
{
    struct plan_work work = {
        .binding = 0, .table = &table, .staged = {[ENTRY_STORE] = {SPAN_LIT("m"), 9}}};
    struct plan plan = apply(&work, 1);
    (void)state;

    assert_string_equal(outline(&plan), "BEGIN| LOCK| CHECK COPY COUNT TOKENS| COMMIT|");
    assert_int_equal(plan.notes[4].expected_rows, 9);
    assert_non_null(strstr(plan.statements[3].sql, "s3://bkt/m"));
}

static void known_rows_are_merged_into_the_target(void **state)
{
    struct plan_work work = {
        .binding = 3, .table = &table, .staged = {[ENTRY_MERGE] = {SPAN_LIT("m"), 9}}};
    struct plan plan = apply(&work, 1);
    (void)state;

    assert_string_equal(outline(&plan), "BEGIN| LOCK| CHECK TEMP COPY COUNT MERGE DROP TOKENS| "
                                        "COMMIT|");
    assert_int_equal(plan.notes[5].expected_rows, 9);
    assert_non_null(strstr(plan.statements[4].sql, "flow_temp_table_3 FROM 's3://bkt/m'"));
}

/* DELETE and MERGE see the table as the lookups saw it: nothing new is there before them. */
static void deletes_come_first_then_merges_then_new_rows(void **state)
{
    struct plan_work work = {.binding = 3,
                             .table = &table,
                             .staged = {[ENTRY_DELETE] = {SPAN_LIT("d"), 2},
                                        [ENTRY_MERGE] = {SPAN_LIT("m"), 9},
                                        [ENTRY_STORE] = {SPAN_LIT("s"), 4}}};
    struct plan plan = apply(&work, 1);
    (void)state;

    assert_string_equal(outline(&plan),
                        "BEGIN| LOCK| CHECK TEMP COPY COUNT DELETE DROP TEMP COPY COUNT MERGE DROP "
                        "COPY COUNT TOKENS| COMMIT|");
    assert_int_equal(plan.notes[5].expected_rows, 2);
    assert_int_equal(plan.notes[10].expected_rows, 9);
    assert_int_equal(plan.notes[14].expected_rows, 4);
    assert_non_null(strstr(plan.statements[4].sql, "flow_temp_table_3_deleted FROM 's3://bkt/d'"));
    assert_non_null(strstr(plan.statements[9].sql, "flow_temp_table_3 FROM 's3://bkt/m'"));
    assert_non_null(strstr(plan.statements[13].sql, "COPY orders ("));
    assert_non_null(strstr(plan.statements[13].sql, "'s3://bkt/s'"));
    for (unsigned i = 0; i < plan.count; i++) {
        assert_int_equal(plan.notes[i].ends_binding, i == 14);
    }
}

static void what_a_backfill_superseded_goes_after_all_else(void **state)
{
    const struct rs_column published = {.identifier = SPAN_LIT("flow_published_at")};
    struct plan_work works[] = {
        {.binding = 1,
         .table = &table,
         .staged = {[ENTRY_STORE] = {SPAN_LIT("s"), 4}},
         .delete_before = SPAN_LIT("2026-01-02T03:04:05.000006Z"),
         .published_at = &published},
        {.binding = 2,
         .table = &table,
         .delete_before = SPAN_LIT("2026-01-02T03:04:05.000007Z"),
         .published_at = &published},
    };
    struct plan plan = apply(works, 2);
    (void)state;

    assert_string_equal(outline(&plan),
                        "BEGIN| LOCK| CHECK COPY COUNT EXPIRE EXPIRE TOKENS| COMMIT|");
    assert_string_equal(plan.statements[5].sql, "DELETE FROM orders WHERE flow_published_at < $1");
    assert_string_equal(plan.statements[5].params[0], "2026-01-02T03:04:05.000006Z");
    assert_string_equal(plan.statements[6].params[0], "2026-01-02T03:04:05.000007Z");
    assert_true(plan.notes[5].ends_binding && plan.notes[6].ends_binding);
    assert_false(plan.notes[4].ends_binding);
}

/* Not that anybody stages such. */
static void work_of_nothing_ends_nothing(void **state)
{
    struct plan_work work = {.binding = 1, .table = &table};
    struct plan plan = apply(&work, 1);
    (void)state;

    assert_string_equal(outline(&plan), "BEGIN| LOCK| CHECK TOKENS| COMMIT|");
    for (unsigned i = 0; i < plan.count; i++) {
        assert_false(plan.notes[i].ends_binding);
    }
}

static void columns_are_widened_before_the_transaction_begins(void **state)
{
    const struct rs_column *widen[] = {&columns[1]};
    struct plan_work work = {.table = &table,
                             .staged = {[ENTRY_STORE] = {SPAN_LIT("m"), 0}},
                             .widen = widen,
                             .widen_count = 1};
    struct plan plan = apply(&work, 1);
    (void)state;

    assert_string_equal(outline(&plan), "WIDEN| BEGIN| LOCK| CHECK COPY COUNT TOKENS| COMMIT|");
    assert_string_equal(plan.statements[0].ignore_sqlstate, "0A000");
    assert_ptr_equal(plan.notes[0].column, &columns[1]);
}

static void all_tables_are_written_in_one_transaction(void **state)
{
    struct plan_work works[] = {
        {.binding = 0, .table = &table, .staged = {[ENTRY_STORE] = {SPAN_LIT("m"), 0}}},
        {.binding = 1, .table = &table, .staged = {[ENTRY_STORE] = {SPAN_LIT("n"), 0}}},
    };
    struct plan plan = apply(works, 2);
    (void)state;

    assert_string_equal(outline(&plan), "BEGIN| LOCK| CHECK COPY COUNT COPY COUNT TOKENS| COMMIT|");
}

static void after_an_unknown_outcome_the_check_goes_first_alone(void **state)
{
    struct plan_work work = {
        .binding = 0, .table = &table, .staged = {[ENTRY_STORE] = {SPAN_LIT("m"), 0}}};
    struct plan plan;
    struct plan_apply facts = {
        .metadata = &metadata,
        .task = "acme/task",
        .tokens_json = SPAN_LIT("{}"),
        .must_check_first = true,
        .works = &work,
        .work_count = 1,
        .copy = {.bucket = "bkt",
                 .access_key_id = "AK",
                 .secret_access_key = secret,
                 .region = "r"},
    };
    (void)state;

    plan_apply(&plan, arena, &facts);
    assert_string_equal(outline(&plan), "BEGIN| LOCK| CHECK| COPY COUNT TOKENS| COMMIT|");
}

static void tokens_are_written_only_under_our_own_mark(void **state)
{
    struct plan plan = apply(NULL, 0);
    const struct pgc_statement *tokens = &plan.statements[plan.count - 2];
    (void)state;

    assert_string_equal(outline(&plan), "BEGIN| LOCK| CHECK TOKENS| COMMIT|");
    assert_int_equal(tokens->param_count, 5);
    assert_string_equal(tokens->params[0], "{}");
    assert_string_equal(tokens->params[1], "acme/task");
    assert_string_equal(tokens->params[3], "4294967295");
    assert_string_equal(tokens->params[4], "12");
    assert_non_null(strstr(tokens->sql, "fence = $5"));
}

static void no_label_holds_a_secret(void **state)
{
    struct plan_work work = {.table = &table, .staged = {[ENTRY_MERGE] = {SPAN_LIT("m"), 0}}};
    struct plan plan = apply(&work, 1);
    bool seen = false;
    (void)state;

    for (unsigned i = 0; i < plan.count; i++) {
        assert_null(strstr(plan.statements[i].label, "topsecret"));
        seen |= strstr(plan.statements[i].sql, "topsecret") != NULL;
    }
    assert_true(seen); /* it must stand in COPY, or the test proves nothing */
}

static void keys_are_looked_up_in_one_flight_that_leaves_nothing(void **state)
{
    struct plan_lookup lookups[] = {
        {.binding = 0,
         .table = &table,
         .manifest = SPAN_LIT("k"),
         .rows = 5,
         .key_text_bytes = 300},
        {.binding = 2, .table = &table, .manifest = SPAN_LIT("l"), .rows = 6},
    };
    struct plan_copy copy = {
        .bucket = "bkt", .access_key_id = "AK", .secret_access_key = secret, .region = "r"};
    struct plan plan;
    (void)state;

    plan_load(&plan, arena, lookups, 2, &copy);
    assert_string_equal(outline(&plan), "BEGIN TEMP COPY COUNT TEMP COPY COUNT QUERY ROLLBACK|");
    assert_int_equal(plan.notes[3].expected_rows, 5);
    assert_int_equal(plan.notes[6].expected_rows, 6);
    assert_null(strstr(plan.statements[2].sql, "TRUNCATECOLUMNS"));
    assert_non_null(strstr(plan.statements[7].sql, "UNION ALL"));
}

static void keys_that_have_bounds_are_looked_up_between_them(void **state)
{
    const struct value keys[] = {{.kind = VALUE_INT, .number.i = 40},
                                 {.kind = VALUE_INT, .number.i = -2}};
    struct key_bounds bounds = {0};
    struct plan_copy copy = {
        .bucket = "bkt", .access_key_id = "AK", .secret_access_key = secret, .region = "r"};
    struct plan plan;
    (void)state;

    columns[0].type.flat = RS_FLAT_INTEGER;
    for (unsigned i = 0; i < ARRAY_LEN(keys); i++) {
        bounds_note(&bounds, &columns[0], &keys[i]);
    }
    struct plan_lookup lookups[] = {
        {.binding = 0, .table = &table, .manifest = SPAN_LIT("k"), .rows = 2},
        {.binding = 1, .table = &table, .manifest = SPAN_LIT("l"), .rows = 2, .bounds = &bounds},
    };
    plan_load(&plan, arena, lookups, 2, &copy);
    const struct pgc_statement *query = &plan.statements[plan.count - 2];
    assert_non_null(strstr(query->sql, " ON l.id = r.id UNION ALL "));
    assert_non_null(strstr(query->sql, " ON l.id = r.id AND r.id BETWEEN $1 AND $2"));
    assert_int_equal(query->param_count, 2);
    assert_string_equal(query->params[0], "-2");
    assert_string_equal(query->params[1], "40");
}

static void work_without_row_counts_is_not_counted(void **state)
{
    struct plan_work work = {.table = &table,
                             .staged = {[ENTRY_DELETE] = {SPAN_LIT("d"), PLAN_UNCOUNTED},
                                        [ENTRY_MERGE] = {SPAN_LIT("m"), PLAN_UNCOUNTED},
                                        [ENTRY_STORE] = {SPAN_LIT("s"), PLAN_UNCOUNTED}},
                             .zstd = true};
    struct plan plan = apply(&work, 1);
    unsigned copies = 0;
    (void)state;

    for (unsigned i = 0; i < plan.count; i++) {
        assert_int_not_equal(plan.notes[i].step, PLAN_COUNT);
        if (plan.notes[i].step == PLAN_COPY) {
            assert_non_null(strstr(plan.statements[i].sql, " ZSTD"));
            copies++;
        }
    }
    assert_int_equal(copies, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(keys_that_have_bounds_are_looked_up_between_them, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(work_without_row_counts_is_not_counted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(new_rows_are_copied_straight_into_the_target, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_a_backfill_superseded_goes_after_all_else, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(work_of_nothing_ends_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(known_rows_are_merged_into_the_target, set_up, tear_down),
        cmocka_unit_test_setup_teardown(deletes_come_first_then_merges_then_new_rows, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(columns_are_widened_before_the_transaction_begins, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(all_tables_are_written_in_one_transaction, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(after_an_unknown_outcome_the_check_goes_first_alone, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(tokens_are_written_only_under_our_own_mark, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(no_label_holds_a_secret, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keys_are_looked_up_in_one_flight_that_leaves_nothing,
                                        set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
