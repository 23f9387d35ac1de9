/* Uploads to a bucket that a script plays: one part, many, each way to fail, a cancel in each
 * state. Each story ends with an empty ledger, no chunk in use, a closed loop, and done said once.
 */

#include "world.h"

#include "runtime/timer.h"

#define PART S3_MIN_PART_BYTES
#define CREATED                                                                                    \
    {                                                                                              \
        .method = "POST", .target = "?uploads=",                                                   \
        .body = "<InitiateMultipartUploadResult><UploadId>u1</UploadId>"                           \
                "</InitiateMultipartUploadResult>"                                                 \
    }
#define STORED                                                                                     \
    {                                                                                              \
        .method = "PUT", .target = "partNumber=", .headers = "ETag: \"e\"\r\n"                     \
    }
#define COMPLETED                                                                                  \
    {                                                                                              \
        .method = "POST", .target = "?uploadId=u1", .body = "<CompleteMultipartUploadResult/>"     \
    }
#define ABORTED                                                                                    \
    {                                                                                              \
        .method = "DELETE", .target = "?uploadId=u1", .status = 204                                \
    }
#define XML(code) "<Error><Code>" code "</Code></Error>"

static struct s3_upload *begin(struct world *world, struct outcome *outcome, unsigned max_parallel)
{
    world_begin(world, outcome);
    return s3_upload_new(world->s3, SPAN_LIT("dir/k"), world->credit, max_parallel, world_done,
                         outcome);
}

static void add_part(struct world *world, struct s3_upload *upload, size_t bytes)
{
    struct chain chain;

    world_fill(world, &chain, bytes);
    s3_upload_add_part(upload, &chain);
    assert_int_equal(chain.bytes, 0);
}

/* ---------------------------------------------------------------- one part */

static void an_object_of_one_part_is_one_put(void **state)
{
    static const size_t sizes[] = {0, 1, 100000, PART + 1};
    static const struct http_rule rules[] = {{.method = "PUT"}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct http_peer_request seen;
        struct world world;
        struct outcome outcome;
        struct s3_upload *upload;

        world_set_up(&world, rules, 1, 0);
        upload = begin(&world, &outcome, 2);
        add_part(&world, upload, sizes[i]);
        assert_int_equal(s3_upload_waiting_bytes(upload), sizes[i]);
        s3_upload_end(upload);
        world_run(&world, &outcome);
        assert_null(outcome.err);
        assert_int_equal(http_peer_count(world.peer, NULL, NULL), 1);
        assert_true(http_peer_request(world.peer, "PUT", "/docs/dir/k", 0, &seen));
        assert_string_equal(seen.target, "/docs/dir/k");
        assert_int_equal(seen.body_bytes, sizes[i]);
        assert_int_equal(seen.body_sum, sizes[i] * 'x');
        assert_int_equal(s3_upload_waiting_bytes(upload), 0);
        s3_upload_free(upload);
        world_tear_down(&world);
    }
}

static void an_object_of_no_part_is_an_empty_object(void **state)
{
    static const struct http_rule rules[] = {{.method = "PUT"}};
    struct world world;
    struct outcome outcome;
    struct s3_upload *upload;

    (void)state;
    world_set_up(&world, rules, 1, 0);
    upload = begin(&world, &outcome, 2);
    s3_upload_end(upload);
    world_run(&world, &outcome);
    assert_null(outcome.err);
    assert_int_equal(http_peer_count(world.peer, "PUT", "/docs/dir/k"), 1);
    assert_int_equal(world.figures.parts, 0);
    s3_upload_free(upload);
    world_tear_down(&world);
}

/* ---------------------------------------------------------------- many parts */

