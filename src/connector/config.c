/*
 * connector/config: what a person wrote, read strictly. In: the JSON of the endpoint and of one
 * binding's resource. Out: plain values, secrets apart, or one error that lists every problem. It
 * connects to nothing and knows no schema texts; those are in spec.c, in the same order.
 */

#include "connector/config.h"

#include "base/text.h"
#include "s3/endpoint.h"
#include "json/read.h"

/* libpq's own default; Redshift's 5439 is not assumed, as addresses without a port always meant
 * this one. */
#define DEFAULT_PORT "5432"

#define DEFAULT_CAUSE "Estuary Flow"
#define DEFAULT_INTERVAL "30m"
#define TRIGGER_TIMEOUT_MS 120000
#define NS_PER_MS 1000000

/* ---------------------------------------------------------------- small helpers */

static const char *keep(struct arena *arena, const char *text)
{
    return arena_strdup(arena, text ? text : "");
}

static bool is_set(const char *text)
{
    return text && *text;
}

static const char *
need(struct json_doc *doc, struct json_object *object, struct arena *arena, const char *name)
{
    const char *text = json_get_string(object, name);

    if (!is_set(text)) {
        json_problem(doc, "missing '%s'", name);
    }
    return keep(arena, text);
}

static struct secret *
need_secret(struct json_doc *doc, struct json_object *object, const char *name)
{
    const char *text = json_get_string(object, name);

    if (!is_set(text)) {
        json_problem(doc, "missing '%s'", name);
        return NULL;
    }
    return secret_new(span_of(text));
}

/* ---------------------------------------------------------------- address */

/* "host", "host:port", "[v6]:port"; a bare IPv6 address has several colons and no port. */
static void split_address(struct arena *arena, struct config *config)
{
    const char *address = config->address;
    const char *colon = strrchr(address, ':');
    struct span host = span_of(address);

    config->port = DEFAULT_PORT;
    if (address[0] == '[') {
        const char *bracket = strchr(address, ']');
        if (bracket) {
            host = (struct span){address + 1, (size_t)(bracket - address - 1)};
            colon = bracket[1] == ':' ? bracket + 1 : NULL;
        }
    } else if (colon && colon == strchr(address, ':')) {
        host.len = (size_t)(colon - address);
    } else {
        colon = NULL;
    }
    if (colon && colon[1]) {
        config->port = colon + 1;
        config->has_port = true;
    }
    config->host = arena_strndup(arena, host);
}

/* ---------------------------------------------------------------- bucketPath */

static void
read_bucket_path(struct json_doc *doc, struct arena *arena, const char *text, struct config *config)
{
    const char *path = text ? text : "";

    path += *path == '/';
    if (*path == '/') {
        json_problem(doc, "bucketPath \"%s\" cannot start with /", path);
    } else if (strstr(path, "://")) {
        json_problem(doc,
                     "bucketPath \"%s\" must be a bare key prefix and no URI: the bucket has a "
                     "property of its own",
                     path);
    }
    config->bucket_path = text_path_join(arena, span_of(path), SPAN_LIT(""));
}

/* ---------------------------------------------------------------- nested objects */

static const char *
optional(struct json_object *object, struct arena *arena, const char *name, const char *otherwise)
{
    const char *text = object ? json_get_string(object, name) : NULL;
    return keep(arena, is_set(text) ? text : otherwise);
}

/* The address decides which instants the task shares with others on the same warehouse. */
static void read_schedule(struct json_doc *doc,
                          struct json_object *object,
                          struct arena *arena,
                          struct config *config)
{
    config->schedule_config = (struct schedule_config){
        .sync_frequency = optional(object, arena, "syncFrequency", ""),
        .timezone = optional(object, arena, "timezone", ""),
        .fast_sync_start_time = optional(object, arena, "fastSyncStartTime", ""),
        .fast_sync_stop_time = optional(object, arena, "fastSyncStopTime", ""),
        .fast_sync_enabled_days = optional(object, arena, "fastSyncEnabledDays", ""),
    };
    struct error *err = schedule_new(arena, &config->schedule_config, span_of(config->address),
                                     SCHEDULE_ZONE_FOLDER, &config->schedule);
    if (err) {
        json_problem(doc, "validating schedule configuration: %s", error_text(err));
        error_drop(err, "it is one of the problems of this configuration");
    }
}

