/* proto/rewrite: frames with values replaced. What is expected is built by hand from the same
 * parts, so every byte that is not to change is compared. */

#include "proto/rewrite.h"

#include "unit/proto/support.h"

/* ---------------------------------------------------------------- redaction */

#define SECRETS                                                                                    \
    X("password", "{\"password\":", "\"pw-1\"", "}")                                               \
    X("the secret key of the bucket", "{\"a\":[1,{\"awsSecretAccessKey\": ", "\"pw-2\"", " } ]}")  \
    X("the key of the tunnel", "{\"networkTunnel\":{\"sshForwarding\":{\"privateKey\":",           \
      "\"-----BEGIN\\nPRIVATE KEY-----\"", "}}}")                                                  \
    X("the key of the trigger", "{\"dbt_job_trigger\":{\"api_key\":", "\"pw-3\"", "}}")            \
    X("a session token", "{\"awsSessionToken\":", "\"pw-4\"", ",\"region\":\"eu\"}")               \
    X("the encrypted form", "{\"config\":{\"password_sops\":", "\"ENC[x]\"", "},\"image\":\"i\"}") \
    X("a name with an escape", "{\"pass\\u0077ord\":", "\"pw-5\"", "}")                            \
    X("a name in another case", "{\"API-Key\":", "\"pw-6\"", "}")                                  \
    X("a secret that is an object", "{\"credentials\":", "{\"x\":\"pw-7\",\"y\":[1]}", "}")        \
    X("a secret that is a number", "{\"token\":", "12345", "}")                                    \
    X("a password in a URL", "{\"access_url\":", "\"https://u:pw@h/\"", "}")                       \
    X("a password in a URL with escapes", "{\"sshEndpoint\":", "\"ssh:\\/\\/u:pw@h\"", "}")

static const struct {
    const char *why, *before, *secret, *behind;
} secrets[] = {
#define X(why, before, secret, behind) {why, before, secret, behind},
    SECRETS
#undef X
};

enum { IN_SPEC, IN_VALIDATE, IN_APPLY, IN_OPEN, LAST_OF_VALIDATE, LAST_OF_APPLY, SEALED, PLACES };
static const char *const place_names[] = {"Spec",
                                          "Validate",
                                          "Apply",
                                          "Open",
                                          "the last specification of Validate",
                                          "the last specification of Apply",
                                          "the sealed configuration of Open"};

static void pb_spec_with(struct buf *out, unsigned number, const char *config)
{
    struct buf body = pb_new();

    pb_text(&body, 1, "acme/password");
    pb_text(&body, 3, config);
    pb_text(&body, 4, ""); /* a binding of which all is default */
    pb_part(out, number, &body);
}

/* Fields that are unknown, and a length that is longer than it must be, stay as they are. */
static void pb_request(struct buf *out, unsigned place, const char *config)
{
    static const unsigned numbers[] = {PROTO_SPEC,     PROTO_VALIDATE, PROTO_APPLY, PROTO_OPEN,
                                       PROTO_VALIDATE, PROTO_APPLY,    PROTO_OPEN};
    struct buf body = pb_new();

    switch (place) {
    case IN_SPEC:
        pb_text(&body, 2, config);
        break;
    case IN_VALIDATE:
        pb_text(&body, 1, "t");
        pb_text(&body, 3, config);
        break;
    case LAST_OF_VALIDATE:
        pb_spec_with(&body, 5, config);
        break;
    case IN_APPLY:
        pb_spec_with(&body, 1, config);
        pb_text(&body, 6, "{\"token\":\"of the state\"}");
        break;
    case LAST_OF_APPLY:
        pb_spec_with(&body, 4, config);
        break;
    case IN_OPEN:
        pb_spec_with(&body, 1, config);
        break;
    default:
        pb_text(&body, 5, config);
        break;
    }
    pb_fixed32(&body, 900, 7);
    pb_double(&body, 901, 0.5);
    buf_add(&body, "\xa2\x70\x82\x00xy", 6); /* field 1796: two bytes, the length in two */
    pb_uint(out, 77, 5);
    pb_part(out, numbers[place], &body);
}

