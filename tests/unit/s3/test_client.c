/* Calls to a bucket that a script plays: what is sent, which answers are tried again, what people
 * are told about the others. */

#include "world.h"

#include "base/text.h"

/* ---------------------------------------------------------------- single objects */

static void a_put_is_signed_with_its_payload_over_plain_http(void **state)
{
    static const struct http_rule rules[] = {{.method = "PUT", .status = 200}};
    struct http_peer_request seen;
    struct world world;
    struct outcome outcome;
    struct s3_call *call;

    (void)state;
    world_set_up(&world, rules, 1, 0);
    world_begin(&world, &outcome);
    call = s3_put(world.s3, SPAN_LIT("a b/k"), SPAN_LIT("hello"), world_done, &outcome);
    world_run(&world, &outcome);
    assert_null(outcome.err);
    assert_true(http_peer_request(world.peer, "PUT", NULL, 0, &seen));
    assert_string_equal(seen.target, "/docs/a%20b/k");
    assert_string_equal(seen.body, "hello");
    assert_non_null(strstr(seen.headers, "x-amz-content-sha256: 2cf24dba5fb0a30e26e83b2ac5b9e29e"
                                         "1b161e5c1fa7425e73043362938b9824\r\n"));
    assert_non_null(strstr(seen.headers, "authorization: AWS4-HMAC-SHA256 Credential=AKIATEST/"));
    assert_int_equal(world.figures.s3_requests, 1);
    assert_int_equal(world.figures.s3_retries, 0);
    s3_call_free(call);
    world_tear_down(&world);
}

static void over_tls_the_payload_is_not_hashed(void **state)
{
    static const struct http_rule rules[] = {{.method = "PUT", .status = 200}};
    struct http_peer_request seen;
    struct world world;
    struct outcome outcome;
    struct s3_call *call;

    (void)state;
    world_set_up_with(&world, rules, 1, 0, true, NULL);
    world_begin(&world, &outcome);
    call = s3_put(world.s3, SPAN_LIT("k"), SPAN_LIT("hello"), world_done, &outcome);
    world_run(&world, &outcome);
    assert_null(outcome.err);
    assert_true(http_peer_request(world.peer, "PUT", NULL, 0, &seen));
    assert_string_equal(seen.body, "hello");
    assert_non_null(strstr(seen.headers, "x-amz-content-sha256: UNSIGNED-PAYLOAD\r\n"));
    s3_call_free(call);
    world_tear_down(&world);
}

static void a_session_token_is_sent_and_signed(void **state)
{
    static const struct http_rule rules[] = {{.status = 200}};
    struct http_peer_request seen;
    struct world world;
    struct outcome outcome;
    struct s3_call *call;

    (void)state;
    world_set_up_with(&world, rules, 1, 0, false, "tok/en==");
    world_begin(&world, &outcome);
    call = s3_get(world.s3, SPAN_LIT("k"), 100, world_done, &outcome);
    world_run(&world, &outcome);
    assert_null(outcome.err);
    assert_true(http_peer_request(world.peer, NULL, NULL, 0, &seen));
    assert_non_null(strstr(seen.headers, "\r\nx-amz-security-token: tok/en==\r\n"));
    assert_non_null(strstr(seen.headers, ";x-amz-date;x-amz-security-token,Signature="));
    s3_call_free(call);
    world_tear_down(&world);
}

static void a_get_returns_the_bytes(void **state)
{
    static const struct http_rule rules[] = {{.method = "GET", .status = 200, .body = "content"}};
    struct world world;
    struct outcome outcome;
    struct s3_call *call;

    (void)state;
    world_set_up(&world, rules, 1, 0);
    world_begin(&world, &outcome);
    call = s3_get(world.s3, SPAN_LIT("k"), 7, world_done, &outcome);
    world_run(&world, &outcome);
    assert_null(outcome.err);
    assert_true(span_is(s3_call_body(call), "content"));
    s3_call_free(call);
    world_tear_down(&world);
}

