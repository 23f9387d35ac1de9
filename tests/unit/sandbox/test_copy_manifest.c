/* The manifest: what is a list of files and what is not. */
#include "sandbox/copy_manifest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void entries_keep_order_and_repetition(void **state)
{
    (void)state;
    static const char text[] =
        "{\n \"entries\": [\n"
        "  {\"url\":\"s3://b/dir/a.gz\", \"mandatory\":true},\n"
        "  {\"mandatory\":false, \"url\":\"s3://c/b\\u0020\\/\"},\n"
        "  {\"url\":\"s3://b/dir/a.gz\", \"meta\":{\"content_length\":5}}\n ], \"other\": 1 }\n";
    struct manifest m = {0};
    char why[200] = "";
    if (!manifest_parse((struct piece){text, sizeof text - 1}, &m, why, sizeof why)) {
        fail_msg("%s", why);
    }
    assert_int_equal(m.count, 3);
    assert_string_equal(m.entries[0].bucket, "b");
    assert_string_equal(m.entries[0].key, "dir/a.gz");
    assert_true(m.entries[0].mandatory);
    assert_string_equal(m.entries[1].bucket, "c");
    assert_string_equal(m.entries[1].key, "b /");
    assert_false(m.entries[1].mandatory);
    assert_string_equal(m.entries[2].key, "dir/a.gz");
    assert_false(m.entries[2].mandatory);
    manifest_done(&m);
}

static const struct {
    const char *sentence, *text, *words;
} refusals[] = {
    {"nothing is no manifest", "", "not one JSON object"},
    {"an array is no manifest", "[]", "not one JSON object"},
    {"two objects are no manifest", "{\"entries\":[{\"url\":\"s3://b/k\"}]}{}",
     "not one JSON object"},
    {"entries are needed", "{}", "no entries"},
    {"an empty list is nothing to load", "{\"entries\":[]}", "no entries"},
    {"entries are an array", "{\"entries\":{}}", "not one array"},
    {"entries come once", "{\"entries\":[{\"url\":\"s3://b/k\"}],\"entries\":[]}", "not one array"},
    {"an entry is an object", "{\"entries\":[{\"url\":\"s3://b/k\"},\"s3://b/k\"]}",
     "entry 2 is not an object"},
    {"an entry has a url", "{\"entries\":[{\"mandatory\":true}]}", "entry 1 has no url"},
    {"an entry has one url", "{\"entries\":[{\"url\":\"s3://b/k\",\"url\":\"s3://b/k\"}]}",
     "entry 1 has no full object path"},
    {"a url names bucket and key", "{\"entries\":[{\"url\":\"s3://b/\"}]}", "full object path"},
    {"a url is one of S3", "{\"entries\":[{\"url\":\"https://b/k\"}]}", "full object path"},
    {"a url has no NUL", "{\"entries\":[{\"url\":\"s3://b/k\\u0000x\"}]}", "full object path"},
    {"mandatory is a truth value", "{\"entries\":[{\"url\":\"s3://b/k\",\"mandatory\":1}]}",
     "mandatory"},
};

static void what_is_no_manifest_says_why(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        struct manifest m = {0};
        char why[200] = "";
        if (manifest_parse((struct piece){refusals[i].text, strlen(refusals[i].text)}, &m, why,
                           sizeof why) ||
            strstr(why, refusals[i].words) == NULL) {
            fail_msg("%s: %s", refusals[i].sentence, why);
        }
        assert_null(m.entries);
    }
}

static void a_manifest_cut_anywhere_is_refused(void **state)
{
    (void)state;
    static const char text[] =
        "{\"entries\":[{\"url\":\"s3://b/k\",\"mandatory\":true},{\"url\":\"s3://b/l\"}]}";
    for (size_t len = 0; len < sizeof text - 1; len++) {
        struct bytes part = {0};
        bytes_reserve(&part, len + 1);
        bytes_put(&part, text, len);
        struct manifest m = {0};
        char why[200] = "";
        assert_false(manifest_parse((struct piece){part.at, len}, &m, why, sizeof why));
        assert_true(why[0] != '\0');
        bytes_done(&part);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_keep_order_and_repetition),
        cmocka_unit_test(what_is_no_manifest_says_why),
        cmocka_unit_test(a_manifest_cut_anywhere_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
