/* Group BL: nothing goes wrong outside. */

#include "harness/bucket.h"
#include "harness/defects.h"
#include "harness/extras.h"
#include "harness/plays.h"

#include <inttypes.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WAIT_SECONDS 120
#define SCHEDULE_HISTORY 5U /* transactions after which a task counts as having caught up */

/* Each apply but the first has one COPY for each way into each table, and one MERGE for each
 * standard table at most, whatever the number of shards. */
static void an_apply_is_one_of_each(struct trial *trial)
{
    unsigned merges = 0, copies = 0;

    for (const char *at = trial->sql_trace; (at = strstr(at, "\"step\":\"")); at++) {
        char step[32] = "";
        (void)!sscanf(at, "\"step\":\"%31[^\"]\"", step);
        if (strcmp(step, "lock") == 0) {
            merges = copies = 0;
        } else if (strcmp(step, "put.merge") == 0) {
            merges++;
        } else if (strcmp(step, "put.direct") == 0) {
            copies++;
        } else if (strcmp(step, "token") == 0 && (merges > 2 || copies > 4)) {
            trial_finds(trial, 25, "an apply has %u MERGE and %u COPY into tables", merges, copies);
        }
    }
}

/* The first apply, into empty tables, merges nothing. */
static void what_is_new_is_copied(struct trial *trial)
{
    const char *token = strstr(trial->sql_trace, "\"step\":\"token\"");
    const char *merge = strstr(trial->sql_trace, "\"step\":\"put.merge\"");

    if (!token || !merge || merge < token) {
        trial_finds(trial, 25, "what was new was merged, or what was not was not");
    }
    an_apply_is_one_of_each(trial);
}

/* ---------------------------------------------------------------- BL8 */

struct spoilt {
    int64_t truncated, replaced;
};

/* Is a text of so many bytes, in characters of so many but for the first ones, too long for a
 * column? The runtime, as Validated asks it to, sends 65,536 bytes of it at most, in whole
 * characters. */
static bool is_cut_behind(size_t len, size_t width)
{
    size_t lead = len % width;

    return len > 65536 ? lead + (65536 - lead) / width * width > 65535 : len > 65535;
}

/* Of a shape the transaction stores the last document. A text is cut behind 65,535 bytes, in its
 * column and in the document, where the longest blob is as well, which is 65,536 bytes of base64;
 * in a column it is also cut at U+0000. In JSON, in the document as in "thing", that is replaced.
 */
static void count_spoilt(struct trial *trial, unsigned first_group, unsigned last_group, void *ctx)
{
    static const size_t lengths[] = {0, 255, 256, 257, 65534, 65535, 65536, 65537, 70000};
    struct spoilt *spoilt = ctx;

    (void)trial;
    for (unsigned shape = 0; shape < SHAPES; shape++) {
        unsigned group = last_group;
        while (group >= first_group && !extras_is_shape_in(shape, group)) {
            group--;
        }
        if (group < first_group) {
            continue;
        }
        unsigned at = (shape + group) % SHAPES;
        bool is_cut = at >= 2 && at <= 4, is_thing = at == 8;
        bool is_long = shape < 8 && is_cut_behind(lengths[(group + shape) / 2 % 9], shape % 4 + 1);
        spoilt->truncated += 2 * is_long + is_cut + (at % 8 == 7);
        spoilt->replaced += (is_cut || is_thing) + is_thing;
    }
}

static int64_t sum_of(const char *log, const char *name)
{
    int64_t sum = 0;
    char wanted[40];

    snprintf(wanted, sizeof wanted, "\"%s\":", name);
    for (const char *at = log; (at = strstr(at, wanted)); at++) {
        sum += story_number(at, name);
    }
    return sum;
}