static void an_object_larger_than_asked_for_is_an_error(void **state)
{
    static const struct http_rule rules[] = {{.method = "GET", .status = 200, .body = "content"}};
    struct world world;
    struct outcome outcome;
    struct s3_call *call;

    (void)state;
    world_set_up(&world, rules, 1, 0);
    world_begin(&world, &outcome);
    call = s3_get(world.s3, SPAN_LIT("k"), 6, world_done, &outcome);
    world_run(&world, &outcome);
    assert_non_null(outcome.err);
    error_free(outcome.err);
    s3_call_free(call);
    world_tear_down(&world);
}

static void a_head_tells_the_size_or_that_there_is_nothing(void **state)
{
    static const struct http_rule rules[] = {
        {.method = "HEAD", .target = "/there", .headers = "Content-Length: 123456789012\r\n"},
        {.method = "HEAD", .target = "/missing", .status = 404}};
    struct world world;
    struct outcome there, missing;
    struct s3_call *there_call, *missing_call;

    (void)state;
    world_set_up(&world, rules, 2, 0);
    world_begin(&world, &there);
    world_begin(&world, &missing);
    there_call = s3_head(world.s3, SPAN_LIT("there"), world_done, &there);
    missing_call = s3_head(world.s3, SPAN_LIT("missing"), world_done, &missing);
    world_run(&world, &there);
    assert_null(there.err);
    assert_true(s3_call_size(there_call) == 123456789012);
    assert_int_equal(s3_error_status(missing.err), 404);
    assert_int_equal(s3_error_status(NULL), 0);
    error_free(missing.err);
    s3_call_free(there_call);
    s3_call_free(missing_call);
    world_tear_down(&world);
}

static void deleting_what_is_gone_is_fine(void **state)
{
    static const struct http_rule rules[] = {
        {.target = "/gone", .status = 404, .body = "<Error><Code>NoSuchKey</Code></Error>"},
        {.target = "uploadId=", .status = 404, .body = "<Error><Code>NoSuchUpload</Code></Error>"},
        {.target = "/there", .status = 204, .headers = "Content-Length: 0\r\n"}};
    struct world world;
    struct outcome outcomes[3];
    struct s3_call *calls[3];

    (void)state;
    world_set_up(&world, rules, 3, 0);
    for (unsigned i = 0; i < 3; i++) {
        world_begin(&world, &outcomes[i]);
    }
    calls[0] = s3_delete_one(world.s3, SPAN_LIT("gone"), world_done, &outcomes[0]);
    calls[1] = s3_delete_one(world.s3, SPAN_LIT("there"), world_done, &outcomes[1]);
    calls[2] = s3_abort_upload(world.s3, SPAN_LIT("k"), SPAN_LIT("u/1"), world_done, &outcomes[2]);
    world_run(&world, &outcomes[0]);
    for (unsigned i = 0; i < 3; i++) {
        assert_null(outcomes[i].err);
        s3_call_free(calls[i]);
    }
    assert_int_equal(http_peer_count(world.peer, "DELETE", "/k?uploadId=u%2F1"), 1);
    world_tear_down(&world);
}

/* ---------------------------------------------------------------- judgement */

struct answer_row {
    const char *sentence;
    struct http_rule first; /* given `times`, then a good answer */
    unsigned want_requests;
    enum error_class cls; /* when it ends as an error */
    const char *origin;   /* NULL: it ends well */
    const char *in_text, *in_hint;
};

#define XML(code)                                                                                  \
    "<Error><Code>" code "</Code><Message>m</Message><RequestId>R7</RequestId></Error>"

