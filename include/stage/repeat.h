#ifndef STAGE_REPEAT_H
#define STAGE_REPEAT_H

#include <stddef.h>

/*
 * Bytes that stand in a line twice: a column holds an object or array, and the document holds it,
 * too. No window of gzip reaches from one to the other (32 KiB, RFC 1951), so they would be
 * compressed like news. Whoever writes the line knows; whoever compresses it does so once and puts
 * the result into the file twice.
 */
struct stage_repeat {
    size_t first, second; /* where they stand; first + bytes <= second */
    size_t bytes;
};

/* Of a line, and of a block; more are compressed as news. */
#define STAGE_MAX_REPEATS 8

struct stage_repeats {
    struct stage_repeat items[STAGE_MAX_REPEATS]; /* no byte is in two of them */
    unsigned count;
};

#endif
