#ifndef PROTO_CODEC_H
#define PROTO_CODEC_H

/*
 * Bytes to requests, responses to bytes, in both of Flow's codecs. Does no I/O: the owner reads
 * into the memory that the decoder lends and writes what the encoder appended.
 *
 *      decoder:  | consumed | current message | bytes that follow ... | room for the next read |
 *                           ^ spans of Load/Store point here, until the next decoder call
 *
 * protobuf: u32 little-endian length, then the message. JSON: a stream of values, one after
 * another, any white space or none between them. A frame may be cut anywhere and may have any size
 * up to PROTO_MAX_FRAME; the buffer grows to the largest frame seen and never shrinks below its
 * first size.
 */

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "proto/message.h"

/* A document is 16 MB by Flow's documentation; specs of thousands of bindings are larger. */
#define PROTO_MAX_FRAME ((size_t)256 * 1024 * 1024)

/* What an arena for cold requests must allow, one request at a time: a message that would take more
 * than its length explains is an error before that. A number, not memory. */
#define PROTO_MAX_ARENA ((size_t)64 * PROTO_MAX_FRAME)

enum proto_codec { PROTO_CODEC_PROTOBUF, PROTO_CODEC_JSON };

/* "json", "proto", NULL and "" (protobuf); anything else is an ERROR_CONFIG naming both. */
struct error *proto_codec_from_name(const char *name, enum proto_codec *ret) MUST_CHECK;

struct proto_decoder;

struct proto_decoder *proto_decoder_new(enum proto_codec codec);
void proto_decoder_free(struct proto_decoder *decoder);

/* Memory for the next bytes (at least 64 KiB); invalidates the spans of the last message. */
void proto_decoder_reserve(struct proto_decoder *decoder, char **ret_ptr, size_t *ret_len);
void proto_decoder_commit(struct proto_decoder *decoder, size_t len);

/* The next request, or *ret_have false when more bytes are needed: take all that are there before
 * the next reserve. Requests other than Load and Store are copied into arena. The protobuf codec
 * does not look into raw JSON; the JSON codec has validated it. Errors are ERROR_PROTOCOL and name
 * what is wrong, with the byte offset in the stream. */
struct error *proto_decoder_next(struct proto_decoder *decoder,
                                 struct arena *arena,
                                 struct proto_request *ret,
                                 bool *ret_have) MUST_CHECK;

/* Somebody who looks on (capture): called by proto_decoder_next for each whole frame, the message
 * without its length prefix or the JSON value, just before the request is handed out. kind is an
 * enum proto_request_kind, or 0 when the frame is none and the error follows. The frame is lent for
 * the call. NULL: nobody. */
typedef void proto_observe_fn(void *ctx, unsigned kind, struct span frame);
void proto_decoder_observe(struct proto_decoder *decoder, proto_observe_fn *observe, void *ctx);

/* At end of input: an error when bytes of an unfinished message are left. */
struct error *proto_decoder_end(const struct proto_decoder *decoder) MUST_CHECK;

/* Each appends one complete message. JSON values given as *_json are compacted; a state update has
 * no raw tab or newline afterwards (the runtime splits at them). An ERROR_INTERNAL when a *_json
 * argument is not JSON. out must be large enough: fullness is a CHECK. */
struct proto_spec_answer {
    struct span config_schema_json, resource_config_schema_json, documentation_url;
};
struct error *proto_encode_spec(enum proto_codec codec,
                                struct buf *out,
                                const struct proto_spec_answer *spec) MUST_CHECK;
void proto_encode_validated(enum proto_codec codec,
                            struct buf *out,
                            const struct proto_validated_binding *bindings,
                            unsigned count);
/* patch_json empty: no state. All our state updates are merge patches. */
struct error *proto_encode_applied(enum proto_codec codec,
                                   struct buf *out,
                                   struct span action_description,
                                   struct span patch_json) MUST_CHECK;
/* checkpoint: ptr NULL for none; else in the codec's own form, as it came with StartCommit, or
 * protobuf bytes when checkpoint_is_protobuf (converted for the JSON codec). */
struct error *proto_encode_opened(enum proto_codec codec,
                                  struct buf *out,
                                  struct span checkpoint,
                                  bool checkpoint_is_protobuf,
                                  bool disable_load_optimization) MUST_CHECK;
struct error *proto_encode_loaded(enum proto_codec codec,
                                  struct buf *out,
                                  uint32_t binding,
                                  struct span doc_json) MUST_CHECK;
struct error *
proto_encode_flushed(enum proto_codec codec, struct buf *out, struct span patch_json) MUST_CHECK;
struct error *proto_encode_started_commit(enum proto_codec codec,
                                          struct buf *out,
                                          struct span patch_json) MUST_CHECK;
struct error *proto_encode_acknowledged(enum proto_codec codec,
                                        struct buf *out,
                                        struct span patch_json) MUST_CHECK;

/* A consumer.Checkpoint in JSON form as protobuf bytes and back (crossover with the older format;
 * nothing is dropped). */
struct error *proto_checkpoint_to_protobuf(struct span json, struct buf *out) MUST_CHECK;
struct error *proto_checkpoint_to_json(struct span protobuf, struct buf *out) MUST_CHECK;

#endif
