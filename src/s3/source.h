#ifndef S3_SOURCE_H
#define S3_SOURCE_H

/*
 * What there is to know about a source of keys without asking it: pure. Which one, where it is,
 * what is said to it, and what its answers mean.
 */

#include "base/buf.h"
#include "s3/credential.h"

#include <stdint.h>

#define S3_KEYS_NEVER_EXPIRE INT64_MAX
#define S3_MAX_KEY_ID 256
#define S3_MAX_IDENTITY_TOKEN ((size_t)32 * 1024) /* STS takes 20,000 characters */

struct s3_source {
    enum s3_key_source kind; /* not S3_KEYS_ANY */
    const char *name;        /* for people; no secret in it */

    const char *access_key_id; /* CONFIG, ENVIRONMENT */
    struct secret *secret_access_key, *session_token;

    const char *url;        /* CONTAINER: whole; INSTANCE: "http://169.254.169.254" */
    const char *token_file; /* CONTAINER, WEB_IDENTITY: to be read before each request; "" none */
    struct secret *authorization; /* CONTAINER without a file, or NULL */

    const char *web_role_arn, *web_session_name; /* WEB_IDENTITY */

    const char *role_arn, *external_id; /* on top; "" none */
    const char *region;
    const char *sts_url, *sts_host; /* "https://sts.us-east-1.amazonaws.com/" and its host[:port] */
};

/* Keys as a service gave them. Owned: s3_found_done. */
struct s3_found_keys {
    char access_key_id[S3_MAX_KEY_ID + 1];
    struct secret *secret_access_key, *session_token; /* token: NULL for none */
    int64_t expires_unix;                             /* or S3_KEYS_NEVER_EXPIRE */
};
void s3_found_done(struct s3_found_keys *keys);

/* Can these stand in a header and in COPY's text? */
bool s3_is_key_text(struct span text, size_t max_bytes);

/* The JSON of the container's endpoint and of the metadata service. What is not such a document was
 * cut or garbled on its way (RETRY); a document that says no is CONFIG. Quotes nothing of it. */
struct error *s3_found_read_json(struct span body, struct s3_found_keys *ret) MUST_CHECK;
/* STS' XML; response: "AssumeRoleResponse". */
struct error *
s3_found_read_xml(struct span body, const char *response, struct s3_found_keys *ret) MUST_CHECK;

/* The name of the role in the metadata service's list: its first line. */
struct error *s3_read_role_name(struct span body, char *out, size_t size) MUST_CHECK;
/* One line of a token: the white space around it goes, none may be inside. NULL when it is none. */
struct secret *s3_read_token(struct span text, size_t max_bytes);

/* Bodies of STS requests. */
void s3_add_assume_role(struct buf *out, const struct s3_source *source);
void s3_add_web_identity(struct buf *out, const struct s3_source *source, struct span token);

/* What a status other than 200 means. For STS the body tells more, of which nothing is passed on
 * that has this token in it. */
struct error *s3_judge_key_status(unsigned status, const char *what) MUST_CHECK;
struct error *s3_judge_sts(unsigned status, struct span body, struct span token) MUST_CHECK;

#endif