static const struct answer_row answer_rows[] = {
    {"503 SlowDown is tried again",
     {.times = 2, .status = 503, .body = XML("SlowDown")},
     3,
     ERROR_RETRY,
     NULL,
     NULL,
     NULL},
    {"503 without a body is tried again",
     {.times = 1, .status = 503},
     2,
     ERROR_RETRY,
     NULL,
     NULL,
     NULL},
    {"500 is tried again",
     {.times = 1, .status = 500, .body = XML("InternalError")},
     2,
     ERROR_RETRY,
     NULL,
     NULL,
     NULL},
    {"502 with a gateway's page is tried again",
     {.times = 1, .status = 502, .body = "<html>Bad Gateway</html>"},
     2,
     ERROR_RETRY,
     NULL,
     NULL,
     NULL},
    {"504 is tried again", {.times = 1, .status = 504}, 2, ERROR_RETRY, NULL, NULL, NULL},
    {"429 is tried again", {.times = 1, .status = 429}, 2, ERROR_RETRY, NULL, NULL, NULL},
    {"400 RequestTimeout is tried again",
     {.times = 1, .status = 400, .body = XML("RequestTimeout")},
     2,
     ERROR_RETRY,
     NULL,
     NULL,
     NULL},
    {"409 OperationAborted is tried again",
     {.times = 1, .status = 409, .body = XML("OperationAborted")},
     2,
     ERROR_RETRY,
     NULL,
     NULL,
     NULL},
    {"a reset is tried again",
     {.times = 1, .way = HTTP_PEER_RESET},
     2,
     ERROR_RETRY,
     NULL,
     NULL,
     NULL},
    {"an answer that is cut is tried again",
     {.times = 1, .way = HTTP_PEER_CUT, .status = 200, .body = "0123456789", .after_bytes = 50},
     2,
     ERROR_RETRY,
     NULL,
     NULL,
     NULL},
    {"silence is tried again",
     {.times = 1, .way = HTTP_PEER_SILENCE},
     2,
     ERROR_RETRY,
     NULL,
     NULL,
     NULL},
    {"seven attempts and no more",
     {.status = 503, .body = XML("SlowDown")},
     7,
     ERROR_RETRY,
     "503 SlowDown",
     "after 7 attempts",
     NULL},
    {"a wrong secret",
     {.status = 403, .body = XML("SignatureDoesNotMatch")},
     1,
     ERROR_CONFIG,
     "403 SignatureDoesNotMatch",
     "request id R7",
     "secret access key"},
    {"an unknown key",
     {.status = 403, .body = XML("InvalidAccessKeyId")},
     1,
     ERROR_CONFIG,
     "403 InvalidAccessKeyId",
     "m, request id",
     "access key ID"},
    {"no right",
     {.status = 403, .body = XML("AccessDenied")},
     1,
     ERROR_CONFIG,
     "403 AccessDenied",
     "s3://docs/k",
     "s3:PutObject"},
    {"no bucket",
     {.status = 404, .body = XML("NoSuchBucket")},
     1,
     ERROR_CONFIG,
     "404 NoSuchBucket",
     "reading s3://docs/k",
     "Check its name"},
    {"another region by redirect",
     {.status = 301,
      .headers = "x-amz-bucket-region: eu-west-1\r\n",
      .body = XML("PermanentRedirect")},
     1,
     ERROR_CONFIG,
     "301 PermanentRedirect",
     "\"eu-west-1\" and not in \"us-east-1\"",
     "Set the region to eu-west-1."},
    {"another region by the scope",
     {.status = 400,
      .body = "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-3</Region></Error>"},
     1,
     ERROR_CONFIG,
     "400 AuthorizationHeaderMalformed",
     "\"eu-west-3\"",
     "Set the region to eu-west-3."},
    {"a clock that no correction helps",
     {.status = 403, .body = XML("RequestTimeTooSkewed")},
     1,
     ERROR_CONFIG,
     "403 RequestTimeTooSkewed",
     NULL,
     "clock"},
    {"a redirect is not followed",
     {.status = 307,
      .headers = "Location: http://127.0.0.1:1/\r\n",
      .body = XML("TemporaryRedirect")},
     1,
     ERROR_CONFIG,
     "307 TemporaryRedirect",
     NULL,
     "region"},
    {"a code that nobody knows",
     {.status = 418, .body = XML("Teapot")},
     1,
     ERROR_FATAL,
     "418 Teapot",
     NULL,
     NULL},
    {"the request id of a header",
     {.status = 403, .headers = "x-amz-request-id: H9\r\n"},
     1,
     ERROR_CONFIG,
     "403 AccessDenied",
     "request id H9",
     NULL},
};

/* Each retry has one cause. */
static uint64_t counted_causes(const struct figures *figures)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < FIGURE_CAUSE_COUNT; i++) {
        sum += figures->retries[FIGURE_RETRY_s3][i];
    }
    return sum;
}

