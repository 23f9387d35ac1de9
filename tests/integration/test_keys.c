/*
 * Tasks without keys in their configuration: the connector gets them from services that a script
 * plays beside it, writes to the real bucket with them, and COPY reads with them or with a role of
 * the warehouse. Swift checks the signatures; of session tokens and KMS keys it knows nothing, so
 * those are looked at where the bucket is played, too (unit.s3.credential).
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/http_peer.h"
#include "support/story.h"
#include "support/story_ledger.h"

#define TOKEN "session-token-4711+/=="
#define AUTHORIZATION "authorization-token-4711"
#define METADATA_TOKEN "metadata-token-4711"
#define IDENTITY "web-identity-token-4711"

/* A run's environment; %s is the address of the played services or the folder of the story. */
struct way {
    const char *sentence;
    const char *variables[6]; /* "NAME=value" */
    const char *advanced;     /* %s: a role, or what the row says */
    const char *role;         /* of the warehouse: a variable of the local parts */
    const char *asked;        /* part of a request that the services must have got */
    const char *last_words;   /* of a run that must fail; NULL: it goes well */
    bool expires; /* the warehouse says once, in the middle, that a COPY's token has expired */
};

static const struct way ways[] = {
    {"keys of a container, and COPY with the warehouse's default role",
     {"AWS_CONTAINER_CREDENTIALS_FULL_URI=http://%s/container",
      "AWS_CONTAINER_AUTHORIZATION_TOKEN=" AUTHORIZATION},
     "\"copy_iam_role\":\"default\"",
     NULL,
     "/container",
     NULL,
     false},
    {"keys of a container, and COPY with their token",
     {"AWS_CONTAINER_CREDENTIALS_FULL_URI=http://%s/container"},
     "\"aws_credentials\":\"container\"",
     NULL,
     "/container",
     NULL,
     false},
    {.sentence = "keys that end while COPY reads with them",
     .variables = {"AWS_CONTAINER_CREDENTIALS_FULL_URI=http://%s/container"},
     .advanced = "\"aws_credentials\":\"container\"",
     .asked = "/container",
     .expires = true},
    {"keys of an instance, and COPY with a role by name",
     {"AWS_EC2_METADATA_SERVICE_ENDPOINT=http://%s"},
     "\"aws_credentials\":\"instance_metadata\",\"copy_iam_role\":\"%s\"",
     "LOCAL_REDSHIFT_ROLE",
     "/security-credentials/loader",
     NULL,
     false},
    {"keys of a web identity, and COPY with a chain of roles",
     {"AWS_ENDPOINT_URL_STS=http://%s", "AWS_ROLE_ARN=arn:aws:iam::1:role/web",
      "AWS_WEB_IDENTITY_TOKEN_FILE="},
     "\"copy_iam_role\":\"%s\"",
     "LOCAL_REDSHIFT_ROLE_CHAIN",
     "/",
     NULL,
     false},
    {"a role that is assumed with keys of the environment",
     {"AWS_ENDPOINT_URL_STS=http://%s", "AWS_ACCESS_KEY_ID=AKIABASE",
      "AWS_SECRET_ACCESS_KEY=base-secret-4711"},
     "\"aws_role_arn\":\"arn:aws:iam::1:role/loader\",\"aws_external_id\":\"tenant\"",
     NULL,
     "/",
     NULL,
     false},
    {"a role that the warehouse does not have",
     {"AWS_CONTAINER_CREDENTIALS_FULL_URI=http://%s/container"},
     "\"copy_iam_role\":\"arn:aws:iam::1:role/other\"",
     NULL,
     "/container",
     "not authorized to assume IAM Role arn:aws:iam::1:role/other",
     false},
    {"a container that gives none",
     {"AWS_CONTAINER_CREDENTIALS_FULL_URI=http://%s/nothing"},
     "\"aws_credentials\":\"container\"",
     NULL,
     "/nothing",
     "asking for keys for S3 from the container's credentials endpoint: the request for keys was "
     "refused (404)",
     false},
    {"no keys anywhere",
     {NULL},
     "\"copy_iam_role\":\"default\"",
     NULL,
     NULL,
     "missing 'awsAccessKeyId'",
     false},
};

#define JSON_KEYS                                                                                  \
    "{\"Code\":\"Success\",\"AccessKeyId\":\"%s\",\"SecretAccessKey\":\"%s\",\"Token\":\"" TOKEN   \
    "\",\"Expiration\":\"2099-01-01T00:00:00Z\"}"
#define XML_KEYS(name)                                                                             \
    "<" name "Response><" name "Result><Credentials><AccessKeyId>%s</AccessKeyId>"                 \
    "<SecretAccessKey>%s</SecretAccessKey><SessionToken>" TOKEN                                    \
    "</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></" name            \
    "Result></" name "Response>"

/* The services give out the real bucket's keys. */
static struct http_peer *start_services(struct story *story, const struct way *way)
{
    static struct http_rule rules[6];
    const char *key = story_environment("LOCAL_S3_KEY");
    const char *secret = story_environment("LOCAL_S3_SECRET");
    const char *json = story_text(story, JSON_KEYS, key, secret);
    const char *xml = way->role
                          ? story_text(story, XML_KEYS("AssumeRoleWithWebIdentity"), key, secret)
                          : story_text(story, XML_KEYS("AssumeRole"), key, secret);

