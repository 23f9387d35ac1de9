/* Where keys come from, as options and environment say it; and what services may answer, whole, cut
 * and hostile. Nobody is asked here. */

#include "s3/source.h"

#include "environment.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define FULL "AWS_CONTAINER_CREDENTIALS_FULL_URI"
#define RELATIVE "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
#define IDENTITY "AWS_WEB_IDENTITY_TOKEN_FILE"
#define METADATA "AWS_EC2_METADATA_SERVICE_ENDPOINT"
#define STATIC                                                                                     \
    {"AWS_ACCESS_KEY_ID", "AKIAENV"},                                                              \
    {                                                                                              \
        "AWS_SECRET_ACCESS_KEY", "hush-env"                                                        \
    }

static struct arena *arena;

static int set_up(void **state)
{
    (void)state;
    arena = arena_new((size_t)16 << 20);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

/* ---------------------------------------------------------------- which source */

struct row {
    const char *sentence;
    enum s3_key_source source;
    struct variables variables;
    enum s3_key_source kind; /* chosen */
    const char *where;       /* its url, or its token's file, or its key; NULL: refused */
    const char *refusal;
};

static const struct row rows[] = {
    {"keys of the environment", S3_KEYS_ANY, {{STATIC}}, S3_KEYS_ENVIRONMENT, "AKIAENV", NULL},
    {"they come before a web identity and a container",
     S3_KEYS_ANY,
     {{STATIC, {IDENTITY, "/t"}, {FULL, "https://h/x"}}},
     S3_KEYS_ENVIRONMENT,
     "AKIAENV",
     NULL},
    {"half of a key is an error and not the next source",
     S3_KEYS_ANY,
     {{{"AWS_ACCESS_KEY_ID", "AKIAENV"}, {FULL, "https://h/x"}}},
     S3_KEYS_ENVIRONMENT,
     NULL,
     "AWS_SECRET_ACCESS_KEY: is not set"},
    {"the other half, too",
     S3_KEYS_ANY,
     {{{"AWS_SECRET_ACCESS_KEY", "hush"}}},
     S3_KEYS_ENVIRONMENT,
     NULL,
     "AWS_ACCESS_KEY_ID: is not set"},
    {"a token with a line break would be a header of its own",
     S3_KEYS_ANY,
     {{STATIC, {"AWS_SESSION_TOKEN", "hush\r\nx-evil: 1"}}},
     S3_KEYS_ENVIRONMENT,
     NULL,
     "AWS_SESSION_TOKEN: has characters"},
    {"a web identity comes before a container",
     S3_KEYS_ANY,
     {{{IDENTITY, "/t"}, {"AWS_ROLE_ARN", "arn:aws:iam::1:role/r"}, {RELATIVE, "/v2"}}},
     S3_KEYS_WEB_IDENTITY,
     "/t",
     NULL},
    {"a web identity without a role",
     S3_KEYS_ANY,
     {{{IDENTITY, "/t"}}},
     S3_KEYS_WEB_IDENTITY,
     NULL,
     "AWS_ROLE_ARN: is not set"},
    {"a session name that STS would refuse",
     S3_KEYS_ANY,
     {{{IDENTITY, "/t"}, {"AWS_ROLE_ARN", "r"}, {"AWS_ROLE_SESSION_NAME", "a b"}}},
     S3_KEYS_WEB_IDENTITY,
     NULL,
     "AWS_ROLE_SESSION_NAME: 2 to 64"},
    {"a path of the container's agent",
     S3_KEYS_ANY,
     {{{RELATIVE, "/v2/credentials/1"}, {FULL, "https://h/x"}}},
     S3_KEYS_CONTAINER,
     "http://169.254.170.2/v2/credentials/1",
     NULL},
    {"a path that would name another host",
     S3_KEYS_ANY,
     {{{RELATIVE, "@evil.example/x"}}},
     S3_KEYS_CONTAINER,
     NULL,
     RELATIVE ": a path begins with /"},
    {"https to anybody",
     S3_KEYS_ANY,
     {{{FULL, "https://creds.example:8443/x?y=z"}}},
     S3_KEYS_CONTAINER,
     "https://creds.example:8443/x?y=z",
     NULL},
    {"http to the agent of EKS",
     S3_KEYS_ANY,
     {{{FULL, "http://169.254.170.23/v1/credentials"}}},
     S3_KEYS_CONTAINER,
     "http://169.254.170.23/v1/credentials",
     NULL},
    {"and by IPv6",
     S3_KEYS_ANY,
     {{{FULL, "http://[fd00:ec2::23]/v1/credentials"}}},
     S3_KEYS_CONTAINER,
     "http://[fd00:ec2::23]/v1/credentials",
     NULL},
    {"http to this machine",
     S3_KEYS_ANY,
     {{{FULL, "http://127.1.2.3:80"}}},
     S3_KEYS_CONTAINER,
     "http://127.1.2.3:80",
     NULL},
    {"http to a host that begins like an address",
     S3_KEYS_ANY,
     {{{FULL, "http://127.0.0.1.evil.example/"}}},
     S3_KEYS_CONTAINER,
     NULL,
     FULL ": plain http is only for"},
    {"http to a network's machine",
     S3_KEYS_ANY,
     {{{FULL, "http://10.0.0.1/"}}},
     S3_KEYS_CONTAINER,
     NULL,
     FULL ": plain http is only for"},
    {"http to the metadata service of the machine, which is not the container's",
     S3_KEYS_ANY,
     {{{FULL, "http://169.254.169.254/"}}},
     S3_KEYS_CONTAINER,
     NULL,
     FULL ": plain http is only for"},
    {"a user's name in front of the host",
     S3_KEYS_ANY,
     {{{FULL, "http://127.0.0.1:80@evil.example/"}}},
     S3_KEYS_CONTAINER,
     NULL,
     FULL ": an address has no user name"},
    {"half of an IPv6 address",
     S3_KEYS_ANY,
     {{{FULL, "http://[::1"}}},
     S3_KEYS_CONTAINER,
     NULL,
     FULL ": this is no URL"},
    {"another scheme",
     S3_KEYS_ANY,
     {{{FULL, "file:///etc/passwd"}}},
     S3_KEYS_CONTAINER,
     NULL,
     FULL ": an address begins with"},
    {"a line break in a URL",
     S3_KEYS_ANY,
     {{{FULL, "http://127.0.0.1/\r\nx: y"}}},
     S3_KEYS_CONTAINER,
     NULL,
     FULL ": this is no URL"},
    {"a container's token in two lines",
     S3_KEYS_ANY,
     {{{FULL, "http://127.0.0.1/"}, {"AWS_CONTAINER_AUTHORIZATION_TOKEN", "hush\r\nhush"}}},
     S3_KEYS_CONTAINER,
     NULL,
     "AWS_CONTAINER_AUTHORIZATION_TOKEN: this is not one line"},
    {"nothing at all", S3_KEYS_ANY, {{{NULL, NULL}}}, S3_KEYS_ANY, NULL, "neither the conf"},
    {"empty is not set",
     S3_KEYS_ANY,
     {{{FULL, ""}, {IDENTITY, ""}, {"AWS_ACCESS_KEY_ID", ""}}},
     S3_KEYS_ANY,
     NULL,
     "neither the conf"},
    {"the machine's metadata, when asked for",
     S3_KEYS_INSTANCE,
     {{{NULL, NULL}}},
     S3_KEYS_INSTANCE,
     "http://169.254.169.254",
     NULL},
    {"by IPv6",
     S3_KEYS_INSTANCE,
     {{{METADATA "_MODE", "ipv6"}}},
     S3_KEYS_INSTANCE,
     "http://[fd00:ec2::254]",
     NULL},
    {"by neither",
     S3_KEYS_INSTANCE,
     {{{METADATA "_MODE", "IPX"}}},
     S3_KEYS_INSTANCE,
     NULL,
     METADATA "_MODE: is neither"},
    {"elsewhere on this machine",
     S3_KEYS_ANY,
     {{{METADATA, "http://localhost:1338/"}}},
     S3_KEYS_INSTANCE,
     "http://localhost:1338",
     NULL},
    {"forbidden",
     S3_KEYS_INSTANCE,
     {{{"AWS_EC2_METADATA_DISABLED", "True"}}},
     S3_KEYS_INSTANCE,
     NULL,
     "AWS_EC2_METADATA_DISABLED: the instance"},
    {"a source that was asked for is not replaced by another",
     S3_KEYS_CONTAINER,
     {{STATIC}},
     S3_KEYS_CONTAINER,
     NULL,
     FULL ": neither this nor"},
};

static const char *where(const struct s3_source *source)
{
    return source->access_key_id ? source->access_key_id
           : source->url         ? source->url
                                 : source->token_file;
}

static void a_source_is_what_the_environment_says(void **state)
{
    unsigned wrong = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct variables variables = rows[i].variables;
        const struct s3_credential_options options = {
            .source = rows[i].source,
            .environment = {variables_get, &variables},
            .region = "eu-west-1",
        };
        struct s3_source *source = NULL;
        struct error *err = s3_source_make(arena, &options, &source);
        bool good =
            rows[i].where
                ? !err && source->kind == rows[i].kind && strcmp(where(source), rows[i].where) == 0
                : err && error_class_of(err) == ERROR_CONFIG &&
                      strstr(error_text(err), rows[i].refusal) && !strstr(error_text(err), "hush");
        bool is_found = rows[i].source == S3_KEYS_ANY && rows[i].kind != S3_KEYS_ANY;

        good = good && (rows[i].source != S3_KEYS_ANY ||
                        s3_environment_has_keys(&options.environment) == is_found);
        if (!good) {
            print_error("%s: %s\n", rows[i].sentence, err ? error_text(err) : where(source));
            wrong++;
        }
        error_free(err);
        s3_source_done(source);
    }
    assert_int_equal(wrong, 0);
}

