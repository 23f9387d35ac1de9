/* Group PK: SIGKILL at the points of the protocol. Work is pending after commit.logged. */

#include "harness/defects.h"
#include "harness/scenario.h"

#include <stddef.h>

#define AT(point_name)                                                                             \
    {                                                                                              \
        .name = point_name, .kills = { point_name }                                                \
    }
#define THEN(second)                                                                               \
    {                                                                                              \
        .name = "commit.logged, then " second, .kills = { "commit.logged", second }                \
    }

static const struct point pk1[] = {THEN("open.sent")};
static const struct point pk2[] = {THEN("opened.received")};
static const struct point pk3[] = {THEN("acknowledge.sent")};
static const struct point pk4[] = {
    {.name = "three times in a row",
     .kills = {"acknowledged.received", "acknowledged.received#2", "acknowledged.received#3"}}};
static const struct point pk5[] = {AT("load.sent"), AT("load.sent#25")};
static const struct point pk6[] = {
    {.name = "before put.merge", .sql = "apply.put.merge#1 before kill %1\n"},
    {.name = "after put.merge", .sql = "apply.put.merge#1 after kill %1\n"}};
static const struct point pk7[] = {AT("flush.sent")};
static const struct point pk8[] = {{.name = "half of Loaded", .flow = "loaded#3 before kill %1\n"}};
static const struct point pk9[] = {AT("flushed.received")};
static const struct point pk10[] = {AT("store.sent")};
static const struct point pk11[] = {AT("store.sent#25")};
static const struct point pk12[] = {AT("startCommit.before")};
static const struct point pk13[] = {AT("startCommit.sent")};
static const struct point pk14[] = {AT("startedCommit.received")};
static const struct point pk15[] = {AT("commit.logged")};
static const struct point pk16[] = {AT("acknowledge.sent")};
static const struct point pk17[] = {AT("acknowledged.received")};
static const struct point pk18[] = {AT("acknowledged.logged"),
                                    {.name = "first deletion", .s3 = "delete#1 before kill %1\n"}};
static const struct point pk19[] = {{.name = "after each transaction",
                                     .kills = {"acknowledged.logged#1", "acknowledged.logged#3",
                                               "acknowledged.logged#5", "acknowledged.logged#7"}}};
static const struct point pk20[] = {
    {.name = "three times in a row",
     .kills = {"acknowledged.received", "acknowledged.received#2", "acknowledged.received#3"}},
    AT("startCommit.sent"),
    AT("startedCommit.received"),
    AT("commit.logged"),
    AT("acknowledge.sent"),
    AT("acknowledged.received")};

#define LEAKS                                                                                      \
    {                                                                                              \
        {                                                                                          \
            .name = "LEAK", .caught_by = "I18", .s3 = S3_NO_SWEEP                                  \
        }                                                                                          \
    }
#define V2 .mode = "v2", .codec = "proto", .hard_delete = true

