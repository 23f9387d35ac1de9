/* Private keys by their looks. The bodies are not keys: only what stands around one is real. */

#include "tunnel/key.h"

#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define SECRET_PART "c2VjcmV0IGJ5dGVz" /* must be in no message */
#define PEM(kind, body) "-----BEGIN " kind "-----\n" body "\n-----END " kind "-----\n"

static void add_string(struct buf *out, const char *text)
{
    size_t len = strlen(text);
    char size[4] = {0, 0, (char)(len >> 8), (char)len};

    buf_add(out, size, sizeof(size));
    buf_add_str(out, text);
}

/* The text of a key file as ssh-keygen lays it out, for a key type and a cipher. */
static char *make_openssh(const char *type, const char *cipher)
{
    struct buf bytes, key, text;

    buf_init(&bytes, 4096);
    buf_init(&key, 1024);
    buf_init(&text, 8192);
    buf_add(&bytes, "openssh-key-v1", sizeof("openssh-key-v1"));
    add_string(&bytes, cipher);
    add_string(&bytes, strcmp(cipher, "none") == 0 ? "none" : "bcrypt");
    add_string(&bytes, "");
    buf_add(&bytes, "\0\0\0\1", 4);
    add_string(&key, type);
    add_string(&key, "public");
    buf_add(&bytes, "\0\0\0", 3);
    buf_add_byte(&bytes, (char)key.len);
    buf_add_span(&bytes, buf_view(&key));
    add_string(&bytes, "secret bytes");
    buf_add_str(&text, "-----BEGIN OPENSSH PRIVATE KEY-----\n");
    text_add_base64(&text, buf_view(&bytes));
    buf_add_str(&text, "\n-----END OPENSSH PRIVATE KEY-----\n");
    buf_done(&bytes);
    buf_done(&key);
    return buf_take(&text, NULL);
}

static struct error *read_text(const char *text, struct secret **ret_key, enum key_kind *ret_kind)
{
    struct secret *raw = secret_new(span_of(text));
    struct error *err = key_read(raw, ret_key, ret_kind);

    secret_free(raw);
    return err;
}

/* ---------------------------------------------------------------- kinds */

static const struct kind_row {
    const char *sentence, *text; /* NULL: an OpenSSH file of this type */
    const char *type;
    enum key_kind kind;
} kind_rows[] = {
    {"OpenSSH ed25519", NULL, "ssh-ed25519", KEY_ED25519},
    {"OpenSSH RSA", NULL, "ssh-rsa", KEY_RSA},
    {"OpenSSH ecdsa, 256 bit", NULL, "ecdsa-sha2-nistp256", KEY_ECDSA},
    {"OpenSSH ecdsa, 521 bit", NULL, "ecdsa-sha2-nistp521", KEY_ECDSA},
    {"OpenSSH, a type that is not known", NULL, "ssh-future", KEY_OTHER},
    {"PEM RSA", PEM("RSA PRIVATE KEY", SECRET_PART), NULL, KEY_RSA},
    {"PEM EC", PEM("EC PRIVATE KEY", SECRET_PART), NULL, KEY_ECDSA},
    {"PKCS #8 RSA", PEM("PRIVATE KEY", "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC"), NULL, KEY_RSA},
    {"PKCS #8 EC", PEM("PRIVATE KEY", "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49"), NULL, KEY_ECDSA},
    {"PKCS #8 ed25519", PEM("PRIVATE KEY", "MC4CAQAwBQYDK2VwBCIEIA=="), NULL, KEY_ED25519},
    {"PKCS #8, nothing known in it", PEM("PRIVATE KEY", SECRET_PART), NULL, KEY_OTHER},
};

