/* An answer that is held back: by whom it is released, and what is answered then. The clock is the
 * test's own; nothing here waits for real time. */

#include "txn/engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define NS_PER_SECOND 1000000000
#define NOON 1791201600 /* 2026-10-05T12:00:00Z */

struct world {
    struct arena *arena;
    struct loop *loop;
    struct txn txn;
    int64_t now; /* seconds */
    unsigned answers;
    char patch[32]; /* of the last answer */
};

static int64_t read_clock(void *ctx)
{
    const struct world *world = ctx;
    return world->now;
}

static void acknowledged(void *ctx, struct span patch_json)
{
    struct world *world = ctx;

    world->answers++;
    assert_true(patch_json.len < sizeof world->patch);
    memcpy(world->patch, patch_json.ptr, patch_json.len);
    world->patch[patch_json.len] = '\0';
}

/* An hour's schedule without jitter; the task has caught up and answered at noon. */
static void begin(struct world *world)
{
    static const struct schedule_config config = {.sync_frequency = "1h"};
    struct schedule *schedule;

    *world = (struct world){.arena = arena_new((size_t)1024 * 1024), .loop = loop_new()};
    world->now = NOON + 60;
    loop_set_clock(world->loop, read_clock, world);
    assert_null(schedule_new(world->arena, &config, SPAN_NONE, SCHEDULE_ZONE_FOLDER, &schedule));
    world->txn.loop = world->loop;
    world->txn.options.schedule = schedule;
    world->txn.callbacks.acknowledged = acknowledged;
    world->txn.callbacks.ctx = world;
    world->txn.is_acknowledging = true;
    for (unsigned i = 0; i < SCHEDULE_HISTORY; i++) {
        schedule_note_stored(&world->txn.history, 7);
    }
    schedule_note_acknowledged(&world->txn.history, (int64_t)NOON * NS_PER_SECOND);
}

static void end(struct world *world)
{
    assert_null(world->txn.delay);
    assert_int_equal(world->txn.background, 0);
    loop_free(world->loop);
    arena_free(world->arena);
}

static void what_need_not_wait_is_answered_in_the_call(void **state)
{
    static const struct {
        const char *sentence;
        bool has_no_schedule, is_recovery, is_hurried;
        int64_t now;
    } rows[] = {
        {"no schedule", .has_no_schedule = true, .now = NOON + 60},
        {"a recovery", .is_recovery = true, .now = NOON + 60},
        {"the input has ended", .is_hurried = true, .now = NOON + 60},
        {"the instant is over", .now = NOON + 3600},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct world world;
        begin(&world);
        world.now = rows[i].now;
        world.txn.is_hurried = rows[i].is_hurried;
        if (rows[i].has_no_schedule) {
            world.txn.options.schedule = NULL;
        }
        if (rows[i].is_recovery) {
            world.txn.history.has_acknowledged = false;
        }
        delay_start(&world.txn, SPAN_LIT("{\"a\":1}"));
        if (world.answers != 1 || strcmp(world.patch, "{\"a\":1}") != 0) {
            fail_msg("%s: %u answers", rows[i].sentence, world.answers);
        }
        assert_false(world.txn.is_acknowledging);
        assert_int_equal(world.txn.history.acknowledged_ns, rows[i].now * NS_PER_SECOND);
        end(&world);
    }
}

static void the_wait_ends_when_the_clock_has_come_to_the_instant(void **state)
{
    struct world world;

    (void)state;
    begin(&world);
    char patch[] = "{\"b\":2}";
    delay_start(&world.txn, span_of(patch));
    patch[2] = 'x'; /* it was copied */
    assert_int_equal(world.answers, 0);
    assert_true(world.txn.is_acknowledging); /* so a Flush would wait too */
    assert_int_equal(txn_next_acknowledgement_ns(&world.txn), (NOON + 3600LL) * NS_PER_SECOND);
    world.now = NOON + 3600;
    delay_look_again(&world.txn);
    loop_run(world.loop);
    assert_int_equal(world.answers, 1);
    assert_string_equal(world.patch, "{\"b\":2}");
    assert_int_equal(world.txn.history.acknowledged_ns, (NOON + 3600LL) * NS_PER_SECOND);
    assert_int_equal(txn_next_acknowledgement_ns(&world.txn), (NOON + 7200LL) * NS_PER_SECOND);
    end(&world);
}

static void the_wait_ends_when_it_is_hurried(void **state)
{
    struct world world;

    (void)state;
    begin(&world);
    delay_start(&world.txn, SPAN_LIT("{}"));
    world.now += 5;
    txn_hurry(&world.txn);
    loop_run(world.loop);
    assert_int_equal(world.answers, 1);
    assert_int_equal(world.txn.history.acknowledged_ns, (NOON + 65LL) * NS_PER_SECOND);
    end(&world);
}

static void a_cancelled_wait_has_no_answer(void **state)
{
    struct world world;

    (void)state;
    begin(&world);
    delay_start(&world.txn, SPAN_LIT("{}"));
    delay_cancel(&world.txn);
    delay_cancel(&world.txn);
    loop_run(world.loop);
    assert_int_equal(world.answers, 0);
    end(&world);
    delay_cancel(&world.txn); /* nothing is under way: harmless */
    delay_look_again(&world.txn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_need_not_wait_is_answered_in_the_call),
        cmocka_unit_test(the_wait_ends_when_the_clock_has_come_to_the_instant),
        cmocka_unit_test(the_wait_ends_when_it_is_hurried),
        cmocka_unit_test(a_cancelled_wait_has_no_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
