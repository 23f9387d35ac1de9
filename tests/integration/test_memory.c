/* A million documents in one transaction: what waits to be stored lies in the bucket and not in the
 * connector. About a minute; label "slow". */

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "support/story.h"

#if STORY_SANITIZED /* only that it works */
#define DOCUMENTS "50000"
#define LIMIT_KIB INT64_MAX
#else
#define DOCUMENTS "1000000"
#define LIMIT_KIB (128 * 1024)
#endif

static void a_million_documents_in_one_transaction_need_less_than_128_mib(void **state)
{
    struct story *story = story_begin("memory");
    const char *const options[] = {"--generate", DOCUMENTS ",128", NULL};
    const struct story_drive drive = {
        .label = "runtime",
        .catalog = story_catalog_of_many(story),
        .config = story_config(story, "config.json", &(struct story_config){.address = NULL}),
        .codec = "proto",
        .mode = "v1",
        .options = options,
    };
    (void)state;

    if (story_drive_within(story, &drive, 300)) {
        const char *report = story_report(story, "runtime");
        int64_t peak = story_number(report, "connectorPeakRssKiB");
        print_message("peak %lld KiB; %s", (long long)peak, report);
        if (peak <= 0 || peak >= LIMIT_KIB) {
            story_complain(story, "the connector needed %lld KiB", (long long)peak);
        }
        if (story_number(report, "transactions") != 1) {
            story_complain(story, "not one transaction: %s", report);
        }
        story_same(
            story, "rows", DOCUMENTS "|" DOCUMENTS "\n",
            story_query(story, story_text(story, "SELECT COUNT(*), COUNT(DISTINCT id) FROM %s.many",
                                          story->schema)));
        story_bucket_is_empty(story);
    }
    story_end(story);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_million_documents_in_one_transaction_need_less_than_128_mib),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
