/* proto/codec's encoders: the very bytes, in both codecs. */

#include "unit/proto/support.h"

static const enum proto_codec codecs[] = {PROTO_CODEC_PROTOBUF, PROTO_CODEC_JSON};

static void check(struct buf *out, const char *why, struct span want)
{
    if (!span_equal(buf_view(out), want)) {
        struct buf hex = pb_new();
        for (size_t i = 0; i < out->len; i++) {
            buf_printf(&hex, "%02x ", (unsigned)(unsigned char)out->data[i]);
        }
        fail_msg("%s: %s = %.*s", why, hex.data, (int)out->len, out->data);
    }
    buf_clear(out);
}

static void answers_without_content_are_the_published_bytes(void **state)
{
    struct buf out = pb_new();

    (void)state;
    assert_null(proto_encode_flushed(PROTO_CODEC_PROTOBUF, &out, SPAN_NONE));
    check(&out, "Flushed", SPAN_LIT("\2\0\0\0\x32\0"));
    assert_null(proto_encode_acknowledged(PROTO_CODEC_PROTOBUF, &out, SPAN_NONE));
    check(&out, "Acknowledged", SPAN_LIT("\2\0\0\0\x42\0"));
    assert_null(proto_encode_started_commit(PROTO_CODEC_PROTOBUF, &out, SPAN_NONE));
    check(&out, "StartedCommit", SPAN_LIT("\2\0\0\0\x3a\0"));
    assert_null(proto_encode_opened(PROTO_CODEC_PROTOBUF, &out, SPAN_NONE, false, false));
    check(&out, "Opened", SPAN_LIT("\2\0\0\0\x22\0"));
    assert_null(proto_encode_applied(PROTO_CODEC_PROTOBUF, &out, SPAN_NONE, SPAN_NONE));
    check(&out, "Applied", SPAN_LIT("\2\0\0\0\x1a\0"));
    proto_encode_validated(PROTO_CODEC_PROTOBUF, &out, NULL, 0);
    check(&out, "Validated", SPAN_LIT("\2\0\0\0\x12\0"));

    assert_null(proto_encode_flushed(PROTO_CODEC_JSON, &out, SPAN_NONE));
    check(&out, "Flushed", SPAN_LIT("{\"flushed\":{}}\n"));
    assert_null(proto_encode_acknowledged(PROTO_CODEC_JSON, &out, SPAN_NONE));
    check(&out, "Acknowledged", SPAN_LIT("{\"acknowledged\":{}}\n"));
    assert_null(proto_encode_started_commit(PROTO_CODEC_JSON, &out, SPAN_NONE));
    check(&out, "StartedCommit", SPAN_LIT("{\"startedCommit\":{}}\n"));
    assert_null(proto_encode_opened(PROTO_CODEC_JSON, &out, SPAN_NONE, false, false));
    check(&out, "Opened", SPAN_LIT("{\"opened\":{}}\n"));
    assert_null(proto_encode_applied(PROTO_CODEC_JSON, &out, SPAN_NONE, SPAN_NONE));
    check(&out, "Applied", SPAN_LIT("{\"applied\":{}}\n"));
    proto_encode_validated(PROTO_CODEC_JSON, &out, NULL, 0);
    check(&out, "Validated", SPAN_LIT("{\"validated\":{}}\n"));
    buf_done(&out);
}

static void spec_carries_the_protocol_and_compact_schemas(void **state)
{
    const struct proto_spec_answer spec = {SPAN_LIT("{\n \"a\": 1\n}"), SPAN_LIT("[ ]"),
                                           SPAN_LIT("https://x")};
    struct buf out = pb_new();

    (void)state;
    assert_null(proto_encode_spec(PROTO_CODEC_PROTOBUF, &out, &spec));
    check(&out, "Spec",
          SPAN_LIT("\x1f\0\0\0\x0a\x1d\x08\xd7\x87\xb9\x01\x12\x07{\"a\":1}\x1a\x02[]\x22\x09"
                   "https://x"));
    assert_null(proto_encode_spec(PROTO_CODEC_JSON, &out, &spec));
    check(&out, "Spec",
          SPAN_LIT("{\"spec\":{\"protocol\":3032023,\"configSchema\":{\"a\":1},"
                   "\"resourceConfigSchema\":[],\"documentationUrl\":\"https://x\"}}\n"));
    buf_done(&out);
}