static void js_request(struct buf *out, unsigned place, const char *config)
{
    static const char *const forms[][2] = {
        {"{\"spec\":{\"config\":", "}}"},
        {"{ \"validate\" :\n{\"name\":\"password\",\"config_json\": ", " , \"token\":[\"t\"]}}"},
        {"{\"apply\":{\"state\":{\"token\":\"of the state\"},\"materialization\":{\"config\":",
         ",\"bindings\":[{\"password\":1}]}}}"},
        {"{\"open\":{\"materialization\":{\"\\u0063onfig\":", "}, \"password\":\"kept\"}}"},
        {"{\"validate\":{\"lastMaterialization\":{\"config\":", "}}}"},
        {"{\"apply\":{\"last_materialization\":{\"config\":", "}}}"},
        {"{\"open\":{\"sealedConfig\":", "}}"},
    };

    buf_printf(out, "%s%s%s", forms[place][0], config, forms[place][1]);
}

static void
with_config(struct buf *out, enum proto_codec codec, unsigned place, size_t row, const char *secret)
{
    struct buf config = pb_new();

    buf_printf(&config, "%s%s%s", secrets[row].before, secret, secrets[row].behind);
    if (codec == PROTO_CODEC_JSON) {
        js_request(out, place, config.data);
    } else {
        pb_request(out, place, config.data);
    }
    buf_done(&config);
}

static void only_secrets_are_replaced(void **state)
{
    (void)state;
    for (int codec = PROTO_CODEC_PROTOBUF; codec <= PROTO_CODEC_JSON; codec++) {
        for (unsigned place = 0; place < PLACES; place++) {
            for (size_t row = 0; row < ARRAY_LEN(secrets); row++) {
                struct buf frame = pb_new(), want = pb_new(), got = pb_new();
                with_config(&frame, (enum proto_codec)codec, place, row, secrets[row].secret);
                with_config(&want, (enum proto_codec)codec, place, row, PROTO_REDACTED);
                struct error *err = proto_redact((enum proto_codec)codec, buf_view(&frame), &got);
                if (err || !span_equal(buf_view(&want), buf_view(&got))) {
                    fail_msg("%s, %s, codec %d: %s", secrets[row].why, place_names[place], codec,
                             err ? error_text(err) : "the frame is another than expected");
                }
                buf_done(&frame);
                buf_done(&want);
                buf_done(&got);
            }
        }
    }
}

static void webhooks_are_secret_as_a_whole(void **state)
{
    struct buf inner = pb_new(), body = pb_new(), frame = pb_new(), got = pb_new();

    (void)state;
    pb_text(&inner, 10, "{\"headers\":{\"x\":\"hidden-7\"}}");
    pb_part(&body, 1, &inner);
    pb_part(&frame, PROTO_OPEN, &body);
    assert_null(proto_redact(PROTO_CODEC_PROTOBUF, buf_view(&frame), &got));
    assert_null(strstr(got.data + 4, "hidden-7"));
    assert_non_null(strstr(got.data + 4, PROTO_REDACTED));
    buf_clear(&got);
    assert_null(proto_redact(
        PROTO_CODEC_JSON,
        SPAN_LIT("{\"open\":{\"materialization\":{\"triggers\":[{\"x\":\"hidden-7\"}]}}}"), &got));
    assert_string_equal(got.data,
                        "{\"open\":{\"materialization\":{\"triggers\":" PROTO_REDACTED "}}}");
    buf_done(&frame);
    buf_done(&got);
}

static void frames_without_secrets_stay_as_they_are(void **state)
{
    static const char *const frames[] = {
        "{\"validate\":{\"config\":{\"address\":\"h\",\"password\":null,\"e\":\"ssh://u@h\"}}}",
        "{\"open\":null}",
        "{ \"apply\" : { \"materialization\" : null , \"lastMaterialization\":{\"config\":null}}}",
        "{\"load\":{\"binding\":1,\"keyPacked\":\"password\"}}",
        "{\"store\":{\"doc\":{\"password\":\"of a document\"}}}",
        "{\"validate\":{\"config\":[]}}",
        "{}",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(frames); i++) {
        struct buf got = pb_new();
        assert_null(proto_redact(PROTO_CODEC_JSON, span_of(frames[i]), &got));
        assert_string_equal(got.data, frames[i]);
        buf_done(&got);
    }
}

