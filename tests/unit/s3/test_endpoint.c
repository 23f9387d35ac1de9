/* Where a bucket is: every way to say it, and every way to say it wrongly. */

#include "s3/endpoint.h"

#include "base/span.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct good_row {
    const char *sentence;
    struct s3_endpoint_options options;
    const char *host, *url, *path;
    bool is_plain;
};

static const struct good_row good_rows[] = {
    {"AWS: the bucket is part of the host's name",
     {.bucket = "docs", .region = "us-east-1"},
     "docs.s3.us-east-1.amazonaws.com",
     "https://docs.s3.us-east-1.amazonaws.com",
     "",
     false},
    {"AWS: dual stack",
     {.bucket = "docs", .region = "eu-west-1", .dualstack = true},
     "docs.s3.dualstack.eu-west-1.amazonaws.com",
     "https://docs.s3.dualstack.eu-west-1.amazonaws.com",
     "",
     false},
    {"AWS: China has its own domain",
     {.bucket = "docs", .region = "cn-north-1"},
     "docs.s3.cn-north-1.amazonaws.com.cn",
     "https://docs.s3.cn-north-1.amazonaws.com.cn",
     "",
     false},
    {"AWS: dots in the name do not fit the certificate, so path style",
     {.bucket = "my.docs", .region = "us-east-1"},
     "s3.us-east-1.amazonaws.com",
     "https://s3.us-east-1.amazonaws.com/my.docs",
     "/my.docs",
     false},
    {"path style forced",
     {.bucket = "docs", .region = "us-east-1", .path_style = true},
     "s3.us-east-1.amazonaws.com",
     "https://s3.us-east-1.amazonaws.com/docs",
     "/docs",
     false},
    {"an empty endpoint is none",
     {.bucket = "docs", .region = "us-east-1", .endpoint = ""},
     "docs.s3.us-east-1.amazonaws.com",
     "https://docs.s3.us-east-1.amazonaws.com",
     "",
     false},
    {"a custom endpoint means path style",
     {.bucket = "docs", .region = "us-east-1", .endpoint = "https://minio.example.com:9000/"},
     "minio.example.com:9000",
     "https://minio.example.com:9000/docs",
     "/docs",
     false},
    {"the scheme's own port is not sent, case does not matter",
     {.bucket = "docs", .region = "us-east-1", .endpoint = "HTTPS://S3.Example.COM:443"},
     "s3.example.com",
     "https://s3.example.com/docs",
     "/docs",
     false},
    {"plain http to 127.0.0.1",
     {.bucket = "docs", .region = "us-east-1", .endpoint = "http://127.0.0.1:8080"},
     "127.0.0.1:8080",
     "http://127.0.0.1:8080/docs",
     "/docs",
     true},
    {"plain http to any loopback address",
     {.bucket = "docs", .region = "us-east-1", .endpoint = "http://127.9.8.7:80"},
     "127.9.8.7",
     "http://127.9.8.7/docs",
     "/docs",
     true},
    {"plain http to localhost",
     {.bucket = "docs", .region = "us-east-1", .endpoint = "http://LocalHost:1"},
     "localhost:1",
     "http://localhost:1/docs",
     "/docs",
     true},
    {"plain http to the IPv6 loopback",
     {.bucket = "docs", .region = "us-east-1", .endpoint = "http://[::1]:9000"},
     "[::1]:9000",
     "http://[::1]:9000/docs",
     "/docs",
     true},
    {"https to another IPv6 address",
     {.bucket = "docs", .region = "us-east-1", .endpoint = "https://[2001:DB8::1]"},
     "[2001:db8::1]",
     "https://[2001:db8::1]/docs",
     "/docs",
     false},
};

static void good_endpoints_are_put_together(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good_rows); i++) {
        const struct good_row *row = &good_rows[i];
        struct arena *arena = arena_new(65536);
        struct s3_endpoint got;
        struct error *err = s3_endpoint_make(arena, &row->options, &got);

        if (err) {
            fail_msg("%s: %s", row->sentence, error_text(err));
        }
        if (strcmp(got.host_header, row->host) != 0 || strcmp(got.base_url, row->url) != 0 ||
            strcmp(got.base_path, row->path) != 0 || got.is_plain != row->is_plain ||
            strcmp(got.scheme, row->is_plain ? "http" : "https") != 0 ||
            strcmp(got.bucket, row->options.bucket) != 0 ||
            strcmp(got.region, row->options.region) != 0) {
            fail_msg("%s: %s %s %s", row->sentence, got.host_header, got.base_url, got.base_path);
        }
        arena_free(arena);
    }
}

