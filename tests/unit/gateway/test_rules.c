/* Statements by what they are for, and the rule file. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gateway/rules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void each_statement_of_the_connector_has_its_step(void **state)
{
    static const struct {
        const char *sql, *step;
    } rows[] = {
        {"SET json_parse_truncate_strings=ON", "set"},
        {"BEGIN", "begin"},
        {"LOCK \"s\".flow_checkpoints_v1", "lock"},
        {"SELECT fence, key_begin, key_end, checkpoint, checkpoint_tokens FROM flow_checkpoints_v1 "
         "WHERE "
         "materialization = $1",
         "check"},
        {"UPDATE flow_checkpoints_v1 SET fence = $1 WHERE materialization = $2", "owner"},
        {"INSERT INTO flow_checkpoints_v1 (materialization) VALUES ($1)", "owner"},
        {"CREATE TEMPORARY TABLE flow_temp_table_0 (id BIGINT) DISTSTYLE EVEN", "temp"},
        {"CREATE TEMPORARY TABLE flow_temp_table_0_deleted (id BIGINT)", "del.temp"},
        {"COPY flow_temp_table_0 FROM 's3://b/k' MANIFEST", "temp.copy"},
        {"COPY flow_temp_table_0_deleted FROM 's3://b/k' MANIFEST", "del.copy"},
        {"COPY public.orders (id) FROM 's3://b/k' MANIFEST", "put.direct"},
        {"SELECT pg_last_copy_count()", "count"},
        {"DELETE FROM orders USING flow_temp_table_0_deleted AS r WHERE orders.id = r.id",
         "del.exec"},
        {"DELETE FROM orders WHERE flow_published_at < $1", "trunc"},
        {"MERGE INTO orders USING flow_temp_table_0 AS s ON orders.id = s.id WHEN MATCHED",
         "put.merge"},
        {"DROP TABLE flow_temp_table_0", "drop"},
        {"SELECT 0, r.flow_document FROM flow_temp_table_0 AS l JOIN orders AS r ON l.id = r.id",
         "load.query"},
        {"UPDATE flow_checkpoints_v1 SET checkpoint_tokens = $1 WHERE materialization = $2",
         "token"},
        {"COMMIT", "commit"},
        {"ROLLBACK", "rollback"},
        {"ALTER TABLE orders ALTER COLUMN note TYPE VARCHAR(MAX)", "widen"},
        {"ALTER TABLE orders ADD COLUMN note TEXT;", "column"},
        {"SELECT COUNT(*) FROM stv_slices", "slices"},
        {"SELECT holder.pid FROM pg_locks JOIN svv_transactions AS t ON TRUE", "holder"},
        {"SELECT COUNT(*) FROM sys_query_history WHERE session_id = $1", "queue"},
        {"SELECT 1", "other"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strcmp(step_of(rows[i].sql), rows[i].step) != 0) {
            print_error("%s is %s, not %s\n", rows[i].sql, step_of(rows[i].sql), rows[i].step);
        }
        assert_string_equal(step_of(rows[i].sql), rows[i].step);
    }
}

static void a_rule_file_is_read_line_by_line(void **state)
{
    struct rules rules;
    char why[RULE_TEXT_MAX];
    (void)state;

    assert_true(rules_read("# comment\n\ncommit#2 before kill /m/1\nput.merge after cut /m/2\n"
                           "token rewrite SET a = $1=>SET b = $1\n"
                           "lock#3 before fail - XX000 1023\ntoken before run COMMIT; BEGIN\n"
                           "load.query short 2\ncommit answer ROLLBACK=>COMMIT\narm /m/armed\n"
                           "apply.commit#1 before cut -\nlock after silence /m/3\n"
                           "token before next /m/1 ROLLBACK; BEGIN\nbegin chatter 8\n",
                           step_names, &rules, why));
    assert_int_equal(rules.count, 11);
    assert_string_equal(rules.arm, "/m/armed");
    assert_string_equal(rules.items[7].step, "apply.commit");
    assert_string_equal(rules.items[0].step, "commit");
    assert_int_equal(rules.items[0].n, 2);
    assert_false(rules.items[0].is_after);
    assert_int_equal(rules.items[1].n, 0);
    assert_true(rules.items[1].is_after);
    assert_int_equal(rules.items[1].action, RULE_CUT);
    assert_string_equal(rules.items[2].from, "SET a = $1");
    assert_string_equal(rules.items[2].to, "SET b = $1");
    assert_int_equal(rules.items[3].action, RULE_FAIL);
    assert_string_equal(rules.items[3].marker, "-");
    assert_string_equal(rules.items[3].code, "XX000");
    assert_string_equal(rules.items[3].text, "1023");
    assert_int_equal(rules.items[4].action, RULE_RUN);
    assert_string_equal(rules.items[4].text, "COMMIT; BEGIN");
    assert_int_equal(rules.items[5].action, RULE_SHORT);
    assert_int_equal(rules.items[5].count, 2);
    assert_int_equal(rules.items[6].action, RULE_ANSWER);
    assert_int_equal(rules.items[8].action, RULE_SILENCE);
    assert_int_equal(rules.items[9].action, RULE_NEXT);
    assert_string_equal(rules.items[9].marker, "/m/1");
    assert_string_equal(rules.items[9].text, "ROLLBACK; BEGIN");
    assert_int_equal(rules.items[10].action, RULE_CHATTER);
    assert_int_equal(rules.items[10].count, 8);
}

static void what_comes_next_comes_once_behind_its_fault(void **state)
{
    char marker[] = "/tmp/rules-XXXXXX", text[200], next[64], why[RULE_TEXT_MAX];
    struct rules rules;
    (void)state;

    int fd = mkstemp(marker);
    assert_true(fd >= 0);
    close(fd);
    unlink(marker);
    snprintf(next, sizeof next, "%s.next", marker);
    snprintf(text, sizeof text, "commit before cut %s\ntoken before next %s ROLLBACK\n", marker,
             marker);
    assert_true(rules_read(text, step_names, &rules, why));
    assert_false(rule_take_next(&rules.items[1]));
    assert_true(rule_take(&rules.items[0]));
    assert_true(rule_take_next(&rules.items[1]));
    assert_false(rule_take_next(&rules.items[1]));
    unlink(marker);
    unlink(next);
}

static void a_rule_holds_for_its_number_and_fires_until_its_marker_is_there(void **state)
{
    char marker[] = "/tmp/rules-XXXXXX", text[200], why[RULE_TEXT_MAX];
    struct rules rules;
    (void)state;

    int fd = mkstemp(marker);
    assert_true(fd >= 0);
    close(fd);
    unlink(marker);
    snprintf(text, sizeof text,
             "commit#2 before kill %s\ncommit after cut -\ntoken rewrite a=>b\n"
             "token rewrite c=>d\n",
             marker);
    assert_true(rules_read(text, step_names, &rules, why));
    assert_null(rules_at(&rules, "commit", 1, false, RULE_RUN));
    assert_null(rules_at(&rules, "lock", 2, false, RULE_RUN));
    assert_ptr_equal(rules_at(&rules, "commit", 2, false, RULE_RUN), &rules.items[0]);
    assert_true(rule_take(&rules.items[0]));
    assert_false(rule_take(&rules.items[0]));
    assert_null(rules_at(&rules, "commit", 2, false, RULE_RUN));
    assert_ptr_equal(rules_at(&rules, "commit", 2, true, RULE_RUN), &rules.items[1]);
    assert_true(rule_take(&rules.items[1]));
    assert_true(rule_take(&rules.items[1]));
    assert_null(rules_at(&rules, "token", 1, false, RULE_RUN));
    const struct rule *first = rules_next(&rules, NULL, "token", 1, RULE_REWRITE);
    assert_ptr_equal(first, &rules.items[2]);
    assert_ptr_equal(rules_next(&rules, first, "token", 1, RULE_REWRITE), &rules.items[3]);
    assert_null(rules_next(&rules, &rules.items[3], "token", 1, RULE_REWRITE));
    unlink(marker);
}

static void a_rule_says_which_of_the_steps_it_means(void **state)
{
    static const struct {
        const char *which;
        unsigned meant[4], other[4]; /* ended by 0 */
    } rows[] = {
        {"", {1, 2, 1000000}, {0}},     {"#3", {3}, {1, 2, 4}},
        {"#3-5", {3, 4, 5}, {2, 6, 9}}, {"#3+", {3, 4, 1000000}, {1, 2}},
        {"%3", {3, 6, 300}, {1, 2, 4}},
    };
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rules rules;
        char why[RULE_TEXT_MAX], line[100];

        snprintf(line, sizeof line, "commit%s before cut -", rows[i].which);
        assert_true(rules_read(line, step_names, &rules, why));
        for (unsigned k = 0; rows[i].meant[k]; k++) {
            assert_non_null(rules_at(&rules, "commit", rows[i].meant[k], false, RULE_RUN));
        }
        for (unsigned k = 0; rows[i].other[k]; k++) {
            assert_null(rules_at(&rules, "commit", rows[i].other[k], false, RULE_RUN));
        }
    }
}