static void parts_become_an_object_in_the_order_of_their_numbers(void **state)
{
    /* Part 1 fails twice, so that it is stored last. */
    static const struct http_rule rules[] = {
        CREATED,
        {.method = "PUT", .target = "partNumber=1&", .times = 2, .status = 503},
        {.method = "PUT", .target = "partNumber=1&", .headers = "ETag: \"<1&>\"\r\n"},
        {.method = "PUT", .target = "partNumber=2&", .headers = "ETag: \"2\"\r\n"},
        {.method = "PUT", .target = "partNumber=3&", .headers = "ETag: \"3\"\r\n"},
        COMPLETED,
    };
    struct http_peer_request seen;
    struct world world;
    struct outcome outcome;
    struct s3_upload *upload;

    (void)state;
    world_set_up(&world, rules, ARRAY_LEN(rules), 0);
    upload = begin(&world, &outcome, 3);
    add_part(&world, upload, PART);
    add_part(&world, upload, PART + 5);
    add_part(&world, upload, 7);
    s3_upload_end(upload);
    assert_int_equal(s3_upload_part_count(upload), 3);
    world_run(&world, &outcome);
    assert_null(outcome.err);
    assert_true(http_peer_request(world.peer, "PUT", "partNumber=1&", 2, &seen));
    assert_int_equal(seen.body_bytes, PART); /* sent whole again */
    assert_true(http_peer_request(world.peer, "PUT", "partNumber=2&uploadId=u1", 0, &seen));
    assert_int_equal(seen.body_bytes, PART + 5);
    assert_true(http_peer_request(world.peer, "POST", "?uploadId=u1", 0, &seen));
    assert_non_null(strstr(seen.body,
                           "<Part><PartNumber>1</PartNumber><ETag>\"&lt;1&amp;>\"</ETag></Part>"
                           "<Part><PartNumber>2</PartNumber><ETag>\"2\"</ETag></Part>"
                           "<Part><PartNumber>3</PartNumber><ETag>\"3\"</ETag></Part>"
                           "</CompleteMultipartUpload>"));
    assert_int_equal(world.figures.parts, 3);
    assert_int_equal(world.figures.s3_retries, 2);
    assert_int_equal(world.figures.retries[FIGURE_RETRY_s3][FIGURE_CAUSE_server], 2);
    assert_int_equal(http_peer_count(world.peer, "DELETE", NULL), 0);
    s3_upload_free(upload);
    world_tear_down(&world);
}

/* A writer that hands over a part whenever the last one was stored. */
struct writer {
    struct op op;
    struct world *world;
    struct s3_upload *upload;
    struct outcome outcome;
    unsigned left;
    size_t peak_bytes;
    struct timer *timer;
};

static void writer_step(struct op *op);
static const char *const writer_states[] = {"WRITING"};
static const uint32_t writer_moves[] = {0};
static const struct op_kind writer_kind = {"writer", writer_states, 1, writer_moves, writer_step};

static void writer_step(struct op *op)
{
    struct writer *writer = CONTAINER_OF(op, struct writer, op);

    if (writer->outcome.done_count > 0) {
        op_finish(op);
        return;
    }
    while (writer->left > 0 && s3_upload_waiting_bytes(writer->upload) < 2 * PART) {
        add_part(writer->world, writer->upload, PART);
        if (--writer->left == 0) {
            s3_upload_end(writer->upload);
        }
    }
    if (s3_upload_waiting_bytes(writer->upload) > writer->peak_bytes) {
        writer->peak_bytes = s3_upload_waiting_bytes(writer->upload);
    }
    timer_start(writer->timer, 1); /* looks again */
}

static void writer_done(void *ctx, struct error *err)
{
    (void)ctx;
    assert_null(err);
}

static void parts_leave_while_others_still_arrive(void **state)
{
    static const struct http_rule rules[] = {CREATED, STORED, COMPLETED};
    struct world world;
    struct writer writer = {.world = &world, .left = 6};

    (void)state;
    world_set_up(&world, rules, ARRAY_LEN(rules), 0);
    op_init(&writer.op, world.loop, &writer_kind, writer_done, NULL);
    writer.timer = timer_new(&writer.op);
    writer.upload = begin(&world, &writer.outcome, 2);
    op_mark(&writer.op);
    world_run(&world, &writer.outcome);
    assert_null(writer.outcome.err);
    assert_int_equal(http_peer_count(world.peer, "PUT", "partNumber="), 6);
    assert_true(credit_peak(world.credit) <= 2 * PART);
    s3_upload_free(writer.upload);
    world_tear_down(&world);
}

