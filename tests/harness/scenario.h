#ifndef HARNESS_SCENARIO_H
#define HARNESS_SCENARIO_H

/*
 * A scenario: what is done to the connector and its world while the ledger runs through it, and the
 * defect that proves that the scenario can fail. One table of them per group, in groups/<group>.c.
 *
 * A scenario is run once for each of its points. A point is where the fault strikes: a message of
 * the protocol (kills, by the names of flow-runtime's --kill-at) or a step of a gateway (sql, s3,
 * flow: rule files as in gateway/rules.h, each line of them a rule). In rules "%1" to "%9" stand
 * for marker files. Every marker must exist after the run and every kill must have happened: a
 * fault that did not happen proves nothing. Faults of gateways are asleep until `arm` commits were
 * acknowledged, like those of --kill-at; they count steps from there.
 *
 * A defect is something from outside that does to the connector what a bug inside it would do: the
 * rules that are added to those of the point. The same checks then must find one of the named
 * invariants broken.
 */

#include <stdbool.h>
#include <stdint.h>

#define SCENARIO_KILLS 8
#define SCENARIO_OPTIONS 16
#define SCENARIO_DEFECTS 5

struct trial;

/* Invariants, by number; see README.md of this folder for what each says. */
#define INVARIANTS 26 /* 1 to 25 */

struct point {
    const char *name;
    const char *kills[SCENARIO_KILLS]; /* --kill-at, ended by NULL */
    const char *sql, *s3, *flow;       /* rules, or NULL */
    const char *text;                  /* whatever the scenario's play makes of it */
    unsigned restarts;                 /* right at this point, beside the scenario's */
};

struct defect {
    const char *name;
    const char *caught_by;             /* "I3 I4": one of them must be found broken */
    const char *sql, *s3, *flow;       /* rules that are added to the point's, or NULL */
    unsigned point;                    /* it is shown there */
    const char *options[4];            /* of flow-runtime, added */
    bool is_alone;                     /* its rules stand in place of the point's */
    const char *environment;           /* NAME=VALUE, where the scenario's play knows it; or NULL */
    void (*play)(struct trial *trial); /* instead of the scenario's; NULL: that */
};

struct scenario {
    const char *id;
    const char *title;
    const char *mode;  /* "v1" or "v2"; NULL: v1 */
    const char *codec; /* "json" or "proto"; NULL: json. With rules for flow it is json. */
    bool hard_delete;
    unsigned extras;                       /* further bindings, see extras.h */
    const char *sync_schedule;             /* a JSON object; NULL: acknowledge at once */
    unsigned transactions;                 /* of the workload; 0: the usual number */
    unsigned arm;                          /* commits before faults strike; 0: the usual number */
    bool is_cold;                          /* arm is none at all */
    const char *options[SCENARIO_OPTIONS]; /* of flow-runtime, ended by NULL */
    unsigned restarts;                     /* deaths of the connector's own that are right here */
    const char *says;                      /* must stand in the connector's log, or NULL */
    const char *extra;                     /* members of the endpoint configuration, ",..." */
    const struct point *points;
    unsigned point_count; /* 0: one point without a fault */
    const char *newer_s3; /* rules for the bucket of the instance that takes over; or NULL */
    /* Another course than one run of flow-runtime to its end; NULL: that. */
    void (*play)(struct trial *trial);
    /* What only this scenario asks for, after all that is standing. */
    void (*check)(struct trial *trial);
    struct defect defects[SCENARIO_DEFECTS]; /* ended by one without a name */
    bool has_other_tables;                   /* than the ledger's; its check looks at them */
    bool is_short;                           /* is in the set that runs with every test */
};

struct group {
    const char *name;
    const struct scenario *scenarios;
    unsigned count;
    /* Called before a scenario (its index) is looked at that may be run: finds its points by a run
     * of its own. NULL: they are all written down. */
    void (*prepare)(unsigned index, uint64_t seed);
};

/* Each defined in groups/<name>.c; all of them are listed in groups.c. */
#define GROUP(group_name, rows)                                                                    \
    const struct group group_##group_name = {#group_name, rows, sizeof(rows) / sizeof *(rows), NULL}

#define POINTS(rows) .points = (rows), .point_count = sizeof(rows) / sizeof *(rows)

extern const struct group *const all_groups[]; /* ended by NULL */

#endif
