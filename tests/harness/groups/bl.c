/* Group BL: nothing goes wrong outside. */

#include "harness/defects.h"
#include "harness/scenario.h"

#include <stddef.h>

static const struct scenario rows[] = {
    {.id = "BL1",
     .title = "first runtime, drained",
     .is_short = true,
     .defects = {{.name = "LOST-COMMIT", .caught_by = "I3 I12", .sql = LOST_COMMIT}}},
};

GROUP(BL, rows);