/* ---------------------------------------------------------------- failures */

struct failure_row {
    const char *sentence;
    struct http_rule odd[3]; /* before the good rules */
    bool is_fine;
    const char *origin; /* of the error, or NULL for any */
    unsigned aborts;    /* DELETE requests */
    unsigned completions;
};

static const struct failure_row failure_rows[] = {
    {"nothing goes wrong", {{.method = "NONE"}}, true, NULL, 0, 1},
    {"the upload cannot be created",
     {{.method = "POST", .target = "?uploads=", .status = 403, .body = XML("AccessDenied")}},
     false,
     "403 AccessDenied",
     0,
     0},
    {"a part is refused",
     {{.method = "PUT", .target = "partNumber=2", .status = 403, .body = XML("AccessDenied")}},
     false,
     "403 AccessDenied",
     1,
     0},
    {"a part fails seven times",
     {{.method = "PUT", .target = "partNumber=2", .status = 500, .body = XML("InternalError")}},
     false,
     "500 InternalError",
     1,
     0},
    {"a part's connection is reset in the middle, once",
     {{.method = "PUT",
       .target = "partNumber=2",
       .times = 1,
       .way = HTTP_PEER_RESET,
       .after_bytes = 100000}},
     true,
     NULL,
     0,
     1},
    {"a part's answer has no ETag, once",
     {{.method = "PUT", .target = "partNumber=1", .times = 1, .status = 200}},
     true,
     NULL,
     0,
     1},
    {"no part's answer has an ETag",
     {{.method = "PUT", .target = "partNumber=1", .status = 200}},
     false,
     NULL,
     1,
     0},
    {"parts meet SlowDown three times",
     {{.method = "PUT",
       .target = "partNumber=",
       .times = 3,
       .status = 503,
       .body = XML("SlowDown")}},
     true,
     NULL,
     0,
     1},
    {"a part meets silence, once",
     {{.method = "PUT", .target = "partNumber=1", .times = 1, .way = HTTP_PEER_SILENCE}},
     true,
     NULL,
     0,
     1},
    {"the upload was aborted by someone else",
     {{.method = "PUT", .target = "partNumber=2", .status = 404, .body = XML("NoSuchUpload")},
      {.method = "DELETE", .status = 404, .body = XML("NoSuchUpload")}},
     false,
     "404 NoSuchUpload",
     1,
     0},
    {"the completion says 200 and means an inner error, once",
     {{.method = "POST",
       .target = "?uploadId=u1",
       .times = 1,
       .body = "  \n <Error><Code>InternalError</Code></Error>"}},
     true,
     NULL,
     0,
     2},
    {"the completion says 200 and means that a part is not there",
     {{.method = "POST", .target = "?uploadId=u1", .body = XML("InvalidPart")}},
     false,
     "200 InvalidPart",
     1,
     1},
    {"the completion's answer is cut, and the object is there",
     {{.method = "POST",
       .target = "?uploadId=u1",
       .times = 1,
       .way = HTTP_PEER_CUT,
       .body = "<CompleteMultipartUploadResult/>",
       .after_bytes = 5},
      {.method = "POST", .target = "?uploadId=u1", .status = 404, .body = XML("NoSuchUpload")},
      {.method = "HEAD", .headers = "Content-Length: 5242887\r\n"}},
     true,
     NULL,
     0,
     2},
    {"the completion's answer is cut, and the object has another size",
     {{.method = "POST",
       .target = "?uploadId=u1",
       .times = 1,
       .way = HTTP_PEER_CUT,
       .after_bytes = 5},
      {.method = "POST", .target = "?uploadId=u1", .status = 404, .body = XML("NoSuchUpload")},
      {.method = "HEAD", .headers = "Content-Length: 5\r\n"}},
     false,
     NULL,
     1,
     2},
    {"the completion's answer is cut, and there is no object",
     {{.method = "POST",
       .target = "?uploadId=u1",
       .times = 1,
       .way = HTTP_PEER_CUT,
       .after_bytes = 5},
      {.method = "POST", .target = "?uploadId=u1", .status = 404, .body = XML("NoSuchUpload")},
      {.method = "HEAD", .status = 404}},
     false,
     "404 NoSuchKey",
     1,
     2},
    {"an upload that was never there is not mistaken for a lost answer",
     {{.method = "POST", .target = "?uploadId=u1", .status = 404, .body = XML("NoSuchUpload")},
      {.method = "HEAD", .headers = "Content-Length: 5242887\r\n"}},
     false,
     "404 NoSuchUpload",
     1,
     1},
    {"the abort fails, too: the first error is told",
     {{.method = "PUT", .target = "partNumber=2", .status = 403, .body = XML("AccessDenied")},
      {.method = "DELETE", .status = 403, .body = XML("AllAccessDisabled")}},
     false,
     "403 AccessDenied",
     1,
     0},
};

