#ifndef TESTS_UNIT_PROTO_SUPPORT_H
#define TESTS_UNIT_PROTO_SUPPORT_H

/*
 * What the tests of proto share: a writer of protobuf that is not the product's, one set of
 * requests in both codecs, and a printout of a request with all of its fields, by which two of them
 * are compared.
 */

#include "base/arena.h"
#include "base/buf.h"
#include "proto/codec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* A span in a static table, where SPAN_LIT is not constant enough. */
#define LIT(text)                                                                                  \
    {                                                                                              \
        (text), sizeof(text) - 1                                                                   \
    }

/* ---------------------------------------------------------------- writing protobuf */

static inline void pb_varint(struct buf *out, uint64_t value)
{
    do {
        buf_add_byte(out, (char)(unsigned char)((value & 0x7f) | (value > 0x7f ? 0x80 : 0)));
        value >>= 7;
    } while (value);
}

static inline void pb_uint(struct buf *out, unsigned number, uint64_t value)
{
    pb_varint(out, number * 8);
    pb_varint(out, value);
}

static inline void pb_little_endian(struct buf *out, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        buf_add_byte(out, (char)(unsigned char)(value >> (8 * i)));
    }
}

static inline void pb_fixed32(struct buf *out, unsigned number, uint32_t value)
{
    pb_varint(out, number * 8 + 5);
    pb_little_endian(out, value, 4);
}

static inline void pb_double(struct buf *out, unsigned number, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    pb_varint(out, number * 8 + 1);
    pb_little_endian(out, bits, 8);
}

static inline void pb_span(struct buf *out, unsigned number, struct span bytes)
{
    pb_varint(out, number * 8 + 2);
    pb_varint(out, bytes.len);
    buf_add_span(out, bytes);
}

static inline void pb_text(struct buf *out, unsigned number, const char *text)
{
    pb_span(out, number, span_of(text));
}

/* A message that was built in part, which is empty afterwards. */
static inline void pb_part(struct buf *out, unsigned number, struct buf *part)
{
    pb_span(out, number, buf_view(part));
    buf_done(part);
}

static inline struct buf pb_new(void)
{
    struct buf buf;
    buf_init(&buf, (size_t)64 * 1024 * 1024);
    return buf;
}

/* The length prefix and the message, as request number. */
static inline void pb_frame(struct buf *out, unsigned number, struct buf *part)
{
    struct buf message = pb_new();

    pb_part(&message, number, part);
    pb_little_endian(out, message.len, 4);
    buf_add_span(out, buf_view(&message));
    buf_done(&message);
}

/* ---------------------------------------------------------------- printing requests */

static inline void dump_span(struct buf *out, const char *name, struct span text)
{
    if (text.ptr) {
        buf_printf(out, " %s=<%.*s>", name, SPAN_FMT(text));
    }
}

static inline void
dump_spans(struct buf *out, const char *name, const struct span *spans, unsigned count)
{
    buf_printf(out, " %s=(", name);
    for (unsigned i = 0; i < count; i++) {
        dump_span(out, "", spans[i]);
    }
    buf_add_str(out, ")");
}

static inline void
dump_options(struct buf *out, const struct proto_field_option *options, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        dump_span(out, "option", options[i].field);
        dump_span(out, "to", options[i].config_json);
    }
}

static inline void dump_collection(struct buf *out, const struct proto_collection *collection)
{
    dump_span(out, "\n collection", collection->name);
    dump_spans(out, "key", collection->key, collection->key_count);
    for (unsigned i = 0; i < collection->projection_count; i++) {
        const struct proto_projection *p = &collection->projections[i];
        const struct proto_inference *in = &p->inference;
        dump_span(out, "\n  projection", p->field);
        dump_span(out, "ptr", p->ptr);
        buf_printf(out, " explicit=%d partition=%d primary=%d types=%u exists=%d", p->is_explicit,
                   p->is_partition_key, p->is_primary_key, in->types, (int)in->exists);
        dump_spans(out, "names", in->type_names, in->type_name_count);
        dump_span(out, "title", in->title);
        dump_span(out, "description", in->description);
        dump_span(out, "default", in->default_json);
        if (in->has_string) {
            buf_printf(out, " string max=%u", (unsigned)in->max_length);
            dump_span(out, "type", in->content_type);
            dump_span(out, "format", in->format);
            dump_span(out, "encoding", in->content_encoding);
        }
        if (in->has_numeric) {
            buf_printf(out, " numeric %d %.17g %d %.17g", in->has_minimum, in->minimum,
                       in->has_maximum, in->maximum);
        }
    }
}

