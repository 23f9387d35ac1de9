/* harness/groups: all groups, in the order in which they are run. */

#include "harness/scenario.h"

#include <stddef.h>

extern const struct group group_BL, group_PK, group_SE;

const struct group *const all_groups[] = {&group_BL, &group_PK, &group_SE, NULL};
