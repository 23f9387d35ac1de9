/* Endpoint and resource configurations: what is accepted, what it means, and how problems are
 * named.
 */

#include "connector/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define ADDRESS "\"address\":\"cluster.example:5439\""
#define REST                                                                                       \
    "\"user\":\"loader\",\"password\":\"pw-secret\",\"bucket\":\"b\",\"awsAccessKeyId\":\"AKIA\"," \
    "\"awsSecretAccessKey\":\"aws-secret\""
#define REGION "\"region\":\"us-east-1\""
#define ROOT "-----BEGIN CERTIFICATE-----\\nAAAA\\n-----END CERTIFICATE-----\\n"
#define BASE ADDRESS "," REST "," REGION

#define TRIGGER(url)                                                                               \
    "{" BASE ",\"dbt_job_trigger\":{\"job_id\":\"1\",\"account_id\":\"2\",\"api_key\":\"k\","      \
    "\"access_url\":\"" url "\""

static struct arena *arena;

static int set_up(void **state)
{
    (void)state;
    arena = arena_new((size_t)16 * 1024 * 1024);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

/* ---------------------------------------------------------------- the endpoint */

struct row {
    const char *sentence, *json;
    const char *refusals[4]; /* parts of the error; none: accepted */
};

static const struct row rows[] = {
    {"C1 the seven required properties are enough", "{" BASE "}", {NULL}},
    {"C2 an empty address", "{\"address\":\"\"," REST "," REGION "}", {"missing 'address'"}},
    {"C3 no region", "{" ADDRESS "," REST "}", {"missing 'region'"}},
    /* All problems at once, so that a person mends a form once. */
    {"C4 user and bucket empty, both are told",
     "{" ADDRESS "," REGION ",\"user\":\"\",\"bucket\":\"\",\"password\":\"p\","
     "\"awsAccessKeyId\":\"k\",\"awsSecretAccessKey\":\"s\"}",
     {"missing 'user'\n - missing 'bucket'"}},
    {"C5 an unknown property", "{" BASE ",\"foo\":1}", {"unknown field \"foo\""}},
    /* By its path, not its last name alone: several objects have properties of one name. */
    {"C6 an unknown property in an object",
     "{" BASE ",\"advanced\":{\"foo\":true}}",
     {"unknown field \"advanced.foo\""}},
    {"C7 a string for a boolean",
     "{" BASE ",\"hardDelete\":\"true\"}",
     {"\"hardDelete\" must be of type boolean"}},
    {"C8 an empty bucket path", "{" BASE ",\"bucketPath\":\"\"}", {NULL}},
    {"C9 a bucket path of one segment", "{" BASE ",\"bucketPath\":\"staging\"}", {NULL}},
    {"C10 a bucket path of several",
     "{" BASE ",\"bucketPath\":\"estuary/tenant/staging\"}",
     {NULL}},
    {"C11 a slash at its end", "{" BASE ",\"bucketPath\":\"estuary/staging/\"}", {NULL}},
    {"C12 a slash at its beginning", "{" BASE ",\"bucketPath\":\"/estuary/staging\"}", {NULL}},
    {"C13 two of them",
     "{" BASE ",\"bucketPath\":\"//estuary\"}",
     {"bucketPath \"/estuary\" cannot start with /"}},
    {"C14 a URI of S3",
     "{" BASE ",\"bucketPath\":\"s3://my-bucket/p\"}",
     {"bucketPath \"s3://my-bucket/p\" must be a bare key prefix"}},
    {"C15 a scheme alone", "{" BASE ",\"bucketPath\":\"s3://\"}", {"bare key prefix"}},
    {"C16 a URI inside a path",
     "{" BASE ",\"bucketPath\":\"estuary/s3://nested\"}",
     {"bare key prefix"}},
    {"C17 a URL", "{" BASE ",\"bucketPath\":\"https://example.com/p\"}", {"bare key prefix"}},
    {"C18 half of a trigger", "{" BASE ",\"dbt_job_trigger\":{\"job_id\":\"1\"}}", {NULL}},
    {"C19 a trigger with the older name of its host",
     "{" BASE ",\"dbt_job_trigger\":{\"job_id\":\"1\",\"account_id\":\"2\",\"api_key\":\"k\","
     "\"account_prefix\":\"p\"}}",
     {NULL}},
    {"C20 a tunnel of nothing", "{" BASE ",\"networkTunnel\":{}}", {NULL}},
    {"C20 a tunnel without an endpoint",
     "{" BASE ",\"networkTunnel\":{\"sshForwarding\":{}}}",
     {NULL}},
    {"C21 a tunnel is looked at when it is started",
     "{" BASE ",\"networkTunnel\":{\"sshForwarding\":{\"sshEndpoint\":\"ssh://u@h\","
     "\"privateKey\":\"k\"}}}",
     {NULL}},
    {"a mode of TLS that is none",
     "{" BASE ",\"advanced\":{\"tls_mode\":\"disable\"}}",
     {"'advanced.tls_mode' is none of require, verify-ca and verify-full"}},
    {"a mode of TLS that checks certificates",
     "{" BASE ",\"advanced\":{\"tls_mode\":\"verify-full\"}}",
     {NULL}},
    {"roots that nothing is checked against",
     "{" BASE ",\"advanced\":{\"tls_root_certificate\":\"" ROOT "\"}}",
     {"'advanced.tls_root_certificate' is of use only where"}},
    {"roots that are none",
     "{" BASE ",\"advanced\":{\"tls_mode\":\"verify-ca\",\"tls_root_certificate\":\"x\"}}",
     {"'advanced.tls_root_certificate' is no certificate"}},
    {"roots",
     "{" BASE ",\"advanced\":{\"tls_mode\":\"verify-ca\",\"tls_root_certificate\":\"" ROOT "\"}}",
     {NULL}},
    {"a compression that is none",
     "{" BASE ",\"advanced\":{\"staging_compression\":\"lzop\"}}",
     {"'advanced.staging_compression' is neither gzip nor zstd"}},
    {"gzip by its name", "{" BASE ",\"advanced\":{\"staging_compression\":\"gzip\"}}", {NULL}},
    {"no files at all",
     "{" BASE ",\"advanced\":{\"parallel_files\":0}}",
     {"'advanced.parallel_files' is no whole number from 1 to 1000"}},
    {"half a file",
     "{" BASE ",\"advanced\":{\"parallel_files\":1.5}}",
     {"'advanced.parallel_files' is no whole number"}},
    {"fewer files than none",
     "{" BASE ",\"advanced\":{\"parallel_files\":-1}}",
     {"'advanced.parallel_files' is no whole number"}},
    {"more files than a COPY can use",
     "{" BASE ",\"advanced\":{\"parallel_files\":1001}}",
     {"'advanced.parallel_files' is no whole number"}},
    {"more files than an integer holds",
     "{" BASE ",\"advanced\":{\"parallel_files\":1e300}}",
     {"'advanced.parallel_files' is no whole number"}},
    {"a text for a number of files",
     "{" BASE ",\"advanced\":{\"parallel_files\":\"4\"}}",
     {"\"advanced.parallel_files\" must be of type number"}},
    {"as many files as may be", "{" BASE ",\"advanced\":{\"parallel_files\":1000}}", {NULL}},
    {"staged files and their keys do not go over plain http",
     "{" BASE ",\"advanced\":{\"s3_endpoint\":\"http://store.example:9000\"}}",
     {"'advanced.s3_endpoint': plain http is only for a loopback address"}},
    {"but to this machine",
     "{" BASE ",\"advanced\":{\"s3_endpoint\":\"http://127.0.0.1:9000\"}}",
     {NULL}},
    {"a password in the address of a bucket's server, which is not repeated",
     "{" BASE ",\"advanced\":{\"s3_endpoint\":\"https://u:pw-secret@store.example\"}}",
     {"'advanced.s3_endpoint': user names and passwords do not belong"}},
    {"an address with a path",
     "{" BASE ",\"advanced\":{\"s3_endpoint\":\"https://store.example/b\"}}",
     {"'advanced.s3_endpoint': an address has no path"}},
    {"a path style that is no boolean",
     "{" BASE ",\"advanced\":{\"s3_path_style\":\"yes\"}}",
     {"\"advanced.s3_path_style\" must be of type boolean"}},
    {"tables without their document",
     "{" BASE ",\"advanced\":{\"no_flow_document\":true}}",
     {NULL}},
    {"null is the same as absent",
     "{" BASE ",\"schema\":null,\"advanced\":null,\"syncSchedule\":null,\"hardDelete\":null}",
     {NULL}},
    {"null for a required property",
     "{" ADDRESS "," REST ",\"region\":null}",
     {"missing 'region'"}},
    {"a schedule is parsed strictly",
     "{" BASE ",\"syncSchedule\":{\"syncFrequency\":30,\"zone\":\"UTC\"}}",
     {"\"syncSchedule.syncFrequency\" must be of type string",
      "unknown field \"syncSchedule.zone\""}},
    {"so is a trigger",
     "{" BASE ",\"dbt_job_trigger\":{\"job_id\":1,\"jobs\":[]}}",
     {"\"dbt_job_trigger.job_id\" must be of type string",
      "unknown field \"dbt_job_trigger.jobs\""}},
    {"so is a tunnel",
     "{" BASE ",\"networkTunnel\":{\"sshForwarding\":{\"host\":\"h\"}}}",
     {"unknown field \"networkTunnel.sshForwarding.host\""}},
    {"a schedule that cannot be kept",
     "{" BASE ",\"syncSchedule\":{\"timezone\":\"UTC\"}}",
     {"validating schedule configuration: a fast sync window needs all of"}},
    {"a frequency that is none",
     "{" BASE ",\"syncSchedule\":{\"syncFrequency\":\"soon\"}}",
     {"validating schedule configuration: syncFrequency \"soon\""}},
    {"a complete trigger with a mode and an interval that are none",
     TRIGGER("https://h") ",\"mode\":\"twice\",\"interval\":\"soon\"}}",
     {"'dbt_job_trigger.mode' is none of", "'dbt_job_trigger.interval' is no duration"}},
    {"a key does not go over plain http", TRIGGER("http://h") "}}", {"must begin with https://"}},
    {"nor to a host that only looks local",
     TRIGGER("http://127.0.0.1.example") "}}",
     {"must begin with https://"}},
    {"nor behind a user's name", TRIGGER("http://localhost:x@h") "}}", {"begin with https://"}},
    {"but to this machine", TRIGGER("http://127.0.0.1:8080") "}}", {NULL}},
    {"a trigger in another scheme", TRIGGER("ftp://h") "}}", {"must begin with https://"}},
    {"an array is no configuration", "[]", {"endpoint config", "must be an object"}},
    {"half an object", "{" ADDRESS, {"endpoint config"}},
    {"all problems come at once",
     "{\"user\":1,\"foo\":2,\"bucketPath\":\"//x\"}",
     {"missing 'address'", "\"user\" must be of type string", "bucketPath \"/x\"",
      "unknown field \"foo\""}},
};

/* ---------------------------------------------------------------- keys for S3 */

#define OTHERS "\"address\":\"h:5439\",\"user\":\"u\",\"password\":\"p\",\"bucket\":\"b\"," REGION
#define KEYS ",\"awsAccessKeyId\":\"AKIA\",\"awsSecretAccessKey\":\"aws-secret\""
#define NO_KEYS ",\"awsAccessKeyId\":\"\",\"awsSecretAccessKey\":\"\""
#define ADVANCED(text) ",\"advanced\":{" text "}}"
#define NAMED(text) "\"" text "\":"
#define ARN "arn:aws:iam::123456789012:role/loader"

/* variable: the only one that is set, or NULL. */
static const struct key_row {
    const char *sentence, *json, *variable;
    enum s3_key_source source;
    const char *refusal; /* NULL: accepted */
} key_rows[] = {
    {"keys of the configuration", "{" OTHERS KEYS "}", "AWS_ACCESS_KEY_ID", S3_KEYS_CONFIG, NULL},
    {"none, and an environment that has some", "{" OTHERS NO_KEYS "}", "AWS_ACCESS_KEY_ID",
     S3_KEYS_ANY, NULL},
    {"absent is the same as empty", "{" OTHERS "}", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
     S3_KEYS_ANY, NULL},
    {"none, and an environment that has none", "{" OTHERS NO_KEYS "}", NULL, S3_KEYS_CONFIG,
     "missing 'awsAccessKeyId'\n - missing 'awsSecretAccessKey'"},
    {"half of them is never made whole by the environment",
     "{" OTHERS ",\"awsAccessKeyId\":\"AKIA\"}", "AWS_ACCESS_KEY_ID", S3_KEYS_CONFIG,
     "missing 'awsSecretAccessKey'"},
    {"a source by name, whatever the environment says",
     "{" OTHERS NO_KEYS ADVANCED(NAMED("aws_credentials") "\"instance_metadata\""), NULL,
     S3_KEYS_INSTANCE, NULL},
    {"a source that is none", "{" OTHERS NO_KEYS ADVANCED(NAMED("aws_credentials") "\"profile\""),
     NULL, S3_KEYS_CONFIG,
     "'advanced.aws_credentials' is none of environment, web_identity, container"},
    {"keys and a source contradict each other",
     "{" OTHERS KEYS ADVANCED(NAMED("aws_credentials") "\"container\""), NULL, S3_KEYS_CONFIG,
     "'awsAccessKeyId' and 'advanced.aws_credentials' are both given"},
    {"a secret alone and a source, too",
     "{" OTHERS
     ",\"awsSecretAccessKey\":\"aws-secret\"" ADVANCED(NAMED("aws_credentials") "\"container\""),
     NULL, S3_KEYS_CONFIG, "'awsSecretAccessKey' and 'advanced.aws_credentials' are both given"},
    {"a session token with its keys",
     "{" OTHERS KEYS ADVANCED(NAMED("aws_session_token") "\"aws-secret\""), NULL, S3_KEYS_CONFIG,
     NULL},
    {"a session token without",
     "{" OTHERS NO_KEYS ADVANCED(NAMED("aws_session_token") "\"aws-secret\""), "AWS_ACCESS_KEY_ID",
     S3_KEYS_ANY, "'advanced.aws_session_token' is of use only with 'awsAccessKeyId'"},
    {"a role with an external id",
     "{" OTHERS KEYS ADVANCED(NAMED("aws_role_arn") "\"" ARN
                                                    "\"," NAMED("aws_external_id") "\"tenant\""),
     NULL, S3_KEYS_CONFIG, NULL},
    {"an external id without a role",
     "{" OTHERS KEYS ADVANCED(NAMED("aws_external_id") "\"tenant\""), NULL, S3_KEYS_CONFIG,
     "'advanced.aws_external_id' is of use only with 'advanced.aws_role_arn'"},
    {"a user for a role",
     "{" OTHERS KEYS ADVANCED(NAMED("aws_role_arn") "\"arn:aws:iam::1:user/u\""), NULL,
     S3_KEYS_CONFIG, "'advanced.aws_role_arn' is no ARN of a role"},
    {"the cluster's default role", "{" OTHERS KEYS ADVANCED(NAMED("copy_iam_role") "\"default\""),
     NULL, S3_KEYS_CONFIG, NULL},
    {"roles that assume one another",
     "{" OTHERS KEYS ADVANCED(NAMED("copy_iam_role") "\"" ARN ",arn:aws-cn:iam::1:role/p/x\""),
     NULL, S3_KEYS_CONFIG, NULL},
    {"a chain with an end missing", "{" OTHERS KEYS ADVANCED(NAMED("copy_iam_role") "\"" ARN ",\""),
     NULL, S3_KEYS_CONFIG, "'advanced.copy_iam_role' is neither"},
    {"a blank in a chain, which Redshift refuses",
     "{" OTHERS KEYS ADVANCED(NAMED("copy_iam_role") "\"" ARN ", " ARN "\""), NULL, S3_KEYS_CONFIG,
     "'advanced.copy_iam_role' is neither"},
    {"SQL for a role",
     "{" OTHERS KEYS ADVANCED(NAMED("copy_iam_role") "\"arn:aws:iam::1:role/r'--\""), NULL,
     S3_KEYS_CONFIG, "'advanced.copy_iam_role' is neither"},
    {"an alias of a KMS key", "{" OTHERS KEYS ADVANCED(NAMED("kms_key_id") "\"alias/stage\""), NULL,
     S3_KEYS_CONFIG, NULL},
    {"a header for a KMS key",
     "{" OTHERS KEYS ADVANCED(NAMED("kms_key_id") "\"alias/x\\r\\ny: z\""), NULL, S3_KEYS_CONFIG,
     "'advanced.kms_key_id' is no id"},
};

static const char *only_variable(void *ctx, const char *name)
{
    return ctx && strcmp(ctx, name) == 0 ? "http://127.0.0.1/value" : NULL;
}

static void keys_come_from_the_configuration_or_from_one_named_source(void **state)
{
    unsigned wrong = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(key_rows); i++) {
        const struct key_row *row = &key_rows[i];
        const struct s3_environment environment = {only_variable, (void *)(uintptr_t)row->variable};
        struct config *config = NULL;
        struct error *err = config_read(arena, span_of(row->json), &environment, &config);
        bool good = row->refusal ? err && error_class_of(err) == ERROR_CONFIG &&
                                       strstr(error_text(err), row->refusal) &&
                                       !strstr(error_text(err), "aws-secret")
                                 : !err && config->key_source == row->source;
        if (!good) {
            print_error("%s: %s\n", row->sentence, err ? error_text(err) : "accepted");
            wrong++;
        }
        error_free(err);
        config_done(config);
    }
    assert_int_equal(wrong, 0);
}

