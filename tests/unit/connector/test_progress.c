/* connector/progress and connector/summary: what the log says of a session's phases. */

#include "connector/progress.h"
#include "connector/summary.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* ---------------------------------------------------------------- a session that only has phases
 */

struct world {
    struct loop *loop;
    struct op op;
    struct figures figures;
    struct progress progress;
    unsigned lines, last_line; /* of progress; after the last one it is over */
    bool is_over;
    bool can_ask; /* what PROGRESS_COMMIT waits for */
    unsigned questions;
    int saved_stderr, read_fd;
    char log[65536];
};

/* Called once for each line of progress. */
static void add_wait(void *ctx, enum progress_step step, struct buf *out)
{
    struct world *world = ctx;

    (void)step;
    world->lines++;
    buf_add_str(out, "the \"runtime\"");
}

static bool ask(void *ctx, enum progress_step step)
{
    struct world *world = ctx;

    world->questions += step == PROGRESS_COMMIT;
    return step == PROGRESS_COMMIT && world->can_ask;
}

static void world_step(struct op *op)
{
    struct world *world = CONTAINER_OF(op, struct world, op);

    progress_look(&world->progress);
    if (world->questions > 0 && world->lines == 0) {
        progress_answered(&world->progress);
    }
    if (world->is_over || (world->last_line > 0 && world->lines >= world->last_line)) {
        progress_enter(&world->progress, PROGRESS_READING, PROGRESS_NONE, 0);
        op_finish(op);
    }
}

static void world_done(void *ctx, struct error *err)
{
    (void)ctx;
    assert_null(err);
}

static void listen_to_stderr(struct world *world)
{
    int ends[2];

    assert_int_equal(pipe(ends), 0);
    world->saved_stderr = dup(STDERR_FILENO);
    assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
    (void)close(ends[1]);
    world->read_fd = ends[0];
}

static void hear_stderr(struct world *world)
{
    size_t len = 0;
    ssize_t count;

    assert_true(dup2(world->saved_stderr, STDERR_FILENO) >= 0); /* the pipe's last writer goes */
    (void)close(world->saved_stderr);
    while ((count = read(world->read_fd, world->log + len, sizeof world->log - 1 - len)) > 0) {
        len += (size_t)count;
    }
    world->log[len] = '\0';
    (void)close(world->read_fd);
}

static struct world *world_new(unsigned last_line)
{
    static const char *const names[] = {"RUNNING"};
    static const uint32_t moves[] = {0};
    static const struct op_kind kind = {"world", names, 1, moves, world_step};
    struct world *world = mem_alloc(sizeof *world);

    world->loop = loop_new();
    world->last_line = last_line;
    op_init(&world->op, world->loop, &kind, world_done, world);
    progress_init(&world->progress, &world->op, &world->figures, 10, add_wait, ask, world);
    listen_to_stderr(world);
    return world;
}

static void world_run(struct world *world)
{
    loop_run(world->loop);
    hear_stderr(world);
    loop_free(world->loop);
}

/* Where the line with this text begins; fails when there is none behind `from`. */
static const char *line(const char *from, const char *text)
{
    const char *found = strstr(from, text);

    if (!found) {
        fail_msg("no line with %s in:\n%s", text, from);
    }
    return found;
}

/* ---------------------------------------------------------------- long phases */

static void a_long_phase_says_how_far_it_is_and_what_it_waits_for(void **state)
{
    struct world *world = world_new(2);

    (void)state;
    world->figures.loads = 100; /* of earlier transactions */
    progress_enter(&world->progress, PROGRESS_READING, PROGRESS_LOADS, 7);
    world->figures.loads += 5;
    world_run(world);
    const char *at = line(world->log, "\"msg\":\"started reading load requests\",\"round\":7,");
    at = line(at, "\"msg\":\"reading load requests\",\"round\":7,\"count\":5,\"perSecond\":");
    at = line(at, "\"waitingFor\":\"the \\\"runtime\\\"\"");
    at = line(at, "\"msg\":\"waiting for more load requests\",\"round\":7,\"count\":5,"
                  "\"perSecond\":0,\"sofar\":\"");
    at = line(at, "\"msg\":\"finished reading load requests\",\"round\":7,\"took\":\"");
    (void)line(at, "\"count\":5,");
    assert_int_equal(world->figures.phases[FIGURE_PHASE_load_reading].count, 1);
    assert_true(world->figures.phases[FIGURE_PHASE_load_reading].sum_ms >= 20);
    mem_free(world);
}