static void every_answer_is_judged_by_its_code(void **state)
{
    static const struct http_rule good = {.status = 200, .body = "fine"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(answer_rows); i++) {
        const struct answer_row *row = &answer_rows[i];
        const struct http_rule rules[] = {row->first, good};
        struct world world;
        struct outcome outcome;
        struct s3_call *call;
        const char *text, *hint;

        world_set_up(&world, rules, 2, row->first.way == HTTP_PEER_SILENCE ? 60 : 0);
        world_begin(&world, &outcome);
        call = s3_get(world.s3, SPAN_LIT("k"), 100, world_done, &outcome);
        world_run(&world, &outcome);
        text = outcome.err ? error_text(outcome.err) : "";
        hint = outcome.err ? error_hint(outcome.err) : "";
        if ((row->origin == NULL) != (outcome.err == NULL) ||
            (row->origin && strcmp(error_origin(outcome.err), row->origin) != 0) ||
            (row->origin && error_class_of(outcome.err) != row->cls) ||
            (row->in_text && !strstr(text, row->in_text)) ||
            (row->in_hint && !strstr(hint, row->in_hint))) {
            fail_msg("%s: %s / %s", row->sentence, text, hint);
        }
        if (http_peer_count(world.peer, NULL, NULL) != row->want_requests ||
            world.figures.s3_requests != row->want_requests ||
            world.figures.s3_retries != row->want_requests - 1 ||
            counted_causes(&world.figures) != row->want_requests - 1) {
            fail_msg("%s: %u requests", row->sentence, http_peer_count(world.peer, NULL, NULL));
        }
        error_free(outcome.err);
        s3_call_free(call);
        world_tear_down(&world);
    }
}

static int64_t wrong_clock(void *ctx)
{
    (void)ctx;
    return 1000000000; /* 2001-09-09 */
}

static void a_wrong_clock_is_corrected_by_the_answers_date(void **state)
{
    static const struct http_rule rules[] = {{.times = 1,
                                              .status = 403,
                                              .headers = "Date: Fri, 24 May 2013 00:00:00 GMT\r\n",
                                              .body = XML("RequestTimeTooSkewed")},
                                             {.status = 200}};
    struct http_peer_request seen;
    struct world world;
    struct outcome outcome;
    struct s3_call *call;

    (void)state;
    world_set_up(&world, rules, 2, 0);
    loop_set_clock(world.loop, wrong_clock, NULL);
    world_begin(&world, &outcome);
    call = s3_get(world.s3, SPAN_LIT("k"), 100, world_done, &outcome);
    world_run(&world, &outcome);
    assert_null(outcome.err);
    assert_true(http_peer_request(world.peer, NULL, NULL, 0, &seen));
    assert_non_null(strstr(seen.headers, "x-amz-date: 20010909T014640Z\r\n"));
    assert_true(http_peer_request(world.peer, NULL, NULL, 1, &seen));
    assert_non_null(strstr(seen.headers, "x-amz-date: 20130524T000000Z\r\n"));
    s3_call_free(call);
    world_tear_down(&world);
}

static void what_cannot_be_asked_is_refused_without_a_request(void **state)
{
    char key[1026];
    struct world world;
    struct outcome outcome;
    struct s3_call *call;

    (void)state;
    memset(key, 'k', sizeof(key));
    world_set_up(&world, NULL, 0, 0);
    world_begin(&world, &outcome);
    call = s3_get(world.s3, (struct span){key, 1025}, 100, world_done, &outcome);
    world_run(&world, &outcome);
    assert_int_equal(error_class_of(outcome.err), ERROR_CONFIG);
    assert_int_equal(http_peer_count(world.peer, NULL, NULL), 0);
    error_free(outcome.err);
    s3_call_free(call);
    world_tear_down(&world);
}

static void a_credential_that_is_no_header_is_refused_without_a_request(void **state)
{
    struct world world;
    struct outcome outcome;
    struct s3_call *call;

    (void)state;
    world_set_up_with(&world, NULL, 0, 0, false, "token\r\nx-injected: 1");
    world_begin(&world, &outcome);
    call = s3_get(world.s3, SPAN_LIT("k"), 100, world_done, &outcome);
    world_run(&world, &outcome);
    assert_int_equal(error_class_of(outcome.err), ERROR_CONFIG);
    assert_null(strstr(error_text(outcome.err), "injected"));
    assert_int_equal(http_peer_count(world.peer, NULL, NULL), 0);
    error_free(outcome.err);
    s3_call_free(call);
    world_tear_down(&world);
}

