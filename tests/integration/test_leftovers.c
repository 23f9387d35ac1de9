/*
 * More objects than one request can list or delete, and open uploads, left behind by earlier
 * processes: whoever opens next deletes them, or says that it could not and leaves them to the one
 * after. What other tasks and people keep in the bucket stays.
 */

#include "base/random.h"
#include "base/secret.h"
#include "s3/client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/story_ledger.h"

#define LEFT_OBJECTS 1003 /* a list has a thousand, a deletion too */
#define LEFT_UPLOADS 5

/* ---------------------------------------------------------------- the bucket, directly */

struct bucket {
    struct loop *loop;
    struct http_client *http;
    struct s3 *s3;
    struct arena *arena;
    struct secret *secret;
    unsigned left; /* requests under way */
    struct story *story;
};

static void open_bucket(struct bucket *bucket, struct story *story)
{
    const struct http_client_options http = {.max_host_connections = 6};
    const struct s3_endpoint_options where = {.bucket = story_environment("LOCAL_S3_BUCKET"),
                                              .region = story_environment("LOCAL_S3_REGION"),
                                              .endpoint = story_environment("AWS_ENDPOINT_URL_S3")};
    struct s3_options options = {.seed = 1, .access_key_id = story_environment("LOCAL_S3_KEY")};

    *bucket = (struct bucket){.loop = loop_new(), .story = story};
    bucket->http = http_client_new(bucket->loop, &http);
    bucket->arena = arena_new((size_t)1024 * 1024);
    bucket->secret = secret_new(span_of(story_environment("LOCAL_S3_SECRET")));
    assert_null(s3_endpoint_make(bucket->arena, &where, &options.endpoint));
    options.secret_access_key = bucket->secret;
    bucket->s3 = s3_new(bucket->loop, bucket->http, &options);
}

static void note_closed(void *ctx)
{
    struct bucket *bucket = ctx;

    bucket->http = NULL;
}

static void close_bucket(struct bucket *bucket)
{
    s3_free(bucket->s3);
    http_client_close(bucket->http, note_closed, bucket);
    loop_run(bucket->loop);
    loop_free(bucket->loop);
    secret_free(bucket->secret);
    arena_free(bucket->arena);
}

static void note_done(void *ctx, struct error *err)
{
    struct bucket *bucket = ctx;

    bucket->left--;
    if (err) {
        story_complain(bucket->story, "the bucket: %s", error_text(err));
        error_free(err);
    }
}

/* "NAMEnnnn": count objects of one byte. */
static void put_objects(struct story *story, const char *name, unsigned count)
{
    struct s3_call **calls = calloc(count, sizeof *calls);
    struct bucket bucket;

    assert_non_null(calls);
    open_bucket(&bucket, story);
    for (unsigned i = 0; i < count; i++) {
        bucket.left++;
        calls[i] = s3_put(bucket.s3, span_of(story_text(story, "%s%04u", name, i)), SPAN_LIT("x"),
                          note_done, &bucket);
    }
    loop_run(bucket.loop);
    assert_int_equal(bucket.left, 0);
    for (unsigned i = 0; i < count; i++) {
        s3_call_free(calls[i]);
    }
    free(calls);
    close_bucket(&bucket);
}

static void delete_objects(struct story *story, const struct span *keys, size_t count)
{
    struct bucket bucket;

    open_bucket(&bucket, story);
    bucket.left = 1;
    struct s3_call *call = s3_delete(bucket.s3, keys, count, note_done, &bucket);
    loop_run(bucket.loop);
    s3_call_free(call);
    close_bucket(&bucket);
}

/* One upload that is begun and never ended. */
static void begin_upload(struct story *story, const char *key)
{
    const char *target =
        story_text(story, "/%s/%s?uploads", story_environment("LOCAL_S3_BUCKET"), key);
    const char *const argv[] = {
        "/usr/bin/python3", "-I", SOURCE_DIR "/deploy/local/s3.py", "POST", target, NULL};
    struct story_process *process = story_start(story, "begin-upload", argv, NULL, NULL);

    if (story_wait(story, process, 60) && story_exit_code(process) != 0) {
        story_complain(story, "beginning an upload: %.500s", story_read(story, process->err, NULL));
    }
}

/* ---------------------------------------------------------------- runs of the task */

static void copy_state(struct story *story, const char *from, const char *to)
{
    const char *const argv[] = {"/bin/cp", "-r",
                                story_path(story, story_text(story, "%s.state", from)),
                                story_path(story, story_text(story, "%s.state", to)), NULL};

    story_wait(story, story_start(story, "copy", argv, NULL, NULL), 20);
}

