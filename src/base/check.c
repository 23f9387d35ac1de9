/*
 * base/check: assertions and memory. Comes in: our own mistakes and the kernel's refusals; goes
 * out: one fatal line and abort. It allocates nothing on that way, since memory may be what is
 * missing.
 */

#include "base/check.h"

#include "base/last_words.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Noreturn void check_failed(const char *file, int line, const char *expression)
{
    char text[512];
    const char *name = strrchr(file, '/');

    (void)snprintf(text, sizeof(text), "internal check failed: %s (%s:%d)", expression,
                   name ? name + 1 : file, line);
    log_last_words(text);
    abort();
}

static _Noreturn void run_out_of_memory(size_t size)
{
    char text[96];

    (void)snprintf(text, sizeof(text), "out of memory: the system refused %zu bytes", size);
    log_last_words(text);
    abort();
}

void *mem_alloc(size_t size)
{
    void *ptr = calloc(1, size ? size : 1);
    if (!ptr) {
        run_out_of_memory(size);
    }
    return ptr;
}

void *mem_realloc(void *ptr, size_t size)
{
    void *moved = realloc(ptr, size ? size : 1);
    if (!moved) {
        run_out_of_memory(size);
    }
    return moved;
}

void mem_free(void *ptr)
{
    free(ptr);
}

char *mem_strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = mem_realloc(NULL, size);

    memcpy(copy, text, size);
    return copy;
}
