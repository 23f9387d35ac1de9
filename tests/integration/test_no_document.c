/*
 * Tables without the root document: what a lookup rebuilds from columns is reduced with later
 * documents as the document itself would be. And no document comes back without a backfill.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/story.h"

static const char catalog[] =
    "{\"collections\":{\"acme/things\":{\"key\":[\"/id\"],\"schema\":{\"type\":\"object\","
    "\"reduce\":{\"strategy\":\"merge\"},\"required\":[\"id\"],\"properties\":{"
    "\"id\":{\"type\":\"integer\"},"
    "\"n\":{\"type\":\"integer\",\"reduce\":{\"strategy\":\"sum\"}},"
    "\"text\":{\"type\":\"string\"},"
    "\"maybe\":{\"type\":[\"string\",\"null\"]},"
    "\"day\":{\"type\":\"string\",\"format\":\"date\"},"
    "\"seen\":{\"type\":\"string\",\"format\":\"date-time\"},"
    "\"digits\":{\"type\":\"string\",\"format\":\"integer\"},"
    "\"list\":{\"type\":\"array\",\"reduce\":{\"strategy\":\"append\"}}}}}},"
    "\"materializations\":{\"acme/plain\":{"
    "\"endpoint\":{\"local\":{\"command\":[\"materialize-redshift\"],\"config\":{}}},"
    "\"bindings\":[{\"source\":\"acme/things\",\"resource\":{\"table\":\"things\"},"
    "\"fields\":{\"recommended\":true%s}}]}}}\n";

static const char first[] =
    "[\"acme/things\",{\"id\":1,\"n\":2,\"text\":\"a "
    "\\\"b\\\"\",\"maybe\":null,\"day\":\"2024-02-29\","
    "\"seen\":\"2024-02-29T12:30:00.5Z\",\"digits\":\"00123\",\"list\":[1,{\"x\":null}]}]\n"
    "[\"acme/things\",{\"id\":2}]\n"
    "{\"commit\":true}\n";
static const char second[] = "[\"acme/things\",{\"id\":1,\"n\":40,\"list\":[\"two\"]}]\n"
                             "[\"acme/things\",{\"id\":2,\"n\":7}]\n"
                             "{\"commit\":true}\n";

static struct story_process *
start(struct story *story, const char *documents, const char *fields, const char *extra)
{
    static const char *const options[] = {"--force-loads", NULL};
    const struct story_drive run = {
        .label = "runtime",
        .catalog = story_write(story, "catalog.json", story_text(story, catalog, fields)),
        .fixture = story_write(story, "documents.jsonl", documents),
        .config = story_config(story, "config.json", &(struct story_config){.extra = extra}),
        .codec = "json",
        .mode = "v1",
        .options = options,
    };
    return story_drive_start(story, &run);
}

static int end(struct story *story, struct story_process *process)
{
    return story_wait(story, process, 60) ? story_exit_code(process) : -1;
}

static void a_document_is_rebuilt_from_columns(void **state)
{
    static const char plain[] = ",\"advanced\":{\"no_flow_document\":true}";
    struct story *story = story_begin("a table without its document");
    struct story_process *process;

    (void)state;
    process = start(story, first, ",\"exclude\":[\"flow_document\"]", plain);
    if (end(story, process) != 0) {
        story_complain(story, "first: %s", story_read(story, process->err, NULL));
    }
    process = start(story, story_text(story, "%s%s", first, second),
                    ",\"exclude\":[\"flow_document\"]", plain);
    if (end(story, process) != 0) {
        story_complain(story, "second: %s", story_read(story, process->err, NULL));
    }
    if (story_is_well(story)) {
        story_same(
            story, "the table",
            "1|42|a \"b\"|~|2024-02-29|2024-02-29 12:30:00.5+00|123|[1,{\"x\":null},\"two\"]\n"
            "2|7|~|~|~|~|~|~\n",
            story_query(story, story_text(story,
                                          "SELECT id, n, text, maybe, day, seen, digits, list "
                                          "FROM %s.things ORDER BY id",
                                          story->schema)));
    }
    /* The setting is taken back: rows without a document would be inserted once more. */
    process = start(story, story_text(story, "%s%s", first, second), "", "");
    if (end(story, process) != 2 ||
        !strstr(story_read(story, process->err, NULL), "without a backfill")) {
        story_complain(story, "not refused: %s", story_read(story, process->err, NULL));
    }
    story_end(story);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_document_is_rebuilt_from_columns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
