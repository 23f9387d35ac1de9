/* The connector is killed at each kind of message; afterwards its tables are the oracle's. */
#include "whole.h"

static const struct {
    const char *point;
    unsigned count;
} points[] = {
    {"spec.sent", 1},
    {"validate.sent", 1},
    {"validated.received", 1},
    {"apply.before", 1},
    {"apply.sent", 1},
    {"applied.received", 1},
    {"open.before", 1},
    {"open.sent", 1},
    {"opened.received", 1},
    {"acknowledge.before", 2},
    {"acknowledge.sent", 1},
    {"acknowledge.sent", 3},
    {"acknowledged.received", 2},
    {"acknowledged.logged", 2},
    {"load.sent", 1},
    {"load.sent", 2},
    {"flush.sent", 2},
    {"loaded.received", 1},
    {"flushed.received", 2},
    {"store.before", 1},
    {"store.sent", 3},
    {"startCommit.before", 2},
    {"startCommit.sent", 2},
    {"startedCommit.received", 2},
    {"commit.logged", 2},
};

static void tables_survive_a_kill(enum fr_codec codec, bool is_v2)
{
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        struct whole whole;
        whole_begin(&whole, "");
        whole.options.codec = codec;
        whole.options.is_v2 = is_v2;
        whole.options.seed = i + 1;
        whole_kill_at(&whole, points[i].point, points[i].count);
        enum fr_end end = whole_run(&whole);
        if (end != FR_OK || whole.kills != 1 || whole.restarts != 0) {
            fail_msg("%s#%u: ended with %d: %s", points[i].point, points[i].count, (int)end,
                     whole.verdict);
        }
        whole_expect_tables(&whole, points[i].point);
        whole_end(&whole);
    }
}

static void tables_survive_a_kill_in_v1(void **state)
{
    (void)state;
    tables_survive_a_kill(FR_CODEC_PROTO, false);
}

static void tables_survive_a_kill_in_v2(void **state)
{
    (void)state;
    tables_survive_a_kill(FR_CODEC_JSON, true);
}

/* The same kill shows a connector that applies again what it has applied. */
static void a_connector_without_tokens_is_caught(void **state)
{
    (void)state;
    struct whole whole;
    whole_begin(&whole, "apply-twice");
    whole.options.codec = FR_CODEC_PROTO;
    whole_kill_at(&whole, "acknowledged.received", 2);
    (void)whole_run(&whole);
    struct fr_arena arena = {0};
    struct fr_buf text = {0};
    assert_true(fr_file_read(whole.store, &text));
    const struct fr_json *rows =
        fr_json_get(fr_json_get(parse(&arena, text.data), "rows"), "public/orders_delta");
    assert_true(rows->count > whole_dumped(&whole, &arena, 1)->count);
    fr_buf_done(&text);
    fr_arena_done(&arena);
    whole_end(&whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_survive_a_kill_in_v1),
        cmocka_unit_test(tables_survive_a_kill_in_v2),
        cmocka_unit_test(a_connector_without_tokens_is_caught),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