/* Nobody may think that such a frame was searched. */
static void what_cannot_be_walked_is_an_error(void **state)
{
    struct buf deep = pb_new(), frame = pb_new(), got = pb_new();

    (void)state;
    for (unsigned i = 0; i < 100000; i++) {
        buf_add_byte(&deep, '[');
    }
    struct {
        const char *why, *config;
    } rows[] = {
        {"JSON that ends early", "{\"password\":\"x\""},
        {"JSON and more", "{} {\"password\":\"x\"}"},
        {"no JSON", "password=x"},
        {"deeply nested", deep.data},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        buf_clear(&frame);
        pb_request(&frame, IN_OPEN, rows[i].config);
        struct error *err = proto_redact(PROTO_CODEC_PROTOBUF, buf_view(&frame), &got);
        if (!err) {
            fail_msg("accepted: %s", rows[i].why);
        }
        error_free(err);
        buf_clear(&got);
    }
    for (size_t cut = 1; cut < 12; cut++) {
        buf_clear(&frame);
        pb_request(&frame, IN_OPEN, "{}");
        struct error *err =
            proto_redact(PROTO_CODEC_PROTOBUF, (struct span){frame.data, frame.len - cut}, &got);
        assert_non_null(err);
        error_free(err);
        buf_clear(&got);
    }
    buf_done(&deep);
    buf_done(&frame);
    buf_done(&got);
}

/* ---------------------------------------------------------------- other values */

static struct error *
edit(void *ctx, enum proto_place place, struct span value, struct buf *out, bool *ret_changed)
{
    struct buf *seen = ctx;

    buf_printf(seen, "%d=%.*s;", (int)place, SPAN_FMT(value));
    switch (place) {
    case PROTO_PLACE_PATH_HEAD:
        *ret_changed = span_is(value, "old \"schema\"");
        buf_add_str(out, "new \"schema\" which is longer");
        break;
    case PROTO_PLACE_STATE:
    case PROTO_PLACE_PATCHES:
        *ret_changed = true;
        buf_add_str(out, "{\"n\":1}");
        break;
    default:
        break;
    }
    return NULL;
}

