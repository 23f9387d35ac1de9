/* Memory, files and chance for the played runtime. Knows nothing of Flow. */
#include "mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK_BYTES = 256 * 1024 };

struct fr_block {
    struct fr_block *older;
    size_t room;
    _Alignas(16) unsigned char bytes[];
};

void *fr_realloc(void *block, size_t size)
{
    if (size == 0) {
        free(block);
        return NULL;
    }
    void *moved = realloc(block, size);
    if (moved == NULL) {
        fprintf(stderr, "flow-runtime: out of memory (%zu bytes)\n", size);
        _exit(1);
    }
    return moved;
}

/* ---------------------------------------------------------------- arena */

void *fr_arena_get(struct fr_arena *arena, size_t size)
{
    size = (size + 15) & ~(size_t)15;
    if (arena->blocks == NULL || arena->blocks->room - arena->used < size) {
        size_t room = size > BLOCK_BYTES ? size : BLOCK_BYTES;
        struct fr_block *block = fr_realloc(NULL, sizeof(*block) + room);
        block->older = arena->blocks;
        block->room = room;
        arena->blocks = block;
        arena->used = 0;
    }
    void *got = arena->blocks->bytes + arena->used;
    arena->used += size;
    memset(got, 0, size);
    return got;
}

char *fr_arena_copy(struct fr_arena *arena, const void *bytes, size_t len)
{
    char *copy = fr_arena_get(arena, len + 1);
    if (len > 0) {
        memcpy(copy, bytes, len);
    }
    return copy;
}

void fr_arena_reset(struct fr_arena *arena)
{
    while (arena->blocks != NULL && arena->blocks->older != NULL) {
        struct fr_block *older = arena->blocks->older;
        fr_realloc(arena->blocks, 0);
        arena->blocks = older;
    }
    arena->used = 0;
}

void fr_arena_done(struct fr_arena *arena)
{
    fr_arena_reset(arena);
    fr_realloc(arena->blocks, 0);
    arena->blocks = NULL;
}

/* ---------------------------------------------------------------- buf */

void fr_buf_reserve(struct fr_buf *buf, size_t more)
{
    if (buf->room - buf->len > more) {
        return;
    }
    size_t room = buf->room < 64 ? 64 : buf->room;
    while (room - buf->len <= more) {
        room *= 2;
    }
    buf->data = fr_realloc(buf->data, room);
    buf->room = room;
}

void fr_buf_put(struct fr_buf *buf, const void *bytes, size_t len)
{
    fr_buf_reserve(buf, len);
    if (len > 0) {
        memcpy(buf->data + buf->len, bytes, len);
    }
    buf->len += len;
    buf->data[buf->len] = '\0';
}

void fr_buf_puts(struct fr_buf *buf, const char *text)
{
    fr_buf_put(buf, text, strlen(text));
}

void fr_buf_putc(struct fr_buf *buf, char c)
{
    fr_buf_put(buf, &c, 1);
}

void fr_buf_printf(struct fr_buf *buf, const char *format, ...)
{
    va_list args;
    va_list again;

    va_start(args, format);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (len > 0) {
        fr_buf_reserve(buf, (size_t)len + 1);
        (void)vsnprintf(buf->data + buf->len, (size_t)len + 1, format, again);
        buf->len += (size_t)len;
    }
    va_end(again);
}

void fr_buf_cut(struct fr_buf *buf, size_t from_start)
{
    if (from_start == 0) {
        return;
    }
    memmove(buf->data, buf->data + from_start, buf->len - from_start);
    buf->len -= from_start;
    buf->data[buf->len] = '\0';
}

void fr_buf_done(struct fr_buf *buf)
{
    fr_realloc(buf->data, 0);
    memset(buf, 0, sizeof(*buf));
}

/* ---------------------------------------------------------------- base64 */

void fr_base64_put(struct fr_buf *buf, const void *bytes, size_t len)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *in = bytes;

    fr_buf_reserve(buf, (len + 2) / 3 * 4 + 1);
    char *out = buf->data + buf->len;
    for (size_t i = 0; i < len; i += 3) {
        uint32_t word = (uint32_t)in[i] << 16;
        word |= i + 1 < len ? (uint32_t)in[i + 1] << 8 : 0;
        word |= i + 2 < len ? (uint32_t)in[i + 2] : 0;
        *out++ = alphabet[word >> 18];
        *out++ = alphabet[word >> 12 & 63];
        *out++ = i + 1 < len ? alphabet[word >> 6 & 63] : '=';
        *out++ = i + 2 < len ? alphabet[word & 63] : '=';
    }
    *out = '\0';
    buf->len = (size_t)(out - buf->data);
}

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    if (c == '+' || c == '-') {
        return 62;
    }
    return c == '/' || c == '_' ? 63 : -1;
}

bool fr_base64_get(struct fr_buf *buf, const char *text, size_t len)
{
    while (len > 0 && text[len - 1] == '=') {
        len--;
    }
    if (len % 4 == 1) {
        return false;
    }
    uint32_t word = 0;
    unsigned bits = 0;
    for (size_t i = 0; i < len; i++) {
        int value = base64_value(text[i]);
        if (value < 0) {
            return false;
        }
        word = word << 6 | (uint32_t)value;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            fr_buf_putc(buf, (char)(unsigned char)(word >> bits & 0xff));
        }
    }
    return true;
}

/* ---------------------------------------------------------------- files */

bool fr_file_read(const char *path, struct fr_buf *ret_buf)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    for (;;) {
        fr_buf_reserve(ret_buf, 1 << 16);
        ssize_t got = read(fd, ret_buf->data + ret_buf->len, 1 << 16);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            int saved = errno;
            close(fd);
            errno = saved;
            return false;
        }
        if (got == 0) {
            break;
        }
        ret_buf->len += (size_t)got;
    }
    ret_buf->data[ret_buf->len] = '\0';
    close(fd);
    return true;
}

bool fr_file_replace(const char *path, const char *bytes, size_t len)
{
    struct fr_buf beside = {0};
    bool done = false;

    fr_buf_printf(&beside, "%s.new", path);
    int fd = open(beside.data, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd >= 0) {
        size_t sent = 0;
        while (sent < len) {
            ssize_t wrote = write(fd, bytes + sent, len - sent);
            if (wrote < 0 && errno != EINTR) {
                break;
            }
            sent += wrote > 0 ? (size_t)wrote : 0;
        }
        done = sent == len && fsync(fd) == 0;
        done = close(fd) == 0 && done;
        done = done && rename(beside.data, path) == 0;
    }
    fr_buf_done(&beside);
    return done;
}

/* ---------------------------------------------------------------- chance */

uint64_t fr_random_next(struct fr_random *random)
{
    uint64_t z = random->state += 0x9e3779b97f4a7c15U;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
    z = (z ^ z >> 27) * 0x94d049bb133111ebU;
    return z ^ z >> 31;
}

uint64_t fr_random_below(struct fr_random *random, uint64_t bound)
{
    return fr_random_next(random) % bound;
}
