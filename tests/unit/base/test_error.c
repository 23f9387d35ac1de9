/* base/error: what a person reads. */

#include "base/error.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void wraps_stand_in_front_and_the_origin_once_behind(void **state)
{
    struct error *err =
        error_new_from(ERROR_SQL, ERROR_ABORT, "SQLSTATE 22001", "value too long for %s", "\"c\"");

    (void)state;
    assert_string_equal(error_text(err), "value too long for \"c\" (SQLSTATE 22001)");
    err = error_wrap(err, "merging into \"%s\".\"%s\"", "a", "b");
    err = error_wrap(err, "committing transaction");
    assert_string_equal(error_text(err), "committing transaction: merging into \"a\".\"b\": value "
                                         "too long for \"c\" (SQLSTATE 22001)");
    assert_string_equal(error_origin(err), "SQLSTATE 22001");
    assert_int_equal(error_code_of(err), ERROR_SQL);
    assert_int_equal(error_class_of(err), ERROR_ABORT);
    error_set_class(err, ERROR_CONFIG);
    assert_int_equal(error_class_of(err), ERROR_CONFIG);
    assert_string_equal(error_hint(err), "");
    error_set_hint(err, "Make column %s wider.", "\"c\"");
    error_set_hint(err, "Make %s wider.", "it");
    assert_string_equal(error_hint(err), "Make it wider.");
    error_free(err);
}

static void success_stays_success(void **state)
{
    (void)state;
    assert_null(error_wrap(NULL, "doing something"));
    assert_null(error_join(NULL, NULL));
    error_set_hint(NULL, "Nothing.");
    error_set_class(NULL, ERROR_RETRY);
    error_drop(NULL, "there is none");
    error_free(NULL);
}

static void the_first_error_wins_and_later_ones_are_notes(void **state)
{
    struct error *first = error_new_from(ERROR_HTTP, ERROR_RETRY, "503 SlowDown", "sending part 3");
    struct error *later = error_new(ERROR_TIMEOUT, ERROR_RETRY, "aborting took too long");

    (void)state;
    assert_ptr_equal(error_join(NULL, first), first);
    assert_ptr_equal(error_join(first, NULL), first);
    assert_ptr_equal(error_join(first, later), first);
    first = error_wrap(first, "uploading");
    assert_string_equal(error_text(first), "uploading: sending part 3 (503 SlowDown); then: "
                                           "aborting took too long");
    assert_int_equal(error_code_of(first), ERROR_HTTP);
    error_free(first);
}

static void notes_do_not_grow_for_ever(void **state)
{
    struct error *first = error_new(ERROR_INTERNAL, ERROR_RETRY, "no luck");

    (void)state;
    for (unsigned i = 0; i < 1000; i++) {
        first = error_join(first, error_new(ERROR_INTERNAL, ERROR_RETRY, "again %u", i));
    }
    assert_non_null(strstr(error_text(first), "again 7; and 992 more"));
    assert_true(strlen(error_text(first)) < 200);
    error_free(first);
}

static void errno_gets_its_name(void **state)
{
    struct error *err =
        error_from_errno(ECONNREFUSED, ERROR_CONFIG, "connecting to %s", "'warehouse'");

    (void)state;
    assert_string_equal(error_text(err),
                        "connecting to 'warehouse': Connection refused (ECONNREFUSED)");
    assert_int_equal(error_code_of(err), ERROR_SYSTEM);
    assert_string_equal(error_origin(err), "ECONNREFUSED");
    error_free(err);

    err = error_from_errno(99999, ERROR_FATAL, "reading");
    assert_string_equal(error_origin(err), "errno 99999");
    error_drop(err, "it is a test");
}

static struct error *fail_if(int wanted)
{
    return wanted ? error_new(ERROR_INTERNAL, ERROR_FATAL, "%s", "wanted") : NULL;
}

static struct error *pass_up(int wanted, int *reached)
{
    RETURN_IF_ERROR(fail_if(wanted));
    *reached = 1;
    return NULL;
}

static void an_error_is_passed_up(void **state)
{
    int reached = 0;

    (void)state;
    assert_null(pass_up(0, &reached));
    assert_int_equal(reached, 1);
    reached = 0;
    struct error *err = pass_up(1, &reached);
    assert_string_equal(error_text(err), "wanted");
    assert_int_equal(reached, 0);
    error_free(err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wraps_stand_in_front_and_the_origin_once_behind),
        cmocka_unit_test(success_stays_success),
        cmocka_unit_test(the_first_error_wins_and_later_ones_are_notes),
        cmocka_unit_test(notes_do_not_grow_for_ever),
        cmocka_unit_test(errno_gets_its_name),
        cmocka_unit_test(an_error_is_passed_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
