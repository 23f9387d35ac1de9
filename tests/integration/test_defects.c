/*
 * The kill test can fail: the same run, with the same kill, over a connection on which a defence of
 * the product is taken away. What is applied twice must show in the tables, or before that in a
 * lookup that finds one document twice; a run that still ended right would mean that the test sees
 * nothing, or that the defence is none.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/story_kill.h"

/* The tokens are not written, the answer is what it would have been: one row changed. */
#define SWALLOWED_TOKENS                                                                           \
    "token rewrite SET checkpoint_tokens = $1 WHERE=>SET fence = fence WHERE ($1::TEXT IS NOT "    \
    "NULL) AND\n"

static bool is_of_duplicates(const char *complaint)
{
    return strstr(complaint, "the tables: line") ||
           strstr(complaint, "each found document is returned once");
}

/* Runs until somebody notices, and looks whether it was more rows that they noticed. */
static void expect_duplicates(const struct kill_case *row)
{
    struct story *story = story_begin(row->name);
    struct kill_world world;
    char complaint[sizeof story->complaint] = "";

    if (!kill_run(story, row, &world) || !kill_check(story, row, &world)) {
        memcpy(complaint, story->complaint, sizeof complaint);
        story->complaint[0] = '\0';
        if (!is_of_duplicates(complaint)) {
            story_complain(story, "not the tables are what is wrong: %s", complaint);
        }
        if (row->defect && !strstr(world.trace, "rewritten")) {
            story_complain(story, "the statement was never rewritten");
        }
        const char *twice = story_query(
            story, story_text(story,
                              "SELECT id, seq, COUNT(*) FROM %s.events GROUP BY id, seq HAVING "
                              "COUNT(*) > 1",
                              story->schema));
        if (twice[0] == '\0') {
            story_complain(story, "no event is there twice: %s", complaint);
        }
    } else {
        story_complain(story, "the defect was not noticed");
    }
    story_end(story);
}

static void expect_right(const struct kill_case *row)
{
    struct story *story = story_begin(row->name);
    struct kill_world world;

    if (kill_run(story, row, &world)) {
        kill_check(story, row, &world);
    }
    story_end(story);
}

/* Killed when the server has committed and nobody has heard of it. */
#define AFTER_COMMIT "commit#4 after kill %s"

static void the_kill_test_passes_with_the_tokens(void **state)
{
    (void)state;
    expect_right(&(struct kill_case){
        .name = "with the tokens", .codec = "json", .mode = "v1", .rule = AFTER_COMMIT});
}

static void the_kill_test_notices_swallowed_tokens(void **state)
{
    (void)state;
    expect_duplicates(&(struct kill_case){.name = "swallowed tokens",
                                          .codec = "json",
                                          .mode = "v1",
                                          .rule = AFTER_COMMIT,
                                          .defect = SWALLOWED_TOKENS});
}

static void the_kill_test_notices_swallowed_tokens_of_the_second_runtime(void **state)
{
    (void)state;
    expect_duplicates(&(struct kill_case){.name = "swallowed tokens, second runtime",
                                          .codec = "proto",
                                          .mode = "v2",
                                          .rule = AFTER_COMMIT,
                                          .defect = SWALLOWED_TOKENS});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_kill_test_passes_with_the_tokens),
        cmocka_unit_test(the_kill_test_notices_swallowed_tokens),
        cmocka_unit_test(the_kill_test_notices_swallowed_tokens_of_the_second_runtime),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
