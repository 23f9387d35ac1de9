/* Room s3 against the local bucket, a real object store that checks signatures and multipart rules
 * (see deploy/local/README.md). All objects lie under a prefix of this run and are gone at its end.
 */

#include "base/chain.h"
#include "base/random.h"
#include "base/text.h"
#include "runtime/timer.h"
#include "s3/upload.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define MIB ((size_t)1024 * 1024)

struct world {
    struct loop *loop;
    struct http_client *http;
    struct s3 *s3;
    struct arena *arena;
    struct secret *secret;
    struct credit *credit;
    struct chain_pool *pool;
    char prefix[64];
    unsigned running;
    unsigned listed; /* objects or uploads that a list named */
    char upload_id[1024];
    struct figures figures;
};

struct outcome {
    struct world *world;
    bool done;
    struct error *err;
};

/* ---------------------------------------------------------------- frame */

static const char *need(const char *name)
{
    const char *value = getenv(name);

    if (!value || !*value) {
        fail_msg("%s is not set; see deploy/local/env", name);
    }
    return value;
}

static void open_world(struct world *world, const char *secret, const char *bucket)
{
    const struct http_client_options http = {.max_host_connections = 8};
    struct s3_options options = {.seed = 1, .access_key_id = need("LOCAL_S3_KEY")};
    const struct s3_endpoint_options where = {.bucket = bucket,
                                              .region = need("LOCAL_S3_REGION"),
                                              .endpoint = need("AWS_ENDPOINT_URL_S3")};
    unsigned char id[16];
    char uuid[TEXT_UUID_LEN + 1];

    memset(world, 0, sizeof(*world));
    random_uuid(id);
    text_uuid(uuid, id);
    snprintf(world->prefix, sizeof(world->prefix), "test s3+%s/", uuid);
    world->loop = loop_new();
    world->http = http_client_new(world->loop, &http);
    world->arena = arena_new(65536);
    world->secret = secret_new(span_of(secret));
    assert_null(s3_endpoint_make(world->arena, &where, &options.endpoint));
    options.secret_access_key = world->secret;
    options.figures = &world->figures;
    world->s3 = s3_new(world->loop, world->http, &options);
    world->credit = credit_new(256 * MIB);
    world->pool = chain_pool_new(65536, 64 * MIB);
}

static void closed(void *ctx)
{
    struct world *world = ctx;

    world->http = NULL;
}

static void close_world(struct world *world)
{
    s3_free(world->s3);
    http_client_close(world->http, closed, world);
    loop_run(world->loop);
    assert_null(world->http);
    loop_free(world->loop);
    assert_int_equal(credit_used(world->credit), 0);
    credit_free(world->credit);
    chain_pool_free(world->pool);
    secret_free(world->secret);
    arena_free(world->arena);
}

static struct span key_of(struct world *world, const char *name)
{
    return span_of(arena_printf(world->arena, "%s%s", world->prefix, name));
}

static void note_done(void *ctx, struct error *err)
{
    struct outcome *outcome = ctx;

    assert_false(outcome->done);
    outcome->done = true;
    outcome->err = err;
}

static void finish_well(struct world *world, struct s3_call *call, struct outcome *outcome)
{
    loop_run(world->loop);
    assert_true(outcome->done);
    if (outcome->err) {
        fail_msg("%s", error_text(outcome->err));
    }
    s3_call_free(call);
}

static void add_part(struct world *world, struct s3_upload *upload, size_t bytes)
{
    static char block[65536];
    struct chain chain;

    chain_init(&chain, world->pool);
    credit_take(world->credit, bytes);
    random_bytes(block, 256);
    while (bytes > 0) {
        size_t len = bytes < sizeof(block) ? bytes : sizeof(block);

        chain_add(&chain, block, len);
        bytes -= len;
    }
    s3_upload_add_part(upload, &chain);
}

static uint64_t size_of(struct world *world, struct span key)
{
    struct outcome outcome = {.world = world};
    struct s3_call *call = s3_head(world->s3, key, note_done, &outcome);
    uint64_t size;

    loop_run(world->loop);
    size = outcome.err ? UINT64_MAX : s3_call_size(call);
    if (outcome.err) {
        assert_int_equal(s3_error_status(outcome.err), 404);
        error_free(outcome.err);
    }
    s3_call_free(call);
    return size;
}

/* ---------------------------------------------------------------- stories */

struct listing {
    struct outcome outcome;
    struct world *world;
};