static const struct scenario rows[] = {
    {.id = "PK1",
     .title = "Open received, before Opened, work is pending",
     POINTS(pk1),
     .defects = {{.name = "CLEAR-AT-OPEN", .caught_by = "I3", .flow = FLOW_CLEAR_AT_OPEN}}},
    {.id = "PK2",
     .title = "Opened sent, before the recovery's Acknowledge",
     .mode = "v2",
     POINTS(pk2),
     .defects = {{.name = "CLEAR-AT-OPEN", .caught_by = "I3", .flow = FLOW_CLEAR_AT_OPEN}}},
    {.id = "PK3",
     .title = "the recovery's Acknowledge received",
     .hard_delete = true,
     POINTS(pk3),
     .defects = {{.name = "CLEAR-AT-OPEN", .caught_by = "I3", .flow = FLOW_CLEAR_AT_OPEN}}},
    {.id = "PK4",
     .title = "Acknowledged sent, its clearing not kept, three times in a row",
     V2,
     POINTS(pk4),
     .defects = {{.name = "SKIP-TOKEN", .caught_by = "I4 I22", .sql = SKIP_TOKEN}}},
    {.id = "PK5",
     .title = "first Load; 25th Load",
     V2,
     .options = {"--force-loads"},
     POINTS(pk5),
     .defects = {{.name = "READ-SHORT", .caught_by = "I13", .sql = READ_SHORT}}},
    {.id = "PK6",
     .title = "put.merge of apply N, Loads of N+1 went in",
     .mode = "v2",
     .options = {"--early-loads", "all"},
     POINTS(pk6),
     .defects = {{.name = "TOKEN-FIRST", .caught_by = "I3 I12 I13", .sql = TOKEN_FIRST}}},
    {.id = "PK7",
     .title = "Flush received",
     V2,
     POINTS(pk7),
     .defects = {{.name = "READ-SHORT", .caught_by = "I13", .sql = READ_SHORT}}},
    {.id = "PK8", .title = "Loaded cut in half on stdout", POINTS(pk8), .defects = LEAKS},
    {.id = "PK9",
     .title = "Flushed sent",
     V2,
     POINTS(pk9),
     .defects = {{.name = "DROP-NTH", .caught_by = "I3", .sql = DROP_NTH}}},
    {.id = "PK10",
     .title = "first Store",
     V2,
     POINTS(pk10),
     .defects = {{.name = "DROP-NTH", .caught_by = "I3", .sql = DROP_NTH}}},
    {.id = "PK11",
     .title = "25th Store, files open",
     POINTS(pk11),
     .defects = {{.name = "EARLY-APPLY", .caught_by = "I16", .flow = FLOW_EARLY_APPLY}}},
    {.id = "PK12",
     .title = "last Store before StartCommit",
     V2,
     POINTS(pk12),
     .defects = {{.name = "DROP-NTH", .caught_by = "I3", .sql = DROP_NTH}}},
    {.id = "PK13",
     .title = "StartCommit received",
     POINTS(pk13),
     .defects = {{.name = "EARLY-APPLY", .caught_by = "I16", .flow = FLOW_EARLY_APPLY}}},
    {.id = "PK14",
     .title = "StartedCommit sent, the log not committed",
     POINTS(pk14),
     .is_short = true,
     .defects = {{.name = "EARLY-APPLY", .caught_by = "I4 I16", .flow = FLOW_EARLY_APPLY}}},
    {.id = "PK15",
     .title = "the log committed, Acknowledge not sent",
     .mode = "v2",
     POINTS(pk15),
     .is_short = true,
     .defects = {{.name = "CLEAR-AT-OPEN", .caught_by = "I3", .flow = FLOW_CLEAR_AT_OPEN}}},
    {.id = "PK16",
     .title = "Acknowledge received",
     .mode = "v2",
     .hard_delete = true,
     POINTS(pk16),
     .defects = {{.name = "CLEAR-AT-OPEN", .caught_by = "I3", .flow = FLOW_CLEAR_AT_OPEN}}},
    {.id = "PK17",
     .title = "Acknowledged written, the runtime has not kept what it said",
     .mode = "v2",
     POINTS(pk17),
     .is_short = true,
     .defects = {{.name = "SKIP-TOKEN", .caught_by = "I4 I22", .sql = SKIP_TOKEN}}},
    {.id = "PK18",
     .title = "the clearing kept, objects half deleted",
     V2,
     POINTS(pk18),
     .defects = {{.name = "LEAK", .caught_by = "I18", .s3 = S3_NO_SWEEP, .point = 1}}},
    {.id = "PK19",
     .title = "after each single transaction of five",
     V2,
     POINTS(pk19),
     .defects = {{.name = "LOST-COMMIT", .caught_by = "I3 I12", .sql = LOST_COMMIT}}},
    {.id = "PK20",
     .title = "the first runtime, which echoes nothing",
     .codec = "proto",
     POINTS(pk20),
     .defects = {{.name = "SKIP-TOKEN", .caught_by = "I4 I22", .sql = SKIP_TOKEN, .point = 5}}},
};

GROUP(PK, rows);
