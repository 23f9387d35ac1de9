#ifndef SANDBOX_COPY_BYTES_H
#define SANDBOX_COPY_BYTES_H

#include <stdbool.h>
#include <stddef.h>

/* A growing run of bytes. Zero-initialised is empty. Running out of memory ends the session
 * process: PostgreSQL then rolls back, which is what a client sees of a crashed cluster node. */
struct bytes {
    char *at;
    size_t len, cap;
};

void bytes_done(struct bytes *b);
/* Room for `more` bytes behind `len`; returns where they begin, does not change `len`. */
char *bytes_reserve(struct bytes *b, size_t more);
void bytes_put(struct bytes *b, const void *at, size_t len);
void bytes_put_text(struct bytes *b, const char *text);
void bytes_put_char(struct bytes *b, char c);
void bytes_printf(struct bytes *b, const char *format, ...)
    __attribute__((__format__(__printf__, 2, 3)));
/* A zero byte behind the content, not counted in `len`; returns `at`. */
const char *bytes_text(struct bytes *b);
/* E'text' with quotes and backslashes doubled: a literal that means the same to PostgreSQL whatever
 * standard_conforming_strings says. NULL gives the word NULL. */
void bytes_put_literal(struct bytes *b, const char *text);

/* A borrowed run of bytes. */
struct piece {
    const char *at;
    size_t len;
};

bool piece_is(struct piece p, const char *text);

/* snprintf for the fixed fields of copy_outcome and load errors: cutting a long text is meant. */
void text_format(char *to, size_t size, const char *format, ...)
    __attribute__((__format__(__printf__, 3, 4)));

#endif
