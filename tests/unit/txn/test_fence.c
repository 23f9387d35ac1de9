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

/* ---------------------------------------------------------------- the original's checkpoint */

static void the_originals_checkpoint_is_read_in_both_of_its_forms(void **state)
{
    static const struct {
        const char *sentence, *hex, *begins, *refusal;
        size_t len;
    } rows[] = {
        {"base64 of gzip",
         "483473494141414141414143412b50697a736f764c63704c7a4e48507a307374534b7a4d7955394d"
         "555269734e414359414e6c527251414141413d3d",
         "\x0a\x0bjournal/one", NULL, 173},
        {"base64 alone, as old rows have it", "436756776247467062673d3d", "\x0a\x05plain", NULL, 7},
        {"an empty one", "", "", NULL, 0},
        {"no hex", "zz", NULL, "hex text", 0},
        {"no base64", "2a2a2a2a", NULL, "base64 text", 0},
        {"gzip that is cut short",
         "483473494141414141414143412b50697a736f764c63704c7a4e48507a307374534b7a4d7955394d"
         "55513d3d",
         NULL, "cut short", 0},
        {"gzip whose length is wrong",
         "483473494141414141414143412b50697a736f764c63704c7a4e48507a307374534b7a4d7955394d"
         "555269734e414359414e6c517251414141413d3d",
         NULL, "damaged", 0},
    };
    unsigned wrong = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct span got = SPAN_NONE;
        struct error *err = fence_read_checkpoint(arena, span_of(rows[i].hex), &got);
        bool good = rows[i].refusal
                        ? err && strstr(error_text(err), rows[i].refusal)
                        : !err && got.ptr && got.len == rows[i].len &&
                              memcmp(got.ptr, rows[i].begins, strlen(rows[i].begins)) == 0;
        if (!good) {
            print_error("%s: %s\n", rows[i].sentence, err ? error_text(err) : "no error");
            wrong++;
        }
        error_free(err);
    }
    assert_int_equal(wrong, 0);
}

/* Only of our own row, and only until this version has written to it. */
static void a_checkpoint_counts_until_the_row_has_tokens(void **state)
{
    static const struct {
        const char *sentence, *begin, *end, *checkpoint, *tokens;
        bool is_kept;
    } rows[] = {
        {"our row, never crossed over", FULL, "cp", NULL, true},
        {"our row, crossed over", FULL, "cp", "{}", false},
        {"our row without one", FULL, NULL, NULL, false},
        {"another range's row", LOW, "cp", NULL, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct fence_rows found;
        struct span values[] = {SPAN_LIT("7"), span_of(rows[i].begin), span_of(rows[i].end),
                                hex_of(rows[i].checkpoint), hex_of(rows[i].tokens)};
        struct pgc_row row = {5, values};
        fence_rows_init(&found, arena, 0, UINT32_MAX);
        assert_null(fence_rows_add(&found, &row));
        if ((found.items[0].checkpoint_hex.ptr != NULL) != rows[i].is_kept) {
            fail_msg("%s", rows[i].sentence);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_originals_checkpoint_is_read_in_both_of_its_forms,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_checkpoint_counts_until_the_row_has_tokens, set_up,
                                        tear_down),
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