static void an_apply_beside_the_reading_is_told_of_as_well(void **state)
{
    struct world *world = world_new(4);

    (void)state;
    progress_enter(&world->progress, PROGRESS_APPLYING, PROGRESS_COMMIT, 1);
    progress_enter(&world->progress, PROGRESS_READING, PROGRESS_LOADS, 2);
    world_run(world);
    assert_int_equal(world->lines, 4);
    (void)line(world->log, "\"msg\":\"materialization commit in progress\",\"round\":1,");
    (void)line(world->log, "\"msg\":\"waiting for more load requests\",\"round\":2,");
    mem_free(world);
}

static void a_line_waits_for_what_is_being_asked(void **state)
{
    (void)state;
    for (int can_ask = 0; can_ask < 2; can_ask++) {
        struct world *world = world_new(1);

        world->can_ask = can_ask;
        progress_enter(&world->progress, PROGRESS_APPLYING, PROGRESS_COMMIT, 1);
        world_run(world);
        assert_int_equal(world->lines, 1);
        assert_int_equal(world->questions, 1); /* one for each line */
        (void)line(world->log, "\"msg\":\"materialization commit in progress\",\"round\":1,");
        mem_free(world);
    }
}

static void nothing_runs_while_the_session_is_idle(void **state)
{
    struct world *world = world_new(0);

    (void)state;
    progress_enter(&world->progress, PROGRESS_READING, PROGRESS_WAITING, 3);
    assert_false(timer_is_running(world->progress.timer));
    progress_enter(&world->progress, PROGRESS_READING, PROGRESS_NONE, 3);
    assert_false(timer_is_running(world->progress.timer));
    world->is_over = true;
    op_mark(&world->op);
    world_run(world);
    const char *at = line(world->log, "\"msg\":\"started waiting for documents\",\"round\":3,");
    (void)line(at, "\"msg\":\"finished waiting for documents\",\"round\":3,\"took\":\"");
    mem_free(world);
}

/* ---------------------------------------------------------------- one line per transaction */

static void a_summary_has_what_belongs_to_its_transaction(void **state)
{
    struct world *world = world_new(0);
    struct summary summary = {.began_ms = 1000};
    struct figures *figures = &world->figures;

    (void)state;
    figures->stores = 10;
    figures->statements = 3;
    figures_add_phase(figures, FIGURE_PHASE_store_reading, 1500);
    summary_stage(&summary, figures);
    figures->loads = 4; /* of the next transaction, while this one is applied */
    figures->checked_rows = 10;
    figures->statements = 12;
    figures_add_phase(figures, FIGURE_PHASE_apply, 2500);
    summary_say(&summary, figures, 0, 6000);
    figures->stores = 11;
    summary_stage(&summary, figures);
    summary_say(&summary, figures, 1, 6250);
    summary_say(&summary, figures, 2, 6300); /* nothing happened */
    world->is_over = true;
    op_mark(&world->op);
    world_run(world);
    const char *at = line(world->log, "\"msg\":\"transaction summary\",\"round\":0,\"took\":\"5s\","
                                      "\"stores\":10,\"statements\":12,\"checked_rows\":10,"
                                      "\"store_reading\":\"1.5s\",\"apply\":\"2.5s\",");
    at = line(at, "\"msg\":\"transaction summary\",\"round\":1,\"took\":\"250ms\",\"loads\":4,"
                  "\"stores\":1,\"time\"");
    assert_null(strstr(at + 30, "transaction summary"));
    assert_int_equal(summary.transactions, 3);
    mem_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_long_phase_says_how_far_it_is_and_what_it_waits_for),
        cmocka_unit_test(an_apply_beside_the_reading_is_told_of_as_well),
        cmocka_unit_test(a_line_waits_for_what_is_being_asked),
        cmocka_unit_test(nothing_runs_while_the_session_is_idle),
        cmocka_unit_test(a_summary_has_what_belongs_to_its_transaction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
