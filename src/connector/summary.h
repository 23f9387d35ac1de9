#ifndef CONNECTOR_SUMMARY_H
#define CONNECTOR_SUMMARY_H

/*
 * One line per transaction, when it is acknowledged: what was counted for it and how long each of
 * its phases took. While it is applied the next one is read already; so what is staged is taken at
 * StartedCommit, and only what belongs to the apply is taken at the end.
 */

#include "base/figures.h"

struct summary {
    struct figures staged;        /* as of the last StartedCommit */
    struct figures staged_before; /* of these, what was said already */
    struct figures applied_before;
    uint64_t began_ms;     /* when the last transaction was acknowledged, or the session opened */
    uint64_t transactions; /* acknowledged */
};

/* StartedCommit is written. */
void summary_stage(struct summary *summary, const struct figures *figures);
/* Acknowledged is written. A transaction without anything has no line. */
void summary_say(struct summary *summary,
                 const struct figures *figures,
                 uint64_t round,
                 uint64_t now_ms);

#endif
