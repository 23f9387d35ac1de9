/*
 * base/secret: passwords and keys. Each lies in pages of its own, which stay out of core files
 * (madvise(2), MADV_DONTDUMP) and are wiped before they go back. With base/digest.c the only place
 * that knows OpenSSL.
 */

#include "base/secret.h"

#include "base/check.h"
#include "base/size.h"

#include <openssl/crypto.h>

#include <string.h>
#include <sys/mman.h>

struct secret {
    size_t mapped_bytes; /* this struct and the text */
    size_t len;
    char text[]; /* terminated */
};

struct secret *secret_new(struct span text)
{
    size_t size;

    CHECK(size_add(text.len, sizeof(struct secret) + 1, &size));
    struct secret *secret =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(secret != MAP_FAILED);
    /* A kernel without this advice still keeps the secret: core files are off anyway. */
    (void)madvise(secret, size, MADV_DONTDUMP);
    secret->mapped_bytes = size;
    secret->len = text.len;
    if (text.len > 0) {
        memcpy(secret->text, text.ptr, text.len);
    }
    return secret;
}

void secret_free(struct secret *secret)
{
    if (!secret) {
        return;
    }
    size_t size = secret->mapped_bytes;
    secret_wipe(secret, size);
    CHECK(munmap(secret, size) == 0);
}

bool secret_is_empty(const struct secret *secret)
{
    return !secret || secret->len == 0;
}

struct span secret_view(const struct secret *secret)
{
    return secret ? (struct span){secret->text, secret->len} : SPAN_LIT("");
}

const char *secret_text(const struct secret *secret)
{
    return secret ? secret->text : "";
}

struct secret *secret_copy(const struct secret *secret)
{
    return secret_new(secret_view(secret));
}

void secret_wipe(void *ptr, size_t len)
{
    OPENSSL_cleanse(ptr, len);
}
