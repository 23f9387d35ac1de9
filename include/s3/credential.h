#ifndef S3_CREDENTIAL_H
#define S3_CREDENTIAL_H

/*
 * The keys that requests are signed with and that COPY is given: where they come from, and how long
 * they live. Some come from the configuration or the environment and stay. The others are
 * temporary: they are asked for when first needed and again before they expire, by one operation at
 * a time, and whoever needs keys meanwhile waits for it. While the old keys live a refusal is only
 * told (s3_keys_tell_fn); afterwards it is the error of whoever waits.
 *
 *      config         awsAccessKeyId and awsSecretAccessKey, perhaps with a session token
 *      environment    AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN
 *      web identity   AWS_WEB_IDENTITY_TOKEN_FILE, AWS_ROLE_ARN -> STS AssumeRoleWithWebIdentity
 *      container      AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI
 *      instance       EC2's metadata service, version 2 of its protocol only
 *      any of these -> a role, STS AssumeRole
 *
 * Facts: AWS SDKs and Tools Reference Guide ("Standardized credential providers", "Container
 * credential provider", "IMDS credential provider", "Assume role credential provider"), EC2 User
 * Guide ("Instance metadata"), AWS STS API Reference.
 */

#include "base/arena.h"
#include "base/error.h"
#include "base/secret.h"
#include "runtime/op.h"

struct s3;

/* The value of a variable, NULL when it is not set; valid until the next call. get NULL: none is.
 */
struct s3_environment {
    const char *(*get)(void *ctx, const char *name);
    void *ctx;
};

enum s3_key_source {
    S3_KEYS_CONFIG,
    S3_KEYS_ANY, /* the first of those below that the environment speaks of */
    S3_KEYS_ENVIRONMENT,
    S3_KEYS_WEB_IDENTITY,
    S3_KEYS_CONTAINER,
    S3_KEYS_INSTANCE
};

/* "environment", as the configuration says it. false: it is none. */
bool s3_key_source_from_name(const char *name, enum s3_key_source *ret);

/* Does S3_KEYS_ANY find a source? That this machine has a metadata service cannot be seen from
 * here: it counts when AWS_EC2_METADATA_SERVICE_ENDPOINT is set. */
bool s3_environment_has_keys(const struct s3_environment *environment);

struct s3_credential_options {
    enum s3_key_source source;
    const char *access_key_id; /* these three: S3_KEYS_CONFIG */
    const struct secret *secret_access_key;
    const struct secret *session_token; /* or NULL */
    struct s3_environment environment;
    const char *role_arn;    /* NULL or "": none is assumed */
    const char *external_id; /* of that role; NULL or "": none */
    const char *region;      /* whose STS is asked */
};

/* Where the keys will come from, read from options and environment once; in the arena, but for what
 * is secret. Pure. ERROR_CONFIG names the variable or property that is wrong. */
struct s3_source;
struct error *s3_source_make(struct arena *arena,
                             const struct s3_credential_options *options,
                             struct s3_source **ret) MUST_CHECK;
void s3_source_done(struct s3_source *source); /* wipes its secrets; NULL is fine */

/* News about temporary keys: they were renewed until expires_unix; or (err, lent) they could not be
 * renewed, and those that there are live until expires_unix. */
typedef void
s3_keys_tell_fn(void *ctx, const char *source, int64_t expires_unix, const struct error *err);

/* Keys as they are now. Lent until the next turn of the loop. */
struct s3_keys {
    const char *access_key_id;
    const struct secret *secret_access_key, *session_token; /* token: NULL when there is none */
};

/* Stands in the struct of the operation that needs keys; zero at the start. */
struct s3_keys_wait {
    struct list_node node; /* among those that wait */
    struct op *parent;
    struct s3 *s3;
    bool is_waiting, gives_up, came;
    struct error *err;
};

/* Wants keys that live for min_life_s seconds more. parent is marked when there is an answer, which
 * may be at once. Keys that live shorter are an answer, too, when no others can be had now. */
void s3_keys_expect(struct s3 *s3,
                    struct s3_keys_wait *wait,
                    struct op *parent,
                    int64_t min_life_s);
/* True once, when the answer is there: without an error s3_keys gives them. */
bool s3_keys_take(struct s3_keys_wait *wait, struct error **ret_err);
/* The answer becomes ERROR_CANCELLED, now or, when nobody else waits, as soon as what was asked is
 * called off. It still has to be taken. */
void s3_keys_cancel(struct s3_keys_wait *wait);

/* CHECK: there are some. *ret_number tells them from others that come later. */
struct s3_keys s3_keys(const struct s3 *s3, unsigned *ret_number);
/* A server did not accept the keys of this number any more. True when others can be had: the next
 * s3_keys_expect asks for them. */
bool s3_keys_reject(struct s3 *s3, unsigned number);

#endif
