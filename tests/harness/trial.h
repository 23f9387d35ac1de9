#ifndef HARNESS_TRIAL_H
#define HARNESS_TRIAL_H

/*
 * A trial: one run of a scenario at one of its points, clean or with a defect, and what was found.
 * It has a story (folder, schema, prefix) of its own. What breaks an invariant is noted and the
 * trial goes on, since a defect must be found by the invariant it is paired with and not by the
 * first one that speaks.
 */

#include "harness/scenario.h"
#include "harness/workload.h"
#include "support/story.h"

#include <pthread.h>

#define TRIAL_ARM 2           /* commits before faults strike */
#define TRIAL_TRANSACTIONS 7  /* as long as nothing happens: some must follow a fault */
#define DEFECT_TRANSACTIONS 5 /* the same when a defect has to be seen */
#define TRIAL_SECONDS 240     /* the longest run; the machine may be busy */
#define FINDING_LEN 400

struct trial {
    const struct scenario *scenario;
    const struct point *point;   /* never NULL */
    const struct defect *defect; /* NULL: clean */
    uint64_t seed;
    struct story *story;
    struct workload work;

    pthread_mutex_t lock; /* of the findings: the observer has a thread of its own */
    char findings[INVARIANTS][FINDING_LEN]; /* by number; "" is well */
    char trouble[FINDING_LEN];              /* the trial itself could not be run as it should */
    unsigned faults, hits; /* points that were asked for, and those that happened */

    /* Of the run of flow-runtime. */
    int exit_code;
    uint64_t position; /* documents committed */
    bool is_drained, has_neighbours;
    bool has_past;      /* it went on from the recovery log of another run */
    const char *state;  /* label of the recovery log that the last run went on from */
    const char *report; /* texts; "" when there is none */
    const char *sql_trace, *s3_trace, *flow_trace, *log;
};

/* Invariant `number` does not hold. The first finding of each counts. */
void trial_finds(struct trial *trial, unsigned number, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Something else is wrong: a fault that did not happen, a part that failed. */
void trial_troubles(struct trial *trial, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
bool trial_is_well(struct trial *trial);
/* "I3 ...; I4 ...": into text. */
void trial_tell(const struct trial *trial, char *text, size_t size);

/* ---- what plays are made of */

/* Commits before its faults strike. */
unsigned trial_arm(const struct scenario *scenario);

/* The rules for one seam ("sql", "s3", "flow") of point and defect, markers put in; NULL: none. */
const char *trial_rules(struct trial *trial, const char *seam);
/* Every marker "%1" to "%9" of the rules is a file like this. */
const char *trial_marker(struct trial *trial, unsigned number);
/* The file that wakes the faults. */
const char *trial_armed(struct trial *trial);

struct run {
    const char *label;
    const char *state;    /* label of the run whose recovery log goes on; NULL: its own */
    const char *catalog;  /* NULL: the workload's */
    const char *fixture;  /* NULL: the workload's; "": its options make the documents */
    bool has_no_faults;   /* it is not the point's rules and kills that hold here, nor options */
    const char *address;  /* of the warehouse; NULL: a gateway with the trial's rules is started */
    const char *config;   /* NULL: one is made */
    const char *sql, *s3; /* rules beside the trial's, or alone where it has no faults; or NULL */

    bool is_observed;
    const char *options[SCENARIO_OPTIONS]; /* beside those of scenario, point and defect */
    const char *environment[4];            /* NAME=VALUE, of the runtime and the connector */
};

/* Starts what a run needs and the run itself; NULL with trouble. */
struct story_process *trial_start(struct trial *trial, const struct run *run);
/* Waits for its end without a word about it; its exit code. */
int trial_end(struct trial *trial, struct story_process *process);
/* Waits for its end, takes its report, and finds what is wrong with it. */
void trial_wait(struct trial *trial, struct story_process *process, const char *label);
/* Which of the point's faults happened; one that did not is trouble. */
void trial_count_faults(struct trial *trial);
/* The usual course: one run to its end. */
void trial_play(struct trial *trial);

/* Opens once more, so that what a dead instance sent to the bucket behind its successor's list is
 * swept; not where the defect is that nothing is. A label for each call. */
void trial_open_again(struct trial *trial, const char *label);

/* ---- what is checked, in check.c */

/* The groups of each transaction that was committed, in order. Where transactions end is the
 * runtime's choice, so its recovery log is asked. */
void trial_each_transaction(
    struct trial *trial,
    void (*visit)(struct trial *trial, unsigned first_group, unsigned last_group, void *ctx),
    void *ctx);

/* At rest: tables against the source, up to the committed position. */
void check_tables(struct trial *trial);
/* The tables of extras.h, in check_extras.c. */
void check_extras(struct trial *trial);
/* The SQL gateway's trace. */
void check_trace(struct trial *trial);
/* Bucket, warehouse, logs: nothing left, nothing told. */
void check_remains(struct trial *trial);
/* What the connector took and what it says of its work, in figures.c. */
void check_figures(struct trial *trial);

/* ---- during the run, in observe.c */

struct observer;
/* Listens on the socket "observer" of the story's folder; arms the faults after `arm` commits. */
struct observer *observer_start(struct trial *trial, unsigned arm);
void observer_stop(struct observer *observer); /* NULL is nothing */

#endif
