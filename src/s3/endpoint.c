/*
 * Room s3: where a bucket is. Configuration comes in, the four texts that requests are made of go
 * out, or a sentence for a person that names the property. Pure.
 *
 * Virtual-host style (bucket.s3.region.amazonaws.com) is what AWS recommends. A bucket name with
 * dots does not match the wildcard in AWS's certificate, and other servers rarely have a name for
 * each bucket: both get path style (host/bucket). Facts: Amazon S3 User Guide, "Virtual hosting of
 * general purpose buckets", "Bucket naming rules".
 */

#include "s3/endpoint.h"

#include "host.h"

#include "base/buf.h"
#include "base/span.h"
#include "base/text.h"

#include <arpa/inet.h>

#define MAX_HOST 253

static struct error *refuse(const char *property, const char *why) MUST_CHECK;
static struct error *refuse(const char *property, const char *why)
{
    return error_new(ERROR_INPUT, ERROR_CONFIG, "%s: %s", property, why);
}

/* ---------------------------------------------------------------- bucket and region */

static bool is_lower_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static struct error *check_bucket(const char *bucket)
{
    size_t len = bucket ? strlen(bucket) : 0;
    struct in_addr address;

    if (len < 3 || len > 63) {
        return refuse("bucket", "a name has 3 to 63 characters");
    }
    for (size_t i = 0; i < len; i++) {
        if (!is_lower_or_digit(bucket[i]) && bucket[i] != '-' && bucket[i] != '.') {
            return refuse("bucket", "a name has only lower-case letters, digits, dots and hyphens");
        }
    }
    if (!is_lower_or_digit(bucket[0]) || !is_lower_or_digit(bucket[len - 1])) {
        return refuse("bucket", "a name begins and ends with a letter or a digit");
    }
    if (strstr(bucket, "..") || inet_pton(AF_INET, bucket, &address) == 1) {
        return refuse("bucket", "a name has no two dots in a row and is no IP address");
    }
    return NULL;
}

static struct error *check_region(const char *region)
{
    size_t len = region ? strlen(region) : 0;

    if (len == 0 || len > 63) {
        return refuse("region", "give the bucket's AWS region, for example us-east-1");
    }
    for (size_t i = 0; i < len; i++) {
        if (!is_lower_or_digit(region[i]) && region[i] != '-') {
            return refuse("region", "a region has only lower-case letters, digits and hyphens");
        }
    }
    return NULL;
}

/* ---------------------------------------------------------------- a custom endpoint */

struct address {
    bool is_plain;
    struct span host; /* with brackets when it is IPv6 */
    struct span port; /* empty: the scheme's own */
};

static bool is_host(struct span host)
{
    char text[64];
    struct in6_addr v6;

    if (host.len == 0 || host.len > MAX_HOST) {
        return false;
    }
    if (host.ptr[0] == '[') {
        if (host.len < 4 || host.len - 2 >= sizeof(text)) {
            return false;
        }
        memcpy(text, host.ptr + 1, host.len - 2);
        text[host.len - 2] = '\0';
        return inet_pton(AF_INET6, text, &v6) == 1;
    }
    for (size_t i = 0; i < host.len; i++) {
        char c = host.ptr[i];

        if (!is_lower_or_digit(c) && !(c >= 'A' && c <= 'Z') && c != '-' && c != '.') {
            return false;
        }
    }
    return true;
}

static bool is_loopback(struct span host)
{
    char text[INET_ADDRSTRLEN];
    struct in_addr v4;

    if (text_equal_folded(host, SPAN_LIT("localhost")) || span_is(host, "[::1]")) {
        return true;
    }
    if (host.len >= sizeof(text)) {
        return false;
    }
    memcpy(text, host.ptr, host.len);
    text[host.len] = '\0';
    return inet_pton(AF_INET, text, &v4) == 1 && (ntohl(v4.s_addr) >> 24) == 127;
}

static bool take_prefix(struct span *text, const char *prefix)
{
    size_t len = strlen(prefix);

    if (text->len < len ||
        !text_equal_folded((struct span){text->ptr, len}, (struct span){prefix, len})) {
        return false;
    }
    text->ptr += len;
    text->len -= len;
    return true;
}

