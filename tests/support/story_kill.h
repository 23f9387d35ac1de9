#ifndef SUPPORT_STORY_KILL_H
#define SUPPORT_STORY_KILL_H

/*
 * One run of the ledger through an SQL gateway, with faults, and what must hold afterwards: the
 * tables are what the documents say, every fault happened, and the restarted process applied
 * something. The bucket is left to the caller: it is listed once for many runs.
 */

#include "support/story_ledger.h"

#define KILL_ARM 1 /* commits before --kill-at counts: a cold task has no rows to change */

struct kill_case {
    const char *name;
    const char *codec, *mode;
    bool hard_delete;
    const char *at[4];  /* --kill-at of flow-runtime, ended by NULL */
    const char *rule;   /* of the gateway, "" for none; %s stands for the marker file */
    const char *defect; /* another rule of the gateway, or NULL */
};

struct kill_world {
    struct ledger ledger;
    const char *trace; /* of the gateway, as text */
};

/* Drives the ledger to its end. False with a complaint when the run itself failed. */
bool kill_run(struct story *story, const struct kill_case *row, struct kill_world *ret);
/* Everything that must hold after such a run. */
bool kill_check(struct story *story, const struct kill_case *row, const struct kill_world *world);

#endif