static void every_failure_is_cured_or_aborted(void **state)
{
    static const struct http_rule good[] = {CREATED, STORED, COMPLETED, ABORTED};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(failure_rows); i++) {
        const struct failure_row *row = &failure_rows[i];
        struct http_rule rules[3 + ARRAY_LEN(good)];
        unsigned odd_count = 0;
        unsigned aborts, completions;
        struct world world;
        struct outcome outcome;
        struct s3_upload *upload;

        while (odd_count < 3 && row->odd[odd_count].method) {
            rules[odd_count] = row->odd[odd_count];
            odd_count++;
        }
        memcpy(rules + odd_count, good, sizeof(good));
        world_set_up(&world, rules, odd_count + ARRAY_LEN(good),
                     row->odd[0].way == HTTP_PEER_SILENCE ? 1000 : 0);
        upload = begin(&world, &outcome, 1);
        add_part(&world, upload, PART);
        add_part(&world, upload, 7);
        s3_upload_end(upload);
        world_run(&world, &outcome);
        aborts = http_peer_count(world.peer, "DELETE", "uploadId=u1");
        completions = http_peer_count(world.peer, "POST", "?uploadId=u1");
        if ((outcome.err == NULL) != row->is_fine || aborts != row->aborts ||
            completions != row->completions ||
            (row->origin && strcmp(error_origin(outcome.err), row->origin) != 0)) {
            fail_msg("%s: %s, %u aborts, %u completions", row->sentence,
                     outcome.err ? error_text(outcome.err) : "fine", aborts, completions);
        }
        for (unsigned odd = 0; odd < odd_count; odd++) {
            bool is_head_for_nothing = strcmp(rules[odd].method, "HEAD") == 0 && completions == 1;

            if (strcmp(rules[odd].method, "NONE") != 0 && !is_head_for_nothing &&
                http_peer_rule_uses(world.peer, odd) == 0) {
                fail_msg("%s: failure %u was not met", row->sentence, odd);
            }
        }
        error_free(outcome.err);
        s3_upload_free(upload);
        world_tear_down(&world);
    }
}

