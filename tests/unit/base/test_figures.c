/* base/figures and base/histogram: what is counted. */

#include "base/figures.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void counters_durations_and_retries_are_added_row_by_row(void **state)
{
    struct figures total = {.loads = 1, .sql_retries = 2};
    struct figures more = {.loads = 10, .staged_bytes = 5, .sql_retries = 20};

    (void)state;
    figures_add_phase(&total, FIGURE_PHASE_apply, 7);
    figures_add_phase(&more, FIGURE_PHASE_apply, 70);
    more.retries[FIGURE_RETRY_s3][FIGURE_CAUSE_server] = 3;
    figures_add(&total, &more);
    assert_int_equal(total.loads, 11);
    assert_int_equal(total.staged_bytes, 5);
    assert_int_equal(total.sql_retries, 22);
    assert_int_equal(total.phases[FIGURE_PHASE_apply].count, 2);
    assert_int_equal(total.phases[FIGURE_PHASE_apply].sum_ms, 77);
    assert_int_equal(total.retries[FIGURE_RETRY_s3][FIGURE_CAUSE_server], 3);
}

static void each_row_names_its_own_field(void **state)
{
    struct figures figures = {.loads = 1};

    (void)state;
    assert_string_equal(figure_rows[0].name, "loads");
    assert_int_equal(figure_value(&figures, &figure_rows[0]), 1);
    for (unsigned i = 0; i < figure_row_count; i++) {
        assert_int_equal(figure_rows[i].offset, i * sizeof(uint64_t));
        assert_true(strlen(figure_rows[i].unit) > 0 && strlen(figure_rows[i].meaning) > 0);
    }
}

/* ---------------------------------------------------------------- buckets */

static const struct {
    const char *what;
    uint64_t ms;
    unsigned bucket;
} durations[] = {
    {"no time is in the first bucket", 0, 0},
    {"a bound belongs to its bucket", 5, 0},
    {"one more belongs to the next", 6, 1},
    {"a second", 1000, 7},
    {"the last bound", 3600000, HISTOGRAM_BUCKETS - 1},
    {"what is above all bounds", 3600001, HISTOGRAM_BUCKETS},
    {"what is far above them", UINT32_MAX, HISTOGRAM_BUCKETS},
};

static void a_duration_is_counted_in_one_bucket(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof durations / sizeof durations[0]; i++) {
        struct histogram histogram = {.count = 0};
        histogram_add(&histogram, durations[i].ms);
        for (unsigned k = 0; k <= HISTOGRAM_BUCKETS; k++) {
            if (histogram.counts[k] != (k == durations[i].bucket)) {
                fail_msg("%s: bucket %u has %d", durations[i].what, k, (int)histogram.counts[k]);
            }
        }
        assert_int_equal(histogram.count, 1);
        assert_int_equal(histogram.sum_ms, durations[i].ms);
    }
}

static void bounds_grow(void **state)
{
    (void)state;
    for (unsigned i = 1; i < HISTOGRAM_BUCKETS; i++) {
        assert_true(histogram_bounds_ms[i - 1] < histogram_bounds_ms[i]);
    }
}

/* ---------------------------------------------------------------- tables */

static void more_tables_than_there_is_room_for_share_one_row(void **state)
{
    struct figures figures = {.loads = 0};
    char name[40];

    (void)state;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < FIGURE_TABLES + 10; i++) {
            (void)snprintf(name, sizeof name, "table %d", i);
            figures_table(&figures, span_of(name))->copied_rows++;
        }
    }
    assert_int_equal(figures.tables.count, FIGURE_TABLES);
    assert_true(figures.tables.has_other);
    assert_int_equal(figures.tables.items[0].copied_rows, 2);
    assert_string_equal(figures.tables.items[FIGURE_TABLES].name, "other");
    assert_int_equal(figures.tables.items[FIGURE_TABLES].copied_rows, 20);
}

