/*
 * Names as Redshift folds and cuts them, and the shorter ones PostgreSQL can hold. Pure.
 */
#include "sandbox/ident.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* The longest prefix of at most `max` bytes that does not end inside a UTF-8 character. */
static size_t cut_utf8(const char *text, size_t size, size_t max)
{
    if (size <= max) {
        return size;
    }
    size_t cut = max;
    while (cut > 0 && ((unsigned char)text[cut] & 0xC0) == 0x80) {
        cut--;
    }
    return cut;
}

void ident_fold(const char *text, size_t size, bool fold, char ret[IDENT_FULL_MAX + 1])
{
    size_t length = cut_utf8(text, size, IDENT_FULL_MAX);

    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        ret[i] = fold && c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
    }
    ret[length] = '\0';
}

bool ident_is_long(const char *full)
{
    return strlen(full) > IDENT_BACKEND_MAX;
}

/* FNV-1a, 64 bits: the names of one warehouse are few, and nobody attacks the sandbox. */
static uint64_t hash_name(const char *full)
{
    uint64_t hash = 14695981039346656037U;

    for (; *full != '\0'; full++) {
        hash = (hash ^ (unsigned char)*full) * 1099511628211U;
    }
    return hash;
}

void ident_backend(const char *full, char ret[IDENT_BACKEND_MAX + 1])
{
    size_t size = strlen(full);
    enum {
        TAIL = 17, /* '~' and 16 digits */
    };

    if (size <= IDENT_BACKEND_MAX) {
        memcpy(ret, full, size + 1);
        return;
    }
    size_t kept = cut_utf8(full, size, IDENT_BACKEND_MAX - TAIL);
    memcpy(ret, full, kept);
    (void)snprintf(ret + kept, TAIL + 1, "~%016llx", (unsigned long long)hash_name(full));
}

void ident_quote_backend(const char *full, char ret[IDENT_QUOTED_SIZE])
{
    char backend[IDENT_BACKEND_MAX + 1];
    char *to = ret;

    ident_backend(full, backend);
    *to++ = '"';
    for (const char *at = backend; *at != '\0'; at++) {
        if (*at == '"') {
            *to++ = '"';
        }
        *to++ = *at;
    }
    *to++ = '"';
    *to = '\0';
}
