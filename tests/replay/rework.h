/* What must change in a captured request before another connector can have it: the endpoint
   configuration (its secrets were taken out), the schema of tables, and the connector state, which
   names files that only the captured session had. */
#ifndef REPLAY_REWORK_H
#define REPLAY_REWORK_H

#include "base/buf.h"
#include "base/error.h"
#include "proto/rewrite.h"

struct rework {
    enum proto_codec codec;
    struct span config; /* put in place of the captured one; len 0: the captured one stays */
    struct buf state;   /* of the replayed task, by the responses that were read */
    /* Raw JSON of the last state updates, comma in front of all but the first; as v2 hands them
       back. */
    struct buf acknowledged, flushed, started;
    /* Of the frame that is being reworked. */
    unsigned kind;
    struct buf old_schema, new_schema; /* "" : none */
};

void rework_init(struct rework *rework, struct span config);
void rework_done(struct rework *rework);

/* Appends what is to be sent in place of frame. */
struct error *
rework_request(struct rework *rework, unsigned kind, struct span frame, struct buf *out);
/* Keeps the state update of a response. */
struct error *rework_take_response(struct rework *rework, unsigned kind, struct span frame);

/* RFC 7396 on texts: appends target (len 0: nothing there) with patch, both JSON objects. */
struct error *rework_merge(struct span target, struct span patch, struct buf *out);

#endif