static void sts_is_that_of_the_region(void **state)
{
    static const struct {
        const char *region, *variable, *value, *url; /* url NULL: refused */
    } places[] = {
        {"eu-west-1", "X", "", "https://sts.eu-west-1.amazonaws.com/"},
        {"cn-north-1", "X", "", "https://sts.cn-north-1.amazonaws.com.cn/"},
        {"eu-west-1", "AWS_ENDPOINT_URL_STS", "https://sts.example", "https://sts.example/"},
        {"eu-west-1", "AWS_ENDPOINT_URL", "http://127.0.0.1:4566", "http://127.0.0.1:4566/"},
        {"eu-west-1", "AWS_ENDPOINT_URL_STS", "http://sts.example", NULL},
        {"eu-west-1", "AWS_ENDPOINT_URL_STS", "https://sts.example/path", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        struct variables variables = {{STATIC, {places[i].variable, places[i].value}}};
        const struct s3_credential_options options = {
            .source = S3_KEYS_ANY,
            .environment = {variables_get, &variables},
            .role_arn = "arn:aws:iam::1:role/r",
            .region = places[i].region,
        };
        struct s3_source *source = NULL;
        struct error *err = s3_source_make(arena, &options, &source);

        if (places[i].url) {
            assert_null(err);
            assert_string_equal(source->sts_url, places[i].url);
        } else {
            assert_non_null(err);
            assert_non_null(strstr(error_text(err), places[i].variable));
        }
        error_free(err);
        s3_source_done(source);
    }
}

/* ---------------------------------------------------------------- answers */

#define JSON_KEYS "\"AccessKeyId\":\"ASIA1\",\"SecretAccessKey\":\"hush1\""
static const char json_answer[] =
    "{\"Code\":\"Success\",\"Type\":\"AWS-HMAC\"," JSON_KEYS
    ",\"Token\":\"tok/en==\",\"Expiration\":\"2026-01-01T01:00:00Z\",\"LastUpdated\":\"x\"}";
static const char xml_answer[] =
    "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>"
    "<AssumedRoleUser><Arn>a</Arn><AccessKeyId>not this</AccessKeyId></AssumedRoleUser>"
    "<Credentials><AccessKeyId>ASIA1</AccessKeyId><SecretAccessKey>hush1</SecretAccessKey>"
    "<SessionToken>tok/en==</SessionToken><Expiration>2026-01-01T01:00:00Z</Expiration>"
    "</Credentials><PackedPolicySize>6</PackedPolicySize></AssumeRoleResult>"
    "<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></AssumeRoleResponse>";

static void check_found(struct s3_found_keys *found)
{
    assert_string_equal(found->access_key_id, "ASIA1");
    assert_string_equal(secret_text(found->secret_access_key), "hush1");
    assert_string_equal(secret_text(found->session_token), "tok/en==");
    assert_int_equal(found->expires_unix, 1767229200);
    s3_found_done(found);
}

static void whole_answers_have_keys_and_cut_ones_have_none(void **state)
{
    struct s3_found_keys found;

    (void)state;
    assert_null(s3_found_read_json(span_of(json_answer), &found));
    check_found(&found);
    assert_null(s3_found_read_xml(span_of(xml_answer), "AssumeRoleResponse", &found));
    check_found(&found);
    for (size_t len = 0; len < sizeof(json_answer) - 1; len++) {
        struct error *err = s3_found_read_json((struct span){json_answer, len}, &found);
        assert_non_null(err);
        assert_null(strstr(error_text(err), "hush"));
        error_free(err);
    }
    for (size_t len = 0; len < sizeof(xml_answer) - 1; len++) {
        struct error *err =
            s3_found_read_xml((struct span){xml_answer, len}, "AssumeRoleResponse", &found);
        assert_non_null(err);
        assert_null(strstr(error_text(err), "hush"));
        error_free(err);
    }
}

static void an_answer_may_have_no_token_and_no_end(void **state)
{
    struct s3_found_keys found;

    (void)state;
    assert_null(s3_found_read_json(SPAN_LIT("{" JSON_KEYS "}"), &found));
    assert_null(found.session_token);
    assert_true(found.expires_unix == S3_KEYS_NEVER_EXPIRE);
    s3_found_done(&found);
}

static void hostile_answers_are_refused_and_not_quoted(void **state)
{
    static const struct {
        const char *sentence, *body, *refusal;
        enum error_class cls;
    } answers[] = {
        {"a page of a proxy", "<html>hush</html>", "not a JSON object", ERROR_RETRY},
        {"an array", "[\"hush\"]", "not a JSON object", ERROR_RETRY},
        {"nothing in it", "{}", "no keys in it", ERROR_RETRY},
        {"a number for a key", "{\"AccessKeyId\":1,\"SecretAccessKey\":\"hush\"}", "no keys in it",
         ERROR_RETRY},
        {"an empty secret", "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"\"}", "no keys in it",
         ERROR_RETRY},
        {"a header inside of a key",
         "{\"AccessKeyId\":\"A\\r\\nx: y\",\"SecretAccessKey\":\"hush\"}", "have characters",
         ERROR_CONFIG},
        {"an option of COPY inside of a token",
         "{" JSON_KEYS ",\"Token\":\"t;master_symmetric_key=hush\"}", "have characters",
         ERROR_CONFIG},
        {"the end of COPY's text inside of a token", "{" JSON_KEYS ",\"Token\":\"t'hush\"}",
         "have characters", ERROR_CONFIG},
        {"a NUL inside of a secret", "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"hush\\u0000x\"}",
         "not a JSON object", ERROR_RETRY},
        {"an end that is no time", "{" JSON_KEYS ",\"Expiration\":\"hush\"}", "a time that is none",
         ERROR_CONFIG},
        {"a refusal", "{\"Code\":\"AssumeRoleUnauthorizedAccess\"," JSON_KEYS "}",
         "\"AssumeRoleUnauthorizedAccess\" in place of keys", ERROR_CONFIG},
        {"a refusal with something else in it", "{\"Code\":\"hush \\n hush\"," JSON_KEYS "}",
         "\"no keys\" in place of keys", ERROR_CONFIG},
    };
    struct s3_found_keys found;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        struct error *err = s3_found_read_json(span_of(answers[i].body), &found);

        if (!err || !strstr(error_text(err), answers[i].refusal) ||
            error_class_of(err) != answers[i].cls || strstr(error_text(err), "hush")) {
            fail_msg("%s: %s", answers[i].sentence, err ? error_text(err) : "accepted");
        }
        error_free(err);
    }
}