    rules[0] = (struct http_rule){.target = "/container", .body = json};
    rules[1] = (struct http_rule){.target = "/nothing", .status = 404};
    rules[2] = (struct http_rule){.method = "PUT", .body = METADATA_TOKEN};
    rules[3] = (struct http_rule){.target = "/security-credentials/loader", .body = json};
    rules[4] = (struct http_rule){.target = "/security-credentials/", .body = "loader"};
    rules[5] = (struct http_rule){.method = "POST", .body = xml};
    return http_peer_start(rules, 6);
}

static void set_variables(struct story *story, const struct way *way, const struct http_peer *peer)
{
    const char *address = story_text(story, "127.0.0.1:%u", http_peer_port(peer));

    for (unsigned i = 0; i < 6 && way->variables[i]; i++) {
        char *name = story_text(story, "%s", way->variables[i]);
        char *value = strchr(name, '=');

        *value++ = '\0';
        char *place = strstr(value, "%s");
        if (place) {
            *place = '\0';
            value = story_text(story, "%s%s%s", value, address, place + 2);
        } else if (!*value) {
            value = story_text(story, "%s", story_write(story, "config-token", IDENTITY "\n"));
        }
        assert_int_equal(setenv(name, value, 1), 0);
    }
}

static void unset_variables(struct story *story, const struct way *way)
{
    for (unsigned i = 0; i < 6 && way->variables[i]; i++) {
        char *name = story_text(story, "%s", way->variables[i]);

        *strchr(name, '=') = '\0';
        assert_int_equal(unsetenv(name), 0);
    }
}

static void check_no_secret(struct story *story, const char *name)
{
    const char *const secrets[] = {
        TOKEN,    AUTHORIZATION,      METADATA_TOKEN,
        IDENTITY, "base-secret-4711", story_environment("LOCAL_S3_SECRET")};
    const char *text = story_read(story, story_path(story, name), NULL);

    for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++) {
        if (strstr(text, secrets[i])) {
            story_complain(story, "secret %zu is in %s", i, name);
        }
    }
}

static void check_end(struct story *story,
                      const struct way *way,
                      struct story_process *process,
                      const struct ledger *ledger)
{
    const char *log = story_read(story, story_path(story, "runtime.log"), NULL);

    if ((story_exit_code(process) == 0) != (way->last_words == NULL)) {
        story_complain(story, "flow-runtime exited with %d: %.2000s", story_exit_code(process),
                       story_read(story, process->err, NULL));
    } else if (way->last_words && !strstr(log, way->last_words)) {
        story_complain(story, "the log says nothing of \"%s\"", way->last_words);
    } else if (!way->last_words) {
        story_same(story, "the tables", ledger->wanted, ledger_read(story, ledger));
        if (!strstr(log, "new keys for S3")) {
            story_complain(story, "the log says nothing of new keys");
        }
    }
}

#define EXPIRED                                                                                    \
    "S3ServiceException:The provided token has expired.,Status 400,Error ExpiredToken,Rid R"

/* Before the warehouse, for a COPY into a table that fails; NULL: the warehouse itself. */
static const char *
start_gateway(struct story *story, const struct way *way, const char **ret_marker)
{
    if (!way->expires) {
        return NULL;
    }
    *ret_marker = story_path(story, "expired");
    return story_gateway(
        story, "gateway",
        story_text(story, "put.direct#3 before fail %s XX000 %s\n", *ret_marker, EXPIRED));
}

static void run(const struct way *way)
{
    struct story *story = story_begin("keys");
    const struct ledger_plan plan = {.transactions = 3, .events = 20};
    const char *const options[] = {"--log-level", "trace", NULL};
    struct ledger ledger;
    struct http_peer *peer = start_services(story, way);

    print_message("%s\n", way->sentence);
    ledger_make(story, &plan, &ledger);
    set_variables(story, way, peer);
    assert_int_equal(setenv("FLOW_CAPTURE", story_path(story, "capture"), 1), 0);
    const char *role = way->role ? story_environment(way->role) : "";
    char *advanced = story_text(story, "%s", way->advanced);
    char *place = strstr(advanced, "%s");
    if (place) {
        *place = '\0';
        advanced = story_text(story, "%s%s%s", advanced, role, place + 2);
    }
    const char *marker = NULL;
    const char *address = start_gateway(story, way, &marker);
    const struct story_drive how = {
        .label = "runtime",
        .catalog = ledger.catalog,
        .fixture = ledger.fixture,
        .config = story_config(
            story, "config.json",
            &(struct story_config){.address = address,
                                   .key = "",
                                   .secret = "",
                                   .extra = story_text(story, ",\"advanced\":{%s}", advanced)}),
        .codec = "json",
        .mode = "v2",
        .options = options,
    };
    struct story_process *process = story_drive_start(story, &how);
    if (story_wait(story, process, 120)) {
        check_end(story, way, process, &ledger);
    }
    unset_variables(story, way);
    if (way->asked && http_peer_count(peer, NULL, way->asked) == 0) {
        story_complain(story, "the services were not asked for %s", way->asked);
    }
    if (marker &&
        (!story_wait_file(story, marker, 1) || http_peer_count(peer, NULL, way->asked) < 2)) {
        story_complain(story, "COPY did not fail, or no other keys were asked for");
    }
    http_peer_stop(peer);
    check_no_secret(story, "runtime.log");
    check_no_secret(story, "runtime.report");
    story_end(story);
}

static void tasks_without_keys_get_them_where_they_run(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        run(&ways[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tasks_without_keys_get_them_where_they_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
