/*
 * Room s3, pure: sources of keys. Options and environment come in, a description of one source goes
 * out; or a service's answer comes in, and keys or an error for a person go out. It asks nobody:
 * credential.c does.
 *
 * The order among sources, the variables and which addresses may be plain http are those of AWS'
 * SDKs (SDKs and Tools Reference Guide). Which source counts is decided by what is set, and by
 * nothing else: a source that fails is never replaced by the next, so that a task does not change
 * its identity because a service was down.
 */

#include "source.h"

#include "base/text.h"
#include "host.h"
#include "reply.h"
#include "json/read.h"

#include <arpa/inet.h>
#include <stdio.h>

#define CONTAINER_HOST "http://169.254.170.2"
#define INSTANCE_HOST_V4 "http://169.254.169.254"
#define INSTANCE_HOST_V6 "http://[fd00:ec2::254]"
#define SESSION_NAME "materialize-redshift"
#define MAX_URL 2048
#define MAX_CODE 80
#define MAX_MESSAGE 300

/* A role that is assumed with keys of a role lives an hour at most (IAM User Guide, "Role
 * chaining"), and an hour is what every role grants. */
#define ROLE_SECONDS 3600

/* ---------------------------------------------------------------- the environment */

static const char *get(const struct s3_environment *environment, const char *name)
{
    const char *value = environment->get ? environment->get(environment->ctx, name) : NULL;

    return value ? value : "";
}

static bool is_set(const struct s3_environment *environment, const char *name)
{
    return *get(environment, name) != '\0';
}

static bool has_source(const struct s3_environment *env, enum s3_key_source source)
{
    switch (source) {
    case S3_KEYS_ENVIRONMENT:
        return is_set(env, "AWS_ACCESS_KEY_ID") || is_set(env, "AWS_SECRET_ACCESS_KEY");
    case S3_KEYS_WEB_IDENTITY:
        return is_set(env, "AWS_WEB_IDENTITY_TOKEN_FILE");
    case S3_KEYS_CONTAINER:
        return is_set(env, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") ||
               is_set(env, "AWS_CONTAINER_CREDENTIALS_FULL_URI");
    case S3_KEYS_INSTANCE:
        return is_set(env, "AWS_EC2_METADATA_SERVICE_ENDPOINT");
    case S3_KEYS_CONFIG:
    case S3_KEYS_ANY:
        break;
    }
    return false;
}

static enum s3_key_source find_source(const struct s3_environment *env)
{
    for (enum s3_key_source source = S3_KEYS_ENVIRONMENT; source <= S3_KEYS_INSTANCE; source++) {
        if (has_source(env, source)) {
            return source;
        }
    }
    return S3_KEYS_ANY;
}

bool s3_environment_has_keys(const struct s3_environment *environment)
{
    return find_source(environment) != S3_KEYS_ANY;
}

bool s3_key_source_from_name(const char *name, enum s3_key_source *ret)
{
    static const struct {
        const char *name;
        enum s3_key_source source;
    } rows[] = {
        {"environment", S3_KEYS_ENVIRONMENT},
        {"web_identity", S3_KEYS_WEB_IDENTITY},
        {"container", S3_KEYS_CONTAINER},
        {"instance_metadata", S3_KEYS_INSTANCE},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (strcmp(name, rows[i].name) == 0) {
            *ret = rows[i].source;
            return true;
        }
    }
    return false;
}

/* ---------------------------------------------------------------- what is wrong with it */

static struct error *refuse(const char *name, const char *why) MUST_CHECK;
static struct error *refuse(const char *name, const char *why)
{
    return error_new(ERROR_INPUT, ERROR_CONFIG, "%s: %s", name, why);
}

bool s3_is_key_text(struct span text, size_t max_bytes)
{
    if (text.len == 0 || text.len > max_bytes) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];

        if (c <= ' ' || c >= 0x7f || c == ';' || c == '\'' || c == '"' || c == '\\') {
            return false;
        }
    }
    return true;
}