static void count_object(void *ctx, struct span key, uint64_t size, int64_t modified_unix)
{
    struct listing *listing = ctx;
    int64_t now = time(NULL);

    assert_true(span_starts_with(key, span_of(listing->world->prefix)));
    assert_true(size > 0);
    assert_true(modified_unix > now - 600 && modified_unix < now + 600);
    listing->world->listed++;
}

static void note_upload(void *ctx, struct span key, struct span upload_id, int64_t initiated_unix)
{
    struct listing *listing = ctx;

    (void)initiated_unix;
    assert_true(span_starts_with(key, span_of(listing->world->prefix)));
    snprintf(listing->world->upload_id, sizeof(listing->world->upload_id), "%.*s",
             SPAN_FMT(upload_id));
    listing->world->listed++;
}

static unsigned count_objects(struct world *world)
{
    struct listing listing = {.world = world};

    world->listed = 0;
    finish_well(world,
                s3_list(world->s3, span_of(world->prefix), count_object, note_done, &listing),
                &listing.outcome);
    return world->listed;
}

static unsigned count_uploads(struct world *world)
{
    struct listing listing = {.world = world};

    world->listed = 0;
    finish_well(
        world, s3_list_uploads(world->s3, span_of(world->prefix), note_upload, note_done, &listing),
        &listing.outcome);
    return world->listed;
}

static void an_object_is_written_read_listed_and_deleted(void **state)
{
    static const char *const names[] = {"plain",     "with blank",           "plus+and&more=?",
                                        "a/../b//c", "\xc3\xa9\xe2\x82\xac", "100%25"};
    struct world world;
    struct span keys[ARRAY_LEN(names)];

    (void)state;
    open_world(&world, need("LOCAL_S3_SECRET"), need("LOCAL_S3_BUCKET"));
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct outcome put = {.done = false};
        struct outcome get = {.done = false};
        struct s3_call *call;

        keys[i] = key_of(&world, names[i]);
        finish_well(&world, s3_put(world.s3, keys[i], keys[i], note_done, &put), &put);
        call = s3_get(world.s3, keys[i], 1000, note_done, &get);
        loop_run(world.loop);
        if (get.err) {
            fail_msg("%s", error_text(get.err));
        }
        assert_true(span_equal(s3_call_body(call), keys[i]));
        s3_call_free(call);
        assert_int_equal(size_of(&world, keys[i]), keys[i].len);
    }
    assert_int_equal(count_objects(&world), ARRAY_LEN(names));
    struct outcome one = {.done = false};
    struct outcome all = {.done = false};
    struct outcome again = {.done = false};
    finish_well(&world, s3_delete_one(world.s3, keys[0], note_done, &one), &one);
    assert_int_equal(size_of(&world, keys[0]), UINT64_MAX);
    finish_well(&world, s3_delete(world.s3, keys, ARRAY_LEN(keys), note_done, &all), &all);
    assert_int_equal(count_objects(&world), 0);
    finish_well(&world, s3_delete_one(world.s3, keys[0], note_done, &again), &again);
    assert_int_equal(world.figures.s3_retries, 0);
    close_world(&world);
}

static void an_upload_of_many_parts_becomes_one_object(void **state)
{
    struct world world;
    struct outcome done = {.done = false};
    struct outcome deleted = {.done = false};
    struct s3_upload *upload;
    struct span key;

    (void)state;
    open_world(&world, need("LOCAL_S3_SECRET"), need("LOCAL_S3_BUCKET"));
    key = key_of(&world, "many parts");
    upload = s3_upload_new(world.s3, key, world.credit, 3, note_done, &done);
    for (unsigned i = 0; i < 4; i++) {
        add_part(&world, upload, S3_MIN_PART_BYTES + i);
    }
    add_part(&world, upload, 12345);
    s3_upload_end(upload);
    loop_run(world.loop);
    if (done.err) {
        fail_msg("%s", error_text(done.err));
    }
    assert_int_equal(size_of(&world, key), 4 * S3_MIN_PART_BYTES + 6 + 12345);
    assert_int_equal(count_uploads(&world), 0);
    s3_upload_free(upload);
    finish_well(&world, s3_delete_one(world.s3, key, note_done, &deleted), &deleted);
    close_world(&world);
}

/* Cancels once the bucket has stored a part. */
struct canceller {
    struct op op;
    struct world *world;
    struct s3_upload *upload;
    struct timer *timer;
};