static void states_patches_and_paths_can_be_replaced(void **state)
{
    static const struct {
        const char *frame, *want, *seen;
    } rows[] = {
        {"{\"open\":{\"materialization\":{\"bindings\":[{\"resourcePath\":[\"old "
         "\\\"schema\\\"\",\"t\"],"
         "\"x\":1},{}]},\"state\":{\"a\": 1}}}",
         "{\"open\":{\"materialization\":{\"bindings\":[{\"resourcePath\":[\"new \\\"schema\\\" "
         "which is longer\",\"t\"],\"x\":1},{}]},\"state\":{\"n\":1}}}",
         "5=old \"schema\";6=t;3={\"a\": 1};"},
        {"{\"acknowledge\":{\"statePatches\":[{}]}}",
         "{\"acknowledge\":{\"statePatches\":{\"n\":1}}}", "4=[{}];"},
        {"{\"startCommit\":{\"runtimeCheckpoint\":{},\"state_patches_json\":[]}}",
         "{\"startCommit\":{\"runtimeCheckpoint\":{},\"state_patches_json\":{\"n\":1}}}", "4=[];"},
        {"{\"flush\":{}}", "{\"flush\":{}}", ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf got = pb_new(), seen = pb_new();
        assert_null(proto_rewrite(PROTO_CODEC_JSON, span_of(rows[i].frame), edit, &seen, &got));
        assert_string_equal(got.data, rows[i].want);
        assert_string_equal(seen.data, rows[i].seen);
        buf_done(&got);
        buf_done(&seen);
    }

    struct buf frame = pb_new(), want = pb_new(), got = pb_new(), seen = pb_new();
    for (int round = 0; round < 2; round++) {
        struct buf binding = pb_new(), spec = pb_new(), body = pb_new();
        pb_text(&binding, 1, "{}");
        pb_text(&binding, 2, round ? "new \"schema\" which is longer" : "old \"schema\"");
        pb_text(&binding, 2, "t");
        pb_uint(&binding, 5, 1);
        pb_part(&spec, 4, &binding);
        pb_part(&body, 1, &spec);
        pb_text(&body, 2, "v");
        pb_text(&body, 4, round ? "{\"n\":1}" : "{\"a\":1}");
        pb_part(round ? &want : &frame, PROTO_OPEN, &body);
    }
    assert_null(proto_rewrite(PROTO_CODEC_PROTOBUF, buf_view(&frame), edit, &seen, &got));
    assert_true(span_equal(buf_view(&want), buf_view(&got)));
    buf_done(&frame);
    buf_done(&want);
    buf_done(&got);
    buf_done(&seen);
}

static void kinds_are_told_without_reading_the_inside(void **state)
{
    static const struct {
        enum proto_codec codec;
        bool is_response;
        struct span frame;
        unsigned kind;
    } rows[] = {
        {PROTO_CODEC_JSON, false, LIT("{\"startCommit\":{}}"), PROTO_START_COMMIT},
        {PROTO_CODEC_JSON, false, LIT("{\"open\":null,\"x\":1,\"store\":{}}"), PROTO_STORE},
        {PROTO_CODEC_JSON, true, LIT("{\"startedCommit\":{}}"), 7},
        {PROTO_CODEC_JSON, true, LIT("{}"), 0},
        {PROTO_CODEC_JSON, true, LIT("x"), 0},
        {PROTO_CODEC_PROTOBUF, false, LIT("\x2a\x00"), PROTO_LOAD},
        {PROTO_CODEC_PROTOBUF, false, LIT("\xe8\x04\x05\x3a\x00"), PROTO_STORE},
        {PROTO_CODEC_PROTOBUF, true, LIT("\x42\x00"), 8},
        {PROTO_CODEC_PROTOBUF, true, LIT("\xff"), 0},
        {PROTO_CODEC_PROTOBUF, true, LIT(""), 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(proto_frame_kind(rows[i].codec, rows[i].is_response, rows[i].frame),
                         rows[i].kind);
    }
    assert_string_equal(proto_response_name(7), "StartedCommit");
    assert_string_equal(proto_response_name(9), "unknown");
}

static void state_updates_of_responses_are_found(void **state)
{
    static const char patch[] = "{\"a\":{\"b\":null}}";

    (void)state;
    for (int codec = PROTO_CODEC_PROTOBUF; codec <= PROTO_CODEC_JSON; codec++) {
        for (int kind = 0; kind < 4; kind++) {
            for (int has = 0; has < 2; has++) {
                const struct span text = has ? span_of(patch) : SPAN_NONE;
                struct buf bytes = pb_new();
                struct span got;
                enum proto_codec c = (enum proto_codec)codec;
                assert_null(kind == 0   ? proto_encode_applied(c, &bytes, SPAN_LIT("did"), text)
                            : kind == 1 ? proto_encode_flushed(c, &bytes, text)
                            : kind == 2 ? proto_encode_started_commit(c, &bytes, text)
                                        : proto_encode_acknowledged(c, &bytes, text));
                const size_t head = c == PROTO_CODEC_JSON ? 0 : 4;
                assert_null(proto_response_state(
                    c, (struct span){bytes.data + head, bytes.len - head}, &got));
                assert_true(has ? span_is(got, patch) : got.ptr == NULL);
                buf_done(&bytes);
            }
        }
    }
}

/* ---------------------------------------------------------------- the decoder's onlooker */

static void note_frame(void *ctx, unsigned kind, struct span frame)
{
    buf_printf(ctx, "%u:%.*s;", kind, SPAN_FMT(frame));
}

static void an_onlooker_sees_every_frame_also_the_last_bad_one(void **state)
{
    static const char input[] = " {\"spec\":{}}\n{\"acknowledge\" : {}}{\"spec\":{},\"open\":{}}";
    struct proto_decoder *decoder = proto_decoder_new(PROTO_CODEC_JSON);
    struct arena *arena = arena_new(PROTO_MAX_ARENA);
    struct buf seen = pb_new();
    struct proto_request request;
    struct error *err;
    bool have = true;
    char *to;
    size_t room;

    (void)state;
    proto_decoder_observe(decoder, note_frame, &seen);
    proto_decoder_reserve(decoder, &to, &room);
    memcpy(to, input, sizeof input - 1);
    proto_decoder_commit(decoder, sizeof input - 1);
    do {
        err = proto_decoder_next(decoder, arena, &request, &have);
    } while (!err && have);
    assert_non_null(err);
    error_free(err);
    assert_string_equal(seen.data,
                        "1:{\"spec\":{}};9:{\"acknowledge\" : {}};0:{\"spec\":{},\"open\":{}};");
    proto_decoder_free(decoder);
    arena_free(arena);
    buf_done(&seen);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_secrets_are_replaced),
        cmocka_unit_test(webhooks_are_secret_as_a_whole),
        cmocka_unit_test(frames_without_secrets_stay_as_they_are),
        cmocka_unit_test(what_cannot_be_walked_is_an_error),
        cmocka_unit_test(states_patches_and_paths_can_be_replaced),
        cmocka_unit_test(kinds_are_told_without_reading_the_inside),
        cmocka_unit_test(state_updates_of_responses_are_found),
        cmocka_unit_test(an_onlooker_sees_every_frame_also_the_last_bad_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
