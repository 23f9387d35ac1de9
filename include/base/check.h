#ifndef BASE_CHECK_H
#define BASE_CHECK_H

/*
 * What the whole house needs before it can say anything else: assertions about our own mistakes,
 * and three small macros. What comes from outside is never asserted; it gets a struct error.
 */

#include <stddef.h>

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

#define ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))

/* From the embedded member up to the struct that owns it. */
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* Prints one fatal log line (file, line, expression) and aborts without a core's worth of secrets:
 * core files are switched off at start (see runtime/loop.h). */
_Noreturn void check_failed(const char *file, int line, const char *expression);

/* Our own mistake. Stays on in release builds: a crash is replayed by the runtime, a wrong row is
 * not. */
#define CHECK(x) ((x) ? (void)0 : check_failed(__FILE__, __LINE__, #x))

#ifdef NDEBUG
#define DEBUG_CHECK(x) ((void)sizeof(x))
#else
#define DEBUG_CHECK(x) CHECK(x)
#endif

/* Small allocations do not fail: out of memory ends the process with one clear line, and the
 * transaction is replayed. These are the only callers of malloc in the house. */
void *mem_alloc(size_t size);              /* zeroed; never NULL */
void *mem_realloc(void *ptr, size_t size); /* new bytes are not zeroed */
void mem_free(void *ptr);                  /* NULL is fine */
char *mem_strdup(const char *text);

#endif