static void canceller_step(struct op *op)
{
    struct canceller *canceller = CONTAINER_OF(op, struct canceller, op);

    if (canceller->world->figures.parts > 0) {
        s3_upload_cancel(canceller->upload);
        op_finish(op);
    } else {
        timer_start(canceller->timer, 1); /* looks again */
    }
}

static void a_cancelled_upload_leaves_nothing(void **state)
{
    static const char *const states[] = {"LOOKING"};
    static const uint32_t moves[] = {0};
    static const struct op_kind kind = {"canceller", states, 1, moves, canceller_step};
    struct outcome looked = {.done = false};
    struct outcome done = {.done = false};
    struct canceller canceller;
    struct world world;

    (void)state;
    open_world(&world, need("LOCAL_S3_SECRET"), need("LOCAL_S3_BUCKET"));
    canceller.world = &world;
    canceller.upload =
        s3_upload_new(world.s3, key_of(&world, "cancelled"), world.credit, 2, note_done, &done);
    for (unsigned i = 0; i < 8; i++) {
        add_part(&world, canceller.upload, S3_MIN_PART_BYTES);
    }
    op_init(&canceller.op, world.loop, &kind, note_done, &looked);
    canceller.timer = timer_new(&canceller.op);
    op_mark(&canceller.op);
    loop_run(world.loop);
    assert_true(done.done);
    assert_int_equal(error_code_of(done.err), ERROR_CANCELLED);
    error_free(done.err);
    s3_upload_free(canceller.upload);
    assert_int_equal(count_uploads(&world), 0);
    assert_int_equal(count_objects(&world), 0);
    close_world(&world);
}

static void an_upload_that_was_left_behind_is_found_and_aborted(void **state)
{
    struct outcome aborted = {.done = false};
    struct outcome again = {.done = false};
    struct outcome done = {.done = false};
    struct s3_upload *upload;
    struct world world;
    struct span key;

    (void)state;
    open_world(&world, need("LOCAL_S3_SECRET"), need("LOCAL_S3_BUCKET"));
    key = key_of(&world, "left behind");
    upload = s3_upload_new(world.s3, key, world.credit, 2, note_done, &done);
    add_part(&world, upload, S3_MIN_PART_BYTES);
    add_part(&world, upload, S3_MIN_PART_BYTES);
    loop_run(world.loop); /* the parts are stored; the writer says no more */
    assert_false(done.done);
    assert_int_equal(count_uploads(&world), 1);
    finish_well(&world,
                s3_abort_upload(world.s3, key, span_of(world.upload_id), note_done, &aborted),
                &aborted);
    assert_int_equal(count_uploads(&world), 0);
    finish_well(&world, s3_abort_upload(world.s3, key, span_of(world.upload_id), note_done, &again),
                &again);
    s3_upload_cancel(upload);
    loop_run(world.loop);
    assert_int_equal(error_code_of(done.err), ERROR_CANCELLED);
    error_free(done.err);
    s3_upload_free(upload);
    close_world(&world);
}

static void what_is_configured_wrongly_is_told(void **state)
{
    const struct {
        const char *sentence, *secret, *bucket, *origin;
    } rows[] = {
        {"a wrong secret", "not-the-secret", need("LOCAL_S3_BUCKET"), "403 SignatureDoesNotMatch"},
        {"a missing bucket", need("LOCAL_S3_SECRET"), "no-such-bucket-anywhere",
         "404 NoSuchBucket"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct outcome put = {.done = false};
        struct world world;
        struct s3_call *call;

        open_world(&world, rows[i].secret, rows[i].bucket);
        call = s3_put(world.s3, SPAN_LIT("k"), SPAN_LIT("x"), note_done, &put);
        loop_run(world.loop);
        if (!put.err || strcmp(error_origin(put.err), rows[i].origin) != 0 ||
            error_class_of(put.err) != ERROR_CONFIG || *error_hint(put.err) == '\0' ||
            strstr(error_text(put.err), need("LOCAL_S3_SECRET"))) {
            fail_msg("%s: %s", rows[i].sentence, put.err ? error_text(put.err) : "no error");
        }
        error_free(put.err);
        s3_call_free(call);
        close_world(&world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_object_is_written_read_listed_and_deleted),
        cmocka_unit_test(an_upload_of_many_parts_becomes_one_object),
        cmocka_unit_test(a_cancelled_upload_leaves_nothing),
        cmocka_unit_test(an_upload_that_was_left_behind_is_found_and_aborted),
        cmocka_unit_test(what_is_configured_wrongly_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
