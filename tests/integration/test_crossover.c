/*
 * A task that another version of this connector ran last goes on without a backfill: from the
 * checkpoint that it kept in the metadata table with the data, or from the work that its state
 * names. Every document is in the table once. What the other version left behind is written here by
 * hand.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/story.h"

static const char catalog[] =
    "{\"collections\":{\"acme/events\":{\"key\":[\"/id\"],\"schema\":{\"type\":\"object\","
    "\"required\":[\"id\"],\"properties\":{\"id\":{\"type\":\"integer\"},"
    "\"text\":{\"type\":\"string\"}}}}},\"materializations\":{\"acme/crossing\":{"
    "\"endpoint\":{\"local\":{\"command\":[\"materialize-redshift\"],\"config\":{}}},"
    "\"bindings\":[{\"source\":\"acme/events\",\"resource\":{\"table\":\"events\","
    "\"delta_updates\":true},\"fields\":{\"recommended\":true}}]}}}\n";

#define EVENT(id) "[\"acme/events\",{\"id\":" #id ",\"text\":\"number " #id "\"}]\n"
#define COMMIT "{\"commit\":true}\n"
#define FIRST EVENT(1) EVENT(2) EVENT(3) COMMIT
#define SECOND EVENT(4) EVENT(5) COMMIT
#define THIRD EVENT(6) COMMIT

/* consumer.Checkpoint whose one source has read_through 3, in base64: as it is, and through gzip.
 */
static const char checkpoint[] = "CjQKLmFjbWUvZXZlbnRzL3Bpdm90PTAwO21hdGVyaWFsaXplL2FjbWUvY3Jvc3Np"
                                 "bmcSAggD";
static const char zipped_checkpoint[] =
    "H4sIAAAAAAACA+My4dJLTM5N1U8tS80rKdYvyCzLL7E1MLDOTSxJLcpMzMmsStUH"
    "K0guyi8uzsxLF2LiYAYA/2MIpjYAAAA=";

static const char *const drained[] = {NULL};
static const char *const not_drained[] = {"--ending", "not-drained", NULL};
static const char *const until_apply[] = {"--until", "apply", NULL};

static struct story_drive
a_drive(struct story *story, const char *documents, const char *codec, const char *const *options)
{
    return (struct story_drive){
        .label = "runtime",
        .catalog = story_write(story, "catalog.json", catalog),
        .fixture = story_write(story, "documents.jsonl", documents),
        .config = story_config(story, "config.json", &(struct story_config){0}),
        .codec = codec,
        .mode = "v1",
        .options = options,
    };
}

static bool
drive(struct story *story, const char *documents, const char *codec, const char *const *options)
{
    const struct story_drive run = a_drive(story, documents, codec, options);
    return story_drive(story, &run);
}

static void check_events(struct story *story, const char *wanted)
{
    if (story_is_well(story)) {
        story_same(story, "the table", wanted,
                   story_query(story, story_text(story,
                                                 "SELECT id, text, count(*) FROM %s.events "
                                                 "GROUP BY id, text ORDER BY id",
                                                 story->schema)));
    }
}

/* ---------------------------------------------------------------- a checkpoint in the table */

static void go_on_from_a_checkpoint(const char *name, const char *codec, const char *text)
{
    struct story *story = story_begin(name);

    drive(story, FIRST SECOND, codec, until_apply);
    /* What the other version did: three documents and where it was, in one transaction. */
    story_query(story, story_text(story,
                                  "INSERT INTO %s.events (id, text) VALUES (1, 'number 1'), "
                                  "(2, 'number 2'), (3, 'number 3')",
                                  story->schema));
    story_query(story,
                story_text(story,
                           "INSERT INTO %s.flow_checkpoints_v1 (materialization, key_begin, "
                           "key_end, fence, checkpoint) VALUES ('acme/crossing', 0, 4294967295, 3, "
                           "TO_VARBYTE('%s', 'utf8'))",
                           story->schema, text));
    drive(story, FIRST SECOND, codec, drained);
    check_events(story, "1|number 1|1\n2|number 2|1\n3|number 3|1\n4|number 4|1\n5|number 5|1\n");
    /* From now on the recovery log counts, and the checkpoint in the table is history. */
    drive(story, FIRST SECOND THIRD, codec, drained);
    check_events(story, "1|number 1|1\n2|number 2|1\n3|number 3|1\n4|number 4|1\n5|number 5|1\n"
                        "6|number 6|1\n");
    if (story_is_well(story)) {
        story_same(story, "the row", "t\n",
                   story_query(story, story_text(story,
                                                 "SELECT fence > 3 AND checkpoint_tokens IS NOT "
                                                 "NULL FROM %s.flow_checkpoints_v1",
                                                 story->schema)));
    }
    story_end(story);
}

