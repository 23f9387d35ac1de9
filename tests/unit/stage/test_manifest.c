/* The list that COPY reads, as bytes. */

#include "stage/manifest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void expect(const struct span *keys, unsigned count, const char *want)
{
    struct buf out;

    buf_init(&out, 4096);
    manifest_add(&out, SPAN_LIT("docs"), keys, count);
    assert_string_equal(out.data, want);
    buf_done(&out);
}

static void every_file_is_mandatory(void **state)
{
    const struct span keys[] = {SPAN_LIT("a/0000.json.gz"), SPAN_LIT("a \"b\\\n\xc3\xa4/1")};

    (void)state;
    expect(keys, 0, "{\"entries\":[]}");
    expect(keys, 1, "{\"entries\":[{\"url\":\"s3://docs/a/0000.json.gz\",\"mandatory\":true}]}");
    expect(keys, 2,
           "{\"entries\":[{\"url\":\"s3://docs/a/0000.json.gz\",\"mandatory\":true},"
           "{\"url\":\"s3://docs/a \\\"b\\\\\\n\xc3\xa4/1\",\"mandatory\":true}]}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_file_is_mandatory)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