/* ---------------------------------------------------------------- cancel */

static void a_cancelled_call_ends_once(void **state)
{
    static const struct http_rule rules[] = {{.way = HTTP_PEER_SILENCE}};
    struct world world;
    struct outcome early;
    struct s3_call *call;

    (void)state;
    world_set_up(&world, rules, 1, 0);
    world_begin(&world, &early);
    call = s3_get(world.s3, SPAN_LIT("k"), 100, world_done, &early);
    s3_call_cancel(call);
    s3_call_cancel(call);
    world_run(&world, &early);
    assert_int_equal(error_code_of(early.err), ERROR_CANCELLED);
    error_free(early.err);
    s3_call_free(call);
    world_tear_down(&world);
}

/* What was begun before and what is begun afterwards: both are over when the time is. */
static void a_bucket_that_says_nothing_does_not_hold_up_the_end(void **state)
{
    static const struct http_rule rules[] = {{.way = HTTP_PEER_SILENCE}};
    struct world world;
    struct outcome before, after;

    (void)state;
    world_set_up(&world, rules, 1, 0);
    world_begin(&world, &before);
    struct s3_call *deletion =
        s3_delete(world.s3, (struct span[]){SPAN_LIT("a")}, 1, world_done, &before);
    s3_give_up_within(world.s3, 300);
    world_begin(&world, &after);
    struct s3_call *abortion =
        s3_abort_upload(world.s3, SPAN_LIT("b"), SPAN_LIT("id"), world_done, &after);
    world_run(&world, &before);
    world_run(&world, &after);
    assert_int_equal(error_code_of(before.err), ERROR_CANCELLED);
    assert_int_equal(error_code_of(after.err), ERROR_CANCELLED);
    error_free(before.err);
    error_free(after.err);
    s3_call_free(deletion);
    s3_call_free(abortion);
    world_tear_down(&world);
}

static void who_is_in_a_hurry_still_gets_answers(void **state)
{
    static const struct http_rule rules[] = {
        {.method = "POST", .target = "?delete=", .body = "<DeleteResult/>"}};
    struct world world;
    struct outcome outcome;

    (void)state;
    world_set_up(&world, rules, 1, 0);
    world_begin(&world, &outcome);
    s3_give_up_within(world.s3, 60000);
    struct s3_call *deletion =
        s3_delete(world.s3, (struct span[]){SPAN_LIT("a")}, 1, world_done, &outcome);
    world_run(&world, &outcome);
    assert_null(outcome.err);
    s3_call_free(deletion);
    world_tear_down(&world);
}

/* ---------------------------------------------------------------- many objects */

static void deletions_go_by_a_thousand(void **state)
{
    enum { COUNT = 1001 };
    static const struct http_rule rules[] = {
        {.method = "POST", .target = "?delete=", .body = "<DeleteResult/>"}};
    static char names[COUNT][16];
    static struct span keys[COUNT];
    struct http_peer_request seen;
    struct world world;
    struct outcome outcome;
    struct s3_call *call;

    (void)state;
    for (unsigned i = 0; i < COUNT; i++) {
        snprintf(names[i], sizeof(names[i]), "k&%u", i);
        keys[i] = span_of(names[i]);
    }
    world_set_up(&world, rules, 1, 0);
    world_begin(&world, &outcome);
    call = s3_delete(world.s3, keys, COUNT, world_done, &outcome);
    world_run(&world, &outcome);
    assert_null(outcome.err);
    assert_int_equal(http_peer_count(world.peer, "POST", "/docs/?delete="), 2);
    assert_true(http_peer_request(world.peer, "POST", NULL, 0, &seen));
    assert_non_null(strstr(seen.headers, "\r\ncontent-md5: "));
    assert_non_null(strstr(seen.body, "<Quiet>true</Quiet><Object><Key>k&amp;0</Key></Object>"));
    assert_true(http_peer_request(world.peer, "POST", NULL, 1, &seen));
    assert_non_null(strstr(seen.body, "<Quiet>true</Quiet><Object><Key>k&amp;1000</Key></Object>"
                                      "</Delete>"));
    s3_call_free(call);
    world_tear_down(&world);
}

