#ifndef S3_HOST_H
#define S3_HOST_H

/* What addresses of S3 and of STS have in common: pure. */

#include "base/arena.h"
#include "base/error.h"

/* "https://host:port/" comes in; host[:port] goes out as an HTTP library sends it, without the
 * scheme's own port. Refuses, as s3_endpoint_make does, what is none, and plain http to other
 * machines. */
struct error *s3_endpoint_host(struct arena *arena,
                               const char *endpoint,
                               bool *ret_is_plain,
                               const char **ret_host) MUST_CHECK;

#endif
