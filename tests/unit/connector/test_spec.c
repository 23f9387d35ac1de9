/* The answer to Spec, property by property and keyword by keyword, in their order. */

#include "connector/config.h"
#include "json/scan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* A schema is printed one line per object of it: where it is, then its keywords as they come, with
 * ' for ". Descriptions are free, so only their place counts. */
struct printout {
    struct buf lines[64];
    unsigned count;
};

static struct json_item next_member(struct json_reader *reader, struct span *ret_name, bool *have)
{
    struct json_item item = {0};
    struct error *err = json_member(reader, ret_name, &item, have);

    if (err) {
        fail_msg("%s", error_text(err));
    }
    return item;
}

static void enter(struct json_reader *reader, struct span object)
{
    json_reader_init(reader, object);
    assert_null(json_enter(reader, JSON_OBJECT));
}

static void print_schema(struct printout *out, const char *path, struct span schema);

static void print_properties(struct printout *out, const char *path, struct span properties)
{
    struct json_reader reader;
    struct span name;
    bool have;

    enter(&reader, properties);
    for (;;) {
        struct json_item item = next_member(&reader, &name, &have);
        if (!have) {
            return;
        }
        char inner[256];
        (void)snprintf(inner, sizeof inner, "%s/%.*s", path, SPAN_FMT(name));
        print_schema(out, inner, item.raw);
    }
}

static void print_schema(struct printout *out, const char *path, struct span schema)
{
    struct json_reader reader;
    struct span name, properties = SPAN_NONE;
    bool have;

    assert_true(out->count < ARRAY_LEN(out->lines));
    struct buf *line = &out->lines[out->count++];
    buf_init(line, 4096);
    buf_add_str(line, path);
    buf_add_str(line, ":");
    enter(&reader, schema);
    for (;;) {
        struct json_item item = next_member(&reader, &name, &have);
        if (!have) {
            break;
        }
        buf_printf(line, " %.*s", SPAN_FMT(name));
        if (span_is(name, "properties")) {
            properties = item.raw;
        } else if (span_is(name, "description")) {
            assert_true(item.raw.len > 10);
        } else {
            buf_printf(line, "=%.*s", SPAN_FMT(item.raw));
        }
    }
    for (size_t i = 0; i < line->len; i++) {
        line->data[i] = line->data[i] == '"' ? '\'' : line->data[i];
    }
    if (properties.ptr) {
        print_properties(out, path, properties);
    }
}

static void compare(struct span schema, const char *const *expected, size_t count)
{
    struct printout out = {.count = 0};
    struct json_reader reader;
    struct json_item item;
    unsigned wrong = 0;

    json_reader_init(&reader, schema);
    assert_null(json_next(&reader, &item));
    assert_null(json_end(&reader));
    print_schema(&out, "", schema);
    for (size_t i = 0; i < count || i < out.count; i++) {
        const char *want = i < count ? expected[i] : "nothing more";
        const char *have = i < out.count ? out.lines[i].data : "nothing more";
        if (strcmp(want, have) != 0) {
            print_error("want %s\nhave %s\n", want, have);
            wrong++;
        }
    }
    for (unsigned i = 0; i < out.count; i++) {
        buf_done(&out.lines[i]);
    }
    assert_int_equal(wrong, 0);
}

#define TEXT " type='string' title="
#define BOOLEAN " type='boolean' title="
#define TIME " pattern='^(0?[0-9]|1[0-9]|2[0-3]):[0-5][0-9]$'"
#define OBJECT " properties additionalProperties=false type='object'"