static void keys_of_sts_have_a_token_and_an_end(void **state)
{
    static const char *const answers[] = {
        "<AssumeRoleResponse><R><Credentials><AccessKeyId>A</AccessKeyId><SecretAccessKey>s"
        "</SecretAccessKey></Credentials></R></AssumeRoleResponse>",
        "<AssumeRoleResponse><R><Credentials><AccessKeyId>A</AccessKeyId><SecretAccessKey>s"
        "</SecretAccessKey><SessionToken>t</SessionToken></Credentials></R></AssumeRoleResponse>",
        "<AssumeRoleResponse><AccessKeyId>A</AccessKeyId><SecretAccessKey>s</SecretAccessKey>"
        "</AssumeRoleResponse>",
        "<AssumeRoleWithWebIdentityResponse/>",
    };
    struct s3_found_keys found;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        struct error *err = s3_found_read_xml(span_of(answers[i]), "AssumeRoleResponse", &found);
        assert_non_null(err);
        error_free(err);
    }
}

static void a_role_is_the_first_line(void **state)
{
    static const struct {
        const char *body, *role; /* NULL: none */
    } lists[] = {{"loader", "loader"},
                 {"loader\nother\n", "loader"},
                 {"a+=,.@_-b\r\n", "a+=,.@_-b"},
                 {"", NULL},
                 {"\n", NULL},
                 {"../../secrets", NULL},
                 {"a b", NULL},
                 {"a?x=y", NULL},
                 {"<html>", NULL}};
    char role[32];
    char longer[64];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        struct error *err = s3_read_role_name(span_of(lists[i].body), role, sizeof(role));
        assert_true((err == NULL) == (lists[i].role != NULL));
        if (lists[i].role) {
            assert_string_equal(role, lists[i].role);
        }
        error_free(err);
    }
    memset(longer, 'r', sizeof(longer));
    struct error *err =
        s3_read_role_name((struct span){longer, sizeof(longer)}, role, sizeof(role));
    assert_non_null(err);
    error_free(err);
}

