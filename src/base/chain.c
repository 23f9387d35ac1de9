/*
 * base/chain: bytes on their way out. Comes in: bytes of any number; goes out: runs of at most a
 * chunk, as often as a reader begins again. The pool only remembers freed chunks; how much may be
 * in use is the ledger's affair.
 */

#include "base/chain.h"

#include "base/check.h"

#include <string.h>

struct chain_chunk {
    struct chain_chunk *next;
    size_t len;
    char data[];
};

struct chain_pool {
    size_t chunk_bytes;
    size_t kept_max;
    size_t used_count, kept_count;
    struct chain_chunk *kept;
};

/* ---------------------------------------------------------------- the pool */

struct chain_pool *chain_pool_new(size_t chunk_bytes, size_t kept_bytes)
{
    CHECK(chunk_bytes > 0);
    struct chain_pool *pool = mem_alloc(sizeof(*pool));
    pool->chunk_bytes = chunk_bytes;
    pool->kept_max = kept_bytes / chunk_bytes;
    return pool;
}

void chain_pool_free(struct chain_pool *pool)
{
    if (!pool) {
        return;
    }
    CHECK(pool->used_count == 0);
    while (pool->kept) {
        struct chain_chunk *chunk = pool->kept;
        pool->kept = chunk->next;
        mem_free(chunk);
    }
    mem_free(pool);
}

size_t chain_pool_used(const struct chain_pool *pool)
{
    return pool->used_count * pool->chunk_bytes;
}

static struct chain_chunk *take_chunk(struct chain_pool *pool)
{
    struct chain_chunk *chunk = pool->kept;

    if (chunk) {
        pool->kept = chunk->next;
        pool->kept_count--;
    } else {
        chunk = mem_realloc(NULL, sizeof(*chunk) + pool->chunk_bytes);
    }
    pool->used_count++;
    chunk->next = NULL;
    chunk->len = 0;
    return chunk;
}

static void give_chunk(struct chain_pool *pool, struct chain_chunk *chunk)
{
    pool->used_count--;
    if (pool->kept_count < pool->kept_max) {
        chunk->next = pool->kept;
        pool->kept = chunk;
        pool->kept_count++;
    } else {
        mem_free(chunk);
    }
}

/* ---------------------------------------------------------------- a chain */

void chain_init(struct chain *chain, struct chain_pool *pool)
{
    *chain = (struct chain){.pool = pool};
}

void chain_release(struct chain *chain)
{
    while (chain->first) {
        struct chain_chunk *chunk = chain->first;
        chain->first = chunk->next;
        give_chunk(chain->pool, chunk);
    }
    chain->last = NULL;
    chain->bytes = 0;
}

void chain_move(struct chain *to, struct chain *from)
{
    if (to == from) {
        return;
    }
    chain_release(to);
    *to = *from;
    chain_init(from, to->pool);
}

void chain_add(struct chain *chain, const void *ptr, size_t len)
{
    const char *from = ptr;

    while (len > 0) {
        struct chain_chunk *chunk = chain->last;
        if (!chunk || chunk->len == chain->pool->chunk_bytes) {
            chunk = take_chunk(chain->pool);
            if (chain->last) {
                chain->last->next = chunk;
            } else {
                chain->first = chunk;
            }
            chain->last = chunk;
        }
        size_t room = chain->pool->chunk_bytes - chunk->len;
        size_t part = len < room ? len : room;
        memcpy(chunk->data + chunk->len, from, part);
        chunk->len += part;
        chain->bytes += part;
        from += part;
        len -= part;
    }
}

struct chain_cursor chain_begin(const struct chain *chain)
{
    return (struct chain_cursor){.chain = chain, .chunk = chain->first};
}

struct span chain_next(struct chain_cursor *cursor, size_t max)
{
    /* A reader that began before the first byte came finds the first chunk later. */
    if (!cursor->chunk) {
        cursor->chunk = cursor->chain->first;
        cursor->offset = 0;
    }
    while (cursor->chunk && cursor->offset == cursor->chunk->len && cursor->chunk->next) {
        cursor->chunk = cursor->chunk->next;
        cursor->offset = 0;
    }
    if (!cursor->chunk) {
        return SPAN_NONE;
    }
    size_t left = cursor->chunk->len - cursor->offset;
    struct span run = {cursor->chunk->data + cursor->offset, left < max ? left : max};
    cursor->offset += run.len;
    return run;
}
