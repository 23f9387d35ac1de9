#ifndef TUNNEL_ENDPOINT_H
#define TUNNEL_ENDPOINT_H

/* Where the SSH server is and how its key is written: pure. Private to this room. */

#include "base/digest.h"
#include "base/error.h"

#define ENDPOINT_TEXT_BYTES 256

struct endpoint {
    char user[ENDPOINT_TEXT_BYTES];
    char host[ENDPOINT_TEXT_BYTES]; /* without brackets */
    char port[6];
};

/* "ssh://user@host[:port]". ERROR_CONFIG says what is wrong with it. */
struct error *endpoint_read(const char *url, struct endpoint *ret) MUST_CHECK;
/* 1 to 65535, digits only. */
bool endpoint_is_port(const char *text);

#define FINGERPRINT_BYTES (sizeof("SHA256:") + 43)

/* As ssh-keygen -l prints it: base64 without padding. */
void fingerprint_write(char out[FINGERPRINT_BYTES], const unsigned char hash[DIGEST_SHA256_BYTES]);
/* Is it written as one? With or without padding. */
struct error *fingerprint_check(const char *text) MUST_CHECK;
bool fingerprint_is_same(const char *given, const char *seen);

#endif