static void loaded_documents_keep_their_numbers(void **state)
{
    struct buf out = pb_new();

    (void)state;
    assert_null(proto_encode_loaded(PROTO_CODEC_PROTOBUF, &out, 1, SPAN_LIT("{\"id\":7}")));
    check(&out, "Loaded", SPAN_LIT("\x0e\0\0\0\x2a\x0c\x08\x01\x12\x08{\"id\":7}"));
    assert_null(proto_encode_loaded(PROTO_CODEC_PROTOBUF, &out, 0, SPAN_LIT("{ }")));
    check(&out, "Loaded of binding 0", SPAN_LIT("\x06\0\0\0\x2a\x04\x12\x02{}"));
    assert_null(proto_encode_loaded(
        PROTO_CODEC_JSON, &out, 0,
        SPAN_LIT("{\"n\": 9007199254740993,\n\"m\":12345678901234567890123456789012345678.10}")));
    check(&out, "Loaded",
          SPAN_LIT("{\"loaded\":{\"binding\":0,\"doc\":{\"n\":9007199254740993,\"m\":"
                   "12345678901234567890123456789012345678.10}}}\n"));
    buf_done(&out);
}

static void opened_carries_the_checkpoint_in_every_form(void **state)
{
    static const char zero[] = "\xf8\xff\xff\xff\x0f\x01"; /* explicitly zero */
    struct buf out = pb_new();

    (void)state;
    assert_null(proto_encode_opened(PROTO_CODEC_PROTOBUF, &out, SPAN_LIT(""), false, false));
    check(&out, "an empty checkpoint", SPAN_LIT("\4\0\0\0\x22\2\x0a\0"));
    assert_null(proto_encode_opened(PROTO_CODEC_PROTOBUF, &out, SPAN_LIT(zero), true, true));
    check(&out, "explicitly zero, loads wanted",
          SPAN_LIT("\x0c\0\0\0\x22\x0a\x0a\x06\xf8\xff\xff\xff\x0f\x01\x10\x01"));
    assert_null(proto_encode_opened(PROTO_CODEC_JSON, &out, SPAN_LIT(zero), true, true));
    check(&out, "explicitly zero, loads wanted",
          SPAN_LIT("{\"opened\":{\"runtimeCheckpoint\":{},\"disableLoadOptimization\":true}}\n"));
    assert_null(proto_encode_opened(PROTO_CODEC_JSON, &out,
                                    SPAN_LIT("{\"sources\":\n{\"a;b\" : {}}}"), false, false));
    check(&out, "as it came",
          SPAN_LIT("{\"opened\":{\"runtimeCheckpoint\":{\"sources\":{\"a;b\":{}}}}}\n"));
    buf_done(&out);
}

static void state_updates_are_merge_patches_without_tabs_and_newlines(void **state)
{
    static const struct {
        const char *why;
        struct error *(*encode)(enum proto_codec, struct buf *, struct span);
        const char *name;
        char tag;
    } rows[] = {
        {"Flushed", proto_encode_flushed, "flushed", 0x32},
        {"StartedCommit", proto_encode_started_commit, "startedCommit", 0x3a},
        {"Acknowledged", proto_encode_acknowledged, "acknowledged", 0x42},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out = pb_new(), want = pb_new();
        const struct span patch = SPAN_LIT("{\n\t\"a\":\r\n 1\t}\n");
        buf_add(&want, "\x0f\0\0\0", 4);
        buf_add_byte(&want, rows[i].tag);
        buf_add(&want, "\x0d\x0a\x0b\x0a\x07{\"a\":1}\x10\x01", 14);
        assert_null(rows[i].encode(PROTO_CODEC_PROTOBUF, &out, patch));
        check(&out, rows[i].why, buf_view(&want));
        buf_clear(&want);
        buf_printf(&want, "{\"%s\":{\"state\":{\"updated\":{\"a\":1},\"mergePatch\":true}}}\n",
                   rows[i].name);
        assert_null(rows[i].encode(PROTO_CODEC_JSON, &out, patch));
        check(&out, rows[i].why, buf_view(&want));
        buf_done(&out);
        buf_done(&want);
    }
}

