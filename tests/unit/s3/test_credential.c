/* Keys asked for, waited for, used and renewed: the services and the bucket are played by one
 * script. The clock is the test's. */

#include "world.h"

#include "environment.h"

#include "base/text.h"
#include "runtime/timer.h"

#include <unistd.h>

#define BEGIN_UNIX 1767225600 /* 2026-01-01T00:00:00Z */
#define KEYS(n, until)                                                                             \
    "{\"AccessKeyId\":\"ASIA" n "\",\"SecretAccessKey\":\"hush-key-" n                             \
    "\",\"Token\":\"hush-token-" n "\",\"Expiration\":\"2026-01-01T" until "Z\"}"
#define CREDENTIALS(n, until)                                                                      \
    "<Credentials><AccessKeyId>ASIA" n "</AccessKeyId><SecretAccessKey>hush-key-" n                \
    "</SecretAccessKey><SessionToken>hush-token-" n "</SessionToken><Expiration>2026-01-01T" until \
    "Z</Expiration></Credentials>"
#define ROLE_KEYS(n, until)                                                                        \
    "<AssumeRoleResponse><AssumeRoleResult>" CREDENTIALS(                                          \
        n, until) "</AssumeRoleResult></AssumeRoleResponse>"
#define WEB_KEYS(n, until)                                                                         \
    "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult>" CREDENTIALS(            \
        n, until) "</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
#define EXPIRED                                                                                    \
    "<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"
#define ROLE "arn:aws:iam::123456789012:role/loader"

/* What the time is: it jumps when the bucket has got so many PUTs. */
struct clock {
    struct world *world;
    unsigned puts; /* 0: it stands */
    int64_t before, after;
};

static int64_t read_clock(void *ctx)
{
    const struct clock *clock = ctx;
    bool jumped =
        clock->puts > 0 && http_peer_count(clock->world->peer, "PUT", "/docs/") >= clock->puts;

    return BEGIN_UNIX + (jumped ? clock->after : clock->before);
}

/* What was told about keys. */
struct news {
    unsigned renewed, kept;
    char error[512];
};

static void take_news(void *ctx, const char *source, int64_t expires_unix, const struct error *err)
{
    struct news *news = ctx;

    assert_non_null(source);
    assert_true(expires_unix > BEGIN_UNIX);
    news->renewed += !err;
    news->kept += err != NULL;
    if (err) {
        (void)snprintf(news->error, sizeof(news->error), "%s", error_text(err));
    }
}

struct stage {
    struct world world;
    struct clock clock;
    struct news news;
    struct variables variables;
    char url[128], file[128];
};

enum source {
    NO_SOURCE,
    CONTAINER,
    CONTAINER_WITH_TOKEN,
    CONTAINER_WITH_FILE,
    INSTANCE,
    WEB,
    STATIC
};

static void write_file(struct stage *stage, const char *text)
{
    const char *place = getenv("TMPDIR");
    int fd;

    (void)snprintf(stage->file, sizeof(stage->file), "%s/token-XXXXXX",
                   place && *place ? place : "/tmp");
    fd = mkstemp(stage->file);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(close(fd), 0);
}

static void set_variable(struct stage *stage, unsigned at, const char *name, const char *value)
{
    stage->variables.rows[at] = (struct variable){name, value};
}