static bool read_mode(const char *text, enum trigger_mode *ret)
{
    static const char *const names[] = {
        [TRIGGER_SKIP] = "skip", [TRIGGER_REPLACE] = "replace", [TRIGGER_IGNORE] = "ignore"};

    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(text, names[i]) == 0) {
            *ret = (enum trigger_mode)i;
            return true;
        }
    }
    return false;
}

/* The key goes there: over TLS, or not off this machine. */
static bool is_safe_url(const char *url)
{
    static const char *const local[] = {"http://127.0.0.1", "http://localhost", "http://[::1]"};

    if (strchr(url, '@')) {
        return false; /* what stands before it is no host */
    }
    for (unsigned i = 0; i < ARRAY_LEN(local); i++) {
        size_t len = strlen(local[i]);
        if (strncmp(url, local[i], len) == 0 && (url[len] == '\0' || strchr(":/", url[len]))) {
            return true;
        }
    }
    return strncmp(url, "https://", strlen("https://")) == 0;
}

static const char *base_url(struct arena *arena, const char *url, const char *prefix)
{
    size_t len = strlen(url);

    if (len == 0) {
        return arena_printf(arena, "https://%s.us1.dbt.com", prefix);
    }
    while (len > 0 && url[len - 1] == '/') {
        len--;
    }
    return arena_strndup(arena, (struct span){url, len});
}

/* An incomplete trigger is none: the original ignores it silently, so tasks may have one.
 * account_prefix is its older name for the host and is not in the schema. */
static void read_trigger(struct json_doc *doc,
                         struct json_object *object,
                         struct arena *arena,
                         struct config *config)
{
    const char *url = optional(object, arena, "access_url", "");
    const char *prefix = optional(object, arena, "account_prefix", "");
    const char *mode = optional(object, arena, "mode", "skip");
    const char *interval = optional(object, arena, "interval", DEFAULT_INTERVAL);
    const char *key = object ? json_get_string(object, "api_key") : NULL;
    struct trigger_config trigger = {
        .base_url = base_url(arena, url, prefix),
        .account_id = optional(object, arena, "account_id", ""),
        .job_id = optional(object, arena, "job_id", ""),
        .cause = optional(object, arena, "cause", DEFAULT_CAUSE),
        .total_timeout_ms = TRIGGER_TIMEOUT_MS,
    };
    int64_t interval_ns = 0;

    if (!is_set(key) || !*trigger.account_id || !*trigger.job_id || !(*url || *prefix)) {
        return;
    }
    if (strlen(trigger.base_url) + strlen(trigger.account_id) + strlen(trigger.job_id) +
            strlen(trigger.cause) >=
        TRIGGER_MAX_TEXT) {
        json_problem(doc, "'dbt_job_trigger' is longer than %d bytes", TRIGGER_MAX_TEXT);
    }
    if (!is_safe_url(trigger.base_url)) {
        json_problem(doc, "'dbt_job_trigger.access_url' must begin with https://");
    }
    if (!read_mode(mode, &trigger.mode)) {
        json_problem(doc, "'dbt_job_trigger.mode' is none of skip, replace and ignore");
    }
    if (!schedule_parse_duration(span_of(interval), &interval_ns) || interval_ns < 0) {
        json_problem(doc, "'dbt_job_trigger.interval' is no duration such as \"30m\"");
    }
    trigger.interval_ms = (uint64_t)interval_ns / NS_PER_MS;
    trigger.api_key = config->trigger_key = secret_new(span_of(key));
    config->trigger = trigger;
    config->has_trigger = true;
}

/* Without an endpoint there is no tunnel, whatever else stands there. */
static void read_tunnel(struct json_object *tunnel, struct arena *arena, struct config *config)
{
    struct json_object *ssh = tunnel ? json_get_object(tunnel, "sshForwarding") : NULL;
    const char *key = ssh ? json_get_string(ssh, "privateKey") : NULL;

    config->ssh_endpoint = optional(ssh, arena, "sshEndpoint", "");
    if (*config->ssh_endpoint) {
        config->ssh_private_key = secret_new(span_of(key ? key : ""));
    }
}

/* ---------------------------------------------------------------- TLS */

static const struct tls_row {
    const char *name;
    enum config_tls mode;
} tls_rows[] = {
    {"", CONFIG_TLS_NOT_SET},
    {"require", CONFIG_TLS_REQUIRE},
    {"verify-ca", CONFIG_TLS_VERIFY_CA},
    {"verify-full", CONFIG_TLS_VERIFY_FULL},
};