/* The story of three parts has five exchanges; each of them fails in each way, once or for ever. */
static void any_exchange_may_fail_in_any_way(void **state)
{
    static const struct {
        const char *sentence;
        struct http_rule rule;
        bool is_cured; /* when it happens once */
    } ways[] = {
        {"503", {.status = 503}, true},
        {"reset before the body", {.way = HTTP_PEER_RESET}, true},
        {"reset in the body", {.way = HTTP_PEER_RESET, .after_bytes = 50000}, true},
        {"closed without an answer", {.way = HTTP_PEER_CUT}, true},
        {"answer cut in its headers",
         {.way = HTTP_PEER_CUT, .body = "abc", .after_bytes = 20},
         true},
        {"200 with a page of something else", {.body = "<html></html>"}, false},
        {"403", {.status = 403, .body = XML("AccessDenied")}, false},
        {"400 without a code", {.status = 400}, false},
    };
    enum { EXCHANGES = 5 };
    static const struct http_rule good[] = {CREATED, STORED, COMPLETED, ABORTED};

    (void)state;
    for (size_t way = 0; way < ARRAY_LEN(ways); way++) {
        for (unsigned k = 0; k < EXCHANGES; k++) {
            for (unsigned times = 0; times <= 1; times++) {
                struct http_rule rules[1 + ARRAY_LEN(good)];
                struct world world;
                struct outcome outcome;
                struct s3_upload *upload;
                bool must_be_fine = times == 1 && ways[way].is_cured;
                bool has_id;
                unsigned aborts;

                rules[0] = ways[way].rule;
                rules[0].skip = k;
                rules[0].times = times;
                memcpy(rules + 1, good, sizeof(good));
                world_set_up(&world, rules, ARRAY_LEN(rules), 0);
                upload = begin(&world, &outcome, 1);
                add_part(&world, upload, PART);
                add_part(&world, upload, PART);
                add_part(&world, upload, 7);
                s3_upload_end(upload);
                world_run(&world, &outcome);
                aborts = http_peer_count(world.peer, "DELETE", "uploadId=u1");
                has_id = http_peer_rule_uses(world.peer, 1) > 0;
                if (http_peer_rule_uses(world.peer, 0) == 0 || (must_be_fine && outcome.err) ||
                    (outcome.err && has_id && aborts == 0) ||
                    (!outcome.err && (aborts > 0 || http_peer_rule_uses(world.peer, 3) == 0))) {
                    fail_msg("%s at exchange %u, %s: %s, %u aborts", ways[way].sentence, k,
                             times == 0 ? "for ever" : "once",
                             outcome.err ? error_text(outcome.err) : "fine", aborts);
                }
                error_free(outcome.err);
                s3_upload_free(upload);
                world_tear_down(&world);
            }
        }
    }
}

static void a_failure_is_told_before_the_writer_ends(void **state)
{
    static const struct http_rule rules[] = {
        CREATED,
        {.method = "PUT", .status = 403, .body = XML("AccessDenied")},
        ABORTED,
    };
    struct world world;
    struct outcome outcome;
    struct s3_upload *upload;

    (void)state;
    world_set_up(&world, rules, ARRAY_LEN(rules), 0);
    upload = begin(&world, &outcome, 2);
    for (unsigned i = 0; i < 5; i++) {
        add_part(&world, upload, PART);
    }
    world_run(&world, &outcome); /* s3_upload_end never comes */
    assert_string_equal(error_origin(outcome.err), "403 AccessDenied");
    error_free(outcome.err);
    s3_upload_free(upload);
    world_tear_down(&world);
}

/* ---------------------------------------------------------------- cancel */

/* Cancels the upload as soon as the server has seen a request that fits, or at once. */
struct canceller {
    struct op op;
    struct world *world;
    struct s3_upload *upload;
    const char *method, *target;
    struct timer *timer;
};

static void canceller_step(struct op *op);
static const struct op_kind canceller_kind = {"canceller", writer_states, 1, writer_moves,
                                              canceller_step};

static void canceller_step(struct op *op)
{
    struct canceller *canceller = CONTAINER_OF(op, struct canceller, op);

    if (!canceller->method ||
        http_peer_count(canceller->world->peer, canceller->method, canceller->target) > 0) {
        s3_upload_cancel(canceller->upload);
        s3_upload_cancel(canceller->upload);
        op_finish(op);
        return;
    }
    timer_start(canceller->timer, 1); /* looks again */
}

struct cancel_row {
    const char *sentence;
    unsigned parts;
    bool ends;
    const char *method, *target; /* of the request in whose middle the cancel comes */
    struct http_rule odd;
    unsigned aborts;
    bool is_fine;
};

static const struct cancel_row cancel_rows[] = {
    {"before anything was handed over", 0, false, NULL, NULL, {.method = "NONE"}, 0, false},
    {"while one part waits for a second", 1, false, NULL, NULL, {.method = "NONE"}, 0, false},
    {"while the only part is under way",
     1,
     true,
     "PUT",
     "/dir/k",
     {.method = "PUT", .way = HTTP_PEER_SILENCE},
     0,
     false},
    {"while the upload is created and the answer fails",
     2,
     true,
     "POST",
     "?uploads=",
     {.method = "POST", .target = "?uploads=", .way = HTTP_PEER_SILENCE},
     0,
     false},
    {"while parts are under way",
     3,
     true,
     "PUT",
     "partNumber=",
     {.method = "PUT", .target = "partNumber=", .way = HTTP_PEER_SILENCE},
     2,
     false},
    {"while more parts are awaited", 2, false, "PUT", "partNumber=2", {.method = "NONE"}, 1, false},
    {"while the completion has no answer",
     2,
     true,
     "POST",
     "?uploadId=u1",
     {.method = "POST", .target = "?uploadId=u1", .way = HTTP_PEER_SILENCE},
     1,
     false},
};

