#ifndef BASE_SECRET_H
#define BASE_SECRET_H

/*
 * A password or key. Has no formatting, is wiped when freed, and its bytes are lent only for the
 * length of a call. Memory is kept out of core files (madvise DONTDUMP).
 */

#include "base/span.h"

struct secret;

struct secret *secret_new(struct span text);          /* copies; the caller wipes its own copy */
void secret_free(struct secret *secret);              /* wipes; NULL is fine */
bool secret_is_empty(const struct secret *secret);    /* also for NULL */
struct span secret_view(const struct secret *secret); /* terminated; never kept */
const char *secret_text(const struct secret *secret); /* "" for NULL; never kept */
struct secret *secret_copy(const struct secret *secret);

/* Overwrites memory that held a secret; not removed by the optimiser. */
void secret_wipe(void *ptr, size_t len);

#endif
