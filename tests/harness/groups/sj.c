/* Group SJ: splits, joins, many shards. Second runtime. */

#include "harness/defects.h"
#include "harness/plays.h"

#include <string.h>

#define V2 .mode = "v2"

static const struct point sj2[] = {{.name = "4th StartCommit", .kills = {"startCommit.before"}}};
static const struct point sj3[] = {{.name = "commit.logged", .kills = {"commit.logged"}}};
static const struct point sj4[] = {
    {.name = "startedCommit.received", .kills = {"startedCommit.received"}}};
static const struct point sj5[] = {{.name = "before the parent's work is applied",
                                    .kills = {"commit.logged", "opened.received@1"}}};
static const struct point sj6[] = {{.name = "commit.logged", .kills = {"commit.logged@2"}}};
static const struct point sj7[] = {
    {.name = "acknowledged.received", .kills = {"acknowledged.received@0"}}};
static const struct point sj8[] = {
    {.name = "one death in each",
     .kills = {"commit.logged", "acknowledged.received#2", "startedCommit.received#4"}}};
static const struct point sj9[] = {
    {.name = "startedCommit.received@0", .kills = {"startedCommit.received@0"}}};
static const struct point sj10[] = {
    {.name = "load.sent", .kills = {"load.sent@1"}},
    {.name = "store.sent", .kills = {"store.sent@1"}},
    {.name = "startCommit.sent", .kills = {"startCommit.sent@1"}},
    {.name = "startedCommit.received", .kills = {"startedCommit.received@1"}}};
static const struct point sj12[] = {
    {.name = "missing",
     .flow = "acknowledge#3 before run strip statePatches\n",
     .text = "nobody would apply it"},
    {.name = "null",
     .flow = "acknowledge#3 rewrite \"statePatches\":[=>\"statePatches\":[null\t,\n",
     .text = "is null"},
    {.name = "an unknown field",
     .flow = "acknowledge#3 rewrite \"mustMerge\":=>\"unheardOf\":1,\"mustMerge\":\n",
     .text = "unheardOf"},
    {.name = "over a foreign range",
     .flow = "acknowledge#3 rewrite \"00000000-7fffffff\":{=>\"00000000-3fffffff\":{\n",
     .text = "which overlaps with this shard's own"},
    {.name = "over an occupied slot",
     .flow = "acknowledge#3 before run patches occupy\n",
     .text = "staged work"}}; /* the shard whose slot it is sees it by itself */
static const struct point sj12b[] = {
    {.name = "doubled", .flow = "acknowledge before run patches double\n"},
    {.name = "in another order", .flow = "acknowledge before run patches turn\n"},
};

static const struct point sj13[] = {
    {.name = "other rows",
     .flow = "acknowledge#3 rewrite \"storeRows\":\"=>\"storeRows\":\"9\n",
     .text = "differs from what was sent"}};

/* Echoes of several shards came by. */
static void check_echoes(struct trial *trial)
{
    trial->faults++;
    if (!strstr(trial->flow_trace, "\"rearranged\"")) {
        trial_troubles(trial, "no echo was changed");
        return;
    }
    trial->hits++;
}

