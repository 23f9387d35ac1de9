/*
 * Acknowledgements that wait for their schedule, and the job that is triggered before they do.
 * Times are compared with each other as the connector logs them, never with a clock of the test.
 */

#include "txn/schedule.h"

#include "base/text.h"
#include "support/http_peer.h"
#include "support/story.h"

#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <libpq-fe.h>

#define NS_PER_SECOND 1000000000
#define DOCUMENTS 10 /* in a transaction */
#define UPDATES 2    /* of them, in all but the first: the same two keys, which are loaded */

static const char catalog[] =
    "{\"collections\":{\"acme/things\":{\"key\":[\"/id\"],\"schema\":{\"type\":\"object\","
    "\"required\":[\"id\"],\"properties\":{\"id\":{\"type\":\"integer\"},"
    "\"round\":{\"type\":\"integer\"}}}}},"
    "\"materializations\":{\"acme/warehouse\":{"
    "\"endpoint\":{\"local\":{\"command\":[\"materialize-redshift\"],\"config\":{}}},"
    "\"bindings\":[{\"source\":\"acme/things\",\"resource\":{\"table\":\"things\"},"
    "\"fields\":{\"recommended\":true}}]}}}\n";

static const char *make_fixture(struct story *story, unsigned transactions)
{
    const char *path = story_path(story, "fixture.jsonl");
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    for (unsigned round = 0; round < transactions; round++) {
        for (unsigned i = 0; i < DOCUMENTS; i++) {
            fprintf(file, "[\"acme/things\",{\"id\":%u,\"round\":%u}]\n",
                    i < UPDATES ? i : round * DOCUMENTS + i, round);
        }
        fputs("{\"commit\": true}\n", file);
    }
    fclose(file);
    return path;
}

static struct story_drive drive_of(struct story *story,
                                   unsigned transactions,
                                   const struct story_config *config,
                                   const char *const *options)
{
    return (struct story_drive){
        .label = "runtime",
        .catalog = story_write(story, "catalog.json", catalog),
        .fixture = make_fixture(story, transactions),
        .config = story_config(story, "config.json", config),
        .codec = "json",
        .mode = "v1",
        .options = options,
    };
}

/* ---------------------------------------------------------------- the connector's log */

static const char *log_of(struct story *story)
{
    return story_read(story, story_path(story, "runtime.log"), NULL);
}

static unsigned count_of(const char *text, const char *part)
{
    unsigned count = 0;

    while ((text = strstr(text, part))) {
        text += strlen(part);
        count++;
    }
    return count;
}

/* The instant behind "name":"; -1 when the line has none. */
static int64_t instant_of(const char *line, const char *name)
{
    char pattern[64];
    int64_t seconds;
    int32_t nanos;

    (void)snprintf(pattern, sizeof pattern, "\"%s\":\"", name);
    const char *at = strstr(line, pattern);
    const char *end = at ? strchr(at + strlen(pattern), '"') : NULL;
    if (!end) {
        return -1;
    }
    at += strlen(pattern);
    struct span text = {at, (size_t)(end - at)};
    return text_from_rfc3339(text, &seconds, &nanos) ? seconds * NS_PER_SECOND + nanos : -1;
}

static void
expect_rows(struct story *story, const char *what, const char *wanted, const char *condition)
{
    const char *sql =
        story_text(story, "SELECT count(*) FROM %s.things WHERE %s", story->schema, condition);
    story_same(story, what, wanted, story_query(story, sql));
}

/* Each decision is the one that the pure function makes of the two times in its line. */
static void check_decisions(struct story *story, const char *log, const struct schedule *schedule)
{
    int64_t earliest = 0;

    for (const char *line = log; (line = strstr(line, "\"lastAckTime\""));) {
        char *copy = story_text(story, "%.*s", (int)strcspn(line, "\n"), line);
        int64_t last = instant_of(copy, "lastAckTime");
        int64_t next = instant_of(copy, "nextScheduledAck");
        line += strlen(copy);

        if (last < earliest) {
            story_complain(story, "the answer before came too early: %s", copy);
        }
        if (last < 0 || next != schedule_next(schedule, last)) {
            story_complain(story, "not the instant after the last answer: %s", copy);
        }
        earliest = strstr(copy, "\"delay\":") ? next : last;
    }
}