static bool is_one_of(const char *host, const char *const *hosts)
{
    struct in_addr v4;

    if (strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0 ||
        (inet_pton(AF_INET, host, &v4) == 1 && (ntohl(v4.s_addr) >> 24) == 127)) {
        return true;
    }
    for (; *hosts; hosts++) {
        if (strcmp(host, *hosts) == 0) {
            return true;
        }
    }
    return false;
}

/* https to anybody; plain http to this machine and to these hosts, where keys do not leave it. A
 * name that is not an address is not looked up: only localhost is taken for what it says. */
static struct error *
check_url(const char *variable, const char *url, const char *const *plain_hosts)
{
    bool is_plain = strncmp(url, "http://", 7) == 0;
    const char *host = url + (is_plain ? 7 : 8);
    char text[64];
    size_t len;

    if (strlen(url) > MAX_URL || !s3_is_key_text(span_of(url), MAX_URL)) {
        return refuse(variable, "this is no URL");
    }
    if (!is_plain && strncmp(url, "https://", 8) != 0) {
        return refuse(variable, "an address begins with https:// or http://");
    }
    if (strpbrk(url, "@#")) {
        return refuse(variable, "an address has no user name and no fragment");
    }
    len = *host == '[' ? strcspn(host, "]/") + 1 : strcspn(host, ":/?");
    if (len == 0 || strlen(host) < len) {
        return refuse(variable, "this is no URL");
    }
    if (!is_plain) {
        return NULL;
    }
    if (len < sizeof(text)) {
        memcpy(text, host, len);
        text[len] = '\0';
        if (strchr(":/?", host[len]) && is_one_of(text, plain_hosts)) { /* its end counts, too */
            return NULL;
        }
    }
    return refuse(variable, "plain http is only for a loopback address and for the addresses that "
                            "AWS gives this service; use https");
}

/* ---------------------------------------------------------------- single sources */

static struct error *make_config(struct arena *arena,
                                 const struct s3_credential_options *options,
                                 struct s3_source *source)
{
    struct span secret = secret_view(options->secret_access_key);
    struct span token = secret_view(options->session_token);

    source->name = "the configuration";
    if (!s3_is_key_text(span_of(options->access_key_id), S3_MAX_KEY_ID) ||
        !s3_is_key_text(secret, 1024) || (token.len > 0 && !s3_is_key_text(token, 16384))) {
        return error_new(ERROR_INPUT, ERROR_CONFIG,
                         "the access key or the session token has characters that none has");
    }
    source->access_key_id = arena_strdup(arena, options->access_key_id);
    source->secret_access_key = secret_copy(options->secret_access_key);
    source->session_token = token.len > 0 ? secret_copy(options->session_token) : NULL;
    return NULL;
}

static struct error *
make_environment(struct arena *arena, const struct s3_environment *env, struct s3_source *source)
{
    struct span secret;
    struct span token;

    source->name = "the environment";
    if (!is_set(env, "AWS_ACCESS_KEY_ID")) {
        return refuse("AWS_ACCESS_KEY_ID", "is not set in the environment");
    }
    if (!is_set(env, "AWS_SECRET_ACCESS_KEY")) {
        return refuse("AWS_SECRET_ACCESS_KEY", "is not set in the environment");
    }
    source->access_key_id = arena_strdup(arena, get(env, "AWS_ACCESS_KEY_ID"));
    if (!s3_is_key_text(span_of(source->access_key_id), S3_MAX_KEY_ID)) {
        return refuse("AWS_ACCESS_KEY_ID", "has characters that no key has");
    }
    secret = span_of(get(env, "AWS_SECRET_ACCESS_KEY"));
    if (!s3_is_key_text(secret, 1024)) {
        return refuse("AWS_SECRET_ACCESS_KEY", "has characters that no key has");
    }
    source->secret_access_key = secret_new(secret);
    token = span_of(get(env, "AWS_SESSION_TOKEN"));
    if (token.len > 0 && !s3_is_key_text(token, 16384)) {
        return refuse("AWS_SESSION_TOKEN", "has characters that no token has");
    }
    source->session_token = token.len > 0 ? secret_new(token) : NULL;
    return NULL;
}

/* AWS STS API Reference, "AssumeRole", RoleSessionName: [\w+=,.@-]{2,64} */
static bool is_session_name(const char *name)
{
    size_t len = strlen(name);

    return len >= 2 && len <= 64 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+=,.@-") ==
               len;
}

