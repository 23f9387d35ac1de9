/*
 * A source's backfill ends: what was published before goes from the tables, once, after the rows of
 * the transaction are in them; not from a log of delta updates, and not where the table does not
 * say when a row was published.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/story.h"

/* %s: of the binding of the table "items", after "recommended". */
static const char catalog[] =
    "{\"collections\":{"
    "\"acme/items\":{\"key\":[\"/id\"],\"schema\":{\"type\":\"object\","
    "\"reduce\":{\"strategy\":\"merge\"},\"required\":[\"id\"],\"properties\":{"
    "\"id\":{\"type\":\"integer\"},\"n\":{\"type\":\"integer\",\"reduce\":{\"strategy\":\"sum\"}}}"
    "}},"
    "\"acme/others\":{\"key\":[\"/id\"],\"schema\":{\"type\":\"object\",\"required\":[\"id\"],"
    "\"properties\":{\"id\":{\"type\":\"integer\"}}}}},"
    "\"materializations\":{\"acme/backfilled\":{"
    "\"endpoint\":{\"local\":{\"command\":[\"materialize-redshift\"],\"config\":{}}},"
    "\"bindings\":["
    "{\"source\":\"acme/others\",\"resource\":{\"table\":\"others\"},"
    "\"fields\":{\"recommended\":true}},"
    "{\"source\":\"acme/items\",\"resource\":{\"table\":\"items\"},"
    "\"fields\":{\"recommended\":true%s}},"
    "{\"source\":\"acme/items\",\"resource\":{\"table\":\"items_log\",\"delta_updates\":true},"
    "\"fields\":{\"recommended\":true}}]}}}\n";

#define ITEM(id, n) "[\"acme/items\",{\"id\":" #id ",\"n\":" #n "}]\n"
#define OTHER(id) "[\"acme/others\",{\"id\":" #id "}]\n"
#define ENDED(before) "{\"backfillComplete\":\"acme/items\",\"before\":" #before "}\n"
#define COMMIT "{\"commit\":true}\n"

/* Positions 0 to 4; 5 to 8, of which 1 and 2 are updates; 9 and 10; 11. */
#define FIRST ITEM(1, 1) ITEM(2, 2) ITEM(3, 3) ITEM(4, 4) OTHER(1) COMMIT
#define SECOND ITEM(1, 10) ITEM(2, 20) ITEM(5, 50) OTHER(2) ENDED(5) COMMIT
#define THIRD ITEM(3, 300) ITEM(5, 500) COMMIT
#define FOURTH OTHER(3) ENDED(9) ENDED(5) COMMIT

struct backfill_case {
    const char *name;
    const char *codec;
    const char *options[12]; /* of flow-runtime, ended by NULL */
    const char *rule;        /* of the gateway; %s stands for the marker file; or NULL */
};

static bool drive(struct story *story,
                  const struct backfill_case *row,
                  const char *documents,
                  const char *fields,
                  const char *extra)
{
    const char *marker = story_path(story, "fault");
    const char *options[16] = {"--same-boundaries"};
    const char *address = NULL;
    unsigned count = 1;

    for (unsigned i = 0; row->options[i]; i++) {
        options[count++] = row->options[i];
    }
    if (row->rule) {
        int before = (int)(strstr(row->rule, "%s") - row->rule);
        address = story_gateway(story, "gateway",
                                story_text(story, "%.*s%s\n", before, row->rule, marker));
        options[count++] = "--kill-file";
        options[count++] = marker;
    }
    const struct story_drive run = {
        .label = "runtime",
        .catalog = story_write(story, "catalog.json", story_text(story, catalog, fields)),
        .fixture = story_write(story, "documents.jsonl", documents),
        .config = story_config(story, "config.json",
                               &(struct story_config){.address = address, .extra = extra}),
        .codec = row->codec,
        .mode = "v2",
        .options = options,
    };
    return (address || !row->rule) && story_drive(story, &run);
}

static bool check_table(struct story *story, const char *table, const char *columns, const char *is)
{
    return story_same(story, table, is,
                      story_query(story, story_text(story, "SELECT %s FROM %s.%s ORDER BY %s",
                                                    columns, story->schema, table, columns)));
}

/* 3 begins anew in the third transaction: what it was is gone, and its sum with it. In the fourth
 * nothing is stored in the tables of which older rows go; of two instants the later counts, and
 * what was published at it stays. */