static void applied_describes_the_action_and_may_change_the_state(void **state)
{
    struct buf out = pb_new();

    (void)state;
    assert_null(proto_encode_applied(PROTO_CODEC_PROTOBUF, &out, SPAN_LIT("do\nit"),
                                     SPAN_LIT("{\"a\":null}")));
    check(&out, "Applied",
          SPAN_LIT("\x19\0\0\0\x1a\x17\x0a\x05"
                   "do\nit\x12\x0e\x0a\x0a{\"a\":null}\x10\x01"));
    assert_null(proto_encode_applied(PROTO_CODEC_JSON, &out, SPAN_LIT("do\n\"it\""),
                                     SPAN_LIT("{\"a\":null}")));
    check(&out, "Applied",
          SPAN_LIT("{\"applied\":{\"actionDescription\":\"do\\n\\\"it\\\"\",\"state\":{\"updated\":"
                   "{\"a\":null},\"mergePatch\":true}}}\n"));
    buf_done(&out);
}

static void validated_has_the_list_and_in_protobuf_also_the_map(void **state)
{
    struct span path[] = {SPAN_LIT("main"), SPAN_LIT("t")};
    struct proto_constraint constraints[] = {
        {SPAN_LIT("id"), PROTO_LOCATION_REQUIRED, SPAN_LIT("key"), SPAN_NONE},
        {SPAN_LIT("id"), PROTO_INCOMPATIBLE, SPAN_LIT("old"), SPAN_NONE},
        {SPAN_LIT("X"), PROTO_FIELD_OPTIONAL, SPAN_NONE, SPAN_LIT("x")},
    };
    const struct proto_validated_binding bindings[] = {
        {.resource_path = path,
         .resource_path_count = 2,
         .constraints = constraints,
         .constraint_count = 3,
         .delta_updates = true,
         .case_insensitive_fields = true,
         .str_truncate_after = 65536,
         .nested_obj_truncate_after = 1000,
         .array_truncate_after = 1},
        {.resource_path = path, .resource_path_count = 1},
    };
    /* Each constraint, written by itself. */
    static const char id_required[] = "\x0a\x02id\x12\x07\x10\x02\x1a\x03key";
    static const char id_incompatible[] = "\x0a\x02id\x12\x07\x10\x06\x1a\x03old";
    static const char x_optional[] = "\x0a\x01X\x12\x05\x10\x04\x22\x01x";
    struct buf out = pb_new(), want = pb_new(), binding = pb_new(), answer = pb_new();

    (void)state;
    pb_text(&binding, 1, id_incompatible);
    pb_text(&binding, 1, x_optional);
    pb_text(&binding, 2, "main");
    pb_text(&binding, 2, "t");
    pb_uint(&binding, 3, 1);
    pb_text(&binding, 4, "\x08\x80\x80\x04\x10\xe8\x07\x18\x01");
    pb_uint(&binding, 5, 1);
    pb_text(&binding, 6, id_required);
    pb_text(&binding, 6, id_incompatible);
    pb_text(&binding, 6, x_optional);
    pb_part(&answer, 1, &binding);
    pb_text(&binding, 2, "main");
    pb_part(&answer, 1, &binding);
    pb_frame(&want, 2, &answer);
    proto_encode_validated(PROTO_CODEC_PROTOBUF, &out, bindings, 2);
    check(&out, "Validated", buf_view(&want));
    buf_done(&want);

    proto_encode_validated(PROTO_CODEC_JSON, &out, bindings, 2);
    check(
        &out, "Validated",
        SPAN_LIT(
            "{\"validated\":{\"bindings\":[{\"resourcePath\":[\"main\",\"t\"],"
            "\"deltaUpdates\":true,\"serPolicy\":{\"strTruncateAfter\":65536,"
            "\"nestedObjTruncateAfter\":1000,\"arrayTruncateAfter\":1},"
            "\"caseInsensitiveFields\":true,\"projectionConstraints\":["
            "{\"field\":\"id\",\"constraint\":{\"type\":\"LOCATION_REQUIRED\",\"reason\":\"key\"}},"
            "{\"field\":\"id\",\"constraint\":{\"type\":\"INCOMPATIBLE\",\"reason\":\"old\"}},"
            "{\"field\":\"X\",\"constraint\":{\"type\":\"FIELD_OPTIONAL\",\"foldedField\":\"x\"}}"
            "]},{\"resourcePath\":[\"main\"]}]}}\n"));
    buf_done(&out);
}

