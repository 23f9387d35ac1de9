/*
 * What the smallest transactions cost: requests to the bucket, seen by a gateway in front of it,
 * and waits for the warehouse, as the process counts them itself. The numbers are exact: one more
 * means that every transaction of every task became slower.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/story.h"

static const char catalog[] =
    "{\"collections\":{\"acme/items\":{\"key\":[\"/id\"],\"schema\":{\"type\":\"object\","
    "\"reduce\":{\"strategy\":\"merge\"},\"required\":[\"id\"],\"properties\":{"
    "\"id\":{\"type\":\"integer\"},\"n\":{\"type\":\"integer\"}}}}},"
    "\"materializations\":{\"acme/small\":{"
    "\"endpoint\":{\"local\":{\"command\":[\"materialize-redshift\"],\"config\":{}}},"
    "\"bindings\":[{\"source\":\"acme/items\",\"resource\":{\"table\":\"items\"},"
    "\"fields\":{\"recommended\":true}}]}}}\n";

#define ITEM(id, n) "[\"acme/items\",{\"id\":" #id ",\"n\":" #n "}]\n"
#define COMMIT "{\"commit\":true}\n"

static const struct cost_case {
    const char *name, *documents;
    unsigned data, manifests, deletions; /* requests in all transactions together */
    unsigned lookups;                    /* statements that look documents up */
    int64_t round_trips;                 /* of the last transaction */
    const char *rows;
} cases[] = {
    {.name = "one new document",
     .documents = ITEM(1, 1) COMMIT ITEM(2, 2) COMMIT ITEM(3, 3) COMMIT,
     .data = 3,
     .manifests = 3,
     .deletions = 3,
     .round_trips = 4,
     .rows = "1|1\n2|2\n3|3\n"},
    /* The lookup is one more flight, and its keys are a file with its list. */
    {.name = "one document that exists",
     .documents = ITEM(1, 1) COMMIT ITEM(1, 2) COMMIT,
     .data = 1 + 2,
     .manifests = 1 + 2,
     .deletions = 1 + 2,
     .lookups = 1,
     .round_trips = 5,
     .rows = "1|2\n"},
    /* One that exists and one that is new: a file and a list more, and no round trip. */
    {.name = "two documents of which one exists",
     .documents = ITEM(1, 1) COMMIT ITEM(1, 2) ITEM(2, 2) COMMIT,
     .data = 1 + 3,
     .manifests = 1 + 3,
     .deletions = 1 + 2,
     .lookups = 1,
     .round_trips = 5,
     .rows = "1|2\n2|2\n"},
};

/* Lines of requests or statements of this step whose other members have this part. */
static unsigned count_seen(const char *trace, const char *step, const char *part)
{
    char wanted[64];
    unsigned count = 0;
    int len = snprintf(wanted, sizeof wanted, "\"step\":\"%s\",", step);

    for (const char *at = trace; (at = strstr(at, "\"step\":\"")); at++) {
        const char *end = at + strcspn(at, "\n");
        const char *seen = strstr(at, "\"what\":\"seen\"");
        const char *found = strstr(at, part);
        count +=
            strncmp(at, wanted, (size_t)len) == 0 && seen && seen < end && found && found < end;
    }
    return count;
}

static const char *last_summary(const char *log)
{
    const char *last = "";

    for (const char *at = log; (at = strstr(at, "transaction summary")); at++) {
        last = at;
    }
    return last;
}

static void check_cost(struct story *story, const struct cost_case *row)
{
    const char *bucket = story_read(story, story_path(story, "bucket.trace"), NULL);
    const char *warehouse = story_read(story, story_path(story, "warehouse.trace"), NULL);
    const char *log = story_read(story, story_path(story, "runtime.log"), NULL);
    /* What transactions stage has the binding in its name; Validate tries the bucket with other
     * names, and deletes them one by one. */
    const struct {
        const char *trace, *step, *part;
        unsigned wanted;
    } counts[] = {
        {bucket, "put.data", "-b0000-", row->data},
        {bucket, "put.manifest", "-b0000-", row->manifests},
        {bucket, "create", "", 0},
        {bucket, "head", "", 0},
        {bucket, "delete", "", row->deletions},
        {bucket, "delete.one", "-b0000-", 0},
        {warehouse, "load.query", "", row->lookups},
    };

    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        unsigned count = count_seen(counts[i].trace, counts[i].step, counts[i].part);
        if (count != counts[i].wanted) {
            story_complain(story, "%u times %s, expected %u", count, counts[i].step,
                           counts[i].wanted);
        }
    }
    int64_t round_trips = story_number(last_summary(log), "round_trips");
    if (round_trips != row->round_trips) {
        story_complain(story, "%d round trips, expected %d: %.1000s", (int)round_trips,
                       (int)row->round_trips, last_summary(log));
    }
}

static void the_smallest_transactions_cost_this_much(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct cost_case *row = &cases[i];
        struct story *story = story_begin(row->name);
        const char *address = story_gateway(story, "warehouse", NULL);
        const char *endpoint = story_s3_gateway(story, "bucket", NULL);
        const struct story_drive drive = {
            .label = "runtime",
            .catalog = story_write(story, "catalog.json", catalog),
            .fixture = story_write(story, "documents.jsonl", row->documents),
            .config = story_config(
                story, "config.json",
                &(struct story_config){.address = address,
                                       .extra = story_text(story,
                                                           ",\"advanced\":{\"s3_endpoint\":\"%s\"}",
                                                           endpoint ? endpoint : "")}),
            .codec = "proto",
            .mode = "v2",
        };
        if (address && endpoint && story_drive(story, &drive)) {
            check_cost(story, row);
            story_same(
                story, "items", row->rows,
                story_query(story, story_text(story, "SELECT id, n FROM %s.items ORDER BY id",
                                              story->schema)));
        }
        story_end(story);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_smallest_transactions_cost_this_much),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
