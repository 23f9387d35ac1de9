/*
 * proto/rewrite over any bytes as a frame, in both codecs. Promises: a frame that can be redacted
 * can be redacted again with the same result, and has the same kind.
 */

#include "fuzz.h"

#include "proto/rewrite.h"

static void redact_twice(enum proto_codec codec, struct span frame)
{
    struct buf once, twice;

    buf_init(&once, (size_t)1 << 26);
    buf_init(&twice, (size_t)1 << 26);
    struct error *err = proto_redact(codec, frame, &once);
    if (!err && !buf_is_full(&once)) {
        err = proto_redact(codec, buf_view(&once), &twice);
        CHECK(!err && span_equal(buf_view(&once), buf_view(&twice)));
        CHECK(proto_frame_kind(codec, false, frame) ==
              proto_frame_kind(codec, false, buf_view(&once)));
    }
    error_free(err);
    buf_done(&once);
    buf_done(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct span frame = {(const char *)data, size};
    struct span patch;

    redact_twice(PROTO_CODEC_PROTOBUF, frame);
    redact_twice(PROTO_CODEC_JSON, frame);
    error_free(proto_response_state(PROTO_CODEC_PROTOBUF, frame, &patch));
    error_free(proto_response_state(PROTO_CODEC_JSON, frame, &patch));
    return 0;
}
