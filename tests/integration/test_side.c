/*
 * The connection beside the kept one: columns widened on it while rows are staged, questions asked
 * on it while a statement waits; and statements cancelled when the connector is told to stop.
 * Whatever becomes of it, the tables are right.
 */

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <libpq-fe.h>

#include "support/story.h"

/* Longer than a TEXT column is at first; and so many that their staging takes many times as long as
 * one statement on a fresh connection, however busy the machine is. */
#define VERY_LONG_ROWS "250000,400"
#define VERY_LONG_COUNT "250000\n"
#define LONG_ROWS "60000,400"
#define LONG_COUNT "60000\n"
#define SHORT_ROWS "10,100"

/* ---------------------------------------------------------------- frame */

struct run {
    struct story *story;
    struct story_drive drive;
    const char *options[8];
    struct story_process *process;
    const char *what; /* looked for in the log or the trace */
};

/* rules: of a gateway, NULL: none. rows: of the only transaction, as for --generate. */
static bool prepare(struct run *run, struct story *story, const char *rules, const char *rows)
{
    const char *address = rules ? story_gateway(story, "gateway", rules) : NULL;

    *run = (struct run){.story = story, .options = {"--generate", rows, "--max-restarts", "0"}};
    run->drive = (struct story_drive){
        .label = "runtime",
        .catalog = story_catalog_of_many(story),
        .config = story_config(story, "config.json", &(struct story_config){.address = address}),
        .codec = "proto",
        .mode = "v1",
        .options = run->options,
    };
    return story_is_well(story);
}

static const char *log_of(const struct run *run)
{
    return story_read(run->story, story_path(run->story, "runtime.log"), NULL);
}

static const char *trace_of(const struct run *run)
{
    return story_read(run->story, story_path(run->story, "gateway.trace"), NULL);
}

static bool log_says(void *ctx)
{
    struct run *run = ctx;
    return strstr(log_of(run), run->what) != NULL || !story_is_well(run->story);
}

static bool trace_says(void *ctx)
{
    struct run *run = ctx;
    return strstr(trace_of(run), run->what) != NULL || !story_is_well(run->story);
}

static bool wait_for_log(struct run *run, const char *what)
{
    run->what = what;
    return story_wait_for(run->story, what, log_says, run, 120);
}

static bool wait_for_trace(struct run *run, const char *what)
{
    run->what = what;
    return story_wait_for(run->story, what, trace_says, run, 120);
}

static void expect_in_log(struct run *run, const char *part)
{
    if (story_is_well(run->story) && !strstr(log_of(run), part)) {
        story_complain(run->story, "the log does not say: %s", part);
    }
}

static void finish(struct run *run)
{
    if (story_wait(run->story, run->process, 200) && story_exit_code(run->process) != 0) {
        story_complain(run->story, "flow-runtime exited with %d: %.1000s",
                       story_exit_code(run->process),
                       story_read(run->story, run->process->err, NULL));
    }
}

static void expect_rows(struct run *run, const char *count)
{
    struct story *story = run->story;

    if (story_is_well(story)) {
        story_same(story, "rows", count,
                   story_query(story, story_text(story,
                                                 "SELECT COUNT(*) FROM %s.many WHERE payload "
                                                 "IS NOT NULL",
                                                 story->schema)));
        story_same(story, "width", "65535\n",
                   story_query(story, story_text(story,
                                                 "SELECT character_maximum_length FROM "
                                                 "information_schema.columns WHERE table_schema = "
                                                 "'%s' AND table_name = 'many' AND column_name = "
                                                 "'payload'",
                                                 story->schema)));
        story_bucket_is_empty(story);
    }
}

/* A session of somebody else, which has a lock; the story's own user, or the superuser. */
struct holder {
    PGconn *conn;
    int pid;
};

static bool hold(struct run *run, struct holder *holder, const char *table, bool is_superuser)
{
    struct story *story = run->story;
    char host[64];
    const char *address = story_environment("LOCAL_REDSHIFT_ADDRESS");
    const char *colon = strrchr(address, ':');

    (void)snprintf(host, sizeof host, "%.*s", (int)(colon - address), address);
    const char *const names[] = {"host", "port", "user", "password", "dbname", "sslmode", NULL};
    const char *const loader[] = {host,
                                  colon + 1,
                                  story_environment("LOCAL_REDSHIFT_USER"),
                                  story_environment("LOCAL_REDSHIFT_PASSWORD"),
                                  story_environment("LOCAL_REDSHIFT_DATABASE"),
                                  "require",
                                  NULL};
    const char *const postgres[] = {story_environment("LOCAL_PG_HOST"),
                                    story_environment("LOCAL_PG_PORT"),
                                    "postgres",
                                    "",
                                    story_environment("LOCAL_REDSHIFT_DATABASE"),
                                    "disable",
                                    NULL};
    holder->conn = PQconnectdbParams(names, is_superuser ? postgres : loader, 0);
    PQclear(PQexec(holder->conn, "BEGIN"));
    PGresult *result =
        PQexec(holder->conn, story_text(story, "LOCK TABLE %s.%s", story->schema, table));
    if (PQresultStatus(result) != PGRES_COMMAND_OK) {
        story_complain(story, "holding a lock: %s", PQerrorMessage(holder->conn));
    }
    PQclear(result);
    holder->pid = PQbackendPID(holder->conn);
    return story_is_well(story);
}