static inline void
dump_bindings(struct buf *out, const char *name, const struct proto_binding *b, unsigned count)
{
    for (unsigned i = 0; i < count; i++, b++) {
        buf_printf(out, "\n%s %u delta=%d backfill=%u", name, i, b->delta_updates,
                   (unsigned)b->backfill);
        dump_span(out, "resource", b->resource_config_json);
        dump_spans(out, "path", b->resource_path, b->resource_path_count);
        dump_span(out, "state_key", b->state_key);
        dump_spans(out, "keys", b->selection.keys, b->selection.key_count);
        dump_spans(out, "values", b->selection.values, b->selection.value_count);
        dump_span(out, "document", b->selection.document);
        dump_options(out, b->selection.options, b->selection.option_count);
        dump_collection(out, b->collection);
    }
}

static inline void dump_materialization(struct buf *out, const struct proto_materialization *m)
{
    if (!m) {
        buf_add_str(out, "\nno materialization");
        return;
    }
    dump_span(out, "\nmaterialization", m->name);
    dump_span(out, "config", m->config_json);
    buf_printf(out, " v2=%d linked=%u", m->is_runtime_v2, m->linked_collection_count);
    dump_bindings(out, "binding", m->bindings, m->binding_count);
    dump_bindings(out, "inactive", m->inactive_bindings, m->inactive_binding_count);
}

static inline void
dump_backfills(struct buf *out, const char *name, const struct proto_backfill *b, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        buf_printf(out, " %s %u %lld.%09d", name, (unsigned)b[i].binding, (long long)b[i].seconds,
                   (int)b[i].nanos);
    }
}

static inline void dump_validate(struct buf *out, const struct proto_validate *v)
{
    dump_span(out, "name", v->name);
    dump_span(out, "config", v->config_json);
    dump_span(out, "last_version", v->last_version);
    for (unsigned i = 0; i < v->binding_count; i++) {
        const struct proto_validate_binding *b = &v->bindings[i];
        buf_printf(out, "\nbinding %u backfill=%u", i, (unsigned)b->backfill);
        dump_span(out, "resource", b->resource_config_json);
        dump_spans(out, "group_by", b->group_by, b->group_by_count);
        dump_options(out, b->options, b->option_count);
        dump_collection(out, b->collection);
    }
    dump_materialization(out, v->last_materialization);
}

/* Everything that a consumer may read; what is absent is left out. */
static inline void dump_request(struct buf *out, const struct proto_request *request)
{
    buf_add_str(out, proto_request_name(request->kind));
    switch (request->kind) {
    case PROTO_SPEC:
        break;
    case PROTO_VALIDATE:
        dump_validate(out, request->u.validate);
        break;
    case PROTO_APPLY:
        dump_span(out, "version", request->u.apply->version);
        dump_span(out, "last_version", request->u.apply->last_version);
        dump_span(out, "state", request->u.apply->state_json);
        dump_materialization(out, request->u.apply->materialization);
        dump_materialization(out, request->u.apply->last_materialization);
        break;
    case PROTO_OPEN:
        dump_span(out, "version", request->u.open->version);
        dump_span(out, "state", request->u.open->state_json);
        buf_printf(out, " range=%08x-%08x", (unsigned)request->u.open->key_begin,
                   (unsigned)request->u.open->key_end);
        dump_materialization(out, request->u.open->materialization);
        break;
    case PROTO_LOAD:
        buf_printf(out, " %u", (unsigned)request->u.load.binding);
        dump_span(out, "key_packed", request->u.load.key.packed);
        dump_span(out, "key", request->u.load.key.json);
        break;
    case PROTO_FLUSH:
        dump_span(out, "patches", request->u.flush.state_patches_json);
        dump_backfills(out, "begin", request->u.flush.begins, request->u.flush.begin_count);
        dump_backfills(out, "complete", request->u.flush.completes,
                       request->u.flush.complete_count);
        break;
    case PROTO_STORE:
        buf_printf(out, " %u exists=%d delete=%d", (unsigned)request->u.store.binding,
                   request->u.store.exists, request->u.store.is_delete);
        dump_span(out, "key_packed", request->u.store.key.packed);
        dump_span(out, "key", request->u.store.key.json);
        dump_span(out, "values_packed", request->u.store.values.packed);
        dump_span(out, "values", request->u.store.values.json);
        dump_span(out, "doc", request->u.store.doc_json);
        break;
    case PROTO_START_COMMIT:
        dump_span(out, "checkpoint", request->u.start_commit.runtime_checkpoint);
        dump_span(out, "patches", request->u.start_commit.state_patches_json);
        break;
    case PROTO_ACKNOWLEDGE:
        dump_span(out, "patches", request->u.acknowledge.state_patches_json);
        break;
    }
    buf_add_str(out, "\n");
}

