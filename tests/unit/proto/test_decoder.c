/* proto/codec's decoder: requests out of bytes that are cut anywhere, in both codecs. */

#include "proto/codec.h"

#include "proto/decode.h"
#include "unit/proto/support.h"

#include <stdlib.h>

/* ---------------------------------------------------------------- both codecs */

static const struct {
    const char *why;
    void (*write_json)(struct buf *out);
    void (*write_protobuf)(struct buf *out);
} twins[] = {
    {"Open", js_open, pb_open},
    {"Apply", js_apply, pb_apply},
    {"Validate", js_validate, pb_validate},
};

static void cold_requests_are_equal_in_both_codecs(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(twins); i++) {
        struct buf json = pb_new(), bytes = pb_new();
        struct buf from_json = pb_new(), from_protobuf = pb_new();

        twins[i].write_json(&json);
        twins[i].write_protobuf(&bytes);
        assert_null(decode_all(PROTO_CODEC_PROTOBUF, buf_view(&bytes), 65536, &from_protobuf));
        assert_null(decode_all(PROTO_CODEC_JSON, buf_view(&json), 65536, &from_json));
        assert_string_equal(from_json.data, from_protobuf.data);
        buf_done(&json);
        buf_done(&bytes);
        buf_done(&from_json);
        buf_done(&from_protobuf);
    }
}

#define COLLECTION_PRINTED                                                                         \
    " \n collection=<acmeCo/orders> key=( =</id> =</k>)"                                           \
    " \n  projection=<flow_document> explicit=0 partition=0 primary=0 types=64 exists=1 names=("   \
    " =<object>)"                                                                                  \
    " \n  projection=<id> ptr=</id> explicit=1 partition=0 primary=1 types=12 exists=1 names=("    \
    " =<fractional> =<integer>) numeric 1 -5 1 1000"                                               \
    " \n  projection=<a/b \"\xc3\xa9> ptr=</a~1b> explicit=0 partition=1 primary=0 types=17 "      \
    "exists=2 names=( =<null> =<string>) title=<T> description=<D\n> default=<\"x\"> string "      \
    "max=40 type=<text/plain> format=<date-time> encoding=<base64>"
#define BINDING_PRINTED(name)                                                                      \
    "\n" name " delta=1 backfill=2 resource=<{\"table\": \"orders\"}> path=( =<main> =<orders>) "  \
    "state_key=<orders.v2> keys=( =<id>) values=( =<name> =<total>) document=<flow_document> "     \
    "option=<name> to=<{\"x\":1}> option=<> to=<{\"y\":2}>" COLLECTION_PRINTED

static void every_field_of_open_arrives(void **state)
{
    static const char open_printed[] =
        "Open version=<00ab> state=<{\"cursor\":12345678901234567890123456789012345678}> "
        "range=80000000-ffffffff"
        " \nmaterialization=<acmeCo/wh/orders> config=<{\"n\":9007199254740993}> v2=1 linked=0";
    struct buf json = pb_new(), printed = pb_new(), want = pb_new();

    (void)state;
    js_open(&json);
    buf_add_str(&want, open_printed);
    buf_add_str(&want, BINDING_PRINTED("binding 0"));
    buf_add_str(&want, BINDING_PRINTED("inactive 0"));
    buf_add_str(&want, BINDING_PRINTED("inactive 1") "\n");
    assert_null(decode_all(PROTO_CODEC_JSON, buf_view(&json), 65536, &printed));
    assert_string_equal(printed.data, want.data);
    buf_done(&json);
    buf_done(&want);
    buf_done(&printed);
}

/* ---------------------------------------------------------------- single requests */

