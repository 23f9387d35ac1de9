/*
 * What one Store costs on its way in: bytes through the decoder (framing included) and both tuples
 * to values, for each form in which a runtime sends it. Documents have about 128 bytes. Prints one
 * row per form; the copy into the decoder's buffer stands for read(2) and is part of the time.
 */

#include "proto/codec.h"
#include "proto/tuple.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define STORES 20000
#define ROUNDS 25
#define READ_BYTES 65536
#define KEY_COUNT 1
#define VALUE_COUNT 4

static const char doc[] =
    "{\"id\":1%05u,\"name\":\"a customer's name\",\"city\":\"Karlsruhe\",\"total\":1234.5,"
    "\"note\":\"a text with \\\"quotes\\\" in it\",\"open\":true}";

enum form { PROTOBUF_PACKED, JSON_PACKED, JSON_ARRAYS, FORMS };
static const char *const form_names[FORMS] = {"protobuf, packed tuples", "JSON, packed tuples (v1)",
                                              "JSON, arrays (v2)"};

static void add_text(struct buf *out, unsigned number, struct span text)
{
    CHECK(text.len < 16384);
    buf_add_byte(out, (char)(number << 3 | 2));
    if (text.len > 127) {
        buf_add_byte(out, (char)(unsigned char)(text.len | 0x80));
        buf_add_byte(out, (char)(text.len >> 7));
    } else {
        buf_add_byte(out, (char)text.len);
    }
    buf_add_span(out, text);
}

static void add_base64(struct buf *out, struct span bytes)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < bytes.len; i += 3) {
        unsigned long three = 0;
        for (size_t j = 0; j < 3; j++) {
            three = three << 8 | (i + j < bytes.len ? (unsigned char)bytes.ptr[i + j] : 0);
        }
        for (size_t j = 0; j < 4; j++) {
            buf_add_byte(out, i + j > bytes.len ? '=' : alphabet[three >> (18 - 6 * j) & 63]);
        }
    }
}

static void add_store(struct buf *out, enum form form, unsigned id)
{
    const char key[] = {0x17, 1, (char)(unsigned char)(id >> 8), (char)(unsigned char)id};
    static const char values[] = "\x02"
                                 "a customer's name\0\x02"
                                 "Karlsruhe\0"
                                 "\x21\xc0\x93\x4a\0\0\0\0\0\x27";
    const struct span key_packed = {key, sizeof(key)};
    const struct span values_packed = {values, sizeof(values) - 1};
    char document[256];
    const int document_len = snprintf(document, sizeof(document), doc, id);
    struct buf store;

    CHECK(document_len > 0 && (size_t)document_len < sizeof(document));
    switch (form) {
    case PROTOBUF_PACKED:
        buf_init(&store, 1024);
        buf_add(&store, "\x08\x01", 2);
        add_text(&store, 3, key_packed);
        add_text(&store, 5, values_packed);
        add_text(&store, 6, span_of(document));
        buf_add(&store, "\x38\x01", 2);
        CHECK(store.len > 127 && store.len < 16384);
        const size_t len = store.len + 3;
        buf_add(out, (const char[]){(char)(unsigned char)len, (char)(len >> 8), 0, 0}, 4);
        add_text(out, 7, buf_view(&store));
        buf_done(&store);
        break;
    case JSON_PACKED:
        buf_add_str(out, "{\"store\":{\"binding\":1,\"keyPacked\":\"");
        add_base64(out, key_packed);
        buf_add_str(out, "\",\"valuesPacked\":\"");
        add_base64(out, values_packed);
        buf_printf(out, "\",\"doc\":%s,\"exists\":true}}\n", document);
        break;
    default:
        buf_printf(out,
                   "{\"store\":{\"binding\":1,\"key\":[%u],\"values\":[\"a customer's name\","
                   "\"Karlsruhe\",1234.5,true],\"doc\":%s,\"exists\":true}}\n",
                   65536 + (id & 0xffff), document);
        break;
    }
}

static double now_ns(void)
{
    struct timespec now;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

struct must_be {
    unsigned stores;
    unsigned long key_sum;
};

static void no_error(struct error *err)
{
    if (err) {
        fprintf(stderr, "%s\n", error_text(err));
        exit(1);
    }
}

/* One pass over the input; with_tuples also reads key and values. */
static struct must_be
pass(struct proto_decoder *decoder, struct arena *arena, struct span input, bool with_tuples)
{
    struct must_be sum = {0};
    struct buf key_scratch, values_scratch;

    buf_init(&key_scratch, 65536);
    buf_init(&values_scratch, 65536);
    for (size_t at = 0; at < input.len;) {
        char *room;
        size_t len;
        proto_decoder_reserve(decoder, &room, &len);
        len = len < READ_BYTES ? len : READ_BYTES;
        len = len < input.len - at ? len : input.len - at;
        memcpy(room, input.ptr + at, len);
        proto_decoder_commit(decoder, len);
        at += len;
        for (;;) {
            struct proto_request request;
            bool have;
            no_error(proto_decoder_next(decoder, arena, &request, &have));
            if (!have) {
                break;
            }
            CHECK(request.kind == PROTO_STORE && request.u.store.exists);
            sum.stores++;
            if (with_tuples) {
                struct value key[KEY_COUNT], values[VALUE_COUNT];
                no_error(tuple_read(&request.u.store.key, key, KEY_COUNT, &key_scratch));
                no_error(tuple_read(&request.u.store.values, values, VALUE_COUNT, &values_scratch));
                CHECK(key[0].kind == VALUE_INT && values[1].text.len == 9);
                sum.key_sum += (unsigned long)key[0].number.i;
            }
        }
    }
    buf_done(&key_scratch);
    buf_done(&values_scratch);
    return sum;
}

/* Nanoseconds per Store, of the best of all rounds: the others were disturbed. */
static double measure(enum form form, struct span input, bool with_tuples)
{
    const enum proto_codec codec =
        form == PROTOBUF_PACKED ? PROTO_CODEC_PROTOBUF : PROTO_CODEC_JSON;
    struct proto_decoder *decoder = proto_decoder_new(codec);
    struct arena *arena = arena_new((size_t)1 << 20);
    double best = 0;

    for (unsigned round = 0; round < ROUNDS; round++) {
        const double start = now_ns();
        const struct must_be sum = pass(decoder, arena, input, with_tuples);
        const double took = (now_ns() - start) / STORES;
        CHECK(sum.stores == STORES);
        CHECK(!with_tuples || sum.key_sum > STORES);
        best = round == 0 || took < best ? took : best;
    }
    proto_decoder_free(decoder);
    arena_free(arena);
    return best;
}

int main(void)
{
    printf("%-26s %12s %14s %18s %10s\n", "form", "bytes/store", "decode ns", "decode+tuples ns",
           "MB/s");
    for (unsigned form = 0; form < FORMS; form++) {
        struct buf input;
        buf_init(&input, (size_t)64 * 1024 * 1024);
        for (unsigned i = 0; i < STORES; i++) {
            add_store(&input, (enum form)form, i);
        }
        CHECK(!buf_is_full(&input));
        const double bytes = (double)input.len / STORES;
        const double decode = measure((enum form)form, buf_view(&input), false);
        const double all = measure((enum form)form, buf_view(&input), true);
        printf("%-26s %12.1f %14.1f %18.1f %10.0f\n", form_names[form], bytes, decode, all,
               bytes / all * 1000);
        buf_done(&input);
    }
    return 0;
}
