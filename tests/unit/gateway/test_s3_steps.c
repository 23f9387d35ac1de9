/* Requests to the bucket by what they are for. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gateway/s3_steps.h"

#include <string.h>

static const struct {
    const char *method, *target, *step, *part;
} rows[] = {
    {"PUT", "/b/p/t/00000000-ffffffff/0123-r000001-b0000-store-0001.json.gz", "put.data", NULL},
    {"PUT", "/b/p/t/r000001-b0000-store-0001.json", "put.data", NULL},
    {"PUT", "/b/p/r000001-a0-b0000-store.manifest", "put.manifest", NULL},
    {"PUT", "/b/p/probe", "put", NULL},
    {"POST", "/b/k.json.gz?uploads=", "create", NULL},
    {"POST", "/b/k.json.gz?uploads", "create", NULL},
    {"PUT", "/b/k.json.gz?partNumber=1&uploadId=abc", "part", "part:1"},
    {"PUT", "/b/k.json.gz?partNumber=9&uploadId=abc", "part", "part:9"},
    {"PUT", "/b/k.json.gz?partNumber=10&uploadId=abc", "part", NULL},
    {"POST", "/b/k.json.gz?uploadId=abc", "complete", NULL},
    {"DELETE", "/b/k.json.gz?uploadId=abc", "abort", NULL},
    {"DELETE", "/b/k.json.gz", "delete.one", NULL},
    {"POST", "/b/?delete=", "delete", NULL},
    {"POST", "/b?delete", "delete", NULL},
    {"GET", "/b/?list-type=2&prefix=a.json", "list", NULL},
    {"GET", "/b/?list-type=2&prefix=a/b&continuation-token=x", "list", NULL},
    {"GET", "/b?prefix=a%2Fb&uploads=", "list.uploads", NULL},
    {"HEAD", "/b/k.json.gz", "head", NULL},
    {"GET", "/b/k.json.gz", "get.data", NULL},
    {"GET", "/b/k.manifest", "get.manifest", NULL},
    {"GET", "/b/k", "get", NULL},
    {"GET", "/b/k?x=.json", "get", NULL},
    {"PUT", "/b", "other", NULL},
    {"HEAD", "/b/", "other", NULL},
    {"OPTIONS", "/b/k", "other", NULL},
    {"GET", "", "list", NULL},
};

static void each_request_has_its_step(void **state)
{
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *step = s3_step_of(rows[i].method, rows[i].target);
        const char *part = s3_part_step_of(rows[i].method, rows[i].target);

        if (strcmp(step, rows[i].step) != 0 ||
            strcmp(part ? part : "", rows[i].part ? rows[i].part : "") != 0) {
            fail_msg("%s %s is %s (%s)", rows[i].method, rows[i].target, step,
                     part ? part : "no part");
        }
    }
}

static void each_step_has_a_name_that_rules_know(void **state)
{
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *wanted[] = {rows[i].step, rows[i].part};
        for (unsigned k = 0; k < 2 && wanted[k]; k++) {
            unsigned at = 0;
            while (s3_step_names[at] && strcmp(s3_step_names[at], wanted[k]) != 0) {
                at++;
            }
            assert_non_null(s3_step_names[at]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_request_has_its_step),
        cmocka_unit_test(each_step_has_a_name_that_rules_know),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
