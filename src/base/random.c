/*
 * base/random: identities from the kernel, jitter from a seed. The seeded generator is splitmix64
 * (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014): one addition and a
 * mix, good enough for delays and the same on every machine.
 */

#include "base/random.h"

#include "base/check.h"

#include <errno.h>
#include <sys/random.h>
#include <sys/types.h>

void random_bytes(void *out, size_t len)
{
    unsigned char *next = out;

    while (len > 0) {
        ssize_t got = getrandom(next, len, 0);
        if (got < 0) {
            CHECK(errno == EINTR);
            continue;
        }
        next += got;
        len -= (size_t)got;
    }
}

void random_uuid(unsigned char out[16])
{
    random_bytes(out, 16);
    out[6] = (unsigned char)((out[6] & 0x0f) | 0x40); /* version 4 */
    out[8] = (unsigned char)((out[8] & 0x3f) | 0x80); /* the variant of RFC 4122 */
}

uint64_t random_next(struct random *random)
{
    uint64_t z = (random->state += 0x9e3779b97f4a7c15U);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

uint64_t random_below(struct random *random, uint64_t bound)
{
    CHECK(bound > 0);
    /* The lowest 2^64 mod bound values would make some results likelier than others. */
    uint64_t unfair = (0 - bound) % bound;

    for (;;) {
        uint64_t value = random_next(random);
        if (value >= unfair) {
            return value % bound;
        }
    }
}
