#ifndef SUPPORT_STORY_LEDGER_H
#define SUPPORT_STORY_LEDGER_H

/*
 * Documents that make every loss and every repetition visible. Accounts are changed by events; a
 * standard table holds each account's sums, so an event that is applied twice or not at all shows
 * as a wrong balance and a wrong count. The same events go, one row each, into a delta-updates
 * table and into a standard table that only grows, where nothing but the connector keeps a row from
 * being there twice. Accounts are closed (a tombstone that takes its sums back to zero) and opened
 * again.
 *
 *      accounts        standard   sums by account
 *      accounts_delta  delta      changes by account and transaction: only their sums are known,
 * and not even those where closed accounts lose their row events          delta      one row per
 * event events_std      standard   one row per event
 *
 * What the tables must hold is counted here from the documents themselves, never from a table.
 */

#include "support/story.h"

#define LEDGER_ACCOUNTS 24

struct ledger_plan {
    unsigned transactions, events; /* events in each */
    bool hard_delete;              /* do closed accounts lose their row? */
};

struct ledger {
    const char *catalog, *fixture; /* files of the story */
    const char *wanted;            /* what ledger_read must give */
    unsigned documents;
    bool hard_delete;
};

void ledger_make(struct story *story, const struct ledger_plan *plan, struct ledger *ret);

/* What the story's tables hold, in the same form. */
char *ledger_read(struct story *story, const struct ledger *ledger);

#endif
