/* One captured session played to one process of the connector: when each request may be sent, and
   whether the answers are of the same kinds and numbers as the captured ones. */
#ifndef REPLAY_SESSION_H
#define REPLAY_SESSION_H

#include "capture/reader.h"
#include "replay/rework.h"

#include <stdint.h>
#include <sys/types.h>

#define KIND_MAX 10

struct tally {
    uint64_t requests[KIND_MAX], responses[KIND_MAX]; /* by number of the kind */
    uint64_t bytes;                                   /* of requests sent */
    double seconds;    /* from the first transaction's Acknowledge to the last answer */
    uint64_t torn;     /* bytes of a record that was cut off */
    char problem[600]; /* why this is no faithful replay; "": it is one */
};

struct session_options {
    const char *connector; /* path */
    bool recorded_speed;
    unsigned silence_s; /* the longest that may pass without a byte from the connector */
};

/* Plays the capture to its end or to where it cannot go on; adds to tally. An error is something
   that makes the figures worthless. */
struct error *session_replay(const struct session_options *options,
                             const char *capture,
                             struct rework *rework,
                             struct tally *tally);

#endif