static void what_is_spoilt_is_told(struct trial *trial)
{
    struct spoilt wanted = {0, 0};
    int64_t truncated = sum_of(trial->log, "truncated_values");
    int64_t replaced = sum_of(trial->log, "replaced_values");

    trial_each_transaction(trial, count_spoilt, &wanted);
    if (truncated != wanted.truncated || replaced != wanted.replaced) {
        trial_finds(trial, 24,
                    "%" PRId64 " strings are said to be cut and %" PRId64
                    " values to be replaced; there were %" PRId64 " and %" PRId64,
                    truncated, replaced, wanted.truncated, wanted.replaced);
    }
    if (!strstr(trial->log, "strings were cut at what a column can hold") ||
        !strstr(trial->log, "characters that no column can hold were replaced")) {
        trial_finds(trial, 21, "nobody was told that values were cut or replaced");
    }
}

/* SQL: how many locks there are on the trial's tables. */
static const char *locks_of(struct trial *trial)
{
    return story_text(trial->story,
                      "SELECT COUNT(*) FROM pg_catalog.pg_locks WHERE relation IN (SELECT \"oid\" "
                      "FROM pg_catalog.pg_class WHERE relnamespace IN (SELECT \"oid\" FROM "
                      "pg_catalog.pg_namespace WHERE nspname = '%s'))",
                      trial->story->schema);
}

/* ---------------------------------------------------------------- BL11 */

struct overlap {
    struct trial *trial;
    const char *waiting; /* SQL: how many wait for a lock */
};

/* Does the other task wait for the halted one's lock, or has it gone past it? */
static bool has_met(void *ctx)
{
    struct overlap *overlap = ctx;
    struct story *story = overlap->trial->story;
    const char *trace = story_read(story, story_path(story, "twin-sql.trace"), NULL);

    return strstr(trace, "\"step\":\"token\"") ||
           strcmp(story_query(story, overlap->waiting), "0\n") != 0;
}

/* The catalog of another task with tables of its own, fed by the same documents. */
static const char *twin_catalog(struct trial *trial)
{
    static const char task[] = "\"acme/ledger\"", table[] = "\"table\":\"";
    struct story *story = trial->story;
    const char *from = story_read(story, trial->work.catalog, NULL);
    const char *path = story_path(story, "twin-catalog.json");
    FILE *out = fopen(path, "w");

    if (!out) {
        trial_troubles(trial, "no second catalog");
        return NULL;
    }
    for (const char *at = from; *at;) {
        if (strncmp(at, task, strlen(task)) == 0) {
            fputs("\"acme/twin\"", out);
            at += strlen(task);
        } else if (strncmp(at, table, strlen(table)) == 0) {
            fprintf(out, "%stwin_", table);
            at += strlen(table);
        } else {
            fputc(*at++, out);
        }
    }
    fclose(out);
    return path;
}

/* One task is halted in the middle of an apply; another one that has its row in the same metadata
 * table begins. When they have met both go on, as fast as they can, to their ends. */
static void play_neighbours(struct trial *trial)
{
    struct story *story = trial->story;
    const struct run run = {.label = "runtime", .is_observed = true};
    const struct run twin = {.label = "twin", .catalog = twin_catalog(trial)};
    struct observer *observer = observer_start(trial, TRIAL_ARM);
    struct story_process *process = trial_start(trial, &run);
    const char *marker = trial_marker(trial, 1);

    if (process) {
        play_wait_halt(trial, process);
    }
    pid_t halted = (pid_t)strtol(story_read(story, marker, NULL), NULL, 10);
    if (halted > 1) {
        struct story_process *other = trial_start(trial, &twin);
        struct overlap overlap = {trial, story_text(story, "%s AND NOT granted", locks_of(trial))};
        story_wait_for(story, "the two tasks' meeting", has_met, &overlap, WAIT_SECONDS);
        kill(halted, SIGCONT);
        int code = trial_end(trial, other);
        if (code != 0) {
            trial_finds(trial, 22, "the other task ended with %d", code);
        }
    }
    trial->state = run.label;
    trial_wait(trial, process, run.label);
    observer_stop(observer);
    if (!story_is_well(story)) {
        trial_troubles(trial, "%s", story->complaint);
        story->complaint[0] = '\0';
    }
}

