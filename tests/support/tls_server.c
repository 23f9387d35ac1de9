/* See tls_server.h. */

#include "tls_server.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <stdlib.h>

static void must(bool ok, const char *what)
{
    if (!ok) {
        (void)fprintf(stderr, "TLS for tests: %s\n", what);
        abort();
    }
}

static X509 *new_certificate(EVP_PKEY *key)
{
    X509 *certificate = X509_new();
    X509_EXTENSION *names =
        X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "IP:127.0.0.1,DNS:peer.test");

    must(key && certificate && names, "out of memory");
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_set_version(certificate, X509_VERSION_3);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                               (const unsigned char *)"peer", -1, -1, 0);
    X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
    X509_add_ext(certificate, names, -1);
    must(X509_sign(certificate, key, EVP_sha256()) > 0, "signing");
    X509_EXTENSION_free(names);
    return certificate;
}

/* Old versions need signatures that OpenSSL's default level of security refuses (ciphers(1)). */
static void allow_only_old(SSL_CTX *tls)
{
    SSL_CTX_set_security_level(tls, 0);
    must(SSL_CTX_set_min_proto_version(tls, TLS1_VERSION) == 1, "TLS 1.0");
    must(SSL_CTX_set_max_proto_version(tls, TLS1_1_VERSION) == 1, "TLS 1.1");
}

SSL_CTX *tls_server_new(FILE *certificate_file, bool is_old)
{
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = new_certificate(key);

    must(tls && SSL_CTX_use_certificate(tls, certificate) == 1, "certificate");
    must(SSL_CTX_use_PrivateKey(tls, key) == 1, "key");
    must(!certificate_file || PEM_write_X509(certificate_file, certificate) == 1, "writing");
    if (is_old) {
        allow_only_old(tls);
    }
    X509_free(certificate);
    EVP_PKEY_free(key);
    return tls;
}
