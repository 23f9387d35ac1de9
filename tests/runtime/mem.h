/* Memory of the played runtime: arenas for trees, growing byte strings. Both end the process with
   one line when memory runs out, so no caller has to ask. */
#ifndef FLOW_RUNTIME_MEM_H
#define FLOW_RUNTIME_MEM_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Grows, shrinks or (size 0) frees a block. */
void *fr_realloc(void *block, size_t size);

/* A chain of blocks that are freed together. {0} is an empty arena. */
struct fr_arena {
    struct fr_block *blocks; /* newest first; the newest is the one being filled */
    size_t used;             /* bytes used of the newest */
};

void *fr_arena_get(struct fr_arena *arena, size_t size); /* zeroed, aligned for any type */
char *fr_arena_copy(struct fr_arena *arena, const void *bytes, size_t len); /* adds a NUL */
void fr_arena_reset(struct fr_arena *arena); /* keeps one block for reuse */
void fr_arena_done(struct fr_arena *arena);

/* A byte string that grows. {0} is empty. data is NUL-terminated whenever it is not NULL. */
struct fr_buf {
    char *data;
    size_t len;
    size_t room;
};

void fr_buf_reserve(struct fr_buf *buf, size_t more);
void fr_buf_put(struct fr_buf *buf, const void *bytes, size_t len);
void fr_buf_puts(struct fr_buf *buf, const char *text);
void fr_buf_putc(struct fr_buf *buf, char c);
void fr_buf_printf(struct fr_buf *buf, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void fr_buf_cut(struct fr_buf *buf, size_t from_start); /* drops the first bytes */
void fr_buf_done(struct fr_buf *buf);

/* Standard base64 with padding. The decoder also takes the URL alphabet and no padding, and is
   false when the text is neither. */
void fr_base64_put(struct fr_buf *buf, const void *bytes, size_t len);
bool fr_base64_get(struct fr_buf *buf, const char *text, size_t len);

/* Reads a whole file; false with errno set. */
bool fr_file_read(const char *path, struct fr_buf *ret_buf);
/* Replaces a file by writing beside it, syncing and renaming; false with errno set. */
bool fr_file_replace(const char *path, const char *bytes, size_t len);

/* A small generator with a seed, so that a run can be repeated from its seed alone. */
struct fr_random {
    uint64_t state;
};
uint64_t fr_random_next(struct fr_random *random);
uint64_t fr_random_below(struct fr_random *random, uint64_t bound); /* bound > 0 */

#endif