static void the_kind_of_a_key_is_seen(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(kind_rows); i++) {
        const struct kind_row *row = &kind_rows[i];
        char *made = row->text ? mem_strdup(row->text) : make_openssh(row->type, "none");
        struct secret *key = NULL;
        enum key_kind kind = KEY_OTHER;
        struct error *err = read_text(made, &key, &kind);

        if (err) {
            fail_msg("%s: %s", row->sentence, error_text(err));
        }
        if (kind != row->kind || strcmp(secret_text(key), made) != 0) {
            fail_msg("%s: kind %d", row->sentence, (int)kind);
        }
        secret_free(key);
        mem_free(made);
    }
}

/* ---------------------------------------------------------------- pasting */

static const struct paste_row {
    const char *sentence, *text, *clean;
} paste_rows[] = {
    {"no line feed at the end",
     "-----BEGIN EC PRIVATE KEY-----\n" SECRET_PART "\n-----END EC PRIVATE KEY-----",
     PEM("EC PRIVATE KEY", SECRET_PART)},
    {"lines that end as on Windows",
     "-----BEGIN EC PRIVATE KEY-----\r\n" SECRET_PART "\r\n-----END EC PRIVATE KEY-----\r\n",
     PEM("EC PRIVATE KEY", SECRET_PART)},
    {"empty lines around it",
     "\n  \n-----BEGIN EC PRIVATE KEY-----\n" SECRET_PART "\n-----END EC PRIVATE KEY-----\n\n\n",
     PEM("EC PRIVATE KEY", SECRET_PART)},
    {"indented lines with blanks at their ends",
     "  -----BEGIN EC PRIVATE KEY----- \n\t" SECRET_PART "  \n  -----END EC PRIVATE KEY-----\n",
     PEM("EC PRIVATE KEY", SECRET_PART)},
};

static void what_pasting_does_to_a_key_is_undone(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(paste_rows); i++) {
        const struct paste_row *row = &paste_rows[i];
        struct secret *key = NULL;
        enum key_kind kind = KEY_OTHER;
        struct error *err = read_text(row->text, &key, &kind);

        if (err) {
            fail_msg("%s: %s", row->sentence, error_text(err));
        }
        if (strcmp(secret_text(key), row->clean) != 0) {
            fail_msg("%s: is \"%s\"", row->sentence, secret_text(key));
        }
        secret_free(key);
    }
}

/* ---------------------------------------------------------------- refusals */

static const struct refuse_row {
    const char *sentence, *text; /* NULL: an OpenSSH file of this type and cipher */
    const char *type, *cipher;
    const char *words, *advice;
} refuse_rows[] = {
    {"OpenSSH with a passphrase", NULL, "ssh-ed25519", "aes256-ctr", "is protected by a passphrase",
     "ssh-keygen -p"},
    {"PKCS #8 with a passphrase", PEM("ENCRYPTED PRIVATE KEY", SECRET_PART), NULL, NULL,
     "is protected by a passphrase", "ssh-keygen -p"},
    {"PEM with a passphrase",
     "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: "
     "AES-128-CBC,00\n\n" SECRET_PART "\n-----END RSA PRIVATE KEY-----\n",
     NULL, NULL, "is protected by a passphrase", "ssh-keygen -p"},
    {"a key on a security token", NULL, "sk-ssh-ed25519@openssh.com", "none", "security token",
     "ssh-keygen"},
    {"nothing", "", NULL, NULL, "is empty", "BEGIN line"},
    {"blanks", " \n\t\n", NULL, NULL, "is no private key", "BEGIN line"},
    {"garbage", "hello " SECRET_PART, NULL, NULL, "is no private key", "BEGIN line"},
    {"a public key", "ssh-ed25519 " SECRET_PART " me@host\n", NULL, NULL, "is a public key",
     ".pub"},
    {"a public key in PEM", PEM("PUBLIC KEY", SECRET_PART), NULL, NULL, "is a public key", ".pub"},
    {"PuTTY's format", "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n", NULL, NULL,
     "PuTTY", "puttygen"},
    {"a certificate", PEM("CERTIFICATE", SECRET_PART), NULL, NULL, "is no private key",
     "BEGIN line"},
    {"line breaks lost",
     "-----BEGIN EC PRIVATE KEY----- " SECRET_PART " -----END EC PRIVATE KEY-----", NULL, NULL,
     "has lost its line breaks", "BEGIN line"},
    {"line breaks written as backslash and n",
     "-----BEGIN EC PRIVATE KEY-----\\n" SECRET_PART "\\n-----END EC PRIVATE KEY-----\\n", NULL,
     NULL, "has lost its line breaks", "BEGIN line"},
    {"no END line", "-----BEGIN EC PRIVATE KEY-----\n" SECRET_PART "\n", NULL, NULL,
     "has lost its line breaks or its END line", "BEGIN line"},
    {"no body", PEM("EC PRIVATE KEY", ""), NULL, NULL, "is damaged", "BEGIN line"},
    {"a body that is not base64", PEM("EC PRIVATE KEY", "!!! " SECRET_PART), NULL, NULL,
     "is damaged", "BEGIN line"},
    {"an OpenSSH key that is none inside", PEM("OPENSSH PRIVATE KEY", SECRET_PART), NULL, NULL,
     "is damaged", "BEGIN line"},
};

