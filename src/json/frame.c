/*
 * Room json: where a value ends in a stream. Bytes come in as they were read from stdin, in pieces
 * of any size; out goes only a length. Each byte is looked at once, whatever the pieces are. It
 * never says whether the value is valid: closing brackets are counted, not matched, and json_next
 * judges the framed bytes. Sixty-four bytes at a time where SSE2 is there.
 */

#include "json/scan.h"

#include "json/skip.h"

enum { OPENS = 1, CLOSES = 2, QUOTES = 4, SPACES = 8, SEPARATES = 16 };

static const unsigned char classes[256] = {
    ['{'] = OPENS,   ['['] = OPENS,     ['}'] = CLOSES,   [']'] = CLOSES,
    ['"'] = QUOTES,  [' '] = SPACES,    ['\n'] = SPACES,  ['\t'] = SPACES,
    ['\r'] = SPACES, [','] = SEPARATES, [':'] = SEPARATES};

/* ---------------------------------------------------------------- byte by byte */

static unsigned class_of(char c)
{
    return classes[(unsigned char)c];
}

/* Inside of a string: up to behind its closing quote, or end. */
static const char *frame_string(struct json_framer *framer, const char *at, const char *end)
{
    while (at < end) {
        if (framer->after_backslash) {
            framer->after_backslash = false;
            at++;
            continue;
        }
        at = skip_plain(at, end);
        if (at == end) {
            break;
        }
        const char c = *at++;
        if (c == '"') {
            framer->in_string = false;
            break;
        }
        framer->after_backslash = c == '\\';
    }
    return at;
}

/* Inside of an object or array: up to behind the closing bracket of the outermost, the opening
 * quote of a string, or end. */
static const char *frame_nested(struct json_framer *framer, const char *at, const char *end)
{
    while (at < end) {
        const unsigned class = class_of(*at++) & (OPENS | CLOSES | QUOTES);
        if (class == OPENS) {
            framer->depth++;
        } else if (class == CLOSES) {
            if (--framer->depth == 0) {
                break;
            }
        } else if (class == QUOTES) {
            framer->in_string = true;
            break;
        }
    }
    return at;
}

/* ---------------------------------------------------------------- blocks */

#define BLOCK 64

#if defined(__SSE2__)

/* A bit per byte of a block. */
struct block {
    uint64_t quotes, backslashes, opens, closes;
};

static uint64_t bits_of(__m128i equal, unsigned i)
{
    return (uint64_t)(unsigned)_mm_movemask_epi8(equal) << (16 * i);
}

static struct block read_block(const char *at)
{
    const __m128i quote = _mm_set1_epi8('"');
    const __m128i backslash = _mm_set1_epi8('\\');
    const __m128i lower = _mm_set1_epi8(0x20); /* makes a brace of a bracket, and of nothing else */
    const __m128i open = _mm_set1_epi8('{');
    const __m128i close = _mm_set1_epi8('}');
    struct block block = {0};

    for (unsigned i = 0; i < BLOCK / 16; i++) {
        const __m128i x = _mm_loadu_si128((const __m128i *)(const void *)(at + (size_t)16 * i));
        const __m128i y = _mm_or_si128(x, lower);
        block.quotes |= bits_of(_mm_cmpeq_epi8(x, quote), i);
        block.backslashes |= bits_of(_mm_cmpeq_epi8(x, backslash), i);
        block.opens |= bits_of(_mm_cmpeq_epi8(y, open), i);
        block.closes |= bits_of(_mm_cmpeq_epi8(y, close), i);
    }
    return block;
}

/* Each bit becomes the parity of itself and all bits below: set from an opening quote to the byte
 * before the closing one. */
static uint64_t parity_below(uint64_t bits)
{
    for (unsigned shift = 1; shift < 64; shift *= 2) {
        bits ^= bits << shift;
    }
    return bits;
}

/* Whole blocks inside of an object or array: up to behind its closing bracket, or to where a block
 * is incomplete or has a backslash, which is left to the slow way. */
static const char *frame_blocks(struct json_framer *framer, const char *at, const char *end)
{
    while (end - at >= BLOCK) {
        const struct block block = read_block(at);
        if (block.backslashes || framer->after_backslash) {
            break;
        }
        const uint64_t in_string =
            parity_below(block.quotes) ^ (framer->in_string ? ~(uint64_t)0 : 0);
        const uint64_t opens = block.opens & ~in_string;
        for (uint64_t left = opens | (block.closes & ~in_string); left; left &= left - 1) {
            const unsigned bit = (unsigned)__builtin_ctzll(left);
            if (opens >> bit & 1) {
                framer->depth++;
            } else if (--framer->depth == 0) {
                framer->in_string = false;
                return at + bit + 1;
            }
        }
        framer->in_string = in_string >> 63;
        at += BLOCK;
    }
    return at;
}

#else

static const char *frame_blocks(struct json_framer *framer, const char *at, const char *end)
{
    (void)framer;
    (void)end;
    return at;
}

#endif

/* ---------------------------------------------------------------- values */

/* Inside of an object or array: up to behind its closing bracket, or end. */
static const char *frame_container(struct json_framer *framer, const char *at, const char *end)
{
    while (at < end && framer->depth > 0) {
        at = frame_blocks(framer, at, end);
        const char *const stop = end - at > BLOCK ? at + BLOCK : end;
        while (at < stop && framer->depth > 0) {
            at =
                framer->in_string ? frame_string(framer, at, stop) : frame_nested(framer, at, stop);
        }
    }
    return at;
}

/* The first byte of a value: sets what it is inside of. Returns false when the byte is a value by
 * itself, which only a stray bracket or separator is. */
static bool frame_start(struct json_framer *framer, char c)
{
    framer->started = true;
    switch (class_of(c)) {
    case OPENS:
        framer->depth = 1;
        return true;
    case QUOTES:
        framer->in_string = true;
        return true;
    case CLOSES:
    case SEPARATES:
        return false;
    default:
        framer->in_scalar = true;
        return true;
    }
}

bool json_frame(struct json_framer *framer, const char *ptr, size_t len, size_t *ret_used)
{
    const char *at = ptr;
    const char *const end = ptr + len;
    bool ended = false;

    if (!framer->started) {
        at = skip_space(at, end);
        if (at < end) {
            ended = !frame_start(framer, *at++);
        }
    }
    while (!ended && at < end) {
        if (framer->in_scalar) {
            while (at < end && class_of(*at) == 0) {
                at++;
            }
            ended = at < end;
            break;
        }
        at = framer->depth > 0 ? frame_container(framer, at, end) : frame_string(framer, at, end);
        ended = framer->depth == 0 && !framer->in_string;
    }
    if (!ended) {
        return false;
    }
    *framer = (struct json_framer){0};
    *ret_used = (size_t)(at - ptr);
    return true;
}