static void acknowledgements_come_at_their_instants(void **state)
{
    static const char *const options[] = {"--early-loads", "all", NULL};
    static const char schedule_json[] = "{\"syncFrequency\":\"4s\"}";
    static const struct schedule_config schedule_config = {.sync_frequency = "4s"};
    struct story *story = story_begin("schedule");
    const struct story_config config = {.sync_schedule = schedule_json};
    struct story_drive drive = drive_of(story, 7, &config, options);
    struct arena *arena = arena_new((size_t)16 * 1024 * 1024);
    struct schedule *schedule;

    (void)state;
    assert_null(schedule_new(arena, &schedule_config,
                             span_of(story_environment("LOCAL_REDSHIFT_ADDRESS")),
                             SCHEDULE_ZONE_FOLDER, &schedule));
    if (story_drive(story, &drive)) {
        const char *log = log_of(story);
        unsigned delays = count_of(log, "delaying before acknowledging commit");
        if (count_of(log, "created fixed schedule for acknowledgements") != 1) {
            story_complain(story, "no line about the schedule");
        }
        /* The recovery is not even considered; of the others four are too few to tell. */
        if (count_of(log, "\"lastAckTime\"") != 7 - 1 ||
            count_of(log, "based on stored history") != 4) {
            story_complain(story, "%u decisions, %u of them by history",
                           count_of(log, "\"lastAckTime\""),
                           count_of(log, "based on stored history"));
        }
        if (delays == 0 || count_of(log, "after configured delay") != delays) {
            story_complain(story, "%u delays began, %u ended", delays,
                           count_of(log, "after configured delay"));
        }
        if (!strstr(log, "\"storedHistory\":[10,10,10,10,10]")) {
            story_complain(story, "no history of five transactions");
        }
        check_decisions(story, log, schedule);
        expect_rows(story, "rows", "58\n", "1 = 1");
        if (story_number(story_report(story, "runtime"), "loaded") != 6 * UPDATES) {
            story_complain(story, "not every update was loaded: %s",
                           story_report(story, "runtime"));
        }
    }
    arena_free(arena);
    story_end(story);
}

/* ---------------------------------------------------------------- ending the wait */

static bool is_delayed(void *ctx)
{
    return strstr(log_of(ctx), "delaying before acknowledging commit") != NULL;
}

/* The only child of the played runtime; 0 when it has none. */
static pid_t child_of(pid_t parent)
{
    char path[64];
    int child = 0;

    (void)snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)parent, (int)parent);
    FILE *file = fopen(path, "r");
    if (file) {
        if (fscanf(file, "%d", &child) != 1) {
            child = 0;
        }
        fclose(file);
    }
    return child;
}

/* Asks the server behind the sandbox: an open transaction would hold locks on what it touched. */
static void expect_no_locks(struct story *story)
{
    const char *const names[] = {"host", "port", "user", "dbname", NULL};
    const char *const values[] = {story_environment("LOCAL_PG_HOST"),
                                  story_environment("LOCAL_PG_PORT"), "postgres",
                                  story_environment("LOCAL_REDSHIFT_DATABASE"), NULL};
    PGconn *conn = PQconnectdbParams(names, values, 0);
    PGresult *result =
        PQexec(conn, story_text(story,
                                "SELECT count(*) FROM pg_locks l JOIN pg_class c ON c.oid = "
                                "l.relation JOIN pg_namespace n ON n.oid = c.relnamespace "
                                "WHERE n.nspname = '%s'",
                                story->schema));
    if (PQresultStatus(result) != PGRES_TUPLES_OK) {
        story_complain(story, "looking for locks: %s", PQerrorMessage(conn));
    } else {
        story_same(story, "locks during the wait", "0", PQgetvalue(result, 0, 0));
    }
    PQclear(result);
    PQfinish(conn);
}

