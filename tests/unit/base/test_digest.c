/* base/digest by published vectors. */

#include "base/digest.h"

#include "base/buf.h"
#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void expect_hex(const char *what, const unsigned char *bytes, size_t len, const char *hex)
{
    char text[65] = {0};

    text[text_hex(text, bytes, len)] = '\0';
    if (strcmp(text, hex) != 0) {
        fail_msg("%s: %s", what, text);
    }
}

/* FIPS 180-4's examples, and RFC 1321 A.5 for MD5. */
static void sha256_and_md5_of_known_texts(void **state)
{
    static const struct {
        const char *text, *sha256, *md5;
    } rows[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
         "d41d8cd98f00b204e9800998ecf8427e"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
         "900150983cd24fb0d6963f7d28e17f72"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
         "8215ef0796a20bcaaae116d3876c664a"},
    };
    unsigned char out[DIGEST_SHA256_BYTES];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        digest_sha256(span_of(rows[i].text), out);
        expect_hex(rows[i].text, out, DIGEST_SHA256_BYTES, rows[i].sha256);
        digest_md5(span_of(rows[i].text), out);
        expect_hex(rows[i].text, out, DIGEST_MD5_BYTES, rows[i].md5);
    }
}

static void a_running_digest_takes_its_bytes_in_pieces(void **state)
{
    unsigned char out[DIGEST_SHA256_BYTES];
    struct digest *digest = digest_new();

    (void)state;
    /* FIPS 180-4: a million times "a" */
    char thousand[1000];
    memset(thousand, 'a', sizeof(thousand));
    for (unsigned i = 0; i < 1000; i++) {
        digest_add(digest, (struct span){thousand, sizeof(thousand)});
    }
    digest_add(digest, SPAN_NONE);
    digest_end(digest, out);
    expect_hex("a million times a", out, sizeof(out),
               "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

/* RFC 4231. */
static void hmac_of_known_texts(void **state)
{
    unsigned char out[DIGEST_SHA256_BYTES];
    char long_key[131];

    (void)state;
    digest_hmac_sha256(SPAN_LIT("\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b"
                                "\x0b\x0b\x0b\x0b"),
                       SPAN_LIT("Hi There"), out);
    expect_hex("case 1", out, sizeof(out),
               "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    digest_hmac_sha256(SPAN_LIT("Jefe"), SPAN_LIT("what do ya want for nothing?"), out);
    expect_hex("case 2", out, sizeof(out),
               "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(long_key, 0xaa, sizeof(long_key));
    digest_hmac_sha256((struct span){long_key, sizeof(long_key)},
                       SPAN_LIT("Test Using Larger Than Block-Size Key - Hash Key First"), out);
    expect_hex("case 6", out, sizeof(out),
               "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    digest_hmac_sha256(SPAN_NONE, SPAN_NONE, out);
    expect_hex("no key, no text", out, sizeof(out),
               "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

static void xxh64_of_known_texts(void **state)
{
    static const struct {
        const char *text;
        uint64_t seed, expected;
    } rows[] = {
        {"", 0, 0xef46db3751d8e999U},
        {"", 1, 0xd5afba1336a3be4bU},
        {"a", 0, 0xd24ec4f1a98c6e5bU},
        {"abc", 0, 0x44bc2cf5ad770999U},
        {"jitterbytes", 0, 0x7d9597de13fff77bU},
        {"localhost:5439", 0, 0x2ff67ecf02684d01U},
        {"example-cluster.abc123.us-east-1.redshift.amazonaws.com:5439", 0, 0x08ad83cc365c4901U},
        {"Nobody inspects the spammish repetition", 0, 0xfbcea83c8a378bf1U},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t hash = digest_xxh64(span_of(rows[i].text), rows[i].seed);
        if (hash != rows[i].expected) {
            fail_msg("'%s': %016llx", rows[i].text, (unsigned long long)hash);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_and_md5_of_known_texts),
        cmocka_unit_test(a_running_digest_takes_its_bytes_in_pieces),
        cmocka_unit_test(hmac_of_known_texts),
        cmocka_unit_test(xxh64_of_known_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