static struct error *
make_web_identity(struct arena *arena, const struct s3_environment *env, struct s3_source *source)
{
    source->name = "web identity (AWS_WEB_IDENTITY_TOKEN_FILE)";
    if (!is_set(env, "AWS_WEB_IDENTITY_TOKEN_FILE")) {
        return refuse("AWS_WEB_IDENTITY_TOKEN_FILE", "is not set in the environment");
    }
    if (!is_set(env, "AWS_ROLE_ARN")) {
        return refuse("AWS_ROLE_ARN", "is not set in the environment, and a web identity needs it");
    }
    source->token_file = arena_strdup(arena, get(env, "AWS_WEB_IDENTITY_TOKEN_FILE"));
    source->web_role_arn = arena_strdup(arena, get(env, "AWS_ROLE_ARN"));
    source->web_session_name = is_set(env, "AWS_ROLE_SESSION_NAME")
                                   ? arena_strdup(arena, get(env, "AWS_ROLE_SESSION_NAME"))
                                   : SESSION_NAME;
    return is_session_name(source->web_session_name)
               ? NULL
               : refuse("AWS_ROLE_SESSION_NAME",
                        "2 to 64 letters, digits and characters among _+=,.@- make a name");
}

/* The relative address comes first, the file before the token itself: the order of the SDKs. */
static struct error *
make_container(struct arena *arena, const struct s3_environment *env, struct s3_source *source)
{
    static const char *const hosts[] = {"169.254.170.2", "169.254.170.23", "[fd00:ec2::23]", NULL};
    const char *path = get(env, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    const char *token;

    source->name = "the container's credentials endpoint";
    if (*path) {
        source->url = arena_printf(arena, "%s%s", CONTAINER_HOST, path);
        if (*path != '/') {
            return refuse("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "a path begins with /");
        }
        RETURN_IF_ERROR(check_url("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", source->url, hosts));
    } else if (is_set(env, "AWS_CONTAINER_CREDENTIALS_FULL_URI")) {
        source->url = arena_strdup(arena, get(env, "AWS_CONTAINER_CREDENTIALS_FULL_URI"));
        RETURN_IF_ERROR(check_url("AWS_CONTAINER_CREDENTIALS_FULL_URI", source->url, hosts));
    } else {
        return refuse("AWS_CONTAINER_CREDENTIALS_FULL_URI",
                      "neither this nor AWS_CONTAINER_CREDENTIALS_RELATIVE_URI is set");
    }
    source->token_file = arena_strdup(arena, get(env, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"));
    token = get(env, "AWS_CONTAINER_AUTHORIZATION_TOKEN");
    if (*source->token_file || !*token) {
        return NULL;
    }
    source->authorization = s3_read_token(span_of(token), S3_MAX_IDENTITY_TOKEN);
    return source->authorization
               ? NULL
               : refuse("AWS_CONTAINER_AUTHORIZATION_TOKEN", "this is not one line of text");
}

static struct error *
make_instance(struct arena *arena, const struct s3_environment *env, struct s3_source *source)
{
    static const char *const hosts[] = {"169.254.169.254", "[fd00:ec2::254]", NULL};
    const char *url = get(env, "AWS_EC2_METADATA_SERVICE_ENDPOINT");
    const char *mode = get(env, "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE");
    size_t len;

    source->name = "the instance's metadata service";
    if (text_equal_folded(span_of(get(env, "AWS_EC2_METADATA_DISABLED")), SPAN_LIT("true"))) {
        return refuse("AWS_EC2_METADATA_DISABLED",
                      "the instance's metadata service must not be asked while this is true");
    }
    if (!*url) {
        bool is_v6 = text_equal_folded(span_of(mode), SPAN_LIT("IPv6"));

        if (*mode && !is_v6 && !text_equal_folded(span_of(mode), SPAN_LIT("IPv4"))) {
            return refuse("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "is neither IPv4 nor IPv6");
        }
        url = is_v6 ? INSTANCE_HOST_V6 : INSTANCE_HOST_V4;
    }
    RETURN_IF_ERROR(check_url("AWS_EC2_METADATA_SERVICE_ENDPOINT", url, hosts));
    len = strlen(url);
    while (url[len - 1] == '/') {
        len--;
    }
    source->url = arena_strndup(arena, (struct span){url, len});
    return NULL;
}

/* ---------------------------------------------------------------- STS */

static struct error *
make_sts(struct arena *arena, const struct s3_environment *env, struct s3_source *source)
{
    const char *variable =
        is_set(env, "AWS_ENDPOINT_URL_STS") ? "AWS_ENDPOINT_URL_STS" : "AWS_ENDPOINT_URL";
    bool is_plain = false;

    if (is_set(env, variable)) {
        RETURN_IF_ERROR(
            error_wrap(s3_endpoint_host(arena, get(env, variable), &is_plain, &source->sts_host),
                       "%s", variable));
    } else {
        source->sts_host = arena_printf(arena, "sts.%s.amazonaws.com%s", source->region,
                                        strncmp(source->region, "cn-", 3) == 0 ? ".cn" : "");
    }
    source->sts_url =
        arena_printf(arena, "%s://%s/", is_plain ? "http" : "https", source->sts_host);
    return NULL;
}

static struct error *make_kind(struct arena *arena,
                               const struct s3_credential_options *options,
                               struct s3_source *source)
{
    switch (source->kind) {
    case S3_KEYS_CONFIG:
        return make_config(arena, options, source);
    case S3_KEYS_ENVIRONMENT:
        return make_environment(arena, &options->environment, source);
    case S3_KEYS_WEB_IDENTITY:
        return make_web_identity(arena, &options->environment, source);
    case S3_KEYS_CONTAINER:
        return make_container(arena, &options->environment, source);
    case S3_KEYS_INSTANCE:
        return make_instance(arena, &options->environment, source);
    case S3_KEYS_ANY:
        break;
    }
    return error_new(ERROR_INPUT, ERROR_CONFIG,
                     "neither the configuration nor the environment tells where keys for S3 are");
}

struct error *s3_source_make(struct arena *arena,
                             const struct s3_credential_options *options,
                             struct s3_source **ret)
{
    struct s3_source *source = ARENA_NEW(arena, struct s3_source);
    struct error *err;

    source->kind =
        options->source == S3_KEYS_ANY ? find_source(&options->environment) : options->source;
    source->token_file = "";
    source->role_arn = arena_strdup(arena, options->role_arn ? options->role_arn : "");
    source->external_id = arena_strdup(arena, options->external_id ? options->external_id : "");
    source->region = arena_strdup(arena, options->region ? options->region : "");
    err = make_kind(arena, options, source);
    if (!err && (*source->role_arn || source->kind == S3_KEYS_WEB_IDENTITY)) {
        err = make_sts(arena, &options->environment, source);
    }
    if (err) {
        s3_source_done(source);
        return err;
    }
    if (*source->role_arn) {
        source->name =
            arena_printf(arena, "the role %s, with keys from %s", source->role_arn, source->name);
    }
    *ret = source;
    return NULL;
}

void s3_source_done(struct s3_source *source)
{
    if (source) {
        secret_free(source->secret_access_key);
        secret_free(source->session_token);
        secret_free(source->authorization);
        source->secret_access_key = source->session_token = source->authorization = NULL;
    }
}

/* ---------------------------------------------------------------- what services answer */

void s3_found_done(struct s3_found_keys *keys)
{
    secret_free(keys->secret_access_key);
    secret_free(keys->session_token);
    *keys = (struct s3_found_keys){.access_key_id = ""};
}

/* token and expiration may be empty: keys that stay have neither. */
static struct error *take_found(struct span id,
                                struct span secret,
                                struct span token,
                                struct span expiration,
                                struct s3_found_keys *ret)
{
    int32_t nanos;
    int64_t expires = S3_KEYS_NEVER_EXPIRE;

    if (id.len == 0 || secret.len == 0) {
        return error_new(ERROR_HTTP, ERROR_RETRY, "the answer has no keys in it");
    }
    if (!s3_is_key_text(id, S3_MAX_KEY_ID) || !s3_is_key_text(secret, 1024) ||
        (token.len > 0 && !s3_is_key_text(token, 16384))) {
        return error_new(ERROR_HTTP, ERROR_CONFIG,
                         "the answer's keys have characters that none has");
    }
    if (expiration.len > 0 && !text_from_rfc3339(expiration, &expires, &nanos)) {
        return error_new(ERROR_HTTP, ERROR_CONFIG,
                         "the answer's keys expire at a time that is none");
    }
    *ret = (struct s3_found_keys){.expires_unix = expires};
    memcpy(ret->access_key_id, id.ptr, id.len);
    ret->secret_access_key = secret_new(secret);
    ret->session_token = token.len > 0 ? secret_new(token) : NULL;
    return NULL;
}

static struct span member(struct json_object *object, const char *name)
{
    const char *text = json_get_string(object, name);

    return text ? span_of(text) : SPAN_NONE;
}

static bool is_code(struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];

        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
            c != '.') {
            return false;
        }
    }
    return text.len > 0 && text.len <= MAX_CODE;
}

/* What it has besides is not ours to judge: members that nobody asks for are no error here. */
struct error *s3_found_read_json(struct span body, struct s3_found_keys *ret)
{
    struct json_doc *doc;
    struct error *err = json_doc_read(body, "the answer", &doc);

    if (err) {
        error_drop(err, "it could quote keys");
        return error_new(ERROR_HTTP, ERROR_RETRY, "the answer is not a JSON object");
    }
    struct json_object *top = json_doc_object(doc);
    struct span code = member(top, "Code"); /* the metadata service has one, the container none */
    if (code.len > 0 && !span_is(code, "Success")) {
        err = error_new(ERROR_HTTP, ERROR_CONFIG, "the answer is \"%.*s\" in place of keys",
                        is_code(code) ? (int)code.len : 7, is_code(code) ? code.ptr : "no keys");
    } else {
        err = take_found(member(top, "AccessKeyId"), member(top, "SecretAccessKey"),
                         member(top, "Token"), member(top, "Expiration"), ret);
    }
    json_doc_free(doc);
    return err;
}

struct error *s3_found_read_xml(struct span body, const char *response, struct s3_found_keys *ret)
{
    struct arena *arena = arena_new((size_t)1024 * 1024);
    struct s3_reply_role role;
    struct error *err = s3_reply_read_role(arena, body, response, &role);

    if (!err) {
        err = take_found(role.access_key_id, role.secret_access_key, role.session_token,
                         role.expiration, ret);
    }
    if (!err && (!ret->session_token || ret->expires_unix == S3_KEYS_NEVER_EXPIRE)) {
        s3_found_done(ret);
        err = error_new(ERROR_HTTP, ERROR_RETRY, "the answer's keys have no token or no end");
    }
    arena_free(arena);
    return err;
}

struct error *s3_read_role_name(struct span body, char *out, size_t size)
{
    size_t len = 0;

    while (len < body.len && body.ptr[len] != '\n' && body.ptr[len] != '\r') {
        len++;
    }
    /* IAM User Guide, "IAM and STS quotas": letters, digits and +=,.@_-, at most 64 */
    for (size_t i = 0; i < len; i++) {
        char c = body.ptr[i];

        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
            (c == '\0' || !strchr("+=,.@_-", c))) {
            len = 0;
        }
    }
    if (len == 0 || len >= size) {
        return error_new(ERROR_HTTP, ERROR_RETRY, "the answer is not the name of a role");
    }
    memcpy(out, body.ptr, len);
    out[len] = '\0';
    return NULL;
}

struct secret *s3_read_token(struct span text, size_t max_bytes)
{
    while (text.len > 0 && strchr(" \t\r\n", text.ptr[text.len - 1])) {
        text.len--;
    }
    while (text.len > 0 && strchr(" \t\r\n", text.ptr[0])) {
        text.ptr++;
        text.len--;
    }
    if (text.len == 0 || text.len > max_bytes) {
        return NULL;
    }
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];

        if (c < ' ' || c >= 0x7f) { /* "Bearer x" has a blank */
            return NULL;
        }
    }
    return secret_new(text);
}

