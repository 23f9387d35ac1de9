#ifndef BASE_CHAIN_H
#define BASE_CHAIN_H

/*
 * Bytes on their way out, in equal chunks from one pool. A part of an upload is a chain: it costs
 * the chunks it really fills, so a hundred half-empty parts cost a hundred chunks and not a hundred
 * times the minimum part size. Chunks return to the pool when the chain is released.
 *
 *      pool -> [chunk 64 KiB] -> [chunk] -> ...       chain: first ... last, bytes in all
 */

#include "base/span.h"

#include <stdint.h>

struct chain_pool;
struct chain_chunk;

/* A plain value inside its owner. Moves by chain_move only. */
struct chain {
    struct chain_pool *pool;
    struct chain_chunk *first, *last;
    size_t bytes;
};

/* Where a reader is; copied to rewind. */
struct chain_cursor {
    const struct chain *chain;
    const struct chain_chunk *chunk;
    size_t offset;
};

/* Keeps up to kept_bytes of freed chunks for the next user; what is in use is bounded by the byte
 * ledger (runtime/credit.h), which owners of chains hold credit of. */
struct chain_pool *chain_pool_new(size_t chunk_bytes, size_t kept_bytes);
void chain_pool_free(struct chain_pool *pool);         /* CHECK: no chunk is in use */
size_t chain_pool_used(const struct chain_pool *pool); /* bytes of chunks in use */

void chain_init(struct chain *chain, struct chain_pool *pool);
void chain_release(struct chain *chain); /* gives the chunks back; empty and usable again */
void chain_move(struct chain *to, struct chain *from); /* to is released first, from is empty */
void chain_add(struct chain *chain, const void *ptr, size_t len);

struct chain_cursor chain_begin(const struct chain *chain);
/* The next run of at most max bytes, or an empty span at the end. Valid while the chain is. */
struct span chain_next(struct chain_cursor *cursor, size_t max);

#endif
