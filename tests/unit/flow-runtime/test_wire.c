/* Messages against wire dumps, and what is refused in responses. */
#include "harness.h"

#include "wire.h"

static void requests_have_the_known_bytes(void **state)
{
    (void)state;
    static const struct {
        const char *json, *hex;
    } rows[] = {
        {"{\"flush\":{}}", "32 00"},
        {"{\"acknowledge\":{}}", "4a 00"},
        {"{\"load\":{\"binding\":0,\"keyPacked\":\"FSoCaGkA\"}}",
         "2a 0a 08 00 1a 06 15 2a 02 68 69 00"},
        {"{\"load\":{\"keyPacked\":\"FSoCaGkA\"}}", "2a 08 1a 06 15 2a 02 68 69 00"},
        {"{\"open\":{\"range\":{\"keyEnd\":4294967295}}}", "22 07 1a 05 1d ff ff ff ff"},
        {"{\"spec\":{\"connectorType\":\"IMAGE\",\"config\":{}}}", "0a 06 08 08 12 02 7b 7d"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fr_arena arena = {0};
        struct fr_buf bytes = {0};
        fr_wire_encode(&bytes, &fr_request, parse(&arena, rows[i].json));
        expect_bytes(rows[i].json, &bytes, rows[i].hex);
        fr_buf_done(&bytes);
        fr_arena_done(&arena);
    }
}

static void responses_are_read_from_the_known_bytes(void **state)
{
    (void)state;
    static const struct {
        const char *hex, *json;
    } rows[] = {
        {"32 00", "{\"flushed\":{}}"},
        {"42 00", "{\"acknowledged\":{}}"},
        {"22 00", "{\"opened\":{}}"},
        {"22 02 0a 00", "{\"opened\":{\"runtimeCheckpoint\":{}}}"},
        {"22 08 0a 06 f8 ff ff ff 0f 01", "{\"opened\":{\"runtimeCheckpoint\":{}}}"},
        {"2a 0c 08 01 12 08 7b 22 69 64 22 3a 37 7d",
         "{\"loaded\":{\"binding\":1,\"doc\":{\"id\":7}}}"},
        {"3a 0d 0a 0b 0a 07 7b 22 61 22 3a 31 7d 10 01",
         "{\"startedCommit\":{\"state\":{\"mergePatch\":true,\"updated\":{\"a\":1}}}}"},
        {"0a 05 08 d7 87 b9 01", "{\"spec\":{\"protocol\":3032023}}"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fr_arena arena = {0};
        struct fr_buf bytes = {0};
        struct fr_buf error = {0};
        put_hex(&bytes, rows[i].hex);
        expect_json(rows[i].hex,
                    fr_wire_decode(&arena, &fr_response, bytes.data, bytes.len, &error),
                    rows[i].json);
        fr_buf_done(&bytes);
        fr_buf_done(&error);
        fr_arena_done(&arena);
    }
}

static void a_checkpoint_has_the_known_bytes_and_reads_back(void **state)
{
    (void)state;
    static const char json[] =
        "{\"sources\":{\"k\":{\"producers\":[{\"id\":\"BwxmKx0J\",\"state\":{\"begin\":\"-1\","
        "\"lastAck\":\"309\"}}],\"readThrough\":\"4096\"}}}";
    struct fr_arena arena = {0};
    struct fr_buf bytes = {0};
    struct fr_buf error = {0};
    fr_wire_encode(&bytes, &fr_checkpoint, parse(&arena, json));
    expect_bytes("checkpoint", &bytes,
                 "0a 28 0a 01 6b 12 23 08 80 20 12 1e 0a 06 07 0c 66 2b 1d 09 12 14 09 35 01 00 "
                 "00 00 00 00 00 10 ff ff ff ff ff ff ff ff ff 01");
    expect_json("checkpoint", fr_wire_decode(&arena, &fr_checkpoint, bytes.data, bytes.len, &error),
                json);
    fr_buf_done(&bytes);
    fr_buf_done(&error);
    fr_arena_done(&arena);
}

static void broken_protobuf_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *hex, *word;
    } rows[] = {
        {"9a 06 00", "unknown fields"},
        {"2a 02 12 05", "cut off"},
        {"2a 04 12 02 7b 22", "valid JSON"},
        {"30 00", "wire type"},
        {"2a", "does not end"},
        {"3a 06 0a 04 0a 02 7b 09", "tab or newline"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fr_arena arena = {0};
        struct fr_buf bytes = {0};
        struct fr_buf error = {0};
        put_hex(&bytes, rows[i].hex);
        if (fr_wire_decode(&arena, &fr_response, bytes.data, bytes.len, &error) != NULL ||
            strstr(error.data, rows[i].word) == NULL) {
            fail_msg("%s: %s", rows[i].hex, error.len > 0 ? error.data : "was read");
        }
        fr_buf_done(&bytes);
        fr_buf_done(&error);
        fr_arena_done(&arena);
    }
}

static void wrong_json_responses_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *json, *word;
    } rows[] = {
        {"{\"opened\":{\"runtime_checkpoint\":{}}}", "unknown keys"},
        {"{\"flushed\":null}", "never null"},
        {"{\"loaded\":{\"binding\":\"1\",\"doc\":{}}}", "wrong JSON type"},
        {"{\"loaded\":{\"binding\":-1,\"doc\":{}}}", "wrong JSON type"},
        {"{\"opened\":{\"runtimeCheckpoint\":{\"sources\":{\"a\":{\"readThrough\":5}}}}}",
         "wrong JSON type"},
        {"{\"validated\":{\"bindings\":[{\"constraints\":{}}]}}", "unknown keys"},
        {"{\"validated\":{\"bindings\":[{\"resourcePath\":\"a\"}]}}", "wrong JSON type"},
        {"{\"validated\":{\"bindings\":[{\"projectionConstraints\":[{\"field\":\"a\","
         "\"constraint\":{\"type\":\"PERHAPS\"}}]}]}}",
         "wrong JSON type"},
        {"[]", "JSON object"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fr_arena arena = {0};
        struct fr_buf error = {0};
        if (fr_wire_check(&fr_response, parse(&arena, rows[i].json), &error) ||
            strstr(error.data, rows[i].word) == NULL) {
            fail_msg("%s: %s", rows[i].json, error.len > 0 ? error.data : "was taken");
        }
        fr_buf_done(&error);
        fr_arena_done(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_have_the_known_bytes),
        cmocka_unit_test(responses_are_read_from_the_known_bytes),
        cmocka_unit_test(a_checkpoint_has_the_known_bytes_and_reads_back),
        cmocka_unit_test(broken_protobuf_is_refused),
        cmocka_unit_test(wrong_json_responses_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