static void small_requests_are_read(void **state)
{
    static const struct {
        const char *why;
        enum proto_codec codec;
        struct span bytes;
        const char *want;
    } rows[] = {
        {"Spec", PROTO_CODEC_PROTOBUF, LIT("\2\0\0\0\x0a\0"), "Spec\n"},
        {"Flush", PROTO_CODEC_PROTOBUF, LIT("\2\0\0\0\x32\0"), "Flush\n"},
        {"Acknowledge", PROTO_CODEC_PROTOBUF, LIT("\2\0\0\0\x4a\0"), "Acknowledge\n"},
        {"Load", PROTO_CODEC_PROTOBUF, LIT("\x0a\0\0\0\x2a\x08\x1a\x06\x15\x2a\x02hi\0"),
         "Load 0 key_packed=<\x15*\x02hi"}, /* the NUL ends what is printed */
        {"Load with unknown fields of each wire type", PROTO_CODEC_PROTOBUF,
         LIT("\x1b\0\0\0\x2a\x19\x08\x07\x50\x01\x59"
             "12345678"
             "\x62\x02zz\x6d"
             "1234"
             "\x1a\x01\x14"),
         "Load 7 key_packed=<\x14>\n"},
        {"a Load of which the last key counts", PROTO_CODEC_PROTOBUF,
         LIT("\x08\0\0\0\x2a\x06\x1a\x01\x14\x1a\x01\x26"), "Load 0 key_packed=<&>\n"},
        {"Store with everything", PROTO_CODEC_PROTOBUF,
         LIT("\x1b\0\0\0\x3a\x19\x08\x02\x12\x02[]\x1a\x01k\x22\x03[1]\x2a\x01v\x32\x02{}"
             "\x38\x01\x40\x01"),
         "Store 2 exists=1 delete=1 key_packed=<k> key=<[]> values_packed=<v> values=<[1]> "
         "doc=<{}>\n"},
        {"Store with a field of the runtime's own", PROTO_CODEC_PROTOBUF,
         LIT("\x08\0\0\0\x3a\x02\x38\x01\xa2\x06\x01x"), "Store 0 exists=1 delete=0\n"},
        {"a field that counts as false", PROTO_CODEC_PROTOBUF,
         LIT("\x06\0\0\0\x3a\x04\x38\x01\x38\x00"), "Store 0 exists=0 delete=0\n"},
        {"StartCommit with a checkpoint", PROTO_CODEC_PROTOBUF,
         LIT("\x07\0\0\0\x42\x05\x0a\x03"
             "abc"),
         "StartCommit checkpoint=<abc>\n"},
        {"StartCommit with an empty checkpoint", PROTO_CODEC_PROTOBUF,
         LIT("\x04\0\0\0\x42\x02\x0a\0"), "StartCommit checkpoint=<>\n"},
        {"StartCommit without one", PROTO_CODEC_PROTOBUF, LIT("\2\0\0\0\x42\0"), "StartCommit\n"},
        {"Flush with backfills and patches", PROTO_CODEC_PROTOBUF,
         LIT("\x1a\0\0\0\x32\x18\x0a\x02[]\x12\x08\x08\x01\x12\x04\x08\x05\x10\x06\x1a\x08"
             "\x08\x02\x12\x04\x08\x07\x18\x09"),
         "Flush patches=<[]> begin 1 5.000000006 complete 2 7.000000000\n"},

        {"Spec", PROTO_CODEC_JSON, LIT("{\"spec\":{\"connectorType\":\"IMAGE\"}}"), "Spec\n"},
        {"Flush", PROTO_CODEC_JSON, LIT("{\"flush\":{}}"), "Flush\n"},
        {"kinds that are null are absent", PROTO_CODEC_JSON,
         LIT("{\"load\":null,\"acknowledge\":{},\"$internal\":\"x\",\"other\":[{}]}"),
         "Acknowledge\n"},
        {"Load, packed", PROTO_CODEC_JSON, LIT("{\"load\":{\"binding\":1,\"keyPacked\":\"FSo=\"}}"),
         "Load 1 key_packed=<\x15*>\n"},
        {"Load, an array", PROTO_CODEC_JSON, LIT("{\"load\":{\"key\":[42,\"hi\"]}}"),
         "Load 0 key=<[42,\"hi\"]>\n"},
        {"Store as v2 sends it", PROTO_CODEC_JSON,
         LIT("{\"store\":{\"binding\":0,\"key\":[42],\"values\":[9007199254740993],\"doc\":"
             "{\"n\":12345678901234567890123456789012345678},\"exists\":true}}"),
         "Store 0 exists=1 delete=0 key=<[42]> values=<[9007199254740993]> "
         "doc=<{\"n\":12345678901234567890123456789012345678}>\n"},
        {"Store with names of the schema", PROTO_CODEC_JSON,
         LIT("{\"store\":{\"binding\":\"3\",\"key_json\":[1],\"key_packed\":\"FQE\","
             "\"values_json\":[2],\"values_packed\":\"FQI\",\"doc_json\":{},\"delete\":true}}"),
         "Store 3 exists=0 delete=1 key_packed=<\x15\x01> key=<[1]> values_packed=<\x15\x02> "
         "values=<[2]> doc=<{}>\n"},
        {"base64 in the other alphabet, without padding, with escaped slashes", PROTO_CODEC_JSON,
         LIT("{\"store\":{\"keyPacked\":\"Pz8_Pj4-\",\"valuesPacked\":\"Pz8\\/Pj4+Pw\"}}"),
         "Store 0 exists=0 delete=0 key_packed=<\?\?\?>>>> values_packed=<\?\?\?>>>\?>\n"},
        {"Store where all is null", PROTO_CODEC_JSON,
         LIT("{\"store\":{\"binding\":null,\"key\":null,\"keyPacked\":null,\"values\":null,"
             "\"valuesPacked\":null,\"doc\":null,\"exists\":null,\"delete\":null}}"),
         "Store 0 exists=0 delete=0\n"},
        {"Store where the last of a name counts", PROTO_CODEC_JSON,
         LIT("{\"store\":{\"binding\":1,\"binding\":2,\"keyPacked\":\"FQE=\",\"doc\":{},"
             "\"keyPacked\":\"FQI=\",\"doc\":null,\"exists\":true,\"exists\":false}}"),
         "Store 2 exists=0 delete=0 key_packed=<\x15\x02>\n"},
        {"names with escapes", PROTO_CODEC_JSON,
         LIT("{\"st\\u006fre\":{\"b\\u0069nding\":4,\"d\\u006fc\":[]}}"),
         "Store 4 exists=0 delete=0 doc=<[]>\n"},
        {"StartCommit", PROTO_CODEC_JSON,
         LIT("{\"startCommit\":{\"runtimeCheckpoint\":{\"sources\":{}},\"statePatches\":"
             "[{\"a\":1}\t,null\t]}}"),
         "StartCommit checkpoint=<{\"sources\":{}}> patches=<[{\"a\":1}\t,null\t]>\n"},
        {"start_commit with an empty checkpoint", PROTO_CODEC_JSON,
         LIT("{\"start_commit\":{\"runtime_checkpoint\":{}}}"), "StartCommit checkpoint=<{}>\n"},
        {"StartCommit with null", PROTO_CODEC_JSON,
         LIT("{\"startCommit\":{\"runtimeCheckpoint\":null}}"), "StartCommit\n"},
        {"Flush with backfills", PROTO_CODEC_JSON,
         LIT("{\"flush\":{\"backfillBegins\":[{\"binding\":1,\"timestamp\":"
             "\"2023-08-11T05:00:27.5+02:00\"}],\"backfillCompletes\":[{\"timestamp\":"
             "\"1970-01-01T00:00:00Z\"}]}}"),
         "Flush begin 1 1691722827.500000000 complete 0 0.000000000\n"},
        {"three with little between", PROTO_CODEC_JSON,
         LIT(" {\"flush\":{}}{\"flush\":{}}\r\n\t{\"acknowledge\":{}} \n"),
         "Flush\nFlush\nAcknowledge\n"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (size_t step = 1; step < 100; step += 7) {
            struct buf printed = pb_new();
            struct error *err = decode_all(rows[i].codec, rows[i].bytes, step, &printed);
            if (err || strncmp(printed.data, rows[i].want, strlen(rows[i].want)) != 0) {
                fail_msg("%s, by %zu: %s", rows[i].why, step, err ? error_text(err) : printed.data);
            }
            buf_done(&printed);
        }
    }
}

static void parts_that_stand_twice_in_json_count_once(void **state)
{
    static const char json[] =
        "{\"validate\":{\"bindings\":[{}],\"bindings\":[{\"collection\":{\"key\":[\"/a\",\"/b\"],"
        "\"key\":[\"/c\"],\"projections\":[{\"inference\":{\"string\":{\"format\":\"date\"},"
        "\"string\":null}},{\"inference\":{\"string\":{\"format\":\"date\"},\"string\":{}}}]}}]}}";
    struct buf printed = pb_new();

    (void)state;
    assert_null(decode_all(PROTO_CODEC_JSON, SPAN_LIT(json), 65536, &printed));
    assert_non_null(strstr(printed.data, "key=( =</c>)"));
    assert_null(strstr(printed.data, "format"));
    assert_null(strstr(printed.data, "binding 1"));
    buf_done(&printed);
}

/* ---------------------------------------------------------------- linked collections */

static void linked_collections_are_resolved_or_refused(void **state)
{
    static const struct {
        const char *why, *linked, *binding;
        const char *want; /* in the printout, or in the error */
        bool good;
    } rows[] = {
        {"index 0 is not written", "[{\"name\":\"a\"},{\"name\":\"b\"}]", "{}", "collection=<a>",
         true},
        {"index 1", "[{\"name\":\"a\"},{\"name\":\"b\"}]", "{\"collectionIndex\":1}",
         "collection=<b>", true},
        {"an inline one without a table", "[]", "{\"collection\":{\"name\":\"c\"}}",
         "collection=<c>", true},
        {"out of range", "[{\"name\":\"a\"}]", "{\"collectionIndex\":1}",
         "collection index 1, but there are 1 linked collections", false},
        {"both", "[{\"name\":\"a\"}]", "{\"collection\":{\"name\":\"c\"}}",
         "a collection of its own next to linked collections", false},
        {"an index without a table", "null",
         "{\"collection\":{\"name\":\"c\"},"
         "\"collectionIndex\":1}",
         "collection index 1, but there are no linked collections", false},
        {"neither", "[]", "{}", "the collection is missing", false},
    };
    static const struct {
        const char *why, *before, *between, *after;
    } places[] = {
        {"Validate", "{\"validate\":{\"linkedCollections\":", ",\"bindings\":[", "]}}"},
        {"Apply", "{\"apply\":{\"materialization\":{\"linkedCollections\":", ",\"bindings\":[",
         "]}}}"},
        {"an inactive binding", "{\"apply\":{\"materialization\":{\"linkedCollections\":",
         ",\"inactiveBindings\":[", "]}}}"},
    };

    (void)state;
    for (size_t p = 0; p < ARRAY_LEN(places); p++) {
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
            struct buf json = pb_new(), printed = pb_new();
            buf_printf(&json, "%s%s%s%s%s", places[p].before, rows[i].linked, places[p].between,
                       rows[i].binding, places[p].after);
            struct error *err = decode_all(PROTO_CODEC_JSON, buf_view(&json), 65536, &printed);
            if ((err == NULL) != rows[i].good ||
                !strstr(err ? error_text(err) : printed.data, rows[i].want)) {
                fail_msg("%s in %s: %s", rows[i].why, places[p].why,
                         err ? error_text(err) : printed.data);
            }
            error_free(err);
            buf_done(&json);
            buf_done(&printed);
        }
    }
}

