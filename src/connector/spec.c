/*
 * connector/spec: the answer to Spec, as it stands. The order of properties and of their keywords
 * is part of it: people see it in Flow's interface, and tools compare it. What these properties
 * mean is in config.c.
 */

#include "connector/config.h"

#define TIME_PATTERN "^(0?[0-9]|1[0-9]|2[0-3]):[0-5][0-9]$"

#define TEXT(name, title, description, rest)                                                       \
    "\"" name "\":{\"type\":\"string\",\"title\":\"" title "\",\"description\":\"" description     \
    "\"" rest "}"
#define CHOICE(name, choices, title, description, rest)                                            \
    "\"" name "\":{\"type\":\"string\",\"enum\":[" choices "],\"title\":\"" title                  \
    "\",\"description\":\"" description "\"" rest "}"
#define FLAG(name, title, description, rest)                                                       \
    "\"" name "\":{\"type\":\"boolean\",\"title\":\"" title "\",\"description\":\"" description    \
    "\",\"default\":false" rest "}"
#define OBJECT(name, properties, rest)                                                             \
    "\"" name "\":{\"properties\":{" properties                                                    \
    "},\"additionalProperties\":false,\"type\":\"object\"" rest "}"
#define SCHEMA_BEGIN(id)                                                                           \
    "{\"$schema\":\"https://json-schema.org/draft/2020-12/schema\",\"$id\":\"https://github.com/"  \
    "estuary/connectors/materialize-redshift/" id "\",\"properties\":{"
#define SCHEMA_END(required, title)                                                                \
    "},\"type\":\"object\",\"required\":[" required "],\"title\":\"" title "\"}"

#define ORDER(n) ",\"order\":" #n
#define SECRET ",\"secret\":true"
#define PLAIN ",\"nonsensitive\":true" /* Flow may show the value where configs are hidden */
#define DEFAULT(text) ",\"default\":\"" text "\""
#define PATTERN(text) ",\"pattern\":\"" text "\""

/* ---------------------------------------------------------------- the endpoint */

#define ENDPOINT                                                                                                                                                                                                                            \
    TEXT("address", "Address",                                                                                                                                                                                                              \
         "Host and port of the cluster or workgroup. Example: "                                                                                                                                                                             \
         "my-cluster.c9z8y7x6w5v4.us-east-1.redshift.amazonaws.com:5439",                                                                                                                                                                   \
         ORDER(0))                                                                                                                                                                                                                          \
    "," TEXT("user", "User", "Name of the database user to log in as.", ORDER(1)) "," TEXT(                                                                                                                                                 \
        "password", "Password", "Password of that user.",                                                                                                                                                                                   \
        ORDER(2)                                                                                                                                                                                                                            \
            SECRET) "," TEXT("database", "Database",                                                                                                                                                                                        \
                             "Database to connect to. Left empty, it is the default database of "                                                                                                                                           \
                             "the user.",                                                                                                                                                                                                   \
                             ORDER(                                                                                                                                                                                                         \
                                 3)) "," TEXT("schema", "Database Schema",                                                                                                                                                                  \
                                              "Schema of the metadata table, and of bound tables "                                                                                                                                          \
                                              "unless a binding names another.",                                                                                                                                                            \
                                              DEFAULT("public") ORDER(                                                                                                                                                                      \
                                                  4)) "," TEXT("bucket", "S3 Staging Bucket",                                                                                                                                               \
                                                               "Name of the S3 bucket in which "                                                                                                                                            \
                                                               "files are staged for COPY.",                                                                                                                                                \
                                                               ORDER(                                                                                                                                                                       \
                                                                   5)) "," TEXT("awsAccessKeyId",                                                                                                                                           \
                                                                                "Access Key ID",                                                                                                                                            \
                                                                                "AWS access key "                                                                                                                                           \
                                                                                "that may read, "                                                                                                                                           \
                                                                                "write and "                                                                                                                                                \
                                                                                "delete in the "                                                                                                                                            \
                                                                                "bucket.",                                                                                                                                                  \
                                                                                ORDER(                                                                                                                                                      \
                                                                                    6)) "," TEXT("awsSecretAccessKey",                                                                                                                      \
                                                                                                 "Secret Access Key",                                                                                                                       \
                                                                                                 "Secret of that access key.",                                                                                                              \
                                                                                                 ORDER(                                                                                                                                     \
                                                                                                     7)                                                                                                                                     \
                                                                                                     SECRET) "," TEXT("region",                                                                                                             \
                                                                                                                      "Region",                                                                                                             \
                                                                                                                      "AWS region of the bucket. COPY is fastest when the cluster is in the same one.",                                     \
                                                                                                                      ORDER(                                                                                                                \
                                                                                                                          8)) "," TEXT("bucketPath",                                                                                        \
                                                                                                                                       "Bucket Path",                                                                                       \
                                                                                                                                       "Prefix for the keys of staged files in the bucket.",                                                \
                                                                                                                                       ORDER(                                                                                               \
                                                                                                                                           9)) "," FLAG("hardDelete",                                                                       \
                                                                                                                                                        "Hard Delete",                                                                      \
                                                                                                                                                        "Delete the row when its source document was deleted. Otherwise the row stays and " \
                                                                                                                                                        "_meta/op tells of the deletion.",                                                  \
                                                                                                                                                        PLAIN ORDER(                                                                        \
                                                                                                                                                            10)) ","

