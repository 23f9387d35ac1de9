/* Group QK: SIGKILL before and after each step of the warehouse's session. */

#include "harness/defects.h"
#include "harness/extras.h"
#include "harness/plays.h"

#include <stddef.h>
#include <string.h>

#define BEFORE(step)                                                                               \
    {                                                                                              \
        .name = "before " step, .sql = step "#1 before kill %1\n"                                  \
    }
#define AFTER(step)                                                                                \
    {                                                                                              \
        .name = "after " step, .sql = step "#1 after kill %1\n"                                    \
    }

static const struct point qk1[] = {BEFORE("column"), AFTER("column"), BEFORE("check"),
                                   AFTER("check"),   BEFORE("owner"), AFTER("owner")};
static const struct point qk2[] = {BEFORE("load.temp"),      AFTER("load.temp"),
                                   BEFORE("load.temp.copy"), AFTER("load.temp.copy"),
                                   BEFORE("load.query"),     AFTER("load.query")};
static const struct point qk3[] = {BEFORE("widen"), AFTER("widen")};
static const struct point qk4[] = {BEFORE("apply.lock"), AFTER("apply.lock"), BEFORE("apply.check"),
                                   AFTER("apply.check")};
static const struct point qk5[] = {BEFORE("del.temp"), AFTER("del.temp"), BEFORE("del.copy"),
                                   AFTER("del.copy")};
static const struct point qk6[] = {
    BEFORE("del.exec"),
    AFTER("del.exec"),
    {.name = "one table done, before the next", .sql = "apply.put.direct#2 before kill %1\n"}};
static const struct point qk7[] = {BEFORE("apply.temp"), AFTER("apply.temp"),
                                   BEFORE("apply.temp.copy"), AFTER("apply.temp.copy"),
                                   AFTER("apply.count")};
static const struct point qk8[] = {
    AFTER("apply.put.merge"),
    BEFORE("apply.put.direct"),
    AFTER("apply.put.direct"),
    {.name = "one table done, before the next", .sql = "apply.put.direct#2 before kill %1\n"}};
static const struct point qk9[] = {
    BEFORE("trunc"),
    AFTER("trunc"),
    {.name = "before the tokens of what it belongs to", .sql = "token#1 before kill %1\n"}};
static const struct point qk10[] = {BEFORE("token")};
static const struct point qk11[] = {AFTER("token")};
static const struct point qk12[] = {BEFORE("apply.commit")};
static const struct point qk13[] = {AFTER("apply.commit")};
static const struct point qk14[] = {
    {.name = "at explain",
     .sql = "apply.put.direct#1 before fail %1 XX000 Load into table failed\n"
            "explain#1 before kill %2\n"}};
static const struct point qk15[] = {{.name = "killed, COMMIT comes late",
                                     .sql = "apply.commit#1 before late %1\n"
                                            "begin#9999 before kill %2\n",
                                     .text = "kill"}};

/* The recovery finds the token: what was applied is not copied again. */
static void nothing_is_copied_again(struct trial *trial)
{
    const char *owner = NULL;

    for (const char *at = trial->sql_trace; (at = strstr(at, "\"step\":\"owner\"")); at++) {
        owner = at;
    }
    const char *end = owner ? strstr(owner, "\"step\":\"load.query\"") : NULL;
    const char *copy = owner ? strstr(owner, "\"step\":\"put.direct\"") : NULL;
    if (!owner || (copy && (!end || copy < end))) {
        trial_finds(trial, 25, "work that was applied was copied again");
    }
}