static void
check_refused(const char *sentence, const char *text, const char *words, const char *advice)
{
    struct secret *key = NULL;
    enum key_kind kind;
    struct error *err = read_text(text, &key, &kind);

    if (!err) {
        secret_free(key);
        fail_msg("%s: was taken", sentence);
    }
    if (!strstr(error_text(err), words) || !strstr(error_hint(err), advice) ||
        strstr(error_text(err), SECRET_PART) || error_class_of(err) != ERROR_CONFIG) {
        fail_msg("%s: %s / %s", sentence, error_text(err), error_hint(err));
    }
    error_free(err);
}

static void what_is_no_usable_key_is_refused_with_advice(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refuse_rows); i++) {
        const struct refuse_row *row = &refuse_rows[i];
        char *made = row->text ? mem_strdup(row->text) : make_openssh(row->type, row->cipher);

        check_refused(row->sentence, made, row->words, row->advice);
        mem_free(made);
    }
}

/* Cut after each byte: refused each time, and nothing is read beyond the end (sanitizers look). */
static void a_key_cut_off_anywhere_is_refused(void **state)
{
    char *whole = make_openssh("ssh-ed25519", "none");
    size_t len = strlen(whole) - strlen("-----END OPENSSH PRIVATE KEY-----\n");

    (void)state;
    for (size_t cut = 0; cut < len; cut++) {
        struct secret *raw = secret_new((struct span){whole, cut}), *key = NULL;
        enum key_kind kind;
        struct error *err = key_read(raw, &key, &kind);

        if (!err) {
            fail_msg("the first %zu bytes were taken", cut);
        }
        error_free(err);
        secret_free(raw);
    }
    mem_free(whole);
}

static void lengths_that_reach_beyond_the_end_are_refused(void **state)
{
    struct buf bytes, text;

    (void)state;
    buf_init(&bytes, 1024);
    buf_init(&text, 4096);
    buf_add(&bytes, "openssh-key-v1", sizeof("openssh-key-v1"));
    buf_add(&bytes, "\xff\xff\xff\xff", 4);
    buf_add_str(&bytes, "none");
    buf_add_str(&text, "-----BEGIN OPENSSH PRIVATE KEY-----\n");
    text_add_base64(&text, buf_view(&bytes));
    buf_add_str(&text, "\n-----END OPENSSH PRIVATE KEY-----\n");
    check_refused("a length of four gigabytes", text.data, "is damaged", "BEGIN line");
    buf_done(&bytes);
    buf_done(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_kind_of_a_key_is_seen),
        cmocka_unit_test(what_pasting_does_to_a_key_is_undone),
        cmocka_unit_test(what_is_no_usable_key_is_refused_with_advice),
        cmocka_unit_test(a_key_cut_off_anywhere_is_refused),
        cmocka_unit_test(lengths_that_reach_beyond_the_end_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