struct bad_row {
    const char *sentence;
    const char *property;
    const char *bucket, *region, *endpoint;
};

#define LONG_NAME "a234567890123456789012345678901234567890123456789012345678901234"

static const struct bad_row bad_rows[] = {
    {"no bucket", "bucket", NULL, "us-east-1", NULL},
    {"a bucket's name of two characters", "bucket", "ab", "us-east-1", NULL},
    {"a bucket's name of 64 characters", "bucket", LONG_NAME, "us-east-1", NULL},
    {"a bucket with capitals", "bucket", "Docs", "us-east-1", NULL},
    {"a bucket with a slash", "bucket", "docs/a", "us-east-1", NULL},
    {"a bucket that ends with a hyphen", "bucket", "docs-", "us-east-1", NULL},
    {"a bucket with two dots", "bucket", "do..cs", "us-east-1", NULL},
    {"a bucket that is an IP address", "bucket", "10.0.0.1", "us-east-1", NULL},
    {"no region", "region", "docs", NULL, NULL},
    {"a region with a dot, which would be another host", "region", "docs", "us.evil", NULL},
    {"no scheme", "endpoint", "docs", "us-east-1", "s3.example.com"},
    {"another scheme", "endpoint", "docs", "us-east-1", "ftp://s3.example.com"},
    {"no host", "endpoint", "docs", "us-east-1", "https://"},
    {"only a port", "endpoint", "docs", "us-east-1", "https://:9000"},
    {"a port that is none", "endpoint", "docs", "us-east-1", "https://h:port"},
    {"port 0", "endpoint", "docs", "us-east-1", "https://h:0"},
    {"a port above 65535", "endpoint", "docs", "us-east-1", "https://h:65536"},
    {"an empty port", "endpoint", "docs", "us-east-1", "https://h:"},
    {"two ports", "endpoint", "docs", "us-east-1", "https://h:1:2"},
    {"a path", "endpoint", "docs", "us-east-1", "https://h/docs"},
    {"a query", "endpoint", "docs", "us-east-1", "https://h?a=b"},
    {"a fragment", "endpoint", "docs", "us-east-1", "https://h#a"},
    {"a blank in the host", "endpoint", "docs", "us-east-1", "https://a b"},
    {"an IPv6 address that is none", "endpoint", "docs", "us-east-1", "https://[::g]"},
    {"an IPv6 address without its end", "endpoint", "docs", "us-east-1", "https://[::1"},
    {"plain http to another machine", "endpoint", "docs", "us-east-1", "http://s3.example.com"},
    {"plain http to a name that begins like loopback", "endpoint", "docs", "us-east-1",
     "http://127.0.0.1.example.com"},
    {"plain http to localhost's namesake", "endpoint", "docs", "us-east-1",
     "http://localhost.example.com"},
    {"a user and a password", "endpoint", "docs", "us-east-1", "https://me:hunter2@h"},
};

static void bad_endpoints_are_refused_by_the_name_of_their_property(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad_rows); i++) {
        const struct bad_row *row = &bad_rows[i];
        const struct s3_endpoint_options options = {
            .bucket = row->bucket, .region = row->region, .endpoint = row->endpoint};
        struct arena *arena = arena_new(65536);
        struct s3_endpoint got;
        struct error *err = s3_endpoint_make(arena, &options, &got);

        if (!err) {
            fail_msg("%s: accepted", row->sentence);
        }
        if (error_class_of(err) != ERROR_CONFIG ||
            strncmp(error_text(err), row->property, strlen(row->property)) != 0 ||
            strstr(error_text(err), "hunter2")) {
            fail_msg("%s: %s", row->sentence, error_text(err));
        }
        error_free(err);
        arena_free(arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_endpoints_are_put_together),
        cmocka_unit_test(bad_endpoints_are_refused_by_the_name_of_their_property),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