static void a_label_that_is_not_true_is_no_v2(void **state)
{
    static const struct {
        const char *labels, *want;
    } rows[] = {
        {"[{\"name\":\"estuary.dev/flag/enable-runtime-v2\",\"value\":\"true\"}]", "v2=1"},
        {"[{\"name\":\"estuary.dev/flag/enable-runtime-v2\",\"value\":\"false\"}]", "v2=0"},
        {"[{\"name\":\"estuary.dev/flag/enable-runtime-v2\"}]", "v2=0"},
        {"[{\"name\":\"enable-runtime-v2\",\"value\":\"true\"}]", "v2=0"},
        {"[]", "v2=0"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf json = pb_new(), printed = pb_new();
        buf_printf(&json,
                   "{\"apply\":{\"materialization\":{\"shardTemplate\":{\"labels\":{\"labels\":%s}}"
                   "}}}",
                   rows[i].labels);
        assert_null(decode_all(PROTO_CODEC_JSON, buf_view(&json), 65536, &printed));
        if (!strstr(printed.data, rows[i].want)) {
            fail_msg("%s: %s", rows[i].labels, printed.data);
        }
        buf_done(&json);
        buf_done(&printed);
    }
}

/* ---------------------------------------------------------------- errors */

static void bad_requests_are_named_with_their_place(void **state)
{
    static const struct {
        const char *why;
        enum proto_codec codec;
        struct span bytes;
        const char *error;
    } rows[] = {
        {"an empty message", PROTO_CODEC_PROTOBUF, LIT("\0\0\0\0"),
         "request at byte 0 of the input: the message holds no request"},
        {"only unknown fields", PROTO_CODEC_PROTOBUF, LIT("\2\0\0\0\x50\1"),
         "the message holds no request"},
        {"two kinds", PROTO_CODEC_PROTOBUF, LIT("\4\0\0\0\x2a\0\x3a\0"),
         "the message holds both Load and Store"},
        {"the second message", PROTO_CODEC_PROTOBUF, LIT("\2\0\0\0\x32\0\0\0\0\0"),
         "request at byte 6 of the input: the message holds no request"},
        {"too large", PROTO_CODEC_PROTOBUF, LIT("\1\0\0\x10\x2a"),
         "request at byte 0 of the input: a message of 268435457 bytes is larger than the limit of "
         "268435456"},
        {"much too large", PROTO_CODEC_PROTOBUF, LIT("\xff\xff\xff\xff"),
         "a message of 4294967295 bytes is larger than the limit"},
        {"JSON given as protobuf", PROTO_CODEC_PROTOBUF, LIT("{\"flush\":{}}"),
         "is larger than the limit"},
        {"a kind that is no message", PROTO_CODEC_PROTOBUF, LIT("\2\0\0\0\x28\1"),
         "field 5: the field has another wire type"},
        {"a field that is longer than its message", PROTO_CODEC_PROTOBUF,
         LIT("\4\0\0\0\x2a\2\x1a\1"), "Load: field 3: a field is longer than what is around it"},
        {"a length of nearly 2^64", PROTO_CODEC_PROTOBUF,
         LIT("\x0e\0\0\0\x2a\x0c\x1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\1x"),
         "Load: field 3: a field is longer than what is around it"},
        {"a varint of eleven bytes", PROTO_CODEC_PROTOBUF,
         LIT("\x0e\0\0\0\x2a\x0c\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\1"),
         "Load: field 1: a number has more than 64 bits"},
        {"a varint of 65 bits", PROTO_CODEC_PROTOBUF,
         LIT("\x0d\0\0\0\x2a\x0b\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\2"),
         "Load: field 1: a number has more than 64 bits"},
        {"a binding of 33 bits", PROTO_CODEC_PROTOBUF,
         LIT("\x08\0\0\0\x2a\6\x08\x80\x80\x80\x80\x10"),
         "Load: field 1: a number has more than 32 bits"},
        {"a varint cut off", PROTO_CODEC_PROTOBUF, LIT("\4\0\0\0\x2a\2\x08\x80"),
         "Load: field 1: a number is cut off"},
        {"field number 0", PROTO_CODEC_PROTOBUF, LIT("\4\0\0\0\x2a\2\x00\x01"),
         "Load: a field has number 0"},
        {"a group", PROTO_CODEC_PROTOBUF, LIT("\3\0\0\0\x2a\1\x7b"),
         "Load: field 15: a field has an unknown wire type"},
        {"a binding that is text", PROTO_CODEC_PROTOBUF, LIT("\5\0\0\0\x2a\3\x0a\1x"),
         "Load: field 1: the field has another wire type"},
        {"fixed32 given as varint", PROTO_CODEC_PROTOBUF, LIT("\6\0\0\0\x22\4\x1a\2\x10\1"),
         "Open: range: field 2: the field has another wire type"},
        {"a name that is not UTF-8", PROTO_CODEC_PROTOBUF, LIT("\5\0\0\0\x12\3\x0a\1\xff"),
         "Validate: name: the text is not UTF-8"},
        {"Apply without materialization", PROTO_CODEC_PROTOBUF, LIT("\2\0\0\0\x1a\0"),
         "Apply: the materialization is missing"},
        {"Open without range", PROTO_CODEC_PROTOBUF, LIT("\4\0\0\0\x22\2\x0a\0"),
         "Open: the key range is missing"},
        {"an unknown type", PROTO_CODEC_PROTOBUF,
         LIT("\x0f\0\0\0\x12\x0d\x22\x0b\x12\x09\x32\x07\x32\5\x0a\3abc"),
         "Validate: bindings[0]: collection: projections[0]: inference: unknown type \"abc\""},

        {"an empty object", PROTO_CODEC_JSON, LIT("{}"),
         "request at byte 0 of the input: the message holds no request"},
        {"two kinds", PROTO_CODEC_JSON, LIT("{\"load\":{},\"store\":{}}"),
         "the message holds both Load and Store"},
        {"an array", PROTO_CODEC_JSON, LIT(" []"),
         "request at byte 1 of the input: expected an object, found byte 5b"},
        {"garbage", PROTO_CODEC_JSON, LIT("{\"flush\":{}}\ngarbage"),
         "request at byte 13 of the input: expected an object, found byte 67"},
        {"protobuf given as JSON", PROTO_CODEC_JSON, LIT("\2\0\0\0\x32\0"),
         "expected an object, found byte 02"},
        {"the second message is broken", PROTO_CODEC_JSON, LIT("{\"flush\":{}}\n\n{\"flush\":{]}"),
         "request at byte 14 of the input: Flush: invalid JSON: expected a member's name at byte "
         "10"},
        {"a request that is a list", PROTO_CODEC_JSON, LIT("{\"store\":[]}"),
         "Store: invalid JSON: expected an object at byte 9"},
        {"a request that is a number", PROTO_CODEC_JSON, LIT("{\"spec\":1}"),
         "Spec: expected an object, not a value of type number"},
        {"a binding with a fraction", PROTO_CODEC_JSON, LIT("{\"store\":{\"binding\":1.0}}"),
         "Store: binding: expected an integer of 32 bits"},
        {"a negative binding", PROTO_CODEC_JSON, LIT("{\"store\":{\"binding\":-1}}"),
         "Store: binding: expected an integer of 32 bits"},
        {"a binding of 33 bits", PROTO_CODEC_JSON, LIT("{\"store\":{\"binding\":4294967296}}"),
         "Store: binding: expected an integer of 32 bits"},
        {"a key that is an object", PROTO_CODEC_JSON, LIT("{\"load\":{\"key\":{}}}"),
         "Load: key: expected an array, not a value of type object"},
        {"a packed key that is an array", PROTO_CODEC_JSON, LIT("{\"load\":{\"keyPacked\":[]}}"),
         "Load: keyPacked: expected base64"},
        {"a packed key that is not base64", PROTO_CODEC_JSON,
         LIT("{\"load\":{\"keyPacked\":\"F*==\"}}"), "Load: keyPacked: the text is not base64"},
        {"exists that is a number", PROTO_CODEC_JSON, LIT("{\"store\":{\"exists\":1}}"),
         "Store: exists: expected true or false, not a value of type number"},
        {"a list that is none, deep inside", PROTO_CODEC_JSON,
         LIT("{\"validate\":{\"bindings\":[{},{\"collection\":{\"key\":\"/id\"}}]}}"),
         "Validate: bindings[1]: collection: key: invalid JSON: expected an array at byte 49"},
        {"a time that is none", PROTO_CODEC_JSON,
         LIT("{\"flush\":{\"backfillBegins\":[{\"timestamp\":\"yesterday\"}]}}"),
         "Flush: backfillBegins[0]: timestamp: expected a time as in RFC 3339"},
        {"a checkpoint that is text", PROTO_CODEC_JSON,
         LIT("{\"startCommit\":{\"runtimeCheckpoint\":\"x\"}}"),
         "StartCommit: runtimeCheckpoint: expected an object, not a value of type string"},
        {"a range upside down", PROTO_CODEC_JSON,
         LIT("{\"open\":{\"materialization\":{},\"range\":{\"keyBegin\":2,\"keyEnd\":1}}}"),
         "Open: the key range begins at 00000002, behind its end 00000001"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf printed = pb_new();
        struct error *err = decode_all(rows[i].codec, rows[i].bytes, 65536, &printed);
        if (!err || !strstr(error_text(err), rows[i].error)) {
            fail_msg("%s: %s", rows[i].why, err ? error_text(err) : "accepted");
        }
        assert_int_equal(error_code_of(err), ERROR_PROTOCOL);
        error_free(err);
        buf_done(&printed);
    }
}

static void the_input_may_end_between_requests_only(void **state)
{
    static const struct {
        const char *why;
        enum proto_codec codec;
        struct span bytes;
        const char *error; /* NULL: a clean end */
    } rows[] = {
        {"nothing", PROTO_CODEC_PROTOBUF, LIT(""), NULL},
        {"behind a message", PROTO_CODEC_PROTOBUF, LIT("\2\0\0\0\x32\0"), NULL},
        {"in the length", PROTO_CODEC_PROTOBUF, LIT("\2\0\0\0\x32\0\2\0"),
         "ends inside of a request that began at byte 6"},
        {"behind the length", PROTO_CODEC_PROTOBUF, LIT("\2\0\0\0"), "began at byte 0"},
        {"nothing", PROTO_CODEC_JSON, LIT(""), NULL},
        {"space", PROTO_CODEC_JSON, LIT(" \r\n\t"), NULL},
        {"behind a message", PROTO_CODEC_JSON, LIT("{\"flush\":{}}\n"), NULL},
        {"in a message", PROTO_CODEC_JSON, LIT("{\"flush\":{}}\n{\"flush\""),
         "ends inside of a request that began at byte 13"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf printed = pb_new();
        struct error *err = decode_all(rows[i].codec, rows[i].bytes, 3, &printed);
        if (rows[i].error ? !err || !strstr(error_text(err), rows[i].error) : err != NULL) {
            fail_msg("%s: %s", rows[i].why, err ? error_text(err) : "a clean end");
        }
        error_free(err);
        buf_done(&printed);
    }
}

/* ---------------------------------------------------------------- cuts */

/* Every first part of the message is not the message, and with the rest it is. */
static void check_cuts(enum proto_codec codec, struct span bytes, const char *whole)
{
    struct arena *arena = arena_new(ARENA_MAX);
    struct proto_decoder *decoder = proto_decoder_new(codec);

    for (size_t cut = 0; cut <= bytes.len; cut++) {
        struct buf printed = pb_new();
        assert_null(decode_pieces(decoder, arena, (struct span){bytes.ptr, cut}, 65536, &printed));
        if (cut < bytes.len && printed.len > 0) {
            fail_msg("a message came out of its first %zu bytes", cut);
        }
        struct error *err = proto_decoder_end(decoder);
        assert_int_equal(err != NULL, cut > 0 && cut < bytes.len);
        error_free(err);
        assert_null(decode_pieces(decoder, arena, (struct span){bytes.ptr + cut, bytes.len - cut},
                                  65536, &printed));
        assert_string_equal(printed.data, whole);
        buf_done(&printed);
        arena_reset(arena);
    }
    proto_decoder_free(decoder);
    arena_free(arena);
}

static void a_message_cut_anywhere_is_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(twins); i++) {
        struct buf json = pb_new(), bytes = pb_new(), whole = pb_new();

        twins[i].write_json(&json);
        twins[i].write_protobuf(&bytes);
        assert_null(decode_all(PROTO_CODEC_PROTOBUF, buf_view(&bytes), 65536, &whole));
        check_cuts(PROTO_CODEC_PROTOBUF, buf_view(&bytes), whole.data);
        check_cuts(PROTO_CODEC_JSON, buf_view(&json), whole.data);
        buf_done(&json);
        buf_done(&bytes);
        buf_done(&whole);
    }
}

/* Frames whose inside is cut: whatever comes out, nothing behind the end is read, which needs a
 * sanitizer to be seen, and JSON is always an error. */
static void a_frame_that_ends_early_is_an_error_or_less(void **state)
{
    struct decode_memory memory;

    (void)state;
    buf_init(&memory.key, 65536);
    buf_init(&memory.values, 65536);
    buf_init(&memory.text, 65536);
    for (size_t i = 0; i < ARRAY_LEN(twins); i++) {
        struct buf json = pb_new(), bytes = pb_new();
        twins[i].write_json(&json);
        twins[i].write_protobuf(&bytes);
        unsigned refused = 0;
        for (size_t len = 0; len < bytes.len - 4; len++) {
            struct arena *arena = arena_new(ARENA_MAX);
            struct proto_request request;
            char *copy = malloc(len ? len : 1);
            assert_non_null(copy);
            memcpy(copy, bytes.data + 4, len);
            struct error *err = decode_protobuf((struct span){copy, len}, arena, &request);
            refused += err != NULL;
            error_free(err);
            free(copy);
            arena_free(arena);
        }
        assert_int_equal(refused, bytes.len - 4); /* the outermost length always tells */

        for (size_t len = 0; len < json.len; len++) {
            struct arena *arena = arena_new(ARENA_MAX);
            struct proto_request request;
            char *copy = malloc(len ? len : 1);
            assert_non_null(copy);
            memcpy(copy, json.data, len);
            struct error *err = decode_json((struct span){copy, len}, arena, &memory, &request);
            assert_non_null(err);
            error_free(err);
            free(copy);
            arena_free(arena);
        }
        buf_done(&json);
        buf_done(&bytes);
    }
    buf_done(&memory.key);
    buf_done(&memory.values);
    buf_done(&memory.text);
}

/* A Store whose document has len bytes, in either codec. */
static void add_large_store(enum proto_codec codec, struct buf *out, size_t len)
{
    struct buf doc = pb_new();

    buf_add_byte(&doc, '"');
    char *room = buf_reserve(&doc, len);
    assert_non_null(room);
    memset(room, 'x', len);
    buf_commit(&doc, len);
    buf_add_byte(&doc, '"');
    if (codec == PROTO_CODEC_PROTOBUF) {
        struct buf store = pb_new();
        pb_span(&store, 6, buf_view(&doc));
        pb_frame(out, 7, &store);
    } else {
        buf_add_str(out, "{\"store\":{\"doc\":");
        buf_add_span(out, buf_view(&doc));
        buf_add_str(out, "}}\n");
    }
    buf_done(&doc);
}

static void frames_larger_than_the_buffer_and_small_ones_take_turns(void **state)
{
    static const size_t sizes[] = {10,      1048570, 20, 3000000, 700000, 700000,
                                   5000000, 1,       2,  1048576, 65536,  131072};
    static const enum proto_codec codecs[] = {PROTO_CODEC_PROTOBUF, PROTO_CODEC_JSON};

    (void)state;
    for (size_t c = 0; c < ARRAY_LEN(codecs); c++) {
        for (size_t step = 1000; step <= 1000000; step *= 10) {
            struct proto_decoder *decoder = proto_decoder_new(codecs[c]);
            struct arena *arena = arena_new(ARENA_MAX);
            struct buf bytes = pb_new();
            size_t at = 0;
            unsigned found = 0;
            for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
                add_large_store(codecs[c], &bytes, sizes[i]);
            }
            while (at < bytes.len) {
                struct proto_request request;
                char *room;
                size_t room_len, piece = bytes.len - at < step ? bytes.len - at : step;
                bool have = true;
                proto_decoder_reserve(decoder, &room, &room_len);
                assert_true(room_len >= 65536);
                assert_true(room_len <= (size_t)16 * 1024 * 1024); /* of frames of five */
                piece = piece < room_len ? piece : room_len;
                memcpy(room, bytes.data + at, piece);
                proto_decoder_commit(decoder, piece);
                at += piece;
                while (have) {
                    assert_null(proto_decoder_next(decoder, arena, &request, &have));
                    if (have) {
                        const struct span doc = request.u.store.doc_json;
                        assert_int_equal(doc.len, sizes[found] + 2);
                        assert_true(doc.ptr[0] == '"' && doc.ptr[doc.len - 1] == '"');
                        assert_null(memchr(doc.ptr + 1, '"', doc.len - 2));
                        found++;
                    }
                }
            }
            assert_int_equal(found, ARRAY_LEN(sizes));
            assert_null(proto_decoder_end(decoder));
            buf_done(&bytes);
            proto_decoder_free(decoder);
            arena_free(arena);
        }
    }
}

