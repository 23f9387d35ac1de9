/* Group PK: SIGKILL at the points of the protocol. */

#include "harness/defects.h"
#include "harness/scenario.h"

#include <stddef.h>

static const struct point open_sent[] = {
    {.name = "open.sent", .kills = {"commit.logged", "open.sent"}}};
static const struct point acknowledged_received[] = {
    {.name = "once", .kills = {"acknowledged.received"}}};

static const struct scenario rows[] = {
    {.id = "PK1",
     .title = "Open received, before Opened, work is pending",
     POINTS(open_sent),
     .is_short = true,
     .defects = {{.name = "CLEAR-AT-OPEN", .caught_by = "I3", .flow = FLOW_CLEAR_AT_OPEN}}},
    {.id = "PK17",
     .title = "Acknowledged written, the runtime has not kept what it said",
     POINTS(acknowledged_received),
     .defects = {{.name = "SKIP-TOKEN", .caught_by = "I4 I22", .sql = SKIP_TOKEN}}},
};

GROUP(PK, rows);
