/* Whole sessions: codecs and modes agree, runs can be continued, knobs do what they say. */
#include "whole.h"

static void codecs_and_modes_leave_the_same_tables(void **state)
{
    (void)state;
    struct fr_buf first = {0};
    for (int i = 0; i < 4; i++) {
        struct whole whole;
        struct fr_buf dumped = {0};
        struct fr_arena arena = {0};
        whole_begin(&whole, "");
        whole.options.codec = i % 2 == 0 ? FR_CODEC_JSON : FR_CODEC_PROTO;
        whole.options.is_v2 = i >= 2;
        assert_int_equal(whole_run(&whole), FR_OK);
        whole_expect_tables(&whole, "codecs and modes");
        assert_int_equal(whole.documents, 17);
        assert_int_equal(whole.transactions, i >= 2 ? 6 : 5);
        for (unsigned k = 0; k < 3; k++) {
            fr_json_put(&dumped, whole_dumped(&whole, &arena, k));
        }
        if (i == 0) {
            fr_buf_put(&first, dumped.data, dumped.len);
        }
        assert_string_equal(first.data, dumped.data);
        fr_buf_done(&dumped);
        fr_arena_done(&arena);
        whole_end(&whole);
    }
    fr_buf_done(&first);
}

static void a_run_continues_where_the_last_one_stopped(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct whole whole;
        whole_begin(&whole, "");
        whole.options.codec = FR_CODEC_JSON;
        whole.options.is_v2 = i == 1;
        whole.options.max_transactions = 2;
        whole.options.not_drained = true;
        assert_int_equal(whole_run(&whole), FR_OK);
        assert_int_equal(whole.transactions, 2);
        whole.options.max_transactions = 0;
        whole.options.not_drained = false;
        whole.options.seed = 5;
        if (whole_run(&whole) != FR_OK) {
            fail_msg("%s", whole.verdict);
        }
        whole_expect_tables(&whole, "continued");
        whole_end(&whole);
    }
}

static void a_finished_run_is_only_acknowledged_again(void **state)
{
    (void)state;
    struct whole whole;
    whole_begin(&whole, "");
    whole.options.codec = FR_CODEC_PROTO;
    assert_int_equal(whole_run(&whole), FR_OK);
    assert_int_equal(whole_run(&whole), FR_OK);
    assert_int_equal(whole.documents, 0);
    whole_expect_tables(&whole, "again");
    whole_end(&whole);
}

static void hard_deletes_leave_no_row(void **state)
{
    (void)state;
    struct whole whole;
    char config[128];
    whole_begin(&whole, "");
    (void)snprintf(config, sizeof(config), "%s/config", whole.dir);
    assert_true(fr_file_replace(config, "{\"hardDelete\":true}", 19));
    whole.options.codec = FR_CODEC_JSON;
    whole.options.config = config;
    whole.options.max_transactions = 4;
    if (whole_run(&whole) != FR_OK) {
        fail_msg("%s", whole.verdict);
    }
    struct fr_arena arena = {0};
    const struct fr_json *orders = whole_dumped(&whole, &arena, 0);
    for (uint32_t i = 0; i < orders->count; i++) {
        assert_false(fr_json_equal(fr_json_get(orders->items[i], "id"), parse(&arena, "1")));
    }
    fr_arena_done(&arena);
    whole_end(&whole);
}

static void forced_loads_ask_for_every_key(void **state)
{
    (void)state;
    struct whole whole;
    whole_begin(&whole, "");
    whole.options.force_loads = true;
    whole.options.early = FR_EARLY_ALL;
    assert_int_equal(whole_run(&whole), FR_OK);
    assert_true(whole.loads > whole.loaded);
    assert_int_equal(whole.loads, 16);
    whole_expect_tables(&whole, "forced loads");
    whole_end(&whole);
}

static void apply_is_called_again_while_it_returns_state(void **state)
{
    (void)state;
    struct whole whole;
    whole_begin(&whole, "apply-state");
    whole.options.until = FR_UNTIL_APPLY;
    assert_int_equal(whole_run(&whole), FR_OK);
    whole_end(&whole);
}