/* ---------------------------------------------------------------- hostile input */

static void empty_elements_cannot_take_unbounded_memory(void **state)
{
    struct buf bytes = pb_new(), validate = pb_new(), printed = pb_new();

    (void)state;
    /* Two bytes each on the wire, a hundred and more as a struct. */
    for (unsigned i = 0; i < 1000000; i++) {
        buf_add(&validate, "\x22\0", 2);
    }
    pb_frame(&bytes, 2, &validate);
    struct error *err = decode_all(PROTO_CODEC_PROTOBUF, buf_view(&bytes), 65536, &printed);
    assert_non_null(err);
    assert_non_null(strstr(error_text(err), "far more elements than its length explains"));
    error_free(err);
    buf_done(&bytes);
    buf_done(&printed);
}

static void a_nesting_bomb_in_a_document_is_refused(void **state)
{
    struct buf bytes = pb_new(), printed = pb_new();

    (void)state;
    buf_add_str(&bytes, "{\"store\":{\"doc\":");
    for (unsigned i = 0; i < 100000; i++) {
        buf_add_byte(&bytes, '[');
    }
    for (unsigned i = 0; i < 100000; i++) {
        buf_add_byte(&bytes, ']');
    }
    buf_add_str(&bytes, "}}");
    struct error *err = decode_all(PROTO_CODEC_JSON, buf_view(&bytes), 65536, &printed);
    assert_non_null(err);
    assert_non_null(strstr(error_text(err), "nested too deeply"));
    error_free(err);
    buf_done(&bytes);
    buf_done(&printed);
}