static void endpoint_configurations_are_strict(void **state)
{
    unsigned wrong = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct config *config = NULL;
        struct error *err = config_read(arena, span_of(rows[i].json), NULL, &config);
        bool good = rows[i].refusals[0] ? err && !config && error_class_of(err) == ERROR_CONFIG
                                        : !err && config;
        for (size_t j = 0; err && j < 4 && rows[i].refusals[j]; j++) {
            good = good && strstr(error_text(err), rows[i].refusals[j]);
        }
        if (err &&
            (strstr(error_text(err), "pw-secret") || strstr(error_text(err), "aws-secret"))) {
            good = false;
        }
        if (!good) {
            print_error("%s: %s\n", rows[i].sentence, err ? error_text(err) : "accepted");
            wrong++;
        }
        error_free(err);
        config_done(config);
    }
    assert_int_equal(wrong, 0);
}

static struct config *read_good(const char *json)
{
    struct config *config = NULL;
    struct error *err = config_read(arena, span_of(json), NULL, &config);

    if (err) {
        fail_msg("%s: %s", json, error_text(err));
    }
    return config;
}

static void what_is_read_is_what_was_written(void **state)
{
    (void)state;
    struct config *config =
        read_good("{" BASE ",\"database\":\"dev\",\"schema\":\"Sales\",\"hardDelete\":true,"
                  "\"syncSchedule\":{\"syncFrequency\":\"1h\"}}");

    assert_string_equal(config->address, "cluster.example:5439");
    assert_string_equal(config->user, "loader");
    assert_string_equal(secret_text(config->password), "pw-secret");
    assert_string_equal(config->database, "dev");
    assert_string_equal(config->schema, "Sales");
    assert_string_equal(config->bucket, "b");
    assert_string_equal(config->region, "us-east-1");
    assert_string_equal(config->bucket_path, "");
    assert_string_equal(config->aws_access_key_id, "AKIA");
    assert_string_equal(secret_text(config->aws_secret_access_key), "aws-secret");
    assert_true(config->hard_delete);
    assert_non_null(config->schedule);
    assert_string_equal(config->schedule_config.sync_frequency, "1h");
    assert_false(config->has_trigger);
    assert_string_equal(config->ssh_endpoint, "");
    assert_int_equal(config->tls_mode, CONFIG_TLS_NOT_SET);
    config_done(config);
}

