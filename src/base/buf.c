/*
 * base/buf: a growing run of bytes with a maximum. Comes in: what callers append; goes out: a view,
 * or the memory itself. It never asks what the bytes mean.
 */

#include "base/buf.h"

#include "base/size.h"

#include <stdio.h>
#include <string.h>

#define SMALLEST_CAP 64

/* What an empty buffer points to, so that data is a C string from the beginning. Never written:
 * everything that writes has made room first. */
static char nothing[1];

void buf_init(struct buf *buf, size_t max)
{
    CHECK(max < SIZE_MAX);
    *buf = (struct buf){.data = nothing, .max = max};
}

void buf_done(struct buf *buf)
{
    if (buf->cap > 0) {
        mem_free(buf->data);
    }
    buf_init(buf, buf->max);
}

void buf_clear(struct buf *buf)
{
    buf->len = 0;
    buf->full = false;
    if (buf->cap > 0) {
        buf->data[0] = '\0';
    }
}

static void grow(struct buf *buf, size_t need)
{
    size_t cap = buf->cap ? buf->cap : SMALLEST_CAP;

    while (cap < need) {
        cap = cap > buf->max / 2 ? buf->max : 2 * cap;
    }
    if (cap > buf->max) {
        cap = buf->max;
    }
    buf->data = mem_realloc(buf->cap ? buf->data : NULL, cap + 1);
    buf->data[buf->len] = '\0';
    buf->cap = cap;
}

char *buf_reserve(struct buf *buf, size_t size)
{
    if (buf->full || size > buf->max - buf->len) {
        buf->full = true;
        return NULL;
    }
    if (size > buf->cap - buf->len) {
        grow(buf, buf->len + size);
    }
    return buf->data + buf->len;
}

void buf_commit(struct buf *buf, size_t size)
{
    CHECK(size <= buf->cap - buf->len);
    if (size > 0) {
        buf->len += size;
        buf->data[buf->len] = '\0';
    }
}

void buf_add(struct buf *buf, const void *ptr, size_t len)
{
    char *to = buf_reserve(buf, len);

    if (to && len > 0) {
        memcpy(to, ptr, len);
        buf_commit(buf, len);
    }
}

void buf_add_span(struct buf *buf, struct span text)
{
    buf_add(buf, text.ptr, text.len);
}

void buf_add_str(struct buf *buf, const char *text)
{
    buf_add(buf, text, strlen(text));
}

void buf_add_byte(struct buf *buf, char c)
{
    if (buf->len < buf->cap && !buf->full) {
        buf->data[buf->len++] = c;
        buf->data[buf->len] = '\0';
        return;
    }
    buf_add(buf, &c, 1);
}

/* The longest is -9223372036854775808. */
#define INT_TEXT_MAX 21

static void add_decimal(struct buf *buf, uint64_t value, bool negative)
{
    char text[INT_TEXT_MAX];
    size_t at = sizeof(text);

    do {
        text[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    if (negative) {
        text[--at] = '-';
    }
    buf_add(buf, text + at, sizeof(text) - at);
}

void buf_add_int(struct buf *buf, int64_t value)
{
    add_decimal(buf, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, value < 0);
}

void buf_add_uint(struct buf *buf, uint64_t value)
{
    add_decimal(buf, value, false);
}

void buf_printf(struct buf *buf, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    int len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    CHECK(len >= 0);
    char *to = buf_reserve(buf, (size_t)len);
    if (!to || len == 0) {
        return;
    }
    va_start(args, fmt);
    (void)vsnprintf(to, (size_t)len + 1, fmt, args);
    va_end(args);
    buf_commit(buf, (size_t)len);
}

char *buf_take(struct buf *buf, size_t *ret_len)
{
    char *data = buf->cap > 0 ? buf->data : mem_alloc(1);

    if (ret_len) {
        *ret_len = buf->len;
    }
    buf_init(buf, buf->max);
    return data;
}
