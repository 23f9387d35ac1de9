#ifndef BASE_SPAN_H
#define BASE_SPAN_H

/*
 * A borrowed run of bytes: valid until the call that got it returns, unless the header that hands
 * it out says longer. Not terminated. An absent value has ptr NULL; an empty one has len 0.
 */

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct span {
    const char *ptr;
    size_t len;
};

#define SPAN_LIT(text) ((struct span){(text), sizeof(text) - 1})
#define SPAN_NONE ((struct span){NULL, 0})
/* for printf's "%.*s" */
#define SPAN_FMT(s) (int)(s).len, (s).len ? (s).ptr : ""

static inline struct span span_of(const char *text)
{
    return (struct span){text, text ? strlen(text) : 0};
}

static inline bool span_equal(struct span a, struct span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool span_is(struct span a, const char *text)
{
    return span_equal(a, span_of(text));
}

static inline bool span_starts_with(struct span a, struct span prefix)
{
    return a.len >= prefix.len && (prefix.len == 0 || memcmp(a.ptr, prefix.ptr, prefix.len) == 0);
}

/* Byte order, shorter first when one is a prefix of the other. */
int span_compare(struct span a, struct span b);

#endif