static void tunnel_and_tls_are_read(void **state)
{
    (void)state;
    struct config *config = read_good(
        "{" BASE ",\"networkTunnel\":{\"sshForwarding\":{\"sshEndpoint\":\"ssh://u@h:2222\","
        "\"privateKey\":\"k\"}},\"advanced\":{\"tls_mode\":\"verify-full\","
        "\"tls_root_certificate\":\"" ROOT
        "\",\"ssh_host_key\":\"SHA256:x\",\"metrics_address\":\"9477\"}}");

    assert_string_equal(config->ssh_endpoint, "ssh://u@h:2222");
    assert_string_equal(secret_text(config->ssh_private_key), "k");
    assert_string_equal(config->ssh_host_key, "SHA256:x");
    assert_string_equal(config->metrics_address, "9477");
    assert_int_equal(config->tls_mode, CONFIG_TLS_VERIFY_FULL);
    assert_non_null(strstr(config->tls_root_certificate, "BEGIN CERTIFICATE"));
    assert_true(config->has_port);
    config_done(config);
}

static void staging_is_read(void **state)
{
    (void)state;
    struct config *config =
        read_good("{" BASE ",\"advanced\":{\"staging_compression\":\"zstd\",\"parallel_files\":12,"
                  "\"s3_endpoint\":\"https://store.example:9000/\",\"s3_path_style\":true}}");

    assert_true(config->staging_zstd);
    assert_int_equal(config->parallel_files, 12);
    assert_string_equal(config->s3_endpoint, "https://store.example:9000/");
    assert_true(config->s3_path_style);
    config_done(config);

    config = read_good("{" BASE "}");
    assert_false(config->staging_zstd);
    assert_int_equal(config->parallel_files, 0);
    assert_string_equal(config->s3_endpoint, "");
    assert_false(config->s3_path_style);
    config_done(config);
}