static void deleting_nothing_asks_nobody(void **state)
{
    struct world world;
    struct outcome outcome;
    struct s3_call *call;

    (void)state;
    world_set_up(&world, NULL, 0, 0);
    world_begin(&world, &outcome);
    call = s3_delete(world.s3, NULL, 0, world_done, &outcome);
    world_run(&world, &outcome);
    assert_null(outcome.err);
    assert_int_equal(http_peer_count(world.peer, NULL, NULL), 0);
    s3_call_free(call);
    world_tear_down(&world);
}

#define KEY_ERROR(key, code) "<Error><Key>" key "</Key><Code>" code "</Code></Error>"

static void keys_that_were_not_deleted_are_tried_again_then_counted(void **state)
{
    static const struct {
        const char *sentence;
        struct http_rule first;
        unsigned want_requests;
        const char *origin, *in_text;
        enum error_class cls;
    } rows[] = {
        {"an inner error is tried again",
         {.times = 1, .body = "<DeleteResult>" KEY_ERROR("a", "InternalError") "</DeleteResult>"},
         2,
         NULL,
         NULL,
         ERROR_RETRY},
        {"a key that is gone is fine",
         {.body = "<DeleteResult>" KEY_ERROR("a", "NoSuchKey") "</DeleteResult>"},
         1,
         NULL,
         NULL,
         ERROR_RETRY},
        {"a missing right is told at once",
         {.body = "<DeleteResult>" KEY_ERROR("a", "AccessDenied")
              KEY_ERROR("b", "AccessDenied") "</DeleteResult>"},
         1,
         "200 AccessDenied",
         "2 of 2 objects were not deleted, one of them: \"a\"",
         ERROR_CONFIG},
        {"an inner error that stays",
         {.body = "<DeleteResult>" KEY_ERROR("b", "InternalError") "</DeleteResult>"},
         7,
         "200 InternalError",
         "1 of 2 objects",
         ERROR_ABORT},
        {"no answer in XML", {.times = 1, .body = "ok"}, 2, NULL, NULL, ERROR_RETRY},
    };
    static const struct http_rule good = {.body = "<DeleteResult/>"};
    struct span keys[2] = {SPAN_LIT("a"), SPAN_LIT("b")};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct http_rule rules[] = {rows[i].first, good};
        struct world world;
        struct outcome outcome;
        struct s3_call *call;

        world_set_up(&world, rules, 2, 0);
        world_begin(&world, &outcome);
        call = s3_delete(world.s3, keys, 2, world_done, &outcome);
        world_run(&world, &outcome);
        if ((rows[i].origin == NULL) != (outcome.err == NULL) ||
            http_peer_count(world.peer, NULL, NULL) != rows[i].want_requests ||
            (outcome.err && (strcmp(error_origin(outcome.err), rows[i].origin) != 0 ||
                             !strstr(error_text(outcome.err), rows[i].in_text) ||
                             error_class_of(outcome.err) != rows[i].cls))) {
            fail_msg("%s: %s", rows[i].sentence, outcome.err ? error_text(outcome.err) : "fine");
        }
        error_free(outcome.err);
        s3_call_free(call);
        world_tear_down(&world);
    }
}

/* ---------------------------------------------------------------- lists */

struct listing {
    struct outcome outcome; /* first: the context of done, and of each */
    char seen[256];
};

static void note_object(void *ctx, struct span key, uint64_t size, int64_t modified_unix)
{
    struct listing *listing = ctx;
    size_t len = strlen(listing->seen);

    snprintf(listing->seen + len, sizeof(listing->seen) - len, "%.*s:%llu:%lld ", SPAN_FMT(key),
             (unsigned long long)size, (long long)modified_unix);
}

static void note_upload(void *ctx, struct span key, struct span upload_id, int64_t initiated_unix)
{
    struct listing *listing = ctx;
    size_t len = strlen(listing->seen);

    snprintf(listing->seen + len, sizeof(listing->seen) - len, "%.*s:%.*s:%lld ", SPAN_FMT(key),
             SPAN_FMT(upload_id), (long long)initiated_unix);
}