static void a_task_goes_on_from_the_checkpoint_in_the_table(void **state)
{
    (void)state;
    go_on_from_a_checkpoint("a zipped checkpoint", "proto", zipped_checkpoint);
    go_on_from_a_checkpoint("a zipped checkpoint, JSON", "json", zipped_checkpoint);
    go_on_from_a_checkpoint("a checkpoint of old", "proto", checkpoint);
}

/* ---------------------------------------------------------------- staged work in the state */

/* The text with another part in place of the first such. */
static const char *
replace(struct story *story, const char *text, const char *part, const char *other)
{
    const char *found = strstr(text, part);

    if (!found) {
        story_complain(story, "%s is not in the state", part);
        return text;
    }
    return story_text(story, "%.*s%s%s", (int)(found - text), text, other, found + strlen(part));
}

/* A state with work that was staged and not applied, changed by replacements. */
static bool leave_state(struct story *story, const char *const (*changes)[2], unsigned count)
{
    if (!drive(story, FIRST, "json", not_drained)) {
        return false;
    }
    const char *text = story_read(story, story_path(story, "runtime.state/recovery.jsonl"), NULL);
    for (unsigned i = 0; i < count; i++) {
        text = replace(story, text, changes[i][0], changes[i][1]);
    }
    story_write(story, "runtime.state/recovery.jsonl", text);
    return story_is_well(story);
}

static void apply_left_state(const char *name, const char *const (*changes)[2], unsigned count)
{
    struct story *story = story_begin(name);

    if (leave_state(story, changes, count)) {
        drive(story, FIRST SECOND, "json", drained);
    }
    check_events(story, "1|number 1|1\n2|number 2|1\n3|number 3|1\n4|number 4|1\n5|number 5|1\n");
    story_bucket_is_empty(story);
    story_end(story);
}

#define NO_MERGE_ROWS                                                                              \
    {                                                                                              \
        "\"mergeRows\":\"0\",", ""                                                                 \
    }
#define MUST_MERGE                                                                                 \
    {                                                                                              \
        "\"mustMerge\":false", "\"mustMerge\":true"                                                \
    }
#define NO_COUNTS                                                                                  \
    {",\"storeRows\":\"3\"", ""},                                                                  \
    {                                                                                              \
        "\"deleteRows\":\"0\",", ""                                                                \
    }

/* Each change makes of an entry one that an earlier version or the original would have written. */
static void work_that_earlier_versions_staged_is_applied(void **state)
{
    static const char *const original[][2] = {NO_MERGE_ROWS, NO_COUNTS};
    static const char *const original_merged[][2] = {NO_MERGE_ROWS, NO_COUNTS, MUST_MERGE};
    static const char *const earlier[][2] = {NO_MERGE_ROWS};
    static const char *const earlier_merged[][2] = {NO_MERGE_ROWS, MUST_MERGE};

    (void)state;
    apply_left_state("an entry without row counts", original, 3);
    apply_left_state("an entry without row counts to merge", original_merged, 4);
    apply_left_state("an entry of one list of new rows", earlier, 1);
    apply_left_state("an entry of one list of rows to merge", earlier_merged, 2);
}

static void a_state_that_is_not_understood_is_refused(void **state)
{
    static const char *const changes[][2] = {
        {"\"storeRows\":\"3\"", "\"truncateBefore\":\"2026-01-01T00:00:00Z\""}};
    struct story *story = story_begin("a state of a later version");

    (void)state;
    if (leave_state(story, changes, 1)) {
        const struct story_drive run = a_drive(story, FIRST SECOND, "json", drained);
        struct story_process *process = story_drive_start(story, &run);
        if (story_wait(story, process, 60)) {
            const char *messages = story_read(story, process->err, NULL);
            if (story_exit_code(process) != 2 || !strstr(messages, "truncateBefore") ||
                !strstr(messages, "is not understood")) {
                story_complain(story, "not refused: %d: %s", story_exit_code(process), messages);
            }
        }
    }
    story_end(story);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_task_goes_on_from_the_checkpoint_in_the_table),
        cmocka_unit_test(work_that_earlier_versions_staged_is_applied),
        cmocka_unit_test(a_state_that_is_not_understood_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
