/* The connector is killed at each kind of message; afterwards its tables are the oracle's. */
#ifndef TEST_FLOW_RUNTIME_KILLS_H
#define TEST_FLOW_RUNTIME_KILLS_H

#include "whole.h"

static const struct {
    const char *point;
    unsigned count;
} points[] = {
    {"spec.sent", 1},
    {"validate.sent", 1},
    {"validated.received", 1},
    {"apply.before", 1},
    {"apply.sent", 1},
    {"applied.received", 1},
    {"open.before", 1},
    {"open.sent", 1},
    {"opened.received", 1},
    {"acknowledge.before", 2},
    {"acknowledge.sent", 1},
    {"acknowledge.sent", 3},
    {"acknowledged.received", 2},
    {"acknowledged.logged", 2},
    {"load.sent", 1},
    {"load.sent", 2},
    {"flush.sent", 2},
    {"loaded.received", 1},
    {"flushed.received", 2},
    {"store.before", 1},
    {"store.sent", 3},
    {"startCommit.before", 2},
    {"startCommit.sent", 2},
    {"startedCommit.received", 2},
    {"commit.logged", 2},
};

static inline void tables_survive_a_kill(enum fr_codec codec, bool is_v2)
{
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        struct whole whole;
        whole_begin(&whole, "");
        whole.options.codec = codec;
        whole.options.is_v2 = is_v2;
        whole.options.seed = i + 1;
        whole_kill_at(&whole, points[i].point, points[i].count);
        enum fr_end end = whole_run(&whole);
        if (end != FR_OK || whole.kills != 1 || whole.restarts != 0) {
            fail_msg("%s#%u: ended with %d: %s", points[i].point, points[i].count, (int)end,
                     whole.verdict);
        }
        whole_expect_tables(&whole, points[i].point);
        whole_end(&whole);
    }
}

#endif