/* ---------------------------------------------------------------- the same requests twice */

#define ARENA_MAX ((size_t)1024 * 1024 * 1024)

#define PROJECTIONS_JSON                                                                           \
    "[{\"field\":\"flow_document\",\"inference\":{\"types\":[\"object\"],\"exists\":\"MUST\"}},"   \
    "{\"ptr\":\"/id\",\"field\":\"id\",\"explicit\":true,\"isPrimaryKey\":true,\"inference\":"     \
    "{\"types\":[\"fractional\",\"integer\"],\"exists\":1,\"numeric\":{\"hasMinimum\":true,"       \
    "\"minimum\":-5,\"hasMaximum\":true,\"maximum\":1e3}}},"                                       \
    "{\"ptr\":\"/a~1b\",\"field\":\"a/b \\\"\\u00e9\",\"isPartitionKey\":true,\"inference\":"      \
    "{\"types\":[\"null\",\"string\"],\"string\":{\"contentType\":\"text/plain\",\"format\":"      \
    "\"date-time\",\"maxLength\":\"40\",\"contentEncoding\":\"base64\"},\"title\":\"T\","          \
    "\"description\":\"D\\n\",\"default\":\"x\",\"exists\":\"MAY\",\"secret\":true,"               \
    "\"enum\":[1,{}],\"reduce\":\"REDUCE_SUM\"}}]"

static inline void pb_inference_string(struct buf *inference)
{
    struct buf string = pb_new();

    pb_text(&string, 3, "text/plain");
    pb_text(&string, 4, "date-time");
    pb_uint(&string, 6, 40);
    pb_text(&string, 7, "base64");
    pb_part(inference, 3, &string);
}

static inline void pb_projections(struct buf *collection)
{
    struct buf projection = pb_new(), inference = pb_new(), numeric = pb_new();

    pb_text(&projection, 2, "flow_document");
    pb_text(&inference, 1, "object");
    pb_uint(&inference, 8, 1);
    pb_part(&projection, 6, &inference);
    pb_part(collection, 6, &projection);

    pb_text(&projection, 1, "/id");
    pb_text(&projection, 2, "id");
    pb_uint(&projection, 3, 1);
    pb_uint(&projection, 5, 1);
    pb_text(&inference, 1, "fractional");
    pb_text(&inference, 1, "integer");
    pb_uint(&inference, 8, 1);
    pb_uint(&numeric, 1, 1);
    pb_double(&numeric, 2, -5);
    pb_uint(&numeric, 3, 1);
    pb_double(&numeric, 4, 1000);
    pb_part(&inference, 9, &numeric);
    pb_part(&projection, 6, &inference);
    pb_part(collection, 6, &projection);

    pb_text(&projection, 1, "/a~1b");
    pb_text(&projection, 2, "a/b \"\xc3\xa9");
    pb_uint(&projection, 4, 1);
    pb_text(&inference, 1, "null");
    pb_text(&inference, 1, "string");
    pb_inference_string(&inference);
    pb_text(&inference, 4, "T");
    pb_text(&inference, 5, "D\n");
    pb_text(&inference, 6, "\"x\"");
    pb_uint(&inference, 7, 1);
    pb_uint(&inference, 8, 2);
    pb_text(&inference, 11, "1");
    pb_text(&inference, 11, "{}");
    pb_uint(&inference, 12, 9);
    pb_part(&projection, 6, &inference);
    pb_part(collection, 6, &projection);
}

#define COLLECTION_JSON                                                                            \
    "{\"name\":\"acmeCo/orders\",\"key\":[\"/id\",\"/k\"],\"uuidPtr\":\"/_meta/uuid\","            \
    "\"writeSchema\":{\"type\":\"object\"},\"projections\":" PROJECTIONS_JSON "}"

static inline void pb_collection(struct buf *out, unsigned number)
{
    struct buf collection = pb_new();

    pb_text(&collection, 1, "acmeCo/orders");
    pb_text(&collection, 3, "/id");
    pb_text(&collection, 3, "/k");
    pb_text(&collection, 4, "/_meta/uuid");
    pb_projections(&collection);
    pb_text(&collection, 8, "{\"type\":\"object\"}");
    pb_part(out, number, &collection);
}

