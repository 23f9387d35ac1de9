/* Kills under the v2 runtime, JSON. */
#include "kills.h"

static void tables_survive_a_kill_in_v2(void **state)
{
    (void)state;
    tables_survive_a_kill(FR_CODEC_JSON, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_survive_a_kill_in_v2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
