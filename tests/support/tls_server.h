#ifndef SUPPORT_TLS_SERVER_H
#define SUPPORT_TLS_SERVER_H

/* A server's side of TLS for peers of tests. */

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdio.h>

/* A context with a new key and a certificate of an hour for 127.0.0.1 and peer.test, signed by
 * itself; the certificate is also written to the file, unless that is NULL. is_old: nothing newer
 * than TLS 1.1. The caller frees it. Aborts when OpenSSL refuses. */
SSL_CTX *tls_server_new(FILE *certificate, bool is_old);

#endif