static const struct scenario rows[] = {
    {.id = "SJ1",
     .title = "split between two sessions, nothing dies",
     V2,
     .options = {"--topology", "1,2,4", "--session-commits", "2"},
     .defects = {{.name = "RANGE-BLIND, SKIP-FENCE",
                  .caught_by = "I4 I17 I22",
                  .sql = SKIP_FENCE,
                  .flow = FLOW_RANGE_BLIND},
                 {.name = "DROP-PEER", .caught_by = "I3", .flow = FLOW_DROP_PEER_QUIETLY}}},
    {.id = "SJ2",
     .title = "killed before StartCommit, split while it is down",
     V2,
     .codec = "proto",
     .options = {"--topology", "1,4"},
     POINTS(sj2),
     .defects = {{.name = "DROP-NTH", .caught_by = "I3", .sql = DROP_NTH}}},
    {.id = "SJ3",
     .title = "the log committed, killed before Acknowledge, split",
     V2,
     .options = {"--topology", "1,4"},
     POINTS(sj3),
     .is_short = true,
     .defects = {{.name = "CLEAR-AT-OPEN", .caught_by = "I3", .flow = FLOW_CLEAR_AT_OPEN}}},
    {.id = "SJ4",
     .title = "StartedCommit, the log not committed, split",
     V2,
     .hard_delete = true,
     .options = {"--topology", "1,4"},
     POINTS(sj4),
     .defects = {{.name = "LEAK", .caught_by = "I18", .s3 = S3_NO_SWEEP}}},
    {.id = "SJ5",
     .title = "split of a split, work of two ranges pending",
     V2,
     .options = {"--topology", "1,2,4"},
     POINTS(sj5),
     .defects = {{.name = "CLEAR-AT-OPEN", .caught_by = "I3", .flow = FLOW_CLEAR_AT_OPEN}}},
    {.id = "SJ6",
     .title = "join, work of all parts pending",
     V2,
     .options = {"--topology", "4,1"},
     POINTS(sj6),
     .defects = {{.name = "FULL-STATE", .caught_by = "I3 I14 I22", .flow = FLOW_FULL_STATE}}},
    {.id = "SJ7",
     .title = "join, what was applied is not cleared",
     V2,
     .options = {"--topology", "2,1"},
     POINTS(sj7),
     .defects = {{.name = "BLIND-CHECK", .caught_by = "I4 I22", .sql = BLIND_CHECK}}},
    {.id = "SJ8",
     .title = "split, join, split in quick turn, a death in each",
     V2,
     .codec = "proto",
     .options = {"--topology", "1,4,2,3,1"},
     POINTS(sj8),
     .defects = {{.name = "SKIP-TOKEN", .caught_by = "I4 I22", .sql = SKIP_TOKEN}}},
    {.id = "SJ9",
     .title = "death of the primary after StartedCommit",
     V2,
     .codec = "proto",
     .hard_delete = true,
     .options = {"--shards", "3"},
     POINTS(sj9),
     .defects = {{.name = "LEAK", .caught_by = "I18", .s3 = S3_NO_SWEEP},
                 {.name = "DROP-PEER", .caught_by = "I3", .flow = FLOW_DROP_PEER_QUIETLY}}},
    {.id = "SJ10",
     .title = "death of another one at each step",
     V2,
     .codec = "proto",
     .options = {"--shards", "3", "--force-loads"},
     POINTS(sj10),
     .defects = {{.name = "DROP-PEER", .caught_by = "I3 I13", .flow = FLOW_DROP_PEER_QUIETLY}}},
    {.id = "SJ11",
     .title = "peers with rows in some tables only",
     V2,
     .options = {"--shards", "7"},
     .defects = {{.name = "DROP-PEER", .caught_by = "I3", .flow = FLOW_DROP_PEER_QUIETLY},
                 {.name = "DROP-PEER, who mind", .caught_by = "I22", .flow = FLOW_DROP_PEER}}},
    {.id = "SJ12",
     .title = "a peer's echo is missing, null, not understood, over a foreign range, over another",
     V2,
     .options = {"--shards", "2"},
     POINTS(sj12),
     .play = play_stuck,
     .defects = {{.name = "IGNORE-NULL",
                  .caught_by = "I11 I12",
                  .flow = FLOW_DROP_PEER_QUIETLY,
                  .point = 1,
                  .is_alone = true},
                 {.name = "RANGE-BLIND", .caught_by = "I4", .sql = KEEP_FIRST, .point = 3},
                 {.name = "OVERWRITE-SLOT",
                  .caught_by = "I11 I12",
                  .flow = FLOW_DROP_PEER_QUIETLY,
                  .point = 4,
                  .is_alone = true}}},
    {.id = "SJ12b",
     .title = "the peers' echoes come twice, or in another order: nothing comes of it",
     V2,
     .options = {"--shards", "3"},
     POINTS(sj12b),
     .check = check_echoes,
     .defects =
         {{.name = "KEEP-ENTRY", .caught_by = "I4", .sql = KEEP_ENTRY},
          {.name = "DROP-PEER", .caught_by = "I3", .flow = FLOW_DROP_PEER_QUIETLY, .point = 1}}},
    {.id = "SJ13",
     .title = "the own echo differs from what was staged",
     V2,
     POINTS(sj13),
     .play = play_stuck,
     .defects = {{.name = "DROP-NTH", .caught_by = "I3", .sql = DROP_FIRST}}},
    {.id = "SJ14",
     .title = "sixteen shards",
     V2,
     .codec = "proto",
     .options = {"--shards", "16"},
     .transactions = 3,
     .defects = {{.name = "DROP-PEER", .caught_by = "I3", .flow = FLOW_DROP_PEER_QUIETLY}}},
    {.id = "SJ15",
     .title = "a long string, seen by one peer only",
     V2,
     .options = {"--shards", "4"},
     .defects = {{.name = "WIDEN-SHORT", .caught_by = "I7 I22", .sql = WIDEN_SHORT}}},
    {.id = "SJ16",
     .title = "killed before the clearing is kept, split",
     V2,
     .hard_delete = true,
     .options = {"--topology", "1,4"},
     POINTS(sj7),
     .defects = {{.name = "SKIP-TOKEN", .caught_by = "I4 I22", .sql = SKIP_TOKEN}}},
};

GROUP(SJ, rows);