static void run_case(struct story *story, const struct backfill_case *row)
{
    if (drive(story, row, FIRST SECOND THIRD FOURTH, "", NULL) &&
        check_table(story, "items", "id, n", "3|300\n5|550\n") &&
        check_table(story, "others", "id", "1\n2\n3\n") &&
        check_table(story, "items_log", "id, n",
                    "1|1\n1|10\n2|2\n2|20\n3|3\n3|300\n4|4\n5|50\n5|500\n")) {
        story_bucket_is_empty(story);
    }
}

static const struct kept_case {
    const char *name, *fields, *extra;
    bool is_warned;
} kept_cases[] = {
    {"no time of publication", ",\"exclude\":[\"flow_published_at\"]", NULL, true},
    {"a time of publication that is text",
     ",\"require\":{\"flow_published_at\":{\"castToString\":true}}", NULL, true},
    {"told not to", "", ",\"advanced\":{\"feature_flags\":\"no_truncate_after_backfill\"}", false},
    {"told to keep what is there", "",
     ",\"advanced\":{\"feature_flags\":\"retain_existing_data_on_backfill\"}", false},
};

/* The played runtime expects that rows go, so nothing is stored after the signal here. */
static void run_kept(struct story *story, const struct kept_case *row)
{
    const struct backfill_case run = {.codec = "json"};

    if (drive(story, &run, FIRST SECOND, row->fields, row->extra) &&
        check_table(story, "items", "id, n", "1|11\n2|22\n3|3\n4|4\n5|50\n")) {
        const char *log = story_read(story, story_path(story, "runtime.log"), NULL);
        if ((strstr(log, "the table has no time of publication") != NULL) != row->is_warned) {
            story_complain(story, "%s: %.2000s", row->is_warned ? "no warning" : "a warning", log);
        }
    }
}

/* ---------------------------------------------------------------- side by side */

struct stories {
    const struct backfill_case *rows; /* NULL: kept_cases */
    char complaints[8][1024];
};

static void run_one(void *ctx, unsigned index)
{
    struct stories *stories = ctx;
    struct story *story =
        story_begin(stories->rows ? stories->rows[index].name : kept_cases[index].name);

    if (stories->rows) {
        run_case(story, &stories->rows[index]);
    } else {
        run_kept(story, &kept_cases[index]);
    }
    story_close(story);
    snprintf(stories->complaints[index], sizeof stories->complaints[index], "%s: %.900s",
             story->name, story->complaint);
    if (!story->complaint[0]) {
        stories->complaints[index][0] = '\0';
    }
    free(story);
}

static void run_all(const struct backfill_case *rows, unsigned count)
{
    struct stories stories = {.rows = rows};
    unsigned failed = 0;

    assert_true(count <= sizeof stories.complaints / sizeof *stories.complaints);
    story_side_by_side(count, run_one, &stories);
    for (unsigned i = 0; i < count; i++) {
        if (stories.complaints[i][0]) {
            print_error("%s\n", stories.complaints[i]);
            failed++;
        }
    }
    assert_int_equal(failed, 0);
}

#define RUN_ALL(rows) run_all(rows, sizeof(rows) / sizeof *(rows))

/* ---------------------------------------------------------------- stories */

static void what_a_backfill_superseded_goes_with_its_end(void **state)
{
    static const struct backfill_case rows[] = {
        {.name = "a backfill's end, JSON", .codec = "json"},
        {.name = "a backfill's end told to many shards",
         .codec = "proto",
         .options = {"--shards", "3"}},
    };
    (void)state;

    RUN_ALL(rows);
}

static void a_kill_changes_nothing_of_it(void **state)
{
    static const struct backfill_case rows[] = {
        {.name = "killed while it is staged",
         .codec = "json",
         .options = {"--kill-at", "startedCommit.received#2"}},
        {.name = "killed while it is promised",
         .codec = "proto",
         .options = {"--shards", "2", "--kill-at", "commit.logged#2"}},
        {.name = "killed before it is done", .codec = "json", .rule = "trunc#1 before kill %s"},
        {.name = "killed after it is done", .codec = "proto", .rule = "trunc#1 after kill %s"},
        {.name = "killed before the one that is alone in its entry",
         .codec = "proto",
         .rule = "trunc#2 before kill %s"},
        {.name = "killed after it was committed",
         .codec = "json",
         .options = {"--kill-at", "acknowledged.received#3"}},
    };
    (void)state;

    RUN_ALL(rows);
}

static void rows_stay_where_it_cannot_or_must_not_be_done(void **state)
{
    (void)state;
    run_all(NULL, sizeof kept_cases / sizeof *kept_cases);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_backfill_superseded_goes_with_its_end),
        cmocka_unit_test(a_kill_changes_nothing_of_it),
        cmocka_unit_test(rows_stay_where_it_cannot_or_must_not_be_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