/* A map entry; a NULL key is left out, as it is when it is empty. */
static inline void pb_entry(struct buf *out, unsigned number, const char *key, const char *value)
{
    struct buf entry = pb_new();

    if (key) {
        pb_text(&entry, 1, key);
    }
    pb_text(&entry, 2, value);
    pb_part(out, number, &entry);
}

static inline void js_binding(struct buf *out)
{
    buf_add_str(
        out,
        "{\"resourceConfig\":{\"table\": \"orders\"},\"resourcePath\":[\"main\",\"orders\"],"
        "\"collection\":" COLLECTION_JSON ",\"fieldSelection\":{\"keys\":[\"id\"],\"values\":"
        "[\"name\",\"total\"],\"document\":\"flow_document\",\"fieldConfig\":{\"name\":{\"x\":1},"
        "\"\":{\"y\":2}}},\"deltaUpdates\":true,\"priority\":-1,\"notBefore\":"
        "\"2023-08-11T03:00:27Z\",\"backfill\":2,\"stateKey\":\"orders.v2\",\"serPolicy\":"
        "{\"strTruncateAfter\":1}}");
}

static inline void pb_binding(struct buf *out, unsigned number)
{
    struct buf binding = pb_new(), selection = pb_new(), policy = pb_new();

    pb_text(&binding, 1, "{\"table\": \"orders\"}");
    pb_text(&binding, 2, "main");
    pb_text(&binding, 2, "orders");
    pb_collection(&binding, 3);
    pb_text(&selection, 1, "id");
    pb_text(&selection, 2, "name");
    pb_text(&selection, 2, "total");
    pb_text(&selection, 3, "flow_document");
    pb_entry(&selection, 4, "name", "{\"x\":1}");
    pb_entry(&selection, 4, NULL, "{\"y\":2}");
    pb_part(&binding, 4, &selection);
    pb_uint(&binding, 5, 1);
    pb_uint(&binding, 9, UINT64_MAX); /* priority: -1 takes ten bytes */
    pb_text(&binding, 10, "\x08\xdb\xa7\xd7\xa6\x06");
    pb_uint(&binding, 12, 2);
    pb_text(&binding, 13, "orders.v2");
    pb_uint(&policy, 1, 1);
    pb_part(&binding, 14, &policy);
    pb_part(out, number, &binding);
}

static inline void js_materialization(struct buf *out)
{
    buf_add_str(out, "{\"name\":\"acmeCo/wh/orders\",\"connectorType\":\"IMAGE\",\"config\":{\"n\":"
                     "9007199254740993},\"bindings\":[");
    js_binding(out);
    buf_add_str(
        out,
        "],\"shardTemplate\":{\"id\":\"s\","
        "\"maxTxnDuration\":\"300s\",\"labels\":{\"labels\":[{\"name\":\"other\",\"value\":\"x\"},"
        "{\"name\":\"estuary.dev/flag/enable-runtime-v2\",\"value\":\"true\"}]}},"
        "\"inactiveBindings\":[");
    js_binding(out);
    buf_add_str(out, ",");
    js_binding(out);
    buf_add_str(out, "],\"secrets\":{\"/a\":\"b\"}}");
}

static inline void pb_materialization(struct buf *out, unsigned number)
{
    struct buf m = pb_new(), shard = pb_new(), labels = pb_new(), label = pb_new();

    pb_text(&m, 1, "acmeCo/wh/orders");
    pb_uint(&m, 2, 8);
    pb_text(&m, 3, "{\"n\":9007199254740993}");
    pb_binding(&m, 4);
    pb_text(&shard, 1, "s");
    pb_text(&label, 1, "other");
    pb_text(&label, 2, "x");
    pb_part(&labels, 1, &label);
    pb_text(&label, 1, "estuary.dev/flag/enable-runtime-v2");
    pb_text(&label, 2, "true");
    pb_part(&labels, 1, &label);
    pb_part(&shard, 10, &labels);
    pb_part(&m, 5, &shard);
    pb_binding(&m, 9);
    pb_binding(&m, 9);
    pb_entry(&m, 14, "/a", "b");
    pb_part(out, number, &m);
}

static inline void js_open(struct buf *out)
{
    buf_add_str(out, "{\"open\":{\"materialization\":");
    js_materialization(out);
    buf_add_str(
        out, ",\"version\":\"00ab\",\"range\":"
             "{\"keyBegin\":2147483648,\"keyEnd\":4294967295,\"rClockEnd\":4294967295},\"state\":"
             "{\"cursor\":12345678901234567890123456789012345678}}}");
}

