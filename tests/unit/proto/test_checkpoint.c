/* proto/codec's checkpoints: from one form to the other with nothing lost. */

#include "unit/proto/support.h"

#define KEY "acmeCo/orders/pivot=00;materialize/acmeCo/warehouse/ord"
_Static_assert(sizeof(KEY) - 1 >= 54, "long enough to be cut to the published vector's length");

#define PRODUCER                                                                                   \
    "\x0a\x06\x07\x0c\x66\x2b\x1d\x09\x12\x14\x09\x35\x01\0\0\0\0\0\0\x10\xff\xff\xff\xff\xff\xff" \
    "\xff\xff\xff\x01"

static const struct {
    const char *why;
    struct span protobuf;
    const char *json;
} twins[] = {
    {"empty", LIT(""), "{}"},
    {"one source with one producer",
     LIT("\x0a\x2a\x0a\x03"
         "a;b\x12\x23\x08\x80\x20\x12\x1e" PRODUCER),
     "{\"sources\":{\"a;b\":{\"readThrough\":\"4096\",\"producers\":[{\"id\":\"BwxmKx0J\","
     "\"state\":{\"lastAck\":\"309\",\"begin\":\"-1\"}}]}}}"},
    {"two sources, an intent, and a clock beyond 63 bits",
     LIT("\x0a\x05\x0a\x01"
         "a\x12\x00\x0a\x1a\x0a\x01"
         "b\x12\x15\x12\x13\x0a\x02\x01\x00\x12"
         "\x0d\x09\xff\xff\xff\xff\xff\xff\xff\xff\x10\x80\x80\x01\x12\x0f\x0a\x08"
         "acme/ops"
         "\x12\x03{}\n"),
     "{\"sources\":{\"a\":{},\"b\":{\"producers\":[{\"id\":\"AQA=\",\"state\":{\"lastAck\":"
     "\"18446744073709551615\",\"begin\":\"16384\"}}]}},\"ackIntents\":{\"acme/ops\":\"e30K\"}}"},
    {"an empty state is there",
     LIT("\x0a\x09\x0a\x01"
         "a\x12\x04\x12\x02\x12\x00"),
     "{\"sources\":{\"a\":{\"producers\":[{\"state\":{}}]}}}"},
    {"a producer without anything",
     LIT("\x0a\x07\x0a\x01"
         "a\x12\x02\x12\x00"),
     "{\"sources\":{\"a\":{\"producers\":[{}]}}}"},
    {"an empty key", LIT("\x0a\x02\x12\x00"), "{\"sources\":{\"\":{}}}"},
    {"a key with a quote", LIT("\x0a\x05\x0a\x01\"\x12\x00"), "{\"sources\":{\"\\\"\":{}}}"},
};

static void both_forms_say_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(twins); i++) {
        struct buf out = pb_new();
        struct error *err = proto_checkpoint_to_json(twins[i].protobuf, &out);
        if (err || !span_is(buf_view(&out), twins[i].json)) {
            fail_msg("%s, to JSON: %s", twins[i].why, err ? error_text(err) : out.data);
        }
        buf_clear(&out);
        err = proto_checkpoint_to_protobuf(span_of(twins[i].json), &out);
        if (err || !span_equal(buf_view(&out), twins[i].protobuf)) {
            fail_msg("%s, to protobuf: %s", twins[i].why, err ? error_text(err) : "other bytes");
        }
        buf_done(&out);
    }
}

static void the_published_vector_is_read_and_written(void **state)
{
    struct buf protobuf = pb_new(), json = pb_new(), back = pb_new();

    (void)state;
    buf_add(&protobuf, "\x0a\x5d\x0a\x36", 4);
    buf_add(&protobuf, KEY, 54);
    buf_add(&protobuf, "\x12\x23\x08\x80\x20\x12\x1e", 7);
    buf_add(&protobuf, PRODUCER, sizeof(PRODUCER) - 1);
    assert_null(proto_checkpoint_to_json(buf_view(&protobuf), &json));
    assert_non_null(strstr(json.data, "\":{\"readThrough\":\"4096\",\"producers\":[{\"id\":"
                                      "\"BwxmKx0J\",\"state\":{\"lastAck\":\"309\",\"begin\":"
                                      "\"-1\"}}]}}}"));
    assert_null(proto_checkpoint_to_protobuf(buf_view(&json), &back));
    assert_true(span_equal(buf_view(&back), buf_view(&protobuf)));
    buf_done(&protobuf);
    buf_done(&json);
    buf_done(&back);
}