static void what_is_not_set_stays_empty(void **state)
{
    (void)state;
    struct config *config = read_good("{" BASE ",\"syncSchedule\":{},\"dbt_job_trigger\":{}}");

    assert_string_equal(config->database, "");
    assert_string_equal(config->schema, ""); /* the schema's default is for the interface alone */
    assert_false(config->hard_delete);
    assert_non_null(config->schedule); /* half an hour */
    assert_string_equal(config->schedule_config.sync_frequency, "");
    assert_false(config->has_trigger);
    config_done(config);
}

static void bucket_paths_are_cleaned(void **state)
{
    static const char *const paths[][2] = {
        {"staging", "staging"},
        {"/estuary/staging", "estuary/staging"},
        {"estuary/staging/", "estuary/staging"},
        {"a/./b//c", "a/b/c"},
        {"with space", "with space"},
        {"/", ""},
    };
    char json[512];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        (void)snprintf(json, sizeof json, "{" BASE ",\"bucketPath\":\"%s\"}", paths[i][0]);
        struct config *config = read_good(json);
        assert_string_equal(config->bucket_path, paths[i][1]);
        config_done(config);
    }
}

static void addresses_are_split(void **state)
{
    static const char *const addresses[][3] = {
        {"h.example:5439", "h.example", "5439"},
        {"h.example", "h.example", "5432"},
        {"h.example:", "h.example", "5432"},
        {"[::1]:5439", "::1", "5439"},
        {"[::1]", "::1", "5432"},
        {"::1", "::1", "5432"},
    };
    char json[512];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(addresses); i++) {
        (void)snprintf(json, sizeof json, "{\"address\":\"%s\"," REST "," REGION "}",
                       addresses[i][0]);
        struct config *config = read_good(json);
        assert_string_equal(config->host, addresses[i][1]);
        assert_string_equal(config->port, addresses[i][2]);
        config_done(config);
    }
}