static void read_tls(struct json_doc *doc,
                     struct json_object *advanced,
                     struct arena *arena,
                     struct config *config)
{
    const char *mode = optional(advanced, arena, "tls_mode", "");
    const char *root = optional(advanced, arena, "tls_root_certificate", "");
    bool is_known = false;

    for (size_t i = 0; i < ARRAY_LEN(tls_rows); i++) {
        if (strcmp(mode, tls_rows[i].name) == 0) {
            config->tls_mode = tls_rows[i].mode;
            is_known = true;
        }
    }
    if (!is_known) {
        json_problem(doc, "'advanced.tls_mode' is none of require, verify-ca and verify-full");
    } else if (*root && config->tls_mode < CONFIG_TLS_VERIFY_CA) {
        json_problem(doc, "'advanced.tls_root_certificate' is of use only where "
                          "'advanced.tls_mode' is verify-ca or verify-full");
    }
    if (*root && !strstr(root, "-----BEGIN CERTIFICATE-----\n")) {
        json_problem(doc, "'advanced.tls_root_certificate' is no certificate in PEM format");
    }
    config->tls_root_certificate = root;
}

/* ---------------------------------------------------------------- staging */

static void
read_parallel_files(struct json_doc *doc, struct json_object *advanced, struct config *config)
{
    if (!advanced || !json_has(advanced, "parallel_files")) {
        return;
    }
    double files = json_get_number(advanced, "parallel_files", 1);
    if (!(files >= 1 && files <= CONFIG_MAX_PARALLEL_FILES && files == (unsigned)files)) {
        json_problem(doc, "'advanced.parallel_files' is no whole number from 1 to %d",
                     CONFIG_MAX_PARALLEL_FILES);
        return;
    }
    config->parallel_files = (unsigned)files;
}

static void read_staging(struct json_doc *doc,
                         struct json_object *advanced,
                         struct arena *arena,
                         struct config *config)
{
    const char *compression = optional(advanced, arena, "staging_compression", "gzip");

    config->staging_zstd = strcmp(compression, "zstd") == 0;
    if (!config->staging_zstd && strcmp(compression, "gzip") != 0) {
        json_problem(doc, "'advanced.staging_compression' is neither gzip nor zstd");
    }
    read_parallel_files(doc, advanced, config);
    config->s3_path_style = advanced && json_get_bool(advanced, "s3_path_style");
    config->s3_endpoint = optional(advanced, arena, "s3_endpoint", "");
    const char *why = *config->s3_endpoint ? s3_endpoint_problem(config->s3_endpoint) : NULL;
    if (why) {
        json_problem(doc, "'advanced.s3_endpoint': %s", why);
    }
}

/* ---------------------------------------------------------------- keys for S3 */

/* arn:aws:iam::123456789012:role/name; aws-cn and aws-us-gov are partitions, too */
static bool is_role(struct span arn)
{
    const char role[] = ":role/";
    bool found = false;

    for (size_t i = 0; i < arn.len; i++) {
        const struct span rest = {arn.ptr + i, arn.len - i};

        if ((unsigned char)arn.ptr[i] <= ' ' || strchr("'\\\"", arn.ptr[i])) {
            return false;
        }
        found |= rest.len > strlen(role) && span_starts_with(rest, SPAN_LIT(":role/"));
    }
    return found && arn.len <= 2048 && span_starts_with(arn, SPAN_LIT("arn:"));
}

/* Roles that assume one another, the cluster's own first. */
static bool is_role_chain(const char *text)
{
    for (;;) {
        const size_t len = strcspn(text, ",");

        if (!is_role((struct span){text, len})) {
            return false;
        }
        if (text[len] == '\0') {
            return true;
        }
        text += len + 1;
    }
}

/* The configuration's own keys, or where else they are. Without a word on it the environment is
 * asked, and only what it speaks of counts: no task gets keys of the machine by leaving its own
 * out. */
static void choose_key_source(struct json_doc *doc,
                              const char *named,
                              const struct s3_environment *environment,
                              struct config *config)
{
    const bool has_id = *config->aws_access_key_id;
    const bool has_secret = config->aws_secret_access_key != NULL;

