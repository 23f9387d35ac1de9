#ifndef SANDBOX_COPY_MANIFEST_H
#define SANDBOX_COPY_MANIFEST_H

#include "sandbox/copy_bytes.h"

#include <stdbool.h>

/* {"entries":[{"url":"s3://bucket/full/key","mandatory":true}, ...]} */
struct manifest_entry {
    char *bucket, *key;
    bool mandatory; /* false when not named: a missing file is then passed over */
};

struct manifest {
    struct manifest_entry *entries; /* in the file's order; a file named twice is there twice */
    int count;
};

/* Splits s3://bucket/key; false when it is not of that form. Both are new strings of the caller. */
bool manifest_split_url(struct piece url, char **ret_bucket, char **ret_key);

/* False: `why` tells (no partial result). */
bool manifest_parse(struct piece text, struct manifest *ret, char *why, size_t why_size);
void manifest_done(struct manifest *m);

#endif