static void refusals_of_sts_say_why_but_never_the_token(void **state)
{
    static const struct {
        unsigned status;
        const char *body, *text;
        enum error_class cls;
    } answers[] = {
        {403,
         "<ErrorResponse><Error><Code>AccessDenied</Code><Message>not yours</Message></Error>"
         "</ErrorResponse>",
         "not yours (403 AccessDenied)", ERROR_CONFIG},
        {400,
         "<ErrorResponse><Error><Code>IDPCommunicationError</Code><Message>m</Message></Error>"
         "</ErrorResponse>",
         "m (400 IDPCommunicationError)", ERROR_RETRY},
        {400,
         "<ErrorResponse><Error><Code>Bad</Code><Message>token hush-token is bad</Message>"
         "</Error></ErrorResponse>",
         "the server gave no reason (400 Bad)", ERROR_CONFIG},
        {503, "<html>", "the server gave no reason (503)", ERROR_RETRY},
        {400, "<ErrorResponse><Error><Code>a b\n</Code></Error></ErrorResponse>",
         "the server gave no reason (400)", ERROR_CONFIG},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        struct error *err =
            s3_judge_sts(answers[i].status, span_of(answers[i].body), SPAN_LIT("hush-token"));
        assert_string_equal(error_text(err), answers[i].text);
        assert_int_equal(error_class_of(err), answers[i].cls);
        error_free(err);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_source_is_what_the_environment_says),
        cmocka_unit_test(sts_is_that_of_the_region),
        cmocka_unit_test(whole_answers_have_keys_and_cut_ones_have_none),
        cmocka_unit_test(an_answer_may_have_no_token_and_no_end),
        cmocka_unit_test(hostile_answers_are_refused_and_not_quoted),
        cmocka_unit_test(keys_of_sts_have_a_token_and_an_end),
        cmocka_unit_test(a_role_is_the_first_line),
        cmocka_unit_test(refusals_of_sts_say_why_but_never_the_token),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