    if (*named) {
        if (!s3_key_source_from_name(named, &config->key_source)) {
            json_problem(doc, "'advanced.aws_credentials' is none of environment, web_identity, "
                              "container and instance_metadata");
        } else if (has_id || has_secret) {
            json_problem(doc,
                         "'%s' and 'advanced.aws_credentials' are both given: leave the key empty, "
                         "or the option out",
                         has_id ? "awsAccessKeyId" : "awsSecretAccessKey");
        }
    } else if (!has_id && !has_secret && environment && s3_environment_has_keys(environment)) {
        config->key_source = S3_KEYS_ANY;
    } else {
        config->key_source = S3_KEYS_CONFIG;
        if (!has_id) {
            json_problem(doc, "missing 'awsAccessKeyId'");
        }
        if (!has_secret) {
            json_problem(doc, "missing 'awsSecretAccessKey'");
        }
    }
}

static void read_key_source(struct json_doc *doc,
                            struct json_object *advanced,
                            struct arena *arena,
                            const struct s3_environment *environment,
                            struct config *config)
{
    const char *token = advanced ? json_get_string(advanced, "aws_session_token") : NULL;

    choose_key_source(doc, optional(advanced, arena, "aws_credentials", ""), environment, config);
    if (is_set(token)) {
        config->aws_session_token = secret_new(span_of(token));
        if (config->key_source != S3_KEYS_CONFIG) {
            json_problem(doc, "'advanced.aws_session_token' is of use only with 'awsAccessKeyId'");
        }
    }
    config->aws_role_arn = optional(advanced, arena, "aws_role_arn", "");
    config->aws_external_id = optional(advanced, arena, "aws_external_id", "");
    config->copy_iam_role = optional(advanced, arena, "copy_iam_role", "");
    config->kms_key_id = optional(advanced, arena, "kms_key_id", "");
    if (*config->aws_role_arn && !is_role(span_of(config->aws_role_arn))) {
        json_problem(doc,
                     "'advanced.aws_role_arn' is no ARN of a role (arn:aws:iam::...:role/...)");
    }
    if (*config->aws_external_id && !*config->aws_role_arn) {
        json_problem(doc, "'advanced.aws_external_id' is of use only with 'advanced.aws_role_arn'");
    }
    if (*config->copy_iam_role && strcmp(config->copy_iam_role, "default") != 0 &&
        !is_role_chain(config->copy_iam_role)) {
        json_problem(doc, "'advanced.copy_iam_role' is neither \"default\" nor ARNs of roles "
                          "divided by commas");
    }
    for (const char *c = config->kms_key_id; *c; c++) {
        if (*c <= ' ' || *c > '~' || c - config->kms_key_id >= 2048) {
            json_problem(doc, "'advanced.kms_key_id' is no id, ARN or alias of a KMS key");
            break;
        }
    }
}

/* ---------------------------------------------------------------- feature flags */

static const struct flag {
    const char *name;
    size_t offset; /* of the bool in struct config_flags */
    bool otherwise;
} flag_rows[] = {
    {"datetime_keys_as_string",
     offsetof(struct config_flags, types) + offsetof(struct rs_type_flags, datetime_keys_as_string),
     true},
    {"native_binary_column_type",
     offsetof(struct config_flags, types) +
         offsetof(struct rs_type_flags, native_binary_column_type),
     true},
    {"s3_use_dualstack_endpoints", offsetof(struct config_flags, s3_use_dualstack_endpoints),
     false},
    {"retain_existing_data_on_backfill",
     offsetof(struct config_flags, retain_existing_data_on_backfill), false},
    {"truncate_after_backfill", offsetof(struct config_flags, truncate_after_backfill), true},
    {"allow_existing_tables_for_new_bindings",
     offsetof(struct config_flags, allow_existing_tables_for_new_bindings), false},
    {"always_drop_tables_on_backfill",
     offsetof(struct config_flags, always_drop_tables_on_backfill), false},
};