static void tolerated_spellings_become_the_same_bytes(void **state)
{
    static const struct {
        const char *why, *json;
        unsigned twin;
    } rows[] = {
        {"numbers as numbers, names of the schema, null as absent, other base64",
         " { \"sources\" : {\"a;b\" : {\"read_through\": 4096, \"producers\":[{\"id\":\"BwxmKx0J\","
         "\"state\":{\"last_ack\":309,\"begin\":-1}}]}}, \"ack_intents\": null } ",
         1},
        {"empty maps", "{\"sources\":{},\"ackIntents\":{}}", 0},
        {"zeros that are written",
         "{\"sources\":{\"a\":{\"readThrough\":\"0\",\"producers\":[{\"id\":\"\",\"state\":"
         "{\"lastAck\":\"0\",\"begin\":0}}]}}}",
         3},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out = pb_new();
        struct error *err = proto_checkpoint_to_protobuf(span_of(rows[i].json), &out);
        if (err || !span_equal(buf_view(&out), twins[rows[i].twin].protobuf)) {
            fail_msg("%s: %s", rows[i].why, err ? error_text(err) : "other bytes");
        }
        buf_done(&out);
    }
}

static void the_mark_of_zero_has_no_json_form(void **state)
{
    struct buf out = pb_new();

    (void)state;
    assert_null(proto_checkpoint_to_json(SPAN_LIT("\xf8\xff\xff\xff\x0f\x01"), &out));
    assert_string_equal(out.data, "{}");
    buf_done(&out);
}

static void nothing_is_dropped_silently(void **state)
{
    static const struct {
        const char *why;
        bool is_json;
        struct span text;
        const char *error;
    } rows[] = {
        {"an unknown member", true, LIT("{\"x\":1}"), "a member that is not known"},
        {"an unknown member of a source", true, LIT("{\"sources\":{\"a\":{\"x\":1}}}"),
         "a source of the checkpoint: a member that is not known"},
        {"a fraction", true, LIT("{\"sources\":{\"a\":{\"readThrough\":1.5}}}"),
         "readThrough of the checkpoint: expected an integer of 64 bits"},
        {"65 bits", true, LIT("{\"sources\":{\"a\":{\"readThrough\":\"9223372036854775808\"}}}"),
         "expected an integer of 64 bits"},
        {"no base64", true, LIT("{\"ackIntents\":{\"a\":\"*\"}}"), "expected base64"},
        {"an array", true, LIT("[]"), "expected an object"},
        {"cut off", true, LIT("{\"sources\":{"), "the text ends"},
        {"text behind", true, LIT("{}x"), "expected nothing more"},
        {"an unknown field", false, LIT("\x18\x01"), "a field that is not known"},
        {"an unknown field of a source", false, LIT("\x0a\x04\x12\x02\x18\x01"),
         "a source of the checkpoint: a field that is not known"},
        {"last_ack as varint", false, LIT("\x0a\x08\x12\x06\x12\x04\x12\x02\x08\x01"),
         "the state of a producer of the checkpoint: a field that is not known"},
        {"a key that is not UTF-8", false, LIT("\x0a\x03\x0a\x01\xff"), "not UTF-8"},
        {"cut off", false, LIT("\x0a\x05\x0a"), "longer than what is around it"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out = pb_new();
        buf_add_str(&out, "before");
        struct error *err = rows[i].is_json ? proto_checkpoint_to_protobuf(rows[i].text, &out)
                                            : proto_checkpoint_to_json(rows[i].text, &out);
        if (!err || !strstr(error_text(err), rows[i].error)) {
            fail_msg("%s: %s", rows[i].why, err ? error_text(err) : "accepted");
        }
        assert_string_equal(out.data, "before");
        error_free(err);
        buf_done(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_forms_say_the_same),
        cmocka_unit_test(the_published_vector_is_read_and_written),
        cmocka_unit_test(tolerated_spellings_become_the_same_bytes),
        cmocka_unit_test(the_mark_of_zero_has_no_json_form),
        cmocka_unit_test(nothing_is_dropped_silently),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
