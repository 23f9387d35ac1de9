/*
 * connector/config: what a person wrote, read strictly. In: the JSON of the endpoint and of one
 * binding's resource. Out: plain values, secrets apart, or one error that lists every problem. It
 * connects to nothing and knows no schema texts; those are in spec.c, in the same order.
 */

#include "connector/config.h"

#include "base/text.h"
#include "json/read.h"

/* libpq's own default; Redshift's 5439 is not assumed, as addresses without a port always meant
 * this one. */
#define DEFAULT_PORT "5432"

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

static bool read_schedule(struct json_object *schedule)
{
    static const char *const names[] = {"syncFrequency", "timezone", "fastSyncStartTime",
                                        "fastSyncStopTime", "fastSyncEnabledDays"};
    bool any = false;

    for (size_t i = 0; schedule && i < ARRAY_LEN(names); i++) {
        any |= is_set(json_get_string(schedule, names[i]));
    }
    return any;
}

/* An incomplete trigger is none: the original ignores it silently, so tasks may have one.
 * account_prefix is its older name for the host and is not in the schema. */
static bool read_trigger(struct json_object *trigger)
{
    if (!trigger) {
        return false;
    }
    bool has_job = is_set(json_get_string(trigger, "job_id"));
    bool has_account = is_set(json_get_string(trigger, "account_id"));
    bool has_key = is_set(json_get_string(trigger, "api_key"));
    bool has_url = is_set(json_get_string(trigger, "access_url"));
    bool has_prefix = is_set(json_get_string(trigger, "account_prefix"));
    (void)json_get_string(trigger, "cause");
    (void)json_get_string(trigger, "mode");
    (void)json_get_string(trigger, "interval");
    return has_job && has_account && has_key && (has_url || has_prefix);
}

static bool read_tunnel(struct json_doc *doc, struct json_object *tunnel)
{
    struct json_object *ssh = tunnel ? json_get_object(tunnel, "sshForwarding") : NULL;

    if (!ssh) {
        return false;
    }
    bool has_endpoint = is_set(json_get_string(ssh, "sshEndpoint"));
    (void)json_get_string(ssh, "privateKey");
    if (has_endpoint) {
        json_problem(doc, "starting network tunnel: 'networkTunnel.sshForwarding' is not supported "
                          "by this version of the connector");
    }
    return has_endpoint;
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

static void read_advanced(struct json_doc *doc, struct json_object *advanced, struct config *config)
{
    config->no_flow_document = advanced && json_get_bool(advanced, "no_flow_document");
    if (config->no_flow_document) {
        json_problem(doc, "'advanced.no_flow_document' is not supported by this version of the "
                          "connector");
    }
    read_flags(advanced ? json_get_string(advanced, "feature_flags") : NULL, &config->flags);
}

/* ---------------------------------------------------------------- endpoint */

struct error *config_read(struct arena *arena, struct span json, struct config **ret)
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
    config->aws_access_key_id = need(doc, top, arena, "awsAccessKeyId");
    config->aws_secret_access_key = need_secret(doc, top, "awsSecretAccessKey");
    config->region = need(doc, top, arena, "region");
    config->hard_delete = json_get_bool(top, "hardDelete");
    config->has_schedule = read_schedule(json_get_object(top, "syncSchedule"));
    config->has_trigger = read_trigger(json_get_object(top, "dbt_job_trigger"));
    read_bucket_path(doc, arena, json_get_string(top, "bucketPath"), config);
    config->has_tunnel = read_tunnel(doc, json_get_object(top, "networkTunnel"));
    read_advanced(doc, json_get_object(top, "advanced"), config);
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
        config->password = NULL;
        config->aws_secret_access_key = NULL;
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