static void set_flag(struct config_flags *flags, struct span item)
{
    bool value = true;

    if (span_starts_with(item, SPAN_LIT("no_"))) {
        item.ptr += strlen("no_");
        item.len -= strlen("no_");
        value = false;
    }
    for (size_t i = 0; i < ARRAY_LEN(flag_rows); i++) {
        if (span_is(item, flag_rows[i].name)) {
            memcpy((char *)flags + flag_rows[i].offset, &value, sizeof value);
        }
    }
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static struct span trim(struct span text)
{
    while (text.len > 0 && is_space(text.ptr[0])) {
        text.ptr++;
        text.len--;
    }
    while (text.len > 0 && is_space(text.ptr[text.len - 1])) {
        text.len--;
    }
    return text;
}

/* A comma-separated list; "no_" in front means false, the last word on a flag counts, names that
 * nobody knows are for other connectors. */
static void read_flags(const char *text, struct config_flags *flags)
{
    for (size_t i = 0; i < ARRAY_LEN(flag_rows); i++) {
        memcpy((char *)flags + flag_rows[i].offset, &flag_rows[i].otherwise, sizeof(bool));
    }
    while (text && *text) {
        size_t len = strcspn(text, ",");
        set_flag(flags, trim((struct span){text, len}));
        text += len + (text[len] == ',');
    }
}

static void read_advanced(struct json_doc *doc,
                          struct json_object *advanced,
                          struct arena *arena,
                          struct config *config)
{
    config->no_flow_document = advanced && json_get_bool(advanced, "no_flow_document");
    read_flags(advanced ? json_get_string(advanced, "feature_flags") : NULL, &config->flags);
    read_tls(doc, advanced, arena, config);
    read_staging(doc, advanced, arena, config);
    config->ssh_host_key = optional(advanced, arena, "ssh_host_key", "");
    config->metrics_address = optional(advanced, arena, "metrics_address", "");
}

/* ---------------------------------------------------------------- endpoint */

struct error *config_read(struct arena *arena,
                          struct span json,
                          const struct s3_environment *environment,
                          struct config **ret)
{
    struct json_doc *doc;

    RETURN_IF_ERROR(json_doc_read(json, "endpoint config", &doc));
    struct json_object *top = json_doc_object(doc);
    struct config *config = ARENA_NEW(arena, struct config);

    config->address = need(doc, top, arena, "address");
    config->user = need(doc, top, arena, "user");
    config->password = need_secret(doc, top, "password");
    config->database = keep(arena, json_get_string(top, "database"));
    config->schema = keep(arena, json_get_string(top, "schema"));
    config->bucket = need(doc, top, arena, "bucket");
    config->aws_access_key_id = keep(arena, json_get_string(top, "awsAccessKeyId"));
    const char *secret_key = json_get_string(top, "awsSecretAccessKey");
    config->aws_secret_access_key = is_set(secret_key) ? secret_new(span_of(secret_key)) : NULL;
    struct json_object *advanced = json_get_object(top, "advanced");
    read_key_source(doc, advanced, arena, environment, config);
    config->region = need(doc, top, arena, "region");
    config->hard_delete = json_get_bool(top, "hardDelete");
    read_schedule(doc, json_get_object(top, "syncSchedule"), arena, config);
    read_trigger(doc, json_get_object(top, "dbt_job_trigger"), arena, config);
    read_bucket_path(doc, arena, json_get_string(top, "bucketPath"), config);
    read_tunnel(json_get_object(top, "networkTunnel"), arena, config);
    read_advanced(doc, advanced, arena, config);
    split_address(arena, config);

    struct error *err = json_doc_check(doc);
    json_doc_free(doc);
    if (err) {
        config_done(config);
        return err;
    }
    *ret = config;
    return NULL;
}

void config_done(struct config *config)
{
    if (config) {
        secret_free(config->password);
        secret_free(config->aws_secret_access_key);
        secret_free(config->aws_session_token);
        secret_free(config->trigger_key);
        secret_free(config->ssh_private_key);
        config->password = NULL;
        config->aws_secret_access_key = NULL;
        config->aws_session_token = NULL;
        config->trigger_key = NULL;
        config->ssh_private_key = NULL;
    }
}

/* ---------------------------------------------------------------- resource */

struct error *resource_read(struct arena *arena,
                            struct span json,
                            const struct config *config,
                            struct resource *ret)
{
    struct json_doc *doc;

    RETURN_IF_ERROR(json_doc_read(json, "parsing resource config", &doc));
    struct json_object *top = json_doc_object(doc);
    const char *table = json_get_string(top, "table");
    const char *schema = json_get_string(top, "schema");
    struct resource resource = {
        .table = keep(arena, table),
        .schema = is_set(schema) ? arena_strdup(arena, schema) : config->schema,
        .delta_updates = json_get_bool(top, "delta_updates"),
    };

    if (!is_set(table)) {
        json_problem(doc, "missing 'table'");
    }
    struct error *err = json_doc_check(doc);
    json_doc_free(doc);
    if (err) {
        return err;
    }
    if (*resource.schema) {
        resource.path[resource.path_count++] = span_of(resource.schema);
    }
    resource.path[resource.path_count++] = span_of(resource.table);
    *ret = resource;
    return NULL;
}
