/*
 * The protobuf codec over any bytes: as a stream, as the inside of one frame with a right length,
 * and as a checkpoint, whose JSON form must be JSON and come back as an equal checkpoint.
 */

#include "fuzz.h"

#include "decode.h"
#include "proto/decode.h"

static void check_frame(struct span frame)
{
    struct arena *arena = arena_new((size_t)1 << 34);
    struct proto_request request;

    error_free(decode_protobuf(frame, arena, &request));
    arena_free(arena);
}

static void check_checkpoint(struct span checkpoint)
{
    struct buf json, again, second;

    buf_init(&json, 64 * checkpoint.len + 1024);
    buf_init(&again, 64 * checkpoint.len + 1024);
    buf_init(&second, 64 * checkpoint.len + 1024);
    struct error *err = proto_checkpoint_to_json(checkpoint, &json);
    if (!err) {
        CHECK(!buf_is_full(&json));
        CHECK(!proto_checkpoint_to_protobuf(buf_view(&json), &again));
        CHECK(!proto_checkpoint_to_json(buf_view(&again), &second));
        CHECK(span_equal(buf_view(&json), buf_view(&second)));
    }
    error_free(err);
    buf_done(&json);
    buf_done(&again);
    buf_done(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct span bytes = {(const char *)data, size};

    check_decoding(PROTO_CODEC_PROTOBUF, bytes);
    check_frame(bytes);
    check_checkpoint(bytes);
    return 0;
}
