/*
 * SIGTERM while rows are staged and while they are applied: the connector ends soon and not with
 * success, and the next run sets everything right, with nothing left in the bucket.
 */

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/story_ledger.h"

static void check_after(struct story *story, const struct story_drive *drive, struct ledger *ledger)
{
    struct story_drive again = *drive;

    /* The same recovery log, another report. */
    again.options = NULL;
    if (story_drive(story, &again)) {
        story_same(story, "the tables after the next run", ledger->wanted,
                   ledger_read(story, ledger));
        story_bucket_is_empty(story);
    }
}

/* The runtime tells that the connector exited by itself, with 1. */
static void expect_own_end(struct story *story, struct story_process *process)
{
    if (!story_wait(story, process, 30)) {
        return;
    }
    const char *message = story_read(story, process->err, NULL);
    if (story_exit_code(process) != 2 || !strstr(message, "the connector exited with 1")) {
        story_complain(story, "the connector did not end by itself, not well: %.1000s", message);
    }
}

static void sigterm_during_an_apply_ends_it_and_the_next_run_sets_it_right(void **state)
{
    static const char *const moments[] = {"begin#4", "put.merge#1", "put.direct#5", "token#2",
                                          "commit#3"};
    (void)state;

    for (unsigned i = 0; i < sizeof moments / sizeof moments[0]; i++) {
        struct story *story = story_begin(moments[i]);
        const struct ledger_plan plan = {.transactions = 4, .events = 30};
        const char *marker = story_path(story, "halted");
        struct ledger ledger;

        ledger_make(story, &plan, &ledger);
        /* Halted there, so that the signal is the first thing that it sees when it goes on. */
        const char *address = story_gateway(
            story, "gateway", story_text(story, "%s before stop %s\n", moments[i], marker));
        const struct story_drive drive = {
            .label = "runtime",
            .catalog = ledger.catalog,
            .fixture = ledger.fixture,
            .config =
                story_config(story, "config.json", &(struct story_config){.address = address}),
            .codec = "proto",
            .mode = "v1",
        };
        struct story_process *process = story_drive_start(story, &drive);
        if (address && story_wait_file(story, marker, 60)) {
            pid_t pid = (pid_t)strtol(story_read(story, marker, NULL), NULL, 10);
            if (pid > 1) {
                kill(pid, SIGTERM);
                kill(pid, SIGCONT);
            }
            expect_own_end(story, process);
            if (story_is_well(story)) {
                check_after(story, &drive, &ledger);
            }
        }
        story_end(story);
    }
}

/* ---------------------------------------------------------------- while staging */

struct staging {
    struct story *story;
};

static bool upload_is_open(void *ctx)
{
    struct staging *staging = ctx;
    const char *left =
        story_bucket(staging->story, story_text(staging->story, "%s/", staging->story->prefix));
    return strstr(left, "upload ") != NULL || !story_is_well(staging->story);
}

static const char catalog[] =
    "{\"collections\":{\"acme/many\":{\"key\":[\"/id\"],\"schema\":{\"type\":\"object\","
    "\"required\":[\"id\"],\"properties\":{\"id\":{\"type\":\"integer\"},"
    "\"payload\":{\"type\":\"string\"}}}}},"
    "\"materializations\":{\"acme/warehouse\":{"
    "\"endpoint\":{\"local\":{\"command\":[\"materialize-redshift\"],\"config\":{}}},"
    "\"bindings\":[{\"source\":\"acme/many\",\"resource\":{\"table\":\"many\"},"
    "\"fields\":{\"recommended\":true}}]}}}\n";

static void sigterm_while_staging_leaves_no_upload_behind(void **state)
{
    struct story *story = story_begin("while staging");
    const char *const options[] = {"--generate", "600000,400", NULL};
    const char *const less[] = {"--generate", "50,400", NULL};
    struct staging staging = {story};
    struct story_drive drive = {
        .label = "runtime",
        .catalog = story_write(story, "catalog.json", catalog),
        .config = story_config(story, "config.json", &(struct story_config){.address = NULL}),
        .codec = "proto",
        .mode = "v1",
        .options = options,
    };
    struct story_process *process = story_drive_start(story, &drive);
    (void)state;

    if (story_wait_for(story, "an open upload", upload_is_open, &staging, 60)) {
        pid_t pid = story_child(process);
        if (pid <= 1 || kill(pid, SIGTERM) != 0) {
            story_complain(story, "there is no connector to stop");
        }
        expect_own_end(story, process);
        /* By itself, and before another process could clean up after it. */
        if (story_is_well(story)) {
            story_bucket_is_empty(story);
        }
        drive.options = less;
        if (story_is_well(story) && story_drive(story, &drive)) {
            story_same(story, "rows", "50\n",
                       story_query(story, story_text(story, "SELECT COUNT(*) FROM %s.many",
                                                     story->schema)));
            story_bucket_is_empty(story);
        }
    }
    story_end(story);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sigterm_during_an_apply_ends_it_and_the_next_run_sets_it_right),
        cmocka_unit_test(sigterm_while_staging_leaves_no_upload_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
