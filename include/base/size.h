#ifndef BASE_SIZE_H
#define BASE_SIZE_H

/* Checked arithmetic for sizes that come from outside: false when the result does not fit. */

#include <stdbool.h>
#include <stddef.h>

static inline bool size_add(size_t a, size_t b, size_t *ret)
{
    return !__builtin_add_overflow(a, b, ret);
}

static inline bool size_mul(size_t a, size_t b, size_t *ret)
{
    return !__builtin_mul_overflow(a, b, ret);
}

#define KIB ((size_t)1024)
#define MIB ((size_t)1024 * 1024)

#endif
