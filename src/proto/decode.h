#ifndef SRC_PROTO_DECODE_H
#define SRC_PROTO_DECODE_H

/* One whole frame to a request, in each codec. What the decoder owns and they use: */

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "proto/message.h"

struct decode_memory {
    struct buf key, values; /* decoded base64 of one Load or Store; valid until the next frame */
    struct buf text;        /* a string with escapes, until it is copied */
};

struct error *
decode_protobuf(struct span frame, struct arena *arena, struct proto_request *ret) MUST_CHECK;
struct error *decode_json(struct span frame,
                          struct arena *arena,
                          struct decode_memory *memory,
                          struct proto_request *ret) MUST_CHECK;

/* The request that a message holds must be the only one: *kind is what was seen before. */
struct error *decode_set_kind(unsigned *kind, unsigned seen) MUST_CHECK;

/* Where a cold request goes and what it looks like: the struct in ret's union, or a new one in the
 * arena. Neither for Spec, of which nothing is kept. */
struct cold;
struct shape;
struct error *decode_begin_cold(struct cold *cold,
                                enum proto_request_kind kind,
                                struct proto_request *ret,
                                void **ret_message,
                                const struct shape **ret_shape) MUST_CHECK;

#endif