static void triggers_are_on_when_they_are_complete(void **state)
{
    static const struct {
        const char *sentence, *trigger;
        bool is_on;
    } triggers[] = {
        {"C18 a job alone", "{\"job_id\":\"1\"}", false},
        {"C19 the older name of the host",
         "{\"job_id\":\"1\",\"account_id\":\"2\",\"api_key\":\"k\",\"account_prefix\":\"p\"}",
         true},
        {"an access URL",
         "{\"job_id\":\"1\",\"account_id\":\"2\",\"api_key\":\"k\",\"access_url\":\"https://h\"}",
         true},
        {"no host", "{\"job_id\":\"1\",\"account_id\":\"2\",\"api_key\":\"k\"}", false},
    };
    char json[1024];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(triggers); i++) {
        (void)snprintf(json, sizeof json, "{" BASE ",\"dbt_job_trigger\":%s}", triggers[i].trigger);
        struct config *config = read_good(json);
        if (config->has_trigger != triggers[i].is_on) {
            fail_msg("%s", triggers[i].sentence);
        }
        config_done(config);
    }
}

/* What a schedule may be is tested with it (unit/txn/test_schedule.c). */
static void schedules_are_of_the_warehouse(void **state)
{
    (void)state;
    struct config *config = read_good("{" BASE ",\"syncSchedule\":{\"syncFrequency\":\"24h\"}}");
    struct schedule *other;

    assert_null(schedule_new(arena, &config->schedule_config, SPAN_LIT("cluster.example:5439"),
                             SCHEDULE_ZONE_FOLDER, &other));
    assert_int_equal(schedule_next(config->schedule, 0), schedule_next(other, 0));
    config_done(config);

    config = read_good("{" BASE ",\"syncSchedule\":{\"syncFrequency\":\"0s\"}}");
    assert_null(config->schedule);
    config_done(config);
}

