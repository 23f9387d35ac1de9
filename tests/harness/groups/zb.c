/* Group ZB: zombies and duplicate instances. There is no ZB2: this connector's fence is the owner
 * mark, which the others cover. */

#include "harness/defects.h"
#include "harness/plays.h"

#include <stddef.h>

#define TAKEN_OVER "another instance of this task has taken over"

static const struct point zb1[] = {
    {.name = "at StartCommit", .flow = "startCommit#1 before stop %1\n"}};
static const struct point zb3[] = {
    {.name = "before LOCK", .sql = "begin#2 before stop %1\n", .text = TAKEN_OVER}};
static const struct point zb5[] = {
    {.name = "behind LOCK", .sql = "apply.check#1 before stop %1\n"}};
static const struct point zb6[] = {
    {.name = "before the deletions", .s3 = "delete#1 before stop %1\n"}};
static const struct point zb9[] = {{.name = "in an upload", .s3 = "put.data#2 before stop %1\n"}};
static const struct point zb10[] = {{.name = "three times",
                                     .flow = "acknowledge#4 before run repeat 3\n",
                                     .text = "sent Acknowledge where"}};
static const struct point zb11[] = {
    {.name = "before widen", .sql = "load.rollback#2 before stop %1\n", .text = TAKEN_OVER}};

static const struct scenario rows[] = {
    {.id = "ZB1",
     .title = "halted at StartCommit; its runtime's commit is refused",
     POINTS(zb1),
     .play = play_orphaned,
     .defects = {{.name = "EARLY-APPLY", .caught_by = "I16", .flow = FLOW_EARLY_APPLY}}},
    {.id = "ZB3",
     .title = "halted before it locks; the successor applies the same work",
     POINTS(zb3),
     .is_short = true,
     .play = play_halted,
     .defects = {{.name = "BLIND-CHECK, NO-OWNER",
                  .caught_by = "I4 I22",
                  .sql = BLIND_CHECK NO_OWNER_CHECK}}},
    {.id = "ZB4",
     .title = "the same, second runtime, and deletions that fail",
     .mode = "v2",
     POINTS(zb3),
     .play = play_halted,
     .defects = {{.name = "NO-OWNER", .caught_by = "I4 I22", .sql = NO_OWNER_CHECK}}},
    {.id = "ZB5",
     .title = "halted with the lock; the successor waits until it is dead",
     POINTS(zb5),
     .play = play_holding,
     .defects = {{.name = "TOKEN-FIRST", .caught_by = "I3 I12", .sql = TOKEN_FIRST}}},
    {.id = "ZB6",
     .title = "halted before it deletes; the successor has staged other work",
     POINTS(zb6),
     .play = play_orphaned,
     .defects = {{.name = "LOST-COMMIT", .caught_by = "I3 I12", .sql = LOST_COMMIT}}},
    {.id = "ZB8",
     .title = "two instances opened at once with the same work",
     .play = play_twins,
     .defects = {{.name = "SKIP-TOKEN, NO-OWNER",
                  .caught_by = "I4 I22",
                  .sql = SKIP_TOKEN NO_OWNER_CHECK}}},
    {.id = "ZB9",
     .title = "a peer halted in an upload; its session is over when it goes on",
     .mode = "v2",
     .options = {"--shards", "2"},
     POINTS(zb9),
     .play = play_orphaned,
     .defects = {{.name = "LOST-COMMIT", .caught_by = "I3 I12", .sql = LOST_COMMIT}}},
    {.id = "ZB10",
     .title = "the same Acknowledge three times: the second is refused",
     POINTS(zb10),
     .play = play_stuck,
     .defects = {{.name = "LOST-COMMIT", .caught_by = "I3 I12", .sql = LOST_COMMIT}}},
    {.id = "ZB11",
     .title = "halted before it widens; the successor has widened",
     .arm = 3,
     POINTS(zb11),
     .play = play_halted,
     .defects = {{.name = "LOST-COMMIT", .caught_by = "I3 I12", .sql = LOST_COMMIT}}},
};

GROUP(ZB, rows);