static void what_is_no_rule_is_refused(void **state)
{
    static const char *const rows[] = {
        "comit before kill /m\n",     "commit#0 before kill /m\n", "commit during kill /m\n",
        "commit before explode /m\n", "commit before kill\n",      "token rewrite nothing\n",
        "commit after late /m\n",     "commit after stop /m\n",    "commit#4-3 before cut /m",
        "commit#1x before cut /m",    "commit%0 before cut /m",    "commit#+ before cut /m",
        "token before next /m",       "token after next /m a",     "token before silence -",
        "begin chatter few",          "commit before hold -\n"};
    struct rules rules;
    char why[RULE_TEXT_MAX];
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rules_read(rows[i], step_names, &rules, why)) {
            print_error("accepted: %s", rows[i]);
        }
        assert_false(rules_read(rows[i], step_names, &rules, why));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_statement_of_the_connector_has_its_step),
        cmocka_unit_test(a_rule_file_is_read_line_by_line),
        cmocka_unit_test(a_rule_holds_for_its_number_and_fires_until_its_marker_is_there),
        cmocka_unit_test(what_comes_next_comes_once_behind_its_fault),
        cmocka_unit_test(a_rule_says_which_of_the_steps_it_means),
        cmocka_unit_test(what_is_no_rule_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
