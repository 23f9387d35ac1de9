/* Each broken rule ends the run with the rule named; each lost or changed document is seen. */
#include "whole.h"

static const struct {
    const char *flaw;
    enum fr_end end;
    const char *words;
} rows[] = {
    {"protocol", FR_VIOLATION, "protocol is 3032023"},
    {"unknown-key", FR_VIOLATION, "no unknown"},
    {"missing-binding", FR_VIOLATION, "one binding per binding"},
    {"no-path", FR_VIOLATION, "resourcePath must not be empty"},
    {"same-path", FR_VIOLATION, "unique across bindings"},
    {"no-reason", FR_VIOLATION, "has a reason"},
    {"two-applied", FR_VIOLATION, "no output after the last answer"},
    {"apply-forever", FR_VIOLATION, "converges"},
    {"loaded-early", FR_VIOLATION, "no Loaded before Acknowledged"},
    {"acknowledged-twice", FR_VIOLATION, "exactly once per cycle"},
    {"flushed-early", FR_VIOLATION, "rule: "},
    {"flushed-with-text", FR_VIOLATION, "rule: "},
    {"loaded-binding", FR_VIOLATION, "a binding of Open"},
    {"loaded-twice", FR_VIOLATION, "returned once"},
    {"loaded-in-store", FR_VIOLATION, "during the Store phase"},
    {"pretty-state", FR_VIOLATION, "no raw tab or newline"},
    {"empty-state", FR_VIOLATION, "state"},
    {"late-output", FR_VIOLATION, "no output after the last answer"},
    {"exit-code", FR_VIOLATION, "exit 0 at a clean end"},
    {"silent-exit-on-flush", FR_VIOLATION, "a process that exits 0 has answered"},
    {"wrong-document", FR_MISMATCH, "differs from what was stored"},
    {"drop-store", FR_MISMATCH, "was not loaded"},
    {"crash-on-store", FR_FAILED, "crashed on purpose"},
};

static void flaws_are_caught(enum fr_codec codec)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct whole whole;
        whole_begin(&whole, rows[i].flaw);
        whole.options.codec = codec;
        whole.options.is_v2 = i % 2 == 0 && strcmp(rows[i].flaw, "late-output") != 0;
        enum fr_end end = whole_run(&whole);
        if (end != rows[i].end || strstr(whole.verdict, rows[i].words) == NULL) {
            fail_msg("%s: ended with %d: %s", rows[i].flaw, (int)end, whole.verdict);
        }
        whole_end(&whole);
    }
}

static void flaws_are_caught_in_json(void **state)
{
    (void)state;
    flaws_are_caught(FR_CODEC_JSON);
}

static void flaws_are_caught_in_protobuf(void **state)
{
    (void)state;
    flaws_are_caught(FR_CODEC_PROTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flaws_are_caught_in_json),
        cmocka_unit_test(flaws_are_caught_in_protobuf),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