static const struct scenario rows[] = {
    {.id = "QK1",
     .title = "the steps of the first Open",
     .is_cold = true,
     POINTS(qk1),
     .defects = {{.name = "DDL-NOT-IDEMPOTENT",
                  .caught_by = "I22",
                  .sql = "column#2 before fail - 42P16 it cannot be done twice\n"}}},
    {.id = "QK2",
     .title = "the steps of a lookup",
     .mode = "v2",
     .hard_delete = true,
     POINTS(qk2),
     .defects = {{.name = "LEAK", .caught_by = "I18", .s3 = S3_NO_SWEEP}}},
    {.id = "QK3",
     .title = "a widening",
     POINTS(qk3),
     .defects = {{.name = "WIDEN-SHORT", .caught_by = "I7 I22", .sql = WIDEN_SHORT, .point = 1}}},
    {.id = "QK4",
     .title = "begin, lock, check",
     .mode = "v2",
     POINTS(qk4),
     .defects = {{.name = "TOKEN-FIRST", .caught_by = "I3 I12 I13", .sql = TOKEN_FIRST}}},
    {.id = "QK5",
     .title = "the keys to be deleted",
     .mode = "v2",
     .codec = "proto",
     .hard_delete = true,
     POINTS(qk5),
     .defects = {{.name = "TOKEN-FIRST", .caught_by = "I3 I12 I13", .sql = TOKEN_FIRST}}},
    {.id = "QK6",
     .title = "rows deleted, before what comes in their place",
     .hard_delete = true,
     POINTS(qk6),
     .defects = {{.name = "COMMIT-PER-BINDING",
                  .caught_by = "I4 I5",
                  .sql = COMMIT_PER_BINDING,
                  .point = 2}}},
    {.id = "QK7",
     .title = "the rows of a MERGE",
     .mode = "v2",
     POINTS(qk7),
     .defects = {{.name = "TOKEN-FIRST", .caught_by = "I3 I12 I13", .sql = TOKEN_FIRST}}},
    {.id = "QK8",
     .title = "one table done, before the next",
     .is_short = true,
     POINTS(qk8),
     .defects = {{.name = "COMMIT-PER-BINDING",
                  .caught_by = "I4 I5",
                  .sql = COMMIT_PER_BINDING,
                  .point = 3}}},
    {.id = "QK9",
     .title = "rows go that the end of a backfill has superseded",
     .mode = "v2",
     .extras = EXTRA_FILLED,
     POINTS(qk9),
     .defects = {{.name = "TRUNCATE-COMMITS",
                  .caught_by = "I4 I11",
                  .sql = "trunc after run COMMIT; BEGIN\n",
                  .point = 2},
                 {.name = "TRUNC-ORDER", .caught_by = "I3", .sql = "trunc rewrite < $1=><= $1\n"},
                 {.name = "NO-DELETE",
                  .caught_by = "I9",
                  .sql = "trunc rewrite WHERE =>WHERE 1 = 0 AND \n"}}},
    {.id = "QK10",
     .title = "all data, before the tokens",
     .mode = "v2",
     POINTS(qk10),
     .defects = {{.name = "TOKEN-APART",
                  .caught_by = "I4",
                  .sql = TOKEN_APART,
                  .s3 = "delete before fail - 503 SlowDown\n"}}},
    {.id = "QK11",
     .title = "the tokens, before COMMIT",
     POINTS(qk11),
     .defects = {{.name = "TOKEN-FIRST", .caught_by = "I3 I12 I13", .sql = TOKEN_FIRST}}},
    {.id = "QK12",
     .title = "COMMIT sent, the server not reached",
     .mode = "v2",
     .hard_delete = true,
     POINTS(qk12),
     .defects = {{.name = "TOKEN-APART", .caught_by = "I4 I11", .sql = TOKEN_APART}}},
    {.id = "QK13",
     .title = "COMMIT done, its answer not read",
     .is_short = true,
     POINTS(qk13),
     .check = nothing_is_copied_again,
     .defects = {{.name = "SKIP-TOKEN", .caught_by = "I4", .sql = SKIP_TOKEN}}},
    {.id = "QK14",
     .title = "while a failed COPY is explained",
     POINTS(qk14),
     .defects = {{.name = "DROP-NTH", .caught_by = "I3", .sql = DROP_NTH}}},
    {.id = "QK15",
     .title = "killed at COMMIT, which comes late",
     .mode = "v2",
     POINTS(qk15),
     .play = play_late,
     .defects = {{.name = "CHECK-BEFORE-LOCK", .caught_by = "I4", .sql = BLIND_CHECK}}},
};

GROUP(QK, rows);