static void let_go(struct holder *holder)
{
    PQfinish(holder->conn);
}

/* A first run, so that the tables are there; the next one goes on behind its transaction. */
static bool make_tables(struct run *run)
{
    bool is_done = story_drive(run->story, &run->drive);

    run->options[4] = "--generate";
    run->options[5] = "";
    return is_done;
}

static void start(struct run *run, const char *rows)
{
    run->options[run->options[5] ? 5 : 1] = rows;
    run->process = story_drive_start(run->story, &run->drive);
}

/* ---------------------------------------------------------------- widening ahead */

static void a_column_is_widened_while_rows_are_staged(void **state)
{
    struct story *story = story_begin("widened ahead");
    struct run run;
    (void)state;

    if (prepare(&run, story, "", VERY_LONG_ROWS)) {
        start(&run, VERY_LONG_ROWS);
        finish(&run);
        expect_in_log(&run, "widened a column ahead of its rows");
        expect_rows(&run, VERY_LONG_COUNT);
        /* before the first statement of the apply, and not again there */
        const char *trace = trace_of(&run);
        const char *widen = strstr(trace, "\"step\":\"widen\",\"n\":1");
        const char *copy = strstr(trace, "\"step\":\"put.direct\"");
        if (story_is_well(story) &&
            (!widen || !copy || widen > copy || strstr(trace, "\"step\":\"widen\",\"n\":2"))) {
            story_complain(story, "not widened once, before the rows are copied");
        }
    }
    story_end(story);
}

static void what_the_side_connection_cannot_widen_the_apply_does(void **state)
{
    static const struct {
        const char *name, *rule;
    } rows[] = {
        {"refused", "widen#1 before fail %s 57014 Query (1) canceled on user's request\n"},
        {"cut off before", "widen#1 before cut %s\n"},
        {"cut off after", "widen#1 after cut %s\n"},
        {"nobody answers", "widen#1 before stall %s\n"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct story *story = story_begin(rows[i].name);
        const char *marker = story_path(story, "marker");
        char rules[1024];
        struct run run;

        (void)snprintf(rules, sizeof rules, "%.*s%s%s",
                       (int)(strstr(rows[i].rule, "%s") - rows[i].rule), rows[i].rule, marker,
                       strstr(rows[i].rule, "%s") + 2);
        if (prepare(&run, story, rules, LONG_ROWS)) {
            start(&run, LONG_ROWS);
            finish(&run);
            expect_in_log(&run, "a column could not be widened ahead, the apply will do it");
            expect_rows(&run, LONG_COUNT);
            if (story_is_well(story) && !strstr(trace_of(&run), "\"step\":\"widen\",\"n\":2")) {
                story_complain(story, "nobody widened the column again");
            }
        }
        story_end(story);
    }
}

/* The apply asks for the same lock by itself and gets it when everybody else does. */
static void an_apply_does_not_wait_for_a_widening_that_waits_for_a_lock(void **state)
{
    struct story *story = story_begin("behind a lock");
    struct holder holder;
    struct run run;
    (void)state;

    if (prepare(&run, story, "", SHORT_ROWS) && make_tables(&run) &&
        hold(&run, &holder, "many", false)) {
        start(&run, "20000,400");
        /* The second is the apply's own; it waits for the same lock. */
        if (wait_for_trace(&run, "\"step\":\"widen\",\"n\":2")) {
            (void)wait_for_log(&run, "a column could not be widened ahead, the apply will do it");
        }
        let_go(&holder);
        finish(&run);
        expect_rows(&run, "20010\n");
    }
    story_end(story);
}

/* ---------------------------------------------------------------- what is waited for */

static void a_line_of_progress_names_who_holds_the_lock(void **state)
{
    static const struct {
        const char *name, *table, *end;
        bool is_superuser;
    } rows[] = {
        {"at Open", "flow_checkpoints_v1", " s), for taking over the task", false},
        {"in the apply", "many", " s), for ", false},
        {"what others do is not to be seen", "many", ", for ", true},
    };
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct story *story = story_begin(rows[i].name);
        struct holder holder;
        struct run run;

        if (prepare(&run, story, NULL, SHORT_ROWS) && make_tables(&run) &&
            hold(&run, &holder, rows[i].table, rows[i].is_superuser)) {
            const char *user = rows[i].is_superuser
                                   ? ""
                                   : story_text(story, " (user %s, since ",
                                                story_environment("LOCAL_REDSHIFT_USER"));
            (void)setenv("PROGRESS_SECONDS", "1", 1); /* not in the run before */
            start(&run, "30,100");
            (void)unsetenv("PROGRESS_SECONDS");
            if (wait_for_log(&run, story_text(story, "\"waitingFor\":\"a lock held by process %d%s",
                                              holder.pid, user))) {
                expect_in_log(&run, rows[i].end);
            }
            let_go(&holder);
            finish(&run);
        }
        story_end(story);
    }
}