/* Cuts host and port out of "host[:port]". */
static bool split_host(struct span text, struct address *ret)
{
    const char *bracket =
        text.len > 0 && text.ptr[0] == '[' ? memchr(text.ptr, ']', text.len) : NULL;
    size_t from = bracket ? (size_t)(bracket - text.ptr) : 0;
    const char *colon = text.len > 0 ? memchr(text.ptr + from, ':', text.len - from) : NULL;
    uint64_t port = 0;

    ret->port = SPAN_NONE;
    ret->host = text;
    if (colon) {
        ret->host.len = (size_t)(colon - text.ptr);
        ret->port = (struct span){colon + 1, text.len - ret->host.len - 1};
        if (ret->port.len > 5 || !text_to_uint64(ret->port, &port) || port == 0 || port > 65535) {
            return false;
        }
    }
    return is_host(ret->host);
}

/* What is wrong with it, or NULL. */
static const char *read_endpoint(const char *endpoint, struct address *ret)
{
    struct span rest = span_of(endpoint);

    if (strpbrk(endpoint, "@")) { /* not quoted here: it may hold a password */
        return "user names and passwords do not belong into the address";
    }
    if (strpbrk(endpoint, "?#")) {
        return "an address has no query and no fragment";
    }
    if (take_prefix(&rest, "https://")) {
        ret->is_plain = false;
    } else if (take_prefix(&rest, "http://")) {
        ret->is_plain = true;
    } else {
        return "an address begins with https:// (or http:// for loopback)";
    }
    if (rest.len > 0 && rest.ptr[rest.len - 1] == '/') {
        rest.len--;
    }
    if (rest.len > 0 && memchr(rest.ptr, '/', rest.len)) {
        return "an address has no path; the bucket has a property of its own";
    }
    if (!split_host(rest, ret)) {
        return "this is not an address of the form https://host:port";
    }
    if (ret->is_plain && !is_loopback(ret->host)) {
        return "plain http is only for a loopback address; use https";
    }
    return NULL;
}

const char *s3_endpoint_problem(const char *endpoint)
{
    struct address address = {0};
    return read_endpoint(endpoint, &address);
}

/* ---------------------------------------------------------------- put together */

static bool must_use_path(const struct s3_endpoint_options *options)
{
    return options->path_style || strchr(options->bucket, '.') ||
           (options->endpoint && options->endpoint[0] != '\0');
}

static const char *lower(struct arena *arena, struct span text)
{
    char *copy = arena_strndup(arena, text);

    for (char *c = copy; *c; c++) {
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c - 'A' + 'a') : *c;
    }
    return copy;
}

struct error *s3_endpoint_host(struct arena *arena,
                               const char *endpoint,
                               bool *ret_is_plain,
                               const char **ret_host)
{
    struct address address = {0};
    const char *host, *why;

    why = read_endpoint(endpoint, &address);
    if (why) {
        return refuse("endpoint", why);
    }
    host = lower(arena, address.host);
    *ret_is_plain = address.is_plain;
    if (address.port.len == 0 || span_is(address.port, address.is_plain ? "80" : "443")) {
        *ret_host = host;
    } else {
        *ret_host = arena_printf(arena, "%s:%.*s", host, SPAN_FMT(address.port));
    }
    return NULL;
}

static const char *aws_host(struct arena *arena, const struct s3_endpoint_options *options)
{
    bool is_china = strncmp(options->region, "cn-", 3) == 0;

    return arena_printf(arena, "s3%s.%s.amazonaws.com%s", options->dualstack ? ".dualstack" : "",
                        options->region, is_china ? ".cn" : "");
}

struct error *s3_endpoint_make(struct arena *arena,
                               const struct s3_endpoint_options *options,
                               struct s3_endpoint *ret)
{
    bool is_plain = false;
    const char *host = NULL;

    RETURN_IF_ERROR(check_bucket(options->bucket));
    RETURN_IF_ERROR(check_region(options->region));
    if (options->endpoint && options->endpoint[0] != '\0') {
        RETURN_IF_ERROR(s3_endpoint_host(arena, options->endpoint, &is_plain, &host));
    } else {
        host = aws_host(arena, options);
    }
    ret->bucket = arena_strdup(arena, options->bucket);
    ret->region = arena_strdup(arena, options->region);
    ret->is_plain = is_plain;
    ret->scheme = is_plain ? "http" : "https";
    if (must_use_path(options)) {
        ret->host_header = host;
        ret->base_path = arena_printf(arena, "/%s", options->bucket);
    } else {
        ret->host_header = arena_printf(arena, "%s.%s", options->bucket, host);
        ret->base_path = "";
    }
    ret->base_url = arena_printf(arena, "%s://%s%s", ret->scheme, ret->host_header, ret->base_path);
    return NULL;
}
