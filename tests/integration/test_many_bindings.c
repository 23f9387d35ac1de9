/*
 * A task with a thousand tables: a transaction with a row for every one of them, then one for some.
 * Slow because of PostgreSQL and the bucket, who are asked several thousand things.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/story.h"

#if STORY_SANITIZED /* only that it works */
#define BINDINGS 150
#define SOME 10
#define LIMIT_KIB INT64_MAX
#else
#define BINDINGS 1000
#define SOME 50 /* of these: the last ones, of a collection of their own */
#define LIMIT_KIB (256 * 1024)
#endif

static const char collection[] =
    "\"acme/%s\":{\"key\":[\"/id\"],\"schema\":{\"type\":\"object\",\"required\":[\"id\"],"
    "\"properties\":{\"id\":{\"type\":\"integer\"},\"n\":{\"type\":\"integer\",\"reduce\":"
    "{\"strategy\":\"sum\"}}},\"reduce\":{\"strategy\":\"merge\"}}}";

static const char *write_catalog(struct story *story)
{
    const char *path = story_path(story, "catalog.json");
    FILE *out = fopen(path, "w");

    assert_non_null(out);
    fputs("{\"collections\":{", out);
    fprintf(out, collection, "most");
    fputc(',', out);
    fprintf(out, collection, "some");
    fputs("},\"materializations\":{\"acme/warehouse\":{\"endpoint\":{\"local\":{\"command\":"
          "[\"materialize-redshift\"],\"config\":{}}},\"bindings\":[",
          out);
    for (unsigned i = 0; i < BINDINGS; i++) {
        fprintf(out,
                "%s{\"source\":\"acme/%s\",\"resource\":{\"table\":\"t%u\"},\"fields\":"
                "{\"recommended\":true}}",
                i ? "," : "", i + SOME < BINDINGS ? "most" : "some", i);
    }
    fputs("]}}}\n", out);
    assert_int_equal(fclose(out), 0);
    return path;
}

/* What each table adds up to, and how many tables there are that add up to that. */
static const char *sums(struct story *story)
{
    size_t size = (size_t)BINDINGS * 100 + 200, len;
    char *sql = malloc(size);

    assert_non_null(sql);
    len = (size_t)snprintf(sql, size, "SELECT c, n, COUNT(*) FROM (");
    for (unsigned i = 0; i < BINDINGS; i++) {
        len += (size_t)snprintf(sql + len, size - len, "%sSELECT COUNT(*) c, SUM(n) n FROM %s.t%u",
                                i ? " UNION ALL " : "", story->schema, i);
    }
    snprintf(sql + len, size - len, ") s GROUP BY c, n ORDER BY c, n");
    const char *rows = story_query(story, sql);
    free(sql);
    return rows;
}

static void a_thousand_tables_take_part_in_a_transaction(void **state)
{
    static const char *const options[] = {"--same-boundaries", "--timeout", "600", NULL};
    static const char documents[] = "[\"acme/most\",{\"id\":1,\"n\":1}]\n"
                                    "[\"acme/some\",{\"id\":1,\"n\":5}]\n{\"commit\":true}\n"
                                    "[\"acme/some\",{\"id\":1,\"n\":50}]\n"
                                    "[\"acme/some\",{\"id\":2,\"n\":100}]\n{\"commit\":true}\n";
    struct story *story = story_begin("a thousand tables");
    const struct story_drive drive = {
        .label = "runtime",
        .catalog = write_catalog(story),
        .fixture = story_write(story, "documents.jsonl", documents),
        .config = story_config(story, "config.json", &(struct story_config){.address = NULL}),
        .codec = "proto",
        .mode = "v2",
        .options = options,
    };
    (void)state;

    if (story_drive_within(story, &drive, 1200)) {
        const char *report = story_report(story, "runtime");
        int64_t peak = story_number(report, "connectorPeakRssKiB");
        print_message("peak %lld KiB\n", (long long)peak);
        if (peak <= 0 || peak >= LIMIT_KIB) {
            story_complain(story, "the connector needed %lld KiB", (long long)peak);
        }
        story_same(story, "rows, sum, tables",
                   story_text(story, "1|1|%u\n2|155|%u\n", BINDINGS - SOME, SOME), sums(story));
        story_bucket_is_empty(story);
    }
    story_end(story);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thousand_tables_take_part_in_a_transaction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