static void what_is_no_json_is_refused_and_nothing_is_written(void **state)
{
    const struct proto_spec_answer bad_spec = {SPAN_LIT("{}"), SPAN_LIT("{"), SPAN_LIT("u")};

    (void)state;
    for (size_t c = 0; c < ARRAY_LEN(codecs); c++) {
        struct buf out = pb_new();
        buf_add_str(&out, "before");
        struct error *errors[] = {
            proto_encode_spec(codecs[c], &out, &bad_spec),
            proto_encode_applied(codecs[c], &out, SPAN_LIT("x"), SPAN_LIT("{} {}")),
            proto_encode_loaded(codecs[c], &out, 0, SPAN_LIT("")),
            proto_encode_flushed(codecs[c], &out, SPAN_LIT("{\"a\":\"\t\"}")),
            proto_encode_started_commit(codecs[c], &out, SPAN_LIT("nul")),
            proto_encode_acknowledged(codecs[c], &out, SPAN_LIT("[1,]")),
        };
        for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
            assert_non_null(errors[i]);
            assert_int_equal(error_code_of(errors[i]), ERROR_INTERNAL);
            error_free(errors[i]);
        }
        assert_string_equal(out.data, "before");
        assert_int_equal(out.len, 6);
        buf_done(&out);
    }

    struct buf out = pb_new();
    struct error *err = proto_encode_opened(PROTO_CODEC_JSON, &out, SPAN_LIT("\x0a"), true, false);
    assert_non_null(err);
    assert_int_equal(error_code_of(err), ERROR_INTERNAL);
    assert_int_equal(out.len, 0);
    error_free(err);
    buf_done(&out);
}

static void messages_follow_one_another(void **state)
{
    struct buf out = pb_new();

    (void)state;
    assert_null(proto_encode_flushed(PROTO_CODEC_PROTOBUF, &out, SPAN_NONE));
    assert_null(proto_encode_loaded(PROTO_CODEC_PROTOBUF, &out, 1, SPAN_LIT("{\"id\":7}")));
    check(&out, "two", SPAN_LIT("\2\0\0\0\x32\0\x0e\0\0\0\x2a\x0c\x08\x01\x12\x08{\"id\":7}"));
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_without_content_are_the_published_bytes),
        cmocka_unit_test(spec_carries_the_protocol_and_compact_schemas),
        cmocka_unit_test(loaded_documents_keep_their_numbers),
        cmocka_unit_test(opened_carries_the_checkpoint_in_every_form),
        cmocka_unit_test(state_updates_are_merge_patches_without_tabs_and_newlines),
        cmocka_unit_test(applied_describes_the_action_and_may_change_the_state),
        cmocka_unit_test(validated_has_the_list_and_in_protobuf_also_the_map),
        cmocka_unit_test(what_is_no_json_is_refused_and_nothing_is_written),
        cmocka_unit_test(messages_follow_one_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
