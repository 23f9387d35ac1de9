/*
 * Room proto: the stream of requests. Bytes come in from the owner, who read them into the memory
 * lent here; requests go out one at a time. Frames are found here, their inside is decode_*.c's.
 *
 *      data      start              start+scanned       end               cap
 *       | consumed | current or unfinished frame ...      | room           |
 *
 * The unfinished frame moves to the front when the room behind it is used up, or at once when it
 * says that it will not end in that room: then little of it has come. There it starts at 0, so it
 * is moved at most once before the buffer must grow for it. What an unfinished frame claims about
 * its length makes nothing grow: room doubles as bytes really arrive.
 */

#include "proto/codec.h"

#include "base/secret.h"
#include "base/size.h"
#include "proto/decode.h"
#include "json/scan.h"

#include <inttypes.h>

#define FIRST_BYTES MIB
#define ROOM_BYTES (64 * KIB)
#define PREFIX_BYTES 4
#define MAX_BYTES (PROTO_MAX_FRAME + PREFIX_BYTES + ROOM_BYTES)

struct proto_decoder {
    enum proto_codec codec;
    char *data;
    size_t start, end, cap;
    size_t high;               /* the furthest that end ever was; behind it nothing was written */
    uint64_t offset;           /* of data[start] in the stream */
    size_t scanned;            /* JSON: bytes behind start that the framer has seen */
    struct json_framer framer; /* JSON: where in the value it is after them */
    struct decode_memory memory;
    proto_observe_fn *observe; /* NULL: nobody looks on */
    void *observe_ctx;
};

struct error *proto_codec_from_name(const char *name, enum proto_codec *ret)
{
    if (!name || !*name || strcmp(name, "proto") == 0) {
        *ret = PROTO_CODEC_PROTOBUF;
        return NULL;
    }
    if (strcmp(name, "json") == 0) {
        *ret = PROTO_CODEC_JSON;
        return NULL;
    }
    return error_new(ERROR_INPUT, ERROR_CONFIG,
                     "unknown codec \"%s\": expected \"json\" or \"proto\"", name);
}

struct proto_decoder *proto_decoder_new(enum proto_codec codec)
{
    struct proto_decoder *decoder = mem_alloc(sizeof(*decoder));

    decoder->codec = codec;
    decoder->cap = FIRST_BYTES;
    decoder->data = mem_realloc(NULL, decoder->cap); /* not zeroed: pages come as they are used */
    buf_init(&decoder->memory.key, 4 * PROTO_MAX_FRAME);
    buf_init(&decoder->memory.values, 4 * PROTO_MAX_FRAME);
    buf_init(&decoder->memory.text, PROTO_MAX_FRAME);
    return decoder;
}

void proto_decoder_observe(struct proto_decoder *decoder, proto_observe_fn *observe, void *ctx)
{
    decoder->observe = observe;
    decoder->observe_ctx = ctx;
}

void proto_decoder_free(struct proto_decoder *decoder)
{
    if (!decoder) {
        return;
    }
    secret_wipe(decoder->data, decoder->high); /* configurations passed through */
    mem_free(decoder->data);
    buf_done(&decoder->memory.key);
    buf_done(&decoder->memory.values);
    buf_done(&decoder->memory.text);
    mem_free(decoder);
}

/* ---------------------------------------------------------------- room */

/* Of the frame at at, without the prefix. */
static uint32_t frame_len(const char *at)
{
    const unsigned char *prefix = (const unsigned char *)at;

    return (uint32_t)prefix[0] | (uint32_t)prefix[1] << 8 | (uint32_t)prefix[2] << 16 |
           (uint32_t)prefix[3] << 24;
}

static bool is_short_of_room(const struct proto_decoder *decoder)
{
    if (decoder->cap - decoder->end < ROOM_BYTES) {
        return true;
    }
    return decoder->codec == PROTO_CODEC_PROTOBUF &&
           decoder->end - decoder->start >= PREFIX_BYTES &&
           frame_len(decoder->data + decoder->start) > decoder->cap - decoder->start - PREFIX_BYTES;
}

void proto_decoder_reserve(struct proto_decoder *decoder, char **ret_ptr, size_t *ret_len)
{
    if (decoder->start == decoder->end) {
        decoder->start = decoder->end = 0;
    }
    if (decoder->start > 0 && is_short_of_room(decoder)) {
        const size_t rest = decoder->end - decoder->start;
        memmove(decoder->data, decoder->data + decoder->start, rest);
        decoder->start = 0;
        decoder->end = rest;
    }
    if (decoder->cap - decoder->end < ROOM_BYTES) {
        size_t cap = 2 * decoder->cap;
        if (cap > MAX_BYTES) {
            cap = MAX_BYTES;
        }
        CHECK(cap - decoder->end >= ROOM_BYTES); /* else the owner did not take what was there */
        decoder->data = mem_realloc(decoder->data, cap);
        decoder->cap = cap;
    }
    *ret_ptr = decoder->data + decoder->end;
    *ret_len = decoder->cap - decoder->end;
}

