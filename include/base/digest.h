#ifndef BASE_DIGEST_H
#define BASE_DIGEST_H

/* SHA-256, HMAC-SHA-256, MD5 (only where S3 demands Content-MD5) and XXH64, over OpenSSL's
 * libcrypto and our own XXH64 (the schedule's jitter; https://github.com/Cyan4973/xxHash,
 * specification 0.1.1). */

#include "base/span.h"

#include <stdint.h>

#define DIGEST_SHA256_BYTES 32
#define DIGEST_MD5_BYTES 16

struct digest; /* a running SHA-256 */

struct digest *digest_new(void);
void digest_add(struct digest *digest, struct span bytes);
void digest_end(struct digest *digest, unsigned char out[DIGEST_SHA256_BYTES]); /* frees it */

void digest_sha256(struct span bytes, unsigned char out[DIGEST_SHA256_BYTES]);
void digest_hmac_sha256(struct span key, struct span bytes, unsigned char out[DIGEST_SHA256_BYTES]);
void digest_md5(struct span bytes, unsigned char out[DIGEST_MD5_BYTES]);
uint64_t digest_xxh64(struct span bytes, uint64_t seed);

#endif