static void set_variables(struct stage *stage, enum source source)
{
    switch (source) {
    case CONTAINER_WITH_TOKEN:
        set_variable(stage, 1, "AWS_CONTAINER_AUTHORIZATION_TOKEN", "Bearer hush-auth");
        break;
    case CONTAINER_WITH_FILE:
        write_file(stage, "hush-auth-of-file\n");
        set_variable(stage, 1, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", stage->file);
        set_variable(stage, 2, "AWS_CONTAINER_AUTHORIZATION_TOKEN", "another");
        break;
    case WEB:
        write_file(stage, "hush.web.token\n");
        set_variable(stage, 1, "AWS_WEB_IDENTITY_TOKEN_FILE", stage->file);
        set_variable(stage, 2, "AWS_ROLE_ARN", ROLE);
        set_variable(stage, 3, "AWS_ROLE_SESSION_NAME", "task");
        break;
    case STATIC:
        set_variable(stage, 1, "AWS_ACCESS_KEY_ID", "AKIABASE");
        set_variable(stage, 2, "AWS_SECRET_ACCESS_KEY", "hush-base");
        break;
    default:
        break;
    }
}

/* Like world_set_up, but with keys from there. */
static void set_up_with(struct stage *stage,
                        enum source source,
                        const char *role,
                        const struct http_rule *rules,
                        unsigned count,
                        uint64_t stall_ms)
{
    static const char *const names[] = {
        [CONTAINER] = "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        [CONTAINER_WITH_TOKEN] = "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        [CONTAINER_WITH_FILE] = "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        [INSTANCE] = "AWS_EC2_METADATA_SERVICE_ENDPOINT",
        [WEB] = "AWS_ENDPOINT_URL_STS",
        [STATIC] = "AWS_ENDPOINT_URL_STS",
    };
    struct world *world = &stage->world;
    struct s3_options options = {.seed = 1,
                                 .figures = &world->figures,
                                 .stall_timeout_ms = stall_ms,
                                 .retry_first_ms = 1,
                                 .kms_key_id = "alias/stage",
                                 .tell = take_news,
                                 .tell_ctx = &stage->news};
    char address[64];
    struct s3_endpoint_options where = {
        .bucket = "docs", .region = "us-east-1", .endpoint = address};

    memset(stage, 0, sizeof(*stage));
    world_set_up(world, rules, count, stall_ms);
    s3_free(world->s3);
    stage->clock.world = world;
    loop_set_clock(world->loop, read_clock, &stage->clock);
    (void)snprintf(address, sizeof(address), "http://127.0.0.1:%u", http_peer_port(world->peer));
    (void)snprintf(stage->url, sizeof(stage->url), "%s%s", address,
                   strstr(names[source], "FULL_URI") ? "/keys" : "");
    set_variable(stage, 0, names[source], stage->url);
    set_variables(stage, source);
    if (role && source != STATIC && source != WEB) {
        set_variable(stage, 4, "AWS_ENDPOINT_URL_STS", arena_strdup(world->arena, address));
        for (unsigned i = 1; i < 4; i++) {
            if (!stage->variables.rows[i].name) {
                set_variable(stage, i, "UNUSED", "");
            }
        }
    }
    const struct s3_credential_options credentials = {
        .source = S3_KEYS_ANY,
        .environment = {variables_get, &stage->variables},
        .role_arn = role,
        .external_id = role ? "tenant/1" : NULL,
        .region = "us-east-1",
    };
    assert_null(s3_endpoint_make(world->arena, &where, &options.endpoint));
    assert_null(s3_source_make(world->arena, &credentials, &options.source));
    world->s3 = s3_new(world->loop, world->http, &options);
}

static void set_up(struct stage *stage,
                   enum source source,
                   const char *role,
                   const struct http_rule *rules,
                   unsigned count)
{
    set_up_with(stage, source, role, rules, count, 0);
}

static void tear_down(struct stage *stage)
{
    if (stage->file[0]) {
        assert_int_equal(unlink(stage->file), 0);
    }
    world_tear_down(&stage->world);
}

/* One PUT to its end; the error, NULL for none, is the caller's. It never quotes a secret. */
static struct error *put_one(struct stage *stage, const char *key)
{
    struct outcome outcome;
    struct s3_call *call;

    world_begin(&stage->world, &outcome);
    call = s3_put(stage->world.s3, span_of(key), SPAN_LIT("x"), world_done, &outcome);
    world_run(&stage->world, &outcome);
    s3_call_free(call);
    if (outcome.err) {
        assert_null(strstr(error_text(outcome.err), "hush"));
        assert_null(strstr(error_hint(outcome.err), "hush"));
    }
    return outcome.err;
}

/* Runs the loop with so many operations under way; the client closes after the last. */
static void run_all(struct stage *stage)
{
    loop_run(stage->world.loop);
    assert_int_equal(stage->world.running, 0);
}

static struct http_peer_request seen; /* large; each test looks at one after the other */

static void check_signed_by(
    struct stage *stage, const char *method, const char *target, unsigned index, const char *key)
{
    char text[128];

    assert_true(http_peer_request(stage->world.peer, method, target, index, &seen));
    (void)snprintf(text, sizeof(text), "Credential=%s/20260101/us-east-1/s3/", key);
    assert_non_null(strstr(seen.headers, text));
    (void)snprintf(text, sizeof(text), "\r\nx-amz-security-token: hush-token-%s\r\n",
                   key + strlen("ASIA"));
    assert_non_null(strstr(seen.headers, text));
    assert_non_null(strstr(seen.headers, ";x-amz-security-token"));
}

/* ---------------------------------------------------------------- each source */

static void a_container_is_asked_with_its_token(void **state)
{
    static const struct http_rule rules[] = {
        {.method = "GET", .target = "/keys", .body = KEYS("1", "06:00:00")}, {.method = "PUT"}};
    static const struct {
        enum source source;
        const char *header; /* NULL: no token */
    } ways[] = {
        {CONTAINER, NULL},
        {CONTAINER_WITH_TOKEN, "\r\nauthorization: Bearer hush-auth\r\n"},
        {CONTAINER_WITH_FILE, "\r\nauthorization: hush-auth-of-file\r\n"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        struct stage stage;

        set_up(&stage, ways[i].source, NULL, rules, ARRAY_LEN(rules));
        assert_null(put_one(&stage, "k"));
        assert_true(http_peer_request(stage.world.peer, "GET", "/keys", 0, &seen));
        if (ways[i].header) {
            assert_non_null(strstr(seen.headers, ways[i].header));
        } else {
            assert_null(strstr(seen.headers, "authorization"));
        }
        check_signed_by(&stage, "PUT", NULL, 0, "ASIA1");
        assert_int_equal(stage.news.renewed, 1);
        tear_down(&stage);
    }
}

static void an_instance_is_asked_by_version_2_only(void **state)
{
    static const struct http_rule rules[] = {
        {.method = "PUT", .target = "/latest/api/token", .body = "hush-session"},
        {.method = "GET", .target = "/security-credentials/loader", .body = KEYS("1", "06:00:00")},
        {.method = "GET", .target = "/security-credentials/", .body = "loader"},
        {.method = "PUT", .target = "/docs/"}};
    struct stage stage;

    (void)state;
    set_up(&stage, INSTANCE, NULL, rules, ARRAY_LEN(rules));
    assert_null(put_one(&stage, "k"));
    assert_true(http_peer_request(stage.world.peer, "PUT", "/latest/api/token", 0, &seen));
    assert_non_null(strstr(seen.headers, "\r\nx-aws-ec2-metadata-token-ttl-seconds: 300\r\n"));
    for (unsigned i = 0; i < 2; i++) {
        assert_true(http_peer_request(stage.world.peer, "GET", "/latest/meta-data/iam/", i, &seen));
        assert_non_null(strstr(seen.headers, "\r\nx-aws-ec2-metadata-token: hush-session\r\n"));
    }
    check_signed_by(&stage, "PUT", "/docs/", 0, "ASIA1");
    tear_down(&stage);
}

static void an_instance_that_refuses_version_2_is_not_asked_otherwise(void **state)
{
    static const struct http_rule rules[] = {
        {.method = "PUT", .target = "/latest/api/token", .status = 403},
        {.method = "GET", .body = "loader"}};
    struct stage stage;
    struct error *err;

    (void)state;
    set_up(&stage, INSTANCE, NULL, rules, ARRAY_LEN(rules));
    err = put_one(&stage, "k");
    assert_int_equal(error_class_of(err), ERROR_CONFIG);
    assert_non_null(strstr(error_text(err), "from the instance's metadata service: the request for "
                                            "a session token (IMDSv2) was refused (403)"));
    assert_int_equal(http_peer_count(stage.world.peer, "GET", NULL), 0);
    error_free(err);
    tear_down(&stage);
}

static void a_session_with_the_instance_that_ended_is_begun_anew(void **state)
{
    static const struct http_rule rules[] = {
        {.method = "PUT", .target = "/latest/api/token", .body = "hush-session"},
        {.method = "GET", .status = 401, .times = 1},
        {.method = "GET", .target = "/security-credentials/loader", .body = KEYS("1", "06:00:00")},
        {.method = "GET", .target = "/security-credentials/", .body = "loader"},
        {.method = "PUT", .target = "/docs/"}};
    struct stage stage;

    (void)state;
    set_up(&stage, INSTANCE, NULL, rules, ARRAY_LEN(rules));
    assert_null(put_one(&stage, "k"));
    assert_int_equal(http_peer_count(stage.world.peer, "PUT", "/latest/api/token"), 2);
    tear_down(&stage);
}

static void a_web_identity_is_shown_to_sts_unsigned(void **state)
{
    static const struct http_rule rules[] = {{.method = "POST", .body = WEB_KEYS("1", "01:00:00")},
                                             {.method = "PUT"}};
    struct stage stage;

    (void)state;
    set_up(&stage, WEB, NULL, rules, ARRAY_LEN(rules));
    assert_null(put_one(&stage, "k"));
    assert_true(http_peer_request(stage.world.peer, "POST", NULL, 0, &seen));
    assert_string_equal(seen.target, "/");
    assert_string_equal(seen.body,
                        "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&DurationSeconds=3600"
                        "&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Floader"
                        "&RoleSessionName=task&WebIdentityToken=hush.web.token");
    assert_null(strstr(seen.headers, "authorization"));
    check_signed_by(&stage, "PUT", NULL, 0, "ASIA1");
    tear_down(&stage);
}

static void a_role_is_assumed_with_keys_that_stay(void **state)
{
    static const struct http_rule rules[] = {{.method = "POST", .body = ROLE_KEYS("2", "01:00:00")},
                                             {.method = "PUT"}};
    struct stage stage;

    (void)state;
    set_up(&stage, STATIC, ROLE, rules, ARRAY_LEN(rules));
    assert_null(put_one(&stage, "k"));
    assert_true(http_peer_request(stage.world.peer, "POST", NULL, 0, &seen));
    assert_string_equal(seen.body, "Action=AssumeRole&Version=2011-06-15&DurationSeconds=3600"
                                   "&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Floader"
                                   "&RoleSessionName=materialize-redshift&ExternalId=tenant%2F1");
    assert_non_null(strstr(seen.headers, "Credential=AKIABASE/20260101/us-east-1/sts/aws4_request,"
                                         "SignedHeaders=content-type;host;x-amz-date,Signature="));
    check_signed_by(&stage, "PUT", NULL, 0, "ASIA2");
    tear_down(&stage);
}

static void a_role_is_assumed_with_keys_of_a_container(void **state)
{
    static const struct http_rule rules[] = {
        {.method = "GET", .target = "/keys", .body = KEYS("1", "06:00:00")},
        {.method = "POST", .body = ROLE_KEYS("2", "01:00:00")},
        {.method = "PUT"}};
    struct stage stage;

    (void)state;
    set_up(&stage, CONTAINER, ROLE, rules, ARRAY_LEN(rules));
    assert_null(put_one(&stage, "k"));
    assert_true(http_peer_request(stage.world.peer, "POST", NULL, 0, &seen));
    assert_non_null(strstr(seen.headers, "Credential=ASIA1/20260101/us-east-1/sts/aws4_request"));
    assert_non_null(strstr(seen.headers, "\r\nx-amz-security-token: hush-token-1\r\n"));
    check_signed_by(&stage, "PUT", NULL, 0, "ASIA2");
    tear_down(&stage);
}

/* ---------------------------------------------------------------- waiting */

static void many_requests_wait_for_one_refresh(void **state)
{
    static const struct http_rule rules[] = {
        {.method = "GET", .target = "/keys", .status = 500, .times = 1},
        {.method = "GET", .target = "/keys", .body = KEYS("1", "06:00:00")},
        {.method = "PUT"}};
    struct outcome outcomes[12];
    struct s3_call *calls[ARRAY_LEN(outcomes)];
    struct stage stage;

    (void)state;
    set_up(&stage, CONTAINER, NULL, rules, ARRAY_LEN(rules));
    for (size_t i = 0; i < ARRAY_LEN(outcomes); i++) {
        world_begin(&stage.world, &outcomes[i]);
        calls[i] = s3_put(stage.world.s3, SPAN_LIT("k"), SPAN_LIT("x"), world_done, &outcomes[i]);
    }
    run_all(&stage);
    for (size_t i = 0; i < ARRAY_LEN(outcomes); i++) {
        assert_null(outcomes[i].err);
        s3_call_free(calls[i]);
    }
    assert_int_equal(http_peer_count(stage.world.peer, "GET", "/keys"), 2);
    assert_int_equal(http_peer_count(stage.world.peer, "PUT", NULL), 12);
    tear_down(&stage);
}

static void each_that_waits_gets_the_error(void **state)
{
    static const struct http_rule rules[] = {{.target = "/keys", .status = 404}};
    struct outcome outcomes[3];
    struct s3_call *calls[ARRAY_LEN(outcomes)];
    struct stage stage;

    (void)state;
    set_up(&stage, CONTAINER, NULL, rules, ARRAY_LEN(rules));
    for (size_t i = 0; i < ARRAY_LEN(outcomes); i++) {
        world_begin(&stage.world, &outcomes[i]);
        calls[i] = s3_get(stage.world.s3, SPAN_LIT("k"), 10, world_done, &outcomes[i]);
    }
    run_all(&stage);
    for (size_t i = 0; i < ARRAY_LEN(outcomes); i++) {
        assert_int_equal(error_class_of(outcomes[i].err), ERROR_CONFIG);
        assert_non_null(strstr(error_text(outcomes[i].err),
                               "asking for keys for S3 from the container's credentials endpoint: "
                               "the request for keys was refused (404)"));
        error_free(outcomes[i].err);
        s3_call_free(calls[i]);
    }
    assert_int_equal(http_peer_count(stage.world.peer, NULL, NULL), 1);
    tear_down(&stage);
}

static void a_cancelled_call_does_not_wait_for_keys(void **state)
{
    static const struct http_rule rules[] = {{.target = "/keys", .way = HTTP_PEER_SILENCE}};
    struct outcome outcomes[2];
    struct s3_call *calls[2];
    struct stage stage;

    (void)state;
    for (unsigned count = 1; count <= 2; count++) {
        set_up(&stage, CONTAINER, NULL, rules, ARRAY_LEN(rules));
        for (unsigned i = 0; i < count; i++) {
            world_begin(&stage.world, &outcomes[i]);
            calls[i] = s3_get(stage.world.s3, SPAN_LIT("k"), 10, world_done, &outcomes[i]);
            s3_call_cancel(calls[i]);
        }
        run_all(&stage);
        for (unsigned i = 0; i < count; i++) {
            assert_int_equal(error_code_of(outcomes[i].err), ERROR_CANCELLED);
            error_free(outcomes[i].err);
            s3_call_free(calls[i]);
        }
        tear_down(&stage);
    }
}

/* An operation that looks for a fact and then cancels calls: the peer has been asked for keys. */
struct canceller {
    struct op op;
    struct stage *stage;
    struct timer *timer;
    struct s3_call *victim;
    /* Begun in the same turn as the cancel, to wait while what was asked is called off. */
    bool begins_another;
    struct s3_call *other;
    struct outcome *other_outcome;
    struct outcome *outcome;
};

static void canceller_step(struct op *op)
{
    struct canceller *self = CONTAINER_OF(op, struct canceller, op);

    if (http_peer_count(self->stage->world.peer, NULL, "/keys") == 0) {
        timer_start(self->timer, 1); /* looks again */
        return;
    }
    s3_call_cancel(self->victim);
    if (self->begins_another) {
        world_begin(&self->stage->world, self->other_outcome);
        self->other = s3_put(self->stage->world.s3, SPAN_LIT("other"), SPAN_LIT("x"), world_done,
                             self->other_outcome);
    }
    op_finish_won(op);
}

static void canceller_start(struct canceller *self, struct stage *stage, struct outcome *outcome)
{
    static const char *const names[] = {"LOOKING"};
    static const uint32_t moves[] = {0};
    static const struct op_kind kind = {"canceller", names, 1, moves, canceller_step};

    self->stage = stage;
    self->outcome = outcome;
    world_begin(&stage->world, outcome);
    op_init(&self->op, stage->world.loop, &kind, world_done, outcome);
    self->timer = timer_new(&self->op);
    op_mark(&self->op);
}

static void one_of_two_that_wait_may_leave(void **state)
{
    static const struct http_rule rules[] = {
        {.target = "/keys", .way = HTTP_PEER_SILENCE, .times = 1},
        {.target = "/keys", .body = KEYS("1", "06:00:00")},
        {.method = "PUT"}};
    struct outcome victim, stayer, outcome;
    struct s3_call *calls[2];
    struct canceller canceller = {.begins_another = false};
    struct stage stage;

    (void)state;
    set_up_with(&stage, CONTAINER, NULL, rules, ARRAY_LEN(rules), 300);
    world_begin(&stage.world, &victim);
    calls[0] = s3_put(stage.world.s3, SPAN_LIT("a"), SPAN_LIT("x"), world_done, &victim);
    world_begin(&stage.world, &stayer);
    calls[1] = s3_put(stage.world.s3, SPAN_LIT("b"), SPAN_LIT("x"), world_done, &stayer);
    canceller.victim = calls[0];
    canceller_start(&canceller, &stage, &outcome);
    run_all(&stage);
    assert_int_equal(error_code_of(victim.err), ERROR_CANCELLED);
    assert_null(stayer.err);
    check_signed_by(&stage, "PUT", "/docs/b", 0, "ASIA1");
    error_free(victim.err);
    s3_call_free(calls[0]);
    s3_call_free(calls[1]);
    tear_down(&stage);
}

static void who_comes_while_a_refresh_is_called_off_gets_another(void **state)
{
    static const struct http_rule rules[] = {
        {.target = "/keys", .way = HTTP_PEER_SILENCE, .times = 1},
        {.target = "/keys", .body = KEYS("1", "06:00:00")},
        {.method = "PUT"}};
    struct outcome victim, other, outcome;
    struct canceller canceller = {.begins_another = true, .other_outcome = &other};
    struct stage stage;

    (void)state;
    set_up(&stage, CONTAINER, NULL, rules, ARRAY_LEN(rules));
    world_begin(&stage.world, &victim);
    canceller.victim = s3_put(stage.world.s3, SPAN_LIT("a"), SPAN_LIT("x"), world_done, &victim);
    canceller_start(&canceller, &stage, &outcome);
    run_all(&stage);
    assert_int_equal(error_code_of(victim.err), ERROR_CANCELLED);
    assert_null(other.err);
    assert_int_equal(http_peer_count(stage.world.peer, NULL, "/keys"), 2);
    assert_int_equal(http_peer_count(stage.world.peer, "PUT", "/docs/a"), 0);
    error_free(victim.err);
    s3_call_free(canceller.victim);
    s3_call_free(canceller.other);
    tear_down(&stage);
}

/* ---------------------------------------------------------------- the end of keys */

/* Three parts and the completion; one part at a time, so that the clock jumps between two. */
static void keys_that_end_in_the_middle_of_an_upload_are_renewed(void **state)
{
    static const struct http_rule rules[] = {
        {.target = "/keys", .body = KEYS("1", "01:00:00"), .times = 1},
        {.target = "/keys", .body = KEYS("2", "09:00:00")},
        {.method = "POST",
         .target = "?uploads=",
         .body = "<InitiateMultipartUploadResult><UploadId>u1</UploadId>"
                 "</InitiateMultipartUploadResult>"},
        {.method = "PUT", .headers = "ETag: \"e\"\r\n"},
        {.method = "POST", .body = "<CompleteMultipartUploadResult/>"}};
    struct outcome outcome;
    struct s3_upload *upload;
    struct stage stage;

    (void)state;
    set_up(&stage, CONTAINER, NULL, rules, ARRAY_LEN(rules));
    stage.clock.puts = 2;
    stage.clock.after = 7200;
    world_begin(&stage.world, &outcome);
    upload =
        s3_upload_new(stage.world.s3, SPAN_LIT("big"), stage.world.credit, 1, world_done, &outcome);
    for (unsigned i = 0; i < 3; i++) {
        struct chain part;

        world_fill(&stage.world, &part, S3_MIN_PART_BYTES);
        s3_upload_add_part(upload, &part);
    }
    s3_upload_end(upload);
    world_run(&stage.world, &outcome);
    assert_null(outcome.err);
    s3_upload_free(upload);
    check_signed_by(&stage, "POST", "?uploads=", 0, "ASIA1");
    check_signed_by(&stage, "PUT", "partNumber=1", 0, "ASIA1");
    check_signed_by(&stage, "PUT", "partNumber=2", 0, "ASIA1");
    check_signed_by(&stage, "PUT", "partNumber=3", 0, "ASIA2");
    check_signed_by(&stage, "POST", "?uploadId=", 0, "ASIA2");
    assert_int_equal(stage.news.renewed, 2);
    assert_int_equal(stage.news.kept, 0);
    tear_down(&stage);
}

static void a_token_that_the_bucket_refuses_is_renewed(void **state)
{
    static const struct http_rule rules[] = {
        {.target = "/keys", .body = KEYS("1", "06:00:00"), .times = 1},
        {.target = "/keys", .body = KEYS("2", "06:00:00")},
        {.method = "PUT", .status = 400, .body = EXPIRED, .times = 1},
        {.method = "PUT"}};
    struct stage stage;

    (void)state;
    set_up(&stage, CONTAINER, NULL, rules, ARRAY_LEN(rules));
    assert_null(put_one(&stage, "k"));
    check_signed_by(&stage, "PUT", NULL, 0, "ASIA1");
    check_signed_by(&stage, "PUT", NULL, 1, "ASIA2");
    assert_int_equal(http_peer_count(stage.world.peer, NULL, "/keys"), 2);
    tear_down(&stage);
}

/* An answer to HEAD has no document: it may be the token. */
static void a_bare_refusal_of_head_renews_the_token_once(void **state)
{
    static const struct http_rule rules[] = {
        {.target = "/keys", .body = KEYS("1", "06:00:00"), .times = 1},
        {.target = "/keys", .body = KEYS("2", "06:00:00")},
        {.method = "HEAD", .status = 400}};
    struct outcome outcome;
    struct s3_call *call;
    struct stage stage;

    (void)state;
    set_up(&stage, CONTAINER, NULL, rules, ARRAY_LEN(rules));
    world_begin(&stage.world, &outcome);
    call = s3_head(stage.world.s3, SPAN_LIT("k"), world_done, &outcome);
    world_run(&stage.world, &outcome);
    assert_non_null(outcome.err);
    assert_int_equal(http_peer_count(stage.world.peer, NULL, "/keys"), 2);
    assert_int_equal(http_peer_count(stage.world.peer, "HEAD", NULL), 2);
    error_free(outcome.err);
    s3_call_free(call);
    tear_down(&stage);
}

static void a_token_that_stays_refused_is_an_error_in_the_end(void **state)
{
    static const struct http_rule rules[] = {{.target = "/keys", .body = KEYS("1", "06:00:00")},
                                             {.method = "PUT", .status = 400, .body = EXPIRED}};
    struct stage stage;
    struct error *err;

    (void)state;
    set_up(&stage, CONTAINER, NULL, rules, ARRAY_LEN(rules));
    err = put_one(&stage, "k");
    assert_non_null(strstr(error_text(err), "ExpiredToken"));
    assert_int_equal(http_peer_count(stage.world.peer, "PUT", NULL), 7);
    error_free(err);
    tear_down(&stage);
}

static void a_token_of_the_configuration_cannot_be_renewed(void **state)
{
    static const struct http_rule rules[] = {{.method = "PUT", .status = 400, .body = EXPIRED}};
    struct stage stage;
    struct error *err;

    (void)state;
    set_up(&stage, STATIC, NULL, rules, ARRAY_LEN(rules));
    err = put_one(&stage, "k");
    assert_int_equal(error_class_of(err), ERROR_CONFIG);
    assert_int_equal(http_peer_count(stage.world.peer, "PUT", NULL), 1);
    error_free(err);
    tear_down(&stage);
}

/* Two PUTs one after the other: the clock stands at `before`, then at `after`. */
static struct error *
put_before_and_after(struct stage *stage, int64_t after, struct error **ret_first)
{
    struct outcome first, second;
    struct s3_call *calls[2];

    stage->world.running++; /* keeps the client open between the two */
    world_begin(&stage->world, &first);
    calls[0] = s3_put(stage->world.s3, SPAN_LIT("one"), SPAN_LIT("x"), world_done, &first);
    loop_run(stage->world.loop);
    stage->clock.before = after;
    world_begin(&stage->world, &second);
    stage->world.running--;
    calls[1] = s3_put(stage->world.s3, SPAN_LIT("two"), SPAN_LIT("x"), world_done, &second);
    run_all(stage);
    s3_call_free(calls[0]);
    s3_call_free(calls[1]);
    *ret_first = first.err;
    return second.err;
}

static void keys_are_renewed_before_they_end(void **state)
{
    static const struct http_rule rules[] = {
        {.target = "/keys", .body = KEYS("1", "01:00:00"), .times = 1},
        {.target = "/keys", .body = KEYS("2", "02:00:00")},
        {.method = "PUT"}};
    static const struct {
        int64_t after;
        const char *key;
    } moments[] = {
        {3600 - 301, "ASIA1"}, /* more than five minutes are left */
        {3600 - 300, "ASIA2"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(moments); i++) {
        struct error *first;
        struct stage stage;

        set_up(&stage, CONTAINER, NULL, rules, ARRAY_LEN(rules));
        assert_null(put_before_and_after(&stage, moments[i].after, &first));
        assert_null(first);
        check_signed_by(&stage, "PUT", "/one", 0, "ASIA1");
        check_signed_by(&stage, "PUT", "/two", 0, moments[i].key);
        tear_down(&stage);
    }
}

static void old_keys_serve_to_their_end_when_there_are_no_new_ones(void **state)
{
    static const struct http_rule rules[] = {
        {.target = "/keys", .body = KEYS("1", "01:00:00"), .times = 1},
        {.target = "/keys", .status = 503},
        {.method = "PUT"}};
    struct error *first;
    struct stage stage;

    (void)state;
    set_up(&stage, CONTAINER, NULL, rules, ARRAY_LEN(rules));
    assert_null(put_before_and_after(&stage, 3500, &first));
    assert_null(first);
    check_signed_by(&stage, "PUT", "/two", 0, "ASIA1");
    assert_int_equal(stage.news.kept, 1);
    assert_non_null(strstr(stage.news.error, "the container's credentials endpoint: the request "
                                             "for keys was refused (503)"));
    tear_down(&stage);
}

static void after_their_end_the_error_names_source_and_cause(void **state)
{
    static const struct http_rule rules[] = {
        {.target = "/keys", .body = KEYS("1", "01:00:00"), .times = 1},
        {.target = "/keys", .status = 503},
        {.method = "PUT"}};
    struct error *first;
    struct error *err;
    struct stage stage;

    (void)state;
    set_up(&stage, CONTAINER, NULL, rules, ARRAY_LEN(rules));
    err = put_before_and_after(&stage, 3600, &first);
    assert_null(first);
    assert_non_null(err);
    assert_non_null(strstr(error_text(err), "the container's credentials endpoint: the request "
                                            "for keys was refused (503)"));
    assert_int_equal(http_peer_count(stage.world.peer, NULL, "/keys"), 1 + 4);
    assert_int_equal(http_peer_count(stage.world.peer, "PUT", NULL), 1);
    assert_int_equal(stage.news.kept, 0);
    error_free(err);
    tear_down(&stage);
}

/* The metadata service gives the same keys until shortly before their end. */
static void short_lived_keys_are_not_asked_for_with_each_request(void **state)
{
    static const struct http_rule rules[] = {{.target = "/keys", .body = KEYS("1", "00:04:00")},
                                             {.method = "PUT"}};
    struct error *first;
    struct stage stage;

    (void)state;
    set_up(&stage, CONTAINER, NULL, rules, ARRAY_LEN(rules));
    assert_null(put_before_and_after(&stage, 59, &first));
    assert_null(first);
    assert_int_equal(http_peer_count(stage.world.peer, NULL, "/keys"), 1);
    tear_down(&stage);
}

/* ---------------------------------------------------------------- hostile services */

static void a_hostile_service_is_an_error_and_nothing_else(void **state)
{
    static const struct {
        const char *sentence;
        enum source source;
        struct http_rule rule;
        const char *text; /* of the error */
        unsigned tries;
    } cases[] = {
        {"keys that ended",
         CONTAINER,
         {.body = KEYS("1", "00:00:00")},
         "the answer's keys expired at 2026-01-01T00:00:00Z already",
         4},
        {"half of an answer",
         CONTAINER,
         {.body = KEYS("1", "06:00:00"), .way = HTTP_PEER_CUT, .after_bytes = 80},
         "exchange with",
         4},
        {"a page", CONTAINER, {.body = "<html>hush</html>"}, "the answer is not a JSON object", 4},
        {"a redirect",
         CONTAINER,
         {.status = 302, .headers = "Location: http://127.0.0.1:1/\r\n"},
         "the request for keys was refused (302)",
         1},
        {"a refusal with a secret in it",
         CONTAINER,
         {.status = 401, .body = "hush"},
         "the request for keys was refused (401)",
         4},
        {"a reset", CONTAINER, {.way = HTTP_PEER_RESET}, "exchange with", 4},
        {"a line break in a token",
         CONTAINER,
         {.body = "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"s\",\"Token\":\"t\\r\\nx: hush\"}"},
         "have characters that none has",
         1},
        {"a token of two lines", INSTANCE, {.body = "hush\nhush"}, "the answer is not a token", 4},
        {"an empty token", INSTANCE, {.body = ""}, "the answer is not a token", 4},
        {"a document in place of STS' keys", WEB, {.body = "<html/>"}, "the answer is <html>", 4},
        {"other keys than were asked for",
         WEB,
         {.body = ROLE_KEYS("1", "06:00:00")},
         "the answer is <AssumeRoleResponse>",
         4},
        {"a refusal by STS that quotes the identity",
         WEB,
         {.status = 400,
          .body = "<ErrorResponse><Error><Code>InvalidIdentityToken</Code><Message>bad: "
                  "hush.web.token</Message></Error></ErrorResponse>"},
         "the server gave no reason (400 InvalidIdentityToken)",
         1},
        {"a refusal by STS",
         WEB,
         {.status = 403,
          .body = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>Not authorized to "
                  "perform sts:AssumeRoleWithWebIdentity</Message></Error></ErrorResponse>"},
         "from web identity (AWS_WEB_IDENTITY_TOKEN_FILE): Not authorized to perform "
         "sts:AssumeRoleWithWebIdentity (403 AccessDenied)",
         1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct stage stage;
        struct error *err;

        set_up(&stage, cases[i].source, NULL, &cases[i].rule, 1);
        err = put_one(&stage, "k");
        if (!err || !strstr(error_text(err), cases[i].text)) {
            fail_msg("%s: %s", cases[i].sentence, err ? error_text(err) : "accepted");
        }
        assert_int_equal(http_peer_count(stage.world.peer, NULL, "/docs/"), 0);
        assert_int_equal(http_peer_count(stage.world.peer, NULL, NULL), cases[i].tries);
        error_free(err);
        tear_down(&stage);
    }
}

static void an_answer_without_end_is_refused(void **state)
{
    static char body[70000];
    const struct http_rule rules[] = {{.body = body}};
    struct stage stage;
    struct error *err;

    (void)state;
    memset(body, ' ', sizeof(body) - 1);
    set_up(&stage, CONTAINER, NULL, rules, 1);
    err = put_one(&stage, "k");
    assert_non_null(strstr(error_text(err), "answered with more than 65536 bytes"));
    error_free(err);
    tear_down(&stage);
}

static void a_file_without_a_token_is_named(void **state)
{
    static const char *const texts[] = {"", "\n", "two\nlines", NULL};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct stage stage;
        struct error *err;
        FILE *file;

        set_up(&stage, WEB, NULL, NULL, 0);
        if (texts[i]) {
            file = fopen(stage.file, "w");
            assert_non_null(file);
            assert_true(fputs(texts[i], file) >= 0);
            assert_int_equal(fclose(file), 0);
        } else {
            assert_int_equal(unlink(stage.file), 0);
        }
        err = put_one(&stage, "k");
        assert_int_equal(error_class_of(err), ERROR_CONFIG);
        assert_non_null(strstr(error_text(err), stage.file));
        assert_int_equal(http_peer_count(stage.world.peer, NULL, NULL), 0);
        error_free(err);
        if (!texts[i]) {
            stage.file[0] = '\0';
        }
        tear_down(&stage);
    }
}

/* ---------------------------------------------------------------- encryption */

static void
check_encryption(struct stage *stage, const char *method, const char *target, bool wanted)
{
    assert_true(http_peer_request(stage->world.peer, method, target, 0, &seen));
    if (wanted) {
        assert_non_null(strstr(seen.headers, "\r\nx-amz-server-side-encryption: aws:kms\r\n"));
        assert_non_null(strstr(seen.headers,
                               "\r\nx-amz-server-side-encryption-aws-kms-key-id: alias/stage\r\n"));
        assert_non_null(strstr(seen.headers, ";x-amz-server-side-encryption;"
                                             "x-amz-server-side-encryption-aws-kms-key-id,"));
    } else {
        assert_null(strstr(seen.headers, "encryption"));
    }
}

static void the_kms_key_is_named_where_an_object_begins_and_nowhere_else(void **state)
{
    static const struct http_rule rules[] = {
        {.method = "POST",
         .target = "?uploads=",
         .body = "<InitiateMultipartUploadResult><UploadId>u1</UploadId>"
                 "</InitiateMultipartUploadResult>"},
        {.method = "POST", .target = "?delete=", .body = "<DeleteResult/>"},
        {.method = "POST", .body = "<CompleteMultipartUploadResult/>"},
        {.method = "PUT", .headers = "ETag: \"e\"\r\n"},
        {.method = "HEAD", .headers = "Content-Length: 1\r\n"},
        {.method = "GET", .body = "x"},
        {.method = "DELETE", .status = 204}};
    const struct span keys[] = {SPAN_LIT("many")};
    struct outcome outcomes[7];
    struct s3_call *calls[5];
    struct s3_upload *uploads[2];
    struct chain part;
    struct stage stage;

    (void)state;
    set_up(&stage, STATIC, NULL, rules, ARRAY_LEN(rules));
    for (size_t i = 0; i < ARRAY_LEN(outcomes); i++) {
        world_begin(&stage.world, &outcomes[i]);
    }
    struct s3 *s3 = stage.world.s3;
    calls[0] = s3_put(s3, SPAN_LIT("small"), SPAN_LIT("x"), world_done, &outcomes[0]);
    calls[1] = s3_get(s3, SPAN_LIT("read"), 10, world_done, &outcomes[1]);
    calls[2] = s3_head(s3, SPAN_LIT("looked"), world_done, &outcomes[2]);
    calls[3] = s3_delete_one(s3, SPAN_LIT("gone"), world_done, &outcomes[3]);
    calls[4] = s3_delete(s3, keys, 1, world_done, &outcomes[4]);
    uploads[0] =
        s3_upload_new(s3, SPAN_LIT("single"), stage.world.credit, 1, world_done, &outcomes[5]);
    world_fill(&stage.world, &part, 10);
    s3_upload_add_part(uploads[0], &part);
    s3_upload_end(uploads[0]);
    uploads[1] =
        s3_upload_new(s3, SPAN_LIT("parts"), stage.world.credit, 2, world_done, &outcomes[6]);
    for (unsigned i = 0; i < 2; i++) {
        world_fill(&stage.world, &part, S3_MIN_PART_BYTES);
        s3_upload_add_part(uploads[1], &part);
    }
    s3_upload_end(uploads[1]);
    run_all(&stage);
    for (size_t i = 0; i < ARRAY_LEN(outcomes); i++) {
        assert_null(outcomes[i].err);
    }
    check_encryption(&stage, "PUT", "/docs/small", true);
    check_encryption(&stage, "PUT", "/docs/single", true);
    check_encryption(&stage, "POST", "/docs/parts?uploads=", true);
    check_encryption(&stage, "PUT", "/docs/parts?partNumber=1", false);
    check_encryption(&stage, "POST", "/docs/parts?uploadId=", false);
    check_encryption(&stage, "GET", "/docs/read", false);
    check_encryption(&stage, "HEAD", "/docs/looked", false);
    check_encryption(&stage, "DELETE", "/docs/gone", false);
    check_encryption(&stage, "POST", "?delete=", false);
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        s3_call_free(calls[i]);
    }
    s3_upload_free(uploads[0]);
    s3_upload_free(uploads[1]);
    tear_down(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_container_is_asked_with_its_token),
        cmocka_unit_test(an_instance_is_asked_by_version_2_only),
        cmocka_unit_test(an_instance_that_refuses_version_2_is_not_asked_otherwise),
        cmocka_unit_test(a_session_with_the_instance_that_ended_is_begun_anew),
        cmocka_unit_test(a_web_identity_is_shown_to_sts_unsigned),
        cmocka_unit_test(a_role_is_assumed_with_keys_that_stay),
        cmocka_unit_test(a_role_is_assumed_with_keys_of_a_container),
        cmocka_unit_test(many_requests_wait_for_one_refresh),
        cmocka_unit_test(each_that_waits_gets_the_error),
        cmocka_unit_test(a_cancelled_call_does_not_wait_for_keys),
        cmocka_unit_test(one_of_two_that_wait_may_leave),
        cmocka_unit_test(who_comes_while_a_refresh_is_called_off_gets_another),
        cmocka_unit_test(keys_that_end_in_the_middle_of_an_upload_are_renewed),
        cmocka_unit_test(a_token_that_the_bucket_refuses_is_renewed),
        cmocka_unit_test(a_bare_refusal_of_head_renews_the_token_once),
        cmocka_unit_test(a_token_that_stays_refused_is_an_error_in_the_end),
        cmocka_unit_test(a_token_of_the_configuration_cannot_be_renewed),
        cmocka_unit_test(keys_are_renewed_before_they_end),
        cmocka_unit_test(old_keys_serve_to_their_end_when_there_are_no_new_ones),
        cmocka_unit_test(after_their_end_the_error_names_source_and_cause),
        cmocka_unit_test(short_lived_keys_are_not_asked_for_with_each_request),
        cmocka_unit_test(a_hostile_service_is_an_error_and_nothing_else),
        cmocka_unit_test(an_answer_without_end_is_refused),
        cmocka_unit_test(a_file_without_a_token_is_named),
        cmocka_unit_test(the_kms_key_is_named_where_an_object_begins_and_nowhere_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