void proto_decoder_commit(struct proto_decoder *decoder, size_t len)
{
    CHECK(len <= decoder->cap - decoder->end);
    decoder->end += len;
    if (decoder->end > decoder->high) {
        decoder->high = decoder->end;
    }
}

static void consume(struct proto_decoder *decoder, size_t len)
{
    decoder->start += len;
    decoder->offset += len;
}

/* ---------------------------------------------------------------- frames */

static struct error *too_large(uint64_t len)
{
    return error_new(ERROR_PROTOCOL, ERROR_FATAL,
                     "a message of %" PRIu64 " bytes is larger than the limit of %zu", len,
                     PROTO_MAX_FRAME);
}

/* A frame that is complete is lent and consumed; it stays where it is until the next reserve. */
static struct error *
next_protobuf(struct proto_decoder *decoder, struct span *ret_frame, bool *ret_have)
{
    const size_t rest = decoder->end - decoder->start;

    *ret_have = false;
    if (rest < PREFIX_BYTES) {
        return NULL;
    }
    const uint32_t len = frame_len(decoder->data + decoder->start);
    if (len > PROTO_MAX_FRAME) {
        return too_large(len);
    }
    if (rest - PREFIX_BYTES < len) {
        return NULL;
    }
    *ret_frame = (struct span){decoder->data + decoder->start + PREFIX_BYTES, len};
    *ret_have = true;
    consume(decoder, PREFIX_BYTES + len);
    return NULL;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static struct error *
next_json(struct proto_decoder *decoder, struct span *ret_frame, bool *ret_have)
{
    *ret_have = false;
    while (decoder->scanned == 0 && decoder->start < decoder->end &&
           is_space(decoder->data[decoder->start])) {
        consume(decoder, 1);
    }

    char *const at = decoder->data + decoder->start;
    const size_t rest = decoder->end - decoder->start;
    if (rest > 0 && *at != '{') {
        /* Said at once, before garbage is collected up to the limit. */
        return error_new(ERROR_PROTOCOL, ERROR_FATAL, "expected an object, found byte %02x",
                         (unsigned)(unsigned char)*at);
    }
    size_t used;
    if (!json_frame(&decoder->framer, at + decoder->scanned, rest - decoder->scanned, &used)) {
        decoder->scanned = rest;
        return rest > PROTO_MAX_FRAME ? too_large(rest) : NULL;
    }
    const size_t len = decoder->scanned + used;
    if (len > PROTO_MAX_FRAME) {
        return too_large(len);
    }
    decoder->scanned = 0;
    *ret_frame = (struct span){at, len};
    *ret_have = true;
    consume(decoder, len);
    return NULL;
}

/* ---------------------------------------------------------------- requests */

/* The scanner's errors know nothing of protocols. */
static struct error *as_protocol_error(struct error *err)
{
    if (error_code_of(err) == ERROR_PROTOCOL) {
        return err;
    }
    struct error *same = error_new(ERROR_PROTOCOL, ERROR_FATAL, "%s", error_text(err));
    error_free(err);
    return same;
}

struct error *proto_decoder_next(struct proto_decoder *decoder,
                                 struct arena *arena,
                                 struct proto_request *ret,
                                 bool *ret_have)
{
    struct span frame;
    struct error *err;
    uint64_t offset = decoder->offset;

    if (decoder->codec == PROTO_CODEC_PROTOBUF) {
        err = next_protobuf(decoder, &frame, ret_have);
        if (!err && *ret_have) {
            err = decode_protobuf(frame, arena, ret);
        }
    } else {
        err = next_json(decoder, &frame, ret_have);
        offset = *ret_have ? decoder->offset - frame.len : decoder->offset;
        if (!err && *ret_have) {
            err = decode_json(frame, arena, &decoder->memory, ret);
        }
    }
    if (decoder->observe && *ret_have) {
        decoder->observe(decoder->observe_ctx, err ? 0 : (unsigned)ret->kind, frame);
    }
    if (err) {
        *ret_have = false;
        return error_wrap(as_protocol_error(err), "request at byte %" PRIu64 " of the input",
                          offset);
    }
    return NULL;
}

struct error *proto_decoder_end(const struct proto_decoder *decoder)
{
    size_t at = decoder->start;

    if (decoder->codec == PROTO_CODEC_JSON) {
        while (at < decoder->end && is_space(decoder->data[at])) {
            at++;
        }
    }
    if (at == decoder->end) {
        return NULL;
    }
    return error_new(ERROR_PROTOCOL, ERROR_FATAL,
                     "the input ends inside of a request that began at byte %" PRIu64,
                     decoder->offset + (at - decoder->start));
}