static void triggers_are_as_written(void **state)
{
    (void)state;
    struct config *config =
        read_good("{" BASE ",\"dbt_job_trigger\":{\"job_id\":\"1\",\"account_id\":\"2\","
                  "\"api_key\":\"dbt-secret\",\"access_url\":\"https://ab1.us1.dbt.com//\","
                  "\"cause\":\"new data\",\"mode\":\"replace\",\"interval\":\"1h30m\"}}");

    assert_string_equal(config->trigger.base_url, "https://ab1.us1.dbt.com");
    assert_string_equal(config->trigger.job_id, "1");
    assert_string_equal(config->trigger.account_id, "2");
    assert_string_equal(config->trigger.cause, "new data");
    assert_string_equal(secret_text(config->trigger.api_key), "dbt-secret");
    assert_int_equal(config->trigger.mode, TRIGGER_REPLACE);
    assert_int_equal(config->trigger.interval_ms, 5400000);
    config_done(config);

    config = read_good("{" BASE ",\"dbt_job_trigger\":{\"job_id\":\"1\",\"account_id\":\"2\","
                       "\"api_key\":\"k\",\"account_prefix\":\"ab1\"}}");
    assert_string_equal(config->trigger.base_url, "https://ab1.us1.dbt.com");
    assert_string_equal(config->trigger.cause, "Estuary Flow");
    assert_int_equal(config->trigger.mode, TRIGGER_SKIP);
    assert_int_equal(config->trigger.interval_ms, 1800000);
    config_done(config);
}

