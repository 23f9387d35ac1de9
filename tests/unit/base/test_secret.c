/* base/secret, random and figures. */

#include "base/secret.h"

#include "base/check.h"
#include "base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void a_secret_keeps_its_own_copy(void **state)
{
    char text[] = "s3cret";
    struct secret *secret = secret_new((struct span){text, 6});

    (void)state;
    secret_wipe(text, sizeof(text));
    for (size_t i = 0; i < sizeof(text); i++) {
        assert_int_equal(text[i], 0);
    }
    assert_string_equal(secret_text(secret), "s3cret");
    assert_int_equal(secret_view(secret).len, 6);
    assert_false(secret_is_empty(secret));
    struct secret *copy = secret_copy(secret);
    secret_free(secret);
    assert_string_equal(secret_text(copy), "s3cret");
    secret_free(copy);
}

static void no_secret_is_an_empty_one(void **state)
{
    struct secret *empty = secret_new(SPAN_NONE);

    (void)state;
    assert_true(secret_is_empty(empty));
    assert_string_equal(secret_text(empty), "");
    secret_free(empty);
    assert_true(secret_is_empty(NULL));
    assert_string_equal(secret_text(NULL), "");
    assert_int_equal(secret_view(NULL).len, 0);
    secret_free(NULL);
}

static void a_secret_may_be_longer_than_a_page(void **state)
{
    char *text = mem_alloc(10001);

    (void)state;
    memset(text, 'k', 10000);
    struct secret *secret = secret_new(span_of(text));
    assert_string_equal(secret_text(secret), text);
    secret_free(secret);
    mem_free(text);
}

/* The first outputs of splitmix64 with seed 1234567, as published with its reference code. */
static void the_seeded_generator_is_splitmix64(void **state)
{
    struct random random = {1234567};

    (void)state;
    assert_true(random_next(&random) == 6457827717110365317U);
    assert_true(random_next(&random) == 3203168211198807973U);
    assert_true(random_next(&random) == 9817491932198370423U);
}

static void numbers_below_a_bound_stay_below_and_reach_all(void **state)
{
    struct random random = {7};
    unsigned seen[5] = {0};

    (void)state;
    for (unsigned i = 0; i < 1000; i++) {
        uint64_t number = random_below(&random, 5);
        assert_true(number < 5);
        seen[number]++;
    }
    for (unsigned i = 0; i < 5; i++) {
        assert_true(seen[i] > 100);
    }
    assert_true(random_below(&random, 1) == 0);
}

static void identities_differ_and_are_version_4(void **state)
{
    unsigned char a[16] = {0};
    unsigned char b[16] = {0};

    (void)state;
    random_uuid(a);
    random_uuid(b);
    assert_memory_not_equal(a, b, sizeof(a));
    assert_int_equal(a[6] >> 4, 4);
    assert_int_equal(a[8] >> 6, 2);
    assert_int_equal(b[6] >> 4, 4);
    assert_int_equal(b[8] >> 6, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_secret_keeps_its_own_copy),
        cmocka_unit_test(no_secret_is_an_empty_one),
        cmocka_unit_test(a_secret_may_be_longer_than_a_page),
        cmocka_unit_test(the_seeded_generator_is_splitmix64),
        cmocka_unit_test(numbers_below_a_bound_stay_below_and_reach_all),
        cmocka_unit_test(identities_differ_and_are_version_4),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
