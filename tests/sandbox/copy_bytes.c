/* Growing byte runs for the COPY executor: rows on their way to PostgreSQL, objects gathered from
 * network chunks, decoded strings. */
#include "sandbox/copy_bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void bytes_done(struct bytes *b)
{
    free(b->at);
    *b = (struct bytes){0};
}

char *bytes_reserve(struct bytes *b, size_t more)
{
    if (b->cap - b->len < more) {
        size_t cap = b->cap == 0 ? 4096 : b->cap;
        while (cap - b->len < more) {
            cap *= 2;
        }
        char *at = realloc(b->at, cap);
        if (at == NULL) {
            fprintf(stderr, "redshift-sandbox: out of memory for %zu bytes\n", cap);
            abort();
        }
        b->at = at;
        b->cap = cap;
    }
    return b->at + b->len;
}

void bytes_put(struct bytes *b, const void *at, size_t len)
{
    if (len > 0) {
        memcpy(bytes_reserve(b, len), at, len);
        b->len += len;
    }
}

void bytes_put_text(struct bytes *b, const char *text)
{
    bytes_put(b, text, strlen(text));
}

void bytes_put_char(struct bytes *b, char c)
{
    *bytes_reserve(b, 1) = c;
    b->len++;
}

void bytes_printf(struct bytes *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int need = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (need > 0) {
        char *to = bytes_reserve(b, (size_t)need + 1);
        va_start(args, format);
        vsnprintf(to, (size_t)need + 1, format, args);
        va_end(args);
        b->len += (size_t)need;
    }
}

const char *bytes_text(struct bytes *b)
{
    *bytes_reserve(b, 1) = '\0';
    return b->at;
}

void bytes_put_literal(struct bytes *b, const char *text)
{
    if (text == NULL) {
        bytes_put_text(b, "NULL");
        return;
    }
    bytes_put_text(b, "E'");
    for (; *text != '\0'; text++) {
        if (*text == '\'' || *text == '\\') {
            bytes_put_char(b, *text);
        }
        bytes_put_char(b, *text);
    }
    bytes_put_char(b, '\'');
}

bool piece_is(struct piece p, const char *text)
{
    return p.len == strlen(text) && memcmp(p.at, text, p.len) == 0;
}

void text_format(char *to, size_t size, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(to, size, format, args);
    va_end(args);
}