/* ---------------------------------------------------------------- feature flags */

struct flags_row {
    const char *sentence, *text;
    bool dates, binary, dualstack, retain, allow, drop;
    bool keep_after; /* truncate_after_backfill is off */
};

static const struct flags_row flags_rows[] = {
    {"F1 nothing: the defaults", "", true, true, false, false, false, false, false},
    {"F2 one is switched off", "no_datetime_keys_as_string", false, true, false, false, false,
     false, false},
    {"F3 blanks do not matter", " s3_use_dualstack_endpoints , no_native_binary_column_type ", true,
     false, true, false, false, false, false},
    {"F4 the last word counts",
     "retain_existing_data_on_backfill,no_retain_existing_data_on_backfill", true, true, false,
     false, false, false, false},
    {"F5 names that nobody knows", ",,made_up", true, true, false, false, false, false, false},
    {"F6 the property of this name is not a flag", "no_flow_document", true, true, false, false,
     false, false, false},
    {"older rows are kept after a backfill", "no_truncate_after_backfill", true, true, false, false,
     false, false, true},
    {"the others",
     "allow_existing_tables_for_new_bindings,always_drop_tables_on_backfill,"
     "retain_existing_data_on_backfill",
     true, true, false, true, true, true, false},
    {"no_ is taken off once", "no_no_native_binary_column_type", true, true, false, false, false,
     false, false},
};

