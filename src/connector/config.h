#ifndef CONNECTOR_CONFIG_H
#define CONNECTOR_CONFIG_H

/*
 * The endpoint and resource configurations as a person wrote them: strict, all problems at once,
 * each naming its property. Secrets leave the parsed text as struct secret and nothing else keeps
 * them.
 */

#include "base/arena.h"
#include "base/error.h"
#include "base/secret.h"
#include "connector/trigger.h"
#include "redshift/type.h"
#include "s3/credential.h"
#include "txn/schedule.h"

struct config_flags { /* advanced.feature_flags */
    struct rs_type_flags types;
    bool s3_use_dualstack_endpoints;
    bool retain_existing_data_on_backfill;
    bool truncate_after_backfill; /* default true: see txn_delete_before */
    bool allow_existing_tables_for_new_bindings;
    bool always_drop_tables_on_backfill;
};

enum config_tls {
    CONFIG_TLS_NOT_SET, /* required; in a tunnel preferred */
    CONFIG_TLS_REQUIRE,
    CONFIG_TLS_VERIFY_CA,
    CONFIG_TLS_VERIFY_FULL
};

/* More than a COPY of the largest cluster reads side by side is of no use. */
#define CONFIG_MAX_PARALLEL_FILES 1000

struct config {
    const char *address;     /* as configured */
    const char *host, *port; /* split; port "5432" when the address has none (as the original) */
    const char *user, *database, *schema; /* "" when not set */
    struct secret *password;
    const char *bucket, *region,
        *bucket_path; /* path without its one leading slash, cleaned; "" for none */
    enum s3_key_source key_source;
    const char *aws_access_key_id; /* "" unless key_source is S3_KEYS_CONFIG; then: */
    struct secret *aws_secret_access_key, *aws_session_token; /* token: NULL for none */
    const char *aws_role_arn, *aws_external_id;               /* assumed with those keys; "" none */
    const char *copy_iam_role; /* of the cluster, for COPY; "": the keys */
    const char *kms_key_id;    /* encrypts what is staged; "": not asked for */
    bool hard_delete, no_flow_document;
    bool has_port;            /* the address had one */
    const char *ssh_endpoint; /* "": no tunnel; then: */
    struct secret *ssh_private_key;
    const char *ssh_host_key;    /* fingerprint, "": any */
    const char *metrics_address; /* where to serve metrics; "": not asked for */
    enum config_tls tls_mode;
    const char *tls_root_certificate;       /* PEM, "": the system's */
    bool staging_zstd;                      /* files are compressed so; else gzip */
    unsigned parallel_files;                /* per binding; 0: as the cluster's slices suggest */
    const char *s3_endpoint;                /* "": the environment's, or AWS */
    bool s3_path_style;                     /* host/bucket where bucket.host would do */
    struct schedule_config schedule_config; /* as written, "" where not set */
    struct schedule *schedule;              /* NULL: no delay is asked for */
    bool has_trigger;                       /* complete; then: */
    struct trigger_config trigger;
    struct secret *trigger_key; /* the one that trigger has lent */
    struct config_flags flags;
};

/* environment: only to know whether keys for S3 can be had from there; NULL: from nowhere. */
struct error *config_read(struct arena *arena,
                          struct span json,
                          const struct s3_environment *environment,
                          struct config **ret) MUST_CHECK;
void config_done(struct config *config); /* wipes the secrets; NULL is fine */

struct resource {
    const char *table, *schema; /* schema: effective, "" for none */
    bool delta_updates;
    struct span path[2];
    unsigned path_count;
};

struct error *resource_read(struct arena *arena,
                            struct span json,
                            const struct config *config,
                            struct resource *ret) MUST_CHECK;

/* ---- spec.c: the answer to Spec */
struct span spec_config_schema(void);
struct span spec_resource_schema(void);
const char *spec_documentation_url(void);

#endif