static void expect_same_rows(struct trial *trial, const char *table, const char *columns)
{
    const char *s = trial->story->schema;
    const char *count = story_query(
        trial->story,
        story_text(trial->story,
                   "SELECT COUNT(*) FROM ((SELECT %s FROM %s.%s EXCEPT SELECT %s FROM %s.twin_%s) "
                   "UNION ALL (SELECT %s FROM %s.twin_%s EXCEPT SELECT %s FROM %s.%s)) AS differ",
                   columns, s, table, columns, s, table, columns, s, table, columns, s, table));

    if (strcmp(count, "0\n") != 0) {
        trial_finds(trial, 3, "%s of the two tasks differ in %s", table, count);
    }
}

static void nobody_was_in_the_way(struct trial *trial)
{
    static const char *const labels[] = {"runtime", "twin"};
    struct story *story = trial->story;

    for (unsigned i = 0; i < 2; i++) {
        const char *log =
            story_read(story, story_path(story, story_text(story, "%s.log", labels[i])), NULL);
        int64_t retries = sum_of(log, "sql_retries");
        if (retries > 0) {
            trial_finds(trial, 22, "%s: %" PRId64 " transactions ran again, and nothing was wrong",
                        labels[i], retries);
        }
    }
    expect_same_rows(trial, "accounts", "id, seq, balance_delta, n, fp, note");
    expect_same_rows(trial, "accounts_delta", "id, seq, balance_delta, n, fp, note");
    expect_same_rows(trial, "events", "id, seq, balance_delta");
    expect_same_rows(trial, "events_std", "id, seq, balance_delta");
    if (!story_is_well(story)) {
        trial_troubles(trial, "%s", story->complaint);
        story->complaint[0] = '\0';
    }
}

static const struct point meeting[] = {
    {.name = "in the middle of an apply", .sql = "apply.put.direct#1 before stop %1\n"}};

/* ---------------------------------------------------------------- BL12 */

#define LEFT_OBJECTS 1003 /* a list has a thousand, a deletion too */

/* What a process that has ended put in front of the names of its files: ".../<start>-<id>/". */
static char *staged_folder(struct trial *trial)
{
    struct story *story = trial->story;
    char *log = story_read(story, story_path(story, "first.state/recovery.jsonl"), NULL);
    char *end = strstr(log, "/r000000-"), *start = end;

    while (start && start > log && *start != '"') {
        start--;
    }
    return start ? story_text(story, "%.*s", (int)(end - start), start + 1) : NULL;
}

/* A process leaves more objects than one request can list or delete, beside those that the state
 * names; the next Open deletes the ones and applies the others. */
static void play_leftovers(struct trial *trial)
{
    const struct run first = {.label = "first",
                              .has_no_faults = true,
                              .options = {"--max-transactions", "2", "--ending", "not-drained"}};
    const struct run run = {.label = "runtime", .state = "first", .is_observed = true};
    int code = trial_end(trial, trial_start(trial, &first));
    const char *folder = code == 0 ? staged_folder(trial) : NULL;

    if (!folder || !bucket_put_many(story_text(trial->story, "%sleft", folder), LEFT_OBJECTS)) {
        trial_troubles(trial, "the first run ended with %d, or nothing could be left behind", code);
        return;
    }
    struct observer *observer = observer_start(trial, 1);
    trial_wait(trial, trial_start(trial, &run), run.label);
    observer_stop(observer);
}

/* ---------------------------------------------------------------- BL13 */

/* Does an answer wait, or has the run ended without one that did? */
static bool is_delayed(void *ctx)
{
    struct trial *trial = ctx;
    const char *log = story_read(trial->story, story_path(trial->story, "runtime.log"), NULL);
    const char *report = story_path(trial->story, "runtime.report");

    return strstr(log, "delaying before acknowledging commit") != NULL || access(report, F_OK) == 0;
}

/* How far the tables are: the highest group. */
static unsigned long visible_group(struct trial *trial)
{
    return strtoul(
        story_query(trial->story, story_text(trial->story, "SELECT MAX(\"group\") FROM %s.events",
                                             trial->story->schema)),
        NULL, 10);
}

