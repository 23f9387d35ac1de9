#ifndef HARNESS_PROMISE_H
#define HARNESS_PROMISE_H

#include "harness/trial.h"

/* patches: the JSON of one moment "startedCommit" (see runtime/README.md). Uses nothing of the
 * trial's story, so it may be called from the observer's thread. */
void check_promise(struct trial *trial, const char *patches);

#endif
