/* harness/staged: see staged.h. Over bucket.h and zlib. */

#include "harness/staged.h"

#include "harness/bucket.h"

#include <zlib.h>

#include <stdlib.h>
#include <string.h>

#define GZIP_WINDOW (15 + 16)

static void append(struct object_bytes *bytes, const void *more, size_t len)
{
    char *at = realloc(bytes->at, bytes->len + len + 1);

    if (!at) {
        abort();
    }
    if (len > 0) {
        memcpy(at + bytes->len, more, len);
    }
    bytes->at = at;
    bytes->len += len;
    at[bytes->len] = '\0';
}

void staged_release(struct object_bytes *bytes)
{
    free(bytes->at);
    *bytes = (struct object_bytes){0};
}

static size_t keep_bytes(char *bytes, size_t size, size_t count, void *ctx)
{
    append(ctx, bytes, size * count);
    return size * count;
}

bool staged_get(const char *key, struct object_bytes *ret)
{
    *ret = (struct object_bytes){0};
    append(ret, "", 0);
    return bucket_get(key, keep_bytes, ret) == 200;
}

bool staged_put(const char *key, const char *bytes, size_t len)
{
    long status = bucket_put(key, bytes, len);

    return status >= 200 && status <= 299;
}

/* ---------------------------------------------------------------- gzip */

bool staged_unpack(const struct object_bytes *packed, struct object_bytes *ret)
{
    z_stream stream = {.next_in = (unsigned char *)packed->at, .avail_in = (uInt)packed->len};
    char out[16 * 1024];
    int status = Z_OK;

    *ret = (struct object_bytes){0};
    append(ret, "", 0);
    if (inflateInit2(&stream, GZIP_WINDOW) != Z_OK) {
        abort();
    }
    /* A file may have several members, one behind the other. */
    while (status == Z_OK && stream.avail_in > 0) {
        stream.next_out = (unsigned char *)out;
        stream.avail_out = sizeof out;
        status = inflate(&stream, Z_NO_FLUSH);
        append(ret, out, sizeof out - stream.avail_out);
        if (status == Z_STREAM_END && stream.avail_in > 0) {
            status = inflateReset(&stream);
        }
    }
    inflateEnd(&stream);
    return status == Z_STREAM_END;
}

bool staged_pack(const struct object_bytes *plain, struct object_bytes *ret)
{
    z_stream stream = {.next_in = (unsigned char *)plain->at, .avail_in = (uInt)plain->len};
    char out[16 * 1024];
    int status = Z_OK;

    *ret = (struct object_bytes){0};
    if (deflateInit2(&stream, 6, Z_DEFLATED, GZIP_WINDOW, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
        abort();
    }
    while (status == Z_OK) {
        stream.next_out = (unsigned char *)out;
        stream.avail_out = sizeof out;
        status = deflate(&stream, Z_FINISH);
        append(ret, out, sizeof out - stream.avail_out);
    }
    deflateEnd(&stream);
    return status == Z_STREAM_END;
}
