/*
 * Many shards: their tables are those of one; the kill of any of them, splits and joins lose and
 * repeat nothing, with work pending in ranges that are no more; and whatever their number, a table
 * gets in each apply at most one COPY of rows that are new, and one COPY and one MERGE of rows that
 * are not.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/digest.h"
#include "base/text.h"
#include "support/story_ledger.h"

#define TABLES 4   /* of the ledger */
#define STANDARD 2 /* of them, those that can be merged into */
#define COMPLAINT 1024
#define DRIVE_SECONDS 400 /* a busy machine commits slowly */

struct shards_case {
    const char *name;
    const char *codec;
    bool hard_delete;
    const char *options[24]; /* of flow-runtime, ended by NULL */
    unsigned kills;
    unsigned sessions;  /* at least */
    bool applies_first; /* the last session begins with work to apply */
};

/* ---------------------------------------------------------------- the warehouse's side */

struct apply {
    unsigned puts, copies, merges, deletes; /* copies: of rows to merge */
};

static void count_step(struct apply *apply, const char *step)
{
    apply->puts += strcmp(step, "put.direct") == 0;
    apply->copies += strcmp(step, "temp.copy") == 0;
    apply->merges += strcmp(step, "put.merge") == 0;
    apply->deletes += strcmp(step, "del.copy") == 0;
}

/* Only the shard that begins at zero locks, and while it applies the others wait. So what stands
 * between LOCK and the tokens in the trace is one apply. */
static bool check_trace(struct story *story, const struct shards_case *row, const char *trace)
{
    struct apply apply = {0};
    unsigned fullest = 0;
    bool mixed = false, is_locked = false, was_applied = false, was_looked_up = false,
         was_late = false;

    for (const char *at = trace; (at = strstr(at, "\"step\":\"")); at++) {
        char step[32];
        if (sscanf(at, "\"step\":\"%31[^\"]\"", step) != 1) {
            return story_complain(story, "not a trace: %.80s", at);
        }
        if (strcmp(step, "owner") == 0) {
            is_locked = was_applied = was_looked_up = was_late = false;
        } else if (strcmp(step, "lock") == 0) {
            is_locked = true;
            apply = (struct apply){0};
        } else if (strcmp(step, "load.query") == 0) {
            was_looked_up = true;
        } else if (strcmp(step, "token") == 0) {
            fullest = apply.puts > fullest ? apply.puts : fullest;
            mixed |= apply.puts && apply.merges;
            if (!is_locked || apply.puts > TABLES || apply.merges > STANDARD ||
                apply.copies != apply.merges || apply.deletes > STANDARD) {
                return story_complain(story, "an apply of %u COPY, %u for %u MERGE, %u of deletes",
                                      apply.puts, apply.copies, apply.merges, apply.deletes);
            }
            was_late |= !was_applied && was_looked_up;
            was_applied = true;
            is_locked = false;
        } else if (is_locked) {
            count_step(&apply, step);
        }
    }
    if (row->applies_first && was_late) {
        return story_complain(story, "the last session looked up before it applied");
    }
    if (fullest != TABLES || !was_applied) {
        return story_complain(story, "the fullest apply filled %u of %d tables", fullest, TABLES);
    }
    if (!mixed) {
        return story_complain(story, "no apply had both new rows and rows to merge");
    }
    return true;
}

/* ---------------------------------------------------------------- a run */

static bool run_ledger(struct story *story, const struct shards_case *row)
{
    const struct ledger_plan plan = {
        .transactions = 5, .events = 30, .hard_delete = row->hard_delete};
    struct ledger ledger;

    ledger_make(story, &plan, &ledger);
    const char *address = story_gateway(story, "gateway", NULL);
    const struct story_drive drive = {
        .label = "runtime",
        .catalog = ledger.catalog,
        .fixture = ledger.fixture,
        .config = story_config(
            story, "config.json",
            &(struct story_config){.address = address, .hard_delete = row->hard_delete}),
        .codec = row->codec,
        .mode = "v2",
        .options = row->options,
    };
    if (!address || !story_drive_within(story, &drive, DRIVE_SECONDS)) {
        return false;
    }
    const char *report = story_report(story, "runtime");
    if (story_number(report, "kills") != (int64_t)row->kills ||
        story_number(report, "restarts") != 0 ||
        story_number(report, "sessions") < (int64_t)row->sessions ||
        story_number(report, "position") != (int64_t)ledger.documents ||
        !strstr(report, "\"drained\":true")) {
        return story_complain(story, "not the report of a whole run: %s", report);
    }
    return story_same(story, "the tables", ledger.wanted, ledger_read(story, &ledger)) &&
           check_trace(story, row, story_read(story, story_path(story, "gateway.trace"), NULL));
}

