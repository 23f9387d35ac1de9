/*
 * stage/compress: bytes to fewer bytes. In: blocks of rows. Out: the pieces of a gzip member
 * (ISA-L, level 1) or of a zstd frame (level 1). Knows no rows, and of files only what their ends
 * need.
 */

#include "stage/compress.h"

#include "base/size.h"

#include <isa-l/crc.h>
#include <isa-l/igzip_lib.h>
#include <zstd.h>

/* ISA-L's tables at level 1. What it collects before it makes a Huffman code: 32 Ki symbols, some
 * 100 KB of rows. Twice as many save a thousandth of the bytes and leave the cache. */
#define TABLE_BYTES ISAL_DEF_LVL1_MEDIUM

/* zstd's view back, as a power of two. Rows are like their neighbours: the usual 512 KiB find no
 * more and cost memory for each file. */
#define ZSTD_WINDOW_LOG 18
/* A context with that window: the window, a block in, a block out, tables (ZSTD_sizeof_CCtx). */
#define ZSTD_STATE_BYTES (1081 * KIB)
/* Room is asked for in steps of this; what one step cannot take comes with the next. */
#define STEP_BYTES (64 * KIB)

struct compress_tool {
    struct isal_zstream stream;
    uint8_t tables[TABLE_BYTES];
};

struct compress {
    enum stage_compression kind;
    uint32_t crc;         /* of all that was joined */
    uint64_t plain_bytes; /* of all that was joined */
    ZSTD_CCtx *zstd;
};

struct compress_tool *compress_tool_new(enum stage_compression kind)
{
    return kind == STAGE_GZIP ? mem_alloc(sizeof(struct compress_tool)) : NULL;
}

void compress_tool_free(struct compress_tool *tool)
{
    mem_free(tool);
}

bool compress_is_stream(enum stage_compression kind)
{
    return kind == STAGE_ZSTD;
}

size_t compress_state_bytes(enum stage_compression kind)
{
    return kind == STAGE_ZSTD ? ZSTD_STATE_BYTES : 0;
}

const char *compress_suffix(enum stage_compression kind)
{
    return kind == STAGE_ZSTD ? ".zst" : ".gz";
}

struct compress *compress_new(enum stage_compression kind)
{
    struct compress *self = mem_alloc(sizeof *self);

    self->kind = kind;
    if (kind == STAGE_ZSTD) {
        self->zstd = ZSTD_createCCtx();
        CHECK(self->zstd);
        CHECK(!ZSTD_isError(ZSTD_CCtx_setParameter(self->zstd, ZSTD_c_compressionLevel, 1)));
        CHECK(!ZSTD_isError(ZSTD_CCtx_setParameter(self->zstd, ZSTD_c_windowLog, ZSTD_WINDOW_LOG)));
    }
    return self;
}

void compress_free(struct compress *self)
{
    if (self) {
        ZSTD_freeCCtx(self->zstd);
        mem_free(self);
    }
}

static char *room(struct buf *out, size_t bytes)
{
    char *to = buf_reserve(out, bytes);
    CHECK(to);
    return to;
}

/* ---------------------------------------------------------------- checksums */

/*
 * The checksum of a gzip member is that of its rows in the order of the file. CRC-32 is a remainder
 * modulo a polynomial over GF(2), so that of two texts, one after the other, follows from theirs:
 * the first one's, moved up by the length of the second, plus (which is exclusive or) the second
 * one's. Bits are reflected as in RFC 1952: the highest is the coefficient of x^0.
 */
#define CRC_POLYNOMIAL 0xedb88320u
#define CRC_ONE 0x80000000u      /* x^0 */
#define CRC_PER_BYTE 0x00800000u /* x^8 */

static uint32_t crc_multiply(uint32_t a, uint32_t b)
{
    uint32_t product = 0;

    for (; a; a <<= 1) {
        if (a & CRC_ONE) {
            product ^= b;
        }
        b = b & 1 ? b >> 1 ^ CRC_POLYNOMIAL : b >> 1;
    }
    return product;
}

static uint32_t crc_append(uint32_t first, uint32_t second, uint64_t second_bytes)
{
    uint32_t square = CRC_PER_BYTE;

    for (; second_bytes; second_bytes >>= 1) {
        if (second_bytes & 1) {
            first = crc_multiply(first, square);
        }
        square = crc_multiply(square, square);
    }
    return first ^ second;
}

/* ---------------------------------------------------------------- gzip */

/* RFC 1952: deflate, no flags, no time, any system. */
static const char gzip_header[] = {0x1f, (char)0x8b, 8, 0, 0, 0, 0, 0, 0, (char)0xff};
/* RFC 1951: a last block with the fixed code, of which only the end. */
static const char gzip_last_block[] = {3, 0};

static void add_uint32(struct buf *out, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++) {
        buf_add_byte(out, (char)(unsigned char)(value >> 8 * i));
    }
}

/* What cannot be compressed is stored, with five bytes in front of 64 KiB at most. */
static size_t worst_bytes(size_t len)
{
    return len + (len / 65535 + 1) * 5 + KIB;
}

static void deflate_block(struct compress_tool *tool, struct span rows, struct buf *out)
{
    struct isal_zstream *stream = &tool->stream;
    const size_t most = worst_bytes(rows.len);

    CHECK(most <= UINT32_MAX);
    isal_deflate_stateless_init(stream);
    stream->level = 1;
    stream->level_buf = tool->tables;
    stream->level_buf_size = sizeof tool->tables;
    stream->flush = FULL_FLUSH;
    stream->end_of_stream = 0;
    /* ISA-L only reads through next_in; its type lacks the const */
    stream->next_in = (uint8_t *)(uintptr_t)rows.ptr;
    stream->avail_in = (uint32_t)rows.len;
    stream->next_out = (uint8_t *)room(out, most);
    stream->avail_out = (uint32_t)most;
    CHECK(isal_deflate_stateless(stream) == COMP_OK && stream->avail_in == 0);
    buf_commit(out, most - stream->avail_out);
}