/* The view is asked once; and the played warehouse has no queues, so what runs stands for what is
 * queued. */
static void a_view_that_may_not_be_read_is_not_asked_again(void **state)
{
    struct story *story = story_begin("no rights");
    struct holder holder;
    struct run run;
    (void)state;

    if (prepare(&run, story,
                "holder before fail - 42501 permission denied for relation svv_transactions\n"
                "queue rewrite 'queued'=>'running'\n",
                SHORT_ROWS) &&
        make_tables(&run) && hold(&run, &holder, "many", false)) {
        (void)setenv("PROGRESS_SECONDS", "1", 1); /* not in the run before */
        start(&run, "30,100");
        (void)unsetenv("PROGRESS_SECONDS");
        if (wait_for_log(&run, "its turn in a queue of the warehouse, for ") &&
            wait_for_trace(&run, "\"step\":\"queue\",\"n\":3")) {
            const char *said = strstr(log_of(&run), "cannot ask who holds a lock");
            if (!said || strstr(said + 1, "cannot ask who holds a lock") ||
                strstr(trace_of(&run), "\"step\":\"holder\",\"n\":2")) {
                story_complain(story, "not told once that the view may not be read");
            }
        }
        let_go(&holder);
        finish(&run);
    }
    story_end(story);
}

/* ---------------------------------------------------------------- stopping */

struct waiters {
    struct story *story;
    const char *sql;
    const char *wanted;
};

static bool waiters_are(void *ctx)
{
    struct waiters *waiters = ctx;
    return strcmp(story_query(waiters->story, waiters->sql), waiters->wanted) == 0 ||
           !story_is_well(waiters->story);
}

/* The lock is still held: what waited for it is gone from the warehouse all the same. */
static void a_statement_that_waits_is_cancelled_when_the_connector_is_stopped(void **state)
{
    static const char *const tables[] = {"flow_checkpoints_v1", "many"};
    (void)state;

    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        struct story *story = story_begin(tables[i]);
        struct holder holder;
        struct run run;

        if (prepare(&run, story, NULL, SHORT_ROWS) && make_tables(&run) &&
            hold(&run, &holder, tables[i], false)) {
            struct waiters waiters = {
                story,
                story_text(story,
                           "SELECT COUNT(*) FROM pg_locks AS w JOIN pg_locks AS h ON h.relation = "
                           "w.relation WHERE NOT w.granted AND h.granted AND h.pid = %d",
                           holder.pid),
                "1\n"};
            start(&run, "30,100");
            if (story_wait_for(story, "a statement that waits", waiters_are, &waiters, 60)) {
                pid_t connector = story_child(run.process);
                if (connector <= 1 || kill(connector, SIGTERM) != 0) {
                    story_complain(story, "there is no connector to stop");
                }
                (void)story_wait(story, run.process, 60);
                waiters.wanted = "0\n";
                (void)story_wait_for(story, "no statement that waits", waiters_are, &waiters, 30);
            }
            let_go(&holder);
        }
        story_end(story);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_column_is_widened_while_rows_are_staged),
        cmocka_unit_test(what_the_side_connection_cannot_widen_the_apply_does),
        cmocka_unit_test(an_apply_does_not_wait_for_a_widening_that_waits_for_a_lock),
        cmocka_unit_test(a_line_of_progress_names_who_holds_the_lock),
        cmocka_unit_test(a_view_that_may_not_be_read_is_not_asked_again),
        cmocka_unit_test(a_statement_that_waits_is_cancelled_when_the_connector_is_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
