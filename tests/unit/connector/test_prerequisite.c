/* What a person is told when warehouse or bucket refuse. */

#include "connector/prerequisite.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct arena *arena;

struct warehouse_row {
    const char *sentence;
    enum error_code code;
    const char *origin, *hint;
    const char *parts[5];
};

static const struct warehouse_row warehouse_rows[] = {
    {"P2 a wrong user", ERROR_SQL, "28000", NULL, {"incorrect username or password"}},
    {"P3 a wrong password, which has the same code",
     ERROR_SQL,
     "28000",
     NULL,
     {"incorrect username or password"}},
    {"PostgreSQL's own code for it", ERROR_SQL, "28P01", NULL, {"incorrect username or password"}},
    {"P4 no such database", ERROR_SQL, "3D000", NULL, {"database \"nope\" does not exist"}},
    {"P5 a host that never answers",
     ERROR_TIMEOUT,
     "",
     NULL,
     {"\"cluster.example:5439\" timed out", "not publicly accessible", "security group",
      "port are wrong", "SSH bastion"}},
    {"anything else as it is", ERROR_SYSTEM, "ECONNREFUSED", NULL, {"the sentence (ECONNREFUSED)"}},
    {"with its advice", ERROR_SQL, "42501", "Do this.", {"the sentence (42501)", "Do this."}},
};

struct bucket_row {
    const char *sentence;
    enum probe probe;
    const char *origin, *bucket_path, *want;
};

static const struct bucket_row bucket_rows[] = {
    {"P6 no such bucket", PROBE_PUT, "404 NoSuchBucket", "x", "bucket \"b\" does not exist"},
    {"P7 a wrong secret", PROBE_PUT, "403 SignatureDoesNotMatch", "x",
     "not authorized to write to \"b/x\""},
    {"P7 without a path", PROBE_PUT, "403 AccessDenied", "", "not authorized to write to \"b\""},
    {"P8 reading is forbidden", PROBE_GET, "403 AccessDenied", "x",
     "not authorized to read from \"b/x\""},
    {"P9 deleting is forbidden", PROBE_DELETE, "403 AccessDenied", "x/y",
     "not authorized to delete from \"b/x/y\""},
    {"what was put is not found", PROBE_GET, "404 NoSuchKey", "x", "the sentence (404 NoSuchKey)"},
    {"anything else", PROBE_PUT, "503 SlowDown", "x", "the sentence (503 SlowDown)"},
};

static struct error *make_error(enum error_code code, const char *origin, const char *hint)
{
    struct error *err = *origin ? error_new_from(code, ERROR_RETRY, origin, "the sentence")
                                : error_new(code, ERROR_RETRY, "the sentence");
    if (hint) {
        error_set_hint(err, "%s", hint);
    }
    return err;
}

static void refusals_of_the_warehouse_are_told_in_plain_words(void **state)
{
    const struct config config = {.address = "cluster.example:5439", .database = "nope"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(warehouse_rows); i++) {
        const struct warehouse_row *row = &warehouse_rows[i];
        struct error *err = make_error(row->code, row->origin, row->hint);
        const char *text = prerequisite_warehouse_problem(arena, &config, err);
        for (size_t j = 0; j < ARRAY_LEN(row->parts) && row->parts[j]; j++) {
            if (!strstr(text, row->parts[j])) {
                fail_msg("%s: %s", row->sentence, text);
            }
        }
        error_free(err);
    }
}

static void a_default_database_that_does_not_exist_is_named_by_the_server(void **state)
{
    const struct config config = {.address = "cluster.example:5439", .database = ""};
    struct error *err =
        error_new_from(ERROR_SQL, ERROR_CONFIG, "3D000", "database \"loader\" does not exist");

    (void)state;
    assert_string_equal(prerequisite_warehouse_problem(arena, &config, err),
                        "database \"loader\" does not exist (3D000)");
    error_free(err);
}

static void refusals_of_the_bucket_name_what_is_not_allowed(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bucket_rows); i++) {
        const struct bucket_row *row = &bucket_rows[i];
        const struct config config = {.bucket = "b", .bucket_path = row->bucket_path};
        struct error *err = make_error(ERROR_HTTP, row->origin, NULL);
        const char *text = prerequisite_bucket_problem(arena, &config, row->probe, err);
        if (strcmp(text, row->want) != 0) {
            fail_msg("%s: %s", row->sentence, text);
        }
        error_free(err);
    }
}

static int set_up(void **state)
{
    (void)state;
    arena = arena_new((size_t)1024 * 1024);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refusals_of_the_warehouse_are_told_in_plain_words),
        cmocka_unit_test(a_default_database_that_does_not_exist_is_named_by_the_server),
        cmocka_unit_test(refusals_of_the_bucket_name_what_is_not_allowed),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