#define SCHEDULE                                                                                                                                                                      \
    OBJECT(                                                                                                                                                                           \
        "syncSchedule",                                                                                                                                                               \
        CHOICE(                                                                                                                                                                       \
            "syncFrequency",                                                                                                                                                          \
            "\"0s\",\"30s\",\"1m\",\"2m30s\",\"5m\",\"15m\",\"20m\",\"30m\",\"1h\",\"2h\",\"4h\"",                                                                                    \
            "Sync Frequency",                                                                                                                                                         \
            "How often to commit once the materialization has caught up. 30 minutes when "                                                                                            \
            "not set.",                                                                                                                                                               \
            PLAIN ORDER(                                                                                                                                                              \
                0)) "," TEXT("timezone", "Timezone",                                                                                                                                  \
                             "Time zone of the times below, by IANA name or as an offset like "                                                                                       \
                             "+05:30.",                                                                                                                                               \
                             PLAIN ORDER(                                                                                                                                             \
                                 1)) "," TEXT("fastSyncStartTime", "Fast Sync Start Time",                                                                                            \
                                              "Time of day from which the sync frequency "                                                                                            \
                                              "applies. Outside of the window commits "                                                                                               \
                                              "are four hours apart.",                                                                                                                \
                                              PLAIN ORDER(2) PATTERN(                                                                                                                 \
                                                  TIME_PATTERN)) "," TEXT("fastSyncStopTime",                                                                                         \
                                                                          "Fast Sync Stop Time",                                                                                      \
                                                                          "Time of day from "                                                                                         \
                                                                          "which it no longer "                                                                                       \
                                                                          "applies.",                                                                                                 \
                                                                          PLAIN ORDER(3) PATTERN(                                                                                     \
                                                                              TIME_PATTERN)) "," TEXT("fastSyncEnabledDays",                                                          \
                                                                                                      "Fast Sync Enabled Days",                                                       \
                                                                                                      "Days on which the window is in force, for example M-F or M,W,F or Su-T,Th-S. " \
                                                                                                      "Every day when not set.",                                                      \
                                                                                                      PLAIN ORDER(                                                                    \
                                                                                                          4)),                                                                        \
        ",\"title\":\"Sync Schedule\",\"description\":\"When transactions are committed.\"")                                                                                          \
    ","