static inline void pb_open(struct buf *out)
{
    struct buf open = pb_new(), range = pb_new();

    pb_materialization(&open, 1);
    pb_text(&open, 2, "00ab");
    pb_fixed32(&range, 2, UINT32_C(2147483648));
    pb_fixed32(&range, 3, UINT32_MAX);
    pb_fixed32(&range, 5, UINT32_MAX);
    pb_part(&open, 3, &range);
    pb_text(&open, 4, "{\"cursor\":12345678901234567890123456789012345678}");
    pb_frame(out, 4, &open);
}

static inline void js_apply(struct buf *out)
{
    buf_add_str(out, "{\"apply\":{\"materialization\":");
    js_materialization(out);
    buf_add_str(out, ",\"version\":\"00ab\","
                     "\"lastMaterialization\":");
    js_materialization(out);
    buf_add_str(out, ",\"lastVersion\":\"00aa\",\"state\":{}}}");
}

static inline void pb_apply(struct buf *out)
{
    struct buf apply = pb_new();

    pb_materialization(&apply, 1);
    pb_text(&apply, 2, "00ab");
    pb_uint(&apply, 3, 1);
    pb_materialization(&apply, 4);
    pb_text(&apply, 5, "00aa");
    pb_text(&apply, 6, "{}");
    pb_frame(out, 3, &apply);
}

static inline void js_validate(struct buf *out)
{
    buf_add_str(
        out,
        "{\"validate\":{\"name\":\"acmeCo/wh/orders\",\"connectorType\":8,\"config\":{\"path\":1},"
        "\"bindings\":[{\"resourceConfig\":{\"t\":1},\"collection\":" COLLECTION_JSON
        ",\"fieldConfig\":{\"id\":{}},\"backfill\":2,\"groupBy\":[\"id\",\"k\"]},"
        "{\"resourceConfig\":{\"t\":2},\"collection\":" COLLECTION_JSON "}],"
        "\"lastMaterialization\":");
    js_materialization(out);
    buf_add_str(out, ",\"lastVersion\":\"00aa\"}}");
}

static inline void pb_validate(struct buf *out)
{
    struct buf validate = pb_new(), binding = pb_new();

    pb_text(&validate, 1, "acmeCo/wh/orders");
    pb_uint(&validate, 2, 8);
    pb_text(&validate, 3, "{\"path\":1}");
    pb_text(&binding, 1, "{\"t\":1}");
    pb_collection(&binding, 2);
    pb_entry(&binding, 3, "id", "{}");
    pb_uint(&binding, 4, 2);
    pb_text(&binding, 5, "id");
    pb_text(&binding, 5, "k");
    pb_part(&validate, 4, &binding);
    pb_text(&binding, 1, "{\"t\":2}");
    pb_collection(&binding, 2);
    pb_part(&validate, 4, &binding);
    pb_materialization(&validate, 5);
    pb_text(&validate, 6, "00aa");
    pb_frame(out, 2, &validate);
}

/* ---------------------------------------------------------------- decoding */

/* Gives len bytes to the decoder, in pieces of at most step, and appends the printout of each
 * request that comes out. The first error ends it and is returned. */
static inline struct error *decode_pieces(struct proto_decoder *decoder,
                                          struct arena *arena,
                                          struct span bytes,
                                          size_t step,
                                          struct buf *printed)
{
    for (size_t at = 0; at < bytes.len;) {
        struct proto_request request;
        char *room;
        size_t room_len, piece = bytes.len - at < step ? bytes.len - at : step;
        bool have = true;

        proto_decoder_reserve(decoder, &room, &room_len);
        assert_true(room_len >= 65536);
        piece = piece < room_len ? piece : room_len;
        memcpy(room, bytes.ptr + at, piece);
        proto_decoder_commit(decoder, piece);
        at += piece;
        while (have) {
            struct error *err = proto_decoder_next(decoder, arena, &request, &have);
            if (err) {
                return err;
            }
            if (have) {
                dump_request(printed, &request);
            }
        }
    }
    return NULL;
}

/* The same with a decoder of its own, at once and to the end. */
static inline struct error *
decode_all(enum proto_codec codec, struct span bytes, size_t step, struct buf *printed)
{
    struct proto_decoder *decoder = proto_decoder_new(codec);
    struct arena *arena = arena_new(ARENA_MAX);
    struct error *err = decode_pieces(decoder, arena, bytes, step, printed);

    if (!err) {
        err = proto_decoder_end(decoder);
    }
    proto_decoder_free(decoder);
    arena_free(arena);
    return err;
}

#endif
