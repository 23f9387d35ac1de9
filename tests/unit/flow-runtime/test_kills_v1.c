/* Kills under the v1 runtime, protobuf. */
#include "kills.h"

static void tables_survive_a_kill_in_v1(void **state)
{
    (void)state;
    tables_survive_a_kill(FR_CODEC_PROTO, false);
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
        cmocka_unit_test(a_connector_without_tokens_is_caught),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
