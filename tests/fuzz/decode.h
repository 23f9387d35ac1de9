#ifndef TESTS_FUZZ_DECODE_H
#define TESTS_FUZZ_DECODE_H

/* What the two codec targets share: bytes through a decoder, whole and in small pieces, which must
 * find the same number of requests and end the same way. */

#include "proto/codec.h"

/* Steps over all requests; returns whether the input was accepted to its end. */
static inline bool
decode(enum proto_codec codec, struct span bytes, size_t step, unsigned *ret_count)
{
    struct proto_decoder *decoder = proto_decoder_new(codec);
    struct arena *arena = arena_new((size_t)1 << 34);
    struct error *err = NULL;

    *ret_count = 0;
    for (size_t at = 0; !err && at < bytes.len;) {
        struct proto_request request;
        char *room;
        size_t room_len, piece = bytes.len - at < step ? bytes.len - at : step;
        bool have = true;
        proto_decoder_reserve(decoder, &room, &room_len);
        piece = piece < room_len ? piece : room_len;
        memcpy(room, bytes.ptr + at, piece);
        proto_decoder_commit(decoder, piece);
        at += piece;
        while (!err && have) {
            err = proto_decoder_next(decoder, arena, &request, &have);
            *ret_count += !err && have;
        }
    }
    if (!err) {
        err = proto_decoder_end(decoder);
    }
    const bool good = err == NULL;
    error_free(err);
    proto_decoder_free(decoder);
    arena_free(arena);
    return good;
}

static inline void check_decoding(enum proto_codec codec, struct span bytes)
{
    unsigned whole, pieces;
    const bool good = decode(codec, bytes, bytes.len, &whole);

    CHECK(decode(codec, bytes, 5, &pieces) == good);
    CHECK(pieces == whole);
}

#endif
