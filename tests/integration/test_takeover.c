/*
 * Two instances of one task. The older one is halted when it is about to apply, the newer one takes
 * over and applies the same work; what the older one does when it goes on must change nothing. And
 * a COMMIT that reaches the server long after its sender gave up the connection: the work counts as
 * applied, once.
 */

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/story_ledger.h"

static const struct ledger_plan plan = {.transactions = 4, .events = 30};

static struct story_drive drive_of(struct story *story,
                                   const struct ledger *ledger,
                                   const char *label,
                                   const char *address,
                                   const char *mode)
{
    return (struct story_drive){
        .label = label,
        .catalog = ledger->catalog,
        .fixture = ledger->fixture,
        .config = story_config(story, story_text(story, "%s.json", label),
                               &(struct story_config){.address = address}),
        .codec = "json",
        .mode = mode,
    };
}

/* The recovery log as it is now, for another instance. */
static void copy_state(struct story *story, const char *from, const char *to)
{
    const char *const argv[] = {"/bin/cp", "-r",
                                story_path(story, story_text(story, "%s.state", from)),
                                story_path(story, story_text(story, "%s.state", to)), NULL};
    story_wait(story, story_start(story, "copy", argv, NULL, NULL), 20);
}

static void
a_halted_instance(struct story *story, const char *rule, const char *mode, const char *refusal)
{
    struct ledger ledger;
    const char *marker = story_path(story, "halted");

    ledger_make(story, &plan, &ledger);
    const char *address =
        story_gateway(story, "gateway", story_text(story, "%s before stop %s\n", rule, marker));
    if (!address) {
        return;
    }
    const struct story_drive older = drive_of(story, &ledger, "older", address, mode);
    const struct story_drive newer = drive_of(story, &ledger, "newer", NULL, mode);
    struct story_process *process = story_drive_start(story, &older);
    if (!story_wait_file(story, marker, 60)) {
        return;
    }
    pid_t pid = (pid_t)strtol(story_read(story, marker, NULL), NULL, 10);
    copy_state(story, "older", "newer");
    bool is_well = pid > 1 && story_drive(story, &newer);
    const char *before = is_well ? ledger_read(story, &ledger) : "";
    if (pid > 1) {
        kill(pid, SIGCONT);
    }
    if (!is_well || !story_same(story, "the newer instance's tables", ledger.wanted, before) ||
        !story_wait(story, process, 60)) {
        return;
    }
    if (story_exit_code(process) != 2) {
        story_complain(story, "the older instance's runtime ended with %d, not with its failure",
                       story_exit_code(process));
    }
    const char *log = story_read(story, story_path(story, "older.log"), NULL);
    if (!strstr(log, refusal)) {
        story_complain(story, "the older instance did not say \"%s\": %.1500s", refusal,
                       story_read(story, process->err, NULL));
    }
    story_same(story, "the tables after the older instance went on", before,
               ledger_read(story, &ledger));
}

static void an_instance_that_was_halted_before_its_apply_changes_nothing(void **state)
{
    static const char *const modes[] = {"v1", "v2"};
    (void)state;

    for (unsigned i = 0; i < 2; i++) {
        struct story *story = story_begin("halted before its apply");
        /* begin: Open, first apply, first lookup, second apply */
        a_halted_instance(story, "begin#4", modes[i],
                          "another instance of this task has taken over");
        story_end(story);
    }
}

/* ---------------------------------------------------------------- a late COMMIT */

struct waiting {
    struct story *story;
    const char *trace;
};

/* Is a LOCK on its way after the COMMIT that is held? */
static bool lock_follows(void *ctx)
{
    struct waiting *waiting = ctx;
    const char *trace = story_read(waiting->story, waiting->trace, NULL);
    const char *held = strstr(trace, "\"held\"");

    return held && strstr(held, "\"step\":\"lock\"");
}

static void a_commit_that_arrives_late_counts_once(void **state)
{
    struct story *story = story_begin("late commit");
    struct ledger ledger;
    const char *marker = story_path(story, "held");
    struct waiting waiting = {story, story_path(story, "gateway.trace")};
    (void)state;

    ledger_make(story, &plan, &ledger);
    const char *address =
        story_gateway(story, "gateway", story_text(story, "commit#3 before late %s\n", marker));
    if (address) {
        const struct story_drive drive = drive_of(story, &ledger, "runtime", address, "v1");
        struct story_process *process = story_drive_start(story, &drive);
        /* The next attempt waits for the lock of a transaction that will still be committed. */
        story_wait_for(story, "another attempt", lock_follows, &waiting, 60);
        story_write(story, "held.go", "");
        if (story_wait(story, process, 60) && story_exit_code(process) != 0) {
            story_complain(story, "the run failed: %.1500s", story_read(story, process->err, NULL));
        }
        if (!strstr(story_read(story, waiting.trace, NULL), "\"late\"")) {
            story_complain(story, "the COMMIT was never sent");
        }
        if (!strstr(story_read(story, story_path(story, "runtime.log"), NULL),
                    "staged work was applied before")) {
            story_complain(story, "nobody noticed that the work was applied");
        }
        story_same(story, "the tables", ledger.wanted, ledger_read(story, &ledger));
        story_bucket_is_empty(story);
    }
    story_end(story);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_instance_that_was_halted_before_its_apply_changes_nothing),
        cmocka_unit_test(a_commit_that_arrives_late_counts_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
