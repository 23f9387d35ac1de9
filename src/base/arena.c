/*
 * base/arena: memory that goes together. Comes in: sizes; goes out: zeroed memory that lives until
 * the reset. A list of blocks, the newest first; what does not fit into the usual block gets one of
 * its own behind it, so that the free rest of the newest is not lost.
 */

#include "base/arena.h"

#include "base/check.h"
#include "base/size.h"

#include <stdalign.h>
#include <stdio.h>
#include <string.h>

#define FIRST_BLOCK_BYTES (4 * KIB)
#define LARGEST_BLOCK_BYTES (64 * KIB)

struct block {
    struct block *next; /* older */
    size_t cap, used;
    alignas(max_align_t) char data[];
};

struct arena {
    struct block *newest; /* ends with the first block, which a reset keeps */
    size_t next_block_bytes;
    size_t used, max;
};

static struct block *new_block(size_t cap)
{
    struct block *block = mem_realloc(NULL, sizeof(*block) + cap);

    block->next = NULL;
    block->cap = cap;
    block->used = 0;
    return block;
}

struct arena *arena_new(size_t max_bytes)
{
    struct arena *arena = mem_alloc(sizeof(*arena));

    arena->max = max_bytes;
    arena->newest = new_block(FIRST_BLOCK_BYTES);
    arena->next_block_bytes = 2 * FIRST_BLOCK_BYTES;
    return arena;
}

void arena_reset(struct arena *arena)
{
    while (arena->newest->next) {
        struct block *block = arena->newest;
        arena->newest = block->next;
        mem_free(block);
    }
    arena->newest->used = 0;
    arena->next_block_bytes = 2 * FIRST_BLOCK_BYTES;
    arena->used = 0;
}

void arena_free(struct arena *arena)
{
    if (!arena) {
        return;
    }
    arena_reset(arena);
    mem_free(arena->newest);
    mem_free(arena);
}

static void *add_large_block(struct arena *arena, size_t size)
{
    struct block *block = new_block(size);

    /* Behind the newest, unless that is the first, which must stay last. */
    if (arena->newest->next) {
        block->next = arena->newest->next;
        arena->newest->next = block;
    } else {
        block->next = arena->newest;
        arena->newest = block;
    }
    block->used = size;
    return block->data;
}

static void *take(struct arena *arena, size_t size)
{
    struct block *block = arena->newest;

    if (block->cap - block->used < size) {
        if (size > arena->next_block_bytes / 4) {
            return add_large_block(arena, size);
        }
        block = new_block(arena->next_block_bytes);
        block->next = arena->newest;
        arena->newest = block;
        if (arena->next_block_bytes < LARGEST_BLOCK_BYTES) {
            arena->next_block_bytes *= 2;
        }
    }
    void *ptr = block->data + block->used;
    block->used += size;
    return ptr;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    size_t align = alignof(max_align_t);
    size_t rounded;

    CHECK(size_add(size ? size : 1, align - 1, &rounded));
    rounded &= ~(align - 1);
    CHECK(rounded <= arena->max - arena->used);
    arena->used += rounded;
    return memset(take(arena, rounded), 0, rounded);
}

void *arena_array(struct arena *arena, size_t count, size_t size)
{
    size_t bytes;

    CHECK(size_mul(count, size, &bytes));
    return arena_alloc(arena, bytes);
}

char *arena_strndup(struct arena *arena, struct span text)
{
    char *copy = arena_alloc(arena, text.len + 1);

    if (text.len > 0) {
        memcpy(copy, text.ptr, text.len);
    }
    return copy;
}

char *arena_strdup(struct arena *arena, const char *text)
{
    return arena_strndup(arena, span_of(text));
}

struct span arena_span(struct arena *arena, struct span text)
{
    return (struct span){arena_strndup(arena, text), text.len};
}

char *arena_vprintf(struct arena *arena, const char *fmt, va_list args)
{
    va_list again;

    va_copy(again, args);
    int len = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    CHECK(len >= 0);
    char *text = arena_alloc(arena, (size_t)len + 1);
    (void)vsnprintf(text, (size_t)len + 1, fmt, args);
    return text;
}

char *arena_printf(struct arena *arena, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    char *text = arena_vprintf(arena, fmt, args);
    va_end(args);
    return text;
}

size_t arena_used(const struct arena *arena)
{
    return arena->used;
}