/* ---------------------------------------------------------------- what is said to STS */

static void add_field(struct buf *out, const char *name, struct span value)
{
    buf_add_str(out, name);
    text_add_percent(out, value, false);
}

void s3_add_assume_role(struct buf *out, const struct s3_source *source)
{
    buf_printf(out, "Action=AssumeRole&Version=2011-06-15&DurationSeconds=%d", ROLE_SECONDS);
    add_field(out, "&RoleArn=", span_of(source->role_arn));
    add_field(out, "&RoleSessionName=", SPAN_LIT(SESSION_NAME));
    if (*source->external_id) {
        add_field(out, "&ExternalId=", span_of(source->external_id));
    }
}

void s3_add_web_identity(struct buf *out, const struct s3_source *source, struct span token)
{
    buf_printf(out, "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&DurationSeconds=%d",
               ROLE_SECONDS);
    add_field(out, "&RoleArn=", span_of(source->web_role_arn));
    add_field(out, "&RoleSessionName=", span_of(source->web_session_name));
    add_field(out, "&WebIdentityToken=", token);
}

/* ---------------------------------------------------------------- other answers than 200 */

static enum error_class class_of_status(unsigned status)
{
    return status == 408 || status == 429 || status >= 500 ? ERROR_RETRY : ERROR_CONFIG;
}