struct rows {
    const struct shards_case *items;
    char complaints[16][COMPLAINT];
};

static void run_row(void *ctx, unsigned index)
{
    struct rows *rows = ctx;
    struct story *story = story_begin(rows->items[index].name);

    if (run_ledger(story, &rows->items[index])) {
        story_bucket_is_empty(story);
    }
    story_close(story);
    snprintf(rows->complaints[index], COMPLAINT, "%.*s", COMPLAINT - 1, story->complaint);
    free(story);
}

static void run_all(const struct shards_case *items, unsigned count)
{
    struct rows rows = {.items = items};
    unsigned failed = 0;

    assert_true(count <= 16);
    story_side_by_side(count, run_row, &rows);
    for (unsigned i = 0; i < count; i++) {
        failed += rows.complaints[i][0] != '\0';
        print_message("%s%s%s\n", items[i].name, rows.complaints[i][0] ? ": " : "",
                      rows.complaints[i]);
    }
    assert_int_equal(failed, 0);
}

#define RUN_ALL(rows) run_all(rows, sizeof(rows) / sizeof *(rows))

/* ---------------------------------------------------------------- stories */

static void many_shards_leave_the_tables_of_one(void **state)
{
    static const struct shards_case rows[] = {
        {.name = "two shards", .codec = "json", .options = {"--shards", "2"}},
        {.name = "four shards",
         .codec = "proto",
         .hard_delete = true,
         .options = {"--shards", "4"}},
        {.name = "seven shards",
         .codec = "proto",
         .options = {"--shards", "7", "--early-loads", "all"}},
    };
    (void)state;

    RUN_ALL(rows);
}

/* One point after the other kills each of three shards; a session after a death begins anew. */
#define EACH(point, first, second, third)                                                          \
    {                                                                                              \
        .name = "each shard killed at " point, .codec = "proto", .hard_delete = true,              \
        .options = {"--shards",      "3",         "--arm",     "1",         "--same-boundaries",   \
                    "--force-loads", "--kill-at", point first, "--kill-at", point second,          \
                    "--kill-at",     point third},                                                 \
        .kills = 3, .sessions = 4                                                                  \
    }
#define EACH_FIRST(point) EACH(point, "@0", "@1", "@2")
/* What is logged, is logged for all: the second time is the second of the run. */
#define EACH_NEXT(point) EACH(point, "#1@0", "#2@1", "#3@2")

static void any_shard_may_be_killed_anywhere(void **state)
{
    static const struct shards_case rows[] = {
        EACH_FIRST("acknowledge.sent"),   EACH_FIRST("acknowledged.received"),
        EACH_NEXT("acknowledged.logged"), EACH_FIRST("load.sent"),
        EACH_FIRST("flush.sent"),         EACH_FIRST("flushed.received"),
        EACH_FIRST("store.sent"),         EACH_FIRST("startedCommit.received"),
        EACH_NEXT("commit.logged"),
    };
    (void)state;

    RUN_ALL(rows);
}

static void a_split_loses_and_repeats_nothing(void **state)
{
    static const struct shards_case rows[] = {
        {.name = "split while the log has what nobody applied",
         .codec = "json",
         .options = {"--topology", "1,4", "--arm", "1", "--kill-at", "commit.logged"},
         .kills = 1,
         .sessions = 2,
         .applies_first = true},
        {.name = "split while files are staged that nobody promised",
         .codec = "proto",
         .hard_delete = true,
         .options = {"--topology", "1,4", "--arm", "1", "--kill-at", "startedCommit.received"},
         .kills = 1,
         .sessions = 2},
        {.name = "split while the clearing of what was applied is lost",
         .codec = "proto",
         .options = {"--topology", "1,4", "--arm", "1", "--kill-at", "acknowledged.received"},
         .kills = 1,
         .sessions = 2},
        {.name = "split, and split again before the parent's work is applied",
         .codec = "proto",
         .options = {"--topology", "1,2,4", "--arm", "1", "--kill-at", "commit.logged", "--kill-at",
                     "opened.received@1"},
         .kills = 2,
         .sessions = 3,
         .applies_first = true},
        {.name = "split between two sessions, not drained",
         .codec = "json",
         .options = {"--topology", "1,4", "--session-commits", "3"},
         .sessions = 2,
         .applies_first = true},
    };
    (void)state;

    RUN_ALL(rows);
}

