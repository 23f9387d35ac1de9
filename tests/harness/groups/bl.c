/* Group BL: nothing goes wrong outside. */

#include "harness/defects.h"
#include "harness/plays.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

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
};

GROUP(BL, rows);