static void feature_flags_are_a_list_of_words(void **state)
{
    char json[1024];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(flags_rows); i++) {
        const struct flags_row *row = &flags_rows[i];
        (void)snprintf(json, sizeof json, "{" BASE ",\"advanced\":{\"feature_flags\":\"%s\"}}",
                       row->text);
        struct config *config = read_good(json);
        const struct config_flags *flags = &config->flags;
        if (flags->types.datetime_keys_as_string != row->dates ||
            flags->types.native_binary_column_type != row->binary ||
            flags->s3_use_dualstack_endpoints != row->dualstack ||
            flags->retain_existing_data_on_backfill != row->retain ||
            flags->allow_existing_tables_for_new_bindings != row->allow ||
            flags->always_drop_tables_on_backfill != row->drop ||
            flags->truncate_after_backfill == row->keep_after || config->no_flow_document) {
            fail_msg("%s", row->sentence);
        }
        config_done(config);
    }
}

/* ---------------------------------------------------------------- resources */

struct resource_row {
    const char *sentence, *endpoint_schema, *json;
    const char *path; /* joined with '/'; NULL: refused */
    bool delta;
    const char *refusal;
};

static const struct resource_row resource_rows[] = {
    {"C22 an empty table", "s", "{\"table\":\"\"}", NULL, false, "missing 'table'"},
    {"C22 no table", "s", "{}", NULL, false, "parsing resource config: missing 'table'"},
    {"C23 an unknown property", "s", "{\"table\":\"t\",\"foo\":1}", NULL, false,
     "parsing resource config: unknown field \"foo\""},
    {"C24 the endpoint's schema", "s", "{\"table\":\"t\"}", "s/t", false, NULL},
    {"C25 a schema of its own", "s", "{\"table\":\"t\",\"schema\":\"r\"}", "r/t", false, NULL},
    {"C26 no schema at all", "", "{\"table\":\"t\"}", "t", false, NULL},
    {"C27 only its own", "", "{\"table\":\"t\",\"schema\":\"r\"}", "r/t", false, NULL},
    {"delta updates", "s", "{\"table\":\"t\",\"schema\":\"\",\"delta_updates\":true}", "s/t", true,
     NULL},
    {"a number for delta updates", "s", "{\"table\":\"t\",\"delta_updates\":1}", NULL, false,
     "\"delta_updates\" must be of type boolean"},
};

static void resources_become_paths(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(resource_rows); i++) {
        const struct resource_row *row = &resource_rows[i];
        struct config config = {.schema = row->endpoint_schema};
        struct resource resource;
        char path[64] = "";
        struct error *err = resource_read(arena, span_of(row->json), &config, &resource);

        if (!row->path) {
            if (!err || !strstr(error_text(err), row->refusal)) {
                fail_msg("%s: %s", row->sentence, err ? error_text(err) : "accepted");
            }
            error_free(err);
            continue;
        }
        if (err) {
            fail_msg("%s: %s", row->sentence, error_text(err));
        }
        for (unsigned j = 0; j < resource.path_count; j++) {
            size_t len = strlen(path);
            (void)snprintf(path + len, sizeof path - len, "%s%.*s", j ? "/" : "",
                           SPAN_FMT(resource.path[j]));
        }
        if (strcmp(path, row->path) != 0 || resource.delta_updates != row->delta) {
            fail_msg("%s: %s", row->sentence, path);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(endpoint_configurations_are_strict),
        cmocka_unit_test(keys_come_from_the_configuration_or_from_one_named_source),
        cmocka_unit_test(what_is_read_is_what_was_written),
        cmocka_unit_test(what_is_not_set_stays_empty),
        cmocka_unit_test(tunnel_and_tls_are_read),
        cmocka_unit_test(staging_is_read),
        cmocka_unit_test(bucket_paths_are_cleaned),
        cmocka_unit_test(addresses_are_split),
        cmocka_unit_test(triggers_are_on_when_they_are_complete),
        cmocka_unit_test(triggers_are_as_written),
        cmocka_unit_test(schedules_are_of_the_warehouse),
        cmocka_unit_test(feature_flags_are_a_list_of_words),
        cmocka_unit_test(resources_become_paths),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