static void a_crash_is_survived_until_restarts_run_out(void **state)
{
    (void)state;
    struct whole whole;
    whole_begin(&whole, "crash-on-third-load");
    whole.options.force_loads = true;
    whole.options.max_restarts = 2;
    assert_int_equal(whole_run(&whole), FR_FAILED);
    assert_int_equal(whole.restarts, 2);
    whole_end(&whole);
}

static void a_marker_file_explains_one_death(void **state)
{
    (void)state;
    struct whole whole;
    char marker[128];
    whole_begin(&whole, "crash-on-third-load");
    (void)snprintf(marker, sizeof(marker), "%s/marker", whole.dir);
    assert_true(fr_file_replace(marker, "", 0));
    whole.options.force_loads = true;
    whole.options.kill_files[0] = marker;
    whole.options.kill_file_count = 1;
    assert_int_equal(whole_run(&whole), FR_FAILED);
    assert_int_equal(whole.kills, 1);
    assert_int_equal(whole.restarts, 0);
    whole_end(&whole);
}

/* Runs with a kill and tells whether a commit ended where the fixture has no transaction end. */
static bool cuts_elsewhere(uint64_t seed, bool same_boundaries)
{
    static const uint64_t marks[] = {3, 7, 10, 13, 17};
    struct whole whole;
    struct fr_reclog log = {0};
    struct fr_buf error = {0};
    bool elsewhere = false;
    whole_begin(&whole, "");
    whole.options.seed = seed;
    whole.options.same_boundaries = same_boundaries;
    whole_kill_at(&whole, "startCommit.sent", 2);
    assert_int_equal(whole_run(&whole), FR_OK);
    whole_expect_tables(&whole, "replayed");
    assert_true(fr_reclog_open(&log, whole.state, &error));
    for (size_t i = 0; i < log.commit_count; i++) {
        bool at_mark = false;
        for (size_t k = 0; k < sizeof(marks) / sizeof(marks[0]); k++) {
            at_mark = at_mark || log.commits[i].to == marks[k];
        }
        elsewhere = elsewhere || !at_mark;
    }
    fr_reclog_done(&log);
    whole_end(&whole);
    return elsewhere;
}

static void replayed_documents_come_in_other_transactions(void **state)
{
    (void)state;
    bool elsewhere = false;
    for (uint64_t seed = 1; seed <= 8 && !elsewhere; seed++) {
        elsewhere = cuts_elsewhere(seed, false);
    }
    assert_true(elsewhere);
    assert_false(cuts_elsewhere(1, true));
}

static void a_torn_record_counts_as_never_written(void **state)
{
    (void)state;
    struct whole whole;
    char path[128];
    whole_begin(&whole, "");
    whole.options.max_transactions = 1;
    assert_int_equal(whole_run(&whole), FR_OK);
    (void)snprintf(path, sizeof(path), "%s/recovery.jsonl", whole.state);
    int fd = open(path, O_WRONLY | O_APPEND);
    assert_int_equal(write(fd, "{\"from\":3", 9), 9);
    close(fd);
    whole.options.max_transactions = 0;
    if (whole_run(&whole) != FR_OK) {
        fail_msg("%s", whole.verdict);
    }
    whole_expect_tables(&whole, "torn record");
    whole_end(&whole);
}

static void a_kill_that_is_never_reached_fails_the_run(void **state)
{
    (void)state;
    struct whole whole;
    whole_begin(&whole, "");
    whole_kill_at(&whole, "store.sent", 1000);
    assert_int_equal(whole_run(&whole), FR_USAGE);
    assert_non_null(strstr(whole.verdict, "never reached"));
    whole_end(&whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codecs_and_modes_leave_the_same_tables),
        cmocka_unit_test(a_run_continues_where_the_last_one_stopped),
        cmocka_unit_test(a_finished_run_is_only_acknowledged_again),
        cmocka_unit_test(hard_deletes_leave_no_row),
        cmocka_unit_test(forced_loads_ask_for_every_key),
        cmocka_unit_test(apply_is_called_again_while_it_returns_state),
        cmocka_unit_test(a_crash_is_survived_until_restarts_run_out),
        cmocka_unit_test(a_marker_file_explains_one_death),
        cmocka_unit_test(replayed_documents_come_in_other_transactions),
        cmocka_unit_test(a_torn_record_counts_as_never_written),
        cmocka_unit_test(a_kill_that_is_never_reached_fails_the_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