static void a_join_applies_what_its_parts_left_pending(void **state)
{
    static const struct shards_case rows[] = {
        {.name = "join while the log has what nobody applied",
         .codec = "proto",
         .options = {"--topology", "4,1", "--arm", "1", "--kill-at", "commit.logged@2"},
         .kills = 1,
         .sessions = 2,
         .applies_first = true},
        {.name = "join while the clearing of what was applied is lost",
         .codec = "json",
         .hard_delete = true,
         .options = {"--topology", "4,1", "--arm", "1", "--kill-at", "acknowledged.received@0"},
         .kills = 1,
         .sessions = 2},
        {.name = "join by way of two, killed before it applied",
         .codec = "proto",
         .options = {"--topology", "4,2,1", "--arm", "1", "--kill-at", "commit.logged", "--kill-at",
                     "opened.received@1"},
         .kills = 2,
         .sessions = 3,
         .applies_first = true},
        {.name = "join between two sessions, not drained",
         .codec = "proto",
         .options = {"--topology", "4,1", "--session-commits", "3"},
         .sessions = 2,
         .applies_first = true},
        {.name = "splits and joins in quick turn",
         .codec = "json",
         .options = {"--topology", "1,4,2,7,1", "--session-commits", "1", "--session-ending",
                     "alternate"},
         .sessions = 5},
    };
    (void)state;

    RUN_ALL(rows);
}

/* ---------------------------------------------------------------- sweeping */

static bool request(struct story *story, const char *method, const char *key)
{
    const char *const argv[] = {
        "/usr/bin/python3",
        "-I",
        TEST_DATA "/../../deploy/local/s3.py",
        method,
        story_text(story, "/%s/%s", story_environment("LOCAL_S3_BUCKET"), key),
        NULL};
    struct story_process *process = story_start(story, "request", argv, NULL, NULL);

    return story_wait(story, process, 60) &&
           (story_exit_code(process) == 0 || story_complain(story, "%s %s failed", method, key));
}

/* Objects under a task's prefix: those of older processes go, whatever range they had; those of
 * younger ones, of other tasks, and those whose names are not of our making stay. */
static void only_what_older_processes_left_is_swept(void **state)
{
    static const char id[] = "8d1f6a1c-5b1e-4d7b-9a53-0d6f2c3b4a59/r000000-b0000-store-0";
    static const struct shards_case row = {.codec = "json", .options = {"--shards", "2"}};
    struct story *story = story_begin("only what older processes left is swept");
    unsigned char digest[DIGEST_SHA256_BYTES];
    char task[17] = {0};
    (void)state;

    digest_sha256(span_of("acme/ledger"), digest);
    text_hex(task, digest, 8);
    const char *stay[] = {
        story_text(story, "%s/0123456789abcdef/00000000-ffffffff/000000000001-%s", story->prefix,
                   id),
        story_text(story, "%s/%s/00000000-ffffffff/ffffffffffff-%s", story->prefix, task, id),
        story_text(story, "%s/%s/read-me/000000000001-%s", story->prefix, task, id),
    };
    const char *go[] = {
        story_text(story, "%s/%s/00000000-7fffffff/000000000001-%s", story->prefix, task, id),
        story_text(story, "%s/%s/c0000000-ffffffff/000000000002-%s", story->prefix, task, id),
    };
    for (unsigned i = 0; i < 3; i++) {
        request(story, "PUT", stay[i]);
    }
    for (unsigned i = 0; i < 2; i++) {
        request(story, "PUT", go[i]);
    }
    if (story_is_well(story) && run_ledger(story, &row)) {
        char *wanted =
            story_text(story, "object %s\nobject %s\nobject %s\n", stay[0], stay[1], stay[2]);
        story_same(story, "the bucket", wanted,
                   story_bucket(story, story_text(story, "%s/", story->prefix)));
    }
    for (unsigned i = 0; i < 3; i++) {
        request(story, "DELETE", stay[i]);
    }
    story_end(story);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_shards_leave_the_tables_of_one),
        cmocka_unit_test(any_shard_may_be_killed_anywhere),
        cmocka_unit_test(a_split_loses_and_repeats_nothing),
        cmocka_unit_test(a_join_applies_what_its_parts_left_pending),
        cmocka_unit_test(only_what_older_processes_left_is_swept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