struct error *s3_judge_key_status(unsigned status, const char *what)
{
    char origin[16];

    (void)snprintf(origin, sizeof(origin), "%u", status);
    return error_new_from(ERROR_HTTP, class_of_status(status), origin, "%s was refused", what);
}

static const struct sts_row {
    const char *code;
    enum error_class cls;
    const char *hint;
} sts_rows[] = {
    {"AccessDenied", ERROR_CONFIG,
     "The role's trust policy has to admit this identity (and this external id), and the identity "
     "has to be allowed sts:AssumeRole on the role."},
    {"InvalidIdentityToken", ERROR_CONFIG,
     "The account needs an IAM identity provider for the issuer of the token."},
    {"ExpiredTokenException", ERROR_RETRY, "The file with the web identity's token is too old."},
    {"IDPCommunicationError", ERROR_RETRY, NULL},
    {"IDPRejectedClaim", ERROR_CONFIG, NULL},
    {"Throttling", ERROR_RETRY, NULL},
    {"ThrottlingException", ERROR_RETRY, NULL},
    {"RequestExpired", ERROR_CONFIG, "Set this machine's clock."},
    {"ExpiredToken", ERROR_RETRY, NULL}, /* of the keys below: the next try begins with new ones */
    {"RegionDisabledException", ERROR_CONFIG, "Enable STS for this region in the account."},
};

