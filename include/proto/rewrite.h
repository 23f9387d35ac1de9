#ifndef PROTO_REWRITE_H
#define PROTO_REWRITE_H

/*
 * A request's frame with some of its values replaced, everything else byte for byte as it came.
 * Pure. A frame is one message without its length prefix, or one JSON value without white space
 * around it, as the decoder's observer sees it (proto/codec.h).
 */

#include "base/buf.h"
#include "base/error.h"
#include "proto/codec.h"

/* The values that can be replaced, wherever they stand in a request. */
enum proto_place {
    PROTO_PLACE_CONFIG,      /* JSON: the endpoint configuration of Spec, Validate, Apply, Open */
    PROTO_PLACE_LAST_CONFIG, /* JSON: the same as it is stored: lastMaterialization, sealedConfig */
    PROTO_PLACE_TRIGGERS,    /* JSON: webhooks of the runtime, with their headers */
    PROTO_PLACE_STATE,       /* JSON: the connector state of Apply and Open */
    PROTO_PLACE_PATCHES,     /* JSON: the state patches of Acknowledge, Flush and StartCommit */
    PROTO_PLACE_PATH_HEAD,   /* text: the first element of a binding's resource path */
    PROTO_PLACE_PATH         /* text: another element of it */
};

/* Called for each such value in the order of the frame. value is lent for the call. To replace it,
 * sets *ret_changed and appends the new value to out; out may be anything when it is not set. */
typedef struct error *proto_edit_fn(
    void *ctx, enum proto_place place, struct span value, struct buf *out, bool *ret_changed);

/* Appends the edited frame to out. A frame that cannot be walked is an ERROR_PROTOCOL or
 * ERROR_INPUT, and out holds something useless; so it is when out is full. */
struct error *proto_rewrite(enum proto_codec codec,
                            struct span frame,
                            proto_edit_fn *edit,
                            void *ctx,
                            struct buf *out) MUST_CHECK;

/* proto_rewrite that replaces every secret of the endpoint configurations by
 * PROTO_REDACTED. A secret is the value, of whatever kind, of a member at any depth whose name
 * speaks of a password, secret, private key, API key, token, credential or passphrase (however it
 * is written: api_key, apiKey, API-KEY; also with a suffix of the encrypted form, _sops), and any
 * text that is a URL with a password in it. Webhooks are a secret as a whole. */
#define PROTO_REDACTED "\"(redacted)\""
struct error *proto_redact(enum proto_codec codec, struct span frame, struct buf *out) MUST_CHECK;

/* The number of the one request or response that a frame holds, without reading its inside: enum
 * proto_request_kind for requests; for responses see proto_response_name. 0: it holds none. */
unsigned proto_frame_kind(enum proto_codec codec, bool is_response, struct span frame);
/* 1 "Spec", 2 "Validated", 3 "Applied", 4 "Opened", 5 "Loaded", 6 "Flushed", 7 "StartedCommit",
 * 8 "Acknowledged". */
const char *proto_response_name(unsigned number);

/* The state update of a response, within frame; ptr NULL when it has none. */
struct error *proto_response_state(enum proto_codec codec,
                                   struct span frame,
                                   struct span *ret_patch_json) MUST_CHECK;

#endif
