/* harness/groups: all groups, in the order in which they are run. */

#include "harness/scenario.h"

#include <stddef.h>

extern const struct group group_CO, group_BL, group_PK, group_QK, group_QE, group_SK, group_SE,
    group_ZB, group_SJ;

const struct group *const all_groups[] = {&group_BL, &group_PK, &group_QK, &group_QE, &group_SK,
                                          &group_SE, &group_ZB, &group_SJ, &group_CO, NULL};
