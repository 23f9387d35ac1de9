/*
 * tunnel/key: what kind of private key this is, and whether it can be used. In: what a person put
 * into the configuration. Out: a cleaned copy and the kind, or advice. Nothing of the key leaves
 * this file but through struct secret, and what it was decoded into is wiped. Pure.
 *
 * Formats: PEM (RFC 7468; "BEGIN RSA PRIVATE KEY", "BEGIN EC PRIVATE KEY"; PKCS #8 as "BEGIN
 * PRIVATE KEY", RFC 5958), and OpenSSH's own ("BEGIN OPENSSH PRIVATE KEY", PROTOCOL.key of
 * OpenSSH):
 *
 *      "openssh-key-v1\0"  string cipher  string kdf  string kdf options  u32 count
 *      string public key, which begins with its type as a string           (a string: u32, bytes)
 */

#include "key.h"

#include "base/text.h"

#include <stdint.h>

#define KEY_MAX_BYTES ((size_t)64 * 1024)

static struct error *refuse(const char *what, const char *hint) MUST_CHECK;
static struct error *refuse(const char *what, const char *hint)
{
    struct error *err = error_new(ERROR_INPUT, ERROR_CONFIG, "the SSH private key %s", what);

    error_set_hint(err, "%s", hint);
    return err;
}

static struct error *refuse_passphrase(void)
{
    return refuse("is protected by a passphrase",
                  "Store it without one: \"ssh-keygen -p -N '' -f KEYFILE\" takes it off; or make "
                  "a key for this purpose: \"ssh-keygen -t ed25519 -N '' -f KEYFILE\".");
}

static struct error *refuse_garbage(const char *what)
{
    return refuse(what, "Give the whole text of the file that ssh-keygen made (not the one with "
                        "the ending .pub), from the BEGIN line to the END line.");
}

/* ---------------------------------------------------------------- the text */

static bool has(struct span text, const char *words)
{
    size_t len = strlen(words);

    for (size_t i = 0; i + len <= text.len; i++) {
        if (memcmp(text.ptr + i, words, len) == 0) {
            return true;
        }
    }
    return false;
}

/* Without the white space that pasting adds to the ends of lines, ended by one line feed. */
static size_t clean(char *out, struct span text)
{
    size_t len = 0, kept = 0; /* kept: up to the last byte that is no white space */
    bool in_line = false;

    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '\r') {
            continue;
        }
        if (c == '\n') {
            len = kept;
            if (len > 0) {
                out[len++] = '\n';
                kept = len;
            }
            in_line = false;
        } else if (c == ' ' || c == '\t') {
            if (in_line) {
                out[len++] = c;
            }
        } else {
            out[len++] = c;
            kept = len;
            in_line = true;
        }
    }
    while (kept > 0 && out[kept - 1] == '\n') {
        kept--;
    }
    out[kept++] = '\n';
    return kept;
}

/* The base64 text between the BEGIN and the END line. */
static bool find_body(struct span text, struct span *ret)
{
    const char *end = text.ptr + text.len;
    const char *begin = memchr(text.ptr, '\n', text.len);

    if (!begin) {
        return false;
    }
    for (const char *stop = ++begin; stop < end; stop++) {
        if (*stop == '-') {
            *ret = (struct span){begin, (size_t)(stop - begin)};
            return stop - begin > 0 && stop[-1] == '\n';
        }
    }
    return false;
}

/* ---------------------------------------------------------------- the bytes inside */

static bool take_string(struct span *bytes, struct span *ret)
{
    const unsigned char *p = (const unsigned char *)bytes->ptr;

    if (bytes->len < 4) {
        return false;
    }
    size_t len = ((size_t)p[0] << 24) | ((size_t)p[1] << 16) | ((size_t)p[2] << 8) | (size_t)p[3];
    if (len > bytes->len - 4) {
        return false;
    }
    *ret = (struct span){bytes->ptr + 4, len};
    bytes->ptr += 4 + len;
    bytes->len -= 4 + len;
    return true;
}

static enum key_kind kind_of_name(struct span name)
{
    if (span_is(name, "ssh-rsa")) {
        return KEY_RSA;
    }
    if (span_is(name, "ssh-ed25519")) {
        return KEY_ED25519;
    }
    return span_starts_with(name, SPAN_LIT("ecdsa-sha2-")) ? KEY_ECDSA : KEY_OTHER;
}

static struct error *look_into_openssh(struct span bytes, enum key_kind *ret_kind)
{
    static const char magic[] = "openssh-key-v1"; /* its NUL belongs to it */
    struct span cipher, kdf, kdf_options, public_key, name;

