#ifndef HARNESS_WORKLOAD_H
#define HARNESS_WORKLOAD_H

/*
 * The oracle workload. Accounts are changed by events; a document of the merged collection carries
 * the event's change (balance_delta, n, fp, which the runtime sums) and what those sums must be
 * after it (oracle_*, last write wins), worked out by the source, which never sees a table. The
 * same events go to the log collection, one document each, never reduced.
 *
 * Events come in groups that no transaction divides. The changes of a group add up to zero, and
 * each group has an event of the account "marker", so that in every snapshot all sums are zero and
 * all tables have the same highest group. Accounts are closed (emptied, then a tombstone that takes
 * n and fp back to zero) and opened again; there are tombstones of accounts that never were, and
 * accounts that open and close within one group.
 *
 *      accounts        standard   a row per account
 *      accounts_delta  delta      changes, a row per account and transaction
 *      events          delta      a row per event
 *      events_std      standard   a row per event; nothing but the connector keeps a second away
 *
 * What the tables must hold after the first P documents follows from the documents alone.
 */

#include "support/story.h"

#include <stdint.h>

#define WORKLOAD_ACCOUNTS 48

struct account {
    char id[16];
    int64_t balance, n, fp; /* sums since it was opened last */
    unsigned seq;           /* of its last event; 0: there was none */
    unsigned group;         /* of its last event */
    bool is_closed, is_ghost;
    unsigned note_len;
};

struct event {
    unsigned account; /* index */
    unsigned seq, group;
    int64_t change, n, fp;
    bool closes;
    unsigned note_len;
};

/* Further bindings, see extras.h. */
enum { EXTRA_NODOC = 1, EXTRA_SHAPES = 2, EXTRA_FILLED = 4 };

struct workload {
    const char *catalog, *fixture; /* files of the story */
    struct event *events;          /* in the order of the source */
    unsigned event_count;
    unsigned groups;
    unsigned *documents_after; /* by group, from 1: documents up to its end; [0] is 0 */
    char ids[WORKLOAD_ACCOUNTS][16];
    bool hard_delete;
    unsigned extras;
    unsigned *filled_at; /* by group: position of its first document of acme/filled */
};

struct workload_plan {
    unsigned transactions;
    unsigned extras;
    bool hard_delete;
    uint64_t seed;
};

/* ret lives in the story's texts but for its lists: workload_done. */
void workload_make(struct story *story, const struct workload_plan *plan, struct workload *ret);
void workload_done(struct workload *work);

/* The accounts after the first `documents` documents, by index. */
void workload_accounts(const struct workload *work,
                       uint64_t documents,
                       struct account ret[WORKLOAD_ACCOUNTS]);

/* The index of an account, or -1. */
int workload_find(const struct workload *work, const char *id);

/* The group that ends with that many documents; the last whole one when none ends there. */
unsigned workload_group(const struct workload *work, uint64_t documents);

#endif
