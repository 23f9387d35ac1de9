#ifndef SANDBOX_COPY_UNPACK_H
#define SANDBOX_COPY_UNPACK_H

#include "sandbox/copy_statement.h"

#include <stdbool.h>
#include <stddef.h>

/* Decompresses a stream that arrives in pieces; several gzip members or zstd frames in a row are
 * one stream. Memory does not grow with the input. */
struct unpack;

enum unpack_result {
    UNPACK_OK,
    UNPACK_STOPPED, /* the sink returned false */
    UNPACK_BROKEN,  /* unpack_why tells */
};

typedef bool unpack_sink_fn(void *ctx, const char *at, size_t len);

struct unpack *unpack_new(enum copy_compression compression, unpack_sink_fn *sink, void *ctx);
void unpack_free(struct unpack *u);

enum unpack_result unpack_feed(struct unpack *u, const char *at, size_t len);
/* The input is over: BROKEN when it ended inside a member or frame. */
enum unpack_result unpack_end(struct unpack *u);
const char *unpack_why(const struct unpack *u);

#endif
