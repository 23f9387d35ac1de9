/* The recovery log: what the runtime knows to be committed. One JSON record per line, each on disk
   before the next step is taken; a torn last line counts as never written. */
#ifndef FLOW_RUNTIME_RECLOG_H
#define FLOW_RUNTIME_RECLOG_H

#include "json.h"

struct fr_commit {
    uint64_t from, to; /* positions of the source */
    uint64_t marks;    /* transaction ends of the source that lie behind */
};

struct fr_reclog {
    int fd;
    struct fr_commit *commits;
    size_t commit_count, commit_room;
    struct fr_buf state;    /* connector state, empty when none was ever written */
    struct fr_buf max_keys; /* JSON object: state key -> base64 of the largest packed key stored */
};

/* Opens DIR/recovery.jsonl, making both if need be, and reads it. False with a sentence. */
bool fr_reclog_open(struct fr_reclog *log, const char *dir, struct fr_buf *error);
void fr_reclog_done(struct fr_reclog *log);

/* A state update waiting to be made durable: {"updated": ..., "mergePatch": ...} objects. */
/* Writes and syncs one record. commit may be NULL (only state). patches: JSON array text. False
   with a sentence. */
bool fr_reclog_write(struct fr_reclog *log,
                     const char *why,
                     const struct fr_commit *commit,
                     const struct fr_json *patches,
                     const struct fr_json *max_keys,
                     struct fr_buf *error);
/* Would the update leave the state as it is? */
bool fr_reclog_is_noop(const struct fr_reclog *log, const struct fr_json *update);

#endif
