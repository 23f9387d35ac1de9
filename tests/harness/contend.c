/*
 * harness/contend: somebody else who writes to the connector's tables. In: the connector's log, to
 * know how far it is. Out: two conflicts in each transaction, by transactions that change no value.
 */

#include "harness/connect.h"
#include "harness/plays.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* An apply is tried five times; what is left is for conflicts that nobody ordered. */
#define CONFLICTS 2

struct contest {
    struct trial *trial;
    PGconn *conn;
    const char *sql;
    char *log, *exe;                       /* paths */
    unsigned summaries, before, conflicts; /* of transactions; conflicts before this one; all */
};

static unsigned count(const char *text, const char *word)
{
    unsigned count = 0;

    for (const char *at = text; (at = strstr(at, word)); at++) {
        count++;
    }
    return count;
}

static void look_at_log(struct contest *self)
{
    struct trial *trial = self->trial;
    const char *log = story_read(trial->story, self->log, NULL);
    unsigned summaries = count(log, "\"transaction summary\"");

    self->conflicts = count(log, "failed, trying again");
    if (summaries > self->summaries) {
        self->summaries = summaries;
        self->before = self->conflicts;
    }
    if (self->conflicts > 0 && access(trial_marker(trial, 1), F_OK) != 0) {
        story_write(trial->story, "fault1", "");
    }
}

/* A refusal is a conflict that the connector has won. */
static void write_once(struct contest *self)
{
    PQclear(PQexec(self->conn, "BEGIN"));
    PGresult *result = PQexec(self->conn, self->sql);
    bool is_done = PQresultStatus(result) == PGRES_COMMAND_OK;

    PQclear(result);
    PQclear(PQexec(self->conn, is_done ? "COMMIT" : "ROLLBACK"));
}

/* Has the run come to its end? Until then each look is followed by a change, or by nothing. */
static bool contend(void *ctx)
{
    struct contest *self = ctx;
    char program[8];

    if (readlink(self->exe, program, sizeof program) < 0 || PQstatus(self->conn) != CONNECTION_OK) {
        return true;
    }
    if (access(trial_armed(self->trial), F_OK) == 0) {
        look_at_log(self);
        if (self->conflicts - self->before < CONFLICTS) {
            write_once(self);
        }
    }
    return false;
}

/* The same database, by a warehouse with the other isolation. */
static const char *start_serializable(struct trial *trial)
{
    struct story *story = trial->story;
    const char *ready = story_path(story, "serializable.ready");
    const char *password =
        story_text(story, "%s/secret/redshift-password", story_environment("LOCAL_DIR"));
    const char *const argv[] = {"redshift-sandbox",
                                "--listen",
                                "127.0.0.1:0",
                                "--backend-host",
                                story_environment("LOCAL_PG_HOST"),
                                "--backend-port",
                                story_environment("LOCAL_PG_PORT"),
                                "--backend-user",
                                "postgres",
                                "--database",
                                story_environment("LOCAL_REDSHIFT_DATABASE"),
                                "--user",
                                story_environment("LOCAL_REDSHIFT_USER"),
                                "--password-file",
                                password,
                                "--ready-file",
                                ready,
                                "--isolation",
                                "serializable",
                                "--is-set-up",
                                NULL};

    story_start(story, "serializable", argv, NULL, NULL);
    if (!story_wait_file(story, ready, 30)) {
        return NULL;
    }
    char *address = story_read(story, ready, NULL);
    address[strcspn(address, "\n")] = '\0';
    return address;
}

void play_contended(struct trial *trial)
{
    struct story *story = trial->story;
    bool is_serializable = strcmp(trial->point->text, "serializable") == 0;
    const char *warehouse =
        is_serializable ? start_serializable(trial) : story_environment("LOCAL_REDSHIFT_ADDRESS");
    const char *address =
        warehouse ? story_gateway_to(story, warehouse, "runtime-sql", trial_rules(trial, "sql"))
                  : NULL;

    if (!address) {
        trial_troubles(trial, "%s", story->complaint);
        return;
    }
    const struct run run = {.label = "runtime", .is_observed = true, .address = address};
    struct observer *observer = observer_start(trial, trial_arm(trial->scenario));
    struct story_process *process = trial_start(trial, &run);
    struct contest contest = {.trial = trial,
                              .conn = connect_to(warehouse),
                              .sql = story_text(story,
                                                "UPDATE %s.accounts SET note = note WHERE "
                                                "(SELECT COUNT(*) FROM %s.events_std) > 0",
                                                story->schema, story->schema),
                              .log = story_text(story, "%s/runtime.log", story->dir)};

    if (process) {
        contest.exe = story_text(story, "/proc/%ld/exe", (long)process->pid);
        story_wait_for(story, "the end of the run", contend, &contest, TRIAL_SECONDS);
        story->complaint[0] = '\0'; /* trial_wait says it */
    }
    PQfinish(contest.conn);
    trial_wait(trial, process, run.label);
    observer_stop(observer);
    trial->faults++;
    if (count(trial->log, "failed, trying again") >= CONFLICTS) {
        trial->hits++;
    } else {
        trial_troubles(trial, "there was no conflict");
    }
}
