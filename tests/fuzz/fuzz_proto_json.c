/*
 * The JSON codec over any bytes: as a stream, as one frame whatever the framer would say, and as a
 * checkpoint.
 */

#include "fuzz.h"

#include "decode.h"
#include "proto/decode.h"

static void check_frame(struct span frame)
{
    struct arena *arena = arena_new((size_t)1 << 34);
    struct decode_memory memory;
    struct proto_request request;

    buf_init(&memory.key, 4 * frame.len + 64);
    buf_init(&memory.values, 4 * frame.len + 64);
    buf_init(&memory.text, frame.len + 64);
    error_free(decode_json(frame, arena, &memory, &request));
    buf_done(&memory.key);
    buf_done(&memory.values);
    buf_done(&memory.text);
    arena_free(arena);
}

static void check_checkpoint(struct span checkpoint)
{
    struct buf protobuf, json;

    buf_init(&protobuf, 64 * checkpoint.len + 1024);
    buf_init(&json, 64 * checkpoint.len + 1024);
    struct error *err = proto_checkpoint_to_protobuf(checkpoint, &protobuf);
    if (!err) {
        err = proto_checkpoint_to_json(buf_view(&protobuf), &json); /* keys may be no UTF-8 */
    }
    error_free(err);
    buf_done(&protobuf);
    buf_done(&json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct span bytes = {(const char *)data, size};

    check_decoding(PROTO_CODEC_JSON, bytes);
    check_frame(bytes);
    check_checkpoint(bytes);
    return 0;
}