/* The task from where it was, through a gateway of its own; gives the connector's log. */
static const char *
run(struct story *story, const struct ledger *ledger, const char *label, const char *rules)
{
    const char *endpoint = story_s3_gateway(story, story_text(story, "%s-s3", label), rules);
    /* The local bucket takes its time for a thousand deletions. */
    static const char *const options[] = {"--timeout", "300", NULL};
    const struct story_drive drive = {
        .label = label,
        .catalog = ledger->catalog,
        .fixture = ledger->fixture,
        .config = story_config(
            story, story_text(story, "%s.json", label),
            &(struct story_config){
                .extra = story_text(story, ",\"advanced\":{\"s3_endpoint\":\"%s\"}", endpoint)}),
        .codec = "proto",
        .mode = "v2",
        .options = options,
    };

    if (endpoint) {
        story_drive_within(story, &drive, 400);
    }
    return story_read(story, story_path(story, story_text(story, "%s.log", label)), NULL);
}

static unsigned count_in(const char *text, const char *part)
{
    unsigned count = 0;

    for (const char *at = text; (at = strstr(at, part)); at += strlen(part)) {
        count++;
    }
    return count;
}

static const char *trace_of(struct story *story, const char *label)
{
    return story_read(story, story_path(story, story_text(story, "%s-s3.trace", label)), NULL);
}

/* What a process that has ended put in front of its names, up to its start:
 * ".../<range>/<start>-". */
static const char *staged_name(struct story *story, const char *label)
{
    static const char before_object[] = "\"object\":\"/";
    /* Behind the prefix, not what Validate tried. */
    const char *trace = trace_of(story, label);
    const char *object = strstr(trace, "/r000000-b");

    while (object > trace && strncmp(object, before_object, strlen(before_object)) != 0) {
        object--; /* it is on the same line */
    }
    const char *key = object ? strchr(object + strlen(before_object), '/') : NULL;
    const char *dash = key ? strchr(key, '-') : NULL; /* in the range */

    dash = dash ? strchr(dash + 1, '-') : NULL;
    if (!dash || dash > strchr(key, '"')) {
        story_complain(story, "no staged file in the trace");
        return "none";
    }
    return story_text(story, "%.*s", (int)(dash - key), key + 1);
}

static void what_earlier_processes_left_is_deleted_by_the_next_open(void **state)
{
    const struct ledger_plan plan = {.transactions = 2, .events = 20};
    struct story *story = story_begin("leftovers");
    struct ledger ledger;
    (void)state;

    ledger_make(story, &plan, &ledger);
    run(story, &ledger, "first", "");
    const char *staged = staged_name(story, "first");
    const char *foreign = story_text(story, "%s/of-somebody-else", story->prefix);
    const char *notes =
        story_text(story, "%.*snotes", (int)(strrchr(staged, '/') - staged + 1), staged);
    put_objects(story, story_text(story, "%sleft", staged), LEFT_OBJECTS);
    put_objects(story, foreign, 1);
    put_objects(story, notes, 1);
    for (unsigned i = 0; i < LEFT_UPLOADS; i++) {
        begin_upload(story, story_text(story, "%supload%u", staged, i));
    }

    copy_state(story, "first", "second");
    const char *log = run(story, &ledger, "second", "delete before run errors AccessDenied");
    if (story_is_well(story) && !strstr(log, "could not delete staged objects")) {
        story_complain(story, "nobody was told that nothing could be deleted");
    }
    if (story_is_well(story) && !strstr(log, story_text(story, "%u of %u objects were not deleted",
                                                        LEFT_OBJECTS, LEFT_OBJECTS))) {
        story_complain(story, "the log does not count what could not be deleted");
    }

    /* The first answer says that all of its keys failed, and they did not: said again, gone. */
    copy_state(story, "second", "third");
    log = run(story, &ledger, "third",
              "delete#1 before run errors InternalError\nlist#2 before fail - 503 SlowDown\n");
    if (story_is_well(story) && !strstr(log, story_text(story, "\"objects\":%u", LEFT_OBJECTS))) {
        story_complain(story, "the log does not say how many objects were found");
    }
    const char *trace = trace_of(story, "third");
    if (story_is_well(story) && count_in(trace, "\"step\":\"list\"") < 3) {
        story_complain(story, "the list had no pages");
    }
    story_same(story, "what is left in the bucket",
               story_text(story, "object %s0000\nobject %s0000\n", notes, foreign),
               story_bucket(story, story_text(story, "%s/", story->prefix)));
    const struct span keys[] = {span_of(story_text(story, "%s0000", foreign)),
                                span_of(story_text(story, "%s0000", notes))};
    delete_objects(story, keys, 2);
    story_bucket_is_empty(story);
    story_end(story);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_earlier_processes_left_is_deleted_by_the_next_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