#define TRIGGER                                                                                                                                \
    OBJECT(                                                                                                                                    \
        "dbt_job_trigger",                                                                                                                     \
        TEXT("job_id", "Job ID", "The dbt job to run.", "") "," TEXT(                                                                          \
            "account_id", "Account ID", "The dbt account that the job belongs to.",                                                            \
            "") "," TEXT("access_url", "Access URL",                                                                                           \
                         "Access URL of the dbt account. Where to find it: "                                                                   \
                         "https://go.estuary.dev/dbt-cloud-trigger",                                                                           \
                         PATTERN(                                                                                                              \
                             "^https://.+$")) "," TEXT("api_key", "API Key",                                                                   \
                                                       "dbt API key that may start the job.",                                                  \
                                                       SECRET) "," TEXT("cause", "Cause Message",                                              \
                                                                        "What dbt shows as the "                                               \
                                                                        "reason of the run.",                                                  \
                                                                        "") "," CHOICE("mode",                                                 \
                                                                                       "\"skip\","                                             \
                                                                                       "\"replace"                                             \
                                                                                       "\","                                                   \
                                                                                       "\"ignore"                                              \
                                                                                       "\"",                                                   \
                                                                                       "Job "                                                  \
                                                                                       "Trigger "                                              \
                                                                                       "Mode",                                                 \
                                                                                       "What to "                                              \
                                                                                       "do when "                                              \
                                                                                       "the job "                                              \
                                                                                       "is "                                                   \
                                                                                       "running "                                              \
                                                                                       "already: "                                             \
                                                                                       "skip the "                                             \
                                                                                       "trigger, "                                             \
                                                                                       "replace "                                              \
                                                                                       "the "                                                  \
                                                                                       "run, or "                                              \
                                                                                       "ignore "                                               \
                                                                                       "it and "                                               \
                                                                                       "start "                                                \
                                                                                       "another.",                                             \
                                                                                       DEFAULT(                                                \
                                                                                           "skip")                                             \
                                                                                           PLAIN) "," TEXT("interval",                         \
                                                                                                           "Minimum Run Interval",             \
                                                                                                           "Least time between two triggers.", \
                                                                                                           DEFAULT(                            \
                                                                                                               "30m")                          \
                                                                                                               PLAIN),                         \
        ",\"required\":[\"job_id\",\"account_id\",\"api_key\"],\"title\":\"dbt Cloud Job "                                                     \
        "Trigger\",\"description\":\"Starts a dbt job after new data arrived.\"")                                                              \
    ","

#define TUNNEL                                                                                     \
    OBJECT("networkTunnel",                                                                        \
           OBJECT("sshForwarding",                                                                 \
                  TEXT("sshEndpoint", "SSH Endpoint",                                              \
                       "The SSH server, as ssh://user@hostname[:port]",                            \
                       PATTERN("^ssh://.+@.+$")) "," TEXT("privateKey", "SSH Private Key",         \
                                                          "Private key to log in to it with.",     \
                                                          ",\"multiline\":true" SECRET),           \
                  ",\"required\":[\"sshEndpoint\",\"privateKey\"],\"title\":\"SSH Forwarding\""),  \
           ",\"title\":\"Network Tunnel\",\"description\":\"Reach the cluster through an SSH "     \
           "server.\"")                                                                            \
    ","

#define TLS                                                                                        \
    CHOICE(                                                                                        \
        "tls_mode", "\"require\",\"verify-ca\",\"verify-full\"", "TLS Mode",                       \
        "How the connection to the cluster is secured: encrypted, with the certificate checked, "  \
        "or with its host name checked, too. By default encryption is required, and preferred "    \
        "inside an SSH tunnel.",                                                                   \
        PLAIN)                                                                                     \
    "," TEXT("tls_root_certificate", "TLS Root Certificate",                                       \
             "Certificates in PEM format that the cluster's is checked against, in place of the "  \
             "system's.",                                                                          \
             ",\"multiline\":true" PLAIN)

#define HOST_KEY                                                                                   \
    TEXT("ssh_host_key", "SSH Host Key Fingerprint",                                               \
         "Fingerprint that the SSH server's key must have, as ssh-keygen -l prints it: "           \
         "SHA256:... Any key is taken when not set.",                                              \
         PLAIN)

#define METRICS                                                                                    \
    TEXT("metrics_address", "Metrics Address",                                                     \
         "Port, or address and port, where Prometheus may read metrics. A port alone listens on "  \
         "the loopback interface. None are served when not set.",                                  \
         PLAIN)

#define NUMBER(name, least, most, title, description, rest)                                        \
    "\"" name "\":{\"type\":\"integer\",\"title\":\"" title "\",\"description\":\"" description    \
    "\",\"maximum\":" #most ",\"minimum\":" #least rest "}"

#define STAGING                                                                                    \
    CHOICE("staging_compression", "\"gzip\",\"zstd\"", "Staging Compression",                      \
           "How staged files are compressed.", DEFAULT("gzip") PLAIN)                              \
    "," NUMBER(                                                                                    \
        "parallel_files", 1, 1000, "Parallel Files",                                               \
        "Number of files that the rows of a binding are spread over, which COPY reads side "       \
        "by side. As the cluster suggests when not set.",                                          \
        PLAIN) "," TEXT("s3_endpoint", "S3 Endpoint",                                              \
                        "Another server for the bucket, as https://host:port. http is "            \
                        "for a loopback address only.",                                            \
                        PLAIN) "," FLAG("s3_path_style", "S3 Path Style",                          \
                                        "Name the bucket in the path of requests and not "         \
                                        "in the host. Another server and a bucket with a "         \
                                        "dot in its name always have it so.",                      \
                                        PLAIN)