static void codecs_have_names(void **state)
{
    enum proto_codec codec = PROTO_CODEC_JSON;

    (void)state;
    assert_null(proto_codec_from_name(NULL, &codec));
    assert_int_equal(codec, PROTO_CODEC_PROTOBUF);
    assert_null(proto_codec_from_name("json", &codec));
    assert_int_equal(codec, PROTO_CODEC_JSON);
    assert_null(proto_codec_from_name("", &codec));
    assert_int_equal(codec, PROTO_CODEC_PROTOBUF);
    codec = PROTO_CODEC_JSON;
    assert_null(proto_codec_from_name("proto", &codec));
    assert_int_equal(codec, PROTO_CODEC_PROTOBUF);
    struct error *err = proto_codec_from_name("xml", &codec);
    assert_non_null(err);
    assert_int_equal(error_class_of(err), ERROR_CONFIG);
    assert_string_equal(error_text(err), "unknown codec \"xml\": expected \"json\" or \"proto\"");
    error_free(err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cold_requests_are_equal_in_both_codecs),
        cmocka_unit_test(every_field_of_open_arrives),
        cmocka_unit_test(small_requests_are_read),
        cmocka_unit_test(parts_that_stand_twice_in_json_count_once),
        cmocka_unit_test(linked_collections_are_resolved_or_refused),
        cmocka_unit_test(a_label_that_is_not_true_is_no_v2),
        cmocka_unit_test(bad_requests_are_named_with_their_place),
        cmocka_unit_test(the_input_may_end_between_requests_only),
        cmocka_unit_test(a_message_cut_anywhere_is_the_same),
        cmocka_unit_test(a_frame_that_ends_early_is_an_error_or_less),
        cmocka_unit_test(frames_larger_than_the_buffer_and_small_ones_take_turns),
        cmocka_unit_test(empty_elements_cannot_take_unbounded_memory),
        cmocka_unit_test(a_nesting_bomb_in_a_document_is_refused),
        cmocka_unit_test(codecs_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
