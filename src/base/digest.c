/*
 * base/digest: checksums. SHA-256, HMAC and MD5 are OpenSSL's; XXH64 is ours, after the published
 * specification (https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md), because it is a
 * page long and only ever reads a host name.
 */

#include "base/digest.h"

#include "base/check.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

struct digest {
    EVP_MD_CTX *evp;
};

/* ---------------------------------------------------------------- OpenSSL's */

struct digest *digest_new(void)
{
    struct digest *digest = mem_alloc(sizeof(*digest));

    digest->evp = EVP_MD_CTX_new();
    CHECK(digest->evp && EVP_DigestInit_ex(digest->evp, EVP_sha256(), NULL) == 1);
    return digest;
}

void digest_add(struct digest *digest, struct span bytes)
{
    CHECK(EVP_DigestUpdate(digest->evp, bytes.ptr, bytes.len) == 1);
}

void digest_end(struct digest *digest, unsigned char out[DIGEST_SHA256_BYTES])
{
    CHECK(EVP_DigestFinal_ex(digest->evp, out, NULL) == 1);
    EVP_MD_CTX_free(digest->evp);
    mem_free(digest);
}

void digest_sha256(struct span bytes, unsigned char out[DIGEST_SHA256_BYTES])
{
    CHECK(EVP_Digest(bytes.ptr, bytes.len, out, NULL, EVP_sha256(), NULL) == 1);
}

void digest_hmac_sha256(struct span key, struct span bytes, unsigned char out[DIGEST_SHA256_BYTES])
{
    /* A NULL key would mean "the key of before" to OpenSSL. */
    const char *key_ptr = key.len ? key.ptr : "";

    CHECK(key.len <= INT32_MAX);
    CHECK(HMAC(EVP_sha256(), key_ptr, (int)key.len, (const unsigned char *)bytes.ptr, bytes.len,
               out, NULL));
}

void digest_md5(struct span bytes, unsigned char out[DIGEST_MD5_BYTES])
{
    CHECK(EVP_Digest(bytes.ptr, bytes.len, out, NULL, EVP_md5(), NULL) == 1);
}

/* ---------------------------------------------------------------- XXH64 */

static const uint64_t prime_1 = 0x9e3779b185ebca87U;
static const uint64_t prime_2 = 0xc2b2ae3d27d4eb4fU;
static const uint64_t prime_3 = 0x165667b19e3779f9U;
static const uint64_t prime_4 = 0x85ebca77c2b2ae63U;
static const uint64_t prime_5 = 0x27d4eb2f165667c5U;

static uint64_t rotate_left(uint64_t x, unsigned bits)
{
    return (x << bits) | (x >> (64 - bits));
}

static uint64_t read_little_endian(const unsigned char *at, unsigned bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bytes; i++) {
        value |= (uint64_t)at[i] << (8 * i);
    }
    return value;
}

static uint64_t add_lane(uint64_t lane, uint64_t input)
{
    return rotate_left(lane + input * prime_2, 31) * prime_1;
}

static uint64_t merge_lane(uint64_t hash, uint64_t lane)
{
    return (hash ^ add_lane(0, lane)) * prime_1 + prime_4;
}

uint64_t digest_xxh64(struct span bytes, uint64_t seed)
{
    const unsigned char *at = (const unsigned char *)bytes.ptr;
    size_t left = bytes.len;
    uint64_t hash;

    if (left >= 32) {
        uint64_t lane[4] = {seed + prime_1 + prime_2, seed + prime_2, seed, seed - prime_1};
        for (; left >= 32; left -= 32) {
            for (unsigned i = 0; i < 4; i++, at += 8) {
                lane[i] = add_lane(lane[i], read_little_endian(at, 8));
            }
        }
        hash = rotate_left(lane[0], 1) + rotate_left(lane[1], 7) + rotate_left(lane[2], 12) +
               rotate_left(lane[3], 18);
        for (unsigned i = 0; i < 4; i++) {
            hash = merge_lane(hash, lane[i]);
        }
    } else {
        hash = seed + prime_5;
    }
    hash += bytes.len;

    for (; left >= 8; left -= 8, at += 8) {
        hash = rotate_left(hash ^ add_lane(0, read_little_endian(at, 8)), 27) * prime_1 + prime_4;
    }
    if (left >= 4) {
        hash = rotate_left(hash ^ (read_little_endian(at, 4) * prime_1), 23) * prime_2 + prime_3;
        at += 4;
        left -= 4;
    }
    for (; left > 0; left--, at++) {
        hash = rotate_left(hash ^ (*at * prime_5), 11) * prime_1;
    }

    hash = (hash ^ (hash >> 33)) * prime_2;
    hash = (hash ^ (hash >> 29)) * prime_3;
    return hash ^ (hash >> 32);
}
