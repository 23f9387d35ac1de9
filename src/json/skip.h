#ifndef SRC_JSON_SKIP_H
#define SRC_JSON_SKIP_H

/*
 * Most bytes of a document lie inside of strings, so stepping over plain characters is what reading
 * and framing cost. Sixteen at a time where SSE2 is there (every x86-64), eight at a time in one
 * register elsewhere; the tail goes byte by byte.
 */

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define SKIP_ONES UINT64_C(0x0101010101010101)
#define SKIP_HIGHS UINT64_C(0x8080808080808080)

/* Sets the high bit of at least the first zero byte of x; zero when there is none. */
static inline uint64_t skip_zero_bytes(uint64_t x)
{
    return (x - SKIP_ONES) & ~x & SKIP_HIGHS;
}

/* The portable form, also called by its own test. */
static inline const char *skip_plain_words(const char *at, const char *end)
{
    while (end - at >= 8) {
        uint64_t x;
        memcpy(&x, at, 8);
        const uint64_t control = (x - SKIP_ONES * 0x20) & ~x & SKIP_HIGHS;
        if (control | skip_zero_bytes(x ^ (SKIP_ONES * '"')) |
            skip_zero_bytes(x ^ (SKIP_ONES * '\\'))) {
            break;
        }
        at += 8;
    }
    while (at < end && *at != '"' && *at != '\\' && (unsigned char)*at >= 0x20) {
        at++;
    }
    return at;
}

/* The first byte that is a quote, a backslash or a control character, or end. */
static inline const char *skip_plain(const char *at, const char *end)
{
#if defined(__SSE2__)
    const __m128i quote = _mm_set1_epi8('"');
    const __m128i backslash = _mm_set1_epi8('\\');
    const __m128i control = _mm_set1_epi8(0x1f);
    while (end - at >= 16) {
        const __m128i x = _mm_loadu_si128((const __m128i *)(const void *)at);
        const __m128i special =
            _mm_or_si128(_mm_cmpeq_epi8(x, quote), _mm_cmpeq_epi8(x, backslash));
        const __m128i stop = _mm_or_si128(special, _mm_cmpeq_epi8(_mm_min_epu8(x, control), x));
        const unsigned mask = (unsigned)_mm_movemask_epi8(stop);
        if (mask) {
            return at + __builtin_ctz(mask);
        }
        at += 16;
    }
#endif
    return skip_plain_words(at, end);
}

static inline bool skip_is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static inline const char *skip_space(const char *at, const char *end)
{
    while (at < end && skip_is_space(*at)) {
        at++;
    }
    return at;
}

#endif
