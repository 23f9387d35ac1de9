/*
 * stage/compress: bytes to fewer bytes. In: blocks of rows. Out: one gzip member (ISA-L, level 1)
 * or one zstd frame (level 1). Knows no rows and no files.
 */

#include "stage/compress.h"

#include "base/size.h"

#include <isa-l/igzip_lib.h>
#include <zstd.h>

struct compress {
    enum stage_compression kind;
    struct isal_zstream gzip;
    uint8_t *gzip_level; /* ISA-L's tables for level 1 */
    ZSTD_CCtx *zstd;
};

/* Room is asked for in steps of this; what one step cannot take comes with the next. */
#define STEP_BYTES (64 * KIB)

struct compress *compress_new(enum stage_compression kind)
{
    struct compress *self = mem_alloc(sizeof *self);

    self->kind = kind;
    if (kind == STAGE_ZSTD) {
        self->zstd = ZSTD_createCCtx();
        CHECK(self->zstd);
        CHECK(!ZSTD_isError(ZSTD_CCtx_setParameter(self->zstd, ZSTD_c_compressionLevel, 1)));
        return self;
    }
    self->gzip_level = mem_alloc(ISAL_DEF_LVL1_DEFAULT);
    isal_deflate_init(&self->gzip);
    self->gzip.level = 1;
    self->gzip.level_buf = self->gzip_level;
    self->gzip.level_buf_size = ISAL_DEF_LVL1_DEFAULT;
    self->gzip.gzip_flag = IGZIP_GZIP;
    return self;
}

void compress_free(struct compress *self)
{
    if (self) {
        ZSTD_freeCCtx(self->zstd);
        mem_free(self->gzip_level);
        mem_free(self);
    }
}

static char *room(struct buf *out)
{
    char *to = buf_reserve(out, STEP_BYTES);
    CHECK(to);
    return to;
}

static void add_gzip(struct compress *self, struct span bytes, bool ends, struct buf *out)
{
    struct isal_zstream *stream = &self->gzip;

    CHECK(bytes.len <= UINT32_MAX);
    /* ISA-L only reads through next_in; its type lacks the const */
    stream->next_in = (uint8_t *)(uintptr_t)bytes.ptr;
    stream->avail_in = (uint32_t)bytes.len;
    stream->end_of_stream = ends;
    do {
        stream->next_out = (uint8_t *)room(out);
        stream->avail_out = (uint32_t)STEP_BYTES;
        CHECK(isal_deflate(stream) == COMP_OK);
        buf_commit(out, STEP_BYTES - stream->avail_out);
    } while (stream->avail_out == 0 || (ends && stream->internal_state.state != ZSTATE_END));
}

static void add_zstd(struct compress *self, struct span bytes, bool ends, struct buf *out)
{
    ZSTD_inBuffer in = {bytes.ptr, bytes.len, 0};
    size_t left;

    do {
        ZSTD_outBuffer to = {room(out), STEP_BYTES, 0};
        left = ZSTD_compressStream2(self->zstd, &to, &in, ends ? ZSTD_e_end : ZSTD_e_continue);
        CHECK(!ZSTD_isError(left));
        buf_commit(out, to.pos);
    } while (ends ? left > 0 : in.pos < in.size);
}

void compress_add(struct compress *self, struct span bytes, bool ends, struct buf *out)
{
    if (self->kind == STAGE_ZSTD) {
        add_zstd(self, bytes, ends, out);
    } else {
        add_gzip(self, bytes, ends, out);
    }
}

const char *compress_suffix(enum stage_compression kind)
{
    return kind == STAGE_ZSTD ? ".zst" : ".gz";
}