static void expect_no_lock(struct trial *trial)
{
    const char *count = story_query(trial->story, locks_of(trial));

    if (strcmp(count, "0\n") != 0) {
        trial_finds(trial, 19, "%.*s locks are held while an answer waits",
                    (int)strcspn(count, "\n"), count);
    }
}

/* The schedule asks for an hour. The fifth transaction is the first whose answer waits; its process
 * is killed then, and the next one's first answer must not wait. */
static void play_schedule(struct trial *trial)
{
    const struct run run = {.label = "runtime"};
    struct story *story = trial->story;
    const char *killed = trial_marker(trial, 1);

    struct story_process *process = trial_start(trial, &run);
    if (process && story_wait_for(story, "an answer that waits", is_delayed, trial, WAIT_SECONDS)) {
        pid_t pid = story_child(process);
        unsigned long group = visible_group(trial);
        if (group != 2 * SCHEDULE_HISTORY) {
            trial_finds(trial, 12, "the answer waits, and a new reader sees group %lu of %u", group,
                        2 * SCHEDULE_HISTORY);
        }
        expect_no_lock(trial);
        story_write(story, "armed", "");
        story_write(story, strrchr(killed, '/') + 1, "");
        if (pid > 1) {
            kill(pid, SIGKILL);
        }
    }
    if (!story_is_well(story)) {
        trial_troubles(trial, "%s", story->complaint);
        story->complaint[0] = '\0';
    }
    trial_wait(trial, process, run.label);
}

static void one_answer_waited(struct trial *trial)
{
    const char *at = trial->log, *waits = "delaying before acknowledging commit";
    unsigned count = 0;

    while ((at = strstr(at, waits))) {
        at += strlen(waits);
        count++;
    }
    if (count != 1 || strstr(trial->log, "after configured delay")) {
        trial_finds(trial, 22, "%u answers waited, or one came when nobody waited any more", count);
    }
}

static const struct point waiting[] = {
    {.name = "killed while an answer waits", .sql = "begin#9999 before kill %1\n"}};

