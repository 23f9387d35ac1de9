/* Group SK: SIGKILL at the requests to the bucket. Files are small here: one request each. What is
 * sent in parts has its kills in group SE. */

#include "harness/defects.h"
#include "harness/plays.h"

#include <stddef.h>

#define BEFORE(step)                                                                               \
    {                                                                                              \
        .name = "before " step, .s3 = step " before kill %1\n"                                     \
    }
#define AFTER(step)                                                                                \
    {                                                                                              \
        .name = "after " step, .s3 = step " after kill %1\n"                                       \
    }

static const struct point sk4[] = {BEFORE("put.data#1"), AFTER("put.data#1")};
static const struct point sk5[] = {AFTER("put.data#3"), BEFORE("put.data#4"), BEFORE("put.data#5")};
static const struct point sk6[] = {BEFORE("put.manifest#1"), AFTER("put.manifest#1"),
                                   AFTER("put.manifest#3")};
static const struct point sk8[] = {BEFORE("delete#1"), AFTER("delete#1")};
static const struct point sk9[] = {{.name = "before the list",
                                    .kills = {"startedCommit.received"},
                                    .s3 = "list#1 before kill %1\n"},
                                   {.name = "after the list",
                                    .kills = {"startedCommit.received"},
                                    .s3 = "list#1 after kill %1\n"}};

static const struct scenario rows[] = {
    {.id = "SK4",
     .title = "an object is there and nobody names it",
     POINTS(sk4),
     .defects = {{.name = "LEAK", .caught_by = "I18", .s3 = S3_NO_SWEEP, .point = 1}}},
    {.id = "SK5",
     .title = "some files are there, others are not",
     .mode = "v2",
     .is_short = true,
     POINTS(sk5),
     .defects = {{.name = "STARTED-BEFORE-DURABLE",
                  .caught_by = "I15",
                  .flow = "startedCommit#1 rewrite store-0000=>store-0009\n"},
                 {.name = "LEAK", .caught_by = "I18", .s3 = S3_NO_SWEEP}}},
    {.id = "SK6",
     .title = "manifests are there, COPY has not begun",
     .mode = "v2",
     .hard_delete = true,
     POINTS(sk6),
     .defects = {{.name = "LEAK", .caught_by = "I18", .s3 = S3_NO_SWEEP, .point = 1}}},
    {.id = "SK8",
     .title = "committed, before the objects are deleted; behind the first request",
     POINTS(sk8),
     .defects = {{.name = "LEAK", .caught_by = "I18", .s3 = S3_NO_SWEEP}}},
    {.id = "SK9",
     .title = "while orphans are collected at Open",
     .mode = "v2",
     POINTS(sk9),
     .defects = {{.name = "LEAK",
                  .caught_by = "I18",
                  .s3 = "list#2+ before fail - 403 AccessDenied\n"}}},
};

GROUP(SK, rows);