static bool contains(struct span text, struct span part)
{
    for (size_t i = 0; part.len > 0 && i + part.len <= text.len; i++) {
        if (memcmp(text.ptr + i, part.ptr, part.len) == 0) {
            return true;
        }
    }
    return false;
}

struct error *s3_judge_sts(unsigned status, struct span body, struct span token)
{
    struct arena *arena = arena_new((size_t)1024 * 1024);
    struct s3_reply_error reply = {0};
    const struct sts_row *row = NULL;
    char origin[MAX_CODE + 32];
    struct error *err;

    if (body.len > 0) {
        error_drop(s3_reply_read_sts_error(arena, body, &reply),
                   "the status alone says enough when something else came");
    }
    if (!is_code(reply.code)) {
        reply.code = SPAN_NONE;
    }
    if (reply.message.len == 0 || contains(reply.message, token)) {
        reply.message = SPAN_LIT("the server gave no reason");
    }
    for (size_t i = 0; i < ARRAY_LEN(sts_rows); i++) {
        row = span_is(reply.code, sts_rows[i].code) ? &sts_rows[i] : row;
    }
    (void)snprintf(origin, sizeof(origin), "%u%s%.*s", status, reply.code.len > 0 ? " " : "",
                   SPAN_FMT(reply.code));
    err = error_new_from(ERROR_HTTP, row ? row->cls : class_of_status(status), origin, "%.*s",
                         (int)text_utf8_cut(reply.message, MAX_MESSAGE), reply.message.ptr);
    if (row && row->hint) {
        error_set_hint(err, "%s", row->hint);
    }
    arena_free(arena);
    return err;
}
