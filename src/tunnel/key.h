#ifndef TUNNEL_KEY_H
#define TUNNEL_KEY_H

/* A look at the text of a private key, so that what is wrong with it can be said: libssh2 only
 * knows "unable to extract public key". Pure. Private to this room. */

#include "base/error.h"
#include "base/secret.h"

enum key_kind { KEY_RSA, KEY_ECDSA, KEY_ED25519, KEY_OTHER };

/* *ret_key: the same key as libssh2 wants it, with plain line ends and one at the end. ERROR_CONFIG
 * with advice, without a byte of the key: no private key at all, one behind a passphrase, a public
 * one, PuTTY's format, lost line breaks. */
struct error *
key_read(const struct secret *text, struct secret **ret_key, enum key_kind *ret_kind) MUST_CHECK;

#endif