/* An hour would be beyond every deadline here: the wait was ended. */
static void a_signal_ends_the_wait_and_a_recovery_is_not_delayed(void **state)
{
    static const char *const options[] = {"--max-restarts", "1",   "--same-boundaries",
                                          "--early-loads",  "all", NULL};
    struct story *story = story_begin("schedule_signal");
    const struct story_config config = {.sync_schedule = "{\"syncFrequency\":\"1h\"}"};
    struct story_drive drive = drive_of(story, 7, &config, options);
    struct story_process *runtime = story_drive_start(story, &drive);

    (void)state;
    if (story_wait_for(story, "an acknowledgement that waits", is_delayed, story, 120)) {
        pid_t connector = child_of(runtime->pid);
        expect_rows(story, "rows of the transaction that waits", "10\n", "round = 4");
        expect_no_locks(story);
        if (connector <= 1 || kill(connector, SIGTERM) != 0) {
            story_complain(story, "the connector is not there to be stopped");
        }
    }
    if (story_wait(story, runtime, 120) && story_exit_code(runtime) != 0) {
        story_complain(story, "flow-runtime exited with %d: %.2000s", story_exit_code(runtime),
                       story_read(story, runtime->err, NULL));
    }
    if (story_is_well(story)) {
        const char *log = log_of(story);
        if (count_of(log, "delaying before acknowledging commit") != 1 ||
            strstr(log, "after configured delay")) {
            story_complain(story, "the wait did not end by the signal, or another one came");
        }
        if (story_number(story_report(story, "runtime"), "restarts") != 1) {
            story_complain(story, "not one restart: %s", story_report(story, "runtime"));
        }
        expect_rows(story, "rows at the end", "58\n", "1 = 1");
        story_bucket_is_empty(story);
    }
    story_end(story);
}

static void the_end_of_the_input_ends_the_wait_with_its_answer(void **state)
{
    struct story *story = story_begin("schedule_end");
    const struct story_config config = {.sync_schedule = "{\"syncFrequency\":\"1h\"}"};
    struct story_drive drive = drive_of(story, 5, &config, NULL);

    (void)state;
    if (story_drive(story, &drive)) { /* it demands the answer to the last Acknowledge */
        expect_rows(story, "rows", "42\n", "1 = 1");
        story_bucket_is_empty(story);
    }
    story_end(story);
}

/* ---------------------------------------------------------------- the triggered job */

static const char *trigger_json(struct story *story, const struct http_peer *peer)
{
    return story_text(story,
                      ",\"dbt_job_trigger\":{\"job_id\":\"42\",\"account_id\":\"7\","
                      "\"api_key\":\"dbt-story-key\",\"access_url\":\"http://127.0.0.1:%u\","
                      "\"mode\":\"skip\"}",
                      http_peer_port(peer));
}

static void a_job_is_triggered_once_per_interval_and_nobody_waits_for_it(void **state)
{
    static const struct {
        const char *name;
        struct http_rule rule;
        unsigned started;
    } rows[] = {
        {"schedule_job",
         {.body = "{\"status\":{\"is_success\":true,\"user_message\":\"\"},\"data\":[]}"},
         1},
        {"schedule_job_silent", {.way = HTTP_PEER_SILENCE}, 0},
        {"schedule_job_fails", {.status = 500, .body = "oops"}, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct http_peer *peer = http_peer_start(&rows[i].rule, 1);
        struct story *story = story_begin(rows[i].name);
        const struct story_config config = {.extra = trigger_json(story, peer)};
        struct story_drive drive = drive_of(story, 3, &config, NULL);
        if (story_drive(story, &drive)) {
            unsigned asked = http_peer_count(peer, "GET", "/runs?job_definition_id=42&status=1");
            unsigned started = http_peer_count(peer, "POST", "/api/v2/accounts/7/jobs/42/run");
            if (asked != 1 || started != rows[i].started) {
                story_complain(story, "asked %u times, started %u times", asked, started);
            }
            if (strstr(log_of(story), "dbt-story-key")) {
                story_complain(story, "the key is in the log");
            }
            expect_rows(story, "rows", "26\n", "1 = 1");
        }
        story_end(story);
        http_peer_stop(peer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(acknowledgements_come_at_their_instants),
        cmocka_unit_test(a_signal_ends_the_wait_and_a_recovery_is_not_delayed),
        cmocka_unit_test(the_end_of_the_input_ends_the_wait_with_its_answer),
        cmocka_unit_test(a_job_is_triggered_once_per_interval_and_nobody_waits_for_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