static const struct scenario rows[] = {
    {.id = "BL1",
     .title = "first runtime, drained",
     .is_short = true,
     .check = an_apply_is_one_of_each,
     .defects = {{.name = "LOST-COMMIT", .caught_by = "I3 I12", .sql = LOST_COMMIT}}},
    {.id = "BL1N",
     .title = "first runtime, sessions end not drained",
     .options = {"--session-commits", "2"},
     .defects = {{.name = "CLEAR-AT-OPEN", .caught_by = "I3", .flow = FLOW_CLEAR_AT_OPEN}}},
    {.id = "BL2",
     .title = "second runtime, one shard",
     .mode = "v2",
     .check = an_apply_is_one_of_each,
     .defects = {{.name = "FULL-STATE", .caught_by = "I3 I14 I22", .flow = FLOW_FULL_STATE},
                 {.name = "STARTED-BEFORE-DURABLE",
                  .caught_by = "I15",
                  .flow = "startedCommit#2 rewrite store-0000=>store-0009\n"}}},
    {.id = "BL3",
     .title = "born with four shards",
     .mode = "v2",
     .hard_delete = true,
     .options = {"--shards", "4"},
     .is_short = true,
     .check = an_apply_is_one_of_each,
     .defects = {{.name = "DROP-PEER", .caught_by = "I3 I22", .flow = FLOW_DROP_PEER}}},
    {.id = "BL4",
     .title = "all Loads come before Acknowledged",
     .options = {"--early-loads", "all"},
     .defects = {{.name = "LOADED-EARLY", .caught_by = "I14", .flow = FLOW_LOADED_EARLY},
                 {.name = "READ-SHORT", .caught_by = "I13", .sql = READ_SHORT}}},
    {.id = "BL5",
     .title = "only new keys, then old and new",
     .mode = "v2",
     .check = what_is_new_is_copied,
     .defects = {{.name = "LIMIT-UNION", .caught_by = "I5 I13", .sql = "load.query short 0\n"}}},
    {.id = "BL6",
     .title = "empty and tiny transactions",
     .mode = "v2",
     .options = {"--session-commits", "1", "--session-ending", "alternate"},
     .defects = {{.name = "LOST-COMMIT", .caught_by = "I3 I12", .sql = LOST_COMMIT}}},
    {.id = "BL6A",
     .title = "what is acknowledged is visible at once",
     .defects = {{.name = "ACK-BEFORE-APPLY", .caught_by = "I12", .flow = FLOW_ACK_BEFORE_APPLY}}},
    {.id = "BL7",
     .title = "accounts close and open again, hard deletes",
     .hard_delete = true,
     .transactions = 10,
     .defects = {{.name = "STALE-DELETE",
                  .caught_by = "I3 I9 I13",
                  .sql = "del.exec after run DELETE FROM %S.accounts WHERE id LIKE 'acct-002%'\n"},
                 {.name = "NO-DELETE",
                  .caught_by = "I9 I10 I13",
                  .sql = "del.exec rewrite WHERE =>WHERE 1 = 0 AND \n"}}},
    {.id = "BL7S",
     .title = "accounts close and open again, soft deletes",
     .transactions = 10,
     .defects = {{.name = "LOST-COMMIT", .caught_by = "I3 I12", .sql = LOST_COMMIT}}},
    {.id = "BL10",
     .title = "a reader all the time",
     .transactions = 12,
     .defects = {{.name = "EARLY-APPLY", .caught_by = "I16", .flow = FLOW_EARLY_APPLY}}},
    {.id = "BL8",
     .title = "texts that grow, keys that begin alike, values that are easily spoilt",
     .extras = EXTRA_SHAPES,
     .check = what_is_spoilt_is_told,
     .defects = {{.name = "TEMP-256",
                  .caught_by = "I7",
                  .sql = "apply.temp rewrite text VARCHAR(65535)=>text VARCHAR(256)\n"},
                 {.name = "TRUNC-KEYS",
                  .caught_by = "I5 I13",
                  .sql = "load.temp rewrite (name VARCHAR(65=>(name VARCHAR(25\n"
                         "load.temp.copy rewrite COMPUPDATE=>TRUNCATECOLUMNS COMPUPDATE\n"}}},
    {.id = "BL9",
     .title = "a table without its document: lookups are rebuilt from columns",
     .extras = EXTRA_NODOC,
     .extra = ",\"advanced\":{\"no_flow_document\":true}",
     .defects = {{.name = "NULL-KEPT",
                  .caught_by = "I13",
                  .flow = "loaded rewrite \"binding\":4,\"doc\":{=>"
                          "\"binding\":4,\"doc\":{\"hint\":null,\n"}}},
    {.id = "BL11",
     .title = "two tasks with one metadata table",
     .play = play_neighbours,
     .check = nobody_was_in_the_way,
     POINTS(meeting),
     .defects = {{.name = "LOCK-LATE", .caught_by = "I22", .sql = LOCK_LATE},
                 {.name = "SHARED-ROW", .caught_by = "I23", .sql = SHARED_ROW}}},
    {.id = "BL12",
     .title = "more files to delete than one request can name",
     .play = play_leftovers,
     .defects = {{.name = "DROP-NTH-CHUNK",
                  .caught_by = "I18",
                  .s3 = "delete#2 before run swallow\n"}}},
    {.id = "BL13",
     .title = "an answer waits for its schedule, and its process is killed",
     .sync_schedule = "{\"syncFrequency\":\"1h\"}",
     .play = play_schedule,
     .check = one_answer_waited,
     .transactions = 7,
     POINTS(waiting),
     .defects = {{.name = "SLEEP-IN-TXN",
                  .caught_by = "I19",
                  .sql = "apply.commit after run BEGIN; LOCK %S.flow_checkpoints_v1\n"},
                 {.name = "DELAY-RECOVERY",
                  .caught_by = "I22",
                  .flow = "acknowledged#1 before stall -\n",
                  .options = {"--timeout", "20"}}}},
};

GROUP(BL, rows);