#define KEYS                                                                                       \
    CHOICE(                                                                                        \
        "aws_credentials", "\"environment\",\"web_identity\",\"container\",\"instance_metadata\"", \
        "AWS Credentials",                                                                         \
        "Where keys for the bucket come from when Access Key ID and Secret Access Key are left "   \
        "empty. When not set, the first of these that the connector's environment speaks of.",     \
        PLAIN)                                                                                     \
    "," TEXT(                                                                                      \
        "aws_session_token", "AWS Session Token",                                                  \
        "Session token of an access key that is a temporary one.",                                 \
        SECRET) "," TEXT("aws_role_arn", "AWS Role",                                               \
                         "ARN of an IAM role that is assumed with the keys, for everything that "  \
                         "is done in "                                                             \
                         "the bucket.",                                                            \
                         PLAIN) "," TEXT("aws_external_id", "AWS External ID",                     \
                                         "External id that the trust policy of that role asks "    \
                                         "for.",                                                   \
                                         "") "," TEXT("copy_iam_role", "IAM Role for COPY",        \
                                                      "IAM role of the cluster with which COPY "   \
                                                      "reads the bucket, so that no keys stand "   \
                                                      "in "                                        \
                                                      "its text: default, or an ARN, or several "  \
                                                      "divided by commas that assume one "         \
                                                      "another.",                                  \
                                                      PLAIN) "," TEXT("kms_key_id", "KMS Key",     \
                                                                      "Id, ARN or alias of the "   \
                                                                      "KMS key that staged files " \
                                                                      "are encrypted with. When "  \
                                                                      "not set, "                  \
                                                                      "the bucket's default "      \
                                                                      "encryption applies.",       \
                                                                      PLAIN)

#define ADVANCED                                                                                   \
    OBJECT("advanced",                                                                             \
           FLAG("no_flow_document", "Exclude Flow Document",                                       \
                "Standard updates do without a column for the root document.",                     \
                PLAIN) "," TEXT("feature_flags", "Feature Flags",                                  \
                                "Comma-separated switches of inner behaviour. Change them only "   \
                                "on advice.",                                                      \
                                PLAIN) "," TLS "," HOST_KEY "," METRICS "," STAGING "," KEYS,      \
           ",\"title\":\"Advanced Options\",\"description\":\"Options that are rarely needed.\","  \
           "\"advanced\":true")

/* A compiler need not take literals of more than 4,095 bytes, and the schema is longer. It is one
 * run of bytes all the same: members of type char have no padding between them, and an initialiser
 * of exactly the member's size leaves its NUL out. */
#define PART_1 SCHEMA_BEGIN("config") ENDPOINT
#define PART_2 SCHEDULE TRIGGER TUNNEL
#define PART_3 ADVANCED SCHEMA_END(REQUIRED, "SQL Connection")
#define REQUIRED                                                                                   \
    "\"address\",\"user\",\"password\",\"bucket\",\"awsAccessKeyId\",\"awsSecretAccessKey\","      \
    "\"region\""

static const struct {
    char part_1[sizeof(PART_1) - 1];
    char part_2[sizeof(PART_2) - 1];
    char part_3[sizeof(PART_3) - 1];
} config_schema = {PART_1, PART_2, PART_3};

/* ---------------------------------------------------------------- a binding */

static const char resource_schema[] = SCHEMA_BEGIN("table-config")
    TEXT("table", "Table", "Name of the table.", ",\"x-collection-name\":true") "," TEXT(
        "schema",
        "Alternative Schema",
        "Schema of this table, when it is not that of the endpoint.",
        ",\"x-schema-name\":true") "," FLAG("delta_updates",
                                            "Delta Update",
                                            "Append each change instead of updating rows.",
                                            PLAIN ",\"x-delta-updates\":true")
        SCHEMA_END("\"table\"", "SQL Table");

struct span spec_config_schema(void)
{
    return (struct span){(const char *)&config_schema, sizeof(config_schema)};
}

struct span spec_resource_schema(void)
{
    return (struct span){resource_schema, sizeof(resource_schema) - 1};
}

const char *spec_documentation_url(void)
{
    return "https://go.estuary.dev/materialize-redshift";
}