    if (!span_starts_with(bytes, (struct span){magic, sizeof(magic)})) {
        return refuse_garbage("is damaged");
    }
    bytes.ptr += sizeof(magic);
    bytes.len -= sizeof(magic);
    if (!take_string(&bytes, &cipher) || !take_string(&bytes, &kdf) ||
        !take_string(&bytes, &kdf_options) || bytes.len < 4) {
        return refuse_garbage("is damaged");
    }
    bytes.ptr += 4; /* how many keys: one */
    bytes.len -= 4;
    if (!span_is(cipher, "none")) {
        return refuse_passphrase();
    }
    if (!take_string(&bytes, &public_key) || !take_string(&public_key, &name) || bytes.len < 4) {
        return refuse_garbage("is damaged");
    }
    if (span_starts_with(name, SPAN_LIT("sk-"))) {
        return refuse("belongs to a security token, which is not at hand here",
                      "Make a key without one: \"ssh-keygen -t ed25519 -N '' -f KEYFILE\".");
    }
    *ret_kind = kind_of_name(name);
    return NULL;
}

/* The object identifier of the algorithm stands near the beginning; the bytes of a key that follow
 * are not looked at. */
static enum key_kind kind_of_pkcs8(struct span bytes)
{
    static const struct {
        const char *oid;
        size_t len;
        enum key_kind kind;
    } rows[] = {
        {"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01", 9, KEY_RSA}, /* 1.2.840.113549.1.1.1 */
        {"\x2a\x86\x48\xce\x3d\x02\x01", 7, KEY_ECDSA},       /* 1.2.840.10045.2.1 */
        {"\x2b\x65\x70", 3, KEY_ED25519},                     /* 1.3.101.112 */
    };
    size_t near = bytes.len < 24 ? bytes.len : 24;

    for (size_t i = 0; i < near; i++) {
        for (size_t row = 0; row < ARRAY_LEN(rows); row++) {
            if (i + rows[row].len <= near &&
                memcmp(bytes.ptr + i, rows[row].oid, rows[row].len) == 0) {
                return rows[row].kind;
            }
        }
    }
    return KEY_OTHER;
}

static struct error *look_into(struct span text, bool is_openssh, enum key_kind *ret_kind)
{
    struct span body;
    struct error *err = NULL;

    if (!find_body(text, &body)) {
        return refuse_garbage("has lost its line breaks or its END line");
    }
    char *bytes = mem_alloc(body.len / 4 * 3 + 3);
    ptrdiff_t len = text_base64_decode(bytes, body);
    if (len <= 0) {
        err = refuse_garbage("is damaged");
    } else if (is_openssh) {
        err = look_into_openssh((struct span){bytes, (size_t)len}, ret_kind);
    } else {
        *ret_kind = kind_of_pkcs8((struct span){bytes, (size_t)len});
    }
    secret_wipe(bytes, body.len / 4 * 3 + 3);
    mem_free(bytes);
    return err;
}

/* ---------------------------------------------------------------- the door */

static struct error *look(struct span text, enum key_kind *ret_kind)
{
    if (span_starts_with(text, SPAN_LIT("PuTTY-User-Key-File"))) {
        return refuse("is in PuTTY's format",
                      "Convert it: \"puttygen KEYFILE -O private-openssh -o NEWFILE\".");
    }
    if (span_starts_with(text, SPAN_LIT("ssh-")) || span_starts_with(text, SPAN_LIT("ecdsa-")) ||
        has(text, "BEGIN PUBLIC KEY") || has(text, "BEGIN SSH2 PUBLIC KEY")) {
        return refuse_garbage("is a public key");
    }
    if (has(text, "BEGIN ENCRYPTED PRIVATE KEY") || has(text, "Proc-Type: 4,ENCRYPTED")) {
        return refuse_passphrase();
    }
    if (!span_starts_with(text, SPAN_LIT("-----BEGIN ")) || !has(text, "PRIVATE KEY-----")) {
        return refuse_garbage("is no private key in PEM or OpenSSH format");
    }
    if (!has(text, "PRIVATE KEY-----\n")) {
        return refuse_garbage("has lost its line breaks or its END line");
    }
    if (span_starts_with(text, SPAN_LIT("-----BEGIN OPENSSH "))) {
        return look_into(text, true, ret_kind);
    }
    RETURN_IF_ERROR(look_into(text, false, ret_kind));
    if (span_starts_with(text, SPAN_LIT("-----BEGIN RSA "))) {
        *ret_kind = KEY_RSA;
    } else if (span_starts_with(text, SPAN_LIT("-----BEGIN EC "))) {
        *ret_kind = KEY_ECDSA;
    }
    return NULL;
}

struct error *key_read(const struct secret *text, struct secret **ret_key, enum key_kind *ret_kind)
{
    struct span raw = secret_view(text);

    if (raw.len == 0) {
        return refuse_garbage("is empty");
    }
    if (raw.len > KEY_MAX_BYTES) {
        return refuse_garbage("is too long to be one");
    }
    char *out = mem_alloc(raw.len + 1);
    size_t len = clean(out, raw);
    struct error *err = look((struct span){out, len}, ret_kind);
    if (!err) {
        *ret_key = secret_new((struct span){out, len});
    }
    secret_wipe(out, raw.len + 1);
    mem_free(out);
    return err;
}
