#ifndef HARNESS_BUCKET_H
#define HARNESS_BUCKET_H

/*
 * The bucket behind everybody's back: not through the connector's gateway, and not with its keys'
 * knowledge. One request at a time; 0 for a status means that there was no answer.
 */

#include <stdbool.h>
#include <stddef.h>

/* What a reply's body is given to, piece by piece (libcurl's write function). */
typedef size_t bucket_take_fn(char *bytes, size_t size, size_t count, void *ctx);

/* The HTTP status. */
long bucket_get(const char *key, bucket_take_fn *take, void *ctx);
long bucket_put(const char *key, const void *bytes, size_t len);
long bucket_delete(const char *key);
/* So many objects of one byte, "NAMEnnnn", several at a time; true when all are there. */
bool bucket_put_many(const char *name, unsigned count);

#endif
