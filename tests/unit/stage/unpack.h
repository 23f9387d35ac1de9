#ifndef TESTS_STAGE_UNPACK_H
#define TESTS_STAGE_UNPACK_H

/* Files of the product read back by other libraries than it writes with, and strictly: one gzip
 * member or one zstd frame, whole, with nothing behind it. */

#include "base/buf.h"
#include "stage/writer.h"

#include <zlib.h>
#include <zstd.h>

static inline bool unpack_gzip(struct span packed, struct buf *out)
{
    z_stream stream = {0};
    int status = Z_OK;

    if (inflateInit2(&stream, 16 + MAX_WBITS) != Z_OK) {
        return false;
    }
    stream.next_in = (unsigned char *)(uintptr_t)packed.ptr;
    stream.avail_in = (unsigned)packed.len;
    while (status == Z_OK) {
        stream.next_out = (unsigned char *)buf_reserve(out, 65536);
        stream.avail_out = 65536;
        status = inflate(&stream, Z_NO_FLUSH);
        buf_commit(out, 65536 - stream.avail_out);
    }
    inflateEnd(&stream);
    return status == Z_STREAM_END && stream.avail_in == 0;
}

static inline bool unpack_zstd(struct span packed, struct buf *out)
{
    ZSTD_DStream *stream = ZSTD_createDStream();
    ZSTD_inBuffer in = {packed.ptr, packed.len, 0};
    size_t left = 1;

    while (left > 0 && !ZSTD_isError(left)) {
        ZSTD_outBuffer to = {buf_reserve(out, 65536), 65536, 0};
        const size_t before = in.pos;
        left = ZSTD_decompressStream(stream, &to, &in);
        buf_commit(out, to.pos);
        if (to.pos == 0 && in.pos == before && left > 0) {
            break; /* cut off */
        }
    }
    ZSTD_freeDStream(stream);
    return left == 0 && in.pos == in.size;
}

/* Appends the content to out; false when packed is anything else than one whole stream. */
static inline bool unpack(enum stage_compression kind, struct span packed, struct buf *out)
{
    return kind == STAGE_ZSTD ? unpack_zstd(packed, out) : unpack_gzip(packed, out);
}

#endif