static const char *const config_lines[] = {
    ": $schema='https://json-schema.org/draft/2020-12/schema' "
    "$id='https://github.com/estuary/connectors/materialize-redshift/config' properties "
    "type='object' "
    "required=['address','user','password','bucket','awsAccessKeyId','awsSecretAccessKey',"
    "'region'] title='SQL Connection'",
    "/address:" TEXT "'Address' description order=0",
    "/user:" TEXT "'User' description order=1",
    "/password:" TEXT "'Password' description order=2 secret=true",
    "/database:" TEXT "'Database' description order=3",
    "/schema:" TEXT "'Database Schema' description default='public' order=4",
    "/bucket:" TEXT "'S3 Staging Bucket' description order=5",
    "/awsAccessKeyId:" TEXT "'Access Key ID' description order=6",
    "/awsSecretAccessKey:" TEXT "'Secret Access Key' description order=7 secret=true",
    "/region:" TEXT "'Region' description order=8",
    "/bucketPath:" TEXT "'Bucket Path' description order=9",
    "/hardDelete: type='boolean' title='Hard Delete' description default=false nonsensitive=true "
    "order=10",
    "/syncSchedule:" OBJECT " title='Sync Schedule' description",
    "/syncSchedule/syncFrequency: type='string' "
    "enum=['0s','30s','1m','2m30s','5m','15m','20m','30m','1h','2h','4h'] title='Sync Frequency' "
    "description "
    "nonsensitive=true order=0",
    "/syncSchedule/timezone:" TEXT "'Timezone' description nonsensitive=true order=1",
    "/syncSchedule/fastSyncStartTime:" TEXT "'Fast Sync Start Time' description nonsensitive=true "
    "order=2" TIME,
    "/syncSchedule/fastSyncStopTime:" TEXT "'Fast Sync Stop Time' description nonsensitive=true "
    "order=3" TIME,
    "/syncSchedule/fastSyncEnabledDays:" TEXT "'Fast Sync Enabled Days' description "
    "nonsensitive=true order=4",
    "/dbt_job_trigger:" OBJECT " required=['job_id','account_id','api_key'] title='dbt Cloud Job "
    "Trigger' description",
    "/dbt_job_trigger/job_id:" TEXT "'Job ID' description",
    "/dbt_job_trigger/account_id:" TEXT "'Account ID' description",
    "/dbt_job_trigger/access_url:" TEXT "'Access URL' description pattern='^https://.+$'",
    "/dbt_job_trigger/api_key:" TEXT "'API Key' description secret=true",
    "/dbt_job_trigger/cause:" TEXT "'Cause Message' description",
    "/dbt_job_trigger/mode: type='string' enum=['skip','replace','ignore'] title='Job Trigger "
    "Mode' description default='skip' nonsensitive=true",
    "/dbt_job_trigger/interval:" TEXT "'Minimum Run Interval' description default='30m' "
    "nonsensitive=true",
    "/networkTunnel:" OBJECT " title='Network Tunnel' description",
    "/networkTunnel/sshForwarding:" OBJECT " required=['sshEndpoint','privateKey'] title='SSH "
    "Forwarding'",
    "/networkTunnel/sshForwarding/sshEndpoint:" TEXT "'SSH Endpoint' description "
    "pattern='^ssh://.+@.+$'",
    "/networkTunnel/sshForwarding/privateKey:" TEXT "'SSH Private Key' description multiline=true "
    "secret=true",
    "/advanced:" OBJECT " title='Advanced Options' description advanced=true",
    "/advanced/no_flow_document: type='boolean' title='Exclude Flow Document' description "
    "default=false nonsensitive=true",
    "/advanced/feature_flags:" TEXT "'Feature Flags' description nonsensitive=true",
    "/advanced/tls_mode: type='string' enum=['require','verify-ca','verify-full'] title='TLS Mode' "
    "description nonsensitive=true",
    "/advanced/tls_root_certificate:" TEXT "'TLS Root Certificate' description multiline=true "
    "nonsensitive=true",
    "/advanced/ssh_host_key:" TEXT "'SSH Host Key Fingerprint' description nonsensitive=true",
    "/advanced/metrics_address:" TEXT "'Metrics Address' description nonsensitive=true",
    "/advanced/staging_compression: type='string' enum=['gzip','zstd'] title='Staging Compression' "
    "description default='gzip' nonsensitive=true",
    "/advanced/parallel_files: type='integer' title='Parallel Files' description maximum=1000 "
    "minimum=1 nonsensitive=true",
    "/advanced/s3_endpoint:" TEXT "'S3 Endpoint' description nonsensitive=true",
    "/advanced/s3_path_style:" BOOLEAN "'S3 Path Style' description default=false "
    "nonsensitive=true",
    "/advanced/aws_credentials: type='string' "
    "enum=['environment','web_identity','container','instance_metadata'] title='AWS Credentials' "
    "description nonsensitive=true",
    "/advanced/aws_session_token:" TEXT "'AWS Session Token' description secret=true",
    "/advanced/aws_role_arn:" TEXT "'AWS Role' description nonsensitive=true",
    "/advanced/aws_external_id:" TEXT "'AWS External ID' description",
    "/advanced/copy_iam_role:" TEXT "'IAM Role for COPY' description nonsensitive=true",
    "/advanced/kms_key_id:" TEXT "'KMS Key' description nonsensitive=true",
};

static const char *const resource_lines[] = {
    ": $schema='https://json-schema.org/draft/2020-12/schema' "
    "$id='https://github.com/estuary/connectors/materialize-redshift/table-config' properties "
    "type='object' required=['table'] title='SQL Table'",
    "/table:" TEXT "'Table' description x-collection-name=true",
    "/schema:" TEXT "'Alternative Schema' description x-schema-name=true",
    "/delta_updates:" BOOLEAN "'Delta Update' description default=false nonsensitive=true "
    "x-delta-updates=true",
};

static void the_endpoint_schema_has_each_property_in_order(void **state)
{
    (void)state;
    compare(spec_config_schema(), config_lines, ARRAY_LEN(config_lines));
}

static void the_resource_schema_has_each_property_in_order(void **state)
{
    (void)state;
    compare(spec_resource_schema(), resource_lines, ARRAY_LEN(resource_lines));
}

static unsigned count(struct span text, const char *part)
{
    unsigned found = 0;
    size_t len = strlen(part);

    for (size_t i = 0; i + len <= text.len; i++) {
        found += memcmp(text.ptr + i, part, len) == 0;
    }
    return found;
}

/* C29 */
static void secrets_and_closed_objects_are_as_many_as_they_should_be(void **state)
{
    (void)state;
    assert_int_equal(count(spec_config_schema(), "\"secret\":true"), 5);
    assert_int_equal(count(spec_config_schema(), "\"additionalProperties\":false"), 5);
    assert_int_equal(count(spec_config_schema(), "\"additionalProperties\""), 5);
    assert_string_equal(spec_documentation_url(), "https://go.estuary.dev/materialize-redshift");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_endpoint_schema_has_each_property_in_order),
        cmocka_unit_test(the_resource_schema_has_each_property_in_order),
        cmocka_unit_test(secrets_and_closed_objects_are_as_many_as_they_should_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