static void a_list_goes_on_page_by_page(void **state)
{
    static const struct http_rule rules[] = {
        {.target = "continuation-token=t%2F1",
         .body = "<ListBucketResult><Contents><Key>p/3</Key><Size>3</Size></Contents>"
                 "</ListBucketResult>"},
        {.times = 1, .target = "prefix=p%2F", .way = HTTP_PEER_CUT, .body = "x", .after_bytes = 10},
        {.target = "prefix=p%2F",
         .body = "<ListBucketResult><IsTruncated>true</IsTruncated>"
                 "<NextContinuationToken>t/1</NextContinuationToken><Contents><Key>p/1</Key>"
                 "<LastModified>1970-01-01T00:00:07.000Z</LastModified><Size>1</Size></Contents>"
                 "<Contents><Key>p/2</Key><Size>2</Size></Contents></ListBucketResult>"}};
    struct world world;
    struct listing listing = {.seen = ""};
    struct s3_call *call;

    (void)state;
    world_set_up(&world, rules, 3, 0);
    world_begin(&world, &listing.outcome);
    call = s3_list(world.s3, SPAN_LIT("p/"), note_object, world_done, &listing);
    world_run(&world, &listing.outcome);
    assert_null(listing.outcome.err);
    assert_string_equal(listing.seen, "p/1:1:7 p/2:2:0 p/3:3:0 ");
    assert_int_equal(http_peer_count(world.peer, "GET", "/docs/?"), 3);
    s3_call_free(call);
    world_tear_down(&world);
}

static void a_list_of_uploads_goes_on_page_by_page(void **state)
{
    static const struct http_rule rules[] = {
        {.target = "key-marker=p%2F1&prefix=p%2F&upload-id-marker=u1&uploads=",
         .body = "<ListMultipartUploadsResult><Upload><Key>p/2</Key><UploadId>u2</UploadId>"
                 "</Upload></ListMultipartUploadsResult>"},
        {.target = "prefix=p%2F&uploads=",
         .body = "<ListMultipartUploadsResult><IsTruncated>true</IsTruncated>"
                 "<NextKeyMarker>p/1</NextKeyMarker><NextUploadIdMarker>u1</NextUploadIdMarker>"
                 "<Upload><Key>p/1</Key><UploadId>u1</UploadId>"
                 "<Initiated>1970-01-01T00:00:09Z</Initiated></Upload>"
                 "</ListMultipartUploadsResult>"}};
    struct world world;
    struct listing listing = {.seen = ""};
    struct s3_call *call;

    (void)state;
    world_set_up(&world, rules, 2, 0);
    world_begin(&world, &listing.outcome);
    call = s3_list_uploads(world.s3, SPAN_LIT("p/"), note_upload, world_done, &listing);
    world_run(&world, &listing.outcome);
    assert_null(listing.outcome.err);
    assert_string_equal(listing.seen, "p/1:u1:9 p/2:u2:0 ");
    s3_call_free(call);
    world_tear_down(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_put_is_signed_with_its_payload_over_plain_http),
        cmocka_unit_test(over_tls_the_payload_is_not_hashed),
        cmocka_unit_test(a_session_token_is_sent_and_signed),
        cmocka_unit_test(a_credential_that_is_no_header_is_refused_without_a_request),
        cmocka_unit_test(a_get_returns_the_bytes),
        cmocka_unit_test(an_object_larger_than_asked_for_is_an_error),
        cmocka_unit_test(a_head_tells_the_size_or_that_there_is_nothing),
        cmocka_unit_test(deleting_what_is_gone_is_fine),
        cmocka_unit_test(every_answer_is_judged_by_its_code),
        cmocka_unit_test(a_wrong_clock_is_corrected_by_the_answers_date),
        cmocka_unit_test(what_cannot_be_asked_is_refused_without_a_request),
        cmocka_unit_test(a_cancelled_call_ends_once),
        cmocka_unit_test(a_bucket_that_says_nothing_does_not_hold_up_the_end),
        cmocka_unit_test(who_is_in_a_hurry_still_gets_answers),
        cmocka_unit_test(deletions_go_by_a_thousand),
        cmocka_unit_test(deleting_nothing_asks_nobody),
        cmocka_unit_test(keys_that_were_not_deleted_are_tried_again_then_counted),
        cmocka_unit_test(a_list_goes_on_page_by_page),
        cmocka_unit_test(a_list_of_uploads_goes_on_page_by_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
