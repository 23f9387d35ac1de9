/* GZIP (by zlib, on purpose another library than the product's) and ZSTD for COPY: bytes of a file
 * in, bytes of JSON out to a sink. */
#include "sandbox/copy_unpack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>
#include <zstd.h>

enum {
    OUT_BYTES = 128 * 1024,
    GZIP_ONLY = 15 + 16, /* zlib: window bits, plus 16 to accept the gzip header only */
};

struct unpack {
    enum copy_compression compression;
    unpack_sink_fn *sink;
    void *ctx;
    z_stream gzip;
    ZSTD_DStream *zstd;
    bool any_input;
    bool at_boundary; /* between members or frames: the input may end here */
    char why[160];
    char out[OUT_BYTES];
};

struct unpack *unpack_new(enum copy_compression compression, unpack_sink_fn *sink, void *ctx)
{
    struct unpack *u = calloc(1, sizeof *u);
    if (u == NULL) {
        abort();
    }
    u->compression = compression;
    u->sink = sink;
    u->ctx = ctx;
    u->at_boundary = true;
    if (compression == COPY_GZIP && inflateInit2(&u->gzip, GZIP_ONLY) != Z_OK) {
        abort();
    }
    if (compression == COPY_ZSTD) {
        u->zstd = ZSTD_createDStream();
        if (u->zstd == NULL) {
            abort();
        }
    }
    return u;
}

void unpack_free(struct unpack *u)
{
    if (u != NULL) {
        if (u->compression == COPY_GZIP) {
            inflateEnd(&u->gzip);
        }
        ZSTD_freeDStream(u->zstd);
        free(u);
    }
}

static enum unpack_result fail(struct unpack *u, const char *format, const char *why)
{
    snprintf(u->why, sizeof u->why, "Invalid %s data: %s", format, why);
    return UNPACK_BROKEN;
}

/* A file may be padded with zeros behind its last member, as gzip itself accepts. */
static bool is_padding(const char *at, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (at[i] != '\0') {
            return false;
        }
    }
    return true;
}

static enum unpack_result feed_gzip(struct unpack *u, const char *at, size_t len)
{
    u->gzip.next_in = (z_const Bytef *)(uintptr_t)at;
    u->gzip.avail_in = (uInt)len;
    for (;;) {
        if (u->at_boundary && u->any_input && u->gzip.avail_in > 0 && *u->gzip.next_in == '\0') {
            return is_padding((const char *)u->gzip.next_in, u->gzip.avail_in)
                       ? UNPACK_OK
                       : fail(u, "GZIP", "bytes behind the last member");
        }
        u->gzip.next_out = (Bytef *)u->out;
        u->gzip.avail_out = OUT_BYTES;
        if (u->gzip.avail_in > 0) {
            u->at_boundary = false;
            u->any_input = true;
        }
        int got = inflate(&u->gzip, Z_NO_FLUSH);
        size_t made = OUT_BYTES - u->gzip.avail_out;
        if (made > 0 && !u->sink(u->ctx, u->out, made)) {
            return UNPACK_STOPPED;
        }
        if (got == Z_STREAM_END) {
            inflateReset(&u->gzip);
            u->at_boundary = true;
        } else if (got != Z_OK && got != Z_BUF_ERROR) {
            return fail(u, "GZIP", u->gzip.msg != NULL ? u->gzip.msg : "unreadable");
        }
        if (u->gzip.avail_in == 0 && (u->gzip.avail_out > 0 || u->at_boundary)) {
            return UNPACK_OK;
        }
    }
}

static enum unpack_result feed_zstd(struct unpack *u, const char *at, size_t len)
{
    ZSTD_inBuffer in = {at, len, 0};
    for (;;) {
        ZSTD_outBuffer out = {u->out, OUT_BYTES, 0};
        size_t got = ZSTD_decompressStream(u->zstd, &out, &in);
        if (ZSTD_isError(got)) {
            return fail(u, "ZSTD", ZSTD_getErrorName(got));
        }
        u->at_boundary = got == 0;
        if (out.pos > 0 && !u->sink(u->ctx, u->out, out.pos)) {
            return UNPACK_STOPPED;
        }
        if (in.pos == in.size && (out.pos < OUT_BYTES || got == 0)) {
            return UNPACK_OK;
        }
    }
}

enum unpack_result unpack_feed(struct unpack *u, const char *at, size_t len)
{
    if (len == 0) {
        return UNPACK_OK;
    }
    switch (u->compression) {
    case COPY_GZIP:
        return feed_gzip(u, at, len);
    case COPY_ZSTD:
        return feed_zstd(u, at, len);
    case COPY_PLAIN:
        break;
    }
    return u->sink(u->ctx, at, len) ? UNPACK_OK : UNPACK_STOPPED;
}

enum unpack_result unpack_end(struct unpack *u)
{
    if (u->at_boundary) {
        return UNPACK_OK;
    }
    return fail(u, u->compression == COPY_GZIP ? "GZIP" : "ZSTD", "the file is cut off");
}

const char *unpack_why(const struct unpack *u)
{
    return u->why;
}
