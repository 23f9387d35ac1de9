/* Who owns the task, and what was applied, by the rows of the metadata table. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/text.h"
#include "txn/fence.h"

static struct arena *arena;

static int set_up(void **state)
{
    (void)state;
    arena = arena_new((size_t)64 * 1024 * 1024);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

static struct span hex_of(const char *text)
{
    struct buf hex;
    if (!text) {
        return SPAN_NONE;
    }
    buf_init(&hex, 4096);
    text_add_hex(&hex, span_of(text));
    struct span copy = arena_span(arena, buf_view(&hex));
    buf_done(&hex);
    return copy;
}

static struct error *add(struct fence_rows *rows,
                         const char *fence,
                         const char *begin,
                         const char *end,
                         const char *tokens)
{
    struct span values[] = {span_of(fence), span_of(begin), span_of(end), SPAN_NONE,
                            hex_of(tokens)};
    struct pgc_row row = {5, values};
    return fence_rows_add(rows, &row);
}

#define FULL "0", "4294967295"
#define LOW "0", "2147483647"

static void a_new_owner_takes_a_mark_above_every_row(void **state)
{
    struct fence_rows rows;
    (void)state;

    fence_rows_init(&rows, arena, 0, UINT32_MAX);
    assert_int_equal(fence_next(&rows), 1);
    assert_null(add(&rows, "7", LOW, "{}"));
    assert_null(add(&rows, "3", FULL, "{}"));
    assert_int_equal(fence_next(&rows), 8);
}

static void only_the_newest_mark_owns(void **state)
{
    struct fence_rows rows;
    (void)state;

    fence_rows_init(&rows, arena, 0, UINT32_MAX);
    assert_false(fence_is_owner(&rows, 0));
    assert_null(add(&rows, "5", FULL, "{}"));
    assert_true(fence_is_owner(&rows, 5));
    assert_false(fence_is_owner(&rows, 4));
    assert_false(fence_is_owner(&rows, 6));
}

/* A primary of another topology opened after us: its row has the higher mark, ours may still have
 * our own. */
static void a_higher_mark_in_another_row_of_the_task_means_we_were_replaced(void **state)
{
    struct fence_rows rows;
    (void)state;

    fence_rows_init(&rows, arena, 0, 0x7fffffff);
    assert_null(add(&rows, "5", LOW, "{}"));
    assert_null(add(&rows, "6", FULL, "{}"));
    assert_false(fence_is_owner(&rows, 5));
}

static void tokens_of_all_rows_count_as_applied_but_only_ours_are_extended(void **state)
{
    struct fence_rows rows;
    (void)state;

    fence_rows_init(&rows, arena, 0, UINT32_MAX);
    assert_null(add(&rows, "1", LOW, "{\"t\":{\"00000000-7fffffff\":\"a\"}}"));
    assert_null(add(&rows, "1", FULL, "{\"t\":{\"00000000-ffffffff\":\"b\"}}"));
    assert_true(
        tokens_have(&rows.applied, SPAN_LIT("t"), SPAN_LIT("00000000-7fffffff"), SPAN_LIT("a")));
    assert_true(
        tokens_have(&rows.applied, SPAN_LIT("t"), SPAN_LIT("00000000-ffffffff"), SPAN_LIT("b")));
    assert_int_equal(rows.own.count, 1);
    assert_true(fence_rows_own(&rows)->has_tokens);
}

static void rows_that_cannot_be_understood_are_refused(void **state)
{
    static const struct {
        const char *fence, *begin, *end, *tokens, *why;
    } cases[] = {
        {"x", "0", "1", NULL, "the mark is no number"},
        {NULL, "0", "1", NULL, "the mark is NULL"},
        {"1", "-1", "1", NULL, "the range is below zero"},
        {"1", "0", "4294967296", NULL, "the range is above 32 bits"},
        {"1", "0", "1", "", "the tokens are empty"},
        {"1", "0", "1", "{\"t\":1}", "the tokens have another form"},
    };
    (void)state;

    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        struct fence_rows rows;
        fence_rows_init(&rows, arena, 0, UINT32_MAX);
        struct error *err =
            add(&rows, cases[i].fence, cases[i].begin, cases[i].end, cases[i].tokens);
        if (!err) {
            print_error("accepted although %s\n", cases[i].why);
        }
        assert_non_null(err);
        error_free(err);
    }
}

static void two_rows_of_our_range_are_refused(void **state)
{
    struct fence_rows rows;
    (void)state;

    fence_rows_init(&rows, arena, 0, UINT32_MAX);
    assert_null(add(&rows, "1", FULL, NULL));
    struct error *err = add(&rows, "1", FULL, NULL);
    assert_non_null(err);
    error_free(err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_new_owner_takes_a_mark_above_every_row, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(only_the_newest_mark_owns, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            a_higher_mark_in_another_row_of_the_task_means_we_were_replaced, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            tokens_of_all_rows_count_as_applied_but_only_ours_are_extended, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rows_that_cannot_be_understood_are_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(two_rows_of_our_range_are_refused, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
