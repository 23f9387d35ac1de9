/* Names: Redshift's folding and cut, and the shorter names PostgreSQL can hold. */
#include "sandbox/ident.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct {
    const char *sentence;
    const char *text;
    bool fold;
    const char *full;
} folds[] = {
    {"ASCII letters become small", "MixedCase", true, "mixedcase"},
    {"a case sensitive name stays", "MixedCase", false, "MixedCase"},
    {"letters beyond ASCII stay", "\xc3\x84 \xc3\x96", true, "\xc3\x84 \xc3\x96"},
    {"quotes, dots and blanks are letters like others", "a \"b\".C", true, "a \"b\".c"},
};

static void test_names_are_folded(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof folds / sizeof folds[0]; i++) {
        char full[IDENT_FULL_MAX + 1];
        ident_fold(folds[i].text, strlen(folds[i].text), folds[i].fold, full);
        if (strcmp(full, folds[i].full) != 0) {
            fail_msg("%s: got \"%s\"", folds[i].sentence, full);
        }
    }
}

static void test_names_are_cut_at_127_bytes(void **state)
{
    char text[200];
    char full[IDENT_FULL_MAX + 1];

    (void)state;
    memset(text, 'a', sizeof text);
    ident_fold(text, 127, true, full);
    assert_int_equal(strlen(full), 127);
    ident_fold(text, 128, true, full);
    assert_int_equal(strlen(full), 127);
}

static void test_the_cut_never_splits_a_character(void **state)
{
    char text[200];
    char full[IDENT_FULL_MAX + 1];

    (void)state;
    memset(text, 'a', sizeof text);
    memcpy(text + 124, "\xf0\x9f\x98\x80", 4); /* would end at byte 128 */
    ident_fold(text, 140, true, full);
    assert_int_equal(strlen(full), 124);
    memset(text, 'a', sizeof text);
    memcpy(text + 123, "\xf0\x9f\x98\x80", 4); /* ends at byte 127 */
    ident_fold(text, 140, true, full);
    assert_int_equal(strlen(full), 127);
}

static void test_short_names_are_the_same_on_both_sides(void **state)
{
    char full[IDENT_FULL_MAX + 1];
    char backend[IDENT_BACKEND_MAX + 1];

    (void)state;
    memset(full, 'a', 63);
    full[63] = '\0';
    ident_backend(full, backend);
    assert_string_equal(full, backend);
    assert_false(ident_is_long(full));
}

static void test_long_names_become_distinct_short_ones(void **state)
{
    char one[IDENT_FULL_MAX + 1];
    char other[IDENT_FULL_MAX + 1];
    char backend_one[IDENT_BACKEND_MAX + 1];
    char backend_other[IDENT_BACKEND_MAX + 1];

    (void)state;
    memset(one, 'a', 127);
    one[127] = '\0';
    memcpy(other, one, sizeof one);
    other[126] = 'b';
    ident_backend(one, backend_one);
    ident_backend(other, backend_other);
    assert_true(ident_is_long(one));
    assert_int_equal(strlen(backend_one), 63);
    assert_string_not_equal(backend_one, backend_other);
    assert_memory_equal(backend_one, backend_other, 46);
}

static void test_a_long_name_is_shortened_between_characters(void **state)
{
    char full[IDENT_FULL_MAX + 1];
    char backend[IDENT_BACKEND_MAX + 1];

    (void)state;
    memset(full, 'a', 100);
    full[100] = '\0';
    memcpy(full + 44, "\xe2\x82\xac", 3); /* bytes 44 to 46, the cut is at 46 */
    ident_backend(full, backend);
    assert_int_equal(strlen(backend), 44 + 17);
    assert_int_equal(backend[44], '~');
}

static void test_quotes_are_doubled(void **state)
{
    char quoted[IDENT_QUOTED_SIZE];

    (void)state;
    ident_quote_backend("a\"b", quoted);
    assert_string_equal(quoted, "\"a\"\"b\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_are_folded),
        cmocka_unit_test(test_names_are_cut_at_127_bytes),
        cmocka_unit_test(test_the_cut_never_splits_a_character),
        cmocka_unit_test(test_short_names_are_the_same_on_both_sides),
        cmocka_unit_test(test_long_names_become_distinct_short_ones),
        cmocka_unit_test(test_a_long_name_is_shortened_between_characters),
        cmocka_unit_test(test_quotes_are_doubled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
