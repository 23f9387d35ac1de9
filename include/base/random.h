#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

/* Randomness for identities (from the kernel) and for jitter (seeded, reproducible in tests). */

#include <stddef.h>
#include <stdint.h>

void random_bytes(void *out, size_t len); /* getrandom(2); failing it is a CHECK */
void random_uuid(unsigned char out[16]);  /* version 4 */

struct random {
    uint64_t state;
};
uint64_t random_next(struct random *random); /* splitmix64 */
uint64_t random_below(struct random *random, uint64_t bound);

#endif
