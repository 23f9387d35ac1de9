#ifndef BASE_ARENA_H
#define BASE_ARENA_H

/*
 * Lifetime is a place: whatever belongs to one transaction, one request or one opened connector
 * lies in an arena and goes with it. Nothing in an arena is freed singly. Pointers stay valid
 * until arena_reset or arena_free. Not for bulk data: documents and parts have buffers of their
 * own.
 */

#include "base/span.h"

#include <stdarg.h>
#include <stdint.h>

struct arena;

struct arena *arena_new(size_t max_bytes); /* going beyond max_bytes is a CHECK: bound your input */
void arena_free(struct arena *arena);      /* NULL is fine */
void arena_reset(struct arena *arena);     /* everything in it is gone; its first block is kept */

void *arena_alloc(struct arena *arena, size_t size); /* zeroed, aligned for any type */
void *arena_array(struct arena *arena, size_t count, size_t size);
char *arena_strdup(struct arena *arena, const char *text);
char *arena_strndup(struct arena *arena, struct span text);    /* adds the terminator */
struct span arena_span(struct arena *arena, struct span text); /* copy, also terminated */
char *arena_printf(struct arena *arena, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
char *arena_vprintf(struct arena *arena, const char *fmt, va_list args)
    __attribute__((format(printf, 2, 0)));

size_t arena_used(const struct arena *arena);

/* NEW(arena, struct s): one zeroed struct */
#define ARENA_NEW(arena, type) ((type *)arena_alloc((arena), sizeof(type)))
#define ARENA_ARRAY(arena, count, type) ((type *)arena_array((arena), (count), sizeof(type)))

#endif
