#ifndef BASE_BUF_H
#define BASE_BUF_H

/*
 * An owned, growing run of bytes, born with its maximum. "Full" sets a sticky bit instead of
 * returning an error at every append: write twenty fields, ask buf_is_full once. What is appended
 * to a full buffer is dropped whole, so the content is never half of a value.
 *
 *      data          data+len            data+cap        (cap grows by doubling, up to max)
 *       |---- content ----|--- free ------|
 *
 * The content is always followed by a NUL that is not counted, so data can be passed as a C string.
 */

#include "base/check.h"
#include "base/span.h"

#include <stdarg.h>
#include <stdint.h>

struct buf {
    char *data;
    size_t len;
    size_t cap;
    size_t max;
    bool full;
};

void buf_init(struct buf *buf, size_t max); /* allocates nothing yet */
void buf_done(struct buf *buf);
void buf_clear(struct buf *buf); /* len = 0, full = false; keeps the memory */

/* Makes room for size more bytes and returns where they go, or NULL (and full) when max forbids.
 * After writing n of them the caller says buf_commit(n). */
char *buf_reserve(struct buf *buf, size_t size);
void buf_commit(struct buf *buf, size_t size);

void buf_add(struct buf *buf, const void *ptr, size_t len);
void buf_add_span(struct buf *buf, struct span text);
void buf_add_str(struct buf *buf, const char *text);
void buf_add_byte(struct buf *buf, char c);
void buf_add_int(struct buf *buf, int64_t value);
void buf_add_uint(struct buf *buf, uint64_t value);
void buf_printf(struct buf *buf, const char *fmt, ...) PRINTF_LIKE(2, 3);

static inline struct span buf_view(const struct buf *buf)
{
    return (struct span){buf->data, buf->len};
}

static inline bool buf_is_full(const struct buf *buf)
{
    return buf->full;
}

/* Moves the content out; the caller frees it with mem_free. The buffer is empty afterwards. */
char *buf_take(struct buf *buf, size_t *ret_len);

#endif
