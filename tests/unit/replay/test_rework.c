/* replay/rework: the state that a replayed task builds up, and what is sent in place of a captured
 * request. */

#include "replay/rework.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void patches_are_merged_as_rfc_7396_says(void **state)
{
    static const struct {
        const char *why, *target, *patch, *want;
    } rows[] = {
        {"nothing there", "", "{\"a\":1,\"b\":null}", "{\"a\":1}"},
        {"a member is replaced", "{\"a\":1,\"b\":2}", "{\"a\":{\"c\":3}}",
         "{\"a\":{\"c\":3},\"b\":2}"},
        {"a member is removed", "{\"a\":1,\"b\":2}", "{\"a\":null}", "{\"b\":2}"},
        {"within an object", "{\"a\":{\"b\":1,\"c\":2}}", "{\"a\":{\"b\":null,\"d\":[1]}}",
         "{\"a\":{\"c\":2,\"d\":[1]}}"},
        {"nulls in a new object", "{}", "{\"a\":{\"b\":null,\"c\":{\"d\":null}}}",
         "{\"a\":{\"c\":{}}}"},
        {"an object in place of a text", "{\"a\":\"x\"}", "{\"a\":{\"b\":1}}", "{\"a\":{\"b\":1}}"},
        {"an array is replaced whole", "{\"a\":[1,2]}", "{\"a\":[{\"b\":null}]}",
         "{\"a\":[{\"b\":null}]}"},
        {"removing what is not there", "{\"a\":1}", "{\"b\":null}", "{\"a\":1}"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf got;
        buf_init(&got, 4096);
        struct error *err = rework_merge(span_of(rows[i].target), span_of(rows[i].patch), &got);
        if (err || !span_is(buf_view(&got), rows[i].want)) {
            fail_msg("%s: %s", rows[i].why, err ? error_text(err) : got.data);
        }
        buf_done(&got);
    }
}

/* One session of JSON frames: answers come in, and requests go out with what they said. */
static void requests_carry_the_replays_own_state_and_schema(void **state)
{
    static const struct {
        bool is_response;
        const char *frame, *want;
    } rows[] = {
        {false, "{\"spec\":{\"config\":{}}}", "{\"spec\":{\"config\":{}}}"},
        {true, "{\"applied\":{\"state\":{\"updated\":{\"v\":1},\"mergePatch\":true}}}", NULL},
        {false,
         "{\"open\":{\"materialization\":{\"bindings\":[{\"resourcePath\":[\"old\",\"old\"]},{"
         "\"resourcePath\":[\"other\",\"t\"]}],\"config\":{\"schema\":\"old\"}},\"state\":{\"x\":9}"
         "}"
         "}",
         "{\"open\":{\"materialization\":{\"bindings\":[{\"resourcePath\":[\"new\",\"old\"]},{"
         "\"resourcePath\":[\"other\",\"t\"]}],\"config\":{\"schema\":\"new\",\"password\":\"p\"}},"
         "\"state\":{\"v\":1}}}"},
        {false, "{\"acknowledge\":{\"statePatches\":[]}}",
         "{\"acknowledge\":{\"statePatches\":[]}}"},
        {true, "{\"acknowledged\":{}}", NULL},
        {true, "{\"startedCommit\":{\"state\":{\"updated\":{\"f\":\"mine\"}}}}", NULL},
        {false, "{\"acknowledge\":{\"statePatches\":[{\"f\":\"theirs\"}]}}",
         "{\"acknowledge\":{\"statePatches\":[{\"f\":\"mine\"}\t]}}"},
        {true, "{\"acknowledged\":{\"state\":{\"updated\":{\"f\":null}}}}", NULL},
        {false, "{\"flush\":{\"statePatches\":[{\"f\":7}]}}",
         "{\"flush\":{\"statePatches\":[{\"f\":null}\t]}}"},
        {false, "{\"open\":{\"state\":{\"f\":\"theirs\"}}}", "{\"open\":{\"state\":{\"v\":1}}}"},
        {false, "{\"acknowledge\":{\"statePatches\":[]}}",
         "{\"acknowledge\":{\"statePatches\":[]}}"},
    };
    struct rework rework;

    (void)state;
    rework_init(&rework, SPAN_LIT("{\"schema\":\"new\",\"password\":\"p\"}"));
    rework.codec = PROTO_CODEC_JSON;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct span frame = span_of(rows[i].frame);
        const unsigned kind = proto_frame_kind(PROTO_CODEC_JSON, rows[i].is_response, frame);
        struct buf got;
        buf_init(&got, 65536);
        if (rows[i].is_response) {
            assert_null(rework_take_response(&rework, kind, frame));
        } else {
            assert_null(rework_request(&rework, kind, frame, &got));
            assert_string_equal(got.data, rows[i].want);
        }
        buf_done(&got);
    }
    rework_done(&rework);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patches_are_merged_as_rfc_7396_says),
        cmocka_unit_test(requests_carry_the_replays_own_state_and_schema),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
