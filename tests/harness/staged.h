#ifndef HARNESS_STAGED_H
#define HARNESS_STAGED_H

/* Staged files as bytes, read and written past the connector and its gateway. */

#include <stdbool.h>
#include <stddef.h>

struct object_bytes {
    char *at; /* ended by a NUL that does not count; staged_release */
    size_t len;
};

/* ret is to be released in any case. False: it is not there. */
bool staged_get(const char *key, struct object_bytes *ret);
bool staged_put(const char *key, const char *bytes, size_t len);
void staged_release(struct object_bytes *bytes);

/* A gzip file made plain, and the other way round. False: it is no whole file. */
bool staged_unpack(const struct object_bytes *packed, struct object_bytes *ret);
bool staged_pack(const struct object_bytes *plain, struct object_bytes *ret);

#endif
