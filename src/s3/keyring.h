#ifndef S3_KEYRING_H
#define S3_KEYRING_H

/* The keys of one struct s3, and who waits for others. The door to it is s3/credential.h. */

#include "s3/client.h"
#include "source.h"

struct s3_keyring;

/* Takes the source, or why there is none: then whoever wants keys gets this error. */
struct s3_keyring *s3_keyring_new(struct s3_source *source,
                                  struct error *no_source,
                                  s3_keys_tell_fn *tell,
                                  void *tell_ctx);
void s3_keyring_free(struct s3_keyring *keyring); /* CHECK: nobody waits; NULL is fine */

#endif