static void a_cancel_in_every_state_ends_once_and_leaves_nothing(void **state)
{
    static const struct http_rule good[] = {CREATED, STORED, COMPLETED, ABORTED};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cancel_rows); i++) {
        const struct cancel_row *row = &cancel_rows[i];
        struct http_rule rules[1 + ARRAY_LEN(good)];
        struct world world;
        struct outcome outcome;
        struct canceller canceller = {
            .world = &world, .method = row->method, .target = row->target};
        unsigned aborts;

        rules[0] = row->odd;
        memcpy(rules + 1, good, sizeof(good));
        world_set_up(&world, rules, ARRAY_LEN(rules), 1000);
        canceller.upload = begin(&world, &outcome, 2);
        op_init(&canceller.op, world.loop, &canceller_kind, writer_done, NULL);
        canceller.timer = timer_new(&canceller.op);
        op_mark(&canceller.op);
        for (unsigned part = 0; part < row->parts; part++) {
            add_part(&world, canceller.upload, PART);
        }
        if (row->ends) {
            s3_upload_end(canceller.upload);
        }
        world_run(&world, &outcome);
        aborts = http_peer_count(world.peer, "DELETE", "uploadId=u1");
        /* An answered part may be stored before the cancel is seen; then nothing was cut. */
        if (!outcome.err || error_code_of(outcome.err) != ERROR_CANCELLED ||
            (aborts == 0) != (row->aborts == 0) || aborts > 2 ||
            (row->aborts == 2 && aborts != 2)) {
            fail_msg("%s: %s, %u aborts", row->sentence,
                     outcome.err ? error_text(outcome.err) : "fine", aborts);
        }
        error_free(outcome.err);
        s3_upload_free(canceller.upload);
        world_tear_down(&world);
    }
}

static void a_cancel_that_comes_too_late_is_a_success(void **state)
{
    static const struct http_rule rules[] = {
        CREATED,
        STORED,
        {.method = "POST", .target = "?uploadId=u1", .body = "<CompleteMultipartUploadResult/>"}};
    struct world world;
    struct outcome outcome;
    struct canceller canceller = {.world = &world, .method = "POST", .target = "?uploadId=u1"};

    (void)state;
    world_set_up(&world, rules, ARRAY_LEN(rules), 0);
    canceller.upload = begin(&world, &outcome, 2);
    add_part(&world, canceller.upload, PART);
    add_part(&world, canceller.upload, 1);
    s3_upload_end(canceller.upload);
    op_init(&canceller.op, world.loop, &canceller_kind, writer_done, NULL);
    canceller.timer = timer_new(&canceller.op);
    op_mark(&canceller.op);
    world_run(&world, &outcome);
    assert_null(outcome.err); /* the completion was under way and its answer decides */
    assert_int_equal(http_peer_count(world.peer, "DELETE", NULL), 0);
    s3_upload_free(canceller.upload);
    world_tear_down(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_object_of_one_part_is_one_put),
        cmocka_unit_test(an_object_of_no_part_is_an_empty_object),
        cmocka_unit_test(parts_become_an_object_in_the_order_of_their_numbers),
        cmocka_unit_test(parts_leave_while_others_still_arrive),
        cmocka_unit_test(every_failure_is_cured_or_aborted),
        cmocka_unit_test(any_exchange_may_fail_in_any_way),
        cmocka_unit_test(a_failure_is_told_before_the_writer_ends),
        cmocka_unit_test(a_cancel_in_every_state_ends_once_and_leaves_nothing),
        cmocka_unit_test(a_cancel_that_comes_too_late_is_a_success),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