/* Appends what rows become, after what is known of the text before them. */
static void add_deflated(struct compress_tool *tool,
                         struct span rows,
                         struct buf *out,
                         struct compress_piece *total)
{
    if (rows.len == 0) {
        return;
    }
    const uint32_t crc = crc32_gzip_refl(0, (const unsigned char *)rows.ptr, rows.len);
    total->crc = crc_append(total->crc, crc, rows.len);
    total->plain_bytes += rows.len;
    deflate_block(tool, rows, out);
}

/* One of the two places of a repeat. */
struct place {
    size_t at;
    unsigned repeat;
    bool is_second;
};

/* What the first place of a repeat became. */
struct made {
    size_t at, bytes; /* in out */
    uint32_t crc;
};

static unsigned sort_places(const struct stage_repeats *repeats, struct place *ret)
{
    unsigned count = 0;

    for (unsigned i = 0; i < 2 * repeats->count; i++) {
        const struct stage_repeat *repeat = &repeats->items[i / 2];
        const struct place place = {i % 2 ? repeat->second : repeat->first, i / 2, i % 2 == 1};
        unsigned at = count++;
        for (; at > 0 && ret[at - 1].at > place.at; at--) {
            ret[at] = ret[at - 1];
        }
        ret[at] = place;
    }
    return count;
}

static void
add_made(const struct made *made, size_t plain_bytes, struct buf *out, struct compress_piece *total)
{
    char *to = room(out, made->bytes);

    memcpy(to, out->data + made->at, made->bytes);
    buf_commit(out, made->bytes);
    total->crc = crc_append(total->crc, made->crc, plain_bytes);
    total->plain_bytes += plain_bytes;
}

static void deflate_with_repeats(struct compress_tool *tool,
                                 struct span rows,
                                 const struct stage_repeats *repeats,
                                 struct buf *out,
                                 struct compress_piece *total)
{
    struct place places[2 * STAGE_MAX_REPEATS];
    struct made made[STAGE_MAX_REPEATS];
    const unsigned count = sort_places(repeats, places);
    size_t at = 0;

    for (unsigned i = 0; i < count; i++) {
        const struct place *place = &places[i];
        const size_t bytes = repeats->items[place->repeat].bytes;
        CHECK(place->at >= at && bytes <= rows.len - place->at);
        add_deflated(tool, (struct span){rows.ptr + at, place->at - at}, out, total);
        if (place->is_second) {
            add_made(&made[place->repeat], bytes, out, total);
        } else {
            struct compress_piece piece = {.plain_bytes = 0};
            const size_t before = out->len;
            add_deflated(tool, (struct span){rows.ptr + place->at, bytes}, out, &piece);
            made[place->repeat] = (struct made){before, out->len - before, piece.crc};
            total->crc = crc_append(total->crc, piece.crc, bytes);
            total->plain_bytes += bytes;
        }
        at = place->at + bytes;
    }
    add_deflated(tool, (struct span){rows.ptr + at, rows.len - at}, out, total);
}

/* ---------------------------------------------------------------- zstd */

/* ends: the frame; else what was given is flushed, so that nothing waits in the context. */
static void add_zstd(struct compress *self, struct span rows, bool ends, struct buf *out)
{
    ZSTD_inBuffer in = {rows.ptr, rows.len, 0};
    size_t left;

    do {
        ZSTD_outBuffer to = {room(out, STEP_BYTES), STEP_BYTES, 0};
        left = ZSTD_compressStream2(self->zstd, &to, &in, ends ? ZSTD_e_end : ZSTD_e_flush);
        CHECK(!ZSTD_isError(left));
        buf_commit(out, to.pos);
    } while (left > 0);
}

/* ---------------------------------------------------------------- a file */

void compress_begin(struct compress *self, struct buf *out)
{
    if (self->kind == STAGE_GZIP) {
        buf_add(out, gzip_header, sizeof gzip_header);
        CHECK(!buf_is_full(out));
    }
}

void compress_block(struct compress_tool *tool,
                    struct compress *self,
                    struct span rows,
                    const struct stage_repeats *repeats,
                    struct buf *out,
                    struct compress_piece *ret)
{
    static const struct stage_repeats none = {.count = 0};

    *ret = (struct compress_piece){.plain_bytes = 0};
    if (!self) {
        deflate_with_repeats(tool, rows, repeats ? repeats : &none, out, ret);
    } else if (rows.len > 0) {
        ret->plain_bytes = rows.len;
        add_zstd(self, rows, false, out);
    }
}

void compress_join(struct compress *self, const struct compress_piece *piece)
{
    self->crc = crc_append(self->crc, piece->crc, piece->plain_bytes);
    self->plain_bytes += piece->plain_bytes;
}

void compress_end(struct compress *self, struct buf *out)
{
    if (self->kind == STAGE_ZSTD) {
        add_zstd(self, SPAN_NONE, true, out);
        return;
    }
    buf_add(out, gzip_last_block, sizeof gzip_last_block);
    add_uint32(out, self->crc);
    add_uint32(out, (uint32_t)self->plain_bytes); /* modulo 2^32, as the format has it */
    CHECK(!buf_is_full(out));
}
