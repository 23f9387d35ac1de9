#ifndef CAPTURE_RECORD_H
#define CAPTURE_RECORD_H

/*
 * The form of a capture file, version 1. A file is a row of MessagePack values
 * (https://github.com/msgpack/msgpack/blob/master/spec.md), each one record in an envelope:
 *
 *      envelope   [checksum, payload]        array of 2: uint 64 (always in its longest form), bin
 *      payload    [0, format, product, version, codec, unix_us, clock_us, segment]    header
 *                 [1, direction, clock_us, frame]                                     frame, bin
 *                 [2, direction, clock_us, bytes]     a frame that was not written, and its length
 *                 [3, clock_us, reason]               the end; reason "" when all went well
 *
 * checksum is XXH64 with seed 0 of the payload's bytes. Times are microseconds: unix_us since 1970,
 * clock_us of the monotonic clock, both of a header those of the session's beginning. direction is
 * 0 for requests, 1 for responses; codec is "proto" or "json"; a frame is the message without its
 * length prefix, or the JSON value without white space around it. Requests stand where they were
 * read by the session, responses where they were sent.
 *
 * A file that is cut off anywhere ends with an envelope that is not whole: everything before it is
 * good, and what is left is recognised as torn, never as a record. An envelope that is whole but
 * wrong is damage, and nothing behind it is believed.
 *
 * Every file begins with a header. When the size limit is reached, a session goes on in further
 * files: `path` keeps the beginning (the header's segment is 0), `path.1` and `path.2` the newest,
 * in this order. A segment number that is not one more than the last means that what was between
 * was given up.
 */

#include "base/span.h"

#include <stdint.h>

#define CAPTURE_FORMAT 1
#define CAPTURE_PRODUCT "materialize-redshift"
/* The reason of an end that was not the capture's. */
#define CAPTURE_FAILED "the session failed"

enum capture_direction { CAPTURE_REQUEST, CAPTURE_RESPONSE };

enum capture_kind { CAPTURE_HEADER, CAPTURE_FRAME, CAPTURE_WITHHELD, CAPTURE_END };

struct capture_header {
    uint64_t format;
    struct span product, version, codec;
    uint64_t unix_us;
    uint64_t segment;
};

struct capture_record {
    enum capture_kind kind;
    uint64_t clock_us;
    enum capture_direction direction; /* of a frame, also of one withheld */
    struct span frame;
    uint64_t withheld_bytes;
    struct span reason; /* of the end */
    struct capture_header header;
};

/* No envelope is longer: a frame has at most PROTO_MAX_FRAME bytes (proto/codec.h), and redaction
 * makes it longer by little. */
#define CAPTURE_MAX_RECORD ((size_t)512 * 1024 * 1024)

enum capture_found {
    CAPTURE_WHOLE,  /* *ret and *ret_bytes are set; spans point into bytes */
    CAPTURE_TORN,   /* it may become a record with more bytes */
    CAPTURE_DAMAGED /* it never will */
};
/* Looks for a record at the start of bytes. Pure. */
enum capture_found capture_parse(struct span bytes, struct capture_record *ret, size_t *ret_bytes);

#endif