static void a_name_that_does_not_fit_is_not_cut(void **state)
{
    struct figures figures = {.loads = 0};
    char name[FIGURE_TABLE_NAME + 1];

    (void)state;
    memset(name, 'x', sizeof name);
    struct span fits = {name, FIGURE_TABLE_NAME - 1};
    struct span does_not = {name, FIGURE_TABLE_NAME};
    assert_ptr_equal(figures_table(&figures, does_not), &figures.tables.items[FIGURE_TABLES]);
    assert_ptr_equal(figures_table(&figures, fits), &figures.tables.items[0]);
    /* Else there would be two rows of one name. */
    assert_ptr_equal(figures_table(&figures, span_of("other")),
                     &figures.tables.items[FIGURE_TABLES]);
    assert_int_equal(figures.tables.count, 1);
}

static void nobody_has_to_count(void **state)
{
    (void)state;
    figures_add_phase(NULL, FIGURE_PHASE_apply, 1);
    figures_add_retry(NULL, FIGURE_RETRY_s3, NULL);
    assert_null(figures_table(NULL, span_of("t")));
}

/* ---------------------------------------------------------------- causes */

static const struct {
    const char *what;
    enum error_code code;
    const char *origin;
    enum figure_cause cause;
} troubles[] = {
    {"the bucket asks to slow down", ERROR_HTTP, "503 SlowDown", FIGURE_CAUSE_throttled},
    {"a gateway has enough", ERROR_HTTP, "429", FIGURE_CAUSE_throttled},
    {"the bucket broke", ERROR_HTTP, "500 InternalError", FIGURE_CAUSE_server},
    {"our bytes came too slowly", ERROR_HTTP, "400 RequestTimeout", FIGURE_CAUSE_timeout},
    {"libcurl waited too long", ERROR_HTTP, "CURLE_OPERATION_TIMEDOUT", FIGURE_CAUSE_timeout},
    {"a request was cut off", ERROR_HTTP, "CURLE_RECV_ERROR", FIGURE_CAUSE_connection},
    {"the body was damaged", ERROR_HTTP, "400 BadDigest", FIGURE_CAUSE_other},
    {"we waited too long", ERROR_TIMEOUT, "", FIGURE_CAUSE_timeout},
    {"the line broke", ERROR_SYSTEM, "ECONNRESET", FIGURE_CAUSE_connection},
    {"a serialization failure", ERROR_SQL, "40001", FIGURE_CAUSE_conflict},
    {"a deadlock", ERROR_SQL, "40P01", FIGURE_CAUSE_conflict},
    {"Redshift's 1023", ERROR_SQL, "XX000", FIGURE_CAUSE_conflict},
    {"the server shuts down", ERROR_SQL, "57P01", FIGURE_CAUSE_connection},
    {"too many connections", ERROR_SQL, "53300", FIGURE_CAUSE_throttled},
    {"anything else", ERROR_SQL, "22001", FIGURE_CAUSE_other},
    {"our own words", ERROR_INTERNAL, "", FIGURE_CAUSE_other},
};

static void an_error_has_one_cause_of_a_short_list(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof troubles / sizeof troubles[0]; i++) {
        struct error *err =
            error_new_from(troubles[i].code, ERROR_RETRY, troubles[i].origin, "trouble");
        struct figures figures = {.loads = 0};
        figures_add_retry(&figures, FIGURE_RETRY_lookup, err);
        if (figures.retries[FIGURE_RETRY_lookup][troubles[i].cause] != 1) {
            fail_msg("%s: it is %s", troubles[i].what, figure_cause_names[figure_cause_of(err)]);
        }
        error_free(err);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counters_durations_and_retries_are_added_row_by_row),
        cmocka_unit_test(each_row_names_its_own_field),
        cmocka_unit_test(a_duration_is_counted_in_one_bucket),
        cmocka_unit_test(bounds_grow),
        cmocka_unit_test(more_tables_than_there_is_room_for_share_one_row),
        cmocka_unit_test(a_name_that_does_not_fit_is_not_cut),
        cmocka_unit_test(nobody_has_to_count),
        cmocka_unit_test(an_error_has_one_cause_of_a_short_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
